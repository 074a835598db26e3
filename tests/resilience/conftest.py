"""A contract, its reports, and the services over a store of either kind."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest

from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import (
    CircuitPolicy,
    Contract,
    Recovery,
    Resilience,
    SchemaObject,
)
from dagster_contracts.core.outcome import (
    CheckOutcome,
    ContractReport,
    OutcomeKind,
    OutcomeStatus,
)
from dagster_contracts.resilience.breaker import CircuitBreaker, circuit_key


def make_contract(
    *open_when,
    name="orders",
    close_when=(),
    resilient=True,
    event_time="at",
    recovery=None,
    semantic_hash="v1",
    **policy,
):
    """A contract whose circuit opens under these conditions."""
    circuit = CircuitPolicy(
        open_when=tuple(parse_condition(text) for text in open_when),
        close_when=tuple(parse_condition(text) for text in close_when),
        recovery=recovery or Recovery(jitter=Fraction(0)),
        **policy,
    )
    return Contract(
        name=name,
        version="1.0.0",
        objects=(SchemaObject(name=name),),
        event_time=event_time,
        resilience=Resilience(circuit=circuit) if resilient else None,
        semantic_hash=semantic_hash,
    )


@pytest.fixture
def contract():
    """Opens above 5% of broken rows, or when the newest event is older than half an hour."""
    return make_contract("schema_validation_errors > 5%", "data_freshness > 30min")


@pytest.fixture
def contract_of():
    """Build a contract from conditions."""
    return make_contract


@pytest.fixture
def key(contract):
    """The circuit of the whole asset."""
    return circuit_key(contract, "orders")


@pytest.fixture
def report(clock):
    """Build a report of now: 1,000 rows, that many per cent of them broken."""
    numbers = itertools.count(1)

    def build(broken=0, *, id=None, partition=None, failed=None, fresh=True, **metrics):  # noqa: A002
        measured = {
            "row_count": Fraction(1000),
            "schema_validation_errors": Fraction(broken, 100),
            "data_freshness": Fraction(0) if fresh else None,
        }
        outcome = CheckOutcome(
            check="schema",
            rule="id.required",
            kind=OutcomeKind.SCHEMA,
            status=OutcomeStatus.FAILED if broken else OutcomeStatus.PASSED,
            rows_tested=1000,
            failed_rows=10 * broken,
            samples=({"id": None, "note": "a\x00b"},) if broken else (),
        )
        return ContractReport(
            contract="orders",
            version="1.0.0",
            schema_object="orders",
            evaluation_id=id or f"evaluation-{next(numbers)}",
            evaluated_at=clock(),
            rows=1000,
            outcomes=(outcome,),
            asset="orders",
            partition=partition,
            event_time=clock() if fresh else None,
            metrics={**measured, **metrics},
        )

    return build


@pytest.fixture
def breaker(store):
    """A breaker whose jitter is fixed."""
    return CircuitBreaker(store, random=lambda: 0.5)
