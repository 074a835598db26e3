"""Unhealed: why what was built on a fallback has not been built anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dagster_contracts.store.columns import PlainText, UtcTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Room in the ledger for the reason, and for since when it stands."""
    reads = "dagster_contracts_degraded_reads"
    op.add_column(reads, sa.Column("unhealed_because", PlainText, nullable=True))
    op.add_column(reads, sa.Column("unhealed_since", UtcTime, nullable=True))
