"""Where a film is cut, and that nothing is read across it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise, permutations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stt_core.checkpoint import Checkpoint
from stt_core.config import ModelConfig
from stt_core.engine import Engine, run
from stt_core.labels import read_label_png
from stt_core.media.shots import is_cut, thumbnail
from stt_core.media.source import open_media
from stt_core.network import Network
from stt_core.resources import SAMPLE_CLIP, resource_path
from stt_core.scenes.scene import Scene
from stt_core.segmenting import SegmentOptions, segment_media
from stt_core.stream import Stream, Streamed
from tests.core.models import checkpoint, images, lite_config, stt_config, tdnet_config, write_clip

Image = NDArray[np.uint8]
SMALL = (40, 56)
REAL = (
    "camvid_0016E5_val_15fps.mp4",
    "opencv_vtest_300.avi",
    "udacity_solidWhiteRight.mp4",
    "yolop_city_traffic_1.mp4",
)


def _cut_between(before: Image, after: Image) -> bool:
    return is_cut(thumbnail(before), thumbnail(after))


def _thumbnails(path: Path) -> list[NDArray[np.float32]]:
    with open_media(path) as media:
        return [thumbnail(media[i].image) for i in range(len(media))]


def _cuts(path: Path) -> list[int]:
    """First frames of all shots but the first."""
    shown = _thumbnails(path)
    return [i for i, (a, b) in enumerate(pairwise(shown), 1) if is_cut(a, b)]


def _times(image: Image, factor: float) -> Image:
    return (image * factor).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def street() -> list[Image]:
    """Every ninth frame of the bundled clip, with the one behind it."""
    with open_media(resource_path(SAMPLE_CLIP)) as media:
        return [media[i + k].image for i in range(0, len(media) - 1, 9) for k in range(2)]


def test_the_bundled_clip_has_no_cut() -> None:
    assert _cuts(resource_path(SAMPLE_CLIP)) == []


@pytest.mark.parametrize("factor", [0.4, 0.625, 1.6])
def test_a_flash_is_no_cut(street: list[Image], factor: float) -> None:
    for before, after in zip(street[::2], street[1::2], strict=True):
        assert not _cut_between(before, _times(after, factor))
        assert not _cut_between(_times(before, factor), after)


@pytest.mark.parametrize("steps", [8, 30])
@pytest.mark.parametrize("to", ["black", "white", "another scene"])
def test_a_fade_is_no_cut(street: list[Image], steps: int, to: str) -> None:
    ends = {
        "black": np.zeros_like(street[0]),
        "white": np.full_like(street[0], 255),
        "another scene": street[0][::-1, ::-1],
    }
    if to == "another scene" and steps < 30:
        steps = 15
    faded = [
        ((1 - part) * street[0] + part * ends[to]).astype(np.uint8)
        for part in np.linspace(0, 1, steps + 1)
    ]
    for before, after in pairwise(faded):
        assert not _cut_between(before, after)
        assert not _cut_between(after, before)


def test_equal_black_and_flat_frames_are_no_cut(street: list[Image]) -> None:
    black, grey = np.zeros_like(street[0]), np.full_like(street[0], 128)
    for image in (street[0], black, grey):
        assert not _cut_between(image, image.copy())
    for before, after in permutations((black, grey, street[0]), 2):
        assert not _cut_between(before, after)  # a fade that took one frame


def test_a_read_only_frame_of_any_size_is_looked_at(street: list[Image]) -> None:
    for size in ((8, 8), (9, 400), (17, 31), (720, 5)):
        image = np.resize(street[0], (*size, 3))
        image.flags.writeable = False
        assert thumbnail(image).shape == (18, 32, 3)
        assert not _cut_between(image, image)


def test_from_one_scene_to_another_is_a_cut() -> None:
    """Of generated streets all but one pair in hundreds; of these every one."""
    scenes = [Scene(seed, (160, 120)) for seed in range(6)]
    first = [scene.frame(0, with_flow=False).image for scene in scenes]
    for before, after in permutations(first, 2):
        assert _cut_between(before, after)
    for scene, shown in zip(scenes, first, strict=True):
        assert not _cut_between(shown, scene.frame(1, with_flow=False).image)


@pytest.mark.parametrize("name", REAL)
def test_a_real_clip_of_one_shot_has_no_cut(shared_data: Path, name: str) -> None:
    assert _cuts(shared_data / "clips" / name) == []


def test_from_one_real_clip_to_another_is_a_cut(shared_data: Path) -> None:
    paths = [*(shared_data / "clips" / name for name in REAL), resource_path(SAMPLE_CLIP)]
    shots = [_thumbnails(path)[::8] for path in paths]
    for before, after in permutations(shots, 2):
        assert all(is_cut(a, b) for a, b in product(before, after))


# what is read


CUTS = (4, 9)
"""First frames of the clip's second and third shot."""
KINDS: dict[str, ModelConfig] = {
    "stt": stt_config(lite_config(), key_frames=3),
    "stt, spaced": stt_config(lite_config(), key_frames=2, key_spacing=2),
    "td2": tdnet_config(lite_config(), paths=2),
}


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest) -> Checkpoint:
    return checkpoint(KINDS[request.param])


@pytest.fixture(scope="module")
def stt() -> Checkpoint:
    return checkpoint(KINDS["stt"])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shots: blobs on grey, their negative on a ramp, and blobs on grey again."""
    first, last = images(4, SMALL), images(5, SMALL, seed=3)
    ramp = np.linspace(0, 200, SMALL[1])[None, :, None]
    second = [(255 - image / 2 - ramp).clip(0, 255).astype(np.uint8) for image in images(5, SMALL)]
    return write_clip(tmp_path_factory.mktemp("cut") / "cut.mp4", [*first, *second, *last])


@pytest.fixture(scope="module")
def frames(clip: Path) -> list[Image]:
    with open_media(clip) as media:
        return [media[i].image for i in range(len(media))]


def _network(made: Checkpoint) -> Network:
    return Network(made, device="cpu", precision="fp32")


def _alike(a: Image, b: Image) -> bool:
    """Whether two confidences differ by rounding alone."""
    return bool((np.abs(a.astype(int) - b) <= 1).all())


def _stream(made: Checkpoint, frames: list[Image], *, cuts: bool) -> Iterator[Streamed]:
    stream = Stream(_network(made), cuts=cuts)
    return (stream.push(image) for image in frames)


def test_the_clip_of_these_tests_is_cut_where_it_says(clip: Path) -> None:
    assert _cuts(clip) == [*CUTS]


def test_after_a_cut_a_stream_is_like_a_fresh_one(made: Checkpoint, frames: list[Image]) -> None:
    stream = Stream(_network(made), cuts=True)
    fresh = Stream(_network(made))
    for i, image in enumerate(frames):
        if i in CUTS:
            fresh = Stream(_network(made), start=i)
        found, wanted = stream.push(image), fresh.push(image)
        assert len(stream) == len(fresh)
        np.testing.assert_allclose(
            found.decoded.logits, wanted.decoded.logits, rtol=1e-4, atol=1e-4
        )


def test_without_looking_for_cuts_a_stream_reads_across(
    made: Checkpoint, frames: list[Image]
) -> None:
    network = _network(made)
    reads = network.key_frames * network.key_spacing
    across, parted = (list(_stream(made, frames, cuts=cuts)) for cuts in (False, True))
    for i, (a, b) in enumerate(zip(across, parted, strict=True)):
        same = torch.allclose(a.decoded.logits, b.decoded.logits, rtol=1e-4, atol=1e-4)
        assert same == (i < CUTS[0] or i - max(c for c in CUTS if c <= i) >= reads)


def test_a_cut_is_seen_between_frames_that_are_only_remembered(
    stt: Checkpoint, frames: list[Image]
) -> None:
    first = CUTS[0]
    stream, fresh = Stream(_network(stt), cuts=True), Stream(_network(stt))
    for image in frames[first - 2 : first + 2]:
        stream.remember(image)
    assert len(stream) == 2
    for image in frames[first : first + 2]:
        fresh.remember(image)
    a, b = (s.push(frames[first + 2]).decoded.logits for s in (stream, fresh))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_after_a_reset_the_next_frame_is_no_cut(stt: Checkpoint, frames: list[Image]) -> None:
    stream = Stream(_network(stt), cuts=True)
    stream.push(frames[0])
    stream.reset()
    stream.push(frames[CUTS[0]])
    stream.push(frames[CUTS[0] + 1])
    assert len(stream) == 2


@pytest.mark.parametrize("cuts", [True, False])
def test_sought_frames_have_the_key_frames_of_played_ones(
    made: Checkpoint, clip: Path, frames: list[Image], cuts: bool
) -> None:
    played = [each.segmentation.confidence for each in _stream(made, frames, cuts=cuts)]
    with open_media(clip) as media:
        engine = Engine(_network(made), media, cuts=cuts, cache_bytes=1)
        for i in (9, 4, 13, 5, 3, 10, 8, 0, 11, 6):
            assert _alike(engine.segment(i).confidence, played[i])


def test_a_look_back_ends_at_the_cut(stt: Checkpoint, clip: Path) -> None:
    with open_media(clip) as media:
        engine = Engine(_network(stt), media)
        wanted = {3: (2, 1, 0), 4: (), 5: (4,), 8: (7, 6, 5), 10: (9,)}
        for i, past in wanted.items():
            look = engine.look_back(i, 10, 10, force=True)
            assert look.frames == past
            assert look.weights.shape[1] == len(look.radii) == len(past)
        assert Engine(_network(stt), media, cuts=False).look_back(5, 10, 10, force=True).frames == (
            4,
            3,
            2,
        )


@pytest.mark.parametrize("cuts", [True, False])
def test_a_pass_says_whether_it_looked_for_cuts(
    stt: Checkpoint, clip: Path, frames: list[Image], tmp_path: Path, cuts: bool
) -> None:
    stream = Stream(_network(stt), cuts=cuts)
    wanted = [stream.push(image).segmentation.labels for image in frames]
    with open_media(clip) as media:
        options = SegmentOptions(frames=range(5, 12), cuts=cuts)
        run(segment_media(_network(stt), media, tmp_path, options))
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["settings"]["cuts"] is cuts
    for i in options.frames:
        labels = read_label_png(tmp_path / "labels" / f"{i:06d}.png", 11)
        assert (labels == wanted[i]).mean() > 0.99


def test_a_pass_looks_for_cuts_unless_it_is_told_not_to() -> None:
    assert SegmentOptions(frames=range(1)).cuts
