"""How a circuit opens, what it then waits for, and the probes that close it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dagster_contracts.core.circuit.events import (
    AlertTopic,
    Failed,
    NoteKind,
    Observed,
    PartitionsGone,
    ProbeAsked,
    ProbeBlocked,
    RequestProbe,
    TransitionCause,
)
from dagster_contracts.core.circuit.judgement import (
    Verdict,
    is_probe,
    judge_alone,
    made_at,
    of_another_partition,
    of_names,
)
from dagster_contracts.core.circuit.state import (
    BadPartition,
    CircuitState,
    Lease,
)
from dagster_contracts.core.circuit.turn import Turn
from dagster_contracts.core.circuit.waiting import in_words, recent_openings
from dagster_contracts.core.contract import ProbeMode
from dagster_contracts.core.metrics import UNAVAILABLE

REMEMBERED_PARTITIONS: Final = 256
"""How many bad partitions a circuit waits for by name: the newest."""


class ProbeTurn(Turn):
    """Openings, bad partitions and probes."""

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

    def _is_the_probe(self, event: Observed | Failed) -> bool:
        """Whether an evaluation of an open circuit is its probe; the reason is noted if not.

        A failure of another partition than it waits for says as little as a good batch of one. A
        consumer that cannot read the primary has tried nothing: it began while the circuit was
        closed.
        """
        self._probe_if_due()
        if self.circuit.state is CircuitState.OPEN:
            self._recorded(
                event.evaluation_id, f"open; next probe {in_words(self.circuit.next_probe_at)}"
            )
            return False
        lease = self.circuit.lease
        if is_probe(self.circuit, event.lease_holder):
            return True
        if lease is None:
            if isinstance(event, Observed):
                return True
            another = of_another_partition(self.circuit, event)
            if another is None and event.metric != UNAVAILABLE:
                return True
            self._recorded(event.evaluation_id, another or event.what)
            return False
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
                    dedupe_key=circuit.probe_names[-1],
                )
            )

    def probe_asked(self, event: ProbeAsked) -> None:
        """Give the lease to whoever asks first, and tell every other why not."""
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
        elif circuit.lease is None and self._is_not_next(event.partition):
            refusal = f"{circuit.awaited_partition} is to be probed, and not {event.partition}"
        else:
            if circuit.lease is None:
                expires_at = self._now + self._policy.recovery.probe_timeout
                lease = Lease(event.holder, expires_at, circuit.generation)
                self.circuit = replace(
                    circuit, lease=lease, waiting_since=self._now, probe_blocked=None
                )
            self.note(NoteKind.PROBE_GRANTED, f"{event.holder} is the probe")
            return
        self.note(NoteKind.PROBE_REFUSED, f"{event.holder} is not the probe: {refusal}")

    def _is_not_next(self, partition: str | None) -> bool:
        return partition is not None and self.circuit.awaited_partition not in (None, partition)

    def partitions_gone(self, event: PartitionsGone) -> None:
        """What does not exist any more is waited for no longer; the newest answers for the last."""
        known = self.circuit.bad_partitions
        gone = tuple(bad for bad in known if bad.name in event.partitions)
        if not gone:
            return
        left = tuple(bad for bad in known if bad not in gone)
        self.circuit = replace(self.circuit, bad_partitions=left)
        next_one = f"next is {of_names(left)}" if left else "the newest partition is asked instead"
        self.note(
            NoteKind.PARTITION_GONE,
            f"{of_names(gone)}, to be good first, {'is' if len(gone) == 1 else 'are'} gone;"
            f" {next_one}",
        )

    def probe_blocked(self, event: ProbeBlocked) -> None:
        """No run can be started as the probe: nothing is spent, and it is said why."""
        circuit = self.circuit
        if circuit.state in (CircuitState.CLOSED, CircuitState.EXHAUSTED):
            return
        self.circuit = replace(circuit, probe_blocked=event.reason, lease=None)
        if circuit.probe_blocked != event.reason:
            self.note(NoteKind.PROBE_BLOCKED, f"no probe can be started: {event.reason}")

    def _judged_probe(self, event: Observed, verdict: Verdict) -> None:
        another = of_another_partition(self.circuit, event, good=verdict.good)
        if another is not None:
            said = another if verdict.good else f"{another}: {verdict.explanation}"
            self._recorded(event.evaluation_id, said)
        elif verdict.unknown and event.evaluated_at is not None:
            # What others report is no run of the asset: it need not measure what broke.
            self._recorded(event.evaluation_id, f"it says nothing of it: {verdict.explanation}")
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

    def _suspect(self, event: Observed, verdict: Verdict | None) -> None:
        """Know, in any state, of which partitions of a whole asset the last batch was bad."""
        partition = event.partition
        if partition is None or self.circuit.key.partition is not None:
            return
        others = tuple(bad for bad in self.circuit.suspect if bad.name != partition)
        if verdict is not None:
            seen = BadPartition(partition, made_at(self.circuit, event, self._now))
            others = (*others, seen)[-REMEMBERED_PARTITIONS:]
        if len(others) != len(self.circuit.suspect) or verdict is not None:
            self.circuit = replace(self.circuit, suspect=others)

    def _blame(self, event: Observed, verdict: Verdict | None) -> None:
        """What is bad by itself while the circuit is not closed must be good before it closes."""
        if self.circuit.state is CircuitState.CLOSED or verdict is None:
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


def _and(names: tuple[str, ...]) -> str:
    return " and ".join(names)
