"""A contract that was inferred loads, lints without a problem, and its data keeps it."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_contracts.core.contract import LogicalType
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.documents.document import read_document
from dagster_contracts.documents.lint import lint_contract
from dagster_contracts.engine.validation import validate
from dagster_contracts.errors import DocumentError, UnreadableDataError
from dagster_contracts.registry.inference import InferredContract, infer_contract, name_from
from tests.engine.builders import as_kind

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORDERS = 200


def orders() -> pl.DataFrame:
    """A table in which there is something to find."""
    numbers = range(ORDERS)
    return pl.DataFrame(
        {
            "order_id": [1000 + n for n in numbers],
            "customer_email": [f"c{n % 90}@example.com" for n in numbers],
            "status": [("new", "paid", "sent")[n % 3] for n in numbers],
            "country": [chr(65 + n % 26) + chr(65 + n % 7) + "X" for n in numbers],
            "amount": [float(n) + 0.5 for n in numbers],
            "balance": [(-1) ** n * n for n in numbers],
            "discount": [None if n % 10 == 0 else n / 1000 for n in numbers],
            "note": [f"note {'x' * (n % 40)}" for n in numbers],
            "ordered_at": [NOW - timedelta(minutes=n) for n in numbers],
            "updated_at": [NOW - timedelta(days=3, minutes=n) for n in numbers],
        }
    )


def keeps(data: Any, found: InferredContract) -> None:
    """The promise of this module."""
    assert lint_contract(found.contract) == ()
    report = validate(data, found.contract, now=NOW)
    kept = {outcome.rule: outcome for outcome in report.outcomes}
    assert {
        rule: (outcome.status, outcome.reason, outcome.samples)
        for rule, outcome in kept.items()
        if outcome.status is not OutcomeStatus.PASSED
    } == {}, found.text


@pytest.mark.parametrize("form", ["compact", "odcs"])
def test_what_stands_in_the_data_stands_in_the_contract(form: str) -> None:
    found = infer_contract(orders(), name="orders", form=form, now=NOW)

    keeps(orders(), found)
    (schema,) = found.contract.objects
    known = {prop.name: prop for prop in schema.properties}
    assert schema.primary_key == ("order_id",)
    assert known["order_id"].required
    assert known["order_id"].options.maximum is None
    assert [prop.name for prop in schema.properties if prop.unique] == []
    assert known["status"].options.enum == ("new", "paid", "sent")
    assert known["country"].options.pattern == "^[A-Z]{3}$"
    assert known["amount"].options.minimum == 0
    assert known["amount"].options.maximum == 250
    assert known["balance"].options.minimum == -250
    assert known["note"].options.max_length == 100
    assert known["customer_email"].classification == "personal"
    assert known["customer_email"].options.format == "email"
    (rule,) = known["discount"].quality
    assert not known["discount"].required
    assert rule.threshold is not None
    assert rule.threshold.values == (20,)
    (rows,) = schema.quality
    assert rows.threshold is not None
    assert rows.threshold.values == (0,)
    assert rows.warn is not None
    assert rows.warn.values == (100, 400)
    assert found.contract.event_time == "ordered_at"
    assert known["ordered_at"].options.timezone is True
    (freshness,) = found.contract.sla
    assert freshness.property == "freshness"


@pytest.mark.parametrize("form", ["compact", "odcs"])
def test_each_guess_stands_beside_what_it_rests_on(form: str) -> None:
    found = infer_contract(orders(), name="orders", form=form, now=NOW)

    for guess in found.guesses:
        assert guess.because in found.text
    # As many comments as places; those of a column and of its rule share none here.
    places = {(guess.path, guess.key) for guess in found.guesses}
    assert found.text.count("# guessed: ") == len(places)


def test_a_composite_key_is_found_where_no_column_is_unique() -> None:
    readings = pl.DataFrame(
        {
            "sensor_id": [n % 20 for n in range(400)],
            "day": [date(2026, 1, 1) + timedelta(days=n // 20) for n in range(400)],
            "value": [n * 0.37 for n in range(400)],
        }
    )

    found = infer_contract(readings, name="readings", now=NOW)

    assert found.contract.objects[0].primary_key == ("sensor_id", "day")
    keeps(readings, found)


def test_what_is_unique_by_accident_is_no_key() -> None:
    prices = pl.DataFrame({"price": list(range(0, 500, 5)), "shelf": [n % 50 for n in range(100)]})

    assert infer_contract(prices, name="prices", now=NOW).contract.objects[0].primary_key == ()


def test_a_key_that_repeats_only_in_the_last_row_is_none() -> None:
    rows = 30_000
    table = pl.DataFrame({"id": [*range(rows - 1), 7], "code": ["AB", *["CD"] * (rows - 2), "x"]})

    found = infer_contract(table, name="table", now=NOW)

    assert found.contract.objects[0].primary_key == ()
    assert found.contract.objects[0].properties[1].options.pattern is None
    keeps(table, found)


def test_few_rows_make_few_rules() -> None:
    table = pl.DataFrame({"kind": ["a", "b", "a"], "size": [1, 2, 3]})

    (schema,) = infer_contract(table, name="few", now=NOW).contract.objects

    for prop in schema.properties:
        assert prop.required
        assert prop.options.enum == ()
        assert prop.options.maximum is None
    assert schema.primary_key == ()


def test_values_that_may_be_somebodys_are_not_written() -> None:
    people = pl.DataFrame(
        {
            "Name": ["Ada Lovelace", "Grace Hopper"] * 100,
            "homePhone": ["+41 44 123 45 67", "+41 44 765 43 21"] * 100,
            "salary": [123456, 98765] * 100,
            "product_name": ["chair", "table"] * 100,
        }
    )

    found = infer_contract(people, name="people", now=NOW)

    for secret in ("Lovelace", "123 45", "123456", "98765"):
        assert secret not in found.text
    assert "chair" in found.text
    keeps(people, found)


def test_an_old_newest_event_says_nothing_about_freshness() -> None:
    found = infer_contract(orders(), name="orders", now=NOW + timedelta(days=900))

    assert found.contract.sla == ()
    assert found.contract.event_time == "ordered_at"


def test_a_sample_is_said_to_be_one() -> None:
    found = infer_contract(orders(), name="orders", sample=50, now=NOW)

    assert "the first 50 rows of 200" in found.text
    assert "never missing in the first 50 rows" in found.text
    assert found.contract.objects[0].quality[0].warn.values == (100, 400)


@pytest.mark.parametrize(
    "kind",
    ["polars_lazy", "pyarrow", "pandas", "pandas_nullable", "pandas_arrow", "parquet", "duckdb"],
)
def test_every_kind_of_data_gives_the_same_contract(kind: str, tmp_path: Path) -> None:
    data = as_kind(orders().to_arrow(), kind, tmp_path)

    found = infer_contract(data, name="orders", now=NOW)

    plain = infer_contract(orders(), name="orders", now=NOW)
    assert found.contract.objects == plain.contract.objects
    keeps(data, found)


def test_a_reader_of_batches_can_be_profiled() -> None:
    found = infer_contract(orders().to_arrow().to_reader(), name="orders", now=NOW)

    keeps(orders(), found)


def test_csv_is_read_as_what_its_texts_are(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    wide = orders().with_columns(
        zip=pl.Series([f"{n:05}" for n in range(ORDERS)]),
        big=pl.Series([str(10**25 + n) for n in range(ORDERS)]),
        gone=pl.lit(None, pl.String),
        flag=pl.Series([n % 2 == 0 for n in range(ORDERS)]),
        gap=pl.Series(["NA" if n == ORDERS - 1 else str(n) for n in range(ORDERS)]),
    )
    wide.write_csv(path)

    found = infer_contract(path, name="orders", now=NOW)

    keeps(path, found)
    types = {prop.name: prop.logical_type for prop in found.contract.objects[0].properties}
    assert types["order_id"] is LogicalType.INTEGER
    assert types["amount"] is LogicalType.NUMBER
    assert types["ordered_at"] is LogicalType.TIMESTAMP
    assert types["flag"] is LogicalType.BOOLEAN
    assert types["zip"] is types["big"] is types["gap"] is LogicalType.STRING
    assert types["gone"] is None


def test_json_lines_and_folders_and_globs_are_read(tmp_path: Path) -> None:
    orders().write_ndjson(tmp_path / "orders.jsonl")
    (tmp_path / "parts").mkdir()
    orders().head(90).write_parquet(tmp_path / "parts" / "a.parquet")
    orders().tail(110).write_parquet(tmp_path / "parts" / "b.parquet")

    for data in (
        tmp_path / "orders.jsonl",
        tmp_path / "parts",
        str(tmp_path / "parts" / "*.parquet"),
    ):
        found = infer_contract(data, name="orders", now=NOW)
        assert found.profile.rows == ORDERS
        keeps(data, found)


@pytest.mark.parametrize(
    "table",
    [
        pl.DataFrame(),
        pl.DataFrame({"a": pl.Series([], dtype=pl.Int64), "b": pl.Series([], dtype=pl.String)}),
        pl.DataFrame({"a": pl.Series([None] * 30), "b": pl.Series([None] * 30, dtype=pl.Int8)}),
        pl.DataFrame({"a": [math.nan] * 30, "b": [math.inf, -math.inf, 1.0] * 10}),
        pl.DataFrame({"a": [b"\x00\xff", None] * 20, "b": [timedelta(hours=1), None] * 20}),
        pl.DataFrame({"a": [[{"x": 1}], []] * 20, "b": [{"y": [1], "z": {"w": "q"}}] * 40}),
        pl.DataFrame(
            {"a": [2**63 - 1, -(2**63)] * 20, "b": pl.Series([2**64 - 1] * 40, dtype=pl.UInt64)}
        ),
        pl.DataFrame({"a": pl.Series([Decimal("99999999999999999999999999999999999999")] * 40)}),
        pl.DataFrame({"a": pl.Series([1.7e308, -1.7e308] * 20), "b": [5e-324] * 40}),
        pl.DataFrame({"a": pl.Series(["x", "y"] * 100, dtype=pl.Categorical)}),
        pl.DataFrame({"a": pl.Series(["x", "y"] * 100, dtype=pl.Enum(["x", "y", "z"]))}),
        pl.DataFrame({"Id": range(40), "id": range(40), "ID ": range(40), " ": range(40)}),
        pl.DataFrame({"a \"b\" 'c'": [1], "a.b": [1], "né": [1], "a\nb": [1], "x" * 3000: [1]}),
        pl.DataFrame({"": [1, 2], "#": [3, 4], "no": [True, False], "1e3": ["a", "b"]}),
        pl.DataFrame({"a\x00": range(30), "${env:HOME}": range(30), "s": [{"\x00": 1}] * 30}),
        pl.DataFrame({"status": ["${env:HOME}", "b\x00"] * 60}),
        pl.DataFrame({"status": ["no", "1e3", "~", "12:30", "", " x"] * 60}),
        pl.DataFrame(
            {"a": pl.Series([datetime.fromisoformat("9999-12-31")] * 30), "b": [date(1, 1, 1)] * 30}
        ),
    ],
    ids=lambda table: ", ".join(table.columns)[:20] if isinstance(table, pl.DataFrame) else None,
)
@pytest.mark.parametrize("form", ["compact", "odcs"])
def test_odd_tables(table: pl.DataFrame, form: str) -> None:
    keeps(table, infer_contract(table, name="odd", form=form, now=NOW))


def test_names_that_no_contract_may_have() -> None:
    with pytest.raises(DocumentError, match="cannot name a contract"):
        infer_contract(orders(), name="../orders")
    assert name_from("Orders 2024 (final).csv.gz") == "Orders_2024_final"
    assert name_from("...") == "data"


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    latin = tmp_path / "latin.csv"
    latin.write_bytes("name,stadt\nJürg,Zürich\n".encode("latin-1"))

    for data in (latin, tmp_path / "none.csv", 3):
        with pytest.raises(UnreadableDataError):
            infer_contract(data, name="odd")


def test_the_text_is_the_contract(tmp_path: Path) -> None:
    found = infer_contract(orders(), name="orders", asset="shop/orders", now=NOW)
    path = tmp_path / "orders.yaml"
    path.write_text(found.text, encoding="utf-8")

    assert read_document(path).contract == found.contract
    assert found.contract.asset == "shop/orders"


texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["EUR", "CHF", "a@b.ch", "2024-01-01", "007", "1.5", "true", "NaN", ""]),
)
moments = st.datetimes(datetime.fromisoformat("1700-01-01"), datetime.fromisoformat("2200-01-01"))
columns = st.sampled_from(
    [
        (pl.Int8, st.integers(-128, 127)),
        (pl.Int64, st.integers(-(2**63), 2**63 - 1)),
        (pl.Int64, st.integers(0, 3)),
        (pl.UInt64, st.integers(0, 2**64 - 1)),
        (pl.Float64, st.floats()),
        (pl.Float32, st.floats(width=32)),
        (pl.Float64, st.floats(0, 1)),
        (pl.Decimal(38, 4), st.decimals(-(10**20), 10**20, places=4)),
        (pl.Boolean, st.booleans()),
        (pl.String, texts),
        (pl.String, st.sampled_from(["x", "y", "zz"])),
        (pl.Date, st.dates()),
        (pl.Datetime("us"), moments),
        (pl.Datetime("ms", "Europe/Zurich"), moments),
        (pl.Time, st.times()),
        (pl.Binary, st.binary(max_size=5)),
        (pl.List(pl.Int64), st.lists(st.integers(0, 9), max_size=3)),
        (pl.Struct({"x": pl.Int64}), st.fixed_dictionaries({"x": st.integers(0, 9)})),
    ]
)
names = st.one_of(
    st.text(max_size=10), st.sampled_from(["id", "order_id", "email", "hour", "created_at", "lat"])
)


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    height = draw(st.sampled_from([0, 1, 3, 25, 130]))
    found = []
    for name in draw(st.lists(names, max_size=5, unique=True)):
        dtype, values = draw(columns)
        # A few values, repeated, so that many rows cost little to draw.
        kinds = draw(st.lists(st.none() | values, min_size=1, max_size=8))
        found.append(pl.Series(name, [kinds[n % len(kinds)] for n in range(height)], dtype=dtype))
    return pl.DataFrame(found)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(table=tables(), form=st.sampled_from(["compact", "odcs"]))
def test_data_keeps_the_contract_that_was_made_of_it(table: pl.DataFrame, form: str) -> None:
    keeps(table, infer_contract(table, name="any", form=form, now=NOW))


plain = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=8)


@settings(
    # Each example writes and reads a file.
    max_examples=max(1, settings.default.max_examples // 4),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(st.tuples(texts, plain, st.integers()), min_size=1, max_size=40),
    times=st.integers(1, 20),
)
def test_a_csv_file_keeps_its_contract(
    rows: list[tuple[Any, ...]], times: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    pl.DataFrame(rows * times, schema=["a", "b", "c"], orient="row", strict=False).cast(
        pl.String
    ).write_csv(path)

    keeps(path, infer_contract(path, name="any", now=NOW))
