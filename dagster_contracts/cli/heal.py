"""Let what was given up be built anew once more, when a person has mended what was in the way."""

from __future__ import annotations

from contextlib import closing

import click

from dagster_contracts.cli.declared import check_known
from dagster_contracts.cli.output import print_json, print_line
from dagster_contracts.cli.parameters import circuit_options
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_for_change
from dagster_contracts.core.reference import ContractRef
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.healing import Healing
from dagster_contracts.resilience.ledger import DegradedReads


@click.command(
    epilog="""\
\b
Examples:
  dagster-contracts heal orders --reason "the warehouse is back"
  dagster-contracts heal orders --asset revenue --partition 2026-03-01 --reason "mended"
"""
)
@circuit_options(
    asset="Only this asset, which was built on a fallback.", partition="Only this partition of it."
)
@pass_places
def heal(
    places: Places,
    contract: str,
    asset: str | None,
    partition: str | None,
    reason: str,
    actor: str,
    output: str,
) -> None:
    """Try again to heal what was given up.

    The sensor starts the runs at its next tick, three tries for each asset as at first.
    """
    name = ContractRef.parse(contract).name
    with closing(open_for_change(places)) as store:
        if not CircuitBreaker(store).circuits_of([name]):
            check_known(places, name)
        targets = Healing(store, DegradedReads(store)).try_again(
            name, consumer=asset, partition=partition, actor=actor, reason=reason
        )
    if output == "json":
        print_json({"tried_again": [{"asset": one, "partition": part} for one, part in targets]})
        return
    for one, part in targets:
        print_line(f"{one}{f'[{part}]' if part else ''}: tried again at the sensor's next tick")
