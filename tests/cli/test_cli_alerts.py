"""The alerts that a store holds, silenced, acknowledged, and not delivered."""

from __future__ import annotations

import pytest

from dagster_contracts.core.contract import Severity
from dagster_contracts.monitoring.alerts import AlertBook, AlertKind, AlertLabels
from dagster_contracts.monitoring.notifications import NotificationQueue
from tests.cli.conftest import Project

OPEN = AlertLabels(kind=AlertKind.CIRCUIT_OPEN, contract="orders", asset="orders")
ODD = AlertLabels(kind=AlertKind.ANOMALY, contract="prices", asset="prices", subject="row_count")


@pytest.fixture
def alerted(project: Project) -> Project:
    """The project with one alert that fires and one that was resolved."""
    store = project.store()
    book = AlertBook(store)
    with store.begin() as conn:
        now = store.now(conn)
        book.fire(
            conn,
            OPEN,
            severity=Severity.ERROR,
            summary="orders opened",
            detail="schema_validation_errors was 7.0%, which is > 5%",
            recipients=["shop"],
            now=now,
        )
        book.fire(conn, ODD, severity=Severity.WARNING, summary="few rows", now=now)
        book.resolve(conn, ODD, now=now)
    store.close()
    return project


def test_what_fires_is_told_with_its_reason(alerted: Project) -> None:
    ran = alerted.run("alerts")

    assert ran.code == 0
    assert "firing circuit.open orders/orders: orders opened" in ran.stdout
    assert "told shop" in ran.stdout
    assert "schema_validation_errors was 7.0%, which is > 5%" in ran.stdout
    assert "few rows" not in ran.stdout
    assert ran.stdout.endswith("1 alert\n")


def test_all_has_the_resolved_ones_too(alerted: Project) -> None:
    found = alerted.run("alerts", "--all", "--format", "json").json["alerts"]

    assert {(alert["contract"], alert["state"]) for alert in found} == {
        ("orders", "firing"),
        ("prices", "resolved"),
    }


def test_the_alerts_of_one_contract(alerted: Project) -> None:
    assert alerted.run("alerts", "prices").stdout == "no alert\n"
    assert len(alerted.run("alerts", "orders", "--format", "json").json["alerts"]) == 1


def test_an_alert_is_acknowledged_by_the_id_that_is_shown(alerted: Project) -> None:
    shown = alerted.run("alerts").stdout
    mark = OPEN.fingerprint[:8]
    assert f"id {mark}" in shown

    ran = alerted.run("acknowledge", mark, "--reason", "I call the shop", "--actor", "ada")

    assert ran.code == 0
    assert ran.stdout.startswith("acknowledged by ada: orders opened\n")
    assert "acknowledged by ada" in alerted.run("alerts").stdout


@pytest.mark.parametrize(("mark", "said"), [("ffff", "no alert that fires is 'ffff'"), ("", "''")])
def test_an_id_that_no_alert_has_is_an_error(alerted: Project, mark: str, said: str) -> None:
    ran = alerted.run("acknowledge", mark, "--reason", "x", "--actor", "ada")

    assert ran.code == 2
    assert said in ran.stderr


def test_a_silence_is_set_seen_and_ended(alerted: Project) -> None:
    words = ["contract=orders", "kind=circuit.*", "--for", "2h", "--reason", "migration"]

    added = alerted.run("silence", "add", *words, "--actor", "ada")
    listed = alerted.run("silence", "list", "--format", "json").json["silences"]
    quiet = alerted.run("alerts").stdout
    ended = alerted.run("silence", "expire", "1", "--actor", "grace")

    assert added.stdout.startswith("silence 1 until ")
    assert "keeps 1 alert quiet" in added.stdout
    assert [(each["actor"], each["reason"], each["matchers"]) for each in listed] == [
        ("ada", "migration", {"contract": "orders", "kind": "circuit.*"})
    ]
    assert "by silence 1 of ada: migration" in quiet
    assert ended.code == 0
    assert alerted.run("silence", "list").stdout == "no alert is silenced\n"
    assert "migration" in alerted.run("silence", "list", "--all").stdout
    assert alerted.run("silence", "expire", "1", "--actor", "grace").code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["contract:orders"], "is no matcher"),
        (["contrat=orders"], "no label 'contrat'"),
        (["contract=a", "contract=b"], "matched twice"),
    ],
)
def test_a_wrong_matcher_is_explained(alerted: Project, words: list[str], said: str) -> None:
    ran = alerted.run("silence", "add", *words, "--for", "1h", "--reason", "x", "--actor", "ada")

    assert ran.code == 2
    assert said in ran.stderr


def test_what_could_not_be_delivered_is_seen(alerted: Project) -> None:
    store = alerted.store()
    queue = NotificationQueue(store, max_attempts=1)
    with store.begin() as conn:
        queue.put(conn, "gone", "orders/circuit", AlertBook(store).alerts(conn=conn))
    queue.send_due({})
    store.close()

    assert "not delivered to gone after 1 attempt" in alerted.run("alerts").stdout
    (undelivered,) = alerted.run("alerts", "--format", "json").json["undelivered"]
    assert undelivered["error"] == "the channel gone is no longer configured"


def test_a_report_is_made_listed_and_answered(project: Project) -> None:
    project.run("db", "upgrade")

    made = project.run("feedback", "report", "orders", "Friday is in cents", "--consumer", "bi")
    listed = project.run("feedback", "list", "--format", "json").json["reports"]
    answered = project.run("feedback", "answer", "1", "loaded again", "--actor", "ada")

    assert made.stdout.startswith("report 1 of orders by bi: Friday is in cents\n")
    assert "1 report open" in made.stdout
    assert [(each["consumer"], each["text"]) for each in listed] == [("bi", "Friday is in cents")]
    assert answered.stdout == "report 1 answered by ada: loaded again\n"
    assert project.run("feedback", "list").stdout == "no report is open\n"
    assert "ada: loaded again" in project.run("feedback", "list", "--all").stdout
    assert project.run("feedback", "answer", "1", "again", "--actor", "ada").code == 2
    assert project.run("feedback", "answer", "9", "again", "--actor", "ada").code == 2
    unknown = project.run("feedback", "report", "ordres", "x", "--consumer", "bi")
    assert (unknown.code, "did you mean 'orders'?" in unknown.stderr) == (2, True)
