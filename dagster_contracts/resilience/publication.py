"""Publication: the runs that make released batches the primary, each asked for once."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey, CircuitState, NoteKind
from dagster_contracts.errors import StoreError
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.publish_alert import alert_settled, alert_unpublished
from dagster_contracts.resilience.quarantine import (
    QuarantinedBatch,
    QuarantineState,
    circuit_of,
    read_batch,
    read_publishing,
    read_unpublished,
    set_batch,
    superseded,
    tell_circuit,
)
from dagster_contracts.store.checkpoint import Checkpoint, pass_by
from dagster_contracts.store.database import Store
from dagster_contracts.store.outbox import Outbox

_NOT_STARTED = "its run was asked for and has not started"


def publish_run_key(batch: QuarantinedBatch) -> str:
    """The key of the run that was last asked for: the same one always means the same run."""
    decided = f"{batch.decided_at:%Y%m%dT%H%M%S%f}" if batch.decided_at else ""
    return f"publish:{batch.id}:{decided}:{batch.publish_attempts}"


def publishing_sentence(batch: QuarantinedBatch) -> str | None:
    """How its publication stands, in words; ``None`` where nobody decided that it be published."""
    because = batch.unpublished_because
    refused = None if because is None else f"not published because {because}"
    match batch.state:
        case QuarantineState.PUBLISHED:
            return f"published by run {batch.publish_run_id}"
        case QuarantineState.PUBLISHING if batch.publish_asked_at is not None:
            said = "its run was asked for"
        case QuarantineState.PUBLISHING:
            said = "waits for the circuit sensor"
        case _:
            return refused
    return said if refused is None else f"{said}; {refused}"


def after_publishing(store: Store, batch: QuarantinedBatch) -> str:
    """What consumers read once the batch is published, and what to do about an open circuit."""
    with store.read() as conn:
        key = circuit_of(conn, batch)
    circuit = None if key is None else CircuitBreaker(store).circuit(key)
    if circuit is None or circuit.effective_state is CircuitState.CLOSED:
        return "consumers read it once it is published"
    if batch.publish_resets:
        said = f"the circuit {key} is reset in the moment in which it is published"
        others = [bad.name for bad in circuit.bad_partitions if bad.name != batch.partition]
        if not others:
            return said
        return (
            f"{said}, for {', '.join(others[:5])}{' ...' if others[5:] else ''} as well: what was "
            "built on their fallbacks is then built from what is stored there; publish or mend "
            "them first, and reset with the last"
        )
    state = circuit.effective_state.value.replace("_", "-")
    return (
        f"the circuit {key} stays {state}, and consumers on their fallback: once it is published, "
        f"`dagster-contracts reset {batch.contract} --reason ...`"
    )


class Publication:
    """What becomes of the batches of a store that are to be published.

    A run that fails is asked for again, up to ``max_attempts`` runs for one decision; then the
    batch is held again, and a person has to look. What is in the way is one alert of the batch,
    until it is published, handed out or dropped.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_attempts: int = 3,
        confirm_within: timedelta = timedelta(minutes=2),
        checkpoint: Checkpoint = pass_by,
    ) -> None:
        self._store = store
        self._max_attempts = max_attempts
        self._confirm_within = confirm_within
        self._checkpoint = checkpoint
        self._outbox = Outbox(store)

    def waiting(self) -> tuple[QuarantinedBatch, ...]:
        """The batches that are to be published, oldest first."""
        with self._store.read() as conn:
            return read_publishing(conn)

    def unpublished(self) -> dict[CircuitKey, list[QuarantinedBatch]]:
        """By circuit: batches that are to be published, and those that were to be and are not."""
        found: dict[CircuitKey, list[QuarantinedBatch]] = {}
        with self._store.read() as conn:
            for batch in read_unpublished(conn):
                key = circuit_of(conn, batch)
                if key is not None:
                    found.setdefault(key, []).append(batch)
        return found

    def ask(self, batch_id: int) -> QuarantinedBatch | None:
        """The batch whose run is to be asked for now, under :func:`publish_run_key`.

        ``None`` where that was done already. A request that nobody confirmed in time is returned
        again: who took it may have died before it was launched, and Dagster starts a key once. One
        that is not confirmed the second time either is told: nothing here starts runs.
        """
        with self._store.begin() as conn:
            batch = read_batch(conn, batch_id, for_update=True)
            if batch.state is not QuarantineState.PUBLISHING:
                return None
            now = self._store.now(conn)
            asked = batch.publish_asked_at
            if asked is None:
                set_batch(
                    conn,
                    batch,
                    publish_attempts=batch.publish_attempts + 1,
                    publish_asked_at=now,
                    publish_run_id=None,
                )
            elif batch.publish_run_id is None and asked <= now - self._confirm_within:
                if batch.unpublished_because == _NOT_STARTED:
                    self._alert(conn, batch, _NOT_STARTED, tries_left=None)
                set_batch(conn, batch, publish_asked_at=now, unpublished_because=_NOT_STARTED)
            else:
                return None
            self._checkpoint("publication.asked")
            return read_batch(conn, batch_id)

    def block(self, batch_id: int, reason: str) -> None:
        """Write down why no run can be asked for; nothing is spent, and it is looked at again."""
        with self._store.begin() as conn:
            batch = read_batch(conn, batch_id, for_update=True)
            if batch.state is QuarantineState.PUBLISHING:
                set_batch(conn, batch, unpublished_because=reason)
                self._alert(conn, batch, reason, tries_left=None)

    def claim(self, batch_id: int, run_id: str) -> QuarantinedBatch:
        """The batch, for the run that is about to publish it.

        ``StoreError`` where it is not to be published, or not any more: a newer batch was.
        """
        with self._store.begin() as conn:
            batch = read_batch(conn, batch_id, for_update=True)
            if batch.state is not QuarantineState.PUBLISHING:
                raise StoreError(
                    f"batch {batch_id} is not to be published but {batch.state.value}",
                    where=f"{batch.contract}/{batch.asset}",
                    why=batch.unpublished_because or batch.decision_reason,
                    hint="materialize the asset without the tags of this run",
                )
            why_not = superseded(conn, batch)
            if why_not is None:
                started = batch.unpublished_because == _NOT_STARTED
                because = None if started else batch.unpublished_because
                set_batch(conn, batch, publish_run_id=run_id, unpublished_because=because)
            else:
                self._hold_again(conn, batch, why_not, run_id)
            self._checkpoint("publication.claimed")
        if why_not is not None:
            raise StoreError(
                f"batch {batch_id} is not published any more",
                where=f"{batch.contract}/{batch.asset}",
                why=why_not,
                hint=f"it is held again; look with `quarantine show {batch_id}`",
            )
        return batch

    def published(self, conn: sa.Connection, batch_id: int, run_id: str) -> bool:
        """In the caller's transaction: the batch is the primary now. Whether that is news."""
        batch = read_batch(conn, batch_id, for_update=True)
        # A run that was given up for dead may have published it all the same.
        if batch.state not in (QuarantineState.PUBLISHING, QuarantineState.HELD):
            return False
        now = self._store.now(conn)
        set_batch(
            conn,
            batch,
            state=QuarantineState.PUBLISHED.value,
            publish_asked_at=None,
            publish_run_id=run_id,
            published_at=now,
            unpublished_because=None,
        )
        alert_settled(conn, self._outbox, batch, "published", now=now)
        said = f"batch {batch.id} was published: {batch.decided_by}: {batch.decision_reason}"
        tell_circuit(conn, batch, NoteKind.BATCH_PUBLISHED, said, now=now, run_id=run_id)
        self._checkpoint("publication.published")
        return True

    def failed(
        self, batch_id: int, run_key: str | None, run_id: str, because: str, *, final: bool = False
    ) -> None:
        """A run did not publish the batch; another one may, unless that was the last or ``final``.

        ``run_key`` names the run that was asked for, if the caller knows it: one that failed counts
        once, whoever tells of it.
        """
        with self._store.begin() as conn:
            batch = read_batch(conn, batch_id, for_update=True)
            asked = batch.publish_asked_at is not None
            if batch.state is not QuarantineState.PUBLISHING or not asked:
                return
            if run_key is not None and run_key != publish_run_key(batch):
                return
            if final or batch.publish_attempts >= self._max_attempts:
                self._hold_again(conn, batch, because, run_id)
            else:
                set_batch(
                    conn,
                    batch,
                    publish_asked_at=None,
                    publish_run_id=run_id,
                    unpublished_because=because,
                )
                left = self._max_attempts - batch.publish_attempts
                self._alert(conn, batch, because, tries_left=left)
            self._checkpoint("publication.failed")

    def _hold_again(
        self, conn: sa.Connection, batch: QuarantinedBatch, because: str, run_id: str
    ) -> None:
        set_batch(
            conn,
            batch,
            state=QuarantineState.HELD.value,
            publish_asked_at=None,
            publish_run_id=run_id,
            unpublished_because=because,
        )
        said = f"batch {batch.id} was not published because {because}; it is held again"
        now = self._store.now(conn)
        tell_circuit(conn, batch, NoteKind.BATCH_HELD, said, now=now, run_id=run_id)
        self._alert(conn, batch, because, tries_left=0)

    def _alert(
        self, conn: sa.Connection, batch: QuarantinedBatch, because: str, *, tries_left: int | None
    ) -> None:
        now = self._store.now(conn)
        alert_unpublished(conn, self._outbox, batch, because, tries_left=tries_left, now=now)
