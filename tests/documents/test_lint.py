"""Lint: what loads and is probably not meant."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import (
    Contract,
    FallbackLevel,
    FallbackSource,
    Resilience,
    SchemaObject,
    SourceKind,
)
from dagster_contracts.documents.fallback_graph import find_cycles
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.documents.lint import ProblemSeverity, lint_contract, lint_paths
from dagster_contracts.documents.satisfiability import Prospect, prospect
from tests.calls import calls_made

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
                "  resilience: {circuit_breaker: {open_when: [row_count < 1]}, "
                "fallback_modes: [{level: f, source: archive, schema: small}]}\n"
            ),
            "fallback-too-small",
        ),
        (
            (
                "  schemas: {small: {fields: {idd: integer}}}\n"
                "  resilience: {circuit_breaker: {open_when: [row_count < 1]}, "
                "fallback_modes: [{level: f, source: subset, schema: small}]}\n"
            ),
            "unknown-column",
        ),
        ('  sla: {freshness: "== 5min"}\n', "exact-time"),
        (
            "  resilience: {circuit_breaker: {open_when: ['null_ratio.\"e mail\" > 1%']}}\n",
            "unknown-column",
        ),
        (
            "  resilience: {circuit_breaker: {open_when: [anomaly_score.null_ratio.emial > 4]}}\n",
            "unknown-column",
        ),
        ("  schemas: {small: {fields: {id: integer}}}\n", "unused-schema"),
        (
            (
                "  quality:\n"
                "    - {name: a, metric: nullValues, column: email, mustBeLessThan: 5}\n"
                "    - {name: b, metric: nullValues, column: email, mustBeLessThan: 5}\n"
            ),
            "duplicate-rule",
        ),
        (
            "  quality: [{name: a, metric: nullValues, column: email, mustBeLessThan: 0}]\n",
            "never-passes",
        ),
        (
            "  quality: [{name: a, metric: rowCount, mustBeGreaterOrEqualTo: 0}]\n",
            "always-passes",
        ),
        (
            (
                "  quality: [{name: a, metric: nullValues, column: email, "
                "mustBeLessOrEqualTo: 100, unit: percent}]\n"
            ),
            "always-passes",
        ),
        (
            ("  quality: [{name: a, metric: duplicateValues, columns: [id, email], mustBe: 0}]\n"),
            "nullable-key",
        ),
        (
            (
                "  resilience:\n"
                "    circuit_breaker: {open_when: [row_count < 1], recovery: {retry_after: 1h}}\n"
                "    fallback_modes: [{level: f, source: last_valid, max_age: 30min}]\n"
            ),
            "fallback-expires-first",
        ),
        (
            (
                "  resilience:\n"
                "    circuit_breaker: {open_when: [row_count < 1]}\n"
                "    fallback_modes: [{level: f, source: 'sqlite:///s.db#t', max_age: 30min}]\n"
            ),
            "age-unknown",
        ),
    ],
)
def test_what_is_odd(body: str, code: str) -> None:
    assert codes(SCHEMA + body) == [code]


def test_a_schema_rule_may_be_spoken_of() -> None:
    body = "  resilience: {circuit_breaker: {open_when: [failed_ratio.email.required > 1%]}}\n"
    assert codes(SCHEMA + body) == []


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("{type: string, enum: [a, bb], max_length: 1}", ["value-refused"]),
        ("{type: string, enum: [a, bb], min_length: 2}", ["value-refused"]),
        ("{type: integer, enum: [1, 9], maximum: 5}", ["value-refused"]),
        ("{type: integer, enum: [1, 5], exclusive_maximum: 5}", ["value-refused"]),
        ("{type: integer, enum: [1, 5], maximum: 5}", []),
        (
            "{type: object, fields: {a: {type: string, enum: [aa], max_length: 1}}}",
            ["value-refused"],
        ),
    ],
)
def test_an_allowed_value_that_the_column_refuses(field: str, found: list[str]) -> None:
    assert codes(f"  schema: {{fields: {{a: {field}}}}}\n") == found


def test_two_bounds_of_one_measure_are_two_rules() -> None:
    rules = (
        "  quality:\n"
        "    - {name: a, metric: rowCount, mustBeGreaterThan: 5}\n"
        "    - {name: b, metric: rowCount, mustBeLessThan: 50}\n"
    )
    assert codes(SCHEMA + rules) == []


def test_a_check_of_others_may_be_spoken_of() -> None:
    body = "  resilience: {circuit_breaker: {open_when: [failed_ratio.bots > 50%]}}\n"
    (problem,) = lint_contract(load_contract("orders.yaml", text=HEAD + SCHEMA + body))

    assert (problem.code, problem.severity) == ("unknown-rule", ProblemSeverity.NOTE)


def test_a_fallback_on_a_contract_without_the_columns_that_consumers_read(tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text(
        HEAD + SCHEMA + "  consumers: [{name: r, columns: [email]}]\n"
        "  resilience: {circuit_breaker: {open_when: [row_count < 1]}, "
        "fallback_modes: [{level: f, source: archive}]}\n"
    )
    archive = "data_contract: {name: archive, schema: {fields: {id: integer%s}}}\n"
    (tmp_path / "archive.yaml").write_text(archive % "")
    found = [p for file in lint_paths([tmp_path]) for p in file.problems]
    (tmp_path / "archive.yaml").write_text(archive % ", email: string")
    mended = [p for file in lint_paths([tmp_path]) for p in file.problems]

    assert [p.code for p in found] == ["fallback-too-small"]
    assert "'archive', which has no 'email'" in found[-1].message
    assert "fallback-too-small" not in [p.code for p in mended]


def test_work_grows_with_the_number_of_files(tmp_path: Path) -> None:
    for number in range(400):
        (tmp_path / f"c{number}.yaml").write_text(
            f"data_contract: {{name: c{number}, schema: {{fields: {{a: string}}}}}}\n"
        )
    lint_paths([tmp_path])  # read once: what follows is lint alone

    files = sorted(tmp_path.iterdir())
    with calls_made() as few:
        lint_paths(files[:100])
    with calls_made() as many:
        lint_paths(files)

    assert many.count < 5 * few.count


def test_a_primary_key_is_required_without_being_told() -> None:
    assert codes("  schema: {fields: {id: {type: integer, primary_key: true}}}\n") == []


def _found(rule: str) -> list[tuple[str, str, str | None]]:
    schema = (
        "  schema:\n    fields:\n      id: {type: integer, required: true}\n      name: string\n"
        "      amount: {type: number, minimum: 0}\n      flag: boolean\n      at: timestamp\n"
        "      lines: {type: array}\n"
    )
    text = HEAD + schema + f"  quality:\n    - {{name: x, {rule}}}\n"
    problems = lint_contract(load_contract("orders.yaml", text=text))
    assert {p.location.line for p in problems} <= {12}
    return [(p.severity.value, p.code, p.hint) for p in problems]


@pytest.mark.parametrize(
    ("rule", "severity", "hint"),
    [
        ("expression: 'amont > 3'", "error", "did you mean 'amount'?"),
        ("metric: rowCount, must_be: 1, filter: 'amont > 3'", "error", "did you mean 'amount'?"),
        ("expression: 'warehouse is null'", "warning", "known here"),
    ],
)
def test_an_expression_that_names_what_no_column_is(rule: str, severity: str, hint: str) -> None:
    ((found, code, said),) = _found(rule)
    assert (found, code) == (severity, "unknown-column")
    assert said is not None
    assert said.startswith(hint)


@pytest.mark.parametrize(
    "rule",
    [
        "metric: mean, column: name, must_be_greater_than: 1",
        "metric: sum, column: at, must_be_greater_than: 1",
        "metric: quantile, column: amount, must_be_greater_than: 1",
        "metric: nullValues",
        "metric: duplicateValues",
        "metric: invalidValues, column: amount, pattern: '^a', must_be: 0",
        "metric: invalidValues, column: name, pattern: '(?=a)', must_be: 0",
        "expression: 'name > 3'",
        "expression: 'amount + 1 > 2 and name = 5'",
        "expression: \"amount matches 'a'\"",
        "expression: 'length(amount) > 3'",
        "expression: 'flag = 1'",
        "expression: '1 = 1'",
    ],
)
def test_a_rule_that_can_never_be_evaluated(rule: str) -> None:
    assert [(found, code) for found, code, _ in _found(rule)] == [("warning", "never-evaluated")]


@pytest.mark.parametrize(
    "rule",
    [
        "metric: mean, column: amount, must_be_greater_than: 1",
        "metric: distinctCount, column: name, must_be_greater_than: 1",
        "metric: invalidValues, column: name, pattern: '^a', must_be: 0",
        "expression: \"at > '2026-01-01' and name = 'a' and flag\"",
        "expression: \"amount * 2 >= id and length(name) > 3 and name matches '^a'\"",
        "expression: \"id = 'a'\"",
        "type: text, description: all is well",
    ],
)
def test_a_rule_that_can_be_evaluated(rule: str) -> None:
    assert _found(rule) == []


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("customers", ["never-evaluated"]),
        ("orders.nope", ["unknown-column"]),
        ("orders.id", []),
        ("customers.id", []),
    ],
)
def test_a_reference_that_leads_nowhere(reference: str, found: list[str]) -> None:
    fields = f"{{id: integer, parent: {{type: integer, references: {reference}}}}}"
    assert codes(f"  schema: {{fields: {fields}}}\n") == found


@pytest.mark.parametrize(
    ("opens", "closes", "found"),
    [
        ("duplicates > 5%", "duplicates < 10%", ["weaker-close"]),
        ("duplicates >= 5%", "duplicates <= 5%", ["weaker-close"]),
        ("duplicates > 5%", "duplicates > 1%", ["weaker-close"]),
        ("duplicates > 5% for 3 checks", "duplicates < 6%", ["weaker-close"]),
        (
            "row_count < 1 or duplicates > 5%",
            "row_count > 0 and duplicates < 10%",
            ["weaker-close"],
        ),
        ("row_count < 100", "row_count > 50", ["weaker-close"]),
        ("duplicates > 5%", "duplicates <= 5%", []),
        ("duplicates > 5%", "duplicates < 1%", []),
        ("duplicates > 5%", "duplicates < 10%, duplicates < 2%", []),
        ("duplicates > 5%", "row_count > 50", []),
        ("duplicates > 5% and row_count > 9", "duplicates < 10%", []),
    ],
)
def test_a_close_when_that_asks_for_less_than_open_when(
    opens: str, closes: str, found: list[str]
) -> None:
    breaker = f"{{open_when: [{opens}], close_when: [{closes}]}}"
    assert codes(SCHEMA + f"  resilience: {{circuit_breaker: {breaker}}}\n") == found


def test_each_condition_is_told_of_where_it_stands() -> None:
    text = (
        HEAD + SCHEMA + "  resilience:\n    circuit_breaker:\n      open_when:\n"
        "        - row_count < 5\n        - row_count < 0\n        - null_ratio.nope > 5%\n"
        "      close_when:\n        - row_count >= 5\n        - row_count < 0\n"
        "    fallback_modes:\n      - level: x\n        source: last_valid\n"
        "        activation_conditions:\n          - row_count < 2\n          - row_count < 0\n"
    )
    problems = lint_contract(load_contract("orders.yaml", text=text))
    assert [(p.location.line, p.location.column, p.code) for p in problems] == [
        (12, 11, "never-holds"),
        (13, 11, "unknown-column"),
        (16, 11, "never-holds"),
        (22, 13, "never-holds"),
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
            "{circuit_breaker: {open_when: [row_count < 1]}, "
            f"fallback_modes: [{{level: f, source: {source}}}]}}}}\n"
        )
    problems = [p for file in lint_paths([tmp_path]) for p in file.problems]
    assert [p.code for p in problems] == ["fallback-cycle"]
    assert "a -> b -> a" in problems[0].message


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("  version: v1\n", ["version-form"]),
        ("  version: '1.0'\n", ["version-form"]),
        ("  version: 1.0.0-rc.1\n", []),
        ("  successor: orders\n", ["own-successor"]),
        ("  successor: orders@1.0.0\n", ["own-successor"]),
        ("  successor: orders@2.0.0\n", []),
        ("  resilience: {fallback_modes: [{level: f, source: last_valid}]}\n", ["never-opens"]),
        (
            (
                "  resilience: {fallback_modes: [{level: f, source: last_valid, "
                "activation_conditions: [row_count < 5]}]}\n"
            ),
            [],
        ),
        (
            (
                "  sla: {row_count: '>= 10'}\n"
                "  resilience: {circuit_breaker: {open_when: [duplicates > 5% or row_count < 5]}}\n"
            ),
            ["looser-than-sla"],
        ),
    ],
)
def test_what_serves_nobody(body: str, found: list[str]) -> None:
    assert codes(SCHEMA + body) == found


@pytest.mark.parametrize(
    ("status", "until", "found"),
    [
        ("deprecated", "2026-03-01", ["past-end"]),
        ("active", "2026-03-01", ["past-end"]),
        ("deprecated", "2026-03-02", []),  # kept to the end of that day
        ("retired", "2026-03-01", []),
    ],
)
def test_a_contract_is_past_its_end_on_a_day(status: str, until: str, found: list[str]) -> None:
    text = f"{HEAD}  status: {status}\n  deprecated_until: {until}\n{SCHEMA}"
    contract = load_contract("orders.yaml", text=text)

    problems = lint_contract(contract, today=date(2026, 3, 2))

    assert [problem.code for problem in problems] == found
    assert lint_contract(contract) == ()


def test_a_version_that_two_files_carry_hides_no_circle(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HEAD + SCHEMA)
    (tmp_path / "b.yaml").write_text(
        HEAD + SCHEMA + "  resilience: {circuit_breaker: {open_when: [row_count < 5]}, "
        "fallback_modes: [{level: f, source: orders}]}\n"
    )
    found = [
        (Path(file.path).name, p.code) for file in lint_paths([tmp_path]) for p in file.problems
    ]
    assert sorted(found) == [("b.yaml", "fallback-cycle"), ("b.yaml", "version")]


def test_a_circle_of_thousands_of_contracts_is_found() -> None:
    number = 3_000
    chain = [
        Contract(
            name=f"c{i}",
            version="1.0.0",
            objects=(SchemaObject(name=f"c{i}"),),
            resilience=Resilience(
                levels=(
                    FallbackLevel(
                        name="other",
                        source=FallbackSource(SourceKind.ASSET, f"c{(i + 1) % number}"),
                    ),
                )
            ),
        )
        for i in range(number)
    ]

    ((contract, level, path),) = find_cycles(chain)

    assert (contract.name, level.source.name) == (f"c{number - 1}", "c0")
    assert path.startswith("c0 -> c1 -> ")
    assert path.endswith(f" -> c{number - 1} -> c0")
    assert find_cycles(chain[:-1]) == []


def test_every_circle_is_told_once() -> None:
    def contract(name: str, *sources: str) -> Contract:
        levels = (
            FallbackLevel(name=f"l{at}", source=FallbackSource(SourceKind.ASSET, source))
            for at, source in enumerate(sources)
        )
        return Contract(
            name=name,
            version="1.0.0",
            objects=(SchemaObject(name=name),),
            resilience=Resilience(levels=tuple(levels)),
        )

    known = [contract("a", "b", "c"), contract("b", "c", "a"), contract("c", "a", "b", "c")]

    paths = [path for _, _, path in find_cycles(known)]

    assert paths == ["a -> b -> c -> a", "b -> c -> b", "c -> c", "a -> b -> a"]
