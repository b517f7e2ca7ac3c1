"""What one medium contributes to an export: its labels, and pseudo-labels where it has none."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
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
from stt_core.workflow.stored import (
    MappedPredictions,
    find_predictions,
    model_hash,
    model_name,
    need_predictions,
    stored_predictions,
)

Source = Literal["labels", "predictions", "both"]
Only = Literal["checked", "locked"]
_MUCH_MORE = 0.01
"""Of a class, from where on a share above the one asked for is told."""
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
    """Whose predictions; None for the model whose were used last. Of one model those of all frames
    come before those of some, then those used last."""
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
        notes: sentences on predictions and classes; complete after the last label.
        untested: whether the attention test was left out, as imported predictions have none.

    Raises:
        ProjectError: the medium or its predictions are asked for and missing.
        LabelError: none of the model's classes is one of the project's.
    """

    def __init__(
        self, project: Project, entry: MediaEntry, choice: ExportChoice, stack: ExitStack
    ) -> None:
        self.entry = entry
        self.notes: list[str] = []
        self.untested = False
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
    def predicted(self) -> int:
        """How many of the frames have a prediction."""
        return len(self._predicted)

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
                self.notes += self._more_than_asked()

    def export_frame(self, frame: int, labels: NDArray[np.uint8], medium: str) -> ExportFrame:
        """The frame as formats take it; `medium` is what this one is called, if there are more."""
        name = plain_name(self._stems[frame]) if self._stems else f"{frame:06d}"
        media = self._media if self._choice.images else None
        image = None if media is None else partial(_image, media, frame)
        return ExportFrame(name, frame, labels, image, medium, not self._stems)

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
            "attention_untested": len(self._predicted) if self.untested else 0,
            "pseudo_labels": self._record,
        }

    def _find_reader(self) -> PredictionReader | None:
        choice = self._choice
        if choice.source == "labels":
            return None
        found = _candidates(self._project, self.entry, choice.model)
        if not found:
            find = need_predictions if choice.source == "predictions" else find_predictions
            self.notes += find(self._project, self.entry, choice.model)[1]  # or says what to do
            self.notes.append(f"{self.entry.name} has no predictions: only its labels count")
            return None
        chosen = found[0]
        chosen.hold()
        self._project.predictions.use(chosen.folder)
        missing = self.entry.frames - len(chosen)
        if len(found) > 1 or missing > 0:
            self.notes.append(_taken(self.entry, chosen, found[1:], missing))
        return chosen

    def _open_media(self, stack: ExitStack) -> MediaSource | None:
        rule = self._choice.rule
        if self._reader is not None and self._predicted:
            self.untested = rule.attention is not None and _is_imported(self._reader)
        attention = rule.attention is not None and not self.untested
        tested = self._predicted and (rule.flow is not None or attention)
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
            attention=(
                choice.attend(self._reader, media)
                if choice.attend and media and not self.untested
                else None
            ),
        )
        rule = replace(choice.rule, attention=None) if self.untested else choice.rule
        if self.untested:
            self.notes.append(
                f"the predictions of {self.entry.name} were imported and have no attention: "
                f"{len(self._predicted)} frames were not tested by it"
            )
        steps = pseudo_labels(sources, rule, self._predicted)
        stack.callback(steps.close)
        return steps

    def _more_than_asked(self) -> list[str]:
        """Classes of which the top share became clearly more, for all that are equally sure."""
        confidence, record = self._choice.rule.confidence, self._record
        if not isinstance(confidence, TopShare) or record is None:
            return []
        rows = record["least_probability"]
        assert isinstance(rows, list)
        much = [
            f"{row['name']} {row['believed_share']:.1%}"
            for row in rows
            if (row["believed_share"] or 0) > confidence.share + _MUCH_MORE
        ]
        if not much:
            return []
        return [
            f"{self.entry.name}: of {', '.join(much)} are believed, more than the "
            f"{confidence.share:.1%} asked for, as so many pixels are equally sure (probabilities "
            "are kept in steps of 1/255)"
        ]

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


def _candidates(project: Project, entry: MediaEntry, model: str | None) -> list[PredictionReader]:
    """Predictions with a frame, those to be taken first."""
    wanted = "" if model is None else model_hash(model)
    readers = [PredictionReader(path) for path in stored_predictions(project, entry)]
    found = [r for r in readers if len(r) and r.manifest.model_hash.startswith(wanted)]
    if not found:
        return []
    last = found[0].manifest.model_hash
    # stable: what was used last stays first
    return sorted(found, key=lambda r: (r.manifest.model_hash != last, -(len(r) >= entry.frames)))


def _taken(
    entry: MediaEntry, chosen: PredictionReader, others: Sequence[PredictionReader], missing: int
) -> str:
    name = model_name(chosen.manifest.model_hash)
    told = f"of {entry.name} the predictions of {name} were taken, {len(chosen)} frames"
    if missing > 0:
        told += f"; {missing} of its {entry.frames} frames have none"
    if others:
        listed = [f"{model_name(r.manifest.model_hash)} ({len(r)} frames)" for r in others]
        told += f"; there are others too: {', '.join(listed)}"
    return told


def _is_imported(reader: PredictionReader) -> bool:
    return "imported" in reader.manifest.settings


def _reviewed(project: Project, entry: MediaEntry, only: Only) -> set[int]:
    frames = set(project.notes.frames_in(entry.id, "locked"))
    if only == "checked":
        frames.update(project.notes.frames_in(entry.id, "checked"))
    return frames


def _image(media: MediaSource, frame: int) -> NDArray[np.uint8]:
    return media[frame].image
