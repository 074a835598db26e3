"""What the documentation shows works as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.metrics import DEFAULT
from dagster_contracts.documents.document import read_document

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[ParameterSet]:
    """Every fenced block of that language, with its page and line as its id."""
    return [
        pytest.param(
            match[2], id=f"{page.name}:{page.read_text().count(chr(10), 0, match.start()) + 1}"
        )
        for page in PAGES
        for match in FENCE.finditer(page.read_text())
        if match[1] == language
    ]


# What begins with a comment that names a file is part of a terminal session, and tested as such.
CONTRACTS = [
    block
    for block in blocks("yaml")
    if str(block.values[0]).startswith(("data_contract:", "apiVersion:"))
]


@pytest.mark.parametrize("text", CONTRACTS)
def test_a_contract_loads_without_warnings(tmp_path: Path, text: str) -> None:
    path = tmp_path / "contract.yaml"
    path.write_text(text)

    document = read_document(path)

    assert document.problems == ()
    assert document.contract is not None
    assert document.contract.objects[0].properties


@pytest.mark.parametrize("text", blocks("python"))
def test_python_compiles(text: str) -> None:
    compile(text, "<docs>", "exec")


def test_every_condition_parses() -> None:
    page = (ROOT / "docs" / "write-a-contract.md").read_text()
    section = page.partition("### Conditions")[2]
    (example,) = (m[2] for m in FENCE.finditer(section.partition("##")[0]) if not m[1])

    for line in example.splitlines():
        parse_condition(line)


def test_every_metric_is_documented() -> None:
    page = (ROOT / "docs" / "write-a-contract.md").read_text()

    for name in (*DEFAULT.names, *DEFAULT.aliases, *(f"{f}.<" for f in DEFAULT.families)):
        assert f"`{name}" in page, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
