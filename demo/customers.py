"""A web shop whose customers browse now: events made up from a seed, at the times of the clock.

An event is a function of its minute alone, so two reads of the feed agree on what they both saw.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, TypedDict
from uuid import UUID

from demo.faults import Fault, FaultSwitch

if TYPE_CHECKING:
    import pandas as pd

CUSTOMERS = 200
PRODUCTS = 40
EVENTS_PER_MINUTE = 20
SALES_PER_DAY = 60
NAVIGATION_SPAN = timedelta(hours=1)
SALES_SPAN = timedelta(days=30)

CATEGORIES = ("books", "garden", "kitchen", "music", "toys")
DEVICES = ("web", "app", "kiosk")
ACTIONS = ("view", "search", "add_to_cart", "remove_from_cart", "purchase")
ACTION_WEIGHTS = (66, 12, 13, 4, 5)


class NavigationEvent(TypedDict):
    """One step of a customer through the shop; a search shows no single product."""

    event_id: str
    event_time: datetime
    customer_id: str
    session_id: str
    action: str
    page: str
    product_id: str | None
    category: str | None
    quantity: int | None
    unit_price: float | None
    device: str


class Sale(TypedDict):
    """One line of an order of the past."""

    order_id: str
    sold_at: datetime
    customer_id: str
    product_id: str
    category: str
    quantity: int
    unit_price: float


def navigation_events(now: datetime, faults: FaultSwitch) -> pd.DataFrame:
    """What customers did in the last hour, oldest first; nothing after the feed has stopped."""
    import pandas as pd  # the code location is loaded without it

    end = min(now, faults.active().get(Fault.STOPPED_FEED, now)).astimezone(UTC)
    start = end - NAVIGATION_SPAN
    events: list[NavigationEvent] = []
    minute = start.replace(second=0, microsecond=0)
    while minute <= end:
        events += [e for e in _events_of(minute) if start < e["event_time"] <= end]
        minute += timedelta(minutes=1)
    events.sort(key=itemgetter("event_time"))
    # Without the type, pandas would make floats of the whole numbers among the nulls.
    return pd.DataFrame(events).astype({"quantity": "Int32"})


def sales_history(now: datetime) -> pd.DataFrame:
    """Every sale of the thirty days before today, oldest first."""
    import pandas as pd  # the code location is loaded without it

    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    sales: list[Sale] = []
    for ago in range(SALES_SPAN.days, 0, -1):
        sales += _sales_of(today - timedelta(days=ago))
    sales.sort(key=itemgetter("sold_at"))
    return pd.DataFrame(sales)


def _events_of(minute: datetime) -> list[NavigationEvent]:
    rng = random.Random(int(minute.timestamp()))
    events: list[NavigationEvent] = []
    for _ in range(EVENTS_PER_MINUTE):
        customer, product = _customer(rng), _product(rng)
        action = rng.choices(ACTIONS, ACTION_WEIGHTS)[0]
        shown = action != "search"
        bought = action not in ("search", "view")
        events.append(
            {
                "event_id": _identifier(rng),
                "event_time": minute + timedelta(milliseconds=rng.randrange(60_000)),
                "customer_id": customer,
                "session_id": f"{customer}-{minute:%Y%m%d%H}",
                "action": action,
                "page": f"/products/{product}" if shown else "/search",
                "product_id": product if shown else None,
                "category": _category(product) if shown else None,
                "quantity": rng.randint(1, 3) if bought else None,
                "unit_price": _price(product) if bought else None,
                "device": rng.choice(DEVICES),
            }
        )
    return events


def _sales_of(day: datetime) -> list[Sale]:
    rng = random.Random(int(day.timestamp()) + 1)
    sales: list[Sale] = []
    for _ in range(SALES_PER_DAY):
        product = _product(rng)
        sales.append(
            {
                "order_id": _identifier(rng),
                "sold_at": day + timedelta(seconds=rng.randrange(86_400)),
                "customer_id": _customer(rng),
                "product_id": product,
                "category": _category(product),
                "quantity": rng.randint(1, 3),
                "unit_price": _price(product),
            }
        )
    return sales


def _identifier(rng: random.Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))


def _customer(rng: random.Random) -> str:
    return f"C{rng.randrange(CUSTOMERS):04d}"


def _product(rng: random.Random) -> str:
    # A few products are in everybody's eyes, most in few.
    return f"P{min(int(rng.expovariate(1 / 8)), PRODUCTS - 1):03d}"


def _category(product: str) -> str:
    return CATEGORIES[int(product[1:]) % len(CATEGORIES)]


def _price(product: str) -> float:
    return round(5 + int(product[1:]) * 1.25, 2)
