"""``dagster-contracts convert``: the compact form as ODCS, and ODCS as the compact form."""

from __future__ import annotations

from pathlib import Path

import click

from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.unexpanded import locate
from dagster_contracts.cli.written import output_options, write_text
from dagster_contracts.documents.conversion import Form
from dagster_contracts.documents.conversion import convert as convert_document


@click.command(
    epilog="""\
CONTRACT is a reference (orders, orders@1.2.0), a file, or a git revision. The document itself is
never changed.

\b
Examples:
  dagster-contracts convert orders > orders.odcs.yaml
  dagster-contracts convert vendor.odcs.yaml --output contracts/vendor/1.0.0.yaml
  dagster-contracts convert orders@1.2.0 --to odcs
"""
)
@click.argument("contract")
@click.option(
    "--to",
    type=click.Choice([form.value for form in Form]),
    help="The form to write. Default: the one that the document has not.",
)
@output_options
@pass_places
def convert(
    places: Places, contract: str, to: str | None, target: Path | None, force: bool
) -> None:
    """Write a contract in its other form: compact as ODCS, ODCS as compact.

    Nothing is lost: what is written is read again, and is refused unless it is an equal contract.
    Comments stay in the document that they stand in.
    """
    with locate(contract, places) as found:
        written = convert_document(found.path, root=found.root, to=Form(to) if to else None)
        write_text(written.text, target, force=force, source=found.path)
    for name in written.schema_files:
        click.echo(f"the schema of {name} now stands in the document", err=True)
    for name in written.references:
        click.echo(f"${{env:{name}}} is left as it is written", err=True)
