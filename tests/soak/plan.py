"""The deployment that is simulated: a graph of assets and the contracts of some, from a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction
from random import Random

from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import (
    CircuitMode,
    CircuitPolicy,
    CircuitScope,
    Contract,
    FallbackLevel,
    FallbackSource,
    HealMode,
    OnUnknown,
    Recovery,
    Resilience,
    SchemaObject,
    SourceKind,
)

PARTITIONS = ("a", "b", "c")
"""The newest partition and the two days before it; an older one has older events."""


@dataclass(frozen=True)
class Terms:
    """What a contract says, in plain numbers: per cent of broken rows, counts, hours."""

    limit: int
    hold: int
    enough: int
    retries: int
    probes: int
    retry_after: timedelta
    unknown_opens: bool
    stale_after: timedelta | None
    watching: bool
    by_partition: bool
    fallbacks: tuple[str, ...]
    activation: int | None
    binding: bool
    max_age: timedelta | None
    failures: int | None
    unavailable: int | None
    heal: HealMode
    closing: int | None
    edition: int = 0


@dataclass(frozen=True)
class Asset:
    """One asset; ``terms`` where a contract governs it, ``audited`` before it is published.

    What one ``stores_itself`` is stored before anybody can say that it is about to be.
    """

    name: str
    inputs: tuple[str, ...]
    partitioned: bool
    terms: Terms | None = None
    audited: bool = False
    stores_itself: bool = False

    @property
    def partitions(self) -> tuple[str | None, ...]:
        """The partitions that can be made; ``None`` stands for the whole asset."""
        return PARTITIONS if self.partitioned else (None,)


def plan_assets(random: Random, contracts: int, plain: int) -> dict[str, Asset]:
    """A graph in layers: sources with contracts, and what is built from them, in its order."""
    assets: dict[str, Asset] = {}
    sources = max(2, contracts * 2 // 3)
    for number in range(contracts + plain):
        name = f"asset_{number:03}"
        inputs: tuple[str, ...] = ()
        if number >= sources:
            # Mostly of the near past, so that the graph grows deep as well as wide.
            near = list(assets)[-12:] if random.random() < 0.5 else list(assets)
            inputs = tuple(sorted(random.sample(near, min(len(near), random.choice((1, 1, 2, 3))))))
        governed = number < contracts
        partitioned = random.random() < 0.4
        terms = _terms(random, list(assets), partitioned) if governed else None
        audited = governed and random.random() < 0.6
        stores_itself = not audited and random.random() < 0.3
        assets[name] = Asset(name, inputs, partitioned, terms, audited, stores_itself)
    return assets


def _terms(random: Random, earlier: list[str], partitioned: bool) -> Terms:
    fallbacks = [name for name in ("last_valid",) if random.random() < 0.8]
    if earlier and random.random() < 0.5:
        fallbacks.insert(random.randint(0, len(fallbacks)), random.choice(earlier))
    return Terms(
        limit=random.choice((5, 20)),
        hold=random.choice((1, 1, 1, 2, 3)),
        enough=random.choice((1, 1, 1, 2)),
        retries=random.choice((0, 1, 2, 3, 5)),
        probes=random.choice((1, 1, 2)),
        retry_after=timedelta(minutes=random.choice((1, 10, 60))),
        unknown_opens=random.random() < 0.2,
        # Older partitions hold older events: what is late there is no word on the feed.
        stale_after=None if partitioned or random.random() < 0.6 else timedelta(hours=6),
        watching=random.random() < 0.08,
        by_partition=partitioned and random.random() < 0.5,
        fallbacks=tuple(fallbacks),
        activation=random.choice((None, None, 2)),
        binding=random.random() < 0.3,
        max_age=random.choice((None, None, timedelta(hours=12))),
        failures=random.choice((None, 1, 2)),
        unavailable=random.choice((None, None, 2, 3)),
        heal=random.choice((HealMode.RUN,) * 4 + (HealMode.NOTIFY,) * 2 + (HealMode.OFF,)),
        closing=random.choice((None, None, None, 1, 10)),
    )


def contract_of(asset: Asset) -> Contract:
    """The contract as the package knows it."""
    terms = asset.terms
    assert terms is not None
    held = f" for {terms.hold} checks" if terms.hold > 1 else ""
    open_when = [parse_condition(f"schema_validation_errors > {terms.limit}%{held}")]
    if terms.stale_after is not None:
        hours = terms.stale_after // timedelta(hours=1)
        open_when.append(parse_condition(f"data_freshness > {hours}h"))
    if terms.failures is not None:
        open_when.append(parse_condition(f"failed_materializations >= {terms.failures}"))
    if terms.unavailable is not None:
        open_when.append(parse_condition(f"source_unavailable >= {terms.unavailable}"))
    close_when = f"schema_validation_errors < {terms.closing}%"
    policy = CircuitPolicy(
        open_when=tuple(open_when),
        close_when=() if terms.closing is None else (parse_condition(close_when),),
        recovery=Recovery(
            retry_after=terms.retry_after,
            max_retries=terms.retries,
            max_wait=timedelta(hours=6),
            probes=terms.probes,
            probe_timeout=timedelta(minutes=30),
        ),
        min_observations=terms.enough,
        scope=CircuitScope.PARTITION if terms.by_partition else CircuitScope.ASSET,
        mode=CircuitMode.METRICS_ONLY if terms.watching else CircuitMode.ENFORCE,
        on_unknown=OnUnknown.OPEN if terms.unknown_opens else OnUnknown.KEEP,
        flapping_window=timedelta(hours=2),
    )
    return Contract(
        name=asset.name,
        version=f"1.{terms.edition}.0",
        objects=(SchemaObject(name=asset.name),),
        event_time="at",
        resilience=Resilience(circuit=policy, levels=_levels(terms), heal=terms.heal),
        semantic_hash=f"{asset.name}:{terms.edition}",
    )


def edited(asset: Asset, random: Random) -> Asset:
    """The asset under a new version of its contract."""
    terms = asset.terms
    assert terms is not None
    changed = replace(
        terms,
        limit=random.choice((5, 20)),
        hold=random.choice((1, 1, 2)),
        retries=random.choice((1, 3)),
        edition=terms.edition + 1,
    )
    return replace(asset, terms=changed)


def _levels(terms: Terms) -> tuple[FallbackLevel, ...]:
    levels = [FallbackLevel(name="primary", source=FallbackSource(SourceKind.PRIMARY))]
    conditions = ()
    if terms.activation is not None:
        conditions = (parse_condition(f"schema_validation_errors > {terms.activation}%"),)
    for place, name in enumerate(terms.fallbacks):
        kind = SourceKind.LAST_VALID if name == "last_valid" else SourceKind.ASSET
        # Only the last of the levels has conditions, so that they really change the order.
        last = place == len(terms.fallbacks) - 1
        levels.append(
            FallbackLevel(
                name=name,
                source=FallbackSource(kind, name),
                activation_conditions=conditions if last else (),
                only_when_active=bool(conditions) and last and terms.binding,
                max_age=terms.max_age if name == "last_valid" else None,
            )
        )
    return tuple(levels)


def per_cent(value: int | None) -> Fraction | None:
    """A share as metrics hold it."""
    return None if value is None else Fraction(value, 100)
