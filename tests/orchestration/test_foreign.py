"""Check results of others: each counts once, and a tick reads those alone that are new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_contracts.core.circuit import Circuit, CircuitState
from dagster_contracts.orchestration.circuit_sensor import Shown
from tests.orchestration.conftest import ORDERS, Deployment


@pytest.fixture(params=["one log", "a log for each run"])
def watched(
    request: pytest.FixtureRequest, deployment: Deployment, tmp_path: Path
) -> Iterator[Deployment]:
    if request.param == "one log":
        yield deployment
        return
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        deployment.instance = instance
        yield deployment


def definitions(deployment: Deployment) -> dg.Definitions:
    return deployment.defs(deployment.asset("orders", "orders"))


def report(deployment: Deployment, *, passed: bool) -> None:
    deployment.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("orders"), check_name="schema", passed=passed, metadata={}
        )
    )


def counted(deployment: Deployment) -> int:
    (circuit,) = deployment.runtime.breaker.circuits()
    return circuit.evaluations


def test_all_results_since_the_last_tick_count_and_each_once(watched: Deployment) -> None:
    defs = definitions(watched)
    watched.run(defs, "orders")
    report(watched, passed=True)
    cursor = watched.tick(defs, "contract_circuit_sensor").cursor
    assert counted(watched) == 2

    report(watched, passed=False)
    report(watched, passed=True)
    for _ in range(3):
        cursor = watched.tick(defs, "contract_circuit_sensor", cursor).cursor

    assert counted(watched) == 4
    assert watched.state() == "open", "the failure between the ticks opened it"


def test_another_process_counts_nothing_twice(watched: Deployment) -> None:
    defs = definitions(watched)
    watched.run(defs, "orders")
    cursor = watched.tick(defs, "contract_circuit_sensor").cursor
    report(watched, passed=True)
    watched.tick(defs, "contract_circuit_sensor", cursor)
    watched.runtime.foreign_counted.clear()

    watched.tick(defs, "contract_circuit_sensor", cursor)

    assert counted(watched) == 2


def test_a_result_without_what_broke_neither_closes_nor_spends_a_try(
    deployment: Deployment,
) -> None:
    opening = 'open_when: ["schema_validation_errors > 5%", "failed_materializations >= 2"]'
    bots = 'open_when: ["bot_share > 10%", "failed_ratio.bots > 50%"]'
    waiting = ORDERS.replace(opening, bots).replace("retry_after: 10s", "retry_after: 1ms")
    waiting = waiting.replace("jitter: 0", "jitter: 0, probe: wait")
    deployment.contract(
        waiting.replace("  resilience:", "  metrics: {bot_share: ratio}\n  resilience:")
    )
    defs = definitions(deployment)

    def tick(**metadata: float) -> Circuit:
        deployment.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey("orders"), check_name="bots", passed=True, metadata=metadata
            )
        )
        deployment.tick(defs, "contract_circuit_sensor")
        (circuit,) = deployment.runtime.breaker.circuits()
        return circuit

    assert tick(bot_share=0.25).state is CircuitState.HALF_OPEN  # The millisecond is over.
    for _ in range(3):
        silent = tick()
        assert (silent.state, silent.attempts) == (CircuitState.HALF_OPEN, 1)
    assert tick(bot_share=0.01).state is CircuitState.CLOSED


def test_the_cursor_of_an_earlier_release_is_begun_anew() -> None:
    assert Shown.of('{"at": "2026-01-01T00:00:00+00:00", "bound": "x", "circuits": []}') is None
