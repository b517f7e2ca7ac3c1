"""Read an export with the datumaro library: FORMAT PATH OUT.npz, a map of names for each item.

Run by a Python that has datumaro; it imports nothing of ours. The arrays hold places in `names`.
"""

from __future__ import annotations

import sys

import datumaro
import numpy as np

FORMATS = {
    "datumaro": "datumaro",
    "coco-rle": "coco_instances",
    "coco-panoptic": "coco_panoptic",
    "voc": "voc_segmentation",
    "cvat": "voc_segmentation",
    "camvid": "camvid",
}


def main(name: str, path: str, out: str) -> None:
    found = datumaro.Dataset.import_from(path, FORMATS[name])
    labels = found.categories()[datumaro.AnnotationType.label]
    maps = {}
    for item in found:
        masks = [a for a in item.annotations if a.type == datumaro.AnnotationType.mask]
        drawn = np.full(masks[0].image.shape, 255, np.uint8)
        for mask in masks:
            drawn[mask.image.astype(bool)] = mask.label
        maps[item.id] = drawn
    np.savez(out, names=np.array([label.name for label in labels]), **maps)


if __name__ == "__main__":
    main(*sys.argv[1:])
