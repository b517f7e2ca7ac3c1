"""attach: a temporal block on a per-frame network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stt_core.checkpoint import load_checkpoint, save_checkpoint
from stt_core.config import SttConfig
from stt_core.network import Network
from stt_core.stream import Stream
from tests.core.models import checkpoint, images, pspnet_config
from tests.test_cli import _keys, call

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    path = tmp_path / "frame.safetensors"
    save_checkpoint(path, checkpoint(pspnet_config()))
    return path


def test_the_network_is_kept_and_the_block_has_the_recipes_settings(
    frame: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "new" / "stt.safetensors"
    ran = call(capsys, "attach", frame, "--out", out, "--json")
    assert ran.code == 0, ran.err
    assert set(ran.told) == _keys("attach")
    assert ran.told["outputs"] == {"model": str(out)}
    made, before = load_checkpoint(out), load_checkpoint(frame)
    config = made.header.config
    assert isinstance(config, SttConfig)
    assert (config.attention, config.norm, config.heads) == ("distance", "gate", 2)
    assert (config.start_radius, config.end_radius, config.query_ratio) == (2, 6, 0.5)
    after = made.model.state_dict()
    for name, weight in before.model.state_dict().items():
        assert torch.equal(weight, after[name]), name
    assert made.header.classes == before.header.classes
    assert made.header.lineage[-1] == "a temporal block that has not learnt yet"


def test_a_first_frame_is_the_networks(frame: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "stt.safetensors"
    assert call(capsys, "attach", frame, "--out", out).code == 0
    image = images(1, (96, 128))[0]
    alone, attached = (
        Stream(Network(load_checkpoint(path), device="cpu", precision="fp32")).push(image)
        for path in (frame, out)
    )
    np.testing.assert_array_equal(alone.segmentation.labels, attached.segmentation.labels)


def test_half_halves_the_file(frame: Path, tmp_path: Path, capsys: Captured) -> None:
    for name, words in (("full", ()), ("half", ("--half",))):
        assert (
            call(capsys, "attach", frame, "--out", tmp_path / f"{name}.safetensors", *words).code
            == 0
        )
    full, half = ((tmp_path / f"{n}.safetensors").stat().st_size for n in ("full", "half"))
    assert half < 0.6 * full


def test_what_is_temporal_already_is_refused(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "stt.safetensors"
    save_checkpoint(path, checkpoint())
    ran = call(capsys, "attach", path, "--out", tmp_path / "x.safetensors")
    assert ran.code == 2
    assert "has a temporal part already" in ran.err
    assert not (tmp_path / "x.safetensors").exists()


def test_settings_that_cannot_be_are_told(frame: Path, tmp_path: Path, capsys: Captured) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('model = "stt"\n[stt]\nheads = 3\n')
    ran = call(capsys, "attach", frame, "--out", tmp_path / "x.safetensors", "--recipe", recipe)
    assert ran.code == 2
    assert "heads must divide width" in ran.err
