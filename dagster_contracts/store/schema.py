"""Which schema a store has, and how it is brought to ours."""

from __future__ import annotations

import sqlalchemy as sa

from dagster_contracts.errors import SchemaTooNewError
from dagster_contracts.store.tables import VERSION_TABLE

# The newest revision in migrations/versions; a test compares them. It stands here so that opening
# a store that is up to date does not import Alembic.
SCHEMA_REVISION = "0003"

_version = sa.table(VERSION_TABLE, sa.column("version_num"))


def stored_revision(conn: sa.Connection) -> str | None:
    """The revision that the store is at; ``None`` for a store without tables."""
    if not sa.inspect(conn).has_table(VERSION_TABLE):
        return None
    revision: str | None = conn.execute(sa.select(_version.c.version_num)).scalar_one_or_none()
    return revision


def upgrade_schema(conn: sa.Connection, *, where: str) -> None:
    """Run the missing migrations in the caller's transaction, which holds the schema lock.

    ``SchemaTooNewError`` where the store's revision is not one of ours.
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
    command.upgrade(config, "head")
