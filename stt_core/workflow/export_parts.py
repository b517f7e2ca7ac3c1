"""What one medium contributes to an export: its labels, and pseudo-labels where it has none."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stt_core.formats.exchange import ExportFrame, plain_name
from stt_core.labels import UNLABELLED
from stt_core.media.source import MediaSource, open_media
from stt_core.project.manifest import MediaEntry
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.store import Project
from stt_core.pseudo.labelling import (
    PseudoLabelled,
    PseudoLabelSources,
    Step,
    Surveyed,
    pseudo_labels,
)
from stt_core.pseudo.rule import PseudoLabelRule, TopShare
from stt_core.pseudo.sources import AttentionMass, Origin
from stt_core.workflow.opening import image_stems, present_path
from stt_core.workflow.stored import MappedPredictions, find_predictions, need_predictions

Source = Literal["labels", "predictions", "both"]
Only = Literal["checked", "locked"]
Attend = Callable[[PredictionReader, MediaSource], AttentionMass]
"""Makes the source of the attention test, for the predictions of a medium."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportChoice:
    """Which labels are wanted of each medium."""

    source: Source = "both"
    """Where both speak of a pixel the label wins; `predictions` leaves labels out altogether."""
    rule: PseudoLabelRule = field(default_factory=PseudoLabelRule)
    """By which predictions are believed."""
    model: str | None = None
    """Whose predictions; None for those used last."""
    only: Only | None = None
    """Frames of this review state alone; `checked` includes `locked`."""
    images: bool = False
    attend: Attend | None = None
    """Needed by the rule's attention test."""


class ExportPart:
    """One medium of an export.

    Args:
        project: open, if only for reading.
        entry: the medium.
        choice: what is wanted of it.
        stack: closes what is opened here.

    Attributes:
        entry: as given.
        frames: to be exported, rising.
        notes: sentences on predictions and classes.

    Raises:
        ProjectError: the medium or its predictions are asked for and missing.
        LabelError: none of the model's classes is one of the project's.
    """

    def __init__(
        self, project: Project, entry: MediaEntry, choice: ExportChoice, stack: ExitStack
    ) -> None:
        self.entry = entry
        self.notes: list[str] = []
        self._project, self._choice = project, choice
        self._predictions: MappedPredictions | None = None
        self._reader = self._find_reader()
        labelled = project.labelled(entry.id) if choice.source != "predictions" else ()
        self._labelled = frozenset(labelled)
        predicted = self._reader.frames.tolist() if self._reader is not None else []
        wanted = self._labelled.union(predicted)
        if choice.only is not None:
            wanted &= _reviewed(project, entry, choice.only)
        self.frames: list[int] = sorted(wanted)
        self._predicted = sorted(wanted.intersection(predicted))
        self._media = self._open_media(stack) if self.frames else None
        self._steps = self._begin(stack) if self._predicted else None
        self._first: PseudoLabelled | None = None
        self._record: dict[str, object] | None = None
        self._stems = image_stems(project, entry)

    @property
    def looks(self) -> int:
        """How many frames :meth:`survey` looks at."""
        return len(self._predicted) if isinstance(self._choice.rule.confidence, TopShare) else 0

    def survey(self) -> Iterator[int]:
        """See how sure the model is of each class, where the rule asks; yields frames."""
        while self._steps is not None and self._first is None:
            step = next(self._steps)
            if isinstance(step, Surveyed):
                yield step.frame
            else:
                self._first = step

    def labels(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Every frame with its ``[H, W]`` ids, VOID and UNLABELLED where there is none."""
        predicted = frozenset(self._predicted)
        for frame in self.frames:
            if frame in predicted:
                yield frame, self._next_predicted().labels
                continue
            own = self._project.labels(self.entry.id, frame)
            # whoever has the project open for writing may erase it meanwhile
            size = self.entry.height, self.entry.width
            yield frame, np.full(size, UNLABELLED, np.uint8) if own is None else own
        if self._steps is not None:
            try:
                next(self._steps)
            except StopIteration as end:
                self._record = end.value

    def export_frame(self, frame: int, labels: NDArray[np.uint8], prefix: str) -> ExportFrame:
        """The frame as formats take it; `prefix` goes before its number."""
        name = plain_name(self._stems[frame]) if self._stems else f"{prefix}{frame:06d}"
        media = self._media if self._choice.images else None
        image = None if media is None else partial(_image, media, frame)
        return ExportFrame(name, frame, labels, image)

    def facts(self) -> dict[str, object]:
        """What went into the export, as plain values."""
        mapping = () if self._predictions is None else self._predictions.mapping.rows
        return {
            "id": self.entry.id,
            "name": self.entry.name,
            "hash": self.entry.hash,
            "frames": len(self.frames),
            "labelled": len(self._labelled.intersection(self.frames)),
            "predicted": len(self._predicted),
            "classes": [
                {"theirs": r.theirs.name, "ours": r.ours, "found_by": r.found_by} for r in mapping
            ],
            "pseudo_labels": self._record,
        }

    def _find_reader(self) -> PredictionReader | None:
        choice = self._choice
        if choice.source == "labels":
            return None
        find = need_predictions if choice.source == "predictions" else find_predictions
        reader, told = find(self._project, self.entry, choice.model)
        self.notes += told
        if reader is None:
            self.notes.append(f"{self.entry.name} has no predictions: only its labels count")
        return reader

    def _open_media(self, stack: ExitStack) -> MediaSource | None:
        rule = self._choice.rule
        tested = self._predicted and (rule.flow is not None or rule.attention is not None)
        if not (self._choice.images or tested):
            return None
        path = present_path(self._project, self.entry)
        return stack.enter_context(open_media(path))

    def _begin(self, stack: ExitStack) -> Generator[Step, None, dict[str, object]]:
        assert self._reader is not None
        project, choice, media = self._project, self._choice, self._media
        self._predictions = MappedPredictions(self._reader, project.classes)
        self.notes += self._predictions.notes
        manifest = self._reader.manifest
        origin = Origin(manifest.model_hash, manifest.settings, manifest.media_hash)
        sources = PseudoLabelSources(
            predictions=self._predictions,
            classes=project.classes,
            origin=origin,
            painted=self._painted,
            images=None if media is None else partial(_image, media),
            attention=choice.attend(self._reader, media) if choice.attend and media else None,
        )
        steps = pseudo_labels(sources, choice.rule, self._predicted)
        stack.callback(steps.close)
        return steps

    def _painted(self, frame: int) -> NDArray[np.uint8] | None:
        return self._project.labels(self.entry.id, frame) if frame in self._labelled else None

    def _next_predicted(self) -> PseudoLabelled:
        if self._first is not None:
            step, self._first = self._first, None
            return step
        assert self._steps is not None
        found = next(self._steps)
        assert isinstance(found, PseudoLabelled)  # all were looked at before the first
        return found


def _reviewed(project: Project, entry: MediaEntry, only: Only) -> set[int]:
    frames = set(project.notes.frames_in(entry.id, "locked"))
    if only == "checked":
        frames.update(project.notes.frames_in(entry.id, "checked"))
    return frames


def _image(media: MediaSource, frame: int) -> NDArray[np.uint8]:
    return media[frame].image
