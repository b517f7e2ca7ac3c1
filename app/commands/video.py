"""The command that makes videos to show: an overlay, or several side by side under titles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.commands.common import Json, done, say, usage, warn
from app.commands.progress import follow_counted

if TYPE_CHECKING:
    from stt_core.labels import LabelClass
    from stt_core.workflow.panels import Shown


def video(
    source: Annotated[Path, typer.Argument(help="A project, or a video or folder of images.")],
    *,
    out: Annotated[Path, typer.Option(help="FILE.mp4, .mov, .mkv, .avi, .gif or .webp.")],
    panel: Annotated[
        list[str] | None,
        typer.Option(
            help="TITLE=WHAT or WHAT: image, labels, predictions, a model, or a folder of maps. "
            "Repeatable, row by row."
        ),
    ] = None,
    media: Annotated[
        str | None, typer.Option(help="A medium's id or name, where a project has several.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Of folders that do not tell: a JSON file, a model, a list.")
    ] = None,
    void_id: Annotated[
        list[int] | None,
        typer.Option(min=0, max=255, help="An id that says nothing in folders. Repeatable."),
    ] = None,
    match: Annotated[
        Literal["name", "number", "from-0", "from-1"] | None,
        typer.Option(help="Of folders: what their names mean; found out by default."),
    ] = None,
    range_: Annotated[
        str, typer.Option("--range", help="A:B[:STEP], half-open, ends optional.")
    ] = ":",
    columns: Annotated[int | None, typer.Option(min=1, help="By default 4 panels are 2 x 2.")] = (
        None
    ),
    legend: Annotated[
        Literal["none", "below", "beside"], typer.Option(help="Where the classes are named.")
    ] = "none",
    opacity: Annotated[float, typer.Option(min=0, max=1, help="Of colours over images.")] = 0.5,
    number: Annotated[bool, typer.Option("--number", help="Show each frame's number.")] = False,
    time: Annotated[bool, typer.Option("--time", help="Show its time.")] = False,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=240, help="In place of the medium's own.")
    ] = None,
    max_side: Annotated[
        int | None, typer.Option(min=16, max=8192, help="Most pixels of a side.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a video of label maps over the images: one, side by side, or two by two."""
    from stt_core.pictures.video import VideoLook, write_video
    from stt_core.workflow.naming import parse_frames
    from stt_core.workflow.panels import default_panel, make_panel

    with _opened(source, media, classes, panel or ()) as opened:
        shown = replace(opened, void_ids=frozenset(void_id or ()), rule=match)
        warn(shown.media.warnings)
        words = list(panel or ())
        if not words:
            if shown.project is None or shown.entry is None:
                raise typer.BadParameter("say what to show with --panel: a folder of maps")
            words = [default_panel(shown.project, shown.entry)]
        made = [make_panel(shown, word, opacity) for word in words]
        with usage():
            frames = parse_frames(range_, len(shown.media))
            look = VideoLook(
                columns=columns,
                legend=legend,
                number=number,
                time=time,
                fps=fps,
                max_side=max_side,
            )
        panels = [each for each, _ in made]
        _make_room(out, shown)
        steps = write_video(out, shown.media, panels, shown.classes, frames, look)
        written = follow_counted(steps, "video")
    notes = [note for _, told in made for note in told]  # some are told by the maps
    warn(notes)
    width, height = written.size
    say(f"{written.pictures} pictures of {width} x {height} written to {out}")
    facts = {
        "panels": [each.title for each in panels],
        "frames": len(frames),
        "pictures": written.pictures,
        "size": [width, height],
        "seconds": round(written.seconds, 3),
        "legend": [shown.classes[i].name for i in written.shown],
        "notes": notes,
        "recovered": [] if shown.project is None else list(shown.project.recovered),
        "outputs": {"video": str(out)},
    }
    done(as_json, {"command": "video", **facts})


def _make_room(out: Path, shown: Shown) -> None:
    """Make the folder that a video goes to, unless its name or place will be refused."""
    from stt_core.files import writing
    from stt_core.pictures.animation import ANIMATED_SUFFIXES
    from stt_core.pictures.video import VIDEO_SUFFIXES
    from stt_core.workflow.exporting import refuse_own_folders

    if shown.project is not None:
        refuse_own_folders(shown.project, out)
    if out.suffix.lower() in (*VIDEO_SUFFIXES, *ANIMATED_SUFFIXES):
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def _opened(source: Path, media: str | None, classes: str | None, panels: Any) -> Iterator[Shown]:
    """The medium with its classes, and the project it is in."""
    from stt_core.media.source import open_media
    from stt_core.project.manifest import NAME
    from stt_core.workflow.naming import find_classes
    from stt_core.workflow.opening import only_medium, open_to_read, present_path
    from stt_core.workflow.panels import Shown

    with ExitStack() as stack:
        if (source / NAME).exists():
            project = stack.enter_context(open_to_read(source))
            warn(project.recovered)
            entry = only_medium(project, media)
            opened = stack.enter_context(open_media(present_path(project, entry)))
            yield Shown(opened, project.classes, project, entry)
            return
        if media is not None:
            raise typer.BadParameter("--media chooses in a project, and this is none")
        opened = stack.enter_context(open_media(source))
        table = _told_classes(panels) if classes is None else find_classes(classes)
        yield Shown(opened, table)


def _told_classes(panels: Any) -> tuple[LabelClass, ...]:
    """The classes of the first folder that tells its own."""
    from stt_core.workflow.panels import folder_classes, split_title

    folders = [Path(what) for _, what in map(split_title, panels) if Path(what).is_dir()]
    told = (folder_classes(folder) for folder in folders)
    found = next((table for table in told if table), None)
    if found is None and folders:
        raise typer.BadParameter(f"{folders[0]} does not tell its classes: say them with --classes")
    return found or ()
