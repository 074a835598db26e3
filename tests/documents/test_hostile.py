"""Documents that mean harm, or that went wrong on their way: one clear error, soon and in little.

Times are of the process and not of the clock, so that a busy machine does not fail a test; the
bounds are many times what was measured.
"""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from pathlib import Path

import pytest

from dagster_contracts.documents.document import Document, read_document
from dagster_contracts.documents.lint import lint_paths
from dagster_contracts.documents.problem import MAX_PROBLEMS
from dagster_contracts.documents.yaml_text import MAX_BYTES
from tests.calls import calls_made

HEAD = "data_contract:\n  name: a\n  schema: {fields: {a: string}}\n"
ODCS = "apiVersion: v3.1.0\nkind: DataContract\nid: a\nversion: 1.0.0\nstatus: active\n"


def many(line: str, count: int) -> str:
    return "".join(line.format(i) for i in range(count))


def read(tmp_path: Path, content: str | bytes, **options: object) -> Document:
    path = tmp_path / "c.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_document(path, **options)  # type: ignore[arg-type]


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
EXPENSIVE = {
    "an alias bomb": BOMB,
    "open lists": "a: " + "[" * 10_000,
    "closed lists": "a: " + "[" * 10_000 + "]" * 10_000,
    "open mappings": "a: " + "{a: " * 10_000,
    "block mappings": "\n".join(" " * i + "a:" for i in range(1_000)),
    "block lists": "- " * 400_000,
    "question marks": "? " * 400_000,
    "a huge word": "a: " + "x" * (MAX_BYTES - 3),
    "a huge text": 'a: "' + "\\n" * 400_000 + '"',
    "an open quote": 'a: "' + "x\n" * 400_000,
    "many aliases": "a: &a 1\nb: [" + "*a," * 200_000 + "]",
    "many directives": "%YAML 1.2\n" * 50_000,
    "a long tag": "a: !" + "x" * 500_000 + " 1",
    "dashes": "-" * 1_000_000,
    "colons": ": " * 500_000,
    "unknown keys": "data_contract:\n" + many("  k{}: 1\n", 45_000),
    "unknown types": "data_contract:\n  schema:\n    fields:\n" + many("      k{}: txt\n", 45_000),
    "misspelled columns": HEAD.replace("{a: string}", "{" + many("c{}: string, ", 30_000) + "}")
    + "  quality:\n"
    + many("    - {{column: d{}, metric: nullValues}}\n", 1_000),
    "rules of one name": HEAD + "  quality:\n" + many("    - {{name: x, expression: a}}\n", 5_000),
    "unknown conditions": HEAD
    + "  resilience:\n    circuit_breaker:\n      open_when:\n"
    + many("        - m{} < 1\n", 30_000),
    "metrics": HEAD + "  metrics:\n" + many("    l{}: count\n", 45_000),
    "levels": HEAD
    + "  resilience:\n    fallback_modes:\n"
    + many("    - {{level: l, source: s{}}}\n", 14_000),
    "a long version": f'data_contract: {{name: a, version: "{"1" * 500_000}.0"}}',
    "a long per cent": HEAD
    + f'  resilience: {{circuit_breaker: {{recovery: {{backoff: "{"9" * 9_000}%"}}}}}}\n',
    "a long duration": HEAD
    + f'  resilience: {{circuit_breaker: {{flapping_window: "{"1s" * 99_000}"}}}}\n',
    "a long condition": HEAD
    + f'  resilience: {{circuit_breaker: {{open_when: "{"(" * 500_000}"}}}}\n',
    "bad columns of ODCS": ODCS
    + "schema:\n- name: a\n  properties:\n"
    + many("  - {{name: k{}, logicalType: txt}}\n", 5_000),
}


@pytest.mark.parametrize("content", EXPENSIVE.values(), ids=EXPENSIVE.keys())
def test_what_is_expensive_is_refused_soon_and_in_few_words(tmp_path: Path, content: str) -> None:
    assert len(content) <= MAX_BYTES

    with calls_made() as made:
        document = read(tmp_path, content)

    assert made.count < 6_000_000
    assert document.contract is None
    assert document.errors
    assert len(document.problems) <= MAX_PROBLEMS + 1
    for problem in document.problems:
        assert problem.location.line >= 1
        assert len(str(problem)) < 1_500


def test_a_bomb_takes_little_memory(tmp_path: Path) -> None:
    tracemalloc.start()
    read(tmp_path, BOMB)
    read(tmp_path, "- " * 400_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 30_000_000


def test_a_document_of_mistakes_alone_says_so_at_its_end(tmp_path: Path) -> None:
    document = read(tmp_path, HEAD + many("  k{}: 1\n", 500))

    assert len(document.problems) == MAX_PROBLEMS + 1
    last = document.problems[-1]
    assert last.code == "too-many"
    assert str(MAX_PROBLEMS) in last.message
    assert last.location.line == document.problems[-2].location.line + 1


@pytest.mark.parametrize(("size", "told"), [(MAX_BYTES, False), (MAX_BYTES + 1, True)])
def test_the_limit_of_size_is_one_mebibyte(tmp_path: Path, size: int, told: bool) -> None:
    document = read(tmp_path, HEAD + "#" * (size - len(HEAD)))

    assert (document.contract is None) is told
    assert told == any(f"too large: {size:,} bytes" in str(p) for p in document.problems)


def test_ten_megabytes_are_not_read(tmp_path: Path) -> None:
    document = read(tmp_path, b"a: 1\n" * 2_000_000)

    assert "10,000,000 bytes" in str(document.errors[0])


TEXTS = [
    # bytes that are not UTF-8 text
    (b"a: \xe9\n", (1, 4), "UTF-8"),
    ("a: 1\n".encode("utf-16"), (1, 1), "UTF-8"),
    ("a: 1\n".encode("utf-16-le"), (1, 2), "UTF-16"),
    ("a: 1\n".encode("utf-16-be"), (1, 1), "UTF-16"),
    ("a: 1\n".encode("utf-32"), (1, 1), "UTF-32"),
    (b"a: \xed\xa0\x80\n", (1, 4), "UTF-8"),
    (b"a: 1\r\rb: \xe9\n", (3, 4), "UTF-8"),
    (b"a: 1\0\n", (1, 5), "U+0000"),
    (b"a: \x1b[31m\n", (1, 4), "U+001B"),
    # escapes
    (b'a: "\\0"\n', (1, 4), "U+0000"),
    (b'"\\x00": 1\n', (1, 1), "U+0000"),
    (b'a: "\\ud800"\n', (1, 7), "the character itself"),
    (b'a: "\\ud83d\\ude00"\n', (1, 7), "the character itself"),
    # what is no document, or more than one
    (b"", (0, 0), "empty"),
    (b"# only\n# comments\n", (0, 0), "empty"),
    (b"---\n", (0, 0), "empty"),
    (b"a: 1\n---\nb: 2\n", (2, 1), "second YAML document"),
    (b"- a\n", (1, 1), "no contract"),
    (b"hello\n", (1, 1), "no contract"),
    (b"null\n", (1, 1), "no contract"),
    (b"%FOO\na: 1\n", (1, 5), "begin with %"),
    # keys
    (b"a: 1\na: 2\n", (2, 1), "twice"),
    (b"[a]: 1\n", (1, 1), "must be a word"),
    (b"{a: b}: 1\n", (1, 1), "must be a word"),
    (b"? [a]\n: 1\n", (1, 3), "must be a word"),
    (b"a: &x 1\n*x : 2\n", (2, 1), "must be a word"),
    (b"<<: {a: 1}\n", (1, 1), "merge keys"),
    (b'"${env:SECRET}": 1\n', (1, 1), "only values may come from the environment"),
    # tags
    (b"a: !!python/object/apply:os.system [ls]\n", (1, 4), "plain values"),
    (b"a: !!binary aGk=\n", (1, 4), "plain values"),
    (b"a: !!timestamp 2020-01-01\n", (1, 4), "plain values"),
    (b"!!map {a: 1}\n", (1, 1), "plain values"),
    # numbers that are none
    (b"a: .inf\n", (1, 4), "finite"),
    (b"a: -.Inf\n", (1, 4), "finite"),
    (b"a: .nan\n", (1, 4), "finite"),
    (b"a: 1e999\n", (1, 4), "too large"),
    (b"a: " + b"9" * 5_000, (1, 4), "longer than"),
    # the environment
    (b"a: ${env:HOME}\n", (1, 4), "may not be read"),
    (b"a: ${env:${env:SECRET}}\n", (1, 4), "may not be read"),
    (b"a: ${env:}\n", (1, 4), "may not be read"),
    (b"a: ${env:SECRET\n", (1, 4), "closing brace"),
    (b"a: *nobody\n", (1, 4), "no anchor"),
    (b"a: &a [*a]\n", (1, 8), "contains itself"),
    (b"\ta: 1\n", (1, 1), "spaces"),
]


@pytest.mark.parametrize(("content", "place", "words"), TEXTS, ids=[repr(t[0][:24]) for t in TEXTS])
def test_what_is_no_plain_document_is_one_error_with_its_place_and_mend(
    tmp_path: Path, content: bytes, place: tuple[int, int], words: str
) -> None:
    document = read(tmp_path, content, allowed_env={"SECRET"})

    (error,) = document.errors
    assert (error.location.line, error.location.column) == place
    assert words in str(error)
    assert error.hint


def test_a_secret_is_in_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    document = read(
        tmp_path,
        HEAD + "  owner: [${env:SECRET}]\n  status: ${env:SECRET}\n  tags: {a: ${env:SECRET}}\n",
        allowed_env={"SECRET"},
    )

    assert document.errors
    assert "hunter2" not in "".join(map(str, document.problems))


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\x85", "\u2028", "\u2029"])
def test_every_line_break_of_yaml_counts_as_a_line(tmp_path: Path, newline: str) -> None:
    document = read(tmp_path, newline.join([*HEAD.splitlines(), "  ownr: b", ""]))

    (error,) = document.errors
    assert (error.location.line, error.location.column) == (4, 3)


@pytest.mark.parametrize(
    ("key", "told"),
    [("1", "'1'"), ("null", "'null'"), ("true", "'true'"), ("1.5", "'1.5'"), ("&x a", "'a'")],
)
def test_keys_are_words_whatever_they_look_like(tmp_path: Path, key: str, told: str) -> None:
    (error,) = read(tmp_path, f"{HEAD}  {key}: 1\n").errors

    assert f"no key {told}" in error.message
    assert error.location.line == 4


def test_two_spellings_of_one_key_are_told(tmp_path: Path) -> None:
    text = HEAD + "  quality: [{expression: a, description: b, Description: c}]\n"

    (error,) = read(tmp_path, text).errors

    assert "'Description' and 'description' are the same key" in error.message


NAMES = [
    "../../x",
    "..",
    ".",
    "a" * 300,
    "-x",
    "a/b",
    "a\\b",
    "C:\\x",
    "a b",
    "é",
    "a\u202eb",
    "a\n",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_could_be_a_path_is_refused(tmp_path: Path, name: str) -> None:
    escaped = name.encode("unicode_escape").decode().replace("\\xe9", "é")
    (error,) = read(tmp_path, HEAD.replace("name: a", f'name: "{escaped}"')).errors

    assert error.location.line == 2
    assert error.hint
    assert len(error.message) < 650


@pytest.mark.parametrize(
    ("value", "is_text"),
    [
        ("no", True), ("on", True), ("12:30:45", True), ("190:20:30", True), ("0b11", True),
        ("1_000", True), ("2024-01-01", True), ("0x_f", True), ("=", True), ("٣", True),
        ("010", False), ("0o17", False), ("0xff", False), ("+1", False), ("1e3", False),
    ],
)  # fmt: skip
def test_only_numbers_of_yaml_1_2_are_numbers(tmp_path: Path, value: str, is_text: bool) -> None:
    document = read(tmp_path, f"{HEAD}  description: {value}\n")

    assert (document.contract is not None) is is_text
    if not is_text:
        assert f'quote it: description: "{value}"' in str(document.errors[0])


def test_what_is_no_plain_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")

    told = {
        path.name: str(read_document(path).errors[0])
        for path in [*tmp_path.iterdir(), Path("/dev/zero")]
    }

    assert "no plain file" in told["pipe.yaml"]
    assert "no plain file" in told["zero"]
    assert "a folder" in told["folder.yaml"]
    assert "gone.yaml" in told["gone.yaml"]
    assert not any(file.ok for file in lint_paths([tmp_path / "pipe.yaml"]))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(HEAD)
    (tmp_path / "contracts").mkdir()
    link = tmp_path / "contracts" / "a.yaml"
    link.symlink_to(tmp_path / "secret.yaml")

    (error,) = read_document(link).errors

    assert "leaves the contracts' folder" in error.message


def test_a_file_that_may_not_be_read_is_told() -> None:
    # Not in tmp_path, which only its owner may enter: root, who may read everything, becomes
    # somebody else for the time of the reading.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "c.yaml"
        path.write_text(HEAD)
        path.chmod(0)
        was = os.geteuid()
        if was == 0:
            os.seteuid(65534)
        try:
            (error,) = read_document(path).errors
        finally:
            os.seteuid(was)

    assert "cannot be read" in error.message


def test_the_hash_is_of_what_was_read_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    first = read(tmp_path, HEAD)
    second = read(tmp_path, HEAD + "  owner: shop\n")

    assert first.contract is not None
    assert second.contract is not None
    assert first.contract.content_hash != second.contract.content_hash
    assert read(tmp_path, HEAD).contract == first.contract
