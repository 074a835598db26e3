"""The demo's faults: each damages what it says, as much as it says, and is gone when off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from demo.customers import navigation_events, sales_history
from demo.faults import Fault, FaultSwitch
from demo.flights import FIRST_DAY, LAST_DAY, Landing

NOW = datetime(2026, 3, 2, 6, 0, 30, tzinfo=UTC)


def test_a_switch_that_was_never_touched_is_off(tmp_path: Path) -> None:
    assert FaultSwitch(tmp_path).active() == {}


def test_another_process_sees_the_switch(demo_folder: Path, faults: FaultSwitch) -> None:
    faults.turn_on(Fault.BROKEN_ROWS, since=NOW)
    faults.turn_on(Fault.STOPPED_FEED, since=NOW - timedelta(hours=1))

    assert FaultSwitch(demo_folder).active() == {
        Fault.BROKEN_ROWS: NOW,
        Fault.STOPPED_FEED: NOW - timedelta(hours=1),
    }

    faults.turn_off(Fault.BROKEN_ROWS)

    assert set(FaultSwitch(demo_folder).active()) == {Fault.STOPPED_FEED}


def test_seven_per_cent_of_the_flights_break_and_mend_again(
    landing: Landing, faults: FaultSwitch
) -> None:
    good = landing.flights(FIRST_DAY)
    faults.turn_on(Fault.BROKEN_ROWS, since=NOW)
    broken = landing.flights(FIRST_DAY)
    faults.turn_off(Fault.BROKEN_ROWS)

    damaged = broken["carrier"].isna() | (broken["origin"] == "???") | (broken["distance"] < 0)
    assert damaged.mean() == pytest.approx(0.07, abs=0.001)
    assert broken.loc[~damaged].equals(good.loc[~damaged])
    assert broken.dtypes.equals(good.dtypes)
    assert landing.flights(FIRST_DAY).equals(good)


def test_a_renamed_column_keeps_its_values(landing: Landing, faults: FaultSwitch) -> None:
    good = landing.weather()
    faults.turn_on(Fault.RENAMED_COLUMN, since=NOW)
    renamed = landing.weather()

    assert "temp" not in renamed.columns
    assert renamed["temperature_f"].equals(good["temp"].rename("temperature_f"))


def test_a_missing_file_cannot_be_read_but_the_schedule_can(
    landing: Landing, faults: FaultSwitch
) -> None:
    faults.turn_on(Fault.MISSING_FILE, since=NOW)

    with pytest.raises(FileNotFoundError):
        landing.flights(LAST_DAY)
    assert len(landing.schedule(LAST_DAY)) > 0


def test_a_stopped_feed_grows_old(faults: FaultSwitch) -> None:
    running = navigation_events(NOW, faults)
    faults.turn_on(Fault.STOPPED_FEED, since=NOW - timedelta(minutes=31))
    stopped = navigation_events(NOW, faults)

    assert NOW - running["event_time"].max() < timedelta(minutes=1)
    assert NOW - stopped["event_time"].max() > timedelta(minutes=31)


def test_two_reads_of_the_feed_agree_on_what_both_saw(faults: FaultSwitch) -> None:
    earlier = navigation_events(NOW, faults)
    later = navigation_events(NOW + timedelta(minutes=5), faults)

    both = later[later["event_time"] <= NOW].reset_index(drop=True)
    assert both.equals(
        earlier[earlier["event_time"] > NOW - timedelta(minutes=55)].reset_index(drop=True)
    )


def test_sales_end_before_today(faults: FaultSwitch) -> None:
    sales = sales_history(NOW)

    assert sales["sold_at"].max() < NOW.replace(hour=0, minute=0, second=0)
    assert sales["order_id"].is_unique
    assert {"customer_id", "product_id"} <= set(sales.columns)
