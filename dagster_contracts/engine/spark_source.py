"""PySpark frames: Spark runs the queries, in UTC, over columns that are named by their position."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import narwhals as nw

from dagster_contracts.engine.scan import Backend, Scan, refuse_duplicates

# Naive timestamps of Python become Spark's only where that is its preferred type of them.
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
}


def scan_spark(data: Any, columns: Collection[str] | None) -> Scan:
    """A scan of a PySpark frame; the session's settings are restored when it is closed."""
    names = list(data.columns)
    refuse_duplicates(names)
    close = _settled(data.sparkSession)
    try:
        # Spark reads a.b and backticks as more than names, and knows no upper and lower case.
        spelled = {name: f"c{number}" for number, name in enumerate(names)}
        renamed = data.toDF(*spelled.values())
        found = nw.from_native(renamed).lazy().collect_schema()
        wanted = [spelled[name] for name in names if columns is None or name in columns]
        frame = nw.from_native(renamed.select(*wanted)).lazy()
        untyped = {f.name for f in data.schema.fields if f.dataType.typeName() == "void"}
    except BaseException:
        close()
        raise
    return Scan(
        kind="pyspark",
        backend=Backend.PYSPARK,
        frame=frame,
        schema={name: found[short] for name, short in spelled.items()},
        untyped=frozenset(untyped),
        spelled=spelled,
        close=close,
    )


def _settled(session: Any) -> Callable[[], None]:
    """Set what the queries rely on; returns what restores it."""
    before = {name: session.conf.get(name) for name in _SETTINGS}

    def set_all(settings: dict[str, str]) -> None:
        for name, value in settings.items():
            session.conf.set(name, value)
        _forget_time_zone()

    set_all(_SETTINGS)
    return lambda: set_all(before)


def _forget_time_zone() -> None:
    """Let Narwhals ask for the session's time zone again: it believes that it never changes."""
    from narwhals._spark_like.utils import fetch_session_time_zone

    fetch_session_time_zone.cache_clear()
