"""``dagster-contracts export``: a contract for other tools and for people."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.unexpanded import locate
from dagster_contracts.cli.written import output_options, write_text
from dagster_contracts.core.contract import Contract, SchemaObject
from dagster_contracts.documents.conversion import Form, convert, read_unexpanded
from dagster_contracts.documents.export.avro import to_avro
from dagster_contracts.documents.export.json_schema import to_json_schema
from dagster_contracts.documents.export.markdown import to_markdown
from dagster_contracts.documents.export.sql import to_sql
from dagster_contracts.documents.export.sql_dialect import SqlDialect
from dagster_contracts.documents.problem import did_you_mean

FORMATS = ("odcs", "json-schema", "avro", "sql", "pandera", "markdown")
#: What holds one object alone.
_SINGLE = ("avro", "pandera")


@click.command(
    epilog="""\
CONTRACT is a reference (orders, orders@1.2.0), a file, or a git revision. Of a contract of several
objects sql, markdown and json-schema write all, unless --object names one; avro and pandera need
one. What a format cannot say is named in a comment of the result.

\b
Examples:
  dagster-contracts export orders --format sql --dialect postgresql | psql
  dagster-contracts export orders --format markdown --output docs/orders.md
  dagster-contracts export shop --format avro --object order_lines
"""
)
@click.argument("contract")
@click.option("--format", "kind", type=click.Choice(FORMATS), required=True, help="What to write.")
@click.option(
    "--dialect",
    type=click.Choice([dialect.value for dialect in SqlDialect]),
    help="The database of --format sql.",
)
@click.option(
    "--engine",
    type=click.Choice(["pandas", "polars"]),
    help="The data frames of --format pandera. Default: pandas.",
)
@click.option("--object", "object_name", metavar="NAME", help="One object of the contract.")
@output_options
@pass_places
def export(
    places: Places,
    contract: str,
    kind: str,
    dialect: str | None,
    engine: str | None,
    object_name: str | None,
    target: Path | None,
    force: bool,
) -> None:
    """Write a contract for other tools and for people."""
    if (dialect is not None) != (kind == "sql"):
        raise click.UsageError(
            "--format sql needs --dialect sqlite, duckdb or postgresql"
            if kind == "sql"
            else f"--dialect belongs to --format sql, not to {kind}"
        )
    if engine is not None and kind != "pandera":
        raise click.UsageError(f"--engine belongs to --format pandera, not to {kind}")
    if object_name is not None and kind == "odcs":
        raise click.UsageError("an ODCS document holds the whole contract: leave --object out")
    with locate(contract, places) as found:
        if kind == "odcs":
            text = convert(found.path, to=Form.ODCS, root=found.root).text
            write_text(text, target, force=force, source=found.path)
            return
        read = read_unexpanded(found.path, root=found.root)
        chosen = _object(read, object_name, kind)
        text = _text(read, chosen, kind, dialect, engine)
        write_text(text, target, force=force, source=found.path)


def _object(contract: Contract, name: str | None, kind: str) -> SchemaObject | None:
    names = [found.name for found in contract.objects]
    listed = ", ".join(names)
    if name is None:
        if kind in _SINGLE and len(names) > 1:
            raise click.UsageError(
                f"{kind} holds one object, and {contract.ref} has several: "
                f"name one with --object ({listed})"
            )
        return None
    for schema_object in contract.objects:
        if name in (schema_object.name, schema_object.physical_name):
            return schema_object
    raise click.UsageError(
        f"{contract.ref} has no object {name!r}: {did_you_mean(name, names)} (it has {listed})"
    )


def _text(
    contract: Contract,
    chosen: SchemaObject | None,
    kind: str,
    dialect: str | None,
    engine: str | None,
) -> str:
    match kind:
        case "json-schema":
            return _json(to_json_schema(contract, chosen))
        case "avro":
            return _json(to_avro(contract, chosen))
        case "sql":
            return to_sql(contract, SqlDialect(dialect or ""), chosen)
        case "pandera":
            # The engine's libraries are only for those who ask for it.
            from dagster_contracts.engine.pandera_source import PanderaEngine, to_pandera_source

            return to_pandera_source(contract, chosen, engine=PanderaEngine(engine or "pandas"))
        case _:
            return to_markdown(contract, chosen)


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
