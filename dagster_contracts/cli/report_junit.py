"""A validation report as JUnit XML: one test case for each rule."""

from __future__ import annotations

from dagster_contracts.cli.junit import JunitCase, JunitSuite, junit_xml
from dagster_contracts.core.outcome import CheckOutcome, ContractReport, OutcomeStatus


def report_junit(report: ContractReport) -> str:
    """The document; what could not be evaluated is skipped with its reason."""
    properties = {
        "contract": report.contract,
        "version": report.version,
        "evaluation_id": report.evaluation_id,
        "rows": "unknown" if report.rows is None else str(report.rows),
        "status": report.status.value,
    }
    suite = JunitSuite(
        report.ref,
        tuple(_case(outcome) for outcome in report.outcomes),
        tuple(properties.items()),
    )
    return junit_xml([suite])


def _case(outcome: CheckOutcome) -> JunitCase:
    said = outcome_sentence(outcome)
    samples = "\n".join(
        ", ".join(f"{name}={value!r}" for name, value in sample.items())
        for sample in outcome.samples
    )
    match outcome.status:
        case OutcomeStatus.FAILED if not outcome.only_warns:
            return JunitCase(outcome.rule, failures=((said, samples or said),))
        case OutcomeStatus.NOT_EVALUATED:
            return JunitCase(outcome.rule, skipped=outcome.reason or "not evaluated")
        case OutcomeStatus.WARNED | OutcomeStatus.FAILED:
            return JunitCase(outcome.rule, output=f"warning: {said}\n{samples}".rstrip())
        case OutcomeStatus.PASSED:
            return JunitCase(outcome.rule)


def outcome_sentence(outcome: CheckOutcome) -> str:
    """``tailnum is never missing: 2,512 of 336,776 rows``."""
    said = [outcome.description or outcome.rule]
    if outcome.failed_rows is not None and outcome.rows_tested is not None:
        said.append(f"{outcome.failed_rows:,} of {outcome.rows_tested:,} rows")
    if outcome.reason:
        said.append(outcome.reason)
    return ": ".join([said[0], ", ".join(said[1:])]) if len(said) > 1 else said[0]
