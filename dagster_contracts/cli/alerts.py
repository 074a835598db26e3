"""``dagster-contracts alerts``: what fires, since when, and who was told."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

import click
import sqlalchemy as sa

from dagster_contracts.cli.declared import known_name
from dagster_contracts.cli.output import format_option, print_hanging, print_json, print_line
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_existing
from dagster_contracts.cli.words import count, distance, moment
from dagster_contracts.core.contract import Severity
from dagster_contracts.monitoring.alerts import Alert, AlertBook, AlertState
from dagster_contracts.monitoring.inhibition import inhibited
from dagster_contracts.monitoring.notifications import NotificationQueue, ParkedNotification

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
    name = known_name(places, contract) if contract else None
    found: tuple[Alert, ...] = ()
    now = None
    quiet: dict[str, str] = {}
    parked: tuple[ParkedNotification, ...] = ()
    store = open_existing(places)
    if store is not None:
        with closing(store):
            state = None if everything else AlertState.FIRING
            book = AlertBook(store)
            found = book.alerts(state=state, contract=name, limit=limit)
            with store.read() as conn:
                now = store.now(conn)
                quiet = _why_quiet(book, conn, found, now)
            parked = NotificationQueue(store).parked()
    if output == "json":
        print_json(
            {
                "alerts": [
                    {
                        **alert.to_json(),
                        "firings": alert.firings,
                        "recipients": list(alert.recipients),
                        "acknowledged_by": alert.acknowledged_by,
                        "quiet_because": quiet.get(alert.fingerprint),
                    }
                    for alert in found
                ],
                "undelivered": [
                    {"channel": each.channel, "title": each.title, "error": each.error}
                    for each in parked
                ],
            }
        )
        return
    for alert in found:
        if now is not None:
            _print(alert, now, quiet.get(alert.fingerprint))
    print_line(count(len(found), "alert") if found else "no alert")
    for each in parked:
        # Nobody was told: this is the only place where it is seen.
        said = f"not delivered to {each.channel} after {count(each.attempts, 'attempt')}"
        print_hanging(f"{said}: {each.title} ({each.error})", 2, fg="red")


def _why_quiet(
    book: AlertBook, conn: sa.Connection, found: tuple[Alert, ...], now: datetime
) -> dict[str, str]:
    """Alerts that fire and are not told: why, by fingerprint."""
    firing = book.alerts(state=AlertState.FIRING, limit=100_000, conn=conn)
    explained = inhibited(firing, conn)
    silences = book.silences(now=now, conn=conn)
    quiet = {mark: f"inhibited by the open circuit of {asset}" for mark, asset in explained.items()}
    for alert in found:
        for silence in silences:
            if alert.state is AlertState.FIRING and silence.mutes(alert.labels, now):
                until = moment(silence.ends_at, now)
                by = f"silence {silence.id} of {silence.actor}"
                quiet[alert.fingerprint] = f"silenced until {until} by {by}: {silence.reason}"
    return quiet


def _print(alert: Alert, now: datetime, quiet: str | None) -> None:
    state = "notice" if alert.notice else alert.state.value
    labels = alert.labels
    place = f"{labels.contract}/{labels.asset}" if labels.asset else labels.contract
    place += f"[{labels.partition}]" if labels.partition else ""
    colour = _COLOURS[alert.severity] if state == "firing" else None
    print_hanging(f"{state} {labels.kind.value} {place}: {alert.summary}", 2, fg=colour)
    said = [f"since {moment(alert.starts_at, now)} ({distance(alert.starts_at, now)})"]
    if alert.ends_at is not None and not alert.notice:
        said = [f"{moment(alert.starts_at, now)} to {moment(alert.ends_at, now)}"]
    if alert.firings > 1:
        said.append(f"fired {alert.firings} times")
    if alert.recipients:
        said.append(f"told {', '.join(alert.recipients)}")
    if alert.acknowledged_by:
        said.append(f"acknowledged by {alert.acknowledged_by}")
    if state == "firing":
        said.append(f"id {alert.fingerprint[:8]}")
    print_hanging(f"  {', '.join(said)}", 4)
    if quiet:
        print_hanging(f"  {quiet}", 4)
    for line in alert.detail.splitlines():
        print_hanging(f"  {line}", 4)
