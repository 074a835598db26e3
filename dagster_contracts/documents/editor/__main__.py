"""Write the files that are made from the vocabulary: the editors' schema, and the tables of a page.

``python -m dagster_contracts.documents.editor docs/compact-form.md``
"""

from __future__ import annotations

import sys
from pathlib import Path

from dagster_contracts.documents.editor.reference import fill_tables
from dagster_contracts.documents.editor.schemas import SHIPPED, as_text, compact_schema


def main(pages: list[str]) -> None:
    """Make the shipped schema anew, and the tables of each page."""
    SHIPPED.write_text(as_text(compact_schema()), encoding="utf-8")
    for name in pages:
        page = Path(name)
        page.write_text(fill_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
