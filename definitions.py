"""A day in the life of two pipelines whose data is under contract.

Flights and weather become a report on delays; what customers do in a shop becomes recommendations.
The contracts stand in ``contracts/``. ``flights`` and ``weather`` are declared to keep theirs, and
are judged before they are published; ``real_time_navigation`` knows nothing of its contract, and
is checked all the same. The reports know nothing of circuits or fallbacks: they take their inputs
as any Dagster asset does.
"""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pandas as pd

from dagster_contracts import ContractsResource, contract_asset, with_contracts
from demo.customers import navigation_events
from demo.customers import sales_history as recorded_sales
from demo.faults import FaultSwitch
from demo.flights import FIRST_DAY, LAST_DAY, Landing
from demo.instance import ALERTS, FOLDER

faults = FaultSwitch(FOLDER)
landing = Landing(FOLDER / "landing", faults)

days = dg.DailyPartitionsDefinition(
    start_date=str(FIRST_DAY),
    end_date=str(LAST_DAY + timedelta(days=1)),  # Dagster leaves this one out
)


def day_of(context: dg.AssetExecutionContext) -> date:
    """The day that this run is about."""
    return date.fromisoformat(context.partition_key)


@contract_asset("flights@^1", partitions_def=days, group_name="flights")
def flights(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """Every flight that was to leave New York on the day."""
    return landing.flights(day_of(context))


@contract_asset("weather@^1", group_name="flights")
def weather() -> pd.DataFrame:
    """The weather at the three airports, hour by hour."""
    return landing.weather()


@dg.asset(group_name="flights")
def planes() -> pd.DataFrame:
    """The register of planes."""
    return landing.planes()


@dg.asset(partitions_def=days, group_name="flights")
def airline_schedule(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """The airlines' plan for the day, with the delays that are usual: what flights fall back to."""
    return landing.schedule(day_of(context))


@dg.asset(partitions_def=days, group_name="flights")
def delay_report(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """How late each carrier left each airport on the day, and in what weather."""
    conditions = weather[["origin", "time_hour", "temp", "wind_speed", "visib"]]
    departures = flights.merge(conditions, on=["origin", "time_hour"], how="left")
    return (
        departures.groupby(["origin", "carrier"])
        .agg(
            flights=("dep_delay", "size"),
            mean_delay=("dep_delay", "mean"),
            late=("dep_delay", lambda delay: float((delay > 15).mean())),
            temperature=("temp", "mean"),
            wind_speed=("wind_speed", "mean"),
            visibility=("visib", "mean"),
        )
        .reset_index()
    )


@dg.asset(group_name="shop")
def real_time_navigation() -> pd.DataFrame:
    """What customers did in the shop within the last hour."""
    return navigation_events(datetime.now(UTC), faults)


@dg.asset(group_name="shop")
def sales_history() -> pd.DataFrame:
    """What was sold in the last thirty days: slower to know of a wish, but always there."""
    return recorded_sales(datetime.now(UTC))


@dg.asset(group_name="shop")
def recommendations(real_time_navigation: pd.DataFrame) -> pd.DataFrame:
    """The three products for each customer that most others looked at and this one has not."""
    interest = real_time_navigation[["customer_id", "product_id"]].dropna().drop_duplicates()
    popularity = interest.groupby("product_id").size().rename("score").reset_index()
    offers = interest[["customer_id"]].drop_duplicates().merge(popularity, how="cross")
    offers = offers.merge(interest, on=["customer_id", "product_id"], how="left", indicator="seen")
    unseen = offers[offers["seen"] == "left_only"].drop(columns="seen")
    ranked = unseen.sort_values(
        ["customer_id", "score", "product_id"], ascending=[True, False, True]
    )
    return ranked.groupby("customer_id").head(3).reset_index(drop=True)


# What `dagster job execute -j ...` and the Launchpad offer; a run may as well be any selection.
jobs = [
    dg.define_asset_job("a_day", dg.AssetSelection.all() - dg.AssetSelection.assets("planes")),
    dg.define_asset_job("navigation", ["real_time_navigation"]),
]

# Every step has a process of its own, forked from one that has these imports done.
PRELOADED = ["dagster", "pandas", "dagster_contracts.orchestration.definitions"]

contracts = ContractsResource(
    path="contracts",
    store="sqlite:///.dagster_contracts/state.db",
    channels={"demo": f"file:{ALERTS}"},
)

defs = with_contracts(
    dg.Definitions(
        assets=[
            flights,
            weather,
            planes,
            airline_schedule,
            delay_report,
            real_time_navigation,
            sales_history,
            recommendations,
        ],
        jobs=jobs,
        executor=dg.multiprocess_executor.configured(
            {
                "max_concurrent": 2,
                "start_method": {"forkserver": {"preload_modules": PRELOADED}},
            }
        ),
        resources={"io_manager": dg.FilesystemIOManager(base_dir=str(FOLDER / "assets"))},
    ),
    contracts=contracts,
    tick_seconds=5,  # a deployment leaves this at half a minute
)
