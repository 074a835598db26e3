"""Which versions of which contracts a diff puts side by side, and the verdict on each pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from dagster_contracts.core.changes import Change, Changes, Ignore, Motion, Verdict, VersionBump
from dagster_contracts.core.compatibility import diff
from dagster_contracts.core.contract import Contract, Json, Protects
from dagster_contracts.core.reference import Version
from dagster_contracts.documents.folder import ContractFolder
from dagster_contracts.registry.consumers import Consumer, Impact, declared_consumers, impact_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two versions of one contract, one of which may be missing, and what lies between them.

    ``protects`` are those whose breaking is a finding; ``None`` means anybody's.
    """

    name: str
    old: Contract | None
    new: Contract | None
    changes: Changes
    impacts: tuple[Impact, ...] = ()
    protects: Protects | None = None

    @property
    def policy(self) -> Protects:
        """Whom the version bump is judged for: what the call says, else the contract."""
        if self.protects is not None:
            return self.protects
        return self.new.compatibility.protects if self.new else Protects.CONSUMER

    @property
    def breaks(self) -> bool:
        """Whether somebody breaks who is to be protected."""
        consumer = self.changes.consumer is Verdict.BREAKS
        producer = self.changes.producer is Verdict.BREAKS
        match self.protects:
            case Protects.CONSUMER:
                return consumer
            case Protects.PRODUCER:
                return producer
            case Protects.FULL | None:
                return consumer or producer

    @property
    def needed(self) -> VersionBump:
        """The version bump that the changes need."""
        return self.changes.needed_bump(self.policy)

    @property
    def enough(self) -> bool:
        """Whether the version bump covers the changes; a first or last version has none."""
        if self.old is None or self.new is None:
            return True
        return self.changes.is_enough(self.policy)

    @property
    def good(self) -> bool:
        """Whether nobody who is protected breaks and the bump is large enough."""
        return self.enough and not self.breaks

    def ignoring(self, ignores: Iterable[Ignore], today: date) -> Comparison:
        """The same, with the changes that people agreed to marked and no longer counted."""
        return replace(self, changes=self.changes.ignoring(ignores, today))

    def to_json(self) -> dict[str, Json]:
        """The verdict, every change, and whom they concern."""
        return {
            **self.changes.to_json(),
            "needed_bump": str(self.needed),
            "ok": self.good,
            "consumers": [impact.to_json() for impact in self.impacts],
        }


def compare(old: Contract, new: Contract, *, protects: Protects | None = None) -> Comparison:
    """Two versions side by side, and what the change means to the consumers that they declare."""
    return Comparison(name=new.name, old=old, new=new, changes=diff(old, new), protects=protects)


def compare_folders(
    old: ContractFolder, new: ContractFolder, *, protects: Protects | None = None
) -> Iterator[Comparison]:
    """Every contract that differs: new versions against the one below, edited ones with themselves.

    A version that went away while its contract stays is no change: a flat file that carries the
    next version replaces it.
    """
    for name in sorted({*old.names(), *new.names()}):
        if name not in new.names():
            yield removed(old.resolve(name), protects)
            continue
        if name not in old.names():
            yield added(new.resolve(name), protects)
            continue
        for version in new.versions(name):
            after = new.get(name, version)
            for before in predecessors(after, old, new):
                if before.content_hash != after.content_hash:
                    yield compare(before, after, protects=protects)


def predecessors(
    contract: Contract, old: ContractFolder, new: ContractFolder
) -> tuple[Contract, ...]:
    """What a version is compared with: itself as it was, else the next lower one.

    All lower ones where the contract is ``transitive``; none where nothing is below it.
    """
    version = Version.parse(contract.version)
    before = _versions(old, contract.name)
    if version in before:
        return (before[version],)
    known = _versions(new, contract.name) | before
    lower = sorted(each for each in known if each < version)
    if not contract.compatibility.transitive:
        lower = lower[-1:]
    return tuple(known[each] for each in lower)


def predecessor(contract: Contract, old: ContractFolder) -> Contract:
    """The version in ``old`` to compare with one document: itself, the next lower, any other.

    ``UnknownContractError`` where ``old`` has no contract of that name.
    """
    found = predecessors(contract, old, old)
    return found[-1] if found else old.resolve(contract.name)


def with_impacts(comparison: Comparison, consumers: Iterable[Consumer]) -> Comparison:
    """The comparison with what it means to these consumers and to those that contracts declare."""
    old = comparison.old
    if old is None:
        return comparison
    known = {consumer.name: consumer for consumer in (*consumers, *declared_consumers(old))}
    return replace(comparison, impacts=impact_of(comparison.changes, known.values()))


def _versions(folder: ContractFolder, name: str) -> dict[Version, Contract]:
    if name not in folder.names():
        return {}
    return {Version.parse(text): folder.get(name, text) for text in folder.versions(name)}


def removed(contract: Contract, protects: Protects | None) -> Comparison:
    """A contract that is gone: whoever relied on it breaks."""
    change = Change(
        path=contract.name,
        kind="contract_removed",
        consumer=Verdict.BREAKS,
        producer=Verdict.FINE,
        bump=VersionBump.MAJOR,
        message=f"{contract.name} was removed: nobody keeps its promises any more",
        motion=Motion.REMOVED,
    )
    changes = Changes(contract.name, contract.version, "", (change,))
    return Comparison(
        name=contract.name, old=contract, new=None, changes=changes, protects=protects
    )


def added(contract: Contract, protects: Protects | None) -> Comparison:
    """A contract that was not there before: nobody can rely on it yet."""
    change = Change(
        path=contract.name,
        kind="contract_added",
        consumer=Verdict.FINE,
        producer=Verdict.FINE,
        bump=VersionBump.NONE,
        message=f"{contract.name} is new",
        motion=Motion.ADDED,
    )
    changes = Changes(contract.name, "", contract.version, (change,))
    return Comparison(
        name=contract.name, old=None, new=contract, changes=changes, protects=protects
    )
