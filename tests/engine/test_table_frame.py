"""Tables of databases, read whole."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest
import sqlalchemy as sa

from dagster_contracts.engine.scan import UnreachableDataError, UnreadableDataError
from dagster_contracts.engine.sql_table import SqlTable
from dagster_contracts.engine.table_frame import read_table

MOMENT = datetime(2024, 3, 1, 12, tzinfo=UTC)
FRAME = pl.DataFrame(
    {
        "id": [1, 2],
        "amount": [Decimal("1.50"), None],
        "day": [date(2024, 3, 1), None],
        "at": [MOMENT, None],
        "good": [True, None],
        "never": pl.Series([None, None], dtype=pl.String),
    },
    schema_overrides={"amount": pl.Decimal(38, 2), "at": pl.Datetime("us", "UTC")},
)


def _columns() -> list[sa.Column]:
    return [
        sa.Column("id", sa.BigInteger),
        sa.Column("amount", sa.Numeric(10, 2)),
        sa.Column("day", sa.Date),
        sa.Column("at", sa.DateTime(timezone=True)),
        sa.Column("good", sa.Boolean),
        sa.Column("never", sa.String),
    ]


def test_a_table_of_postgresql_keeps_its_types(postgres_data: str) -> None:
    url = sa.make_url(postgres_data).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    table = sa.Table("seeds of all", sa.MetaData(), *_columns())
    with engine.begin() as connection:
        table.drop(connection, checkfirst=True)
        table.create(connection)
    empty = read_table(SqlTable(postgres_data, '"seeds of all"'))
    with engine.begin() as connection:
        connection.execute(sa.insert(table), FRAME.to_dicts())
    try:
        assert read_table(SqlTable(postgres_data, '"seeds of all"')).equals(FRAME)
        assert empty.schema == FRAME.schema
        assert empty.height == 0
    finally:
        with engine.begin() as connection:
            table.drop(connection)


def test_a_table_of_sqlite_keeps_its_types(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'seed.db'}")
    table = sa.Table("seeds", sa.MetaData(), *[c for c in _columns() if c.name != "at"])
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(sa.insert(table), FRAME.drop("at").to_dicts())
    engine.dispose()

    assert read_table(SqlTable(f"sqlite:///{tmp_path / 'seed.db'}", "seeds")).equals(
        FRAME.drop("at")
    )


def test_a_table_of_duckdb_is_read(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "seed.duckdb")) as connection:
        connection.execute("CREATE SCHEMA s")
        connection.execute("CREATE TABLE s.seeds AS SELECT 1 AS id, 'x' AS name")

    read = read_table(SqlTable(f"duckdb:///{tmp_path / 'seed.duckdb'}", "s.seeds"))

    assert read.to_dicts() == [{"id": 1, "name": "x"}]


def test_what_cannot_be_read_says_why_and_no_password(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "seed.duckdb")):
        pass
    with sa.create_engine(f"sqlite:///{tmp_path / 'seed.db'}").begin() as connection:
        connection.exec_driver_sql("CREATE TABLE other (id INTEGER)")
    for database, said in (
        (f"sqlite:///{tmp_path / 'none.db'}", "there is no file"),
        (f"sqlite:///{tmp_path / 'seed.db'}", "there is no table seeds"),
        (f"duckdb:///{tmp_path / 'seed.duckdb'}", "there is no table seeds"),
        ("oracle://u:secret@host/db", "cannot be read"),
    ):
        with pytest.raises(UnreadableDataError, match=said) as raised:
            read_table(SqlTable(database, "seeds"))
        assert "secret" not in str(raised.value)
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(UnreachableDataError) as refused:
        read_table(SqlTable("postgresql://u:secret@127.0.0.1:1/db", "seeds"))
    assert "secret" not in str(refused.value)
