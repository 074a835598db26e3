"""Which tables a database has."""

from __future__ import annotations

from dagster_contracts.core.uri import hide_password
from dagster_contracts.engine.scan import UnreadableDataError, first_line


def table_names(url: str) -> tuple[str, ...]:
    """The tables and views of the default schema, sorted; raises :class:`UnreadableDataError`."""
    import sqlalchemy as sa  # late: only databases need it

    try:
        if url.startswith("duckdb"):
            return _duckdb_tables(url)
        parsed = sa.make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(parsed, poolclass=sa.NullPool)
        try:
            inspector = sa.inspect(engine)
            return tuple(sorted([*inspector.get_table_names(), *inspector.get_view_names()]))
        finally:
            engine.dispose()
    except Exception as error:  # drivers raise what they like, and some name the whole URL
        said = first_line(error).replace(url, hide_password(url))
        raise UnreadableDataError(
            f"{hide_password(url)} cannot be read: {type(error).__name__}: {said}"
        ) from None


def _duckdb_tables(url: str) -> tuple[str, ...]:
    import duckdb  # late: only databases need it

    path = url.partition("://")[2].removeprefix("/")
    with duckdb.connect(path, read_only=True) as connection:
        found = connection.execute("SHOW TABLES").fetchall()
    return tuple(sorted(str(row[0]) for row in found))
