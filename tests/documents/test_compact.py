"""The compact form: the article's example to the letter, and every section."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from dagster_contracts.core.condition import render
from dagster_contracts.core.contract import (
    CircuitMode,
    CircuitScope,
    Contract,
    ContractStatus,
    CorrectiveActionKind,
    ExtraColumns,
    FallbackSource,
    HealMode,
    LibraryMetric,
    LogicalType,
    OnExhausted,
    OnUnknown,
    ProbeMode,
    Protects,
    Relationship,
    RuleKind,
    Severity,
    SourceKind,
    Threshold,
    ThresholdOperator,
    ThresholdUnit,
)
from dagster_contracts.documents.folder import load_contract

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "contracts" / "customer_behavior_data" / "1.0.0.yaml"

ARTICLE = """\
data_contract:
  name: "customer_behavior_data"
  schema: "full_customer_behavior.avsc"
  sla:
    freshness: "< 5min"
    completeness: "> 95%"
  
  # Resilience rules integrated into the contract
  resilience:
    circuit_breaker:
      open_when:
        - "schema_validation_errors > 5%"
        - "data_freshness > 30min"
      recovery:
        retry_after: "5min"
        max_retries: 3
    
    fallback_modes:
      - level: "primary"
        source: "real_time_navigation"
        schema: "full_customer_behavior"
      - level: "fallback"
        source: "sales_history"
        schema: "minimal_product_data"
        activation_conditions:
          - "real_time_data_latency > 30s"
          - "schema_validation_errors > 5%"
"""  # noqa: W293 - to the letter


def load(text: str, folder: Path = Path()) -> Contract:
    return load_contract(folder / "f.yaml", text=text)


def test_the_article_is_kept_to_the_letter() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == ARTICLE


def test_the_article_loads() -> None:
    contract = load_contract(EXAMPLE)
    assert contract.ref == "customer_behavior_data@1.0.0"
    assert contract.status is ContractStatus.ACTIVE
    (main,) = contract.objects
    assert contract.asset_names(main)[0] == "real_time_navigation"
    assert contract.event_time == "event_time"
    assert [(x.property, render(x.condition)) for x in contract.sla if x.condition] == [
        ("freshness", "data_freshness < 5min"),
        ("completeness", "completeness > 95%"),
    ]
    assert contract.resilience is not None
    circuit = contract.resilience.circuit
    assert [render(x) for x in circuit.open_when] == [
        "schema_validation_errors > 5%",
        "data_freshness > 30min",
    ]
    assert circuit.recovery.retry_after == timedelta(minutes=5)
    assert circuit.recovery.max_retries == 3
    primary, fallback = contract.resilience.levels
    assert primary.source == FallbackSource(SourceKind.PRIMARY, "real_time_navigation")
    assert primary.schema == "full_customer_behavior"
    assert fallback.source == FallbackSource(SourceKind.ASSET, "sales_history")
    assert [render(x) for x in fallback.activation_conditions] == [
        "data_latency > 30s",
        "schema_validation_errors > 5%",
    ]
    assert set(contract.schemas) == {"full_customer_behavior", "minimal_product_data"}
    assert contract.schemas["full_customer_behavior"].properties == main.properties
    assert contract.has_fallback


def test_a_flat_file_without_a_version_is_1_0_0(tmp_path: Path) -> None:
    for schema in ("full_customer_behavior.avsc", "minimal_product_data.avsc"):
        (tmp_path / schema).write_bytes((EXAMPLE.parent / schema).read_bytes())
    assert load(ARTICLE, tmp_path).version == "1.0.0"


FULL = """
data_contract:
  name: orders
  version: 1.10
  status: deprecated
  deprecated_until: 2027-06-30
  successor: orders@2.0.0
  owner: sales
  description: Every order once
  asset: raw/orders
  tags: [sales, daily]
  event_time: placed_at
  metrics:
    queue_depth: count
    refund_share: {dimension: ratio, description: Refunds by orders}
  schema:
    physical_name: ORDERS
    extra_columns: forbid
    ordered: true
    primary_key: [order_id, line]
    relationships:
      - {columns: [customer_id, region], to: [customers.id, customers.region]}
    fields:
      order_id: {type: integer, required: true, id: oid}
      line: {type: integer, required: true, minimum: 1}
      customer_id: {type: string, references: customers.id, classification: restricted}
      region: {type: string, enum: [CH, "NO"], physical_name: REGION}
      amount: {type: number, minimum: 0.1, exclusive_maximum: 10000, multiple_of: 0.01, unit: CHF}
      day: {type: date, minimum: 2020-01-01}
      placed_at: {type: timestamp, timezone: true, minimum: "2020-01-01T00:00:00"}
      loaded_at: timestamp
      email:
        type: string
        pattern: "@"
        max_length: 200
        quality:
          - {metric: null_values, must_be_less_than: 1, unit: percent, severity: warning}
      items:
        type: array
        min_items: 1
        items: {fields: {sku: {type: string, required: true}}}
      ship_to: {fields: {street: string, zip: {type: string, min_length: 4}}}
  quality:
    - name: plausible total
      expression: amount >= 0
      must_be_less_or_equal_to: 3
      warn: {must_be: 0}
    - {metric: rowCount, mustBeBetween: [10, 1000000]}
    - {column: region, metric: invalidValues, arguments: {validValues: [CH, "NO"]}}
    - {metric: duplicateValues, columns: [order_id, region]}
    - {sql: "select count(*) from {object}", must_be_greater_than: 0, dimension: completeness}
    - {engine: pandera, implementation: {check: my.module:check}}
    - {description: Reviewed by hand each quarter}
  sla:
    freshness: {must: "<= 2h", element: placed_at, severity: warning, driver: regulatory}
    latency: 30s
    row_count: ">= 10"
    null_ratio.email: "< 5%"
    availability: 99.9%
    error_rate: 2%
    queue_depth: "< 10"
  resilience:
    circuit_breaker:
      open_when: ["queue_depth > 100 or refund_share > 20%"]
      close_when: "schema_validation_errors < 1%"
      recovery:
        retry_after: 90s
        max_retries: 7
        backoff: 1.5
        max_wait: 1h
        jitter: 25%
        probes: 2
        probe_timeout: 10min
        probe: wait
      window: 5
      min_observations: 3
      scope: partition
      mode: metrics_only
      on_unknown: open
    fallback_modes:
      - {level: cached, source: last_valid, max_age: 2d, any_partition: true, min_dwell: 10min}
      - level: few_columns
        source: subset
        schema: small
        activation_conditions: null_ratio.email > 50%
        only_when_active: true
      - {level: archive, source: "s3://bucket/orders.parquet"}
      - {level: other, source: orders_archive}
    on_exhausted: skip
    heal: notify
  schemas:
    small: {fields: {order_id: integer, amount: number}}
  consumers:
    - report
    - {name: finance, asset: ledger, columns: [order_id], contact: x, channels: [finance]}
  alerts: {channels: [oncall], producer_channels: [sales], on: [opened], repeat_after: 1h}
  monitoring:
    anomaly_metrics: [row_count, null_ratio.email]
    anomaly_threshold: 5
    min_history: 10
    actions:
      - {when: data_freshness > 3h, do: rematerialize, cooldown: 30min}
      - {when: row_count < 5, do: run_job, job: backfill}
  compatibility: {protects: full, transitive: true}
  extras: {servers: []}
"""


def test_every_section_is_read() -> None:
    contract = load(FULL)
    assert contract.ref == "orders@1.10"
    assert contract.status is ContractStatus.DEPRECATED
    assert contract.deprecated_until == date(2027, 6, 30)
    assert (contract.successor, contract.owner, contract.asset, contract.tags) == (
        "orders@2.0.0",
        "sales",
        "raw/orders",
        ("sales", "daily"),
    )
    assert contract.event_time == "placed_at"
    assert [(m.name, m.dimension) for m in contract.metrics] == [
        ("queue_depth", "count"),
        ("refund_share", "ratio"),
    ]
    assert contract.extras == {"servers": []}
    (main,) = contract.objects
    assert main.name == "orders"
    assert main.physical_name == "ORDERS"
    assert main.extra_columns is ExtraColumns.FORBID
    assert main.ordered
    assert main.primary_key == ("order_id", "line")
    assert main.relationships == (
        Relationship(columns=("customer_id",), to=("customers.id",)),
        Relationship(columns=("customer_id", "region"), to=("customers.id", "customers.region")),
    )
    assert contract.compatibility.protects is Protects.FULL
    assert contract.compatibility.transitive
    assert contract.alerts.channels == ("oncall",)
    assert contract.alerts.repeat_after == timedelta(hours=1)
    report, finance = contract.consumers
    assert (report.name, report.asset) == ("report", "report")
    assert (finance.asset, finance.columns) == ("ledger", ("order_id",))


def test_fields_keep_their_constraints() -> None:
    (main,) = load(FULL).objects
    fields = {prop.name: prop for prop in main.properties}
    assert fields["region"].options.enum == ("CH", "NO")
    assert fields["region"].column == "REGION"
    amount = fields["amount"].options
    assert (amount.minimum, amount.exclusive_maximum, str(amount.multiple_of)) == (
        0.1,
        10000,
        "0.01",
    )
    assert fields["amount"].unit == "CHF"
    assert fields["day"].options.minimum == date(2020, 1, 1)
    moment = fields["placed_at"].options.minimum
    assert isinstance(moment, datetime)
    assert moment.astimezone(UTC) == datetime(2020, 1, 1, tzinfo=UTC)
    assert fields["loaded_at"].logical_type is LogicalType.TIMESTAMP
    items = fields["items"].items
    assert items is not None
    assert items.logical_type is LogicalType.OBJECT
    assert items.properties[0].required
    assert fields["ship_to"].properties[1].options.min_length == 4


def test_quality_rules_of_all_kinds() -> None:
    (main,) = load(FULL).objects
    rules = {rule.name: rule for rule in main.all_quality()}
    assert list(rules) == [
        "plausible_total",
        "row_count",
        "REGION_invalid_values",
        "duplicate_values",
        "sql",
        "custom",
        "text",
        "email_null_values",
    ]
    plausible = rules["plausible_total"]
    assert plausible.kind is RuleKind.EXPRESSION
    assert plausible.threshold == Threshold(
        ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO, (Fraction(3),)
    )
    assert plausible.warn == Threshold(ThresholdOperator.MUST_BE, (Fraction(0),))
    assert rules["row_count"].threshold == Threshold(
        ThresholdOperator.MUST_BE_BETWEEN, (Fraction(10), Fraction(1_000_000))
    )
    invalid = rules["REGION_invalid_values"]
    assert (invalid.column, invalid.valid_values) == ("REGION", ("CH", "NO"))
    assert invalid.threshold == Threshold(ThresholdOperator.MUST_BE, (Fraction(0),))
    assert rules["duplicate_values"].columns == ("order_id", "REGION")
    assert rules["sql"].query == "select count(*) from {object}"
    assert rules["custom"].implementation == {"check": "my.module:check"}
    email = rules["email_null_values"]
    assert email.metric is LibraryMetric.NULL_VALUES
    assert email.severity is Severity.WARNING
    assert email.threshold is not None
    assert email.threshold.unit is ThresholdUnit.PERCENT


def test_service_levels_become_conditions_that_must_hold() -> None:
    levels = {level.property: level for level in load(FULL).sla}
    assert {name: render(x.condition) for name, x in levels.items() if x.condition} == {
        "freshness": "data_freshness <= 2h",
        "latency": "data_latency <= 30s",
        "row_count": "row_count >= 10",
        "null_ratio.email": "null_ratio.email < 5%",
        "errorRate": "schema_validation_errors <= 2%",
        "queue_depth": "queue_depth < 10",
        "availability": "availability >= 99.9%",
    }
    assert levels["freshness"].element == "placed_at"
    assert levels["freshness"].severity is Severity.WARNING
    assert levels["availability"].severity is Severity.WARNING


def test_resilience_in_full() -> None:
    contract = load(FULL)
    assert contract.resilience is not None
    circuit = contract.resilience.circuit
    assert render(circuit.open_when[0]) == "queue_depth > 100 or refund_share > 20%"
    assert render(circuit.close_when[0]) == "schema_validation_errors < 1%"
    recovery = circuit.recovery
    assert recovery.retry_after == timedelta(seconds=90)
    assert (recovery.max_retries, recovery.backoff, recovery.jitter) == (
        7,
        Fraction(3, 2),
        Fraction(1, 4),
    )
    assert (recovery.max_wait, recovery.probe_timeout) == (
        timedelta(hours=1),
        timedelta(minutes=10),
    )
    assert (recovery.probes, recovery.probe) == (2, ProbeMode.WAIT)
    assert (circuit.window, circuit.min_observations) == (5, 3)
    assert circuit.scope is CircuitScope.PARTITION
    assert circuit.mode is CircuitMode.METRICS_ONLY
    assert circuit.on_unknown is OnUnknown.OPEN
    assert contract.resilience.on_exhausted is OnExhausted.SKIP
    assert contract.resilience.heal is HealMode.NOTIFY
    levels = {level.name: level for level in contract.resilience.levels}
    assert [(n, x.source.kind, x.source.name) for n, x in levels.items()] == [
        ("primary", SourceKind.PRIMARY, ""),
        ("cached", SourceKind.LAST_VALID, ""),
        ("few_columns", SourceKind.SUBSET, ""),
        ("archive", SourceKind.URI, "s3://bucket/orders.parquet"),
        ("other", SourceKind.ASSET, "orders_archive"),
    ]
    assert levels["cached"].max_age == timedelta(days=2)
    assert levels["cached"].min_dwell == timedelta(minutes=10)
    assert levels["cached"].any_partition
    assert levels["few_columns"].only_when_active


@pytest.mark.parametrize(
    ("written", "mode"),
    [
        ("false", HealMode.OFF),
        ("true", HealMode.RUN),
        ('"off"', HealMode.OFF),
        ("off", HealMode.OFF),
        ("notify", HealMode.NOTIFY),
    ],
)
def test_healing_may_be_switched_off_by_a_flag(written: str, mode: HealMode) -> None:
    resilience = load(FULL.replace("heal: notify", f"heal: {written}")).resilience
    assert resilience is not None
    assert resilience.heal is mode


def test_monitoring_in_full() -> None:
    monitoring = load(FULL).monitoring
    assert monitoring.anomaly_metrics == ("row_count", "null_ratio.email")
    assert (monitoring.anomaly_threshold, monitoring.min_history) == (5.0, 10)
    first, second = monitoring.actions
    assert (render(first.when), first.kind) == (
        "data_freshness > 3h",
        CorrectiveActionKind.REMATERIALIZE,
    )
    assert first.cooldown == timedelta(minutes=30)
    assert (second.kind, second.job) == (CorrectiveActionKind.RUN_JOB, "backfill")


def test_a_primary_may_have_any_place_in_the_list() -> None:
    contract = load(
        "data_contract: {name: a, schema: {fields: {x: string}}, resilience: {fallback_modes: ["
        "{level: b, source: last_valid}, {level: primary, source: feed}]}}"
    )
    assert contract.resilience is not None
    assert [level.name for level in contract.resilience.levels] == ["primary", "b"]


@pytest.mark.parametrize("form", ["mapping", "list"])
def test_fields_may_be_a_mapping_or_a_list(form: str) -> None:
    fields = (
        "{a: {type: integer, primary_key: true}, b: string}"
        if form == "mapping"
        else "[{name: a, type: integer, primary_key: true}, {name: b, type: string}]"
    )
    (main,) = load(f"data_contract: {{name: x, schema: {{fields: {fields}}}}}").objects
    assert [(p.name, p.logical_type) for p in main.properties] == [
        ("a", LogicalType.INTEGER),
        ("b", LogicalType.STRING),
    ]
    assert main.primary_key == ("a",)


def test_the_environment_is_read_where_the_deployment_allows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ARCHIVE", "s3://secret-bucket")
    text = (
        "data_contract: {name: a, schema: {fields: {x: string}}, resilience: {fallback_modes: ["
        '{level: b, source: "${env:ARCHIVE}/a.parquet"}]}, extras: {kept: "${env:ARCHIVE}"}}'
    )
    contract = load_contract("f.yaml", text=text, allowed_env=["ARCHIVE"])
    assert contract.resilience is not None
    assert contract.resilience.fallbacks[0].source.name == "s3://secret-bucket/a.parquet"
    assert contract.extras == {"kept": "${env:ARCHIVE}"}
    monkeypatch.delenv("ARCHIVE")
    with pytest.raises(Exception, match=re.escape("'ARCHIVE' is not set")):
        load_contract("f.yaml", text=text, allowed_env=["ARCHIVE"])
