"""The cache in front of the folder: fresh, stale, missing, and one reader for each miss."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from dagster_contracts.errors import UnknownContractError
from dagster_contracts.registry.cache import ContractCache


class Source:
    """Answers that count how often they were asked for."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.seconds = 0.0
        self.version = "a"
        self.known = {"orders"}

    def read(self, ref: str) -> str:
        self.reads.append(ref)
        if ref not in self.known:
            raise UnknownContractError(f"no contract answers to {ref}")
        return f"{ref}#{len(self.reads)}"

    def cache(self, **settings: object) -> ContractCache[str]:
        return ContractCache(
            self.read,
            ttl=timedelta(seconds=30),
            negative_ttl=timedelta(seconds=5),
            clock=lambda: self.seconds,
            **settings,  # type: ignore[arg-type]
        )


def test_a_fresh_value_is_read_once() -> None:
    source = Source()
    cache = source.cache()

    assert [cache.get("orders") for _ in range(3)] == ["orders#1"] * 3


def test_an_expired_value_is_read_again() -> None:
    source = Source()
    cache = source.cache()
    cache.get("orders")
    source.seconds = 30.0

    assert cache.get("orders") == "orders#2"


def test_an_expired_value_stays_while_the_content_does() -> None:
    source = Source()
    cache = source.cache(version=lambda: source.version)
    cache.get("orders")
    source.seconds = 30.0
    same = cache.get("orders")
    source.seconds, source.version = 61.0, "b"

    assert (same, cache.get("orders")) == ("orders#1", "orders#2")


def test_what_is_not_there_is_remembered_for_a_shorter_time() -> None:
    source = Source()
    cache = source.cache()
    for _ in range(3):
        with pytest.raises(UnknownContractError):
            cache.get("nothing")
    assert source.reads == ["nothing"]

    source.seconds = 5.0
    source.known.add("nothing")

    assert cache.get("nothing") == "nothing#2"


def test_threads_that_miss_together_read_once() -> None:
    source = Source()
    begun, go_on = threading.Event(), threading.Event()

    def slow(ref: str) -> str:
        begun.set()
        assert go_on.wait(10)
        return source.read(ref)

    cache = ContractCache(slow)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(cache.get("orders"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join()

    assert found == ["orders#1"] * 8


def test_a_flood_of_unknown_names_does_not_fill_the_memory() -> None:
    source = Source()
    cache = source.cache(max_entries=10)
    for index in range(100):
        with pytest.raises(UnknownContractError):
            cache.get(f"nothing{index}")

    assert len(cache) <= 10
    assert cache.get("orders").startswith("orders")


def test_forgetting_reads_anew() -> None:
    source = Source()
    cache = source.cache()
    cache.get("orders")
    cache.forget()

    assert cache.get("orders") == "orders#2"
