from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_contracts.core.pattern import Dialect, UnportablePattern, translate
from dagster_contracts.core.text_format import TEXT_FORMATS

PORTABLE = [
    r"^N\d{1,5}[A-Z]{0,2}$",
    "a|b$",
    "^(?:ab)+?c",
    r"[\w.-]+@\w+\.com",
    r"[^a-c\]\\]",
    "x{2}y{1,}",
    r"\u00e9\x41",
    r"a.c \t",
    "[+*?(){}|^$-]",
]


@pytest.mark.parametrize("pattern", PORTABLE)
@pytest.mark.parametrize("dialect", [Dialect.PYTHON, Dialect.RUST])
def test_portable_patterns_compile(pattern, dialect):
    written = translate(pattern, dialect)
    if dialect is Dialect.PYTHON:
        re.compile(written)
    else:
        pl.Series(["x"]).str.contains(written)


@pytest.mark.parametrize(
    ("pattern", "offset"),
    [
        (r"a(?=b)", 1),
        (r"(?i)a", 0),
        (r"\bword", 0),
        (r"(a)\1", 3),
        ("a**", 1),
        ("[", 0),
        ("[]", 0),
        ("(a", 0),
        ("a)", 1),
        ("a{", 1),
        ("a{2,1}", 1),
        ("a{2000}", 1),
        ("+a", 0),
        ("[z-a]", 3),
        ("[[:alpha:]]", 1),
        ("[a&&b]", 2),
        ("a\\", 1),
        (r"\p{L}", 0),
        (r"[\D]", 1),
    ],
)
def test_what_has_no_common_meaning_is_refused_where_it_stands(pattern, offset):
    with pytest.raises(UnportablePattern) as caught:
        translate(pattern, Dialect.RUST)
    assert caught.value.offset == offset


def test_the_end_is_the_very_end_in_every_dialect():
    assert not re.search(translate("a$", Dialect.PYTHON), "a\n")
    assert not pl.Series(["a\n"]).str.contains(translate("a$", Dialect.RUST)).item()


@settings(max_examples=60)
@given(
    pattern=st.sampled_from(PORTABLE),
    text=st.text(alphabet="aAbcNxyé19 \t\n@.-]\\com^$", max_size=8),
)
def test_dialects_agree(pattern, text):
    by_python = bool(re.search(translate(pattern, Dialect.PYTHON), text))
    by_rust = pl.Series([text]).str.contains(translate(pattern, Dialect.RUST)).item()
    assert by_python == by_rust


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("email", ["a@b.co", "a.b+c@x-y.org"], ["a@b", "@b.co", "a b@c.de", "a@b.co\n"]),
        ("uuid", ["00000000-0000-4000-8000-00000000000A"], ["0000", "g" * 36]),
        ("uri", ["https://x.y/z?q=1", "urn:isbn:1"], ["no scheme", "http://a b"]),
        ("hostname", ["a", "a-b.example"], ["-a", "a..b", "a_b"]),
        ("ipv4", ["0.0.0.0", "255.1.2.3"], ["256.1.1.1", "1.2.3", "01.2.3.4"]),
        ("ipv6", ["::", "::1", "2001:db8::8a2e:370:7334", "::ffff:1.2.3.4"], [":", "1::2::3"]),
        ("date", ["2024-02-29", "2000-02-29"], ["2023-02-29", "1900-02-29", "2024-04-31"]),
        (
            "date-time",
            ["2024-01-01T00:00:00Z", "2024-01-01t23:59:60.5+01:00"],
            ["2024-01-01", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00"],
        ),
        ("time", ["12:30:45", "12:30:45.1Z"], ["24:00:00", "12:30"]),
        ("duration", ["P1D", "PT1H30M", "P1Y2M3DT4S", "P2W"], ["P", "PT", "1D", "P1S"]),
        ("byte", ["", "YQ==", "YWJj"], ["YQ=", "a", "YQ==\n"]),
    ],
)
def test_formats(form, good, bad):
    for dialect in (Dialect.PYTHON, Dialect.RUST):
        written = translate(TEXT_FORMATS[form], dialect)
        for text, expected in [*((t, True) for t in good), *((t, False) for t in bad)]:
            if dialect is Dialect.PYTHON:
                found = bool(re.search(written, text))
            else:
                found = pl.Series([text]).str.contains(written).item()
            assert found == expected, (dialect, text)


def test_every_format_is_tested_above():
    assert set(TEXT_FORMATS) == {
        "email",
        "uuid",
        "uri",
        "hostname",
        "ipv4",
        "ipv6",
        "date",
        "date-time",
        "time",
        "duration",
        "byte",
    }
