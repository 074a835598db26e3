from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from dagster_contracts.core.expression import (
    Arithmetic,
    Call,
    Column,
    Comparator,
    Comparison,
    Conjunction,
    Disjunction,
    ExpressionSyntaxError,
    IsNull,
    Literal,
    Matches,
    Negated,
    OneOf,
    columns_in,
    parse_expression,
)

A, B, C = Column("a"), Column("b"), Column("c")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a >= b", Comparison(Comparator.GE, A, B)),
        ("a = 1", Comparison(Comparator.EQ, A, Literal(1))),
        ("a == 1.50", Comparison(Comparator.EQ, A, Literal(Decimal("1.50")))),
        ("a <> 'it''s'", Comparison(Comparator.NE, A, Literal("it's"))),
        ("a is NULL", IsNull(A)),
        ("a IS NOT NULL", Negated(IsNull(A))),
        ("not a", Negated(A)),
        ("not not a", A),
        ("a or b and c", Disjunction(A, Conjunction(B, C))),
        ("(a or b) and c", Conjunction(Disjunction(A, B), C)),
        ("a in (1, -2)", OneOf(A, (Literal(1), Literal(-2)))),
        ("a not in ('x')", Negated(OneOf(A, (Literal("x"),)))),
        ("a matches '^x'", Matches(A, "^x")),
        (
            "a between 1 and 2",
            Conjunction(
                Comparison(Comparator.GE, A, Literal(1)), Comparison(Comparator.LE, A, Literal(2))
            ),
        ),
        (
            "a - b < 1.5h",
            Comparison(Comparator.LT, Arithmetic("-", A, B), Literal(timedelta(minutes=90))),
        ),
        (
            "a + b * c = 0",
            Comparison(Comparator.EQ, Arithmetic("+", A, Arithmetic("*", B, C)), Literal(0)),
        ),
        ("length(a) > 2", Comparison(Comparator.GT, Call("length", (A,)), Literal(2))),
        ('"odd name" = `a`', Comparison(Comparator.EQ, Column("odd name"), A)),
        ("true", Literal(True)),
    ],
)
def test_expressions_are_read_as_they_are_meant(text, tree):
    assert parse_expression(text) == tree


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("", 0),
        ("a >", 3),
        ("a b", 2),
        ("a > 1 > 2", 6),
        ("(a", 2),
        ("a in ()", 6),
        ("a in (b)", 7),
        ("a not 1", 6),
        ("__import__('os')", 0),
        ("a; drop", 1),
        ("round()", 6),
        ("abs(1, 2)", 0),
        ("1parsec > a", 0),
        ("-'x' = a", 0),
        ("a = 'open", 4),
    ],
)
def test_what_is_no_expression_is_refused_where_it_stands(text, offset):
    with pytest.raises(ExpressionSyntaxError) as caught:
        parse_expression(text)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    "text", ["(" * 500 + "a" + ")" * 500, "a" * 5000, "a = " + "1 + " * 900 + "1"]
)
def test_hostile_expressions_are_refused_and_overflow_nothing(text):
    with pytest.raises(ExpressionSyntaxError):
        parse_expression(text)


def test_columns_are_named_once_in_their_order():
    assert columns_in(parse_expression("b > a or coalesce(b, c) in (1) or a is null")) == (
        "b",
        "a",
        "c",
    )
