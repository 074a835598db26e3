"""The mistakes that people make, each with its place, a sentence and the mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_contracts.core.contract import FallbackSource, SourceKind
from dagster_contracts.documents.document import read_document
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.documents.problem import ProblemSeverity
from dagster_contracts.errors import ConditionSyntaxError, DocumentError, SourceLocation

GOOD = """\
data_contract:
  name: orders
  version: "1.0.0"
  schema:
    fields:
      order_id: {type: integer, required: true}
      email: string
  quality:
    - metric: rowCount
      must_be_greater_than: 0
  sla:
    freshness: "< 5min"
    completeness: "> 95%"
  resilience:
    circuit_breaker:
      open_when: ["schema_validation_errors > 5%"]
      recovery: {retry_after: 5min}
    fallback_modes:
      - {level: fallback, source: last_valid}
"""


def mistake(before: str, after: str, *, count: int = 1) -> DocumentError:
    assert GOOD.count(before) == count
    with pytest.raises(DocumentError) as caught:
        load_contract("orders.yaml", text=GOOD.replace(before, after))
    return caught.value


def test_the_contract_that_is_spoilt_below_is_good() -> None:
    assert load_contract("orders.yaml", text=GOOD).ref == "orders@1.0.0"


@pytest.mark.parametrize(
    ("before", "after", "line", "column", "what", "hint"),
    [
        # 1. a key with a typo, at every level
        ("  quality:", "  qualty:", 8, 3, "no key 'qualty'", "did you mean 'quality'"),
        ("retry_after", "retry_afer", 17, 18, "no key 'retry_afer'", "'retry_after'"),
        ("required: true", "requird: true", 6, 33, "no key 'requird'", "'required'"),
        ("level: fallback", "levle: fallback", 19, 9, "needs a 'level'", "level"),
        # 2. a database's type, or an invented one
        ("email: string", "email: varchar(20)", 7, 14, "no type 'varchar(20)'", "'string'"),
        ("email: string", "email: strng", 7, 14, "no type 'strng'", "'string'"),
        # 3. nullable, as other tools say it
        ("required: true", "nullable: false", 6, 33, "no key 'nullable'", "required: true"),
        # 4. an unquoted > begins a block
        ('completeness: "> 95%"', "completeness: > 95%", 13, 21, "not YAML", '"> 95%"'),
        # 5. a tab
        ("  sla:", "\tsla:", 11, 1, "not YAML", "spaces"),
        # 6. yes and no
        ("required: true", "required: yes", 6, 43, "true or false", "yes and no"),
        # 7. a metric or a service level with a typo
        ("freshness:", "freshnes:", 12, 5, "no service level 'freshnes'", "'freshness'"),
        # 8. two operators, or none
        (
            "must_be_greater_than: 0",
            "must_be_greater_than: 0\n      must_be_less_than: 9",
            11,
            26,
            "exactly one operator",
            "mustBeBetween",
        ),
        ("\n      must_be_greater_than: 0", "", 9, 7, "no operator", "must_be_greater_than"),
        # 9. a column that is not there
        (
            "- metric: rowCount",
            "- metric: nullValues\n      column: emial",
            10,
            15,
            "'emial'",
            "email",
        ),
        # 10. a duration without a unit, or one that is ambiguous
        ("retry_after: 5min", "retry_after: 5", 17, 31, "no duration", ""),
        ("retry_after: 5min", "retry_after: 5m", 17, 31, "ambiguous", "minutes"),
        # and: what stands on the wrong level, is missing, or is of the wrong kind
        ("  name: orders\n", "", 2, 3, "needs a 'name'", "name"),
        ("name: orders", "name: orders eu", 2, 9, "cannot name a contract", "'description'"),
        ("name: orders", "name: 17", 2, 9, "must be text", 'name: "17"'),
        ('"1.0.0"', '"one two"', 3, 12, "no version", "1.4.0"),
        ("order_id: {", "order_id: [", 6, None, "not YAML", ""),
        ("      email: string", "      email:\n        - string", 8, 9, "'email'", "type"),
        ("source: last_valid", "", 19, 9, "needs a 'source'", "last_valid"),
        ("source: last_valid", "source: ' '", 19, 9, "needs a 'source'", "last_valid"),
        ("data_contract:", "data-contract:", 1, 1, "root key", "data_contract"),
        ("data_contract:", "version: 1\ndata_contract:", 1, 1, "beside", "indent"),
        ("rowCount", "rowcunt", 9, 15, "no library metric", "rowCount"),
        ("recovery: {", "recovery: {jitter: 2, ", 17, 26, "'jitter'", "10%"),
        ("5min}", "2x}", 17, 31, "unknown unit 'x'", "units of time are ms, s, min, h, d, w"),
        ("5min}", "2kb}", 17, 31, "is no duration", "5min"),
        ("5min}", "2houers}", 17, 31, "unknown unit", "did you mean 'hours'?"),
        ("5min}", "2m}", 17, 31, "ambiguous", "write 'min' for minutes, '30d' for a month"),
        # a level that would be dropped, or can never serve
        ("level: fallback", "level: primary", 19, 34, "cannot be last_valid", "another name"),
        (
            "level: fallback, source: last_valid",
            "level: primary, source: ./seeds",
            *(19, 34),
            "the asset itself, and cannot be ./seeds",
            "another name",
        ),
        ("last_valid", "primary, max_age: 1d", 19, 35, "cannot read the primary", "subset"),
        (
            "source: last_valid}",
            "source: last_valid}\n      - {level: b, source: primary, max_age: 1d}",
            *(20, 28),
            "'b' cannot read the primary",
            "subset",
        ),
        ("last_valid", "sqlite:///seeds.db", 19, 35, "no table", "#table"),
        ("last_valid", "sqlite:///s.db#", 19, 35, "no table", "#table"),
        ("last_valid", '"sqlite:///s.db#{partition}"', 19, 35, "read whole", "seeds/{partition}"),
        ("last_valid", '"ftp9://x/y.csv"', 19, 35, "its scheme is none of", "an asset"),
        ("last_valid", '"mysql://ada:s3cret@h/d#t"', 19, 35, "ada:***@h/d#t", "an asset"),
        ("last_valid", '"s3://a.zip::memory://b"', 19, 35, "within another one", "itself"),
        ("last_valid", '"seeds/{date}.csv"', 19, 35, "{date} is none", "{partition}"),
        ("last_valid", '"seeds/{date}"', 19, 35, "{date} is none", "{partition}"),
        ("last_valid", '"seeds/{ partition }.csv"', 19, 35, "with spaces", "{partition}"),
        ("last_valid", '"seeds/{partition}"', 19, 35, "no ending", "./seeds/{partition}"),
        ("last_valid", "seeds/x.xlsx", 19, 35, "no level reads a .xlsx file", "an asset"),
        ("last_valid", "s3://b/x.csv.gz", 19, 35, "no level reads a .csv.gz file", "an asset"),
    ],
)
def test_the_mistakes_people_make(
    before: str, after: str, line: int, column: int | None, what: str, hint: str
) -> None:
    error = mistake(before, after)
    assert isinstance(error.where, SourceLocation)
    assert (error.where.path, error.where.line) == ("orders.yaml", line)
    assert column is None or error.where.column == column
    assert what in str(error)
    assert hint in (error.hint or "")
    assert str(error).startswith(f"orders.yaml:{line}:")
    assert "s3cret" not in str(error)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("raw/orders", SourceKind.ASSET),
        ("orders.archive", SourceKind.ASSET),
        ("./seeds/v1.2", SourceKind.URI),
        ("file:///seeds/x.csv", SourceKind.URI),
        ("S3://bucket/x.parquet", SourceKind.URI),
        ("https://host/x.csv?day={partition}", SourceKind.URI),
        ("./seeds/{partition}", SourceKind.URI),
        ("postgres://host/db#a.b", SourceKind.URI),
    ],
)
def test_a_source_that_may_serve_is_read(source: str, kind: SourceKind) -> None:
    contract = load_contract("orders.yaml", text=GOOD.replace("last_valid", f"'{source}'"))
    assert contract.resilience is not None
    assert contract.resilience.fallbacks[0].source == FallbackSource(kind, source)


def test_a_condition_with_a_typo_shows_the_caret_and_the_nearest_name() -> None:
    error = mistake("schema_validation_errors > 5%", "schema_validation_erors > 5%")
    assert isinstance(error, ConditionSyntaxError)
    assert isinstance(error.where, SourceLocation)
    assert error.where.line == 16
    assert "^" in str(error)
    assert "schema_validation_errors" in (error.hint or "")


def test_a_condition_with_the_wrong_unit_is_an_error() -> None:
    error = mistake("schema_validation_errors > 5%", "schema_validation_errors > 5min")
    assert isinstance(error, ConditionSyntaxError)


def test_one_run_tells_all_mistakes() -> None:
    text = GOOD.replace("quality:", "qualty:").replace("email: string", "email: text")
    with pytest.raises(DocumentError) as caught:
        load_contract("orders.yaml", text=text)
    assert "orders.yaml:8:3" in str(caught.value)
    assert "orders.yaml:7:14" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "a", "a: 1", "data_contract:", "data_contract: []"])
def test_what_is_no_contract_at_all(text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        load_contract("f.yaml", text=text)
    assert caught.value.hint


# Each: what is written instead, the line and column that are told, and words of message and hint.
MORE = [
    # indentation, and spaces that are missing
    ("      email: string", "     email: string", 7, 6, "not YAML", "indentation"),
    ("  name: orders", "  name:orders", 3, 10, "not YAML", "'name: orders'"),
    ("email: string", "email:string", 8, 3, "not YAML", "'email: string'"),
    ("name: orders", "name: orders: eu", 2, 15, "not YAML", '"orders: eu"'),
    # the fields
    ("    fields:", "    field:", 5, 5, "no key 'field'", "'fields'"),
    ("    fields:", "    columns:", 5, 5, "no key 'columns'", "'fields'"),
    ("      email: string", "      email: {logicalType: string}", 7, 15, "logicalType", "'type'"),
    ("email: string", "email: {dtype: string}", 7, 15, "'dtype'", "'type'"),
    ("email: string", "email: int64", 7, 14, "'int64'", "'integer'"),
    ("email: string", "email: datetime", 7, 14, "'datetime'", "'timestamp'"),
    ("email: string", "email: float", 7, 14, "'float'", "'number'"),
    ("email: string", "email: date-time", 7, 14, "'date-time'", "'timestamp'"),
    ("email: string", "email: text[]", 7, 14, "'text[]'", "{type: array, items: string}"),
    ("email: string", "email: array<int>", 7, 14, "'array<int>'", "items: integer"),
    ("email: string", "email: String", 7, 14, "'String'", "'string'"),
    ("email: string", 'email: {type: [string, "null"]}', 7, 21, "one word", "may be null"),
    ("email: string", "email: {type: string, enum: a}", 7, 35, "a list", "'- '"),
    ("email: string", "order_id: string", 7, 7, "occurs twice", "keep one"),
    ("  quality:", "    primary_key: [ordr_id]\n  quality:", 8, 18, "'ordr_id'", "'order_id'"),
    ("required: true", "required: 'true'", 6, 43, "true or false", "write true or false"),
    # words of ODCS in the compact form
    ("  name: orders", "  kind: DataContract\n  name: orders", 2, 3, "'kind'", "ODCS"),
    ("  name: orders", "  apiVersion: v3.1.0\n  name: orders", 2, 3, "apiVersion", "'version'"),
    ("  name: orders", "  slaProperties: []\n  name: orders", 2, 3, "slaProperties", "'sla'"),
    ("  name: orders", "  servers: []\n  name: orders", 2, 3, "'servers'", "ODCS"),
    # rules
    ("must_be_greater_than: 0", "must_be: 1\n      must_be: 2", 11, 7, "occurs twice", "keep one"),
    ("must_be_greater_than: 0", "must_be_between: 5", 10, 24, "2 numbers", "[low, high]"),
    ("metric: rowCount", "metric: row_cuont", 9, 15, "no library metric", "rowCount"),
    # words in another case, or of another tool
    ("  sla:", "  status: Active\n  sla:", 11, 11, "'Active'", "'active'"),
    ("circuit_breaker:\n", "circuit_breaker:\n      mode: Enforce\n", 16, 13, "", "'enforce'"),
    ("    fallback_modes:", "    fallbacks:", 18, 5, "'fallbacks'", "fallback_modes"),
    ("level: fallback, source", "level: fallback, sorce", 19, 9, "needs a 'source'", "last_valid"),
    ("fallback_modes:\n      - {", "fallback_modes:\n      {", 19, 7, "a list", "'- '"),
    # conditions and quantities
    (
        'open_when: ["schema_validation_errors > 5%"]',
        'open_when: {schema_validation_errors: "> 5%"}',
        16,
        18,
        "a line of text, not a mapping",
        '"schema_validation_errors > 5%"',
    ),
    ('"schema_validation_errors > 5%"', '"row_count = 0"', 16, 19, "operator '='", "'=='"),
    ('"schema_validation_errors > 5%"', '"row_count => 0"', 16, 19, "'=>'", "'>='"),
    ('"schema_validation_errors > 5%"', '"row_count < 1,000"', 16, 19, "','", "separators"),
    ('"schema_validation_errors > 5%"', '"5% < row_count"', 16, 19, "metric", "comes first"),
    ("schema_validation_errors > 5%", "schema_validation_errors > 5", 16, 19, "per cent", "'5%'"),
    ("schema_validation_errors > 5%", "completeness < 0.95", 16, 19, "per cent", "'95%'"),
    ("schema_validation_errors > 5%", "data_freshness > 5m", 16, 19, "ambiguous", "'min'"),
    ("schema_validation_errors > 5%", "data_freshness > 5", 16, 19, "unit of time", "'5min'"),
    ("schema_validation_errors > 5%", "data_freshnes > 5min", 16, 19, "unknown", "data_freshness"),
    ('freshness: "< 5min"', "freshness: > 5min", 12, 18, "not YAML", '"> 5min"'),
    ('completeness: "> 95%"', 'completeness: "> 95"', 13, 19, "per cent", "'95%'"),
    ('freshness: "< 5min"', "freshness: {max: 5min}", 12, 16, "needs a 'must'", "must"),
    # a list where a mapping stands, and a rule that is only its condition
    (
        '  sla:\n    freshness: "< 5min"\n    completeness: "> 95%"',
        "  sla:\n    - freshness: 2h",
        12,
        7,
        "needs a 'property'",
        '- {property: freshness, must: "< 2h"}',
    ),
    (
        '  sla:\n    freshness: "< 5min"\n    completeness: "> 95%"',
        "  sla: [freshness]",
        11,
        9,
        "the text 'freshness'",
        '- {property: freshness, must: "< 2h"}',
    ),
    (
        "- metric: rowCount\n      must_be_greater_than: 0",
        "- order_id > 0 or email = 'a'",
        9,
        7,
        "list of mappings",
        """- {expression: "order_id > 0 or email = 'a'"}""",
    ),
    (
        "quality:\n    - metric: rowCount\n      must_be_greater_than: 0",
        "quality: order_id > 0",
        8,
        12,
        "must be a list",
        '- {expression: "order_id > 0"}',
    ),
    (
        "- metric: rowCount\n      must_be_greater_than: 0",
        "- row_count > 0",
        9,
        7,
        "list of mappings",
        "- {metric: rowCount, must_be_greater_than: 0}",
    ),
    (
        "- metric: rowCount\n      must_be_greater_than: 0",
        "- order ids are unique",
        9,
        7,
        "list of mappings",
        "- {expression: amount > 0}",
    ),
    # A length of time that would be none at all
    ("retry_after: 5min", "retry_after: 0s", 17, 31, "more than nothing", "retry_after: 1h"),
    ("retry_after: 5min", "probe_timeout: 0s", 17, 33, "more than nothing", "probe_timeout: 1h"),
    (
        "recovery: {retry_after: 5min}",
        "flapping_window: 0min",
        17,
        24,
        "'flapping_window' must be more than nothing",
        "flapping_window: 1h",
    ),
    ("email: string", "email: {quality: [email != '']}", 7, 25, "mappings", '{expression: "email'),
]


@pytest.mark.parametrize(("before", "after", "line", "column", "what", "hint"), MORE)
def test_more_mistakes_that_people_make(
    before: str, after: str, line: int, column: int, what: str, hint: str
) -> None:
    document = read_document(Path("orders.yaml"), text=GOOD.replace(before, after))

    assert GOOD.count(before) == 1
    assert document.contract is None
    told = [p for p in document.errors if (p.location.line, p.location.column) == (line, column)]
    assert any(what in p.message and hint in (p.hint or "") for p in told), document.errors
    # Nothing that only follows from the mistake stands before it.
    assert document.problems[0].severity is ProblemSeverity.ERROR


@pytest.mark.parametrize(
    ("before", "after", "what", "hint"),
    [
        ("source: last_valid", "source: last-valid", "'last-valid'", "'last_valid'"),
        ("source: last_valid", "source: lastvalid", "'lastvalid'", "'last_valid'"),
        (
            "email: string",
            "email: {type: integer, min_length: 3}",
            "'min_length' does nothing to values of type integer: it is for string",
            "mend the type",
        ),
        ("email: string", "email: {type: string, minimum: 3}", "minimum", "mend the type"),
        ("email: string", 'email: {type: string, pattern: "["}', "pattern", "plain subset"),
        ("must_be_greater_than: 0", "must_be: 0\n      severity: crit", "'crit'", "error, info"),
    ],
)
def test_what_loads_and_is_not_meant_is_a_warning(
    before: str, after: str, what: str, hint: str
) -> None:
    document = read_document(Path("orders.yaml"), text=GOOD.replace(before, after))

    (problem,) = document.problems
    assert problem.severity is ProblemSeverity.WARNING
    assert what in problem.message
    assert hint in (problem.hint or "")


ODCS = """\
apiVersion: v3.1.0
kind: DataContract
id: orders
name: orders
version: 1.0.0
status: active
schema:
  - name: orders
    properties:
      - name: order_id
        logicalType: integer
        required: true
    quality:
      - metric: rowCount
        mustBeGreaterThan: 0
customProperties:
  - property: resilience
    value:
      circuit_breaker:
        open_when: ["row_count < 1"]
"""


def test_the_contract_of_odcs_that_is_spoilt_below_is_good() -> None:
    assert read_document(Path("orders.yaml"), text=ODCS).problems == ()


@pytest.mark.parametrize(
    ("before", "after", "line", "column", "what", "hint"),
    [
        ("apiVersion: v3.1.0\n", "", 1, 1, "needs 'apiVersion'", "v3.1.0"),
        ("kind: DataContract\n", "", 1, 1, "needs 'kind'", "kind: DataContract"),
        ("id: orders\n", "", 1, 1, "needs 'id'", "id"),
        ("v3.1.0", "3.1.0", 1, 13, "'3.1.0'", "'v3.1.0'"),
        ("v3.1.0", "v4.0.0", 1, 13, "'v4.0.0'", "'v3"),
        ("DataContract", "datacontract", 2, 7, "'datacontract'", "'DataContract'"),
        ("1.0.0", "1.0", 5, 10, "must be text, not the number 1.0", '"1.0"'),
        ("logicalType: integer", "logicalType: int64", 11, 22, "'int64'", "'integer'"),
        ("logicalType: integer", "logicalType: datetime", 11, 22, "'datetime'", "'timestamp'"),
        ("logicalType: integer", "type: integer", 11, 9, "'type'", "'logicalType'"),
        ("required: true", "nullable: false", 12, 9, "'nullable'", "required: true"),
        ("properties:\n      -", "columns:\n      -", 9, 5, "'columns'", "'properties'"),
        ("schema:\n  - name", "schema:\n    name", 8, 5, "a list, not a mapping", "'- '"),
        ("rowCount", "rowCnt", 14, 17, "'rowCnt'", "'rowCount'"),
        ("mustBeGreaterThan", "must_be_greater_than", 15, 9, "must_be", "'mustBeGreaterThan'"),
        ("GreaterThan: 0", "GreaterThan: 0\n        mustBe: 1", 16, 9, "exactly one", "two rules"),
        ("circuit_breaker", "circuit_braker", 19, 7, "circuit_braker", "'circuit_breaker'"),
        ("customProperties:\n  - property: resilience\n    value:\n", "resilience:\n", 16, 1,
         "no key 'resilience'", "customProperties"),
    ],
)  # fmt: skip
def test_mistakes_in_odcs(
    before: str, after: str, line: int, column: int, what: str, hint: str
) -> None:
    document = read_document(Path("orders.yaml"), text=ODCS.replace(before, after))

    assert ODCS.count(before) == 1
    told = [p for p in document.errors if (p.location.line, p.location.column) == (line, column)]
    assert any(what in p.message and hint in (p.hint or "") for p in told), document.errors


def test_a_custom_property_that_is_nearly_ours_is_told() -> None:
    text = ODCS.replace("property: resilience", "property: resiliance")

    (problem,) = read_document(Path("orders.yaml"), text=text).problems

    assert "does nothing" in problem.message
    assert problem.hint == "did you mean 'resilience'?"


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (
            "dataContractSpecification: 1.1.0\nid: orders\nmodels: {orders: {fields: {}}}\n",
            "Data Contract Specification, an older standard",
            "datacontract export --format odcs",
        ),
        ("name: orders\nschema: {fields: {a: string}}\n", "no root key", "indent everything"),
        ("contract:\n  name: orders\n", "root key 'contract'", "'data_contract:'"),
        ("version: 2\nmodels: [{name: orders}]\n", "is no contract", "'data_contract:'"),
        ("data_contract:\n  - name: orders\n", "must be a mapping", "indent"),
        ("data_contract:\nname: orders\n", "must be a mapping", "indent"),
        ("data_contract: {schema: [{name: a}], name: b}", "not a list", "'objects'"),
        ("data_contract: {name: b, schema: {fields: [a, b]}}", "not the text 'a'", "a: string"),
        ("data_contract: {name: b, schema: {fields: [a: date]}}", "not a mapping", "a: date"),
    ],
)
def test_documents_of_another_shape_are_told_how_to_become_contracts(
    text: str, what: str, hint: str
) -> None:
    first = read_document(Path("orders.yaml"), text=text).errors[0]

    assert what in first.message
    assert hint in (first.hint or "")


def test_json_is_read_as_well() -> None:
    text = '{"data_contract": {"name": "orders", "schema": {"fields": {"a": "string"}}}}'

    assert read_document(Path("orders.yaml"), text=text).problems == ()


@pytest.mark.parametrize(
    ("rule", "column", "what"),
    [
        ("expression: order_id > > 3", 21, "a value is missing before '>'"),
        ('expression: "order_id is"', 21, "the expression of the rule cannot be read"),
        ("metric: rowCount, filter: 'email == ', must_be: 1", 35, "the filter of the rule"),
    ],
)
def test_an_expression_that_cannot_be_read(rule: str, column: int, what: str) -> None:
    error = mistake(
        "    - metric: rowCount\n      must_be_greater_than: 0\n", f"    - {{ {rule} }}\n"
    )
    assert isinstance(error.where, SourceLocation)
    assert what in str(error)
    assert (error.where.line, error.where.column) == (9, column)


def test_a_threshold_in_per_cent_is_told_how_to_be_written() -> None:
    error = mistake("must_be_greater_than: 0", "must_be_greater_than: 5%")
    assert "not with '5%'" in str(error)
    assert error.hint == "write must_be_greater_than: 5 and unit: percent"


@pytest.mark.parametrize("name", ["schema", "sla_freshness"])
def test_a_name_of_our_own_checks_is_told_as_such(tmp_path: Path, name: str) -> None:
    path = tmp_path / "orders.yaml"
    path.write_text(GOOD.replace("- metric: rowCount", f"- name: {name}\n      metric: rowCount"))
    (problem,) = [p for p in read_document(path).problems if p.code == "check-name"]
    assert "are checks of ours" in (problem.hint or "")


def test_null_in_an_enum_is_told_with_its_mend() -> None:
    text = "data_contract: {name: o, schema: {fields: {a: {type: string, enum: [b, null]}}}}"
    (found,) = read_document(Path("f.yaml"), text=text).problems
    assert "lists null" in found.message
    assert "required: true" in (found.hint or "")


@pytest.mark.parametrize("key", ["quality", "resilience", "version"])
def test_a_key_with_nothing_after_it_is_pointed_out(tmp_path: Path, key: str) -> None:
    path = tmp_path / "orders.yaml"
    lines = [line for line in GOOD.partition("  quality:")[0].splitlines() if "version" not in line]
    path.write_text("\n".join([*lines, f"  {key}:", "  description: null", ""]))

    (problem,) = read_document(path).problems

    assert problem.severity is ProblemSeverity.WARNING
    assert f"{key!r} has nothing after it" in problem.message
