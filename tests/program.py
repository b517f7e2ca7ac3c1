"""The program as the tests of its commands run it: in a process of its own, or in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

from app.cli import main
from tests.conftest import ROOT


class Ran(NamedTuple):
    """What a run of the program left behind, apart from its files."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        """The last line of stdout, as strict JSON."""
        told = json.loads(self.out.splitlines()[-1], parse_constant=_refuse)
        assert isinstance(told, dict)
        return told


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def program(folder: Path, *words: object, code: str | None = None) -> Ran:
    """Run main.py, or Python `code` in its place, in a process whose logs go to `folder`."""
    started = [str(ROOT / "main.py")] if code is None else ["-c", code]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_STATE_HOME": str(folder / "state"),
        "LOCALAPPDATA": str(folder / "state"),
    }
    done = subprocess.run(
        [sys.executable, *started, *map(str, words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def call(capsys: pytest.CaptureFixture[str], *words: object) -> Ran:
    """The same in this process, where torch is loaded already."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    printed = capsys.readouterr()
    return Ran(code, printed.out, printed.err)
