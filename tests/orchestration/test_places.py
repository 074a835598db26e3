"""Levels behind paths and URLs: files here, in a store, one for each partition; tables."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import fsspec
import polars as pl
import pytest
import sqlalchemy as sa

from dagster_contracts.core.contract import FallbackSource, SourceKind
from dagster_contracts.engine.scan import UnreadableDataError
from dagster_contracts.errors import FallbackError
from dagster_contracts.orchestration.places import Place

ROWS = pl.DataFrame({"id": [1, 2], "amount": [1.5, 2.5]})


def test_a_relative_path_starts_at_the_root(tmp_path: Path) -> None:
    ROWS.write_csv(tmp_path / "seed.csv")

    place = Place.of("seed.csv", root=tmp_path, partition=None)

    assert place.path == tmp_path / "seed.csv"
    assert place.read().equals(ROWS)
    assert abs((place.modified_at() - datetime.now(UTC)).total_seconds()) < 60


@pytest.mark.parametrize("ending", ["parquet", "csv", "ndjson", "arrow"])
def test_a_store_that_fsspec_knows_is_read(tmp_path: Path, ending: str) -> None:
    uri = f"memory://{tmp_path.name}/seed.{ending}"
    write = {"parquet": "write_parquet", "csv": "write_csv", "ndjson": "write_ndjson"}
    with fsspec.open(uri, "wb") as stream:
        getattr(ROWS, write.get(ending, "write_ipc"))(stream)

    place = Place.of(uri, root=tmp_path, partition=None)

    assert place.path is None
    assert place.read().equals(ROWS)
    assert abs((place.modified_at() - datetime.now(UTC)).total_seconds()) < 60


def test_each_partition_has_its_own_file(tmp_path: Path) -> None:
    place = Place.of("seeds/{partition}.parquet", root=tmp_path, partition="2024-01-01")
    assert place.path == tmp_path / "seeds" / "2024-01-01.parquet"

    with pytest.raises(FallbackError, match="a file for each partition"):
        Place.of("seeds/{partition}.parquet", root=tmp_path, partition=None)


@pytest.mark.parametrize("partition", ["../secret", "/etc/passwd", "a/../../b", "s3://elsewhere"])
def test_a_partition_leads_nowhere_else(tmp_path: Path, partition: str) -> None:
    with pytest.raises(FallbackError, match="cannot stand in the path"):
        Place.of("seeds/{partition}.parquet", root=tmp_path, partition=partition)


@pytest.mark.parametrize(
    "uri", ["ssh://host/file.csv", "s3://a/b.zip::memory://c", "github://o:r/x"]
)
def test_other_schemes_are_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(FallbackError, match="its scheme is none of"):
        Place.of(uri, root=tmp_path, partition=None)


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    place = Place.of(f"memory://{tmp_path.name}/none.csv", root=tmp_path, partition=None)
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        place.modified_at()


@pytest.mark.parametrize("there", ["{}", "memory://{}"], ids=["on this machine", "in a store"])
def test_a_folder_of_parquet_files_is_one_table(tmp_path: Path, there: str) -> None:
    folder = there.format(tmp_path / "folder")
    for name in ("a", "b"):
        with fsspec.open(f"{folder}/{name}.parquet", "wb", auto_mkdir=True) as stream:
            ROWS.write_parquet(stream)

    place = Place.of(folder, root=tmp_path, partition=None)

    assert place.read().equals(pl.concat([ROWS, ROWS]))
    assert abs((place.modified_at() - datetime.now(UTC)).total_seconds()) < 60

    files, path = fsspec.core.url_to_fs(folder)
    files.rm([f"{path}/{name}.parquet" for name in ("a", "b")])
    files.makedirs(path, exist_ok=True)
    with pytest.raises(FileNotFoundError, match=r"no \.parquet file in the folder"):
        place.modified_at()


def test_a_table_of_a_database_is_read(tmp_path: Path) -> None:
    with sa.create_engine(f"sqlite:///{tmp_path / 'seed.db'}").begin() as connection:
        connection.exec_driver_sql("CREATE TABLE seeds (id INTEGER, amount FLOAT)")
        connection.exec_driver_sql("INSERT INTO seeds VALUES (1, 1.5), (2, 2.5)")

    place = Place.of("sqlite:///seed.db#seeds", root=tmp_path, partition=None)

    assert place.uri == f"sqlite:///{tmp_path / 'seed.db'}#seeds"
    assert place.modified_at() is None
    assert place.read().equals(ROWS)


def test_a_table_is_named_and_read_whole(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataError, match="end it with #table"):
        Place.of("sqlite:///seed.db", root=tmp_path, partition=None)
    with pytest.raises(FallbackError, match="a table is read whole"):
        Place.of("sqlite:///seed.db#seeds_{partition}", root=tmp_path, partition="a")


def test_no_password_is_shown() -> None:
    source = FallbackSource(SourceKind.URI, "postgresql://me:secret@host/db#seeds")

    assert source.shown == "postgresql://me:***@host/db#seeds"
