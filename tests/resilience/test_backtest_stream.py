"""A backtest that reads a stream finds what one finds that holds the whole history in memory."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.core.contract import CircuitScope
from dagster_contracts.resilience.backtest import Curve, backtest
from dagster_contracts.resilience.backtest.arrivals import Arrivals
from dagster_contracts.resilience.backtest.circuit_replay import CircuitReplay
from dagster_contracts.resilience.backtest.opening import openings_of
from dagster_contracts.resilience.backtest.recorded import Recorded
from dagster_contracts.store.tables import observations

COLUMNS = 20
BEGIN = datetime(2026, 3, 2, 6, tzinfo=UTC)


def random_history(dice, length):
    """Rows of three assets and their partitions, in no order; several at one moment."""
    rows, at = [], BEGIN
    for _ in range(length):
        at += timedelta(minutes=dice.choice([0, 1, 30, 90]))
        failed = dice.random() < 0.15
        good = {"schema_validation_errors": dice.choice(["0", "3/100", "1/5", None]), "rows": "9"}
        rows.append(
            {
                "evaluation_id": f"{dice.random()}",
                "contract": "orders",
                "contract_version": "1.0.0",
                "asset": dice.choice(["orders", "Orders", "zebra"]),
                "partition": dice.choice(["", "a", "B", "c"]),
                "observed_at": at,
                "evaluated_at": at - dice.choice([0, 0, 2]) * timedelta(hours=1),
                "event_time": dice.choice([None, at, at - timedelta(days=1)]),
                "status": "not_evaluated" if failed else "passed",
                "rows": None if failed else 9,
                "backfill": dice.random() < 0.1,
                "metrics": {"failed_materializations": "2"} if failed else good,
                "unknown_because": {"": "no space left"} if failed else {},
            }
        )
    return dice.sample(rows, k=len(rows))


def plain(store, contract, since, until):
    """The same from all rows at once: openings and stretches of each circuit, by its key."""
    scoped = contract.resilience.circuit.scope is CircuitScope.PARTITION
    with store.read() as conn:
        rows = conn.execute(sa.select(observations)).all()
        arrivals = Arrivals(conn, contract)
    groups = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.observed_at, row.evaluation_id)):
        key = CircuitKey("orders", row.asset, (row.partition or None) if scoped else None)
        groups[key].append(recorded(row))
    begin = since or min(group[0].at for group in groups.values())
    begins = {}
    for key, group in groups.items():
        times = [one.event_time for one in group if one.event_time is not None]
        if scoped and contract.event_time is None and key.partition and times:
            begins[key] = times[-1]
    found = {}
    for key, group in groups.items():
        newer = [
            groups[other][0].at
            for other in begins
            if key in begins and other.asset == key.asset and begins[other] > begins[key]
        ]
        superseded = (begins[key], min(newer)) if newer else None
        start = group[0].at
        shown = max(begin, start)
        replay = CircuitReplay(
            contract, key, arrivals, start, shown_from=shown, superseded=superseded
        )
        for one in group:
            replay.take(one)
        replay.end(until)
        count = sum(one.at >= shown for one in group)
        openings = (o for o in openings_of(replay.transitions) if not o.until or o.until > shown)
        found[key] = (count, tuple(openings), tuple(replay.stretches))
    return found


def recorded(row):
    return Recorded(
        evaluation_id=row.evaluation_id,
        partition=row.partition or None,
        at=row.observed_at,
        evaluated_at=row.evaluated_at,
        event_time=row.event_time,
        backfill=row.backfill,
        rows=row.rows,
        is_failure=row.rows is None,
        metrics={n: None if v is None else Fraction(v) for n, v in row.metrics.items()},
        explanation=row.unknown_because.get("", ""),
    )


@pytest.mark.parametrize("scope", CircuitScope)
def test_a_stream_and_the_whole_history_tell_the_same(
    store, clock, contract_of, scope, monkeypatch
):
    monkeypatch.setattr("dagster_contracts.resilience.backtest.recorded._FETCHED", 3)
    opened = 0
    for seed in range(4):
        dice = random.Random(seed)
        with store.begin() as conn:
            conn.execute(sa.delete(observations))
            conn.execute(sa.insert(observations), random_history(dice, 60))
        contract = contract_of(
            "schema_validation_errors > 5%",
            dice.choice(["failed_materializations >= 2", "data_freshness > 1h"]),
            scope=scope,
            event_time=dice.choice(["at", None]),
        )
        clock.advance(days=3)
        since = dice.choice([None, BEGIN + timedelta(hours=9)])
        result = backtest(store, contract, since=since)
        assert [one.key for one in result.circuits] == sorted(one.key for one in result.circuits)
        told = {c.key: (c.evaluations, c.openings, c.stretches) for c in result.circuits}
        assert told == plain(store, contract, since, result.until)
        opened += sum(len(one.openings) for one in result.circuits)
    assert opened > 10


def test_a_writer_does_not_wait_for_a_backtest(store, breaker, contract, key, report, clock):
    for _ in range(5):
        breaker.record(contract, report(), key=key)
        clock.advance(minutes=5)
    seen = []

    def meanwhile(told):
        seen.append(told)
        breaker.record(contract, report(7), key=key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dagster_contracts.resilience.backtest.replay._TOLD_EVERY", 4)
        patch.setattr("dagster_contracts.resilience.backtest.recorded._FETCHED", 1)
        (circuit,) = backtest(store, contract, progress=meanwhile).circuits
    assert seen == ["4 of 5 evaluations"]
    assert (circuit.evaluations, circuit.openings) == (5, ())
    assert len(backtest(store, contract).circuits[0].openings) == 1


def thinned(points, span):
    """The first, last, lowest and highest of each column, of all points at once."""
    columns = defaultdict(list)
    for position, (at, value) in enumerate(points):
        columns[int((at - BEGIN) / span * COLUMNS)].append((position, value))
    kept = set()
    for column in columns.values():
        kept |= {column[0][0], column[-1][0]}
        kept.add(min(column, key=lambda one: (one[1], one[0]))[0])
        kept.add(min(column, key=lambda one: (-one[1], one[0]))[0])
    return [points[position] for position in sorted(kept)]


@given(
    seed=st.integers(0, 2**32),
    length=st.sampled_from([1, COLUMNS, COLUMNS + 1, 8 * COLUMNS, 501]),
    values=st.integers(1, 9),
)
def test_a_curve_that_was_thinned_out_on_the_way_is_the_one_thinned_out_at_the_end(
    seed, length, values
):
    dice = random.Random(seed)
    moments = sorted(dice.randrange(86_400) for _ in range(length))
    points = [(BEGIN + timedelta(seconds=s), Fraction(dice.randrange(values))) for s in moments]
    curve = Curve(BEGIN, BEGIN + timedelta(days=1), COLUMNS)
    for at, value in points:
        curve.add(at, value)
    whole = points if length <= COLUMNS else thinned(points, timedelta(days=1))
    assert list(curve.points) == whole
