"""What the documentation shows works as it is printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from click import Context

from dagster_contracts.cli.main import cli
from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.metrics import DEFAULT
from dagster_contracts.documents.document import read_document
from tests.docs.conftest import PAGES, ROOT, Block, PageProject, blocks_of

# This page tells a story with a bad batch in it, and has a test of its own.
COMMAND_LINE = ROOT / "docs" / "command-line.md"


def shown(*languages: str) -> list[Any]:
    """Every block of these languages, with its page and line as its id."""
    found = [block for page in PAGES for block in blocks_of(page)]
    return [pytest.param(b, id=str(b)) for b in found if b.language in languages]


def is_contract(block: Block) -> bool:
    text = block.text
    if block.file:
        if not block.file.startswith("contracts/"):
            return False
        text = text.partition("\n")[2]
    return text.startswith(("data_contract:", "apiVersion:"))


CONTRACTS = [param for param in shown("yaml") if is_contract(param.values[0])]


@pytest.mark.parametrize("block", CONTRACTS)
def test_a_contract_loads_without_warnings(tmp_path: Path, block: Block) -> None:
    path = tmp_path / "contract.yaml"
    path.write_text(block.text)

    document = read_document(path)

    assert document.problems == ()
    assert document.contract is not None
    assert document.contract.objects[0].properties


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if page != COMMAND_LINE
        and any(block.language in ("python", "console", "test") for block in blocks_of(page))
    ],
    ids=lambda page: page.name,
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_page_can_be_acted_out(project: PageProject, page: Path) -> None:
    for block in blocks_of(page):
        project.act(block)


def commands_in(value: object) -> list[str]:
    """Every ``dagster-contracts ...`` line in a document, such as a workflow."""
    if isinstance(value, dict):
        return [line for each in value.values() for line in commands_in(each)]
    if isinstance(value, list):
        return [line for each in value for line in commands_in(each)]
    lines = value.splitlines() if isinstance(value, str) else []
    return [line.strip() for line in lines if line.strip().startswith("dagster-contracts ")]


@pytest.mark.parametrize(
    "block", [p for p in shown("yaml") if "dagster-contracts " in p.values[0].text]
)
def test_a_workflow_uses_commands_that_exist(block: Block) -> None:
    lines = commands_in(yaml.safe_load(block.text))
    assert lines
    for line in lines:
        _, name, *arguments = shlex.split(re.sub(r"\$\{\{.*?\}\}", "main", line))
        command = cli.get_command(Context(cli), name)
        assert command is not None, line
        command.make_context(name, arguments)


def test_the_story_of_the_readme_is_the_one_that_the_demo_tells() -> None:
    told = (ROOT / "demo" / "story.py").read_text()
    titles = re.findall(r"^\d\. (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert titles
    for title in titles:
        assert title in told, title


def test_every_condition_parses() -> None:
    page = (ROOT / "docs" / "write-a-contract.md").read_text()
    section = page.partition("### Conditions")[2].partition("##")[0]
    (example,) = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)

    for line in example.splitlines():
        parse_condition(line)


@pytest.mark.parametrize("name", ["write-a-contract.md", "reference.md"])
def test_every_metric_is_documented(name: str) -> None:
    page = (ROOT / "docs" / name).read_text()

    for metric in (*DEFAULT.names, *DEFAULT.aliases, *(f"{f}.<" for f in DEFAULT.families)):
        assert f"`{metric}" in page, metric


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, _, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#([^)]*))?\)", page.read_text()):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in slugs, f"{target}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()

    for page in PAGES[1:]:
        if page.name != "README.md":
            assert f"]({page.name})" in index, page.name
