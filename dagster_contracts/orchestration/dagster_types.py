"""Dagster types from contracts: a pandera schema that Dagster asks at an input or output."""

from __future__ import annotations

from typing import Any

import dagster as dg

from dagster_contracts.core.contract import Contract, SchemaObject
from dagster_contracts.engine.pandera_rule import failures_in_words
from dagster_contracts.orchestration.translator import ContractTranslator


def dagster_type(
    contract: Contract,
    schema_object: SchemaObject | str | None = None,
    *,
    backend: str = "pandas",
    name: str | None = None,
) -> dg.DagsterType:
    """A Dagster type whose values are the frames that keep a contract's schema.

    Its check is pandera's (``contract.to_pandera``): the failure names each broken rule and how
    many rows break it. ``backend`` is ``pandas`` or ``polars``. For ops, and for assets that no
    contract governs; a governed asset has its checks already.

    Examples
    --------
    >>> from dagster_contracts.core.contract import LogicalType, SchemaProperty
    >>> amount = SchemaProperty(name="amount", logical_type=LogicalType.NUMBER, required=True)
    >>> rows = SchemaObject(name="orders", properties=(amount,))
    >>> dagster_type(Contract(name="orders", version="1.0.0", objects=(rows,))).display_name
    'orders_1_0_0'
    """
    target = contract.objects[0]
    if schema_object is not None:
        named = isinstance(schema_object, str)
        target = contract.object_named(schema_object) if named else schema_object  # type: ignore[arg-type, assignment]
    schema = contract.to_pandera(target, backend=backend)
    frame = _frame_type(backend)

    def check(_context: object, value: object) -> dg.TypeCheck:
        if not isinstance(value, frame):
            kind = type(value).__name__
            return dg.TypeCheck(False, f"a {backend} {frame.__name__} is expected, not {kind}")
        words = failures_in_words(schema, value)
        if not words:
            return dg.TypeCheck(True, metadata={"dagster/row_count": len(value)})
        return dg.TypeCheck(
            False,
            f"the frame breaks {contract.ref}: {', '.join(words)}",
            metadata={"dagster/row_count": len(value), "broken_rules": len(words)},
        )

    label = name or f"{target.name}_{contract.version}"
    metadata = ContractTranslator().get_metadata(contract, target)
    return dg.DagsterType(
        type_check_fn=check,
        name="".join(c if c.isalnum() or c == "_" else "_" for c in label),
        description=target.description or contract.description or f"Keeps {contract.ref}.",
        typing_type=frame,
        metadata={k: v for k, v in metadata.items() if k == "dagster/column_schema"},
    )


def _frame_type(backend: str) -> Any:
    if backend == "polars":
        import polars as pl  # late: only for those who ask

        return pl.DataFrame
    import pandas as pd  # late: only for those who ask

    return pd.DataFrame
