"""The condition language: what it reads, what it refuses and how, what it decides."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_contracts.core.condition import (
    Both,
    Comparison,
    ComparisonOperator,
    Condition,
    Dimension,
    Either,
    Hold,
    Negation,
    Observation,
    Quantity,
    Truth,
    alternatives_of,
    comparisons_of,
    demands_of,
    evaluate,
    may_hold,
    metrics_of,
    parse_condition,
    parse_duration,
    parse_quantity,
    render,
    without_holds,
    without_metrics,
)
from dagster_contracts.core.metrics import DEFAULT, speaks_of_newest
from dagster_contracts.errors import ConditionSyntaxError, SourceLocation

START = datetime(2026, 3, 1, tzinfo=UTC)
# A soak run sets this to a million.
HOSTILE_INPUTS = int(os.environ.get("DAGSTER_CONTRACTS_HOSTILE_INPUTS", "20000"))
HOSTILE_PARTS = 4
"""So that processes can share them."""


# -- strategies --

_METRICS = {
    "row_count": Dimension.COUNT,
    "completeness": Dimension.RATIO,
    "null_ratio.tail_num": Dimension.RATIO,
    'null_ratio.unit "price". x': Dimension.RATIO,
    "data_latency": Dimension.DURATION,
    "anomaly_score.row_count": Dimension.NUMBER,
}
_values = st.builds(
    lambda whole, places: Fraction(whole, 10**places), st.integers(-999, 9_999), st.integers(0, 3)
)
_holds = st.one_of(
    st.none(),
    st.builds(Hold, checks=st.integers(1, 4)),
    st.builds(Hold, duration=st.integers(1, 10).map(lambda n: timedelta(minutes=n))),
)


@st.composite
def _comparisons(draw: st.DrawFn) -> Comparison:
    metric = draw(st.sampled_from(sorted(_METRICS)))
    quantity = Quantity(draw(_values), _METRICS[metric])
    return Comparison(metric, draw(st.sampled_from(ComparisonOperator)), quantity, draw(_holds))


conditions: st.SearchStrategy[Condition] = st.recursive(
    _comparisons(),
    lambda inner: st.one_of(
        st.builds(Both, inner, inner),
        st.builds(Either, inner, inner),
        st.builds(Negation, inner),
    ),
    max_leaves=6,
)


@st.composite
def _windows(draw: st.DrawFn) -> list[Observation]:
    metrics = st.fixed_dictionaries(
        {}, optional={name: st.one_of(st.none(), _values) for name in _METRICS}
    )
    minutes = sorted(draw(st.lists(st.integers(0, 15), max_size=6)))
    return [
        Observation(START + timedelta(minutes=m), draw(metrics), check=draw(st.booleans()))
        for m in minutes
    ]


def _at(minute: float, *, check: bool = True, **metrics: float | None) -> Observation:
    exact = {name: None if v is None else Fraction(str(v)) for name, v in metrics.items()}
    return Observation(START + timedelta(minutes=minute), exact, check)


def _decide(text: str, *window: Observation) -> Truth:
    return evaluate(parse_condition(text), window).truth


# -- reading --


@pytest.mark.parametrize(
    ("text", "default", "metric", "operator", "value", "dimension"),
    [
        ("schema_validation_errors > 5%", None, "schema_validation_errors", ">", "1/20", "ratio"),
        ("data_freshness > 30min", None, "data_freshness", ">", "1800", "duration"),
        ("real_time_data_latency > 30s", None, "data_latency", ">", "30", "duration"),
        ("< 5min", "data_freshness", "data_freshness", "<", "300", "duration"),
        ("> 95%", "completeness", "completeness", ">", "19/20", "ratio"),
        ("row_count>=1000", None, "row_count", ">=", "1000", "count"),
        ("row_count_change < -30%", None, "row_count_change", "<", "-3/10", "ratio"),
        ("data_latency > -5s", None, "data_latency", ">", "-5", "duration"),
        ("data_latency != 1h 30 min", None, "data_latency", "!=", "5400", "duration"),
        ("data_latency == 1D12H", None, "data_latency", "==", "129600", "duration"),
        ("data_latency <= 250 ms", None, "data_latency", "<=", "1/4", "duration"),
        ("data_latency <= 2 weeks", None, "data_latency", "<=", "1209600", "duration"),
        ("null_ratio.2nd_phone > 0.1%", None, "null_ratio.2nd_phone", ">", "1/1000", "ratio"),
        ("anomaly_score.row_count > 4.5", None, "anomaly_score.row_count", ">", "9/2", "number"),
        ("\n completeness\t<\r\n95 %  ", None, "completeness", "<", "19/20", "ratio"),
    ],
)
def test_a_comparison_is_read_exactly(
    text: str, default: str | None, metric: str, operator: str, value: str, dimension: str
) -> None:
    assert parse_condition(text, default_metric=default) == Comparison(
        metric, ComparisonOperator(operator), Quantity(Fraction(value), Dimension(dimension))
    )


@pytest.mark.parametrize(
    ("text", "hold"),
    [
        ("for 3 checks", Hold(checks=3)),
        ("for 1 check", Hold(checks=1)),
        ("for 3checks", Hold(checks=3)),
        ("FOR 30min", Hold(duration=timedelta(minutes=30))),
        ("for 1h30min", Hold(duration=timedelta(minutes=90))),
        ("for 90 s", Hold(duration=timedelta(seconds=90))),
    ],
)
def test_a_hold_is_a_number_of_checks_or_a_duration(text: str, hold: Hold) -> None:
    condition = parse_condition(f"row_count < 10 {text}")
    assert isinstance(condition, Comparison)
    assert condition.hold == hold


def test_not_binds_before_and_and_before_or() -> None:
    a, b, c = (parse_condition(f"row_count > {n}") for n in (1, 2, 3))
    text = "row_count > 1 or row_count > 2 AND not row_count > 3"
    assert parse_condition(text) == Either(a, Both(b, Negation(c)))
    assert parse_condition("(row_count > 1 or row_count > 2) and row_count > 3") == Both(
        Either(a, b), c
    )
    assert parse_condition("row_count > 1 and row_count > 2 and row_count > 3") == Both(
        Both(a, b), c
    )


def test_a_column_may_be_called_like_a_keyword() -> None:
    condition = parse_condition("null_ratio.for > 5% for 2 checks or null_ratio.or > 1%")
    assert metrics_of(condition) == {"null_ratio.for", "null_ratio.or"}


@pytest.mark.parametrize(
    ("text", "metric", "rendered"),
    [
        ('null_ratio."unit price" > 5%', "null_ratio.unit price", None),
        ('null_ratio."unit-price" > 5%', "null_ratio.unit-price", None),
        ('null_ratio."a""b" > 5%', 'null_ratio.a"b', None),
        ('null_ratio."a.b c" > 5%', "null_ratio.a.b c", None),
        ('null_ratio."(x) > 1 or" > 5%', "null_ratio.(x) > 1 or", None),
        ('null_ratio."prix_é" > 5%', "null_ratio.prix_é", "null_ratio.prix_é > 5%"),
        ('failed_ratio."a b".required > 5%', "failed_ratio.a b.required", ""),
        ('anomaly_score.null_ratio."a b" > 5', "anomaly_score.null_ratio.a b", None),
    ],
)
def test_a_column_of_any_name_stands_in_quotes(
    text: str, metric: str, rendered: str | None
) -> None:
    condition = parse_condition(text)
    assert metrics_of(condition) == {metric}
    assert parse_condition(render(condition)) == condition
    if rendered != "":
        assert render(condition) == (rendered or text)


def test_declared_metrics_are_checked_like_the_known_ones() -> None:
    catalogue = DEFAULT.with_declared({"queue:size": Dimension.SIZE})
    condition = parse_condition("queue:size > 10MB", catalogue=catalogue)
    assert render(condition) == "queue:size > 10MB"
    with pytest.raises(ConditionSyntaxError, match="unknown metric"):
        parse_condition("queue:size > 10MB")


def test_quantities_and_durations_are_read_alone() -> None:
    assert parse_quantity("5 %") == Quantity(Fraction(1, 20), Dimension.RATIO)
    assert parse_quantity("42") == Quantity(Fraction(42), Dimension.NUMBER)
    assert parse_quantity("1.5GiB") == Quantity(Fraction(3 * 2**29), Dimension.SIZE)
    assert parse_duration("1h30min") == timedelta(minutes=90)
    assert parse_duration("0s") == timedelta(0)
    for text in ("5", "5%", "-5s", "1min x", "", "600w", "0.0000001s", "5m"):
        with pytest.raises(ConditionSyntaxError):
            parse_duration(text)


# -- refusing --


@pytest.mark.parametrize(
    ("text", "column", "what", "hint"),
    [
        ("", 1, "expected a metric, found the end", "such as"),
        ("< 5min", 1, "expected a metric before '<'", "data_freshness <"),
        ("schema_validaton_errors > 5%", 1, "unknown metric", "schema_validation_errors"),
        ("row_count > 5 or rows > 5", 18, "unknown metric 'rows'", ""),
        ("null_ratio > 5%", 1, "unknown metric", "null_ratio.<column>"),
        ("data_freshness > 5m", 19, "'m' is ambiguous", "'min'"),
        ("data_freshness > 5 M", 20, "'M' is ambiguous", "'MB'"),
        ("data_freshness > 2 months", 20, "no fixed length", "30d"),
        ("data_freshness > 5", 18, "needs a unit of time", "'5min'"),
        ("data_freshness > 5%", 18, "a duration", "30min"),
        ("row_count > 5%", 13, "a count", "row_count > 100"),
        ("row_count > 5min", 13, "a count", "row_count > 100"),
        ("anomaly_score.row_count > 5%", 27, "a plain number", "3.5"),
        ("completeness > 0.95", 16, "a ratio", "'95%'"),
        ("completeness > 95", 16, "a ratio", "'95%'"),
        ("row_count > 1e5", 13, "scientific notation", "write the number out: 100000"),
        ("row_count > 1e6", 13, "scientific notation", "write the number out: 1000000"),
        ("row_count > 1.5E+5", 13, "scientific notation", "write the number out: 150000"),
        ("row_count > 1e-2", 13, "scientific notation", "write the number out: 0.01"),
        ("row_count > 1e99999999", 13, "scientific notation", "write the number out"),
        ("row_count > 1.2.3e5", 13, "scientific notation", "one point at most"),
        ("row_count > 10k", 15, "unknown unit 'k'", "write the number out: 10000"),
        ("row_count > 1000 rows", 18, "unknown unit 'rows'", "leave it out"),
        ("completeness < 5 percent", 18, "unknown unit 'percent'", "write '%'"),
        ("completeness < 5 per cent", 18, "unknown unit 'per'", "write '%'"),
        ("completeness < five%", 16, "found 'five'", "in digits: 5"),
        ("data_freshness > PT5M", 18, "found 'PT5M'", "5min"),
        ("source_unavailable == true", 23, "found 'true'", "write 1 for true"),
        ("row_count > null", 13, "found 'null'", "unknown by itself"),
        ("row_count > limit", 13, "found 'limit'", "such as 5%"),
        ("throughput < 100/m", 18, "'m' is ambiguous", "'/min'"),
        ("DATA_FRESHNESS > 5min", 1, "unknown metric", "did you mean data_freshness?"),
        ("availability.7 < 99%", 1, "unknown metric", "did you mean availability.7d?"),
        ("availability.week < 99%", 1, "unknown metric", "did you mean availability.7d?"),
        ("delay_after.08:30 > 1min", 1, "unknown metric", "did you mean delay_after.0830?"),
        ("delay_after.2530 > 1min", 1, "unknown metric", "did you mean delay_after.0830?"),
        (
            *("anomaly_score.anomaly_score.row_count > 3", 1),
            *("unknown metric", "did you mean anomaly_score.row_count?"),
        ),
        ('null_ratio."" > 1%', 1, "unknown metric", "did you mean null_ratio.<column>?"),
        ("row_count > 1,000", 14, "unexpected character ','", "without separators"),
        ("row_count > 1_000", 14, "unexpected character '_'", "without separators"),
        ("row_count > .5", 13, "unexpected character '.'", "0.5"),
        ("row_count > 5.", 14, "unexpected character '.'", "0.5"),
        ("row_count => 5", 11, "unknown operator '=>'", "'>='"),
        ("row_count = 5", 11, "unknown operator '='", "'=='"),
        ("row_count <> 5", 11, "unknown operator '<>'", "'!='"),
        ("row_count ≥ 5", 11, "unknown operator '≥'", "'>='"),
        ("row_count 5", 11, "expected an operator", ""),
        ("row_count above 5", 11, "expected an operator", "write <"),
        ("row_count >", 12, "expected a quantity, found the end", ""),
        ("row_count > --5", 14, "expected a quantity", ""),
        ("row_count > data_latency", 13, "expected a quantity", "another metric"),
        ("row_count > 5 && completeness < 5%", 15, "unexpected character '&'", "'and'"),
        ("row_count > 5 || completeness < 5%", 15, "unexpected character '|'", "'or'"),
        ("!row_count > 5", 1, "unexpected character '!'", "'not'"),
        ("row_count * 2 > 5", 11, "unexpected character '*'", "does not calculate"),
        ("'row_count > 5'", 1, "unexpected character", "quotes"),
        ("(row_count > 5", 1, "a '(' is never closed", "')'"),
        ("((row_count > 5) 7", 18, "expected ')' for the '(' in column 1", ""),
        ("row_count > 5)", 14, "expected 'and', 'or' or the end, found ')'", ""),
        ("5 < row_count", 1, "expected a metric, found '5'", "the metric comes first"),
        ("row_count > 5 < 9", 15, "found '<'", "one operator"),
        ("row_count > 5 adn completeness < 5%", 15, "found 'adn'", "'and'"),
        ("row_count > 5 completeness < 5%", 15, "unknown unit", ""),
        ("row_count > 5and completeness < 5%", 14, "unknown unit 'and'", "space before 'and'"),
        ("row_count > 5 for 3", 19, "for 3 what?", "3 checks"),
        ("row_count > 5 for 0 checks", 19, "1 to 100 checks", ""),
        ("row_count > 5 for 101 checks", 19, "1 to 100 checks", ""),
        ("row_count > 5 for 2.5 checks", 23, "unknown unit 'checks'", "after 'for'"),
        ("row_count > 5 checks", 15, "unknown unit 'checks'", "after 'for'"),
        ("row_count > 5 for 0s", 19, "above zero", ""),
        ("row_count > 5 for -1s", 19, "negative", ""),
        ("row_count > 5 for 5%", 19, "no duration", "5min"),
        ("row_count > 5 for 999w", 19, "ten years", ""),
        ("data_latency > 5min1h", 20, "cannot follow", "1h30min"),
        ("data_latency > 5min5min", 20, "cannot follow", "1h30min"),
        ("data_latency > 1h5%", 18, "only durations add up", "1h30min"),
        ("data_latency > 1h5", 18, "only durations add up", "1h30min"),
        ("data_latency > 5 mnutes", 18, "unknown unit 'mnutes'", "minutes"),
        ("not", 4, "expected a metric, found the end", ""),
        ("and", 1, "expected a metric, found 'and'", ""),
        ("x" * 513, 513, "longer than 512 characters", ""),
        ("(" * 17 + "row_count > 1" + ")" * 17, 18, "more than 16 deep", ""),
        ("not " * 17 + "row_count > 1", 69, "more than 16 deep", ""),
        ("(" * 129, 129, "more than 128 words", ""),
        ("not (row_count >= 1) for 3 checks", 22, "found 'for'", "within the parentheses"),
        ("(row_count < 1 and row_count > 0) for 1h", 35, "found 'for'", "row_count < 10 for 3"),
        ('null_ratio."unit price > 5%', 12, "a '\"' is never closed", "after the name"),
        ("null_ratio.'unit price' > 5%", 12, "expected a name after 'null_ratio.'", "unit price"),
        ("null_ratio. > 5%", 12, "expected a name after 'null_ratio.'", "null_ratio.amount"),
        ("null_ratio.unit price > 5%", 17, "expected an operator", 'null_ratio."unit price"'),
        ("null_ratio.unit-price > 5%", 16, "expected an operator", 'null_ratio."unit-price"'),
        ('null_ratio."" > 5%', 1, "unknown metric", "null_ratio"),
        ('"row count" > 5', 1, "unexpected character", "quotes"),
        ("row_count > \x00", 13, "unexpected character", ""),
        ("row_count > ٣", 13, "unexpected character", ""),
    ],
)
def test_a_mistake_is_shown_with_its_place_and_its_mend(
    text: str, column: int, what: str, hint: str
) -> None:
    with pytest.raises(ConditionSyntaxError) as caught:
        parse_condition(text)
    error = caught.value
    assert what in error.what
    assert error.offset + 1 == column, str(error)
    assert hint in (error.hint or "")
    assert error.text == text


def test_an_error_reads_as_place_caret_and_hint() -> None:
    with pytest.raises(ConditionSyntaxError) as caught:
        parse_condition("data_freshness > 5m", where=SourceLocation("orders.yaml", 12, 9))
    assert str(caught.value).splitlines() == [
        "orders.yaml:12:9: the unit 'm' is ambiguous",
        "    data_freshness > 5m",
        "                      ^ column 19",
        "  hint: write 'min' for minutes, '30d' for a month, 'MB' for megabytes",
    ]


def test_sixteen_levels_and_long_chains_are_accepted() -> None:
    deep = "(" * 16 + "row_count > 1" + ")" * 16
    assert render(parse_condition(deep)) == "row_count > 1"
    chain = " or ".join(f"row_count > {n}" for n in range(28))
    assert len(metrics_of(parse_condition(chain))) == 1


def _mutated(text: str, dice: random.Random) -> str:
    pieces = list(text)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(pieces) + 1)
        match dice.randrange(4):
            case 0:
                pieces[at : at + dice.randint(0, 3)] = []
            case 1:
                pieces.insert(at, dice.choice(_FRAGMENTS))
            case 2:
                pieces[at : at + 1] = [dice.choice(_FRAGMENTS)]
            case _:
                start = dice.randrange(len(pieces) + 1)
                pieces[at:at] = pieces[start : start + dice.randint(1, 12)]
    return "".join(pieces)


_FRAGMENTS = [
    *('"', '."', 'null_ratio."a b"'),
    *" \t\n()<>=!%.,:_-+*/&|\\\"'\x00\ufeff\ud800é٣m\N{MATHEMATICAL DOUBLE-STRUCK DIGIT ONE}",
    *("and", " or ", "not ", " for ", "checks", "row_count", "null_ratio.", "5%", "30min", "1e9"),
    *("9" * 40, "((((((((", "not not not ", "==", "0.1", "1h30min", "MB", "-", "anomaly_score."),
]
_SEEDS = [
    "schema_validation_errors > 5%",
    "data_freshness > 30min for 2h",
    "not (row_count < 10 or completeness <= 99.5%) and null_ratio.a >= 1% for 3 checks",
    "data_latency > 1h30min5s or anomaly_score.row_count > 4.5 for 3 checks",
    "",
]


def _read_or_refuse(text: str, default_metric: str | None = None) -> Condition | None:
    """The condition, or ``None`` where it was refused with a place."""
    try:
        return parse_condition(text, default_metric=default_metric)
    except ConditionSyntaxError as error:
        refusal = error
    assert 0 <= refusal.offset <= len(text)
    assert str(refusal)
    return None


@pytest.mark.parametrize(
    ("text", "alternatives", "demands"),
    [
        ("row_count < 5", 1, 1),
        ("row_count < 5 or duplicates > 1% or completeness < 9%", 3, 0),
        ("row_count < 5 and duplicates > 1% and completeness < 9%", 0, 3),
        ("row_count < 5 or duplicates > 1% and completeness < 9%", 1, 0),
        ("not row_count < 5", 0, 0),
    ],
)
def test_what_decides_a_condition_by_itself(text: str, alternatives: int, demands: int) -> None:
    condition = parse_condition(text)
    every = comparisons_of(condition)

    assert alternatives_of(condition) == every[:alternatives]
    assert demands_of(condition) == every[:demands]


@pytest.mark.parametrize("part", range(HOSTILE_PARTS))
def test_hostile_input_raises_a_syntax_error_or_nothing(part: int) -> None:
    dice = random.Random(20260301 + part)
    accepted, inputs = 0, HOSTILE_INPUTS // HOSTILE_PARTS
    for _ in range(inputs):
        text = dice.choice(_SEEDS)
        for _ in range(dice.randint(0, 3)):
            text = _mutated(text, dice)
        condition = _read_or_refuse(text, default_metric=dice.choice([None, "row_count"]))
        if condition is not None:
            accepted += 1
            assert parse_condition(render(condition)) == condition
    assert accepted > inputs // 100  # the mutants are not all nonsense


@given(st.text(max_size=80))
def test_any_text_raises_a_syntax_error_or_nothing(text: str) -> None:
    _read_or_refuse(text)


# -- writing --


@given(conditions)
def test_what_is_written_reads_back_as_the_same_tree(condition: Condition) -> None:
    assert parse_condition(render(condition)) == condition


def test_a_hold_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="either"):
        Hold()
    with pytest.raises(ValueError, match="either"):
        Hold(checks=1, duration=timedelta(1))


# -- deciding --


@pytest.mark.parametrize(
    ("operator", "below", "equal", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        (">", False, False, True),
        (">=", False, True, True),
        ("==", False, True, False),
        ("!=", True, False, True),
    ],
)
def test_every_operator_at_and_beside_its_threshold(
    operator: str, below: bool, equal: bool, above: bool
) -> None:
    for value, expected in ((9, below), (10, equal), (11, above)):
        truth = _decide(f"row_count {operator} 10", _at(0, row_count=value))
        assert truth is (Truth.TRUE if expected else Truth.FALSE)


def test_thresholds_are_exact() -> None:
    observation = Observation(START, {"completeness": Fraction(3, 10)})
    assert evaluate(parse_condition("completeness == 30%"), [observation]).truth is Truth.TRUE
    assert evaluate(parse_condition("completeness > 30%"), [observation]).truth is Truth.FALSE


def test_what_was_not_measured_is_unknown() -> None:
    assert _decide("row_count > 1") is Truth.UNKNOWN
    assert _decide("row_count > 1", _at(0)) is Truth.UNKNOWN
    assert _decide("row_count > 1", _at(0, row_count=None)) is Truth.UNKNOWN
    assert _decide("row_count > 1", _at(0, row_count=5), _at(1)) is Truth.UNKNOWN


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("row_count > 1 or data_latency > 1s", Truth.TRUE),
        ("row_count > 9 or data_latency > 1s", Truth.UNKNOWN),
        ("row_count > 9 and data_latency > 1s", Truth.FALSE),
        ("row_count > 1 and data_latency > 1s", Truth.UNKNOWN),
        ("not data_latency > 1s", Truth.UNKNOWN),
        ("not row_count > 9", Truth.TRUE),
    ],
)
def test_unknown_spreads_only_where_it_matters(text: str, truth: Truth) -> None:
    assert _decide(text, _at(0, row_count=5)) is truth


@pytest.mark.parametrize(
    ("rows", "truth"),
    [
        ([5], Truth.FALSE),
        ([5, 5], Truth.FALSE),
        ([5, 5, 5], Truth.TRUE),
        ([50, 5, 5], Truth.FALSE),
        ([50, 5, 5, 5], Truth.TRUE),
        ([5, 50, 5, 5], Truth.FALSE),
        ([5, None, 5], Truth.UNKNOWN),
        ([None, 5, 5, 5], Truth.TRUE),
        ([None, 50, 5], Truth.FALSE),
        ([None], Truth.UNKNOWN),
        ([None, None], Truth.UNKNOWN),
        ([5, None], Truth.UNKNOWN),
        ([None, 50], Truth.FALSE),
    ],
)
def test_a_hold_of_checks_needs_each_of_the_last(rows: list[int | None], truth: Truth) -> None:
    window = [_at(minute, row_count=count) for minute, count in enumerate(rows)]
    assert _decide("row_count < 10 for 3 checks", *window) is truth
    opposite = {Truth.TRUE: Truth.FALSE, Truth.FALSE: Truth.TRUE, Truth.UNKNOWN: Truth.UNKNOWN}
    assert _decide("not (row_count < 10 for 3 checks)", *window) is opposite[truth]


def test_a_tick_is_the_newest_check_seen_again_and_no_check_of_its_own() -> None:
    checks = [_at(minute, data_freshness=3600) for minute in (0, 1)]
    assert _decide("data_freshness > 30min for 2 checks", *checks) is Truth.TRUE
    ticked = (
        checks[0],
        _at(1, data_freshness=3600, check=False),
        _at(2, data_freshness=1, check=False),
    )
    assert _decide("data_freshness > 30min for 2 checks", *ticked[:2]) is Truth.FALSE
    assert _decide("data_freshness > 30min for 1 check", *ticked[:2]) is Truth.TRUE
    assert _decide("data_freshness > 30min for 1 check", *ticked) is Truth.FALSE


@pytest.mark.parametrize(
    ("window", "truth"),
    [
        ([(0, 5)], Truth.FALSE),
        ([(0, 5), (29, 5)], Truth.FALSE),
        ([(0, 5), (30, 5)], Truth.TRUE),
        ([(0, 5), (10, 50), (30, 5)], Truth.FALSE),
        ([(0, 5), (10, None), (30, 5)], Truth.UNKNOWN),
        ([(0, None), (5, 5), (30, 5)], Truth.UNKNOWN),
        ([(0, 50), (5, None), (30, 5)], Truth.FALSE),
        ([(0, 5), (30, 50)], Truth.FALSE),
        ([(0, 5), (30, None)], Truth.UNKNOWN),
        ([(0, None), (1, 5), (40, 5)], Truth.TRUE),
        ([(0, None)], Truth.UNKNOWN),
        ([(0, None), (10, 5)], Truth.UNKNOWN),
        ([(0, None), (10, 50)], Truth.FALSE),
    ],
)
def test_a_hold_of_time_needs_an_unbroken_run(
    window: list[tuple[int, int | None]], truth: Truth
) -> None:
    observations = [_at(minute, row_count=count) for minute, count in window]
    assert _decide("row_count < 10 for 30min", *observations) is truth


@pytest.mark.parametrize(
    ("text", "window", "explanation"),
    [
        (
            "schema_validation_errors > 5%",
            [_at(0, schema_validation_errors=0.07)],
            "schema_validation_errors was 7.0%, which is > 5%",
        ),
        (
            "not row_count < 10",
            [_at(0, row_count=336_776)],
            "row_count was 336,776, which is not < 10",
        ),
        (
            "data_freshness > 30min or row_count < 10",
            [_at(0, data_freshness=4_321, row_count=50)],
            "data_freshness was 1h 12min, which is > 30min",
        ),
        (
            "row_count < 10 for 2 checks",
            [_at(0, row_count=5), _at(1, row_count=7)],
            "row_count was 7, which is < 10 in each of the last 2 checks",
        ),
        (
            "row_count < 10 for 1 check",
            [_at(0, row_count=5)],
            "row_count was 5, which is < 10 in the last check",
        ),
        (
            'null_ratio."unit price" > 5% and not completeness > 50%',
            [_at(0, **{"null_ratio.unit price": 0.07, "completeness": 0.25})],
            (
                'null_ratio."unit price" was 7.0%, which is > 5%; '
                "completeness was 25.0%, which is not > 50%"
            ),
        ),
        (
            "row_count < 10 for 3 checks",
            [_at(0, row_count=5), _at(1, row_count=7)],
            "row_count was 7, which is < 10 (in 2 of the last 2 checks, 3 needed)",
        ),
        ("row_count < 10", [_at(0)], "row_count could not be measured"),
        ("row_count < 10", [], "row_count was not measured yet"),
        (
            "row_count < 10 for 30min",
            [_at(0, row_count=5), _at(45, row_count=5)],
            "row_count was 5, which is < 10 for 30min",
        ),
        (
            "row_count < 10 and completeness < 50%",
            [_at(0, row_count=5, completeness=0.25)],
            "row_count was 5, which is < 10; completeness was 25.0%, which is < 50%",
        ),
    ],
)
def test_a_decision_is_explained_in_words(
    text: str, window: list[Observation], explanation: str
) -> None:
    assert evaluate(parse_condition(text), window).explanation == explanation


@given(conditions, conditions, _windows())
def test_de_morgan(left: Condition, right: Condition, window: list[Observation]) -> None:
    neither = evaluate(Negation(Either(left, right)), window).truth
    assert neither is evaluate(Both(Negation(left), Negation(right)), window).truth
    not_both = evaluate(Negation(Both(left, right)), window).truth
    assert not_both is evaluate(Either(Negation(left), Negation(right)), window).truth


@given(conditions, _windows())
def test_double_negation_and_idempotence(condition: Condition, window: list[Observation]) -> None:
    truth = evaluate(condition, window).truth
    assert evaluate(Negation(Negation(condition)), window).truth is truth
    assert evaluate(Both(condition, condition), window).truth is truth
    assert evaluate(Either(condition, condition), window).truth is truth


@given(
    st.sampled_from(sorted(_METRICS)),
    st.sampled_from(["<", "<=", ">", ">="]),
    _values,
    _values,
    _holds,
    _windows(),
)
def test_a_looser_threshold_never_makes_a_true_condition_false(
    metric: str,
    operator: str,
    one: Fraction,
    other: Fraction,
    hold: Hold | None,
    window: list[Observation],
) -> None:
    low, high = sorted((one, other))
    strict, loose = (high, low) if operator.startswith(">") else (low, high)

    def decided(value: Fraction) -> Truth:
        quantity = Quantity(value, _METRICS[metric])
        return evaluate(
            Comparison(metric, ComparisonOperator(operator), quantity, hold), window
        ).truth

    order = [Truth.FALSE, Truth.UNKNOWN, Truth.TRUE]
    assert order.index(decided(strict)) <= order.index(decided(loose))


@given(conditions, _windows())
def test_measuring_more_never_turns_a_verdict_around(
    condition: Condition, window: list[Observation]
) -> None:
    """Filling in unknown metrics may decide an unknown; it never flips true and false."""
    before = evaluate(condition, window).truth
    filled = [
        Observation(
            o.at,
            {n: Fraction(1) if o.metrics.get(n) is None else o.metrics[n] for n in _METRICS},
            o.check,
        )
        for o in window
    ]
    after = evaluate(condition, filled).truth
    assert before is Truth.UNKNOWN or after is before


@pytest.mark.parametrize(
    ("text", "rows", "may"),
    [
        ("row_count < 10 for 3 checks", [None], False),
        ("row_count < 10 for 3 checks", [None, None, 5], True),
        ("row_count < 10 for 3 checks", [50, None, None], False),
        ("row_count < 10 for 2min", [None, 5], False),
        ("row_count < 10 for 2min", [None, 5, 5], True),
        ("not (row_count < 10 for 3 checks)", [None], True),
        ("not (row_count < 10 for 3 checks)", [5, 5, 5], False),
        ("row_count < 10 for 3 checks or row_count < 10", [None], True),
        ("row_count < 10 for 3 checks and row_count < 10", [None], False),
        ("row_count < 10", [], True),
    ],
)
def test_what_may_hold_when_all_had_been_measured(
    text: str, rows: list[int | None], may: bool
) -> None:
    window = [_at(minute, row_count=count) for minute, count in enumerate(rows)]
    assert may_hold(parse_condition(text), window) is may


@given(conditions, _windows())
def test_a_single_evaluation_ignores_holds(condition: Condition, window: list[Observation]) -> None:
    single = without_holds(condition)
    assert " for " not in render(single)
    assert evaluate(single, window).truth is evaluate(single, window[-1:]).truth


@pytest.mark.parametrize(
    ("text", "opening", "closing"),
    [
        ("data_freshness > 1h", None, None),
        ("row_count < 1 for 3 checks", None, None),
        ("duplicates > 1%", "duplicates > 1%", "duplicates > 1%"),
        ("data_freshness > 1h or duplicates > 1%", "duplicates > 1%", None),
        ("data_freshness > 1h and duplicates > 1%", None, "duplicates > 1%"),
        ("not (data_freshness < 1h and duplicates < 1%)", "not duplicates < 1%", None),
    ],
)
def test_what_is_not_asked_neither_opens_nor_stands_against_a_probe(
    text: str, opening: str | None, closing: str | None
) -> None:
    for taken, left in ((False, opening), (True, closing)):
        found = without_metrics(parse_condition(text), speaks_of_newest, taken=taken)
        assert found == (None if left is None else parse_condition(left))
