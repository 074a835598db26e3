"""The reference of the compact form: its tables as Markdown, between marks in a page."""

from __future__ import annotations

import json
import re

from dagster_contracts.core.contract import Json
from dagster_contracts.documents.vocabulary.contract import CONTRACT, EXTENSIONS, TABLES
from dagster_contracts.documents.vocabulary.key import Key, Table
from dagster_contracts.documents.vocabulary.policies import LISTED_SERVICE_LEVEL
from dagster_contracts.documents.vocabulary.quality import FIELD_RULE

#: These differ from another table by one key, which the page tells in a sentence.
_VARIANTS = (FIELD_RULE, LISTED_SERVICE_LEVEL)
_MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def fill_tables(page: str) -> str:
    """``page`` with the tables of the vocabulary between its marks.

    A mark is ``<!-- table: fields -->``, with ``<!-- end of table -->`` behind it. ``KeyError``
    where it names no table, ``ValueError`` where a table has no mark: the reference is whole.
    """
    tables = {table.name: table for table in (CONTRACT, *TABLES, EXTENSIONS)}
    for variant in _VARIANTS:
        del tables[variant.name]
    marked = [found[2] for found in _MARKED.finditer(page)]
    missing = tables.keys() - set(marked)
    if missing:
        raise ValueError(f"the page has no place for: {', '.join(sorted(missing))}")
    return _MARKED.sub(lambda found: found[1] + markdown_table(tables[found[2]]) + found[3], page)


def markdown_table(table: Table) -> str:
    """The keys of one section as a Markdown table."""
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    lines += [_row(key) for key in table.keys]
    return "\n".join(lines) + "\n"


def _row(key: Key) -> str:
    default = "required" if key.required else _default(key.default)
    cells = (f"`{key.name}`", key.kind.words, default, key.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(value: Json) -> str:
    if value is None:
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"
