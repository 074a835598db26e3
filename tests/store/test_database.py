"""Opening, upgrading and transactions, the same on both databases."""

from __future__ import annotations

import multiprocessing
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from dagster_contracts.errors import SchemaTooNewError, StoreError
from dagster_contracts.store.columns import JsonText, PlainText, UtcTime
from dagster_contracts.store.database import open_store
from dagster_contracts.store.schema import SCHEMA_REVISION
from dagster_contracts.store.tables import VERSION_TABLE, circuits, degraded_reads, metadata

# A table of the tests' own, so that they speak of no service's rows.
scratch = sa.Table(
    "scratch",
    sa.MetaData(),
    sa.Column("name", PlainText, primary_key=True),
    sa.Column("value", JsonText),
    sa.Column("updated_at", UtcTime),
)


@pytest.fixture
def with_scratch(store):
    """The scratch table, empty."""
    with store.begin() as conn:
        scratch.create(conn)


def test_opening_creates_the_schema_and_opening_again_keeps_it(empty_url):
    first = open_store(empty_url)
    with first.begin() as conn:
        scratch.create(conn)
        row = {"name": "s", "value": {"cursor": 7}, "updated_at": datetime(2026, 1, 1, tzinfo=UTC)}
        conn.execute(sa.insert(scratch).values(**row))
    first.close()
    second = open_store(empty_url)
    with second.read() as conn:
        assert conn.execute(sa.select(scratch)).one()._mapping == row
    second.close()


def test_the_migrated_schema_is_the_metadata(store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.begin() as conn:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        assert compare_metadata(MigrationContext.configure(conn, opts=options), metadata) == []


def test_the_known_revision_is_the_newest_migration():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "dagster_contracts.store:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_REVISION


def test_a_newer_schema_is_refused_and_left_alone(store_url):
    store = open_store(store_url)
    with store.begin() as conn:
        conn.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(SchemaTooNewError) as refusal:
        open_store(store_url)
    assert "9999" in str(refusal.value)
    assert "upgrade dagster-contracts" in str(refusal.value)
    with store.read() as conn:
        assert conn.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == "9999"
    store.close()


def test_a_raising_block_leaves_nothing(store, with_scratch):
    def write_and_fail():
        row = {"name": "s", "value": 1, "updated_at": datetime(2026, 1, 1, tzinfo=UTC)}
        with store.begin() as conn:
            conn.execute(sa.insert(scratch).values(**row))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    with store.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(scratch)).scalar() == 0


def test_times_and_text_come_back_as_they_went_in(store, with_scratch):
    moment = datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    zoned = moment.astimezone(datetime.strptime("+0530", "%z").tzinfo)
    value = {"text": "a\x00b\ud800 é", "number": 1.5, "none": None}
    with store.begin() as conn:
        conn.execute(
            sa.insert(scratch).values(name="nul \x00 \ud800", value=value, updated_at=zoned)
        )
        row = conn.execute(sa.select(scratch)).one()
    assert row.updated_at == moment
    assert row.updated_at.utcoffset() == timedelta(0)
    assert row.value == value
    assert row.name == "nul \ufffd ?"


def test_a_time_without_a_zone_is_refused(store, with_scratch):
    row = {
        "name": "s",
        "value": 1,
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None),
    }
    with pytest.raises(sa.exc.StatementError, match="time zone"), store.begin() as conn:
        conn.execute(sa.insert(scratch).values(**row))


def test_the_clock_is_the_databases(reopen):
    store = reopen()
    with store.read() as conn:
        assert abs(store.now(conn) - datetime.now(UTC)) < timedelta(seconds=5)
        assert store.now(conn).utcoffset() == timedelta(0)


def test_the_password_is_never_shown():
    url = "postgresql://someone:secret@127.0.0.1:1/none?connect_timeout=2"
    with pytest.raises(StoreError) as refusal:
        open_store(url)
    assert "secret" not in str(refusal.value)
    assert "someone" in str(refusal.value)
    assert refusal.value.hint is not None


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("sqlite://", "in-memory"),
        ("sqlite:///:memory:", "in-memory"),
        ("mysql://host/name", "mysql"),
        ("nonsense", "cannot be read"),
        ("made+up://x", "made"),
    ],
)
def test_a_url_that_can_be_no_store_is_refused_with_a_hint(url, word):
    with pytest.raises(StoreError, match=word) as refusal:
        open_store(url)
    assert "sqlite:///" in str(refusal.value.hint)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path):
    path = tmp_path / "state.db"
    path.write_text("this is no database, and long enough to be read as a header " * 20)
    with pytest.raises(StoreError, match="not a database") as refusal:
        open_store(f"sqlite:///{path}")
    assert "no SQLite database" in str(refusal.value.hint)
    assert path.read_text().startswith("this is no database")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be created"):
        open_store(f"sqlite:///{tmp_path}/file/below/state.db")


def test_sqlite_is_in_wal_mode_and_parents_are_created(tmp_path: Path):
    path = tmp_path / "a" / "b" / "state.db"
    open_store(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_reader_does_not_wait_for_a_writer(store, with_scratch):
    with store.begin() as writer:
        row = {"name": "s", "value": 1, "updated_at": datetime(2026, 1, 1, tzinfo=UTC)}
        writer.execute(sa.insert(scratch).values(**row))
        with store.read() as reader:
            assert reader.execute(sa.select(scratch.c.name)).all() == []


def _open_and_leave(url: str, barrier: object) -> None:
    barrier.wait(timeout=60)  # type: ignore[attr-defined]
    store = open_store(url)
    with store.read() as conn:
        conn.execute(sa.select(circuits)).all()
    store.close()


def test_processes_that_meet_at_an_empty_database_migrate_it_once(empty_url):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(6)
    processes = [
        context.Process(target=_open_and_leave, args=(empty_url, barrier)) for _ in range(6)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6


def test_a_forked_process_uses_connections_of_its_own(store, with_scratch):
    with store.read() as conn:
        conn.execute(sa.select(scratch)).all()
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_write_one, args=(store,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    with store.read() as conn:
        assert conn.execute(sa.select(scratch.c.name)).scalars().all() == ["child"]


def _write_one(store: object) -> None:
    with store.begin() as conn:  # type: ignore[attr-defined]
        row = {"name": "child", "value": 1, "updated_at": datetime(2026, 1, 1, tzinfo=UTC)}
        conn.execute(sa.insert(scratch).values(**row))


def test_a_store_of_the_first_release_is_upgraded_with_what_it_holds(empty_url):
    from alembic import command
    from alembic.config import Config

    engine = sa.create_engine(empty_url)
    config = Config()
    config.set_main_option("script_location", "dagster_contracts.store:migrations")
    old = [c for c in degraded_reads.c if not c.name.startswith("unhealed")]
    row = {
        c.name: datetime(2026, 1, 1, tzinfo=UTC) if isinstance(c.type, UtcTime) else c.name
        for c in old
        if c.name not in ("id", "settled_at", "settled_by")
    }
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0001")
        first = sa.table(degraded_reads.name, *(sa.column(c.name, c.type) for c in old))
        conn.execute(sa.insert(first).values(**{**row, "generation": 3}))
    engine.dispose()

    store = open_store(empty_url)
    with store.read() as conn:
        held = conn.execute(sa.select(degraded_reads)).one()._mapping
        assert (held["consumer"], held["generation"]) == ("consumer", 3)
        assert (held["unhealed_because"], held["unhealed_since"]) == (None, None)
        revision = conn.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    assert revision == SCHEMA_REVISION
    store.close()
