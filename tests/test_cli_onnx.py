"""export-onnx: what it writes, what it prints, what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stt_core.checkpoint import save_checkpoint
from tests.core.models import checkpoint, pspnet_config, tdnet_config
from tests.test_cli import Ran, _keys, call, names_in, program

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="module")
def model(place: Path) -> Path:
    save_checkpoint(place / "small.safetensors", checkpoint(pspnet_config()))
    return place / "small.safetensors"


@pytest.fixture(scope="module")
def packages() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"pip install {name}")


@pytest.fixture(scope="module")
def exported(packages: None, place: Path, model: Path) -> Ran:
    out = place / "new" / "small.onnx"
    return program(place, "export-onnx", model, "--out", out, "--size", "96x64", "--json")


def test_program_writes_a_file_and_tells_how_far_it_is_off(exported: Ran, place: Path) -> None:
    assert exported.code == 0, exported.err
    told = exported.told
    assert told["command"] == "export-onnx"
    assert told["exported"] == "the whole model, which reads one frame at a time"
    assert (told["size"], told["opset"]) == ([96, 64], 18)
    assert 0 < told["difference"]["relative"] <= 1e-4
    assert told["difference"]["same_class"] >= 0.9999
    assert told["outputs"] == {"onnx": str(place / "new" / "small.onnx")}
    assert "the whole model, which reads one frame at a time: input 96x64, " in exported.out
    assert "onnxruntime: logits differ by " in exported.out
    assert names_in(place / "new") == ["small.onnx"]
    # the exporter warns of packages and calls that are none of the person's business
    assert exported.err == ""


def test_documented_json_keys_are_those_printed(exported: Ran) -> None:
    assert set(exported.told) == _keys("export-onnx")


def test_without_onnxruntime_it_says_that_nothing_was_compared(
    packages: None,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    words = ("--out", tmp_path / "m.onnx", "--size", "64x64", "--json")
    ran = call(capsys, "export-onnx", model, *words)
    assert ran.code == 0, ran.err
    assert ran.told["difference"] is None
    assert names_in(tmp_path) == ["m.onnx"]
    assert "not compared with torch: onnxruntime is not installed\n" in ran.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--out", "m.pt"), "--out ends in .onnx, got m.pt"),
        (("--out", "m.onnx", "--size", "100x64"), "'100x64' is not a size: say WIDTHxHEIGHT, mul"),
        (("--out", "m.onnx", "--size", "64"), "multiples of 8 from 32 to 4096"),
        ((), "Missing option '--out'"),
    ],
)
def test_wrong_options_end_with_2(
    words: tuple[str, ...],
    sentence: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = call(capsys, "export-onnx", model, *words, "--json")
    assert ran.code == 2
    assert sentence in ran.told["error"]
    assert names_in(tmp_path) == []


def test_what_cannot_be_exported_ends_with_2(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    save_checkpoint(tmp_path / "td.safetensors", checkpoint(tdnet_config(paths=2)))
    out = tmp_path / "m.onnx"
    ran = call(capsys, "export-onnx", tmp_path / "td.safetensors", "--out", out, "--json")
    assert ran.code == 2
    assert "a TDNet model cannot be exported" in ran.told["error"]
    ran = call(capsys, "export-onnx", tmp_path / "nothing.safetensors", "--out", out, "--json")
    assert ran.code == 2
    assert "there is no model" in ran.told["error"]
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    ran = call(capsys, "export-onnx", model, "--out", out, "--json")
    assert ran.code == 2
    assert "pip install onnx onnxscript" in ran.told["error"]
    assert names_in(tmp_path) == ["td.safetensors"]
