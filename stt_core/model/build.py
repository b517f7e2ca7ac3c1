"""From a config to a model: the one place that knows all of them."""

from __future__ import annotations

from stt_core.config import ModelConfig, SttConfig
from stt_core.model.pspnet import PspNet
from stt_core.model.stt import SttPspNet


def build_model(config: ModelConfig) -> PspNet:
    """A model with fresh weights."""
    return SttPspNet(config) if isinstance(config, SttConfig) else PspNet(config)
