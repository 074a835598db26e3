from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl

from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import ExtraColumns, LibraryMetric, SlaProperty
from dagster_contracts.engine.headline import headline
from dagster_contracts.engine.report_html import report_page
from dagster_contracts.engine.report_text import report_json, report_text
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
    INTEGER,
    STRING,
    column,
    contract,
    expression,
    library,
    threshold,
)

NOW = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = 2000
FRAME = pl.DataFrame(
    {"id": range(ROWS), "s": [None, *["x"] * (ROWS - 1)], "n": [-1] * 20 + [1] * (ROWS - 20)}
)
MADE = contract(
    column("id", INTEGER, primary_key_position=1),
    column("s", STRING, required=True),
    column("n", INTEGER, minimum=0),
    quality=(
        expression("positive", "n > 0", description="Amounts are positive"),
        library("rows", LibraryMetric.ROW_COUNT, threshold=threshold("mustBeGreaterThan", 5000)),
        library(
            "tolerant",
            LibraryMetric.NULL_VALUES,
            "s",
            threshold=threshold("mustBeLessThan", 1, percent=True),
        ),
        library("nobody", LibraryMetric.MEAN, "n"),
    ),
    sla=(SlaProperty(property="completeness", condition=parse_condition("completeness > 99%")),),
)


def test_the_headline_says_how_many_rows_break_what():
    report = validate(FRAME, MADE, now=NOW)
    assert headline(report, "schema") == (
        "20 of 2,000 rows (1.0%) break orders@1.0.0: n.minimum 20, s.required 1"
    )
    assert headline(report, "positive") == (
        "20 of 2,000 rows (1.0%) break the rule; agreed: 0 rows"
    )
    assert headline(report, "rows") == "it is 2,000; agreed: more than 5,000"
    assert headline(report, "tolerant") == (
        "1 of 2,000 rows (0.1%) breaks the rule; agreed: less than 1%"
    )
    assert headline(report, "nobody").startswith("not evaluated: mean needs an operator")
    assert headline(report, "sla_completeness").startswith("completeness was ")
    assert headline(report, "gone").startswith("not evaluated: orders@1.0.0 plans gone")


def test_the_headline_of_the_whole_tells_the_worst_of_every_kind():
    assert headline(validate(FRAME, MADE, now=NOW)) == (
        "orders@1.0.0 is broken: rows is 2,000, not more than 5,000, n.minimum 20, positive 20, "
        "s.required 1; 1 of 15 rules was not evaluated"
    )


def test_what_passed_says_plainly_how_many_rules_were_not_evaluated():
    unmeasured = library("nobody", LibraryMetric.MEAN, "n")
    made = contract(column("n", INTEGER, required=True), quality=(unmeasured,))
    report = validate(pl.DataFrame({"n": [1]}), made, now=NOW)
    said = "3 rules kept, but 1 of 4 rules was not evaluated: nobody: mean needs an operator"
    assert report_text(report).startswith(f"PASSED  {said}")
    assert said in repr(report)
    assert said in report_page(report)
    assert "<title>orders@1.0.0: passed, 1 not evaluated</title>" in report_page(report)
    broken = validate(pl.DataFrame({"n": [1, None]}), made, now=NOW)
    assert headline(broken) == (
        "1 of 2 rows (50.0%) break orders@1.0.0: n.required 1; 1 of 4 rules was not evaluated"
    )


def test_the_headline_of_good_data():
    good = contract(column("id", INTEGER, primary_key_position=1))
    assert headline(validate(FRAME, good), "schema") == "2,000 rows keep orders@1.0.0 (4 rules)"
    assert headline(validate(FRAME.head(0), good)) == "0 rows keep orders@1.0.0 (4 rules)"


def test_the_headline_names_a_missing_column_once():
    report = validate(FRAME.rename({"s": "S"}), MADE)
    assert headline(report, "schema") == (
        "2,000 of 2,000 rows (100.0%) break orders@1.0.0: the column s is missing, n.minimum 20"
    )


def test_the_headline_of_a_warning_and_of_no_table():
    wary = contract(column("id", INTEGER), extra_columns=ExtraColumns.WARN)
    assert "not in the contract: s, n" in headline(validate(FRAME, wary))
    assert headline(validate(None, MADE), "schema") == (
        "orders@1.0.0 is broken: schema (the asset returned no table but NoneType)"
    )


def test_the_json_is_json_and_complete():
    report = validate(FRAME, MADE, now=NOW, evaluation_id="e")
    found = json.loads(json.dumps(report_json(report), allow_nan=False))
    assert {"contract", "version", "status", "rows", "metrics", "outcomes"} <= set(found)
    assert (found["status"], found["rows"]) == ("failed", ROWS)
    assert found["metrics"]["schema_validation_errors"] == 0.01
    rule = next(one for one in found["outcomes"] if one["rule"] == "s.required")
    assert {
        key: rule[key]
        for key in (
            "check",
            "column",
            "status",
            "rows_tested",
            "failed_rows",
            "failed_ratio",
            "samples",
            "reason",
        )
    } == {
        "check": "schema",
        "column": "s",
        "status": "failed",
        "rows_tested": ROWS,
        "failed_rows": 1,
        "failed_ratio": 1 / ROWS,
        "samples": [{"id": 0, "s": None}],
        "reason": None,
    }


def test_the_text_lists_what_did_not_pass_with_its_samples():
    lines = report_text(validate(FRAME, MADE, now=NOW, samples=1)).splitlines()
    assert lines[0].startswith("FAILED")
    assert any("s.required: 1 of 2,000 rows" in line for line in lines)
    assert "    id=0, s=None" in lines
    assert not any("id.type" in line for line in lines)


def test_a_reason_that_many_rules_share_is_said_once():
    text = report_text(validate(None, MADE, now=NOW))
    assert text.count("NoneType") == 3  # the headline, the rule that failed, all others
