"""Alerts as they stand: firing or resolved, acknowledged, silenced, or caused by something else.

The semantics are Alertmanager's (https://prometheus.io/docs/alerting/latest/alertmanager): an alert
is its labels; firing again is the same alert; silences and inhibition keep it from being told and
not from being there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase

from dagster_contracts.core.contract import Json, Severity


class AlertKind(StrEnum):
    """What an alert is about."""

    CIRCUIT_OPEN = "circuit.open"
    CIRCUIT_FLAPPING = "circuit.flapping"
    CIRCUIT_OVERRIDE = "circuit.override"
    CIRCUIT_HEALING = "circuit.healing"
    CIRCUIT_PUBLICATION = "circuit.publication"
    CONTRACT_VERSION = "contract.version"
    CONTRACT_END = "contract.end"
    CONTRACT_EDITED = "contract.edited"
    BREACH_PREDICTED = "sla.breach_predicted"
    SLA_BROKEN = "sla.broken"
    ANOMALY = "anomaly"
    METRIC_UNKNOWN = "metric.unknown"
    CONSUMER_REPORT = "consumer.report"


class AlertState(StrEnum):
    """Whether what the alert tells of is still so."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLabels:
    """What makes an alert itself; two alerts with the same labels are one."""

    kind: AlertKind
    contract: str
    asset: str = ""
    partition: str = ""
    subject: str = ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the labels."""
        labels = [self.kind.value, self.contract, self.asset, self.partition, self.subject]
        return hashlib.sha256(json.dumps(labels).encode()).hexdigest()

    def matches(self, matchers: Mapping[str, str]) -> bool:
        """Whether every matcher (label to value, ``*`` allowed) fits."""
        return all(fnmatchcase(str(getattr(self, key)), want) for key, want in matchers.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert. A ``notice`` tells of something that happened; there is nothing to resolve."""

    labels: AlertLabels
    version: str
    severity: Severity
    summary: str
    detail: str
    state: AlertState
    notice: bool
    recipients: tuple[str, ...]
    starts_at: datetime
    updated_at: datetime
    ends_at: datetime | None
    firings: int
    acknowledged_by: str | None
    acknowledged_at: datetime | None

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the labels."""
        return self.labels.fingerprint

    def to_json(self) -> dict[str, Json]:
        """The alert as a message carries it."""
        return {
            "kind": self.labels.kind.value,
            "contract": self.labels.contract,
            "version": self.version or None,
            "asset": self.labels.asset or None,
            "partition": self.labels.partition or None,
            "severity": self.severity.value,
            "summary": self.summary,
            "detail": self.detail,
            "state": "notice" if self.notice else self.state.value,
            "starts_at": self.starts_at.isoformat(),
            "ends_at": self.ends_at.isoformat() if self.ends_at and not self.notice else None,
            "fingerprint": self.fingerprint,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Alerts that ``matchers`` fit are not told between ``starts_at`` and ``ends_at``."""

    id: int
    matchers: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime
    actor: str
    reason: str
    lifted_at: datetime | None = None

    def mutes(self, labels: AlertLabels, now: datetime) -> bool:
        """Whether it is in force now and fits."""
        active = self.starts_at <= now < self.ends_at and self.lifted_at is None
        return active and labels.matches(self.matchers)
