"""Service levels over time, against a simulation that walks through the minutes."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import SlaProperty
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.core.service_levels import (
    Downtime,
    Incident,
    Mark,
    availability,
    crossed_at,
    delay_after,
    downtimes,
    judge_level,
    merged,
    newest_incident,
    overdue,
    time_to_detect,
    time_to_notify,
    time_to_repair,
)

START = datetime(2026, 3, 2, tzinfo=UTC)
END = 120

minutes = st.integers(0, END - 1)
histories = st.lists(
    st.lists(st.tuples(minutes, st.booleans()), max_size=8).map(
        lambda marks: sorted(marks, key=lambda mark: mark[0])
    ),
    max_size=4,
)


def at(minute: int) -> datetime:
    """A minute of the simulated hours."""
    return START + timedelta(minutes=minute)


def intervals(histories: list[list[tuple[int, bool]]]) -> list[Downtime]:
    """The downtimes of all records together."""
    return [
        each
        for history in histories
        for each in downtimes([Mark(at(minute), down) for minute, down in history])
    ]


def walked(histories: list[list[tuple[int, bool]]]) -> list[bool]:
    """Whether the asset is down in each minute: the simulation knows no intervals."""
    down = []
    states = [False] * len(histories)
    for minute in range(END):
        for number, history in enumerate(histories):
            for when, says in history:
                if when == minute:
                    states[number] = says
        down.append(any(states))
    return down


@given(histories, minutes)
def test_availability_is_the_share_of_minutes_that_were_not_down(
    histories: list[list[tuple[int, bool]]], since: int
) -> None:
    share = availability(intervals(histories), since=at(since), now=at(END))
    looked_at = walked(histories)[since:]
    if not looked_at:
        assert share is None
    else:
        assert share == Fraction(looked_at.count(False), len(looked_at))


@given(histories, minutes)
def test_the_newest_incident_is_the_last_run_of_down_minutes(
    histories: list[list[tuple[int, bool]]], since: int
) -> None:
    down = walked(histories)
    runs: list[tuple[int, int | None]] = []
    for minute, is_down in enumerate(down):
        if is_down and (minute == 0 or not down[minute - 1]):
            runs.append((minute, None))
        if not is_down and minute and down[minute - 1]:
            runs[-1] = (runs[-1][0], minute)
    found = newest_incident(intervals(histories), since=at(since), now=at(END - 1))
    # What ends in the very minute in which it begins lasts no time and is not walked through.
    lasting = [run for run in runs if run[1] is None or run[1] > since]
    if found is None:
        assert not lasting
        return
    if found.repaired == found.detected:
        return
    start, end = lasting[-1]
    assert (found.detected, found.repaired) == (at(start), None if end is None else at(end))


@given(st.lists(minutes, min_size=1, max_size=6).map(sorted), st.integers(1, 60))
def test_overdue_are_the_minutes_in_which_the_newest_data_is_too_old(
    arrivals: list[int], limit: int
) -> None:
    found = overdue([at(m) for m in arrivals], timedelta(minutes=limit), now=at(END))
    share = availability(found, since=at(arrivals[0]), now=at(END))
    fresh = 0
    for minute in range(arrivals[0], END):
        newest = max(m for m in arrivals if m <= minute)
        fresh += minute - newest < limit
    if share is not None:
        assert share == Fraction(fresh, END - arrivals[0])


@given(histories)
def test_merging_changes_no_minute_and_leaves_no_overlap(
    histories: list[list[tuple[int, bool]]],
) -> None:
    found = merged(intervals(histories))
    for one, other in pairwise(found):
        assert one.end is not None
        assert one.end < other.start
    assert merged(found) == found


def test_a_clock_that_went_back_makes_no_negative_downtime() -> None:
    (found,) = downtimes([Mark(at(10), True), Mark(at(5), False), Mark(at(20), False)])
    assert (found.start, found.end) == (at(10), at(10))


def test_an_incident_counts_from_what_broke_the_data() -> None:
    marks = [Mark(at(10), True, began=at(4)), Mark(at(12), True), Mark(at(50), False)]
    found = newest_incident(downtimes(marks), since=at(0), now=at(60))
    assert found == Incident(began=at(4), detected=at(10), repaired=at(50))
    assert time_to_detect(found) == 6 * 60
    assert time_to_repair(found, at(60)) == 40 * 60
    assert time_to_notify(found, at(60)) is None


def test_a_running_incident_takes_longer_with_every_minute() -> None:
    found = newest_incident(downtimes([Mark(at(10), True)]), since=at(0), now=at(60))
    assert found is not None
    assert time_to_repair(found, at(60)) == 50 * 60
    assert time_to_notify(found, at(60)) == 50 * 60
    told = Incident(found.began, found.detected, notified=at(13))
    assert time_to_notify(told, at(60)) == 3 * 60


def test_an_incident_before_the_window_is_none() -> None:
    past = downtimes([Mark(at(1), True), Mark(at(5), False)])
    assert newest_incident(past, since=at(10), now=at(60)) is None


@pytest.mark.parametrize(
    ("conditions", "crossed"),
    [
        (["data_freshness > 30min"], 30),
        (["data_freshness > 30min", "materialization_age >= 10min"], 15),
        (["data_freshness > 30min and materialization_age > 40min"], 45),
        (["data_freshness > 30min and row_count < 10"], 30),
        (["row_count < 10"], None),
        (["data_freshness > 3h"], None),
    ],
)
def test_when_the_clock_had_broken_a_promise(conditions: list[str], crossed: int | None) -> None:
    bases = {"data_freshness": at(0), "materialization_age": at(5)}
    found = crossed_at(map(parse_condition, conditions), bases, before=at(60))
    assert found == (None if crossed is None else at(crossed))


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("arrived", "now", "late"),
    [
        (["2026-03-02T07:30Z"], "2026-03-02T12:00Z", 0),  # 08:30 in Berlin
        (["2026-03-01T07:00Z", "2026-03-02T09:00Z"], "2026-03-02T12:00Z", 3600),
        (["2026-03-02T09:00Z"], "2026-03-02T12:00Z", 0),  # the first of all: nothing was due yet
        (["2026-03-01T07:00Z"], "2026-03-02T12:00Z", 4 * 3600),  # nothing came, and it grows
        # Today's is not due yet, and yesterday's was late.
        (["2026-02-28T07:00Z", "2026-03-01T09:00Z"], "2026-03-02T07:30Z", 3600),
        (["2026-03-01T09:00Z"], "2026-03-02T12:00Z", 0),  # after yesterday's deadline: in time
        # The clocks go forward on 29 March: nine o'clock is at 07:00 UTC.
        (["2026-03-28T07:30Z", "2026-03-29T07:30Z"], "2026-03-29T12:00Z", 1800),
        ([], "2026-03-29T12:00Z", None),
    ],
)
def test_how_late_the_data_of_the_day_was(arrived: list[str], now: str, late: int | None) -> None:
    moments = [datetime.fromisoformat(text) for text in arrived]
    found = delay_after(moments, time(9), BERLIN, now=datetime.fromisoformat(now))
    assert found == late


@given(st.lists(st.integers(0, 4 * 24 * 60), max_size=6), st.integers(0, 1439))
def test_a_delay_is_found_by_walking_back_to_the_deadline(arrived: list[int], clock: int) -> None:
    now = START + timedelta(days=4)
    moments = {START + timedelta(minutes=m) for m in arrived}
    found = delay_after(moments, time(clock // 60, clock % 60), UTC, now=now)
    deadline = now
    while (deadline.hour, deadline.minute) != (clock // 60, clock % 60):
        deadline -= timedelta(minutes=1)
    in_time = {deadline - timedelta(minutes=m) for m in range(24 * 60)}
    if not moments:
        assert found is None
    elif moments & in_time or min(moments) > deadline:
        assert found == 0
    else:
        walk = deadline
        while walk < now and walk not in moments:
            walk += timedelta(minutes=1)
        assert found == (walk - deadline).total_seconds()


@pytest.mark.parametrize(
    ("now", "status", "said"),
    [
        ("2026-01-01T00:00Z", OutcomeStatus.PASSED, "support ends 2026-06-01 00:00 UTC, in 151d"),
        ("2026-05-15T00:00Z", OutcomeStatus.WARNED, "support ends 2026-06-01 00:00 UTC, in 17d"),
        ("2026-06-03T00:00Z", OutcomeStatus.FAILED, "support ended 2026-06-01 00:00 UTC, 2d ago"),
    ],
)
def test_the_end_of_support_warns_before_it_fails(
    now: str, status: OutcomeStatus, said: str
) -> None:
    level = SlaProperty(
        property="endOfSupport",
        condition=parse_condition("time_to_end_of_support >= 0s"),
        warn=parse_condition("time_to_end_of_support >= 30d"),
        moment=datetime(2026, 6, 1, tzinfo=UTC),
    )
    verdict = judge_level(level, {}, {}, datetime.fromisoformat(now))
    assert (verdict.status, verdict.reason) == (status, said)


def test_what_was_not_measured_is_not_evaluated_with_its_reason() -> None:
    level = SlaProperty(property="availability", condition=parse_condition("availability >= 99%"))
    verdict = judge_level(level, {"availability": None}, {"availability": "no history"}, START)
    assert verdict.status is OutcomeStatus.NOT_EVALUATED
    assert verdict.reason == "availability: no history"
    assert verdict.threshold == "availability >= 99%"
