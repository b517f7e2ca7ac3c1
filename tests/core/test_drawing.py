from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stt_core.drawing import (
    RED,
    blend,
    cell_box,
    heat_rgba,
    heat_table,
    need_rgba,
    to_image_size,
    veil,
    veil_rgba,
    viridis_table,
    window_box,
)


def _rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_blend_is_the_mixture_by_alpha_and_opacity(opacity: float) -> None:
    rng = _rng()
    image = rng.integers(0, 256, (9, 13, 3), dtype=np.uint8)
    labels = rng.integers(0, 256, (9, 13), dtype=np.uint8)
    table = rng.integers(0, 256, (256, 4), dtype=np.uint8)

    alpha = table[labels][..., 3:] / 255 * opacity
    plain = image * (1 - alpha) + table[labels][..., :3] * alpha

    assert np.abs(blend(image, labels, table, opacity) - plain).max() <= 1.5


def test_blend_leaves_what_is_transparent_untouched_and_covers_what_is_opaque() -> None:
    image = _rng().integers(0, 256, (6, 6, 3), dtype=np.uint8)
    labels = np.zeros((6, 6), np.uint8)
    labels[:, 3:] = 1
    table = np.zeros((256, 4), np.uint8)
    table[1] = (10, 20, 30, 255)

    out = blend(image, labels, table, 1.0)

    np.testing.assert_array_equal(out[:, :3], image[:, :3])
    assert (out[:, 3:] == (10, 20, 30)).all()


def test_blend_refuses_labels_of_another_size() -> None:
    with pytest.raises(ValueError, match="sizes differ"):
        blend(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8), heat_table(), 1)


def _is_red(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (pixels[..., :3] == RED).all(-1)


def _line_by_hand(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A pixel is on the line if a direct neighbour is of the other kind."""
    high, wide = chosen.shape
    line = np.zeros_like(chosen)
    for y in range(high):
        for x in range(wide):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < high and 0 <= u < wide and chosen[v, u] != chosen[y, x]:
                    line[y, x] = True
    return line


@pytest.mark.parametrize("size", [(24, 32), (25, 33), (6, 8)])
def test_red_line_runs_exactly_between_selected_and_unselected(size: tuple[int, int]) -> None:
    selected = _rng().random((6, 8)) > 0.5
    image = np.full((*size, 3), 90, np.uint8)
    line = _line_by_hand(to_image_size(selected, size))

    np.testing.assert_array_equal(_is_red(veil(image, selected)), line)
    np.testing.assert_array_equal(_is_red(veil_rgba(selected, size)), line)


def test_veil_whitens_only_what_did_not_attend() -> None:
    selected = np.zeros((2, 4), np.bool_)
    selected[:, 2:] = True
    image = np.full((16, 32, 3), 100, np.uint8)

    out = veil(image, selected, opacity=0.6)

    assert (out[:, 17:] == 100).all()
    assert (out[:, :15] == round(100 * 0.4 + 255 * 0.6)).all()
    assert _is_red(out[:, 15:17]).all()


def test_veil_layer_over_an_image_is_the_veiled_image() -> None:
    selected = _rng().random((5, 7)) > 0.4
    image = _rng().integers(0, 256, (40, 56, 3), dtype=np.uint8)
    layer = veil_rgba(selected, (40, 56)).astype(float)
    alpha = layer[..., 3:] / 255

    over = image * (1 - alpha) + layer[..., :3] * alpha

    assert np.abs(over - veil(image, selected)).max() <= 1


@pytest.mark.parametrize("everywhere", [True, False])
def test_veil_without_a_border_has_no_line(everywhere: bool) -> None:
    layer = veil_rgba(np.full((3, 3), everywhere), (12, 12))
    assert (layer[..., 3] == (0 if everywhere else 153)).all()
    assert not _is_red(layer).any()


def test_heat_grows_deeper_and_more_opaque_with_the_weight() -> None:
    table = heat_table().astype(int)
    assert table[0, 3] == 0
    assert (np.diff(table[:, 3]) >= 0).all()
    assert (np.diff(table[:, :3].sum(1)) <= 0).all()


def test_heat_is_bilinear_between_cell_centres() -> None:
    weights = _rng().random((3, 4)).astype(np.float32)
    size, peak = (24, 32), float(weights.max())
    plain = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            row = np.clip((y + 0.5) * 3 / size[0] - 0.5, 0, 2)
            col = np.clip((x + 0.5) * 4 / size[1] - 0.5, 0, 3)
            r, c = min(int(row), 1), min(int(col), 2)
            part = weights[r : r + 2, c : c + 2]
            down, across = row - r, col - c
            plain[y, x] = (
                part[0, 0] * (1 - down) * (1 - across)
                + part[0, 1] * (1 - down) * across
                + part[1, 0] * down * (1 - across)
                + part[1, 1] * down * across
            )
    expected = heat_table()[np.rint(plain / peak * 255).astype(int)].astype(int)

    assert np.abs(heat_rgba(weights, size, peak) - expected).max() <= 3


def test_heat_of_a_lone_cell_is_deepest_in_its_middle() -> None:
    weights = np.zeros((5, 6), np.float32)
    weights[2, 4] = 0.25
    layer = heat_rgba(weights, (45, 54), 0.25)  # nine pixels a cell: one lies in the middle

    assert np.unravel_index(layer[..., 3].argmax(), (45, 54)) == (2 * 9 + 4, 4 * 9 + 4)
    np.testing.assert_array_equal(layer[22, 40], heat_table()[255])
    assert layer[0, 0, 3] == 0


def test_heat_of_nothing_is_transparent() -> None:
    assert not heat_rgba(np.zeros((4, 4), np.float32), (8, 8), 0.0)[..., 3].any()


def test_need_maps_zero_to_the_dark_end_and_its_peak_to_the_bright_one() -> None:
    need = np.zeros((4, 4), np.float32)
    need[:, 2:] = 2.0
    layer = need_rgba(need, (32, 32), opacity=0.5, peak=2.0)

    np.testing.assert_array_equal(layer[0, 0, :3], viridis_table()[0, :3])
    np.testing.assert_array_equal(layer[0, -1, :3], viridis_table()[255, :3])
    assert (layer[..., 3] == 128).all()


def test_viridis_gets_brighter_all_along() -> None:
    luminance = viridis_table()[:, :3] @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luminance) > -1.5).all()
    assert luminance[-1] - luminance[0] > 150


def test_boxes_tile_the_image() -> None:
    grid, size = (3, 4), (30, 60)
    assert cell_box(0, 0, grid, size) == (0, 0, 15, 10)
    assert cell_box(2, 3, grid, size) == (45, 20, 60, 30)
    assert window_box((1, 3, 0, 2), grid, size) == (0, 10, 30, 30)
