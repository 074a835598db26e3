"""Words and numbers of a report tell no value of a classified column."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import polars as pl
import pytest

from dagster_contracts.core.contract import (
    Contract,
    LibraryMetric,
    LogicalType,
    QualityRule,
    RuleKind,
)
from dagster_contracts.core.outcome import ContractReport, OutcomeStatus
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
    INTEGER,
    STRING,
    column,
    contract,
    expression,
    library,
    outcome,
    threshold,
)

SECRET = "SECRET-45"


def a_contract(
    *quality: QualityRule,
    kind: LogicalType = STRING,
    classification: str | None = "restricted",
) -> Contract:
    """A classified column ``a`` beside an open one."""
    return contract(
        column("a", kind, classification=classification), column("s", STRING), quality=quality
    )


def told(report: ContractReport) -> str:
    """All that a report says, in every form."""
    parts = (report.outcomes, report.metrics, report.unknown_because)
    return repr(parts) + str(report).replace(",", "")


def sql(query: str, **fields: object) -> QualityRule:
    allowed = threshold("mustBeLessThan", 5)
    return QualityRule(name="q", kind=RuleKind.SQL, query=query, threshold=allowed, **fields)


def judged(rule: QualityRule, value: object, **options: object) -> ContractReport:
    kind = STRING if isinstance(value, str) else INTEGER
    made = a_contract(rule, kind=kind)
    return validate(pl.DataFrame({"a": [value], "s": ["x"]}), made, allow_sql=True, **options)


def code(name: str = "q", engine: str = "python", **fields: object) -> QualityRule:
    return QualityRule(name=name, kind=RuleKind.CUSTOM, engine=engine, implementation="f", **fields)


CAST = "select count(*) from ${object} where cast(a as int) > 0"


@pytest.mark.parametrize("at", [None, "a", "s"])
def test_the_error_of_a_query_keeps_its_type_alone(at):
    report = judged(sql(CAST, column=at), SECRET)
    assert outcome(report, "q").reason == "the query failed: ConversionException"
    assert SECRET not in told(report)


def test_an_error_is_quoted_where_nothing_is_classified():
    made = a_contract(sql(CAST), classification="internal")
    report = validate(pl.DataFrame({"a": [SECRET], "s": ["x"]}), made, allow_sql=True)
    assert SECRET in (outcome(report, "q").reason or "")


def raises(data: pl.DataFrame) -> bool:
    raise ValueError(f"value {data['a'][0]} is bad")


def tells(data: pl.DataFrame) -> dict[str, object]:
    said = str(data["a"][0])
    return {"failed_rows": 1, "reason": f"{said} is bad", "samples": [{"a": said, "seen": said}]}


def test_the_words_of_a_custom_rule_are_not_shown():
    report = judged(code(), SECRET, custom={"f": raises})
    assert outcome(report, "q").reason == "the rule raised ValueError"
    assert SECRET not in told(report)
    report = judged(code(), SECRET, custom={"f": tells})
    found = outcome(report, "q")
    assert found.failed_rows == 1
    assert found.reason == "the reason is not shown, it may tell values of a"
    assert found.samples == ({"a": "[redacted]", "seen": "[redacted]"},)


def test_a_pandera_check_of_the_whole_frame_shows_no_value():
    import pandera.pandas as pa

    schema = pa.DataFrameSchema({}, checks=[pa.Check(lambda frame: frame["a"].str.len() < 3)])
    report = judged(code(engine="pandera"), SECRET, custom={"f": schema})
    assert outcome(report, "q").failed_rows == 1
    assert SECRET not in told(report)


@pytest.mark.parametrize(
    ("metric", "values", "shown"),
    [
        (LibraryMetric.MAXIMUM, [7_654_321, 1], False),
        (LibraryMetric.MINIMUM, [7_654_321, 8_000_000], False),
        (LibraryMetric.QUANTILE, [7_654_321] * 3, False),
        (LibraryMetric.MEAN, [7_654_321], False),
        (LibraryMetric.SUM, [7_654_321], False),
        (LibraryMetric.SUM, [7_654_320, 1], False),
    ],
)
def test_an_aggregate_that_is_a_value_is_compared_and_not_shown(metric, values, shown):
    for limit, status in ((5, OutcomeStatus.FAILED), (10**9, OutcomeStatus.PASSED)):
        wanted = Fraction(1, 2) if metric is LibraryMetric.QUANTILE else None
        allowed = threshold("mustBeLessThan", limit)
        rule = library("q", metric, "a", threshold=allowed, quantile=wanted)
        frame = pl.DataFrame({"a": values, "s": ["x"] * len(values)})
        report = validate(frame, a_contract(rule, kind=INTEGER))
        found = outcome(report, "q")
        assert found.status is status
        assert (found.value == 7_654_321) is shown
        assert ("7654321" in told(report)) is shown
        if not shown:
            assert found.reason == "the value is not shown, it may tell values of a"


def test_what_a_query_returns_is_shown_where_it_is_a_count():
    report = judged(sql("select max(a) from ${object}"), 7_654_321)
    assert outcome(report, "q").status is OutcomeStatus.FAILED
    assert outcome(report, "q").value is None
    assert "7654321" not in told(report)
    report = judged(sql("SELECT count(*) AS n FROM ${object} where a > 0"), 7_654_321)
    assert outcome(report, "q").value == 1


def test_a_rule_that_fails_to_run_quotes_no_value():
    def torn(rows: pl.Series) -> pl.Series:
        raise ValueError(f"cannot read {rows[0]}")

    frame = pl.DataFrame({"a": [SECRET], "s": ["x"]})
    lazy = frame.lazy().with_columns(pl.col("a").map_batches(torn, return_dtype=pl.String))
    made = contract(
        column("a", STRING, required=True, pattern="x", unique=True, classification="restricted"),
        column("s", STRING),
        quality=(expression("both", "a != s"),),
    )
    report = validate(lazy, made)
    assert outcome(report, "both").status is OutcomeStatus.NOT_EVALUATED
    assert (outcome(report, "a.pattern").reason or "").startswith("the rule failed to run: ")
    assert SECRET not in told(report)


def _broken_frame() -> pl.LazyFrame:
    def fail(frame: pl.DataFrame) -> pl.DataFrame:
        raise ValueError(f"bad value {SECRET}")

    return pl.LazyFrame({"a": ["x"], "s": ["y"]}).map_batches(
        fail, schema={"a": pl.String, "s": pl.String}
    )


@pytest.mark.parametrize("classification", ["restricted", None])
def test_why_data_cannot_be_read_quotes_no_value(classification: str | None) -> None:
    report = validate(_broken_frame(), a_contract(classification=classification))
    assert report.outcomes[0].status is OutcomeStatus.FAILED
    reason = report.outcomes[0].reason or ""
    assert reason.startswith("the data cannot be read: ValueError")
    assert (SECRET in told(report)) == (classification is None)


@pytest.mark.parametrize("classification", ["restricted", None])
def test_a_moment_of_the_future_is_not_told_where_it_is_classified(
    classification: str | None,
) -> None:
    kind = LogicalType.TIMESTAMP
    made = a_contract(kind=kind, classification=classification)
    newest = datetime(2099, 3, 7, 1, 2, 3, tzinfo=UTC)
    report = validate(pl.DataFrame({"a": [newest], "s": ["x"]}), made)
    reason = report.unknown_because["data_freshness"]
    assert reason.endswith("lies in the future")
    assert ("2099-03-07" in told(report)) == (classification is None)
