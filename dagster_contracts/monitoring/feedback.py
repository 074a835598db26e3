"""What consumers report about the data, until the producer has answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.contract import Json
from dagster_contracts.errors import PolicyError, StoreError
from dagster_contracts.store.database import Store
from dagster_contracts.store.outbox import Outbox
from dagster_contracts.store.tables import feedback


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One report; open while ``resolved_at`` is ``None``."""

    id: int
    contract: str
    asset: str | None
    consumer: str
    text: str
    reported_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str | None


class FeedbackBook:
    """The reports of one store. Open ones count as the metric ``consumer_reports``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._outbox = Outbox(store)

    def report(self, consumer: str, contract: str, text: str, *, asset: str | None = None) -> int:
        """Report bad data; the producer is told. The report's number."""
        if not consumer.strip() or not text.strip():
            raise PolicyError(
                "a report needs a consumer and a sentence",
                hint="say who reports it, and what is wrong with the data",
            )
        with self._store.begin() as conn:
            now = self._store.now(conn)
            number: int = conn.execute(
                sa.insert(feedback)
                .values(
                    contract=contract,
                    asset=asset or "",
                    consumer=consumer,
                    text=text,
                    reported_at=now,
                )
                .returning(feedback.c.id)
            ).scalar_one()
            payload: dict[str, Json] = {
                "report": number,
                "contract": contract,
                "asset": asset,
                "consumer": consumer,
                "text": text,
            }
            self._outbox.append(
                conn, "consumer.reported", payload, dedupe_key=f"feedback:{number}", now=now
            )
        return number

    def resolve(self, number: int, *, actor: str, text: str) -> bool:
        """Answer a report; False where it was answered before."""
        if not actor.strip() or not text.strip():
            raise PolicyError(
                "to answer a report, say who does it and what was done",
                hint="give an actor and a sentence",
            )
        with self._store.begin() as conn:
            now = self._store.now(conn)
            updated = conn.execute(
                sa.update(feedback)
                .where(feedback.c.id == number, feedback.c.resolved_at.is_(None))
                .values(resolved_at=now, resolved_by=actor, resolution=text)
            )
            row = conn.execute(sa.select(feedback).where(feedback.c.id == number)).one_or_none()
            if row is None:
                raise StoreError(f"there is no report {number}")
            if updated.rowcount != 1:
                return False
            payload: dict[str, Json] = {
                "report": number,
                "contract": row.contract,
                "asset": row.asset or None,
                "actor": actor,
                "text": text,
            }
            key = f"feedback:{number}:resolved"
            self._outbox.append(conn, "consumer.report_resolved", payload, dedupe_key=key, now=now)
        return True

    def open_count(self, contract: str) -> int:
        """How many reports of a contract are open: its metric ``consumer_reports``."""
        with self._store.read() as conn:
            count: int = conn.execute(
                sa.select(sa.func.count())
                .select_from(feedback)
                .where(feedback.c.contract == contract, feedback.c.resolved_at.is_(None))
            ).scalar_one()
        return count

    def open_counts(self) -> dict[str, int]:
        """How many reports are open of each contract that has any, in one query."""
        open_ones = sa.select(feedback.c.contract, sa.func.count()).where(
            feedback.c.resolved_at.is_(None)
        )
        with self._store.read() as conn:
            rows = conn.execute(open_ones.group_by(feedback.c.contract)).all()
        return {contract: int(number) for contract, number in rows}

    def reports(
        self, contract: str | None = None, *, only_open: bool = True, limit: int = 100
    ) -> tuple[Feedback, ...]:
        """Reports, the newest first."""
        query = sa.select(feedback).order_by(feedback.c.id.desc()).limit(limit)
        if contract is not None:
            query = query.where(feedback.c.contract == contract)
        if only_open:
            query = query.where(feedback.c.resolved_at.is_(None))
        with self._store.read() as conn:
            rows = conn.execute(query).all()
        return tuple(
            Feedback(
                id=row.id,
                contract=row.contract,
                asset=row.asset or None,
                consumer=row.consumer,
                text=row.text,
                reported_at=row.reported_at,
                resolved_at=row.resolved_at,
                resolved_by=row.resolved_by,
                resolution=row.resolution,
            )
            for row in rows
        )
