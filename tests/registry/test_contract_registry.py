"""Versions recorded once, changes judged, and those concerned told: on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from dagster_contracts.core.changes import Verdict
from dagster_contracts.core.contract import ContractStatus
from dagster_contracts.documents.folder import read_folder
from dagster_contracts.documents.readable import read_readable
from dagster_contracts.errors import (
    DocumentError,
    IncompatibleChangeError,
    PolicyError,
    UnknownContractError,
    VersionConflictError,
)
from dagster_contracts.registry.consumers import ConsumerEdge, ConsumerOrigin
from dagster_contracts.registry.events import EventKind
from dagster_contracts.registry.registry import ContractRegistry, PublishedVersion
from dagster_contracts.store.database import Store
from dagster_contracts.store.outbox import Outbox

ORDERS = """\
data_contract:
  name: orders
  version: "{version}"
  status: {status}
  owner: team:sales
{more}  schema:
    fields:
      - {{name: id, type: integer, required: true}}
{fields}"""
DISCOUNT = "      - {name: discount, type: number}\n"
NOTE = "      - {name: note, type: string}\n"


class Desk:
    """A contracts folder to write in, and its registry."""

    def __init__(self, store: Store, root: Path) -> None:
        self.store = store
        self.root = root
        self.registry = self.open()

    def open(self, store: Store | None = None) -> ContractRegistry:
        return ContractRegistry(
            store or self.store,
            lambda: read_folder(self.root),
            readable=lambda: read_readable(self.root),
        )

    def write(
        self, version: str, fields: str = DISCOUNT, *, status: str = "active", more: str = ""
    ) -> Path:
        path = self.root / "orders" / f"{version}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ORDERS.format(version=version, status=status, fields=fields, more=more))
        return path

    def recorded(self) -> tuple[PublishedVersion, ...]:
        """What is recorded, whether the folder can be read or not."""
        return self.registry.published()

    def told(self) -> list[str]:
        return [message.kind for message in Outbox(self.store).messages()]

    def message(self, kind: str) -> dict[str, object]:
        found = Outbox(self.store).messages(kind=kind)
        assert len(found) == 1
        return dict(found[0].payload)


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Desk:
    return Desk(store, tmp_path / "contracts")


def edge(consumer: str, *columns: str, owners: tuple[str, ...] = ()) -> ConsumerEdge:
    return ConsumerEdge(
        contract="orders",
        upstream_asset="orders",
        consumer_asset=consumer,
        owners=owners,
        columns=columns,
    )


def test_the_first_versions_are_recorded_in_silence(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.write("1.1.0", DISCOUNT + NOTE)

    events = desk.registry.sync()

    assert [(event.kind, event.version) for event in events] == [
        (EventKind.PUBLISHED, "1.0.0"),
        (EventKind.PUBLISHED, "1.1.0"),
    ]
    assert desk.told() == []


def test_what_was_recorded_is_not_recorded_again(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()

    assert desk.registry.sync() == ()
    assert len(desk.registry.events("orders")) == 1


def test_a_new_version_is_told_with_its_changes_and_whom_it_breaks(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()
    desk.registry.set_consumers([edge("report", "discount"), edge("audit", "id")])
    desk.write("2.0.0", "")

    desk.registry.sync()

    told = desk.message("contract.published")
    assert (told["previous"], told["consumer"], told["bump"]) == ("1.0.0", "breaks", "major")
    assert told["enough"] is True
    assert [(b["consumer"], b["sentences"]) for b in told["breaks"]] == [  # type: ignore[attr-defined]
        ("report", ["orders.discount was removed: whoever reads it will fail"])
    ]


def test_a_bump_that_is_too_small_is_told(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()
    desk.write("1.0.1", "")
    desk.registry.sync()

    assert desk.message("contract.published")["enough"] is False


def test_an_edited_version_names_both_hashes_and_is_told_once(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()
    before = desk.registry.resolve("orders").content_hash
    desk.write("1.0.0", "")

    with pytest.raises(VersionConflictError) as caught:
        desk.registry.sync()
    with pytest.raises(VersionConflictError):
        desk.registry.sync()

    after = read_folder(desk.root).get("orders", "1.0.0").content_hash
    assert before in str(caught.value)
    assert after in str(caught.value)
    assert "orders/1.0.1.yaml" in str(caught.value)
    assert desk.told() == ["contract.edited"]


def test_a_conflict_does_not_hold_up_the_others(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()
    desk.write("1.0.0", "")
    desk.write("1.1.0", NOTE)
    with pytest.raises(VersionConflictError):
        desk.registry.sync()

    assert [v.version for v in desk.registry.published("orders")] == ["1.0.0", "1.1.0"]


def test_a_draft_may_be_edited_and_is_published_later(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.write("1.1.0", DISCOUNT + NOTE, status="draft")
    desk.registry.sync()
    desk.write("1.1.0", NOTE, status="draft")
    revised = desk.registry.sync()
    desk.write("1.1.0", DISCOUNT + NOTE)
    published = desk.registry.sync()

    assert [event.kind for event in (*revised, *published)] == [
        EventKind.REVISED,
        EventKind.PUBLISHED,
    ]


def test_a_deprecation_in_the_document_is_no_edit(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()
    desk.registry.set_consumers([edge("report")])
    desk.write("1.0.0", status="deprecated")

    events = desk.registry.sync()

    assert [event.kind for event in events] == [EventKind.DEPRECATED]
    assert desk.message("contract.deprecated")["concerns"] == ["report"]


def test_an_edit_under_cover_of_a_deprecation_is_one(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()
    desk.write("1.0.0", "", status="deprecated")

    with pytest.raises(VersionConflictError):
        desk.registry.sync()


def test_processes_that_look_at_once_tell_once(desk: Desk, reopen: Callable[[], Store]) -> None:
    desk.write("1.0.0")
    desk.registry.sync()
    desk.write("2.0.0", "")
    registries = [desk.open(reopen()) for _ in range(4)]
    start, found = threading.Barrier(4), []

    def look(registry: ContractRegistry) -> None:
        start.wait()
        found.append(registry.sync())

    threads = [threading.Thread(target=look, args=(each,)) for each in registries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(len(events) for events in found) == [0, 0, 0, 1]
    assert desk.told() == ["contract.published"]


# --- publishing -----------------------------------------------------------------------------------


def test_publish_refuses_a_bump_that_is_too_small(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()
    path = desk.write("1.1.0", "")

    with pytest.raises(IncompatibleChangeError) as caught:
        desk.registry.publish(path, actor="ada", reason="cleaning up")

    assert "needs a major version after 1.0.0, and it declares minor" in str(caught.value)
    assert "orders.discount was removed" in str(caught.value)
    assert "call it 2.0.0" in str(caught.value)
    assert [v.version for v in desk.registry.published()] == ["1.0.0"]


def test_publish_takes_a_bump_that_is_enough(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()
    path = desk.write("2.0.0", "")

    event = desk.registry.publish(path, actor="ada", reason="cleaning up")

    assert (event.kind, event.actor, event.reason) == (EventKind.PUBLISHED, "ada", "cleaning up")
    assert desk.registry.publish(path, actor="bob", reason="again") == event
    assert desk.registry.published("orders")[-1].published_by == "ada"


def test_what_the_sync_found_first_is_signed_by_whoever_publishes_it(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()
    path = desk.write("2.0.0", "")
    desk.registry.sync()

    event = desk.registry.publish(path, actor="ada", reason="cleaning up")

    assert (event.actor, event.reason) == ("ada", "cleaning up")
    assert desk.registry.published("orders")[-1].published_by == "ada"
    assert desk.told() == ["contract.published"]


def test_publish_checks_all_earlier_versions_where_the_contract_says_so(desk: Desk) -> None:
    transitive = "  compatibility: {transitive: true}\n"
    desk.write("1.0.0", DISCOUNT)
    desk.write("1.1.0", "")  # somebody let this one through
    desk.registry.sync()
    desk.write("1.2.0", NOTE)
    assert desk.registry.publish(desk.root / "orders/1.2.0.yaml", actor="ada", reason="new")
    path = desk.write("1.3.0", NOTE, more=transitive)

    with pytest.raises(IncompatibleChangeError, match=r"after 1\.0\.0"):
        desk.registry.publish(path, actor="ada", reason="new")


def test_publish_protects_producers_where_the_contract_says_so(desk: Desk) -> None:
    full = "  compatibility: {protects: full}\n"
    needed = "      - {name: note, type: string, required: true}\n"
    desk.write("1.0.0", more=full)
    desk.registry.sync()
    path = desk.write("1.1.0", DISCOUNT + needed, more=full)

    with pytest.raises(IncompatibleChangeError, match="producers must deliver it"):
        desk.registry.publish(path, actor="ada", reason="new")


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize(
    "policy", ["{transitive: false}", "{protects: full}", "{transitive: true}"]
)
def test_a_refused_version_is_no_measure_for_the_next_one(
    desk: Desk, policy: str, recorded: bool
) -> None:
    more = f"  compatibility: {policy}\n"
    desk.write("1.0.0", more=more)
    if recorded:
        desk.registry.publish(desk.root / "orders/1.0.0.yaml", actor="ada", reason="first")
    refused = desk.write("1.1.0", "", more=more)
    with pytest.raises(IncompatibleChangeError, match=r"after 1\.0\.0"):
        desk.registry.publish(refused, actor="ada", reason="smaller")
    same = desk.write("1.2.0", "", more=more)

    with pytest.raises(IncompatibleChangeError, match=r"after 1\.0\.0"):
        desk.registry.publish(same, actor="ada", reason="smaller")
    event = desk.registry.publish(desk.write("2.0.0", ""), actor="ada", reason="smaller")

    assert event.payload["previous"] == "1.0.0"
    assert event.payload["bump"] == "major"


def test_a_proposal_that_became_active_in_the_file_alone_is_no_measure(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.write("1.1.0", "", status="proposed")
    desk.registry.sync()
    desk.write("1.1.0", "")
    path = desk.write("1.2.0", "")

    with pytest.raises(IncompatibleChangeError, match=r"after 1\.0\.0"):
        desk.registry.publish(path, actor="ada", reason="smaller")


def test_a_published_version_that_was_edited_is_no_measure(desk: Desk) -> None:
    desk.registry.publish(desk.write("1.0.0"), actor="ada", reason="first")
    desk.write("1.0.0", "")
    path = desk.write("1.1.0", "")

    with pytest.raises(VersionConflictError, match=r"orders@1\.0\.0 was published and then edited"):
        desk.registry.publish(path, actor="ada", reason="smaller")

    assert [v.version for v in desk.registry.published()] == ["1.0.0"]


@pytest.mark.parametrize(("actor", "reason"), [("", "why"), ("ada", " ")])
def test_publish_needs_an_actor_and_a_reason(desk: Desk, actor: str, reason: str) -> None:
    path = desk.write("1.0.0")

    with pytest.raises(PolicyError, match="say who does it and why"):
        desk.registry.publish(path, actor=actor, reason=reason)


def test_publish_takes_only_what_stands_in_the_folder(desk: Desk, tmp_path: Path) -> None:
    desk.write("1.0.0")
    stray = tmp_path / "stray.yaml"
    stray.write_text(ORDERS.format(version="1.1.0", status="active", fields="", more=""))

    with pytest.raises(PolicyError, match=r"save it as orders/1\.1\.0\.yaml"):
        desk.registry.publish(stray, actor="ada", reason="new")


# --- lifecycle through the registry ---------------------------------------------------------------


def test_a_deprecated_version_no_longer_answers_first(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.write("1.1.0", DISCOUNT + NOTE)
    desk.registry.sync()

    event = desk.registry.deprecate(
        "orders",
        "1.1.0",
        actor="ada",
        reason="wrong unit",
        until=date(2026, 6, 1),
        successor="orders@2",
    )

    assert event.kind is EventKind.DEPRECATED
    assert desk.registry.resolve("orders").version == "1.0.0"
    old = desk.registry.resolve("orders@1.1.0")
    assert (old.status, old.deprecated_until, old.successor) == (
        ContractStatus.DEPRECATED,
        date(2026, 6, 1),
        "orders@2",
    )
    told = desk.message("contract.deprecated")
    assert (told["until"], told["successor"], told["actor"]) == ("2026-06-01", "orders@2", "ada")


def test_deprecating_twice_is_one_event(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()

    first = desk.registry.deprecate("orders", "1.0.0", actor="ada", reason="old")
    second = desk.registry.deprecate("orders", "1.0.0", actor="bob", reason="old too")

    assert first == second
    assert desk.told() == ["contract.deprecated"]


def test_what_is_retired_stays_retired(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()
    desk.registry.retire("orders", "1.0.0", actor="ada", reason="gone")

    assert desk.registry.resolve("orders").status is ContractStatus.RETIRED
    with pytest.raises(PolicyError, match="is retired"):
        desk.registry.deprecate("orders", "1.0.0", actor="ada", reason="undo")


# --- consumers and subscriptions ------------------------------------------------------------------


def test_consumers_are_known_from_the_graph_the_contract_and_subscriptions(desk: Desk) -> None:
    desk.write("1.0.0", more="  consumers:\n    - {name: finance, columns: [id]}\n")
    desk.registry.set_consumers([edge("report", owners=("team:bi",))])
    desk.registry.subscribe("orders", "bob", channels=["mail"])

    found = {each.name: each for each in desk.registry.consumers("orders")}

    assert {name: each.origin for name, each in found.items()} == {
        "report": ConsumerOrigin.GRAPH,
        "finance": ConsumerOrigin.DECLARED,
        "bob": ConsumerOrigin.SUBSCRIBED,
    }
    assert found["report"].owners == ("team:bi",)
    assert found["finance"].columns == ("id",)
    assert found["bob"].channels == ("mail",)


def test_a_code_location_replaces_its_own_edges_only(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.set_consumers([edge("report"), edge("audit")], location="a")
    desk.registry.set_consumers([edge("model")], location="b")
    desk.registry.set_consumers([edge("report")], location="a")

    assert [each.name for each in desk.registry.consumers("orders")] == ["model", "report"]


def test_a_subscription_ends(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.subscribe("orders", "bob")

    assert desk.registry.unsubscribe("orders", "bob") is True
    assert desk.registry.unsubscribe("orders", "bob") is False
    assert desk.registry.consumers("orders") == ()


def test_nobody_subscribes_to_what_is_not_there(desk: Desk) -> None:
    desk.write("1.0.0")

    with pytest.raises(UnknownContractError):
        desk.registry.subscribe("ordres", "bob")


def test_only_those_who_want_a_kind_are_notified_of_it(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.registry.sync()
    desk.registry.subscribe("orders", "bob", channels=["mail"], kinds=["deprecated"])
    desk.registry.subscribe("orders", "eve", channels=["chat"], columns=["discount"])
    desk.write("2.0.0", "")
    desk.registry.sync()

    notified = desk.message("contract.published")["notify"]
    assert [(n["subscriber"], n["channels"], n["verdict"]) for n in notified] == [  # type: ignore[attr-defined]
        ("eve", ["chat"], "breaks")
    ]


def test_impact_names_the_worst_hit_first(desk: Desk) -> None:
    desk.write("1.0.0")
    desk.write("2.0.0", "")
    desk.registry.set_consumers([edge("audit", "id"), edge("report", "discount")])
    registry = desk.registry

    impacts = registry.impact(registry.resolve("orders@1.0.0"), registry.resolve("orders@2.0.0"))

    assert [(i.consumer.name, i.verdict) for i in impacts] == [
        ("report", Verdict.BREAKS),
        ("audit", Verdict.FINE),
    ]


def test_a_broken_file_holds_back_its_own_contract_only(desk: Desk) -> None:
    desk.write("1.0.0")
    prices = desk.root / "prices" / "1.0.0.yaml"
    prices.parent.mkdir(parents=True)
    whole = ORDERS.format(version="1.0.0", status="active", fields=NOTE, more="")
    prices.write_text(whole.replace("name: orders", "name: prices"))
    broken = prices.with_name("1.1.0.yaml")
    broken.write_text("data_contract:\n  name: prices\n  schema: 3\n")

    with pytest.raises(DocumentError) as caught:
        desk.registry.sync()

    assert str(caught.value).startswith(f"{broken}:3:11: ")
    assert caught.value.hint
    assert [each.contract for each in desk.recorded()] == ["orders"]

    broken.unlink()
    desk.registry.sync()
    assert [each.contract for each in desk.recorded()] == ["orders", "prices"]


def test_every_broken_file_is_told_with_its_place(desk: Desk) -> None:
    desk.write("1.0.0")
    for name in ("a", "b"):
        (desk.root / f"{name}.yaml").write_text("data_contract:\n  name: [\n")
    twin = desk.root / "twin.yaml"
    twin.write_text((desk.root / "orders" / "1.0.0.yaml").read_text())

    with pytest.raises(DocumentError, match="3 contract files could not be recorded") as caught:
        desk.registry.sync()

    told = str(caught.value)
    assert f"{desk.root / 'a.yaml'}:" in told
    assert f"{desk.root / 'b.yaml'}:" in told
    assert "two documents carry orders@1.0.0" in told
    assert desk.recorded() == ()
