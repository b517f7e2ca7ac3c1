"""Label maps that a model makes of a video for others to learn from, steadied over neighbours.

Dimensions: C classes, H x W the video.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stt_core.config import per_frame
from stt_core.errors import OutputError
from stt_core.files import make_folder
from stt_core.flow import dis_flow
from stt_core.labels import IGNORED, write_label_png
from stt_core.media.source import MediaSource
from stt_core.network import Network
from stt_core.project.label_folder import label_path
from stt_core.stream import Stream
from stt_core.training.teacher import smooth_along_flow


@dataclass(frozen=True, slots=True)
class PseudoLabelOptions:
    """How frames are labelled."""

    neighbours: int = 2
    """Frames on either side whose word counts too, along the flow; 0 asks the frame alone."""
    threshold: float = 0.9
    """Least probability of what is believed; the rest is left unlabelled."""
    every: int = 1
    """Only each of so many frames is written."""

    def __post_init__(self) -> None:
        if self.neighbours < 0 or self.every < 1 or not 0 <= self.threshold <= 1:
            raise ValueError(
                f"neighbours must be 0 or more, every at least 1 and threshold in 0..1, got "
                f"{self.neighbours=} {self.every=} {self.threshold=}"
            )


@dataclass(frozen=True, slots=True)
class PseudoLabelStep:
    """One more frame is labelled, or was passed over."""

    frame: int
    labelled: float
    """Share of its pixels that got a class; 0 where it was passed over."""


@dataclass(frozen=True, slots=True)
class _Seen:
    index: int
    image: NDArray[np.uint8]
    probabilities: Tensor  # [C, H, W]


def write_pseudo_labels(
    network: Network, media: MediaSource, out: Path, options: PseudoLabelOptions
) -> Generator[PseudoLabelStep, None, int]:
    """Label a video with a model and write the maps; return how many.

    Each frame's class probabilities are averaged with those of its neighbours, fetched along DIS
    flow where it leads there and back again (:func:`smooth_along_flow`). A model that reads the
    past can come near such labels, since it sees what they are made of; one that sees a frame
    alone cannot. Neighbours across a cut count as far as flow believes in them: hardly.

    Args:
        network: the teacher.
        media: the video.
        out: gets NNNNNN.png, 8-bit class ids, 255 where the teacher is not sure.
        options: how.

    Raises:
        MediaError: a frame cannot be read.
        OutputError: a map cannot be written, or some lie there already.
    """
    make_folder(out)
    if any(out.glob("*.png")):
        raise OutputError(
            f"{out} holds label maps already, perhaps a person's: choose another folder"
        )
    classes = network.header.classes
    near = options.neighbours
    window: deque[_Seen] = deque(maxlen=2 * near + 1)
    stream = Stream(network, cuts=True)
    written = 0
    for index in range(len(media) + near):
        if index < len(media):
            image = media[index].image
            window.append(_Seen(index, image, _probabilities(network, stream, image)))
        target = index - near
        if target < 0:
            continue
        share = 0.0
        if target % options.every == 0:
            ids = _label(target, window, near, options.threshold)
            write_label_png(label_path(out, target), ids, classes)
            share = float((ids != IGNORED).mean())
            written += 1
        yield PseudoLabelStep(target, share)
    return written


@torch.inference_mode()
def _probabilities(network: Network, stream: Stream, image: NDArray[np.uint8]) -> Tensor:
    logits = stream.push(image).decoded.logits.float()
    align = per_frame(network.config).align_corners
    return F.interpolate(logits, image.shape[:2], mode="bilinear", align_corners=align)[0].softmax(
        0
    )


def _label(target: int, window: deque[_Seen], near: int, threshold: float) -> NDArray[np.uint8]:
    here = next(seen for seen in window if seen.index == target)
    others = [s for s in window if s.index != target and abs(s.index - target) <= near]
    device = here.probabilities.device
    flows = [torch.from_numpy(dis_flow(here.image, s.image)).to(device) for s in others]
    back = [torch.from_numpy(dis_flow(s.image, here.image)).to(device) for s in others]
    mean = smooth_along_flow(here.probabilities, [s.probabilities for s in others], flows, back)
    confidence, winner = mean.max(0)
    ids = winner.where(confidence >= threshold, IGNORED)
    return ids.to(torch.uint8).cpu().numpy()
