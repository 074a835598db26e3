"""Which level of service a consumer reads now, and why not the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from dagster_contracts.core.circuit import Circuit
from dagster_contracts.core.condition import Truth
from dagster_contracts.core.contract import FallbackLevel


class RouteReason(StrEnum):
    """Why a level was chosen."""

    PRIMARY = "primary"
    CIRCUIT_OPEN = "circuit_open"
    ACTIVATION = "activation"
    PROBE = "probe"
    SOURCE_UNAVAILABLE = "source_unavailable"
    EXHAUSTED = "exhausted"
    OVERRIDE = "override"


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelStatus:
    """What is known of a level when a consumer asks.

    ``activation`` is whether any of the level's activation conditions holds; ``age`` how old its
    newest data is, ``None`` where nobody knows.
    """

    level: FallbackLevel
    exists: bool = True
    circuit_open: bool = False
    missing_columns: tuple[str, ...] = ()
    age: timedelta | None = None
    activation: Truth = Truth.FALSE
    unavailable_reason: str | None = None


@dataclass(frozen=True, slots=True)
class CurrentLevel:
    """What a consumer was last served, since when and why; ``min_dwell`` counts from there."""

    name: str
    since: datetime
    reason: RouteReason


@dataclass(frozen=True, slots=True)
class Route:
    """The chosen level, ``None`` where none is usable; ``refused`` says why not, level by level."""

    level: FallbackLevel | None
    reason: RouteReason
    explanation: str
    refused: tuple[tuple[str, str], ...] = ()


def choose_route(
    levels: Sequence[LevelStatus],
    circuit: Circuit,
    *,
    holds_lease: bool,
    now: datetime | None = None,
    current: CurrentLevel | None = None,
) -> Route:
    """Choose the level that serves a consumer. ``levels`` stand in the contract's order."""
    raise NotImplementedError
