"""The gate for new versions: judged against earlier ones, refused where the bump is too small."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from dagster_contracts.core.changes import Changes, Verdict, VersionBump
from dagster_contracts.core.compatibility import diff
from dagster_contracts.core.contract import Contract, ContractStatus, Protects
from dagster_contracts.core.reference import Version
from dagster_contracts.errors import IncompatibleChangeError

#: Versions that nobody was promised anything by.
UNPUBLISHED = (ContractStatus.PROPOSED, ContractStatus.DRAFT)


def check_version(contract: Contract, earlier: Sequence[Contract]) -> tuple[Changes, ...]:
    """Judge a version against the last of the earlier ones, or against all where it says so.

    Raises :class:`IncompatibleChangeError` where its version bump is too small.
    """
    judged = []
    for previous in compared_with(contract, earlier):
        changes = diff(previous, contract)
        judged.append(changes)
        if not changes.is_enough(contract.compatibility.protects):
            raise _incompatible(previous, contract, changes)
    return tuple(judged)


def compared_with(contract: Contract, earlier: Sequence[Contract]) -> Sequence[Contract]:
    """Those of the earlier versions that a version has to suit."""
    return earlier if contract.compatibility.transitive else earlier[-1:]


def earlier_versions(
    contract: Contract, siblings: Iterable[Contract], published: Collection[str]
) -> list[Contract]:
    """Published versions below this one, lowest first; ``published`` are the recorded ones.

    A file that merely stands in the folder promised nothing: a refused version must not become
    the measure of the next one. Where none below was recorded, the registry is new to the
    contract, and the folder's own history counts as far as this gate would have admitted it.
    """
    mine = Version.parse(contract.version)
    below = sorted(
        (other for other in siblings if Version.parse(other.version) < mine),
        key=lambda other: Version.parse(other.version),
    )
    recorded = [other for other in below if other.version in published]
    if recorded:
        return recorded
    admitted: list[Contract] = []
    for other in below:
        if other.status not in UNPUBLISHED and _is_admitted(other, admitted):
            admitted.append(other)
    return admitted


def _is_admitted(contract: Contract, earlier: Sequence[Contract]) -> bool:
    return all(
        diff(previous, contract).is_enough(contract.compatibility.protects)
        for previous in compared_with(contract, earlier)
    )


def _incompatible(
    previous: Contract, contract: Contract, changes: Changes
) -> IncompatibleChangeError:
    protects = contract.compatibility.protects
    needed = changes.needed_bump(protects)
    guilty = [
        change
        for change in changes.counted
        if change.bump >= needed
        or (protects is not Protects.CONSUMER and change.producer is Verdict.BREAKS)
    ]
    listed = "; ".join(change.message for change in guilty[:5])
    more = f"; and {len(guilty) - 5} more" if len(guilty) > 5 else ""
    declared = changes.declared_bump
    return IncompatibleChangeError(
        f"{contract.ref} needs a {needed} version after {previous.version}, "
        f"and it declares {declared if declared is not None else 'no version number'}",
        where=contract.location or contract.ref,
        why=f"it must suit every {protects} of {previous.version}: {listed}{more}"
        if protects is not Protects.FULL
        else f"it must suit producers and consumers of {previous.version}: {listed}{more}",
        hint=f"call it {next_version(previous.version, needed)}, or take the change back",
    )


def next_version(version: str, bump: VersionBump = VersionBump.PATCH) -> str:
    """The version that this bump leads to; ``1.0.0`` after what is no number."""
    return bump.after(Version.parse(version)) or "1.0.0"
