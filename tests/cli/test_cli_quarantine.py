"""Refused batches: listed, looked at, released to a file or dropped."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.engine.validation import validate
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.quarantine import Quarantine
from dagster_contracts.store.database import open_store
from tests.cli.conftest import Project, Ran


@pytest.fixture
def held(project: Project) -> Project:
    """The project with one refused batch in quarantine."""
    table = pyarrow.csv.read_csv(project.root / "bad.csv")
    report = validate(table, project.contract(), asset="orders", partition="2026-03-01")
    store = project.store()
    Quarantine(store, project.root / ".dagster_contracts/quarantine").put(
        CircuitKey("orders", "orders"), table, report, run_id="run-1"
    )
    store.close()
    return project


def test_a_refused_batch_is_listed_with_what_refused_it(held: Project) -> None:
    ran = held.run("quarantine", "list")

    assert ran.code == 0
    assert "orders[2026-03-01]" in ran.stdout
    assert "amount.minimum" in ran.stdout
    (batch,) = held.run("quarantine", "list", "orders", "--format", "json").json["batches"]
    assert (batch["id"], batch["rows"], batch["state"]) == (1, 3, "held")
    assert held.run("quarantine", "list", "prices", "--format", "json").json["batches"] == []


def test_show_tells_the_reasons_and_the_rows(held: Project) -> None:
    ran = held.run("quarantine", "show", "1", "--rows", "2")

    assert ran.code == 0
    assert "amount.required: 1 of 3 rows" in ran.stdout
    assert "-2.0" in ran.stdout
    shown = held.run("quarantine", "show", "1", "--rows", "1", "--format", "json").json
    assert len(shown["first_rows"]) == 1
    assert shown["report"]["contract"] == "orders"


def test_show_says_what_consumers_read_and_what_may_be_decided(held: Project) -> None:
    store = held.store()
    breaker = CircuitBreaker(store)
    contract, key = held.contract(), CircuitKey("orders", "orders")
    for data in ("bad.csv", "good.csv"):
        table = pyarrow.csv.read_csv(held.root / data)
        report = validate(table, contract, asset="orders")
        verdict = breaker.record(contract, report, key=key, run_id=data)
        if data == "bad.csv":
            Quarantine(store, held.root / ".dagster_contracts/quarantine").put(
                key, table, report, run_id=data
            )
            while_open = held.run("quarantine", "show", "2").stdout
    breaker.reset(key, actor="ada", reason="delivered again")
    store.close()

    after = held.run("quarantine", "show", "2").stdout

    assert verdict.circuit.state.value == "open"
    assert "the circuit orders/orders is not closed: consumers read the first" in while_open
    assert "`quarantine publish 2` or `quarantine release 2 --to FILE`" in " ".join(
        while_open.split()
    )
    said = " ".join(after.split())
    assert "consumers read the primary as it was stored last" in said
    assert "it cannot be published: a newer batch was published at" in said
    assert "publish 2" not in said
    assert "`quarantine release 2 --to FILE` or `quarantine drop 2`" in said
    refused = held.run("quarantine", "publish", "2", "--reason", "x", "--actor", "ada")
    assert refused.code == 2


def test_release_writes_the_rows_and_records_who(held: Project) -> None:
    ran = held.run(
        "quarantine", "release", "1", "--to", "out.parquet", "--reason", "fine", "--actor", "ada"
    )

    assert ran.code == 0
    assert pq.read_table(held.root / "out.parquet").num_rows == 3
    assert "by ada: fine" in held.run("quarantine", "show", "1").stdout
    assert "no batch is held" in held.run("quarantine", "list").stdout
    assert "released" in held.run("quarantine", "list", "--all").stdout


def test_a_batch_is_decided_on_once(held: Project) -> None:
    drop = ["quarantine", "drop", "1", "--reason", "again", "--actor", "ada"]

    assert held.run(*drop).code == 0
    again = held.run(*drop)

    assert again.code == 2
    assert "not held but dropped" in again.stderr


def test_a_release_that_is_refused_leaves_no_file(held: Project) -> None:
    held.write("there.parquet", "mine")
    release = ["quarantine", "release", "1", "--reason", "fine"]

    taken = held.run(*release, "--to", "there.parquet", "--actor", "ada")
    nowhere = held.run(*release, "--to", "no/such/folder/x.parquet", "--actor", "ada")
    nobody = held.run(*release, "--to", "out.parquet", "--actor", " ")

    assert (taken.code, nowhere.code, nobody.code) == (2, 2, 2)
    assert "error: the file no/such/folder/x.parquet cannot be" in nowhere.stderr
    assert "why:  No such file or directory" in nowhere.stderr
    assert "hint: there is no folder no/such/folder: create it" in nowhere.stderr
    assert (held.root / "there.parquet").read_text() == "mine"
    assert {path.name for path in held.root.glob("*parquet*")} == {"there.parquet"}
    assert held.run("quarantine", "list", "--format", "json").json["batches"][0]["state"] == "held"


def test_of_two_releases_at_once_one_gets_the_batch(held: Project) -> None:
    command = [sys.executable, "-m", "dagster_contracts", "quarantine", "release", "1"]
    asked = [
        subprocess.Popen(
            [*command, "--to", f"{name}.parquet", "--reason", "new codes", "--actor", name],
            cwd=held.root,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("ann", "bob")
    ]
    said = [process.communicate(timeout=60)[1] for process in asked]

    codes = [process.returncode for process in asked]
    assert sorted(codes)[0] == 0 < sorted(codes)[1]
    winner = ("ann", "bob")[codes.index(0)]
    assert "batch 1 is not held but released" in said[1 - codes.index(0)]
    assert [path.name for path in held.root.glob("*.parquet")] == [f"{winner}.parquet"]
    assert pq.read_table(held.root / f"{winner}.parquet").num_rows == 3
    assert not list(held.root.glob(".*.tmp"))


def test_a_batch_that_is_not_there_is_a_clear_error(held: Project) -> None:
    ran = held.run("quarantine", "show", "99")

    assert ran.code == 2
    assert "no batch of that number" in ran.stderr


def test_publish_with_a_reset_names_the_other_partitions_that_it_frees(held: Project) -> None:
    for day in ("2026-03-01", "2026-03-02"):
        store, contract = held.store(), held.contract()
        report = validate(str(held.root / "bad.csv"), contract, asset="orders", partition=day)
        key = CircuitKey("orders", "orders")
        CircuitBreaker(store).record(contract, report, key=key, run_id=f"run-{day}")
        store.close()

    decided = ["--reason", "refunds are new", "--actor", "ada", "--reset"]
    ran = held.run("quarantine", "publish", "1", *decided)

    assert "for 2026-03-02 as well" in " ".join(ran.stdout.split())


def test_publish_says_what_happens_next_and_is_decided_once(held: Project) -> None:
    publish = ["quarantine", "publish", "1", "--reason", "refunds are new", "--actor", "ada"]
    held.evaluate("bad.csv")
    ran = held.run(*publish, "--reset")

    assert ran.code == 0
    assert "the circuit orders/orders is reset in the moment" in ran.stdout
    told = "batch 1, released by ada: waits for the circuit sensor"
    assert told in held.run("status").stdout
    (circuit,) = held.run("status", "--format", "json").json["circuits"]
    assert [each["batch"] for each in circuit["to_be_published"]] == [1]
    assert "batch 1 released by ada: refunds are new" in held.run("history", "orders").stdout
    assert "batch 1 of orders[2026-03-01] is to be published: 3 rows" in ran.stdout
    assert "waits for the circuit sensor" in held.run("quarantine", "list").stdout
    shown = held.run("quarantine", "show", "1")
    assert "by ada: refunds are new" in shown.stdout
    (batch,) = held.run("quarantine", "list", "--format", "json").json["batches"]
    assert (batch["state"], batch["resets"], batch["published_at"]) == ("publishing", True, None)
    again = held.run(*publish)
    assert again.code == 2
    assert "batch 1 is to be published already" in again.stderr


def test_batches_of_a_store_on_postgresql_are_decided_on(
    project: Project, postgres_url: str
) -> None:
    def run(*arguments: str) -> Ran:
        return project.run("--store", postgres_url, "quarantine", *arguments)

    def state(number: int) -> str:
        batches = run("list", "--all", "--format", "json").json["batches"]
        return str(next(each["state"] for each in batches if each["id"] == number))

    decided = ("--reason", "refunds are new", "--actor", "ada")
    assert project.run("--store", postgres_url, "db", "upgrade").code == 0
    table = pyarrow.csv.read_csv(project.root / "bad.csv")
    key, contract = CircuitKey("orders", "orders"), project.contract()
    with closing(open_store(postgres_url)) as store:
        quarantine = Quarantine(store, project.root / ".dagster_contracts/quarantine")
        for day in ("2026-03-01", "2026-03-02", "2026-03-03"):
            report = validate(table, contract, asset="orders", partition=day)
            CircuitBreaker(store).record(contract, report, key=key, run_id=day)
            quarantine.put(key, table, report, run_id=day)

    listed = run("list")
    assert listed.code == 0
    assert [day in listed.stdout for day in ("[2026-03-01]", "[2026-03-03]")] == [True, True]
    shown = run("show", "1", "--rows", "2")
    assert "amount.required: 1 of 3 rows" in shown.stdout
    assert "-2.0" in shown.stdout

    assert run("release", "1", "--to", "out.parquet", *decided).code == 0
    assert pq.read_table(project.root / "out.parquet").to_pylist() == table.to_pylist()
    assert run("drop", "2", *decided).code == 0
    published = run("publish", "3", *decided, "--reset")
    assert published.code == 0
    assert "batch 3 of orders[2026-03-03] is to be published: 3 rows" in published.stdout
    assert [state(number) for number in (1, 2, 3)] == ["released", "dropped", "publishing"]
    assert "by ada: refunds are new" in run("show", "2").stdout
    history = project.run("--store", postgres_url, "history", "orders")
    assert "batch 3 released by ada: refunds are new" in history.stdout

    for again in (("release", "1", "--to", "more.parquet"), ("drop", "2"), ("publish", "3")):
        refused = run(*again, *decided)
        assert refused.code == 2
        assert f"batch {again[1]} is" in refused.stderr
    assert not (project.root / "more.parquet").exists()
    # Until a run is under way the decision can be taken back.
    assert run("drop", "3", *decided).code == 0
    assert state(3) == "dropped"


def test_a_batch_whose_contract_is_gone_is_not_published(held: Project) -> None:
    (held.root / "contracts" / "orders" / "1.0.0.yaml").unlink()
    ran = held.run("quarantine", "publish", "1", "--reason", "x", "--actor", "ada")

    assert ran.code == 2
    assert "there is no contract orders any more" in ran.stderr
