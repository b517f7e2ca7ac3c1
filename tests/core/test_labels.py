from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stt_core.errors import LabelError
from stt_core.labels import (
    UNLABELLED,
    VOID,
    LabelClass,
    LabelStore,
    Stroke,
    palette_rgba,
    read_classes,
    read_label_png,
    write_label_png,
)
from stt_core.project.label_folder import read_label_folder, write_labels
from stt_core.resources import SAMPLE_CLASSES, resource_path

CLASSES = (LabelClass("floor", (10, 20, 30)), LabelClass("box", (255, 0, 0)))
SIZE = (40, 60)


def _dab(x: float, y: float, radius: float, class_id: int) -> Stroke:
    return Stroke(np.array([[x, y]]), radius, class_id)


_strokes = st.builds(
    lambda points, radius, class_id: Stroke(np.array(points, float), radius, class_id),
    st.lists(st.tuples(st.floats(-20, 80), st.floats(-20, 60)), min_size=1, max_size=4),
    st.floats(0.5, 30),
    st.sampled_from([0, 1, VOID, UNLABELLED]),
)


@given(st.lists(st.tuples(st.integers(0, 2), _strokes), max_size=8))
@settings(max_examples=40, deadline=None)
def test_undoing_everything_leaves_nothing_and_redoing_brings_it_back(
    edits: list[tuple[int, Stroke]],
) -> None:
    store = LabelStore(SIZE)
    for frame, stroke in edits:
        store.apply(frame, stroke)
    painted = [store.get(f) for f in range(3)]
    while store.undo() is not None:
        pass
    assert all((store.get(f) == UNLABELLED).all() for f in range(3))
    while store.redo() is not None:
        pass
    for f in range(3):
        np.testing.assert_array_equal(store.get(f), painted[f])


@given(_strokes)
@settings(max_examples=60, deadline=None)
def test_a_stroke_covers_the_pixels_within_its_radius(stroke: Stroke) -> None:
    store = LabelStore(SIZE)
    painted = Stroke(stroke.points, stroke.radius, 1)
    store.apply(0, painted)
    got = store.get(0) == 1
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    near = np.full(SIZE, np.inf)
    steps = np.linspace(0, 1, 200)
    ends = painted.points[1:] if len(painted.points) > 1 else painted.points
    for a, b in zip(painted.points, ends, strict=False):
        for t in steps:
            px, py = a + t * (b - a)
            near = np.minimum(near, np.hypot(x - px, y - py))
    assert got[near < painted.radius - 0.5].all()
    assert not got[near > painted.radius + 0.5].any()


def test_a_new_stroke_forgets_what_could_be_redone() -> None:
    store = LabelStore(SIZE)
    store.apply(0, _dab(10, 10, 4, 0))
    store.undo()
    store.apply(0, _dab(30, 10, 4, 1))
    assert store.redo() is None


def test_a_map_handed_out_is_a_copy() -> None:
    store = LabelStore(SIZE)
    store.apply(0, _dab(10, 10, 4, 1))
    store.get(0)[:] = 0
    assert store.get(0)[10, 10] == 1
    store.snapshot()[0][:] = 0
    assert store.get(0)[10, 10] == 1


def test_the_snapshot_leaves_out_frames_with_nothing_to_learn() -> None:
    store = LabelStore(SIZE)
    store.apply(0, _dab(10, 10, 4, VOID))
    store.apply(1, _dab(10, 10, 4, 1))
    store.apply(2, _dab(10, 10, 4, 1))
    store.apply(2, _dab(10, 10, 9, UNLABELLED))
    assert list(store.snapshot()) == [1]


@pytest.mark.parametrize("classes", [None, CLASSES])
def test_a_label_map_survives_its_file(
    tmp_path: Path, classes: tuple[LabelClass, ...] | None
) -> None:
    ids = np.array([[0, 1, VOID], [UNLABELLED, 1, 0]], np.uint8)
    write_label_png(tmp_path / "a.png", ids, classes)
    np.testing.assert_array_equal(read_label_png(tmp_path / "a.png", 2), ids)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == ("L" if classes is None else "P")


def test_a_palette_file_shows_the_classes_colours(tmp_path: Path) -> None:
    write_label_png(tmp_path / "a.png", np.array([[0, 1]], np.uint8), CLASSES)
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image.convert("RGB")).tolist() == [[[10, 20, 30], [255, 0, 0]]]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("RGB", (4, 4)), "holds RGB pixels"),
        (Image.fromarray(np.full((4, 4), 300, np.uint16)), "holds I;16 pixels"),
        (Image.new("L", (4, 4), 7), r"holds the ids \[7\].*2 classes"),
    ],
)
def test_what_is_no_label_map_is_refused(tmp_path: Path, image: Image.Image, message: str) -> None:
    image.save(tmp_path / "a.png")
    with pytest.raises(LabelError, match=message):
        read_label_png(tmp_path / "a.png", 2)


def test_a_damaged_png_is_refused(tmp_path: Path) -> None:
    write_label_png(tmp_path / "a.png", np.zeros((64, 64), np.uint8))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LabelError, match="cannot read the label map"):
        read_label_png(tmp_path / "a.png", 2)


def test_a_folder_of_labels_is_read_back(tmp_path: Path) -> None:
    store = LabelStore(SIZE)
    store.apply(7, _dab(10, 10, 4, 1))
    store.apply(123456, _dab(30, 10, 4, VOID))
    for frame in store:
        write_labels(tmp_path, frame, store.get(frame), CLASSES)
    again = read_label_folder(tmp_path, SIZE, 2)
    assert list(again) == [7, 123456]
    np.testing.assert_array_equal(again.get(7), store.get(7))
    assert len(read_label_folder(tmp_path / "missing", SIZE, 2)) == 0
    with pytest.raises(LabelError, match=r"60x40, but the video is 8x4"):
        read_label_folder(tmp_path, (4, 8), 2)


def test_the_shipped_classes_are_camvids() -> None:
    classes = read_classes(resource_path(SAMPLE_CLASSES))
    assert [c.name for c in classes] == [
        "Sky", "Building", "Pole", "Road", "Pavement", "Tree",
        "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
    ]  # fmt: skip
    table = palette_rgba(classes)
    assert table[3].tolist() == [128, 64, 128, 255]
    assert (table[11:] == 0).all()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"classes": [{"name": "a"}]}', '{"classes": [{"name": "a", "color": [1]}]}']
)
def test_what_is_no_class_list_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(LabelError, match="is not a class list"):
        read_classes(tmp_path / "c.json")
