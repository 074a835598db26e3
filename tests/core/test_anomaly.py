"""Scores that ignore what should be ignored, and forecasts of a promise about to be broken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_contracts.core.anomaly import (
    ScoringRules,
    SeriesPoint,
    forecast_breach,
    quantile,
    robust_scale,
    score,
    score_series,
)

MONDAY = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
DAY = timedelta(days=1)
# A year of daily row counts around 1000 with a spread of some 10, without randomness.
WOBBLE = (0, 7, -4, 11, -9, 3, -13, 6, 12, -7, 2, -2, 9)


def daily(values: list[float], start: datetime = MONDAY) -> list[SeriesPoint]:
    return [SeriesPoint(start + DAY * index, value) for index, value in enumerate(values)]


def steady(count: int, level: float = 1000.0) -> list[float]:
    return [level + WOBBLE[index % len(WOBBLE)] for index in range(count)]


def test_too_little_history_gives_no_score() -> None:
    found = score(daily(steady(7)), SeriesPoint(MONDAY + 7 * DAY, 5.0))

    assert found.score is None
    assert not found.anomalous
    assert found.explanation == "only 7 earlier values: too few to say what is normal"


def test_a_usual_value_is_normal_and_an_empty_batch_is_not() -> None:
    history = daily(steady(30))
    when = MONDAY + 30 * DAY

    usual, empty = score(history, SeriesPoint(when, 1010.0)), score(history, SeriesPoint(when, 0.0))

    assert not usual.anomalous
    assert empty.anomalous
    assert empty.score is not None
    assert empty.score < -4
    assert "0 is unusual" in empty.explanation


def test_a_point_is_no_part_of_its_own_baseline() -> None:
    history = daily(steady(10))

    found = score(history, SeriesPoint(MONDAY + 10 * DAY, 1e9))

    assert found.centre == pytest.approx(median(point.value for point in history))


def test_earlier_anomalies_do_not_widen_the_scale() -> None:
    values = steady(30)
    spoiled = [*values]
    spoiled[10] = spoiled[15] = spoiled[20] = 1e6

    clean = score(daily(values), SeriesPoint(MONDAY + 30 * DAY, 900.0))
    dirty = score(daily(spoiled), SeriesPoint(MONDAY + 30 * DAY, 900.0))

    assert dirty.scale == pytest.approx(clean.scale, rel=0.2)
    assert dirty.anomalous


def test_a_metric_that_never_moved_tolerates_a_first_wobble() -> None:
    history = daily([1000.0] * 20)
    when = MONDAY + 20 * DAY

    assert not score(history, SeriesPoint(when, 1050.0)).anomalous  # 2.5 floors of 2 %
    assert score(history, SeriesPoint(when, 1100.0)).anomalous


def test_a_series_that_is_mostly_one_value_still_has_a_scale() -> None:
    assert robust_scale([0, 0, 0, 0, 10], 0.0) == pytest.approx(2 * 1.2533)


def test_a_level_shift_is_the_new_normal_after_four_points() -> None:
    scores = score_series(daily([*steady(20), *steady(12, level=2000.0)]))
    after = scores[20:]

    assert [found.anomalous for found in after] == [True, True, True, *[False] * 9]
    assert [found.shifted for found in after] == [False, False, False, True, *[False] * 8]
    assert after[-1].centre == pytest.approx(2000, abs=15)


def test_after_a_shift_the_old_level_is_the_anomaly() -> None:
    scores = score_series(daily([*steady(20), *steady(10, level=2000.0), 1000.0]))

    assert scores[-1].anomalous


def test_anomalies_that_disagree_are_no_new_level() -> None:
    scores = score_series(daily([*steady(20), 0.0, 5000.0, 0.0, 5000.0, 0.0, 5000.0]))

    assert all(found.anomalous for found in scores[20:])


def weekly(weeks: int) -> list[SeriesPoint]:
    """1000 on weekdays, 200 at weekends."""
    values = [
        (200.0 if (day % 7) >= 5 else 1000.0) + WOBBLE[day % len(WOBBLE)]
        for day in range(weeks * 7)
    ]
    return daily(values)


def test_a_quiet_sunday_is_normal_and_a_quiet_monday_is_not() -> None:
    history = weekly(8)
    sunday, monday = history[-1].at + 7 * DAY, history[-1].at + DAY

    at_rest, missing = (
        score(history, SeriesPoint(sunday, 200.0)),
        score(history, SeriesPoint(monday, 200.0)),
    )

    assert at_rest.seasonal
    assert not at_rest.anomalous
    assert missing.anomalous
    assert "on a Monday" in missing.explanation


def test_weekdays_that_explain_nothing_are_not_used() -> None:
    found = score(daily(steady(60)), SeriesPoint(MONDAY + 60 * DAY, 1000.0))

    assert not found.seasonal


def test_what_is_no_number_is_not_scored() -> None:
    found = score(daily(steady(20)), SeriesPoint(MONDAY + 20 * DAY, float("nan")))

    assert found.score is None


numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@given(st.lists(numbers, min_size=8, max_size=40), numbers, numbers)
def test_scores_do_not_depend_on_where_zero_is(
    values: list[float], new: float, shift: float
) -> None:
    rules = ScoringRules(relative_floor=0.0, absolute_floor=1.0)
    when = MONDAY + len(values) * DAY

    here = score(daily(values), SeriesPoint(when, new), rules).score
    there = score(daily([v + shift for v in values]), SeriesPoint(when, new + shift), rules).score

    assert there == pytest.approx(here, rel=1e-3, abs=1e-3)


@given(st.lists(numbers, min_size=1, max_size=60))
def test_every_point_gets_one_verdict_in_order(values: list[float]) -> None:
    points = daily(values)

    assert [found.point for found in score_series(points)] == points


@given(st.lists(numbers, min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_ascend_and_stay_within(values: list[float], one: float, two: float) -> None:
    low, high = sorted((one, two))

    assert min(values) <= quantile(values, low) <= quantile(values, high) <= max(values)


def test_quantiles_are_those_of_the_textbook() -> None:
    assert quantile([1, 2, 3, 4], 0.5) == 2.5
    assert quantile([1, 2, 3, 4], 0.25) == 1.75
    with pytest.raises(ValueError, match="needs values"):
        quantile([], 0.5)


# --- forecasts ------------------------------------------------------------------------------------


def arrivals(count: int, every: timedelta = timedelta(hours=1)) -> list[datetime]:
    return [MONDAY + every * index for index in range(count)]


def test_a_feed_that_comes_in_time_is_no_news() -> None:
    found = forecast_breach(
        arrivals(20), limit=timedelta(hours=2), now=arrivals(20)[-1] + timedelta(minutes=30)
    )

    assert found is not None
    assert not found.predicted
    assert found.expected_at == arrivals(20)[-1] + timedelta(hours=1)


def test_an_overdue_feed_is_predicted_before_the_promise_breaks() -> None:
    last = arrivals(20)[-1]

    found = forecast_breach(
        arrivals(20), limit=timedelta(hours=2), now=last + timedelta(minutes=70)
    )

    assert found is not None
    assert found.predicted
    assert found.probability == 1.0
    assert found.breach_at == last + timedelta(hours=2)
    assert found.explanation.startswith("will break its freshness promise in about 50 min")


def test_a_little_later_than_ever_is_no_outage() -> None:
    last = arrivals(20)[-1]

    found = forecast_breach(
        arrivals(20), limit=timedelta(hours=2), now=last + timedelta(minutes=64)
    )

    assert found is not None
    assert not found.predicted


def test_a_promise_that_is_broken_is_no_prediction() -> None:
    last = arrivals(20)[-1]

    found = forecast_breach(arrivals(20), limit=timedelta(hours=2), now=last + timedelta(hours=3))

    assert found is not None
    assert found.breached
    assert not found.predicted


def test_a_weekend_pause_is_known_by_its_weekday_and_hour() -> None:
    """A daily feed that rests from Friday to Monday promises 80 hours at the weekend."""
    days = [MONDAY + DAY * index for index in range(56) if index % 7 < 5]
    friday = days[-1]
    assert friday.weekday() == 4

    found = forecast_breach(days, limit=timedelta(hours=80), now=friday + timedelta(hours=40))

    assert found is not None
    assert not found.predicted
    assert found.expected_at == friday + timedelta(hours=72)
    assert found.comparable == "that began on a Friday after 06:00"


def test_the_same_pause_breaks_a_promise_of_30_hours() -> None:
    days = [MONDAY + DAY * index for index in range(56) if index % 7 < 5]

    found = forecast_breach(days, limit=timedelta(hours=30), now=days[-1] + timedelta(hours=1))

    assert found is not None
    assert found.predicted


def test_the_age_counts_from_the_newest_event_and_not_from_its_arrival() -> None:
    seen = arrivals(20)

    found = forecast_breach(
        seen,
        limit=timedelta(hours=2),
        now=seen[-1] + timedelta(minutes=5),
        newest=seen[-1] - timedelta(minutes=90),
    )

    assert found is not None
    assert found.predicted
    assert found.breach_at == seen[-1] + timedelta(minutes=30)


def test_too_few_arrivals_forecast_nothing() -> None:
    assert forecast_breach(arrivals(4), limit=DAY, now=MONDAY + DAY) is None
