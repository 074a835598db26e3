"""The YAML reader: strict scalars, places, limits, and no exception but DocumentError."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dagster_contracts.documents.yaml_text import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    MappingNode,
    SequenceNode,
    parse_yaml,
    to_json,
)
from dagster_contracts.errors import DocumentError, SourceLocation
from tests.calls import calls_made


def read(text: str | bytes) -> object:
    return to_json(parse_yaml(text, "f.yaml"))


def refused(text: str | bytes) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        parse_yaml(text, "f.yaml")
    return caught.value


def test_scalars_are_those_of_yaml_1_2() -> None:
    text = """
    norway: no
    switch: on
    time: 12:30:45
    day: 2024-01-01
    moment: 2024-01-01T00:00:00Z
    octal: 0o17
    leading_zero: 010
    hex: 0xff
    plain: 7
    exact: -1.50
    small: 1e-3
    words: [true, False, null, ~, "true", 'no', yes, .5, 1_000, "1"]
    nothing:
    """
    assert read(text) == {
        "norway": "no",
        "switch": "on",
        "time": "12:30:45",
        "day": "2024-01-01",
        "moment": "2024-01-01T00:00:00Z",
        "octal": 15,
        "leading_zero": 10,
        "hex": 255,
        "plain": 7,
        "exact": -1.5,
        "small": 0.001,
        "words": [True, False, None, None, "true", "no", "yes", 0.5, "1_000", "1"],
        "nothing": None,
    }


def test_keys_are_text_whatever_they_look_like() -> None:
    assert read("on: 1\nno: 2\n1: 3\n1.0: 4\n") == {"on": 1, "no": 2, "1": 3, "1.0": 4}


def test_every_value_knows_its_place() -> None:
    root = parse_yaml("a: 1\nb:\n  - c: text\n  - [2, 3]\n", "f.yaml")
    assert isinstance(root, MappingNode)
    items = root.entries["b"]
    assert isinstance(items, SequenceNode)
    first, second = items.items
    assert isinstance(first, MappingNode)
    assert isinstance(second, SequenceNode)
    assert root.key_location("b") == SourceLocation("f.yaml", 2, 1)
    assert first.entries["c"].location == SourceLocation("f.yaml", 3, 8)
    assert second.items[1].location == SourceLocation("f.yaml", 4, 9)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_places_do_not_depend_on_line_ends_and_byte_order_marks(newline: str, mark: bytes) -> None:
    text = newline.join(["ü: 1", "b:", "    c: [x", ""])
    error = refused(mark + text.encode())
    assert error.where == SourceLocation("f.yaml", 3, 8)
    good = parse_yaml(mark + newline.join(["ü: 1", "b: 2"]).encode(), "f.yaml")
    assert isinstance(good, MappingNode)
    assert good.key_location("b") == SourceLocation("f.yaml", 2, 1)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", (3, 1), "occurs twice"),
        ("x: &d {a: 1}\ny:\n  <<: *d\n", (3, 3), "merge keys"),
        ("a: !!python/object/apply:os.system [ls]\n", (1, 4), "tag"),
        ("a: !secret x\n", (1, 4), "tag"),
        ("- a\n---\n- b\n", (2, 1), "second YAML document"),
        ("? [a, b]\n: 1\n", (1, 3), "a key must be a word"),
        ("a: *nowhere\n", (1, 4), "no anchor before it"),
        ("a: &x [*x]\n", (1, 8), "contains itself"),
        ("a: .nan\n", (1, 4), "no finite number"),
        ("a: -.inf\n", (1, 4), "no finite number"),
        ("a: 1e999\n", (1, 4), "too large"),
        ("a: " + "9" * 5000 + "\n", (1, 4), "longer than 100 characters"),
        ("? " + "k" * 1025 + "\n: 1\n", (1, 3), "1,024 characters"),
        ("a:\n\tb: 1\n", (2, 1), "not YAML"),
        ("a: b: c\n", (1, 5), "not YAML"),
        ("a: 'open\n", (1, 4), "not YAML"),
        ('a: 1\nb: "open\nc: "x"\n', (2, 4), "closes only in line 3"),
        ("a: 1\nb: {c: [1,\nd: 2\n", (2, 8), "never closed"),
        (b"a: \xff\xfe\n", (1, 4), "not UTF-8"),
        (b"ok: 1\nb: \xe9\n", (2, 4), "not UTF-8"),
        (b"\xff\xfea\x00:\x00", (1, 1), "not UTF-8"),
        ("a: \x00\n", (1, 4), "U+0000"),
        ("a: \ud800\n", (1, 4), "surrogate"),
        ("%TAG ! tag:x\n", (2, None), "not YAML"),
    ],
)
def test_what_is_refused_and_where(
    text: str | bytes, place: tuple[int, int | None], words: str
) -> None:
    error = refused(text)
    assert words in error.what
    assert isinstance(error.where, SourceLocation)
    line, column = place
    assert error.where.line == line
    assert column is None or error.where.column == column


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("completeness: > 95%\n", '"> 95%"'),
        ("a:\n\tb: 1\n", "spaces"),
        ("a: @x\n", '"@x"'),
        ("note: first: second\n", "holds a colon"),
        ("a:\n  b: 1\n c: 2\n", "indentation"),
        ("a: 'open\n", "not closed"),
        ("", "data_contract"),
        ("a: .nan", '".nan"'),
    ],
)
def test_the_mend_is_told(text: str, hint: str) -> None:
    assert hint in (refused(text).hint or "")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_places_are_those_of_editors_whatever_a_value_holds(newline: str) -> None:
    text = newline.join(['a: "x\u2028y\x85z"', 'b: {c: "\u2029", d: 1}', "e: &x [2]", "f: *x", ""])
    root = parse_yaml(text, "f.yaml")

    assert isinstance(root, MappingNode)
    inner = root.entries["b"]
    assert isinstance(inner, MappingNode)
    assert inner.entries["c"].location == SourceLocation("f.yaml", 2, 8)
    assert inner.key_location("d") == SourceLocation("f.yaml", 2, 13)
    assert root.entries["f"].location == SourceLocation("f.yaml", 3, 4)
    assert root.key_location("f") == SourceLocation("f.yaml", 4, 1)
    assert refused(text + "g: !t 1\n").where == SourceLocation("f.yaml", 5, 4)
    assert refused(text + "g: @\n").where == SourceLocation("f.yaml", 5, 4)


def test_a_file_may_be_empty_but_for_comments() -> None:
    assert "empty" in refused("# nothing\n").what
    assert "empty" in refused("---\n...\n").what


def test_billion_laughs_are_refused_before_they_are_expanded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 9) + "]" for i in range(1, 9)]
    assert "too many aliases" in refused("\n".join(lines)).what
    wide = "a: &a [" + ", ".join(["x"] * 40_000) + "]\nb: [*a, *a]\n"
    assert "too many aliases" in refused(wide).what


def test_few_aliases_are_read() -> None:
    assert read("a: &x {b: 1}\nc: *x\n") == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth_is_bounded(opening: str) -> None:
    with calls_made() as made:
        error = refused(opening * 100_000)
    assert f"more than {MAX_DEPTH} deep" in error.what
    assert made.count < 2_000_000
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None


def test_size_and_count_are_bounded() -> None:
    assert "too large" in refused(b"a: " + b"x" * MAX_BYTES).what
    assert "too large" in refused("ü" * (MAX_BYTES // 2 + 1)).what
    assert f"{MAX_NODES:,} values" in refused("[" + "1," * (MAX_NODES + 1) + "]").what
    assert read(b"a: " + b"x" * (MAX_BYTES - 10)) == {"a": "x" * (MAX_BYTES - 10)}


def test_the_environment_is_closed_but_for_what_is_allowed() -> None:
    text = "a: ${env:SECRET}\n"
    assert "may not be read" in refused(text).what
    assert to_json(parse_yaml(text, "f.yaml", allowed_env={"SECRET"})) == {"a": "${env:SECRET}"}
    with pytest.raises(DocumentError, match="no closing brace"):
        parse_yaml("a: ${env:SECRET\n", "f.yaml", allowed_env={"SECRET"})


# U+0000 is refused wherever it stands.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(CHARACTERS, max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(CHARACTERS, max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_what_a_strict_writer_writes_is_read_back(value: object) -> None:
    class Quoted(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    # Text in quotes: the library writes YAML 1.1, where `0E0` needs none, and we read 1.2.
    Quoted.add_representer(
        str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
    )
    text = yaml.dump(value, Dumper=Quoted, allow_unicode=False)
    # A merge key in quotes is a key; nothing else that a careful writer writes is refused.
    assert read(text) == value


MARKS = [
    "a: ",
    "- ",
    "? ",
    ": ",
    ",",
    "#",
    "|",
    ">",
    "'",
    '"',
    "[",
    "]",
    "{",
    "}",
    "  ",
    "\t",
    "\n",
]
MARKS += [
    "&x ",
    "*x",
    "!!int ",
    "<<: ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "\ufeff",
    "\x85",
    "1e9",
    ".",
]
FRAGMENTS = st.sampled_from(MARKS)


def has_no_other_exception(content: str | bytes) -> None:
    try:
        parse_yaml(content, "f.yaml")
    except DocumentError as error:
        place = error.where
    else:
        place = SourceLocation("f.yaml")
    assert isinstance(place, SourceLocation)


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAGMENTS | st.text(max_size=5), max_size=25).map("".join))
@example("? ? ? ?")
@example("a: |")
@example("!<tag:yaml.org,2002:str> a")
def test_no_exception_but_document_error(text: str) -> None:
    has_no_other_exception(text)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_no_exception_but_document_error_for_bytes(content: bytes) -> None:
    has_no_other_exception(content)
