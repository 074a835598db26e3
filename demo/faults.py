"""The demo's switch for faults, and what each of them does to the data.

A fault happens where it would in life: in what the outside delivers. Nothing in the pipeline or in
the contracts knows of it. The switch is a file, so that whichever process reads a feed sees it.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

BROKEN_SHARE = 0.07


class Fault(StrEnum):
    """What can go wrong with a feed."""

    RENAMED_COLUMN = "renamed_column"  # weather: the station calls its column "temp" otherwise
    BROKEN_ROWS = "broken_rows"  # flights: 7 % of the rows come damaged
    STOPPED_FEED = "stopped_feed"  # navigation: no event after that moment
    MISSING_FILE = "missing_file"  # flights: the day's file is not there


class FaultSwitch:
    """Which faults are on, in a file ``faults.json`` that every process sees."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "faults.json"

    def active(self) -> Mapping[Fault, datetime]:
        """The faults that are on, and since when."""
        try:
            written = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        return {Fault(name): datetime.fromisoformat(since) for name, since in written.items()}

    def turn_on(self, fault: Fault, *, since: datetime) -> None:
        """Switch ``fault`` on as of ``since``, which has a time zone and may lie in the past."""
        self._write({**self.active(), fault: since})

    def turn_off(self, fault: Fault) -> None:
        """Switch ``fault`` off; nothing happens where it was not on."""
        self._write({f: since for f, since in self.active().items() if f is not fault})

    def clear(self) -> None:
        """Switch everything off."""
        self._write({})

    def _write(self, active: Mapping[Fault, datetime]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._path.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(json.dumps({f: since.isoformat() for f, since in active.items()}))
        scratch.replace(self._path)


def rename_column(weather: pd.DataFrame) -> pd.DataFrame:
    """The weather as a station sends it that has renamed a column without a word."""
    return weather.rename(columns={"temp": "temperature_f"})


def break_rows(flights: pd.DataFrame, day: date) -> pd.DataFrame:
    """Damage 7 % of a day's flights, the same ones each time: no airline, no airport, no length."""
    count = math.ceil(BROKEN_SHARE * len(flights))
    rows = random.Random(day.toordinal()).sample(range(len(flights)), count)
    broken = flights.copy()
    broken.loc[broken.index[rows[0::3]], "carrier"] = None
    broken.loc[broken.index[rows[1::3]], "origin"] = "???"
    broken.loc[broken.index[rows[2::3]], "distance"] = -1
    return broken
