"""The outcomes of a report as frames: one row each, in typed columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_contracts.core.contract import Severity
from dagster_contracts.core.outcome import ContractReport, OutcomeKind, OutcomeStatus

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_TEXTS = ("check", "rule", "column", "threshold", "description", "reason")
_COUNTS = ("rows_tested", "failed_rows")
_NUMBERS = ("failed_ratio", "value")
_CHOICES = {"kind": OutcomeKind, "status": OutcomeStatus, "severity": Severity}
_COLUMNS = (
    "check", "rule", "kind", "column", "status", "severity", "rows_tested", "failed_rows",
    "failed_ratio", "value", "threshold", "description", "reason",
)  # fmt: skip


def _values(report: ContractReport, name: str) -> list[object]:
    found = [getattr(outcome, name) for outcome in report.outcomes]
    return [str(value) for value in found] if name in _CHOICES else found


def polars_frame(report: ContractReport) -> pl.DataFrame:
    """Texts, 64-bit counts, floats, and enums for kind, status and severity."""
    import polars as pl  # late: importing the package must stay cheap

    types: dict[str, pl.DataType] = {
        **dict.fromkeys(_TEXTS, pl.String()),
        **dict.fromkeys(_COUNTS, pl.Int64()),
        **dict.fromkeys(_NUMBERS, pl.Float64()),
        **{name: pl.Enum([str(member) for member in choice]) for name, choice in _CHOICES.items()},
    }
    return pl.DataFrame(
        [pl.Series(name, _values(report, name), dtype=types[name]) for name in _COLUMNS]
    )


def pandas_frame(report: ContractReport) -> pd.DataFrame:
    """The same with pandas' nullable types; kind, status and severity are ordered categories."""
    import pandas as pd  # late: importing the package must stay cheap

    types: dict[str, object] = {
        **dict.fromkeys(_TEXTS, "string"),
        **dict.fromkeys(_COUNTS, "Int64"),
        **dict.fromkeys(_NUMBERS, "Float64"),
        **{
            name: pd.CategoricalDtype([str(member) for member in choice], ordered=True)
            for name, choice in _CHOICES.items()
        },
    }
    return pd.DataFrame(
        {name: pd.Series(_values(report, name), dtype=types[name]) for name in _COLUMNS}  # type: ignore[call-overload]
    )
