"""From text to conditions: a hand-written recursive descent, with errors that show the place.

::

    expr     = and {"or" and}
    and      = not {"and" not}
    not      = "not" not | "(" expr ")" | cmp
    cmp      = [metric] op quantity ["for" (int "checks" | duration)]
    metric   = ident {("." | ":") (ident | quoted)}      quoted: "unit price", a quote in it doubled
    quantity = ["-"] number [ "%" | duration-unit | size-unit ]      durations add up: 1h30min
             | number ["rows"] "/" duration-unit                     a rate: 1000/s, 20 rows/min
"""

from __future__ import annotations

import itertools
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Final, NoReturn

from dagster_contracts.core.condition.tree import (
    Both,
    Comparison,
    ComparisonOperator,
    Condition,
    Either,
    Hold,
    Negation,
    render,
)
from dagster_contracts.core.metrics import (
    DEFAULT,
    RESERVED_WORDS,
    Catalogue,
    Metric,
    read_name,
    spell_name,
)
from dagster_contracts.core.near_names import did_you_mean, near_name
from dagster_contracts.core.quantity import (
    DURATION_UNITS,
    TIME_SPELLINGS,
    UNIT_SPELLINGS,
    Dimension,
    Quantity,
    find_rate,
    find_unit,
    render_quantity,
)
from dagster_contracts.errors import ConditionSyntaxError, SourceLocation

MAX_CHARACTERS: Final = 512
MAX_TOKENS: Final = 128
MAX_DEPTH: Final = 16
MAX_CHECKS: Final = 100
MAX_DURATION: Final = timedelta(days=3650)

_QUOTED = r'"(?:[^"]|"")*"'
_PIECE = r"[0-9]+(?:\.[0-9]+)?(?:%|[^\W\d_]+)?"
_TOKEN: Final = re.compile(
    r"(?P<scientific>[0-9][0-9.]*[eE][-+−]?[0-9]+)"  # noqa: RUF001 - pasted from documents
    r"|(?P<rate>[0-9]+(?:\.[0-9]+)?\s*(?:rows?\s*)?/\s*[^\W\d_]+)"
    rf"|(?P<number>(?:{_PIECE})+)"
    r"|(?P<percent>%)"
    rf"|(?P<word>[^\W\d]\w*(?:[.:](?:\w+|{_QUOTED}))*)"
    r"|(?P<operator><=|>=|==|!=|<>|=<|=>|<|>|=|≤|≥|≠)"
    r"|(?P<open>\()|(?P<close>\))|(?P<minus>[-−])"  # noqa: RUF001 - pasted from documents
)
_NUMBER_PIECE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(%|[^\W\d_]+)?")
_RATE_PIECES: Final = re.compile(r"([0-9.]+)[^/]*/\s*(.+)", re.DOTALL)
_NOT_SPACE: Final = re.compile(r"\S|\Z")

_MOST_EXPONENT: Final = 3
_ISO_DURATION: Final = re.compile(r"[Pp](?:[0-9]+[YyMmWwDd])*(?:[Tt](?:[0-9]+[HhMmSs])+)?")
_NUMBER_WORDS: Final = (
    *("zero", "one", "two", "three", "four", "five"),
    *("six", "seven", "eight", "nine", "ten"),
)
_MISSPELT: Final = {"=": "==", "=<": "<=", "=>": ">=", "<>": "!=", "≤": "<=", "≥": ">=", "≠": "!="}
_FOREIGN: Final = {"&": "and", "|": "or", "!": "not"}
_EXAMPLES: Final = {
    Dimension.RATIO: "5%",
    Dimension.COUNT: "100",
    Dimension.NUMBER: "3.5",
    Dimension.DURATION: "30min",
    Dimension.SIZE: "10MB",
    Dimension.RATE: "100/s",
}
_MEASURES: Final = {
    Dimension.RATIO: "a ratio and is compared with per cent",
    Dimension.COUNT: "a count and is compared with a plain number",
    Dimension.NUMBER: "a plain number and takes no unit",
    Dimension.DURATION: "a duration and needs a unit of time",
    Dimension.SIZE: "a size and needs a unit such as MB",
    Dimension.RATE: "a rate of rows and needs a time, such as 100/s or 20/min",
}


def parse_condition(
    text: str,
    *,
    catalogue: Catalogue = DEFAULT,
    default_metric: str | None = None,
    where: SourceLocation | None = None,
) -> Condition:
    """Read a condition such as ``schema_validation_errors > 5% for 3 checks``.

    ``default_metric`` is what a comparison without a name speaks of (``freshness: "< 5min"``).
    Raises :class:`ConditionSyntaxError`, and nothing else, whatever the text.

    >>> parse_condition("schema_validation_errors > 5%").metric
    'schema_validation_errors'
    """
    if catalogue is DEFAULT:
        # The contracts of a folder say much the same: what was read once is not read again.
        with suppress(ConditionSyntaxError):
            return _parse_known(text, default_metric)
    return _parse(text, catalogue, default_metric, where)


@lru_cache(maxsize=4096)
def _parse_known(text: str, default_metric: str | None) -> Condition:
    return _parse(text, DEFAULT, default_metric, None)


def _parse(
    text: str, catalogue: Catalogue, default_metric: str | None, where: SourceLocation | None
) -> Condition:
    parser = _Parser(text, catalogue, default_metric, where)
    condition = parser.expression(0)
    parser.end("'and', 'or' or the end")
    # What is accepted can be written out and read again, so the limit holds for both spellings.
    if len(render(condition)) > MAX_CHARACTERS:
        parser.fail(f"the condition is longer than {MAX_CHARACTERS} characters when written out", 0)
    return condition


def parse_quantity(text: str, *, where: SourceLocation | None = None) -> Quantity:
    """Read a quantity alone: ``5%``, ``1h30min``, ``10MB``, ``42``; plain numbers are NUMBER.

    >>> parse_quantity("1h30min").value
    Fraction(5400, 1)
    """
    parser = _Parser(text, DEFAULT, None, where)
    amount = parser.amount()
    parser.end("the end")
    return Quantity(amount.value, amount.dimension or Dimension.NUMBER)


def parse_duration(text: str, *, where: SourceLocation | None = None) -> timedelta:
    """Read a duration such as ``5min`` or ``1h30min``; at most ten years, not negative.

    >>> parse_duration("1h30min")
    datetime.timedelta(seconds=5400)
    """
    parser = _Parser(text, DEFAULT, None, where)
    duration = parser.duration()
    parser.end("the end")
    return duration


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    offset: int

    @property
    def shown(self) -> str:
        return "the end" if self.kind == "end" else repr(self.text)


@dataclass(frozen=True, slots=True)
class _Amount:
    """A number with its unit as written; ``dimension`` is ``None`` for a plain number."""

    value: Fraction
    dimension: Dimension | None
    offset: int
    text: str


class _Parser:
    def __init__(
        self,
        text: str,
        catalogue: Catalogue,
        default_metric: str | None,
        where: SourceLocation | None,
    ) -> None:
        self._text = text
        self._catalogue = catalogue
        self._default_metric = default_metric
        self._where = where
        self._tokens = self._tokenize()
        self._next = 0
        self._only_time = False

    # -- tokens ---------------------------------------------------------------------------------

    def fail(self, what: str, offset: int, hint: str | None = None) -> NoReturn:
        raise ConditionSyntaxError(
            what, text=self._text, offset=offset, where=self._where, hint=hint
        )

    def _tokenize(self) -> list[_Token]:
        text = self._text
        if len(text) > MAX_CHARACTERS:
            self.fail(f"the condition is longer than {MAX_CHARACTERS} characters", MAX_CHARACTERS)
        tokens: list[_Token] = []
        position = _skip_space(text, 0)
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None or found.lastgroup is None:
                self._foreign_character(position, tokens)
            if len(tokens) == MAX_TOKENS:
                self.fail(f"the condition has more than {MAX_TOKENS} words and signs", position)
            if found.lastgroup == "scientific":
                self.fail(
                    "scientific notation is not read here", position, _written_out(found.group())
                )
            tokens.append(_Token(found.lastgroup, found.group(), position))
            position = _skip_space(text, found.end())
        tokens.append(_Token("end", "", len(text)))
        return tokens

    def _foreign_character(self, position: int, tokens: list[_Token]) -> NoReturn:
        character = self._text[position]
        after_number = bool(tokens) and tokens[-1].kind == "number"
        hint = None
        if character in _FOREIGN:
            hint = f"write '{_FOREIGN[character]}'"
        elif character in ",_'" and after_number:
            hint = "write the number without separators"
        elif character == "." and tokens and tokens[-1].kind == "word":
            self._broken_member(position, tokens[-1].text)
        elif character == ".":
            hint = "write 0.5, not .5 or 5."
        elif character in "\"'`":
            hint = "leave the quotes out"
        elif character in "+*/":
            hint = "a condition compares a metric with a fixed quantity; it does not calculate"
        self.fail(f"unexpected character {character!r}", position, hint)

    def _broken_member(self, position: int, family: str) -> NoReturn:
        """What follows the dot of a metric is no name: ``null_ratio.'unit price'``."""
        following = self._text[position + 1 : position + 2]
        if following == '"':
            self.fail("a '\"' is never closed", position + 1, "add the '\"' after the name")
        hint = f'write the name after the dot: {family}.amount, or {family}."unit price"'
        self.fail(f"expected a name after '{family}.'", position + 1, hint)

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._token
        self._next += 1
        return token

    def _keyword(self, *words: str) -> bool:
        return self._token.kind == "word" and self._token.text.lower() in words

    def end(self, expected: str) -> None:
        token = self._token
        if token.kind == "end":
            return
        hint = None
        if token.kind == "operator":
            hint = "a comparison has one operator; write 'metric > a and metric < b'"
        elif self._keyword("for"):
            hint = (
                "'for' belongs to one comparison and stands within the parentheses: "
                "(row_count < 10 for 3 checks)"
            )
        elif token.kind == "word":
            words = ("and", "or", "for")
            hint = did_you_mean(token.text.lower(), words, cutoff=0.65)
        self.fail(f"expected {expected}, found {token.shown}", token.offset, hint)

    # -- grammar --------------------------------------------------------------------------------

    def expression(self, depth: int) -> Condition:
        left = self._conjunction(depth)
        while self._keyword("or"):
            self._take()
            left = Either(left, self._conjunction(depth))
        return left

    def _conjunction(self, depth: int) -> Condition:
        left = self._negation(depth)
        while self._keyword("and"):
            self._take()
            left = Both(left, self._negation(depth))
        return left

    def _negation(self, depth: int) -> Condition:
        token = self._token
        if depth > MAX_DEPTH:
            self.fail(f"the condition is nested more than {MAX_DEPTH} deep", token.offset)
        if self._keyword("not"):
            self._take()
            return Negation(self._negation(depth + 1))
        if token.kind == "open":
            self._take()
            inner = self.expression(depth + 1)
            if self._token.kind != "close":
                self.end(f"')' for the '(' in column {token.offset + 1}")
                self.fail("a '(' is never closed", token.offset, "add the ')'")
            self._take()
            return inner
        return self._comparison()

    def _comparison(self) -> Comparison:
        metric = self._metric()
        operator = self._operator()
        amount = self.amount()
        plain = metric.dimension in (Dimension.COUNT, Dimension.NUMBER)
        if amount.dimension is not (None if plain else metric.dimension):
            self._wrong_dimension(metric, amount)
        quantity = Quantity(amount.value, metric.dimension)
        hold = None
        if self._keyword("for"):
            self._take()
            hold = self._hold()
        return Comparison(metric.name, operator, quantity, hold)

    def _metric(self) -> Metric:
        token = self._token
        if token.kind == "operator" and self._default_metric is not None:
            name = self._default_metric
        elif token.kind == "word" and token.text.lower() not in RESERVED_WORDS:
            self._take()
            name = read_name(token.text)
        elif token.kind == "operator":
            self.fail(
                f"expected a metric before {token.shown}",
                token.offset,
                f"write the metric first, such as 'data_freshness {token.text} 30min'",
            )
        else:
            hint = None
            if token.kind in ("number", "rate", "minus"):
                hint = "the metric comes first: 'row_count > 100'"
            elif token.kind == "end" and not self._next:
                hint = "such as 'schema_validation_errors > 5%'"
            self.fail(f"expected a metric, found {token.shown}", token.offset, hint)
        metric = self._catalogue.find(name)
        if metric is None:
            near = self._catalogue.suggest(name)
            self.fail(
                f"unknown metric {name!r}",
                token.offset,
                f"did you mean {near}?"
                if near
                else "declare it under 'metrics', or see the "
                f"catalogue: {', '.join(sorted(self._catalogue.names))}",
            )
        return metric

    def _operator(self) -> ComparisonOperator:
        token = self._token
        if token.kind != "operator":
            near = None
            if token.kind == "word" and token.text.lower() in ("is", "equals", "above", "below"):
                near = "write <, <=, >, >=, == or !="
            before = self._tokens[self._next - 1] if self._next else None
            if before is not None and before.kind == "word" and token.kind in ("word", "minus"):
                near = near or self._quoting(before)
            self.fail(
                f"expected an operator (<, <=, >, >=, ==, !=), found {token.shown}",
                token.offset,
                near,
            )
        if token.text in _MISSPELT:
            meant = _MISSPELT[token.text]
            self.fail(f"unknown operator {token.shown}", token.offset, f"write '{meant}'")
        self._take()
        return ComparisonOperator(token.text)

    def _quoting(self, metric: _Token) -> str | None:
        """The hint for a column whose name is several words, and stands without quotes."""
        family, dot, _ = metric.text.partition(".")
        if not dot or family not in self._catalogue.families:
            return None
        following = itertools.takewhile(
            lambda token: token.kind not in ("operator", "end"), self._tokens[self._next :]
        )
        last = list(following)[-1]
        member = self._text[metric.offset + len(family) + 1 : last.offset + len(last.text)]
        quoted = spell_name(f"{family}.{member}")
        return f"a name that is not one word stands in quotes: {quoted}"

    def amount(self) -> _Amount:
        """A signed number with its unit; pieces of a duration are added up."""
        start = self._token
        negative = start.kind == "minus"
        if negative:
            self._take()
        if self._token.kind == "rate":
            return self._rate(start, negative=negative)
        if self._token.kind != "number":
            found = self._token
            hint = None
            if found.kind == "word" and found.text.lower() not in RESERVED_WORDS:
                hint = self._instead_of(found.text)
            self.fail(f"expected a quantity, found {found.shown}", found.offset, hint)
        pieces: list[tuple[Fraction, str, int]] = []
        while self._token.kind == "number":
            pieces.extend(self._pieces(self._take()))
        # "30 min": the unit may stand apart.
        apart = self._token.kind in ("word", "percent") and not self._keyword(*RESERVED_WORDS)
        if apart and not pieces[-1][1]:
            number, _, offset = pieces[-1]
            word = self._token.text
            if find_unit(word) is None:
                if word.startswith("_"):
                    self._foreign_character(self._token.offset, self._tokens[: self._next])
                if near_name(word.lower(), RESERVED_WORDS, cutoff=0.65):
                    self.end("a unit, 'for', 'and', 'or' or the end")
                self._unknown_unit(word, self._token.offset)
            pieces[-1] = (number, self._take().text, offset)
            while self._token.kind == "number":
                pieces.extend(self._pieces(self._take()))
        value, dimension = self._sum(pieces)
        last = self._tokens[self._next - 1]
        written = self._text[start.offset : last.offset + len(last.text)]
        return _Amount(-value if negative else value, dimension, start.offset, written)

    def _instead_of(self, word: str) -> str:
        """The hint for a word where a quantity should stand."""
        lower = word.lower()
        if lower in ("true", "false"):
            return f"a metric is a number: write {int(lower == 'true')} for {lower}"
        if lower in ("null", "none", "nan", "unknown"):
            return "what was not measured is unknown by itself; compare with a quantity, such as 0"
        if lower in _NUMBER_WORDS:
            return f"write the number in digits: {_NUMBER_WORDS.index(lower)}"
        if _ISO_DURATION.fullmatch(word):
            return "write a duration with its units, such as 5min, 1h30min or 2d"
        if self._catalogue.find(word) is None and self._catalogue.suggest(word) is None:
            return "a metric is compared with a quantity, such as 5%, 100 or 30min"
        return "a metric is compared with a quantity, not with another metric"

    def _rate(self, start: _Token, *, negative: bool) -> _Amount:
        """Rows per time, in rows per second."""
        token = self._take()
        found = _RATE_PIECES.fullmatch(token.text)
        assert found is not None  # the token has this very form
        number, unit = found.groups()
        each = find_rate(unit)
        if each is None:
            offset = token.offset + found.start(2)
            if unit.lower() == "m":
                self.fail(f"the unit {unit!r} is ambiguous", offset, "write '/min' for a minute")
            if find_unit(unit) is None:
                self._unknown_unit(unit, offset)
            self.fail(f"{unit!r} is no time", offset, "write rows per time, such as 100/s")
        value = Fraction(number) * each
        written = self._text[start.offset : token.offset + len(token.text)]
        return _Amount(-value if negative else value, Dimension.RATE, start.offset, written)

    def _pieces(self, token: _Token) -> list[tuple[Fraction, str, int]]:
        pieces = []
        for found in _NUMBER_PIECE.finditer(token.text):
            number, unit = found.group(1), found.group(2) or ""
            at = token.offset + found.start()
            if unit and find_unit(unit) is None:
                self._unknown_unit(unit, at + len(number))
            pieces.append((Fraction(number), unit, at))
        return pieces

    def _unknown_unit(self, unit: str, offset: int) -> NoReturn:
        lower = unit.lower()
        if lower == "m":
            self.fail(
                f"the unit {unit!r} is ambiguous",
                offset,
                "write 'min' for minutes, '30d' for a month"
                + ("" if self._only_time else ", 'MB' for megabytes"),
            )
        if lower in ("mo", "month", "months", "y", "yr", "year", "years", "quarter", "quarters"):
            self.fail(f"the unit {unit!r} has no fixed length", offset, "write days, such as '30d'")
        hint = None
        if lower in RESERVED_WORDS:
            hint = f"leave a space before '{lower}'"
        elif lower in ("check", "checks"):
            hint = "checks are counted after 'for': 'row_count < 100 for 3 checks'"
        elif self._only_time:
            near = did_you_mean(lower, TIME_SPELLINGS)
            hint = near or f"units of time are {', '.join(reversed(DURATION_UNITS))}"
        elif lower in ("percent", "per", "pct", "percentage", "pc", "prozent"):
            hint = "write '%' behind the number: 5%"
        elif lower in ("row", "rows", "record", "records"):
            hint = "a count has no unit: leave it out; a rate is written 100/min"
        elif lower in ("k", "thousand", "million", "millions", "mio", "bn"):
            hint = "write the number out: 10000; a size has a unit such as 'kB'"
        else:
            near = did_you_mean(lower, UNIT_SPELLINGS)
            hint = near or "known are %, ms, s, min, h, d, w, B, kB, MB, GB, TB"
        self.fail(f"unknown unit {unit!r}", offset, hint)

    def _sum(self, pieces: list[tuple[Fraction, str, int]]) -> tuple[Fraction, Dimension | None]:
        total = Fraction(0)
        dimension: Dimension | None = None
        smallest: Fraction | None = None
        for number, unit, offset in pieces:
            found = find_unit(unit) if unit else None
            if len(pieces) > 1 and (found is None or found[0] is not Dimension.DURATION):
                self.fail(
                    "only durations add up",
                    offset,
                    "write one number with one unit, or a duration such as 1h30min",
                )
            if found is None:
                return number, None
            if smallest is not None and found[1] >= smallest:
                self.fail(
                    f"{unit!r} cannot follow a unit that is not larger",
                    offset,
                    "write the larger unit first, each once: 1h30min",
                )
            dimension, smallest = found
            total += number * smallest
        return total, dimension

    def _hold(self) -> Hold:
        token = self._token
        if token.kind == "number":
            found = re.fullmatch(r"([0-9]+)(checks?)?", token.text, re.IGNORECASE)
            after = self._tokens[self._next + 1]
            apart = after.kind == "word" and after.text.lower() in ("check", "checks")
            if found is not None and (found.group(2) or apart):
                self._take()
                if not found.group(2):
                    self._take()
                checks = int(found.group(1))
                if not 1 <= checks <= MAX_CHECKS:
                    self.fail(f"a hold counts 1 to {MAX_CHECKS} checks", token.offset)
                return Hold(checks=checks)
            if found is not None and after.kind != "word":
                self.fail(
                    f"for {token.text} what?",
                    token.offset,
                    f"write 'for {token.text} checks' or 'for {token.text}min'",
                )
        duration = self.duration()
        if not duration:
            self.fail("a hold needs a duration above zero", token.offset)
        return Hold(duration=duration)

    def duration(self) -> timedelta:
        """A duration with a resolution of a microsecond, between zero and ten years."""
        self._only_time = True
        amount = self.amount()
        if amount.dimension is not Dimension.DURATION:
            hint = "such as 5min or 1h30min"
            self.fail(f"{amount.text!r} is no duration", amount.offset, hint)
        if amount.value < 0:
            self.fail("a duration cannot be negative here", amount.offset)
        microseconds = amount.value * 1_000_000
        if microseconds.denominator != 1:
            self.fail("a duration is at least one microsecond exact", amount.offset)
        if microseconds > MAX_DURATION // timedelta(microseconds=1):
            self.fail("a duration is at most ten years (3650d)", amount.offset)
        return timedelta(microseconds=int(microseconds))

    def _wrong_dimension(self, metric: Metric, amount: _Amount) -> NoReturn:
        example = _EXAMPLES[metric.dimension]
        hint = f"write it like '{metric.name} > {example}'"
        number = amount.text.strip()
        if amount.dimension is None:
            if metric.dimension is Dimension.RATIO:
                hint = f"write '{number}%'"
                if 0 < abs(amount.value) < 1:
                    percent = render_quantity(Quantity(amount.value, Dimension.RATIO))
                    hint = f"write '{percent}' for {number}, or '{number}%'"
            elif metric.dimension is Dimension.DURATION:
                hint = f"which unit? '{number}s', '{number}min' or '{number}h'"
            elif metric.dimension is Dimension.RATE:
                hint = f"in which time? '{number}/s', '{number}/min' or '{number}/h'"
        self.fail(
            f"{metric.name} is {_MEASURES[metric.dimension]}: {number!r}", amount.offset, hint
        )


def _written_out(number: str) -> str:
    """The hint that writes ``1e6`` as ``1000000``, where that is not too long to be read."""
    exponent = re.split("[eE]", number)[-1]
    if len(exponent) > _MOST_EXPONENT:
        return "write the number out"
    try:
        value = Fraction(number.replace("\N{MINUS SIGN}", "-"))
        text = render_quantity(Quantity(value, Dimension.NUMBER))
    except ValueError:
        return "write the number out, with one point at most"
    return f"write the number out: {text}"


def _skip_space(text: str, position: int) -> int:
    found = _NOT_SPACE.search(text, position)
    return len(text) if found is None else found.start()
