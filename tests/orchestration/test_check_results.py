"""Headlines, numbers and tables of check results, as the UI shows them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_contracts.core.contract import Severity
from dagster_contracts.core.outcome import CheckOutcome, ContractReport, OutcomeKind, OutcomeStatus
from dagster_contracts.documents.folder import read_folder
from dagster_contracts.engine.headline import percent
from dagster_contracts.orchestration.binding import Binding, bind_contracts
from dagster_contracts.orchestration.check_results import EVALUATION_ID, build_check_results
from dagster_contracts.orchestration.outcome_tables import outcomes_table, samples_table
from dagster_contracts.orchestration.translator import ContractTranslator

PARCELS = """
data_contract:
  name: parcels
  version: 1.0.0
  schema:
    fields:
      id: {type: integer, required: true}
      weight: {type: number, minimum: 0}
  quality:
    - {name: few_are_late, column: weight, metric: nullValues, unit: percent, mustBeLessThan: 60}
"""

SCHEMA = {"check": "schema", "kind": OutcomeKind.SCHEMA}


@pytest.fixture
def binding(tmp_path: Path) -> Binding:
    path = tmp_path / "parcels" / "1.0.0.yaml"
    path.parent.mkdir()
    path.write_text(PARCELS)
    key = dg.AssetKey("parcels")
    bindings = bind_contracts(
        read_folder(tmp_path), asset_keys=[key], declared={}, translator=ContractTranslator()
    )
    found = bindings.get(key)
    assert found is not None
    return found


def outcome(rule: str, status: OutcomeStatus, **fields: Any) -> CheckOutcome:
    return CheckOutcome(**{**SCHEMA, "rule": rule, "status": status, **fields})


def report(
    *outcomes: CheckOutcome,
    rows: int | None = 967,
    partition: str | None = None,
    metrics: Mapping[str, Fraction | None] | None = None,
) -> ContractReport:
    return ContractReport(
        contract="parcels",
        version="1.0.0",
        schema_object="parcels",
        evaluation_id="e1",
        evaluated_at=datetime(2026, 3, 2, 6, tzinfo=UTC),
        rows=rows,
        outcomes=outcomes,
        partition=partition,
        metrics=metrics or {},
    )


def shown(
    binding: Binding, found: ContractReport, check: str = "schema", *, in_op: bool = True
) -> dg.AssetCheckResult:
    (result,) = build_check_results(
        binding,
        found,
        circuit=None,
        translator=ContractTranslator(),
        selected=[check],
        in_op=in_op,
    )
    return result


def rows_of(table: dg.TableMetadataValue | None) -> list[dict[str, Any]]:
    assert table is not None
    return [dict(record.data) for record in table.records]


def test_a_broken_schema_names_the_rows_and_the_worst_rules(binding: Binding) -> None:
    broken = [
        outcome(f"c{n}.required", OutcomeStatus.FAILED, rows_tested=967, failed_rows=n)
        for n in (1, 2, 3, 4, 58)
    ]

    result = shown(
        binding, report(*broken, metrics={"schema_validation_errors": Fraction(68, 967)})
    )

    assert not result.passed
    assert result.description == (
        "68 of 967 rows (7.0%) break parcels@1.0.0: c58.required 58, c4.required 4, "
        "c3.required 3, c2.required 2, … 1 more"
    )
    assert result.metadata["failed_rows"].value == 68


def test_a_missing_column_is_told_once(binding: Binding) -> None:
    missing = [
        outcome(
            f"weight.{rule}", OutcomeStatus.FAILED, column="weight", rows_tested=9, failed_rows=9
        )
        for rule in ("present", "type", "minimum")
    ]

    result = shown(
        binding, report(*missing, rows=9, metrics={"schema_validation_errors": Fraction(1)})
    )

    assert result.description == (
        "9 of 9 rows (100.0%) break parcels@1.0.0: the column weight is missing"
    )


def test_a_kept_schema_counts_its_rows_and_rules(binding: Binding) -> None:
    kept = outcome("id.required", OutcomeStatus.PASSED, rows_tested=967, failed_rows=0)

    assert shown(binding, report(kept)).description == "967 rows keep parcels@1.0.0 (1 rule)"
    assert shown(binding, report(kept, rows=1)).description == "1 row keeps parcels@1.0.0 (1 rule)"
    assert shown(binding, report(kept, rows=None)).description == (
        "the data keeps parcels@1.0.0 (1 rule)"
    )


def test_the_partition_stands_before_the_headline(binding: Binding) -> None:
    kept = outcome("id.required", OutcomeStatus.PASSED)

    result = shown(binding, report(kept, partition="2013-11-05"))

    assert (result.description or "").startswith("[2013-11-05] 967 rows keep")
    assert result.metadata["partition"].value == "2013-11-05"


@pytest.mark.parametrize("in_op", [True, False])
def test_what_was_not_evaluated_is_never_green(binding: Binding, in_op: bool) -> None:
    unknown = outcome("id.required", OutcomeStatus.NOT_EVALUATED, reason="the query has no engine")

    result = shown(binding, report(unknown), in_op=in_op)

    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert result.description == "not evaluated: id.required: the query has no engine"


def test_one_rule_that_was_not_evaluated_takes_the_green_from_those_that_passed(
    binding: Binding,
) -> None:
    result = shown(
        binding,
        report(
            outcome("id.required", OutcomeStatus.PASSED),
            outcome("id.sql", OutcomeStatus.NOT_EVALUATED, reason="SQL is not allowed"),
        ),
    )

    assert not result.passed
    assert (
        result.description
        == "1 rule kept, but 1 of 2 rules was not evaluated: id.sql: SQL is not allowed"
    )


def test_a_check_that_the_validation_did_not_return_is_not_green(binding: Binding) -> None:
    result = shown(binding, report())

    assert not result.passed
    assert result.description == (
        "not evaluated: parcels@1.0.0 plans schema, and the validation did not return it"
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"rows_tested": 26_115, "failed_rows": 1, "threshold": "less than 60%"},
            "1 of 26,115 rows (<0.1%) breaks the rule; agreed: less than 60%",
        ),
        (
            {"rows_tested": 967, "failed_rows": 0, "threshold": "less than 60%"},
            "0 of 967 rows break the rule; agreed: less than 60%",
        ),
        (
            {"value": 967.0, "threshold": "between 500 and 1,200"},
            "it is 967; agreed: between 500 and 1,200",
        ),
        (
            {"value": 6.3, "threshold": "x < 5min", "reason": "x was 6.3s, which is < 5min"},
            "x was 6.3s, which is < 5min",
        ),
        ({}, "passed"),
    ],
)
def test_a_rule_tells_what_was_measured_and_what_was_agreed(
    binding: Binding, fields: dict[str, Any], sentence: str
) -> None:
    found = CheckOutcome(
        check="few_are_late",
        rule="few_are_late",
        kind=OutcomeKind.QUALITY,
        status=OutcomeStatus.PASSED,
        **fields,
    )

    assert shown(binding, report(found), "few_are_late").description == sentence


def test_a_broken_warning_is_yellow_and_a_broken_error_is_red(binding: Binding) -> None:
    def severity(of: Severity) -> dg.AssetCheckSeverity:
        return shown(
            binding, report(outcome("id.required", OutcomeStatus.FAILED, severity=of))
        ).severity

    assert severity(Severity.ERROR) is dg.AssetCheckSeverity.ERROR
    assert severity(Severity.WARNING) is dg.AssetCheckSeverity.WARN


def test_numbers_are_short_and_durations_say_that_they_are_seconds(binding: Binding) -> None:
    result = shown(
        binding,
        report(
            outcome("id.required", OutcomeStatus.PASSED),
            metrics={
                "data_freshness": Fraction(181, 2),
                "completeness": Fraction(2, 3),
                "duplicates": None,
                "null_ratio.id": Fraction(0),
                "row_count": Fraction(967),
            },
        ),
    )

    numbers = {
        name: value.value
        for name, value in result.metadata.items()
        if isinstance(value.value, (int, float))
    }
    assert numbers == {
        "rows": 967,
        "metric/data_freshness_seconds": 90.5,
        "metric/completeness": 0.666667,
    }
    assert result.metadata[EVALUATION_ID].value == "e1"


@given(failed=st.integers(0, 10**7), tested=st.integers(1, 10**7))
def test_a_percentage_is_none_or_all_only_where_it_is(failed: int, tested: int) -> None:
    ratio = Fraction(min(failed, tested), tested)

    text = percent(ratio)

    assert (text == "0.0%") == (ratio == 0)
    assert (text == "100.0%") == (ratio == 1)
    if text[0] not in "<>":
        assert abs(float(text.rstrip("%")) - float(ratio) * 100) <= 0.0501


def test_broken_outcomes_come_first_and_empty_columns_are_left_out() -> None:
    table = outcomes_table(
        [
            outcome("a.type", OutcomeStatus.PASSED),
            outcome("b.sql", OutcomeStatus.NOT_EVALUATED, reason="no engine"),
            outcome("c.required", OutcomeStatus.FAILED, rows_tested=10, failed_rows=2),
        ]
    )

    assert [column.name for column in table.schema.columns] == [
        "rule",
        "status",
        "tested",
        "failed",
        "ratio",
        "reason",
    ]
    assert [(row["rule"], row["status"]) for row in rows_of(table)] == [
        ("c.required", "failed"),
        ("b.sql", "not evaluated"),
        ("a.type", "passed"),
    ]


def test_many_that_passed_share_a_row_for_each_column() -> None:
    passed = [
        outcome(f"c{n}.{rule}", OutcomeStatus.PASSED, column=f"c{n}", rows_tested=5, failed_rows=0)
        for n in range(7)
        for rule in ("present", "type")
    ]

    rows = rows_of(outcomes_table(passed))

    assert len(rows) == 7
    assert rows[0] == {
        "rule": "c0: present, type",
        "status": "passed",
        "tested": 5,
        "failed": 0,
    }


def test_beside_a_broken_rule_the_many_that_passed_are_one_row() -> None:
    passed = [outcome(f"c{n}.type", OutcomeStatus.PASSED) for n in range(80)]

    rows = rows_of(outcomes_table([*passed, outcome("id.type", OutcomeStatus.FAILED)]))

    assert [row["rule"] for row in rows] == ["id.type", "80 other rules"]


def test_a_long_table_says_how_much_it_leaves_out() -> None:
    rows = rows_of(outcomes_table([outcome(f"r{n}", OutcomeStatus.FAILED) for n in range(100)]))

    assert len(rows) == 60
    assert rows[-1]["rule"] == "… 41 more"


def test_samples_are_of_every_broken_rule_and_tell_null_from_nothing() -> None:
    many = tuple({"id": n, "carrier": None} for n in range(30))
    table = samples_table(
        [
            outcome("carrier.required", OutcomeStatus.FAILED, samples=many),
            outcome("origin.enum", OutcomeStatus.FAILED, samples=({"id": 99, "origin": "???"},)),
        ]
    )

    rows = rows_of(table)
    assert len(rows) == 12
    assert rows[0] == {"rule": "carrier.required", "id": "0", "carrier": "null", "origin": ""}
    assert rows[-1] == {"rule": "origin.enum", "id": "99", "carrier": "", "origin": "???"}


def test_without_samples_there_is_no_table() -> None:
    assert samples_table([outcome("a.type", OutcomeStatus.FAILED)]) is None
