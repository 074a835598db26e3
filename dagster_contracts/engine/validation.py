"""Validate data against a contract: one pass, one outcome for each rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from dagster_contracts.core.contract import Contract, SchemaObject
from dagster_contracts.core.outcome import ContractReport


def validate(
    data: object,
    contract: Contract,
    *,
    schema_object: SchemaObject | None = None,
    now: datetime | None = None,
    evaluation_id: str | None = None,
    asset: str | None = None,
    partition: str | None = None,
    arrived_at: datetime | None = None,
    last_materialized_at: datetime | None = None,
    history: Mapping[str, Sequence[float]] | None = None,
    references: Mapping[str, object] | None = None,
    samples: int = 5,
    custom: Mapping[str, Callable[..., object]] | None = None,
    allow_sql: bool = False,
) -> ContractReport:
    """Measure every rule of ``contract`` on ``data``; never raises for what the data holds."""
    raise NotImplementedError
