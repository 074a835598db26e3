"""What the running attempts of steps have read and refused, in the process that runs them.

A step that is tried again begins with nothing: what an earlier attempt has read, the new one may
read from elsewhere. Its marks in the ledger were written for a result that nobody stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagster_contracts.orchestration.step import Step
from dagster_contracts.resilience.ledger import DegradedRead, DegradedReads, Target

if TYPE_CHECKING:
    from dagster_contracts.orchestration.reads import Read


@dataclass
class Attempt:
    """What one attempt of a step has read so far, and what it put into quarantine."""

    number: int
    reads: list[Read] = field(default_factory=list)
    refused: set[Target] = field(default_factory=set)

    @property
    def degraded(self) -> bool:
        """Whether anything was read from a fallback."""
        return any(read.degraded for read in self.reads)

    def wrote(self, row: DegradedRead) -> bool:
        """Whether a row of the ledger stands for something that this attempt has read."""
        return any(read.wrote(row) for read in self.reads)

    def disowns(self, row: DegradedRead, step: Step) -> bool:
        """Whether a row of the step's run stands for what is surely not in its result.

        In a graph of ops another step may have written the row: it is disowned where no other one
        reads that asset, and this one has read it well after the row was written.
        """
        if self.wrote(row):
            return False
        if not step.in_graph:
            return True
        return row.upstream in step.read_once and any(
            read.read_well(row) and row.id is not None and row.id <= read.position
            for read in self.reads
        )


class Attempts:
    """The running attempts of this process, by run and step."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, str], Attempt] = {}

    def of(self, step: Step) -> Attempt:
        """The running attempt of a step; what an earlier one has left is forgotten."""
        attempt = self._running.get(step.key)
        if attempt is None or attempt.number != step.attempt:
            attempt = self._running[step.key] = Attempt(step.attempt)
        return attempt

    def end(self, step: Step) -> Attempt:
        """The attempt of a step that has ended; nothing of it is kept here any more."""
        attempt = self.of(step)
        del self._running[step.key]
        return attempt


def drop_unmade(
    ledger: DegradedReads,
    step: Step,
    targets: Iterable[Target],
    why: str,
    *,
    only: Callable[[DegradedRead], bool] = lambda row: True,  # noqa: ARG005
) -> None:
    """Forget what the run of the step has marked of ``targets``, which it has not built."""
    unmade = set(targets)
    for consumer in sorted({consumer for consumer, _ in unmade}):
        for row in ledger.open_reads(consumer=consumer):
            mine = row.pending and row.run_id == step.run_id and row.target in unmade
            if mine and only(row):
                ledger.drop(row, why)


def drop_disowned(
    ledger: DegradedReads, step: Step, attempt: Attempt, targets: Iterable[Target]
) -> None:
    """Forget what the run of the step has marked of ``targets``, but does not build them from.

    That is what an earlier attempt has read, or a primary that then could not be loaded.
    """
    if not attempt.number and not attempt.degraded:
        return
    why = f"the attempt of run {step.run_id} that succeeded did not read it"
    drop_unmade(ledger, step, targets, why, only=lambda row: attempt.disowns(row, step))


def renew_stored(
    ledger: DegradedReads,
    step: Step,
    attempt: Attempt,
    targets: Iterable[Target],
    *,
    anew: bool = False,
) -> None:
    """The step stores ``targets``: its reads of fallbacks for them are pending no more.

    ``anew`` as in :meth:`DegradedReads.renew`.
    """
    for consumer, partition in targets:
        ledger.renew(
            consumer=consumer,
            consumer_partition=partition,
            run_id=step.run_id,
            anew=anew,
            only=None if step.in_graph else attempt.wrote,
        )
