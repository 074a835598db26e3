"""The commands, run as modules."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["dagster_contracts", "dagster_contracts.cli.main"])
def test_a_module_runs_the_commands(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "lint", "nosuch"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no file or folder 'nosuch'" in done.stderr
