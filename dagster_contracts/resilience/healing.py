"""Healing: materialize again, from the primary, exactly what was built on a fallback."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey, NoteKind
from dagster_contracts.core.contract import Json
from dagster_contracts.core.near_names import did_you_mean
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.ledger import (
    DegradedRead,
    DegradedReads,
    Target,
    target_order,
    target_text,
)
from dagster_contracts.resilience.notices import HEAL, HEAL_GIVEN_UP
from dagster_contracts.resilience.operator import require_operator
from dagster_contracts.resilience.story import tell
from dagster_contracts.store.checkpoint import Checkpoint, pass_by
from dagster_contracts.store.database import Store
from dagster_contracts.store.outbox import MessageState, Outbox
from dagster_contracts.store.rows import insert_once
from dagster_contracts.store.tables import heal_requests, outbox

MadeWith = Callable[[str, Collection[str]], Sequence[str]]
"""What a run that builds a consumer anew from these blamed upstreams makes beside it."""


def _alone(_consumer: str, _blamed: Collection[str]) -> Sequence[str]:
    return ()


WhyNot = Callable[["HealRequest"], str | None]
"""Why no run can heal a consumer now, in words for a person; ``None`` where nothing is known."""


def _nothing(_request: HealRequest) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A source could not be read when a consumer needed it, and why a run waits for it now.

    Where ``due`` it is to be read again now, also by what was given up: ``reason`` says why.
    ``missing`` was never made, so that no number of tries would help.
    """

    reason: str
    due: bool = False
    missing: bool = False


UnreadOf = Callable[["HealRequest"], Unread | None]
"""What a consumer could not read, and would have to read again; ``None`` where nothing is known."""


def _all_read(_request: HealRequest) -> None:
    return None


class HealState(StrEnum):
    """Where a request stands. ``OBSOLETE``: the consumer was healed by another run.

    ``FORGIVEN`` is no request: a person let the tries up to that one not count any more.
    """

    REQUESTED = "requested"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OBSOLETE = "obsolete"
    FORGIVEN = "forgiven"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealRequest:
    """One run that is wanted. The same ``run_key`` always means the same run.

    ``cause`` stands for what has to be healed: attempts are counted for it. ``run_id`` is known
    once the run was started. ``beside`` are the other assets that the run makes, and so heals.
    ``tried_at`` is when the last run for the cause was asked for; ``urged``: a person, or what has
    become of its sources, wants one more since; ``spent``: no try is left.
    """

    consumer: str
    partition: str | None
    reads: tuple[DegradedRead, ...]
    cause: str
    run_key: str
    attempt: int = 1
    run_id: str | None = None
    beside: tuple[str, ...] = ()
    tried_at: datetime | None = None
    urged: bool = False
    spent: bool = False

    @property
    def target(self) -> Target:
        """What the run is to build anew."""
        return self.consumer, self.partition

    @property
    def covered(self) -> frozenset[Target]:
        """What the run makes besides its consumer."""
        return frozenset((asset, self.partition) for asset in self.beside)


def plan_healing(
    reads: Iterable[DegradedRead],
    *,
    closed: Callable[[CircuitKey], bool],
    only: Callable[[str], bool] | None = None,
    in_flight: Collection[Target] = (),
    order: Sequence[str] = (),
    limit: int = 10,
    attempts: Mapping[str, int] | None = None,
    max_attempts: int = 3,
    made_with: MadeWith = _alone,
    held: Collection[Target] = (),
    forgiven: Mapping[str, int] | None = None,
) -> tuple[HealRequest, ...]:
    """Which consumers to materialize now, at most ``limit`` at a time with those in flight.

    A consumer is ready when every circuit that it suffers from is closed, and every degraded asset
    that it inherited from is healed: so an order of the graph comes about by itself, and ``order``
    (asset names, upstream first) decides only among those that are ready. ``attempts`` counts the
    runs that a cause has had; beyond ``max_attempts`` a person has to look, and may let so many as
    ``forgiven`` says not count. ``only`` chooses
    consumers, ``held`` are targets for which no run is wanted now. What one run makes together is
    asked for once: ``made_with`` says what that is.
    """
    suffering = _by_target(reads)
    beside = {
        (consumer, partition): tuple(made_with(consumer, _blamed(mine)))
        for (consumer, partition), mine in suffering.items()
    }
    carriers: dict[Target, list[Target]] = {}
    for carrier in sorted(suffering, key=target_order):
        for other in beside[carrier]:
            carriers.setdefault((other, carrier[1]), []).append(carrier)
    flying = set(in_flight)
    covered = {(o, target[1]) for target in flying & suffering.keys() for o in beside[target]}
    rank = {name: index for index, name in enumerate(order)}
    ordered = sorted(
        suffering, key=lambda target: (rank.get(target[0], len(rank)), target_order(target))
    )
    room = limit - len(flying)
    ready: list[HealRequest] = []
    # Whose run makes another one as well goes before that one, which then needs none of its own.
    for target in dict.fromkeys(t for one in ordered for t in (*carriers.get(one, ()), one)):
        # Asking whether circuits are closed costs queries: no more of them than there is room for.
        if len(ready) >= room:
            break
        consumer, partition = target
        mine = suffering[target]
        makes = {(each, partition) for each in (consumer, *beside[target])}
        if target in covered or target in held or makes & flying:
            continue
        if only is not None and not only(consumer):
            continue
        if not all(closed(read.circuit) for read in mine):
            continue
        # A consumer of its own earlier partition waits for that one, like any other.
        if any(read.via and (read.via, read.upstream_partition) in suffering for read in mine):
            continue
        request = _request(consumer, partition, mine, attempts or {})
        if request.attempt <= max_attempts + (forgiven or {}).get(request.cause, 0):
            ready.append(replace(request, beside=beside[target]))
            covered |= ready[-1].covered
    return tuple(ready)


def _blamed(reads: Iterable[DegradedRead]) -> frozenset[str]:
    return frozenset(read.upstream for read in reads)


@dataclass(frozen=True, slots=True)
class _Unhealed:
    """Why some are not built anew, those without a try left, and those that get new ones, why."""

    reasons: dict[Target, str]
    spent: dict[Target, HealRequest]
    renewed: tuple[tuple[HealRequest, str], ...]


class Healing:
    """Requests of a store: never twice in flight, resumable, with a cap on attempts."""

    def __init__(
        self,
        store: Store,
        reads: DegradedReads,
        *,
        limit: int = 10,
        max_attempts: int = 3,
        confirm_within: timedelta = timedelta(minutes=2),
        checkpoint: Checkpoint = pass_by,
    ) -> None:
        self._store = store
        self._reads = reads
        self._limit = limit
        self._max_attempts = max_attempts
        self._confirm_within = confirm_within
        self._outbox = Outbox(store)
        self._checkpoint = checkpoint

    def due(
        self,
        closed: Callable[[CircuitKey], bool],
        *,
        order: Sequence[str] = (),
        only: Callable[[str], bool] | None = None,
        made_with: MadeWith = _alone,
        why_not: WhyNot = _nothing,
        unread: UnreadOf = _all_read,
    ) -> tuple[HealRequest, ...]:
        """Plan, write the requests down, and return them.

        Requests that nobody confirmed in time are returned again under the same run key: the
        process that took them may have died before it launched them, and Dagster starts a key once.
        ``only`` leaves the consumers of other code locations to their own sensors; ``made_with``
        is that of :func:`plan_healing`. What ``why_not`` gives a reason for is not asked for and
        spends no attempt; the ledger keeps the reason, as it does where the attempts are spent,
        until nothing is in the way any more. What waits for a source that ``unread`` names spends
        no attempt either; when that is due what was given up is tried as often as at first.
        """
        found = self._reads.open_reads()
        reads = tuple(read for read in found if not read.pending)
        # A run is building them now; what that has stored or not decides.
        building = {read.target for read in found if read.pending}
        suffering = _by_target(reads)
        with self._store.read() as conn:
            if not reads and not self._has_work(conn):
                return ()
            asked = {_target(row): HealState(row.state) for row in conn.execute(_flying())}
        mine = {
            target: found
            for target, found in suffering.items()
            if asked.get(target) is not HealState.STARTED
            and target not in building
            and (only is None or only(target[0]))
        }
        waiting = self._unhealed(mine, asked, made_with, why_not, unread)
        unhealed = waiting.reasons
        with self._store.begin() as conn:
            # Two sensors must not both see room for the last run.
            self._store.lock(conn, "healing")
            now = self._store.now(conn)
            self._forget_healed(conn, suffering, now)
            stale = [
                row
                for row in conn.execute(_flying()).all()
                if row.state == HealState.REQUESTED
                and row.requested_at <= now - self._confirm_within
                and (only is None or only(row.consumer))
            ]
            unconfirmed: list[HealRequest] = []
            for row in stale:
                again = _stored(row, suffering)
                if _target(row) in unhealed or not all(closed(r.circuit) for r in again.reads):
                    # Nobody started it, and now nobody may: it is planned anew in its time, under
                    # the key that it has, and has spent no attempt.
                    conn.execute(sa.delete(heal_requests).filter_by(run_key=row.run_key))
                    continue
                beside = tuple(made_with(again.consumer, _blamed(again.reads)))
                unconfirmed.append(replace(again, beside=beside))
                self._set(conn, row.run_key, requested_at=now)
                unhealed[_target(row)] = (
                    "a run was asked for and has not started in "
                    f"{self._confirm_within.total_seconds():g} s: it is asked for again"
                )
            for request, reason in waiting.renewed:
                last = replace(request, attempt=request.attempt - 1)
                self._forgive(conn, last, reason, now)
            fresh = plan_healing(
                reads,
                closed=closed,
                only=only,
                in_flight={_target(row) for row in conn.execute(_flying())},
                order=order,
                limit=self._limit,
                attempts=_attempts(conn),
                max_attempts=self._max_attempts,
                made_with=made_with,
                held=building.union(unhealed),
                forgiven=_forgiven(conn),
            )
            for request in fresh:
                insert_once(
                    conn,
                    heal_requests,
                    {
                        "run_key": request.run_key,
                        "consumer": request.consumer,
                        "consumer_partition": request.partition or "",
                        "cause": request.cause,
                        "attempt": request.attempt,
                        "state": HealState.REQUESTED.value,
                        "requested_at": now,
                    },
                )
            for target, request in waiting.spent.items():
                self._tell_given_up(conn, request, unhealed[target], now)
            # This plan is the answer to every circuit that closed and asked for healing.
            self._outbox.acknowledge(conn, HEAL)
            self._checkpoint("healing.requested")
        # While a run is asked for, what was said of it before holds.
        told = {t: unhealed.get(t) for t in mine if t in unhealed or t not in asked}
        told |= {t: None for t, state in asked.items() if state is HealState.STARTED}
        self._reads.explain(
            {
                target: reason
                for target, reason in told.items()
                if any(r.unhealed_because != reason for r in suffering.get(target, ()))
            }
        )
        return (*unconfirmed, *fresh)

    def _unhealed(
        self,
        suffering: Mapping[Target, tuple[DegradedRead, ...]],
        asked: Collection[Target],
        made_with: MadeWith,
        why_not: WhyNot,
        unread: UnreadOf,
    ) -> _Unhealed:
        """Why those that suffer are not built anew now, and for whom all tries are spent."""
        found: dict[Target, str] = {}
        spent: dict[Target, HealRequest] = {}
        renewed: list[tuple[HealRequest, str]] = []
        with self._store.read() as conn:
            attempts, forgiven, moments = _attempts(conn), _forgiven(conn), _moments(conn)
        for target, reads in suffering.items():
            request = _request(*target, reads, attempts)
            tried, urged = moments.get(request.cause, (None, None))
            request = replace(
                request,
                beside=tuple(made_with(request.consumer, _blamed(reads))),
                tried_at=tried,
                urged=urged is not None and (tried is None or urged > tried),
                spent=target not in asked and self._is_spent(request, forgiven),
            )
            reason = why_not(request)
            source = None if reason is not None or target in asked else unread(request)
            if reason is not None:
                found[target] = reason
            elif source is not None and (source.missing or not (source.due or request.spent)):
                found[target] = source.reason
            elif request.spent and source is not None and source.due:
                renewed.append((request, source.reason))
            elif request.spent:
                spent[target] = request
        found |= self._told_spent(spent)
        # Who waits for one that is not healed is not healed either.
        waiting = set(suffering) - set(found) - set(asked)
        while blocked := {
            target: (
                f"it is built from {target_text(upstream)}, which is not healed: {found[upstream]}"
            )
            for target in waiting
            for read in suffering[target]
            if read.via and (upstream := (read.via, read.upstream_partition)) in found
        }:
            found |= blocked
            waiting -= set(blocked)
        return _Unhealed(found, spent, tuple(renewed))

    def _is_spent(self, request: HealRequest, forgiven: Mapping[str, int]) -> bool:
        return request.attempt > self._max_attempts + forgiven.get(request.cause, 0)

    def _tell_given_up(
        self, conn: sa.Connection, request: HealRequest, reason: str, now: datetime
    ) -> None:
        """An alert and a line in the history, once: when the ledger does not say so yet."""
        if all(read.unhealed_because == reason for read in request.reads):
            return
        circuit = min(read.circuit for read in request.reads)
        consumer = target_text(request.target)
        payload: dict[str, Json] = {
            "contract": circuit.contract,
            "version": None,
            "asset": circuit.asset,
            "partition": circuit.partition,
            "consumer": request.consumer,
            "consumer_partition": request.partition,
            "explanation": reason,
        }
        key = f"{request.run_key}:given_up"
        self._outbox.append(conn, HEAL_GIVEN_UP, payload, dedupe_key=key, now=now)
        tell(conn, circuit, NoteKind.HEALING_GIVEN_UP, f"{consumer}: {reason}", now=now)

    def _told_spent(self, spent: Mapping[Target, HealRequest]) -> dict[Target, str]:
        """What to tell of targets all of whose attempts are spent."""
        if not spent:
            return {}
        causes = {target: request.cause for target, request in spent.items()}
        with self._store.read() as conn:
            last = {
                row.cause: row
                for row in conn.execute(
                    sa.select(heal_requests)
                    .where(
                        heal_requests.c.cause.in_(set(causes.values())),
                        heal_requests.c.state != HealState.FORGIVEN.value,
                    )
                    .order_by(heal_requests.c.attempt)
                )
            }
        found: dict[Target, str] = {}
        for target, cause in causes.items():
            succeeded = last[cause].state == HealState.SUCCEEDED
            how = "succeeded, but did not read the primary" if succeeded else "failed"
            run = f", run {last[cause].run_id}," if last[cause].run_id else ""
            found[target] = f"given up after {self._max_attempts} tries: the last one{run} {how}"
        return found

    def try_again(
        self,
        contract: str,
        *,
        consumer: str | None = None,
        partition: str | None = None,
        actor: str,
        reason: str,
    ) -> tuple[Target, ...]:
        """Let the sensor try what it has given up, as often as at first; audited.

        Those that read a fallback of the contract; ``consumer`` and ``partition`` choose among
        them. Raises ``PolicyError`` without an actor or a reason, and where nothing is given up, or
        nothing of that name was built on a fallback.
        """
        require_operator("heal again", actor, reason)
        chosen = [
            request
            for request in self.given_up()
            if any(read.circuit.contract == contract for read in request.reads)
            and consumer in (None, request.consumer)
            and partition in (None, request.partition)
        ]
        if not chosen:
            self._require_built(contract, consumer, partition)
            which = target_text((consumer, partition)) if consumer else f"what {contract} protects"
            raise PolicyError(
                f"no healing was given up of {which}",
                why="what is not given up is tried by itself, as soon as nothing is in the way",
                hint=f"`dagster-contracts status {contract}` says what waits, and for what",
            )
        with self._store.begin() as conn:
            self._store.lock(conn, "healing")
            now = self._store.now(conn)
            for request in chosen:
                self._forgive(conn, request, reason, now, actor=actor)
            self._checkpoint("healing.forgiven")
        targets = tuple(request.target for request in chosen)
        self._reads.explain(dict.fromkeys(targets))
        return targets

    def _forgive(
        self,
        conn: sa.Connection,
        request: HealRequest,
        reason: str,
        now: datetime,
        *,
        actor: str | None = None,
    ) -> None:
        """Let the tries of a cause up to this one not count any more."""
        insert_once(
            conn,
            heal_requests,
            {
                "run_key": f"{request.run_key}:forgiven",
                "consumer": request.consumer,
                "consumer_partition": request.partition or "",
                "cause": request.cause,
                "attempt": request.attempt,
                "state": HealState.FORGIVEN.value,
                "requested_at": now,
                "finished_at": now,
            },
        )
        told = f"{target_text(request.target)}: {reason}"
        for circuit in sorted({read.circuit for read in request.reads}):
            tell(conn, circuit, NoteKind.HEALING_ASKED, told, now=now, actor=actor)

    def _require_built(self, contract: str, consumer: str | None, partition: str | None) -> None:
        """``PolicyError`` where nothing of that name was built on a fallback of the contract."""
        targets = {r.target for r in self._built() if r.circuit.contract == contract}
        consumers = {name for name, _ in targets}
        if consumer is not None and consumer not in consumers:
            told, named, known = f"nothing of the name {consumer!r}", consumer, consumers
        else:
            parts = {part or "" for name, part in targets if consumer in (None, name)}
            if partition is None or partition in parts:
                return
            of = "" if consumer is None else f" of {consumer}"
            told, named, known = f"no partition {partition!r}{of}", partition, parts - {""}
        listed = sorted(known)
        more = f", ... ({len(listed)} in all)" if len(listed) > 5 else ""
        raise PolicyError(
            f"{told} waits to be healed of a fallback of {contract}",
            why=f"what waits: {', '.join(listed[:5]) or 'nothing'}{more}",
            hint=did_you_mean(named, listed)
            or f"`dagster-contracts status {contract}` says what waits, and for what",
        )

    def _built(self) -> tuple[DegradedRead, ...]:
        """What was stored from a fallback: runs that are under way may yet fail."""
        return tuple(read for read in self._reads.open_reads() if not read.pending)

    def in_flight(self) -> tuple[HealRequest, ...]:
        """Requests whose runs have not ended, oldest first."""
        suffering = _by_target(self._built())
        with self._store.read() as conn:
            return tuple(_stored(row, suffering) for row in conn.execute(_flying()))

    def started(self, run_key: str, run_id: str) -> None:
        """Dagster has the run."""
        with self._store.begin() as conn:
            self._set(conn, run_key, state=HealState.STARTED.value, run_id=run_id)

    def finished(self, run_key: str, *, succeeded: bool) -> None:
        """The run ended; what it did not heal may be asked for again, up to the cap."""
        state = HealState.SUCCEEDED if succeeded else HealState.FAILED
        with self._store.begin() as conn:
            now = self._store.now(conn)
            self._set(conn, run_key, state=state.value, finished_at=now)
            self._checkpoint("healing.finished")

    def given_up(self) -> tuple[HealRequest, ...]:
        """Consumers whose healing was tried as often as the cap allows: for a person."""
        suffering = _by_target(self._built())
        with self._store.read() as conn:
            attempts, forgiven = _attempts(conn), _forgiven(conn)
            flying = {_target(row) for row in conn.execute(_flying())}
        requests = (
            _request(*target, suffering[target], attempts)
            for target in sorted(suffering, key=target_order)
            if target not in flying
        )
        return tuple(
            replace(request, attempt=request.attempt - 1)
            for request in requests
            if self._is_spent(request, forgiven)
        )

    def prune(self, older_than: timedelta) -> int:
        """Forget requests that ended longer ago; how many.

        Those of a cause that is still to be healed stay: its attempts are counted by them.
        """
        reads = _by_target(self._built())
        counted = {_request(*target, mine, {}).cause for target, mine in reads.items()}
        with self._store.begin() as conn:
            limit = self._store.now(conn) - older_than
            ended = conn.execute(
                sa.select(heal_requests.c.run_key, heal_requests.c.cause).where(
                    heal_requests.c.finished_at < limit
                )
            ).all()
            doomed = [{"doomed": row.run_key} for row in ended if row.cause not in counted]
            if doomed:
                one = heal_requests.c.run_key == sa.bindparam("doomed")
                conn.execute(sa.delete(heal_requests).where(one), doomed)
            self._checkpoint("healing.pruned")
        return len(doomed)

    def _has_work(self, conn: sa.Connection) -> bool:
        """Whether a request is in flight, or a circuit has asked since the last plan."""
        asked = sa.select(outbox.c.id).where(
            outbox.c.kind == HEAL, outbox.c.state == MessageState.PENDING
        )
        waiting = (_flying().limit(1), asked.limit(1))
        return any(conn.execute(query).first() is not None for query in waiting)

    def _forget_healed(
        self, conn: sa.Connection, suffering: Mapping[Target, object], now: object
    ) -> None:
        """A request nobody has started is obsolete once its consumer no longer suffers."""
        waiting = _flying().where(heal_requests.c.state == HealState.REQUESTED)
        for row in conn.execute(waiting).all():
            if _target(row) not in suffering:
                self._set(conn, row.run_key, state=HealState.OBSOLETE.value, finished_at=now)

    def _set(self, conn: sa.Connection, run_key: str, **values: object) -> None:
        conn.execute(
            sa.update(heal_requests).where(heal_requests.c.run_key == run_key).values(**values)
        )


def _by_target(reads: Iterable[DegradedRead]) -> dict[Target, tuple[DegradedRead, ...]]:
    found: dict[Target, list[DegradedRead]] = {}
    for read in reads:
        found.setdefault((read.consumer, read.consumer_partition), []).append(read)
    return {target: tuple(mine) for target, mine in found.items()}


def _request(
    consumer: str,
    partition: str | None,
    reads: tuple[DegradedRead, ...],
    attempts: Mapping[str, int],
) -> HealRequest:
    # A healing run that had to read the fallback again leaves a new row with the same `since`: the
    # cause stays the same, and the cap ends the circle.
    blamed = sorted(
        [str(read.circuit), read.generation, read.since.isoformat() if read.since else ""]
        for read in reads
    )
    text = json.dumps([consumer, partition, blamed])
    cause = hashlib.sha256(text.encode()).hexdigest()
    attempt = attempts.get(cause, 0) + 1
    return HealRequest(
        consumer=consumer,
        partition=partition,
        reads=reads,
        cause=cause,
        run_key=f"heal:{cause[:24]}:{attempt}",
        attempt=attempt,
    )


def _target(row: sa.Row[Any]) -> Target:
    return row.consumer, row.consumer_partition or None


def _flying() -> sa.Select[tuple[object, ...]]:
    states = (HealState.REQUESTED.value, HealState.STARTED.value)
    return (
        sa.select(heal_requests)
        .where(heal_requests.c.state.in_(states))
        .order_by(heal_requests.c.requested_at, heal_requests.c.run_key)
    )


def _attempts(conn: sa.Connection, *chosen: sa.ColumnElement[bool]) -> dict[str, int]:
    """By cause, the last of its tries."""
    cause, attempt = heal_requests.c.cause, heal_requests.c.attempt
    rows = conn.execute(
        sa.select(cause, sa.func.max(attempt).label("attempts")).where(*chosen).group_by(cause)
    )
    return {row.cause: row.attempts for row in rows}


def _forgiven(conn: sa.Connection) -> dict[str, int]:
    """By cause, the last of the tries that do not count any more."""
    return _attempts(conn, heal_requests.c.state == HealState.FORGIVEN.value)


def _moments(conn: sa.Connection) -> dict[str, tuple[datetime | None, datetime | None]]:
    """By cause, when a run was last asked for, and when new tries were last granted."""
    forgiven = heal_requests.c.state == HealState.FORGIVEN.value
    last = (
        sa.func.max(sa.case((when, heal_requests.c.requested_at))) for when in (~forgiven, forgiven)
    )
    rows = conn.execute(sa.select(heal_requests.c.cause, *last).group_by(heal_requests.c.cause))
    return {cause: (tried, urged) for cause, tried, urged in rows}


def _stored(
    row: sa.Row[tuple[object, ...]], suffering: Mapping[Target, tuple[DegradedRead, ...]]
) -> HealRequest:
    columns = row._mapping
    consumer, partition = columns["consumer"], columns["consumer_partition"] or None
    return HealRequest(
        consumer=consumer,
        partition=partition,
        reads=suffering.get((consumer, partition), ()),
        cause=columns["cause"],
        run_key=columns["run_key"],
        attempt=columns["attempt"],
        run_id=columns["run_id"],
        tried_at=columns["requested_at"],
    )
