"""A refused batch that an operator declares right: published by a run that is asked for once."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dagster_contracts import contract_asset
from dagster_contracts.errors import PolicyError
from dagster_contracts.orchestration.materialized import latest_materialization
from dagster_contracts.orchestration.released import kept_rows, restored
from dagster_contracts.orchestration.step import PUBLISH_TAG
from dagster_contracts.resilience.publication import Publication
from dagster_contracts.resilience.quarantine import QuarantineState
from tests.orchestration.conftest import BAD, GOOD, ORDERS, Deployment, by_partition
from tests.orchestration.test_circuit_sensor import SENSOR, run_requests

PARTITIONED = by_partition(ORDERS)
DAYS = dg.StaticPartitionsDefinition(["mon", "tue"])


def build(deployment: Deployment, partitions: Any = None) -> dg.Definitions:
    """``orders`` from a source that no publishing run may ask, and two that are built from it."""

    @contract_asset("orders", partitions_def=partitions)
    def orders() -> Any:
        context = dg.AssetExecutionContext.get()
        assert PUBLISH_TAG not in context.run.tags
        return deployment.source(context.partition_key if partitions else "orders")

    @dg.asset(partitions_def=partitions)
    def revenue(orders: Any) -> Any:
        return orders

    return deployment.defs(orders, revenue)


def refuse(deployment: Deployment, defs: dg.Definitions, bad: Any = BAD) -> int:
    """Good orders, then a batch that is refused, on whose fallback ``revenue`` is built."""
    deployment.run(defs)
    deployment.delivered["orders"] = bad
    deployment.run(defs)
    (batch,) = deployment.runtime.quarantine.list()
    return batch.id


def stored(deployment: Deployment, *path: str) -> Any:
    return pd.read_pickle(deployment.root.joinpath("io", *path))


def asked(deployment: Deployment, defs: dg.Definitions) -> Any:
    """The tick, and the one run that it asks for to publish something, if it does."""
    tick = deployment.tick(defs, SENSOR)
    publishing = [r for r in tick.run_requests or [] if PUBLISH_TAG in r.tags]
    assert len(publishing) <= 1
    return dg.SensorResult(run_requests=publishing)


def publish(deployment: Deployment, defs: dg.Definitions, batch: int, **how: Any) -> Any:
    quarantine = deployment.runtime.quarantine
    quarantine.publish(batch, actor="ada", reason="refunds are new", **how)
    (ran,) = run_requests(deployment, defs, asked(deployment, defs))
    return ran


def story(deployment: Deployment) -> list[str]:
    told = deployment.runtime.breaker.history(limit=200)
    return [entry.explanation for entry in told if "batch" in entry.kind]


def test_what_the_command_releases_becomes_the_primary_and_what_was_built_on_a_fallback_is_healed(
    deployment: Deployment,
) -> None:
    deployment.contract(ORDERS)
    defs = build(deployment)
    batch = refuse(deployment, defs)
    pd.testing.assert_frame_equal(stored(deployment, "orders"), GOOD)
    command = ["quarantine", "publish", str(batch), "--reason", "refunds are new"]
    said = subprocess.run(
        [sys.executable, "-m", "dagster_contracts", *command, "--actor", "ada"],
        cwd=deployment.root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "reset orders" in said.stdout
    (unpublished,) = deployment.runtime.publication.unpublished().values()
    assert [each.id for each in unpublished] == [batch]

    tick = asked(deployment, defs)
    (request,) = tick.run_requests
    assert request.tags == {PUBLISH_TAG: str(batch)}
    assert request.asset_selection == [dg.AssetKey("orders")]
    assert not asked(deployment, defs).run_requests
    (ran,) = run_requests(deployment, defs, tick)

    assert ran.success
    pd.testing.assert_frame_equal(stored(deployment, "orders"), BAD)
    made = latest_materialization(deployment.instance, dg.AssetKey("orders"))
    assert made is not None
    assert made.asset_materialization is not None
    metadata = {name: each.value for name, each in made.asset_materialization.metadata.items()}
    assert metadata["contract/published"] is True
    assert metadata["contract/released_by"] == "ada"
    assert metadata["contract/released_because"] == "refunds are new"
    checks = {check.check_name: check for check in ran.get_asset_check_evaluations()}
    assert not checks["schema"].passed
    assert checks["schema"].description.endswith("; released by ada: refunds are new")
    assert checks["schema"].metadata["failed_rows"].value == 2
    released = deployment.runtime.quarantine.get(batch)
    assert (released.state, released.publish_run_id) == (QuarantineState.PUBLISHED, ran.run_id)
    assert story(deployment) == [
        f"batch {batch} was published: ada: refunds are new",
        f"batch {batch} released by ada: refunds are new; to be published",
    ]

    # An operator's word opens no circuit and closes none; last_valid stays what passed by itself.
    assert deployment.state() == "open"
    deployment.run(defs, "revenue")
    pd.testing.assert_frame_equal(stored(deployment, "revenue"), GOOD)
    key = deployment.runtime.breaker.circuits()[0].key
    deployment.runtime.breaker.reset(key, actor="ada", reason="refunds are new")
    (healed,) = run_requests(deployment, defs, deployment.tick(defs, SENSOR))
    assert healed.success
    pd.testing.assert_frame_equal(stored(deployment, "revenue"), BAD)
    assert deployment.runtime.ledger.open_reads() == ()


def test_a_partition_is_published_in_the_type_of_its_asset_and_resets_its_circuit(
    deployment: Deployment,
) -> None:
    deployment.contract(PARTITIONED)
    bad = pl.DataFrame({"order_id": [7, 8], "amount": [-1.5, None], "country": ["DE", None]})
    deployment.delivered |= {"mon": pl.from_pandas(GOOD), "tue": pl.from_pandas(GOOD)}
    defs = build(deployment, DAYS)
    for day in ("mon", "tue"):
        deployment.run(defs, partition=day)
    deployment.delivered["tue"] = bad
    deployment.run(defs, partition="tue")
    (batch,) = deployment.runtime.quarantine.list()
    assert batch.place == "orders[tue]"
    frame = stored(deployment, "revenue", "tue")
    assert frame.equals(pl.from_pandas(GOOD))

    ran = publish(deployment, defs, batch.id, reset=True)

    assert ran.success
    assert stored(deployment, "orders", "tue").equals(bad)
    assert stored(deployment, "orders", "mon").equals(pl.from_pandas(GOOD))
    assert {c.effective_state.value for c in deployment.runtime.breaker.circuits()} == {"closed"}
    (healed,) = run_requests(deployment, defs, deployment.tick(defs, SENSOR))
    assert healed.dagster_run.tags["dagster/partition"] == "tue"
    assert stored(deployment, "revenue", "tue").equals(bad)
    assert stored(deployment, "revenue", "mon").equals(pl.from_pandas(GOOD))

    fewer = build(deployment, dg.StaticPartitionsDefinition(["mon"]))
    deployment.delivered["tue"] = bad
    deployment.run(defs, "orders", partition="tue")
    (again,) = deployment.runtime.quarantine.list()
    assert fewer.assets
    with pytest.raises(PolicyError, match="orders has no partition 'tue'"):
        deployment.runtime.quarantine.publish(again.id, actor="ada", reason="x")


def test_a_run_that_fails_is_asked_for_again_and_then_told_of(deployment: Deployment) -> None:
    deployment.contract(ORDERS)
    defs = build(deployment)
    batch = refuse(deployment, defs)
    quarantine, target = deployment.runtime.quarantine, deployment.root / "io" / "orders"
    target.unlink()
    target.mkdir()  # The I/O manager cannot write there.

    ran = publish(deployment, defs, batch)
    assert not ran.success
    waiting = quarantine.get(batch)
    assert waiting.state is QuarantineState.PUBLISHING
    assert "IsADirectoryError" in (waiting.unpublished_because or "")
    for _ in range(2):
        run_requests(deployment, defs, asked(deployment, defs))
    held = quarantine.get(batch)
    assert (held.state, held.publish_attempts) == (QuarantineState.HELD, 3)
    assert not asked(deployment, defs).run_requests
    assert "it is held again" in story(deployment)[0]
    # No attempt counts as a failure of the producer.
    kinds = {entry.cause for entry in deployment.runtime.breaker.history(limit=200)}
    assert "tick" not in kinds

    # A torn file is no matter of trying again.
    target.rmdir()
    quarantine.publish(batch, actor="ada", reason="there is room now")
    (path,) = deployment.root.rglob(f"quarantine/*/{held.sha256}.parquet")
    os.truncate(path, 100)
    (torn,) = run_requests(deployment, defs, asked(deployment, defs))
    assert not torn.success
    held = quarantine.get(batch)
    assert (held.state, held.publish_attempts) == (QuarantineState.HELD, 1)
    assert "is not what was written" in (held.unpublished_because or "")
    assert not target.exists()


def test_the_sensor_finishes_what_a_dead_process_did_not(deployment: Deployment) -> None:
    deployment.contract(ORDERS)
    defs = build(deployment)
    batch = refuse(deployment, defs)
    quarantine = deployment.runtime.quarantine
    quarantine.publish(batch, actor="ada", reason="x", reset=True)
    tick = asked(deployment, defs)
    (request,) = tick.run_requests
    # Who asked died, and the run was never launched: later the same key is asked for.
    deployment.runtime.publication = Publication(
        deployment.runtime.store, confirm_within=timedelta(0)
    )
    (again,) = asked(deployment, defs).run_requests
    assert again.run_key == request.run_key
    # The run stores the batch and ends, and its process dies before it has said so.
    bare = dg.Definitions(
        assets=[_as_stored(deployment)],
        resources={"io_manager": dg.FilesystemIOManager(base_dir=str(deployment.root / "io"))},
    )
    tags = {**request.tags, "dagster/run_key": request.run_key}
    deployment.run(bare, "orders", tags=tags)
    assert quarantine.get(batch).state is QuarantineState.PUBLISHING

    assert not asked(deployment, defs).run_requests

    assert quarantine.get(batch).state is QuarantineState.PUBLISHED
    assert deployment.state() == "closed"


def test_a_run_that_is_deleted_after_it_began_is_asked_for_anew(deployment: Deployment) -> None:
    deployment.contract(ORDERS)
    defs = build(deployment)
    batch = refuse(deployment, defs)
    deployment.runtime.quarantine.publish(batch, actor="ada", reason="x")
    (first,) = asked(deployment, defs).run_requests
    deployment.runtime.publication.claim(batch, "deleted since")

    assert not asked(deployment, defs).run_requests
    waiting = deployment.runtime.quarantine.get(batch)
    assert waiting.unpublished_because == "its run is gone"
    (again,) = asked(deployment, defs).run_requests
    assert again.run_key != first.run_key


def _as_stored(deployment: Deployment) -> dg.AssetsDefinition:
    """The asset as a run leaves it whose process told nobody."""

    @dg.asset
    def orders() -> pd.DataFrame:
        return BAD

    return orders


def test_the_job_for_operators_publishes_and_refuses_as_the_command_does(
    deployment: Deployment,
) -> None:
    deployment.contract(ORDERS)
    defs = build(deployment)
    batch = refuse(deployment, defs)
    about = {"contract": "orders", "decision": "PUBLISH", "reason": "x", "actor": "ada"}

    def operate(**config: Any) -> Any:
        return defs.resolve_job_def("operate_circuit").execute_in_process(
            run_config={"ops": {"decide": {"config": {**about, **config}}}},
            instance=deployment.instance, raise_on_error=False,
        )  # fmt: skip

    for wrong in ({"batch": 99}, {"batch": batch, "asset": "x"}, {"batch": batch, "reason": " "}):
        assert not operate(**wrong).success
    assert not operate(decision="RESET", batch=batch).success
    assert operate(batch=batch).success
    assert not operate(batch=batch).success

    @dg.asset
    def orders() -> pd.DataFrame:
        return BAD

    # Where the asset is no @contract_asset any more, nothing is held back and nothing let go.
    plain = deployment.defs(orders)
    assert not asked(deployment, plain).run_requests
    blocked = deployment.runtime.quarantine.get(batch)
    assert "no @contract_asset of orders" in (blocked.unpublished_because or "")
    (ran,) = run_requests(deployment, defs, asked(deployment, defs))
    assert ran.success
    assert deployment.runtime.quarantine.get(batch).state is QuarantineState.PUBLISHED


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"n": [1, None], "at": pd.to_datetime(["2026-01-01", None])}),
        pd.DataFrame({"n": [1, 2, 3]}).query("n > 1").reset_index(drop=True),
        pl.DataFrame({"n": [1, None], "c": pl.Series(["a", "b"], dtype=pl.Categorical)}),
        pa.table({"n": pa.array([1, None], pa.int8()), "at": pa.array([0, 1], pa.date32())}),
    ],
)
def test_a_batch_comes_back_as_it_was(data: Any) -> None:
    table, altered = kept_rows(data)
    assert altered is None
    back = restored(table, type(data).__module__.partition(".")[0])
    assert type(back) is type(data)
    assert back.equals(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (GOOD.set_index("country", drop=False), "its index (country) is not kept"),
        (GOOD.set_axis(["a", "b", "c"]), "its index of "),
        (pd.DataFrame({"n": [1, "a", object()]}), "Arrow cannot hold it"),
    ],
)
def test_what_is_lost_is_not_lost_in_silence(data: Any, why: str) -> None:
    assert why in str(kept_rows(data)[1])
