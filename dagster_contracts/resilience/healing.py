"""Healing: materialize again, from the primary, exactly what was built on a fallback."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.resilience.ledger import DegradedRead, DegradedReads
from dagster_contracts.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class HealRequest:
    """One run that is wanted. The same ``run_key`` always means the same run."""

    consumer: str
    partition: str | None
    reads: tuple[DegradedRead, ...]
    run_key: str
    attempt: int = 1


def plan_healing(
    reads: Iterable[DegradedRead],
    *,
    closed: Callable[[CircuitKey], bool],
    in_flight: Collection[tuple[str, str | None]] = (),
    order: Sequence[str] = (),
    limit: int = 10,
    attempts: Callable[[str], int] = lambda cause: 0,
    max_attempts: int = 3,
) -> tuple[HealRequest, ...]:
    """Which consumers to materialize now, at most ``limit`` at a time with those in flight.

    A consumer is ready when every circuit that it suffers from is closed, and every degraded asset
    that it inherited from is healed.
    """
    raise NotImplementedError


class Healing:
    """Requests of a store: never twice in flight, resumable, with a cap on attempts."""

    def __init__(self, store: Store, reads: DegradedReads, *, limit: int = 10, max_attempts: int = 3) -> None:
        self._store = store

    def due(self, closed: Callable[[CircuitKey], bool], *, order: Sequence[str] = ()) -> tuple[HealRequest, ...]:
        """Plan, write the requests down, and return them with those that nobody confirmed."""
        raise NotImplementedError

    def started(self, run_key: str, run_id: str) -> None:
        """Dagster has the run."""
        raise NotImplementedError

    def finished(self, run_key: str, *, succeeded: bool) -> None:
        """The run ended; a failed one may be asked for again, up to the cap."""
        raise NotImplementedError

    def given_up(self) -> tuple[HealRequest, ...]:
        """Consumers whose healing failed as often as the cap allows: for a person."""
        raise NotImplementedError
