"""The demo's feeds, laid out once for all tests of the demo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.faults import FaultSwitch
from demo.flights import Landing


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture
def faults(demo_folder: Path) -> Iterator[FaultSwitch]:
    switch = FaultSwitch(demo_folder)
    yield switch
    switch.clear()


@pytest.fixture
def landing(demo_folder: Path, faults: FaultSwitch) -> Landing:
    return Landing(demo_folder / "landing", faults)
