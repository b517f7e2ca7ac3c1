from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stt_core.data.problems import check_image, refuse
from stt_core.data.sources import open_data
from stt_core.errors import DataError, Problem
from stt_core.labels import UNLABELLED, VOID
from tests.core.data_sets import SIZE, ids, picture, write_folder, write_image


def cut(path: Path, share: float = 0.6) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def save(path: Path, image: Image.Image) -> None:
    image.save(path)


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "labels of another size": (
        "labels",
        lambda p: write_image(p, ids(0, 3, (6, 9))),
        "is 9 x 6 pixels, but its image .*2.png is 32 x 24 pixels",
    ),
    "an id outside the table": (
        "labels",
        lambda p: write_image(p, ids(0, 5)),
        r"holds the ids 3, 4, which the class table does not have \(it has 3, up to 2\)",
    ),
    "colours": ("labels", lambda p: write_image(p, picture(0)), "holds RGB colours: labels"),
    "16-bit ids": (
        "labels",
        lambda p: save(p, Image.fromarray(ids(0, 3).astype(np.uint16))),
        "holds numbers of 16 or 32 bits",
    ),
    "grey with alpha": (
        "labels",
        lambda p: save(p, Image.fromarray(ids(0, 3)).convert("LA")),
        "holds LA pixels",
    ),
    "cut labels": ("labels", cut, "cannot be read as a label image"),
    "no labels at all": ("labels", lambda p: p.write_text("hello"), "cannot be read as a label"),
    "empty labels": ("labels", lambda p: p.write_bytes(b""), "cannot be read as a label"),
    "a cut image": ("images", cut, "cannot be read as an image"),
    "an image that lost its last bytes": (
        "images",
        lambda p: cut(p, 0.95),
        "cannot be read as an image",
    ),
    "no image": ("images", lambda p: p.write_text("hello"), r"as an image \(no image\)"),
    "a 16-bit image": (
        "images",
        lambda p: save(p, Image.fromarray(ids(0, 3).astype(np.uint16))),
        "does not have 8 bits per channel",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_told_when_the_data_is_opened(tmp_path: Path, name: str) -> None:
    part, damage, message = BROKEN[name]
    folder = write_folder(tmp_path, ["1.png", "2.png", "3.png"])
    damage(folder / part / "2.png")
    with pytest.raises(DataError, match=message) as caught:
        open_data(f"folder:{folder}")
    (problem,) = caught.value.problems
    assert problem.path == folder / part / "2.png"
    assert str(problem) in str(caught.value)
    open_data(f"folder:{folder}", check=False)


def test_frames_of_one_video_have_one_size(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ["1.png", "2.png"])
    write_image(folder / "images" / "2.png", picture(0, (8, 16)))
    write_image(folder / "labels" / "2.png", ids(0, 3, (8, 16)))
    with pytest.raises(DataError, match=r"2\.png is 16 x 8 pixels, but the sequence"):
        open_data(f"folder:{folder},video=yes")
    assert len(open_data(f"folder:{folder}").sequences[0]) == 2


@pytest.mark.parametrize("nothing", [VOID, UNLABELLED])
def test_data_without_a_labelled_pixel_is_told(tmp_path: Path, nothing: int) -> None:
    folder = write_folder(tmp_path, ["1.png", "2.png"])
    for path in (folder / "labels").iterdir():
        write_image(path, np.full(SIZE, nothing, np.uint8))
    with pytest.raises(DataError, match="no pixel of its label maps has a class"):
        open_data(f"folder:{folder}")
    for path in (folder / "labels").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="nothing in it is labelled"):
        open_data(f"folder:{folder},video=yes")


def test_labels_of_other_formats_are_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ["1.png", "2.png"])
    path = folder / "labels" / "2.png"
    write_image(path.with_suffix(".jpg"), ids(0, 3))
    path.unlink()
    with pytest.raises(DataError, match=r"2\.jpg is no PNG: other formats change ids"):
        open_data(f"folder:{folder}")


def test_all_problems_are_found_and_twenty_are_listed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [f"{i}.png" for i in range(30)])
    for i in range(25):
        write_image(folder / "labels" / f"{i}.png", ids(0, 9))
    with pytest.raises(DataError, match="25 problems") as caught:
        open_data(f"folder:{folder}")
    assert [p.path.stem for p in caught.value.problems] == [str(i) for i in range(25)]
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  ... and 5 more"


def test_no_problem_is_no_error() -> None:
    refuse("folder:x", [])
    with pytest.raises(DataError, match=r"^'folder:x' cannot be used: a is wrong$"):
        refuse("folder:x", [Problem(Path("a"), "is wrong")])


def test_palette_and_one_bit_labels_are_ids(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ["1.png", "2.png"])
    coloured = Image.fromarray(ids(0, 3))
    coloured.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    coloured.save(folder / "labels" / "1.png")
    Image.fromarray(ids(0, 2) == 1).save(folder / "labels" / "2.png")
    (sequence,) = open_data(f"folder:{folder}").sequences
    np.testing.assert_array_equal(sequence.labels(0), ids(0, 3))
    np.testing.assert_array_equal(sequence.labels(1), ids(0, 2))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
def test_whole_images_pass_and_their_size_is_that_shown(tmp_path: Path, suffix: str) -> None:
    path = write_image(tmp_path / f"a.{suffix}", picture(0, (40, 30)))
    assert check_image(path) == (30, 40)
    if suffix == "jpg":
        turned = Image.Exif()
        turned[0x0112] = 6
        Image.fromarray(picture(0, (40, 30))).save(path, exif=turned)
        assert check_image(path) == (40, 30)
    with path.open("ab") as file:
        file.write(bytes(5000))  # as some cameras append
    assert check_image(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(format_=st.sampled_from(["PNG", "JPEG"]), share=st.floats(0, 0.98))
def test_an_image_that_was_cut_anywhere_is_told(tmp_path: Path, format_: str, share: float) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture(0, (40, 30))).save(buffer, format_)
    whole = buffer.getvalue()
    path = tmp_path / f"a.{format_.lower()}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match="cannot be read as an image"):
        check_image(path)
