"""Label maps that a model makes of a clip outside of any project, for others to learn from.

What is believed is the business of :mod:`stt_core.pseudo`; here its predictions are steadied over
neighbours. Dimensions: C classes, H x W the video.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stt_core.config import per_frame
from stt_core.errors import OutputError
from stt_core.files import make_folder, write_text
from stt_core.flow import dis_flow
from stt_core.formats.class_files import PROVENANCE_FILE, as_json
from stt_core.media.source import MediaSource, media_hash
from stt_core.network import Network
from stt_core.project.label_folder import write_labels
from stt_core.pseudo.labelling import PseudoLabelled, PseudoLabelSources, pseudo_labels
from stt_core.pseudo.rule import PseudoLabelRule, Threshold
from stt_core.pseudo.sources import Origin
from stt_core.stream import Stream
from stt_core.training.teacher import smooth_along_flow
from stt_core.workflow.prediction_pass import label_settings


@dataclass(frozen=True, slots=True)
class ClipLabelOptions:
    """How frames are labelled."""

    neighbours: int = 2
    """Frames on either side whose word counts too, along the flow; 0 asks the frame alone."""
    threshold: Threshold = field(default_factory=Threshold)
    every: int = 1
    """Only each of so many frames is written."""

    def __post_init__(self) -> None:
        if self.neighbours < 0 or self.every < 1:
            raise ValueError(
                f"neighbours must be 0 or more and every at least 1, got {self.neighbours=} "
                f"{self.every=}"
            )


def write_clip_labels(
    network: Network, media: MediaSource, out: Path, options: ClipLabelOptions
) -> Generator[PseudoLabelled, None, dict[str, object]]:
    """Label a video with a model and write the maps; return the record of how.

    Args:
        network: the teacher.
        media: the video.
        out: gets NNNNNN.png, class ids with their colours, 255 where the teacher is not sure, and
            provenance.json.
        options: how.

    Raises:
        MediaError: a frame cannot be read.
        OutputError: a map cannot be written, or some lie there already.
        LabelError: a threshold names a class that does not exist.
    """
    make_folder(out)
    if any(out.glob("*.png")):
        raise OutputError(
            f"{out} holds label maps already, perhaps a person's: choose another folder"
        )
    classes = network.header.classes
    settings = {**label_settings(network, media), "neighbours": options.neighbours}
    sources = PseudoLabelSources(
        predictions=SteadiedPredictions(network, media, options.neighbours),
        classes=classes,
        origin=Origin(network.sha256, settings, media_hash(media.path)),
    )
    rule = PseudoLabelRule(options.threshold)
    steps = pseudo_labels(sources, rule, range(0, len(media), options.every))
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            record: dict[str, object] = end.value
            break
        assert isinstance(step, PseudoLabelled)  # a threshold surveys nothing
        write_labels(out, step.frame, step.labels, classes)
        yield step
    write_text(out / PROVENANCE_FILE, as_json(record) + "\n")
    return record


class _Seen(NamedTuple):
    frame: int
    image: NDArray[np.uint8]
    probabilities: Tensor  # [C, H, W]


class _Made(NamedTuple):
    frame: int
    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8]


class SteadiedPredictions:
    """What a model says of a video, steadied (:class:`stt_core.pseudo.sources.Predictions`).

    Each frame's class probabilities are averaged with those of its neighbours, fetched along DIS
    flow where it leads there and back again (:func:`smooth_along_flow`). A model that reads the
    past can come near such labels, since it sees what they are made of; one that sees a frame
    alone cannot. Neighbours across a cut count as far as flow believes in them: hardly.

    Frames are to be asked for in rising order: the model runs along with them.

    Args:
        network: the model.
        media: the video.
        neighbours: on either side.
    """

    def __init__(self, network: Network, media: MediaSource, neighbours: int) -> None:
        self._network, self._media, self._near = network, media, neighbours
        self._stream = Stream(network, cuts=True)
        self._window: deque[_Seen] = deque(maxlen=2 * neighbours + 1)
        self._next = 0
        self._made: _Made | None = None

    @property
    def frames(self) -> Sequence[int]:
        return range(len(self._media))

    def labels(self, frame: int) -> NDArray[np.uint8]:
        return self._make(frame).labels

    def confidence(self, frame: int) -> NDArray[np.uint8]:
        return self._make(frame).confidence

    def _make(self, frame: int) -> _Made:
        if self._made is None or self._made.frame != frame:
            last = min(frame + self._near, len(self._media) - 1)
            while self._next <= last:
                image = self._media[self._next].image
                self._window.append(_Seen(self._next, image, self._probabilities(image)))
                self._next += 1
            confidence, winner = self._mean(frame).max(0)
            self._made = _Made(
                frame,
                winner.to(torch.uint8).cpu().numpy(),
                (confidence * 255).round().to(torch.uint8).cpu().numpy(),
            )
        return self._made

    @torch.inference_mode()
    def _probabilities(self, image: NDArray[np.uint8]) -> Tensor:
        logits = self._stream.push(image).decoded.logits.float()
        size, align = image.shape[:2], per_frame(self._network.config).align_corners
        full = F.interpolate(logits, size, mode="bilinear", align_corners=align)
        return full[0].softmax(0)

    def _mean(self, frame: int) -> Tensor:
        """Probabilities ``[C, H, W]`` of a frame and those around it."""
        seen = {each.frame: each for each in self._window}
        if frame not in seen:
            raise ValueError(f"frames must be asked for in rising order, got {frame} too late")
        here = seen.pop(frame)
        others = [each for number, each in seen.items() if abs(number - frame) <= self._near]
        device = here.probabilities.device
        flows = [torch.from_numpy(dis_flow(here.image, s.image)).to(device) for s in others]
        back = [torch.from_numpy(dis_flow(s.image, here.image)).to(device) for s in others]
        return smooth_along_flow(here.probabilities, [s.probabilities for s in others], flows, back)
