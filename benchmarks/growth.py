"""How the engine grows: with rows, with rules, in memory; and what a small table costs."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.contender import Contender, Target, take_turns
from benchmarks.limit import by_hand
from benchmarks.orders import orders, orders_contract
from dagster_contracts.core.contract import (
    Contract,
    QualityRule,
    RuleKind,
    Threshold,
    ThresholdOperator,
)
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
    print()
    print(
        f"peak memory on Parquet: {peaks[less]:,.0f} MiB at {rows:,} rows, "
        f"{peaks[more]:,.0f} MiB at {rows * 10:,}"
    )
    found.append(Target(f"1.5 GiB of memory, {rows * 10:,} rows", peaks[more] / 1536, 1))
    return found


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


def _peak() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        if found:
            return int(found[1]) / 1024
    import resource

    # macOS counts bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    validate(Path(sys.argv[1]), orders_contract())
    print(_peak())
