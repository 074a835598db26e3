"""Contracts and tables for the tests of the engine, short to write."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa

from dagster_contracts.core.contract import (
    Contract,
    LibraryMetric,
    LogicalType,
    QualityRule,
    RuleKind,
    SchemaObject,
    SchemaProperty,
    Threshold,
    ThresholdOperator,
    ThresholdUnit,
    TypeOptions,
)
from dagster_contracts.core.outcome import CheckOutcome, ContractReport

INTEGER, NUMBER, STRING = LogicalType.INTEGER, LogicalType.NUMBER, LogicalType.STRING
DATE, TIMESTAMP, BOOLEAN = LogicalType.DATE, LogicalType.TIMESTAMP, LogicalType.BOOLEAN

_FIELDS = set(SchemaProperty.__dataclass_fields__)


def column(name: str, logical_type: LogicalType | None = None, **fields: Any) -> SchemaProperty:
    """A property; whatever is no field of it is one of its type options."""
    own = {key: value for key, value in fields.items() if key in _FIELDS}
    options = {key: value for key, value in fields.items() if key not in _FIELDS}
    return SchemaProperty(
        name=name, logical_type=logical_type, options=TypeOptions(**options), **own
    )


def contract(*columns: SchemaProperty, sla: tuple = (), **fields: Any) -> Contract:
    target = SchemaObject(name="orders", properties=columns, **fields)
    return Contract(name="orders", version="1.0.0", objects=(target,), sla=sla)


def library(name: str, metric: LibraryMetric, column: str | None = None, **fields: Any):
    return QualityRule(name=name, kind=RuleKind.LIBRARY, metric=metric, column=column, **fields)


def expression(name: str, text: str, **fields: Any) -> QualityRule:
    return QualityRule(name=name, kind=RuleKind.EXPRESSION, expression=text, **fields)


def threshold(operator: str, *values: float, percent: bool = False) -> Threshold:
    return Threshold(
        ThresholdOperator(operator),
        tuple(Fraction(str(value)) for value in values),
        ThresholdUnit.PERCENT if percent else ThresholdUnit.ROWS,
    )


def outcome(report: ContractReport, rule: str) -> CheckOutcome:
    found = [one for one in report.outcomes if one.rule == rule]
    assert len(found) == 1, [one.rule for one in report.outcomes]
    return found[0]


def failed_rows(report: ContractReport) -> dict[str, int]:
    """Rule and number of failing rows, where there are any."""
    return {one.rule: one.failed_rows for one in report.outcomes if one.failed_rows}


KINDS = (
    "polars",
    "polars_lazy",
    "pyarrow",
    "pandas",
    "pandas_nullable",
    "pandas_arrow",
    "pandas_objects",
    "parquet",
    "duckdb",
)


def as_kind(table: pa.Table, kind: str, folder: Path) -> Any:
    """The same rows as another kind of data."""
    import duckdb
    import pandas as pd
    import polars as pl

    match kind:
        case "polars":
            return pl.DataFrame(table)
        case "polars_lazy":
            return pl.DataFrame(table).lazy()
        case "pyarrow":
            return table
        case "pandas":
            return table.to_pandas()
        case "pandas_nullable":
            nullable = {
                pa.int64(): pd.Int64Dtype(),
                pa.float64(): pd.Float64Dtype(),
                pa.bool_(): pd.BooleanDtype(),
                pa.string(): pd.StringDtype(),
            }
            return table.to_pandas(types_mapper=nullable.get)
        case "pandas_arrow":
            return table.to_pandas(types_mapper=pd.ArrowDtype)
        case "pandas_objects":
            frame = table.to_pandas()
            text = [f.name for f in table.schema if pa.types.is_string(f.type)]
            return frame.astype(dict.fromkeys(text, object))
        case "parquet":
            path = folder / "rows.parquet"
            pl.DataFrame(table).write_parquet(path)
            return path
        case "duckdb":
            connection = duckdb.connect(":memory:")
            connection.execute("SET TimeZone = 'America/St_Johns'")
            return connection.from_arrow(table)
    raise AssertionError(kind)
