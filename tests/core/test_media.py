"""Frames by index: every one right on every container, and written videos read back."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image

from stt_core.media.decoder import Decoder
from stt_core.media.folder import ImageFolder
from stt_core.media.frame import past_frames
from stt_core.media.source import media_hash, open_media
from stt_core.media.video import VideoFile
from stt_core.media.writer import VideoWriter
from tests.core.media_clips import (
    HEIGHT,
    WIDTH,
    even_times,
    number_of,
    picture,
    uneven_times,
    write_clip,
)

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CLIPS = DATA / "clips"
FRAMES = 150

OPEN_GOP = {"x264-params": "open-gop=1:keyint=40:bframes=3:b-adapt=0"}
FASTSTART = {"movflags": "+faststart"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}

CONTAINERS: dict[str, Callable[[Path], Path]] = {
    "even mp4": lambda d: write_clip(d / "a.mp4", even_times(FRAMES), container_options=FASTSTART),
    "uneven mp4": lambda d: write_clip(d / "b.mp4", uneven_times(FRAMES)),
    "uneven mkv": lambda d: write_clip(d / "c.mkv", uneven_times(FRAMES)),
    "even ts": lambda d: write_clip(d / "d.ts", even_times(FRAMES)),
    "uneven ts": lambda d: write_clip(d / "e.ts", uneven_times(FRAMES)),
    "one group ts": lambda d: write_clip(d / "f.ts", even_times(FRAMES), gop=1000),
    "open groups ts": lambda d: write_clip(
        d / "g.ts", even_times(FRAMES), codec_options=OPEN_GOP
    ),
    "open groups mp4": lambda d: write_clip(
        d / "h.mp4", even_times(FRAMES), codec_options=OPEN_GOP
    ),
    "all keys mp4": lambda d: write_clip(d / "i.mp4", even_times(FRAMES), gop=1, b_frames=0),
    "short groups mp4": lambda d: write_clip(d / "j.mp4", even_times(FRAMES), gop=4, b_frames=2),
    "fragmented mp4": lambda d: write_clip(
        d / "k.mp4", even_times(FRAMES), container_options=FRAGMENTED
    ),
    "h264 avi without pts": lambda d: write_clip(
        d / "l.avi", even_times(FRAMES), keep_pts=False
    ),
    "mpeg4 avi without pts": lambda d: write_clip(
        d / "m.avi", even_times(FRAMES), codec="mpeg4", b_frames=2, keep_pts=False
    ),
    "vp8 webm": lambda d: write_clip(
        d / "n.webm", even_times(FRAMES), codec="libvpx", b_frames=0,
        codec_options={"deadline": "realtime", "cpu-used": "8", "b": "300k"},
    ),
    "mpeg2 ts": lambda d: write_clip(
        d / "o.ts", even_times(FRAMES), codec="mpeg2video", gop=12, b_frames=2, keep_pts=False
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A clip of CONTAINERS by name, written once."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = CONTAINERS[name](folder)
        return made[name]

    return make


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_random_seek_gives_its_frame(clip: Callable[[str], Path], name: str) -> None:
    rng = random.Random(name)
    with VideoFile(clip(name), cache_bytes=1) as video:
        assert len(video) == FRAMES
        assert (video.width, video.height) == (WIDTH, HEIGHT)
        assert video.warnings == ()
        wanted = [rng.randrange(FRAMES) for _ in range(60)] + [0, FRAMES - 1, 0]
        assert [number_of(video[index].image) for index in wanted] == wanted


@pytest.mark.parametrize("name", CONTAINERS)
def test_reading_forward_and_backward_gives_every_frame(
    clip: Callable[[str], Path], name: str
) -> None:
    with VideoFile(clip(name)) as video:
        frames = [video[index] for index in range(FRAMES)]
        assert [number_of(frame.image) for frame in frames] == list(range(FRAMES))
        assert [frame.index for frame in frames] == list(range(FRAMES))
    with VideoFile(clip(name)) as video:
        for frame in reversed(frames):
            again = video[frame.index]
            assert np.array_equal(again.image, frame.image)
            assert again.pts_seconds == frame.pts_seconds


def test_frame_is_read_only_contiguous_rgb(clip: Callable[[str], Path]) -> None:
    with open_media(clip("even mp4")) as video:
        frame = video[5]
    assert frame.image.dtype == np.uint8
    assert frame.image.flags.c_contiguous
    assert not frame.image.flags.writeable
    assert frame.name == ""


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("even mp4", even_times(FRAMES)),
        ("uneven mp4", uneven_times(FRAMES)),
        ("uneven mkv", uneven_times(FRAMES)),
        ("uneven ts", uneven_times(FRAMES)),
        ("mpeg4 avi without pts", even_times(FRAMES)),
    ],
)
def test_times_are_those_written(clip: Callable[[str], Path], name: str, times: list[int]) -> None:
    with VideoFile(clip(name)) as video:
        found = np.array([video.time_of(index) for index in range(len(video))])
        assert video[7].pts_seconds == video.time_of(7)
        assert video.fps == pytest.approx((FRAMES - 1) / (times[-1] - times[0]) * 1000, rel=0.011)
    written = np.array(times) / 1000
    # Containers may shift all times by the reordering delay; milliseconds are rounded.
    np.testing.assert_allclose(found - found[0], written - written[0], atol=0.002)


@pytest.mark.parametrize("name", ["even ts", "one group ts", "uneven mkv", "all keys mp4"])
def test_reading_on_never_seeks(
    clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def go_to(*_: object, **__: object) -> None:
        pytest.fail("sought while reading on")

    with VideoFile(clip(name), cache_bytes=1) as video:
        monkeypatch.setattr(Decoder, "go_to", go_to)
        assert [number_of(video[index].image) for index in range(FRAMES)] == list(range(FRAMES))


def test_small_cache_changes_nothing_but_the_work(clip: Callable[[str], Path]) -> None:
    order = [30, 29, 28, 31, 5, 30, 100, 99, 98, 97]
    with (
        VideoFile(clip("uneven mkv"), cache_bytes=1) as small,
        VideoFile(clip("uneven mkv")) as large,
    ):
        for index in order:
            assert np.array_equal(small[index].image, large[index].image)
        assert large[30] is large[30]


@pytest.mark.parametrize("index", [-1, FRAMES, 10**9])
def test_index_out_of_range_is_named(clip: Callable[[str], Path], index: int) -> None:
    with VideoFile(clip("even mp4")) as video:
        with pytest.raises(IndexError, match=rf"frame {index} .*0 to {FRAMES - 1}"):
            video[index]
        with pytest.raises(IndexError, match=str(index)):
            video.time_of(index)


def test_frames_hidden_by_an_edit_list_are_not_counted(tmp_path: Path) -> None:
    # From the 21st frame on, in the middle of a group: FFmpeg marks the first 20 as discarded.
    path = write_clip(tmp_path / "edited.mp4", even_times(60), gop=30, b_frames=0)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst")
    media_time = 20 * 40 * 16  # time base 1/16000
    assert int.from_bytes(data[at + 8 : at + 12], "big") == 1
    data[at + 16 : at + 20] = media_time.to_bytes(4, "big")
    path.write_bytes(data)
    with VideoFile(path) as video:
        shown = list(range(20, 60))
        assert [number_of(video[index].image) for index in range(len(video))] == shown
        for index in (39, 3, 15, 0):
            assert number_of(video[index].image) == shown[index]


def test_stream_cut_at_its_front_leaves_out_what_cannot_be_decoded(
    clip: Callable[[str], Path], tmp_path: Path
) -> None:
    data = clip("open groups ts").read_bytes()
    path = tmp_path / "late.ts"
    path.write_bytes(data[188 * (len(data) // 188 // 3) :])
    with VideoFile(path) as video:
        numbers = [number_of(video[index].image) for index in range(len(video))]
        assert numbers == list(range(numbers[0], FRAMES))
        assert 50 < numbers[0] < 90
        assert "before its first key frame" in video.warnings[0]
        for index in (len(video) - 1, 0, 20):
            assert number_of(video[index].image) == numbers[index]


_GRADIENT = np.linspace(0, 255, 96 * 64, dtype=np.uint8).reshape(64, 96)
_CORNERS = np.stack([_GRADIENT, _GRADIENT[::-1] // 2, _GRADIENT[:, ::-1] // 3], axis=2)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_rotation_in_the_file_is_applied(
    tmp_path: Path, quarter_turns: int, mirrored: bool
) -> None:
    def prepare(stream: av.VideoStream) -> None:
        stream.set_display_rotation(90 * quarter_turns, hflip=mirrored)

    path = write_clip(
        tmp_path / "r.mp4", even_times(5), draw=lambda _: _CORNERS, prepare=prepare,
        codec_options={"crf": "4"},
    )  # fmt: skip
    shown = np.rot90(_CORNERS, quarter_turns)  # counter-clockwise, as FFmpeg counts
    if mirrored:
        shown = shown[:, ::-1]
    with VideoFile(path) as video:
        assert (video.height, video.width) == shown.shape[:2]
        image = video[3].image
        assert image.shape == shown.shape
        assert image.flags.c_contiguous
        assert _psnr(image, shown) > 28


# Image folders


def test_images_are_in_natural_order_whatever_their_format(tmp_path: Path) -> None:
    suffixes = ["png", "jpg", "bmp", "tif", "webp", "jpeg", "tiff", "PNG"]
    for number in (10, 2, 1, 33):
        Image.fromarray(picture(number)).save(tmp_path / f"im{number}.{suffixes[number % 8]}")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._im1.png").write_bytes(b"\0")
    (tmp_path / "more.png").mkdir()
    with open_media(tmp_path) as source:
        assert isinstance(source, ImageFolder)
        assert len(source) == 4
        assert [number_of(source[index].image) for index in (3, 0, 2, 1)] == [33, 1, 10, 2]
        assert source[2].name == "im10.bmp"
        assert source[2].pts_seconds == source.time_of(2) == pytest.approx(2 / 15)
        assert not source[0].image.flags.writeable
        with pytest.raises(IndexError, match="frame 4 "):
            source[4]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK"])
def test_images_of_any_kind_become_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    Image.fromarray(picture(77)).convert(mode).save(tmp_path / f"a.{suffix}")
    with ImageFolder(tmp_path) as source:
        assert source[0].image.shape == (HEIGHT, WIDTH, 3)
        assert number_of(source[0].image) == 77


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(_CORNERS).save(tmp_path / f"a.{suffix}", exif=exif, quality=95)
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}[orientation]
    shown = np.rot90(_CORNERS, turns)
    if orientation in (2, 4, 5, 7):
        shown = shown[:, ::-1]
    with ImageFolder(tmp_path) as source:
        assert (source.height, source.width) == shown.shape[:2]
        assert _psnr(source[0].image, shown) > 25


def test_single_image_is_a_source_of_one_frame(tmp_path: Path) -> None:
    for number in (1, 2):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png")
    with open_media(str(tmp_path / "2.png")) as source:
        assert len(source) == 1
        assert number_of(source[0].image) == 2
        assert source[0].name == "2.png"


# Past frames


@given(frame=st.integers(0, 500), count=st.integers(0, 40), spacing=st.integers(1, 12))
def test_past_frames_are_the_newest_that_exist(frame: int, count: int, spacing: int) -> None:
    past = past_frames(frame, count, spacing)
    slow = [frame - step * spacing for step in range(1, count + 1)]
    assert list(past) == [index for index in slow if index >= 0]


@given(frame=st.integers(0, 500), count=st.integers(0, 40), spacing=st.integers(1, 12))
def test_past_frames_do_not_depend_on_how_many_more_are_asked(
    frame: int, count: int, spacing: int
) -> None:
    assert past_frames(frame, count + 1, spacing)[:count] == past_frames(frame, count, spacing)


@pytest.mark.parametrize("wrong", [(-1, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_past_frames_refuse_wrong_arguments(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="frame="):
        past_frames(*wrong)


# Writing


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_written_video_reads_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, (WIDTH, HEIGHT), 29.97) as writer:
        for number in range(40):
            writer.write(picture(number))
        assert not path.exists()
    with VideoFile(path) as video:
        assert [number_of(video[index].image) for index in range(len(video))] == list(range(40))
        assert video.fps == pytest.approx(29.97, rel=1e-3)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "no such encoder"])
def test_written_colours_read_back(tmp_path: Path, codec: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = np.kron(colours, np.ones((16, 16, 1), dtype=np.uint8)).astype(np.uint8)
    with VideoWriter(tmp_path / "c.mp4", (128, 128), 10, codec=codec, crf=10) as writer:
        for _ in range(3):
            writer.write(image)
    with VideoFile(tmp_path / "c.mp4") as video:
        inner = np.zeros((128, 128), dtype=bool)
        inner.reshape(8, 16, 8, 16)[:, 4:12, :, 4:12] = True
        error = np.abs(video[1].image.astype(int) - image)[inner]
        assert error.mean() < 3


@pytest.mark.parametrize("size", [(127, 64), (128, 63), (127, 63), (1, 1)])
def test_odd_sizes_are_padded_at_the_edge(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    image = np.ascontiguousarray(picture(9)[:height, :width])
    with VideoWriter(tmp_path / "odd.mp4", size, 25) as writer:
        writer.write(image)
    with VideoFile(tmp_path / "odd.mp4") as video:
        assert (video.width, video.height) == (width + width % 2, height + height % 2)
        padding = ((0, height % 2), (0, width % 2), (0, 0))
        assert _psnr(video[0].image, np.pad(image, padding, mode="edge")) > 30


def test_index_of_a_written_mp4_comes_first(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (WIDTH, HEIGHT), 25, key_every=6) as writer:
        for number in range(30):
            writer.write(picture(number))
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0)) >= 5


# Hash


def test_media_hash_follows_the_content_not_the_name(
    clip: Callable[[str], Path], tmp_path: Path
) -> None:
    copy = tmp_path / "renamed.mp4"
    copy.write_bytes(clip("even mp4").read_bytes())
    assert media_hash(copy) == media_hash(str(clip("even mp4"))) != media_hash(clip("uneven mp4"))
    copy.write_bytes(copy.read_bytes()[:-1] + b"!")
    assert media_hash(copy) != media_hash(clip("even mp4"))


def test_media_hash_of_a_folder_follows_names_and_sizes(tmp_path: Path) -> None:
    for number in (1, 2):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.bmp")
    before = media_hash(tmp_path)
    (tmp_path / "notes.txt").write_text("not an image")
    assert media_hash(tmp_path) == before
    (tmp_path / "2.bmp").rename(tmp_path / "3.bmp")
    assert media_hash(tmp_path) != before


# Real clips

needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason=f"the shared clips are not at {CLIPS}")


@needs_clips
@pytest.mark.parametrize(
    ("name", "frames", "size", "fps"),
    [
        ("udacity_solidWhiteRight.mp4", 221, (960, 540), 25),
        ("yolop_city_traffic_1.mp4", 72, (320, 240), 25 / 3),
        ("camvid_0016E5_val_15fps.mp4", 101, (480, 360), 15),
        ("opencv_vtest_300.avi", 300, (768, 576), 10),
    ],
)
def test_real_clips_are_as_their_readme_says(
    name: str, frames: int, size: tuple[int, int], fps: float
) -> None:
    with open_media(CLIPS / name) as video:
        assert (len(video), video.width, video.height) == (frames, *size)
        assert video.fps == pytest.approx(fps)
        assert video.warnings == ()
        last = video[frames - 1].image
        far = video[frames // 2].image
    with open_media(CLIPS / name) as video:
        forward = {index: video[index].image for index in range(frames)}
        assert np.array_equal(forward[frames - 1], last)
        assert np.array_equal(forward[frames // 2], far)


@needs_clips
def test_camvid_frames_are_their_images() -> None:
    with (
        open_media(CLIPS / "camvid_0016E5_val_15fps.mp4") as video,
        open_media(DATA / "camvid" / "images" / "val") as images,
    ):
        assert len(video) == len(images)
        assert (video.width, video.height) == (images.width, images.height)
        for index in (60, 0, 100, 33, 34, 1, 77):
            image = video[index].image
            own = _psnr(image, images[index].image)
            near = [i for i in (index - 1, index + 1) if 0 <= i < len(images)]
            assert own > 33
            assert own > max(_psnr(image, images[i].image) for i in near) + 3


def _psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-9)))
