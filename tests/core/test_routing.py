"""Which level serves, and why not the others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_contracts.core.circuit import Circuit, CircuitKey, CircuitState, Lease, Override
from dagster_contracts.core.condition import Truth
from dagster_contracts.core.contract import FallbackLevel, FallbackSource, SourceKind
from dagster_contracts.core.routing import (
    CurrentLevel,
    LevelStatus,
    Route,
    RouteReason,
    choose_route,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
CLOSED = Circuit(key=CircuitKey("orders", "orders"))
OPEN = replace(
    CLOSED,
    state=CircuitState.OPEN,
    opened_at=NOON,
    reason="schema_validation_errors was 7.0%, which is > 5%",
)
HALF_OPEN = replace(
    OPEN, state=CircuitState.HALF_OPEN, lease=Lease("run 1", NOON + timedelta(hours=1), 2)
)
EXHAUSTED = replace(OPEN, state=CircuitState.EXHAUSTED)


def _primary(**facts: object) -> LevelStatus:
    level = FallbackLevel(name="primary", source=FallbackSource(SourceKind.PRIMARY, "orders"))
    return LevelStatus(level=level, **facts)  # type: ignore[arg-type]


def _fallback(
    name: str,
    *,
    active: Truth = Truth.FALSE,
    only_when_active: bool = False,
    max_age: timedelta | None = None,
    min_dwell: timedelta = timedelta(0),
    **facts: object,
) -> LevelStatus:
    level = FallbackLevel(
        name=name,
        source=FallbackSource(SourceKind.ASSET, name),
        only_when_active=only_when_active,
        max_age=max_age,
        min_dwell=min_dwell,
    )
    return LevelStatus(level=level, activation=active, **facts)  # type: ignore[arg-type]


def _name(route: Route) -> str | None:
    return None if route.level is None else route.level.name


def test_a_closed_circuit_serves_the_primary() -> None:
    route = choose_route([_primary(), _fallback("backup")], CLOSED, holds_lease=False)
    assert (_name(route), route.reason) == ("primary", RouteReason.PRIMARY)
    assert route.explanation == "primary serves: the circuit is closed"
    assert route.refused == (("backup", "not needed: the circuit is closed"),)


@pytest.mark.parametrize("circuit", [OPEN, HALF_OPEN, EXHAUSTED])
def test_while_it_is_not_closed_the_first_usable_fallback_serves(circuit: Circuit) -> None:
    levels = [_primary(), _fallback("backup"), _fallback("cache")]
    route = choose_route(levels, circuit, holds_lease=False)
    assert (_name(route), route.reason) == ("backup", RouteReason.CIRCUIT_OPEN)
    assert "since 2026-03-02 12:00:00 UTC: schema_validation_errors" in route.explanation
    refused = dict(route.refused)
    assert "schema_validation_errors was 7.0%" in refused["primary"]
    assert refused["cache"] == "backup comes first"


def test_levels_whose_conditions_hold_come_first_and_the_others_still_serve() -> None:
    levels = [
        _primary(),
        _fallback("a"),
        _fallback("b", active=Truth.TRUE),
        _fallback("c", active=Truth.UNKNOWN),
        _fallback("d", active=Truth.TRUE),
    ]
    order = []
    while True:
        route = choose_route(levels, OPEN, holds_lease=False)
        if route.level is None:
            break
        order.append(route.level.name)
        levels = [s for s in levels if s.level.name != route.level.name]
    assert order == ["b", "d", "a", "c"]


@pytest.mark.parametrize(
    ("active", "serves", "why"),
    [
        (Truth.TRUE, "b", ""),
        (Truth.FALSE, None, "and they do not"),
        (Truth.UNKNOWN, None, "and they are not known"),
    ],
)
def test_only_when_active_is_binding(active: Truth, serves: str | None, why: str) -> None:
    levels = [_primary(), _fallback("b", active=active, only_when_active=True)]
    route = choose_route(levels, OPEN, holds_lease=False)
    assert _name(route) == serves
    assert why in dict(route.refused).get("b", "")


def test_a_closed_circuit_is_degraded_by_a_level_whose_conditions_hold() -> None:
    levels = [_primary(), _fallback("a"), _fallback("b", active=Truth.TRUE)]
    route = choose_route(levels, CLOSED, holds_lease=False)
    assert (_name(route), route.reason) == ("b", RouteReason.ACTIVATION)
    assert dict(route.refused) == {
        "primary": "b: its activation conditions hold",
        "a": "b comes first",
    }


def test_a_level_that_cannot_serve_does_not_degrade() -> None:
    levels = [_primary(), _fallback("b", active=Truth.TRUE, exists=False)]
    route = choose_route(levels, CLOSED, holds_lease=False)
    assert (_name(route), route.reason) == ("primary", RouteReason.PRIMARY)
    assert route.refused == (("b", "its source does not exist"),)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (_fallback("b", exists=False), "its source does not exist"),
        (_fallback("b", circuit_open=True), "its own circuit is open"),
        (
            _fallback("b", missing_columns=("price", "vat")),
            "it lacks columns that this consumer needs: price, vat",
        ),
        (
            _fallback("b", max_age=timedelta(hours=1), age=timedelta(hours=2)),
            "it is 2h old, and may be at most 1h",
        ),
        (
            _fallback("b", max_age=timedelta(seconds=10), age=timedelta(seconds=16.245)),
            "it is 16.2s old, and may be at most 10s",
        ),
        (
            _fallback("b", max_age=timedelta(hours=1)),
            "its age is not known, and it may be at most 1h",
        ),
        (_fallback("b", unavailable_reason="connection refused"), "connection refused"),
    ],
)
def test_what_makes_a_level_unusable_is_said(status: LevelStatus, why: str) -> None:
    route = choose_route([_primary(), status, _fallback("c")], OPEN, holds_lease=False)
    assert _name(route) == "c"
    assert why in dict(route.refused)["b"]


def test_an_age_at_the_limit_and_one_without_limit_are_usable() -> None:
    hour = timedelta(hours=1)
    for status in (_fallback("b", max_age=hour, age=hour), _fallback("b", age=99 * hour)):
        assert _name(choose_route([_primary(), status], OPEN, holds_lease=False)) == "b"


def test_no_usable_level_is_said_with_the_reason_of_each() -> None:
    levels = [_primary(), _fallback("a", exists=False), _fallback("b", circuit_open=True)]
    route = choose_route(levels, OPEN, holds_lease=False)
    assert (route.level, route.reason) == (None, RouteReason.EXHAUSTED)
    assert [name for name, _ in route.refused] == ["primary", "a", "b"]
    assert "no level is usable: the circuit is open since" in route.explanation


def test_a_primary_that_cannot_be_read_counts_as_unavailable() -> None:
    levels = [_primary(unavailable_reason="file not found"), _fallback("a")]
    route = choose_route(levels, CLOSED, holds_lease=False)
    assert (_name(route), route.reason) == ("a", RouteReason.SOURCE_UNAVAILABLE)
    assert route.explanation == "a serves: primary cannot be read: file not found"
    assert route.refused == (("primary", "file not found"),)


def test_the_holder_of_the_lease_reads_the_primary_even_where_a_level_is_active() -> None:
    levels = [_primary(), _fallback("a", active=Truth.TRUE)]
    route = choose_route(levels, HALF_OPEN, holds_lease=True)
    assert (_name(route), route.reason) == ("primary", RouteReason.PROBE)
    assert _name(choose_route(levels, HALF_OPEN, holds_lease=False)) == "a"


@pytest.mark.parametrize("circuit", [OPEN, EXHAUSTED])
def test_a_lease_is_worth_nothing_but_in_a_half_open_circuit(circuit: Circuit) -> None:
    levels = [_primary(), _fallback("a")]
    assert _name(choose_route(levels, circuit, holds_lease=True)) == "a"


def _forced(circuit: Circuit, override: Override) -> Circuit:
    return replace(circuit, override=override, override_actor="ann", override_reason="known bug")


@pytest.mark.parametrize("circuit", [CLOSED, OPEN, HALF_OPEN, EXHAUSTED])
@pytest.mark.parametrize(
    ("override", "serves"),
    [
        (Override.FORCED_OPEN, "a"),
        (Override.FORCED_CLOSED, "primary"),
        (Override.METRICS_ONLY, "primary"),
    ],
)
def test_an_operator_decides(circuit: Circuit, override: Override, serves: str) -> None:
    levels = [_primary(), _fallback("a", active=Truth.TRUE)]
    for holds_lease in (False, True):
        route = choose_route(levels, _forced(circuit, override), holds_lease=holds_lease)
        assert (_name(route), route.reason) == (serves, RouteReason.OVERRIDE)
        assert "by ann: known bug" in route.explanation


def test_a_contract_that_only_watches_degrades_nobody() -> None:
    levels = [_primary(), _fallback("a", active=Truth.TRUE)]
    for circuit in (CLOSED, OPEN):
        route = choose_route(levels, replace(circuit, metrics_only=True), holds_lease=False)
        assert (_name(route), route.reason) == ("primary", RouteReason.PRIMARY)


def test_without_a_primary_among_the_levels_the_fallbacks_serve() -> None:
    route = choose_route([_fallback("a")], CLOSED, holds_lease=False)
    assert (_name(route), route.reason) == ("a", RouteReason.SOURCE_UNAVAILABLE)


def _on(name: str, minutes: int, reason: RouteReason) -> CurrentLevel:
    return CurrentLevel(name, NOON - timedelta(minutes=minutes), reason)


@pytest.mark.parametrize(("minutes", "serves"), [(0, "b"), (29, "b"), (30, "a"), (60, "a")])
def test_a_consumer_stays_on_its_fallback_for_min_dwell(minutes: int, serves: str) -> None:
    levels = [
        _primary(),
        _fallback("a", active=Truth.TRUE),
        _fallback("b", min_dwell=timedelta(minutes=30)),
    ]
    current = _on("b", minutes, RouteReason.CIRCUIT_OPEN)
    route = choose_route(levels, OPEN, holds_lease=False, now=NOON, current=current)
    assert _name(route) == serves


def test_dwelling_never_outlasts_the_opening_nor_the_usability_of_the_level() -> None:
    dwell = timedelta(minutes=30)
    levels = [_primary(), _fallback("b", min_dwell=dwell)]
    current = _on("b", 1, RouteReason.CIRCUIT_OPEN)
    route = choose_route(levels, CLOSED, holds_lease=False, now=NOON, current=current)
    assert _name(route) == "primary"
    levels = [_primary(), _fallback("b", min_dwell=dwell, exists=False), _fallback("c")]
    route = choose_route(levels, OPEN, holds_lease=False, now=NOON, current=current)
    assert _name(route) == "c"


def test_a_degraded_consumer_dwells_while_the_circuit_is_closed() -> None:
    levels = [_primary(), _fallback("b", min_dwell=timedelta(minutes=30))]
    current = _on("b", 10, RouteReason.ACTIVATION)
    route = choose_route(levels, CLOSED, holds_lease=False, now=NOON, current=current)
    assert (_name(route), route.reason) == ("b", RouteReason.ACTIVATION)
    assert "at least 0:30:00" in route.explanation


# -- what holds for every combination --

_statuses = st.builds(
    _fallback,
    st.just("x"),
    active=st.sampled_from(Truth),
    only_when_active=st.booleans(),
    max_age=st.sampled_from([None, timedelta(hours=1)]),
    exists=st.booleans(),
    circuit_open=st.booleans(),
    missing_columns=st.sampled_from([(), ("price",)]),
    age=st.sampled_from([None, timedelta(minutes=5), timedelta(hours=5)]),
    unavailable_reason=st.sampled_from([None, "time-out"]),
)
_circuits = st.builds(
    lambda circuit, override, watching: replace(_forced(circuit, override), metrics_only=watching),
    st.sampled_from([CLOSED, OPEN, HALF_OPEN, EXHAUSTED]),
    st.sampled_from(Override),
    st.booleans(),
)


@given(
    st.lists(_statuses, max_size=4),
    st.sampled_from([None, "time-out"]),
    _circuits,
    st.booleans(),
)
def test_nobody_gets_what_the_circuit_forbids_and_every_refusal_has_its_reason(
    fallbacks: list[LevelStatus], broken: str | None, circuit: Circuit, holds_lease: bool
) -> None:
    named = [
        replace(status, level=replace(status.level, name=f"level {number}"))
        for number, status in enumerate(fallbacks)
    ]
    levels = [_primary(unavailable_reason=broken), *named]
    route = choose_route(levels, circuit, holds_lease=holds_lease)
    served = next((s for s in levels if s.level is route.level), None)
    assert [name for name, _ in route.refused] == [
        status.level.name for status in levels if status is not served
    ]
    assert all(why for _, why in route.refused)
    assert (route.level is None) == (route.reason is RouteReason.EXHAUSTED)
    if served is None:
        return
    assert served.unavailable_reason is None
    if served is levels[0]:
        probing = holds_lease and circuit.state is CircuitState.HALF_OPEN
        assert circuit.effective_state is CircuitState.CLOSED or probing
    else:
        assert served.exists
        assert not served.circuit_open
        assert not served.missing_columns
        active = served.activation is Truth.TRUE
        assert active or not served.level.only_when_active
        closed_and_readable = circuit.effective_state is CircuitState.CLOSED and broken is None
        assert active or not closed_and_readable
