"""Who is told of changes: subscriptions, and the consumers that the asset graph shows."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from dagster_contracts.core.contract import Contract
from dagster_contracts.registry.consumers import (
    Consumer,
    ConsumerEdge,
    ConsumerOrigin,
    declared_consumers,
)
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import consumers, subscriptions


class SubscriptionBook:
    """The subscriptions and consumer edges of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def subscribe(
        self,
        contract: str,
        subscriber: str,
        *,
        channels: Iterable[str] = (),
        columns: Iterable[str] = (),
        kinds: Iterable[str] = (),
    ) -> None:
        """Subscribe, or change a subscription; of the same subscriber there is one per contract."""
        key = {
            "contract": contract,
            "subscriber": subscriber,
            "origin": ConsumerOrigin.SUBSCRIBED.value,
        }
        with self._store.begin() as conn:
            self._store.lock(conn, f"subscription:{contract}")
            now = self._store.now(conn)
            conn.execute(sa.delete(subscriptions).filter_by(**key))
            conn.execute(
                sa.insert(subscriptions).values(
                    **key,
                    channels=list(channels),
                    columns=list(columns),
                    kinds=list(kinds),
                    created_at=now,
                )
            )

    def unsubscribe(self, contract: str, subscriber: str) -> bool:
        """End a subscription; False where there was none."""
        with self._store.begin() as conn:
            gone = conn.execute(
                sa.delete(subscriptions).filter_by(contract=contract, subscriber=subscriber)
            )
        return gone.rowcount > 0

    def replace_edges(self, edges: Iterable[ConsumerEdge], *, place: str) -> None:
        """Make ``edges`` all that the code location ``place`` reports; others keep theirs."""
        wanted = {(e.contract, e.upstream_asset, e.consumer_asset): e for e in edges}
        with self._store.read() as conn:
            known = _edges(conn, place)
        if known == wanted:
            return
        with self._store.begin() as conn:
            self._store.lock(conn, f"consumers:{place}")
            now = self._store.now(conn)
            conn.execute(sa.delete(consumers).where(consumers.c.place == place))
            for edge in wanted.values():
                conn.execute(
                    sa.insert(consumers).values(
                        place=place,
                        contract=edge.contract,
                        upstream_asset=edge.upstream_asset,
                        consumer_asset=edge.consumer_asset,
                        owners=list(edge.owners),
                        columns=list(edge.columns),
                        seen_at=now,
                    )
                )

    def consumers(
        self, contract: str, declared: Contract | None = None, conn: sa.Connection | None = None
    ) -> tuple[Consumer, ...]:
        """Everybody who consumes a contract: from the graph, declared in it, and subscribed."""
        if conn is None:
            with self._store.read() as opened:
                return self.consumers(contract, declared, opened)
        found: dict[tuple[ConsumerOrigin, str, str], Consumer] = {}
        for row in conn.execute(
            sa.select(consumers)
            .where(consumers.c.contract == contract)
            .order_by(consumers.c.consumer_asset, consumers.c.upstream_asset, consumers.c.place)
        ):
            key = (ConsumerOrigin.GRAPH, row.consumer_asset, row.upstream_asset)
            found.setdefault(
                key,
                Consumer(
                    contract=contract,
                    name=row.consumer_asset,
                    origin=ConsumerOrigin.GRAPH,
                    asset=row.consumer_asset,
                    upstream_asset=row.upstream_asset,
                    owners=tuple(row.owners),
                    columns=tuple(row.columns),
                ),
            )
        for each in declared_consumers(declared) if declared is not None else ():
            found[ConsumerOrigin.DECLARED, each.name, ""] = each
        for row in conn.execute(
            sa.select(subscriptions)
            .where(subscriptions.c.contract == contract)
            .order_by(subscriptions.c.subscriber)
        ):
            found[ConsumerOrigin.SUBSCRIBED, row.subscriber, ""] = Consumer(
                contract=contract,
                name=row.subscriber,
                origin=ConsumerOrigin.SUBSCRIBED,
                columns=tuple(row.columns),
                channels=tuple(row.channels),
                kinds=tuple(row.kinds),
            )
        return tuple(found.values())


def _edges(conn: sa.Connection, place: str) -> dict[tuple[str, str, str], ConsumerEdge]:
    rows = conn.execute(sa.select(consumers).where(consumers.c.place == place))
    return {
        (row.contract, row.upstream_asset, row.consumer_asset): ConsumerEdge(
            contract=row.contract,
            upstream_asset=row.upstream_asset,
            consumer_asset=row.consumer_asset,
            owners=tuple(row.owners),
            columns=tuple(row.columns),
        )
        for row in rows
    }
