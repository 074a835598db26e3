"""Who watches again and again reads what is new, and misses nothing that a full look finds."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey, Override
from dagster_contracts.core.contract import Contract
from dagster_contracts.monitoring.actions import due_actions, judge_actions
from dagster_contracts.monitoring.agenda import Agenda
from dagster_contracts.monitoring.alerts import AlertBook, AlertState
from dagster_contracts.monitoring.dispatch import AlertDispatcher
from dagster_contracts.monitoring.feedback import FeedbackBook
from dagster_contracts.monitoring.watch import Watch, watch
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.store.database import Store, open_store
from tests.monitoring.conftest import Pipeline
from tests.monitoring.test_service_levels import with_levels

if TYPE_CHECKING:
    from tests.conftest import FakeClock

SEEDS = range(int(os.environ.get("WATCH_SEEDS", "1")))
Make = Callable[..., Contract]
MORE = """\
  monitoring:
    anomaly_metrics: [row_count]
    min_history: 8
    actions:
      - {when: "data_freshness > 1h for 20min", do: rematerialize, cooldown: 30min}
      - {when: "row_count < 500 for 2 checks", do: heal, cooldown: 2h}
      - {when: "consumer_reports >= 1", do: force_open}
"""


def fires(store: Store) -> set[str]:
    return {str(alert.labels) for alert in AlertBook(store).alerts(state=AlertState.FIRING)}


@contextmanager
def rows_read(store: Store) -> Iterator[list[str]]:
    """The statements that reach the database."""
    sent: list[str] = []

    def seen(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    sa.event.listen(store._engine, "before_cursor_execute", seen)
    yield sent
    sa.event.remove(store._engine, "before_cursor_execute", seen)


def test_a_look_without_news_reads_of_no_contract(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    known = [make_contract(name, more=MORE) for name in ("a", "b", "c", "d", "e")]
    take = AlertDispatcher(store, {}).take
    for contract in known:
        pipeline.evaluate(contract)
    again = Watch(store, known)
    again.look(take)
    clock.advance(seconds=1)
    again.look(take)  # What happened in the moment of a look is looked at once more.
    clock.advance(seconds=30)

    with rows_read(store) as quiet:
        again.look(take)
    pipeline.evaluate(known[0])
    with rows_read(store) as one_is_new:
        again.look(take)

    assert not [s for s in quiet if "observations" in s or "circuits" in s]
    assert len([s for s in one_is_new if "observations" in s]) < 8
    clock.advance(hours=3)
    assert len({f.labels.contract for f in again.look(take) if not f.over}) == len(known)


def test_what_could_not_be_told_is_looked_at_again(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract()
    pipeline.evaluate(orders)
    again, take = Watch(store, [orders]), AlertDispatcher(store, {}).take
    again.look(take)
    clock.advance(hours=3)

    def broken(*_: Any) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk"):
        again.look(broken)

    assert [found.over for found in again.look(take)] == [False]


def test_a_clock_that_went_back_hides_nothing(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract(more=MORE)
    again, take = Watch(store, [orders]), AlertDispatcher(store, {}).take
    for index in range(10):
        pipeline.evaluate(orders, rows=1000 + index % 3)
        clock.advance(hours=1)
    again.look(take)
    clock.advance(days=-2)
    again.look(take)
    clock.advance(days=3)
    pipeline.evaluate(orders, rows=3)

    assert {f.labels.subject for f in again.look(take) if not f.over} == {"row_count"}


@pytest.mark.parametrize("seed", SEEDS)
def test_looking_at_what_is_new_finds_what_a_full_look_finds(
    seed: int, clock: FakeClock, make_contract: Make, tmp_path: Path, sqlite_template: Path
) -> None:
    chance = random.Random(seed)
    known = [
        make_contract("sales", more=MORE),
        make_contract("stock", more=MORE.replace("data_freshness", "materialization_age")),
        with_levels(more=MORE),
        replace(make_contract("lists"), event_time="sold_at"),
    ]
    stores: list[Store] = []
    for name in ("full", "new"):
        path = tmp_path / f"{name}.db"
        shutil.copyfile(sqlite_template, path)
        stores.append(open_store(f"sqlite:///{path}", clock=clock))
    full, new = stores
    pipelines = [Pipeline(store, clock) for store in stores]
    takes = [AlertDispatcher(store, {}).take for store in stores]
    again, agenda = Watch(new, known), Agenda(new, reports=True)
    ever: set[str] = set()

    def happen(contract: Contract) -> None:
        kind = chance.choice(["batch"] * 9 + ["force", "reset", "report"])
        rows, errors = chance.choice([1000, 1001, 1002, 3]), chance.choice([0, 0, 0, 9])
        late = clock() - timedelta(minutes=chance.choice([0, 0, 50]))
        for store, pipeline in zip(stores, pipelines, strict=True):
            breaker, key = CircuitBreaker(store), CircuitKey(contract.name, contract.name)
            if kind == "batch":
                bad = Fraction(errors, 100)
                pipeline.evaluate(contract, rows=rows, errors=bad, event_time=late)
            elif kind == "force" and breaker.circuits([key]):
                breaker.force(key, Override.FORCED_OPEN, actor="ada", reason="x", contract=contract)
            elif kind == "reset" and breaker.circuits([key]):
                breaker.reset(key, actor="ada", reason="mended")
            elif kind == "report":
                FeedbackBook(store).report("finance", contract.name, "totals are off")

    for _ in range(30):
        clock.advance(minutes=chance.choice([1, 1, 7, 20, 45, 90]), seconds=chance.random())
        for contract in known:
            if chance.random() < 0.35:
                happen(contract)
        watch(full, known, takes[0])
        again.look(takes[1])
        with agenda.turn(clock()) as turn:
            due = set()
            for contract in known:
                place = (contract.name, contract.name)
                if turn.concerns(place):
                    found, moment = judge_actions(new, contract, contract.name)
                    turn.again(place, moment)
                    due |= {(contract.name, each.key) for each in found}
        assert fires(new) == fires(full)
        assert due == {(c.name, each.key) for c in known for each in due_actions(full, c, c.name)}
        ever |= fires(new)
    for store in stores:
        store.close()
    assert ever
