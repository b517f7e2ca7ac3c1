"""Broken, cut off and wrong media: each ends in a sentence a person can act on, or in a part."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from stt_core.errors import MediaError, OutputError
from stt_core.media.folder import ImageFolder
from stt_core.media.source import media_hash, open_media
from stt_core.media.video import VideoFile
from stt_core.media.writer import VideoWriter
from tests.core.media_clips import (
    HEIGHT,
    WIDTH,
    cut,
    even_times,
    noisy_picture,
    number_of,
    picture,
    uneven_times,
    write_clip,
)

FRAMES = 100
FASTSTART = {"movflags": "+faststart"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}

CUTTABLE: dict[str, Callable[[Path], Path]] = {
    "mp4": lambda d: write_clip(
        d / "a.mp4", even_times(FRAMES), container_options=FASTSTART, draw=noisy_picture
    ),
    "uneven mp4": lambda d: write_clip(
        d / "b.mp4", uneven_times(FRAMES), container_options=FASTSTART, draw=noisy_picture
    ),
    "fragmented mp4": lambda d: write_clip(
        d / "c.mp4", even_times(FRAMES), container_options=FRAGMENTED, draw=noisy_picture
    ),
    "ts": lambda d: write_clip(d / "d.ts", even_times(FRAMES), draw=noisy_picture),
    "mkv": lambda d: write_clip(d / "e.mkv", even_times(FRAMES), draw=noisy_picture),
    "uneven mkv": lambda d: write_clip(d / "f.mkv", uneven_times(FRAMES), draw=noisy_picture),
    "avi": lambda d: write_clip(
        d / "g.avi", even_times(FRAMES), codec="mpeg4", b_frames=2, draw=noisy_picture,
        keep_pts=False,
    ),
}  # fmt: skip
# Of these the exact number of frames to the first missing one can be known; of the others up to
# three at the very end are left out, because they may have lost one before them.
EXACT = {"mp4", "uneven mp4", "fragmented mp4", "ts", "mkv"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("whole")
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = CUTTABLE[name](folder)
        return made[name]

    return make


# Cut off


@pytest.mark.parametrize("name", CUTTABLE)
def test_readable_part_of_a_cut_file_is_used(
    whole: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    rng = random.Random(name)
    for keep in (rng.uniform(0.4, 0.97) for _ in range(6)):
        path = cut(whole(name), keep, tmp_path / f"cut{whole(name).suffix}")
        clean = _numbers_decoded_in_order(path)
        with VideoFile(path) as video:
            if name in EXACT:
                assert len(video) == clean
            else:
                assert clean - 3 <= len(video) <= clean
            wanted = [len(video) - 1, *range(len(video))]
            assert [number_of(video[index].image) for index in wanted] == wanted
            (warning,) = video.warnings
            assert "was cut off" in warning
            assert str(len(video)) in warning
            assert "Copy the file again" in warning
            if name in ("mp4", "uneven mp4", "avi"):
                assert f"of {FRAMES} frames" in warning
            with pytest.raises(IndexError):
                video[len(video)]


def _numbers_decoded_in_order(path: Path) -> int:
    """How many pictures from 0 on decode cleanly, the slow and obvious way."""
    numbers: set[int] = set()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "NONE", 1
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    if not frame.is_corrupt and not packet.is_corrupt:
                        image = frame.to_ndarray(format="rgb24")
                        numbers.add(number_of(np.asarray(image, dtype=np.uint8)))
            except av.FFmpegError:
                continue
    return next(number for number in range(FRAMES + 1) if number not in numbers)


@pytest.mark.parametrize("name", CUTTABLE)
def test_whole_file_has_no_warning(whole: Callable[[str], Path], name: str) -> None:
    with VideoFile(whole(name)) as video:
        assert len(video) == FRAMES
        assert video.warnings == ()


def test_avi_that_lost_only_its_index_is_whole(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    data = whole("avi").read_bytes()
    path = cut(whole("avi"), data.index(b"idx1"), tmp_path / "a.avi")
    with VideoFile(path) as video:
        assert len(video) == FRAMES
        assert video.warnings == ()
        assert number_of(video[FRAMES - 1].image) == FRAMES - 1


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.9])
def test_mp4_cut_before_its_index_is_an_error(tmp_path: Path, keep: float) -> None:
    path = write_clip(tmp_path / "late.mp4", even_times(60), draw=noisy_picture)
    with pytest.raises(MediaError, match=r"late-cut\.mp4 was cut off before .*index.*Copy"):
        VideoFile(cut(path, keep, tmp_path / "late-cut.mp4"))


def test_mp4_cut_within_or_right_after_its_index_is_an_error(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    data = whole("mp4").read_bytes()
    inside = cut(whole("mp4"), data.index(b"moov") + 200, tmp_path / "inside.mp4")
    with pytest.raises(MediaError, match="cut off before the end of its index"):
        VideoFile(inside)
    after = cut(whole("mp4"), data.index(b"mdat") + 4, tmp_path / "after.mp4")
    with pytest.raises(MediaError, match="cut off before its first frame was complete"):
        VideoFile(after)


# Damaged in the middle


@pytest.fixture
def damaged(whole: Callable[[str], Path], tmp_path: Path) -> Iterator[tuple[VideoFile, int]]:
    """A video and the index of a frame whose bytes were overwritten."""
    path = tmp_path / "damaged.mp4"
    data = bytearray(whole("mp4").read_bytes())
    with av.open(str(whole("mp4"))) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        packet = packets[50]  # the second half of the 40-frame group 40..79
        assert packet.pos is not None
        assert packet.pts is not None
        bad = sorted(p.pts or 0 for p in packets).index(packet.pts)
        data[packet.pos + 8 : packet.pos + packet.size] = bytes(packet.size - 8)
    path.write_bytes(data)
    with VideoFile(path) as video:
        yield video, bad


def test_damaged_frame_is_named_when_it_is_asked_for(damaged: tuple[VideoFile, int]) -> None:
    video, bad = damaged
    assert len(video) == FRAMES
    for _ in range(2):
        with pytest.raises(MediaError, match=rf"Frame {bad} of .*damaged\.mp4 is damaged.*Skip"):
            video[bad]


def test_frames_around_a_damaged_one_can_be_read(damaged: tuple[VideoFile, int]) -> None:
    video, bad = damaged
    failed = []
    for index in range(FRAMES):
        try:
            video[index]
        except MediaError:
            failed.append(index)
    assert failed == [bad]
    untouched = [*range(40), *range(80, FRAMES)]
    assert [number_of(video[index].image) for index in untouched] == untouched


def test_frames_of_another_size_are_named(tmp_path: Path) -> None:
    first = write_clip(tmp_path / "a.ts", even_times(40), gop=20)
    large = np.zeros((96, 160, 3), dtype=np.uint8)
    second = write_clip(
        tmp_path / "b.ts", [t + 1600 for t in even_times(40)], gop=20, draw=lambda _: large
    )
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    with VideoFile(both) as video:
        assert number_of(video[10].image) == 10
        with pytest.raises(MediaError, match=r"Frame 60 .* 160 x 96 .* 128 x 64.*convert"):
            video[60]


# No video at all


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"nowhere\.mp4 does not exist. Check"):
        open_media(tmp_path / "nowhere.mp4")
    with pytest.raises(MediaError, match=r"nowhere\.png does not exist"):
        open_media(tmp_path / "nowhere.png")
    with pytest.raises(MediaError, match=r"nowhere cannot be read as a folder"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(MediaError, match=r"nowhere cannot be read"):
        media_hash(tmp_path / "nowhere")


def test_text_called_mp4_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("This is no video.\n" * 100)
    with pytest.raises(MediaError, match=r"text\.mp4 cannot be opened as a video.*convert"):
        open_media(path)


def test_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zero.mp4").touch()
    with pytest.raises(MediaError, match=r"zero\.mp4 is empty \(0 bytes\). Copy"):
        open_media(tmp_path / "zero.mp4")


def test_folder_is_no_video_file(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="is not a file"):
        VideoFile(tmp_path)


def test_video_without_a_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w", container_options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    with pytest.raises(MediaError, match=r"none\.mp4 is a video but holds no frame"):
        VideoFile(path)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
        assert isinstance(stream, av.AudioStream)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match=r"sound\.mp4 holds no video, only audio"):
        open_media(path)


def test_closed_video_says_so(whole: Callable[[str], Path]) -> None:
    with VideoFile(whole("mp4")) as video:
        video[3]
    with pytest.raises(MediaError, match="is closed"):
        video[3]
    video.close()


# Images


def _save(folder: Path, name: str, size: tuple[int, int] = (8, 6)) -> None:
    Image.new("RGB", size).save(folder / name)


def test_images_of_different_size_are_named(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "11.png"):
        _save(tmp_path, name)
    _save(tmp_path, "10.png", (8, 7))
    with pytest.raises(MediaError, match=r"1\.png is 8 x 6 pixels, 10\.png is 8 x 7.*Put images"):
        open_media(tmp_path)


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"holds no image. Choose a folder with .*png"):
        open_media(tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_image_is_refused(tmp_path: Path, channels: int, suffix: str) -> None:
    import cv2

    _save(tmp_path, f"a.{suffix}")
    shape = (6, 8) if channels == 1 else (6, 8, 3)
    assert cv2.imwrite(str(tmp_path / f"b.{suffix}"), np.full(shape, 40000, dtype=np.uint16))
    with pytest.raises(MediaError, match=rf"b\.{suffix} does not have 8 bits .*Convert"):
        open_media(tmp_path)


def test_text_called_png_is_refused(tmp_path: Path) -> None:
    _save(tmp_path, "a.png")
    (tmp_path / "b.png").write_text("no image")
    with pytest.raises(MediaError, match=r"b\.png cannot be read as an image \(no image\)"):
        open_media(tmp_path)


def test_half_an_image_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        Image.fromarray(noisy_picture(number)).save(tmp_path / f"{number}.png")
    cut(tmp_path / "2.png", 0.5, tmp_path / "2.png")
    with open_media(tmp_path) as source:
        with pytest.raises(MediaError, match=r"2\.png cannot be read as an image"):
            source[1]
        assert source[2].name == "3.png"


def test_image_replaced_after_opening_is_named(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        _save(tmp_path, name)
    with open_media(tmp_path) as source:
        _save(tmp_path, "2.png", (4, 4))
        with pytest.raises(MediaError, match=r"2\.png is 4 x 4 pixels now, it was 8 x 6"):
            source[1]
        (tmp_path / "1.png").unlink()
        with pytest.raises(MediaError, match=r"1\.png cannot be read"):
            source[0]


# Writing


def _write(path: Path, frames: int = 3) -> None:
    with VideoWriter(path, (WIDTH, HEIGHT), 25) as writer:
        for number in range(frames):
            writer.write(noisy_picture(number))


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*out\.mp4: a file stands where a folder"):
        _write(tmp_path / "file" / "out.mp4")
    with pytest.raises(OutputError, match=r"could not be written.*No such file or directory"):
        _write(tmp_path / "nowhere" / "out.mp4")


def test_folder_is_no_target(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(OutputError, match=r"out\.mp4 is a folder"):
        _write(tmp_path / "out.mp4")


def test_unknown_suffix_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.mp4, \.mov, \.mkv or \.avi"):
        _write(tmp_path / "out.xyz")
    assert list(tmp_path.iterdir()) == []


def _write_two_and_fail(path: Path) -> None:
    with VideoWriter(path, (WIDTH, HEIGHT), 25) as writer:
        writer.write(picture(0))
        writer.write(picture(1))
        raise RuntimeError("from outside")


def test_error_while_writing_leaves_the_older_file(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"older")
    with pytest.raises(RuntimeError, match="from outside"):
        _write_two_and_fail(target)
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]


def test_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # as if 100 kB were left
    try:
        with pytest.raises(OutputError, match=r"cannot write .*out\.mp4: the disk is full"):
            _write(tmp_path / "out.mp4", frames=150)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_no_frame_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no frame"):
        _write(tmp_path / "out.mp4", frames=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH, 3), np.float32)]
)
def test_wrong_frame_is_named(tmp_path: Path, wrong: np.ndarray) -> None:
    with (
        pytest.raises(ValueError, match=r"uint8 \(64, 128, 3\), got"),
        VideoWriter(tmp_path / "out.mp4", (WIDTH, HEIGHT), 25) as writer,
    ):
        writer.write(wrong)
    assert list(tmp_path.iterdir()) == []


def test_writing_outside_of_the_block_is_refused(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "out.mp4", (WIDTH, HEIGHT), 25)
    with pytest.raises(ValueError, match="with block"):
        writer.write(picture(0))


@pytest.mark.parametrize(("size", "fps"), [((0, 8), 25), ((8, 8), 0), ((8, 8), -1)])
def test_impossible_size_or_rate_is_refused(
    tmp_path: Path, size: tuple[int, int], fps: float
) -> None:
    with pytest.raises(ValueError, match="above 0"):
        VideoWriter(tmp_path / "out.mp4", size, fps)
