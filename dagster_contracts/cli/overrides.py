"""What an operator decides about a circuit: force, watch or reset it, always with a reason."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import TypeVar

import click

from dagster_contracts.cli.declared import check_known, declared_versions
from dagster_contracts.cli.output import format_option, print_json, print_line
from dagster_contracts.cli.parameters import DURATION, actor_option, reason_option
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_for_change
from dagster_contracts.core.circuit import Circuit, CircuitKey
from dagster_contracts.core.contract import Contract, Json
from dagster_contracts.core.reference import ContractRef
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.decision import (
    Decision,
    decide,
    next_sentence,
    standing_sentence,
)
from dagster_contracts.resilience.ledger import DegradedReads
from dagster_contracts.store.database import Store

Function = TypeVar("Function", bound=Callable[..., object])


def _circuit_options(command: Function) -> Function:
    command = format_option()(command)
    command = actor_option(command)
    command = reason_option(command)
    command = click.option("--partition", help="The partition, where each has its circuit.")(
        command
    )
    command = click.option("--asset", help="The asset, where the contract has several.")(command)
    return click.argument("contract")(command)


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
    @_circuit_options
    @click.option(
        "--for",
        "length",
        metavar="DURATION",
        type=DURATION,
        help="How long, such as 2h or 1h30min. Default: until `reset` lifts it.",
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
        output: str,
    ) -> None:
        with closing(open_for_change(places)) as store:
            document, key = find_circuit(store, places, contract, asset, partition)
            _decide(store, key, decision, document, actor, reason, length, output)

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
@_circuit_options
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
        document, key = find_circuit(store, places, contract, asset, partition)
        _decide(store, key, Decision.RESET, document, actor, reason, None, output)


def find_circuit(
    store: Store, places: Places, ref: str, asset: str | None, partition: str | None
) -> tuple[Contract | None, CircuitKey]:
    """The one circuit that is meant, and the contract that it is bound to, if that is here.

    ``click.UsageError`` lists the circuits where several fit; ``UnknownContractError`` where there
    is no such contract. A circuit that nothing happened to yet is found through its contract.
    """
    name = ContractRef.parse(ref).name
    circuits = {c.key: c for c in CircuitBreaker(store).circuits() if c.key.contract == name}
    fitting = [
        key for key in circuits if asset in (None, key.asset) and partition in (None, key.partition)
    ]
    if len(fitting) > 1:
        listed = "\n".join(f"  {key}" for key in fitting[:20])
        raise click.UsageError(
            f"{name} has {len(fitting)} circuits; choose with --asset and --partition:\n{listed}"
        )
    if fitting:
        return _bound(places, circuits[fitting[0]]), fitting[0]
    document = check_known(places, name)
    if document is not None and document.resilience is None:
        raise PolicyError(
            f"{name} has no circuit",
            where=document.ref,
            why="its contract has no resilience section",
            hint="declare resilience.circuit_breaker in the contract",
        )
    recorded = {key.asset for key in circuits}
    if asset is None:
        asset = recorded.pop() if len(recorded) == 1 else _only_asset(document, name)
    return document, CircuitKey(name, asset, partition)


def _bound(places: Places, circuit: Circuit) -> Contract | None:
    """The version that the circuit is bound to: a decision must not bind it to another one."""
    versions = declared_versions(places)
    return next((each for each in versions if each.semantic_hash == circuit.policy_hash), None)


def _only_asset(document: Contract | None, name: str) -> str:
    """The asset that the document names, where it can be only one."""
    if document is None:
        raise click.UsageError(f"nothing is recorded of {name}; name its asset with --asset")
    names = [document.asset_names(each) for each in document.objects]
    if len(names) == 1 and len(names[0]) == 1:
        return names[0][0]
    listed = ", ".join(dict.fromkeys(each for group in names for each in group))
    raise click.UsageError(
        f"nothing is recorded of {name} yet; name its asset with --asset ({listed})"
    )


def _decide(
    store: Store,
    key: CircuitKey,
    decision: Decision,
    document: Contract | None,
    actor: str,
    reason: str,
    lasting: timedelta | None,
    output: str,
) -> None:
    """Carry the decision out, and tell how the circuit stands and what happens now."""
    with store.read() as conn:
        now = store.now(conn)
    verdict = decide(
        CircuitBreaker(store),
        key,
        decision,
        actor=actor,
        reason=reason,
        now=now,
        lasting=lasting,
        contract=document,
    )
    circuit = verdict.circuit
    following = next_sentence(circuit, len(DegradedReads(store).open_reads(key)))
    if output == "json":
        told: dict[str, Json] = {
            "contract": circuit.key.contract,
            "asset": circuit.key.asset,
            "partition": circuit.key.partition,
            "state": circuit.state.value,
            "effective_state": circuit.effective_state.value,
            "override": circuit.override.value,
            "until": circuit.override_until.isoformat() if circuit.override_until else None,
            "actor": circuit.override_actor,
            "explanation": verdict.explanation,
            "next": following,
        }
        print_json(told)
        return
    print_line(standing_sentence(circuit))
    print_line(f"  {following}")
