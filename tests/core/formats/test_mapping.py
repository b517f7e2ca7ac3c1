from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stt_core.formats.exchange import ReadClass, ReadFrame, ReadSet, number_in, plain_name
from stt_core.formats.mapping import ClassMapping, count_pixels, propose_mapping
from stt_core.labels import LabelClass

OURS = (
    LabelClass("Road", (128, 64, 128)),
    LabelClass("Traffic light", (250, 170, 30)),
    LabelClass("Car", (0, 0, 142)),
)


def _set(
    classes: Sequence[ReadClass] | None, *maps: NDArray[np.uint8], ids_are_classes: bool = True
) -> ReadSet:
    frames = [ReadFrame(str(i), i, lambda m=m: m) for i, m in enumerate(maps)]  # type: ignore[misc]
    told = None if classes is None else tuple(classes)
    return ReadSet(told, frames, ids_are_classes=ids_are_classes)


def _found(mapping: ClassMapping) -> list[tuple[int | None, str | None]]:
    return [(row.ours, row.found_by) for row in mapping.rows]


@pytest.mark.parametrize(
    "name", ["traffic light", "Traffic-Light", "TRAFFIC_LIGHT", "TrafficLight"]
)
def test_names_match_whatever_their_case_spaces_and_hyphens(name: str) -> None:
    mapping = propose_mapping(_set([ReadClass(9, name)]), OURS)
    assert _found(mapping) == [(1, "name")]


def test_a_name_goes_before_a_colour_and_a_colour_before_an_id() -> None:
    theirs = [
        ReadClass(0, "car", OURS[0].color),
        ReadClass(1, "light", OURS[1].color),
        ReadClass(2, "tree", (1, 2, 3)),
    ]
    # The id of the tree says nothing: that of the car would have been wrong.
    assert _found(propose_mapping(_set(theirs), OURS)) == [(2, "name"), (1, "colour"), (None, None)]


def test_ids_count_where_nothing_else_is_known() -> None:
    theirs = [ReadClass(1), ReadClass(7), ReadClass(2)]
    expected = [(1, "id"), (None, None), (2, "id")]
    assert _found(propose_mapping(_set(theirs), OURS)) == expected
    assert _found(propose_mapping(_set(None), OURS)) == [(0, "id"), (1, "id"), (2, "id")]


def test_a_name_that_we_do_not_have_is_not_guessed_by_its_id() -> None:
    theirs = [ReadClass(0, "aeroplane"), ReadClass(1, "bicycle")]
    assert _found(propose_mapping(_set(theirs), OURS)) == [(None, None)] * 2


def test_numbers_of_objects_are_not_taken_for_classes() -> None:
    theirs = [ReadClass(1), ReadClass(2)]
    mapping = propose_mapping(_set(theirs, ids_are_classes=False), OURS)
    assert _found(mapping) == [(None, None)] * 2
    assert propose_mapping(_set(None, ids_are_classes=False), OURS).rows == ()


def test_a_colour_that_two_classes_share_says_nothing() -> None:
    theirs = [ReadClass(0, "a", OURS[0].color), ReadClass(1, "b", OURS[0].color)]
    assert [r.found_by for r in propose_mapping(_set(theirs), OURS).rows] == [None, None]
    ours = (LabelClass("x", (1, 1, 1)), LabelClass("y", (1, 1, 1)))
    row = ReadClass(5, "z", (1, 1, 1))
    assert _found(propose_mapping(_set([row]), ours)) == [(None, None)]


def test_a_broader_class_is_taken_where_there_is_no_own() -> None:
    theirs = [ReadClass(0, "Truck", None, "Car"), ReadClass(1, "Road", None, "Car")]
    expected = [(2, "broader name"), (0, "name")]
    assert _found(propose_mapping(_set(theirs), OURS)) == expected


def test_pixels_are_counted_when_asked_for() -> None:
    maps = [np.array([[0, 0, 1, 255]], np.uint8), np.array([[1, 1]], np.uint8)]
    found = _set([ReadClass(5, "road"), ReadClass(6, "tree"), ReadClass(7)], *maps)
    mapping = propose_mapping(found, OURS)
    assert [row.pixels for row in mapping.rows] == [None, None, None]
    steps = count_pixels(found)
    assert [next(steps), next(steps)] == [1, 2]
    with pytest.raises(StopIteration) as end:
        next(steps)
    counted = mapping.counted(end.value.value)
    # The number without a name and without a pixel is of no interest.
    assert [(r.theirs.id, r.pixels) for r in counted.rows] == [(5, 2), (6, 3)]
    assert counted.apply(maps[0]).tolist() == [[0, 0, 255, 255]]


def test_numbers_without_a_class_list_are_shown_once_counted() -> None:
    found = _set(None, np.array([[1, 9, 255]], np.uint8))
    pixels = np.bincount([1, 9, 255], minlength=256)
    counted = propose_mapping(found, OURS).counted(pixels)
    assert [(r.theirs.id, r.ours, r.pixels) for r in counted.rows] == [(1, 1, 1), (9, None, 1)]
    assert counted.chosen(1, 0).apply(found.frames[0].load()).tolist() == [[1, 0, 255]]


def test_a_choice_by_hand_is_kept_and_the_old_mapping_too() -> None:
    mapping = propose_mapping(_set([ReadClass(0, "tree")]), OURS)
    chosen = mapping.chosen(0, 2)
    assert _found(chosen) == [(2, "hand")]
    assert _found(mapping) == [(None, None)]
    assert _found(chosen.chosen(0, None)) == [(None, "hand")]
    with pytest.raises(ValueError, match="there are 3 classes"):
        mapping.chosen(0, 3)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=50), st.permutations(range(5)))
def test_what_is_applied_is_ours_or_no_class(values: list[int], order: list[int]) -> None:
    ours = tuple(LabelClass(f"c{i}", (i, i, i)) for i in range(5))
    theirs = [ReadClass(i, f"C-{n}") for i, n in enumerate(order)]
    labels = np.array([values], np.uint8)
    got = propose_mapping(_set(theirs), ours).apply(labels)
    assert got.dtype == np.uint8
    assert got.tolist() == [[order[v] if v < 5 else 255 for v in values]]


@pytest.mark.parametrize(
    ("name", "number"),
    [("000042", 42), ("frame_7", 7), ("0001TP_006690", 6690), ("a", None), ("9" * 13, None),
     ("1²", None)],
)  # fmt: skip
def test_numbers_at_the_end_of_names_are_those_of_frames(name: str, number: int | None) -> None:
    assert number_in(name) == number


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a/b/c", "c"),
        ("..", "unnamed"),
        ("C:\\x\\y", "y"),
        ("", "unnamed"),
        ("ok.1", "ok.1"),
        ("aux", "aux_"),
    ],
)
def test_names_from_elsewhere_become_file_names(text: str, name: str) -> None:
    assert plain_name(text) == name
