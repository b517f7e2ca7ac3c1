"""The traps of formats with an image for each frame: where files lie, what numbers mean."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stt_core.errors import FormatError
from stt_core.formats.exchange import ExportFrame, ExportMedium
from stt_core.formats.label_formats import LABEL_FORMATS, read_labels
from stt_core.formats.mapping import propose_mapping
from stt_core.labels import LabelClass
from stt_core.resources import resource_path
from tests.core.formats.samples import (
    CAR,
    CLASSES,
    ROAD,
    checkers,
    export,
    frames_of,
    in_our_ids,
    kept,
    picture,
    target_of,
)


def _files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def _ids(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def _save(path: Path, pixels: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


LAYOUTS = {
    "cityscapes": {
        "leftImg8bit/val/oslo/oslo_000000_000003_leftImg8bit.png",
        "gtFine/val/oslo/oslo_000000_000003_gtFine_labelIds.png",
        "gtFine/val/oslo/oslo_000000_000003_gtFine_labelTrainIds.png",
        "gtFine/val/oslo/oslo_000000_000003_gtFine_instanceIds.png",
        "gtFine/val/oslo/oslo_000000_000003_gtFine_color.png",
    },
    "camvid": {
        "701_StillsRaw_full/a3.png", "LabeledApproved_full/a3_L.png", "label_colors.txt", "val.txt",
    },
    "camvid-index": {"val/a3.png", "valannot/a3.png", "classes.json", "val.txt"},
    "voc": {
        "JPEGImages/a3.jpg", "SegmentationClass/a3.png", "ImageSets/Segmentation/val.txt",
        "labelmap.txt",
    },
    "palette": {"masks/0000003.png", "images/0000003.jpg", "classes.json"},
    "coco-panoptic": {
        "annotations/panoptic_val.json", "annotations/panoptic_val/a3.png", "images/val/a3.jpg",
    },
    "coco-rle": {"annotations/instances_val.json", "images/val/a3.jpg"},
    "datumaro": {"annotations/val.json", "images/val/a3.jpg"},
    "yolo-seg": {
        "labels/val/a3.txt", "images/val/a3.png", "data.yaml", "classes.json", "sizes.json",
    },
    "mmseg": {"annotations/val/a3.png", "images/val/a3.jpg", "dataset_meta.json"},
    "png": {"labels/a3.png", "images/a3.png", "classes.json"},
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_lie_where_the_format_has_them(name: str, tmp_path: Path) -> None:
    labels = checkers()
    frame = ExportFrame("a3", 3, labels, lambda: picture(labels))
    export(name, tmp_path, [frame], split="val", place="oslo", provenance={"model": "abc"})
    assert _files(tmp_path) == LAYOUTS[name] | {"provenance.json"}
    told = json.loads((tmp_path / "provenance.json").read_text())
    # Where a name is lost, the record tells it.
    lost = {"frames": {"oslo_000000_000003": {"name": "a3"}}} if name == "cityscapes" else {}
    assert told == {"model": "abc", **lost}
    for image in tmp_path.rglob("*a3.png"):
        if image.relative_to(tmp_path).parts[0] in ("701_StillsRaw_full", "images", "val"):
            np.testing.assert_array_equal(_ids(image), picture(labels))


def test_label_ids_of_cityscapes_are_not_train_ids(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2, 3, 255, 254]], np.uint8)
    frame = ExportFrame("aachen_000001_000019", 19, labels)
    report = export("cityscapes", tmp_path, [frame])
    folder = tmp_path / "gtFine" / "train" / "aachen"  # its own name says the city
    stem = folder / "aachen_000001_000019_gtFine"
    assert _ids(Path(f"{stem}_labelIds.png")).tolist() == [[7, 26, 19, 23, 0, 0]]
    assert _ids(Path(f"{stem}_labelTrainIds.png")).tolist() == [[0, 13, 6, 10, 255, 255]]
    color = _ids(Path(f"{stem}_color.png"))
    assert color[0, 0].tolist() == [128, 64, 128]
    assert color[0, 4].tolist() == [0, 0, 0]
    assert report.losses == (
        "which pixels belong to one thing is not known: 1 connected regions have instance ids of "
        "their own",
    )


def test_instance_ids_of_cityscapes_are_regions_of_things(tmp_path: Path) -> None:
    labels = np.zeros((6, 9), np.uint8)
    labels[1:3, 1:3] = 1  # two cars, the larger second
    labels[3:6, 5:9] = 1
    labels[0, 8], labels[0, 0] = 2, 255
    report = export("cityscapes", tmp_path, frames_of([labels]))
    (file,) = tmp_path.rglob("*_gtFine_instanceIds.png")
    with Image.open(file) as image:
        assert image.mode == "I;16"
        ids = np.asarray(image)
    expected = np.full(labels.shape, 7)
    expected[1:3, 1:3], expected[3:6, 5:9] = 26001, 26000
    expected[0, 8], expected[0, 0] = 19, 0
    np.testing.assert_array_equal(ids, expected)
    assert any("2 connected regions have instance ids" in loss for loss in report.losses)
    (found,) = in_our_ids(read_labels("cityscapes", tmp_path), CLASSES)
    np.testing.assert_array_equal(found, kept(labels))


def test_more_than_1000_regions_of_a_class_are_a_group(tmp_path: Path) -> None:
    labels = np.zeros((80, 80), np.uint8)
    labels[::2, ::2] = 1
    report = export("cityscapes", tmp_path, frames_of([labels]))
    (file,) = tmp_path.rglob("*_gtFine_instanceIds.png")
    ids = _ids(file)
    assert sorted(set(ids[labels == 1].tolist())) == [26, *range(26000, 27000)]
    assert any(loss.startswith("600 regions beyond 1000") for loss in report.losses)


def test_two_frames_of_one_official_name_stay_two(tmp_path: Path) -> None:
    name = "aachen_000000_000001"
    frames = [ExportFrame(name, 1, np.full((2, 2), i, np.uint8), None, f"m{i}") for i in (0, 1)]
    media = (ExportMedium("m0", 1), ExportMedium("m1", 1))
    export("cityscapes", tmp_path, frames, media=media)
    found = {f.medium: f for f in read_labels("cityscapes", tmp_path).frames}
    assert {f.name for f in found.values()} == {name}
    assert sorted(p.name for p in (tmp_path / "gtFine" / "train").iterdir()) == ["aachen", "m1"]


def test_classes_that_cityscapes_lacks_are_told(tmp_path: Path) -> None:
    classes = (ROAD, LabelClass("Lane", (1, 2, 3)), LabelClass("Parking", (4, 5, 6)),
               LabelClass("traffic-light", (7, 8, 9)), LabelClass("Traffic Light", (7, 8, 8)),
               LabelClass("Unused", (9, 9, 9)))  # fmt: skip
    labels = np.array([[0, 1, 1, 2, 3, 4]], np.uint8)
    report = export("cityscapes", tmp_path, frames_of([labels]), classes)
    assert report.losses == (
        "Cityscapes has no class 'Lane': its 2 pixels became unlabelled",
        "Cityscapes does not train on 'parking': its 1 pixels are 255 in the train ids",
        "2 classes became 'traffic light'",
        "1 frames were renamed to CITY_SEQ_FRAME, the frame number last",
    )
    stem = tmp_path / "gtFine" / "train" / "video" / "video_000000_000000_gtFine"
    assert _ids(Path(f"{stem}_labelIds.png")).tolist() == [[7, 0, 0, 9, 19, 19]]


def test_train_ids_under_the_name_of_label_ids_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "gtFine" / "train" / "a" / "a_000000_000000_gtFine_labelIds.png"
    _save(file, np.array([[0, 13, 255]], np.uint8))
    with pytest.raises(FormatError, match=r"holds the ids 255"):
        read_labels("cityscapes", tmp_path).frames[0].load()
    _save(file, np.array([[7, 26023]], np.uint16))  # instanceIds
    with pytest.raises(FormatError, match="numbers of 16 bits, as maps of instances do"):
        read_labels("cityscapes", tmp_path).frames[0].load()


def test_train_ids_are_read_where_there_are_no_label_ids(tmp_path: Path) -> None:
    export("cityscapes", tmp_path, frames_of([checkers()]))
    for file in tmp_path.rglob("*_labelIds.png"):
        file.unlink()
    (labels,) = in_our_ids(read_labels("cityscapes", tmp_path), CLASSES)
    np.testing.assert_array_equal(labels, kept(checkers()))


def test_label_colors_txt_wins_over_the_known_palette(tmp_path: Path) -> None:
    pixels = np.array([[[60, 40, 222], [0, 0, 192], [0, 0, 0]]], np.uint8)
    _save(tmp_path / "LabeledApproved_full" / "a_L.png", pixels)
    (tmp_path / "label_colors.txt").write_text("60 40 222\tSidewalk\n0 0 192 Car\n0 0 0 Void\n")
    found = read_labels("camvid", tmp_path)
    assert found.classes is not None
    assert [c.name for c in found.classes] == ["Sidewalk", "Car"]
    assert found.frames[0].load().tolist() == [[0, 1, 255]]
    (tmp_path / "label_colors.txt").unlink()
    found = read_labels("camvid", tmp_path)
    assert len(found.notes) == 1
    assert found.classes is not None
    assert len(found.classes) == 31
    with pytest.raises(FormatError, match=r"does not name: \(60, 40, 222\)"):
        found.frames[0].load()  # that colour is of another release


def test_the_32_classes_of_camvid_become_11(tmp_path: Path) -> None:
    rows = json.loads(resource_path("classes/camvid32.json").read_text())["classes"]
    pixels = np.array([[row["color"] for row in rows]], np.uint8)
    _save(tmp_path / "LabeledApproved_full" / "a_L.png", pixels)
    ours = json.loads(resource_path("classes/camvid11.json").read_text())["classes"]
    classes = tuple(LabelClass(c["name"], tuple(c["color"])) for c in ours)
    (labels,) = in_our_ids(read_labels("camvid", tmp_path), classes)
    became = {row["name"]: int(i) for row, i in zip(rows, labels[0], strict=True)}
    names = [c.name for c in classes]
    assert became["Void"] == 255
    assert names[became["Wall"]] == "Building"
    assert names[became["Sidewalk"]] == "Pavement"
    assert names[became["LaneMkgsDriv"]] == "Road"
    assert set(became.values()) == {*range(11), 255}


def test_void_of_the_index_form_is_the_number_of_classes(tmp_path: Path) -> None:
    export("camvid-index", tmp_path, frames_of([np.array([[0, 3, 255]], np.uint8)]))
    assert _ids(tmp_path / "trainannot" / "000000.png").tolist() == [[0, 3, 4]]
    (tmp_path / "classes.json").unlink()
    _save(tmp_path / "trainannot" / "000000.png", np.array([[0, 10, 11]], np.uint8))
    found = read_labels("camvid-index", tmp_path)
    assert found.frames[0].load().tolist() == [[0, 10, 255]]
    _save(tmp_path / "trainannot" / "000000.png", np.array([[12]], np.uint8))
    with pytest.raises(FormatError, match="holds the ids 12"):
        found.frames[0].load()


@pytest.mark.parametrize("name", ["camvid", "cvat"])
def test_classes_of_one_colour_get_others_and_that_is_told(name: str, tmp_path: Path) -> None:
    classes = (ROAD, LabelClass("Other road", ROAD.color), LabelClass("Night", (0, 0, 0)))
    target = target_of(name, tmp_path)
    report = export(name, target, frames_of([checkers((3, 3), 3)]), classes)
    told = [loss for loss in report.losses if "has the colour" in loss]
    assert len(told) == 2
    assert "that of another class" in told[0]
    assert "that of pixels without a class" in told[1]
    np.testing.assert_array_equal(
        read_labels(name, target).frames[0].load(), kept(checkers((3, 3), 3))
    )


def test_the_palette_of_voc_is_written_even_if_unused(tmp_path: Path) -> None:
    export("voc", tmp_path, frames_of([np.full((2, 2), 255, np.uint8)]))
    with Image.open(tmp_path / "SegmentationClass" / "000000.png") as image:
        assert image.mode == "P"
        assert len(image.getpalette() or ()) == 768
        assert np.asarray(image).tolist() == [[255, 255], [255, 255]]
    listed = (tmp_path / "ImageSets" / "Segmentation" / "train.txt").read_text()
    assert listed == "000000\n"


def test_voc_without_a_label_map_has_the_classes_of_voc(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 15, 255]], np.uint8))
    image.putpalette([0] * 768)
    (tmp_path / "SegmentationClass").mkdir()
    image.save(tmp_path / "SegmentationClass" / "2007_000032.png")
    found = read_labels("voc", tmp_path)
    assert found.classes is not None
    assert found.classes[15].name == "person"
    assert found.classes[15].color == (192, 128, 128)
    assert found.frames[0].load().tolist() == [[0, 15, 255]]


def test_colours_where_ids_belong_are_refused(tmp_path: Path) -> None:
    export("voc", tmp_path, frames_of([checkers()]))
    _save(tmp_path / "SegmentationClass" / "000000.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(FormatError, match="holds colours"):
        read_labels("voc", tmp_path).frames[0].load()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_ids_of_fewer_bits_are_the_numbers_in_the_file(bits: int, tmp_path: Path) -> None:
    labels = np.arange(4, dtype=np.uint8).reshape(2, 2) % (1 << bits)
    image = Image.fromarray(labels)
    image.putpalette([i for i in range(256) for _ in range(3)])
    image.save(tmp_path / "palette.png", bits=bits)
    grey = Image.fromarray(labels * np.uint8(255)).convert("1") if bits == 1 else None
    if grey is not None:
        grey.save(tmp_path / "grey.png")
    for frame in read_labels("png", tmp_path).frames:
        assert frame.load().tolist() == labels.tolist()


def test_index_0_of_a_palette_folder_is_the_background(tmp_path: Path) -> None:
    export("palette", tmp_path, frames_of([np.array([[0, 3, 255]], np.uint8)]))
    assert _ids(tmp_path / "masks" / "0000000.png").tolist() == [[1, 4, 0]]
    (tmp_path / "classes.json").unlink()
    found = read_labels("palette", tmp_path)
    assert not found.ids_are_classes
    assert "an index is perhaps an object" in found.notes[0]
    unknown = propose_mapping(found, (LabelClass("x", (1, 1, 1)),))
    assert all(row.ours is None for row in unknown.rows)
    assert in_our_ids(found, CLASSES)[0].tolist() == [[0, 3, 255]]  # found by colour


def test_cvat_calls_frames_of_a_video_by_number(tmp_path: Path) -> None:
    frame = ExportFrame("left", 7, checkers())
    export("cvat", tmp_path / "a.zip", [frame], provenance={"model": "abc"})
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {
            "labelmap.txt", "SegmentationClass/frame_000007.png", "provenance.json",
            "SegmentationObject/frame_000007.png", "ImageSets/Segmentation/default.txt",
        }  # fmt: skip
        lines = archive.read("labelmap.txt").decode().splitlines()
        assert lines[1:3] == ["background:0,0,0::", "Road:128,64,128::"]
        assert archive.read("ImageSets/Segmentation/default.txt") == b"frame_000007\n"
    assert read_labels("cvat", tmp_path / "a.zip").frames[0].index == 7
    export("cvat", tmp_path / "b.zip", [ExportFrame("left", 7, checkers(), video=False)])
    assert read_labels("cvat", tmp_path / "b.zip").frames[0].name == "left"


def test_cvat_in_capital_letters_is_read_zipped_or_unpacked(tmp_path: Path) -> None:
    export("cvat", tmp_path / "a.zip", frames_of([checkers()]))
    with (
        zipfile.ZipFile(tmp_path / "a.zip") as old,
        zipfile.ZipFile(tmp_path / "b.zip", "w") as new,
    ):
        for name in old.namelist():
            new.writestr(name.replace(".png", ".PNG"), old.read(name))
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    for path in (tmp_path / "b.zip", tmp_path / "unpacked"):
        (labels,) = in_our_ids(read_labels("cvat", path), CLASSES)
        np.testing.assert_array_equal(labels, kept(checkers()))


def test_zero_can_mean_no_class_in_mmsegmentation(tmp_path: Path) -> None:
    export("mmseg", tmp_path, frames_of([checkers()]))
    meta = tmp_path / "dataset_meta.json"
    told = json.loads(meta.read_text())
    assert told["classes"] == [c.name for c in CLASSES]
    assert (told["ignore_index"], told["reduce_zero_label"]) == (255, False)
    meta.write_text(json.dumps({**told, "reduce_zero_label": True}))
    _save(tmp_path / "annotations" / "train" / "000000.png", np.array([[0, 1, 4]], np.uint8))
    assert in_our_ids(read_labels("mmseg", tmp_path), CLASSES)[0].tolist() == [[255, 0, 3]]


def test_ids_without_a_class_are_refused(tmp_path: Path) -> None:
    export("png", tmp_path, frames_of([checkers()]), (ROAD, CAR, *CLASSES[2:]))
    _save(tmp_path / "labels" / "000000.png", np.array([[77]], np.uint8))
    with pytest.raises(FormatError, match=r"holds the ids 77, which its class list does not have"):
        read_labels("png", tmp_path).frames[0].load()


def test_every_format_says_what_it_loses_in_sentences() -> None:
    for form in LABEL_FORMATS.values():
        assert form.loses == "" or form.loses.endswith(".")
