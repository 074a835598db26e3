"""What of a contracts folder can be read, where not all of it can."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from dagster_contracts.core.contract import Contract
from dagster_contracts.core.reference import Version
from dagster_contracts.documents.document import expected_of
from dagster_contracts.documents.folder import ContractFolder, read_documents, version_conflict
from dagster_contracts.documents.problem import as_error
from dagster_contracts.errors import ContractsError


@dataclass(frozen=True, slots=True)
class ReadableFolder:
    """The contracts that can be read whole, and an error for each file that is ``broken``.

    A contract one of whose files is broken is left out with all its versions: a version is judged
    by those beside it. Of a broken file that does not stand in the folder of a contract nobody
    knows whose it is.
    """

    folder: ContractFolder
    broken: tuple[ContractsError, ...] = ()


def read_readable(root: str | Path, *, allowed_env: Collection[str] = ()) -> ReadableFolder:
    """Read what can be read below ``root``.

    Raises :class:`DocumentError` only where the folder itself is missing.
    """
    place = Path(root)
    found: dict[tuple[str, Version], Contract] = {}
    broken: list[ContractsError] = []
    left_out: set[str | None] = set()
    for document in read_documents(place, allowed_env=allowed_env):
        contract = document.contract
        if contract is None or document.errors:
            broken.append(as_error(document.errors))
            left_out.add(expected_of(Path(document.path), place).name)
            continue
        first = found.setdefault((contract.name, Version.parse(contract.version)), contract)
        if first is not contract:
            broken.append(version_conflict(first, contract))
            left_out.add(contract.name)
    whole = [contract for contract in found.values() if contract.name not in left_out]
    return ReadableFolder(ContractFolder(whole, root=place), tuple(broken))
