"""``@contract_asset``: an asset whose batch is judged before it is published."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_contracts.core.reference import ContractRef
from dagster_contracts.errors import WiringError
from dagster_contracts.orchestration.binding import Binding
from dagster_contracts.orchestration.check_results import (
    build_check_results,
    build_check_specs,
    first_failures,
)
from dagster_contracts.orchestration.circuit_check import circuit_history
from dagster_contracts.orchestration.evaluation import BatchEvaluation, evaluate_batch
from dagster_contracts.orchestration.io_manager import ContractIOManager
from dagster_contracts.orchestration.levels import QUARANTINED
from dagster_contracts.orchestration.references import References
from dagster_contracts.orchestration.released import published_batch
from dagster_contracts.orchestration.step import step_of_asset, stores_with, tell_materialization
from dagster_contracts.orchestration.translator import ContractTranslator

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime

F = Callable[..., Any]
_DECLARATION = "__contract_asset__"
RESOURCE_KEY = "contracts"


@dataclass(frozen=True)
class ContractAsset:
    """What ``@contract_asset`` was given; :func:`with_contracts` makes the asset from it."""

    reference: str
    function: F
    options: Mapping[str, Any] = field(default_factory=dict)


def contract_asset(reference: str, /, **options: Any) -> Callable[[F], dg.AssetsDefinition]:
    """Declare an asset that keeps a contract.

    ``reference`` names the contract (``"weather"``, ``"weather@1"``, ``"weather@^1.2"``); every
    option of ``dagster.asset`` is taken as it is. The returned table is validated in the asset's
    own step, before the I/O manager stores it: a batch that the contract refuses goes to
    quarantine, and consumers keep the last good one, or get the fallback that the contract
    declares.

    The definitions must pass through :func:`with_contracts`; an asset that did not is refused at
    run time, because it would look protected and not be.

    Examples
    --------
    >>> import pandas as pd
    >>> @contract_asset("weather@^1", group_name="raw")
    ... def weather() -> pd.DataFrame:
    ...     return pd.DataFrame({"temp": [39.0]})
    >>> weather.key.to_user_string()
    'weather'
    """
    if not isinstance(reference, str):
        raise WiringError(
            "@contract_asset needs the name of a contract",
            hint='write @contract_asset("weather@^1"), with the parentheses',
        )
    ContractRef.parse(reference)
    if "check_specs" in options:
        raise WiringError(
            "@contract_asset takes no check_specs",
            where=reference,
            hint="declare checks of your own with @asset_check; those of the contract are added",
        )

    def decorate(function: F) -> dg.AssetsDefinition:
        declaration = ContractAsset(reference, function, dict(options))

        def unwired(*_args: Any, **_kwargs: Any) -> Any:
            raise WiringError(
                f"the asset {function.__name__!r} keeps the contract {reference!r}, and its "
                "definitions did not pass through with_contracts()",
                hint="defs = with_contracts(Definitions(...), contracts=ContractsResource(...))",
            )

        stand_in = _like(function, unwired)
        setattr(stand_in, _DECLARATION, declaration)
        made: dg.AssetsDefinition = dg.asset(**options)(stand_in)
        return made

    return decorate


def declaration_of(assets_def: dg.AssetsDefinition) -> ContractAsset | None:
    """What ``@contract_asset`` was given for this asset, if that made it."""
    if not assets_def.is_executable or not isinstance(assets_def.node_def, dg.OpDefinition):
        return None
    # The decorated function is the one thing that every copy of an AssetsDefinition still carries
    # (load_assets_from_modules, key prefixes and map_asset_specs all make copies).
    compute = assets_def.node_def.compute_fn
    function = getattr(compute, "decorated_fn", None)
    declaration = getattr(function, _DECLARATION, None)
    return declaration if isinstance(declaration, ContractAsset) else None


def build_contract_asset(
    assets_def: dg.AssetsDefinition,
    declaration: ContractAsset,
    binding: Binding,
    *,
    open_runtime: Callable[[], ContractsRuntime],
    translator: ContractTranslator,
    references: References,
) -> dg.AssetsDefinition:
    """The asset itself: the user's function, audited, with the checks of its contract.

    Key, group, tags and inputs are taken from ``assets_def``, which may have been given others
    since it was declared.
    """
    spec = assets_def.get_asset_spec(assets_def.key)
    options = dict(declaration.options)
    # What the asset brought as a resource has become one of the definitions.
    for replaced in ("name", "key_prefix", "key", "io_manager_def", "resource_defs"):
        options.pop(replaced, None)
    given_ins = options.pop("ins", None) or {}
    inputs = dict(assets_def.keys_by_input_name)
    named = set(inspect.signature(declaration.function).parameters)
    ins = {
        name: _with_key(given_ins.get(name), key) for name, key in inputs.items() if name in named
    }
    read = {given.key for given in ins.values()}
    options |= {
        "key": spec.key,
        "ins": ins,
        "deps": [dep for dep in spec.deps if dep.asset_key not in read],
        "io_manager_key": assets_def.get_io_manager_key_for_asset_key(spec.key),
        "group_name": spec.group_name,
        "tags": dict(spec.tags),
        "metadata": dict(spec.metadata),
        "owners": list(spec.owners) or None,
        "description": spec.description,
        "automation_condition": spec.automation_condition,
        "required_resource_keys": set(options.get("required_resource_keys") or ())
        | {RESOURCE_KEY}
        | references.resource_keys(binding),
        "check_specs": build_check_specs(binding, blocking=binding.blocks),
    }
    # Kinds are stored as tags, which the spec already carries.
    options.pop("kinds", None)
    if spec.freshness_policy is not None:
        options["freshness_policy"] = spec.freshness_policy
    if binding.skips:
        options["output_required"] = False
    audited = _audited(
        declaration.function,
        binding,
        open_runtime,
        translator,
        references,
        skips=binding.skips,
    )
    made: dg.AssetsDefinition = dg.asset(**options)(audited)
    return made


def _with_key(given: Any, key: dg.AssetKey) -> dg.AssetIn:
    if not isinstance(given, dg.AssetIn):
        return dg.AssetIn(key=key)
    return given._replace(key=key, key_prefix=None)


def _like(function: F, replacement: F) -> F:
    """``replacement`` with the signature of ``function``, but for the return annotation.

    Dagster reads the return annotation of an asset with check results as a tuple of outputs.
    """
    shaped = functools.wraps(function)(replacement)
    try:
        # Dagster reads annotations as they stand; those that are strings are resolved for it.
        signature = inspect.signature(function, eval_str=True)
    except NameError:
        signature = inspect.signature(function)
    shaped.__signature__ = signature.replace(  # type: ignore[attr-defined]
        return_annotation=inspect.Signature.empty
    )
    shaped.__annotations__ = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if parameter.annotation is not inspect.Parameter.empty
    }
    return shaped


def _audited(
    function: F,
    binding: Binding,
    open_runtime: Callable[[], ContractsRuntime],
    translator: ContractTranslator,
    references: References,
    *,
    skips: bool,
) -> F:
    """``function``, whose result is judged and becomes a materialization with check results."""

    def judge(result: Any) -> Iterator[Any]:
        context = dg.AssetExecutionContext.get()
        _refuse_unswitched(context, binding)
        value, metadata, tags, data_version = _unpacked(result)
        runtime = open_runtime()
        # A run for one partition may also make assets that have none.
        step = step_of_asset(context)
        partitions = step.partitions
        batches, together = _batches(value, partitions)
        evaluations = {
            partition: evaluate_batch(
                runtime,
                binding,
                batch,
                run_id=context.run.run_id,
                partition=partition,
                tags=context.run.tags,
                references=references.load(binding, context, batch, partition),
                published=False,
                together=together,
            )
            for partition, batch in batches.items()
        }
        checks = first_failures(
            check
            for evaluation in evaluations.values()
            for check in build_check_results(
                binding,
                evaluation.report,
                circuit=evaluation.circuit,
                history=circuit_history(runtime.breaker, evaluation.circuit),
                translator=translator,
                in_op=True,
            )
        )
        refused = {p: e for p, e in evaluations.items() if e.refused}
        # What is stored, and its marks in the ledger, stay as they are where a batch is put aside.
        runtime.attempts.of(step).refused = {
            (binding.asset, partition) for partition in (together if refused else ()) or refused
        }
        for partition, evaluation in refused.items():
            where = f" [{partition}]" if partition else ""
            context.log.warning(
                f"{binding.asset}{where} refused its batch: {evaluation.explanation}"
            )
        if refused and len(refused) == len(evaluations) and skips:
            yield from checks
            return
        if not _is_by_partition(value, partitions):
            (judged,) = evaluations.values()
            said = {**judged.metadata(), **_refusal(judged, whole=not together)}
        else:
            value = {p: batch for p, batch in batches.items() if p not in refused}
            # Of each partition its own materialization tells; the output as a whole only whether
            # there is anything to store.
            said = {} if value else {QUARANTINED: True}
            for partition, evaluation in evaluations.items():
                told = {**evaluation.metadata(), **_refusal(evaluation)}
                tell_materialization(context, (binding.asset, partition), told)
        yield dg.MaterializeResult(
            value=value,
            metadata={**metadata, **said},
            check_results=checks,
            tags=tags,
            data_version=data_version,
        )

    def released() -> dg.MaterializeResult[Any] | None:
        context = dg.AssetExecutionContext.get()
        return published_batch(context, binding, open_runtime, translator)

    if inspect.iscoroutinefunction(function):

        async def run_async(*args: Any, **kwargs: Any) -> Any:
            if (instead := released()) is not None:
                yield instead
                return
            for event in judge(await function(*args, **kwargs)):
                yield event

        return _like(function, run_async)

    def run(*args: Any, **kwargs: Any) -> Iterator[Any]:
        if (instead := released()) is not None:
            yield instead
            return
        result = function(*args, **kwargs)
        if inspect.isgenerator(result):
            *others, result = list(result) or [None]
            yield from others
        yield from judge(result)

    return _like(function, run)


def _refuse_unswitched(context: dg.AssetExecutionContext, binding: Binding) -> None:
    """Raise where a refused batch would be stored all the same, before anything is recorded."""
    stores = stores_with(context, binding.asset_key)
    if not isinstance(stores, ContractIOManager):
        raise WiringError(
            f"{binding.asset} would be stored by {type(stores).__name__}, whatever its contract "
            "says",
            where=binding.contract.ref,
            why="its I/O manager was replaced after with_contracts(), which had put the circuit "
            "before it",
            hint="give the I/O manager to the Definitions, or to the asset, before with_contracts; "
            "to materialize() give the resources of the definitions that it returned",
        )


def _batches(
    value: Any, partitions: Sequence[str | None]
) -> tuple[dict[str | None, Any], tuple[str, ...]]:
    """The batches to judge, by partition; and the partitions that come together as one batch.

    A run over a range returns a dictionary by partition, or one table for all of them.
    """
    if _is_by_partition(value, partitions):
        return {str(partition): batch for partition, batch in value.items()}, ()
    if len(partitions) == 1:
        return {partitions[0]: value}, ()
    return {None: value}, tuple(partition for partition in partitions if partition is not None)


def _is_by_partition(value: Any, partitions: Sequence[str | None]) -> bool:
    return isinstance(value, Mapping) and bool(value) and set(value) <= set(partitions)


def _refusal(evaluation: BatchEvaluation, *, whole: bool = True) -> dict[str, Any]:
    if not evaluation.refused:
        return {"contract/published": True}
    batch = evaluation.quarantined
    # A batch of several partitions stands for none of them alone.
    aside = {QUARANTINED: batch} if whole and batch is not None else {QUARANTINED: True}
    return {
        **aside,
        **({} if whole else {"contract/quarantined_range": batch}),
        "contract/published": False,
        "contract/refused_because": evaluation.explanation,
    }


def _unpacked(result: Any) -> tuple[Any, dict[str, Any], Any, Any]:
    """Value, metadata, tags and data version of whatever an asset may return."""
    if isinstance(result, dg.MaterializeResult):
        return result.value, dict(result.metadata or {}), result.tags, result.data_version
    if isinstance(result, dg.Output):
        return result.value, dict(result.metadata or {}), result.tags, result.data_version
    return result, {}, None, None
