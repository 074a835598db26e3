"""Quantities: exact to write, readable for people."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_contracts.core.condition import parse_quantity
from dagster_contracts.core.quantity import Dimension, Quantity, format_quantity, render_quantity

DECIMALS = st.builds(
    lambda whole, places: Fraction(whole, 10**places),
    st.integers(-(10**12), 10**12),
    st.integers(0, 6),
)


@given(DECIMALS, st.sampled_from(Dimension))
def test_what_is_rendered_reads_back_exactly(value: Fraction, dimension: Dimension) -> None:
    text = render_quantity(Quantity(value, dimension))
    read = parse_quantity(text)
    assert read.value == value
    assert read.dimension is (Dimension.NUMBER if dimension is Dimension.COUNT else dimension)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("30min", "30min"),
        ("0.5h", "30min"),
        ("1h30min", "90min"),
        ("900s", "15min"),
        ("2h30min", "2h30min"),
        ("100s", "1min40s"),
        ("3600s", "1h"),
        ("7d", "7d"),
        ("2w", "14d"),
        ("365d", "365d"),
        ("0.05ms", "0.05ms"),
        ("61.5s", "1min1s500ms"),
        ("1d12h", "36h"),
        ("1w0.5ms", "7d0.5ms"),
        ("1500ms", "1.5s"),
        ("-5s", "-5s"),
        ("0min", "0s"),
        ("2048B", "2KiB"),
        ("5MB", "5MB"),
        ("2.50%", "2.5%"),
    ],
)
def test_the_canonical_spelling(text: str, rendered: str) -> None:
    assert render_quantity(parse_quantity(text)) == rendered


def test_what_no_decimal_can_write_is_refused() -> None:
    with pytest.raises(ValueError, match="finite decimal"):
        render_quantity(Quantity(Fraction(1, 3), Dimension.NUMBER))


@pytest.mark.parametrize(
    ("value", "dimension", "apart_from", "text"),
    [
        (Fraction(7, 100), Dimension.RATIO, Fraction(5, 100), "7.0%"),
        (Fraction(1), Dimension.RATIO, None, "100%"),
        (Fraction(0), Dimension.RATIO, None, "0%"),
        (Fraction(1, 3), Dimension.RATIO, None, "33.3%"),
        (Fraction(1, 30_000), Dimension.RATIO, None, "0.0033%"),
        (Fraction(500_001, 10**7), Dimension.RATIO, Fraction(5, 100), "5.00001%"),
        (Fraction(336_776), Dimension.COUNT, Fraction(1), "336,776"),
        (Fraction(10, 3), Dimension.NUMBER, Fraction(3), "3.3"),
        (Fraction(45), Dimension.DURATION, Fraction(30), "45s"),
        (Fraction(4_321), Dimension.DURATION, None, "1h 12min"),
        (Fraction(9 * 86_400 + 5), Dimension.DURATION, None, "9d"),
        (Fraction(2, 3), Dimension.DURATION, None, "666.7ms"),
        (Fraction(0), Dimension.DURATION, None, "0s"),
        (Fraction(1_800_001, 1_000), Dimension.DURATION, Fraction(1_800), "30min 1ms"),
        (Fraction(-5), Dimension.DURATION, None, "-5s"),
        (Fraction(99_985, 100_000), Dimension.RATIO, Fraction(9_999, 10_000), "99.98%"),
        (Fraction(1, 3), Dimension.RATIO, Fraction(333_333, 10**6), "33.33333%"),
        (Fraction(525, 10_000), Dimension.RATIO, Fraction(525, 10_000), "5.25%"),
        (Fraction(91_860), Dimension.DURATION, Fraction(91_800), "1d 1h 31min"),
        (Fraction(4_245), Dimension.DURATION, Fraction(4_230), "1h 10min 45s"),
        (Fraction(-4_245), Dimension.DURATION, Fraction(-4_230), "-1h 10min 45s"),
        (Fraction(108_000), Dimension.DURATION, Fraction(108_000), "1d 6h"),
        (Fraction(108_000_001, 1_000), Dimension.DURATION, Fraction(108_000), "1d 6h 1ms"),
        (Fraction(5, 3), Dimension.RATE, Fraction(5, 3), "100/min"),
        (Fraction(1_500_000), Dimension.SIZE, None, "1.5MB"),
    ],
)
def test_measured_values_are_written_for_people(
    value: Fraction, dimension: Dimension, apart_from: Fraction | None, text: str
) -> None:
    assert format_quantity(value, dimension, apart_from=apart_from) == text


@given(st.fractions(-10, 10), st.fractions(-10, 10), st.sampled_from(Dimension))
def test_every_value_can_be_written_for_people(
    value: Fraction, other: Fraction, dimension: Dimension
) -> None:
    assert format_quantity(value, dimension, apart_from=other)


_SHOWN = {"%": Fraction(1, 100)} | {"d": Fraction(86_400), "h": Fraction(3_600)}
_SHOWN |= {"min": Fraction(60), "s": Fraction(1), "ms": Fraction(1, 1_000), "": Fraction(1)}


@given(
    st.one_of(DECIMALS, st.fractions(-(10**6), 10**6)),
    DECIMALS,
    st.sampled_from([Dimension.RATIO, Dimension.DURATION, Dimension.NUMBER]),
    st.sampled_from([0, 0, 1, -1, Fraction(1, 10**4), Fraction(-1, 10**4), Fraction(1, 3)]),
)
def test_what_is_shown_stands_to_the_threshold_as_the_value_does(
    value: Fraction, threshold: Fraction, dimension: Dimension, close: Fraction
) -> None:
    if close:
        value = threshold + close
    text = format_quantity(value, dimension, apart_from=threshold).replace(",", "")
    sign = -1 if text.startswith("-") else 1
    parts = re.findall(r"([0-9.]+)(%|ms|min|[dhs]|)", text)
    shown = sign * sum((Fraction(number) * _SHOWN[unit] for number, unit in parts), Fraction(0))
    assert (shown < threshold, shown > threshold) == (value < threshold, value > threshold)
