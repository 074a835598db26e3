"""The language of row-level expressions: ``arr_time >= dep_time or dep_time is null``.

::

    or       = and {"or" and} ;  and = not {"and" not} ;  not = ["not"] test
    test     = sum [("=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=") sum
                   | "is" ["not"] "null" | ["not"] "in" "(" literal {"," literal} ")"
                   | ["not"] "between" sum "and" sum | ["not"] "matches" text]
    sum      = product {("+" | "-") product} ;  product = signed {("*" | "/" | "%") signed}
    signed   = ["-"] value
    value    = number | duration | text | "true" | "false" | "null" | column
             | function "(" or {"," or} ")" | "(" or ")"

Text stands in single quotes, a column that is no plain word in double quotes or backticks, a
duration is a number and a unit (``30min``, ``2h``, ``1d``). Words of the language may be written in
either case. Logic has three values, as in SQL: a comparison with null is unknown, and a row for
which the whole is unknown passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

_MOST_CHARACTERS = 4_000
_MOST_TOKENS = 1_000
_DEEPEST = 24

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "sec": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_WORDS = frozenset({"and", "or", "not", "is", "null", "in", "between", "matches", "true", "false"})

FUNCTIONS: dict[str, tuple[int, int]] = {
    "abs": (1, 1),
    "round": (1, 2),
    "length": (1, 1),
    "lower": (1, 1),
    "upper": (1, 1),
    "trim": (1, 1),
    "starts_with": (2, 2),
    "ends_with": (2, 2),
    "coalesce": (2, 8),
    "year": (1, 1),
    "month": (1, 1),
    "day": (1, 1),
    "hour": (1, 1),
    "minute": (1, 1),
    "date": (1, 1),
}
"""The functions, and how many arguments each takes at least and at most."""


class ExpressionSyntaxError(ValueError):
    """The text is no row-level expression; ``offset`` is the 0-based position in it."""

    def __init__(self, what: str, *, text: str, offset: int) -> None:
        super().__init__(f"{what} at position {offset + 1} of {text[:80]!r}")
        self.what = what
        self.text = text
        self.offset = offset


class Comparator(StrEnum):
    """The comparisons."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written in the expression; numbers are exact."""

    value: None | bool | int | Decimal | str | timedelta


@dataclass(frozen=True, slots=True)
class Column:
    """The value of a column."""

    name: str


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``left`` ``+ - * / %`` ``right``."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two values compared; unknown where either is null."""

    comparator: Comparator
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class IsNull:
    """Null or NaN; never unknown itself."""

    operand: Node


@dataclass(frozen=True, slots=True)
class OneOf:
    """The value is one of the literals."""

    operand: Node
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Matches:
    """The portable pattern is found in the text."""

    operand: Node
    pattern: str


@dataclass(frozen=True, slots=True)
class Call:
    """One of :data:`FUNCTIONS`."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Both hold."""

    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Disjunction:
    """Either holds."""

    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Negated:
    """The operand does not hold; unknown stays unknown."""

    operand: Node


Node: TypeAlias = (
    Literal
    | Column
    | Arithmetic
    | Comparison
    | IsNull
    | OneOf
    | Matches
    | Call
    | Conjunction
    | Disjunction
    | Negated
)


def parse_expression(text: str) -> Node:
    """The tree of a row-level expression; raises :class:`ExpressionSyntaxError`."""
    if len(text) > _MOST_CHARACTERS:
        raise ExpressionSyntaxError(
            f"longer than {_MOST_CHARACTERS} characters", text=text, offset=_MOST_CHARACTERS
        )
    return _Parser(text).whole()


def nodes_of(node: Node) -> Iterator[Node]:
    """A node and all that it is made of, from left to right."""
    yield node
    match node:
        case Column() | Literal():
            inner: tuple[Node, ...] = ()
        case IsNull(operand) | OneOf(operand) | Matches(operand) | Negated(operand):
            inner = (operand,)
        case Call(_, arguments):
            inner = arguments
        case (
            Arithmetic(left=left, right=right)
            | Comparison(left=left, right=right)
            | Conjunction(left, right)
            | Disjunction(left, right)
        ):
            inner = (left, right)
    for part in inner:
        yield from nodes_of(part)


def columns_in(node: Node) -> tuple[str, ...]:
    """The columns that an expression names, each once, in their order."""
    return tuple(dict.fromkeys(n.name for n in nodes_of(node) if isinstance(n, Column)))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    offset: int


_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)(?P<unit>[A-Za-z]+)?
  | (?P<text>'(?:[^']|'')*')
  | (?P<quoted>"(?:[^"]|"")+"|`[^`]+`)
  | (?P<word>[^\W\d]\w*)
  | (?P<symbol><=|>=|<>|!=|==|[=<>()+\-*/%,])
    """,
    re.VERBOSE,
)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionSyntaxError(f"cannot read {text[at]!r}", text=text, offset=at)
        kind = match.lastgroup or ""
        if kind == "unit":
            kind = "duration"
        if kind == "word" and match[0].lower() in _WORDS:
            found.append(_Token(match[0].lower(), match[0], at))
        elif kind == "symbol":
            found.append(_Token(match[0], match[0], at))
        elif kind != "space":
            found.append(_Token(kind, match[0], at))
        at = match.end()
        if len(found) > _MOST_TOKENS:
            raise ExpressionSyntaxError(f"more than {_MOST_TOKENS} words", text=text, offset=at)
    found.append(_Token("end", "", len(text)))
    return found


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0

    def whole(self) -> Node:
        node = self.disjunction()
        if self.kind != "end":
            raise self.wrong(f"{self.token.text!r} is not expected here")
        return node

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    @property
    def kind(self) -> str:
        return self.token.kind

    def wrong(self, what: str) -> ExpressionSyntaxError:
        if self.kind == "end":
            what = f"the expression ends too early: {what}"
        return ExpressionSyntaxError(what, text=self.text, offset=self.token.offset)

    def take(self, *kinds: str) -> _Token | None:
        if self.kind not in kinds:
            return None
        token = self.token
        self.at += 1
        return token

    def expect(self, kind: str) -> _Token:
        token = self.take(kind)
        if token is None:
            raise self.wrong(f"{kind!r} is missing")
        return token

    def disjunction(self) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self.wrong(f"nested deeper than {_DEEPEST}")
        node = self.conjunction()
        while self.take("or"):
            node = Disjunction(node, self.conjunction())
        self.depth -= 1
        return node

    def conjunction(self) -> Node:
        node = self.negation()
        while self.take("and"):
            node = Conjunction(node, self.negation())
        return node

    def negation(self) -> Node:
        turns = 0
        while self.take("not"):
            turns += 1
        node = self.test()
        return Negated(node) if turns % 2 else node

    def test(self) -> Node:
        left = self.sum()
        symbol = self.take("=", "==", "!=", "<>", "<", "<=", ">", ">=")
        if symbol is not None:
            spelling = {"==": "=", "<>": "!="}.get(symbol.text, symbol.text)
            node: Node = Comparison(Comparator(spelling), left, self.sum())
            if self.kind in ("=", "==", "!=", "<>", "<", "<=", ">", ">="):
                raise self.wrong("comparisons cannot be chained; join them with and")
            return node
        if self.take("is"):
            negated = self.take("not") is not None
            self.expect("null")
            return Negated(IsNull(left)) if negated else IsNull(left)
        negated = self.kind == "not"
        if negated:
            self.at += 1
        node = self.membership(left)
        if node is left and negated:
            raise self.wrong("in, between or matches must follow not")
        return Negated(node) if negated else node

    def membership(self, left: Node) -> Node:
        if self.take("in"):
            self.expect("(")
            values = [self.literal()]
            while self.take(","):
                values.append(self.literal())
            self.expect(")")
            return OneOf(left, tuple(values))
        if self.take("between"):
            low = self.sum()
            self.expect("and")
            high = self.sum()
            return Conjunction(
                Comparison(Comparator.GE, left, low), Comparison(Comparator.LE, left, high)
            )
        if self.take("matches"):
            token = self.expect("text")
            return Matches(left, _unquoted(token.text))
        return left

    def literal(self) -> Literal:
        node = self.signed()
        if not isinstance(node, Literal):
            raise self.wrong("only plain values may stand in the list")
        return node

    def sum(self) -> Node:
        return self.chain(("+", "-"), self.product)

    def product(self) -> Node:
        return self.chain(("*", "/", "%"), self.signed)

    def chain(self, symbols: tuple[str, ...], part: Callable[[], Node]) -> Node:
        node = part()
        while (symbol := self.take(*symbols)) is not None:
            node = Arithmetic(symbol.text, node, part())
        return node

    def signed(self) -> Node:
        minus, start = 0, self.token.offset
        while self.take("-"):
            minus += 1
        node = self.value()
        if minus % 2 == 0:
            return node
        match node:
            case Literal(int() | Decimal() | timedelta() as value) if not isinstance(value, bool):
                return Literal(-value)
            case Literal():
                what = "only numbers and durations have a sign"
                raise ExpressionSyntaxError(what, text=self.text, offset=start)
            case _:
                return Arithmetic("-", Literal(0), node)

    def value(self) -> Node:
        token = self.take("number", "duration", "text", "quoted", "word", "true", "false", "null")
        if token is None:
            if self.take("("):
                node = self.disjunction()
                self.expect(")")
                return node
            raise self.wrong(f"a value is missing before {self.token.text!r}")
        match token.kind:
            case "number":
                plain = token.text.isdigit()
                return Literal(int(token.text) if plain else Decimal(token.text))
            case "duration":
                return Literal(self.duration(token))
            case "text":
                return Literal(_unquoted(token.text))
            case "quoted":
                return Column(_unquoted(token.text))
            case "true" | "false":
                return Literal(token.kind == "true")
            case "null":
                return Literal(None)
            case _:
                return self.call(token) if self.kind == "(" else Column(token.text)

    def duration(self, token: _Token) -> timedelta:
        match = _TOKEN.fullmatch(token.text)
        unit = _UNITS.get(match["unit"]) if match is not None else None
        if match is None or unit is None:
            known = ", ".join(_UNITS)
            what = f"{token.text!r} has an unknown unit (known: {known})"
            raise ExpressionSyntaxError(what, text=self.text, offset=token.offset)
        try:
            return unit * float(match["number"])
        except OverflowError:
            raise ExpressionSyntaxError(
                f"{token.text!r} is too long", text=self.text, offset=token.offset
            ) from None

    def call(self, token: _Token) -> Node:
        name = token.text.lower()
        if name not in FUNCTIONS:
            what = f"there is no function {token.text!r} (known: {', '.join(FUNCTIONS)})"
            raise ExpressionSyntaxError(what, text=self.text, offset=token.offset)
        self.expect("(")
        arguments = [self.disjunction()]
        while self.take(","):
            arguments.append(self.disjunction())
        self.expect(")")
        low, high = FUNCTIONS[name]
        if not low <= len(arguments) <= high:
            wanted = str(low) if low == high else f"{low} to {high}"
            what = f"{name} takes {wanted} arguments, not {len(arguments)}"
            raise ExpressionSyntaxError(what, text=self.text, offset=token.offset)
        return Call(name, tuple(arguments))


def _unquoted(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote)
