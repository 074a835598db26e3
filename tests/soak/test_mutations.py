"""The soak can fail: the product is broken on purpose, and each time it must be found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dagster_contracts.core.circuit import (
    AlertTopic,
    Circuit,
    CircuitState,
    Failed,
    ProbeAsked,
    machine,
    probing,
    turn,
)
from dagster_contracts.core.circuit.events import TransitionCause
from dagster_contracts.core.circuit.judgement import why_late
from dagster_contracts.core.contract import HealMode, OnUnknown
from dagster_contracts.resilience import breaker, event_rows, ledger
from dagster_contracts.resilience.ledger import DegradedReads
from dagster_contracts.resilience.snapshots import SnapshotArchive
from dagster_contracts.resilience.wake import wake_at
from dagster_contracts.store.outbox import Outbox
from tests.soak import deployment, durable, plan, services
from tests.soak.deployment import Deployment
from tests.soak.lockstep import LockstepServices
from tests.soak.services import Outcome, PureServices
from tests.soak.truth import BrokenInvariantError

Break = Callable[[pytest.MonkeyPatch], None]
QUICK: dict[str, Break] = {}
CORE: dict[str, Break] = {}
PILING: dict[str, Break] = {}
"""Those under which degraded reads pile up, so that a large world grows slower and slower."""
STORE: dict[str, Break] = {}
SMALL = {"seeds": 5, "within": 4_000, "contracts": 12, "plain": 12}
LARGE = {"seeds": 6, "within": 12_000, "contracts": 30, "plain": 60}
"""Most are found out within some hundreds of events."""

_Turn = machine._Turn


def _of(where: dict[str, Break]) -> Callable[[Break], Break]:
    def register(mutation: Break) -> Break:
        where[mutation.__name__] = mutation
        return mutation

    return register


def _around(patch: pytest.MonkeyPatch, owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace a function by one that is given the original first."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **more: wrapper(original, *args, **more))


def _everywhere(patch: pytest.MonkeyPatch, name: str, function: Callable[..., Any]) -> None:
    """Replace a function in each part of the state machine that calls it."""
    users = [part for part in (machine, probing, turn) if hasattr(part, name)]
    assert users
    for user in users:
        patch.setattr(user, name, function)


# -- the machine -----------------------------------------------------------------------------------


@_of(QUICK)
def anybody_is_the_probe(patch: pytest.MonkeyPatch) -> None:
    _everywhere(patch, "is_probe", lambda circuit, holder: True)


@_of(CORE)
def the_lease_is_given_to_whoever_asks(patch: pytest.MonkeyPatch) -> None:
    def forgetful(advance: Any, circuit: Any, event: Any, **more: Any) -> Any:
        asked = isinstance(event, ProbeAsked)
        return advance(replace(circuit, lease=None) if asked else circuit, event, **more)

    _around(patch, services, "advance", forgetful)


@_of(QUICK)
def a_lease_never_ends(patch: pytest.MonkeyPatch) -> None:
    def endless(asked: Any, turn: Any, event: Any) -> None:
        asked(turn, event)
        lease = turn.circuit.lease
        if lease is not None:
            later = replace(lease, expires_at=lease.expires_at + timedelta(days=9))
            turn.circuit = replace(turn.circuit, lease=later)

    _around(patch, _Turn, "probe_asked", endless)


@_of(CORE)
def attempts_count_twice(patch: pytest.MonkeyPatch) -> None:
    def twice(bad: Any, turn: Any, *args: Any, **more: Any) -> None:
        bad(turn, *args, **more)
        most = turn._policy.recovery.max_retries
        turn.circuit = replace(turn.circuit, attempts=min(turn.circuit.attempts + 1, most))

    _around(patch, _Turn, "_bad_probe", twice)


@_of(CORE)
def an_open_upstream_is_no_excuse(patch: pytest.MonkeyPatch) -> None:
    def strict(bad: Any, turn: Any, *args: Any, **more: Any) -> None:
        upstream = turn.circuit.upstream
        turn.circuit = replace(turn.circuit, upstream=())
        bad(turn, *args, **more)
        turn.circuit = replace(turn.circuit, upstream=upstream)

    _around(patch, _Turn, "_bad_probe", strict)


@_of(CORE)
def one_good_probe_is_enough(patch: pytest.MonkeyPatch) -> None:
    def hasty(good: Any, turn: Any, *args: Any) -> None:
        turn.circuit = replace(turn.circuit, good_probes=9)
        good(turn, *args)

    _around(patch, _Turn, "_good_probe", hasty)


@_of(QUICK)
def a_probe_does_not_wait(patch: pytest.MonkeyPatch) -> None:
    _everywhere(patch, "probe_wait", lambda policy, **more: timedelta(0))


@_of(CORE)
def a_blocked_probe_costs_a_retry(patch: pytest.MonkeyPatch) -> None:
    def costly(blocked: Any, turn: Any, event: Any) -> None:
        if turn.circuit.state is CircuitState.HALF_OPEN:
            turn._bad_probe(TransitionCause.PROBE_BAD, event.reason)
        else:
            blocked(turn, event)

    _around(patch, _Turn, "probe_blocked", costly)


@_of(QUICK)
def an_override_never_ends(patch: pytest.MonkeyPatch) -> None:
    def endless(forced: Any, turn: Any, event: Any) -> None:
        forced(turn, replace(event, until=None))

    _around(patch, _Turn, "forced", endless)


@_of(CORE)
def a_reset_leaves_the_override(patch: pytest.MonkeyPatch) -> None:
    def half(reset: Any, turn: Any, event: Any) -> None:
        before = turn.circuit
        reset(turn, event)
        turn.circuit = replace(
            turn.circuit, override=before.override, override_until=before.override_until
        )

    _around(patch, _Turn, "reset", half)


@_of(QUICK)
def late_is_taken_for_news(patch: pytest.MonkeyPatch) -> None:
    _everywhere(patch, "why_late", lambda circuit, event: None)


@_of(CORE)
def another_partition_answers(patch: pytest.MonkeyPatch) -> None:
    _everywhere(patch, "of_another_partition", lambda *args, **more: None)


@_of(CORE)
def any_partition_may_be_probed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Turn, "_is_not_next", lambda *args: False)


@_of(CORE)
def what_is_gone_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Turn, "partitions_gone", lambda *args: None)


@_of(CORE)
def a_failure_of_another_partition_answers(patch: pytest.MonkeyPatch) -> None:
    def eager(is_the_probe: Any, turn: Any, event: Any) -> bool:
        answers = is_the_probe(turn, event)
        failed = isinstance(event, Failed) and turn.circuit.lease is None
        return answers or (failed and turn.circuit.state is CircuitState.HALF_OPEN)

    _around(patch, _Turn, "_is_the_probe", eager)
    # Few runs fail while nobody has the lease, and of another partition: let many more fail.
    patch.setattr(Deployment, "_breaks_down", lambda world, asset: world.random.random() < 0.25)


@_of(CORE)
def a_lost_probe_and_the_next_have_one_name(patch: pytest.MonkeyPatch) -> None:
    first = property(lambda circuit: circuit_probe_names(circuit)[:1])
    circuit_probe_names = Circuit.probe_names.fget
    patch.setattr(Circuit, "probe_names", first)


@_of(CORE)
def only_the_first_bad_partition_counts(patch: pytest.MonkeyPatch) -> None:
    def short_sighted(blame: Any, turn: Any, *args: Any, **more: Any) -> None:
        known = turn.circuit.bad_partitions
        blame(turn, *args, **more)
        turn.circuit = replace(turn.circuit, bad_partitions=known or turn.circuit.bad_partitions)

    _around(patch, _Turn, "_blame", short_sighted)


@_of(CORE)
def a_late_batch_is_never_blamed(patch: pytest.MonkeyPatch) -> None:
    def lenient(blame: Any, turn: Any, event: Any, verdict: Any) -> None:
        if why_late(turn.circuit, event) is None:
            blame(turn, event, verdict)

    _around(patch, _Turn, "_blame", lenient)


@_of(CORE)
def a_probe_need_not_measure_what_broke(patch: pytest.MonkeyPatch) -> None:
    def trusting(judge: Any, policy: Any, circuit: Any, *args: Any, **more: Any) -> Any:
        return judge(policy, replace(circuit, opened_by=()), *args, **more)

    _around(patch, machine, "judge_probe", trusting)


@_of(CORE)
def a_backfill_that_fails_is_news(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(services, "failed_late", lambda *args: False)


@_of(CORE)
def a_read_that_succeeds_ends_no_row(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Turn, "recovered", lambda *args: None)


@_of(CORE)
def the_failed_partition_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    def forgetful(failed: Any, turn: Any, event: Any) -> None:
        failed(turn, replace(event, partition=None))

    _around(patch, _Turn, "failed", forgetful)


@_of(QUICK)
def failures_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    def deaf(failed: Any, turn: Any, event: Any) -> None:
        failed(turn, replace(event, metrics={}))

    _around(patch, _Turn, "failed", deaf)


@_of(CORE)
def what_is_not_known_is_good(patch: pytest.MonkeyPatch) -> None:
    def trusting(judge: Any, policy: Any, *args: Any, **more: Any) -> Any:
        return judge(replace(policy, on_unknown=OnUnknown.KEEP), *args, **more)

    _around(patch, machine, "judge_opening", trusting)


@_of(QUICK)
def time_is_slept_through(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(services, "wake_after", lambda *args: None)


@_of(QUICK)
def an_alert_is_lost(patch: pytest.MonkeyPatch) -> None:
    def lossy(alert: Any, turn: Any, topic: Any, *args: Any) -> None:
        if topic is not AlertTopic.EXHAUSTED:
            alert(turn, topic, *args)

    _around(patch, _Turn, "_alert", lossy)


@_of(CORE)
def a_late_batch_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    def only_the_clock(_after: Any, _event: Any, step: Any, contract: Any, now: Any) -> Any:
        return wake_at(step.circuit, contract, now)

    _around(patch, services, "wake_after", only_the_clock)


@_of(PILING)
def a_slower_run_leaves_no_mark(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PureServices, "renew", lambda *args, **more: Outcome())


@_of(CORE)
def what_was_never_stored_is_not_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PureServices, "drop", lambda self, read: Outcome())


@_of(CORE)
def a_dropped_read_takes_the_mark_before_it_along(patch: pytest.MonkeyPatch) -> None:
    def greedy(drop: Any, of: Any, read: Any) -> Outcome:
        edge = (read.circuit, read.upstream, read.upstream_partition, read.via)
        of._ledger[read.target].pop((edge, None), None)
        return drop(of, read)

    _around(patch, PureServices, "drop", greedy)


@_of(CORE)
def what_is_being_built_is_healed(patch: pytest.MonkeyPatch) -> None:
    def eager(plan: Any, reads: Any, **more: Any) -> Any:
        return plan(reads, **{**more, "held": ()})

    _around(patch, services, "plan_healing", eager)


@_of(CORE)
def an_alert_forgets_its_upstream(patch: pytest.MonkeyPatch) -> None:
    def loud(alert: Any, turn: Any, *args: Any) -> None:
        upstream = turn.circuit.upstream
        turn.circuit = replace(turn.circuit, upstream=())
        alert(turn, *args)
        turn.circuit = replace(turn.circuit, upstream=upstream)

    _around(patch, _Turn, "_alert", loud)


@_of(CORE)
def healing_is_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    def healthy_before(heal: Any, turn: Any, before: Any) -> None:
        if turn.circuit.override_until is None and turn.circuit.generation % 7:
            heal(turn, before)

    _around(patch, _Turn, "heal_if_restored", healthy_before)


# -- what is built on it ---------------------------------------------------------------------------


@_of(QUICK)
def the_primary_serves_while_open(patch: pytest.MonkeyPatch) -> None:
    def open_door(choose: Any, levels: Any, circuit: Any, **more: Any) -> Any:
        return choose(levels, replace(circuit, state=CircuitState.CLOSED), **more)

    _around(patch, deployment, "choose_route", open_door)


@_of(QUICK)
def a_level_whose_circuit_is_open_serves(patch: pytest.MonkeyPatch) -> None:
    def blind(choose: Any, levels: Any, *args: Any, **more: Any) -> Any:
        return choose([replace(level, circuit_open=False) for level in levels], *args, **more)

    _around(patch, deployment, "choose_route", blind)


@_of(QUICK)
def a_refused_batch_is_kept_as_valid(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(services, "why_not_passed", lambda *args, **more: None)


@_of(QUICK)
def it_heals_while_open(patch: pytest.MonkeyPatch) -> None:
    def eager(plan: Any, reads: Any, **more: Any) -> Any:
        return plan(reads, **{**more, "closed": lambda key: True})

    _around(patch, services, "plan_healing", eager)


# -- the store -------------------------------------------------------------------------------------


@_of(STORE)
def what_was_seen_counts_again(patch: pytest.MonkeyPatch) -> None:
    def forgetful(record: Any, *args: Any, **more: Any) -> bool:
        record(*args, **more)
        return True

    _around(patch, breaker, "record_report", forgetful)


@_of(STORE)
def a_backfill_that_fails_counts_in_the_store(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(breaker, "why_failure_is_late", lambda *args, **more: None)
    # Many runs of whole assets fail, so that few events suffice.
    patch.setattr(Deployment, "_breaks_down", lambda of, asset: of.random.random() < 0.3)
    whole = {"by_partition": False, "failures": 1}
    _around(patch, plan, "_terms", lambda of, *args: replace(of(*args), **whole))


@_of(STORE)
def an_evaluation_is_of_the_time_on_its_machine(patch: pytest.MonkeyPatch) -> None:
    def by_the_wall(observed: Any, contract: Any, report: Any, *args: Any) -> Any:
        event = observed(contract, report, *args)
        return replace(event, evaluated_at=report.evaluated_at)

    _around(patch, breaker, "observed", by_the_wall)


@_of(STORE)
def every_fifth_message_is_lost(patch: pytest.MonkeyPatch) -> None:
    sent = iter(range(10**9))

    def lossy(append: Any, *args: Any, **more: Any) -> Any:
        return append(*args, **more) if next(sent) % 5 else None

    _around(patch, Outbox, "append", lossy)


@_of(STORE)
def the_ledger_misses_a_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DegradedReads, "record", lambda self, read: read)


@_of(STORE)
def nothing_is_inherited(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DegradedReads, "inherit", lambda self, **of: ())


@_of(STORE)
def what_a_slower_run_read_is_not_renewed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DegradedReads, "renew", lambda self, **of: 0)


@_of(STORE)
def pending_reads_are_never_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DegradedReads, "drop", lambda self, read, reason: False)


@_of(STORE)
def a_read_counts_as_stored_at_once(patch: pytest.MonkeyPatch) -> None:
    def hasty(record: Any, self: Any, read: Any) -> Any:
        return record(self, replace(read, pending=False))

    _around(patch, DegradedReads, "record", hasty)


@_of(STORE)
def any_run_ends_what_another_has_yet_to_store(patch: pytest.MonkeyPatch) -> None:
    def careless(record: Any, self: Any, conn: Any, read: Any, **more: Any) -> Any:
        rows = ledger.degraded_reads
        conn.execute(
            ledger.sa.update(rows)
            .where(rows.c.pending, rows.c.settled_at.is_(None), rows.c.consumer == read.consumer)
            .values(settled_at=self._store.now(conn), settled_by=read.run_id)
        )
        return record(self, conn, read, **more)

    _around(patch, DegradedReads, "_record", careless)


@_of(STORE)
def a_mark_closes_whoever_wrote_it(patch: pytest.MonkeyPatch) -> None:
    def careless(settle: Any, self: Any, **of: Any) -> int:
        return settle(self, **{**of, "up_to": None, "upstream_partitions": None})

    _around(patch, DegradedReads, "settle", careless)


@_of(STORE)
def the_last_valid_batch_is_any(patch: pytest.MonkeyPatch) -> None:
    def oldest(latest: Any, self: Any, *of: Any) -> Any:
        found = self.newest(*of, limit=1000)
        return found[-1] if found else None

    _around(patch, SnapshotArchive, "latest", oldest)


@_of(STORE)
def open_reads_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    def greedy(self: Any, older_than: timedelta) -> int:
        with self._store.begin() as conn:
            return conn.execute(ledger.sa.delete(ledger.degraded_reads)).rowcount

    patch.setattr(DegradedReads, "prune", greedy)


@_of(STORE)
def nobody_is_told_to_heal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("dagster_contracts.resilience.notices._waiting", lambda *args: ())
    # Every contract asks for it, so that few events suffice.
    _around(patch, plan, "_terms", lambda of, *args: replace(of(*args), heal=HealMode.NOTIFY))


@_of(STORE)
def an_explained_alert_is_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(durable, "inhibited", lambda firing, conn: {})


@_of(STORE)
def an_event_is_not_part_of_the_story(patch: pytest.MonkeyPatch) -> None:
    def forgetful(forget: Any, conn: Any, older_than: Any) -> int:
        events = event_rows.circuit_events
        return conn.execute(event_rows.sa.delete(events).where(events.c.at < older_than)).rowcount

    _around(patch, breaker, "forget_events", forgetful)


def _found_out(open_services: Any, *, seeds: int, within: int, **sizes: int) -> int:
    """After how many events, over some seeds, an invariant broke; 0 where none did."""
    done = 0
    for seed in range(seeds):
        world = Deployment(seed, open_services, **sizes)
        try:
            world.run(within)
        except BrokenInvariantError:
            return done + world.events
        done += world.events
    return 0


@pytest.mark.parametrize(
    "mutation", [*QUICK, *(pytest.param(name, marks=pytest.mark.soak) for name in CORE | PILING)]
)
def test_a_broken_core_is_found_out(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (QUICK | CORE | PILING)[mutation](monkeypatch)
    found = _found_out(PureServices, **(LARGE if mutation in CORE else SMALL))
    assert found, "every invariant held"
    print(f"{mutation}: {found} events")


@pytest.mark.soak
def test_the_unbroken_core_holds_as_long() -> None:
    assert not _found_out(PureServices, **SMALL)
    assert not _found_out(PureServices, **LARGE)


def _store_found_out(folder: Path, patch: pytest.MonkeyPatch) -> int:
    # What is not kept long is forgotten soon enough to be missed; nobody is slower than that.
    patch.setattr(durable, "KEPT", timedelta(hours=18))
    patch.setattr(deployment, "RESENT_WITHIN", timedelta(hours=2))
    opened = iter(range(1000))

    def services_of_its_own(world: Deployment) -> LockstepServices:
        root = folder / str(next(opened))
        root.mkdir()
        return LockstepServices(world, f"sqlite:///{root}/state.db", root, trouble=0.02)

    return _found_out(services_of_its_own, seeds=3, within=2_500, contracts=4, plain=4)


@pytest.mark.soak
@pytest.mark.parametrize("mutation", STORE)
def test_a_broken_store_is_found_out(
    mutation: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    STORE[mutation](monkeypatch)
    found = _store_found_out(tmp_path, monkeypatch)
    assert found, "every invariant held"
    print(f"{mutation}: {found} events")


@pytest.mark.soak
def test_the_unbroken_store_holds_as_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not _store_found_out(tmp_path, monkeypatch)
