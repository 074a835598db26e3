"""What the documents of the deployment say: which contracts exist."""

from __future__ import annotations

from dagster_contracts.cli.places import Places
from dagster_contracts.cli.sources import read_contracts
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.reference import ContractRef
from dagster_contracts.errors import WiringError


def declared_contracts(places: Places) -> tuple[Contract, ...]:
    """The contracts of the folder, one version each; none where only a store was named."""
    try:
        folder = read_contracts(places)
    except WiringError:
        return ()
    return tuple(folder.resolve(name) for name in folder.names())


def declared_versions(places: Places) -> tuple[Contract, ...]:
    """Every version of every contract of the folder; none where only a store was named."""
    try:
        return tuple(read_contracts(places))
    except WiringError:
        return ()


def check_known(places: Places, name: str) -> Contract | None:
    """The contract of that name.

    ``UnknownContractError`` with the nearest name where the folder has none; ``None`` where there
    is no folder to ask.
    """
    try:
        folder = read_contracts(places)
    except WiringError:
        return None
    return folder.resolve(name)


def known_name(places: Places, reference: str) -> str:
    """The name in ``orders`` or ``orders@^1``; circuits go by it, whatever the version.

    ``UnknownContractError`` where no version is as the reference wants it: a decision or a question
    about a version that does not exist is a mistake.
    """
    ref = ContractRef.parse(reference)
    if ref.requirement is not None:
        check_known(places, str(ref))
    return ref.name
