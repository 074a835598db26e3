"""``dagster-contracts validate``: a data file against a contract."""

from __future__ import annotations

import glob
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from dagster_contracts.cli.lazy_group import FINDINGS
from dagster_contracts.cli.output import (
    format_option,
    print_json,
    print_line,
    progress_of_steps,
)
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.report_junit import report_junit
from dagster_contracts.cli.sources import read_one
from dagster_contracts.core.contract import Contract, SchemaObject
from dagster_contracts.core.outcome import ContractReport, OutcomeStatus
from dagster_contracts.core.uri import hide_password, is_database_uri
from dagster_contracts.engine.report_html import report_page
from dagster_contracts.engine.report_text import report_json, report_text
from dagster_contracts.engine.validation import validate

_COLOURS = {
    OutcomeStatus.PASSED: "green",
    OutcomeStatus.WARNED: "yellow",
    OutcomeStatus.FAILED: "red",
    OutcomeStatus.NOT_EVALUATED: "yellow",
}


def _pairs(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, object]:
    found: dict[str, object] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or not name or not path:
            raise click.BadParameter(f"{value!r} is not NAME=PATH", ctx, param)
        found[name] = _data(path)
    return found


@click.command(
    "validate",
    epilog="""\
CONTRACT is a file, a reference (orders@^1.2) or a git revision; DATA a Parquet, CSV, JSON or Arrow
path, or the URL of a PostgreSQL, SQLite or DuckDB database with --table.
Exits with 1 where a rule fails, with --strict also where one warns or could not be evaluated.

\b
Examples:
  dagster-contracts validate orders orders.parquet
  dagster-contracts validate contracts/orders/1.2.0.yaml 'landing/orders/*.csv' --format json
  dagster-contracts validate orders orders.csv --as-of 2026-03-01T06:00Z --format html
  dagster-contracts validate orders postgresql://reader@db/shop --table sales.orders
""",
)
@click.argument("contract")
@click.argument("data")
@click.option("--table", help="The table or schema.table, where DATA is a database.")
@click.option("--object", "object_name", help="The schema object, where the contract has several.")
@click.option(
    "--reference",
    "references",
    metavar="NAME=PATH",
    multiple=True,
    callback=_pairs,
    help="Data that relationships refer to; repeatable.",
)
@click.option(
    "--samples",
    type=click.IntRange(0, 1000),
    default=5,
    show_default=True,
    help="Failing rows to show of each rule.",
)
@click.option("--as-of", metavar="TIME", help="The moment to measure ages at (ISO 8601).")
@click.option("--allow-sql", is_flag=True, help="Run the SQL rules that the contract brings.")
@click.option(
    "--allow-code",
    metavar="MODULE",
    multiple=True,
    help="Run custom rules of this Python module and those below it; repeatable.",
)
@click.option("--strict", is_flag=True, help="Count warnings and unevaluated rules as findings.")
@format_option("junit", "html")
@pass_places
def validate_data(
    places: Places,
    contract: str,
    data: str,
    table: str | None,
    object_name: str | None,
    references: dict[str, object],
    samples: int,
    as_of: str | None,
    allow_sql: bool,
    allow_code: tuple[str, ...],
    strict: bool,
    output: str,
) -> None:
    """Validate a file or a table against a contract: every rule in one pass."""
    now = _moment(as_of)
    found = read_one(contract, places)
    schema_object = _object(found, object_name)
    source = _data(data, table)
    if allow_code and str(Path.cwd()) not in sys.path:
        # An installed command, unlike `python -m`, does not look where it was started.
        sys.path.append(str(Path.cwd()))
    with progress_of_steps(f"validating {hide_password(data)} against {found.ref}") as progress:
        report = validate(
            source,
            found,
            schema_object=schema_object,
            now=now,
            references=references,
            samples=samples,
            allow_sql=allow_sql,
            allow_code=allow_code,
            progress=progress,
        )
    _print(report, output)
    if not is_good(report, strict=strict):
        raise click.exceptions.Exit(FINDINGS)


def is_good(report: ContractReport, *, strict: bool) -> bool:
    """Whether the report holds no finding."""
    if strict:
        return all(outcome.status is OutcomeStatus.PASSED for outcome in report.outcomes)
    return report.status in (OutcomeStatus.PASSED, OutcomeStatus.WARNED)


def _print(report: ContractReport, output: str) -> None:
    match output:
        case "json":
            print_json(report_json(report))
        case "junit":
            click.echo(report_junit(report))
        case "html":
            click.echo(report_page(report))
        case _:
            first, *rest = report_text(report).split("\n")
            print_line(first, fg=_COLOURS[report.status], bold=True)
            for line in rest:
                print_line(line)


def _object(contract: Contract, name: str | None) -> SchemaObject | None:
    if name is None:
        return None
    for each in contract.objects:
        if name in (each.name, each.physical_name):
            return each
    known = ", ".join(each.name for each in contract.objects)
    raise click.UsageError(f"{contract.ref} has no object {name!r}; it has {known}")


def _data(place: str, table: str | None = None) -> str:
    """What the engine is given; ``click.UsageError`` where there is nothing to be judged."""
    if is_database_uri(place):
        if table is not None:
            place = f"{place.partition('#')[0]}#{table}"
        if not place.partition("#")[2]:
            raise click.UsageError(f"which table of {hide_password(place)}? Name it with --table")
        return place
    if table is not None:
        raise click.UsageError("--table is for the URL of a database")
    if "://" not in place and not Path(place).exists() and not glob.glob(place, recursive=True):
        raise click.UsageError(f"there is no data at {place!r}")
    return place


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"{text!r} is no moment; write it like 2026-03-01T06:00:00Z"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
