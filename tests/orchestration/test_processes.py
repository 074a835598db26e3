"""A real instance and real processes: Dagster's own commands and the multiprocess executor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd

from dagster_contracts import ContractsResource
from dagster_contracts.orchestration.runtime import ContractsRuntime
from tests.orchestration.conftest import ORDERS

LOCATION = """
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
            {{"start_method": {{"forkserver": {{"preload_modules": ["pandas"]}}}}}}
        ),
    ),
    contracts=ContractsResource(path="contracts", store={store!r}),
)

if __name__ == "__main__":
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        keys = [dg.AssetKey(name) for name in sys.argv[1:]] or None
        job.execute_in_process(instance=instance, asset_selection=keys)
"""
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
        (root / "location.py").write_text(LOCATION.format(store=store))
        (root / "home").mkdir()
        (root / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        self.store = store

    def deliver(self, rows: list[dict[str, object]]) -> None:
        (self.root / "delivered.json").write_text(json.dumps(rows))

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", *command],
            cwd=self.root,
            env={**os.environ, "DAGSTER_HOME": str(self.root / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> str:
        output, _ = process.communicate(timeout=400)
        assert process.returncode == 0, output
        return output

    def runtime(self) -> ContractsRuntime:
        resource = ContractsResource(path="contracts", store=self.store)
        return resource.resolved(self.root).runtime()


def test_the_same_run_switches_under_the_multiprocess_executor(tmp_path: Path) -> None:
    project = Project(tmp_path, store="sqlite:///state/contracts.db")
    project.deliver(GOOD)
    project.finish(project.start("location.py"))
    project.deliver(BAD)

    command = ["-m", "dagster", "job", "execute", "-f", "location.py", "-j", "everything"]
    output = project.finish(project.start(*command))

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

    both = [project.start("location.py", "orders"), project.start("location.py", "orders")]
    for process in both:
        project.finish(process)

    runtime = project.runtime()
    (circuit,) = runtime.breaker.circuits()
    assert circuit.generation == 1
    opened = [e for e in runtime.breaker.history(limit=50) if e.after == "open" != e.before]
    assert len(opened) == 1
    assert len(runtime.quarantine.list()) == 2
