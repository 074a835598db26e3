"""What the ``source`` of a level says, and whether it can ever be read."""

from __future__ import annotations

import re

from dagster_contracts.core.contract import FallbackSource, SourceKind
from dagster_contracts.core.uri import (
    DATABASES,
    LEVEL_ENDINGS,
    STORES,
    hide_password,
    is_database_uri,
)
from dagster_contracts.documents.problem import Findings
from dagster_contracts.errors import SourceLocation

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_ENDINGS = "|".join(ending[1:] for ending in LEVEL_ENDINGS)
_URI = re.compile(rf"{_SCHEME.pattern}|\.{{0,2}}[/\\]|.*\.(?:{_ENDINGS})$")
_PLACEHOLDER = re.compile(r"\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}")
_PARTITION = "{partition}"

# Endings of files of data that no level reads. Any other text after a dot may be part of a key.
_UNREAD = re.compile(
    r"\.(?:(?:csv|tsv|jsonl?|ndjson|xml|txt)\.(?:gz|bz2|xz|zst|zip)|tsv|txt|xml|html?|ya?ml|pdf"
    r"|xlsx?|xlsm|xlsb|ods|dbf|dta|sav|sas7bdat|avro|orc|pq|ipc|hdf5?|h5|npy|npz|pkl|pickle"
    r"|db|sqlite3?|duckdb|sql|mdb|gz|bz2|xz|zst|zip|7z|tar|tgz|rar)$",
    re.IGNORECASE,
)


def read_source(text: str) -> FallbackSource:
    """What the text of a level's ``source`` means.

    ``last_valid``, ``subset`` and ``primary`` are words; something that begins with a scheme, ``/``
    or ``./``, or has a file's ending, is a place; everything else is the name of an asset or a
    contract (``raw/orders`` is an asset of two components).
    """
    for kind in (SourceKind.LAST_VALID, SourceKind.SUBSET, SourceKind.PRIMARY):
        if text == kind.value:
            return FallbackSource(kind)
    if _URI.match(text):
        return FallbackSource(SourceKind.URI, text)
    return FallbackSource(SourceKind.ASSET, text)


def check_source(level: str, text: str, where: SourceLocation, findings: Findings) -> None:
    """Note an error where the text alone shows that nothing can ever be read from there."""
    found = _database_obstacle(text) if is_database_uri(text) else _obstacle(text)
    if found is not None:
        why, hint = found
        said = f"the level {level!r} can never serve {hide_password(text)!r}: {why}"
        findings.error(where, "never-serves", said, hint)


def _database_obstacle(text: str) -> tuple[str, str] | None:
    url, _, table = text.rpartition("#")
    if _PARTITION in text:
        return (
            "a table is read whole, not partition by partition",
            "name a table without {partition}, or files: seeds/{partition}.parquet",
        )
    if not url or not table:
        return "it names a database and no table of it", "end it with #table or #schema.table"
    return None


def _obstacle(text: str) -> tuple[str, str] | None:
    """Why no file, and no asset of such a name, can be read; and the mend."""
    unknown = [name for name in _PLACEHOLDER.findall(text) if f"{{{name}}}" != _PARTITION]
    if unknown or (_PLACEHOLDER.search(text) and _PARTITION not in text):
        said = f"{{{unknown[0]}}}" if unknown else "that with spaces"
        return (
            f"the only placeholder is {_PARTITION}, and {said} is none",
            "write seeds/{partition}.parquet for a file of each partition, or name one file",
        )
    found = _SCHEME.match(text)
    scheme = found["scheme"].lower() if found is not None else "file"
    if "::" in text and found is not None:
        return "an address within another one is not read", "name the file itself"
    if scheme not in ("file", *STORES):
        return (
            (
                f"its scheme is none of {', '.join(STORES)}, and it is no database's "
                f"({', '.join(DATABASES)})"
            ),
            "name a file, or make the data an asset and name that",
        )
    path = text.partition("?")[0] if found is not None else text
    unread = _UNREAD.search(path)
    if unread is not None:
        return (
            f"no level reads a {unread[0]} file, only {', '.join(LEVEL_ENDINGS)}",
            "store it as one of these, or make the data an asset and name that",
        )
    if _PARTITION in text and read_source(text).kind is SourceKind.ASSET:
        return (
            "it has no ending of a file, and an asset is read for the partition by itself",
            f"write ./{text} for a folder of each partition, or the asset's name alone",
        )
    return None
