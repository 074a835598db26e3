"""Which contract governs which asset: decided once, when the code location loads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from dagster_contracts.core.checks import CheckPlan, plan_checks
from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.core.condition import metrics_of
from dagster_contracts.core.contract import (
    Contract,
    ContractStatus,
    OnExhausted,
    Resilience,
    SchemaObject,
    SourceKind,
)
from dagster_contracts.core.metrics import FAILED_RATIO
from dagster_contracts.core.near_names import near_name
from dagster_contracts.documents.folder import ContractFolder
from dagster_contracts.errors import WiringError
from dagster_contracts.orchestration.translator import ContractTranslator
from dagster_contracts.resilience.breaker import circuit_key

CIRCUIT_CHECK = "circuit"


@dataclass(frozen=True)
class Binding:
    """One contract version on one asset."""

    contract: Contract
    schema_object: SchemaObject
    asset_key: dg.AssetKey
    plan: CheckPlan
    audited: bool = False
    """Whether a batch is judged before it is published (``@contract_asset``)."""

    @property
    def asset(self) -> str:
        """The asset's key as text, which is how state is stored."""
        return self.asset_key.to_user_string()

    @property
    def protects(self) -> bool:
        """Whether consumers read this asset through a circuit."""
        return self.contract.resilience is not None

    @property
    def resilience(self) -> Resilience:
        """The contract's resilience section; ``WiringError`` where it has none."""
        if self.contract.resilience is None:
            raise WiringError("the contract has no resilience section", where=self.contract.ref)
        return self.contract.resilience

    @property
    def keeps_last_valid(self) -> bool:
        """Whether a fallback is the last batch that passed, so that such batches are kept."""
        resilience = self.contract.resilience
        return resilience is not None and any(
            level.source.kind is SourceKind.LAST_VALID for level in resilience.levels
        )

    @property
    def blocks(self) -> bool:
        """Whether a failed check stops the run.

        A contract with a fallback must let the run go on, because the downstream steps are where
        the fallback is read; without one, stopping is the only protection.
        """
        return not self.contract.has_fallback and not self.skips

    @property
    def skips(self) -> bool:
        """Whether consumers without anything to read are to be skipped and not failed."""
        resilience = self.contract.resilience
        return (
            resilience is not None
            and not resilience.fallbacks
            and resilience.on_exhausted is OnExhausted.SKIP
        )

    def circuit_key(self, partition: str | None = None) -> CircuitKey:
        """The circuit that an evaluation or a read of ``partition`` concerns."""
        return circuit_key(self.contract, self.asset, partition)


@dataclass(frozen=True)
class Bindings:
    """Every binding of a code location."""

    by_asset: Mapping[dg.AssetKey, Binding]
    warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Binding]:
        return iter(self.by_asset.values())

    def __len__(self) -> int:
        return len(self.by_asset)

    @cached_property
    def protected(self) -> Mapping[tuple[str, str], Binding]:
        """The bindings with a circuit, by contract and asset."""
        return {(b.contract.name, b.asset): b for b in self if b.protects}

    @cached_property
    def watched_checks(self) -> Mapping[dg.AssetCheckKey, Binding]:
        """The checks whose results count for a circuit, whoever reports them."""
        return {
            dg.AssetCheckKey(binding.asset_key, name): binding
            for binding in self
            if binding.protects
            for name in _watched(binding)
        }

    @cached_property
    def acting(self) -> tuple[Binding, ...]:
        """The bindings whose contracts ask for corrective actions."""
        return tuple(binding for binding in self if binding.contract.monitoring.actions)

    @cached_property
    def versions(self) -> str:
        """Changes when any contract with a circuit does."""
        hashes = sorted(f"{b.asset}={b.contract.semantic_hash}" for b in self.protected.values())
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]

    def get(self, key: dg.AssetKey) -> Binding | None:
        """The binding of an asset, if a contract governs it."""
        return self.by_asset.get(key)

    def named(self, contract: str) -> tuple[Binding, ...]:
        """The bindings of one contract (several where it has several schema objects)."""
        return tuple(b for b in self.by_asset.values() if b.contract.name == contract)

    def asset_of(self, name: str, translator: ContractTranslator) -> dg.AssetKey:
        """The asset that a fallback source names: a contract's asset, or an asset by its key."""
        for binding in self.by_asset.values():
            if binding.contract.name == name:
                return binding.asset_key
        return translator.get_asset_key(name)


def _watched(binding: Binding) -> set[str]:
    resilience = binding.resilience
    conditions = [
        *resilience.circuit.open_when,
        *resilience.circuit.close_when,
        *(c for level in resilience.levels for c in level.activation_conditions),
    ]
    named = {
        metric.removeprefix(FAILED_RATIO).partition(".")[0]
        for condition in conditions
        for metric in metrics_of(condition)
        if metric.startswith(FAILED_RATIO)
    }
    return {check.name for check in binding.plan.checks} | named - {CIRCUIT_CHECK}


def bind_contracts(
    folder: ContractFolder,
    *,
    asset_keys: Iterable[dg.AssetKey],
    declared: Mapping[dg.AssetKey, str],
    translator: ContractTranslator,
    strict: bool = False,
) -> Bindings:
    """Match contracts with assets.

    ``declared`` are the references of ``@contract_asset``; every other contract finds its asset by
    :meth:`Contract.asset_names`. A contract without an asset here is a warning (another code
    location may have it), and a :class:`WiringError` with ``strict``.
    """
    keys = tuple(asset_keys)
    bound: dict[dg.AssetKey, Binding] = {}
    warnings: list[str] = []
    declared_contracts: set[str] = set()
    for key, reference in declared.items():
        contract = folder.resolve(reference)
        declared_contracts.add(contract.name)
        bound[key] = _binding(contract, _object_for(contract, key, translator), key, audited=True)
    for name in folder.names():
        if name in declared_contracts and len(folder.resolve(name).objects) == 1:
            continue
        contract = folder.resolve(name)
        if contract.status is ContractStatus.RETIRED:
            continue
        for schema_object in contract.objects:
            found = _find_asset(contract, schema_object, keys, translator)
            if found is None:
                message = _no_asset(contract, schema_object, keys)
                if strict:
                    raise WiringError(
                        message,
                        where=contract.location,
                        hint="name the asset with `asset:`, or load with strict=False",
                    )
                warnings.append(message)
                continue
            if found in declared:
                continue
            other = bound.get(found)
            if other is not None:
                raise WiringError(
                    f"two contracts govern the asset {found.to_user_string()}: "
                    f"{other.contract.ref} and {contract.ref}",
                    where=contract.location,
                    hint="one asset has one contract: name the other one's asset with `asset:`",
                )
            bound[found] = _binding(contract, schema_object, found, audited=False)
    return Bindings(bound, tuple(warnings))


def _binding(
    contract: Contract, schema_object: SchemaObject, key: dg.AssetKey, *, audited: bool
) -> Binding:
    plan = plan_checks(contract, schema_object)
    if any(check.name == CIRCUIT_CHECK for check in plan.checks):
        raise WiringError(
            f"a rule of {contract.ref} is named {CIRCUIT_CHECK!r}",
            where=contract.location,
            why="the check of that name shows the state of the circuit",
            hint="give the rule another name",
        )
    return Binding(contract, schema_object, key, plan, audited)


def _object_for(
    contract: Contract, key: dg.AssetKey, translator: ContractTranslator
) -> SchemaObject:
    for schema_object in contract.objects:
        if any(translator.get_asset_key(n) == key for n in contract.asset_names(schema_object)):
            return schema_object
    if len(contract.objects) == 1:
        return contract.objects[0]
    raise WiringError(
        f"{contract.ref} has {len(contract.objects)} schema objects and none names the asset "
        f"{key.to_user_string()}",
        where=contract.location,
        hint="map each object to its asset with the custom property `asset`",
    )


def _find_asset(
    contract: Contract,
    schema_object: SchemaObject,
    keys: tuple[dg.AssetKey, ...],
    translator: ContractTranslator,
) -> dg.AssetKey | None:
    for name in contract.asset_names(schema_object):
        wanted = translator.get_asset_key(name)
        if wanted in keys:
            return wanted
        ending = [key for key in keys if key.path[-1] == name]
        if len(ending) == 1:
            return ending[0]
    return None


def _no_asset(
    contract: Contract, schema_object: SchemaObject, keys: tuple[dg.AssetKey, ...]
) -> str:
    names = contract.asset_names(schema_object)
    nearest = near_name(names[0], (key.to_user_string() for key in keys))
    hint = f"; the nearest is {nearest!r}" if nearest else ""
    wanted = " or ".join(repr(name) for name in names)
    return f"no asset {wanted} here for the contract {contract.ref}{hint}"
