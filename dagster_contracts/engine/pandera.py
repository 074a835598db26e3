"""A contract's schema as a pandera schema."""

from __future__ import annotations

from dagster_contracts.core.contract import Contract, SchemaObject


def to_pandera(
    contract: Contract, schema_object: SchemaObject | None = None, *, backend: str = "pandas"
) -> object:
    """A pandera ``DataFrameSchema`` (``backend``: ``pandas`` or ``polars``) with the schema's rules."""
    raise NotImplementedError
