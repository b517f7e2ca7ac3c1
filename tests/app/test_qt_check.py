from __future__ import annotations

import pytest

from app.qt_check import check_qt, has_display, missing_library_sentence
from stt_core.errors import SttError


@pytest.mark.parametrize(
    ("error", "package"),
    [
        ("libEGL.so.1: cannot open shared object file: No such file or directory", "libegl1"),
        ("libxcb-cursor.so.0: cannot open shared object file: ...", "libxcb-cursor0"),
        ("libGL.so.1: cannot open shared object file", "libgl1"),
    ],
)
def test_a_missing_library_is_told_with_its_apt_line(error: str, package: str) -> None:
    said = missing_library_sentence(error)
    assert f"sudo apt-get install {package}" in said
    assert error.partition(":")[0] in said


def test_a_library_we_do_not_know_is_named_all_the_same() -> None:
    assert "libnew.so.7 is missing" in missing_library_sentence("libnew.so.7: cannot open")
    assert "who knows" in missing_library_sentence("who knows")


def test_offscreen_needs_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    check_qt()  # raises where the window could not be shown
    assert has_display()


@pytest.mark.skipif("sys.platform != 'linux'", reason="other systems always have a display")
def test_no_display_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_display()
    with pytest.raises(SttError, match="there is no display here"):
        check_qt()


def test_opencvs_plugin_folder_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.setenv("QT_QPA_PLATFORM_PLUGIN_PATH", "/somewhere/cv2/qt/plugins")
    check_qt()
    assert "QT_QPA_PLATFORM_PLUGIN_PATH" not in os.environ
