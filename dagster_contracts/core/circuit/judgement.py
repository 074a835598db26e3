"""What evaluations say: whether a closed circuit opens, and whether a probe is good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Final

from dagster_contracts.core.circuit.events import Failed, Observed
from dagster_contracts.core.circuit.state import (
    BadPartition,
    Circuit,
    CircuitState,
    Override,
)
from dagster_contracts.core.circuit.waiting import in_words
from dagster_contracts.core.condition import (
    Condition,
    Decision,
    Observation,
    Truth,
    comparisons_of,
    evaluate,
    may_hold,
    metrics_of,
    parse_condition,
    render,
    truth_of,
    without_holds,
    without_metrics,
)
from dagster_contracts.core.contract import CircuitMode, CircuitPolicy, OnUnknown
from dagster_contracts.core.metrics import (
    DEFAULT,
    is_momentary,
    needs_asset_history,
    speaks_of_newest,
    speaks_of_service,
)
from dagster_contracts.core.quantity import Dimension
from dagster_contracts.errors import ConditionSyntaxError

MAX_WINDOW: Final = 256

CLOCK_SKEW: Final = timedelta(hours=1)
"""How much the clock of who reports a result may differ from the one of the store."""

_AGES: Final = frozenset({"data_freshness", "data_latency", "materialization_age"})

Metrics = Mapping[str, Fraction | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement in words; ``conditions`` are those (as text) that speak for opening.

    Of a good probe they are those that only the newest partition can answer. ``unknown``: nothing
    is known to be wrong; it could not be measured.
    """

    good: bool
    explanation: str
    conditions: tuple[str, ...] = ()
    unknown: bool = False


def judge_opening(
    policy: CircuitPolicy,
    window: Sequence[Observation],
    *,
    conditions: Sequence[Condition] | None = None,
    unknown_opens: bool,
    silent: frozenset[str] = frozenset(),
) -> Verdict | None:
    """The verdict by which a closed circuit opens; ``None`` where nothing speaks for it.

    ``conditions`` are those of ``open_when`` unless the caller says otherwise. What is unknown only
    for want of ``silent`` metrics, of which the newest evaluation says nothing, does not open.
    """
    asked = policy.open_when if conditions is None else conditions
    truths = [truth_of(condition, window) for condition in asked]
    for truth in (Truth.TRUE, Truth.UNKNOWN):
        if truth is Truth.UNKNOWN and not (unknown_opens and policy.on_unknown is OnUnknown.OPEN):
            continue
        # "Unknown opens" asks what may hold: one unmeasured check is not yet "for 3 checks".
        found = [
            condition
            for condition, its in zip(asked, truths, strict=True)
            if its is truth
            and (
                truth is Truth.TRUE
                or (may_hold(condition, window) and not _untold(condition, window[-1], silent))
            )
        ]
        if found:
            return Verdict(
                good=False,
                explanation="; ".join(evaluate(c, window).explanation for c in found),
                conditions=tuple(render(condition) for condition in found),
                unknown=truth is Truth.UNKNOWN,
            )
    return None


def _untold(condition: Condition, newest: Observation, silent: frozenset[str]) -> bool:
    """Whether an evaluation lacks nothing of a condition but what others tell."""
    lacking = {name for name in metrics_of(condition) if newest.metrics.get(name) is None}
    return bool(lacking) and lacking <= silent


def judge_alone(
    policy: CircuitPolicy,
    metrics: Metrics,
    at: datetime,
    *,
    late: bool,
    silent: frozenset[str] = frozenset(),
) -> Verdict | None:
    """What an evaluation breaks by itself, without any patience; ``None`` where nothing.

    A late one is not asked what speaks of the newest, nor what could not be measured.
    """
    if late:
        metrics = {name: v for name, v in metrics.items() if not speaks_of_newest(name)}
    alone = [without_holds(condition) for condition in policy.open_when]
    window = [Observation(at, metrics)]
    found = judge_opening(policy, window, conditions=alone, unknown_opens=not late, silent=silent)
    if found is None or not found.conditions:
        return found
    named = {
        render(bare): render(asked) for bare, asked in zip(alone, policy.open_when, strict=True)
    }
    return replace(found, conditions=tuple(named[condition] for condition in found.conditions))


def judge_probe(
    policy: CircuitPolicy,
    circuit: Circuit,
    metrics: Metrics,
    at: datetime,
    *,
    older: bool = False,
    silent: frozenset[str] = frozenset(),
) -> Verdict:
    """Whether a single evaluation is a good probe; every ``for ...`` is ignored.

    All of ``close_when`` must hold, and none of ``open_when``: what would open the circuit again is
    no proof, however easily the circuit closes. What opened the circuit must be known not to hold,
    but for what no batch can tell. A partition that is ``older`` than the newest is not asked its
    age and latency: it has grown old while the circuit waited for it. Conditions that are left to
    the newest for that are in the verdict.
    """
    single = [Observation(at, metrics)]
    if not policy.close_when and not policy.open_when:
        return Verdict(good=True, explanation="no condition speaks against it")
    against, open_questions = [], []
    favourable: dict[Truth, list[Decision]] = {Truth.TRUE: [], Truth.FALSE: []}
    left: list[str] = []
    asking = [(condition, Truth.TRUE) for condition in policy.close_when]
    asking += [(condition, Truth.FALSE) for condition in policy.open_when]
    for condition, wanted in asking:
        decision = evaluate(without_holds(condition), single)
        if decision.truth is wanted:
            favourable[wanted].append(decision)
            continue
        closing = wanted is Truth.TRUE
        known = (
            closing
            or (policy.on_unknown is OnUnknown.OPEN and not _untold(condition, single[0], silent))
            or (render(condition) in circuit.opened_by and not _of_service(condition))
        )
        if older:
            asked = without_metrics(condition, _ages, taken=closing)
            if asked != condition:
                left.extend([render(condition)] if known else [])
                if asked is None:
                    continue
                decision = evaluate(without_holds(asked), single)
                if decision.truth is wanted:
                    favourable[wanted].append(decision)
                    continue
        if decision.truth is Truth.UNKNOWN and not known:
            open_questions.append(decision)
        else:
            against.append(decision)
    # What closes a circuit is said in the words of the conditions for closing.
    speaking = favourable[Truth.TRUE] or favourable[Truth.FALSE]
    if not speaking and not left:
        against = against or open_questions
    said = "; ".join(dict.fromkeys(decision.explanation for decision in against or speaking))
    unknown = bool(against) and all(d.truth is Truth.UNKNOWN for d in against)
    return Verdict(not against, said, () if against else tuple(left), unknown=unknown)


def _of_service(condition: Condition) -> bool:
    """Whether no batch can answer a condition: only what is remembered of the asset does."""
    return all(map(speaks_of_service, metrics_of(condition)))


def _ages(metric: str) -> bool:
    """Whether a metric says how old data is: of an older partition that is no fault."""
    return metric.removeprefix("anomaly_score.") in _AGES


def still_stands(opened_by: Sequence[str], policy: CircuitPolicy) -> tuple[str, ...]:
    """What opened a circuit, in the words of an edited contract.

    A condition stands for those that speak of a metric of its own. Where one has no such successor,
    or nobody knows what it was, every condition of the new contract stands.
    """
    every = {render(condition): metrics_of(condition) for condition in policy.open_when}
    compared = [c for condition in policy.open_when for c in comparisons_of(condition)]
    declared = {c.metric: c.quantity.dimension for c in compared if not DEFAULT.find(c.metric)}
    catalogue = DEFAULT.with_declared(declared)
    standing: dict[str, None] = {}
    for text in opened_by:
        try:
            measured = metrics_of(parse_condition(text, catalogue=catalogue))
        except ConditionSyntaxError:  # It speaks of a metric that the contract no longer declares.
            return tuple(every)
        successors = [text] if text in every else [t for t, m in every.items() if measured & m]
        if not successors:
            return tuple(every)
        standing |= dict.fromkeys(successors)
    return tuple(standing) or tuple(every)


def unmeasured(
    policy: CircuitPolicy, metrics: Metrics, silent: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """The metrics that the policy asks for and an evaluation should have measured but could not.

    One of the moment is missed only where the evaluation says that it tried.
    """
    asked = {name for condition in policy.open_when for name in metrics_of(condition)}
    asked |= {name for condition in policy.close_when for name in metrics_of(condition)}
    return tuple(
        sorted(
            name
            for name in asked - silent
            if metrics.get(name) is None and (name in metrics or not is_momentary(name))
        )
    )


def judge_tick(
    policy: CircuitPolicy, circuit: Circuit, window: Sequence[Observation]
) -> Verdict | None:
    """The verdict by which a closed circuit opens because time passed.

    Enough observations is, for what evaluations measured, enough of them in the window. What the
    clock moves by itself needs that many evaluations ever: a feed that stops right after the
    circuit closed would otherwise never be caught.
    """
    if circuit.checks >= policy.min_observations:
        conditions = policy.open_when
    elif circuit.evaluations >= policy.min_observations:
        conditions = tuple(c for c in policy.open_when if all(map(is_momentary, metrics_of(c))))
    else:
        return None
    return judge_opening(policy, window, conditions=conditions, unknown_opens=False)


def asked_of(policy: CircuitPolicy, circuit: Circuit) -> CircuitPolicy:
    """The policy as it judges a circuit: a superseded partition is not asked what is of the newest.

    What is not asked neither opens nor stands against a probe.
    """
    return _of_older(policy) if circuit.superseded else policy


@lru_cache(maxsize=256)
def _of_older(policy: CircuitPolicy) -> CircuitPolicy:
    opening = (without_metrics(c, of_newest, taken=False) for c in policy.open_when)
    closing = (without_metrics(c, of_newest, taken=True) for c in policy.close_when)
    return replace(
        policy,
        open_when=tuple(condition for condition in opening if condition is not None),
        close_when=tuple(condition for condition in closing if condition is not None),
    )


def of_newest(metric: str) -> bool:
    """Whether a metric is of the newest partition: its age, its volume, or the asset's service."""
    return speaks_of_newest(metric) or needs_asset_history(metric)


def is_probe(circuit: Circuit, holder: str | None) -> bool:
    """Whether an evaluation in the name of ``holder`` is the probe that the circuit waits for."""
    return circuit.lease is not None and circuit.lease.holder == holder


def why_outdated(circuit: Circuit, event: Observed) -> str | None:
    """Why an evaluation is older than what is known of the same data; ``None`` where it is not."""
    if event.late is not None:
        return event.late
    made = event.evaluated_at
    bad = circuit.bad_partition(event.partition)
    same_data = event.partition == circuit.last_partition
    for counted in (circuit.last_observed_at if same_data else None, bad.at if bad else None):
        if made is not None and counted is not None and counted - made > CLOCK_SKEW:
            return f"late: made at {in_words(made)}, before the one of {in_words(counted)}"
    return None


def why_late(circuit: Circuit, event: Observed) -> str | None:
    """Why an evaluation says nothing of the newest data; ``None`` where it does."""
    outdated = why_outdated(circuit, event)
    if outdated is not None:
        return outdated
    if circuit.key.partition is not None:
        return None
    if event.backfill:
        return "a backfill of an older partition"
    if circuit.watermark is None or event.event_time is None:
        return None
    if event.partition != circuit.watermark_partition and event.event_time < circuit.watermark:
        newest, known = in_words(event.event_time), in_words(circuit.watermark)
        return f"late: its newest event {newest} is older than {known}"
    return None


def of_another_partition(
    circuit: Circuit, event: Observed | Failed, *, good: bool = True
) -> str | None:
    """Why an evaluation, or a failure, is none of what is waited for; ``None`` where it is."""
    waiting = circuit.bad_partitions
    if not waiting or event.partition is None or circuit.bad_partition(event.partition):
        return None
    what = "failed" if isinstance(event, Failed) else "is good" if good else "would not close it"
    return f"{event.partition} {what}, but the circuit waits for {of_names(waiting)}"


def of_names(partitions: Sequence[BadPartition]) -> str:
    """The first few partitions by name, and how many there are more."""
    names = [bad.name for bad in partitions]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def would_open(
    circuit: Circuit, batch: Observed, *, policy: CircuitPolicy, now: datetime
) -> Decision:
    """Whether a batch makes ``open_when`` true: the audit before it is published.

    The same judgement as :func:`advance` would make of a closed circuit. While the circuit is not
    closed there is no window, and every ``for ...`` is ignored as for a probe: a batch that would
    not close the circuit shall not overwrite the last good one. A batch of an older partition is
    judged alone, without the metrics that speak of the newest. Under ``forced_closed`` and metrics
    only nothing is refused, and the explanation says what would have been.
    """
    circuit, policy = rewound(circuit, now), asked_of(policy, circuit)
    if why_late(circuit, batch) is not None and not is_probe(circuit, batch.lease_holder):
        metrics = {n: v for n, v in batch.metrics.items() if not speaks_of_newest(n)}
        window: tuple[Observation, ...] = (Observation(now, metrics),)
        verdict = judge_opening(policy, window, unknown_opens=False)
    elif circuit.state is CircuitState.CLOSED:
        window, _ = batch_window(circuit, batch, policy, now)
        verdict = judge_opening(policy, window, unknown_opens=True, silent=batch.silent)
        if sum(observation.check for observation in window) < policy.min_observations:
            verdict = None
    else:
        window = (Observation(now, batch.metrics),)
        alone = [without_holds(condition) for condition in policy.open_when]
        verdict = judge_opening(
            policy, window, conditions=alone, unknown_opens=True, silent=batch.silent
        )
    if verdict is None:
        return Decision(Truth.FALSE, "nothing speaks for opening")
    ended = circuit.override_until is not None and now >= circuit.override_until
    override = Override.NONE if ended else circuit.override
    tolerated = policy.mode is CircuitMode.METRICS_ONLY and override is Override.NONE
    if tolerated or override in (Override.FORCED_CLOSED, Override.METRICS_ONLY):
        return Decision(Truth.FALSE, f"would have been refused: {verdict.explanation}")
    return Decision(Truth.TRUE, verdict.explanation)


def made_at(circuit: Circuit, event: Observed, now: datetime) -> datetime:
    """When an evaluation was made; never before the one that was counted last."""
    made = event.evaluated_at
    return now if made is None else min(now, max(made, circuit.last_observed_at or made))


def rewound(circuit: Circuit, now: datetime) -> Circuit:
    """The circuit as if its clock had never been ahead of ``now``.

    A clock that is set back would else make what was seen before newer than what comes, for as
    long as it takes to catch up, and a probe would wait as long. All keeps its distances; the end
    of an override, which an operator named, stays.
    """
    seen = [*(o.at for o in circuit.window), *(o.at for o in circuit.averaged)]
    seen += [bad.at for bad in circuit.bad_partitions]
    seen += [m for m in (circuit.last_observed_at, circuit.last_good_at) if m is not None]
    circuit = _opened_by(_waiting_from(circuit, now), now)
    ahead = max(seen, default=now) - now
    if ahead <= timedelta(0):
        return circuit

    def back(moment: datetime | None) -> datetime | None:
        return None if moment is None else moment - ahead

    def earlier(observations: Sequence[Observation]) -> tuple[Observation, ...]:
        return tuple(replace(o, at=o.at - ahead) for o in observations)

    return replace(
        circuit,
        window=earlier(circuit.window),
        averaged=earlier(circuit.averaged),
        last=None if circuit.last is None else replace(circuit.last, at=circuit.last.at - ahead),
        last_observed_at=back(circuit.last_observed_at),
        last_good_at=back(circuit.last_good_at),
        bad_partitions=tuple(replace(b, at=b.at - ahead) for b in circuit.bad_partitions),
    )


def _waiting_from(circuit: Circuit, now: datetime) -> Circuit:
    """The circuit whose wait for a probe, or for its verdict, did not begin after ``now``."""
    since, due, lease = circuit.waiting_since, circuit.next_probe_at, circuit.lease
    if since is None or since <= now or (due is None and lease is None):
        return circuit
    ahead = since - now
    return replace(
        circuit,
        waiting_since=now,
        next_probe_at=None if due is None else due - ahead,
        lease=None if lease is None else replace(lease, expires_at=lease.expires_at - ahead),
    )


def _opened_by(circuit: Circuit, now: datetime) -> Circuit:
    """The circuit that opened never after ``now``: till then it would seem to flap."""
    ahead = max(circuit.openings, default=now) - now
    if ahead <= timedelta(0):
        return circuit
    return replace(circuit, openings=tuple(at - ahead for at in circuit.openings))


def batch_window(
    circuit: Circuit, event: Observed, policy: CircuitPolicy, now: datetime
) -> tuple[tuple[Observation, ...], tuple[Observation, ...]]:
    """The window with an evaluation in it, and the evaluations that the next average needs."""
    raw = Observation(made_at(circuit, event, now), dict(event.metrics))
    if policy.window <= 1:
        return (*circuit.window, raw), ()
    averaged = (*circuit.averaged, raw)[-policy.window :]
    ratios = _ratios(policy)
    smooth = Observation(raw.at, {name: _average(name, averaged, ratios) for name in raw.metrics})
    return (*circuit.window, smooth), averaged[-(policy.window - 1) :]


def tick_window(circuit: Circuit, metrics: Metrics, now: datetime) -> tuple[Observation, ...]:
    """The window with the newest evaluation seen again, as the clock has changed it since."""
    checks = [observation for observation in circuit.window if observation.check]
    newest = checks[-1].metrics if checks else {}
    return (*circuit.window, Observation(now, {**newest, **metrics}, check=False))


@lru_cache(maxsize=256)
def _ratios(policy: CircuitPolicy) -> frozenset[str]:
    """The contract's own metrics that are ratios: they are compared with per cent."""
    compared = (c for condition in policy.open_when for c in comparisons_of(condition))
    return frozenset(c.metric for c in compared if c.quantity.dimension is Dimension.RATIO)


def _average(
    metric: str, observations: Sequence[Observation], ratios: frozenset[str]
) -> Fraction | None:
    newest = observations[-1].metrics[metric]
    known_metric = DEFAULT.find(metric)
    ratio = known_metric is not None and known_metric.dimension is Dimension.RATIO
    # A count says how much there is now: the mean of a full and an empty batch is of no batch.
    if newest is None or is_momentary(metric) or not (ratio or metric in ratios):
        return newest
    known = [v for o in observations if (v := o.metrics.get(metric)) is not None]
    return sum(known, Fraction(0)) / len(known)


def trimmed(window: Sequence[Observation], policy: CircuitPolicy) -> tuple[Observation, ...]:
    """As much of a window as the policy's conditions can still ask for.

    The last checks that ``for N checks`` and ``min_observations`` count; for ``for 30min`` also
    what lies that far back, where of a run of observations that say the same its ends suffice.
    """
    comparisons = [c for condition in policy.open_when for c in comparisons_of(condition)]
    holds = [c.hold for c in comparisons if c.hold is not None]
    needed = max([1, policy.min_observations, *(hold.checks or 1 for hold in holds)])
    timed = [c for c in comparisons if c.hold is not None and c.hold.duration is not None]
    if not timed:
        return tuple(observation for observation in window if observation.check)[-needed:]
    checks = [index for index, observation in enumerate(window) if observation.check]
    protected = {*checks[-needed:], len(window) - 1}
    says = [
        tuple(truth_of(without_holds(c), [observation]) for c in timed) for observation in window
    ]
    kept = [
        index
        for index in range(len(window))
        if index in protected or index == 0 or not says[index - 1] == says[index] == says[index + 1]
    ]
    horizon = max((hold.duration for hold in holds if hold.duration), default=timedelta(0))
    newest = window[-1].at
    # One observation beyond the horizon is enough to know that a comparison held throughout.
    while len(kept) > 1 and kept[0] not in protected and newest - window[kept[1]].at >= horizon:
        kept.pop(0)
    return tuple(window[index] for index in kept)[-MAX_WINDOW:]
