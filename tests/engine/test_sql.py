from __future__ import annotations

import polars as pl
import pytest

from dagster_contracts.core.contract import QualityRule, RuleKind
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.validation import validate
from tests.engine.builders import INTEGER, column, contract, outcome, threshold

FRAME = pl.DataFrame({"odd name": [1, -1, 3]})


def run(query, *, allow_sql=True, **fields):
    fields.setdefault("threshold", threshold("mustBe", 1))
    quality = QualityRule(name="r", kind=RuleKind.SQL, query=query, column="odd name", **fields)
    made = contract(column("odd name", INTEGER), quality=(quality,))
    return outcome(validate(FRAME, made, allow_sql=allow_sql), "r")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM ${table} WHERE ${column} < 0",
        "SELECT count(*) FROM {object} WHERE {property} < 0",
        'SELECT count(*) FROM orders WHERE "odd name" < 0',
        "SELECT avg({column}) FROM {table}",
    ],
)
def test_a_query_sees_the_batch(query):
    found = run(query)
    assert (found.status, found.value) == (OutcomeStatus.PASSED, 1.0)
    assert run(query, threshold=threshold("mustBe", 2)).status is OutcomeStatus.FAILED


def test_sql_is_off_unless_it_is_allowed():
    found = run("SELECT 1", allow_sql=False)
    assert found.status is OutcomeStatus.NOT_EVALUATED
    assert "off" in (found.reason or "")


def test_a_query_sees_nothing_but_the_batch(tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for query in (
        f"SELECT count(*) FROM read_csv('{secret}')",
        f"SELECT count(*) FROM '{secret}'",
        "SET enable_external_access = true",
        f"COPY batch TO '{tmp_path / 'out.csv'}'",
    ):
        found = run(query)
        assert found.status is OutcomeStatus.NOT_EVALUATED, query
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    "query", ["SELECT", "SELECT 1, 2", "SELECT 'x'", "SELECT 1 FROM {table}", "SELECT NULL"]
)
def test_a_query_that_gives_no_number_is_not_evaluated(query):
    assert run(query).status is OutcomeStatus.NOT_EVALUATED


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1; SELECT 1",
        "CREATE TABLE other AS SELECT 1",
        "CREATE TABLE other (n INTEGER); SELECT 1",
        "DELETE FROM {table}",
        "INSERT INTO {table} VALUES (1)",
        "PRAGMA database_size",
        "",
        "-- nothing",
    ],
)
def test_a_query_is_one_select_and_no_more(query):
    found = run(query)
    assert found.status is OutcomeStatus.NOT_EVALUATED
    assert found.reason


def test_a_query_may_end_in_a_semicolon():
    assert run("SELECT count(*) FROM {table} WHERE {column} < 0 ;\n").value == 1.0
