"""Duplicates of keys: rows beyond the first of each group; a key with a gap is no duplicate.

Everywhere a key is grouped and counted. Polars has a shorter way for the common case that nearly
all keys differ: sort the keys (or their hashes, which are quicker to sort than text), look for
equal neighbours, and group only the rows whose hash occurs again. The grouping is what counts, so
that two keys of the same hash are never taken for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import narwhals as nw

from dagster_contracts.core.checks import PlannedRule
from dagster_contracts.core.rules import Aggregate
from dagster_contracts.engine.compiler import Columns, expression_columns, present
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.literal import all_of
from dagster_contracts.engine.scan import Backend, Row, Scan

COUNT = "__contracts_n"
"""Name of the column that counts the rows of a group."""

_HASH = "__contracts_hash"
_MOST_HASHES = 100_000
"""With more that occur again, all rows are grouped: to fetch millions of hashes takes gigabytes."""
_WHOLE_NUMBERS = (nw.Int64, nw.Int32, nw.UInt64, nw.UInt32)


@dataclass(frozen=True, slots=True)
class KeyRule:
    """A rule about the groups of a key.

    ``keyed`` has the key, by :func:`places`, in the rows where none of it is missing.
    """

    rule: PlannedRule
    columns: tuple[str, ...]
    keyed: nw.LazyFrame[Any]
    within: nw.Expr | None = None
    hashed: bool = False

    @property
    def counts_groups(self) -> bool:
        """Whether the rule asks for the number of groups, not for duplicates."""
        return isinstance(self.rule.test, Aggregate)


@dataclass(frozen=True, slots=True)
class Groups:
    """What was found: the groups, or the rows in groups of several and the largest of these."""

    groups: int
    rows: int = 0
    largest: Sequence[Row] = ()


def key_rule(
    rule: PlannedRule, key: tuple[str, ...], scan: Scan, columns: Columns, within: nw.Expr | None
) -> KeyRule:
    """The rule over this scan; raises what :meth:`Columns.require` raises."""
    filters = [present(scan.column(name), columns.require((name,))) for name in key]
    read = list(key)
    if within is not None:
        filters.append(within)
        read += expression_columns(rule.filter or "", columns.names)
    # By position: engines that group by text stumble over names such as a.b.
    names = [scan.column(name).alias(at) for name, at in zip(key, places(key), strict=True)]
    keyed = scan.only(read).filter(all_of(filters)).select(*names)
    return KeyRule(rule, key, keyed, within, hashed=scan.backend is Backend.POLARS)


def places(key: Sequence[str]) -> list[str]:
    """The names of a key's columns in the answers: ``k0``, ``k1``, ..."""
    return [f"k{number}" for number in range(len(key))]


def _grouped(rule: KeyRule) -> nw.LazyFrame[Any]:
    return rule.keyed.group_by(*places(rule.columns)).agg(nw.len().alias(COUNT))


def counted_groups(rule: KeyRule) -> nw.LazyFrame[Any]:
    """Group and count; :func:`read_groups` reads the answer."""
    groups = _grouped(rule)
    if rule.counts_groups:
        return groups.select(nw.len().alias("groups"))
    repeated = groups.filter(nw.col(COUNT) > 1)
    return repeated.select(nw.col(COUNT).sum().alias("rows"), nw.len().alias("groups"))


def largest_groups(rule: KeyRule, shown: int) -> nw.LazyFrame[Any]:
    """The groups of several rows that have most of them.

    Where groups tie, the smallest key comes first, so that two runs show the same.
    """
    key = places(rule.columns)
    most = [True, *[False] * len(key)]
    repeated = _grouped(rule).filter(nw.col(COUNT) > 1)
    return repeated.sort(COUNT, *key, descending=most).head(shown)


def read_groups(answer: Sequence[Row]) -> Groups:
    """The answer of :func:`counted_groups`."""
    found = answer[0]
    # Databases sum counts as decimals, and none at all as null.
    return Groups(groups=found["groups"], rows=int(found.get("rows") or 0))


def repeated_hashes(rule: KeyRule) -> nw.LazyFrame[Any]:
    """The hashes that occur more than once, up to one too many; Polars only."""
    import polars as pl  # late: importing the package must stay cheap

    keyed: pl.LazyFrame = rule.keyed.to_native()
    # One thread sorts in less time than two spend on it together, and the other has work.
    ordered = keyed.select(_hash_of(rule).alias(_HASH)).sort(_HASH, multithreaded=False)
    again = ordered.filter(pl.col(_HASH) == pl.col(_HASH).shift())
    return nw.from_native(again.unique().head(_MOST_HASHES + 1))


def among_hashes(rule: KeyRule, found: Sequence[Row]) -> KeyRule:
    """The rule over the rows alone whose hash is one of these; over all where they are too many."""
    import polars as pl  # late: importing the package must stay cheap

    if len(found) > _MOST_HASHES:
        return rule
    keyed: pl.LazyFrame = rule.keyed.to_native()
    hashed = _hash_of(rule)
    dtype = keyed.select(hashed.alias(_HASH)).collect_schema()[_HASH]
    hashes = pl.Series([row[_HASH] for row in found], dtype=dtype)
    suspects = keyed.filter(hashed.is_in(hashes.implode()))
    return KeyRule(rule.rule, rule.columns, nw.from_native(suspects), rule.within)


def _hash_of(rule: KeyRule) -> Any:
    """One 64-bit hash of the whole key; unlike multipliers keep (a, b) and (b, a) apart.

    A whole number is its own hash: keys are often in order, and what is sorted sorts at once.
    """
    import polars as pl  # late: importing the package must stay cheap

    schema = rule.keyed.collect_schema()
    if len(schema) == 1 and schema["k0"] in _WHOLE_NUMBERS:
        return pl.col("k0")
    hashes = [pl.col(name).hash() for name in places(rule.columns)]
    whole = hashes[0]
    for number, one in enumerate(hashes[1:], start=1):
        whole = whole + one * (2 * number + 1)
    return whole


def key_finding(rule: KeyRule, groups: Groups, tested: int) -> Finding:
    """The finding of a rule among ``tested`` rows."""
    if rule.counts_groups:
        return Finding(value=Fraction(groups.groups))
    return Finding(tested=tested, failed=groups.rows - groups.groups)
