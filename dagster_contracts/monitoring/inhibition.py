"""Alerts that an open circuit further up explains: they are there, and are not told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from dagster_contracts.monitoring.alert import Alert, AlertKind
from dagster_contracts.store.tables import consumers

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
    for alert in known:
        if alert.labels.kind in _CAUSED and alert.labels.asset:
            cause = _open_above(alert.labels.asset, upstream, open_assets)
            if cause is not None:
                explained[alert.fingerprint] = cause
    return explained


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
