"""Changes that people agreed to, each with its reason and, if they like, its last day."""

from __future__ import annotations

from pathlib import Path

from dagster_contracts.core.changes import Ignore
from dagster_contracts.documents.problem import as_error
from dagster_contracts.documents.section import Reading, Section
from dagster_contracts.documents.vocabulary.key import DAY, TEXT, Key, Table
from dagster_contracts.documents.yaml_text import MappingNode, SequenceNode, parse_yaml
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


def read_ignores(path: Path) -> tuple[Ignore, ...]:
    """Read a YAML list of ``path``, ``kind``, ``reason`` and ``until``.

    ``DocumentError`` with the place of what is wrong in it.
    """
    node = parse_yaml(path.read_bytes(), str(path))
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
            )
        )
        section.finish(_IGNORED)
    if reading.findings.errors:
        raise as_error(reading.findings.errors)
    return tuple(entries)
