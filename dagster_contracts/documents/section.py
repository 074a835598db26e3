"""A mapping of a document while it is read: typed look-ups that note every mistake."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias, TypeVar

from dagster_contracts.core.condition import Condition, parse_condition, parse_duration
from dagster_contracts.core.contract import Json
from dagster_contracts.core.metrics import DEFAULT, Catalogue
from dagster_contracts.documents.problem import Findings, did_you_mean
from dagster_contracts.documents.vocabulary.key import Table
from dagster_contracts.documents.yaml_text import (
    MappingNode,
    ScalarNode,
    SequenceNode,
    YamlNode,
    to_json,
)
from dagster_contracts.errors import ConditionSyntaxError, SourceLocation

E = TypeVar("E", bound=StrEnum)
Mend: TypeAlias = Callable[[YamlNode], str | None]
"""How to write what stands in the wrong shape; ``None`` where nothing is known of it."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ENVIRONMENT = re.compile(r"\$\{env:([^}]*)\}")
# As long as any number may be: Python refuses to convert thousands of digits.
_PER_CENT = re.compile(r"([0-9]{1,50}(?:\.[0-9]{1,50})?)\s*%")


@lru_cache(maxsize=4096)
def snake(key: str) -> str:
    """``mustBeLessThan`` as ``must_be_less_than``; what is snake already stays."""
    return _HUMP.sub("_", key).lower() if any(c.isupper() for c in key) else key


@dataclass(slots=True)
class Reading:
    """What the readers of one document share: the findings, the metrics, the environment.

    ``strict`` says what a value is that cannot be understood: an error in the compact form, which
    is ours, and a warning in ODCS, whose standard allows more than anybody can check.
    """

    path: str
    strict: bool = True
    findings: Findings = field(default_factory=Findings)
    catalogue: Catalogue = DEFAULT
    environment: Mapping[str, str] = field(default_factory=dict)

    def complain(
        self, where: SourceLocation, code: str, message: str, hint: str | None = None
    ) -> None:
        """An error or a warning, as the form of the document has it."""
        note = self.findings.error if self.strict else self.findings.warning
        note(where, code, message, hint)

    def expand(self, node: ScalarNode, text: str) -> str:
        """Replace ``${env:NAME}``; the parser has already checked that NAME is allowed."""
        if "${env:" not in text:
            return text

        def value(matched: re.Match[str]) -> str:
            found = self.environment.get(matched[1])
            if found is None:
                self.findings.error(
                    node.location,
                    "environment",
                    f"the environment variable {matched[1]!r} is not set",
                    "set it where Dagster loads the definitions",
                )
                return ""
            return found

        return _ENVIRONMENT.sub(value, text)

    def condition(self, node: YamlNode, *, default_metric: str | None = None) -> Condition | None:
        """A condition in a scalar; ``None``, and a finding, where it cannot be parsed."""
        if not isinstance(node, ScalarNode) or node.value is None or isinstance(node.value, bool):
            self.findings.error(
                node.location,
                "condition",
                f"a condition is a line of text, not {describe(node)}",
                f"write it like {_as_condition(node)}",
            )
            return None
        try:
            return parse_condition(
                self.expand(node, node.text),
                catalogue=self.catalogue,
                default_metric=default_metric,
                where=node.location,
            )
        except ConditionSyntaxError as error:
            self.findings.raised(error, node.location, "condition")
            return None


class Section:
    """One mapping; keys are looked up in snake case: ODCS and the compact form share readers.

    ``what`` names the section in messages. Whoever has read all it knows calls :meth:`finish`
    with the section's table, which turns the rest into errors, or takes :meth:`rest`. The keys that
    were asked for must be those of the table, so that neither the hints nor the editors' schema nor
    the reference can differ from what is read.
    """

    __slots__ = ("_asked", "_taken", "_written", "node", "reading", "what")

    def __init__(self, node: MappingNode, reading: Reading, what: str) -> None:
        self.node = node
        self.reading = reading
        self.what = what
        self._asked: set[str] = set()
        self._taken: set[str] = set()
        self._written: dict[str, str] = {}
        for key in node.entries:
            name = snake(key)
            if name in self._written:
                reading.findings.error(
                    node.key_location(key),
                    "duplicate-key",
                    f"{key!r} and {self._written[name]!r} are the same key",
                    "keep one of them",
                )
            self._written[name] = key

    def __contains__(self, key: str) -> bool:
        return key in self._written

    @property
    def findings(self) -> Findings:
        """Where mistakes are noted."""
        return self.reading.findings

    @property
    def location(self) -> SourceLocation:
        """Where the section begins."""
        return self.node.location

    def place(self, key: str) -> SourceLocation:
        """Where the value of ``key`` stands; where the section begins, if there is none."""
        written = self._written.get(key)
        return self.node.entries[written].location if written else self.location

    def take(self, key: str) -> YamlNode | None:
        """The value of ``key``; ``None`` where it is missing or null."""
        self._asked.add(key)
        written = self._written.get(key)
        if written is None:
            return None
        self._taken.add(written)
        node = self.node.entries[written]
        if isinstance(node, ScalarNode) and node.value is None:
            return None
        return node

    def present(self, keys: Set[str]) -> list[str]:
        """Those of ``keys`` that are written here; all of them count as known."""
        self._asked |= keys
        return [key for key in self._written if key in keys]

    def wrong(self, node: YamlNode, key: str, expected: str, hint: str | None = None) -> None:
        """Note that the value of ``key`` is not what it should be."""
        self.findings.error(
            node.location,
            "wrong-type",
            f"{self._named(key)} must be {expected}, not {describe(node)}",
            hint,
        )

    def text(self, key: str) -> str | None:
        """Text; a number or a truth value must be quoted to be one."""
        # Most keys of a column are not written, and a folder has many columns: no further call.
        if key not in self._written:
            self._asked.add(key)
            return None
        node = self.take(key)
        if node is None:
            return None
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            return self.reading.expand(node, node.value)
        hint = f'quote it: {key}: "{node.text}"' if isinstance(node, ScalarNode) else None
        self.wrong(node, key, "text", hint)
        return None

    def spelling(self, key: str) -> str | None:
        """Text, or a number as it is written: ``1.10`` stays ``1.10``."""
        node = self.take(key)
        if isinstance(node, ScalarNode) and not isinstance(node.value, bool):
            return self.reading.expand(node, node.text)
        if node is not None:
            self.wrong(node, key, "text")
        return None

    def required_text(self, key: str) -> str:
        """Text that must be there; the empty text, and a finding, where it is not."""
        if self.take(key) is None:
            self.missing(key)
            return ""
        found = self.text(key)
        if found is not None and not found.strip():
            self.missing(key)
        return found or ""

    def missing(self, key: str, hint: str | None = None) -> None:
        """Note that ``key`` should be there."""
        self.findings.error(
            self.location,
            "missing-key",
            f"{self.what} needs a {key!r}",
            hint or f"add '{key}: ...'",
        )

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false."""
        if key not in self._written:
            self._asked.add(key)
            return default
        node = self.take(key)
        if node is None:
            return default
        if isinstance(node, ScalarNode) and isinstance(node.value, bool):
            return node.value
        self.wrong(node, key, "true or false", "write true or false (YAML 1.2 knows no yes and no)")
        return default

    def integer(self, key: str, *, minimum: int | None = None) -> int | None:
        """A whole number, at least ``minimum``."""
        node = self.take(key)
        if node is None:
            return None
        value = node.value if isinstance(node, ScalarNode) else None
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(node, key, "a whole number")
            return None
        if minimum is not None and value < minimum:
            self.wrong(node, key, f"at least {minimum}")
            return None
        return value

    def number(self, key: str) -> Fraction | None:
        """A number, exact as it is written; ``10%`` is a tenth."""
        node = self.take(key)
        if node is None:
            return None
        if isinstance(node, ScalarNode) and not isinstance(node.value, bool):
            per_cent = _PER_CENT.fullmatch(node.text)
            if per_cent:
                return Fraction(per_cent[1]) / 100
            if isinstance(node.value, int | float):
                return exact(node)
        self.wrong(node, key, "a number")
        return None

    def choice(
        self, key: str, kind: type[E], default: E, *, flags: Mapping[bool, E] | None = None
    ) -> E:
        """One of the values of an enumeration; ``flags`` is what true and false stand for."""
        node = self.take(key)
        if node is None:
            return default
        if flags and isinstance(node, ScalarNode) and isinstance(node.value, bool):
            return flags[node.value]
        if isinstance(node, ScalarNode):
            for member in kind:
                if node.text == member.value:
                    return member
            self.findings.error(
                node.location,
                "unknown-value",
                f"{self._named(key)} cannot be {node.text!r}",
                did_you_mean(node.text, [member.value for member in kind]),
            )
            return default
        self.wrong(node, key, "one word")
        return default

    def duration(self, key: str) -> timedelta | None:
        """A length of time such as ``5min`` or ``1h30min``."""
        node = self.take(key)
        if node is None:
            return None
        if isinstance(node, ScalarNode):
            try:
                return parse_duration(self.reading.expand(node, node.text), where=node.location)
            except ConditionSyntaxError as error:
                self.findings.raised(error, node.location, "duration")
                return None
        self.wrong(node, key, "a length of time", "write it like 30s, 5min, 1h30min or 2d")
        return None

    def date(self, key: str) -> date | None:
        """A day, ``2026-12-31``."""
        node = self.take(key)
        if node is None:
            return None
        if isinstance(node, ScalarNode):
            try:
                return date.fromisoformat(node.text)
            except ValueError:
                pass
        self.wrong(node, key, "a day", "write it like 2026-12-31")
        return None

    def texts(self, key: str) -> tuple[str, ...]:
        """Several texts; one may stand without its list."""
        if key not in self._written:
            self._asked.add(key)
            return ()
        node = self.take(key)
        if node is None:
            return ()
        found: list[str] = []
        for item in node.items if isinstance(node, SequenceNode) else [node]:
            if isinstance(item, ScalarNode) and isinstance(item.value, str):
                found.append(self.reading.expand(item, item.value))
            else:
                self.wrong(item, key, "a list of texts")
        return tuple(found)

    def items(self, key: str, *, mend: Mend | None = None) -> list[YamlNode]:
        """The items of a list; ``mend`` says how to write what is none."""
        node = self.take(key)
        if node is None:
            return []
        if isinstance(node, SequenceNode):
            return node.items
        hint = mend(node) if mend is not None else None
        self.wrong(node, key, "a list", hint or "begin each item with '- '")
        return []

    def sections(self, key: str, *, mend: Mend | None = None) -> list[Section]:
        """The items of a list of mappings; ``mend`` says how to write one that is none."""
        found = []
        for item in self.items(key, mend=mend):
            if isinstance(item, MappingNode):
                found.append(Section(item, self.reading, f"an item of {key}"))
            else:
                hint = mend(item) if mend is not None else None
                self.wrong(item, key, "a list of mappings", hint)
        return found

    def section(self, key: str) -> Section | None:
        """A nested mapping."""
        node = self.take(key)
        if node is None:
            return None
        if isinstance(node, MappingNode):
            return Section(node, self.reading, key)
        self.wrong(node, key, "a mapping", f"write the keys of {key} below it, indented")
        return None

    def conditions(self, key: str) -> tuple[Condition, ...]:
        """Several conditions; one may stand without its list."""
        found = (self.reading.condition(item) for item in self._one_or_several(key))
        return tuple(condition for condition in found if condition is not None)

    def places(self, key: str) -> tuple[SourceLocation, ...]:
        """Where each item of a list stands; where its one value does, without a list."""
        return tuple(item.location for item in self._one_or_several(key))

    def _one_or_several(self, key: str) -> list[YamlNode]:
        node = self.take(key)
        if node is None:
            return []
        return node.items if isinstance(node, SequenceNode) else [node]

    def mapping(self, key: str) -> dict[str, Json]:
        """A mapping that is carried along as it is."""
        node = self.take(key)
        if node is None:
            return {}
        found = to_json(node)
        if isinstance(found, dict):
            return found
        self.wrong(node, key, "a mapping")
        return {}

    def rest(self) -> dict[str, Json]:
        """What nobody took, as it is written: carried along, and written out again on export."""
        return {
            key: to_json(node) for key, node in self.node.entries.items() if key not in self._taken
        }

    def agree(self, table: Table) -> None:
        """Refuse to go on where the reader asked for other keys than the table describes.

        That is a mistake in this package and never one in a document.
        """
        assert self._asked == table.names, (
            f"the reader of {table.name!r} and its table in documents/vocabulary differ in "
            f"{sorted(self._asked ^ table.names)}"
        )

    def finish(self, table: Table, *, synonyms: Mapping[str, str] | None = None) -> None:
        """Note every key that nobody took as unknown, with the nearest that exists."""
        self.agree(table)
        for key in self.node.entries:
            # The other spelling of a key has been told as its double.
            if key not in self._taken and self._written[snake(key)] == key:
                self.findings.error(
                    self.node.key_location(key),
                    "unknown-key",
                    f"{self.what} has no key {key!r}",
                    did_you_mean(key, (k.name for k in table.keys), synonyms=synonyms),
                )
        if self.reading.strict:
            self._note_empty()

    def _note_empty(self) -> None:
        """Keys with nothing after them: most likely their lines below are not indented."""
        for key, node in self.node.entries.items():
            # Whoever writes `null` means it.
            empty = isinstance(node, ScalarNode) and node.value is None and not node.text
            if empty and key in self._taken:
                self.findings.warning(
                    self.node.key_location(key),
                    "empty-value",
                    f"{key!r} has nothing after it, so that it counts as not written",
                    f"indent below {key!r} what belongs to it, or remove the line",
                )

    def _named(self, key: str) -> str:
        return repr(self._written.get(key, key))


def _as_condition(node: YamlNode) -> str:
    """What ``{row_count: "< 5"}`` should have been; an example for everything else."""
    if isinstance(node, MappingNode) and len(node.entries) == 1:
        ((metric, value),) = node.entries.items()
        if isinstance(value, ScalarNode) and value.text[:1] in ("<", ">", "=", "!"):
            return f'"{metric} {value.text}"'
    return '"schema_validation_errors > 5%"'


def describe(node: YamlNode) -> str:
    """A node in the words of a message."""
    if isinstance(node, SequenceNode):
        return "a list"
    if isinstance(node, MappingNode):
        return "a mapping"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return f"the truth value {node.text}"
    if isinstance(node.value, int | float):
        return f"the number {node.text}"
    shown = node.text if len(node.text) <= 60 else node.text[:57] + "..."
    return f"the text {shown!r}"


def exact(node: ScalarNode) -> Fraction:
    """The number exactly as it is written (0.1 is a tenth)."""
    if isinstance(node.value, int):
        return Fraction(node.value)
    return Fraction(node.text)
