from __future__ import annotations

import pytest

from tests.engine.builders import KINDS, as_kind


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def make(kind, tmp_path):
    """Turns an Arrow table into the kind of data under test."""
    return lambda table: as_kind(table, kind, tmp_path)
