"""Comparing methods on a video whose every frame is labelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from stt_core.data.sequences import DataSet
from stt_core.engine import run
from stt_core.errors import DataError
from stt_core.evaluation.tables import to_markdown
from stt_core.labels import UNLABELLED, VOID, LabelClass
from stt_core.media.source import MediaSource
from stt_core.propagation.carrying import Carried
from stt_core.propagation.measuring import (
    MeasureStep,
    Score,
    SequenceMedia,
    measure,
    score_table,
    spread_starts,
)
from stt_core.propagation.track import FlowMethod
from tests.core.propagation.worlds import SceneWorld, texture

pytestmark = pytest.mark.timeout(1200)  # the first scene of a machine compiles its generator

CLASSES = tuple(LabelClass(name, (0, 0, 0)) for name in ("road", "car", "sky"))


class Drive:
    """A drive in memory."""

    name, video = "drive", True

    def __init__(
        self, images: Sequence[NDArray[np.uint8]], truth: Sequence[NDArray[np.uint8] | None]
    ) -> None:
        self._images, self.truth = images, truth
        self.labelled: Sequence[int] = [i for i, t in enumerate(truth) if t is not None]

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> NDArray[np.uint8]:
        return self._images[index]

    def labels(self, index: int) -> NDArray[np.uint8] | None:
        return self.truth[index]

    def flow(self, index: int) -> None:
        return None

    def frame_name(self, index: int) -> str:
        return f"{index}"


def _data(truth: Sequence[NDArray[np.uint8] | None]) -> DataSet:
    return DataSet("drive", CLASSES, "", "", (Drive([texture((8, 12))] * len(truth), truth),))


def _random_truth(count: int) -> list[NDArray[np.uint8] | None]:
    rng = np.random.default_rng(0)
    return [rng.choice(np.array([0, 1, 2, VOID, 255], np.uint8), (8, 12)) for _ in range(count)]


class Fixed:
    """A method that says the same whatever there is, for some frames."""

    def __init__(self, said: NDArray[np.uint8], frames: int) -> None:
        self.said, self.left, self.frames = said, 0, frames
        self.given: list[NDArray[np.uint8]] = []

    def start(self, media: MediaSource, frame: int, labels: NDArray[np.uint8]) -> Fixed:
        self.left = self.frames
        self.given.append(labels)
        return self

    def carry(self, frame: int) -> Carried:
        self.left -= 1
        sure = np.full(self.said.shape, 255 if self.left >= 0 else 0, np.uint8)
        return Carried(self.said, np.where(self.said == UNLABELLED, np.uint8(0), sure))


def test_scores_are_those_of_a_count_by_hand() -> None:
    truth = _random_truth(9)
    said = np.random.default_rng(1).choice(np.array([0, 1, VOID, 255], np.uint8), (8, 12))
    method = Fixed(said, 3)
    steps = measure(_data(truth), {"fixed": lambda media: method}, [0, 4], distances=[1, 3, 4])
    done: list[MeasureStep] = []
    while True:
        try:
            done.append(next(steps))
        except StopIteration as end:
            scores = end.value
            break
    assert [(s.start, s.frame) for s in done] == [(0, 1), (0, 2), (0, 3), (4, 5), (4, 6), (4, 7)]
    assert [(s.done, s.total) for s in done] == [(n, 8) for n in (1, 2, 3, 5, 6, 7)]
    for given, start in zip(method.given, (0, 4), strict=True):
        expected = truth[start]
        assert expected is not None
        np.testing.assert_array_equal(given, np.where(expected < 3, expected, 255))
    for score in scores[:2]:
        pairs = [
            (int(t), int(s))
            for start in (0, 4)
            for t, s in zip(truth[start + score.distance].ravel(), said.ravel(), strict=True)  # type: ignore[union-attr]
            if t < 3
        ]
        covered = [(t, s) for t, s in pairs if s < 3]
        assert score.coverage == pytest.approx(len(covered) / len(pairs))
        assert score.accuracy == pytest.approx(sum(t == s for t, s in covered) / len(covered))
        for chosen, value in ((covered, score.miou), (pairs, score.miou_all)):
            each = [
                sum(t == s == c for t, s in chosen) / sum(c in (t, s) for t, s in chosen)
                for c in range(3)
            ]
            assert value == pytest.approx(np.mean(each))
    assert (scores[2].distance, scores[2].coverage, scores[2].miou_all) == (4, 0, 0)
    assert math.isnan(scores[2].accuracy)


def test_exact_flow_scores_better_than_labels_that_stay_where_they_are() -> None:
    world = SceneWorld(8, 7, (96, 72))
    drive = Drive([world.media[i].image for i in range(7)], world.labels)
    eleven = tuple(LabelClass(str(i), (0, 0, 0)) for i in range(11))
    data = replace(_data(world.labels), classes=eleven, sequences=(drive,))
    stay = np.zeros((72, 96, 2), np.float32)
    scores = run(
        measure(
            data,
            {
                "exact": lambda media: FlowMethod(world.motion),
                "stays": lambda media: FlowMethod(lambda *_: stay),
            },
            spread_starts(drive, 2, [1, 5]),
            distances=[1, 5],
        )
    )
    assert [(s.method, s.distance) for s in scores] == [
        ("exact", 1), ("exact", 5), ("stays", 1), ("stays", 5)
    ]  # fmt: skip
    for exact, stays in zip(scores[:2], scores[2:], strict=True):
        assert exact.accuracy > 0.98 > stays.accuracy
        assert exact.miou > stays.miou
        assert exact.coverage < stays.coverage == 1


def test_starts_are_spread_over_the_frames_that_can_be_compared() -> None:
    truth: list[NDArray[np.uint8] | None] = _random_truth(101)
    assert spread_starts(Drive([texture()] * 101, truth), 3) == (0, 40, 80)
    truth[41] = None  # 1 after 40, 5 after 36, ...
    assert spread_starts(Drive([texture()] * 101, truth), 1) == (0,)
    all_there_are = spread_starts(Drive([texture()] * 101, truth), 76)
    assert {*all_there_are} == {*range(81)} - {21, 31, 36, 40, 41}
    with pytest.raises(DataError, match=r"drive has 76 frames .* but 90 are needed"):
        spread_starts(Drive([texture()] * 101, truth), 90)
    with pytest.raises(ValueError, match="count=0"):
        spread_starts(Drive([texture()] * 101, truth), 0)


def test_frames_without_truth_and_distances_out_of_order_are_refused() -> None:
    truth = _random_truth(5)
    truth[3] = None
    method = Fixed(np.zeros((8, 12), np.uint8), 9)
    for start in (2, 3, 4):
        with pytest.raises(DataError, match=r"frame \d of drive has no labels"):
            run(measure(_data(truth), {"m": lambda media: method}, [start], distances=[1]))
    for wrong in ([], [0, 1], [5, 1], [1, 1]):
        with pytest.raises(ValueError, match="rising"):
            run(measure(_data(truth), {"m": lambda media: method}, [0], distances=wrong))


def test_the_table_has_a_row_for_each_score() -> None:
    table = score_table([Score("flow", 5, 0.875, 0.5, math.nan, 0.25)])
    assert to_markdown(table).splitlines()[2] == "| flow | 5 | 87.5 | 50.0 | - | 25.0 |"


def test_a_drive_is_a_medium() -> None:
    images = [texture((8, 12), seed=i) for i in range(3)]
    with SequenceMedia(Drive(images, [None] * 3)) as media:
        assert (len(media), media.width, media.height) == (3, 12, 8)
        np.testing.assert_array_equal(media[2].image, images[2])
        assert not media[2].image.flags.writeable
        assert images[2].flags.writeable
        assert (media[2].index, media[2].name) == (2, "2")
        with pytest.raises(IndexError, match="frame 3 of drive"):
            media[3]
