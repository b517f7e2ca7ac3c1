"""What the window remembers from one start to the next, and where it keeps things by itself."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_data_path
from PySide6.QtCore import QByteArray, QSettings

_RECENT = 8


class Settings:
    """Settings in the place the system keeps them."""

    def __init__(self) -> None:
        self._store = QSettings("stt-studio", "stt-studio")

    def recent(self) -> list[str]:
        """Projects and media opened before that still exist, newest first."""
        stored = self._store.value("recent")  # a list of one comes back as its only text
        paths = [stored] if isinstance(stored, str) else stored if isinstance(stored, list) else []
        return [p for p in paths if Path(p).exists()][:_RECENT]

    def add_recent(self, path: Path) -> None:
        """Remember that a project or a medium was opened."""
        text = str(path.resolve())
        self._store.setValue("recent", [text, *(p for p in self.recent() if p != text)][:_RECENT])

    def layout(self) -> tuple[QByteArray, QByteArray]:
        """Geometry and dock state; both empty at the first start."""
        return self._bytes("geometry"), self._bytes("state")

    def set_layout(self, geometry: QByteArray, state: QByteArray) -> None:
        self._store.setValue("geometry", geometry)
        self._store.setValue("state", state)

    def _bytes(self, name: str) -> QByteArray:
        value = self._store.value(name)
        return value if isinstance(value, QByteArray) else QByteArray()


def own_project(media_hash: str) -> Path:
    """The project of a medium that was opened by itself. Never beside the medium."""
    return _data() / "projects" / media_hash[:16]


def old_labels(media_hash: str) -> Path:
    """Where versions before projects kept the labels painted on a medium."""
    return _data() / "labels" / media_hash[:16]


def _data() -> Path:
    return user_data_path("stt-studio", appauthor=False)
