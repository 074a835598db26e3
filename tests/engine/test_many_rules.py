"""Many rules ask few questions: each key one, all rows one, what fails a few more."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import polars as pl
import pytest
import sqlalchemy as sa

from dagster_contracts import SqlTable
from dagster_contracts.core.contract import QualityRule, RuleKind
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
    INTEGER,
    column,
    contract,
    expression,
    failed_rows,
    outcome,
    threshold,
)

NAMES = [f"c{number}" for number in range(12)]


@pytest.fixture
def table(tmp_path) -> Iterator[SqlTable]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'wide.db'}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        named = ", ".join(f"{name} INTEGER" for name in NAMES)
        connection.exec_driver_sql(f"CREATE TABLE wide ({named})")
        for values in (range(12), range(12), range(1, 13)):
            row = ", ".join(str(value) for value in values)
            connection.exec_driver_sql(f"INSERT INTO wide VALUES ({row})")
        connection.exec_driver_sql("INSERT INTO wide (c11) VALUES (4611686018427387904)")
    yield SqlTable(engine, "wide")
    engine.dispose()


@pytest.fixture
def statements(table: SqlTable) -> list[str]:
    seen: list[str] = []

    def note(connection, cursor, statement, *rest):
        if "FROM" in statement and "wide" in statement and "pragma" not in statement.lower():
            seen.append(statement)

    sa.event.listen(table.database, "before_cursor_execute", note)
    return seen


def test_each_key_is_one_question_and_names_no_other_column(table, statements):
    made = contract(*(column(name, INTEGER, unique=True) for name in NAMES))
    report = validate(table, made, samples=0)
    assert failed_rows(report) == {f"{name}.unique": 1 for name in NAMES}
    # All rows, each key, and the largest groups of those that have duplicates.
    assert len(statements) == 1 + 2 * len(NAMES)
    assert all(
        '"c7"' not in text for text in statements if '"c3"' in text and text != statements[0]
    )


def test_one_rule_that_fails_to_run_costs_few_questions(table, statements):
    rules = [expression(f"r{number}", f"c3 + {number} < 5") for number in range(63)]
    overflow = expression("overflow", "c11 + c11 + c11 > 0")
    made = contract(*(column(name, INTEGER) for name in NAMES), quality=(overflow, *rules))
    report = validate(table, made, samples=0)
    assert outcome(report, "overflow").status is OutcomeStatus.NOT_EVALUATED
    assert "failed to run" in (outcome(report, "overflow").reason or "")
    expected = {number: sum(value + number >= 5 for value in (3, 3, 4)) for number in range(63)}
    assert {n: outcome(report, f"r{n}").failed_rows for n in expected} == expected
    assert report.metrics["quality_errors"] == pytest.approx(3 / 4)
    assert len(statements) < 30


def test_the_batch_is_read_once_for_all_rules_in_sql():
    reads = []

    def counted(rows: pl.Series) -> pl.Series:
        reads.append(len(rows))
        return rows

    def reads_of(rules: int) -> int:
        lazy = pl.LazyFrame({"a": [1, 2, 3]})
        lazy = lazy.with_columns(pl.col("a").map_batches(counted, return_dtype=pl.Int64))
        quality = tuple(
            QualityRule(
                name=f"r{number}",
                kind=RuleKind.SQL,
                query=f"SELECT count(*) FROM {{table}} WHERE a > {number}",
                threshold=threshold("mustBe", max(0, 3 - number)),
            )
            for number in range(rules)
        )
        reads.clear()
        report = validate(lazy, contract(column("a", INTEGER), quality=quality), allow_sql=True)
        assert {o.status for o in report.outcomes} == {OutcomeStatus.PASSED}
        return len(reads)

    assert reads_of(1) == reads_of(6)


def test_a_plan_that_is_used_again_measures_the_data_at_hand():
    made = contract(
        column("a", INTEGER, unique=True, minimum=0),
        column("b", minimum=1),
        quality=(expression("sum", "a + b < 9"),),
    )
    frames = {
        "clean": pl.DataFrame({"a": [1, 2], "b": [1.5, 2.5]}),
        "dirty": pl.DataFrame({"a": [-1, -1, 8], "b": [0.5, 2.5, float("nan")]}),
        "whole": pl.DataFrame({"a": [-1, 0, 8], "b": [0, 1, 2]}),
    }
    expected = {
        "clean": {},
        "dirty": {"a.unique": 1, "a.minimum": 2, "b.minimum": 1},
        "whole": {"a.minimum": 1, "b.minimum": 1, "sum": 1},
    }
    for _ in range(2):
        for name, frame in frames.items():
            report = validate(frame, made)
            assert failed_rows(report) == expected[name]
            assert report.rows == frame.height
    shown = outcome(validate(frames["dirty"], made), "a.minimum").samples
    assert [sample["a"] for sample in shown] == [-1, -1]


def test_a_plan_that_is_kept_keeps_no_data():
    released = []

    class Witness:
        def __call__(self, rows: pl.Series) -> pl.Series:
            return rows

        def __del__(self) -> None:
            released.append(True)

    made = contract(column("a", INTEGER, unique=True, minimum=0))
    lazy = pl.LazyFrame({"a": [1, -2]})
    lazy = lazy.with_columns(pl.col("a").map_batches(Witness(), return_dtype=pl.Int64))
    assert failed_rows(validate(lazy, made)) == {"a.minimum": 1}
    del lazy
    gc.collect()
    assert released == [True]
