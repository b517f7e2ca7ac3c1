"""One model under several settings at once: every frame is encoded once for all of them.

What is kept of a frame depends on weights alone. How many key frames are read, by which queries
and through which windows is decided when a frame is decoded.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stt_core.checkpoint import Checkpoint
from stt_core.config import Precision, SttConfig
from stt_core.evaluation.predictors import WARM_UP
from stt_core.evaluation.speed import timed
from stt_core.model.attention.ops import NOTHING_MUTED, Ablation
from stt_core.model.stt import Stt
from stt_core.model.video import Decoded, Encoded
from stt_core.network import Network
from stt_core.preprocess import Segmentation


class SharedEncoder:
    """Encodes the frame that all settings are at. Belongs to one thread."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.milliseconds = 0.0
        """That encoding the newest frame took."""
        self._newest: tuple[NDArray[np.uint8], Encoded] | None = None

    def encode(self, image: NDArray[np.uint8], index: int) -> Encoded:
        """One encoder pass, unless this very array was the last to be encoded."""
        if self._newest is not None and self._newest[0] is image:
            return self._newest[1]
        self.network.settle(image)  # once a run, and not to be timed
        encoded, self.milliseconds = timed(self.network, lambda: self.network.encode(image, index))
        self._newest = image, encoded
        return encoded


class TimedNetwork(Network):
    """A network that notes what each frame takes it, from an image to its label map."""

    times: dict[int, float]
    """Milliseconds of frames that had all their key frames, by how many frames were finished
    before; those of the warm-up are left out."""

    def __init__(
        self, checkpoint: Checkpoint, *, device: str = "auto", precision: Precision = "auto"
    ) -> None:
        super().__init__(checkpoint, device=device, precision=precision)
        self.times = {}
        self._finished = 0
        self._spent = 0.0
        self._is_steady = False

    def encode(self, image: NDArray[np.uint8], index: int = 0) -> Encoded:
        encode = super().encode
        encoded, self._spent = timed(self, lambda: encode(image, index))
        return encoded

    def decode(
        self,
        current: Encoded,
        memory: Sequence[Encoded],
        ablation: Ablation = NOTHING_MUTED,
    ) -> Decoded:
        decode = super().decode
        decoded, taken = timed(self, lambda: decode(current, memory, ablation))
        self._spent += taken
        self._is_steady = len(memory) == self.key_frames
        return decoded

    def finish(
        self, decoded: Decoded, size: tuple[int, int], *, entropy: bool = False
    ) -> Segmentation:
        finish = super().finish
        segmentation, taken = timed(self, lambda: finish(decoded, size, entropy=entropy))
        if self._is_steady and self._finished >= WARM_UP:
            self.times[self._finished] = self._spent + taken
        self._finished += 1
        return segmentation


class SettingNetwork(TimedNetwork):
    """A model under another setting, on frames that `encoder` encodes, in its precision.

    Args:
        encoder: of the same weights. Its time counts, whoever asked for the frame first.
        decoder: these weights, as :func:`without_encoder` leaves them; is not changed.
        config: the model should have. Only what decoding alone depends on may differ.
        device: that of the encoder, as of :class:`Network`.
        precision: the same that the encoder was given.
    """

    def __init__(
        self,
        encoder: SharedEncoder,
        decoder: Checkpoint,
        config: SttConfig,
        *,
        device: str,
        precision: Precision,
    ) -> None:
        changed = replace(decoder, header=replace(decoder.header, config=config))
        super().__init__(changed, device=device, precision=precision)
        self.notes = encoder.network.notes
        self._encoder = encoder

    def settle(self, image: NDArray[np.uint8]) -> None:
        """Take the precision that the encoder settles on."""
        self._encoder.network.settle(image)
        self._follow()

    def encode(self, image: NDArray[np.uint8], index: int = 0) -> Encoded:
        """What the encoder keeps of the frame."""
        encoded = self._encoder.encode(image, index)
        self._spent = self._encoder.milliseconds
        self._follow()
        return encoded

    def _follow(self) -> None:
        """Compute in the precision that the encoder ended up with."""
        if self.dtype != self._encoder.network.dtype:
            self.dtype = self._encoder.network.dtype
            self._use(self._prepare(self.dtype))


def without_encoder(checkpoint: Checkpoint) -> Checkpoint:
    """An STT model without what only encoding needs, since every setting has a copy of its own."""
    model = copy.deepcopy(checkpoint.model)
    assert isinstance(model, Stt)
    del model.frame.aux
    if model.config.insert == "bottleneck":  # else the pyramid lies behind the block
        del model.frame.trunk
    return replace(checkpoint, model=model)
