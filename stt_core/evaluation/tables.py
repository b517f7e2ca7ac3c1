"""The figures as tables: for a terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stt_core.evaluation.reported import Reported
from stt_core.evaluation.results import Result

NOTHING = "-"
"""Stands where nothing is known."""
MEASURED = "measured"
REPORTED = "reported"
NO_CLASS = "no class"
"""Heads the column of predictions that are of no class of the data set."""

_NUMBERS = (
    "miou", "pixel_accuracy", "boundary_iou", "tc", "frames", "pairs", "latency_ms_mean",
    "latency_ms_median", "latency_ms_p95", "fps",
)  # fmt: skip
_WORDS = ("average", "tc_protocol", "flow")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells as a person reads them."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int
    """How many of the first columns hold words; numbers follow."""


def summary_table(results: Sequence[Result], reported: Sequence[Reported] = ()) -> Table:
    """A row for each prediction, then one for each published figure, marked as such."""
    head = (
        "name", "origin", "average", "protocol", "flow", "mIoU %", "pixel acc. %",
        "boundary IoU %", "TC %", "frames", "pairs", "ms mean", "ms median", "ms p95", "fps",
    )  # fmt: skip
    rows = [_measured(result) for result in results] + [_reported(row) for row in reported]
    return Table(head, tuple(rows), words=5)


def short_table(results: Sequence[Result], reported: Sequence[Reported] = ()) -> Table:
    """The summary for a terminal: the head names the rules, which all that was measured shares."""
    first = results[0]
    rules = f" ({first.tc.protocol}, {first.tc.flow})" if first.tc else ""
    head = (
        "name", "origin", f"mIoU % ({first.average})", "pixel acc. %",
        f"boundary IoU % ({first.average})", f"TC %{rules}", "ms mean", "fps",
    )  # fmt: skip
    rows = [
        (row[0], row[1].split(" ")[0], *row[5:9], row[11], row[14])
        for row in summary_table(results, reported).rows
    ]
    return Table(head, tuple(rows), words=2)


def class_table(results: Sequence[Result]) -> Table:
    """IoU and temporal consistency of each class: a row a class, columns by name."""
    head = ["class"]
    columns: list[tuple[float, ...]] = []
    for result in results:
        head.append(f"IoU % {result.name}")
        columns.append(result.class_iou)
        if result.tc is not None:
            head.append(f"TC % {result.name}")
            columns.append(result.tc.class_values)
    names = results[0].classes if results else ()
    rows = [(name, *(percent(c[i]) for c in columns)) for i, name in enumerate(names)]
    return Table(tuple(head), tuple(rows), words=1)


def remarks(results: Sequence[Result], reported: Sequence[Reported] = ()) -> list[str]:
    """What belongs under the summary, a sentence each."""
    told = [
        f"{r.name}: timed on {r.latency.device}, {r.latency.frames} frames after a warm-up"
        for r in results
        if r.latency is not None
    ]
    if any(r.tc is not None and not r.pairs for r in results):
        told.append("no TC: no two frames of this data are neighbours in a video")
    if reported:
        told.append(
            f"{REPORTED}: published by others, with their own data, flow and hardware; "
            f"{NOTHING} where nothing is known"
        )
    return told


def to_text(table: Table) -> str:
    """Columns side by side, numbers to the right."""
    cells = [table.head, *table.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.head))]
    lines = []
    for row in cells:
        padded = [
            cell.ljust(width) if i < table.words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    rule = "-" * max(len(line) for line in lines)
    return "\n".join([lines[0], rule, *lines[1:]])


def to_markdown(table: Table) -> str:
    """A table in GitHub's form."""
    marks = ["---" if i < table.words else "---:" for i in range(len(table.head))]
    rows = [[_escape(cell) for cell in row] for row in (table.head, *table.rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], marks, *rows[1:]))


def to_csv(results: Sequence[Result], reported: Sequence[Reported] = ()) -> str:
    """All figures in full, shares in [0, 1]; empty where nothing is known."""
    classes = results[0].classes if results else ()
    head = [
        "name", "origin", *_WORDS, *_NUMBERS,
        *(f"iou {name}" for name in classes), *(f"tc {name}" for name in classes),
    ]  # fmt: skip
    rows: list[list[object]] = []
    for result in results:
        tc, times = result.tc, result.latency
        rows.append([
            result.name, MEASURED, result.average, tc and tc.protocol, tc and tc.flow,
            result.miou, result.pixel_accuracy, result.boundary_iou, tc and tc.value,
            result.frames, result.pairs, times and times.mean, times and times.median,
            times and times.p95, times and times.fps, *result.class_iou,
            *(tc.class_values if tc else [None] * len(classes)),
        ])  # fmt: skip
    for row in reported:
        figures = [row.miou, None, None, row.tc, None, None, row.latency_ms, None, None, row.fps]
        rows.append([row.name, _origin(row), None, row.protocol, row.flow, *figures])
    return _csv([head, *([*row, *[None] * (len(head) - len(row))] for row in rows)])


def confusion_csv(result: Result) -> str:
    """Pixels by label (row) and prediction (column)."""
    head = ["label \\ predicted", *result.classes, NO_CLASS]
    counts = result.confusion.tolist()
    return _csv([head, *([n, *row] for n, row in zip(result.classes, counts, strict=True))])


def percent(share: float | None) -> str:
    """With one decimal; a dash where there is nothing."""
    return NOTHING if share is None or math.isnan(share) else f"{100 * share:.1f}"


def _measured(result: Result) -> tuple[str, ...]:
    tc, times = result.tc, result.latency
    told = (times.mean, times.median, times.p95, times.fps) if times is not None else (None,) * 4
    return (
        result.name,
        MEASURED,
        result.average,
        tc.protocol if tc else NOTHING,
        tc.flow if tc else NOTHING,
        percent(result.miou),
        percent(result.pixel_accuracy),
        percent(result.boundary_iou),
        percent(tc.value if tc else None),
        str(result.frames),
        str(result.pairs),
        *(_number(value) for value in told),
    )


def _reported(row: Reported) -> tuple[str, ...]:
    speed = (_number(row.latency_ms), NOTHING, NOTHING, _number(row.fps))
    return (
        row.name,
        _origin(row),
        NOTHING,
        row.protocol or NOTHING,
        row.flow or NOTHING,
        percent(row.miou),
        NOTHING,
        NOTHING,
        percent(row.tc),
        NOTHING,
        NOTHING,
        *speed,
    )


def _origin(row: Reported) -> str:
    return f"{REPORTED} ({row.source}{f'; {row.hardware}' if row.hardware else ''})"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def _escape(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(c) for c in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else value
