"""What the record beside an export tells of its frames: what they were called, and of what medium.

provenance.json has `media`, of which each is `called` something in the names of files, and
`frames`, of files whose names do not say what they are of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stt_core.formats.class_files import PROVENANCE_FILE
from stt_core.formats.exchange import FrameOrigin, ReadFrame, ReadMedium, ReadSet, number_in
from stt_core.formats.untrusted import Limits, is_there, malformed, read_json


def origin_rows(origins: Mapping[str, FrameOrigin]) -> dict[str, object]:
    """`frames` of the record, by the names of files."""
    return {
        file: {"name": origin.name, **({"medium": origin.medium} if origin.medium else {})}
        for file, origin in origins.items()
    }


def with_origins(found: ReadSet, path: Path, limits: Limits) -> ReadSet:
    """The set with names and media of its frames as the record in a folder tells them.

    Args:
        found: as its files alone tell it.
        path: where it was read; a record that is not ours says nothing.
        limits: of the record.

    Raises:
        FormatError: the record is ours and damaged.
    """
    if not path.is_dir() or not is_there(path, PROVENANCE_FILE):
        return found
    told = read_json(path / PROVENANCE_FILE, limits)
    with malformed(path / PROVENANCE_FILE, "the record of an export"):
        media = _media(told.get("media"))
        origins = _origins(told.get("frames"))
    if not media and not origins:
        return found
    frames = [_with_origin(frame, origins, media) for frame in found.frames]
    return replace(found, frames=frames, media=media or found.media)


def _media(rows: Any) -> tuple[ReadMedium, ...]:
    """Of several; none where there is one, whose frames need no telling apart."""
    if not isinstance(rows, list):
        return ()
    return tuple(
        ReadMedium(str(row["called"]), str(row.get("name", "")), str(row.get("hash", "")))
        for row in rows
        if isinstance(row, dict) and row.get("called")
    )


def _origins(rows: Any) -> dict[str, FrameOrigin]:
    if not isinstance(rows, dict):
        return {}
    return {
        str(file): FrameOrigin(str(row["name"]), str(row.get("medium", "")))
        for file, row in rows.items()
    }


def _with_origin(
    frame: ReadFrame, origins: Mapping[str, FrameOrigin], media: Sequence[ReadMedium]
) -> ReadFrame:
    origin = origins.get(frame.name)
    if origin is not None:
        return replace(frame, name=origin.name, medium=origin.medium)
    if frame.medium:
        return frame
    for medium in media:
        start = f"{medium.name}_"
        if frame.name.startswith(start):
            name = frame.name.removeprefix(start)
            return replace(frame, name=name, medium=medium.name, index=_index(frame, name))
    return frame


def _index(frame: ReadFrame, name: str) -> int | None:
    return number_in(name) if frame.index is None else frame.index
