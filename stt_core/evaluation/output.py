"""Results as JSON and as files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from stt_core.data.sequences import DataSet
from stt_core.evaluation.page import to_html
from stt_core.evaluation.reported import Reported
from stt_core.evaluation.results import Latency, Result
from stt_core.evaluation.tables import (
    class_table,
    confusion_csv,
    remarks,
    summary_table,
    to_csv,
    to_markdown,
)
from stt_core.files import write_text


def write_results(
    folder: Path,
    data: DataSet,
    results: Sequence[Result],
    reported: Sequence[Reported] = (),
) -> dict[str, Path]:
    """Write table.csv, table.md, report.html and a confusion_NAME.csv for each prediction.

    Returns:
        What was written, by name.

    Raises:
        OutputError: something cannot be written.
    """
    texts = {
        "table.csv": to_csv(results, reported),
        "table.md": _markdown(data, results, reported),
        "report.html": to_html(data, results, reported),
    }
    for result, name in zip(results, _file_names(r.name for r in results), strict=True):
        texts[f"confusion_{name}.csv"] = confusion_csv(result)
    for name, text in texts.items():
        write_text(folder / name, text)
    written = {Path(name).stem: folder / name for name in texts if name != "table.md"}
    return written | {"markdown": folder / "table.md"}


def result_facts(result: Result) -> dict[str, object]:
    """The figures as JSON takes them: shares in [0, 1], null where nothing could be compared."""
    tc = result.tc
    return {
        "name": result.name,
        "miou": _known(result.miou),
        "average": result.average,
        "classes": list(result.classes),
        "class_iou": [_known(value) for value in result.class_iou],
        "pixel_accuracy": _known(result.pixel_accuracy),
        "boundary_iou": _known(result.boundary_iou),
        "tc": None if tc is None else _known(tc.value),
        "tc_protocol": None if tc is None else tc.protocol,
        "flow": None if tc is None else tc.flow,
        "class_tc": None if tc is None else [_known(value) for value in tc.class_values],
        "frames": result.frames,
        "pairs": result.pairs,
        "latency_ms": None if result.latency is None else _latency_facts(result.latency),
        "worst": [
            {"frame": bad.score.name, "index": bad.score.index, "miou": _known(bad.score.miou)}
            for bad in result.worst
        ],
        "notes": list(result.notes),
    }


def _markdown(data: DataSet, results: Sequence[Result], reported: Sequence[Reported]) -> str:
    parts = [
        f"# Evaluation on {data.spec}\n",
        to_markdown(summary_table(results, reported)),
        *(f"{remark}\n" for remark in remarks(results, reported)),
        to_markdown(class_table(results)),
    ]
    return "\n".join(parts)


def _latency_facts(latency: Latency) -> dict[str, object]:
    times = {"mean": latency.mean, "median": latency.median, "p95": latency.p95}
    facts = {name: round(value, 3) for name, value in times.items()}
    return {**facts, "frames": latency.frames, "device": latency.device}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _file_names(names: Iterable[str]) -> list[str]:
    """Names that every file system takes, each another."""
    made: list[str] = []
    for name in names:
        stem = re.sub(r"[^\w.+-]+", "_", name).strip("._") or "prediction"
        number = 2
        plain = stem
        while stem.casefold() in (other.casefold() for other in made):
            stem = f"{plain}_{number}"
            number += 1
        made.append(stem)
    return made
