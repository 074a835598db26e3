"""SQL rules: a query that returns one number, run over the batch by DuckDB.

Where the data is a table in a database, the query runs there, in the read-only transaction of all
other queries.

``${table}``, ``{table}`` and ``{object}`` in the query stand for the batch, ``${column}``,
``{column}`` and ``{property}`` for the rule's column, both quoted. The database sees the batch and
nothing else: files, network and settings are shut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from dagster_contracts.core.checks import PlannedRule
from dagster_contracts.core.rules import SqlQuery
from dagster_contracts.engine.declared_types import DeclaredTypes
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.frames import held_columns
from dagster_contracts.engine.scan import Scan, first_line
from dagster_contracts.engine.sql_scan import SqlRunner

TABLE = "batch"
_PLACEHOLDER = re.compile(r"\$?\{\s*(table|object|schema|model|column|property|field)\s*\}")
_OF_TABLE = ("table", "object", "schema", "model")


@dataclass
class SqlBatch:
    """The batch as DuckDB sees it, read once for all rules that ask for it by SQL.

    Its columns have the contract's types where its container has none.
    """

    batch: Any
    object_name: str
    declared: DeclaredTypes
    _connection: Any = None

    def query(self, text: str) -> list[Any]:
        """Up to two rows of a query over the batch."""
        import duckdb  # late: only contracts with SQL rules need it

        connection = self._connection = self._connection or self._connected()
        statements = connection.extract_statements(text)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise ValueError("it must be one SELECT statement")
        found: list[Any] = connection.execute(statements[0]).fetchmany(2)
        return found

    def _connected(self) -> Any:
        import duckdb  # late: only contracts with SQL rules need it
        import pyarrow as pa

        table = held_columns(self.batch, self.declared)
        # DuckDB has no numbers so long, and would refuse the whole table.
        table = table.select(
            [field.name for field in table.schema if not pa.types.is_decimal256(field.type)]
        )
        connection = duckdb.connect(":memory:")
        connection.register(TABLE, table)
        if re.fullmatch(r"\w+", self.object_name) and self.object_name.lower() != TABLE:
            connection.register(self.object_name, table)
        for setting in ("enable_external_access = false", "lock_configuration = true"):
            connection.execute(f"SET {setting}")
        return connection

    def close(self) -> None:
        """Give back what was opened."""
        if self._connection is not None:
            self._connection.close()


def measure_sql(
    rule: PlannedRule, test: SqlQuery, batch: SqlBatch, scan: Scan, *, allowed: bool
) -> Finding:
    """The number that the query returns; off unless the deployment allows SQL in contracts."""
    if not allowed:
        return Finding(unmeasured="SQL rules are off; this deployment has not allowed them")
    if rule.threshold is None and rule.warn is None:
        return Finding(unmeasured="the query needs an operator such as mustBe")
    if scan.kind == "pyspark":
        return Finding(unmeasured="SQL rules do not run on this kind of data")
    try:
        if isinstance(scan.run, SqlRunner):
            found = scan.run.query(_filled(test, scan.run.table))
        else:
            found = batch.query(_filled(test, TABLE))
    except ImportError:
        return Finding(unmeasured="SQL rules need the package duckdb")
    except Exception as error:  # the query is the contract's, its errors are many
        reason = f"the query failed: {type(error).__name__}"
        return Finding(unmeasured=reason, quoted=first_line(error))
    if len(found) != 1 or len(found[0]) != 1:
        return Finding(unmeasured="the query must return one row with one number")
    value = found[0][0]
    if isinstance(value, bool):
        value = int(value)
    try:
        return Finding(value=Fraction(value))
    except (TypeError, ValueError, OverflowError):
        return Finding(unmeasured=f"the query returned {type(value).__name__}, not a number")


def _filled(test: SqlQuery, table: str) -> str:
    def name_of(match: re.Match[str]) -> str:
        if match[1] in _OF_TABLE:
            return table
        wanted = test.column or match[0]
        return '"' + wanted.replace('"', '""') + '"'

    # Within the brackets that databases are given it in, a last semicolon would be an error.
    return _PLACEHOLDER.sub(name_of, test.query.strip().rstrip("; \n\t"))
