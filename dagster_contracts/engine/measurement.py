"""Count what breaks each rule: one query for all rows, one more for each key.

The queries of one engine are collected together. Where that fails, what is asked is halved until
what fails stands alone, so that one bad rule cannot hide the others, and costs few more queries.

Measured and left out: samples from the frame that has all flags beside the data (each query's plan
is pruned of them, three times the cost at a thousand rows).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, TypeAlias

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
from dagster_contracts.engine.code_shapes import unlike
from dagster_contracts.engine.compiler import (
    BrokenColumnError,
    Columns,
    UncompilableError,
    absent,
    compile_test,
    holds,
    present,
)
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.keys import (
    Groups,
    KeyRule,
    among_hashes,
    counted_groups,
    key_finding,
    key_rule,
    largest_groups,
    read_groups,
    repeated_hashes,
)
from dagster_contracts.engine.polars_expressions import as_polars, without_rows
from dagster_contracts.engine.scan import Backend, Row, Scan, UnreachableDataError, first_line

_MOST_NESTED = 16

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
    """A rule about single rows: ``broken`` is true for them; ``part`` is where it is computed.

    ``native`` is the same for Polars, where it has been translated already.
    """

    rule: PlannedRule
    broken: nw.Expr
    part: str
    native: Any = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """All counts.

    ``broken_rows`` has, for each kind of rule, the rows that break at least one row-level rule of
    it. ``missing`` has the null or NaN values of each column, ``spans`` the oldest and the newest
    moment of columns of time, as the engine gives them. ``torn_columns`` are those whose values
    cannot be had, with what is said of them: a lazy frame may promise more than it keeps. The rest
    is kept for the samples.
    """

    rows: int | None
    findings: Mapping[str, Finding]
    broken_rows: Mapping[OutcomeKind, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    spans: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    row_rules: Mapping[str, RowRule] = field(default_factory=dict)
    key_rules: Mapping[str, KeyRule] = field(default_factory=dict)
    largest_groups: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    torn_columns: Mapping[str, Finding] = field(default_factory=dict)
    unreadable: str | None = None


def measure(
    rules: Sequence[PlannedRule],
    scan: Scan,
    columns: Columns,
    *,
    counted: Sequence[str] = (),
    times: Sequence[str] = (),
    groups_shown: int = 3,
) -> Measurement:
    """Measure every rule that rows, keys or aggregates answer; the others are left to others.

    ``counted`` are the columns whose missing values are counted, ``times`` those whose oldest and
    newest moments are asked for.
    """
    plain = scan.backend is Backend.POLARS and not (
        scan.strange or scan.untyped or scan.type_flags or scan.spelled or scan.refused
    )
    if not plain or columns.problems or columns.item_flags:
        made = _planned(rules, scan, columns, counted, times)
        if scan.backend is Backend.POLARS:
            made = made.translated()
        return made.run(groups_shown)
    key = (tuple(map(id, rules)), tuple(scan.schema.items()), tuple(counted), tuple(times))
    known = _KNOWN.get(key)
    if known is None:
        # Made over no rows: what is kept must not keep the data.
        empty = Scan(scan.kind, scan.backend, without_rows(scan.frame), scan.schema)
        made = _planned(rules, empty, replace(columns, scan=empty), counted, times)
        known = _Known(rules, made.translated())
        while len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.pop(next(iter(_KNOWN)), None)
        _KNOWN[key] = known
    return known.plan.over(scan, columns).run(groups_shown)


def _planned(
    rules: Sequence[PlannedRule],
    scan: Scan,
    columns: Columns,
    counted: Sequence[str],
    times: Sequence[str],
) -> _Plan:
    plan = _Plan(scan, columns)
    for rule in rules:
        plan.add(rule)
    for name in counted:
        plan.count_missing(name)
    for name in times:
        plan.ask_span(name)
    return plan


@dataclass(frozen=True, slots=True)
class _Answer:
    """How a finding is read, and the answers that it needs."""

    needs: tuple[str, ...]
    read: Callable[[Row], Finding]


_Asked: TypeAlias = tuple[str, str, nw.Expr]
"""The name of an answer, the part (or the column) that it needs, and how it is asked for."""


@dataclass
class _Plan:
    """The queries as they grow, and how their answers become findings.

    ``parts`` are computed for each row and stand beside the data; ``counted`` ones are flags whose
    true values are counted, ``aggregates`` are asked over a part. In one step engines would not see
    that a flag is counted and asked for again in "any rule broken", and compute it twice.
    """

    scan: Scan
    columns: Columns
    parts: dict[str, nw.Expr] = field(default_factory=dict)
    counted: list[str] = field(default_factory=list)
    aggregates: dict[str, tuple[str, nw.Expr]] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)
    readers: dict[str, _Answer] = field(default_factory=dict)
    row_rules: dict[str, RowRule] = field(default_factory=dict)
    key_rules: dict[str, KeyRule] = field(default_factory=dict)
    key_filters: dict[str, str] = field(default_factory=dict)
    missing_parts: dict[str, str] = field(default_factory=dict)
    times: dict[str, tuple[str, str]] = field(default_factory=dict)
    native: tuple[tuple[Any, ...], ...] = ()

    def translated(self) -> _Plan:
        """The same plan with what Polars is asked for all rows in its own words."""
        stages = [self._first_stage(), self._flags_of_any(), self._asked_of_all()]
        try:
            native = tuple(as_polars(stage) for stage in stages)
            shaped = self._short_codes()
        except Exception:  # the rule that cannot be translated is found when the plan is run
            return self
        parts = dict(zip(self.parts, native[0], strict=False))
        named = {name: shaped.get(name, expr) for name, expr in parts.items()}
        native = ((*named.values(), *native[0][len(named) :]), *native[1:])
        rules = {n: replace(r, native=named[r.part]) for n, r in self.row_rules.items()}
        return replace(self, native=native, row_rules=rules)

    def _short_codes(self) -> dict[str, Any]:
        """The parts of patterns for which there is a quicker way than a regular expression."""
        found = {}
        for made in self.row_rules.values():
            match made.rule.test:
                case Pattern((column,), pattern) if made.rule.filter is None:
                    name = self.scan.spelled.get(column, column)
                    is_text = self.columns.schema[column] == nw.String
                    test = unlike(name, pattern) if is_text else None
                    if test is not None:
                        found[made.part] = test.alias(made.part)
        return found

    def over(self, scan: Scan, columns: Columns) -> _Plan:
        """The same plan for other data of the same schema."""
        keys = {
            name: key_rule(key.rule, key.columns, scan, columns, key.within)
            for name, key in self.key_rules.items()
        }
        return replace(self, scan=scan, columns=columns, key_rules=keys)

    def part(self, expr: nw.Expr) -> str:
        name = f"__contracts_p{len(self.parts)}"
        self.parts[name] = expr
        return name

    def count(self, flag: nw.Expr) -> str:
        """A part whose true values are counted; the answer has its name."""
        name = self.part(flag)
        self.counted.append(name)
        return name

    def _counts(self, names: Sequence[str]) -> list[nw.Expr]:
        """The number of rows for which each of these flags is true, under its name."""
        if not names:
            return []
        if self.scan.backend is Backend.POLARS:
            return [nw.col(*names).sum()]
        # Databases neither sum nor cast booleans alike; all of them count.
        return [nw.when(nw.col(n)).then(nw.lit(1)).count().alias(n) for n in names]

    def count_missing(self, name: str) -> str:
        if name not in self.missing_parts:
            flag = absent(name, self.columns.schema[name], self.scan)
            self.missing_parts[name] = self.count(flag)
        return self.missing_parts[name]

    def ask_span(self, name: str) -> None:
        """Ask for the oldest and the newest moment of a column; once, however often it is named."""
        if name not in self.times:
            number = len(self.times)
            self.times[name] = (f"oldest{number}", f"newest{number}")
            column = self.scan.column(name)
            self.aggregates[f"oldest{number}"] = (name, column.min())
            self.aggregates[f"newest{number}"] = (name, column.max())

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
        test, tested = rule.test, "rows"
        needs: tuple[str, ...] = ()
        if within is not None:
            flag = flag & within
            tested = self.count(within)
            needs = (tested,)
        if isinstance(test, Required) and len(test.path) == 1 and within is None:
            failed = self.count_missing(test.path[0])
        else:
            failed = self.count(flag)
        self.row_rules[rule.name] = RowRule(rule, flag, failed)
        self.readers[rule.name] = _Answer(
            (failed, *needs), lambda row: Finding(tested=row[tested], failed=row[failed])
        )

    def add_key(self, rule: PlannedRule, key: tuple[str, ...]) -> None:
        within = self.filter_of(rule)
        self.key_rules[rule.name] = key_rule(rule, key, self.scan, self.columns, within)
        if within is not None:
            self.key_filters[rule.name] = self.count(within)

    def add_aggregate(self, rule: PlannedRule, test: Aggregate) -> None:
        within = self.filter_of(rule)
        if test.metric is LibraryMetric.ROW_COUNT:
            counted = "rows" if within is None else self.count(within)
            needs = () if within is None else (counted,)
            self.readers[rule.name] = _Answer(
                needs, lambda row: Finding(value=Fraction(row[counted]))
            )
            return
        column = test.column or ""
        dtype = self.columns.require((column,))
        if not dtype.is_numeric():
            raise UncompilableError(f"{test.metric.value} of a column of type {dtype}")
        value = self.scan.column(column)
        kept = present(value, dtype) if within is None else present(value, dtype) & within
        part = self.part(nw.when(kept).then(value))
        # Short: databases cut long names.
        alias = f"aggregate{len(self.aggregates)}"
        widest = self.scan.backend.widest_integer
        self.aggregates[alias] = (part, _aggregate(test, nw.col(part), dtype, widest))
        tested = self.count(kept)
        self.readers[rule.name] = _Answer(
            (alias, tested), lambda row: _aggregated(row[alias], row[tested])
        )

    def run(self, groups_shown: int) -> Measurement:
        try:
            return self._run_together(groups_shown)
        except UnreachableDataError:
            raise
        except Exception:  # engines raise what they like; now each rule gets its own chance
            return self._run_apart(groups_shown)

    def _staged(self, names: Iterable[str]) -> nw.LazyFrame[Any]:
        wanted = self._stage(names)
        return self.scan.frame.select(*wanted) if wanted else self.scan.frame

    def _stage(self, names: Iterable[str]) -> list[nw.Expr]:
        """These parts, and what else is named: columns of the data."""
        return [self.parts[n].alias(n) if n in self.parts else self.scan.column(n) for n in names]

    def _first_stage(self) -> list[nw.Expr]:
        columns = (part for part, _ in self.aggregates.values())
        return self._stage(dict.fromkeys([*self.parts, *columns]))

    def _flags_of_any(self) -> list[nw.Expr]:
        found = self._broken_row_flags(self.row_rules)
        return [flag.alias(name) for name, flag in found.items()]

    def _asked_of_all(self) -> list[nw.Expr]:
        kinds = dict.fromkeys(_any_of(found.rule.kind) for found in self.row_rules.values())
        return [
            nw.len().alias("rows"),
            *[expr.alias(alias) for alias, (_, expr) in self.aggregates.items()],
            *self._counts([*self.counted, *kinds]),
        ]

    def _fused(self) -> nw.LazyFrame[Any]:
        """One row: whatever is asked of all rows."""
        frame = self.scan.frame.to_native() if self.native else self.scan.frame
        first, flags, asked = self.native or (
            self._first_stage(),
            self._flags_of_any(),
            self._asked_of_all(),
        )
        frame = frame.select(*first) if first else frame
        frame = frame.with_columns(*flags) if flags else frame
        fused: nw.LazyFrame[Any] = nw.from_native(frame.select(*asked))
        return fused

    def _run_together(self, shown: int) -> Measurement:
        fused = self._fused()
        hashed = {n: r for n, r in self.key_rules.items() if r.hashed and not r.counts_groups}
        direct = {n: r for n, r in self.key_rules.items() if n not in hashed}
        answers = self.scan.collect(
            [
                fused,
                *[repeated_hashes(rule) for rule in hashed.values()],
                *[counted_groups(rule) for rule in direct.values()],
            ]
        )
        row = answers.pop(0)[0]
        groups: dict[str, Groups] = {}
        suspects: dict[str, KeyRule] = {}
        for name, rule in hashed.items():
            found = answers.pop(0)
            if found:
                suspects[name] = among_hashes(rule, found)
            else:
                groups[name] = Groups(groups=0)
        for name in direct:
            groups[name] = read_groups(answers.pop(0))
        repeated = {name: rule for name, rule in direct.items() if groups[name].rows}
        answers = self.scan.collect(
            [
                *[counted_groups(rule) for rule in suspects.values()],
                *[largest_groups(rule, shown) for rule in (*suspects.values(), *repeated.values())],
            ]
        )
        for name in suspects:
            groups[name] = read_groups(answers.pop(0))
        for name in (*suspects, *repeated):
            groups[name] = replace(groups[name], largest=answers.pop(0))
        findings = dict(self.findings)
        for name, answer in self.readers.items():
            findings[name] = answer.read(row)
        for name, rule in self.key_rules.items():
            findings[name] = self._key_finding(rule, groups[name], row)
        return self._measured(row, findings, groups)

    def _key_finding(self, rule: KeyRule, groups: Groups, row: Row) -> Finding:
        return key_finding(rule, groups, row[self.key_filters.get(rule.rule.name, "rows")])

    def _broken_row_flags(self, names: Iterable[str]) -> dict[str, nw.Expr]:
        flags: dict[str, list[str]] = {}
        for name in names:
            compiled = self.row_rules[name]
            flags.setdefault(_any_of(compiled.rule.kind), []).append(compiled.part)
        return {
            name: self._any_of([nw.col(part) for part in dict.fromkeys(found)])
            for name, found in flags.items()
        }

    def _any_of(self, flags: list[nw.Expr]) -> nw.Expr:
        if self.scan.backend is not Backend.POLARS:
            # They nest one "or" in the next: hundreds of them are too deep for Spark's stack.
            while len(flags) > _MOST_NESTED:
                flags = [
                    nw.any_horizontal(*flags[at : at + _MOST_NESTED], ignore_nulls=True)
                    for at in range(0, len(flags), _MOST_NESTED)
                ]
        return nw.any_horizontal(*flags, ignore_nulls=True)

    def _measured(
        self,
        row: Row,
        findings: Mapping[str, Finding],
        groups: Mapping[str, Groups],
    ) -> Measurement:
        kinds = (OutcomeKind.SCHEMA, OutcomeKind.QUALITY)
        return Measurement(
            rows=row["rows"],
            findings=findings,
            broken_rows={kind: row.get(_any_of(kind)) or 0 for kind in kinds},
            missing={name: row[part] for name, part in self.missing_parts.items() if part in row},
            spans={
                name: (row.get(oldest), row.get(newest))
                for name, (oldest, newest) in self.times.items()
            },
            row_rules=self.row_rules,
            key_rules=self.key_rules,
            largest_groups={name: found.largest for name, found in groups.items()},
        )

    def _run_apart(self, shown: int) -> Measurement:
        try:
            row = dict(self.scan.collect([self.scan.frame.select(nw.len().alias("rows"))])[0][0])
        except UnreachableDataError:
            raise
        except Exception as error:  # nothing can be asked of this data
            reason = f"the data cannot be read: {type(error).__name__}: {first_line(error)}"
            return Measurement(rows=None, findings={}, unreadable=reason)
        findings = dict(self.findings)
        asked = [(name, name, self._counts([name])[0]) for name in self.counted]
        asked += [(alias, part, e.alias(alias)) for alias, (part, e) in self.aggregates.items()]
        errors = self._halved(asked, row)
        for name, answer in self.readers.items():
            failures = [errors[alias] for alias in answer.needs if alias in errors]
            findings[name] = _failed_to_run(failures[0]) if failures else answer.read(row)
        groups: dict[str, Groups] = {}
        for name, rule in self.key_rules.items():
            within = errors.get(self.key_filters.get(name, ""))
            if within is not None:
                findings[name] = _failed_to_run(within)
                continue
            try:
                (counted,) = self.scan.collect([counted_groups(rule)])
                groups[name] = read_groups(counted)
                if groups[name].rows:
                    (largest,) = self.scan.collect([largest_groups(rule, shown)])
                    groups[name] = replace(groups[name], largest=largest)
                findings[name] = self._key_finding(rule, groups[name], row)
            except UnreachableDataError:
                raise
            except Exception as error:  # a key of a type that cannot be grouped
                findings[name] = _failed_to_run(error)
        sound = [name for name in self.row_rules if findings[name].unmeasured is None]
        parts = [self.row_rules[name].part for name in sound]
        for name, flag in self._broken_row_flags(sound).items():
            self._ask(parts, self._counts([name]), row, [flag.alias(name)])
        torn = {
            name: Finding(
                broken=f"{name} cannot be read: {type(wrong).__name__}", quoted=first_line(wrong)
            )
            for name, part in self.missing_parts.items()
            if (wrong := errors.get(part)) is not None
        }
        measured = self._measured(row, findings, groups)
        return replace(measured, torn_columns=torn)

    def _halved(self, asked: Sequence[_Asked], row: Row) -> dict[str, Exception]:
        """Ask for all of these; where that fails, for each half. The errors of those that fail."""
        if not asked:
            return {}
        parts = [part for _, part, _ in asked]
        failed = self._ask(parts, [expr for _, _, expr in asked], row)
        if failed is None:
            return {}
        if len(asked) == 1:
            return {asked[0][0]: failed}
        half = len(asked) // 2
        return {**self._halved(asked[:half], row), **self._halved(asked[half:], row)}

    def _ask(
        self,
        parts: Iterable[str],
        wanted: Sequence[nw.Expr],
        row: Row,
        flags: Sequence[nw.Expr] = (),
    ) -> Exception | None:
        """Answer into ``row`` what is asked over parts (and flags made of them), or say why not."""
        try:
            staged = self._staged(dict.fromkeys(parts))
            staged = staged.with_columns(*flags) if flags else staged
            row.update(self.scan.collect([staged.select(*wanted)])[0][0])
        except UnreachableDataError:
            raise
        except Exception as error:  # what fails alone is what broke the fused query
            return error
        return None


@dataclass(frozen=True, slots=True)
class _Known:
    """A plan that may be used again; ``rules`` are kept so that no others take their place."""

    rules: Sequence[PlannedRule]
    plan: _Plan


_MOST_KNOWN = 64
_KNOWN: dict[tuple[Any, ...], _Known] = {}


def _any_of(kind: OutcomeKind) -> str:
    return f"__contracts_any_{kind.value}"


def _failed_to_run(error: Exception) -> Finding:
    reason = f"the rule failed to run: {type(error).__name__}"
    return Finding(unmeasured=reason, quoted=first_line(error))


def _aggregate(
    test: Aggregate, value: nw.Expr, dtype: nw.dtypes.DType, widest: nw.dtypes.DType
) -> nw.Expr:
    match test.metric:
        case LibraryMetric.MINIMUM:
            return value.min()
        case LibraryMetric.MAXIMUM:
            return value.max()
        case LibraryMetric.SUM:
            # 64 bits wrap in silence on some engines, and some add short floats as such.
            if dtype.is_integer():
                return value.cast(widest).sum()
            return (value.cast(nw.Float64) if dtype.is_float() else value).sum()
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
