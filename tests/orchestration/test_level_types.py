"""What a level promises in columns and types is what arrives, whatever it is read from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa

from dagster_contracts import contract_asset
from dagster_contracts.engine.scan import UnreadableDataError
from dagster_contracts.errors import FallbackError
from tests.orchestration.conftest import Deployment

VISITS = """
data_contract:
  name: visits
  version: 1.0.0
  schema:
    fields:
      visit_id: {type: integer, required: true}
      code: {type: string}
      amount: {type: number}
      day: {type: date}
      seen: {type: timestamp}
      other: {type: boolean}
      pages: {type: integer}
  schemas:
    minimum:
      fields:
        visit_id: {type: integer, required: true}
        code: {type: string}
        amount: {type: number}
        day: {type: date}
        seen: {type: timestamp}
        pages: {type: integer}
  resilience:
    circuit_breaker: {open_when: ["schema_validation_errors > 5%"]}
"""
ROWS = pl.DataFrame(
    {
        "visit_id": [1, 2],
        "code": ["0012", None],
        "amount": [1.5, 2.0],
        "day": [date(2024, 1, 1), date(2024, 1, 2)],
        "seen": ["2024-01-01T10:00:00", "2024-01-02T11:30:00"],
        "other": [True, False],
        "pages": [3, None],
        "unsaid": ["x", "y"],
    }
).with_columns(pl.col("seen").str.to_datetime())
PROMISED = ["visit_id", "code", "amount", "day", "seen", "pages"]
SOURCES = (
    "seeds.csv", "seeds.ndjson", "seeds.parquet", "seeds.arrow", "./seeds", "sqlite", "duckdb",
    "postgresql", "archive", "subset", "last_valid",
)  # fmt: skip
Load = Callable[[object], Any]
WANTED = {
    pd.DataFrame: pd.DataFrame,
    pl.DataFrame: pl.DataFrame,
    pl.LazyFrame: pl.LazyFrame,
    pa.Table: pa.Table,
    nw.DataFrame: nw.DataFrame,
    nw.DataFrame[Any]: nw.DataFrame,
    nw.LazyFrame: nw.LazyFrame,
    dict[str, pl.DataFrame]: pl.DataFrame,
    pd.DataFrame | None: pd.DataFrame,
}


def as_polars(data: Any) -> pl.DataFrame:
    """The rows, brought to one form: text is text, and moments have one unit."""
    if isinstance(data, nw.DataFrame | nw.LazyFrame):
        data = data.to_native()
    frame = pl.from_pandas(data) if isinstance(data, pd.DataFrame) else data
    frame = pl.DataFrame(frame) if isinstance(frame, pa.Table) else frame.lazy().collect()
    if isinstance(data, pd.DataFrame):
        # It has no dates, and integers with gaps are floats.
        frame = frame.with_columns(pl.col("day").cast(pl.Date), pl.col("pages").cast(pl.Int64))
    return frame.with_columns(pl.col("seen").cast(pl.Datetime("us")))


def place(request: pytest.FixtureRequest, root: Path, source: str) -> str:
    """The rows at that source; what a contract calls it."""
    match source:
        case "seeds.csv":
            ROWS.write_csv(root / source)
        case "seeds.ndjson":
            ROWS.write_ndjson(root / source)
        case "seeds.parquet":
            ROWS.write_parquet(root / source)
        case "seeds.arrow":
            ROWS.write_ipc(root / source)
        case "./seeds":
            (root / "seeds").mkdir()
            for number in range(2):
                ROWS[number].write_parquet(root / f"seeds/{number}.parquet")
        case "sqlite" | "postgresql":
            url = f"sqlite:///{root}/seeds.db"
            if source == "postgresql":
                url = request.getfixturevalue("postgres_data")
            engine = sa.create_engine(
                sa.make_url(url).set(
                    drivername={"sqlite": "sqlite"}.get(source, "postgresql+psycopg")
                ),
                poolclass=sa.NullPool,
            )
            types = {"day": sa.Date(), "pages": sa.BigInteger()}
            with engine.begin() as conn:
                ROWS.to_pandas().to_sql(
                    "visits",
                    conn,
                    index=False,
                    if_exists="replace",
                    dtype=types,
                )
            shown = engine.url.render_as_string(hide_password=False)
            return f"{shown}#visits"
        case "duckdb":
            import duckdb

            with duckdb.connect(str(root / "seeds.duckdb")) as conn:
                rows = ROWS.to_arrow()
                conn.register("rows", rows)
                conn.execute("CREATE TABLE visits AS SELECT * FROM rows")
            return "duckdb:///seeds.duckdb#visits"
    return source


@pytest.fixture(params=SOURCES)
def served(request: pytest.FixtureRequest, deployment: Deployment) -> Load:
    """Loads the level of a source for a consumer's annotation."""
    return level_of(deployment, place(request, deployment.root, request.param))


def level_of(deployment: Deployment, source: str) -> Load:
    """A contract whose one level is that source; what loads it."""
    deployment.contract(
        VISITS
        + f"    fallback_modes:\n      - {{level: other, source: '{source}', schema: minimum}}\n",
        name="visits",
    )

    @contract_asset("visits")
    def visits() -> pd.DataFrame:
        return ROWS.to_pandas()

    @dg.asset
    def archive() -> pd.DataFrame:
        return ROWS.to_pandas()

    defs = deployment.defs(visits, archive)
    deployment.run(defs, "visits", "archive")
    reader = deployment.runtime.reader
    assert reader is not None
    binding = reader.binding(dg.AssetKey("visits"))
    assert binding is not None

    def load(wanted: object) -> Any:
        return reader.sources.load(
            binding,
            next(level for level in binding.resilience.levels if level.name == "other"),
            partition=None,
            instance=deployment.instance,
            load_primary=ROWS.to_pandas,
            load_asset=lambda key, any_partition: ROWS.to_pandas(),
            wanted=wanted,
        )

    return load


def test_each_kind_of_source_gives_each_kind_of_frame(served: Load) -> None:
    for wanted, kind in WANTED.items():
        data = served(wanted)
        assert isinstance(data, kind), wanted
        found = as_polars(data)
        assert found.columns == PROMISED
        assert found.equals(ROWS.select(PROMISED)), (wanted, found)


@pytest.mark.parametrize("bad", ["visit_id,code,amount,day,seen,pages\nx,0,1,2024-01-01,,1\n", ""])
def test_text_that_is_no_value_of_its_promised_type_is_not_served_as_null(
    deployment: Deployment, bad: str
) -> None:
    (deployment.root / "seeds.csv").write_text(bad)
    load = level_of(deployment, "seeds.csv")

    with pytest.raises((FallbackError, UnreadableDataError)):
        load(pl.DataFrame)


@pytest.mark.parametrize("scope", ["asset", "partition"])
def test_consumers_of_one_partition_and_of_all_get_what_they_ask_for(
    deployment: Deployment, scope: str
) -> None:
    (deployment.root / "seeds").mkdir()
    for number, day in enumerate("ab"):
        ROWS[number].write_csv(deployment.root / f"seeds/{day}.csv")
    level = "{level: other, source: 'seeds/{partition}.csv', schema: minimum}"
    scoped = VISITS.replace("circuit_breaker: {", f"circuit_breaker: {{scope: {scope}, ")
    deployment.contract(f"{scoped}    fallback_modes: [{level}]\n", name="visits")
    days = dg.StaticPartitionsDefinition(["a", "b"])
    got: list[Any] = []

    @contract_asset("visits", partitions_def=days)
    def visits() -> pd.DataFrame:
        return ROWS.drop("code").to_pandas()

    @dg.asset(partitions_def=days)
    def daily(visits: pl.LazyFrame) -> None:
        got.append(visits)

    @dg.asset
    def whole(visits: dict[str, nw.DataFrame]) -> None:
        got.append(visits)

    defs = deployment.defs(visits, daily, whole)
    for day in "ab":
        deployment.run(defs, "visits", "daily", partition=day)
    deployment.run(defs, "whole")

    first, second, both = got
    for number, (day, lazy) in enumerate((("a", first), ("b", second))):
        assert isinstance(lazy, pl.LazyFrame)
        assert as_polars(lazy).equals(ROWS[number].select(PROMISED))
        assert isinstance(both[day], nw.DataFrame)
        assert as_polars(both[day]).equals(ROWS[number].select(PROMISED))
