"""Values by key under a budget of bytes, those not used for longest going first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """Keeps the newest few values whatever they take. Not thread-safe.

    Args:
        budget: bytes to keep.
        least: how many values to keep even beyond the budget.
    """

    def __init__(self, budget: int, *, least: int = 1) -> None:
        self._budget = budget
        self._least = least
        self._values: OrderedDict[int, tuple[Value, int]] = OrderedDict()
        self.held = 0

    def __contains__(self, key: int) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: int) -> Value | None:
        """The value, now the last to go; None when it is not held."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: int, value: Value, nbytes: int) -> list[int]:
        """Keep a value; return the keys of those that had to go for it."""
        self._forget(key)
        self._values[key] = (value, nbytes)
        self.held += nbytes
        gone = []
        while self.held > self._budget and len(self._values) > self._least:
            oldest = next(iter(self._values))
            self._forget(oldest)
            gone.append(oldest)
        return gone

    def clear(self) -> None:
        self._values.clear()
        self.held = 0

    def _forget(self, key: int) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self.held -= found[1]
