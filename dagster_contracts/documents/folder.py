"""The contract store on disk: every version of every contract, found by reference.

Two layouts, mixed at will: ``contracts/<name>/<version>.yaml``, where the place gives name and
version, and flat files anywhere below the root, which carry both (a version that is not written is
``1.0.0``).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from dagster_contracts.core.contract import Contract, ContractStatus
from dagster_contracts.core.near_names import meant_one_of, near_names
from dagster_contracts.core.reference import ContractRef, Version
from dagster_contracts.documents.document import ENDINGS, Document, read_document
from dagster_contracts.documents.fallback_graph import find_cycles
from dagster_contracts.documents.problem import Findings, Problem, as_error
from dagster_contracts.errors import (
    DocumentError,
    SourceLocation,
    UnknownContractError,
    VersionConflictError,
)


def load_contract(
    path: str | Path, *, text: str | None = None, allowed_env: Collection[str] = ()
) -> Contract:
    """Read one contract; raise :class:`DocumentError` with ``file:line:column`` for its mistakes.

    ``text`` is read in place of the file, as if it stood at ``path``.
    """
    document = read_document(Path(path), text=text, allowed_env=allowed_env)
    if document.contract is None:
        raise as_error(document.errors)
    return document.contract


def read_folder(root: str | Path, *, allowed_env: Collection[str] = ()) -> ContractFolder:
    """Read every contract below ``root``.

    Raises :class:`DocumentError` where the folder is missing, a document has mistakes (the first,
    and a list of the others) or fallbacks go in a circle; :class:`VersionConflictError` where two
    files carry the same version.
    """
    folder = Path(root)
    documents = tuple(read_documents(folder, allowed_env=allowed_env))
    errors = tuple(problem for document in documents for problem in document.errors)
    if errors:
        raise as_error(errors)
    warnings = [problem for document in documents for problem in document.problems]
    if not documents:
        findings = Findings()
        findings.warning(
            SourceLocation(str(folder)),
            "empty-folder",
            "the contracts' folder holds no contract",
            "put one there as <name>/<version>.yaml",
        )
        warnings += findings
    contracts = [document.contract for document in documents if document.contract is not None]
    found = ContractFolder(contracts, root=folder, warnings=tuple(warnings))
    for contract, level, path in find_cycles(contracts):
        raise DocumentError(
            f"the fallbacks go in a circle: {path}",
            where=level.location or contract.location,
            why="if all of them are open, none can serve",
            hint="let one of them fall back on last_valid or on a source outside of the circle",
        )
    return found


def read_documents(root: Path, *, allowed_env: Collection[str] = ()) -> Iterator[Document]:
    """Every document below ``root`` with what is wrong with it, in the order of the paths."""
    if not root.is_dir():
        what = "is a file and no folder" if root.exists() else "does not exist"
        raise DocumentError(
            f"the contracts' folder {what}",
            where=SourceLocation(str(root)),
            why=f"it is looked for at {root.absolute()}",
            hint=meant_one_of(near_names(root.name, _folders_beside(root), count=1))
            or "create it, or give the resource's path relative to the code location's root",
        )
    for path in contract_files(root):
        yield read_document(path, root=root, allowed_env=allowed_env)


def contract_files(root: Path) -> Iterator[Path]:
    """The YAML files below ``root``, sorted; what begins with a dot is passed over."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(ENDINGS) and not name.startswith("."):
                yield Path(folder) / name


def _folders_beside(root: Path) -> list[str]:
    try:
        return [entry.name for entry in root.absolute().parent.iterdir() if entry.is_dir()]
    except OSError:
        return []


class ContractFolder:
    """All versions of all contracts, looked up by name and version or by reference."""

    def __init__(
        self,
        contracts: Collection[Contract],
        *,
        root: Path | None = None,
        warnings: tuple[Problem, ...] = (),
    ) -> None:
        self.root = root
        self.warnings = warnings
        found: dict[str, dict[Version, Contract]] = {}
        for contract in contracts:
            versions = found.setdefault(contract.name, {})
            version = Version.parse(contract.version)
            if version in versions:
                raise version_conflict(versions[version], contract)
            versions[version] = contract
        self._contracts: Mapping[str, Mapping[Version, Contract]] = {
            name: dict(sorted(versions.items())) for name, versions in sorted(found.items())
        }

    def __iter__(self) -> Iterator[Contract]:
        """Every version of every contract, by name and then from the lowest version up."""
        for versions in self._contracts.values():
            yield from versions.values()

    def __len__(self) -> int:
        return sum(len(versions) for versions in self._contracts.values())

    def names(self) -> tuple[str, ...]:
        """The names of all contracts, sorted."""
        return tuple(self._contracts)

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions of one contract, ascending."""
        return tuple(version.text for version in self._named(name, name))

    def get(self, name: str, version: str) -> Contract:
        """One version of one contract."""
        return self.resolve(f"{name}@{version}") if version else self.resolve(name)

    def resolve(self, ref: str) -> Contract:
        """The contract that answers to ``ref``: the highest active version, else the highest."""
        wanted = ContractRef.parse(ref)
        versions = self._named(wanted.name, ref)
        matching = {v.text: c for v, c in versions.items() if wanted.matches(v)}
        if wanted.requirement is not None and not matching:
            # "1.2" names a range and, where a document carries just that, a version.
            matching = {v.text: c for v, c in versions.items() if v.text == wanted.requirement}
        active = [v for v, c in matching.items() if c.status is ContractStatus.ACTIVE]
        chosen = wanted.select(active) or wanted.select(matching) or next(iter(matching), None)
        if chosen is None:
            existing = ", ".join(version.text for version in reversed(list(versions)))
            raise UnknownContractError(
                f"no version of {wanted.name!r} answers to {ref!r}",
                where=self._where(),
                why=f"it has {existing}",
                hint=f"ask for {wanted.name}@^{list(versions)[-1].text}",
            )
        return matching[chosen]

    def _named(self, name: str, ref: str) -> Mapping[Version, Contract]:
        versions = self._contracts.get(name)
        if versions is None:
            near = near_names(name, self._contracts)
            if near:
                hint = meant_one_of(near)
            elif self._contracts:
                hint = "known: " + ", ".join(list(self._contracts)[:20])
            else:
                hint = "the folder holds no contract at all"
            raise UnknownContractError(
                f"there is no contract {name!r}"
                + (f" (asked for as {ref!r})" if ref != name else ""),
                where=self._where(),
                hint=hint,
            )
        return versions

    def _where(self) -> SourceLocation | None:
        return SourceLocation(str(self.root)) if self.root is not None else None


def version_conflict(first: Contract, second: Contract) -> VersionConflictError:
    """The error for two documents that carry the same version of the same contract."""
    return VersionConflictError(
        f"two documents carry {second.ref}",
        where=second.location,
        why=f"the other one is {first.location}",
        hint="raise the version of the newer one, or remove one of the two",
    )
