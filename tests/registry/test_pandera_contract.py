"""A contract that starts from the pandera schema of a team."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pandera.errors
import pandera.pandas as pa
import pandera.polars as pap
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_contracts import DocumentError, from_pandera, validate
from dagster_contracts.core.contract import ExtraColumns, LogicalType
from dagster_contracts.core.outcome import OutcomeStatus


class Orders(pa.DataFrameModel):
    """Orders of the shop."""

    order_id: int = pa.Field(ge=0, unique=True)
    status: str = pa.Field(isin=["new", "paid"], nullable=True)
    amount: float = pa.Field(in_range={"min_value": 0, "max_value": 9, "include_max": False})

    class Config:
        strict = True

    @pa.dataframe_check
    def paid_has_amount(cls, frame: pd.DataFrame) -> Any:  # noqa: N805 - pandera's own form
        return (frame["status"] != "paid") | (frame["amount"] > 0)


def schema_of(api: Any, integer: Any, number: Any, text: Any) -> Any:
    check = api.Check
    return api.DataFrameSchema(
        {
            "i": api.Column(integer, [check.ge(0), check.lt(5)]),
            "f": api.Column(number, check.in_range(-1, 2, include_min=False), nullable=True),
            "e": api.Column(text, check.isin(["a", "b"]), nullable=True),
            "m": api.Column(text, check.str_matches("a+b"), nullable=True),
            "c": api.Column(text, [check.str_contains("b"), check.str_length(1, 2)], nullable=True),
            "s": api.Column(text, check.str_startswith("a."), nullable=True),
            "z": api.Column(text, check.str_endswith(".b"), nullable=True),
            "q": api.Column(number, check.eq(1), nullable=True),
        },
        ordered=True,
    )


PANDAS = schema_of(pa, int, float, str)
POLARS = schema_of(pap, pl.Int64, pl.Float64, pl.String)
TEXTS = st.none() | st.sampled_from(["", "a", "ab", "aab", "bab", "a.", "a.b", "x.b", "c"])
NUMBERS = st.none() | st.sampled_from([-1.0, 0.0, 1.0, 2.0, 2.5])
ROWS = st.lists(
    st.fixed_dictionaries(
        {"i": st.integers(-1, 6), "f": NUMBERS} | dict.fromkeys("emcsz", TEXTS) | {"q": NUMBERS}
    ),
    min_size=1,
    max_size=6,
)


def rows_that_break(schema: Any, frame: Any) -> set[int]:
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        return {int(index) for index in list(error.failure_cases["index"])}
    return set()


@pytest.mark.parametrize("kind", ["pandas", "polars"])
@settings(max_examples=15, deadline=None)
@given(rows=ROWS)
def test_the_contract_counts_the_rows_that_pandera_counts(kind: str, rows: list[Any]) -> None:
    types = {"i": pl.Int64, "f": pl.Float64, "q": pl.Float64}
    frame: Any = pl.DataFrame(rows, {n: types.get(n, pl.String) for n in "ifemcszq"})
    if kind == "pandas":
        frame = frame.to_pandas().astype(dict.fromkeys("emcsz", "str"))
    schema = PANDAS if kind == "pandas" else POLARS
    found = from_pandera(schema, name="things")
    assert found.untranslated == ()
    report = validate(frame, found.contract)
    broken = rows_that_break(schema, frame)
    assert report.metrics["schema_validation_errors"] * len(rows) == len(broken)
    assert (report.status is OutcomeStatus.FAILED) == bool(broken)


def test_a_model_becomes_a_contract_and_pandera_keeps_the_rest() -> None:
    found = from_pandera(Orders, name="orders")
    target = found.contract.objects[0]
    order_id, status, amount = target.properties
    assert (order_id.logical_type, order_id.required, order_id.unique) == (
        LogicalType.INTEGER,
        True,
        True,
    )
    assert status.options.enum == ("new", "paid")
    assert not status.required
    assert (amount.options.minimum, amount.options.exclusive_maximum) == (0, 9)
    assert target.extra_columns is ExtraColumns.FORBID
    assert found.untranslated == ("the check paid_has_amount of the whole frame",)
    assert "# - the check paid_has_amount of the whole frame" in found.text
    (rule,) = target.quality
    assert rule.implementation == "tests.registry.test_pandera_contract:Orders"
    bad = pd.DataFrame({"order_id": [1, 2], "status": ["paid", "new"], "amount": [0.0, 0.0]})
    alone = validate(bad, found.contract)
    (kept,) = [o for o in alone.outcomes if o.rule == "pandera"]
    assert kept.status is OutcomeStatus.NOT_EVALUATED
    for allowed in ({"custom": found.custom}, {"allow_code": ["tests.registry"]}):
        report = validate(bad, found.contract, **allowed)
        (kept,) = [o for o in report.outcomes if o.rule == "pandera"]
        assert (kept.status, kept.failed_rows) == (OutcomeStatus.FAILED, 1)
        assert not [o for o in report.failures() if o.rule != "pandera"]


def test_what_has_no_word_is_named_each_by_itself() -> None:
    check = pa.Check
    schema = pa.DataFrameSchema(
        {
            "a": pa.Column(int, check(lambda s: s > 0, name="mine"), coerce=True),
            "b": pa.Column(str, check.str_contains("(?i)x"), nullable=True, unique=True),
            "c": pa.Column(float, [check.ge(0), check.ge(1), check.ne(3)], required=True),
            "d": pa.Column("timedelta64[ns]"),
            "e": pa.Column(str, check.isin(["x"], raise_warning=True)),
            "^x_": pa.Column(int, regex=True),
            "f": pa.Column(int, required=False),
        },
        index=pa.Index(int),
        strict="filter",
        unique=["a", "b"],
        parsers=pa.Parser(lambda frame: frame),
    )
    found = from_pandera(schema, name="things", form="odcs", implementation="shop:things")
    assert set(found.untranslated) == {
        "the index: a contract knows columns alone",
        "strict='filter', which drops columns",
        "parsers, which change the data first",
        "a: the check mine",
        "a: coerce: a contract asks for the type and changes nothing",
        "b: the check str_contains",
        "b: unique, where nulls are duplicates",
        "c: the check greater_than_or_equal_to",
        "c: the check not_equal_to",
        "d: the dtype timedelta64[ns]",
        "e: the check isin",
        "^x_: a pattern for the names of columns",
        "f: a column that may be absent",
        "unique over a, b, where nulls are duplicates",
    }
    assert [prop.name for prop in found.contract.objects[0].properties] == list("abcde")
    assert found.custom == {"shop:things": schema}


def test_an_index_is_checked_by_pandera() -> None:
    schema = pa.DataFrameSchema({"a": pa.Column(int)}, index=pa.Index(str))
    found = from_pandera(schema, name="things")
    good, bad = pd.DataFrame({"a": [1]}, index=["x"]), pd.DataFrame({"a": [1]})
    assert validate(good, found.contract, custom=found.custom).status is OutcomeStatus.PASSED
    assert validate(bad, found.contract, custom=found.custom).status is OutcomeStatus.FAILED


def test_types_of_polars() -> None:
    dtypes = {
        "d": (pl.Date, LogicalType.DATE),
        "t": (pl.Datetime("us", "UTC"), LogicalType.TIMESTAMP),
        "n": (pl.Decimal(10, 2), LogicalType.NUMBER),
        "h": (pl.Time, LogicalType.TIME),
        "b": (pl.Boolean, LogicalType.BOOLEAN),
        "l": (pl.List(pl.Int64), LogicalType.ARRAY),
        "o": (pl.Struct({"a": pl.Int64}), LogicalType.OBJECT),
    }
    schema = pap.DataFrameSchema({name: pap.Column(dtype) for name, (dtype, _) in dtypes.items()})
    properties = from_pandera(schema, name="things").contract.objects[0].properties
    assert {p.name: p.logical_type for p in properties} == {n: t for n, (_, t) in dtypes.items()}
    assert properties[1].options.timezone is True


def test_what_is_no_schema_is_refused() -> None:
    with pytest.raises(TypeError, match="int is neither a pandera"):
        from_pandera(int, name="x")
    with pytest.raises(DocumentError, match="cannot name a contract"):
        from_pandera(PANDAS, name="a b")


@pytest.mark.parametrize(
    ("name", "column", "frame"),
    [
        ("opt", pa.Column(str, required=False), {"a": [1], "opt": ["z"]}),
        ("opt", pa.Column(str, required=False), {"a": [1]}),
        ("x_.*", pa.Column(str, regex=True), {"a": [1], "x_1": ["z"]}),
    ],
)
def test_a_strict_schema_with_columns_that_may_be_there_leaves_strict_to_pandera(
    name: str, column: Any, frame: dict[str, list[Any]]
) -> None:
    made = from_pandera(
        pa.DataFrameSchema({"a": pa.Column(int), name: column}, strict=True), name="o"
    )
    assert made.contract.objects[0].extra_columns is ExtraColumns.ALLOW
    assert any(words.startswith("strict") for words in made.untranslated)
    good = validate(pd.DataFrame(frame), made.contract, custom=made.custom)
    assert good.status is OutcomeStatus.PASSED
    wrong = validate(pd.DataFrame({**frame, "more": [1]}), made.contract, custom=made.custom)
    assert wrong.status is OutcomeStatus.FAILED
