"""The light network: EfficientNet-Lite0 at stride 16, pyramid pooling there, fused at stride 8.

Dilated to stride 8 throughout, Lite0 is slower on a CPU than ResNet-18: depthwise convolutions of
dilation 4 fall to a slow path. At stride 16, with its own stride-8 map brought in afterwards, it is
the everyday model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stt_core.config import LiteNetConfig
from stt_core.model.frame import PyramidPooling, Stages, Trunk, start_weights
from stt_core.model.lite0 import LITE0_WIDTHS, Lite0Trunk


class LiteTrunk(Trunk):
    """EfficientNet-Lite0 with its pyramid, brought to stride 8 beside its own 40 channels there."""

    def __init__(self, config: LiteNetConfig) -> None:
        super().__init__()
        self.backbone = Lite0Trunk()
        self.ppm = PyramidPooling(config.deep_width, config.bins, config.align_corners)
        self.middle_width = LITE0_WIDTHS[1]
        self._align_corners = config.align_corners
        start_weights(self.ppm)

    def stages(self, image: Tensor) -> Stages:
        shallow, middle, deep = self.backbone(image)
        return Stages(deep, middle, shallow)

    def context(self, stages: Stages, half: int | None = None) -> Tensor:
        assert stages.shallow is not None
        pyramid = F.interpolate(
            self.ppm(stages.deep, half),
            stages.shallow.shape[2:],
            mode="bilinear",
            align_corners=self._align_corners,
        )
        return torch.cat([pyramid, stages.shallow], 1)

    def context_width(self, *, halved: bool = False) -> int:
        deep = LITE0_WIDTHS[2]
        return LITE0_WIDTHS[0] + (deep if halved else 2 * deep)
