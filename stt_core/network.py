"""A model at work: on its device, in its precision, between an image and a label map."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from stt_core.checkpoint import Checkpoint
from stt_core.config import ModelConfig, Precision, Reach, per_frame, reach, with_key_frames
from stt_core.device import find_device, find_dtype, precision_name
from stt_core.errors import CheckpointError, DeviceError
from stt_core.formats.model_file import ModelHeader
from stt_core.model.attention.ops import NOTHING_MUTED, Ablation
from stt_core.model.backends import Backend
from stt_core.model.captured import CapturedEncoder
from stt_core.model.fold import fold_batch_norms
from stt_core.model.stt import Stt
from stt_core.model.tdnet import SpatialNorm
from stt_core.model.video import Decoded, Encoded, Focus, VideoModel
from stt_core.preprocess import Segmentation, to_network, to_segmentation

Answer = TypeVar("Answer")

LEAST_AGREEMENT = 0.995
"""Share of pixels that must get fp32's class for a lower precision to be taken by itself."""
_CHECK_PIXELS = 256 * 512
"""Of the image the precision is checked on: enough to tell, and a fraction of a frame's time."""
_LEAST_CHUNK = 256


class Network:
    """Runs a checkpoint. Belongs to one thread.

    The first image decides whether a lower precision may stay: where fewer than
    :data:`LEAST_AGREEMENT` of its pixels get the class that fp32 gives them, `auto` returns to
    fp32, and a precision that was asked for stays; either is told in :attr:`notes`.

    Args:
        checkpoint: is not changed.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto takes bf16 where the device has it.
        key_frames: in place of the model's own number.
        backend: which kernels attend and compare; auto goes by the device.

    Raises:
        DeviceError: the machine lacks the device or the precision.
        CheckpointError: the model cannot read that many key frames.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        key_frames: int | None = None,
        backend: Backend = "auto",
    ) -> None:
        self.header: ModelHeader = checkpoint.header
        self.sha256 = checkpoint.sha256
        self.device = find_device(device)
        self.dtype = find_dtype(precision, self.device)
        self.notes: list[str] = []
        """What a person should know of how it runs, one sentence each."""
        self.agreement: float | None = None
        """Share of pixels with fp32's class, once it was checked."""
        self._source = checkpoint.model
        self._backend = backend
        self._chosen = precision != "auto"
        self._checked = self.dtype == torch.float32
        try:
            number = (
                reach(checkpoint.header.config).key_frames if key_frames is None else key_frames
            )
            self.config: ModelConfig = with_key_frames(checkpoint.header.config, number)
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        self._use(self._prepare(self.dtype))

    @property
    def reach(self) -> Reach:
        """What it reads of the past."""
        return reach(self.config)

    @property
    def key_frames(self) -> int:
        return self.reach.key_frames

    @property
    def key_spacing(self) -> int:
        return self.reach.key_spacing

    def settle(self, image: NDArray[np.uint8]) -> None:
        """Decide on the precision by ``[H, W, 3]`` RGB, where that is not done yet."""
        if not self._checked:
            self._checked = True
            self._check_precision(image)

    def encode(self, image: NDArray[np.uint8], index: int = 0) -> Encoded:
        """One encoder pass over ``[H, W, 3]`` RGB, frame `index` of its video."""
        self.settle(image)
        return self._survive(lambda: self._encode(image, index % self.reach.paths))

    def decode(
        self,
        current: Encoded,
        memory: Sequence[Encoded],
        ablation: Ablation = NOTHING_MUTED,
    ) -> Decoded:
        """Logits of a frame with its key frames, newest first; less what is muted."""

        def act() -> Decoded:
            # what was kept may be of a precision that memory has become too short for
            now, past = current.cast(self.dtype), [m.cast(self.dtype) for m in memory]
            if ablation == NOTHING_MUTED:
                return self._model.decode(now, past)
            return self._attending().decode_without(now, past, ablation)

        return self._survive(act)

    def finish(
        self, decoded: Decoded, size: tuple[int, int], *, entropy: bool = False
    ) -> Segmentation:
        """Logits to label map of an image of `size` (height, width), with its entropy or not."""
        align = per_frame(self.config).align_corners
        finish = partial(to_segmentation, size=size, align_corners=align, entropy=entropy)
        try:
            with torch.inference_mode():
                return finish(decoded.logits)
        except torch.OutOfMemoryError:
            self._note("the GPU's memory is full: label maps are enlarged on the CPU")
            torch.cuda.empty_cache()
            with torch.inference_mode():
                return finish(decoded.logits.cpu())

    def focus(
        self,
        current: Encoded,
        memory: Sequence[Encoded],
        position: int,
        ablation: Ablation = NOTHING_MUTED,
    ) -> Focus:
        """What one position reads, selected or not; see :meth:`Stt.focus`."""

        def act() -> Focus:
            now, past = current.cast(self.dtype), [m.cast(self.dtype) for m in memory]
            return self._attending().focus(now, past, position, ablation)

        return self._survive(act)

    def examine(self, look: Callable[[Stt], Answer]) -> Answer:
        """What `look` finds in the model as it computes now; with less memory, it looks again.

        Raises:
            CheckpointError: the model has no sparse temporal attention.
            DeviceError: the GPU has too little memory.
        """
        return self._survive(lambda: look(self._attending()))

    def synchronise(self) -> None:
        """Wait for the device, so that a clock means something."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def _attending(self) -> Stt:
        if not isinstance(self._model, Stt):
            raise CheckpointError(
                "this model has no sparse temporal attention to inspect: "
                "choose an STT model for that"
            )
        return self._model

    def _use(self, model: VideoModel) -> None:
        self._model = model
        self._captured = CapturedEncoder(model) if self.device.type == "cuda" else None

    def _prepare(self, dtype: torch.dtype) -> VideoModel:
        """A copy of the source as it computes fastest: folded, channels last, in `dtype`."""
        model = copy.deepcopy(self._source).eval()
        model.config = self.config
        if isinstance(model, Stt):
            model.stt.config = model.config
            model.stt.backend = self._backend
        fold_batch_norms(model)
        model = model.to(self.device, dtype)
        for part in model.modules():
            if isinstance(part, nn.LayerNorm | SpatialNorm | nn.BatchNorm2d):
                part.float()
        # oneDNN and cuDNN both run these convolutions faster with channels last
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def _encode(self, image: NDArray[np.uint8], path: int) -> Encoded:
        x = to_network(image, self.header.preprocess, self.device)
        x = x.to(self.dtype, memory_format=torch.channels_last)
        if self._captured is not None:
            try:
                return self._captured.encode(x, path)
            except torch.OutOfMemoryError:
                self._captured = None  # a graph holds the memory of a whole pass
            except RuntimeError as error:
                self._captured = None
                self._note(f"no CUDA graph could be captured, so frames are slower ({error})")
        return self._model.encode(x, path)

    def _check_precision(self, image: NDArray[np.uint8]) -> None:
        name = precision_name(self.dtype)
        try:
            exact = self._prepare(torch.float32)
            found, wanted = (self._classes(model, image) for model in (self._model, exact))
        except torch.OutOfMemoryError:
            self._note(f"the GPU's memory is full: {name} is not compared with fp32")
            return
        self.agreement = float((found == wanted).float().mean())
        if self.agreement >= LEAST_AGREEMENT:
            return
        told = f"in {name} only {self.agreement:.2%} of the first image's pixels get fp32's class"
        if self._chosen:
            self._note(f"{told}; {name} was asked for and stays")
            return
        self._note(f"{told}: computing in fp32")
        self.dtype = torch.float32
        self._use(exact)

    @torch.inference_mode()
    def _classes(self, model: VideoModel, image: NDArray[np.uint8]) -> torch.Tensor:
        """The winner of every position of a still, made small, that stands for its own past."""
        x = to_network(image, self.header.preprocess, self.device)
        shrink = min(1.0, (_CHECK_PIXELS / (x.shape[2] * x.shape[3])) ** 0.5)
        size = [max(8, round(side * shrink / 8) * 8) for side in x.shape[2:]]
        x = F.interpolate(x, size, mode="bilinear", antialias=True)
        x = x.to(next(model.parameters()).dtype, memory_format=torch.channels_last)
        paths = self.reach.paths
        still = [model.encode(x, -lag % paths) for lag in range(paths)]
        memory = [still[lag % paths] for lag in range(1, self.key_frames + 1)]
        return model.decode(still[0], memory).logits.argmax(1)

    def _survive(self, act: Callable[[], Answer]) -> Answer:
        """Do it, with less memory each time the GPU has too little."""
        while True:
            try:
                with torch.inference_mode():
                    return act()
            except torch.OutOfMemoryError as error:
                if not self._economise():
                    raise DeviceError(
                        f"{self.device} has too little memory for images of this size, even in "
                        f"{precision_name(self.dtype)} and in small pieces: use --device cpu, or "
                        f"a model made for a smaller size"
                    ) from error

    def _economise(self) -> bool:
        """Take less memory from now on; False when nothing is left to try."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if isinstance(self._model, Stt) and self._model.stt.chunk > _LEAST_CHUNK:
            self._model.stt.chunk = max(_LEAST_CHUNK, min(self._model.stt.chunk, 1 << 15) // 4)
            self._note("the GPU's memory is full: attention goes in smaller pieces")
            return True
        if self.dtype == torch.float32:
            self.dtype = torch.bfloat16
            self._use(self._prepare(self.dtype))
            self._captured = None
            self._note("the GPU's memory is full: computing in bf16")
            return True
        return False

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)
