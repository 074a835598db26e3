"""The metrics that conditions may speak of, and what each is measured in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dagster_contracts.core.near_names import near_name
from dagster_contracts.core.quantity import Dimension
from dagster_contracts.errors import DocumentError


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as the catalogue knows it: its canonical name and its dimension."""

    name: str
    dimension: Dimension


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Names, aliases and families of metrics.

    A family is a prefix whose members are named by what follows the dot: ``null_ratio.<column>``.
    """

    names: Mapping[str, Dimension] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    families: Mapping[str, tuple[Dimension, str]] = field(default_factory=dict)

    def find(self, name: str) -> Metric | None:
        """The metric of this name, alias or family; ``None`` where there is none."""
        name = self.aliases.get(name, name)
        if name in self.names:
            return Metric(name, self.names[name])
        family, dot, member = name.partition(".")
        if not dot or not member or family not in self.families:
            return None
        dimension, member_kind = self.families[family]
        if member_kind == METRIC_MEMBER:
            # anomaly_score.<metric>: the score of a metric that nobody measures is a typo.
            inner = self.find(member)
            if inner is None or inner.name.partition(".")[0] == family:
                return None
            return Metric(f"{family}.{inner.name}", dimension)
        pattern = _MEMBERS.get(member_kind)
        if pattern is not None and not pattern.fullmatch(member):
            return None
        return Metric(name, dimension)

    def with_declared(self, declared: Mapping[str, Dimension]) -> Catalogue:
        """The catalogue and, beside it, the contract's own metrics.

        Raises :class:`DocumentError` where a declared name would change the meaning of a known one.
        """
        if not declared:
            return self
        for name, dimension in declared.items():
            if not _NAME.fullmatch(name) or name.lower() in RESERVED_WORDS:
                raise DocumentError(
                    f"{name!r} cannot be the name of a metric",
                    hint="letters, digits and _, parts joined by '.' or ':'; not and, or, not, for",
                )
            known = self.find(name)
            if known is not None and (known.name != name or known.dimension is not dimension):
                raise DocumentError(
                    f"the metric {name!r} is already known as {known.name} ({known.dimension})",
                    hint="declare it under another name, or leave the declaration out",
                )
        return Catalogue({**self.names, **declared}, self.aliases, self.families)

    def suggest(self, name: str) -> str | None:
        """The nearest known name, or ``None`` where nothing is near; never ``name`` itself."""
        family, dot, member = name.partition(".")
        near = family if family in self.families else None
        near = near or near_name(family.lower(), self.families)
        if near and (dot or family in self.families):
            found = self._suggest_member(near, member)
            return f"{near}.{found}" if found else None
        known = [*self.names, *self.aliases, *(f"{f}.<{m}>" for f, (_, m) in self.families.items())]
        nearest = near_name(name, known, cutoff=0.55)
        if nearest is None and name != name.lower():
            nearest = near_name(name.lower(), known, cutoff=0.55)
        return nearest if nearest != name else None

    def _suggest_member(self, family: str, member: str) -> str | None:
        """What may follow the dot of a family in the place of ``member``."""
        kind = self.families[family][1]
        if not member:
            return f"<{kind}>"
        if kind == METRIC_MEMBER:
            # The score of a score is no metric: what it would be the score of is.
            while member.startswith(f"{family}."):
                member = member.removeprefix(f"{family}.")
            return member if self.find(member) and member != family else self.suggest(member)
        pattern = _MEMBERS.get(kind)
        if pattern is None:
            return member
        for tried in (f"{member}d", member.replace(":", ""), member.lower()):
            if pattern.fullmatch(tried):
                return tried
        return _EXAMPLE_MEMBERS[kind]


_NAME: Final = re.compile(r"[^\W\d]\w*(?:[.:]\w+)*")

_QUOTED: Final = re.compile(r'"((?:[^"]|"")*)"')


def read_name(text: str) -> str:
    """A metric as people spell it to its canonical name: ``null_ratio."unit price"``.

    >>> read_name('null_ratio."unit price"')
    'null_ratio.unit price'
    """
    if '"' not in text:
        return text
    return _QUOTED.sub(lambda found: found.group(1).replace('""', '"'), text)


def spell_name(name: str) -> str:
    """A canonical name as conditions write it; a member that is not one word stands in quotes.

    >>> spell_name("anomaly_score.null_ratio.unit price")
    'anomaly_score.null_ratio."unit price"'
    """
    if _NAME.fullmatch(name):
        return name
    family, _, member = name.partition(".")
    if DEFAULT.families.get(family, (None, ""))[1] == METRIC_MEMBER:
        return f"{family}.{spell_name(member)}"
    quoted = member.replace('"', '""')
    return f'{family}."{quoted}"'


RESERVED_WORDS: Final = ("and", "or", "not", "for")
"""Words of the condition language, which no metric can be called."""

METRIC_MEMBER: Final = "metric"
"""The members of such a family are themselves metrics of the catalogue."""

_MEMBERS: Final = {
    # availability.7d, and delay_after.0900 or delay_after.0900.Europe.Berlin
    "window": re.compile(r"[1-9][0-9]{0,4}(?:w|d|h|min)"),
    "time": re.compile(r"(?:[01][0-9]|2[0-3])[0-5][0-9](?:\.\w+)*", re.ASCII),
}

_EXAMPLE_MEMBERS: Final = {"window": "7d", "time": "0830"}

AVAILABILITY: Final = "availability"
DELAY_AFTER: Final = "delay_after"
THROUGHPUT: Final = "throughput"
RETENTION: Final = "data_retention"
TIME_TO_DETECT: Final = "time_to_detect"
TIME_TO_NOTIFY: Final = "time_to_notify"
TIME_TO_REPAIR: Final = "time_to_repair"
SINCE_AVAILABLE: Final = "time_since_general_availability"
TO_END_OF_SUPPORT: Final = "time_to_end_of_support"
TO_END_OF_LIFE: Final = "time_to_end_of_life"

DEFAULT: Final = Catalogue(
    names={
        "row_count": Dimension.COUNT,
        "row_count_change": Dimension.RATIO,
        "schema_validation_errors": Dimension.RATIO,
        "quality_errors": Dimension.RATIO,
        "completeness": Dimension.RATIO,
        "duplicates": Dimension.RATIO,
        "data_freshness": Dimension.DURATION,
        "data_latency": Dimension.DURATION,
        "materialization_age": Dimension.DURATION,
        "failed_materializations": Dimension.COUNT,
        "source_unavailable": Dimension.COUNT,
        "consumer_reports": Dimension.COUNT,
        "evaluation_delay": Dimension.DURATION,
        THROUGHPUT: Dimension.RATE,
        RETENTION: Dimension.DURATION,
        AVAILABILITY: Dimension.RATIO,
        TIME_TO_DETECT: Dimension.DURATION,
        TIME_TO_NOTIFY: Dimension.DURATION,
        TIME_TO_REPAIR: Dimension.DURATION,
        SINCE_AVAILABLE: Dimension.DURATION,
        TO_END_OF_SUPPORT: Dimension.DURATION,
        TO_END_OF_LIFE: Dimension.DURATION,
    },
    aliases={"real_time_data_latency": "data_latency"},
    families={
        "null_ratio": (Dimension.RATIO, "column"),
        "failed_ratio": (Dimension.RATIO, "rule"),
        "anomaly_score": (Dimension.NUMBER, METRIC_MEMBER),
        AVAILABILITY: (Dimension.RATIO, "window"),
        DELAY_AFTER: (Dimension.DURATION, "time"),
    },
)
"""What every contract can speak of without declaring anything."""

FAILED: Final = "failed_materializations"
UNAVAILABLE: Final = "source_unavailable"
FAILED_RATIO: Final = "failed_ratio."

NEWEST_ONLY: Final = frozenset(
    {
        "data_freshness",
        "data_latency",
        "materialization_age",
        "row_count",
        "row_count_change",
        THROUGHPUT,
    }
)
"""Metrics that speak of the newest partition: a backfill of an older one says nothing of them."""

REFUSED: Final = "batch_refused"
"""Recorded with each evaluation, 1 where the batch was refused; no condition can name it."""

OF_HISTORY: Final = frozenset({AVAILABILITY, TIME_TO_DETECT, TIME_TO_NOTIFY, TIME_TO_REPAIR})
"""Metrics of the service and not of a batch: what the store remembers of the asset tells them."""

OF_LIFE: Final = frozenset({SINCE_AVAILABLE, TO_END_OF_SUPPORT, TO_END_OF_LIFE})
"""Metrics of the contract's own dates, which the clock alone moves."""

MOMENTARY: Final = frozenset(
    {
        "data_freshness",
        "materialization_age",
        "failed_materializations",
        "source_unavailable",
        "consumer_reports",
        *OF_HISTORY,
        *OF_LIFE,
    }
)
"""Metrics of the moment and not of a batch: ticks measure them, and no window averages them."""


def speaks_of_newest(metric: str) -> bool:
    """Whether a metric is about freshness, latency or volume (its anomaly score included)."""
    return metric.removeprefix("anomaly_score.") in NEWEST_ONLY


def is_momentary(metric: str) -> bool:
    """Whether a metric is of the moment; a score already compares a batch with those before it."""
    return metric in MOMENTARY or metric.startswith("anomaly_score.") or needs_asset_history(metric)


def needs_asset_history(metric: str) -> bool:
    """Whether a metric is told by what the store remembers, and by no batch."""
    return metric.partition(".")[0] in (*OF_HISTORY, DELAY_AFTER)


def speaks_of_service(metric: str) -> bool:
    """Whether a metric is about the service and not about the data of a batch.

    Refusing a batch for it would mend nothing: the next one would be refused as well.
    """
    return needs_asset_history(metric) or metric in OF_LIFE
