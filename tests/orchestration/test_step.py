"""What is known of a running step: looked up once for all its inputs, anew for each attempt."""

from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts.orchestration import step as steps
from tests.orchestration.conftest import Deployment


def test_a_step_is_looked_up_once_for_its_inputs_and_anew_when_it_is_tried_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[tuple[str, int]] = []
    look = steps._look

    def counted(step_context: Any) -> steps.Step:
        found = look(step_context)
        looked.append((found.step_key, found.attempt))
        return found

    monkeypatch.setattr(steps, "_look", counted)

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def revenue(
        context: dg.AssetExecutionContext, orders: pd.DataFrame, order_archive: pd.DataFrame
    ) -> pd.DataFrame:
        if context.retry_number == 0:
            raise RuntimeError("flaky")
        return orders

    made = [deployment.asset(name) for name in ("orders", "order_archive")]
    deployment.run(deployment.defs(*made, revenue))

    assert sorted(one for one in looked if one[0] == "revenue") == [("revenue", 0), ("revenue", 1)]
