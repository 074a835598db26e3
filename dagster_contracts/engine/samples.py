"""Rows that break a rule, as people may see them: few, key first, JSON values, secrets hidden."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import narwhals as nw

from dagster_contracts.core.checks import PlannedRule
from dagster_contracts.core.contract import Json, SchemaObject, SchemaProperty
from dagster_contracts.core.rules import RowExpression, TypeMatch, columns_of
from dagster_contracts.engine.compiler import expression_columns
from dagster_contracts.engine.csv_source import RAW_PREFIX
from dagster_contracts.engine.items import asks_of_items
from dagster_contracts.engine.keys import COUNT, KeyRule, places
from dagster_contracts.engine.literal import all_of, any_of, instant_literal
from dagster_contracts.engine.measurement import Measurement
from dagster_contracts.engine.scan import Backend, Row, Scan

REDACTED = "[redacted]"
ROW_NUMBER = "row"
"""Shown where no key tells rows apart: the 0-based number of the row."""

# Any other classification is hidden: a word that we do not know is no permission to show.
_OPEN_CLASSIFICATIONS = frozenset({"", "public", "open", "internal", "none", "unclassified"})
_LONGEST_TEXT = 200
_MOST_ITEMS = 20
_IN_MEMORY = ("polars", "pandas", "pyarrow")
_FIRST_ROWS = 8_192
"""Where rows lie in memory, the first ones are looked at before all: a query starts with more."""
_MOST_QUERIES = {Backend.PYSPARK: 20}
"""Each rule's sample is a query of its own where the engine does not run them together."""

Sample = Mapping[str, Json]


def hidden_columns(target: SchemaObject) -> frozenset[str]:
    """The columns whose values no sample shows, for their own or a nested classification."""
    return frozenset(prop.column for prop in target.properties if _is_hidden(prop))


def _is_hidden(prop: SchemaProperty) -> bool:
    if (prop.classification or "").strip().lower() not in _OPEN_CLASSIFICATIONS:
        return True
    nested = [*prop.properties, *([prop.items] if prop.items is not None else [])]
    return any(_is_hidden(inner) for inner in nested)


@dataclass(frozen=True, slots=True)
class SampleSource:
    """Where samples come from and what may be shown: ``key`` columns first, ``hidden`` never."""

    scan: Scan
    key: tuple[str, ...]
    hidden: frozenset[str]
    names: Mapping[str, str]

    def sample(
        self, measurement: Measurement, rules: Collection[PlannedRule], limit: int
    ) -> dict[str, tuple[Sample, ...]]:
        """Up to ``limit`` rows for each of the failed rules, in one collection of queries."""
        if limit <= 0:
            return {}
        found = self._among_first(measurement, rules, limit)
        others = [rule for rule in rules if rule.name not in found]
        return found | self._among_all(measurement, others, limit)

    def _among_all(
        self, measurement: Measurement, rules: Collection[PlannedRule], limit: int
    ) -> dict[str, tuple[Sample, ...]]:
        together = self.scan.backend is Backend.POLARS
        queries: dict[str, nw.LazyFrame[Any]] = {}
        most = len(rules) if together else _MOST_QUERIES.get(self.scan.backend, 100)
        for rule in list(rules)[:most]:
            # A sample that cannot be asked for must not cost the counts.
            with suppress(Exception):
                query = self._query(rule, measurement)
                if query is not None:
                    queries[rule.name] = query.head(limit)
        if not queries:
            return {}
        if not together:
            return {name: self._alone(query) for name, query in queries.items()}
        try:
            answers = self.scan.collect(list(queries.values()), shared=False)
        except Exception:  # a sample that cannot be shown must not cost the others
            return {name: self._alone(query) for name, query in queries.items()}
        return {name: self.clean(rows) for name, rows in zip(queries, answers, strict=True)}

    def _among_first(
        self, measurement: Measurement, rules: Collection[PlannedRule], limit: int
    ) -> dict[str, tuple[Sample, ...]]:
        """The samples of rules that so many of the first rows break that no others are needed."""
        rows = measurement.rows or 0
        if self.scan.kind not in _IN_MEMORY or rows <= 2 * _FIRST_ROWS:
            return {}
        likely = [
            rule
            for rule in rules
            if rule.name in measurement.row_rules
            and (measurement.findings[rule.name].failed or 0) * _FIRST_ROWS >= 2 * limit * rows
        ]
        first = replace(self, scan=replace(self.scan, frame=self.scan.frame.head(_FIRST_ROWS)))
        found = first._among_all(measurement, likely, limit)
        return {name: shown for name, shown in found.items() if len(shown) == limit}

    def _query(self, rule: PlannedRule, measurement: Measurement) -> nw.LazyFrame[Any] | None:
        """The rows that break a rule; ``None`` where it is not about rows."""
        shown = self._shown(rule)
        flag: Any = None
        if rule.name in measurement.row_rules:
            broken = measurement.row_rules[rule.name]
            flag = broken.broken if broken.native is None else broken.native
            numbered = not self.key
        elif measurement.largest_groups.get(rule.name):
            groups = measurement.largest_groups[rule.name]
            flag = self._in_groups(measurement.key_rules[rule.name], groups)
            numbered = True
        elif isinstance(rule.test, TypeMatch) and shown:
            numbered = False
        else:
            return None
        whole = self._narrowed(rule, shown)
        frame = self._numbered(whole) if numbered else whole
        if frame is not whole:
            shown = [ROW_NUMBER, *shown]
        if isinstance(flag, nw.Expr):
            frame = frame.filter(flag)
        elif flag is not None:
            frame = nw.from_native(frame.to_native().filter(flag))
        return self._named(frame, shown)

    def _named(self, frame: nw.LazyFrame[Any], shown: Sequence[str]) -> nw.LazyFrame[Any]:
        """These columns, under the data's own names."""
        if not self.scan.spelled:
            return frame.select(*shown)  # names alone cost a tenth of expressions
        return frame.select(*[self.scan.column(name).alias(name) for name in shown])

    def _alone(self, query: nw.LazyFrame[Any]) -> tuple[Sample, ...]:
        try:
            return self.clean(self.scan.collect([query])[0])
        except Exception:  # the counts stand without it
            return ()

    def _narrowed(self, rule: PlannedRule, shown: Sequence[str]) -> nw.LazyFrame[Any]:
        """The columns that the rule and its sample need."""
        if asks_of_items(rule.test):
            return self.scan.frame  # flags of rows stand in it, beside the data
        needed = [*shown, *columns_of(rule.test)]
        for text in (rule.filter, getattr(rule.test, "text", None)):
            if text is not None:
                needed += expression_columns(text, self.names)
        return self.scan.only(name for name in needed if name in self._known)

    def _shown(self, rule: PlannedRule) -> list[str]:
        named = list(columns_of(rule.test))
        if isinstance(rule.test, RowExpression):
            named += expression_columns(rule.test.text, self.names)
        found = [name for name in dict.fromkeys((*self.key, *named)) if name in self._known]
        if isinstance(rule.test, TypeMatch) and self.scan.kind in ("csv", "json"):
            # The text that could not be read, not the null that it became.
            raw = self.scan.type_flags
            return [RAW_PREFIX + name if name in raw else name for name in found]
        return found

    @property
    def _known(self) -> frozenset[str]:
        return frozenset(self.scan.schema) - frozenset(self.scan.strange)

    def _numbered(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        """The frame with the numbers of its rows, where rows have an order."""
        if self.scan.backend is not Backend.POLARS or ROW_NUMBER in self.scan.schema:
            return frame
        numbered: nw.LazyFrame[Any] = nw.from_native(frame.to_native().with_row_index(ROW_NUMBER))
        return numbered

    def _in_groups(self, rule: KeyRule, groups: Sequence[Row]) -> nw.Expr:
        """True for the rows of these groups; whole groups, the first row included."""
        schema = self.scan.schema
        same: list[nw.Expr] = [
            all_of(
                [
                    _equals(self.scan.column(name), group[place], schema[name])
                    for name, place in zip(rule.columns, places(rule.columns), strict=True)
                ]
            )
            for group in groups
        ]
        found = any_of(same)
        return found if rule.within is None else found & rule.within

    def clean(self, rows: Sequence[Row], *, made: bool = False) -> tuple[Sample, ...]:
        """Rows as JSON values, without what must stay hidden.

        ``made`` by the team's code: what is no column of the data may be made of hidden ones.
        """
        cleaned: list[Sample] = []
        for row in rows:
            shown: dict[str, Json] = {}
            for name, value in row.items():
                plain = name.removeprefix(RAW_PREFIX)
                if plain == COUNT:
                    continue
                hide = plain in self.hidden or (
                    made and bool(self.hidden) and plain not in self.scan.schema
                )
                shown[plain] = REDACTED if hide and value is not None else json_value(value)
            cleaned.append(shown)
        return tuple(cleaned)


def _equals(column: nw.Expr, value: Any, dtype: nw.dtypes.DType) -> nw.Expr:
    if dtype == nw.Datetime and isinstance(value, datetime):
        return column == instant_literal(value, dtype)
    if dtype == nw.Categorical or dtype == nw.Enum:
        return column.cast(nw.String) == nw.lit(value)
    if dtype.is_numeric() or dtype == nw.Date or dtype == nw.Time:
        return column == nw.lit(value, dtype=dtype)
    return column == nw.lit(value)


def json_value(value: Any, depth: int = 0) -> Json:
    """Any value of a cell as JSON; long ones are cut, and what JSON has no word for is text."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return value if len(value) <= _LONGEST_TEXT else value[: _LONGEST_TEXT - 1] + "…"
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta() | Decimal():
            return str(value)
        case bytes():
            return json_value("0x" + value[:_LONGEST_TEXT].hex())
        case dict() if depth < 4:
            items = list(value.items())[:_MOST_ITEMS]
            return {str(key): json_value(item, depth + 1) for key, item in items}
        case list() | tuple() if depth < 4:
            return [json_value(item, depth + 1) for item in value[:_MOST_ITEMS]]
        case _:
            return json_value(str(value))
