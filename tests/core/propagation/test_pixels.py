"""Shares of cells, and the borders between labels within them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from stt_core.propagation.pixels import cell_shares, to_pixels

_NO_FLOW = np.zeros((16, 24), np.float32)
_SOME = np.full((16, 24), 255, np.uint8)


@settings(deadline=None, max_examples=30)
@given(
    labels=arrays(np.uint8, (12, 20), elements=st.sampled_from([0, 3, 254, 255])),
    grid=st.sampled_from([(3, 5), (12, 20), (5, 7), (1, 1)]),
)
def test_shares_are_areas(labels: NDArray[np.uint8], grid: tuple[int, int]) -> None:
    ids = np.array([0, 3, 254, 255], np.uint8)
    found = cell_shares(labels, ids, grid)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    for share, label in zip(found, ids, strict=True):
        # every cell is a number of equal parts of pixels
        parts = np.kron(labels == label, np.ones(grid)).astype(float)
        parts = parts.reshape(grid[0], 12, grid[1], 20)
        np.testing.assert_allclose(share, parts.mean((1, 3)), atol=1e-5)


def _cells(values: list[list[float]]) -> torch.Tensor:
    """``[n, 2, 3]``: each label's share in all cells of a row."""
    return torch.tensor(values)[..., None].expand(-1, -1, 3).contiguous()


def _logits(border: int, first: int, second: int, strength: float = 8.0) -> torch.Tensor:
    """``[5, 16, 24]``: a class left of a column, another right of it."""
    logits = torch.zeros(5, 16, 24)
    logits[first, :, :border] = strength
    logits[second, :, border:] = strength
    return logits


def test_the_model_draws_the_border_where_the_votes_are_even() -> None:
    found = to_pixels(
        _cells([[0.5, 0.5], [0.5, 0.5]]),
        np.array([1, 4], np.uint8),
        _logits(11, 1, 4),
        _SOME,
        _NO_FLOW,
        align_corners=False,
    )
    assert (found.labels[:, :11] == 1).all()
    assert (found.labels[:, 11:] == 4).all()
    # 0.1 for every class, and the probability
    assert found.share[0, 0] == pytest.approx(1.1 / 1.2, abs=0.01)


def test_a_class_nobody_votes_for_stays_out_however_sure_the_model_is() -> None:
    found = to_pixels(
        _cells([[1.0, 0.9], [0.0, 0.1]]),
        np.array([1, 4], np.uint8),
        _logits(11, 4, 3, 50.0),
        np.full((16, 24), 4, np.uint8),
        np.ones((16, 24), np.float32),
        align_corners=False,
    )
    assert (found.labels[:4] == 1).all(), "4 has no share there"
    assert (found.share[:4] == 1).all()
    assert not np.isin(found.labels, [0, 2, 3]).any()


def test_what_the_model_does_not_know_neither_gains_nor_loses_by_it() -> None:
    shares, ids = _cells([[0.3, 0.3], [0.25, 0.25], [0.45, 0.45]]), np.array([1, 4, 255], np.uint8)
    weak = to_pixels(shares, ids, torch.zeros(5, 16, 24), _SOME, _NO_FLOW, align_corners=True)
    assert (weak.labels == 255).all()
    np.testing.assert_allclose(weak.share, 0.45, atol=1e-5)
    strong = to_pixels(shares, ids, _logits(24, 1, 4), _SOME, _NO_FLOW, align_corners=True)
    # all of what the known labels have goes to one of them, nearly: 0.55 of 1.1 parts in 1.1833
    assert (strong.labels == 1).all()
    expected = 0.55 * 0.3 * 1.1 / (0.3 * 1.1 + 0.25 * 0.1)
    np.testing.assert_allclose(strong.share, expected, atol=0.005)


def test_the_flow_decides_within_cells_as_far_as_it_is_sure() -> None:
    moved = np.full((16, 24), 9, np.uint8)
    moved[:, 13:] = 7
    trust = np.ones((16, 24), np.float32)
    trust[8:] = 0
    found = to_pixels(
        _cells([[0.6, 0.6], [0.4, 0.4]]),
        np.array([7, 9], np.uint8),
        torch.zeros(5, 16, 24),
        moved,
        trust,
        align_corners=False,
    )
    np.testing.assert_array_equal(found.labels[:8], moved[:8])
    assert (found.labels[8:] == 7).all()
    assert found.share[0, 0] == pytest.approx(0.4 * 16 / (0.4 * 16 + 0.6), abs=1e-4)
