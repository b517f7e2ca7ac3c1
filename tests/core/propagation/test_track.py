"""Labels along the flow, with exact flow as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stt_core.labels import UNLABELLED
from stt_core.media.source import MediaSource
from stt_core.metrics.consistency import hidden
from stt_core.propagation.propagate import propagate
from stt_core.propagation.track import FlowMethod, step_trust
from tests.core.propagation.worlds import SceneWorld, Steady, halves, still

pytestmark = pytest.mark.timeout(1200)  # the first scene of a machine compiles its generator


@pytest.fixture(scope="module")
def world() -> SceneWorld:
    return SceneWorld(3, 12)


@pytest.mark.parametrize(("start", "way"), [(0, 1), (11, -1), (5, 1), (5, -1)])
def test_with_exact_flow_what_stays_visible_keeps_its_class(
    world: SceneWorld, start: int, way: int
) -> None:
    steps = propagate(
        world.media,
        start,
        world.labels[start],
        FlowMethod(world.motion),
        forwards=11 * (way > 0),
        backwards=11 * (way < 0),
    )
    reached = []
    for step in steps:
        reached.append(step.frame)
        known = step.labels != UNLABELLED
        right = (step.labels == world.labels[step.frame])[known].mean()
        assert known.mean() > 0.2
        assert right > 0.985
        # and each point is where the scene itself says it was in the labelled frame
        flow, visible = world.scene.flow(step.frame, start)
        rows, columns = np.nonzero(known & visible)
        x = np.rint(columns + flow[rows, columns, 0]).astype(int)
        y = np.rint(rows + flow[rows, columns, 1]).astype(int)
        direct = world.labels[start][y, x]
        assert (direct == step.labels[rows, columns]).mean() > 0.985
    assert reached == list(range(start + way, 12 if way > 0 else -1, way))


def test_dis_flow_comes_near_over_a_few_frames(world: SceneWorld) -> None:
    *_, last = propagate(world.media, 0, world.labels[0], FlowMethod(), forwards=4)
    known = last.labels != UNLABELLED
    assert known.mean() > 0.7
    assert (last.labels == world.labels[4])[known].mean() > 0.92


@settings(deadline=None, max_examples=25)
@given(right=st.integers(-9, 9), down=st.integers(-9, 9), count=st.integers(1, 3))
def test_whole_pixels_move_exactly_and_what_comes_in_has_no_label(
    right: int, down: int, count: int
) -> None:
    labels = np.random.default_rng(5).integers(0, 9, (48, 64), dtype=np.uint8)
    *_, last = propagate(
        still(5), 0, labels, FlowMethod(Steady(right, down)), forwards=count, least=0.5
    )
    expected = np.full_like(labels, UNLABELLED)
    dx, dy = right * count, down * count
    for y in range(48):
        for x in range(64):
            if 0 <= y - dy < 48 and 0 <= x - dx < 64:
                expected[y, x] = labels[y - dy, x - dx]
    np.testing.assert_array_equal(last.labels, expected)
    np.testing.assert_array_equal(last.confidence, np.where(expected == UNLABELLED, 0, 255))


def test_parts_of_a_pixel_add_up() -> None:
    """Rounded at each step, nothing would move by 0.4 pixels a frame."""
    *_, last = propagate(still(12), 0, halves(), FlowMethod(Steady(0.4)), forwards=10)
    np.testing.assert_array_equal(last.labels[:, 4:], np.roll(halves(), 4, 1)[:, 4:])


def test_the_confidence_is_that_of_the_worst_step() -> None:
    gaps = {1: 0.2, 2: 0.8, 3: 0.5, 4: 0.0}

    def motion(media: MediaSource, frame: int, other: int) -> NDArray[np.float32]:
        flow = np.zeros((media.height, media.width, 2), np.float32)
        if other == frame + 1:  # on the way back
            flow[:20, :, 0] = gaps[other]
        return flow

    steps = propagate(still(5), 0, halves(), FlowMethod(motion), forwards=4, least=0)
    expected = [2 ** -(gap**2 / (0.01 * gap**2 + 0.5)) for gap in (0.2, 0.8, 0.8, 0.8)]
    for step, value in zip(steps, expected, strict=True):
        assert (step.confidence[20:] == 255).all()
        np.testing.assert_allclose(step.confidence[:20] / 255, value, atol=0.003)


def _flows(seed: int, spread: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    there = rng.normal(0, 3, (24, 32, 2)).astype(np.float32)
    back = (-there + rng.normal(0, spread, there.shape)).astype(np.float32)
    there[rng.random((24, 32)) < 0.05] = np.nan
    return there, back


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.1, 0.5, 1.0, 3.0]))
def test_trust_is_below_half_exactly_where_the_measure_of_steadiness_calls_a_point_hidden(
    seed: int, spread: float
) -> None:
    there, back = _flows(seed, spread)
    trust = step_trust(there, back)
    y, x = np.mgrid[:24, :32]
    outside = (
        (x + there[..., 0] < -0.5)
        | (x + there[..., 0] >= 31.5)
        | (y + there[..., 1] < -0.5)
        | (y + there[..., 1] >= 23.5)
    )
    clear = np.abs(trust - 0.5) > 1e-4  # on the line, rounding decides
    expected = ~(hidden(there, back) | outside)
    np.testing.assert_array_equal((trust >= 0.5)[clear], expected[clear])
    assert (trust[outside | np.isnan(there[..., 0])] == 0).all()
    assert ((trust >= 0) & (trust <= 1)).all()
