"""The check ``circuit``: its headline, its history and its timeline."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from dagster_contracts.core.circuit import Circuit, CircuitKey, CircuitState, Override
from dagster_contracts.orchestration.circuit_check import (
    circuit_headline,
    history_table,
    timeline,
    unhealed_table,
)
from dagster_contracts.resilience.history import HistoryEntry
from dagster_contracts.resilience.ledger import DegradedRead

KEY = CircuitKey("flights", "flights")
OPENED = datetime(2026, 3, 2, 6, tzinfo=UTC)
WHY = "schema_validation_errors was 7.0%, which is > 5%"
OPEN = Circuit(
    key=KEY,
    state=CircuitState.OPEN,
    opened_at=OPENED,
    reason=WHY,
    next_probe_at=OPENED + timedelta(minutes=5),
)


def entry(before: CircuitState, after: CircuitState, minutes: float, text: str) -> HistoryEntry:
    return HistoryEntry(
        key=KEY,
        version=1,
        generation=1,
        kind="transition",
        before=before,
        after=after,
        at=OPENED + timedelta(minutes=minutes),
        explanation=text,
    )


HISTORY = [
    entry(CircuitState.HALF_OPEN, CircuitState.CLOSED, 6, "good probe 1 of 1"),
    entry(CircuitState.OPEN, CircuitState.HALF_OPEN, 5, "probe 1 of 3 is due"),
    entry(CircuitState.CLOSED, CircuitState.OPEN, 0, WHY),
]


@pytest.mark.parametrize(
    ("circuit", "headline"),
    [
        (Circuit(key=KEY), "closed: consumers read the primary"),
        (OPEN, f"open since 2026-03-02 06:00:00 UTC: {WHY}; next probe at 06:05:00 UTC"),
        (
            replace(OPEN, state=CircuitState.HALF_OPEN),
            f"half-open, a probe decides; open since 2026-03-02 06:00:00 UTC: {WHY}",
        ),
        (
            replace(OPEN, state=CircuitState.EXHAUSTED),
            f"exhausted, it no longer probes by itself; open since 2026-03-02 06:00:00 UTC: {WHY}",
        ),
        (
            replace(
                OPEN,
                override=Override.FORCED_CLOSED,
                override_until=OPENED,
                override_actor="ann",
                override_reason="known and harmless",
            ),
            "forced closed until 2026-03-02 06:00:00 UTC by ann: known and harmless",
        ),
        (
            replace(OPEN, metrics_only=True, would_open=WHY),
            "closed: consumers read the primary; the mode is metrics only, else it would be open: "
            + WHY,
        ),
    ],
)
def test_the_headline_says_what_consumers_get_and_why(circuit: Circuit, headline: str) -> None:
    assert circuit_headline(circuit) == headline


def unhealed(consumer: str, because: str) -> DegradedRead:
    return DegradedRead(
        circuit=KEY,
        consumer=consumer,
        consumer_partition="d1",
        upstream="orders",
        level="last",
        source="last_valid",
        reason="open",
        run_id="r1",
        generation=1,
        unhealed_because=because,
        unhealed_since=OPENED,
    )


def test_a_probe_that_cannot_run_is_said_with_the_reason_while_it_is_wanted() -> None:
    blocked = replace(OPEN, probe_blocked="the partition d1 is gone")
    assert circuit_headline(blocked).endswith(
        "; next probe at 06:05:00 UTC; the probe cannot run: the partition d1 is gone"
    )
    closed = replace(blocked, override=Override.FORCED_CLOSED)
    assert "the probe cannot run" not in circuit_headline(closed)


def test_what_is_not_healed_is_said_with_the_reason() -> None:
    reads = [unhealed("revenue", "revenue | gone"), unhealed("forecast", "it waits")]
    told = circuit_headline(Circuit(key=KEY), (), reads)
    assert told.endswith("primary; not healed: revenue[d1]: revenue | gone, and 1 more")
    table = unhealed_table(reads).replace("\u00a0", " ").replace("\u2011", "-")
    assert table.splitlines()[2:] == [
        "| revenue[d1] | 2026-03-02 06:00:00 | revenue \\| gone |",
        "| forecast[d1] | 2026-03-02 06:00:00 | it waits |",
    ]
    assert unhealed_table(reads * 30).count("\n") == 3
    many = [unhealed(f"c{number}", "gone") for number in range(25)]
    assert unhealed_table(many).splitlines()[-1] == "| and 5 more | | |"


def test_a_closed_circuit_says_since_when() -> None:
    assert circuit_headline(Circuit(key=KEY), HISTORY) == (
        "closed since 2026-03-02 06:06:00 UTC: consumers read the primary"
    )


def test_the_history_is_a_table_that_no_text_can_break() -> None:
    nasty = entry(CircuitState.CLOSED, CircuitState.OPEN, 0, "a|b\n<b>c</b>")

    table = history_table([HISTORY[1], nasty]).replace("\u00a0", " ").replace("\u2011", "-")

    assert table.splitlines()[2:] == [
        "| 2026-03-02 06:05:00 | half-open | probe 1 of 3 is due |",
        "| 2026-03-02 06:00:00 | open | a\\|b &lt;b&gt;c&lt;/b&gt; |",
    ]


def widths(svg: str) -> list[float]:
    root = ElementTree.fromstring(svg)
    return [float(r.attrib["width"]) for r in root.iter("{http://www.w3.org/2000/svg}rect")]


def test_the_timeline_shows_each_state_as_long_as_it_lasted() -> None:
    drawn = widths(timeline(HISTORY, OPENED + timedelta(minutes=10)))

    # Closed before, open for five minutes, half-open for one, closed for four.
    assert sum(drawn) == pytest.approx(640, abs=0.5)
    assert drawn[1] / drawn[2] == pytest.approx(5, rel=0.01)
    assert drawn[3] / drawn[2] == pytest.approx(4, rel=0.01)


def test_a_short_opening_is_seen_in_a_long_time() -> None:
    drawn = widths(timeline(HISTORY, OPENED + timedelta(days=60)))

    assert min(drawn) > 5


def test_the_timeline_stays_small() -> None:
    many = HISTORY * 3

    assert len(base64.b64encode(timeline(many, OPENED + timedelta(days=1)).encode())) < 3000
