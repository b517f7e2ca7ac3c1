"""Whether Qt can start here, told in a sentence instead of Qt's abort."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
from pathlib import Path

from stt_core.errors import SttError

_PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libOpenGL.so.0": "libopengl0",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libX11-xcb.so.1": "libx11-xcb1",
}
_HEADLESS = {"offscreen", "minimal", "vnc"}


def check_qt() -> None:
    """See that Qt's libraries load and that there is a display.

    Raises:
        SttError: naming what is missing, with the command that installs it.
    """
    # opencv-python's wheels point Qt at a plugin folder of their own
    os.environ.pop("QT_QPA_PLATFORM_PLUGIN_PATH", None)
    try:
        importlib.import_module("PySide6.QtGui")
        importlib.import_module("PySide6.QtSvg")
        if has_display() and _platform() in ("", "xcb") and sys.platform.startswith("linux"):
            _load_xcb()
    except (ImportError, OSError) as error:
        raise SttError(missing_library_sentence(str(error))) from error
    if not has_display():
        raise SttError(
            "there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set): the window "
            "needs one. The commands segment, inspect and demo --headless work without."
        )


def has_display() -> bool:
    """Whether a window can be shown, or Qt was told to do without."""
    if not sys.platform.startswith("linux") or _platform() in _HEADLESS:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def missing_library_sentence(error: str) -> str:
    """What to install, from the loader's message."""
    found = re.search(r"(lib[\w.+-]+\.so[.\d]*)", error)
    if found is None:
        return f"Qt cannot start: {error}"
    library = found.group(1)
    if library not in _PACKAGES:
        return f"Qt cannot start: the system library {library} is missing. Install it first."
    # the loader names one at a time; name all that the same plugin needs
    others = [name for name in _PACKAGES if name.startswith("libxcb-") and not _loads(name)]
    missing = dict.fromkeys([library, *(others if "xcb" in library else [])])
    packages = " ".join(_PACKAGES[name] for name in missing)
    what = "libraries are" if len(missing) > 1 else "library is"
    return (
        f"Qt cannot start: the system {what} missing: {', '.join(missing)}. Install with: "
        f"sudo apt-get install {packages}"
    )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _platform() -> str:
    return os.environ.get("QT_QPA_PLATFORM", "").partition(":")[0]


def _load_xcb() -> None:
    """Load the plugin as Qt will, whose own answer to a missing library is to abort."""
    spec = importlib.util.find_spec("PySide6")
    if spec is None or spec.origin is None or os.environ.get("WAYLAND_DISPLAY"):
        return
    plugin = Path(spec.origin).parent / "Qt" / "plugins" / "platforms" / "libqxcb.so"
    if plugin.exists():
        ctypes.CDLL(str(plugin))
