"""``make demo``: a contract protects a pipeline, told while it happens.

Everything here happens in a real Dagster instance. Runs go through the multiprocess executor; a
Dagster daemon ticks the sensors, which trip, probe and heal, and starts the runs they ask for;
faults are switched on in what the outside delivers. Nothing is told that was not read back from
the Dagster instance, the state store or the stored assets, and the story ends by checking itself.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from rich.console import Console
from rich.table import Table

import definitions
from demo.faults import Fault, FaultSwitch
from demo.instance import ALERTS, FOLDER, HOME, ROOT, STATE, prepare

if TYPE_CHECKING:
    import pandas as pd

GOOD_DAY = "2013-11-04"
BAD_DAY = "2013-11-05"
SHOP = "customer_behavior_data"
CONTRACTS = ("flights", "weather", SHOP)
LOG = FOLDER / "runs.log"
PATIENCE = 180.0  # seconds; a quiet machine needs a tenth of it

# Piped into a file, the story is as wide as its tables need.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


class StoryError(Exception):
    """The story did not go as it is told."""


def say(text: str) -> None:
    """One line of the story."""
    console.print(f"  {text}")


def chapter(number: int, title: str) -> None:
    """A heading."""
    console.print(f"\n[bold cyan]{number}. {title}[/]")


# Jobs of definitions.py, found again by every step process of the multiprocess executor.
def a_day() -> dg.JobDefinition:
    """A day of both pipelines: flights and the report on delays, the shop's recommendations."""
    return definitions.defs.resolve_job_def("a_day")


def navigation() -> dg.JobDefinition:
    """What customers do, alone."""
    return definitions.defs.resolve_job_def("navigation")


@contextmanager
def logged() -> Iterator[None]:
    """What this process and its children write to standard error goes to a file of its own."""
    sys.stderr.flush()
    kept = os.dup(2)
    with LOG.open("ab") as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def run_job(
    job: Callable[[], dg.JobDefinition], stage: Stage, day: str | None = None
) -> dg.JobExecutionResult:
    """Run a job in the instance, each step in a process of its own; a failed run ends the story."""
    label = f"materialize {job.__name__}" + (f" [{day}]" if day else "")
    began = time.monotonic()
    with console.status(f"  {label} ..."), logged():
        result = dg.execute_job(
            dg.reconstructable(job),
            instance=stage.instance,
            tags={"dagster/partition": day} if day else {},
        )
    if not result.success:
        raise StoryError(f"the run {result.run_id} of {job.__name__} failed; {LOG} says why")
    say(f"[dim]▶ {label}: run {result.run_id[:8]}, {time.monotonic() - began:.0f} s[/]")
    return result


@contextmanager
def daemon() -> Iterator[None]:
    """A Dagster daemon while the story lasts: it ticks the sensors and starts their runs."""
    log = (FOLDER / "daemon.log").open("w")
    process = subprocess.Popen(  # noqa: S603 - our own command
        [
            str(Path(sys.executable).with_name("dagster-daemon")),
            "run",
            "-f",
            "definitions.py",
        ],
        cwd=ROOT,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        log.close()


def wait_for(what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Wait until ``condition`` gives something true; it is asked twice a second."""
    end = time.monotonic() + patience
    with console.status(f"  waiting until {what}"):
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.5)
    raise StoryError(f"waited {patience:.0f} s, and still not: {what}")


class Stage:
    """What can be looked at: the Dagster instance, the state store and the stored assets."""

    def __init__(self) -> None:
        self.instance = dg.DagsterInstance.get()
        self.runtime = definitions.contracts.resolved(ROOT).runtime()

    def circuit(self, contract: str) -> Any:
        """The circuit of a contract."""
        return next(c for c in self.runtime.breaker.circuits() if c.key.contract == contract)

    def state(self, contract: str) -> str:
        """``closed``, ``open``, ..."""
        found = [c for c in self.runtime.breaker.circuits() if c.key.contract == contract]
        return str(found[0].effective_state.value) if found else "closed"

    def is_closed(self, contract: str) -> bool:
        """Whether consumers of a contract read its primary."""
        return self.state(contract) == "closed"

    def tell_circuit(self, contract: str) -> None:
        """What a circuit is now, and why."""
        circuit = self.circuit(contract)
        colour = "green" if circuit.effective_state.value == "closed" else "red"
        why = f": {circuit.reason}" if circuit.reason and colour == "red" else ""
        state = circuit.effective_state.value
        if state == "half_open":
            state = "open, and waits for its probe"
        say(f"circuit of [bold]{contract}[/] is [{colour}]{state}[/]{why}")

    def built_from(self, asset: str, partition: str | None = None) -> str:
        """What the stored asset was built from, by its materialization's own metadata."""
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=dg.AssetKey(asset),
                asset_partitions=[partition] if partition else None,
            ),
            limit=1,
        ).records
        if not records:
            raise StoryError(f"{asset} was not materialized")
        materialization = records[0].asset_materialization
        metadata = materialization.metadata if materialization else {}
        built = metadata.get("contract/built_from")
        return str(built.value) if built else "the primary"

    def open_reads(self) -> int:
        """How many reads of a fallback are not healed yet."""
        return len(self.runtime.ledger.open_reads())

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that the file channel has received."""
        if not ALERTS.exists():
            return []
        return [json.loads(line) for line in ALERTS.read_text().splitlines() if line]

    def stored(self, asset: str, partition: str | None = None) -> pd.DataFrame:
        """The asset as it is stored."""
        path = FOLDER / "assets" / asset
        with (path / partition if partition else path).open("rb") as file:
            frame: pd.DataFrame = pickle.load(file)  # noqa: S301 - written by our own I/O manager
        return frame


def tell_checks(result: dg.JobExecutionResult, asset: str) -> None:
    """The checks of an asset that did not pass in a run, as the UI shows them."""
    evaluations = [e for e in result.get_asset_check_evaluations() if e.asset_key.path == [asset]]
    if not evaluations:
        raise StoryError(f"no check of {asset} was evaluated")
    for evaluation in evaluations:
        if not evaluation.passed and evaluation.check_name != "circuit":
            say(f"[yellow]✗ {asset}.{evaluation.check_name}[/]: {evaluation.description}")


def tell_alert(stage: Stage, contract: str, before: int) -> None:
    """Wait for the next alert about a contract, and show it."""

    def arrived() -> dict[str, Any] | None:
        for alert in stage.alerts()[before:]:
            if contract in json.dumps(alert):
                return alert
        return None

    alert = wait_for(f"an alert about {contract} is delivered", arrived)
    say(f"[magenta]✉ alert[/]: {alert.get('title') or alert.get('summary')}")


def main() -> int:
    """Tell the story; 0 when it went as it should."""
    began = time.monotonic()
    # Told to stop, the story still stops its daemon.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for leftover in (FOLDER / "assets", HOME, STATE):
        shutil.rmtree(leftover, ignore_errors=True)
    ALERTS.unlink(missing_ok=True)
    prepare()
    os.environ["DAGSTER_HOME"] = str(HOME)
    sys.path.insert(0, str(ROOT))
    faults = FaultSwitch(FOLDER)
    faults.clear()
    console.print(
        "[bold]A data contract protects a pipeline.[/]  "
        "336,776 real flights of 2013; contracts in contracts/; the pipeline in definitions.py."
    )
    with console.status("  laying out the flights and starting Dagster's daemon"):
        stage = Stage()
        definitions.landing.planes()
    try:
        with daemon():
            tell(stage, faults)
    except StoryError as error:
        console.print(f"\n[bold red]The story broke:[/] {error}")
        console.print(f"[dim]Dagster's daemon wrote {FOLDER / 'daemon.log'}[/]")
        return 1
    finally:
        faults.clear()
    good = check(stage)
    console.print(f"\n[dim]{time.monotonic() - began:.0f} s. Look at it all with[/] make ui")
    return 0 if good else 1


def tell(stage: Stage, faults: FaultSwitch) -> None:
    """The chapters."""
    chapter(1, "A good day")
    say("Flights and weather of 4 November 2013 arrive as they were, dirt included; so do the")
    say("events of a web shop, whose contract is the one of the article, to the letter.")
    run_job(a_day, stage, GOOD_DAY)
    for contract in CONTRACTS:
        stage.tell_circuit(contract)
    say(f"delay_report [{GOOD_DAY}] was built from {stage.built_from('delay_report', GOOD_DAY)}")
    say(f"recommendations were built from {stage.built_from('recommendations')}")

    chapter(2, "A bad day")
    say(
        "7% of the flights arrive damaged; the weather station has renamed a column; and the shop's"
    )
    say("events have stopped: the last one is 29 minutes old, and the contract allows 30.")
    now = datetime.now(UTC)
    faults.turn_on(Fault.BROKEN_ROWS, since=now)
    faults.turn_on(Fault.RENAMED_COLUMN, since=now)
    faults.turn_on(Fault.STOPPED_FEED, since=now - timedelta(minutes=29, seconds=30))
    seen = len(stage.alerts())
    result = run_job(a_day, stage, BAD_DAY)
    for asset in ("flights", "weather", "real_time_navigation"):
        tell_checks(result, asset)
    for contract in CONTRACTS:
        stage.tell_circuit(contract)
    say("The run went on all the same, each report with what its contract declares:")
    for asset, day in (("delay_report", BAD_DAY), ("recommendations", None)):
        say(f"{asset}{f' [{day}]' if day else ''}:")
        for line in stage.built_from(asset, day).splitlines():
            say(f"  [yellow]{line}[/]")
    if stage.is_closed("flights") or stage.is_closed("weather"):
        raise StoryError("the circuits of flights and weather should be open")
    tell_alert(stage, "flights", seen)
    tell_alert(stage, "weather", seen)

    chapter(3, "The suppliers mend their data; a probe; recovery; healing")
    faults.turn_off(Fault.BROKEN_ROWS)
    faults.turn_off(Fault.RENAMED_COLUMN)
    say("Flights and weather are mended, and nobody starts a run. The shop's feed stays silent:")
    if stage.is_closed(SHOP):
        wait_for("time alone trips the circuit of the shop", lambda: not stage.is_closed(SHOP))
    stage.tell_circuit(SHOP)
    tell_alert(stage, SHOP, seen)
    say("When the wait that each contract names is over, the sensor asks for a probe:")
    for contract in ("flights", "weather"):
        wait_for(
            f"the probe of {contract} has closed its circuit", partial(stage.is_closed, contract)
        )
        stage.tell_circuit(contract)
    faults.clear()
    say("The shop's contract would wait 5 minutes. Its operator has seen the feed come back:")
    run_job(navigation, stage)
    reset = ["reset", SHOP, "--reason", "the feed is back", "--actor", "demo"]
    subprocess.run(  # noqa: S603 - our own command
        [str(Path(sys.executable).with_name("dagster-contracts")), *reset],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    say(f"[dim]$ dagster-contracts {' '.join(reset[:3])} 'the feed is back' --actor demo[/]")
    stage.tell_circuit(SHOP)
    wait_for("what was built on a fallback is healed", lambda: stage.open_reads() == 0)
    for asset, day in (("delay_report", BAD_DAY), ("recommendations", None)):
        built = stage.built_from(asset, day)
        say(f"[green]healed[/]: {asset}{f' [{day}]' if day else ''}, built again from {built}")


def check(stage: Stage) -> bool:
    """The story's own test: what it told must be so."""
    import pandas as pd

    wanted: Any = definitions.delay_report(
        flights=definitions.landing.flights(date.fromisoformat(BAD_DAY)),
        weather=definitions.landing.weather(),
    )
    healed = stage.stored("delay_report", BAD_DAY)
    try:
        pd.testing.assert_frame_equal(healed, wanted)
        equal = True
    except AssertionError:
        equal = False
    facts = [(f"the circuit of {c} is closed", stage.is_closed(c)) for c in CONTRACTS]
    facts += [
        ("the ledger of degraded reads is empty", stage.open_reads() == 0),
        ("the healed report equals one built from good data", equal),
        ("alerts were delivered", len(stage.alerts()) >= len(CONTRACTS)),
    ]
    table = Table(title="What must be so now", title_justify="left", box=None, show_header=False)
    for fact, holds in facts:
        table.add_row("[green]✓[/]" if holds else "[bold red]✗[/]", fact)
    history = Table(title="What the circuits did", title_justify="left", box=None)
    for column in ("when (UTC)", "contract", "from", "to", "why"):
        history.add_column(column)
    for event in reversed(stage.runtime.breaker.history(limit=40, transitions_only=True)):
        history.add_row(
            f"{event.at:%H:%M:%S}", event.key.contract, event.before, event.after, event.explanation
        )
    console.print()
    console.print(history)
    console.print()
    console.print(table)
    return all(holds for _, holds in facts)


if __name__ == "__main__":
    sys.exit(main())
