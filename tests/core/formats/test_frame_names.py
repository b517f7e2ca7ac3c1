from __future__ import annotations

from collections.abc import Sequence

import pytest

from stt_core.errors import LabelError
from stt_core.formats.exchange import group_names
from stt_core.formats.frame_names import FoundFrames, MapName, Rule, find_frames

FROM_1 = [f"img_{n:03d}" for n in range(1, 6)]
OFFICIAL = [f"aachen_{k:06d}_000019_leftImg8bit" for k in range(1, 6)]


def find(
    maps: Sequence[str], stems: Sequence[str], count: int | None = None, rule: Rule | None = None
) -> FoundFrames:
    return find_frames([MapName(name) for name in maps], stems, count or len(stems), rule)


@pytest.mark.parametrize(
    ("maps", "stems"),
    [
        (FROM_1, FROM_1),
        ([name.upper() for name in FROM_1], FROM_1),
        ([f"{n}_L" for n in FROM_1], FROM_1),
        ([n.replace("leftImg8bit", "gtFine_labelIds") for n in OFFICIAL], OFFICIAL),
        ([n.removesuffix("_leftImg8bit") for n in OFFICIAL], OFFICIAL),
        ([f"frame_{n:04d}" for n in range(1, 6)], [f"frame_{n:04d}_rgb" for n in range(1, 6)]),
        (["left_mask", "right_mask"], ["left_rgb", "right_rgb"]),
    ],
)
def test_names_are_compared_without_what_data_sets_add(maps: list[str], stems: list[str]) -> None:
    found = find(maps, stems)
    assert found.frames == {i: i for i in range(len(maps))}
    assert found.by_name == frozenset(range(len(maps)))


def test_a_name_that_is_equal_comes_before_one_that_is_similar() -> None:
    assert find(["a_L", "a"], ["a", "a_L"]).frames == {0: 1, 1: 0}


def test_a_number_counts_where_it_can_mean_one_thing_only() -> None:
    maps = [f"{n:07d}" for n in range(1, 6)]  # there is no place 5
    assert find(maps, FROM_1).frames == {i: i for i in range(5)}
    stems = [f"img_{n}" for n in range(5)]  # number and place are the same
    assert find(["x_3", "x_4"], stems).frames == {0: 3, 1: 4}
    assert find(["3", "1"], [], 5).frames == {0: 3, 1: 1}  # of a video


def test_places_are_told_where_images_have_no_numbers() -> None:
    found = find(["0000", "0002"], ["a", "b", "c"])
    assert found.frames == {0: 0, 1: 2}
    assert "0000 -> a, 0002 -> c" in found.notes[0]


@pytest.mark.parametrize(
    ("maps", "stems", "count", "rules"),
    [
        (["002", "003"], FROM_1, 5, {"number", "from-0", "from-1"}),  # all fit either way
        ([f"{n:03d}" for n in range(5)], FROM_1, 5, {"number", "from-0"}),  # 0 is no image's
        (["1", "2", "3"], ["a", "b", "c"], 3, {"from-0", "from-1"}),  # 3 has no place
        (["0", "1", "2", "3"], ["1", "2", "3", "4"], 4, {"name", "from-0"}),  # names by chance
        ([f"{n:06d}" for n in range(1, 6)], [], 5, {"from-0", "from-1"}),  # as ffmpeg counts
        (["2", "900"], [], 5, {"from-0"}),
    ],
)
def test_what_would_be_a_guess_is_refused_with_examples(
    maps: list[str], stems: list[str], count: int, rules: set[Rule]
) -> None:
    with pytest.raises(LabelError) as told:
        find(maps, stems, count)
    said = str(told.value)
    assert {word.split()[0] for word in said.split("--match ")[1:]} == rules
    assert said.count(" -> ") >= 2 * (len(rules) - 1)
    for rule in rules:
        assert find(maps, stems, count, rule).frames


def test_the_rule_that_is_said_is_kept() -> None:
    maps = ["002", "003"]
    assert find(maps, FROM_1, rule="number").frames == {0: 1, 1: 2}
    assert find(maps, FROM_1, rule="from-0").frames == {0: 2, 1: 3}
    assert find(maps, FROM_1, rule="from-1").frames == {0: 1, 1: 2}
    assert find(maps, FROM_1, rule="name").frames == {}


def test_maps_of_more_images_than_there_are_match_by_name() -> None:
    maps = [f"img_{n:03d}" for n in range(1, 9)]
    assert find(maps, FROM_1).frames == {i: i for i in range(5)}


@pytest.mark.parametrize(
    ("names", "called"),
    [
        (["a", "b"], ["a", "b"]),
        (["drive", "Drive", "drive"], ["drive", "Drive-2", "drive-3"]),
        (["a", "a_b"], ["a", "a-b"]),
        (["a", "a-2", "a"], ["a", "a-2", "a-3"]),
        (["my_drive"], ["my_drive"]),
    ],
)
def test_media_have_names_that_no_frame_can_confuse(names: list[str], called: list[str]) -> None:
    assert group_names(names) == called
