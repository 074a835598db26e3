"""What ``status`` tells of a healing run that is under way."""

from __future__ import annotations

import re

from dagster_contracts.resilience.healing import Healing
from dagster_contracts.resilience.ledger import DegradedReads
from tests.cli.conftest import Project
from tests.cli.test_cli_circuits import read_a_fallback

RUN = "0f6a41c2-77b9-4c2e-9a51-2f6f2f1f7a10"


def test_a_healing_run_that_has_not_ended_is_named_with_its_moment(project: Project) -> None:
    read_a_fallback(project, project.evaluate("good.csv").circuit.generation)
    store = project.store()
    healing = Healing(store, DegradedReads(store))
    (request,) = healing.due(lambda _: True)
    asked = " ".join(project.run("status", "orders").stdout.split())
    healing.started(request.run_key, RUN)
    store.close()

    assert re.search(r"; a run was asked for at \d\d:\d\d UTC", asked)
    told = " ".join(project.run("status", "orders").stdout.split())
    assert re.search(rf"; run {RUN} builds it anew since \d\d:\d\d UTC", told)
    shown = project.run("status", "orders", "--format", "json").json
    (read,) = shown["circuits"][0]["degraded_reads"]
    assert read["healing"]["run_id"] == RUN
    assert read["healing"]["since"]
