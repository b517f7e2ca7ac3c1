"""Commands about this machine: how fast it is, what is installed, and the demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.commands.common import Json, done, note, say


def bench(
    *,
    group: Annotated[
        list[str] | None, typer.Option(help="Only this group; may be given several times.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for bench.json.")] = Path("bench-output"),
    as_json: Json = False,
) -> None:
    """Measure this machine: the project's own benchmark."""
    from app.bench import GROUPS, run_bench, table

    unknown = sorted(set(group or ()) - set(GROUPS))
    if unknown:
        raise typer.BadParameter(f"no group {unknown[0]}; there are {', '.join(GROUPS)}")
    rows = run_bench(tuple(group or GROUPS), out, note)
    say(table(rows))
    done(as_json, {"command": "bench", "rows": rows, "outputs": {"bench": str(out / "bench.json")}})


def doctor(*, as_json: Json = False) -> None:
    """Say what is installed, which devices there are, and what is missing."""
    from app.doctor import examine

    facts, sentences = examine()
    say("\n".join(sentences))
    done(as_json, {"command": "doctor", **facts})


def demo(
    *,
    out: Annotated[Path, typer.Option(help="Where results go without a display.")] = Path(
        "demo-output"
    ),
    headless: Annotated[
        bool, typer.Option("--headless", help="Write files even where there is a display.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Segment the bundled clip and show it, with an inspection open."""
    from app.demo import write_demo
    from app.qt_check import has_display
    from app.startup import demo_wanted, run_window

    if has_display() and not headless:
        code = run_window(demo_wanted())
        done(as_json, {"command": "demo"})
        raise typer.Exit(code)
    if not headless:
        say(f"There is no display here, so the demonstration is written to {out} instead.")
    report = write_demo(out, note)
    say("\n".join(report["outputs"].values()))
    done(as_json, {"command": "demo", **report})
