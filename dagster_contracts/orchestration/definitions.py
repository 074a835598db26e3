"""``with_contracts``: the one call that puts contracts into a code location."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from dagster_contracts.core.contract import FallbackLevel, SourceKind
from dagster_contracts.core.near_names import near_name
from dagster_contracts.core.uri import LEVEL_ENDINGS
from dagster_contracts.documents.folder import read_folder
from dagster_contracts.errors import WiringError
from dagster_contracts.orchestration.asset_checks import build_contract_checks
from dagster_contracts.orchestration.asset_decorator import (
    RESOURCE_KEY,
    build_contract_asset,
    declaration_of,
)
from dagster_contracts.orchestration.binding import Binding, Bindings, bind_contracts
from dagster_contracts.orchestration.bound_circuits import BoundCircuits
from dagster_contracts.orchestration.circuit_sensor import build_circuit_sensor
from dagster_contracts.orchestration.failures import build_failure_hook
from dagster_contracts.orchestration.graph import AssetGraph
from dagster_contracts.orchestration.monitor_sensor import (
    build_action_sensor,
    build_monitor_sensor,
    job_names,
)
from dagster_contracts.orchestration.operator_job import JOB_NAME, build_operator_job
from dagster_contracts.orchestration.reads import Reader
from dagster_contracts.orchestration.references import (
    INNER_SUFFIX,
    References,
    StoredAsset,
    stored_assets,
)
from dagster_contracts.orchestration.registry_sensor import build_registry_sensor
from dagster_contracts.orchestration.released import build_published_hooks
from dagster_contracts.orchestration.resource import ContractsResource, location_root
from dagster_contracts.orchestration.runtime import ContractsRuntime
from dagster_contracts.orchestration.settling import build_dropping_hook, build_settling_hook
from dagster_contracts.orchestration.switching import (
    OwnResources,
    Switches,
    jobs_of,
    required_managers,
    switched_resources,
    with_jobs_of,
)
from dagster_contracts.orchestration.translator import ContractTranslator


class ContractsWarning(UserWarning):
    """Something in a code location that its contracts do not cover."""


def with_contracts(
    defs: dg.Definitions,
    *,
    contracts: ContractsResource,
    translator: ContractTranslator | None = None,
    strict: bool = False,
    sensors: bool = True,
    sensors_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
    tick_seconds: int = 30,
) -> dg.Definitions:
    """Make the definitions keep their contracts.

    Every asset that a contract governs gets its checks; the I/O managers are wrapped so that
    consumers read through the circuit; the resource ``contracts``, three sensors and the job
    ``operate_circuit`` are added; and the specs carry the contract, so that the UI shows it.

    Parameters
    ----------
    defs:
        The user's definitions; unchanged.
    contracts:
        Where the contracts and their state are. Relative paths are resolved against the root of the
        code location (see :class:`ContractsResource`).
    translator:
        How contracts look in Dagster.
    strict:
        A contract without an asset here is an error and not a warning.
    sensors:
        Whether to add the sensors; ``sensors_status`` is whether they are on from the start, and
        ``tick_seconds`` how often they look.

    Raises
    ------
    DocumentError
        A contract cannot be read; the message has file, line and column.
    WiringError
        Contracts and definitions do not fit together.
    """
    used = translator or ContractTranslator()
    resource = contracts.resolved(location_root(contracts.path))
    folder = read_folder(resource.settings().contracts, allowed_env=tuple(contracts.allowed_env))
    for problem in folder.warnings:
        warnings.warn(str(problem), ContractsWarning, stacklevel=2)

    given = _given_resources(defs, resource)
    own = OwnResources.of(list(defs.assets or ()), list(defs.asset_checks or ()), given)
    assets = list(own.assets)
    keys = [key for item in assets for key in _keys(item)]
    executable = [a for a in assets if isinstance(a, dg.AssetsDefinition)]
    declared = {
        a.key: declaration.reference
        for a in executable
        if (declaration := declaration_of(a)) is not None
    }
    bindings = bind_contracts(
        folder,
        asset_keys=keys,
        declared=declared,
        translator=used,
        strict=strict,
    )
    for message in bindings.warnings:
        warnings.warn(message, ContractsWarning, stacklevel=2)

    # In step processes too the definitions are loaded first, so that `resolve` finds its reader.
    stored = stored_assets(assets)
    partitions_of = {key: asset.partitions for key, asset in stored.items()}
    resource.runtime().reader = Reader(resource.runtime(), bindings, used, partitions_of)
    resource.runtime().bound = bound = BoundCircuits(bindings, partitions_of)
    _known_fallbacks(bindings, keys, used, strict=strict)
    references = References(bindings, stored, used)
    governed = [_governed(item, bindings, resource.runtime, used, references) for item in assets]
    checks = build_contract_checks(
        bindings=bindings,
        open_runtime=resource.runtime,
        translator=used,
        references=references,
    )
    switches = Switches(
        bindings, used, resource.runtime, partitions_of, _fallbacks(stored, bindings, used)
    )
    jobs = jobs_of(defs)
    wanted_managers = required_managers([*governed, *own.checks, *jobs]) | {
        asset.io_manager for asset in stored.values()
    }
    resources, own_switch = switched_resources(given, own, wanted_managers, switches)
    governed = own.returned(governed, own_switch)
    checks = own.returned(checks, own_switch, to_all=True)
    switched_jobs = {id(job): switches.job(job, resources) for job in jobs}
    schedules, user_sensors = with_jobs_of(defs.schedules, defs.sensors, switched_jobs)
    graph = AssetGraph.of(governed)
    added_sensors: list[dg.SensorDefinition] = []
    if sensors and len(bindings):
        common: dict[str, Any] = {
            "bindings": bindings,
            "graph": graph,
            "open_runtime": resource.runtime,
            "default_status": sensors_status,
            "minimum_interval_seconds": tick_seconds,
        }
        added_sensors = [
            build_circuit_sensor(**common, translator=used),
            build_registry_sensor(**common),
            build_monitor_sensor(**common),
        ]
    wanted = set(job_names(bindings))
    user_jobs = [switched_jobs[id(job)] for job in defs.jobs or ()]
    actionable = [job for job in user_jobs if job.name in wanted]
    if sensors and wanted - {job.name for job in actionable}:
        missing = ", ".join(sorted(wanted - {job.name for job in actionable}))
        raise WiringError(
            f"a contract runs a job that is not defined here: {missing}",
            hint="add the job to the Definitions, or mend `monitoring.actions` of the contract",
        )
    if sensors and actionable:
        added_sensors.append(
            build_action_sensor(
                bindings=bindings,
                graph=graph,
                jobs=actionable,
                open_runtime=resource.runtime,
                default_status=sensors_status,
                minimum_interval_seconds=tick_seconds,
            )
        )
    return dg.Definitions(
        assets=governed,
        schedules=schedules,
        sensors=[*user_sensors, *added_sensors],
        jobs=[*user_jobs, *_operator_jobs(defs, bound, resource)],
        resources=resources,
        executor=defs.executor,
        loggers=defs.loggers,
        asset_checks=[*own.returned(own.checks, own_switch), *checks],
        metadata=defs.metadata,
    )


def _operator_jobs(
    defs: dg.Definitions, bound: BoundCircuits, resource: ContractsResource
) -> list[dg.JobDefinition]:
    """The job for operators, where there is a circuit, and no job of the user's has its name."""
    if not any(binding.protects for binding in bound.bindings):
        return []
    if any(getattr(job, "name", None) == JOB_NAME for job in defs.jobs or ()):
        warnings.warn(
            f"a job is named {JOB_NAME!r}: the job for operators is left out",
            ContractsWarning,
            stacklevel=3,
        )
        return []
    return [build_operator_job(bound=bound, open_runtime=resource.runtime)]


def _known_fallbacks(
    bindings: Bindings,
    keys: Sequence[dg.AssetKey],
    translator: ContractTranslator,
    *,
    strict: bool,
) -> None:
    """A fallback that nobody here makes would only be missed on the day it is needed."""
    names = [key.to_user_string() for key in keys]
    for binding, level, key in _levels_of_assets(bindings, translator):
        if key in keys:
            continue
        nearest = near_name(level.source.name, names)
        message = (
            f"the level {level.name!r} of {binding.contract.ref} reads the asset "
            f"{level.source.name!r}, which is not here"
            + (f"; the nearest is {nearest!r}" if nearest else "")
        )
        problem = WiringError(
            message,
            where=level.location or binding.contract.location,
            hint="mend `source`, or declare the asset of another location here; a file begins "
            f"with ./ or ends with {', '.join(LEVEL_ENDINGS)}",
        )
        if strict:
            raise problem
        warnings.warn(str(problem), ContractsWarning, stacklevel=3)


def _levels_of_assets(
    bindings: Bindings, translator: ContractTranslator
) -> Iterator[tuple[Binding, FallbackLevel, dg.AssetKey]]:
    """The levels that read another asset, each with what it stands in for and the asset's key."""
    for binding in bindings:
        resilience = binding.contract.resilience
        for level in resilience.levels if resilience is not None else ():
            if level.source.kind is SourceKind.ASSET:
                yield binding, level, bindings.asset_of(level.source.name, translator)


def _keys(item: Any) -> Iterable[dg.AssetKey]:
    if isinstance(item, dg.AssetsDefinition):
        return item.keys
    if isinstance(item, (dg.AssetSpec, dg.SourceAsset)):
        return (item.key,)
    return ()


def _governed(
    item: Any,
    bindings: Bindings,
    open_runtime: Callable[[], ContractsRuntime],
    translator: ContractTranslator,
    references: References,
) -> Any:
    """The asset with its contract in its spec; rebuilt where ``@contract_asset`` declared it."""
    if isinstance(item, dg.AssetSpec):
        return _described(item, bindings, translator)
    if not isinstance(item, dg.AssetsDefinition):
        return item
    declaration = declaration_of(item)
    if declaration is not None:
        item = build_contract_asset(
            item,
            declaration,
            bindings.by_asset[item.key],
            open_runtime=open_runtime,
            translator=translator,
            references=references,
        )
        hooks = build_published_hooks(bindings=bindings, open_runtime=open_runtime)
        item = item.with_hooks(hooks)
    if item.is_materializable and item.dependency_keys:
        settling = build_settling_hook(open_runtime=open_runtime)
        item = item.with_hooks({settling, build_dropping_hook(open_runtime=open_runtime)})
    bound = [binding for key in sorted(item.keys) if (binding := bindings.get(key)) is not None]
    if not bound:
        return item
    described = item.map_asset_specs(lambda spec: _described(spec, bindings, translator))
    protected = [binding for binding in bound if binding.protects]
    if not protected or not item.is_materializable:
        return described
    hook = build_failure_hook(bindings=protected, open_runtime=open_runtime)
    return described.with_hooks({hook})


def _described(
    spec: dg.AssetSpec, bindings: Bindings, translator: ContractTranslator
) -> dg.AssetSpec:
    binding = bindings.get(spec.key)
    if binding is None:
        return spec
    contract = binding.contract
    # What the user said of the asset wins over what the contract says.
    metadata = {**translator.get_metadata(contract, binding.schema_object), **spec.metadata}
    tags = {**translator.get_tags(contract), **spec.tags}
    return spec.replace_attributes(
        metadata=metadata,
        tags=tags,
        owners=list(spec.owners) or list(translator.get_owners(contract)),
        description=spec.description or contract.description,
    )


def _given_resources(defs: dg.Definitions, resource: ContractsResource) -> dict[str, Any]:
    """The user's resources, and the contracts."""
    resources: dict[str, Any] = dict(defs.resources or {})
    if RESOURCE_KEY in resources and not isinstance(resources[RESOURCE_KEY], ContractsResource):
        raise WiringError(
            f"the resource key {RESOURCE_KEY!r} is taken",
            why="with_contracts puts the ContractsResource there",
            hint="give your own resource another key",
        )
    twice = sorted(key for key in resources if key + INNER_SUFFIX in resources)
    if twice:
        raise WiringError(
            "the definitions have passed through with_contracts already",
            where=", ".join(twice),
            why="the circuit stands before these I/O managers; before a second one they would be "
            "judged and recorded twice",
            hint="merge the definitions first (Definitions.merge), and call with_contracts once, "
            "on all of them",
        )
    resources[RESOURCE_KEY] = resource
    return resources


def _fallbacks(
    stored: Mapping[dg.AssetKey, StoredAsset], bindings: Bindings, translator: ContractTranslator
) -> dict[dg.AssetKey, str]:
    """The assets of this code location that are fallbacks, and what loads each of them."""
    keys = {key for _, _, key in _levels_of_assets(bindings, translator)}
    return {key: stored[key].io_manager for key in sorted(keys) if key in stored}
