"""The state machine against a second one, written from the table and not from the code.

The model knows nothing of conditions, windows of observations, alerts or dataclasses: it classifies
each event into a word ("violation", "good probe", ...), looks the word up in a table that names the
states to pass through, and keeps its counters in a dict.
"""

from __future__ import annotations

import os
from collections.abc import Set
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dagster_contracts.core.circuit import (
    Alert,
    Circuit,
    CircuitEvent,
    CircuitKey,
    CircuitState,
    Dismissed,
    Failed,
    Forced,
    Heal,
    Inherited,
    Observed,
    Override,
    PartitionsGone,
    Placed,
    PolicyChanged,
    ProbeAsked,
    ProbeBlocked,
    Reset,
    StateTransition,
    Step,
    Ticked,
    TransitionCause,
    UpstreamClosed,
    UpstreamOpened,
    advance,
    circuit_from_json,
    circuit_to_json,
    transition_from_json,
    transition_to_json,
)
from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import CircuitMode, CircuitPolicy, OnUnknown, Recovery

# A soak run sets this to as many as it has time for.
EXAMPLES = int(os.environ.get("DAGSTER_CONTRACTS_CIRCUIT_EXAMPLES", "150"))
EPOCH = datetime(2026, 3, 2, tzinfo=UTC)

# (state, word) -> the states to pass through, in order. What is not listed changes no state.
TABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("closed", "violation"): ("open",),
    ("closed", "violation, no retries"): ("open", "exhausted"),
    ("open", "due"): ("half_open",),
    ("half_open", "good and enough"): ("closed",),
    ("half_open", "bad, retries left"): ("open",),
    ("half_open", "bad, no retries left"): ("exhausted",),
    ("exhausted", "mended"): ("half_open",),
    ("exhausted", "edited"): ("half_open",),
    ("open", "reset"): ("closed",),
    ("half_open", "reset"): ("closed",),
    ("exhausted", "reset"): ("closed",),
}


CONDITIONS = {"schema_validation_errors": "errors", "data_freshness": "clock"}


class Model:
    """The second implementation: numbers are seconds, errors are per cent."""

    def __init__(self, rules: dict[str, Any]) -> None:
        self.rules = rules
        self.now = 0
        self.path: list[str] = ["closed"]
        self.c: dict[str, Any] = {
            "attempts": 0,
            "good": 0,
            "due": None,
            "since": None,  # when the wait for the probe, or for the one who holds it, began
            "lease": None,
            "override": ("none", None),  # the circuit's own
            "whole": ("none", None),  # that of the whole asset, as it was last heard of
            "window": [],
            "counted": 0,
            "newest": None,  # (day, event second)
            "upstream": set(),
            "openings": [],
            "blames": set(),  # which of the two conditions held since the opening
            "bad": [],  # the days that must be good, in the order in which they are probed
            "last_day": None,
            "edited": False,
            "edition": "a",
            "old": False,
        }

    @property
    def state(self) -> str:
        return self.path[-1]

    def word(self, word: str) -> bool:
        """Look a word up and pass through its states."""
        states = TABLE.get((self.state, word), ())
        for state in states:
            was = self.state
            self.path.append(state)
            self.c["since"] = self.now
            getattr(self, f"_enter_{state}")(was)
        return bool(states)

    def _enter_open(self, was: str) -> None:
        c, rules = self.c, self.rules
        if was == "closed":
            day = rules["flapping_window"]
            c["openings"] = [t for t in c["openings"] if self.now - t < day] + [self.now]
            c["attempts"] = min(1, rules["retries"])
        elif not c["upstream"]:
            c["attempts"] += 1
        recent = [t for t in c["openings"] if self.now - t < rules["flapping_window"]]
        doublings = max(c["attempts"], 1) - 1 + max(0, len(recent) - rules["flapping"] + 1)
        c["due"] = self.now + min(rules["cap"], rules["wait"] * 2**doublings)
        c["good"], c["lease"], c["window"] = 0, None, []

    def _enter_half_open(self, was: str) -> None:
        self.c["due"], self.c["good"] = None, 0

    def _enter_exhausted(self, was: str) -> None:
        self.c["due"], self.c["good"], self.c["lease"] = None, 0, None

    def _enter_closed(self, was: str) -> None:
        self.c.update(attempts=0, good=0, due=None, lease=None, window=[])
        self.c.update(blames=set(), bad=[], edited=False)

    # -- time --

    def override(self) -> tuple[str, int | None, bool]:
        """What is obeyed: kind, end, and whether it is the whole asset's."""
        c = self.c
        if c["override"][0] != "none":
            return (*c["override"], False)
        return (*c["whole"], c["whole"][0] != "none")

    def frozen(self) -> bool:
        return self.override()[0] != "none" or bool(self.rules["watching"])

    def settle(self) -> None:
        c = self.c
        if self.state != "closed" and c["since"] is not None and c["since"] > self.now:
            # The clock was set back: what is waited for is as far away as it was at first.
            ahead, c["since"] = c["since"] - self.now, self.now
            c["due"] = None if c["due"] is None else c["due"] - ahead
            c["lease"] = None if c["lease"] is None else (c["lease"][0], c["lease"][1] - ahead)
        for whose in ("override", "whole"):
            kind, until = c[whose]
            if kind != "none" and until is not None and self.now >= until:
                c[whose] = ("none", None)
        if self.frozen():
            c["lease"] = None
        elif c["lease"] is not None and self.now >= c["lease"][1]:
            self.bad()
        self.grant()

    def grant(self) -> None:
        """An edit gives an exhausted circuit a probe, once nothing is forced any more."""
        if self.c["edited"] and not self.frozen():
            self.c["edited"] = False
            self.word("edited")

    def bad(self) -> None:
        retries = self.rules["retries"]
        left = bool(self.c["upstream"]) or self.c["attempts"] < retries
        self.word("bad, retries left" if left else "bad, no retries left")

    def good(self, day: int, *, for_newest: bool) -> None:
        c = self.c
        c["good"] += 1
        c["lease"] = None
        others = [bad for bad in c["bad"] if bad != day]
        if others or for_newest:
            c["bad"] = others
        elif c["good"] >= self.rules["probes"]:
            self.word("good and enough")

    def due(self) -> bool:
        due = self.c["due"]
        return self.state == "open" and (due is None or self.now >= due) and self.word("due")

    # -- events --

    def violates(self, errors: int | None) -> bool | None:
        return None if errors is None else errors > self.rules["limit"]

    def held(self) -> bool | None:
        """Whether errors were too many in each of the last ``hold`` checks; None: unknown."""
        window = self.c["window"][-self.rules["hold"] :]
        last = [self.violates(errors) for errors, _ in window]
        if not last:
            return None
        if False in last or len(last) < self.rules["hold"]:
            return False
        return None if None in last else True

    def asked(self, errors: bool | None, fresh: int | None) -> dict[str, bool | None]:
        """What the conditions say; nobody asks an old partition's circuit how fresh it is."""
        stale = None if fresh is None else fresh > 1800
        return {"errors": errors} | ({} if self.c["old"] else {"clock": stale})

    def against(
        self, says: dict[str, bool | None], *, unknown: bool, untold: Set[str] = frozenset()
    ) -> set[str]:
        """The conditions that speak for opening; ``untold`` are those that others answer."""
        broken = {name for name, truth in says.items() if truth}
        if not broken and unknown and self.rules["unknown_opens"]:
            return {name for name, truth in says.items() if truth is None} - untold
        return broken

    def violation(self, blames: set[str], day: int | None) -> None:
        self.c.update(blames=blames, bad=[] if day is None else [day])
        self.word("violation" if self.rules["retries"] else "violation, no retries")

    def blame(
        self, errors: int | None, fresh: int | None, day: int, *, late: bool, untold: Set[str]
    ) -> None:
        """A day that is bad by itself must be good before the circuit closes."""
        if self.state == "closed":
            return
        says = self.asked(self.violates(errors), fresh)
        if late:
            says.pop("clock", None)
        broken = self.against(says, unknown=not late, untold=untold)
        self.c["blames"] |= broken
        if broken and day not in self.c["bad"]:
            self.c["bad"].append(day)

    def passes(
        self, errors: int | None, fresh: int | None, *, older: bool, untold: Set[str]
    ) -> tuple[bool, bool]:
        """Whether a probe is good, and whether the newest day has a question left to answer."""
        answered, doubted, left = False, False, False
        for name, truth in self.asked(self.violates(errors), fresh).items():
            must_know = self.rules["unknown_opens"] and name not in untold
            must_know = must_know or name in self.c["blames"]
            if truth is False:
                answered = True
            elif older and name == "clock":
                left = left or must_know
            elif truth or must_know:
                return False, False
            else:
                doubted = True
        closing = self.rules["closing"]
        if closing is not None:
            if errors is None or errors >= closing:
                return False, False
            answered = True
        if left or answered:
            return True, left
        return not doubted, False

    def observe(
        self,
        errors: int | None,
        fresh: int | None,
        day: int,
        at: int,
        backfill: bool,
        holder: str | None,
        reported: bool,
        untold: Set[str],
    ) -> None:
        self.settle()
        c = self.c
        newest = c["newest"]
        late = backfill or (newest is not None and day != newest[0] and at < newest[1])
        asked = c["lease"] is not None and c["lease"][0] == holder
        awaited = day in c["bad"]
        self.blame(errors, fresh, day, late=late, untold=untold)
        if late and not asked and not awaited:
            return
        older = late and awaited
        is_good, for_newest = self.passes(errors, fresh, older=older, untold=untold)
        c["counted"] += 1
        c["last_day"] = day
        if not late and at <= self.now + 3600:
            c["newest"] = (day, min(at, self.now))
        if self.state == "closed":
            c["window"].append((errors, fresh))
            enough = len(c["window"]) >= self.rules["enough"]
            says = self.asked(self.held(), fresh)
            broken = self.against(says, unknown=True, untold=untold)
            if enough and broken and not self.frozen():
                self.violation(broken, day)
            return
        answers = not c["bad"] or day in c["bad"]
        tried = not self.frozen() and (
            self.state == "exhausted"
            or self.due()
            or (self.state == "half_open" and (asked or c["lease"] is None))
        )
        if not tried:
            probed = c["lease"] is not None and c["bad"] and c["bad"][0] == day
            if is_good and day in c["bad"] and len(c["bad"]) > 1 and not probed:
                c["bad"].remove(day)
        elif self.state == "exhausted":
            if is_good and answers and self.word("mended"):
                self.good(day, for_newest=for_newest)
        elif not answers:
            pass  # What is waited for was not tried.
        elif is_good:
            self.good(day, for_newest=for_newest)
        else:
            # What somebody else reported is a bad probe only where it says that something is wrong.
            stale = fresh is not None and fresh > 1800 and not (late and awaited) and not c["old"]
            closing = self.rules["closing"]
            too_many = closing is not None and errors is not None and errors >= closing
            if self.violates(errors) or stale or too_many or not reported:
                self.bad()

    def fail(self, holder: str | None, day: int | None, *, reading: bool) -> None:
        self.settle()
        self.c["counted"] += 1
        if self.frozen():
            return
        lease = self.c["lease"]
        if self.state == "closed":
            self.look_at_the_clock(None, day)
            return
        self.due()
        mine = lease is not None and lease[0] == holder
        awaited = day is None or not self.c["bad"] or day in self.c["bad"]
        tried = lease is None and awaited and not reading
        if self.state == "half_open" and (mine or tried):
            self.bad()

    def tick(self, freshness: int | None) -> None:
        self.settle()
        if self.frozen():
            return
        if self.state == "closed":
            self.look_at_the_clock(freshness)
        elif not self.c["upstream"]:
            self.due()

    def look_at_the_clock(self, freshness: int | None, day: int | None = None) -> None:
        c, enough = self.c, self.rules["enough"]
        if self.frozen():
            return
        seen = c["window"][-1] if c["window"] else None
        if freshness is None and seen is not None:
            freshness = seen[1]
        says = self.asked(self.held() if len(c["window"]) >= enough else None, freshness)
        if c["counted"] < enough:
            says.pop("clock", None)
        broken = self.against(says, unknown=False)
        if not broken:
            return
        # What was let through under an override is bad all the same.
        if day is None and seen is not None:
            alone = self.asked(self.violates(seen[0]), seen[1])
            day = c["last_day"] if self.against(alone, unknown=True) else None
        self.violation(broken, day)

    def ask(self, holder: str, day: int | None) -> None:
        self.settle()
        c = self.c
        if self.frozen() or (c["upstream"] and c["lease"] is None):
            return
        self.due()
        turn = day is None or not c["bad"] or c["bad"][0] == day
        if self.state == "half_open" and self.c["lease"] is None and turn:
            self.c["lease"] = (holder, self.now + self.rules["timeout"])
            self.c["since"] = self.now

    def gone(self, days: set[int]) -> None:
        self.settle()
        self.c["bad"] = [day for day in self.c["bad"] if day not in days]

    def force(self, kind: str, until: int | None) -> None:
        self.settle()
        if kind == "none":
            self.c["override"] = ("none", None)
        else:
            # The whole asset's is heard of again once the circuit's own is over.
            self.c["override"], self.c["lease"] = (kind, until), None
            self.c["whole"] = ("none", None)
        self.grant()

    def hear(self, kind: str, until: int | None) -> None:
        """The whole asset's override; nobody hears of it while the circuit has one of its own."""
        self.settle()
        if self.c["override"][0] == "none":
            self.c["whole"] = (kind, until)
            if kind != "none":
                self.c["lease"] = None
        self.grant()

    def place(self, old: bool) -> None:
        self.settle()
        self.c["old"] = old

    def reset(self) -> None:
        self.settle()
        self.c["override"] = ("none", None)
        self.c["window"] = []
        self.word("reset")

    def edit(self, edition: str) -> None:
        self.settle()
        if edition == self.c["edition"]:
            return
        self.c.update(edition=edition, window=[])
        self.c["attempts"] = min(self.c["attempts"], self.rules["retries"])
        self.c["edited"] = self.state != "closed"
        self.grant()

    def upstream(self, name: str, opened: bool) -> None:
        self.settle()
        c = self.c
        if opened:
            c["upstream"].add(name)
        elif name in c["upstream"]:
            c["upstream"].remove(name)
            if not c["upstream"] and c["due"] is not None:
                c["due"] = min(c["due"], self.now)


def _policy(rules: dict[str, Any]) -> CircuitPolicy:
    hold = f" for {rules['hold']} checks" if rules["hold"] > 1 else ""
    return CircuitPolicy(
        open_when=(
            parse_condition(f"schema_validation_errors > {rules['limit']}%{hold}"),
            parse_condition("data_freshness > 30min"),
        ),
        close_when=()
        if rules["closing"] is None
        else (parse_condition(f"schema_validation_errors < {rules['closing']}%"),),
        recovery=Recovery(
            retry_after=timedelta(seconds=rules["wait"]),
            max_wait=timedelta(seconds=rules["cap"]),
            max_retries=rules["retries"],
            probes=rules["probes"],
            probe_timeout=timedelta(seconds=rules["timeout"]),
            jitter=Fraction(0),
        ),
        min_observations=rules["enough"],
        mode=CircuitMode.METRICS_ONLY if rules["watching"] else CircuitMode.ENFORCE,
        on_unknown=OnUnknown.OPEN if rules["unknown_opens"] else OnUnknown.KEEP,
        flapping_openings=rules["flapping"],
        flapping_window=timedelta(seconds=rules["flapping_window"]),
    )


_rules = st.fixed_dictionaries(
    {
        "limit": st.sampled_from([5, 20]),
        "closing": st.sampled_from([None, None, 1, 15]),
        "hold": st.sampled_from([1, 1, 2]),
        "enough": st.sampled_from([1, 1, 3]),
        "retries": st.sampled_from([0, 1, 2, 3, 3]),
        "probes": st.integers(1, 2),
        "wait": st.just(60),
        "cap": st.sampled_from([100, 400]),
        "timeout": st.just(90),
        "watching": st.sampled_from([False] * 7 + [True]),
        "unknown_opens": st.sampled_from([False, False, True]),
        "flapping": st.sampled_from([2, 50]),
        "flapping_window": st.just(600),
    }
)
_errors = st.sampled_from([0, 0, 10, 10, 30, None])
_fresh = st.sampled_from([0, 0, 0, 0, 9000, None])
_holders = st.sampled_from([None, "run 1", "run 2"])


class CircuitAgainstModel(RuleBasedStateMachine):
    """Every event goes to both; after every event both say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = 0
        self.serial = 0
        self.sent: list[Observed | Failed] = []
        self.told: dict[str, str] = {}
        self.holders: dict[tuple[int, int], str] = {}
        self.transitions: list[StateTransition] = []

    @initialize(rules=_rules)
    def begin(self, rules: dict[str, Any]) -> None:
        self.terms = rules
        self.model = Model(rules)
        self.circuit = Circuit(key=CircuitKey("orders", "orders"), policy_hash="a")

    # -- what happens --

    @rule(seconds=st.sampled_from([-200, -1, 1, 30, 59, 60, 61, 90, 120, 400, 2000]))
    def time_passes_or_goes_backwards(self, seconds: int) -> None:
        self.clock += seconds
        self.model.now = self.clock

    @rule(about=st.sampled_from(["due", "lease"]), offset=st.sampled_from([-1, 0, 1]))
    def a_deadline_comes(self, about: str, offset: int) -> None:
        deadline = self.model.c[about]
        if deadline is not None:
            self.clock = (deadline[1] if about == "lease" else deadline) + offset
            self.model.now = self.clock

    @rule(
        errors=_errors,
        fresh=_fresh,
        day=st.integers(1, 4),
        early=st.sampled_from([0, 0, 30, 7200]),
        backfill=st.sampled_from([False] * 7 + [True]),
        holder=_holders,
        reported=st.sampled_from([False] * 4 + [True]),
        others_tell=st.sampled_from([(), (), ("errors",), ("errors", "clock")]),
    )
    def observe(
        self,
        errors: int | None,
        fresh: int | None,
        day: int,
        early: int,
        backfill: bool,
        holder: str | None,
        reported: bool,
        others_tell: tuple[str, ...],
    ) -> None:
        # The days lie in the past, but for one that claims to be of the future.
        at = self.clock + early if early else -1000 + day * 100
        event = Observed(
            evaluation_id=self._new_id(),
            metrics={
                "schema_validation_errors": None if errors is None else Fraction(errors, 100),
                "data_freshness": None if fresh is None else Fraction(fresh),
            },
            event_time=EPOCH + timedelta(seconds=at),
            partition=str(day),
            backfill=backfill,
            lease_holder=holder,
            evaluated_at=EPOCH + timedelta(seconds=self.clock) if reported else None,
        )
        told = {"errors": errors is not None, "clock": fresh is not None}
        untold = {name for name in others_tell if not told[name]}
        event = replace(event, silent=frozenset(m for m, n in CONDITIONS.items() if n in untold))
        self.model.observe(errors, fresh, day, at, backfill, holder, reported, untold)
        self.sent.append(event)
        self._send(event)

    @rule(holder=_holders, day=st.sampled_from([None, 1, 2]), reading=st.booleans())
    def fail(self, holder: str | None, day: int | None, reading: bool) -> None:
        event = Failed(
            evaluation_id=self._new_id(),
            what="it cannot be read" if reading else "crashed",
            metric="source_unavailable" if reading else "failed_materializations",
            partition=day and str(day),
            lease_holder=holder,
        )
        self.model.fail(holder, day, reading=reading)
        self.sent.append(event)
        self._send(event)

    @rule(back=st.integers(1, 60))
    def repeat(self, back: int) -> None:
        """A duplicate: both say nothing, whatever time has done."""
        if not self.sent:
            return
        event = self.sent[-min(back, len(self.sent), 64)]
        before = self.circuit
        step = self._send(event)
        assert step.circuit == before
        assert not step.transitions
        assert not step.effects

    @rule(freshness=st.sampled_from([None, 0, 1800, 1801, 9000]))
    def tick(self, freshness: int | None) -> None:
        self.model.tick(freshness)
        metrics = {} if freshness is None else {"data_freshness": Fraction(freshness)}
        self._send(Ticked(metrics=metrics))

    @rule(
        holder=st.sampled_from(["run 1", "run 1", "run 2"]),
        when_due=st.booleans(),
        day=st.sampled_from([None, None, 1, 2]),
    )
    def ask(self, holder: str, when_due: bool, day: int | None) -> None:
        if when_due and self.model.c["due"] is not None:
            self.model.now = self.clock = max(self.clock, self.model.c["due"])
        self.model.ask(holder, day)
        self._send(ProbeAsked(holder=holder, partition=day and str(day)))

    @rule(days=st.sets(st.integers(1, 4), min_size=1, max_size=2))
    def days_are_deleted(self, days: set[int]) -> None:
        self.model.gone(days)
        self._send(PartitionsGone(partitions=tuple(map(str, sorted(days)))))

    @rule()
    def no_probe_can_be_started(self) -> None:
        """Whoever held the lease gives it back; nothing else moves."""
        self.model.settle()
        if self.model.state not in ("closed", "exhausted"):
            self.model.c["lease"] = None
            self.holders.clear()
        self._send(ProbeBlocked(reason="its partition is gone"))

    @rule(data=st.data(), what=st.sampled_from(["force", "reset", "edit", "upstream", "lift"]))
    def somebody_intervenes(self, data: st.DataObject, what: str) -> None:
        """One rule for all of them, so that most of a story is not made of interventions."""
        if what == "force":
            kind = data.draw(st.sampled_from(Override))
            self._force(kind, data.draw(st.sampled_from([None, 50, 50, 500])))
        elif what == "lift":
            self._force(Override.NONE, None)
        elif what == "reset":
            self.model.reset()
            self._send(Reset(actor="ann", reason="because"))
        elif what == "edit":
            self._edit(data.draw(_rules), data.draw(st.sampled_from("abc")))
        else:
            name, opened = data.draw(st.sampled_from("xy")), data.draw(st.booleans())
            self.model.upstream(name, opened)
            event = UpstreamOpened(upstream=name) if opened else UpstreamClosed(upstream=name)
            self._send(event)

    def _force(self, kind: Override, lasting: int | None) -> None:
        until = None if lasting is None else self.clock + lasting
        self.model.force(kind.value, until)
        end = None if until is None else EPOCH + timedelta(seconds=until)
        self._send(Forced(override=kind, actor="ann", reason="because", until=end))

    @rule(
        kind=st.sampled_from([*Override, Override.NONE]), lasting=st.sampled_from([None, 50, 500])
    )
    def the_whole_asset_is_forced(self, kind: Override, lasting: int | None) -> None:
        until = None if lasting is None or kind is Override.NONE else self.clock + lasting
        end = None if until is None else EPOCH + timedelta(seconds=until)
        self.model.hear(kind.value, until)
        before = self.circuit
        said = Inherited(override=kind, actor="bob", reason="all of them", until=end)
        if kind is Override.NONE:
            said = Inherited()
        step = self._send(said)
        assert step.circuit.state is before.state or before.lease is not None
        assert not [e for e in step.effects if isinstance(e, Alert) and "bob" in e.explanation]

    @rule(old=st.booleans())
    def a_newer_partition_comes_or_is_gone(self, old: bool) -> None:
        self.model.place(old)
        self._send(Placed(time=EPOCH, superseded=old))

    @rule()
    def nobody_asks_any_more(self) -> None:
        self.model.settle()
        self.model.c["override"], self.model.c["lease"] = ("none", None), None
        self.model.grant()
        self.holders.clear()
        self._send(Dismissed(actor="ann", reason="a typo"))
        assert self.circuit.dismissed

    def _edit(self, rules: dict[str, Any], edition: str) -> None:
        if edition != self.circuit.policy_hash:
            self.terms = self.model.rules = rules
        self.model.edit(edition)
        self._send(PolicyChanged(policy_hash=edition))

    # -- what must hold --

    def _new_id(self) -> str:
        self.serial += 1
        return f"evaluation {self.serial}"

    def _send(self, event: CircuitEvent) -> Step:
        before = self.circuit
        now = EPOCH + timedelta(seconds=self.clock)
        policy = _policy(self.terms)
        step = advance(before, event, policy=policy, now=now, random=0.5)
        assert advance(before, event, policy=policy, now=now, random=0.5) == step
        note(f"{self.clock}: {event} -> {step.circuit.state} {[n.kind for n in step.notes]}")
        self._check_transitions(before, step)
        self._check_effects(before, step)
        self.circuit = step.circuit
        self._check_lease(step.circuit)
        return step

    def _check_lease(self, circuit: Circuit) -> None:
        """One holder; in a generation only a good probe, override or failed start passes it on."""
        if circuit.frozen:
            self.holders.clear()
        elif circuit.lease is not None:
            turn = (circuit.lease.generation, circuit.good_probes)
            assert self.holders.setdefault(turn, circuit.lease.holder) == circuit.lease.holder

    def _check_transitions(self, before: Circuit, step: Step) -> None:
        state, generation = before.state, before.generation
        for transition in step.transitions:
            generation += 1
            assert transition.generation == generation
            assert transition.before is state
            assert transition.after is not state
            state = transition.after
            if state is CircuitState.CLOSED:
                assert transition.cause in (TransitionCause.PROBE_GOOD, TransitionCause.RESET)
                probed = transition.cause is TransitionCause.PROBE_GOOD
                assert not probed or transition.before is CircuitState.HALF_OPEN
            assert transition_from_json(transition_to_json(transition)) == transition
        assert (step.circuit.state, step.circuit.generation) == (state, generation)
        self.transitions += step.transitions

    def _check_effects(self, before: Circuit, step: Step) -> None:
        alerts = [effect for effect in step.effects if isinstance(effect, Alert)]
        for transition in step.transitions:
            mine = [a for a in alerts if a.explanation == transition.explanation]
            about = [a for a in mine if a.generation == transition.generation]
            assert len(about) == 1
            assert about[0].dedupe_key not in self.told
            self.told[about[0].dedupe_key] = transition.explanation
        closing = any(t.after is CircuitState.CLOSED for t in step.transitions)
        heals = [effect for effect in step.effects if isinstance(effect, Heal)]
        assert len(heals) <= 1
        if heals:
            assert step.circuit.effective_state is CircuitState.CLOSED
            assert closing or before.override is Override.FORCED_OPEN

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "model"):
            return
        circuit, model = self.circuit, self.model.c
        seconds = None
        if circuit.next_probe_at is not None:
            seconds = (circuit.next_probe_at - EPOCH).total_seconds()
        until = circuit.override_until
        lease = circuit.lease
        watermark = circuit.watermark
        assert [t.after.value for t in self.transitions] == self.model.path[1:]
        assert {
            "attempts": circuit.attempts,
            "good": circuit.good_probes,
            "due": seconds,
            "lease": lease and (lease.holder, (lease.expires_at - EPOCH).total_seconds()),
            "override": (
                circuit.override.value,
                until and (until - EPOCH).total_seconds(),
                circuit.inherited,
            ),
            "upstream": set(circuit.upstream),
            "bad": [int(bad.name) for bad in circuit.bad_partitions],
            "blames": {CONDITIONS[text.split()[0]] for text in circuit.opened_by},
            "counted": circuit.evaluations,
            "newest": watermark
            and (int(circuit.watermark_partition or 0), (watermark - EPOCH).total_seconds()),
        } == {"override": self.model.override()} | {
            name: model[name]
            for name in (
                "attempts",
                "good",
                "due",
                "lease",
                "upstream",
                "bad",
                "blames",
                "counted",
                "newest",
            )
        }

    @invariant()
    def the_promises_hold(self) -> None:
        if not hasattr(self, "model"):
            return
        circuit = self.circuit
        assert circuit.generation == len(self.transitions)
        assert 0 <= circuit.attempts <= self.terms["retries"]
        assert (circuit.opened_at is None) == (circuit.state is CircuitState.CLOSED)
        assert (circuit.reason is None) == (circuit.state is CircuitState.CLOSED)
        if circuit.lease is not None:
            assert circuit.state is CircuitState.HALF_OPEN
            assert circuit.lease.generation == circuit.generation
            assert not circuit.frozen
        assert circuit_from_json(circuit_to_json(circuit)) == circuit


CircuitAgainstModel.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestCircuitAgainstModel = CircuitAgainstModel.TestCase
