"""What each consumer should have been served: written anew, without a line of the product.

Batches are lists of rows; a batch is good unless its amounts are negative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

DAYS = [f"2024-01-0{day}" for day in range(1, 8)]
WEEK = DAYS[0]
REGIONS = ["eu", "us"]
BRANCHES = ["north", "south"]
TENANTS = ["a", "b", "c"]
CELLS = [f"{day}|{region}" for day in DAYS for region in REGIONS]

Rows = list[tuple[int, float]]
Part = str | None
Node = tuple[str, Part]


@dataclass(frozen=True)
class Source:
    """An asset under contract: whose circuit it is, and what stands in for it, best first.

    An ``impatient`` one is tried again at once: then each good batch is a probe of its partition.
    """

    scope: str
    levels: tuple[str, ...]
    audited: bool = True
    impatient: bool = False


@dataclass(frozen=True)
class Input:
    """An upstream, and which of its partitions a partition of the consumer is built from."""

    upstream: str
    partitions: Callable[[Part], Iterable[Part]]
    may_miss: bool = False


def same(part: Part) -> list[Part]:
    return [part]


def before(part: Part) -> list[Part]:
    index = DAYS.index(str(part))
    return [DAYS[index - 1]] if index else []


def two_days(part: Part) -> list[Part]:
    return [*before(part), part]


SOURCES = {
    "orders": Source("asset", ("last_valid", "order_archive")),
    "clicks": Source("partition", ("last_valid", "seed"), audited=False),
    "grid": Source("partition", ("last_valid", "subset")),
    "tenants": Source("partition", ("any last_valid",), audited=False),
    "branches": Source("asset", ("whole seed",)),
    "bulk": Source("partition", ("last_valid", "folder")),
    "flat": Source("partition", ("last_valid",)),
    "meter": Source("partition", ("any meter_archive", "last_valid")),
    "events": Source("asset", ("last_valid",), audited=False, impatient=True),
}

CONSUMERS = {
    "revenue": [Input("orders", same)],
    "trailing": [Input("orders", two_days)],
    "weekly": [Input("orders", lambda _: DAYS)],
    "newest": [Input("orders", lambda _: DAYS[-1:])],
    "total": [Input("clicks", lambda _: DAYS, may_miss=True)],
    "cell": [Input("grid", same)],
    "by_region": [Input("grid", lambda r: [c for c in CELLS if c.endswith(r)], may_miss=True)],
    "by_day": [Input("grid", lambda d: [c for c in CELLS if c.startswith(d)], may_miss=True)],
    "tenant_copy": [Input("tenants", same)],
    "all_tenants": [Input("tenants", lambda _: TENANTS, may_miss=True)],
    "branch_copy": [Input("branches", same)],
    "country": [Input("branches", lambda _: BRANCHES, may_miss=True)],
    "flat_copy": [Input("flat", same)],
    "bulk_copy": [Input("bulk", same)],
    "meter_copy": [Input("meter", same)],
    "event_copy": [Input("events", same)],
    "running": [Input("orders", same), Input("running", before)],
    "span": [Input("orders", two_days)],
    "span_copy": [Input("span", same)],
    "left": [Input("orders", same)],
    "right": [Input("clicks", same)],
    "first": [Input("orders", same)],
    "second": [Input("first", same), Input("meter", same)],
    "silent": [Input("orders", same)],
    "told": [Input("revenue", same), Input("bulk", same)],
    "mixed": [Input("orders", same)],
    "report": [Input("revenue", lambda _: DAYS, may_miss=True), Input("weekly", lambda _: [WEEK])],
}  # fmt: skip

LOADED_TOO = {
    "left": [Input("clicks", same)],
    "right": [Input("orders", same)],
    "first": [Input("meter", same)],
    "second": [Input("orders", same)],
}
"""What Dagster loads beside: a step that may make several assets gets the inputs of all."""


@dataclass
class Truth:
    """The state of the world as far as it decides what is served."""

    published: dict[Node, Rows] = field(default_factory=dict)
    valid: dict[Node, Rows] = field(default_factory=dict)
    kept: list[Node] = field(default_factory=list)
    """The partitions that were ever valid, the newest last."""
    newest: dict[Node, Rows] = field(default_factory=dict)
    open: set[Node] = field(default_factory=set)
    bad: dict[Node, set[Part]] = field(default_factory=dict)
    """By circuit that is open: the partitions that must be good before it closes."""
    seeds: dict[str, Mapping[str, Rows]] = field(default_factory=dict)
    latest: dict[str, str] = field(default_factory=dict)
    """The newest day that an asset ever delivered, good or bad."""
    degraded: set[Node] = field(default_factory=set)

    def produce(self, asset: str, part: Part, rows: Rows, *, in_table: bool = False) -> None:
        """A batch arrives, by itself or as a part of one table for a whole range.

        Nobody knows which row of such a table is whose: no part of it is kept as the last valid.
        A bad batch of a day older than the newest does not open the circuit of the whole asset; it
        is not published all the same, where the asset is audited.
        """
        node = (asset, part)
        self.newest[node] = rows
        source = SOURCES.get(asset)
        good = all(amount >= 0 for _, amount in rows)
        late = self._late(asset, part)
        if source is None or good or not source.audited:
            self.published[node] = rows
        if good and in_table:
            return
        if good:
            self.valid[node] = rows
            self.kept = [*(n for n in self.kept if n != node), node]
        elif source is not None and not late:
            self.open.add(self.circuit(asset, part))
        if source is not None:
            self._wait_for(self.circuit(asset, part), part, good=good, closes=source.impatient)

    def _wait_for(self, circuit: Node, part: Part, *, good: bool, closes: bool) -> None:
        """An open circuit waits for each bad partition, late or not; the last good one closes it.

        Where a probe is not due, the last one stays until an operator closes the circuit.
        """
        if circuit not in self.open:
            return
        bad = self.bad.setdefault(circuit, set())
        if not good:
            bad.add(part)
        elif closes:
            bad.discard(part)
            if not bad:
                self.open.discard(circuit)

    def publish(self, asset: str, part: Part, *, reset: bool) -> None:
        """A person declares the refused batch right; only a reset closes the circuit."""
        self.published[asset, part] = self.newest[asset, part]
        if reset:
            self.open.discard(self.circuit(asset, part))
            self.bad.pop(self.circuit(asset, part), None)

    def _late(self, asset: str, part: Part) -> bool:
        """Whether the asset's one circuit has seen a newer day; other partitions have no order."""
        if asset not in SOURCES or SOURCES[asset].scope == "partition" or part not in DAYS:
            return False
        self.latest[asset] = max(self.latest.get(asset, part), part)
        return part != self.latest[asset]

    def circuit(self, asset: str, part: Part) -> Node:
        return (asset, part if SOURCES[asset].scope == "partition" else None)

    def served(self, asset: str, part: Part, *, may_miss: bool = False) -> tuple[str, Rows] | None:
        """The level and the rows of one read; ``None`` where nothing can serve.

        A primary that is not there counts as one that cannot be read, unless it may be missing.
        """
        node = (asset, part)
        source = SOURCES.get(asset)
        if source is None or self.circuit(asset, part) not in self.open:
            if node in self.published:
                return ("primary", self.published[node])
            if source is None or may_miss:
                return None
        for level in source.levels:
            rows = self._level(level, asset, part)
            if rows is not None:
                return level, rows
        return None

    def _level(self, level: str, asset: str, part: Part) -> Rows | None:
        node = (asset, part)
        if level == "last_valid":
            return self.valid.get(node)
        if level == "any last_valid":
            own = [n for n in self.kept if n == node] or [n for n in self.kept if n[0] == asset]
            return self.valid[own[-1]] if own else None
        if level == "subset":
            return self.newest.get(node)
        if level.endswith("seed") or level == "folder":
            return self.seeds.get(asset, {}).get("" if level.startswith("whole") else str(part))
        other = level.removeprefix("any ")
        if (other, part) in self.published or not level.startswith("any "):
            return self.published.get((other, part))
        there = sorted(str(p) for a, p in self.published if a == other)
        earlier = [p for p in there if p <= str(part)]
        nearest = [*earlier[-1:], *there[:1]]
        return self.published[(other, nearest[0])] if there else None

    def can_build(self, *consumers: str, part: Part) -> bool:
        """Whether everything that these cannot do without can be served, or is made with them."""
        return all(
            self.served(each.upstream, upstream, may_miss=each.may_miss) is not None
            or (each.may_miss and not self._made(each.upstream, upstream))
            for consumer in consumers
            for each in [*CONSUMERS[consumer], *LOADED_TOO.get(consumer, ())]
            for upstream in each.partitions(part)
            if not (each.upstream in consumers and upstream == part)
        )

    def _made(self, asset: str, part: Part) -> bool:
        """Whether it was ever made: that may not be left out, however little of it can serve."""
        return (asset, part) in self.newest or (asset, part) in self.published

    def build(self, consumer: str, part: Part) -> dict[str, dict[Part, Rows]]:
        """What a run of the consumer must have been given; it is then built of that."""
        given: dict[str, dict[Part, Rows]] = {}
        marked = False
        for each in CONSUMERS[consumer]:
            for upstream_part in each.partitions(part):
                found = self.served(each.upstream, upstream_part, may_miss=each.may_miss)
                if found is None:
                    assert each.may_miss, (consumer, part, each, upstream_part)
                    assert not self._made(each.upstream, upstream_part), (consumer, part, each)
                    continue
                level, rows = found
                given.setdefault(each.upstream, {})[upstream_part] = rows
                inherited = level == "primary" and (each.upstream, upstream_part) in self.degraded
                marked |= level != "primary" or inherited
        node = (consumer, part)
        self.published[node] = sorted(
            row for p in given.values() for rows in p.values() for row in rows
        )
        (self.degraded.add if marked else self.degraded.discard)(node)
        return given

    def close_all(self) -> None:
        """An operator resets every circuit."""
        self.open.clear()
        self.bad.clear()
