"""Changes that people agreed to, each with its reason and, if they like, its last day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dagster_contracts.core.changes import Change, Ignore
from dagster_contracts.core.contract import Json
from dagster_contracts.documents.problem import as_error
from dagster_contracts.documents.section import Reading, Section
from dagster_contracts.documents.vocabulary.key import DAY, TEXT, Key, Table
from dagster_contracts.documents.yaml_text import MappingNode, SequenceNode, decode, parse_yaml
from dagster_contracts.errors import DocumentError

_IGNORED = Table(
    "ignore",
    "A change that people agreed to.",
    (
        Key("path", TEXT, "Where the change is, such as `orders.discount`.", required=True),
        Key("kind", TEXT, "Which kind of change; every kind where it is left out.", "*"),
        Key("reason", TEXT, "Why it is agreed to.", required=True),
        Key("until", DAY, "The last day on which it is ignored."),
    ),
)
_EXAMPLE = '- {path: orders.discount, kind: column_removed, reason: "nobody reads it"}'


@dataclass(frozen=True, slots=True)
class IdleIgnore:
    """An entry that ignores nothing, and why: people should mend it or take it out."""

    entry: Ignore
    why: str

    def __str__(self) -> str:
        where = f"{self.entry.location}: " if self.entry.location else ""
        return f"{where}warning: the agreed change {self.entry.path} {self.why}"

    def to_json(self) -> dict[str, Json]:
        """The entry as JSON values, and why it ignores nothing."""
        until = self.entry.until
        return {
            "path": self.entry.path,
            "kind": self.entry.kind,
            "until": None if until is None else until.isoformat(),
            "reason": self.entry.reason,
            "where": str(self.entry.location) if self.entry.location else None,
            "why": self.why,
        }


def idle_ignores(
    entries: Iterable[Ignore], changes: Sequence[Change], today: date
) -> Iterator[IdleIgnore]:
    """The entries that have expired, or that none of the changes is covered by."""
    for entry in entries:
        if entry.has_expired(today):
            yield IdleIgnore(entry, f"was agreed to until {entry.until}, which is over")
        elif not any(map(entry.speaks_of, changes)):
            there = sorted({change.kind for change in changes if entry.is_at(change)})
            why = "is not among the changes"
            if there:
                why = f"is no {entry.kind} here; what changed there is {', '.join(there)}"
            yield IdleIgnore(entry, why)


def read_ignores(path: Path) -> tuple[Ignore, ...]:
    """Read a YAML list of ``path``, ``kind``, ``reason`` and ``until``; none in an empty file.

    ``DocumentError`` with the place of what is wrong in it.
    """
    text = decode(path.read_bytes(), str(path))
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        return ()  # everything that was agreed to has been taken out again
    node = parse_yaml(text, str(path))
    if not isinstance(node, SequenceNode):
        raise DocumentError(
            "the ignored changes are a list", where=node.location, hint=f"write {_EXAMPLE}"
        )
    reading = Reading(str(path))
    entries = []
    for item in node.items:
        if not isinstance(item, MappingNode):
            reading.findings.error(
                item.location, "wrong-type", "an ignored change is a mapping", f"write {_EXAMPLE}"
            )
            continue
        section = Section(item, reading, "an ignored change")
        entries.append(
            Ignore(
                path=section.required_text("path"),
                kind=section.text("kind") or "*",
                reason=section.required_text("reason"),
                until=section.date("until"),
                location=item.location,
            )
        )
        section.finish(_IGNORED)
    if reading.findings.errors:
        raise as_error(reading.findings.errors)
    return tuple(entries)
