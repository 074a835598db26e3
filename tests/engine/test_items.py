"""Rules about what arrays, maps and the structs within them hold."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_contracts.core.contract import LibraryMetric, LogicalType
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.validation import validate
from tests.engine import oracle
from tests.engine.builders import (
    INTEGER,
    NUMBER,
    STRING,
    as_kind,
    column,
    contract,
    failed_rows,
    library,
    outcome,
    threshold,
)

ARRAY, MAP, OBJECT = LogicalType.ARRAY, LogicalType.MAP, LogicalType.OBJECT
SKU = column("sku", STRING, required=True, pattern="^[a-c]+$", max_length=2)
NUMBER_OF = column("n", INTEGER, minimum=0, maximum=5, enum=(0, 1, 2, 5, 7))
LINE = column("line", OBJECT, required=True, properties=(SKU, NUMBER_OF))
TAG = column("tag", STRING, required=True, min_length=1)
MADE = contract(
    column("id", INTEGER, primary_key_position=1),
    column("lines", ARRAY, items=LINE, min_items=1),
    column("box", OBJECT, properties=(column("tags", ARRAY, items=TAG, unique_items=True),)),
    column("grid", ARRAY, items=column("row", ARRAY, items=column("x", NUMBER, maximum=1))),
    column("prices", MAP, items=column("price", NUMBER, required=True, exclusive_minimum=0)),
)
TYPES = pa.schema(
    {
        "id": pa.int64(),
        "lines": pa.list_(pa.struct({"sku": pa.string(), "n": pa.int64()})),
        "box": pa.struct({"tags": pa.list_(pa.string())}),
        "grid": pa.list_(pa.list_(pa.float64())),
        "prices": pa.map_(pa.string(), pa.float64()),
    }
)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, TYPES)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


lines = st.fixed_dictionaries(
    {
        "sku": optional(st.sampled_from(["a", "bc", "abc", "x", ""])),
        "n": optional(st.integers(-1, 8)),
    }
)
rows = st.fixed_dictionaries(
    {
        "lines": optional(st.lists(optional(lines), max_size=3)),
        "box": optional(
            st.fixed_dictionaries(
                {"tags": optional(st.lists(optional(st.sampled_from(["", "a", "b"])), max_size=3))}
            )
        ),
        "grid": optional(
            st.lists(
                optional(st.lists(optional(st.sampled_from([0.5, 2.0])), max_size=2)), max_size=2
            )
        ),
        "prices": optional(
            st.dictionaries(st.sampled_from("ab"), optional(st.sampled_from([-1.0, 1.0])))
        ),
    }
)


@settings(max_examples=20, deadline=None)
@given(st.lists(rows, min_size=1, max_size=6))
def test_counts_are_those_of_plain_python(found: list[dict[str, Any]]) -> None:
    numbered = [{"id": place, **row} for place, row in enumerate(found)]
    data = table(numbered)
    flat = [
        {
            name: list(v.items()) if name == "prices" and v is not None else v
            for name, v in row.items()
        }
        for row in numbered
    ]
    expected = oracle.nested_counts(MADE.objects[0], flat)
    for kind in (data, pl.DataFrame(data).lazy(), duckdb.connect().from_arrow(data)):
        assert failed_rows(validate(kind, MADE)) == expected


@pytest.mark.parametrize("kind", ["pyarrow", "duckdb"])
def test_samples_show_the_key_and_the_array(kind: str, tmp_path: Path) -> None:
    data = table([{"id": 7, "lines": [{"sku": "a", "n": 1}, {"sku": "x", "n": 1}]}])
    report = validate(as_kind(data, kind, tmp_path), MADE)
    found = outcome(report, "lines[].sku.pattern")
    assert (found.failed_rows, found.rows_tested) == (1, 1)
    assert found.samples == ({"id": 7, "lines": [{"sku": "a", "n": 1}, {"sku": "x", "n": 1}]},)
    assert report.metrics["schema_validation_errors"] == 1


def test_an_item_that_is_classified_is_not_shown() -> None:
    secret = column("t", STRING, max_length=1, classification="restricted")
    made = contract(column("tags", ARRAY, items=secret))
    report = validate(pl.DataFrame({"tags": [["s3cret"]]}), made)
    assert failed_rows(report) == {"tags[].max_length": 1}
    assert "s3cret" not in str(report)


def test_rows_that_break_several_rules_of_items_count_once() -> None:
    data = table([{"id": 1, "lines": [{"sku": None, "n": 9}]}, {"id": 2, "lines": [{"sku": "a"}]}])
    report = validate(data, MADE)
    assert set(failed_rows(report)) == {
        "lines[].sku.required",
        "lines[].n.maximum",
        "lines[].n.enum",
    }
    assert report.metrics["schema_validation_errors"] == pytest.approx(0.5)


def test_quality_rules_stand_at_items_too() -> None:
    rule = library(
        "few",
        LibraryMetric.INVALID_VALUES,
        valid_values=("a",),
        threshold=threshold("mustBeLessThan", 2),
    )
    sku = column("sku", STRING, quality=(rule,))
    made = contract(column("lines", ARRAY, items=column("line", OBJECT, properties=(sku,))))
    data = pl.DataFrame({"lines": [[{"sku": "a"}, {"sku": "b"}], [{"sku": "b"}], [], None]})
    found = outcome(validate(data, made), "few")
    assert (found.status, found.failed_rows) == (OutcomeStatus.FAILED, 2)


def test_types_of_items_are_those_of_the_data() -> None:
    made = contract(
        column("tags", ARRAY, items=column("t", INTEGER, minimum=0)),
        column("lines", ARRAY, items=column("l", OBJECT, properties=(column("gone", STRING),))),
        column("attributes", MAP, items=column("a", STRING, min_length=2)),
    )
    data = pl.DataFrame(
        {"tags": [["a"]], "lines": [[{"sku": 1}]], "attributes": [{"x": "long", "y": "s"}]}
    )
    report = validate(data, made)
    reasons = {o.rule: o.reason for o in report.outcomes if o.status is OutcomeStatus.FAILED}
    assert reasons["tags[].type"] == "tags[] has the type String, not integer"
    assert reasons["tags[].minimum"] == "tags[] has the type String, not integer"
    assert reasons["lines[].gone.present"] == "lines[] has no field gone"
    assert outcome(report, "attributes{}.min_length").failed_rows == 1
    mixed = data.with_columns(attributes=pl.struct(x=pl.lit("a"), y=pl.lit(1)))
    found = validate(mixed, made)
    for rule in ("attributes{}.type", "attributes{}.min_length"):
        assert outcome(found, rule).status is OutcomeStatus.NOT_EVALUATED


@pytest.mark.parametrize("nothing", [[], [[]], [None], [[None]], [[], None]])
def test_where_there_are_no_items_nothing_is_broken(nothing: list[Any]) -> None:
    made = contract(
        column("tags", ARRAY, items=column("t", STRING, max_length=1, enum=("a",))),
        column("lines", ARRAY, items=column("l", OBJECT, properties=(SKU,))),
    )
    report = validate(pl.DataFrame({"tags": nothing, "lines": nothing}), made)
    assert report.status is OutcomeStatus.PASSED, report.failures()


def test_duckdb_measures_items_of_every_shape_or_says_why_not() -> None:
    relation = duckdb.sql(
        """SELECT ['it''s', NULL] AS "odd ""name", [1, 9]::INTEGER[2] AS pair, [uuid()] AS ids,
        ['a', 'z']::ENUM('a', 'z')[] AS codes, [{'x': [{'y.z': 1}, {'y.z': 5}]}] AS deep,
        [DATE '2024-01-01'] AS days, [] AS nothing, [0.07, 0.08]::DECIMAL(9, 2)[] AS prices"""
    )

    def listed(name: str, item: Any) -> Any:
        return column(name, ARRAY, items=item)

    inner = column("l", OBJECT, properties=(column("y.z", INTEGER, maximum=4),))
    outer = column("l", OBJECT, properties=(listed("x", inner),))
    made = contract(
        listed('odd "name', column("t", STRING, required=True, enum=("it's",), pattern="^it's$")),
        listed("pair", column("n", INTEGER, maximum=8)),
        listed("ids", column("id", STRING, min_length=99)),
        listed("codes", column("c", STRING, enum=("a",))),
        listed("deep", outer),
        listed("days", column("d", LogicalType.DATE, maximum=date(2023, 1, 1))),
        listed("nothing", column("n", INTEGER, minimum=1)),
        listed("prices", column("p", NUMBER, multiple_of=Decimal("0.07"))),
    )
    report = validate(relation, made)
    assert failed_rows(report) == {
        'odd "name[].required': 1,
        "pair[].maximum": 1,
        "codes[].enum": 1,
        "deep[].x[].y.z.maximum": 1,
        "days[].maximum": 1,
        "prices[].multiple_of": 1,
    }
    unmeasured = [o.rule for o in report.outcomes if o.status is OutcomeStatus.NOT_EVALUATED]
    assert unmeasured == ["ids[].min_length"]
    assert "UUID" in (outcome(report, "ids[].min_length").reason or "")
