"""Documents of both forms that say everything their form has words for, in any combination."""

from __future__ import annotations

from hypothesis import strategies as st

from dagster_contracts.core.contract import Json

Fields = dict[str, Json]

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff"),
    max_size=12,
) | st.sampled_from(["no", "1e3", "~", "1.10", "12:30", "a | b", "two\nlines", '"', "# x", "é-ü"])
NAME = st.sampled_from(["id", "order_id", "Kunden Nr", "select", "a.b", "ü", 'x"y', "1", "no"])
WORD = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
SCALAR = st.none() | st.booleans() | st.integers(-99, 99) | st.sampled_from([0.5, 1e-9]) | TEXT
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
#: Keys that ODCS has a meaning for, some with values that it refuses, and keys that it has not.
ODCS_WORDS = st.sampled_from(
    [
        "servers", "team", "roles", "support", "price", "tenant", "domain", "businessName",
        "examples", "synonyms", "authoritativeDefinitions", "customProperties", "logicalType",
        "logicalTypeOptions", "enum", "map", "status", "apiVersion", "schema", "id", "value",
        "unit", "element", "schedule", "scheduler", "method", "tags", "arguments", "deprecated",
        "relationships", "colour", "x-y", "mustBe",
    ]
)  # fmt: skip
EXTRAS = st.dictionaries(ODCS_WORDS | WORD, VALUE, max_size=2)


def some(**fields: st.SearchStrategy[Json]) -> st.SearchStrategy[Fields]:
    """A mapping with any of these keys."""
    return st.fixed_dictionaries({}, optional=fields)


def _options(kind: str | None) -> dict[str, st.SearchStrategy[Json]]:
    numbers = {
        "minimum": st.integers(-9, 0),
        "maximum": st.integers(1, 9) | st.just(0.1),
        "exclusive_maximum": st.integers(10, 19),
        "multiple_of": st.sampled_from([1, 0.25]),
        "enum": st.lists(st.integers(-9, 9), max_size=3),
    }
    moments = st.sampled_from(["2020-01-01", "2030-12-31"])
    stamps = st.sampled_from(["2020-01-01T00:00:00", "2030-12-31T10:00:00+01:00"])
    texts = {
        "min_length": st.integers(0, 3),
        "max_length": st.integers(3, 9),
        "pattern": st.sampled_from(["^a+$", "x|y", "\\d"]),
        "format": st.sampled_from(["uuid", "email"]),
        "enum": st.lists(TEXT, max_size=3),
    }
    return {
        "integer": numbers,
        "number": {**numbers, "maximum": st.sampled_from([1, 2.5, 0.1])},
        "string": texts,
        "date": {"minimum": moments, "enum": st.lists(moments, max_size=2)},
        "timestamp": {
            "minimum": stamps,
            "timezone": st.booleans(),
            "default_timezone": st.sampled_from(["Europe/Zurich", "Etc/UTC"]),
            "enum": st.lists(stamps, max_size=2),
        },
        "array": {
            "min_items": st.integers(0, 2),
            "max_items": st.integers(2, 4),
            "unique_items": st.booleans(),
        },
        "object": {"required_properties": st.lists(NAME, max_size=2)},
    }.get(kind or "", {})


_THRESHOLD = st.sampled_from(
    [
        {"must_be": 0},
        {"must_be_less_than": 0.1, "unit": "percent"},
        {"must_be_between": [1, 5]},
        {"must_be_between": [5, 5]},
        {"must_not_be": 7, "unit": "rows"},
    ]
)
_RULE_KINDS = st.sampled_from(
    [
        {"metric": "nullValues"},
        {"metric": "missingValues", "missing_values": ["", None, "n/a"]},
        {"metric": "invalidValues", "valid_values": ["CH", 1, 2.5]},
        {"metric": "invalidValues", "arguments": {"validValues": [1, None], "x": 1}},
        {"metric": "duplicateValues"},
        {"metric": "quantile", "quantile": 0.9},
        {"metric": "mean"},
        {"sql": "select count(*) from {object}"},
        {"expression": "id > 0"},
        {"type": "custom", "engine": "soda", "implementation": {"x": [1, {"y": "z"}]}},
        {"type": "custom", "engine": "soda"},
        {"type": "custom", "engine": "dagster_contracts", "implementation": {"metric": "odd"}},
        {"type": "text", "description": "looked at by hand"},
        {"type": "text", "pattern": "x"},
    ]
)


@st.composite
def rules(draw: st.DrawFn) -> Fields:
    """A quality rule of the compact form."""
    rule = {**draw(_RULE_KINDS), **draw(_THRESHOLD)}
    if draw(st.booleans()):
        rule["warn"] = draw(_THRESHOLD)
    rule |= draw(
        some(
            name=TEXT,
            id=TEXT,
            description=TEXT,
            severity=st.sampled_from(["error", "warning", "info", "critical"]),
            dimension=st.sampled_from(["accuracy", "beauty"]),
            filter=st.just("id > 1"),
            extras=EXTRAS,
        )
    )
    return rule


@st.composite
def fields(draw: st.DrawFn, depth: int = 2) -> Fields:
    """A field of the compact form."""
    kinds = ["string", "integer", "number", "boolean", "date", "timestamp", "time", None]
    kind = draw(st.sampled_from([*kinds, "object", "array", "map"] if depth else kinds))
    field: Fields = {} if kind is None else {"type": kind}
    field |= draw(some(**_options(kind)))
    field |= draw(
        some(
            physical_type=TEXT,
            id=TEXT,
            business_name=TEXT,
            description=TEXT,
            required=st.booleans(),
            unique=st.booleans(),
            primary_key=st.booleans() | st.integers(1, 3),
            partition_key=st.integers(1, 3),
            classification=TEXT,
            unit=TEXT,
            critical=st.booleans(),
            aliases=st.lists(TEXT, max_size=2),
            tags=st.lists(TEXT, max_size=2),
            quality=st.lists(rules(), max_size=1),
            extras=EXTRAS,
        )
    )
    if kind == "object":
        field["fields"] = draw(st.dictionaries(NAME, fields(depth - 1), max_size=2))
    if kind in ("array", "map") and draw(st.booleans()):
        field["items"] = draw(fields(depth - 1))
        if draw(st.booleans()):
            field["items"]["name"] = draw(NAME)
    return field


@st.composite
def schemas(draw: st.DrawFn) -> Fields:
    """A schema of the compact form."""
    columns = draw(st.dictionaries(NAME, fields(), max_size=3))
    for column in columns.values():
        if draw(st.booleans()):
            column["references"] = draw(st.sampled_from(["orders.id", "a b.c", "x"]))
    schema: Fields = {"fields": columns}
    if columns and draw(st.booleans()):
        near = draw(st.lists(st.sampled_from(sorted(columns)), min_size=1, max_size=2, unique=True))
        schema["relationships"] = [{"columns": near, "to": ["t.a", "t.b"][: len(near)]}]
    return schema | draw(
        some(
            name=NAME,
            id=TEXT,
            physical_name=TEXT,
            physical_type=TEXT,
            description=TEXT,
            extra_columns=st.sampled_from(["allow", "warn", "forbid"]),
            ordered=st.booleans(),
            tags=st.lists(TEXT, max_size=2),
            quality=st.lists(rules(), max_size=2),
            extras=EXTRAS,
        )
    )


_LEVELS = st.fixed_dictionaries(
    {},
    optional={
        "freshness": st.sampled_from(["< 5min", {"must": "<= 2h", "severity": "warning"}]),
        "completeness": st.just("> 99.5%"),
        "latency": st.just({"must": "30s", "id": "x y"}),
        "row_count": st.just("> 10"),
        "readability": st.fixed_dictionaries({"must": TEXT, "not_evaluated": TEXT}),
        "volume": st.fixed_dictionaries({"must": st.just("> 5"), "extras": EXTRAS}),
        "endOfSupport": st.just("2032-05-12")
        | st.fixed_dictionaries(
            {"must": st.sampled_from(["2032-05-12", "2032-05-12T10:00:00+02:00"])},
            optional={
                "warn_before": st.sampled_from(["60d", "12h"]),
                "severity": st.sampled_from(["error", "info"]),
                "element": st.sampled_from(["id", "nope.id"]),
                "extras": EXTRAS,
            },
        ),
        "endOfLife": st.sampled_from(["2033-05-12 10:00", "9999-12-31"]),
        "generalAvailability": st.just("2020-01-01"),
        "timeOfAvailability": st.sampled_from(["08:30 Europe/Berlin", "09:00-08:00", "23:59"]),
        "availability": st.just({"must": "99.9%", "window": "7d"}),
    },
)
_RESILIENCE = st.sampled_from(
    [
        {
            "circuit_breaker": {
                "open_when": ["schema_validation_errors > 5% for 3 checks"],
                "recovery": {"retry_after": "90s", "backoff": 1.5},
            },
            "fallback_modes": [
                {"level": "last", "source": "last_valid", "max_age": "2d"},
                {"level": "few", "source": "subset", "schema": "small"},
            ],
        },
        {"on_exhausted": "skip", "heal": "off"},
    ]
)


@st.composite
def compact_documents(draw: st.DrawFn) -> Fields:
    """A document of the compact form, of one object or of several."""
    body: Fields = {"name": draw(st.sampled_from(["orders", "o-1.x"])), "version": "1.2.0"}
    if draw(st.booleans()):
        body["schema"] = draw(schemas())
        body |= draw(some(quality=st.lists(rules(), max_size=1)))
    else:
        objects = draw(st.dictionaries(NAME, schemas(), min_size=1, max_size=2))
        body["objects"] = {
            name: {"schema": schema} | draw(some(asset=TEXT, quality=st.lists(rules(), max_size=1)))
            for name, schema in objects.items()
        }
    body |= draw(
        some(
            status=st.sampled_from(["draft", "active", "retired"]),
            owner=TEXT,
            description=TEXT,
            asset=TEXT,
            deprecated_until=st.just("2030-01-31"),
            successor=TEXT,
            tags=st.lists(TEXT, max_size=2),
            sla=_LEVELS,
            extras=EXTRAS,
            consumers=st.just(["report", {"name": "finance", "contact": "x"}]),
            alerts=st.just({"channels": ["oncall"], "repeat_after": "1h"}),
            monitoring=st.just({"anomaly_metrics": [], "anomaly_threshold": 3}),
            compatibility=st.just({"protects": "full", "transitive": True}),
        )
    )
    if draw(st.booleans()):
        body["resilience"] = draw(_RESILIENCE)
        body["schemas"] = {"small": draw(schemas())}
    return {"data_contract": body}
