from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stt_core.data.cityscapes import CITYSCAPES_LICENCE
from stt_core.data.class_tables import cityscapes_classes, cityscapes_train_ids
from stt_core.data.sources import open_data
from stt_core.errors import DataError
from stt_core.formats.class_files import shipped_classes
from stt_core.labels import IGNORED
from tests.core.data_sets import ids, picture, write_image

LABELLED = ("aachen_000000_000019", "aachen_000001_000019", "ulm_000000_000042")
# the names and order of the published class list
NAMES = ["road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
         "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
         "motorcycle", "bicycle"]  # fmt: skip
LABEL_IDS = {"road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17,
             "traffic light": 19, "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23,
             "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31,
             "motorcycle": 32, "bicycle": 33}  # fmt: skip


def put_image(folder: Path, name: str, part: str, seed: int = 0) -> None:
    city = name.partition("_")[0]
    write_image(folder / part / "train" / city / f"{name}_leftImg8bit.png", picture(seed))


def put_labels(folder: Path, name: str, kind: str = "labelIds", classes: int = 34) -> Path:
    city = name.partition("_")[0]
    path = folder / "gtFine" / "train" / city / f"{name}_gtFine_{kind}.png"
    return write_image(path, ids(0, classes))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for seed, name in enumerate(LABELLED):
        put_image(tmp_path, name, "leftImg8bit", seed)
        put_labels(tmp_path, name)
    return tmp_path


def test_label_ids_become_train_ids(images: Path) -> None:
    data = open_data(f"cityscapes:{images}")
    assert data.classes == cityscapes_classes()
    assert [c.name.lower() for c in data.classes] == NAMES
    assert data.licence == CITYSCAPES_LICENCE
    becomes = np.full(34, IGNORED, np.uint8)
    for i, name in enumerate(NAMES):
        becomes[LABEL_IDS[name]] = i
    np.testing.assert_array_equal(data.sequences[0].labels(0), becomes[ids(0, 34)])


def test_images_alone_are_sequences_of_one(images: Path) -> None:
    data = open_data(f"cityscapes:{images},split=train")
    assert [(s.name, len(s), s.video) for s in data.sequences] == [(n, 1, False) for n in LABELLED]
    np.testing.assert_array_equal(data.sequences[1].image(0), picture(1))
    assert data.sequences[1].frame_name(0) == LABELLED[1]


def test_train_ids_are_read_where_there_are_no_label_ids(images: Path) -> None:
    for path in images.glob("gtFine/train/*/*.png"):
        path.unlink()
    for name in LABELLED:
        put_labels(images, name, "labelTrainIds", classes=19)
    labels = open_data(f"cityscapes:{images}").sequences[0].labels(0)
    np.testing.assert_array_equal(labels, ids(0, 19))
    put_labels(images, LABELLED[0], "labelTrainIds", classes=20)
    with pytest.raises(DataError, match=r"holds the ids 19, which the class table does not have"):
        open_data(f"cityscapes:{images}")
    data = open_data(f"cityscapes:{images},ignore=19")
    labels = data.sequences[0].labels(0)
    np.testing.assert_array_equal(labels, np.where(ids(0, 20) == 19, IGNORED, ids(0, 20)))


def test_snippets_are_videos_with_one_labelled_frame(images: Path) -> None:
    for name, numbers in (
        ("aachen_000000", range(30)),
        ("aachen_000001", range(30)),
        ("ulm_000000", [*range(23, 53), *range(100, 103)]),
    ):
        for number in numbers:
            put_image(images, f"{name}_{number:06d}", "leftImg8bit_sequence", number)
    data = open_data(f"cityscapes:{images}")
    assert [(s.name, len(s), list(s.labelled)) for s in data.sequences] == [
        ("aachen_000000_000000-000029", 30, [19]),
        ("aachen_000001_000000-000029", 30, [19]),
        ("ulm_000000_000023-000052", 30, [19]),
        ("ulm_000000_000100-000102", 3, []),
    ]
    assert all(s.video for s in data.sequences)
    assert data.sequences[2].frame_name(19) == "ulm_000000_000042"
    np.testing.assert_array_equal(data.sequences[2].image(18), picture(41))


def test_what_does_not_belong_together_is_told(images: Path) -> None:
    put_image(images, "ulm_000000_000050", "leftImg8bit")
    put_labels(images, "ulm_000000_000051")
    with pytest.raises(DataError, match="2 problems") as caught:
        open_data(f"cityscapes:{images}")
    assert [p.what.partition(" in ")[0] for p in caught.value.problems] == [
        "has no image",
        "has no labels",
    ]
    put_labels(images, "ulm_000000_000050", classes=36)
    put_image(images, "ulm_000000_000051", "leftImg8bit")
    with pytest.raises(DataError, match="holds the ids 34, 35"):
        open_data(f"cityscapes:{images}")
    (images / "leftImg8bit" / "train" / "ulm" / "x.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"x\.png is not named CITY_SEQ_FRAME_leftImg8bit"):
        open_data(f"cityscapes:{images}")


def test_a_split_without_labels_is_told(images: Path) -> None:
    (images / "leftImg8bit" / "train").rename(images / "leftImg8bit" / "test")
    with pytest.raises(DataError, match=r"there are no labels .*labelTrainIds.png in .*test"):
        open_data(f"cityscapes:{images},split=test")


def test_the_table_of_label_ids_and_that_of_the_classes_agree() -> None:
    rows = shipped_classes("cityscapes_labels")
    assert cityscapes_train_ids() == {row["id"]: row["train_id"] for row in rows}
    judged = sorted((r for r in rows if r["train_id"] != IGNORED), key=lambda r: r["train_id"])
    assert [r["train_id"] for r in judged] == list(range(19))
    told = [(r["name"].casefold(), tuple(r["color"])) for r in judged]
    assert told == [(c.name.casefold(), c.color) for c in cityscapes_classes()]
