from __future__ import annotations

import sys

import pandera.pandas as pa
import pandera.polars as pap
import polars as pl
import pytest

from dagster_contracts.core.contract import QualityRule, RuleKind
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.validation import validate
from tests.engine.builders import INTEGER, STRING, as_kind, column, contract, outcome, threshold

FRAME = pl.DataFrame({"n": [1, -1, None], "s": ["a", "b", "c"]})


def rule(implementation, engine="python", **fields) -> QualityRule:
    return QualityRule(
        name="r", kind=RuleKind.CUSTOM, engine=engine, implementation=implementation, **fields
    )


def run(quality, data=FRAME, **options):
    made = contract(column("n", INTEGER), column("s", STRING), quality=(quality,))
    return outcome(validate(data, made, **options), "r")


def negative_rows(frame, column):
    return int((frame[column] < 0).sum())


def refuses(frame):
    return frame.height == 0


def explains(frame):
    return {
        "failed_rows": 1,
        "rows_tested": 2,
        "reason": "because",
        "samples": [{"n": -1}, {"n": -2}],
    }


def raises(frame):
    raise RuntimeError("boom\nwith more lines")


def test_a_function_counts_rows_and_knows_its_column():
    found = run(rule("mine", column="n"), custom={"mine": negative_rows})
    assert (found.failed_rows, found.rows_tested) == (1, 3)
    tolerant = rule("mine", column="n", threshold=threshold("mustBeLessThan", 2))
    assert run(tolerant, custom={"mine": negative_rows}).status is OutcomeStatus.PASSED


def test_a_function_says_yes_or_no_or_explains_itself():
    assert run(rule("no"), custom={"no": refuses}).status is OutcomeStatus.FAILED
    found = run(rule({"function": "it"}), custom={"it": explains}, samples=1)
    assert (found.failed_rows, found.rows_tested, found.reason) == (1, 2, "because")
    assert found.samples == ({"n": -1},)


@pytest.mark.parametrize(
    ("implementation", "reason"),
    [
        ("bad", "the rule raised RuntimeError: boom"),
        ("nowhere", "'nowhere' is not written as module:function"),
        ("no_such_module:f", "cannot be imported"),
        ("math:no_such", "cannot be imported"),
        ("math:pi", "is no function"),
        ("odd", "the function returned str"),
        (None, "must name a function"),
    ],
)
def test_a_rule_that_cannot_run_says_why(implementation, reason):
    found = run(
        rule(implementation),
        custom={"bad": raises, "odd": lambda frame: "yes"},
        allow_code=["no_such_module", "math"],
    )
    assert found.status is OutcomeStatus.NOT_EVALUATED
    assert reason in (found.reason or "")


HERE = "tests.engine.test_custom"


@pytest.mark.parametrize(
    ("implementation", "allowed"),
    [
        (f"{HERE}:refuses", ()),
        (f"{HERE}:refuses", ["tests.eng", "test_custom", f"{HERE}.more"]),
        (f"{HERE}:pl.read_csv", [HERE]),
        ("os:system", [HERE]),
    ],
)
def test_code_that_is_not_allowed_does_not_run(implementation, allowed):
    for engine in ("python", "pandera"):
        found = run(rule(implementation, engine=engine), allow_code=allowed)
        assert found.status is OutcomeStatus.NOT_EVALUATED
        assert "is not allowed to run here" in (found.reason or "")


@pytest.mark.parametrize("allowed", [HERE, "tests.engine", "tests"])
def test_code_of_an_allowed_module_runs(allowed):
    found = run(rule(f"{HERE}:refuses"), allow_code=[allowed])
    assert found.reason == "the function returned False"


def test_an_unknown_engine_is_said_to_be_unknown():
    found = run(rule("{}", engine="soda"))
    assert found.status is OutcomeStatus.NOT_EVALUATED
    assert found.reason == "the engine 'soda' is not known here"


class Orders(pa.DataFrameModel):
    n: float = pa.Field(ge=0, nullable=True)
    s: str


def test_a_pandera_schema_of_the_team_counts_rows(kind, tmp_path):
    data = as_kind(FRAME.to_arrow(), kind, tmp_path)
    schema = pa.DataFrameSchema(
        {"n": pa.Column(float, pa.Check.ge(0), nullable=True, coerce=True), "s": pa.Column()}
    )
    found = run(rule("theirs", engine="pandera"), data, custom={"theirs": schema})
    assert (found.failed_rows, found.rows_tested) == (1, 3)
    assert found.samples[0]["n"] == -1
    model = run(rule("theirs", engine="pandera"), data, custom={"theirs": Orders})
    assert model.status is OutcomeStatus.FAILED


def test_a_pandera_check_and_a_polars_schema():
    check = pa.Check.ge(0)
    found = run(rule("c", engine="pandera", column="n"), custom={"c": check})
    assert found.failed_rows == 1
    alone = run(rule("c", engine="pandera"), custom={"c": check})
    assert alone.status is OutcomeStatus.NOT_EVALUATED
    schema = pap.DataFrameSchema({"n": pap.Column(pl.Int64, pap.Check.ge(0), nullable=True)})
    assert run(rule("p", engine="pandera"), custom={"p": schema}).failed_rows == 1
    whole = pap.DataFrameSchema({"gone": pap.Column(pl.Int64)})
    assert run(rule("p", engine="pandera"), custom={"p": whole}).status is OutcomeStatus.FAILED


def test_a_function_that_wants_to_leave_is_kept():
    found = run(rule("leave"), custom={"leave": lambda frame: sys.exit(3)})
    assert found.status is OutcomeStatus.NOT_EVALUATED
    assert found.reason == "the rule raised SystemExit: 3"


@pytest.mark.parametrize(
    "returned",
    [
        *(None, "yes", -1, 1.0, float("nan"), 4, FRAME),
        *({"failed_rows": failed} for failed in (4, -1, None, "1")),
        {"failed_rows": 2, "rows_tested": 1},
        *({"failed_rows": 1, "samples": samples} for samples in (5, [1])),
    ],
)
def test_what_is_no_answer_is_not_evaluated(returned):
    found = run(rule("it"), custom={"it": lambda frame: returned})
    assert found.status is OutcomeStatus.NOT_EVALUATED
    assert found.reason


@pytest.mark.parametrize("kind", ["polars", "pandas", "pandas_arrow"])
def test_a_function_changes_no_frame_but_its_own(kind, tmp_path):
    def changes(frame):
        if kind == "polars":
            frame[0, "n"] = -5
            frame.insert_column(0, pl.Series("more", [1, 2, 3]))
        else:
            frame.loc[0, "n"] = -5
            frame.drop(index=[1], inplace=True)
        return True

    data = as_kind(FRAME.to_arrow(), kind, tmp_path)
    before = data.copy() if hasattr(data, "iloc") else data.clone()
    changing = rule("changes")
    later = QualityRule(name="later", kind=RuleKind.CUSTOM, implementation="rows")
    made = contract(column("n", INTEGER, minimum=0), quality=(changing, later))
    report = validate(
        data, made, custom={"changes": changes, "rows": lambda frame: len(frame) == 3}
    )
    assert outcome(report, "r").status is OutcomeStatus.PASSED
    assert outcome(report, "later").status is OutcomeStatus.PASSED
    assert [row["n"] for row in outcome(report, "n.minimum").samples] == [-1]
    assert data.equals(before)
