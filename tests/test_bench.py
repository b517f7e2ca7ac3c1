from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from app import bench
from stt_core.bench import engine, growth, kernels, whole_pass
from stt_core.bench.rows import Row, row
from stt_core.bench.timing import median_ms
from stt_core.checkpoint import new_checkpoint, save_checkpoint
from stt_core.config import Preprocess, PspNetConfig, SttConfig
from stt_core.errors import OutputError
from stt_core.formats.model_file import ModelHeader
from stt_core.labels import read_classes
from stt_core.resources import SAMPLE_CLASSES, resource_path

KEYS = {"group", "name", "value", "unit", "target", "least", "met"}
ROWS = [row("engine", "a", 2.0, "ms"), row("app", "bb", 3.0, "ms", target=1)]


def _silent(_: str) -> None:
    pass


def _is_met(each: Row) -> bool | None:
    if each["target"] is None:
        return None
    value, target = each["value"], each["target"]
    return value >= target if each["least"] else value <= target


def _is_schema(rows: list[Row]) -> bool:
    return all(
        set(each) == KEYS
        and isinstance(each["value"], float)
        and np.isfinite(each["value"])
        and each["met"] == _is_met(each)
        for each in rows
    )


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture(scope="module")
def engine_rows() -> list[Row]:
    return engine.measure(
        _silent, sizes=((64, 48),), precisions=("fp32", "bf16"), repeats=1, pass_frames=1
    )


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    header = ModelHeader(
        config=SttConfig(per_frame=PspNetConfig(num_classes=11, width=32, aux_width=8)),
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


@pytest.mark.parametrize(
    ("value", "target", "met"), [(1.0, None, None), (1.0, 1, True), (1.1, 1, True), (0.9, 1, False)]
)
def test_a_least_target_is_met_from_there_on(
    value: float, target: float | None, met: bool | None
) -> None:
    each = row("pass", "segment / model", value, "x", target=target, least=True)
    assert each["met"] is met
    assert each["least"] is True


def test_a_value_is_a_rounded_float() -> None:
    assert row("pass", "passes", 8, "")["value"] == 8
    assert isinstance(row("pass", "passes", 8, "")["value"], float)
    assert row("pass", "time", 1.234567, "s")["value"] == 1.2346


def test_the_table_says_of_a_target_which_way_it_goes() -> None:
    rows = [
        row("pass", "a", 2.0, "x", target=1.5, least=True),
        row("pass", "b", 1.0, "x", target=1.5, least=True),
        row("pass", "c", 1.0, "x", target=1.5),
    ]
    lines = bench.table(rows).splitlines()[1:]
    assert [" ".join(line.split()[3:]) for line in lines] == [
        "at least 1.5: met",
        "at least 1.5: MISSED",
        "at most 1.5: met",
    ]


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
    assert all(each["value"] > 0 for each in engine_rows if each["unit"] != "x")


@pytest.mark.parametrize("name", ["PSPNet18", "Lite0"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_blocks_share_is_what_it_adds_to_the_networks_time(
    engine_rows: list[Row], precision: str, name: str
) -> None:
    value = {each["name"]: each["value"] for each in engine_rows}
    where = f"{name}, 64x48 {precision}"
    added = value[f"STT-{where}"] / value[where] - 1
    assert value[f"temporal block / {where}"] == pytest.approx(added, abs=1e-3)


def test_two_precisions_are_compared_where_both_are_measured(engine_rows: list[Row]) -> None:
    value = {each["name"]: each["value"] for each in engine_rows}
    gain = value["PSPNet18, 64x48 fp32"] / value["PSPNet18, 64x48 bf16"]
    assert value["PSPNet18 fp32 / bf16, 64x48"] == pytest.approx(gain, abs=1e-3)


def test_kernels_are_measured_beside_what_they_replace(notes: list[str]) -> None:
    rows = kernels.measure(notes.append, size=(8, 24), width=32, repeats=1)
    assert _is_schema(rows)
    value = {each["name"]: each["value"] for each in rows}
    assert len(value) == len(rows)
    for name in ("gathered", "dense"):
        ratio = value[f"attention, {name}"] / value["attention, numba"]
        assert value[f"{name} / ours"] == pytest.approx(ratio, rel=0.01)
    assert {each["name"] for each in rows if each["least"]} == {"gathered / ours", "dense / ours"}
    if shutil.which("g++") or shutil.which("clang++"):
        ratio = value["attention, numba"] / value["attention, plain C++ loop"]
        assert value["ours / plain C++ loop"] == pytest.approx(ratio, rel=0.01, abs=1e-3)


def test_without_a_compiler_the_plain_loop_is_left_out(
    notes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = kernels.measure(notes.append, size=(8, 24), width=32, repeats=1)
    assert "No C++ compiler here: the plain loop is not measured." in notes
    assert not any("C++" in each["name"] for each in rows)
    assert any(each["name"] == "attention, numba" for each in rows)


@pytest.mark.skipif(sys.platform == "win32", reason="the compiler here is a shell script")
def test_a_compiler_that_fails_is_told_of(
    notes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\necho 'no such option' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = kernels.measure(notes.append, size=(8, 24), width=32, repeats=1)
    assert f"{compiler} cannot build the plain loop: no such option" in notes
    assert not any("C++" in each["name"] for each in rows)


@pytest.fixture(scope="module")
def growth_rows() -> list[Row]:
    return growth.measure(_silent, megapixels=(0.01,), size=(64, 32), repeats=1)


def test_growth_is_measured_at_every_setting(growth_rows: list[Row]) -> None:
    assert _is_schema(growth_rows)
    names = [each["name"] for each in growth_rows]
    assert len(set(names)) == len(names)
    assert all(each["value"] > 0 for each in growth_rows)
    settings = [name.rpartition(": ")[2] for name in names if name.startswith("temporal block")]
    frames, ratios = ["0", "1", "2", "3", "5", "7", "9"], ["0.1", "0.25", "0.5", "0.75", "1"]
    assert settings == ["0.01", *frames, *ratios]
    assert names[0].startswith("encoder, input size, 144x72 ")
    assert names[2].startswith("encoder, key frames, 64x32 ")


def test_growth_is_drawn_as_pixels_and_as_lines(growth_rows: list[Row], tmp_path: Path) -> None:
    files = growth.draw([*growth_rows, *ROWS], tmp_path)
    assert files == [tmp_path / "growth.png", tmp_path / "growth.svg"]
    assert sorted(tmp_path.iterdir()) == files
    with Image.open(files[0]) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        assert len(set(picture.convert("L").tobytes())) > 10
    root = ET.parse(files[1]).getroot()
    assert root.tag.endswith("svg")


def test_a_plot_that_cannot_be_written_is_an_output_error(
    growth_rows: list[Row], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        growth.draw(growth_rows, tmp_path / "file" / "inside")


def test_the_bench_draws_what_grows(
    growth_rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = {"growth": lambda _: growth_rows, "app": lambda _: ROWS[1:]}
    monkeypatch.setattr(bench, "GROUPS", groups)
    bench.run_bench(("app",), tmp_path, _silent)
    assert [file.name for file in tmp_path.iterdir()] == ["bench.json"]
    rows = bench.run_bench(("growth", "app"), tmp_path, _silent)
    assert {file.name for file in tmp_path.iterdir()} == {"bench.json", "growth.png", "growth.svg"}
    assert json.loads((tmp_path / "bench.json").read_text()) == rows


def test_a_whole_pass_is_held_against_the_model_alone(notes: list[str]) -> None:
    rows = whole_pass.measure(notes.append, size=(64, 32), frames=2, long_frames=20, block=(8, 12))
    assert _is_schema(rows)
    value = {each["name"]: each["value"] for each in rows}
    assert len(value) == len(rows)
    assert any("2 frames of 64x32" in note for note in notes)
    assert value["encoder passes for a frame, cold"] == 8
    assert value["encoder passes for a frame, warm"] == 0
    for name in ("STT-PSP18", "STT-Lite0"):
        (where,) = {n.partition(", ")[2] for n in value if name in n}
        assert where.startswith(f"{name}, 64x32 ")
        ratio = value[f"segment, {where}"] / value[f"model alone, {where}"]
        assert value[f"segment / model alone, {where}"] == pytest.approx(ratio, rel=0.01)
    memory = [each for each in rows if each["name"].startswith("memory beyond the ring")]
    assert len(memory) == 2
    assert {each["unit"] for each in memory} == {"MB"}
    (grown,) = (each for each in rows if each["name"] == "growth over 20 frames")
    assert grown["met"]


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
