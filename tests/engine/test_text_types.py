"""Text of CSV and JSON, read as the contract declares it: zones, long integers, SQL, references."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from dagster_contracts.core.contract import Contract, QualityRule, Relationship, RuleKind
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine import file_source
from dagster_contracts.engine.profiling import profile
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
    DATE,
    INTEGER,
    NUMBER,
    STRING,
    TIMESTAMP,
    column,
    contract,
    expression,
    failed_rows,
    outcome,
    threshold,
)

NAIVE, ZONED = "2019-05-01T00:00:00", "2019-05-01 02:00:00+02:00"


def write(folder, rows, ending="csv"):
    path = folder / f"rows.{ending}"
    if ending == "csv":
        names = list(rows[0])
        lines = [",".join("" if row[n] is None else str(row[n]) for n in names) for row in rows]
        path.write_text("\n".join([",".join(names), *lines]) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def of(*values, name="t"):
    return [{"k": number, name: value} for number, value in enumerate(values)]


@pytest.fixture(params=["held", "on_disk"])
def kept(request, monkeypatch):
    """Small files are held in memory; others are kept on disk as they are read."""
    if request.param == "on_disk":
        monkeypatch.setattr(file_source, "_SMALL_FILES", 0)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("timezone", [None, True, False])
@pytest.mark.parametrize("zoned", [True, False])
def test_text_is_judged_as_a_frame_is(tmp_path, kept, ending, timezone, zoned):
    limit = datetime(2020, 1, 1, tzinfo=UTC if zoned else None)
    made = contract(column("t", TIMESTAMP, timezone=timezone, minimum=limit, required=True))
    path = write(tmp_path, of(ZONED if zoned else NAIVE, None), ending)
    frame = pl.DataFrame({"t": [datetime(2019, 5, 1, tzinfo=UTC if zoned else None), None]})
    found, expected = validate(path, made), validate(frame, made)
    assert [(o.rule, o.status, o.failed_rows or 0, o.reason) for o in found.outcomes] == [
        (o.rule, o.status, o.failed_rows or 0, o.reason) for o in expected.outcomes
    ]
    assert (outcome(found, "t.type").status is OutcomeStatus.PASSED) == (timezone in (None, zoned))


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("timezone", "misfits"), [(None, [0, 2]), (True, [0, 2]), (False, [1, 2, 3])]
)
def test_of_mixed_text_what_is_not_as_declared_is_a_misfit(tmp_path, ending, timezone, misfits):
    path = write(tmp_path, of(NAIVE, ZONED, "yesterday", ZONED, None), ending)
    made = contract(column("k", INTEGER), column("t", TIMESTAMP, timezone=timezone, required=True))
    report = validate(path, made)
    assert failed_rows(report) == {"t.type": len(misfits), "t.required": 1}
    assert [row["row"] for row in outcome(report, "t.type").samples] == misfits


def test_times_that_are_not_there_have_any_zone(tmp_path):
    for zone in (None, UTC):
        limit = datetime(2020, 1, 1, tzinfo=zone)
        made = contract(column("k", INTEGER), column("t", TIMESTAMP, minimum=limit))
        assert failed_rows(validate(write(tmp_path, of(None, None)), made)) == {}
        report = validate(write(tmp_path, of(None, "soon")), made)
        assert failed_rows(report) == {"t.type": 1}
        assert {o.status for o in report.outcomes} <= {OutcomeStatus.PASSED, OutcomeStatus.FAILED}


def test_a_profile_says_whether_times_have_zones(tmp_path):
    kinds = []
    for value in (NAIVE, ZONED):
        found = profile(write(tmp_path, of(value, value, None)))
        kinds.append([c.logical_type for c in found.columns if c.name == "t"])
    assert kinds == [[TIMESTAMP], [TIMESTAMP]]


SQL = {
    "negative": ("SELECT count(*) FROM ${table} WHERE f < 0", 1),
    "total": ("SELECT sum(i) FROM ${table}", 18446744073709551618),
    "late": ("SELECT count(*) FROM ${table} WHERE d > DATE '2020-01-01'", 1),
    "hour": ("SELECT count(*) FROM ${table} WHERE hour(t) = 0", 2),
    "text": ("SELECT count(*) FROM ${table} WHERE s = '007'", 1),
    "unread": ("SELECT count(*) FROM ${table} WHERE d IS NULL", 1),
}


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_sql_rules_see_the_types_of_the_contract(tmp_path, ending):
    rows = [
        {"f": 1.5, "i": 2**64 - 1, "d": "2021-01-01", "t": NAIVE, "s": "007"},
        {"f": -2.0, "i": 3, "d": "never" if ending == "csv" else None, "t": NAIVE, "s": "8"},
    ]
    rules = [
        QualityRule(name=n, kind=RuleKind.SQL, query=q, threshold=threshold("mustBe", value))
        for n, (q, value) in SQL.items()
    ]
    made = contract(
        column("f", NUMBER),
        column("i", INTEGER),
        column("d", DATE),
        column("t", TIMESTAMP),
        column("s", STRING),
        quality=tuple(rules),
    )
    report = validate(write(tmp_path, rows, ending), made, allow_sql=True)
    found = {name: (outcome(report, name).status, outcome(report, name).reason) for name in SQL}
    assert found == dict.fromkeys(SQL, (OutcomeStatus.PASSED, None))


@pytest.mark.parametrize("known", [True, False])
def test_the_other_side_of_a_reference_is_read_with_its_types(tmp_path, known):
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other", of("01", "2", name="id"))
    made = contract(
        column("o", INTEGER), relationships=(Relationship(columns=("o",), to=("customers.id",)),)
    )
    if known:
        target = replace(made.objects[0], name="customers", relationships=())
        target = replace(target, properties=(column("id", INTEGER), column("k", INTEGER)))
        made = Contract(name="c", version="1.0.0", objects=(*made.objects, target))
    frame = pl.DataFrame({"o": [1, 2, 9, None]})
    for data in (
        frame,
        write(tmp_path, frame.to_dicts()),
        write(tmp_path, frame.to_dicts(), "jsonl"),
    ):
        report = validate(data, made, references={"customers": other})
        assert failed_rows(report) == {"o.references": 1}, data


@pytest.mark.parametrize(
    "name", ['a"b', '"', 'a,"b', 'say ""no""'], ids=["one", "alone", "comma", "two"]
)
def test_quotes_in_the_names_of_columns(tmp_path, name):
    quoted = '"' + name.replace('"', '""') + '"'
    for number in (1, 2):
        (tmp_path / f"{number}.csv").write_text(f"{quoted},c\n1,x\n,y\n")
    made = contract(column(name, INTEGER, required=True), column("c", STRING))
    assert failed_rows(validate(tmp_path / "1.csv", made)) == {f"{name}.required": 1}
    assert failed_rows(validate(tmp_path, made)) == {f"{name}.required": 2}


def test_a_name_with_quotes_is_not_there_twice(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('"a""b","a""b"\n1,2\n')
    report = validate(path, contract(column('a"b', STRING)))
    assert "occurs more than once" in (outcome(report, 'a"b.present').reason or "")


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("big", [2**63, 2**64 - 1, 2**64, -(2**63) - 1])
def test_integers_of_any_length_that_text_can_have(tmp_path, kept, ending, big):
    made = contract(
        column("k", INTEGER),
        column("n", INTEGER, unique=True, maximum=2**63 - 1, multiple_of=2),
        quality=(expression("less", "n - 200 < n"), expression("equal", f"n != {big}")),
    )
    report = validate(write(tmp_path, of(big, 4, big, None, name="n"), ending), made)
    expected = {"n.unique": 1, "equal": 2}
    if big > 0:
        expected["n.maximum"] = 2
    if big % 2:
        expected["n.multiple_of"] = 2
    assert failed_rows(report) == expected
    assert {o.status for o in report.outcomes} <= {OutcomeStatus.PASSED, OutcomeStatus.FAILED}
