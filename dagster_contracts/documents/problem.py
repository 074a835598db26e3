"""What is wrong with a document, as values: the reader finds all of it, not only the first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dagster_contracts.core.contract import Contract
from dagster_contracts.core.near_names import CANDIDATES, fold, meant_one_of, near_names
from dagster_contracts.errors import ContractsError, DocumentError, SourceLocation, shortened

MAX_PROBLEMS = 100
"""So many mistakes of one document are told; nobody reads more of them at once."""


def place_of(contract: Contract) -> SourceLocation:
    """Where a contract stands; its reference, where it was made in Python."""
    return contract.location or SourceLocation(contract.ref)


class ProblemSeverity(StrEnum):
    """An error keeps a document from loading; a warning does not; a note is only worth a look."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding, with its place, a stable ``code`` such as ``unknown-key``, and the mend."""

    location: SourceLocation
    severity: ProblemSeverity
    code: str
    message: str
    hint: str | None = None
    error: ContractsError | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        text = f"{self.location}: {self.severity}: {self.message} [{self.code}]"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class TooManyProblemsError(Exception):
    """A document has so many mistakes that it is not read to its end."""


class Findings:
    """Collects the problems of one document while it is read.

    A reader that meets a mistake notes it here, puts the default in its place and reads on, so
    that one run shows all mistakes. With ``limit`` the one behind it raises
    :class:`TooManyProblemsError`, so that mistakes alone cost no more than a good document.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._problems: list[Problem] = []
        self._limit = limit

    def _note(self, problem: Problem) -> None:
        if self._limit is not None and len(self._problems) >= self._limit:
            self._problems.append(
                Problem(
                    problem.location,
                    ProblemSeverity.ERROR,
                    "too-many",
                    f"there are more than {self._limit} mistakes: the rest is not read",
                    "mend the first ones, and look again",
                )
            )
            raise TooManyProblemsError
        self._problems.append(problem)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._problems)

    def error(
        self, where: SourceLocation, code: str, message: str, hint: str | None = None
    ) -> None:
        """Note a mistake that keeps the document from loading."""
        self._note(Problem(where, ProblemSeverity.ERROR, code, shortened(message), hint))

    def warning(
        self, where: SourceLocation, code: str, message: str, hint: str | None = None
    ) -> None:
        """Note something that loads and is probably not meant."""
        self._note(Problem(where, ProblemSeverity.WARNING, code, shortened(message), hint))

    def note(self, where: SourceLocation, code: str, message: str, hint: str | None = None) -> None:
        """Note something worth a look."""
        self._note(Problem(where, ProblemSeverity.NOTE, code, shortened(message), hint))

    def raised(self, error: ContractsError, where: SourceLocation, code: str) -> None:
        """Note an error that somebody else raised; it keeps its own place where it has one."""
        if not isinstance(error.where, SourceLocation):
            error.where = where
        place = error.where
        error.what = shortened(error.what)
        message = error.what if error.why is None else f"{error.what}: {error.why}"
        self._note(
            Problem(place, ProblemSeverity.ERROR, code, shortened(message), error.hint, error)
        )

    def extend(self, problems: Iterable[Problem]) -> None:
        """Take over problems that were found elsewhere."""
        self._problems.extend(problems)

    def sorted(self) -> tuple[Problem, ...]:
        """All of them without repetition, in the order of the document."""
        return tuple(sorted(dict.fromkeys(self._problems), key=lambda problem: problem.location))

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Those that keep the document from loading, in the order of the document."""
        return tuple(p for p in self.sorted() if p.severity is ProblemSeverity.ERROR)


def as_error(errors: tuple[Problem, ...]) -> ContractsError:
    """The first of ``errors`` as an exception that lists up to five of the others."""
    first, rest = errors[0], errors[1:]
    if first.error is not None:
        return first.error
    why = None
    if rest:
        shown = "\n        ".join(f"{p.location}: {p.message}" for p in rest[:5])
        more = f"\n        and {len(rest) - 5} more" if len(rest) > 5 else ""
        why = f"and {len(rest)} more in the same document:\n        {shown}{more}"
    return DocumentError(first.message, where=first.location, why=why, hint=first.hint)


def did_you_mean(
    word: str, known: Iterable[str], *, synonyms: Mapping[str, str] | None = None
) -> str:
    """A hint that names the nearest of ``known``, or all of them where none is near."""
    choices = list(known)
    if len(choices) <= CANDIDATES:
        choices.sort()
    meant = {fold(name): hint for name, hint in (synonyms or {}).items()}.get(fold(word[:200]))
    if meant is not None:
        return f"write {meant}"
    near = meant_one_of(near_names(word, choices))
    if near is not None:
        return near
    if not choices:
        return "remove it"
    shown = ", ".join(choices[:40]) + (", ..." if len(choices) > 40 else "")
    return f"known here: {shown}"
