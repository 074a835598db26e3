"""How each service level of a contract stands now, without a new batch.

What the clock and the store tell is measured at this moment; what only data tells is as the newest
evaluation measured it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from dagster_contracts.core.condition import metrics_of
from dagster_contracts.core.contract import Contract, Json, Severity, SlaProperty
from dagster_contracts.core.level_element import why_nowhere
from dagster_contracts.core.metrics import needs_asset_history, speaks_of_service
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.core.service_levels import judge_level, life_metrics, seconds
from dagster_contracts.monitoring.history import Evaluation, MetricHistory
from dagster_contracts.monitoring.service_history import ServiceHistory
from dagster_contracts.monitoring.turning import AGES, turns_at
from dagster_contracts.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelStanding:
    """One service level as it stands: ``name`` is its property, numbered where it occurs twice.

    ``live`` says that the level was measured now and not by the newest batch, and ``turns_at`` when
    time alone can change it next; ``severity`` is that of what is wrong.
    """

    name: str
    status: OutcomeStatus
    sentence: str
    threshold: str | None = None
    value: Fraction | None = None
    severity: Severity = Severity.ERROR
    live: bool = False
    turns_at: datetime | None = None

    def to_json(self) -> dict[str, Json]:
        """The standing as JSON values; durations in seconds."""
        return {
            "name": self.name,
            "status": self.status.value,
            "value": None if self.value is None else float(self.value),
            "threshold": self.threshold,
            "sentence": self.sentence,
            "severity": self.severity.value,
        }


def standing_levels(
    store: Store,
    contract: Contract,
    asset: str,
    *,
    partition: str | None = None,
    latest: Evaluation | None = None,
    now: datetime | None = None,
) -> tuple[LevelStanding, ...]:
    """Every service level of a contract on an asset, in the order of the document.

    ``latest`` spares a query where the caller has read the asset's newest evaluation.
    """
    if not contract.sla:
        return ()
    with store.read() as conn:
        moment = now or store.now(conn)
    if latest is None:
        latest = MetricHistory(store).latest(contract.name, asset)
    values, reasons = current_metrics(store, contract, asset, latest, moment, partition=partition)
    found: list[LevelStanding] = []
    for level in contract.sla:
        number = sum(1 for before in found if before.name.partition("[")[0] == level.property) + 1
        named = {n for c in (level.condition, level.warn) if c for n in metrics_of(c)}
        own_column = named & AGES and level.element not in (None, contract.event_time)
        nowhere = why_nowhere(level, contract)
        if nowhere is not None:
            verdict = judge_level(level, {}, dict.fromkeys(named, nowhere), moment)
        elif own_column:
            verdict = judge_level(level, {}, dict.fromkeys(named, _by_batch(level)), moment)
        else:
            verdict = judge_level(level, values, reasons, moment)
        warned = verdict.status is OutcomeStatus.WARNED
        live = bool(named) and nowhere is None and not own_column
        live = live and all(n in AGES or speaks_of_service(n) for n in named)
        asked = [condition for condition in (level.condition, level.warn) if condition]
        found.append(
            LevelStanding(
                name=level.property if number == 1 else f"{level.property}[{number}]",
                status=verdict.status,
                sentence=verdict.reason,
                threshold=verdict.threshold,
                value=verdict.value,
                severity=Severity.WARNING if warned else level.severity,
                live=live,
                turns_at=turns_at(contract, asked, values, moment) if live else None,
            )
        )
    return tuple(found)


def current_metrics(
    store: Store,
    contract: Contract,
    asset: str,
    latest: Evaluation | None,
    now: datetime,
    *,
    partition: str | None = None,
) -> tuple[dict[str, Fraction | None], dict[str, str]]:
    """The metrics of the newest evaluation with what time has made of them, and the reasons."""
    values: dict[str, Fraction | None] = {} if latest is None else dict(latest.metrics)
    reasons: dict[str, str] = {} if latest is None else dict(latest.unknown_because)
    values.update(life_metrics(contract, now))
    service = ServiceHistory(store).measure(contract, asset, partition=partition, now=now)
    for name in [name for name in values if needs_asset_history(name)]:
        del values[name]
    values.update(service.values)
    reasons.update(service.reasons)
    ages = _ages(store, contract, asset, latest, now)
    values.update(ages)
    for name in ages:
        reasons.pop(name, None)
    if latest is None:
        for level in contract.sla:
            for condition in (level.condition, level.warn):
                for name in metrics_of(condition) if condition else ():
                    if name not in values:
                        reasons.setdefault(name, "the asset was not evaluated yet")
    return values, reasons


def _ages(
    store: Store, contract: Contract, asset: str, latest: Evaluation | None, now: datetime
) -> dict[str, Fraction | None]:
    arrivals = MetricHistory(store).arrivals(contract.name, asset, limit=1)
    if latest is None or not arrivals:
        return {}
    found: dict[str, Fraction | None] = {"materialization_age": _since(arrivals[-1], now)}
    if contract.event_time is None:
        found["data_freshness"] = found["materialization_age"]
    elif latest.event_time is not None:
        found["data_freshness"] = _since(latest.event_time, now)
    return found


def _since(moment: datetime, now: datetime) -> Fraction:
    return seconds(max(now - moment, timedelta(0)))


def _by_batch(level: SlaProperty) -> str:
    return f"the age of {level.element} is judged when data arrives"
