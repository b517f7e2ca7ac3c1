from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stt_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from stt_core.config import ModelConfig, SttConfig, reach
from stt_core.errors import CheckpointError
from stt_core.formats.model_file import (
    FORMAT,
    bundled_models,
    find_model,
    header_json,
    read_header,
)
from stt_core.resources import SAMPLE_MODEL
from tests.core.models import checkpoint, lite_config, pspnet_config, stt_config, tdnet_config

KINDS: dict[str, ModelConfig] = {
    "psp18": pspnet_config(),
    "psp50": pspnet_config(backbone="resnet50", stem="deep64", dilation="mmseg", bins=(1, 2)),
    "lite": lite_config(align_corners=True),
    "stt psp18": stt_config(query_ratio=0.25, nsm_scale=0.5, key_spacing=3, bypass_norm=False),
    "stt lite distance": stt_config(lite_config(), attention="distance", norm="gate", heads=2),
    "stt lite": stt_config(lite_config(), key_frames=0, dropout=0.0),
    "stt lite, backbone": stt_config(lite_config(), insert="backbone"),
    "td4 lite": tdnet_config(lite_config(), memory_stride=2),
    "td2 psp18": tdnet_config(pspnet_config(dilation="tdnet"), paths=2, norm_size=(3, 4)),
}


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


def test_the_bundled_models_are_within_their_limit_and_say_what_they_are() -> None:
    bundled = bundled_models()
    assert set(bundled) == {"frame-lite0", "etc-lite0", "td2-lite0", "stt-lite0"}
    assert sum(path.stat().st_size for path in bundled.values()) <= 45_000_000
    for path in bundled.values():
        header = read_header(path)
        assert header.config.num_classes == 11
        assert "Research use only" in header.licence
        assert path.with_suffix(".md").is_file()


def test_the_bundled_stt_is_its_control_with_a_block() -> None:
    bundled = bundled_models()
    stt, control = (
        load_checkpoint(bundled[name]).model.state_dict() for name in ("stt-lite0", "frame-lite0")
    )
    assert {name for name in stt if name not in control} == {
        name for name in stt if name.startswith("stt.")
    }
    for name, weight in control.items():
        torch.testing.assert_close(weight, stt[name], rtol=0, atol=0)


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
    weights["frame.cls.4.bias"][3] = bad
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


def _metadata(file: Path) -> dict[str, object]:
    """What stands in the file, as it stands there."""
    with safe_open(str(file), framework="numpy") as opened:
        header: dict[str, object] = json.loads(opened.metadata()["stt_studio"])
    return header


def _logits(made: Checkpoint) -> torch.Tensor:
    frames = reach(made.header.config).key_frames + 1
    clip = torch.randn(frames, 3, 40, 56, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return made.model(clip).logits


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_survives_its_file(kind: str, tmp_path: Path) -> None:
    made = checkpoint(KINDS[kind])
    file = tmp_path / "m.safetensors"
    save_checkpoint(file, made)
    again = load_checkpoint(file)
    assert again.header == made.header
    assert again.header.config == KINDS[kind]
    assert type(again.model) is type(made.model)
    assert not again.model.training
    ours, theirs = again.model.state_dict(), made.model.state_dict()
    assert list(ours) == list(theirs)
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name
    assert _metadata(file)["format"] == FORMAT == 2


# files of format 1


def _write_format_1(file: Path, made: Checkpoint) -> None:
    """As it was written when the per-frame network was called pspnet, its weights unprefixed."""
    weights = {
        name.removeprefix("frame.").removeprefix("trunk."): weight.contiguous()
        for name, weight in made.model.state_dict().items()
    }
    assert len(weights) == len(made.model.state_dict())
    header = json.loads(header_json(made.header)["stt_studio"])
    header["format"] = 1
    config = header["config"]
    if isinstance(made.header.config, SttConfig):
        config["pspnet"] = config.pop("per_frame")
        del config["insert"]  # there was one place only
    save_file(weights, file, metadata={"stt_studio": json.dumps(header)})


@pytest.mark.parametrize("kind", ["psp18", "psp50", "stt psp18"])
def test_a_model_of_format_1_computes_the_same_and_is_saved_as_format_2(
    kind: str, tmp_path: Path
) -> None:
    made = checkpoint(KINDS[kind])
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    _write_format_1(old, made)
    before = old.read_bytes()
    again = load_checkpoint(old)
    assert again.header == made.header
    assert read_header(old).config == KINDS[kind]
    assert not any(name.startswith(("frame.", "trunk.")) for name in load_file(old))
    torch.testing.assert_close(_logits(again), _logits(made), rtol=1e-5, atol=1e-5)
    save_checkpoint(new, again)
    assert _metadata(new)["format"] == 2
    assert read_header(new) == made.header
    for name, weight in load_checkpoint(new).model.state_dict().items():
        assert torch.equal(weight, made.model.state_dict()[name]), name
    assert old.read_bytes() == before


def test_the_bundled_model_is_saved_again_as_it_was(tmp_path: Path) -> None:
    path = find_model(SAMPLE_MODEL)
    made = load_checkpoint(path)
    assert made.header.format == 2
    new = tmp_path / "new.safetensors"
    save_checkpoint(new, made)
    assert _metadata(new)["format"] == 2
    again = load_checkpoint(new)
    assert again.header == made.header
    assert again.sha256 != made.sha256
    torch.testing.assert_close(_logits(again), _logits(made), rtol=1e-5, atol=1e-5)


def test_format_1_is_checked_like_format_2(made: Checkpoint, tmp_path: Path) -> None:
    file = tmp_path / "old.safetensors"
    _write_format_1(file, made)
    header, weights = _metadata(file), load_file(file)
    del weights["layer1.0.conv1.weight"]
    save_file(weights, file, metadata={"stt_studio": json.dumps(header)})
    with pytest.raises(CheckpointError, match=r"do not fit.*layer1\.0\.conv1\.weight"):
        load_checkpoint(file)
    for broken in ({**header, "config": None}, {**header, "config": {"kind": "stt"}}):
        save_file(weights, file, metadata={"stt_studio": json.dumps(broken)})
        with pytest.raises(CheckpointError, match="contradicts itself"):
            load_checkpoint(file)


def test_a_newer_format_is_refused_before_anything_else_of_it_is_read(file: Path) -> None:
    weights = load_file(file)
    for header in ({"format": 3}, {"format": 99, "config": {"kind": "of tomorrow"}}):
        save_file(weights, file, metadata={"stt_studio": json.dumps(header)})
        with pytest.raises(CheckpointError, match=r"reads up to 2\): update STT Studio"):
            load_checkpoint(file)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 1', '{"format": "1"}', "7"])
def test_a_header_that_is_no_header_is_refused(file: Path, text: str) -> None:
    save_file(load_file(file), file, metadata={"stt_studio": text})
    with pytest.raises(CheckpointError, match="contradicts itself"):
        load_checkpoint(file)
