"""What the primary's load raises: a source that is not there, or a program that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import with_contracts
from tests.orchestration.conftest import Deployment


class Troubled(dg.IOManager):
    """Keeps everything in memory, and raises what it is told to."""

    def __init__(self) -> None:
        self.stored: dict[Any, Any] = {}
        self.error: Exception | None = None

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        self.stored[context.asset_key] = obj

    def load_input(self, context: dg.InputContext) -> Any:
        if self.error is not None:
            raise self.error
        return self.stored[context.asset_key]


@pytest.fixture
def run(deployment: Deployment, tmp_path: Path) -> Any:
    manager = Troubled()

    @dg.asset
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        return orders

    defs = with_contracts(
        dg.Definitions(
            assets=[deployment.asset("orders", "orders"), revenue],
            resources={"io_manager": dg.IOManagerDefinition.hardcoded_io_manager(manager)},
            executor=dg.in_process_executor,
        ),
        contracts=deployment.resource,
    )
    deployment.run(defs, "orders")

    def run(error: Exception) -> dg.ExecuteInProcessResult:
        manager.error = error
        return deployment.run(defs, "revenue", raise_on_error=False)

    return run


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError("gone"), ConnectionRefusedError("no"), TimeoutError("late"), KeyError("x")],
)
def test_a_source_that_is_not_there_is_replaced_and_counted(
    deployment: Deployment, run: Any, error: Exception
) -> None:
    result = run(error)

    assert result.success
    (read,) = deployment.runtime.ledger.open_reads()
    assert (read.level, type(error).__name__ in read.reason) == ("last", True)
    latest = deployment.runtime.history.latest("orders", "orders")
    assert latest is not None
    assert latest.metrics["source_unavailable"] == 1


@pytest.mark.parametrize(
    "error", [TypeError("load() takes 1"), AttributeError("x"), NameError("y")]
)
def test_a_fault_of_code_is_not_hidden_behind_a_fallback(
    deployment: Deployment, run: Any, error: Exception
) -> None:
    result = run(error)

    assert not result.success
    (event,) = [e for e in result.all_events if e.is_step_failure]
    assert type(error).__name__ in str(event.step_failure_data.error)
    assert deployment.runtime.ledger.open_reads() == ()
    latest = deployment.runtime.history.latest("orders", "orders")
    assert latest is not None
    assert latest.metrics.get("source_unavailable") in (None, 0)
