"""``backtest``: the recorded history under the rules of a contract or of an edited file."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa

from dagster_contracts.cli.backtest import _lines
from dagster_contracts.cli.backtest_picture import draw
from dagster_contracts.core.circuit import CircuitKey, CircuitState
from dagster_contracts.resilience.backtest import Backtest, CircuitBacktest, Curve, Stretch
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


def test_a_while_in_which_it_was_open_all_along_says_so(recorded: Project) -> None:
    store = recorded.store()
    with store.begin() as conn:
        # The same three evaluations, an hour ago.
        earlier = {
            name: sa.type_coerce(observations.c[name], sa.BigInteger) - 3_600_000_000
            for name in ("observed_at", "evaluated_at")
        }
        conn.execute(sa.update(observations).values(earlier))
    store.close()

    ran = recorded.run("backtest", "orders", "--since", "60s", "--picture", "open.svg")
    (told,) = recorded.run("backtest", "orders", "--since", "60s", "--format", "json").json[
        "circuits"
    ]

    assert ran.code == 0
    assert "orders/orders under 1.0.0: 0 evaluations in 1min" in ran.stdout
    assert "  replayed since 20" in ran.stdout
    assert "would have opened 1 time, 1min in all (100.0%), open at the beginning" in ran.stdout
    assert re.search(r"opened \S+ \S+ UTC, before that time, for 1h.*, and still is: ", ran.stdout)
    assert "served last_valid for 1min" in ran.stdout
    assert "drawn into open.svg" in ran.stdout
    assert told["evaluations"] == 0
    assert 59 < told["seconds_open"] < 61


@pytest.mark.parametrize("folder", [True, False])
def test_a_name_that_nothing_has_is_refused_with_a_near_one(
    recorded: Project, folder: bool
) -> None:
    odd = ORDERS.format(version="1.0.0").replace("name: orders", "name: ordres", 1)
    recorded.write("draft.yaml", odd)
    if not folder:
        (recorded.root / "contracts").rename(recorded.root / "elsewhere")

    ran = recorded.run("--store", f"sqlite:///{recorded.state}", "backtest", "draft.yaml")

    assert ran.code == 2
    assert "nothing was ever recorded of a contract 'ordres'" in ran.stderr
    assert "did you mean 'orders'?" in ran.stderr


def test_a_declared_contract_without_evaluations_is_no_mistake(recorded: Project) -> None:
    recorded.write(
        "contracts/other/1.0.0.yaml",
        ORDERS.format(version="1.0.0").replace("name: orders", "name: other", 1),
    )

    ran = recorded.run("backtest", "other")

    assert ran.code == 0
    assert "no evaluation of other was recorded" in ran.stdout


def test_a_reset_ends_an_opening_and_an_override_is_left_out_by_name(recorded: Project) -> None:
    recorded.run("reset", "orders", "--actor", "ada", "--reason", "mended")
    recorded.run("force-open", "orders", "--actor", "bob", "--reason", "cents")

    ran = recorded.run("backtest", "orders")
    told = recorded.run("backtest", "orders", "--format", "json").json

    assert re.search(r"closed \S+ \S+ UTC: reset by ada: mended", ran.stdout)
    assert re.search(
        r"not replayed: orders/orders, \S+ \S+ UTC, and still stands: "
        r"forced open by bob until it is lifted: cents",
        ran.stdout,
    )
    assert [opening["ended"] for opening in told["circuits"][0]["openings"]] == [
        "reset by ada: mended"
    ]
    assert [(each["asset"], each["until"]) for each in told["left_out"]] == [("orders", None)]


def stretch(since: int, until: int, state: CircuitState, level: str | None = "cached") -> Stretch:
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    moments = {
        "since": begin + timedelta(minutes=since),
        "until": begin + timedelta(minutes=until),
    }
    return Stretch(**moments, state=state, level=level, reason="")


def told(stretches: list[Stretch]) -> str:
    first, last = stretches[0].since, stretches[-1].until
    one = CircuitBacktest(
        key=CircuitKey("orders", "orders"),
        evaluations=1,
        openings=(),
        stretches=tuple(stretches),
        recorded=(),
        since=first,
    )
    contract = make_contract("schema_validation_errors > 5%")
    result = Backtest(contract=contract, since=first, until=last, circuits=(one,))
    return "\n".join(text for text, _ in _lines(result))


def test_being_probed_for_a_moment_hides_no_opening() -> None:
    strip = told(
        [
            stretch(0, 50_000, CircuitState.CLOSED),
            stretch(50_000, 50_015, CircuitState.OPEN),
            stretch(50_015, 50_015, CircuitState.HALF_OPEN),
            stretch(50_015, 60_000, CircuitState.CLOSED),
            stretch(60_000, 70_000, CircuitState.HALF_OPEN),
        ]
    ).splitlines()[4]

    assert re.fullmatch(r"  \.+#\.+\?+  circuit: .*", strip)


def test_what_partitions_were_served_differently_is_said_in_the_picture() -> None:
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    mixed = replace(
        stretch(0, 9, CircuitState.OPEN, None), levels=("cached", None), reason="it is open"
    )
    one = CircuitBacktest(
        key=CircuitKey("orders", "orders"),
        evaluations=1,
        openings=(),
        stretches=(mixed,),
        recorded=(),
        since=begin,
    )
    contract = make_contract("schema_validation_errors > 5%")

    drawn = draw(Backtest(contract=contract, since=begin, until=mixed.until, circuits=(one,)))

    assert "cached or nothing, by partition: it is open" in drawn
