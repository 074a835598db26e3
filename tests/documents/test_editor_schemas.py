"""The JSON Schemas for editors say what the readers do, and are the ones that are shipped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema_rs
import pytest

from dagster_contracts.documents.document import read_document
from dagster_contracts.documents.editor.reference import fill_tables
from dagster_contracts.documents.editor.schemas import (
    SHIPPED,
    as_text,
    camel,
    compact_schema,
    odcs_schema,
)
from dagster_contracts.documents.section import snake
from dagster_contracts.documents.vocabulary.contract import CONTRACT, EXTENSIONS, TABLES
from dagster_contracts.documents.yaml_text import parse_yaml, to_json

ROOT = Path(__file__).parents[2]
COMPACT = jsonschema_rs.Draft7Validator(compact_schema())
ODCS = jsonschema_rs.Draft201909Validator(odcs_schema())

# Whole contracts in the repository: files, and texts in pages and in the tests.
_FENCED = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r'"""\\?\n?((?:data_contract|apiVersion):.*?)"""', re.DOTALL)


def written_contracts() -> list[object]:
    found: list[object] = []
    for folder in ("contracts", "demo", "docs", "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".yaml", ".yml"):
                found.append(pytest.param(path.read_text(), id=str(path.relative_to(ROOT))))
            elif path.suffix in (".md", ".py"):
                pattern = _FENCED if path.suffix == ".md" else _QUOTED
                for number, text in enumerate(pattern.findall(path.read_text())):
                    found.append(pytest.param(text, id=f"{path.relative_to(ROOT)}-{number}"))
    return found


def judge(text: str) -> list[str]:
    value = to_json(parse_yaml(text, "f.yaml"))
    validator = COMPACT if isinstance(value, dict) and "data_contract" in value else ODCS
    return [str(error) for error in validator.iter_errors(value)]


@pytest.mark.parametrize("text", written_contracts())
def test_every_contract_of_the_repository_that_loads_is_valid_in_an_editor(
    tmp_path: Path, text: str
) -> None:
    # Schema files that a contract names are not here; whatever else keeps it from loading counts.
    document = read_document(tmp_path / "contract.yaml", text=text)
    wrong = [p for p in document.errors if p.code not in ("schema-not-found", "environment")]
    if not wrong:
        assert judge(text) == []


def test_there_are_contracts_to_judge() -> None:
    assert len(written_contracts()) > 60


GOOD = """\
data_contract:
  name: orders
  version: "1.0.0"
  schema:
    fields:
      order_id: {type: integer, required: true}
      email: string
    extra_columns: warn
  quality:
    - metric: rowCount
      must_be_greater_than: 0
  sla:
    freshness: {must: "< 5min", element: email}
  resilience:
    circuit_breaker:
      open_when: ["schema_validation_errors > 5%"]
      mode: enforce
      recovery: {retry_after: 5min, max_retries: 3}
    fallback_modes:
      - {level: fallback, source: last_valid}
  consumers: [{name: revenue, columns: [email]}]
  alerts: {channels: [oncall]}
  monitoring: {actions: [{when: row_count < 1, do: heal}]}
  compatibility: {protects: full}
"""

MISTAKES = [
    # a key that does not exist, in every section
    ("  name:", "  nam: x\n  name:"),
    ("order_id: {", "order_id: {requird: true, "),
    ("extra_columns", "extra_colums"),
    ("metric: rowCount", "metric: rowCount\n      colum: a"),
    ("element: email", "elemnt: email"),
    ("circuit_breaker:", "circuit_braker:"),
    ("open_when", "open_wen"),
    ("retry_after", "retry_afer"),
    ("level: fallback", "levle: fallback"),
    ("columns: [email]", "colums: [email]"),
    ("channels: [oncall]", "chanels: [oncall]"),
    ("monitoring: {", "monitoring: {anomalies: 3, "),
    ("do: heal", "do: heal, then: x"),
    ("protects: full", "protect: full"),
    ("data_contract:", "version: 1\ndata_contract:"),
    # a word that is none of the allowed ones
    ("email: string", "email: varchar"),
    ("extra_columns: warn", "extra_columns: maybe"),
    ("mode: enforce", "mode: Enforce"),
    ("do: heal", "do: explode"),
    ("fallback_modes:", "heal: never\n    fallback_modes:"),
    ("protects: full", "protects: everybody"),
    # a value of the wrong kind
    ("name: orders", "name: 17"),
    ("required: true", "required: yes"),
    ("max_retries: 3", "max_retries: many"),
    ("max_retries: 3", "max_retries: -1"),
    ("retry_after: 5min", "retry_after: 5"),
    ("retry_after: 5min", "retry_after: 5m"),
    ('["schema_validation_errors > 5%"]', "{schema_validation_errors: 5%}"),
    ('["schema_validation_errors > 5%"]', "[schema_validation_errors]"),
    ("fallback_modes:\n      - {level: fallback, source: last_valid}", "fallback_modes: cached"),
    ("    fields:\n", "    fields: []\n    field:\n"),
    ("  consumers: [{name: revenue, columns: [email]}]", "  consumers: revenue"),
    # what must be there
    ("level: fallback, ", ""),
    ('must: "< 5min", ', ""),
    ("when: row_count < 1, ", ""),
]


def test_the_contract_that_is_spoilt_below_is_good(tmp_path: Path) -> None:
    assert read_document(tmp_path / "contract.yaml", text=GOOD).errors == ()
    assert judge(GOOD) == []


@pytest.mark.parametrize("heal", ["run", "notify", "off", "true", "false"])
def test_healing_may_be_a_word_or_a_flag(heal: str) -> None:
    assert judge(GOOD.replace("fallback_modes:", f"heal: {heal}\n    fallback_modes:")) == []


@pytest.mark.parametrize(("before", "after"), MISTAKES)
def test_what_the_reader_refuses_for_its_shape_an_editor_marks(
    tmp_path: Path, before: str, after: str
) -> None:
    assert GOOD.count(before) == 1
    text = GOOD.replace(before, after)

    assert read_document(tmp_path / "contract.yaml", text=text).errors
    assert judge(text)


ODCS_CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: orders
name: orders
version: 1.0.0
status: active
schema:
  - name: orders
    properties:
      - {name: order_id, logicalType: integer}
      - {name: at, logicalType: timestamp, customProperties: [{property: unit, value: s}]}
    customProperties:
      - {property: extraColumns, value: warn}
customProperties:
  - property: resilience
    value:
      circuitBreaker: {openWhen: [row_count < 1]}
  - {property: eventTime, value: at}
  - {property: of_another_tool, value: [1, 2]}
"""


def test_our_custom_properties_in_odcs_are_judged_and_those_of_others_are_not(
    tmp_path: Path,
) -> None:
    assert read_document(tmp_path / "contract.yaml", text=ODCS_CONTRACT).errors == ()
    assert judge(ODCS_CONTRACT) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("openWhen", "openWen"),
        ("[row_count < 1]", "{row_count: 1}"),
        ("value: at", "value: [at]"),
        ("value: warn", "value: maybe"),
        ("status:", "stauts:"),
        ("logicalType: integer", "logicalType: int"),
    ],
)
def test_mistakes_in_odcs_are_marked(tmp_path: Path, before: str, after: str) -> None:
    assert ODCS_CONTRACT.count(before) == 1
    text = ODCS_CONTRACT.replace(before, after)

    # A custom property of our name and of another shape is another tool's: a warning.
    assert read_document(tmp_path / "contract.yaml", text=text).problems
    assert judge(text)


def test_the_shipped_schema_is_the_one_that_the_tables_make() -> None:
    assert SHIPPED.read_text() == as_text(compact_schema()), "run: make schemas"


def test_the_tables_of_the_reference_are_those_of_the_vocabulary() -> None:
    page = (ROOT / "docs" / "compact-form.md").read_text()

    assert page == fill_tables(page), "run: make schemas"


def test_a_page_without_a_table_is_no_reference() -> None:
    with pytest.raises(ValueError, match=r"no place for: .*circuit_breaker"):
        fill_tables("<!-- table: fields -->\n<!-- end of table -->\n")


def test_every_key_has_a_sentence_and_one_spelling_in_either_case() -> None:
    for table in (CONTRACT, *TABLES, EXTENSIONS):
        names = [key.name for key in table.keys]
        assert len(set(names)) == len(names)
        for key in table.keys:
            assert key.meaning.endswith(".")
            assert snake(camel(key.name)) == key.name
            assert not (key.required and key.default is not None)


def test_defaults_are_allowed_values() -> None:
    schema = compact_schema()
    definitions = schema["definitions"]
    assert isinstance(definitions, dict)
    judged = 0
    for definition in definitions.values():
        assert isinstance(definition, dict)
        keys = definition.get("properties", {})
        assert isinstance(keys, dict)
        for key in keys.values():
            assert isinstance(key, dict)
            if "default" in key:
                judged += 1
                jsonschema_rs.validate({**key, "definitions": definitions}, key["default"])
    assert judged > 30


def test_both_schemas_are_schemas() -> None:
    jsonschema_rs.meta.validate(compact_schema())
    assert json.loads(as_text(odcs_schema())) == odcs_schema()
