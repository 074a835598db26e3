"""``dagster-contracts history``: what happened to a contract's circuits, with the explanations."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

import click

from dagster_contracts.cli.circuit_story import Standing, coming, ended, headline, unhealed
from dagster_contracts.cli.declared import check_known, known_name
from dagster_contracts.cli.output import format_option, print_hanging, print_json, print_line
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_existing, shown_url
from dagster_contracts.cli.words import duration
from dagster_contracts.core.circuit import Circuit, CircuitKey, CircuitState, Override
from dagster_contracts.core.circuit.present import standing_at
from dagster_contracts.core.contract import Json
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.history import HistoryEntry
from dagster_contracts.resilience.ledger import DegradedRead, DegradedReads
from dagster_contracts.resilience.oldest import oldest_events

_COLOURS = {
    CircuitState.CLOSED: "green",
    CircuitState.OPEN: "red",
    CircuitState.HALF_OPEN: "yellow",
    CircuitState.EXHAUSTED: "red",
}

# What the circuit took in and what binds it to a version: kept for replaying, dull to read.
_QUIET = ("recorded", "ticked", "policy_changed", "policy_bound", "duplicate")


@click.command(
    epilog="""\
\b
Examples:
  dagster-contracts history orders
  dagster-contracts history orders --limit 5 --all
"""
)
@click.argument("contract")
@click.option("--asset", help="Only the circuit on this asset.")
@click.option("--partition", help="Only the circuit of this partition.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Newest N.")
@click.option("--all", "everything", is_flag=True, help="Also what changed no state.")
@format_option()
@pass_places
def history(
    places: Places,
    contract: str,
    asset: str | None,
    partition: str | None,
    limit: int,
    everything: bool,
    output: str,
) -> None:
    """Tell what happened to a contract's circuits, oldest first.

    Transitions and what people decided; with --all every evaluation and tick that was recorded.
    """
    name = known_name(places, contract)
    store = open_existing(places)
    entries: list[HistoryEntry] = []
    circuits: list[Circuit] = []
    waiting: list[DegradedRead] = []
    now: datetime | None = None
    cut: dict[CircuitKey, datetime] = {}
    more = False
    if store is not None:
        with closing(store):
            breaker = CircuitBreaker(store)
            circuits = [
                each
                for each in breaker.circuits_of([name], as_written=True)
                if asset in (None, each.key.asset) and partition in (None, each.key.partition)
            ]
            entries, more = _entries(breaker, circuits, limit, everything)
            ledger = DegradedReads(store)
            waiting = [read for each in circuits for read in ledger.unhealed(each.key)]
            with store.read() as conn:
                now = store.now(conn)
                oldest = oldest_events(conn, name)
                told = {each.key for each in circuits}
                cut = {k: o.at for k, o in oldest.items() if o.is_sum and k in told}
    if not entries:
        check_known(places, name)
    if output == "json":
        print_json(
            {
                "contract": name,
                "events": [_entry_json(entry) for entry in entries],
                "older_left_out": more,
                "removed_before": [_cut_json(key, at) for key, at in sorted(cut.items())],
                "not_healed": _waiting_json(waiting),
            }
        )
        return
    if not entries:
        print_line(f"nothing happened to {name} yet")
        print_line(f"  looked for it at {shown_url(places)}")
    for key, at in sorted(cut.items()):
        circuit = f"{key}: " if len(circuits) > 1 else ""
        print_hanging(
            f"{circuit}retention removed what happened before {at:%Y-%m-%d %H:%M:%S} UTC", 4
        )
    if more:
        print_line(f"older lines are left out; --limit tells more than {limit}")
    _print(entries, circuits, waiting, now)


def _print(
    entries: list[HistoryEntry],
    circuits: list[Circuit],
    waiting: list[DegradedRead],
    now: datetime | None,
) -> None:
    """Each line, how long each opening lasted, and how the circuits stand now."""
    several = len({entry.key for entry in entries}) > 1
    opened: dict[CircuitKey, datetime] = {}
    for entry in entries:
        circuit = f"{entry.key} " if several else ""
        colour = _COLOURS[entry.after] if entry.is_transition else None
        lasted = ""
        if entry.is_transition and entry.before is CircuitState.CLOSED:
            opened[entry.key] = entry.at
        elif entry.is_transition and entry.after is CircuitState.CLOSED and entry.key in opened:
            lasted = f" (was not closed for {duration(entry.at - opened.pop(entry.key))})"
        print_hanging(f"{circuit}{entry.sentence()}{lasted}", 4, fg=colour)
    if now is None:
        return
    for each in circuits:
        current = standing_at(each, now)
        if current.override is not each.override:
            print_hanging(f"now {each.key}: {ended(each, now)}", 4, bold=True)
        if current.state is CircuitState.CLOSED and current.override is Override.NONE:
            continue
        standing = Standing(circuit=current, evaluation=None, reads=())
        come = coming(current, now) if current.state is not CircuitState.CLOSED else ""
        said = f"{headline(standing, now)}{f'; {come}' if come else ''}"
        print_hanging(f"now {said}", 4, bold=True)
    for name, read in {each.consumer_text: each for each in waiting}.items():
        print_hanging(f"now {name}: {unhealed(read, now)}", 4, bold=True)


def _entries(
    breaker: CircuitBreaker, circuits: list[Circuit], limit: int, everything: bool
) -> tuple[list[HistoryEntry], bool]:
    """The newest lines, oldest first, and whether older ones were left out."""
    found: list[HistoryEntry] = []
    more = False
    for circuit in circuits:
        key = circuit.key
        # What was only recorded is many times more than what is told of.
        asked = limit + 1 if everything else max(limit * 20, 1000)
        read = breaker.history(key, asked)
        more = more or len(read) == asked
        found.extend(e for e in read if everything or _worth_telling(e))
    ordered = sorted(found, key=lambda entry: (entry.at, entry.key, entry.version))
    return ordered[-limit:], more or len(ordered) > limit


def _worth_telling(entry: HistoryEntry) -> bool:
    if entry.kind == "placed" and not entry.explanation:
        return False  # Where a partition begins, which is nothing that happened.
    return entry.is_transition or entry.actor is not None or entry.kind not in _QUIET


def _cut_json(key: CircuitKey, at: datetime) -> Json:
    return {"asset": key.asset, "partition": key.partition, "at": at.isoformat()}


def _waiting_json(waiting: list[DegradedRead]) -> list[Json]:
    return [
        {
            "consumer": read.consumer,
            "consumer_partition": read.consumer_partition,
            "since": read.unhealed_since.isoformat() if read.unhealed_since else None,
            "because": read.unhealed_because,
        }
        for read in waiting
    ]


def _entry_json(entry: HistoryEntry) -> dict[str, Json]:
    return {
        "contract": entry.key.contract,
        "asset": entry.key.asset,
        "partition": entry.key.partition,
        "at": entry.at.isoformat(),
        "kind": entry.kind,
        "before": entry.before.value,
        "after": entry.after.value,
        "generation": entry.generation,
        "cause": entry.cause,
        "explanation": entry.explanation,
        "evaluation_id": entry.evaluation_id,
        "run_id": entry.run_id,
        "actor": entry.actor,
    }
