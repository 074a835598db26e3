"""Healing: exactly what was degraded, in the order of the graph, once, and to an end."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.healing import Healing, plan_healing
from dagster_contracts.resilience.ledger import DegradedRead, DegradedReads
from dagster_contracts.store.outbox import Outbox

NOW = datetime(2026, 3, 2, tzinfo=UTC)
ORDERS, WEATHER = CircuitKey("orders", "orders"), CircuitKey("weather", "weather")


def read(consumer, partition=None, *, circuit=ORDERS, via=None, run_id="r1", generation=1, **more):
    fields = {
        "circuit": circuit,
        "consumer": consumer,
        "consumer_partition": partition,
        "upstream": via or circuit.asset,
        "upstream_partition": partition,
        "level": "last_valid",
        "source": "last_valid",
        "reason": "open",
        "run_id": run_id,
        "generation": generation,
        "via": via,
        "since": NOW,
    }
    return DegradedRead(**{**fields, **more})


def everything(key):
    return True


def targets(requests):
    return [(request.consumer, request.partition) for request in requests]


def test_exactly_the_degraded_partitions_are_planned():
    reads = [read("sales", "d1"), read("sales", "d3"), read("sales", "d1", circuit=WEATHER)]
    plan = plan_healing(reads, closed=everything)
    assert targets(plan) == [("sales", "d1"), ("sales", "d3")]
    assert [len(request.reads) for request in plan] == [2, 1]


def test_a_consumer_waits_until_every_circuit_it_suffers_from_is_closed():
    reads = [read("sales"), read("sales", circuit=WEATHER), read("board", circuit=WEATHER)]
    assert targets(plan_healing(reads, closed=lambda key: key == WEATHER)) == [("board", None)]


def test_the_order_of_the_graph_comes_about_wave_by_wave():
    reads = [read("mail", via="board"), read("board", via="sales"), read("sales")]
    for expected in ("sales", "board", "mail"):
        assert targets(plan_healing(reads, closed=everything)) == [(expected, None)]
        reads = [r for r in reads if r.consumer != expected]


def test_a_given_order_decides_among_those_that_are_ready():
    reads = [read("a"), read("b"), read("c")]
    plan = plan_healing(reads, closed=everything, order=["c", "a"], limit=2)
    assert targets(plan) == [("c", None), ("a", None)]


def test_the_limit_counts_what_is_in_flight():
    reads = [read(name) for name in "abcd"]
    plan = plan_healing(reads, closed=everything, in_flight={("a", None), ("x", "1")}, limit=3)
    assert targets(plan) == [("b", None)]


def test_a_cause_that_was_tried_often_enough_is_left_to_a_person():
    (request,) = plan_healing([read("a")], closed=everything)
    attempts = {request.cause: 2}
    (last,) = plan_healing([read("a")], closed=everything, attempts=attempts)
    assert (last.attempt, last.cause) == (3, request.cause)
    assert last.run_key != request.run_key
    assert plan_healing([read("a")], closed=everything, attempts={request.cause: 3}) == ()


names = st.sampled_from("abcde")
partitions = st.sampled_from([None, "1", "2"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.builds(read, names, partitions, circuit=st.sampled_from([ORDERS, WEATHER]))),
    st.sets(st.tuples(names, partitions)),
    st.integers(0, 5),
    st.sets(st.sampled_from([ORDERS, WEATHER])),
)
def test_a_plan_is_a_bounded_subset_of_what_suffers_and_may_be_healed(
    reads, in_flight, limit, closed
):
    plan = plan_healing(reads, closed=closed.__contains__, in_flight=in_flight, limit=limit)
    planned = targets(plan)
    may = {
        (r.consumer, r.consumer_partition)
        for r in reads
        if all(
            o.circuit in closed
            for o in reads
            if (o.consumer, o.consumer_partition) == (r.consumer, r.consumer_partition)
        )
    } - in_flight
    assert len(set(planned)) == len(planned) <= max(0, limit - len(in_flight))
    assert set(planned) <= may
    assert len(planned) == min(len(may), max(0, limit - len(in_flight)))
    again = plan_healing(
        reversed(reads), closed=closed.__contains__, in_flight=in_flight, limit=limit
    )
    assert [r.run_key for r in again] == [r.run_key for r in plan]


@pytest.fixture
def ledger(store):
    return DegradedReads(store)


@pytest.fixture
def healing(store, ledger):
    return Healing(store, ledger, limit=2, max_attempts=3)


def heal(ledger, healing, request, *, good):
    healing.started(request.run_key, f"run of {request.run_key}")
    if good:
        ledger.settle(
            consumer=request.consumer,
            consumer_partition=request.partition,
            upstream="orders",
            run_id="healing",
        )
    healing.finished(request.run_key, succeeded=good)


def test_what_is_in_flight_is_not_requested_twice(ledger, healing):
    for partition in ("d1", "d2", "d3"):
        ledger.record(read("sales", partition))
    first = healing.due(everything)
    assert targets(first) == [("sales", "d1"), ("sales", "d2")]
    assert healing.due(everything) == ()
    heal(ledger, healing, first[0], good=True)
    assert targets(healing.due(everything)) == [("sales", "d3")]
    assert {r.partition for r in healing.in_flight()} == {"d2", "d3"}


def test_a_request_that_nobody_confirmed_is_repeated_under_its_key(ledger, healing, clock):
    ledger.record(read("sales"))
    (first,) = healing.due(everything)
    clock.advance(minutes=2)
    (again,) = healing.due(everything)
    assert again.run_key == first.run_key
    assert again.reads == first.reads
    healing.started(first.run_key, "run")
    clock.advance(days=1)
    assert healing.due(everything) == ()
    assert [r.run_id for r in healing.in_flight()] == ["run"]


def test_a_failed_run_is_asked_for_again_until_the_cap(ledger, healing, clock):
    ledger.record(read("sales"))
    keys = []
    for attempt in (1, 2, 3):
        (request,) = healing.due(everything)
        assert request.attempt == attempt
        keys.append(request.run_key)
        heal(ledger, healing, request, good=False)
    assert healing.due(everything) == ()
    assert len(set(keys)) == 3
    (given_up,) = healing.given_up()
    assert (given_up.consumer, given_up.attempt) == ("sales", 3)


def test_a_healing_run_that_read_the_fallback_again_spends_an_attempt(ledger, healing, clock):
    ledger.record(read("sales"))
    for number in (1, 2, 3):
        (request,) = healing.due(everything)
        clock.advance(minutes=1)
        ledger.record(read("sales", run_id=f"healing {number}"))
        healing.finished(request.run_key, succeeded=True)
    assert healing.due(everything) == ()
    clock.advance(minutes=1)
    ledger.record(read("sales", run_id="later", generation=4))
    (fresh,) = healing.due(everything)
    assert fresh.attempt == 1


def test_a_second_outage_has_attempts_of_its_own(ledger, healing, clock):
    for _ in range(5):
        ledger.record(read("sales"))
        (request,) = healing.due(everything)
        assert request.attempt == 1
        heal(ledger, healing, request, good=True)
        clock.advance(hours=1)


def test_a_request_is_dropped_when_another_run_healed_the_consumer(ledger, healing, clock):
    ledger.record(read("sales"))
    (request,) = healing.due(everything)
    ledger.settle(consumer="sales", consumer_partition=None, upstream="orders", run_id="manual")
    clock.advance(minutes=5)
    assert healing.due(everything) == ()
    assert healing.in_flight() == ()
    assert request.run_key


def test_consumers_of_another_code_location_are_left_to_it(ledger, healing):
    ledger.record(read("mine"))
    ledger.record(read("theirs"))
    assert targets(healing.due(everything, only=lambda name: name == "mine")) == [("mine", None)]
    assert targets(healing.due(everything, only=lambda name: name == "theirs")) == [
        ("theirs", None)
    ]


def test_a_whole_cascade_heals_in_order_and_ends_empty(ledger, healing, clock):
    ledger.record(read("sales", "d1"))
    ledger.inherit(
        consumer="board",
        consumer_partition="d1",
        upstream="sales",
        upstream_partition="d1",
        run_id="r",
    )
    built = []
    for _ in range(10):
        for request in healing.due(everything, order=["sales", "board"]):
            built.append(request.consumer)
            upstream = {"sales": "orders", "board": "sales"}[request.consumer]
            ledger.settle(
                consumer=request.consumer,
                consumer_partition=request.partition,
                upstream=upstream,
                run_id="h",
            )
            healing.finished(request.run_key, succeeded=True)
        clock.advance(minutes=1)
    assert built == ["sales", "board"]
    assert ledger.open_reads() == ()


def test_confirmation_is_waited_for_as_long_as_configured(store, ledger, clock):
    healing = Healing(store, ledger, confirm_within=timedelta(minutes=30))
    ledger.record(read("sales"))
    healing.due(everything)
    clock.advance(minutes=29)
    assert healing.due(everything) == ()
    clock.advance(minutes=1)
    assert targets(healing.due(everything)) == [("sales", None)]


def test_a_plan_answers_every_circuit_that_asked_for_healing(store, ledger, healing):
    outbox = Outbox(store)
    with store.begin() as conn:
        outbox.append(conn, "heal.requested", {}, dedupe_key="a")
        outbox.append(conn, "circuit.closed", {}, dedupe_key="b")
    assert healing.due(everything) == ()
    assert {m.kind: m.state.value for m in outbox.messages()} == {
        "heal.requested": "done",
        "circuit.closed": "pending",
    }


def test_what_one_run_makes_together_is_asked_for_once_whatever_the_limit() -> None:
    reads = [read("a"), read("b"), read("c")]

    def made_with(consumer: str, blamed: Collection[str]) -> list[str]:
        assert blamed == {reads[0].upstream}
        return ["a"] if consumer == "b" else []

    plan = plan_healing(
        reads, closed=everything, order=["a", "b", "c"], limit=1, made_with=made_with
    )
    assert [(r.consumer, r.beside) for r in plan] == [("b", ("a",))]

    flying = plan_healing(reads, closed=everything, in_flight={("b", None)}, made_with=made_with)
    assert targets(flying) == [("c", None)]
    alone = plan_healing(reads, closed=everything, in_flight={("a", None)}, made_with=made_with)
    assert targets(alone) == [("c", None)]
    tried = plan_healing(
        reads[:2], closed=everything, attempts={plan[0].cause: 3}, made_with=made_with
    )
    assert targets(tried) == [("a", None)]


def because(ledger):
    return {read.target: read.unhealed_because for read in ledger.open_reads()}


def test_what_cannot_be_built_spends_no_attempt_and_says_why_until_it_can(ledger, healing, clock):
    ledger.record(read("sales", "d1"))
    ledger.record(read("sales", "d2"))
    gone = {("sales", "d1"): "d1 is gone"}

    def why_not(request):
        return gone.get((request.consumer, request.partition))

    assert targets(healing.due(everything, why_not=why_not)) == [("sales", "d2")]
    assert because(ledger) == {("sales", "d1"): "d1 is gone", ("sales", "d2"): None}
    (first,) = ledger.unhealed(ORDERS)
    clock.advance(minutes=1)
    gone["sales", "d1"] = "d1 is still gone"
    assert healing.due(everything, why_not=why_not) == ()
    (later,) = ledger.unhealed()
    assert (later.unhealed_because, later.unhealed_since) == (
        "d1 is still gone",
        first.unhealed_since,
    )

    gone.clear()
    (request,) = healing.due(everything, why_not=why_not)
    assert (request.partition, request.attempt) == ("d1", 1)
    assert ledger.unhealed() == ()


def test_a_reason_is_cleared_with_the_read_that_it_was_about(ledger, healing):
    ledger.record(read("sales"))
    healing.due(everything, why_not=lambda _: "gone")
    ledger.settle(consumer="sales", consumer_partition=None, upstream="orders", run_id="by hand")
    (settled,) = ledger.reads_of_run("r1")
    assert (settled.unhealed_because, settled.settled_by) == (None, "by hand")


@pytest.mark.parametrize(("good", "how"), [(False, "failed"), (True, "succeeded, but did not")])
def test_spent_attempts_are_told_with_the_last_run(ledger, healing, good, how):
    ledger.record(read("sales"))
    for _ in range(3):
        (request,) = healing.due(everything)
        healing.started(request.run_key, f"run {request.attempt}")
        healing.finished(request.run_key, succeeded=good)
    assert healing.due(everything) == ()
    told = because(ledger)["sales", None]
    assert told.startswith(f"given up after 3 tries: the last one, run run 3, {how}")


@pytest.fixture
def given_up(store, ledger, healing):
    """The consumer `sales`, all of whose tries were spent."""
    ledger.record(read("sales"))
    for _ in range(3):
        (request,) = healing.due(everything)
        healing.finished(request.run_key, succeeded=False)
    assert healing.due(everything) == ()
    return store


def test_what_is_given_up_is_an_alert_and_a_line_of_the_history_once(given_up, healing):
    healing.due(everything)
    messages = [m for m in Outbox(given_up).claim(100) if m.kind == "circuit.heal_given_up"]
    assert [m.payload["consumer"] for m in messages] == ["sales"]
    lines = CircuitBreaker(given_up).history(ORDERS, 100)
    (told,) = [line.sentence() for line in lines if line.kind == "healing_given_up"]
    assert "healing given up: sales: given up after 3 tries" in told


def test_a_person_lets_it_be_tried_again_and_again(given_up, ledger, healing):
    keys = set()
    for _ in range(2):
        assert healing.try_again("orders", actor="ada", reason="it is back") == (("sales", None),)
        assert because(ledger) == {("sales", None): None}
        for _ in range(3):
            (request,) = healing.due(everything)
            keys.add(request.run_key)
            healing.finished(request.run_key, succeeded=False)
        assert healing.due(everything) == ()
        assert because(ledger)["sales", None].startswith("given up after 3 tries")
    assert len(keys) == 6
    told = [m.kind for m in Outbox(given_up).claim(100)]
    assert told.count("circuit.heal_given_up") == 3
    lines = CircuitBreaker(given_up).history(ORDERS, 100)
    asked = [line.sentence() for line in lines if line.kind == "healing_asked"]
    assert len(asked) == 2
    assert asked[0].endswith("healing asked by ada: sales: it is back")


def test_only_what_was_given_up_of_the_contract_is_tried_again(given_up, healing):
    for wrong, told in (
        ({"contract": "weather"}, "no healing was given up"),
        ({"contract": "orders", "consumer": "board"}, "what waits: sales"),
        ({"contract": "orders", "partition": "d1"}, "no partition 'd1' waits to be healed"),
    ):
        with pytest.raises(PolicyError, match=told):
            healing.try_again(**wrong, actor="ada", reason="it is back")
    with pytest.raises(PolicyError, match="needs an actor and a reason"):
        healing.try_again("orders", actor="ada", reason=" ")
    assert healing.due(everything) == ()


def test_what_is_built_from_something_unhealed_says_so(ledger, healing):
    ledger.record(read("sales", "d1"))
    for consumer, upstream in (("board", "sales"), ("mail", "board")):
        ledger.record(read(consumer, "d1", via=upstream))
    healing.due(everything, why_not=lambda r: "gone" if r.consumer == "sales" else None)
    assert because(ledger) == {
        ("sales", "d1"): "gone",
        ("board", "d1"): "it is built from sales[d1], which is not healed: gone",
        ("mail", "d1"): (
            "it is built from board[d1], which is not healed: "
            "it is built from sales[d1], which is not healed: gone"
        ),
    }


def test_a_run_that_nobody_starts_is_told_until_it_has_started(ledger, healing, clock):
    ledger.record(read("sales"))
    (request,) = healing.due(everything)
    assert because(ledger)["sales", None] is None
    clock.advance(minutes=3)
    healing.due(everything)
    assert "has not started in 120 s" in because(ledger)["sales", None]
    clock.advance(minutes=1)
    healing.due(everything)
    assert "has not started in 120 s" in because(ledger)["sales", None]
    healing.started(request.run_key, "run 1")
    healing.due(everything)
    assert because(ledger)["sales", None] is None


@pytest.mark.parametrize("reopened", [True, False])
def test_a_request_that_died_unstarted_waits_while_it_would_do_no_good(
    ledger, healing, clock, reopened
):
    ledger.record(read("sales"))
    (request,) = healing.due(everything)
    clock.advance(minutes=3)
    assert healing.due(lambda _: not reopened, why_not=lambda _: None if reopened else "no") == ()
    assert healing.in_flight() == ()
    (again,) = healing.due(everything)
    assert (again.run_key, again.attempt) == (request.run_key, 1)


def test_one_code_location_leaves_the_reasons_of_another_alone(ledger, healing):
    ledger.record(read("mine"))
    ledger.record(read("theirs"))
    healing.due(everything, only=lambda name: name == "theirs", why_not=lambda _: "gone")
    healing.due(everything, only=lambda name: name == "mine")
    assert because(ledger) == {("mine", None): None, ("theirs", None): "gone"}
