"""Which circuits there can be: a decision about any other would seem to succeed, and do nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dagster_contracts.core.circuit import Circuit, CircuitKey
from dagster_contracts.core.contract import CircuitScope, Contract
from dagster_contracts.core.near_names import did_you_mean
from dagster_contracts.errors import PolicyError


@dataclass(frozen=True, slots=True)
class Governed:
    """The assets that a contract is known to govern; ``scope`` ``None`` is not known."""

    assets: frozenset[str]
    scope: CircuitScope | None = None

    @classmethod
    def by(cls, contract: Contract, *, also: Iterable[str] = ()) -> Governed:
        """As the contract itself says, and what else is known of it."""
        named = (name for each in contract.objects for name in contract.asset_names(each))
        policy = contract.resilience.circuit if contract.resilience is not None else None
        return cls(frozenset({*named, *also}), policy.scope if policy is not None else None)


def why_unasked(circuit: Circuit, contracts: Mapping[str, Contract]) -> str | None:
    """Why no consumer asks a recorded circuit, by the contracts there are; ``None`` where one may.

    What was evaluated of an asset proves that its contract governs it, by whatever name.
    """
    key = circuit.key
    contract = contracts.get(key.contract)
    if contract is None:
        return f"there is no contract {key.contract}"
    if contract.resilience is None:
        return f"{contract.ref} has no circuit"
    found = Governed.by(contract, also=(key.asset,) if circuit.evaluations else ())
    if key.asset not in found.assets:
        return f"{contract.ref} does not govern {key.asset}"
    if found.scope is CircuitScope.ASSET and key.partition is not None:
        return f"{contract.ref} has one circuit for all partitions"
    return None


def require_circuit(key: CircuitKey, governed: Mapping[str, Governed]) -> None:
    """``PolicyError`` where no consumer would ever ask for such a circuit."""
    if key.contract not in governed:
        raise PolicyError(
            f"{key.contract!r} is no contract with a circuit here",
            where=str(key),
            why=f"contracts with a circuit: {_listed(governed)}",
            hint=did_you_mean(key.contract, governed) or "name one of those",
        )
    found = governed[key.contract]
    require_asset(key.contract, key.asset, found.assets)
    require_scope(key, found.scope)


def require_asset(contract: str, asset: str, assets: Collection[str]) -> None:
    """``PolicyError`` where the contract does not govern the asset."""
    if asset in assets:
        return
    raise PolicyError(
        f"{contract} does not govern {asset!r}, as far as is known here",
        why=f"its assets are: {_listed(assets)}",
        hint=did_you_mean(asset, assets)
        or "an asset is known from the contract's document, or once it was evaluated",
    )


def require_scope(key: CircuitKey, scope: CircuitScope | None) -> None:
    """``PolicyError`` where a partition is named of an asset that has one circuit for all."""
    if scope is CircuitScope.ASSET and key.partition is not None:
        raise PolicyError(
            f"{key.asset} has one circuit for all its partitions",
            where=key.contract,
            why="its contract has scope: asset, and nobody asks for a circuit of one partition",
            hint="name no partition, or declare circuit_breaker.scope: partition",
        )


def no_partition(key: CircuitKey, known: Iterable[str]) -> PolicyError:
    """The error for a partition that does not exist; ``known`` are those that do, oldest first."""
    names = list(known)
    return PolicyError(
        f"{key.asset} has no partition {key.partition!r}",
        where=str(key),
        why=f"its partitions: {_newest(names)}",
        hint=did_you_mean(key.partition or "", names) or "name one of those, or none for all",
    )


def require_evaluated(key: CircuitKey, recorded: Iterable[Circuit], *, hint: str) -> None:
    """``PolicyError`` where nothing was ever evaluated of the partition.

    Where no definitions are at hand this is all that tells whether there is such a partition.
    """
    known = sorted(c.key for c in recorded if c.evaluations and c.key.partition is not None)
    names = [k.partition or "" for k in known if (k.contract, k.asset) == (key.contract, key.asset)]
    if key.partition in names:
        return
    near = did_you_mean(key.partition or "", names)
    raise PolicyError(
        f"nothing was ever evaluated of the partition {key.partition!r} of {key.asset}",
        where=str(key),
        why=f"partitions that were: {_newest(names)}",
        hint=f"{near} {hint[0].upper()}{hint[1:]}" if near else hint,
    )


def _newest(names: Sequence[str]) -> str:
    return f"{'... ' if len(names) > 5 else ''}{', '.join(names[-5:]) or 'none'}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none yet"
