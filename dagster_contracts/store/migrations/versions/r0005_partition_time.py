"""Partition time: the newest partition of an asset is found by an index."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from dagster_contracts.store.columns import JsonText, PlainText, UtcTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_AT_ONCE = 1_000


def upgrade() -> None:
    """When each partition begins, taken from the circuits that know it, and the index."""
    name = "dagster_contracts_circuits"
    op.add_column(name, sa.Column("partition_time", UtcTime, nullable=True))
    circuits = sa.table(
        name,
        sa.column("contract", PlainText),
        sa.column("asset", PlainText),
        sa.column("partition", PlainText),
        sa.column("body", JsonText),
        sa.column("partition_time", UtcTime),
    )
    conn = op.get_bind()
    mine = (
        circuits.c.contract == sa.bindparam("of_contract"),
        circuits.c.asset == sa.bindparam("of_asset"),
        circuits.c.partition == sa.bindparam("of_partition"),
    )
    rows = conn.execute(
        sa.select(circuits.c.contract, circuits.c.asset, circuits.c.partition, circuits.c.body)
        .where(circuits.c.partition != "")
        .execution_options(yield_per=_AT_ONCE)
    )
    known = [
        {
            "of_contract": row.contract,
            "of_asset": row.asset,
            "of_partition": row.partition,
            "partition_time": datetime.fromisoformat(row.body["partition_time"]),
        }
        for row in rows
        if row.body.get("partition_time")
    ]
    if known:
        conn.execute(sa.update(circuits).where(*mine), known)
    op.create_index(
        "ix_dagster_contracts_circuits_contract_asset_partition_time",
        name,
        ["contract", "asset", "partition_time"],
    )
