"""The report that a validation returns: a :class:`ContractReport` that knows the ways out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_contracts.core.contract import Json
from dagster_contracts.core.outcome import ContractReport, OutcomeStatus
from dagster_contracts.engine.headline import headline
from dagster_contracts.engine.report_frames import pandas_frame, polars_frame
from dagster_contracts.engine.report_html import report_fragment
from dagster_contracts.engine.report_text import report_json, report_text

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


class ValidationReport(ContractReport):
    """What a validation found, as a value, as frames, as text and as HTML.

    The core keeps reports as plain values and knows no frames; so what turns one into something
    else stands here.
    """

    __slots__ = ()

    def to_polars(self) -> pl.DataFrame:
        """One row for each outcome: check, rule, column, status, counts, threshold, reason."""
        return polars_frame(self)

    def to_pandas(self) -> pd.DataFrame:
        """One row for each outcome, in pandas' nullable types."""
        return pandas_frame(self)

    def to_json(self) -> dict[str, Json]:
        """The report as JSON values, as ``dagster-contracts validate --format json`` prints it."""
        return report_json(self)

    def __repr__(self) -> str:
        passed = sum(outcome.status is OutcomeStatus.PASSED for outcome in self.outcomes)
        status = self.status.value.replace("_", " ")
        return (
            f"<ContractReport {self.ref} {status}: {headline(self)}; "
            f"{passed} of {len(self.outcomes)} rules passed>"
        )

    def __str__(self) -> str:
        return report_text(self)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return report_fragment(self)
