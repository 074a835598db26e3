"""The peer's side: load the table once, then validate it each time it is asked to.

A peer runs in a Python of its own, where this project is not installed, so nothing here imports it.
One line of JSON comes in for each run and one goes out; interpreter start, imports and reading the
table are not part of the time, as they are not for the engine.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One rule in neutral words; ``value`` is the limit, the pattern or the list of values."""

    name: str
    column: str
    kind: str
    value: Any = None


@dataclass(frozen=True)
class Peer:
    """How a peer validates: ``counts`` reads the failing rows by rule from what ``run`` returned.

    ``left_out`` are the rules that the peer has no words for.
    """

    run: Callable[[], object]
    counts: Callable[[Any], dict[str, int]]
    left_out: list[str] = field(default_factory=list)


def serve(prepare: Callable[[Path, list[Rule]], Peer]) -> None:
    """Answer until the input ends; ``python -m benchmarks.peers.NAME TABLE.parquet RULES.json``."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What peers print must not stand among the answers.
    rules = [Rule(**found) for found in json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))]
    peer = prepare(Path(sys.argv[1]), [_typed(rule) for rule in rules])
    _tell(answers, {"left_out": peer.left_out})
    for asked in sys.stdin:
        started = time.perf_counter()
        result = peer.run()
        seconds = time.perf_counter() - started
        wanted = asked.strip() == "count"
        _tell(answers, {"seconds": seconds, "counts": peer.counts(result) if wanted else None})


def _typed(rule: Rule) -> Rule:
    if rule.kind == "minimum" and isinstance(rule.value, str):
        return Rule(rule.name, rule.column, rule.kind, datetime.fromisoformat(rule.value))
    return rule


def _tell(answers: Any, what: dict[str, Any]) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()
