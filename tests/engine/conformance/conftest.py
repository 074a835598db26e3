from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conformance.kinds import Places


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    return Places(
        folder=tmp_path,
        postgresql=lambda: str(request.getfixturevalue("postgres_data")),
        spark=lambda: request.getfixturevalue("spark"),
    )
