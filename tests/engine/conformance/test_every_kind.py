"""The same contract gives the same counts on every kind of data.

Where an engine cannot measure a rule, :data:`CANNOT` says so: the rule is then not evaluated, with
a reason, and never counted differently. What a kind of data cannot even hold is in
:data:`NOT_HELD`.
"""

from __future__ import annotations

import pytest

from dagster_contracts.core.outcome import ContractReport, OutcomeStatus
from dagster_contracts.engine.validation import validate
from tests.engine.conformance.cases import CASES, Case
from tests.engine.conformance.exceptions import CANNOT, NOT_HELD
from tests.engine.conformance.kinds import KINDS, Places, make

# What takes longest is asked once of each engine, not of each container that it reads.
ONE_OF_EACH_ENGINE = ("polars", "pandas", "parquet", "duckdb", "postgresql", "sqlite", "pyspark")

PAIRS = [
    pytest.param(
        kind,
        name,
        id=f"{kind}-{name}",
        marks=[pytest.mark.xdist_group("spark")] * (kind == "pyspark"),
    )
    for kind in KINDS
    for name in CASES
    if (kind, name) not in NOT_HELD and (name != "wide" or kind in ONE_OF_EACH_ENGINE)
]


def judged(case: Case, kind: str, places: Places) -> ContractReport:
    return validate(
        make(case.table, kind, places),
        case.contract,
        references={name: make(table, kind, places) for name, table in case.references.items()},
        custom=case.custom,
        **case.circumstances,
    )


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_the_same_counts(kind: str, name: str, places: Places) -> None:
    case = CASES[name]
    report = judged(case, kind, places)
    cannot = {**case.unmeasured, **CANNOT.get((kind, name), {})}
    found = {outcome.rule: outcome for outcome in report.outcomes}
    assert report.rows == case.table.num_rows
    for rule, words in cannot.items():
        assert found[rule].status is OutcomeStatus.NOT_EVALUATED, found[rule]
        assert words in (found[rule].reason or ""), found[rule]
    measured = {rule: outcome for rule, outcome in found.items() if rule not in cannot}
    unexpected = {
        rule: outcome.reason
        for rule, outcome in measured.items()
        if outcome.status is OutcomeStatus.NOT_EVALUATED
    }
    assert unexpected == {}
    counts = {rule: o.failed_rows for rule, o in measured.items() if o.failed_rows}
    broken = {rule: case.table.num_rows for rule in case.broken if found[rule].failed_rows}
    assert counts == {**{r: n for r, n in case.failed.items() if r not in cannot}, **broken}
    for rule in case.broken:
        assert found[rule].status is OutcomeStatus.FAILED
    for rule, value in case.values.items():
        if rule not in cannot:
            assert measured[rule].value == pytest.approx(value, rel=1e-12), rule
    if case.schema_errors is not None:
        assert report.metrics["schema_validation_errors"] == case.schema_errors
    assert {name: report.metrics[name] for name in case.metrics} == case.metrics
    for rule, keys in case.keys.items():
        if rule not in cannot:
            (key,) = case.contract.objects[0].primary_key
            assert sorted(row[key] for row in found[rule].samples) == keys, rule
    # Where each sample is a query of its own, only so many failed rules have one.
    for rule in list(counts)[: 20 if kind == "pyspark" else 100]:
        failed = found[rule].status is OutcomeStatus.FAILED
        if failed and found[rule].reason is None:
            assert 1 <= len(found[rule].samples) <= 5, rule


def test_every_exception_is_about_a_case_that_is_run() -> None:
    run = {(kind, name) for kind in KINDS for name in CASES} - set(NOT_HELD)
    assert set(CANNOT) <= run
    assert all(reason for reason in NOT_HELD.values())
