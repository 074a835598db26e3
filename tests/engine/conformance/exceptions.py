"""What some kinds of data cannot hold, and what some engines cannot measure."""

from __future__ import annotations

_ONE_CASE = "names of columns differ in more than upper and lower case"
_NO_LISTS = "there are no lists"
_NO_FIELDS = "there are no columns of fields"
_LONG_FLOATS = "all floats are long"
_NUMBERS_ARE_FLOATS = "numbers that are no integers are floats"
_IN_NUMPY = "integers with gaps are floats, which hold no integers beyond 2**53"

NOT_HELD: dict[tuple[str, str], str] = {
    **{
        (kind, "upper_and_lower"): _ONE_CASE for kind in ("duckdb", "duckdb_file", "ibis", "sqlite")
    },
    ("postgresql", "nested"): _NO_FIELDS,
    ("sqlite", "nested"): _NO_FIELDS,
    ("sqlite", "lists"): _NO_LISTS,
    ("sqlite", "long_decimals"): "all decimals are floats",
    ("sqlite", "short_floats"): _LONG_FLOATS,
    ("csv", "short_floats"): _LONG_FLOATS,
    ("csv", "long_decimals"): _NUMBERS_ARE_FLOATS,
    ("csv", "nested"): "there are no values within values",
    ("csv", "lists"): _NO_LISTS,
    ("csv", "isolation"): "text that is digits is an integer where one is declared",
    ("json", "short_floats"): _LONG_FLOATS,
    ("json", "long_decimals"): _NUMBERS_ARE_FLOATS,
    ("json", "nan"): "there are no infinite numbers",
    ("json", "multiples"): "there are no infinite numbers",
    ("json", "empty"): "a file without rows has no columns, and no byte",
    ("pyspark", "instants_ns"): "timestamps have microseconds",
    ("pyspark", "times"): "there is no time of day",
}
"""Kind and case, and why it cannot be tried."""

CANNOT: dict[tuple[str, str], dict[str, str]] = {
    ("pyspark", "nested"): {"l[].maximum": "rules within arrays and maps are not measured by"},
    ("sqlite", "wide_sums"): {"total": "overflow"},
    ("sqlite", "big_integers"): {
        "doubled": "failed to run",
        "less": "failed to run",
        "square": "failed to run",
    },
    ("sqlite", "zones"): {"hours": "failed to run"},
    ("sqlite", "dates"): {"apart": "failed to run"},
    ("sqlite", "aggregates"): {"median": "failed to run", "p90": "failed to run"},
    ("sqlite", "expressions"): {
        "lower": "only ASCII",
        "upper": "only ASCII",
        "difference": "failed to run",
        "moved": "failed to run",
    },
}
"""Kind and case, and the rules that are not evaluated with words of the reason."""
