"""What every model of the comparison offers, and what it keeps of a frame.

Streaming, seeking, training and measuring are written against this; none of them asks which
model it is. Dimensions: B batch, H x W input, h x w the map that is kept, N = h * w.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stt_core.config import ModelConfig, reach
from stt_core.model.frame import FrameNet


@dataclass(frozen=True, slots=True)
class Extracted:
    """What the encoder proper makes of a frame: what can be frozen while the rest learns."""

    features: Tensor  # [B, C, h, w]
    shallow: Tensor | None = None  # [B, _, H/8, W/8], where decoding needs it again
    aux: Tensor | None = None  # auxiliary logits, on request
    path: int = 0


@dataclass(frozen=True, slots=True)
class Encoded:
    """What is kept of a frame: enough to decode it, and to be a key frame of later ones."""

    features: Tensor  # [B, C, h, w]
    key: Tensor | None = None  # [B, _, h', w'] projected, where the model reads key frames
    value: Tensor | None = None  # [B, _, h', w']
    query: Tensor | None = None  # [B, _, h, w], where each frame's is handed on (TDNet)
    shallow: Tensor | None = None
    path: int = 0

    def one(self, index: int) -> Encoded:
        """One image of the batch, B = 1."""
        return self.some(slice(index, index + 1))

    def some(self, which: slice) -> Encoded:
        """Some images of the batch."""
        parts = {name: part[which] for name, part in self._tensors()}
        return replace(self, **parts)  # type: ignore[arg-type]

    def clone(self) -> Encoded:
        """A copy in memory of its own."""
        return replace(self, **{name: part.clone() for name, part in self._tensors()})  # type: ignore[arg-type]

    def cast(self, dtype: torch.dtype) -> Encoded:
        """The same in another precision."""
        if self.features.dtype == dtype:
            return self
        return replace(self, **{name: part.to(dtype) for name, part in self._tensors()})  # type: ignore[arg-type]

    @property
    def nbytes(self) -> int:
        """Of memory, padding inside the maps included."""
        return sum(
            max(t.numel(), t.shape[0] * t.stride(0)) * t.element_size() for _, t in self._tensors()
        )

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return self.features.shape[2], self.features.shape[3]

    def _tensors(self) -> Iterable[tuple[str, Tensor]]:
        named = ((f.name, getattr(self, f.name)) for f in fields(self))
        return [(name, part) for name, part in named if isinstance(part, Tensor)]


@dataclass(frozen=True, slots=True)
class Refined:
    """A frame that has read its past."""

    features: Tensor  # [B, C, h, w]
    queries: Tensor  # [B, Q] long, positions that attended by choice; Q = 0 where none chooses
    need: Tensor  # [B, N] D_NSM; zeros where selection did not run
    shallow: Tensor | None = None  # as of Encoded
    path: int = 0


def unselective(features: Tensor, shallow: Tensor | None = None, path: int = 0) -> Refined:
    """A frame of which nobody was chosen to ask."""
    batch, _, rows, cols = features.shape
    nobody = torch.zeros(batch, 0, dtype=torch.long, device=features.device)
    need = torch.zeros(batch, rows * cols, device=features.device)
    return Refined(features, nobody, need, shallow, path)


def together(frames: Sequence[Refined]) -> Refined:
    """Frames of one path as a batch, to be classified; who asked is left out."""
    shallow = [f.shallow for f in frames if f.shallow is not None]
    features = torch.cat([f.features for f in frames])
    return unselective(features, torch.cat(shallow) if shallow else None, frames[0].path)


class Decoded(NamedTuple):
    """Logits of a frame, and who asked the past for them."""

    logits: Tensor  # [B, classes, h, w]
    queries: Tensor  # [B, Q] long, positions that attended by choice; Q = 0 where none chooses
    need: Tensor  # [B, N] D_NSM; zeros where selection did not run

    @property
    def nbytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self)


class Focus(NamedTuple):
    """What one position read, and what follows from it."""

    weights: Tensor  # [heads, F, rows, cols], each head summing to 1, a muted one to 0
    logits: Tensor  # [classes] of this position, with that attention


class VideoModel(nn.Module, ABC):
    """Segments the frames of a video, each with what was kept of those before it."""

    config: ModelConfig

    @abstractmethod
    def extract(self, image: Tensor, path: int = 0, *, aux: bool = False) -> Extracted:
        """Run the encoder proper over ``[B, 3, H, W]``.

        Args:
            image: of frames that all belong to `path`.
            path: frame index modulo the model's paths.
            aux: whether auxiliary logits are wanted too.
        """

    @abstractmethod
    def project(self, extracted: Extracted) -> Encoded:
        """Make of it what is kept of a frame."""

    @abstractmethod
    def refine(self, current: Encoded, memory: Sequence[Encoded]) -> Refined:
        """Let a frame read its past.

        Args:
            current: the frame.
            memory: its key frames, newest first; as many as there are, up to the model's number.
        """

    @abstractmethod
    def classify(self, refined: Refined) -> Tensor:
        """Logits ``[B, classes, h, w]``. In training, of frames whose pasts differ in length."""

    def decode(self, current: Encoded, memory: Sequence[Encoded]) -> Decoded:
        """Logits of a frame, and who asked for them; arguments as of :meth:`refine`."""
        refined = self.refine(current, memory)
        return Decoded(self.classify(refined), refined.queries, refined.need)

    @abstractmethod
    def learning_parts(self) -> Sequence[nn.Module]:
        """What still learns when the encoder is frozen; the rest is the encoder."""

    def encode(self, image: Tensor, path: int = 0) -> Encoded:
        """``[B, 3, H, W]`` to what decoding this frame and later ones needs."""
        return self.project(self.extract(image, path))

    def forward(self, clip: Tensor, path: int = 0) -> Decoded:
        """Clip at once: ``[T, 3, H, W]``, oldest first, to the logits of its last frame.

        Args:
            clip: consecutive key frames and the frame they serve.
            path: of the last frame.
        """
        paths, newest_first = reach(self.config).paths, range(clip.shape[0] - 1, -1, -1)
        if paths == 1:
            together = self.encode(clip)
            frames = [together.one(i) for i in newest_first]
        else:
            frames = [
                self.encode(clip[i : i + 1], (path - lag) % paths)
                for lag, i in enumerate(newest_first)
            ]
        return self.decode(frames[0], frames[1:])


class PerFrame(VideoModel):
    """A per-frame network as a video model: it reads no other frame."""

    def __init__(self, frame: FrameNet) -> None:
        super().__init__()
        self.config = frame.config
        self.frame = frame

    def extract(self, image: Tensor, path: int = 0, *, aux: bool = False) -> Extracted:
        stages = self.frame.trunk.stages(image)
        logits = self.frame.aux_logits(stages) if aux else None
        return Extracted(self.frame.bottleneck(stages), aux=logits)

    def project(self, extracted: Extracted) -> Encoded:
        return Encoded(extracted.features)

    def refine(self, current: Encoded, memory: Sequence[Encoded]) -> Refined:
        return unselective(current.features)

    def classify(self, refined: Refined) -> Tensor:
        return self.frame.classify(refined.features)

    def learning_parts(self) -> Sequence[nn.Module]:
        return [self.frame.classifier]
