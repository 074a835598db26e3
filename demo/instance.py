"""The Dagster instance of the demo: ``make demo`` fills it and ``make ui`` opens it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".demo"
HOME = FOLDER / "dagster_home"
STATE = ROOT / ".dagster_contracts"  # where the contracts' own state is, unless told otherwise
ALERTS = FOLDER / "alerts.jsonl"

# Runs of the demo are short, and its machine may have two cores.
SETTINGS = """\
telemetry:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
"""


def prepare() -> Path:
    """Make the instance's folder where it is missing, and return it (a value of DAGSTER_HOME)."""
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "dagster.yaml").write_text(SETTINGS)
    return HOME


if __name__ == "__main__":
    prepare()
