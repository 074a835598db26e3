"""What is odd about the service levels of a contract that loads."""

from __future__ import annotations

from itertools import pairwise

from dagster_contracts.core.condition import (
    Comparison,
    ComparisonOperator,
    comparisons_of,
    metrics_of,
)
from dagster_contracts.core.contract import Contract, Severity, SlaProperty
from dagster_contracts.core.level_element import NO_MOMENT, momentless
from dagster_contracts.core.metrics import OF_HISTORY, RETENTION, speaks_of_service
from dagster_contracts.core.service_levels import LIFE
from dagster_contracts.documents.problem import Findings, did_you_mean, place_of
from dagster_contracts.documents.satisfiability import Prospect, prospect
from dagster_contracts.errors import SourceLocation

#: Spans from a moment of the data or of a materialization to now.
_AGES = ("data_freshness", "data_latency", "data_retention", "materialization_age")
_WORDS = {
    "generalAvailability": "general availability begins",
    "endOfSupport": "support ends",
    "endOfLife": "life ends",
}


def lint_service_levels(contract: Contract, findings: Findings) -> None:
    """Dates out of order, elements that do not exist, levels that refuse or feed themselves."""
    _dates(contract, findings)
    _feeding(contract, findings)
    _event_time(contract, findings)
    for level in contract.sla:
        where = _place(contract, level)
        _elements(contract, level, where, findings)
        named = {n for c in (level.condition, level.warn) if c for n in metrics_of(c)}
        prop = momentless(level, contract)
        if prop is not None and prop.logical_type is not None:
            findings.warning(
                where,
                "no-moment",
                f"the service level {level.property!r} speaks of {prop.column!r}, which is of type "
                f"{prop.logical_type.value} and holds no moment: it is not evaluated",
                "name a column of type timestamp or date",
            )
        if _allows_no_age(level):
            findings.warning(
                where,
                "never-holds",
                f"the service level {level.property!r} allows "
                f"{level.text or 'no time at all'!r}, and all data has some age: it never holds",
                "write how old the data may be, such as 2h",
            )
        if level.severity is Severity.ERROR and any(map(speaks_of_service, named)):
            findings.warning(
                where,
                "refuses-for-service",
                f"a breach of the service level {level.property!r} is an error: it blocks every "
                "batch, and no batch can mend it",
                "leave severity out: a level of the service warns",
            )
        timeless = contract.event_time is None and level.element is None
        if RETENTION in named and timeless and contract.objects[0].properties:
            findings.warning(
                where,
                "event-time",
                f"the service level {level.property!r} needs an event time, "
                "and the contract has none",
                "name a column of time: element: <column>",
            )


def _dates(contract: Contract, findings: Findings) -> None:
    """General availability, end of support, end of life: in this order."""
    dated = sorted(
        (level for level in contract.sla if level.moment is not None and level.property in LIFE),
        key=lambda level: list(LIFE).index(level.property),
    )
    for one, other in pairwise(dated):
        assert one.moment is not None
        assert other.moment is not None
        if one.property != other.property and one.moment > other.moment:
            findings.warning(
                _place(contract, other),
                "dates-out-of-order",
                f"{_WORDS[other.property]} ({other.text}) before {_WORDS[one.property]} "
                f"({one.text})",
                "the order is generalAvailability, endOfSupport, endOfLife",
            )


def _event_time(contract: Contract, findings: Findings) -> None:
    """An event time of a type that holds no moment."""
    if contract.event_time is None:  # a column may be named ""
        return
    found = contract.objects[0].property_named(contract.event_time)
    if found is not None and found.logical_type in NO_MOMENT:
        findings.warning(
            place_of(contract),
            "no-moment",
            f"the event time {found.column!r} is of type {found.logical_type.value}, which holds "
            "no moment: what needs an event time is not evaluated",
            "name a column of type timestamp or date",
        )


def _allows_no_age(level: SlaProperty) -> bool:
    """Whether a level asks for an age of nothing or less; a clock that runs ahead is no reason."""
    found = level.condition
    return (
        isinstance(found, Comparison)
        and found.metric in _AGES
        and found.operator in (ComparisonOperator.LT, ComparisonOperator.LE, ComparisonOperator.EQ)
        and found.quantity.value <= 0
        and prospect(found) is not Prospect.NEVER  # which is told of every condition
    )


def _feeding(contract: Contract, findings: Findings) -> None:
    """An open circuit is time out of service: a circuit that such a metric opens stays open."""
    if contract.resilience is None:
        return
    circuit = contract.resilience.circuit
    for condition in circuit.open_when:
        for comparison in comparisons_of(condition):
            if comparison.metric.partition(".")[0] in OF_HISTORY and not circuit.close_when:
                findings.warning(
                    circuit.location or place_of(contract),
                    "feeds-itself",
                    f"{comparison.metric} gets worse while the circuit is open, and so keeps it "
                    "open",
                    "add close_when, or let an action or an alert ask for it",
                )


def _elements(
    contract: Contract, level: SlaProperty, where: SourceLocation, findings: Findings
) -> None:
    """The elements after the first, which is looked at with the columns of all levels."""
    objects = {o.name: o for o in contract.objects} | {
        o.physical_name: o for o in contract.objects if o.physical_name
    }
    for path in level.elements[1:]:
        owner, _, column = path.rpartition(".")
        asked = [objects[owner]] if owner in objects else list(contract.objects)
        known = {name for o in asked for p in o.properties for name in (p.name, p.column)}
        if owner and owner not in objects:
            missing, hint = f"{owner!r} is no object of the schema", did_you_mean(owner, objects)
        elif known and column not in known:
            missing, hint = f"there is no column {column!r}", did_you_mean(column, known)
        else:
            continue
        findings.warning(
            where,
            "unknown-column",
            f"the service level {level.property!r} speaks of {path!r}, and {missing}",
            hint,
        )


def _place(contract: Contract, level: SlaProperty) -> SourceLocation:
    return level.location or place_of(contract)
