"""Temporal consistency against slow twins that go pixel by pixel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from stt_core.flow import dis_flow
from stt_core.metrics.consistency import (
    SILENT,
    Consistency,
    ConsistencyMeter,
    Protocol,
    find_warp,
    hidden,
)

H, W = 5, 6
CLASSES = 3
PROTOCOLS: tuple[Protocol, ...] = ("plain", "masked", "etc")
Map = NDArray[np.uint8]
Flow = NDArray[np.float32]

_maps = hnp.arrays(np.uint8, (H, W), elements=st.sampled_from([0, 1, 2, 9, SILENT, 255]))
_known = hnp.arrays(np.uint8, (H, W), elements=st.integers(0, CLASSES - 1))
_speeds = st.floats(-4, 4, width=32) | st.sampled_from([np.nan, np.inf, 0.5, -0.5, 2e9])
_flows = hnp.arrays(np.float32, (H, W, 2), elements=_speeds)


def measure(
    protocol: Protocol,
    maps: Sequence[Map],
    *,
    backward: Sequence[Flow | None] | None = None,
    forward: Sequence[Flow | None] | None = None,
    classes: int = CLASSES,
) -> Consistency:
    """Of one clip; a flow for each frame but the first."""
    meter = ConsistencyMeter(protocol, classes)
    nothing = [None] * (len(maps) - 1)
    flows = zip(backward or nothing, forward or nothing, strict=True)
    for (before, now), (back, ahead) in zip(itertools.pairwise(maps), flows, strict=True):
        meter.add(before, now, find_warp(protocol, backward=back, forward=ahead))
    return meter.result("test")


def still(shape: tuple[int, int] = (H, W)) -> Flow:
    return np.zeros((*shape, 2), np.float32)


@given(_maps, _maps, _flows)
def test_plain_equals_its_definition(before: Map, now: Map, flow: Flow) -> None:
    both, either = np.zeros(CLASSES), np.zeros(CLASSES)
    for y in range(H):
        for x in range(W):
            u, v = flow[y, x]
            there = (np.rint(np.float32(x) + u), np.rint(np.float32(y) + v))
            if not (0 <= there[0] < W and 0 <= there[1] < H):  # nor NaN
                continue
            then, here = before[int(there[1]), int(there[0])], now[y, x]
            if then >= SILENT or here >= SILENT:
                continue
            for c in range(CLASSES):
                both[c] += then == here == c
                either[c] += c in (then, here)
    found = measure("plain", [before, now], backward=[flow])
    occur = either > 0
    wanted = (both[occur] / either[occur]).mean() if occur.any() else np.nan
    assert found.value == pytest.approx(wanted, nan_ok=True)
    np.testing.assert_allclose(np.array(found.class_values)[occur], both[occur] / either[occur])
    assert np.isnan(np.array(found.class_values)[~occur]).all()


@given(_maps, _maps, _flows)
def test_etc_equals_its_script_pixel_by_pixel(before: Map, now: Map, flow: Flow) -> None:
    """Resample2d's float32 and float64 arithmetic, then ETC's intersectionAndUnion."""
    both, either = np.zeros(CLASSES), np.zeros(CLASSES)
    for y in range(H):
        for x in range(W):
            if not (np.abs(flow[y, x]) < 1e9).all():
                continue
            warped = int(_resample(now, x, y, flow[y, x]))
            if warped == 255:
                continue
            for c in range(CLASSES):
                both[c] += warped == before[y, x] == c
                either[c] += c in (warped, before[y, x])
    found = measure("etc", [before, now], forward=[flow])
    np.testing.assert_allclose(found.class_values, both / (either + 1e-10))
    assert found.value == pytest.approx((both / (either + 1e-10)).mean())


def _resample(labels: Map, x: int, y: int, flow: Flow) -> np.float32:
    xf, yf = np.float32(x) + flow[0], np.float32(y) + flow[1]
    alpha, beta = xf - np.floor(xf), yf - np.floor(yf)
    x0, x1 = (max(min(int(np.floor(xf)) + i, W - 1), 0) for i in (0, 1))
    y0, y1 = (max(min(int(np.floor(yf)) + i, H - 1), 0) for i in (0, 1))
    one_alpha, one_beta = np.float64(1) - np.float64(alpha), np.float64(1) - np.float64(beta)
    value = np.float32(0)
    for weight, row, column in (
        (one_alpha * one_beta, y0, x0),
        (np.float64(alpha) * one_beta, y0, x1),
        (one_alpha * np.float64(beta), y1, x0),
        (alpha * beta, y1, x1),
    ):
        value = value + np.float32(weight * np.float32(labels[row, column]))
    return value


def test_the_occlusion_check_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    wave = np.linspace(0, 3, 40)
    backward = np.stack([np.add.outer(wave, wave) - 2, np.outer(wave, wave) - 3], -1)
    forward = -backward + rng.normal(0, 0.6, backward.shape)
    backward, forward = backward.astype(np.float32), forward.astype(np.float32)
    found = hidden(backward, forward)
    sure = 0
    for y in range(40):
        for x in range(40):
            f = backward[y, x].astype(float)
            to = np.array([x, y]) + f
            if not ((to >= 0).all() and (to <= 39).all()):
                continue
            low = np.minimum(np.floor(to).astype(int), 38)
            a, b = to - low
            corners = forward[low[1] : low[1] + 2, low[0] : low[0] + 2].astype(float)
            back = (1 - b) * ((1 - a) * corners[0, 0] + a * corners[0, 1])
            back += b * ((1 - a) * corners[1, 0] + a * corners[1, 1])
            gap, bound = ((f + back) ** 2).sum(), 0.01 * ((f**2).sum() + (back**2).sum()) + 0.5
            if abs(gap - bound) > 0.1:  # OpenCV samples at 32nds of a pixel
                assert found[y, x] == (gap > bound)
                sure += 1
    assert sure > 800
    assert 0.1 < found.mean() < 0.9


def test_what_was_hidden_is_left_out_of_masked_alone() -> None:
    """A square of class 1 moves 6 pixels to the right and uncovers what was never seen."""
    before, now = np.zeros((20, 40), np.uint8), np.zeros((20, 40), np.uint8)
    before[5:15, 10:20] = now[5:15, 16:26] = 1
    backward, forward = still((20, 40)), still((20, 40))
    backward[5:15, 16:26, 0], forward[5:15, 10:20, 0] = -6, 6
    flows = {"backward": [backward], "forward": [forward]}
    assert measure("masked", [before, now], classes=2, **flows).value == 1
    assert measure("plain", [before, now], classes=2, **flows).value < 0.9


@given(_known, st.sampled_from(PROTOCOLS))
def test_a_static_video_is_wholly_consistent(labels: Map, protocol: Protocol) -> None:
    flows = [still()] * 4
    found = measure(protocol, [labels] * 5, backward=flows, forward=flows, classes=19)
    present = len(np.unique(labels))
    # ETC counts the classes that never occur as 0
    assert found.value == pytest.approx(present / 19 if protocol == "etc" else 1)


@pytest.mark.parametrize("protocol", ["plain", "masked"])
@pytest.mark.parametrize("shift", [(3, 0), (0, -2), (-4, 5)])
def test_moving_with_the_exact_flow_stays_consistent(
    shift: tuple[int, int], protocol: Protocol
) -> None:
    dx, dy = shift
    wide = np.random.default_rng(0).integers(0, 4, (80, 90)).astype(np.uint8)
    frames = [wide[30 - dy * t : 60 - dy * t, 30 - dx * t : 70 - dx * t] for t in range(4)]
    back = np.full((30, 40, 2), (-dx, -dy), np.float32)
    flows = {"backward": [back] * 3, "forward": [-back] * 3}
    assert measure(protocol, frames, classes=4, **flows).value == 1
    assert measure(protocol, frames, classes=4, backward=[still((30, 40))] * 3).value < 0.5


@given(_known, _known, _known, _flows)
def test_sums_over_pairs_and_clips_come_before_the_mean(
    first: Map, second: Map, third: Map, flow: Flow
) -> None:
    """Two clips, measured together, are one mosaic of both."""
    meter = ConsistencyMeter("plain", CLASSES)
    for before, now in ((first, second), (third, first)):
        meter.add(before, now, find_warp("plain", backward=flow))
    inside = np.where(np.isfinite(flow).all(-1, keepdims=True), flow, 1e9)
    # a gap of silence, wider than any flow is long
    gap = np.full((H, 8), 255, np.uint8)
    far = np.full((H, 8, 2), 1e9, np.float32)
    wide = measure(
        "plain",
        [np.hstack([first, gap, third]), np.hstack([second, gap, first])],
        backward=[np.hstack([inside, far, inside])],
    )
    assert meter.pairs == 2
    together = meter.result("test")
    # what leaves one image may land in its own margin of the mosaic, where nothing is said
    assert together.value == pytest.approx(wide.value, nan_ok=True)


@pytest.mark.parametrize("protocol", ["plain", "masked"])
def test_where_an_exact_flow_says_nothing_nothing_is_compared(protocol: Protocol) -> None:
    before, now = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    now[:2] = 1
    flow = still((4, 4))
    flow[:2] = np.nan
    assert measure(protocol, [before, now], backward=[flow]).value == 1


def test_silent_ids_are_left_out_and_ids_of_no_class_count_against() -> None:
    before = np.zeros((4, 4), np.uint8)
    silent, unknown = before.copy(), before.copy()
    silent[0], unknown[0] = SILENT, CLASSES
    assert measure("plain", [before, silent], backward=[still((4, 4))]).value == 1
    assert measure("plain", [before, unknown], backward=[still((4, 4))]).value == 0.75
    # two maps that both give no class agree about nothing
    assert measure("plain", [unknown, unknown], backward=[still((4, 4))]).value == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_frames_of_which_nothing_is_comparable_tell_nothing(protocol: Protocol) -> None:
    labels = np.zeros((4, 4), np.uint8)
    away = np.full((4, 4, 2), np.nan, np.float32)
    found = measure(protocol, [labels, labels], backward=[away], forward=[away])
    assert found.value == 0 if protocol == "etc" else np.isnan(found.value)
    assert np.isnan(ConsistencyMeter(protocol, 2).result("test").value)


def test_a_figure_carries_its_rules() -> None:
    meter = ConsistencyMeter("masked", 2)
    found = meter.result("dis")
    assert (found.protocol, found.flow) == ("masked", "dis")


def test_missing_flow_and_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="etc needs the flow from each frame to the next"):
        find_warp("etc", backward=still())
    with pytest.raises(ValueError, match="plain needs the flow from each frame to the one before"):
        find_warp("plain", forward=still())
    warp = find_warp("plain", backward=still())
    with pytest.raises(ValueError, match="differ in size"):
        ConsistencyMeter("plain", 2).add(
            np.zeros((H, W), np.uint8), np.zeros((W, H), np.uint8), warp
        )


@settings(max_examples=20)
@given(_flows, _flows)
def test_any_flow_is_taken(backward: Flow, forward: Flow) -> None:
    labels = np.zeros((H, W), np.uint8)
    for protocol in PROTOCOLS:
        measure(protocol, [labels, labels], backward=[backward], forward=[forward])


def test_dis_flow_leads_to_where_a_point_is_in_the_other_image() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    wide = cv2.resize(noise, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    image, other = wide[20:140, 20:200], wide[22:142, 15:195]
    u, v = dis_flow(image, other)[20:-20, 20:-20].reshape(-1, 2).T
    assert np.median(u) == pytest.approx(5, abs=0.2)
    assert np.median(v) == pytest.approx(-2, abs=0.2)
