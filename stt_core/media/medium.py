"""What every medium of ours does alike: it minds its range, and closes when its block is left."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self


class Medium(ABC):
    """Base of what implements :class:`stt_core.media.source.MediaSource`."""

    path: Path

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and memory."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _require(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {self.path}, which has frames 0 to {len(self) - 1}")
