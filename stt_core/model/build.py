"""From a config to a model: the one place that knows all of them."""

from __future__ import annotations

from stt_core.config import FrameConfig, ModelConfig, PspNetConfig, SttConfig, TdnetConfig
from stt_core.model.frame import FrameNet, Trunk
from stt_core.model.litenet import LiteTrunk
from stt_core.model.pspnet import PspTrunk
from stt_core.model.stt import Stt
from stt_core.model.tdnet import Tdnet
from stt_core.model.video import PerFrame, VideoModel


def build_model(config: ModelConfig) -> VideoModel:
    """A model with fresh weights."""
    if isinstance(config, SttConfig):
        return Stt(config, _frame(config.per_frame))
    if isinstance(config, TdnetConfig):
        return Tdnet(config, [_trunk(config.per_frame) for _ in range(config.paths)])
    return PerFrame(_frame(config))


def _frame(config: FrameConfig) -> FrameNet:
    return FrameNet(config, _trunk(config))


def _trunk(config: FrameConfig) -> Trunk:
    return PspTrunk(config) if isinstance(config, PspNetConfig) else LiteTrunk(config)
