"""No value anywhere in a contract changes unseen: every field of every part, at every depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cache
from typing import Any

import pytest

from dagster_contracts.core.compatibility import Changes, Verdict, diff
from dagster_contracts.core.condition import Hold, parse_condition
from dagster_contracts.core.contract import (
    AlertPolicy,
    CircuitPolicy,
    ConsumerDeclaration,
    Contract,
    CorrectiveAction,
    CorrectiveActionKind,
    FallbackLevel,
    FallbackSource,
    LibraryMetric,
    LogicalType,
    MetricDeclaration,
    MonitoringPolicy,
    QualityRule,
    Relationship,
    Resilience,
    RuleKind,
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

# The differences that all of these tests look at are worked out once, in one process.
pytestmark = pytest.mark.xdist_group("compatibility")

# Where something stands, and what is derived from the rest; the version is what is judged.
SILENT = {"location", "content_hash", "semantic_hash", "version"}
NAMED = {"customProperties": [{"property": "cost", "value": 1}]}


def rule(name: str, **settings: Any) -> QualityRule:
    return QualityRule(
        name=name,
        kind=RuleKind.LIBRARY,
        metric=LibraryMetric.INVALID_VALUES,
        threshold=Threshold(
            ThresholdOperator.MUST_BE_BETWEEN, (Fraction(1), Fraction(2)), ThresholdUnit.PERCENT
        ),
        warn=Threshold(ThresholdOperator.MUST_BE, (Fraction(0),)),
        **{"valid_values": ("a",), "options": TypeOptions(minimum=1, enum=("x",)), **settings},
    )


def column(name: str, **settings: Any) -> SchemaProperty:
    return SchemaProperty(
        name=name,
        **{
            "logical_type": LogicalType.STRING,
            "physical_type": "TEXT",
            "options": TypeOptions(max_length=9, enum=("a", "b"), pattern="^a"),
            "quality": (rule(f"{name}_rule", column=name),),
            "aliases": (f"{name}_alias",),
            "tags": ("t",),
            "extras": {"examples": ["x"], **NAMED},
            **settings,
        },
    )


INNER = column("inner", primary_key_position=None, properties=(column("leaf"), column("twig")))
ORDERS = SchemaObject(
    name="orders",
    properties=(
        column("order_id", primary_key_position=1, partition_key_position=1),
        column("address", logical_type=LogicalType.OBJECT, properties=(INNER, column("street"))),
        column("tags", logical_type=LogicalType.ARRAY, items=column("item", properties=(INNER,))),
    ),
    quality=(
        rule("whole", columns=("order_id",)),
        rule("other", id="r2", severity=Severity.WARNING),
    ),
    relationships=(Relationship(columns=("order_id",), to=("x.y",), extras=NAMED),),
    tags=("t",),
    extras=NAMED,
)
STALE = parse_condition("data_freshness > 30min for 2 checks or not (row_count < 10)")
CONTRACT = Contract(
    name="orders",
    version="1.0.0",
    objects=(ORDERS, replace(ORDERS, name="lines")),
    schemas={"small": replace(ORDERS, name="small")},
    sla=(
        SlaProperty(property="freshness", condition=parse_condition("data_freshness < 1h")),
        SlaProperty(property="retention", condition=None, text="P1Y", not_evaluated="no one can"),
    ),
    metrics=(MetricDeclaration(name="lag"), MetricDeclaration(name="cost")),
    resilience=Resilience(
        circuit=CircuitPolicy(open_when=(STALE,), close_when=(STALE,)),
        levels=(
            FallbackLevel(name="primary", source=FallbackSource(SourceKind.PRIMARY, "feed")),
            FallbackLevel(
                name="sales",
                source=FallbackSource(SourceKind.ASSET, "sales"),
                schema="small",
                activation_conditions=(STALE,),
                max_age=timedelta(hours=1),
            ),
            FallbackLevel(name="last", source=FallbackSource(SourceKind.LAST_VALID)),
        ),
    ),
    consumers=(ConsumerDeclaration(name="finance", columns=("order_id",)),),
    alerts=AlertPolicy(channels=("ops",), on=("opened",)),
    monitoring=MonitoringPolicy(
        anomaly_metrics=("row_count", "completeness"),
        actions=(CorrectiveAction(when=STALE, kind=CorrectiveActionKind.HEAL),),
    ),
    deprecated_until=date(2030, 1, 1),
    tags=("t",),
    extras={
        "servers": [{"server": "a", "type": "s3", "description": "x"}, {"server": "b"}],
        "roles": [{"role": "reader", "access": "read"}, {"role": "writer", "description": "w"}],
        "team": {"name": "shop", "members": [{"username": "ada", "role": "owner"}]},
        "support": [{"channel": "slack", "url": "https://example.org"}, {"channel": "mail"}],
        "price": {"priceAmount": 9, "priceCurrency": "EUR"},
        "customProperties": [{"property": "cost", "value": 1}, {"property": "x", "value": [1]}],
        "authoritativeDefinitions": [{"url": "https://example.org", "type": "wiki"}],
        "domain": "sales",
        "tenant": "acme",
        "dataProduct": "orders",
        "description": {"purpose": "p", "limitations": "l"},
        "slaDefaultElement": "orders.order_id",
    },
)


def others(value: Any) -> Iterator[tuple[str, Any]]:
    """Values like ``value`` with one thing changed, each with the path of what was changed."""
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            if field.name in SILENT:
                continue
            for path, other in others(getattr(value, field.name)):
                if isinstance(value, Threshold) and other == ():
                    continue  # a threshold has a number
                try:
                    yield f".{field.name}{path}", replace(value, **{field.name: other})
                except ValueError:
                    continue  # not a value of the model: a hold of checks and of time
            if getattr(value, field.name) is None and (made := _made(value, field.name)):
                yield f".{field.name}", replace(value, **{field.name: made})
        return
    match value:
        case bool():
            yield "", not value
        case Enum():
            kinds = list(type(value))
            yield "", kinds[(kinds.index(value) + 1) % len(kinds)]
        case int() | float() | Fraction() | Decimal():
            yield "", value + 1
        case str():
            yield "", f"{value}x"
        case timedelta() | date():
            yield "", value + timedelta(days=1)
        case tuple() | list():
            made = type(value)
            for index, item in enumerate(value):
                for path, other in others(item):
                    yield f"[{index}]{path}", made([*value[:index], other, *value[index + 1 :]])
            if len(value) > 1:
                yield "[reversed]", made(reversed(value))
            if value:
                yield "[last gone]", made(value[:-1])
        case dict():
            for key, item in value.items():
                for path, other in others(item):
                    yield f".{key}{path}", {**value, key: other}
                yield f".{key} gone", {k: v for k, v in value.items() if k != key}
            yield ".new", {**value, "new": "x"}


def _made(owner: Any, name: str) -> Any:
    """A value for a field that is ``None``."""
    texts = {
        "owner", "description", "asset", "event_time", "successor", "physical_name",
        "physical_type", "id", "business_name", "classification", "unit", "element",
        "schema_object", "driver", "schema", "dimension", "pattern", "filter", "query",
        "expression", "engine", "format", "default_timezone", "contact", "job", "not_evaluated",
    }  # fmt: skip
    if name in texts:
        return "made"
    if name == "hold":
        return Hold(checks=3)
    if name.startswith(("min_", "max_", "exclusive_", "minimum", "maximum")):
        return timedelta(hours=1) if name == "max_age" else 1
    if name.endswith("_position"):
        return 2
    return None


MUTANTS = [
    (path, mutant)
    for path, mutant in others(CONTRACT)
    # A schema is known by its key; an object of the model has one at least.
    if mutant.objects
    and not path.endswith(".small.name")
    # The wording of a promise that is measured, and what an array's items are called as a key.
    and path != ".sla[0].text"
]


@cache
def both_ways() -> list[tuple[str, Changes, Changes]]:
    """Every mutant's path, the changes that lead to it, and those that lead back."""
    return [(path, diff(CONTRACT, mutant), diff(mutant, CONTRACT)) for path, mutant in MUTANTS]


def test_there_are_mutants_of_every_part() -> None:
    assert len(MUTANTS) > 1500


@pytest.mark.parametrize("forwards", [True, False])
def test_no_change_of_any_value_at_any_depth_is_silent(forwards: bool) -> None:
    unseen = [path for path, forth, back in both_ways() if not (forth if forwards else back).items]

    assert unseen == []


def test_messages_are_sentences_without_the_machine_in_them() -> None:
    for path, changes, _ in both_ways():
        for change in changes:
            for foreign in (
                "Fraction(",
                "Threshold(",
                "<",
                "None",
                "Policy(",
                "datetime.",
                "{",
                "='",
            ):
                if foreign == "<" and any(o in change.message for o in ("< 1h", "< 10", "< 1d")):
                    continue
                assert foreign not in change.message, (path, change.message)


def test_swapping_the_versions_swaps_the_sides_of_a_demand() -> None:
    """A demand that became stricter for one side became looser for the other."""
    mirrored = 0
    for path, onwards, backwards in both_ways():
        forth, back = onwards.items, backwards.items
        assert len(forth) * len(back) > 0, path
        if len(forth) == len(back) == 1:
            one, other = forth[0], back[0]
            tight = {one.motion.value, other.motion.value} == {"tightened", "loosened"}
            if tight and one.kind.rpartition("_")[0] in ("bounds", "enum", "threshold", "length"):
                mirrored += 1
                assert (one.consumer, one.producer) == (other.producer, other.consumer), path
        assert (max(c.consumer for c in forth) is Verdict.BREAKS) <= (
            max(c.bump for c in forth).name == "MAJOR"
        )
    assert mirrored > 20
