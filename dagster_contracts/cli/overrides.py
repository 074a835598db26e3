"""What an operator decides about a circuit: force, watch or reset it, always with a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta

import click

from dagster_contracts.cli.circuit_story import key_as_json
from dagster_contracts.cli.declared import (
    check_known,
    declared_contracts,
    declared_versions,
    known_name,
)
from dagster_contracts.cli.output import print_json, print_line
from dagster_contracts.cli.parameters import DURATION, circuit_options
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_for_change
from dagster_contracts.core.circuit import Circuit
from dagster_contracts.core.contract import Contract, Json
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.decision import (
    Decision,
    Meant,
    circuit_meant,
    decide,
    next_sentence,
    standing_sentence,
    waiting_reads,
)
from dagster_contracts.resilience.governed import why_unasked
from dagster_contracts.resilience.ledger import DegradedReads
from dagster_contracts.resilience.verdict import BreakerVerdict
from dagster_contracts.resilience.watched import policy_of
from dagster_contracts.store.database import Store

_overridden = circuit_options(
    asset="The asset, where the contract has several.",
    partition="The partition, where each has its circuit. Default: all, those to come as well.",
)


def _examples(name: str) -> str:
    return f"""\
\b
Examples:
  dagster-contracts {name} orders --reason "the feed sends euros as cents"
  dagster-contracts {name} orders --asset orders_eu --partition 2026-03-01 --reason "re-delivery"
"""


def _override_command(name: str, decision: Decision, promise: str) -> click.Command:
    """One command that sets an override."""

    @click.command(name, help=promise, epilog=_examples(name))
    @_overridden
    @click.option(
        "--for",
        "length",
        metavar="DURATION",
        type=DURATION,
        help="How long, such as 2h or 1h30min. Default: until `reset` lifts it.",
    )
    @click.option(
        "--new-partition",
        is_flag=True,
        help="The partition is still to be made: nothing was evaluated of it.",
    )
    @pass_places
    def command(
        places: Places,
        contract: str,
        asset: str | None,
        partition: str | None,
        reason: str,
        actor: str,
        length: timedelta | None,
        new_partition: bool,
        output: str,
    ) -> None:
        if new_partition and partition is None:
            raise click.UsageError("--new-partition is about the one that --partition names")
        with closing(open_for_change(places, create=_has_circuit(places, contract))) as store:
            document, meant = find_circuits(
                store, places, contract, asset, partition, decision, new_partition=new_partition
            )
            _decide(store, meant, decision, document, actor, reason, length, output)

    return command


force_open = _override_command(
    "force-open",
    Decision.FORCE_OPEN,
    "Keep consumers on the fallback.\n\nWhatever evaluations say; they are still recorded.",
)
force_closed = _override_command(
    "force-closed",
    Decision.FORCE_CLOSED,
    "Keep consumers on the primary.\n\nWhatever evaluations say; they are still recorded.",
)
metrics_only = _override_command(
    "metrics-only",
    Decision.METRICS_ONLY,
    "Record what the circuit would do, and do nothing.\n\n"
    "Consumers read the primary; `status` and `history` tell when it would have opened.",
)


@click.command(
    epilog="""\
\b
Examples:
  dagster-contracts reset orders --reason "the feed was mended and checked by hand"
"""
)
@_overridden
@pass_places
def reset(
    places: Places,
    contract: str,
    asset: str | None,
    partition: str | None,
    reason: str,
    actor: str,
    output: str,
) -> None:
    """Close a circuit and lift its override.

    What was built on a fallback is healed, as after a good probe.
    """
    with closing(open_for_change(places)) as store:
        document, meant = find_circuits(store, places, contract, asset, partition, Decision.RESET)
        _decide(store, meant, Decision.RESET, document, actor, reason, None, output)


@click.command(
    epilog="""\
\b
Examples:
  dagster-contracts dismiss orders --asset ordres --reason "a typo of ours"
"""
)
@circuit_options(
    asset="Only the circuits on this asset.", partition="Only the circuit of this partition."
)
@pass_places
def dismiss(
    places: Places,
    contract: str,
    asset: str | None,
    partition: str | None,
    reason: str,
    actor: str,
    output: str,
) -> None:
    """Forget circuits that no consumer asks any more.

    Those that `status` lists apart, and a partition named with --partition of which nothing was
    ever evaluated. They sleep and their history stays; what happens to one wakes it again.
    """
    name = known_name(places, contract)
    with closing(open_for_change(places)) as store:
        breaker = CircuitBreaker(store)
        declared = {each.name: each for each in declared_contracts(places)}
        meant = [
            circuit
            for circuit in breaker.circuits_of([name])
            if asset in (None, circuit.key.asset) and partition in (None, circuit.key.partition)
        ]
        unasked = {
            circuit.key: why
            for circuit in meant
            if not circuit.dismissed
            and (why := _why_forgotten(circuit, declared, named=partition is not None))
        }
        if not unasked or not declared:
            raise PolicyError(
                f"no circuit of {name} is one that nobody asks",
                where=", ".join(str(circuit.key) for circuit in meant[:5]) or None,
                hint="`dagster-contracts status` lists those; `reset` closes one that is asked",
            )
        dismissed: list[Json] = []
        for key, why in unasked.items():
            breaker.dismiss(key, actor=actor, reason=reason)
            if output == "text":
                print_line(f"{key}: dismissed, {why}")
            dismissed.append({**key_as_json(key), "dismissed_because": why})
        if output == "json":
            print_json(dismissed)


def _why_forgotten(
    circuit: Circuit, declared: Mapping[str, Contract], *, named: bool
) -> str | None:
    """Why a circuit may be forgotten; ``None`` where it may not.

    One of a partition that was never evaluated may wait for it on purpose, so it must be named.
    """
    why = why_unasked(circuit, declared)
    if why is None and named and not circuit.evaluations:
        return "nothing was ever evaluated of it"
    return why


def _has_circuit(places: Places, ref: str) -> bool:
    """Whether a contract with a circuit is at hand, so that one may decide before its first run."""
    name = known_name(places, ref)
    return any(each.name == name and each.resilience for each in declared_contracts(places))


def find_circuits(
    store: Store,
    places: Places,
    ref: str,
    asset: str | None,
    partition: str | None,
    decision: Decision,
    *,
    new_partition: bool = False,
) -> tuple[Contract | None, Meant]:
    """The circuits that are meant, and the contract that they are bound to, if that is here.

    Raises
    ------
    click.UsageError
        The contract governs several assets, and none is named.
    PolicyError
        No consumer would ask for such a circuit.
    UnknownContractError
        There is no such contract.
    """
    name = known_name(places, ref)
    circuits = {c.key: c for c in CircuitBreaker(store).circuits_of([name])}
    document = next((each for each in declared_contracts(places) if each.name == name), None)
    # What is recorded can be decided about though its contract is gone from the folder.
    if document is None and not circuits:
        document = check_known(places, name)
    if document is not None and document.resilience is None and not circuits:
        raise PolicyError(
            f"{name} has no circuit",
            where=document.ref,
            why="its contract has no resilience section",
            hint="declare resilience.circuit_breaker in the contract",
        )
    # A circuit that was never evaluated says nothing of what the contract governs.
    evaluated = {c.key.asset for c in circuits.values() if c.evaluations}
    named = _assets(document)
    if asset is None:
        asset = _only_asset(name, sorted(evaluated) or named)
    of_asset = [c for c in circuits.values() if c.key.asset == asset]
    bound = _bound(places, of_asset) if of_asset else document
    known = bound or document
    meant = circuit_meant(
        name,
        asset,
        partition,
        decision=decision,
        governed={*named, *evaluated},
        scope=policy_of(known).scope if known is not None else None,
        recorded=of_asset,
        new_partition=new_partition,
    )
    return bound, meant


def _assets(document: Contract | None) -> list[str]:
    """The assets that the document names: of each object the best name, and the others."""
    if document is None:
        return []
    return list(dict.fromkeys(n for each in document.objects for n in document.asset_names(each)))


def _bound(places: Places, circuits: Sequence[Circuit]) -> Contract | None:
    """The version that the circuits are bound to: a decision must not bind them to another one."""
    hashes = {circuit.policy_hash for circuit in circuits if circuit.policy_hash}
    return next((v for v in declared_versions(places) if v.semantic_hash in hashes), None)


def _only_asset(name: str, assets: Sequence[str]) -> str:
    """The contract's asset, where it can be only one."""
    if len(assets) == 1:
        return assets[0]
    if not assets:
        raise click.UsageError(f"nothing is recorded of {name}, and its contract is not at hand")
    raise click.UsageError(
        f"{name} governs {len(assets)} assets; choose with --asset: {', '.join(assets)}"
    )


def _decide(
    store: Store,
    meant: Meant,
    decision: Decision,
    document: Contract | None,
    actor: str,
    reason: str,
    lasting: timedelta | None,
    output: str,
) -> None:
    """Carry the decision out, and tell how the circuits stand and what happens now."""
    with store.read() as conn:
        now = store.now(conn)
    breaker, reads = CircuitBreaker(store), DegradedReads(store)
    told: list[Json] = []
    verdicts = decide(
        breaker,
        meant.key,
        decision,
        actor=actor,
        reason=reason,
        now=now,
        lasting=lasting,
        contract=document,
    )
    for verdict in verdicts:
        following = next_sentence(verdict.circuit, waiting_reads(reads, verdict.circuit.key))
        if output == "json":
            told.append(_as_json(verdict, following))
        else:
            print_line(standing_sentence(verdict.circuit))
            print_line(f"  {following}")
    if output != "json":
        if meant.remark:
            print_line(f"  {meant.remark}")
    elif len(told) == 1 and not meant.remark:
        print_json(told[0])
    else:
        print_json({"circuits": told, "remark": meant.remark})


def _as_json(verdict: BreakerVerdict, following: str) -> dict[str, Json]:
    circuit = verdict.circuit
    return {
        **key_as_json(circuit.key),
        "state": circuit.state.value,
        "effective_state": circuit.effective_state.value,
        "override": circuit.override.value,
        "until": circuit.override_until.isoformat() if circuit.override_until else None,
        "actor": circuit.override_actor,
        "explanation": verdict.explanation,
        "next": following,
    }
