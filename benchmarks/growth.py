"""How the engine grows: with rows, with rules, in memory; and what a small table costs."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from benchmarks.contender import Contender, Target, take_turns
from benchmarks.limit import by_hand
from benchmarks.memory import peak
from benchmarks.orders import column, orders, orders_contract
from dagster_contracts.core.contract import (
    Contract,
    LogicalType,
    QualityRule,
    RuleKind,
    SchemaObject,
    Threshold,
    ThresholdOperator,
)
from dagster_contracts.engine.sql_table import SqlTable
from dagster_contracts.engine.validation import validate

_PIECE = 250_000
_EXPRESSIONS = (
    "amount <= {} + 9000",
    "quantity < {} + 90",
    "weight > -{} - 2",
    "tax < amount + {}",
    "shipped_at >= created_at or rating > {}",
    "latitude + {} >= longitude",
    "length(note) < {} + 40",
    "customer + {} > pack",
)


def growth_targets(rows: int, runs: int) -> list[Target]:
    """Measure, print, and return the promises beside what was seen."""
    contract = orders_contract()
    small = orders(1000)
    found = [
        Target(
            "hand-written Polars, 1,000 rows",
            _ratio(lambda: validate(small, contract), lambda: by_hand(small.lazy()), runs * 10),
            3,
        ),
    ]
    with tempfile.TemporaryDirectory() as folder:
        less, more = Path(folder) / "less.parquet", Path(folder) / "more.parquet"
        write_orders(less, rows)
        write_orders(more, rows * 10)
        tenfold = _ratio(lambda: validate(more, contract), lambda: validate(less, contract), runs)
        found.append(Target(f"{rows:,} rows: ten times as many, a tenth each", tenfold / 10, 1.1))
        peaks = {path: peak_memory(path) for path in (less, more)}
    frame = orders(min(rows, 1_000_000))
    few, many = rules_contract(10), rules_contract(200)
    twentyfold = _ratio(lambda: validate(frame, many), lambda: validate(frame, few), runs)
    found.append(Target("10 rules: twenty times as many, a twentieth each", twentyfold / 20, 1.1))
    found += wide_targets(runs)
    print()
    print(
        f"peak memory on Parquet: {peaks[less]:,.0f} MiB at {rows:,} rows, "
        f"{peaks[more]:,.0f} MiB at {rows * 10:,}"
    )
    found.append(Target(f"1.5 GiB of memory, {rows * 10:,} rows", peaks[more] / 1536, 1))
    return found


def wide_targets(runs: int) -> list[Target]:
    """Ten times as many columns, each with a rule: keys and SQL, in the engines that know both."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        few, many = _wide_tables(20, Path(folder), opened), _wide_tables(200, Path(folder), opened)
        return [
            Target(
                f"20 columns with {rule} on {engine}: ten times as many, a tenth each",
                _ratio(
                    partial(validate, many[engine], wide_contract(200, rule), allow_sql=True),
                    partial(validate, few[engine], wide_contract(20, rule), allow_sql=True),
                    runs,
                )
                / 10,
                1.1,
            )
            for rule in ("unique", "sql")
            for engine in few
        ]


def _wide_tables(columns: int, folder: Path, opened: ExitStack) -> dict[str, object]:
    frame = pl.select(pl.int_range(2000).alias(f"c{number}") for number in range(columns))
    tables: dict[str, object] = {"polars": frame}
    try:
        import duckdb
    except ImportError:
        pass
    else:
        connection = opened.enter_context(duckdb.connect(":memory:"))
        connection.register("arrow", frame.to_arrow())
        connection.execute("CREATE TABLE wide AS SELECT * FROM arrow")
        tables["DuckDB"] = connection.table("wide")
    path = folder / f"wide{columns}.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            f"CREATE TABLE wide ({', '.join(f'{c} INTEGER' for c in frame.columns)})"
        )
        marks = ", ".join("?" * columns)
        connection.executemany(f"INSERT INTO wide VALUES ({marks})", frame.iter_rows())
        connection.commit()
    tables["SQLite"] = SqlTable(f"sqlite:///{path}", "wide")
    return tables


def wide_contract(columns: int, rule: str) -> Contract:
    """One rule about each of the columns ``c0``, ``c1``, ...: ``unique`` or ``sql``."""
    names = [f"c{number}" for number in range(columns)]
    properties = [column(name, LogicalType.INTEGER, unique=rule == "unique") for name in names]
    quality = [
        QualityRule(
            name=f"{name}_low",
            kind=RuleKind.SQL,
            query=f"SELECT count(*) FROM {{table}} WHERE {name} >= 2000",
            threshold=Threshold(ThresholdOperator.MUST_BE, (Fraction(0),)),
        )
        for name in (names if rule == "sql" else ())
    ]
    target = SchemaObject(name="wide", properties=tuple(properties), quality=tuple(quality))
    return Contract(name="wide", version="1.0.0", objects=(target,))


def write_orders(path: Path, rows: int) -> None:
    """The benchmark's table, written piece by piece: a row group each."""
    writer = None
    for first in range(0, rows, _PIECE):
        piece = orders(min(_PIECE, rows - first), seed=7 + first, first=first).to_arrow()
        writer = writer or pq.ParquetWriter(path, piece.schema)
        writer.write_table(piece)
    if writer is not None:
        writer.close()


def rules_contract(rules: int) -> Contract:
    """Expressions over the same table, each with another number; no two are the same."""
    contract = orders_contract()
    none = Threshold(ThresholdOperator.MUST_BE, (Fraction(0),))
    quality = tuple(
        QualityRule(
            name=f"rule_{number}",
            kind=RuleKind.EXPRESSION,
            expression=_EXPRESSIONS[number % len(_EXPRESSIONS)].format(number),
            threshold=none,
        )
        for number in range(rules)
    )
    (target,) = contract.objects
    return replace(contract, objects=(replace(target, properties=(), quality=quality),))


def peak_memory(table: Path) -> float:
    """MiB that a process of its own has at most, imports included, while it validates a table."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth", str(table)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    return float(ended.stdout)


def _ratio(one: Callable[[], object], other: Callable[[], object], runs: int) -> float:
    contenders = [Contender("one", one), Contender("other", other)]
    take_turns(contenders, runs)
    return contenders[0].median / contenders[1].median


if __name__ == "__main__":
    validate(Path(sys.argv[1]), orders_contract())
    print(peak())
