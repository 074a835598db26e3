"""What a read of a circuit must not cost."""

from __future__ import annotations

import subprocess
import sys


def test_the_breaker_loads_no_data_frames_and_no_migrations():
    heavy = ["alembic", "pandas", "polars", "pyarrow"]
    script = (
        "import sys, dagster_contracts.resilience.breaker, dagster_contracts.resilience.healing;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
