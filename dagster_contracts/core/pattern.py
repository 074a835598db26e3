r"""The patterns that mean the same on every engine, and how they are written for each.

Regular expressions are the silent trap of rules that run in several engines: ``\d`` is Unicode in
one and ASCII in the next, ``$`` forgives a last line break here and not there. So the contract
language is a subset with one meaning, and each dialect gets a spelling that has it:

* literals, escaped punctuation, ``\t \n \r \f \v``, ``\xHH``, ``\uHHHH``
* ``.`` is any character but a line feed; ``^`` and ``$`` are the very start and end of the text
* classes ``[a-z_]`` and ``[^...]``; ``\d \w \s`` and their negations are ASCII
* groups ``(...)`` and ``(?:...)``, alternation, and the quantifiers ``* + ? {n} {n,} {n,m}``

What else there is (lookaround, back references, ``\b``, flags, possessive quantifiers) has no
common meaning and is refused with its position.
"""

from __future__ import annotations

import re
from enum import StrEnum

_ASCII_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": "\t\n\v\f\r "}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_COUNT = re.compile(r"\{(\d+)(,(\d*))?\}")
_LONGEST_PATTERN = 2_000
_LARGEST_COUNT = 1_000


class Dialect(StrEnum):
    """An engine's regular expressions."""

    PYTHON = "python"
    RUST = "rust"
    RE2 = "re2"
    JAVA = "java"
    POSTGRESQL = "postgresql"


_LARGEST_COUNTS = {Dialect.POSTGRESQL: 255}


class UnportablePattern(ValueError):  # noqa: N818 - a verdict on a pattern; lint reads it too
    """The pattern leaves the common subset; ``offset`` is the 0-based position where it does."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason} at position {offset + 1} of the pattern")
        self.reason = reason
        self.offset = offset


def translate(pattern: str, dialect: Dialect) -> str:
    """``pattern`` as ``dialect`` must read it; raises :class:`UnportablePattern`."""
    if len(pattern) > _LONGEST_PATTERN:
        raise UnportablePattern(f"longer than {_LONGEST_PATTERN} characters", _LONGEST_PATTERN)
    return _Translation(pattern, dialect).run()


class _Translation:
    """One walk over the pattern, writing as it reads."""

    def __init__(self, pattern: str, dialect: Dialect) -> None:
        self.pattern = pattern
        self.dialect = dialect
        self.at = 0
        self.written: list[str] = []
        self.open_groups: list[int] = []
        self.quantifiable = False

    def run(self) -> str:
        while self.at < len(self.pattern):
            self._step(self.pattern[self.at])
        if self.open_groups:
            raise UnportablePattern("a group that is not closed", self.open_groups[-1])
        return "".join(self.written)

    def _write(self, text: str, length: int, *, quantifiable: bool) -> None:
        self.written.append(text)
        self.at += length
        self.quantifiable = quantifiable

    def _step(self, char: str) -> None:
        match char:
            case "\\":
                self._escape()
            case "[":
                self._class()
            case "(":
                self._group()
            case ")":
                if not self.open_groups:
                    raise UnportablePattern("a ) without its (", self.at)
                self.open_groups.pop()
                self._write(")", 1, quantifiable=True)
            case "*" | "+" | "?" | "{":
                self._quantifier(char)
            case "|":
                self._write("|", 1, quantifiable=False)
            case "^":
                self._write("^", 1, quantifiable=False)
            case "$":
                # \Z in Python, \z in Java: the very end, where $ would forgive a line feed.
                ends = {Dialect.PYTHON: r"\Z", Dialect.JAVA: r"\z"}
                self._write(ends.get(self.dialect, "$"), 1, quantifiable=False)
            case ".":
                self._write(r"[^\n]", 1, quantifiable=True)
            case _:
                self._write(self._literal(char), 1, quantifiable=True)

    def _group(self) -> None:
        rest = self.pattern[self.at + 1 : self.at + 3]
        if rest.startswith("?") and rest != "?:":
            raise UnportablePattern("a lookaround, a named group or a flag", self.at)
        self.open_groups.append(self.at)
        length = 3 if rest == "?:" else 1
        self._write("(?:", length, quantifiable=False)

    def _quantifier(self, char: str) -> None:
        if not self.quantifiable:
            raise UnportablePattern(f"{char} with nothing to repeat", self.at)
        text = char
        if char == "{":
            count = _COUNT.match(self.pattern, self.at)
            if count is None:
                raise UnportablePattern("a { that is neither escaped nor a count", self.at)
            low, high = int(count[1]), int(count[3]) if count[3] else None
            most = _LARGEST_COUNTS.get(self.dialect, _LARGEST_COUNT)
            if max(low, high or 0) > most:
                raise UnportablePattern(f"a count above {most}", self.at)
            if high is not None and high < low:
                raise UnportablePattern("a count whose end lies before its start", self.at)
            text = count[0]
        start = self.at
        self._write(text, len(text), quantifiable=False)
        following = self.pattern[self.at : self.at + 1]
        if following == "?":
            # Greedy or lazy finds the same: a search only asks whether there is a match.
            self.at += 1
        elif following in ("*", "+", "{") and following:
            raise UnportablePattern("a quantifier of a quantifier", start)

    def _escape(self) -> None:
        char = self.pattern[self.at + 1 : self.at + 2]
        if char.lower() in _ASCII_CLASSES and char:
            members = self._class_members(char)
            self._write(f"[{'^' if char.isupper() else ''}{members}]", 2, quantifiable=True)
            return
        literal, length = self._escaped_literal()
        self._write(self._literal(literal), length, quantifiable=True)

    def _escaped_literal(self) -> tuple[str, int]:
        """The character that an escape at the current place stands for, and the escape's length."""
        char = self.pattern[self.at + 1 : self.at + 2]
        if not char:
            raise UnportablePattern("a backslash at the end", self.at)
        if char in _CONTROLS:
            return _CONTROLS[char], 2
        digits = {"x": 2, "u": 4}.get(char)
        if digits is not None:
            code = self.pattern[self.at + 2 : self.at + 2 + digits]
            if not re.fullmatch(rf"[0-9A-Fa-f]{{{digits}}}", code):
                raise UnportablePattern(f"\\{char} without {digits} hex digits", self.at)
            value = int(code, 16)
            if value == 0 or 0xD800 <= value <= 0xDFFF:
                raise UnportablePattern("a character that no text column holds", self.at)
            return chr(value), 2 + digits
        if char.isalnum() or char == "_":
            raise UnportablePattern(f"\\{char}, which engines read differently,", self.at)
        return char, 2

    def _class(self) -> None:
        start = self.at
        self.at += 1
        negated = self.pattern[self.at : self.at + 1] == "^"
        self.at += negated
        members: list[str] = []
        while True:
            char = self.pattern[self.at : self.at + 1]
            if not char:
                raise UnportablePattern("a class that is not closed", start)
            if char == "]":
                break
            members.append(self._class_member(char))
        if not members:
            raise UnportablePattern("an empty class", start)
        text = f"[{'^' if negated else ''}{''.join(members)}]"
        self._write(text, 1, quantifiable=True)

    def _class_member(self, char: str) -> str:
        name = self.pattern[self.at + 1 : self.at + 2]
        if char == "\\" and name and name.lower() in _ASCII_CLASSES:
            if name.isupper():
                raise UnportablePattern(f"\\{name} within a class", self.at)
            self.at += 2
            if self.pattern[self.at : self.at + 1] == "-" and self._ends_range():
                raise UnportablePattern("a range that begins with a class", self.at)
            return self._class_members(name)
        low = self._class_literal(char)
        if self.pattern[self.at : self.at + 1] == "-" and self._ends_range():
            self.at += 1
            place = self.at
            high = self._class_literal(self.pattern[self.at])
            if high < low:
                raise UnportablePattern("a range whose end lies before its start", place)
            return f"{self._literal(low, in_class=True)}-{self._literal(high, in_class=True)}"
        return self._literal(low, in_class=True)

    def _class_members(self, name: str) -> str:
        """The characters of a class that a letter names."""
        members = _ASCII_CLASSES[name.lower()]
        if name.lower() != "s":
            return members
        return "".join(self._literal(char, in_class=True) for char in members)

    def _ends_range(self) -> bool:
        return self.pattern[self.at + 1 : self.at + 2] not in ("", "]")

    def _class_literal(self, char: str) -> str:
        if char == "\\":
            literal, length = self._escaped_literal()
            self.at += length
            return literal
        if char == "[" or self.pattern[self.at : self.at + 2] in ("&&", "--", "~~", "||"):
            raise UnportablePattern("a [ or a set operation within a class", self.at)
        self.at += 1
        return char

    def _literal(self, char: str, *, in_class: bool = False) -> str:
        """``char`` so that no dialect sees more in it than the character."""
        if char.isalnum() or char == "_":
            return char
        if ord(char) < 0x20 or char == "\x7f" or char == " ":
            # PostgreSQL reads as many hex digits after \x as there are.
            escape = "u00" if self.dialect is Dialect.POSTGRESQL else "x"
            return f"\\{escape}{ord(char):02x}"
        if ord(char) > 0x7F:
            return char
        special = r"\]^-[&~|" if in_class else r"\.^$|?*+()[]{}"
        return f"\\{char}" if char in special else char
