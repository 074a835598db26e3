"""A key of a document, the kind of its value, and the table of a section's keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Final

from dagster_contracts.core.condition import Dimension, Quantity, render_quantity
from dagster_contracts.core.contract import Json
from dagster_contracts.core.quantity import UNIT_SPELLINGS, find_unit

Schema = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value may be: in words for people, and as a JSON Schema.

    A reference to the schema of another table is ``{"$ref": "<name of the table>"}``; whoever
    builds a whole schema puts the place of its definitions before it.
    """

    words: str
    schema: Schema = field(hash=False)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a section.

    ``meaning`` is one sentence or more for the person who writes the document. ``default`` is the
    value that an absent key stands for, as it would be written; ``None`` where there is none.
    """

    name: str
    kind: Kind
    meaning: str
    default: Json = field(default=None, hash=False)
    required: bool = False


@dataclass(frozen=True)
class Table:
    """The keys of one section.

    ``aliases`` are other spellings that the reader knows, by the key that they stand for: they are
    read and accepted, and not offered.
    """

    name: str
    about: str
    keys: tuple[Key, ...]
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every key that the reader of this section knows, in snake case."""
        return frozenset(key.name for key in self.keys) | self.aliases.keys()

    def without(self, *names: str, name: str, about: str) -> Table:
        """The same keys but for ``names``."""
        return Table(
            name=name,
            about=about,
            keys=tuple(key for key in self.keys if key.name not in names),
            aliases=self.aliases,
        )


def shown(value: timedelta | Fraction | float | StrEnum | bool) -> Json:
    """A default of the model as a document writes it."""
    if isinstance(value, timedelta):
        seconds = Fraction(value // timedelta(microseconds=1), 1_000_000)
        return render_quantity(Quantity(seconds, Dimension.DURATION))
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Fraction | float) and value == int(value):
        return int(value)
    return float(value) if isinstance(value, Fraction) else value


def per_cent(value: Fraction) -> str:
    """A part of one as a document writes it."""
    return render_quantity(Quantity(value, Dimension.RATIO))


# A value may come from the environment; what it then is shows only where the contract is read.
_FROM_ENVIRONMENT: Final = r"\$\{env:"
_DURATION_UNITS: Final = sorted(
    (u for u in UNIT_SPELLINGS if (find_unit(u) or (None,))[0] is Dimension.DURATION),
    key=len,
    reverse=True,
)
# Units may be written in any case, which no pattern of JSON Schema can say in short: what has a
# capital in it is left to the reader.
_ONE_DURATION: Final = r"[0-9.]+ *(" + "|".join(_DURATION_UNITS) + "|[A-Za-z]*[A-Z][A-Za-z]*)"

TEXT: Final = Kind("text", {"type": "string"})
SPELLING: Final = Kind("text or a number", {"type": ["string", "number"]})
NAME: Final = Kind(
    "a name", {"type": "string", "pattern": "^[A-Za-z0-9_.-]+$|" + _FROM_ENVIRONMENT}
)
FLAG: Final = Kind("true or false", {"type": "boolean"})
NUMBER: Final = Kind(
    "a number, or per cent",
    {
        "anyOf": [
            {"type": "number"},
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? *%$"},
        ]
    },
)
DURATION: Final = Kind(
    "a length of time",
    {
        "type": "string",
        "pattern": rf"^ *({_ONE_DURATION} *)+$|{_FROM_ENVIRONMENT}",
        "patternErrorMessage": "Write a length of time: 30s, 5min, 1h30min or 2d.",
        "examples": ["30s", "5min", "1h30min", "2d"],
    },
)
DAY: Final = Kind("a day", {"type": "string", "pattern": "^[0-9]{4}-?[0-9]{2}-?[0-9]{2}$"})
TEXTS: Final = Kind(
    "a text or a list of texts",
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
)
CONDITION: Final = Kind(
    "a condition",
    {
        "type": "string",
        "pattern": f"[<>=]|{_FROM_ENVIRONMENT}",
        "patternErrorMessage": "Compare a metric with a quantity: schema_validation_errors > 5%.",
        "examples": ["schema_validation_errors > 5%", "data_freshness > 30min"],
    },
)
CONDITIONS: Final = Kind(
    "a condition or a list of conditions",
    {"anyOf": [dict(CONDITION.schema), {"type": "array", "items": dict(CONDITION.schema)}]},
)
SCALAR: Final = Kind("a value", {"type": ["string", "number", "boolean"]})
SCALARS: Final = Kind(
    "a list of values", {"type": "array", "items": {"type": ["string", "number", "boolean"]}}
)
ANYTHING: Final = Kind("anything", {})
MAPPING: Final = Kind("a mapping", {"type": "object"})

#: The custom property of ODCS that carries what the standard has no place for.
OWN_PROPERTY: Final = "dagsterContracts"
CARRIED: Final = Key(
    "dagster_contracts",
    MAPPING,
    "What the standard has no place for, carried by `convert`: ids and dimensions of other words, "
    "and `extras`.",
)
EXTRAS: Final = Key(
    "extras",
    MAPPING,
    "What other tools or another form of the document say here; it is carried along and written "
    "out again, and means nothing to the checks.",
)


def integer(minimum: int | None = None) -> Kind:
    """A whole number, at least ``minimum``."""
    if minimum is None:
        return Kind("a whole number", {"type": "integer"})
    return Kind(f"a whole number from {minimum}", {"type": "integer", "minimum": minimum})


def choice(kind: type[StrEnum], *, flags: bool = False) -> Kind:
    """One of the values of an enumeration; with ``flags`` true and false are allowed too."""
    values: list[Json] = [member.value for member in kind]
    words = ", ".join(f"`{value}`" for value in values)
    if flags:
        return Kind(f"{words}, `true`, `false`", {"enum": [*values, True, False]})
    return Kind(words, {"type": "string", "enum": values})


def section(table: str) -> Kind:
    """A mapping with the keys of another table."""
    return Kind(f"[a mapping](#{table})", {"$ref": table})


def sections(table: str, *, described_as: str | None = None) -> Kind:
    """A list of mappings with the keys of another table."""
    return Kind(f"[a list](#{described_as or table})", {"type": "array", "items": {"$ref": table}})


def either(words: str, *schemas: Schema) -> Kind:
    """Any one of several shapes."""
    return Kind(words, {"anyOf": [dict(schema) for schema in schemas]})
