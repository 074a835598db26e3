"""What a circuit's alert reaches: the rows that were refused, and who is downstream."""

from __future__ import annotations

import sqlalchemy as sa

from dagster_contracts.monitoring.news import News
from dagster_contracts.store.tables import consumers, observations

_MOST = 8


def detail_with_reach(conn: sa.Connection, news: News) -> str:
    """The detail of some news of a circuit, led by its rows and by its consumers; two queries."""
    told = [_rows(conn, news.evaluation_id), _downstream(conn, news), news.detail]
    return "\n".join(line for line in told if line)


def _rows(conn: sa.Connection, evaluation_id: str) -> str:
    if not evaluation_id:
        return ""
    row = conn.execute(
        sa.select(observations.c.rows, observations.c.run_id).filter_by(evaluation_id=evaluation_id)
    ).one_or_none()
    if row is None or row.rows is None:
        return ""
    run = f", run {row.run_id}" if row.run_id else ""
    return f"Batch: {row.rows:,} row{'' if row.rows == 1 else 's'}{run}."


def _downstream(conn: sa.Connection, news: News) -> str:
    names = conn.scalars(
        sa.select(consumers.c.consumer_asset)
        .where(
            consumers.c.contract == news.labels.contract,
            consumers.c.upstream_asset == news.labels.asset,
        )
        .distinct()
        .order_by(consumers.c.consumer_asset)
    ).all()
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return f"Downstream: {', '.join(names[:_MOST])}{more}." if names else ""
