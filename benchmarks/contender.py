"""Things to time side by side: in turns, so that whatever else the machine does meets them all."""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Counts = Mapping[str, int]


@dataclass
class Contender:
    """Something to time.

    ``run`` may return its own time in seconds (a float), where another process takes it.
    ``counts`` reads the failing rows by rule from what ``run`` returned, ``broken`` the rows that
    break any rule; ``None`` where it does not say. ``left_out`` are rules that it cannot express.
    """

    name: str
    run: Callable[[], Any]
    counts: Callable[[Any], Counts] | None = None
    left_out: Sequence[str] | None = ()
    ours: bool = False
    seconds: list[float] = field(default_factory=list)
    verdict: str = ""
    wrong: bool = False

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    def judge(self, expected: Counts, result: Any) -> None:
        """Compare its counts with the expected ones, rule by rule."""
        if self.counts is None:
            return
        found = self.counts(result)
        left_out = set(self.left_out or ())
        rules = (expected.keys() | {n for n, count in found.items() if count}) - left_out
        differing = sorted(n for n in rules if found.get(n, 0) != expected.get(n, 0))
        self.wrong = bool(differing)
        self.verdict = f"differs: {', '.join(differing)}" if differing else "right"


def take_turns(contenders: Sequence[Contender], runs: int, expected: Counts | None = None) -> None:
    """Run each ``runs`` times, in turns; a first round warms up and is judged.

    The order differs from round to round: the same neighbour before it, which leaves the caches to
    it, would favour or hinder a contender.
    """
    order, chance = list(contenders), random.Random(7)
    for number in range(runs + 1):
        chance.shuffle(order)
        for contender in order:
            started = time.perf_counter()
            result = contender.run()
            took = time.perf_counter() - started
            if number:
                contender.seconds.append(result if isinstance(result, float) else took)
            elif expected is not None:
                contender.judge(expected, result)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


@dataclass(frozen=True)
class Target:
    """A promised ratio: what is measured is at most (or, ``faster``, at least) ``limit``."""

    what: str
    ratio: float
    limit: float
    faster: bool = False

    @property
    def met(self) -> bool:
        """Whether the promise is kept."""
        return self.ratio >= self.limit if self.faster else self.ratio <= self.limit


def print_targets(targets: Sequence[Target]) -> bool:
    """Print the promises beside what was measured; whether all are kept."""
    print("| against | target | measured | |")
    print("|---|---:|---:|---|")
    for target in targets:
        bound = "at least" if target.faster else "at most"
        print(
            f"| {target.what} | {bound} {target.limit:g}x | {target.ratio:.2f}x "
            f"| {'met' if target.met else 'missed'} |"
        )
    return all(target.met for target in targets)
