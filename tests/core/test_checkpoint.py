from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stt_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from stt_core.errors import CheckpointError
from stt_core.formats.model_file import bundled_models, find_model, header_json, read_header
from tests.core.models import checkpoint, pspnet_config, stt_config


@pytest.fixture(scope="module")
def made() -> Checkpoint:
    return checkpoint(stt_config(query_ratio=0.3, key_spacing=2))


@pytest.fixture
def file(made: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "m.safetensors", made)
    return tmp_path / "m.safetensors"


def test_a_model_survives_its_file(made: Checkpoint, file: Path) -> None:
    again = load_checkpoint(file)
    assert again.header == made.header
    for name, weight in made.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], weight, rtol=0, atol=0)
    assert len(again.sha256) == 64


def test_bf16_halves_the_file(made: Checkpoint, file: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "half.safetensors", made, dtype=torch.bfloat16)
    half = tmp_path / "half.safetensors"
    assert half.stat().st_size < 0.55 * file.stat().st_size
    for name, weight in load_checkpoint(half).model.state_dict().items():
        torch.testing.assert_close(weight, made.model.state_dict()[name], rtol=1 / 128, atol=1e-30)


def test_a_per_frame_model_has_its_own_config(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "p.safetensors", checkpoint(pspnet_config()))
    assert load_checkpoint(tmp_path / "p.safetensors").header.config == pspnet_config()


def test_no_such_model_names_the_bundled_ones() -> None:
    with pytest.raises(CheckpointError, match=r"no model nonsense.*bundled"):
        find_model("nonsense")


def test_the_bundled_model_is_within_its_limit_and_reads_without_torch() -> None:
    path = bundled_models()["stt-pspnet18-sample"]
    assert path.stat().st_size <= 32_000_000
    header = read_header(path)
    assert header.config.num_classes == 11
    assert "Research use only" in header.licence


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"hello", "is not a model file"), (b"", "is not a model file")],
)
def test_something_else_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_a_truncated_file_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="is not a model file"):
        load_checkpoint(file)


def test_weights_of_another_program_are_refused(tmp_path: Path) -> None:
    save_file({"w": torch.ones(3)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="not written by STT Studio"):
        load_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(made: Checkpoint, file: Path, bad: float) -> None:
    weights = load_file(file)
    weights["cls.4.bias"][3] = bad
    save_file(weights, file, metadata=header_json(made.header))
    with pytest.raises(CheckpointError, match=r"not finite.*cls\.4\.bias"):
        load_checkpoint(file)


def _rewrite(file: Path, change: dict[str, object]) -> None:
    header = json.loads(header_json(read_header(file))["stt_studio"])
    header.update(change)
    save_file(load_file(file), file, metadata={"stt_studio": json.dumps(header)})


def test_classes_that_differ_from_the_network_are_refused(file: Path) -> None:
    _rewrite(file, {"classes": [{"name": "only", "color": [1, 2, 3]}]})
    with pytest.raises(CheckpointError, match=r"names 1 classes.*tells 11 apart"):
        load_checkpoint(file)


def test_a_newer_format_is_refused(file: Path) -> None:
    _rewrite(file, {"format": 99})
    with pytest.raises(CheckpointError, match="newer version"):
        load_checkpoint(file)


def test_a_config_that_cannot_be_is_refused(file: Path) -> None:
    config = json.loads(header_json(read_header(file))["stt_studio"])["config"]
    _rewrite(file, {"config": {**config, "heads": 7}})
    with pytest.raises(CheckpointError, match="heads must divide width"):
        load_checkpoint(file)


def test_missing_weights_are_named(made: Checkpoint, file: Path) -> None:
    weights = load_file(file)
    del weights["stt.q_proj.weight"]
    save_file(weights, file, metadata=header_json(made.header))
    with pytest.raises(CheckpointError, match=r"do not fit.*stt\.q_proj\.weight"):
        load_checkpoint(file)


def test_a_failed_save_leaves_the_old_file(made: Checkpoint, file: Path) -> None:
    before = file.read_bytes()
    broken = Checkpoint(made.header, made.model)
    with pytest.raises(TypeError):
        save_checkpoint(file, broken, dtype=np.float32)  # type: ignore[arg-type]
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]
