"""What operators decided while it was recorded: resets are replayed, overrides are only named.

Who resets has looked and vouches for the data, which no evaluation says. An override hides what the
rules would have done, and that is what a backtest is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    CircuitKey,
    NoteKind,
    Override,
    Reset,
    TransitionCause,
)
from dagster_contracts.store.tables import circuit_events

_ENDS = (NoteKind.OVERRIDE_LIFTED, NoteKind.OVERRIDE_EXPIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An override that stood and is not replayed; ``until`` is ``None`` where it still stands."""

    key: CircuitKey
    since: datetime
    until: datetime | None
    said: str


class Decisions:
    """The resets and overrides of a contract's circuits, as the events that are kept tell them."""

    def __init__(self, conn: sa.Connection, contract: str, asset: str | None) -> None:
        self._resets: dict[CircuitKey, dict[datetime, Reset]] = {}
        self._overrides: list[LeftOut] = []
        events = circuit_events.c
        query = (
            sa.select(
                events.asset,
                events.partition,
                events.kind,
                events.cause,
                events.at,
                events.actor,
                events.explanation,
                events.changes,
            )
            .where(
                events.contract == contract,
                sa.true() if asset is None else events.asset == asset,
                sa.or_(
                    events.cause == TransitionCause.RESET.value,
                    # All that a person does to a closed circuit without an override.
                    sa.and_(events.kind == NoteKind.RECORDED.value, events.actor.is_not(None)),
                    events.kind.in_([NoteKind.OVERRIDE_SET.value, *(one.value for one in _ENDS)]),
                ),
            )
            .order_by(events.asset, events.partition, events.version)
        )
        standing: dict[CircuitKey, LeftOut] = {}
        for row in conn.execute(query):
            key = CircuitKey(contract, row.asset, row.partition or None)
            if row.kind == NoteKind.OVERRIDE_SET.value or row.kind in _ENDS:
                before = standing.pop(key, None)
                if before is not None:
                    self._overrides.append(replace(before, until=row.at))
                # What a partition obeys stands in the history of the whole asset.
                inherited = row.changes.get("set", {}).get("inherited") is True
                if row.kind == NoteKind.OVERRIDE_SET.value and not inherited:
                    said = _spelled(row.explanation)
                    standing[key] = LeftOut(key=key, since=row.at, until=None, said=said)
                continue
            reason = row.explanation.removeprefix(f"reset by {row.actor}: ")
            reset = Reset(actor=row.actor or "", reason=reason.removesuffix(" (already closed)"))
            self._resets.setdefault(key, {})[row.at] = reset
        self._overrides.extend(standing.values())

    def resets(self, key: CircuitKey) -> list[tuple[datetime, Reset]]:
        """Those of a circuit, oldest first; one of the whole asset is one of each partition."""
        whole = self._resets.get(CircuitKey(key.contract, key.asset), {})
        return sorted(({**whole, **self._resets.get(key, {})}).items(), key=lambda reset: reset[0])

    def left_out(self, since: datetime, until: datetime) -> tuple[LeftOut, ...]:
        """The overrides that stood in a time, oldest first."""
        stood = (o for o in self._overrides if o.since < until and since < (o.until or until))
        return tuple(sorted(stood, key=lambda one: (one.since, one.key)))


def _spelled(said: str) -> str:
    for override in Override:
        said = said.replace(override.value, override.value.replace("_", " "))
    return said
