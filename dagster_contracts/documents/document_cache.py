"""What was read already, by content: a process that reads a folder again parses what changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Value]):
    digest: str
    value: Value
    size: int


class DocumentCache(Generic[Value]):
    """One value for each place, as long as the content there is the same.

    Sensors and code servers read the whole folder again and again. An edited file replaces what was
    kept of it, so a folder takes no more memory the longer a process runs. ``max_bytes`` bounds the
    text that the kept values were read from; beyond it, what was not used for longest goes first.
    Safe to use from several threads.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[Hashable, _Entry[Value]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, place: Hashable, digest: str) -> Value | None:
        """The value of ``place`` if it was read from the content of this hash."""
        with self._lock:
            entry = self._entries.get(place)
            if entry is None or entry.digest != digest:
                return None
            self._entries.move_to_end(place)
            return entry.value

    def put(self, place: Hashable, digest: str, value: Value, *, size: int) -> None:
        """Keep a value that was read from ``size`` bytes, instead of what was kept of the place."""
        with self._lock:
            self._drop(place)
            self._entries[place] = _Entry(digest, value, size)
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _drop(self, place: Hashable) -> None:
        old = self._entries.pop(place, None)
        if old is not None:
            self._bytes -= old.size
