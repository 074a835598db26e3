"""A contract whose evaluations are recorded by the real breaker."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import pytest

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.outcome import CheckOutcome, ContractReport, OutcomeKind, OutcomeStatus
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.monitoring.history import MetricHistory
from dagster_contracts.monitoring.scoring import score_report
from dagster_contracts.resilience.breaker import BreakerVerdict, CircuitBreaker
from dagster_contracts.store.database import Store

ORDERS = """\
data_contract:
  name: {name}
  version: "1.0.0"
  owner: team:sales
  schema:
    fields:
      - {{name: id, type: integer, required: true}}
      - {{name: sold_at, type: timestamp}}
  sla:
    freshness: "< 2h"
  resilience:
    circuit_breaker:
      open_when: ["schema_validation_errors > 5%"]
      recovery: {{retry_after: 10min, jitter: 0}}
{more}"""


def a_contract(name: str = "orders", more: str = "") -> Contract:
    """The contract of these tests, with sections added."""
    return load_contract(Path(f"{name}.yaml"), text=ORDERS.format(name=name, more=more))


@dataclass
class Pipeline:
    """Evaluations of an asset, as they come in."""

    store: Store
    clock: Callable[[], datetime]
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def evaluate(
        self,
        contract: Contract,
        *,
        asset: str | None = None,
        errors: Fraction = Fraction(0),
        rows: int | None = 1000,
        metrics: Mapping[str, Fraction | None] | None = None,
        event_time: datetime | None = None,
    ) -> BreakerVerdict:
        """Record one evaluation as orchestration does: score it, then give it to the breaker."""
        where, now = asset or contract.name, self.clock()
        failed = OutcomeStatus.FAILED if errors else OutcomeStatus.PASSED
        measured = {
            "row_count": None if rows is None else Fraction(rows),
            "schema_validation_errors": errors,
            **(metrics or {}),
        }
        report = ContractReport(
            contract=contract.name,
            version=contract.version,
            schema_object=contract.objects[0].name,
            evaluation_id=f"evaluation-{next(self.numbers)}",
            evaluated_at=now,
            rows=rows,
            outcomes=(
                CheckOutcome(
                    check="schema", rule="id.required", kind=OutcomeKind.SCHEMA, status=failed
                ),
            ),
            asset=where,
            event_time=event_time or now,
            metrics=measured,
        )
        found = score_report(MetricHistory(self.store), contract, report, asset=where)
        report = ContractReport(
            **{
                **{name: getattr(report, name) for name in report.__dataclass_fields__},
                "metrics": {**report.metrics, **found.metrics},
                "unknown_because": dict(found.unknown_because),
            }
        )
        breaker = CircuitBreaker(self.store)
        return breaker.record(contract, report, key=CircuitKey(contract.name, where))


@pytest.fixture
def pipeline(store: Store, clock: Callable[[], datetime]) -> Pipeline:
    """Evaluations into the test's store, on its clock."""
    return Pipeline(store, clock)


@pytest.fixture
def make_contract() -> Callable[..., Contract]:
    """Build the contract of these tests."""
    return a_contract
