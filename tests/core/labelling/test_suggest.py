from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stt_core.labelling.change import LabellingError
from stt_core.labelling.facts import Facts, region_facts
from stt_core.labelling.ranking import WAYS, By
from stt_core.labelling.suggest import Suggestion, suggest
from stt_core.labelling.uncertain import UncertainRegion


def _random_facts(seed: int, count: int, regions: bool = False) -> Facts:
    """Facts with many equals, some NaN, and gaps between the frames."""
    rng = np.random.default_rng(seed)
    frames = np.sort(rng.choice(3 * count + 1, count, replace=regions)).astype(np.int64)
    corner = rng.integers(0, 40, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 30, (count, 2))], 1)
    column = rng.integers(0, 5, (3, count)) / 4
    column[1, rng.random(count) < 0.2] = np.nan
    return Facts(
        frames,
        boxes.astype(np.int64) if regions else None,
        uncertainty=column[0],
        flicker=column[1],
        disagreement=column[2],
        class_pixels=rng.integers(0, 9, (count, 4)).astype(np.int64) ** 2,
        features=rng.integers(0, 6, (count, 2)).astype(np.float64),
    )


def _shuffled(facts: Facts, seed: int) -> tuple[Facts, NDArray[np.int64]]:
    order = np.random.default_rng(seed).permutation(len(facts)).astype(np.int64)
    columns: dict[str, Any] = {f.name: getattr(facts, f.name) for f in fields(facts)}
    return Facts(**{k: None if c is None else c[order] for k, c in columns.items()}), order


def _are_near(facts: Facts, one: int, two: int, gap: int) -> bool:
    if abs(int(facts.frames[one]) - int(facts.frames[two])) >= gap:
        return False
    if facts.boxes is None:
        return True
    (a0, b0, a1, b1), (c0, d0, c1, d1) = facts.boxes[one], facts.boxes[two]
    return bool(max(a0, c0) < min(a1, c1) and max(b0, d0) < min(b1, d1))


_cases = {
    "seed": st.integers(0, 10_000),
    "count": st.integers(1, 25),
    "wanted": st.integers(0, 12),
    "gap": st.integers(0, 8),
    "regions": st.booleans(),
    "by": st.sampled_from(WAYS),
}


@given(**_cases)
@settings(max_examples=200, deadline=None)
def test_suggestions_keep_their_distance_unless_nothing_else_is_left(
    seed: int, count: int, wanted: int, gap: int, regions: bool, by: By
) -> None:
    facts = _random_facts(seed, count, regions)
    labelled = set(np.random.default_rng(seed).integers(0, 80, 4).tolist())
    found = suggest(facts, by, wanted, labelled, gap=gap)
    rows = [s.row for s in found]
    candidates = [i for i in range(count) if int(facts.frames[i]) not in labelled]
    assert len(set(rows)) == len(rows) == min(wanted, len(candidates))
    assert set(rows) <= set(candidates)
    for i, suggestion in enumerate(found):
        assert suggestion.frame == facts.frames[suggestion.row]
        box = None if facts.boxes is None else tuple(facts.boxes[suggestion.row])
        assert suggestion.box == box
        assert suggestion.why.endswith(".")
        free = [
            row
            for row in candidates
            if row not in rows[:i]
            and not any(_are_near(facts, row, other, gap) for other in rows[:i])
            and not any(abs(int(facts.frames[row]) - frame) < gap for frame in labelled)
        ]
        assert suggestion.row in free or not free


@given(**_cases)
@settings(max_examples=80, deadline=None)
def test_the_order_of_the_table_and_the_number_asked_for_change_nothing(
    seed: int, count: int, wanted: int, gap: int, regions: bool, by: By
) -> None:
    facts = _random_facts(seed, count, regions)
    labelled = np.random.default_rng(seed).integers(0, 80, 3).tolist()
    found = suggest(facts, by, wanted, labelled, gap=gap)
    assert suggest(facts, by, wanted, labelled, gap=gap) == found
    shuffled, order = _shuffled(facts, seed + 1)
    again = suggest(shuffled, by, wanted, labelled, gap=gap)
    if not regions:  # two regions may be the same
        assert [int(order[s.row]) for s in again] == [s.row for s in found]
    assert [(s.frame, s.box, s.why) for s in again] == [(s.frame, s.box, s.why) for s in found]
    if by != "even":  # which is laid out for the number
        assert suggest(facts, by, wanted + 3, labelled, gap=gap)[:wanted] == found


@pytest.mark.parametrize("by", ["uncertain", "flicker", "disagree"])
@given(seed=st.integers(0, 10_000), gap=st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_the_highest_values_come_first(by: By, seed: int, gap: int) -> None:
    facts = _random_facts(seed, 20)
    values = {
        "uncertain": facts.uncertainty, "flicker": facts.flicker, "disagree": facts.disagreement
    }[by]  # fmt: skip
    assert values is not None
    left, wanted = list(range(20)), []
    while left:  # rows rise by frame
        best = max(left, key=lambda row: (np.nan_to_num(values[row], nan=-1), -row))
        wanted.append(best)
        left = [row for row in left if row != best and not _are_near(facts, row, best, gap)]
    found = [s.row for s in suggest(facts, by, 20, gap=gap)]
    assert found[: len(wanted)] == wanted


@given(seed=st.integers(0, 10_000), labelled=st.integers(0, 3), wanted=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_diverse_is_the_greedy_k_centre_from_the_labelled_frames(
    seed: int, labelled: int, wanted: int
) -> None:
    facts = _random_facts(seed, 16)  # so many that their mean is exact
    points = facts.features
    assert points is not None
    done = np.random.default_rng(seed).permutation(16)[:labelled].tolist()
    centres = list(done)
    for suggestion in suggest(facts, "diverse", wanted, facts.frames[done].tolist(), gap=0):
        left = [row for row in range(16) if row not in centres]
        away = [
            min((float(np.linalg.norm(points[r] - points[c])) for c in centres), default=0.0)
            for r in left
        ]
        if not centres:
            middle = points.mean(0)
            away = [-float(np.linalg.norm(points[r] - middle)) for r in left]
        assert suggestion.row == left[int(np.argmax(np.round(away, 9)))]
        centres.append(suggestion.row)


@given(st.integers(1, 400), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_even_frames_without_labels_cut_the_video_into_equal_parts(length: int, count: int) -> None:
    facts = Facts(np.arange(length, dtype=np.int64))
    found = [s.frame for s in suggest(facts, "even", count, gap=0)]
    assert len(found) == min(count, length)
    if count <= length:
        ideal = (np.arange(count) + 0.5) * length / count - 0.5
        assert np.abs(np.array(found) - ideal).max() <= 1


def _greatest_distance(length: int, centres: list[int]) -> int:
    return int(np.abs(np.arange(length)[:, None] - np.array(centres)).min(1).max())


@given(st.integers(20, 200), st.sets(st.integers(0, 199), min_size=1, max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_even_frames_leave_no_frame_farther_than_must_be(
    length: int, labelled: set[int], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, 6))
    done = sorted(frame for frame in labelled if frame < length)
    facts = Facts(np.arange(length, dtype=np.int64))
    found = [s.frame for s in suggest(facts, "even", count, labelled, gap=0)]
    got = _greatest_distance(length, [*done, *found])
    # the least distance so many frames can reach, by trying: greedy cover from the left
    best = next(d for d in range(length) if _needed(length, done, d) <= count)
    assert got <= best + 1


def _needed(length: int, done: list[int], distance: int) -> int:
    """How many more frames are needed for every frame to be that near to one."""
    covered = np.zeros(length, np.bool_)
    for frame in done:
        covered[max(0, frame - distance) : frame + distance + 1] = True
    added = 0
    while not covered.all():
        first = int(np.flatnonzero(~covered)[0])
        covered[first : first + 2 * distance + 1] = True
        added += 1
    return added


def test_rare_classes_come_first_and_each_in_its_turn() -> None:
    # classes: road everywhere, a bus on 20, a dog on 60 (twice) and 61
    pixels = np.zeros((100, 3), np.int64)
    pixels[:, 0] = 1000
    pixels[20, 1] = 50
    pixels[[60, 61], 2] = 20, 10
    facts = Facts(np.arange(100, dtype=np.int64), class_pixels=pixels)
    found = suggest(facts, "rare", 3, gap=0, class_names=("road", "bus"))
    assert [s.frame for s in found] == [20, 60, 61]
    assert found[0].why == "100.0% of all pixels of bus are here."
    assert found[1].why == "66.7% of all pixels of class 2 are here."
    # what is labelled already is not looked for any more
    assert [s.frame for s in suggest(facts, "rare", 1, [20], gap=0)] == [60]
    assert [s.frame for s in suggest(facts, "rare", 1, [20], gap=50)] == [70]


def test_regions_of_near_frames_may_both_be_suggested_where_they_do_not_meet() -> None:
    def region(x0: int, pixels: int) -> UncertainRegion:
        return UncertainRegion((0, x0, 10, x0 + 10), (x0 + 5.0, 5.0), pixels, 0.5)

    rows = [(3, region(0, 100)), (3, region(50, 60)), (4, region(5, 90)), (9, region(0, 40))]
    facts = region_facts(rows)
    found = suggest(facts, "uncertain", 4, gap=5)
    assert [(s.frame, s.box) for s in found] == [
        (3, (0, 0, 10, 10)), (3, (0, 50, 10, 60)), (9, (0, 0, 10, 10)), (4, (0, 5, 10, 15))
    ]  # fmt: skip
    assert found[0].why == "The model is as unsure here as if it knew nothing of 50 pixels."
    assert [s.frame for s in suggest(facts, "uncertain", 4, [3], gap=5)] == [9, 4]
    assert suggest(region_facts([]), "uncertain", 3) == ()


def test_every_suggestion_says_why() -> None:
    facts = Facts(
        np.array([0, 30], np.int64),
        uncertainty=np.array([0.125, 0.5]),
        flicker=np.array([0.25, np.nan]),
        disagreement=np.array([0.1, 0.0]),
        class_pixels=np.array([[0], [0]], np.int64),
        features=np.array([[0.0], [1.0]]),
    )

    def said(by: By) -> list[str]:
        return [s.why for s in suggest(facts, by, 2)]

    assert (
        said("uncertain")[0]
        == "The model is unsure here: 0.50 in the mean, where 1 is a mere guess."
    )
    assert said("flicker") == [
        "25.0% of it changes class without having moved.",
        "Nothing is known of this frame, but nothing else is left.",
    ]
    assert said("disagree")[0] == "The two models disagree on 10.0% of it."
    assert said("rare")[0] == "No class is seen here, but nothing else is left."
    assert said("diverse") == [
        "It is the most typical of all.",
        "It looks least like what is labelled or suggested already.",
    ]
    assert said("even") == [
        "No frame is labelled yet.",
        "The nearest that is labelled or suggested is 30 frames away.",
    ]
    assert suggest(facts, "even", 1)[0] == Suggestion(0, None, "No frame is labelled yet.", 0)


@pytest.mark.parametrize("by", [way for way in WAYS if way != "even"])
def test_what_is_not_known_cannot_be_chosen_by(by: By) -> None:
    facts = Facts(np.arange(3, dtype=np.int64))
    with pytest.raises(LabellingError, match=r"It is not known .*\. Predict the video .*first\."):
        suggest(facts, by, 1)


def test_wrong_arguments_are_refused() -> None:
    frames = np.arange(3, dtype=np.int64)
    facts = Facts(frames)
    with pytest.raises(ValueError, match="got by='best'"):
        suggest(facts, "best", 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="count=-1"):
        suggest(facts, "even", -1)
    with pytest.raises(ValueError, match="gap=-1"):
        suggest(facts, "even", 1, gap=-1)
    for columns, message in (
        ({"frames": frames - 1}, "0 or more"),
        ({"frames": frames.astype(np.float64)}, "frames must be int64"),
        ({"frames": frames // 2}, "twice"),
        ({"boxes": np.zeros((3, 3), np.int64)}, "boxes must be"),
        ({"uncertainty": np.zeros(2)}, "uncertainty must be float64"),
        ({"flicker": np.zeros(3, np.float32)}, "flicker must be float64"),
        ({"disagreement": np.full(3, np.inf)}, "disagreement must be finite"),
        ({"class_pixels": np.full((3, 2), -1)}, "class_pixels must be 0 or more"),
        ({"features": np.zeros(3)}, "features must be"),
        ({"features": np.full((3, 2), np.nan)}, "features must be numbers"),
    ):
        table: dict[str, Any] = {"frames": frames, **columns}
        with pytest.raises(ValueError, match=message):
            Facts(**table)
