"""Check an export with cityscapesscripts: PATH OUT.json, what its evaluation makes of it.

Run by a Python that has cityscapesscripts; it imports nothing of ours. Label files are taken for
their own prediction.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def main(path: str, out: str) -> None:
    os.environ["CITYSCAPES_DATASET"] = path
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation
    from cityscapesscripts.helpers.csHelpers import getCsFileInfo
    from cityscapesscripts.helpers.labels import id2label

    files = sorted(Path(path).glob("gtFine/*/*/*_gtFine_labelIds.png"))
    names, wrong = [], []
    for file in files:
        info = getCsFileInfo(str(file))
        names.append([info.city, info.sequenceNb, info.frameNb, info.type, info.type2, info.ext])
        ids = np.asarray(Image.open(file))
        train = np.vectorize(lambda i: id2label[i].trainId % 256)(ids)
        beside = file.with_name(file.name.replace("labelIds", "labelTrainIds"))
        color = np.array([[id2label[i].color for i in row] for row in ids.tolist()])
        painted = file.with_name(file.name.replace("labelIds", "color"))
        if not np.array_equal(train, np.asarray(Image.open(beside))):
            wrong.append(beside.name)
        if not np.array_equal(color, np.asarray(Image.open(painted).convert("RGB"))):
            wrong.append(painted.name)
    args = evaluation.args
    args.quiet, args.JSONOutput, args.evalInstLevelScore = True, False, False
    paths = [str(file) for file in files]
    scores = evaluation.evaluateImgLists(paths, paths, args)
    classes = {k: v for k, v in scores["classScores"].items() if not np.isnan(v)}
    Path(out).write_text(json.dumps({"names": names, "wrong": wrong, "classes": classes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
