"""The pipeline itself, as a team would write it; what the source delivers lies in a folder."""

# Dagster reads annotations as they stand: no `from __future__ import annotations`.

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
from upath import UPath

from dagster_contracts import ContractsResource, contract_asset, with_contracts
from tests.orchestration.pipeline.truth import REGIONS, SOURCES

DAILY = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-08")
WEEKLY = dg.WeeklyPartitionsDefinition("2024-01-01", end_date="2024-01-08", day_offset=1)
GRID = dg.MultiPartitionsDefinition(
    {"date": DAILY, "region": dg.StaticPartitionsDefinition(REGIONS)}
)
TENANTS = dg.DynamicPartitionsDefinition(name="tenants")
BRANCHES = dg.StaticPartitionsDefinition(["north", "south"])
COUNTRY = dg.StaticPartitionsDefinition(["country"])

CONTRACT = """
data_contract:
  name: {name}
  version: 1.0.0
  schema:
    fields:
      id: {{type: integer, required: true}}
      amount: {{type: number, required: true, minimum: 0}}
      note: {{type: string}}
  schemas:
    small: {{fields: {{id: {{type: integer}}, amount: {{type: number}}}}}}
  resilience:
    circuit_breaker:
      open_when: [schema_validation_errors > 50%]
      scope: {scope}
      recovery: {{retry_after: {retry_after}, jitter: 0}}
    fallback_modes:
      {levels}
"""


def write_contracts(root: Path, seeds: str) -> None:
    """The contracts of every source; ``seeds`` is where the levels that are files lie."""
    for name, source in SOURCES.items():
        levels = [f"- {_level(level, name, seeds)}" for level in source.levels]
        folder = root / "contracts" / name
        folder.mkdir(parents=True)
        text = CONTRACT.format(
            name=name,
            scope=source.scope,
            retry_after="1ms" if source.impatient else "1h",
            levels="\n      ".join(levels),
        )
        (folder / "1.0.0.yaml").write_text(text)


def _level(level: str, asset: str, seeds: str) -> str:
    some, name = ("any_partition: true, ", level[4:]) if level.startswith("any ") else ("", level)
    label = name.replace(" ", "_")
    match name:
        case "last_valid":
            return f"{{{some}level: {label}, source: last_valid}}"
        case "seed":
            text = f"{seeds}/{asset}/{{partition}}.parquet"
            return f"{{{some}level: {label}, source: '{text}', schema: small}}"
        case "folder":
            return (
                f"{{{some}level: {label}, source: '{seeds}/{asset}/{{partition}}', schema: small}}"
            )
        case "whole seed":
            return f"{{{some}level: {label}, source: '{seeds}/{asset}.parquet', schema: small}}"
        case _:
            return f"{{{some}level: {label}, source: {name}, schema: small}}"


def frame(rows: list[Any]) -> pd.DataFrame:
    """A batch as its producer makes it."""
    ids, amounts = [row[0] for row in rows], [float(row[1]) for row in rows]
    return pd.DataFrame({"id": ids, "amount": amounts, "note": ["-"] * len(rows)})


class ParquetFiles(dg.UPathIOManager):
    """Stores each partition as a Parquet file, and loads it as the type that is asked for."""

    extension = ".parquet"

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: Any) -> None:
        if isinstance(obj, pd.DataFrame):
            obj.to_parquet(path)

    def load_from_path(self, context: dg.InputContext, path: Any) -> Any:
        wanted = context.dagster_type.typing_type
        wanted = getattr(wanted, "__args__", (wanted,))[-1]
        table = pl.read_parquet(path)
        if wanted is pl.DataFrame:
            return table
        return table.to_arrow() if wanted is pa.Table else table.to_pandas()


class ByPartition(dg.IOManager):
    """Stores a dictionary by partition, and so the partitions of a range in one go."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, key: dg.AssetKey, partition: str) -> Path:
        return self.root / "/".join(key.path) / f"{partition}.pickle"

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if isinstance(obj, pd.DataFrame) and len(context.asset_partition_keys) > 1:
            obj = dict(list(obj.groupby("note")))
        if not isinstance(obj, Mapping):
            obj = {context.partition_key: obj}
        for partition, batch in obj.items():
            path = self._path(context.asset_key, partition)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps(batch))

    def load_input(self, context: dg.InputContext) -> Any:
        loaded = {
            partition: pickle.loads(self._path(context.asset_key, partition).read_bytes())
            for partition in context.asset_partition_keys
        }
        return loaded if len(loaded) > 1 else next(iter(loaded.values()))


def build(
    root: Path, store: str, seeds: str, *, executor: dg.ExecutorDefinition | None = None
) -> dg.Definitions:
    """The definitions, under contract. Consumers tell in ``root/served`` what they were given."""

    def delivered(name: str, partition: str | None) -> pd.DataFrame:
        path = root / "delivered" / f"{name}.json"
        return frame(json.loads(path.read_text())[partition or ""])

    def tell(name: str, partition: str | None, **given: Any) -> pd.DataFrame:
        told = {upstream: _rows(data) for upstream, data in given.items() if data is not None}
        path = root / "served" / f"{name}@{partition or ''}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(told))
        rows = [row for parts in told.values() for part in parts.values() for row in part["rows"]]
        return frame(rows)

    def producer(name: str, partitions: Any) -> Any:
        decorate: Callable[..., Any]
        if name in SOURCES and SOURCES[name].audited:
            decorate = contract_asset(name, partitions_def=partitions)
        else:
            decorate = dg.asset(name=name, partitions_def=partitions)

        def compute(context: dg.AssetExecutionContext) -> pd.DataFrame:
            return delivered(name, context.partition_key)

        compute.__name__ = name
        return decorate(compute)

    def consumer(name: str, upstream: str, kind: Any, **options: Any) -> Any:
        asked = options.pop("asked", {})
        partitioned = options.get("partitions_def") is not None

        def compute(context: dg.AssetExecutionContext, data: Any) -> Any:
            _is(kind, data)
            return tell(name, context.partition_key if partitioned else None, **{upstream: data})

        compute.__annotations__["data"] = kind
        compute.__annotations__.pop("return")
        ins = {"data": dg.AssetIn(key=upstream, **asked)}
        return dg.asset(name=name, ins=ins, **options)(compute)

    missing = {"metadata": {"allow_missing_partitions": True}}
    by_dimension = dg.MultiToSingleDimensionPartitionMapping
    two_days = dg.TimeWindowPartitionMapping(
        start_offset=-1, allow_nonexistent_upstream_partitions=True
    )
    yesterday = dg.TimeWindowPartitionMapping(
        start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True
    )

    @contract_asset(
        "bulk",
        partitions_def=DAILY,
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="ranged",
    )
    def bulk(context: dg.AssetExecutionContext) -> dict[str, pd.DataFrame]:
        return {day: delivered("bulk", day) for day in context.partition_keys}

    @contract_asset(
        "flat",
        partitions_def=DAILY,
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="ranged",
    )
    def flat(context: dg.AssetExecutionContext) -> pd.DataFrame:
        days = [delivered("flat", day).assign(note=day) for day in context.partition_keys]
        return pd.concat(days, ignore_index=True)

    @dg.asset(partitions_def=DAILY)
    def silent(context: dg.AssetExecutionContext, orders: pd.DataFrame) -> None:
        tell("silent", context.partition_key, orders=orders)

    @dg.asset(partitions_def=DAILY)
    def told(
        context: dg.AssetExecutionContext, revenue: pd.DataFrame, bulk: pd.DataFrame
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        tell("told", context.partition_key, revenue=revenue, bulk=bulk)
        return dg.MaterializeResult(metadata={"mine": 1})

    @dg.multi_asset(
        outs={name: dg.AssetOut(is_required=False) for name in ("first", "second")},
        internal_asset_deps={
            "first": {dg.AssetKey("orders")},
            "second": {dg.AssetKey("first"), dg.AssetKey("meter")},
        },
        partitions_def=DAILY,
        ins={"orders": dg.AssetIn("orders"), "meter": dg.AssetIn("meter")},
        can_subset=True,
        required_resource_keys={"contracts"},
    )
    def chain(context: dg.AssetExecutionContext, orders: pd.DataFrame, meter: pd.DataFrame) -> Any:
        day = context.partition_key
        made = None
        if dg.AssetKey("first") in context.selected_asset_keys:
            made = tell("first", day, orders=orders)
            yield dg.Output(made, "first")
        if dg.AssetKey("second") in context.selected_asset_keys:
            if made is None:
                # Built alone, it reads what is stored of the other.
                context.resources.contracts.resolve("first")
                made = pd.read_parquet(str(UPath(root / "io" / "first" / f"{day}.parquet")))
            yield dg.Output(tell("second", day, first=made, meter=meter), "second")

    @dg.asset(
        partitions_def=DAILY,
        ins={"running": dg.AssetIn(partition_mapping=yesterday)},
    )
    def running(
        context: dg.AssetExecutionContext, orders: pl.DataFrame, running: pd.DataFrame | None
    ) -> pd.DataFrame:
        _is(pl.DataFrame, orders)
        return tell("running", context.partition_key, orders=orders, running=running)

    @dg.asset(
        partitions_def=DAILY,
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="ranged",
        ins={"orders": dg.AssetIn(partition_mapping=two_days)},
    )
    def span(context: dg.AssetExecutionContext, orders: Any) -> dict[str, pd.DataFrame]:
        made = {}
        if not isinstance(orders, dict):
            orders = {context.partition_key: orders}
        for day in context.partition_keys:
            at = DAILY.get_partition_keys().index(day)
            mine = DAILY.get_partition_keys()[max(0, at - 1) : at + 1]
            made[day] = tell("span", day, orders={p: orders[p] for p in mine})
        return made

    @dg.multi_asset(
        outs={name: dg.AssetOut(is_required=False) for name in ("left", "right")},
        internal_asset_deps={
            "left": {dg.AssetKey("orders")},
            "right": {dg.AssetKey("clicks")},
        },
        partitions_def=DAILY,
        ins={"orders": dg.AssetIn("orders"), "clicks": dg.AssetIn("clicks")},
        can_subset=True,
    )
    def pair(context: dg.AssetExecutionContext, orders: pd.DataFrame, clicks: pd.DataFrame) -> Any:
        made = {"left": ("orders", orders), "right": ("clicks", clicks)}
        for key in sorted(context.selected_asset_keys):
            name = key.to_user_string()
            upstream, data = made[name]
            told = tell(name, context.partition_key, **{upstream: data})
            yield dg.Output(told, name)

    @dg.op
    def halve(orders: pd.DataFrame) -> pd.DataFrame:
        return orders

    @dg.op
    def finish(context: dg.OpExecutionContext, half: pd.DataFrame) -> pd.DataFrame:
        if (root / "broken").exists():
            raise RuntimeError("the second half fails")
        return tell("mixed", context.partition_key, orders=half)

    @dg.graph_asset(partitions_def=DAILY)
    def mixed(orders: pd.DataFrame) -> pd.DataFrame:
        return finish(halve(orders))

    @dg.asset(
        ins={
            "revenue": dg.AssetIn(**missing),
            "weekly": dg.AssetIn(partition_mapping=dg.AllPartitionMapping()),
        }
    )
    def report(revenue: dict[str, pd.DataFrame], weekly: pd.DataFrame) -> pd.DataFrame:
        return tell("report", None, revenue=revenue, weekly={"2024-01-01": weekly})

    assets = [
        producer("orders", DAILY),
        producer("order_archive", DAILY),
        producer("clicks", DAILY),
        producer("grid", GRID),
        producer("tenants", TENANTS),
        producer("branches", BRANCHES),
        producer("meter", DAILY),
        producer("meter_archive", DAILY),
        producer("events", DAILY),
        bulk,
        flat,
        consumer("revenue", "orders", pd.DataFrame, partitions_def=DAILY),
        consumer(
            "trailing",
            "orders",
            dict[str, pl.DataFrame],
            partitions_def=DAILY,
            asked={"partition_mapping": two_days},
        ),
        consumer("weekly", "orders", dict[str, pa.Table], partitions_def=WEEKLY),
        consumer(
            "newest", "orders", pl.DataFrame, asked={"partition_mapping": dg.LastPartitionMapping()}
        ),
        consumer("total", "clicks", dict[str, pd.DataFrame], asked=missing),
        consumer("cell", "grid", pd.DataFrame, partitions_def=GRID),
        consumer(
            "by_region",
            "grid",
            dict[str, pd.DataFrame],
            partitions_def=dg.StaticPartitionsDefinition(REGIONS),
            asked={"partition_mapping": by_dimension("region"), **missing},
        ),
        consumer(
            "by_day",
            "grid",
            dict[str, pl.DataFrame],
            partitions_def=DAILY,
            asked={"partition_mapping": by_dimension("date"), **missing},
        ),
        consumer("tenant_copy", "tenants", pd.DataFrame, partitions_def=TENANTS),
        consumer("branch_copy", "branches", pa.Table, partitions_def=BRANCHES),
        consumer("flat_copy", "flat", pd.DataFrame, partitions_def=DAILY),
        consumer(
            "country",
            "branches",
            dict[str, pa.Table],
            partitions_def=COUNTRY,
            asked={
                "partition_mapping": dg.StaticPartitionMapping(
                    dict.fromkeys(BRANCHES.get_partition_keys(), "country")
                ),
                **missing,
            },
        ),
        consumer("all_tenants", "tenants", dict[str, pl.DataFrame], asked=missing),
        consumer("bulk_copy", "bulk", pd.DataFrame, partitions_def=DAILY),
        consumer("meter_copy", "meter", pd.DataFrame, partitions_def=DAILY),
        consumer("event_copy", "events", pd.DataFrame, partitions_def=DAILY),
        consumer("span_copy", "span", pd.DataFrame, partitions_def=DAILY),
        running,
        span,
        pair,
        chain,
        silent,
        told,
        mixed,
        report,
    ]
    return with_contracts(
        dg.Definitions(
            assets=assets,
            resources={
                "io_manager": dg.IOManagerDefinition.hardcoded_io_manager(
                    ParquetFiles(UPath(root / "io"))
                ),
                "ranged": dg.IOManagerDefinition.hardcoded_io_manager(ByPartition(root / "ranged")),
            },
            executor=executor or dg.in_process_executor,
        ),
        contracts=ContractsResource(
            path=str(root / "contracts"), store=store, archive=str(root / "archive")
        ),
    )


def _is(kind: Any, data: Any) -> None:
    """The consumer got the type that it asked for."""
    args = getattr(kind, "__args__", ())
    parts = data.values() if args else [data]
    wanted = args[-1] if args else kind
    for part in parts:
        assert isinstance(part, wanted), (kind, type(part))


def _rows(data: Any) -> dict[str, Any]:
    if isinstance(data, dict):
        return {str(part): _rows(batch)[""] for part, batch in data.items()}
    return {"": {"kind": type(data).__module__.partition(".")[0], "rows": _plain(data)}}


def _plain(data: Any) -> list[tuple[int, float]]:
    if isinstance(data, pa.Table):
        data = data.to_pandas()
    ids = data["id"].to_list()
    return sorted(zip(map(int, ids), map(float, data["amount"].to_list()), strict=True))
