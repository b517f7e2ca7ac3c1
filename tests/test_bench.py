from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app import bench
from stt_core.bench import engine
from stt_core.bench.rows import Row, row
from stt_core.bench.timing import median_ms
from stt_core.checkpoint import new_checkpoint, save_checkpoint
from stt_core.config import Preprocess, PspNetConfig, SttConfig
from stt_core.formats.model_file import ModelHeader
from stt_core.labels import read_classes
from stt_core.resources import SAMPLE_CLASSES, resource_path

KEYS = {"group", "name", "value", "unit", "target", "met"}
ROWS = [row("engine", "a", 2.0, "ms"), row("app", "bb", 3.0, "ms", target=1)]


def _silent(_: str) -> None:
    pass


def _is_schema(rows: list[Row]) -> bool:
    return all(
        set(each) == KEYS
        and isinstance(each["value"], float)
        and np.isfinite(each["value"])
        and each["met"] == (None if each["target"] is None else each["value"] <= each["target"])
        for each in rows
    )


@pytest.fixture(scope="module")
def engine_rows() -> list[Row]:
    return engine.measure(
        _silent, sizes=((64, 48), (48, 64)), precisions=("fp32",), repeats=1, pass_frames=1
    )


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    header = ModelHeader(
        config=SttConfig(pspnet=PspNetConfig(num_classes=11, width=32, aux_width=8)),
        preprocess=Preprocess(short_side=48),
        classes=read_classes(resource_path(SAMPLE_CLASSES)),
    )
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_checkpoint(path, new_checkpoint(header))
    return path


@pytest.mark.parametrize(
    ("value", "target", "met"), [(1.0, None, None), (1.0, 1, True), (0.0, 0, True), (1.1, 1, False)]
)
def test_a_row_says_itself_whether_its_target_is_met(
    value: float, target: float | None, met: bool | None
) -> None:
    assert row("app", "paint", value, "s", target=target)["met"] is met


def test_acts_take_turns_and_the_warm_up_does_not_count() -> None:
    taken: list[str] = []

    def act(name: str) -> Callable[[], None]:
        return lambda: taken.append(name)

    assert len(median_ms([act("a"), act("b")], repeats=2, warm_up=1)) == 2
    assert taken == ["a", "b"] * 3


def test_engine_rows_are_of_the_schema_and_named_once(engine_rows: list[Row]) -> None:
    assert _is_schema(engine_rows)
    names = [each["name"] for each in engine_rows]
    assert len(set(names)) == len(names)
    assert {each["group"] for each in engine_rows} == {"engine"}
    assert all(each["value"] > 0 for each in engine_rows)


@pytest.mark.parametrize("size", ["64x48", "48x64"])
def test_a_ratio_is_the_quotient_of_the_two_times(engine_rows: list[Row], size: str) -> None:
    value = {each["name"]: each["value"] for each in engine_rows}
    quotient = value[f"STT, {size} fp32"] / value[f"PSPNet18, {size} fp32"]
    assert value[f"STT / PSPNet18, {size} fp32"] == pytest.approx(quotient, rel=1e-3)


def test_the_table_prints_every_row_below_its_group() -> None:
    blocks = [block.splitlines() for block in bench.table(ROWS).split("\n\n")]
    assert [lines[0] for lines in blocks] == ["engine", "app"]
    assert blocks[0][1].split() == ["a", "2.00", "ms"]
    assert blocks[1][1].split() == ["bb", "3.00", "ms", "at", "most", "1:", "MISSED"]
    assert blocks[0][1].index("2.00") == blocks[1][1].index("3.00")


def test_bench_json_holds_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {"engine": lambda _: ROWS[:1], "app": lambda _: ROWS[1:]}
    monkeypatch.setattr(bench, "GROUPS", groups)
    rows = bench.run_bench(("engine", "app"), tmp_path / "out", _silent)
    assert rows == ROWS
    assert json.loads((tmp_path / "out" / "bench.json").read_text()) == ROWS


def test_the_window_is_painted_before_torch_is_loaded() -> None:
    told = bench.start_in_process()
    assert told["torch"] is False
    assert told["seconds"] > 0


def test_the_window_group_measures_each_thing_a_person_does(small_model: Path) -> None:
    rows = bench.measure(_silent, model=str(small_model), starts=1, rounds=1, pass_seconds=0.5)
    assert _is_schema(rows)
    names = [each["name"] for each in rows]
    assert len(set(names)) == len(names)
    assert {name for name in names if "click to attention" in name} == {
        "click to attention",
        "click to attention, first on a frame",
        "click to attention, on a frame just scrubbed to",
    }
    assert {"first paint", "frame step", "scrub, to the picture"} <= set(names)
