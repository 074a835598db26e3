"""A deployment in time: runs, sensors, operators, crashes and clocks, one event after another.

A run is a generator: between two of its steps anything else may happen, and a run that dies is
simply never resumed. What the package is asked goes through :class:`Services`; what it answers is
held against the truth that is kept here.
"""

from __future__ import annotations

import functools
from collections import Counter, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeVar

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitKey,
    CircuitState,
    Override,
    StateTransition,
)
from dagster_contracts.core.condition import Observation
from dagster_contracts.core.contract import Contract, HealMode, SourceKind
from dagster_contracts.core.routing import LevelStatus, Route, activation_of, choose_route
from dagster_contracts.resilience.healing import HealRequest, Target
from dagster_contracts.resilience.ledger import DegradedRead
from dagster_contracts.resilience.wake import clock_metrics
from tests.soak.plan import PARTITIONS, Asset, Terms, contract_of, edited, plan_assets
from tests.soak.services import Evaluation, Failure, Outcome, Services
from tests.soak.truth import Batch, Guard, Stored, demand, expected_level

REMEMBERED = 40
MADE_NOTHING = "failed_materializations"
NOT_THERE = "source_unavailable"
AT_ONCE = 50
"""How many runs are under way at most, beside probes and healing."""

RESENT_WITHIN = timedelta(days=2)
"""Later than that the store may have forgotten what it was sent."""

T = TypeVar("T")
Answer = Generator[None, None, T]
"""The steps of a run, and what comes of them."""
Loaded = tuple[bool, bool] | None
"""Whether what was loaded is degraded, and whether its reader is marked; ``None``: no input."""


@dataclass
class Live:
    """A run under way, and what it was started for."""

    run_id: str
    steps: Answer[None]
    holder: str | None = None
    request: HealRequest | None = None


class Deployment:
    """The simulated world. ``step`` lets one thing happen; ``settle_down`` mends everything."""

    def __init__(
        self,
        seed: int,
        open_services: Callable[[Deployment], Services],
        *,
        contracts: int = 30,
        plain: int = 170,
    ) -> None:
        self.random = Random(seed)
        self.now = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
        self.assets = plan_assets(self.random, contracts, plain)
        self.names = list(self.assets)
        self.governed = [name for name in self.names if self.assets[name].terms is not None]
        self.contracts: dict[str, Contract] = {
            n: contract_of(self.assets[n]) for n in self.governed
        }
        self.above = self._ancestors()
        self._editions = {(name, 0): self._terms(name) for name in self.governed}
        self.stored: dict[Target, Stored] = {}
        self.guards: dict[CircuitKey, Guard] = {}
        self.deleted: set[Target] = set()
        self.heals: Counter[CircuitKey] = Counter()
        self.sick: set[str] = set()
        self.runs: list[Live] = []
        self.flying: dict[str, HealRequest] = {}
        # What a run has marked and not stored yet; and what each run has stored.
        self.building: dict[str, Target] = {}
        self.made: set[tuple[str, Target]] = set()
        self.launched: dict[str, str] = {}
        self.sent: deque[Evaluation] = deque(maxlen=500)
        self._trace: deque[tuple[int, datetime, str, tuple[object, ...]]] = deque(maxlen=REMEMBERED)
        self.counts: Counter[str] = Counter()
        self.events = 0
        self._serial = 0
        self._calm = False
        self.services = open_services(self)

    # -- one event after another ----------------------------------------------------------------

    def run(self, events: int) -> None:
        """Let that many things happen, then mend everything and see that all is well."""
        while self.events < events:
            self.step()
        self.settle_down()

    def step(self) -> None:
        """Let one thing happen."""
        self.events += 1
        random = self.random
        self._let_time_pass()
        dice = random.random()
        if dice < 0.60 and self.runs:
            self._resume(random.randrange(len(self.runs)))
        elif dice < 0.75 and len(self.runs) < AT_ONCE:
            self._start(random.choice(self.names if random.random() < 0.5 else self.governed))
        elif dice < 0.90:
            self._look(self._some_circuit())
        elif dice < 0.93:
            self._send_again()
        elif dice < 0.95:
            self._change_health()
        elif dice < 0.975:
            self._tell_of_upstream(self._some_circuit())
        elif dice < 0.9775:
            # It looks at all that is degraded: in a large deployment half of the work, if oftener.
            self._heal()
        elif dice < 0.984:
            self._operate(self._some_circuit())
        elif dice < 0.986:
            self._edit(random.choice(self.governed))
        elif dice < 0.99 and self.runs:
            self._kill(random.randrange(len(self.runs)))
        elif dice < 0.991:
            self._delete_or_restore()
        elif dice < 0.992:
            self.services.forget()
        else:
            self.services.deliver()
        if self.events % 5000 == 0:
            self.services.check(at_the_end=False)
        if self.events % 500 == 0:
            self._demand_nothing_forgotten()

    def _let_time_pass(self) -> None:
        dice = self.random.random()
        if dice < 0.005:
            self.note("the clock is turned back")
            self.now -= timedelta(seconds=self.random.randint(1, 20))
        elif dice < 0.01:
            self.now += timedelta(minutes=self.random.randint(1, 240))
        else:
            self.now += timedelta(milliseconds=self.random.randint(1, 4000))

    # -- runs -----------------------------------------------------------------------------------

    def _start(
        self,
        name: str,
        partition: str | None = None,
        *,
        holder: str | None = None,
        request: HealRequest | None = None,
    ) -> None:
        asset = self.assets[name]
        if partition is None and asset.partitioned:
            partition = self.random.choice(PARTITIONS)
        if (name, partition) in self.deleted:
            self._ended(request, succeeded=False)  # Nobody can make it.
            return
        run_id = f"run {self._number()}"
        self.note(
            "{} of {}[{}] starts ({})", run_id, name, partition, holder or request or "by itself"
        )
        self.counts["runs"] += 1
        steps = self._run(asset, partition, run_id, holder, request)
        self.runs.append(Live(run_id, steps, holder, request))
        if holder is not None:
            self.launched[holder] = run_id

    def _resume(self, index: int) -> None:
        live = self.runs[index]
        try:
            next(live.steps)
        except StopIteration:
            self.runs[index] = self.runs[-1]
            self.runs.pop()
            self.building.pop(live.run_id, None)

    def _kill(self, index: int) -> None:
        live = self.runs.pop(index)
        live.steps.close()  # type: ignore[attr-defined]
        self.building.pop(live.run_id, None)
        self.note("{} is killed", live.run_id)
        self.counts["killed runs"] += 1
        self._ended(live.request, succeeded=False)

    def _ended(self, request: HealRequest | None, *, succeeded: bool) -> None:
        if request is not None:
            self.services.healed(request, succeeded=succeeded)
            self.flying.pop(request.run_key, None)

    def _run(
        self,
        asset: Asset,
        partition: str | None,
        run_id: str,
        holder: str | None,
        request: HealRequest | None,
    ) -> Answer[None]:
        succeeded = yield from self._made(asset, partition, run_id, holder)
        self._ended(request, succeeded=succeeded)

    def _made(
        self, asset: Asset, partition: str | None, run_id: str, holder: str | None
    ) -> Answer[bool]:
        """One run: read the inputs, make a batch, have it judged, store it, settle."""
        target = (asset.name, partition)
        edges: dict[Target, bool] = {}
        good: list[tuple[Target, int]] = []
        for name in asset.inputs:
            upstream = self.assets[name]
            for part in self._partitions_read(upstream, partition):
                position = self.services.position()
                yield
                edge = (name, part)
                if upstream.terms is None:
                    read = yield from self._read_plain(target, edge, run_id)
                else:
                    read = yield from self._read_through(target, upstream, part, run_id)
                if read is None:
                    self.note("{} cannot read {}[{}]", run_id, name, part)
                    if asset.terms is not None and holder is not None:
                        yield from self._fail_to_make(asset, partition, run_id, holder)
                    return False
                tainted, marked = read
                edges[edge] = tainted
                if not marked:
                    good.append((edge, position))
        if self._breaks_down(asset):
            if asset.terms is not None:
                yield from self._fail_to_make(asset, partition, run_id, holder)
            return False
        batch = self._batch(asset, partition)
        yield
        if asset.audited:
            outcome = yield from self._evaluate(asset, partition, batch, holder)
            if outcome is None:
                return False
            if outcome.refused:
                return True  # Nothing was stored: what is there stays as it was, and its marks too.
        if not (yield from self._store(asset, target, Stored(batch, run_id, edges), good)):
            return False
        if asset.terms is not None and not asset.audited:
            yield
            outcome = yield from self._evaluate(asset, partition, batch, holder)
            return outcome is not None
        return True

    def _store(
        self, asset: Asset, target: Target, stored: Stored, good: list[tuple[Target, int]]
    ) -> Answer[bool]:
        """Store what was made, and close the marks of what was read from good data."""
        run_id = stored.run_id
        if not asset.stores_itself:
            renewed = self.services.renew(target, run_id, anew=True)
            if not renewed.applied or renewed.died:
                return False
        self.stored[target] = stored
        self.made.add((run_id, target))
        self.building.pop(run_id, None)
        self.note("{} stored {}: {}", run_id, target, stored)
        yield
        # The hook of a step that succeeded.
        for call in (
            lambda: self.services.renew(target, run_id, anew=False),
            lambda: self.services.settle(target, run_id, good),
        ):
            outcome = call()
            if outcome.died or not outcome.applied:
                return False
        return True

    def _partitions_read(self, upstream: Asset, partition: str | None) -> tuple[str | None, ...]:
        if not upstream.partitioned:
            return (None,)
        return (partition,) if partition is not None else PARTITIONS

    def _batch(self, asset: Asset, partition: str | None) -> Batch:
        random = self.random
        bad = asset.name in self.sick and random.random() < 0.9
        broken: int | None = random.choice((6, 10, 30, 100)) if bad else random.choice((0, 0, 0, 3))
        if self._calm:
            broken = 0
        elif random.random() < 0.02:
            broken = None
        age = timedelta(days=PARTITIONS.index(partition) if partition else 0)
        number = self._number()
        return Batch(number, broken, self.now, self.now - age)

    def _breaks_down(self, asset: Asset) -> bool:
        often = 0.15 if asset.name in self.sick else 0.01
        return not self._calm and self.random.random() < often

    def _evaluate(
        self, asset: Asset, partition: str | None, batch: Batch, holder: str | None
    ) -> Answer[Outcome | None]:
        """Send one evaluation in, now or later, once or twice, from a machine of its own clock."""
        terms = self.assets[asset.name].terms
        assert terms is not None
        wrong = 5 * 3600 if self.random.random() < 0.1 else 20
        skew = timedelta(seconds=0 if self._calm else self.random.randint(-wrong, wrong))
        evaluation = Evaluation(
            id=f"evaluation {batch.number}",
            contract=self.contracts[asset.name],
            key=self.key(asset.name, partition),
            batch=batch,
            partition=partition,
            evaluated_at=self.now + skew,
            holder=holder,
            backfill=self._is_backfill(asset, partition),
            audited=asset.audited,
        )
        while self.random.random() < 0.3:
            yield
        self.sent.append(evaluation)
        for _ in range(3):
            outcome = self._record(evaluation)
            if outcome.died:
                return None
            if outcome.applied:
                return outcome
            yield
        return None

    def _is_backfill(self, asset: Asset, partition: str | None) -> bool:
        assert asset.terms is not None
        old = partition in PARTITIONS[1:] and not self._calm
        return old and not asset.terms.by_partition and self.random.random() < 0.3

    def _record(self, evaluation: Evaluation) -> Outcome:
        guard = self.guard(evaluation.key)
        barred, through = guard.barred, guard.lets_through
        outcome = self.services.record(evaluation)
        self.note("{} {} by {}: {}", evaluation.key, evaluation.batch, evaluation.holder, outcome)
        if not outcome.applied:
            return outcome
        moves = self._bind(evaluation.key, evaluation.contract, outcome)
        if outcome.duplicate:
            guard.took(moves, self.now)
            return outcome
        self.counts["evaluations"] += 1
        guard.observed(
            evaluation.batch,
            evaluation.partition,
            evaluation.holder,
            evaluation.backfill,
            self.now,
            moves,
        )
        if outcome.refused:
            broken = evaluation.batch.broken
            demand(broken is None or broken > guard.terms.limit, "a good batch was refused")
            demand(guard.override[0] != "forced_closed", "refused though it was forced closed")
        elif through and not barred and guard.barred and not outcome.died:
            demand(False, "a batch opened the circuit and was published")
        return outcome

    def _fail_to_make(
        self, asset: Asset, partition: str | None, run_id: str, holder: str | None
    ) -> Answer[None]:
        yield from self._fail(
            Failure(
                contract=self.contracts[asset.name],
                key=self.key(asset.name, partition),
                what=MADE_NOTHING,
                run_id=run_id,
                partition=partition,
                holder=holder,
                backfill=self._is_backfill(asset, partition),
                made=True,
            )
        )

    def _fail(self, failure: Failure) -> Answer[None]:
        contract, key = failure.contract, failure.key
        outcome = self.services.failed(failure)
        self.note("{}: {}", failure, outcome)
        if outcome.applied:
            moves = self._bind(key, contract, outcome)
            if outcome.duplicate:
                self.guard(key).took(moves, self.now)
            else:
                self.guard(key).failed(
                    failure.what,
                    failure.partition,
                    failure.holder,
                    self.now,
                    moves,
                    backfill=failure.backfill,
                    made=failure.made,
                )
        yield

    # -- reads ----------------------------------------------------------------------------------

    def _read_plain(self, target: Target, edge: Target, run_id: str) -> Answer[Loaded]:
        """Of an asset without a contract: whether it was degraded, and whether that was marked."""
        if edge not in self.stored:
            return None
        tainted = self.stored[edge].tainted
        outcome = self.services.inherit(target, edge, run_id)
        if outcome.died or not outcome.applied:
            return None
        if outcome.granted:
            self.building[run_id] = target
        yield
        return tainted, outcome.granted

    def _read_through(
        self, target: Target, upstream: Asset, partition: str | None, run_id: str
    ) -> Answer[Loaded]:
        """Of an asset with a contract, as the package routes it."""
        gone = False
        while True:
            key = self.key(upstream.name, partition)
            if not self._tick(upstream.name, key):
                return None
            route = self._route(upstream, partition, None, gone=gone)
            if route is None:
                yield
                return None
            if route.level is None:
                self.counts["exhausted reads"] += 1
                return None
            level = route.level.name
            circuit = self.services.circuit(key)
            if level == "primary":
                if (upstream.name, partition) not in self.stored or self._slips():
                    gone = True
                    contract = self.contracts[upstream.name]
                    yield from self._fail(
                        Failure(contract, key, NOT_THERE, run_id, partition, None)
                    )
                    continue
                if not self._loaded(upstream.name, key):
                    return None
                self.counts["primary reads"] += 1
                tainted = self.stored[upstream.name, partition].tainted
                marked = self.services.inherit(target, (upstream.name, partition), run_id)
                if marked.died or not marked.applied:
                    return None
                if marked.granted:
                    self.building[run_id] = target
                yield
                return tainted, marked.granted
            self.counts["degraded reads"] += 1
            yield
            outcome = self.services.degrade(
                DegradedRead(
                    circuit=key,
                    consumer=target[0],
                    consumer_partition=target[1],
                    upstream=upstream.name,
                    upstream_partition=partition,
                    level=level,
                    source=level,
                    reason=route.reason.value,
                    run_id=run_id,
                    generation=circuit.generation,
                    pending=True,
                )
            )
            if outcome.died or not outcome.applied:
                return None
            self.building[run_id] = target
            yield
            return True, True

    def _loaded(self, name: str, key: CircuitKey) -> bool:
        """The primary was loaded: what could not be loaded before is in a row no more."""
        if not self.services.circuit(key).in_a_row(NOT_THERE):
            demand(not self.guard(key).fails(NOT_THERE), f"{key} has forgotten what failed")
            return True
        contract = self.contracts[name]
        outcome = self.services.recovered(contract, key, NOT_THERE)
        self.note("{} can be read again: {}", key, outcome)
        if outcome.applied:
            self.guard(key).recovered(NOT_THERE, self.now, self._bind(key, contract, outcome))
        return outcome.applied and not outcome.died

    def _route(
        self, asset: Asset, partition: str | None, holder: str | None, *, gone: bool = False
    ) -> Route | None:
        """What the package chooses, held against what must be served; ``None``: it did not answer.

        Called right after a tick, as every read of the package begins with one.
        """
        asset = self.assets[asset.name]
        terms = asset.terms
        assert terms is not None
        key = self.key(asset.name, partition)
        contract = self.contracts[asset.name]
        circuit = self.services.circuit(key)
        guard = self.guard(key)
        seen = circuit.observations
        aged = {
            **(seen[-1].metrics if seen else {}),
            **clock_metrics(circuit, contract, self.now),
        }
        window = (*seen, Observation(self.now, aged, check=False))
        usable: dict[str, bool] = {}
        statuses = []
        resilience = contract.resilience
        assert resilience is not None
        for level in resilience.levels:
            if level.source.kind is SourceKind.PRIMARY:
                why = "it could not be loaded" if gone else None
                statuses.append(LevelStatus(level=level, unavailable_reason=why))
                continue
            exists, barred, age = self._facts(level.name, asset, partition)
            if exists is None:
                return None
            young = level.max_age is None or (age is not None and age <= level.max_age)
            usable[level.name] = exists and not barred and young
            shut = level.name != "last_valid" and self._shut(level.name, partition)
            statuses.append(
                LevelStatus(
                    level=level,
                    exists=exists,
                    circuit_open=shut,
                    age=age,
                    activation=activation_of(level, window),
                )
            )
        lease = circuit.lease
        demand(circuit.attempts == guard.attempts, f"{circuit.attempts} and not {guard.attempts}")
        override = circuit.override.value
        demand(override == guard.override[0], f"{key} is {override} and not {guard.override}")
        holds = holder is not None and lease is not None and lease.holder == holder
        route = choose_route(statuses, circuit, holds_lease=holds, now=self.now)
        probing = guard.lets_probe(holder, circuit.state)
        expected = expected_level(
            asset, guard, usable=usable, primary=not gone, probing=probing and holds
        )
        served = route.level.name if route.level else None
        demand(
            served != "primary" or guard.lets_through or probing,
            f"{key} served the primary that its circuit forbids",
        )
        demand(served == expected, f"{key} served {served} and not {expected}: {route}")
        return route

    def _facts(
        self, name: str, asset: Asset, partition: str | None
    ) -> tuple[bool | None, bool, timedelta | None]:
        """Of a fallback: whether it exists (``None``: nobody answered), is barred, and its age."""
        if name == "last_valid":
            kept = self.services.last_valid(asset.name, partition)
            return kept is not None, False, None if kept is None else self.now - kept[1]
        source = self.assets[name]
        part = self._part(source, partition)
        if source.terms is not None and not self._tick(name, self.key(name, part)):
            return None, False, None
        found = self.stored.get((name, part))
        barred = source.terms is not None and not self.guard(self.key(name, part)).lets_through
        return found is not None, barred, None if found is None else self.now - found.batch.made_at

    def _shut(self, name: str, partition: str | None) -> bool:
        source = self.assets[name]
        if source.terms is None:
            return False
        circuit = self.services.circuit(self.key(name, self._part(source, partition)))
        return circuit.effective_state is not CircuitState.CLOSED

    def _part(self, source: Asset, partition: str | None) -> str | None:
        return (partition or PARTITIONS[0]) if source.partitioned else None

    # -- sensors, operators, people -------------------------------------------------------------

    def _tick(self, name: str, key: CircuitKey) -> bool:
        contract = self.contracts[name]
        outcome = self.services.tick(contract, key)
        if outcome.moves:
            self.note("{} ticks: {}", key, outcome)
        if outcome.applied and self._known(key):
            self.guard(key).ticked(self.now, self._bind(key, contract, outcome))
        return outcome.applied and not outcome.died

    def _look(self, key: CircuitKey) -> None:
        """The sensor looks at a circuit, and starts its probe."""
        name = key.asset
        if not self._tick(name, key):
            return
        circuit = self.services.circuit(key)
        if circuit.lease is not None:
            demand(self.guard(key).lease is not None, f"a lease that nobody holds: {circuit.lease}")
        if circuit.effective_state is CircuitState.EXHAUSTED:
            self._forget_gone(key, circuit)
        if circuit.effective_state is not CircuitState.HALF_OPEN:
            return
        contract = self.contracts[name]
        *dropped, holder = circuit.probe_names
        if circuit.lease is not None:
            if self._slips():
                self._ask_too(key)
            # The sensor of another machine may have started it, or found how it ended.
            elif circuit.lease.holder in circuit.probe_names and self.random.random() < 0.5:
                self._follow_probe(key, circuit.lease.holder)
            return
        under_way = [live.holder for live in self.runs if live.holder in dropped]
        if under_way:
            self._ask(key, contract, str(under_way[0]), None)  # It goes on.
            return
        if not self._forget_gone(key, circuit):
            return
        read = circuit if self._slips() else self.services.circuit(key)
        partition = self._to_probe(key, read.awaited_partition)
        if (name, partition) in self.deleted or self._slips():
            self._block(key, contract, circuit)
            return
        outcome = self._ask(key, contract, holder, partition)
        if outcome.granted and not outcome.died:
            self.counts["probes"] += 1
            demand(holder not in self.launched, f"{holder} was started, and Dagster does it once")
            if self._slips():
                self._block(key, contract, self.services.circuit(key))
                return
            # A run may be executed again by hand, with its tags, for another partition.
            by_hand = key.partition is None and not self._calm and self.random.random() < 0.1
            self._start(name, None if by_hand else partition, holder=holder)

    def _forget_gone(self, key: CircuitKey, circuit: Circuit) -> bool:
        """The sensor says which bad partitions do not exist any more."""
        named = [bad.name for bad in circuit.bad_partitions]
        gone = [name for name in named if (key.asset, name) in self.deleted]
        if not gone:
            return True
        contract = self.contracts[key.asset]
        outcome = self.services.gone(contract, key, gone)
        self.note("{} does not wait for {}: {}", key, gone, outcome)
        if outcome.applied:
            self.counts["forgotten partitions"] += len(gone)
            self.guard(key).gone(gone, self.now, self._bind(key, contract, outcome))
        after = self.services.circuit(key)
        left = {bad.name for bad in after.bad_partitions} & set(gone)
        demand(not outcome.applied or not left, f"{key} waits for {left}, which nobody can make")
        return outcome.applied and not outcome.died and after.generation == circuit.generation

    def _ask_too(self, key: CircuitKey) -> None:
        """Another process wants to be the probe while one is under way."""
        self._ask(key, self.contracts[key.asset], f"another {self._number()}", key.partition)

    def _ask(
        self, key: CircuitKey, contract: Contract, holder: str, partition: str | None
    ) -> Outcome:
        outcome = self.services.ask(contract, key, holder, partition)
        self.note("{} is asked for a probe by {} of {}: {}", key, holder, partition, outcome)
        if outcome.applied:
            moves = self._bind(key, contract, outcome)
            self.guard(key).asked(holder, partition, outcome.granted, self.now, moves)
        return outcome

    def _follow_probe(self, key: CircuitKey, holder: str) -> None:
        """Start the run of a probe whose sensor died; one that ended without a verdict was bad."""
        run_id = self.launched.get(holder)
        if run_id is None:
            partition = self._to_probe(key, self.services.circuit(key).awaited_partition)
            self._start(key.asset, partition, holder=holder)
        elif not any(live.run_id == run_id for live in self.runs):
            self.counts["probes without a verdict"] += 1
            contract = self.contracts[key.asset]
            for _ in self._fail(Failure(contract, key, MADE_NOTHING, run_id, None, holder)):
                pass

    def _slips(self) -> bool:
        return not self._calm and self.random.random() < 0.05

    def _block(self, key: CircuitKey, contract: Contract, circuit: Circuit) -> None:
        """The sensor finds that it cannot start the probe."""
        reason = self.random.choice(("its partition is gone", "there is no job for it"))
        if circuit.probe_blocked == reason and circuit.lease is None:
            return  # That is known, and nothing is written.
        outcome = self.services.block(contract, key, reason)
        self.note("no probe of {} ({}): {}", key, reason, outcome)
        if outcome.applied:
            self.counts["blocked probes"] += 1
            self.guard(key).blocked(self.now, self._bind(key, contract, outcome))

    def _to_probe(self, key: CircuitKey, opened: str | None) -> str | None:
        """The partition that opened the circuit, if it still exists; else any."""
        if key.partition is not None or not self.assets[key.asset].partitioned:
            return key.partition
        gone = opened is None or (key.asset, opened) in self.deleted
        # What is known may be old: another batch has come in since.
        old = not self._calm and self.random.random() < 0.2
        return self.random.choice(PARTITIONS) if gone or old else opened

    def _send_again(self) -> None:
        """A machine that was cut off sends in once more what it had evaluated."""
        if not self.sent:
            return
        evaluation = self.random.choice(self.sent)
        if self.now - evaluation.batch.made_at < RESENT_WITHIN:
            self.counts["repetitions"] += 1
            self._record(evaluation)

    def _change_health(self) -> None:
        name = self.random.choice(self.governed)
        self.sick.symmetric_difference_update({name})
        if len(self.sick) > len(self.governed) // 3:
            self.sick.discard(self.random.choice(sorted(self.sick)))

    def _tell_of_upstream(self, key: CircuitKey) -> None:
        shut = {
            str(other)
            for other, guard in self.guards.items()
            if other.asset in self.above[key.asset] and not guard.lets_through
        }
        contract = self.contracts[key.asset]
        before = set(self.services.circuit(key).upstream)
        outcome = self.services.upstream(contract, key, shut)
        if outcome.applied and before != shut:
            moves = self._bind(key, contract, outcome)
            self.guard(key).explained(frozenset(shut), self.now, moves)

    def _operate(self, key: CircuitKey) -> None:
        contract = self.contracts[key.asset] if self.random.random() < 0.7 else None
        guard = self.guard(key)
        if self.random.random() < 0.3:
            outcome = self.services.reset(contract, key)
            self.note("{} is reset: {}", key, outcome)
            if outcome.applied:
                guard.reset(self.now, self._bind(key, contract, outcome))
            return
        kind = self.random.choice((Override.NONE, Override.NONE, *Override))
        until = None
        if kind is not Override.NONE and self.random.random() < 0.8:
            until = self.now + timedelta(minutes=self.random.randint(1, 120))
        outcome = self.services.force(contract, key, kind, until)
        self.note("{} is {} until {}: {}", key, kind, until, outcome)
        if outcome.applied:
            guard.forced(kind.value, until, self.now, self._bind(key, contract, outcome))

    def _delete_or_restore(self) -> None:
        """A partition ceases to exist, with its data; or it exists again."""
        target = (self.random.choice(self.names), self.random.choice(PARTITIONS))
        awaited = [(key.asset, bad) for key, guard in self.guards.items() for bad in guard.bad]
        if awaited and self.random.random() < 0.5:
            target = self.random.choice(awaited)
        if not self.assets[target[0]].partitioned:
            return
        self.deleted.symmetric_difference_update({target})
        self.note("{} is {}", target, "deleted" if target in self.deleted else "there again")
        self.stored.pop(target, None)
        self.counts["deleted partitions"] += target in self.deleted

    def _edit(self, name: str) -> None:
        self.assets[name] = edited(self.assets[name], self.random)
        self.contracts[name] = contract_of(self.assets[name])
        self._editions[name, self._terms(name).edition] = self._terms(name)
        self.note("{} is edited: {}", name, self.assets[name].terms)

    def _heal(self) -> None:
        """The sensor asks which runs are needed, and starts them."""
        self._follow_pending()
        closed = functools.cache(self._is_closed)
        for request in self.services.heal(closed, self.names):
            if request.run_key in self.flying:
                continue  # Dagster starts a key once.
            self.flying[request.run_key] = request
            self.counts["healing runs"] += 1
            asked = {self._terms(read.circuit.asset).heal for read in request.reads}
            demand(asked == {HealMode.RUN}, f"{request} though a contract asks for none")
            target = (request.consumer, request.partition)
            demand(target not in self.building.values(), f"{target} is being built, and healed")
            shut = [r for r in request.reads if not self.guard(r.circuit).lets_through]
            demand(not shut, f"{request} though {shut} would read the fallback again")
            self._start(request.consumer, request.partition, request=request)

    def _follow_pending(self) -> None:
        """What ended runs had marked is stored, or dropped."""
        under_way = {live.run_id for live in self.runs}
        for read in self.services.open_reads():
            if not read.pending or read.run_id in under_way:
                continue
            if (read.run_id, read.target) in self.made:
                self.services.renew(read.target, read.run_id, anew=False)
            else:
                dropped = self.services.drop(read)
                self.note("{} is dropped: {}", read, dropped)
                self.counts["dropped reads"] += dropped.granted

    def _is_closed(self, key: CircuitKey) -> bool:
        """Whether a reader would now be served the primary, and its contract asks for runs."""
        if self._terms(key.asset).heal is not HealMode.RUN:
            return False
        if not self._tick(key.asset, key):
            return False
        route = self._route(self.assets[key.asset], key.partition, None)
        return route is not None and route.level is not None and route.level.name == "primary"

    # -- the end --------------------------------------------------------------------------------

    def settle_down(self) -> None:
        """Everything is mended: every circuit closes, and all that was degraded is built anew."""
        self.note("everything is mended")
        self._calm = True
        self.sick.clear()
        self.deleted.clear()
        self._finish_runs()
        for key in sorted(self.guards):
            if self.guards[key].override[0] != "none":
                self._until(lambda key=key: self._lift(key))
        self._circuits_close()
        self._make_what_is_missing()
        for _ in range(400):
            self.now += timedelta(minutes=3)
            self._heal()
            self._finish_runs()
            waiting = {(r.consumer, r.consumer_partition) for r in self.services.open_reads()}
            if not waiting:
                break
            for request in self.services.give_up():
                self._start(request.consumer, request.partition)
            self._finish_runs()
            self._build_by_hand()
        left = sorted(
            {
                (r.consumer, r.upstream, str(r.circuit), r.via or "")
                for r in self.services.open_reads()
            }
        )
        demand(not left, f"never healed: {left}")
        tainted = [target for target, stored in self.stored.items() if stored.tainted]
        self._demand_nothing_forgotten()
        demand(not tainted, f"neither healed nor in the ledger: {tainted}")
        self.services.check(at_the_end=True)

    def _lift(self, key: CircuitKey) -> bool:
        outcome = self.services.force(self.contracts[key.asset], key, Override.NONE, None)
        if outcome.applied:
            moves = self._bind(key, self.contracts[key.asset], outcome)
            self.guard(key).forced("none", None, self.now, moves)
        return outcome.applied

    def _build_by_hand(self) -> None:
        """What the contracts leave to people, upstream first."""
        left = {
            (read.consumer, read.consumer_partition)
            for read in self.services.open_reads()
            if self._terms(read.circuit.asset).heal is not HealMode.RUN
        }
        for name, partition in sorted(left, key=lambda t: (self.names.index(t[0]), str(t[1]))):
            self._start(name, partition)
            self._finish_runs()

    def _circuits_close(self) -> None:
        """Producers deliver good batches; a person resets what gave up or waits for too long."""
        for _ in range(60):
            self.now += timedelta(hours=3)
            for name in self.names:
                if self.assets[name].terms is not None:
                    for partition in reversed(self.assets[name].partitions):
                        self._start(name, partition)
                    self._finish_runs()
            for key in sorted(self.guards):
                self._tell_of_upstream(key)
                self._look(key)
            self._finish_runs()
            if not any(guard.barred for guard in self.guards.values()):
                break
        barred = [str(key) for key, guard in self.guards.items() if guard.barred]
        demand(not barred, f"good data does not close {barred}")

    def _make_what_is_missing(self) -> None:
        """A run that could not read all its inputs may have left a mark, and nothing to heal."""
        for name, asset in self.assets.items():
            for partition in asset.partitions:
                if (name, partition) not in self.stored:
                    self._start(name, partition)
            self._finish_runs()

    def _finish_runs(self) -> None:
        while self.runs:
            self.now += timedelta(milliseconds=50)
            self._resume(self.random.randrange(len(self.runs)))

    def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            pass

    # -- bookkeeping ----------------------------------------------------------------------------

    def guard(self, key: CircuitKey) -> Guard:
        """The truth about a circuit."""
        known = self.guards.get(key)
        if known is None:
            terms = self._terms(key.asset)
            known = self.guards[key] = Guard(terms, of_partition=terms.by_partition)
        return known

    def key(self, name: str, partition: str | None) -> CircuitKey:
        """The circuit of a partition of an asset."""
        return CircuitKey(name, name, partition if self._terms(name).by_partition else None)

    def note(self, text: str, *about: object) -> None:
        """Remember what happened; it becomes words only if an invariant breaks."""
        self._trace.append((self.events, self.now, text, about))

    @property
    def trace(self) -> list[str]:
        """The last things that happened."""
        return [
            f"{number} {now:%d %H:%M:%S} {text.format(*about)}"
            for number, now, text, about in self._trace
        ]

    def _known(self, key: CircuitKey) -> bool:
        return key in self.guards

    def _bind(
        self, key: CircuitKey, contract: Contract | None, outcome: Outcome
    ) -> tuple[StateTransition, ...]:
        """Bring the guard under the version that the call was made with; the call's moves."""
        guard = self.guard(key)
        told = tuple(sorted(guard.upstream))
        expected = (told,) * len(outcome.moves)
        demand(outcome.explained == expected, f"{outcome} is explained by {told}")
        self.heals[key] += outcome.heals
        if contract is not None:
            edition = int(contract.semantic_hash.rpartition(":")[2])
            guard.bind(edition, self._editions[contract.name, edition], self.now)
        return outcome.moves

    def _terms(self, name: str) -> Terms:
        terms = self.assets[name].terms
        assert terms is not None
        return terms

    def _some_circuit(self) -> CircuitKey:
        name = self.random.choice(self.governed)
        return self.key(name, self.random.choice(self.assets[name].partitions))

    def _number(self) -> int:
        self._serial += 1
        return self._serial

    def _ancestors(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, asset in self.assets.items():
            found[name] = set(asset.inputs).union(*(found[above] for above in asset.inputs))
        return found

    def _demand_nothing_forgotten(self) -> None:
        for key, guard in self.guards.items():
            asked, due = self.heals[key], guard.restored
            demand(
                asked == due, f"{key} was given back {due} times, and asked for {asked} healings"
            )
        waiting = {(r.target, r.run_id if r.pending else None) for r in self.services.open_reads()}
        for target, stored in self.stored.items():
            # Until its run or the sensor has said so, what was stored is marked as if it were not.
            known = (target, None) in waiting or (target, stored.run_id) in waiting
            demand(
                not stored.tainted or known,
                f"{target} holds {stored}, and the ledger does not know",
            )
