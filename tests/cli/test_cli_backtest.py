"""``backtest``: the recorded history under the rules of a contract or of an edited file."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa

from dagster_contracts.cli.backtest_picture import draw
from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.resilience.backtest import Backtest, CircuitBacktest, Curve
from dagster_contracts.store.tables import observations
from tests.cli.conftest import ORDERS, Project
from tests.resilience.conftest import make_contract


@pytest.fixture
def recorded(project: Project) -> Project:
    for data in ("good.csv", "bad.csv", "good.csv"):
        project.evaluate(data)
    return project


def test_it_tells_what_would_have_happened_beside_what_did(recorded: Project) -> None:
    ran = recorded.run("backtest", "orders")

    assert ran.code == 0
    assert "orders/orders under 1.0.0: 3 evaluations" in ran.stdout
    assert re.search(r"would have opened 1 time, ", ran.stdout)
    assert re.search(r"as recorded: +1 time, ", ran.stdout)
    assert "served: 1 primary, 2 last_valid" in ran.stdout
    assert "which is > 5%" in ran.stdout


def test_an_edited_file_is_tried_without_touching_anything(recorded: Project) -> None:
    looser = ORDERS.format(version="1.1.0").replace("errors > 5%", "errors >= 100% for 2 checks")
    recorded.write("draft.yaml", looser)

    ran = recorded.run("backtest", "draft.yaml", "--format", "json")

    (circuit,) = ran.json["circuits"]
    assert (ran.json["version"], circuit["evaluations"]) == ("1.1.0", 3)
    assert circuit["openings"] == []
    assert len(circuit["recorded_openings"]) == 1
    assert [each["level"] for each in circuit["served"]] == ["primary"]
    assert "open for" in recorded.run("status", "orders").stdout


def test_the_picture_is_svg_with_the_metric_and_its_threshold(recorded: Project) -> None:
    ran = recorded.run("backtest", "orders", "--picture", "orders.svg")

    assert "drawn into orders.svg" in ran.stdout
    picture = ElementTree.fromstring((recorded.root / "orders.svg").read_text())
    texts = ["".join(each.itertext()) for each in picture.iter() if each.tag.endswith("text")]
    assert "schema_validation_errors" in texts
    assert "> 5%" in texts
    assert "last_valid" in texts
    assert sum(each.tag.endswith("circle") for each in picture.iter()) == 3


def test_what_retention_removed_is_a_gap_and_no_closed_circuit(recorded: Project) -> None:
    store = recorded.store()
    with store.begin() as conn:
        begin = store.now(conn) - timedelta(days=5)
        first = sa.select(sa.func.min(observations.c.observed_at)).scalar_subquery()
        gone = observations.c.observed_at == first
        conn.execute(sa.delete(observations).where(gone))
    store.close()

    ran = recorded.run("backtest", "orders", "--since", "5d", "--picture", "cut.svg")
    told = recorded.run("backtest", "orders", "--since", "5d", "--format", "json").json

    assert re.search(r"orders/orders under 1.0.0: 2 evaluations in \d+m?s", ran.stdout)
    assert re.search(
        r"recorded since \S+ \S+ UTC; what came before was removed by retention or never recorded",
        ran.stdout,
    )
    assert "_" * 71 in ran.stdout
    assert "_ not recorded" in ran.stdout
    assert told["recorded_since"] == told["circuits"][0]["since"]
    assert datetime.fromisoformat(told["recorded_since"]) > begin + timedelta(days=4)
    assert told["circuits"][0]["served"][0]["since"] == told["recorded_since"]
    picture = (recorded.root / "cut.svg").read_text()
    assert picture.count('class="gap"') == 3 + 1
    assert "not recorded" in picture


def test_names_in_the_picture_are_escaped(recorded: Project) -> None:
    odd = ORDERS.format(version="1.0.0").replace("level: last_valid", 'level: "<b>&"')
    recorded.write("odd.yaml", odd)

    recorded.run("backtest", "odd.yaml", "--picture", "odd.svg")

    assert "&lt;b&gt;&amp;" in (recorded.root / "odd.svg").read_text()


def test_without_evaluations_it_says_so(recorded: Project) -> None:
    assert "no evaluation of orders" in recorded.run("backtest", "orders", "--asset", "x").stdout


def test_without_a_store_it_is_refused(project: Project) -> None:
    ran = project.run("backtest", "orders")

    assert ran.code == 2
    assert "nothing was recorded at" in ran.stderr


def test_a_contract_without_rules_is_refused(recorded: Project) -> None:
    ran = recorded.run("backtest", "prices")

    assert ran.code == 2
    assert "has no circuit to replay" in ran.stderr
    assert "open_when" in ran.stderr


def test_a_duration_that_is_none_is_refused(recorded: Project) -> None:
    ran = recorded.run("backtest", "orders", "--since", "soon")

    assert ran.code == 2
    assert "--since" in ran.stderr


def test_the_picture_draws_the_age_that_opens_and_what_really_happened(recorded: Project) -> None:
    aged = ORDERS.format(version="1.0.0").replace(
        "open_when: [schema", "open_when: [materialization_age > 2h, schema"
    )
    recorded.write("aged.yaml", aged)

    recorded.run("backtest", "aged.yaml", "--picture", "aged.svg")

    picture = ElementTree.fromstring((recorded.root / "aged.svg").read_text())
    texts = ["".join(each.itertext()) for each in picture.iter() if each.tag.endswith("text")]
    assert {"materialization_age", "> 2h", "as it really was"} <= set(texts)
    # Three values of the other metric; of the age one at each batch before and after, and now.
    assert sum(each.tag.endswith("circle") for each in picture.iter()) == 3 + 6


def test_a_metric_that_was_never_recorded_is_said_to_be_unknown(recorded: Project) -> None:
    odd = ORDERS.format(version="1.0.0").replace("schema_validation_errors > 5%", "bots > 5%")
    recorded.write("odd.yaml", f"{odd}  metrics: {{bots: ratio}}\n")

    ran = recorded.run("backtest", "odd.yaml")

    assert "would have opened never" in ran.stdout
    assert "bots was never recorded, so that conditions on it stayed unknown" in ran.stdout


def test_a_long_history_is_drawn_with_as_many_points_as_can_be_seen() -> None:
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    contract = make_contract("schema_validation_errors > 5%")
    until = begin + timedelta(seconds=40_000)
    curve = Curve(begin, until)
    for number in range(40_000):
        curve.add(begin + timedelta(seconds=number), Fraction(int(number == 31_234), 2))
    one = CircuitBacktest(
        key=CircuitKey("orders", "orders"),
        evaluations=40_000,
        openings=(),
        stretches=(),
        recorded=(),
        since=begin,
        curves={"schema_validation_errors": curve.points},
    )

    drawn = draw(Backtest(contract=contract, since=begin, until=until, circuits=(one,)))

    assert drawn.count("<circle") < 4 * 860
    assert "08:40: 50" in drawn  # the one value that is not like the others
    assert len(drawn) < 1_000_000
