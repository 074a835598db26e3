"""The mistakes that people make, each with its place, a sentence and the mend."""

from __future__ import annotations

import pytest

from dagster_contracts.documents.folder import load_contract
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
        ("data_contract:", "data-contract:", 1, 1, "root key", "data_contract"),
        ("data_contract:", "version: 1\ndata_contract:", 1, 1, "beside", "indent"),
        ("rowCount", "rowcunt", 9, 15, "no library metric", "rowCount"),
        ("recovery: {", "recovery: {jitter: 2, ", 17, 26, "'jitter'", "10%"),
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
