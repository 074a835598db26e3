"""Where a fallback level's data is, whether it is usable now, and how it is loaded and proven."""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, assert_never

import dagster as dg
import narwhals as nw

from dagster_contracts.core.circuit import CircuitState
from dagster_contracts.core.condition import Observation, Truth, evaluate, without_holds
from dagster_contracts.core.contract import FallbackLevel, LogicalType, SchemaObject, SourceKind
from dagster_contracts.core.outcome import ContractReport, OutcomeKind, OutcomeStatus
from dagster_contracts.engine.frames import convert_table, frame_kind, select_columns, to_arrow
from dagster_contracts.engine.validation import validate
from dagster_contracts.errors import FallbackError
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.materialized import (
    latest_materialization,
    moment_of,
    partition_to_read,
    stored_at,
)
from dagster_contracts.orchestration.places import Place
from dagster_contracts.orchestration.stand_ins import stand_ins
from dagster_contracts.orchestration.translator import ContractTranslator
from dagster_contracts.resilience.distrust import trusted_snapshots
from dagster_contracts.resilience.quarantine import QuarantineState

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime
    from dagster_contracts.resilience.quarantine import QuarantinedBatch
    from dagster_contracts.resilience.snapshots import Snapshot

QUARANTINED = "contract/quarantine"
"""Output metadata of a refused batch: it was put aside, and the primary keeps the last good one."""

# A fallback is older than the primary by its nature: these metrics do not judge it, `max_age` does.
_AGE_METRICS = ("data_freshness", "data_latency", "materialization_age")


_LOOKED_BACK = 1000
"""So many kept batches are looked through for one from before the circuit was forced open."""

PartitionsOf = Mapping[dg.AssetKey, dg.PartitionsDefinition[Any] | None]
"""How the assets of a code location are partitioned."""


class LoadAsset(Protocol):
    """Loads another asset through the I/O manager that stores it."""

    def __call__(self, key: dg.AssetKey, any_partition: bool) -> Any:
        """The data of ``key``: the partition that is read, or any (`partition_to_read`)."""


@dataclass(frozen=True)
class LevelFacts:
    """What is known of a level before anything is loaded."""

    exists: bool = True
    circuit_open: bool = False
    age: timedelta | None = None
    why_not: str | None = None


class LevelSources:
    """The sources of fallback levels."""

    def __init__(
        self,
        runtime: ContractsRuntime,
        bindings: Bindings,
        translator: ContractTranslator,
        partitions: PartitionsOf,
    ) -> None:
        self._runtime = runtime
        self._bindings = bindings
        self._translator = translator
        self._partitions = partitions

    def name(self, binding: Binding, level: FallbackLevel) -> str:
        """What a person calls the source: the asset, ``last_valid of flights``, the path."""
        match level.source.kind:
            case SourceKind.PRIMARY:
                return binding.asset
            case SourceKind.ASSET:
                return self.asset_key(level).to_user_string()
            case SourceKind.LAST_VALID | SourceKind.SUBSET:
                return f"{level.source.kind.value} of {binding.asset}"
            case SourceKind.URI:
                return level.source.shown
            case _:
                assert_never(level.source.kind)

    def served(
        self,
        binding: Binding,
        level: FallbackLevel,
        *,
        partition: str | None,
        instance: dg.DagsterInstance,
    ) -> str:
        """:meth:`name`, with the partition that stands in where another one was asked for."""
        name = self.name(binding, level)
        read = self.partition_served(binding, level, partition=partition, instance=instance)
        if read is None or read == partition:
            return name
        if level.source.kind is SourceKind.LAST_VALID:
            return f"last_valid [{read}] of {binding.asset}"
        return f"{name} [{read}]"

    def partition_served(
        self,
        binding: Binding,
        level: FallbackLevel,
        *,
        partition: str | None,
        instance: dg.DagsterInstance,
    ) -> str | None:
        """The partition of the source that stands in for ``partition``; ``None`` where it has none.

        Under ``any_partition`` it may be another one.
        """
        match level.source.kind:
            case SourceKind.PRIMARY | SourceKind.SUBSET | SourceKind.URI:
                return partition
            case SourceKind.LAST_VALID:
                snapshot = self.snapshot(binding, level, partition)
                return partition if snapshot is None else snapshot.partition
            case SourceKind.ASSET:
                key = self.asset_key(level)
                partitions_def = self._partitions.get(key)
                return partition_to_read(
                    instance, key, partitions_def, partition, any_partition=level.any_partition
                )
            case _:
                assert_never(level.source.kind)

    def promised_schema(self, binding: Binding, level: FallbackLevel) -> SchemaObject:
        """The schema that a consumer of this level can rely on."""
        if level.schema is None or level.schema not in binding.contract.schemas:
            return binding.schema_object
        return binding.contract.schemas[level.schema]

    def facts(
        self,
        binding: Binding,
        level: FallbackLevel,
        *,
        partition: str | None,
        instance: dg.DagsterInstance,
        now: datetime,
    ) -> LevelFacts:
        """Whether the level could be served: it exists, its own circuit, its age."""
        match level.source.kind:
            case SourceKind.PRIMARY:
                return LevelFacts()
            case SourceKind.SUBSET:
                made = self._newest_at(binding, partition, instance)
                return LevelFacts(age=None if made is None else now - made)
            case SourceKind.LAST_VALID:
                snapshot = self.snapshot(binding, level, partition)
                if snapshot is None:
                    why_not = self._why_none(binding, level, partition)
                    return LevelFacts(exists=False, why_not=why_not)
                return LevelFacts(age=now - snapshot.kept_at)
            case SourceKind.ASSET:
                return self._asset_facts(level, partition, instance, now)
            case SourceKind.URI:
                return self._uri_facts(level, partition, now)
            case _:
                assert_never(level.source.kind)

    def load(
        self,
        binding: Binding,
        level: FallbackLevel,
        *,
        partition: str | None,
        instance: dg.DagsterInstance,
        load_primary: Callable[[], Any],
        load_asset: LoadAsset,
        wanted: object,
    ) -> Any:
        """The level's data: cut to the schema it promises, proven against it, in the wanted type.

        Raises
        ------
        FallbackError
            The data does not keep the level's promise. Whatever the source itself raises passes
            through; the caller tries the next level.
        """
        kind: str | None
        promised = self.promised_schema(binding, level)
        match level.source.kind:
            case SourceKind.PRIMARY:
                return load_primary()
            case SourceKind.LAST_VALID:
                snapshot, data = self.last_valid(binding, level, partition)
                return _as_wanted(data, wanted, snapshot.kind, promised)
            case SourceKind.SUBSET:
                data, kind = self._newest_primary(binding, partition, instance, load_primary)
            case SourceKind.ASSET:
                data = load_asset(self.asset_key(level), level.any_partition)
                kind = frame_kind(data)
            case SourceKind.URI:
                place = self.place(level, partition)
                data, kind = place.text or place.read(), "polars"
            case _:
                assert_never(level.source.kind)
        return _as_wanted(self._proven(binding, level, data, kind), wanted, kind, promised)

    def asset_key(self, level: FallbackLevel) -> dg.AssetKey:
        """The asset that a level names, by its key or by its contract."""
        return self._bindings.asset_of(level.source.name, self._translator)

    def _asset_facts(
        self,
        level: FallbackLevel,
        partition: str | None,
        instance: dg.DagsterInstance,
        now: datetime,
    ) -> LevelFacts:
        key = self.asset_key(level)
        name = key.to_user_string()
        partitions_def = self._partitions.get(key)
        read = partition_to_read(
            instance, key, partitions_def, partition, any_partition=level.any_partition
        )
        if partitions_def is not None and read is None:
            return LevelFacts(exists=False, why_not=f"{name} has no stored partition")
        latest = stored_at(instance, key, read)
        if latest is None:
            of = f" [{read}]" if read else ""
            refused = latest_materialization(instance, key, read) is not None
            why_not = "only delivered refused batches" if refused else "was never materialized"
            return LevelFacts(exists=False, why_not=f"{name}{of} {why_not}")
        age = now - latest
        own = self._bindings.get(key)
        if own is None or not own.protects:
            return LevelFacts(age=age)
        circuit = self._runtime.breaker.tick(own.contract, own.circuit_key(read)).circuit
        return LevelFacts(circuit_open=circuit.effective_state is not CircuitState.CLOSED, age=age)

    def snapshot(
        self, binding: Binding, level: FallbackLevel, partition: str | None
    ) -> Snapshot | None:
        """The last valid batch of that partition; where it has none and any will do, the nearest.

        Without those that must not be served while the circuit is forced open.
        """
        kept = self._trusted(binding, self._kept(binding, partition))
        if not kept and level.any_partition:
            there = self._runtime.snapshots.partitions(binding.contract.name, binding.asset)
            for other in stand_ins(self._partitions.get(binding.asset_key), partition, there):
                kept = self._trusted(binding, self._kept(binding, other))
                if kept:
                    break
        return kept[0] if kept else None

    def last_valid(
        self, binding: Binding, level: FallbackLevel, partition: str | None
    ) -> tuple[Snapshot, Any]:
        """The last valid batch and its rows, verified, and proven against the contract of today.

        It passed when it was kept, perhaps under another contract: one may be edited in place.
        """
        snapshot = self.snapshot(binding, level, partition)
        if snapshot is None:
            raise FallbackError(
                f"{binding.asset} has no last valid batch", where=binding.contract.ref
            )
        data = self._runtime.snapshots.load(snapshot)
        promised = [prop.column for prop in self.promised_schema(binding, level).properties]
        missing = [column for column in promised if column not in data.column_names]
        if missing:
            raise FallbackError(
                f"the last valid batch, of version {snapshot.contract_version}, lacks"
                f" {', '.join(missing)}",
                where=binding.contract.ref,
            )
        proven = self._proven(binding, level, data, snapshot.kind)
        return snapshot, data if level.schema is None else proven

    def columns(
        self, binding: Binding, level: FallbackLevel, partition: str | None
    ) -> frozenset[str]:
        """The columns that a consumer of this level gets: promised, and really there."""
        promised = frozenset(p.column for p in self.promised_schema(binding, level).properties)
        if level.source.kind is not SourceKind.LAST_VALID:
            return promised
        snapshot = self.snapshot(binding, level, partition)
        try:
            return (
                promised
                if snapshot is None
                else promised.intersection(self._runtime.snapshots.columns(snapshot))
            )
        except FallbackError:
            # The load says what is wrong with the file, and the next level is tried.
            return promised

    def _kept(
        self, binding: Binding, partition: str | None, *, any_partition: bool = False
    ) -> tuple[Snapshot, ...]:
        return self._runtime.snapshots.newest(
            binding.contract.name,
            binding.asset,
            partition,
            any_partition=any_partition,
            limit=_LOOKED_BACK,
        )

    def _trusted(self, binding: Binding, kept: tuple[Snapshot, ...]) -> tuple[Snapshot, ...]:
        return trusted_snapshots(
            self._runtime.store, kept, binding.circuit_key, audited=binding.audited
        )

    def _why_none(self, binding: Binding, level: FallbackLevel, partition: str | None) -> str:
        if self._kept(binding, partition, any_partition=level.any_partition):
            return "no batch from before the one that was forced open is kept"
        of = f" of partition {partition}" if partition else ""
        return f"no batch{of} has passed yet"

    def place(self, level: FallbackLevel, partition: str | None) -> Place:
        """Where a level's file is; a relative path starts beside the contracts folder."""
        root = self._runtime.settings.contracts.parent
        return Place.of(level.source.name, root=root, partition=partition)

    def _uri_facts(self, level: FallbackLevel, partition: str | None, now: datetime) -> LevelFacts:
        try:
            modified = self.place(level, partition).modified_at()
        except Exception as error:  # each store raises errors of its own
            return LevelFacts(exists=False, why_not=str(error))
        return LevelFacts(age=None if modified is None else now - modified)

    def _newest_primary(
        self,
        binding: Binding,
        partition: str | None,
        instance: dg.DagsterInstance,
        load_primary: Callable[[], Any],
    ) -> tuple[Any, str | None]:
        """The newest batch of the primary, good or not.

        Where batches are audited before they are published, the newest one may be in quarantine:
        its critical fields are what this level is for.
        """
        if binding.audited:
            refused = self._refused(binding, partition, instance)
            if refused is not None:
                return self._runtime.quarantine.load(refused.id), refused.kind
        data = load_primary()
        return data, frame_kind(data)

    def _newest_at(
        self, binding: Binding, partition: str | None, instance: dg.DagsterInstance
    ) -> datetime | None:
        """When the batch came that :meth:`_newest_primary` serves."""
        if binding.audited and self._refused(binding, partition, instance) is not None:
            event = latest_materialization(instance, binding.asset_key, partition)
            return None if event is None else moment_of(event)
        return stored_at(instance, binding.asset_key, partition)

    def _refused(
        self, binding: Binding, partition: str | None, instance: dg.DagsterInstance
    ) -> QuarantinedBatch | None:
        """The newest batch, where it is held in quarantine: its materialization says so."""
        event = latest_materialization(instance, binding.asset_key, partition)
        made = event.asset_materialization if event is not None else None
        if made is None:
            return None
        batch_id = quarantined_as(made.metadata)
        if batch_id is None:
            return None
        batch = self._runtime.quarantine.get(batch_id)
        newest = (QuarantineState.HELD, QuarantineState.PUBLISHING)
        return batch if batch.state in newest else None

    def _proven(self, binding: Binding, level: FallbackLevel, data: Any, kind: str | None) -> Any:
        """The promised columns of ``data``, which was ``kind`` when the producer made it."""
        promised = self.promised_schema(binding, level)
        contract = dataclasses.replace(
            binding.contract, objects=(promised,), sla=(), event_time=None
        )
        if frame_kind(data) is None:
            raise FallbackError(
                f"the level {level.name!r} serves no table but {type(data).__name__}",
                where=binding.contract.ref,
            )
        judged = without_pandas(data, promised) if kind == "pandas" else data
        report = validate(judged, contract, schema_object=promised, samples=0)
        broken = _broken_promise(binding, report)
        if broken is not None:
            raise FallbackError(
                f"the level {level.name!r} does not keep the schema that it promises",
                where=binding.contract.ref,
                why=broken,
                hint=f"mend {self.name(binding, level)}, or give the level a smaller schema",
            )
        columns = [prop.column for prop in promised.properties]
        if isinstance(data, str):
            # A file of text: it was judged as it is, and is read as the types that it promises.
            types = {p.column: p.logical_type for p in promised.properties if p.logical_type}
            return to_arrow(data, types).select(columns)
        return select_columns(data, columns)


def _broken_promise(binding: Binding, report: ContractReport) -> str | None:
    """Why this data must not be served; ``None`` where it may.

    A level is held to what the contract tolerates of the primary: rows may fail as long as no
    ``open_when`` condition holds, but a column that is missing or has another type never serves.
    """
    for outcome in report.outcomes:
        if (
            outcome.kind is OutcomeKind.SCHEMA
            and outcome.status is OutcomeStatus.FAILED
            and outcome.rows_tested is None
        ):
            return f"{outcome.rule}: {outcome.reason or outcome.description or 'failed'}"
    metrics = {
        name: None if name in _AGE_METRICS else value for name, value in report.metrics.items()
    }
    resilience = binding.contract.resilience
    if resilience is None:
        return None
    window = [Observation(report.evaluated_at, metrics)]
    for condition in resilience.circuit.open_when:
        decision = evaluate(without_holds(condition), window)
        if decision.truth is Truth.TRUE:
            return decision.explanation
    return None


def quarantined_as(metadata: Mapping[str, Any]) -> int | None:
    """The number in quarantine of the batch that a materialization's metadata speaks of."""
    said = metadata.get(QUARANTINED)
    number = getattr(said, "value", said)
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _as_wanted(data: Any, wanted: object, kind: str | None, promised: SchemaObject) -> Any:
    """``data`` as the type that the consumer's annotation asks for, else as ``kind``."""
    target = _kind_of_type(wanted) or kind
    if target is None or target == frame_kind(data):
        return data
    if target not in _CONVERTIBLE and target not in _NARWHALS:
        return data
    table = to_arrow(data)
    if kind == "pandas" and target != "pandas":
        table = without_pandas(table, promised)
    if target in _NARWHALS:
        # Narwhals stands before a frame of any kind; Polars has both of its two.
        return nw.from_native(convert_table(table, _NARWHALS[target]))
    return convert_table(table, target)


def without_pandas(data: Any, promised: SchemaObject) -> Any:
    """An Arrow table made of a pandas frame, in the promised types; other data as it is.

    pandas keeps integers with gaps as floats, and dates as timestamps at midnight. In a frame of
    its own both keep their promise; as Arrow they would be other types. A column that holds more
    than that (halves, hours) stays what it is.
    """
    if frame_kind(data) != "pyarrow":
        return data
    # Arrow is here already: the data is a table of it.
    import pyarrow as pa

    for prop in promised.properties:
        place = data.schema.get_field_index(prop.column)
        if place < 0:
            continue
        held = data.schema.field(place).type
        if prop.logical_type is LogicalType.INTEGER and pa.types.is_floating(held):
            meant: pa.DataType = pa.int64()
        elif prop.logical_type is LogicalType.DATE and pa.types.is_timestamp(held):
            meant = pa.date32()
        else:
            continue
        with contextlib.suppress(pa.ArrowInvalid):
            data = data.set_column(place, prop.column, data.column(place).cast(meant))
    return data


def is_by_partition(wanted: object) -> bool:
    """Whether a consumer asks for its partitions one by one, as ``dict[str, pd.DataFrame]``."""
    origin = typing.get_origin(wanted) or wanted
    return isinstance(origin, type) and issubclass(origin, Mapping)


_CONVERTIBLE = ("pandas", "polars", "polars_lazy", "pyarrow")
_NARWHALS = {"narwhals": "polars", "narwhals_lazy": "polars_lazy"}


def _kind_of_type(wanted: object) -> str | None:
    """The kind of table that an annotation names, within a dictionary by partition or a union."""
    if is_by_partition(wanted) or typing.get_origin(wanted) in (typing.Union, types.UnionType):
        within = (
            typing.get_args(wanted)[-1:] if is_by_partition(wanted) else typing.get_args(wanted)
        )
        kinds = [kind for kind in map(_kind_of_type, within) if kind is not None]
        return kinds[0] if len(kinds) == 1 else None
    # nw.DataFrame[pl.DataFrame], for one, is no class itself.
    named = typing.get_origin(wanted) or wanted
    if not isinstance(named, type):
        return None
    package = named.__module__.partition(".")[0]
    if package in ("polars", "narwhals"):
        return f"{package}_lazy" if named.__name__ == "LazyFrame" else package
    return package if package in ("pandas", "pyarrow") else None
