"""Which frames get labels, in which order, and what stops it."""

from __future__ import annotations

import re
from collections.abc import Container, Generator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stt_core.errors import LabelError
from stt_core.labels import UNLABELLED, VOID
from stt_core.media.source import MediaSource
from stt_core.propagation.carrying import Carried
from stt_core.propagation.propagate import Ending, Endings, Propagated, propagate
from stt_core.propagation.track import FlowMethod
from tests.core.propagation.worlds import Pictures, Steady, halves, nothing, still, texture


def run(
    steps: Generator[Propagated, None, Endings],
) -> tuple[list[Propagated], Endings]:
    done = []
    while True:
        try:
            done.append(next(steps))
        except StopIteration as end:
            return done, end.value


class Fading:
    """A method: a confidence that falls by 20 of 255 with every frame."""

    def start(self, media: MediaSource, frame: int, labels: NDArray[np.uint8]) -> Fading:
        self.labels, self.confidence = labels, 255
        return self

    def carry(self, frame: int) -> Carried:
        self.confidence -= 20
        return Carried(self.labels, np.full(self.labels.shape, self.confidence, np.uint8))


STAY = FlowMethod(Steady(0))


def test_it_goes_forwards_then_backwards_and_says_how_far_it_is() -> None:
    steps, endings = run(propagate(still(20), 10, halves(), STAY, forwards=3, backwards=2))
    assert [s.frame for s in steps] == [11, 12, 13, 9, 8]
    assert [(s.done, s.total) for s in steps] == [(i, 5) for i in range(1, 6)]
    for step in steps:
        np.testing.assert_array_equal(step.labels, halves())
        assert (step.confidence == 255).all()
    assert endings == Endings(Ending(13, "count"), Ending(8, "count"))


def test_a_direction_nobody_asked_for_is_left_alone() -> None:
    steps, endings = run(propagate(still(5), 2, halves(), STAY, backwards=1))
    assert [s.frame for s in steps] == [1]
    assert endings == Endings(None, Ending(1, "count"))
    assert run(propagate(still(5), 2, halves(), STAY)) == ([], Endings(None, None))


def test_the_video_ends() -> None:
    steps, endings = run(propagate(still(5), 3, halves(), STAY, forwards=9, backwards=9))
    assert [s.frame for s in steps] == [4, 2, 1, 0]
    assert {s.total for s in steps} == {4}
    assert endings == Endings(Ending(4, "end"), Ending(0, "end"))
    steps, endings = run(propagate(still(5), 4, halves(), STAY, forwards=1))
    assert (steps, endings) == ([], Endings(Ending(4, "end"), None))


@pytest.mark.parametrize("edited", [{2, 8, 0, 10}, range(8, 9), [8, 5]])
def test_an_edited_frame_is_neither_changed_nor_passed(edited: Container[int]) -> None:
    steps, endings = run(
        propagate(still(12), 5, halves(), STAY, forwards=9, backwards=9, edited=edited)
    )
    assert [s.frame for s in steps if s.frame > 5] == [6, 7]
    assert endings.forwards == Ending(7, "edited")
    if 2 in edited:
        assert [s.frame for s in steps if s.frame < 5] == [4, 3]
        assert endings.backwards == Ending(3, "edited")


def test_it_stops_at_a_cut_in_both_directions() -> None:
    dark, bright = texture() // 4, 255 - texture()[:, ::-1] // 4
    media = Pictures([dark] * 3 + [bright] * 4 + [dark] * 3)
    steps, endings = run(propagate(media, 4, halves(), STAY, forwards=9, backwards=9))
    assert [s.frame for s in steps] == [5, 6, 3]
    assert endings == Endings(Ending(6, "cut"), Ending(3, "cut"))


def test_what_is_unsure_is_left_out_and_nothing_left_ends_it() -> None:
    labels = halves()
    labels[:, :5] = UNLABELLED
    labels[:10, 20:] = VOID
    steps, endings = run(propagate(still(30), 0, labels, Fading(), forwards=20, least=0.7))
    # 0.7 of 255 is 178.5: three steps of 20 are fewer than 76.5
    assert [int(s.confidence[0, 0]) for s in steps] == [235, 215, 195]
    assert endings.forwards == Ending(3, "faded")
    for step in steps:
        np.testing.assert_array_equal(step.labels, labels)
    steps, endings = run(propagate(still(9), 0, labels, Fading(), forwards=9, least=0))
    assert endings.forwards == Ending(8, "end")


def test_what_the_threshold_hides_is_carried_on_all_the_same() -> None:
    media = Pictures([texture(seed=i // 2) for i in range(5)])
    method = FlowMethod()
    plain, _ = run(propagate(media, 0, halves(), method, forwards=4, least=0))
    for least in (0.3, 0.8):
        strict, _ = run(propagate(media, 0, halves(), method, forwards=4, least=least))
        for a, b in zip(strict, plain, strict=False):
            np.testing.assert_array_equal(a.confidence, b.confidence)
            kept = b.confidence >= 255 * least
            np.testing.assert_array_equal(a.labels, np.where(kept, b.labels, UNLABELLED))


def test_painting_on_does_not_change_what_is_under_way() -> None:
    labels = halves()
    steps = propagate(still(5), 2, labels, STAY, forwards=2, backwards=2)
    first = next(steps)
    labels[:] = 7
    assert (first.labels == halves()).all()
    for step in steps:
        np.testing.assert_array_equal(step.labels, halves())
    assert (labels == 7).all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"frame": 5}, "5 frames, got frame=5"),
        ({"frame": -1}, "got frame=-1"),
        ({"forwards": -2}, "forwards=-2"),
        ({"backwards": -1}, "backwards=-1"),
        ({"least": 1.2}, "least=1.2"),
        ({"least": float("nan")}, "least=nan"),
        ({"labels": np.zeros((48, 64), np.int64)}, "int64"),
        ({"labels": np.zeros((48, 64, 1), np.uint8)}, "(48, 64, 1)"),
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"frame": 0, "labels": halves(), "method": STAY, "forwards": 1}
    with pytest.raises(ValueError, match=re.escape(words)):
        next(propagate(still(5), **{**given, **wrong}))


def test_labels_of_another_size_or_without_any_are_refused_in_words() -> None:
    with pytest.raises(LabelError, match=r"frame 3 are 32 x 48 pixels, but pictures is 64 x 48"):
        next(propagate(still(5), 3, halves((48, 32)), STAY, forwards=1))
    with pytest.raises(LabelError, match=r"nothing is labelled on frame 3"):
        next(propagate(still(5), 3, nothing(), STAY, forwards=1))
