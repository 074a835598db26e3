"""Which level of service a consumer reads now, and why not the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from dagster_contracts.core.circuit import Circuit, CircuitState, Override
from dagster_contracts.core.condition import Observation, Truth, truth_of
from dagster_contracts.core.contract import FallbackLevel, SourceKind
from dagster_contracts.core.quantity import Dimension, format_quantity
from dagster_contracts.core.service_levels import seconds

_ACTIVE: Final = "its activation conditions hold"
_DWELLS: Final = "it serves for at least"


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


def activation_of(level: FallbackLevel, window: Sequence[Observation]) -> Truth:
    """Whether any of the level's activation conditions holds over what was last observed."""
    truths = [truth_of(condition, window) for condition in level.activation_conditions]
    if Truth.TRUE in truths:
        return Truth.TRUE
    return Truth.UNKNOWN if Truth.UNKNOWN in truths else Truth.FALSE


def was_degraded_by_activation(level: str, explanation: str) -> bool:
    """Whether a route of this explanation degraded a closed circuit.

    The ledger keeps the words of a route and not its reason: an opening, an override and a primary
    that could not be read are told from it, because with them the reason to dwell ends.
    """
    return explanation.startswith((f"{level} serves: {_ACTIVE}", f"{level} serves: {_DWELLS}"))


def was_unreadable(primary: str, level: str, explanation: str) -> bool:
    """Whether a route of this explanation left a closed circuit's primary, which cannot be read.

    Like :func:`was_degraded_by_activation` it is told from the words that the ledger keeps.
    """
    return explanation.startswith(f"{level} serves: {_unreadable(primary)}")


def _unreadable(primary: str) -> str:
    return f"{primary} cannot be read: "


def choose_route(
    levels: Sequence[LevelStatus],
    circuit: Circuit,
    *,
    holds_lease: bool,
    now: datetime | None = None,
    current: CurrentLevel | None = None,
) -> Route:
    """Choose the level that serves a consumer; ``levels`` stand in the contract's order.

    1. The primary may be read while the circuit is closed, and by the holder of the probe lease.
       A usable fallback whose activation conditions hold still comes before it (it degrades a
       closed circuit), but not for a probe, nor where an operator vouches for the primary
       (``forced_closed``) or only watches (metrics only).
    2. Otherwise, or when the primary cannot be read, the usable fallbacks whose activation
       conditions hold come first, in their order, then the others in theirs.
       ``only_when_active`` makes the conditions binding.
    3. None: the contract's ``on_exhausted`` decides what becomes of the consumer.

    Given ``now`` and ``current``, ``min_dwell`` keeps a consumer on its fallback for at least so
    long: while the circuit is open, or while closed when it was degraded by activation. It never
    outlasts the opening that it comes from, so that a closed circuit can heal.
    """
    probing = holds_lease and circuit.state is CircuitState.HALF_OPEN and not circuit.frozen
    closed = circuit.effective_state is CircuitState.CLOSED
    vouched = circuit.frozen and circuit.override is not Override.FORCED_OPEN
    why_not = {status.level.name: why for status in levels if (why := _obstacle(status))}
    primary = next((status for status in levels if _is_primary(status)), None)
    usable = [s for s in levels if not _is_primary(s) and s.level.name not in why_not]
    active = [status for status in usable if status.activation is Truth.TRUE]

    if closed and not vouched:
        kept = _dwelling(usable, now, current, (RouteReason.ACTIVATION,))
        degraded = kept or next(iter(active), None)
        if degraded is not None:
            text = _ACTIVE
            if kept is not None and kept.activation is not Truth.TRUE:
                text = f"{_DWELLS} {kept.level.min_dwell}"
            why_not |= {s.level.name: _why_after(degraded) for s in usable if s is not degraded}
            if primary is not None:
                why_not.setdefault(primary.level.name, f"{degraded.level.name}: {text}")
            return _route(levels, degraded, RouteReason.ACTIVATION, text, why_not)

    if primary is not None and (closed or probing) and primary.level.name not in why_not:
        reason, text = _why_primary(circuit, probing=probing)
        why_not |= {status.level.name: f"not needed: {text}" for status in usable}
        return _route(levels, primary, reason, text, why_not)

    reason, text = _why_fallback(
        circuit, primary, why_not.get(primary.level.name if primary else "")
    )
    if primary is not None:
        why_not.setdefault(primary.level.name, text)
    for status in usable:
        if status.level.only_when_active and status not in active:
            why_not[status.level.name] = (
                "serves only while its activation conditions hold, and they are not known"
                if status.activation is Truth.UNKNOWN
                else "serves only while its activation conditions hold, and they do not"
            )
    others = [s for s in usable if s not in active and s.level.name not in why_not]
    candidates = active + others
    chosen = _dwelling(candidates, now, current, tuple(RouteReason)) or next(iter(candidates), None)
    if chosen is None:
        return Route(
            None,
            RouteReason.EXHAUSTED,
            f"no level is usable: {text}",
            _refused(levels, None, why_not),
        )
    why_not |= {s.level.name: _why_after(chosen) for s in candidates if s is not chosen}
    return _route(levels, chosen, reason, text, why_not)


def _is_primary(status: LevelStatus) -> bool:
    return status.level.source.kind is SourceKind.PRIMARY


def _obstacle(status: LevelStatus) -> str | None:
    """Why a level cannot serve whatever the circuit says; ``None`` where it can."""
    if status.unavailable_reason is not None:
        return status.unavailable_reason
    if not status.exists:
        return "its source does not exist"
    if _is_primary(status):
        # The primary's own circuit and schema are what the contract's checks are about.
        return None
    if status.circuit_open:
        return "its own circuit is open"
    if status.missing_columns:
        return f"it lacks columns that this consumer needs: {', '.join(status.missing_columns)}"
    limit = status.level.max_age
    if limit is not None and status.age is None:
        return f"its age is not known, and it may be at most {_length(limit)} old"
    if limit is not None and status.age is not None and status.age > limit:
        age = _length(status.age, apart_from=limit)
        return f"it is {age} old, and may be at most {_length(limit)}"
    return None


def _length(span: timedelta, *, apart_from: timedelta | None = None) -> str:
    other = None if apart_from is None else seconds(apart_from)
    return format_quantity(seconds(span), Dimension.DURATION, apart_from=other)


def _dwelling(
    candidates: Sequence[LevelStatus],
    now: datetime | None,
    current: CurrentLevel | None,
    reasons: tuple[RouteReason, ...],
) -> LevelStatus | None:
    """The candidate on which the consumer must stay, if any."""
    if now is None or current is None or current.reason not in reasons:
        return None
    for status in candidates:
        if status.level.name == current.name and now - current.since < status.level.min_dwell:
            return status
    return None


def _why_primary(circuit: Circuit, *, probing: bool) -> tuple[RouteReason, str]:
    if probing:
        return RouteReason.PROBE, "this run is the probe of the half-open circuit"
    if circuit.override is not Override.NONE:
        return RouteReason.OVERRIDE, _by_operator(circuit)
    if circuit.metrics_only and circuit.state is not CircuitState.CLOSED:
        return RouteReason.PRIMARY, "the contract's mode is metrics_only"
    return RouteReason.PRIMARY, "the circuit is closed"


def _why_fallback(
    circuit: Circuit, primary: LevelStatus | None, obstacle: str | None
) -> tuple[RouteReason, str]:
    if circuit.override is Override.FORCED_OPEN:
        return RouteReason.OVERRIDE, _by_operator(circuit)
    if circuit.effective_state is not CircuitState.CLOSED:
        state = circuit.state.replace("_", "-")
        opened = circuit.opened_at
        # Of a half-open circuit that is when it opened, and not when it began to be probed.
        known = "" if circuit.state is CircuitState.OPEN else ", not closed"
        since = "" if opened is None else f"{known} since {opened:%Y-%m-%d %H:%M:%S} UTC"
        because = "" if circuit.reason is None else f": {circuit.reason}"
        return RouteReason.CIRCUIT_OPEN, f"the circuit is {state}{since}{because}"
    name = "the primary" if primary is None else primary.level.name
    return RouteReason.SOURCE_UNAVAILABLE, f"{_unreadable(name)}{obstacle or 'there is none'}"


def _by_operator(circuit: Circuit) -> str:
    override = circuit.override.replace("_", " ")
    ends = circuit.override_until
    until = "" if ends is None else f" until {ends:%Y-%m-%d %H:%M:%S} UTC"
    return f"{override} by {circuit.override_actor}{until}: {circuit.override_reason}"


def _why_after(chosen: LevelStatus) -> str:
    return f"{chosen.level.name} comes first"


def _route(
    levels: Sequence[LevelStatus],
    chosen: LevelStatus,
    reason: RouteReason,
    text: str,
    why_not: dict[str, str],
) -> Route:
    explanation = f"{chosen.level.name} serves: {text}"
    return Route(chosen.level, reason, explanation, _refused(levels, chosen, why_not))


def _refused(
    levels: Sequence[LevelStatus], chosen: LevelStatus | None, why_not: dict[str, str]
) -> tuple[tuple[str, str], ...]:
    return tuple(
        (s.level.name, why_not.get(s.level.name, "a contract has one primary"))
        for s in levels
        if s is not chosen
    )
