"""Tables, contracts over them, and what every kind of data must count.

The counts were worked out by hand from what the rules mean; a rule that is not named fails no row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa

from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import (
    Contract,
    LibraryMetric,
    LogicalType,
    QualityRule,
    Relationship,
    RuleKind,
    SlaProperty,
    TypeOptions,
)
from tests.engine.builders import (
    BOOLEAN,
    DATE,
    INTEGER,
    NUMBER,
    STRING,
    TIMESTAMP,
    column,
    contract,
    expression,
    library,
    threshold,
)

BIG = 2**53
NAN = math.nan


@dataclass(frozen=True)
class Case:
    """``failed`` has the failing rows of rules, ``values`` what aggregates measure.

    ``broken`` are rules that fail as such, ``unmeasured`` those that no kind of data can measure,
    with words from the reason. ``keys`` are the keys of the rows that a rule's sample shows.
    ``circumstances`` are told beside the data, ``metrics`` what comes of both.
    """

    table: pa.Table
    contract: Contract
    failed: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, list[Any]] = field(default_factory=dict)
    references: Mapping[str, pa.Table] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    schema_errors: Fraction | None = None
    metrics: Mapping[str, Fraction] = field(default_factory=dict)
    circumstances: Mapping[str, Any] = field(default_factory=dict)


def ints(*values: int | None, of: pa.DataType | None = None) -> pa.Array:
    return pa.array(values, of or pa.int64())


def floats(*values: float | None) -> pa.Array:
    # A list of Python floats keeps NaN apart from null.
    return pa.array(values, pa.float64(), from_pandas=False)


def texts(*values: str | None) -> pa.Array:
    return pa.array(values, pa.string())


def instants(*values: datetime | None, unit: str = "us", zone: str | None = None) -> pa.Array:
    return pa.array(values, pa.timestamp(unit, zone))


def at(*parts: int, zone: Any = None) -> datetime:
    return datetime(*parts, tzinfo=zone)  # type: ignore[arg-type]


def _measured(name: str, metric: LibraryMetric, of: str | None = None, **fields: Any):
    """An aggregate that passes whatever it measures: its value is what is compared."""
    return library(name, metric, of, threshold=threshold("mustNotBe", -12345), **fields)


def _invalid(name: str, of: str, **fields: Any) -> QualityRule:
    return library(name, LibraryMetric.INVALID_VALUES, of, **fields)


def _nulls() -> Case:
    return Case(
        pa.table(
            {
                "s": texts(None, "a", None),
                "f": floats(None, 1.0, None),
                "i": ints(None, 1, None),
                "d": pa.array([None, date(2024, 1, 1), None], pa.date32()),
                "b": pa.array([None, True, None], pa.bool_()),
            }
        ),
        contract(
            column("s", STRING, required=True, min_length=1, pattern="a", enum=("a",), unique=True),
            column("f", NUMBER, required=True, minimum=0, multiple_of=Decimal(1), enum=(1,)),
            column("i", INTEGER, required=True, minimum=0, unique=True, multiple_of=Decimal(1)),
            column("d", DATE, minimum=date(2020, 1, 1)),
            column("b", BOOLEAN, enum=(True,)),
            quality=(
                expression("both", "f > 0 and s = 'a'"),
                expression("not_known", "not (i > 0)"),
                expression("either", "s is null or i = 1"),
            ),
        ),
        {"s.required": 2, "f.required": 2, "i.required": 2, "not_known": 1},
        schema_errors=Fraction(2, 3),
    )


def _nan() -> Case:
    return Case(
        pa.table({"f": floats(NAN, 1.0, None, NAN, math.inf, -math.inf)}),
        contract(
            column("f", NUMBER, required=True, unique=True, maximum=5, exclusive_minimum=0),
            quality=(
                library("nulls", LibraryMetric.NULL_VALUES, "f"),
                _measured("least", LibraryMetric.MINIMUM, "f", filter="f > 0"),
                _measured("different", LibraryMetric.DISTINCT_COUNT, "f"),
                expression("positive", "f > 0"),
                expression("itself", "f = f"),
            ),
        ),
        {"f.required": 3, "nulls": 3, "f.maximum": 1, "f.exclusive_minimum": 1, "positive": 1},
        {"least": 1.0, "different": 3},
    )


def _only_nan() -> Case:
    return Case(
        pa.table({"f": floats(NAN, NAN), "i": ints(1, 1)}),
        contract(
            column("f", NUMBER, required=True, minimum=0, unique=True, multiple_of=Decimal(2)),
            column("i", INTEGER),
            quality=(library("mean", LibraryMetric.MEAN, "f", threshold=threshold("mustBe", 0)),),
        ),
        {"f.required": 2},
        unmeasured={"mean": "no value"},
    )


def _all_null() -> Case:
    return Case(
        pa.table({"i": ints(None, None), "s": texts(None, None), "n": pa.nulls(2)}),
        contract(
            column("i", INTEGER, minimum=0, unique=True),
            column("s", STRING, required=True, pattern="x", unique=True),
            column("n", STRING),
            quality=(
                library("sum", LibraryMetric.SUM, "i", threshold=threshold("mustBe", 0)),
                _measured("different", LibraryMetric.DISTINCT_COUNT, "s"),
            ),
        ),
        {"s.required": 2},
        {"different": 0},
        unmeasured={"sum": "no value"},
    )


def _empty() -> Case:
    return Case(
        pa.table({"n": ints(), "s": texts(), "f": floats()}),
        contract(
            column("n", INTEGER, primary_key_position=1, minimum=0, required=True),
            column("s", STRING, required=True, pattern="x"),
            column("f", NUMBER, required=True),
            quality=(
                library("rows", LibraryMetric.ROW_COUNT, threshold=threshold("mustBe", 0)),
                library("mean", LibraryMetric.MEAN, "n", threshold=threshold("mustBe", 0)),
            ),
        ),
        values={"rows": 0},
        unmeasured={"mean": "no value"},
        schema_errors=Fraction(0),
    )


def _one_row() -> Case:
    return Case(
        pa.table({"n": ints(7), "s": texts("é")}),
        contract(
            column("n", INTEGER, primary_key_position=1, minimum=8),
            column("s", STRING, max_length=1, min_length=2),
            quality=(
                _measured("mean", LibraryMetric.MEAN, "n"),
                library("sd", LibraryMetric.STDDEV, "n", threshold=threshold("mustBe", 0)),
            ),
        ),
        {"n.minimum": 1, "s.min_length": 1},
        {"mean": 7},
        unmeasured={"sd": ""},
        schema_errors=Fraction(1),
        keys={"n.minimum": [7], "s.min_length": [7]},
    )


def _duplicates() -> Case:
    return Case(
        pa.table(
            {
                "a": ints(1, 1, 1, 2, None, None),
                "b": texts("x", "x", None, "x", "y", "y"),
                "c": texts("a", "A", "a ", " a", "á", "a\u0301"),
                "f": floats(0.1, 0.1, NAN, NAN, 0.2, None),
                "d": pa.array([date(2024, 1, 1)] * 2 + [None] * 4, pa.date32()),
            }
        ),
        contract(
            column("a", INTEGER, unique=True),
            column("b", STRING),
            column("c", STRING, unique=True),
            column("f", NUMBER, unique=True),
            column("d", DATE, unique=True),
            quality=(
                library("pairs", LibraryMetric.DUPLICATE_VALUES, columns=("a", "b")),
                _measured("b_values", LibraryMetric.DISTINCT_COUNT, "b"),
                library("few", LibraryMetric.DUPLICATE_VALUES, "a", filter="b = 'x'"),
            ),
        ),
        {"a.unique": 2, "pairs": 1, "f.unique": 1, "d.unique": 1, "few": 1},
        {"b_values": 2},
    )


PATTERNS = {
    "found": ("ab", 6),
    "ends": ("a$", 6),
    "digit": (r"\d", 6),
    "word": (r"^\w+$", 4),
    "any": ("^.*$", 1),
    "blank": (r"a b", 6),
    "blank_hex": (r"a\x20b", 6),
    "spaces": (r"[\s]b", 6),
    "space_then_hex": (r"[\sf]b", 6),
    "counted": ("^[ab]{1,2}$", 6),
    "either": "(?:^x|9$)",
    "dash": (r"^[a\-z.]+$", 6),
    "dot": (r"\.", 7),
    "accent": ("é", 6),
}
TEXTS = ("xabx", "a", "é9", "a\n", "٣", "a b", "")
"""``٣`` is a digit, but not one of 0 to 9."""


def _patterns() -> Case:
    import re

    rules, failed = [], {}
    for name, given in PATTERNS.items():
        pattern = given if isinstance(given, str) else given[0]
        rules.append(_invalid(name, "s", pattern=pattern))
        spelled = pattern.replace("$", r"\Z")
        failed[name] = sum(not re.search(spelled, text, re.ASCII) for text in TEXTS)
    return Case(
        pa.table({"s": texts(*TEXTS)}), contract(column("s", STRING), quality=tuple(rules)), failed
    )


def _patterns_of_the_table() -> Case:
    """Counts that were worked out by hand, so that Python is not the only judge."""
    names = ("found", "ends", "digit", "word", "any")
    rules = tuple(_invalid(name, "s", pattern=PATTERNS[name][0]) for name in names)
    return Case(
        pa.table({"s": texts("xabx", "a", "é9", "a\n", "٣")}),
        contract(column("s", STRING), quality=rules),
        {"found": 4, "ends": 4, "digit": 4, "word": 3, "any": 1},
    )


def _formats() -> Case:
    good = {
        "email": "a.b+c@example.co.uk",
        "uuid": "123e4567-e89b-12d3-a456-426614174000",
        "uri": "https://example.com/a?b=c#d",
        "ipv4": "192.168.0.1",
        "ipv6": "::ffff:10.0.0.1",
        "date": "2024-02-29",
        "date-time": "2024-02-29T23:59:60.5+01:00",
        "hostname": "a-b.example.com",
    }
    bad = {
        "email": "a@b",
        "uuid": "123e4567e89b12d3a456426614174000",
        "uri": "no scheme",
        "ipv4": "256.1.1.1",
        "ipv6": ":::1",
        "date": "2023-02-29",
        "date-time": "2024-01-01T00:00:00",
        "hostname": "-a.com",
    }
    names = list(good)
    return Case(
        pa.table({name: texts(good[name], bad[name], None) for name in names}),
        contract(*(column(name, STRING, format=name) for name in names)),
        {f"{name}.format": 1 for name in names},
    )


def _bounds() -> Case:
    return Case(
        pa.table(
            {
                "n": ints(1, 2, 3),
                "f": floats(1.0, 2.0, 3.0),
                "m": ints(2, 3, 4),
                "b": ints(1, 127, -128, of=pa.int8()),
            }
        ),
        contract(
            column("n", INTEGER, minimum=1, maximum=3),
            column("f", NUMBER, exclusive_minimum=1, exclusive_maximum=3),
            column("m", INTEGER, minimum=Decimal("2.5"), exclusive_maximum=Decimal("3.5")),
            column("b", INTEGER, maximum=1000, minimum=-1000, exclusive_minimum=500),
        ),
        {
            "f.exclusive_minimum": 1,
            "f.exclusive_maximum": 1,
            "m.minimum": 1,
            "m.exclusive_maximum": 1,
            "b.exclusive_minimum": 3,
        },
    )


def _short_floats() -> Case:
    return Case(
        pa.table({"r": pa.array([0.1, 0.2, None], pa.float32())}),
        contract(column("r", NUMBER, enum=(0.1, 5), maximum=Decimal("0.1"), unique=True)),
        {"r.enum": 1, "r.maximum": 1},
    )


def _multiples() -> Case:
    return Case(
        pa.table(
            {
                "i": ints(-7, 0, 21, 22, None),
                "f": floats(0.07, 0.08, 1e308, math.inf, NAN),
                "w": floats(2.0, 3.0, 2.5, BIG + 2.0, None),
                "m": pa.array(
                    [Decimal("0.10"), Decimal("0.15"), None, None, None], pa.decimal128(9, 2)
                ),
            }
        ),
        contract(
            column("i", INTEGER, multiple_of=Decimal(7)),
            column("f", NUMBER, multiple_of=Decimal("0.07")),
            column("w", NUMBER, multiple_of=Decimal(2)),
            column("m", NUMBER, multiple_of=Decimal("0.1")),
        ),
        {"i.multiple_of": 1, "f.multiple_of": 2, "w.multiple_of": 2, "m.multiple_of": 1},
    )


def _big_integers() -> Case:
    return Case(
        pa.table({"n": ints(BIG, BIG + 1, -(2**63), 2**63 - 1), "k": ints(1, 2, 3, 4)}),
        contract(
            column("n", INTEGER, unique=True, maximum=BIG, enum=(BIG,), multiple_of=Decimal(2)),
            column("k", INTEGER, primary_key_position=1),
            quality=(
                expression("limit", f"n <= {BIG}"),
                expression("equal", f"n != {BIG + 1}"),
                expression("doubled", "n + n >= n"),
                expression("less", "n - 1 < n"),
                expression("square", "n * n >= n"),
                expression("beyond", "n < 9223372036854775808"),
                expression("even", "n % 2 = 0"),
                _measured("least", LibraryMetric.MINIMUM, "n"),
            ),
        ),
        {
            "n.maximum": 2,
            "n.enum": 3,
            "n.multiple_of": 2,
            "limit": 2,
            "equal": 1,
            "doubled": 1,
            "even": 2,
        },
        {"least": -(2**63)},
        keys={"equal": [2], "doubled": [3], "even": [2, 4]},
    )


def _wide_sums() -> Case:
    return Case(
        pa.table({"n": ints(2**62, 2**62, 2**62)}),
        contract(
            column("n", INTEGER),
            quality=(
                library("total", LibraryMetric.SUM, "n", threshold=threshold("mustBe", 3 * 2**62)),
                _measured("mean", LibraryMetric.MEAN, "n"),
            ),
        ),
        values={"total": 3 * 2**62, "mean": 2.0**62},
    )


def _decimals() -> Case:
    values = [Decimal("0.10"), Decimal("0.30"), Decimal("-12345678.90"), None]
    return Case(
        pa.table({"m": pa.array(values, pa.decimal128(10, 2))}),
        contract(
            column("m", NUMBER, maximum=Decimal("0.1"), enum=(Decimal("0.1"), 0.25), unique=True),
            quality=(
                library(
                    "total", LibraryMetric.SUM, "m", threshold=threshold("mustBe", "-12345678.5")
                ),
                expression("limit", "m >= 0.3"),
                expression("beyond", "m < 100000000000"),
            ),
        ),
        {"m.maximum": 1, "m.enum": 2, "limit": 2},
        values={"total": -12345678.5},
    )


def _long_decimals() -> Case:
    """More digits than a float has, and more than Python's own decimals keep."""
    long = Decimal("123456789012345678.00000000000000000001")
    fine = [long, Decimal("0.1"), Decimal("1E-20"), Decimal(-1), None]
    whole = [Decimal(10**37), Decimal(10**37 + 1), Decimal(2**53 + 1), Decimal(0), None]
    return Case(
        pa.table(
            {
                "f": pa.array(fine, pa.decimal128(38, 20)),
                "w": pa.array(whole, pa.decimal128(38, 0)),
                "i": ints(2**53 + 1, 2**53, 5, 3, 0),
            }
        ),
        contract(
            column("f", NUMBER, enum=(long, 0.1), maximum=long, exclusive_maximum=long, minimum=0),
            column("w", NUMBER, multiple_of=Decimal(2), unique=True),
            column("i", INTEGER, multiple_of=Decimal("2.5")),
            quality=(
                _invalid("tenths", "f", options=TypeOptions(multiple_of=Decimal("0.1"))),
                _invalid("quarters", "w", options=TypeOptions(multiple_of=Decimal("2.5"))),
            ),
        ),
        {
            "f.enum": 2,
            "f.exclusive_maximum": 1,
            "f.minimum": 1,
            "w.multiple_of": 2,
            "i.multiple_of": 3,
            "tenths": 2,
            "quarters": 2,
        },
    )


def _nothing_to_compare() -> Case:
    """A column that holds nothing may have no type: what is asked of it is unknown."""
    return Case(
        pa.table({"n": pa.nulls(3), "t": instants(None, None, None), "i": ints(1, 2, 2)}),
        contract(
            column("n", STRING, pattern="x", enum=("x",)),
            column("t", TIMESTAMP, minimum=at(2024, 1, 1)),
            column("i", INTEGER),
            quality=(
                expression("equal", "n = 'x' or t >= '2024-01-01T00:00:00'"),
                expression("listed", "n in ('x', 'y')"),
                expression("found", "n matches 'x' and starts_with(n, 'x')"),
                expression("absent", "n is null and t is null"),
                expression("filled", "coalesce(n, 'x') = 'y'"),
                expression("either", "i = 1 or length(n) = 1"),
                expression("both", "i = 1 and n = 'x'"),
                library("few", LibraryMetric.DUPLICATE_VALUES, "i", filter="n = 'x'"),
                library("rest", LibraryMetric.DUPLICATE_VALUES, "i", filter="n is null"),
            ),
        ),
        {"filled": 3, "both": 2, "rest": 1},
    )


def _filters() -> Case:
    """A filter that cannot be run concerns its own rule alone."""
    seconds = [at(2024, 3, 31, 0, 59, 59, 999999, zone=UTC), at(2024, 3, 31, 1, zone=UTC)]
    zoned = instants(*seconds, *seconds, zone="Europe/Paris")
    twice = LibraryMetric.DUPLICATE_VALUES
    return Case(
        pa.table({"i": ints(1, 1, 1, 1), "s": texts("a", "b", None, "b"), "t": zoned}),
        contract(
            column("i", INTEGER, unique=True),
            column("s", STRING),
            column("t", TIMESTAMP),
            quality=(
                library("lookahead", LibraryMetric.NULL_VALUES, "s", filter="s matches '(?=b)'"),
                library("naive", twice, "i", filter="t > '2024-01-01T00:00:00'"),
                library(
                    "of_text",
                    LibraryMetric.ROW_COUNT,
                    filter="s > 1",
                    threshold=threshold("mustBe", 1),
                ),
                expression("unread", "i > 0", filter="i >"),
                library("b", twice, "i", filter="s = 'b'"),
                library("then", twice, "i", filter=f"t = '{seconds[0].isoformat()}'"),
                library("late", twice, "t", filter=f"t >= '{seconds[1].isoformat()}'"),
                expression("none", "i < 1", filter="s = 'nobody'"),
            ),
        ),
        {"i.unique": 3, "b": 1, "then": 1, "late": 1},
        unmeasured={
            "lookahead": "not portable",
            "naive": "time zone",
            "of_text": "",
            "unread": "cannot be read",
        },
    )


def _instants(unit: str) -> Case:
    noon = at(2024, 1, 1, 12)
    return Case(
        pa.table({"t": instants(noon, noon + timedelta(milliseconds=1), None, unit=unit)}),
        contract(
            column(
                "t", TIMESTAMP, maximum=noon, minimum=at(1500, 1, 1), required=True, unique=True
            ),
            quality=(expression("early", "t <= '2024-01-01T12:00:00'"),),
        ),
        {"t.maximum": 1, "t.required": 1, "early": 1},
    )


def _zones() -> Case:
    # Half past two comes twice in Paris on the day when summer time ends.
    first, second = at(2024, 10, 27, 0, 30, zone=UTC), at(2024, 10, 27, 1, 30, zone=UTC)
    return Case(
        pa.table(
            {
                "t": instants(first, second, second, zone="Europe/Paris"),
                "u": instants(first, first, first - timedelta(hours=1), zone="UTC"),
            }
        ),
        contract(
            column("t", TIMESTAMP, maximum=first, timezone=True, unique=True),
            column("u", TIMESTAMP),
            quality=(
                expression("before", "t < '2024-10-27T01:00:00+00:00'"),
                expression("hours", "t - u < 90min"),
            ),
        ),
        {"t.maximum": 2, "t.unique": 1, "before": 2, "hours": 1},
    )


def _naive_limit_of_zoned() -> Case:
    paris_summer = at(2024, 3, 31, 3, 0)
    values = [at(2024, 3, 31, 0, 59, zone=UTC), at(2024, 3, 31, 1, 1, zone=UTC)]
    return Case(
        pa.table({"t": instants(*values, zone="UTC"), "u": instants(*values, zone="UTC")}),
        contract(
            column("t", TIMESTAMP, maximum=paris_summer, default_timezone="Europe/Paris"),
            column("u", TIMESTAMP, maximum=paris_summer),
        ),
        {"t.maximum": 1},
        unmeasured={"u.maximum": "time zone"},
    )


def _dates() -> Case:
    days = pa.array([date(2023, 12, 31), date(2024, 2, 29), date(1, 1, 1), None], pa.date32())
    return Case(
        pa.table({"d": days, "e": days}),
        contract(
            column("d", DATE, minimum=date(2024, 1, 1), unique=True, enum=(date(2024, 2, 29),)),
            column("e", DATE),
            quality=(
                expression("leap", "year(d) = 2024 and month(d) = 2 and day(d) = 29"),
                expression("limit", "d >= '2024-01-01'"),
                expression("apart", "d - e < 1d"),
            ),
        ),
        {"d.minimum": 2, "d.enum": 2, "leap": 2, "limit": 2},
    )


def _times() -> Case:
    return Case(
        pa.table({"t": pa.array([time(8), time(17, 30, 0, 1), None], pa.time64("us"))}),
        contract(column("t", LogicalType.TIME, maximum=time(17, 30), minimum="07:00:00")),
        {"t.maximum": 1},
    )


ODD_NAMES = ("a b", "select", 'qu"ote', "it's", "grüße", "a.b", "back`tick", "from", "100%", "(x)s")


def _odd_names() -> Case:
    names = list(ODD_NAMES)
    return Case(
        pa.table({name: ints(1, 1, None, 5) for name in names}),
        contract(
            *(
                column(n, INTEGER, required=True, unique=True, maximum=3, enum=(1, 2))
                for n in names
            ),
            quality=(
                *(_measured(f"mean of {n}", LibraryMetric.MEAN, n) for n in names),
                *(expression(f"small {n}", f'"{n}" < 5') for n in names if not set(n) & set('"`')),
                library("pairs", LibraryMetric.DUPLICATE_VALUES, columns=("a.b", "back`tick")),
            ),
        ),
        {
            "pairs": 1,
            **{f"{n}.{r}": 1 for n in names for r in ("required", "unique", "maximum", "enum")},
            **{f"small {n}": 1 for n in names if not set(n) & set('"`')},
        },
        {f"mean of {n}": 7 / 3 for n in names},
    )


def _upper_and_lower() -> Case:
    return Case(
        pa.table({"ID": ints(1, 2), "id": ints(3, 3)}),
        contract(column("ID", INTEGER, unique=True, minimum=2), column("id", INTEGER, unique=True)),
        {"ID.minimum": 1, "id.unique": 1},
    )


def _wide() -> Case:
    names = [f"c{n}" for n in range(300)]
    return Case(
        pa.table({name: texts("x" * 5000, None, "é" * 5000) for name in names}),
        contract(
            *(column(n, STRING, required=True) for n in names[10:]),
            *(column(n, STRING, required=True, max_length=4999) for n in names[:10]),
        ),
        {**{f"{n}.required": 1 for n in names}, **{f"{n}.max_length": 2 for n in names[:10]}},
    )


def _library() -> Case:
    return Case(
        pa.table(
            {
                "k": ints(1, 2, 3, 4, 5, 6),
                "kind": texts("a", "a", "b", None, "a", "c"),
                "n": ints(1, -1, -1, -1, None, 5),
                "s": texts("", "n/a", None, "x", "yy", "x"),
            }
        ),
        contract(
            column("k", INTEGER, primary_key_position=1),
            column("kind", STRING),
            column("n", INTEGER),
            column("s", STRING),
            quality=(
                library("null", LibraryMetric.NULL_VALUES, "n"),
                library("missing", LibraryMetric.MISSING_VALUES, "s", missing_values=("", "n/a")),
                _invalid("invalid", "kind", valid_values=("a", "b")),
                _invalid("long", "s", options=TypeOptions(max_length=1)),
                library("twice", LibraryMetric.DUPLICATE_VALUES, "n"),
                library("twice_a", LibraryMetric.DUPLICATE_VALUES, "n", filter="kind = 'a'"),
                library("null_a", LibraryMetric.NULL_VALUES, "n", filter="kind = 'a'"),
                library(
                    "rows_a",
                    LibraryMetric.ROW_COUNT,
                    filter="kind = 'a'",
                    threshold=threshold("mustBe", 3),
                ),
                library(
                    "share",
                    LibraryMetric.NULL_VALUES,
                    "n",
                    threshold=threshold("mustBeLessThan", 20, percent=True),
                ),
                expression("positive", "n > 0", filter="kind = 'a'"),
            ),
        ),
        {
            "null": 1,
            "missing": 3,
            "invalid": 1,
            "long": 2,
            "twice": 2,
            "null_a": 1,
            "share": 1,
            "positive": 1,
        },
        {"rows_a": 3},
        keys={"null": [5], "invalid": [6], "long": [2, 5], "positive": [2], "twice": [2, 3, 4]},
    )


def _aggregates() -> Case:
    metrics = {
        LibraryMetric.MEAN: 2.5,
        LibraryMetric.SUM: 10,
        LibraryMetric.MINIMUM: 1,
        LibraryMetric.MAXIMUM: 4,
        LibraryMetric.DISTINCT_COUNT: 4,
        LibraryMetric.STDDEV: math.sqrt(5 / 3),
    }
    rules = [
        _measured(f"{metric.name} of {name}", metric, name) for metric in metrics for name in "nf"
    ]
    rules += [
        _measured("median", LibraryMetric.QUANTILE, "n", quantile=Fraction(1, 2)),
        _measured("p90", LibraryMetric.QUANTILE, "f", quantile=Fraction(9, 10)),
        _measured("some", LibraryMetric.SUM, "f", filter="n > 2"),
    ]
    return Case(
        pa.table({"n": ints(4, 1, None, 3, 2), "f": floats(1.0, 2.0, NAN, 3.0, 4.0)}),
        contract(column("n", INTEGER), column("f", NUMBER), quality=tuple(rules)),
        values={
            **{f"{m.name} of {name}": value for m, value in metrics.items() for name in "nf"},
            "median": 2.5,
            "p90": 3.7,
            "some": 4.0,
        },
    )


EXPRESSIONS = {
    "order": ("a <= b", 1),
    "sum": ("a + b < 10", 0),
    "product": ("a * b = 12 or a * b = 20 or a = 0", 1),
    "rest": ("a % 3 != 1", 1),
    "rest_of_negative": ("-a % 3 = 1 or a = 0 or a = -7 or a = 3", 1),
    "ratio": ("a / b < 1", 0),
    "by_zero": ("b / a > 0", 0),
    "absolute": ("abs(a) < 7", 1),
    "rounded": ("round(f) = 2 or a != 3", 0),
    "digits": ("round(f, 1) = 2.3 or a != 3", 0),
    "length": ("length(s) < 3", 1),
    "lower": ("lower(s) = 'äb' or lower(s) = 'x' or length(s) > 3", 0),
    "upper": ("upper(s) = 'ÄB' or upper(s) = 'X' or length(s) > 3", 0),
    "trim": ("trim(s) != 'long' and trim(s) != 'x'", 3),
    "starts": ("starts_with(s, 'x') or starts_with(s, 'Ä')", 1),
    "ends": ("ends_with(s, '%') or ends_with(s, 'b')", 3),
    "case": ("starts_with(s, 'X') or a != 3", 1),
    "matches": (r"s matches '^\w+$'", 2),
    "one_of": ("a in (3, 4, 0)", 1),
    "none_of": ("s not in ('x', 'äb')", 2),
    "between": ("a between 0 and 4", 1),
    "filled": ("coalesce(a, 0) >= 0", 1),
    "unknown": ("a is not null", 1),
    "text_order": ("s < 'b'", 3),
    "difference": ("u - t <= 30min", 1),
    "moved": ("t + 1h > u", 1),
    "hour": ("hour(t) = 23", 1),
    "day": ("date(t) = '2024-01-01'", 1),
    "mixed": ("a > 0 and (f < 5 or not b > 4)", 3),
}


def _expressions() -> Case:
    return Case(
        pa.table(
            {
                "k": ints(1, 2, 3, 4, 5),
                "a": ints(3, 4, 0, -7, None),
                "b": ints(4, 5, 1, -8, 1),
                "f": floats(2.26, 5.5, NAN, None, 1.0),
                "s": texts("x", "Äb", " long\t", "x", None),
                "t": instants(
                    at(2024, 1, 1, 23), at(2024, 1, 1, 23, 59), at(2024, 1, 2), None, None
                ),
                "u": instants(
                    at(2024, 1, 1, 23, 30), at(2024, 1, 2, 0, 29), at(2024, 1, 2, 2), None, None
                ),
            }
        ),
        contract(
            column("k", INTEGER, primary_key_position=1),
            column("a", INTEGER),
            column("b", INTEGER),
            column("f", NUMBER),
            column("s", STRING),
            column("t", TIMESTAMP),
            column("u", TIMESTAMP),
            quality=tuple(expression(name, text) for name, (text, _) in EXPRESSIONS.items()),
        ),
        {name: count for name, (_, count) in EXPRESSIONS.items() if count},
        keys={"order": [4], "unknown": [5]},
    )


def _references() -> Case:
    return Case(
        pa.table({"c": ints(1, 2, 2, None, 9), "x": texts("a", "b", "b", "a", "á")}),
        contract(
            column("c", INTEGER),
            column("x", STRING),
            relationships=(
                Relationship(columns=("c",), to=("customers.id",)),
                Relationship(columns=("c", "x"), to=("customers.id", "customers.name")),
            ),
        ),
        {"c.references": 2, "c_x.references": 3},
        references={
            "customers": pa.table({"id": ints(1, 9, of=pa.int32()), "name": texts("a", "a")})
        },
    )


def _nested() -> Case:
    zip_code = column("zip", STRING, required=True, min_length=5)
    return Case(
        pa.table(
            {
                "b": [True, None, False],
                "l": pa.array([[1, 1, 3], [], None], pa.list_(pa.int64())),
                "o": [{"zip": "1234"}, {"zip": None}, None],
            }
        ),
        contract(
            column("b", BOOLEAN, enum=(True,)),
            column(
                "l",
                LogicalType.ARRAY,
                min_items=1,
                max_items=2,
                unique_items=True,
                items=column("n", INTEGER, maximum=2),
            ),
            column("o", LogicalType.OBJECT, properties=(zip_code,)),
        ),
        {
            "b.enum": 1,
            "l.min_items": 1,
            "l.max_items": 1,
            "l.unique_items": 1,
            "l[].maximum": 1,
            "o.zip.required": 1,
            "o.zip.min_length": 1,
        },
    )


def _lists() -> Case:
    return Case(
        pa.table(
            {"b": [True, None, False], "l": pa.array([["a", "a"], [], None], pa.list_(pa.string()))}
        ),
        contract(
            column("b", BOOLEAN, enum=(True,)),
            column("l", LogicalType.ARRAY, min_items=1, max_items=1, unique_items=True),
        ),
        {"b.enum": 1, "l.min_items": 1, "l.max_items": 1, "l.unique_items": 1},
    )


def _raises(data: object) -> bool:
    raise RuntimeError("boom")


def _isolation() -> Case:
    mine = QualityRule(name="mine", kind=RuleKind.CUSTOM, engine="python", implementation="raises")
    return Case(
        pa.table({"k": ints(1, 2), "a": ints(1, -1), "w": texts("1", "2"), "s": texts("x", "y")}),
        contract(
            column("k", INTEGER, primary_key_position=1),
            column("a", INTEGER, minimum=0),
            column("gone", INTEGER, required=True, minimum=0),
            column("w", INTEGER, minimum=0),
            column("s", STRING, pattern=r"\bx"),
            quality=(
                expression("of_gone", "gone > 0"),
                expression("of_text", "s > 1"),
                expression("unread", "a >"),
                expression("sound", "a < 1"),
                _invalid("ahead", "s", pattern="(?=x)"),
                library("mean", LibraryMetric.MEAN, "s", threshold=threshold("mustBe", 0)),
                mine,
            ),
        ),
        {
            "a.minimum": 1,
            "sound": 1,
            "gone.required": 2,
            "gone.minimum": 2,
            "w.minimum": 2,
        },
        broken=frozenset({"gone.present", "gone.type", "w.type", "of_gone"}),
        unmeasured={
            "s.pattern": "not portable",
            "ahead": "not portable",
            "of_text": "",
            "unread": "cannot be read",
            "mean": "",
            "mine": "boom",
        },
        keys={"a.minimum": [2], "sound": [1]},
        custom={"raises": _raises},
        schema_errors=Fraction(1),
    )


def _level(name: str, condition: str, element: str | None = None) -> SlaProperty:
    return SlaProperty(property=name, condition=parse_condition(condition), element=element)


def _service_levels() -> Case:
    """Ages over the night on which summer time ends in Paris, of moments with and without zones."""
    zoned = [at(2024, 10, 27, 0, 30, zone=UTC), at(2024, 10, 27, 1, 30, zone=UTC)]
    naive = [at(2024, 10, 26, 12), at(2024, 10, 27, 3, 30)]
    days = [date(2024, 10, 26), date(2024, 10, 20)]
    levels = (
        _level("freshness", "data_freshness < 90min", "t"),
        _level("freshness", "data_freshness < 30min", "n"),
        _level("freshness", "data_freshness <= 27h", "d"),
        _level("latency", "data_latency <= 30min", "t"),
        _level("retention", "data_retention <= 17h", "n"),
        _level("completeness", "completeness >= 75%"),
        _level("completeness", "completeness > 50%", "s"),
        _level("throughput", "throughput >= 2/s"),
    )
    return Case(
        pa.table(
            {
                "k": ints(1, 2, 3, 4),
                "t": instants(*zoned, None, zoned[0], zone="Europe/Paris"),
                "n": instants(*naive, None, naive[0]),
                "d": pa.array([*days, None, None], pa.date32()),
                "s": texts("a", None, None, "b"),
            }
        ),
        contract(
            column("k", INTEGER, primary_key_position=1),
            column("t", TIMESTAMP, required=True),
            column("n", TIMESTAMP, default_timezone="Europe/Paris"),
            column("d", DATE),
            column("s", STRING, required=True),
            sla=levels,
        ),
        {"t.required": 1, "s.required": 2},
        {
            "sla_freshness": 5400,
            "sla_freshness_2": 1800,
            "sla_freshness_3": 27 * 3600,
            "sla_latency": 1800,
            "sla_retention": 17 * 3600,
            "sla_completeness": 0.75,
            "sla_completeness_2": 0.5,
            "sla_throughput": 4,
        },
        metrics={
            "row_count": Fraction(4),
            "row_count_change": Fraction(1),
            "data_freshness": Fraction(5400),
            "data_latency": Fraction(1800),
            "data_retention": Fraction(9000),
            "completeness": Fraction(3, 4),
            "null_ratio.s": Fraction(1, 2),
            "null_ratio.n": Fraction(1, 4),
            "duplicates": Fraction(0),
            "throughput": Fraction(4),
            "materialization_age": Fraction(3600),
        },
        circumstances={
            "now": at(2024, 10, 27, 3, zone=UTC),
            "arrived_at": at(2024, 10, 27, 2, zone=UTC),
            "previous_materialized_at": at(2024, 10, 27, 1, 59, 59, zone=UTC),
            "history": {"row_count": [2, 2, 4]},
        },
    )


CASES: dict[str, Case] = {
    "nulls": _nulls(),
    "nan": _nan(),
    "only_nan": _only_nan(),
    "all_null": _all_null(),
    "empty": _empty(),
    "one_row": _one_row(),
    "duplicates": _duplicates(),
    "patterns": _patterns(),
    "patterns_by_hand": _patterns_of_the_table(),
    "formats": _formats(),
    "bounds": _bounds(),
    "short_floats": _short_floats(),
    "multiples": _multiples(),
    "big_integers": _big_integers(),
    "wide_sums": _wide_sums(),
    "decimals": _decimals(),
    "long_decimals": _long_decimals(),
    "nothing_to_compare": _nothing_to_compare(),
    "filters": _filters(),
    "instants_ms": _instants("ms"),
    "instants_us": _instants("us"),
    "instants_ns": _instants("ns"),
    "zones": _zones(),
    "naive_limit_of_zoned": _naive_limit_of_zoned(),
    "dates": _dates(),
    "times": _times(),
    "odd_names": _odd_names(),
    "upper_and_lower": _upper_and_lower(),
    "wide": _wide(),
    "library": _library(),
    "aggregates": _aggregates(),
    "expressions": _expressions(),
    "references": _references(),
    "nested": _nested(),
    "lists": _lists(),
    "isolation": _isolation(),
    "service_levels": _service_levels(),
}
