"""PSPNet: a dilated ResNet and pyramid pooling. ETC's network at inference is a PSPNet18.

Parameter names are those of semseg's checkpoints.
"""

from __future__ import annotations

from torch import Tensor

from stt_core.config import PspNetConfig
from stt_core.model.backbone import make_stages, make_stem
from stt_core.model.frame import PyramidPooling, Stages, Trunk, start_weights


class PspTrunk(Trunk):
    """A ResNet of output stride 8, and the averages of its last map."""

    def __init__(self, config: PspNetConfig) -> None:
        super().__init__()
        self.layer0 = make_stem(config.stem)
        self.layer1, self.layer2, self.layer3, self.layer4 = make_stages(config)
        self.ppm = PyramidPooling(config.deep_width, config.bins, config.align_corners)
        self.middle_width = config.deep_width // 2
        self._width = config.deep_width
        start_weights(self)

    def stages(self, image: Tensor) -> Stages:
        third = self.layer3(self.layer2(self.layer1(self.layer0(image))))
        return Stages(self.layer4(third), third)

    def context(self, stages: Stages, half: int | None = None) -> Tensor:
        return self.ppm(stages.deep, half)

    def context_width(self, *, halved: bool = False) -> int:
        return self._width if halved else 2 * self._width
