"""What is odd about the conditions of a contract that loads."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import zip_longest

from dagster_contracts.core.condition import (
    Both,
    Comparison,
    ComparisonOperator,
    Condition,
    alternatives_of,
    comparisons_of,
    demands_of,
    format_quantity,
    metrics_of,
    render,
)
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.metrics import spell_name
from dagster_contracts.core.near_names import near_names
from dagster_contracts.documents.problem import Findings, did_you_mean, place_of
from dagster_contracts.documents.satisfiability import Prospect, prospect
from dagster_contracts.errors import SourceLocation

_BELOW = {ComparisonOperator.LT, ComparisonOperator.LE}
_ABOVE = {ComparisonOperator.GT, ComparisonOperator.GE}


def lint_conditions(contract: Contract, findings: Findings) -> None:
    """Conditions that never or always hold, members that do not exist, unlike thresholds."""
    _prospects(contract, findings)
    _members(contract, findings)
    _thresholds(contract, findings)
    _closing(contract, findings)
    _comparisons(contract, findings)


def conditions_in(contract: Contract) -> Iterator[tuple[Condition, SourceLocation, str]]:
    """Every condition, where it stands, and what it is there for."""
    place = place_of(contract)
    if contract.resilience is not None:
        circuit = contract.resilience.circuit
        at = circuit.location or place
        groups = [
            (circuit.open_when, circuit.open_places, at, "open_when"),
            (circuit.close_when, circuit.close_places, at, "close_when"),
        ]
        for level in contract.resilience.fallbacks:
            whose, there = f"the level {level.name!r}", level.location or place
            groups.append((level.activation_conditions, level.condition_places, there, whose))
        for conditions, places, there, whose in groups:
            # A document that loads has a place for each; a policy made in Python has none.
            known = places if len(places) == len(conditions) else [there] * len(conditions)
            yield from ((c, own, whose) for c, own in zip(conditions, known, strict=True))
    for sla in contract.sla:
        if sla.condition is not None:
            yield sla.condition, sla.location or place, f"the service level {sla.property!r}"
    for action in contract.monitoring.actions:
        yield action.when, place, f"the action {action.kind.value!r}"


def _prospects(contract: Contract, findings: Findings) -> None:
    for condition, where, whose in conditions_in(contract):
        match prospect(condition):
            case Prospect.NEVER:
                findings.warning(
                    where,
                    "never-holds",
                    f"the condition {render(condition)!r} of {whose} can never hold",
                    "check the number, its unit, and the direction of the comparison",
                )
            case Prospect.ALWAYS:
                findings.warning(
                    where,
                    "always-holds",
                    f"the condition {render(condition)!r} of {whose} always holds",
                    "check the number, its unit, and the direction of the comparison",
                )
            case Prospect.SOMETIMES:
                pass


def _members(contract: Contract, findings: Findings) -> None:
    """``null_ratio.<column>`` and ``failed_ratio.<rule>`` must name what exists."""
    columns = {name for o in contract.objects for p in o.properties for name in (p.name, p.column)}
    rules = {rule.name for o in contract.objects for rule in o.all_quality()}
    # A schema rule is named column.what: failed_ratio.tailnum.required.
    for condition, where, whose in conditions_in(contract):
        for metric in sorted(metrics_of(condition)):
            measured = metric.removeprefix("anomaly_score.")
            family, _, member = measured.partition(".")
            if family == "null_ratio" and columns and member not in columns:
                findings.error(
                    where,
                    "unknown-column",
                    f"{whose} speaks of {spell_name(metric)}, and there is no column {member!r}",
                    did_you_mean(member, columns),
                )
            elif (
                family == "failed_ratio"
                and member not in rules
                and not any(member.startswith(f"{column}.") for column in columns)
            ):
                # A check that others report on the asset answers to its name too.
                alike = near_names(member, rules)
                said = findings.warning if alike else findings.note
                said(
                    where,
                    "unknown-rule",
                    f"{whose} speaks of {spell_name(metric)}, and the contract has no rule "
                    f"{member!r}",
                    did_you_mean(member, alike)
                    if alike
                    else "fine if another check of the asset has that name and reports it",
                )


def _thresholds(contract: Contract, findings: Findings) -> None:
    """A circuit that opens long after the service level is broken."""
    if contract.resilience is None:
        return
    promised = {
        sla.condition.metric: sla
        for sla in contract.sla
        if isinstance(sla.condition, Comparison) and sla.condition.hold is None
    }
    opening = [c for when in contract.resilience.circuit.open_when for c in alternatives_of(when)]
    for condition in opening:
        if condition.metric not in promised:
            continue
        sla = promised[condition.metric]
        kept = sla.condition
        assert isinstance(kept, Comparison)
        limit, opens = kept.quantity.value, condition.quantity.value
        dimension = kept.quantity.dimension
        looser = (kept.operator in _BELOW and condition.operator in _ABOVE and opens > limit) or (
            kept.operator in _ABOVE and condition.operator in _BELOW and opens < limit
        )
        tighter = (kept.operator in _BELOW and condition.operator in _ABOVE and opens < limit) or (
            kept.operator in _ABOVE and condition.operator in _BELOW and opens > limit
        )
        shown = f"{format_quantity(limit, dimension)} and {format_quantity(opens, dimension)}"
        if looser:
            findings.note(
                sla.location or place_of(contract),
                "looser-than-sla",
                f"between {shown} the service level {sla.property!r} is broken "
                "and the circuit stays closed",
                "fine if consumers should go on with such data; else lower the threshold",
            )
        elif tighter:
            findings.warning(
                sla.location or place_of(contract),
                "tighter-than-sla",
                f"the circuit opens while the service level {sla.property!r} is still kept: "
                f"{render(condition)!r} against {render(kept)!r}",
                "raise the threshold of open_when, or tighten the service level",
            )


def _closing(contract: Contract, findings: Findings) -> None:
    """A ``close_when`` that is content with what opens: it says less than ``open_when`` alone."""
    if contract.resilience is None:
        return
    circuit = contract.resilience.circuit
    demanded = [
        (condition, where, demand)
        for condition, where in zip_longest(circuit.close_when, circuit.close_places)
        for demand in demands_of(condition)
    ]
    for when in circuit.open_when:
        for opens in alternatives_of(when):
            about = [each for each in demanded if each[2].metric == opens.metric]
            # All conditions of close_when must hold, so one that is strict is enough.
            first: Condition = opens
            everything = reduce(Both, (demand for _, _, demand in about), first)
            if not about or prospect(everything) is Prospect.NEVER:
                continue
            condition, where, _ = about[0]
            findings.warning(
                where or circuit.location or place_of(contract),
                "weaker-close",
                f"the condition {render(condition)!r} of close_when holds also where "
                f"{render(opens)!r} opens the circuit, and then it does not close",
                "let it close on better data than it opens on, or leave close_when out",
            )


def _comparisons(contract: Contract, findings: Findings) -> None:
    """Equality of measured numbers hardly ever holds."""
    for condition, where, whose in conditions_in(contract):
        for comparison in comparisons_of(condition):
            exact = comparison.operator in (ComparisonOperator.EQ, ComparisonOperator.NE)
            if exact and comparison.quantity.value and comparison.metric.startswith("data_"):
                findings.note(
                    where,
                    "exact-time",
                    f"{whose} compares {comparison.metric} for equality, to the microsecond",
                    "write < or >",
                )
