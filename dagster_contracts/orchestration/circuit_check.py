"""The check ``circuit``: what a circuit is now, and what happened to it before."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from html import escape
from itertools import pairwise
from typing import Any

import dagster as dg

from dagster_contracts.core.circuit import Circuit, CircuitState, Override
from dagster_contracts.orchestration.binding import Binding
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.history import HistoryEntry
from dagster_contracts.resilience.ledger import DegradedRead

_HISTORY_LENGTH = 8
"""How many changes of state are shown; each event carries them."""

_UNHEALED_LENGTH = 20
"""How many assets that are not healed are shown."""

_COLOURS = {
    CircuitState.CLOSED: "#2fae71",
    CircuitState.HALF_OPEN: "#e2a400",
    CircuitState.OPEN: "#d8423a",
    CircuitState.EXHAUSTED: "#7d2a8c",
}
_WIDTH = 640.0
_NARROWEST = 6.0


def circuit_history(breaker: CircuitBreaker, circuit: Circuit | None) -> list[HistoryEntry]:
    """The last changes of a circuit's state, newest first; none of no circuit."""
    if circuit is None:
        return []
    return breaker.history(circuit.key, _HISTORY_LENGTH, transitions_only=True)


def circuit_headline(
    circuit: Circuit,
    history: Sequence[HistoryEntry] = (),
    unhealed: Sequence[DegradedRead] = (),
) -> str:
    """``open since 2026-03-02 06:00:00 UTC: schema_validation_errors was 7.0%, which is > 5%``.

    ``unhealed`` are reads of its fallbacks whose consumers cannot be built anew, with the reasons.
    """
    told = _state(circuit, history)
    if circuit.probe_blocked is not None and circuit.effective_state is not CircuitState.CLOSED:
        told += f"; the probe cannot run: {circuit.probe_blocked}"
    reasons = {read.consumer_text: read.unhealed_because for read in unhealed}
    if reasons:
        first, reason = next(iter(reasons.items()))
        more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        told += f"; not healed: {first}: {reason}{more}"
    return told


def _state(circuit: Circuit, history: Sequence[HistoryEntry]) -> str:
    if circuit.override is not Override.NONE:
        until = f" until {_at(circuit.override_until)}" if circuit.override_until else ""
        actor = f" by {circuit.override_actor}" if circuit.override_actor else ""
        reason = f": {circuit.override_reason}" if circuit.override_reason else ""
        return f"{_words(circuit.override)}{until}{actor}{reason}"
    if circuit.effective_state is CircuitState.CLOSED:
        changed = history[0].at if history and history[0].after is CircuitState.CLOSED else None
        since = f" since {_at(changed)}" if changed else ""
        told = f"closed{since}: consumers read the primary"
        if circuit.metrics_only and circuit.would_open:
            told += f"; the mode is metrics only, else it would be open: {circuit.would_open}"
        return told
    opened = f"open since {_at(circuit.opened_at)}" if circuit.opened_at else "open"
    because = f": {circuit.reason}" if circuit.reason else ""
    match circuit.state:
        case CircuitState.HALF_OPEN:
            return f"half-open, a probe decides; {opened}{because}"
        case CircuitState.EXHAUSTED:
            return f"exhausted, it no longer probes by itself; {opened}{because}"
        case _:
            probe = circuit.next_probe_at
            return f"{opened}{because}" + (f"; next probe at {probe:%H:%M:%S} UTC" if probe else "")


def circuit_metadata(
    binding: Binding,
    circuit: Circuit,
    *,
    history: Sequence[HistoryEntry] = (),
    unhealed: Sequence[DegradedRead] = (),
    now: datetime | None = None,
) -> dict[str, Any]:
    """What the ``circuit`` check shows beside its headline.

    ``history`` are the last changes of state, newest first; ``unhealed`` are reads whose consumers
    cannot be built anew; ``now`` is where the timeline ends.
    """
    metadata: dict[str, Any] = {
        "contract": binding.contract.ref,
        "state": _words(circuit.effective_state),
        "open": 0 if circuit.effective_state is CircuitState.CLOSED else 1,
        # As text: Dagster plots every number, and these two are none to look at over time.
        "generation": str(circuit.generation),
    }
    if circuit.attempts:
        metadata["attempts"] = str(circuit.attempts)
    if circuit.state is not CircuitState.CLOSED:
        if circuit.opened_at:
            metadata["opened_at"] = dg.MetadataValue.timestamp(circuit.opened_at)
        if circuit.next_probe_at:
            metadata["next_probe_at"] = dg.MetadataValue.timestamp(circuit.next_probe_at)
        opening = next((e for e in history if e.before is CircuitState.CLOSED), None)
        if opening is not None and opening.run_id:
            metadata["opened_by_run"] = dg.MetadataValue.dagster_run(opening.run_id)
        if circuit.probe_blocked is not None:
            metadata["probe_blocked"] = circuit.probe_blocked
    if unhealed:
        metadata["not_healed"] = dg.MetadataValue.md(unhealed_table(unhealed))
    if history:
        picture = timeline(history, now or history[0].at)
        encoded = base64.b64encode(picture.encode()).decode()
        metadata["history"] = dg.MetadataValue.md(
            f"![the circuit over time](data:image/svg+xml;base64,{encoded})\n\n"
            f"{history_table(history)}"
        )
    return metadata


def history_table(history: Sequence[HistoryEntry]) -> str:
    """The changes of state as a Markdown table, newest first."""
    rows = ["| when (UTC) | became | because |", "|---|---|---|"]
    for entry in history:
        why = entry.explanation or _words(entry.cause or "")
        by = f" (by {entry.actor})" if entry.actor else ""
        # With a space and a hyphen at which the UI does not break the narrow columns.
        when = f"{entry.at:%Y-%m-%d\u00a0%H:%M:%S}".replace("-", "\u2011")
        became = _words(entry.after).replace("-", "\u2011")
        rows.append(f"| {when} | {became} | {_cell(why + by)} |")
    return "\n".join(rows)


def unhealed_table(unhealed: Sequence[DegradedRead]) -> str:
    """What is not built anew, and why, as a Markdown table; the first of many."""
    reasons = {read.consumer_text: read for read in unhealed}
    shown = list(reasons.items())[:_UNHEALED_LENGTH]
    rows = ["| asset | since (UTC) | because |", "|---|---|---|"]
    for name, read in shown:
        since = f"{read.unhealed_since:%Y-%m-%d\u00a0%H:%M:%S}" if read.unhealed_since else ""
        rows.append(
            f"| {_cell(name)} | {since.replace('-', chr(0x2011))} "
            f"| {_cell(read.unhealed_because or '')} |"
        )
    if len(reasons) > len(shown):
        rows.append(f"| and {len(reasons) - len(shown)} more | | |")
    return "\n".join(rows)


def timeline(history: Sequence[HistoryEntry], now: datetime) -> str:
    """The states as coloured stretches of one bar, oldest first, as SVG.

    Lengths are true to time but for the shortest, which are kept wide enough to be seen.
    """
    entries = sorted(history, key=lambda entry: entry.at)
    end = max(now, entries[-1].at)
    span = (end - entries[0].at).total_seconds() or 1.0
    # How long the first state had lasted is not known here: it gets a twelfth.
    stretches = [(entries[0].before, span / 12)]
    for entry, following in pairwise([*entries, None]):
        until = end if following is None else following.at
        stretches.append((entry.after, (until - entry.at).total_seconds()))  # type: ignore[union-attr]
    total = sum(seconds for _, seconds in stretches)
    widths = [max(_NARROWEST, _WIDTH * seconds / total) for _, seconds in stretches]
    scale = _WIDTH / sum(widths)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:.0f}" height="36">']
    x = 0.0
    for (state, _), width in zip(stretches, widths, strict=True):
        parts.append(
            f'<rect x="{x:.1f}" width="{width * scale:.1f}" height="14" fill="{_COLOURS[state]}">'
            f"<title>{_words(state)}</title></rect>"
        )
        x += width * scale
    style = 'y="30" font-family="sans-serif" font-size="11" fill="#808890"'
    shown = [state for state in _COLOURS if any(state is other for other, _ in stretches)]
    legend = "".join(
        f'<tspan fill="{_COLOURS[state]}">■</tspan> {escape(_words(state))}  ' for state in shown
    )
    parts += [
        f'<text x="0" {style}>{entries[0].at:%Y-%m-%d %H:%M:%S}</text>',
        f'<text x="{_WIDTH / 2:.0f}" text-anchor="middle" {style}>{legend}</text>',
        f'<text x="{_WIDTH:.0f}" text-anchor="end" {style}>{end:%Y-%m-%d %H:%M:%S} UTC</text>',
        "</svg>",
    ]
    return "".join(parts)


def _at(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _words(value: str) -> str:
    return "half-open" if value == CircuitState.HALF_OPEN else str(value).replace("_", " ")


def _cell(text: str) -> str:
    """Text that a Markdown table shows as it is."""
    return escape(" ".join(text.split()), quote=False).replace("|", "\\|")
