"""Validating a data file."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import polars as pl
import pytest

from tests.cli.conftest import Project


def test_good_data_is_good(project: Project) -> None:
    ran = project.run("validate", "orders", "good.csv")

    assert ran.code == 0
    assert ran.stdout.startswith("PASSED  2 rows keep orders@1.0.0 (13 rules)")


def test_bad_data_names_rules_counts_and_rows(project: Project) -> None:
    ran = project.run("validate", "contracts/orders/1.0.0.yaml", "bad.csv")

    assert ran.code == 1
    assert ran.stdout.startswith("FAILED  3 of 3 rows (100.0%) break orders@1.0.0")
    assert "amount.minimum: 1 of 3 rows" in ran.stdout
    assert "amount=-2.0" in ran.stdout


def test_the_json_is_as_documented(project: Project) -> None:
    found = project.run("validate", "orders", "bad.csv", "--format", "json").json

    assert (found["contract"], found["version"]) == ("orders", "1.0.0")
    assert (found["status"], found["rows"]) == ("failed", 3)
    assert found["metrics"]["schema_validation_errors"] == 1
    outcome = next(o for o in found["outcomes"] if o["rule"] == "amount.required")
    assert outcome["check"] == "schema"
    assert outcome["column"] == "amount"
    assert outcome["status"] == "failed"
    assert (outcome["rows_tested"], outcome["failed_rows"]) == (3, 1)
    assert outcome["failed_ratio"] == pytest.approx(1 / 3)
    assert len(outcome["samples"]) == 1
    assert "reason" in outcome


def test_every_kind_of_file_gives_the_same_counts(project: Project) -> None:
    frame = pl.read_csv(project.root / "bad.csv", try_parse_dates=True)
    frame.write_parquet(project.root / "bad.parquet")
    rows = pl.read_csv(project.root / "bad.csv").to_dicts()
    project.write("bad.json", json.dumps(rows))
    project.write("bad.jsonl", "\n".join(json.dumps(row) for row in rows))

    counts = [
        {
            outcome["rule"]: outcome["failed_rows"]
            for outcome in project.run(
                "validate", "orders", f"bad.{ending}", "--format", "json"
            ).json["outcomes"]
            if outcome["status"] == "failed"
        }
        for ending in ("csv", "parquet", "json", "jsonl")
    ]

    assert counts[0] == {"order_id.unique": 1, "amount.required": 1, "amount.minimum": 1}
    assert all(count == counts[0] for count in counts)


def test_a_json_column_that_is_no_time_keeps_its_samples(project: Project) -> None:
    row = {"order_id": 1, "amount": 1.5, "discount": None, "ordered_at": "yesterday"}
    project.write("odd.json", json.dumps([row]))

    ran = project.run("validate", "orders", "odd.json")

    assert ran.code == 1
    assert "ordered_at='yesterday'" in ran.stdout


def test_junit_has_a_case_for_each_rule(project: Project) -> None:
    root = ET.fromstring(project.run("validate", "orders", "bad.csv", "--format", "junit").stdout)

    failed = {
        case.attrib["name"] for case in root.iter("testcase") if case.find("failure") is not None
    }
    assert failed == {"order_id.unique", "amount.required", "amount.minimum"}
    assert int(root.attrib["tests"]) > len(failed)


def test_html_is_one_page_that_quotes_data_harmlessly(project: Project) -> None:
    project.write(
        "evil.csv",
        "order_id,amount,discount,ordered_at,note\n"
        "1,-1,,2026-03-01T05:00:00Z,<script>alert(1)</script>\n",
    )
    project.write(
        "contracts/odd.yaml",
        "data_contract: {name: odd, schema: {fields: {note: {type: string, enum: [a]}}}}\n",
    )

    ran = project.run("validate", "odd", "evil.csv", "--format", "html")

    assert ran.code == 1
    assert ran.stdout.startswith("<!doctype html>")
    assert "<script" not in ran.stdout
    assert "&lt;script&gt;" in ran.stdout
    assert "http" not in ran.stdout


def test_ages_are_measured_at_the_moment_that_is_asked_for(project: Project) -> None:
    text = (project.root / "contracts/orders/1.0.0.yaml").read_text()
    project.write("contracts/orders/1.0.0.yaml", text + '  sla: {freshness: "< 1h"}\n')

    late = project.run("validate", "orders", "good.csv")
    fresh = project.run("validate", "orders", "good.csv", "--as-of", "2026-03-01T06:00:00Z")

    assert (late.code, fresh.code) == (1, 0)


def test_strict_counts_what_could_not_be_evaluated(project: Project) -> None:
    text = (project.root / "contracts/orders/1.0.0.yaml").read_text()
    project.write("contracts/orders/1.0.0.yaml", text + '  sla: {availability: "> 99%"}\n')

    assert project.run("validate", "orders", "good.csv").code == 0
    assert project.run("validate", "orders", "good.csv", "--strict").code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["orders", "nope.csv"], "there is no data at 'nope.csv'"),
        (["orders", "good.csv", "--object", "nope"], "it has orders"),
        (["orders", "good.csv", "--as-of", "yesterday"], "is no moment"),
        (["orders", "good.csv", "--reference", "nope"], "NAME=PATH"),
        (["ordres", "good.csv"], "did you mean 'orders'?"),
        (["contracts", "good.csv"], "several contracts"),
        (["orders@@", "good.csv"], "is no contract reference"),
    ],
)
def test_a_wrong_call_is_a_usage_error(project: Project, arguments: list[str], said: str) -> None:
    ran = project.run("validate", *arguments)

    assert ran.code == 2
    assert said in ran.stderr


@pytest.mark.parametrize("name", ["junk.parquet", "junk.json", "junk.jsonl", "junk.csv"])
def test_data_that_cannot_be_read_is_told_and_no_traceback(project: Project, name: str) -> None:
    (project.root / name).write_bytes(b"\x00\xff{this is [nothing\n" * 20)

    ran = project.run("validate", "orders", name)

    assert ran.code in (1, 2)
    assert "Traceback" not in ran.stdout + ran.stderr


def test_an_empty_file_is_judged_and_not_a_crash(project: Project) -> None:
    project.write("empty.csv", "order_id,amount,discount,ordered_at\n")
    project.write("nothing.csv", "")

    assert project.run("validate", "orders", "empty.csv", "--format", "json").json["rows"] == 0
    assert project.run("validate", "orders", "nothing.csv").code in (1, 2)


RULES = """\
data_contract:
  name: readings
  schema: {fields: {n: integer}}
  quality:
    - {name: mine, type: custom, engine: python, implementation: "my_rules:is_long"}
    - {name: many, metric: rowCount, must_be_greater_than: 100, severity: warning}
"""


def test_custom_code_runs_where_it_is_allowed_and_warnings_are_no_findings(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("readings.yaml", RULES)
    project.write("my_rules.py", "def is_long(frame):\n    return False\n")
    project.write("n.csv", "n\n1\n")
    monkeypatch.chdir(project.root)
    closed = project.run("validate", "readings.yaml", "n.csv")
    assert closed.code == 0
    assert closed.stdout.startswith("WARNED")
    assert "'my_rules' is not allowed to run here" in closed.stdout
    assert project.run("validate", "readings.yaml", "n.csv", "--strict").code == 1
    ran = project.run("validate", "readings.yaml", "n.csv", "--allow-code", "my_rules")
    assert ran.code == 1
    assert "mine: the function returned False" in ran.stdout
