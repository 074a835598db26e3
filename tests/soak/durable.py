"""The real services on a database, while processes die, the database refuses and deliveries fail.

A crash is an exception at a named point of a write path that no code catches: the transaction is
rolled back, and the services are opened anew, as after a restart. What a call did is never taken
from its answer: it is read from the table of events. A call that did not reach its commit must have
left nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitKey,
    CircuitState,
    Override,
    StateTransition,
    TransitionCause,
)
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.outcome import (
    CheckOutcome,
    ContractReport,
    OutcomeKind,
    OutcomeStatus,
)
from dagster_contracts.errors import StoreError
from dagster_contracts.monitoring.alert import AlertKind, AlertState
from dagster_contracts.monitoring.alerts import AlertBook
from dagster_contracts.monitoring.dispatch import AlertDispatcher
from dagster_contracts.monitoring.inhibition import inhibited
from dagster_contracts.monitoring.news import UNDERSTOOD
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.healing import Healing, HealRequest, Target
from dagster_contracts.resilience.ledger import DegradedRead, DegradedReads
from dagster_contracts.resilience.notices import HEAL, HEAL_BY_HAND
from dagster_contracts.resilience.quarantine import Quarantine
from dagster_contracts.resilience.retention import forget_old
from dagster_contracts.resilience.snapshots import SnapshotArchive
from dagster_contracts.store.database import open_store
from dagster_contracts.store.outbox import MessageState, Outbox
from dagster_contracts.store.tables import (
    circuit_events,
    consumers,
    degraded_reads,
    observations,
    outbox,
)
from tests.soak.plan import PARTITIONS, per_cent
from tests.soak.services import Evaluation, Failure, Outcome, World
from tests.soak.truth import demand

KEPT = timedelta(days=3)
"""What ended longer ago is forgotten: far longer than any run takes."""
NOT_MOVES = ("override", "unknown_metric")
_NEWER = (
    sa.select(circuit_events)
    .where(circuit_events.c.id > sa.bindparam("last"))
    .order_by(circuit_events.c.id)
)
_TOLD = sa.select(outbox).where(outbox.c.id > sa.bindparam("last")).order_by(outbox.c.id)
_KINDS_OF_EVENTS = (
    sa.select(sa.func.max(circuit_events.c.id)),
    sa.select(sa.func.count()).select_from(observations),
    sa.select(sa.func.max(outbox.c.id)),
    sa.select(sa.func.max(degraded_reads.c.id), sa.func.count(degraded_reads.c.settled_at)),
)


def _survive_no_power_cut(connection: Any, record: Any) -> None:
    """The deaths that are simulated need no disk to be waited for."""
    connection.execute("PRAGMA synchronous = OFF")


def _began(partition: str | None) -> datetime | None:
    """When a partition begins: each is a day older than the one before it."""
    if partition is None:
        return None
    return datetime(2026, 3, 2, tzinfo=UTC) - timedelta(days=PARTITIONS.index(partition))


class Died(BaseException):
    """A process was killed; not even ``except Exception`` sees it."""


class DurableServices:
    """Circuits, ledger, healing, snapshots, quarantine, outbox and alerts over one store.

    ``trouble`` is the share of calls in which something breaks: half of them kill the caller at one
    of the named points that it passes, half have the database refuse a statement.
    """

    def __init__(
        self,
        world: World,
        url: str,
        root: Path,
        *,
        trouble: float = 0.05,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self._world = world
        self._jitter = jitter or world.random.random
        self._last = self._last_told = 0
        self.notices: dict[str, list[str]] = {}
        self._counted: set[str] = set()
        self.forgotten = 0
        self._url = url
        self._root = root
        self._trouble = trouble
        self._fuse: int | None = None
        self._hiccup: int | None = None
        self._passed = ""
        self.died: dict[str, int] = {}
        self.refused = 0
        self._calm = False
        self._open()
        self._know_consumers()

    # -- what goes wrong ------------------------------------------------------------------------

    def _open(self) -> None:
        self._store = open_store(self._url, clock=lambda: self._world.now)
        sa.event.listen(self._store._engine, "do_execute", self._maybe_refuse)
        if self._store.dialect == "sqlite":
            sa.event.listen(self._store._engine, "connect", _survive_no_power_cut)
            self._store.close()
        more: dict[str, Any] = {"checkpoint": self._maybe_die}
        self._breaker = CircuitBreaker(self._store, random=self._jitter, **more)
        self._ledger = DegradedReads(self._store, **more)
        self._healing = Healing(self._store, self._ledger, **more)
        self._archive = SnapshotArchive(self._store, self._root / "snapshots", **more)
        self._quarantine = Quarantine(self._store, self._root / "quarantine", **more)
        self._outbox = Outbox(self._store)

    def _know_consumers(self) -> None:
        """Who reads what, as the asset graph would tell it: by that alerts are explained."""
        rows = [
            {
                "place": "soak",
                "contract": upstream,
                "upstream_asset": upstream,
                "consumer_asset": asset,
                "owners": [],
                "columns": [],
                "seen_at": self._world.now,
            }
            for asset, above in self._world.above.items()
            for upstream in sorted(above)
        ]
        with self._store.begin() as conn:
            conn.execute(sa.insert(consumers), rows)

    def _maybe_die(self, name: str) -> None:
        self._passed = name
        if self._fuse is None:
            return
        self._fuse -= 1
        if self._fuse < 0:
            self._fuse = None
            self.died[name] = self.died.get(name, 0) + 1
            raise Died(name)

    def _maybe_refuse(self, cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        if self._hiccup is None:
            return
        self._hiccup -= 1
        if self._hiccup < 0:
            self._hiccup = None
            self.refused += 1
            raise self._store._engine.dialect.loaded_dbapi.OperationalError("disk I/O error")

    def _fate(self) -> None:
        """Decide how the next call ends."""
        self._fuse = self._hiccup = None
        dice = self._world.random.random()
        if self._calm or dice >= self._trouble:
            return
        if dice < self._trouble / 2:
            self._fuse = self._world.random.randrange(7)
        else:
            self._hiccup = self._world.random.randrange(12)

    def _try(self, call: Callable[[], Any]) -> tuple[Any, bool, bool]:
        """The answer, whether anything was applied, and whether the caller died."""
        self._fate()
        if self._fuse is None and self._hiccup is None:
            return call(), True, False
        fuse, hiccup, self._fuse, self._hiccup = self._fuse, self._hiccup, None, None
        before = self._print()
        self._fuse, self._hiccup = fuse, hiccup
        try:
            return call(), True, False
        except Died as death:
            applied = str(death).endswith("committed")
            self._fuse = None
            self._store.close()
            self._open()
            demand(applied or self._print() == before, f"killed at {death}, and something is left")
            return None, applied, True
        except StoreError as error:
            self._hiccup = None
            if self._passed.endswith("committed") and self._print() != before:
                return None, True, True
            demand(self._print() == before, f"refused, and something is left: {error}")
            return None, False, False
        finally:
            self._fuse = self._hiccup = None
            self._passed = ""

    def _print(self) -> tuple[object, ...]:
        """What a call that came to nothing must leave as it is."""
        with self._store.read() as conn:
            return tuple(tuple(conn.execute(query).one()) for query in _KINDS_OF_EVENTS)

    # -- circuits -------------------------------------------------------------------------------

    def _moved(
        self, contract: Contract | None, key: CircuitKey, call: Callable[[], Any]
    ) -> tuple[Any, Outcome]:
        answer, applied, died = self._try(call)
        moves = self._moves(key)
        explained, heals = self._messages(key, moves)
        return answer, Outcome(moves, explained, heals, applied=applied, died=died)

    def _messages(
        self, key: CircuitKey, moves: Sequence[StateTransition]
    ) -> tuple[tuple[tuple[str, ...], ...], int]:
        """What each new transition's one alert says of upstreams, and the new calls for healing."""
        with self._store.read() as conn:
            new = conn.execute(_TOLD, {"last": self._last_told}).all()
        if new:
            self._last_told = new[-1].id
        told = [row.payload for row in new if row.payload.get("topic") not in (None, *NOT_MOVES)]
        about = [(p["asset"], p["partition"], p["generation"]) for p in told]
        expected = [(m.key.asset, m.key.partition, m.generation) for m in moves]
        demand(about == expected, f"each transition has one alert record: {about}, {expected}")
        for row in new:
            if row.kind == HEAL_BY_HAND:
                self.notices[row.dedupe_key] = row.payload["waiting"]
        heals = sum(row.kind == HEAL and row.payload["asset"] == key.asset for row in new)
        return tuple(tuple(p["explained_by"]) for p in told), heals

    def _moves(self, key: CircuitKey) -> tuple[StateTransition, ...]:
        """The transitions among the events that are new since the last look."""
        with self._store.read() as conn:
            new = conn.execute(_NEWER, {"last": self._last}).all()
        if not new:
            return ()
        self._last = new[-1].id
        demand(all(row.asset == key.asset for row in new), "another circuit was touched")
        found = [row for row in new if row.before != row.after]
        return tuple(
            StateTransition(
                key=key,
                generation=row.generation,
                before=CircuitState(row.before),
                after=CircuitState(row.after),
                at=row.at,
                cause=TransitionCause(row.cause),
                explanation=row.explanation,
                evaluation_id=row.evaluation_id,
                actor=row.actor,
            )
            for row in found
        )

    def _read_stories(self) -> None:
        """What ledger and healing tell in the histories of circuits moves none of them."""
        with self._store.read() as conn:
            new = conn.execute(_NEWER, {"last": self._last}).all()
        demand(all(row.before == row.after for row in new), f"healing moved a circuit: {new}")
        if new:
            self._last = new[-1].id

    def record(self, evaluation: Evaluation) -> Outcome:
        contract, key, batch = evaluation.contract, evaluation.key, evaluation.batch
        report = ContractReport(
            contract=contract.name,
            version=contract.version,
            schema_object=contract.name,
            evaluation_id=evaluation.id,
            evaluated_at=evaluation.evaluated_at,
            rows=100,
            outcomes=(
                CheckOutcome(
                    check="schema",
                    rule="schema",
                    kind=OutcomeKind.SCHEMA,
                    status=OutcomeStatus.FAILED if batch.broken else OutcomeStatus.PASSED,
                ),
            ),
            asset=key.asset,
            partition=evaluation.partition,
            event_time=batch.event_time,
            metrics={
                "schema_validation_errors": per_cent(batch.broken),
                "data_freshness": per_cent(0),
            },
        )
        table = pa.table({"batch": [batch.number]})

        def call() -> Any:
            staged = self._archive.stage(key, table, kind="pyarrow", report=report)
            return self._breaker.record(
                contract,
                report,
                key=key,
                backfill=evaluation.backfill,
                probe_holder=evaluation.holder,
                also=staged.commit,
            )

        verdict, outcome = self._once(evaluation.id, *self._moved(contract, key, call))
        if verdict is None:
            return outcome
        if verdict.refused and not verdict.duplicate and evaluation.audited:
            # A batch that cannot be put aside is the loss of its run, not of a circuit's state.
            with suppress(StoreError):
                held = self._quarantine.put(key, table, report)
                demand(self._quarantine.load(held.id).equals(table), "the quarantine mixed up")
        return replace(outcome, refused=verdict.refused, duplicate=verdict.duplicate)

    def _once(self, counted: str, verdict: Any, outcome: Outcome) -> tuple[Any, Outcome]:
        """Who dies after a commit cannot tell that all of it was known before."""
        known = counted in self._counted
        if outcome.applied:
            self._counted.add(counted)
        return verdict, replace(outcome, duplicate=outcome.applied and known)

    def failed(self, failure: Failure) -> Outcome:
        def call() -> Any:
            return self._breaker.observe_failure(
                failure.contract,
                failure.key,
                run_id=failure.run_id,
                what=failure.what,
                partition=failure.partition,
                probe_holder=failure.holder,
                backfill=failure.backfill,
                began=_began if failure.made else None,
            )

        moved = self._moved(failure.contract, failure.key, call)
        verdict, outcome = self._once(failure.id, *moved)
        return outcome if verdict is None else replace(outcome, duplicate=verdict.duplicate)

    def recovered(self, contract: Contract, key: CircuitKey, what: str) -> Outcome:
        call = self._breaker.observe_recovery
        return self._moved(contract, key, lambda: call(contract, key, what))[1]

    def tick(self, contract: Contract, key: CircuitKey) -> Outcome:
        return self._moved(contract, key, lambda: self._breaker.standing(contract, key))[1]

    def ask(
        self, contract: Contract, key: CircuitKey, holder: str, partition: str | None
    ) -> Outcome:
        lease, outcome = self._moved(
            contract,
            key,
            lambda: self._breaker.ask_probe(contract, key, holder, partition=partition),
        )
        if outcome.died and outcome.applied:
            held = self._breaker.circuit(key).lease
            return replace(outcome, granted=held is not None and held.holder == holder)
        return replace(outcome, granted=lease is not None)

    def gone(self, contract: Contract, key: CircuitKey, partitions: Sequence[str]) -> Outcome:
        call = self._breaker.forget_gone
        return self._moved(contract, key, lambda: call(contract, key, partitions))[1]

    def block(self, contract: Contract, key: CircuitKey, reason: str) -> Outcome:
        call = self._breaker.block_probe
        return self._moved(contract, key, lambda: call(contract, key, reason))[1]

    def upstream(self, contract: Contract, key: CircuitKey, names: set[str]) -> Outcome:
        call = self._breaker.set_upstream
        return self._moved(contract, key, lambda: call(contract, key, names))[1]

    def force(
        self, contract: Contract | None, key: CircuitKey, kind: Override, until: datetime | None
    ) -> Outcome:
        def call() -> Any:
            return self._breaker.force(
                key, kind, actor="ann", reason="because", until=until, contract=contract
            )

        return self._moved(contract, key, call)[1]

    def reset(self, contract: Contract | None, key: CircuitKey) -> Outcome:
        def call() -> Any:
            return self._breaker.reset(key, actor="ann", reason="because", contract=contract)

        return self._moved(contract, key, call)[1]

    def circuit(self, key: CircuitKey) -> Circuit:
        return self._breaker.circuit(key)

    def last_valid(self, asset: str, partition: str | None) -> tuple[int, datetime] | None:
        found = self._archive.latest(asset, asset, partition)
        if found is None:
            return None
        (number,) = self._archive.load(found).column("batch").to_pylist()
        return number, found.kept_at

    # -- ledger and healing ---------------------------------------------------------------------

    def position(self) -> int:
        return self._ledger.position()

    def degrade(self, read: DegradedRead) -> Outcome:
        _, applied, died = self._try(lambda: self._ledger.record(read))
        return Outcome(applied=applied, died=died)

    def inherit(self, consumer: Target, upstream: Target, run_id: str) -> Outcome:
        marks, applied, died = self._try(
            lambda: self._ledger.inherit(
                consumer=consumer[0],
                consumer_partition=consumer[1],
                upstream=upstream[0],
                upstream_partition=upstream[1],
                run_id=run_id,
                pending=True,
            )
        )
        return Outcome(granted=bool(marks), applied=applied, died=died)

    def drop(self, read: DegradedRead) -> Outcome:
        dropped, applied, died = self._try(lambda: self._ledger.drop(read, "it stored nothing"))
        self._read_stories()
        return Outcome(granted=bool(dropped), applied=applied, died=died)

    def renew(self, consumer: Target, run_id: str, *, anew: bool) -> Outcome:
        _, applied, died = self._try(
            lambda: self._ledger.renew(
                consumer=consumer[0], consumer_partition=consumer[1], run_id=run_id, anew=anew
            )
        )
        return Outcome(applied=applied, died=died)

    def settle(self, consumer: Target, run_id: str, good: Sequence[tuple[Target, int]]) -> Outcome:
        for (upstream, partition), position in good:
            edge = {
                "consumer": consumer[0],
                "consumer_partition": consumer[1],
                "upstream": upstream,
                "run_id": run_id,
            }
            if self._ledger.degraded_since([upstream], position) and self._ledger.inherit(
                **edge, upstream_partition=partition, since=position
            ):
                self.on_inherited_since(consumer, (upstream, partition), run_id, position)
                continue
            _, applied, died = self._try(
                lambda edge=edge, partition=partition, position=position: self._ledger.settle(
                    **edge, upstream_partitions=[partition], up_to=position
                )
            )
            if died or not applied:
                return Outcome(applied=applied, died=died)
            self.on_closed(consumer, (upstream, partition), run_id, position)
        return Outcome()

    def on_inherited_since(
        self, consumer: Target, upstream: Target, run_id: str, position: int
    ) -> None:
        """One input became degraded while it was loaded, and its reader was marked."""

    def on_closed(self, consumer: Target, upstream: Target, run_id: str, position: int) -> None:
        """The marks of one input were closed."""

    def open_reads(self) -> Sequence[DegradedRead]:
        return self._ledger.open_reads()

    def heal(
        self, closed: Callable[[CircuitKey], bool], order: Sequence[str]
    ) -> Sequence[HealRequest]:
        # The circuits are asked first: within the plan's own transaction nobody else may write.
        known = {read.circuit for read in self._ledger.open_reads()}
        shut = {key for key in sorted(known) if not closed(key)}
        requests, _, _ = self._try(
            lambda: self._healing.due(lambda key: key in known and key not in shut, order=order)
        )
        self._read_stories()
        for request in requests or ():
            # A sensor that dies before this asks for the same run again, under the same key.
            if self._calm or self._world.random.random() > self._trouble:
                self._healing.started(request.run_key, f"healing by {request.run_key}")
        if requests is not None:
            given_up = [read for request in self._healing.given_up() for read in request.reads]
            untold = [read for read in given_up if read.unhealed_because is None]
            demand(not untold, f"given up, and nobody is told why: {untold}")
        return requests or ()

    def healed(self, request: HealRequest, *, succeeded: bool) -> None:
        self._healing.finished(request.run_key, succeeded=succeeded)

    def give_up(self) -> Sequence[HealRequest]:
        return self._healing.given_up()

    # -- alerts, and what is always true --------------------------------------------------------

    def deliver(self) -> None:
        """Collect the alerts; some messages fail, and some are claimed by one who dies with them.

        Both come back later, after younger ones: so they are delivered in any order.
        """
        if not self._calm and self._world.random.random() < 0.2:
            self._outbox.claim(2, kinds=UNDERSTOOD)
        self._fate()
        self._fuse = None
        try:
            AlertDispatcher(self._store, {}).collect()
        except StoreError:
            pass
        finally:
            self._hiccup = None

    def check(self, *, at_the_end: bool) -> None:
        self._calm = at_the_end
        self._check_silence()
        for circuit in self._breaker.circuits(as_written=True):
            demand(self._breaker.replay(circuit.key) == circuit, f"replay of {circuit.key}")
        if at_the_end:
            self._check_alerts()

    def forget(self) -> None:
        """House-keeping beside everything else; whoever dies at it leaves the rest to the next."""
        self._fate()
        try:
            done = forget_old(
                breaker=self._breaker,
                reads=self._ledger,
                healing=self._healing,
                outbox=self._outbox,
                snapshots=self._archive,
                quarantine=self._quarantine,
                kept=KEPT,
                released_for=KEPT,
            )
            self.forgotten += done.events + done.observations + done.messages
        except Died:
            self._store.close()
            self._open()
        except StoreError:
            pass
        finally:
            self._fuse = self._hiccup = None

    def _check_silence(self) -> None:
        """Nobody is told of an open circuit that one further up explains; all others are told."""
        firing = AlertBook(self._store).alerts(state=AlertState.FIRING, limit=100_000)
        opened = [alert for alert in firing if alert.labels.kind is AlertKind.CIRCUIT_OPEN]
        with self._store.read() as conn:
            silent = set(inhibited(opened, conn))
        above, assets = self._world.above, {alert.labels.asset for alert in opened}
        expected = {a.fingerprint for a in opened if above[a.labels.asset] & assets}
        demand(silent == expected, f"silent are {silent}, and not {expected}")

    def _check_alerts(self) -> None:
        """Every message was delivered, whoever died with it; what fires is what is open."""
        for _ in range(20):
            self.deliver()
            waiting = self._outbox.messages(MessageState.PENDING, limit=100_000)
            if not [m for m in waiting if m.kind.startswith("circuit.")]:
                break
            self._world.now += timedelta(hours=2)
        demand(not self._outbox.parked(), f"parked: {self._outbox.parked()}")
        book = AlertBook(self._store)
        firing = {
            (alert.labels.asset, alert.labels.partition)
            for alert in book.alerts(state=AlertState.FIRING, limit=100_000)
            if alert.labels.kind is AlertKind.CIRCUIT_OPEN
        }
        barred = {
            (circuit.key.asset, circuit.key.partition or "")
            for circuit in self._breaker.circuits()
            if circuit.state is not CircuitState.CLOSED
        }
        demand(firing == barred, f"alerts fire for {firing}, and open are {barred}")
