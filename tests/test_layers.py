"""Imports point down, and the linter that proves it would notice if they did not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dagster_contracts"

pytestmark = pytest.mark.skipif(
    not PACKAGE.is_dir(), reason="the source tree is not here: these are the tests of a wheel"
)

# The command, but with the package of the working directory before the installed one.
LINT = "import sys; sys.path.insert(0, '.'); from importlinter.cli import *; lint_imports_command()"


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package that stands in ``tree``, with the project's own settings."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            LINT,
            "--config",
            str(ROOT / "pyproject.toml"),
            "--no-cache",
        ],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_module_stands_on_its_shelf() -> None:
    result = lint_imports(ROOT)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("utils.py", '"""Stray."""\n', id="a room that no shelf has"),
        pytest.param("core/stray.py", "import dagster\n", id="Dagster in the core"),
        pytest.param("core/stray.py", "import time\n", id="a clock in the core"),
        pytest.param(
            "engine/stray.py", "import dagster_contracts.store\n", id="a room beside this one"
        ),
        pytest.param(
            "store/stray.py", "import dagster_contracts.registry\n", id="a room above this one"
        ),
    ],
)
def test_a_stray_import_is_refused(tmp_path: Path, path: str, text: str) -> None:
    copy = tmp_path / "dagster_contracts"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / path).write_text(text)

    result = lint_imports(tmp_path)

    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout or "exhaustive" in result.stdout.lower()
