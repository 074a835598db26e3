"""Named points of the write paths: where a crash would hurt, and where tests make one happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Checkpoint: TypeAlias = Callable[[str], None]
"""Called with the name of each point as it is passed."""


def pass_by(name: str) -> None:
    """The checkpoint of production: nothing happens."""
