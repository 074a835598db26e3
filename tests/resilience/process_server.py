"""A program that forks jobs: real processes, cheap enough to kill by the dozen.

It reads one JSON line at a time, a list of jobs that run side by side, and answers with one line:
how each ended and what it returned. A job that is to die kills itself with SIGKILL at the named
checkpoint; neither Python nor the database driver can tidy up. The program itself never opens a
store and starts no thread, so forking it is safe.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

# Also what the package imports late: it is paid for once, before the first fork.
import psycopg  # noqa: F401
import pyarrow as pa
import pyarrow.parquet

from dagster_contracts.core.circuit import CircuitKey, Override
from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import (
    CircuitPolicy,
    Contract,
    Recovery,
    Resilience,
    SchemaObject,
)
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.errors import PolicyError, StoreError
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.healing import Healing
from dagster_contracts.resilience.ledger import DegradedRead, DegradedReads
from dagster_contracts.resilience.publication import Publication
from dagster_contracts.resilience.quarantine import Quarantine
from dagster_contracts.resilience.snapshots import SnapshotArchive
from dagster_contracts.store.database import open_store
from dagster_contracts.store.outbox import Outbox

KEY = CircuitKey("orders", "orders")
TABLE = pa.table({"id": list(range(500))})
NEVER, AT_ONCE = timedelta(days=365), timedelta(0)


def contract(retry_after=NEVER):
    recovery = Recovery(retry_after=retry_after, max_wait=NEVER, jitter=Fraction(0))
    policy = CircuitPolicy(
        open_when=(parse_condition("schema_validation_errors > 5%"),), recovery=recovery
    )
    return Contract(
        name="orders",
        version="1.0.0",
        objects=(SchemaObject(name="orders"),),
        resilience=Resilience(circuit=policy),
        semantic_hash="v1",
    )


def report(evaluation_id, broken=7):
    return ContractReport(
        contract="orders",
        version="1.0.0",
        schema_object="orders",
        evaluation_id=evaluation_id,
        evaluated_at=datetime.now(UTC),
        rows=100,
        outcomes=(),
        metrics={"schema_validation_errors": Fraction(broken, 100), "row_count": Fraction(100)},
    )


def degraded(consumer="sales", run_id="r1"):
    return DegradedRead(
        circuit=KEY,
        consumer=consumer,
        upstream="orders",
        level="last_valid",
        source="last_valid",
        reason="open",
        run_id=run_id,
        generation=1,
    )


class Jobs:
    """Each public method is a job."""

    def __init__(self, url, root, checkpoint):
        self.store = open_store(url)
        self.root = Path(root)
        self.checkpoint = checkpoint
        self.breaker = CircuitBreaker(self.store, checkpoint=checkpoint)
        self.ledger = DegradedReads(self.store, checkpoint=checkpoint)
        self.healing = Healing(self.store, self.ledger, checkpoint=checkpoint)
        self.outbox = Outbox(self.store, lease=AT_ONCE, checkpoint=checkpoint)
        self.archive = SnapshotArchive(self.store, self.root / "s", checkpoint=checkpoint)
        self.quarantine = Quarantine(self.store, self.root / "q", checkpoint=checkpoint)
        self.publication = Publication(self.store, checkpoint=checkpoint)

    def record(self, ids, broken=7):
        return [
            self.breaker.record(contract(), report(id_, broken), key=KEY).duplicate for id_ in ids
        ]

    def probe(self, holder):
        return self.breaker.ask_probe(contract(AT_ONCE), KEY, holder) is not None

    def open_for_probe(self):
        self.breaker.record(contract(AT_ONCE), report("opening"), key=KEY)

    def reset(self):
        self.breaker.reset(KEY, actor="ann", reason="x", contract=contract(AT_ONCE))

    def fail(self, run_id):
        self.breaker.observe_failure(
            contract(), KEY, run_id=run_id, what="source_unavailable", explanation="gone"
        )

    def tick(self):
        self.breaker.tick(contract(AT_ONCE), KEY)

    def force(self):
        self.breaker.force(KEY, Override.FORCED_OPEN, actor="ann", reason="x")

    def keep_with_record(self, evaluation_id):
        good = report(evaluation_id, broken=0)
        staged = self.archive.stage(KEY, TABLE, kind="pyarrow", report=good)
        self.breaker.record(contract(), good, key=KEY, also=staged.commit)

    def keep(self, evaluation_id):
        self.archive.keep(KEY, TABLE, kind="pyarrow", report=report(evaluation_id))

    def sweep(self):
        return self.archive.sweep(1, grace=AT_ONCE)

    def put(self, evaluation_id):
        self.quarantine.put(KEY, TABLE, report(evaluation_id))

    def drop(self):
        for batch in self.quarantine.list():
            self.quarantine.drop(batch.id, actor="ann", reason="x")

    def publish(self):
        for batch in self.quarantine.list()[:1]:
            # A better one may have come since, or another one be on its way.
            with suppress(PolicyError):
                self.quarantine.publish(batch.id, actor="ann", reason="x")

    def ask_to_publish(self):
        return [self.publication.ask(b.id) is not None for b in self.publication.waiting()]

    def run_to_publish(self):
        for batch in self.publication.waiting():
            with suppress(StoreError):
                self.publication.claim(batch.id, "run")
                with self.store.begin() as conn:
                    self.publication.published(conn, batch.id, "run")

    def fail_to_publish(self):
        for batch in self.publication.waiting():
            self.publication.failed(batch.id, None, "run", "the disk is full")

    def degrade(self, consumer="sales", run_id="r1"):
        self.ledger.record(degraded(consumer, run_id))

    def forsake(self):
        """Read a fallback for what then is never stored."""
        self.ledger.record(replace(degraded("draft"), pending=True))
        for read in self.ledger.open_reads(consumer="draft"):
            self.ledger.drop(read, "the run failed")

    def inherit(self):
        self.ledger.inherit(
            consumer="board",
            consumer_partition=None,
            upstream="sales",
            upstream_partition=None,
            run_id="r2",
        )

    def renew(self):
        self.ledger.renew(consumer="sales", consumer_partition=None, run_id="r1", anew=True)

    def settle(self):
        self.ledger.settle(
            consumer="sales", consumer_partition=None, upstream="orders", run_id="good"
        )

    def explain(self):
        self.ledger.explain({("sales", None): "no job makes it"})

    def heal(self):
        return [request.run_key for request in self.healing.due(lambda key: True)]

    def healed(self):
        for request in self.healing.in_flight():
            self.healing.finished(request.run_key, succeeded=True)

    def give_up(self):
        while requests := self.healing.due(lambda key: True):
            for request in requests:
                self.healing.finished(request.run_key, succeeded=False)

    def try_again(self):
        # What is being healed, or was not tried yet, is not given up.
        with suppress(PolicyError):
            self.healing.try_again("orders", actor="ann", reason="mended")

    def enqueue(self, count):
        for number in range(count):
            with self.store.begin() as conn:
                self.outbox.append(conn, "k", {"n": number}, dedupe_key=str(number))

    def deliver(self):
        """Deliver until nothing is due; what was delivered, by its number."""
        delivered = []
        outbox = Outbox(self.store, checkpoint=self.checkpoint)
        while messages := outbox.claim(3, kinds=["k"]):
            for message in messages:
                delivered.append(message.payload["n"])
                outbox.done(message.id)
        return delivered

    def prune(self):
        """Forget all that has ended; events stay, because the tests count them."""
        self.breaker.prune(events=timedelta(days=1), observations=AT_ONCE)
        self.ledger.prune(AT_ONCE)
        self.healing.prune(AT_ONCE)
        self.outbox.prune(AT_ONCE)
        self.quarantine.prune(AT_ONCE)

    def deliver_again(self):
        for message in self.outbox.claim(kinds=["k"]):
            self.outbox.done(message.id)


class Gate:
    """Holds the jobs of one line until all of them are ready, so that they really meet."""

    def __init__(self):
        self._ready = os.pipe()
        self._open = os.pipe()

    def wait(self):
        """In a child: say that it is ready, and wait for the others."""
        os.close(self._open[1])
        os.write(self._ready[1], b".")
        os.read(self._open[0], 1)  # Returns at the end of the file, which is the parent's close.

    def open(self, children):
        """In the parent: wait for the children, and let them go."""
        os.close(self._ready[1])
        waited = 0
        while waited < children and (said := os.read(self._ready[0], children)):
            waited += len(said)
        for end in (self._open[1], self._open[0], self._ready[0]):
            os.close(end)


def run(job, answer, gate):
    """The life of one child process."""

    def checkpoint(name):
        if name == job.get("die_at"):
            os.kill(os.getpid(), signal.SIGKILL)

    jobs = Jobs(job["url"], job["root"], checkpoint)
    gate.wait()
    result = getattr(jobs, job["name"])(**job.get("arguments", {}))
    with os.fdopen(answer, "w") as pipe:
        json.dump(result, pipe)


def fork(job, gate):
    read_end, write_end = os.pipe()
    child = os.fork()
    if child:
        os.close(write_end)
        return child, read_end
    os.close(read_end)
    try:
        run(job, write_end, gate)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)
    os._exit(0)


def main():
    for line in sys.stdin:
        gate = Gate()
        children = [fork(job, gate) for job in json.loads(line)]
        gate.open(len(children))
        answers = []
        for child, read_end in children:
            with os.fdopen(read_end) as pipe:
                text = pipe.read()
            _, status = os.waitpid(child, 0)
            answers.append([os.waitstatus_to_exitcode(status), json.loads(text or "null")])
        sys.stdout.write(json.dumps(answers) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
