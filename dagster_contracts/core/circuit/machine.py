"""The state machine: ``advance`` holds every row of its table.

What the table leaves open is decided here, on the side of the consumer:

* A probe is good when all of ``close_when`` hold, or, where there is none, when no ``open_when``
  condition holds for that single evaluation (``for ...`` is ignored). A probe that could not be
  judged is not good: every condition is unknown, or one that opened the circuit is.
* An evaluation is late when it is a backfill, or of another partition with older event times than
  the watermark. Our own are of the moment at which they are counted, whatever clock they were made
  by. What others reported is late when it is long before the last one of the same data.
  The same partition, or the same unpartitioned table, replaces what was seen. A late
  evaluation is a probe only for the holder of the lease. A partition's own circuit knows one
  partition, to which backfills belong.
* Enough observations are those in the window; for what the clock moves by itself, those ever made.
* ``on_unknown: open`` is about evaluations; a tick measures little and never opens for the rest.
* While an override or the metrics-only mode is set nothing moves and no lease lives; what was
  recorded meanwhile counts as soon as it is lifted.
* Under an open upstream circuit no probe is started, and a bad one spends no retry; when the last
  of them closes, the next probe is due at once. An evaluation that comes by itself still counts.
* A partition that opened the circuit of a whole asset is the one that a probe is of: another one
  that is good says nothing of it and closes nothing, but under ``probe: wait`` a newer one does.
* Freshness, latency and volume are asked of the newest partition only: a superseded
  one is judged as if no condition spoke of them.
* An override of the whole asset is obeyed by the circuits of its partitions. One of a partition's
  own comes first, and when it ends the whole asset's is obeyed again. A reset of a partition closes
  its circuit, and the whole asset's override goes on. Its alert is the whole asset's.
  Where such a one mends an exhausted circuit, the next probe is of the partition that opened it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from dagster_contracts.core.circuit.events import (
    Alert,
    AlertTopic,
    CircuitEvent,
    Dismissed,
    Effect,
    Failed,
    Forced,
    Heal,
    Inherited,
    Note,
    NoteKind,
    Observed,
    Placed,
    PolicyChanged,
    ProbeAsked,
    ProbeBlocked,
    Recovered,
    RequestProbe,
    Reset,
    StateTransition,
    Step,
    Ticked,
    TransitionCause,
    UpstreamClosed,
    UpstreamOpened,
)
from dagster_contracts.core.circuit.judgement import (
    Verdict,
    asked_of,
    batch_window,
    is_probe,
    judge_opening,
    judge_probe,
    judge_tick,
    made_at,
    of_another_partition,
    rewound,
    tick_window,
    trimmed,
    unmeasured,
    why_late,
)
from dagster_contracts.core.circuit.state import Circuit, CircuitState, Lease, Override
from dagster_contracts.core.circuit.waiting import in_words, probe_wait, recent_openings
from dagster_contracts.core.condition import Observation
from dagster_contracts.core.contract import CircuitMode, CircuitPolicy, ProbeMode

REMEMBERED_EVALUATIONS: Final = 64
"""How many evaluation ids a circuit knows by itself; the store's key knows them all."""

CLOCK_TOLERANCE: Final = timedelta(hours=1)


def advance(
    circuit: Circuit,
    event: CircuitEvent,
    *,
    policy: CircuitPolicy | None,
    now: datetime,
    random: float,
) -> Step:
    """What ``event`` makes of ``circuit`` at ``now``; ``random`` in [0, 1) is the jitter's die.

    Without a ``policy`` (an operator need not have the contract) only overrides end by themselves:
    what else is due waits for the next event that brings one.

    Total: every event is answered in every state, and the clock may go backwards. A repeated
    evaluation id changes nothing, not even what the passing of time would have changed.
    """
    turn = _Turn(rewound(circuit, now), policy, now, random)
    if isinstance(event, Observed | Failed) and event.evaluation_id in circuit.recent:
        turn.note(NoteKind.DUPLICATE, "counted before", evaluation_id=event.evaluation_id)
        return turn.step()
    turn.settle()
    if isinstance(event, Observed | Failed | Forced):
        turn.asked_again()
    match event:
        case Observed():
            turn.observed(event)
        case Failed():
            turn.failed(event)
        case Recovered():
            turn.recovered(event)
        case Ticked():
            turn.ticked(event)
        case ProbeAsked():
            turn.probe_asked(event)
        case ProbeBlocked():
            turn.probe_blocked(event)
        case Forced():
            turn.forced(event)
        case Inherited():
            turn.inherited(event)
        case Placed():
            turn.placed(event)
        case Reset():
            turn.reset(event)
        case Dismissed():
            turn.dismissed(event)
        case PolicyChanged():
            turn.policy_changed(event)
        case UpstreamOpened():
            turn.upstream_opened(event)
        case UpstreamClosed():
            turn.upstream_closed(event)
        case _:
            assert_never(event)
    turn.heal_if_restored(circuit)
    return turn.step()


class _Turn:
    """One event being worked out; lives for one call of :func:`advance`."""

    def __init__(
        self, circuit: Circuit, policy: CircuitPolicy | None, now: datetime, random: float
    ) -> None:
        self.circuit = circuit
        self._policy = policy or CircuitPolicy()
        # What evaluations are judged by: less is asked of an older partition.
        self._asked = asked_of(self._policy, circuit)
        self._bound = policy is not None
        self._now = now
        self._random = random
        self._transitions: list[StateTransition] = []
        self._notes: list[Note] = []
        self._effects: list[Effect] = []

    def step(self) -> Step:
        return Step(
            self.circuit, tuple(self._transitions), tuple(self._notes), tuple(self._effects)
        )

    # -- the passing of time --------------------------------------------------------------------

    def settle(self) -> None:
        """What has come due since the last event: overrides and leases end."""
        metrics_only = self._policy.mode is CircuitMode.METRICS_ONLY
        if self._bound and metrics_only is not self.circuit.metrics_only:
            self.circuit = replace(self.circuit, metrics_only=metrics_only)
        until = self.circuit.override_until
        if self.circuit.override is not Override.NONE and until is not None and self._now >= until:
            self._lift(NoteKind.OVERRIDE_EXPIRED, f"{self.circuit.override} ended by itself")
        lease = self.circuit.lease
        if lease is None:
            return
        if self.circuit.frozen:
            self.circuit = replace(self.circuit, lease=None)
        elif self._bound and self._now >= lease.expires_at:
            self._bad_probe(
                TransitionCause.LEASE_EXPIRED,
                f"the probe by {lease.holder} did not report within"
                f" {self._policy.recovery.probe_timeout}",
            )

    def ticked(self, event: Ticked) -> None:
        match self.circuit.state:
            case CircuitState.CLOSED:
                self._tick_closed(event)
            case CircuitState.OPEN | CircuitState.HALF_OPEN if not self._inert:
                self._probe_if_due()
                self._request_probe()
            case _:  # frozen, exhausted, or explained by an upstream: no automatic probe
                pass

    def _tick_closed(self, event: Ticked, *, partition: str | None = None) -> None:
        window = tick_window(self.circuit, event.metrics, self._now)
        verdict = judge_tick(self._asked, self.circuit, window)
        kept = trimmed(window, self._policy)
        if kept != self.circuit.window:
            self.circuit = replace(self.circuit, window=kept)
        if self.circuit.frozen:
            self._shadow(verdict)
        elif verdict is not None:
            self._open(TransitionCause.TICK, verdict, partition=partition)

    # -- evaluations ----------------------------------------------------------------------------

    def observed(self, event: Observed) -> None:
        late = why_late(self.circuit, event)
        if late is not None and not is_probe(self.circuit, event.lease_holder):
            self._remember(event.evaluation_id)
            self.note(NoteKind.LATE, late, evaluation_id=event.evaluation_id)
            return
        self._count(event, late=late is not None)
        if self.circuit.frozen:
            self.note(
                NoteKind.RECORDED,
                f"recorded only: {self._frozen_by}",
                evaluation_id=event.evaluation_id,
            )
            if self.circuit.state is CircuitState.CLOSED:
                self._shadow(self._look(event))
            return
        match self.circuit.state:
            case CircuitState.CLOSED:
                self._observed_closed(event)
            case CircuitState.OPEN | CircuitState.HALF_OPEN:
                if self._is_the_probe(event):
                    self._judged_probe(event)
            case CircuitState.EXHAUSTED:
                verdict = judge_probe(self._asked, self.circuit, event.metrics, self._now)
                if not verdict.good:
                    self._recorded(event.evaluation_id, verdict.explanation)
                    return
                self._move(
                    CircuitState.HALF_OPEN,
                    TransitionCause.MENDED,
                    f"the producer has mended it: {verdict.explanation}",
                    AlertTopic.PROBING,
                    evaluation_id=event.evaluation_id,
                )
                self._judged_probe(event)

    def failed(self, event: Failed) -> None:
        self._remember(event.evaluation_id)
        if event.late is not None and not is_probe(self.circuit, event.lease_holder):
            self.note(NoteKind.LATE, event.late, evaluation_id=event.evaluation_id)
            return
        self.circuit = replace(self.circuit, evaluations=self.circuit.evaluations + 1)
        if event.metric is not None:
            self._in_a_row(event.metric, int(event.metrics.get(event.metric) or 0))
        if self.circuit.frozen:
            self.note(
                NoteKind.RECORDED,
                f"{event.what} (recorded only: {self._frozen_by})",
                evaluation_id=event.evaluation_id,
            )
            return
        match self.circuit.state:
            case CircuitState.CLOSED:
                self._recorded(event.evaluation_id, event.what)
                self._tick_closed(Ticked(metrics=event.metrics), partition=event.partition)
            case CircuitState.OPEN | CircuitState.HALF_OPEN:
                if self._is_the_probe(event):
                    self._bad_probe(
                        TransitionCause.PROBE_BAD,
                        f"the probe failed: {event.what}",
                        evaluation_id=event.evaluation_id,
                    )
            case CircuitState.EXHAUSTED:
                self._recorded(event.evaluation_id, event.what)

    def recovered(self, event: Recovered) -> None:
        self._in_a_row(event.metric, 0)
        if self.circuit.state is CircuitState.CLOSED:
            self._tick_closed(Ticked(metrics=event.metrics))

    def _in_a_row(self, metric: str, count: int) -> None:
        counted = {**dict(self.circuit.failures), metric: count}
        failures = tuple(sorted((name, times) for name, times in counted.items() if times))
        self.circuit = replace(self.circuit, failures=failures)

    def _remember(self, evaluation_id: str, **changes: object) -> None:
        recent = (*self.circuit.recent, evaluation_id)[-REMEMBERED_EVALUATIONS:]
        self.circuit = replace(self.circuit, recent=recent, **changes)  # type: ignore[arg-type]

    def _count(self, event: Observed, *, late: bool) -> None:
        at = made_at(self.circuit, event, self._now)
        changes: dict[str, object] = {
            "last": Observation(at, dict(event.metrics)),
            "last_observed_at": at,
            "last_partition": event.partition,
            "evaluations": self.circuit.evaluations + 1,
        }
        if event.arrived:
            changes["failures"] = ()
        # Clocks differ a little; a time far ahead is not believed: all others would be late.
        newest = event.event_time
        if not late and newest is not None and newest <= self._now + CLOCK_TOLERANCE:
            changes["watermark"] = min(newest, self._now)
            changes["watermark_partition"] = event.partition
        self._remember(event.evaluation_id, **changes)

    def _look(self, event: Observed) -> Verdict | None:
        """Take an evaluation into the window and judge it; ``None``: the circuit stays closed."""
        window, averaged = batch_window(self.circuit, event, self._policy, self._now)
        self.circuit = replace(
            self.circuit, window=trimmed(window, self._policy), averaged=averaged
        )
        if self.circuit.checks < self._policy.min_observations:
            return None
        return judge_opening(self._asked, window, unknown_opens=True)

    def _observed_closed(self, event: Observed) -> None:
        verdict = self._look(event)
        if verdict is not None:
            cause = TransitionCause.UNKNOWN if verdict.unknown else TransitionCause.VIOLATION
            self._open(cause, verdict, evaluation_id=event.evaluation_id, partition=event.partition)
            return
        self.circuit = replace(self.circuit, last_good_at=self._now)
        self._recorded(
            event.evaluation_id, f"{self.circuit.checks} in the window, nothing speaks for opening"
        )
        missing = unmeasured(self._asked, event.metrics)
        if missing:
            names = ", ".join(missing)
            explanation = f"could not be measured: {names}"
            self.note(NoteKind.UNKNOWN_METRIC, explanation, evaluation_id=event.evaluation_id)
            self._alert(AlertTopic.UNKNOWN_METRIC, explanation, f"unknown:{names}")

    def _shadow(self, verdict: Verdict | None) -> None:
        """Under metrics only: say once what would have happened, and once that it is over."""
        if self.circuit.override in (Override.FORCED_OPEN, Override.FORCED_CLOSED):
            return
        before = self.circuit.would_open
        if verdict is not None and before is None:
            self.circuit = replace(self.circuit, would_open=verdict.explanation)
            self.note(NoteKind.WOULD_OPEN, f"would have opened: {verdict.explanation}")
        elif verdict is None and before is not None:
            self.circuit = replace(self.circuit, would_open=None)
            self.note(NoteKind.WOULD_CLOSE, f"no longer: {before}")

    # -- probes ---------------------------------------------------------------------------------

    def _is_the_probe(self, event: Observed | Failed) -> bool:
        """Whether an evaluation of an open circuit is its probe; the reason is noted if not."""
        self._probe_if_due()
        if self.circuit.state is CircuitState.OPEN:
            self._recorded(
                event.evaluation_id, f"open; next probe {in_words(self.circuit.next_probe_at)}"
            )
            return False
        lease = self.circuit.lease
        if lease is None or is_probe(self.circuit, event.lease_holder):
            return True
        self._recorded(event.evaluation_id, f"the probe is {lease.holder}'s")
        return False

    def _probe_if_due(self) -> None:
        due = self.circuit.next_probe_at
        if self.circuit.state is not CircuitState.OPEN or (due is not None and self._now < due):
            return
        self._move(
            CircuitState.HALF_OPEN,
            TransitionCause.PROBE_DUE,
            f"probe {self.circuit.attempts} of {self._policy.recovery.max_retries} is due",
            AlertTopic.PROBING,
            next_probe_at=None,
            good_probes=0,
        )

    def _request_probe(self) -> None:
        circuit = self.circuit
        waiting = circuit.state is CircuitState.HALF_OPEN and circuit.lease is None
        if waiting and not self._inert and self._policy.recovery.probe is ProbeMode.REQUEST:
            self._effects.append(
                RequestProbe(
                    key=circuit.key,
                    generation=circuit.generation,
                    dedupe_key=f"{circuit.key}:{circuit.generation}:probe:{circuit.good_probes}",
                )
            )

    def probe_asked(self, event: ProbeAsked) -> None:
        if not self._inert:
            self._probe_if_due()
        circuit = self.circuit
        if circuit.frozen:
            refusal = self._frozen_by
        elif circuit.upstream and circuit.lease is None:
            refusal = f"{_and(circuit.upstream)} upstream is open"
        elif circuit.state is not CircuitState.HALF_OPEN:
            refusal = (
                f"the circuit is {circuit.state}; next probe {in_words(circuit.next_probe_at)}"
            )
        elif circuit.lease is not None and circuit.lease.holder != event.holder:
            refusal = f"{circuit.lease.holder} probes until {in_words(circuit.lease.expires_at)}"
        else:
            if circuit.lease is None:
                expires_at = self._now + self._policy.recovery.probe_timeout
                lease = Lease(event.holder, expires_at, circuit.generation)
                self.circuit = replace(circuit, lease=lease, probe_blocked=None)
            opened = circuit.opened_partition
            gone = ""
            if opened is not None and event.partition not in (None, opened):
                gone = f", of {event.partition}: {opened}, which opened the circuit, is gone"
                self.circuit = replace(self.circuit, opened_partition=event.partition)
            self.note(NoteKind.PROBE_GRANTED, f"{event.holder} is the probe{gone}")
            return
        self.note(NoteKind.PROBE_REFUSED, f"{event.holder} is not the probe: {refusal}")

    def probe_blocked(self, event: ProbeBlocked) -> None:
        circuit = self.circuit
        if circuit.state in (CircuitState.CLOSED, CircuitState.EXHAUSTED):
            return
        self.circuit = replace(circuit, probe_blocked=event.reason, lease=None)
        if circuit.probe_blocked != event.reason:
            self.note(NoteKind.PROBE_BLOCKED, f"no probe can be started: {event.reason}")

    def _judged_probe(self, event: Observed) -> None:
        verdict = judge_probe(self._asked, self.circuit, event.metrics, self._now)
        another = of_another_partition(self._policy, self.circuit, event) if verdict.good else None
        if another is not None:
            self._recorded(event.evaluation_id, another)
        elif verdict.good:
            self._good_probe(event.evaluation_id, verdict.explanation)
        else:
            self._bad_probe(
                TransitionCause.PROBE_BAD, verdict.explanation, evaluation_id=event.evaluation_id
            )

    def _good_probe(self, evaluation_id: str, explanation: str) -> None:
        good = self.circuit.good_probes + 1
        needed = self._policy.recovery.probes
        self.circuit = replace(self.circuit, good_probes=good, lease=None, last_good_at=self._now)
        if good < needed:
            self.note(
                NoteKind.PROBE_COUNTED,
                f"good probe {good} of {needed}: {explanation}",
                evaluation_id=evaluation_id,
            )
            return
        self._close(
            TransitionCause.PROBE_GOOD,
            f"good probe {good} of {needed}: {explanation}",
            evaluation_id=evaluation_id,
        )

    def _bad_probe(
        self, cause: TransitionCause, explanation: str, *, evaluation_id: str | None = None
    ) -> None:
        circuit = self.circuit
        retries = self._policy.recovery.max_retries
        if circuit.upstream:
            attempts = min(circuit.attempts, retries)
            explanation = (
                f"{explanation} ({_and(circuit.upstream)} upstream is open: no retry spent)"
            )
        elif circuit.attempts < retries:
            attempts = circuit.attempts + 1
        else:
            self._move(
                CircuitState.EXHAUSTED,
                cause,
                f"{explanation}; no probe is left of {retries}",
                AlertTopic.EXHAUSTED,
                evaluation_id=evaluation_id,
                lease=None,
                good_probes=0,
                attempts=min(circuit.attempts, retries),
                next_probe_at=None,
            )
            return
        self._move(
            CircuitState.OPEN,
            cause,
            explanation,
            AlertTopic.STILL_OPEN,
            evaluation_id=evaluation_id,
            lease=None,
            good_probes=0,
            attempts=attempts,
            next_probe_at=self._next_probe_at(attempts),
        )

    # -- opening and closing --------------------------------------------------------------------

    def _open(
        self,
        cause: TransitionCause,
        verdict: Verdict,
        *,
        evaluation_id: str | None = None,
        partition: str | None = None,
    ) -> None:
        policy = self._policy
        openings = (*recent_openings(self.circuit.openings, policy, self._now), self._now)
        flapping = len(openings) >= policy.flapping_openings > 0
        explanation = verdict.explanation
        if self.circuit.upstream:
            explanation = f"{explanation} ({_and(self.circuit.upstream)} upstream is open)"
        attempts = min(1, policy.recovery.max_retries)
        self.circuit = replace(self.circuit, openings=openings)
        self._move(
            CircuitState.OPEN,
            cause,
            explanation,
            AlertTopic.FLAPPING if flapping else AlertTopic.OPENED,
            evaluation_id=evaluation_id,
            attempts=attempts,
            good_probes=0,
            opened_at=self._now,
            reason=explanation,
            opened_by=verdict.conditions if evaluation_id is not None else (),
            opened_partition=partition if self.circuit.key.partition is None else None,
            next_probe_at=self._next_probe_at(attempts),
            window=(),
            averaged=(),
        )
        self.circuit = replace(self.circuit, evaluation_id=evaluation_id)
        if flapping:
            self.note(
                NoteKind.FLAPPING,
                f"opened {len(openings)} times within {policy.flapping_window}: waits longer",
            )
        if not attempts:
            self._move(
                CircuitState.EXHAUSTED,
                TransitionCause.NO_RETRIES,
                "the contract allows no probes",
                AlertTopic.EXHAUSTED,
                next_probe_at=None,
            )

    def _close(
        self,
        cause: TransitionCause,
        explanation: str,
        *,
        evaluation_id: str | None = None,
        actor: str | None = None,
    ) -> None:
        self._move(
            CircuitState.CLOSED,
            cause,
            explanation,
            AlertTopic.RESOLVED,
            evaluation_id=evaluation_id,
            actor=actor,
            attempts=0,
            good_probes=0,
            opened_at=None,
            reason=None,
            opened_by=(),
            opened_partition=None,
            probe_blocked=None,
            next_probe_at=None,
            lease=None,
            window=(),
            averaged=(),
        )
        self.circuit = replace(self.circuit, evaluation_id=None)

    def _next_probe_at(self, attempts: int) -> datetime:
        return self._now + probe_wait(
            self._policy,
            attempts=attempts,
            openings=len(recent_openings(self.circuit.openings, self._policy, self._now)),
            random=self._random,
        )

    # -- operators and contracts ----------------------------------------------------------------

    def forced(self, event: Forced) -> None:
        if event.override is Override.NONE:
            if self.circuit.overridden is not Override.NONE:
                self._lift(
                    NoteKind.OVERRIDE_LIFTED,
                    f"{self.circuit.override} lifted by {event.actor}: {event.reason}",
                    actor=event.actor,
                )
            return
        self.circuit = replace(
            self.circuit,
            override=event.override,
            override_until=event.until,
            override_actor=event.actor,
            override_reason=event.reason,
            inherited=False,
            would_open=None,
            lease=None,
        )
        explanation = f"{event.override} by {event.actor} {_until(event.until)}: {event.reason}"
        self.note(NoteKind.OVERRIDE_SET, explanation, actor=event.actor)
        self._alert(AlertTopic.OVERRIDE, explanation, f"{event.override}:{self._now.isoformat()}")

    def inherited(self, event: Inherited) -> None:
        circuit = self.circuit
        if obeys(circuit, event, self._now):
            return
        if event.override is Override.NONE:
            said = f"{circuit.override} of the whole asset was lifted"
            self._lift(NoteKind.OVERRIDE_LIFTED, said, actor=circuit.override_actor)
            return
        self.circuit = replace(
            circuit,
            override=event.override,
            override_until=event.until,
            override_actor=event.actor,
            override_reason=event.reason,
            inherited=True,
            would_open=None,
            lease=None,
        )
        self.note(
            NoteKind.OVERRIDE_SET,
            f"{event.override} by {event.actor} {_until(event.until)}, as the whole asset:"
            f" {event.reason}",
            actor=event.actor,
        )

    def placed(self, event: Placed) -> None:
        self.circuit = replace(self.circuit, partition_time=event.time, superseded=event.superseded)

    def _lift(self, kind: NoteKind, explanation: str, *, actor: str | None = None) -> None:
        lifted, inherited = self.circuit.override, self.circuit.inherited
        self.circuit = replace(
            self.circuit,
            override=Override.NONE,
            override_until=None,
            override_actor=None,
            override_reason=None,
            inherited=False,
            would_open=None,
        )
        self.note(kind, explanation, actor=actor)
        if not inherited:
            self._alert(
                AlertTopic.OVERRIDE, explanation, f"{lifted}:lifted:{self._now.isoformat()}"
            )

    def reset(self, event: Reset) -> None:
        said = f"reset by {event.actor}: {event.reason}"
        if self.circuit.overridden is not Override.NONE:
            self._lift(NoteKind.OVERRIDE_LIFTED, said, actor=event.actor)
        if self.circuit.state is CircuitState.CLOSED:
            self.circuit = replace(self.circuit, window=(), averaged=())
            self.note(NoteKind.RECORDED, f"{said} (already closed)", actor=event.actor)
            return
        self._close(TransitionCause.RESET, said, actor=event.actor)

    def dismissed(self, event: Dismissed) -> None:
        said = f"dismissed by {event.actor}: {event.reason}"
        if self.circuit.overridden is not Override.NONE:
            self._lift(NoteKind.OVERRIDE_LIFTED, said, actor=event.actor)
        self.circuit = replace(self.circuit, dismissed=True, lease=None)
        self.note(NoteKind.DISMISSED, said, actor=event.actor)

    def asked_again(self) -> None:
        if self.circuit.dismissed:
            self.circuit = replace(self.circuit, dismissed=False)

    def policy_changed(self, event: PolicyChanged) -> None:
        before = self.circuit.policy_hash
        if before == event.policy_hash:
            return
        retries = self._policy.recovery.max_retries
        self.circuit = replace(
            self.circuit,
            policy_hash=event.policy_hash,
            attempts=min(self.circuit.attempts, retries),
            window=(),
            averaged=(),
            opened_by=(),
            would_open=None,
        )
        if not before:
            return
        self.note(NoteKind.POLICY_BOUND, f"bound to {event.policy_hash[:12]}, was {before[:12]}")
        if self.circuit.state is CircuitState.EXHAUSTED:
            self._move(
                CircuitState.HALF_OPEN,
                TransitionCause.CONTRACT_CHANGED,
                "the contract was edited: one more probe",
                AlertTopic.PROBING,
            )
            self._request_probe()

    def upstream_opened(self, event: UpstreamOpened) -> None:
        upstream = tuple(sorted({*self.circuit.upstream, event.upstream}))
        if upstream != self.circuit.upstream:
            self.circuit = replace(self.circuit, upstream=upstream)
            self.note(NoteKind.UPSTREAM, f"{event.upstream} upstream is open")

    def upstream_closed(self, event: UpstreamClosed) -> None:
        if event.upstream not in self.circuit.upstream:
            return
        left = tuple(name for name in self.circuit.upstream if name != event.upstream)
        self.circuit = replace(self.circuit, upstream=left)
        self.note(NoteKind.UPSTREAM, f"{event.upstream} upstream is closed again")
        due = self.circuit.next_probe_at
        if not left and due is not None and due > self._now:
            self.circuit = replace(self.circuit, next_probe_at=self._now)

    # -- what is written ------------------------------------------------------------------------

    @property
    def _inert(self) -> bool:
        """Whether no probe is started by itself: nothing may move, or an upstream explains it."""
        return self.circuit.frozen or bool(self.circuit.upstream)

    @property
    def _frozen_by(self) -> str:
        if self.circuit.override is not Override.NONE:
            return f"{self.circuit.override} by {self.circuit.override_actor}"
        return "the contract's mode is metrics_only"

    def _recorded(self, evaluation_id: str, explanation: str) -> None:
        self.note(NoteKind.RECORDED, explanation, evaluation_id=evaluation_id)

    def note(
        self,
        kind: NoteKind,
        explanation: str,
        *,
        evaluation_id: str | None = None,
        actor: str | None = None,
    ) -> None:
        self._notes.append(
            Note(
                kind=kind,
                key=self.circuit.key,
                generation=self.circuit.generation,
                at=self._now,
                explanation=explanation,
                evaluation_id=evaluation_id,
                actor=actor,
            )
        )

    def _alert(self, topic: AlertTopic, explanation: str, dedupe: str, group: str = "") -> None:
        circuit = self.circuit
        self._effects.append(
            Alert(
                topic=topic,
                key=circuit.key,
                generation=circuit.generation,
                explanation=explanation,
                dedupe_key=f"{circuit.key}:{circuit.generation}:{dedupe}",
                group=f"{circuit.key}{group}",
                explained_by=circuit.upstream,
            )
        )

    def _move(
        self,
        after: CircuitState,
        cause: TransitionCause,
        explanation: str,
        topic: AlertTopic,
        *,
        evaluation_id: str | None = None,
        actor: str | None = None,
        **changes: object,
    ) -> None:
        """The only place where a state changes: generation, transition and alert go with it."""
        before = self.circuit
        generation = before.generation + 1
        self.circuit = replace(before, state=after, generation=generation, **changes)  # type: ignore[arg-type]
        self._transitions.append(
            StateTransition(
                key=before.key,
                generation=generation,
                before=before.state,
                after=after,
                at=self._now,
                cause=cause,
                explanation=explanation,
                evaluation_id=evaluation_id,
                actor=actor,
            )
        )
        self._alert(topic, explanation, topic, ":flapping" if topic is AlertTopic.FLAPPING else "")

    def heal_if_restored(self, before: Circuit) -> None:
        """Consumers may read the primary again, because it is good and not because it is forced."""
        after = self.circuit
        # Forced closed over an open circuit is not good yet: what ends both at once restores it.
        if _healthy(after) and not _healthy(before):
            dedupe = f"{after.key}:{after.generation}:heal:{self._now.isoformat()}"
            self._effects.append(
                Heal(key=after.key, generation=after.generation, dedupe_key=dedupe)
            )


def inherited_from(whole: Circuit | None, now: datetime) -> Inherited:
    """What the circuits of an asset's partitions must obey now; ``whole`` is the asset's own."""
    if whole is None or whole.override is Override.NONE:
        return Inherited()
    if whole.override_until is not None and now >= whole.override_until:
        return Inherited()
    return Inherited(
        override=whole.override,
        actor=whole.override_actor,
        reason=whole.override_reason,
        until=whole.override_until,
    )


def obeys(circuit: Circuit, said: Inherited, now: datetime) -> bool:
    """Whether a partition's circuit knows of the whole asset's override, or need not."""
    own = circuit.overridden is not Override.NONE
    if own and (circuit.override_until is None or now < circuit.override_until):
        return True
    return said == Inherited(
        override=circuit.override,
        actor=circuit.override_actor,
        reason=circuit.override_reason,
        until=circuit.override_until,
    )


def _until(moment: datetime | None) -> str:
    return "until it is lifted" if moment is None else f"until {in_words(moment)}"


def _healthy(circuit: Circuit) -> bool:
    closed = CircuitState.CLOSED
    return circuit.effective_state is closed and circuit.state is closed


def _and(names: tuple[str, ...]) -> str:
    return " and ".join(names)
