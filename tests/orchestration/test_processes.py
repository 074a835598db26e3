"""A real instance and real processes: Dagster's own commands and the multiprocess executor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from dagster_contracts import ContractsResource
from dagster_contracts.orchestration.runtime import ContractsRuntime
from tests.orchestration.conftest import ORDERS

LOCATION = """
from pathlib import Path

import dagster as dg
import pandas as pd

from dagster_contracts import ContractsResource, contract_asset, with_contracts

HERE = Path(__file__).parent


def delivered() -> pd.DataFrame:
    return pd.read_json(HERE / "delivered.json")


{orders}


@dg.asset
def revenue(orders: pd.DataFrame) -> pd.DataFrame:
    return orders[["order_id", "amount"]].reset_index(drop=True)


defs = with_contracts(
    dg.Definitions(
        assets=[orders, revenue],
        jobs=[dg.define_asset_job("all"), dg.define_asset_job("only_orders", ["orders"])],
        resources={{"io_manager": dg.FilesystemIOManager(base_dir=str(HERE / "io"))}},
    ),
    contracts=ContractsResource(path="contracts", store={store!r}),
)
"""
AUDITED = """
@contract_asset("orders@^1")
def orders() -> pd.DataFrame:
    return delivered()
"""
PLAIN = """
@dg.asset
def orders() -> pd.DataFrame:
    return delivered()
"""
GOOD = [{"order_id": n, "amount": 10.0 * n, "country": "DE"} for n in (1, 2, 3)]
BAD = [{"order_id": n, "amount": -1.0, "country": "DE"} for n in (7, 8, 9)]


class Project:
    """A code location in a folder, run with Dagster's own commands."""

    def __init__(self, root: Path, *, orders: str, store: str) -> None:
        self.root = root
        (root / "contracts" / "orders").mkdir(parents=True)
        (root / "contracts" / "orders" / "1.0.0.yaml").write_text(textwrap.dedent(ORDERS))
        (root / "location.py").write_text(LOCATION.format(orders=orders, store=store))
        (root / "home").mkdir()
        (root / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        self.store = store

    def deliver(self, rows: list[dict[str, object]]) -> None:
        (self.root / "delivered.json").write_text(json.dumps(rows))

    def start(self, job: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dagster", "job", "execute", "-f", "location.py", "-j", job],
            cwd=self.root,
            env={**os.environ, "DAGSTER_HOME": str(self.root / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, job: str) -> str:
        process = self.start(job)
        output, _ = process.communicate(timeout=400)
        assert process.returncode == 0, output
        return output

    def revenue(self) -> list[int]:
        ids: list[int] = pd.read_pickle(self.root / "io" / "revenue")["order_id"].tolist()
        return ids

    def runtime(self) -> ContractsRuntime:
        resource = ContractsResource(path="contracts", store=self.store)
        return resource.resolved(self.root).runtime()


@pytest.fixture(params=["audited", "plain"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    orders = AUDITED if request.param == "audited" else PLAIN
    return Project(tmp_path, orders=orders, store="sqlite:///state/contracts.db")


def test_the_same_run_switches_under_the_multiprocess_executor(project: Project) -> None:
    project.deliver(GOOD)
    project.run("all")
    project.deliver(BAD)

    output = project.run("all")

    assert "was read from last_valid of orders" in output
    assert project.revenue() == [1, 2, 3]
    (circuit,) = project.runtime().breaker.circuits()
    assert circuit.effective_state.value == "open"
    (read,) = project.runtime().ledger.open_reads()
    assert (read.consumer, read.level) == ("revenue", "last")


def test_two_runs_at_once_on_postgresql_open_the_circuit_once(
    tmp_path: Path, postgres_url: str
) -> None:
    project = Project(tmp_path, orders=AUDITED, store=postgres_url)
    project.deliver(GOOD)
    project.run("all")
    project.deliver(BAD)

    both = [project.start("only_orders"), project.start("only_orders")]
    for process in both:
        output, _ = process.communicate(timeout=400)
        assert process.returncode == 0, output

    runtime = project.runtime()
    (circuit,) = runtime.breaker.circuits()
    assert circuit.generation == 1
    opened = [e for e in runtime.breaker.history(limit=50) if e.after == "open" != e.before]
    assert len(opened) == 1
    assert len(runtime.quarantine.list()) == 2
