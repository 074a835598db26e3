"""``dagster-contracts diff``: whom a change breaks, and which version it needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click

from dagster_contracts.cli.comparison import (
    Comparison,
    added,
    compare,
    compare_folders,
    predecessor,
    removed,
    with_impacts,
)
from dagster_contracts.cli.diff_formats import (
    comparisons_json,
    github_lines,
    markdown,
    text_lines,
)
from dagster_contracts.cli.git_revision import PREFIX, is_gone_since, is_new_since
from dagster_contracts.cli.ignore_file import idle_ignores, read_ignores
from dagster_contracts.cli.lazy_group import FINDINGS, USAGE
from dagster_contracts.cli.output import format_option, print_json, print_line
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.sources import Source, read_source
from dagster_contracts.core.changes import Ignore
from dagster_contracts.core.contract import Protects
from dagster_contracts.documents.folder import ContractFolder
from dagster_contracts.errors import DocumentError, WiringError
from dagster_contracts.registry.consumers import Consumer


@click.command(
    epilog="""\
OLD and NEW are files, folders, references (orders@1.2.0) or git revisions
(git:REVISION:PATH). Exits with 1 when somebody breaks, or when the version bump is too small.

\b
Examples:
  dagster-contracts diff orders@1.0.0 orders@1.1.0
  dagster-contracts diff git:main:contracts contracts
  dagster-contracts diff git:origin/main:contracts contracts --format github --protects consumer
"""
)
@click.argument("old")
@click.argument("new")
@click.option(
    "--protects",
    type=click.Choice([each.value for each in Protects]),
    help="Whose breaking is a finding. Default: anybody's.",
)
@click.option(
    "--ignore",
    "ignore_files",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Changes that people agreed to: YAML entries of path, kind, reason and until.",
)
@format_option("github", "markdown")
@pass_places
def diff(
    places: Places,
    old: str,
    new: str,
    protects: str | None,
    ignore_files: tuple[Path, ...],
    output: str,
) -> None:
    """Say whom a change of contracts breaks, and which version bump it needs."""
    chosen = Protects(protects) if protects else None
    pairs = _comparisons(_old_source(old, new, places), _new_source(old, new, places), chosen)
    ignores = _ignores(ignore_files)
    today = datetime.now(UTC).date()
    idle = list(idle_ignores(ignores, [change for pair in pairs for change in pair.changes], today))
    pairs = [pair.ignoring(ignores, today) for pair in pairs]
    found = [with_impacts(pair, known) for pair, known in _consumers(pairs, places)]
    match output:
        case "json":
            print_json(comparisons_json(found, idle))
        case "github":
            for line in github_lines(found, idle):
                click.echo(line)
        case "markdown":
            click.echo(markdown(found, idle))
        case _:
            for text, style in text_lines(found, idle):
                print_line(text, **style)
    if not all(comparison.good for comparison in found):
        raise click.exceptions.Exit(FINDINGS)


def _ignores(paths: Iterable[Path]) -> list[Ignore]:
    try:
        return [entry for path in paths for entry in read_ignores(path)]
    except DocumentError as error:
        # No contract is at fault, so that this is no finding.
        click.echo(f"error: {error}", err=True)
        raise click.exceptions.Exit(USAGE) from None


def _old_source(old: str, new: str, places: Places) -> Source:
    path = places.start / new
    if old.startswith(PREFIX) and path.exists() and is_new_since(old, path, places.start):
        return Source(old, folder=ContractFolder([]))
    return read_source(old, places)


def _new_source(old: str, new: str, places: Places) -> Source:
    """What ``new`` names; nothing where the change removed what the revision has there."""
    if old.startswith(PREFIX) and is_gone_since(old, places.start / new, places.start):
        return Source(new, folder=ContractFolder([]))
    return read_source(new, places)


def _comparisons(old: Source, new: Source, protects: Protects | None) -> list[Comparison]:
    """The pairs that two sources make: each of them is one contract or a folder."""
    if old.folder is not None and new.folder is not None:
        return list(compare_folders(old.folder, new.folder, protects=protects))
    before, after = old.contract, new.contract
    if old.folder is not None and after is not None:
        if after.name not in old.folder.names():
            return [added(after, protects)]
        before = predecessor(after, old.folder)
    if new.folder is not None and before is not None:
        if before.name not in new.folder.names():
            return [removed(before, protects)]
        after = new.folder.resolve(before.name)
    if before is None or after is None:
        raise AssertionError("a source is a contract or a folder")
    return [compare(before, after, protects=protects)]


def _consumers(
    pairs: Iterable[Comparison], places: Places
) -> Iterator[tuple[Comparison, tuple[Consumer, ...]]]:
    """Each pair with the consumers that the deployment's state knows, where there is one."""
    # SQLAlchemy is only imported here: it costs more than the whole comparison of two files.
    from dagster_contracts.cli.state import open_existing
    from dagster_contracts.registry.subscriptions import SubscriptionBook

    with ExitStack() as closing:
        try:
            store = open_existing(places)
        except WiringError:
            store = None  # two files are compared outside of any deployment
        if store is not None:
            closing.callback(store.close)
        book = SubscriptionBook(store) if store is not None else None
        for pair in pairs:
            yield pair, book.consumers(pair.name) if book is not None else ()
