"""What an operator decides about a circuit: force, watch or reset it, always with a reason."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import TypeVar

import click

from dagster_contracts.cli.declared import check_known, declared_versions
from dagster_contracts.cli.output import format_option, print_json, print_line
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_for_change
from dagster_contracts.cli.words import moment
from dagster_contracts.core.circuit import Circuit, CircuitKey, Override
from dagster_contracts.core.condition import parse_duration
from dagster_contracts.core.contract import Contract, Json
from dagster_contracts.core.reference import ContractRef
from dagster_contracts.errors import ContractsError, PolicyError
from dagster_contracts.resilience.breaker import BreakerVerdict, CircuitBreaker
from dagster_contracts.store.database import Store

Function = TypeVar("Function", bound=Callable[..., object])


def actor_option(command: Function) -> Function:
    """``--actor``, which defaults to the user of the machine."""
    return click.option(
        "--actor",
        envvar="DAGSTER_CONTRACTS_ACTOR",
        default=_user,
        show_default="the user of this machine",
        help="Who decides.",
    )(command)


def reason_option(command: Function) -> Function:
    """``--reason``, without which nothing is decided."""
    return click.option("--reason", required=True, help="Why; it is kept in the history.")(command)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""  # a user without a name: the operation then asks for --actor


def _circuit_options(command: Function) -> Function:
    command = format_option()(command)
    command = actor_option(command)
    command = reason_option(command)
    command = click.option("--partition", help="The partition, where each has its circuit.")(
        command
    )
    command = click.option("--asset", help="The asset, where the contract has several.")(command)
    return click.argument("contract")(command)


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ContractsError as error:
        said = f"{error.what}; {error.hint}" if error.hint else error.what
        raise click.BadParameter(said, ctx, param) from None


def _examples(name: str) -> str:
    return f"""\
\b
Examples:
  dagster-contracts {name} orders --reason "the feed sends euros as cents"
  dagster-contracts {name} orders --asset orders_eu --partition 2026-03-01 --reason "re-delivery"
"""


def _override_command(name: str, override: Override, promise: str) -> click.Command:
    """One command that sets ``override``."""

    @click.command(name, help=promise, epilog=_examples(name))
    @_circuit_options
    @click.option(
        "--for",
        "length",
        metavar="DURATION",
        callback=_duration,
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
            until = None
            if length is not None:
                with store.read() as conn:
                    until = store.now(conn) + length
            verdict = CircuitBreaker(store).force(
                key, override, actor=actor, reason=reason, until=until, contract=document
            )
            _tell(store, verdict, output)

    return command


force_open = _override_command(
    "force-open",
    Override.FORCED_OPEN,
    "Keep consumers on the fallback.\n\nWhatever evaluations say; they are still recorded.",
)
force_closed = _override_command(
    "force-closed",
    Override.FORCED_CLOSED,
    "Keep consumers on the primary.\n\nWhatever evaluations say; they are still recorded.",
)
metrics_only = _override_command(
    "metrics-only",
    Override.METRICS_ONLY,
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
        verdict = CircuitBreaker(store).reset(key, actor=actor, reason=reason, contract=document)
        _tell(store, verdict, output)


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


def _tell(store: Store, verdict: BreakerVerdict, output: str) -> None:
    circuit = verdict.circuit
    if output == "json":
        document: dict[str, Json] = {
            "contract": circuit.key.contract,
            "asset": circuit.key.asset,
            "partition": circuit.key.partition,
            "state": circuit.state.value,
            "effective_state": circuit.effective_state.value,
            "override": circuit.override.value,
            "until": circuit.override_until.isoformat() if circuit.override_until else None,
            "actor": circuit.override_actor,
            "explanation": verdict.explanation,
        }
        print_json(document)
        return
    words = circuit.effective_state.value.replace("_", "-")
    if circuit.override is Override.NONE:
        print_line(f"{circuit.key}: {words}, no override")
        return
    with store.read() as conn:
        now = store.now(conn)
    until = f" until {moment(circuit.override_until, now)}" if circuit.override_until else ""
    said = circuit.override.value.replace("_", " ")
    print_line(f"{circuit.key}: {said}{until}, {words} for consumers")
