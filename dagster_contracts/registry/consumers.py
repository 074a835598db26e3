"""Who consumes a contract, and whom a change breaks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from dagster_contracts.core.changes import Changes, Verdict
from dagster_contracts.core.contract import Contract, Json


class ConsumerOrigin(StrEnum):
    """How a consumer became known."""

    GRAPH = "graph"
    DECLARED = "declared"
    SUBSCRIBED = "subscribed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerEdge:
    """An edge of the asset graph: ``consumer_asset`` reads the contracted ``upstream_asset``.

    ``columns`` are those it is known to read; empty means that nobody said, so all of them.
    """

    contract: str
    upstream_asset: str
    consumer_asset: str
    owners: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One consumer of a contract: an asset, a team or a person. Empty ``columns`` means all."""

    contract: str
    name: str
    origin: ConsumerOrigin
    asset: str | None = None
    upstream_asset: str | None = None
    owners: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def wants(self, kind: str) -> bool:
        """Whether it asked to be told of events of this kind; of all where it named none."""
        return not self.kinds or kind in self.kinds


def declared_consumers(contract: Contract) -> tuple[Consumer, ...]:
    """The consumers that a contract itself names."""
    return tuple(
        Consumer(
            contract=contract.name,
            name=each.name,
            origin=ConsumerOrigin.DECLARED,
            asset=each.asset,
            owners=(each.contact,) if each.contact else (),
            columns=each.columns,
            channels=each.channels,
        )
        for each in contract.consumers
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What a new version means to one consumer: sentences, worst first."""

    consumer: Consumer
    verdict: Verdict
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """The impact as JSON values."""
        return {
            "consumer": self.consumer.name,
            "asset": self.consumer.asset,
            "verdict": str(self.verdict),
            "sentences": list(self.sentences),
        }


def impact_of(changes: Changes, consumers: Iterable[Consumer]) -> tuple[Impact, ...]:
    """What ``changes`` mean to each consumer, by the columns that it reads; the worst hit first."""
    impacts = []
    for consumer in consumers:
        noticed = [c for c in changes.touching(consumer.columns) if c.consumer is not Verdict.FINE]
        noticed.sort(key=lambda change: -change.consumer)
        impacts.append(
            Impact(
                consumer=consumer,
                verdict=max((c.consumer for c in noticed), default=Verdict.FINE),
                sentences=tuple(change.message for change in noticed),
            )
        )
    return tuple(sorted(impacts, key=lambda impact: (-impact.verdict, impact.consumer.name)))
