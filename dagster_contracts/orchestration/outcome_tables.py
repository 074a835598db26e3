"""The tables of a check: what each rule found, and rows that broke one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any

import dagster as dg

from dagster_contracts.core.contract import Json
from dagster_contracts.core.outcome import CheckOutcome, OutcomeStatus
from dagster_contracts.engine.headline import percent

_MOST_SAMPLES = 12
_MOST_ROWS = 60
_FEW = 12
"""So many outcomes are shown one by one; of more, those that passed share rows."""

_ORDER = (
    OutcomeStatus.FAILED,
    OutcomeStatus.WARNED,
    OutcomeStatus.NOT_EVALUATED,
    OutcomeStatus.PASSED,
)
_COLUMNS = {
    "rule": "string",
    "status": "string",
    "tested": "int",
    "failed": "int",
    "ratio": "string",
    "value": "float",
    "threshold": "string",
    "reason": "string",
}


def outcomes_table(outcomes: Sequence[CheckOutcome]) -> dg.TableMetadataValue:
    """Every outcome, the broken ones first; columns that would be empty are left out.

    Each event of Dagster carries this table, so that many that passed are told column by column
    (``carrier: present, type, required, pattern``), and in one row where something else is to be
    seen.
    """
    passed = [o for o in outcomes if o.status is OutcomeStatus.PASSED]
    told = [o for o in outcomes if o.status is not OutcomeStatus.PASSED]
    told.sort(key=lambda o: (_ORDER.index(o.status), -(o.failed_rows or 0)))
    if len(outcomes) > _FEW and told:
        rows = [_row(o) for o in told]
        if passed:
            rows.append(_record(f"{len(passed)} other rules", OutcomeStatus.PASSED.value))
    elif len(outcomes) > _FEW:
        rows = [*_by_column(passed)]
    else:
        rows = [_row(o) for o in (*told, *passed)]
    if len(rows) > _MOST_ROWS:
        more = len(rows) - _MOST_ROWS + 1
        rows = [*rows[: _MOST_ROWS - 1], _record(f"… {more} more", "")]
    filled = [name for name in _COLUMNS if any(row[name] not in (None, "") for row in rows)]
    columns = filled or ["rule"]
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: row[name] for name in columns}) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name, _COLUMNS[name]) for name in columns]),
    )


def samples_table(outcomes: Sequence[CheckOutcome]) -> dg.TableMetadataValue | None:
    """Some rows of each broken rule, in turn so that no rule crowds out another."""
    in_turn = zip_longest(*([(o.rule, s) for s in o.samples] for o in outcomes if o.samples))
    picked = [pair for pair in chain.from_iterable(in_turn) if pair is not None][:_MOST_SAMPLES]
    if not picked:
        return None
    rules = list(dict.fromkeys(rule for rule, _ in picked))
    picked.sort(key=lambda pair: rules.index(pair[0]))
    columns = list(dict.fromkeys(name for _, sample in picked for name in sample))
    # A sample holds the keys and what its own rule looks at; a cell of another rule stays empty,
    # which is not the same as null.
    records = [
        dg.TableRecord(
            {"rule": rule, **{c: _cell(sample[c]) if c in sample else "" for c in columns}}
        )
        for rule, sample in picked
    ]
    schema = dg.TableSchema([dg.TableColumn("rule"), *(dg.TableColumn(c) for c in columns)])
    return dg.MetadataValue.table(records=records, schema=schema)


def _row(outcome: CheckOutcome) -> dict[str, Any]:
    counted = outcome.failed_rows is not None
    return _record(
        outcome.rule,
        outcome.status.value.replace("_", " "),
        tested=outcome.rows_tested,
        failed=outcome.failed_rows,
        ratio="" if outcome.failed_ratio is None else percent(outcome.failed_ratio),
        value=None if counted or outcome.value is None else float(f"{outcome.value:.6g}"),
        threshold=outcome.threshold or "",
        reason=outcome.reason or "",
    )


def _record(rule: str, status: str, **cells: Any) -> dict[str, Any]:
    return {**dict.fromkeys(_COLUMNS), "rule": rule, "status": status, **cells}


def _by_column(passed: Sequence[CheckOutcome]) -> Iterator[dict[str, Any]]:
    columns: dict[str, list[CheckOutcome]] = {}
    for outcome in passed:
        columns.setdefault(outcome.column or outcome.rule, []).append(outcome)
    for column, outcomes in columns.items():
        if len(outcomes) == 1:
            yield _row(outcomes[0])
            continue
        names = [o.rule.removeprefix(f"{column}.") for o in outcomes]
        tested = [o.rows_tested for o in outcomes if o.rows_tested is not None]
        yield _record(
            f"{column}: {', '.join(names)}",
            OutcomeStatus.PASSED.value,
            tested=max(tested, default=None),
            failed=sum(o.failed_rows or 0 for o in outcomes) if tested else None,
        )


def _cell(value: Json) -> str:
    if value is None:
        return "null"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
