"""The state machine, row by row, and what the table leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_contracts.core.circuit import (
    Alert,
    AlertTopic,
    Circuit,
    CircuitEvent,
    CircuitKey,
    CircuitState,
    Failed,
    Forced,
    Heal,
    NoteKind,
    Observed,
    Override,
    PartitionsGone,
    PolicyChanged,
    ProbeAsked,
    ProbeBlocked,
    Recovered,
    RequestProbe,
    Reset,
    StateTransition,
    Step,
    Ticked,
    TransitionCause,
    UpstreamClosed,
    UpstreamOpened,
    advance,
    circuit_from_json,
    circuit_to_json,
    probe_wait,
    transition_from_json,
    transition_to_json,
    why_not_passed,
    would_open,
)
from dagster_contracts.core.circuit.judgement import trimmed
from dagster_contracts.core.circuit.probing import REMEMBERED_PARTITIONS
from dagster_contracts.core.condition import (
    Condition,
    Observation,
    Truth,
    evaluate,
    parse_condition,
)
from dagster_contracts.core.contract import (
    CircuitMode,
    CircuitPolicy,
    Json,
    OnUnknown,
    ProbeMode,
    Recovery,
)
from dagster_contracts.core.metrics import DEFAULT
from dagster_contracts.core.quantity import Dimension

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
KEY = CircuitKey("flights", "flights")
RETRY = timedelta(minutes=10)
GOOD = {"schema_validation_errors": 0.01, "data_freshness": 60}
BAD = {"schema_validation_errors": 0.07, "data_freshness": 60}
UNKNOWN: dict[str, float | None] = {"schema_validation_errors": None, "data_freshness": None}
STALE = {"data_freshness": 3600}


def _conditions(*texts: str) -> tuple[Condition, ...]:
    return tuple(parse_condition(text) for text in texts)


RECOVERY = Recovery(
    retry_after=RETRY,
    max_retries=2,
    max_wait=timedelta(hours=2),
    jitter=Fraction(0),
    probe_timeout=timedelta(hours=1),
)
POLICY = CircuitPolicy(
    open_when=_conditions("schema_validation_errors > 5%", "data_freshness > 30min"),
    recovery=RECOVERY,
)


def _opening(*conditions: str) -> CircuitPolicy:
    return replace(POLICY, open_when=_conditions(*conditions))


def _exact(metrics: Mapping[str, float | None]) -> dict[str, Fraction | None]:
    return {name: None if v is None else Fraction(str(v)) for name, v in metrics.items()}


class Story:
    """A circuit that a test leads through events; minutes are counted from noon."""

    def __init__(self, policy: CircuitPolicy = POLICY, key: CircuitKey = KEY) -> None:
        self.policy = policy
        self.circuit = Circuit(key=key, policy_hash="v1")
        self.minute: float = 0
        self.transitions: list[StateTransition] = []
        self._evaluations = 0

    @property
    def now(self) -> datetime:
        return NOON + timedelta(minutes=self.minute)

    @property
    def state(self) -> CircuitState:
        return self.circuit.state

    def expect(self, state: CircuitState) -> None:
        assert self.circuit.state is state

    def send(self, event: CircuitEvent, *, at: float | None = None) -> Step:
        if at is not None:
            self.minute = at
        step = advance(self.circuit, event, policy=self.policy, now=self.now, random=0.5)
        self.circuit = step.circuit
        self.transitions += step.transitions
        return step

    def observe(
        self,
        metrics: Mapping[str, float | None],
        *,
        at: float | None = None,
        holder: str | None = None,
        day: int | None = None,
        backfill: bool = False,
        made: float | None = None,
    ) -> Step:
        self._evaluations += 1
        return self.send(
            Observed(
                evaluation_id=f"e{self._evaluations}",
                metrics=_exact(metrics),
                event_time=None if day is None else NOON - timedelta(days=100 - day),
                partition=None if day is None else f"day {day}",
                backfill=backfill,
                lease_holder=holder,
                evaluated_at=None if made is None else NOON + timedelta(minutes=made),
            ),
            at=at,
        )

    def fail(self, *, at: float | None = None, holder: str | None = None) -> Step:
        self._evaluations += 1
        return self.send(
            Failed(evaluation_id=f"e{self._evaluations}", what="it crashed", lease_holder=holder),
            at=at,
        )

    def tick(self, metrics: Mapping[str, float | None] = {}, *, at: float | None = None) -> Step:
        return self.send(Ticked(metrics=_exact(metrics)), at=at)

    def to(self, state: CircuitState) -> Story:
        """Lead a new circuit into a state the ordinary way; half open stands at minute 10."""
        if state is CircuitState.CLOSED:
            return self
        self.observe(BAD)
        if state is CircuitState.OPEN:
            return self
        self.tick(at=10)
        if state is CircuitState.HALF_OPEN:
            return self
        self.observe(BAD)
        self.observe(BAD, at=self.minute + 20)
        self.expect(CircuitState.EXHAUSTED)
        return self


def _kinds(step: Step) -> list[NoteKind]:
    return [note.kind for note in step.notes]


def _alerts(step: Step) -> list[AlertTopic]:
    return [effect.topic for effect in step.effects if isinstance(effect, Alert)]


def _heals(step: Step) -> int:
    return sum(isinstance(effect, Heal) for effect in step.effects)


def _requests(step: Step) -> int:
    return sum(isinstance(effect, RequestProbe) for effect in step.effects)


def _unmoved(step: Step) -> bool:
    return not step.transitions and not step.effects


# -- any state --


@pytest.mark.parametrize("state", list(CircuitState))
@pytest.mark.parametrize("passed", [0, 500])
def test_a_duplicate_changes_nothing_however_much_time_has_passed(
    state: CircuitState, passed: float
) -> None:
    story = Story()
    story.observe(GOOD)
    story.to(state)
    if state is CircuitState.HALF_OPEN:
        story.send(ProbeAsked(holder="run 1"))
    before = story.circuit
    event = Observed(evaluation_id=before.recent[0], metrics=_exact(BAD), lease_holder="run 1")
    step = story.send(event, at=story.minute + passed)
    assert step.circuit == before
    assert _unmoved(step)
    assert _kinds(step) == [NoteKind.DUPLICATE]


def test_a_failure_counts_once_too() -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    event = Failed(evaluation_id="f", what="it crashed")
    assert story.send(event).circuit.state is CircuitState.OPEN
    before = story.circuit
    assert story.send(event, at=500).circuit == before


@pytest.mark.parametrize("state", list(CircuitState))
@pytest.mark.parametrize("override", [o for o in Override if o is not Override.NONE])
def test_under_an_override_everything_is_recorded_and_nothing_moves(
    state: CircuitState, override: Override
) -> None:
    story = Story().to(state)
    story.send(Forced(override=override, actor="ann", reason="maintenance"))
    for metrics in (BAD, GOOD):
        step = story.observe(metrics, at=story.minute + 100)
        assert not step.transitions
        assert NoteKind.RECORDED in _kinds(step)
        assert not story.tick(STALE).transitions
        failed = story.fail(holder="run 1")
        assert not failed.transitions
        assert NoteKind.RECORDED in _kinds(failed)
        assert _kinds(story.send(ProbeAsked(holder="run 1"))) == [NoteKind.PROBE_REFUSED]
    story.expect(state)
    assert story.circuit.lease is None


@pytest.mark.parametrize(
    ("override", "effective"),
    [
        (Override.FORCED_OPEN, CircuitState.OPEN),
        (Override.FORCED_CLOSED, CircuitState.CLOSED),
        (Override.METRICS_ONLY, CircuitState.CLOSED),
    ],
)
@pytest.mark.parametrize("state", list(CircuitState))
def test_consumers_see_the_override(
    state: CircuitState, override: Override, effective: CircuitState
) -> None:
    story = Story().to(state)
    assert story.circuit.effective_state is state
    step = story.send(Forced(override=override, actor="ann", reason="maintenance"))
    assert story.circuit.effective_state is effective
    story.expect(state)
    assert _kinds(step) == [NoteKind.OVERRIDE_SET]
    assert _alerts(step) == [AlertTopic.OVERRIDE]
    assert step.notes[0].actor == "ann"
    assert "maintenance" in step.notes[0].explanation


def test_an_override_ends_by_itself_and_what_was_recorded_then_counts() -> None:
    story = Story()
    until = NOON + timedelta(minutes=30)
    story.send(Forced(override=Override.FORCED_CLOSED, actor="ann", reason="known", until=until))
    story.observe(BAD, at=10)
    assert story.tick(at=29.9).circuit.override is Override.FORCED_CLOSED
    step = story.tick(at=30)
    assert _kinds(step) == [NoteKind.OVERRIDE_EXPIRED]
    assert story.circuit.override is Override.NONE
    assert story.circuit.override_actor is None
    assert [t.cause for t in step.transitions] == [TransitionCause.TICK]
    story.expect(CircuitState.OPEN)


def test_lifting_an_override_is_audited_and_lifting_none_is_nothing() -> None:
    story = Story()
    lift = Forced(override=Override.NONE, actor="bob", reason="done")
    assert _unmoved(story.send(lift))
    story.send(Forced(override=Override.FORCED_OPEN, actor="ann", reason="maintenance"))
    step = story.send(lift)
    assert _kinds(step) == [NoteKind.OVERRIDE_LIFTED]
    assert _alerts(step) == [AlertTopic.OVERRIDE]
    assert step.notes[0].actor == "bob"
    assert story.circuit.override is Override.NONE


def test_two_operators_who_decide_at_the_same_moment_send_two_alerts() -> None:
    story = Story()
    keys = set()
    for actor in ("ann", "bob"):
        step = story.send(Forced(override=Override.FORCED_OPEN, actor=actor, reason="cents"))
        keys |= {e.dedupe_key for e in step.effects if isinstance(e, Alert)}
    assert len(keys) == 2


def test_forcing_takes_the_lease_away() -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    story.send(ProbeAsked(holder="run 1"))
    story.send(Forced(override=Override.FORCED_OPEN, actor="ann", reason="maintenance"))
    story.send(Forced(override=Override.NONE, actor="ann", reason="done"), at=500)
    story.expect(CircuitState.HALF_OPEN)  # no lease ran out meanwhile
    assert story.send(ProbeAsked(holder="run 2")).circuit.lease is not None


def test_consumers_are_healed_when_a_forced_opening_ends() -> None:
    story = Story()
    story.send(Forced(override=Override.FORCED_OPEN, actor="ann", reason="maintenance"))
    assert _heals(story.send(Forced(override=Override.NONE, actor="ann", reason="done"))) == 1
    story.to(CircuitState.OPEN)
    step = story.send(Forced(override=Override.FORCED_CLOSED, actor="ann", reason="vouched"))
    assert _heals(step) == 0  # forced is not good


# -- closed --


def test_a_violation_opens() -> None:
    story = Story()
    assert _unmoved(story.observe(GOOD))
    assert story.circuit.last_good_at == NOON
    step = story.observe(BAD, at=5)
    circuit = story.circuit
    (transition,) = step.transitions
    assert transition.cause is TransitionCause.VIOLATION
    assert transition.explanation == "schema_validation_errors was 7.0%, which is > 5%"
    assert transition.evaluation_id == circuit.evaluation_id == "e2"
    assert (transition.before, transition.after) == (CircuitState.CLOSED, CircuitState.OPEN)
    assert circuit.generation == transition.generation == 1
    assert circuit.attempts == 1
    assert circuit.opened_at == story.now
    assert circuit.reason == transition.explanation
    assert circuit.next_probe_at == story.now + RETRY
    assert circuit.window == ()
    assert _alerts(step) == [AlertTopic.OPENED]


def test_a_tick_opens() -> None:
    story = Story()
    story.observe(GOOD)
    assert _unmoved(story.tick({"data_freshness": 1800}, at=30))
    step = story.tick(STALE, at=60)
    assert [t.cause for t in step.transitions] == [TransitionCause.TICK]
    assert story.circuit.reason == "data_freshness was 1h, which is > 30min"
    assert story.circuit.evaluation_id is None


def test_a_circuit_that_never_observed_anything_is_not_opened_by_a_tick() -> None:
    story = Story()
    assert _unmoved(story.tick(STALE))


def test_materializations_that_only_fail_open_a_circuit() -> None:
    policy = replace(POLICY, open_when=_conditions("failed_materializations >= 2"))
    story = Story(policy)
    for count in (1, 2):
        story.send(
            Failed(
                evaluation_id=f"f{count}",
                what="it crashed",
                metrics={"failed_materializations": Fraction(count)},
            )
        )
    story.expect(CircuitState.OPEN)


def test_a_feed_that_stops_right_after_the_circuit_closed_is_caught() -> None:
    story = Story(replace(POLICY, min_observations=2))
    story.observe(BAD)
    story.observe(BAD)
    story.observe(GOOD, at=10)
    story.expect(CircuitState.CLOSED)
    assert story.circuit.window == ()
    assert story.tick(STALE, at=70).circuit.state is CircuitState.OPEN


def test_too_few_observations_do_not_open_and_a_tick_is_no_way_around() -> None:
    story = Story(replace(POLICY, min_observations=3))
    for _ in range(2):
        assert _unmoved(story.observe(BAD))
        assert _unmoved(story.tick(STALE))
    assert story.observe(GOOD).circuit.state is CircuitState.CLOSED
    assert story.observe(BAD).circuit.state is CircuitState.OPEN


def test_what_evaluations_measured_needs_them_in_the_window_even_for_a_tick() -> None:
    story = Story(replace(POLICY, min_observations=2))
    story.observe(BAD)
    story.observe(BAD)
    story.observe(GOOD, at=10)
    story.observe(BAD)
    assert story.circuit.evaluations == 4
    assert _unmoved(story.tick())
    assert story.tick(STALE).circuit.state is CircuitState.OPEN


def test_a_tick_needs_as_many_evaluations_as_the_policy_says_and_no_more() -> None:
    story = Story(replace(POLICY, min_observations=2))
    story.observe(GOOD)
    assert _unmoved(story.tick(STALE))
    story.fail()
    assert story.circuit.evaluations == 2
    assert story.tick(STALE).circuit.state is CircuitState.OPEN


def test_a_hold_of_checks_opens_at_the_last_of_them_and_reads_are_no_checks() -> None:
    policy = replace(POLICY, open_when=_conditions("schema_validation_errors > 5% for 3 checks"))
    story = Story(policy)
    for metrics in (BAD, BAD, GOOD, BAD, BAD):
        assert _unmoved(story.observe(metrics))
        for _ in range(5):
            assert _unmoved(story.tick({"data_freshness": 60}))
    assert story.observe(BAD).circuit.state is CircuitState.OPEN


def test_a_hold_of_time_is_held_by_ticks_and_broken_by_one_good_look() -> None:
    policy = replace(POLICY, open_when=_conditions("consumer_reports > 0 for 30min"))
    story = Story(policy)
    reported, quiet = {"consumer_reports": 1}, {"consumer_reports": 0}
    story.observe(quiet)
    for minute in range(1, 30):
        assert _unmoved(story.tick(reported, at=minute))
    assert len(story.circuit.window) <= 4  # a run is known by its ends
    assert _unmoved(story.tick(quiet, at=30))
    for minute in range(31, 61):
        assert _unmoved(story.tick(reported, at=minute))
    assert story.tick(reported, at=61).circuit.state is CircuitState.OPEN


def test_a_window_averages_what_batches_measured_and_not_what_is_of_the_moment() -> None:
    story = Story(replace(POLICY, window=2))
    assert _unmoved(story.observe({"schema_validation_errors": 0.02, "data_freshness": 0}))
    assert _unmoved(story.observe({"schema_validation_errors": 0.07, "data_freshness": 1700}))
    assert story.circuit.window[-1].metrics == {
        "schema_validation_errors": Fraction(45, 1000),
        "data_freshness": Fraction(1700),
    }
    assert story.circuit.last is not None
    assert story.circuit.last.metrics["schema_validation_errors"] == Fraction(7, 100)
    step = story.observe({"schema_validation_errors": 0.04, "data_freshness": 0})
    assert story.circuit.reason == "schema_validation_errors was 5.5%, which is > 5%"
    assert len(step.transitions) == 1
    assert story.circuit.averaged == ()


@pytest.mark.parametrize("override", [*Override])
def test_each_spell_of_an_unknown_metric_is_an_alert_while_the_primary_is_read(
    override: Override,
) -> None:
    story = Story()
    if override is not Override.NONE:
        story.send(Forced(override=override, actor="ann", reason="known"))
    keys = []
    for metrics in (UNKNOWN, UNKNOWN, GOOD, UNKNOWN):
        effects = story.observe(metrics, at=story.minute + 1).effects
        keys += [e.dedupe_key for e in effects if isinstance(e, Alert)]
    told = 0 if override is Override.FORCED_OPEN else 2
    assert (len(keys), len(set(keys))) == (told, told)


def test_what_an_evaluation_does_not_try_is_said_once() -> None:
    story = Story()
    keys = set()
    for metrics in ({"data_freshness": 60}, GOOD, {"data_freshness": 60}):
        effects = story.observe(metrics).effects
        keys |= {e.dedupe_key for e in effects if isinstance(e, Alert)}
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("condition", "metric", "values", "state"),
    [
        ("row_count < 10", "row_count", (100, 100, 0), CircuitState.OPEN),
        ("row_count < 10", "row_count", (0, 0, 100), CircuitState.CLOSED),
        ("data_latency > 5min", "data_latency", (0, 0, 301), CircuitState.OPEN),
        ("failed_ratio.shares > 10%", "failed_ratio.shares", (0, 0, 0.25), CircuitState.CLOSED),
        ("null_ratio.id > 10%", "null_ratio.id", (0, 0, 0.25), CircuitState.CLOSED),
        ("null_ratio.id > 10%", "null_ratio.id", (0.1, 0.2, 0.25), CircuitState.OPEN),
    ],
)
def test_a_window_averages_ratios_and_judges_all_else_by_the_last(
    condition: str, metric: str, values: tuple[float, ...], state: CircuitState
) -> None:
    declared = DEFAULT.with_declared({"failed_ratio.shares": Dimension.RATIO})
    opens = (parse_condition(condition, catalogue=declared),)
    story = Story(replace(POLICY, open_when=opens, window=3, min_observations=3))
    for value in values:
        story.observe({metric: value})
    story.expect(state)


def test_an_unknown_metric_neither_opens_nor_is_silent() -> None:
    story = Story()
    step = story.observe(UNKNOWN)
    assert not step.transitions
    assert _kinds(step) == [NoteKind.RECORDED, NoteKind.UNKNOWN_METRIC]
    (alert,) = step.effects
    assert isinstance(alert, Alert)
    assert alert.topic is AlertTopic.UNKNOWN_METRIC
    assert "schema_validation_errors" in alert.explanation
    assert story.observe(UNKNOWN).effects == ()  # told once


def test_a_metric_of_the_moment_that_no_evaluation_measures_is_not_missed() -> None:
    policy = replace(POLICY, open_when=_conditions("source_unavailable > 0"))
    assert _alerts(Story(policy).observe({})) == []


def test_on_unknown_open_opens_for_an_evaluation_but_not_for_a_tick() -> None:
    story = Story(replace(POLICY, on_unknown=OnUnknown.OPEN))
    story.observe(GOOD)
    assert _unmoved(story.tick({"data_freshness": None}))
    step = story.observe(UNKNOWN)
    assert [t.cause for t in step.transitions] == [TransitionCause.UNKNOWN]


_looks = st.lists(
    st.tuples(
        st.integers(0, 15),
        st.sampled_from([None, Fraction(0), Fraction(1)]),
        st.sampled_from([None, Fraction(0), Fraction(1)]),
        st.booleans(),
    ),
    max_size=40,
)


@given(_looks)
def test_what_is_left_of_the_window_decides_like_all_of_it(
    looks: list[tuple[int, Fraction | None, Fraction | None, bool]],
) -> None:
    conditions = _conditions(
        "consumer_reports > 0 for 30min",
        "consumer_reports > 0 for 7min and source_unavailable > 0 for 20min",
        "source_unavailable == 0 for 3 checks",
    )
    policy = replace(POLICY, open_when=conditions)
    whole: list[Observation] = []
    kept: tuple[Observation, ...] = ()
    at = NOON
    for minutes, reports, unavailable, check in looks:
        at += timedelta(minutes=minutes)
        metrics = {"consumer_reports": reports, "source_unavailable": unavailable}
        look = Observation(at, metrics, check=check)
        whole.append(look)
        kept = trimmed((*kept, look), policy)
        for condition in conditions:
            assert evaluate(condition, kept) == evaluate(condition, whole)
    assert len(kept) <= 3 + 2 * 31


# -- late --


def test_a_backfill_of_an_older_partition_is_recorded_as_late() -> None:
    story = Story()
    before = story.circuit
    step = story.observe(BAD, backfill=True)
    assert _kinds(step) == [NoteKind.LATE]
    assert _unmoved(step)
    assert replace(step.circuit, recent=()) == before


def test_another_partition_below_the_watermark_is_late_and_the_same_one_is_not() -> None:
    story = Story()
    story.observe(GOOD, day=5)
    assert _kinds(story.observe(BAD, day=4)) == [NoteKind.LATE]
    assert story.circuit.watermark_partition == "day 5"
    assert story.observe(BAD, day=5).circuit.state is CircuitState.OPEN


def test_an_unpartitioned_table_replaces_what_was_seen() -> None:
    story = Story()

    def restored(hours: int, evaluation_id: str) -> Observed:
        return Observed(
            evaluation_id=evaluation_id,
            metrics=_exact(BAD if hours else GOOD),
            event_time=NOON - timedelta(hours=hours),
        )

    story.send(restored(0, "new"))
    assert story.send(restored(48, "old backup")).circuit.state is CircuitState.OPEN
    assert story.circuit.watermark == NOON - timedelta(hours=48)


def test_a_result_reported_out_of_order_is_late_for_the_same_data_only() -> None:
    story = Story()
    story.observe(GOOD, made=-10, day=5)
    assert _kinds(story.observe(BAD, made=-71, day=5)) == [NoteKind.LATE]
    assert story.observe(BAD, made=-71, day=6).circuit.state is CircuitState.OPEN


def test_machines_whose_clocks_differ_do_not_hide_violations() -> None:
    story = Story()
    story.observe(GOOD, made=0)
    assert story.observe(BAD, made=-59).circuit.state is CircuitState.OPEN


def test_what_is_known_to_be_older_changes_nothing_but_is_a_probe_for_the_holder() -> None:
    def older(story: Story, number: str, holder: str | None = None) -> Step:
        return story.send(
            Observed(evaluation_id=number, metrics=_exact(BAD), lease_holder=holder, late="older")
        )

    story = Story()
    assert _kinds(older(story, "a")) == [NoteKind.LATE]
    story.to(CircuitState.HALF_OPEN)
    story.send(ProbeAsked(holder="me"))
    assert _unmoved(older(story, "b"))
    assert older(story, "c", "me").circuit.attempts == 2


def test_a_clock_that_is_set_back_makes_no_evaluation_late_and_a_hold_goes_on() -> None:
    story = Story(_opening("schema_validation_errors > 5% for 30min"))
    story.observe(BAD, at=100)
    story.observe(BAD, at=110)
    story.observe(BAD, at=0)
    story.expect(CircuitState.CLOSED)
    assert story.circuit.last_observed_at == story.now
    story.observe(BAD, at=19)
    story.expect(CircuitState.CLOSED)
    story.observe(BAD, at=20)
    story.expect(CircuitState.OPEN)


def test_a_failure_of_older_data_is_late_and_a_bad_probe_for_the_holder_alone() -> None:
    def fail(story: Story, number: str, holder: str | None = None) -> Step:
        return story.send(
            Failed(
                evaluation_id=number,
                what="boom",
                metric="failed_materializations",
                metrics={"failed_materializations": Fraction(3)},
                lease_holder=holder,
                late="a backfill failed",
            )
        )

    story = Story(_opening("schema_validation_errors > 5%", "failed_materializations >= 3"))
    assert _kinds(fail(story, "a")) == [NoteKind.LATE]
    assert story.circuit.failures == ()
    story.to(CircuitState.HALF_OPEN)
    assert _unmoved(fail(story, "b"))
    story.send(ProbeAsked(holder="me"))
    assert fail(story, "c", "me").circuit.attempts == 2


def test_failures_in_a_row_end_with_data_that_is_not_late() -> None:
    story = Story(_opening("failed_materializations >= 3", "source_unavailable >= 2"))

    def fail(number: int, metric: str) -> None:
        metrics = {metric: Fraction(story.circuit.in_a_row(metric) + 1)}
        identity = f"{metric}{number}"
        story.send(Failed(evaluation_id=identity, what="x", metric=metric, metrics=metrics))

    def arrive(number: int, *, backfill: bool = False) -> None:
        identity = f"a{number}"
        story.send(Observed(evaluation_id=identity, metrics={}, arrived=True, backfill=backfill))

    arrive(0)
    fail(1, "failed_materializations")
    fail(2, "source_unavailable")
    arrive(1, backfill=True)
    assert story.circuit.failures == (("failed_materializations", 1), ("source_unavailable", 1))
    assert circuit_from_json(circuit_to_json(story.circuit)) == story.circuit
    story.send(Recovered(metric="source_unavailable"))
    assert story.circuit.failures == (("failed_materializations", 1),)
    arrive(2)
    assert story.circuit.failures == ()


def test_an_event_time_in_the_future_does_not_make_all_others_late() -> None:
    story = Story()
    story.observe(GOOD, day=50)
    story.observe(GOOD, day=9_000)
    assert story.circuit.watermark_partition == "day 50"
    assert story.observe(BAD, day=51).circuit.state is CircuitState.OPEN


def test_a_partition_has_a_circuit_of_its_own_to_which_its_backfills_belong() -> None:
    story = Story(key=CircuitKey("flights", "flights", "day 5"))
    assert story.observe(BAD, day=5, backfill=True).circuit.state is CircuitState.OPEN


def test_a_good_probe_of_another_partition_than_the_one_that_opened_closes_nothing() -> None:
    for opening in ("batch", "failure"):
        failing = _conditions("failed_materializations >= 1")
        story = Story(replace(POLICY, open_when=(*POLICY.open_when, *failing)))
        story.observe(GOOD, day=5)
        if opening == "batch":
            story.observe(BAD, day=6)
        else:
            story.send(
                Failed(
                    evaluation_id="f1",
                    what="boom",
                    metrics=_exact({"failed_materializations": 1}),
                    partition="day 6",
                )
            )
        story.expect(CircuitState.OPEN)
        assert story.circuit.awaited_partition == "day 6"
        good = GOOD | {"failed_materializations": 0}
        story.observe(good, day=7, at=10)  # as a run by itself
        story.expect(CircuitState.HALF_OPEN)
        story.send(ProbeAsked(holder="run 1", partition="day 6"))
        story.observe(good, day=5, holder="run 1")  # as the probe
        story.expect(CircuitState.HALF_OPEN)
        story.observe(good, day=6, holder="run 1")
        story.expect(CircuitState.CLOSED)
        assert story.circuit.bad_partitions == ()


def test_only_a_partition_that_is_bad_mends_an_exhausted_circuit() -> None:
    story = Story(replace(POLICY, recovery=replace(POLICY.recovery, max_retries=0)))
    story.observe(BAD, day=6)
    story.expect(CircuitState.EXHAUSTED)
    for day in (7, 8):
        step = story.observe(GOOD, day=day)
        assert _unmoved(step)
        assert "day 6" in step.notes[-1].explanation
    story.observe(GOOD, day=6)  # older than the newest, and what the circuit waits for
    story.expect(CircuitState.CLOSED)


def test_a_contract_that_waits_is_closed_by_the_next_run_of_what_is_bad() -> None:
    waiting = replace(POLICY.recovery, probe=ProbeMode.WAIT)
    story = Story(replace(POLICY, recovery=waiting))
    story.observe(BAD, day=6)
    story.observe(GOOD, day=7, at=10)
    story.expect(CircuitState.HALF_OPEN)  # day 6 is bad still, and would be served
    story.observe(GOOD, day=6)
    story.expect(CircuitState.CLOSED)


def _waiting(story: Story) -> list[str]:
    return [bad.name for bad in story.circuit.bad_partitions]


def test_the_circuit_closes_when_every_partition_that_became_bad_is_good() -> None:
    story = Story()
    story.observe(BAD, day=6)
    step = story.observe(BAD, day=7, at=5)
    assert not step.transitions
    assert NoteKind.BAD_PARTITION in _kinds(step)
    story.observe(BAD, day=5, backfill=True)  # it opens nothing, but closing would serve it
    story.observe(GOOD, day=4, backfill=True)
    assert _waiting(story) == ["day 6", "day 7", "day 5"]
    story.tick(at=10)
    asked = []
    for number, day in enumerate((6, 7, 5)):
        asked.append(next(e for e in story.tick().effects if isinstance(e, RequestProbe)))
        story.send(ProbeAsked(holder=f"run {number}", partition=f"day {day}"))
        story.expect(CircuitState.HALF_OPEN)
        assert story.circuit.awaited_partition == f"day {day}"
        step = story.observe(GOOD, day=day, holder=f"run {number}")
        assert story.circuit.lease is None
    story.expect(CircuitState.CLOSED)
    assert (_heals(step), len({effect.dedupe_key for effect in asked})) == (1, 3)
    assert story.circuit.bad_partitions == ()
    assert [t.after for t in story.transitions].count(CircuitState.HALF_OPEN) == 1


def test_a_bad_partition_that_became_good_by_itself_is_probed_no_more() -> None:
    story = Story()
    story.observe(BAD, day=6)
    story.observe(BAD, day=7, at=5)
    story.observe(BAD, day=7, at=6)
    assert _waiting(story) == ["day 6", "day 7"]
    story.observe(GOOD, day=6, at=7)
    assert _waiting(story) == ["day 7"]
    story.observe(GOOD, day=7, at=8)  # before the probe is due: the last one is left to it
    assert _waiting(story) == ["day 7"]
    story.tick(at=10)
    story.observe(GOOD, day=7, at=11)
    story.expect(CircuitState.CLOSED)


def test_what_is_being_probed_is_answered_by_its_probe_alone() -> None:
    story = Story()
    story.observe(BAD, day=6)
    story.observe(BAD, day=7)
    story.tick(at=10)
    story.send(ProbeAsked(holder="run 1", partition="day 6"))
    story.observe(GOOD, day=6)
    story.observe(GOOD, day=7)
    assert _waiting(story) == ["day 6"]
    story.observe(GOOD, day=6, holder="run 1")
    story.expect(CircuitState.CLOSED)


def test_a_bad_probe_of_one_of_several_spends_an_attempt_and_keeps_the_rest() -> None:
    story = Story()
    story.observe(BAD, day=6)
    story.observe(BAD, day=7)
    story.observe(GOOD, day=6, at=10)
    story.expect(CircuitState.HALF_OPEN)
    assert story.circuit.attempts == 1
    story.observe(BAD, day=7)
    story.expect(CircuitState.OPEN)
    assert (story.circuit.attempts, _waiting(story)) == (2, ["day 7"])
    story.observe(BAD, day=7, at=40)
    story.expect(CircuitState.EXHAUSTED)
    story.observe(BAD, day=8)
    story.observe(GOOD, day=8)  # one of two is mended: the other one is probed
    story.expect(CircuitState.HALF_OPEN)
    assert _requests(story.tick()) == 1
    assert story.circuit.awaited_partition == "day 7"


def test_several_good_probes_are_counted_over_the_partitions_that_were_bad() -> None:
    story = Story(replace(POLICY, recovery=replace(RECOVERY, probes=2)))
    story.observe(BAD, day=6)
    story.observe(GOOD, day=6, at=10)
    story.expect(CircuitState.HALF_OPEN)
    assert _waiting(story) == ["day 6"]  # a second probe of the same
    story.observe(GOOD, day=7)
    story.expect(CircuitState.HALF_OPEN)
    story.observe(GOOD, day=6)
    story.expect(CircuitState.CLOSED)


def test_bad_partitions_are_remembered_under_an_override_and_an_edit_until_a_reset() -> None:
    story = Story()
    story.observe(BAD, day=6)
    story.send(Forced(override=Override.FORCED_CLOSED, actor="ann", reason="known"))
    story.observe(BAD, day=7)
    story.observe(GOOD, day=6)
    story.send(Forced(override=Override.NONE, actor="ann", reason="over"))
    story.policy = replace(POLICY, min_observations=2)
    story.send(PolicyChanged(policy_hash="v2"))
    assert _waiting(story) == ["day 7"]
    assert circuit_from_json(circuit_to_json(story.circuit)) == story.circuit
    story.send(Reset(actor="ann", reason="mended"))
    assert story.circuit.bad_partitions == ()


def test_what_an_override_held_back_is_probed_when_time_opens_the_circuit() -> None:
    story = Story()
    story.send(Forced(override=Override.FORCED_CLOSED, actor="ann", reason="known"))
    story.observe(BAD, day=6)
    story.send(Forced(override=Override.NONE, actor="ann", reason="over"))
    assert [t.cause for t in story.tick().transitions] == [TransitionCause.TICK]
    assert _waiting(story) == ["day 6"]


def test_the_newest_bad_partitions_are_remembered_and_the_rest_is_told() -> None:
    story = Story()
    for day in range(REMEMBERED_PARTITIONS + 2):
        step = story.observe(BAD, day=day)
    assert len(_waiting(story)) == REMEMBERED_PARTITIONS
    assert story.circuit.awaited_partition == "day 2"
    assert story.circuit.bad_forgotten == 2
    assert "day 1 is no longer waited for" in step.notes[1].explanation
    for day in range(2, REMEMBERED_PARTITIONS + 2):
        step = story.observe(GOOD, day=day, at=10)
    story.expect(CircuitState.CLOSED)
    assert "2 more bad partitions" in step.transitions[-1].explanation


def test_an_older_partition_that_is_waited_for_is_not_asked_how_old_it_is() -> None:
    story = Story()
    story.observe(BAD, day=6)
    story.observe(GOOD, day=7)
    story.observe({"schema_validation_errors": 0, "data_freshness": 86_400}, day=6, at=10)
    story.expect(CircuitState.CLOSED)


def test_what_only_the_newest_can_answer_is_asked_of_it_last() -> None:
    story = Story()
    story.observe(GOOD, day=7)
    story.tick(STALE)
    story.observe(BAD, day=6)
    old = {"schema_validation_errors": 0, "data_freshness": 86_400}
    step = story.observe(old, day=6, at=10)
    story.expect(CircuitState.HALF_OPEN)
    assert "is asked of the newest" in step.notes[-1].explanation
    assert story.circuit.awaited_partition is None
    story.observe(GOOD, day=8)
    story.expect(CircuitState.CLOSED)


def test_a_row_of_an_earlier_release_waits_for_the_partition_that_opened_it() -> None:
    story = Story()
    story.observe(BAD, day=6)
    written = circuit_to_json(story.circuit)
    del written["bad_partitions"]
    assert circuit_from_json({**written, "opened_partition": "day 6"}) == story.circuit


def test_a_circuit_that_time_opened_is_closed_by_whatever_is_newest() -> None:
    story = Story()
    story.observe(GOOD, day=6)
    story.tick({"data_freshness": 1e9})
    story.expect(CircuitState.OPEN)
    story.observe(GOOD, day=7, at=10)
    story.expect(CircuitState.CLOSED)


def test_a_probe_of_another_partition_than_is_next_is_refused_and_proves_nothing() -> None:
    story = Story()
    story.observe(BAD, day=6)
    story.observe(BAD, day=7)
    story.tick(at=10)
    story.observe(GOOD, day=6)  # after the sensor has read that day 6 is to be probed
    for day in (6, 8):
        step = story.send(ProbeAsked(holder="run 1", partition=f"day {day}"))
        assert _kinds(step) == [NoteKind.PROBE_REFUSED]
        assert f"day 7 is to be probed, and not day {day}" in step.notes[0].explanation
        assert (story.circuit.lease, _waiting(story)) == (None, ["day 7"])
    story.observe(BAD, day=8)
    step = story.send(ProbeAsked(holder="run 1", partition="day 8"))
    assert _kinds(step) == [NoteKind.PROBE_REFUSED]
    assert _waiting(story) == ["day 7", "day 8"]


def test_partitions_that_are_gone_are_waited_for_no_longer() -> None:
    story = Story()
    story.observe(BAD, day=5)
    story.observe(BAD, day=6)
    story.observe(BAD, day=7)
    assert story.send(PartitionsGone(partitions=("day 4",))) == Step(story.circuit)
    step = story.send(PartitionsGone(partitions=("day 7", "day 5")), at=10)
    assert _kinds(step) == [NoteKind.PARTITION_GONE]
    assert "day 5, day 7, to be good first, are gone; next is day 6" in step.notes[0].explanation
    assert _waiting(story) == ["day 6"]
    step = story.send(PartitionsGone(partitions=("day 6",)))
    assert "day 6, to be good first, is gone; the newest" in step.notes[0].explanation
    story.expect(CircuitState.OPEN)
    story.tick()
    story.send(ProbeAsked(holder="run 1", partition="day 5"))  # the newest that there is
    story.observe(GOOD, day=5, holder="run 1")
    story.expect(CircuitState.CLOSED)


@pytest.mark.parametrize("retries", [0, 3])
def test_the_newest_mends_what_waits_for_nothing_that_exists(retries: int) -> None:
    waiting = replace(POLICY.recovery, probe=ProbeMode.WAIT, max_retries=retries)
    story = Story(replace(POLICY, recovery=waiting))
    story.observe(BAD, day=6)
    story.observe(GOOD, day=7, at=10)
    assert story.circuit.state in (CircuitState.HALF_OPEN, CircuitState.EXHAUSTED)
    story.send(PartitionsGone(partitions=("day 6",)))
    assert _kinds(story.observe(GOOD, day=4)) == [NoteKind.LATE]
    story.observe(BAD, day=8)  # what is bad since is waited for as ever
    story.send(PartitionsGone(partitions=("day 8",)))
    story.observe(GOOD, day=9, at=40)
    story.expect(CircuitState.CLOSED)


def test_a_failure_of_a_partition_that_is_not_waited_for_is_recorded_only() -> None:
    story = Story(replace(POLICY, recovery=replace(POLICY.recovery, max_retries=1)))
    story.observe(BAD, day=6)

    def fails(day: int, holder: str | None = None) -> Step:
        failed = Failed(
            evaluation_id=f"failure {day} {holder}",
            what="boom",
            partition=f"day {day}",
            lease_holder=holder,
        )
        return story.send(failed)

    story.minute = 10
    step = fails(7)
    assert "day 7 failed, but the circuit waits for day 6" in step.notes[-1].explanation
    story.expect(CircuitState.HALF_OPEN)
    story.send(ProbeAsked(holder="run 1", partition="day 6"))
    fails(7, "run 1")  # the run that is the probe has failed, whatever it made
    story.expect(CircuitState.EXHAUSTED)


def test_a_batch_that_is_not_waited_for_and_breaks_nothing_spends_no_retry() -> None:
    policy = replace(POLICY, close_when=_conditions("schema_validation_errors < 1%"))
    story = Story(replace(policy, recovery=replace(POLICY.recovery, max_retries=1)))
    story.observe(BAD, day=6)
    step = story.observe({"schema_validation_errors": 0.03, "data_freshness": 0}, day=7, at=10)
    story.expect(CircuitState.HALF_OPEN)
    assert "day 7 would not close it, but the circuit waits for day 6" in step.notes[-1].explanation
    story.observe({"schema_validation_errors": 0.03, "data_freshness": 0}, day=6)
    story.expect(CircuitState.EXHAUSTED)


def test_a_consumer_that_cannot_read_spends_no_retry() -> None:
    story = Story(replace(POLICY, recovery=replace(POLICY.recovery, max_retries=1)))
    story.observe(BAD)
    metrics = {"source_unavailable": Fraction(1)}
    failed = Failed(
        evaluation_id="f", what="cannot be read", metric="source_unavailable", metrics=metrics
    )
    story.send(failed, at=10)
    story.expect(CircuitState.HALF_OPEN)
    assert story.circuit.attempts == 1
    story.observe(GOOD)
    story.expect(CircuitState.CLOSED)


def test_only_data_of_the_newest_partition_ends_a_row_of_failures() -> None:
    story = Story(
        replace(POLICY, recovery=replace(POLICY.recovery, retry_after=timedelta(hours=9)))
    )
    story.observe(BAD, day=6)
    story.observe(BAD, day=7)
    metrics = {"failed_materializations": Fraction(2)}
    failed = Failed(
        evaluation_id="f", what="boom", metric="failed_materializations", metrics=metrics
    )
    story.send(failed)
    observed = Observed(
        evaluation_id="late", metrics=_exact(GOOD), partition="day 6", backfill=True, arrived=True
    )
    story.send(observed)
    assert story.circuit.in_a_row("failed_materializations") == 2
    story.send(replace(observed, evaluation_id="new", partition="day 7", backfill=False))
    assert story.circuit.in_a_row("failed_materializations") == 0


def test_openings_of_a_clock_that_was_ahead_do_not_make_a_circuit_flap_until_then() -> None:
    policy = replace(POLICY, flapping_openings=3, flapping_window=timedelta(minutes=30))
    story = Story(policy)
    ahead = 400 * 24 * 60.0
    for minute in (ahead, ahead + 1):
        story.observe(BAD, at=minute)
        story.send(Reset(actor="ann", reason="mended"))
    story.observe(BAD, at=40)  # the clock is right again, and these two count once
    story.send(Reset(actor="ann", reason="mended"), at=80)
    story.observe(BAD)
    assert story.circuit.next_probe_at == story.now + RETRY


def test_a_run_that_has_brought_what_it_was_asked_for_fails_like_any_other() -> None:
    story = Story()
    story.observe(BAD, day=6)
    story.observe(BAD, day=5, backfill=True)
    story.tick(at=10)
    story.send(ProbeAsked(holder="run 1", partition="day 6"))
    step = story.observe(GOOD, day=6, holder="run 1")
    assert _kinds(step) == [NoteKind.PROBE_COUNTED]
    failed = Failed(evaluation_id="f", what="boom", partition="day 6", lease_holder="run 1")
    step = story.send(failed)
    assert "day 6 failed, but the circuit waits for day 5" in step.notes[-1].explanation
    story.expect(CircuitState.HALF_OPEN)
    assert story.circuit.attempts == 1


REPORTED = _opening("failed_ratio.shares > 10%", "failed_ratio.bots > 50%")


@pytest.mark.parametrize("close_when", [(), ("failed_ratio.shares < 1%", "failed_ratio.bots < 1%")])
def test_a_result_of_others_that_lacks_what_broke_neither_closes_nor_spends(
    close_when: tuple[str, ...],
) -> None:
    story = Story(replace(REPORTED, close_when=_conditions(*close_when)))
    story.observe({"failed_ratio.shares": 0.2, "failed_ratio.bots": 0}, made=0)
    story.expect(CircuitState.OPEN)
    step = story.observe({"failed_ratio.bots": 0}, at=10, made=10)
    story.expect(CircuitState.HALF_OPEN)
    assert "it says nothing of it" in step.notes[-1].explanation
    assert (story.circuit.attempts, story.circuit.good_probes) == (1, 0)
    # A batch of our own that could not measure it is a probe, and a bad one.
    story.observe({"failed_ratio.bots": 0})
    story.expect(CircuitState.OPEN)
    assert story.circuit.attempts == 2
    story.observe({"failed_ratio.shares": 0, "failed_ratio.bots": 0}, at=40, made=40)
    story.expect(CircuitState.CLOSED)


def test_what_others_tell_is_not_unknown_because_an_evaluation_does_not_tell_it() -> None:
    policy = _opening("schema_validation_errors > 5%", "failed_ratio.shares > 10%")
    story = Story(replace(policy, on_unknown=OnUnknown.OPEN))

    def observe(metrics: Mapping[str, float | None], *silent: str) -> Step:
        story.minute += 1
        event = Observed(
            evaluation_id=f"at {story.minute}", metrics=_exact(metrics), silent=frozenset(silent)
        )
        assert why_not_passed(story.circuit, event, policy=story.policy, now=story.now) is None
        return story.send(event)

    for _ in range(2):
        step = observe({"schema_validation_errors": 0}, "failed_ratio.shares")
        assert not any(isinstance(effect, Alert) for effect in step.effects)
        step = observe({"failed_ratio.shares": 0}, "schema_validation_errors")
        assert not any(isinstance(effect, Alert) for effect in step.effects)
        story.expect(CircuitState.CLOSED)
    # What it should have told is unknown all the same, and so is what opened the circuit.
    story.observe({"schema_validation_errors": None, "failed_ratio.shares": 0})
    story.expect(CircuitState.OPEN)
    story.minute += 10
    story.send(Observed(evaluation_id="p", metrics={}, silent=frozenset(["failed_ratio.shares"])))
    story.expect(CircuitState.OPEN)
    assert story.circuit.attempts == 2


def test_a_result_of_others_that_knows_of_something_bad_is_a_bad_probe() -> None:
    story = Story(REPORTED)
    story.observe({"failed_ratio.shares": 0.2, "failed_ratio.bots": 0}, made=0)
    story.observe({"failed_ratio.bots": 1}, at=10, made=10)
    story.expect(CircuitState.OPEN)
    assert story.circuit.attempts == 2


def test_a_failure_of_what_is_waited_for_is_a_bad_probe() -> None:
    story = Story()
    story.observe(BAD, day=6)
    failed = Failed(evaluation_id="f", what="boom", partition="day 6")
    story.send(failed, at=10)
    story.expect(CircuitState.OPEN)
    assert story.circuit.attempts == 2


def test_a_probe_that_cannot_be_started_is_said_once_and_spends_nothing() -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    story.send(ProbeAsked(holder="run 1"))
    blocked = ProbeBlocked(reason="day 6 is gone")
    step = story.send(blocked)
    assert [note.explanation for note in step.notes] == ["no probe can be started: day 6 is gone"]
    assert (story.circuit.lease, story.circuit.attempts) == (None, 1)
    assert story.circuit.probe_blocked == "day 6 is gone"
    assert story.send(blocked) == Step(story.circuit, (), (), ())
    assert story.send(ProbeAsked(holder="run 1")).circuit.probe_blocked is None
    story.observe(GOOD, holder="run 1")
    assert story.send(blocked) == Step(story.circuit)  # a closed circuit has no probe


def test_late_observations_are_no_probes_but_for_the_holder_of_the_lease() -> None:
    story = Story()
    story.observe(BAD, day=5)
    assert _kinds(story.observe(GOOD, day=4, at=30)) == [NoteKind.LATE]
    story.expect(CircuitState.OPEN)
    story.tick()
    story.send(PartitionsGone(partitions=("day 5",)))
    story.send(ProbeAsked(holder="run 1", partition="day 3"))
    story.observe(GOOD, day=3)
    story.expect(CircuitState.HALF_OPEN)
    assert story.observe(GOOD, day=3, holder="run 1").circuit.state is CircuitState.CLOSED
    assert story.circuit.watermark_partition == "day 5"


# -- open --


def test_before_the_next_probe_observations_are_only_recorded() -> None:
    story = Story().to(CircuitState.OPEN)
    for metrics in (GOOD, BAD):
        step = story.observe(metrics, at=9.99)
        assert _unmoved(step)
        assert _kinds(step) == [NoteKind.RECORDED]
    assert _unmoved(story.fail(at=9.99))
    assert _unmoved(story.tick(at=9.99))


def test_an_observation_when_the_probe_is_due_is_the_probe() -> None:
    story = Story().to(CircuitState.OPEN)
    step = story.observe(GOOD, at=10)
    assert [(t.before, t.after, t.cause) for t in step.transitions] == [
        (CircuitState.OPEN, CircuitState.HALF_OPEN, TransitionCause.PROBE_DUE),
        (CircuitState.HALF_OPEN, CircuitState.CLOSED, TransitionCause.PROBE_GOOD),
    ]
    assert [t.generation for t in step.transitions] == [2, 3]
    assert _alerts(step) == [AlertTopic.PROBING, AlertTopic.RESOLVED]
    assert _heals(step) == 1
    circuit = story.circuit
    assert (circuit.attempts, circuit.opened_at, circuit.reason) == (0, None, None)
    assert circuit.next_probe_at is None


def test_a_tick_when_the_probe_is_due_asks_for_a_run_until_somebody_holds_the_lease() -> None:
    story = Story().to(CircuitState.OPEN)
    step = story.tick(at=10)
    story.expect(CircuitState.HALF_OPEN)
    assert story.circuit.generation == 2
    assert _requests(step) == 1
    again = story.tick(at=11)
    assert not again.transitions
    assert [e for e in again.effects if isinstance(e, RequestProbe)] == [
        e for e in step.effects if isinstance(e, RequestProbe)
    ]
    story.send(ProbeAsked(holder="run 1"))
    assert _requests(story.tick(at=12)) == 0


def test_a_contract_that_waits_requests_no_run() -> None:
    policy = replace(POLICY, recovery=replace(RECOVERY, probe=ProbeMode.WAIT))
    story = Story(policy).to(CircuitState.OPEN)
    assert _requests(story.tick(at=10)) == 0
    story.expect(CircuitState.HALF_OPEN)
    assert story.observe(GOOD, at=300).circuit.state is CircuitState.CLOSED


def test_asking_for_the_probe_of_an_open_circuit_before_it_is_due_is_refused() -> None:
    story = Story().to(CircuitState.OPEN)
    assert _kinds(story.send(ProbeAsked(holder="run 1"), at=9)) == [NoteKind.PROBE_REFUSED]
    step = story.send(ProbeAsked(holder="run 1"), at=10)
    story.expect(CircuitState.HALF_OPEN)
    assert _kinds(step) == [NoteKind.PROBE_GRANTED]


# -- half open --


def test_one_holder_has_the_lease_and_the_others_are_refused() -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    step = story.send(ProbeAsked(holder="run 1"))
    lease = story.circuit.lease
    assert lease is not None
    assert lease.holder == "run 1"
    assert lease.expires_at == story.now + RECOVERY.probe_timeout
    assert lease.generation == story.circuit.generation
    assert _kinds(step) == [NoteKind.PROBE_GRANTED]
    assert _kinds(story.send(ProbeAsked(holder="run 2"), at=20)) == [NoteKind.PROBE_REFUSED]
    assert _kinds(story.send(ProbeAsked(holder="run 1"), at=20)) == [NoteKind.PROBE_GRANTED]
    assert story.circuit.lease == lease  # asking again does not lengthen it


def test_only_the_holders_evaluation_is_the_probe() -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    story.send(ProbeAsked(holder="run 1"))
    for holder in (None, "run 2"):
        for step in (story.observe(GOOD, holder=holder), story.fail(holder=holder)):
            assert _unmoved(step)
            assert _kinds(step) == [NoteKind.RECORDED]
    assert story.observe(GOOD, holder="run 1").circuit.state is CircuitState.CLOSED


def test_good_probes_are_counted_and_each_releases_the_lease() -> None:
    story = Story(replace(POLICY, recovery=replace(RECOVERY, probes=3)))
    story.to(CircuitState.HALF_OPEN)
    for number in (1, 2):
        story.send(ProbeAsked(holder=f"run {number}"))
        step = story.observe(GOOD, holder=f"run {number}")
        assert _kinds(step) == [NoteKind.PROBE_COUNTED]
        assert _unmoved(step)
        assert story.circuit.lease is None
        assert story.circuit.good_probes == number
    assert story.observe(GOOD).circuit.state is CircuitState.CLOSED
    assert story.circuit.good_probes == 0


def test_a_bad_probe_after_good_ones_starts_the_count_again() -> None:
    story = Story(replace(POLICY, recovery=replace(RECOVERY, probes=2)))
    story.to(CircuitState.HALF_OPEN)
    story.observe(GOOD)
    story.observe(BAD)
    story.expect(CircuitState.OPEN)
    assert story.circuit.good_probes == 0
    story.observe(GOOD, at=30)
    story.expect(CircuitState.HALF_OPEN)


def test_bad_probes_wait_longer_each_time_until_none_is_left() -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    opened_at, reason = story.circuit.opened_at, story.circuit.reason
    step = story.observe(BAD)
    story.expect(CircuitState.OPEN)
    assert story.circuit.attempts == 2
    assert step.circuit.next_probe_at == story.now + 2 * RETRY
    assert (story.circuit.opened_at, story.circuit.reason) == (opened_at, reason)
    assert _alerts(step) == [AlertTopic.STILL_OPEN]
    story.tick(at=30)
    step = story.observe(BAD)
    story.expect(CircuitState.EXHAUSTED)
    assert (story.circuit.attempts, story.circuit.next_probe_at) == (2, None)
    assert _alerts(step) == [AlertTopic.EXHAUSTED]
    assert "no probe is left of 2" in step.transitions[0].explanation


def test_a_failed_run_is_a_bad_probe() -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    story.send(ProbeAsked(holder="run 1"))
    step = story.fail(holder="run 1")
    assert [t.cause for t in step.transitions] == [TransitionCause.PROBE_BAD]
    assert "it crashed" in step.transitions[0].explanation
    assert story.circuit.lease is None


def test_a_lost_lease_is_a_bad_probe_and_its_late_result_is_nothing() -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    story.send(ProbeAsked(holder="run 1"))
    assert _unmoved(story.tick(at=69.9))
    step = story.tick(at=70)
    assert [t.cause for t in step.transitions] == [TransitionCause.LEASE_EXPIRED]
    story.expect(CircuitState.OPEN)
    assert story.circuit.attempts == 2
    assert _unmoved(story.observe(GOOD, holder="run 1"))


def test_an_expired_lease_ends_before_its_holders_result_is_looked_at() -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    story.send(ProbeAsked(holder="run 1"))
    step = story.observe(GOOD, holder="run 1", at=70)
    assert [t.cause for t in step.transitions] == [TransitionCause.LEASE_EXPIRED]
    story.expect(CircuitState.OPEN)


def test_a_probe_ignores_holds() -> None:
    policy = replace(POLICY, open_when=_conditions("schema_validation_errors > 5% for 2 checks"))
    story = Story(policy)
    story.observe(BAD)
    story.observe(BAD)
    story.observe(BAD, at=10)
    story.expect(CircuitState.OPEN)
    assert story.circuit.attempts == 2


@pytest.mark.parametrize(
    ("metrics", "closes"),
    [
        ({"completeness": 0.99, "row_count": 500}, True),
        ({"completeness": 0.99, "row_count": 5}, False),
        ({"completeness": 0.99, "row_count": None}, False),
        ({"completeness": 0.99}, False),
        ({}, False),
    ],
)
def test_close_when_must_hold_in_all_its_conditions(
    metrics: dict[str, float | None], closes: bool
) -> None:
    policy = replace(POLICY, close_when=_conditions("completeness > 95%", "row_count > 100"))
    story = Story(policy).to(CircuitState.HALF_OPEN)
    story.observe({"schema_validation_errors": 0, **metrics})
    assert (story.state is CircuitState.CLOSED) is closes


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        ({"row_count": 5}, "row_count was 5, which is < 10"),
        ({"row_count": None}, "row_count"),
        ({}, "row_count"),
        ({"row_count": 500, "data_freshness": 9000}, "data_freshness was 2h 30min"),
    ],
)
def test_what_would_open_it_again_or_is_unknown_does_not_close_it_whatever_close_when_says(
    metrics: dict[str, float | None], why: str
) -> None:
    policy = _opening("row_count < 10", "data_freshness > 30min")
    story = Story(replace(policy, close_when=_conditions("schema_validation_errors < 1%")))
    story.observe({"row_count": 5, "schema_validation_errors": 0})
    step = story.observe({"schema_validation_errors": 0, **metrics}, at=10)
    story.expect(CircuitState.OPEN)
    assert why in step.transitions[-1].explanation
    good = {"schema_validation_errors": 0, "row_count": 500, "data_freshness": 0}
    step = story.observe(good, at=60)
    story.expect(CircuitState.CLOSED)
    assert "schema_validation_errors was 0%" in step.transitions[-1].explanation


@pytest.mark.parametrize(
    ("metrics", "closes"),
    [
        (GOOD, True),
        ({"schema_validation_errors": 0.01, "data_freshness": None}, True),
        ({"schema_validation_errors": None, "data_freshness": 60}, False),
        (UNKNOWN, False),
        ({}, False),
        (STALE | {"schema_validation_errors": 0}, False),
    ],
)
def test_a_probe_that_does_not_answer_what_opened_the_circuit_is_not_good(
    metrics: dict[str, float | None], closes: bool
) -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    assert story.circuit.opened_by == ("schema_validation_errors > 5%",)
    story.observe(metrics)
    assert (story.state is CircuitState.CLOSED) is closes


def test_a_probe_that_answers_nothing_is_not_good_even_if_a_tick_opened_the_circuit() -> None:
    story = Story()
    story.observe(GOOD)
    story.tick(STALE, at=60)
    assert story.circuit.opened_by == ("data_freshness > 30min",)
    story.tick(at=70)
    step = story.observe(UNKNOWN)
    assert [t.cause for t in step.transitions] == [TransitionCause.PROBE_BAD]
    assert "could not be measured" in step.transitions[0].explanation


def test_what_time_opened_must_be_measured_by_the_probe() -> None:
    story = Story()
    story.observe(GOOD)
    story.tick(STALE, at=60)
    story.observe({"schema_validation_errors": 0, "data_freshness": None}, at=70)
    story.expect(CircuitState.OPEN)
    story.observe(GOOD, at=100)
    story.expect(CircuitState.CLOSED)


def test_what_a_later_batch_broke_must_be_measured_by_the_probe_too() -> None:
    story = Story(replace(POLICY, open_when=_conditions(*TWO))).to(CircuitState.OPEN)
    story.observe({"schema_validation_errors": 0, "row_count": 5}, at=5)
    assert story.circuit.opened_by == TWO
    story.observe({"schema_validation_errors": 0, "row_count": None}, at=10)
    story.expect(CircuitState.OPEN)
    story.observe({"schema_validation_errors": 0, "row_count": 50}, at=40)
    story.expect(CircuitState.CLOSED)


TWO = ("schema_validation_errors > 5%", "row_count < 10")


@pytest.mark.parametrize(
    ("edited", "stands"),
    [
        (TWO, TWO[:1]),
        (("schema_validation_errors > 6%", "row_count < 10"), ("schema_validation_errors > 6%",)),
        (("completeness < 90%", "row_count < 10"), ("completeness < 90%", "row_count < 10")),
        ((), ()),
    ],
)
def test_an_edit_keeps_what_opened_the_circuit_in_the_new_contracts_words(
    edited: tuple[str, ...], stands: tuple[str, ...]
) -> None:
    story = Story(replace(POLICY, open_when=_conditions(*TWO))).to(CircuitState.OPEN)
    story.policy = replace(POLICY, open_when=_conditions(*edited))
    story.send(PolicyChanged(policy_hash="v2"))
    assert story.circuit.opened_by == stands
    story.observe({"row_count": 50}, at=10)
    assert (story.state is CircuitState.CLOSED) is not stands


def test_with_on_unknown_open_a_probe_must_answer_everything() -> None:
    story = Story(replace(POLICY, on_unknown=OnUnknown.OPEN)).to(CircuitState.HALF_OPEN)
    story.observe({"schema_validation_errors": 0, "data_freshness": None})
    story.expect(CircuitState.OPEN)


def test_without_conditions_any_probe_is_good() -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    story.policy = replace(POLICY, open_when=())
    assert story.observe({}).circuit.state is CircuitState.CLOSED


# -- exhausted --


def test_an_exhausted_circuit_tries_nothing_by_itself() -> None:
    story = Story().to(CircuitState.EXHAUSTED)
    assert _unmoved(story.tick(STALE, at=10_000))
    assert _unmoved(story.observe(BAD))
    assert _unmoved(story.observe(UNKNOWN))
    assert _unmoved(story.fail())
    assert _kinds(story.send(ProbeAsked(holder="run 1"))) == [NoteKind.PROBE_REFUSED]


def test_a_good_observation_that_nobody_asked_for_counts_as_a_probe() -> None:
    story = Story().to(CircuitState.EXHAUSTED)
    step = story.observe(GOOD)
    assert [(t.after, t.cause) for t in step.transitions] == [
        (CircuitState.HALF_OPEN, TransitionCause.MENDED),
        (CircuitState.CLOSED, TransitionCause.PROBE_GOOD),
    ]


def test_one_mended_batch_of_two_needed_and_then_a_bad_one_is_exhausted_again() -> None:
    story = Story(replace(POLICY, recovery=replace(RECOVERY, probes=2)))
    story.to(CircuitState.EXHAUSTED)
    story.observe(GOOD)
    story.expect(CircuitState.HALF_OPEN)
    assert story.circuit.good_probes == 1
    story.observe(BAD)
    story.expect(CircuitState.EXHAUSTED)


def test_a_new_version_of_the_contract_is_one_more_probe() -> None:
    story = Story().to(CircuitState.EXHAUSTED)
    step = story.send(PolicyChanged(policy_hash="v2"))
    assert [t.cause for t in step.transitions] == [TransitionCause.CONTRACT_CHANGED]
    assert _requests(step) == 1
    story.observe(BAD)
    story.expect(CircuitState.EXHAUSTED)


@pytest.mark.parametrize("ends", ["by hand", "by itself"])
def test_an_edit_under_an_override_grants_its_probe_when_the_override_ends(ends: str) -> None:
    story = Story().to(CircuitState.EXHAUSTED)
    until = None if ends == "by hand" else story.now + timedelta(hours=1)
    story.send(Forced(override=Override.FORCED_OPEN, actor="ann", reason="wait", until=until))
    assert _unmoved(story.send(PolicyChanged(policy_hash="v2")))
    assert _unmoved(story.tick())
    if ends == "by hand":
        step = story.send(Forced(override=Override.NONE, actor="ann", reason="over"))
    else:
        step = story.tick(at=story.minute + 60)
    assert [t.cause for t in step.transitions] == [TransitionCause.CONTRACT_CHANGED]
    assert _requests(step) >= 1
    assert _unmoved(story.send(PolicyChanged(policy_hash="v2")))


def test_a_contract_without_retries_is_exhausted_at_once() -> None:
    story = Story(replace(POLICY, recovery=replace(RECOVERY, max_retries=0)))
    step = story.observe(BAD)
    assert [t.after for t in step.transitions] == [CircuitState.OPEN, CircuitState.EXHAUSTED]
    assert story.circuit.attempts == 0
    assert _alerts(step) == [AlertTopic.OPENED, AlertTopic.EXHAUSTED]


# -- operators, contracts, upstream --


@pytest.mark.parametrize(
    "state", [CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.EXHAUSTED]
)
def test_a_reset_closes_and_heals(state: CircuitState) -> None:
    story = Story().to(state)
    step = story.send(Reset(actor="ann", reason="mended by hand"))
    (transition,) = step.transitions
    assert transition.cause is TransitionCause.RESET
    assert transition.actor == "ann"
    assert "mended by hand" in transition.explanation
    story.expect(CircuitState.CLOSED)
    assert _heals(step) == 1


def test_a_reset_lifts_the_override_and_forgets_what_was_recorded() -> None:
    story = Story()
    story.send(Forced(override=Override.FORCED_CLOSED, actor="ann", reason="known"))
    story.observe(BAD)
    step = story.send(Reset(actor="ann", reason="start afresh"))
    assert not step.transitions
    assert NoteKind.OVERRIDE_LIFTED in _kinds(step)
    assert _unmoved(story.tick())
    story.expect(CircuitState.CLOSED)


@pytest.mark.parametrize("state", [CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN])
def test_an_edit_rebinds_keeps_the_state_and_clears_the_window(state: CircuitState) -> None:
    story = Story(replace(POLICY, window=2))
    story.observe(GOOD if state is CircuitState.CLOSED else BAD)
    story.tick(at=10 if state is CircuitState.HALF_OPEN else 0)
    story.expect(state)
    story.policy = replace(POLICY, recovery=replace(RECOVERY, max_retries=1))
    generation, due = story.circuit.generation, story.circuit.next_probe_at
    step = story.send(PolicyChanged(policy_hash="v2"))
    assert not step.transitions
    assert _kinds(step) == [NoteKind.POLICY_BOUND]
    circuit = story.circuit
    assert (circuit.state, circuit.generation, circuit.next_probe_at) == (state, generation, due)
    assert (circuit.window, circuit.averaged) == ((), ())
    assert circuit.attempts <= 1
    assert story.send(PolicyChanged(policy_hash="v2")) == Step(circuit)


def test_the_first_binding_is_no_edit() -> None:
    story = Story()
    story.circuit = replace(story.circuit, policy_hash="")
    step = story.send(PolicyChanged(policy_hash="v1"))
    assert step == Step(replace(story.circuit, policy_hash="v1"))


def test_under_an_open_upstream_a_bad_probe_spends_no_retry_and_its_alert_is_explained() -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    story.send(UpstreamOpened(upstream="weather/weather"))
    for _ in range(5):
        step = story.observe(BAD, at=story.minute + 10)
        story.expect(CircuitState.OPEN)
        assert story.circuit.attempts == 1
        alerts = [e for e in step.effects if isinstance(e, Alert)]
        assert {alert.explained_by for alert in alerts} == {("weather/weather",)}
    story.send(UpstreamClosed(upstream="weather/weather"))
    assert story.circuit.next_probe_at == story.now  # it is mended: try at once
    assert story.observe(GOOD).circuit.state is CircuitState.CLOSED


def test_under_an_open_upstream_no_probe_is_started() -> None:
    story = Story().to(CircuitState.OPEN)
    story.send(UpstreamOpened(upstream="weather/weather"))
    for minute in (10, 100, 1000):
        assert story.tick(at=minute) == Step(story.circuit)
        step = story.send(ProbeAsked(holder="run 1"))
        assert _kinds(step) == [NoteKind.PROBE_REFUSED]
        story.expect(CircuitState.OPEN)
    story.send(UpstreamClosed(upstream="weather/weather"))
    assert _requests(story.tick()) == 1
    story.expect(CircuitState.HALF_OPEN)
    story.send(UpstreamOpened(upstream="weather/weather"))
    assert _requests(story.tick()) == 0
    assert story.send(ProbeAsked(holder="run 1")).circuit.lease is None


def test_an_open_upstream_is_part_of_the_reason() -> None:
    story = Story()
    for name in ("weather/weather", "airports/airports", "weather/weather"):
        story.send(UpstreamOpened(upstream=name))
    assert story.circuit.upstream == ("airports/airports", "weather/weather")
    story.observe(BAD)
    assert "airports/airports and weather/weather upstream is open" in (story.circuit.reason or "")
    step = story.send(UpstreamClosed(upstream="weather/weather"))
    assert _kinds(step) == [NoteKind.UPSTREAM]
    assert story.circuit.next_probe_at == story.now + RETRY  # another is still open
    assert _unmoved(story.send(UpstreamClosed(upstream="never heard of")))


# -- metrics only --


@pytest.mark.parametrize("by_operator", [True, False])
def test_metrics_only_says_once_what_it_would_have_done(by_operator: bool) -> None:
    story = Story()
    if by_operator:
        story.send(Forced(override=Override.METRICS_ONLY, actor="ann", reason="trial"))
    else:
        story.policy = replace(POLICY, mode=CircuitMode.METRICS_ONLY)
    kinds = [_kinds(story.observe(metrics)) for metrics in (GOOD, BAD, BAD, GOOD)]
    assert [NoteKind.WOULD_OPEN in k for k in kinds] == [False, True, False, False]
    assert [NoteKind.WOULD_CLOSE in k for k in kinds] == [False, False, False, True]
    assert _kinds(story.tick(STALE)) == [NoteKind.WOULD_OPEN]
    assert story.circuit.would_open == "data_freshness was 1h, which is > 30min"
    assert _kinds(story.tick(STALE)) == []
    story.expect(CircuitState.CLOSED)
    assert not story.transitions


def test_an_open_circuit_whose_contract_becomes_metrics_only_lets_consumers_through() -> None:
    story = Story().to(CircuitState.HALF_OPEN)
    story.send(ProbeAsked(holder="run 1"))
    story.policy = replace(POLICY, mode=CircuitMode.METRICS_ONLY)
    step = story.tick(at=500)
    assert step.circuit.effective_state is CircuitState.CLOSED
    assert step.circuit.lease is None
    assert not step.transitions
    assert _heals(step) == 0
    story.policy = POLICY
    assert story.tick().circuit.effective_state is CircuitState.HALF_OPEN


# -- flapping and waiting --


def test_a_flapping_circuit_waits_longer_and_alerts_in_one_group() -> None:
    story = Story(replace(POLICY, flapping_openings=3, flapping_window=timedelta(hours=2)))
    waits, topics, groups = [], [], []
    for _ in range(5):
        step = story.observe(BAD)
        assert story.circuit.next_probe_at is not None
        waits.append(story.circuit.next_probe_at - story.now)
        alert = next(e for e in step.effects if isinstance(e, Alert))
        topics.append(alert.topic)
        groups.append(alert.group)
        story.send(Reset(actor="ann", reason="again"))
        story.minute += 10
    assert waits == [RETRY, RETRY, 2 * RETRY, 4 * RETRY, 8 * RETRY]
    assert topics == [AlertTopic.OPENED] * 2 + [AlertTopic.FLAPPING] * 3
    assert len(set(groups[2:])) == 1
    story.observe(BAD, at=1_000)
    assert story.circuit.openings == (story.now,)


@pytest.mark.parametrize(
    ("attempts", "openings", "random", "minutes"),
    [
        (1, 1, 0.5, 10),
        (2, 1, 0.5, 20),
        (3, 1, 0.5, 40),
        (4, 1, 0.5, 60),
        (400, 1, 0.5, 60),
        (1, 3, 0.5, 20),
        (2, 4, 0.5, 60),
        (1, 1, 0.0, 9),
        (1, 1, 0.75, 10.5),
    ],
)
def test_the_wait_doubles_to_its_cap_with_jitter(
    attempts: int, openings: int, random: float, minutes: float
) -> None:
    recovery = replace(RECOVERY, jitter=Fraction(1, 10), max_wait=timedelta(hours=1))
    policy = replace(POLICY, recovery=recovery)
    wait = probe_wait(policy, attempts=attempts, openings=openings, random=random)
    assert wait == timedelta(minutes=minutes)


def test_a_backoff_of_one_and_a_wait_of_nothing_end() -> None:
    for recovery in (
        replace(RECOVERY, backoff=Fraction(1)),
        replace(RECOVERY, retry_after=timedelta(0)),
    ):
        policy = replace(POLICY, recovery=recovery)
        wait = probe_wait(policy, attempts=10**9, openings=1, random=0.5)
        assert wait == recovery.retry_after


# -- the audit before publication --


def _audit(story: Story, metrics: Mapping[str, float | None], **kwargs: object) -> Truth:
    batch = Observed(evaluation_id="audit", metrics=_exact(metrics), **kwargs)  # type: ignore[arg-type]
    return would_open(story.circuit, batch, policy=story.policy, now=story.now).truth


def test_a_batch_is_refused_exactly_when_it_would_open_a_closed_circuit() -> None:
    policy = replace(POLICY, open_when=_conditions("schema_validation_errors > 5% for 2 checks"))
    story = Story(policy)
    for metrics in (GOOD, BAD, GOOD, BAD, BAD):
        refused = _audit(story, metrics) is Truth.TRUE
        story.observe(metrics)
        assert (story.state is CircuitState.OPEN) is refused
    story.expect(CircuitState.OPEN)


def test_while_not_closed_a_bad_batch_is_refused_whatever_the_holds() -> None:
    policy = replace(POLICY, open_when=_conditions("schema_validation_errors > 5% for 2 checks"))
    story = Story(policy)
    story.observe(BAD)
    story.observe(BAD)
    assert _audit(story, BAD) is Truth.TRUE
    assert _audit(story, GOOD) is Truth.FALSE


def test_an_older_partition_is_judged_without_what_speaks_of_the_newest() -> None:
    story = Story()
    assert _audit(story, {**GOOD, **STALE}, backfill=True) is Truth.FALSE
    assert _audit(story, BAD, backfill=True) is Truth.TRUE


@pytest.mark.parametrize(
    ("override", "refused"),
    [
        (Override.FORCED_CLOSED, False),
        (Override.METRICS_ONLY, False),
        (Override.FORCED_OPEN, True),
    ],
)
def test_who_vouches_for_the_data_gets_it(override: Override, refused: bool) -> None:
    story = Story()
    story.send(Forced(override=override, actor="ann", reason="known"))
    assert (_audit(story, BAD) is Truth.TRUE) is refused


def test_a_contract_that_only_watches_refuses_nothing_but_says_what_it_would() -> None:
    batch = Observed(evaluation_id="audit", metrics=_exact(BAD))
    policy = replace(POLICY, mode=CircuitMode.METRICS_ONLY)
    decision = would_open(Circuit(key=KEY), batch, policy=policy, now=NOON)
    assert decision.truth is Truth.FALSE
    assert decision.explanation.startswith("would have been refused: schema_validation_errors")
    forced = Circuit(key=KEY, override=Override.FORCED_OPEN)
    assert would_open(forced, batch, policy=policy, now=NOON).truth is Truth.TRUE


def test_too_few_observations_refuse_nothing() -> None:
    story = Story(replace(POLICY, min_observations=2))
    assert _audit(story, BAD) is Truth.FALSE
    story.observe(BAD)
    assert _audit(story, BAD) is Truth.TRUE


# -- keys and JSON --


def test_keys_are_written_and_ordered_for_people() -> None:
    keys = [
        CircuitKey("b", "x"),
        CircuitKey("a", "y", "2013-01-02"),
        CircuitKey("a", "y", "2013-01-01"),
        CircuitKey("a", "y"),
    ]
    assert [str(key) for key in sorted(keys)] == [
        "a/y",
        "a/y[2013-01-01]",
        "a/y[2013-01-02]",
        "b/x",
    ]


def test_a_document_of_an_earlier_release_takes_defaults_and_a_later_field_is_passed_over() -> None:
    circuit = circuit_from_json(
        {"key": {"contract": "a", "asset": "b", "partition": None}, "unheard_of": 1}
    )
    assert circuit == Circuit(key=CircuitKey("a", "b"))


def test_transitions_survive_json() -> None:
    story = Story().to(CircuitState.EXHAUSTED)
    story.send(Reset(actor="ann", reason="mended"))
    for transition in story.transitions:
        assert transition_from_json(transition_to_json(transition)) == transition
    assert circuit_from_json(circuit_to_json(story.circuit)) == story.circuit


def test_a_broken_document_is_refused() -> None:
    good = circuit_to_json(Circuit(key=KEY, opened_at=NOON))
    broken: list[dict[str, Json]] = [
        {"opened_at": "yesterday"},
        {"state": "ajar"},
        {"key": {"contract": "a"}},
    ]
    for change in broken:
        with pytest.raises((ValueError, TypeError)):
            circuit_from_json({**good, **change})
