"""A real instance and real processes: Dagster's own commands and the multiprocess executor."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd

from dagster_contracts import ContractsResource
from dagster_contracts.orchestration.runtime import ContractsRuntime
from tests.orchestration.conftest import ORDERS

LOCATION = """
import multiprocessing
import sys
from pathlib import Path

import dagster as dg
import pandas as pd

from dagster_contracts import ContractsResource, contract_asset, with_contracts

HERE = Path(__file__).parent


def delivered() -> pd.DataFrame:
    return pd.read_json(HERE / "delivered.json")


@contract_asset("orders@^1")
def orders() -> pd.DataFrame:
    return delivered()


@dg.asset
def plain_orders() -> pd.DataFrame:
    return delivered()


@dg.asset
def revenue(orders: pd.DataFrame, plain_orders: pd.DataFrame) -> pd.DataFrame:
    return orders.merge(plain_orders, on="order_id", how="inner")


defs = with_contracts(
    dg.Definitions(
        assets=[orders, plain_orders, revenue],
        jobs=[dg.define_asset_job("everything")],
        resources={{"io_manager": dg.FilesystemIOManager(base_dir=str(HERE / "io"))}},
        # Steps fork from a process that has done the imports; each still is one of its own.
        executor=dg.multiprocess_executor.configured(
            {{"start_method": {{"forkserver": {{"preload_modules": {preloaded}}}}}}}
        ),
    ),
    contracts=ContractsResource(path="contracts", store={store!r}),
)


def run(*names: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        keys = [dg.AssetKey(name) for name in names] or None
        job.execute_in_process(instance=instance, asset_selection=keys)


if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    runs = [fork.Process(target=run, args=names.split()) for names in sys.argv[1:]]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    sys.exit(any(each.exitcode for each in runs))
"""
PRELOADED = ["dagster_contracts.orchestration.definitions", "pandas"]
GOOD = [{"order_id": n, "amount": 10.0 * n, "country": "DE"} for n in (1, 2, 3)]
BAD = [{"order_id": n, "amount": -1.0, "country": "DE"} for n in (7, 8, 9)]
PATIENT = ORDERS.replace("retry_after: 10s", "retry_after: 1h")


class Project:
    """A code location in a folder, run by processes of its own."""

    def __init__(self, root: Path, *, store: str) -> None:
        self.root = root
        for name in ("orders", "plain_orders"):
            (root / "contracts" / name).mkdir(parents=True)
            text = textwrap.dedent(PATIENT).replace("name: orders", f"name: {name}")
            text = text.replace("source: orders}", f"source: {name}}}")
            (root / "contracts" / name / "1.0.0.yaml").write_text(text)
        location = LOCATION.format(store=store, preloaded=json.dumps(PRELOADED))
        (root / "location.py").write_text(location)
        (root / "home").mkdir()
        (root / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        self.store = store

    def deliver(self, rows: list[dict[str, object]]) -> None:
        (self.root / "delivered.json").write_text(json.dumps(rows))

    def run(self, *command: str) -> str:
        """What a process of its own says."""
        process = subprocess.run(
            [sys.executable, "-W", "ignore", *command],
            cwd=self.root,
            env={
                **os.environ,
                "DAGSTER_HOME": str(self.root / "home"),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )
        assert process.returncode == 0, process.stdout
        return process.stdout

    def run_here(self) -> None:
        """One run in this process."""
        runpy.run_path(str(self.root / "location.py"))["run"]()

    def runtime(self) -> ContractsRuntime:
        resource = ContractsResource(path="contracts", store=self.store)
        return resource.resolved(self.root).runtime()


def test_the_same_run_switches_under_the_multiprocess_executor(tmp_path: Path) -> None:
    project = Project(tmp_path, store="sqlite:///state/contracts.db")
    project.deliver(GOOD)
    project.run_here()
    project.deliver(BAD)

    command = ["-m", "dagster", "job", "execute", "-f", "location.py", "-j", "everything"]
    output = project.run(*command)

    assert "orders was read from last_valid of orders" in output
    assert "plain_orders was read from last_valid of plain_orders" in output
    revenue = pd.read_pickle(tmp_path / "io" / "revenue")
    assert revenue["order_id"].tolist() == [1, 2, 3]
    circuits = project.runtime().breaker.circuits()
    assert [c.effective_state.value for c in circuits] == ["open", "open"]
    reads = project.runtime().ledger.open_reads()
    assert {(r.consumer, r.upstream, r.level) for r in reads} == {
        ("revenue", "orders", "last"),
        ("revenue", "plain_orders", "last"),
    }


def test_two_runs_at_once_on_postgresql_open_the_circuit_once(
    tmp_path: Path, postgres_url: str
) -> None:
    project = Project(tmp_path, store=postgres_url)
    project.deliver(BAD)

    project.run("location.py", "orders", "orders")

    runtime = project.runtime()
    (circuit,) = runtime.breaker.circuits()
    assert circuit.generation == 1
    opened = [e for e in runtime.breaker.history(limit=50) if e.after == "open" != e.before]
    assert len(opened) == 1
    assert len(runtime.quarantine.list()) == 2
