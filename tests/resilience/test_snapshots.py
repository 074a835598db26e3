"""Last valid batches: verified before they are served, kept per partition, swept."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from dagster_contracts.errors import FallbackError, StoreError
from dagster_contracts.resilience.breaker import circuit_key
from dagster_contracts.resilience.snapshots import SnapshotArchive
from dagster_contracts.store.tables import snapshots

HOUR = timedelta(hours=1)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "snapshots"


@pytest.fixture
def archive(store, root):
    return SnapshotArchive(store, root)


def table_of(*values):
    return pa.table({"id": pa.array(values, pa.int64()), "name": [f"n{v}" for v in values]})


def files(root: Path):
    return sorted(path for path in root.rglob("*") if path.is_file())


def age(root, seconds):
    for path in files(root):
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_what_was_kept_is_served(archive, key, report):
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int32()),
            "t": pa.array([0, 1], pa.timestamp("us", "UTC")),
            "d": pa.array(["a", "b"]).dictionary_encode(),
            "l": [[1], []],
        }
    )
    kept = archive.keep(key, table, kind="polars", report=report())
    found = archive.latest("orders", "orders", None)
    assert found == kept
    assert (found.kind, found.rows, found.partition) == ("polars", 2, None)
    assert archive.load(found).equals(table)


def test_two_columns_of_one_name_are_kept(archive, key, report):
    table = pa.Table.from_arrays([pa.array([1]), pa.array(["x"])], names=["a", "a"])
    assert archive.load(archive.keep(key, table, kind="pandas", report=report())) == table


def test_an_empty_table_is_a_batch_too(archive, key, report):
    kept = archive.keep(key, table_of(), kind="pandas", report=report())
    assert archive.load(kept).schema == table_of().schema


def test_the_newest_wins_and_the_same_evaluation_is_kept_once(archive, key, report, clock):
    first = report()
    archive.keep(key, table_of(1), kind="pandas", report=first)
    clock.advance(minutes=1)
    archive.keep(key, table_of(2), kind="pandas", report=report())
    clock.advance(minutes=1)
    again = archive.keep(key, table_of(1), kind="pandas", report=first)
    assert archive.load(again) == table_of(1)
    assert archive.load(archive.latest("orders", "orders", None)) == table_of(2)


def test_each_partition_has_its_own(archive, key, report, clock):
    archive.keep(key, table_of(1), kind="pandas", report=report(partition="a"))
    clock.advance(minutes=1)
    archive.keep(key, table_of(2), kind="pandas", report=report(partition="b"))
    assert archive.load(archive.latest("orders", "orders", "a")) == table_of(1)
    assert archive.latest("orders", "orders", "c") is None
    assert archive.latest("orders", "orders", None) is None
    newest = archive.latest("orders", "orders", "c", any_partition=True)
    assert newest.partition == "b"


def test_what_is_too_old_is_not_served(archive, key, report, clock):
    archive.keep(key, table_of(1), kind="pandas", report=report())
    clock.advance(hours=1)
    assert archive.latest("orders", "orders", None, max_age=HOUR) is not None
    clock.advance(seconds=1)
    assert archive.latest("orders", "orders", None, max_age=HOUR) is None
    assert archive.latest("orders", "orders", None) is not None


@pytest.mark.parametrize("where", [0.02, 0.5, 0.98])
def test_a_flipped_byte_is_refused(archive, key, report, root, where):
    kept = archive.keep(key, table_of(*range(1000)), kind="pandas", report=report())
    (path,) = files(root)
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 0x01
    path.write_bytes(content)
    with pytest.raises(FallbackError, match="not what was written") as refusal:
        archive.load(kept)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("length", [0, 10])
def test_a_torn_file_is_refused(archive, key, report, root, length):
    kept = archive.keep(key, table_of(1, 2), kind="pandas", report=report())
    (path,) = files(root)
    os.truncate(path, length)
    with pytest.raises(FallbackError):
        archive.load(kept)


def test_a_missing_file_is_refused_and_the_one_before_can_be_tried(
    archive, key, report, root, clock
):
    archive.keep(key, table_of(1), kind="pandas", report=report())
    (old,) = files(root)
    clock.advance(minutes=1)
    archive.keep(key, table_of(2), kind="pandas", report=report())
    (new,) = set(files(root)) - {old}
    new.unlink()
    newest, older = archive.newest("orders", "orders", None)
    with pytest.raises(FallbackError, match="cannot be read"):
        archive.load(newest)
    assert archive.load(older) == table_of(1)


def test_another_schema_than_the_row_says_is_refused(archive, key, report, store):
    kept = archive.keep(key, table_of(1), kind="pandas", report=report())
    with store.begin() as conn:
        conn.execute(sa.update(snapshots).values(schema_sha256="0" * 64))
    with pytest.raises(FallbackError, match="schema"):
        archive.load(archive.latest("orders", "orders", None))
    assert archive.load(kept) == table_of(1)


def test_a_sweep_keeps_the_two_newest_of_each_partition(archive, key, report, root, clock):
    for partition in ("a", "b"):
        for number in range(5):
            clock.advance(minutes=1)
            table = table_of(ord(partition), number)
            archive.keep(key, table, kind="pandas", report=report(partition=partition))
    age(root, 7200)
    assert archive.sweep(3) == 4
    assert len(files(root)) == 6
    clock.advance(days=10)
    assert archive.sweep(3, timedelta(days=1)) == 2
    assert archive.sweep(1) == 0
    for partition in ("a", "b"):
        kept = archive.latest("orders", "orders", partition)
        assert archive.load(kept) == table_of(ord(partition), 4)


def test_a_sweep_removes_what_no_row_names_but_spares_the_young(archive, key, report, root):
    archive.keep(key, table_of(1), kind="pandas", report=report())
    archive.stage(key, table_of(2), kind="pandas", report=report())
    (root / "left-over.tmp").write_bytes(b"half")
    assert archive.sweep() == 0
    age(root, 7200)
    assert archive.sweep() == 2
    assert archive.load(archive.latest("orders", "orders", None)) == table_of(1)


def test_a_file_that_two_rows_name_stays_while_one_needs_it(archive, key, report, root, clock):
    archive.keep(key, table_of(1), kind="pandas", report=report(partition="a"))
    archive.keep(key, table_of(1), kind="pandas", report=report(partition="b"))
    assert len(files(root)) == 1
    clock.advance(minutes=1)
    archive.keep(key, table_of(2), kind="pandas", report=report(partition="a"))
    age(root, 7200)
    assert archive.sweep(1) == 0
    assert archive.load(archive.latest("orders", "orders", "b")) == table_of(1)


def test_a_row_is_refused_whose_file_was_swept_before_it(archive, key, report, root, store):
    staged = archive.stage(key, table_of(1), kind="pandas", report=report())
    age(root, 7200)
    archive.sweep()
    with pytest.raises(StoreError, match="gone"), store.begin() as conn:
        staged.commit(conn)
    assert archive.latest("orders", "orders", None) is None


def test_the_row_comes_with_the_evaluation_that_made_it_valid(archive, breaker, contract, report):
    key = circuit_key(contract, "orders")
    good, bad = report(), report(7)
    for each in (good, bad):
        staged = archive.stage(key, table_of(1), kind="pandas", report=each)
        breaker.record(contract, each, key=key, also=staged.commit)
    found = archive.newest("orders", "orders", None)
    assert [snapshot.evaluation_id for snapshot in found] == [good.evaluation_id]


def test_a_folder_that_cannot_be_written_is_a_clear_error(store, key, report, tmp_path):
    (tmp_path / "file").write_text("")
    archive = SnapshotArchive(store, tmp_path / "file")
    with pytest.raises(StoreError, match="could not be written"):
        archive.keep(key, table_of(1), kind="pandas", report=report())
