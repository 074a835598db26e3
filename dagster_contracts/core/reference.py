"""Versions of contracts, and references to them: ``orders``, ``orders@^1.2``, ``orders@1.4.0``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import total_ordering

from dagster_contracts.errors import DocumentError

#: What a contract, a schema or a folder may be called. No separators, no leading dot: a name is
#: also the name of a folder, and must not be able to leave the store.
NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")

_VERSION = re.compile(
    r"v?(?P<release>\d{1,9}(?:\.\d{1,9}){0,3})(?:-(?P<pre>[0-9A-Za-z.-]{1,50}))?(?:\+[0-9A-Za-z.-]{1,50})?",
    re.ASCII,
)
_OPAQUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_PARTIAL = re.compile(r"v?\d{1,9}(?:\.\d{1,9}){0,2}", re.ASCII)


def is_name(text: str) -> bool:
    """Whether ``text`` may name a contract or a schema."""
    return NAME_PATTERN.fullmatch(text) is not None and ".." not in text


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A version, ordered as semantic versions are: ``1.9.0 < 1.10.0-rc.1 < 1.10.0``.

    ODCS allows any text as a version. One that is no sequence of numbers (``latest``) has an empty
    ``release``, sorts below every numbered one, and answers only to its exact text. ``1``, ``1.0``
    and ``1.0.0`` are equal; ``text`` keeps the spelling.
    """

    text: str
    release: tuple[int, ...] = field(default=())
    prerelease: tuple[tuple[int, int, str], ...] = field(default=())

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read a version; raise :class:`DocumentError` where it is empty or has odd characters."""
        matched = _VERSION.fullmatch(text)
        if matched:
            release = tuple(int(part) for part in matched["release"].split("."))
            pre = matched["pre"] or ""
            parts = tuple(_identifier(part) for part in re.split(r"[.-]", pre) if part)
            return cls(text, release + (0,) * (3 - len(release)), parts)
        if _OPAQUE.fullmatch(text) and ".." not in text:
            return cls(text)
        raise DocumentError(
            f"{text!r} is no version",
            why="a version is a few numbers with dots between them, or a short word",
            hint='write it like "1.4.0"',
        )

    @property
    def is_prerelease(self) -> bool:
        """Whether it comes before a release (``1.0.0-rc.1``) or carries no number at all."""
        return bool(self.prerelease) or not self.release

    def _key(self) -> tuple[object, ...]:
        if not self.release:
            return (0, (), 0, (), self.text)
        release = self.release
        while len(release) > 3 and release[-1] == 0:
            release = release[:-1]
        return (1, release, 0 if self.prerelease else 1, self.prerelease, "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key() == other._key()

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Version):
            return NotImplemented
        return self._key() < other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        return self.text


def _identifier(part: str) -> tuple[int, int, str]:
    # Semantic versioning: numeric identifiers are lower than words, and compare as numbers.
    return (0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part)


@dataclass(frozen=True, slots=True)
class ContractRef:
    """A contract's name and which of its versions will do.

    =================  =========================================================
    ``orders``         any version
    ``orders@1``       any 1.x.y;  ``orders@1.2``: any 1.2.y
    ``orders@^1.2``    at least 1.2.0, the same major (the same minor below 1.0)
    ``orders@~1.2``    at least 1.2.0, the same minor
    ``orders@1.4.0``   exactly that
    =================  =========================================================

    Pre-releases answer only to their exact version, or where nothing else was asked for.
    """

    name: str
    requirement: str | None = None

    @classmethod
    def parse(cls, text: str) -> ContractRef:
        """Read a reference; raise :class:`DocumentError` with the mend where it is malformed."""
        name, at, requirement = text.strip().partition("@")
        if not is_name(name):
            raise DocumentError(
                f"{text!r} is no contract reference",
                why=f"{name!r} is no contract name (letters, digits, '_', '-' and '.')",
                hint='write "orders", "orders@^1.2" or "orders@1.4.0"',
            )
        if not at or requirement == "*":
            return cls(name)
        number = requirement[1:] if requirement[:1] in {"^", "~"} else requirement
        ranged = number is not requirement and number != requirement
        wanted = _VERSION.fullmatch(number) if ranged else _OPAQUE.fullmatch(number)
        if wanted is None or ".." in number:
            raise DocumentError(
                f"{text!r} is no contract reference",
                why=f"{requirement!r} is neither a version nor a range of versions",
                hint=f'write "{name}@1", "{name}@^1.2", "{name}@~1.2" or "{name}@1.4.0"',
            )
        return cls(name, requirement)

    def __str__(self) -> str:
        return self.name if self.requirement is None else f"{self.name}@{self.requirement}"

    @property
    def is_exact(self) -> bool:
        """Whether only one version can answer."""
        requirement = self.requirement
        if requirement is None or requirement[:1] in {"^", "~"}:
            return False
        partial = _PARTIAL.fullmatch(requirement)
        return partial is None or requirement.count(".") == 2

    def matches(self, version: str | Version) -> bool:
        """Whether ``version`` answers to this reference."""
        found = Version.parse(version) if isinstance(version, str) else version
        if self.requirement is None:
            return True
        if self.is_exact:
            return found == Version.parse(self.requirement)
        if found.is_prerelease:
            return False
        sign = self.requirement[0] if self.requirement[0] in "^~" else ""
        wanted = Version.parse(self.requirement[len(sign) :])
        given = self.requirement[len(sign) :].partition("-")[0].count(".") + 1
        if not sign:
            return found.release[:given] == wanted.release[:given]
        if found < wanted:
            return False
        if sign == "~":
            kept = min(given, 2)
        else:
            # The left-most number that is not zero must stay: ^0.2 means 0.2.x, ^0.0.3 only 0.0.3.
            first = next((i for i, part in enumerate(wanted.release) if part), given - 1)
            kept = min(first, given - 1) + 1
        return found.release[:kept] == wanted.release[:kept]

    def select(self, versions: Iterable[str]) -> str | None:
        """The highest of ``versions`` that answers, releases before pre-releases; else ``None``."""
        parsed = [Version.parse(text) for text in versions]
        matching = [version for version in parsed if self.matches(version)]
        if not matching:
            return None
        return max(matching, key=lambda version: (not version.is_prerelease, version)).text
