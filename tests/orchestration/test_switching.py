"""Wherever an I/O manager is declared, the circuit stands before it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import WiringError, with_contracts
from dagster_contracts.core.circuit import CircuitKey, Override
from dagster_contracts.orchestration.step import DEGRADED_TAG
from tests.orchestration.conftest import ARCHIVE, BAD, GOOD, Deployment
from tests.orchestration.contract_text import contract_text

FROM_THE_ARCHIVE = contract_text(
    "orders",
    "level: archive, source: order_archive, schema: order_minimum",
    sections="""
        schemas:
          order_minimum:
            fields:
              order_id: {type: integer, required: true}
              amount: {type: number, required: true}
    """,
)


class Shelf(dg.IOManager):
    """Keeps values in memory: what another manager has stored is not here."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        self.kept[context.asset_key.to_user_string() if context.has_asset_key else "-"] = obj

    def load_input(self, context: dg.InputContext) -> Any:
        if context.has_asset_key:
            return self.kept[context.asset_key.to_user_string()]
        return self.kept["-" if context.upstream_output is not None else context.name]


@dataclass
class Shop:
    """Orders, who reads them, and the shelves that they are kept on."""

    deployment: Deployment
    shelf: Shelf = field(default_factory=Shelf)
    read: list[pd.DataFrame] = field(default_factory=list)

    def defs(
        self, *assets: Any, resources: dict[str, Any] | None = None, **others: Any
    ) -> dg.Definitions:
        """The definitions under contract; resources are those of the case alone."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return with_contracts(
                dg.Definitions(
                    assets=list(assets),
                    resources={"io_manager": Shelf()} if resources is None else resources,
                    executor=dg.in_process_executor,
                    **others,
                ),
                contracts=self.deployment.resource,
            )

    def orders(self, **options: Any) -> dg.AssetsDefinition:
        """The asset that breaks its contract."""
        return self.deployment.asset("orders", **options)

    def audited(self, **options: Any) -> dg.AssetsDefinition:
        """The same, judged before it is stored."""
        return self.deployment.asset("orders", "orders", **options)

    def revenue(self, given: dg.AssetIn | None = None, **options: Any) -> dg.AssetsDefinition:
        """The asset that reads them."""

        @dg.asset(name="revenue", ins={"orders": given or dg.AssetIn()}, **options)
        def revenue(orders: pd.DataFrame) -> None:
            self.read.append(orders)

        return revenue

    def open_reads(self) -> list[tuple[str, str, str]]:
        """What the ledger has of degraded reads."""
        reads = self.deployment.runtime.ledger.open_reads()
        return [(read.consumer, read.upstream, read.level) for read in reads]

    def degraded(self, result: dg.ExecuteInProcessResult) -> bool:
        """Whether the run is marked so, where people look for it."""
        run = self.deployment.instance.get_run_by_id(result.run_id)
        return run is not None and DEGRADED_TAG in run.tags


@pytest.fixture
def shop(deployment: Deployment) -> Shop:
    return Shop(deployment)


Case = Callable[[Shop], dg.Definitions]


def loaded_by_what_inputs_name(shop: Shop) -> dg.Definitions:
    @dg.input_manager(
        config_schema={"name": str},
        input_config_schema={"rows": dg.Field(int, is_required=False)},
        required_resource_keys={"place"},
    )
    def function(context: dg.InputContext) -> pd.DataFrame:
        return context.resources.place.kept[context.resource_config["name"]]

    @dg.asset(ins={"orders": dg.AssetIn(input_manager_key="function")})
    def by_a_function(orders: pd.DataFrame) -> None:
        shop.read.append(orders)

    @dg.op(ins={"orders": dg.In(input_manager_key="loader")})
    def reading(orders: Any) -> pd.DataFrame:
        shop.read.append(orders)
        return orders

    @dg.op
    def adding(table: Any) -> pd.DataFrame:
        return table

    @dg.graph
    def inside(orders: Any) -> Any:
        return adding(reading(orders))

    @dg.graph_asset(ins={"orders": dg.AssetIn()})
    def by_a_graph(orders: Any) -> Any:
        return inside(orders)

    @dg.op(ins={"orders": dg.In(input_manager_key="own")}, out={"x": dg.Out(), "y": dg.Out()})
    def splitting(orders: Any) -> Any:
        shop.read.append(orders)
        yield dg.Output(orders, "x")
        yield dg.Output(orders, "y")

    @dg.graph_multi_asset(
        ins={"orders": dg.AssetIn()},
        outs={"one": dg.AssetOut(), "two": dg.AssetOut()},
        resource_defs={"own": dg.IOManagerDefinition.hardcoded_io_manager(shop.shelf)},
    )
    def by_a_graph_of_two(orders: Any) -> Any:
        x, y = splitting(orders)
        return {"one": x, "two": y}

    return shop.defs(
        shop.orders(),
        shop.revenue(dg.AssetIn(input_manager_key="loader")),
        by_a_function,
        by_a_graph,
        by_a_graph_of_two,
        resources={
            "io_manager": shop.shelf,
            "loader": shop.shelf,
            "function": function.configured({"name": "orders"}),
            "place": dg.ResourceDefinition.hardcoded_resource(shop.shelf),
        },
    )


def stored_by_its_own(shop: Shop) -> dg.Definitions:
    own = dg.IOManagerDefinition.hardcoded_io_manager(shop.shelf)
    return shop.defs(shop.orders(io_manager_def=own), shop.revenue())


def stored_by_its_own_resource(shop: Shop) -> dg.Definitions:
    return shop.defs(
        shop.orders(resource_defs={"special": shop.shelf}, io_manager_key="special"),
        shop.revenue(),
    )


def given_with_resources(shop: Shop) -> dg.Definitions:
    given = dg.with_resources([shop.orders(), shop.revenue()], {"io_manager": shop.shelf})
    return shop.defs(*given, resources={})


def given_with_resources_beside_others(shop: Shop) -> dg.Definitions:
    given = dg.with_resources([shop.orders(), shop.revenue()], {"io_manager": shop.shelf})
    return shop.defs(*given)


def audited_with_its_own(shop: Shop) -> dg.Definitions:
    own = dg.IOManagerDefinition.hardcoded_io_manager(shop.shelf)
    return shop.defs(shop.audited(io_manager_def=own), shop.revenue())


def audited_with_resources(shop: Shop) -> dg.Definitions:
    given = dg.with_resources(
        [shop.audited(io_manager_key="special"), shop.revenue()],
        {"special": shop.shelf, "contracts": shop.deployment.resource},
    )
    return shop.defs(*given)


def several_at_once(shop: Shop) -> dg.Definitions:
    own = {"special": dg.IOManagerDefinition.hardcoded_io_manager(shop.shelf)}

    @dg.multi_asset(
        outs={name: dg.AssetOut(io_manager_key="special") for name in ("orders", "returns")},
        resource_defs=own,
    )
    def making():
        return shop.deployment.source("orders"), pd.DataFrame()

    @dg.multi_asset(
        specs=[dg.AssetSpec("revenue", deps=["orders"])],
        ins={"orders": dg.AssetIn(input_manager_key="special")},
        resource_defs=own,
    )
    def revenue(orders: pd.DataFrame) -> None:
        shop.read.append(orders)

    return shop.defs(making, revenue)


CASES: list[Case] = [
    loaded_by_what_inputs_name,
    stored_by_its_own,
    stored_by_its_own_resource,
    given_with_resources,
    given_with_resources_beside_others,
    audited_with_its_own,
    audited_with_resources,
    several_at_once,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_consumers_read_the_last_valid_batch(shop: Shop, case: Case) -> None:
    defs = case(shop)
    shop.deployment.run(defs)
    shop.deployment.delivered["orders"] = BAD

    result = shop.deployment.run(defs)

    for frame in shop.read:
        pd.testing.assert_frame_equal(frame, GOOD)
    consumers = {
        key.to_user_string()
        for asset in defs.assets or ()
        if isinstance(asset, dg.AssetsDefinition) and dg.AssetKey("orders") in asset.dependency_keys
        for key in asset.keys
    }
    assert set(shop.open_reads()) == {(name, "orders", "last") for name in consumers}
    assert len(shop.read) == 2 * (4 if len(consumers) > 1 else 1)
    assert shop.degraded(result)
    stored = GOOD if case.__name__.startswith("audited") else BAD
    pd.testing.assert_frame_equal(shop.shelf.kept["orders"], stored)


def force_open(shop: Shop) -> None:
    shop.deployment.runtime.breaker.force(
        CircuitKey("orders", "orders"), Override.FORCED_OPEN, actor="ada", reason="wrong"
    )


def a_source_asset(shop: Shop, **options: Any) -> Any:
    return dg.SourceAsset("orders", **options)


def an_observed_source(shop: Shop, **options: Any) -> Any:
    @dg.observable_source_asset(name="orders", **options)
    def orders() -> dg.DataVersion:
        return dg.DataVersion("1")

    return orders


def a_spec(shop: Shop, **options: Any) -> Any:
    return dg.AssetSpec("orders").with_io_manager_key(options["io_manager_key"])


@pytest.mark.parametrize(
    ("kind", "own"),
    [(a_source_asset, False), (a_source_asset, True), (an_observed_source, False), (a_spec, False)],
)
def test_an_asset_that_others_make_is_read_through_its_circuit(
    shop: Shop, kind: Callable[..., Any], own: bool
) -> None:
    shop.deployment.contract(FROM_THE_ARCHIVE)
    shop.shelf.kept = {"orders": GOOD}
    manager = dg.IOManagerDefinition.hardcoded_io_manager(shop.shelf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = kind(
            shop, io_manager_key="feed", **({"resource_defs": {"feed": manager}} if own else {})
        )

        @dg.asset(io_manager_def=dg.IOManagerDefinition.hardcoded_io_manager(Shelf()))
        def order_archive() -> pd.DataFrame:
            return ARCHIVE

    resources = {} if own else {"feed": shop.shelf}
    defs = shop.defs(made, order_archive, shop.revenue(), resources=resources)
    shop.deployment.run(defs, "order_archive", "revenue")
    force_open(shop)

    result = shop.deployment.run(defs, "revenue")

    assert shop.read[0]["order_id"].tolist() == [1, 2, 3]
    assert shop.read[1]["order_id"].tolist() == [100]
    assert shop.open_reads() == [("revenue", "orders", "archive")]
    assert shop.degraded(result)


def job_of(shop: Shop, given: Any, **options: Any) -> dg.JobDefinition:
    @dg.op
    def reading(orders: pd.DataFrame) -> None:
        shop.read.append(orders)

    @dg.job(**options)
    def reporting() -> None:
        reading(given)

    return reporting


@pytest.mark.parametrize(
    ("key", "where"), [("io_manager", "jobs"), ("special", "schedule"), ("special", "all")]
)
def test_a_job_with_resources_of_its_own_reads_through_the_circuit(
    shop: Shop, key: str, where: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job = job_of(
            shop,
            dg.SourceAsset("orders", io_manager_key=key),
            resource_defs={key: dg.IOManagerDefinition.hardcoded_io_manager(shop.shelf)},
        )

    @dg.sensor(job=job)
    def told() -> Any:
        return dg.SkipReason("never")

    everywhere = {
        "jobs": [job],
        "schedules": [dg.ScheduleDefinition(job=job, cron_schedule="0 1 * * *")],
        "sensors": [told],
    }
    chosen = {"jobs": "jobs", "schedule": "schedules", "sensor": "sensors"}
    others = everywhere if where == "all" else {chosen[where]: everywhere[chosen[where]]}
    defs = shop.defs(shop.orders(), resources={"io_manager": shop.shelf}, **others)
    shop.deployment.run(defs)
    shop.deployment.delivered["orders"] = BAD
    shop.deployment.run(defs)
    reporting = defs.resolve_job_def("reporting")

    result = reporting.execute_in_process(instance=shop.deployment.instance)

    pd.testing.assert_frame_equal(shop.read[0], GOOD)
    assert shop.degraded(result)
    defs.get_repository_def().load_all_definitions()


def test_an_op_that_names_the_asset_reads_through_the_circuit(shop: Shop) -> None:
    @dg.op(ins={"orders": dg.In(asset_key=dg.AssetKey("orders"), input_manager_key="loader")})
    def reading(orders: Any) -> None:
        shop.read.append(orders)

    @dg.job
    def reporting() -> None:
        reading()

    defs = shop.defs(
        shop.orders(),
        resources={"io_manager": shop.shelf, "loader": shop.shelf},
        jobs=[reporting],
    )
    shop.deployment.run(defs)
    shop.deployment.delivered["orders"] = BAD
    shop.deployment.run(defs)

    defs.resolve_job_def("reporting").execute_in_process(instance=shop.deployment.instance)

    pd.testing.assert_frame_equal(shop.read[0], GOOD)


def after_a_bad_batch(shop: Shop, *assets: Any) -> dg.Definitions:
    defs = shop.defs(*assets, shop.revenue(), resources={"io_manager": shop.shelf})
    shop.deployment.run(defs)
    shop.deployment.delivered["orders"] = BAD
    shop.deployment.run(defs)
    return defs


def test_somebody_who_looks_is_served_what_a_consumer_is_and_nothing_is_recorded(
    shop: Shop,
) -> None:
    defs = after_a_bad_batch(shop, shop.orders())
    reads = shop.deployment.runtime.ledger.position()

    seen = defs.load_asset_value("orders", instance=shop.deployment.instance)

    pd.testing.assert_frame_equal(seen, GOOD)
    assert shop.deployment.runtime.ledger.position() == reads
    shop.deployment.runtime.breaker.force(
        CircuitKey("orders", "orders"), Override.FORCED_CLOSED, actor="ada", reason="refunds"
    )
    seen = defs.load_asset_value("orders", instance=shop.deployment.instance)
    pd.testing.assert_frame_equal(seen, BAD)


def test_a_batch_is_refused_where_the_io_manager_was_replaced_afterwards(shop: Shop) -> None:
    defs = after_a_bad_batch(shop, shop.audited())
    resources = {"io_manager": shop.shelf, "contracts": shop.deployment.resource}
    known = len(shop.deployment.runtime.quarantine.list())

    with pytest.raises(WiringError, match="orders would be stored by Shelf"):
        dg.materialize(
            list(defs.assets or ()), resources=resources, instance=shop.deployment.instance
        )

    pd.testing.assert_frame_equal(shop.shelf.kept["orders"], GOOD)
    assert len(shop.deployment.runtime.quarantine.list()) == known
    whole = dg.materialize(
        list(defs.assets or ()), resources=defs.resources, instance=shop.deployment.instance
    )
    assert whole.success
    pd.testing.assert_frame_equal(shop.read[-1], GOOD)


def test_definitions_pass_through_once(shop: Shop) -> None:
    first = shop.defs(shop.orders())
    with pytest.raises(WiringError, match="have passed through with_contracts already") as raised:
        with_contracts(
            dg.Definitions.merge(first, dg.Definitions(assets=[shop.revenue()])),
            contracts=shop.deployment.resource,
        )
    assert "io_manager" in str(raised.value)
    assert "merge the definitions first" in str(raised.value)


@pytest.mark.parametrize("elsewhere", ["Definitions", "asset", "check"])
def test_two_resources_of_one_key_are_refused(shop: Shop, elsewhere: str) -> None:
    def own() -> dict[str, Any]:
        return {"special": dg.IOManagerDefinition.hardcoded_io_manager(Shelf())}

    @dg.asset_check(asset="orders", resource_defs=own(), required_resource_keys={"special"})
    def looking() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    orders = shop.orders(resource_defs=own(), io_manager_key="special")
    others = {
        "Definitions": {"resources": own()},
        "asset": {"assets": [shop.revenue(resource_defs=own(), io_manager_key="special")]},
        "check": {"asset_checks": [looking]},
    }[elsewhere]
    assets = [orders, *others.pop("assets", [])]

    with pytest.raises(WiringError, match="two different resources have the key 'special'") as told:
        shop.defs(*assets, **others)

    assert "orders" in str(told.value)


class Made(dg.ConfigurableIOManagerFactory[Shelf]):
    """A shelf by its name, as a resource with configuration."""

    name: str

    def create_io_manager(self, context: dg.InitResourceContext) -> Shelf:
        return SHELVES.setdefault(self.name, Shelf())


SHELVES: dict[str, Shelf] = {}


def test_io_managers_may_be_configured_when_a_run_starts(shop: Shop) -> None:
    @dg.input_manager(config_schema={"name": str})
    def loader(context: dg.InputContext) -> Any:
        return SHELVES[context.resource_config["name"]].kept["orders"]

    SHELVES.clear()
    defs = shop.defs(
        shop.audited(resource_defs={"made": Made.configure_at_launch()}, io_manager_key="made"),
        shop.revenue(dg.AssetIn(input_manager_key="loader")),
        resources={"loader": loader, "io_manager": Made(name="others")},
    )
    job = defs.resolve_implicit_global_asset_job_def()
    said = {"config": {"name": "launched"}}
    config = {"resources": {"made__inner": said, "loader__inner": said}}

    for batch in (GOOD, BAD):
        shop.deployment.delivered["orders"] = batch
        job.execute_in_process(instance=shop.deployment.instance, run_config=config)

    pd.testing.assert_frame_equal(shop.read[1], GOOD)
    pd.testing.assert_frame_equal(SHELVES["launched"].kept["orders"], GOOD)
    assert shop.open_reads() == [("revenue", "orders", "last")]


class Parts(Shelf):
    """A shelf by partition, whose values for several come as a dictionary."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        self.kept[context.partition_key if context.has_asset_partitions else "-"] = obj

    def load_input(self, context: dg.InputContext) -> Any:
        found = {key: self.kept[key] for key in context.asset_partition_keys}
        return found if len(found) > 1 else found.popitem()[1]


def test_a_loader_of_several_partitions_is_asked_for_each_that_the_primary_serves(
    shop: Shop,
) -> None:
    parts = Parts()
    orders = shop.orders(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))

    @dg.asset(ins={"orders": dg.AssetIn(input_manager_key="loader")})
    def revenue(orders: dict[str, pd.DataFrame]) -> None:
        shop.read.extend(orders[key] for key in ("a", "b"))

    defs = shop.defs(orders, revenue, resources={"io_manager": parts, "loader": parts})
    for partition in ("a", "b"):
        shop.deployment.delivered[partition] = GOOD
        shop.deployment.run(defs, "orders", partition=partition)
    shop.deployment.delivered["b"] = BAD
    shop.deployment.run(defs, "orders", partition="b")

    shop.deployment.run(defs, "revenue")

    for frame in shop.read:
        pd.testing.assert_frame_equal(frame, GOOD)
    pd.testing.assert_frame_equal(parts.kept["b"], BAD)
    assert set(shop.open_reads()) == {("revenue", "orders", "last")}
