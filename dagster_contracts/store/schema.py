"""Which schema a store has, and how it is brought to ours."""

from __future__ import annotations

import sqlalchemy as sa

from dagster_contracts.errors import SchemaTooNewError, StoreError
from dagster_contracts.store.tables import VERSION_TABLE, metadata

# The newest revision in migrations/versions; a test compares them. It stands here so that opening
# a store that is up to date does not import Alembic.
SCHEMA_REVISION = "0005"

_version = sa.table(VERSION_TABLE, sa.column("version_num"))


def stored_revision(conn: sa.Connection) -> str | None:
    """The revision that the store is at; ``None`` for a store without tables.

    ``StoreError`` where tables are there and it is not known of which revision.
    """
    there = set(sa.inspect(conn).get_table_names())
    ours = sorted(there & {table.name for table in metadata.sorted_tables})
    found = conn.scalars(sa.select(_version.c.version_num)).all() if VERSION_TABLE in there else []
    missing = sorted({table.name for table in metadata.sorted_tables} - there)
    if len(found) == 1 and ours and not (missing and found[0] == SCHEMA_REVISION):
        revision: str = found[0]
        return revision
    if not found and not ours:
        return None
    if not ours:
        why = f"{VERSION_TABLE} says {', '.join(found)}, and none of the tables is there"
    elif not found:
        lacks = "is empty" if VERSION_TABLE in there else "is missing"
        why = f"{len(ours)} of its tables are there, and {VERSION_TABLE} {lacks}"
    elif len(found) == 1:
        why = f"{VERSION_TABLE} says {found[0]}, and there is no {', '.join(missing)}"
    else:
        why = f"{VERSION_TABLE} has {len(found)} rows: {', '.join(found)}"
    raise _not_whole(conn.engine.url.render_as_string(hide_password=True), why)


def _not_whole(where: str, why: str) -> StoreError:
    return StoreError(
        "the state store is not whole: half of a backup was restored, or something was deleted",
        where=where,
        why=why,
        hint=f"restore the whole backup, {VERSION_TABLE} with its one row; or move what is there "
        "away and begin anew",
    )


def upgrade_schema(conn: sa.Connection, *, where: str) -> None:
    """Run the missing migrations in the caller's transaction, which holds the schema lock.

    ``SchemaTooNewError`` where the store's revision is not one of ours, ``StoreError`` where its
    tables are newer than it says.
    """
    # Alembic is only needed for a store that is not up to date.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "dagster_contracts.store:migrations")
    config.attributes["connection"] = conn
    current = stored_revision(conn)
    ours = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in ours:
        raise SchemaTooNewError(
            f"the state store has schema {current}; this release knows up to {SCHEMA_REVISION}",
            where=where,
            why="a newer release of dagster-contracts has written it",
            hint="upgrade dagster-contracts here, or set `store` to another database",
        )
    try:
        command.upgrade(config, "head")
    except sa.exc.DBAPIError as error:
        said = str(error.orig).strip().split("\n")[0]
        if not any(each in said.lower() for each in ("duplicate column", "already exists")):
            raise
        why = f"{VERSION_TABLE} says {current}, and what comes after that is there: {said}"
        raise _not_whole(where, why) from error
