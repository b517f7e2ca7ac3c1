"""Streaming, seeking and clip-at-once must tell the same of a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stt_core.checkpoint import Checkpoint, load_checkpoint
from stt_core.engine import Engine, run
from stt_core.errors import CheckpointError
from stt_core.formats.model_file import find_model
from stt_core.media.source import open_media
from stt_core.model.video import Decoded
from stt_core.network import Network
from stt_core.preprocess import to_network
from stt_core.resources import SAMPLE_CLIP, SAMPLE_MODEL, resource_path
from stt_core.stream import Stream
from tests.core.models import checkpoint, images, pspnet_config, stt_config, write_clip


@pytest.fixture(scope="module")
def made() -> Checkpoint:
    return checkpoint()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", images(24))


def _network(made: Checkpoint, **options: object) -> Network:
    return Network(made, device="cpu", precision="fp32", **options)  # type: ignore[arg-type]


def _streamed_and_at_once(made: Checkpoint, frames: list[NDArray[np.uint8]]) -> list[Decoded]:
    """The last of `frames`, streamed and as a clip of eight."""
    stream = Stream(_network(made))
    for image in frames[:-1]:
        stream.push(image)
    streamed = stream.push(frames[-1]).decoded
    preprocess = made.header.preprocess
    whole = torch.cat([to_network(f, preprocess, torch.device("cpu")) for f in frames[-8:]])
    with torch.inference_mode():
        return [streamed, made.model(whole)]


def _same_queries_but_at_the_cut(one: Decoded, other: Decoded) -> bool:
    """Selections may differ only where D_NSM lies within 1e-5 (relative) of the cut."""
    need = other.need[0]
    cut = need[other.queries[0]].min()
    clear = set(((need / cut - 1).abs() > 1e-5).nonzero()[:, 0].tolist())
    return set(one.queries[0].tolist()) & clear == set(other.queries[0].tolist()) & clear


def test_streaming_equals_clip_at_once(made: Checkpoint) -> None:
    streamed, at_once = _streamed_and_at_once(made, images(10))
    assert _same_queries_but_at_the_cut(streamed, at_once)
    torch.testing.assert_close(streamed.logits, at_once.logits, rtol=1e-5, atol=1e-5)


def test_the_bundled_model_streams_as_it_sees_the_clip_at_once() -> None:
    made = load_checkpoint(find_model(SAMPLE_MODEL))
    with open_media(resource_path(SAMPLE_CLIP)) as media:
        frames = [media[i].image for i in range(30, 40)]
    streamed, at_once = _streamed_and_at_once(made, frames)
    assert _same_queries_but_at_the_cut(streamed, at_once)
    # convolutions over 8 images round otherwise than over one, and weights of distances follow it
    torch.testing.assert_close(streamed.logits, at_once.logits, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("spacing", [1, 2])
def test_seeking_to_a_frame_equals_playing_to_it(clip: Path, spacing: int) -> None:
    made = checkpoint(stt_config(key_spacing=spacing))
    with open_media(clip) as media:
        engine = Engine(_network(made), media)
        played = [engine.segment(i) for i in range(24)]
        sought = Engine(_network(made), media, cache_bytes=1)
        for i in (20, 5, 23, 0, 11):
            found = sought.segment(i)
            np.testing.assert_array_equal(found.labels, played[i].labels)
            np.testing.assert_array_equal(found.selected, played[i].selected)
        stream = Stream(_network(made))
        for i in range(24):
            pushed = stream.push(media[i].image).segmentation
            np.testing.assert_array_equal(pushed.labels, played[i].labels)


def test_the_stream_forgets_at_a_clip_start_and_on_a_size_change(made: Checkpoint) -> None:
    frames = images(3)
    stream = Stream(_network(made))
    first = stream.push(frames[0]).decoded
    assert first.queries.shape[1] == 0
    assert stream.push(frames[1]).decoded.queries.shape[1] > 0
    stream.reset()
    torch.testing.assert_close(stream.push(frames[0]).decoded.logits, first.logits)
    other = stream.push(images(1, (48, 64))[0]).decoded
    assert other.queries.shape[1] == 0
    assert len(stream) == 1


def test_the_ring_never_holds_more_than_it_needs(made: Checkpoint) -> None:
    stream = Stream(_network(made))
    for image in images(12):
        stream.push(image)
    assert len(stream) == 7


def test_a_remembered_frame_counts_as_past(made: Checkpoint) -> None:
    frames = images(4)
    pushed, remembered = Stream(_network(made)), Stream(_network(made))
    for image in frames[:-1]:
        pushed.push(image)
        remembered.remember(image)
    a, b = (s.push(frames[-1]).decoded.logits for s in (pushed, remembered))
    torch.testing.assert_close(a, b)


def test_the_feature_cache_keeps_its_budget(made: Checkpoint, clip: Path) -> None:
    with open_media(clip) as media:
        engine = Engine(_network(made), media, cache_bytes=1)
        engine.segment(10)
        one = engine.cached_bytes // 8
        roomy = Engine(_network(made), media, cache_bytes=12 * one)
        for i in range(24):
            roomy.segment(i)
            assert roomy.cached_bytes <= 12 * one
        for i in range(24):
            engine.segment(i)
            assert engine.cached_bytes <= 8 * one  # what one prediction needs is always kept


def test_an_act_pauses_after_every_encoder_pass(made: Checkpoint, clip: Path) -> None:
    with open_media(clip) as media:
        engine = Engine(_network(made), media)
        assert len(list(engine.segment_steps(10))) == 8
        assert len(list(engine.segment_steps(11))) == 1
        assert len(list(engine.segment_steps(11))) == 0


def test_interleaved_acts_do_not_disturb_each_other(made: Checkpoint, clip: Path) -> None:
    with open_media(clip) as media:
        engine = Engine(_network(made), media, cache_bytes=1)
        far, near = engine.segment_steps(20), engine.segment_steps(4)
        for _ in range(3):
            next(far)
            next(near)
        alone = Engine(_network(made), media)
        for steps, index in ((far, 20), (near, 4)):
            np.testing.assert_array_equal(run(steps).labels, alone.segment(index).labels)


def test_look_back_sums_to_one_and_names_its_frames(made: Checkpoint, clip: Path) -> None:
    with open_media(clip) as media:
        engine = Engine(_network(made), media)
        for frame, past in ((12, (11, 10, 9, 8, 7, 6, 5)), (2, (1, 0))):
            selected = engine.segment(frame).selected
            row, col = np.argwhere(selected)[3]
            look = engine.look_back(frame, int(col) * 8 + 4, int(row) * 8 + 4)
            assert (look.row, look.col) == (row, col)
            assert look.selected
            assert not look.forced
            assert look.frames == past
            assert look.radii == (1, 2, 3, 4, 4, 4, 4)[: len(past)]
            assert look.weights.shape == (4, len(past), 8, 12)
            np.testing.assert_allclose(look.weights.sum((1, 2, 3)), 1, rtol=1e-5)
            assert [
                np.array_equal(image, media[i].image)
                for i, image in zip(past, look.images, strict=True)
            ] == [True] * len(past)


def test_an_unselected_position_says_so_and_can_be_forced(made: Checkpoint, clip: Path) -> None:
    with open_media(clip) as media:
        engine = Engine(_network(made), media)
        row, col = np.argwhere(~engine.segment(12).selected)[0]
        x, y = int(col) * 8, int(row) * 8
        look = engine.look_back(12, x, y)
        assert (look.selected, look.forced, look.frames) == (False, False, ())
        assert look.probabilities.sum() == pytest.approx(1, abs=1e-5)
        forced = engine.look_back(12, x, y, force=True)
        assert (forced.selected, forced.forced, len(forced.frames)) == (False, True, 7)
        np.testing.assert_allclose(forced.weights.sum((1, 2, 3)), 1, rtol=1e-5)


def test_the_first_frame_has_nothing_to_look_at(made: Checkpoint, clip: Path) -> None:
    with open_media(clip) as media:
        look = Engine(_network(made), media).look_back(0, 5, 5, force=True)
    assert look.frames == ()
    assert not look.forced


def test_pixels_outside_and_models_without_attention_are_refused(
    made: Checkpoint, clip: Path
) -> None:
    with open_media(clip) as media:
        engine = Engine(_network(made), media)
        with pytest.raises(IndexError, match="outside the 96x64 image"):
            engine.look_back(3, 96, 0)
        with pytest.raises(IndexError):
            engine.segment(24)
        per_frame = Engine(_network(checkpoint(pspnet_config())), media)
        with pytest.raises(CheckpointError, match="no sparse temporal attention"):
            per_frame.look_back(3, 5, 5)
        with pytest.raises(CheckpointError, match="reads no key frames"):
            _network(checkpoint(pspnet_config()), key_frames=3)


def test_key_frames_can_be_overridden(made: Checkpoint, clip: Path) -> None:
    with open_media(clip) as media:
        assert Engine(_network(made, key_frames=0), media).segment(9).selected.sum() == 0
        engine = Engine(_network(made, key_frames=9), media)
        row, col = np.argwhere(engine.segment(15).selected)[0]
        look = engine.look_back(15, int(col) * 8, int(row) * 8)
        assert len(look.frames) == 9
        assert sum((2 * r + 1) ** 2 for r in look.radii) == 569
    assert made.model.config.key_frames == 7  # the checkpoint itself is not changed


@pytest.mark.parametrize("size", [(64, 96), (61, 83), (30, 200)])
def test_any_size_comes_back_at_the_images_size(made: Checkpoint, size: tuple[int, int]) -> None:
    stream = Stream(_network(made))
    for image in images(2, size):
        found = stream.push(image).segmentation
        assert found.labels.shape == found.confidence.shape == size
        assert found.labels.max() < 11


def test_bf16_agrees_with_fp32_on_most_pixels(made: Checkpoint) -> None:
    frames = images(9)
    low = Stream(Network(made, device="cpu", precision="bf16"))
    full = Stream(_network(made))
    for image in frames:
        a, b = low.push(image).segmentation.labels, full.push(image).segmentation.labels
    assert (a == b).mean() > 0.9
