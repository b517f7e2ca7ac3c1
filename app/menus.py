"""The menus of the window, and the shortcut sheet that is made of the same table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMainWindow


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a menu."""

    text: str
    """Ending in ... where a dialog follows; empty for a separator."""
    act: str = ""
    """Name of what it does, in the mapping given to :func:`build_menus`."""
    keys: tuple[str, ...] = ()
    value: int | str | None = None
    """Given to the act."""
    hidden: bool = False
    """A shortcut only, shown in the sheet."""


_SEPARATOR = Entry("")

MENUS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "&File",
        (
            Entry("Open &video...", "open_video", ("Ctrl+O",)),
            Entry("Open &image folder...", "open_folder", ("Ctrl+Shift+O",)),
            Entry("Open &project...", "open_project", ("Ctrl+P",)),
            Entry("Open &model...", "open_model", ("Ctrl+M",)),
            Entry("Open the &sample", "open_sample"),
            _SEPARATOR,
            Entry("Ma&ke video...", "make_video", ("Ctrl+Shift+E",)),
            _SEPARATOR,
            Entry("&Quit", "quit", ("Ctrl+Q",)),
        ),
    ),
    (
        "Pro&ject",
        (
            Entry("Save project &as...", "save_as", ("Ctrl+Shift+S",)),
            _SEPARATOR,
            Entry("Add &videos...", "add_videos"),
            Entry("Add an image &folder...", "add_folder"),
            Entry("&Search a folder for missing media...", "search_media"),
            _SEPARATOR,
            Entry("&Import labels...", "import_labels", ("Ctrl+I",)),
            Entry("&Export labels...", "export", ("Ctrl+E",)),
        ),
    ),
    (
        "&Edit",
        (
            Entry("&Undo", "undo", ("Ctrl+Z",)),
            Entry("&Redo", "redo", ("Ctrl+Shift+Z", "Ctrl+Y")),
        ),
    ),
    (
        "&View",
        (
            Entry("&Labels over the picture", "toggle_overlay", ("H",)),
            Entry("Selected &queries (veil)", "toggle_veil", ("S",)),
            Entry("&Neighbouring similarity", "toggle_need", ("Shift+S",)),
            Entry("Overlay weaker", "opacity", ("-",), -10, hidden=True),
            Entry("Overlay stronger", "opacity", ("=", "+"), 10, hidden=True),
            Entry("&Fit to window", "fit", ("Ctrl+F",)),
        ),
    ),
    (
        "&Go",
        (
            Entry("&Play or pause", "play", ("Space",)),
            Entry("&Next frame", "step", ("Right",), 1),
            Entry("&Previous frame", "step", ("Left",), -1),
            Entry("10 frames on", "step", ("Shift+Right",), 10),
            Entry("10 frames back", "step", ("Shift+Left",), -10),
            Entry("100 frames on", "step", ("Ctrl+Shift+Right",), 100),
            Entry("100 frames back", "step", ("Ctrl+Shift+Left",), -100),
            Entry("&First frame", "first", ("Home",)),
            Entry("&Last frame", "last", ("End",)),
            Entry("&Go to frame...", "go_to", ("Ctrl+G", "Ctrl+J")),
            _SEPARATOR,
            Entry("Next &bookmark", "go_to_bookmark", ("Shift+M",), 1),
            Entry("Previous b&ookmark", "go_to_bookmark", ("Alt+M",), -1),
        ),
    ),
    (
        "&Inspect",
        (
            Entry("&Inspect a pixel", "tool_inspect", ("Q",)),
            Entry("Inspect here &anyway", "force", ("Shift+Q",)),
            Entry("&Close the inspection", "stop_inspecting", ("Esc",)),
            _SEPARATOR,
            Entry("&Mean of all heads", "head", ("Ctrl+0",), 0),
            *(Entry(f"Head {i}", "head", (f"Ctrl+{i}",), i) for i in range(1, 9)),
        ),
    ),
    (
        "&Label",
        (
            Entry("&Brush", "tool_brush", ("B",)),
            Entry("&Eraser", "tool_eraser", ("E",)),
            Entry("Smaller brush", "brush", ("[", ","), -1, hidden=True),
            Entry("Larger brush", "brush", ("]", "."), 1, hidden=True),
            *(Entry(f"Class {i}", "label_class", (f"{i}",), i, hidden=True) for i in range(1, 10)),
            Entry("Void", "label_class", ("0",), 0, hidden=True),
        ),
    ),
    (
        "&Review",
        (
            Entry("&Bookmark this frame", "toggle_bookmark", ("M",)),
            _SEPARATOR,
            Entry("&To do", "review", ("Alt+1",), "todo"),
            Entry("&Draft", "review", ("Alt+2",), "draft"),
            Entry("&Checked", "review", ("Alt+3",), "checked"),
            Entry("&Locked", "review", ("Alt+4",), "locked"),
        ),
    ),
    (
        "&Predict",
        (
            Entry("&Segment the whole video", "run_pass", ("Ctrl+R",)),
            Entry("&Cancel", "cancel_pass", ("Ctrl+.",)),
        ),
    ),
    ("&Train", (Entry("&Fine-tune on what is painted", "fine_tune", ("Ctrl+T",)),)),
    (
        "&Help",
        (
            Entry("&Keyboard shortcuts", "shortcuts", ("F1", "?")),
            Entry("&About the model", "about_model"),
        ),
    ),
)


def build_menus(window: QMainWindow, acts: Mapping[str, Callable[..., object]]) -> None:
    """Fill the window's menu bar from MENUS.

    Args:
        window: gets menus, and actions for shortcuts without a menu line.
        acts: what each name in MENUS does; all of them must be there.
    """
    for title, entries in MENUS:
        menu = window.menuBar().addMenu(title)
        for entry in entries:
            if not entry.text:
                menu.addSeparator()
                continue
            action = _action(window, entry, acts[entry.act])
            if entry.hidden:
                window.addAction(action)
            else:
                menu.addAction(action)


_OF_VIEWS = (
    (
        "&View",
        (("Shift+W", "Whole frames in the key strip"), ("Shift+A", "Show all classes")),
    ),
    (
        "&Inspect",
        (
            ("Shift+N", "Each key frame by itself"),
            ("Alt+click", "Inspect with any tool"),
        ),
    ),
)
"""Shortcuts that the views set themselves."""


def shortcut_groups() -> list[tuple[str, list[tuple[str, str]]]]:
    """Keys and what they do, menu by menu, for the sheet."""
    groups = []
    for title, entries in MENUS:
        rows = [
            (" or ".join(entry.keys), entry.text.replace("&", "").rstrip("."))
            for entry in entries
            if entry.keys
        ]
        rows += [row for owner, more in _OF_VIEWS if owner == title for row in more]
        groups.append((title.replace("&", ""), rows))
    return groups


def _action(window: QMainWindow, entry: Entry, act: Callable[..., object]) -> QAction:
    action = QAction(entry.text, window)
    action.setObjectName(f"{entry.act}:{entry.value}" if entry.value is not None else entry.act)
    action.setShortcuts([QKeySequence(keys) for keys in entry.keys])
    call = partial(act) if entry.value is None else partial(act, entry.value)
    action.triggered.connect(lambda _checked=False: call())
    return action
