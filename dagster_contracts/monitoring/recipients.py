"""Which channels an alert goes to: the contract's own, its subscribers', its consumers' owners'."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

import sqlalchemy as sa

from dagster_contracts.core.contract import Contract
from dagster_contracts.monitoring.news import News
from dagster_contracts.store.tables import consumers, subscriptions

_LOG = logging.getLogger("dagster_contracts.alerts")


class Recipients:
    """The routing of one deployment.

    ``owners`` maps what assets and contracts call their owners (``team:data``, an address) to a
    channel. What nobody wants by name goes to ``default``.
    """

    def __init__(
        self,
        channels: Iterable[str],
        contract: Callable[[str], Contract | None],
        *,
        owners: Mapping[str, str],
        default: Iterable[str],
    ) -> None:
        self._channels = frozenset(channels)
        self._contract = contract
        self._owners = owners
        self._default = tuple(default)
        self._warned: set[str] = set()

    def of(self, conn: sa.Connection, news: News) -> tuple[str, ...]:
        """The channels for some news, none of them twice."""
        contract = self._contract(news.labels.contract)
        wanted = list(news.channels)
        owners = list(news.owners)
        if contract is not None and self._subscribed(contract, news):
            if news.for_consumers:
                wanted += contract.alerts.channels
                wanted += [name for each in contract.consumers for name in each.channels]
                owners += [each.contact for each in contract.consumers if each.contact]
            if news.for_producer:
                wanted += contract.alerts.producer_channels or contract.alerts.channels
                owners += [contract.owner] if contract.owner else []
        if news.for_consumers and not news.channels and not news.owners:
            named, people = self._consumers(conn, news)
            wanted += named
            owners += people
        wanted += [self._owners[owner] for owner in owners if owner in self._owners]
        known = [name for name in dict.fromkeys(wanted) if self._known(name)]
        return tuple(known or self._default)

    def _subscribed(self, contract: Contract, news: News) -> bool:
        """Whether the contract wants alerts of this kind: of all where it names none."""
        kind = news.labels.kind.value
        return not contract.alerts.on or any(
            kind == wanted or kind.startswith(f"{wanted}.") for wanted in contract.alerts.on
        )

    def _consumers(self, conn: sa.Connection, news: News) -> tuple[list[str], list[str]]:
        """Channels of the subscribers, owners of the assets downstream."""
        channels: list[str] = []
        for row in conn.execute(
            sa.select(subscriptions.c.channels, subscriptions.c.kinds).where(
                subscriptions.c.contract == news.labels.contract
            )
        ):
            family = news.labels.kind.value.partition(".")[0]
            if not row.kinds or family in row.kinds or news.labels.kind.value in row.kinds:
                channels += row.channels
        owners: list[str] = []
        for row in conn.execute(
            sa.select(consumers.c.owners).where(consumers.c.contract == news.labels.contract)
        ):
            owners += row.owners
        return channels, owners

    def _known(self, name: str) -> bool:
        if name in self._channels:
            return True
        if name not in self._warned:
            self._warned.add(name)
            _LOG.warning("no channel %r is configured; alerts for it go elsewhere", name)
        return False
