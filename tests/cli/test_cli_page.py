"""The page about the command line: its files are written and its commands are run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import Project

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# (\S+\.(?:yaml|csv))\n")

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not here")


@dataclass(frozen=True)
class Example:
    """A command of the page, and the output that it shows."""

    command: str
    shown: str


def examples(block: str) -> list[Example]:
    found = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        found.append(Example(command, shown))
    return found


def matches(shown: str, printed: str) -> bool:
    """Whether the output is what the page shows, where ``...`` stands for anything."""
    pattern = ".*".join(re.escape(piece) for piece in shown.strip().split("..."))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def test_the_page_is_true(empty_project: Project) -> None:
    text = PAGE.read_text()
    ran = 0
    code = 0
    for kind, block in BLOCK.findall(text):
        named = NAMED.match(block)
        if named:
            empty_project.write(named[1], block[named.end() :] if kind == "csv" else block)
        if kind != "console":
            continue
        if "open for" in block:
            # "After a bad batch": what a run of Dagster does.
            empty_project.evaluate("orders.csv")
        for example in examples(block):
            if example.command == "echo $?":
                assert example.shown.strip() == str(code)
                continue
            words = shlex.split(example.command)
            assert words[0] == "dagster-contracts"
            result = empty_project.run(*words[1:])
            code = result.code
            printed = result.stdout + result.stderr
            assert matches(example.shown, printed), f"$ {example.command}\n{printed}"
            ran += 1
    assert ran >= 15
