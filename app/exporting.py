"""Exporting labels of the open project, and making videos of it, in processes of their own."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from app.command_job import CommandJob
from app.facts import Notice
from app.jobs import Jobs

EXPORT_JOB, VIDEO_JOB = "export", "video"


class Exporting(CommandJob):
    """Exports, by the command of that name, and tells what became of predicted pixels."""

    noticed = Signal(object)  # Notice

    def __init__(self, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(jobs, EXPORT_JOB, "frames", parent)

    def tell(self, told: dict[str, Any]) -> str:
        """Frames and place, what was lost, and the counts of every test."""
        counts = _pixel_lines(told["provenance"])
        text = f"{told['frames']} frames in {told['outputs']['export']}"
        if counts:
            more = f" (and {len(counts) - 1} more media: see Details)" if len(counts) > 1 else ""
            notice = Notice("export", f"Exported. {counts[0]}{more}", tuple(counts) if more else ())
            self.noticed.emit(notice)
        return ". ".join([text, *told["notes"], *told["losses"], *counts])


class VideoMaking(CommandJob):
    """Makes videos, by the command `video`."""

    def __init__(self, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(jobs, VIDEO_JOB, "steps", parent)

    def tell(self, told: dict[str, Any]) -> str:
        width, height = told["size"]
        text = f"{told['pictures']} pictures of {width} x {height} in {told['outputs']['video']}"
        return ". ".join([text, *told["notes"]])


def _pixel_lines(provenance: dict[str, Any]) -> list[str]:
    """How many predicted pixels of each medium were kept, and how many each test removed."""
    lines = []
    for medium in provenance["media"]:
        record = medium["pseudo_labels"]
        if record is None:
            continue
        pixels = record["pixels"]
        lines.append(
            f"{medium['name']}: {pixels['kept']:,} of {pixels['predicted']:,} predicted pixels "
            f"kept; removed by probability {pixels['unsure']:,}, by flow "
            f"{pixels['against_flow']:,}, by attention {pixels['against_attention']:,}"
        )
    return lines
