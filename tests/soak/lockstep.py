"""The real services and the model of their store side by side: what one does, the other did too.

A call goes to the real services first. Whatever reached its commit is then told to the model, and
both must have made the same transitions, refused and granted the same, and be in the same state.
So the millions of events that only the model goes through speak for the store as well.

What is planned to be healed is not compared: the real plan is made anew, from what the real ledger
says, and the ledgers are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from dagster_contracts.core.circuit import Circuit, CircuitKey, Override
from dagster_contracts.core.contract import Contract
from dagster_contracts.resilience.healing import Target
from dagster_contracts.resilience.ledger import DegradedRead
from tests.soak.durable import DurableServices
from tests.soak.services import Evaluation, Failure, Outcome, PureServices, World
from tests.soak.truth import demand


class Jitter:
    """The die of one call, thrown once and shown to both sides, however often they look at it.

    The store takes a step of its own where an override ends; the model takes it with the next one.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._thrown = 0.0

    def __call__(self) -> float:
        return self._thrown

    def anew(self) -> None:
        """The next call."""
        self._thrown = self._world.random.random()


class LockstepServices(DurableServices):
    """:class:`DurableServices`, each answer and state of which the model confirms."""

    def __init__(self, world: World, url: str, root: Path, *, trouble: float = 0.05) -> None:
        self._dice = Jitter(world)
        self.model = PureServices(world, jitter=self._dice)
        # The model's position at the moment at which the real ledger stood there.
        self._positions = {0: 0}
        super().__init__(world, url, root, trouble=trouble, jitter=self._dice)

    def _both(self, real: Callable[[], Outcome], model: Callable[[], Outcome]) -> Outcome:
        self._dice.anew()
        outcome = real()
        if not outcome.applied:
            return outcome
        expected = model()
        for what in ("moves", "explained", "heals"):
            did, should = getattr(outcome, what), getattr(expected, what)
            demand(did == should, f"{what}: the store {did}, the model {should}")
        if not outcome.died:  # The dead have not told what they were answered.
            same = replace(outcome, died=False) == expected
            demand(same, f"the store answered {outcome}, the model {expected}")
        return outcome

    def record(self, evaluation: Evaluation) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).record(evaluation),
            lambda: self.model.record(evaluation),
        )

    def failed(self, failure: Failure) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).failed(failure),
            lambda: self.model.failed(failure),
        )

    def recovered(self, contract: Contract, key: CircuitKey, what: str) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).recovered(contract, key, what),
            lambda: self.model.recovered(contract, key, what),
        )

    def tick(self, contract: Contract, key: CircuitKey) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).tick(contract, key),
            lambda: self.model.tick(contract, key),
        )

    def ask(
        self, contract: Contract, key: CircuitKey, holder: str, partition: str | None
    ) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).ask(contract, key, holder, partition),
            lambda: self.model.ask(contract, key, holder, partition),
        )

    def gone(self, contract: Contract, key: CircuitKey, partitions: Sequence[str]) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).gone(contract, key, partitions),
            lambda: self.model.gone(contract, key, partitions),
        )

    def block(self, contract: Contract, key: CircuitKey, reason: str) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).block(contract, key, reason),
            lambda: self.model.block(contract, key, reason),
        )

    def upstream(self, contract: Contract, key: CircuitKey, names: set[str]) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).upstream(contract, key, names),
            lambda: self.model.upstream(contract, key, names),
        )

    def force(
        self, contract: Contract | None, key: CircuitKey, kind: Override, until: datetime | None
    ) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).force(contract, key, kind, until),
            lambda: self.model.force(contract, key, kind, until),
        )

    def reset(self, contract: Contract | None, key: CircuitKey) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).reset(contract, key),
            lambda: self.model.reset(contract, key),
        )

    def circuit(self, key: CircuitKey) -> Circuit:
        found = super().circuit(key)
        demand(found == self.model.circuit(key), f"{found} is not {self.model.circuit(key)}")
        return found

    def last_valid(self, asset: str, partition: str | None) -> tuple[int, datetime] | None:
        found = super().last_valid(asset, partition)
        expected = self.model.last_valid(asset, partition)
        demand(found == expected, f"the last valid batch is {found} and not {expected}")
        return found

    # -- ledger ---------------------------------------------------------------------------------

    def position(self) -> int:
        found = super().position()
        self._positions[found] = self.model.position()
        return found

    def degrade(self, read: DegradedRead) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).degrade(read), lambda: self.model.degrade(read)
        )

    def inherit(self, consumer: Target, upstream: Target, run_id: str) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).inherit(consumer, upstream, run_id),
            lambda: self.model.inherit(consumer, upstream, run_id),
        )

    def drop(self, read: DegradedRead) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).drop(read), lambda: self.model.drop(read)
        )

    def renew(self, consumer: Target, run_id: str, *, anew: bool) -> Outcome:
        return self._both(
            lambda: super(LockstepServices, self).renew(consumer, run_id, anew=anew),
            lambda: self.model.renew(consumer, run_id, anew=anew),
        )

    def on_inherited_since(
        self, consumer: Target, upstream: Target, run_id: str, position: int
    ) -> None:
        since = self._positions[position]
        marked = self.model.inherit_since(consumer, upstream, run_id, since)
        demand(marked, f"{consumer} was marked by {upstream}, and nothing was new there")

    def on_closed(self, consumer: Target, upstream: Target, run_id: str, position: int) -> None:
        self.model.close(consumer, upstream, run_id, self._positions[position])

    def open_reads(self) -> Sequence[DegradedRead]:
        found = super().open_reads()
        known = {_plain(read) for read in found}
        expected = {_plain(read) for read in self.model.open_reads()}
        demand(known == expected, f"the ledgers differ by {known ^ expected}")
        return found

    def check(self, *, at_the_end: bool) -> None:
        super().check(at_the_end=at_the_end)
        self.model.check(at_the_end=False)
        expected = {key: [_place(t) for t in waiting] for key, waiting in self.model.to_be_told}
        demand(self.notices == expected, f"told to build anew: {self.notices}, not {expected}")
        self.open_reads()
        for key in {circuit.key for circuit in self._breaker.circuits()}:
            self.circuit(key)


def _plain(read: DegradedRead) -> DegradedRead:
    """What the model knows of a read; why it is not healed is told by the plan of healing."""
    return replace(read, id=None, read_at=None, unhealed_because=None, unhealed_since=None)


def _place(target: Target) -> str:
    consumer, partition = target
    return consumer if partition is None else f"{consumer}[{partition}]"
