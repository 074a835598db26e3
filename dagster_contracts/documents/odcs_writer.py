"""Contracts as ODCS documents that the official schema accepts.

What ODCS has no key for stands in ``customProperties``: our sections at the root, and on rules and
fields the few words of ours that the standard lacks. What the document carried along comes out
again as it came in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagster_contracts.core.condition import Comparison, render
from dagster_contracts.core.contract import (
    Contract,
    ExtraColumns,
    Json,
    LogicalType,
    QualityRule,
    Relationship,
    RuleKind,
    SchemaObject,
    SchemaProperty,
    Severity,
    SlaProperty,
    ThresholdOperator,
    TypeOptions,
)
from dagster_contracts.documents.compact_writer import (
    Written,
    write_alerts,
    write_compatibility,
    write_consumers,
    write_metrics,
    write_monitoring,
    write_options,
    write_resilience,
    write_rule,
    write_scalar,
    write_schema,
    write_threshold,
)
from dagster_contracts.documents.odcs_validation import NEWEST
from dagster_contracts.documents.quality import OWN_ENGINE, STANDARD_METRICS
from dagster_contracts.documents.sla import MEASURED

# Keys of the standard that the model carries along; what else it carries is not ODCS's.
_ROOT_KEYS = {
    "tenant", "servers", "dataProduct", "domain", "context", "support", "price", "team", "roles",
    "slaDefaultElement", "authoritativeDefinitions", "contractCreatedTs",
}  # fmt: skip
_ELEMENT_KEYS = {"businessName", "deprecated", "synonyms", "authoritativeDefinitions", "context"}
_OBJECT_KEYS = _ELEMENT_KEYS | {"dataGranularityDescription"}
_PROPERTY_KEYS = _ELEMENT_KEYS | {
    "logicalType", "logicalTypeOptions", "map", "enum", "examples", "encryptedName", "semanticType",
    "transformSourceObjects", "transformLogic", "transformDescription",
}  # fmt: skip
_RULE_KEYS = {
    "authoritativeDefinitions", "businessImpact", "method", "schedule", "scheduler", "tags", "unit",
    *(operator.value for operator in ThresholdOperator),
}  # fmt: skip
_SLA_KEYS = {
    "property", "value", "valueExt", "unit", "element", "schedule", "scheduler",
    "authoritativeDefinitions",
}  # fmt: skip


def to_odcs(contract: Contract) -> Written:
    """The whole contract as one ODCS document; it reads back as an equal one."""
    extras = dict(contract.extras)
    head: Written = {
        "apiVersion": extras.pop("apiVersion", NEWEST),
        "kind": "DataContract",
        "id": extras.pop("id", contract.name),
        "name": extras.pop("name", contract.name),
        "version": contract.version,
        "status": extras.pop("status", contract.status.value),
    }
    description = extras.pop("description", None)
    if description is None and contract.description is not None:
        description = {"purpose": contract.description}
    objects = extras.pop("schema", None)
    if objects is None:
        objects = [_write_object(found) for found in contract.objects]
    default_element = extras.get("slaDefaultElement")
    custom = _foreign(extras, _ROOT_KEYS)
    body: Written = {
        **head,
        "description": description,
        "tags": list(contract.tags),
        "schema": objects,
        "slaProperties": [_write_sla(level, default_element) for level in contract.sla],
        "customProperties": _custom(
            custom,
            {
                "owner": contract.owner,
                "asset": contract.asset,
                "eventTime": contract.event_time,
                "deprecatedUntil": contract.deprecated_until.isoformat()
                if contract.deprecated_until
                else None,
                "successor": contract.successor,
                "metrics": write_metrics(contract.metrics),
                "resilience": write_resilience(contract.resilience),
                "schemas": _write_schemas(contract),
                "consumers": write_consumers(contract.consumers),
                "alerts": write_alerts(contract.alerts),
                "monitoring": write_monitoring(contract.monitoring),
                "compatibility": write_compatibility(contract.compatibility),
            },
        ),
        **extras,
    }
    return {
        key: value
        for key, value in body.items()
        if value is not None
        and (value not in ([], {}) or key in ("schema", *extras, *contract.extras))
    }


def _write_schemas(contract: Contract) -> Written:
    own = {found.name for found in contract.objects}
    written: Written = {}
    for name, schema in contract.schemas.items():
        if name in own and schema in contract.objects:
            continue
        inner = write_schema(schema)
        if inner.get("name") == name:
            del inner["name"]
        written[name] = inner
    return written


def _write_object(schema: SchemaObject) -> Written:
    extras = dict(schema.extras)
    custom = _foreign(extras, _OBJECT_KEYS)
    by_column: dict[str, list[Json]] = {}
    composite: list[Json] = []
    for found in schema.relationships:
        if found.extras.get("level") == "property":
            by_column.setdefault(found.columns[0], []).append(_relationship(found, near=None))
        else:
            composite.append(_relationship(found, near=schema.name))
    extra = schema.extra_columns
    return _short(
        {
            "name": schema.name,
            "id": schema.id,
            "logicalType": "object",
            "physicalName": schema.physical_name,
            "physicalType": schema.physical_type,
            "description": schema.description,
            "properties": [_write_property(p, by_column) for p in schema.properties],
            "relationships": composite,
            "quality": [_write_rule(rule, None) for rule in schema.quality],
            "tags": list(schema.tags),
            "customProperties": _custom(
                custom,
                {
                    "asset": schema.asset,
                    "extraColumns": None if extra is ExtraColumns.ALLOW else extra.value,
                    "ordered": schema.ordered or None,
                },
            ),
            **extras,
        }
    )


def _write_property(
    prop: SchemaProperty, relationships: Mapping[str, Sequence[Json]], *, name: bool = True
) -> Written:
    extras = dict(prop.extras)
    custom = _foreign(extras, _PROPERTY_KEYS)
    logical_type = prop.logical_type
    written: Written = {
        "name": prop.name if name else None,
        "id": prop.id,
        "businessName": prop.business_name,
        "logicalType": logical_type.value if logical_type else None,
        "logicalTypeOptions": _write_options(prop.options),
        "physicalType": prop.physical_type,
        "physicalName": prop.physical_name,
        "description": prop.description,
        "required": prop.required or None,
        "unique": prop.unique or None,
        "primaryKey": True if prop.primary_key_position is not None else None,
        "primaryKeyPosition": prop.primary_key_position,
        "partitioned": True if prop.partition_key_position is not None else None,
        "partitionKeyPosition": prop.partition_key_position,
        "classification": prop.classification,
        "criticalDataElement": prop.critical or None,
        "enum": [{"value": write_scalar(value)} for value in prop.options.enum],
        "properties": [_write_property(inner, {}) for inner in prop.properties],
        "relationships": list(relationships.get(prop.name, ())),
        "quality": [_write_rule(rule, prop.column) for rule in prop.quality],
        "tags": list(prop.tags),
        "customProperties": _custom(
            custom,
            {"unit": prop.unit, "aliases": list(prop.aliases)},
        ),
    }
    if prop.items is not None and logical_type is LogicalType.MAP:
        values = _write_property(prop.items, {}, name=False)
        written["map"] = {"key": {"logicalType": "string"}, "value": values}
    elif prop.items is not None:
        written["items"] = _write_property(prop.items, {}, name=prop.items.name != "items")
    return _short({**written, **extras})


def _write_options(options: TypeOptions) -> Written:
    written = write_options(options)
    written.pop("enum", None)
    required = written.pop("required_properties", None)
    found = {_camel(key): value for key, value in written.items()}
    if required is not None:
        found["required"] = required
    return found


def _write_rule(rule: QualityRule, column: str | None) -> Written:
    extras = dict(rule.extras)
    arguments = extras.pop("arguments", None)
    # Aggregates and expressions are ours: to other tools they are a custom engine's business.
    foreign = rule.kind is RuleKind.EXPRESSION or (
        rule.metric is not None and rule.metric not in STANDARD_METRICS
    )
    common: Written = {
        "name": extras.pop("name", rule.name),
        "id": rule.id,
        "type": RuleKind.CUSTOM.value if foreign else rule.kind.value,
        "description": rule.description,
        "dimension": rule.dimension,
        "severity": extras.pop("severity", rule.severity.value),
    }
    custom = _foreign(extras, _RULE_KEYS)
    ours: Written = {"column": None if rule.column == column else rule.column}
    if foreign:
        body = write_rule(rule, column=column)
        for key in ("name", "id", "description", "dimension", "severity", "extras", "column"):
            body.pop(key, None)
        common |= {"engine": OWN_ENGINE, "implementation": body}
    else:
        if arguments is None:
            arguments = _short(
                {
                    "validValues": [write_scalar(value) for value in rule.valid_values],
                    "missingValues": [write_scalar(value) for value in rule.missing_values],
                    "pattern": rule.pattern,
                    "properties": list(rule.columns),
                }
            )
        common |= {
            "metric": rule.metric.value if rule.metric else None,
            "arguments": arguments,
            "query": rule.query,
            "engine": rule.engine,
            "implementation": rule.implementation,
            **{
                key if key == "unit" else _camel(key): value
                for key, value in write_threshold(rule.threshold).items()
            },
        }
        ours |= {"warn": write_threshold(rule.warn), "filter": rule.filter}
    common["customProperties"] = _custom(custom, ours)
    return _short({**common, **extras})


def _write_sla(level: SlaProperty, default_element: Json) -> Written:
    extras = dict(level.extras)
    custom = _foreign(extras, _SLA_KEYS)
    element = level.element
    if element and level.schema_object:
        element = f"{level.schema_object}.{element}"
    if isinstance(default_element, str) and element == default_element.rpartition(".")[2]:
        element = None
    value: Json = level.text
    if level.condition is not None:
        value = render(level.condition)
        known = MEASURED.get(level.property, (level.property,))[0]
        if isinstance(level.condition, Comparison) and level.condition.metric == known:
            value = value.removeprefix(known).strip()
    severity = None if level.severity is Severity.ERROR else level.severity.value
    return _short(
        {
            "property": level.property,
            "value": value,
            "element": element,
            "id": level.id,
            "driver": level.driver,
            "description": level.description,
            "customProperties": _custom(custom, {"severity": severity}),
            **extras,
        },
        keep=("value",),
    )


def _relationship(found: Relationship, *, near: str | None) -> Written:
    extras = {key: value for key, value in found.extras.items() if key != "level"}
    to: Json = list(found.to) if near is not None or len(found.to) > 1 else found.to[0]
    written: Written = {"type": found.type, "to": to, **extras}
    if near is not None:
        written["from"] = [f"{near}.{column}" for column in found.columns]
    return written


def _foreign(extras: dict[str, Json], known: set[str]) -> list[Json]:
    """Take the custom properties out of ``extras``, and make others of what ODCS has no key for."""
    custom = extras.pop("customProperties", None)
    found: list[Json] = [*custom] if isinstance(custom, list) else []
    foreign = [key for key in extras if key not in known]
    return [*found, *({"property": key, "value": extras.pop(key)} for key in foreign)]


def _custom(others: Sequence[Json], ours: Mapping[str, Json]) -> list[Json]:
    named: list[Json] = [
        {"property": key, "value": value}
        for key, value in ours.items()
        if value is not None and value != [] and value != {}
    ]
    return [*others, *named]


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _short(written: Mapping[str, Json], keep: Sequence[str] = ()) -> Written:
    return {
        key: value
        for key, value in written.items()
        if key in keep or (value is not None and value != [] and value != {})
    }
