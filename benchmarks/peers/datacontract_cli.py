"""datacontract-cli on the Parquet file, which it loads into DuckDB: samples of failed rows on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datacontract.data_contract import DataContract

from benchmarks.peers.worker import Peer, Rule, serve

_KINDS = {
    "field_required": ("required",),
    "field_primary_key_required": ("required",),
    "field_unique": ("unique",),
    "field_primary_key_unique": ("unique",),
    "field_enum": ("enum",),
    "field_regex": ("pattern",),
    "field_min_length": ("min_length",),
    "field_max_length": ("max_length",),
    "field_minimum": ("minimum", "exclusive_minimum"),
    "field_maximum": ("maximum", "exclusive_maximum"),
    "field_not_equal": ("exclusive_minimum", "exclusive_maximum"),
}
"""The kinds of rules by the type of a check; an exclusive bound becomes two checks."""


def prepare(path: Path, rules: list[Rule]) -> Peer:
    """The contract as ODCS, which stands beside the table; SQL where ODCS has no option."""
    contract = str(path.with_suffix(".odcs.yaml"))

    def run() -> Any:
        return DataContract(
            data_contract_file=contract, server="here", include_failed_samples=True
        ).test()

    def counts(found: Any) -> dict[str, int]:
        return _counts(found, rules)

    expressed = counts(run())
    return Peer(run, counts, [rule.name for rule in rules if rule.name not in expressed])


def _counts(found: Any, rules: list[Rule]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for check in found.checks:
        for rule in rules:
            of_column = rule.column == check.field and rule.kind in _KINDS.get(check.type, ())
            by_sql = check.qualityId == rule.name.replace(".", "_")
            if (of_column or by_sql) and check.diagnostics:
                counts[rule.name] = counts.get(rule.name, 0) + check.diagnostics["value"]
    return counts


if __name__ == "__main__":
    serve(prepare)
