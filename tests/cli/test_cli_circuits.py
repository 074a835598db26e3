"""Status, history and what operators decide, on real evaluations in a real store."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dagster_contracts.core.circuit import CircuitKey, CircuitState, Override
from dagster_contracts.engine.validation import validate
from dagster_contracts.monitoring.health import health
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.circuit_rows import lock_circuit
from dagster_contracts.resilience.event_rows import forget_events
from dagster_contracts.resilience.healing import Healing
from dagster_contracts.resilience.ledger import DegradedRead, DegradedReads
from tests.cli.conftest import ORDERS, Project


def read_a_fallback(project: Project, generation: int) -> None:
    store = project.store()
    DegradedReads(store).record(
        DegradedRead(
            circuit=CircuitKey("orders", "orders"),
            consumer="revenue",
            consumer_partition="2026-03-01",
            upstream="orders",
            level="last_valid",
            source="last_valid",
            reason="the circuit is open",
            run_id="run-1",
            generation=generation,
        )
    )
    store.close()


@pytest.mark.parametrize(
    "command",
    [["status"], ["status", "orders"], ["history", "orders"], ["alerts"], ["quarantine", "list"]],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_command_that_reads_creates_no_store(
    project: Project, command: list[str], form: str
) -> None:
    ran = project.run(*command, "--format", form)

    assert ran.code == 0
    assert not project.state.parent.exists()


@pytest.mark.parametrize("command", [["status"], ["history", "orders"], ["alerts"]])
def test_a_named_store_that_is_not_there_is_an_error_and_not_silence(
    project: Project, command: list[str]
) -> None:
    ran = project.run("--store", "sqlite:///typo/state.db", *command)

    assert ran.code == 2
    assert "there is no state store" in ran.stderr
    assert "--store" in ran.stderr
    assert not (project.root / "typo").exists()


def test_each_partition_has_its_own_evaluation(project: Project) -> None:
    scoped = ORDERS.format(version="1.0.0").replace(
        "open_when:", "scope: partition\n      open_when:"
    )
    project.write("contracts/orders/1.0.0.yaml", scoped)
    project.evaluate("good.csv", partition="2026-03-01")
    project.evaluate("bad.csv", partition="2026-03-02")

    circuits = project.run("status", "--format", "json").json["circuits"]

    assert [(c["partition"], c["last_evaluation"]["rows"]) for c in circuits] == [
        ("2026-03-01", 2),
        ("2026-03-02", 3),
    ]


def test_status_says_plainly_that_there_is_no_state_yet(project: Project) -> None:
    assert "no state yet" in project.run("status").stdout
    assert str(project.state) in project.run("status").stdout


def test_without_a_store_the_json_has_the_same_keys_and_names_what_was_never_evaluated(
    project: Project,
) -> None:
    before = project.run("status", "--format", "json").json
    assert before["never_evaluated"] == ["orders"]
    project.evaluate("good.csv")
    after = project.run("status", "--format", "json").json
    assert before.keys() == after.keys()
    assert after["never_evaluated"] == []


def test_a_closed_circuit_is_good(project: Project) -> None:
    project.evaluate("good.csv")

    ran = project.run("status")

    assert ran.code == 0
    assert "orders/orders: closed" in ran.stdout
    assert "passed, 2 rows" in ran.stdout
    assert "1 circuit, none not closed" in ran.stdout


def test_status_tells_since_when_why_and_what_comes_next(project: Project) -> None:
    verdict = project.evaluate("bad.csv")
    read_a_fallback(project, verdict.circuit.generation)

    ran = project.run("status", "orders")

    assert ran.code == 1
    assert "orders/orders: open for" in ran.stdout
    assert verdict.circuit.evaluation_id is not None
    assert f"by evaluation {verdict.circuit.evaluation_id[:8]}: " in ran.stdout
    assert "schema_validation_errors was 100%, which is > 5%" in ran.stdout
    assert "next probe" in ran.stdout
    assert "(in 14min" in ran.stdout
    assert "failed, 3 rows, schema_validation_errors 100%" in ran.stdout
    assert "revenue[2026-03-01] was built on last_valid" in ran.stdout
    assert "1 read to be healed" in ran.stdout


def test_status_as_json_holds_the_same(project: Project) -> None:
    verdict = project.evaluate("bad.csv")
    read_a_fallback(project, verdict.circuit.generation)

    ran = project.run("status", "--format", "json")

    assert ran.code == 1
    (circuit,) = ran.json["circuits"]
    assert circuit["effective_state"] == circuit["state"] == "open"
    assert circuit["evaluation_id"] == verdict.circuit.evaluation_id
    assert circuit["failed_probes"] == 0
    assert circuit["last_evaluation"]["metrics"]["schema_validation_errors"] == 1.0
    assert circuit["last_evaluation"]["status"] == "failed"
    assert [read["consumer"] for read in circuit["degraded_reads"]] == ["revenue"]
    assert circuit["override"] is None


def test_what_cannot_be_probed_or_healed_is_told_with_the_reason(project: Project) -> None:
    verdict = project.evaluate("bad.csv")
    read_a_fallback(project, verdict.circuit.generation)
    store = project.store()
    why = "the partition 2026-03-01 of revenue does not exist any more"
    DegradedReads(store).explain({("revenue", "2026-03-01"): why})
    key = CircuitKey("orders", "orders")
    CircuitBreaker(store).block_probe(project.contract(), key, "orders is not made here any more")
    store.close()

    told = " ".join(project.run("status", "orders").stdout.split())
    assert re.search(r"probes next probe .*; the probe cannot run: orders is not made here", told)
    assert re.search(rf"was built on last_valid .*; not healed since \d\d:\d\d.*: {why}", told)
    (circuit,) = project.run("status", "--format", "json").json["circuits"]
    assert circuit["probe_blocked"] == "orders is not made here any more"
    assert [read["unhealed_because"] for read in circuit["degraded_reads"]] == [why]
    assert circuit["degraded_reads"][0]["unhealed_since"] is not None

    history = project.run("history", "orders").stdout
    assert "UTC no probe can be started: orders is not made here any more" in history
    assert re.search(rf"now revenue\[2026-03-01\]: not healed since .*: {why}", history)
    told_json = project.run("history", "orders", "--format", "json").json
    assert [each["because"] for each in told_json["not_healed"]] == [why]

    store = project.store()
    DegradedReads(store).explain({("revenue", "2026-03-01"): None})
    store.close()
    assert "not healed" not in project.run("status", "orders").stdout
    assert "not healed" not in project.run("history", "orders").stdout


def test_reads_of_several_partitions_are_told_apart(project: Project) -> None:
    verdict = project.evaluate("bad.csv")
    store = project.store()
    for day in ("2026-03-01", "2026-03-02"):
        DegradedReads(store).record(
            DegradedRead(
                circuit=CircuitKey("orders", "orders"),
                consumer="total",
                upstream="orders",
                upstream_partition=day,
                level="last",
                source="last_valid of orders",
                reason="the circuit is open",
                run_id="run-1",
                generation=verdict.circuit.generation,
            )
        )
    store.close()
    told = " ".join(project.run("status", "orders").stdout.split())
    for day in ("2026-03-01", "2026-03-02"):
        assert f"total was built on last (last_valid of orders) for orders[{day}] since" in told


def test_what_was_given_up_is_a_finding_until_it_is_tried_again(project: Project) -> None:
    read_a_fallback(project, project.evaluate("good.csv").circuit.generation)
    store = project.store()
    healing = Healing(store, DegradedReads(store))
    for _ in range(3):
        (request,) = healing.due(lambda _: True)
        healing.finished(request.run_key, succeeded=False)
    healing.due(lambda _: True)
    store.close()

    told = project.run("status", "orders")
    assert told.code == 1
    said = " ".join(told.stdout.split())
    assert "revenue[2026-03-01] was built on last_valid" in said
    assert "given up after 3 tries: the last one failed" in said
    assert "1 read to be healed, 1 given up" in said
    history = project.run("history", "orders").stdout
    assert "healing given up: revenue[2026-03-01]: given up after 3 tries" in history

    decision = ("--actor", "ada", "--reason", "it is back")
    wrong = project.run("heal", "orders", "--asset", "revenu", *decision)
    assert wrong.code == 2
    assert "nothing of the name 'revenu' waits to be healed of a fallback of orders" in wrong.stderr
    assert "what waits: revenue" in wrong.stderr
    assert "did you mean 'revenue'?" in wrong.stderr
    day = ("--asset", "revenue", "--partition", "2026-03-02")
    wrong = project.run("heal", "orders", *day, *decision)
    assert wrong.code == 2
    assert "no partition '2026-03-02' of revenue waits to be healed" in wrong.stderr
    assert "did you mean '2026-03-01'?" in wrong.stderr
    part = ("--asset", "revenue", "--partition", "2026-03-01")
    tried = project.run("heal", "orders", *part, *decision, "--format", "json")
    assert tried.json == {"tried_again": [{"asset": "revenue", "partition": "2026-03-01"}]}
    assert "given up" not in project.run("status", "orders").stdout
    history = project.run("history", "orders").stdout
    assert "healing asked by ada: revenue[2026-03-01]: it is back" in history


@pytest.mark.parametrize(
    ("because", "code"),
    [
        (None, 1),  # healed at the next tick, and not before
        ("the contract orders says `heal: notify`", 1),
        ("the contract orders says `heal: false`", 1),
        ("it is built from total, which is not healed: total is not made here any more", 1),
        ("revenue is not made here any more", 0),
        ("the partition 2026-03-01 of revenue does not exist any more", 0),
    ],
)
def test_all_is_well_when_nothing_that_can_be_read_is_built_on_a_fallback(
    project: Project, because: str | None, code: int
) -> None:
    read_a_fallback(project, project.evaluate("good.csv").circuit.generation)
    store = project.store()
    DegradedReads(store).explain({("revenue", "2026-03-01"): because})
    store.close()
    assert project.run("status").code == code
    assert project.run("status", "--format", "json").code == code

    store = project.store()
    DegradedReads(store).settle(
        consumer="revenue", consumer_partition="2026-03-01", upstream="orders", run_id="r2"
    )
    store.close()
    assert project.run("status").code == 0


def test_history_tells_the_transitions_in_order(project: Project) -> None:
    project.evaluate("good.csv")
    project.evaluate("bad.csv")
    project.run("reset", "orders", "--reason", "mended by hand", "--actor", "ada")

    lines = project.run("history", "orders").stdout.splitlines()

    assert len(lines) == 2
    assert "opened by evaluation" in lines[0]
    assert "schema_validation_errors was 100%, which is > 5%" in lines[0]
    assert "reset by ada: mended by hand (was not closed for " in lines[1]


def test_history_tells_decisions_once_and_ends_with_how_it_stands(project: Project) -> None:
    project.evaluate("bad.csv")
    project.run("force-open", "orders", "--reason", "cents", "--actor", "ada", "--for", "2h")

    opened, forced, now = project.run("history", "orders").stdout.splitlines()

    assert re.search(r"is > 5%; next probe (\S+ )?\d\d:\d\d UTC$", opened)
    assert re.search(r"UTC forced open by ada until \S+ \S+ UTC: cents$", forced)
    assert now.startswith("now orders/orders: forced open (open for consumers); next probe ")


def test_status_tells_the_last_batch_though_a_run_failed_since(project: Project) -> None:
    project.evaluate("bad.csv")
    store = project.store()
    CircuitBreaker(store).observe_failure(
        project.contract(),
        CircuitKey("orders", "orders"),
        run_id="run-2",
        what="failed_materializations",
    )
    store.close()

    told = project.run("status", "orders").stdout

    assert re.search(r"evaluated +.*: failed, \d rows?, schema_validation_errors 100%", told)
    assert "not evaluated" not in told


def test_status_names_the_partitions_that_an_open_circuit_waits_for(project: Project) -> None:
    store = project.store()
    contract, key = project.contract(), CircuitKey("orders", "orders")
    for day in ("d1", "d2"):
        report = validate(str(project.root / "bad.csv"), contract, asset="orders", partition=day)
        CircuitBreaker(store).record(contract, report, key=key, run_id=f"run-{day}")
    store.close()

    told = project.run("status", "orders")

    assert "a good batch of d1, d2" in told.stdout
    (circuit,) = project.run("status", "orders", "--format", "json").json["circuits"]
    assert circuit["bad_partitions"] == ["d1", "d2"]


def test_history_of_a_probe_names_no_machine_s_tag(project: Project) -> None:
    project.evaluate("bad.csv")
    store = project.store()
    breaker = CircuitBreaker(store)
    key = CircuitKey("orders", "orders")
    breaker.reset(key, actor="ada", reason="so that a probe is refused")
    breaker.ask_probe(project.contract(), key, "probe:orders/orders:2:0")
    store.close()

    told = project.run("history", "orders").stdout

    assert "the sensor's run is not the probe" in told
    assert "probe:orders" not in told


def test_history_with_all_has_the_evaluations_too(project: Project) -> None:
    project.evaluate("good.csv")

    assert project.run("history", "orders", "--format", "json").json["events"] == []
    events = project.run("history", "orders", "--all", "--format", "json").json["events"]
    assert [event["kind"] for event in events] == ["policy_changed", "recorded"]
    first = project.run("history", "orders", "--all").stdout.splitlines()[0]
    assert first.endswith("UTC bound to orders@1.0.0")


def test_history_does_not_tell_where_a_partition_begins(project: Project) -> None:
    scoped = ORDERS.format(version="1.0.0").replace(
        "open_when:", "scope: partition\n      open_when:"
    )
    project.write("contracts/orders/1.0.0.yaml", scoped)
    contract = project.contract()
    with closing(project.store()) as store:
        CircuitBreaker(store).record(
            contract,
            validate(
                str(project.root / "bad.csv"), contract, asset="orders", partition="2026-03-01"
            ),
            key=CircuitKey("orders", "orders", "2026-03-01"),
            partition_time=datetime(2026, 3, 1, tzinfo=UTC),
        )

    assert "placed" not in project.run("history", "orders").stdout
    assert "placed" in project.run("history", "orders", "--all").stdout


def test_history_keeps_the_newest_lines(project: Project) -> None:
    for _ in range(3):
        project.evaluate("bad.csv")
        project.run("reset", "orders", "--reason", "again", "--actor", "ada")

    events = project.run("history", "orders", "--limit", "2", "--format", "json").json["events"]

    assert [event["after"] for event in events] == ["open", "closed"]
    assert events == project.run("history", "orders", "--format", "json").json["events"][-2:]


@pytest.mark.parametrize(
    ("command", "state", "code"),
    [("force-open", "open", 1), ("force-closed", "closed", 0), ("metrics-only", "closed", 0)],
)
def test_an_override_decides_what_consumers_see(
    project: Project, command: str, state: str, code: int
) -> None:
    project.evaluate("good.csv")

    ran = project.run(
        command, "orders", "--reason", "cents", "--actor", "ada", "--for", "2h", "--format", "json"
    )

    assert ran.code == 0
    assert ran.json["effective_state"] == state
    assert ran.json["override"] == command.replace("force-", "forced_").replace("-", "_")
    after = project.run("status")
    assert after.code == code
    assert "by ada until" in after.stdout
    assert "cents" in after.stdout
    assert "(in 1h 59min)" in after.stdout


def test_an_override_may_come_before_the_first_evaluation(project: Project) -> None:
    project.run("db", "upgrade")

    ran = project.run("force-open", "orders", "--reason", "not ready", "--actor", "ada")

    assert ran.code == 0
    assert ran.stdout.splitlines() == [
        "orders/orders: forced open, open for consumers",
        (
            "  consumers read the first usable fallback; evaluations are only recorded; "
            "it stays so until a reset"
        ),
    ]


def test_reset_lifts_an_override(project: Project) -> None:
    project.evaluate("bad.csv")
    project.run("force-open", "orders", "--reason", "x", "--actor", "ada")

    ran = project.run("reset", "orders", "--reason", "done", "--actor", "ada")

    assert ran.code == 0
    assert ran.stdout.startswith("orders/orders: closed, no override\n  consumers read the primary")
    assert project.run("status").code == 0


def test_nothing_is_decided_without_a_reason_or_an_actor(project: Project) -> None:
    project.evaluate("good.csv")

    assert project.run("force-open", "orders", "--actor", "ada").code == 2
    unnamed = project.run("force-open", "orders", "--reason", "x", "--actor", " ")
    assert unnamed.code == 2
    assert "no actor given" in unnamed.stderr
    empty = project.run("reset", "orders", "--reason", " ", "--actor", "ada")
    assert empty.code == 2
    assert "no reason given" in empty.stderr


def test_the_actor_is_the_user_of_the_machine(project: Project) -> None:
    project.evaluate("good.csv")

    ran = project.run("force-open", "orders", "--reason", "x", "--format", "json", LOGNAME="grace")

    assert ran.json["actor"] == "grace"


def test_a_malformed_duration_is_explained(project: Project) -> None:
    project.evaluate("good.csv")

    ran = project.run("force-open", "orders", "--reason", "x", "--for", "2m")

    assert ran.code == 2
    assert "'--for'" in ran.stderr


SCOPED = ORDERS.format(version="1.0.0").replace("open_when:", "scope: partition\n      open_when:")
DECISIONS = ["force-open", "force-closed", "metrics-only", "reset"]


@pytest.mark.parametrize("command", DECISIONS)
@pytest.mark.parametrize("evaluated", [True, False])
def test_a_decision_about_an_asset_that_the_contract_does_not_govern_is_refused(
    project: Project, command: str, evaluated: bool
) -> None:
    project.run("db", "upgrade")
    if evaluated:
        project.evaluate("good.csv")

    ran = project.run(command, "orders", "--asset", "order", "--reason", "x", "--actor", "ada")

    assert ran.code == 2
    assert "orders does not govern 'order'" in ran.stderr
    assert "did you mean 'orders'?" in ran.stderr
    circuits = project.run("status", "--format", "json").json["circuits"]
    assert [c["asset"] for c in circuits] == ["orders"] * evaluated


def test_a_partition_of_a_contract_with_one_circuit_is_refused(project: Project) -> None:
    project.evaluate("good.csv")

    ran = project.run(
        "force-open", "orders", "--partition", "2026-03-01", "--reason", "x", "--actor", "ada"
    )

    assert ran.code == 2
    assert "orders has one circuit for all its partitions" in ran.stderr
    assert "scope: asset" in ran.stderr


@pytest.mark.parametrize("days", [0, 2])
def test_without_a_partition_every_one_obeys_those_that_come_later_too(
    project: Project, days: int
) -> None:
    project.run("db", "upgrade")
    project.write("contracts/orders/1.0.0.yaml", SCOPED)
    for partition in ["2026-03-01", "2026-03-02"][:days]:
        project.evaluate("good.csv", partition=partition)
    decided = ("--reason", "x", "--actor", "ada")

    ran = project.run("force-open", "orders", *decided)

    assert ran.code == 0
    assert ran.stdout.startswith("orders/orders: forced open, open for consumers")
    assert "every partition of orders obeys it, those that come later too" in ran.stdout
    assert project.evaluate("good.csv", partition="2026-03-03").circuit.inherited
    status = project.run("status")
    assert status.code == 1
    assert "orders/orders[2026-03-03]: forced open (open for consumers)" in status.stdout
    assert "by ada until somebody lifts it, for the whole asset: x" in status.stdout
    told = project.run("history", "orders", "--partition", "2026-03-03").stdout
    assert "as the whole asset: x" in told
    project.run("force-closed", "orders", "--partition", "2026-03-03", *decided)
    again = project.run("metrics-only", "orders", *decided, "--format", "json").json
    assert [c["partition"] for c in again["circuits"]] == [None]
    assert "which they keep: 2026-03-03" in again["remark"]


def test_a_reset_without_a_partition_lifts_it_and_closes_every_one(project: Project) -> None:
    project.write("contracts/orders/1.0.0.yaml", SCOPED)
    project.evaluate("bad.csv", partition="2026-03-01")
    decided = ("--reason", "x", "--actor", "ada")
    project.run("force-open", "orders", *decided)
    one = project.run("reset", "orders", "--partition", "2026-03-01", *decided)
    assert "forced open as the whole asset is, open for consumers" in one.stdout

    ran = project.run("reset", "orders", *decided)

    assert ran.code == 0
    assert "orders/orders[2026-03-01]: closed, no override" in ran.stdout
    assert project.run("status").code == 0
    circuits = project.run("status", "--format", "json").json["circuits"]
    assert [c["partition"] for c in circuits] == ["2026-03-01"]


def test_one_of_several_circuits_is_chosen(project: Project) -> None:
    project.write("contracts/orders/1.0.0.yaml", SCOPED)
    for partition in ("2026-03-01", "2026-03-02"):
        project.evaluate("good.csv", partition=partition)

    chosen = project.run(
        "force-open", "orders", "--reason", "x", "--actor", "ada", "--partition", "2026-03-02"
    )

    assert chosen.code == 0
    assert chosen.stdout.startswith("orders/orders[2026-03-02]: forced open")
    assert "2026-03-01" not in chosen.stdout


def test_a_partition_may_be_forced_before_it_is_evaluated_where_that_is_said(
    project: Project,
) -> None:
    project.write("contracts/orders/1.0.0.yaml", SCOPED)
    decided = ("force-open", "orders", "--reason", "x", "--actor", "ada")
    project.evaluate("good.csv", partition="2026-03-01")

    ran = project.run(*decided, "--partition", "2026-03-02", "--new-partition")

    assert ran.code == 0
    assert "nothing was evaluated of orders/orders[2026-03-02] yet" in ran.stdout
    assert "partitions with a circuit: 2026-03-01" in ran.stdout
    alone = project.run(*decided, "--new-partition")
    assert alone.code == 2
    assert "the one that --partition names" in alone.stderr


@pytest.mark.parametrize("command", DECISIONS)
@pytest.mark.parametrize(
    ("partition", "said"),
    [("2026-3-01", "did you mean '2026-03-01'?"), ("banana", "partitions that were: 2026-03-01")],
)
def test_a_partition_of_which_nothing_was_evaluated_is_refused(
    project: Project, command: str, partition: str, said: str
) -> None:
    project.write("contracts/orders/1.0.0.yaml", SCOPED)
    project.evaluate("good.csv", partition="2026-03-01")

    ran = project.run(
        command, "orders", "--partition", partition, "--reason", "x", "--actor", "ada"
    )

    assert ran.code == 2
    assert f"nothing was ever evaluated of the partition '{partition}' of orders" in ran.stderr
    assert said in ran.stderr
    assert ("--new-partition" in ran.stderr) == (command != "reset")
    circuits = project.run("status", "--format", "json").json["circuits"]
    assert [c["partition"] for c in circuits] == ["2026-03-01"]


def test_a_partition_that_was_never_evaluated_is_dismissed_by_its_name(project: Project) -> None:
    project.write("contracts/orders/1.0.0.yaml", SCOPED)
    decided = ("--reason", "a typo", "--actor", "ada")
    for partition in ("2026-03-01", "2026-03-02"):
        project.evaluate("good.csv", partition=partition)
    for partition in ("2026-13-99", "2026-04-01"):
        project.run("force-open", "orders", "--partition", partition, "--new-partition", *decided)

    assert project.run("dismiss", "orders", *decided).code == 2
    assert project.run("dismiss", "orders", "--partition", "2026-03-01", *decided).code == 2
    ran = project.run("dismiss", "orders", "--partition", "2026-13-99", *decided)

    assert ran.code == 0
    assert "orders/orders[2026-13-99]: dismissed, nothing was ever evaluated of it" in ran.stdout
    circuits = project.run("status", "--format", "json").json["circuits"]
    assert [c["partition"] for c in circuits] == ["2026-03-01", "2026-03-02", "2026-04-01"]
    assert not project.evaluate("good.csv", partition="2026-13-99").circuit.frozen


def test_a_contract_without_a_circuit_says_so(project: Project) -> None:
    project.run("db", "upgrade")

    ran = project.run("force-open", "prices", "--reason", "x", "--actor", "ada")

    assert ran.code == 2
    assert "prices has no circuit" in ran.stderr
    assert "resilience" in ran.stderr


@pytest.mark.parametrize("command", ["status", "history", "consumers"])
def test_an_unknown_contract_names_the_nearest(project: Project, command: str) -> None:
    project.evaluate("good.csv")

    ran = project.run(command, "ordres")

    assert ran.code == 2
    assert "did you mean 'orders'?" in ran.stderr


def test_a_decision_needs_a_store(project: Project) -> None:
    ran = project.run("reset", "orders", "--reason", "x", "--actor", "ada")

    assert ran.code == 2
    assert "there is no state store" in ran.stderr
    assert "db upgrade" in ran.stderr
    assert not project.state.exists()


@pytest.mark.parametrize("command", [("status",), ("alerts",), ("quarantine", "list")])
@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (None, "the file is empty"),
        ("", "the file is a database without tables"),
        ("CREATE TABLE songs (id); CREATE TABLE albums (id)", "its tables are albums, songs"),
    ],
)
def test_a_named_file_that_is_no_store_says_what_it_is(
    project: Project, command: tuple[str, ...], sql: str | None, said: str
) -> None:
    file = project.write("other.db", "")
    if sql is not None:
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(sql or "CREATE TABLE t (id); DROP TABLE t")

    ran = project.run("--store", "sqlite:///other.db", *command)

    assert ran.code == 2
    assert "there is no state store" in ran.stderr
    assert said in ran.stderr
    assert "db upgrade" in ran.stderr
    assert ran.stdout == ""


@pytest.mark.parametrize("command", [("status",), ("db", "upgrade")])
def test_a_folder_is_no_store(project: Project, command: tuple[str, ...]) -> None:
    (project.root / "bad").mkdir()

    ran = project.run("--store", "sqlite:///bad", *command)

    assert ran.code == 2
    assert "why:  it is a folder" in ran.stderr
    assert "set `store` to a file" in ran.stderr


def test_a_wrong_unit_of_a_duration_names_units_of_time(project: Project) -> None:
    ran = project.run("force-open", "orders", "--reason", "x", "--actor", "ada", "--for", "2x")

    assert ran.code == 2
    assert "unknown unit 'x'; units of time are ms, s, min, h, d, w" in " ".join(ran.stderr.split())


def test_db_upgrade_creates_the_store_once(project: Project) -> None:
    first = project.run("db", "upgrade", "--format", "json").json
    second = project.run("db", "upgrade", "--format", "json").json

    assert (first["created"], second["created"]) == (True, False)
    assert first["store"] == f"sqlite:///{project.state}"


def test_a_file_that_is_no_database_is_a_clear_error(project: Project) -> None:
    project.write(".dagster_contracts/state.db", "this is a letter, not a database\n" * 100)

    ran = project.run("status")

    assert ran.code == 2
    assert "not a database" in ran.stderr


@pytest.mark.parametrize(
    "url",
    ["nonsense", "mysql://host/db", "sqlite:///", "postgresql+psycopg://u:secret@127.0.0.1:1/x"],
)
def test_a_store_that_cannot_be_opened_is_a_clear_error(project: Project, url: str) -> None:
    ran = project.run("--store", url, "status")

    assert ran.code == 2
    assert ran.stderr.startswith("error: ")
    assert "secret" not in ran.stderr


def test_a_store_on_postgresql_is_read_and_not_created(project: Project, postgres_url: str) -> None:
    assert "no state yet" in project.run("--store", postgres_url, "status").stdout
    assert project.run("--store", postgres_url, "db", "upgrade").code == 0

    ran = project.run("--store", postgres_url, "status", "--format", "json")

    assert ran.code == 0
    assert ran.json["circuits"] == []


def test_consumers_are_known_from_the_contract_and_from_the_graph(project: Project) -> None:
    from dagster_contracts.registry.consumers import ConsumerEdge
    from dagster_contracts.registry.subscriptions import SubscriptionBook

    declared = project.run("consumers", "orders", "--format", "json").json["consumers"]
    store = project.store()
    edge = ConsumerEdge(contract="orders", upstream_asset="orders", consumer_asset="forecast")
    SubscriptionBook(store).replace_edges([edge], place="shop")
    store.close()
    both = project.run("consumers", "orders", "--format", "json").json["consumers"]

    assert [(each["name"], each["origin"]) for each in declared] == [
        ("revenue", "declared"),
        ("campaigns", "declared"),
    ]
    assert [each["name"] for each in both] == ["forecast", "revenue", "campaigns"]
    assert "the asset graph" in project.run("consumers", "orders").stdout


def test_a_decision_does_not_bind_the_circuit_to_another_version(project: Project) -> None:
    project.evaluate("good.csv")
    project.write("contracts/orders/1.1.0.yaml", ORDERS.format(version="1.1.0").replace("5%", "9%"))

    project.run("force-closed", "orders", "--reason", "x", "--actor", "ada")

    events = project.run("history", "orders", "--all", "--format", "json").json["events"]
    assert [event["kind"] for event in events] == ["policy_changed", "recorded", "override_set"]


def test_circuits_that_no_consumer_asks_are_told_apart_and_dismissed(project: Project) -> None:
    project.evaluate("good.csv")
    store = project.store()
    breaker = CircuitBreaker(store)
    ghosts = [CircuitKey("ordrs", "orders"), CircuitKey("orders", "orders", "2026-03-01")]
    with store.begin() as conn:
        for ghost in ghosts:
            lock_circuit(conn, ghost, store.now)
    breaker.force(ghosts[0], Override.FORCED_OPEN, actor="ada", reason="a typo")
    store.close()

    told = project.run("status")

    assert told.code == 0
    assert "1 circuit, none not closed for consumers" in told.stdout
    assert "2 circuits that no consumer asks" in told.stdout
    assert "ordrs/orders: there is no contract ordrs" in told.stdout
    assert "orders/orders[2026-03-01]: orders@1.0.0 has one circuit for all" in told.stdout
    unasked = project.run("status", "--format", "json").json["unasked"]
    assert [(c["contract"], c["override"]) for c in unasked] == [
        ("orders", "none"),
        ("ordrs", "forced_open"),
    ]

    decided = ("--reason", "a typo", "--actor", "bob")
    for name in ("orders", "ordrs"):
        assert "dismissed" in project.run("dismiss", name, *decided).stdout
    assert "no consumer asks" not in project.run("status").stdout
    assert "dismissed by bob: a typo" in project.run("history", "ordrs").stdout
    nothing = project.run("dismiss", "orders", *decided)
    assert nothing.code == 2
    assert "no circuit of orders is one that nobody asks" in nothing.stderr
    store = project.store()
    assert CircuitBreaker(store).circuit(ghosts[0]).override is Override.NONE
    assert not CircuitBreaker(store).due() & set(ghosts)
    store.close()


def test_an_override_that_has_ended_counts_as_lifted_though_nothing_asked_since(
    project: Project,
) -> None:
    project.evaluate("good.csv")
    store = project.store()
    past = store._clock = lambda: datetime.now(UTC) - timedelta(hours=3)
    CircuitBreaker(store).force(
        CircuitKey("orders", "orders"),
        Override.FORCED_OPEN,
        actor="ada",
        reason="x",
        until=past() + timedelta(hours=1),
    )
    store.close()

    ran = project.run("status", "orders")

    assert ran.code == 0
    assert "orders/orders: closed" in ran.stdout
    assert re.search(r"override +forced open by ada ended 2h ago, at .* UTC: x", ran.stdout)
    (told,) = project.run("status", "--format", "json").json["circuits"]
    assert (told["effective_state"], told["override"]) == ("closed", None)
    assert told["ended_override"]["kind"] == "forced_open"
    assert "forced open by ada ended 2h ago" in project.run("history", "orders").stdout
    store = project.store()
    (row,) = health(store, [project.contract()])
    assert (row.state, row.override) == (CircuitState.CLOSED, Override.NONE)
    (stored,) = CircuitBreaker(store).circuits(as_written=True)
    assert stored.override is Override.FORCED_OPEN, "who only looks writes nothing"
    store.close()


@pytest.mark.parametrize(
    "command",
    [
        ["force-open", "--reason", "x", "--actor", "ada"],
        ["reset", "--reason", "x", "--actor", "ada"],
        ["history"],
        ["status"],
        ["quarantine", "list"],
        ["consumers"],
    ],
)
def test_a_version_that_does_not_exist_is_refused(project: Project, command: list[str]) -> None:
    project.evaluate("good.csv")

    assert project.run(*command, "orders@1.0.0").code == 0
    ran = project.run(*command, "orders@^9")

    assert ran.code == 2
    assert "orders@^9" in ran.stderr
    assert "1.0.0" in ran.stderr


FORGED = "x\n2026-11-22 20:00:00 UTC reset by bob: all is well\r\t\x1b[31m\u2028\u202e"


@pytest.mark.parametrize("terminal", [False, True])
def test_text_of_others_forges_no_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    project.evaluate("good.csv")
    project.run("force-open", "orders", "--actor", f"ada{FORGED}", "--reason", FORGED)
    if terminal:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)

    for command in (["status"], ["history", "orders"], ["history", "orders", "--all"], ["alerts"]):
        told = project.run(*command).stdout
        assert not re.search(r"^2026-11-22 20:00", told, re.MULTILINE)
        assert not set(told) & set("\r\t\x1b\u2028\u202e")
    told = project.run("history", "orders").stdout
    assert r"x\n2026-11-22 20:00:00 UTC reset by bob: all is well\r\t\x1b[31m\u2028\u202e" in told


def test_a_circuit_can_be_forced_before_the_first_run(project: Project) -> None:
    decided = ["--reason", "the feed is not ready", "--actor", "ada"]
    for wrong in (["force-open", "prices"], ["force-open", "ordres"], ["reset", "orders"]):
        assert project.run(*wrong, *decided).code == 2
        assert not project.state.exists()
    named = project.run("--store", "sqlite:///typo/state.db", "force-open", "orders", *decided)
    assert named.code == 2
    assert "there is no state store" in named.stderr

    ran = project.run("force-open", "orders", *decided)

    assert (ran.code, ran.stderr) == (0, "")
    assert "orders/orders: forced open" in ran.stdout
    assert project.evaluate("good.csv").circuit.effective_state is CircuitState.OPEN


def test_history_says_that_retention_has_cut_it(project: Project) -> None:
    for data in ("good.csv", "bad.csv", "good.csv"):
        project.evaluate(data)
    whole = project.run("history", "orders")
    assert "retention" not in whole.stdout
    store = project.store()
    breaker = CircuitBreaker(store)
    (*_, opening) = [e for e in breaker.history(limit=99) if e.after is CircuitState.OPEN]
    with store.begin() as conn:
        forget_events(conn, opening.at + timedelta(milliseconds=1))
    store.close()

    ran = project.run("history", "orders")
    told = project.run("history", "orders", "--format", "json").json

    assert ran.stdout.startswith(f"retention removed what happened before {opening.at:%Y-%m-%d}")
    (cut,) = told["removed_before"]
    assert datetime.fromisoformat(cut["at"]) == opening.at
    assert "older lines are left out" not in ran.stdout
    newest = project.run("history", "orders", "--all", "--limit", "1")
    assert "older lines are left out; --limit tells more than 1" in newest.stdout


READING = [
    ["status"],
    ["history", "orders"],
    ["backtest", "orders"],
    ["alerts"],
    ["quarantine", "list"],
    ["proposals", "list"],
    ["feedback", "list"],
    ["silence", "list"],
    ["consumers", "orders"],
    ["db", "upgrade"],
]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else for a moment")
def test_a_store_that_may_only_be_read_is_read_by_every_command_that_reads(
    project: Project,
) -> None:
    project.evaluate("bad.csv")
    for command in READING:
        project.run(*command)  # imports what nobody might not find
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(project.state, Path(folder) / "state.db")
        shutil.copytree(project.root / "contracts", Path(folder) / "contracts")
        Path(folder, "state.db").chmod(0o444)
        Path(folder).chmod(0o555)
        process = multiprocessing.get_context("fork").Process(
            target=_only_read, args=(project, Path(folder))
        )
        process.start()
        process.join(60)
    assert process.exitcode == 0


def _only_read(project: Project, folder: Path) -> None:
    os.setuid(65534)
    os.chdir(folder)
    store = ["--store", f"sqlite:///{folder}/state.db"]
    for command in READING:
        ran = project.run(*store, *command)
        assert (ran.code, ran.stderr) == (int(command == ["status"]), ""), command
    decided = ["--reason", "x", "--actor", "ada"]
    for command in (["force-open", "orders"], ["reset", "orders"], ["publish", "orders"]):
        ran = project.run(*store, *command, *decided)
        assert ran.code == 2, command
        assert "the state store is read-only" in ran.stderr
    os._exit(0)
