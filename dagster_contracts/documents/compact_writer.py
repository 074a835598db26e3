"""Contracts as compact documents; also the parts that ODCS carries in its custom properties.

What is a default is not written, so that a document stays as short as the one that was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from dagster_contracts.core.condition import Condition, Dimension, Quantity, render, render_quantity
from dagster_contracts.core.contract import (
    AlertPolicy,
    CircuitPolicy,
    CompatibilityPolicy,
    ConsumerDeclaration,
    Contract,
    ContractStatus,
    ExtraColumns,
    FallbackLevel,
    HealMode,
    Json,
    LogicalType,
    MetricDeclaration,
    MonitoringPolicy,
    OnExhausted,
    QualityRule,
    Recovery,
    Relationship,
    Resilience,
    Scalar,
    SchemaObject,
    SchemaProperty,
    Severity,
    SlaProperty,
    SourceKind,
    Threshold,
    ThresholdOperator,
    ThresholdUnit,
    TypeOptions,
)
from dagster_contracts.documents.compact import ROOT_KEY
from dagster_contracts.documents.section import snake
from dagster_contracts.documents.sla import (
    TIME_OF_AVAILABILITY,
    daily_of,
    default_severity,
    warn_before,
)

Written = dict[str, Json]

_OPERATORS = tuple(operator.value for operator in ThresholdOperator)


def to_compact(contract: Contract) -> Written:
    """The whole contract under ``data_contract``; it reads back as an equal one.

    One schema object is the ``schema`` of the root; several, or one with an asset of its own, stand
    under ``objects``.
    """
    (main, *others) = contract.objects
    schema: Json = None
    objects: Json = None
    own: dict[str, SchemaObject] = {}
    if others or main.asset is not None:
        objects = _write_objects(contract.objects)
        own = {found.name: found for found in contract.objects}
    else:
        schema = _named_schema(main, contract.name)
    # A level may name an object of the document, which then is not written again.
    asked = {level.schema for level in contract.resilience.levels} if contract.resilience else ()
    schemas: Written = {
        name: _named_schema(found, name)
        for name, found in contract.schemas.items()
        if not (name in asked and own.get(name) == found)
    }
    body: Written = {
        "name": contract.name,
        "version": contract.version,
        "status": None if contract.status is ContractStatus.ACTIVE else contract.status.value,
        "deprecated_until": _day(contract.deprecated_until),
        "successor": contract.successor,
        "owner": contract.owner,
        "description": contract.description,
        "asset": contract.asset,
        "tags": list(contract.tags),
        "event_time": contract.event_time,
        "metrics": write_metrics(contract.metrics),
        "schema": schema,
        "objects": objects,
        "sla": write_sla(contract.sla),
        "resilience": write_resilience(contract.resilience),
        "schemas": schemas,
        "consumers": write_consumers(contract.consumers),
        "alerts": write_alerts(contract.alerts),
        "monitoring": write_monitoring(contract.monitoring),
        "compatibility": write_compatibility(contract.compatibility),
        "extras": dict(contract.extras),
    }
    return {ROOT_KEY: _short(body)}


def _write_objects(objects: Sequence[SchemaObject]) -> Json:
    """By name; as a list where two have the same name."""
    written: list[tuple[str, Written]] = [
        (found.name, {"asset": found.asset, "schema": _named_schema(found, found.name)})
        for found in objects
    ]
    if len({name for name, _ in written}) == len(written):
        return {name: _short(body) for name, body in written}
    return [{"name": name, **_short(body)} for name, body in written]


def _named_schema(schema: SchemaObject, name: str) -> Written:
    """The schema without the name that its place already says."""
    written = write_schema(schema)
    if schema.name == name:
        del written["name"]
    return written


def write_schema(schema: SchemaObject) -> Written:
    """``{fields, relationships, quality, ...}``."""
    extra = schema.extra_columns
    return _short(
        {
            "name": schema.name,
            "physical_name": schema.physical_name,
            "physical_type": schema.physical_type,
            "id": schema.id,
            "description": schema.description,
            "extra_columns": None if extra is ExtraColumns.ALLOW else extra.value,
            "ordered": schema.ordered or None,
            "fields": _write_fields(schema.properties),
            "relationships": [write_relationship(found) for found in schema.relationships],
            "quality": [write_rule(rule) for rule in schema.quality],
            "tags": list(schema.tags),
            "extras": dict(schema.extras),
        },
        keep=("fields",),
    )


def _write_fields(properties: Sequence[SchemaProperty]) -> Json:
    return {prop.name: write_field(prop) for prop in properties}


def write_field(prop: SchemaProperty, *, name: str | None = None) -> Written:
    """One field, with its type, its constraints and what it holds; ``name`` for items alone."""
    inferred = prop.logical_type is None and (prop.properties or prop.items)
    inner = "values" if prop.logical_type is LogicalType.MAP else "items"
    return _short(
        {
            "name": name,
            "type": prop.logical_type.value if prop.logical_type else None,
            "physical_type": prop.physical_type,
            "physical_name": prop.physical_name,
            "id": prop.id,
            "business_name": prop.business_name,
            "description": prop.description,
            "required": prop.required or None,
            "unique": prop.unique or None,
            "primary_key": prop.primary_key_position,
            "partition_key": prop.partition_key_position,
            "classification": prop.classification,
            "unit": prop.unit,
            "critical": prop.critical or None,
            "aliases": list(prop.aliases),
            "tags": list(prop.tags),
            **write_options(prop.options),
            "fields": _write_fields(prop.properties),
            "items": write_field(
                prop.items, name=None if prop.items.name == inner else prop.items.name
            )
            if prop.items
            else None,
            "quality": [write_rule(rule, column=prop.column) for rule in prop.quality],
            "extras": dict(prop.extras),
        },
        keep=("type",) if inferred else (),
    )


def write_options(options: TypeOptions) -> Written:
    """The constraints that are set, in snake case."""
    return _short(
        {
            "minimum": write_scalar(options.minimum),
            "maximum": write_scalar(options.maximum),
            "exclusive_minimum": write_scalar(options.exclusive_minimum),
            "exclusive_maximum": write_scalar(options.exclusive_maximum),
            "multiple_of": write_scalar(options.multiple_of),
            "min_length": options.min_length,
            "max_length": options.max_length,
            "pattern": options.pattern,
            "format": options.format,
            "timezone": options.timezone,
            "default_timezone": options.default_timezone,
            "min_items": options.min_items,
            "max_items": options.max_items,
            "unique_items": options.unique_items or None,
            "min_properties": options.min_properties,
            "max_properties": options.max_properties,
            "required_properties": list(options.required_properties),
            "enum": [write_scalar(value) for value in options.enum],
        }
    )


def write_rule(rule: QualityRule, *, column: str | None = None) -> Written:
    """A quality rule; ``column`` is the one that its place already names."""
    extras = dict(rule.extras)
    # An operator that compares with no number is read, and kept, as it is written.
    unread: Written = {
        snake(key): extras.pop(key)
        for key in (*_OPERATORS, "unit")
        if key in extras and rule.threshold is None
    }
    return _short(
        {
            "name": rule.extras.get("name", rule.name),
            "type": rule.kind.value,
            "column": None if rule.column == column else rule.column,
            "metric": rule.metric.value if rule.metric else None,
            **write_threshold(rule.threshold),
            **unread,
            "warn": write_threshold(rule.warn),
            "valid_values": [write_scalar(value) for value in rule.valid_values],
            "missing_values": [write_scalar(value) for value in rule.missing_values],
            "pattern": rule.pattern,
            "columns": list(rule.columns),
            "quantile": write_number(rule.quantile) if rule.quantile is not None else None,
            "filter": rule.filter,
            "query": rule.query,
            "expression": rule.expression,
            "engine": rule.engine,
            "implementation": rule.implementation,
            "dimension": rule.dimension,
            "description": rule.description,
            "id": rule.id,
            "severity": extras.pop("severity", rule.severity.value)
            if "severity" in extras or rule.severity is not Severity.ERROR
            else None,
            "extras": {key: value for key, value in extras.items() if key != "name"},
        }
    )


def write_threshold(threshold: Threshold | None) -> Written:
    """``{must_be_less_than: 5, unit: percent}``."""
    if threshold is None:
        return {}
    numbers: list[Json] = [write_number(value) for value in threshold.values]
    between = (ThresholdOperator.MUST_BE_BETWEEN, ThresholdOperator.MUST_NOT_BE_BETWEEN)
    written: Written = {
        snake(threshold.operator.value): numbers if threshold.operator in between else numbers[0]
    }
    if threshold.unit is ThresholdUnit.PERCENT:
        written["unit"] = "percent"
    return written


def write_resilience(resilience: Resilience | None) -> Written:
    """The ``resilience`` section."""
    if resilience is None:
        return {}
    levels: list[Json] = [_write_level(level) for level in resilience.levels]
    heal, exhausted = resilience.heal, resilience.on_exhausted
    return _short(
        {
            "circuit_breaker": _write_breaker(resilience.circuit),
            "fallback_modes": levels,
            "on_exhausted": None if exhausted is OnExhausted.FAIL else exhausted.value,
            "heal": None if heal is HealMode.RUN else heal.value,
        }
    )


def write_metrics(metrics: Sequence[MetricDeclaration]) -> Written:
    """The metrics of the contract's own, by name."""
    return {
        metric.name: _short(
            {"dimension": metric.dimension.value, "description": metric.description}
        )
        for metric in metrics
    }


def write_consumers(consumers: Sequence[ConsumerDeclaration]) -> list[Json]:
    """The declared consumers."""
    return [
        _short(
            {
                "name": consumer.name,
                "asset": consumer.asset,
                "columns": list(consumer.columns),
                "contact": consumer.contact,
                "channels": list(consumer.channels),
            }
        )
        for consumer in consumers
    ]


def write_alerts(alerts: AlertPolicy) -> Written:
    """The ``alerts`` section, empty for the default."""
    return _short(
        {
            "channels": list(alerts.channels),
            "producer_channels": list(alerts.producer_channels),
            "on": list(alerts.on),
            "repeat_after": _changed(alerts.repeat_after, AlertPolicy().repeat_after),
        }
    )


def write_monitoring(policy: MonitoringPolicy) -> Written:
    """The ``monitoring`` section, empty for the default."""
    default = MonitoringPolicy()
    metrics: Json = None
    if policy.anomaly_metrics != default.anomaly_metrics:
        metrics = list(policy.anomaly_metrics)
    threshold, history = policy.anomaly_threshold, policy.min_history
    written = _short(
        {
            "anomaly_threshold": None if threshold == default.anomaly_threshold else threshold,
            "min_history": None if history == default.min_history else history,
            "actions": [
                _short(
                    {
                        "when": render(action.when),
                        "do": action.kind.value,
                        "job": action.job,
                        "cooldown": write_duration(action.cooldown),
                    }
                )
                for action in policy.actions
            ],
        }
    )
    return written if metrics is None else {"anomaly_metrics": metrics, **written}


def write_compatibility(policy: CompatibilityPolicy) -> Written:
    """The ``compatibility`` section, empty for the default."""
    if policy == CompatibilityPolicy():
        return {}
    return {"protects": policy.protects.value, "transitive": policy.transitive}


def write_duration(length: timedelta) -> str:
    """``1h30min``."""
    seconds = Fraction(length // timedelta(microseconds=1), 1_000_000)
    return render_quantity(Quantity(seconds, Dimension.DURATION))


def write_scalar(value: Scalar | None) -> Json:
    """A value as YAML and JSON can hold it; moments as ISO 8601."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return write_number(Fraction(value))
    return value


def write_number(value: Fraction) -> int | float:
    """A whole number where it is one."""
    return value.numerator if value.denominator == 1 else float(value)


def write_conditions(conditions: Sequence[Condition]) -> list[Json]:
    """Conditions as their texts."""
    return [render(condition) for condition in conditions]


def _write_breaker(circuit: CircuitPolicy) -> Written:
    default = CircuitPolicy()
    written: Written = {
        "open_when": write_conditions(circuit.open_when),
        "close_when": write_conditions(circuit.close_when),
        "recovery": _write_recovery(circuit.recovery),
        "flapping_window": _changed(circuit.flapping_window, default.flapping_window),
    }
    for name in ("window", "min_observations", "scope", "mode", "on_unknown", "flapping_openings"):
        written[name] = _plain(getattr(circuit, name), getattr(default, name))
    return _short(written)


def _write_recovery(recovery: Recovery) -> Written:
    default = Recovery()
    written: Written = {
        name: _changed(getattr(recovery, name), getattr(default, name))
        for name in ("retry_after", "max_wait", "probe_timeout")
    }
    for name in ("backoff", "jitter"):
        value = getattr(recovery, name)
        written[name] = None if value == getattr(default, name) else write_number(value)
    for name in ("max_retries", "probes", "probe"):
        written[name] = _plain(getattr(recovery, name), getattr(default, name))
    return _short(written)


def _write_level(level: FallbackLevel) -> Written:
    kind = level.source.kind
    named = kind in (SourceKind.ASSET, SourceKind.URI, SourceKind.PRIMARY)
    return _short(
        {
            "level": level.name,
            "source": level.source.name or None if named else kind.value,
            "schema": level.schema,
            "activation_conditions": write_conditions(level.activation_conditions),
            "only_when_active": level.only_when_active or None,
            "max_age": write_duration(level.max_age) if level.max_age is not None else None,
            "min_dwell": _changed(level.min_dwell, timedelta(0)),
            "any_partition": level.any_partition or None,
        }
    )


def write_relationship(found: Relationship) -> Written:
    """``{columns: [...], to: [...]}``."""
    return _short(
        {"columns": list(found.columns), "to": list(found.to), "extras": dict(found.extras)}
    )


def write_sla(levels: Sequence[SlaProperty]) -> Json:
    """By property; as a list where a property occurs twice."""
    if len({level.property for level in levels}) == len(levels):
        return {level.property: _write_level_of_service(level) for level in levels}
    written: list[Json] = []
    for level in levels:
        inner = _write_level_of_service(level)
        body: Written = inner if isinstance(inner, dict) else {"must": inner}
        written.append({"property": level.property, **body})
    return written


def write_level_value(level: SlaProperty) -> str:
    """What a level demands: a condition, a date, or the text of one that nothing measures."""
    if level.moment is not None:
        return level.text or level.moment.isoformat()
    daily = daily_of(level.condition) if level.property == TIME_OF_AVAILABILITY else None
    if daily is not None:
        return daily
    return render(level.condition) if level.condition is not None else level.text


def write_level_element(level: SlaProperty) -> str | None:
    """The paths that a level names, as both forms write them."""
    if level.elements:
        return ", ".join(level.elements)
    if level.element and level.schema_object:
        return f"{level.schema_object}.{level.element}"
    return level.element


def _write_level_of_service(level: SlaProperty) -> Json:
    must = write_level_value(level)
    margin, usual = warn_before(level), default_severity(level.property)
    written = _short(
        {
            "must": must,
            "not_evaluated": level.not_evaluated,
            "element": write_level_element(level),
            "warn_before": None if margin is None else write_duration(margin),
            "severity": None if level.severity is usual else level.severity.value,
            "id": level.id,
            "driver": level.driver,
            "description": level.description,
            "extras": dict(level.extras),
        }
    )
    return must if set(written) == {"must"} else written


def _changed(value: timedelta, default: timedelta) -> str | None:
    return None if value == default else write_duration(value)


def _plain(value: StrEnum | int, default: StrEnum | int) -> str | int | None:
    if value == default:
        return None
    return value.value if isinstance(value, StrEnum) else value


def _day(value: date | None) -> str | None:
    return value.isoformat() if value is not None else None


def _short(written: Mapping[str, Json], keep: Sequence[str] = ()) -> Written:
    """Without what says nothing: null, and empty lists and mappings."""
    return {
        key: value
        for key, value in written.items()
        if key in keep or (value is not None and value != [] and value != {})
    }
