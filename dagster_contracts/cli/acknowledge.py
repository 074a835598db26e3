"""``dagster-contracts acknowledge``: somebody is on it."""

from __future__ import annotations

from contextlib import closing

import click

from dagster_contracts.cli.output import format_option, print_json, print_line
from dagster_contracts.cli.parameters import actor_option, reason_option
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_for_change
from dagster_contracts.monitoring.alerts import AlertBook, AlertState


@click.command(
    epilog="""\
\b
Examples:
  dagster-contracts alerts
  dagster-contracts acknowledge 4994665c --reason "I call the shop"
"""
)
@click.argument("alert", metavar="ID")
@reason_option
@actor_option
@format_option()
@pass_places
def acknowledge(places: Places, alert: str, reason: str, actor: str, output: str) -> None:
    """Say that somebody is on an alert.

    ID is the beginning of its fingerprint, as `alerts` shows it. It is not repeated any more; that
    it got worse, and its end, are still told.
    """
    with closing(open_for_change(places)) as store:
        book = AlertBook(store)
        firing = book.alerts(state=AlertState.FIRING, limit=100_000)
        fitting = [each for each in firing if alert and each.fingerprint.startswith(alert)]
        if len(fitting) != 1:
            said = f"{len(fitting)} alerts begin with" if fitting else "no alert that fires is"
            raise click.UsageError(f"{said} {alert!r}; `alerts` lists their ids")
        (found,) = fitting
        if not book.acknowledge(found.fingerprint, actor=actor, reason=reason):
            raise click.UsageError(f"{alert!r} has been resolved meanwhile")
    if output == "json":
        print_json({"fingerprint": found.fingerprint, "acknowledged_by": actor, "reason": reason})
        return
    print_line(f"acknowledged by {actor}: {found.summary}")
    print_line("  it is not repeated any more; its end is still told")
