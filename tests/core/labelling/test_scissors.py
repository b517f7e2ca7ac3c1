from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stt_core.labelling.polygon import inside
from stt_core.labelling.scissors import MAX_PIXELS, Scissors
from tests.core.labelling.pictures import overlap, star


def _cut_out(
    image: NDArray[np.uint8],
    clicks: list[tuple[float, float]],
    within: tuple[int, int, int, int] | None = None,
) -> NDArray[np.bool_]:
    scissors = Scissors(image, within)
    outline = []
    for click, after in zip(clicks, [*clicks[1:], clicks[0]], strict=True):
        scissors.start(click)
        assert scissors.anchor == click
        path = scissors.path_to(after)
        assert path.dtype == np.float64
        assert tuple(path[0]) == click
        assert tuple(path[-1]) == after
        outline.append(path[:-1])
    (y, x), mask = inside(np.concatenate(outline), image.shape[:2])
    whole = np.zeros(image.shape[:2], np.bool_)
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return whole


def _on_the_outline(middle: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    angles = np.arange(4) * np.pi / 2 + 0.3
    far = radius * (1 + 0.15 * np.sin(5 * angles))
    x, y = middle[0] + far * np.cos(angles), middle[1] + far * np.sin(angles)
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def test_paths_follow_the_edge_between_clicks() -> None:
    image, blob = star((160, 180), (90, 80), 40)
    image.flags.writeable = False
    clicks = _on_the_outline((90, 80), 40)
    found = _cut_out(image, clicks)
    (y, x), straight = inside(np.array(clicks), (160, 180))
    plain = np.zeros((160, 180), np.bool_)
    plain[y : y + straight.shape[0], x : x + straight.shape[1]] = straight
    assert overlap(plain, blob) < 0.8
    assert overlap(found, blob) > 0.95


def test_a_large_image_is_cut_at_a_small_size_or_in_part_at_its_own() -> None:
    image, blob = star((1000, 1400), (900, 500), 100)
    assert image.shape[0] * image.shape[1] > 2 * MAX_PIXELS
    clicks = _on_the_outline((900, 500), 100)
    steps = []
    for within in (None, (300, 700, 700, 1100)):
        assert overlap(_cut_out(image, clicks, within), blob) > 0.97
        scissors = Scissors(image, within)
        scissors.start(clicks[0])
        moves = np.abs(np.diff(scissors.path_to(clicks[1]), axis=0)[1:-1])
        steps.append(moves.max())
    assert steps[0] == pytest.approx((1000 * 1400 / MAX_PIXELS) ** 0.5, rel=0.01)
    assert steps[1] == 1


def test_the_path_to_the_anchor_stays_there() -> None:
    scissors = Scissors(star((40, 50), (25, 20), 10)[0])
    scissors.start((7.25, 9.75))
    assert scissors.path_to((7.25, 9.75)).tolist() == [[7.25, 9.75]] * 2
    assert len(scissors.path_to((49.9, 39.9))) > 2
    assert scissors.path_to((0, 0))[-1].tolist() == [0, 0]


def test_what_makes_no_sense_is_refused() -> None:
    image = np.zeros((40, 50, 3), np.uint8)
    with pytest.raises(ValueError, match="no anchor yet"):
        Scissors(image).path_to((1, 1))
    for point in ((50, 1), (1, 40), (-0.1, 1)):
        with pytest.raises(ValueError, match="must lie in the image"):
            Scissors(image).start(point)
    for within in ((0, 0, 41, 50), (0, 0, 40, 51), (-1, 0, 4, 4), (4, 4, 4, 8)):
        with pytest.raises(ValueError, match="the part must lie in the image"):
            Scissors(image, within)
    part = Scissors(image, (10, 10, 20, 20))
    with pytest.raises(ValueError, match="must lie in"):
        part.start((5, 5))
    with pytest.raises(ValueError, match="an image must be"):
        Scissors(image[..., 0])
