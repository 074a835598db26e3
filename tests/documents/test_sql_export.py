"""Tables that are exported take good rows and refuse bad ones, in the databases themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa

from dagster_contracts import SqlTable
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.documents.export.sql import to_sql
from dagster_contracts.documents.export.sql_dialect import SqlDialect
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.engine.validation import validate
from dagster_contracts.errors import DocumentError

ROOT = Path(__file__).parents[2]
EVERY = [
    *sorted((ROOT / "contracts").glob("*/*.yaml")),
    *sorted((ROOT / "tests" / "corpus" / "odcs-official").glob("*.yaml")),
]

#: Runs a script of statements; raises where the database refuses one.
Run = Callable[[str], Any]

SHOP = """
data_contract:
  name: shop
  objects:
    order lines:
      schema:
        description: "One line -- of an order"
        primary_key: [line, order]
        fields:
          order: {type: integer, references: orders.id}
          line: {type: integer, minimum: 1}
          note: {type: string, max_length: 3, description: "it's\\n'free'; DROP TABLE x"}
    orders:
      schema:
        relationships: [{columns: [customer], to: [crm.customers.id]}]
        fields:
          id: {type: integer, primary_key: true}
          state: {type: string, required: true, enum: [new, "it's"]}
          code: {type: string, pattern: "^[A-Z]{2}$", unique: true}
          amount: {type: number, exclusive_minimum: 0, maximum: 99.5, multiple_of: 0.5}
          at: {type: timestamp, timezone: true, minimum: "2020-01-01T00:00:00Z"}
          day: {type: date, maximum: "2030-12-31"}
          ok: {type: boolean}
          clock: {type: time}
          customer: {type: integer}
        quality:
          - {name: amount_there, metric: nullValues, column: amount, must_be: 0}
          - {name: few, metric: rowCount, must_be_less_than: 1000}
"""


def shop() -> Contract:
    return load_contract("shop.yaml", text=SHOP)


@pytest.fixture(params=["sqlite", "duckdb", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[tuple[SqlDialect, Run]]:
    match request.param:
        case "sqlite":
            connection = sqlite3.connect(":memory:")
            connection.execute("PRAGMA foreign_keys = ON")
            yield SqlDialect.SQLITE, connection.executescript
            connection.close()
        case "duckdb":
            duck = duckdb.connect()
            yield SqlDialect.DUCKDB, duck.execute
            duck.close()
        case _:
            engine = sa.create_engine(
                request.getfixturevalue("postgres_url"), isolation_level="AUTOCOMMIT"
            )
            with engine.connect() as conn:
                # Without arguments psycopg reads no placeholders: a per cent sign is one.
                yield SqlDialect.POSTGRESQL, conn.connection.cursor().execute
            engine.dispose()


GOOD = {
    "id": "1",
    "state": "'it''s'",
    "code": "'AB'",
    "amount": "1.5",
    "at": "'2024-01-01 10:00:00+00:00'",
    "day": "'2024-01-01'",
    "ok": "TRUE",
    "clock": "'10:00:00'",
    "customer": "NULL",
}


def insert(**changes: str) -> str:
    row = {**GOOD, **changes}
    names = ", ".join(f'"{name}"' for name in row)
    return f"INSERT INTO orders ({names}) VALUES ({', '.join(row.values())});"


def test_good_rows_go_in(database: tuple[SqlDialect, Run]) -> None:
    dialect, run = database
    run(to_sql(shop(), dialect))
    run(insert())
    run(insert(id="2", code="NULL", at="NULL", day="NULL", ok="NULL", clock="NULL"))
    run("""INSERT INTO "order lines" ("order", line, note) VALUES (1, 1, 'abc');""")


BAD = [
    {"id": "1"},
    {"id": "NULL"},
    {"state": "NULL"},
    {"state": "'old'"},
    {"id": "9", "code": "'AB'"},
    {"amount": "0"},
    {"amount": "100"},
    {"amount": "0.7"},
    {"amount": "NULL"},
    {"at": "'2019-12-31 23:00:00+00:00'"},
    {"day": "'2031-01-01'"},
    {"day": "'2024-13-01'"},
    {"at": "'soon'"},
    {"clock": "'late'"},
    {"ok": "'perhaps'"},
    {"amount": "'much'"},
    {"id": "'x'"},
]


def test_bad_rows_are_refused(database: tuple[SqlDialect, Run]) -> None:
    dialect, run = database
    run(to_sql(shop(), dialect))
    run(insert())
    for bad in BAD:
        statement = insert(**({"id": "2", "code": "'CD'"} | bad))
        with pytest.raises(Exception, match=r"(?i)constraint|convert|invalid|out of range"):
            run(statement)
    run(insert(id="2", code="'CD'"))


def test_patterns_and_references_are_kept(database: tuple[SqlDialect, Run]) -> None:
    dialect, run = database
    written = to_sql(shop(), dialect)
    run(written)
    run(insert())
    if dialect is SqlDialect.SQLITE:
        assert "not said here: code matches" in written
    else:
        with pytest.raises(Exception, match=r"(?i)constraint"):
            run(insert(id="2", code="'abc'"))
    line = """INSERT INTO "order lines" ("order", line, note) VALUES ({}, {}, {});"""
    run(line.format(1, 1, "NULL"))
    for wrong in ((7, 1, "NULL"), (1, 1, "NULL"), (1, 0, "NULL"), (1, 2, "'abcd'")):
        with pytest.raises(Exception, match=r"(?i)constraint"):
            run(line.format(*wrong))


def test_what_sql_cannot_say_is_a_comment() -> None:
    for dialect in SqlDialect:
        written = to_sql(shop(), dialect)
        assert "-- not said here: customer occurs in crm.customers.id" in written
        assert "-- not said here: quality rule few" in written
        for line in written.splitlines():
            if "DROP TABLE" in line:
                # In a comment, or within the quotes of a literal that goes on from another line.
                assert "--" in line.partition("DROP")[0] or "'" in line


def test_comments_arrive_in_postgresql(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url)
    with engine.begin() as conn:
        conn.exec_driver_sql(to_sql(shop(), SqlDialect.POSTGRESQL))
    inspector = sa.inspect(engine)
    assert inspector.get_table_comment("order lines")["text"] == "One line -- of an order"
    columns = {c["name"]: c["comment"] for c in inspector.get_columns("order lines")}
    assert columns["note"] == "it's\n'free'; DROP TABLE x"
    engine.dispose()


NASTY = [
    'a"b',
    "a--b",
    "a\nb",
    "x'); DROP TABLE victims; --",
    "select",
    "naïve ключ",
    "a;b",
    "/* c */",
    "%s",
    "{x}",
    "tab\there",
]


def nasty() -> Contract:
    columns = "\n".join(
        f"      {quoted(name)}: "
        f"{{type: string, enum: [{quoted(name)}], description: {quoted(name)}, required: true}}"
        for name in NASTY
    )
    return load_contract(
        "nasty.yaml",
        text=(
            "data_contract:\n  name: nasty\n  description: "
            + quoted("evil\n*/ DROP TABLE victims; --")
            + "\n  schema:\n    physical_name: "
            + quoted(NASTY[3])
            + "\n    fields:\n"
            + columns
        ),
    )


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + escaped.replace("\t", "\\t") + '"'


def test_no_name_or_text_gets_out_of_its_quotes(database: tuple[SqlDialect, Run]) -> None:
    dialect, run = database
    run("CREATE TABLE victims (id int);")
    run(to_sql(nasty(), dialect))
    run("INSERT INTO victims VALUES (1);")
    names = ", ".join(map(dialect.quote, NASTY))
    values = ", ".join(map(dialect.text, NASTY))
    table = dialect.quote(NASTY[3])
    run(f"INSERT INTO {table} ({names}) VALUES ({values});")
    others = ", ".join("'z'" for _ in NASTY)
    with pytest.raises(Exception, match=r"(?i)constraint"):
        run(f"INSERT INTO {table} ({names}) VALUES ({others});")


@pytest.mark.parametrize("dialect", list(SqlDialect))
def test_names_that_a_database_takes_for_one_are_refused(dialect: SqlDialect) -> None:
    names = ("Id", "id") if dialect is not SqlDialect.POSTGRESQL else ("x" * 63 + "1", "x" * 64)
    fields = f"{{{names[0]}: string, {names[1]}: string}}"
    contract = load_contract("x", text=f"data_contract: {{name: x, schema: {{fields: {fields}}}}}")
    with pytest.raises(DocumentError, match="have the same name"):
        to_sql(contract, dialect)


def test_tables_that_refer_to_each_other(database: tuple[SqlDialect, Run]) -> None:
    dialect, run = database
    objects = "".join(
        f"""
        {name}:
          schema:
            fields:
              id: {{type: integer, primary_key: true}}
              up: {{type: integer, references: {target}.id}}"""
        for name, target in (("a", "b"), ("b", "a"), ("tree", "tree"))
    )
    text = f"""
    data_contract:
      name: circle
      objects:{objects}
        empty: {{schema: {{fields: {{}}}}}}
    """
    written = to_sql(load_contract("circle.yaml", text=text), dialect)
    run(written)
    run("INSERT INTO tree VALUES (1, NULL);")
    with pytest.raises(Exception, match=r"(?i)constraint"):
        run("INSERT INTO tree VALUES (2, 7);")


@pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_contract_is_tables_in_duckdb_and_sqlite(path: Path) -> None:
    contract = load_contract(path)
    sqlite3.connect(":memory:").executescript(to_sql(contract, SqlDialect.SQLITE))
    duckdb.connect().execute(to_sql(contract, SqlDialect.DUCKDB))


def test_every_contract_is_tables_in_postgresql(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        run = conn.connection.cursor().execute
        for number, path in enumerate(EVERY):
            run(f"CREATE SCHEMA s{number}; SET search_path TO s{number}")
            run(to_sql(load_contract(path), SqlDialect.POSTGRESQL))
    engine.dispose()


TEXTS = """
data_contract:
  name: texts
  event_time: at
  schema:
    fields:
      id: {type: integer, primary_key: true}
      at: {type: timestamp, required: true, maximum: 2024-06-01T00:00:00}
      day: {type: date}
      clock: {type: time}
      list: {type: array, items: integer}
      record: {type: object, fields: {a: integer}}
      words: {type: map, items: integer}
  sla: {freshness: 2d}
"""


def test_a_table_of_sqlite_keeps_the_contract_that_made_it(tmp_path: Path) -> None:
    contract = load_contract("texts.yaml", text=TEXTS)
    with closing(sqlite3.connect(tmp_path / "t.db")) as connection:
        connection.executescript(to_sql(contract, SqlDialect.SQLITE))
        insert = "INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?, ?)"
        row = [1, "2024-01-01 10:00:00", "2024-02-29", "10:00:00", "[1]", '{"a": 1}', '{"b": 2}']
        connection.execute(insert, row)
        for at, wrong in [
            (1, "2024-01-01"),
            (1, "2024-02-31 10:00:00"),
            (1, "now"),
            (1, 2460000),
            (1, "2460000"),
            (2, "2024-02-30"),
            (3, "noon"),
            (3, "2024-01-01 10:00"),
            (4, "{}"),
        ]:
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(insert, [2, *row[1:at], wrong, *row[at + 1 :]])
        connection.commit()
    report = validate(
        SqlTable(f"sqlite:///{tmp_path}/t.db", "texts"),
        contract,
        now=datetime(2024, 1, 2, 10, tzinfo=UTC),
    )
    unmeasured = {o.rule for o in report.outcomes if o.status is OutcomeStatus.NOT_EVALUATED}
    assert all(rule.startswith(("list", "record", "words")) for rule in unmeasured)
    assert {o.rule for o in report.outcomes if o.status is OutcomeStatus.PASSED} >= {
        "at.type", "at.required", "at.maximum", "day.type", "clock.type", "sla_freshness",
    }  # fmt: skip
    assert report.metrics["data_freshness"] == 24 * 3600


TYPES = """
data_contract:
  name: types
  schema:
    fields:
      a: {type: integer, format: i16, physical_type: smallint}
      b: {type: number, physical_type: "numeric(10, 2)", minimum: 0.1}
      c: {type: string, physical_type: varchar(5), min_length: 1}
      d: {type: string, physical_type: STRUCT<x>, format: email}
      e: {type: string, physical_type: uuid, format: uuid, max_length: 36}
      f: {type: array, items: integer, min_items: 1, max_items: 2}
      g:
        type: array
        items: {type: object, fields: {x y: {type: map, items: {type: array, items: date}}}}
      h: {type: object, fields: {"q\\"": string, n: {type: object, fields: {m: integer}}}}
      i: {type: map, items: number}
      j: {type: object}
      k: {}
      l: {type: timestamp, enum: ["2020-01-01T00:00:00"]}
      m: {type: integer, format: u64}
      n: {type: string, minimum: b}
      o: {type: array, physical_type: json, max_items: 2}
"""


def test_types_of_every_kind(database: tuple[SqlDialect, Run]) -> None:
    dialect, run = database
    written = to_sql(load_contract("types.yaml", text=TYPES), dialect)
    run(written)
    assert f"d: its physical type STRUCT<x> is none of {dialect.value}" in written
    assert '"b" numeric(10, 2)' in written
    assert '"c" varchar(5)' in written
    run("INSERT INTO types (a, b, n) VALUES (1, 1, 'c')")
    for wrong in ("a", 1.5), ("b", 0.05), ("c", "''"), ("n", "'a'"):
        if wrong == ("a", 1.5) and dialect is not SqlDialect.SQLITE:
            continue  # rounded, not refused
        with pytest.raises(Exception, match=r"(?i)constraint"):
            run(f"INSERT INTO types ({wrong[0]}) VALUES ({wrong[1]})")


def test_a_double_is_as_wide_in_postgresql() -> None:
    text = (
        "data_contract: {name: o, schema: {fields: "
        "{a: {type: number, format: f32, physical_type: double}}}}"
    )
    written = to_sql(load_contract("o.yaml", text=text), SqlDialect.POSTGRESQL)
    assert '"a" double precision' in written
