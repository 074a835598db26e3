"""URIs of data: which name a database, and how they may be shown."""

from __future__ import annotations

import re

_DATABASE = re.compile(r"(postgres|postgresql|sqlite|duckdb)(\+\w+)?://")
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
