"""``dagster-contracts schema``: what editors need to complete and check contracts."""

from __future__ import annotations

from pathlib import Path

import click

from dagster_contracts.documents.editor.schemas import as_text, compact_schema, odcs_schema

_FORMS = {"compact": compact_schema, "odcs": odcs_schema}


@click.command(
    epilog="""\
Name the file in a comment at the head of a contract, and editors with a YAML language server
(Visual Studio Code, Neovim, the JetBrains IDEs, ...) complete its keys and mark its mistakes:

\b
  # yaml-language-server: $schema=../.schemas/compact.json

\b
Examples:
  dagster-contracts schema compact --output .schemas/compact.json
  dagster-contracts schema odcs
"""
)
@click.argument("form", type=click.Choice(list(_FORMS)), default="compact")
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it there and not to the terminal; missing folders are made.",
)
def schema(form: str, output: Path | None) -> None:
    """Print the JSON Schema of a form of contracts.

    compact is the form whose root key is data_contract; odcs is the official schema of ODCS, and
    in its customProperties what this package reads there.
    """
    text = as_text(_FORMS[form]())
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.FileError(str(output), error.strerror) from None
    click.echo(f"wrote {output}")
