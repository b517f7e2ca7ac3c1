"""Commands on a project: make it, fill it, look into it, check it, and find its media again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.commands.common import Json, done, follow, note, say, usage, warn
from stt_core.resources import SAMPLE_CLASSES

if TYPE_CHECKING:
    from stt_core.project.manifest import MediaEntry
    from stt_core.project.store import Project
    from stt_core.workflow.importing import ImportPlan

Dir = Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder.")]
Medium = Annotated[
    str | None, typer.Option(help="A medium's id or name, where the project has several.")
]
_LEFT = 1

project_app = typer.Typer(help="Make a project, fill it, look into it and check it.")


@project_app.command("new")
def new(
    folder: Dir,
    media: Annotated[
        list[Path] | None, typer.Argument(help="Videos and folders of images.")
    ] = None,
    *,
    classes: Annotated[
        str, typer.Option(help="A JSON file, a model, or a shipped list's name.")
    ] = Path(SAMPLE_CLASSES).stem,
    as_json: Json = False,
) -> None:
    """Make a project in a folder that is none yet."""
    from stt_core.media.source import open_media
    from stt_core.project.store import Project
    from stt_core.workflow.naming import find_classes

    table = find_classes(classes)
    for path in media or ():
        open_media(path).close()  # rather refused now than with half of a project made
    with Project.create(folder, table, media or ()) as project:
        added = project.media
    say(f"{folder} is a project with {len(table)} classes and {_count(len(added), 'medium')}")
    told = {"project": str(folder), "classes": [c.name for c in table]}
    done(as_json, {"command": "project new", **told, "media": _media_facts(added)})


@project_app.command("add")
def add(
    folder: Dir,
    media: Annotated[list[Path], typer.Argument(help="Videos and folders of images.")],
    *,
    as_json: Json = False,
) -> None:
    """Add media to a project. They stay where they are."""
    with _open_to_write(folder) as project:
        added = [project.add_media(path) for path in media]
    say("\n".join(_medium_line(entry) for entry in added))
    facts = {"project": str(folder), "media": _media_facts(added)}
    done(as_json, {"command": "project add", **facts})


@project_app.command("info")
def info(folder: Dir, *, as_json: Json = False) -> None:
    """Say what is in a project, also while it is open elsewhere."""
    from stt_core.workflow.inspecting import project_facts
    from stt_core.workflow.opening import open_to_read

    with open_to_read(folder) as project:
        facts = project_facts(project)
        warn(project.recovered)
    say("\n".join(_info_lines(facts)))
    done(as_json, {"command": "project info", **facts})


@project_app.command("check")
def check(
    folder: Dir,
    *,
    repair: Annotated[
        bool, typer.Option("--repair/--no-repair", help="Put right what can be.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Verify everything down to the last byte. Ends with 1 where something stays wrong."""
    from stt_core.workflow.inspecting import check_all
    from stt_core.workflow.opening import open_to_read

    with _open_to_write(folder) if repair else open_to_read(folder) as project:
        told = len(project.recovered)
        found = list(check_all(project, repair=repair))
        recovered = project.recovered
    left = [finding for finding in found if not finding.done]
    warn(recovered[told:])
    say("\n".join(map(str, found)) or f"{folder} is sound")
    facts: dict[str, Any] = {
        "project": str(folder),
        "findings": [{"what": finding.what, "done": finding.done} for finding in found],
        "recovered": list(recovered),
        "left": len(left),
    }
    done(as_json, {"command": "project check", **facts})
    if left:
        raise typer.Exit(_LEFT)


@project_app.command("import-labels")
def import_labels(
    folder: Dir,
    source: Annotated[Path, typer.Argument(help="A folder, zip or file of label maps.")],
    *,
    format_: Annotated[str, typer.Option("--format", help="As of export.")],
    media: Medium = None,
    as_: Annotated[
        Literal["labels", "predictions"],
        typer.Option("--as", help="Labels to edit, or predictions to compare with."),
    ] = "labels",
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", help="THEIRS=OURS, names or ids; OURS may be none. Repeatable."),
    ] = None,
    match: Annotated[
        Literal["name", "number", "from-0", "from-1"] | None,
        typer.Option(
            help="What the names of maps mean: the image's name, the number its name ends with, or "
            "a place counted from 0 or 1. Found out by default."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only shown.")] = False,
    as_json: Json = False,
) -> None:
    """Take label maps made elsewhere. Shows which class and frame each becomes; --yes does it."""
    from stt_core.formats.label_formats import read_labels
    from stt_core.workflow import importing
    from stt_core.workflow.opening import only_medium, open_to_read

    writes = yes and as_ == "labels"
    with _open_to_write(folder) if writes else open_to_read(folder) as project:
        entry = only_medium(project, media)
        with usage():
            found = read_labels(format_, source)
        steps = importing.plan_import(project, entry, found, source, format_, match)
        plan: ImportPlan = follow(steps, len(found.frames), "read")
        with usage():
            mapping = importing.with_choices(plan.mapping, map_ or (), project.classes)
        plan = plan.with_mapping(mapping)
        rows = importing.mapping_facts(plan.mapping, project.classes)
        warn(plan.notes)
        say("\n".join([*_mapping_lines(rows), _match_line(plan)]))
        if writes:
            importing.import_labels(project, plan)
        elif yes:
            storing = importing.import_predictions(project, plan)
            follow(storing, len(plan.match.frames), "store")
    if yes:
        say(f"imported as {as_}")
    else:
        note("nothing was changed: --yes does it")
    facts = {
        "project": str(folder),
        "media": entry.id,
        "as": as_,
        "mapping": rows,
        "frames": len(plan.match.frames),
        "by_name": plan.match.by("name"),
        "by_number": plan.match.by("number"),
        "unmatched": list(plan.match.unmatched),
        "labelled_before": plan.over,
        "applied": yes,
    }
    done(as_json, {"command": "project import-labels", **facts})


@project_app.command("relink")
def relink(
    folder: Dir,
    *,
    search: Annotated[
        Path | None, typer.Option(help="Look in this folder and all below it, by content.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="How the paths of missing media begin.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="How they begin now.")] = None,
    as_json: Json = False,
) -> None:
    """Find moved or renamed media again."""
    if (search is None) == (from_ is None) or (from_ is None) != (to is None):
        raise typer.BadParameter("say --search FOLDER, or --from PREFIX and --to PREFIX")
    with _open_to_write(folder) as project:
        if search is not None:
            if not search.is_dir():
                raise typer.BadParameter(f"--search: there is no folder {search}")
            results = project.relink_below(search)
        else:
            assert from_ is not None
            assert to is not None
            results = project.relink_prefix(from_, to)
        missing = [entry.id for entry in project.missing_media()]
    say("\n".join(result.message for result in results) or "no medium is missing")
    found = [
        {"id": r.media_id, "path": None if r.path is None else str(r.path), "message": r.message}
        for r in results
    ]
    facts = {"project": str(folder), "media": found, "missing": missing}
    done(as_json, {"command": "project relink", **facts})


@project_app.command("refresh")
def refresh(
    folder: Dir,
    *,
    media: Annotated[str, typer.Option(help="The medium's id or name.")],
    as_json: Json = False,
) -> None:
    """Take what lies in the place of a medium now as that medium. Labels stay with their frames."""
    from stt_core.workflow.opening import find_medium

    with _open_to_write(folder) as project:
        told = len(project.recovered)
        before = find_medium(project, media)
        entry = project.accept_media(before.id)
        warn(project.recovered[told:])
    changed = entry.hash != before.hash
    say(_medium_line(entry) if changed else f"{entry.name} is what it was")
    facts = {"project": str(folder), "media": _media_facts([entry])[0], "changed": changed}
    done(as_json, {"command": "project refresh", **facts})


@project_app.command("cache")
def cache(
    folder: Dir,
    *,
    budget: Annotated[
        str | None, typer.Option(help="What predictions may take: 20GB, 500MB; or default.")
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Delete all predictions that can be made again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what predictions and caches take, set what they may, or delete them."""
    from stt_core.workflow.opening import open_to_read

    limit = None if budget is None else _parse_bytes(budget)
    with open_to_read(folder) if budget is None else _open_to_write(folder) as project:
        before = project.predictions.bytes()
        if budget is not None:
            project.set_cache_bytes(limit)
            warn(project.predictions.keep_budget())
        else:
            warn(project.recovered)
        if clear:
            project.predictions.evict(0)
        held, may = project.predictions.bytes(), project.predictions.budget
    say(f"predictions and caches take {held / 1e6:.1f} MB of {may / 1e9:g} GB")
    if held < before:
        say(f"{(before - held) / 1e6:.1f} MB were deleted")
    facts = {"project": str(folder), "bytes": held, "budget": may, "freed": before - held}
    done(as_json, {"command": "project cache", **facts})


@project_app.command("compact")
def compact(
    folder: Dir,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False,
    as_json: Json = False,
) -> None:
    """Forget undo and where labels came from, to have a smaller project. Labels stay."""
    with _open_to_write(folder) as project:
        freed = project.compact() if yes else 0
    if yes:
        say(f"{freed / 1e6:.1f} MB were freed")
    else:
        note("nothing was changed: --yes forgets undo, redo and where labels came from")
    facts = {"project": str(folder), "freed": freed, "applied": yes}
    done(as_json, {"command": "project compact", **facts})


def _parse_bytes(text: str) -> int | None:
    if text == "default":
        return None
    units = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?b)", text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"'{text}' is not a size: say 20GB, 500MB, or default")
    return int(float(match[1]) * units[match[2]])


def _open_to_write(folder: Path) -> Project:
    """Open a project to change it, and tell what was recovered.

    Raises:
        ProjectError: it is none, or read-only.
    """
    from stt_core.errors import ProjectError
    from stt_core.project.store import Project

    project = Project.open(folder)
    warn(project.recovered)
    if project.read_only is not None:
        project.close()
        raise ProjectError(project.read_only)
    return project


def _count(number: int, what: str) -> str:
    plural = {"medium": "media", "class": "classes"}.get(what, f"{what}s")
    return f"{number} {what if number == 1 else plural}"


def _medium_line(entry: MediaEntry) -> str:
    size = f"{entry.width} x {entry.height}"
    return f"{entry.id}  {entry.name}: {_count(entry.frames, 'frame')} of {size}"


def _media_facts(media: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": entry.id,
            "name": entry.name,
            "kind": entry.kind,
            "frames": entry.frames,
            "size": [entry.width, entry.height],
        }
        for entry in media
    ]


def _info_lines(facts: Any) -> list[str]:
    names = {medium["id"]: medium["name"] for medium in facts["media"]}
    lines = [f"{facts['project']}: {_count(len(facts['classes']), 'class')}"]
    for medium in facts["media"]:
        where = medium["problem"] or medium["path"]
        size = "x".join(map(str, medium["size"]))
        review = "".join(f", {n} {state}" for state, n in medium["review"].items() if n)
        lines += [
            f"{medium['id']}  {medium['name']}  {_count(medium['frames'], 'frame')} of {size}, "
            f"{medium['labelled']} labelled{review}",
            f"              {where}",
        ]
    for each in facts["predictions"]:
        if each["model"] is None:
            lines.append(f"predictions of nobody knows what: {each['problem']}")
            continue
        of = names.get(each["media"], "no medium as it is now, so they are stale")
        state = (
            each["problem"] or f"{_count(each['frames'], 'frame')}, {each['bytes'] / 1e6:.1f} MB"
        )
        lines.append(f"predictions of {each['model']} for {of}: {state}")
    held, may = facts["cache_bytes"] / 1e6, facts["cache_budget"] / 1e9
    return [*lines, f"predictions and caches take {held:.1f} MB of {may:g} GB"]


def _mapping_lines(rows: list[dict[str, Any]]) -> list[str]:
    lines = [f"{'theirs':24}  {'ours':24}  {'found by':12}  pixels"]
    for row in rows:
        theirs = str(row["id"] if row["theirs"] is None else row["theirs"])
        ours, by = row["ours"] or "not labelled", row["found_by"] or "-"
        lines.append(f"{theirs:24}  {ours:24}  {by:12}  {row['pixels']}")
    return lines


def _match_line(plan: ImportPlan) -> str:
    match = plan.match
    line = (
        f"{_count(len(match.frames), 'map')} for {plan.entry.name}: {match.by('name')} matched by "
        f"name, {match.by('number')} by number ({', '.join(match.examples)})"
    )
    if match.unmatched:
        first = ", ".join(match.unmatched[:5])
        line += f"; {len(match.unmatched)} belong to no frame ({first})"
    if plan.over:
        line += f"; {_count(plan.over, 'frame')} had labels before"
    return line
