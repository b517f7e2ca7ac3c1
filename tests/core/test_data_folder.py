from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from stt_core.data.sources import camvid_classes, open_data
from stt_core.errors import DataError
from stt_core.labels import IGNORED, VOID, LabelClass
from tests.core.data_sets import ids, picture, write_folder, write_image


def write_classes(path: Path, rows: list[dict[str, object]], **more: object) -> None:
    path.write_text(json.dumps({"classes": rows, **more}))


def test_images_are_in_natural_order_whatever_their_suffix(tmp_path: Path) -> None:
    data = open_data(f"folder:{write_folder(tmp_path, ['10.png', '2.bmp', '1.jpg'])}")
    assert [c.name for c in data.classes] == ["class 0", "class 1", "class 2"]
    assert data.licence == ""
    (sequence,) = data.sequences
    assert [sequence.frame_name(i) for i in range(3)] == ["1", "2", "10"]
    assert not sequence.video
    np.testing.assert_array_equal(sequence.image(1), picture(1))
    np.testing.assert_array_equal(sequence.labels(1), ids(1, 3))


def test_subfolders_are_sequences_and_a_split_is_a_folder(tmp_path: Path) -> None:
    frames = ["val/b/1.png", "val/b/2.png", "val/a/1.png", "train/7.png"]
    folder = write_folder(tmp_path, frames)
    data = open_data(f"folder:{folder},split=val,video=yes")
    assert [(s.name, len(s), s.video) for s in data.sequences] == [("a", 1, True), ("b", 2, True)]
    assert [s.name for s in open_data(f"folder:{folder},split=train").sequences] == ["train"]


def test_frames_of_a_video_may_lack_labels_and_images_may_not(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ["1.png", "2.png", "3.png"])
    (folder / "labels" / "2.png").unlink()
    (sequence,) = open_data(f"folder:{folder},video=yes").sequences
    assert list(sequence.labelled) == [0, 2]
    assert sequence.labels(1) is None
    with pytest.raises(DataError, match=r"images.2\.png has no labels in .*labels"):
        open_data(f"folder:{folder}")


def test_classes_may_have_ids_of_their_own(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ["1.png"])
    rows = [{"id": 9, "name": "b", "rgb": [0, 0, 9]}, {"id": 4, "name": "a", "rgb": [0, 0, 4]},
            {"id": 6, "name": "void", "rgb": [0, 0, 0]}]  # fmt: skip
    write_classes(folder / "classes.json", rows, ignore_id=6)
    stored = np.array([[4, 6, 9, 255], [254, 9, 9, 4]], np.uint8)
    write_image(folder / "labels" / "1.png", stored)
    write_image(folder / "images" / "1.png", picture(0, (2, 4)))
    data = open_data(f"folder:{folder}")
    assert data.classes == (LabelClass("a", (0, 0, 4)), LabelClass("b", (0, 0, 9)))
    labels = data.sequences[0].labels(0)
    np.testing.assert_array_equal(labels, [[0, IGNORED, 1, 255], [VOID, 1, 1, 0]])


def test_an_id_to_ignore_takes_its_class_out_of_the_table(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ["1.png"])
    data = open_data(f"folder:{folder},ignore=1")
    assert [c.name for c in data.classes] == ["class 0", "class 2"]
    expected = np.array([0, IGNORED, 1], np.uint8)[ids(0, 3)]
    np.testing.assert_array_equal(data.sequences[0].labels(0), expected)
    assert data.digest != open_data(f"folder:{folder}").digest


def test_classes_are_those_asked_for_where_the_folder_has_no_list(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ["1.png"])
    (folder / "classes.json").unlink()
    data = open_data(f"folder:{folder}", classes=camvid_classes())
    assert data.classes == camvid_classes()
    with pytest.raises(DataError, match=r"classes\.json is missing"):
        open_data(f"folder:{folder}")


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"name": "a"}],
        [{"name": "a", "rgb": [0, 0]}],
        [{"name": "a", "rgb": [0, 0, 256]}],
        [{"name": "a", "rgb": [0, 0, 0], "id": 3}, {"name": "b", "rgb": [0, 0, 0], "id": 3}],
        [{"name": "a", "rgb": [0, 0, 0], "id": 254}],
        ["a"],
        3,
    ],
)
def test_a_class_list_that_is_none_is_told(tmp_path: Path, rows: object) -> None:
    folder = write_folder(tmp_path, ["1.png"])
    (folder / "classes.json").write_text(json.dumps({"classes": rows}))
    with pytest.raises(DataError, match=r"classes\.json is not a class list"):
        open_data(f"folder:{folder}")


def test_what_would_be_overlooked_is_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ["a/1.png"])
    write_image(folder / "images" / "2.png", picture(2))
    write_image(folder / "images" / "a" / "1.jpg", picture(1))
    write_image(folder / "labels" / "b" / "1.png", ids(1, 3))
    write_image(folder / "labels" / "a" / "7.png", ids(1, 3))
    with pytest.raises(DataError, match="4 problems") as caught:
        open_data(f"folder:{folder}")
    said = {p.path.relative_to(folder).as_posix(): p.what for p in caught.value.problems}
    assert said["images/2.png"].startswith("lies beside the subfolders a")
    assert said["images/a/1.png"].startswith("has the same name as 1.jpg")
    assert said["labels/b"].startswith("has no folder of its name")
    assert said["labels/a/7.png"].startswith("has no image of its name")


def test_the_digest_tells_how_a_folder_is_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", ["1.png", "2.png"])
    digests = {open_data(f"folder:{folder}{o}").digest for o in ("", ",video=yes", ",ignore=2")}
    assert len(digests) == 3
    shutil.copytree(folder, tmp_path / "b")
    assert open_data(f"folder:{tmp_path / 'b'}").digest in digests


def test_cityscapes_like_void_ids_of_camvids_class_list(shared_data: Path, tmp_path: Path) -> None:
    """The list beside the development data, with ids, rgb and an ignored one, as it lies there."""
    folder = write_folder(tmp_path, ["1.png"])
    shutil.copy(shared_data / "camvid" / "classes.json", folder / "classes.json")
    write_image(folder / "labels" / "1.png", ids(0, 12))
    data = open_data(f"folder:{folder}")
    assert [c.name for c in data.classes] == [c.name for c in camvid_classes()]
    assert data.classes == camvid_classes()
    labels = data.sequences[0].labels(0)
    np.testing.assert_array_equal(labels, np.where(ids(0, 12) == 11, IGNORED, ids(0, 12)))
