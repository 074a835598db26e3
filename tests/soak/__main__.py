"""``python -m tests.soak --seed 7 --events 1000000``: simulate a deployment, and tell its end.

After a broken invariant the last events are printed. ``--durable`` runs it on the real services and
a SQLite file, with crashes and refusals, the model of the store beside them.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.soak.deployment import Deployment
from tests.soak.lockstep import LockstepServices
from tests.soak.services import PureServices
from tests.soak.truth import BrokenInvariantError


def main() -> int:
    """1 where an invariant broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--contracts", type=int)
    parser.add_argument("--assets", type=int, help="beside those with contracts")
    parser.add_argument("--durable", action="store_true")
    parser.add_argument("--trouble", type=float, default=0.1, help="share of calls that break")
    chosen = parser.parse_args()
    contracts, plain = (3, 4) if chosen.durable else (30, 170)
    sizes = {
        "contracts": chosen.contracts or contracts,
        "plain": plain if chosen.assets is None else chosen.assets,
    }
    print(f"seed {chosen.seed}, {chosen.events:,} events, {sizes}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)

        def durable(world: Deployment) -> LockstepServices:
            return LockstepServices(
                world, f"sqlite:///{root}/state.db", root, trouble=chosen.trouble
            )

        deployment = Deployment(chosen.seed, durable if chosen.durable else PureServices, **sizes)
        started, worked = time.perf_counter(), time.process_time()
        try:
            deployment.run(chosen.events)
        except BrokenInvariantError as broken:
            print("\n".join(deployment.trace))
            print(f"\nbroken after {deployment.events:,} events of seed {chosen.seed}: {broken}")
            return 1
    took, worked = time.perf_counter() - started, time.process_time() - worked
    print(
        f"all held; {took:.0f} s, {chosen.events / took:,.0f} events/s"
        f" ({chosen.events / worked:,.0f} for each second of one core)"
    )
    print(", ".join(f"{count:,} {what}" for what, count in deployment.counts.most_common()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
