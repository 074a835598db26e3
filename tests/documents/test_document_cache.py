"""What was read already, by content."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dagster_contracts.documents.document_cache import DocumentCache
from dagster_contracts.documents.folder import read_folder

TEXT = "data_contract: {name: orders, schema: {fields: {a: integer}}, description: %s}"


def test_a_value_is_kept_as_long_as_the_content_is_the_same() -> None:
    cache = DocumentCache[str](max_bytes=100)
    cache.put("a", "1", "first", size=10)

    assert cache.get("a", "1") == "first"
    assert cache.get("a", "2") is None
    assert cache.get("b", "1") is None


def test_an_edited_file_replaces_what_was_kept_of_it() -> None:
    cache = DocumentCache[int](max_bytes=100)
    for edition in range(1000):
        cache.put("a", str(edition), edition, size=60)

    assert len(cache) == 1
    assert cache.get("a", "999") == 999
    assert cache.get("a", "998") is None


def test_beyond_its_bound_what_was_not_used_for_longest_goes() -> None:
    cache = DocumentCache[str](max_bytes=100)
    for name in "abc":
        cache.put(name, "1", name, size=30)
    cache.get("a", "1")
    cache.put("d", "1", "d", size=30)
    cache.put("huge", "1", "huge", size=101)

    assert cache.get("b", "1") is None
    assert len(cache) == 0


def test_threads_share_it() -> None:
    cache = DocumentCache[int](max_bytes=50)

    def work(seed: int) -> None:
        for step in range(2_000):
            place = (seed * step) % 17
            cache.put(place, "1", place, size=10)
            assert cache.get(place, "1") in (place, None)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(1, 5)))
    assert len(cache) <= 5


def test_a_folder_is_parsed_once_and_an_edited_file_again(tmp_path: Path) -> None:
    file = tmp_path / "orders.yaml"
    file.write_text(TEXT % "one")
    (first,) = read_folder(tmp_path)
    os.utime(file)
    (again,) = read_folder(tmp_path)
    file.write_text(TEXT % "two")
    (edited,) = read_folder(tmp_path)

    assert again is first
    assert (first.description, edited.description) == ("one", "two")
