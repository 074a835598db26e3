"""What a broken rule means for the report, by its severity."""

from __future__ import annotations

import polars as pl
import pytest

from dagster_contracts.cli.report_junit import report_junit
from dagster_contracts.core.contract import Severity
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.report_text import report_text
from dagster_contracts.engine.validation import validate
from tests.engine.builders import INTEGER, column, contract, expression, outcome, threshold

FRAME = pl.DataFrame({"n": [1, -1, -2]})


def judged(severity: Severity, **fields):
    quality = (expression("positive", "n > 0", severity=severity, **fields),)
    return validate(FRAME, contract(column("n", INTEGER), quality=quality))


def test_only_an_error_fails_the_report():
    assert judged(Severity.ERROR).status is OutcomeStatus.FAILED
    for severity in (Severity.WARNING, Severity.INFO):
        report = judged(severity)
        assert report.status is OutcomeStatus.WARNED
        found = outcome(report, "positive")
        assert (found.status, found.failed_rows) == (OutcomeStatus.FAILED, 2)


@pytest.mark.parametrize(
    ("fail_at", "warn_at", "status"),
    [(3, 3, "passed"), (3, 2, "warned"), (2, 1, "failed")],
)
def test_one_rule_has_a_level_to_warn_and_one_to_fail(fail_at, warn_at, status):
    report = judged(
        Severity.ERROR,
        threshold=threshold("mustBeLessThan", fail_at),
        warn=threshold("mustBeLessThan", warn_at),
    )
    assert outcome(report, "positive").status.value == report.status.value == status


def test_pages_for_people_and_for_ci_say_so():
    warned, failed = judged(Severity.WARNING), judged(Severity.ERROR)
    assert "\n  warning        positive: 2 of 3 rows" in report_text(warned)
    assert "<failure" in report_junit(failed)
    assert "<failure" not in report_junit(warned)
    assert "warning: " in report_junit(warned)
    assert "status failed" in failed._repr_html_()
    assert "status failed" not in warned._repr_html_()
