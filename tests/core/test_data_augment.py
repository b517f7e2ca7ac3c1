from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from stt_core.config import AugmentConfig
from stt_core.data.augment import augment
from stt_core.data.clips import Clip
from stt_core.data.synthesis import flow_by, look_from, past_of_still
from stt_core.labels import IGNORED, VOID
from tests.core.test_data_clips import RNG, at, smooth

PLAIN = AugmentConfig(crop=(80, 96), short_side=90, scale=(1.0, 1.0), flip=False, light=0.0)
"""A crop, and nothing else."""
WILD = replace(PLAIN, scale=(0.5, 2.0), flip=True, rotate=10.0, light=1.0)
SEEDS = st.integers(0, 100_000)


def moving_clip(seed: int, count: int = 2) -> Clip:
    image = smooth()
    made = past_of_still(image, range(1, count + 1), RNG(seed))
    return Clip(image, np.full(image.shape[:2], 2, np.uint8), made.images, made.flow, "moving")


def disc(size: tuple[int, int] = (90, 120)) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A bright disc and its labels."""
    y, x = np.mgrid[: size[0], : size[1]]
    labels = ((y - size[0] * 0.45) ** 2 + (x - size[1] * 0.55) ** 2 < (size[0] / 4) ** 2).astype(
        np.uint8
    )
    return np.repeat(np.where(labels == 1, 200, 40)[..., None], 3, 2).astype(np.uint8), labels


def same(a: Clip, b: Clip) -> bool:
    pairs = [(a.image, b.image), (a.labels, b.labels), *zip(a.past, b.past, strict=True)]
    return all(x.tobytes() == y.tobytes() for x, y in pairs) and np.array_equal(
        a.flow, b.flow, equal_nan=True
    )


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_the_flow_still_leads_to_the_same_points(seed: int) -> None:
    seen = augment(moving_clip(seed), WILD, RNG(seed))
    assert seen.flow is not None
    assert seen.flow.dtype == np.float32
    known = np.isfinite(seen.flow).all(-1)
    inside = known & (cv2.erode((seen.labels == 2).astype(np.uint8), np.ones((9, 9))) > 0)
    if not inside.any():
        return
    gap = np.abs(at(seen.past[0], seen.flow) - seen.image)[inside]
    # half a pixel of a turned view, since flow is sampled at the nearest pixel
    assert np.median(gap) < 2
    assert np.percentile(gap, 95) < 8


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_the_flow_turns_with_the_image(seed: int) -> None:
    image = smooth((120, 120))
    moved = np.array([[1.0, 0, 17], [0, 1, -9], [0, 0, 1]])
    clip = Clip(
        image,
        np.zeros(image.shape[:2], np.uint8),
        (look_from(image, moved),),
        flow_by(moved, (120, 120)),
    )
    config = replace(WILD, short_side=120, rotate=180.0, scale=(0.8, 1.3))
    seen = augment(clip, config, RNG(seed))
    assert seen.flow is not None
    inside = np.isfinite(seen.flow).all(-1)
    inside &= cv2.erode((seen.labels == 0).astype(np.uint8), np.ones((9, 9))) > 0
    assume(inside.sum() > 100)
    gap = np.abs(at(seen.past[0], seen.flow) - seen.image)[inside]
    assert np.median(gap) < 2
    assert np.percentile(gap, 95) < 8


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_the_flow_follows_frames_that_are_out_of_place(seed: int) -> None:
    config = replace(PLAIN, frame_change=0.6)
    seen = augment(moving_clip(seed), config, RNG(seed))
    assert seen.flow is not None
    inside = np.isfinite(seen.flow).all(-1)
    there, here = (x[inside].astype(np.float64) for x in (at(seen.past[0], seen.flow), seen.image))
    there *= (here * there).sum() / (there * there).sum()  # exposures differ
    assert np.median(np.abs(there - here)) < 6


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, low=st.floats(0.15, 1.0))
def test_image_and_labels_stay_together(seed: int, low: float) -> None:
    image, labels = disc()
    config = replace(WILD, scale=(low, 2 * low), light=0.0)
    seen = augment(Clip(image, labels, ()), config, RNG(seed))
    assert seen.labels.shape == config.crop
    assert seen.image.shape == (*config.crop, 3)
    is_disc = seen.labels == 1
    assume(is_disc.any())
    sure = (seen.labels < VOID) & ~_borders(is_disc)
    assert ((seen.image[..., 0] > 120) == is_disc)[sure].mean() > 0.998


@pytest.mark.parametrize("scale", [0.4, 0.7, 1.4])
def test_image_and_labels_are_not_shifted_against_each_other(scale: float) -> None:
    image, labels = disc()
    config = replace(PLAIN, crop=(184, 240), scale=(scale, scale), rotate=10.0)
    gaps = []
    for seed in range(60):
        seen = augment(Clip(image, labels, ()), config, RNG(seed))
        is_disc = seen.labels == 1
        near = cv2.dilate(is_disc.astype(np.uint8), np.ones((7, 7))) > 0
        bright = (seen.image[..., 0].astype(float) - 40) * near
        axes = np.mgrid[: config.crop[0], : config.crop[1]]
        gaps.append([(a * bright).sum() / bright.sum() - a[is_disc].mean() for a in axes])
    assert np.abs(np.mean(gaps, 0)).max() < 0.05  # pixels


def _borders(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels beside another kind."""
    mask = inside.astype(np.uint8)
    return np.asarray(cv2.dilate(mask, np.ones((3, 3))) != cv2.erode(mask, np.ones((3, 3))))


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_the_whole_clip_gets_the_same_view_and_light(seed: int) -> None:
    image = RNG(seed).integers(0, 255, (40, 56, 3)).astype(np.uint8)
    labels = np.full((40, 56), 2, np.uint8)
    labels[:5], labels[5:9] = VOID, IGNORED
    config = replace(WILD, crop=(32, 48), short_side=40, blur=0.5)
    seen = augment(Clip(image, labels, (image, image)), config, RNG(seed))
    np.testing.assert_array_equal(seen.image, seen.past[0])
    np.testing.assert_array_equal(seen.image, seen.past[1])
    assert set(np.unique(seen.labels)) <= {2, VOID, IGNORED}


def test_one_generator_state_gives_one_result() -> None:
    config = replace(WILD, frame_change=1.0, blur=0.5)
    clip = moving_clip(0)
    for seed in range(5):
        assert same(augment(clip, config, RNG(seed)), augment(clip, config, RNG(seed)))
        assert not same(augment(clip, config, RNG(seed)), augment(clip, config, RNG(seed + 1)))


def test_a_mirrored_clip_is_mirrored_in_all_its_parts() -> None:
    clip = moving_clip(1)
    whole = replace(PLAIN, crop=(88, 120), flip=True, short_side=90)
    cut = Clip(clip.image[:88], clip.labels[:88], clip.past, clip.flow)
    clip = replace(cut, past=tuple(p[:88] for p in clip.past), flow=clip.flow[:88])  # type: ignore[index]
    whole = replace(whole, short_side=88)
    results = {True: 0, False: 0}
    for seed in range(20):
        seen = augment(clip, whole, RNG(seed))
        mirrored = not np.array_equal(seen.image, clip.image)
        results[mirrored] += 1
        assert seen.flow is not None
        assert clip.flow is not None
        flow = seen.flow[:, ::-1] * (-1, 1) if mirrored else seen.flow
        step = -1 if mirrored else 1
        np.testing.assert_array_equal(seen.image[:, ::step], clip.image)
        np.testing.assert_array_equal(seen.past[1][:, ::step], clip.past[1])
        known = np.isfinite(flow) & np.isfinite(clip.flow)
        assert known.mean() > 0.7
        np.testing.assert_allclose(flow[known], clip.flow[known], atol=1e-5)
    assert min(results.values()) > 2
    never = replace(whole, flip=False)
    assert all(np.array_equal(augment(clip, never, RNG(s)).image, clip.image) for s in range(20))


def test_outside_the_image_is_the_mean_colour_and_counts_for_nothing() -> None:
    clip = moving_clip(2)
    config = replace(PLAIN, scale=(0.4, 0.4))
    seen = augment(clip, config, RNG(0))
    outside = cv2.erode((seen.labels == VOID).astype(np.uint8), np.ones((3, 3))) > 0
    assert 0.5 < outside.mean() < 0.9
    assert (seen.image[outside] == (124, 116, 104)).all()
    assert seen.flow is not None
    assert np.isnan(seen.flow[seen.labels == VOID]).all()
    assert np.isfinite(seen.flow[seen.labels != VOID]).mean() > 0.7


def test_flow_never_leads_out_of_the_crop() -> None:
    for seed in range(20):
        config = replace(WILD, frame_change=1.0)
        seen = augment(moving_clip(seed), config, RNG(seed))
        assert seen.flow is not None
        rows, columns = np.mgrid[: config.crop[0], : config.crop[1]]
        x, y = columns + seen.flow[..., 0], rows + seen.flow[..., 1]
        known = np.isfinite(x)
        assert (x[known] > -1e-3).all()
        assert (x[known] < config.crop[1] - 1 + 1e-3).all()
        assert (y[known] > -1e-3).all()
        assert (y[known] < config.crop[0] - 1 + 1e-3).all()


def test_strengths_of_nothing_leave_pixels_alone() -> None:
    image, labels = disc((80, 96))
    seen = augment(Clip(image, labels, (image,)), replace(PLAIN, short_side=80), RNG(0))
    np.testing.assert_array_equal(seen.image, image)
    np.testing.assert_array_equal(seen.labels, labels)
    assert seen.flow is None


def test_blur_is_the_5_x_5_gaussian() -> None:
    clip = moving_clip(0)
    sharp = augment(clip, replace(PLAIN, blur=0.0), RNG(0))
    blurred = augment(clip, replace(PLAIN, blur=1.0), RNG(0))
    np.testing.assert_array_equal(blurred.past[0], cv2.GaussianBlur(sharp.past[0], (5, 5), 0))
    np.testing.assert_array_equal(blurred.labels, sharp.labels)


def test_light_varies_from_clip_to_clip_with_its_strength() -> None:
    clip = moving_clip(0)

    def spread(light: float) -> float:
        config = replace(PLAIN, light=light)
        means = [augment(clip, config, RNG(seed)).image.mean() for seed in range(30)]
        return float(np.std(means))

    assert spread(0.0) < spread(0.5) < spread(1.0)


def test_frames_that_differ_keep_the_targets_place_and_labels() -> None:
    image, labels = disc()
    clip = Clip(image, labels, (image, image))
    for seed in range(10):
        calm = augment(clip, PLAIN, RNG(seed))
        restless = augment(clip, replace(PLAIN, frame_change=1.0), RNG(seed))
        np.testing.assert_array_equal(restless.labels, calm.labels)
        middle = (restless.image.min() / 2 + restless.image.max() / 2 + restless.image.mean()) / 2
        assert ((restless.image[..., 1] > middle) == (calm.labels == 1)).mean() > 0.97
        assert not np.array_equal(restless.past[0], restless.past[1])
        assert not np.array_equal(restless.past[0], calm.past[0])


def test_a_stronger_change_is_a_greater_one() -> None:
    clip = moving_clip(0)

    def change(strength: float) -> float:
        config = replace(PLAIN, frame_change=strength)
        gaps = []
        for seed in range(20):
            calm, seen = augment(clip, PLAIN, RNG(seed)), augment(clip, config, RNG(seed))
            gaps.append(np.abs(calm.past[0].astype(float) - seen.past[0]).mean())
        return float(np.mean(gaps))

    assert 0 == change(0.0) < change(0.3) < change(1.0) < change(2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": (9, 8)}, "multiples of 8"),
        ({"crop": (0, 8)}, "multiples of 8"),
        ({"scale": (2.0, 0.5)}, "rising positive pair"),
        ({"scale": (0.0, 1.0)}, "rising positive pair"),
        ({"scale": (1.0, float("inf"))}, "rising positive pair"),
        ({"short_side": 0}, "short_side must be at least 1"),
        ({"rotate": -1.0}, "rotate must be in 0..180"),
        ({"light": float("nan")}, "light must be in"),
        ({"blur": 1.5}, "blur must be in 0..1"),
        ({"frame_change": -0.1}, "frame_change must be in"),
    ],
)
def test_impossible_augmentation_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**changes)


def test_unknown_settings_are_refused() -> None:
    adapter = TypeAdapter(AugmentConfig)
    assert adapter.validate_python({"crop": [64, 64]}).crop == (64, 64)
    with pytest.raises(ValidationError, match="crops"):
        adapter.validate_python({"crops": [64, 64]})
