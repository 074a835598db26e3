"""The judge of the pipeline can fail: the product is broken on purpose, and it must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_contracts.core.circuit import CircuitState, machine
from dagster_contracts.core.condition import Decision, Truth
from dagster_contracts.orchestration import circuit_sensor, router
from dagster_contracts.resilience import audit, breaker, healing
from dagster_contracts.resilience.ledger import DegradedReads
from dagster_contracts.resilience.publication import Publication
from dagster_contracts.resilience.quarantine import Quarantine
from dagster_contracts.resilience.snapshots import SnapshotArchive
from tests.orchestration.pipeline.judge import Judge
from tests.orchestration.pipeline.truth import DAYS, TENANTS

pytestmark = pytest.mark.soak


def another_partition_serves(patch: pytest.MonkeyPatch) -> None:
    newest = SnapshotArchive.newest

    def of_any(self: Any, contract: str, asset: str, partition: Any, **more: Any) -> Any:
        others = newest(self, contract, asset, None, **{**more, "any_partition": True})
        return tuple(kept for kept in others if kept.partition != partition)

    patch.setattr(SnapshotArchive, "newest", of_any)


def the_refused_batch_serves(patch: pytest.MonkeyPatch) -> None:
    fine = Decision(Truth.FALSE, "nothing speaks for opening")
    patch.setattr(breaker, "audit", lambda *args: fine)
    patch.setattr(audit, "why_not_passed", lambda *args, **more: None)


def the_primary_serves_while_open(patch: pytest.MonkeyPatch) -> None:
    choose = router.choose_route

    def open_door(levels: Any, circuit: Any, **more: Any) -> Any:
        return choose(levels, replace(circuit, state=CircuitState.CLOSED), **more)

    patch.setattr(router, "choose_route", open_door)


def a_later_level_serves(patch: pytest.MonkeyPatch) -> None:
    choose = router.choose_route
    patch.setattr(
        router, "choose_route", lambda levels, *args, **more: choose(levels[::-1], *args, **more)
    )


def nothing_is_marked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DegradedReads, "record", lambda self, read: read)


def nothing_is_inherited(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DegradedReads, "inherit", lambda self, **of: ())


def a_mark_is_never_closed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DegradedReads, "settle", lambda self, **of: 0)


def nothing_is_healed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(healing, "plan_healing", lambda *args, **more: ())


def only_the_first_bad_partition_counts(patch: pytest.MonkeyPatch) -> None:
    blame = machine._Turn._blame

    def short_sighted(turn: Any, *judged: Any) -> None:
        known = turn.circuit.bad_partitions
        blame(turn, *judged)
        turn.circuit = replace(turn.circuit, bad_partitions=known or turn.circuit.bad_partitions)

    patch.setattr(machine._Turn, "_blame", short_sighted)


def the_last_bad_partition_is_probed(patch: pytest.MonkeyPatch) -> None:
    first = circuit_sensor.first_known
    patch.setattr(
        circuit_sensor, "first_known", lambda *of: first(*of[:-1], list(reversed(of[-1])))
    )


def a_released_batch_closes_the_circuit(patch: pytest.MonkeyPatch) -> None:
    publish = Quarantine.publish
    patch.setattr(Quarantine, "publish", lambda *of, **how: publish(*of, **{**how, "reset": True}))


def a_reset_with_a_released_batch_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    publish = Quarantine.publish
    patch.setattr(Quarantine, "publish", lambda *of, **how: publish(*of, **{**how, "reset": False}))


def a_released_batch_is_asked_for_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Publication, "ask", lambda self, wanted: next(b for b in self.waiting() if b.id == wanted)
    )


def a_released_batch_never_arrives(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Publication, "ask", lambda self, wanted: None)


MUTATIONS = [
    only_the_first_bad_partition_counts,
    the_last_bad_partition_is_probed,
    a_released_batch_closes_the_circuit,
    a_reset_with_a_released_batch_is_forgotten,
    a_released_batch_is_asked_for_again,
    a_released_batch_never_arrives,
    another_partition_serves,
    the_refused_batch_serves,
    the_primary_serves_while_open,
    a_later_level_serves,
    nothing_is_marked,
    nothing_is_inherited,
    a_mark_is_never_closed,
    nothing_is_healed,
]


@pytest.fixture
def judge(tmp_path: Path, instance: dg.DagsterInstance) -> Judge:
    instance.add_dynamic_partitions("tenants", TENANTS)
    return Judge(tmp_path, instance, f"sqlite:///{tmp_path}/state.db")


def story(judge: Judge) -> None:
    """The newest day of ``orders`` is bad: what is built of it, and of what is built of that."""
    judge.produce("orders", DAYS[5:])
    judge.produce("order_archive", DAYS[5:])
    judge.produce("bulk", DAYS[6:])
    judge.produce("orders", DAYS[6:], good=False)
    judge.consume("revenue", DAYS[6])
    judge.consume("told", DAYS[6])
    assert judge.marks() == judge.truth.degraded == {(n, DAYS[6]) for n in ("revenue", "told")}
    released(judge)
    waited_for(judge)
    judge.healed_exactly()


def released(judge: Judge) -> None:
    """A refused batch is declared right; with a reset its consumers read it, without they wait."""
    judge.publish("orders", DAYS[6])
    judge.consume("revenue", DAYS[6])
    judge.produce("orders", DAYS[6:], good=False)
    judge.publish("orders", DAYS[6], reset=True)
    judge.consume("silent", DAYS[6])


def waited_for(judge: Judge) -> None:
    """Three days of ``events`` are bad, one of them late: each must be good before it closes."""
    judge.produce("events", DAYS[3:6])
    judge.produce("events", DAYS[5:6], good=False)
    judge.produce("events", DAYS[6:])
    judge.produce("events", DAYS[6:], good=False)
    judge.produce("events", DAYS[3:4], good=False)
    for day in (DAYS[3], DAYS[5], DAYS[6]):
        judge.consume("event_copy", day)
    for day in (DAYS[5], DAYS[6]):
        judge.probe("events", day)
        judge.consume("event_copy", DAYS[3])
        judge.consume("event_copy", DAYS[6])
    judge.probe("events", DAYS[3])
    judge.consume("event_copy", DAYS[6])


def test_the_story_holds(judge: Judge) -> None:
    story(judge)


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_product_is_found_out(
    mutation: Callable[[pytest.MonkeyPatch], None],
    judge: Judge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        story(judge)
