"""Tables in databases: names, secrets, sessions, and what SQLite does its own way."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from dagster_contracts import SqlTable
from dagster_contracts.core.contract import LogicalType, QualityRule, RuleKind
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.frames import frame_columns, select_columns, to_arrow
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
    BOOLEAN,
    DATE,
    INTEGER,
    NUMBER,
    STRING,
    TIMESTAMP,
    column,
    contract,
    expression,
    failed_rows,
    outcome,
    threshold,
)

MADE = contract(column("n", INTEGER, primary_key_position=1), column("s", STRING, required=True))


@pytest.fixture
def engine(postgres_data: str) -> Iterator[sa.Engine]:
    made = sa.create_engine(postgres_data)
    with made.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        connection.exec_driver_sql("CREATE TABLE orders (n int, s text)")
        connection.exec_driver_sql("INSERT INTO orders VALUES (1, 'a'), (1, null)")
    yield made
    made.dispose()


def execute(engine: sa.Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_a_url_an_engine_and_a_uri_name_the_same_table(engine: sa.Engine, postgres_data: str):
    plain = postgres_data.replace("+psycopg", "")
    for data in (
        SqlTable(engine, "orders"),
        SqlTable(postgres_data, "public.orders"),
        SqlTable(plain, '"public"."orders"'),
        f"{plain}#public.orders",
    ):
        report = validate(data, MADE)
        assert failed_rows(report) == {"primary_key": 1, "s.required": 1}
        assert outcome(report, "s.required").samples == ({"n": 1, "s": None},)


def test_views_and_types_of_postgresql(engine: sa.Engine):
    execute(
        engine,
        "CREATE TYPE mood AS ENUM ('glad', 'sad')",
        "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
        "CREATE TABLE t (e mood, u uuid, c char(5), d positive, m numeric, j jsonb, z timestamptz)",
        "INSERT INTO t VALUES ('glad', gen_random_uuid(), 'ab', 1, 'NaN', '{}', now()),"
        " ('sad', gen_random_uuid(), 'abc', 2, 123456789012345678901234567890.5, null, null),"
        " (null, null, null, null, 0.1, null, null)",
        "CREATE VIEW v AS SELECT * FROM t",
    )
    made = contract(
        column("e", STRING, enum=("glad",)),
        column("u", STRING, format="uuid"),
        column("c", STRING, max_length=2),
        column("d", INTEGER, maximum=1),
        column("m", NUMBER, required=True, maximum=1, enum=("x", 0.25)),
        column("j", STRING, required=True, min_length=1),
        column("z", TIMESTAMP, timezone=True),
    )
    report = validate(SqlTable(engine, "v"), made)
    assert failed_rows(report) == {
        "e.enum": 1,
        "c.max_length": 1,
        "d.maximum": 1,
        "m.required": 1,
        "m.maximum": 1,
        "m.enum": 2,
        "j.required": 2,
    }
    for rule in ("j.type", "j.min_length"):
        assert "JSONB" in (outcome(report, rule).reason or "")
        assert outcome(report, rule).status is OutcomeStatus.NOT_EVALUATED


def test_the_database_sorts_as_it_likes_and_still_gives_the_same(engine: sa.Engine):
    execute(
        engine,
        "CREATE COLLATION blind (provider = 'libc', locale = 'C.UTF-8')",
        "CREATE TABLE t (s text COLLATE blind)",
        "INSERT INTO t VALUES ('a'), ('B'), ('É')",
    )
    made = contract(
        column("s", STRING, unique=True),
        quality=(expression("order", "s < 'a'"), expression("fold", "lower(s) != 'é'")),
    )
    assert failed_rows(validate(SqlTable(engine, "t"), made)) == {"order": 2, "fold": 1}


def test_a_session_reads_only_in_utc_and_leaves_nothing_behind(engine: sa.Engine):
    rule = QualityRule(
        name="writes",
        kind=RuleKind.SQL,
        query="SELECT 1; DELETE FROM orders",
        threshold=threshold("mustBe", 1),
    )
    good = QualityRule(
        name="counts",
        kind=RuleKind.SQL,
        query="SELECT count(*) FROM ${table} WHERE s LIKE '%a%'",
        threshold=threshold("mustBe", 1),
    )
    deletes = QualityRule(
        name="deletes",
        kind=RuleKind.SQL,
        query="WITH gone AS (DELETE FROM orders RETURNING 1) SELECT count(*) FROM gone",
        threshold=threshold("mustBe", 1),
    )
    made = contract(column("n", INTEGER), quality=(rule, good, deletes))
    report = validate(SqlTable(engine, "orders"), made, allow_sql=True)
    for name in ("writes", "deletes"):
        assert outcome(report, name).status is OutcomeStatus.NOT_EVALUATED
    assert outcome(report, "counts").status is OutcomeStatus.PASSED
    off = outcome(validate(SqlTable(engine, "orders"), made), "counts")
    assert "off" in (off.reason or "")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM orders").scalar() == 2
        assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "off"
        busy = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"
        assert connection.exec_driver_sql(busy).scalar() == 0


def test_what_takes_too_long_is_unknown_and_not_bad(engine: sa.Engine):
    execute(
        engine,
        "CREATE FUNCTION slow() RETURNS integer VOLATILE LANGUAGE sql AS"
        " 'SELECT 1 FROM pg_sleep(5)'",
        "CREATE VIEW v AS SELECT slow() AS n",
    )
    report = validate(SqlTable(engine, "v", timeout=0.1), contract(column("n", INTEGER, minimum=1)))
    assert report.status is OutcomeStatus.NOT_EVALUATED
    assert "timeout" in (outcome(report, "n.minimum").reason or "")
    assert report.metrics["schema_validation_errors"] is None


def test_a_database_that_cannot_be_reached_says_nothing_of_the_data_and_shows_no_secret():
    for url in ("postgresql://me:s3cret@127.0.0.1:1/shop", "postgresql://me:p%40ss@127.0.0.1:1/d"):
        data = SqlTable(url, "orders")
        report = validate(data, MADE)
        assert report.status is OutcomeStatus.NOT_EVALUATED
        assert report.metrics["schema_validation_errors"] is None
        assert "cannot be reached" in (outcome(report, "schema").reason or "")
        for text in (str(report), repr(data)):
            assert "s3cret" not in text
            assert "p%40ss" not in text


@pytest.mark.parametrize("name", ["nope", "public.nope", "a.b.c", "", 'orders"; DROP TABLE orders'])
def test_a_table_that_is_not_there(engine: sa.Engine, name: str):
    report = validate(SqlTable(engine, name), MADE)
    assert outcome(report, "schema").status is OutcomeStatus.FAILED
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM orders").scalar() == 2


def test_databases_that_are_not_known_are_named():
    report = validate("mysql://u:s3cret@h/d#t", MADE)
    assert "s3cret" not in str(report)
    report = validate("postgresql://u:s3cret@h/d", MADE)
    assert "names no table" in (outcome(report, "schema").reason or "")
    assert "s3cret" not in str(report)


def test_one_broken_rule_costs_no_other(engine: sa.Engine):
    execute(engine, "CREATE TABLE t (a double precision)", "INSERT INTO t VALUES (1e300), (-1)")
    made = contract(
        column("a", NUMBER, minimum=0),
        quality=(expression("overflows", "a * a * a > 0"), expression("sound", "a < 5")),
    )
    report = validate(SqlTable(engine, "t"), made)
    assert failed_rows(report) == {"a.minimum": 1, "sound": 1}
    assert "out of range" in (outcome(report, "overflows").reason or "")


def test_counts_of_a_pattern_that_postgresql_cannot_run_are_not_guessed(engine: sa.Engine):
    made = contract(column("s", STRING, pattern="^a{256}$"))
    report = validate(SqlTable(engine, "orders"), made)
    assert outcome(report, "s.pattern").status is OutcomeStatus.NOT_EVALUATED
    assert "above 255" in (outcome(report, "s.pattern").reason or "")


def test_a_table_as_arrow(engine: sa.Engine):
    data = SqlTable(engine, "orders")
    assert frame_columns(data) == [("n", "Int32"), ("s", "String")]
    assert to_arrow(data).to_pydict() == {"n": [1, 1], "s": ["a", None]}
    assert select_columns(data, ["s"]).column_names == ["s"]


def test_sqlite_keeps_any_value_in_any_column(tmp_path: Path):
    path = tmp_path / "t.sqlite"
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE t (i INTEGER, f REAL, b BOOLEAN, d DATE, s TEXT COLLATE NOCASE)"
    )
    connection.execute("INSERT INTO t VALUES (1, 1, 1, '2024-01-01', 'a')")
    connection.execute("INSERT INTO t VALUES ('one', 'x', 7, 'yesterday', 'A')")
    connection.execute("INSERT INTO t VALUES (null, null, null, null, null)")
    connection.commit()
    connection.close()
    made = contract(
        column("i", INTEGER, maximum=0),
        column("f", NUMBER, required=True),
        column("b", BOOLEAN, enum=(True,)),
        column("d", DATE, unique=True),
        column("s", STRING, unique=True),
        quality=(expression("starts", "starts_with(s, 'a')"),),
    )
    report = validate(SqlTable(f"sqlite:///{path}", "t"), made)
    assert failed_rows(report) == {
        "i.type": 1,
        "i.maximum": 1,
        "f.type": 1,
        "f.required": 1,
        "b.type": 1,
        "d.type": 1,
        "starts": 1,
    }
    missing = validate(SqlTable(f"sqlite:///{tmp_path}/none.sqlite", "t"), made)
    assert "there is no file" in (outcome(missing, "schema").reason or "")
    assert not (tmp_path / "none.sqlite").exists()


def test_sqlite_keeps_times_as_text(tmp_path: Path):
    path = tmp_path / "t.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (i INT, s TEXT, z DATETIME, d TEXT, c TIME, a TEXT)")
    connection.executemany(
        "INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                1,
                "2024-01-01T10:00",
                "2024-01-01T10:00:00.123456+02:00",
                "2024-02-29",
                "10:00",
                "[1]",
            ),
            (2, "2024-01-01 10:00:00.5", "2024-01-01 08:00:00.123456", "2024-02-30", "10:61", "x"),
            (3, "2024-01-01", 1704096000, "today", "noon", None),
            (4, "2024-02-31 10:00:00", "0001-01-01T00:00:00+01:00", 19000, 36000, None),
        ],
    )
    connection.commit()
    connection.close()
    made = contract(
        column("i", INTEGER),
        column("s", TIMESTAMP, maximum="2024-01-01T10:00:00"),
        column("z", TIMESTAMP, unique=True, minimum=datetime(2024, 1, 1, 8, tzinfo=UTC)),
        column("d", DATE),
        column("c", LogicalType.TIME, maximum=time(9, 59)),
        column("a", LogicalType.ARRAY, required=True, items=column("", INTEGER)),
        quality=(expression("ten", "hour(s) != 10"), expression("later", "s + 1h > s")),
    )
    made = replace(made, event_time="z")
    now = datetime(2024, 1, 2, 8, 0, 0, 123456, tzinfo=UTC)
    report = validate(SqlTable(f"sqlite:///{path}", "t"), made, now=now)
    assert failed_rows(report) == {
        "s.type": 2,
        "s.maximum": 1,
        "z.type": 2,
        "z.unique": 1,
        "d.type": 3,
        "c.type": 3,
        "c.maximum": 1,
        "a.required": 2,
        "ten": 2,
    }
    unmeasured = {o.rule for o in report.outcomes if o.status is OutcomeStatus.NOT_EVALUATED}
    assert unmeasured == {"a.type", "a[].type", "later"}
    assert "JSON text" in (outcome(report, "a.type").reason or "")
    assert report.metrics["data_freshness"] == 24 * 3600
    day = replace(contract(column("d", DATE)), event_time="d")
    assert validate(SqlTable(f"sqlite:///{path}", "t"), day).metrics["data_freshness"] is not None


def test_types_of_duckdb_without_a_twin_here(tmp_path: Path):
    import duckdb

    with duckdb.connect(str(tmp_path / "t.duckdb")) as connection:
        connection.execute('CREATE TABLE t ("u ""x" UUID, b BIT, i INTERVAL, n INT)')
        row = "('123e4567-e89b-12d3-a456-426614174000', '101', INTERVAL 1 MONTH, 1)"
        connection.execute(f"INSERT INTO t VALUES {row}, {row}, (null, null, null, 2)")
    made = contract(
        column('u "x', STRING, format="uuid", required=True, unique=True, min_length=37),
        column("b", STRING, required=True),
        column("i", required=True),
        column("n", INTEGER, primary_key_position=1),
    )
    report = validate(SqlTable(f"duckdb:///{tmp_path}/t.duckdb", "t"), made)
    assert failed_rows(report) == {
        'u "x.required': 1,
        'u "x.unique': 1,
        'u "x.min_length': 2,
        "b.required": 1,
        "i.required": 1,
        "primary_key": 1,
    }
    assert outcome(report, "b.type").reason == "values of type BIT are not measured here"
    sample = outcome(report, 'u "x.min_length').samples[0]
    assert sample['u "x'] == "123e4567-e89b-12d3-a456-426614174000"


def test_references_meet_in_the_database_or_in_memory(engine: sa.Engine, tmp_path: Path):
    from dagster_contracts.core.contract import Relationship

    execute(engine, "CREATE TABLE other (id bigint)", "INSERT INTO other VALUES (1), (null)")
    execute(engine, "INSERT INTO orders VALUES (2, 'c')")
    made = contract(
        column("n", INTEGER), relationships=(Relationship(columns=("n",), to=("other.id",)),)
    )
    for other in (SqlTable(engine, "other"), pl.DataFrame({"id": [1]})):
        report = validate(SqlTable(engine, "orders"), made, references={"other": other})
        assert failed_rows(report) == {"n.references": 1}
    report = validate(
        pl.DataFrame({"n": [1, 5]}), made, references={"other": SqlTable(engine, "other")}
    )
    assert failed_rows(report) == {"n.references": 1}


def test_a_pattern_that_repeats_what_repeats_takes_no_time_in_sqlite(tmp_path: Path):
    path = tmp_path / "t.db"
    texts = ["a" * 60 + "b", "a" * 60, "a\n", "aZ", "a\\Z\\Z", None, ""]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (s TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(text,) for text in texts])
        connection.commit()
    for pattern, failing in ((r"^(a+)+$", 5), (r"^a+(\\Z)+$", 5), (r"^(a|aa)*$", 4)):
        made = contract(column("s", STRING, pattern=pattern))
        report = validate(SqlTable(f"sqlite:///{path}", "t"), made)
        assert failed_rows(report) == {"s.pattern": failing}
