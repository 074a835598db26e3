"""What is true in the simulated deployment, and who must be served what: written from the design.

Nothing here knows the state machine. A guard follows one circuit by the batches that the simulation
itself made good or bad, and by what operators did; from that alone it says whether the primary may
be read, and judges every transition that the package makes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dagster_contracts.core.circuit import CircuitState, StateTransition, TransitionCause
from tests.soak.plan import PARTITIONS, Asset, Terms

MINUTE = timedelta(minutes=1)
_BY_JUDGEMENT = (
    TransitionCause.VIOLATION,
    TransitionCause.UNKNOWN,
    TransitionCause.PROBE_GOOD,
    TransitionCause.PROBE_BAD,
    TransitionCause.MENDED,
)


class BrokenInvariantError(AssertionError):
    """The package did what the truth forbids."""


def demand(holds: bool, what: str) -> None:
    """Raise where something that must always be true is not."""
    if not holds:
        raise BrokenInvariantError(what)


@dataclass(frozen=True)
class Batch:
    """What one run made: ``broken`` per cent of its rows (``None``: it could not be measured)."""

    number: int
    broken: int | None
    made_at: datetime
    event_time: datetime


@dataclass
class Stored:
    """The data of one asset and partition, and which of its inputs were not good primaries.

    An edge is the upstream and its partition; true where it was read from a fallback, or from data
    that itself came from one. ``run_id`` made it.
    """

    batch: Batch
    run_id: str
    edges: dict[tuple[str, str | None], bool] = field(default_factory=dict)

    @property
    def tainted(self) -> bool:
        """Whether anything else than good primaries is in it."""
        return any(self.edges.values())


class Guard:
    """The truth about one circuit."""

    def __init__(self, terms: Terms, *, of_partition: bool) -> None:
        self.terms = terms
        self.of_partition = of_partition
        self.edition: int | None = None
        self.barred = False
        self.override: tuple[str, datetime | None] = ("none", None)
        self.lease: tuple[str, datetime] | None = None
        self.last_broken: int | None = None
        self.measured = False
        self._window: list[int | None] = []
        self._counted = 0
        self._good = 0
        self._newest: tuple[str | None, datetime] | None = None
        self._waiting_since: datetime | None = None
        # What must be known to be over, and the partitions that must be good, before it closes.
        self._blames: set[str] = set()
        self._bad: list[str] = []
        self._last_partition: str | None = None
        self._generation = 0
        self._seen = datetime.min.replace(tzinfo=UTC)
        self._latest = datetime.min.replace(tzinfo=UTC)
        self._turns: dict[tuple[int, int], str] = {}
        self.upstream: frozenset[str] = frozenset()
        self.attempts = 0
        self.restored = 0
        self._failures: dict[str, int] = {}

    # -- who may read ---------------------------------------------------------------------------

    @property
    def bad(self) -> tuple[str, ...]:
        """The partitions that must be good before it closes."""
        return tuple(self._bad)

    @property
    def frozen(self) -> bool:
        """Whether an operator or the contract's mode has taken the decision away."""
        return self.override[0] != "none" or self.terms.watching

    @property
    def lets_through(self) -> bool:
        """Whether everybody may read the primary."""
        if self.override[0] != "none":
            return self.override[0] != "forced_open"
        return self.terms.watching or not self.barred

    @property
    def healthy(self) -> bool:
        """Whether the primary may be read because it is good, and not because it is forced."""
        return self.lets_through and not self.barred

    def _end(self, before: bool) -> None:
        """One event is over: was the primary given back by it?"""
        self.restored += self.healthy and not before

    def lets_probe(self, holder: str | None, state: CircuitState) -> bool:
        """Whether this reader is the one probe of a circuit that is being tried."""
        held = self.lease is not None and self.lease[0] == holder
        return held and state is CircuitState.HALF_OPEN and not self.frozen

    # -- what happens ---------------------------------------------------------------------------

    def bind(self, edition: int, terms: Terms, now: datetime) -> None:
        """The circuit is under that version of the contract from now on."""
        if edition != self.edition:
            served = self.healthy
            self.terms = terms
            self.edition = edition
            self.settle(now)
            self.attempts = min(self.attempts, terms.retries)
            self._window.clear()
            if self.barred and not self._blames <= self._conditions():
                self._blames = self._conditions()  # Nobody can say any more what it was.
            self._end(served)

    def settle(self, now: datetime) -> None:
        """What ends by itself."""
        until = self.override[1]
        if until is not None and now >= until:
            self.override = ("none", None)
        if self.lease is not None and (self.frozen or now >= self.lease[1]):
            self.lease = None
        # Where the clock is turned back a wait is as long as it was.
        if self._waiting_since is not None:
            self._waiting_since -= max(timedelta(0), self._seen - now)
        self._seen = now

    def observed(
        self,
        batch: Batch,
        partition: str | None,
        holder: str | None,
        backfill: bool,
        now: datetime,
        moves: Sequence[StateTransition],
    ) -> None:
        """An evaluation was counted."""
        served = self.healthy
        self.settle(now)
        probe = self.lease is not None and self.lease[0] == holder
        late = self._late(batch, partition, backfill=backfill)
        awaited = partition in self._bad
        self._blame(batch, partition, late=late)
        if late and not probe and not awaited:
            self._judge(moves, now, opens=False, good=False)
            self._end(served)
            return
        self._counted += 1
        self._last_partition = partition
        self.last_broken, self.measured = batch.broken, True
        if not late:
            self._failures.clear()  # Data has arrived, good or bad, and of the newest partition.
            self._newest = (partition, min(batch.event_time, now))
        passes = self._passes(batch.broken)
        # That another partition is good says nothing of those that are bad.
        answers = not self._bad or partition in self._bad
        alone = probe or self.lease is None
        good = passes and answers and alone
        opens = False
        if not self.barred:
            self._window.append(batch.broken)
            held = self._held()
            unknown = held is None and self.terms.unknown_opens
            enough = len(self._window) >= self.terms.enough
            opens = enough and (held is True or unknown) and not self.frozen
        elif not self.frozen:
            self._good += good
            if probe and (answers or not passes):
                self.lease = None  # Else its run has yet to make what it was started for.
        closes = good and set(self._bad) <= {partition}
        judged = answers or not self.barred
        self._judge(moves, now, opens=opens, good=good, closes=closes, judged=judged)
        if opens:
            self._opened(partition, {"errors"})
        else:
            self._absolve(partition, passes=passes, probe=probe)
        self._end(served)

    def _blame(self, batch: Batch, partition: str | None, *, late: bool) -> None:
        """A batch that is bad while the circuit is not closed, old as it may be."""
        if not self.barred:
            return
        if self._is_bad(batch.broken, late=late):
            self._blames.add("errors")
            if partition is not None and not self.of_partition and partition not in self._bad:
                self._bad.append(partition)

    def _is_bad(self, broken: int | None, *, late: bool = False) -> bool:
        if broken is None:
            return self.terms.unknown_opens and not late
        return broken > self.terms.limit

    def _absolve(self, partition: str | None, *, passes: bool, probe: bool) -> None:
        """One of several bad partitions has become good; its own probe answers for itself."""
        others = [bad for bad in self._bad if bad != partition]
        probed = self.lease is not None and not probe and self._bad[:1] == [partition]
        if passes and others and not probed:
            self._bad = others

    def _opened(self, partition: str | None, blames: set[str]) -> None:
        self._blames = blames
        self._bad = [] if self.of_partition or partition is None else [partition]

    def _conditions(self) -> set[str]:
        """What the contract asks."""
        terms = self.terms
        asked = {
            "errors": True,
            "stale": terms.stale_after,
            "failed_materializations": terms.failures,
            "source_unavailable": terms.unavailable,
        }
        return {name for name, term in asked.items() if term is not None}

    def failed(
        self,
        what: str,
        partition: str | None,
        holder: str | None,
        now: datetime,
        moves: Sequence[StateTransition],
        *,
        backfill: bool,
        made: bool,
    ) -> None:
        """A materialization failed (``made``), or the primary could not be loaded."""
        served = self.healthy
        self.settle(now)
        probe = self.lease is not None and self.lease[0] == holder
        if not probe and not self.of_partition and (backfill or (made and self._older(partition))):
            self._judge(moves, now, opens=False, good=False)
            self._end(served)
            return
        self._counted += 1
        self._failures[what] = self._failures.get(what, 0) + 1
        if probe:
            self.lease = None
        blames = self._spoken(now) | ({what} if self._fails_too_often(what) else set())
        held_back = self._held_back()
        # A run of another partition than is waited for answers nothing, unless it is the probe's.
        # A consumer that cannot read began while it was closed: that is no try either.
        awaited = partition is None or not self._bad or partition in self._bad
        answers = probe or (awaited and what != "source_unavailable")
        self._judge(moves, now, opens=bool(blames), good=False, judged=answers)
        if blames:
            self._opened(held_back if partition is None else partition, blames)
        self._end(served)

    def _older(self, partition: str | None) -> bool:
        """Whether a partition begins before the newest that was counted."""
        newest = self._newest[0] if self._newest is not None else None
        if partition is None or newest is None:
            return False
        return PARTITIONS.index(partition) > PARTITIONS.index(newest)

    def fails(self, what: str) -> bool:
        """Whether something failed when it was tried last."""
        return self._failures.get(what, 0) > 0

    def recovered(self, what: str, now: datetime, moves: Sequence[StateTransition]) -> None:
        """What had failed went well."""
        served = self.healthy
        self.settle(now)
        self._failures.pop(what, None)
        blames, held_back = self._spoken(now), self._held_back()
        self._judge(moves, now, opens=bool(blames), good=False)
        if blames:
            self._opened(held_back, blames)
        self._end(served)

    def _fails_too_often(self, what: str) -> bool:
        made = what == "failed_materializations"
        limit = self.terms.failures if made else self.terms.unavailable
        if limit is None or self.barred or self.frozen:
            return False
        return self._counted >= self.terms.enough and self._failures[what] >= limit

    def ticked(self, now: datetime, moves: Sequence[StateTransition]) -> None:
        """Time passed, and the package had the chance to see it."""
        served = self.healthy
        self.settle(now)
        blames, held_back = self._spoken(now), self._held_back()
        if not moves and now < self._latest:
            blames = set()  # While a clock that was turned back catches up, nobody need wake.
        self._judge(moves, now, opens=bool(blames), good=False)
        if blames:
            self._opened(held_back, blames)
        self._end(served)

    def blocked(self, now: datetime, moves: Sequence[StateTransition]) -> None:
        """No probe can be started: a lease is given back, and it has cost nothing."""
        served = self.healthy
        self.settle(now)
        self._judge(moves, now, opens=False, good=False)
        if self.barred:
            self.lease = None
            self._turns.pop((self._generation, self._good), None)
        self._end(served)

    def explained(
        self, upstream: frozenset[str], now: datetime, moves: Sequence[StateTransition]
    ) -> None:
        """Others further up are open now: they explain what is wrong here."""
        served = self.healthy
        self.settle(now)
        self._judge(moves, now, opens=False, good=False)
        if self.upstream - upstream:
            self._waiting_since = None  # The next probe may be due at once.
        self.upstream = upstream
        self._end(served)

    def asked(
        self,
        holder: str,
        partition: str | None,
        granted: bool,
        now: datetime,
        moves: Sequence[StateTransition],
    ) -> None:
        """Somebody wanted to be the probe."""
        self.ticked(now, moves)
        if not granted:
            return
        turn_of = self._bad[:1] if self.lease is None and partition is not None else [partition]
        demand(turn_of in ([], [partition]), f"{partition} is probed, and {turn_of} is bad")
        demand(not self.frozen and self.barred, "a probe was granted where nothing is to be tried")
        other = self.lease is not None and self.lease[0] != holder
        demand(not other, f"the lease of {self.lease} was given to {holder} too")
        turn = (self._generation, self._good)
        demand(self._turns.setdefault(turn, holder) == holder, "two probes in one generation")
        if self.lease is None:
            self.lease = (holder, now + 30 * MINUTE)

    def gone(
        self, partitions: Collection[str], now: datetime, moves: Sequence[StateTransition]
    ) -> None:
        """Partitions do not exist any more: nobody is served from them."""
        self.settle(now)
        self._judge(moves, now, opens=False, good=False)
        self._bad = [bad for bad in self._bad if bad not in partitions]

    def forced(
        self, kind: str, until: datetime | None, now: datetime, moves: Sequence[StateTransition]
    ) -> None:
        """An operator set an override, or lifted it."""
        served = self.healthy
        self.settle(now)
        if kind == "none":
            self.override = ("none", None)
        else:
            self.override, self.lease = (kind, until), None
            self._turns.clear()
        self._judge(moves, now, opens=False, good=False)
        self._end(served)

    def reset(self, now: datetime, moves: Sequence[StateTransition]) -> None:
        """An operator closed the circuit."""
        served = self.healthy
        self.settle(now)
        self.override = ("none", None)
        self._window.clear()
        self._judge(moves, now, opens=False, good=False)
        demand(not self.barred, "a reset left the circuit open")
        self._end(served)

    def must_open(self, now: datetime) -> bool:
        """Whether what was counted and what time has done speak for opening."""
        return bool(self._spoken(now))

    def _spoken(self, now: datetime) -> set[str]:
        """The conditions that hold by now, and that an override may have held back."""
        if self.barred or self.frozen:
            return set()
        enough = len(self._window) >= self.terms.enough
        found = {"errors"} if enough and self._held() is True else set()
        limit = self.terms.stale_after
        known = limit is not None and self._newest is not None
        if known and self._counted >= self.terms.enough and now - self._newest[1] > limit:
            found.add("stale")
        return found

    def _held_back(self) -> str | None:
        """The partition counted last, if its batch was bad and still did not open the circuit."""
        bad = bool(self._window) and self._is_bad(self._window[-1])
        return self._last_partition if bad else None

    # -- what the package made of it ------------------------------------------------------------

    def took(self, moves: Sequence[StateTransition], now: datetime) -> None:
        """Transitions that no batch and no passing of time can explain as an opening."""
        self._judge(moves, now, opens=False, good=False)

    def _judge(
        self,
        moves: Sequence[StateTransition],
        now: datetime,
        *,
        opens: bool,
        good: bool,
        closes: bool = False,
        judged: bool = False,
    ) -> None:
        opened = False
        for move in moves:
            demand(judged or move.cause not in _BY_JUDGEMENT, f"nothing was judged: {move}")
            self._generation += 1
            demand(move.generation == self._generation, f"a generation was left out: {move}")
            if move.before is CircuitState.CLOSED:
                demand(not self.barred, f"it was open already: {move}")
                demand(opens, f"nothing speaks for opening: {move}")
                self.barred, opened = True, True
            self._count_attempts(move)
            if move.after is CircuitState.OPEN:
                self._waiting_since = now
            if move.before is CircuitState.OPEN and move.after is CircuitState.HALF_OPEN:
                self._demand_waited(move, now)
            if move.after is CircuitState.CLOSED:
                self._demand_deserved(move, closes)
                self.barred = False
            if move.after in (CircuitState.OPEN, CircuitState.EXHAUSTED, CircuitState.CLOSED):
                self.lease = None
                # The batch of this very moment may be the first good one after its probe failed.
                self._good = self._good if move.after is CircuitState.CLOSED else int(good)
            if CircuitState.CLOSED in (move.before, move.after):
                self._blames, self._bad = set(), []
                self._window.clear()
                self._good = 0
        self._latest = max(self._latest, now)
        demand(opened or not opens, "the circuit stayed closed though its contract was broken")

    def _count_attempts(self, move: StateTransition) -> None:
        retries = self.terms.retries
        if move.before is CircuitState.CLOSED:
            self.attempts = min(1, retries)
        elif move.after is CircuitState.CLOSED:
            self.attempts = 0
        elif move.after is CircuitState.OPEN and not self.upstream:
            demand(self.attempts < retries, f"tried once more than {retries} times: {move}")
            self.attempts += 1
        elif move.after is CircuitState.EXHAUSTED:
            demand(not self.upstream or retries == 0, f"given up for {self.upstream}: {move}")
            demand(self.attempts >= retries, f"given up after {self.attempts} of {retries}")

    def _demand_waited(self, move: StateTransition, now: datetime) -> None:
        since = self._waiting_since
        if since is not None and now >= since:
            least = self.terms.retry_after * 9 // 10
            demand(now - since >= least, f"tried after {now - since}, and not {least}: {move}")

    def _demand_deserved(self, move: StateTransition, closes: bool) -> None:
        demand(self.barred, f"it was closed already: {move}")
        if move.cause is TransitionCause.RESET:
            return
        demand(move.cause is TransitionCause.PROBE_GOOD, f"closed by {move.cause}")
        demand(
            closes, f"a batch closed the circuit that is not good, or not the only bad one: {move}"
        )
        demand(self._good >= self.terms.probes, f"closed by {self._good} good batches")

    def _late(self, batch: Batch, partition: str | None, *, backfill: bool) -> bool:
        if self.of_partition:
            return False
        if backfill:
            return True
        if self._newest is None:
            return False
        return partition != self._newest[0] and batch.event_time < self._newest[1]

    def _passes(self, broken: int | None) -> bool:
        closing = self.terms.closing
        if closing is not None and (broken is None or broken >= closing):
            return False
        if broken is not None:
            return broken <= self.terms.limit
        # What is not known is no news, unless it is what the circuit opened by.
        terms = self.terms
        others = any(t is not None for t in (terms.stale_after, terms.failures, terms.unavailable))
        return others and not self.terms.unknown_opens and "errors" not in self._blames

    def _held(self) -> bool | None:
        hold = self.terms.hold
        last = self._window[-hold:]
        says = [None if broken is None else broken > self.terms.limit for broken in last]
        if not says or False in says or len(says) < hold:
            return False
        return None if None in says else True


def expected_level(
    asset: Asset,
    guard: Guard,
    *,
    usable: dict[str, bool],
    primary: bool,
    probing: bool,
) -> str | None:
    """The level that a reader must be served, ``None`` where there is none.

    ``usable`` are the fallbacks that exist, are young enough and whose own circuit lets them
    through; ``primary`` is whether the primary can be loaded at all.
    """
    terms = asset.terms
    assert terms is not None
    can = [name for name in terms.fallbacks if usable[name]]
    active: list[str] = []
    last = terms.fallbacks[-1] if terms.fallbacks else None
    known = terms.activation is not None and guard.last_broken is not None
    if known and last in can and guard.last_broken > terms.activation:
        active = [last]
    if guard.lets_through:
        if active and not guard.frozen:
            return active[0]
        if primary:
            return "primary"
    elif probing and primary:
        return "primary"
    bound = terms.activation is not None and terms.binding
    others = [n for n in can if n not in active and not (bound and n == last)]
    return next(iter(active + others), None)
