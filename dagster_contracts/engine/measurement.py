"""Count what breaks each rule: one query for all rows, one more for each key.

The queries of one engine are collected together. Where that fails, each rule is run on its own, so
that one bad rule cannot hide the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import narwhals as nw

from dagster_contracts.core.checks import PlannedRule
from dagster_contracts.core.contract import LibraryMetric
from dagster_contracts.core.outcome import OutcomeKind
from dagster_contracts.core.rules import (
    Aggregate,
    All,
    Bound,
    Enumerated,
    Format,
    Length,
    MultipleOf,
    NotMissing,
    Pattern,
    Required,
    RowExpression,
    TypeMatch,
    Unique,
    UniqueItems,
)
from dagster_contracts.engine.compiler import (
    BrokenColumnError,
    Columns,
    UncompilableError,
    compile_test,
    holds,
    missing,
    present,
)
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.literal import all_of
from dagster_contracts.engine.scan import Backend, Row, Scan, first_line

COUNT = "__contracts_n"
"""Name of the column that counts the rows of a group."""

_ROW_TESTS = (
    Required,
    NotMissing,
    Enumerated,
    Bound,
    Length,
    Pattern,
    Format,
    MultipleOf,
    UniqueItems,
    All,
    RowExpression,
)


@dataclass(frozen=True, slots=True)
class RowRule:
    """A rule about single rows, compiled: its flag, and the filter that picks its rows."""

    rule: PlannedRule
    flag: nw.Expr
    within: nw.Expr | None = None


@dataclass(frozen=True, slots=True)
class KeyRule:
    """A rule about the groups of a key."""

    rule: PlannedRule
    columns: tuple[str, ...]
    groups: nw.LazyFrame[Any]
    within: nw.Expr | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """All counts.

    ``broken_rows`` has, for each kind of rule, the rows that break at least one row-level rule of
    it. ``missing`` has the null or NaN values of each column, ``newest`` the newest event time as
    the engine gives it. ``flags`` and ``duplicates`` are kept for the samples.
    """

    rows: int | None
    findings: Mapping[str, Finding]
    broken_rows: Mapping[OutcomeKind, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    newest: Any = None
    row_rules: Mapping[str, RowRule] = field(default_factory=dict)
    key_rules: Mapping[str, KeyRule] = field(default_factory=dict)
    duplicates: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    unreadable: str | None = None


def measure(
    rules: Sequence[PlannedRule],
    scan: Scan,
    columns: Columns,
    *,
    counted: Sequence[str] = (),
    event_time: str | None = None,
    groups_shown: int = 3,
) -> Measurement:
    """Measure every rule that rows, keys or aggregates answer; the others are left to others.

    ``counted`` are the columns whose missing values are counted.
    """
    plan = _Plan(scan, columns)
    for rule in rules:
        plan.add(rule)
    for name in counted:
        plan.count_missing(name)
    if event_time is not None:
        plan.select("newest", nw.col(event_time).max())
    return plan.run(groups_shown)


@dataclass
class _Plan:
    """The queries as they grow, and how their answers become findings."""

    scan: Scan
    columns: Columns
    selected: dict[str, nw.Expr] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)
    readers: dict[str, Callable[[Row], Finding]] = field(default_factory=dict)
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    row_rules: dict[str, RowRule] = field(default_factory=dict)
    key_rules: dict[str, KeyRule] = field(default_factory=dict)
    missing_alias: dict[str, str] = field(default_factory=dict)

    def select(self, alias: str, expr: nw.Expr) -> str:
        self.selected[alias] = expr
        return alias

    def count(self, flag: nw.Expr) -> nw.Expr:
        """How many rows a flag is true for."""
        if self.scan.backend is Backend.POLARS:
            return flag.sum()
        # Databases neither sum nor cast booleans alike; all of them count.
        return nw.when(flag).then(nw.lit(1)).count()

    def count_missing(self, name: str) -> str:
        alias = self.missing_alias.get(name)
        if alias is None:
            alias = f"m{len(self.missing_alias)}"
            self.missing_alias[name] = alias
            self.select(alias, self.count(missing(nw.col(name), self.columns.schema[name])))
        return alias

    def add(self, rule: PlannedRule) -> None:
        try:
            match rule.test:
                case Unique() as test:
                    self.add_key(rule, test.columns)
                case Aggregate(LibraryMetric.DISTINCT_COUNT, str(column)):
                    self.add_key(rule, (column,))
                case Aggregate() as test:
                    self.add_aggregate(rule, test)
                case TypeMatch(path) if path[0] in self.scan.type_flags and len(path) == 1:
                    self.add_row_rule(rule, self.scan.type_flags[path[0]])
                case test if isinstance(test, _ROW_TESTS):
                    self.add_row_rule(rule, compile_test(test, self.columns))
                case _:
                    return
        except BrokenColumnError as error:
            self.findings[rule.name] = Finding(broken=str(error))
        except UncompilableError as error:
            self.findings[rule.name] = Finding(unmeasured=str(error))

    def filter_of(self, rule: PlannedRule) -> nw.Expr | None:
        if rule.filter is None:
            return None
        return holds(rule.filter, self.columns)

    def add_row_rule(self, rule: PlannedRule, flag: nw.Expr) -> None:
        within = self.filter_of(rule)
        number = len(self.row_rules)
        test = rule.test
        needs: tuple[str, ...]
        if within is not None:
            flag = flag & within
            tested = self.select(f"t{number}", self.count(within))
            failed = self.select(f"f{number}", self.count(flag))
            needs = (failed, tested)
        else:
            tested = "rows"
            if isinstance(test, Required) and len(test.path) == 1:
                failed = self.count_missing(test.path[0])
            else:
                failed = self.select(f"f{number}", self.count(flag))
            needs = (failed,)
        self.row_rules[rule.name] = RowRule(rule, flag, within)
        self.needs[rule.name] = needs
        self.readers[rule.name] = lambda row: Finding(tested=row[tested], failed=row[failed])

    def add_key(self, rule: PlannedRule, key: tuple[str, ...]) -> None:
        filters = [present(nw.col(name), self.columns.require((name,))) for name in key]
        within = self.filter_of(rule)
        if within is not None:
            self.select(f"t_{rule.name}", self.count(within))
            filters.append(within)
        frame = self.scan.frame.filter(all_of(filters)).select(*key)
        groups = frame.group_by(*key).agg(nw.len().alias(COUNT))
        self.key_rules[rule.name] = KeyRule(rule, key, groups, within)

    def add_aggregate(self, rule: PlannedRule, test: Aggregate) -> None:
        within = self.filter_of(rule)
        name = rule.name
        if test.metric is LibraryMetric.ROW_COUNT:
            alias = "rows"
            if within is not None:
                alias = self.select(f"a_{name}", self.count(within))
            self.needs[name] = (alias,)
            self.readers[name] = lambda row: Finding(value=Fraction(row[alias]))
            return
        assert test.column is not None
        dtype = self.columns.require((test.column,))
        if not dtype.is_numeric():
            raise UncompilableError(f"{test.metric.value} of a column of type {dtype}")
        value = nw.col(test.column)
        kept = present(value, dtype) if within is None else present(value, dtype) & within
        if dtype.is_float() or within is not None:
            value = nw.when(kept).then(value)
        alias = self.select(f"a_{name}", _aggregate(test, value, dtype))
        tested = self.select(f"n_{name}", self.count(kept))
        self.needs[name] = (alias, tested)
        self.readers[name] = lambda row: _aggregated(row[alias], row[tested])

    def run(self, groups_shown: int) -> Measurement:
        frame = self.scan.frame
        broken = self._broken_row_flags(self.row_rules.values())
        fused = frame.select(
            nw.len().alias("rows"),
            *[expr.alias(alias) for alias, expr in self.selected.items()],
            *[self.count(flag).alias(f"any_{kind}") for kind, flag in broken.items()],
        )
        keys = [query for rule in self.key_rules.values() for query in _key_queries(rule)]
        shown = [_largest_groups(rule, groups_shown) for rule in self.key_rules.values()]
        try:
            answers = self.scan.collect([fused, *keys, *shown])
        except Exception:  # engines raise what they like; each rule gets its own chance below
            return self._run_one_by_one(groups_shown)
        row = answers[0][0]
        findings = dict(self.findings)
        for name, read in self.readers.items():
            findings[name] = read(row)
        duplicates = {}
        for number, (name, rule) in enumerate(self.key_rules.items()):
            findings[name] = _key_finding(rule, answers[1 + number], row)
            duplicates[name] = answers[1 + len(keys) + number]
        return self._measured(row, findings, duplicates)

    def _broken_row_flags(self, rules: Any) -> dict[OutcomeKind, nw.Expr]:
        flags: dict[OutcomeKind, list[nw.Expr]] = {}
        for compiled in rules:
            flags.setdefault(compiled.rule.kind, []).append(compiled.flag)
        return {kind: nw.any_horizontal(*found, ignore_nulls=True) for kind, found in flags.items()}

    def _measured(
        self,
        row: Row,
        findings: Mapping[str, Finding],
        duplicates: Mapping[str, Sequence[Row]],
    ) -> Measurement:
        kinds = (OutcomeKind.SCHEMA, OutcomeKind.QUALITY)
        return Measurement(
            rows=row["rows"],
            findings=findings,
            broken_rows={kind: row.get(f"any_{kind}") or 0 for kind in kinds},
            missing={
                name: row[alias] for name, alias in self.missing_alias.items() if alias in row
            },
            newest=row.get("newest"),
            row_rules=self.row_rules,
            key_rules=self.key_rules,
            duplicates=duplicates,
        )

    def _run_one_by_one(self, groups_shown: int) -> Measurement:
        frame = self.scan.frame
        try:
            row = dict(self.scan.collect([frame.select(nw.len().alias("rows"))])[0][0])
        except Exception as error:  # nothing can be asked of this data
            reason = f"the data cannot be read: {type(error).__name__}: {first_line(error)}"
            return Measurement(rows=None, findings={}, unreadable=reason)
        findings = dict(self.findings)
        sound: list[RowRule] = []
        for name, read in self.readers.items():
            wanted = [alias for alias in self.needs[name] if alias not in row]
            try:
                self._ask(wanted, row)
                findings[name] = read(row)
                if name in self.row_rules:
                    sound.append(self.row_rules[name])
            except Exception as error:  # the rule that broke the fused query
                findings[name] = _failed_to_run(error)
        for alias in [*self.missing_alias.values(), "newest", *self.selected]:
            if alias not in row and alias in self.selected:
                # A metric that cannot be measured is left out, and so is unknown.
                self._ask_quietly(alias, self.selected[alias], row)
        duplicates: dict[str, Sequence[Row]] = {}
        for name, rule in self.key_rules.items():
            top = _largest_groups(rule, groups_shown)
            try:
                answer, duplicates[name] = self.scan.collect([*_key_queries(rule), top])
                findings[name] = _key_finding(rule, answer, row)
            except Exception as error:  # a key of a type that cannot be grouped
                findings[name] = _failed_to_run(error)
        for kind, flag in self._broken_row_flags(sound).items():
            self._ask_quietly(f"any_{kind}", self.count(flag), row)
        return self._measured(row, findings, duplicates)

    def _ask(self, aliases: Sequence[str], row: Row) -> None:
        if aliases:
            query = self.scan.frame.select(*[self.selected[a].alias(a) for a in aliases])
            row.update(self.scan.collect([query])[0][0])

    def _ask_quietly(self, alias: str, expr: nw.Expr, row: Row) -> None:
        try:
            row.update(self.scan.collect([self.scan.frame.select(expr.alias(alias))])[0][0])
        except Exception:  # the finding of the rule that it belongs to says what went wrong
            return


def _failed_to_run(error: Exception) -> Finding:
    reason = f"the rule failed to run: {type(error).__name__}: {first_line(error)}"
    return Finding(unmeasured=reason)


def _largest_groups(rule: KeyRule, shown: int) -> nw.LazyFrame[Any]:
    """The groups that repeat most; the smallest key first where they tie, so that runs agree."""
    repeated = rule.groups.filter(nw.col(COUNT) > 1)
    largest = [True, *[False] * len(rule.columns)]
    return repeated.sort(COUNT, *rule.columns, descending=largest).head(shown)


def _key_queries(rule: KeyRule) -> list[nw.LazyFrame[Any]]:
    if isinstance(rule.rule.test, Aggregate):
        return [rule.groups.select(nw.len().alias("groups"))]
    repeated = rule.groups.filter(nw.col(COUNT) > 1)
    return [repeated.select(nw.col(COUNT).sum().alias("rows"), nw.len().alias("groups"))]


def _key_finding(rule: KeyRule, answer: Sequence[Row], row: Row) -> Finding:
    found = answer[0]
    if isinstance(rule.rule.test, Aggregate):
        return Finding(value=Fraction(found["groups"]))
    tested = row["rows"] if rule.within is None else row[f"t_{rule.rule.name}"]
    # The rows beyond the first of each group.
    failed = int(found["rows"] or 0) - found["groups"]
    return Finding(tested=tested, failed=failed)


def _aggregate(test: Aggregate, value: nw.Expr, dtype: nw.dtypes.DType) -> nw.Expr:
    match test.metric:
        case LibraryMetric.MINIMUM:
            return value.min()
        case LibraryMetric.MAXIMUM:
            return value.max()
        case LibraryMetric.SUM:
            # 64 bits wrap in silence on some engines.
            return (value.cast(nw.Int128) if dtype.is_integer() else value).sum()
        case LibraryMetric.MEAN:
            return value.cast(nw.Float64).mean()
        case LibraryMetric.STDDEV:
            return value.cast(nw.Float64).std(ddof=1)
        case LibraryMetric.QUANTILE:
            wanted = float(test.quantile if test.quantile is not None else Fraction(1, 2))
            return value.cast(nw.Float64).quantile(wanted, interpolation="linear")
        case _:
            raise UncompilableError(f"{test.metric.value} is no aggregate")


def _aggregated(value: Any, tested: int) -> Finding:
    if value is None or tested == 0:
        return Finding(tested=tested, unmeasured="there is no value to aggregate")
    if value != value or value in (float("inf"), float("-inf")):
        return Finding(tested=tested, unmeasured=f"the aggregate is {value}")
    return Finding(tested=tested, value=Fraction(value))
