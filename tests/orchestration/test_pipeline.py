"""A pipeline of partitions, ranges, fan-in and several dimensions is served what it should be."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from tests.orchestration.pipeline.judge import Judge
from tests.orchestration.pipeline.truth import (
    BRANCHES,
    CELLS,
    CONSUMERS,
    DAYS,
    REGIONS,
    TENANTS,
    WEEK,
    Part,
)

SEEDS = int(os.environ.get("DAGSTER_CONTRACTS_PIPELINES", "0"))
FIRST_SEED = int(os.environ.get("DAGSTER_CONTRACTS_SOAK_SEED", "0"))

heavy = pytest.mark.soak


@pytest.fixture
def judge(tmp_path: Path, instance: dg.DagsterInstance, store_url: str) -> Judge:
    instance.add_dynamic_partitions("tenants", TENANTS)
    return Judge(tmp_path, instance, store_url)


@pytest.mark.parametrize(
    "store_url", ["sqlite", pytest.param("postgresql", marks=heavy)], indirect=True
)
def test_each_consumer_is_served_what_it_should_be_and_healed_once(judge: Judge) -> None:
    judge.produce("orders", DAYS)
    judge.produce("order_archive", DAYS[2:3])
    judge.produce("clicks", DAYS[:2])
    judge.produce("bulk", DAYS[:3])
    judge.produce("flat", DAYS[:1])
    judge.produce("flat", DAYS[1:3])
    judge.produce("tenants", ["a", "b"])
    judge.produce("grid", ["2024-01-01|eu", "2024-01-01|us"])
    judge.produce("meter_archive", DAYS[:2])
    judge.seed("clicks", DAYS[2])
    judge.seed("branches", None)
    judge.consume("running", DAYS[0])

    judge.produce("orders", DAYS[2:3], good=False)
    judge.consume("revenue", DAYS[2])
    assert judge.marks() == set()  # a bad batch of an older day opens nothing, and is not served
    judge.produce("orders", DAYS[6:], good=False)
    judge.produce("clicks", DAYS[1:3], good=False)
    judge.produce("bulk", DAYS[1:2], good=False)
    judge.produce("bulk", DAYS[3:4], good=False)
    judge.seed("bulk", DAYS[3])
    judge.produce("flat", DAYS[:2], good=False)
    judge.produce("tenants", ["b", "c"], good=False)
    judge.produce("grid", ["2024-01-01|us", "2024-01-02|us"], good=False)
    judge.produce("branches", ["north"], good=False)
    judge.produce("meter", [DAYS[0], DAYS[2]], good=False)

    judge.consume("revenue", DAYS[2])
    judge.consume("trailing", DAYS[3])
    judge.consume("weekly", WEEK)
    judge.consume("newest", None)
    judge.consume("total", None)
    judge.consume("running", DAYS[1])
    judge.consume("running", DAYS[2])
    judge.consume("span", *DAYS[1:4])
    judge.consume("span_copy", DAYS[2])
    judge.consume("left", DAYS[0])
    judge.consume("right", DAYS[0])
    judge.consume("second", DAYS[0], beside="first")
    judge.consume("second", DAYS[1], beside="first")
    judge.consume("silent", DAYS[2])
    judge.consume("told", DAYS[2])
    judge.consume("mixed", DAYS[0])
    judge.consume("flat_copy", DAYS[0])
    judge.consume("flat_copy", DAYS[2])
    judge.consume("cell", "2024-01-02|us")
    judge.consume("by_region", "us")
    judge.consume("by_day", DAYS[0])
    judge.consume("bulk_copy", DAYS[0])
    judge.consume("bulk_copy", DAYS[1])
    judge.consume("bulk_copy", DAYS[3])
    for tenant in TENANTS:
        judge.consume("tenant_copy", tenant)
    judge.consume("all_tenants", None)
    judge.consume("branch_copy", "south")
    judge.consume("country", "country")
    judge.consume("meter_copy", DAYS[0])
    judge.consume("meter_copy", DAYS[2])
    judge.consume("report", None)
    assert judge.marks() == judge.truth.degraded

    judge.healed_exactly()


@heavy
def test_steps_of_a_graph_in_processes_of_their_own_are_marked_and_healed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        judge = Judge(tmp_path, instance, f"sqlite:///{tmp_path}/state.db")
        judge.produce("orders", DAYS[:1])
        judge.produce("orders", DAYS[:1], good=False)

        judge.consume_in_processes("mixed", DAYS[0])
        assert judge.marks() == {("mixed", DAYS[0])}

        judge.mend()
        judge.consume_in_processes("mixed", DAYS[0])
        assert judge.marks() == set()


WHERE: dict[str, Sequence[Part]] = {
    "orders": DAYS,
    "order_archive": DAYS,
    "clicks": DAYS,
    "bulk": DAYS,
    "flat": DAYS,
    "meter": DAYS,
    "meter_archive": DAYS,
    "events": DAYS,
    "grid": CELLS,
    "tenants": TENANTS,
    "branches": BRANCHES,
    "trailing": DAYS[1:],  # of one partition Dagster loads no dictionary
    "weekly": [WEEK],
    "cell": CELLS,
    "by_region": REGIONS,
    "tenant_copy": TENANTS,
    "all_tenants": [None],
    "branch_copy": BRANCHES,
    "country": ["country"],
    "newest": [None],
    "total": [None],
    "report": [None],
}


@heavy
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_whatever_happens_in_whatever_order(judge: Judge, seed: int) -> None:
    draw = random.Random(seed)
    producers = [name for name in WHERE if name not in CONSUMERS]
    for _ in range(60):
        if draw.random() < 0.45:
            asset = draw.choice(producers)
            parts = sorted(draw.sample(list(WHERE[asset]), draw.randint(1, 2)), key=str)
            if asset in ("bulk", "flat"):
                first = draw.randrange(len(DAYS) - 1)
                parts = DAYS[first : first + draw.randint(1, 3)]
            if asset == "orders" and draw.random() < 0.5:
                parts = DAYS[-1:]  # an older day than the newest cannot open the circuit
            judge.produce(asset, parts, good=draw.random() < 0.6)
        elif draw.random() < 0.1:
            judge.seed(draw.choice(["clicks", "bulk"]), draw.choice(DAYS))
        else:
            consumer = draw.choice(list(CONSUMERS))
            parts = [draw.choice(WHERE.get(consumer, DAYS))]
            if consumer == "span":
                first = draw.randrange(len(DAYS) - 1)
                parts = DAYS[first : first + draw.randint(1, 3)]
            beside = "first" if consumer == "second" else None
            made = [beside, consumer] if beside else [consumer]
            if all(judge.truth.can_build(*made, part=part) for part in parts):
                judge.consume(consumer, *parts, beside=beside)
        assert judge.marks() == judge.truth.degraded, seed
    judge.healed_exactly()
