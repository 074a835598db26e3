"""A report as people and programs read it: the headline of a check, and JSON."""

from __future__ import annotations

from dagster_contracts.core.contract import Json
from dagster_contracts.core.outcome import ContractReport


def headline(report: ContractReport, check: str | None = None) -> str:
    """One line that a person understands: of one check, or of the whole report."""
    raise NotImplementedError


def report_json(report: ContractReport) -> dict[str, Json]:
    """The report as JSON values: contract, version, status, rows, metrics, outcomes."""
    raise NotImplementedError


def report_text(report: ContractReport) -> str:
    """The report as several lines for a terminal: headline, then each outcome that did not pass."""
    raise NotImplementedError
