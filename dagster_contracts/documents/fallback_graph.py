"""Which contract falls back on which: cycles are refused, because nobody would ever serve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

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
        if start not in done:
            found += _cycles_from(start, governed, current, done)
    return found


def _cycles_from(
    start: str, governed: Mapping[str, str], current: Mapping[str, Contract], done: set[str]
) -> Iterator[tuple[Contract, FallbackLevel, str]]:
    """Depth first, with a stack of its own: a chain may be longer than Python's recursion."""
    path = {start: None}  # in order, and looked up at once
    levels = [_levels(current[start])]
    while levels:
        for level in levels[-1]:
            target = governed.get(level.source.name)
            if target in path:
                names = list(path)
                circle = [*names[names.index(target) :], target]
                yield current[names[-1]], level, " -> ".join(circle)
            elif target is not None and target not in done:
                path[target] = None
                levels.append(_levels(current[target]))
                break
        else:
            levels.pop()
            done.add(path.popitem()[0])


def _levels(contract: Contract) -> Iterator[FallbackLevel]:
    """The fallbacks that read an asset."""
    for level in contract.resilience.fallbacks if contract.resilience else ():
        if level.source.kind is SourceKind.ASSET:
            yield level


def _current(contracts: Iterable[Contract]) -> dict[str, Contract]:
    best: dict[str, Contract] = {}
    for contract in contracts:
        other = best.get(contract.name)
        if other is None or _rank(contract) > _rank(other):
            best[contract.name] = contract
    return best


def _rank(contract: Contract) -> tuple[bool, Version]:
    return contract.status is ContractStatus.ACTIVE, Version.parse(contract.version)
