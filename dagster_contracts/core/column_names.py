"""What the name of a column suggests: a key, a person, a moment, a natural range.

Names prove nothing. They rank what the values leave open, and they err on the side of discretion
where values might be somebody's.
"""

from __future__ import annotations

import re

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+|\d+")

_KEY_WORDS = frozenset({"id", "key", "uuid", "guid", "oid", "pk"})
_CODE_WORDS = frozenset({"number", "no", "nr", "code", "sku", "isbn", "ref", "reference", "hash"})

_PERSONAL_WORDS = frozenset(
    {
        "email", "mail", "phone", "telephone", "mobile", "cell", "fax", "ssn", "sin", "nino",
        "passport", "iban", "birth", "birthday", "birthdate", "dob", "address", "street", "surname",
        "firstname", "lastname", "fullname", "username", "login", "gender", "religion", "ethnicity",
        "salary", "password", "passwd", "secret", "token", "cvv", "postcode", "zipcode", "ip",
        "patient", "diagnosis", "zip", "license", "licence",
    }
)  # fmt: skip
# A name is somebody's unless it says whose it is, and that is no person.
_NAMED_THINGS = frozenset(
    {
        "product", "item", "file", "table", "column", "event", "model", "brand", "city", "country",
        "state", "region", "station", "airport", "carrier", "airline", "category", "field", "host",
        "service", "channel", "campaign", "job", "task", "team", "role", "department", "currency",
        "plan", "type", "metric", "node", "group", "dag", "asset", "zone", "route", "status",
    }
)  # fmt: skip

_EVENT_WORDS = (
    ("event", "occurred", "happened", "observed", "measured", "recorded"),
    ("timestamp", "ts", "datetime", "time", "ordered", "sold", "started"),
    ("created", "received", "inserted", "at", "on", "hour"),
)
_UPDATE_WORDS = frozenset(
    {"updated", "modified", "loaded", "ingested", "deleted", "expires", "end"}
)

_RANGES: tuple[tuple[frozenset[str], int, int], ...] = (
    (frozenset({"month"}), 1, 12),
    (frozenset({"day"}), 1, 31),
    (frozenset({"hour"}), 0, 24),
    (frozenset({"minute", "second"}), 0, 60),
    (frozenset({"weekday"}), 0, 7),
    (frozenset({"latitude", "lat"}), -90, 90),
    (frozenset({"longitude", "lon", "lng", "long"}), -180, 180),
    (frozenset({"ratio", "share", "fraction", "probability"}), 0, 1),
    (frozenset({"percent", "percentage", "pct", "humid", "humidity"}), 0, 100),
)


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in lower case: ``customerId`` and ``customer_id`` are the same two."""
    return tuple(word.lower() for word in _WORDS.findall(name))


def key_likeness(name: str) -> int:
    """How much a name looks like a key: 3 for ``id``, 2 for ``order_id``, 1 for codes, else 0."""
    words = words_of(name)
    if not words:
        return 0
    if len(words) == 1 and words[0] in _KEY_WORDS:
        return 3
    # orderid is one word to the eye of a machine.
    if words[-1] in _KEY_WORDS or (len(words) == 1 and words[0].endswith(("id", "key"))):
        return 2
    return 1 if words[-1] in _CODE_WORDS else 0


def is_personal(name: str) -> bool:
    """Whether the values may be somebody's: their name, address, number, or secret."""
    words = words_of(name)
    if _PERSONAL_WORDS & set(words):
        return True
    joined = "".join(words)
    if any(joined.endswith(word) for word in ("email", "firstname", "lastname", "fullname")):
        return True
    return "name" in words and not _NAMED_THINGS & set(words)


def event_likeness(name: str) -> int:
    """How much a name looks like the time at which a row happened: 3 to 0, -1 for what is not."""
    words = words_of(name)
    if _UPDATE_WORDS & set(words):
        return -1
    for rank, known in enumerate(_EVENT_WORDS):
        if any(word in known for word in words):
            return len(_EVENT_WORDS) - rank
    return 0


def natural_range(name: str) -> tuple[int, int] | None:
    """The range that the quantity has by its nature: an hour lies between 0 and 24."""
    words = words_of(name)
    if not words:
        return None
    # day_of_month and arrival_day are days; day_count may be anything.
    said = words[0] if words[1:2] == ("of",) else words[-1]
    for known, low, high in _RANGES:
        if said in known:
            return low, high
    return None
