"""The circuit as a value: where it stands, since when and why."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from operator import attrgetter

from dagster_contracts.core.condition import Observation


class CircuitState(StrEnum):
    """Closed lets data through; exhausted is open and no longer tries by itself."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    EXHAUSTED = "exhausted"


class Override(StrEnum):
    """What an operator has decided, whatever the state beneath says."""

    NONE = "none"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"
    METRICS_ONLY = "metrics_only"


@dataclass(frozen=True, slots=True)
class CircuitKey:
    """Which circuit: a contract (by name) on an asset, or on one partition of it."""

    contract: str
    asset: str
    partition: str | None = None

    def __str__(self) -> str:
        partition = "" if self.partition is None else f"[{self.partition}]"
        return f"{self.contract}/{self.asset}{partition}"

    def __lt__(self, other: CircuitKey) -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[str, str, bool, str]:
        # A whole asset sorts before its partitions; None and str cannot be compared directly.
        return (self.contract, self.asset, self.partition is not None, self.partition or "")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to probe: one holder, until it expires, within one generation."""

    holder: str
    expires_at: datetime
    generation: int


@dataclass(frozen=True, slots=True)
class BadPartition:
    """A partition that must be good before the circuit closes, and when it was evaluated last."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """One circuit.

    ``generation`` counts state changes and orders them, because clocks do not. ``attempts`` is the
    number of the probe that comes next (or runs), 0 while closed. ``reason``, ``evaluation_id`` and
    ``opened_at`` are those of the opening, however many probes failed since; ``opened_by`` are the
    conditions, as text, that held at the opening and at evaluations since: a good probe knows that
    they do not. ``probe_blocked`` says why no probe can be started.

    ``bad_partitions`` are those that a whole asset's circuit waits for, in the order in which they
    are probed: whose batch or failure opened it, and each whose last evaluation since, by itself,
    held ``open_when``. None where time opened it and nothing bad came since. ``bad_forgotten``
    counts those that were too many to remember. ``suspect`` are, in any state, the partitions whose
    last batch held ``open_when`` by itself: nothing is healed from them. ``edited`` is a probe that
    a new version of the contract grants as soon as the override is over. ``unmeasured`` are the
    metrics of which an alert has said that they could not be measured, until they are.
    ``dropped_leases`` counts those of this generation that ended without a verdict: the next probe
    is another one.
    ``waiting_since`` is when the wait for the next probe, or the lease, began.

    ``window`` is what ``open_when`` looks at, newest last, each metric averaged over the policy's
    window; ``averaged`` are the evaluations that the next average needs. Both start empty with each
    opening, closing and edit. ``last`` is the newest evaluation as it was measured, in any state,
    of ``last_partition``; ``evaluations`` counts all that were not late.

    ``watermark`` is the event time of ``watermark_partition``, the newest partition, as last
    evaluated. ``failures`` are how often in a row each thing that may fail has failed, by metric.
    ``would_open`` says why a metrics-only circuit would be open now. ``upstream`` names
    open circuits further up. ``recent`` are the last evaluation ids: a duplicate changes nothing.

    ``inherited`` says that the override is the whole asset's, which this partition obeys.
    ``partition_time`` is when the partition begins, where partitions have an order; one is
    ``superseded`` when a newer one was evaluated, of which freshness, latency and volume speak.
    ``dismissed`` is one that nobody asks any more, until something happens to it again.
    """

    key: CircuitKey
    state: CircuitState = CircuitState.CLOSED
    generation: int = 0
    attempts: int = 0
    good_probes: int = 0
    opened_at: datetime | None = None
    reason: str | None = None
    evaluation_id: str | None = None
    opened_by: tuple[str, ...] = ()
    bad_partitions: tuple[BadPartition, ...] = ()
    bad_forgotten: int = 0
    suspect: tuple[BadPartition, ...] = ()
    probe_blocked: str | None = None
    next_probe_at: datetime | None = None
    waiting_since: datetime | None = None
    lease: Lease | None = None
    dropped_leases: int = 0
    override: Override = Override.NONE
    override_until: datetime | None = None
    override_actor: str | None = None
    override_reason: str | None = None
    inherited: bool = False
    metrics_only: bool = False
    would_open: str | None = None
    watermark: datetime | None = None
    watermark_partition: str | None = None
    partition_time: datetime | None = None
    superseded: bool = False
    last_observed_at: datetime | None = None
    last_partition: str | None = None
    last_good_at: datetime | None = None
    last: Observation | None = None
    evaluations: int = 0
    failures: tuple[tuple[str, int], ...] = ()
    window: tuple[Observation, ...] = ()
    averaged: tuple[Observation, ...] = ()
    openings: tuple[datetime, ...] = ()
    unmeasured: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    edited: bool = False
    dismissed: bool = False
    policy_hash: str = ""
    recent: tuple[str, ...] = ()

    @property
    def effective_state(self) -> CircuitState:
        """What consumers see: the override first, then the contract's mode, then the state."""
        match self.override:
            case Override.FORCED_OPEN:
                return CircuitState.OPEN
            case Override.FORCED_CLOSED | Override.METRICS_ONLY:
                return CircuitState.CLOSED
            case Override.NONE:
                return CircuitState.CLOSED if self.metrics_only else self.state

    @property
    def frozen(self) -> bool:
        """Whether evaluations are only recorded: an override or the metrics-only mode is set."""
        return self.override is not Override.NONE or self.metrics_only

    @property
    def overridden(self) -> Override:
        """The circuit's own override, which comes before the one of the whole asset."""
        return Override.NONE if self.inherited else self.override

    @property
    def awaited_partition(self) -> str | None:
        """The partition that is probed next; ``None`` where the newest one will do."""
        return self.bad_partitions[0].name if self.bad_partitions else None

    @property
    def probe_names(self) -> tuple[str, ...]:
        """What the probes that may be asked for now are called; the last one comes next.

        The others lost their leases without a verdict, and may still be under way.
        """
        name = f"probe:{self.key}:{self.generation}:{self.good_probes}"
        return (name, *(f"{name}:{dropped}" for dropped in range(1, self.dropped_leases + 1)))

    def bad_partition(self, name: str | None) -> BadPartition | None:
        """The entry of a partition that must be good before the circuit closes."""
        return next((bad for bad in self.bad_partitions if bad.name == name), None)

    def is_suspect(self, partition: str | None) -> bool:
        """Whether the last batch of a partition was bad, though the circuit may be closed."""
        return any(bad.name == partition for bad in self.suspect)

    @property
    def idle(self) -> bool:
        """Whether nothing is to be said of it: never evaluated, closed, and under no override."""
        untouched = self.state is CircuitState.CLOSED and not self.evaluations
        return untouched and self.override is Override.NONE

    def in_a_row(self, metric: str) -> int:
        """How often in a row what ``metric`` counts has failed."""
        return dict(self.failures).get(metric, 0)

    @property
    def checks(self) -> int:
        """How many evaluations the window holds."""
        return sum(observation.check for observation in self.window)

    @property
    def observations(self) -> tuple[Observation, ...]:
        """What the activation conditions of fallback levels look at, in every state."""
        if self.window:
            return self.window
        return () if self.last is None else (self.last,)


_READ_FIELDS = attrgetter(*(field.name for field in fields(Circuit)))
_WRITE_FIELDS = tuple(getattr(Circuit, field.name).__set__ for field in fields(Circuit))


def changed(circuit: Circuit, **changes: object) -> Circuit:
    """What ``replace`` returns, in a third of the time: each evaluation makes several circuits.

    An unknown name is an ``AttributeError``.
    """
    after = object.__new__(Circuit)
    for write, value in zip(_WRITE_FIELDS, _READ_FIELDS(circuit), strict=True):
        write(after, value)
    for name, value in changes.items():
        # Nobody else has seen it yet: until it is returned it may be written.
        object.__setattr__(after, name, value)
    return after
