"""The state machine: ``advance`` holds every row of its table.

What the table leaves open is decided here, on the side of the consumer:

* A probe is good when no ``open_when`` condition holds for that single evaluation (``for ...`` is
  ignored) and all of ``close_when`` do. A probe that could not be judged is not good: every
  condition is unknown, or one that opened the circuit is. What others reported is then no probe at
  all, and spends no attempt.
* A failure of the run that holds the lease is a bad probe, whatever it made: a lease that lives has
  brought no verdict on what it was asked for. When that is there, its run is like any other.
* An evaluation is late when it is a backfill, or of another partition with older event times than
  the watermark. Our own are of the moment at which they are counted, whatever clock they were made
  by. What others reported is late when it is long before the last one of the same data.
  The same partition, or the same unpartitioned table, replaces what was seen. A late
  evaluation is a probe only for the holder of the lease. A partition's own circuit knows one
  partition, to which backfills belong.
* Enough observations are those in the window; for what the clock moves by itself, those ever made.
* ``on_unknown: open`` is about evaluations; a tick measures little and never opens for the rest.
  What somebody else tells of the asset is not unknown because an evaluation does not tell it.
* While an override or the metrics-only mode is set nothing moves and no lease lives; what was
  recorded meanwhile counts as soon as it is lifted.
* Under an open upstream circuit no probe is started, and a bad one spends no retry; when the last
  of them closes, the next probe is due at once. An evaluation that comes by itself still counts.
* The circuit of a whole asset waits for every bad partition: the one that opened it and each whose
  batch since, by itself, held ``open_when``, be it late, refused or of a backfill. A good batch of
  one takes it off; the last one is left to its probe. A good probe of one of several leads to the
  next probe at once and spends no attempt; the circuit closes when none is left. What is good of
  another partition is recorded only, under ``probe: wait`` and in an exhausted circuit too.
  A refused batch counts like one that was stored: that partition still lacks its data. A run of
  another partition that failed is recorded only. Partitions that are gone are taken off by whoever
  knows that they are, in every state; where none is left, any good batch of the newest is a probe.
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

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from dagster_contracts.core.circuit.events import (
    AlertTopic,
    CircuitEvent,
    Dismissed,
    Failed,
    Forced,
    Inherited,
    NoteKind,
    Observed,
    PartitionsGone,
    Placed,
    PolicyChanged,
    ProbeAsked,
    ProbeBlocked,
    Recovered,
    Reset,
    Step,
    Ticked,
    TransitionCause,
    UpstreamClosed,
    UpstreamOpened,
)
from dagster_contracts.core.circuit.judgement import (
    Verdict,
    batch_window,
    is_probe,
    judge_alone,
    judge_opening,
    judge_probe,
    judge_tick,
    made_at,
    of_another_partition,
    rewound,
    still_stands,
    tick_window,
    trimmed,
    unmeasured,
    why_late,
    why_outdated,
)
from dagster_contracts.core.circuit.override import OverrideTurn
from dagster_contracts.core.circuit.probing import ProbeTurn
from dagster_contracts.core.circuit.state import (
    Circuit,
    CircuitState,
    Override,
    changed,
)
from dagster_contracts.core.condition import Observation
from dagster_contracts.core.contract import CircuitMode, CircuitPolicy

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
        case PartitionsGone():
            turn.partitions_gone(event)
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
    turn.count_dropped_lease(circuit)
    turn.heal_if_restored(circuit)
    return turn.step()


class _Turn(ProbeTurn, OverrideTurn):
    """One event being worked out; lives for one call of :func:`advance`."""

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
            self.circuit = changed(self.circuit, window=kept)
        if self.circuit.frozen:
            self._shadow(verdict)
        elif verdict is not None:
            self._open(TransitionCause.TICK, verdict, partition=partition)

    def observed(self, event: Observed) -> None:
        late, outdated = why_late(self.circuit, event), why_outdated(self.circuit, event)
        bad = self.circuit.bad_partition(event.partition)
        # What the circuit waits for is never too old, but where more is known of it already.
        expected = is_probe(self.circuit, event.lease_holder) or (bad and outdated is None)
        alone = None
        if outdated is None:
            alone = judge_alone(
                self._asked,
                event.metrics,
                self._now,
                late=late is not None,
                silent=event.silent,
            )
            self._suspect(event, alone)
            self._blame(event, alone)
        if late is not None and not expected:
            self._remember(event.evaluation_id)
            said = late if alone is None else f"{late}; by itself it is bad: {alone.explanation}"
            self.note(NoteKind.LATE, said, evaluation_id=event.evaluation_id)
            return
        if self.circuit.state is CircuitState.CLOSED:
            self._count(event, late=late is not None)
            self._weigh_closed(event)
        else:
            # What has grown old while the circuit waited for it is not asked how old it is.
            verdict = judge_probe(
                self._asked,
                self.circuit,
                event.metrics,
                self._now,
                older=late is not None and bad is not None,
                silent=event.silent,
            )
            if bad is not None and outdated is not None:
                verdict = Verdict(good=False, explanation=outdated)
            self._count(event, late=late is not None)
            self._weigh(event, verdict)
        self._say_unmeasured(event)

    def _weigh_closed(self, event: Observed) -> None:
        """What a counted evaluation does to a closed circuit."""
        if self.circuit.frozen:
            self._recorded(event.evaluation_id, f"recorded only: {self._frozen_by}")
            self._shadow(self._look(event))
        else:
            self._observed_closed(event)

    def _weigh(self, event: Observed, verdict: Verdict) -> None:
        """What one does to a circuit that is not closed; ``verdict`` is its own as a probe."""
        if self.circuit.frozen:
            self._recorded(event.evaluation_id, f"recorded only: {self._frozen_by}")
            self._absolve(event, verdict)
            return
        match self.circuit.state:
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

    def _count(self, event: Observed, *, late: bool) -> None:
        at = made_at(self.circuit, event, self._now)
        changes: dict[str, object] = {
            "last": Observation(at, dict(event.metrics)),
            "last_observed_at": at,
            "last_partition": event.partition,
            "evaluations": self.circuit.evaluations + 1,
        }
        if event.arrived and not late:
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
        self.circuit = changed(
            self.circuit, window=trimmed(window, self._policy), averaged=averaged
        )
        if self.circuit.checks < self._policy.min_observations:
            return None
        return judge_opening(self._asked, window, unknown_opens=True, silent=event.silent)

    def _observed_closed(self, event: Observed) -> None:
        verdict = self._look(event)
        if verdict is not None:
            cause = TransitionCause.UNKNOWN if verdict.unknown else TransitionCause.VIOLATION
            self._open(cause, verdict, evaluation_id=event.evaluation_id, partition=event.partition)
            return
        self.circuit = changed(self.circuit, last_good_at=self._now)
        self._recorded(
            event.evaluation_id, f"{self.circuit.checks} in the window, nothing speaks for opening"
        )

    def _say_unmeasured(self, event: Observed) -> None:
        """One alert for each spell in which a metric could not be measured and the primary is read.

        What an evaluation did not even try is said once in a generation: that another one measures
        it ends nothing. What others tell is not said at all.
        """
        said = tuple(n for n in self.circuit.unmeasured if event.metrics.get(n) is None)
        missing: tuple[str, ...] = ()
        if self.circuit.effective_state is CircuitState.CLOSED:
            missing = unmeasured(self._asked, event.metrics, event.silent)
        tried = tuple(name for name in missing if name in event.metrics)
        told_of = tuple(dict.fromkeys((*said, *tried)))
        if told_of != self.circuit.unmeasured:
            self.circuit = replace(self.circuit, unmeasured=told_of)
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
