from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
KILLS = int(os.environ.get("STT_KILLS", "25"))
"""At how many random moments each of the tests that kill a program does so."""


def pytest_configure() -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models: threads would only wait


@pytest.fixture(autouse=True)
def _own_places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, labels and logs go to a folder of this test, never to the person's own.

    What is only cached (compiled kernels, encoded frames) is shared by the tests of a run.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "home"
    own = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(own / name))
    if sys.platform == "win32":
        monkeypatch.setenv("LOCALAPPDATA", str(own))
        monkeypatch.setenv("APPDATA", str(own))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Development data that is not part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the development data ../shared/data is not here")
    return SHARED_DATA
