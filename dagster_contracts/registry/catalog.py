"""The contracts that are there now: the documents, with the registry's decisions applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import sqlalchemy as sa

from dagster_contracts.core.contract import Contract, ContractStatus
from dagster_contracts.core.reference import ContractRef
from dagster_contracts.documents.folder import ContractFolder
from dagster_contracts.store.tables import contract_versions

#: Which status answers first where a reference leaves the choice.
_PREFERENCE = (
    ContractStatus.ACTIVE,
    ContractStatus.DEPRECATED,
    ContractStatus.DRAFT,
    ContractStatus.PROPOSED,
    ContractStatus.RETIRED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A status that was decided through the registry; it wins over the document's."""

    status: ContractStatus
    until: date | None = None
    successor: str | None = None

    def applied_to(self, contract: Contract) -> Contract:
        """The contract with this status; the document's own later status stays."""
        if _LATENESS[contract.status] > _LATENESS[self.status]:
            return contract
        return replace(
            contract,
            status=self.status,
            deprecated_until=self.until or contract.deprecated_until,
            successor=self.successor or contract.successor,
        )


_LATENESS = {
    ContractStatus.PROPOSED: 0,
    ContractStatus.DRAFT: 1,
    ContractStatus.ACTIVE: 2,
    ContractStatus.DEPRECATED: 3,
    ContractStatus.RETIRED: 4,
}


def read_decisions(conn: sa.Connection) -> dict[tuple[str, str], Decision]:
    """Every decision in the store, by contract and version."""
    rows = conn.execute(
        sa.select(
            contract_versions.c.contract,
            contract_versions.c.version,
            contract_versions.c.decided_status,
            contract_versions.c.decided_until,
            contract_versions.c.decided_successor,
        ).where(contract_versions.c.decided_status.is_not(None))
    )
    return {
        (row.contract, row.version): Decision(
            status=ContractStatus(row.decided_status),
            until=date.fromisoformat(row.decided_until) if row.decided_until else None,
            successor=row.decided_successor,
        )
        for row in rows
    }


@dataclass(frozen=True, slots=True)
class Catalog:
    """One look at the folder and the decisions."""

    folder: ContractFolder
    decisions: Mapping[tuple[str, str], Decision]

    def get(self, name: str, version: str) -> Contract:
        """One version, with its status as it is now."""
        contract = self.folder.get(name, version)
        decision = self.decisions.get((name, version))
        return contract if decision is None else decision.applied_to(contract)

    def resolve(self, text: str) -> Contract:
        """The version that answers to a reference: active before deprecated, then the highest.

        Raises :class:`UnknownContractError` where none does.
        """
        ref = ContractRef.parse(text)
        decided = any(name == ref.name for name, _ in self.decisions)
        if not decided or ref.is_exact:
            # The folder says the same without decisions, and knows the words for what is missing.
            found = self.folder.resolve(text)
            return self.get(found.name, found.version)
        candidates = [
            self.get(ref.name, version)
            for version in self.folder.versions(ref.name)
            if ref.matches(version)
        ]
        for status in _PREFERENCE:
            best = ref.select(c.version for c in candidates if c.status is status)
            if best is not None:
                return next(c for c in candidates if c.version == best)
        return self.folder.resolve(text)
