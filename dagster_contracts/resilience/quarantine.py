"""Quarantine: refused batches, kept with the report that refused them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.core.contract import Json
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.store.database import Store

if TYPE_CHECKING:
    import pyarrow as pa


class QuarantineState(StrEnum):
    """Where a refused batch stands."""

    HELD = "held"
    RELEASED = "released"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedBatch:
    """One refused batch and the report (as JSON) that refused it."""

    id: int
    contract: str
    contract_version: str
    asset: str
    partition: str | None
    evaluation_id: str
    run_id: str | None
    state: QuarantineState
    kind: str
    sha256: str
    schema_sha256: str
    rows: int
    bytes: int
    report: Mapping[str, Json]
    held_at: datetime
    decided_at: datetime | None = None
    decided_by: str | None = None
    decision_reason: str | None = None


class Quarantine:
    """Refused batches of a store, their files under ``root``."""

    def __init__(
        self, store: Store, root: Path, *, checkpoint: Callable[[str], None] = lambda name: None
    ) -> None:
        self._store = store

    def put(
        self, key: CircuitKey, table: pa.Table, report: ContractReport, *, kind: str = "pyarrow", run_id: str | None = None
    ) -> QuarantinedBatch:
        """Keep a refused batch; the same evaluation is kept once."""
        raise NotImplementedError

    def list(self, *, contract: str | None = None, state: QuarantineState | None = QuarantineState.HELD) -> tuple[QuarantinedBatch, ...]:
        """Batches, newest first."""
        raise NotImplementedError

    def get(self, batch_id: int) -> QuarantinedBatch:
        """One batch; ``StoreError`` where there is none of that id."""
        raise NotImplementedError

    def load(self, batch_id: int) -> pa.Table:
        """Its rows, verified; ``FallbackError`` where the file is gone or torn."""
        raise NotImplementedError

    def release(self, batch_id: int, *, actor: str, reason: str) -> pa.Table:
        """Let the batch go: verified and handed to the caller, who publishes it; audited."""
        raise NotImplementedError

    def drop(self, batch_id: int, *, actor: str, reason: str) -> QuarantinedBatch:
        """Throw the batch away; its report and the decision stay."""
        raise NotImplementedError
