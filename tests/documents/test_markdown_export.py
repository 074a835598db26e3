"""The page of a contract says what it promises, and keeps foreign text in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_contracts.core.condition import parse_condition
from dagster_contracts.documents.export.condition_words import in_words
from dagster_contracts.documents.export.markdown import to_markdown
from dagster_contracts.documents.folder import load_contract

ROOT = Path(__file__).parents[2]
EVERY = [
    *sorted((ROOT / "contracts").glob("*/*.yaml")),
    *sorted((ROOT / "tests" / "corpus" / "odcs-official").glob("*.yaml")),
]

PAGE = """
data_contract:
  name: shop
  status: deprecated
  deprecated_until: 2030-01-31
  owner: "shop | <b>team</b>"
  description: "# All orders\\n\\n* and [more](http://x)"
  objects:
    orders:
      schema:
        description: One row per order
        extra_columns: forbid
        fields:
          id: {type: integer, primary_key: true, description: "a | b\\nc"}
          amount: {type: number, minimum: 0, unit: EUR}
          address: {type: object, fields: {zip: {type: string, required: true}}}
          parts: {type: array, items: {type: object, fields: {sku: string}}}
      quality:
        - {name: few, metric: rowCount, must_be_between: [1, 5.5]}
        - {metric: nullValues, column: amount, must_be: 1, unit: percent, warn: {must_be: 0}}
    lines: {schema: {fields: {id: string}}}
  sla: {freshness: {must: "< 5min", element: id, description: people wait}}
  resilience:
    circuit_breaker: {open_when: ["schema_validation_errors > 5% for 3 checks"]}
    fallback_modes:
      - {level: last, source: last_valid, max_age: 2d, activation_conditions: ["row_count < 5"]}
    on_exhausted: skip
  consumers: [{name: finance, columns: [amount], contact: "a@b"}]
  extras:
    servers: [{server: prod, type: postgres, host: db, password: hunter2, port: 5432}]
"""


def page() -> str:
    return to_markdown(load_contract("shop.yaml", text=PAGE))


@pytest.mark.parametrize(
    "line",
    [
        "# shop 1.0.0",
        "\\# All orders",
        "\\* and \\[more\\](http://x)",
        "| Status | deprecated |",
        "| Owner | shop \\| \\<b>team\\</b> |",
        "| Kept until | 2030-01-31 |",
        "- orders has 4 columns and keeps 2 quality rules.",
        "- orders has no other columns.",
        "- The age of the newest data is less than 5min.",
        "## orders",
        "## lines",
        "| id | integer | never missing; part of the key | a \\| b c |",
        "| amount | number | >= 0; in EUR |  |",
        "| address.zip | string | never missing |  |",
        "| parts[].sku | string |  |  |".replace("[", "\\[").replace("]", "\\]"),
        "| few | rowCount | between 1 and 5.5 | error |",
        (
            "- The circuit opens when the share of rows that break the schema is more than 5%, "
            "3 checks in a row."
        ),
        (
            "| 1 | last | the last batch that passed | preferred when the number of rows is less "
            "than 5; no older than 2d |"
        ),
        "If none is usable, a consumer is skipped.",
        "| finance |  | amount | a@b |",
        "| prod | postgres |  |  | host: db, port: 5432 |",
    ],
)
def test_the_page_says(line: str) -> None:
    assert line in page().splitlines()


def test_a_password_stays_out() -> None:
    assert "hunter2" not in page()


def test_one_object_alone() -> None:
    contract = load_contract("shop.yaml", text=PAGE)
    assert "## orders" not in to_markdown(contract, contract.objects[1])


@pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_table_has_as_many_cells_in_each_row(path: Path) -> None:
    cells: int | None = None
    for line in to_markdown(load_contract(path)).splitlines():
        if not line.startswith("|"):
            cells = None
            continue
        found = line.replace("\\\\", "").replace("\\|", "").count("|")
        assert cells in (None, found), line
        cells = found


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (
            "null_ratio.email > 1% and not row_count < 5",
            (
                "the share of missing values of email is more than 1%, and it is not so that "
                "the number of rows is less than 5"
            ),
        ),
        (
            "data_latency >= 30s for 30min or duplicates == 0%",
            (
                "the time from the event to its arrival is at least 30s for 30min, or "
                "the share of duplicates is 0%"
            ),
        ),
        ("anomaly_score.row_count > 4", "the anomaly score of the number of rows is more than 4"),
    ],
)
def test_conditions_in_words(condition: str, words: str) -> None:
    assert in_words(parse_condition(condition)) == words


def test_service_levels_are_told_in_dates_and_times() -> None:
    text = """
data_contract:
  name: o
  schema: {fields: {a: integer, at: timestamp}}
  sla:
    generalAvailability: 2020-01-01
    endOfSupport: {must: 2032-05-12, warn_before: 60d}
    timeOfAvailability: "08:30 Europe/Berlin"
    retention: {must: 3d, element: nope.at}
"""
    written = to_markdown(load_contract("o.yaml", text=text))
    for line in (
        "| generalAvailability | generally available from 2020-01-01 | warning |  |",
        "| endOfSupport | support ends 2032-05-12, and the check warns 60d before | warning |  |",
        "| timeOfAvailability | the data of the day is there by 08:30 Europe/Berlin | warning |  |",
        "- Generally available from 2020-01-01.",
        "- The data of the day is there by 08:30 Europe/Berlin.",
    ):
        assert line in written.splitlines()
    assert "'nope' is no object of the schema" in written
    assert "delay" not in written
    assert "time_to" not in written


def test_the_official_example_shows_its_people_and_its_price() -> None:
    corpus = Path(__file__).parents[1] / "corpus" / "odcs-official"
    (path,) = corpus.glob("full-example*.yaml")
    written = to_markdown(load_contract(path))
    for line in (
        "| endOfSupport | support ends 2032-05-12T09:30:10-08:00 | warning |  |",
        "| daustin | Owner | 2022-10-01 |  | Keeper of the grail |",
        "| microstrategy_user_opr | read | Reporting Manager | mandolorian |",
        "| product-issues |  | teams | issues |  |",
        "| 9.95 | USD | megabyte |",
    ):
        assert line in written.splitlines()
