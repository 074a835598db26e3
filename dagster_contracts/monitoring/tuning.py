"""Thresholds proposed from the history: as data, for a person to accept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil, floor, log10

import sqlalchemy as sa

from dagster_contracts.core.anomaly import ScoringRules, SeriesPoint, quantile, score_series
from dagster_contracts.core.condition import (
    Comparison,
    ComparisonOperator,
    Quantity,
    comparisons_of,
    format_quantity,
    render,
)
from dagster_contracts.core.contract import Contract
from dagster_contracts.errors import PolicyError
from dagster_contracts.monitoring.history import MetricHistory
from dagster_contracts.store.database import Store
from dagster_contracts.store.rows import insert_once
from dagster_contracts.store.tables import proposals

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_UPPER = (ComparisonOperator.GT, ComparisonOperator.GE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A threshold that would fit the history better. ``old`` and ``new`` are conditions."""

    contract: str
    version: str
    path: str
    old: str
    new: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalRecord:
    """A proposal as it was kept; ``state`` is ``proposed``, ``accepted`` or ``declined``."""

    number: int
    proposal: Proposal
    state: str
    proposed_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    decision_reason: str | None


def propose(
    store: Store,
    contract: Contract,
    asset: str,
    *,
    min_points: int = 30,
    share: float = 0.99,
    margin: float = 0.5,
    looser_than: float = 5.0,
) -> tuple[Proposal, ...]:
    """Proposals for the ``open_when`` thresholds of the form ``metric > quantity``.

    The fitting threshold is the ``share`` quantile of normal values, and ``margin`` of its distance
    from the median more. It is proposed where the present one is met by normal values (too tight),
    or is more than ``looser_than`` times higher than it needs to be (too loose to protect).
    """
    if contract.resilience is None:
        return ()
    found: list[Proposal] = []
    history = MetricHistory(store)
    for index, condition in enumerate(contract.resilience.circuit.open_when):
        for comparison in comparisons_of(condition):
            if comparison.operator not in _UPPER or comparison.metric.startswith("anomaly_score."):
                continue
            points = history.series(contract.name, asset, comparison.metric, limit=500)
            if len(points) < min_points:
                continue
            rules = ScoringRules(absolute_floor=1e-3)
            normal = _normal_values(points, rules)
            high, middle = quantile(normal, share), quantile(normal, 0.5)
            fitting = _rounded_up(high + margin * max(0.0, high - middle))
            limit = float(comparison.quantity.value)
            hits = sum(value > limit for value in normal)
            why = _reason(comparison, limit, fitting, hits, len(normal), high, looser_than)
            if why is None or fitting == limit:
                continue
            quantity = Quantity(
                Fraction(fitting).limit_denominator(100_000), comparison.quantity.dimension
            )
            found.append(
                Proposal(
                    contract=contract.name,
                    version=contract.version,
                    path=f"resilience.circuit_breaker.open_when[{index}]",
                    old=render(comparison),
                    new=render(replace(comparison, quantity=quantity)),
                    why=why,
                )
            )
    return tuple(found)


def _normal_values(points: Sequence[SeriesPoint], rules: ScoringRules) -> list[float]:
    """The values that are no anomalies; the first ones, which have no history, by what followed."""
    backwards = [SeriesPoint(_EPOCH - (p.at - _EPOCH), p.value) for p in reversed(points)]
    later = tuple(reversed(score_series(backwards, rules)))
    return [
        forward.point.value
        for forward, backward in zip(score_series(points, rules), later, strict=True)
        if not (backward if forward.score is None else forward).anomalous
    ]


def _reason(
    comparison: Comparison,
    limit: float,
    fitting: float,
    hits: int,
    count: int,
    high: float,
    looser_than: float,
) -> str | None:
    """Why the threshold should move; ``None`` where it is right."""
    shown = format_quantity(
        Fraction(high).limit_denominator(100_000), comparison.quantity.dimension
    )
    if hits / count > 0.01 and fitting > limit:
        return (
            f"too tight: {hits} of {count} normal values of {comparison.metric} are above it; "
            f"99% of them are at most {shown}"
        )
    if 0 < fitting * looser_than < limit:
        return (
            f"too loose: 99% of {count} normal values of {comparison.metric} are at most {shown}, "
            "so it would notice late"
        )
    return None


def _rounded_up(value: float) -> float:
    """The value rounded up to two significant digits: a threshold that people can remember."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (floor(log10(value)) - 1)
    return round(ceil(value / step - 1e-9) * step, 12)


def record_proposals(store: Store, found: Iterable[Proposal]) -> int:
    """Keep proposals until somebody decides; how many are new."""
    with store.begin() as conn:
        now = store.now(conn)
        return sum(
            insert_once(
                conn,
                proposals,
                {
                    "contract": proposal.contract,
                    "contract_version": proposal.version,
                    "path": proposal.path,
                    "old": proposal.old,
                    "new": proposal.new,
                    "why": proposal.why,
                    "state": "proposed",
                    "proposed_at": now,
                },
            )
            for proposal in found
        )


def open_proposals(store: Store, contract: str | None = None) -> tuple[tuple[int, Proposal], ...]:
    """Proposals that nobody has decided on, with their numbers, oldest first."""
    return tuple((each.number, each.proposal) for each in recorded_proposals(store, contract))


def recorded_proposals(
    store: Store, contract: str | None = None, *, everything: bool = False
) -> tuple[ProposalRecord, ...]:
    """Proposals, oldest first; ``everything`` includes those that were decided on."""
    query = sa.select(proposals).order_by(proposals.c.id)
    if not everything:
        query = query.where(proposals.c.state == "proposed")
    if contract is not None:
        query = query.where(proposals.c.contract == contract)
    with store.read() as conn:
        return tuple(
            ProposalRecord(
                number=row.id,
                proposal=Proposal(
                    contract=row.contract,
                    version=row.contract_version,
                    path=row.path,
                    old=row.old,
                    new=row.new,
                    why=row.why,
                ),
                state=row.state,
                proposed_at=row.proposed_at,
                decided_at=row.decided_at,
                decided_by=row.decided_by,
                decision_reason=row.decision_reason,
            )
            for row in conn.execute(query)
        )


def decide_proposal(store: Store, number: int, *, accepted: bool, actor: str, reason: str) -> bool:
    """Accept or decline a proposal; False where that has been done. Documents are not rewritten."""
    if not actor.strip() or not reason.strip():
        raise PolicyError(
            "to decide on a proposal, say who does it and why", hint="give an actor and a reason"
        )
    with store.begin() as conn:
        updated = conn.execute(
            sa.update(proposals)
            .where(proposals.c.id == number, proposals.c.state == "proposed")
            .values(
                state="accepted" if accepted else "declined",
                decided_at=store.now(conn),
                decided_by=actor,
                decision_reason=reason,
            )
        )
    return updated.rowcount == 1
