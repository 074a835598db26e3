"""What a validation found, in one sentence that a person understands: of one check, or of all."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from dagster_contracts.core.checks import SCHEMA_CHECK
from dagster_contracts.core.outcome import CheckOutcome, ContractReport, OutcomeKind, OutcomeStatus
from dagster_contracts.engine.verdict import number_text

_MOST_LISTED = 4
_BROKEN = (OutcomeStatus.FAILED, OutcomeStatus.WARNED)
_MISSING = ".present"
"""How the rules end that a missing column breaks; its other rules then say nothing more."""


def headline(
    report: ContractReport,
    check: str | None = None,
    outcomes: Sequence[CheckOutcome] | None = None,
) -> str:
    """One sentence that says what a check found, or all of them, and of which partition.

    ``68 of 967 rows (7.0%) break flights@1.0.0: carrier.required 23, origin.enum 23, ...``. What
    was not evaluated says so and why.
    """
    found = outcomes
    if found is None:
        found = report.outcomes if check is None else report.of_check(check)
    if not found:
        what = "a rule" if check is None else check
        sentence = f"not evaluated: {report.ref} plans {what}, and the validation did not return it"
    elif check is None or check == SCHEMA_CHECK:
        sentence = _all(report, found)
    else:
        sentence = _rules(check, found)
    return f"[{report.partition}] {sentence}" if report.partition else sentence


def percent(ratio: Fraction | float) -> str:
    """``7.0%``; never ``0.0%`` or ``100.0%`` of what is not quite that."""
    value = float(ratio) * 100
    if 0 < value < 0.05:
        return "<0.1%"
    if 99.95 <= value < 100:
        return ">99.9%"
    return f"{value:.1f}%"


def broken_rows(report: ContractReport) -> int | None:
    """How many rows break at least one rule of the schema."""
    ratio = report.metrics.get("schema_validation_errors")
    return None if ratio is None or report.rows is None else round(ratio * report.rows)


def _all(report: ContractReport, outcomes: Sequence[CheckOutcome]) -> str:
    """Of several rules: how many rows break them, and which."""
    broken = [o for o in outcomes if o.status in _BROKEN]
    if broken:
        listed = _listed(broken) + _beside(report, outcomes)
        rows = _rows_that_break(report, broken)
        if report.rows and rows:
            share = percent(Fraction(rows, report.rows))
            verb = "breaks" if rows == 1 and report.rows == 1 else "break"
            return (
                f"{rows:,} of {_count(report.rows, 'row')} ({share}) {verb} {report.ref}: {listed}"
            )
        return f"{report.ref} is broken: {listed}"
    unknown = [o for o in outcomes if o.status is OutcomeStatus.NOT_EVALUATED]
    if unknown:
        return _unknown(unknown, held=len(outcomes) - len(unknown))
    tested = "the data" if report.rows is None else _count(report.rows, "row")
    verb = "keeps" if report.rows in (None, 1) else "keep"
    return f"{tested} {verb} {report.ref} ({_count(len(outcomes), 'rule')})"


def _rows_that_break(report: ContractReport, broken: Sequence[CheckOutcome]) -> int | None:
    """The rows that break any of these, each once; ``None`` where that was not counted."""
    if all(o.kind is OutcomeKind.SCHEMA for o in broken):
        return broken_rows(report)
    return broken[0].failed_rows if len(broken) == 1 else None


def _beside(report: ContractReport, outcomes: Sequence[CheckOutcome]) -> str:
    """How many rules were not evaluated where others are broken; all, where there is no table."""
    if report.rows is None:
        return ""
    unknown = sum(o.status is OutcomeStatus.NOT_EVALUATED for o in outcomes)
    return f"; {_not_evaluated(unknown, len(outcomes))}" if unknown else ""


def _not_evaluated(unknown: int, planned: int) -> str:
    verb = "was" if unknown == 1 else "were"
    return f"{unknown:,} of {_count(planned, 'rule')} {verb} not evaluated"


def _listed(broken: Sequence[CheckOutcome]) -> str:
    missing = {o.column for o in broken if o.column and o.rule.endswith(_MISSING)}
    told = [f"the column {column} is missing" for column in sorted(missing)]
    others = [o for o in broken if o.column not in missing]
    told += [_short(o) for o in sorted(others, key=_weight, reverse=True)]
    more = len(told) - _MOST_LISTED
    return ", ".join(told[:_MOST_LISTED]) + (f", … {more} more" if more > 0 else "")


def _weight(outcome: CheckOutcome) -> int:
    return outcome.failed_rows if outcome.failed_rows is not None else 1 << 62


def _short(outcome: CheckOutcome) -> str:
    if outcome.failed_rows:
        return f"{outcome.rule} {outcome.failed_rows:,}"
    if outcome.reason:
        return f"{outcome.rule} ({outcome.reason})"
    if outcome.value is not None and outcome.threshold:
        return f"{outcome.rule} is {number_text(outcome.value)}, not {outcome.threshold}"
    return outcome.rule


def _rules(check: str, outcomes: Sequence[CheckOutcome]) -> str:
    unknown = [o for o in outcomes if o.status is OutcomeStatus.NOT_EVALUATED]
    told = [o for o in outcomes if o.status in _BROKEN]
    if not told:
        if unknown:
            return _unknown(unknown, held=len(outcomes) - len(unknown), check=check)
        told = list(outcomes)
    return "; ".join(_named(o, check, _sentence(o)) for o in told)


def _unknown(unknown: Sequence[CheckOutcome], *, held: int, check: str = SCHEMA_CHECK) -> str:
    reasons = "; ".join(_named(o, check, o.reason or "no reason given") for o in unknown[:3])
    if len(unknown) > 3:
        reasons += f"; … {len(unknown) - 3} more"
    if not held:
        return f"not evaluated: {reasons}"
    told = _not_evaluated(len(unknown), held + len(unknown))
    return f"{_count(held, 'rule')} kept, but {told}: {reasons}"


def _named(outcome: CheckOutcome, check: str, sentence: str) -> str:
    """The sentence, with the rule's name where the check does not already bear it."""
    return sentence if outcome.rule == check else f"{outcome.rule}: {sentence}"


def _sentence(outcome: CheckOutcome) -> str:
    failed, tested = outcome.failed_rows, outcome.rows_tested
    if failed is not None and tested is not None:
        share = f" ({percent(outcome.failed_ratio or 0.0)})" if failed else ""
        verb = "breaks" if failed == 1 else "break"
        measured = f"{failed:,} of {_count(tested, 'row')}{share} {verb} the rule"
    elif outcome.value is not None and not outcome.reason:
        measured = f"it is {outcome.value:,.6g}"
    else:
        measured = ""
    parts = [
        measured,
        outcome.reason or (f"agreed: {outcome.threshold}" if outcome.threshold else ""),
    ]
    return "; ".join(part for part in parts if part) or outcome.status.value.replace("_", " ")


def _count(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
