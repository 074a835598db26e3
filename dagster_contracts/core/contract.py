"""The contract as a value: what ODCS and the compact form both become.

Everything here is frozen and free of Dagster, SQL, files and clocks. ``documents/`` builds these
values and is the only place that sees YAML; nothing behind it knows which form a contract came in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from importlib import import_module
from typing import Any, TypeAlias

from dagster_contracts.core.condition import Condition, Dimension
from dagster_contracts.core.uri import hide_password
from dagster_contracts.errors import SourceLocation

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"
Scalar: TypeAlias = bool | int | float | str | Decimal | date | datetime | time


def _no_extras() -> Mapping[str, Json]:
    return {}


class ContractStatus(StrEnum):
    """Where a contract stands in its life (ODCS ``status``)."""

    PROPOSED = "proposed"
    DRAFT = "draft"
    ACTIVE = "active"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


class LogicalType(StrEnum):
    """The logical types of ODCS."""

    STRING = "string"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIME = "time"
    NUMBER = "number"
    INTEGER = "integer"
    OBJECT = "object"
    ARRAY = "array"
    BOOLEAN = "boolean"
    MAP = "map"


class ExtraColumns(StrEnum):
    """What a column that the schema does not name means."""

    ALLOW = "allow"
    WARN = "warn"
    FORBID = "forbid"


class Severity(StrEnum):
    """How much a failed rule weighs: an error may refuse a batch, a warning never does."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeOptions:
    """Constraints on the values of a property (ODCS ``logicalTypeOptions`` and ``enum``).

    Bounds are inclusive unless the ``exclusive_`` form is used; lengths count characters.
    """

    minimum: Scalar | None = None
    maximum: Scalar | None = None
    exclusive_minimum: Scalar | None = None
    exclusive_maximum: Scalar | None = None
    multiple_of: Decimal | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    format: str | None = None
    timezone: bool | None = None
    default_timezone: str | None = None
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool = False
    min_properties: int | None = None
    max_properties: int | None = None
    required_properties: tuple[str, ...] = ()
    enum: tuple[Scalar, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationship:
    """A reference to properties of another object: every non-null key must exist there.

    ``to`` holds ``object.property`` or ``contract.object.property`` paths, one for each of
    ``columns`` (the near side, top-level property names).
    """

    columns: tuple[str, ...]
    to: tuple[str, ...]
    type: str = "foreignKey"
    extras: Mapping[str, Json] = field(default_factory=_no_extras, hash=False)


class ThresholdOperator(StrEnum):
    """The operators of ODCS quality rules."""

    MUST_BE = "mustBe"
    MUST_NOT_BE = "mustNotBe"
    MUST_BE_GREATER_THAN = "mustBeGreaterThan"
    MUST_BE_GREATER_OR_EQUAL_TO = "mustBeGreaterOrEqualTo"
    MUST_BE_LESS_THAN = "mustBeLessThan"
    MUST_BE_LESS_OR_EQUAL_TO = "mustBeLessOrEqualTo"
    MUST_BE_BETWEEN = "mustBeBetween"
    MUST_NOT_BE_BETWEEN = "mustNotBeBetween"


class ThresholdUnit(StrEnum):
    """What a quality rule counts in."""

    ROWS = "rows"
    PERCENT = "percent"


@dataclass(frozen=True, slots=True)
class Threshold:
    """When a measured value is acceptable. ``between`` is inclusive on both ends.

    ``values`` holds one number, or two for the between operators, in the rule's own unit: with
    ``PERCENT`` the number 5 means 5 %.
    """

    operator: ThresholdOperator
    values: tuple[Fraction, ...]
    unit: ThresholdUnit = ThresholdUnit.ROWS

    def accepts(self, value: Fraction) -> bool:
        """Whether ``value`` (in the threshold's unit) is acceptable."""
        first = self.values[0]
        match self.operator:
            case ThresholdOperator.MUST_BE:
                return value == first
            case ThresholdOperator.MUST_NOT_BE:
                return value != first
            case ThresholdOperator.MUST_BE_GREATER_THAN:
                return value > first
            case ThresholdOperator.MUST_BE_GREATER_OR_EQUAL_TO:
                return value >= first
            case ThresholdOperator.MUST_BE_LESS_THAN:
                return value < first
            case ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO:
                return value <= first
            case ThresholdOperator.MUST_BE_BETWEEN:
                return first <= value <= self.values[1]
            case ThresholdOperator.MUST_NOT_BE_BETWEEN:
                return not first <= value <= self.values[1]


class RuleKind(StrEnum):
    """How a quality rule is measured."""

    LIBRARY = "library"
    SQL = "sql"
    CUSTOM = "custom"
    TEXT = "text"
    EXPRESSION = "expression"


class LibraryMetric(StrEnum):
    """The five library metrics of ODCS, and the aggregates that we add to them."""

    NULL_VALUES = "nullValues"
    MISSING_VALUES = "missingValues"
    INVALID_VALUES = "invalidValues"
    DUPLICATE_VALUES = "duplicateValues"
    ROW_COUNT = "rowCount"
    MEAN = "mean"
    STDDEV = "stddev"
    SUM = "sum"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    QUANTILE = "quantile"
    DISTINCT_COUNT = "distinctCount"


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRule:
    """One quality rule.

    ``name`` is unique within its schema object and is the name of its Dagster check
    (``[A-Za-z0-9_]+``). ``column`` is ``None`` for rules about the whole object. ``threshold`` is
    the level at which the rule fails, ``warn`` the level at which it warns.
    """

    name: str
    kind: RuleKind
    column: str | None = None
    metric: LibraryMetric | None = None
    threshold: Threshold | None = None
    warn: Threshold | None = None
    # arguments of library metrics
    valid_values: tuple[Scalar, ...] = ()
    missing_values: tuple[Scalar | None, ...] = ()
    pattern: str | None = None
    columns: tuple[str, ...] = ()
    quantile: Fraction | None = None
    options: TypeOptions | None = None
    filter: str | None = None
    # kind=sql: the query; kind=expression: a row-level expression such as "ended_at >= started_at"
    query: str | None = None
    expression: str | None = None
    # kind=custom: which engine, and what it runs
    engine: str | None = None
    implementation: Json = field(default=None, hash=False)
    severity: Severity = Severity.ERROR
    dimension: str | None = None
    description: str | None = None
    id: str | None = None
    location: SourceLocation | None = field(default=None, compare=False)
    extras: Mapping[str, Json] = field(default_factory=_no_extras, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaProperty:
    """A column, or a field of a nested one."""

    name: str
    logical_type: LogicalType | None = None
    physical_type: str | None = None
    physical_name: str | None = None
    id: str | None = None
    business_name: str | None = None
    description: str | None = None
    required: bool = False
    unique: bool = False
    primary_key_position: int | None = None
    partition_key_position: int | None = None
    classification: str | None = None
    unit: str | None = None
    critical: bool = False
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    options: TypeOptions = TypeOptions()
    properties: tuple[SchemaProperty, ...] = ()
    items: SchemaProperty | None = None
    quality: tuple[QualityRule, ...] = ()
    location: SourceLocation | None = field(default=None, compare=False)
    extras: Mapping[str, Json] = field(default_factory=_no_extras, hash=False)

    @property
    def column(self) -> str:
        """The name of the column in the data: the physical name where there is one."""
        return self.physical_name or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaObject:
    """A table, file or stream: the part of a contract that governs one asset."""

    name: str
    properties: tuple[SchemaProperty, ...] = ()
    physical_name: str | None = None
    physical_type: str | None = None
    logical_type: str = "object"
    id: str | None = None
    asset: str | None = None
    description: str | None = None
    extra_columns: ExtraColumns = ExtraColumns.ALLOW
    ordered: bool = False
    quality: tuple[QualityRule, ...] = ()
    relationships: tuple[Relationship, ...] = ()
    tags: tuple[str, ...] = ()
    location: SourceLocation | None = field(default=None, compare=False)
    extras: Mapping[str, Json] = field(default_factory=_no_extras, hash=False)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Columns of the primary key, in its order; empty where there is none."""
        keyed = [p for p in self.properties if p.primary_key_position is not None]
        return tuple(p.column for p in sorted(keyed, key=lambda p: p.primary_key_position or 0))

    def property_named(self, name: str) -> SchemaProperty | None:
        """The top-level property of that name or physical name."""
        for candidate in self.properties:
            if name in (candidate.name, candidate.physical_name):
                return candidate
        return None

    def all_quality(self) -> Iterator[QualityRule]:
        """Object-level rules, then those of the properties, in document order.

        The column of a rule on a nested property is its path: ``address.zip``, ``lines[].sku``.
        """
        yield from self.quality
        for prop in self.properties:
            yield from prop.quality
            yield from _nested_quality(prop, prop.column)


def _nested_quality(prop: SchemaProperty, path: str) -> Iterator[QualityRule]:
    parts = [(inner, f"{path}.{inner.column}") for inner in prop.properties]
    if prop.items is not None:
        parts.append((prop.items, f"{path}[]"))
    for inner, inner_path in parts:
        for rule in inner.quality:
            yield replace(rule, column=inner_path)
        yield from _nested_quality(inner, inner_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlaProperty:
    """One service level.

    ``property`` is the ODCS name (``freshness``, ``latency``, ``completeness``, ...). ``condition``
    is what must HOLD for the service level to be kept, over catalogue metrics
    (``data_freshness < 5min``); ``None`` where nothing can measure it, and then
    ``not_evaluated`` says why. ``element`` is the column that it speaks of (for freshness: the
    event time), ``schema_object`` the object that holds it, where the document names one. ``text``
    is what the document says, for people. ``warn`` is what must hold for it not to warn: a level
    may only warn and have no ``condition``. ``moment`` is the date of a level that is one
    (``endOfSupport``). ``elements`` are all paths (``object.column``) of a level that names
    several; ``element`` and ``schema_object`` are then those of the first.
    """

    property: str
    condition: Condition | None
    not_evaluated: str | None = None
    element: str | None = None
    schema_object: str | None = None
    elements: tuple[str, ...] = ()
    warn: Condition | None = None
    moment: datetime | None = None
    text: str = field(default="", compare=False)
    severity: Severity = Severity.ERROR
    id: str | None = None
    driver: str | None = None
    description: str | None = None
    location: SourceLocation | None = field(default=None, compare=False)
    extras: Mapping[str, Json] = field(default_factory=_no_extras, hash=False)


class CircuitScope(StrEnum):
    """One circuit for the asset, or one for each of its partitions."""

    ASSET = "asset"
    PARTITION = "partition"


class CircuitMode(StrEnum):
    """``METRICS_ONLY`` records what the circuit would have done and does nothing."""

    ENFORCE = "enforce"
    METRICS_ONLY = "metrics_only"


class ProbeMode(StrEnum):
    """How a half-open circuit gets its probe: the sensor asks for a run, or the next run is it."""

    REQUEST = "request"
    WAIT = "wait"


class OnUnknown(StrEnum):
    """What an unmeasurable metric means to ``open_when``."""

    KEEP = "keep"
    OPEN = "open"


class HealMode(StrEnum):
    """What happens to assets built on a fallback once the circuit has closed."""

    RUN = "run"
    NOTIFY = "notify"
    OFF = "off"


class OnExhausted(StrEnum):
    """What a consumer gets when no level is usable."""

    FAIL = "fail"
    SKIP = "skip"


class SourceKind(StrEnum):
    """Where a level's data comes from."""

    PRIMARY = "primary"
    ASSET = "asset"
    LAST_VALID = "last_valid"
    SUBSET = "subset"
    URI = "uri"


@dataclass(frozen=True, slots=True)
class FallbackSource:
    """A level's source. ``name`` is the asset or contract name (ASSET, PRIMARY) or the URI."""

    kind: SourceKind
    name: str = ""

    @property
    def shown(self) -> str:
        """The name as it may be shown: a URL without its password and query."""
        return hide_password(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackLevel:
    """One level of service: the primary, or a fallback.

    ``schema`` names one of the contract's schemas; ``None`` means the primary's own.
    ``activation_conditions``: any one of them prefers the level, or, with ``only_when_active``, is
    needed for it. ``condition_places`` is where each of them stands, where that is known.
    """

    name: str
    source: FallbackSource
    schema: str | None = None
    activation_conditions: tuple[Condition, ...] = ()
    only_when_active: bool = False
    max_age: timedelta | None = None
    min_dwell: timedelta = timedelta(0)
    any_partition: bool = False
    location: SourceLocation | None = field(default=None, compare=False)
    condition_places: tuple[SourceLocation, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How an open circuit is tried again.

    The wait before the n-th probe is ``min(max_wait, retry_after * backoff**(n-1))``, plus or minus
    ``jitter`` (a fraction of it).
    """

    retry_after: timedelta = timedelta(minutes=15)
    max_retries: int = 5
    backoff: Fraction = Fraction(2)
    max_wait: timedelta = timedelta(hours=6)
    jitter: Fraction = Fraction(1, 10)
    probes: int = 1
    probe_timeout: timedelta = timedelta(hours=1)
    probe: ProbeMode = ProbeMode.REQUEST


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitPolicy:
    """When a circuit opens and closes.

    ``open_when``: any one that holds opens. ``close_when``: all must hold for a probe to be good;
    where it is empty a probe is good when no ``open_when`` condition holds. A probe by definition
    looks at a single evaluation. ``open_places`` and ``close_places`` are where each condition
    stands, where that is known.
    """

    open_when: tuple[Condition, ...] = ()
    close_when: tuple[Condition, ...] = ()
    recovery: Recovery = Recovery()
    window: int = 1
    min_observations: int = 1
    scope: CircuitScope = CircuitScope.ASSET
    mode: CircuitMode = CircuitMode.ENFORCE
    on_unknown: OnUnknown = OnUnknown.KEEP
    flapping_openings: int = 3
    flapping_window: timedelta = timedelta(hours=24)
    location: SourceLocation | None = field(default=None, compare=False)
    open_places: tuple[SourceLocation, ...] = field(default=(), compare=False)
    close_places: tuple[SourceLocation, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resilience:
    """The breaker and the levels of service that the contract itself declares.

    ``levels`` always begins with the primary (added where the document leaves it out).
    """

    circuit: CircuitPolicy = CircuitPolicy()
    levels: tuple[FallbackLevel, ...] = ()
    on_exhausted: OnExhausted = OnExhausted.FAIL
    heal: HealMode = HealMode.RUN

    @property
    def primary(self) -> FallbackLevel | None:
        """The primary level."""
        return next((x for x in self.levels if x.source.kind is SourceKind.PRIMARY), None)

    @property
    def fallbacks(self) -> tuple[FallbackLevel, ...]:
        """Every level but the primary, in the order of the document."""
        return tuple(x for x in self.levels if x.source.kind is not SourceKind.PRIMARY)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerDeclaration:
    """A consumer that the contract names: an asset, a team or a person, and what it reads."""

    name: str
    asset: str | None = None
    columns: tuple[str, ...] = ()
    contact: str | None = None
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPolicy:
    """Who is told: names of channels that the deployment configures, never addresses."""

    channels: tuple[str, ...] = ()
    producer_channels: tuple[str, ...] = ()
    on: tuple[str, ...] = ()
    repeat_after: timedelta = timedelta(hours=4)


class CorrectiveActionKind(StrEnum):
    """What may be done without a person when a threshold is reached."""

    REMATERIALIZE = "rematerialize"
    FORCE_OPEN = "force_open"
    HEAL = "heal"
    RUN_JOB = "run_job"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectiveAction:
    """``when`` holds: do ``kind``, at most once per ``cooldown``."""

    when: Condition
    kind: CorrectiveActionKind
    job: str | None = None
    cooldown: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringPolicy:
    """What is watched beyond the rules.

    ``anomaly_metrics`` are scored against their own history; a score of at least
    ``anomaly_threshold`` (robust standard deviations) warns.
    """

    anomaly_metrics: tuple[str, ...] = ("row_count",)
    anomaly_threshold: float = 4.0
    min_history: int = 8
    actions: tuple[CorrectiveAction, ...] = ()


class Protects(StrEnum):
    """Whom a new version must not break."""

    CONSUMER = "consumer"
    PRODUCER = "producer"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatibilityPolicy:
    """What a new version is checked against."""

    protects: Protects = Protects.CONSUMER
    transitive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDeclaration:
    """A metric of the contract's own.

    It is reported from outside: any check on the asset whose result carries a number of this name
    in its metadata.
    """

    name: str
    dimension: Dimension = Dimension.NUMBER
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One version of one contract.

    ``objects`` has at least one schema object; ``objects[0]`` is the one that conditions and the
    resilience section speak of where the document does not say otherwise. ``schemas`` are the named
    ones that fallback levels refer to. ``content_hash`` is the SHA-256 of the document and of all
    schema files it refers to (hex); ``semantic_hash`` covers the meaning alone (rules, SLA,
    resilience), so that comments and descriptions do not disturb a circuit.
    """

    name: str
    version: str
    objects: tuple[SchemaObject, ...]
    status: ContractStatus = ContractStatus.ACTIVE
    owner: str | None = None
    description: str | None = None
    asset: str | None = None
    schemas: Mapping[str, SchemaObject] = field(default_factory=dict, hash=False)
    sla: tuple[SlaProperty, ...] = ()
    metrics: tuple[MetricDeclaration, ...] = ()
    resilience: Resilience | None = None
    consumers: tuple[ConsumerDeclaration, ...] = ()
    alerts: AlertPolicy = AlertPolicy()
    monitoring: MonitoringPolicy = MonitoringPolicy()
    compatibility: CompatibilityPolicy = CompatibilityPolicy()
    deprecated_until: date | None = None
    successor: str | None = None
    tags: tuple[str, ...] = ()
    event_time: str | None = None
    content_hash: str = ""
    semantic_hash: str = ""
    location: SourceLocation | None = field(default=None, compare=False)
    extras: Mapping[str, Json] = field(default_factory=_no_extras, hash=False)

    @property
    def ref(self) -> str:
        """``name@version``: how messages name this contract."""
        return f"{self.name}@{self.version}"

    @property
    def has_fallback(self) -> bool:
        """Whether an open circuit leaves consumers something to read."""
        return self.resilience is not None and bool(self.resilience.fallbacks)

    def to_pandera(
        self, schema_object: SchemaObject | str | None = None, *, backend: str = "pandas"
    ) -> Any:
        """One object's schema as a pandera ``DataFrameSchema`` for pandas or Polars frames.

        ``schema_object`` may be the object's name; the contract's first where none is given.
        LookupError where there is none of that name.
        """
        if isinstance(schema_object, str):
            schema_object = self.object_named(schema_object)
        # pandera belongs to the engine, which stands above: it is looked up when it is called.
        engine = import_module("dagster_contracts.engine.pandera")
        return engine.to_pandera(self, schema_object, backend=backend)

    def object_named(self, name: str) -> SchemaObject:
        """The schema object of that name or physical name; LookupError where there is none."""
        for candidate in self.objects:
            if name in (candidate.name, candidate.physical_name):
                return candidate
        known = ", ".join(candidate.name for candidate in self.objects)
        raise LookupError(f"{self.ref} has no object {name!r}; it has {known}")

    def asset_names(self, schema_object: SchemaObject) -> tuple[str, ...]:
        """Names under which the governed asset is looked up, best first.

        The asset that the document names; else the source of the primary level; else the object's
        own name (where the contract has several), else the contract's.
        """
        names: list[str] = []
        if schema_object.asset:
            return (schema_object.asset,)
        if len(self.objects) == 1:
            if self.asset:
                return (self.asset,)
            if self.resilience and self.resilience.primary and self.resilience.primary.source.name:
                names.append(self.resilience.primary.source.name)
            names.append(self.name)
        else:
            names.append(schema_object.physical_name or schema_object.name)
            names.append(schema_object.name)
        return tuple(dict.fromkeys(names))
