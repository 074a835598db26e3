"""``dagster-contracts db``: the schema of the state store."""

from __future__ import annotations

from contextlib import closing

import click

from dagster_contracts.cli.output import format_option, print_json, print_line
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import has_state
from dagster_contracts.store.database import open_store
from dagster_contracts.store.schema import SCHEMA_REVISION


@click.group(
    epilog="""\
\b
Examples:
  dagster-contracts db upgrade
  dagster-contracts --store postgresql+psycopg://contracts@db/contracts db upgrade
"""
)
def db() -> None:
    """Create or upgrade the state store."""


@db.command()
@format_option()
@pass_places
def upgrade(places: Places, output: str) -> None:
    """Create the state store, or bring its schema to this release."""
    url = places.store_url()
    existed = has_state(url)
    with closing(open_store(url)) as store:
        shown = store.url
    if output == "json":
        print_json({"store": shown, "created": not existed, "schema": SCHEMA_REVISION})
        return
    said = "is at" if existed else "created, at"
    print_line(f"{shown} {said} schema {SCHEMA_REVISION}")
