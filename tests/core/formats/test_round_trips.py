from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from stt_core.errors import LabelError
from stt_core.formats.exchange import ExportFrame
from stt_core.formats.label_formats import LABEL_FORMATS, read_labels
from stt_core.labels import LabelClass
from tests.core.formats.samples import (
    CLASSES,
    EXACT,
    checkers,
    export,
    frames_of,
    in_our_ids,
    kept,
    label_maps,
    many_classes,
    round_trip,
    target_of,
)

NAMES = (
    "cityscapes", "camvid", "camvid-index", "voc", "palette", "coco-panoptic", "coco-rle", "cvat",
    "datumaro", "yolo-seg", "hdf5", "npz", "mmseg", "png",
)  # fmt: skip


def test_the_formats_are_those_of_the_command_line() -> None:
    assert tuple(LABEL_FORMATS) == NAMES


@pytest.mark.parametrize("name", EXACT)
def test_pixels_survive(name: str) -> None:
    @given(label_maps(len(CLASSES), most=4))
    @settings(max_examples=7, deadline=None)
    def check(maps: NDArray[np.uint8]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            found, report = round_trip(name, Path(folder), list(maps))
        assert report.frames == len(found) == len(maps)
        for got, labels in zip(found, maps, strict=True):
            np.testing.assert_array_equal(got, kept(labels))

    check()


@pytest.mark.parametrize("name", EXACT)
def test_the_order_of_frames_and_their_numbers_survive(name: str, tmp_path: Path) -> None:
    maps = [np.full((4, 5), i, np.uint8) for i in (0, 1, 2, 3, 255)]
    frames = [ExportFrame(f"{7 * i:06d}", 7 * i, m) for i, m in enumerate(maps)]
    target = target_of(name, tmp_path)
    report = export(name, target, frames)
    found = read_labels(name, target)
    assert [f.index for f in found.frames] == [0, 7, 14, 21, 28]
    for got, labels in zip(in_our_ids(found, CLASSES), maps, strict=True):
        np.testing.assert_array_equal(got, labels)
    files = [p for p in ([target] if target.is_file() else target.rglob("*")) if p.is_file()]
    assert report.files == len(files)
    assert report.size == sum(p.stat().st_size for p in files)


@pytest.mark.parametrize("name", [name for name in EXACT if name != "cityscapes"])
def test_254_classes_survive(name: str, tmp_path: Path) -> None:
    classes = many_classes(254)
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    (found,), report = round_trip(name, tmp_path, [labels], classes)
    np.testing.assert_array_equal(found, kept(labels))
    read = read_labels(name, target_of(name, tmp_path))
    assert read.classes is not None
    assert len(read.classes) == 254
    if name != "camvid":  # its names have no spaces
        assert report.losses == ()
        assert [c.name for c in read.classes] == [c.name for c in classes]
    assert [c.color for c in read.classes] == [c.color for c in classes]


@pytest.mark.parametrize("name", EXACT)
def test_the_names_of_frames_survive_spaces_and_other_scripts(name: str, tmp_path: Path) -> None:
    frames = [ExportFrame("Straße 5 🚗 été", 0, checkers(), video=False)]
    target = target_of(name, tmp_path)
    export(name, target, frames)
    found = read_labels(name, target)
    np.testing.assert_array_equal(in_our_ids(found, CLASSES)[0], kept(frames[0].labels))
    assert found.frames[0].name == frames[0].name


@given(label_maps(len(CLASSES), most=4))
@settings(max_examples=25, deadline=None)
def test_yolo_keeps_all_but_what_it_says(maps: NDArray[np.uint8]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found, report = round_trip("yolo-seg", Path(folder), list(maps))
    changed = int((np.array(found) != kept(maps)).sum())
    told = [loss for loss in report.losses if "pixels change" in loss]
    assert told == ([f"{changed} pixels change when the polygons are drawn again"] * (changed > 0))


@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_classes_of_any_name_and_colour_can_be_written(name: str, tmp_path: Path) -> None:
    classes = (
        LabelClass("a:b#c\nd", (0, 0, 0)),
        LabelClass("background", (0, 0, 0)),
        LabelClass("Void", (9, 9, 9)),
        LabelClass('"quo\'ted", yes: [no]', (9, 9, 9)),
        LabelClass("", (1, 2, 3)),
        LabelClass("日本", (3, 2, 1)),
    )
    labels = checkers((6, 9), len(classes))
    target = target_of(name, tmp_path)
    export(name, target, frames_of([labels]), classes)
    found = read_labels(name, target)
    assert found.classes is not None
    if name == "cityscapes":
        return  # it has none of these
    assert len(found.classes) == len(classes)
    # Whatever they are called there, their order is ours.
    places = found.frames[0].load()
    expected = kept(labels)
    if name == "yolo-seg":
        assert set(np.unique(places)) <= set(np.unique(expected))
    else:
        np.testing.assert_array_equal(places, expected)


@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_an_id_without_a_class_is_refused(name: str, tmp_path: Path) -> None:
    frames = frames_of([np.full((2, 2), 4, np.uint8)])
    with pytest.raises(LabelError, match=r"frame 000000 hold the ids \[4\], but there are 4"):
        export(name, target_of(name, tmp_path), frames)
    assert list(tmp_path.iterdir()) == []
