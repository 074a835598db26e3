"""``dagster-contracts alerts``: what fires, since when, and who was told."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

import click

from dagster_contracts.cli.output import format_option, print_json, print_line
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_existing
from dagster_contracts.cli.words import count, distance, moment
from dagster_contracts.core.contract import Severity
from dagster_contracts.core.reference import ContractRef
from dagster_contracts.monitoring.alerts import Alert, AlertBook, AlertState

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: None}


@click.command(
    epilog="""\
\b
Examples:
  dagster-contracts alerts
  dagster-contracts alerts orders --all
"""
)
@click.argument("contract", required=False)
@click.option("--all", "everything", is_flag=True, help="Also those that are resolved.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Newest N.")
@format_option()
@pass_places
def alerts(places: Places, contract: str | None, everything: bool, limit: int, output: str) -> None:
    """List the alerts that fire, newest first."""
    name = ContractRef.parse(contract).name if contract else None
    found: tuple[Alert, ...] = ()
    now = None
    store = open_existing(places)
    if store is not None:
        with closing(store):
            state = None if everything else AlertState.FIRING
            found = AlertBook(store).alerts(state=state, contract=name, limit=limit)
            with store.read() as conn:
                now = store.now(conn)
    if output == "json":
        print_json(
            {
                "alerts": [
                    {
                        **alert.to_json(),
                        "firings": alert.firings,
                        "recipients": list(alert.recipients),
                        "acknowledged_by": alert.acknowledged_by,
                    }
                    for alert in found
                ]
            }
        )
        return
    for alert in found:
        if now is not None:
            _print(alert, now)
    print_line(count(len(found), "alert") if found else "no alert")


def _print(alert: Alert, now: datetime) -> None:
    state = "notice" if alert.notice else alert.state.value
    labels = alert.labels
    place = f"{labels.contract}/{labels.asset}" if labels.asset else labels.contract
    place += f"[{labels.partition}]" if labels.partition else ""
    colour = _COLOURS[alert.severity] if state == "firing" else None
    print_line(f"{state} {labels.kind.value} {place}: {alert.summary}", fg=colour)
    said = [f"since {moment(alert.starts_at, now)} ({distance(alert.starts_at, now)})"]
    if alert.ends_at is not None and not alert.notice:
        said = [f"{moment(alert.starts_at, now)} to {moment(alert.ends_at, now)}"]
    if alert.firings > 1:
        said.append(f"fired {alert.firings} times")
    if alert.recipients:
        said.append(f"told {', '.join(alert.recipients)}")
    if alert.acknowledged_by:
        said.append(f"acknowledged by {alert.acknowledged_by}")
    print_line(f"  {', '.join(said)}")
    for line in alert.detail.splitlines():
        print_line(f"  {line}")
