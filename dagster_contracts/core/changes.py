"""What changed between two versions of a contract: each change, whom it breaks, and the bump."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from enum import IntEnum, StrEnum
from fnmatch import fnmatchcase

from dagster_contracts.core.contract import Json, Protects
from dagster_contracts.core.reference import Version
from dagster_contracts.errors import DocumentError, SourceLocation


class Verdict(IntEnum):
    """What a change means to one side, ordered so that the worst is ``max``."""

    FINE = 0
    WARNS = 1
    BREAKS = 2

    def __str__(self) -> str:
        return self.name.lower()


class VersionBump(IntEnum):
    """How far a version number moves, ordered so that the largest is ``max``."""

    NONE = 0
    PATCH = 1
    MINOR = 2
    MAJOR = 3

    def __str__(self) -> str:
        return self.name.lower()

    def after(self, version: Version) -> str | None:
        """The version number that this moves to; ``None`` where the version has no number.

        No move at all is one of the last number: two documents never share a version.
        """
        if not version.release:
            return None
        major, minor, patch = version.release[:3]
        match self:
            case VersionBump.MAJOR:
                return f"{major + 1}.0.0"
            case VersionBump.MINOR:
                return f"{major}.{minor + 1}.0"
            case _:
                return f"{major}.{minor}.{patch + 1}"


class Motion(StrEnum):
    """The direction of a change; :attr:`reverse` is what the opposite diff says."""

    ADDED = "added"
    REMOVED = "removed"
    TIGHTENED = "tightened"
    LOOSENED = "loosened"
    RENAMED = "renamed"
    CHANGED = "changed"

    @property
    def reverse(self) -> Motion:
        """The motion of the same change read backwards."""
        return _REVERSE.get(self, self)


_REVERSE = {
    Motion.ADDED: Motion.REMOVED,
    Motion.REMOVED: Motion.ADDED,
    Motion.TIGHTENED: Motion.LOOSENED,
    Motion.LOOSENED: Motion.TIGHTENED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two versions.

    ``path`` names the element as people do (``orders.discount``, ``sla.freshness``,
    ``resilience.fallback``); ``kind`` is the aspect and its motion (``column_removed``,
    ``threshold_loosened``). ``column`` is the top-level column of the old version that the change
    touches, ``None`` where it touches the whole. ``renamed_to`` is set for a removed column that
    looks like a rename.
    """

    path: str
    kind: str
    consumer: Verdict
    producer: Verdict
    bump: VersionBump
    message: str
    motion: Motion
    schema_object: str | None = None
    column: str | None = None
    renamed_to: str | None = None
    ignored_because: str | None = None

    def to_json(self) -> dict[str, Json]:
        """The change as JSON values."""
        document: dict[str, Json] = {
            "path": self.path,
            "kind": self.kind,
            "consumer": str(self.consumer),
            "producer": str(self.producer),
            "bump": str(self.bump),
            "message": self.message,
        }
        if self.renamed_to:
            document["likely_rename"] = self.renamed_to
        if self.ignored_because:
            document["ignored_because"] = self.ignored_because
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """A change that people have agreed to: counted as fine until ``until`` (inclusive).

    ``path`` and ``kind`` may hold ``*``. The reason is not optional: it is what the next reader
    needs.
    """

    path: str
    reason: str
    kind: str = "*"
    until: date | None = None
    location: SourceLocation | None = field(default=None, compare=False)

    def covers(self, change: Change, today: date) -> bool:
        """Whether this entry speaks of ``change`` and has not expired."""
        return not self.has_expired(today) and self.speaks_of(change)

    def has_expired(self, today: date) -> bool:
        """Whether its last day is over."""
        return self.until is not None and today > self.until

    def speaks_of(self, change: Change) -> bool:
        """Whether path and kind are those of ``change``."""
        return self.is_at(change) and fnmatchcase(change.kind, self.kind)

    def is_at(self, change: Change) -> bool:
        """Whether the path is that of ``change``; a path without ``*`` may hold brackets."""
        return change.path == self.path or fnmatchcase(change.path, self.path)


@dataclass(frozen=True, slots=True)
class Changes:
    """All differences between two versions, most serious first."""

    contract: str
    old_version: str
    new_version: str
    items: tuple[Change, ...] = ()

    def __iter__(self) -> Iterator[Change]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def counted(self) -> tuple[Change, ...]:
        """The changes that nobody agreed to ignore."""
        return tuple(change for change in self.items if change.ignored_because is None)

    @property
    def consumer(self) -> Verdict:
        """The worst that happens to those who read the data."""
        return max((change.consumer for change in self.counted), default=Verdict.FINE)

    @property
    def producer(self) -> Verdict:
        """The worst that happens to those who write the data."""
        return max((change.producer for change in self.counted), default=Verdict.FINE)

    @property
    def bump(self) -> VersionBump:
        """The version bump that these changes need."""
        return max((change.bump for change in self.counted), default=VersionBump.NONE)

    @property
    def declared_bump(self) -> VersionBump | None:
        """The bump between the two version numbers; ``None`` where one is no version number."""
        return declared_bump(self.old_version, self.new_version)

    def needed_bump(self, protects: Protects) -> VersionBump:
        """The bump needed where ``protects`` are whom a version below the next major must suit.

        The table's bump speaks for consumers. A change that breaks a protected producer needs a
        major version too; where only producers are protected, consumers do not force one.
        """
        needed = self.bump
        if protects is Protects.PRODUCER:
            needed = min(needed, VersionBump.MINOR)
        if protects is not Protects.CONSUMER and self.producer is Verdict.BREAKS:
            needed = VersionBump.MAJOR
        return needed

    def is_enough(self, protects: Protects = Protects.CONSUMER) -> bool:
        """Whether the declared version bump covers the changes.

        Under version 0 a minor bump counts as major, as it does for ``^0.2`` references.
        Versions that are no version numbers cannot be judged and pass only without changes.
        """
        needed, declared = self.needed_bump(protects), self.declared_bump
        if needed is VersionBump.NONE:
            return True
        if declared is None:
            return False
        if declared is VersionBump.MINOR and self.old_version.lstrip("v").startswith("0."):
            declared = VersionBump.MAJOR
        return declared >= needed

    def touching(self, columns: Iterable[str]) -> tuple[Change, ...]:
        """The changes that a reader of these columns notices; all of them where none are named."""
        wanted = frozenset(columns)
        if not wanted:
            return self.counted
        return tuple(c for c in self.counted if c.column is None or c.column in wanted)

    def ignoring(self, ignores: Iterable[Ignore], today: date) -> Changes:
        """The same changes, those that ``ignores`` cover marked with the reason."""
        entries = tuple(ignores)

        def mark(change: Change) -> Change:
            for entry in entries:
                if entry.covers(change, today):
                    return replace(change, ignored_because=entry.reason)
            return change

        return replace(self, items=tuple(mark(change) for change in self.items))

    def to_json(self) -> dict[str, Json]:
        """The verdict and every change as JSON values."""
        declared = self.declared_bump
        return {
            "contract": self.contract,
            "old_version": self.old_version,
            "new_version": self.new_version,
            "consumer": str(self.consumer),
            "producer": str(self.producer),
            "bump": str(self.bump),
            "declared_bump": None if declared is None else str(declared),
            "changes": [change.to_json() for change in self.items],
        }


def declared_bump(old: str, new: str) -> VersionBump | None:
    """The bump between two version numbers (https://semver.org, missing parts count as 0).

    ``NONE`` where the number stays or goes back; ``PATCH`` where only the pre-release moves or a
    fourth number; ``None`` where one of the two is no version number.
    """
    try:
        before, after = Version.parse(old), Version.parse(new)
    except DocumentError:
        return None
    if not before.release or not after.release:
        return None
    if after <= before:
        return VersionBump.NONE
    for position, bump in enumerate((VersionBump.MAJOR, VersionBump.MINOR)):
        if before.release[position] != after.release[position]:
            return bump
    return VersionBump.PATCH
