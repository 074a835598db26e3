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
* The circuit of a whole asset waits for every bad partition: the one that opened it and each whose
  batch since, by itself, held ``open_when``, be it late, refused or of a backfill. A good batch of
  one takes it off; the last one is left to its probe. A good probe of one of several leads to the
  next probe at once and spends no attempt; the circuit closes when none is left. What is good of
  another partition is recorded only, under ``probe: wait`` and in an exhausted circuit too.
  A refused batch counts like one that was stored: that partition still lacks its data.
* A bad partition that is older than the newest by now is not asked its age and latency; where these
  opened the circuit, the newest partition is probed last.
* What held at the opening and at evaluations since must be known not to hold before a probe is
  good. In an edited contract those conditions stand for it that speak of the same metrics, and all
  of them where there are none. What no batch can tell (availability, say) the next tick asks.
* An edit grants an exhausted circuit its probe as soon as no override stands.
* Freshness, latency and volume are asked of the newest partition only: a superseded
  one is judged as if no condition spoke of them.
* An override of the whole asset is obeyed by the circuits of its partitions. One of a partition's
  own comes first, and when it ends the whole asset's is obeyed again. A reset of a partition closes
  its circuit, and the whole asset's override goes on. Its alert is the whole asset's.
"""

from __future__ import annotations

import hashlib
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
    judge_alone,
    judge_opening,
    judge_probe,
    judge_tick,
    made_at,
    of_another_partition,
    of_names,
    rewound,
    still_stands,
    tick_window,
    trimmed,
    unmeasured,
    why_late,
    why_outdated,
)
from dagster_contracts.core.circuit.state import (
    BadPartition,
    Circuit,
    CircuitState,
    Lease,
    Override,
)
from dagster_contracts.core.circuit.waiting import in_words, probe_wait, recent_openings
from dagster_contracts.core.condition import Observation
from dagster_contracts.core.contract import CircuitMode, CircuitPolicy, ProbeMode

REMEMBERED_EVALUATIONS: Final = 64
"""How many evaluation ids a circuit knows by itself; the store's key knows them all."""

REMEMBERED_PARTITIONS: Final = 256
"""How many bad partitions a circuit waits for by name: the newest."""

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
    if isinstance(event, Observed | Failed) and event.evaluation_id in circuit.recent:
        turn = _Turn(circuit, policy, now, random)
        turn.note(NoteKind.DUPLICATE, "counted before", evaluation_id=event.evaluation_id)
        return turn.step()
    turn = _Turn(rewound(circuit, now), policy, now, random)
    turn.settle()
    turn.grant_after_edit()
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
    turn.grant_after_edit()
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
        late, outdated = why_late(self.circuit, event), why_outdated(self.circuit, event)
        bad = self.circuit.bad_partition(event.partition)
        # What the circuit waits for is never too old, but where more is known of it already.
        expected = is_probe(self.circuit, event.lease_holder) or (bad and outdated is None)
        if outdated is None:
            self._blame(event, late=late is not None)
        if late is not None and not expected:
            self._remember(event.evaluation_id)
            self.note(NoteKind.LATE, late, evaluation_id=event.evaluation_id)
            return
        # What has grown old while the circuit waited for it is not asked how old it is.
        verdict = judge_probe(
            self._asked,
            self.circuit,
            event.metrics,
            self._now,
            older=late is not None and bad is not None,
        )
        if bad is not None and outdated is not None:
            verdict = Verdict(good=False, explanation=outdated)
        self._count(event, late=late is not None)
        self._weigh(event, verdict)
        self._say_unmeasured(event)

    def _weigh(self, event: Observed, verdict: Verdict) -> None:
        """What a counted evaluation does; ``verdict`` is the one of it as a probe."""
        if self.circuit.frozen:
            self.note(
                NoteKind.RECORDED,
                f"recorded only: {self._frozen_by}",
                evaluation_id=event.evaluation_id,
            )
            if self.circuit.state is CircuitState.CLOSED:
                self._shadow(self._look(event))
            else:
                self._absolve(event, verdict)
            return
        match self.circuit.state:
            case CircuitState.CLOSED:
                self._observed_closed(event)
            case CircuitState.OPEN | CircuitState.HALF_OPEN:
                if self._is_the_probe(event):
                    self._judged_probe(event, verdict)
                else:
                    self._absolve(event, verdict)
            case CircuitState.EXHAUSTED:
                another = of_another_partition(self.circuit, event)
                if another is not None or not verdict.good:
                    said = another if verdict.good and another else verdict.explanation
                    self._recorded(event.evaluation_id, said)
                    return
                self._move(
                    CircuitState.HALF_OPEN,
                    TransitionCause.MENDED,
                    f"the producer has mended it: {verdict.explanation}",
                    AlertTopic.PROBING,
                    evaluation_id=event.evaluation_id,
                )
                self._judged_probe(event, verdict)

    def _blame(self, event: Observed, *, late: bool) -> None:
        """What is bad by itself while the circuit is not closed must be good before it closes."""
        if self.circuit.state is CircuitState.CLOSED:
            return
        verdict = judge_alone(self._asked, event.metrics, self._now, late=late)
        if verdict is None:
            return
        opened_by = tuple(dict.fromkeys((*self.circuit.opened_by, *verdict.conditions)))
        self.circuit = replace(self.circuit, opened_by=opened_by)
        partition = event.partition
        if partition is None or self.circuit.key.partition is not None:
            return
        seen = BadPartition(partition, made_at(self.circuit, event, self._now))
        known = self.circuit.bad_partitions
        if self.circuit.bad_partition(partition) is not None:
            waiting = tuple(seen if bad.name == partition else bad for bad in known)
            self.circuit = replace(self.circuit, bad_partitions=waiting)
            return
        forgotten = known[: max(0, len(known) + 1 - REMEMBERED_PARTITIONS)]
        self.circuit = replace(
            self.circuit,
            bad_partitions=(*known[len(forgotten) :], seen),
            bad_forgotten=self.circuit.bad_forgotten + len(forgotten),
        )
        self.note(
            NoteKind.BAD_PARTITION,
            f"{partition} must be good as well before the circuit closes: {verdict.explanation}",
            evaluation_id=event.evaluation_id,
        )
        if forgotten:
            self.note(
                NoteKind.BAD_PARTITION,
                f"{of_names(forgotten)} is no longer waited for: more than"
                f" {REMEMBERED_PARTITIONS} partitions are bad",
            )

    def _absolve(self, event: Observed, verdict: Verdict) -> None:
        """A bad partition that became good by itself; the last one is left to the probe."""
        known, lease = self.circuit.bad_partitions, self.circuit.lease
        being_probed = lease is not None and self.circuit.awaited_partition == event.partition
        left = tuple(bad for bad in known if bad.name != event.partition)
        if verdict.good and left and left != known and not being_probed:
            self.circuit = replace(self.circuit, bad_partitions=left)

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

    def _say_unmeasured(self, event: Observed) -> None:
        """One alert for each spell in which a metric could not be measured and the primary is read.

        What an evaluation did not even try (others report it) is said once in a generation: that
        another one measures it ends nothing.
        """
        said = tuple(n for n in self.circuit.unmeasured if event.metrics.get(n) is None)
        missing: tuple[str, ...] = ()
        if self.circuit.effective_state is CircuitState.CLOSED:
            missing = unmeasured(self._asked, event.metrics)
        tried = tuple(name for name in missing if name in event.metrics)
        self.circuit = replace(self.circuit, unmeasured=tuple(dict.fromkeys((*said, *tried))))
        if not missing:
            return
        told = f"could not be measured: {', '.join(missing)}"
        self.note(NoteKind.UNKNOWN_METRIC, told, evaluation_id=event.evaluation_id)
        begun = [name for name in tried if name not in said]
        untried = [name for name in missing if name not in tried]
        for names, spell in ((begun, f":{event.evaluation_id}"), (untried, "")):
            if names:
                listed = ", ".join(names)
                explanation = f"could not be measured: {listed}"
                self._alert(AlertTopic.UNKNOWN_METRIC, explanation, f"unknown:{listed}{spell}")

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
            gone = self._take_off_before(event.partition)
            self.note(NoteKind.PROBE_GRANTED, f"{event.holder} is the probe{gone}")
            return
        self.note(NoteKind.PROBE_REFUSED, f"{event.holder} is not the probe: {refusal}")

    def _take_off_before(self, partition: str | None) -> str:
        """Whoever starts a probe of a partition says that those to be probed before it are gone."""
        known = self.circuit.bad_partitions
        if not known or partition in (None, known[0].name):
            return ""
        names = [bad.name for bad in known]
        first = names.index(partition) if partition in names else len(known)
        waiting = known[first:] or (BadPartition(partition or "", self._now),)
        self.circuit = replace(self.circuit, bad_partitions=waiting)
        verb = "is" if first == 1 else "are"
        return f", of {partition}: {of_names(known[:first])}, to be good first, {verb} gone"

    def probe_blocked(self, event: ProbeBlocked) -> None:
        circuit = self.circuit
        if circuit.state in (CircuitState.CLOSED, CircuitState.EXHAUSTED):
            return
        self.circuit = replace(circuit, probe_blocked=event.reason, lease=None)
        if circuit.probe_blocked != event.reason:
            self.note(NoteKind.PROBE_BLOCKED, f"no probe can be started: {event.reason}")

    def _judged_probe(self, event: Observed, verdict: Verdict) -> None:
        another = of_another_partition(self.circuit, event) if verdict.good else None
        if another is not None:
            self._recorded(event.evaluation_id, another)
        elif verdict.good:
            self._good_probe(event, verdict)
        else:
            self._bad_probe(
                TransitionCause.PROBE_BAD, verdict.explanation, evaluation_id=event.evaluation_id
            )

    def _good_probe(self, event: Observed, verdict: Verdict) -> None:
        good = self.circuit.good_probes + 1
        needed = self._policy.recovery.probes
        said = f"good probe {good} of {max(good, needed)}: {verdict.explanation}"
        waiting = self.circuit.bad_partitions
        left = tuple(bad for bad in waiting if event.partition not in (None, bad.name))
        self.circuit = replace(self.circuit, good_probes=good, lease=None, last_good_at=self._now)
        if not left and not verdict.conditions and good >= needed:
            forgotten = self.circuit.bad_forgotten
            if forgotten:
                said += f"; of {forgotten} more bad partitions nothing is known since"
            self._close(TransitionCause.PROBE_GOOD, said, evaluation_id=event.evaluation_id)
            return
        if left:
            said += f"; next is {of_names(left)}"
        elif verdict.conditions:
            said += f"; {'; '.join(verdict.conditions)} is asked of the newest partition"
        # With nothing else to ask for, further good probes are of the same partition.
        waiting = left if left or verdict.conditions else waiting
        self.circuit = replace(self.circuit, bad_partitions=waiting)
        self.note(NoteKind.PROBE_COUNTED, said, evaluation_id=event.evaluation_id)

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
        waiting = self._bad_partition(partition) if self.circuit.key.partition is None else None
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
            opened_by=verdict.conditions,
            bad_partitions=() if waiting is None else (waiting,),
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

    def _bad_partition(self, partition: str | None) -> BadPartition | None:
        """The partition by which the circuit opens; time does by what an override held back."""
        checks = [observation for observation in self.circuit.window if observation.check]
        if partition is not None:
            return BadPartition(partition, checks[-1].at if checks else self._now)
        last = self.circuit.last_partition
        if last is None or not checks:
            return None
        bad = judge_alone(self._asked, checks[-1].metrics, self._now, late=False)
        return None if bad is None else BadPartition(last, checks[-1].at)

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
            bad_partitions=(),
            bad_forgotten=0,
            edited=False,
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
        self._alert_override(event.override, explanation)

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
            self._alert_override(f"{lifted}:lifted", explanation)

    def _alert_override(self, what: str, explanation: str) -> None:
        # Two operators may decide the same at the same moment; who and why tell them apart.
        told = hashlib.sha256(explanation.encode()).hexdigest()[:12]
        self._alert(AlertTopic.OVERRIDE, explanation, f"{what}:{self._now.isoformat()}:{told}")

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
            would_open=None,
        )
        if not before:
            return
        if self.circuit.state is not CircuitState.CLOSED:
            opened_by = still_stands(self.circuit.opened_by, self._policy)
            self.circuit = replace(self.circuit, opened_by=opened_by, edited=True)
        self.note(NoteKind.POLICY_BOUND, f"bound to {event.policy_hash[:12]}, was {before[:12]}")

    def grant_after_edit(self) -> None:
        """An edit gives an exhausted circuit one more probe, as soon as no override stands."""
        if not self.circuit.edited or self.circuit.frozen or not self._bound:
            return
        self.circuit = replace(self.circuit, edited=False)
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
