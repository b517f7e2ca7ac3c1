from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest

from stt_core.data.clip_sources import clips_of
from stt_core.data.sources import camvid_classes, open_data
from stt_core.scenes.scene import Scene

# The first run compiles everything: under a minute alone, minutes on a busy machine.
pytestmark = pytest.mark.timeout(1200)
SMALL = (160, 120)


def test_flow_to_the_next_frame_is_that_of_the_frame() -> None:
    scene = Scene(3, SMALL)
    frame, motion = scene.frame(20), scene.flow(20, 21)
    np.testing.assert_array_equal(motion.flow, frame.flow)
    np.testing.assert_array_equal(motion.visible, frame.visible)


@pytest.mark.parametrize(
    ("seed", "index", "steps"), [(3, 20, 1), (8, 5, 1), (11, 33, 1), (8, 5, 3)]
)
def test_flow_back_is_the_inverse_of_the_flow_forward(seed: int, index: int, steps: int) -> None:
    scene = Scene(seed)
    ahead, back = scene.flow(index, index + steps), scene.flow(index + steps, index)
    rows, columns = np.mgrid[: ahead.flow.shape[0], : ahead.flow.shape[1]].astype(np.float32)
    there = (columns + ahead.flow[..., 0], rows + ahead.flow[..., 1])
    returned = cv2.remap(back.flow, *there, cv2.INTER_LINEAR)
    gap = np.linalg.norm(ahead.flow + returned, axis=-1)[ahead.visible]
    assert np.percentile(gap, 95) < 0.05 * steps  # between pixels the flow back is interpolated
    seen = cv2.remap(back.visible.astype(np.uint8), *there, cv2.INTER_NEAREST)[ahead.visible]
    assert seen.mean() > 0.99


def test_the_frame_before_warped_is_the_frame() -> None:
    (sequence,) = open_data("scenes:4-4,frames=31").sequences
    flow = sequence.flow(30)
    assert flow is not None
    known = np.isfinite(flow).all(-1)
    assert 0.7 < known.mean() < 1
    rows, columns = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    x, y = columns + np.nan_to_num(flow[..., 0]), rows + np.nan_to_num(flow[..., 1])
    back = cv2.remap(sequence.image(29), x, y, cv2.INTER_LINEAR)
    gap = np.abs(back.astype(int) - sequence.image(30)).mean(-1)[known]
    still = np.abs(sequence.image(29).astype(int) - sequence.image(30)).mean(-1)[known]
    assert np.median(gap) < 5
    assert gap.mean() < 0.65 * still.mean()
    labels = cv2.remap(sequence.labels(29), x, y, cv2.INTER_NEAREST)
    assert (labels == sequence.labels(30))[known].mean() > 0.99


def test_a_range_of_seeds_is_a_drive_each() -> None:
    data = open_data("scenes:5-7,frames=40,every=20")
    assert data.classes == camvid_classes()
    assert data.licence == ""
    assert [(s.name, len(s), s.video) for s in data.sequences] == [
        ("scene 5", 40, True),
        ("scene 6", 40, True),
        ("scene 7", 40, True),
    ]
    assert [list(s.labelled) for s in data.sequences] == [[19, 39]] * 3
    sequence = data.sequences[1]
    frame = Scene(6).frame(19)
    np.testing.assert_array_equal(sequence.image(19), frame.image)
    np.testing.assert_array_equal(sequence.labels(19), frame.labels)
    assert sequence.labels(18) is None
    assert sequence.flow(0) is None
    np.testing.assert_array_equal(sequence.image(19), frame.image)  # from what was kept
    with pytest.raises(IndexError, match="frame 40 of scene 6, which has frames 0 to 39"):
        sequence.image(40)


def test_all_of_eight_seconds_are_labelled_by_default() -> None:
    (sequence,) = open_data("scenes:0-0").sequences
    assert list(sequence.labelled) == list(range(120))


def test_the_digest_is_that_of_seeds_and_frames() -> None:
    specs = ("scenes:0-1", "scenes:0-2", "scenes:0-1,frames=60", "scenes:0-1,every=2")
    assert len({open_data(spec).digest for spec in specs}) == 4
    assert open_data("scenes:00-01,frames=120").digest == open_data(specs[0]).digest


def test_copies_are_small_and_show_the_same() -> None:
    data = open_data("scenes:2-3,frames=9")
    image, flow = data.sequences[1].image(8), data.sequences[1].flow(8)
    packed = pickle.dumps(data)
    assert len(packed) < 10_000
    copy = pickle.loads(packed)
    np.testing.assert_array_equal(copy.sequences[1].image(8), image)
    np.testing.assert_array_equal(copy.sequences[1].flow(8), flow)


def test_clips_of_scenes_have_a_real_past_and_exact_flow() -> None:
    data = open_data("scenes:5-6,frames=12,every=6")
    source = clips_of(data, key_frames=2)
    assert len(source) == 4
    clip = source.draw(2, np.random.default_rng(0))
    sequence = data.sequences[1]
    np.testing.assert_array_equal(clip.image, sequence.image(5))
    for past, index in zip(clip.past, (4, 3), strict=True):
        np.testing.assert_array_equal(past, sequence.image(index))
    np.testing.assert_array_equal(clip.flow, sequence.flow(5))
    assert clip.name == "scene 6, frame 6_000005"
