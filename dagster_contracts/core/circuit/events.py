"""What happens to a circuit, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import TypeAlias

from dagster_contracts.core.circuit.state import Circuit, CircuitKey, CircuitState, Override


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A materialization was evaluated.

    ``event_time`` is the newest event time in the data (or the partition's own time where the
    contract names none). ``backfill`` says that the partition is older than the newest one.
    ``lease_holder`` is the holder in whose name the evaluation ran, if it is a probe.
    ``evaluated_at`` is given for results that somebody else reported and that are read afterwards;
    without it the evaluation is of now: what comes later is newer, whatever a machine's clock says.
    ``late`` says why it is known to be about older data, where the circuit cannot tell.
    ``arrived``: there is data, so that nothing failed and no source is unavailable. ``silent`` are
    metrics that somebody else tells: that this evaluation lacks them is no news.
    """

    evaluation_id: str
    metrics: Mapping[str, Fraction | None] = field(hash=False)
    event_time: datetime | None = None
    partition: str | None = None
    backfill: bool = False
    lease_holder: str | None = None
    evaluated_at: datetime | None = None
    late: str | None = None
    arrived: bool = False
    silent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A materialization failed, so that there is nothing to evaluate.

    A bad probe for the holder of the lease, and where nobody holds it for a run of what the circuit
    waits for; while the circuit is closed a tick with ``metrics``, of which ``metric``
    (``failed_materializations``, ``source_unavailable``) says how often in a row it failed.
    ``late`` says why it is about older data: then it changes nothing.
    """

    evaluation_id: str
    what: str
    metric: str | None = None
    late: str | None = None
    metrics: Mapping[str, Fraction | None] = field(default_factory=dict, hash=False)
    partition: str | None = None
    lease_holder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What ``metric`` counts went well: its failures are no longer in a row; else a tick."""

    metric: str
    metrics: Mapping[str, Fraction | None] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """Time passed; ``metrics`` are those that the clock moves (``data_freshness``, ...)."""

    metrics: Mapping[str, Fraction | None] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAsked:
    """Somebody wants to be the probe, and will make ``partition``.

    Another one than is to be probed next is refused: the list has changed since it was read.
    """

    holder: str
    partition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsGone:
    """These partitions do not exist any more, as whoever has the definitions knows."""

    partitions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeBlocked:
    """No probe can be started, and why: one that was granted is given back and costs nothing."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """An operator sets an override, or lifts it (``Override.NONE``); ``until`` lifts it later."""

    override: Override
    actor: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inherited:
    """The override of the whole asset as it stands, ``Override.NONE`` for none.

    The circuit of a partition obeys it unless it has an override of its own.
    """

    override: Override = Override.NONE
    actor: str | None = None
    reason: str | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """When a partition begins, if known, and whether a newer one of its asset was evaluated."""

    time: datetime | None
    superseded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """An operator closes the circuit and lifts the override that is its own."""

    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismissed:
    """An operator says that nobody asks the circuit any more; any override is lifted with it."""

    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanged:
    """The contract was edited: ``policy_hash`` is the new semantic hash."""

    policy_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamOpened:
    """The circuit of an upstream contract opened: it explains what is wrong here."""

    upstream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamClosed:
    """The circuit of an upstream contract closed again."""

    upstream: str


CircuitEvent: TypeAlias = (
    Observed
    | Failed
    | Recovered
    | Ticked
    | ProbeAsked
    | PartitionsGone
    | ProbeBlocked
    | Forced
    | Inherited
    | Placed
    | Reset
    | Dismissed
    | PolicyChanged
    | UpstreamOpened
    | UpstreamClosed
)


class TransitionCause(StrEnum):
    """Why a circuit changed its state."""

    VIOLATION = "violation"
    TICK = "tick"
    UNKNOWN = "unknown"
    PROBE_DUE = "probe_due"
    PROBE_GOOD = "probe_good"
    PROBE_BAD = "probe_bad"
    LEASE_EXPIRED = "lease_expired"
    NO_RETRIES = "no_retries"
    MENDED = "mended"
    CONTRACT_CHANGED = "contract_changed"
    RESET = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTransition:
    """One change of state; ``generation`` is the one that begins with it."""

    key: CircuitKey
    generation: int
    before: CircuitState
    after: CircuitState
    at: datetime
    cause: TransitionCause
    explanation: str
    evaluation_id: str | None = None
    actor: str | None = None


class NoteKind(StrEnum):
    """What is worth recording though the state did not change."""

    RECORDED = "recorded"
    LATE = "late"
    DUPLICATE = "duplicate"
    UNKNOWN_METRIC = "unknown_metric"
    PROBE_COUNTED = "probe_counted"
    PROBE_GRANTED = "probe_granted"
    PROBE_REFUSED = "probe_refused"
    PROBE_BLOCKED = "probe_blocked"
    OVERRIDE_SET = "override_set"
    OVERRIDE_LIFTED = "override_lifted"
    OVERRIDE_EXPIRED = "override_expired"
    WOULD_OPEN = "would_open"
    WOULD_CLOSE = "would_close"
    POLICY_BOUND = "policy_bound"
    DISMISSED = "dismissed"
    FLAPPING = "flapping"
    BAD_PARTITION = "bad_partition"
    PARTITION_GONE = "partition_gone"
    UPSTREAM = "upstream"
    BATCH_RELEASED = "batch_released"
    BATCH_PUBLISHED = "batch_published"
    BATCH_HELD = "batch_held"
    HEALING_GIVEN_UP = "healing_given_up"
    HEALING_ASKED = "healing_asked"
    READ_DROPPED = "read_dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One line of the circuit's story that is no transition."""

    kind: NoteKind
    key: CircuitKey
    generation: int
    at: datetime
    explanation: str
    evaluation_id: str | None = None
    actor: str | None = None


class AlertTopic(StrEnum):
    """What an alert is about."""

    OPENED = "opened"
    FLAPPING = "flapping"
    PROBING = "probing"
    STILL_OPEN = "still_open"
    EXHAUSTED = "exhausted"
    RESOLVED = "resolved"
    OVERRIDE = "override"
    UNKNOWN_METRIC = "unknown_metric"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Somebody should know. Each transition has exactly one; overrides and unknowns theirs.

    Deliver once per ``dedupe_key``; alerts of one ``group`` belong in one message. ``explained_by``
    names upstream circuits that are open: the alert is theirs to raise.
    """

    topic: AlertTopic
    key: CircuitKey
    generation: int
    explanation: str
    dedupe_key: str
    group: str
    explained_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heal:
    """The primary may be read again: rebuild what was built on a fallback."""

    key: CircuitKey
    generation: int
    dedupe_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestProbe:
    """The sensor should run the primary once; asked again until somebody holds the lease."""

    key: CircuitKey
    generation: int
    dedupe_key: str


Effect: TypeAlias = Alert | Heal | RequestProbe


@dataclass(frozen=True, slots=True)
class Step:
    """What one event did: the new circuit, its transitions in order, notes, and what to do."""

    circuit: Circuit
    transitions: tuple[StateTransition, ...] = ()
    notes: tuple[Note, ...] = ()
    effects: tuple[Effect, ...] = ()
