"""``dagster-contracts lint``: every mistake with its place and its mend."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click

from dagster_contracts.cli.git_revision import PREFIX
from dagster_contracts.cli.lazy_group import FINDINGS
from dagster_contracts.cli.lint_formats import github_lines, junit, lint_json, text_lines
from dagster_contracts.cli.output import format_option, print_json, print_line, progress
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.sources import open_path
from dagster_contracts.cli.words import near
from dagster_contracts.documents.lint import LintedFile, lint_paths
from dagster_contracts.documents.problem import ProblemSeverity


@click.command(
    epilog="""\
PATH is a file, a folder or a git revision (git:REVISION:PATH); without one the contracts folder is
linted. Exits with 1 where something is wrong, with --strict also where something is doubtful.

\b
Examples:
  dagster-contracts lint
  dagster-contracts lint contracts/orders/1.2.0.yaml
  dagster-contracts lint contracts --format github --strict
"""
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--strict", is_flag=True, help="Count warnings as findings.")
@format_option("github", "junit")
@pass_places
def lint(places: Places, paths: tuple[str, ...], strict: bool, output: str) -> None:
    """Find mistakes in contract documents.

    Beyond what keeps a document from loading: conditions that can never hold, fallbacks that
    cannot serve their consumers, service levels on columns that do not exist, and more.
    """
    given = paths or (near(str(places.contracts_folder())),)
    with ExitStack() as stack:
        roots = [_Root.of(text, stack.enter_context(open_path(text, places))) for text in given]
        with progress("linting"):
            found = lint_paths(
                [root.path for root in roots],
                allowed_env=places.allowed_env,
                today=datetime.now(UTC).date(),
            )
        files = [_shown(file, roots) for file in found]
    match output:
        case "json":
            print_json(lint_json(files, strict=strict))
        case "github":
            for line in github_lines(files):
                click.echo(line)
        case "junit":
            click.echo(junit(files, strict=strict))
        case _:
            for text, style in text_lines(files):
                print_line(text, **style)
    if not all(is_good(file, strict=strict) for file in files):
        raise click.exceptions.Exit(FINDINGS)


def is_good(file: LintedFile, *, strict: bool) -> bool:
    """Whether nothing in the file is a finding."""
    if not strict:
        return file.ok
    return all(problem.severity is ProblemSeverity.NOTE for problem in file.problems)


@dataclass(frozen=True, slots=True)
class _Root:
    """A path to lint, and what its findings are shown under."""

    path: Path
    prefix: str
    shown: str

    @classmethod
    def of(cls, text: str, path: Path | None) -> _Root:
        if path is None:
            raise click.UsageError(f"there is no file or folder {text!r}")
        if not text.startswith(PREFIX):
            return cls(path, "", "")
        # A revision lies in a temporary folder; its findings are shown under its own name.
        revision, _, inner = text.removeprefix(PREFIX).partition(":")
        depth = len([part for part in inner.split("/") if part not in ("", ".")])
        top = path.parents[depth - 1] if depth else path
        return cls(path, f"{top}/", f"{PREFIX}{revision}:")

    def rename(self, text: str) -> str:
        return text.replace(self.prefix, self.shown) if self.prefix else text


def _shown(file: LintedFile, roots: list[_Root]) -> LintedFile:
    """The file with the paths of revisions as they were asked for."""

    def rename(text: str) -> str:
        for root in roots:
            text = root.rename(text)
        return text

    problems = tuple(
        replace(
            problem,
            location=replace(problem.location, path=rename(problem.location.path)),
            message=rename(problem.message),
        )
        for problem in file.problems
    )
    return replace(file, path=rename(file.path), problems=problems)
