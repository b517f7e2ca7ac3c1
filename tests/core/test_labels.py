from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from stt_core.data.label_codes import index_code, read_labels
from stt_core.errors import LabelError
from stt_core.labels import (
    UNLABELLED,
    VOID,
    LabelClass,
    Stroke,
    covered_by,
    palette_rgba,
    read_classes,
    read_label_png,
    write_label_png,
)
from stt_core.resources import SAMPLE_CLASSES, resource_path

CLASSES = (LabelClass("floor", (10, 20, 30)), LabelClass("box", (255, 0, 0)))
SIZE = (40, 60)


_strokes = st.builds(
    lambda points, radius, class_id: Stroke(np.array(points, float), radius, class_id),
    st.lists(st.tuples(st.floats(-20, 80), st.floats(-20, 60)), min_size=1, max_size=4),
    st.floats(0.5, 30),
    st.sampled_from([0, 1, VOID, UNLABELLED]),
)


@given(_strokes)
@settings(max_examples=60, deadline=None)
def test_a_stroke_covers_the_pixels_within_its_radius(stroke: Stroke) -> None:
    where, covered = covered_by(stroke, SIZE)
    got = np.zeros(SIZE, np.bool_)
    got[where] = covered
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    near = np.full(SIZE, np.inf)
    steps = np.linspace(0, 1, 200)
    ends = stroke.points[1:] if len(stroke.points) > 1 else stroke.points
    for a, b in zip(stroke.points, ends, strict=False):
        for t in steps:
            px, py = a + t * (b - a)
            near = np.minimum(near, np.hypot(x - px, y - py))
    assert got[near < stroke.radius - 0.5].all()
    assert not got[near > stroke.radius + 0.5].any()


@given(_strokes)
@settings(max_examples=60, deadline=None)
def test_the_box_of_a_stroke_lies_in_the_map(stroke: Stroke) -> None:
    (rows, cols), covered = covered_by(stroke, SIZE)
    assert np.empty(SIZE)[rows, cols].shape == covered.shape
    assert rows.start >= 0
    assert cols.start >= 0


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


def _packed_png(path: Path, ids: NDArray[np.uint8], bits: int, palette: bytes) -> Path:
    """A PNG of so many bits a pixel, made by the book: grey where there is no palette."""

    def chunk(tag: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(tag + data)
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", crc)

    height, width = ids.shape
    planes = np.unpackbits(ids[..., None], axis=2)[..., 8 - bits :]  # [H, W, bits], high bit first
    rows = np.packbits(planes.reshape(height, -1), axis=1)
    head = struct.pack(">IIBBBBB", width, height, bits, 3 if palette else 0, 0, 0, 0)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [chunk(b"IHDR", head), chunk(b"PLTE", palette) if palette else b""]
    parts += [chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", ["grey", "palette", "Pillow's palette"])
def test_ids_of_fewer_bits_are_the_numbers_in_the_file(
    tmp_path: Path, bits: int, kind: str
) -> None:
    count = min(1 << bits, 200)
    ids = np.random.default_rng(bits).integers(0, count, (5, 7)).astype(np.uint8)
    colors = np.random.default_rng(0).integers(0, 256, (count, 3)).astype(np.uint8)
    path = tmp_path / "a.png"
    if kind == "Pillow's palette":
        image = Image.fromarray(ids)
        image.putpalette(colors.tobytes())
        image.save(path, bits=bits)
    else:
        _packed_png(path, ids, bits, colors.tobytes() if kind == "palette" else b"")
        with Image.open(path) as image:  # it shows the picture that was meant
            grey = (ids.astype(int) * 255 // ((1 << bits) - 1))[..., None].repeat(3, 2)
            shown = colors[ids] if kind == "palette" else grey
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), shown)
    np.testing.assert_array_equal(read_label_png(path, count), ids)
    code = index_code({i: i for i in range(count)})
    np.testing.assert_array_equal(read_labels(path, code), ids)


def test_black_and_white_of_pillow_are_0_and_1(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 2, (9, 11)).astype(np.uint8)
    Image.fromarray(ids.astype(np.bool_)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "1"
    np.testing.assert_array_equal(read_label_png(tmp_path / "a.png", 2), ids)
