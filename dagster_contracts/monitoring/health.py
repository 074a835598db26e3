"""The health of every contract on one page: what the status command and the dashboards show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

import sqlalchemy as sa

from dagster_contracts.core.circuit import Circuit, CircuitState, Override, circuit_from_json
from dagster_contracts.core.circuit.present import standing_at
from dagster_contracts.core.contract import Contract, Json
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.monitoring.alert import AlertState
from dagster_contracts.monitoring.alerts import AlertBook
from dagster_contracts.monitoring.feedback import FeedbackBook
from dagster_contracts.monitoring.freshness import freshness, freshness_limit
from dagster_contracts.monitoring.history import Evaluation, MetricHistory
from dagster_contracts.monitoring.standing import LevelStanding, standing_levels
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import circuits, degraded_reads

_FAMILY = "anomaly_score."


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRow:
    """One contract on one asset (or partition).

    ``state`` is what consumers see; ``since`` and ``why`` tell of it. ``freshness`` is the age of
    the newest data. ``anomaly`` is the worst score of the last evaluation and its metric. A
    contract that was never evaluated has a row too, so that nobody takes silence for health.
    """

    contract: str
    version: str
    owner: str | None
    asset: str
    partition: str | None = None
    state: CircuitState = CircuitState.CLOSED
    override: Override = Override.NONE
    since: datetime | None = None
    why: str | None = None
    next_probe_at: datetime | None = None
    last_evaluation: datetime | None = None
    last_status: str | None = None
    rows: int | None = None
    freshness: timedelta | None = None
    freshness_limit: timedelta | None = None
    open_degraded_reads: int = 0
    consumer_reports: int = 0
    firing_alerts: int = 0
    anomaly: float | None = None
    anomalous_metric: str | None = None
    service_levels: tuple[LevelStanding, ...] = ()

    @property
    def healthy(self) -> bool:
        """Closed by itself, evaluated, fresh, no service level broken, nothing left to heal."""
        late = (
            self.freshness is not None
            and self.freshness_limit is not None
            and self.freshness > self.freshness_limit
        )
        return (
            self.state is CircuitState.CLOSED
            and self.override is Override.NONE
            and self.last_status in ("passed", "warned")
            and not late
            and not any(level.status is OutcomeStatus.FAILED for level in self.service_levels)
            and not self.open_degraded_reads
        )

    def to_json(self) -> dict[str, Json]:
        """The row as JSON values; ages in seconds."""
        return {
            "contract": self.contract,
            "version": self.version,
            "owner": self.owner,
            "asset": self.asset,
            "partition": self.partition,
            "healthy": self.healthy,
            "state": self.state.value,
            "override": self.override.value,
            "since": _iso(self.since),
            "why": self.why,
            "next_probe_at": _iso(self.next_probe_at),
            "last_evaluation": _iso(self.last_evaluation),
            "last_status": self.last_status,
            "rows": self.rows,
            "freshness_seconds": _seconds(self.freshness),
            "freshness_limit_seconds": _seconds(self.freshness_limit),
            "open_degraded_reads": self.open_degraded_reads,
            "consumer_reports": self.consumer_reports,
            "firing_alerts": self.firing_alerts,
            "anomaly": self.anomaly,
            "anomalous_metric": self.anomalous_metric,
            "service_levels": [level.to_json() for level in self.service_levels],
        }


def health(
    store: Store, contracts: Iterable[Contract], *, now: datetime | None = None
) -> tuple[HealthRow, ...]:
    """One row for each circuit of each contract, and one for each that was never evaluated."""
    history, reports = MetricHistory(store), FeedbackBook(store).open_counts()
    found = sorted(contracts, key=lambda contract: contract.name)
    with store.read() as conn:
        moment = now or store.now(conn)
        found_circuits = _circuits(conn, {contract.name for contract in found})
        known = [standing_at(circuit, moment) for circuit in found_circuits]
        degraded = _degraded(conn)
    firing: dict[str, int] = {}
    for alert in AlertBook(store).alerts(state=AlertState.FIRING, limit=100_000):
        firing[alert.labels.contract] = firing.get(alert.labels.contract, 0) + 1
    newest, of_assets = history.newest(known), history.newest_of_assets(known)
    by_contract: dict[str, list[Circuit]] = {}
    for circuit in known:
        by_contract.setdefault(circuit.key.contract, []).append(circuit)
    rows: list[HealthRow] = []
    for contract in found:
        # Whatever was evaluated has a circuit, also where the contract declares none.
        watched: dict[tuple[str, str | None], Circuit | None] = {
            (each.key.asset, each.key.partition): each
            for each in by_contract.get(contract.name, ())
        }
        for asset in {name for name, partition in watched if partition is not None}:
            whole = watched.get((asset, None))
            if whole is not None and whole.idle:
                # It only lent its partitions an override, and that is over.
                del watched[asset, None]
        if not watched:
            watched[contract.asset_names(contract.objects[0])[0], None] = None
        for (asset, partition), watching in sorted(
            watched.items(), key=lambda item: (item[0][0], item[0][1] or "")
        ):
            # Ages are those of the newest partition: an old one is not late.
            of_asset = of_assets.get((contract.name, asset))
            rows.append(
                _row(
                    contract,
                    asset,
                    partition,
                    watching,
                    latest=newest.get(watching.key) if watching is not None else None,
                    age=freshness(of_asset, contract, now=moment),
                    degraded=degraded.get((contract.name, asset), 0),
                    reports=reports.get(contract.name, 0),
                    firing=firing.get(contract.name, 0),
                    levels=standing_levels(
                        store, contract, asset, partition=partition, latest=of_asset, now=moment
                    ),
                )
            )
    return tuple(rows)


def _row(
    contract: Contract,
    asset: str,
    partition: str | None,
    circuit: Circuit | None,
    *,
    latest: Evaluation | None,
    age: Fraction | None,
    degraded: int,
    reports: int,
    firing: int,
    levels: tuple[LevelStanding, ...],
) -> HealthRow:
    worst = max(
        (
            (float(value), name.removeprefix(_FAMILY))
            for name, value in (latest.metrics if latest else {}).items()
            if name.startswith(_FAMILY) and value is not None
        ),
        default=(None, None),
    )
    since, why = None, None
    if circuit is not None:
        since = circuit.opened_at
        why = circuit.override_reason or circuit.reason
    return HealthRow(
        contract=contract.name,
        version=contract.version,
        owner=contract.owner,
        asset=asset,
        partition=partition,
        state=circuit.effective_state if circuit else CircuitState.CLOSED,
        override=circuit.override if circuit else Override.NONE,
        since=since,
        why=why,
        next_probe_at=circuit.next_probe_at if circuit else None,
        last_evaluation=latest.observed_at if latest else None,
        last_status=latest.status if latest else None,
        rows=latest.rows if latest else None,
        freshness=None if age is None else timedelta(seconds=float(age)),
        freshness_limit=freshness_limit(contract),
        open_degraded_reads=degraded,
        consumer_reports=reports,
        firing_alerts=firing,
        anomaly=worst[0],
        anomalous_metric=worst[1],
        service_levels=levels,
    )


def _circuits(conn: sa.Connection, names: set[str]) -> list[Circuit]:
    rows = conn.execute(sa.select(circuits.c.contract, circuits.c.body))
    return [circuit_from_json(row.body) for row in rows if row.contract in names]


def _degraded(conn: sa.Connection) -> dict[tuple[str, str], int]:
    """Open degraded reads by the circuit that is to blame."""
    reads = degraded_reads.c
    rows = conn.execute(
        sa.select(reads.contract, reads.circuit_asset, sa.func.count().label("count"))
        .where(reads.settled_at.is_(None))
        .group_by(reads.contract, reads.circuit_asset)
    )
    return {(row.contract, row.circuit_asset): int(row._mapping["count"]) for row in rows}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _seconds(age: timedelta | None) -> float | None:
    return None if age is None else age.total_seconds()
