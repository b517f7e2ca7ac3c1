"""The report as one HTML file that needs no other: tables, confusion, the worst frames."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from stt_core.data.sequences import DataSet
from stt_core.evaluation.pictures import draw_bad_frame
from stt_core.evaluation.reported import Reported
from stt_core.evaluation.results import BadFrame, Result
from stt_core.evaluation.tables import (
    NO_CLASS,
    REPORTED,
    Table,
    class_table,
    remarks,
    summary_table,
)
from stt_core.labels import LabelClass

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --soft: #5c6570; --line: #d5dae0;
  --head: #f3f5f7; --mark: 200 40 40; }
@media (prefers-color-scheme: dark) { :root { --page: #15181c; --ink: #e6e9ec; --soft: #9aa4ae;
  --line: #343a41; --head: #1e2227; --mark: 255 110 100; } }
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
  margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
p, figcaption { color: var(--soft); } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .6rem; text-align: right;
  white-space: nowrap; }
thead th { background: var(--head); } .word { text-align: left; }
tr.reported td { color: var(--soft); font-style: italic; }
.swatch { border: 1px solid var(--line); display: inline-block; height: .8em;
  margin-right: .5em; width: .8em; }
.confusion td, .confusion th { font-size: .75rem; padding: .2rem .35rem; }
.frames { display: grid; gap: .5rem; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); }
figure { margin: 0; } img { display: block; height: auto; width: 100%; }
"""
_PARTS = ("image", "labels", "prediction", "error")


def to_html(data: DataSet, results: Sequence[Result], reported: Sequence[Reported] = ()) -> str:
    """The whole page. Reads the worst frames again.

    Raises:
        SttError: a file of the data set cannot be read any more.
    """
    title = f"Evaluation on {data.spec}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _paragraph(_rules(results[0])),
        _paragraph(f"{data.licence} Pictures of the data set are part of this page.")
        if data.licence
        else "",
        "<h2>Summary</h2>",
        _table(summary_table(results, reported)),
        *(_paragraph(remark) for remark in remarks(results, reported)),
        *(_paragraph(f"{r.name}: {note}") for r in results for note in r.notes),
        "<h2>Classes</h2>",
        _table(class_table(results), data.classes),
        "<h2>Confusion</h2>",
        _paragraph("Percent of the pixels labelled as the row's class, by what was predicted."),
        *(_confusion(result, data.classes) for result in results),
        "<h2>Worst frames</h2>",
        _paragraph(
            "By mean IoU over the classes that the frame's labels hold. Error: red is wrong, "
            "black is not labelled."
        ),
        *(_worst(data, result) for result in results),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _rules(result: Result) -> str:
    absent = "left out" if result.average == "clean" else "counted as 0"
    told = (
        f"{result.frames} labelled frames. Means over classes: {result.average} (classes that "
        f"never occur are {absent})."
    )
    if result.tc is None:
        return f"{told} Temporal consistency was not measured."
    return (
        f"{told} Temporal consistency (TC): protocol {result.tc.protocol}, flow "
        f"{result.tc.flow}, {result.pairs} pairs of frames; it compares only with figures of the "
        f"same protocol and flow."
    )


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _table(table: Table, classes: Sequence[LabelClass] = ()) -> str:
    head = _row(table.head, table.words, "th")
    rows = []
    for i, row in enumerate(table.rows):
        swatch = _swatch(classes[i]) if classes else ""
        mark = ' class="reported"' if row[1].startswith(REPORTED) else ""
        rows.append(f"<tr{mark}>{_row(row, table.words, 'td', swatch)}</tr>")
    body = "\n".join(rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(cells: Sequence[str], words: int, tag: str, before: str = "") -> str:
    made = []
    for i, cell in enumerate(cells):
        kind = ' class="word"' if i < words else ""
        made.append(f"<{tag}{kind}>{before if i == 0 else ''}{escape(cell)}</{tag}>")
    return "".join(made)


def _swatch(label_class: LabelClass) -> str:
    red, green, blue = label_class.color
    return f'<span class="swatch" style="background: rgb({red} {green} {blue})"></span>'


def _confusion(result: Result, classes: Sequence[LabelClass]) -> str:
    totals = result.confusion.sum(1, keepdims=True)
    shares = result.confusion / np.maximum(totals, 1)
    used = result.confusion[:, -1].any()
    names = [*result.classes, *([NO_CLASS] if used else [])]
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *names))
    rows = []
    for i, label_class in enumerate(classes):
        cells = "".join(
            f'<td style="background: rgb(var(--mark) / {share * (i != j):.3f})">'
            f"{100 * share:.1f}</td>"
            for j, share in enumerate(shares[i, : len(names)].tolist())
        )
        name = f"{_swatch(label_class)}{escape(result.classes[i])}"
        rows.append(f'<tr><th class="word">{name}</th>{cells}</tr>')
    body = "\n".join(rows)
    return (
        f'<h3>{escape(result.name)}</h3>\n<div class="wide"><table class="confusion">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _worst(data: DataSet, result: Result) -> str:
    frames = [_frame(data, bad) for bad in result.worst]
    found = "\n".join(frames) or _paragraph("No frame has a fault.")
    return f"<h3>{escape(result.name)}</h3>\n{found}"


def _frame(data: DataSet, bad: BadFrame) -> str:
    pictures, name = draw_bad_frame(data, bad), bad.score.name
    figures = "\n".join(
        f'<figure><img src="{getattr(pictures, part)}" alt="{part} of {escape(name)}">'
        f"<figcaption>{part}</figcaption></figure>"
        for part in _PARTS
    )
    told = f"{name}: mIoU {100 * bad.score.miou:.1f} %"
    return f'{_paragraph(told)}\n<div class="frames">\n{figures}\n</div>'
