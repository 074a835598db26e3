"""Versions and references to contracts."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_contracts.core.reference import ContractRef, Version, is_name
from dagster_contracts.errors import DocumentError

VERSIONS = st.tuples(*[st.integers(0, 30)] * 3).map(lambda t: ".".join(map(str, t)))


def test_versions_are_ordered_as_numbers_and_not_as_text() -> None:
    texts = ["1.10.0", "1.9.0", "1.10.0-rc.10", "1.10.0-rc.2", "latest", "2", "1.10.0-alpha"]
    ordered = sorted(texts, key=Version.parse)
    assert ordered == [
        "latest",
        "1.9.0",
        "1.10.0-alpha",
        "1.10.0-rc.2",
        "1.10.0-rc.10",
        "1.10.0",
        "2",
    ]


def test_short_spellings_are_equal() -> None:
    assert Version.parse("1") == Version.parse("1.0") == Version.parse("v1.0.0")
    assert hash(Version.parse("1")) == hash(Version.parse("1.0.0"))
    assert Version.parse("1.0.0.1") > Version.parse("1.0.0")


@pytest.mark.parametrize("text", ["", " ", "1 0", "../1", "1..2", "a/b", "1.0.0\n", "é"])
def test_no_versions(text: str) -> None:
    with pytest.raises(DocumentError, match="is no version"):
        Version.parse(text)


@pytest.mark.parametrize(
    ("reference", "yes", "no"),
    [
        ("orders", ["0.1.0", "1.0.0", "9.9.9"], []),
        ("orders@1", ["1.0.0", "1.99.3"], ["0.9.0", "2.0.0", "10.0.0", "1.0.0-rc.1"]),
        ("orders@1.2", ["1.2.0", "1.2.9"], ["1.3.0", "1.20.0"]),
        ("orders@^1.2", ["1.2.0", "1.3.0", "1.2.1"], ["1.1.9", "2.0.0", "1.3.0-rc.1"]),
        ("orders@^1", ["1.0.0", "1.7.0"], ["2.0.0", "0.9.0"]),
        ("orders@^0.2", ["0.2.0", "0.2.7"], ["0.3.0", "1.0.0", "0.1.0"]),
        ("orders@^0", ["0.2.0", "0.9.7"], ["1.0.0"]),
        ("orders@^0.0.3", ["0.0.3"], ["0.0.4", "0.0.2"]),
        ("orders@~1.2", ["1.2.0", "1.2.5"], ["1.3.0", "1.1.0"]),
        ("orders@~1", ["1.0.0", "1.9.0"], ["2.0.0"]),
        ("orders@~1.2.3", ["1.2.3", "1.2.9"], ["1.2.2", "1.3.0"]),
        ("orders@1.4.0", ["1.4.0", "1.4"], ["1.4.1"]),
        ("orders@1.4.0-rc.1", ["1.4.0-rc.1"], ["1.4.0"]),
        ("orders@latest", ["latest"], ["1.0.0"]),
    ],
)
def test_what_a_reference_matches(reference: str, yes: list[str], no: list[str]) -> None:
    parsed = ContractRef.parse(reference)
    assert str(parsed) == reference
    assert [v for v in yes if not parsed.matches(v)] == []
    assert [v for v in no if parsed.matches(v)] == []


@pytest.mark.parametrize(
    "text", ["", "@1", "a b", "../x", "orders@", "orders@^x", "o@1 || 2", "a/b"]
)
def test_malformed_references_say_how_to_write_one(text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        ContractRef.parse(text)
    assert "write" in str(caught.value)


def test_select_prefers_releases() -> None:
    assert ContractRef.parse("orders").select(["1.0.0", "2.0.0-rc.1"]) == "1.0.0"
    assert ContractRef.parse("orders").select(["2.0.0-rc.1"]) == "2.0.0-rc.1"
    assert ContractRef.parse("orders@^3").select(["1.0.0"]) is None


@given(st.lists(VERSIONS, min_size=1), VERSIONS)
def test_a_caret_selects_the_highest_of_its_major(versions: list[str], wanted: str) -> None:
    chosen = ContractRef.parse(f"orders@^{wanted}").select(versions)
    eligible = [v for v in versions if ContractRef.parse(f"orders@^{wanted}").matches(v)]
    assert (chosen is None) == (not eligible)
    if chosen is not None:
        assert all(Version.parse(v) <= Version.parse(chosen) for v in eligible)
        assert Version.parse(chosen).release[0] == Version.parse(wanted).release[0]


@given(st.text(max_size=30))
def test_parsing_never_raises_anything_else(text: str) -> None:
    for parse in (Version.parse, ContractRef.parse):
        with contextlib.suppress(DocumentError):
            parse(text)
    assert not is_name(text) or "/" not in text
