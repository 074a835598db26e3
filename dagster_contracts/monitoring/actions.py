"""Corrective actions: what a contract wants done when a threshold is reached, as data.

Who runs Dagster carries them out; here is decided which are due, and that one process does it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

import sqlalchemy as sa

from dagster_contracts.core.condition import Observation, Truth, evaluate, render
from dagster_contracts.core.contract import Contract, CorrectiveAction
from dagster_contracts.monitoring.feedback import FeedbackBook
from dagster_contracts.monitoring.history import MetricHistory
from dagster_contracts.monitoring.standing import current_metrics
from dagster_contracts.monitoring.turning import turns_at
from dagster_contracts.store.database import Store
from dagster_contracts.store.rows import insert_once
from dagster_contracts.store.tables import corrective_actions, observations


@dataclass(frozen=True, slots=True, kw_only=True)
class DueAction:
    """An action whose condition holds now and whose cooldown is over."""

    contract: str
    version: str
    asset: str
    partition: str | None
    action: CorrectiveAction
    explanation: str

    @property
    def key(self) -> str:
        """What its cooldown counts by: the kind, the job and the condition."""
        text = f"{self.action.kind}|{self.action.job or ''}|{render(self.action.when)}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def due_actions(
    store: Store, contract: Contract, asset: str, *, now: datetime | None = None, window: int = 20
) -> tuple[DueAction, ...]:
    """The actions of a contract that are due on an asset, by its newest evaluations.

    What grows old by itself (``data_freshness``), what the asset's history tells (``availability``)
    and the open reports of consumers are measured now.
    """
    return judge_actions(store, contract, asset, now=now, window=window)[0]


def judge_actions(
    store: Store, contract: Contract, asset: str, *, now: datetime | None = None, window: int = 20
) -> tuple[tuple[DueAction, ...], datetime | None]:
    """:func:`due_actions`, and when time alone can make another one due (``None`` for never)."""
    if not contract.monitoring.actions:
        return (), None
    history = MetricHistory(store)
    latest = history.latest(contract.name, asset)
    if latest is None:
        return (), None
    with store.read() as conn:
        moment = now or store.now(conn)
    seen = _window(store, contract, asset, window)
    measured, _ = current_metrics(store, contract, asset, latest, moment)
    measured["consumer_reports"] = Fraction(FeedbackBook(store).open_count(contract.name))
    seen.append(Observation(moment, measured, check=False))
    conditions = [action.when for action in contract.monitoring.actions]
    turn = turns_at(contract, conditions, measured, moment, seen=[each.at for each in seen])
    turns = [] if turn is None else [turn]
    due = []
    for action in contract.monitoring.actions:
        decision = evaluate(action.when, seen)
        if decision.truth is not Truth.TRUE:
            continue
        candidate = DueAction(
            contract=contract.name,
            version=contract.version,
            asset=asset,
            partition=latest.partition,
            action=action,
            explanation=decision.explanation,
        )
        cool = _cool_at(store, candidate)
        if cool is None or cool <= moment:
            due.append(candidate)
        # Another process may be the one that takes it on, and lose it.
        turns.append(moment if cool is None else max(cool, moment))
    return tuple(due), min(turns, default=None)


def claim_action(store: Store, due: DueAction, *, now: datetime | None = None) -> bool:
    """Take an action on; False where another process has, within the cooldown."""
    key = _key(due)
    with store.begin() as conn:
        store.lock(conn, f"action:{due.contract}:{due.asset}")
        moment = now or store.now(conn)
        first = {**key, "fired_at": moment, "explanation": due.explanation}
        if insert_once(conn, corrective_actions, first):
            return True
        fired = corrective_actions.c
        updated = conn.execute(
            sa.update(corrective_actions)
            .filter_by(**key)
            .where(fired.fired_at <= moment - due.action.cooldown)
            .values(fired_at=moment, firings=fired.firings + 1, explanation=due.explanation)
        )
        return updated.rowcount == 1


def _window(store: Store, contract: Contract, asset: str, size: int) -> list[Observation]:
    """The newest evaluations, oldest first."""
    seen = observations.c
    with store.read() as conn:
        rows = conn.execute(
            sa.select(seen.observed_at, seen.metrics)
            .where(seen.contract == contract.name, seen.asset == asset, seen.backfill.is_(False))
            .order_by(seen.observed_at.desc(), seen.evaluation_id.desc())
            .limit(size)
        ).all()
    return [
        Observation(
            row.observed_at,
            {
                name: None if value is None else Fraction(value)
                for name, value in row.metrics.items()
            },
        )
        for row in reversed(rows)
    ]


def _key(due: DueAction) -> dict[str, str]:
    return {
        "contract": due.contract,
        "asset": due.asset,
        "partition": due.partition or "",
        "action": due.key,
    }


def _cool_at(store: Store, due: DueAction) -> datetime | None:
    """When the action may be taken on again; ``None`` where it never was."""
    with store.read() as conn:
        fired_at: datetime | None = conn.scalar(
            sa.select(corrective_actions.c.fired_at).filter_by(**_key(due))
        )
    return None if fired_at is None else fired_at + due.action.cooldown
