"""One look at every contract: what is about to break, what has, and what looks unlike itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.circuit import circuit_from_json
from dagster_contracts.core.condition import metrics_of
from dagster_contracts.core.contract import Contract, Severity
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.monitoring.alert import AlertKind, AlertLabels, AlertState
from dagster_contracts.monitoring.alerts import AlertBook
from dagster_contracts.monitoring.freshness import forecast_freshness
from dagster_contracts.monitoring.history import Evaluation, MetricHistory
from dagster_contracts.monitoring.news import News, where
from dagster_contracts.monitoring.standing import standing_levels
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import circuits

_FAMILY = "anomaly_score."


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
    its text, so that any number of processes may watch.
    """
    history = MetricHistory(store)
    findings: list[Finding] = []
    firing = {
        alert.fingerprint
        for alert in AlertBook(store).alerts(state=AlertState.FIRING, limit=100_000)
    }
    known = {contract.name: contract for contract in contracts}
    with store.read() as conn:
        moment = now or store.now(conn)
        rows = conn.execute(sa.select(circuits.c.contract, circuits.c.body))
        mine = [circuit_from_json(row.body) for row in rows if row.contract in known]
    newest = history.newest_of_assets(mine)
    news: list[News] = []
    for (name, asset), latest in sorted(newest.items()):
        contract = known[name]
        found = [
            *_freshness(history, contract, asset, latest, moment),
            *_levels(store, contract, asset, latest, moment),
            *_anomalies(latest, contract, asset),
        ]
        # The end of what does not fire is no news, and no reason to write.
        news += [n for n in found if not n.resolves or n.labels.fingerprint in firing]
    if news:
        with store.begin() as conn:
            for each in news:
                take(conn, each)
                findings.append(
                    Finding(labels=each.labels, summary=each.summary, over=each.resolves)
                )
    return tuple(findings)


def _freshness(
    history: MetricHistory, contract: Contract, asset: str, latest: Evaluation, now: datetime
) -> Iterable[News]:
    forecast = forecast_freshness(history, contract, asset, latest, now=now)
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


def _levels(
    store: Store, contract: Contract, asset: str, latest: Evaluation, now: datetime
) -> Iterable[News]:
    """Levels that are broken now, though no batch came that could have shown it.

    A metric that opens the circuit is told of by the circuit.
    """
    for level in standing_levels(store, contract, asset, latest=latest, now=now):
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
