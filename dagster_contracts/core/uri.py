"""URIs of data: which name a database or a store of files, and how they may be shown."""

from __future__ import annotations

import re

_DATABASE = re.compile(r"(postgres|postgresql|sqlite|duckdb)(\+\w+)?://")
DATABASES = ("postgresql", "sqlite", "duckdb")
"""The databases whose tables may be read."""

STORES = (
    "abfs", "abfss", "adl", "az", "gcs", "gs", "hdfs", "http", "https", "memory", "oci", "r2",
    "s3", "s3a", "webhdfs",
)  # fmt: skip
"""Schemes of files that may be read as a fallback. Others of fsspec's run commands, or open
archives through others."""

TEXT_ENDINGS = (".csv", ".json", ".jsonl", ".ndjson")
LEVEL_ENDINGS = (".parquet", *TEXT_ENDINGS, ".arrow", ".feather")
"""The files that may be read as a fallback; what has another ending is read as Parquet."""

_PASSWORD = re.compile(r"(://[^:/@]*):[^@]*@")


def is_database_uri(text: str) -> bool:
    """Whether a text is the URL of a database that is known here, with or without ``#table``."""
    return _DATABASE.match(text) is not None


def hide_password(uri: str) -> str:
    """A URI as it may be shown; what its query holds may be secret as well.

    What has no scheme is a path or a name, and shown as it is.
    """
    if "://" not in uri:
        return uri
    shown, mark, rest = _PASSWORD.sub(r"\1:***@", uri).partition("?")
    _, table_mark, table = rest.rpartition("#")
    return shown + ("?***" if mark else "") + table_mark + (table if table_mark else "")
