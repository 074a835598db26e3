"""The judge of the pipeline can fail: the product is broken on purpose, and it must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_contracts.core.circuit import CircuitState
from dagster_contracts.core.condition import Decision, Truth
from dagster_contracts.orchestration import reads
from dagster_contracts.resilience import breaker, healing
from dagster_contracts.resilience.ledger import DegradedReads
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
    patch.setattr(breaker, "_audit", lambda *args: fine)
    patch.setattr(breaker, "why_not_passed", lambda *args, **more: None)


def the_primary_serves_while_open(patch: pytest.MonkeyPatch) -> None:
    choose = reads.choose_route

    def open_door(levels: Any, circuit: Any, **more: Any) -> Any:
        return choose(levels, replace(circuit, state=CircuitState.CLOSED), **more)

    patch.setattr(reads, "choose_route", open_door)


def a_later_level_serves(patch: pytest.MonkeyPatch) -> None:
    choose = reads.choose_route
    patch.setattr(
        reads, "choose_route", lambda levels, *args, **more: choose(levels[::-1], *args, **more)
    )


def nothing_is_marked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DegradedReads, "record", lambda self, read: read)


def nothing_is_inherited(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DegradedReads, "inherit", lambda self, **of: ())


def a_mark_is_never_closed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DegradedReads, "settle", lambda self, **of: 0)


def nothing_is_healed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(healing, "plan_healing", lambda *args, **more: ())


MUTATIONS = [
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
def judge(tmp_path: Path) -> Iterator[Judge]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path / "dagster")) as instance:
        instance.add_dynamic_partitions("tenants", TENANTS)
        yield Judge(tmp_path, instance, f"sqlite:///{tmp_path}/state.db")


def story(judge: Judge) -> None:
    """The newest day of ``orders`` is bad: what is built of it, and of what is built of that."""
    judge.produce("orders", DAYS[5:])
    judge.produce("order_archive", DAYS[5:])
    judge.produce("bulk", DAYS[6:])
    judge.produce("orders", DAYS[6:], good=False)
    judge.consume("revenue", DAYS[6])
    judge.consume("told", DAYS[6])
    assert judge.marks() == judge.truth.degraded == {(n, DAYS[6]) for n in ("revenue", "told")}
    judge.healed_exactly()


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
