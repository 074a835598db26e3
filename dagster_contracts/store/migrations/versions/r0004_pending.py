"""Pending: a read of a fallback whose run has not stored anything yet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Room in the ledger for it; what is there already was built."""
    pending = sa.Column("pending", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("dagster_contracts_degraded_reads", pending)
