"""Commands on one medium: open it, segment it, inspect a pixel; and make one up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.commands.common import (
    Cuts,
    Device,
    Json,
    KeyFrames,
    Model,
    Precision,
    done,
    follow,
    load_network,
    parse_pixel,
    parse_size,
    say,
    usage,
    warn,
)
from stt_core.resources import SAMPLE_CLASSES, SAMPLE_MODEL, resource_path

if TYPE_CHECKING:
    from stt_core.media.source import MediaSource
    from stt_core.network import Network
    from stt_core.project.prediction_folders import PredictionFolders


def open_window(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="A video or image folder, and a model.")
    ] = None,
    *,
    model: Model = SAMPLE_MODEL,
    device: Device = "auto",
    frame: Annotated[int, typer.Option(min=0, help="Frame to show first.")] = 0,
    inspect: Annotated[str | None, typer.Option(help="X,Y: inspect this pixel at once.")] = None,
    as_json: Json = False,
) -> None:
    """Open the window. Bare paths without a command mean this too."""
    from app.startup import Wanted, run_window

    pixel = None if inspect is None else parse_pixel(inspect)
    wanted = Wanted(
        paths=tuple(paths or ()), model=model, device=device, frame=frame, inspect=pixel
    )
    code = run_window(wanted)
    done(as_json, {"command": "open"})
    raise typer.Exit(code)


def segment(
    media: Annotated[
        Path | None, typer.Argument(help="A video file or a folder of images.")
    ] = None,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Folder for labels/, overlay.mp4, run.json.")
    ] = None,
    project: Annotated[
        Path | None, typer.Option(help="Predict a medium of this project, into it.")
    ] = None,
    of: Annotated[
        str | None, typer.Option("--media", help="Its id or name, where there are several.")
    ] = None,
    model: Model = SAMPLE_MODEL,
    range_: Annotated[
        str, typer.Option("--range", help="A:B[:STEP], half-open, ends optional.")
    ] = ":",
    device: Device = "auto",
    key_frames: KeyFrames = None,
    precision: Precision = "auto",
    cuts: Cuts = True,
    overlay: Annotated[bool, typer.Option("--overlay", help="Write overlay.mp4 too.")] = False,
    save: Annotated[
        Literal["labels", "color", "both"], typer.Option(help="Which maps to write.")
    ] = "labels",
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Of all classes, kept in a project too.")
    ] = False,
    features: Annotated[
        bool, typer.Option("--features", help="What frames are compared by, kept too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Segment a video: 8-bit label maps named by frame number, and an overlay video.

    With --project, into the prediction store of a project; it goes on where it stopped.
    """
    load = partial(load_network, model, device, precision, key_frames)
    if project is not None:
        if media is not None or out is not None or overlay or save != "labels":
            raise typer.BadParameter(
                "with --project the medium is chosen by --media; MEDIA, --out, --overlay and "
                "--save are for segmenting without one"
            )
        kept = {"probabilities": probabilities, "features": features}
        told = _segment_into(project, of, range_, load, {"cuts": cuts, **kept})
    else:
        if of is not None or probabilities or features:
            raise typer.BadParameter("--media, --probabilities and --features go with --project")
        if media is None:
            raise typer.BadParameter("Missing argument 'MEDIA'")
        if out is None:
            raise typer.BadParameter("Missing option '--out'")
        told = _segment_to(out, media, range_, load, cuts=cuts, overlay=overlay, save=save)
    done(as_json, {"command": "segment", **told})


def inspect_pixel(
    media: Annotated[Path, typer.Argument(help="A video file or a folder of images.")],
    *,
    frame: Annotated[int, typer.Option(min=0, help="0-based, in presentation order.")],
    xy: Annotated[str, typer.Option(help="X,Y: pixel of the displayed image.")],
    out: Annotated[Path, typer.Option(help="FILE.png, .svg, .json or .npz.")],
    model: Model = SAMPLE_MODEL,
    head: Annotated[str, typer.Option(help="mean, all, or a head's number from 1.")] = "mean",
    force: Annotated[
        bool, typer.Option("--force", help="Attend even where selection did not.")
    ] = False,
    device: Device = "auto",
    key_frames: KeyFrames = None,
    precision: Precision = "auto",
    cuts: Cuts = True,
    as_json: Json = False,
) -> None:
    """Show where one pixel looked in the past: the figure, or its numbers."""
    from stt_core.engine import Engine
    from stt_core.media.source import open_media
    from stt_core.pictures.attention import SUFFIXES, inspection_json, write_inspection

    if out.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"--out ends in one of {', '.join(SUFFIXES)}, got {out.name}")
    x, y = parse_pixel(xy)
    with open_media(media) as source:
        warn(source.warnings)
        warnings = list(source.warnings)
        with usage():
            _check_place(source, frame, x, y)
        network = load_network(model, device, precision, key_frames)
        look = Engine(network, source, cuts=cuts).look_back(frame, x, y, force=force)
        warn(network.notes)
        with usage():
            chosen = _head(head, look.weights.shape[0])
        classes = network.header.classes
        write_inspection(out, look, source[frame], classes, head=chosen)
    state = "forced" if look.forced else "selected" if look.selected else "not selected"
    say(f"pixel ({x}, {y}) of frame {frame}: {state}; written to {out}")
    told = {**inspection_json(look, classes), "head": head, "warnings": warnings}
    done(as_json, {"command": "inspect", **told, "outputs": {"figure": str(out)}})


def sample(
    *,
    out: Annotated[Path, typer.Option(help="Folder for clip.mp4, labels/ and flow/.")],
    frames: Annotated[int, typer.Option(min=1, help="How many.")] = 60,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT.")] = "480x360",
    seed: Annotated[int, typer.Option(min=0, help="Which street.")] = 0,
    as_json: Json = False,
) -> None:
    """Render a generated street drive with exact labels and exact optical flow."""
    from stt_core.labels import read_classes
    from stt_core.sampling import write_sample
    from stt_core.scenes.scene import Scene

    scene = Scene(seed, parse_size(size))
    classes = read_classes(resource_path(SAMPLE_CLASSES))
    follow(write_sample(scene, frames, out, classes), frames, "sample")
    outputs = {"clip": out / "clip.mp4", "labels": out / "labels", "flow": out / "flow"}
    say(f"{frames} frames written to {out}")
    facts = {"frames": frames, "size": list(scene.size), "seed": seed, "fps": scene.fps}
    told = {name: str(path) for name, path in outputs.items()}
    done(as_json, {"command": "sample", **facts, "outputs": told})


def _segment_to(
    out: Path,
    media: Path,
    range_: str,
    load: Callable[[], Network],
    *,
    cuts: bool,
    overlay: bool,
    save: Literal["labels", "color", "both"],
) -> dict[str, Any]:
    """Segment a medium into a folder; return what to tell."""
    from stt_core.media.source import open_media
    from stt_core.segmenting import SegmentOptions, segment_media
    from stt_core.workflow.naming import parse_frames

    with open_media(media) as source:
        warn(source.warnings)
        with usage():
            frames = parse_frames(range_, len(source))
        network = load()
        options = SegmentOptions(frames=frames, overlay=overlay, save=save, cuts=cuts)
        steps = segment_media(network, source, out, options)
        report = follow(steps, len(frames), "segment")
    warn(network.notes)
    files = {
        "run": out / "run.json",
        **({"labels": out / "labels"} if save != "color" else {}),
        **({"color": out / "color"} if save != "labels" else {}),
        **({"overlay": out / "overlay.mp4"} if overlay else {}),
    }
    outputs = {name: str(path) for name, path in files.items()}
    say(f"{report['frames']} frames written to {out} ({report['fps']['total']} fps)")
    return {**report, "outputs": outputs}


def _segment_into(
    project: Path,
    wanted: str | None,
    range_: str,
    load: Callable[[], Network],
    options: dict[str, bool],
) -> dict[str, Any]:
    """Predict one medium of a project, or all, into its store; return what to tell."""
    from stt_core.workflow.opening import chosen_media, open_to_read, present_path

    with open_to_read(project) as opened:
        media = [(e, present_path(opened, e)) for e in chosen_media(opened, wanted)]
        folders, recovered = opened.predictions, opened.recovered
    warn(recovered)
    told = []
    for entry, path in media:
        # a network anew: the first image of each medium decides on its precision
        facts = _predict(load(), path, folders, range_, options)
        say(f"{entry.name}: {facts['computed']} frames predicted, {facts['kept']} were there")
        told.append({"id": entry.id, "name": entry.name, **facts})
    return {"project": str(project), "media": told, "recovered": list(recovered)}


def _predict(
    network: Network,
    path: Path,
    folders: PredictionFolders,
    range_: str,
    options: dict[str, bool],
) -> dict[str, Any]:
    from stt_core.media.source import open_media
    from stt_core.workflow.naming import parse_frames
    from stt_core.workflow.prediction_pass import PassOptions, predict_media

    with open_media(path) as source:
        warn(source.warnings)
        with usage():
            frames = parse_frames(range_, len(source))
        steps = predict_media(network, source, folders, PassOptions(frames=frames, **options))
        report = follow(steps, len(frames), "segment", place=lambda step: step.done)
        warnings = [*source.warnings, *network.notes, *report.notes]
    warn([*network.notes, *report.notes])
    return {
        "frames": len(frames),
        "computed": report.computed,
        "kept": len(frames) - report.computed,
        "seconds": round(report.seconds, 3),
        "model": report.manifest.model_hash,
        "settings": report.manifest.settings,
        "warnings": warnings,
        "outputs": {"predictions": str(report.folder)},
    }


def _check_place(source: MediaSource, frame: int, x: int, y: int) -> None:
    source.time_of(frame)  # raises IndexError
    if x >= source.width or y >= source.height:
        size = f"{source.width}x{source.height}"
        raise IndexError(f"pixel ({x}, {y}) lies outside the {size} image")


def _head(text: str, heads: int) -> int | None:
    if text in ("mean", "all"):
        return None
    if not text.isdecimal() or not 1 <= int(text) <= heads:
        raise ValueError(f"--head is mean, all, or 1 to {heads}, got {text}")
    return int(text) - 1
