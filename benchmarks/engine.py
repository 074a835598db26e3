"""How fast the engine is: against the limit, decoding alone, and peers; how it grows.

Run ``python -m benchmarks.engine --rows 1000000`` (a tenth of that by default; 10,000,000 works as
well, with ``--peers`` of few names). All answer the same questions on the same data, show some of
the failing rows, and take turns; medians are shown. Counts are compared with the engine's, rule by
rule. Peers are installed on demand (``--no-peers``, ``--peers dataframely,pandera_polars``); the
time of each is that of a warm run in a process that has read the table already.

On a pandas frame the engine is Polars after a conversion. For a million rows with text as pandas 3
keeps it, that took 136 ms of processor time through ``pl.from_pandas`` and takes 57 now: about 33
for views of nine columns of text, 7 for two of floats with gaps, 5 to 10 for one of ``True``,
``False`` and ``None``, nothing for numbers and moments without gaps. What did not help:
dictionaries of text (twice the cost of views where it repeats, fifty times where it does not);
``None`` put for NaN among objects (to test and copy them costs what it saves); objects read in
several threads (a fifth to a half more, as they wait for each other). Text as objects that are all
different stays at 20 to 45 ms a column: each is read under the interpreter's lock.

What the footers of Parquet files prove is not measured. A million rows, processor time with and
without that: simple rules on clean data 171 and 332 ms, on orders with dirt 210 and 318, on twelve
columns of numbers without dirt 89 and 174 and with it in six 149 and 176. With all rules, where
patterns and keys cost most, it saves nothing (a tenth either way, which is noise); the footer
itself is read in 0.7 ms.

On a polars frame patterns are most of the work: a million values cost 20 to 65 ms of processor time
by regular expressions, 7 to 11 as short codes (:mod:`code_shapes`). Samples of rules that are often
broken are found among the first rows: 40 ms became 8. In all it takes a quarter less. Both
processors were at work before already, where they were free. What did not help or gave too little:
Polars' engine in memory (the same time); patterns without Unicode, without groups or in other words
(the same); texts cut and read as numbers by Polars (11 to 16 ms for each cut); numpy's sort of
hashes (twice Polars' time); counting distinct hashes (no less than sorting them); text as
enumerations (three times a few comparisons). Bounds and gaps cost half a millisecond a rule, so
that to prove a column clean by its smallest and largest value first would save next to nothing.

``--shape`` takes the same table in another shape: clean, all bad, skewed keys, wide text, few
distinct values, many nulls. Where all keys repeat, whoever groups at once is quicker than by sorted
hashes (a fifth at 200,000 rows with few distinct values); the engine does not look for that first.

A promised ratio that is missed is printed as such; only ``--check`` makes it the exit code. A wrong
count of our own always is. A contender's is told: DuckDB takes the range that a Parquet file states
for all that a column holds, and NaN stands in no such range.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.contender import Contender, Target, print_targets, take_turns
from benchmarks.growth import growth_targets
from benchmarks.limit import by_hand
from benchmarks.limit_duckdb import by_sql
from benchmarks.orders import orders_contract, simple_contract
from benchmarks.peer_process import PEERS, PeerMissingError, PeerProcess
from benchmarks.rules import neutral_rules, write_odcs
from benchmarks.shapes import SHAPES
from dagster_contracts.core.contract import Contract
from dagster_contracts.engine.validation import validate

_ON = {name: f"the engine, on {name}" for name in ("a polars frame", "a pandas frame")}
_POLARS, _PANDAS = _ON.values()
_PARQUET, _SIMPLE = "the engine, on Parquet", "the engine, on Parquet, simple rules alone"
_HAND, _TIGHT = "hand-written Polars", "hand-written Polars, keys by sorted hashes (the limit)"
_DECODING, _DECODING_SIMPLE = "decoding that Parquet alone", "decoding the columns of simple rules"
_PROMISED_TO_PEERS = {
    "pandera_pandas": (_PANDAS, 8),
    "great_expectations": (_PANDAS, 35),
    "datacontract_cli": (_PARQUET, 3),
    "dataframely": (_POLARS, 1.5),
    "pandera_polars": (_POLARS, 1.5),
}


def main(arguments: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--dirt", type=float, default=0.01, help="share of broken values")
    parser.add_argument("--shape", choices=SHAPES, default="orders", help="of the data")
    parser.add_argument("--peers", default=",".join(PEERS), help="those to run, by commas")
    parser.add_argument("--no-peers", action="store_true", help="run none of them")
    parser.add_argument("--no-growth", action="store_true", help="leave growth and memory out")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    chosen = parser.parse_args(arguments)
    wanted = [] if chosen.no_peers else [name for name in chosen.peers.split(",") if name]
    unknown = set(wanted) - set(PEERS)
    if unknown:
        parser.error(f"no such peers: {', '.join(sorted(unknown))}; known: {', '.join(PEERS)}")
    contract = orders_contract()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_peers:
        table, rules = Path(folder) / "orders.parquet", Path(folder) / "rules.json"
        frame = SHAPES[chosen.shape](chosen.rows, chosen.dirt)
        frame.write_parquet(table)
        rules.write_text(json.dumps(neutral_rules(contract)), encoding="utf-8")
        write_odcs(contract, table)
        expected = _counts(validate(frame, contract))
        contenders = _contenders(frame, table, contract)
        peers = _peers(wanted, table, rules, open_peers)
        take_turns([*contenders.values(), *peers.values()], chosen.runs, expected)
    _print([*contenders.values(), *peers.values()], chosen, len(neutral_rules(contract)))
    targets = _targets(contenders, peers)
    if not chosen.no_growth:
        targets += growth_targets(chosen.rows, chosen.runs)
    print()
    met = print_targets(targets)
    wrong = any(found.wrong for found in contenders.values() if found.ours)
    return 1 if wrong or (chosen.check and not met) else 0


def _contenders(frame: pl.DataFrame, table: Path, contract: Contract) -> dict[str, Contender]:
    pandas_frame, arrow, simple = frame.to_pandas(), frame.to_arrow(), simple_contract()
    text = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    as_objects = pandas_frame.astype(dict.fromkeys(text, object))
    used = [prop.column for prop in simple.objects[0].properties if _has_rules(prop)]
    tables: dict[str, Any] = {
        _POLARS: frame,
        _PANDAS: pandas_frame,
        "the engine, on a pandas frame, text as objects": as_objects,
        "the engine, on an Arrow table": arrow,
        _PARQUET: table,
    }
    found = [
        *(
            Contender(name, lambda on=on: validate(on, contract), _counts, None, ours=True)
            for name, on in tables.items()
        ),
        Contender(_TIGHT, lambda: by_hand(frame.lazy(), hashed=True), _hand_counts, None),
        Contender(_HAND, lambda: by_hand(frame.lazy()), _hand_counts, None),
        Contender(
            "hand-written Polars, on Parquet",
            lambda: by_hand(pl.scan_parquet(table)),
            _hand_counts,
            None,
        ),
        Contender(_DECODING, lambda: pl.read_parquet(table), None, None),
        Contender(_SIMPLE, lambda: validate(table, simple), None, None, ours=True),
        Contender(_DECODING_SIMPLE, lambda: pl.read_parquet(table, columns=used), None, None),
    ]
    try:
        import duckdb
    except ImportError:
        return {contender.name: contender for contender in found}
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("arrow_orders", arrow)
    connection.execute("CREATE TABLE orders AS SELECT * FROM arrow_orders")
    found += [
        Contender(
            "the engine, on DuckDB",
            lambda: validate(connection.table("orders"), contract),
            _counts,
            None,
            ours=True,
        ),
        Contender(
            "hand-tuned DuckDB, on its table",
            lambda: by_sql(connection, "orders"),
            lambda counts: counts,
            None,
        ),
        Contender(
            "hand-tuned DuckDB, on Parquet",
            lambda: by_sql(connection, f"read_parquet('{table}')"),
            lambda counts: counts,
            None,
        ),
    ]
    return {contender.name: contender for contender in found}


def _has_rules(prop: Any) -> bool:
    return bool(prop.required or prop.options != type(prop.options)() or prop.options.enum)


def _peers(
    wanted: Sequence[str], table: Path, rules: Path, opened: ExitStack
) -> dict[str, Contender]:
    found = {}
    for name in wanted:
        try:
            process = PeerProcess(name, table, rules)
        except PeerMissingError as error:
            print(f"{PEERS[name]} is left out: {error}", file=sys.stderr)
            continue
        opened.callback(process.close)
        found[name] = process.contender()
    return found


def _counts(report: Any) -> dict[str, int]:
    return {found.rule: found.failed_rows for found in report.outcomes if found.failed_rows}


def _hand_counts(answer: Any) -> dict[str, int]:
    counts: dict[str, int] = answer[0]
    return counts


def _print(contenders: Sequence[Contender], chosen: argparse.Namespace, rules: int) -> None:
    base = contenders[0].median
    print(
        f"{chosen.rows:,} rows, 23 columns, {rules} rules about values, failing rows shown; "
        f"medians of {chosen.runs} interleaved runs"
    )
    print()
    print("| contender | ms | against the engine on polars | rules | counts |")
    print("|---|---:|---:|---:|---|")
    for found in contenders:
        expressed = "" if found.left_out is None else f"{rules - len(found.left_out)}"
        print(
            f"| {found.name} | {found.median * 1000:,.0f} | {found.median / base:.2f}x "
            f"| {expressed} | {found.verdict} |"
        )


def _targets(contenders: dict[str, Contender], peers: dict[str, Contender]) -> list[Target]:
    def ratio(one: str, other: str) -> float:
        return contenders[one].median / contenders[other].median

    found = [
        Target("hand-written Polars, keys by sorted hashes", ratio(_POLARS, _TIGHT), 1.1),
        Target("hand-written Polars", ratio(_POLARS, _HAND), 1.1),
        Target("decoding alone, simple rules", ratio(_SIMPLE, _DECODING_SIMPLE), 1.75),
        Target("decoding alone, all rules", ratio(_PARQUET, _DECODING), 4),
    ]
    for name, (ours, limit) in _PROMISED_TO_PEERS.items():
        if name in peers:
            faster = peers[name].median / contenders[ours].median
            found.append(Target(f"{PEERS[name]}: times faster", faster, limit, faster=True))
    return found


if __name__ == "__main__":
    raise SystemExit(main())
