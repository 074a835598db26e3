"""The source of a pandera schema runs as it is and judges data as the engine does."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dagster_contracts.core.contract import Contract
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.engine.pandera_source import PanderaEngine, to_pandera_source
from dagster_contracts.engine.validation import validate
from tests.engine.builders import failed_rows
from tests.engine.test_pandera_export import by_pandera

ENGINES = list(PanderaEngine)
TEXT = """
data_contract:
  name: orders
  description: "it's \\"\\"\\" # odd\\nand long"
  schema:
    primary_key: [id]
    fields:
      id: {type: integer, minimum: 1}
      amount: {type: number, exclusive_maximum: 10, multiple_of: 0.5}
      code: {type: string, required: true, pattern: "^[A-Z]{2}$", max_length: 2}
      kind: {type: string, enum: [a, "it's", "x\\ny"]}
      mail: {type: string, format: email, unique: true}
      'odd "name\\': {type: boolean}
      at: {type: timestamp, timezone: true, minimum: "2020-01-01T00:00:00+01:00"}
      day: {type: date, maximum: "2030-12-31"}
      size: {type: integer, format: i8}
      inner: {type: object, fields: {x: {type: integer, minimum: 3}}}
  quality: [{name: few, metric: rowCount, must_be_less_than: 9}]
"""


def orders() -> Contract:
    return load_contract("orders.yaml", text=TEXT)


def run(source: str) -> Any:
    """The schema of a module; that it needs nothing of ours is seen by the other test."""
    module = ModuleType("made")
    exec(compile(source, "made.py", "exec"), module.__dict__)
    return module.schema


def rows(engine: PanderaEngine, changes: list[dict[str, Any]]) -> Any:
    good = {
        "id": 1,
        "amount": 1.5,
        "code": "AB",
        "kind": "it's",
        "mail": None,
        'odd "name\\': True,
        "at": datetime(2024, 1, 1, tzinfo=UTC),
        "day": date(2024, 1, 1),
        "size": 3,
        "inner": {"x": 4},
    }
    table = pa.Table.from_pylist(
        [{**good, "id": number, **change} for number, change in enumerate(changes, start=1)],
        schema=pa.schema(
            [
                ("id", pa.int64()),
                ("amount", pa.float64()),
                ("code", pa.string()),
                ("kind", pa.string()),
                ("mail", pa.string()),
                ('odd "name\\', pa.bool_()),
                ("at", pa.timestamp("us", "UTC")),
                ("day", pa.date32()),
                ("size", pa.int64()),
                ("inner", pa.struct([("x", pa.int64())])),
            ]
        ),
    )
    return table.to_pandas() if engine is PanderaEngine.PANDAS else pl.DataFrame(table)


BAD: list[dict[str, Any]] = [
    {},
    {"id": 0},
    {"id": 3, "amount": 10.0},
    {"id": 3, "amount": 0.7},
    {"code": None},
    {"code": "abc"},
    {"kind": "b"},
    {"mail": "no"},
    {"mail": "a@b.ch"},
    {"mail": "a@b.ch"},
    {"at": datetime(2019, 12, 31, 22, 0, tzinfo=UTC)},
    {"day": date(2031, 1, 1)},
    {"size": 200},
]


@pytest.mark.parametrize("engine", ENGINES)
def test_good_data_passes(engine: PanderaEngine) -> None:
    schema = run(to_pandera_source(orders(), engine=engine))
    assert by_pandera(schema, rows(engine, [{}, {"kind": "x\ny", "amount": None}])) == {}


@pytest.mark.parametrize("engine", ENGINES)
def test_bad_data_fails_as_in_the_engine(engine: PanderaEngine) -> None:
    contract, frame = orders(), rows(engine, BAD)
    counted = by_pandera(run(to_pandera_source(contract, engine=engine)), frame)
    assert counted == {k: v for k, v in failed_rows(validate(frame, contract)).items() if v}
    assert len(counted) == 13


WRONG_TYPES: dict[str, Any] = {
    "id": ["1", "2"],
    "amount": ["x", "y"],
    "code": [1, 2],
    'odd "name\\': [1, 2],
    "at": [datetime(2024, 1, 1), datetime(2024, 1, 2)],  # noqa: DTZ001 - without a zone
    "day": [datetime(2024, 1, 1), datetime(2024, 1, 2)],  # noqa: DTZ001
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("column", WRONG_TYPES)
def test_a_column_of_another_type_fails(engine: PanderaEngine, column: str) -> None:
    frame = rows(engine, [{}, {}])
    values = WRONG_TYPES[column]
    if engine is PanderaEngine.PANDAS:
        frame = frame.assign(**{column: pd.Series(values)})
    else:
        frame = frame.with_columns(pl.Series(column, values))
    assert f"{column}.type" in by_pandera(run(to_pandera_source(orders(), engine=engine)), frame)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_column_fails(engine: PanderaEngine) -> None:
    frame = rows(engine, [{}])
    frame = frame.drop(columns="code") if engine is PanderaEngine.PANDAS else frame.drop("code")
    found = by_pandera(run(to_pandera_source(orders(), engine=engine)), frame)
    assert found.keys() & {"column_in_dataframe"}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_module_stands_alone_and_says_what_it_leaves_out(
    engine: PanderaEngine, tmp_path: Path
) -> None:
    source = to_pandera_source(orders(), engine=engine)
    assert "# not said here: inner.x.minimum: inner.x is >= 3" in source
    assert "# not said here: few: rowCount" in source
    assert "dagster_contracts" not in source
    (tmp_path / "made.py").write_text(source, encoding="utf-8")
    code = (
        "import made, sys; assert 'dagster_contracts' not in sys.modules; print(made.schema.name)"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "orders"), ran.stderr
