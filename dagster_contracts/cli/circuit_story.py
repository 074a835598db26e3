"""A circuit as a story: since when, why, what was tried, what comes next, whom it concerns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from dagster_contracts.cli.words import count, distance, duration, moment
from dagster_contracts.core.circuit import Circuit, CircuitKey, CircuitState, Override
from dagster_contracts.core.contract import Json
from dagster_contracts.core.metrics import DEFAULT
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.core.quantity import Dimension, format_quantity
from dagster_contracts.monitoring.history import Evaluation
from dagster_contracts.monitoring.standing import LevelStanding
from dagster_contracts.resilience.healing import HealRequest
from dagster_contracts.resilience.history import short_id, without_holders
from dagster_contracts.resilience.ledger import DegradedRead, Target
from dagster_contracts.resilience.publication import publishing_sentence
from dagster_contracts.resilience.quarantine import QuarantinedBatch

_HEADLINE_METRICS = (
    "schema_validation_errors",
    "quality_errors",
    "completeness",
    "duplicates",
    "data_latency",
)
_MOST_READS = 10


def key_as_json(key: CircuitKey) -> dict[str, Json]:
    """Whose circuit it is, as every answer in JSON says it."""
    return {"contract": key.contract, "asset": key.asset, "partition": key.partition}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A circuit, the newest evaluation of its asset, what was built on its fallbacks, its SLA.

    ``circuit`` is as it stands now; ``lapsed`` is the row where its override has ended by itself
    and nothing has asked the circuit since.
    """

    circuit: Circuit
    lapsed: Circuit | None = None
    evaluation: Evaluation | None
    reads: tuple[DegradedRead, ...]
    unpublished: tuple[QuarantinedBatch, ...] = ()
    levels: tuple[LevelStanding, ...] = ()
    healing: Mapping[Target, HealRequest] = field(default_factory=dict)
    """The runs that were asked for, and have not ended, by what they build anew."""

    def to_json(self) -> dict[str, Json]:
        """The standing as JSON values; times are ISO 8601 in UTC."""
        circuit = self.circuit
        overridden = circuit.override is not Override.NONE
        return {
            **key_as_json(circuit.key),
            "state": circuit.state.value,
            "effective_state": circuit.effective_state.value,
            "generation": circuit.generation,
            "since": _iso(circuit.opened_at),
            "reason": circuit.reason if circuit.state is not CircuitState.CLOSED else None,
            "evaluation_id": circuit.evaluation_id,
            "failed_probes": failed_probes(circuit),
            "next_probe_at": _iso(circuit.next_probe_at),
            "probe_blocked": blocked(circuit),
            "probed_by": circuit.lease.holder if circuit.lease else None,
            "bad_partitions": [bad.name for bad in circuit.bad_partitions],
            "suspect": [bad.name for bad in circuit.suspect],
            "metrics_only": circuit.metrics_only,
            "would_open": circuit.would_open,
            "override": {
                "kind": circuit.override.value,
                "actor": circuit.override_actor,
                "reason": circuit.override_reason,
                "until": _iso(circuit.override_until),
                "of_whole_asset": circuit.inherited,
            }
            if overridden
            else None,
            "ended_override": None
            if self.lapsed is None
            else {
                "kind": self.lapsed.override.value,
                "actor": self.lapsed.override_actor,
                "reason": self.lapsed.override_reason,
                "until": _iso(self.lapsed.override_until),
                "of_whole_asset": self.lapsed.inherited,
            },
            "last_good_at": _iso(circuit.last_good_at),
            "last_evaluation": _evaluation_json(self.evaluation),
            "degraded_reads": [
                _read_json(read, self.healing.get(read.target)) for read in self.reads
            ],
            "to_be_published": [
                {"batch": each.id, "standing": publishing_sentence(each)}
                for each in self.unpublished
            ],
            "service_levels": [level.to_json() for level in self.levels],
        }


def headline(standing: Standing, now: datetime) -> str:
    """``orders/orders: open for 28min``: what consumers of the asset meet at this moment."""
    circuit = standing.circuit
    state = circuit.effective_state
    words = state.value.replace("_", "-")
    match circuit.override:
        case Override.NONE:
            pass
        case Override.FORCED_OPEN | Override.FORCED_CLOSED | Override.METRICS_ONLY:
            words = f"{circuit.override.value.replace('_', ' ')} ({words} for consumers)"
    if circuit.override is Override.NONE and state is not CircuitState.CLOSED and circuit.opened_at:
        words += f" for {duration(now - circuit.opened_at)}"
    return f"{circuit.key}: {words}"


def lines(standing: Standing, now: datetime) -> Iterator[tuple[str, str]]:
    """The story, as pairs of a word and a sentence, in the order in which a person asks."""
    circuit = standing.circuit
    if circuit.override is not Override.NONE:
        until = (
            f"until {moment(circuit.override_until, now)} ({distance(circuit.override_until, now)})"
            if circuit.override_until
            else "until somebody lifts it"
        )
        whole = ", for the whole asset" if circuit.inherited else ""
        said = f"by {circuit.override_actor} {until}{whole}: {circuit.override_reason}"
        yield "override", said
    if standing.lapsed is not None:
        yield "override", ended(standing.lapsed, now)
    if circuit.metrics_only:
        would = f"would be open: {circuit.would_open}" if circuit.would_open else "would be closed"
        yield "metrics only", f"the contract's mode; enforced it {would}"
    if circuit.state is not CircuitState.CLOSED:
        yield from _trouble(circuit, now)
    others = [bad.name for bad in circuit.suspect if circuit.bad_partition(bad.name) is None]
    if others:
        more = f" and {len(others) - _MOST_READS} more" if len(others) > _MOST_READS else ""
        names = ", ".join(others[-_MOST_READS:])
        yield "suspect", f"the last batch of {names}{more} was bad; nothing is healed from it"
    if circuit.upstream:
        yield "upstream", f"open as well: {', '.join(circuit.upstream)}"
    yield "evaluated", _evaluated(standing.evaluation, now)
    if circuit.state is not CircuitState.CLOSED and circuit.last_good_at:
        yield (
            "last good",
            f"{moment(circuit.last_good_at, now)}, {distance(circuit.last_good_at, now)}",
        )
    for each in standing.unpublished:
        said = f"batch {each.id}, released by {each.decided_by}: {publishing_sentence(each)}"
        yield "quarantine", said
    yield from _levels(standing.levels)
    for position, read in enumerate(standing.reads):
        if position == _MOST_READS:
            yield "", f"and {count(len(standing.reads) - position, 'more read', 'more reads')}"
            return
        yield (
            "degraded" if position == 0 else "",
            _degraded(read, standing.healing.get(read.target), now),
        )


def ended(lapsed: Circuit, now: datetime) -> str:
    """``forced open by ada ended 18s ago, at 21:52 UTC: the feed sends cents``."""
    assert lapsed.override_until is not None
    when = f"{distance(lapsed.override_until, now)}, at {moment(lapsed.override_until, now)}"
    kind = lapsed.override.value.replace("_", " ")
    return f"{kind} by {lapsed.override_actor} ended {when}: {lapsed.override_reason}"


def _levels(levels: Sequence[LevelStanding]) -> Iterator[tuple[str, str]]:
    """Each service level that is not kept, or not known, and how many are."""
    kept = [level for level in levels if level.status is OutcomeStatus.PASSED]
    told = [f"{count(len(kept), 'level')} kept"] if kept else []
    words = {
        OutcomeStatus.FAILED: "broken",
        OutcomeStatus.WARNED: "warns",
        OutcomeStatus.NOT_EVALUATED: "not evaluated",
    }
    told += [
        f"{level.name} {words[level.status]}: {level.sentence}"
        for level in levels
        if level.status in words
    ]
    for position, sentence in enumerate(told):
        yield "service" if position == 0 else "", sentence


def blocked(circuit: Circuit) -> str | None:
    """Why the coming probe cannot run; nothing of a circuit that needs none."""
    return None if circuit.state is CircuitState.CLOSED else circuit.probe_blocked


def failed_probes(circuit: Circuit) -> int:
    """How many probes failed since the circuit opened; ``attempts`` counts the coming one too."""
    if circuit.state is CircuitState.EXHAUSTED:
        return circuit.attempts
    return max(circuit.attempts - 1, 0)


def metric_text(name: str, value: Fraction) -> str:
    """``schema_validation_errors 7.0%``."""
    metric = DEFAULT.find(name)
    dimension = metric.dimension if metric is not None else Dimension.NUMBER
    return f"{name} {format_quantity(value, dimension)}"


def _trouble(circuit: Circuit, now: datetime) -> Iterator[tuple[str, str]]:
    by = f" by evaluation {short_id(circuit.evaluation_id)}" if circuit.evaluation_id else ""
    when = f"{moment(circuit.opened_at, now)}" if circuit.opened_at else "at an unknown time"
    yield "opened", f"{when}{by}: {circuit.reason or 'no reason was recorded'}"
    said = coming(circuit, now)
    if said:
        yield "probes", said
    waiting = circuit.bad_partitions
    if waiting:
        more = f" and {len(waiting) - _MOST_READS} more" if len(waiting) > _MOST_READS else ""
        names = ", ".join(bad.name for bad in waiting[:_MOST_READS])
        yield "waits for", f"a good batch of {names}{more}"


def coming(circuit: Circuit, now: datetime) -> str:
    """``2 probes failed; next probe 10:32 UTC (in 4min)``: what was tried, what comes next."""
    failed = failed_probes(circuit)
    said = [f"{count(failed, 'probe')} failed"] if failed else []
    match circuit.state:
        case CircuitState.EXHAUSTED:
            said.append("no more probes by itself; `reset` closes it, a good evaluation probes it")
        case CircuitState.HALF_OPEN if circuit.lease is not None:
            said.append(
                f"being probed by {without_holders(circuit.lease.holder)} "
                f"until {moment(circuit.lease.expires_at, now)} at the latest"
            )
        case CircuitState.HALF_OPEN:
            said.append("the next evaluation is the probe")
        case CircuitState.OPEN if circuit.next_probe_at is not None:
            due = circuit.next_probe_at
            said.append(
                f"next probe {moment(due, now)} ({distance(due, now)})"
                if due > now
                else f"the next probe is due since {moment(due, now)}"
            )
        case _:
            pass
    why = blocked(circuit)
    if why is not None:
        said.append(f"the probe cannot run: {why}")
    return "; ".join(said)


def _evaluated(evaluation: Evaluation | None, now: datetime) -> str:
    if evaluation is None:
        return "never"
    at = evaluation.observed_at
    said = [f"{moment(at, now)}, {distance(at, now)}: {evaluation.status.replace('_', ' ')}"]
    if evaluation.partition:
        said.append(f"partition {evaluation.partition}")
    if evaluation.rows is not None:
        said.append(count(evaluation.rows, "row"))
    for name in _HEADLINE_METRICS:
        value = evaluation.metrics.get(name)
        if value:
            said.append(metric_text(name, value))
    return ", ".join(said)


def _degraded(read: DegradedRead, healing: HealRequest | None, now: datetime) -> str:
    since = read.since or read.read_at
    when = f" since {moment(since, now)}" if since else ""
    through = f" through {read.via}" if read.via else ""
    built = "is being built" if read.pending else "was built"
    # Of several partitions that it reads each is another line.
    part = read.upstream_partition if read.upstream_partition != read.consumer_partition else None
    whose = f" for {read.upstream}[{part}]" if part else ""
    told = f"{read.consumer_text} {built} on {read.level} ({read.source}){whose}{through}{when}"
    if read.unhealed_because:
        return f"{told}; {unhealed(read, now)}"
    if healing is None or healing.tried_at is None:
        return told
    asked = moment(healing.tried_at, now)
    run = healing.run_id
    by = f"run {run} builds it anew since {asked}" if run else f"a run was asked for at {asked}"
    return f"{told}; {by}"


def unhealed(read: DegradedRead, now: datetime) -> str:
    """``not healed since 10:02 UTC: the partition d1 of revenue does not exist any more``."""
    since = f" since {moment(read.unhealed_since, now)}" if read.unhealed_since else ""
    return f"not healed{since}: {read.unhealed_because}"


def _evaluation_json(evaluation: Evaluation | None) -> Json:
    if evaluation is None:
        return None
    return {
        "evaluation_id": evaluation.evaluation_id,
        "version": evaluation.version,
        "partition": evaluation.partition,
        "at": _iso(evaluation.observed_at),
        "status": evaluation.status,
        "rows": evaluation.rows,
        "metrics": {
            name: None if value is None else float(value)
            for name, value in evaluation.metrics.items()
        },
        "unknown_because": dict(evaluation.unknown_because),
    }


def _read_json(read: DegradedRead, healing: HealRequest | None) -> dict[str, Json]:
    return {
        "consumer": read.consumer,
        "consumer_partition": read.consumer_partition,
        "upstream": read.upstream,
        "upstream_partition": read.upstream_partition,
        "level": read.level,
        "source": read.source,
        "via": read.via,
        "reason": read.reason,
        "run_id": read.run_id,
        "since": _iso(read.since or read.read_at),
        "pending": read.pending,
        "unhealed_because": read.unhealed_because,
        "unhealed_since": _iso(read.unhealed_since),
        "healing": None
        if healing is None
        else {"run_id": healing.run_id, "since": _iso(healing.tried_at)},
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
