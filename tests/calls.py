"""How much work Python did, as a number that is the same on every machine and under any load."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Calls:
    """Calls of functions, those of C among them."""

    count: int = 0


@contextmanager
def calls_made() -> Iterator[Calls]:
    """Count the calls within; what measures coverage by another profile function waits.

    So does the garbage collection, whose callbacks come when they will.
    """
    made, before = Calls(), sys.getprofile()

    def counted(frame: FrameType, event: str, argument: object) -> None:
        made.count += event in ("call", "c_call")

    gc.disable()
    sys.setprofile(counted)
    try:
        yield made
    finally:
        sys.setprofile(before)
        gc.enable()
