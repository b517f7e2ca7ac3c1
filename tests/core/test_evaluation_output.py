"""What is told of a measurement: tables, JSON, the report."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from stt_core.data.sequences import DataSet
from stt_core.evaluation.output import result_facts, write_results
from stt_core.evaluation.pictures import draw_error
from stt_core.evaluation.reported import reported_rows
from stt_core.evaluation.results import Result
from stt_core.evaluation.tables import (
    class_table,
    short_table,
    summary_table,
    to_csv,
    to_markdown,
    to_text,
)
from stt_core.labels import VOID
from tests.core.drives import data_set, drive, maps_of, run


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataSet, tuple[Result, ...]]:
    folder = tmp_path_factory.mktemp("maps")
    data = data_set(drive("d", 4))
    results = run(
        data, [maps_of(data, folder / name, seed) for seed, name in ((1, "a"), (2, "b|<i>"))]
    )
    return data, results


def test_published_figures_stand_apart(measured: tuple[DataSet, tuple[Result, ...]]) -> None:
    table = summary_table(measured[1], reported_rows("cityscapes"))
    rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    assert [row["origin"] for row in rows[:2]] == ["measured"] * 2
    assert all(row["origin"].startswith("reported (") for row in rows[2:])
    stt = next(row for row in rows if row["name"] == "STT-PSP18")
    assert (stt["mIoU %"], stt["TC %"], stt["fps"]) == ("77.3", "73.0", "11.5")
    assert stt["pixel acc. %"] == stt["flow"] == stt["frames"] == stt["ms mean"] == "-"
    etc = next(row for row in rows if row["name"] == "PSPNet18 baseline of ETC")
    assert (etc["protocol"], etc["flow"], etc["TC %"]) == ("etc", "FlowNet2", "68.5")
    camvid = {row.name: row for row in reported_rows("camvid")}
    assert (camvid["STT-PSP101"].miou, camvid["STT-PSP101"].tc) == (0.802, 0.823)


def test_tables_name_average_protocol_and_flow(
    measured: tuple[DataSet, tuple[Result, ...]],
) -> None:
    head, rule, *rows = to_text(short_table(measured[1], reported_rows("camvid"))).splitlines()
    assert "mIoU % (clean)" in head
    assert "TC % (masked, dis)" in head
    assert set(rule) == {"-"}
    assert len(rows) == 2 + len(reported_rows("camvid"))
    markdown = to_markdown(summary_table(measured[1]))
    assert "| a | measured | clean | masked | dis |" in markdown
    assert "b\\|<i>" in markdown
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines()}
    assert len(widths) == 1
    assert to_text(class_table(measured[1])).splitlines()[2].startswith("A ")


def test_csv_holds_the_figures_in_full(measured: tuple[DataSet, tuple[Result, ...]]) -> None:
    results = measured[1]
    rows = list(csv.DictReader(io.StringIO(to_csv(results, reported_rows("camvid")))))
    first = results[0]
    assert float(rows[0]["miou"]) == pytest.approx(first.miou, rel=1e-5)
    assert float(rows[0]["iou C|<i>"]) == pytest.approx(first.class_iou[2], rel=1e-5)
    assert first.tc is not None
    assert float(rows[0]["tc B"]) == pytest.approx(first.tc.class_values[1], rel=1e-5)
    assert (rows[0]["tc_protocol"], rows[0]["latency_ms_mean"]) == ("masked", "")
    assert rows[2]["origin"].startswith("reported")
    assert None not in rows[2]


def test_facts_are_strict_json(measured: tuple[DataSet, tuple[Result, ...]]) -> None:
    told = json.loads(json.dumps(result_facts(measured[1][0]), allow_nan=False))
    assert told["name"] == "a"
    assert told["classes"] == ["A", "B", "C|<i>"]
    assert len(told["class_iou"]) == 3
    assert (told["tc_protocol"], told["flow"], told["average"]) == ("masked", "dis", "clean")
    empty = replace(measured[1][0], miou=float("nan"), class_iou=(float("nan"),), tc=None)
    told = json.loads(json.dumps(result_facts(empty), allow_nan=False))
    assert told["miou"] is told["tc"] is told["flow"] is told["class_iou"][0] is None


class Page(HTMLParser):
    """Collects what a page points to, and sees that every element is closed."""

    EMPTY = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_report_is_one_file_with_the_worst_frames(
    tmp_path: Path, measured: tuple[DataSet, tuple[Result, ...]]
) -> None:
    data, results = measured
    files = write_results(tmp_path / "out", data, results, reported_rows("camvid"))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "confusion_a.csv", "confusion_b_i.csv", "report.html", "table.csv", "table.md",
    ]  # fmt: skip
    assert set(files.values()) == set((tmp_path / "out").iterdir())
    text = files["report"].read_text()
    page = Page(text)
    assert len(page.sources) == 4 * sum(len(r.worst) for r in results) > 0
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "prefers-color-scheme: dark" in text
    assert "url(" not in text
    assert "b|<i>" in page.text
    assert "<i>" not in text
    assert any("protocol masked, flow dis, 3 pairs" in part for part in page.text)
    lines = files["confusion_a"].read_text().splitlines()
    assert lines[0] == "label \\ predicted,A,B,C|<i>,no class"
    assert lines[1] == ",".join(["A", *map(str, results[0].confusion[0])])


def test_names_that_files_cannot_have_get_others(
    tmp_path: Path, measured: tuple[DataSet, tuple[Result, ...]]
) -> None:
    data, results = measured
    renamed = [replace(results[0], name=name, worst=()) for name in ("a/b", "a b", "A:B", "..")]
    write_results(tmp_path, data, renamed)
    assert sorted(p.name for p in tmp_path.glob("confusion_*")) == [
        "confusion_A_B_3.csv", "confusion_a_b.csv", "confusion_a_b_2.csv",
        "confusion_prediction.csv",
    ]  # fmt: skip


def test_the_error_picture_is_red_where_the_prediction_is_wrong() -> None:
    image = np.full((2, 3, 3), 200, np.uint8)
    labels = np.array([[0, 1, VOID], [0, 1, 2]], np.uint8)
    predicted = np.array([[0, 2, 2], [1, 1, 2]], np.uint8)
    drawn = draw_error(image, predicted, labels, 3)
    red = (drawn[..., 0] > 200) & (drawn[..., 1] < 60)
    np.testing.assert_array_equal(red, [[False, True, False], [True, False, False]])
    assert drawn[0, 2].tolist() == [0, 0, 0]
