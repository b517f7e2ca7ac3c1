"""The command line: which commands there are, and how the program ends.

Exit codes: 0 done; 2 the input is at fault (one sentence on stderr); 1 we are (a sentence and a
log file). With --json the last line of stdout is one JSON object, also for errors.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.main import get_command

from app.commands.common import print_json
from app.commands.evaluate import evaluate
from app.commands.export import export
from app.commands.machine import bench, demo, doctor
from app.commands.media import inspect_pixel, open_window, sample, segment
from app.commands.models import attach, export_network, import_foreign
from app.commands.project import project_app
from app.commands.pseudo_label import pseudo_label
from app.commands.speed import speed
from app.commands.sweep import sweep
from app.commands.train import train
from app.commands.video import video
from app.failure import record_failure
from stt_core.errors import SttError

# What all complaints about arguments descend from: in click, or in the copy of it that newer
# versions of typer carry with them instead.
_UsageError: Any = typer.BadParameter.__mro__[1]
_INTERRUPTED = 130

app = typer.Typer(
    name="stt-studio",
    help="Watch, inspect and teach video semantic segmentation with a sparse temporal transformer.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command("open")(open_window)
app.add_typer(project_app, name="project")
app.command("segment")(segment)
app.command("inspect")(inspect_pixel)
app.command("sample")(sample)
app.command("export")(export)
app.command("video")(video)
app.command("train")(train)
app.command("pseudo-label")(pseudo_label)
app.command("evaluate")(evaluate)
app.command("sweep")(sweep)
app.command("speed")(speed)
app.command("import-checkpoint")(import_foreign)
app.command("attach")(attach)
app.command("export-onnx")(export_network)
app.command("bench")(bench)
app.command("doctor")(doctor)
app.command("demo")(demo)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these arguments and return its exit code."""
    words = _with_command(list(sys.argv[1:] if argv is None else argv))
    as_json = "--json" in words
    try:
        code = get_command(app).main(words, prog_name="stt-studio", standalone_mode=False)
        if code == _INTERRUPTED:  # what typer makes of Ctrl+C
            return _fail(as_json, "interrupted", code)
        return code if isinstance(code, int) else 0
    except _UsageError as error:
        return _fail(as_json, error.format_message(), 2)
    except SttError as error:
        return _fail(as_json, str(error), 2)
    except (typer.Abort, KeyboardInterrupt):
        return _fail(as_json, "interrupted", _INTERRUPTED)
    except Exception as error:  # the last fence: a sentence and a log, no traceback
        return _fail(as_json, record_failure(error), 1)


def _with_command(words: list[str]) -> list[str]:
    """Put `open` before bare paths."""
    known = {*get_command(app).commands, "--help"}  # type: ignore[attr-defined]
    return words if words and words[0] in known else ["open", *words]


def _fail(as_json: bool, sentence: str, code: int) -> int:
    print(f"stt-studio: {sentence}", file=sys.stderr)
    if as_json:
        print_json({"error": sentence, "exit_code": code})
    return code


if __name__ == "__main__":
    sys.exit(main())
