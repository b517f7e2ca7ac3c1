"""Votes by attention, against the weights of every single position."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from stt_core.checkpoint import Checkpoint
from stt_core.config import SttConfig
from stt_core.errors import CheckpointError
from stt_core.labels import UNLABELLED, VOID
from stt_core.model.video import Encoded
from stt_core.network import Network
from stt_core.propagation.attention import AttentionMethod
from stt_core.propagation.propagate import propagate
from stt_core.propagation.track import Motion
from stt_core.propagation.votes import Voting
from tests.core.models import checkpoint, images, lite_config, pspnet_config, stt_config
from tests.core.propagation.worlds import Pictures, Steady, halves, unknown

_SIZE = (64, 96)
_CONFIGS = {
    # 8 channels a head: 10 labels take two turns
    "bottleneck": stt_config(key_frames=3),
    "backbone": stt_config(lite_config(), key_frames=2, insert="backbone"),
    "by distance": stt_config(key_frames=2, heads=2, attention="distance", norm="gate"),
}


class Counting(Network):
    """A network that says which frames it encoded."""

    def __init__(self, made: Checkpoint, key_frames: int | None = None) -> None:
        super().__init__(made, device="cpu", precision="fp32", key_frames=key_frames)
        self.passes: Counter[int] = Counter()

    def encode(self, image: NDArray[np.uint8], index: int = 0) -> Encoded:
        self.passes[index] += 1
        return super().encode(image, index)


def _votes_by_weights(
    network: Network, current: Encoded, memory: list[Encoded], shares: list[torch.Tensor]
) -> torch.Tensor:
    """``[L, h, w]``, a position at a time."""
    rows, cols = current.size
    key_shares = torch.stack(shares, 1)  # [L, F, h, w]
    found = torch.empty(len(key_shares), rows * cols)
    for position in range(rows * cols):
        weights = network.focus(current, memory, position).weights.mean(0)  # [F, h, w]
        found[:, position] = (key_shares * weights).sum((1, 2, 3))
    return found.unflatten(1, (rows, cols))


@pytest.mark.parametrize("name", _CONFIGS)
def test_a_vote_is_the_sum_of_the_keys_shares_by_weight(name: str) -> None:
    made = checkpoint(_CONFIGS[name])
    network = Network(made, device="cpu", precision="fp32")
    encoded = [network.encode(image, i) for i, image in enumerate(images(4))]
    rng = np.random.default_rng(0)
    current, *memory = encoded[::-1][: network.key_frames + 1]
    shares = [
        torch.from_numpy(rng.dirichlet(np.ones(10), current.size).astype(np.float32)).movedim(2, 0)
        for _ in memory
    ]
    found = Voting(network, made).votes(current, memory, shares)
    expected = _votes_by_weights(network, current, memory, shares)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found.sum(0), torch.ones(current.size), atol=1e-4, rtol=0)


@pytest.mark.parametrize("way", [1, -1])
def test_frames_read_the_labelled_one_and_those_after_it_as_far_as_the_model_reaches(
    way: int,
) -> None:
    """Of classes the model does not know, without flow: the votes alone decide."""
    made = checkpoint(stt_config(key_frames=2))
    network = Counting(made)
    media = Pictures(images(5))
    labels = halves(_SIZE, 100, 200)
    labels[:8] = UNLABELLED
    start = 0 if way > 0 else 4
    steps = propagate(
        media,
        start,
        labels,
        AttentionMethod(network, made, unknown),
        forwards=4 * (way > 0),
        backwards=4 * (way < 0),
        least=0,
    )
    found = {step.frame: step for step in steps}
    assert list(found) == ([1, 2, 3, 4] if way > 0 else [3, 2, 1, 0])
    assert network.passes == Counter(range(5)), "a frame was encoded twice"

    ids = np.array([100, 200, 255], np.uint8)
    first = F.avg_pool2d(torch.from_numpy((labels == ids[:, None, None]).astype(np.float32)), 8)
    encoded = {i: network.encode(media[i].image, i) for i in range(5)}
    keys = [(encoded[start], first)]
    for frame, step in found.items():
        memory, shares = map(list, zip(*keys, strict=True))
        votes = _votes_by_weights(network, encoded[frame], memory, shares)
        keys = [(encoded[frame], votes), *keys][:2]
        full = F.interpolate(votes[None], _SIZE, mode="bilinear")[0]
        best, winner = full.max(0)
        clear = (best - full.sort(0).values[-2] > 1e-3).numpy()
        np.testing.assert_array_equal(step.labels[clear], ids[winner.numpy()][clear])
        said = step.labels != UNLABELLED
        np.testing.assert_allclose(step.confidence[said] / 255, best.numpy()[said], atol=0.005)
        assert (step.confidence[~said] == 0).all()
        assert len(np.unique(step.labels)) == 3


def test_both_directions_encode_the_labelled_frame_once() -> None:
    made = checkpoint(stt_config(key_frames=2))
    network = Counting(made)
    method = AttentionMethod(network, made, Steady(0))
    steps = propagate(
        Pictures(images(6)), 3, halves(_SIZE), method, forwards=2, backwards=3, least=0
    )
    assert [s.frame for s in steps] == [4, 5, 2, 1, 0]
    assert network.passes == Counter(range(6))


def test_backwards_is_forwards_on_the_frames_reversed() -> None:
    made = checkpoint(stt_config(key_frames=3))
    network = Network(made, device="cpu", precision="fp32")
    shown = images(4)
    labels = halves(_SIZE, 3, 8)
    ahead = propagate(
        Pictures(shown), 0, labels, AttentionMethod(network, made, Steady(2)), forwards=3, least=0
    )
    behind = propagate(
        Pictures(shown[::-1]),
        3,
        labels,
        AttentionMethod(network, made, Steady(-2)),
        backwards=3,
        least=0,
    )
    for a, b in zip(ahead, behind, strict=True):
        assert a.frame == 3 - b.frame
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_array_equal(a.confidence, b.confidence)


def test_a_few_labels_stay_few_and_void_stays_void() -> None:
    made = checkpoint(stt_config(key_frames=3))
    network = Network(made, device="cpu", precision="fp32")
    labels = np.full(_SIZE, UNLABELLED, np.uint8)
    labels[16:40, 16:40] = 4
    labels[24:48, 64:88] = VOID
    motion: Motion = Steady(0)
    *_, last = propagate(
        Pictures(images(1) * 4), 0, labels, AttentionMethod(network, made, motion), forwards=3
    )
    assert (last.labels[22:34, 22:34] == 4).all()
    assert (last.labels[30:42, 70:82] == VOID).all()
    assert (last.labels == UNLABELLED).mean() > 0.6
    assert set(np.unique(last.labels)) == {4, VOID, UNLABELLED}


def test_a_model_without_attention_is_refused_in_words() -> None:
    plain = checkpoint(pspnet_config())
    with pytest.raises(CheckpointError, match="no sparse temporal attention"):
        AttentionMethod(Network(plain, device="cpu"), plain)
    config = stt_config(key_frames=2)
    assert isinstance(config, SttConfig)
    made = checkpoint(config)
    with pytest.raises(CheckpointError, match="0 key frames"):
        AttentionMethod(Counting(made, key_frames=0), made)
    with pytest.raises(ValueError, match="another model"):
        AttentionMethod(Network(made, device="cpu"), replace(made, sha256="0" * 64))
