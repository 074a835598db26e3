"""Anomaly scores of an evaluation, against the history of the same asset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from dagster_contracts.core.anomaly import Score, ScoringRules, SeriesPoint, score
from dagster_contracts.core.condition import metrics_of
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.monitoring.history import MetricHistory

_FAMILY = "anomaly_score."


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyFindings:
    """What scoring found.

    ``metrics`` are absolute scores under ``anomaly_score.<metric>``, ready to be recorded with the
    evaluation's own; ``None``, and a reason in ``unknown_because``, without enough history.
    """

    scores: Mapping[str, Score] = field(default_factory=dict)
    metrics: Mapping[str, Fraction | None] = field(default_factory=dict)
    unknown_because: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence for each anomaly."""
        return tuple(
            f"{metric}: {found.explanation}"
            for metric, found in self.scores.items()
            if found.anomalous
        )


def watched_metrics(contract: Contract) -> tuple[str, ...]:
    """The metrics to score: those that the contract names, and those that its breaker asks for."""
    wanted = dict.fromkeys(contract.monitoring.anomaly_metrics)
    conditions = [action.when for action in contract.monitoring.actions]
    if contract.resilience is not None:
        policy = contract.resilience.circuit
        conditions += [*policy.open_when, *policy.close_when]
        for level in contract.resilience.levels:
            conditions += level.activation_conditions
    for condition in conditions:
        for metric in sorted(metrics_of(condition)):
            if metric.startswith(_FAMILY):
                wanted[metric.removeprefix(_FAMILY)] = None
    return tuple(wanted)


def score_report(
    history: MetricHistory,
    contract: Contract,
    report: ContractReport,
    *,
    asset: str | None = None,
    at: datetime | None = None,
) -> AnomalyFindings:
    """Score the metrics of a report that the contract watches, before the report is recorded.

    Call it between the evaluation and the breaker, and record the scores with the report.
    """
    moment = at or report.evaluated_at
    where = asset or report.asset or contract.name
    rules = ScoringRules(
        threshold=contract.monitoring.anomaly_threshold,
        min_history=contract.monitoring.min_history,
    )
    scores: dict[str, Score] = {}
    metrics: dict[str, Fraction | None] = {}
    unknown: dict[str, str] = {}
    for metric in watched_metrics(contract):
        value = report.metrics.get(metric)
        name = f"{_FAMILY}{metric}"
        if value is None:
            metrics[name] = None
            unknown[name] = report.unknown_because.get(metric, f"{metric} was not measured")
            continue
        # A partition is compared with all others: the next day is judged by the days before it.
        series = history.series(contract.name, where, metric, before=moment)
        found = score(series, SeriesPoint(moment, float(value)), rules)
        scores[metric] = found
        if found.score is None:
            metrics[name] = None
            unknown[name] = found.explanation
        else:
            # A shifted level is the new normal: it must not open a circuit.
            shown = 0.0 if found.shifted else abs(found.score)
            metrics[name] = Fraction(shown).limit_denominator(1000)
    return AnomalyFindings(scores=scores, metrics=metrics, unknown_because=unknown)
