"""Alerts, told: collected from the outbox, grouped, sent at least once, repeated, resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from dagster_contracts.core.contract import AlertPolicy, Contract, Json
from dagster_contracts.core.reference import Version
from dagster_contracts.monitoring.alert import Alert, AlertKind, AlertState
from dagster_contracts.monitoring.alerts import AlertBook
from dagster_contracts.monitoring.channels import Channel, open_channels
from dagster_contracts.monitoring.grouping import GroupMemory, GroupTiming, group_key, plan_group
from dagster_contracts.monitoring.inhibition import inhibited
from dagster_contracts.monitoring.news import UNDERSTOOD, News, news_of
from dagster_contracts.monitoring.notifications import NotificationQueue
from dagster_contracts.monitoring.reach import detail_with_reach
from dagster_contracts.monitoring.recipients import Recipients
from dagster_contracts.store.database import Store
from dagster_contracts.store.outbox import Outbox
from dagster_contracts.store.rows import insert_once
from dagster_contracts.store.tables import alert_groups, alerts, circuits


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What one delivery did: messages collected, notifications sent, failed, given up."""

    collected: int = 0
    sent: int = 0
    failed: int = 0
    parked: int = 0


class AlertDispatcher:
    """Tells people, through the channels of the deployment.

    ``channels`` maps names to addresses (see :mod:`dagster_contracts.monitoring.channels`).
    ``contracts`` are those whose policies decide where alerts go and how often they are repeated
    (by name, as a mapping, they are taken as they are; else the newest version of each);
    ``default_channels`` get what no policy names a channel for (all channels, unless given).
    A new group waits ``group_wait`` for more of its kind, a known one ``group_interval``; a group
    in which all is well again says so at once. Any number of processes may deliver.
    """

    def __init__(
        self,
        store: Store,
        channels: Mapping[str, str],
        contracts: Iterable[Contract] | Mapping[str, Contract] = (),
        *,
        owners: Mapping[str, str] | None = None,
        default_channels: Iterable[str] | None = None,
        group_wait: timedelta = timedelta(0),
        group_interval: timedelta = timedelta(minutes=1),
        max_attempts: int = 8,
    ) -> None:
        self._store = store
        self._outbox = Outbox(store)
        self.book = AlertBook(store)
        self._channels: dict[str, Channel] = open_channels(channels)
        self._contracts = (
            contracts if isinstance(contracts, Mapping) else _newest_by_name(contracts)
        )
        self._recipients = Recipients(
            channels,
            self._contracts.get,
            owners=owners or {},
            default=channels if default_channels is None else default_channels,
        )
        self._group_wait = group_wait
        self._group_interval = group_interval
        self.queue = NotificationQueue(store, max_attempts=max_attempts)

    def deliver(self) -> Delivered:
        """One round: collect what happened, decide what to tell, send what is due."""
        collected = self.collect()
        self._plan()
        done = self.queue.send_due(self._channels)
        return Delivered(
            collected=collected, sent=done.sent, failed=done.failed, parked=done.parked
        )

    # --- from messages to alerts ------------------------------------------------------------------

    def collect(self) -> int:
        """Turn the messages of the outbox into alerts; how many there were."""
        count = 0
        while messages := self._outbox.claim(kinds=UNDERSTOOD):
            for message in messages:
                try:
                    news = news_of(message)
                    if news is not None:
                        with self._store.begin() as conn:
                            self.take(conn, news, generation=message.payload.get("generation"))
                except Exception as error:  # one bad message must not hold up the others
                    self._outbox.failed(message.id, f"{type(error).__name__}: {error}")
                else:
                    self._outbox.done(message.id)
                    count += 1
        return count

    def take(self, conn: sa.Connection, news: News, *, generation: Json = None) -> None:
        """Let some news fire, resolve or annotate its alert, in the caller's transaction."""
        now = self._store.now(conn)
        detail = news.detail
        if news.labels.kind is AlertKind.CIRCUIT_OPEN and not news.resolves:
            detail = detail_with_reach(conn, news)
        if news.resolves:
            if not self._outdated(conn, news, generation):
                self.book.resolve(conn, news.labels, now=now, detail=news.detail)
        elif news.annotates:
            conn.execute(
                sa.update(alerts)
                .where(alerts.c.fingerprint == news.labels.fingerprint)
                .where(alerts.c.state == AlertState.FIRING.value)
                .values(detail=detail, updated_at=now)
            )
        elif not self._outdated(conn, news, generation):
            self.book.fire(
                conn,
                news.labels,
                severity=news.severity,
                summary=news.summary,
                detail=detail,
                version=news.version,
                recipients=self._recipients.of(conn, news),
                notice=news.notice,
                now=now,
            )

    def _outdated(self, conn: sa.Connection, news: News, generation: Json) -> bool:
        """Whether the circuit has closed since, or, for news that it closed, opened again.

        A late or repeated message must neither fire what is over nor end what goes on.
        """
        if news.notice or not isinstance(generation, int):
            return False
        row = conn.execute(
            sa.select(circuits.c.state, circuits.c.generation).filter_by(
                contract=news.labels.contract,
                asset=news.labels.asset,
                partition=news.labels.partition,
            )
        ).one_or_none()
        if row is None or row.generation <= generation:
            return False
        return bool(row.state == "closed") is not news.resolves

    # --- from alerts to notifications -------------------------------------------------------------

    def _plan(self) -> None:
        """Write down what each channel is to be told; one process at a time."""
        with self._store.begin() as conn:
            self._store.lock(conn, "alerts")
            now = self._store.now(conn)
            memories = {
                (row.channel, row.group_key): GroupMemory(
                    told=row.told, told_at=row.told_at, waiting_since=row.waiting_since
                )
                for row in conn.execute(sa.select(alert_groups))
            }
            known = self._relevant(conn, {mark for each in memories.values() for mark in each.told})
            explained = inhibited([a for a in known if a.state is AlertState.FIRING], conn)
            silences = self.book.silences(now=now, conn=conn)

            def quiet(alert: Alert) -> bool:
                return alert.fingerprint in explained or any(
                    silence.mutes(alert.labels, now) for silence in silences
                )

            groups: dict[tuple[str, str], list[Alert]] = {}
            for alert in known:
                for channel in alert.recipients:
                    if channel in self._channels:
                        groups.setdefault((channel, group_key(alert)), []).append(alert)
            for (channel, group), members in sorted(groups.items()):
                before = memories.get((channel, group), GroupMemory(told={}))
                timing = self._timing(members[0].labels.contract)
                plan = plan_group(members, before, timing, quiet=quiet, now=now)
                if plan.say:
                    self.queue.put(conn, channel, group, plan.say)
                if plan.memory != before:
                    _remember(conn, channel, group, plan.memory)
            # A notice is told once; a silenced one is not told at all.
            conn.execute(
                sa.update(alerts)
                .where(alerts.c.notice.is_(True), alerts.c.state == AlertState.FIRING.value)
                .values(state=AlertState.RESOLVED.value, ends_at=now)
            )

    def _relevant(self, conn: sa.Connection, remembered: set[str]) -> list[Alert]:
        """Alerts that fire, and those that some group told of and may have to take back."""
        found = self.book.alerts(state=AlertState.FIRING, limit=100_000, conn=conn)
        known = {alert.fingerprint: alert for alert in found}
        missing = sorted(remembered - known.keys())
        for start in range(0, len(missing), 500):
            for alert in self.book.by_fingerprint(conn, missing[start : start + 500]):
                known[alert.fingerprint] = alert
        return list(known.values())

    def _timing(self, name: str) -> GroupTiming:
        contract = self._contracts.get(name)
        policy = contract.alerts if contract is not None else AlertPolicy()
        return GroupTiming(
            wait=self._group_wait,
            interval=self._group_interval,
            repeat_after=policy.repeat_after,
        )


def _newest_by_name(contracts: Iterable[Contract]) -> dict[str, Contract]:
    ordered = sorted(contracts, key=lambda contract: Version.parse(contract.version))
    return {contract.name: contract for contract in ordered}


def _remember(conn: sa.Connection, channel: str, group: str, memory: GroupMemory) -> None:
    key = {"channel": channel, "group_key": group}
    values = {
        "told": dict(memory.told),
        "told_at": memory.told_at,
        "waiting_since": memory.waiting_since,
    }
    if not insert_once(conn, alert_groups, {**key, **values}):
        conn.execute(sa.update(alert_groups).filter_by(**key).values(**values))
