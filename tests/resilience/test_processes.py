"""Real processes: eight at once on one circuit, and some that are killed at the worst moment."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

import dagster_contracts
from dagster_contracts.core.circuit import CircuitKey, CircuitState
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.healing import Healing
from dagster_contracts.resilience.ledger import DegradedReads
from dagster_contracts.resilience.quarantine import Quarantine, QuarantineState
from dagster_contracts.resilience.snapshots import SnapshotArchive
from dagster_contracts.store.database import open_store
from dagster_contracts.store.outbox import MessageState, Outbox
from dagster_contracts.store.tables import (
    circuit_events,
    circuits,
    degraded_reads,
    metric_points,
    observations,
    snapshots,
)

# How many kills a soak wants on each database; the tests above them make about sixty by themselves.
KILLS = int(os.environ.get("DAGSTER_CONTRACTS_KILLS", "10"))
KEY = CircuitKey("orders", "orders")
KILLED = -signal.SIGKILL
PROCESSES = 8

# Each write path with the points that it passes, in their order.
VAULT = ("vault.written", "vault.flushed", "vault.moved")
COMMIT = ("breaker.written", "breaker.sent", "breaker.commit", "breaker.committed")
PATHS = {
    "record": ("breaker.observed", *COMMIT),
    "fail": ("breaker.observed", *COMMIT),
    "tick": COMMIT,
    "probe": COMMIT,
    "force": COMMIT[:-1],
    "reset": COMMIT[:-1],
    "keep_with_record": (*VAULT, "snapshot.staged", "breaker.observed", *COMMIT),
    "keep": (*VAULT, "snapshot.staged", "snapshot.row"),
    "sweep": ("snapshot.rows_swept", "snapshot.orphan"),
    "put": (*VAULT, "quarantine.staged", "quarantine.row"),
    "drop": ("quarantine.decided",),
    "publish": ("quarantine.decided", "quarantine.told"),
    "ask_to_publish": ("publication.asked",),
    "run_to_publish": ("publication.claimed", "publication.published"),
    "fail_to_publish": ("publication.failed",),
    "degrade": ("ledger.recorded",),
    "inherit": ("ledger.inherited",),
    "renew": ("ledger.renewed",),
    "settle": ("ledger.settled",),
    "explain": ("ledger.explained",),
    "forsake": ("ledger.dropped",),
    "try_again": ("healing.forgiven",),
    "heal": ("healing.requested",),
    "healed": ("healing.finished",),
    "deliver_again": ("outbox.claimed", "outbox.done"),
    "prune": (
        "breaker.pruned",
        "ledger.pruned",
        "healing.pruned",
        "outbox.pruned",
        "quarantine.pruned",
    ),
}


@pytest.fixture(scope="module")
def server():
    """The program that forks jobs, started once for this module."""
    program = Path(__file__).with_name("process_server.py")
    process = subprocess.Popen(
        [sys.executable, str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # The same tree as this process has, and not one that is installed.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    yield process
    process.stdin.close()
    assert process.wait(60) == 0


class World:
    """One database and one folder, seen by this process and by the jobs."""

    def __init__(self, server, url, root):
        self._server, self._url, self._root = server, url, root
        self.store = open_store(url)
        self.breaker = CircuitBreaker(self.store)
        self.ledger = DegradedReads(self.store)
        self.healing = Healing(self.store, self.ledger)
        self.outbox = Outbox(self.store)
        self.archive = SnapshotArchive(self.store, root / "s")
        self.quarantine = Quarantine(self.store, root / "q")

    def run(self, *jobs):
        """Run jobs side by side: ``(name, arguments)``; how each ended and what it returned."""
        lines = [
            {"url": self._url, "root": str(self._root), "name": name, "arguments": arguments}
            for name, arguments in jobs
        ]
        return self._ask(lines)

    def kill(self, name, die_at, **arguments):
        """Run one job that dies at a checkpoint."""
        line = {"url": self._url, "root": str(self._root), "name": name, "arguments": arguments}
        ((status, _),) = self._ask([{**line, "die_at": die_at}])
        assert status == KILLED, f"{name} never came to {die_at}"

    def try_to_kill(self, name, die_at, **arguments):
        """Run one job that dies at a checkpoint, if it comes there; whether it did."""
        line = {"url": self._url, "root": str(self._root), "name": name, "arguments": arguments}
        ((status, _),) = self._ask([{**line, "die_at": die_at}])
        assert status in (KILLED, 0), f"{name} failed on its way to {die_at}"
        return status == KILLED

    def do(self, name, **arguments):
        """Run one job to its end."""
        ((status, result),) = self.run((name, arguments))
        assert status == 0
        return result

    def _ask(self, lines):
        self._server.stdin.write(json.dumps(lines) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def rows(self, table):
        with self.store.read() as conn:
            return conn.execute(sa.select(table)).all()

    def check(self):
        """What is true at any moment, however many processes died."""
        events = self.rows(circuit_events)
        for row in self.rows(circuits):
            key = CircuitKey(row.contract, row.asset, row.partition or None)
            mine = [e.version for e in events if (e.contract, e.asset) == (key.contract, key.asset)]
            assert sorted(mine) == list(range(1, row.version + 1))
            assert (self.breaker.replay(key) or self.breaker.circuit(key)) == (
                self.breaker.circuit(key)
            )
        transitions = sorted(e.generation for e in events if e.before != e.after)
        # Decisions of operators, and healing that was given up, are no transitions.
        alerts = sorted(
            m.payload["generation"]
            for m in self.outbox.messages(limit=10_000)
            if m.kind.startswith("circuit.") and m.payload.get("topic", "override") != "override"
        )
        assert transitions == alerts == list(range(1, len(transitions) + 1))
        counted = {row.evaluation_id for row in self.rows(observations)}
        assert {row.evaluation_id for row in self.rows(metric_points)} <= counted
        for row in self.rows(snapshots):
            snapshot = next(
                s
                for s in self.archive.newest("orders", "orders", None, limit=1000)
                if s.id == row.id
            )
            assert self.archive.load(snapshot).num_rows == 500
        for batch in self.quarantine.list(state=None):
            assert self.quarantine.load(batch.id).num_rows == 500

    def files(self):
        return sorted(path.name for path in self._root.rglob("*") if path.is_file())

    def age(self):
        for path in self._root.rglob("*"):
            if path.is_file():
                os.utime(path, (time.time() - 7200, time.time() - 7200))


@pytest.fixture
def world(server, store_url, tmp_path):
    opened = World(server, store_url, tmp_path / "files")
    yield opened
    opened.check()
    opened.store.close()


def test_many_processes_on_one_circuit_lose_nothing_and_open_it_once(world):
    own = [("record", {"ids": [f"{p}-{n}" for n in range(10)]}) for p in range(PROCESSES)]
    assert [status for status, _ in world.run(*own)] == [0] * PROCESSES
    assert len(world.rows(observations)) == 10 * PROCESSES
    circuit = world.breaker.circuit(KEY)
    assert (circuit.state, circuit.generation) == (CircuitState.OPEN, 1)
    (opening,) = world.breaker.history(KEY, 1000, transitions_only=True)
    assert opening.after is CircuitState.OPEN
    assert [m.kind for m in world.outbox.messages()] == ["circuit.opened"]


def test_the_same_evaluations_from_many_processes_count_once(world):
    jobs = [("record", {"ids": ["a", "b", "c"]}) for _ in range(PROCESSES)]
    answers = world.run(*jobs)
    assert sum(not duplicate for _, result in answers for duplicate in result) == 3
    assert len(world.rows(observations)) == 3


def test_one_of_many_processes_gets_the_lease(world):
    world.do("open_for_probe")
    answers = world.run(*[("probe", {"holder": f"p{n}"}) for n in range(PROCESSES)])
    assert [status for status, _ in answers] == [0] * PROCESSES
    assert sum(granted for _, granted in answers) == 1
    winner = next(n for n, (_, granted) in enumerate(answers) if granted)
    assert world.breaker.circuit(KEY).lease.holder == f"p{winner}"


def test_each_message_is_delivered_by_one_of_many_processes(world):
    world.do("enqueue", count=30)
    answers = world.run(*[("deliver", {}) for _ in range(PROCESSES)])
    assert sorted(n for _, delivered in answers for n in delivered) == list(range(30))


def test_a_heal_is_requested_by_one_of_many_processes(world):
    world.do("degrade")
    answers = world.run(*[("heal", {}) for _ in range(PROCESSES)])
    assert sum(len(requested) for _, requested in answers) == 1


@pytest.mark.parametrize("point", ["observed", "written", "sent", "commit"])
def test_a_kill_before_the_commit_of_an_evaluation_leaves_nothing_of_it(world, point):
    world.kill("record", f"breaker.{point}", ids=["a"])
    world.check()
    assert world.rows(observations) == world.rows(circuit_events) == []
    assert world.outbox.messages() == ()
    assert world.do("record", ids=["a"]) == [False]
    assert world.breaker.circuit(KEY).state is CircuitState.OPEN


def test_a_kill_after_the_commit_of_an_evaluation_loses_nothing(world):
    world.kill("record", "breaker.committed", ids=["a"])
    world.check()
    assert world.breaker.circuit(KEY).state is CircuitState.OPEN
    assert len(world.outbox.messages()) == 1
    assert world.do("record", ids=["a"]) == [True]


@pytest.mark.parametrize("point", ["written", "sent", "commit"])
def test_a_kill_leaves_no_lease_and_no_override_half_given(world, point):
    world.do("open_for_probe")
    world.kill("probe", f"breaker.{point}", holder="dead")
    world.check()
    assert world.breaker.circuit(KEY).lease is None
    assert world.do("probe", holder="alive")
    world.kill("force", f"breaker.{point}")
    world.check()
    assert world.breaker.circuit(KEY).override == "none"


@pytest.mark.parametrize(
    "point", ["vault.written", "vault.flushed", "vault.moved", "snapshot.staged", "snapshot.row"]
)
def test_a_killed_snapshot_is_never_served_and_swept(world, point):
    world.kill("keep", point, evaluation_id="a")
    world.check()
    assert world.archive.latest("orders", "orders", None) is None
    assert len(world.files()) == 1
    world.age()
    assert world.archive.sweep() == 1
    assert world.files() == []
    world.do("keep", evaluation_id="a")
    assert world.archive.latest("orders", "orders", None).evaluation_id == "a"


@pytest.mark.parametrize("point", ["breaker.observed", "breaker.commit"])
def test_a_snapshot_counts_exactly_if_its_evaluation_does(world, point):
    world.kill("keep_with_record", point, evaluation_id="a")
    world.check()
    assert world.rows(snapshots) == world.rows(observations) == []
    world.kill("keep_with_record", "breaker.committed", evaluation_id="a")
    assert len(world.rows(snapshots)) == len(world.rows(observations)) == 1


@pytest.mark.parametrize("point", ["snapshot.rows_swept", "snapshot.orphan"])
def test_a_killed_sweep_takes_nothing_that_is_needed(world, point):
    for number in range(3):
        world.do("keep", evaluation_id=str(number))
    Path(world._root / "s" / "left-over.tmp").write_bytes(b"half")
    world.kill("sweep", point)
    world.check()
    world.do("sweep")
    assert len(world.files()) == 1
    assert world.archive.latest("orders", "orders", None).evaluation_id == "2"


@pytest.mark.parametrize("point", ["vault.moved", "quarantine.staged", "quarantine.row"])
def test_a_killed_quarantine_keeps_all_or_nothing(world, point):
    world.kill("put", point, evaluation_id="a")
    world.check()
    assert world.quarantine.list() == ()
    world.do("put", evaluation_id="a")
    world.kill("drop", "quarantine.decided")
    assert [batch.state for batch in world.quarantine.list()] == [QuarantineState.HELD]


def test_a_killed_publication_is_resumed_and_happens_once(world):
    world.do("record", ids=["a"])
    world.do("put", evaluation_id="a")
    world.kill("publish", "quarantine.told")
    assert [batch.state for batch in world.quarantine.list()] == [QuarantineState.HELD]
    world.do("publish")
    world.kill("ask_to_publish", "publication.asked")
    assert world.do("ask_to_publish") == [True]
    assert world.do("ask_to_publish") == [False]
    world.kill("fail_to_publish", "publication.failed")
    world.kill("run_to_publish", "publication.claimed")
    world.kill("run_to_publish", "publication.published")
    (batch,) = world.quarantine.list(state=QuarantineState.PUBLISHING)
    assert batch.publish_attempts == 1
    world.do("run_to_publish")
    world.check()
    told = [e.kind for e in world.breaker.history(KEY) if e.kind.startswith("batch_")]
    assert told == ["batch_published", "batch_released"]


def test_a_killed_writer_of_the_ledger_leaves_it_as_it_was(world):
    world.kill("degrade", "ledger.recorded")
    assert world.ledger.open_reads() == ()
    world.do("degrade")
    world.kill("inherit", "ledger.inherited")
    world.kill("settle", "ledger.settled")
    assert [read.consumer for read in world.ledger.open_reads()] == ["sales"]
    world.kill("explain", "ledger.explained")
    assert [read.unhealed_because for read in world.ledger.open_reads()] == [None]
    world.do("explain")
    assert [read.unhealed_because for read in world.ledger.open_reads()] == ["no job makes it"]
    world.do("settle")
    assert world.ledger.open_reads() == ()


def test_a_killed_sensor_keeps_what_was_never_built_until_it_is_told(world):
    world.kill("forsake", "ledger.dropped")
    assert [(read.consumer, read.pending) for read in world.ledger.open_reads()] == [
        ("draft", True)
    ]
    assert [event.kind for event in world.breaker.history(KEY)].count("read_dropped") == 0
    world.do("forsake")
    assert world.ledger.open_reads() == ()
    assert [event.kind for event in world.breaker.history(KEY)].count("read_dropped") == 1


def test_a_killed_command_lets_nothing_be_healed_again(world):
    world.do("degrade")
    world.do("give_up")
    world.kill("try_again", "healing.forgiven")
    assert [request.consumer for request in world.healing.given_up()] == ["sales"]
    world.do("try_again")
    assert world.healing.given_up() == ()
    assert len(world.do("heal")) == 1


def test_a_killed_sensor_requests_again_and_once(world):
    world.do("degrade")
    world.kill("heal", "healing.requested")
    assert world.healing.in_flight() == ()
    (run_key,) = world.do("heal")
    world.kill("healed", "healing.finished")
    assert [request.run_key for request in world.healing.in_flight()] == [run_key]
    world.do("healed")
    assert world.healing.in_flight() == ()


def test_a_message_whose_claimer_died_is_delivered_by_the_next(world):
    world.do("enqueue", count=2)
    world.kill("deliver_again", "outbox.claimed")
    world.kill("deliver_again", "outbox.done")
    assert {m.state for m in world.outbox.messages(kind="k")} == {MessageState.PENDING}
    world.do("deliver_again")
    assert {m.state for m in world.outbox.messages(kind="k")} == {MessageState.DONE}


def test_killed_house_keeping_is_done_by_the_next(world):
    world.do("record", ids=["a"])
    world.do("degrade")
    world.do("settle")
    world.do("degrade", consumer="board")
    for point in PATHS["prune"]:
        world.kill("prune", point)
        world.check()
    world.do("prune")
    assert world.rows(observations) == []
    assert [row.consumer for row in world.rows(degraded_reads)] == ["board"]


def test_every_point_of_every_write_path_is_known(world):
    """A new point in the code must be killed at, too."""
    package = Path(dagster_contracts.__file__).parent
    named = {
        name
        for path in package.rglob("*.py")
        for name in re.findall(r'[._]checkpoint\("([a-z_.]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert named == {point for points in PATHS.values() for point in points}


def test_a_deployment_that_is_killed_again_and_again_stays_whole(world):
    """One store lives through all the kills; what each left behind is what the next one finds."""
    seed = int(os.environ.get("DAGSTER_CONTRACTS_SOAK_SEED", "7"))
    random, killed, tried = Random(seed), Counter(), 0
    points = [(name, point) for name, points in PATHS.items() for point in points]
    while killed.total() < KILLS:
        tried += 1
        assert tried < 20 * KILLS, f"seed {seed}: most of the points are never reached: {killed}"
        name, point = random.choice(points)
        arguments = {
            "record": {"ids": [f"record {tried}"], "broken": random.choice((0, 7))},
            "fail": {"run_id": f"run {tried}"},
            "probe": {"holder": f"holder {tried}"},
            "keep_with_record": {"evaluation_id": f"kept {tried}"},
            "keep": {"evaluation_id": f"kept {tried}"},
            "put": {"evaluation_id": f"put {tried}"},
            "degrade": {"run_id": f"r{tried % 3}"},
        }.get(name, {})
        killed[point] += world.try_to_kill(name, point, **arguments)
        world.check()
        if random.random() < 0.3:
            # Somebody is always luckier, and finds what the dead have left.
            other = random.choice(("probe", "settle", "healed", "sweep", "reset", "prune"))
            world.do(other, **({"holder": f"lucky {tried}"} if other == "probe" else {}))
    for path in world._root.rglob("*"):
        if path.is_file():
            os.utime(path, (0, 0))
    world.archive.sweep()
    world.quarantine.sweep()
    named = {row.sha256 for row in world.rows(snapshots)}
    held = {
        batch.sha256
        for batch in world.quarantine.list(state=None, limit=10_000)
        if batch.state is not QuarantineState.DROPPED
    }
    assert {Path(name).stem for name in world.files()} == named | held
