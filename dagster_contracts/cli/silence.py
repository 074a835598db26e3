"""``dagster-contracts silence``: alerts that are not told for a while."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta

import click

from dagster_contracts.cli.lazy_group import USAGE
from dagster_contracts.cli.output import format_option, print_json, print_line, print_table
from dagster_contracts.cli.parameters import DURATION, actor_option, reason_option
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_existing, open_for_change
from dagster_contracts.cli.words import count, distance, moment
from dagster_contracts.core.contract import Json
from dagster_contracts.monitoring.alerts import AlertBook, AlertState, Silence


@click.group(
    epilog="""\
\b
Examples:
  dagster-contracts silence add contract=orders kind=circuit.* --for 2h --reason "shop migrates"
  dagster-contracts silence list
  dagster-contracts silence expire 3
"""
)
def silence() -> None:
    """Keep alerts from being told for a while."""


@silence.command()
@click.argument("matchers", nargs=-1, required=True, metavar="LABEL=VALUE...")
@click.option(
    "--for", "length", metavar="DURATION", type=DURATION, required=True, help="How long: 2h, 3d."
)
@reason_option
@actor_option
@format_option()
@pass_places
def add(
    places: Places,
    matchers: tuple[str, ...],
    length: timedelta,
    reason: str,
    actor: str,
    output: str,
) -> None:
    """Silence the alerts that every matcher fits.

    Labels are kind, contract, asset, partition and subject; * stands for anything. What is
    silenced is still listed by `alerts`, and circuits go on as ever.
    """
    wanted = _matchers(matchers)
    with closing(open_for_change(places)) as store:
        with store.read() as conn:
            now = store.now(conn)
        book = AlertBook(store)
        until = now + length
        number = book.silence(wanted, until=until, actor=actor, reason=reason)
        firing = book.alerts(state=AlertState.FIRING, limit=100_000)
        fitting = sum(alert.labels.matches(wanted) for alert in firing)
    if output == "json":
        print_json({"id": number, "matchers": dict(wanted), "until": until.isoformat()})
        return
    print_line(f"silence {number} until {moment(until, now)}: {_shown(wanted)}")
    print_line(
        f"  it keeps {count(fitting, 'alert')} quiet that fires now; "
        f"`silence expire {number}` ends it early"
        if fitting
        else f"  nothing that fires now fits; `silence expire {number}` ends it early"
    )


@silence.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@format_option()
@pass_places
def list_silences(places: Places, everything: bool, output: str) -> None:
    """List the silences that are in force."""
    found: tuple[Silence, ...] = ()
    now: datetime | None = None
    store = open_existing(places)
    if store is not None:
        with closing(store):
            with store.read() as conn:
                now = store.now(conn)
            found = AlertBook(store).silences(now=None if everything else now)
    if output == "json":
        print_json({"silences": [_as_json(each) for each in found]})
        return
    if not found or now is None:
        print_line("no alert is silenced")
        return
    print_table(
        ("id", "matchers", "ends", "by", "reason"),
        [
            (str(each.id), _shown(each.matchers), _end(each, now), each.actor, each.reason)
            for each in found
        ],
    )


@silence.command()
@click.argument("number", type=int, metavar="ID")
@actor_option
@format_option()
@pass_places
def expire(places: Places, number: int, actor: str, output: str) -> None:
    """End a silence early."""
    with closing(open_for_change(places)) as store:
        ended = AlertBook(store).lift(number, actor=actor)
    if not ended:
        click.echo(
            f"error: no silence {number} is in force\n  hint: `silence list` names them", err=True
        )
        raise click.exceptions.Exit(USAGE)
    if output == "json":
        print_json({"id": number, "expired_by": actor})
        return
    print_line(f"silence {number} is over: what still fires is told at the monitor's next tick")


def _matchers(given: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        label, equals, value = text.partition("=")
        if not equals or not label or not value:
            raise click.UsageError(f"{text!r} is no matcher; write it like contract=orders")
        if label in found:
            raise click.UsageError(f"{label} is matched twice; each label may stand once")
        found[label] = value
    return found


def _shown(matchers: Mapping[str, str]) -> str:
    return " ".join(f"{label}={value}" for label, value in matchers.items())


def _end(silence: Silence, now: datetime) -> str:
    if silence.lifted_at is not None:
        return f"ended {moment(silence.lifted_at, now)}"
    return f"{moment(silence.ends_at, now)} ({distance(silence.ends_at, now)})"


def _as_json(silence: Silence) -> dict[str, Json]:
    return {
        "id": silence.id,
        "matchers": dict(silence.matchers),
        "starts_at": silence.starts_at.isoformat(),
        "ends_at": silence.ends_at.isoformat(),
        "actor": silence.actor,
        "reason": silence.reason,
        "expired_at": silence.lifted_at.isoformat() if silence.lifted_at else None,
    }
