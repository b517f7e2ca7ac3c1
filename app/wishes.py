"""What a person wants done with a project, as the dialogs ask it and the commands take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportWish:
    """How labels are to be exported."""

    format: str
    out: Path
    source: str
    media_id: str = ""
    """Empty for all."""
    split: str = "train"
    threshold: float = 0.9
    """Of probability, 0..1; not used for labels alone, nor with `top_share`."""
    by_class: Mapping[str, float] = field(default_factory=dict)
    """Thresholds of single classes, by name."""
    top_share: float | None = None
    """Share of each class to keep, the surest, 0..1; in place of thresholds."""
    flow: bool = False
    attention: float | None = None
    """Least share of attention on keys of the same class; None not to ask."""
    model: str = ""
    """Whose predictions: a file or a hash; empty for those used last."""
    only: str = ""
    """Review state; empty for all frames."""
    images: bool = False

    def words(self) -> list[str]:
        """Options of the command `export`."""
        words = ["--format", self.format, "--out", str(self.out), "--source", self.source]
        words += ["--split", self.split]
        words += ["--media", self.media_id] if self.media_id else []
        words += ["--only", self.only] if self.only else []
        words += ["--images"] if self.images else []
        return words if self.source == "labels" else [*words, *self._of_predictions()]

    def _of_predictions(self) -> list[str]:
        words = ["--model", self.model] if self.model else []
        if self.top_share is not None:
            words += ["--top-share", f"{self.top_share:g}"]
        else:
            words += ["--threshold", f"{self.threshold:g}"]
            for name, share in self.by_class.items():
                words += ["--class-threshold", f"{name}={share:g}"]
        words += ["--flow-check"] if self.flow else []
        if self.attention is not None:
            words += ["--attention-check", f"{self.attention:g}"]
        return words


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoWish:
    """How a video of label maps over the pictures is to be made."""

    out: Path
    media_id: str
    panels: tuple[tuple[str, str], ...]
    """Title, which may be empty, and what is shown, row by row."""
    columns: int
    range: str
    """``A:B:STEP``, half-open, ends optional."""
    legend: str
    opacity: float
    number: bool
    time: bool

    def words(self) -> list[str]:
        """Options of the command `video`."""
        words = ["--out", str(self.out), "--media", self.media_id, f"--range={self.range}"]
        words += ["--columns", str(self.columns), "--legend", self.legend]
        words += ["--opacity", f"{self.opacity:g}"]
        for title, what in self.panels:
            words += ["--panel", f"{title}={what}"]
        words += ["--number"] if self.number else []
        return [*words, *(["--time"] if self.time else [])]


@dataclass(frozen=True, slots=True)
class ImportWish:
    """Which label maps are to be taken into a project, and as what."""

    source: Path
    format: str
    media_id: str
    kind: Literal["labels", "predictions"]
    method: str = ""
    """What predictions are called."""
