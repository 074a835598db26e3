"""Which contract falls back on which: cycles are refused, because nobody would ever serve."""

from __future__ import annotations

from collections.abc import Iterable

from dagster_contracts.core.contract import Contract, ContractStatus, FallbackLevel, SourceKind
from dagster_contracts.core.reference import Version


def find_cycles(contracts: Iterable[Contract]) -> list[tuple[Contract, FallbackLevel, str]]:
    """Every cycle once: the contract it is told at, the level that closes it, and the path.

    A level's source is another contract by its name or by the asset that it governs. Of each
    contract the version counts that a reference without one means.
    """
    current = _current(contracts)
    governed: dict[str, str] = {}
    for contract in current.values():
        for schema_object in contract.objects:
            for asset in contract.asset_names(schema_object):
                governed.setdefault(asset, contract.name)
    governed.update({name: name for name in current})
    found: list[tuple[Contract, FallbackLevel, str]] = []
    done: set[str] = set()
    for start in current:
        _follow(start, [], governed, current, done, found)
    return found


def _follow(
    name: str,
    path: list[str],
    governed: dict[str, str],
    current: dict[str, Contract],
    done: set[str],
    found: list[tuple[Contract, FallbackLevel, str]],
) -> None:
    if name in done:
        return
    path.append(name)
    contract = current[name]
    for level in contract.resilience.fallbacks if contract.resilience else ():
        if level.source.kind is not SourceKind.ASSET:
            continue
        target = governed.get(level.source.name)
        if target is None:
            continue
        if target in path:
            cycle = [*path[path.index(target) :], target]
            found.append((contract, level, " -> ".join(cycle)))
        else:
            _follow(target, path, governed, current, done, found)
    path.pop()
    done.add(name)


def _current(contracts: Iterable[Contract]) -> dict[str, Contract]:
    best: dict[str, Contract] = {}
    for contract in contracts:
        other = best.get(contract.name)
        if other is None or _rank(contract) > _rank(other):
            best[contract.name] = contract
    return best


def _rank(contract: Contract) -> tuple[bool, Version]:
    return contract.status is ContractStatus.ACTIVE, Version.parse(contract.version)
