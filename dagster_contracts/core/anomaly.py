"""Robust scoring of a metric's history, and the forecast of a missed freshness promise.

Pure: series come in as points, verdicts go out as values. The scale of everything is the robust
standard deviation, so a score of 4 means what four sigmas mean for well-behaved numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from math import floor, isfinite
from statistics import fmean, median

#: 1 / Φ⁻¹(3/4): the MAD of normal numbers times this is their standard deviation
#: (Rousseeuw & Croux 1993, "Alternatives to the Median Absolute Deviation", JASA 88).
MAD_TO_SIGMA = 1.4826
#: √(π/2): the same for the mean absolute deviation, used where more than half of the points are
#: equal and the MAD is zero (Iglewicz & Hoaglin 1993, "How to Detect and Handle Outliers", ch. 3).
MEAN_DEVIATION_TO_SIGMA = 1.2533

_PATIENCE = 1.1
"""How much longer than the longest wait one is waited for before it counts as an outage."""


@dataclass(frozen=True, slots=True, order=True)
class SeriesPoint:
    """One measured value of a metric."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringRules:
    """How points are judged.

    ``threshold``: an absolute score of at least this is an anomaly. ``min_history``: no score with
    fewer accepted points. ``window``: how many accepted points are looked back on.
    ``relative_floor``: the scale is at least this part of the centre, ``absolute_floor`` at least
    this much, so that a metric that never moved does not turn the first wobble into an alarm.
    ``shift_points``: so many anomalies in a row that agree with each other are the new normal.
    """

    threshold: float = 4.0
    min_history: int = 8
    window: int = 60
    relative_floor: float = 0.02
    absolute_floor: float = 1e-6
    shift_points: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The verdict on one point.

    ``score`` is signed: negative below the centre, ``None`` without enough history. ``low`` and
    ``high`` enclose what would have been normal. ``shifted``: this point completed a level shift.
    """

    point: SeriesPoint
    score: float | None
    centre: float | None = None
    scale: float | None = None
    low: float | None = None
    high: float | None = None
    anomalous: bool = False
    seasonal: bool = False
    shifted: bool = False
    history: int = 0

    @property
    def explanation(self) -> str:
        """The verdict as a sentence."""
        if self.score is None or self.low is None or self.high is None:
            return f"only {self.history} earlier values: too few to say what is normal"
        of_day = f" on a {self.point.at:%A}" if self.seasonal else ""
        verdict = "unusual" if self.anomalous else "normal"
        text = (
            f"{self.point.value:,.6g} is {verdict}{of_day}: {self.low:,.6g} to {self.high:,.6g} "
            f"was expected after {self.history} values (score {self.score:+.1f})"
        )
        return f"{text}; the level has shifted and is the new normal" if self.shifted else text


def score_series(
    points: Sequence[SeriesPoint], rules: ScoringRules | None = None
) -> tuple[Score, ...]:
    """Judge each point by the accepted ones before it; ``points`` in the order of time.

    A point is never part of its own baseline, and neither are earlier anomalies. After
    ``shift_points`` anomalies in a row, on one side and close to each other, the level has shifted:
    they become the baseline and what was before is dropped. Three like values on one weekday are
    its rhythm and no anomalies.
    """
    rules = rules or ScoringRules()
    accepted: deque[SeriesPoint] = deque(maxlen=rules.window)
    pending: list[SeriesPoint] = []
    left_out: list[SeriesPoint] = []
    scores: list[Score] = []
    needed, inherited = rules.min_history, 0.0
    for point in points:
        if not isfinite(point.value):
            scores.append(Score(point=point, score=None, history=len(accepted)))
            continue
        if len(accepted) >= rules.min_history:
            inherited = 0.0
        verdict = _score(accepted, point, rules, needed=needed, floor_scale=inherited)
        if not verdict.anomalous:
            accepted.append(point)
            pending.clear()
            scores.append(verdict)
            continue
        pending.append(point)
        rhythm = _weekly_rhythm(point, accepted, left_out, verdict, rules)
        if rhythm:
            # The same on this weekday three times: a rhythm that the first weeks could not show.
            accepted = _merged(accepted, rhythm, rules)
            left_out = [known for known in left_out if known not in rhythm]
            pending.clear()
            scores.append(replace(verdict, anomalous=False, seasonal=True))
            continue
        left_out.append(point)
        if _is_new_level(pending, verdict, rules):
            accepted.clear()
            accepted.extend(pending)
            pending.clear()
            left_out.clear()
            # Four points alone say little about the spread: the old one holds until there are more.
            needed, inherited = rules.shift_points, verdict.scale or 0.0
            verdict = replace(verdict, anomalous=False, shifted=True)
        scores.append(verdict)
    return tuple(scores)


def score(
    history: Sequence[SeriesPoint], point: SeriesPoint, rules: ScoringRules | None = None
) -> Score:
    """Judge one new point by its history (oldest first)."""
    return score_series((*history, point), rules)[-1]


def _score(
    accepted: Sequence[SeriesPoint],
    point: SeriesPoint,
    rules: ScoringRules,
    *,
    needed: int,
    floor_scale: float,
) -> Score:
    count = len(accepted)
    if count < needed:
        return Score(point=point, score=None, history=count)
    values = [known.value for known in accepted]
    centre, seasonal = median(values), False
    scale = robust_scale(values, centre)
    by_day = _weekday_centres(accepted)
    if point.at.weekday() in by_day:
        rest = [
            known.value - by_day[known.at.weekday()]
            for known in accepted
            if known.at.weekday() in by_day
        ]
        seasonal_scale = robust_scale(rest, 0.0)
        # The days must explain a good part of the spread, or they only add their own noise.
        if seasonal_scale < 0.7 * scale:
            centre, scale, seasonal = by_day[point.at.weekday()], seasonal_scale, True
    scale = max(scale, floor_scale, rules.relative_floor * abs(centre), rules.absolute_floor)
    value = (point.value - centre) / scale
    return Score(
        point=point,
        score=value,
        centre=centre,
        scale=scale,
        low=centre - rules.threshold * scale,
        high=centre + rules.threshold * scale,
        anomalous=abs(value) >= rules.threshold,
        seasonal=seasonal,
        history=count,
    )


def robust_scale(values: Sequence[float], centre: float) -> float:
    """The robust standard deviation of ``values`` around ``centre``; 0.0 where all are equal."""
    deviations = [abs(value - centre) for value in values]
    if not deviations:
        return 0.0
    spread = median(deviations) * MAD_TO_SIGMA
    return spread or fmean(deviations) * MEAN_DEVIATION_TO_SIGMA


def _weekday_centres(points: Sequence[SeriesPoint]) -> dict[int, float]:
    """The median of each weekday that was seen at least three times; of two days or more."""
    days: dict[int, list[float]] = {}
    for point in points:
        days.setdefault(point.at.weekday(), []).append(point.value)
    centres = {day: median(values) for day, values in days.items() if len(values) >= 3}
    return centres if len(centres) >= 2 else {}


def _is_new_level(pending: Sequence[SeriesPoint], verdict: Score, rules: ScoringRules) -> bool:
    """Whether the anomalies in a row agree with each other, and all lie on one side."""
    if len(pending) < rules.shift_points or verdict.centre is None or verdict.scale is None:
        return False
    recent = [point.value for point in pending[-rules.shift_points :]]
    sides = {value > verdict.centre for value in recent}
    middle = median(recent)
    near = max(rules.threshold * verdict.scale, 0.1 * abs(middle - verdict.centre))
    return len(sides) == 1 and all(abs(value - middle) <= near for value in recent)


def _weekly_rhythm(
    point: SeriesPoint,
    accepted: Sequence[SeriesPoint],
    left_out: Sequence[SeriesPoint],
    verdict: Score,
    rules: ScoringRules,
) -> list[SeriesPoint]:
    """The last three values of this weekday, this one included, if they agree; else nothing."""
    if verdict.seasonal or verdict.centre is None or verdict.scale is None:
        return []
    same_day = sorted(
        known for known in (*accepted, *left_out) if known.at.weekday() == point.at.weekday()
    )
    last = [*same_day[-2:], point]
    if len(last) < 3 or len({known.at.date() for known in last}) < 3:
        return []
    middle = median(known.value for known in last)
    near = max(rules.threshold * verdict.scale, 0.1 * abs(middle - verdict.centre))
    return last if all(abs(known.value - middle) <= near for known in last) else []


def _merged(
    accepted: Sequence[SeriesPoint], more: Sequence[SeriesPoint], rules: ScoringRules
) -> deque[SeriesPoint]:
    return deque(sorted({*accepted, *more}), maxlen=rules.window)


def quantile(values: Sequence[float], fraction: float) -> float:
    """The sample quantile, linear between order statistics (type 7 of Hyndman & Fan 1996).

    Raises
    ------
    ValueError
        Without values, or with a fraction outside 0 to 1.
    """
    if not values or not 0.0 <= fraction <= 1.0:
        raise ValueError("a quantile needs values and a fraction from 0 to 1")
    ordered = sorted(values)
    place = (len(ordered) - 1) * fraction
    below = floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


# --- forecasts ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BreachForecast:
    """Whether the next arrival will come too late for a freshness promise.

    ``breach_at`` is when the newest data becomes too old. ``expected_at`` is the median of the next
    arrival, given that it has not come yet; ``None`` where it is later than ever before.
    ``probability`` is the share of comparable waits that were longer than the promise allows.
    ``turns_at`` is when time alone makes another one of a quiet forecast; early perhaps, never
    late.
    """

    breach_at: datetime
    expected_at: datetime | None
    probability: float
    predicted: bool
    breached: bool
    basis: int
    comparable: str
    now: datetime
    turns_at: datetime | None = None

    @property
    def explanation(self) -> str:
        """The forecast as a sentence."""
        if self.breached:
            return f"the freshness promise was broken at {self.breach_at:%Y-%m-%d %H:%M} UTC"
        minutes = max(1, round((self.breach_at - self.now) / timedelta(minutes=1)))
        if not self.predicted:
            return f"the next arrival is expected in time; {minutes} min are left"
        if self.expected_at is None:
            expected = "the next arrival is later than any of the"
        else:
            expected = f"the next arrival is expected at {self.expected_at:%H:%M} UTC, judging by"
        return (
            f"will break its freshness promise in about {minutes} min: {expected} "
            f"{self.basis} waits {self.comparable}"
        )


def forecast_breach(
    arrivals: Sequence[datetime],
    *,
    limit: timedelta,
    now: datetime,
    newest: datetime | None = None,
    probability: float = 0.5,
    min_waits: int = 4,
) -> BreachForecast | None:
    """Whether data older than ``limit`` is to be expected, from when data arrived before.

    ``arrivals`` in UTC, in the order of time; ``newest`` is the moment from which the age counts
    (the newest event time), the last arrival where it is not given. ``None`` with fewer than
    ``min_waits`` earlier waits.

    The chance that the arrival comes too late is the empirical survival function of the waits that
    began at the same weekday and hour (else the same hour, else any), conditioned on the time
    already waited: ``S(allowed) / S(elapsed)`` (Kaplan & Meier 1958, without censoring).
    """
    if len(arrivals) <= min_waits:
        return None
    last = arrivals[-1]
    breach_at = (newest or last) + limit
    waits, comparable = _comparable_waits(arrivals, min_waits)
    ordered = sorted(waits)
    elapsed, allowed = (now - last).total_seconds(), (breach_at - last).total_seconds()
    still = ordered[bisect_right(ordered, elapsed) :]
    expected = last + timedelta(seconds=quantile(still, 0.5)) if still else None
    chance = _chance(ordered, elapsed, allowed)
    breached = now > breach_at
    predicted = not breached and chance >= probability
    turn = None
    if not breached and not predicted:
        grown = (w for w in still if _chance(ordered, w, allowed) >= probability)
        ends = (w for w in (ordered[-1] * _PATIENCE, allowed) if w >= elapsed)
        turn = last + timedelta(seconds=min((*grown, *ends)), milliseconds=1)
    return BreachForecast(
        breach_at=breach_at,
        expected_at=expected,
        probability=1.0 if breached else chance,
        predicted=predicted,
        breached=breached,
        basis=len(ordered),
        comparable=comparable,
        now=now,
        turns_at=turn,
    )


def _chance(ordered: Sequence[float], elapsed: float, allowed: float) -> float:
    """The share of the waits longer than ``elapsed`` that were longer than ``allowed``, too."""
    still = len(ordered) - bisect_right(ordered, elapsed)
    if still:
        return (len(ordered) - bisect_right(ordered, max(elapsed, allowed))) / still
    # Later than ever. A tenth more than the longest wait is still a wobble, not an outage.
    return 0.0 if elapsed <= ordered[-1] * _PATIENCE < allowed else 1.0


def _comparable_waits(arrivals: Sequence[datetime], min_waits: int) -> tuple[list[float], str]:
    """Earlier waits in seconds that began like the present one, as alike as there are enough."""
    last = arrivals[-1]
    waits = [(before, (after - before).total_seconds()) for before, after in pairwise(arrivals)]
    same_hour = [(start, wait) for start, wait in waits if start.hour == last.hour]
    same_day = [wait for start, wait in same_hour if start.weekday() == last.weekday()]
    if len(same_day) >= min_waits:
        return same_day, f"that began on a {last:%A} after {last:%H}:00"
    if len(same_hour) >= min_waits:
        return [wait for _, wait in same_hour], f"that began after {last:%H}:00"
    return [wait for _, wait in waits], "before it"
