"""``dagster-contracts list``: the contracts of a folder."""

from __future__ import annotations

import click

from dagster_contracts.cli.lazy_group import FINDINGS
from dagster_contracts.cli.output import format_option, print_json, print_line, print_table
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.core.contract import Contract, Json
from dagster_contracts.documents.folder import ContractFolder, read_documents
from dagster_contracts.documents.problem import Problem


@click.command(
    "list",
    epilog="""\
Exits with 1 where a document cannot be read; the others are listed all the same.

\b
Examples:
  dagster-contracts list
  dagster-contracts --contracts other/contracts list --format json
""",
)
@format_option()
@pass_places
def list_contracts(places: Places, output: str) -> None:
    """List the contracts and their versions."""
    root = places.contracts_folder()
    documents = list(read_documents(root, allowed_env=places.allowed_env))
    folder = ContractFolder([d.contract for d in documents if d.contract is not None], root=root)
    errors = [problem for document in documents for problem in document.errors]
    found = [(folder.resolve(name), folder.versions(name)) for name in folder.names()]
    if output == "json":
        print_json(
            {
                "folder": str(root),
                "contracts": [_json(contract, versions) for contract, versions in found],
                "unreadable": [_problem_json(problem) for problem in errors],
            }
        )
    elif found:
        print_table(
            ("contract", "version", "status", "asset", "owner", "when it breaks", "description"),
            (_row(contract, versions) for contract, versions in found),
        )
    else:
        print_line(f"no contract in {root}")
    for problem in errors if output == "text" else ():
        click.echo(f"error: {problem}", err=True)
    if errors:
        raise click.exceptions.Exit(FINDINGS)


def _row(contract: Contract, versions: tuple[str, ...]) -> tuple[str, ...]:
    others = len(versions) - 1
    return (
        contract.name,
        contract.version + (f" (+{others})" if others else ""),
        contract.status.value,
        ", ".join(_assets(contract)),
        contract.owner or "",
        _protection(contract),
        contract.description or "",
    )


def _protection(contract: Contract) -> str:
    """What the contract does when it is broken."""
    if contract.resilience is None:
        return "the run stops"
    names = [level.name for level in contract.resilience.fallbacks]
    return f"fallback to {', '.join(names)}" if names else "its consumers stop"


def _assets(contract: Contract) -> tuple[str, ...]:
    return tuple(contract.asset_names(schema_object)[0] for schema_object in contract.objects)


def _json(contract: Contract, versions: tuple[str, ...]) -> dict[str, Json]:
    return {
        "name": contract.name,
        "version": contract.version,
        "versions": list(versions),
        "status": contract.status.value,
        "owner": contract.owner,
        "description": contract.description,
        "assets": list(_assets(contract)),
        "fallbacks": [level.name for level in contract.resilience.fallbacks]
        if contract.resilience
        else [],
        "path": contract.location.path if contract.location else None,
    }


def _problem_json(problem: Problem) -> dict[str, Json]:
    return {
        "path": problem.location.path,
        "line": problem.location.line,
        "column": problem.location.column,
        "code": problem.code,
        "message": problem.message,
        "hint": problem.hint,
    }
