"""Validate data against a contract: one pass, one outcome for each rule."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import narwhals as nw

from dagster_contracts.core.checks import CheckPlan, PlannedRule, plan_checks
from dagster_contracts.core.contract import Contract, SchemaObject, SlaProperty
from dagster_contracts.core.outcome import (
    CheckOutcome,
    OutcomeKind,
    OutcomeStatus,
)
from dagster_contracts.core.rules import (
    Custom,
    Exists,
    Presence,
    RowExpression,
    ServiceLevel,
    SqlQuery,
    Unmeasurable,
    columns_of,
)
from dagster_contracts.core.service_levels import judge_level
from dagster_contracts.engine.arrow_source import read_whole
from dagster_contracts.engine.compiler import Columns, expression_columns
from dagster_contracts.engine.custom import Code, measure_custom
from dagster_contracts.engine.declared_types import DeclaredTypes
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.items import flag_items
from dagster_contracts.engine.measurement import Measurement, measure
from dagster_contracts.engine.metrics import (
    Circumstances,
    Metrics,
    TimeSpan,
    event_time_column,
    level_metrics,
    measured_metrics,
    time_columns,
    time_span,
)
from dagster_contracts.engine.parquet_statistics import Proofs, Statistics
from dagster_contracts.engine.redaction import Redaction, without_engine_text
from dagster_contracts.engine.reference import measure_reference, referred_types
from dagster_contracts.engine.report import ValidationReport
from dagster_contracts.engine.samples import SampleSource, hidden_columns
from dagster_contracts.engine.scan import Scan, UnreachableDataError, UnreadableDataError
from dagster_contracts.engine.sources import kind_of, open_scan
from dagster_contracts.engine.sql import SqlBatch, measure_sql
from dagster_contracts.engine.structure import Structure, inspect_structure
from dagster_contracts.engine.verdict import judge, service_outcome


def validate(
    data: object,
    contract: Contract,
    *,
    schema_object: SchemaObject | None = None,
    now: datetime | None = None,
    evaluation_id: str | None = None,
    asset: str | None = None,
    partition: str | None = None,
    arrived_at: datetime | None = None,
    last_materialized_at: datetime | None = None,
    previous_materialized_at: datetime | None = None,
    measured: Mapping[str, Fraction] | None = None,
    unmeasured: Mapping[str, str] | None = None,
    history: Mapping[str, Sequence[float]] | None = None,
    references: Mapping[str, object] | None = None,
    samples: int = 5,
    custom: Mapping[str, Callable[..., object]] | None = None,
    allow_sql: bool = False,
    allow_code: Sequence[str] = (),
    progress: Callable[[str], object] | None = None,
) -> ValidationReport:
    """Measure every rule of ``contract`` on ``data``; never raises for what the data holds.

    Parameters
    ----------
    data:
        A polars, pandas, Arrow, DuckDB, Ibis or Spark table, or a Parquet, CSV or JSON lines path.
        What is no table fails the rules of the schema, with the reason.
    schema_object:
        The part of the contract that governs the data; its first where none is given.
    now, evaluation_id:
        The time of the evaluation and its unique key; the clock's and a new UUID by default.
    arrived_at, last_materialized_at:
        For ``data_latency`` and for the freshness of data without an event time.
    previous_materialized_at:
        When the batch before this one was there, for ``throughput``.
    measured, unmeasured:
        Metrics of the asset's history (``availability``, ``time_to_repair``, ...), and why others
        are not known.
    history:
        Earlier values of metrics, oldest first; ``row_count`` gives ``row_count_change``.
    references:
        Data of other objects by name, for relationships; or the :class:`UnreadableDataError` that
        says why it could not be had.
    samples:
        How many rows each failed rule shows at most.
    custom:
        Functions that custom rules may name without their module; these always run.
    allow_sql:
        Whether SQL that the contract brings may run.
    allow_code:
        Python modules whose code custom rules may run, each with all below it; none by default,
        because a rule names what is imported.
    progress:
        Told each step of long work, in words.
    """
    plan = _planned(contract, schema_object)
    request = _Request(
        plan=plan,
        contract=contract,
        circumstances=Circumstances(
            now=now or datetime.now(UTC),
            arrived_at=arrived_at,
            last_materialized_at=last_materialized_at,
            previous_materialized_at=previous_materialized_at,
            history=history or {},
            measured=measured or {},
            unmeasured=unmeasured or {},
        ),
        references={name: _kept(each) for name, each in (references or {}).items()},
        samples=samples,
        custom=custom or {},
        allow_sql=allow_sql,
        allow_code=tuple(allow_code),
        tell=progress or _silent,
    )
    try:
        answer = request.answer(data)
    except UnreadableDataError as error:
        unreached = isinstance(error, UnreachableDataError)
        reason = without_engine_text(str(error), hidden_columns(plan.schema_object))
        answer = request.refuse(reason, reached=not unreached)
    return ValidationReport(
        contract=contract.name,
        version=contract.version,
        schema_object=plan.schema_object.name,
        evaluation_id=evaluation_id or uuid.uuid4().hex,
        evaluated_at=request.circumstances.now,
        rows=answer.rows,
        outcomes=answer.outcomes,
        asset=asset,
        partition=partition,
        event_time=answer.event_time,
        metrics=answer.metrics.values,
        unknown_because=answer.metrics.reasons,
    )


_PLANNED: dict[tuple[int, int], tuple[Contract, SchemaObject | None, CheckPlan]] = {}
_MOST_PLANNED = 64


def _planned(contract: Contract, schema_object: SchemaObject | None) -> CheckPlan:
    """The plan of a contract's checks, kept as long as the last contracts are used."""
    key = (id(contract), id(schema_object))
    known = _PLANNED.get(key)
    if known is None:
        while len(_PLANNED) >= _MOST_PLANNED:
            _PLANNED.pop(next(iter(_PLANNED)), None)
        # The objects themselves are kept, so that no others take their place in memory.
        known = _PLANNED[key] = (contract, schema_object, plan_checks(contract, schema_object))
    return known[2]


def _silent(step: str) -> None:
    """What is told of the steps where nobody asked."""
    del step


def _kept(data: object) -> object:
    """Data that several rules can read: of a reader, its rows."""
    if kind_of(data) != "pyarrow_reader":
        return data
    try:
        return read_whole(data)
    except UnreadableDataError:
        return data  # the rules that ask for it say why


@dataclass(frozen=True, slots=True)
class _Answer:
    rows: int | None
    outcomes: tuple[CheckOutcome, ...]
    metrics: Metrics
    event_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One call of :func:`validate`."""

    plan: CheckPlan
    contract: Contract
    circumstances: Circumstances
    references: Mapping[str, object]
    samples: int
    custom: Mapping[str, Callable[..., object]]
    allow_sql: bool
    allow_code: tuple[str, ...]
    tell: Callable[[str], object]
    names: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        properties = self.plan.schema_object.properties
        object.__setattr__(self, "names", {p.name: p.column for p in properties})

    def answer(self, data: Any) -> _Answer:
        """Measure; raises :class:`UnreadableDataError` where there is nothing to measure."""
        if kind_of(data) == "pyarrow_reader":
            # A reader can be read once, and custom rules want the data as well.
            data = read_whole(data)
        target = self.plan.schema_object
        event_column = event_time_column(self.contract, target)
        declared = DeclaredTypes.of(target.properties)
        self.tell("reading the data")
        scan = open_scan(data, self._used_columns(), declared, self._proofs)
        with closing(scan), closing(SqlBatch(data, target.name, declared)) as batch:
            return self._measured(batch, scan, event_column)

    def _measured(self, batch: SqlBatch, scan: Scan, event_column: str | None) -> _Answer:
        rules, target = self.plan.rules, self.plan.schema_object
        structure = inspect_structure(rules, scan)
        columns = flag_items(rules, scan, self._columns(scan, structure))
        scan, readable = columns.scan, columns.schema
        self.tell(f"measuring {len(rules)} rules")
        proofs = scan.proofs or Proofs()
        measurement = measure(
            proofs.left(rules),
            scan,
            columns,
            counted=[
                p.column
                for p in target.properties
                if p.column in readable and p.column not in proofs.missing
            ],
            times=[
                name
                for name in time_columns(self.contract, target)
                if _has_instants(name, readable)
            ],
        )
        if measurement.unreadable is not None or measurement.rows is None:
            raise UnreadableDataError(measurement.unreadable or "the rows cannot be counted")
        rows, measurement = measurement.rows, proofs.added(measurement)
        source = SampleSource(
            scan=scan,
            key=tuple(name for name in target.primary_key if name in readable),
            hidden=hidden_columns(target),
            names=self.names,
        )
        findings = {**measurement.findings}
        for name, finding in structure.findings.items():
            # A type that is tested value by value has been measured with the rows.
            if finding.broken is not None or name not in findings:
                findings[name] = finding
        for rule in rules:
            if isinstance(rule.test, Presence) and rule.test.path[0] in measurement.torn_columns:
                findings[rule.name] = measurement.torn_columns[rule.test.path[0]]
            if rule.name not in findings:
                findings[rule.name] = self._measure_elsewhere(rule, batch, source, columns, rows)
        redaction = Redaction(source.hidden, self.names)
        findings = {rule.name: redaction.apply(rule, findings[rule.name]) for rule in rules}
        findings = _complete(rules, findings, rows)
        return self._judged(scan, measurement, findings, source, event_column)

    def _columns(self, scan: Scan, structure: Structure) -> Columns:
        return Columns(
            scan=scan,
            schema={k: v for k, v in scan.schema.items() if k not in scan.strange},
            problems=structure.problems,
            names=self.names,
        )

    def _proofs(self, scan: Scan, statistics: Statistics) -> Proofs:
        """What statistics prove, with the columns that other rules, metrics and samples need."""
        rules = self.plan.rules
        structure = inspect_structure(rules, scan)
        proofs = statistics.prove(rules, self._columns(scan, structure))
        sound = {
            name
            for name, finding in structure.findings.items()
            if finding.broken is None and finding.unmeasured is None
        }
        left = [rule for rule in proofs.left(rules) if rule.name not in sound]
        return replace(proofs, columns=frozenset(self._used_columns(left, known=proofs.missing)))

    def _used_columns(
        self, rules: Sequence[PlannedRule] | None = None, known: Collection[str] = ()
    ) -> set[str]:
        """What is read for these rules (all by default), and to count what is not ``known``."""
        target = self.plan.schema_object
        used = {prop.column for prop in target.properties if prop.column not in known}
        used.update(target.primary_key)
        for rule in self.plan.rules if rules is None else rules:
            used.update(columns_of(rule.test))
            texts = [rule.filter] if rule.filter else []
            if isinstance(rule.test, RowExpression):
                texts.append(rule.test.text)
            for text in texts:
                used.update(expression_columns(text, self.names))
        used.update(time_columns(self.contract, target))
        return used

    def _measure_elsewhere(
        self, rule: PlannedRule, batch: SqlBatch, source: SampleSource, columns: Columns, rows: int
    ) -> Finding:
        """Measure a rule that the scan's own queries do not answer."""
        match rule.test:
            case Exists() as test:
                declared = referred_types(test, self.contract, self.plan.schema_object)
                return measure_reference(
                    rule, test, source, columns, self.references, declared, rows, self.samples
                )
            case Custom() as test:
                code = Code(given=self.custom, allowed=self.allow_code)
                return measure_custom(test, batch.batch, rows, code, source, self.samples)
            case SqlQuery() as test:
                return measure_sql(rule, test, batch, source.scan, allowed=self.allow_sql)
            case Unmeasurable(reason):
                return Finding(unmeasured=reason)
            case ServiceLevel():
                return Finding()
            case _:
                return Finding(unmeasured="nothing here measures this rule")

    def _judged(
        self,
        scan: Scan,
        measurement: Measurement,
        findings: Mapping[str, Finding],
        source: SampleSource,
        event_column: str | None,
    ) -> _Answer:
        rules, target = self.plan.rules, self.plan.schema_object
        judged = {
            rule.name: judge(rule, findings[rule.name])
            for rule in rules
            if not isinstance(rule.test, ServiceLevel)
        }
        bad = (OutcomeStatus.FAILED, OutcomeStatus.WARNED)
        wanting = [
            rule
            for rule in rules
            if rule.name in judged
            and judged[rule.name].status in bad
            and not judged[rule.name].samples
            and (findings[rule.name].broken is None or rule.column in scan.schema)
        ]
        if wanting:
            self.tell(f"looking for rows that break {len(wanting)} rules")
        for name, rows in source.sample(measurement, wanting, self.samples).items():
            judged[name] = replace(judged[name], samples=rows)
        spans = {
            name: time_span(measurement.spans.get(name), target, name, self.circumstances.now)
            for name in time_columns(self.contract, target)
        }
        event_time = spans[event_column] if event_column is not None else None
        metrics = measured_metrics(
            self.plan,
            measurement,
            findings,
            list(judged.values()),
            event_time,
            self.contract,
            self.circumstances,
        )
        return _Answer(
            measurement.rows,
            self._with_levels(judged, metrics, spans),
            metrics,
            event_time.newest if event_time is not None else None,
        )

    def _with_levels(
        self,
        judged: Mapping[str, CheckOutcome],
        metrics: Metrics,
        spans: Mapping[str, TimeSpan],
    ) -> tuple[CheckOutcome, ...]:
        return tuple(
            self._service_level(rule, rule.test.sla, metrics, spans)
            if isinstance(rule.test, ServiceLevel)
            else judged[rule.name]
            for rule in self.plan.rules
        )

    def _service_level(
        self,
        rule: PlannedRule,
        level: SlaProperty,
        metrics: Metrics,
        spans: Mapping[str, TimeSpan],
    ) -> CheckOutcome:
        target = self.plan.schema_object
        seen = level_metrics(level, target, metrics, spans, self.circumstances)
        verdict = judge_level(level, seen.values, seen.reasons, self.circumstances.now)
        return service_outcome(rule, verdict)

    def refuse(self, reason: str, *, reached: bool) -> _Answer:
        """The answer where there is no table: the schema fails, nothing else can be said.

        Where the data could not be ``reached`` nothing at all can be said.
        """
        metrics = Metrics()
        if reached:
            metrics.know("schema_validation_errors", 1)
        else:
            metrics.miss("schema_validation_errors", reason)
        for name in ("row_count", "quality_errors", "completeness", "duplicates"):
            metrics.miss(name, reason)
        for name in ("row_count_change", "data_freshness", "data_latency"):
            metrics.miss(name, reason)
        for name in ("data_retention", "throughput"):
            metrics.miss(name, reason)
        outcomes = [
            CheckOutcome(
                check="schema",
                rule="schema",
                kind=OutcomeKind.SCHEMA,
                status=OutcomeStatus.FAILED if reached else OutcomeStatus.NOT_EVALUATED,
                description="The asset's data is a table that can be read.",
                reason=reason,
            )
        ]
        outcomes += [judge(rule, Finding(unmeasured=reason)) for rule in self.plan.rules]
        return _Answer(None, tuple(outcomes), metrics)


def _has_instants(column: str | None, schema: Mapping[str, Any]) -> bool:
    dtype = schema.get(column) if column is not None else None
    return dtype is not None and (dtype == nw.Datetime or dtype == nw.Date)


def _complete(
    rules: Sequence[PlannedRule], findings: Mapping[str, Finding], rows: int
) -> dict[str, Finding]:
    """Findings in which a broken column counts: every row of it breaks the rule."""
    complete = dict(findings)
    for rule in rules:
        finding = complete[rule.name]
        if finding.broken is not None and rule.column is not None and finding.failed is None:
            complete[rule.name] = replace(finding, tested=rows, failed=rows)
    return complete
