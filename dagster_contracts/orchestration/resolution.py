"""Where to read from, for assets that load their upstream data themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.core.contract import FallbackLevel, SourceKind
from dagster_contracts.errors import WiringError
from dagster_contracts.orchestration.binding import Binding
from dagster_contracts.orchestration.places import Place
from dagster_contracts.orchestration.reads import Read, Reader, tag_degraded_run
from dagster_contracts.orchestration.step import (
    Step,
    partitions_of_input,
    step_of_asset,
    tell_materialization,
)

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSource:
    """What to read in the place of an asset, and why.

    ``kind`` says what it is: the ``primary`` itself; another ``asset`` (``asset_key``); the
    ``last_valid`` batch or a ``uri``, both files at ``path``; a ``subset`` of the primary, cut to
    ``columns``. A file that only a store such as S3 has stands under ``uri`` alone. ``columns`` are
    those that the level promises, empty where it promises no schema. The data is read by the
    caller, so that nobody but the caller can check it against the schema.
    """

    asset_key: dg.AssetKey
    partition: str | None
    level: str
    kind: SourceKind
    columns: tuple[str, ...]
    degraded: bool
    reason: str
    path: Path | None = None
    uri: str | None = None


def resolve_source(
    runtime: ContractsRuntime,
    asset: dg.CoercibleToAssetKey,
    *,
    partition: str | None,
    context: dg.AssetExecutionContext | None,
) -> ResolvedSource:
    """See :meth:`ContractsResource.resolve`."""
    reader = runtime.reader
    if reader is None:
        raise WiringError(
            "these contracts govern nothing in this process",
            hint="put the definitions under contract: with_contracts(defs, contracts=...)",
        )
    if context is None:
        context = _running()
    key = dg.AssetKey.from_coercible(asset)
    partition = _partition(context, key, partition)
    step = step_of_asset(context)
    binding = reader.binding(key)
    if binding is None or not binding.protects:
        read = reader.inherited(key, partition, step)
        source = ResolvedSource(
            asset_key=key,
            partition=partition,
            level=read.level,
            kind=SourceKind.PRIMARY,
            columns=(),
            degraded=read.degraded,
            reason=read.reason,
        )
    else:
        source, read = _routed(runtime, reader, binding, step, partition, context)
    reader.remember(step, read)
    if read.degraded:
        context.log.warning(read.sentence())
        for target, said in reader.provenance(step).items():
            tell_materialization(context, target, said)
    return source


def _routed(
    runtime: ContractsRuntime,
    reader: Reader,
    binding: Binding,
    step: Step,
    partition: str | None,
    context: dg.AssetExecutionContext,
) -> tuple[ResolvedSource, Read]:
    def locate(level: FallbackLevel) -> ResolvedSource:
        primary = level.source.kind is SourceKind.PRIMARY
        other = level.source.kind is SourceKind.ASSET
        promised = reader.sources.promised_schema(binding, level).properties
        place = _place(runtime, reader, binding, level, partition)
        return ResolvedSource(
            asset_key=reader.sources.asset_key(level) if other else binding.asset_key,
            partition=reader.sources.partition_served(
                binding, level, partition=partition, instance=context.instance
            )
            or partition,
            level=level.name,
            kind=level.source.kind,
            columns=() if primary else tuple(prop.column for prop in promised),
            degraded=not primary,
            reason="",
            path=place.path if place is not None else None,
            uri=place.uri if place is not None else None,
        )

    source, read = reader.serve(
        binding, locate, step=step, partition=partition, instance=context.instance
    )
    if source.kind is not SourceKind.PRIMARY:
        tag_degraded_run(context.instance, step.run_id, binding.contract.name)
    return replace(source, degraded=read.degraded, reason=read.reason), read


def _place(
    runtime: ContractsRuntime,
    reader: Reader,
    binding: Binding,
    level: FallbackLevel,
    partition: str | None,
) -> Place | None:
    match level.source.kind:
        case SourceKind.LAST_VALID:
            snapshot, _ = reader.sources.last_valid(binding, level, partition)
            path = runtime.snapshots.verified_path(snapshot)
            return Place(str(path), path)
        case SourceKind.URI:
            return reader.sources.place(level, partition)
        case _:
            return None


def _running() -> dg.AssetExecutionContext:
    try:
        return dg.AssetExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        raise WiringError(
            "resolve() was called outside of a running asset",
            why="who reads, and for which partition, is what the running asset knows",
            hint="call it in the function of an asset that names the upstream in deps=; in another "
            "thread give it context=",
        ) from None


def _partition(
    context: dg.AssetExecutionContext, key: dg.AssetKey, wanted: str | None
) -> str | None:
    """The partition of ``key`` that the running step depends on."""
    names = [name for name, k in context.assets_def.keys_by_input_name.items() if k == key]
    if not names:
        raise WiringError(
            f"{_made(context)} does not depend on {key.to_user_string()}",
            why="Dagster would run the two in any order, and healing would not find the way",
            hint=f'name it: @dg.asset(deps=["{key.to_user_string()}"])',
        )
    found = partitions_of_input(context, names[0])
    if found is None:
        return wanted
    if wanted is not None and wanted in found:
        return wanted
    if wanted is not None:
        raise WiringError(
            f"{_made(context)} does not depend on partition {wanted!r} of {key.to_user_string()}",
            hint=f"in this run it depends on: {', '.join(found[:10]) or 'none'}",
        )
    if len(found) == 1:
        return found[0]
    raise WiringError(
        f"{_made(context)} depends on {len(found)} partitions of {key.to_user_string()}",
        why="each partition may have to be read from somewhere else",
        hint="resolve them one by one: resolve(asset, partition=...)",
    )


def _made(context: dg.AssetExecutionContext) -> str:
    return ", ".join(sorted(key.to_user_string() for key in context.selected_asset_keys))
