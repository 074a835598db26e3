from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_contracts.core.contract import SchemaProperty
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
    DATE,
    INTEGER,
    KINDS,
    NUMBER,
    STRING,
    TIMESTAMP,
    as_kind,
    column,
    contract,
    failed_rows,
)
from tests.engine.oracle import counts

INTEGERS = st.sampled_from([-3, -1, 0, 1, 2, 3, 7, 2**53, 2**53 + 1, -(2**63), 2**63 - 1])
FLOATS = st.sampled_from([-1.5, 0.0, 0.1, 1.0, 2.5, 1e300, math.nan, math.inf, -math.inf])
TEXTS = st.text(alphabet="abN19 é\n'\"", max_size=4)
EPOCH = datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)
DATES = st.dates(date(2023, 12, 30), date(2024, 1, 3))
INSTANTS = st.datetimes(EPOCH, EPOCH.replace(second=2)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 250_000 * 250_000)
)
DECIMALS = st.integers(-300, 300).map(lambda cents: Decimal(cents) / 100)

PATTERNS = ["^N", "a$", "^$", "^[ab]{1,2}$", "N.9", r"\d", r"^\w*$", "a|9$", r"[^\s]", "é"]
TYPES = {
    "i": (INTEGER, pa.int64(), INTEGERS),
    "f": (NUMBER, pa.float64(), FLOATS),
    "s": (STRING, pa.string(), TEXTS),
    "d": (DATE, pa.date32(), DATES),
    "t": (TIMESTAMP, pa.timestamp("us"), INSTANTS),
    "m": (NUMBER, pa.decimal128(12, 2), DECIMALS),
}


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


def limits(name: str) -> st.SearchStrategy:
    match name:
        case "i":
            return INTEGERS | st.sampled_from([Decimal("0.5"), 2**70, -(2**70), 1.5])
        case "f":
            return st.sampled_from([-1, 0, 0.1, 1, Decimal("2.5")])
        case "m":
            return DECIMALS | st.sampled_from([1, Decimal("0.005"), Decimal("-1.995"), 10**15])
        case "d":
            return DATES
        case _:
            return INSTANTS | DATES.map(lambda day: datetime.combine(day, time()))


@st.composite
def properties(draw: st.DrawFn, name: str) -> SchemaProperty:
    logical_type, _, values = TYPES[name]
    fields: dict = {"required": draw(st.booleans()), "unique": draw(st.booleans())}
    if name == "s":
        fields["min_length"] = draw(maybe(st.integers(0, 3)))
        fields["max_length"] = draw(maybe(st.integers(0, 3)))
        fields["pattern"] = draw(maybe(st.sampled_from(PATTERNS)))
    else:
        for bound in ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum"):
            fields[bound] = draw(maybe(limits(name)))
    if draw(st.booleans()):
        finite = values.filter(lambda value: not (isinstance(value, float) and value != value))
        fields["enum"] = tuple(draw(st.lists(finite, min_size=1, max_size=6)))
    if name == "i":
        fields["multiple_of"] = draw(maybe(st.sampled_from([Decimal(2), Decimal(7)])))
    return column(name, logical_type, **fields)


@st.composite
def cases(draw: st.DrawFn):
    names = draw(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=4, unique=True))
    chosen = [draw(properties(name)) for name in names]
    key = draw(st.sampled_from([(), tuple(names[:1]), tuple(names[:2])]))
    chosen = [
        column_with_key(prop, key.index(prop.name) + 1) if prop.name in key else prop
        for prop in chosen
    ]
    size = draw(st.integers(0, 12))
    values = {
        name: draw(st.lists(maybe(TYPES[name][2]), min_size=size, max_size=size)) for name in names
    }
    # pyarrow would read NaN in a list as a value and not as a gap, which is what is wanted.
    table = pa.table({name: pa.array(values[name], TYPES[name][1]) for name in names})
    return contract(*chosen), table


def column_with_key(prop: SchemaProperty, position: int) -> SchemaProperty:
    options = {name: getattr(prop.options, name) for name in prop.options.__dataclass_fields__}
    return column(
        prop.name,
        prop.logical_type,
        required=True,
        unique=prop.unique,
        primary_key_position=position,
        **options,
    )


def holds_exactly(table: pa.Table, kind: str) -> bool:
    """Whether this kind of data can hold the table: numpy has no integers with gaps."""
    if kind not in ("pandas", "pandas_objects") or "i" not in table.column_names:
        return True
    numbers = table["i"].to_pylist()
    return None not in numbers or all(abs(n) <= 2**53 for n in numbers if n is not None)


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=cases())
def test_every_count_is_what_plain_python_counts(kind: str, case, tmp_path: Path):
    made, table = case
    if not holds_exactly(table, kind):
        return
    report = validate(as_kind(table, kind, tmp_path), made)
    expected = counts(made.objects[0], table.to_pylist())
    any_broken = expected.pop("*", 0)
    assert not [o for o in report.outcomes if o.status.value == "not_evaluated"]
    assert failed_rows(report) == expected
    assert report.rows == table.num_rows
    assert report.metrics["schema_validation_errors"] * max(table.num_rows, 1) == any_broken
    assert {o.rule for o in report.failures()} == set(expected)
    for one in report.outcomes:
        if one.failed_rows:
            assert 1 <= len(one.samples) <= 5
