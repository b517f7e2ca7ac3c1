"""The command that writes labels and pseudo-labels of a project for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.commands.common import Device, Json, done, say, usage, warn
from app.commands.progress import follow_counted

if TYPE_CHECKING:
    from stt_core.formats.renaming import RenamedClass
    from stt_core.media.source import MediaSource
    from stt_core.project.predictions.reader import PredictionReader
    from stt_core.pseudo.rule import PseudoLabelRule
    from stt_core.pseudo.sources import AttentionMass
    from stt_core.workflow.export_parts import Attend

_THRESHOLD = 0.9


def export(
    project: Annotated[Path, typer.Argument(help="The project's folder.")],
    *,
    format_: Annotated[str, typer.Option("--format", help="As docs/formats.md lists them.")],
    out: Annotated[Path, typer.Option(help="A new folder; of cvat, hdf5 and npz a new file.")],
    source: Annotated[
        Literal["labels", "predictions", "both"],
        typer.Option(help="Whose word counts; with both, labels win."),
    ] = "both",
    media: Annotated[
        str | None, typer.Option(help="A medium's id or name; all media by default.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Whose predictions: a model, or the start of its hash. Last used."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least probability that is believed; default 0.9."),
    ] = None,
    class_threshold: Annotated[
        list[str] | None, typer.Option(help="NAME=P, for one class. Repeatable.")
    ] = None,
    top_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Believe this share of each class, the surest."),
    ] = None,
    flow_check: Annotated[
        bool, typer.Option("--flow-check", help="Neighbours in time must agree, along the motion.")
    ] = False,
    attention_check: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least share of attention on keys of the same class."),
    ] = None,
    only: Annotated[
        Literal["checked", "locked"] | None,
        typer.Option(help="Frames of this review state alone; locked ones are checked, too."),
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="OURS=THEIRS,... or a JSON file: what classes are called there; THEIRS may be "
            "none. Repeatable.",
        ),
    ] = None,
    things: Annotated[
        list[str] | None,
        typer.Option(help="NAME,... of countable classes, or none. Known ones by default."),
    ] = None,
    images: Annotated[bool, typer.Option("--images", help="Write the images, too.")] = False,
    split: Annotated[str, typer.Option(help="What subset this is, where a format has any.")] = (
        "train"
    ),
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Export labels and pseudo-labels of a project. Everything appears at the end, or nothing."""
    from stt_core.workflow.export_parts import ExportChoice
    from stt_core.workflow.exporting import ExportRequest, export_project, export_target
    from stt_core.workflow.naming import parse_names, parse_things
    from stt_core.workflow.opening import chosen_media, open_to_read

    tests = (threshold, class_threshold or None, top_share, attention_check)
    if source == "labels" and (flow_check or any(test is not None for test in tests)):
        raise typer.BadParameter("thresholds and checks are for predictions, not --source labels")
    with usage():
        rule = _rule(threshold, class_threshold or (), top_share, flow_check, attention_check)
        names, countable = parse_names(map_ or ()), parse_things(things or ())
        export_target(format_, out)
        _check_split(split)
    with open_to_read(project) as opened:
        warn(opened.recovered)
        choice = ExportChoice(
            source=source,
            rule=rule,
            model=model,
            only=only,
            images=images,
            attend=None if attention_check is None else _attending(model, device),
        )
        request = ExportRequest(
            format=format_,
            target=out,
            media=chosen_media(opened, media),
            choice=choice,
            split=split,
            classes=names,
            things=None if things is None else countable,
        )
        steps = export_project(opened, request)
        exported = follow_counted(steps, "export")
        recovered = list(opened.recovered)
    report = exported.report
    warn([*exported.notes, *report.losses])
    say(f"{report.frames} frames written to {report.path}, {report.size / 1e6:.1f} MB")
    for line in [*_class_lines(exported.classes), *_pixel_lines(exported.provenance)]:
        say(line)
    facts = {
        "project": str(project),
        "format": format_,
        "frames": report.frames,
        "files": report.files,
        "bytes": report.size,
        "classes": [
            {"ours": row.ours, "theirs": row.theirs, "found_by": row.found_by}
            for row in exported.classes
        ],
        "losses": list(report.losses),
        "notes": list(exported.notes),
        "recovered": recovered,
        "provenance": exported.provenance,
        "outputs": {"export": str(report.path)},
    }
    done(as_json, {"command": "export", **facts})


def _rule(
    threshold: float | None,
    class_thresholds: Any,
    top_share: float | None,
    flow: bool,
    attention: float | None,
) -> PseudoLabelRule:
    from stt_core.pseudo.rule import AttentionTest, FlowTest, PseudoLabelRule, Threshold, TopShare
    from stt_core.workflow.naming import parse_shares

    by_class = parse_shares(class_thresholds)
    if top_share is not None and (threshold is not None or by_class):
        raise ValueError("--top-share goes without --threshold and --class-threshold")
    confidence: Threshold | TopShare
    if top_share is not None:
        confidence = TopShare(top_share)
    else:
        confidence = Threshold(_THRESHOLD if threshold is None else threshold, by_class)
    return PseudoLabelRule(
        confidence,
        FlowTest() if flow else None,
        None if attention is None else AttentionTest(attention),
    )


def _check_split(split: str) -> None:
    from stt_core.formats.exchange import is_plain_name

    if not is_plain_name(split):
        raise ValueError(f"--split must be the name of a folder, got {split!r}")


def _attending(model: str | None, device: str) -> Attend:
    """Makes the attention test's source by running the model that predicted."""

    def attend(reader: PredictionReader, media: MediaSource) -> AttentionMass:
        from app.commands.common import load_model
        from stt_core.errors import CheckpointError
        from stt_core.formats.model_file import bundled_models
        from stt_core.network import Network
        from stt_core.pseudo.attention import SameClassAttention

        manifest = reader.manifest
        names = [model] if model is not None else [*bundled_models()]
        loaded = (load_model(name) for name in names)
        checkpoint = next((c for c in loaded if c.sha256 == manifest.model_hash), None)
        if checkpoint is None:
            raise CheckpointError(
                "the attention test runs the model that made the predictions of "
                f"{media.path.name}, whose file has the SHA-256 {manifest.model_hash[:12]}...: say "
                "where it is with --model"
            )
        settings: Any = manifest.settings
        network = Network(
            checkpoint,
            device=device,
            precision=settings["precision"],
            key_frames=settings["key_frames"],
        )
        return SameClassAttention(network, checkpoint, media, cuts=settings["cuts"])

    return attend


def _class_lines(rows: Sequence[RenamedClass]) -> list[str]:
    """What classes became, as a table like that of import-labels."""
    if not rows:
        return []
    lines = [f"{'ours':24}  {'theirs':24}  found by"]
    for row in rows:
        theirs, by = row.theirs or "left out", row.found_by or "-"
        lines.append(f"{row.ours:24}  {theirs:24}  {by}")
    return lines


def _pixel_lines(provenance: dict[str, Any]) -> list[str]:
    """What became of predicted pixels."""
    lines = []
    for medium in provenance["media"]:
        if medium["pseudo_labels"] is None:
            continue
        pixels = medium["pseudo_labels"]["pixels"]
        lines.append(
            f"{medium['name']}: of {pixels['predicted']} predicted pixels {pixels['kept']} were "
            f"kept; removed were {pixels['unsure']} by probability, {pixels['against_flow']} by "
            f"flow, {pixels['against_attention']} by attention"
        )
    return lines
