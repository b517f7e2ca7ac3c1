"""Teachers made of the student: a copy of it, or the moving average of its weights.

A teacher labels frames that nobody labelled, and its averaged weights are what is kept of a run.
Dimensions: B images, C classes, h x w the logits' map, H x W the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from stt_core.config import reach
from stt_core.model.video import Encoded, VideoModel, together
from stt_core.training.losses import precise
from stt_core.training.motion import arrives, consistent, warp


class Teacher(nn.Module):
    """A copy of a model as it is now: without gradients, in eval mode for good.

    Args:
        student: is copied, and not changed.
    """

    def __init__(self, student: VideoModel) -> None:
        super().__init__()
        self.model = deepcopy(student).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def logits(self, images: Tensor, past: Sequence[Tensor], path: int = 0) -> Tensor:
        """Logits ``[B, C, h, w]`` of frames that read their past, as when a video is segmented.

        Args:
            images: ``[B, 3, H, W]`` normalised, all of `path`.
            past: ``[T, 3, H, W]`` of each image, newest first, at the model's key spacing; as many
                as there are, of which the model reads as many as it does.
            path: frame index modulo the model's paths.
        """
        if len(past) != images.shape[0]:
            raise ValueError(
                f"every image has a past, of no frames perhaps: got {images.shape[0]} images, "
                f"{len(past)} pasts"
            )
        current = self.model.encode(images, path)
        read = [self._remember(frames, path) for frames in past]
        refined = [self.model.refine(current.one(i), memory) for i, memory in enumerate(read)]
        return self.model.classify(together(refined))

    def _remember(self, past: Tensor, path: int) -> list[Encoded]:
        reached = reach(self.model.config)
        past = past[: reached.key_frames]
        if reached.paths > 1:
            return [
                self.model.encode(frame, (path - lag) % reached.paths)
                for lag, frame in enumerate(past.split(1), 1)
                if len(frame)
            ]
        if not len(past):
            return []
        encoded = self.model.encode(past)
        return [encoded.one(i) for i in range(len(past))]


class EmaTeacher(Teacher):
    """A moving average of a student's weights, buffers copied (Tarvainen and Valpola 2017).

    Its state_dict is all that taking up a run needs.

    Args:
        student: is copied, and not changed.
        decay: what is kept of the average in an update, in [0, 1]; 1 keeps the copy for good,
            buffers too.
        ramp: whether update n keeps no more than n / (n + 9) of it, so that a short run does not
            end near the weights it began with.
    """

    updates: Tensor

    def __init__(self, student: VideoModel, decay: float, *, ramp: bool = False) -> None:
        super().__init__(student)
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must be in 0..1, got {decay}")
        self.decay = decay
        self.ramp = ramp
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, student: VideoModel) -> None:
        """Move towards a student, after each of its steps."""
        self.updates += 1
        if self.decay == 1:
            return
        done = int(self.updates)
        keep = min(self.decay, done / (done + 9)) if self.ramp else self.decay
        for mean, weight in zip(self.model.parameters(), student.parameters(), strict=True):
            mean.lerp_(weight, 1 - keep)
        for own, buffer in zip(self.model.buffers(), student.buffers(), strict=True):
            own.copy_(buffer)


@torch.no_grad()
def smooth_along_flow(
    own: Tensor,
    neighbours: Sequence[Tensor],
    flows: Sequence[Tensor],
    back: Sequence[Tensor] | None = None,
) -> Tensor:
    """Mean of what is said of each point in a frame and, along the flow, in its neighbours.

    A neighbour counts where the flow is known, arrives inside it and, where there is one back,
    leads home (:func:`consistent`); where none counts, the frame's own word stands.

    Args:
        own: ``[C, H, W]`` probabilities of the frame.
        neighbours: the same of frames near it.
        flows: ``[H, W, 2]`` u, v pixels from the frame to each, NaN where a point is hidden there.
        back: the flows from each to the frame; None where `flows` are exact and say by NaN what is
            hidden.

    Returns:
        ``[C, H, W]`` probabilities.
    """
    backs = [None] * len(flows) if back is None else back
    total = precise(own).clone()
    voices = torch.ones_like(total[:1])
    for probabilities, flow, home in zip(neighbours, flows, backs, strict=True):
        seen = arrives(flow) if home is None else consistent(flow[None], home[None])[0]
        total += warp(probabilities[None], flow[None])[0].where(seen, 0)
        voices += seen
    return total / voices
