"""How fast the engine is: against hand-written Polars, decoding alone, and peers.

Run ``python -m benchmarks --rows 1000000``. The engine and the hand-written queries answer the same
questions on the same data, samples included, and an answer that differs from the engine's is
marked. pandera runs the rules that it can express (not the expression across columns) and reports
every failing value; its counts are not compared here. Runs are interleaved, the table shows
medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from benchmarks.limit import by_hand
from benchmarks.orders import orders, orders_contract
from dagster_contracts.core.contract import Contract
from dagster_contracts.engine.pandera import to_pandera
from dagster_contracts.engine.validation import validate


@dataclass
class Contender:
    """Something to time; ``answer`` is what it found, ``None`` where it cannot say."""

    name: str
    run: Callable[[], object]
    answer: Callable[[object], object] | None = None
    seconds: list[float] = field(default_factory=list)
    verdict: str = "not compared"


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--dirt", type=float, default=0.01, help="share of broken values")
    parser.add_argument("--no-peers", action="store_true", help="leave pandera out")
    chosen = parser.parse_args(arguments)
    frame = orders(chosen.rows, dirt=chosen.dirt)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orders.parquet"
        frame.write_parquet(path)
        contenders = _contenders(frame, path, orders_contract(), peers=not chosen.no_peers)
        _time(contenders, chosen.runs)
    _print(contenders, chosen.rows)
    return 1 if any(c.verdict == "WRONG" for c in contenders) else 0


def _contenders(
    frame: pl.DataFrame, path: Path, contract: Contract, *, peers: bool
) -> list[Contender]:
    pandas_frame = frame.to_pandas()
    arrow = frame.to_arrow()
    found = [
        Contender("engine, polars", lambda: validate(frame, contract), _counts),
        Contender("hand-written Polars, polars", lambda: by_hand(frame.lazy()), lambda a: a),
        Contender(
            "hand-written, keys by sorted hashes",
            lambda: by_hand(frame.lazy(), hashed=True),
            lambda a: a,
        ),
        Contender("engine, pandas", lambda: validate(pandas_frame, contract), _counts),
        Contender("engine, Arrow", lambda: validate(arrow, contract), _counts),
        Contender("engine, Parquet", lambda: validate(path, contract), _counts),
        Contender(
            "hand-written Polars, Parquet", lambda: by_hand(pl.scan_parquet(path)), lambda a: a
        ),
        Contender("decoding Parquet alone", lambda: _decode(path)),
    ]
    try:
        import duckdb

        connection = duckdb.connect(":memory:")
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("arrow_orders", arrow)
        connection.execute("CREATE TABLE orders AS SELECT * FROM arrow_orders")
        found.append(
            Contender(
                "engine, DuckDB", lambda: validate(connection.table("orders"), contract), _counts
            )
        )
    except ImportError:
        pass
    if peers:
        on_pandas = to_pandera(contract, backend="pandas")
        on_polars = to_pandera(contract, backend="polars")
        found += [
            Contender("pandera, pandas", lambda: _pandera(on_pandas, pandas_frame)),
            Contender("pandera, polars", lambda: _pandera(on_polars, frame)),
        ]
    return found


def _counts(report: object) -> tuple[dict[str, int], int]:
    counts = {o.rule: o.failed_rows for o in report.outcomes if o.failed_rows}  # type: ignore[attr-defined]
    share = report.metrics["schema_validation_errors"]  # type: ignore[attr-defined]
    return counts, round(share * report.rows)  # type: ignore[attr-defined]


def _decode(path: Path) -> object:
    frame = pl.scan_parquet(path)
    return frame.select(pl.all().null_count(), pl.all().hash().sum().name.suffix(" read")).collect(
        engine="streaming"
    )


def _pandera(schema: object, frame: object) -> object:
    import pandera.errors

    try:
        return schema.validate(frame, lazy=True)  # type: ignore[attr-defined]
    except pandera.errors.SchemaErrors as error:
        return error.failure_cases


def _time(contenders: list[Contender], runs: int) -> None:
    expected: object = None
    for number in range(runs + 1):
        for contender in contenders:
            started = time.perf_counter()
            result = contender.run()
            took = time.perf_counter() - started
            if number == 0:
                # The first round warms caches up and is where answers are compared.
                answer = contender.answer(result) if contender.answer else None
                expected = answer if expected is None else expected
                if answer is not None:
                    contender.verdict = "same answer" if answer == expected else "WRONG"
                continue
            contender.seconds.append(took)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _print(contenders: list[Contender], rows: int) -> None:
    base = statistics.median(contenders[0].seconds)
    print(f"{rows:,} rows, 23 columns, 46 rules, samples included; medians")
    print()
    print("| contender | ms | against the engine on polars | |")
    print("|---|---:|---:|---|")
    for contender in contenders:
        median = statistics.median(contender.seconds)
        print(
            f"| {contender.name} | {median * 1000:,.1f} | {median / base:.2f}x "
            f"| {contender.verdict} |"
        )


if __name__ == "__main__":
    raise SystemExit(main())
