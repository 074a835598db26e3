"""A page of the documentation as a project: its files, its code, its commands, in their order."""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from dagster_contracts.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# A fenced block, or a step that the reader does not see: `<!-- test` ... `-->`, which is Python.
_BLOCK = re.compile(r"^(?:```(\w*)\n(.*?)^```$|<!-- test\n(.*?)^-->$)", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# (\S+\.(?:ya?ml|csv|py))\n")


@dataclass(frozen=True)
class Block:
    """A block of a page: its language (``test`` for a hidden step), its text, and its line."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that it shows, named by the comment in its first line."""
        named = _NAMED.match(self.text)
        return named[1] if named else None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Every block of a page, in its order."""
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        hidden = match[3] is not None
        found.append(
            Block(
                page,
                text.count("\n", 0, match.start()) + 1,
                "test" if hidden else match[1],
                match[3] if hidden else match[2],
            )
        )
    return found


@dataclass
class PageProject:
    """A folder and a Dagster instance in which a page is acted out."""

    root: Path
    instance: dg.DagsterInstance
    names: dict[str, Any] = field(default_factory=dict)
    """What the Python blocks of the page share."""
    code: int = 0
    """The exit code of the last command."""

    def __post_init__(self) -> None:
        self.names |= {
            "__file__": str(self.root / "definitions.py"),
            "__name__": "definitions",
            "instance": self.instance,
            "project": self,
            "run": self.run,
            "tick": self.tick,
        }

    def act(self, block: Block) -> None:
        """Write the block's file, run its code, or run its commands."""
        if block.file and block.language != "python":
            path = self.root / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text.partition("\n")[2] if path.suffix == ".csv" else block.text)
        elif block.language in ("python", "test"):
            # Line numbers of a traceback are those of the page.
            source = "\n" * block.line + textwrap.dedent(block.text)
            exec(compile(source, str(block.page), "exec"), self.names)
        elif block.language == "console":
            self._commands(block)

    def run(self, *assets: str, partition: str | None = None, **tags: str) -> Any:
        """Materialize assets of the page's ``defs`` with their checks; a failed run is returned."""
        job = self.names["defs"].resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey.from_user_string(name) for name in assets] or None,
            partition_key=partition,
            tags=tags,
            raise_on_error=False,
        )

    def tick(self, sensor: str) -> list[Any]:
        """One tick of a sensor, and the runs it asks for, as the daemon would start them."""
        defs = self.names["defs"]
        context = dg.build_sensor_context(instance=self.instance, definitions=defs)
        asked = defs.get_sensor_def(sensor)(context)
        return [
            self.run(
                *(key.to_user_string() for key in request.asset_selection),
                partition=request.partition_key,
                **{**request.tags, "dagster/run_key": request.run_key or ""},
            )
            for request in getattr(asked, "run_requests", None) or []
        ]

    def _commands(self, block: Block) -> None:
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            words = shlex.split(command, comments=True)
            if words[:1] == ["make"]:
                # The targets are run by people and by the continuous integration.
                assert f"\n{words[1]}: " in (ROOT / "Makefile").read_text(), command
                continue
            if words == ["echo", "$?"]:
                assert shown.strip() == str(self.code), f"{block}: {command}"
                continue
            assert words[0] == "dagster-contracts", f"{block}: {command} cannot be run"
            result = CliRunner().invoke(cli, words[1:], catch_exceptions=False)
            self.code = result.exit_code
            printed = result.stdout + result.stderr
            pattern = ".*".join(re.escape(piece) for piece in shown.strip().split("..."))
            matches = re.fullmatch(pattern, printed.strip(), re.DOTALL)
            assert matches, f"{block}: $ {command}\n{printed}"


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> PageProject:
    """An empty folder, which is the working directory, and an instance of its own."""
    for name in ("PATH", "STORE", "ARCHIVE", "ACTOR", "ALLOW_ENV"):
        monkeypatch.delenv(f"DAGSTER_CONTRACTS_{name}", raising=False)
    root = tmp_path / "project"
    (root / "contracts").mkdir(parents=True)
    monkeypatch.chdir(root)
    return PageProject(root, instance)
