"""A model at work: on its device, in its precision, between an image and a label map."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from stt_core.checkpoint import Checkpoint
from stt_core.config import ModelConfig, Precision, SttConfig
from stt_core.device import find_device, find_dtype
from stt_core.errors import CheckpointError
from stt_core.formats.model_file import ModelHeader
from stt_core.model.pspnet import Decoded, Encoded, PspNet
from stt_core.model.stt import Focus, SttPspNet
from stt_core.preprocess import Segmentation, to_network, to_segmentation


class Network:
    """Runs a checkpoint. Belongs to one thread.

    Args:
        checkpoint: is not changed.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto takes bf16 where the device has it.
        key_frames: 0 to 9, in place of the model's own number.

    Raises:
        DeviceError: the machine lacks the device or the precision.
        CheckpointError: key frames asked of a model that reads none.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        key_frames: int | None = None,
    ) -> None:
        self.header: ModelHeader = checkpoint.header
        self.sha256 = checkpoint.sha256
        self.device = find_device(device)
        self.dtype = find_dtype(precision, self.device)
        self.config = _with_key_frames(checkpoint.header.config, key_frames)
        model = copy.deepcopy(checkpoint.model).eval()
        if isinstance(model, SttPspNet) and isinstance(self.config, SttConfig):
            model.config = model.stt.config = self.config
        # oneDNN and cuDNN both run these convolutions faster with channels last
        model = model.to(self.device, self.dtype)
        self._model: PspNet = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def key_frames(self) -> int:
        return self.config.key_frames

    @property
    def key_spacing(self) -> int:
        return self.config.key_spacing if isinstance(self.config, SttConfig) else 1

    @torch.inference_mode()
    def encode(self, image: NDArray[np.uint8]) -> Encoded:
        """One encoder pass over ``[H, W, 3]`` RGB."""
        x = to_network(image, self.header.preprocess, self.device).to(self.dtype)
        return self._model.encode(x.contiguous(memory_format=torch.channels_last))

    @torch.inference_mode()
    def decode(self, current: Encoded, memory: Sequence[Encoded]) -> Decoded:
        """Logits of a frame with its key frames, newest first."""
        return self._model.decode(current, memory)

    @torch.inference_mode()
    def finish(self, decoded: Decoded, size: tuple[int, int]) -> Segmentation:
        """Logits to label map of an image of `size` (height, width)."""
        align = self.config.pspnet.align_corners
        return to_segmentation(decoded.logits, size, align_corners=align)

    @torch.inference_mode()
    def focus(self, current: Encoded, memory: Sequence[Encoded], position: int) -> Focus:
        """What one position reads, selected or not; see :meth:`SttPspNet.focus`."""
        if not isinstance(self._model, SttPspNet):
            raise CheckpointError(
                "this model has no temporal attention to inspect: it is a per-frame network"
            )
        return self._model.focus(current, memory, position)

    @property
    def attends(self) -> bool:
        """Whether the model has a temporal block at all."""
        return isinstance(self._model, SttPspNet)

    def synchronise(self) -> None:
        """Wait for the device, so that a clock means something."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def _with_key_frames(config: ModelConfig, key_frames: int | None) -> ModelConfig:
    if key_frames is None:
        return config
    if not isinstance(config, SttConfig):
        if key_frames:
            raise CheckpointError(
                f"this model is a per-frame network and reads no key frames, "
                f"got --key-frames {key_frames}"
            )
        return config
    return replace(config, key_frames=key_frames)
