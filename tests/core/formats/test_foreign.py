"""Exports read by programs that are not ours.

Set STT_FOREIGN_READERS to a Python that has cityscapesscripts and datumaro; their pins need not fit
ours:

    python -m venv /somewhere && /somewhere/bin/pip install cityscapesscripts datumaro
"""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO

from tests.core.formats.samples import (
    CLASSES,
    checkers,
    export,
    frames_of,
    kept,
    target_of,
)

_SCRIPTS = Path(__file__).parent / "foreign"
_MAPS = [checkers((6, 9)), np.roll(checkers((6, 9)), 4)]
_NAMES = [c.name for c in CLASSES]


@pytest.fixture(scope="module")
def foreign() -> str:
    """The Python of other programs."""
    python = os.environ.get("STT_FOREIGN_READERS")
    if not python:
        pytest.skip("STT_FOREIGN_READERS names no Python with cityscapesscripts and datumaro")
    return python


def _run(python: str, script: str, *args: str) -> None:
    told = subprocess.run(
        [python, str(_SCRIPTS / script), *args], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr


def _renamed(labels: NDArray[np.uint8], names: list[str]) -> NDArray[np.uint8]:
    """Our ids of their places; IGNORED for names that are not ours, as background."""
    table = np.full(256, 255, np.uint8)
    for place, name in enumerate(names):
        plain = name.replace("_", " ").casefold()
        known = [own.casefold() for own in _NAMES]
        if plain in known:
            table[place] = known.index(plain)
    return table[labels]


# Of Cityscapes it drops the train id 0; its own scripts are asked below.
@pytest.mark.parametrize("name", ["datumaro", "coco-rle", "coco-panoptic", "voc", "cvat", "camvid"])
def test_datumaro_reads_the_same_labels(name: str, foreign: str, tmp_path: Path) -> None:
    target = target_of(name, tmp_path)
    export(name, target, frames_of(_MAPS, images=True))
    if name == "cvat":
        with zipfile.ZipFile(target) as archive:
            archive.extractall(tmp_path / "unpacked")
        target = tmp_path / "unpacked"
    _run(foreign, "read_datumaro.py", name, str(target), str(tmp_path / "read.npz"))
    with np.load(tmp_path / "read.npz") as read:
        names = read["names"].tolist()
        maps = {key: read[key] for key in read.files if key != "names"}
    assert len(maps) == len(_MAPS)
    for (_, got), labels in zip(sorted(maps.items()), _MAPS, strict=True):
        np.testing.assert_array_equal(_renamed(got, names), kept(labels))


def test_cityscapes_scripts_evaluate_the_export(foreign: str, tmp_path: Path) -> None:
    export("cityscapes", tmp_path / "out", frames_of(_MAPS), place="new_town", split="val")
    _run(foreign, "read_cityscapes.py", str(tmp_path / "out"), str(tmp_path / "read.json"))
    read = json.loads((tmp_path / "read.json").read_text())
    assert read["wrong"] == []
    assert read["names"] == [
        ["new-town", "000000", f"{i:06d}", "gtFine", "labelIds", "png"] for i in range(2)
    ]
    assert read["classes"] == dict.fromkeys(("road", "car", "traffic light", "sky"), 1.0)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_the_masks(tmp_path: Path) -> None:
    export("coco-rle", tmp_path / "out", frames_of(_MAPS))
    told = COCO(tmp_path / "out" / "annotations" / "instances_train.json")
    assert [c["name"] for c in told.loadCats(told.getCatIds())] == _NAMES
    for image_id, labels in zip(told.getImgIds(), _MAPS, strict=True):
        drawn = np.full(labels.shape, 255, np.uint8)
        for annotation in told.loadAnns(told.getAnnIds(imgIds=image_id)):
            mask = told.annToMask(annotation).astype(bool)
            drawn[mask] = annotation["category_id"] - 1
            assert annotation["area"] == mask.sum()
            y, x = np.nonzero(mask)
            box = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
            assert annotation["bbox"] == box
        np.testing.assert_array_equal(drawn, kept(labels))


@pytest.mark.parametrize("things", [frozenset(), frozenset({1, 2})])
def test_a_panoptic_png_means_what_its_json_says(tmp_path: Path, things: frozenset[int]) -> None:
    labels = np.zeros((8, 12), np.uint8)
    labels[1:3, 1:3] = labels[5:7, 8:11] = 1  # two cars
    labels[4, 4], labels[0, 11] = 2, 255
    export("coco-panoptic", tmp_path / "out", frames_of([labels]), things=things)
    folder = tmp_path / "out" / "annotations"
    told = json.loads((folder / "panoptic_train.json").read_text())
    # As its own tools do it: OpenCV has blue first.
    bgr = cv2.imread(str(folder / "panoptic_train" / "000000.png")).astype(int)
    ids = bgr[..., 2] + 256 * bgr[..., 1] + 256**2 * bgr[..., 0]
    drawn = np.full(labels.shape, 255, np.uint8)
    segments = told["annotations"][0]["segments_info"]
    for segment in segments:
        mask = ids == segment["id"]
        y, x = np.nonzero(mask)
        assert segment["area"] == mask.sum()
        assert segment["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        drawn[mask] = segment["category_id"] - 1
    np.testing.assert_array_equal(drawn, labels)
    assert (ids[labels == 255] == 0).all()
    assert len({segment["id"] for segment in segments}) == len(segments)
    assert [c["isthing"] for c in told["categories"]] == [int(i in things) for i in range(4)]
    assert sum(s["category_id"] == 2 for s in segments) == (2 if things else 1)


def test_pillow_and_opencv_read_the_voc_masks(tmp_path: Path) -> None:
    export("voc", tmp_path / "out", frames_of(_MAPS[:1]))
    file = tmp_path / "out" / "SegmentationClass" / "000000.png"
    with Image.open(file) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), kept(_MAPS[0]))
        palette = np.array(image.getpalette()).reshape(-1, 3)
    assert palette.shape == (256, 3)
    # A library that opens it in colour finds the classes' colours.
    rgb = cv2.imread(str(file))[..., ::-1]
    for class_id, label_class in enumerate(CLASSES):
        assert (rgb[_MAPS[0] == class_id] == label_class.color).all()
    assert (rgb[0, 0] == (224, 224, 192)).all()


def test_numpy_reads_the_npz(tmp_path: Path) -> None:
    export("npz", tmp_path / "out.npz", frames_of(_MAPS), provenance={"model": "abc"})
    with np.load(tmp_path / "out.npz", allow_pickle=False) as read:
        np.testing.assert_array_equal(read["labels"], kept(np.array(_MAPS)))
        assert read["frames"].tolist() == [0, 1]
        assert read["names"].tolist() == ["000000", "000001"]
        assert read["class_names"].tolist() == _NAMES
        assert read["class_colors"].tolist() == [list(c.color) for c in CLASSES]
        assert json.loads(str(read["provenance"])) == {"model": "abc"}


def test_polygons_drawn_by_pillow_have_the_same_pixels(tmp_path: Path) -> None:
    from PIL import ImageDraw

    labels = np.full((20, 30), 255, np.uint8)
    labels[2:9, 3:14], labels[12:18, 5:25], labels[15, 28] = 0, 1, 2
    export("yolo-seg", tmp_path / "out", frames_of([labels]))
    drawn = Image.new("L", (30, 20), 255)
    for line in (tmp_path / "out" / "labels" / "train" / "000000.txt").read_text().splitlines():
        class_id, *numbers = line.split()
        points = (np.array(numbers, float).reshape(-1, 2) * (30, 20)).astype(int)
        ImageDraw.Draw(drawn).polygon(points.ravel().tolist(), fill=int(class_id))
    np.testing.assert_array_equal(np.asarray(drawn), labels)
