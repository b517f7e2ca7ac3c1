"""Which clips a step learns from, whoever asks and whenever."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from stt_core.config import AugmentConfig
from stt_core.data.clip_sources import clips_of
from stt_core.training.batches import Batch, Share, load_batches
from stt_core.training.config import MotionConfig, PseudoConfig, TrainConfig
from tests.core.clip_sets import halves

CONFIG = TrainConfig(
    steps=6, batch_size=4, key_frames=2, augment=AugmentConfig(crop=(64, 96), short_side=64)
)


def batches(config: TrainConfig = CONFIG, **options: object) -> list[Batch]:
    sources = [clips_of(halves(count=n), key_frames=2) for n in (6, 3)]
    rest = [clips_of(halves(labelled=False), key_frames=2, unlabelled=True)]
    rest = rest if config.pseudo else []
    return list(load_batches(sources, rest, config, **options))  # type: ignore[arg-type]


def expect_same(a: Batch, b: Batch) -> None:
    assert a.names == b.names
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.past, b.past)
    assert torch.equal(a.labels, b.labels)


def test_a_run_can_be_taken_up_at_any_step() -> None:
    whole = batches()
    assert len(whole) == 6
    for late, again in zip(whole[4:], batches(start=4), strict=True):
        expect_same(late, again)


def test_every_clip_is_drawn_before_any_is_drawn_again() -> None:
    names = [name for batch in batches(replace(CONFIG, steps=3)) for name in batch.names]
    assert set(Counter(names[0::2]).values()) == {1}  # six clips of the first source, in 12 draws
    assert set(Counter(names[1::2]).values()) == {2}  # three of the second


@pytest.mark.parametrize("size", [2, 4])
def test_processes_share_what_one_would_take(size: int) -> None:
    config = replace(CONFIG, pseudo=PseudoConfig(start=0.5, share=0.3))
    whole = batches(config)
    parts = [batches(config, share=Share(rank, size)) for rank in range(size)]
    for batch, *shared in zip(whole, *parts, strict=True):
        assert {len(part.names) for part in shared} == {4 // size}
        assert Counter(n for part in shared for n in part.names) == Counter(batch.names)
        assert sum(part.labelled for part in shared) == batch.labelled
        for part in shared:
            first = {bool((labels < 254).any()) for labels in part.labels[: part.labelled]}
            assert first <= {True}
            assert not (part.labels[part.labelled :] < 254).any()


def test_flow_is_there_when_asked_for_even_where_there_is_no_past() -> None:
    config = replace(CONFIG, motion=MotionConfig())
    found = next(
        iter(load_batches([clips_of(halves(past=0), key_frames=2, past="real")], [], config))
    )
    assert found.flow.shape == (4, 64, 96, 2)
    assert found.past.shape[1] >= 1
    for length, flow in zip(found.lengths, found.flow, strict=True):
        assert bool(flow.isfinite().all()) == bool(length)
    assert batches()[0].flow.numel() == 0


def test_picked_clips_keep_their_labels_and_their_order() -> None:
    batch = batches(replace(CONFIG, pseudo=PseudoConfig(start=0.0)))[0]
    some = batch.pick([1, 3])
    assert (batch.labelled, some.labelled) == (2, 1)
    assert some.names == (batch.names[1], batch.names[3])
    np.testing.assert_array_equal(some.images[1], batch.images[3])
