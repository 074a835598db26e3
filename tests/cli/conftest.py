"""A project as users have it: a contracts folder, data, and the command run in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dagster_contracts.cli.main import cli
from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.core.contract import Contract
from dagster_contracts.documents.folder import read_folder
from dagster_contracts.engine.validation import validate
from dagster_contracts.resilience.breaker import BreakerVerdict, CircuitBreaker
from dagster_contracts.store.database import Store, open_store

ORDERS = """\
data_contract:
  name: orders
  version: {version}
  owner: shop
  description: What was ordered
  schema:
    fields:
      order_id: {{type: integer, required: true, unique: true}}
      amount: {{type: number, required: true, minimum: 0}}
      discount: {{type: number}}
      ordered_at: {{type: timestamp, required: true}}
  consumers:
    - {{name: revenue, columns: [amount]}}
    - {{name: campaigns, columns: [discount]}}
  resilience:
    circuit_breaker:
      open_when: [schema_validation_errors > 5%]
      recovery: {{retry_after: 15min, max_retries: 3, jitter: 0}}
    fallback_modes:
      - {{level: primary, source: orders}}
      - {{level: last_valid, source: last_valid}}
"""

PRICES = """\
data_contract:
  name: prices
  version: 1.0.0
  schema:
    fields:
      product: {type: string, required: true}
      price: {type: number, required: true}
"""

GOOD = """\
order_id,amount,discount,ordered_at
1,5.0,,2026-03-01T05:00:00Z
2,7.5,0.5,2026-03-01T05:30:00Z
"""

BAD = """\
order_id,amount,discount,ordered_at
1,5.0,,2026-03-01T05:00:00Z
1,-2.0,0.5,2026-03-01T05:30:00Z
3,,0.5,2026-03-01T05:40:00Z
"""


@dataclass(frozen=True)
class Ran:
    """What one call of the command did."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Its stdout as JSON."""
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Project:
    """A folder in which the command is run."""

    root: Path

    def run(self, *arguments: str, **env: str) -> Ran:
        """Run ``dagster-contracts`` in the project; an exception that is not its own is raised."""
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False, env=env)
        return Ran(result.exit_code, result.stdout, result.stderr)

    def write(self, path: str, text: str) -> Path:
        """Write a file below the root."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    @property
    def state(self) -> Path:
        """Where the state is kept unless something else is said."""
        return self.root / ".dagster_contracts" / "state.db"

    def contract(self, ref: str = "orders") -> Contract:
        """A contract of the project."""
        return read_folder(self.root / "contracts").resolve(ref)

    def store(self) -> Store:
        """The state store, created if need be."""
        return open_store(f"sqlite:///{self.state}")

    def evaluate(
        self, data: str, *, asset: str = "orders", partition: str | None = None
    ) -> BreakerVerdict:
        """Count an evaluation of a data file, as a run does."""
        contract = self.contract()
        report = validate(str(self.root / data), contract, asset=asset, partition=partition)
        store = self.store()
        try:
            key = CircuitKey("orders", asset, partition)
            return CircuitBreaker(store).record(contract, report, key=key, run_id="run-1")
        finally:
            store.close()


@pytest.fixture
def empty_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty folder, which is the working directory; nothing is set in the environment."""
    for name in ("PATH", "STORE", "ARCHIVE", "ACTOR", "ALLOW_ENV"):
        monkeypatch.delenv(f"DAGSTER_CONTRACTS_{name}", raising=False)
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    return Project(root)


@pytest.fixture
def project(empty_project: Project) -> Project:
    """Two contracts and two data files."""
    empty_project.write("contracts/orders/1.0.0.yaml", ORDERS.format(version="1.0.0"))
    empty_project.write("contracts/prices/1.0.0.yaml", PRICES)
    empty_project.write("good.csv", GOOD)
    empty_project.write("bad.csv", BAD)
    return empty_project
