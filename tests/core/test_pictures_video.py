"""Overlay and comparison videos, as other programs read them."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from itertools import pairwise, product
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from stt_core.drawing import blend
from stt_core.errors import LabelError, OutputError
from stt_core.labels import LabelClass, palette_rgba
from stt_core.media.source import open_media
from stt_core.pictures.animation import MAX_SIDE, choose_palette, find_pace, with_palette
from stt_core.pictures.legend import GROUND, LETTERS, LegendPlace, legend_below, legend_beside
from stt_core.pictures.lettering import load_font, shorten, text_width
from stt_core.pictures.mosaic import Mosaic, MosaicPlan
from stt_core.pictures.video import (
    Panel,
    VideoLook,
    VideoStep,
    WrittenVideo,
    occurring_classes,
    write_video,
)

CLASSES = tuple(
    LabelClass(name, color)
    for name, color in (
        ("road", (200, 30, 30)),
        ("car", (30, 200, 30)),
        ("sky", (40, 60, 220)),
        ("never", (1, 250, 251)),
    )
)
_WIDTH, _HEIGHT, _FRAMES = 161, 91, 6
_FPS = 25.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey frames of odd size, each lighter than the one before."""
    folder = tmp_path_factory.mktemp("frames")
    for i in range(_FRAMES):
        grey = np.full((_HEIGHT, _WIDTH, 3), 60 + 20 * i, np.uint8)
        Image.fromarray(grey).save(folder / f"{i:03d}.png")
    return folder


def flat(class_id: int) -> NDArray[np.uint8]:
    return np.full((_HEIGHT, _WIDTH), class_id, np.uint8)


FOUR = (
    Panel("RGB"),
    Panel("STT", lambda frame: flat(0), 1.0),
    Panel("TDNet", lambda frame: flat(1), 1.0),
    Panel("ETC", lambda frame: flat(2), 0.5),
)


def write(
    path: Path,
    folder: Path,
    panels: tuple[Panel, ...],
    look: VideoLook | None = None,
    frames: range = range(_FRAMES),
) -> tuple[list[VideoStep], WrittenVideo]:
    with open_media(folder) as media:
        steps = write_video(path, media, panels, CLASSES, frames, look)
        taken = []
        while True:
            try:
                taken.append(next(steps))
            except StopIteration as end:
                return taken, end.value


def decode(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]


def quarters(picture: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """The colour in the middle of each quarter, which lies in its panel."""
    height, width = picture.shape[:2]
    middles = product((height // 4, height * 3 // 4), (width // 4, width * 3 // 4))
    return [picture[y - 3 : y + 3, x - 3 : x + 3].mean((0, 1)) for y, x in middles]


def expected(frame: int) -> list[tuple[float, float, float]]:
    grey = 60.0 + 20 * frame
    red, green, blue = CLASSES[2].color
    mixed = ((red + grey) / 2, (green + grey) / 2, (blue + grey) / 2)
    return [(grey, grey, grey), CLASSES[0].color, CLASSES[1].color, mixed]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_four_panels_stand_two_by_two(folder: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"four{suffix}"
    _, written = write(path, folder, FOUR, VideoLook(fps=_FPS))
    shown = decode(path)
    assert len(shown) == _FRAMES == written.pictures
    for frame, picture in enumerate(shown):
        height, width = picture.shape[:2]
        # H.264 has even sizes only
        assert (width // 2 * 2, height // 2 * 2) == (width, height)
        assert (width - written.size[0], height - written.size[1]) <= (1, 1)
        for found, wanted in zip(quarters(picture), expected(frame), strict=True):
            np.testing.assert_allclose(found, wanted, atol=8)
    reader = cv2.VideoCapture(str(path))
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(_FPS)
    reader.release()
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"


@pytest.mark.parametrize(("suffix", "near"), [(".gif", 6), (".webp", 8)])
def test_an_animation_shows_the_same_and_loops(
    folder: Path, tmp_path: Path, suffix: str, near: int
) -> None:
    path = tmp_path / f"four{suffix}"
    steps, written = write(path, folder, FOUR, VideoLook(fps=15.0, number=True))
    with Image.open(path) as image:
        assert image.n_frames == _FRAMES  # type: ignore[attr-defined]
        assert image.size == written.size
        assert image.info["loop"] == 0
        durations = []
        for frame in range(_FRAMES):
            image.seek(frame)
            image.load()
            durations.append(image.info["duration"])
            picture = np.asarray(image.convert("RGB"))
            for found, wanted in zip(quarters(picture), expected(frame), strict=True):
                np.testing.assert_allclose(found, wanted, atol=near)
    assert sum(durations) == 400
    assert set(durations) == {60, 70}
    assert steps[-1].doing == "save"


def test_the_colours_of_classes_are_exact_in_a_gif(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "a.gif", folder, FOUR, VideoLook(legend="below"))
    with Image.open(tmp_path / "a.gif") as image:
        image.seek(2)
        found = quarters(np.asarray(image.convert("RGB")))
    assert [*found[1]] == [*CLASSES[0].color]
    assert [*found[2]] == [*CLASSES[1].color]


def test_one_panel_is_an_overlay_of_the_frames_own_size(folder: Path, tmp_path: Path) -> None:
    labels = flat(255)
    labels[20:70, 30:90] = 1
    write(tmp_path / "a.mp4", folder, (Panel(labels=lambda frame: labels),))
    shown = decode(tmp_path / "a.mp4")
    with open_media(folder) as media:
        for frame, picture in enumerate(shown):
            plain = blend(media[frame].image, labels, palette_rgba(CLASSES), 0.5)
            assert picture.shape == (_HEIGHT + 1, _WIDTH + 1, 3)
            np.testing.assert_allclose(picture[25:65, 36:84], plain[25:65, 36:84], atol=8)
            np.testing.assert_allclose(picture[:15, :20], plain[:15, :20], atol=4)


def test_two_panels_stand_side_by_side(folder: Path, tmp_path: Path) -> None:
    _, written = write(tmp_path / "a.mp4", folder, (FOUR[1], FOUR[2]))
    assert written.size[0] > 2 * _WIDTH
    assert written.size[1] < 1.5 * _HEIGHT
    picture = decode(tmp_path / "a.mp4")[0]
    middle, quarter = picture.shape[0] * 2 // 3, picture.shape[1] // 4
    np.testing.assert_allclose(picture[middle, quarter], CLASSES[0].color, atol=8)
    np.testing.assert_allclose(picture[middle, -quarter], CLASSES[1].color, atol=8)


def test_every_second_frame_keeps_the_speed(folder: Path, tmp_path: Path) -> None:
    with open_media(folder) as media:
        own = media.fps
    _, written = write(tmp_path / "a.mp4", folder, FOUR[:1], frames=range(1, _FRAMES, 2))
    greys = [picture.mean() for picture in decode(tmp_path / "a.mp4")]
    assert len(greys) == 3
    assert greys[0] < greys[1] < greys[2]
    assert written.seconds == pytest.approx(_FRAMES / own)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert float(container.streams.video[0].average_rate or 0) == pytest.approx(own / 2)


def _has(picture: NDArray[np.uint8], color: tuple[int, int, int]) -> int:
    return int((picture == color).all(-1).sum())


@pytest.mark.parametrize("place", ["below", "beside"])
def test_the_legend_lists_the_classes_that_occur(
    folder: Path, tmp_path: Path, place: LegendPlace
) -> None:
    def labels(frame: int) -> NDArray[np.uint8]:
        found = flat(0)
        found[0, 0] = 2 if frame == _FRAMES - 1 else 255
        return found

    panels = (Panel("image"), Panel("labels", labels, 0.0))
    steps, written = write(tmp_path / "a.gif", folder, panels, VideoLook(legend=place))
    assert written.shown == (0, 2)
    assert [s.done for s in steps] == [*range(1, 2 * _FRAMES + 1), 2 * _FRAMES]
    assert {s.total for s in steps} == {2 * _FRAMES + 1}
    assert [s.doing for s in steps] == ["survey"] * _FRAMES + ["draw"] * _FRAMES + ["save"]
    with Image.open(tmp_path / "a.gif") as image:
        picture = np.asarray(image.convert("RGB"))
    # the labels are transparent, so that only swatches have these colours
    assert all(_has(picture, CLASSES[i].color) > 50 for i in (0, 2))
    assert not any(_has(picture, CLASSES[i].color) for i in (1, 3))


def test_a_legend_that_is_given_asks_for_no_survey(folder: Path, tmp_path: Path) -> None:
    asked = []

    def labels(frame: int) -> NDArray[np.uint8]:
        asked.append(frame)
        return flat(0)

    look = VideoLook(legend="below", shown=(3, 1))
    _, written = write(tmp_path / "a.mp4", folder, (Panel("", labels),), look)
    assert written.shown == (3, 1)
    assert asked == [*range(_FRAMES)]


def test_number_and_time_are_those_of_the_frame(folder: Path, tmp_path: Path) -> None:
    """The corner that tells them differs from frame to frame, and nothing else does."""

    still = tmp_path / "still"
    still.mkdir()
    for i in range(3):
        Image.new("RGB", (_WIDTH, _HEIGHT), (60, 60, 60)).save(still / f"{i}.png")
    write(tmp_path / "a.gif", still, FOUR[:1], VideoLook(number=True), range(3))
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 3  # type: ignore[attr-defined]
        first = np.asarray(image.convert("RGB"))
        image.seek(1)
        second = np.asarray(image.convert("RGB"))
    y, x = (first != second).any(-1).nonzero()
    assert y.min() >= _HEIGHT
    assert x.min() > first.shape[1] / 2
    write(tmp_path / "b.gif", still, FOUR[:1], frames=range(3))
    with Image.open(tmp_path / "b.gif") as image:
        assert getattr(image, "n_frames", 1) == 1, "equal pictures became one"


# -- nothing half-written --


def test_closing_leaves_no_trace(folder: Path, tmp_path: Path) -> None:
    for suffix in (".mp4", ".gif", ".webp"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"old")
        with open_media(folder) as media:
            steps: Generator[VideoStep, None, WrittenVideo] = write_video(
                path, media, FOUR, CLASSES, range(_FRAMES)
            )
            for _ in range(3):
                next(steps)
            steps.close()
        assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_failure_midway_leaves_no_trace(folder: Path, tmp_path: Path, suffix: str) -> None:
    def labels(frame: int) -> NDArray[np.uint8]:
        return flat(0) if frame < 4 else flat(0)[:-1]

    path = tmp_path / f"a{suffix}"
    with pytest.raises(LabelError, match=r"labels of 'ETC' for frame .* 161 x 90 .* is 161 x 91"):
        write(path, folder, (Panel("ETC", labels),))
    assert list(tmp_path.iterdir()) == []


def test_names_that_tell_no_format_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("a.txt", "a"):
        with pytest.raises(OutputError, match=r"must end in one of \.mp4"):
            write(tmp_path / name, folder, FOUR)
    with pytest.raises(OutputError, match="no frame"):
        write(tmp_path / "a.mp4", folder, FOUR, frames=range(0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    sys.platform == "win32" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="permissions do not bind this user",
)
@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp"])
def test_a_folder_without_permission_is_told(folder: Path, tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"):
        write(tmp_path / name, folder, FOUR)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_a_file_where_a_folder_is_needed_is_told(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file"):
        write(tmp_path / "file" / name, folder, FOUR)


def test_wrong_looks_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="classes of 4"):
        write(tmp_path / "a.mp4", folder, FOUR, VideoLook(legend="below", shown=(0, 4)))
    for look in ({"fps": 0.0}, {"columns": 0}, {"max_side": -1}, {"fps": float("nan")}):
        with pytest.raises(ValueError, match="above 0"):
            VideoLook(**look)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="opacity"):
        Panel(opacity=1.2)


# -- layout --

_NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "Zs"]), max_size=30)
_LISTS = st.lists(st.builds(LabelClass, _NAMES, st.just((250, 1, 250))), min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(classes=_LISTS, room=st.integers(10, 900), text=st.integers(11, 24), more=st.integers(0, 99))
def test_nothing_of_a_legend_is_cut_off(
    classes: list[LabelClass], room: int, text: int, more: int
) -> None:
    below = legend_below(classes, room, text, aside=more)
    beside = legend_beside(classes, room, text, width=more)
    assert below.shape[1] >= room
    assert beside.shape[0] >= room
    assert beside.shape[1] >= more
    assert (below[:, below.shape[1] - more :] == GROUND).all(), "what is to be left free"
    for legend in (below, beside):
        swatches = (legend == (250, 1, 250)).all(-1).sum()
        assert swatches == len(classes) * (text - 2) ** 2
        border = np.concatenate([legend[0], legend[-1], legend[:, 0], legend[:, -1]])
        assert (border == GROUND).all(), "nothing reaches the edge"


def test_every_name_is_legible_in_whole() -> None:
    """Each name, drawn alone, is found again in the legend."""
    names = ("road", "a rather long name of a class", "Fußgänger", "x")
    classes = [LabelClass(name, (250, 1, 250)) for name in names]
    for legend in (legend_below(classes, 300, 14), legend_beside(classes, 50, 14)):
        letters = np.abs(legend.astype(int) - GROUND).sum(-1) > 60
        for name in names:
            mask, _ = load_font(14).getmask2(name, "L")
            drawn = np.asarray(mask, np.float32).reshape(mask.size[::-1])
            place = cv2.matchTemplate(
                letters.astype(np.float32), (drawn > 60).astype(np.float32), cv2.TM_CCOEFF_NORMED
            )
            assert place.max() > 0.85


@given(
    text=st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=60),
    size=st.integers(8, 30),
    width=st.integers(0, 400),
)
@settings(deadline=None, max_examples=60)
def test_text_is_shortened_to_its_place(text: str, size: int, width: int) -> None:
    short = shorten(text, size, width)
    assert text_width(short, size) <= width
    plain = " ".join(text.split())
    if text_width(plain, size) <= width:
        assert short == plain
    elif short:
        assert short.endswith("…")
        assert plain.startswith(short[:-1])


def test_letters_stand_out_and_long_titles_stay_in_their_bar() -> None:
    plan = MosaicPlan(titles=("a", "M" * 500), columns=2, size=(200, 100))
    mosaic = Mosaic(plan)
    drawn = mosaic.draw([np.full((100, 200, 3), 77, np.uint8)] * 2)
    (left, top), (right, _) = mosaic.corners
    assert left == 0
    title = drawn[:top, right:]
    assert (title[:, :4] == GROUND).all()
    assert (title[:, -4:] == GROUND).all()
    assert title.max() > 200, "letters are light"
    light, dark = (_luminance(color) for color in (LETTERS, GROUND))
    assert (light + 0.05) / (dark + 0.05) > 7  # WCAG AAA


def _luminance(color: tuple[int, int, int]) -> float:
    parts = [c / 255 for c in color]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@settings(deadline=None, max_examples=80)
@given(
    count=st.integers(1, 6),
    columns=st.integers(1, 4),
    size=st.tuples(st.integers(1, 300), st.integers(1, 200)),
    place=st.sampled_from(["none", "below", "beside"]),
    listed=st.integers(0, 12),
    caption=st.sampled_from(["", "frame 12", "frame 123456   12:34.567"]),
    titled=st.booleans(),
    max_side=st.integers(64, 4000),
)
def test_panels_lie_inside_apart_and_whole(
    count: int,
    columns: int,
    size: tuple[int, int],
    place: LegendPlace,
    listed: int,
    caption: str,
    titled: bool,
    max_side: int,
) -> None:
    mosaic = Mosaic(
        MosaicPlan(
            titles=("title",) * count if titled else ("",) * count,
            columns=columns,
            size=size,
            legend=tuple(CLASSES[i % 4] for i in range(listed)),
            place=place,
            caption=caption,
            max_side=max_side,
        )
    )
    colors = [(90 + 20 * i, 255 - 20 * i, 7) for i in range(count)]
    pictures = [np.full((size[1], size[0], 3), color, np.uint8) for color in colors]
    drawn = mosaic.draw(pictures, caption)
    assert drawn.shape == (*mosaic.size[::-1], 3)
    wide, high = mosaic.panel
    for (x, y), color in zip(mosaic.corners, colors, strict=True):
        panel = drawn[y : y + high, x : x + wide]
        assert panel.shape == (high, wide, 3)
        assert (panel == color).all(), "nothing is drawn over a panel"
    assert all(a != b for a, b in pairwise(sorted(mosaic.corners)))
    covered = sum(_has(drawn, color) for color in colors)
    assert covered == count * wide * high
    without = mosaic.draw(pictures)
    changed = (drawn != without).any(-1)
    assert changed.any() == bool(caption)
    assert (without[changed] == GROUND).all(), "the caption is drawn over nothing"
    edges = (changed[0], changed[-1], changed[:, 0], changed[:, -1])
    assert not any(edge.any() for edge in edges), "nor cut off"


@pytest.mark.parametrize("max_side", [400, 700, 1500])
@pytest.mark.parametrize("size", [(2048, 1024), (1080, 1920), (600, 3000)])
def test_the_whole_is_kept_within_its_limit(max_side: int, size: tuple[int, int]) -> None:
    for place in ("none", "below", "beside"):
        plan = MosaicPlan(
            titles=("a", "b", "c", "d"),
            columns=2,
            size=size,
            legend=CLASSES,
            place=place,  # type: ignore[arg-type]
            caption="frame 10",
            max_side=max_side,
        )
        mosaic = Mosaic(plan)
        assert 0.85 * max_side < max(mosaic.size) <= max_side
        wide, high = mosaic.panel
        assert high == pytest.approx(wide * size[1] / size[0], abs=1)


def test_a_mosaic_refuses_what_it_was_not_made_for() -> None:
    mosaic = Mosaic(MosaicPlan(titles=("a", "b"), columns=2, size=(8, 4)))
    with pytest.raises(ValueError, match="2 pictures of"):
        mosaic.draw([np.zeros((4, 8, 3), np.uint8)])
    with pytest.raises(ValueError, match="2 pictures of"):
        mosaic.draw([np.zeros((4, 9, 3), np.uint8)] * 2)
    with pytest.raises(ValueError, match="a mosaic needs a panel"):
        MosaicPlan(titles=(), columns=1, size=(8, 4))


# -- animations --


@settings(deadline=None)
@given(frames=st.integers(1, 5000), fps=st.floats(1, 240), side=st.integers(16, 2000))
def test_an_animation_is_short_of_pictures_but_not_of_time(
    frames: int, fps: float, side: int
) -> None:
    pace = find_pace(frames, fps, (side, side))
    assert len(pace.delays_ms) == len(range(0, frames, pace.step))
    assert len(pace.delays_ms) <= 300
    assert len(pace.delays_ms) * side * side <= 80_000_000
    assert min(pace.delays_ms) >= 20
    assert all(delay % 10 == 0 for delay in pace.delays_ms)
    # the last picture may stand for fewer frames than browsers can show
    assert -5 <= sum(pace.delays_ms) - 1000 * frames / fps <= 25


def test_a_palette_keeps_what_is_reserved_and_comes_near_the_rest() -> None:
    y, x = np.mgrid[:64, :96]
    picture = np.stack([2 * x, 3 * y, 128 + 0 * x], -1).astype(np.uint8)
    reserved = [(255, 0, 255), (0, 255, 0), (24, 28, 32)]
    palette = choose_palette([picture], reserved)
    found = np.asarray(with_palette(picture, palette).convert("RGB")).astype(int)
    assert np.abs(found - picture).mean() < 4
    for color in reserved:
        flat_ = np.full((4, 4, 3), color, np.uint8)
        assert (np.asarray(with_palette(flat_, palette).convert("RGB")) == color).all()


def test_an_animation_is_small_unless_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (1000, 500), (9, 99, 199)).save(tmp_path / "in" / "a.png")
    for name, look, wide in (
        ("a.gif", None, MAX_SIDE),
        ("a.webp", VideoLook(max_side=200), 200),
        ("a.mp4", None, 1000),
    ):
        _, written = write(tmp_path / name, tmp_path / "in", (Panel(),), look, range(1))
        assert written.size == (wide, wide // 2)


def test_classes_that_occur_are_those_of_any_map() -> None:
    rng = np.random.default_rng(5)
    maps = [rng.choice(np.array([0, 3, 7, 254, 255], np.uint8), (5, 5)) for _ in range(3)]
    found = set(np.concatenate(maps).ravel().tolist())
    assert occurring_classes(maps, 5) == tuple(sorted(i for i in found if i < 5))
    assert occurring_classes([], 5) == ()
