from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_core.config import key_radii
from stt_core.model.selection import select_queries


@given(
    need=st.lists(st.integers(0, 9), min_size=1, max_size=60),
    ratio=st.floats(0.01, 1.0),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_they_are_the_first_of_a_stable_ranking(need: list[int], ratio: float, seed: int) -> None:
    """Greatest need first, of equals the lower index; each image of a batch by itself."""
    g = torch.Generator().manual_seed(seed)
    other = [need[i] for i in torch.randperm(len(need), generator=g)]
    chosen = select_queries(torch.tensor([need, other], dtype=torch.float32), ratio)
    count = math.floor(ratio * len(need) + 1e-9)
    for image, got in zip((need, other), chosen.tolist(), strict=True):
        ranking = sorted(range(len(image)), key=lambda i: (-image[i], i))
        assert got == sorted(ranking[:count])


@pytest.mark.parametrize(
    ("positions", "ratio", "count"),
    [(10, 0.3, 3), (10, 0.7, 7), (100, 0.29, 29), (7, 0.5, 3), (1, 0.5, 0), (9, 1.0, 9)],
)
def test_exactly_floor_ratio_n_are_selected(positions: int, ratio: float, count: int) -> None:
    """Also where ratio * N is a hair below the number it stands for."""
    chosen = select_queries(torch.rand(2, positions), ratio)
    assert chosen.shape == (2, count)
    assert chosen.dtype == torch.long


def test_of_equals_the_lower_index_is_selected() -> None:
    need = torch.tensor([[1.0, 2.0, 1.0, 1.0, 2.0, 1.0]])
    assert select_queries(need, 0.5).tolist() == [[0, 1, 4]]
    assert select_queries(torch.zeros(1, 5000), 0.5).tolist() == [list(range(2500))]


def test_others_are_taken_besides() -> None:
    need = torch.tensor([[5.0, 1.0, 4.0, 0.0, 3.0, 2.0]])
    assert select_queries(need, 0.5).tolist() == [[0, 2, 4]]
    assert select_queries(need, 0.5, also=torch.tensor([[3]])).tolist() == [[0, 2, 3, 4]]
    assert select_queries(need, 0.5, also=torch.tensor([[4]])).tolist() == [[0, 2, 4]]
    assert select_queries(need, 0.1, also=torch.tensor([[5, 1]])).tolist() == [[1, 5]]


def test_ratio_and_shape_are_checked() -> None:
    for ratio in (0, -0.5, 1.01):
        with pytest.raises(ValueError, match="ratio must be in"):
            select_queries(torch.zeros(1, 4), ratio)
    with pytest.raises(ValueError, match=r"\[B, N\]"):
        select_queries(torch.zeros(4), 0.5)


def test_the_radii_of_the_supplement_make_407_keys() -> None:
    def keys(frames: int) -> int:
        return sum((2 * r + 1) ** 2 for r in key_radii(frames, start=1, end=4, step=1))

    assert key_radii(7, start=1, end=4, step=1) == (1, 2, 3, 4, 4, 4, 4)
    assert [keys(t) for t in range(1, 10)] == [9, 34, 83, 164, 245, 326, 407, 488, 569]
    assert key_radii(3, start=0, end=4, step=2) == (0, 2, 4)
    assert key_radii(0, start=1, end=4, step=1) == ()
