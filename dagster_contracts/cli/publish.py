"""``dagster-contracts publish``: make a version of a contract one that others may rely on."""

from __future__ import annotations

from contextlib import closing

import click

from dagster_contracts.cli.output import format_option, print_json, print_line
from dagster_contracts.cli.parameters import actor_option, reason_option
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.sources import read_contracts, read_one
from dagster_contracts.cli.state import open_for_change
from dagster_contracts.core.contract import Json
from dagster_contracts.registry.registry import ContractRegistry


@click.command(
    epilog="""\
\b
Examples:
  dagster-contracts publish orders@1.1.0 --reason "discounts are promised"
  dagster-contracts publish contracts/orders/1.1.0.yaml --reason "discounts are promised"
"""
)
@click.argument("contract")
@reason_option
@actor_option
@format_option()
@pass_places
def publish(places: Places, contract: str, reason: str, actor: str, output: str) -> None:
    """Publish a version of a contract.

    It must stand in the contracts folder, and its version number must admit its changes. From then
    on its content is fixed, and those who consume it are told.
    """
    document = read_one(contract, places)
    with closing(open_for_change(places)) as store:
        registry = ContractRegistry(store, lambda: read_contracts(places))
        event = registry.publish(document, actor=actor, reason=reason)
    broken = [_name(each) for each in _items(event.payload.get("breaks"))]
    if output == "json":
        print_json(
            {
                "contract": event.contract,
                "version": event.version,
                "kind": event.kind.value,
                "at": event.at.isoformat(),
                "actor": event.actor,
                "reason": event.reason,
                "breaks": list(broken),
            }
        )
        return
    print_line(f"{event.ref}: {event.kind.value} by {event.actor}, {event.at:%Y-%m-%d %H:%M} UTC")
    whom = f"it breaks {', '.join(broken)}" if broken else "no known consumer breaks"
    print_line(f"  {whom}; those concerned are told at the monitor's next tick")


def _items(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _name(impact: Json) -> str:
    return str(impact.get("consumer")) if isinstance(impact, dict) else str(impact)
