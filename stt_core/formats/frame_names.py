"""Which frame a label map belongs to, by its name: the same rule for imports and for pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from stt_core.errors import LabelError
from stt_core.formats.exchange import number_in, plain_name

Rule = Literal["name", "number", "from-0", "from-1"]
"""By the image's name; by the number its name ends with; by its place, counted from 0 or 1."""
RULES: tuple[Rule, ...] = get_args(Rule)
_KNOWN_SUFFIX = re.compile(r"(_leftImg8bit|_gtFine(_[A-Za-z]+)?|_gtCoarse(_[A-Za-z]+)?|_L)$")
_LAST_WORD = re.compile(r"[_\-. ][^\W\d_]+$")


@dataclass(frozen=True, slots=True)
class MapName:
    """A label map."""

    name: str
    """Without suffix."""
    index: int | None = None
    """The number of its frame, where its file tells one."""


@dataclass(frozen=True, slots=True)
class FoundFrames:
    """Which maps belong to frames."""

    frames: Mapping[int, int]
    """The frame of each map, by the map's place."""
    by_name: frozenset[int]
    """Maps that were found by the image's name."""
    notes: tuple[str, ...] = ()


def find_frames(
    maps: Sequence[MapName], stems: Sequence[str], count: int, rule: Rule | None = None
) -> FoundFrames:
    """Find the frame of each map.

    Names count first: as they are, then whatever their case, then without what data sets add to
    them ("_leftImg8bit", "_gtFine_labelIds", "_L") and without words that all images, or all maps,
    end with. Where no name fits, numbers count if they can be meant in one way only.

    Args:
        maps: to be found; several may be of one frame.
        stems: names of a folder's images without suffix, in order; none of a video.
        count: how many frames there are.
        rule: the only way to look; None to find out.

    Raises:
        LabelError: numbers fit in several ways, or not all in one; the sentence shows examples and
            names the rules to choose from.
    """
    tries = {each: _try(each, maps, stems, count) for each in RULES}
    if rule is not None:
        by_name = frozenset(tries[rule]) if rule == "name" else frozenset[int]()
        return FoundFrames(tries[rule], by_name)
    whole = {each: found for each, found in tries.items() if _is_whole(found, maps)}
    if named := tries["name"]:
        others = [each for each, found in whole.items() if _contradicts(found, named)]
        # That few names are equal may be chance, where a number explains every map.
        if len(named) < len(maps) and others:
            _refuse(maps, stems, {"name": named, **{each: whole[each] for each in others}})
        return FoundFrames(named, frozenset(named))
    return _by_number(maps, stems, tries, whole)


def _by_number(
    maps: Sequence[MapName],
    stems: Sequence[str],
    tries: Mapping[Rule, Mapping[int, int]],
    whole: Mapping[Rule, Mapping[int, int]],
) -> FoundFrames:
    # Counting from 1 is never assumed, only told as a way to choose.
    usual: tuple[Rule, ...] = ("number", "from-0") if stems else ("from-0",)
    partly = {each: tries[each] for each in usual if tries[each]}
    fitting = [each for each in usual if each in whole]
    if not partly:
        return FoundFrames({}, frozenset())
    if not fitting or any(whole[each] != whole[fitting[0]] for each in fitting):
        _refuse(maps, stems, {**partly, **{each: whole[each] for each in RULES if each in whole}})
    other = next((each for each in partly if each not in whole), None)
    chosen = fitting[0]
    if chosen == "from-0" and other is not None:  # a few of them are numbers of images
        _refuse(maps, stems, {other: partly[other], chosen: whole[chosen]})
    notes: tuple[str, ...] = ()
    if stems and chosen == "from-0" and tries["number"] != whole[chosen]:
        notes = (
            "the numbers of the maps were taken for places among the images, the first of which is "
            f"0: {_examples(maps, stems, whole[chosen])}",
        )
    return FoundFrames(whole[chosen], frozenset(), notes)


def _try(rule: Rule, maps: Sequence[MapName], stems: Sequence[str], count: int) -> dict[int, int]:
    if rule == "name":
        return _named([each.name for each in maps], stems)
    names = _bare([each.name for each in maps])
    numbers = [number_in(name) for name in names]
    if rule == "number":
        by_number = _places(number_in(stem) for stem in _bare(stems))
        # Where two images share a number, what the others have means little.
        told = by_number if len(by_number) == len(stems) else {}
        return {i: told[n] for i, n in enumerate(numbers) if n is not None and n in told}
    first = 1 if rule == "from-1" else 0
    places = [
        number if each.index is None else each.index
        for each, number in zip(maps, numbers, strict=True)
    ]
    return {
        i: place - first
        for i, place in enumerate(places)
        if place is not None and 0 <= place - first < count
    }


def _named(names: Sequence[str], stems: Sequence[str]) -> dict[int, int]:
    """By each form of names, the most exact first."""
    forms = (
        (names, stems),
        (names, [plain_name(stem) for stem in stems]),
        ([n.casefold() for n in names], [plain_name(stem).casefold() for stem in stems]),
        ([_known(n) for n in names], [_known(plain_name(stem)) for stem in stems]),
        (_bare(names), _bare([plain_name(stem) for stem in stems])),
    )
    found: dict[int, int] = {}
    for theirs, ours in forms:
        place_of = _places(ours)
        for i, name in enumerate(theirs):
            if i not in found and name in place_of:
                found[i] = place_of[name]
    return found


def _places(keys: Iterable[str | int | None]) -> dict[str | int | None, int]:
    """The place of each key that is there once; None is no key."""
    listed = list(keys)
    often = Counter(listed)
    return {key: i for i, key in enumerate(listed) if often[key] == 1 and key is not None}


def _known(name: str) -> str:
    return _KNOWN_SUFFIX.sub("", name).casefold()


def _bare(names: Sequence[str]) -> list[str]:
    """Names without known suffixes, and without words that all of several end with."""
    bare = [_known(name) for name in names]
    while len(set(bare)) > 1:
        match = _LAST_WORD.search(bare[0])
        if match is None or not all(name.endswith(match[0]) for name in bare):
            break
        bare = [name.removesuffix(match[0]) for name in bare]
    return bare


def _contradicts(found: Mapping[int, int], named: Mapping[int, int]) -> bool:
    """Whether numbers could be meant in place of names: each map has a frame of its own."""
    return len({*found.values()}) == len(found) and not found.items() >= named.items()


def _is_whole(found: Mapping[int, int], maps: Sequence[MapName]) -> bool:
    """Whether each map with a number has a frame."""
    bare = _bare([each.name for each in maps])
    numbered = [
        i for i, each in enumerate(maps) if each.index is not None or number_in(bare[i]) is not None
    ]
    return bool(found) and set(numbered) <= set(found)


def _refuse(
    maps: Sequence[MapName], stems: Sequence[str], ways: Mapping[Rule, Mapping[int, int]]
) -> None:
    told = "; or ".join(
        f"--match {rule} ({len(found)} of {len(maps)}: {_examples(maps, stems, found)})"
        for rule, found in ways.items()
    )
    raise LabelError(
        f"it is not clear which frames the {len(maps)} maps belong to, such as {maps[0].name}. Say "
        f"which is meant: {told}"
    )


def _examples(maps: Sequence[MapName], stems: Sequence[str], found: Mapping[int, int]) -> str:
    """Two maps with what they would belong to."""
    first = sorted(found)[:2]
    return ", ".join(
        f"{maps[i].name} -> {stems[found[i]] if stems else f'frame {found[i]}'}" for i in first
    )
