"""Contracts written as compact and as ODCS documents read back as equal ones."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import jsonschema_rs
import open_data_contract_standard
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_contracts.core.contract import Contract, Json
from dagster_contracts.documents.compact_writer import to_compact
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.documents.odcs_writer import to_odcs
from dagster_contracts.documents.yaml_text import parse_yaml, to_json
from dagster_contracts.documents.yaml_writer import write_yaml

ROOT = Path(__file__).parents[2]
OFFICIAL = sorted((ROOT / "tests" / "corpus" / "odcs-official").glob("*.yaml"))
OWN = sorted((ROOT / "contracts").glob("*/*.yaml"))

RICH = """
data_contract:
  name: orders
  version: 1.10
  status: deprecated
  deprecated_until: 2027-06-30
  owner: "1e3"
  description: |
    Every order
    once
  asset: raw/orders
  metrics: {queue_depth: count, refund_share: {dimension: ratio, description: Refunds}}
  schema:
    name: order_lines
    extra_columns: forbid
    primary_key: [order_id, line]
    relationships: [{columns: [order_id, line], to: [lines.order, lines.line]}]
    fields:
      order_id: {type: integer, required: true, references: orders.id}
      line: {type: integer, required: true, multiple_of: 0.5, minimum: 1}
      region: {type: string, enum: [CH, "NO", "1"], physical_name: REGION, unit: x, aliases: [r]}
      at: {type: timestamp, timezone: true, minimum: "2020-01-01T00:00:00"}
      tags: {type: map, items: {type: integer}}
      parts: {type: array, items: {fields: {sku: {type: string, required: true}}}}
      email:
        type: string
        quality: [{metric: nullValues, must_be_less_than: 1, unit: percent, severity: warning}]
  quality:
    - {name: plausible, expression: line >= 0, warn: {must_be: 0}, must_be_less_than: 3}
    - {column: region, metric: invalidValues, arguments: {validValues: [CH, "NO"]}}
    - {column: line, metric: quantile, quantile: 0.9, must_be_less_than: 100}
    - {column: line, metric: mean, must_be_between: [1, 5.5], filter: "line > 0"}
    - {sql: "select count(*) from {object}", must_be_greater_than: 0, dimension: completeness}
    - {engine: pandera, implementation: {check: my.module:check}}
    - {description: Reviewed by hand}
  sla:
    - {property: freshness, must: "<= 2h", element: at, severity: warning, driver: regulatory}
    - {property: freshness, must: "<= 4h"}
    - {property: row_count, must: ">= 10"}
    - {property: availability, must: 99.9%}
    - {property: queue_depth, must: "< 10 or row_count > 5"}
  resilience:
    circuit_breaker:
      open_when: ["queue_depth > 100 or refund_share > 20%", "data_freshness > 4h for 3 checks"]
      recovery: {retry_after: 90s, backoff: 1.5, jitter: 25%, probe: wait, probes: 2}
      scope: partition
    fallback_modes:
      - {level: cached, source: last_valid, max_age: 2d, any_partition: true}
      - {level: few, source: subset, schema: small, activation_conditions: [row_count < 5]}
      - {level: archive, source: "s3://bucket/orders.parquet"}
    heal: notify
  schemas: {small: {fields: {order_id: integer}}}
  consumers: [report, {name: finance, asset: ledger, columns: [order_id]}]
  alerts: {channels: [oncall], repeat_after: 1h}
  monitoring:
    anomaly_metrics: [row_count, null_ratio.email]
    actions: [{when: data_freshness > 3h, do: rematerialize, cooldown: 30min}]
  compatibility: {protects: full, transitive: true}
"""


def rich() -> Contract:
    return load_contract("rich.yaml", text=RICH)


@cache
def official_schema() -> jsonschema_rs.Draft201909Validator:
    source = Path(open_data_contract_standard.__file__).with_name("schema.json")
    return jsonschema_rs.Draft201909Validator(json.loads(source.read_text(encoding="utf-8")))


def read_back(document: dict[str, Json], of: Contract) -> Contract:
    """What is written, read again; the hash of the text is the only thing that may differ."""
    found = load_contract("again.yaml", text=write_yaml(document))
    return replace(found, content_hash=of.content_hash)


@pytest.mark.parametrize(
    "path", [*OWN, *OFFICIAL], ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_document_survives_odcs(path: Path) -> None:
    contract = load_contract(path)
    assert read_back(to_odcs(contract), contract) == contract


@pytest.mark.parametrize(
    "path", [*OWN, *OFFICIAL], ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_document_survives_the_compact_form(path: Path) -> None:
    contract = load_contract(path)
    assert read_back(to_compact(contract), contract) == contract


def test_a_rich_contract_survives_both_forms_and_the_way_there_and_back() -> None:
    contract = rich()
    compact = read_back(to_compact(contract), contract)
    odcs = read_back(to_odcs(contract), contract)
    assert compact == odcs == contract
    assert compact.semantic_hash == odcs.semantic_hash == contract.semantic_hash
    assert read_back(to_compact(odcs), contract) == contract


@pytest.mark.parametrize(
    "path", [None, *OWN], ids=lambda path: path.parent.name if path else "rich"
)
def test_what_is_written_is_odcs_by_the_official_schema(path: Path | None) -> None:
    contract = rich() if path is None else load_contract(path)
    assert [error.message for error in official_schema().iter_errors(to_odcs(contract))] == []


@pytest.mark.parametrize("path", OFFICIAL, ids=lambda path: path.stem)
def test_nothing_that_an_odcs_document_says_is_dropped(path: Path) -> None:
    raw = to_json(parse_yaml(path.read_bytes(), str(path)))
    written: Json = to_odcs(load_contract(path))
    # False and -1 are the defaults of the standard; saying them says nothing.
    lost = Counter(scalars(raw)) - Counter(scalars(written))
    assert {text for text in lost if text not in ("False", "-1")} == set()


def scalars(value: Json) -> list[str]:
    if isinstance(value, dict):
        return [found for item in value.values() for found in scalars(item)]
    if isinstance(value, list):
        return [found for item in value for found in scalars(item)]
    # A moment may be written with a blank or with a T between its day and its time.
    return [] if value is None else [str(value).replace(" ", "T")]


# U+0000 is refused wherever it stands, and so is half a name of an environment variable.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
TEXT = st.text(CHARACTERS, max_size=12) | st.sampled_from(
    ["no", "1e3", "0o7", "~", "1.10", "12:30", "null", ".5"]
)
TEXT = TEXT.filter(lambda text: "${env:" not in text)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4))
def test_yaml_that_is_written_reads_back(document: dict[str, Json]) -> None:
    assert to_json(parse_yaml(write_yaml(document), "f.yaml")) == document
