"""How a backtest grows with the history: its time for each evaluation, and its memory.

Run ``python -m benchmarks.backtest``; each length is replayed in a process of its own. It exits
with 1 where a target is missed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.circuits import contract_of
from benchmarks.memory import peak
from dagster_contracts.resilience.backtest import backtest
from dagster_contracts.store.database import open_store
from dagster_contracts.store.tables import observations

LENGTHS = (10_000, 200_000)
GROWTH = 1.25
MORE_MEMORY = 32
_SPAN = timedelta(days=90)
_PIECE = 10_000
_CONDITIONS = ("schema_validation_errors > 5%", "row_count < 100", "data_freshness > 12h")


def write_history(url: str, length: int) -> None:
    """Ninety days of evaluations; every so often three in a row are bad."""
    store = open_store(url)
    with store.begin() as conn:
        begin = store.now(conn) - _SPAN
        for first in range(0, length, _PIECE):
            numbers = range(first, min(first + _PIECE, length))
            conn.execute(
                sa.insert(observations),
                [_row(number, begin + number * _SPAN / length) for number in numbers],
            )
    store.close()


def _row(number: int, at: datetime) -> dict[str, Any]:
    bad = number % 4_850 < 3
    return {
        "evaluation_id": f"{number:032x}",
        "contract": "orders",
        "contract_version": "1.0.0",
        "asset": "orders",
        "observed_at": at,
        "evaluated_at": at,
        "event_time": at,
        "status": "failed" if bad else "passed",
        "rows": 1_000,
        "backfill": False,
        "metrics": {
            "schema_validation_errors": "1/5" if bad else f"{number * 7919 % 40}/1000",
            "row_count": str(900 + number * 7919 % 200),
            "data_freshness": f"{number * 7919 % 1_000_000}/1000000",
            "completeness": "1",
            "duplicates": "0",
            "null_ratio.amount": "3/1000",
        },
        "unknown_because": {},
    }


def replayed(url: str) -> tuple[float, float]:
    """Seconds of CPU that a process of its own takes for a backtest, and its peak in MiB."""
    command = [sys.executable, "-m", "benchmarks.backtest", url]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    )
    seconds, memory = ended.stdout.split()
    return float(seconds), float(memory)


def main() -> int:
    """Print what was measured; 1 where a target is missed."""
    each, peaks = [], []
    with tempfile.TemporaryDirectory() as folder:
        for length in LENGTHS:
            url = f"sqlite:///{folder}/{length}.db"
            write_history(url, length)
            seconds, memory = replayed(url)
            each.append(seconds / length)
            peaks.append(memory)
            print(f"{length:,} evaluations: {each[-1] * 1e6:,.0f} µs each, peak {memory:,.0f} MiB")
    growth, more = each[1] / each[0], peaks[1] - peaks[0]
    met = growth <= GROWTH and more <= MORE_MEMORY
    print(
        f"{LENGTHS[1] // LENGTHS[0]} times as many: {growth:.2f}x the time of each (at most "
        f"{GROWTH:g}x), {more:+.0f} MiB (at most {MORE_MEMORY}): {'met' if met else 'MISSED'}"
    )
    return 0 if met else 1


def _replay(url: str) -> None:
    store = open_store(url)
    begin = time.process_time()
    contract = contract_of("orders", *_CONDITIONS, max_age=timedelta(days=1))
    result = backtest(store, contract, curves=1)
    taken = time.process_time() - begin
    store.close()
    assert result.circuits[0].openings
    print(taken, peak())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _replay(sys.argv[1])
    else:
        raise SystemExit(main())
