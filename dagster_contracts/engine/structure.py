"""The rules that the data's schema alone can answer: presence, types, extra columns, order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

import narwhals as nw

from dagster_contracts.core.checks import PlannedRule
from dagster_contracts.core.contract import LogicalType
from dagster_contracts.core.rules import (
    VALUES,
    ColumnOrder,
    NoExtraColumns,
    Path,
    Presence,
    TypeMatch,
    path_text,
)
from dagster_contracts.engine.compiler import Columns
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.literal import AnyDecimal, is_text
from dagster_contracts.engine.scan import Scan


@dataclass(frozen=True, slots=True)
class Structure:
    """What is wrong with which column, and the findings of the rules about it by their name."""

    problems: Mapping[Path, str]
    findings: Mapping[str, Finding]


def inspect_structure(rules: Sequence[PlannedRule], scan: Scan) -> Structure:
    """Answer every rule that needs no row."""
    problems: dict[Path, str] = {}
    findings: dict[str, Finding] = {}
    known = Columns(scan=scan, schema=scan.schema)
    for rule in rules:
        match rule.test:
            case Presence(path) if path[0] in scan.refused and len(path) > 1:
                findings[rule.name] = Finding(unmeasured=scan.refused[path[0]])
            case Presence(path) if path[-1] in scan.gaps and len(path) == 1:
                findings[rule.name] = Finding(broken=scan.gaps[path[0]])
            case Presence(path):
                problem = _absence(path, known, problems)
                if problem is not None:
                    problems[path] = problem
                findings[rule.name] = Finding(broken=problem)
            case TypeMatch(path) if path[0] in scan.refused:
                findings[rule.name] = Finding(unmeasured=scan.refused[path[0]])
            case TypeMatch(path) if _is_mixed(path, known, problems):
                reason = f"the values of {path_text(path[:-1])} have several types"
                findings[rule.name] = Finding(unmeasured=reason)
            case TypeMatch(path) as test if path not in problems:
                problem = _mismatch(test, known, scan, problems)
                if problem is not None:
                    problems[path] = problem
                findings[rule.name] = Finding(broken=problem)
            case TypeMatch(path):
                findings[rule.name] = Finding(broken=problems[path])
            case NoExtraColumns(columns):
                findings[rule.name] = _extras(columns, scan)
            case ColumnOrder(columns):
                findings[rule.name] = _order(columns, scan)
            case _:
                continue
    return Structure(problems, findings)


def _absence(path: Path, known: Columns, problems: Mapping[Path, str]) -> str | None:
    parent = problems.get(path[:-1])
    if parent is not None:
        return parent
    if known.type_of(path) is not None or (len(path) == 1 and path[0] in known.schema):
        return None
    if len(path) > 1:
        return f"{path_text(path[:-1])} has no field {path[-1]}"
    alike = [name for name in known.schema if name.lower() == path[0].lower()]
    hint = f"; the data has {alike[0]!r}" if alike else ""
    return f"the column {path[0]} is missing{hint}"


def _is_mixed(path: Path, known: Columns, problems: Mapping[Path, str]) -> bool:
    """Whether these are the values of a map that has no one type for them."""
    return path[-1] == VALUES and path[:-1] not in problems and known.type_of(path) is None


def _mismatch(
    test: TypeMatch, known: Columns, scan: Scan, problems: Mapping[Path, str]
) -> str | None:
    path, label = test.path, path_text(test.path)
    if path[0] in scan.strange:
        return f"{label} holds {scan.strange[path[0]]}, not {test.logical_type.value}"
    if path[0] in scan.untyped:
        return None
    if len(path) == 1 and path[0] in scan.type_flags:
        return _zone_mismatch(test, known.type_of(path))
    broken = next((problems[path[:n]] for n in range(1, len(path)) if path[:n] in problems), None)
    if broken is not None:
        return broken
    dtype = known.type_of(path)
    if dtype is None or (dtype == nw.Unknown and len(path) > 1):
        return None
    if not is_of_type(dtype, test.logical_type):
        return f"{label} has the type {type_text(dtype)}, not {test.logical_type.value}"
    return _zone_mismatch(test, dtype)


def _zone_mismatch(test: TypeMatch, dtype: nw.dtypes.DType | None) -> str | None:
    if test.timezone is None or dtype is None or dtype != nw.Datetime:
        return None
    zoned = getattr(dtype, "time_zone", None) is not None
    if zoned == test.timezone:
        return None
    return f"{path_text(test.path)} has {'a' if zoned else 'no'} time zone"


def is_of_type(dtype: nw.dtypes.DType, logical_type: LogicalType) -> bool:
    """Whether a column of this type keeps the promise of the logical type; integers are numbers."""
    match logical_type:
        case LogicalType.STRING:
            return is_text(dtype)
        case LogicalType.INTEGER:
            return dtype.is_integer()
        case LogicalType.NUMBER:
            return dtype.is_numeric()
        case LogicalType.BOOLEAN:
            return dtype == nw.Boolean
        case LogicalType.DATE:
            return dtype == nw.Date
        case LogicalType.TIMESTAMP:
            return dtype == nw.Datetime
        case LogicalType.TIME:
            return dtype == nw.Time
        case LogicalType.OBJECT:
            return dtype == nw.Struct
        case LogicalType.ARRAY:
            return dtype == nw.List or dtype == nw.Array
        case LogicalType.MAP:
            return dtype == nw.Struct or dtype == nw.List or type(dtype).__name__ == "Map"
        case _:
            assert_never(logical_type)


def type_text(dtype: nw.dtypes.DType) -> str:
    """A type as people write it: ``Int64``, ``Datetime[us, UTC]``, ``List[String]``."""
    if dtype == nw.Datetime:
        zone = getattr(dtype, "time_zone", None)
        unit = getattr(dtype, "time_unit", "us")
        return f"Datetime[{unit}, {zone}]" if zone else f"Datetime[{unit}]"
    if isinstance(dtype, nw.List | nw.Array):
        inner = dtype.inner
        return f"List[{type_text(inner() if isinstance(inner, type) else inner)}]"
    if isinstance(dtype, nw.Struct):
        fields = (
            f"{f.name}: {type_text(f.dtype() if isinstance(f.dtype, type) else f.dtype)}"
            for f in dtype.fields
        )
        return f"Struct[{', '.join(fields)}]"
    if isinstance(dtype, AnyDecimal):
        return "Decimal"
    if isinstance(dtype, nw.Decimal):
        return f"Decimal[{dtype.precision}, {dtype.scale}]"
    return type(dtype).__name__


def _extras(columns: tuple[str, ...], scan: Scan) -> Finding:
    extra = [name for name in scan.schema if name not in columns]
    shown = ", ".join(extra[:10]) + (f" and {len(extra) - 10} more" if len(extra) > 10 else "")
    return Finding(
        value=Fraction(len(extra)),
        note=f"not in the contract: {shown}" if extra else None,
    )


def _order(columns: tuple[str, ...], scan: Scan) -> Finding:
    expected = [name for name in columns if name in scan.schema]
    found = [name for name in scan.schema if name in columns]
    for wanted, seen in zip(expected, found, strict=True):
        if wanted != seen:
            return Finding(broken=f"{seen} stands where {wanted} is declared")
    return Finding()
