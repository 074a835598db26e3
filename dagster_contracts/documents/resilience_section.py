"""The ``resilience`` section: the breaker, its recovery, and the levels of service."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

from dagster_contracts.core.contract import (
    CircuitMode,
    CircuitPolicy,
    CircuitScope,
    FallbackLevel,
    FallbackSource,
    HealMode,
    OnExhausted,
    OnUnknown,
    ProbeMode,
    Recovery,
    Resilience,
    SourceKind,
)
from dagster_contracts.core.near_names import meant_one_of, near_names
from dagster_contracts.core.uri import hide_password
from dagster_contracts.documents.level_source import check_source, read_source
from dagster_contracts.documents.section import Section
from dagster_contracts.documents.vocabulary import resilience as words
from dagster_contracts.documents.yaml_text import SequenceNode

PRIMARY_LEVEL = "primary"

#: The sources that are no names.
_WORDS = (SourceKind.LAST_VALID.value, SourceKind.SUBSET.value)
_SHORT = 4
_HEAL_FLAGS = {True: HealMode.RUN, False: HealMode.OFF}
_BREAKER_SYNONYMS = {
    "open_if": "open_when",
    "open": "open_when",
    "trip_when": "open_when",
    "close": "close_when",
    "retry": "recovery",
    "threshold": "open_when",
    "failure_threshold": "open_when",
}
_LEVEL_SYNONYMS = {
    "name": "level",
    "conditions": "activation_conditions",
    "when": "activation_conditions",
    "asset": "source",
    "ttl": "max_age",
}


def read_resilience(section: Section) -> Resilience:
    """The whole section; the primary is put first, and added where the document leaves it out."""
    breaker = section.section("circuit_breaker")
    circuit = CircuitPolicy() if breaker is None else _read_breaker(breaker)
    levels: list[FallbackLevel] = []
    names: set[str] = set()
    for item in section.sections("fallback_modes"):
        level = _read_level(item)
        if level.name in names:
            item.findings.error(
                item.place("level"),
                "duplicate-level",
                f"there are two levels named {level.name!r}",
                "give each level a name of its own, such as 'fallback_2'",
            )
        names.add(level.name)
        levels.append(level)
    primaries = [level for level in levels if level.source.kind is SourceKind.PRIMARY]
    if not primaries:
        primaries = [FallbackLevel(name=PRIMARY_LEVEL, source=FallbackSource(SourceKind.PRIMARY))]
    others = [level for level in levels if level.source.kind is not SourceKind.PRIMARY]
    resilience = Resilience(
        circuit=circuit,
        levels=(primaries[0], *others),
        on_exhausted=section.choice("on_exhausted", OnExhausted, OnExhausted.FAIL),
        heal=section.choice("heal", HealMode, HealMode.RUN, flags=_HEAL_FLAGS),
    )
    section.finish(
        words.RESILIENCE, synonyms={"fallback": "fallback_modes", "fallbacks": "fallback_modes"}
    )
    return resilience


def _read_breaker(section: Section) -> CircuitPolicy:
    default = CircuitPolicy()
    recovery = section.section("recovery")
    policy = CircuitPolicy(
        open_when=section.conditions("open_when"),
        close_when=section.conditions("close_when"),
        recovery=Recovery() if recovery is None else _read_recovery(recovery),
        window=section.integer("window", minimum=1) or default.window,
        min_observations=section.integer("min_observations", minimum=1) or default.min_observations,
        scope=section.choice("scope", CircuitScope, default.scope),
        mode=section.choice("mode", CircuitMode, default.mode),
        on_unknown=section.choice("on_unknown", OnUnknown, default.on_unknown),
        flapping_openings=section.integer("flapping_openings", minimum=2)
        or default.flapping_openings,
        flapping_window=_some_time(section, "flapping_window") or default.flapping_window,
        location=section.place("open_when"),
        open_places=section.places("open_when"),
        close_places=section.places("close_when"),
    )
    if policy.min_observations > policy.window:
        section.findings.error(
            section.place("min_observations"),
            "wrong-value",
            f"a window of {policy.window} never holds {policy.min_observations} observations",
            f"write window: {policy.min_observations}",
        )
    # What is written and cannot be read has been told already.
    written = section.take("open_when")
    if written is None or (isinstance(written, SequenceNode) and not written.items):
        section.findings.warning(
            section.location,
            "never-opens",
            "the circuit breaker has no 'open_when': it never opens by itself",
            'add open_when: ["schema_validation_errors > 5%"]',
        )
    section.finish(words.CIRCUIT_BREAKER, synonyms=_BREAKER_SYNONYMS)
    return policy


def _some_time(section: Section, key: str) -> timedelta | None:
    """A length of time that is more than nothing."""
    found = section.duration(key)
    if found is None or found > timedelta(0):
        return found
    section.findings.error(
        section.place(key),
        "wrong-value",
        f"{key!r} must be more than nothing",
        f"write a length of time such as {key}: 1h, or leave it out",
    )
    return None


def _read_recovery(section: Section) -> Recovery:
    default = Recovery()
    retry_after = _some_time(section, "retry_after")
    max_wait = section.duration("max_wait")
    max_retries = section.integer("max_retries", minimum=0)
    backoff = section.number("backoff")
    jitter = section.number("jitter")
    if backoff is not None and backoff < 1:
        section.findings.error(
            section.place("backoff"), "wrong-value", "'backoff' must be at least 1", "write 2"
        )
        backoff = None
    if jitter is not None and not 0 <= jitter < 1:
        section.findings.error(
            section.place("jitter"),
            "wrong-value",
            "'jitter' must be a part of the wait, from 0% to below 100%",
            "write 10%",
        )
        jitter = None
    wait = retry_after or default.retry_after
    if max_wait is not None and max_wait < wait:
        section.findings.error(
            section.place("max_wait"),
            "wrong-value",
            f"'max_wait' ({max_wait}) is shorter than 'retry_after' ({wait})",
            "raise max_wait, or leave it out",
        )
    recovery = Recovery(
        retry_after=wait,
        max_retries=default.max_retries if max_retries is None else max_retries,
        backoff=default.backoff if backoff is None else backoff,
        max_wait=max_wait or max(default.max_wait, wait),
        jitter=default.jitter if jitter is None else Fraction(jitter),
        probes=section.integer("probes", minimum=1) or default.probes,
        probe_timeout=_some_time(section, "probe_timeout") or default.probe_timeout,
        probe=section.choice("probe", ProbeMode, default.probe),
    )
    section.finish(words.RECOVERY, synonyms={"retries": "max_retries", "delay": "retry_after"})
    return recovery


def _read_level(section: Section) -> FallbackLevel:
    section.what = "a level of fallback_modes"
    name = section.required_text("level")
    source_text = section.text("source")
    if name == PRIMARY_LEVEL:
        source = _read_primary(section, source_text or "")
    elif source_text is None or not source_text.strip():
        section.missing("source", "name an asset, or write last_valid, subset or a path")
        source = FallbackSource(SourceKind.ASSET, "")
    else:
        source = read_source(source_text)
        check_source(name, source_text, section.place("source"), section.findings)
        if source.kind is SourceKind.PRIMARY:
            _refuse_primary(section, name)
        meant = near_names(source_text, _WORDS, count=1)
        if source.kind is SourceKind.ASSET and meant and len(source_text) > _SHORT:
            section.findings.warning(
                section.place("source"),
                "source",
                f"the level {name!r} reads an asset called {source_text!r}",
                meant_one_of(meant),
            )
    level = FallbackLevel(
        name=name,
        source=source,
        schema=section.text("schema"),
        activation_conditions=section.conditions("activation_conditions"),
        only_when_active=section.flag("only_when_active"),
        max_age=section.duration("max_age"),
        min_dwell=section.duration("min_dwell") or timedelta(0),
        any_partition=section.flag("any_partition"),
        location=section.location,
        condition_places=section.places("activation_conditions"),
    )
    if source.kind is SourceKind.SUBSET and level.schema is None:
        section.missing("schema", "name the smaller schema that the subset must keep")
    if level.only_when_active and not level.activation_conditions:
        section.findings.error(
            section.place("only_when_active"),
            "never-active",
            f"the level {name!r} is used only when its conditions hold, and it has none",
            "add activation_conditions, or remove only_when_active",
        )
    section.finish(words.FALLBACK_LEVEL, synonyms=_LEVEL_SYNONYMS)
    return level


def _read_primary(section: Section, text: str) -> FallbackSource:
    """The source of the level ``primary``: the asset that the contract governs, or nothing."""
    kind = read_source(text).kind
    if kind is SourceKind.PRIMARY:
        return FallbackSource(SourceKind.PRIMARY)
    if kind is not SourceKind.ASSET:
        section.findings.error(
            section.place("source"),
            "primary-source",
            f"the level {PRIMARY_LEVEL!r} is the asset itself, and cannot be {hide_password(text)}",
            f"give the level another name to fall back on that, such as 'cached'; "
            f"{PRIMARY_LEVEL!r} may be left out",
        )
    return FallbackSource(SourceKind.PRIMARY, text)


def _refuse_primary(section: Section, name: str) -> None:
    """Note an error: kept as the primary, the level would be gone from the fallbacks."""
    section.findings.error(
        section.place("source"),
        "primary-source",
        f"the level {name!r} cannot read the primary: that is what it stands in for",
        f"name it {PRIMARY_LEVEL!r} if it is the asset itself; `source: subset` with a schema "
        "serves what there is of a new batch, cut to its columns",
    )
