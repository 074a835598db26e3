"""A small deployment on disk, and a real Dagster instance to run it in."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import ContractsResource, contract_asset, with_contracts
from dagster_contracts.orchestration.runtime import ContractsRuntime

ORDERS = """
data_contract:
  name: orders
  version: 1.0.0
  owner: shop@example.com
  schema:
    fields:
      order_id: {type: integer, required: true, unique: true}
      amount: {type: number, required: true, minimum: 0}
      country: {type: string}
  schemas:
    order_minimum:
      fields:
        order_id: {type: integer, required: true}
        amount: {type: number, required: true}
  resilience:
    circuit_breaker:
      open_when: ["schema_validation_errors > 5%", "failed_materializations >= 2"]
      recovery: {retry_after: 10s, max_retries: 2, jitter: 0}
    fallback_modes:
      - {level: primary, source: orders}
      - {level: last, source: last_valid}
      - {level: archive, source: order_archive, schema: order_minimum}
"""

GOOD = pd.DataFrame(
    {"order_id": [1, 2, 3], "amount": [10.0, 20.0, 30.0], "country": ["DE", "FR", None]}
)
NEWER = pd.DataFrame(
    {"order_id": [4, 5, 6], "amount": [1.0, 2.0, 3.0], "country": ["DE", "DE", "DE"]}
)
BAD = pd.DataFrame(
    {"order_id": [7, 8, 9], "amount": [-1.0, None, 9.0], "country": ["DE", "FR", "IT"]}
)
ARCHIVE = pd.DataFrame({"order_id": [100], "amount": [5.0], "extra": ["x"]})


def by_partition(contract: str) -> str:
    """The same contract, each of whose partitions has a circuit."""
    return contract.replace("circuit_breaker:", "circuit_breaker:\n      scope: partition")


@dataclass
class Deployment:
    """A contracts folder, an asset folder, an instance, and what the source delivers now."""

    root: Path
    instance: dg.DagsterInstance
    delivered: dict[str, Any]

    def contract(self, text: str, name: str = "orders", version: str = "1.0.0") -> None:
        """Write a version of a contract."""
        path = self.root / "contracts" / name / f"{version}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    @property
    def resource(self) -> ContractsResource:
        """The resource, with absolute paths."""
        return ContractsResource(
            path=str(self.root / "contracts"),
            channels={"ops": f"file:{self.root / 'alerts.jsonl'}"},
        ).resolved(self.root)

    @property
    def runtime(self) -> ContractsRuntime:
        """The services, as every process of the deployment opens them."""
        return self.resource.runtime()

    def source(self, name: str) -> Any:
        """What a source delivers; an exception is raised."""
        value = self.delivered[name]
        if isinstance(value, Exception):
            raise value
        return value

    def asset(self, name: str, contract: str | None = None, **options: Any) -> dg.AssetsDefinition:
        """The asset of what a source delivers, or of what each of its partitions does.

        Where a ``contract`` is named, its batches are judged before they are stored.
        """

        def deliver() -> pd.DataFrame:
            parted = options.get("partitions_def") is not None
            return self.source(dg.AssetExecutionContext.get().partition_key if parted else name)

        if contract is None:
            return dg.asset(name=name, **options)(deliver)
        return contract_asset(contract, name=name, **options)(deliver)

    def defs(self, *assets: Any, **options: Any) -> dg.Definitions:
        """The definitions, put under contract."""
        return with_contracts(
            dg.Definitions(
                assets=list(assets),
                resources={"io_manager": dg.FilesystemIOManager(base_dir=str(self.root / "io"))},
                executor=dg.in_process_executor,
            ),
            contracts=self.resource,
            **options,
        )

    def run(
        self,
        defs: dg.Definitions,
        *names: str,
        partition: str | None = None,
        tags: dict[str, str] | None = None,
        raise_on_error: bool = True,
    ) -> dg.ExecuteInProcessResult:
        """Materialize these assets, with their checks."""
        job = defs.resolve_implicit_global_asset_job_def()
        selected = [dg.AssetKey.from_user_string(name) for name in names] or None
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=selected,
            partition_key=partition,
            tags=tags,
            raise_on_error=raise_on_error,
        )

    def state(self, contract: str = "orders") -> str:
        """The state of the contract's circuit."""
        return next(
            c.effective_state.value
            for c in self.runtime.breaker.circuits()
            if c.key.contract == contract
        )

    def tick(self, defs: dg.Definitions, sensor: str, cursor: str | None = None) -> Any:
        """One tick of a sensor."""
        context = dg.build_sensor_context(instance=self.instance, cursor=cursor, definitions=defs)
        return defs.get_sensor_def(sensor)(context)


@pytest.fixture
def deployment(tmp_path: Path, instance: dg.DagsterInstance, sqlite_template: Path) -> Deployment:
    """A deployment with the contract ``orders``, and a store in which nothing is yet."""
    (tmp_path / ".dagster_contracts").mkdir()
    shutil.copyfile(sqlite_template, tmp_path / ".dagster_contracts" / "state.db")
    made = Deployment(tmp_path, instance, {"orders": GOOD, "order_archive": ARCHIVE})
    made.contract(ORDERS)
    return made


@pytest.fixture
def checks() -> Callable[[dg.ExecuteInProcessResult], dict[str, bool]]:
    """The verdict of each check of a run, by its name."""

    def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
        return {e.check_name: e.passed for e in result.get_asset_check_evaluations()}

    return verdicts
