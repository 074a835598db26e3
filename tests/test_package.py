"""What a user gets who installs the package: names, a cheap import, and a whole wheel."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import dagster_contracts
from dagster_contracts import errors

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dagster_contracts"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Each costs a tenth of a second or more, and a code location is loaded again by every step process.
HEAVY = (
    "alembic",
    "apprise",
    "duckdb",
    "fastavro",
    "ibis",
    "jsonschema",
    "narwhals",
    "numpy",
    "pandas",
    "pandera",
    "polars",
    "pyarrow",
    "pyspark",
    "sqlalchemy",
)

needs_source = pytest.mark.skipif(
    not PACKAGE.is_dir(), reason="the source tree is not here: these are the tests of a wheel"
)


def test_import_loads_nothing_heavy() -> None:
    script = f"import dagster_contracts, sys; print(*sorted({set(HEAVY)!r} & set(sys.modules)))"

    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert result.stdout.split() == []


def test_public_names_are_sorted_and_there() -> None:
    names = dagster_contracts.__all__

    assert list(names) == sorted(names)
    for name in names:
        assert getattr(dagster_contracts, name).__doc__, f"{name} has no docstring"


def test_every_error_is_public() -> None:
    raised = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }

    assert raised <= set(dagster_contracts.__all__)


def test_the_installed_version_is_the_projects() -> None:
    assert metadata.version("dagster-contracts") == PROJECT["version"]


def test_the_changelog_knows_the_version() -> None:
    assert PROJECT["version"] in (ROOT / "CHANGELOG.md").read_text()


def test_every_entry_point_can_be_loaded() -> None:
    ours = [
        entry
        for entry in metadata.distribution("dagster-contracts").entry_points
        if entry.value.startswith("dagster_contracts")
    ]

    assert {entry.group for entry in ours} == {"console_scripts"}
    for entry in ours:
        entry.load()


def distribution_of(requirement: str) -> str:
    """The name of the distribution that a requirement asks for, in the spelling of the index."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].replace("_", "-").lower()


@needs_source
def test_every_import_is_a_declared_dependency() -> None:
    extras = PROJECT["optional-dependencies"].values()
    declared = {distribution_of(r) for group in (PROJECT["dependencies"], *extras) for r in group}
    homes = metadata.packages_distributions()

    undeclared = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for module in {name.partition(".")[0] for name in names}:
                if module in sys.stdlib_module_names or module == "dagster_contracts":
                    continue
                if not declared & {distribution_of(home) for home in homes.get(module, [module])}:
                    undeclared.add(f"{module} in {path.relative_to(ROOT)}")

    assert undeclared == set()


@needs_source
def test_the_lock_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()

    assert "://" not in lock
    assert lock.count("--hash=sha256:") > lock.count("==") > 0


@needs_source
def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    source = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }

    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        info = {name.rpartition(".dist-info/")[2] for name in archive.namelist()} - held

    assert held == source
    assert "dagster_contracts/py.typed" in held
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= info
