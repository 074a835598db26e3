"""The keys of ``resilience``: the breaker, its recovery, and the levels of service."""

from __future__ import annotations

from typing import Final

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
from dagster_contracts.documents.vocabulary.key import (
    CONDITIONS,
    DURATION,
    FLAG,
    NUMBER,
    TEXT,
    Key,
    Table,
    choice,
    integer,
    per_cent,
    section,
    sections,
    shown,
)

_CIRCUIT = CircuitPolicy()
_RECOVERY = Recovery()
_LEVEL = FallbackLevel(name="", source=FallbackSource(SourceKind.PRIMARY))
_RESILIENCE = Resilience()

RECOVERY: Final = Table(
    "recovery",
    "How an open circuit is tried again.",
    (
        Key(
            "retry_after",
            DURATION,
            "The wait before the first probe after the circuit has opened.",
            shown(_RECOVERY.retry_after),
        ),
        Key(
            "max_retries",
            integer(0),
            "After so many bad probes the circuit waits for good data or for a person.",
            _RECOVERY.max_retries,
        ),
        Key(
            "backoff",
            NUMBER,
            "The factor by which each wait is longer than the one before it; at least 1.",
            shown(_RECOVERY.backoff),
        ),
        Key(
            "max_wait",
            DURATION,
            "No wait is longer than this, but for its jitter; never shorter than `retry_after`.",
            shown(_RECOVERY.max_wait),
        ),
        Key(
            "jitter",
            NUMBER,
            "The part of a wait, from 0% to below 100%, by which it is varied at random.",
            per_cent(_RECOVERY.jitter),
        ),
        Key(
            "probes",
            integer(1),
            "How many good probes in a row close the circuit.",
            _RECOVERY.probes,
        ),
        Key(
            "probe_timeout",
            DURATION,
            "A probe that has not reported after this time counts as bad.",
            shown(_RECOVERY.probe_timeout),
        ),
        Key(
            "probe",
            choice(ProbeMode),
            "Whether the sensor asks for a run of the primary, or the next scheduled run will do.",
            shown(_RECOVERY.probe),
        ),
    ),
)

CIRCUIT_BREAKER: Final = Table(
    "circuit_breaker",
    "When the circuit opens and closes.",
    (
        Key(
            "open_when",
            CONDITIONS,
            "Any one of these conditions that holds opens the circuit. Without one it opens only "
            "by hand.",
        ),
        Key(
            "close_when",
            CONDITIONS,
            "All of these must hold for a probe to be good, beside that no condition of "
            "`open_when` does.",
        ),
        Key("recovery", section("recovery"), "How an open circuit is tried again."),
        Key(
            "window",
            integer(1),
            "Over how many of the latest evaluations ratios are averaged; counts, durations and "
            "what is of the moment are judged by the last one.",
            _CIRCUIT.window,
        ),
        Key(
            "min_observations",
            integer(1),
            "The circuit does not open before it has seen so many evaluations; at most `window`.",
            _CIRCUIT.min_observations,
        ),
        Key(
            "scope",
            choice(CircuitScope),
            "One circuit for the whole asset, or one for each partition.",
            shown(_CIRCUIT.scope),
        ),
        Key(
            "mode",
            choice(CircuitMode),
            "With `metrics_only` the circuit records what it would have done, and does nothing.",
            shown(_CIRCUIT.mode),
        ),
        Key(
            "on_unknown",
            choice(OnUnknown),
            "What a metric that could not be measured does to `open_when`: nothing, or open.",
            shown(_CIRCUIT.on_unknown),
        ),
        Key(
            "flapping_openings",
            integer(2),
            "So many openings within `flapping_window` are flapping: the waits get longer, and one "
            "alert covers them.",
            _CIRCUIT.flapping_openings,
        ),
        Key(
            "flapping_window",
            DURATION,
            "The time within which openings are counted as flapping.",
            shown(_CIRCUIT.flapping_window),
        ),
    ),
)

FALLBACK_LEVEL: Final = Table(
    "fallback_modes",
    "One level of service: the primary, or what consumers read instead of it.",
    (
        Key(
            "level",
            TEXT,
            "The name of the level; `primary` is the asset itself.",
            required=True,
        ),
        Key(
            "source",
            TEXT,
            "What is read: the name of an asset or a contract, `last_valid`, `subset`, or a path. "
            "Every level but the primary needs one.",
        ),
        Key(
            "schema",
            TEXT,
            "The name of the schema that this level keeps; a `subset` needs one. Without it the "
            "level keeps the contract's own.",
        ),
        Key(
            "activation_conditions",
            CONDITIONS,
            "While any one of these holds, the level is preferred to the others.",
        ),
        Key(
            "only_when_active",
            FLAG,
            "Use the level only while one of its `activation_conditions` holds.",
            _LEVEL.only_when_active,
        ),
        Key("max_age", DURATION, "Refuse the level's data when it is older than this."),
        Key(
            "min_dwell",
            DURATION,
            "Stay on the level at least this long once it has been chosen.",
            shown(_LEVEL.min_dwell),
        ),
        Key(
            "any_partition",
            FLAG,
            "A consumer of one partition may be given another one.",
            _LEVEL.any_partition,
        ),
    ),
)

RESILIENCE: Final = Table(
    "resilience",
    "What happens when the data is bad: when the circuit opens, and what consumers get meanwhile.",
    (
        Key(
            "circuit_breaker",
            section("circuit_breaker"),
            "When the circuit opens, and how it is tried again.",
        ),
        Key(
            "fallback_modes",
            sections("fallback_modes"),
            "The levels of service, best first. The primary is added where it is left out.",
        ),
        Key(
            "on_exhausted",
            choice(OnExhausted),
            "What consumers get when no level is usable: a clear error, or a skipped step.",
            shown(_RESILIENCE.on_exhausted),
        ),
        Key(
            "heal",
            choice(HealMode, flags=True),
            "What is done with assets that were built on a fallback once the circuit has closed: "
            "build them anew, say so, or nothing. `true` is `run`, `false` is `off`.",
            shown(_RESILIENCE.heal),
        ),
    ),
)
