from __future__ import annotations

import numpy as np
import pytest

from stt_core.inspection.change import Change, KeyBox
from stt_core.inspection.places import (
    Cell,
    Pixel,
    cell_box,
    cell_centre,
    cell_of,
    cells_of_pixels,
    key_offsets,
    key_window,
    spread,
)
from stt_core.model.attention.windows import window_offsets


@pytest.mark.parametrize("radii", [(), (0,), (1, 3), (1, 2, 3, 4, 4, 4, 4)])
def test_keys_come_in_the_order_in_which_attention_has_them(radii: tuple[int, ...]) -> None:
    theirs = np.stack([part.numpy() for part in window_offsets(radii)], 1)
    np.testing.assert_array_equal(key_offsets(radii), theirs)


@pytest.mark.parametrize(("grid", "size"), [((8, 12), (64, 96)), ((5, 7), (37, 61))])
def test_every_pixel_lies_in_the_box_of_its_cell(
    grid: tuple[int, int], size: tuple[int, int]
) -> None:
    numbers = cells_of_pixels(grid, size)
    for y in range(size[0]):
        for x in range(size[1]):
            row, col = cell_of(Pixel(0, x, y), grid, size)
            assert numbers[y, x] == row * grid[1] + col
            x0, y0, x1, y1 = cell_box(row, col, grid, size)
            assert x0 - 1 < x < x1
            assert y0 - 1 < y < y1
    assert cell_centre(0, 0, (8, 12), (64, 96)) == (3.5, 3.5)


def test_places_that_are_not_there_are_refused() -> None:
    with pytest.raises(IndexError, match=r"position \(8, 0\) lies outside the 8x12 map"):
        cell_of(Cell(0, 8, 0), (8, 12), (64, 96))
    with pytest.raises(IndexError, match=r"pixel \(-1, 3\) lies outside the 96x64 image"):
        cell_of(Pixel(0, -1, 3), (8, 12), (64, 96))


def test_spread_puts_each_key_in_its_place_and_drops_those_beyond_the_border() -> None:
    window = key_window(0, 1, (1, 2), (4, 5))
    assert window.count == 6 + 12
    weights = np.arange(len(window.lag), dtype=np.float32)[None] + 1
    maps = spread(weights, window, 2, (4, 5))
    assert maps.shape == (1, 2, 4, 5)
    for k in np.flatnonzero(window.inside):
        assert maps[0, window.lag[k], window.row[k], window.col[k]] == weights[0, k]
    assert (maps > 0).sum() == window.count


def test_a_change_mutes_what_it_names_and_ignores_what_is_not_there() -> None:
    window = key_window(2, 2, (1, 2), (6, 6))
    change = Change(
        heads=frozenset({1}),
        keys=frozenset({(0, 2, 2), (5, 2, 2), (1, 40, 2)}),
        boxes=(KeyBox(1, -3, 0, 2, 2), KeyBox(7, 0, 0, 9, 9)),
        pairs=frozenset({(0, 0), (2, 9)}),
        swaps=((1, 3), (6, 1)),
    )
    heard = change.heard(window, 3)
    for head in range(3):
        for k in range(len(window.lag)):
            lag, row, col = window.lag[k], window.row[k], window.col[k]
            muted = (
                head == 1
                or (lag, row, col) == (0, 2, 2)
                or (lag == 1 and row < 2 and col < 2)
                or (head == 0 and lag == 0)
            )
            assert heard[head, k] == (not muted and window.inside[k])
    assert change.swapped((9, 8)) == (9, 3)
    keys = change.all_keys((6, 6))
    assert {key for key in keys if key[0] == 1} == {
        (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1), (1, 40, 2),
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"there are 2 heads, 0 to 1: no \[2\]"):
        change.heard(window, 2)
