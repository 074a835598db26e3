"""YAML text to a tree of nodes that know their places, and nothing else.

Contracts come from many hands, so the reader is strict where YAML is generous. Scalars are those of
the YAML 1.2 core schema: ``no`` and ``on`` are words, ``12:30:45`` and ``2024-01-01`` are text.
Duplicate keys, merge keys, tags and several documents in one file are errors, aliases are few, and
size, depth and the number of nodes are bounded, so that no document can exhaust the process.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from dagster_contracts.core.contract import Json
from dagster_contracts.documents.yaml_trouble import (
    LOADER,
    Event,
    explain_character,
    explain_error,
    position_in,
)
from dagster_contracts.errors import DocumentError, SourceLocation, shortened

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 100
MAX_NODES = 50_000
MAX_ALIASES = 64
MAX_KEY_LENGTH = 1024
MAX_NUMBER_LENGTH = 100


_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, None | bool] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
#: How the character U+0000 is spelled in double quotes; no database can keep it in a text.
_ESCAPED_NUL = re.compile(r"\\(?:0|x00|u0000|U00000000)")
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_ODD_BREAK = re.compile("[\x85\u2028\u2029]")
_ENVIRONMENT = re.compile(r"\$\{env:([^}]*)\}")


class Node:
    """A value with its place; ``line`` and ``column`` are 1-based."""

    __slots__ = ("column", "line", "path")

    def __init__(self, path: str, line: int, column: int) -> None:
        self.path = path
        self.line = line
        self.column = column

    @property
    def location(self) -> SourceLocation:
        """Where the value begins."""
        return SourceLocation(self.path, self.line, self.column)


class ScalarNode(Node):
    """A single value; ``text`` is its spelling, and ``quoted`` whether it stood in quotes."""

    __slots__ = ("quoted", "text", "value")

    def __init__(
        self,
        path: str,
        line: int,
        column: int,
        value: None | bool | int | float | str,
        text: str,
        quoted: bool,
    ) -> None:
        super().__init__(path, line, column)
        self.value = value
        self.text = text
        self.quoted = quoted


class SequenceNode(Node):
    """A list."""

    __slots__ = ("items",)

    def __init__(self, path: str, line: int, column: int, items: list[YamlNode]) -> None:
        super().__init__(path, line, column)
        self.items = items


class MappingNode(Node):
    """A mapping; ``keys`` holds for each of ``entries`` the line and column of its key."""

    __slots__ = ("entries", "keys")

    def __init__(self, path: str, line: int, column: int) -> None:
        super().__init__(path, line, column)
        self.entries: dict[str, YamlNode] = {}
        self.keys: dict[str, tuple[int, int]] = {}

    def key_location(self, key: str) -> SourceLocation:
        """Where ``key`` is written; where the mapping begins, for a key that is not."""
        line, column = self.keys.get(key, (self.line, self.column))
        return SourceLocation(self.path, line, column)


YamlNode: TypeAlias = ScalarNode | SequenceNode | MappingNode


def parse_yaml(content: bytes | str, path: str, *, allowed_env: Collection[str] = ()) -> YamlNode:
    """Read one YAML document; raise :class:`DocumentError` with its place for whatever is wrong.

    ``${env:NAME}`` may stand in a scalar only where ``NAME`` is in ``allowed_env``. It is checked
    here and replaced where the value is used, so that what is only carried along (servers,
    custom properties) never holds a secret.
    """
    text = decode(content, path)
    lines = _lines_of_editors(text)
    try:
        node = _Composer(text, path, frozenset(allowed_env)).document()
    except yaml.MarkedYAMLError as error:
        raised = explain_error(error, text, path)
        raised.where = _moved(raised.where, lines)
        raise raised from None
    except DocumentError as error:
        error.where = _moved(error.where, lines)
        raise
    except yaml.YAMLError as error:
        raise explain_character(error, text, path) from None
    except (RecursionError, ValueError, OverflowError) as error:
        raise DocumentError(
            "the file cannot be read as YAML", where=SourceLocation(path), why=str(error)
        ) from None
    if lines:
        _move(node, lines, set())
    return node


def decode(content: bytes | str, path: str) -> str:
    """UTF-8 bytes to text, without a byte order mark; at most 1 MiB."""
    # A character takes one byte at least: what is too long as text is not encoded to be measured.
    size = len(content)
    if isinstance(content, str) and size <= MAX_BYTES:
        size = len(content.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise too_large(size, path)
    if isinstance(content, str):
        try:
            content.encode("utf-8")
        except UnicodeEncodeError as error:
            line, column = position_in(content, error.start)
            raise DocumentError(
                "the text holds half of a surrogate pair",
                where=SourceLocation(path, line, column),
            ) from None
        return content.removeprefix("\ufeff")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DocumentError(
            "the file is not UTF-8",
            where=SourceLocation(path, 1, 1),
            why="it begins with the byte order mark of UTF-16 or UTF-32",
            hint="save it as UTF-8",
        )
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line, column = position_in(content[: error.start].decode("utf-8"), error.start)
        raise DocumentError(
            "the file is not UTF-8",
            where=SourceLocation(path, line, column),
            why=f"byte 0x{content[error.start]:02x} cannot stand here",
            hint="save it as UTF-8",
        ) from None


def too_large(size: int, path: str) -> DocumentError:
    """The error for a file of more bytes than are read."""
    return DocumentError(
        f"the file is too large: {size:,} bytes, at most {MAX_BYTES:,} are read",
        where=SourceLocation(path),
        hint="split the contract: one contract per file, schemas in files of their own",
    )


def looks_like_number(text: str) -> bool:
    """Whether ``text`` without quotes would be read as a number."""
    patterns = (_INTEGER, _BASED, _FLOAT, _NOT_FINITE)
    return any(pattern.fullmatch(text) for pattern in patterns)


def to_json(node: YamlNode) -> Json:
    """The plain value, without places."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, SequenceNode):
        return [to_json(item) for item in node.items]
    return {key: to_json(value) for key, value in node.entries.items()}


@dataclass(slots=True)
class _Anchored:
    node: YamlNode
    size: int


class _Composer:
    """Builds the tree from libyaml's events, so that no limit is passed before it is noticed."""

    def __init__(self, text: str, path: str, allowed_env: frozenset[str]) -> None:
        self._path = path
        self._allowed_env = allowed_env
        # What yaml.parse does, without a generator between libyaml and us; None follows the end.
        self._events: Iterator[Event] = iter(LOADER(text).get_event, None)
        self._has_references = "${env:" in text
        self._has_nul = "\\" in text and _ESCAPED_NUL.search(text) is not None
        self._nodes = 0
        self._aliases = 0
        self._anchors: dict[str, _Anchored] = {}
        self._open: set[str] = set()

    def document(self) -> YamlNode:
        next(self._events)  # the stream begins
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            raise self._empty()
        node = self._node(next(self._events), 1)
        if isinstance(node, ScalarNode) and not node.text and not node.quoted:
            raise self._empty()
        next(self._events)  # the document ends
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise self._error(
                event,
                "a second YAML document begins here",
                hint="write one contract per file, and remove the '---'",
            )
        return node

    def _empty(self) -> DocumentError:
        return DocumentError(
            "the file is empty",
            where=SourceLocation(self._path),
            hint="begin it with 'data_contract:', or with ODCS's 'apiVersion: v3.1.0'",
        )

    def _node(self, event: Event, depth: int) -> YamlNode:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._error(
                event,
                f"the file has more than {MAX_NODES:,} values",
                hint="split the contract: one contract per file, schemas in files of their own",
            )
        kind = type(event)
        if kind is yaml.ScalarEvent:
            # The three checks that nearly every scalar passes come first: this is the hot path.
            if event.tag is not None:
                raise self._tag_error(event)
            node: YamlNode = self._scalar(event)
            if event.anchor is not None:
                self._anchors[event.anchor] = _Anchored(node, 1)
            return node
        if kind is yaml.AliasEvent:
            return self._alias(event)
        if event.tag is not None:
            raise self._tag_error(event)
        if depth > MAX_DEPTH:
            raise self._error(
                event,
                f"values are nested more than {MAX_DEPTH} deep",
                hint="close the brackets, or take the innermost values out",
            )
        before = self._nodes
        if event.anchor is not None:
            self._open.add(event.anchor)
        if kind is yaml.MappingStartEvent:
            node = self._mapping(event, depth)
        else:
            node = self._sequence(event, depth)
        if event.anchor is not None:
            self._open.discard(event.anchor)
            self._anchors[event.anchor] = _Anchored(node, self._nodes - before + 1)
        return node

    def _sequence(self, event: Event, depth: int) -> SequenceNode:
        mark = event.start_mark
        items: list[YamlNode] = []
        for child in self._events:
            if type(child) is yaml.SequenceEndEvent:
                break
            items.append(self._node(child, depth + 1))
        return SequenceNode(self._path, mark.line + 1, mark.column + 1, items)

    def _mapping(self, event: Event, depth: int) -> MappingNode:
        mark = event.start_mark
        node = MappingNode(self._path, mark.line + 1, mark.column + 1)
        entries, keys = node.entries, node.keys
        for child in self._events:
            if type(child) is yaml.MappingEndEvent:
                break
            if type(child) is not yaml.ScalarEvent:
                raise self._error(
                    child,
                    "a key must be a word, not a list, a mapping or an alias",
                    hint="quote the value if it begins with '{', '[' or '*'",
                )
            key = child.value
            if child.tag is not None:
                raise self._tag_error(child)
            if len(key) > MAX_KEY_LENGTH:
                raise self._error(
                    child,
                    f"the key is longer than {MAX_KEY_LENGTH:,} characters",
                    hint="check that the quotes and brackets before it are closed",
                )
            if self._has_nul:
                self._check_nul(key, child)
            if self._has_references and "${env:" in key:
                raise self._error(
                    child,
                    f"the key {key!r} names an environment variable",
                    hint="only values may come from the environment: write the key out",
                )
            at: Any = child.start_mark
            if key in entries:
                first = keys[key][0]
                raise self._error(
                    child,
                    f"the key {key!r} occurs twice in one mapping, first in line {first}",
                    hint="keep one of them",
                )
            if key == "<<" and not child.style:
                raise self._error(
                    child,
                    "merge keys ('<<') are not read",
                    hint="write the values out: a contract should be readable in one place",
                )
            entries[key] = self._node(next(self._events), depth + 1)
            keys[key] = (at.line + 1, at.column + 1)
        return node

    def _alias(self, event: Event) -> YamlNode:
        if event.anchor in self._open:
            raise self._error(
                event,
                f"the alias '*{event.anchor}' contains itself",
                hint="write the values out",
            )
        found = self._anchors.get(event.anchor)
        if found is None:
            known = ", ".join(f"&{name}" for name in sorted(self._anchors)[:10])
            raise self._error(
                event,
                f"the alias '*{event.anchor}' has no anchor before it",
                hint=f"known: {known}" if known else "quote the value if the '*' is meant",
            )
        self._aliases += 1
        self._nodes += found.size
        if self._aliases > MAX_ALIASES or self._nodes > MAX_NODES:
            raise self._error(
                event,
                f"too many aliases: at most {MAX_ALIASES}, "
                f"and at most {MAX_NODES:,} values once they are expanded",
                hint="write the values out",
            )
        return found.node

    def _scalar(self, event: Event) -> ScalarNode:
        text: str = event.value
        mark: Any = event.start_mark
        quoted = bool(event.style)
        value = text if quoted else self._plain(text, event)
        if self._has_references and "${env:" in text:
            self._check_environment(text, event)
        if self._has_nul:
            self._check_nul(text, event)
        return ScalarNode(self._path, mark.line + 1, mark.column + 1, value, text, quoted)

    def _plain(self, text: str, event: Event) -> None | bool | int | float | str:
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in "+-.0123456789":
            return text
        if len(text) > MAX_NUMBER_LENGTH:
            if _FLOAT.fullmatch(text):
                raise self._error(
                    event,
                    f"the number is longer than {MAX_NUMBER_LENGTH} characters",
                    hint="quote it if it is meant as text",
                )
            return text
        if _INTEGER.fullmatch(text):
            return int(text)
        if _BASED.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if math.isfinite(number):
                return number
            raise self._error(
                event, f"the number {text} is too large", hint="quote it if it is meant as text"
            )
        if _NOT_FINITE.fullmatch(text):
            raise self._error(
                event,
                f"{text} is no finite number, and a contract has no use for it",
                hint=f'quote it if the text is meant: "{text}"',
            )
        return text

    def _check_nul(self, text: str, event: Event) -> None:
        if "\0" in text:
            raise self._error(
                event, "the character U+0000 can stand in no text", hint="remove the escape"
            )

    def _check_environment(self, text: str, event: Event) -> None:
        for name in _ENVIRONMENT.findall(text):
            if name not in self._allowed_env:
                raise self._error(
                    event,
                    f"the environment variable {name!r} may not be read by a contract",
                    hint="the deployment lists the variables that contracts may use (allowed_env)",
                )
        if text.count("${env:") != len(_ENVIRONMENT.findall(text)):
            raise self._error(
                event, "'${env:' has no closing brace", hint="write it as ${env:NAME}"
            )

    def _tag_error(self, event: Event) -> DocumentError:
        return self._error(
            event,
            f"the tag {event.tag!r} is not read: contracts hold plain values",
            hint="remove the tag; quote the value if the '!' is meant",
        )

    def _error(self, event: Event, what: str, hint: str | None = None) -> DocumentError:
        mark: Any = event.start_mark
        where = SourceLocation(self._path, mark.line + 1, mark.column + 1)
        return DocumentError(shortened(what), where=where, hint=hint)


def _lines_of_editors(text: str) -> list[tuple[int, int]]:
    """For each line of YAML 1.1 the line that editors show, and how many characters precede it.

    U+0085, U+2028 and U+2029 end lines for libyaml, and for hardly an editor. Empty where there are
    none, or where nothing else ends the lines.
    """
    if _ODD_BREAK.search(text) is None or ("\n" not in text and "\r" not in text):
        return []
    found, line, column, at = [(1, 0)], 1, 0, 0
    for matched in _BREAK.finditer(text):
        if matched[0][0] in "\r\n":
            line, column = line + 1, 0
        else:
            column += matched.end() - at
        at = matched.end()
        found.append((line, column))
    return found


def _moved(
    where: SourceLocation | str | None, lines: list[tuple[int, int]]
) -> SourceLocation | str | None:
    if not isinstance(where, SourceLocation) or not 0 < where.line <= len(lines):
        return where
    line, before = lines[where.line - 1]
    return SourceLocation(where.path, line, where.column + before)


def _move(node: YamlNode, lines: list[tuple[int, int]], seen: set[int]) -> None:
    """Give a tree the places that editors show; what aliases repeat is moved once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    line, before = lines[node.line - 1]
    node.line, node.column = line, node.column + before
    if isinstance(node, MappingNode):
        for key, (row, column) in node.keys.items():
            line, before = lines[row - 1]
            node.keys[key] = line, column + before
    children = node.entries.values() if isinstance(node, MappingNode) else ()
    for child in node.items if isinstance(node, SequenceNode) else children:
        _move(child, lines, seen)
