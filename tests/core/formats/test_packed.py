"""The traps of formats without images: run lengths, polygons, stacks."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stt_core.errors import OutputError
from stt_core.formats.label_formats import read_labels
from tests.core.formats.samples import (
    CLASSES,
    checkers,
    export,
    frames_of,
    target_of,
)


def _save(path: Path, pixels: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_run_lengths_go_down_the_columns(tmp_path: Path) -> None:
    labels = np.array([[0, 255, 255], [0, 0, 255]], np.uint8)
    export("coco-rle", tmp_path, frames_of([labels]))
    file = tmp_path / "annotations" / "instances_train.json"
    told = json.loads(file.read_text())
    told["annotations"][0]["segmentation"]["counts"] = [0, 2, 1, 1, 2]  # not packed
    file.write_text(json.dumps(told))
    assert read_labels("coco-rle", file).frames[0].load().tolist() == labels.tolist()


def test_polygons_of_coco_are_read(tmp_path: Path) -> None:
    export("coco-rle", tmp_path, frames_of([np.full((6, 8), 0, np.uint8)]))
    file = tmp_path / "annotations" / "instances_train.json"
    told = json.loads(file.read_text())
    told["annotations"][0]["segmentation"] = [[2, 1, 6, 1, 6, 5, 2, 5]]
    file.write_text(json.dumps(told))
    expected = np.full((6, 8), 255)
    expected[1:5, 2:6] = 0
    np.testing.assert_array_equal(read_labels("coco-rle", file).frames[0].load(), expected)


def test_things_that_are_guessed_are_told(tmp_path: Path) -> None:
    labels = np.array([[1, 0, 1, 0, 1]], np.uint8)
    frames = frames_of([labels])
    report = export("coco-panoptic", tmp_path / "a", frames, things=frozenset({1}))
    assert report.losses == (
        "which pixels belong to one thing is not known: 3 connected regions were written as "
        "things of their own",
    )
    assert export("coco-panoptic", tmp_path / "b", frames).losses == ()


def test_the_order_of_datumaros_labels_is_their_index(tmp_path: Path) -> None:
    export("datumaro", tmp_path, frames_of([checkers()]))
    told = json.loads((tmp_path / "annotations" / "train.json").read_text())
    assert [c["name"] for c in told["categories"]["label"]["labels"]] == [c.name for c in CLASSES]
    assert {a["label_id"] for a in told["items"][0]["annotations"]} == set(range(len(CLASSES)))


def test_holes_that_polygons_lose_are_counted(tmp_path: Path) -> None:
    labels = np.zeros((9, 20), np.uint8)
    labels[2:5, 2:5], labels[3:5, 8:10], labels[6, 15] = 255, 1, 255  # two of them empty
    report = export("yolo-seg", tmp_path, frames_of([labels]))
    assert report.losses == (
        "yolo-seg cannot keep 3 holes: it says only what is drawn later there",
        "10 pixels change when the polygons are drawn again",
    )
    found = read_labels("yolo-seg", tmp_path).frames[0].load()
    np.testing.assert_array_equal(found, np.where(labels == 255, 0, labels))


def test_polygons_are_fractions_of_the_frame(tmp_path: Path) -> None:
    labels = np.full((10, 20), 255, np.uint8)
    labels[2:5, 4:13] = 3
    export("yolo-seg", tmp_path, frames_of([labels]))
    class_id, *numbers = (tmp_path / "labels/train/000000.txt").read_text().split()
    points = np.array(numbers, float).reshape(-1, 2)
    assert class_id == "3"
    assert points.min(0).tolist() == [4.5 / 20, 2.5 / 10]
    assert points.max(0).tolist() == [12.5 / 20, 4.5 / 10]


@pytest.mark.parametrize(
    "names",
    ["names: ['Road', \"Car\"]", "names:\n  0: Road\n  1: Car", "names:\n- Road\n- Car\nnc: 2"],
)
def test_yolo_from_elsewhere_is_read(names: str, tmp_path: Path) -> None:
    _save(tmp_path / "images" / "val" / "a.png", np.zeros((10, 20, 3), np.uint8))
    (tmp_path / "labels" / "val").mkdir(parents=True)
    row = "1 0.225 0.25 0.625 0.25 0.625 0.45 0.225 0.45\n0 0.5 0.5 0.1 0.1\n"
    (tmp_path / "labels" / "val" / "a.txt").write_text(row)
    (tmp_path / "data.yaml").write_text(f"path: .\n{names}\n")
    found = read_labels("yolo-seg", tmp_path)
    expected = np.full((10, 20), 255)
    expected[2:5, 4:13] = 1
    np.testing.assert_array_equal(found.frames[0].load(), expected)
    assert found.classes is not None
    assert [c.name for c in found.classes] == ["Road", "Car"]


def test_hdf5_has_a_chunk_for_each_frame_and_says_where_it_comes_from(tmp_path: Path) -> None:
    maps = [checkers(), checkers()]
    long = {"counts": list(range(20_000))}
    for file, provenance in (("a.h5", {"model": "abc"}), ("b.h5", long)):
        export("hdf5", tmp_path / file, frames_of(maps), provenance=provenance)
        with h5py.File(tmp_path / file) as read:
            labels = read["labels"]
            assert (labels.shape, labels.dtype, labels.chunks) == ((2, 6, 9), np.uint8, (1, 6, 9))
            assert labels.compression == "gzip"
            assert read["frames"][:].tolist() == [0, 1]
            assert [n.decode() for n in read["class_names"][:]] == [c.name for c in CLASSES]
            told = read.attrs["provenance"] if file == "a.h5" else read["provenance"][()]
            assert json.loads(told) == provenance


@pytest.mark.parametrize("name", ["hdf5", "npz"])
def test_stacks_hold_frames_of_one_size(name: str, tmp_path: Path) -> None:
    frames = frames_of([checkers((6, 9)), checkers((9, 6))])
    with pytest.raises(OutputError, match="is 6 x 9 pixels and the first is 9 x 6"):
        export(name, target_of(name, tmp_path), frames)
    assert list(tmp_path.iterdir()) == []


def test_frames_of_an_npz_can_be_read_in_any_order(tmp_path: Path) -> None:
    maps = [np.full((4, 5), i, np.uint8) for i in range(4)]
    export("npz", tmp_path / "a.npz", frames_of(maps))
    frames = read_labels("npz", tmp_path / "a.npz").frames
    for i in (3, 0, 2, 2, 1, 3):
        np.testing.assert_array_equal(frames[i].load(), maps[i])


def test_arrays_without_tables_are_read(tmp_path: Path) -> None:
    maps = np.stack([checkers(), checkers()])
    np.savez(tmp_path / "a.npz", labels=maps)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["labels"] = maps
    for name, file in (("npz", "a.npz"), ("hdf5", "a.h5")):
        found = read_labels(name, tmp_path / file)
        assert found.classes is None
        assert [f.name for f in found.frames] == ["000000", "000001"]
        np.testing.assert_array_equal(found.frames[1].load(), maps[1])
