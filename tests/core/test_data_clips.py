from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stt_core.data.clip_sources import Past, clips_of
from stt_core.data.sequences import DataSet
from stt_core.data.sources import open_data
from stt_core.data.synthesis import draw_path, flow_by, look_from, past_of_still
from stt_core.errors import DataError
from stt_core.labels import UNLABELLED
from tests.core.data_sets import ids, picture, write_folder

RNG = np.random.default_rng


def smooth(size: tuple[int, int] = (90, 120), seed: int = 0) -> NDArray[np.uint8]:
    """A picture of slow waves, so that a tenth of a pixel makes less than a grey level."""
    y, x = np.mgrid[: size[0], : size[1]]
    phases = RNG(seed).uniform(0, 6, (3, 2))
    waves = [np.sin(x / 9 + a) + np.cos(y / 8 + b) + np.sin((x + y) / 13) for a, b in phases]
    return (127 + 40 * np.stack(waves, -1)).round().astype(np.uint8)


def at(image: NDArray[np.uint8], flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """What an image shows where the points have gone."""
    rows, columns = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    x, y = (np.nan_to_num(c) for c in (columns + flow[..., 0], rows + flow[..., 1]))
    return np.asarray(cv2.remap(image.astype(np.float32), x, y, cv2.INTER_LINEAR))


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Ten frames of video; 0, 3, 5 and 9 are labelled."""
    folder = write_folder(tmp_path_factory.mktemp("drive"), [f"{i}.png" for i in range(10)])
    for i in (1, 2, 4, 6, 7, 8):
        (folder / "labels" / f"{i}.png").unlink()
    return open_data(f"folder:{folder},video=yes")


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Four images that have nothing to do with each other."""
    folder = write_folder(tmp_path_factory.mktemp("stills"), [f"{i}.png" for i in range(4)])
    return open_data(f"folder:{folder}")


def frames_of(past: tuple[NDArray[np.uint8], ...], count: int = 10) -> list[int]:
    """Which frames of the drive these are."""
    return [next(i for i in range(count) if np.array_equal(picture(i), p)) for p in past]


def test_labelled_frames_are_targets_with_the_frames_before_them(drive: DataSet) -> None:
    source = clips_of(drive, key_frames=4)
    assert len(source) == 4
    assert (source.classes, source.licence, source.digest) == (drive.classes, "", drive.digest)
    clip = source.draw(2, RNG(0))
    np.testing.assert_array_equal(clip.image, picture(5))
    np.testing.assert_array_equal(clip.labels, ids(5, 3))
    assert frames_of(clip.past) == [4, 3, 2, 1]
    assert clip.flow is None
    assert frames_of(source.draw(1, RNG(0)).past) == [2, 1, 0]


def test_key_frames_can_lie_further_apart(drive: DataSet) -> None:
    source = clips_of(drive, key_frames=3, key_spacing=2)
    assert frames_of(source.draw(3, RNG(0)).past) == [7, 5, 3]
    assert frames_of(source.draw(2, RNG(0)).past) == [3, 1]


def test_no_key_frames_give_no_past(drive: DataSet) -> None:
    clip = clips_of(drive, key_frames=0).draw(3, RNG(0))
    assert clip.past == ()
    assert clip.flow is None


def test_distances_can_be_drawn(drive: DataSet) -> None:
    source = clips_of(drive, key_frames=3, jitter_gap=True)
    rng = RNG(0)
    seen = {tuple(frames_of(source.draw(3, rng).past)) for _ in range(60)}
    gaps = [tuple(-np.diff((9, *past))) for past in seen]
    assert len(seen) == 8
    assert {g for gap in gaps for g in gap} == {1, 2}
    frame_3 = [frames_of(source.draw(1, rng).past) for _ in range(40)]
    assert {len(past) for past in frame_3} == {1, 2, 3}  # none from before the start


def test_a_frame_without_a_past_gets_one_by_motion(drive: DataSet) -> None:
    clip = clips_of(drive, key_frames=3).draw(0, RNG(0))
    assert len(clip.past) == 3
    assert clip.flow is not None
    assert clips_of(drive, key_frames=3, past="real").draw(0, RNG(0)).past == ()


def test_images_that_are_no_video_move_unless_told_otherwise(stills: DataSet) -> None:
    moved = clips_of(stills, key_frames=2).draw(2, RNG(0))
    assert not any(np.array_equal(p, picture(i)) for p in moved.past for i in range(4))
    real = clips_of(stills, key_frames=2, past="real").draw(2, RNG(0))
    assert frames_of(real.past) == [1, 0]
    still = clips_of(stills, key_frames=2, past="still").draw(2, RNG(0))
    assert frames_of(still.past) == [2, 2]
    assert still.flow is not None
    assert not still.flow.any()


def test_flow_is_left_out_where_it_is_not_wanted(stills: DataSet) -> None:
    for past in ("motion", "still"):
        assert clips_of(stills, key_frames=1, past=past, flow=False).draw(0, RNG(0)).flow is None


def test_frames_without_labels_are_targets_when_they_have_a_whole_past(drive: DataSet) -> None:
    source = clips_of(drive, key_frames=2, key_spacing=2, unlabelled=True)
    clips = [source.draw(i, RNG(0)) for i in range(len(source))]
    assert frames_of(tuple(clip.image for clip in clips)) == [4, 6, 7, 8]
    assert all((clip.labels == UNLABELLED).all() for clip in clips)
    assert frames_of(clips[0].past) == [2, 0]


def test_nothing_to_learn_from_is_told(drive: DataSet, stills: DataSet) -> None:
    with pytest.raises(DataError, match="no video frame without labels that has 9 frames before"):
        clips_of(drive, key_frames=9, unlabelled=True)
    with pytest.raises(DataError, match="no video frame without labels"):
        clips_of(stills, key_frames=0, unlabelled=True)


def test_an_unlabelled_video_has_no_labelled_clips(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ["1.png", "2.png"])
    data = open_data(f"video:{folder / 'images'}")
    with pytest.raises(DataError, match="there is no labelled frame"):
        clips_of(data, key_frames=1)
    assert len(clips_of(data, key_frames=1, unlabelled=True)) == 1


@pytest.mark.parametrize(
    ("key_frames", "key_spacing", "past"), [(-1, 1, "auto"), (1, 0, "auto"), (1, 1, "future")]
)
def test_impossible_clips_are_refused(
    drive: DataSet, key_frames: int, key_spacing: int, past: Past
) -> None:
    with pytest.raises(ValueError, match="need key_frames >= 0"):
        clips_of(drive, key_frames=key_frames, key_spacing=key_spacing, past=past)


def test_what_is_made_up_is_drawn_from_the_generator_alone(stills: DataSet) -> None:
    source = clips_of(stills, key_frames=3)
    first = source.draw(1, RNG(7))
    source.draw(2, RNG(8))
    copy = pickle.loads(pickle.dumps(source))
    for again in (source.draw(1, RNG(7)), copy.draw(1, RNG(7))):
        assert [p.tobytes() for p in again.past] == [p.tobytes() for p in first.past]
        np.testing.assert_array_equal(again.flow, first.flow)
    assert not np.array_equal(source.draw(1, RNG(9)).past[0], first.past[0])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_past_made_up_shows_the_still_where_the_flow_says(seed: int) -> None:
    image = smooth()
    made = past_of_still(image, (1, 2, 3), RNG(seed))
    known = np.isfinite(made.flow).all(-1)
    assert known.mean() > 0.6
    gap = np.abs(at(made.images[0], made.flow) - image)[known]
    # edges apart, where the border is mirrored within a pixel
    assert np.percentile(gap, 98) < 4
    assert np.median(gap) < 1


def test_a_moving_camera_moves_as_on_the_road() -> None:
    rng = RNG(0)
    medians, jumps = [], []
    for _ in range(300):
        path = draw_path((90, 120), rng)  # a quarter of 480 x 360
        flows = [flow_by(path.homography(time), path.size) for time in (-1, -2)]
        speeds = [4 * np.nanmedian(np.linalg.norm(flow, axis=-1)) for flow in flows]
        medians.append(speeds[0])
        jumps.append(speeds[1] / max(speeds[0], 0.5))
    assert 3 < np.median(medians) < 5
    assert np.percentile(medians, 99) < 12
    assert np.median(jumps) == pytest.approx(2, abs=0.3)  # smooth: twice the time, twice the way


def test_larger_images_move_in_proportion() -> None:
    small, large = (
        flow_by(draw_path(s, RNG(3)).homography(-1), s) for s in ((90, 120), (360, 480))
    )
    corner, far = small[40, 60], large[160, 240]
    np.testing.assert_allclose(4 * corner, far, atol=0.2)


def test_what_lies_beyond_the_edge_is_the_image_mirrored() -> None:
    image = smooth((40, 60))
    shifted = np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])
    seen = look_from(image, shifted)
    np.testing.assert_array_equal(seen[:, 10:], image[:, :50])
    np.testing.assert_array_equal(seen[:, :10], image[:, 10:0:-1])
    flow = flow_by(shifted, (40, 60))
    assert np.isnan(flow[:, 50:]).all()
    np.testing.assert_array_equal(flow[:, :50], np.broadcast_to([10.0, 0], (40, 50, 2)))


def test_a_past_needs_a_lag() -> None:
    with pytest.raises(ValueError, match="at least one lag"):
        past_of_still(smooth(), (), RNG(0))


def test_camvids_stills_get_a_moving_past(shared_data: Path) -> None:
    source = clips_of(open_data(f"camvid:{shared_data / 'camvid'}", check=False), key_frames=7)
    assert len(source) == 367
    clip = source.draw(10, RNG(0))
    assert len(clip.past) == 7
    assert clip.flow is not None
    video = open_data(f"camvid:{shared_data / 'camvid'},split=val", check=False)
    real = clips_of(video, key_frames=2).draw(5, RNG(0))
    np.testing.assert_array_equal(real.past[1], video.sequences[0].image(3))
