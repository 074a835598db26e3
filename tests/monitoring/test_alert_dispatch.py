"""From what happened to what people are told: through the outbox, on both databases."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dagster_contracts.core.circuit import CircuitKey, Override
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.documents.folder import ContractFolder
from dagster_contracts.errors import PolicyError
from dagster_contracts.monitoring.alerts import Alert, AlertKind, AlertState
from dagster_contracts.monitoring.dispatch import AlertDispatcher, Delivered
from dagster_contracts.monitoring.feedback import FeedbackBook
from dagster_contracts.registry.consumers import ConsumerEdge
from dagster_contracts.registry.registry import ContractRegistry
from dagster_contracts.registry.subscriptions import SubscriptionBook
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.healing import Healing
from dagster_contracts.resilience.ledger import DegradedRead, DegradedReads
from dagster_contracts.resilience.publication import Publication
from dagster_contracts.resilience.quarantine import Quarantine
from dagster_contracts.store.database import Store
from dagster_contracts.store.outbox import MessageState, Outbox

if TYPE_CHECKING:
    from tests.conftest import FakeClock
    from tests.monitoring.conftest import Pipeline

BAD = Fraction(7, 100)


class Desk:
    """A dispatcher with file channels, and what they got."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.channels = {name: f"file:{folder}/{name}.jsonl" for name in ("ops", "sales", "bi")}

    def dispatcher(self, *contracts: Contract, **settings: Any) -> AlertDispatcher:
        given = {"default_channels": ["ops"], **settings}
        store = given.pop("store", self.store)
        return AlertDispatcher(store, given.pop("channels", self.channels), contracts, **given)

    def got(self, channel: str = "ops") -> list[dict[str, Any]]:
        path = self.folder / f"{channel}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [alert for line in lines for alert in json.loads(line)["alerts"]]

    def states(self, channel: str = "ops") -> list[tuple[str, str]]:
        return [(alert["kind"], alert["state"]) for alert in self.got(channel)]


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Desk:
    return Desk(store, tmp_path)


def test_an_alert_tells_whom_paging_wakes_what_to_know_and_to_type(
    desk: Desk, pipeline: Pipeline, store: Store, make_contract: Callable[..., Contract]
) -> None:
    levels = "{level: cached, source: last_valid}, {level: old, source: sales_history}"
    orders = make_contract(more=f"    fallback_modes: [{levels}]\n")
    edge = ConsumerEdge(contract="orders", upstream_asset="orders", consumer_asset="revenue")
    SubscriptionBook(store).replace_edges([edge], place="shop")
    pipeline.evaluate(orders, errors=BAD, rows=1200)
    desk.dispatcher(orders).deliver()

    (told,) = desk.got()

    assert told["detail"].splitlines() == [
        "Batch: 1,200 rows.",
        "Downstream: revenue.",
        "Consumers read cached, else old, until it closes.",
        "It is tried again after 2026-03-02 06:10:00 UTC.",
        "Look: dagster-contracts status orders",
        "Decide: dagster-contracts force-closed orders --for 2h --reason ...",
    ]


def test_of_a_contract_with_several_assets_the_alert_names_the_one_to_decide_about(
    desk: Desk, pipeline: Pipeline, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    (main,) = orders.objects
    both = replace(orders, objects=(main, replace(main, name="orders_eu", asset="orders_eu")))
    pipeline.evaluate(both, errors=BAD)
    desk.dispatcher(both).deliver()

    (told,) = desk.got()

    decide = "Decide: dagster-contracts force-closed orders --asset orders --for 2h --reason ..."
    assert decide in told["detail"].splitlines()


def test_an_opened_circuit_is_told_and_its_end_too(
    desk: Desk, pipeline: Pipeline, clock: FakeClock, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    dispatcher = desk.dispatcher(orders)
    pipeline.evaluate(orders, errors=BAD)
    dispatcher.deliver()
    told = desk.got()[0]
    clock.advance(minutes=11)
    pipeline.evaluate(orders)
    dispatcher.deliver()

    assert told["summary"].startswith("Circuit open: orders@1.0.0")
    assert "schema_validation_errors was 7" in told["summary"]
    assert "2026-03-02 06:10:00 UTC" in told["detail"]
    assert "There is no fallback: consumers fail until it closes." in told["detail"]
    assert desk.states() == [("circuit.open", "firing"), ("circuit.open", "resolved")]


@pytest.mark.parametrize(("heal", "told"), [("notify", True), ("run", False), ('"off"', False)])
def test_who_heals_by_hand_is_told_what_waits(
    desk: Desk,
    pipeline: Pipeline,
    clock: FakeClock,
    make_contract: Callable[..., Contract],
    heal: str,
    told: bool,
) -> None:
    orders = make_contract(more=f"    heal: {heal}\n")
    pipeline.evaluate(orders, errors=BAD)
    for day in ("2026-03-01", "2026-03-02"):
        DegradedReads(desk.store).record(
            DegradedRead(
                circuit=CircuitKey("orders", "orders"),
                consumer="revenue",
                consumer_partition=day,
                upstream="orders",
                level="last",
                source="last_valid of orders",
                reason="the circuit is open",
                run_id="r1",
                generation=1,
            )
        )
    clock.advance(minutes=11)
    pipeline.evaluate(orders)

    desk.dispatcher(orders).deliver()

    summaries = [a["summary"] for a in desk.got() if a["kind"] == "circuit.healing"]
    assert summaries == (
        ["To be built anew: revenue[2026-03-01], revenue[2026-03-02]"] if told else []
    )


def test_healing_that_was_given_up_is_told_once_with_the_command(
    desk: Desk, pipeline: Pipeline, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    pipeline.evaluate(orders)
    reads = DegradedReads(desk.store)
    reads.record(
        DegradedRead(
            circuit=CircuitKey("orders", "orders"),
            consumer="revenue",
            consumer_partition="2026-03-01",
            upstream="orders",
            level="last",
            source="last_valid of orders",
            reason="the circuit is open",
            run_id="r1",
            generation=1,
        )
    )
    healing = Healing(desk.store, reads)
    for _ in range(3):
        (request,) = healing.due(lambda _: True)
        healing.finished(request.run_key, succeeded=False)
    for _ in range(2):
        healing.due(lambda _: True)
        desk.dispatcher(orders).deliver()

    (alert,) = [a for a in desk.got() if a["kind"] == "circuit.healing"]
    assert alert["summary"].startswith("Not healed: revenue[2026-03-01]. Given up after 3 tries")
    assert "heal orders --asset revenue --partition 2026-03-01 --reason" in alert["detail"]


@dataclass
class HeldBatch:
    """A refused batch of orders, and what asks for its publication."""

    quarantine: Quarantine
    publication: Publication
    dispatcher: AlertDispatcher
    number: int

    def told(self, desk: Desk) -> list[dict[str, Any]]:
        """What people got of it."""
        return [alert for alert in desk.got() if alert["kind"] == "circuit.publication"]

    def alert(self) -> Alert:
        """The only alert of it in the book."""
        subject = f"batch {self.number}"
        (found,) = [a for a in self.dispatcher.book.alerts() if a.labels.subject == subject]
        return found


@pytest.fixture
def held(
    desk: Desk,
    pipeline: Pipeline,
    clock: FakeClock,
    tmp_path: Path,
    make_contract: Callable[..., Contract],
) -> HeldBatch:
    orders = make_contract()
    pipeline.evaluate(orders, errors=BAD)
    report = ContractReport(
        contract="orders",
        version="1.0.0",
        schema_object="orders",
        evaluation_id="evaluation-1",
        evaluated_at=clock(),
        rows=1,
        outcomes=(),
        asset="orders",
    )
    quarantine = Quarantine(desk.store, tmp_path / "quarantine")
    rows = pa.table({"id": [None]})
    batch = quarantine.put(CircuitKey("orders", "orders"), rows, report, kind="pandas")
    return HeldBatch(quarantine, Publication(desk.store), desk.dispatcher(orders), batch.id)


@pytest.mark.parametrize("later", ["published", "dropped", "released"])
def test_a_batch_that_is_not_published_is_one_alert_until_it_is_settled(
    desk: Desk, clock: FakeClock, held: HeldBatch, later: str
) -> None:
    quarantine, publication, number = held.quarantine, held.publication, held.number
    quarantine.publish(number, actor="ada", reason="refunds are new")
    for attempt in (1, 2, 3):
        publication.ask(number)
        publication.claim(number, f"r{attempt}")
        publication.failed(number, None, f"r{attempt}", "the disk is full")
        clock.advance(minutes=2)
        held.dispatcher.deliver()

    def told() -> list[tuple[str, str]]:
        return [(a["severity"], a["state"]) for a in held.told(desk)]

    # Told once, and once more when nothing is tried by itself any longer.
    assert told() == [("warning", "firing"), ("error", "firing")]
    alert = held.alert()
    assert alert.summary == "Not published: batch 1 of orders@1.0.0. The disk is full."
    assert alert.detail.splitlines() == [
        "It is held again; nothing is tried by itself any more.",
        "Released by ada: refunds are new",
        "Look: dagster-contracts quarantine show 1",
        "Try again, once it is mended: dagster-contracts quarantine publish 1 --reason ...",
        "Give it up: dagster-contracts quarantine drop 1 --reason ...",
    ]

    if later == "dropped":
        quarantine.drop(number, actor="ada", reason="let it be")
    elif later == "released":
        quarantine.release(number, actor="ada", reason="by hand")
    else:
        quarantine.publish(number, actor="ada", reason="there is room now")
        publication.ask(number)
        publication.claim(number, "r4")
        held.dispatcher.deliver()
        assert len(told()) == 2
        with desk.store.begin() as conn:
            assert publication.published(conn, number, "r4")
    clock.advance(minutes=2)
    held.dispatcher.deliver()
    assert [state for _, state in told()] == ["firing", "firing", "resolved"]


def test_a_batch_whose_run_does_not_start_or_cannot_be_asked_for_is_an_alert(
    desk: Desk, clock: FakeClock, held: HeldBatch
) -> None:
    publication, number = held.publication, held.number
    held.quarantine.publish(number, actor="ada", reason="x")

    def told() -> list[str]:
        clock.advance(minutes=3)
        held.dispatcher.deliver()
        return [a["summary"] for a in held.told(desk)]

    publication.ask(number)
    assert told() == []
    publication.ask(number)  # Who took the first request may have died: that is no news yet.
    assert told() == []
    publication.ask(number)
    (summary,) = told()
    assert summary.endswith("Its run was asked for and has not started.")
    publication.claim(number, "r1")
    assert held.quarantine.get(number).unpublished_because is None

    publication.failed(number, None, "r1", "its run is gone")
    for _ in range(2):
        publication.block(number, "orders has no partition 'tue'")
    told()
    alert = held.alert()
    assert "orders has no partition 'tue'" in alert.summary.lower()
    assert alert.firings == 3


def test_nothing_is_told_twice(
    desk: Desk, pipeline: Pipeline, clock: FakeClock, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    pipeline.evaluate(orders, errors=BAD)

    first = desk.dispatcher(orders).deliver()
    clock.advance(minutes=5)
    second = desk.dispatcher(orders).deliver()

    assert (first, second) == (Delivered(collected=1, sent=1), Delivered())


def test_processes_that_deliver_at_once_tell_once(
    desk: Desk,
    pipeline: Pipeline,
    reopen: Callable[[], Store],
    make_contract: Callable[..., Contract],
) -> None:
    contracts = [make_contract(f"orders_{index}") for index in range(5)]
    for each in contracts:
        pipeline.evaluate(each, errors=BAD)
    dispatchers = [desk.dispatcher(*contracts, store=reopen()) for _ in range(4)]
    start = threading.Barrier(4)

    def deliver(dispatcher: AlertDispatcher) -> None:
        start.wait()
        dispatcher.deliver()

    threads = [threading.Thread(target=deliver, args=(each,)) for each in dispatchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dispatchers[0].deliver()

    assert sorted(alert["contract"] for alert in desk.got()) == [
        f"orders_{index}" for index in range(5)
    ]


def test_a_channel_that_fails_is_tried_again_and_parked_in_the_end(
    desk: Desk, pipeline: Pipeline, clock: FakeClock, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    blocked = desk.folder / "blocked"
    blocked.write_text("a file where a folder should be")
    dispatcher = desk.dispatcher(
        orders,
        channels={"ops": f"file:{blocked}/ops.jsonl"},
        max_attempts=3,
    )
    pipeline.evaluate(orders, errors=BAD)

    rounds = []
    for _ in range(4):
        rounds.append(dispatcher.deliver())
        clock.advance(minutes=30)
    parked = dispatcher.queue.parked()
    assert [(r.failed, r.parked) for r in rounds] == [(1, 0), (1, 0), (0, 1), (0, 0)]
    assert [(p.channel, p.attempts) for p in parked] == [("ops", 3)]
    assert "cannot write" in parked[0].error

    blocked.unlink()
    assert dispatcher.queue.retry(parked[0].id)
    assert dispatcher.deliver().sent == 1


def test_a_failure_waits_before_it_is_tried_again(
    desk: Desk, pipeline: Pipeline, clock: FakeClock, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    blocked = desk.folder / "blocked"
    blocked.write_text("")
    dispatcher = desk.dispatcher(orders, channels={"ops": f"file:{blocked}/ops.jsonl"})
    pipeline.evaluate(orders, errors=BAD)
    dispatcher.deliver()

    clock.advance(seconds=9)
    assert dispatcher.deliver() == Delivered()
    clock.advance(seconds=1)
    assert dispatcher.deliver() == Delivered(failed=1)


def test_alerts_go_where_the_contract_says(
    desk: Desk, pipeline: Pipeline, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract(more="  alerts: {channels: [bi], producer_channels: [sales]}\n")
    pipeline.evaluate(orders, errors=BAD)
    FeedbackBook(desk.store).report("finance", "orders", "totals are off")
    desk.dispatcher(orders).deliver()

    assert desk.states("bi") == [("circuit.open", "firing")]
    assert sorted(desk.states("sales")) == [
        ("circuit.open", "firing"),
        ("consumer.report", "firing"),
    ]
    assert desk.states("ops") == []


def test_a_channel_that_is_not_configured_is_replaced_by_the_default(
    desk: Desk, pipeline: Pipeline, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract(more="  alerts: {channels: [nowhere]}\n")
    pipeline.evaluate(orders, errors=BAD)
    desk.dispatcher(orders).deliver()

    assert desk.states("ops") == [("circuit.open", "firing")]


def test_owners_of_what_stands_downstream_are_told(
    desk: Desk, pipeline: Pipeline, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    registry = ContractRegistry(desk.store, ContractFolder([orders]))
    registry.set_consumers(
        [
            ConsumerEdge(
                contract="orders",
                upstream_asset="orders",
                consumer_asset="report",
                owners=("team:bi",),
            )
        ]
    )
    pipeline.evaluate(orders, errors=BAD)
    desk.dispatcher(orders, owners={"team:bi": "bi", "team:sales": "sales"}).deliver()

    assert desk.states("bi") == desk.states("sales") == [("circuit.open", "firing")]


def test_a_new_version_is_told_to_its_subscribers_with_what_breaks(
    desk: Desk, make_contract: Callable[..., Contract]
) -> None:
    old = make_contract()
    table = replace(old.objects[0], properties=old.objects[0].properties[:1])
    new = replace(old, version="1.1.0", objects=(table,), content_hash="b" * 64)
    found = [old]
    registry = ContractRegistry(desk.store, lambda: ContractFolder(found))
    registry.sync()
    registry.subscribe("orders", "eve", channels=["bi"], columns=["sold_at"])
    found.append(new)
    registry.sync()
    desk.dispatcher(new).deliver()

    told = desk.got("bi")[0]
    assert told["summary"] == "New version orders@1.1.0 (after 1.0.0): breaks eve"
    assert "- orders.sold_at was removed: whoever reads it will fail" in told["detail"]
    assert "need a major version; it declares minor" in told["detail"]
    assert told["state"] == "notice"


def test_a_silence_keeps_an_alert_from_being_told_while_it_lasts(
    desk: Desk, pipeline: Pipeline, clock: FakeClock, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    dispatcher = desk.dispatcher(orders)
    dispatcher.book.silence(
        {"contract": "ord*"},
        until=clock.now + timedelta(hours=1),
        actor="ada",
        reason="the move of the warehouse",
    )
    pipeline.evaluate(orders, errors=BAD)
    dispatcher.deliver()
    assert desk.got() == []

    clock.advance(hours=1)
    dispatcher.deliver()
    assert desk.states() == [("circuit.open", "firing")]


def test_a_silence_can_be_lifted(
    desk: Desk, pipeline: Pipeline, clock: FakeClock, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    dispatcher = desk.dispatcher(orders)
    number = dispatcher.book.silence(
        {"asset": "orders"}, until=clock.now + timedelta(days=1), actor="ada", reason="move"
    )
    pipeline.evaluate(orders, errors=BAD)
    dispatcher.deliver()
    assert dispatcher.book.lift(number, actor="ada")
    dispatcher.deliver()

    assert desk.states() == [("circuit.open", "firing")]
    assert dispatcher.book.silences(now=clock.now) == ()


@pytest.mark.parametrize(
    ("matchers", "actor", "what"),
    [
        ({"colour": "red"}, "ada", "no label 'colour'"),
        ({}, "ada", "needs a matcher"),
        ({"asset": "orders"}, "", "say who does it"),
    ],
)
def test_a_silence_needs_matchers_an_actor_and_a_reason(
    desk: Desk, clock: FakeClock, matchers: dict[str, str], actor: str, what: str
) -> None:
    with pytest.raises(PolicyError, match=what):
        desk.dispatcher().book.silence(
            matchers, until=clock.now + timedelta(hours=1), actor=actor, reason="move"
        )


def test_an_acknowledged_alert_is_not_repeated(
    desk: Desk, pipeline: Pipeline, clock: FakeClock, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    dispatcher = desk.dispatcher(orders)
    pipeline.evaluate(orders, errors=BAD)
    dispatcher.deliver()
    clock.advance(hours=5)
    dispatcher.deliver()
    firing = dispatcher.book.alerts(state=AlertState.FIRING)[0]
    assert dispatcher.book.acknowledge(firing.fingerprint[:8], actor="ada", reason="on it")
    clock.advance(hours=5)
    dispatcher.deliver()

    assert desk.states() == [("circuit.open", "firing")] * 2
    assert dispatcher.book.alerts()[0].acknowledged_by == "ada"
    assert not dispatcher.book.acknowledge("", actor="ada", reason="on it")


def test_an_open_circuit_upstream_silences_what_it_causes(
    desk: Desk, pipeline: Pipeline, clock: FakeClock, make_contract: Callable[..., Contract]
) -> None:
    orders, sales = make_contract("orders"), make_contract("sales")
    registry = ContractRegistry(desk.store, ContractFolder([orders, sales]))
    registry.set_consumers(
        [
            ConsumerEdge(contract="orders", upstream_asset="orders", consumer_asset="joined"),
            ConsumerEdge(contract="orders", upstream_asset="joined", consumer_asset="sales"),
        ]
    )
    dispatcher = desk.dispatcher(orders, sales)
    pipeline.evaluate(orders, errors=BAD)
    pipeline.evaluate(sales, errors=BAD)
    dispatcher.deliver()
    assert [alert["contract"] for alert in desk.got()] == ["orders"]

    clock.advance(minutes=11)
    pipeline.evaluate(orders)
    dispatcher.deliver()
    assert [(a["contract"], a["state"]) for a in desk.got()[1:]] == [
        ("orders", "resolved"),
        ("sales", "firing"),
    ]


def test_a_late_message_does_not_reopen_what_has_closed(
    desk: Desk, pipeline: Pipeline, clock: FakeClock, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    pipeline.evaluate(orders, errors=BAD)
    opened = Outbox(desk.store).messages(kind="circuit.opened")[0]
    dispatcher = desk.dispatcher(orders)
    dispatcher.deliver()
    clock.advance(minutes=11)
    pipeline.evaluate(orders)
    dispatcher.deliver()
    with desk.store.begin() as conn:
        Outbox(desk.store).append(conn, opened.kind, opened.payload, dedupe_key="again")
    dispatcher.deliver()

    assert dispatcher.book.alerts(state=AlertState.FIRING) == ()
    assert len(desk.got()) == 2


def test_an_override_is_told_with_who_and_why(
    desk: Desk, pipeline: Pipeline, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    pipeline.evaluate(orders)
    CircuitBreaker(desk.store).force(
        CircuitKey("orders", "orders"), Override.FORCED_OPEN, actor="ada", reason="bad upload"
    )
    desk.dispatcher(orders).deliver()

    told = desk.got()[0]
    assert (told["kind"], told["state"]) == ("circuit.override", "notice")
    assert "ada" in told["summary"]
    assert "bad upload" in told["summary"]


def test_a_report_is_told_to_the_producer_and_its_answer_too(
    desk: Desk, clock: FakeClock, make_contract: Callable[..., Contract]
) -> None:
    dispatcher = desk.dispatcher(make_contract())
    book = FeedbackBook(desk.store)
    number = book.report("finance", "orders", "totals are off", asset="orders")
    dispatcher.deliver()
    clock.advance(minutes=1)
    book.resolve(number, actor="ada", text="a join was wrong; mended")
    dispatcher.deliver()

    assert [alert["summary"] for alert in desk.got()] == [
        "finance reports bad data in orders: totals are off"
    ] * 2
    assert desk.states()[-1] == ("consumer.report", "resolved")
    assert desk.got()[-1]["detail"] == "ada: a join was wrong; mended"


def test_only_the_kinds_that_the_contract_wants_use_its_channels(
    desk: Desk, pipeline: Pipeline, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract(more='  alerts: {channels: [bi], on: ["contract"]}\n')
    pipeline.evaluate(orders, errors=BAD)
    desk.dispatcher(orders).deliver()

    assert desk.states("bi") == []
    assert desk.states("ops") == [("circuit.open", "firing")]


def test_a_message_that_cannot_be_read_does_not_hold_up_the_others(
    desk: Desk, pipeline: Pipeline, make_contract: Callable[..., Contract]
) -> None:
    with desk.store.begin() as conn:
        Outbox(desk.store).append(
            conn, "circuit.opened", {"next_probe_at": "not a time"}, dedupe_key="bad"
        )
    orders = make_contract()
    pipeline.evaluate(orders, errors=BAD)

    assert desk.dispatcher(orders).deliver() == Delivered(collected=1, sent=1)
    assert "not a time" in str(Outbox(desk.store).messages()[0].last_error)


def test_every_kind_of_alert_has_a_family_that_groups_it() -> None:
    assert {kind.value.partition(".")[0] for kind in AlertKind} == {
        "circuit",
        "contract",
        "sla",
        "anomaly",
        "metric",
        "consumer",
    }


def test_a_late_word_that_a_circuit_closed_does_not_end_the_alert_of_its_next_opening(
    desk: Desk, pipeline: Pipeline, clock: FakeClock, make_contract: Callable[..., Contract]
) -> None:
    orders = make_contract()
    dispatcher = desk.dispatcher(orders)
    outbox = Outbox(desk.store)
    pipeline.evaluate(orders, errors=BAD)
    dispatcher.deliver()
    clock.advance(minutes=11)
    pipeline.evaluate(orders)
    # Somebody takes the word that it closed, and dies with it.
    assert [m.kind for m in outbox.claim(kinds=["circuit.closed"])] == ["circuit.closed"]
    clock.advance(seconds=5)
    pipeline.evaluate(orders, errors=BAD)
    dispatcher.deliver()
    clock.advance(minutes=3)
    dispatcher.deliver()
    assert not outbox.messages(MessageState.PENDING, kind="circuit.closed")
    (alert,) = dispatcher.book.alerts(state=AlertState.FIRING)
    assert alert.labels.kind is AlertKind.CIRCUIT_OPEN
