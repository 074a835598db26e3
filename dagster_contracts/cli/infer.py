"""``dagster-contracts infer``: a first contract from the data that is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from dagster_contracts.cli.output import format_option, print_json, progress_of_steps
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.words import plain
from dagster_contracts.cli.written import output_options, write_text
from dagster_contracts.core.contract import Json
from dagster_contracts.core.inference import Guess
from dagster_contracts.core.uri import hide_password, is_database_uri
from dagster_contracts.documents.document import expected_of
from dagster_contracts.engine.sql_table import SqlTable
from dagster_contracts.engine.table_names import table_names
from dagster_contracts.errors import UnreadableDataError
from dagster_contracts.registry.inference import InferredContract, infer_contract, name_from

_MOST_SHOWN = 12


@click.command(
    epilog="""\
DATA is a Parquet, CSV or JSON path, a folder, a glob, or the URL of a database. What was guessed,
and from what, stands beside each rule; a summary goes to stderr. Values of columns whose names look
personal are not written down.

\b
Examples:
  dagster-contracts infer landing/orders.parquet --output contracts/orders/1.0.0.yaml
  dagster-contracts infer 'landing/orders/*.csv' --name orders --form odcs
  dagster-contracts infer postgresql://reader@db/shop --table sales.orders --sample 1000000
"""
)
@click.argument("data")
@click.option("--name", help="The contract's name. Default: that of the file or table.")
@click.option("--asset", help="The asset that it governs, where that has another name.")
@click.option("--table", metavar="[SCHEMA.]TABLE", help="The table, where DATA is a database.")
@click.option(
    "--form",
    type=click.Choice(["compact", "odcs"]),
    default="compact",
    show_default=True,
    help="The form of the document.",
)
@output_options
@click.option(
    "--sample", metavar="ROWS", type=click.IntRange(1), help="Look at the first ROWS rows only."
)
@format_option()
@pass_places
def infer(
    places: Places,
    data: str,
    name: str | None,
    asset: str | None,
    table: str | None,
    form: str,
    target: Path | None,
    sample: int | None,
    output: str,
    force: bool,
) -> None:
    """Write a first contract from data, and say what was guessed."""
    target = places.start / target if target is not None else None
    if target is not None and target.exists() and not force:
        # Before the work, and not after it.
        raise click.UsageError(f"{str(target)!r} exists; --force overwrites it")
    source, called, shown = _source(data, table)
    place = expected_of(target) if target is not None else None
    try:
        with progress_of_steps(f"inferring a contract from {shown}") as progress:
            found = infer_contract(
                source,
                name=name or (place.name if place else None) or called,
                version=(place.version if place else None) or "1.0.0",
                asset=asset,
                form=form,
                sample=sample,
                source=shown,
                progress=progress,
            )
    except UnreadableDataError as error:
        raise click.UsageError(str(error)) from None
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(found.text, target, force=force, source=None)
    if output == "json":
        print_json(_as_json(found, form, target))
        return
    if target is None:
        click.echo(found.text.encode("utf-8"), nl=False)
    for line in _summary(found, target):
        click.echo(plain(line), err=True)


def _source(data: str, table: str | None) -> tuple[object, str, str]:
    """What the engine is given, what the contract is called, and how the source is shown."""
    if is_database_uri(data):
        url, _, named = data.partition("#")
        chosen = table or named or _only_table(url)
        return (
            SqlTable(url, chosen),
            name_from(chosen.rpartition(".")[2].strip('"')),
            (f"{chosen} in {hide_password(url)}"),
        )
    if table is not None:
        raise click.UsageError("--table is for databases; DATA is a path")
    # A glob is called after its folder: landing/orders/*.csv holds orders.
    parts = [part for part in Path(data).parts if not any(c in part for c in "*?[")]
    return data, name_from(parts[-1] if parts else "data"), hide_password(data)


def _only_table(url: str) -> str:
    try:
        known = table_names(url)
    except UnreadableDataError as error:
        raise click.UsageError(str(error)) from None
    if len(known) == 1:
        return known[0]
    listed = ", ".join(known[:20]) or "none in its default schema"
    raise click.UsageError(f"name one with --table; {hide_password(url)} has {listed}")


def _summary(found: InferredContract, target: Path | None) -> list[str]:
    profile, contract = found.profile, found.contract
    columns = len(profile.columns)
    rows = f"{profile.rows:,} {'row' if profile.rows == 1 else 'rows'}"
    if profile.is_sample and profile.all_rows is not None:
        rows = f"the first {rows} of {profile.all_rows:,}"
    where = f" in {target}" if target is not None else ""
    width = "1 column" if columns == 1 else f"{columns} columns"
    lines = [f"{contract.ref}{where}: {width}, {len(found.guesses)} guesses from {rows}"]
    key = contract.objects[0].primary_key
    lines.append(f"  key: {', '.join(key)}" if key else "  key: none that is surely one")
    for title, wanted in (
        ("required", "required"),
        ("closed sets", "enum"),
        ("patterns and formats", "pattern format"),
        ("with gaps", "nulls"),
        ("personal by their names", "classification"),
        ("look at", "column left_out"),
    ):
        named = _named(found.guesses, wanted.split())
        if named:
            lines.append(f"  {title}: {named}")
    lines += [
        f"  {guess.key.replace('_', ' ')}: {guess.because}"
        for guess in found.guesses
        if guess.key in ("event_time", "freshness")
    ]
    lines.append("  these are guesses: read them before you rely on them")
    return lines


def _named(guesses: Sequence[Guess], keys: Sequence[str]) -> str:
    names = list(
        dict.fromkeys(
            ".".join(guess.path) or guess.because for guess in guesses if guess.key in keys
        )
    )
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more


def _as_json(found: InferredContract, form: str, target: Path | None) -> dict[str, Json]:
    return {
        "contract": found.contract.name,
        "version": found.contract.version,
        "form": form,
        "output": str(target) if target is not None else None,
        "rows": found.profile.rows,
        "all_rows": found.profile.all_rows,
        "primary_key": list(found.contract.objects[0].primary_key),
        "guesses": [
            {"column": ".".join(guess.path) or None, "what": guess.key, "because": guess.because}
            for guess in found.guesses
        ],
        "document": found.text,
    }
