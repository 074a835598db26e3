"""What a contract's circuit looks at: its policy, and the metrics that its conditions name."""

from __future__ import annotations

from dagster_contracts.core.checks import plan_checks
from dagster_contracts.core.condition import metrics_of
from dagster_contracts.core.contract import CircuitPolicy, Contract
from dagster_contracts.core.metrics import FAILED_RATIO


def policy_of(contract: Contract | None) -> CircuitPolicy:
    """The contract's policy; one that never opens where there is none."""
    if contract is None or contract.resilience is None:
        return CircuitPolicy()
    return contract.resilience.circuit


def watched_metrics(contract: Contract) -> frozenset[str]:
    """The metrics that any condition of the contract speaks of."""
    if contract.resilience is None:
        return frozenset()
    circuit = contract.resilience.circuit
    activation = [c for level in contract.resilience.levels for c in level.activation_conditions]
    conditions = (*circuit.open_when, *circuit.close_when, *activation)
    return frozenset(name for condition in conditions for name in metrics_of(condition))


def told_by_others(contract: Contract) -> frozenset[str]:
    """Those of :func:`watched_metrics` that a check of somebody else reports."""
    named = {name for name in watched_metrics(contract) if name.startswith(FAILED_RATIO)}
    if not named:
        return frozenset()
    plans = (plan_checks(contract, one) for one in contract.objects)
    return frozenset(named - {f"{FAILED_RATIO}{rule.name}" for p in plans for rule in p.rules})
