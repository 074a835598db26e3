"""What the store remembers of an asset's service: availability, incidents, arrivals, in metrics.

An asset is down while its circuit is not closed for its consumers, from a refused batch, a failed
materialization or an unreadable source to the next good one, and while its newest data is older
than the contract's ``frequency`` allows. Several queries, each on an index, and none for a contract
that asks for none of these metrics.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitState, Override
from dagster_contracts.core.condition import parse_duration
from dagster_contracts.core.contract import CircuitMode, Contract
from dagster_contracts.core.metrics import (
    AVAILABILITY,
    DELAY_AFTER,
    OF_HISTORY,
    REFUSED,
    THROUGHPUT,
    TIME_TO_DETECT,
    TIME_TO_NOTIFY,
    TIME_TO_REPAIR,
)
from dagster_contracts.core.service_levels import (
    WINDOW,
    Downtime,
    Incident,
    Mark,
    availability,
    crossed_at,
    delay_after,
    downtimes,
    newest_incident,
    overdue,
    read_delay,
    time_to_detect,
    time_to_notify,
    time_to_repair,
    update_limit,
    wanted_metrics,
)
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import (
    circuit_events,
    metric_points,
    notifications,
    observations,
)

_BAD = ("failed_materializations", "source_unavailable")
_OVERRIDES = ("override_set", "override_lifted", "override_expired")
_NO_HISTORY = "the asset was not evaluated yet"


@dataclass(slots=True)
class ServiceMetrics:
    """Metrics of the service, and the reasons of those that are not known."""

    values: dict[str, Fraction] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    previous_materialized_at: datetime | None = None

    def take(self, name: str, value: Fraction | None, otherwise: str) -> None:
        """Record a value, or why there is none."""
        if value is None:
            self.reasons[name] = otherwise
        else:
            self.values[name] = value


def asks_for_history(contract: Contract) -> frozenset[str]:
    """The metrics that a contract speaks of and that only the store can tell."""
    asked = (*OF_HISTORY, DELAY_AFTER, THROUGHPUT)
    return frozenset(n for n in wanted_metrics(contract) if n.partition(".")[0] in asked)


class ServiceHistory:
    """Read-only: the breaker and the alerts write what is read here."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def measure(
        self,
        contract: Contract,
        asset: str,
        *,
        partition: str | None = None,
        now: datetime | None = None,
        arriving: datetime | None = None,
    ) -> ServiceMetrics:
        """The metrics of the service that the contract asks for.

        ``partition`` is that of the circuit, where the contract keeps one for each. ``arriving`` is
        when a batch that is about to be evaluated was there.
        """
        found = ServiceMetrics()
        names = asks_for_history(contract)
        if not names:
            return found
        with self._store.read() as conn:
            moment = now or self._store.now(conn)
            page = _Page(conn, contract, asset, partition, moment, _reach(names))
            if THROUGHPUT in names:
                found.previous_materialized_at = page.previous(arriving)
            for name in sorted(names):
                family = name.partition(".")[0]
                if family == DELAY_AFTER:
                    extra = () if arriving is None else (arriving,)
                    # Two days hold the last deadline and the one before it, wherever they are.
                    came = (*page.arrivals(moment - timedelta(days=3)), *extra)
                    late = _delay(name, came, moment)
                    found.take(name, late, _NO_HISTORY)
                elif family == AVAILABILITY:
                    found.take(name, page.availability(_window(name)), _NO_HISTORY)
            if names & {TIME_TO_DETECT, TIME_TO_NOTIFY, TIME_TO_REPAIR}:
                _take_incident(found, page, names)
        return found


def _take_incident(found: ServiceMetrics, page: _Page, names: Collection[str]) -> None:
    """The three times of the newest incident; 0 where there was none, for nothing was late."""
    incident = page.incident()
    if page.first is None:
        values: dict[str, Fraction | None] = dict.fromkeys(
            (TIME_TO_DETECT, TIME_TO_NOTIFY, TIME_TO_REPAIR)
        )
    elif incident is None:
        values = dict.fromkeys((TIME_TO_DETECT, TIME_TO_NOTIFY, TIME_TO_REPAIR), Fraction(0))
    else:
        values = {
            TIME_TO_DETECT: time_to_detect(incident),
            TIME_TO_NOTIFY: time_to_notify(incident, page.now),
            TIME_TO_REPAIR: time_to_repair(incident, page.now),
        }
    for name, value in values.items():
        if name in names:
            untold = "nobody was told of the last incident: no channel got an alert of it"
            found.take(name, value, _NO_HISTORY if page.first is None else untold)


class _Page:
    """What the store says of one asset, read once and as far as it is asked for."""

    def __init__(
        self,
        conn: sa.Connection,
        contract: Contract,
        asset: str,
        partition: str | None,
        now: datetime,
        reach: timedelta,
    ) -> None:
        self._conn = conn
        self._contract = contract
        self._asset = asset
        self._partition = partition
        self.now = now
        self._since = now - reach
        self._down: tuple[Downtime, ...] | None = None
        seen = observations.c
        self._mine = [
            seen.contract == contract.name,
            seen.asset == asset,
            seen.backfill.is_(False),
            *([seen.partition == partition] if partition is not None else []),
        ]
        self.first: datetime | None = conn.scalar(
            sa.select(seen.observed_at).where(*self._mine).order_by(seen.observed_at).limit(1)
        )

    def arrivals(self, since: datetime) -> tuple[datetime, ...]:
        """When data came, oldest first: the last before ``since``, and all after it."""
        seen = observations.c
        data = [*self._mine, seen.rows.is_not(None)]
        within = self._conn.scalars(
            sa.select(seen.observed_at)
            .where(*data, seen.observed_at >= since, seen.observed_at <= self.now)
            .order_by(seen.observed_at)
        ).all()
        before = self._conn.scalars(
            sa.select(seen.observed_at)
            .where(*data, seen.observed_at < since)
            .order_by(seen.observed_at.desc())
            .limit(1)
        ).all()
        return (*before, *within)

    def previous(self, arriving: datetime | None) -> datetime | None:
        """The newest arrival before the batch that is arriving, of whatever partition."""
        seen = observations.c
        found: datetime | None = self._conn.scalar(
            sa.select(seen.observed_at)
            .where(
                seen.contract == self._contract.name,
                seen.asset == self._asset,
                seen.backfill.is_(False),
                seen.rows.is_not(None),
                seen.observed_at < (arriving or self.now),
            )
            .order_by(seen.observed_at.desc())
            .limit(1)
        )
        return found

    def availability(self, window: timedelta) -> Fraction | None:
        """The share of the window, or of the asset's life where that is shorter."""
        if self.first is None:
            return None
        since = max(self.first, self.now - window)
        limit = update_limit(self._contract)
        late = () if limit is None else overdue(self.arrivals(since), limit, now=self.now)
        share = availability((*self.down, *late), since=since, now=self.now)
        if share is None:
            # Evaluated this very moment: all of its life is now.
            return Fraction(0 if any(each.end is None for each in self.down) else 1)
        return share

    def incident(self) -> Incident | None:
        """The newest incident, with the moment at which somebody was told of it."""
        found = newest_incident(self.down, since=self.now - WINDOW, now=self.now)
        return found and replace(found, notified=self._told(found))

    @property
    def down(self) -> tuple[Downtime, ...]:
        """Every interval in which the asset was down, by whatever record."""
        if self._down is None:
            points = [downtimes(marks) for marks in self._marks_of_points()]
            self._down = (
                *downtimes(self._marks_of_circuit()),
                *(each for intervals in points for each in intervals),
            )
        return self._down

    def _marks_of_points(self) -> Iterable[list[Mark]]:
        points = metric_points.c
        bad = points.value > 0
        # The database finds the few records that differ from the one before them.
        before = sa.func.lag(bad).over(
            partition_by=points.metric, order_by=(points.at, points.evaluation_id)
        )
        each = (
            sa.select(
                points.evaluation_id,
                points.metric,
                points.at,
                points.value,
                bad.label("bad"),
                before.label("was_bad"),
            )
            .where(
                points.contract == self._contract.name,
                points.asset == self._asset,
                points.metric.in_((REFUSED, *_BAD)),
                points.backfill.is_(False),
                points.at >= self._since,
                points.at <= self.now,
                *([points.partition == self._partition] if self._partition is not None else []),
            )
            .subquery()
        )
        rows = self._conn.execute(
            sa.select(each)
            .where(sa.or_(each.c.was_bad.is_(None), each.c.bad != each.c.was_bad))
            .order_by(each.c.at, each.c.evaluation_id)
        ).all()
        began = self._began([row.evaluation_id for row in rows if row.value > 0])
        for metric in (REFUSED, *_BAD):
            yield [
                Mark(row.at, row.value > 0, began.get(row.evaluation_id))
                for row in rows
                if row.metric == metric
            ]

    def _began(self, evaluations: Collection[str]) -> dict[str, datetime]:
        """When the batches of these evaluations were there, where that is known."""
        points = metric_points.c
        found: dict[str, datetime] = {}
        wanted = sorted(set(evaluations))
        for start in range(0, len(wanted), 500):
            for row in self._conn.execute(
                sa.select(points.evaluation_id, points.at, points.value).where(
                    points.evaluation_id.in_(wanted[start : start + 500]),
                    points.metric == "evaluation_delay",
                )
            ):
                found[row.evaluation_id] = row.at - timedelta(seconds=row.value)
        return found

    def _marks_of_circuit(self) -> list[Mark]:
        resilience = self._contract.resilience
        if resilience is None or resilience.circuit.mode is CircuitMode.METRICS_ONLY:
            return []
        events = circuit_events.c
        mine = [
            events.contract == self._contract.name,
            events.asset == self._asset,
            events.partition == (self._partition or ""),
        ]
        rows = self._conn.execute(
            sa.select(
                events.version,
                events.kind,
                events.before,
                events.after,
                events.at,
                events.evaluation_id,
                events.changes,
            )
            .where(
                *mine,
                sa.or_(
                    sa.and_(events.before != events.after, events.at >= self._since),
                    events.kind.in_(_OVERRIDES),
                ),
            )
            .order_by(events.version)
        ).all()
        last = self._conn.scalar(
            sa.select(events.after).where(*mine).order_by(events.version.desc()).limit(1)
        )
        began = self._began([row.evaluation_id for row in rows if row.evaluation_id])
        marks: list[Mark] = []
        state, override = CircuitState.CLOSED, Override.NONE

        def move(at: datetime, to: CircuitState, under: Override, began: datetime | None) -> None:
            nonlocal state, override
            was, now_down = _is_down(state, override), _is_down(to, under)
            state, override = to, under
            if was != now_down:
                marks.append(Mark(at, now_down, began))

        for row in rows:
            # What happened before all that is looked at shows in the state that a row finds.
            move(min(row.at, self._since), CircuitState(row.before), override, None)
            after, under = CircuitState(row.after), _override(row.changes, override)
            opens = _is_down(after, under) and not _is_down(state, override)
            since = (began.get(row.evaluation_id) or self._crossed(row.at)) if opens else None
            move(row.at, after, under, since)
        if last is not None:
            move(self._since, CircuitState(last), override, None)
        return marks

    def _crossed(self, opened: datetime) -> datetime | None:
        """When the clock had broken the promise by which it opened a circuit."""
        assert self._contract.resilience is not None
        seen = observations.c
        row = self._conn.execute(
            sa.select(seen.observed_at, seen.event_time)
            .where(*self._mine, seen.rows.is_not(None), seen.observed_at < opened)
            .order_by(seen.observed_at.desc())
            .limit(1)
        ).one_or_none()
        if row is None:
            return None
        newest = row.event_time if self._contract.event_time else None
        bases = {
            "materialization_age": row.observed_at,
            "data_freshness": newest or row.observed_at,
        }
        return crossed_at(self._contract.resilience.circuit.open_when, bases, before=opened)

    def _told(self, incident: Incident) -> datetime | None:
        """When a channel first got an alert that tells of this asset, after the detection."""
        sent = notifications.c
        until = incident.repaired or self.now
        rows = self._conn.execute(
            sa.select(sent.sent_at, sent.body)
            .where(
                sent.sent_at.is_not(None),
                sent.created_at >= incident.detected,
                sent.created_at <= until,
                sent.group_key.startswith(f"{self._contract.name}/", autoescape=True),
            )
            .order_by(sent.sent_at)
        )
        moments = [row.sent_at for row in rows if any(map(self._is_mine, row.body))]
        return moments[0] if moments else None

    def _is_mine(self, alert: dict[str, Any]) -> bool:
        return (
            alert.get("contract") == self._contract.name
            and alert.get("asset") == self._asset
            and alert.get("state") == "firing"
        )


def _is_down(state: CircuitState, override: Override) -> bool:
    match override:
        case Override.FORCED_OPEN:
            return True
        case Override.FORCED_CLOSED | Override.METRICS_ONLY:
            return False
        case Override.NONE:
            return state is not CircuitState.CLOSED


def _override(changes: Mapping[str, Any], before: Override) -> Override:
    """The override after a line of the history, by the fields that the line gave a new value."""
    if "override" in changes.get("set", {}):
        return Override(changes["set"]["override"])
    return Override.NONE if "override" in changes.get("unset", []) else before


def _reach(names: Iterable[str]) -> timedelta:
    """How far back the longest of the windows goes."""
    windows = [_window(name) for name in names if name.partition(".")[0] == AVAILABILITY]
    return max([WINDOW, *windows])


def _window(name: str) -> timedelta:
    family, dot, window = name.partition(".")
    return parse_duration(window) if dot and family == AVAILABILITY else WINDOW


def _delay(name: str, arrivals: Iterable[datetime], now: datetime) -> Fraction | None:
    """``delay_after.0900.Europe.Berlin``: how late the data of the day was."""
    at, zone = read_delay(name)
    return delay_after(arrivals, at, zone, now=now)
