"""A first contract from a profile, with the reason of each guess beside it.

Every rule that comes out holds for the rows that were looked at. Limits have a margin, so that the
next batch is not refused for being a little larger, and whatever rests on too few rows is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from dagster_contracts.core.column_names import (
    event_likeness,
    is_personal,
    key_likeness,
    natural_range,
)
from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import (
    Contract,
    LibraryMetric,
    LogicalType,
    QualityRule,
    RuleKind,
    SchemaObject,
    SchemaProperty,
    SlaProperty,
    Threshold,
    ThresholdOperator,
    ThresholdUnit,
    TypeOptions,
)
from dagster_contracts.core.human_number import human_above, human_below
from dagster_contracts.core.profile import ColumnProfile, TableProfile

Path: TypeAlias = tuple[str, ...]

PERSONAL = "personal"
"""The classification of what may be somebody's; samples of it are never shown."""

_NUMBERS = (LogicalType.INTEGER, LogicalType.NUMBER)

# How much evidence a guess needs. Below it the rule would say more about the sample than the data.
_ROWS_FOR_BOUNDS = 20
_ROWS_FOR_NULL_RATES = 20
_ROWS_FOR_ENUMS = 100
_SIGHTINGS_OF_VALUES = 3
_MOST_VALUES = 40
_LONGEST_VALUE = 60
_VARIETIES_FOR_SHAPES = 10
_LARGEST_FLOAT = Fraction(10) ** 300

_NULL_STEPS = (1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90)
_AGES = tuple(
    (timedelta(minutes=minutes), text)
    for minutes, text in (
        (15, "15min"), (30, "30min"), (60, "1h"), (120, "2h"), (360, "6h"), (720, "12h"),
        (1440, "1d"), (2880, "2d"), (4320, "3d"), (10080, "7d"), (20160, "14d"), (43200, "30d"),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """One thing that the contract says and nobody told it.

    ``path`` leads to the column, and is empty for the table; ``key`` is what was guessed (``enum``,
    ``primary_key``, ``nulls``, ...; ``column`` for a remark about the column itself).
    """

    path: Path
    key: str
    because: str

    def __str__(self) -> str:
        return f"{'.'.join(self.path) or 'the table'}: {self.key.replace('_', ' ')}: {self.because}"


@dataclass
class _Inference:
    profile: TableProfile
    guesses: list[Guess] = field(default_factory=list)
    rule_names: set[str] = field(default_factory=set)

    def guess(self, path: Path, key: str, because: str) -> None:
        self.guesses.append(Guess(path=path, key=key, because=because))

    @property
    def rows(self) -> str:
        rows = self.profile.rows
        count = "1 row" if rows == 1 else f"{rows:,} rows"
        return f"the first {count}" if self.profile.is_sample else count


def infer(
    profile: TableProfile,
    *,
    name: str,
    version: str,
    now: datetime,
    asset: str | None = None,
    description: str | None = None,
) -> tuple[Contract, tuple[Guess, ...]]:
    """The contract that a profile suggests, and what in it is a guess, in its order.

    ``now`` tells whether the newest event is recent enough to say how fresh the data is kept.
    """
    readable = _writable(profile)
    inference = _Inference(readable)
    if len(readable.columns) < len(profile.columns):
        count = len(profile.columns) - len(readable.columns)
        inference.guess((), "left_out", f"{count} left out, whose names no document can hold")
    profile = readable
    key = profile.keys[0] if profile.keys else ()
    properties = tuple(
        _property(inference, column, (column.name,), key, number)
        for number, column in enumerate(profile.columns, start=1)
    )
    event_time = _event_time(inference)
    contract = Contract(
        name=name,
        version=version,
        objects=(
            SchemaObject(name=name, properties=properties, quality=tuple(_row_rules(inference))),
        ),
        asset=asset,
        description=description,
        event_time=event_time,
        sla=tuple(_freshness(inference, event_time, now)),
    )
    return contract, tuple(inference.guesses)


def _is_writable(text: str) -> bool:
    """Whether a document can hold it: no NUL, and nothing that reads as a variable's name."""
    return "\x00" not in text and "${env:" not in text


def _writable(profile: TableProfile) -> TableProfile:
    """The profile without columns and fields whose names no document can hold."""
    columns = _writable_columns(profile.columns)
    kept = {column.name for column in columns}
    keys = tuple(key for key in profile.keys if kept.issuperset(key))
    return replace(profile, columns=columns, keys=keys)


def _writable_columns(columns: Sequence[ColumnProfile]) -> tuple[ColumnProfile, ...]:
    return tuple(
        replace(column, fields=_writable_columns(column.fields)) if column.fields else column
        for column in columns
        if _is_writable(column.name)
    )


def _property(
    inference: _Inference, column: ColumnProfile, path: Path, key: Sequence[str], number: int
) -> SchemaProperty:
    """The property of a column; ``number`` is its place, for names that YAML cannot carry."""
    if column.remark:
        inference.guess(path, "column", column.remark)
    top = len(path) == 1
    personal = is_personal(column.name)
    plain = len(column.name) <= 200
    required = _is_required(inference, column, path)
    in_key = top and column.name in key
    if in_key:
        because = "never repeats in" if len(key) == 1 else "these columns never repeat together in"
        inference.guess(path, "primary_key", f"{because} {inference.rows}")
    # Moments and amounts may well repeat tomorrow: only what is made to identify is called unique.
    identifies = key_likeness(column.name) > 0 or column.format in ("uuid", "email")
    unique = top and not in_key and identifies and (column.name,) in inference.profile.keys
    if unique:
        inference.guess(path, "unique", f"never repeats in {inference.rows}")
    if personal:
        inference.guess(
            path,
            "classification",
            "from the name, so samples are not shown and no values listed here; "
            "write internal where it is nobody's",
        )
    options = _options(inference, column, path, personal=personal, keyed=in_key or unique)
    fields = tuple(
        _property(inference, inner, (*path, inner.name), (), place)
        for place, inner in enumerate(column.fields, start=1)
    )
    return SchemaProperty(
        name=column.name if plain else f"column_{number}",
        physical_name=None if plain else column.name,
        logical_type=column.logical_type,
        required=required,
        unique=unique,
        primary_key_position=key.index(column.name) + 1 if in_key else None,
        classification=PERSONAL if personal else None,
        options=options,
        properties=fields,
        items=_items(column.items),
        quality=tuple(_null_rule(inference, column, path)) if top and not required else (),
    )


def _items(items: ColumnProfile | None) -> SchemaProperty | None:
    """The type of a list's items. Nothing measures what they hold, so no rule speaks of it."""
    if items is None or items.logical_type is None:
        return None
    return SchemaProperty(name="items", logical_type=items.logical_type)


def _is_required(inference: _Inference, column: ColumnProfile, path: Path) -> bool:
    if column.missing != 0 or inference.profile.rows == 0:
        return False
    inference.guess(path, "required", f"never missing in {inference.rows}")
    return True


def _options(
    inference: _Inference, column: ColumnProfile, path: Path, *, personal: bool, keyed: bool
) -> TypeOptions:
    filled = inference.profile.rows - (column.missing or 0)
    match column.logical_type:
        case LogicalType.INTEGER | LogicalType.NUMBER if filled >= _ROWS_FOR_BOUNDS:
            return _bounds(inference, column, path, hidden=personal, keyed=keyed)
        case LogicalType.TIMESTAMP if column.zoned is not None:
            words = "have a zone" if column.zoned else "have no zone"
            inference.guess(path, "timezone", f"the moments {words}")
            return TypeOptions(timezone=column.zoned)
        case LogicalType.STRING:
            return _text_options(inference, column, path, filled, hidden=personal)
        case _:
            return TypeOptions()


def _bounds(
    inference: _Inference, column: ColumnProfile, path: Path, *, hidden: bool, keyed: bool
) -> TypeOptions:
    """Limits around what was seen. Keys grow, so they have no upper one."""
    low = None if column.minimum is None else Fraction(column.minimum)
    high = None if column.maximum is None else Fraction(column.maximum)
    if hidden:
        return TypeOptions()
    spread = high - low if low is not None and high is not None else Fraction(0)
    natural = natural_range(column.name)
    if (
        natural is not None
        and low is not None
        and high is not None
        and natural[0] <= low
        and high <= natural[1]
    ):
        because = f"from the name; {_number(low)} to {_number(high)} in {inference.rows}"
        inference.guess(path, "minimum", because)
        inference.guess(path, "maximum", because)
        return TypeOptions(minimum=natural[0], maximum=natural[1])
    least: Fraction | None = None
    most: Fraction | None = None
    if low is not None:
        margin = max(spread / 10, abs(low) / 4)
        least = Fraction(0) if low >= 0 else human_below(low - margin)
        because = f"never negative in {inference.rows}" if low >= 0 else ""
        because = because or f"{_number(low)} was the smallest in {inference.rows}"
        if abs(least) < _LARGEST_FLOAT:
            inference.guess(path, "minimum", because)
    if high is not None and not keyed and key_likeness(column.name) == 0 and (high or low != 0):
        margin = max(spread / 10, abs(high) / 4)
        most = Fraction(0) if high <= 0 else human_above(high + margin)
        because = f"never positive in {inference.rows}" if high <= 0 else ""
        because = because or f"{_number(high)} was the largest in {inference.rows}"
        if abs(most) < _LARGEST_FLOAT:
            inference.guess(path, "maximum", because)
    return TypeOptions(
        minimum=_limit(least, column.logical_type), maximum=_limit(most, column.logical_type)
    )


def _limit(value: Fraction | None, logical_type: LogicalType | None) -> int | float | None:
    """A limit as documents can hold it."""
    if value is None or abs(value) >= _LARGEST_FLOAT:
        return None
    whole = value.denominator == 1
    if logical_type is LogicalType.INTEGER:
        return int(value)
    # Beyond these digits a document reads a float as well, and exactly.
    return int(value) if whole and abs(value) < 10**15 else float(value)


def _text_options(
    inference: _Inference, column: ColumnProfile, path: Path, filled: int, *, hidden: bool
) -> TypeOptions:
    enough = column.varieties >= _VARIETIES_FOR_SHAPES
    values = () if hidden else _closed_set(column, filled)
    if values:
        seen = f"{len(values)} distinct {'value' if len(values) == 1 else 'values'}"
        inference.guess(path, "enum", f"{seen} in {inference.rows}")
        return TypeOptions(enum=values)
    if column.format and enough:
        inference.guess(path, "format", f"all values of {inference.rows} have it")
        return TypeOptions(format=column.format)
    if column.pattern and enough:
        inference.guess(path, "pattern", f"all values of {inference.rows} match")
        return TypeOptions(pattern=column.pattern)
    if column.shortest is None or column.longest is None or filled < _ROWS_FOR_BOUNDS:
        return TypeOptions()
    least = 1 if column.shortest >= 1 else None
    if least:
        inference.guess(path, "min_length", f"never empty in {inference.rows}")
    most = int(human_above(Fraction(max(2 * column.longest, 10))))
    inference.guess(path, "max_length", f"the longest has {column.longest:,} in {inference.rows}")
    return TypeOptions(min_length=least, max_length=most)


def _closed_set(column: ColumnProfile, filled: int) -> tuple[str, ...]:
    """All values, where another one is unlikely to come: few, and each was seen several times."""
    counts = dict(column.values)
    if not counts or len(counts) > _MOST_VALUES or filled < _ROWS_FOR_ENUMS:
        return ()
    if min(counts.values()) < _SIGHTINGS_OF_VALUES or filled < 10 * len(counts):
        return ()
    # One value alone may be the name of this batch; texts are no codes.
    if len(counts) == 1 or max(map(len, counts)) > _LONGEST_VALUE:
        return ()
    if not all(map(_is_writable, counts)):
        return ()
    return tuple(sorted(counts))


def _null_rule(inference: _Inference, column: ColumnProfile, path: Path) -> Iterator[QualityRule]:
    """At most so many per cent may be missing: twice what was seen, and a little more."""
    rows, missing = inference.profile.rows, column.missing
    if not missing or rows < _ROWS_FOR_NULL_RATES:
        return
    percent = Fraction(100 * missing, rows)
    wanted = max(2 * percent, percent + 1)
    limit = next((step for step in _NULL_STEPS if step >= wanted), None)
    shown = f"{float(percent):.1f}%" if percent >= Fraction(1, 10) else "<0.1%"
    because = f"{missing:,} missing in {inference.rows} ({shown})"
    if limit is None:
        inference.guess(path, "column", f"mostly missing: {because}; no rule")
        return
    inference.guess(path, "nulls", because)
    yield QualityRule(
        name=_rule_name(inference, f"{column.name}_is_known"),
        kind=RuleKind.LIBRARY,
        column=column.name,
        metric=LibraryMetric.NULL_VALUES,
        threshold=Threshold(
            ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO, (Fraction(limit),), ThresholdUnit.PERCENT
        ),
    )


def _row_rules(inference: _Inference) -> Iterator[QualityRule]:
    """Never none; less than half or more than twice the rows only warns, as batches differ."""
    rows = inference.profile.all_rows
    if not rows:
        return
    usual = None
    if rows >= _ROWS_FOR_BOUNDS:
        few, many = human_below(Fraction(rows, 2)), human_above(Fraction(2 * rows))
        usual = Threshold(ThresholdOperator.MUST_BE_BETWEEN, (Fraction(int(few)), many))
    inference.guess((), "rows", "1 row was seen" if rows == 1 else f"{rows:,} rows were seen")
    yield QualityRule(
        name=_rule_name(inference, "row_count"),
        kind=RuleKind.LIBRARY,
        metric=LibraryMetric.ROW_COUNT,
        threshold=Threshold(ThresholdOperator.MUST_BE_GREATER_THAN, (Fraction(0),)),
        warn=usual,
    )


def _rule_name(inference: _Inference, wanted: str) -> str:
    """A free name for a check: letters, digits and underscores."""
    stem = re.sub(r"[^A-Za-z0-9_]+", "_", wanted).strip("_")[:80] or "rule"
    name, number = stem, 2
    while name in inference.rule_names:
        name, number = f"{stem}_{number}", number + 1
    inference.rule_names.add(name)
    return name


def _event_time(inference: _Inference) -> str | None:
    """The timestamp that looks most like the time at which a row happened."""
    stamps = [
        column
        for column in inference.profile.columns
        if column.logical_type is LogicalType.TIMESTAMP
        and column.newest is not None
        and 0 < len(column.name) <= 200
    ]
    if not stamps:
        return None
    best = max(stamps, key=lambda column: (event_likeness(column.name), -(column.missing or 0)))
    because = "the only timestamp" if len(stamps) == 1 else f"one of {len(stamps)} timestamps"
    if best.newest is not None:
        because += f"; the newest is {best.newest:%Y-%m-%d %H:%M}"
    inference.guess((), "event_time", because)
    return best.name


def _freshness(
    inference: _Inference, event_time: str | None, now: datetime
) -> Iterator[SlaProperty]:
    """Twice the age that the newest event has now, where that says something about a feed."""
    newest = inference.profile.column(event_time).newest if event_time else None
    if newest is None or inference.profile.is_sample:
        return
    age = now - (newest if newest.tzinfo is not None else newest.replace(tzinfo=UTC))
    if age < timedelta(0):
        return
    limit = next((text for length, text in _AGES if length >= 2 * age), None)
    if limit is None:
        return
    inference.guess((), "freshness", f"the newest event is {_age(age)} old")
    yield SlaProperty(
        property="freshness",
        condition=parse_condition(f"data_freshness < {limit}"),
        text=f"< {limit}",
    )


def _age(age: timedelta) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        count = age // timedelta(seconds=length)
        if count >= 2:
            return f"{count} {unit}"
    return f"{age // timedelta(seconds=1)} seconds"


def _number(value: Fraction) -> str:
    if value.denominator == 1 and abs(value) < 10**15:
        return f"{int(value):,}"
    try:
        return f"{float(value):,.6g}"
    except OverflowError:
        return f"{Decimal(value.numerator) / Decimal(value.denominator):.6g}"
