"""``dagster-contracts consumers``: who reads a contract's data, and how that is known."""

from __future__ import annotations

from contextlib import closing

import click

from dagster_contracts.cli.declared import check_known, known_name
from dagster_contracts.cli.output import format_option, print_json, print_line, print_table
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_existing
from dagster_contracts.registry.consumers import Consumer, declared_consumers
from dagster_contracts.registry.subscriptions import SubscriptionBook

_ORIGINS = {
    "graph": "the asset graph",
    "declared": "the contract",
    "subscribed": "a subscription",
}


@click.command(
    epilog="""\
\b
Examples:
  dagster-contracts consumers orders
  dagster-contracts consumers orders --format json
"""
)
@click.argument("contract")
@format_option()
@pass_places
def consumers(places: Places, contract: str, output: str) -> None:
    """List who consumes a contract, and which columns.

    Known from the asset graph of the code locations, from the contract itself, and from
    subscriptions.
    """
    name = known_name(places, contract)
    document = check_known(places, name)
    found: tuple[Consumer, ...] = ()
    store = open_existing(places)
    if store is not None:
        with closing(store):
            found = SubscriptionBook(store).consumers(name, document)
    elif document is not None:
        found = declared_consumers(document)
    if output == "json":
        print_json(
            {
                "contract": name,
                "consumers": [
                    {
                        "name": each.name,
                        "asset": each.asset,
                        "origin": each.origin.value,
                        "upstream_asset": each.upstream_asset,
                        "owners": list(each.owners),
                        "columns": list(each.columns),
                        "channels": list(each.channels),
                    }
                    for each in found
                ],
            }
        )
        return
    if not found:
        print_line(f"nobody is known to consume {name}")
        if store is None:
            print_line("  the asset graph is known once the registry sensor has run")
        return
    print_table(
        ("consumer", "known from", "reads", "columns", "owners"),
        (
            (
                each.name,
                _ORIGINS[each.origin.value],
                each.upstream_asset or each.asset or "",
                ", ".join(each.columns) or "all",
                ", ".join(each.owners),
            )
            for each in found
        ),
    )
