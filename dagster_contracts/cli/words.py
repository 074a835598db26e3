"""Times, durations and foreign text as a person reads them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

_STEPS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def duration(length: timedelta) -> str:
    """``2h 5min``: the two largest units, whole seconds; ``0s`` for less than one."""
    seconds = int(abs(length).total_seconds())
    for position, (unit, size) in enumerate(_STEPS):
        if seconds >= size:
            count, rest = divmod(seconds, size)
            text = f"{count}{unit}"
            if position + 1 < len(_STEPS):
                smaller, small = _STEPS[position + 1]
                if rest >= small:
                    text += f" {rest // small}{smaller}"
            return text
    return "0s"


def moment(at: datetime, now: datetime) -> str:
    """``10:02 UTC`` today, ``2026-03-01 10:02 UTC`` on other days."""
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"


def distance(at: datetime, now: datetime) -> str:
    """``3h 5min ago``, ``in 12min`` or ``now``."""
    if abs(at - now) < timedelta(seconds=1):
        return "now"
    return f"{duration(now - at)} ago" if at < now else f"in {duration(at - now)}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 problem``, ``3 problems``, ``1,200 rows``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def near(path: str) -> str:
    """A path as seen from the working directory, where it lies below it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


def plain(text: str) -> str:
    """Text of unknown origin in one line, all that is no sign or space spelled.

    A line feed in a reason would forge a line of the history; an escape or a mark of direction
    would steer the terminal.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else _spelled(char) for char in text)


def plain_lines(text: str) -> str:
    """:func:`plain` for a text of ours that has several lines."""
    return "\n".join(map(plain, text.split("\n")))


_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _spelled(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )
