"""``dagster-contracts``: the group of all commands."""

from __future__ import annotations

from pathlib import Path

import click

from dagster_contracts.cli.lazy_group import LazyCommand, LazyGroup
from dagster_contracts.cli.places import Places

COMMANDS = {
    "lint": LazyCommand("lint:lint", "Find mistakes in contract documents."),
    "schema": LazyCommand("schema:schema", "Print the JSON Schema of a form of contracts."),
    "list": LazyCommand("listing:list_contracts", "List the contracts and their versions."),
    "show": LazyCommand("show:show", "Show what a contract promises."),
    "validate": LazyCommand(
        "validate:validate_data", "Validate a file or a table against a contract."
    ),
    "infer": LazyCommand("infer:infer", "Write a first contract from data."),
    "diff": LazyCommand("diff:diff", "Say whom a change of contracts breaks."),
    "convert": LazyCommand("convert:convert", "Write a contract in its other form."),
    "export": LazyCommand("export:export", "Write a contract for other tools and for people."),
    "status": LazyCommand("status:status", "Tell the state of the circuits, and why."),
    "history": LazyCommand("history:history", "Tell what happened to a contract's circuits."),
    "backtest": LazyCommand(
        "backtest:backtest_command", "Replay the history through a contract's rules."
    ),
    "consumers": LazyCommand("consumers:consumers", "List who consumes a contract."),
    "force-open": LazyCommand("overrides:force_open", "Keep consumers on the fallback."),
    "force-closed": LazyCommand("overrides:force_closed", "Keep consumers on the primary."),
    "metrics-only": LazyCommand(
        "overrides:metrics_only", "Record what the circuit would do, and do nothing."
    ),
    "reset": LazyCommand("overrides:reset", "Close a circuit and lift its override."),
    "dismiss": LazyCommand("overrides:dismiss", "Forget circuits that no consumer asks."),
    "heal": LazyCommand("heal:heal", "Try again to heal what was given up."),
    "quarantine": LazyCommand("quarantine:quarantine", "Look at refused batches and decide."),
    "alerts": LazyCommand("alerts:alerts", "List the alerts."),
    "acknowledge": LazyCommand("acknowledge:acknowledge", "Say that somebody is on an alert."),
    "silence": LazyCommand("silence:silence", "Keep alerts from being told for a while."),
    "feedback": LazyCommand("feedback:feedback", "Report bad data, and answer reports."),
    "proposals": LazyCommand("proposals:proposals", "Look at proposed thresholds and decide."),
    "publish": LazyCommand("publish:publish", "Publish a version of a contract."),
    "db": LazyCommand("db:db", "Create or upgrade the state store."),
}

EPILOG = """\
Exit codes: 0 good, 1 findings, 2 usage or deployment.

\b
Examples:
  dagster-contracts lint contracts/
  dagster-contracts status orders
  dagster-contracts diff git:main:contracts contracts
"""


@click.group(
    "dagster-contracts",
    cls=LazyGroup,
    lazy=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--contracts",
    metavar="DIR",
    envvar="DAGSTER_CONTRACTS_PATH",
    type=click.Path(path_type=Path),
    help="The folder of contract documents. Default: contracts/, here or in a folder above.",
)
@click.option(
    "--store",
    metavar="URL",
    envvar="DAGSTER_CONTRACTS_STORE",
    help="The state store. Default: sqlite:///.dagster_contracts/state.db, beside contracts/.",
)
@click.option(
    "--archive",
    metavar="DIR",
    envvar="DAGSTER_CONTRACTS_ARCHIVE",
    type=click.Path(path_type=Path),
    help="The folder of kept batches. Default: .dagster_contracts, beside contracts/.",
)
@click.option(
    "--allow-env",
    metavar="NAME",
    multiple=True,
    envvar="DAGSTER_CONTRACTS_ALLOW_ENV",
    help="An environment variable that contracts may name as ${env:NAME}; repeatable.",
)
@click.version_option(package_name="dagster-contracts", message="%(prog)s %(version)s")
@click.pass_context
def cli(
    ctx: click.Context,
    contracts: Path | None,
    store: str | None,
    archive: Path | None,
    allow_env: tuple[str, ...],
) -> None:
    """Data contracts that Dagster keeps: lint, compare, validate, and run their circuits."""
    ctx.obj = Places(contracts, store, archive, allow_env)


def main() -> None:
    """The entry point."""
    cli(prog_name="dagster-contracts")


if __name__ == "__main__":
    main()
