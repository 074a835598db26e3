"""Arrow's types as Polars holds them: some under another name, some not at all.

Polars takes ``date64`` for a timestamp and breaks down over others, which would cost the whole
table. A column of such a type is brought to one that holds the same values; of one that has none,
flags stand in, so that its gaps can still be counted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_OFFSET = re.compile(r"[+-]\d\d:?\d\d")
_MOST_DIGITS = 38


def unheld_types(schema: pa.Schema) -> dict[str, str]:
    """The columns of types that Polars has not, with the type in words."""
    return {field.name: str(field.type) for field in schema if held_type(field.type) is None}


def is_held(schema: pa.Schema) -> bool:
    """Whether Polars reads every column as what it is."""
    return all(held_type(field.type) == field.type for field in schema)


def standing_in(table: pa.Table, unheld: Collection[str] | Mapping[str, str]) -> pa.Table:
    """The table as Polars can take it; for columns that it cannot, flags, null where they are."""
    import pyarrow as pa  # late: importing the package must stay cheap

    for position, field in enumerate(table.schema):
        if field.name in unheld:
            flags = [True if there else None for there in table[position].is_valid().to_pylist()]
            table = table.set_column(position, field.name, pa.array(flags, pa.bool_()))
            continue
        held = held_type(field.type)
        assert held is not None
        if held != field.type:
            column = table[position].cast(held, safe=False)
            table = table.set_column(position, field.with_type(held), column)
    return table


def held_type(dtype: pa.DataType) -> pa.DataType | None:
    """The type that Polars holds these values as: the same, another, or ``None``."""
    import pyarrow as pa  # late: importing the package must stay cheap

    match dtype:
        case pa.ListType() | pa.LargeListType() | pa.FixedSizeListType():
            item = held_type(dtype.value_type)
            if item is None or item == dtype.value_type:
                return None if item is None else dtype
            if isinstance(dtype, pa.FixedSizeListType):
                return pa.list_(dtype.value_field.with_type(item), dtype.list_size)
            made = pa.list_ if isinstance(dtype, pa.ListType) else pa.large_list
            return made(dtype.value_field.with_type(item))
        case pa.StructType():
            types = [held_type(field.type) for field in dtype]
            if all(held == field.type for held, field in zip(types, dtype, strict=True)):
                return dtype
            fields = [
                field.with_type(held)
                for held, field in zip(types, dtype, strict=True)
                if held is not None
            ]
            return pa.struct(fields) if len(fields) == len(types) else None
        case pa.MapType():
            key, item = held_type(dtype.key_type), held_type(dtype.item_type)
            return dtype if key == dtype.key_type and item == dtype.item_type else None
        case pa.TimestampType() if dtype.tz is not None:
            return _zoned(dtype)
    if pa.types.is_date64(dtype):
        return pa.date32()
    if pa.types.is_decimal256(dtype):
        fits = dtype.precision <= _MOST_DIGITS
        return pa.decimal128(dtype.precision, dtype.scale) if fits else None
    unknown = (
        pa.types.is_union,
        pa.types.is_interval,
        pa.types.is_run_end_encoded,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return None if any(is_unknown(dtype) for is_unknown in unknown) else dtype


def _zoned(dtype: pa.TimestampType) -> pa.DataType | None:
    """The same instants in a zone that has a name."""
    import pyarrow as pa  # late: importing the package must stay cheap

    if _OFFSET.fullmatch(dtype.tz):
        return pa.timestamp(dtype.unit, "UTC")
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(dtype.tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return dtype
