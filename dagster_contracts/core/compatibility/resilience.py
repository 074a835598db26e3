"""What changed in the protection of consumers: the breaker and its fallbacks."""

from __future__ import annotations

from dagster_contracts.core.changes import Motion
from dagster_contracts.core.compatibility.acceptance import Direction
from dagster_contracts.core.compatibility.differences import (
    BREAKS,
    FINE,
    MAJOR,
    MINOR,
    WARNS,
    ChangeList,
    motion_of,
    show,
)
from dagster_contracts.core.compatibility.implication import compare_triggers
from dagster_contracts.core.condition import Condition, render
from dagster_contracts.core.contract import (
    CircuitMode,
    Contract,
    FallbackLevel,
    HealMode,
    OnExhausted,
    OnUnknown,
    Resilience,
)


def diff_resilience(changes: ChangeList, old: Contract, new: Contract) -> None:
    """Add the changes between two resilience sections."""
    before, after = old.resilience, new.resilience
    if before == after:
        return
    path = "resilience"
    if before is None:
        changes.add(
            path,
            "resilience",
            Motion.ADDED,
            "a circuit breaker now protects consumers: a batch that breaks its conditions will not "
            "reach them",
            producer=WARNS,
            bump=MINOR,
        )
        return
    if after is None:
        had = bool(before.fallbacks)
        tail = "an outage now fails them" if had else "bad data now reaches them"
        changes.add(
            path,
            "resilience",
            Motion.REMOVED,
            f"the circuit breaker{' and its fallbacks are' if had else ' is'} gone: {tail}",
            consumer=BREAKS if had else WARNS,
            bump=MAJOR if had else MINOR,
        )
        return
    _circuit(changes, before, after)
    _recovery(changes, before, after)
    _levels(changes, before, after)
    order = [OnExhausted.SKIP, OnExhausted.FAIL]
    _ranked(
        changes,
        f"{path}.on_exhausted",
        order.index(after.on_exhausted) - order.index(before.on_exhausted),
        f"without a usable level consumers are {_exhausted(after)} instead of {_exhausted(before)}",
    )
    modes = [HealMode.OFF, HealMode.NOTIFY, HealMode.RUN]
    _ranked(
        changes,
        f"{path}.heal",
        modes.index(after.heal) - modes.index(before.heal),
        f"after a recovery, healing was {before.heal}, now it is {after.heal}",
    )


def _exhausted(resilience: Resilience) -> str:
    return "skipped" if resilience.on_exhausted is OnExhausted.SKIP else "failed"


def _protection(changes: ChangeList, path: str, way: Direction, what: str) -> None:
    """Protection that grew, shrank or became another one."""
    match way:
        case Direction.SAME:
            return
        case Direction.TIGHTENED:
            changes.add(
                path,
                "protection",
                Motion.TIGHTENED,
                f"{what}: consumers are better protected",
                bump=MINOR,
            )
        case Direction.LOOSENED:
            changes.add(
                path,
                "protection",
                Motion.LOOSENED,
                f"{what}: consumers are less protected",
                consumer=WARNS,
                bump=MINOR,
            )
        case Direction.CHANGED:
            changes.add(
                path,
                "protection",
                Motion.CHANGED,
                f"{what}: consumers are protected otherwise than before",
                consumer=WARNS,
                bump=MINOR,
            )


def _ranked(changes: ChangeList, path: str, rank: int, what: str) -> None:
    if rank:
        _protection(changes, path, Direction.TIGHTENED if rank > 0 else Direction.LOOSENED, what)


def _any_of(conditions: tuple[Condition, ...]) -> str:
    return " or ".join(render(condition) for condition in conditions) or "never"


def _circuit(changes: ChangeList, before: Resilience, after: Resilience) -> None:
    path = "resilience.circuit_breaker"
    old, new = before.circuit, after.circuit
    way = compare_triggers(old.open_when, new.open_when)
    _protection(
        changes,
        f"{path}.open_when",
        way,
        f"the circuit opened when {_any_of(old.open_when)}, now when {_any_of(new.open_when)}",
    )
    if way is Direction.SAME and old.open_when != new.open_when:
        changes.add(
            f"{path}.open_when", "spelling", Motion.CHANGED, "the conditions are spelled otherwise"
        )
    if old.close_when != new.close_when:
        closing = Direction.CHANGED
        if frozenset(old.close_when) < frozenset(new.close_when):
            closing = Direction.TIGHTENED
        elif frozenset(new.close_when) < frozenset(old.close_when):
            closing = Direction.LOOSENED
        elif frozenset(new.close_when) == frozenset(old.close_when):
            closing = Direction.SAME
            changes.add(
                f"{path}.close_when",
                "order",
                Motion.CHANGED,
                "the conditions stand in another order",
            )
        _protection(
            changes, f"{path}.close_when", closing, "what a circuit needs to close again changed"
        )
    for name, what in (
        ("window", "the circuit looks at a window of"),
        ("min_observations", "the circuit opens only after so many observations:"),
    ):
        left, right = getattr(old, name), getattr(new, name)
        _ranked(changes, f"{path}.{name}", left - right, f"{what} {right} instead of {left}")
    if old.mode is not new.mode:
        off = new.mode is CircuitMode.METRICS_ONLY
        gone = off and bool(before.fallbacks)
        changes.add(
            f"{path}.mode",
            "mode",
            Motion.LOOSENED if off else Motion.TIGHTENED,
            "the circuit only records now and protects nobody"
            if off
            else "the circuit protects consumers now",
            consumer=BREAKS if gone else WARNS if off else FINE,
            bump=MAJOR if gone else MINOR,
        )
    unknown = [OnUnknown.KEEP, OnUnknown.OPEN]
    _ranked(
        changes,
        f"{path}.on_unknown",
        unknown.index(new.on_unknown) - unknown.index(old.on_unknown),
        f"where a metric is unknown the circuit was to {old.on_unknown}, now to {new.on_unknown}",
    )
    changes.ask(f"{path}.scope", "scope", old.scope, new.scope, "what one circuit covers")
    for name in ("flapping_openings", "flapping_window"):
        left, right = getattr(old, name), getattr(new, name)
        changes.note(f"{path}.{name}", "setting", left, right, f"{name} of the circuit")


def _recovery(changes: ChangeList, before: Resilience, after: Resilience) -> None:
    path = "resilience.circuit_breaker.recovery"
    old, new = before.circuit.recovery, after.circuit.recovery
    _ranked(
        changes,
        f"{path}.probes",
        new.probes - old.probes,
        f"a circuit closes after {new.probes} good probes instead of {old.probes}",
    )
    for name in (
        "retry_after",
        "max_retries",
        "backoff",
        "max_wait",
        "jitter",
        "probe_timeout",
        "probe",
    ):
        left, right = getattr(old, name), getattr(new, name)
        if left != right:
            changes.add(
                f"{path}.{name}",
                "setting",
                Motion.CHANGED,
                f"an open circuit is tried otherwise: {name} from {show(left)} to {show(right)}",
                bump=MINOR,
            )


def _levels(changes: ChangeList, before: Resilience, after: Resilience) -> None:
    path = "resilience.fallback_modes"
    old = {level.name: level for level in before.levels}
    new = {level.name: level for level in after.levels}
    # A level that only got another name is found by its source.
    for level in before.levels:
        if level.name not in new:
            same = [x for x in after.levels if x.name not in old and x.source == level.source]
            if same:
                old.pop(level.name)
                old[same[0].name] = level
                changes.note(path, "level_name", level.name, same[0].name, "the name of a level")
    for name, gone in old.items():
        if name not in new:
            changes.add(
                f"{path}.{name}",
                "fallback",
                Motion.REMOVED,
                f"the level {name} ({_source(gone)}) was removed: in an outage readers will fail",
                consumer=BREAKS,
                bump=MAJOR,
            )
    for name, fresh in new.items():
        if name not in old:
            changes.add(
                f"{path}.{name}",
                "fallback",
                Motion.ADDED,
                f"the level {name} ({_source(fresh)}) was added",
                bump=MINOR,
            )
        elif old[name] != fresh:
            _level(changes, f"{path}.{name}", old[name], fresh)
    kept = [level.name for level in after.levels if level.name in old]
    if kept != [name for name in (_new_name(level, old) for level in before.levels) if name in new]:
        what = "the levels stand in another order"
        _protection(changes, path, Direction.CHANGED, what)


def _new_name(level: FallbackLevel, old: dict[str, FallbackLevel]) -> str:
    return next((name for name, known in old.items() if known is level), level.name)


def _source(level: FallbackLevel) -> str:
    return level.source.shown or level.source.kind.value


def _level(changes: ChangeList, path: str, old: FallbackLevel, new: FallbackLevel) -> None:
    if old.source != new.source:
        what = f"the source of {new.name} was {_source(old)}, now it is {_source(new)}"
        _protection(changes, f"{path}.source", Direction.CHANGED, what)
    if old.schema != new.schema:
        what = f"the schema of {new.name} was {show(old.schema)}, now it is {show(new.schema)}"
        _protection(changes, f"{path}.schema", Direction.CHANGED, what)
    _protection(
        changes,
        f"{path}.activation_conditions",
        Direction.SAME
        if old.activation_conditions == new.activation_conditions
        else Direction.CHANGED,
        f"the level {new.name} was preferred when {_any_of(old.activation_conditions)}, "
        f"now when {_any_of(new.activation_conditions)}",
    )
    _ranked(
        changes,
        f"{path}.only_when_active",
        int(old.only_when_active) - int(new.only_when_active),
        f"the level {new.name} now serves {'only' if new.only_when_active else 'not only'} while "
        "its conditions hold",
    )
    if old.max_age != new.max_age:
        what = (
            f"what {new.name} serves may be {show(new.max_age)} old instead of {show(old.max_age)}"
        )
        _protection(changes, f"{path}.max_age", Direction.CHANGED, what)
    if old.any_partition != new.any_partition:
        may = "may now" if new.any_partition else "may no longer"
        what = f"{new.name} {may} serve another partition"
        _protection(changes, f"{path}.any_partition", Direction.CHANGED, what)
    if old.min_dwell != new.min_dwell:
        changes.add(
            f"{path}.min_dwell",
            "setting",
            motion_of(old.min_dwell, new.min_dwell),
            f"a switch to {new.name} lasts at least {show(new.min_dwell)}, it was "
            f"{show(old.min_dwell)}",
            bump=MINOR,
        )
