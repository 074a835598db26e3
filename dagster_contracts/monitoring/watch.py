"""One look at every contract: what is about to break, what has, and what looks unlike itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.anomaly import BreachForecast
from dagster_contracts.core.circuit import Circuit, circuit_from_json
from dagster_contracts.core.condition import metrics_of
from dagster_contracts.core.contract import Contract, Severity
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.monitoring.agenda import Agenda, Place, Turn
from dagster_contracts.monitoring.alert import AlertKind, AlertLabels, AlertState
from dagster_contracts.monitoring.alerts import AlertBook
from dagster_contracts.monitoring.freshness import forecast_freshness
from dagster_contracts.monitoring.history import Evaluation, MetricHistory
from dagster_contracts.monitoring.news import News, where
from dagster_contracts.monitoring.standing import LevelStanding, standing_levels
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import circuits

_FAMILY = "anomaly_score."
_OURS = (AlertKind.BREACH_PREDICTED, AlertKind.SLA_BROKEN, AlertKind.ANOMALY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a look found: something that fires, or, with ``over``, that is well again."""

    labels: AlertLabels
    summary: str
    over: bool = False


def watch(
    store: Store,
    contracts: Iterable[Contract],
    take: Callable[[sa.Connection, News], None],
    *,
    now: datetime | None = None,
) -> tuple[Finding, ...]:
    """Forecast freshness, judge the service levels that time moves, read the newest anomaly scores.

    Alerts fire and resolve by what is found.

    ``take`` is :meth:`AlertDispatcher.take`. Firing again what fires already changes nothing but
    its text, so that any number of processes may watch. :class:`Watch` is for who looks often.
    """
    return Watch(store, contracts).look(take, now=now)


class Watch:
    """Looks again and again, each time at what is new, at what fires and at what time has moved.

    The first look is at everything.
    """

    def __init__(self, store: Store, contracts: Iterable[Contract]) -> None:
        self._store = store
        self._history = MetricHistory(store)
        self._known = {contract.name: contract for contract in contracts}
        self._agenda = Agenda(store)

    def look(
        self,
        take: Callable[[sa.Connection, News], None],
        *,
        now: datetime | None = None,
        troubled: Callable[[Place, Exception], None] | None = None,
    ) -> tuple[Finding, ...]:
        """:func:`watch`, once more.

        An asset that cannot be judged is raised, or with ``troubled`` is told there, keeps none of
        the others, and is looked at again the next time.
        """
        with self._store.read() as conn:
            moment = now or self._store.now(conn)
        firing = {
            alert.fingerprint: alert.labels
            for alert in AlertBook(self._store).alerts(state=AlertState.FIRING, limit=100_000)
        }
        with self._agenda.turn(moment) as turn:
            told = {(each.contract, each.asset) for each in firing.values() if each.kind in _OURS}
            news: list[News] = []
            for place, latest in sorted(self._newest(turn, told).items()):
                try:
                    found, turns = self._judge(place, latest, moment)
                except Exception as error:
                    if troubled is None:
                        raise
                    troubled(place, error)
                    turn.again(place, moment)
                    continue
                # What fires is told anew each time, and fires again if somebody resolves it.
                fires = any(not each.resolves for each in found)
                for each in [moment] if fires else turns:
                    turn.again(place, each)
                # The end of what does not fire is no news, and no reason to write.
                news += [n for n in found if not n.resolves or n.labels.fingerprint in firing]
            return self._tell(news, take)

    def _newest(self, turn: Turn, told: set[Place]) -> dict[Place, Evaluation]:
        """The newest evaluation of each asset that is to be looked at."""
        if turn.everything:
            try:
                return self._history.newest_of_assets(self._circuits())
            except (ValueError, TypeError, LookupError, AttributeError):
                # What cannot be read is one circuit; its evaluations and all others can be.
                with self._store.read() as conn:
                    rows = conn.execute(sa.select(circuits.c.contract, circuits.c.asset).distinct())
                    places = frozenset((row.contract, row.asset) for row in rows)
        else:
            places = turn.places
        found: dict[Place, Evaluation] = {}
        for name, asset in places | told:
            latest = self._history.latest(name, asset) if name in self._known else None
            if latest is not None:
                found[name, asset] = latest
        return found

    def _circuits(self) -> list[Circuit]:
        with self._store.read() as conn:
            rows = conn.execute(sa.select(circuits.c.contract, circuits.c.body))
            return [circuit_from_json(row.body) for row in rows if row.contract in self._known]

    def _judge(
        self, place: Place, latest: Evaluation, now: datetime
    ) -> tuple[list[News], list[datetime | None]]:
        """What there is to tell of an asset, and the moments at which that may change."""
        name, asset = place
        contract = self._known[name]
        forecast = forecast_freshness(self._history, contract, asset, latest, now=now)
        levels = standing_levels(self._store, contract, asset, latest=latest, now=now)
        found = [
            *_freshness(forecast, contract, asset),
            *_levels(levels, contract, asset),
            *_anomalies(latest, contract, asset),
        ]
        turns = [level.turns_at for level in levels]
        return found, [*turns, forecast.turns_at if forecast is not None else None]

    def _tell(
        self, news: Sequence[News], take: Callable[[sa.Connection, News], None]
    ) -> tuple[Finding, ...]:
        if not news:
            return ()
        with self._store.begin() as conn:
            for each in news:
                take(conn, each)
        return tuple(Finding(labels=n.labels, summary=n.summary, over=n.resolves) for n in news)


def _freshness(forecast: BreachForecast | None, contract: Contract, asset: str) -> Iterable[News]:
    if forecast is None:
        return
    labels = AlertLabels(kind=AlertKind.BREACH_PREDICTED, contract=contract.name, asset=asset)
    place = where(contract.name, contract.version, asset, "")
    if forecast.predicted:
        yield News(
            labels=labels,
            severity=Severity.WARNING,
            summary=f"{place} {forecast.explanation}",
            detail=f"Its promise ends at {forecast.breach_at:%Y-%m-%d %H:%M} UTC.",
            version=contract.version,
        )
    elif not forecast.breached:
        # A promise that is broken by now stays told until new data has come.
        yield News(labels=labels, resolves=True, detail=forecast.explanation)


def _levels(levels: Iterable[LevelStanding], contract: Contract, asset: str) -> Iterable[News]:
    """Levels that are broken now, though no batch came that could have shown it.

    A metric that opens the circuit is told of by the circuit.
    """
    for level in levels:
        if not level.live or level.name in _opens(contract):
            continue
        labels = AlertLabels(
            kind=AlertKind.SLA_BROKEN, contract=contract.name, asset=asset, subject=level.name
        )
        if level.status in (OutcomeStatus.FAILED, OutcomeStatus.WARNED):
            place = where(contract.name, contract.version, asset, "")
            yield News(
                labels=labels,
                severity=level.severity,
                summary=f"Service level {level.name}: {place}. {level.sentence}",
                detail=f"Agreed: {level.threshold}.",
                version=contract.version,
            )
        elif level.status is OutcomeStatus.PASSED:
            yield News(labels=labels, resolves=True, detail=level.sentence)


def _opens(contract: Contract) -> frozenset[str]:
    """The service levels whose metric opens the circuit of the contract."""
    if contract.resilience is None:
        return frozenset()
    watched = {n for c in contract.resilience.circuit.open_when for n in metrics_of(c)}
    return frozenset(
        level.property
        for level in contract.sla
        if level.condition is not None and metrics_of(level.condition) & watched
    )


def _anomalies(latest: Evaluation, contract: Contract, asset: str) -> Iterable[News]:
    threshold = contract.monitoring.anomaly_threshold
    for name, value in sorted(latest.metrics.items()):
        if not name.startswith(_FAMILY) or value is None:
            continue
        metric = name.removeprefix(_FAMILY)
        labels = AlertLabels(
            kind=AlertKind.ANOMALY, contract=contract.name, asset=asset, subject=metric
        )
        if value < threshold:
            yield News(labels=labels, resolves=True, detail=f"{metric} is as usual again.")
            continue
        place = where(contract.name, contract.version, asset, latest.partition or "")
        measured = latest.metrics.get(metric)
        shown = f" was {float(measured):,.6g} and" if measured is not None else ""
        yield News(
            labels=labels,
            severity=Severity.WARNING,
            summary=f"Unusual: {place}. {metric}{shown} is {float(value):.1f} robust standard "
            "deviations from its history",
            detail="It warns and refuses nothing, unless the contract opens its circuit by it.",
            version=contract.version,
            for_consumers=False,
        )
