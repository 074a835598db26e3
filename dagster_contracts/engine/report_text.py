"""A report as people and programs read it: the headline of a check, lines of text, and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from dagster_contracts.core.contract import Json
from dagster_contracts.core.outcome import CheckOutcome, ContractReport, OutcomeKind, OutcomeStatus
from dagster_contracts.engine.verdict import number_text

_SHOWN = 6


def headline(report: ContractReport, check: str | None = None) -> str:
    """One line that a person understands: of one check, or of the whole report.

    ``23,574 of 336,776 rows (7.0%) break flights@1.0.0: tailnum.required 2,512, ...``
    """
    outcomes = report.outcomes if check is None else report.of_check(check)
    if not outcomes:
        return f"{report.ref} has no check {check}"
    failed = [o for o in outcomes if o.status is OutcomeStatus.FAILED]
    warned = [o for o in outcomes if o.status is OutcomeStatus.WARNED]
    silent = [o for o in outcomes if o.status is OutcomeStatus.NOT_EVALUATED]
    if check is not None and len(outcomes) == 1:
        return _single(outcomes[0], report)
    if failed:
        return _broken(report, failed, "break")
    if warned:
        return _broken(report, warned, "strain")
    if len(silent) == len(outcomes):
        return f"{report.ref} was not evaluated: {silent[0].reason}"
    rows = f"{report.rows:,} rows" if report.rows is not None else "The data"
    keep = "keeps" if report.rows in (None, 1) else "keep"
    rules = f"all {len(outcomes)} rules" if len(outcomes) > 1 else "its rule"
    text = f"{rows} {keep} {rules} of {report.ref}"
    if silent:
        names = _listed([o.rule for o in silent])
        text = f"{rows} {keep} {len(outcomes) - len(silent)} rules of {report.ref}"
        text += f"; not evaluated: {names}"
    return text


def _broken(report: ContractReport, outcomes: Sequence[CheckOutcome], verb: str) -> str:
    """How many rows, then what they break, what is broken as such first."""
    structural = [o for o in outcomes if _is_structural(o)]
    # A missing column fails all its rules; its absence is said once.
    hidden = {o.column for o in structural if o.column is not None}
    counted = [o for o in outcomes if o not in structural and o.column not in hidden]
    counted.sort(key=lambda o: o.failed_rows or 0, reverse=True)
    said = list(dict.fromkeys(o.reason or o.rule for o in structural))
    said += [_brief(o) for o in counted]
    count = _rows_that_break(report, outcomes)
    if count is None or structural:
        plural = "" if verb == "strain" else "s"
        subject = f"The data {verb}{plural or 's'} {report.ref}"
        return f"{subject}: {_listed(said)}"
    share = _share(count, report.rows or 0)
    rows = "row" if report.rows == 1 else "rows"
    return f"{count:,} of {report.rows:,} {rows} ({share}) {verb} {report.ref}: {_listed(said)}"


def _is_structural(outcome: CheckOutcome) -> bool:
    """Whether the rule fails as such, not by a number of rows."""
    what = outcome.rule.rpartition(".")[2]
    if outcome.kind is not OutcomeKind.SCHEMA or outcome.reason is None:
        return False
    return what in ("present", "type", "schema", "extra_columns", "column_order") and (
        outcome.failed_rows in (None, outcome.rows_tested)
    )


def _rows_that_break(report: ContractReport, outcomes: Sequence[CheckOutcome]) -> int | None:
    """The rows that break any of these rules, each once; ``None`` where no rows were counted."""
    if report.rows is None:
        return None
    kinds = {o.kind for o in outcomes}
    if len(outcomes) == 1:
        return outcomes[0].failed_rows
    names = {
        OutcomeKind.SCHEMA: "schema_validation_errors",
        OutcomeKind.QUALITY: "quality_errors",
    }
    shares = [report.metrics.get(names[kind]) for kind in kinds if kind in names]
    known = [share for share in shares if share is not None]
    if kinds == {OutcomeKind.SCHEMA} and known:
        return round(known[0] * report.rows)
    return None


def _brief(outcome: CheckOutcome) -> str:
    if outcome.failed_rows is not None:
        return f"{outcome.rule} {outcome.failed_rows:,}"
    if outcome.value is not None and outcome.kind is not OutcomeKind.SLA:
        return f"{outcome.rule} is {number_text(outcome.value)}, not {outcome.threshold}"
    return f"{outcome.rule}: {outcome.reason}" if outcome.reason else outcome.rule


def _single(outcome: CheckOutcome, report: ContractReport) -> str:
    """The line of a check that has one rule."""
    what = outcome.description or outcome.rule
    if outcome.status is OutcomeStatus.NOT_EVALUATED:
        return f"Not evaluated: {outcome.reason}"
    if outcome.kind is OutcomeKind.SLA:
        return f"{what}: {outcome.reason}"
    good = outcome.status is OutcomeStatus.PASSED
    if outcome.failed_rows is not None and outcome.rows_tested is not None:
        tested = f"{outcome.rows_tested:,} {'row' if outcome.rows_tested == 1 else 'rows'}"
        if good and outcome.failed_rows == 0:
            return f"{tested} keep {report.ref}: {what}"
        share = _share(outcome.failed_rows, outcome.rows_tested)
        text = f"{outcome.failed_rows:,} of {tested} ({share}) break {report.ref}: {what}"
        if good:
            text = f"{text} (tolerated: {outcome.threshold})"
        elif outcome.threshold not in (None, "0 rows"):
            text = f"{text} (must be {outcome.threshold})"
        return text
    if outcome.value is not None:
        verdict = "" if good else "not "
        return f"{what} is {number_text(outcome.value)}, {verdict}{outcome.threshold}"
    return what if good else f"{what}: {outcome.reason or 'failed'}"


def _listed(words: Sequence[str]) -> str:
    shown = ", ".join(words[:_SHOWN])
    return shown + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")


def _share(part: int, whole: int) -> str:
    """A percentage that never rounds something to nothing, nor nearly all to all."""
    if not whole:
        return "0%"
    percent = Fraction(100 * part, whole)
    if percent.denominator == 1:
        return f"{int(percent)}%"
    if percent < Fraction(1, 10):
        return "<0.1%"
    if percent > Fraction(999, 10):
        return ">99.9%"
    return f"{float(percent):.1f}%"


def report_json(report: ContractReport) -> dict[str, Json]:
    """The report as JSON values.

    ``contract``, ``version``, ``status``, ``rows``, ``metrics`` and ``outcomes``, and beside them
    what identifies the evaluation and why a metric is unknown.
    """
    return {
        "contract": report.contract,
        "version": report.version,
        "schema_object": report.schema_object,
        "status": report.status.value,
        "headline": headline(report),
        "rows": report.rows,
        "asset": report.asset,
        "partition": report.partition,
        "evaluation_id": report.evaluation_id,
        "evaluated_at": report.evaluated_at.isoformat(),
        "event_time": report.event_time.isoformat() if report.event_time else None,
        "metrics": {name: _number(value) for name, value in report.metrics.items()},
        "unknown_because": dict(report.unknown_because),
        "outcomes": [_outcome_json(outcome) for outcome in report.outcomes],
    }


def _number(value: Fraction | None) -> int | float | None:
    if value is None:
        return None
    return int(value) if value.denominator == 1 else float(value)


def _outcome_json(outcome: CheckOutcome) -> dict[str, Json]:
    return {
        "check": outcome.check,
        "rule": outcome.rule,
        "kind": outcome.kind.value,
        "column": outcome.column,
        "status": outcome.status.value,
        "severity": outcome.severity.value,
        "rows_tested": outcome.rows_tested,
        "failed_rows": outcome.failed_rows,
        "failed_ratio": outcome.failed_ratio,
        "value": outcome.value,
        "threshold": outcome.threshold,
        "description": outcome.description,
        "reason": outcome.reason,
        "samples": [dict(sample) for sample in outcome.samples],
    }


def report_text(report: ContractReport) -> str:
    """The report as several lines for a terminal: headline, then each outcome that did not pass."""
    lines = [f"{report.status.value.upper()}  {headline(report)}"]
    passed = sum(outcome.status is OutcomeStatus.PASSED for outcome in report.outcomes)
    for outcome in report.outcomes:
        if outcome.status is OutcomeStatus.PASSED:
            continue
        lines.append(f"  {outcome.status.value:<13}  {outcome.rule}: {_detail(outcome)}")
        lines += [f"    {_sample_text(sample)}" for sample in outcome.samples]
    lines.append(f"  {passed} of {len(report.outcomes)} rules passed")
    return "\n".join(lines)


def _detail(outcome: CheckOutcome) -> str:
    parts = []
    if outcome.failed_rows is not None and outcome.rows_tested is not None:
        share = _share(outcome.failed_rows, outcome.rows_tested)
        parts.append(f"{outcome.failed_rows:,} of {outcome.rows_tested:,} rows ({share})")
    elif outcome.value is not None and outcome.kind is not OutcomeKind.SLA:
        parts.append(number_text(outcome.value))
    if outcome.threshold is not None:
        parts.append(f"must be {outcome.threshold}")
    if outcome.reason is not None:
        parts.append(outcome.reason)
    return "; ".join(parts) or (outcome.description or "")


def _sample_text(sample: Mapping[str, Json]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in sample.items())
