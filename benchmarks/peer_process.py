"""Peers in processes of their own: each has its own Python where it needs one, made on demand.

Their requirements contradict each other and ours, so ``.bench/NAME`` is a virtual environment with
the versions that ``benchmarks/peers/NAME.txt`` pins. pandera is among our own dependencies and runs
in our Python.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.contender import Contender

_HERE = Path(__file__).parent
_ROOT = _HERE.parent
PEERS = {
    "pandera_pandas": "pandera, pandas",
    "pandera_polars": "pandera, polars",
    "great_expectations": "Great Expectations, pandas",
    "datacontract_cli": "datacontract-cli, Parquet",
    "dataframely": "dataframely, polars",
    "pointblank": "pointblank, polars",
    "cuallee": "cuallee, polars (shows no rows)",
}


class PeerMissingError(Exception):
    """The peer cannot be installed or started; the text says why."""


class PeerProcess:
    """A peer that has read the table and waits to be asked."""

    def __init__(self, name: str, table: Path, rules: Path) -> None:
        self.name = name
        command = [str(_python(name)), "-m", f"benchmarks.peers.{name}", str(table), str(rules)]
        self._complaints = (table.parent / f"{name}.log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )
        self._counts_wanted = True
        self.left_out: list[str] = self._answer()["left_out"]

    def contender(self) -> Contender:
        """The peer as something to time; its first run gives the counts, all others seconds."""
        return Contender(PEERS[self.name], self._run, lambda counts: counts, self.left_out)

    def close(self) -> None:
        """Let it go."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._complaints.close()

    def _run(self) -> dict[str, int] | float:
        counting, self._counts_wanted = self._counts_wanted, False
        assert self._process.stdin is not None
        self._process.stdin.write("count\n" if counting else "run\n")
        self._process.stdin.flush()
        answer = self._answer()
        counts: dict[str, int] = answer["counts"]
        return counts if counting else float(answer["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._complaints.seek(0)
            said = [text for text in self._complaints.read().splitlines() if text.strip()]
            raise PeerMissingError(said[-1] if said else "it ended without a word")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _python(name: str) -> Path:
    """The Python that has the peer; installs it where that has not been done."""
    pinned = _HERE / "peers" / f"{name}.txt"
    if not pinned.exists():
        return Path(sys.executable)
    home = _ROOT / ".bench" / name
    python, done = home / "bin" / "python", home / "installed.txt"
    if done.exists() and done.read_text(encoding="utf-8") == pinned.read_text(encoding="utf-8"):
        return python
    print(f"Installing {PEERS[name]} into .bench/{name}, once ...", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    uv = shutil.which("uv")
    with_uv = [
        [uv, "venv", "--quiet", "--python", sys.executable, str(home)],
        [uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(pinned)],
    ]
    with_pip = [
        [sys.executable, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", "-r", str(pinned)],
    ]
    error = ""
    for steps in [with_uv, with_pip] if uv else [with_pip]:
        error = _first_error(steps)
        if not error:
            shutil.copyfile(pinned, done)
            return python
        shutil.rmtree(home, ignore_errors=True)
    raise PeerMissingError(f"it cannot be installed: {error}")


def _first_error(steps: list[list[str]]) -> str:
    for step in steps:
        ended = subprocess.run(step, capture_output=True, text=True, check=False)
        if ended.returncode:
            said = [line for line in ended.stderr.splitlines() if line.strip()]
            return said[-1].strip() if said else f"{step[0]} ended with {ended.returncode}"
    return ""
