"""Opening, upgrading and transactions, the same on both databases."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from dagster_contracts.errors import SchemaTooNewError, StoreError
from dagster_contracts.store.columns import JsonText, PlainText, UtcTime
from dagster_contracts.store.database import open_store
from dagster_contracts.store.schema import SCHEMA_REVISION, stored_revision
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


def at_first_revision(url: str) -> None:
    """A store as the first release left it, with one degraded read."""
    from alembic import command
    from alembic.config import Config

    engine = sa.create_engine(url)
    config = Config()
    config.set_main_option("script_location", "dagster_contracts.store:migrations")
    newer = ("unhealed_because", "unhealed_since", "pending")
    old = [c for c in degraded_reads.c if c.name not in newer]
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
        old_circuits = [c for c in circuits.c if c.name != "partition_time"]
        table = sa.table(circuits.name, *(sa.column(c.name, c.type) for c in old_circuits))
        for partition, body in (
            ("", {}),
            ("a", {"partition_time": "2026-03-02T06:00:00+01:00"}),
            ("b", {}),
        ):
            values = {c.name: row.get(c.name, "x") for c in old_circuits}
            numbers = {"version": 1, "generation": 1, "wake_at": None}
            times = {"updated_at": datetime(2026, 1, 1, tzinfo=UTC)}
            mine = {"partition": partition, "body": body, **numbers, **times}
            conn.execute(sa.insert(table).values(**{**values, **mine}))
    engine.dispose()


def is_upgraded_with_what_it_held(url: str) -> None:
    store = open_store(url)
    with store.read() as conn:
        held = conn.execute(sa.select(degraded_reads)).one()._mapping
        assert (held["consumer"], held["generation"]) == ("consumer", 3)
        assert (held["unhealed_because"], held["unhealed_since"]) == (None, None)
        assert held["pending"] is False
        began = dict(conn.execute(sa.select(circuits.c.partition, circuits.c.partition_time)).all())
        assert began == {"": None, "a": datetime(2026, 3, 2, 5, tzinfo=UTC), "b": None}
        revision = conn.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    assert revision == SCHEMA_REVISION
    store.close()


def test_a_store_of_the_first_release_is_upgraded_with_what_it_holds(empty_url):
    at_first_revision(empty_url)
    is_upgraded_with_what_it_held(empty_url)


def test_processes_that_meet_at_an_old_store_upgrade_it_once(empty_url):
    at_first_revision(empty_url)
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [
        context.Process(target=_open_and_leave, args=(empty_url, barrier)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    is_upgraded_with_what_it_held(empty_url)


def _die_at(url: str, statement: int) -> None:
    """Open the store, and die without a word after so many statements that change the schema."""
    left = [statement]

    @sa.event.listens_for(sa.Engine, "after_cursor_execute")
    def after(conn, cursor, sql, parameters, context, executemany):
        left[0] -= sql.lstrip().upper().startswith(("ALTER", "CREATE", "UPDATE", "INSERT", "DROP"))
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    open_store(url)


def test_an_upgrade_that_is_killed_leaves_the_old_store_or_the_new_one(empty_url):
    at_first_revision(empty_url)
    context = multiprocessing.get_context("fork")
    killed = 0
    for statement in range(1, 100, 4):
        process = context.Process(target=_die_at, args=(empty_url, statement))
        process.start()
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        engine = sa.create_engine(empty_url)
        with engine.connect() as conn:
            assert stored_revision(conn) == "0001"
            assert conn.scalar(sa.text(f"SELECT count(*) FROM {degraded_reads.name}")) == 1
        engine.dispose()
    assert killed >= 2
    is_upgraded_with_what_it_held(empty_url)


def test_a_version_that_is_older_than_the_tables_says_so(store_url):
    engine = sa.create_engine(store_url)
    with engine.begin() as conn:
        conn.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '0003'"))

    with pytest.raises(StoreError, match="not whole") as refusal:
        open_store(store_url)

    assert f"{VERSION_TABLE} says 0003, and what comes after that is there" in refusal.value.why
    assert "restore the whole backup" in refusal.value.hint
    with engine.begin() as conn:
        assert stored_revision(conn) == "0003"
    engine.dispose()


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="cannot be opened") as refusal:
        open_store(f"sqlite:///{tmp_path}")

    assert refusal.value.why == "it is a folder"


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (f"DELETE FROM {VERSION_TABLE}", "is empty"),
        (f"DROP TABLE {VERSION_TABLE}", "is missing"),
        (f"INSERT INTO {VERSION_TABLE} VALUES ('0001')", "has 2 rows"),
        (f"DROP TABLE {degraded_reads.name}", f"there is no {degraded_reads.name}"),
    ],
)
def test_half_a_store_says_what_is_wrong_and_is_left_alone(store_url, harm, said):
    engine = sa.create_engine(store_url)
    with engine.begin() as conn:
        conn.execute(sa.text(harm))
        before = sa.inspect(conn).get_table_names()
    for _ in range(2):
        with pytest.raises(StoreError, match="not whole") as refusal:
            open_store(store_url)
        assert said in str(refusal.value.why)
        assert "restore the whole backup" in str(refusal.value.hint)
        assert type(refusal.value) is StoreError
    with engine.connect() as conn:
        assert sa.inspect(conn).get_table_names() == before
    engine.dispose()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else for a moment")
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("whole_folder", [True, False])
def test_a_file_that_may_only_be_read_is_read(sqlite_template, closed, whole_folder):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        shutil.copyfile(sqlite_template, path)
        url = f"sqlite:///{path}"
        writer = open_store(url)
        with writer.begin() as conn:
            conn.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = version_num"))
        if closed:
            writer.close()
        path.chmod(0o444)
        Path(folder).chmod(0o555 if whole_folder else 0o777)
        context = multiprocessing.get_context("fork")
        process = context.Process(target=_read_as_nobody, args=(url,))
        process.start()
        process.join(60)
        writer.close()
    assert process.exitcode == 0


def _read_as_nobody(url: str) -> None:
    os.setuid(65534)
    store = open_store(url)
    with store.read() as conn:
        assert conn.execute(sa.select(circuits)).all() == []
    with pytest.raises(StoreError, match="read-only") as refusal, store.begin():
        raise AssertionError
    assert "may not write" in str(refusal.value.why)
    store.close()
    os._exit(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else for a moment")
def test_an_old_file_that_may_only_be_read_says_who_must_upgrade_it():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        at_first_revision(f"sqlite:///{path}")
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        context = multiprocessing.get_context("fork")
        process = context.Process(target=_is_refused_as_old, args=(f"sqlite:///{path}",))
        process.start()
        process.join(60)
    assert process.exitcode == 0


def _is_refused_as_old(url: str) -> None:
    os.setuid(65534)
    with pytest.raises(StoreError, match="may not be upgraded") as refusal:
        open_store(url)
    assert "db upgrade" in str(refusal.value.hint)
    os._exit(0)
