"""Openings of a circuit: those of a replay, and those that really happened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias

import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey, CircuitState, StateTransition
from dagster_contracts.resilience.circuit_rows import of_key
from dagster_contracts.resilience.oldest import OldestEvent
from dagster_contracts.store.tables import circuit_events


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """From an opening to the closing that ended it; ``until`` is ``None`` where none did.

    It may have begun before the time that is looked at.
    """

    since: datetime
    until: datetime | None
    reason: str
    evaluation_id: str | None
    failed_probes: int = 0
    exhausted: bool = False
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Appended:
    """A transition that really happened, as it was appended to the history."""

    before: CircuitState
    after: CircuitState
    at: datetime
    explanation: str
    evaluation_id: str | None


Change: TypeAlias = StateTransition | Appended


def time_open(openings: Iterable[Opening], since: datetime, until: datetime) -> timedelta:
    """The sum of what the openings lasted between two moments."""
    return sum(((o.until or until) - max(o.since, since) for o in openings), timedelta(0))


def reaching_into(openings: Iterable[Opening], begin: datetime) -> Iterator[Opening]:
    """The openings that were not over by ``begin``."""
    return (o for o in openings if o.until is None or o.until > begin)


def openings_of(changes: Iterable[Change], before: Opening | None = None) -> Iterator[Opening]:
    """The openings among changes of one circuit, oldest first; ``before`` began before them."""
    current = before
    for change in changes:
        if change.before is change.after:
            continue
        if change.before is CircuitState.CLOSED:
            if current is not None:
                yield current
            current = Opening(
                since=change.at,
                until=None,
                reason=change.explanation,
                evaluation_id=change.evaluation_id,
            )
        elif current is not None and current.until is None:
            current = gone_on(current, change)
    if current is not None:
        yield current


def gone_on(opening: Opening, change: Change) -> Opening:
    """An opening after one more change of its circuit."""
    if change.after is CircuitState.CLOSED:
        return replace(opening, until=change.at, ended=change.explanation)
    failed = change.before is CircuitState.HALF_OPEN
    return replace(
        opening,
        failed_probes=opening.failed_probes + failed,
        exhausted=opening.exhausted or change.after is CircuitState.EXHAUSTED,
    )


def recorded_openings(
    conn: sa.Connection,
    key: CircuitKey,
    oldest: OldestEvent | None,
    begin: datetime,
    until: datetime,
) -> tuple[tuple[Opening, ...], datetime | None]:
    """Those that really happened and reach into the time of the replay.

    And since when they are known, where retention has removed some of that time's events.
    """
    before = told = None
    after_version = 0
    if oldest is not None and oldest.is_sum:
        # The line itself is told of by the sum: it may be the opening.
        after_version = oldest.version
        if oldest.circuit.state is not CircuitState.CLOSED:
            before = Opening(
                since=oldest.circuit.opened_at or oldest.at,
                until=None,
                reason=oldest.circuit.reason or "no reason was recorded",
                evaluation_id=oldest.circuit.evaluation_id,
            )
        told = oldest.at if begin < oldest.at < until else None
    openings = openings_of(_appended(conn, key, after_version), before)
    return tuple(reaching_into(openings, begin)), told


def _appended(conn: sa.Connection, key: CircuitKey, after_version: int) -> Iterator[Appended]:
    events = circuit_events.c
    query = (
        sa.select(events.before, events.after, events.at, events.explanation, events.evaluation_id)
        .where(
            of_key(circuit_events, key),
            events.before != events.after,
            events.version > after_version,
        )
        .order_by(events.version)
    )
    for before, after, *rest in conn.execute(query, execution_options={"yield_per": 1000}):
        yield Appended(CircuitState(before), CircuitState(after), *rest)
