"""One read of a contracted asset: choose a level, load it, write down what was read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg

from dagster_contracts.core.contract import (
    FallbackLevel,
    SourceKind,
)
from dagster_contracts.core.metrics import UNAVAILABLE
from dagster_contracts.orchestration.attempts import drop_disowned, renew_stored
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.levels import LevelSources, LoadAsset, PartitionsOf
from dagster_contracts.orchestration.materialized import was_never_stored
from dagster_contracts.orchestration.partition_time import time_of_partition
from dagster_contracts.orchestration.router import RoutePreview, Router
from dagster_contracts.orchestration.step import DEGRADED_TAG, Step
from dagster_contracts.orchestration.translator import ContractTranslator
from dagster_contracts.orchestration.unreadable import exhausted, is_fault_of_code
from dagster_contracts.resilience.ledger import DegradedRead, Target

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime

T = TypeVar("T")
_LOG = logging.getLogger("dagster_contracts")


@dataclass(frozen=True)
class Read:
    """What one input was served from."""

    contract: str
    upstream: str
    partition: str | None
    level: str
    source: str
    reason: str
    degraded: bool
    generation: int = 0
    position: int = 0
    """Where the ledger stood before the data was loaded: what came later, this read cannot heal."""
    inherited: bool = False
    """Whether it is the primary, which was itself built from a fallback of something else."""

    @classmethod
    def good(cls, upstream: str, partition: str | None, position: int) -> Read:
        """A read of good data, without the contract that governs it."""
        return cls(
            contract="",
            upstream=upstream,
            partition=partition,
            level="primary",
            source=upstream,
            reason="it was built from good data",
            degraded=False,
            position=position,
        )

    @classmethod
    def primary(cls, binding: Binding, partition: str | None, position: int) -> Read:
        """A read of the primary."""
        found = cls.good(binding.asset, partition, position)
        return replace(found, contract=binding.contract.ref, reason="the circuit is closed")

    def sentence(self) -> str:
        """``flights [2013-01-03] was read from last_valid of flights: the circuit is open ...``."""
        return _sentence(self.upstream, self.partition, self.source, self.level, self.reason)

    def wrote(self, row: DegradedRead) -> bool:
        """Whether a row of the ledger stands for this read."""
        return self.degraded and (row.via is not None) == self.inherited and self._is_of(row)

    def read_well(self, row: DegradedRead) -> bool:
        """Whether good data was read of what the row was written for."""
        return not self.degraded and self._is_of(row)

    def _is_of(self, row: DegradedRead) -> bool:
        whole = self.partition is None
        return row.upstream == self.upstream and (whole or row.upstream_partition == self.partition)

    def metadata(self) -> dict[str, Any]:
        """What Dagster shows beside the input."""
        return {
            "contract": self.contract,
            "contract/level": self.level,
            "contract/source": self.source,
            "contract/reason": self.reason,
            "contract/circuit_generation": self.generation,
        }


def _with_what_failed(explanation: str, unavailable: Mapping[str, str]) -> str:
    """Why a level serves, and of each level that was tried before it why it could not be read."""
    tried = [f"{level} cannot be read: {why}" for level, why in unavailable.items()]
    # One that the explanation gives as its reason is not said twice. Errors have several lines.
    others = (" ".join(said.split()) for said in tried if said not in explanation)
    return "; ".join([explanation, *others])


def _sentence(upstream: str, partition: str | None, source: str, level: str, reason: str) -> str:
    where = f" [{partition}]" if partition else ""
    return f"{upstream}{where} was read from {source} (level {level}): {reason}"


class Reader:
    """Reads contracted assets for consumers, and keeps the ledger of what was degraded."""

    def __init__(
        self,
        runtime: ContractsRuntime,
        bindings: Bindings,
        translator: ContractTranslator,
        partitions: PartitionsOf,
    ) -> None:
        self._runtime = runtime
        self._bindings = bindings
        self._partitions = partitions
        self.sources = LevelSources(runtime, bindings, translator, partitions)
        self.router = Router(runtime, self.sources)

    def binding(self, key: dg.AssetKey) -> Binding | None:
        """The contract's hold on an asset, if one governs it."""
        return self._bindings.get(key)

    def time_of(self, binding: Binding, partition: str | None) -> datetime | None:
        """When a partition of the asset begins, if its partitions are of time."""
        return time_of_partition(self._partitions.get(binding.asset_key), partition)

    def read(
        self,
        binding: Binding,
        *,
        step: Step,
        partition: str | None,
        instance: dg.DagsterInstance,
        load_primary: Callable[[], Any],
        load_asset: LoadAsset,
        wanted: object,
    ) -> tuple[Any, Read]:
        """The data of the first level that can really be loaded, and what was read.

        Raises as :meth:`serve` does.
        """

        def load(level: FallbackLevel) -> Any:
            return self.sources.load(
                binding,
                level,
                partition=partition,
                instance=instance,
                load_primary=load_primary,
                load_asset=load_asset,
                wanted=wanted,
            )

        return self.serve(binding, load, step=step, partition=partition, instance=instance)

    def serve(
        self,
        binding: Binding,
        load: Callable[[FallbackLevel], T],
        *,
        step: Step,
        partition: str | None,
        instance: dg.DagsterInstance,
    ) -> tuple[T, Read]:
        """What ``load`` makes of the first level that it can load, and what was read: written down.

        What the primary raises counts as ``source_unavailable``, and the next level is tried. A
        fault of code is no such thing: a fallback would hide it in every run to come. A partition
        that was never made is asked for by mistake: the next level is tried, and nothing counts.

        Raises
        ------
        CircuitOpenError, FallbackError
            No level is usable (the latter where the partition was never made); the message says
            which circuit, since when, why, and what to do.
        Exception
            What the primary raised, where that is a fault of code or the contract declares nothing
            else to read.
        """
        contract = binding.contract
        unavailable: dict[str, str] = {}
        primary_error: Exception | None = None
        never: str | None = None
        while True:
            preview = self.router.preview(
                binding, step=step, partition=partition, instance=instance, unavailable=unavailable
            )
            level = preview.route.level
            if level is None:
                if primary_error is not None and not contract.has_fallback:
                    if never is not None:
                        primary_error.add_note(f"{never}: materialize it before it is read")
                    raise primary_error
                raise exhausted(binding, preview, partition, never) from primary_error
            primary = level.source.kind is SourceKind.PRIMARY
            if primary:
                # Marked before it is loaded: who dies after that has at most a mark too many.
                read = self.primary(binding, preview, step, partition)
            try:
                # Named before it is loaded: a newer one may come meanwhile.
                source = self.sources.served(binding, level, partition=partition, instance=instance)
                data = load(level)
            except dg.RetryRequested:
                raise
            except Exception as error:
                if level.name in unavailable or (primary and is_fault_of_code(error)):
                    raise
                unavailable[level.name] = f"{type(error).__name__}: {error}"
                if primary:
                    primary_error = error
                    if was_never_stored(instance, binding.asset_key, partition):
                        never = f"{binding.asset} [{partition}] was never materialized"
                        unavailable[level.name] = f"{never} ({unavailable[level.name]})"
                _LOG.warning(
                    "%s: the level %r cannot be read", binding.asset, level.name, exc_info=error
                )
                if primary and never is None:
                    self._runtime.breaker.observe_failure(
                        contract,
                        binding.circuit_key(partition),
                        run_id=step.run_id,
                        partition=partition,
                        what=UNAVAILABLE,
                        explanation=unavailable[level.name],
                    )
                continue
            if primary:
                if preview.circuit.in_a_row(UNAVAILABLE):
                    key = binding.circuit_key(partition)
                    self._runtime.breaker.observe_recovery(contract, key, UNAVAILABLE)
                return data, read
            read = Read(
                contract=contract.ref,
                upstream=binding.asset,
                partition=partition,
                level=level.name,
                source=source,
                reason=_with_what_failed(preview.route.explanation, unavailable),
                degraded=True,
                generation=preview.circuit.generation,
            )
            self.write_down(binding, read, step)
            return data, read

    def primary(
        self, binding: Binding, preview: RoutePreview, step: Step, partition: str | None
    ) -> Read:
        """A read of the primary: degraded where the primary was itself built from a fallback."""
        if preview.degraded:
            found = self.inherited(binding.asset_key, partition, step)
            if found.degraded:
                return found
        return Read.primary(binding, partition, preview.position)

    def inherited(self, key: dg.AssetKey, partition: str | None, step: Step) -> Read:
        """A read of an asset without a circuit: degraded where it was built from a fallback."""
        upstream = key.to_user_string()
        position = self._runtime.ledger.position()
        found: Sequence[DegradedRead] = ()
        for consumer, made in step.built_from(upstream, partition):
            found = self._runtime.ledger.inherit(
                consumer=consumer,
                consumer_partition=made,
                upstream=upstream,
                upstream_partition=partition,
                run_id=step.run_id,
                pending=True,
            )
        if not found:
            return Read.good(upstream, partition, position)
        # Built from several fallbacks, it names them all.
        return Read(
            contract=_listed(row.circuit.contract for row in found),
            upstream=upstream,
            partition=partition,
            level=_listed(row.level for row in found),
            source=upstream,
            reason=f"{upstream} was itself built from {_listed(row.source for row in found)}",
            degraded=True,
            generation=max(row.generation for row in found),
            inherited=True,
        )

    def remember(self, step: Step, *reads: Read) -> None:
        """Keep what a step has read until it ends."""
        self._runtime.attempts.of(step).reads.extend(reads)

    def forget(self, step: Step, *reads: Read) -> None:
        """Drop what was remembered of an input that then could not be loaded.

        Another input of the step may have read the same asset.
        """
        for read in reads:
            self._runtime.attempts.of(step).reads.remove(read)

    def provenance(self, step: Step) -> dict[Target, dict[str, Any]]:
        """What the materializations of a step say: which fallbacks each of them is built from.

        An asset that is a graph of ops says it when it is stored, by :meth:`built_from`.
        """
        said: dict[Target, dict[str, None]] = {}
        for read in self._runtime.attempts.of(step).reads:
            if read.degraded and not step.in_graph:
                for target in step.built_from(read.upstream, read.partition):
                    said.setdefault(target, {})[read.sentence()] = None
        return {target: degraded_metadata(sentences) for target, sentences in said.items()}

    def storing(self, step: Step, asset: str) -> dict[Target, dict[str, Any]]:
        """The asset is about to be stored: its reads of fallbacks stay open, whoever healed it.

        Returns what the materializations say of an asset that is a graph of ops.
        """
        attempt, ledger = self._runtime.attempts.of(step), self._runtime.ledger
        stored = set(step.targets_of([asset])) - attempt.refused
        drop_disowned(ledger, step, attempt, stored)
        said: dict[Target, dict[str, None]] = {}
        if step.in_graph:
            # Another step of the graph may have loaded it, perhaps in another process.
            for r in ledger.built_on(step.run_id, asset):
                told = _sentence(r.upstream, r.upstream_partition, r.source, r.level, r.reason)
                said.setdefault(r.target, {})[told] = None
        if attempt.degraded or said:
            renew_stored(ledger, step, attempt, stored, anew=True)
        return {target: degraded_metadata(sentences) for target, sentences in said.items()}

    def write_down(self, binding: Binding, read: Read, step: Step) -> None:
        """A row of the ledger for each asset that the step builds from a fallback."""
        for consumer, made in step.built_from(read.upstream, read.partition):
            self._runtime.ledger.record(
                DegradedRead(
                    circuit=binding.circuit_key(read.partition),
                    consumer=consumer,
                    consumer_partition=made,
                    upstream=read.upstream,
                    upstream_partition=read.partition,
                    level=read.level,
                    source=read.source,
                    reason=read.reason,
                    run_id=step.run_id,
                    generation=read.generation,
                    pending=True,
                )
            )


def _listed(names: Iterable[str]) -> str:
    """Each name once: ``last_valid of orders and stock_archive``."""
    *others, last = dict.fromkeys(names)
    return f"{', '.join(others)} and {last}" if others else last


def degraded_metadata(sentences: Iterable[str]) -> dict[str, Any]:
    """What a materialization says that was built from fallbacks."""
    listed = "\n".join(f"- {sentence}" for sentence in sentences)
    return {"contract/degraded": True, "contract/built_from": dg.MetadataValue.md(listed)}


def tag_degraded_run(instance: dg.DagsterInstance, run_id: str, contract: str) -> None:
    """Name the contract in the run's tag, beside those that are there already."""
    run = instance.get_run_by_id(run_id)
    tagged = run.tags.get(DEGRADED_TAG, "") if run is not None else ""
    names = {*filter(None, tagged.split(",")), contract}
    instance.add_run_tags(run_id, {DEGRADED_TAG: ",".join(sorted(names))})
