"""The circuit before every I/O manager of a code location, wherever it is declared.

Dagster takes an I/O manager from many places: the resources of the definitions, an asset's own
(``io_manager_def``, ``resource_defs``, ``with_resources``), those of a job, and the loader that one
input names (``input_manager_key``). One that stays as it is would serve what a contract forbids, so
that each of them is found by what Dagster itself says it requires.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import dagster as dg

# Dagster has no published way to ask what a resource that is given as an object will be.
from dagster._core.execution.build_resources import wrap_resource_for_execution

from dagster_contracts.errors import WiringError
from dagster_contracts.orchestration.binding import Bindings
from dagster_contracts.orchestration.io_manager import ContractIOManager
from dagster_contracts.orchestration.levels import PartitionsOf
from dagster_contracts.orchestration.reads import Reader
from dagster_contracts.orchestration.references import INNER_SUFFIX
from dagster_contracts.orchestration.runtime import ContractsRuntime
from dagster_contracts.orchestration.translator import ContractTranslator

DEFAULT_KEY = "io_manager"
_MANAGERS = (dg.IOManagerDefinition, dg.InputManagerDefinition)


@dataclass(frozen=True)
class OwnResources:
    """What assets and checks brought as resources of their own, taken from them.

    Dagster lets one asset have a resource that others lack, but all that is needed to read a
    fallback must be there for every reader: it becomes a resource of the definitions. Only an
    ``io_manager`` of assets stays with them, because jobs of ops may use another.
    """

    assets: Sequence[Any]
    checks: Sequence[Any]
    shared: Mapping[str, dg.ResourceDefinition]
    default: dg.ResourceDefinition | None = None
    """The ``io_manager`` of assets, where it is not the one of the definitions."""
    holders: frozenset[Any] = frozenset()
    """The keys of those that brought it, and of those that need none but for their checks."""

    @classmethod
    def of(
        cls, assets: Sequence[Any], checks: Sequence[Any], resources: Mapping[str, Any]
    ) -> OwnResources:
        """Take them from the assets and checks, which are copied.

        Raises
        ------
        WiringError
            Two different resources have one key, of which a run could have but one.
        """
        given = {key: wrap_resource_for_execution(value) for key, value in resources.items()}
        found: dict[str, tuple[dg.ResourceDefinition | None, str]] = {
            key: (definition, "the Definitions")
            for key, definition in given.items()
            if key != DEFAULT_KEY
        }
        holders: set[Any] = set()
        for item in (*assets, *checks):
            if DEFAULT_KEY in _own(item) or DEFAULT_KEY not in required_managers([item]):
                holders |= _keys(item)
            for key, definition in _own(item).items():
                first, where = found.setdefault(key, (definition, _named(item)))
                if first != definition:
                    raise WiringError(
                        f"two different resources have the key {key!r}",
                        where=f"{where} and {_named(item)}",
                        why="a run has one resource of a key, so that one of the two would serve "
                        "in place of the other",
                        hint=f"rename one of them, or give both the same object; or name {key!r} "
                        "once, in the resources of the Definitions",
                    )
        own = found.pop(DEFAULT_KEY, (None, ""))[0]
        return cls(
            assets=[_without(item) for item in assets],
            checks=[_without(item) for item in checks],
            shared={k: made for k, (made, _) in found.items() if made and k not in given},
            default=None if own == given.get(DEFAULT_KEY) else own,
            holders=frozenset(holders),
        )

    def returned(
        self, items: Iterable[Any], switch: dg.ResourceDefinition | None, *, to_all: bool = False
    ) -> list[Any]:
        """The items with ``switch`` as their own ``io_manager``, where they brought one."""
        if switch is None:
            return list(items)
        return [
            _with(item, {DEFAULT_KEY: switch}) if to_all or _keys(item) & self.holders else item
            for item in items
        ]


@dataclass(frozen=True)
class Switches:
    """Puts the circuit before I/O managers, and before loaders of inputs."""

    bindings: Bindings
    translator: ContractTranslator
    open_runtime: Callable[[], ContractsRuntime]
    partitions_of: PartitionsOf
    fallbacks: Mapping[dg.AssetKey, str]
    """The assets that contracts fall back to, and the resource that each is loaded by."""

    def before(
        self,
        definition: dg.ResourceDefinition,
        inner: str,
        definitions: Mapping[str, dg.ResourceDefinition],
    ) -> dg.ResourceDefinition:
        """What takes the place of ``definition``, which is now the resource ``inner``.

        It may be asked for all that those behind it need, which look for it in their context.
        """
        inner_of = {key: name + INNER_SUFFIX for key, name in self.fallbacks.items()}
        needed = {inner, *inner_of.values()}
        asked = {
            key
            for name in needed
            if name in definitions
            for key in definitions[name].required_resource_keys
        }

        def switching(context: dg.InitResourceContext) -> ContractIOManager:
            managers = {name: getattr(context.resources, name) for name in needed}
            return ContractIOManager(
                # A loader of inputs stores nothing; Dagster refuses it where something is stored.
                inner=cast("dg.IOManager", managers[inner]),
                inner_by_asset={asset: managers[name] for asset, name in inner_of.items()},
                partitions_by_asset=self.partitions_of,
                bindings=self.bindings,
                reader=Reader(
                    self.open_runtime(), self.bindings, self.translator, self.partitions_of
                ),
                resource_key=inner,
                resource_key_by_asset=inner_of,
            )

        common: dict[str, Any] = {
            "required_resource_keys": needed | asked,
            "description": f"Reads through the circuit, with {inner} behind it.",
        }
        if isinstance(definition, dg.IOManagerDefinition):
            return dg.IOManagerDefinition(
                resource_fn=switching,
                input_config_schema=definition.input_config_schema,
                output_config_schema=definition.output_config_schema,
                **common,
            )
        loader = cast("dg.InputManagerDefinition", definition)
        return dg.InputManagerDefinition(
            resource_fn=switching, input_config_schema=loader.input_config_schema, **common
        )

    def job(self, job: Any, resources: Mapping[str, Any]) -> Any:
        """The job, where it has I/O managers of its own with the circuit before them."""
        if not isinstance(job, dg.JobDefinition):
            return job
        wanted = required_managers([job])
        own = {
            key: definition
            for key, definition in job.resource_defs.items()
            if key in wanted and isinstance(definition, _MANAGERS) and not _is_default(job, key)
        }
        if not own:
            return job
        inner = {key: f"{key}_of_job{INNER_SUFFIX}" for key in own}
        behind = {inner[key]: definition for key, definition in own.items()}
        shared = {key: wrap_resource_for_execution(value) for key, value in resources.items()}
        known = {**shared, **job.resource_defs, **behind}
        switches = {key: self.before(own[key], inner[key], known) for key in own}
        return job.with_top_level_resources({**known, **switches})


def required_managers(items: Iterable[Any]) -> set[str]:
    """The keys under which these assets, checks and jobs want something that loads or stores."""
    return {
        requirement.key
        for item in items
        for requirement in _requirements(item)
        # Other resources are asked for as such; their users call what methods they like.
        if getattr(requirement, "expected_type", dg.ResourceDefinition) is not dg.ResourceDefinition
        and issubclass(dg.IOManagerDefinition, requirement.expected_type)
    }


def switched_resources(
    resources: Mapping[str, Any],
    own: OwnResources,
    keys: Iterable[str],
    switches: Switches,
) -> tuple[dict[str, Any], dg.ResourceDefinition | None]:
    """The resources with the circuit before each of ``keys``, and the ``io_manager`` of assets.

    The one behind stays available, as ``<key>__inner``.
    """
    made: dict[str, Any] = {**resources, **own.shared}
    made.setdefault(DEFAULT_KEY, dg.fs_io_manager)
    behind: dict[str, str] = {}
    for key in sorted({*keys, DEFAULT_KEY}):
        # Of one that is missing, or is no I/O manager, Dagster itself says so.
        if key in made and isinstance(wrap_resource_for_execution(made[key]), _MANAGERS):
            behind[key] = key + INNER_SUFFIX
    if own.default is not None:
        behind[DEFAULT_KEY] = f"{DEFAULT_KEY}_of_jobs{INNER_SUFFIX}"
        made[DEFAULT_KEY + INNER_SUFFIX] = own.default
    made |= {inner: made[key] for key, inner in behind.items()}
    known = {key: wrap_resource_for_execution(value) for key, value in made.items()}
    for key, inner in behind.items():
        made[key] = switches.before(known[key], inner, known)
    if own.default is None:
        return made, None
    return made, switches.before(own.default, DEFAULT_KEY + INNER_SUFFIX, known)


def with_jobs_of(
    schedules: Iterable[Any] | None, sensors: Iterable[Any] | None, jobs: Mapping[int, Any]
) -> tuple[list[Any], list[Any]]:
    """The schedules and sensors, whose jobs are those that ``jobs`` gives for their ids."""
    told_when = [
        schedule.with_updated_job(jobs[id(schedule.job)])
        if isinstance(schedule, dg.ScheduleDefinition)
        and schedule.target.has_job_def
        and id(schedule.job) in jobs
        else schedule
        for schedule in schedules or ()
    ]
    told_why = [
        sensor.with_updated_jobs([jobs.get(id(job), job) for job in sensor.jobs])
        if any(target.has_job_def for target in sensor.targets)
        and any(id(job) in jobs for job in sensor.jobs)
        else sensor
        for sensor in sensors or ()
    ]
    return told_when, told_why


def jobs_of(defs: dg.Definitions) -> list[Any]:
    """Every job of the definitions, also those that only a schedule or a sensor names."""
    schedules = [
        schedule.job
        for schedule in defs.schedules or ()
        if isinstance(schedule, dg.ScheduleDefinition) and schedule.target.has_job_def
    ]
    sensors = [
        target.job_def
        for sensor in defs.sensors or ()
        for target in sensor.targets
        if target.has_job_def
    ]
    return [*(defs.jobs or ()), *schedules, *sensors]


def _requirements(item: Any) -> Iterable[Any]:
    if isinstance(item, (dg.AssetsDefinition, dg.SourceAsset)):
        return item.get_resource_requirements()
    if isinstance(item, dg.JobDefinition):
        return item.graph.get_resource_requirements(asset_layer=item.asset_layer)
    return ()


def _is_default(job: dg.JobDefinition, key: str) -> bool:
    """Whether Dagster itself put it there, and puts that of the definitions in its place."""
    bare = dg.JobDefinition(graph_def=job.graph, asset_layer=job.asset_layer)
    return key == DEFAULT_KEY and job.resource_defs[key] == bare.resource_defs[key]


def _own(item: Any) -> Mapping[str, dg.ResourceDefinition]:
    if isinstance(item, (dg.AssetsDefinition, dg.SourceAsset)):
        return item.resource_defs
    return {}


def _without(item: Any) -> Any:
    return _with(item, {}) if _own(item) else item


def _with(item: Any, resources: Mapping[str, dg.ResourceDefinition]) -> Any:
    """A copy of the asset or check that has exactly these resources of its own."""
    if isinstance(item, dg.SourceAsset):
        made = copy.copy(item)
        made.resource_defs = dict(resources)
        return made
    if isinstance(item, dg.AssetsDefinition):
        return type(item)(**{**item.get_attributes_dict(), "resource_defs": dict(resources)})
    return item


def _keys(item: Any) -> set[Any]:
    if isinstance(item, dg.AssetsDefinition):
        return {*item.keys, *item.check_keys}
    return {item.key} if isinstance(item, dg.SourceAsset) else set()


def _named(item: Any) -> str:
    return ", ".join(sorted(key.to_user_string() for key in _keys(item)))
