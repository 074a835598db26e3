"""What service levels mean: ODCS's ``slaProperties`` and the compact form's ``sla`` alike.

Both say how good the data must be, one as a value with a unit (latency, 4, d), the other as a
comparison (``freshness: "< 5min"``). Each becomes a condition that must hold, over a metric that
somebody measures; what nobody here can measure keeps its text and says why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from dagster_contracts.core.condition import (
    Comparison,
    ComparisonOperator,
    Condition,
    Dimension,
    Quantity,
    render_quantity,
)
from dagster_contracts.core.contract import Severity, SlaProperty
from dagster_contracts.core.metrics import (
    AVAILABILITY,
    RETENTION,
    SINCE_AVAILABLE,
    THROUGHPUT,
    TIME_TO_DETECT,
    TIME_TO_NOTIFY,
    TIME_TO_REPAIR,
    TO_END_OF_LIFE,
    TO_END_OF_SUPPORT,
)
from dagster_contracts.core.service_levels import LIFE, WINDOW
from dagster_contracts.documents.sla_value import daily_metric, daily_text, read_moment

_AT_MOST = ComparisonOperator.LE
_AT_LEAST = ComparisonOperator.GE

#: Property of ODCS (its DP QoS list): the metric that measures it, and how a bare value is meant.
MEASURED: dict[str, tuple[str, ComparisonOperator]] = {
    "freshness": ("data_freshness", _AT_MOST),
    "latency": ("data_latency", _AT_MOST),
    "frequency": ("materialization_age", _AT_MOST),
    "completeness": ("completeness", _AT_LEAST),
    "errorRate": ("schema_validation_errors", _AT_MOST),
    "duplicates": ("duplicates", _AT_MOST),
    "volume": ("row_count", _AT_LEAST),
    "availability": (AVAILABILITY, _AT_LEAST),
    "throughput": (THROUGHPUT, _AT_LEAST),
    "retention": (RETENTION, _AT_MOST),
    "timeToDetect": (TIME_TO_DETECT, _AT_MOST),
    "timeToNotify": (TIME_TO_NOTIFY, _AT_MOST),
    "timeToRepair": (TIME_TO_REPAIR, _AT_MOST),
    # Dates: what counts from the first and to the others must not be negative.
    "generalAvailability": (SINCE_AVAILABLE, _AT_LEAST),
    "endOfSupport": (TO_END_OF_SUPPORT, _AT_LEAST),
    "endOfLife": (TO_END_OF_LIFE, _AT_LEAST),
}

TIME_OF_AVAILABILITY = "timeOfAvailability"
KNOWN = (*MEASURED, TIME_OF_AVAILABILITY)
"""Every property that has a meaning here."""

#: A breach of these says nothing of a batch: to refuse one for it would mend nothing, so that they
#: warn unless the contract says otherwise.
_OF_SERVICE = frozenset(
    {"availability", "timeToDetect", "timeToNotify", "timeToRepair", TIME_OF_AVAILABILITY, *LIFE}
)

WARN_BEFORE = timedelta(days=30)
"""How long before the end of support or life a level begins to warn."""

# The two letters are the synonyms that the standard gives.
_SPELLINGS = {name.lower(): name for name in KNOWN} | {
    "av": "availability",
    "th": "throughput",
    "er": "errorRate",
    "errors": "errorRate",
    "ga": "generalAvailability",
    "es": "endOfSupport",
    "eos": "endOfSupport",
    "el": "endOfLife",
    "eol": "endOfLife",
    "re": "retention",
    "fy": "frequency",
    "frequencyofupdate": "frequency",
    "ly": "latency",
    "td": "timeToDetect",
    "tn": "timeToNotify",
    "tr": "timeToRepair",
}


def default_severity(property_name: str) -> Severity:
    """What a breach is where the document does not say: a warning, if no batch is to blame."""
    return Severity.WARNING if property_name in _OF_SERVICE else Severity.ERROR


def warn_before(level: SlaProperty) -> timedelta | None:
    """How long before its end a level warns, where it is not the usual margin."""
    if level.property == "generalAvailability" or not isinstance(level.warn, Comparison):
        return None
    margin = timedelta(seconds=float(level.warn.quantity.value))
    return None if margin == WARN_BEFORE else margin


@dataclass(frozen=True, slots=True)
class Level:
    """What a service level says: its condition, or why it has none."""

    property: str
    condition: Condition | None
    not_evaluated: str | None
    text: str
    warn: Condition | None = None
    moment: datetime | None = None


def date_level(name: str, text: str) -> Level | None:
    """A date in the contract's life; ``None`` where the text is none.

    Before general availability a consumer is early, which warns; past its end a level is broken.
    """
    moment = read_moment(text, ends=name != "generalAvailability")
    if moment is None:
        return None
    metric, operator = MEASURED[name]
    kept = Comparison(metric, operator, Quantity(Fraction(0), Dimension.DURATION))
    if name == "generalAvailability":
        return Level(name, None, None, text, warn=kept, moment=moment)
    return warned(Level(name, kept, None, text, moment=moment), None)


def warned(level: Level, margin: timedelta | None) -> Level:
    """The level of a date with the condition that warns ``margin`` before its end."""
    assert isinstance(level.condition, Comparison)
    before = WARN_BEFORE if margin is None else margin
    quantity = Quantity(Fraction(before // timedelta(microseconds=1), 10**6), Dimension.DURATION)
    return replace(level, warn=replace(level.condition, quantity=quantity))


def within_window(level: Level, window: timedelta | None) -> Level:
    """Availability over another window than the usual one: ``availability.7d``."""
    found = level.condition
    if window is None or window == WINDOW or not isinstance(found, Comparison):
        return level
    if found.metric != AVAILABILITY or window < timedelta(minutes=1):
        return level
    whole = Quantity(Fraction(int(window.total_seconds())), Dimension.DURATION)
    shown = render_quantity(whole)
    if not shown.rstrip("dhmin").isdigit():
        shown = f"{int(window.total_seconds() // 60)}min"
    return replace(level, condition=replace(found, metric=f"{AVAILABILITY}.{shown}"))


def daily_level(name: str, text: str) -> Level | None:
    """The level of a time of the day; ``None`` where the text is none."""
    metric = daily_metric(text)
    if metric is None:
        return None
    kept = Comparison(metric, _AT_MOST, Quantity(Fraction(0), Dimension.DURATION))
    return Level(name, kept, None, text)


def daily_of(condition: Condition | None) -> str | None:
    """The time of the day that a condition demands data by; ``None`` where it says more."""
    if isinstance(condition, Comparison) and condition == Comparison(
        condition.metric, _AT_MOST, Quantity(Fraction(0), Dimension.DURATION)
    ):
        return daily_text(condition.metric)
    return None


def is_bare(text: str) -> bool:
    """Whether a value stands without an operator."""
    return not any(sign in text for sign in "<>=!")


def canonical_property(name: str) -> str:
    """The ODCS spelling of a property: ``error_rate`` and ``ErrorRate`` are ``errorRate``."""
    return _SPELLINGS.get(name.replace("_", "").replace("-", "").lower(), name)


def column_of(element: str | None) -> str | None:
    """The column that an element names."""
    # ODCS's element is a path, object.property, or several with commas between: the first counts.
    if not element:
        return None
    return element.partition(",")[0].strip().rpartition(".")[2] or None


def paths_of(element: str | None) -> tuple[str, ...]:
    """Every path of an element that names several; empty for one."""
    paths = tuple(part.strip() for part in (element or "").split(",") if part.strip())
    return paths if len(paths) > 1 else ()


def object_of(element: str | None) -> str | None:
    """The schema object that an element names before its column."""
    if not element:
        return None
    return element.partition(",")[0].strip().rpartition(".")[0] or None
