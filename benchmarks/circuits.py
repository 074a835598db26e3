"""The contract whose circuit is measured."""

from __future__ import annotations

from datetime import timedelta

from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import (
    CircuitPolicy,
    Contract,
    FallbackLevel,
    FallbackSource,
    Resilience,
    SchemaObject,
    SourceKind,
)


def contract_of(name: str, *conditions: str, max_age: timedelta | None = None) -> Contract:
    """Opens on these conditions; falls back to the last valid batch of at most this age."""
    primary = FallbackLevel(name="primary", source=FallbackSource(SourceKind.PRIMARY))
    last = FallbackLevel(name="last", source=FallbackSource(SourceKind.LAST_VALID), max_age=max_age)
    return Contract(
        name=name,
        version="1.0.0",
        objects=(SchemaObject(name=name),),
        resilience=Resilience(
            circuit=CircuitPolicy(open_when=tuple(parse_condition(text) for text in conditions)),
            levels=(primary, last),
        ),
        semantic_hash="v1",
    )
