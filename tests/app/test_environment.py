from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, Signal

_ROOT = Path(__file__).resolve().parents[2]


class _Sender(QObject):
    sent = Signal()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="bool is immortal from 3.12 on")
def test_emitting_keeps_references() -> None:
    """PySide6 6.12.0 drops one reference to True per emit and aborts after some hundreds."""
    sender = _Sender()
    before = sys.getrefcount(True)
    for _ in range(100):
        sender.sent.emit()
    assert abs(sys.getrefcount(True) - before) < 50


def test_the_window_is_imported_without_torch() -> None:
    code = "import sys, app.window, app.startup, app.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=_ROOT, check=False).returncode == 0
