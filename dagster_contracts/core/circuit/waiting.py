"""How long an open circuit waits before it tries again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from dagster_contracts.core.contract import CircuitPolicy

REMEMBERED_OPENINGS = 32
_MICROSECOND = timedelta(microseconds=1)


def recent_openings(
    openings: tuple[datetime, ...], policy: CircuitPolicy, now: datetime
) -> tuple[datetime, ...]:
    """The openings within the flapping window, oldest first."""
    recent = tuple(at for at in openings if now - at < policy.flapping_window)
    return recent[-(REMEMBERED_OPENINGS - 1) :]


def probe_wait(policy: CircuitPolicy, *, attempts: int, openings: int, random: float) -> timedelta:
    """``min(max_wait, retry_after * backoff**(n-1))``, plus or minus the jitter.

    ``n`` is the number of the probe; a flapping circuit (``openings`` within the window) counts
    each opening from the flapping one on as a further probe. ``random`` in [0, 1).
    """
    recovery = policy.recovery
    steps = max(attempts, 1) - 1
    if policy.flapping_openings > 0:
        steps += max(0, openings - policy.flapping_openings + 1)
    wait = Fraction(recovery.retry_after // _MICROSECOND)
    cap = Fraction(recovery.max_wait // _MICROSECOND)
    if recovery.backoff != 1:
        for _ in range(steps):
            if not 0 < wait < cap:
                break
            wait *= recovery.backoff
    wait = min(wait, cap) * (1 + recovery.jitter * (2 * Fraction(random) - 1))
    return timedelta(microseconds=max(0, int(wait)))


def in_words(moment: datetime | None) -> str:
    """``2026-03-02 06:00:00 UTC``, as explanations say it."""
    if moment is None:
        return "at once"
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
