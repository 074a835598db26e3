"""A level that is a table of a database, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from tests.orchestration.conftest import BAD, ORDERS, Deployment


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, deployment: Deployment) -> Iterator[str]:
    """The URL of a database with the table ``seeds``; one row breaks nothing, one column is odd."""
    if request.param == "sqlite":
        url, shown = f"sqlite:///{deployment.root / 'seed.db'}", "sqlite:///seed.db"
    else:
        shown = url = str(
            sa.make_url(request.getfixturevalue("postgres_data"))
            .set(drivername="postgresql+psycopg")
            .render_as_string(hide_password=False)
        )
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS seeds")
        connection.exec_driver_sql("CREATE TABLE seeds (order_id BIGINT, amount FLOAT, odd TEXT)")
        connection.exec_driver_sql("INSERT INTO seeds VALUES (900, 9.5, 'x'), (901, 1.5, 'y')")
    yield shown
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE seeds")


def test_the_table_serves_while_the_circuit_is_open(deployment: Deployment, database: str) -> None:
    level = f"{{level: seeds, source: '{database}#seeds', schema: order_minimum}}"
    deployment.contract(ORDERS.split("      - {level: primary")[0] + f"      - {level}\n")
    deployment.delivered["orders"] = BAD
    served: list[pd.DataFrame] = []

    @dg.asset
    def revenue(orders: pd.DataFrame) -> float:
        served.append(orders)
        return float(orders["amount"].sum())

    ran = deployment.run(deployment.defs(deployment.asset("orders", "orders"), revenue))

    assert ran.output_for_node("revenue") == 11.0
    assert served[0].to_dict("records") == [
        {"order_id": 900, "amount": 9.5},
        {"order_id": 901, "amount": 1.5},
    ]
    (read,) = deployment.runtime.ledger.open_reads()
    assert read.level == "seeds"
