"""SQL and expressions without the accidents of how they are written."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*.*?\*/ )
  | (?P<quoted> '(?:[^']|'')*'? | "(?:[^"]|"")*"? | `[^`]*`? | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
  | (?P<place> \$\{[^}]*\} )
  | (?P<space> \s+ )
  | (?P<word> \w+ )
  | (?P<sign> . )
    """,
    re.VERBOSE | re.DOTALL,
)
# Words of the language itself, whose letter case means nothing anywhere. Names are left as they
# are: some databases tell Orders from orders.
_KEYWORD_LINES = """
    all and any as asc avg between by case cast coalesce count cross current_date current_timestamp
    date desc distinct else end except exists false filter first following from full group having
    if in inner intersect interval is join last lateral left like limit lower max min natural not
    null nullif nulls offset on or order outer over partition preceding range right rows select
    some sum then timestamp true trim union unbounded upper using values when where window with
"""
_KEYWORDS = frozenset(_KEYWORD_LINES.split())


def without_layout(text: str | None) -> str | None:
    """An expression with its spaces evened, but for those within quotes."""
    return None if text is None else _evened(text, sql=False)


def normal_sql(text: str | None) -> str | None:
    """A query without comments and layout, its keywords in small letters."""
    return None if text is None else _evened(text, sql=True)


def _evened(text: str, *, sql: bool) -> str:
    parts: list[str] = []
    for token in _TOKEN.finditer(text):
        found = token.group()
        match token.lastgroup:
            case "space":
                parts.append(" ")
            case "comment" if sql:
                parts.append(" ")
            case "word" if sql and found.lower() in _KEYWORDS:
                parts.append(found.lower())
            case _:
                parts.append(found)
    kept = [part for at, part in enumerate(parts) if part != " " or parts[at - 1 : at] != [" "]]
    return "".join(kept).strip()
