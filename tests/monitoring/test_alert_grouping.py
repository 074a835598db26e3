"""What a group of alerts says, and when: Alertmanager's rules, one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from dagster_contracts.core.contract import Severity
from dagster_contracts.monitoring.alert import Alert, AlertKind, AlertLabels, AlertState
from dagster_contracts.monitoring.grouping import (
    GroupMemory,
    GroupPlan,
    GroupTiming,
    group_key,
    plan_group,
)

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
TIMING = GroupTiming(
    wait=timedelta(seconds=30), interval=timedelta(minutes=5), repeat_after=timedelta(hours=4)
)


def at(**after: float) -> datetime:
    return START + timedelta(**after)


def alert(partition: str = "", **fields: object) -> Alert:
    settings = {
        "labels": AlertLabels(
            kind=AlertKind.CIRCUIT_OPEN, contract="orders", asset="orders", partition=partition
        ),
        "version": "1.0.0",
        "severity": Severity.ERROR,
        "summary": "Circuit open",
        "detail": "",
        "state": AlertState.FIRING,
        "notice": False,
        "recipients": ("ops",),
        "starts_at": START,
        "updated_at": START,
        "ends_at": None,
        "firings": 1,
        "acknowledged_by": None,
        "acknowledged_at": None,
    }
    return Alert(**{**settings, **fields})  # type: ignore[arg-type]


class Group:
    """A group over time, with its memory."""

    def __init__(self) -> None:
        self.memory = GroupMemory(told={})
        self.quiet: set[str] = set()

    def says(self, now: datetime, *alerts: Alert) -> list[str]:
        plan: GroupPlan = plan_group(
            alerts,
            self.memory,
            TIMING,
            quiet=lambda alert: alert.fingerprint in self.quiet,
            now=now,
        )
        self.memory = plan.memory
        return [f"{a.labels.partition or '-'} {a.state.value}" for a in plan.say]


def over(firing: Alert) -> Alert:
    return replace(firing, state=AlertState.RESOLVED, ends_at=at(hours=1))


def test_a_new_group_waits_for_more_of_its_kind() -> None:
    group = Group()

    assert group.says(at(), alert("a")) == []
    assert group.says(at(seconds=29), alert("a"), alert("b")) == []
    assert group.says(at(seconds=30), alert("a"), alert("b")) == ["a firing", "b firing"]


def test_what_was_told_is_not_told_again() -> None:
    group = Group()
    group.says(at(), alert())
    group.says(at(seconds=30), alert())

    assert group.says(at(minutes=10), alert()) == []


def test_a_known_group_tells_of_more_after_its_interval() -> None:
    group = Group()
    group.says(at(), alert("a"))
    group.says(at(minutes=1), alert("a"))

    assert group.says(at(minutes=2), alert("a"), alert("b")) == []
    assert group.says(at(minutes=6), alert("a"), alert("b")) == ["b firing"]


def test_what_goes_on_is_repeated() -> None:
    group = Group()
    group.says(at(), alert())
    group.says(at(minutes=1), alert())

    assert group.says(at(hours=4), alert()) == []
    assert group.says(at(hours=4, minutes=1), alert()) == ["- firing"]
    assert group.says(at(hours=5), alert()) == []


def test_a_group_in_which_all_is_well_says_so_at_once() -> None:
    group = Group()
    group.says(at(), alert("a"))
    group.says(at(minutes=1), alert("a"))

    assert group.says(at(minutes=1, seconds=1), over(alert("a"))) == ["a resolved"]
    assert group.says(at(hours=9), over(alert("a"))) == []


def test_one_of_several_that_is_over_waits_for_the_interval() -> None:
    group = Group()
    group.says(at(), alert("a"), alert("b"))
    group.says(at(minutes=1), alert("a"), alert("b"))

    assert group.says(at(minutes=2), over(alert("a")), alert("b")) == []
    assert group.says(at(minutes=6), over(alert("a")), alert("b")) == ["a resolved"]


def test_what_was_over_before_it_was_told_is_never_told() -> None:
    group = Group()
    group.says(at(), alert())

    assert group.says(at(minutes=1), over(alert())) == []


def test_it_begins_anew() -> None:
    group = Group()
    group.says(at(), alert())
    group.says(at(minutes=1), alert())
    group.says(at(minutes=2), over(alert()))
    again = alert(starts_at=at(hours=1))

    assert group.says(at(hours=1), again) == []
    assert group.says(at(hours=1, seconds=30), again) == ["- firing"]


def test_what_became_worse_is_news() -> None:
    group = Group()
    mild = alert(severity=Severity.WARNING)
    group.says(at(), mild)
    group.says(at(minutes=1), mild)

    assert group.says(at(minutes=10), alert()) == ["- firing"]


def test_a_quiet_alert_is_not_told_until_it_is_loud() -> None:
    group = Group()
    group.quiet = {alert().fingerprint}
    assert group.says(at(), alert()) == []
    assert group.says(at(hours=1), alert()) == []
    group.quiet = set()

    assert group.says(at(hours=2), alert()) == []
    assert group.says(at(hours=2, minutes=1), alert()) == ["- firing"]


def test_an_acknowledged_alert_is_not_repeated_and_its_end_is_told() -> None:
    group = Group()
    group.says(at(), alert())
    group.says(at(minutes=1), alert())
    known = alert(acknowledged_by="ada", acknowledged_at=at(minutes=2))

    assert group.says(at(hours=9), known) == []
    assert group.says(at(hours=10), over(known)) == ["- resolved"]


def test_a_notice_is_told_at_once() -> None:
    group = Group()

    assert group.says(at(), alert(notice=True)) == ["- firing"]


def test_groups_are_by_contract_and_family() -> None:
    flapping = alert(
        labels=AlertLabels(kind=AlertKind.CIRCUIT_FLAPPING, contract="orders", asset="orders")
    )
    version = alert(labels=AlertLabels(kind=AlertKind.CONTRACT_VERSION, contract="orders"))

    assert group_key(alert("a")) == group_key(alert("b")) == group_key(flapping)
    assert group_key(alert()) != group_key(version)
