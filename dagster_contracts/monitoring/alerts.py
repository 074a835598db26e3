"""The alerts and silences in the store, and what people do with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.contract import Severity
from dagster_contracts.errors import PolicyError
from dagster_contracts.monitoring.alert import Alert, AlertKind, AlertLabels, AlertState, Silence
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import alerts, silences

__all__ = ["Alert", "AlertBook", "AlertKind", "AlertLabels", "AlertState", "Silence"]


class AlertBook:
    """The alerts and silences of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # --- what fires -------------------------------------------------------------------------------

    def fire(
        self,
        conn: sa.Connection,
        labels: AlertLabels,
        *,
        severity: Severity,
        summary: str,
        detail: str = "",
        version: str = "",
        recipients: Iterable[str] = (),
        notice: bool = False,
        now: datetime,
    ) -> bool:
        """Fire in the caller's transaction; True where the alert was not firing before."""
        fingerprint = labels.fingerprint
        told = {
            "contract_version": version,
            "severity": severity.value,
            "summary": summary,
            "detail": detail,
            "recipients": sorted(set(recipients)),
            "updated_at": now,
        }
        row = conn.execute(
            sa.select(alerts).where(alerts.c.fingerprint == fingerprint).with_for_update()
        ).one_or_none()
        if row is None:
            conn.execute(
                sa.insert(alerts).values(
                    fingerprint=fingerprint,
                    kind=labels.kind.value,
                    contract=labels.contract,
                    asset=labels.asset,
                    partition=labels.partition,
                    subject=labels.subject,
                    state=AlertState.FIRING.value,
                    notice=notice,
                    starts_at=now,
                    firings=1,
                    **told,
                )
            )
            return True
        if notice:
            return False  # its subject is unique: this one was told of before
        again = bool(row.state == AlertState.RESOLVED.value)
        fresh: dict[str, object] = {}
        if again:
            fresh = {
                "starts_at": now,
                "ends_at": None,
                "acknowledged_at": None,
                "acknowledged_by": None,
                "acknowledged_reason": None,
            }
        conn.execute(
            sa.update(alerts)
            .where(alerts.c.fingerprint == fingerprint)
            .values(state=AlertState.FIRING.value, firings=row.firings + 1, **told, **fresh)
        )
        return again

    def resolve(
        self, conn: sa.Connection, labels: AlertLabels, *, now: datetime, detail: str = ""
    ) -> bool:
        """Resolve in the caller's transaction; False where it was not firing."""
        values: dict[str, object] = {
            "state": AlertState.RESOLVED.value,
            "ends_at": now,
            "updated_at": now,
        }
        if detail:
            values["detail"] = detail
        updated = conn.execute(
            sa.update(alerts)
            .where(
                alerts.c.fingerprint == labels.fingerprint,
                alerts.c.state == AlertState.FIRING.value,
            )
            .values(**values)
        )
        return updated.rowcount == 1

    def alerts(
        self,
        *,
        state: AlertState | None = None,
        contract: str | None = None,
        limit: int = 500,
        conn: sa.Connection | None = None,
    ) -> tuple[Alert, ...]:
        """Alerts, the newest first."""
        if conn is None:
            with self._store.read() as opened:
                return self.alerts(state=state, contract=contract, limit=limit, conn=opened)
        query = sa.select(alerts).order_by(alerts.c.starts_at.desc(), alerts.c.fingerprint)
        if state is not None:
            query = query.where(alerts.c.state == state.value)
        if contract is not None:
            query = query.where(alerts.c.contract == contract)
        return tuple(_alert(row) for row in conn.execute(query.limit(limit)))

    def by_fingerprint(self, conn: sa.Connection, fingerprints: Iterable[str]) -> tuple[Alert, ...]:
        """The alerts with these fingerprints, firing or not."""
        wanted = list(fingerprints)
        rows = conn.execute(sa.select(alerts).where(alerts.c.fingerprint.in_(wanted)))
        return tuple(_alert(row) for row in rows)

    # --- what people do ---------------------------------------------------------------------------

    def acknowledge(self, fingerprint: str, *, actor: str, reason: str) -> bool:
        """Say that somebody is on it: it is not repeated; its end is still told.

        ``fingerprint`` may be shortened to a unique beginning. False where no such alert fires.
        """
        _need(actor, reason, "acknowledge an alert")
        with self._store.begin() as conn:
            now = self._store.now(conn)
            firing = [
                alert.fingerprint
                for alert in self.alerts(state=AlertState.FIRING, limit=10_000, conn=conn)
                if alert.fingerprint.startswith(fingerprint)
            ]
            if len(firing) != 1 or not fingerprint:
                return False
            conn.execute(
                sa.update(alerts)
                .where(alerts.c.fingerprint == firing[0])
                .values(
                    acknowledged_at=now,
                    acknowledged_by=actor,
                    acknowledged_reason=reason,
                    updated_at=now,
                )
            )
        return True

    def silence(
        self,
        matchers: Mapping[str, str],
        *,
        until: datetime,
        actor: str,
        reason: str,
        starts_at: datetime | None = None,
    ) -> int:
        """Keep the alerts that fit from being told until ``until``; the silence's id.

        Matchers map ``kind``, ``contract``, ``asset``, ``partition`` or ``subject`` to a value.
        """
        _need(actor, reason, "silence alerts")
        labels = AlertLabels.__dataclass_fields__
        unknown = sorted(set(matchers) - set(labels))
        if unknown or not matchers:
            raise PolicyError(
                f"an alert has no label {unknown[0]!r}" if unknown else "a silence needs a matcher",
                hint=f"the labels are {', '.join(labels)}",
            )
        with self._store.begin() as conn:
            now = self._store.now(conn)
            if until <= now:
                raise PolicyError("the silence would be over already", hint="give a later end")
            inserted = conn.execute(
                sa.insert(silences)
                .values(
                    matchers=dict(matchers),
                    starts_at=starts_at or now,
                    ends_at=until,
                    actor=actor,
                    reason=reason,
                )
                .returning(silences.c.id)
            )
            return int(inserted.scalar_one())

    def lift(self, silence_id: int, *, actor: str) -> bool:
        """End a silence early; False where it is not in force."""
        if not actor.strip():
            raise PolicyError("to end a silence, say who does it", hint="give an actor")
        with self._store.begin() as conn:
            now = self._store.now(conn)
            updated = conn.execute(
                sa.update(silences)
                .where(
                    silences.c.id == silence_id,
                    silences.c.lifted_at.is_(None),
                    silences.c.ends_at > now,
                )
                .values(lifted_at=now, lifted_by=actor)
            )
        return updated.rowcount == 1

    def silences(
        self, *, now: datetime | None = None, conn: sa.Connection | None = None
    ) -> tuple[Silence, ...]:
        """All silences; with ``now`` those that are in force or will be."""
        if conn is None:
            with self._store.read() as opened:
                return self.silences(now=now, conn=opened)
        query = sa.select(silences).order_by(silences.c.id)
        if now is not None:
            query = query.where(silences.c.ends_at > now, silences.c.lifted_at.is_(None))
        return tuple(
            Silence(
                id=row.id,
                matchers=row.matchers,
                starts_at=row.starts_at,
                ends_at=row.ends_at,
                actor=row.actor,
                reason=row.reason,
                lifted_at=row.lifted_at,
            )
            for row in conn.execute(query)
        )


def _alert(row: sa.Row[tuple[object, ...]]) -> Alert:
    """A row of the table as a value."""
    columns = row._mapping
    return Alert(
        labels=AlertLabels(
            kind=AlertKind(columns["kind"]),
            contract=columns["contract"],
            asset=columns["asset"],
            partition=columns["partition"],
            subject=columns["subject"],
        ),
        version=columns["contract_version"],
        severity=Severity(columns["severity"]),
        summary=columns["summary"],
        detail=columns["detail"],
        state=AlertState(columns["state"]),
        notice=bool(columns["notice"]),
        recipients=tuple(columns["recipients"]),
        starts_at=columns["starts_at"],
        updated_at=columns["updated_at"],
        ends_at=columns["ends_at"],
        firings=columns["firings"],
        acknowledged_by=columns["acknowledged_by"],
        acknowledged_at=columns["acknowledged_at"],
    )


def _need(actor: str, reason: str, to_do: str) -> None:
    if not actor.strip() or not reason.strip():
        raise PolicyError(f"to {to_do}, say who does it and why", hint="give an actor and a reason")
