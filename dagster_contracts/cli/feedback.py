"""``dagster-contracts feedback``: consumers report bad data, producers answer."""

from __future__ import annotations

from contextlib import closing

import click

from dagster_contracts.cli.declared import check_known, known_name
from dagster_contracts.cli.lazy_group import USAGE
from dagster_contracts.cli.output import format_option, print_json, print_line, print_table
from dagster_contracts.cli.parameters import actor_option
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_existing, open_for_change
from dagster_contracts.cli.words import count
from dagster_contracts.monitoring.feedback import Feedback, FeedbackBook


@click.group(
    epilog="""\
\b
Examples:
  dagster-contracts feedback report orders "amounts of Friday are in cents" --consumer finance
  dagster-contracts feedback list orders
  dagster-contracts feedback answer 3 "loaded again, in euros"
"""
)
def feedback() -> None:
    """Report bad data, and answer reports."""


@feedback.command()
@click.argument("contract")
@click.argument("text")
@click.option("--consumer", required=True, help="Who reports it: a team, an asset, a person.")
@click.option("--asset", help="The asset, where the contract governs several.")
@format_option()
@pass_places
def report(
    places: Places, contract: str, text: str, consumer: str, asset: str | None, output: str
) -> None:
    """Report bad data that the checks did not see."""
    name = known_name(places, contract)
    check_known(places, name)
    with closing(open_for_change(places)) as store:
        book = FeedbackBook(store)
        number = book.report(consumer, name, text, asset=asset)
        waiting = book.open_count(name)
    if output == "json":
        print_json({"report": number, "contract": name, "consumer_reports": waiting})
        return
    print_line(f"report {number} of {name} by {consumer}: {text}")
    print_line(
        f"  the producer is told at the monitor's next tick; {count(waiting, 'report')} open, "
        "which conditions read as consumer_reports"
    )


@feedback.command("list")
@click.argument("contract", required=False)
@click.option("--all", "everything", is_flag=True, help="Also those that were answered.")
@format_option()
@pass_places
def list_reports(places: Places, contract: str | None, everything: bool, output: str) -> None:
    """List the reports that nobody has answered, newest first."""
    name = known_name(places, contract) if contract else None
    found: tuple[Feedback, ...] = ()
    store = open_existing(places)
    if store is not None:
        with closing(store):
            found = FeedbackBook(store).reports(name, only_open=not everything, limit=1000)
    if output == "json":
        print_json(
            {
                "reports": [
                    {
                        "report": each.id,
                        "contract": each.contract,
                        "asset": each.asset,
                        "consumer": each.consumer,
                        "text": each.text,
                        "reported_at": each.reported_at.isoformat(),
                        "resolved_at": each.resolved_at.isoformat() if each.resolved_at else None,
                        "resolved_by": each.resolved_by,
                        "resolution": each.resolution,
                    }
                    for each in found
                ]
            }
        )
        return
    if not found:
        print_line("no report" if everything else "no report is open")
        return
    print_table(
        ("id", "contract", "by", "reported", "what", "answer"),
        [
            (
                str(each.id),
                each.contract,
                each.consumer,
                f"{each.reported_at:%Y-%m-%d %H:%M} UTC",
                each.text,
                f"{each.resolved_by}: {each.resolution}" if each.resolved_at else "",
            )
            for each in found
        ],
    )


@feedback.command()
@click.argument("number", type=int, metavar="ID")
@click.argument("text")
@actor_option
@format_option()
@pass_places
def answer(places: Places, number: int, text: str, actor: str, output: str) -> None:
    """Answer a report: say what was done. It no longer counts."""
    with closing(open_for_change(places)) as store:
        answered = FeedbackBook(store).resolve(number, actor=actor, text=text)
    if not answered:
        click.echo(f"error: report {number} was answered before", err=True)
        raise click.exceptions.Exit(USAGE)
    if output == "json":
        print_json({"report": number, "resolved_by": actor, "resolution": text})
        return
    print_line(f"report {number} answered by {actor}: {text}")
