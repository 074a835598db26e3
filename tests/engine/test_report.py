from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pandas as pd
import polars as pl
import pytest

from dagster_contracts.core.outcome import ContractReport, OutcomeStatus
from dagster_contracts.engine.report_html import report_page
from dagster_contracts.engine.validation import validate
from tests.engine.builders import INTEGER, STRING, column, contract, expression

NOW = datetime(2024, 1, 1, tzinfo=UTC)
HOSTILE = "<script>alert('&')</script>"
FRAME = pl.DataFrame({"id": [1, 1, 3], "s": ["a", HOSTILE, None], "secret": ["x", None, "y"]})
MADE = contract(
    column("id", INTEGER, unique=True),
    column("s", STRING, required=True, max_length=20),
    column("secret", STRING, required=True, classification="confidential"),
    column("gone", STRING),
    quality=(expression("odd", "id % 2 = 1", description=HOSTILE),),
)


@pytest.fixture
def report():
    return validate(FRAME, MADE, now=NOW, evaluation_id="e1")


def test_a_polars_frame_has_a_row_for_each_outcome_in_typed_columns(report) -> None:
    frame = report.to_polars()

    assert frame["rule"].to_list() == [outcome.rule for outcome in report.outcomes]
    assert frame.schema["failed_rows"] == pl.Int64
    assert frame.schema["failed_ratio"] == pl.Float64
    failed = frame.filter(status="failed", column="s").select("rule", "failed_rows", "rows_tested")
    assert failed.rows() == [("s.required", 1, 3), ("s.max_length", 1, 3)]


def test_a_pandas_frame_has_the_same_rows_and_keeps_gaps(report) -> None:
    frame = report.to_pandas()

    assert list(frame["rule"]) == [outcome.rule for outcome in report.outcomes]
    assert frame["failed_rows"].dtype == pd.Int64Dtype()
    assert frame["status"].cat.categories.tolist() == [str(status) for status in OutcomeStatus]
    assert frame["column"].isna().sum() == report.to_polars()["column"].null_count()


def test_a_report_without_outcomes_has_empty_frames(report) -> None:
    empty = replace(report, outcomes=())

    assert empty.to_polars().schema == report.to_polars().schema
    assert len(empty.to_pandas()) == 0


def test_the_rows_that_break_a_rule_make_a_frame(report) -> None:
    rows = report.failures("s.required")

    assert pl.DataFrame(rows)["s"].to_list() == [None]
    assert report.failures("s.present") == ()
    assert {outcome.rule for outcome in report.failures()} >= {"id.unique", "s.required"}
    with pytest.raises(LookupError, match="has no rule"):
        report.failures("s.requird")


def test_it_reads_well_in_a_terminal(report) -> None:
    assert repr(report).startswith("<ContractReport orders@1.0.0 failed: ")
    assert "\n" not in repr(report)
    assert "s.required: 1 of 3 rows" in str(report)


def test_it_is_a_value_like_any_report(report) -> None:
    assert isinstance(report, ContractReport)
    assert pickle.loads(pickle.dumps(report)) == report == copy.copy(report)


class Page(HTMLParser):
    """Checks that every element is closed, and gathers names and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text) -> None:
        self.text += text


@pytest.mark.parametrize("render", [report_page, lambda report: report._repr_html_()])
def test_html_is_whole_escaped_and_needs_nothing_else(report, render) -> None:
    page = Page()
    page.feed(render(report))

    assert page.open == []
    assert "script" not in page.seen
    assert page.links == []
    assert HOSTILE in page.text
    assert "s.required" in page.text


def test_what_must_stay_hidden_stays_hidden_everywhere(report) -> None:
    shown = validate(FRAME.with_columns(secret=pl.lit("hunter2")), MADE, now=NOW)

    for text in (repr(shown), str(shown), report_page(shown), str(shown.failures("odd"))):
        assert "hunter2" not in text


def test_progress_tells_the_steps() -> None:
    steps: list[str] = []

    validate(FRAME, MADE, now=NOW, progress=steps.append)

    assert steps[0] == "reading the data"
    assert any(step.startswith("measuring ") for step in steps)
    assert any(step.startswith("looking for rows ") for step in steps)


def test_nothing_is_printed(capfd) -> None:
    validate(FRAME, MADE, now=NOW)

    assert capfd.readouterr() == ("", "")
