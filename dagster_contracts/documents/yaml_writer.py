"""Documents as YAML text that reads back as the same document, here and with YAML 1.1 readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import yaml

from dagster_contracts.core.contract import Json
from dagster_contracts.documents.yaml_text import looks_like_number

Place: TypeAlias = tuple[str | int, ...]
"""The keys and positions that lead to a value of a document."""

_WIDTH = 100


class _Writer(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        """Write every value out: aliases are for machines."""
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists below their key, as people do."""
        del indentless
        super().increase_indent(flow, False)


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML quotes what YAML 1.1 misreads (no, 12:30, 2024-01-01). To add are 1e3 and 0o7, and the
    # line ends of Unicode, which it would write as they are and read as spaces.
    odd = any(not char.isprintable() and char != "\n" for char in text)
    style = '"' if odd or looks_like_number(text) else "|" if "\n" in text else None
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _text)


def write_yaml(document: Mapping[str, Json], comments: Mapping[Place, str] | None = None) -> str:
    """The document in block style, keys in the order given.

    ``comments`` stand behind the values that they speak of, or above their keys where the line
    would grow too long; those of places that the document does not have are left out.
    """
    text: str = yaml.dump(
        dict(document), Dumper=_Writer, sort_keys=False, allow_unicode=True, width=_WIDTH
    )
    return _commented(text, comments) if comments else text


def _commented(text: str, comments: Mapping[Place, str]) -> str:
    # Where a value came to stand is known by reading the text again.
    root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    lines = text.split("\n")
    above: dict[int, list[str]] = {}
    for place, first, last in _places(root, (), 0):
        comment = comments.get(place)
        if comment is None:
            continue
        said = "# " + " ".join(comment.split())
        if first == last and len(lines[first]) + 2 + len(said) <= _WIDTH:
            lines[first] += f"  {said}"
        else:
            indent = len(lines[first]) - len(lines[first].lstrip())
            above.setdefault(first, []).append(" " * indent + said)
    return "\n".join(
        part for number, line in enumerate(lines) for part in (*above.get(number, ()), line)
    )


def _places(node: yaml.Node | None, place: Place, line: int) -> Iterator[tuple[Place, int, int]]:
    """Every value: its place, the line of its key, and the line on which a scalar ends.

    A mapping or a list counts as ending where its key stands.
    """
    if isinstance(node, yaml.MappingNode):
        yield place, line, line
        for key, value in node.value:
            yield from _places(value, (*place, key.value), key.start_mark.line)
    elif isinstance(node, yaml.SequenceNode):
        yield place, line, line
        for position, item in enumerate(node.value):
            yield from _places(item, (*place, position), item.start_mark.line)
    elif isinstance(node, yaml.ScalarNode):
        block = node.style in ("|", ">")
        yield place, line, line + 1 if block else node.end_mark.line
