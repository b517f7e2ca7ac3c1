"""Folded and unfolded, a network computes the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from stt_core.config import ModelConfig, reach
from stt_core.model.fold import fold_batch_norms
from stt_core.model.video import VideoModel
from tests.core.models import checkpoint, lite_config, pspnet_config, stt_config, tdnet_config

PSP50 = pspnet_config(backbone="resnet50", stem="deep128", dilation="mmseg")
# every position is a query: rounding must not decide which of two almost equal ones asks
KINDS: dict[str, ModelConfig] = {
    "psp18": pspnet_config(),
    "psp50": PSP50,
    "lite": lite_config(),
    "stt psp18": stt_config(query_ratio=1.0, key_frames=1),
    "stt psp18, backbone": stt_config(insert="backbone", query_ratio=1.0, key_frames=1),
    "stt lite, backbone": stt_config(
        lite_config(), insert="backbone", query_ratio=1.0, key_frames=1
    ),
    "td2 psp18": tdnet_config(pspnet_config(dilation="tdnet"), paths=2),
    "td4 lite": tdnet_config(lite_config()),
}


def _made(config: ModelConfig) -> VideoModel:
    """With norms whose every number differs from a fresh one."""
    model = checkpoint(config).model
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data.mul_(torch.empty_like(part.weight).uniform_(0.7, 1.3))
            nn.init.normal_(part.bias, std=0.1)
    if hasattr(model, "expand"):
        nn.init.normal_(model.expand.weight, std=0.05)  # type: ignore[arg-type]
    return model


def _bare(model: nn.Module) -> list[str]:
    return [name for name, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)]


def _difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest, relative to the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_a_folded_network_computes_the_same_without_norms(kind: str) -> None:
    config = KINDS[kind]
    model = _made(config)
    past = reach(config)
    generator = torch.Generator().manual_seed(3)
    clip = torch.randn(past.key_frames + 1, 3, 40, 56, generator=generator)
    expected = model(clip, past.paths - 1).logits  # every path takes part in a clip
    assert _bare(model)
    fold_batch_norms(model)
    assert _bare(model) == []  # in these networks each of them follows a convolution
    assert _difference(model(clip, past.paths - 1).logits, expected) < 1e-4


def test_folding_twice_changes_nothing_more() -> None:
    model = _made(pspnet_config())
    fold_batch_norms(model)
    once = copy.deepcopy(model.state_dict())
    fold_batch_norms(model)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, once[name]), name


@torch.inference_mode()
def test_a_bias_before_the_norm_is_kept() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 8, 3, bias=True), nn.BatchNorm2d(8)
    nn.init.normal_(norm.running_mean)  # type: ignore[arg-type]
    nn.init.uniform_(norm.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    model = nn.Sequential(conv, norm, nn.ReLU()).eval()
    x = torch.randn(2, 3, 9, 11)
    expected = model(x)
    fold_batch_norms(model)
    assert _difference(model(x), expected) < 1e-5


@torch.inference_mode()
def test_a_norm_that_follows_no_convolution_stays() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    x = torch.randn(1, 3, 5, 5)
    expected = model.eval()(x)
    fold_batch_norms(model)
    assert _bare(model) == ["0", "3"]
    torch.testing.assert_close(model(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["psp18", "lite", "stt psp18", "td4 lite"])
def test_a_model_in_training_is_refused_and_stays_as_it_was(kind: str) -> None:
    model = _made(KINDS[kind]).train()
    before = copy.deepcopy(model.state_dict())
    norms = _bare(model)
    with pytest.raises(ValueError, match="eval mode"):
        fold_batch_norms(model)
    assert _bare(model) == norms
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]), name
