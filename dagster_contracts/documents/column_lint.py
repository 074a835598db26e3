"""Columns that service levels, consumers and smaller schemas speak of and the contract has not."""

from __future__ import annotations

from collections.abc import Mapping

from dagster_contracts.core.condition import metrics_of
from dagster_contracts.core.contract import (
    Contract,
    LogicalType,
    SchemaObject,
    SlaProperty,
    SourceKind,
)
from dagster_contracts.documents.condition_lint import conditions_in
from dagster_contracts.documents.problem import Findings, did_you_mean, place_of


def lint_columns(contract: Contract, findings: Findings) -> None:
    """Columns that are named and do not exist; an event time that nobody can know."""
    _sla_columns(contract, findings)
    _event_time(contract, findings)
    _consumers(contract, findings)
    _subsets(contract, findings)


def _sla_columns(contract: Contract, findings: Findings) -> None:
    objects = {o.name: o for o in contract.objects} | {
        o.physical_name: o for o in contract.objects if o.physical_name
    }
    no_object: dict[str, list[SlaProperty]] = {}
    no_column: dict[str, list[SlaProperty]] = {}
    for sla in contract.sla:
        # An element may also be a whole object.
        if not sla.element or (sla.schema_object is None and sla.element in objects):
            continue
        if sla.schema_object is not None and sla.schema_object not in objects:
            no_object.setdefault(sla.schema_object, []).append(sla)
        elif sla.element not in _element_names(contract, objects, sla):
            no_column.setdefault(sla.element, []).append(sla)
    for name, levels in no_object.items():
        findings.warning(
            levels[0].location or place_of(contract),
            "unknown-object",
            f"{_speaking(levels)} of {name!r}, which is no object of the schema",
            did_you_mean(name, {o.name for o in contract.objects}),
        )
    for name, levels in no_column.items():
        known = _element_names(contract, objects, levels[0])
        if known:
            findings.warning(
                levels[0].location or place_of(contract),
                "unknown-column",
                f"{_speaking(levels)} of {name!r}, and there is no such column",
                did_you_mean(name, known),
            )


def _element_names(
    contract: Contract, objects: Mapping[str, SchemaObject], sla: SlaProperty
) -> set[str]:
    asked = [objects[sla.schema_object]] if sla.schema_object else contract.objects
    return {name for o in asked for name in _column_names(o)}


def _speaking(levels: list[SlaProperty]) -> str:
    """``the service level 'latency' and 4 others speak``: one mistake is told once."""
    first, others = f"the service level {levels[0].property!r}", len(levels) - 1
    if not others:
        return f"{first} speaks"
    return f"{first} and {'another' if others == 1 else f'{others} others'} speak"


def _event_time(contract: Contract, findings: Findings) -> None:
    main = contract.objects[0]
    if contract.event_time is not None:
        if main.properties and main.property_named(contract.event_time) is None:
            findings.error(
                place_of(contract),
                "unknown-column",
                f"the event time {contract.event_time!r} is no column of {main.name!r}",
                did_you_mean(contract.event_time, {p.name for p in main.properties}),
            )
        return
    stamps = [p.name for p in main.properties if p.logical_type is LogicalType.TIMESTAMP]
    # A level that names its column has its event time, in its own object; or is told of above.
    objects = {o.name for o in contract.objects}
    named = {id(s.condition) for s in contract.sla if s.element and s.element not in objects}
    for condition, where, whose in conditions_in(contract):
        if id(condition) in named:
            continue
        needs = metrics_of(condition) & {"data_freshness", "data_latency"}
        if not needs:
            continue
        metric = sorted(needs)[0]
        if len(stamps) > 1:
            message = (
                f"{whose} needs an event time, and the schema has several timestamps: "
                + ", ".join(stamps)
            )
            hint = "say which one: event_time: " + stamps[0]
        elif metric == "data_latency":
            message = f"{whose} needs an event time, and the schema has no timestamp"
            hint = "add a timestamp to the schema, or name one as event_time"
        else:
            message = (
                f"{whose} is measured from the last materialization, "
                "because the schema has no timestamp"
            )
            hint = "fine if that is meant; else add a timestamp, or use materialization_age"
        findings.warning(where, "event-time", message, hint)
        return


def _consumers(contract: Contract, findings: Findings) -> None:
    main = contract.objects[0]
    known = _column_names(main)
    for consumer in contract.consumers:
        unknown = [c for c in consumer.columns if known and c not in known]
        for column in unknown:
            findings.error(
                place_of(contract),
                "unknown-column",
                f"the consumer {consumer.name!r} reads {column!r}, which the contract has not",
                did_you_mean(column, known),
            )
        for level in contract.resilience.fallbacks if contract.resilience else ():
            schema = contract.schemas.get(level.schema) if level.schema else None
            if schema is None or level.source.kind is SourceKind.LAST_VALID:
                continue
            missing = [c for c in consumer.columns if c in known and c not in _column_names(schema)]
            if missing:
                findings.warning(
                    level.location or place_of(contract),
                    "fallback-too-small",
                    f"the level {level.name!r} cannot serve {consumer.name!r}: "
                    f"its schema {level.schema!r} has no {', '.join(map(repr, missing))}",
                    "add the columns to that schema, or let the consumer do without them",
                )


def _column_names(schema: SchemaObject) -> set[str]:
    return {name for prop in schema.properties for name in (prop.name, prop.column)}


def _subsets(contract: Contract, findings: Findings) -> None:
    """A subset must be a part of the primary."""
    known = _column_names(contract.objects[0])
    for level in contract.resilience.fallbacks if contract.resilience else ():
        schema = contract.schemas.get(level.schema) if level.schema else None
        if schema is None or level.source.kind is not SourceKind.SUBSET or not known:
            continue
        for prop in schema.properties:
            if prop.column not in known:
                findings.error(
                    prop.location or level.location or place_of(contract),
                    "unknown-column",
                    f"the subset {level.schema!r} wants {prop.column!r}, which the primary has not",
                    did_you_mean(prop.column, known),
                )
