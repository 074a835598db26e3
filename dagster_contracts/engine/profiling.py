"""Look at data of any kind once and say what it holds, for a contract to be made of it.

The first rows tell which questions are worth asking; the answers come from all rows, through the
same queries as a validation's. What the first rows deny (a key, a closed set, a pattern) all rows
deny, so nothing is missed that way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import narwhals as nw

from dagster_contracts.core.checks import SCHEMA_CHECK, PlannedRule
from dagster_contracts.core.contract import LogicalType
from dagster_contracts.core.outcome import OutcomeKind
from dagster_contracts.core.profile import ColumnProfile, TableProfile
from dagster_contracts.core.rules import (
    Format,
    Path,
    Pattern,
    Required,
    RuleTest,
    TypeMatch,
    Unique,
)
from dagster_contracts.engine.arrow_source import read_whole
from dagster_contracts.engine.compiler import Columns
from dagster_contracts.engine.csv_source import RAW_PREFIX, scan_csv, scan_json, settled
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.key_search import likely_keys
from dagster_contracts.engine.literal import is_text
from dagster_contracts.engine.measurement import measure
from dagster_contracts.engine.scan import Backend, Row, Scan, UnreadableDataError, first_line
from dagster_contracts.engine.sources import kind_of, open_scan
from dagster_contracts.engine.structure import is_of_type, type_text
from dagster_contracts.engine.text_shapes import (
    CODE_OF_DIGITS,
    code_pattern,
    format_of,
    words_for_missing,
    written_type,
)

if TYPE_CHECKING:
    import polars as pl

_FIRST_ROWS = 20_000
_MOST_VALUES = 40
"""A column with more distinct texts than this has no closed set of values."""

Progress = Callable[[str], object]


def profile(
    data: Any, *, sample: int | None = None, progress: Progress | None = None
) -> TableProfile:
    """What ``data`` holds; of its first ``sample`` rows where that is given.

    ``progress`` is told each step. Raises :class:`UnreadableDataError`.
    """
    if kind_of(data) == "pyarrow_reader":
        # A reader can be read once, and there are several queries.
        data = read_whole(data)
    tell = progress or _silent
    tell("looking at the first rows")
    scan = open_scan(data)
    try:
        return _profile(data, scan, sample, tell)
    finally:
        scan.close()


def _silent(step: str) -> None:
    """What is told of the steps where nobody asked."""
    del step


def _profile(data: Any, scan: Scan, sample: int | None, progress: Progress) -> TableProfile:
    try:
        first = _first_rows(scan)
        all_rows = int(scan.collect([scan.frame.select(nw.len().alias("rows"))])[0][0]["rows"])
    except Exception as error:  # engines raise what they like
        raise UnreadableDataError(
            f"the data cannot be read: {type(error).__name__}: {first_line(error)}",
            hint="a CSV file must be UTF-8, with the names of the columns in its first line"
            if scan.kind == "csv"
            else None,
        ) from error
    if not scan.schema:
        return TableProfile(rows=all_rows, all_rows=all_rows, columns=())
    written = _written_types(scan, first)
    mixed: set[str] = set()
    while True:
        # A container without types of its own (CSV) is read as its first rows suggest, and again
        # without what the other rows do not keep to.
        typed = _read_as(data, scan, written) if written else scan
        try:
            if sample is not None and sample < all_rows:
                typed = replace(typed, frame=typed.frame.head(sample))
            looking = _Look(typed, _typed(first, typed, written), written, frozenset(mixed))
            progress("counting, column by column")
            refuted = looking.run(progress)
            if not refuted:
                rows = all_rows if sample is None else min(sample, all_rows)
                return looking.table(rows, all_rows)
        finally:
            if typed is not scan:
                typed.close()
        if scan.backend is Backend.SQLITE:
            # What is not all times may still be all text.
            texts = {n for n in refuted if is_text(scan.schema[n]) and written[n] in _OF_TIME}
            mixed |= refuted - texts
            written = {**written, **dict.fromkeys(texts, LogicalType.STRING)}
            refuted -= texts
        written = {name: found for name, found in written.items() if name not in refuted}


def _read_as(data: Any, scan: Scan, written: Mapping[str, LogicalType]) -> Scan:
    """The data again, with these types; text that has been read once is not read again."""
    if scan.kind == "csv":
        return settled(scan_csv(scan.frame.to_native(), None, written), written)
    if scan.kind == "json":
        return settled(scan_json(scan.frame.to_native(), None, written), written)
    return open_scan(data, None, written)


def _first_rows(scan: Scan) -> pl.DataFrame:
    """The first rows of the columns that can be read, as a Polars frame."""
    import polars as pl  # late: importing the package must stay cheap

    names = [name for name in scan.schema if name not in scan.strange and name not in scan.refused]
    if not names:
        return pl.DataFrame()
    # By position, as some engines misread odd names.
    places = [f"c{number}" for number in range(len(names))]
    head = scan.frame.select(
        *[scan.column(name).alias(at) for name, at in zip(names, places, strict=True)]
    ).head(_FIRST_ROWS)
    if scan.backend is Backend.POLARS:
        lazy: pl.LazyFrame = head.to_native()
        frame = lazy.collect(engine="streaming")
    elif scan.run is None:
        table = head.collect("pyarrow").to_native()
        # Polars reads no intervals of months, wherever they stand.
        known = [field.name for field in table.schema if "interval" not in str(field.type)]
        frame = pl.DataFrame(table.select(known)) if known else pl.DataFrame()
    else:
        rows = scan.run(head)
        frame = pl.DataFrame(
            [pl.Series(at, [row[at] for row in rows], strict=False) for at in places]
        )
    return frame.rename(dict(zip(places, names, strict=True)), strict=False)


_OF_TIME = (LogicalType.DATE, LogicalType.TIME, LogicalType.TIMESTAMP)


def _written_types(scan: Scan, first: pl.DataFrame) -> dict[str, LogicalType]:
    """Columns whose values are of another type than their container could say."""
    import polars as pl  # late: importing the package must stay cheap

    found: dict[str, LogicalType] = {}
    for name in first.columns:
        logical_type: LogicalType | None
        if scan.kind == "csv":
            logical_type = written_type(first[name])
        elif scan.kind == "json":
            # JSON has no types for times only.
            found_type = written_type(first[name]) if is_text(scan.schema[name]) else None
            logical_type = found_type if found_type in _OF_TIME else None
        elif scan.backend is Backend.SQLITE:
            # It keeps any value in any column, so its types are only promises, and times as text.
            logical_type = _logical_type(scan.schema[name])
            if logical_type is LogicalType.STRING and first[name].dtype == pl.String:
                found_type = written_type(first[name])
                logical_type = found_type if found_type in _OF_TIME else logical_type
        elif scan.kind == "pandas":
            logical_type = _narrower(first[name])
        else:
            return {}
        if logical_type is not None:
            found[name] = logical_type
    return found


def _narrower(values: pl.Series) -> LogicalType | None:
    """Undo pandas: it keeps integers with gaps as floats, and dates as timestamps at midnight."""
    import polars as pl  # late: importing the package must stay cheap

    known = values.drop_nulls()
    if values.dtype == pl.Float64:
        known = known.drop_nans()
        gaps = len(known) < len(values)
        if gaps and len(known) and known.is_finite().all() and (known == known.round()).all():
            return LogicalType.INTEGER
    if values.dtype == pl.Datetime and values.dtype.time_zone is None and len(known):  # type: ignore[attr-defined]
        midnights = (known.dt.truncate("1d") == known).all()
        return LogicalType.DATE if midnights else None
    return None


def _typed(first: pl.DataFrame, scan: Scan, written: Mapping[str, LogicalType]) -> pl.DataFrame:
    """The first rows again, where their columns are now read as something else."""
    if not written or scan.kind != "csv":
        return first
    return _first_rows(scan)


@dataclass
class _Look:
    """The questions about one table, their answers, and what they come to."""

    scan: Scan
    first: pl.DataFrame
    written: Mapping[str, LogicalType]
    mixed: frozenset[str]

    def __post_init__(self) -> None:
        self.names = list(self.scan.schema)
        self.rules: list[PlannedRule] = []
        self.findings: Mapping[str, Finding] = {}
        self.answers: Row = {}
        self.values: dict[str, tuple[tuple[str, int], ...]] = {}
        self.shapes: dict[str, tuple[str | None, str | None]] = {}
        self.varieties = {name: _varieties(self.first[name]) for name in self.first.columns}
        self.keys = likely_keys(self.first)

    def run(self, progress: Progress) -> set[str]:
        """Ask everything; the columns that are not of the type that they were read as."""
        for name in self.names:
            self._ask_about(name)
        for number, key in enumerate(self.keys):
            self._ask(f"key.{number}", Unique(key), None)
        schema = {k: v for k, v in self.scan.schema.items() if k not in self.scan.strange}
        columns = Columns(scan=self.scan, schema=schema)
        measured = measure(self.rules, self.scan, columns)
        if measured.unreadable is not None:
            raise UnreadableDataError(measured.unreadable)
        self.findings = measured.findings
        progress("bounds, lengths and values")
        self._ask_aggregates()
        return {
            name
            for number, name in enumerate(self.names)
            if name in self.written
            and (self._failed(f"{number}.type") != 0 or self.answers.get(f"z{number}"))
        }

    def _ask(self, name: str, test: RuleTest, column: str | None) -> None:
        self.rules.append(
            PlannedRule(
                check=SCHEMA_CHECK,
                name=name,
                kind=OutcomeKind.SCHEMA,
                test=test,
                description=name,
                column=column,
            )
        )

    def _ask_about(self, name: str) -> None:
        number = self.names.index(name)
        if not self._is_readable(name):
            return
        if name in self.written:
            self._ask(f"{number}.type", TypeMatch((name,), self.written[name]), name)
        for path in _paths((name,), self.scan.schema[name]):
            self._ask(_required(number, path), Required(path), name)
        if is_text(self.scan.schema[name]) and name in self.first.columns:
            self.shapes[name] = self._shape(name)
            form, pattern = self.shapes[name]
            if form is not None:
                self._ask(f"{number}.format", Format((name,), form), name)
            if pattern is not None:
                self._ask(f"{number}.pattern", Pattern((name,), pattern), name)

    def _shape(self, name: str) -> tuple[str | None, str | None]:
        import polars as pl  # late: importing the package must stay cheap

        texts = self.first[name].cast(pl.String).drop_nulls().unique()
        if texts.is_empty():
            return None, None
        return format_of(texts), code_pattern(texts)

    def _is_readable(self, name: str) -> bool:
        scan = self.scan
        unread = (scan.strange, scan.untyped, scan.refused, self.mixed)
        return not any(name in names for names in unread)

    def _ask_aggregates(self) -> None:
        """Bounds, lengths and closed sets, in one pass where the engine can."""
        asked = [
            expr.alias(alias)
            for number, name in enumerate(self.names)
            if self._is_readable(name)
            for alias, expr in self._aggregates(number, name).items()
        ]
        closed = [
            name
            for name in self.first.columns
            if is_text(self.scan.schema[name])
            and self._is_readable(name)
            and 0 < self.varieties[name] <= _MOST_VALUES
        ]
        groups = [self._groups(name) for name in closed]
        frames = [self.scan.frame.select(*asked)] if asked else []
        try:
            found = self.scan.collect([*frames, *groups])
        except Exception:  # engines raise what they like; now each gets its own chance
            for expr in asked:
                self.answers.update(*self._alone(self.scan.frame.select(expr)))
            found = [self._alone(frame) for frame in groups]
        else:
            if frames:
                self.answers = found.pop(0)[0]
        for name, rows in zip(closed, found, strict=True):
            counted = tuple((row["k"], int(row["n"])) for row in rows if row["k"] is not None)
            # What the first rows saw few of may still be many.
            self.values[name] = counted if len(counted) <= _MOST_VALUES else ()

    def _alone(self, frame: nw.LazyFrame[Any]) -> list[Row]:
        try:
            return self.scan.collect([frame])[0]
        except Exception:  # this one cannot be known here, and no rule will rest on it
            return []

    def _groups(self, name: str) -> nw.LazyFrame[Any]:
        """The distinct texts of a column with their counts; a few more than a closed set has."""
        value = self.scan.column(name)
        text = value if self.scan.schema[name] == nw.String else value.cast(nw.String)
        groups = self.scan.frame.select(text.alias("k")).group_by("k").agg(nw.len().alias("n"))
        return groups.head(_MOST_VALUES + 2)

    def _aggregates(self, number: int, name: str) -> dict[str, nw.Expr]:
        dtype, value = self.scan.schema[name], self.scan.column(name)
        found: dict[str, nw.Expr] = {}
        if dtype.is_numeric():
            kept = nw.when(~value.is_nan()).then(value) if dtype.is_float() else value
            found = {f"l{number}": kept.min(), f"h{number}": kept.max()}
        elif dtype == nw.Datetime:
            found = {f"h{number}": value.max()}
        elif is_text(dtype):
            length = (value if dtype == nw.String else value.cast(nw.String)).str.len_chars()
            found = {f"l{number}": length.min(), f"h{number}": length.max()}
        if self.scan.kind == "csv" and self.written.get(name) in (
            LogicalType.INTEGER,
            LogicalType.NUMBER,
        ):
            raw = nw.col(RAW_PREFIX + name).str.strip_chars()
            found[f"z{number}"] = raw.str.contains(CODE_OF_DIGITS).sum()
        return found

    def table(self, rows: int, all_rows: int) -> TableProfile:
        """What the answers come to."""
        columns = tuple(
            self._column(number, (name,), self.scan.schema[name], rows)
            for number, name in enumerate(self.names)
        )
        complete = {column.name for column in columns if column.missing == 0}
        keys = [
            key
            for number, key in enumerate(self.keys)
            if rows and self._failed(f"key.{number}") == 0 and set(key) <= complete
        ]
        return TableProfile(rows=rows, all_rows=all_rows, columns=columns, keys=tuple(keys))

    def _failed(self, rule: str) -> int | None:
        finding = self.findings.get(rule)
        return None if finding is None else finding.failed

    def _column(self, number: int, path: Path, dtype: nw.dtypes.DType, rows: int) -> ColumnProfile:
        name, top = path[-1], len(path) == 1
        missing = self._failed(_required(number, path))
        # In a CSV file what is empty could be of any type.
        empty = self.scan.kind == "csv" and missing == rows
        if top and (empty or not self._is_readable(name)):
            return self._unread(name, dtype)
        logical_type = self.written.get(name) if top else None
        logical_type = logical_type or _logical_type(dtype)
        found = ColumnProfile(
            name=name,
            physical_type=type_text(dtype),
            logical_type=logical_type,
            missing=missing,
            fields=tuple(
                self._column(number, (*path, field.name), _made(field.dtype), rows)
                for field in (dtype.fields if isinstance(dtype, nw.Struct) else ())
            ),
            items=self._items(dtype),
            remark=None
            if logical_type
            else f"no logical type fits {type_text(dtype)}; only its presence is checked",
        )
        if not top:
            return found
        low, high = self.answers.get(f"l{number}"), self.answers.get(f"h{number}")
        form, pattern = self.shapes.get(name, (None, None))
        text = is_text(dtype)
        return replace(
            found,
            minimum=None if text else _finite(low),
            maximum=None if text else _finite(high),
            newest=_moment(high),
            zoned=_zoned(dtype) if self.scan.kind != "csv" else None,
            shortest=low if text else None,
            longest=high if text else None,
            values=self.values.get(name, ()),
            remark=found.remark or (self._missing_words(name) if text else None),
            format=form if self._failed(f"{number}.format") == 0 else None,
            pattern=pattern if self._failed(f"{number}.pattern") == 0 else None,
            varieties=self.varieties.get(name, 0),
        )

    def _missing_words(self, name: str) -> str | None:
        """A remark on texts such as NA, which count as values."""
        first = self.first[name] if name in self.first.columns else None
        if first is None:
            return None
        import polars as pl  # late: importing the package must stay cheap

        words, kind = words_for_missing(first.cast(pl.String))
        if not words:
            return None
        said = " and ".join(repr(word) for word in words)
        looks = "looks" if len(words) == 1 else "look"
        counts = "counts" if len(words) == 1 else "count"
        text = f"{said} {looks} like a missing value and {counts} as text"
        return text + (f": all else is of type {kind.value}" if kind is not None else "")

    def _unread(self, name: str, dtype: nw.dtypes.DType) -> ColumnProfile:
        if name in self.scan.strange:
            held = self.scan.strange[name]
            said = f"holds {held}; only its presence is checked"
        elif name in self.scan.refused:
            held, said = type_text(dtype), self.scan.refused[name]
        elif name in self.mixed:
            held = type_text(dtype)
            said = f"holds values that are not of its type {held}; only its presence is checked"
        else:
            held, said = "Null", "holds nothing, so its type is not known"
        return ColumnProfile(name=name, physical_type=held, remark=said)

    def _items(self, dtype: nw.dtypes.DType) -> ColumnProfile | None:
        if not isinstance(dtype, nw.List | nw.Array):
            return None
        inner = _made(dtype.inner)
        return ColumnProfile(
            name="items", physical_type=type_text(inner), logical_type=_logical_type(inner)
        )


def _required(number: int, path: Path) -> str:
    return f"{number}.required.{'.'.join(path[1:])}"


def _paths(path: Path, dtype: nw.dtypes.DType) -> Sequence[Path]:
    """A column and the fields within it, at any depth."""
    found = [path]
    if isinstance(dtype, nw.Struct):
        for field in dtype.fields:
            found += _paths((*path, field.name), _made(field.dtype))
    return found


def _made(dtype: Any) -> nw.dtypes.DType:
    made: nw.dtypes.DType = dtype() if isinstance(dtype, type) else dtype
    return made


def _logical_type(dtype: nw.dtypes.DType) -> LogicalType | None:
    """The narrowest logical type that a column of this type keeps."""
    for logical_type in (
        LogicalType.STRING,
        LogicalType.BOOLEAN,
        LogicalType.INTEGER,
        LogicalType.NUMBER,
        LogicalType.DATE,
        LogicalType.TIMESTAMP,
        LogicalType.TIME,
        LogicalType.OBJECT,
        LogicalType.ARRAY,
        LogicalType.MAP,
    ):
        if is_of_type(dtype, logical_type):
            return logical_type
    return None


def _varieties(values: pl.Series) -> int:
    try:
        return values.drop_nulls().n_unique()
    except Exception:  # a type that Polars does not compare: no rule rests on its varieties
        return 0


def _finite(value: Any) -> int | float | Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return value if math.isfinite(value) else None


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    return datetime(value.year, value.month, value.day) if isinstance(value, date) else None  # noqa: DTZ001 - a day has no zone


def _zoned(dtype: nw.dtypes.DType) -> bool | None:
    if dtype != nw.Datetime:
        return None
    return getattr(dtype, "time_zone", None) is not None
