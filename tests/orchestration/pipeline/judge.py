"""Runs the pipeline, and compares what was served row by row with what should have been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
import polars as pl

from dagster_contracts.orchestration.runtime import ContractsRuntime
from dagster_contracts.orchestration.step import HEAL_TAG, PROBE_TAG, PUBLISH_TAG
from tests.orchestration.pipeline.assets import build, write_contracts
from tests.orchestration.pipeline.truth import CONSUMERS, DAYS, SOURCES, Node, Part, Rows, Truth

LOCATION = Path(__file__).with_name("location.py")
RANGE = "dagster/asset_partition_range_"


@dataclass
class Judge:
    """A deployment in one process, and the truth beside it."""

    root: Path
    instance: dg.DagsterInstance
    store: str
    truth: Truth = field(default_factory=Truth)
    batches: int = 0
    asked: list[dg.RunRequest] = field(default_factory=list)
    """Healing that a tick asked for, and whose runs have yet to start."""

    def __post_init__(self) -> None:
        seeds = f"memory://{self.root.name}"
        write_contracts(self.root, seeds)
        (self.root / "delivered").mkdir()
        self.seeds = seeds
        self.defs = build(self.root, self.store, seeds)
        self.job = self.defs.resolve_implicit_global_asset_job_def()

    @property
    def runtime(self) -> ContractsRuntime:
        resource: Any = self.defs.resources["contracts"]
        return resource.runtime()

    def seed(self, asset: str, part: str | None) -> None:
        """A file for a level lies in the store, or a folder of files."""
        rows = self._rows(good=True)
        name = f"{self.seeds}/{asset}" + (f"/{part}" if part else "")
        if "folder" in SOURCES[asset].levels:
            files = {f"{name}/{row[0]}.parquet": [row] for row in rows}
            old, path = fsspec.core.url_to_fs(name)
            if old.exists(path):
                old.rm(path, recursive=True)
        else:
            files = {f"{name}.parquet": rows}
        for file, lines in files.items():
            with fsspec.open(file, "wb") as stream:
                pl.DataFrame(lines, schema=["id", "amount"], orient="row").write_parquet(stream)
        self.truth.seeds[asset] = {**self.truth.seeds.get(asset, {}), part or "": rows}

    def produce(self, asset: str, parts: Iterable[Part], *, good: bool = True) -> None:
        """Deliver a batch of each partition, and run the producer: one run for all of a range."""
        parts = list(parts)
        told = self._deliver(asset, parts, good=good)
        ranges = asset in ("bulk", "flat")
        ranged = DAYS[DAYS.index(str(parts[0])) :][: len(parts)] if ranges else None
        together = parts == ranged
        if together:
            self._run([asset], parts)
        for part in parts:
            if not together:
                self._run([asset], [part])
            rows = [tuple(row) for row in told[part or ""]]
            in_table = together and asset == "flat" and len(parts) > 1
            self.truth.produce(asset, part, rows, in_table=in_table)

    def probe(self, asset: str, part: Part, *, good: bool = True) -> None:
        """The sensor asks for a run of just this partition, to whom another batch is delivered."""
        told = self._deliver(asset, [part], good=good)
        request = self._only(self._asked_with(PROBE_TAG), asset, part)
        self._run([asset], [part], dict(request.tags))
        self.truth.produce(asset, part, [tuple(row) for row in told[part or ""]])

    def publish(self, asset: str, part: Part, *, reset: bool = False) -> None:
        """A person declares the refused batch right, and the one run that is asked for ends."""
        quarantine = self.runtime.quarantine
        batch = max(
            held.id for held in quarantine.list() if (held.asset, held.partition) == (asset, part)
        )
        quarantine.publish(batch, actor="ada", reason="it is right", reset=reset)
        request = self._only(self._publishing(), asset, part)
        assert not self._publishing()
        self._run([asset], [part], {**request.tags, "dagster/run_key": str(request.run_key)})
        assert not self._publishing()
        self.truth.publish(asset, part, reset=reset)

    def _only(self, requests: list[dg.RunRequest], asset: str, part: Part) -> dg.RunRequest:
        asked = [(request.asset_selection, request.partition_key) for request in requests]
        assert asked == [([dg.AssetKey(asset)], part)], asked
        return requests[0]

    def _publishing(self) -> list[dg.RunRequest]:
        return self._asked_with(PUBLISH_TAG)

    def _asked_with(self, tag: str) -> list[dg.RunRequest]:
        """What a tick asks for under a tag; the healing that it asks for as well waits."""
        requests = self.tick().run_requests or []
        self.asked += [request for request in requests if HEAL_TAG in request.tags]
        return [request for request in requests if tag in request.tags]

    def _deliver(self, asset: str, parts: list[Part], *, good: bool) -> dict[str, Any]:
        path = self.root / "delivered" / f"{asset}.json"
        told: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        for part in parts:
            told[part or ""] = self._rows(good=good)
        path.write_text(json.dumps(told))
        return told

    def consume_in_processes(self, consumer: str, part: str) -> None:
        """As :meth:`consume`, by Dagster's own command and a process for each step."""
        dagster = [sys.executable, "-W", "ignore", "-m", "dagster"]
        asked = ["--select", consumer, "--partition", part, "-f", str(LOCATION)]
        ran = subprocess.run(
            [*dagster, "asset", "materialize", *asked],
            env={
                **os.environ,
                "DAGSTER_HOME": str(self.instance.root_directory),
                "PYTHONPATH": str(Path(__file__).parents[3]),
                "PIPELINE_ROOT": str(self.root),
                "PIPELINE_STORE": self.store,
                "PIPELINE_SEEDS": self.seeds,
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        (record,) = self.instance.get_run_records(limit=1)
        self.compare(consumer, part, record.dagster_run.run_id)

    def consume(self, consumer: str, *parts: Part, beside: str | None = None) -> None:
        """Run the consumer, of several partitions in one run, and compare what it was given.

        ``beside`` is what the same step makes before it.
        """
        names = [beside, consumer] if beside is not None else [consumer]
        run = self._run(names, parts)
        for name in names:
            for part in parts:
                self.compare(name, part, run.run_id)

    def compare(self, consumer: str, part: Part, run_id: str) -> None:
        """Rows, level by level; then the ledger; then what the materialization says."""
        expected = self.truth.build(consumer, part)
        path = self.root / "served" / f"{consumer}@{part or ''}.json"
        told = json.loads(path.read_text())
        served = {
            upstream: sorted(tuple(row) for of in parts.values() for row in of["rows"])
            for upstream, parts in told.items()
            if parts
        }
        wanted = {
            upstream: sorted(row for rows in parts.values() for row in rows)
            for upstream, parts in expected.items()
        }
        assert served == wanted, (consumer, part)
        open_marks = {
            (read.consumer, read.consumer_partition) for read in self.runtime.ledger.open_reads()
        }
        assert ((consumer, part) in open_marks) == ((consumer, part) in self.truth.degraded)
        self._provenance(consumer, part, run_id)

    def _provenance(self, consumer: str, part: Part, run_id: str) -> None:
        key = dg.AssetKey(consumer)
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[part] if part else None)
        (record,) = self.instance.fetch_materializations(wanted, limit=1).records
        assert record.event_log_entry.run_id == run_id
        made = record.asset_materialization
        assert made is not None
        said = "contract/degraded" in made.metadata
        if part is None or f"{RANGE}start" not in self._tags(run_id):
            # The materializations of a range share what is said of all of it.
            assert said == ((consumer, part) in self.truth.degraded), (consumer, part)
        assert said or (consumer, part) not in self.truth.degraded, (consumer, part)

    def _tags(self, run_id: str) -> dict[str, str]:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return dict(run.tags)

    def marks(self) -> set[Node]:
        """What the ledger holds for degraded."""
        reads = self.runtime.ledger.open_reads()
        return {(read.consumer, read.consumer_partition) for read in reads}

    def mend(self) -> None:
        """The producers deliver good batches again, and an operator closes every circuit."""
        mended: dict[str, list[Part]] = {}
        for (asset, part), rows in self.truth.newest.items():
            if asset in SOURCES and any(amount < 0 for _, amount in rows):
                mended.setdefault(asset, []).append(part)
        for consumer, part in self.truth.degraded:
            for each in CONSUMERS[consumer]:
                for upstream in each.partitions(part):
                    known = (each.upstream, upstream) in self.truth.newest
                    if each.upstream in SOURCES and not each.may_miss and not known:
                        mended.setdefault(each.upstream, []).append(upstream)
        for asset, found in mended.items():
            parts = sorted(set(found), key=str)
            self.produce(asset, parts)
        for circuit in self.runtime.breaker.circuits():
            self.runtime.breaker.reset(circuit.key, actor="ada", reason="the producer is mended")
        self.truth.close_all()

    def heal(self) -> list[Node]:
        """Mend everything, and do what the sensor asks for until it asks for no more."""
        self.mend()
        healed: list[Node] = []
        cursor = None
        for _ in range(20):
            tick = self.tick(cursor)
            cursor = tick.cursor
            requests = [*self.asked, *(tick.run_requests or ())]
            self.asked.clear()
            if not requests:
                break
            for request in requests:
                names = [key.to_user_string() for key in request.asset_selection]
                tags = {**request.tags, "dagster/run_key": request.run_key}
                run = self._run(names, [request.partition_key], tags)
                healed += [(name, request.partition_key) for name in names]
                for name in names:
                    self.compare(name, request.partition_key, run.run_id)
        return healed

    def healed_exactly(self) -> None:
        """What was degraded is built anew, each once, after what it is built from; then all is."""
        degraded = set(self.truth.degraded)
        healed = self.heal()
        assert set(healed) == degraded, set(healed) ^ degraded
        assert len(healed) == len(degraded), sorted(healed, key=str)
        for index, (consumer, part) in enumerate(healed):
            above = {
                (each.upstream, upstream)
                for each in CONSUMERS[consumer]
                for upstream in each.partitions(part)
            }
            assert not above & set(healed[index + 1 :]), (consumer, part)
        assert self.marks() == self.truth.degraded == set()

    def tick(self, cursor: str | None = None) -> Any:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=cursor, definitions=self.defs
        )
        return self.defs.get_sensor_def("contract_circuit_sensor")(context)

    def _run(
        self, names: list[str], parts: Iterable[Part], tags: dict[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        parts = list(parts)
        one = parts[0] if len(parts) == 1 else None
        if len(parts) > 1:
            ends = {f"{RANGE}start": str(parts[0]), f"{RANGE}end": str(parts[-1])}
            tags = {**(tags or {}), **ends}
        return self.job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in names],
            partition_key=one,
            tags=tags,
        )

    def _rows(self, *, good: bool) -> Rows:
        self.batches += 1
        sign = 1.0 if good else -1.0
        return [(self.batches * 10 + n, sign * (self.batches * 10 + n)) for n in (1, 2)]
