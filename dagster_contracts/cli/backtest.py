"""``dagster-contracts backtest``: when a contract's rules would have opened its circuit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import click

from dagster_contracts.cli.backtest_picture import MOST_DRAWN, draw, served_words
from dagster_contracts.cli.declared import declared_contracts
from dagster_contracts.cli.output import (
    format_option,
    print_json,
    print_line,
    progress_of_steps,
)
from dagster_contracts.cli.parameters import DURATION
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.sources import read_one
from dagster_contracts.cli.state import open_existing, shown_url
from dagster_contracts.cli.words import count, duration
from dagster_contracts.core.contract import Contract, Json
from dagster_contracts.core.near_names import meant_one_of, near_names
from dagster_contracts.errors import UnknownContractError
from dagster_contracts.resilience.backtest import (
    Backtest,
    CircuitBacktest,
    LeftOut,
    Opening,
    Stretch,
    backtest,
    recorded_names,
    time_open,
)
from dagster_contracts.store.database import Store

_WIDTH = 72
_OPEN, _HALF_OPEN = "#", "?"
_MOST_OPENINGS = 20
_MOST_CIRCUITS = 20
_MOST_LEFT_OUT = 5


@click.command(
    "backtest",
    epilog="""\
\b
Examples:
  dagster-contracts backtest orders --since 90d
  dagster-contracts backtest drafts/orders.yaml --picture orders.svg
""",
)
@click.argument("contract")
@click.option(
    "--since", type=DURATION, metavar="DURATION", help="What to tell of, as 90d. Default: all."
)
@click.option("--asset", help="Only the circuits on this asset.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Also draw it, as SVG, into this file.",
)
@format_option()
@pass_places
def backtest_command(
    places: Places,
    contract: str,
    since: timedelta | None,
    asset: str | None,
    picture: Path | None,
    output: str,
) -> None:
    """Replay the history through a contract's rules.

    Every recorded evaluation is judged again. CONTRACT is one of the deployment (orders,
    orders@1.2), or the file of an edited one. The replay shows when the circuit would have opened
    and closed, and what consumers would have been served, beside what really happened. Operators'
    resets are replayed, their overrides are not. Nothing is written but the picture.
    """
    found = read_one(contract, places)
    store = open_existing(places)
    if store is None:
        raise click.UsageError(
            f"nothing was recorded at {shown_url(places)}; name the store with --store"
        )
    with closing(store):
        begin = None
        if since is not None:
            with store.read() as conn:
                begin = store.now(conn) - since
        with progress_of_steps("replaying") as told:
            drawn = 0 if picture is None else MOST_DRAWN
            result = backtest(store, found, since=begin, asset=asset, curves=drawn, progress=told)
        if result.recorded_since is None:
            _check_known(places, store, found, contract)
    if picture is not None:
        picture.write_text(draw(result), encoding="utf-8")
    if output == "json":
        print_json(_as_json(result))
        return
    for text, colour in _lines(result):
        print_line(text, fg=colour)
    if picture is not None:
        print_line()
        print_line(f"drawn into {picture}")


def _check_known(places: Places, store: Store, found: Contract, asked: str) -> None:
    """``UnknownContractError`` for a name that neither a document nor the history has."""
    declared = {contract.name for contract in declared_contracts(places)}
    if found.name in declared:
        return
    with store.read() as conn:
        recorded = set(recorded_names(conn))
    if found.name in recorded:
        return  # Evaluated, but not on this asset.
    known = sorted(declared | recorded)
    raise UnknownContractError(
        f"nothing was ever recorded of a contract {found.name!r}",
        where=str(found.location or asked),
        why="no contract of that name was evaluated, and the deployment has none",
        hint=meant_one_of(near_names(found.name, known)) or "known: " + ", ".join(known[:20]),
    )


def _lines(result: Backtest) -> Iterator[tuple[str, str | None]]:
    contract = result.contract
    if not result.circuits:
        closed = "; its circuits were closed" if result.recorded_since else ""
        yield (
            f"{contract.ref}: no evaluation of {contract.name} was recorded in that time{closed}",
            None,
        )
        return
    for position, circuit in enumerate(result.by_trouble):
        if position == _MOST_CIRCUITS:
            yield f"and {count(len(result.circuits) - position, 'more circuit')}", None
            break
        if position:
            yield "", None
        yield from _circuit_lines(result, circuit)
    for name in result.never_measured:
        yield "", None
        said = f"{name} was never recorded, so that conditions on it stayed unknown"
        yield said, "yellow"
    for position, each in enumerate(result.left_out):
        if position == 0:
            yield "", None
        if position == _MOST_LEFT_OUT:
            more = count(len(result.left_out) - position, "more override")
            yield f"not replayed: {more}", "yellow"
            break
        yield f"not replayed: {_left_out(each)}", "yellow"
    if result.assumed:
        yield "", None
        yield f"taken for granted: {'; '.join(result.assumed)}", None


def _circuit_lines(result: Backtest, circuit: CircuitBacktest) -> Iterator[tuple[str, str | None]]:
    span = max(result.until - circuit.since, timedelta(seconds=1))
    version = result.contract.version
    evaluations = count(circuit.evaluations, "evaluation")
    yield f"{circuit.key} under {version}: {evaluations} in {duration(span)}", None
    yield from _begins(result, circuit)
    colour = "red" if circuit.openings else "green"
    would = _times(circuit.openings, circuit.since, result.until)
    yield f"  would have opened {would}", colour
    told = circuit.told_since
    known = _times(circuit.recorded, told or circuit.since, result.until)
    if told is None:
        yield f"  as recorded:      {known}", None
    else:
        yield f"  as recorded:      {known}, since {told:%Y-%m-%d %H:%M} UTC", None
        yield "    (retention removed the older lines of its history)", None
    yield "", None
    gap = ", _ not recorded" if _is_cut(result, circuit) else ""
    yield f"  {_strip(result, circuit, _state_letter)}  circuit: # open, ? half-open{gap}", None
    letters = {name: str(i) for i, name in enumerate(_level_names(result.contract), start=1)}
    legend = ", ".join(f"{letter} {name}" for name, letter in letters.items())

    def level_letter(stretch: Stretch) -> str:
        return "!" if stretch.level is None else letters.get(stretch.level, "?")

    nothing = ", ! nothing usable" if any(s.level is None for s in circuit.stretches) else ""
    yield f"  {_strip(result, circuit, level_letter)}  served: {legend}{nothing}", None
    left, right = f"{result.since:%Y-%m-%d %H:%M}", f"{result.until:%Y-%m-%d %H:%M} UTC"
    yield f"  {left}{right.rjust(_WIDTH - len(left))}", None
    for position, opening in enumerate(circuit.openings):
        if position == _MOST_OPENINGS:
            yield f"  and {count(len(circuit.openings) - position, 'more opening')}", None
            return
        yield "", None
        yield from _opening_lines(opening, circuit, result.until)


def _is_cut(result: Backtest, circuit: CircuitBacktest) -> bool:
    """Whether the records of a circuit begin later than what was asked for."""
    return circuit.since > result.since


def _begins(result: Backtest, circuit: CircuitBacktest) -> Iterator[tuple[str, str | None]]:
    """Where the records begin, where something is missing before it or everything was asked for."""
    if not _is_cut(result, circuit) and not circuit.forgotten:
        if result.recorded_since is not None and result.recorded_since < circuit.since:
            yield f"  replayed since {result.recorded_since:%Y-%m-%d %H:%M} UTC", None
        return
    why = "removed by retention" if circuit.forgotten else "removed by retention or never recorded"
    # A partition begins when it begins; nobody wonders what came before.
    whole = f"; what came before was {why}" if circuit.key.partition is None else ""
    yield f"  recorded since {circuit.since:%Y-%m-%d %H:%M} UTC{whole}", "yellow"


def _opening_lines(
    opening: Opening, circuit: CircuitBacktest, until: datetime
) -> Iterator[tuple[str, str | None]]:
    end = opening.until or until
    still = "" if opening.until else ", and still is"
    lasted = f"for {duration(end - opening.since)}{still}"
    before = ", before that time," if opening.since < circuit.since else ""
    yield f"  opened {opening.since:%Y-%m-%d %H:%M} UTC{before} {lasted}: {opening.reason}", "red"
    served: dict[str, timedelta] = {}
    for stretch in circuit.stretches:
        shared = min(stretch.until, end) - max(stretch.since, opening.since)
        if shared > timedelta(0):
            name = served_words(stretch)
            served[name] = served.get(name, timedelta(0)) + shared
    told = [f"{name} for {duration(length)}" for name, length in served.items()]
    if told:
        yield f"    served {', then '.join(told)}", None
    if opening.failed_probes:
        gave_up = ", and no more were tried" if opening.exhausted else ""
        yield f"    {count(opening.failed_probes, 'probe')} failed{gave_up}", None
    if opening.until is not None:
        yield f"    closed {opening.until:%Y-%m-%d %H:%M} UTC: {opening.ended}", "green"


def _times(openings: tuple[Opening, ...], since: datetime, until: datetime) -> str:
    if not openings:
        return "never"
    length = time_open(openings, since, until)
    share = length / max(until - since, timedelta(seconds=1))
    begun = ", open at the beginning" if openings[0].since < since else ""
    return f"{count(len(openings), 'time')}, {duration(length)} in all ({share:.1%}){begun}"


def _left_out(one: LeftOut) -> str:
    """``orders/orders, 2026-03-01 06:00 UTC, for 2h: forced closed by ada until ...: why``."""
    stands = f"for {duration(one.until - one.since)}" if one.until else "and still stands"
    return f"{one.key}, {one.since:%Y-%m-%d %H:%M} UTC, {stands}: {one.said}"


def _strip(result: Backtest, circuit: CircuitBacktest, letter: Callable[[Stretch], str]) -> str:
    """One character for each share of the time: the one that is farthest from normal there."""
    span = max(result.until - result.since, timedelta(seconds=1))
    cells = [""] * _WIDTH
    # The least usual letter wins its cell, so that an opening of minutes is seen among months.
    usual: dict[str, timedelta] = {}
    for stretch in circuit.stretches:
        key = letter(stretch)
        usual[key] = usual.get(key, timedelta(0)) + (stretch.until - stretch.since)
    # A moment of being probed hides no opening.
    if _OPEN in usual and _HALF_OPEN in usual:
        usual[_HALF_OPEN] = max(usual[_HALF_OPEN], usual[_OPEN] + timedelta.resolution)
    for stretch in circuit.stretches:
        first = int((stretch.since - result.since) / span * _WIDTH)
        last = int((stretch.until - result.since) / span * _WIDTH)
        mark = letter(stretch)
        for cell in range(max(first, 0), min(max(last, first), _WIDTH - 1) + 1):
            if not cells[cell] or usual[mark] < usual[cells[cell]]:
                cells[cell] = mark
    begin = int((circuit.since - result.since) / span * _WIDTH)
    return "".join(
        cell or ("_" if position < begin else " ") for position, cell in enumerate(cells)
    )


def _state_letter(stretch: Stretch) -> str:
    return {"closed": ".", "half_open": _HALF_OPEN}.get(stretch.state.value, _OPEN)


def _level_names(contract: Contract) -> list[str]:
    assert contract.resilience is not None
    return [level.name for level in contract.resilience.levels]


def _as_json(result: Backtest) -> dict[str, Json]:
    return {
        "contract": result.contract.name,
        "version": result.contract.version,
        "since": result.since.isoformat(),
        "until": result.until.isoformat(),
        "recorded_since": _iso(result.recorded_since),
        "never_measured": list(result.never_measured),
        "assumed": list(result.assumed),
        "left_out": [
            {
                "asset": each.key.asset,
                "partition": each.key.partition,
                "since": each.since.isoformat(),
                "until": _iso(each.until),
                "override": each.said,
            }
            for each in result.left_out
        ],
        "circuits": [
            {
                "asset": circuit.key.asset,
                "partition": circuit.key.partition,
                "since": circuit.since.isoformat(),
                "recorded_openings_since": _iso(circuit.told_since or circuit.since),
                "evaluations": circuit.evaluations,
                "seconds_open": circuit.time_open(result.until).total_seconds(),
                "openings": [_opening_json(o) for o in circuit.openings],
                "recorded_openings": [_opening_json(o) for o in circuit.recorded],
                "served": [
                    {
                        "since": stretch.since.isoformat(),
                        "until": stretch.until.isoformat(),
                        "state": stretch.state.value,
                        "level": stretch.level,
                        "levels": list(stretch.levels or (stretch.level,)),
                        "reason": stretch.reason,
                    }
                    for stretch in circuit.stretches
                ],
            }
            for circuit in result.circuits
        ],
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _opening_json(opening: Opening) -> dict[str, Json]:
    return {
        "since": opening.since.isoformat(),
        "until": _iso(opening.until),
        "reason": opening.reason,
        "evaluation_id": opening.evaluation_id,
        "failed_probes": opening.failed_probes,
        "exhausted": opening.exhausted,
        "ended": opening.ended or None,
    }
