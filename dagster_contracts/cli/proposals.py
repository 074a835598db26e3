"""``dagster-contracts proposals``: thresholds that would fit the history better."""

from __future__ import annotations

import difflib
from contextlib import closing
from pathlib import Path

import click

from dagster_contracts.cli.declared import known_name
from dagster_contracts.cli.output import format_option, print_json, print_line
from dagster_contracts.cli.parameters import actor_option, reason_option
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.proposed_edit import ProposedEdit, proposed_edit
from dagster_contracts.cli.sources import read_contracts
from dagster_contracts.cli.state import open_existing, open_for_change
from dagster_contracts.cli.words import count, near
from dagster_contracts.cli.written import output_options, write_text
from dagster_contracts.core.contract import Json
from dagster_contracts.monitoring.tuning import ProposalRecord, decide_proposal, recorded_proposals
from dagster_contracts.store.database import Store


@click.group(
    epilog="""\
\b
Examples:
  dagster-contracts proposals list
  dagster-contracts proposals show 3
  dagster-contracts proposals accept 3 --reason "fits" --output contracts/orders/1.1.0.yaml
  dagster-contracts proposals decline 3 --reason "the sale of May is no habit"
"""
)
def proposals() -> None:
    """Look at proposed thresholds and decide."""


@proposals.command("list")
@click.argument("contract", required=False)
@click.option("--all", "everything", is_flag=True, help="Also those that were decided on.")
@format_option()
@pass_places
def list_proposals(places: Places, contract: str | None, everything: bool, output: str) -> None:
    """List the proposals that nobody has decided on, oldest first."""
    name = known_name(places, contract) if contract else None
    found: tuple[ProposalRecord, ...] = ()
    store = open_existing(places)
    if store is not None:
        with closing(store):
            found = recorded_proposals(store, name, everything=everything)
    if output == "json":
        print_json({"proposals": [_as_json(each) for each in found]})
        return
    for each in found:
        _print(each)
    print_line(count(len(found), "proposal") if found else "no proposal")
    if any(each.state == "proposed" for each in found):
        print_line("  `proposals show ID` tells what it changes")


@proposals.command()
@click.argument("number", type=int, metavar="ID")
@format_option()
@pass_places
def show(places: Places, number: int, output: str) -> None:
    """Show a proposal as a change of the contract's document."""
    with closing(open_for_change(places)) as store:
        record = _find(store, number)
    edit = _edit(record, places) if record.state == "proposed" else None
    if output == "json":
        print_json({**_as_json(record), "diff": _difference(edit) if edit else None})
        return
    _print(record)
    if edit is None:
        return
    print_line()
    for line in _difference(edit).splitlines():
        colour = {"+": "green", "-": "red"}.get(line[:1])
        print_line(line, fg=colour)
    print_line()
    print_line(f"  `proposals accept {number}` prints the edited contract, {edit.version}")


@proposals.command()
@click.argument("number", type=int, metavar="ID")
@reason_option
@actor_option
@output_options
@pass_places
def accept(
    places: Places, number: int, reason: str, actor: str, target: Path | None, force: bool
) -> None:
    """Accept a proposal: the edited contract is printed, or written to FILE.

    The contract's own document is never rewritten: save the edit as a version beside it.
    """
    with closing(open_for_change(places)) as store:
        edit = _edit(_find(store, number, still_open=True), places)
        write_text(edit.after, target, force=force, source=edit.path)
        decide_proposal(store, number, accepted=True, actor=actor, reason=reason)
    click.echo(f"proposal {number} accepted by {actor}", err=True)
    beside = near(str(edit.path.with_name(f"{edit.version}{edit.path.suffix}")))
    where = near(str(target)) if target else f"save it as {beside}, then"
    verb = "`dagster-contracts publish` it" if target is None else "is the edit; publish it"
    click.echo(f"  {where} {verb}", err=True)


@proposals.command()
@click.argument("number", type=int, metavar="ID")
@reason_option
@actor_option
@format_option()
@pass_places
def decline(places: Places, number: int, reason: str, actor: str, output: str) -> None:
    """Decline a proposal; the same one is not made again for this version."""
    with closing(open_for_change(places)) as store:
        record = _find(store, number, still_open=True)
        decide_proposal(store, number, accepted=False, actor=actor, reason=reason)
    if output == "json":
        print_json({"id": number, "state": "declined", "decided_by": actor})
        return
    print_line(f"proposal {number} declined by {actor}: {record.proposal.old} stays")


def _find(store: Store, number: int, *, still_open: bool = False) -> ProposalRecord:
    for record in recorded_proposals(store, everything=True):
        if record.number == number:
            if still_open and record.state != "proposed":
                raise click.UsageError(
                    f"proposal {number} was {record.state} by {record.decided_by}: "
                    f"{record.decision_reason}"
                )
            return record
    raise click.UsageError(f"there is no proposal {number}; `proposals list --all` names them")


def _edit(record: ProposalRecord, places: Places) -> ProposedEdit:
    proposal = record.proposal
    contract = read_contracts(places).get(proposal.contract, proposal.version)
    return proposed_edit(proposal, contract, places)


def _difference(edit: ProposedEdit) -> str:
    shown = near(str(edit.path))
    lines = difflib.unified_diff(
        edit.before.splitlines(), edit.after.splitlines(), shown, f"version {edit.version}",
        lineterm="", n=2,
    )  # fmt: skip
    return "\n".join(lines)


def _print(record: ProposalRecord) -> None:
    proposal = record.proposal
    print_line(
        f"{record.number}  {proposal.contract}@{proposal.version}: {record.state}", bold=True
    )
    print_line(f"   {proposal.old}  ->  {proposal.new}")
    print_line(f"   {proposal.why}")
    if record.decided_at is not None:
        print_line(f"   {record.state} by {record.decided_by}: {record.decision_reason}")


def _as_json(record: ProposalRecord) -> dict[str, Json]:
    proposal = record.proposal
    return {
        "id": record.number,
        "contract": proposal.contract,
        "version": proposal.version,
        "path": proposal.path,
        "old": proposal.old,
        "new": proposal.new,
        "why": proposal.why,
        "state": record.state,
        "proposed_at": record.proposed_at.isoformat(),
        "decided_at": record.decided_at.isoformat() if record.decided_at else None,
        "decided_by": record.decided_by,
        "decision_reason": record.decision_reason,
    }
