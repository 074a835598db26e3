"""The queue of messages to channels: sent at least once, retried, parked where people see it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from dagster_contracts.core.contract import Json, Severity
from dagster_contracts.monitoring.alert import Alert, AlertState
from dagster_contracts.monitoring.channels import Channel, DeliveryError, Notification
from dagster_contracts.monitoring.grouping import SEVERITY_ORDER
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import notifications

_LEASE = timedelta(minutes=2)
_FIRST_RETRY = timedelta(seconds=10)
_LONGEST_RETRY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ParkedNotification:
    """A notification that was given up, and why."""

    id: str
    channel: str
    title: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What one round of sending did."""

    sent: int = 0
    failed: int = 0
    parked: int = 0


class NotificationQueue:
    """The notifications of one store. Any number of processes may send; each has a lease."""

    def __init__(self, store: Store, *, max_attempts: int = 8) -> None:
        self._store = store
        self._max_attempts = max_attempts

    def put(self, conn: sa.Connection, channel: str, group: str, said: tuple[Alert, ...]) -> None:
        """Queue one message in the caller's transaction."""
        now = self._store.now(conn)
        title = said[0].summary.partition("\n")[0]
        if len(said) > 1:
            title = f"{len(said)} alerts about {said[0].labels.contract}"
        elif said[0].state is AlertState.RESOLVED and not said[0].notice:
            title = f"Resolved: {title}"
        conn.execute(
            sa.insert(notifications).values(
                id=uuid.uuid4().hex,
                channel=channel,
                group_key=group,
                title=title[:200],
                body=[alert.to_json() for alert in said],
                state="pending",
                created_at=now,
                available_at=now,
                attempts=0,
            )
        )

    def send_due(self, channels: Mapping[str, Channel]) -> Sent:
        """Send what is due; what a channel refuses is due again later, or parked."""
        sent = failed = parked = 0
        for row in self._claim():
            try:
                _send(row, channels)
            except DeliveryError as error:
                given_up = self._not_sent(row.id, row.attempts + 1, str(error))
                parked += given_up
                failed += not given_up
            else:
                sent += 1
                self._update(row.id, state="sent", sent=True)
        return Sent(sent=sent, failed=failed, parked=parked)

    def _claim(self) -> list[sa.Row[tuple[object, ...]]]:
        with self._store.begin() as conn:
            now = self._store.now(conn)
            due = conn.execute(
                sa.select(notifications)
                .where(notifications.c.state == "pending", notifications.c.available_at <= now)
                .order_by(notifications.c.created_at, notifications.c.group_key, notifications.c.id)
                .limit(100)
                .with_for_update(skip_locked=True)
            ).all()
            lost = [row for row in due if row.attempts >= self._max_attempts]
            due = [row for row in due if row.attempts < self._max_attempts]
            for row in lost:
                error = row.last_error or "sent, and the process never came back"
                conn.execute(
                    sa.update(notifications)
                    .where(notifications.c.id == row.id)
                    .values(state="parked", last_error=error)
                )
            for row in due:
                # Counted before it is sent: a message that kills its process is parked in the end.
                conn.execute(
                    sa.update(notifications)
                    .where(notifications.c.id == row.id)
                    .values(attempts=row.attempts + 1, available_at=now + _LEASE)
                )
        return list(due)

    def _not_sent(self, notification_id: str, attempts: int, error: str) -> bool:
        """Write down a failure; True where it was the last attempt."""
        given_up = attempts >= self._max_attempts
        wait = min(_LONGEST_RETRY, _FIRST_RETRY * 2 ** min(attempts - 1, 20))
        state = "parked" if given_up else "pending"
        self._update(notification_id, state=state, error=error[:2000], wait=wait)
        return given_up

    def _update(
        self,
        notification_id: str,
        *,
        state: str,
        sent: bool = False,
        error: str | None = None,
        wait: timedelta = timedelta(0),
    ) -> None:
        with self._store.begin() as conn:
            now = self._store.now(conn)
            conn.execute(
                sa.update(notifications)
                .where(notifications.c.id == notification_id, notifications.c.state == "pending")
                .values(
                    state=state,
                    sent_at=now if sent else None,
                    last_error=error,
                    available_at=now + wait,
                )
            )

    def parked(self, limit: int = 100) -> tuple[ParkedNotification, ...]:
        """Notifications that no attempt got through, newest first: people must see them here."""
        with self._store.read() as conn:
            rows = conn.execute(
                sa.select(notifications)
                .where(notifications.c.state == "parked")
                .order_by(notifications.c.created_at.desc())
                .limit(limit)
            ).all()
        return tuple(
            ParkedNotification(row.id, row.channel, row.title, row.attempts, row.last_error or "")
            for row in rows
        )

    def retry(self, notification_id: str) -> bool:
        """Make a parked notification due again; False where it is not parked."""
        with self._store.begin() as conn:
            now = self._store.now(conn)
            updated = conn.execute(
                sa.update(notifications)
                .where(notifications.c.id == notification_id, notifications.c.state == "parked")
                .values(state="pending", attempts=0, available_at=now)
            )
        return updated.rowcount == 1


def _send(row: sa.Row[tuple[object, ...]], channels: Mapping[str, Channel]) -> None:
    columns = row._mapping
    channel = channels.get(columns["channel"])
    if channel is None:
        raise DeliveryError(f"the channel {columns['channel']} is no longer configured")
    channel.send(
        Notification(
            id=columns["id"],
            group=columns["group_key"],
            title=columns["title"],
            severity=_worst(columns["body"]),
            at=columns["created_at"],
            alerts=tuple(columns["body"]),
        )
    )


def _worst(body: Iterable[Mapping[str, Json]]) -> Severity:
    """The severity of a message: of its worst alert, and good news are no more than remarks."""
    found = [
        Severity.INFO if alert["state"] == "resolved" else Severity(str(alert["severity"]))
        for alert in body
    ]
    return max(found, key=SEVERITY_ORDER.index, default=Severity.INFO)
