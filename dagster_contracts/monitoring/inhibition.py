"""Alerts that an open circuit further up explains: they are there, and are not told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from dagster_contracts.core.circuit import circuit_from_json
from dagster_contracts.monitoring.alert import Alert, AlertKind
from dagster_contracts.store.tables import circuits, consumers

#: Kinds that the open circuit of an upstream asset explains.
_CAUSED = frozenset(
    {
        AlertKind.CIRCUIT_OPEN,
        AlertKind.CIRCUIT_FLAPPING,
        AlertKind.BREACH_PREDICTED,
        AlertKind.ANOMALY,
        AlertKind.METRIC_UNKNOWN,
    }
)


def inhibited(firing: Iterable[Alert], conn: sa.Connection) -> dict[str, str]:
    """Alerts that an open circuit further up explains: fingerprint to the upstream asset."""
    known = tuple(firing)
    open_assets = {
        alert.labels.asset for alert in known if alert.labels.kind is AlertKind.CIRCUIT_OPEN
    }
    if not open_assets:
        return {}
    upstream: dict[str, set[str]] = {}
    rows = conn.execute(sa.select(consumers.c.consumer_asset, consumers.c.upstream_asset))
    for row in rows:
        upstream.setdefault(row.consumer_asset, set()).add(row.upstream_asset)
    explained = {}
    caused = [a for a in known if a.labels.kind in _CAUSED and a.labels.asset]
    inherited = _inherited(conn, {alert.labels.contract for alert in caused})
    for alert in caused:
        asset = alert.labels.asset
        told = inherited.get((alert.labels.contract, asset), set()) & open_assets - {asset}
        cause = _open_above(asset, upstream, open_assets) or min(told, default=None)
        if cause is not None:
            explained[alert.fingerprint] = cause
    return explained


def _inherited(conn: sa.Connection, contracts: set[str]) -> dict[tuple[str, str], set[str]]:
    """The assets that the circuits of these contracts know to be open above them.

    The sensor finds them through assets without a contract too, which the table of consumers does
    not know. A circuit that cannot be read explains nothing, and keeps no alert from being told.
    """
    # As text: one row that is no JSON would be in the way of all the others.
    body = sa.type_coerce(circuits.c.body, sa.Text)
    query = sa.select(circuits.c.contract, circuits.c.asset, body.label("body"))
    found: dict[tuple[str, str], set[str]] = {}
    for row in conn.execute(query.where(circuits.c.contract.in_(contracts))):
        try:
            above = circuit_from_json(json.loads(row.body)).upstream
        except (ValueError, TypeError, LookupError, AttributeError):
            continue
        assets = {name.partition("/")[2].partition("[")[0] for name in above}
        found.setdefault((row.contract, row.asset), set()).update(assets)
    return found


def _open_above(asset: str, upstream: Mapping[str, set[str]], open_assets: set[str]) -> str | None:
    """The nearest upstream asset whose circuit is open."""
    seen, front = {asset}, sorted(upstream.get(asset, ()))
    while front:
        for candidate in front:
            if candidate in open_assets and candidate != asset:
                return candidate
        seen.update(front)
        front = sorted({up for each in front for up in upstream.get(each, ())} - seen)
    return None
