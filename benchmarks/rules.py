"""The benchmark's rules in neutral words, for validators that do not know our contracts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from benchmarks.orders import UUID
from dagster_contracts.core.checks import PlannedRule, plan_checks
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.rules import (
    Bound,
    BoundOperator,
    Enumerated,
    Format,
    Length,
    MultipleOf,
    Pattern,
    Presence,
    Required,
    RowExpression,
    TypeMatch,
    Unique,
)
from dagster_contracts.documents.odcs_writer import to_odcs

_BOUNDS = {
    BoundOperator.AT_LEAST: "minimum",
    BoundOperator.AT_MOST: "maximum",
    BoundOperator.MORE_THAN: "exclusive_minimum",
    BoundOperator.LESS_THAN: "exclusive_maximum",
}

_IN_SQL = {
    "pack.multiple_of": "pack % 6 <> 0",
    "shipped_after_creation": "shipped_at < created_at",
}


def value_rules(contract: Contract) -> list[PlannedRule]:
    """The rules about values: all but the presence and the type of the columns."""
    rules = plan_checks(contract).rules
    return [rule for rule in rules if not isinstance(rule.test, Presence | TypeMatch)]


def neutral_rules(contract: Contract) -> list[dict[str, Any]]:
    """The rules about values: ``name``, ``column``, ``kind`` and ``value``, as JSON."""
    return [_neutral(rule) for rule in value_rules(contract)]


def _neutral(rule: PlannedRule) -> dict[str, Any]:
    def said(column: str, kind: str, value: object = None) -> dict[str, Any]:
        return {"name": rule.name, "column": column, "kind": kind, "value": value}

    match rule.test:
        case Required((column,)):
            return said(column, "required")
        case Unique((column,)):
            return said(column, "unique")
        case Enumerated((column,), values):
            return said(column, "enum", list(values))
        case Bound((column,), operator, limit):
            value = limit if isinstance(limit, int | float) else str(limit)
            return said(column, _BOUNDS[operator], value)
        case Length((column,), None, int(most)):
            return said(column, "max_length", most)
        case Length((column,), int(least), None):
            return said(column, "min_length", least)
        case Pattern((column,), pattern):
            return said(column, "pattern", pattern)
        case Format((column,), "uuid"):
            return said(column, "pattern", UUID)
        case MultipleOf((column,), divisor):
            return said(column, "multiple_of", int(divisor))
        case RowExpression(text):
            return said("", "expression", text)
        case _:
            raise ValueError(f"{rule.name} has no neutral form")


def write_odcs(contract: Contract, table: Path) -> None:
    """The contract as ODCS beside its table, as a tool that runs it in DuckDB wants it.

    A server names the file, numbers are doubles and no decimals, the format is a pattern, and what
    that tool does not test is SQL.
    """
    document = yaml.safe_load(yaml.safe_dump(to_odcs(contract)))
    (orders,) = document["schema"]
    for prop in orders["properties"]:
        options = prop.get("logicalTypeOptions", {})
        if prop["logicalType"] == "number":
            prop["physicalType"] = "DOUBLE"
        if options.pop("format", None) == "uuid":
            options["pattern"] = UUID
        options.pop("multipleOf", None)
    orders["quality"] = [
        {
            "id": name.replace(".", "_"),
            "type": "sql",
            "query": f"SELECT count(*) FROM orders WHERE {test}",
        }
        | {"mustBe": 0}
        for name, test in _IN_SQL.items()
    ]
    server = {"server": "here", "type": "local", "path": str(table), "format": "parquet"}
    document |= {"servers": [server]}
    text = yaml.safe_dump(document, sort_keys=False)
    table.with_suffix(".odcs.yaml").write_text(text, encoding="utf-8")
