"""Published: refused batches that an operator declares right become the primary."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dagster_contracts.store.columns import PlainText, UtcTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Room in the quarantine for the runs that publish a batch, and for what is in their way."""
    batches = "dagster_contracts_quarantine"
    for column in (
        sa.Column("altered", PlainText, nullable=True),
        sa.Column("publish_resets", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("publish_attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("publish_asked_at", UtcTime, nullable=True),
        sa.Column("publish_run_id", PlainText, nullable=True),
        sa.Column("published_at", UtcTime, nullable=True),
        sa.Column("unpublished_because", PlainText, nullable=True),
    ):
        op.add_column(batches, column)
