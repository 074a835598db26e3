"""The demo's flights are the real ones, dirt included."""

from __future__ import annotations

from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

from demo.faults import FaultSwitch
from demo.flights import FIRST_DAY, LAST_DAY, Landing


def read_flights(folder: Path) -> int:
    return len(Landing(folder / "landing", FaultSwitch(folder)).flights(FIRST_DAY))


def test_every_day_has_its_flights_and_its_schedule(landing: Landing) -> None:
    rows = 0
    for n in range((LAST_DAY - FIRST_DAY).days + 1):
        day = FIRST_DAY + timedelta(days=n)
        flights, schedule = landing.flights(day), landing.schedule(day)
        assert len(flights) == len(schedule)
        assert not schedule[["dep_delay", "arr_delay"]].isna().any(axis=None)
        rows += len(flights)

    assert rows == 9082


def test_the_dirt_is_real(landing: Landing) -> None:
    flights, weather, planes = landing.flights(FIRST_DAY), landing.weather(), landing.planes()

    assert flights["dep_time"].isna().sum() == 37
    assert (~flights["tailnum"].isin(planes["tailnum"])).mean() > 0.1
    assert weather.duplicated(["origin", "year", "month", "day", "hour"]).sum() == 3
    assert not weather.duplicated(["origin", "time_hour"]).any()


def test_processes_that_begin_together_agree(tmp_path: Path) -> None:
    with get_context("spawn").Pool(2) as pool:
        rows = pool.map(read_flights, [tmp_path, tmp_path])

    assert rows == [986, 986]
    assert [path.name for path in tmp_path.iterdir()] == ["landing"]
