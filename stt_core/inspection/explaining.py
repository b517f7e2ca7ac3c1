"""Plain words for why something is wrong. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stt_core.inspection.answers import WhyWrong

_NAMED = 2
"""Classes a sentence names."""


def explain(answer: WhyWrong, names: Sequence[str], *, past: bool) -> WhyWrong:
    """The answer with its sentences.

    Args:
        answer: of which the sentences are not looked at.
        names: of the classes.
        past: whether the frame has key frames at all.
    """
    return replace(answer, sentences=tuple(_sentences(answer, names, past)))


def _sentences(answer: WhyWrong, names: Sequence[str], past: bool) -> list[str]:
    if not answer.cells:
        return ["Nothing in this box is wrong."]
    right, wrong = (_few(ids, names) for ids in (answer.right, answer.wrong))
    cells = _count(answer.cells, "cell")
    said = [f"{_count(answer.pixels, 'pixel')} in {cells} got {wrong} in place of {right}."]
    if not past:
        return [*said, "There is no earlier frame to look back at."]
    if not answer.selected:
        said.append("None of these cells was selected, so they read nothing of the past.")
    else:
        assert answer.head is not None
        share = answer.for_wrong.by_head[answer.head]
        said.append(
            f"{answer.selected} of {cells} looked back; head {answer.head + 1} paid most attention "
            f"to keys of the wrong class: {share:.0%} of its weight, "
            f"{answer.for_wrong.total:.0%} of all heads."
        )
    return [*said, _of_evidence(answer, right)]


def _of_evidence(answer: WhyWrong, right: str) -> str:
    found = answer.for_right
    if not found.cells:
        return f"The key windows held no evidence of {right}: no key in them is predicted so."
    held = (
        f"Evidence of {right} was inside the key windows of {found.cells} of "
        f"{_count(answer.cells, 'cell')}, {found.keys:.1f} keys in the mean"
    )
    if not answer.selected:
        return held + ", but was not read."
    return held + f"; it got {found.total:.0%} of the weight, one key {found.largest:.0%} at most."


def _few(ids: Sequence[int], names: Sequence[str]) -> str:
    told = " or ".join(names[i] for i in ids[:_NAMED])
    more = len(ids) - _NAMED
    return told if more <= 0 else f"{told} (and {more} more)"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
