"""A deployment in trouble, seeded: what must always hold is checked after every event.

What is real: the pure core (the state machine, routing, waking, the plan of healing) is the
package's own in every event. Most events keep their state in the dictionaries of ``PureServices``,
a model of the store, because a million transactions of a real database take far longer than a
minute. One event in ten, in deployments of their own, goes through the real breaker, ledger,
healing, snapshots, quarantine, outbox and alerts on a database, with crashes and refused
statements; there the model runs in step, and must agree with every answer and every state.

``make soak`` sets ``DAGSTER_CONTRACTS_SOAK_EVENTS`` (and, to repeat a run,
``DAGSTER_CONTRACTS_SOAK_SEED``); ``python -m tests.soak --seed N --events M`` tells the story of a
seed that breaks something. A seed alone says nothing once the events change, so the defect that it
found is kept with it: ``test_mutations`` puts it back and demands that it is found out.
"""

from __future__ import annotations

import os

import pytest

from tests.soak.deployment import Deployment
from tests.soak.lockstep import LockstepServices
from tests.soak.services import PureServices

EVENTS = int(os.environ.get("DAGSTER_CONTRACTS_SOAK_EVENTS", "0"))
# The short runs of every day are all the same; a soak begins somewhere else each time.
SEED = int(os.environ.get("DAGSTER_CONTRACTS_SOAK_SEED", "20"))


@pytest.mark.parametrize("part", range(2))
def test_no_consumer_is_served_what_a_circuit_forbids(part: int) -> None:
    seed = SEED + part
    print(f"seed {seed}: python -m tests.soak --seed {seed} --events {EVENTS or 4_000}")
    sizes = (30, 170) if EVENTS else (8, 20)
    Deployment(seed, PureServices, contracts=sizes[0], plain=sizes[1]).run(EVENTS or 4_000)


def test_the_store_loses_nothing_while_processes_die_and_it_refuses(store_url, tmp_path) -> None:
    on_sqlite = store_url.startswith("sqlite")
    seed, events = SEED + 2, EVENTS // (10 if on_sqlite else 100) or 100
    print(
        f"seed {seed}: python -m tests.soak --durable --trouble 0.25"
        f" --seed {seed} --events {events} (on {store_url.partition(':')[0]})"
    )
    services: list[LockstepServices] = []

    def open_services(world: Deployment) -> LockstepServices:
        services.append(LockstepServices(world, store_url, tmp_path, trouble=0.25))
        return services[-1]

    Deployment(seed, open_services, contracts=3, plain=4).run(events)
    assert services[0].died or services[0].refused, (
        "nothing broke: the story was too short to prove anything"
    )
