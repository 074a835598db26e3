"""``dagster-contracts status``: the state of the circuits, told so that a person can act on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime

import click

from dagster_contracts.cli.circuit_story import Standing, headline, lines
from dagster_contracts.cli.declared import check_known, declared_contracts, known_name
from dagster_contracts.cli.lazy_group import FINDINGS
from dagster_contracts.cli.output import format_option, print_hanging, print_json, print_line
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_existing, shown_url
from dagster_contracts.cli.words import count
from dagster_contracts.core.circuit import Circuit, CircuitKey, CircuitState, Override
from dagster_contracts.core.circuit.present import standing_at
from dagster_contracts.core.contract import Contract, Json
from dagster_contracts.monitoring.history import Evaluation, MetricHistory
from dagster_contracts.monitoring.standing import standing_levels
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.governed import why_unasked
from dagster_contracts.resilience.healing import Healing, HealRequest
from dagster_contracts.resilience.ledger import DegradedRead, DegradedReads, Target
from dagster_contracts.resilience.publication import Publication
from dagster_contracts.resilience.quarantine import QuarantinedBatch
from dagster_contracts.store.database import Store

_COLOURS = {
    CircuitState.CLOSED: "green",
    CircuitState.OPEN: "red",
    CircuitState.HALF_OPEN: "yellow",
    CircuitState.EXHAUSTED: "red",
}


@click.command(
    epilog="""\
Exits with 1 while a circuit is not closed for its consumers, or something that they
can read was built on a fallback and is not built anew.

\b
Examples:
  dagster-contracts status
  dagster-contracts status orders
  dagster-contracts status --format json
"""
)
@click.argument("ref", required=False)
@format_option()
@pass_places
def status(places: Places, ref: str | None, output: str) -> None:
    """Tell the state of the circuits, and why.

    REF is the name of a contract; without it every circuit is told of, those in trouble first.
    """
    name = known_name(places, ref) if ref else None
    store = open_existing(places)
    if store is None:
        if name is not None:
            check_known(places, name)
        _nothing_yet(places, name, output)
        return
    with closing(store):
        written = CircuitBreaker(store).circuits(as_written=True)
        stored = [circuit for circuit in written if name in (None, circuit.key.contract)]
        with store.read() as conn:
            now = store.now(conn)
        circuits = [standing_at(circuit, now) for circuit in stored]
        lapsed = {
            was.key: was
            for was, is_now in zip(stored, circuits, strict=True)
            if was.override is not is_now.override
        }
        if name is not None and not circuits:
            check_known(places, name)
        declared = {contract.name: contract for contract in declared_contracts(places)}
        circuits, unasked = _asked(circuits, declared)
        newest = MetricHistory(store).newest(circuits, of_batches=True)
        unpublished = Publication(store).unpublished()
        ledger = DegradedReads(store)
        healing = Healing(store, ledger)
        reads: dict[CircuitKey, list[DegradedRead]] = {}
        for read in ledger.open_reads():
            reads.setdefault(read.circuit, []).append(read)
        flying = {request.target: request for request in healing.in_flight()}
        standings = [
            _standing(
                store,
                flying,
                circuit,
                lapsed.get(circuit.key),
                newest.get(circuit.key),
                declared.get(circuit.key.contract),
                reads.get(circuit.key, []),
                unpublished.get(circuit.key, []),
            )
            for circuit in circuits
        ]
        given_up = {request.target for request in healing.given_up()}
        silent = _without_circuit(declared.values(), name, circuits)
        if output == "json":
            print_json(
                {
                    "store": store.url,
                    "at": now.isoformat(),
                    "circuits": [standing.to_json() for standing in standings],
                    "unasked": [_unasked_json(circuit, why) for circuit, why in unasked],
                    "never_evaluated": list(silent),
                }
            )
        else:
            _print(standings, silent, given_up, now)
            _print_unasked(unasked)
    stands = any(read.stands for each in standings for read in each.reads)
    if stands or not all(_calm(each) for each in standings):
        raise click.exceptions.Exit(FINDINGS)


def _asked(
    circuits: list[Circuit], declared: Mapping[str, Contract]
) -> tuple[list[Circuit], list[tuple[Circuit, str]]]:
    """The circuits that consumers ask, and those that nobody does, with the reason.

    Without a folder of contracts nobody knows, and all are told of. Left out is what was dismissed,
    and a whole asset's circuit that only lent its partitions an override, once that is over.
    """
    parted = {(c.key.contract, c.key.asset) for c in circuits if c.key.partition is not None}
    asked: list[Circuit] = []
    unasked: list[tuple[Circuit, str]] = []
    for circuit in circuits:
        key = circuit.key
        why = why_unasked(circuit, declared) if declared else None
        if circuit.dismissed:
            continue
        if why is not None:
            unasked.append((circuit, why))
        elif (
            key.partition is not None or (key.contract, key.asset) not in parted or not circuit.idle
        ):
            asked.append(circuit)
    return asked, unasked


def _unasked_json(circuit: Circuit, why: str) -> dict[str, Json]:
    key = circuit.key
    return {
        "contract": key.contract,
        "asset": key.asset,
        "partition": key.partition,
        "state": circuit.state.value,
        "override": circuit.override.value,
        "why": why,
    }


def _print_unasked(unasked: Sequence[tuple[Circuit, str]]) -> None:
    if not unasked:
        return
    print_line()
    print_line(f"{count(len(unasked), 'circuit')} that no consumer asks; `dismiss` forgets one:")
    for circuit, why in unasked:
        print_hanging(f"  {circuit.key}: {why}", 4)


def _standing(
    store: Store,
    flying: Mapping[Target, HealRequest],
    circuit: Circuit,
    lapsed: Circuit | None,
    evaluation: Evaluation | None,
    contract: Contract | None,
    reads: Sequence[DegradedRead],
    unpublished: Sequence[QuarantinedBatch],
) -> Standing:
    key = circuit.key
    return Standing(
        circuit=circuit,
        lapsed=lapsed,
        evaluation=evaluation,
        reads=tuple(reads),
        unpublished=tuple(unpublished),
        healing=flying,
        levels=()
        if contract is None
        else standing_levels(store, contract, key.asset, partition=key.partition),
    )


def _calm(standing: Standing) -> bool:
    return standing.circuit.effective_state is CircuitState.CLOSED


def _told_of(standings: list[Standing], given_up: set[Target]) -> set[Target]:
    """Of what healing has given up, that which these circuits tell of."""
    return given_up & {read.target for standing in standings for read in standing.reads}


def _print(
    standings: list[Standing], silent: tuple[str, ...], given_up: set[Target], now: datetime
) -> None:
    troubled = [standing for standing in standings if not _calm(standing)]
    calm = [standing for standing in standings if _calm(standing)]
    for standing in (*troubled, *calm):
        colour = _COLOURS[standing.circuit.effective_state]
        if standing.circuit.override is not Override.NONE:
            colour = "yellow"
        print_line(headline(standing, now), fg=colour, bold=True)
        for word, sentence in lines(standing, now):
            print_hanging(f"  {word:<12} {sentence}", 15)
        print_line()
    if silent:
        print_line(f"not evaluated yet: {', '.join(silent)}")
    waiting = sum(not read.pending for standing in standings for read in standing.reads)
    healing = f"; {count(waiting, 'read')} to be healed" if waiting else ""
    if spent := len(_told_of(standings, given_up)):
        healing += f", {spent} given up: mend what is in the way, then `heal` tries again"
    print_line(
        f"{count(len(standings), 'circuit')}, "
        f"{len(troubled) or 'none'} not closed for consumers{healing}"
    )


def _without_circuit(
    declared: Iterable[Contract], name: str | None, circuits: list[Circuit]
) -> tuple[str, ...]:
    """Contracts with a circuit of which nothing was ever recorded."""
    seen = {circuit.key.contract for circuit in circuits}
    return tuple(
        each.name
        for each in declared
        if each.resilience is not None and each.name not in seen and name in (None, each.name)
    )


def _nothing_yet(places: Places, name: str | None, output: str) -> None:
    if output == "json":
        print_json(
            {
                "store": shown_url(places),
                "at": None,
                "circuits": [],
                "unasked": [],
                "never_evaluated": list(_without_circuit(declared_contracts(places), name, [])),
            }
        )
        return
    print_line("no state yet: no asset under a contract was materialized")
    print_line(f"  looked for it at {shown_url(places)}")
