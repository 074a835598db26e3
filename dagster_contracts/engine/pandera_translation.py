"""A pandera schema as the schema of a contract, with what a contract has no word for named.

pandera's dtypes are exact and a contract's types are not: any integer keeps ``int64``. What is
named is still checked by pandera itself, whose schema the contract runs as a custom rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from dagster_contracts.core.contract import (
    ExtraColumns,
    LibraryMetric,
    LogicalType,
    QualityRule,
    RuleKind,
    Scalar,
    SchemaObject,
    SchemaProperty,
    TypeOptions,
)
from dagster_contracts.core.pattern import Dialect, UnportablePattern, translate

RULE_NAME = "pandera"
"""The quality rule in which pandera keeps what could not be translated."""

_ORDERED = frozenset(
    {LogicalType.INTEGER, LogicalType.NUMBER, LogicalType.DATE, LogicalType.TIMESTAMP}
)
_SPECIAL = frozenset(r".^$*+?{}[]\|()")


@dataclass(frozen=True, slots=True)
class Translation:
    """The schema object, and in words what it does not say."""

    schema_object: SchemaObject
    untranslated: tuple[str, ...]


def as_schema(source: Any) -> Any:
    """The ``DataFrameSchema`` of a schema or of a ``DataFrameModel``; TypeError for others."""
    if isinstance(source, type) and hasattr(source, "to_schema"):
        return source.to_schema()
    if not hasattr(source, "columns") or not hasattr(source, "strict"):
        kind = source.__name__ if isinstance(source, type) else type(source).__name__
        raise TypeError(f"{kind} is neither a pandera DataFrameSchema nor a DataFrameModel")
    return source


def translate_schema(source: Any, *, name: str, implementation: str) -> Translation:
    """Translate a pandera schema for pandas or Polars.

    ``implementation`` is how the custom rule names the schema. Raises ``TypeError`` for what is no
    such schema.
    """
    schema = as_schema(source)
    polars = "polars" in type(schema).__module__
    left: list[str] = list(_left_of_schema(schema))
    # What may be there has no property, and would be refused as a column too many.
    loose = any(column.regex or not column.required for column in schema.columns.values())
    if schema.strict is True and loose:
        left.append("strict, where columns may be absent or are named by a pattern")
    properties: list[SchemaProperty] = []
    for column_name, column in schema.columns.items():
        found = _Column(str(column_name), column, polars)
        reason = found.untranslatable()
        if reason is not None or not isinstance(column_name, str):
            left.append(f"{column_name}: {reason or 'its name is no text'}")
            continue
        properties.append(found.property())
        left += [f"{column_name}: {words}" for words in found.left]
    quality: list[QualityRule] = []
    together = tuple(schema.unique or ())
    known = {prop.name: prop for prop in properties}
    if together and all(key in known and known[key].required for key in together):
        quality.append(
            QualityRule(
                name=f"{'_'.join(together)}_unique",
                kind=RuleKind.LIBRARY,
                metric=LibraryMetric.DUPLICATE_VALUES,
                columns=together,
            )
        )
    elif together:
        left.append(f"unique over {', '.join(together)}, where nulls are duplicates")
    if left:
        quality.append(
            QualityRule(
                name=RULE_NAME,
                kind=RuleKind.CUSTOM,
                engine="pandera",
                implementation=implementation,
                description="What pandera checks and the contract has no word for",
            )
        )
    made = SchemaObject(
        name=name,
        properties=tuple(properties),
        description=schema.description or None,
        extra_columns=(
            ExtraColumns.FORBID if schema.strict is True and not loose else ExtraColumns.ALLOW
        ),
        ordered=bool(schema.ordered),
        quality=tuple(quality),
    )
    return Translation(made, tuple(left))


def _left_of_schema(schema: Any) -> Iterator[str]:
    for check in schema.checks:
        yield f"the check {check.name or 'without a name'} of the whole frame"
    if getattr(schema, "index", None) is not None:
        yield "the index: a contract knows columns alone"
    if schema.strict == "filter":
        yield "strict='filter', which drops columns"
    for attribute, words in (
        ("parsers", "parsers, which change the data first"),
        ("dtype", "the dtype of the whole frame"),
        ("coerce", "coerce: a contract asks for the type and changes nothing"),
        ("drop_invalid_rows", "drop_invalid_rows"),
        ("add_missing_columns", "add_missing_columns"),
    ):
        if getattr(schema, attribute, None):
            yield words


@dataclass
class _Column:
    """One column as it is translated; ``left`` grows with what has no word."""

    name: str
    column: Any
    polars: bool
    left: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def untranslatable(self) -> str | None:
        """Why the column as a whole has no property."""
        if self.column.regex:
            return "a pattern for the names of columns"
        if not self.column.required:
            return "a column that may be absent"
        return None

    def property(self) -> SchemaProperty:
        """The property; what it cannot say is in ``left``."""
        column, dtype = self.column, self.column.dtype
        logical = self._logical_type()
        for check in column.checks:
            said = self._check(check, logical)
            if said is None or any(key in self.options for key in said):
                self.left.append(f"the check {check.name or 'without a name'}")
            else:
                self.options |= said
        unique = bool(column.unique)
        if unique and column.nullable:
            self.left.append("unique, where nulls are duplicates")
            unique = False
        for attribute, words in (
            ("parsers", "parsers, which change the data first"),
            ("coerce", "coerce: a contract asks for the type and changes nothing"),
            ("default", "a default for missing values"),
        ):
            if getattr(column, attribute, None) not in (None, False, []):
                self.left.append(words)
        return SchemaProperty(
            name=self.name,
            logical_type=logical,
            physical_type=str(dtype) if dtype is not None else None,
            required=not column.nullable,
            unique=unique,
            description=column.description or None,
            options=replace(TypeOptions(), **self.options),
        )

    def _logical_type(self) -> LogicalType | None:
        dtype = self.column.dtype
        if dtype is None:
            return None
        from pandera import dtypes as d  # late: only for those who ask

        kind = str(getattr(dtype, "type", "")).partition("(")[0]
        nested = {"List": LogicalType.ARRAY, "Array": LogicalType.ARRAY,
                  "Struct": LogicalType.OBJECT}  # fmt: skip
        if self.polars and kind in nested:
            self.left.append(f"the dtype {dtype} of what it holds")
            return nested[kind]
        if self.polars and kind == "Time":
            return LogicalType.TIME
        for is_kind, logical in (
            (d.is_bool, LogicalType.BOOLEAN),
            (d.is_int, LogicalType.INTEGER),
            (d.is_float, LogicalType.NUMBER),
            (d.is_string, LogicalType.STRING),
        ):
            if is_kind(dtype):
                return logical
        if isinstance(dtype, d.Decimal):
            return LogicalType.NUMBER
        if d.is_datetime(dtype):
            zone = getattr(dtype, "tz", None) or getattr(dtype.type, "time_zone", None)
            self.options["timezone"] = zone is not None
            return LogicalType.TIMESTAMP
        if isinstance(dtype, d.Date):  # which timestamps are too
            return LogicalType.DATE
        self.left.append(f"the dtype {dtype}")
        return None

    def _check(self, check: Any, logical: LogicalType | None) -> dict[str, Any] | None:
        """The options that a built-in check of this meaning has; ``None`` where there are none."""
        plain = check.ignore_na and not (check.groupby or check.element_wise or check.raise_warning)
        if not plain or type(check._check_fn).__name__ != "Dispatcher" or logical is None:
            return None
        said = check.statistics
        ordered, text = logical in _ORDERED, logical is LogicalType.STRING
        match check.name:
            case "isin":
                values = [_scalar(value) for value in said["allowed_values"] if value is not None]
                return {"enum": tuple(values)} if values and None not in values else None
            case "equal_to":
                value = _scalar(said["value"])
                return {"enum": (value,)} if value is not None else None
            case "in_range" if ordered:
                low = "minimum" if said["include_min"] else "exclusive_minimum"
                high = "maximum" if said["include_max"] else "exclusive_maximum"
                return _bounds({low: said["min_value"], high: said["max_value"]})
            case "greater_than_or_equal_to" if ordered:
                return _bounds({"minimum": said["min_value"]})
            case "greater_than" if ordered:
                return _bounds({"exclusive_minimum": said["min_value"]})
            case "less_than_or_equal_to" if ordered:
                return _bounds({"maximum": said["max_value"]})
            case "less_than" if ordered:
                return _bounds({"exclusive_maximum": said["max_value"]})
            case "str_length" if text:
                exact = said.get("exact_value")
                least = exact if exact is not None else said.get("min_value")
                most = exact if exact is not None else said.get("max_value")
                lengths = {"min_length": least, "max_length": most}
                return {key: int(value) for key, value in lengths.items() if value is not None}
            case "str_contains" if text:
                return _pattern(said["pattern"])
            case "str_matches" if text:
                return _pattern(self._from_the_start(said["pattern"]))
            case "str_startswith" if text:
                return _pattern("^" + _literally(said["string"]))
            case "str_endswith" if text:
                return _pattern(_literally(said["string"]) + "$")
            case _:
                return None

    def _from_the_start(self, pattern: Any) -> str:
        text = getattr(pattern, "pattern", pattern)
        if not self.polars:
            return f"^(?:{text})"
        return text if text.startswith("^") else f"^{text}"


def _bounds(limits: Mapping[str, Any]) -> dict[str, Any] | None:
    made = {key: _scalar(value) for key, value in limits.items()}
    fitting = all(v is not None and not isinstance(v, bool | str) for v in made.values())
    return made if fitting else None


def _scalar(value: Any) -> Scalar | None:
    """A value as a contract holds it; ``None`` where it can hold none such."""
    if hasattr(value, "to_pydatetime"):
        return value.to_pydatetime()  # type: ignore[no-any-return]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bool | int | float | str | Decimal | date | datetime | time):
        return value
    return None


def _pattern(pattern: Any) -> dict[str, Any] | None:
    """The pattern, where it means the same in a contract."""
    text = getattr(pattern, "pattern", pattern)
    if getattr(pattern, "flags", 0) & ~32:  # flags but for re.UNICODE
        return None
    try:
        translate(text, Dialect.RUST)
    except UnportablePattern:
        return None
    return {"pattern": text}


def _literally(text: str) -> str:
    return "".join(f"\\{c}" if c in _SPECIAL else c for c in text)
