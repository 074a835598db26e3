"""Lint: what loads and is probably not meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_contracts.core.condition import parse_condition
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.documents.lint import ProblemSeverity, lint_contract, lint_paths
from dagster_contracts.documents.satisfiability import Prospect, prospect

HEAD = "data_contract:\n  name: orders\n"
SCHEMA = """\
  schema:
    fields:
      id: {type: integer, required: true, primary_key: true}
      email: string
      at: timestamp
"""


def codes(body: str) -> list[str]:
    return [p.code for p in lint_contract(load_contract("orders.yaml", text=HEAD + body))]


def test_a_good_contract_has_no_findings() -> None:
    assert codes(SCHEMA + '  sla: {freshness: "< 5min"}\n') == []


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("schema_validation_errors > 5%", Prospect.SOMETIMES),
        ("schema_validation_errors > 100%", Prospect.NEVER),
        ("schema_validation_errors >= 0%", Prospect.ALWAYS),
        ("schema_validation_errors < 0%", Prospect.NEVER),
        ("row_count_change > 200%", Prospect.SOMETIMES),
        ("row_count < 0", Prospect.NEVER),
        ("row_count > 3 and row_count < 4", Prospect.NEVER),
        ("row_count > 3 and row_count < 5", Prospect.SOMETIMES),
        ("row_count > 3 or row_count <= 3", Prospect.ALWAYS),
        ("data_freshness > 5min and data_freshness < 4min", Prospect.NEVER),
        ("data_freshness > 5min and not data_freshness > 6min", Prospect.SOMETIMES),
        ("not (row_count >= 0)", Prospect.NEVER),
        ("row_count == 3 and row_count != 3", Prospect.NEVER),
        ("data_latency < 0s", Prospect.SOMETIMES),
        ("completeness < 95% for 3 checks", Prospect.SOMETIMES),
    ],
)
def test_what_can_hold(condition: str, expected: Prospect) -> None:
    assert prospect(parse_condition(condition)) is expected


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("  resilience: {circuit_breaker: {open_when: [completeness > 100%]}}\n", "never-holds"),
        ("  resilience: {circuit_breaker: {open_when: [row_count >= 0]}}\n", "always-holds"),
        (
            "  resilience: {circuit_breaker: {open_when: [null_ratio.emial > 1%]}}\n",
            "unknown-column",
        ),
        (
            "  resilience: {circuit_breaker: {open_when: [failed_ratio.nope > 1%]}}\n",
            "unknown-rule",
        ),
        (
            (
                '  sla: {freshness: "< 1h"}\n'
                "  resilience: {circuit_breaker: {open_when: [data_freshness > 2h]}}\n"
            ),
            "looser-than-sla",
        ),
        (
            (
                '  sla: {freshness: "< 1h"}\n'
                "  resilience: {circuit_breaker: {open_when: [data_freshness > 30min]}}\n"
            ),
            "tighter-than-sla",
        ),
        ("  status: deprecated\n", "deprecated-without-end"),
        (
            "  consumers: [{name: r, columns: [emial]}]\n",
            "unknown-column",
        ),
        (
            (
                "  consumers: [{name: r, columns: [email]}]\n"
                "  schemas: {small: {fields: {id: integer}}}\n"
                "  resilience: {fallback_modes: [{level: f, source: archive, schema: small}]}\n"
            ),
            "fallback-too-small",
        ),
        (
            (
                "  schemas: {small: {fields: {idd: integer}}}\n"
                "  resilience: {fallback_modes: [{level: f, source: subset, schema: small}]}\n"
            ),
            "unknown-column",
        ),
        ('  sla: {freshness: "== 5min"}\n', "exact-time"),
    ],
)
def test_what_is_odd(body: str, code: str) -> None:
    assert codes(SCHEMA + body) == [code]


def test_a_schema_rule_may_be_spoken_of() -> None:
    body = "  resilience: {circuit_breaker: {open_when: [failed_ratio.email.required > 1%]}}\n"
    assert codes(SCHEMA + body) == []


def test_a_key_that_may_be_null() -> None:
    assert codes("  schema: {fields: {id: {type: integer, primary_key: true}}}\n") == [
        "nullable-key"
    ]


@pytest.mark.parametrize(
    ("fields", "sla", "found"),
    [
        ("{a: timestamp, b: timestamp}", "freshness", ["event-time"]),
        ("{a: timestamp, b: timestamp}", "row_count", []),
        ("{a: string}", "freshness", ["event-time"]),
        ("{a: string}", "latency", ["event-time"]),
        ("{a: timestamp}", "latency", []),
    ],
)
def test_an_event_time_that_is_not_known(fields: str, sla: str, found: list[str]) -> None:
    limit = "> 5" if sla == "row_count" else "< 5min"
    assert codes(f'  schema: {{fields: {fields}}}\n  sla: {{{sla}: "{limit}"}}\n') == found


def test_the_article_has_one_note() -> None:
    path = Path(__file__).parents[2] / "contracts" / "customer_behavior_data" / "1.0.0.yaml"
    (file,) = lint_paths([path])
    assert file.ok
    assert [(p.severity, p.code) for p in file.problems] == [
        (ProblemSeverity.NOTE, "looser-than-sla")
    ]


def test_files_folders_and_what_is_broken(tmp_path: Path) -> None:
    good, broken = tmp_path / "good.yaml", tmp_path / "broken.yaml"
    good.write_text(HEAD + SCHEMA)
    broken.write_text("data_contract: {nam: x}\n")
    (tmp_path / "same.yaml").write_text(HEAD + SCHEMA)
    files = {
        Path(file.path).name: file for file in lint_paths([tmp_path, tmp_path / "nothing.yaml"])
    }
    assert set(files) == {"good.yaml", "broken.yaml", "same.yaml", "nothing.yaml"}
    assert files["good.yaml"].ok
    assert (files["good.yaml"].contract, files["good.yaml"].version) == ("orders", "1.0.0")
    assert not files["broken.yaml"].ok
    assert [p.code for p in files["broken.yaml"].problems] == [
        "missing-key",
        "no-schema",
        "unknown-key",
    ]
    assert [p.code for p in files["same.yaml"].problems] == ["version"]
    assert "no such file" in files["nothing.yaml"].problems[0].message


def test_a_circle_of_fallbacks_across_files(tmp_path: Path) -> None:
    for name, source in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(
            f"data_contract: {{name: {name}, schema: {{fields: {{x: string}}}}, resilience: "
            f"{{fallback_modes: [{{level: f, source: {source}}}]}}}}\n"
        )
    problems = [p for file in lint_paths([tmp_path]) for p in file.problems]
    assert [p.code for p in problems] == ["fallback-cycle"]
    assert "a -> b -> a" in problems[0].message
