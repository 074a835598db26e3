from __future__ import annotations

import random
import re

import polars as pl
import pytest

from dagster_contracts.core.pattern import Dialect, translate
from dagster_contracts.engine.code_shapes import places_of, unlike
from dagster_contracts.engine.validation import validate
from tests.engine.builders import STRING, column, contract, outcome

ROWS = 12_000
UPPER, DIGIT, LOWER = (65, 90), (48, 57), (97, 122)

PATTERNS = {
    r"^[A-Z]{2}-\d{3}$": "AB-123",
    r"^[A-Za-z0-9_-]{3}\.$": "a_-.",
    r"^\w{12}$": "abcDEF_01289",
    r"^SKU[0-9]$": "SKU1",
    r"^[a-c-]x$": "-x",
    r"^[\w.]$": ".",
}


def test_places_have_the_bytes_that_may_stand_there():
    assert places_of(r"^[A-Z]{2}-\d$") == ((UPPER,), (UPPER,), ((45, 45),), (DIGIT,))
    assert places_of(r"^[a-z0-9]\.$") == ((DIGIT, LOWER), ((46, 46),))
    assert places_of("^[a-z]{12}$") == ((LOWER,),) * 12


@pytest.mark.parametrize(
    "pattern",
    [
        "[A-Z]{2}",
        "^[A-Z]{2}",
        "[A-Z]{2}$",
        "^$",
        "^a+$",
        "^a|b$",
        "^(ab){2}$",
        "^a{1,2}$",
        "^a{0}b$",
        "^[a-z]{13}$",
        "^[^a]$",
        r"^\D$",
        r"^\s$",
        "^.$",
        "^é$",
        "^[à-ü]$",
        r"^\x41$",
        "^a.b$",
        "^[acegik]$",
    ],
)
def test_other_patterns_are_left_to_regular_expressions(pattern):
    assert places_of(pattern) is None
    assert unlike("x", pattern) is None


def texts_near(good: str, chance: random.Random) -> list[str | None]:
    """Texts that match, and such as differ in a letter or two, are missing, or are long."""
    odd = good + "AZaz09_-. @[`{/:\x00\x7f\x80ÿ€😀"
    found: list[str | None] = []
    for _ in range(ROWS):
        text = list(good)
        for _ in range(chance.choice((0, 0, 1, 2))):
            at = chance.randrange(len(text))
            text[at : at + chance.randrange(2)] = chance.choice(("", chance.choice(odd)))
            text = text or [chance.choice(odd)]
        written = "".join(text) * chance.choice((1, 1, 1, 1, 9, 40))
        found.append(None if chance.random() < 0.05 else written)
    return found


@pytest.mark.parametrize(("pattern", "good"), PATTERNS.items())
def test_the_answers_are_those_of_regular_expressions(pattern, good):
    python = re.compile(translate(pattern, Dialect.PYTHON))
    whole = pl.DataFrame({"x": texts_near(good, random.Random(pattern))})
    test = unlike("x", pattern)
    assert test is not None
    for frame in (
        whole,
        whole.slice(7),
        whole.drop_nulls(),
        whole.reverse(),
        whole.head(100),
        pl.concat([whole.slice(3, 5_000), whole.slice(1, 4_097)], rechunk=False),
    ):
        expected = [text is not None and not python.search(text) for text in frame["x"]]
        for engine in ("in-memory", "streaming"):
            found = frame.lazy().select(test.fill_null(False)).collect(engine=engine)
            assert found["x"].to_list() == expected
        assert set(expected) == {True, False}


def test_rules_count_and_show_what_regular_expressions_would():
    pattern, good = r"^[A-Z]{2}-\d{3}$", "AB-123"
    texts = texts_near(good, random.Random(1))
    python = re.compile(translate(pattern, Dialect.PYTHON))
    broken = [n for n, text in enumerate(texts) if text is not None and not python.search(text)]
    frame = pl.DataFrame({"x": texts, "gappy": [None, *range(ROWS - 1)]})
    made = contract(column("x", STRING, pattern=pattern))
    for data in (frame, frame.to_pandas(), frame.lazy(), frame.cast({"x": pl.Categorical})):
        found = outcome(validate(data, made), "x.pattern")
        assert found.failed_rows == len(broken)
        assert [sample["row"] for sample in found.samples] == broken[: len(found.samples)]
