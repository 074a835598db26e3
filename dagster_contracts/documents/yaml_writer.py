"""Documents as YAML text that reads back as the same document, here and with YAML 1.1 readers."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from dagster_contracts.core.contract import Json
from dagster_contracts.documents.yaml_text import looks_like_number


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


def write_yaml(document: Mapping[str, Json]) -> str:
    """The document in block style, keys in the order given."""
    text: str = yaml.dump(
        dict(document), Dumper=_Writer, sort_keys=False, allow_unicode=True, width=100
    )
    return text
