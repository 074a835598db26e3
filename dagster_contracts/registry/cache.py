"""The cache in front of the contract folder: one reader for each miss, misses remembered too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from dagster_contracts.errors import UnknownContractError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Value]):
    value: Value | None
    error: UnknownContractError | None
    expires: float


class ContractCache(Generic[Value]):
    """Values by reference, kept for ``ttl``; unknown references for ``negative_ttl``.

    Threads that miss the same reference wait for one of them to read. ``version`` (a content hash
    of the source) is asked before an expired value is read again: while it stays, so does the
    value. ``clock`` counts seconds and never goes back.
    """

    def __init__(
        self,
        read: Callable[[str], Value],
        *,
        version: Callable[[], str] | None = None,
        ttl: timedelta = timedelta(seconds=30),
        negative_ttl: timedelta = timedelta(seconds=5),
        clock: Callable[[], float] = time.monotonic,
        max_entries: int = 10_000,
    ) -> None:
        self._read = read
        self._version = version
        self._ttl = ttl.total_seconds()
        self._negative_ttl = negative_ttl.total_seconds()
        self._clock = clock
        self._max_entries = max_entries
        self._entries: dict[str, _Entry[Value]] = {}
        self._versions: dict[str, str] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, ref: str) -> Value:
        """The value of ``ref``; raises the (remembered) :class:`UnknownContractError`."""
        entry = self._entries.get(ref)
        if entry is None or entry.expires <= self._clock():
            with self._lock(ref):
                entry = self._entries.get(ref)
                if entry is None or entry.expires <= self._clock():
                    entry = self._refresh(ref, entry)
        if entry.error is not None:
            raise entry.error.with_traceback(None)
        assert entry.value is not None
        return entry.value

    def __len__(self) -> int:
        return len(self._entries)

    def forget(self) -> None:
        """Drop everything: the next question is answered from the source."""
        with self._guard:
            self._entries.clear()
            self._versions.clear()

    def _refresh(self, ref: str, old: _Entry[Value] | None) -> _Entry[Value]:
        version = self._version() if self._version is not None else None
        now = self._clock()
        kept = old is not None and version is not None and self._versions.get(ref) == version
        if kept and old is not None:
            lasting = self._ttl if old.error is None else self._negative_ttl
            entry = _Entry(old.value, old.error, now + lasting)
        else:
            try:
                entry = _Entry(self._read(ref), None, now + self._ttl)
            except UnknownContractError as error:
                entry = _Entry(None, error, now + self._negative_ttl)
        with self._guard:
            if len(self._entries) >= self._max_entries and ref not in self._entries:
                # Unknown names come from outside; a flood of them must not fill the memory.
                self._entries.clear()
                self._versions.clear()
                self._locks = {ref: self._locks[ref]} if ref in self._locks else {}
            self._entries[ref] = entry
            if version is not None:
                self._versions[ref] = version
        return entry

    def _lock(self, ref: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(ref, threading.Lock())
