"""JSON text to the same tree of nodes that YAML gives, so that schema files have places too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from dagster_contracts.core.contract import Json
from dagster_contracts.documents.yaml_text import (
    MAX_DEPTH,
    MAX_NODES,
    MappingNode,
    ScalarNode,
    SequenceNode,
    YamlNode,
    decode,
    parse_yaml,
)
from dagster_contracts.errors import DocumentError, SourceLocation

_INDENT = re.compile(r"^[ \t]*\t[ \t]*", re.MULTILINE)


def parse_json(content: bytes | str, path: str) -> YamlNode:
    """Read JSON under the YAML reader's limits; raise :class:`DocumentError` with the place."""
    text = decode(content, path)
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise DocumentError(
            f"this is not JSON: {error.msg}",
            where=SourceLocation(path, error.lineno, error.colno),
            hint=_mend(error.msg),
        ) from None
    except (_DuplicateKeyError, RecursionError, ValueError) as error:
        raise DocumentError(
            "this is not JSON that can be read", where=SourceLocation(path), why=str(error)
        ) from None
    # JSON is YAML but for tabs in the indentation and escaped surrogate pairs. Where the second is
    # met the values are right all the same, and only the places are those of the file.
    try:
        return parse_yaml(_INDENT.sub(lambda found: " " * len(found[0]), text), path)
    except DocumentError:
        counter = [0]
        return _without_places(value, path, 1, counter)


class _DuplicateKeyError(ValueError):
    pass


def _unique(pairs: Iterable[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateKeyError(f"the key {key!r} occurs twice in one object")
        found[key] = value
    return found


def _without_places(value: Json, path: str, depth: int, counter: list[int]) -> YamlNode:
    counter[0] += 1
    if depth > MAX_DEPTH or counter[0] > MAX_NODES:
        raise DocumentError("the file is nested too deep or too large", where=SourceLocation(path))
    if isinstance(value, dict):
        node = MappingNode(path, 0, 0)
        for key, child in value.items():
            node.entries[key] = _without_places(child, path, depth + 1, counter)
        return node
    if isinstance(value, list):
        items = [_without_places(child, path, depth + 1, counter) for child in value]
        return SequenceNode(path, 0, 0, items)
    text = value if isinstance(value, str) else json.dumps(value)
    return ScalarNode(path, 0, 0, value, text, isinstance(value, str))


def _mend(message: str) -> str | None:
    if "property name enclosed in double quotes" in message:
        return "quote the key with double quotes, and leave no comma after the last entry"
    if "Expecting value" in message:
        return "a value is missing here; comments and a comma after the last item are no JSON"
    if "Extra data" in message:
        return "one JSON value per file"
    return None
