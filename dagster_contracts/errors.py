"""What can go wrong, as one tree.

::

    ContractsError
    ├── DocumentError                a contract document cannot be read
    │   ├── ConditionSyntaxError     a condition such as ``rows > 5%`` cannot be parsed
    │   └── UnknownContractError     no document answers to a reference
    ├── VersionConflictError         a published version was edited, or two files carry the same one
    ├── IncompatibleChangeError      a change breaks whom the contract protects
    ├── WiringError                  Dagster definitions and contracts do not fit together
    ├── StoreError                   the state store cannot be opened, read or written
    │   └── SchemaTooNewError        the store was written by a newer release
    ├── CircuitOpenError             an open circuit and no usable fallback
    ├── FallbackError                a fallback level was chosen and could not be served
    ├── PolicyError                  an operation without an actor, a reason or a permission
    └── UnreadableDataError          what was given is no table, or cannot be read as one

Bad *data* is never an exception: it is a :class:`~dagster_contracts.core.outcome.CheckOutcome`. To
validate what cannot be read gives outcomes, too; only a contract cannot be inferred from it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class SourceLocation:
    """A place in a document: 1-based line and column; 0 where only the file is known."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if self.line <= 0:
            return self.path
        if self.column <= 0:
            return f"{self.path}:{self.line}"
        return f"{self.path}:{self.line}:{self.column}"


def shortened(message: str) -> str:
    """A message without the middle of what it quotes, where that is long."""
    return message if len(message) <= 600 else f"{message[:440]} ... {message[-150:]}"


class ContractsError(Exception):
    """Base of every error this package raises on purpose.

    Attributes
    ----------
    what:
        One sentence: what went wrong.
    where:
        ``file:line:column`` or ``contract@version``; ``None`` where there is no place.
    why:
        The cause in words, where the sentence alone does not say it.
    hint:
        How to mend it.
    """

    def __init__(
        self,
        what: str,
        *,
        where: SourceLocation | str | None = None,
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.why = why
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.why:
            lines.append(f"  why:  {self.why}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (multiprocess executor): rebuild without calling __init__.
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(
    cls: type[ContractsError], args: tuple[object, ...], state: dict[str, object]
) -> ContractsError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class DocumentError(ContractsError):
    """A contract document cannot be read; ``where`` carries file, line and column."""


class ConditionSyntaxError(DocumentError):
    """A condition cannot be parsed or its units do not fit.

    ``offset`` is the 0-based position in ``text`` that the caret shows.
    """

    def __init__(
        self,
        what: str,
        *,
        text: str,
        offset: int,
        where: SourceLocation | str | None = None,
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what, where=where, why=why, hint=hint)
        self.text = text
        self.offset = offset

    def __str__(self) -> str:
        head, _, rest = super().__str__().partition("\n")
        shown = self.text[:200].replace("\n", " ").replace("\t", " ")
        caret = " " * min(self.offset, 200) + "^"
        lines = [head, f"    {shown}", f"    {caret} column {self.offset + 1}"]
        if rest:
            lines.append(rest)
        return "\n".join(lines)


class UnknownContractError(DocumentError):
    """No document answers to a contract reference."""


class VersionConflictError(ContractsError):
    """A published version was edited in place, or two documents carry the same version."""


class IncompatibleChangeError(ContractsError):
    """A change breaks whom the contract protects, or its version bump is too small."""


class WiringError(ContractsError):
    """Dagster definitions and contracts do not fit together."""


class StoreError(ContractsError):
    """The state store cannot be opened, read or written."""


class SchemaTooNewError(StoreError):
    """The state store was written by a newer release of this package."""


class CircuitOpenError(ContractsError):
    """A consumer asked for data whose circuit is open, and no fallback level is usable."""


class FallbackError(ContractsError):
    """A fallback level was chosen, and what it served does not keep its promise."""


class PolicyError(ContractsError):
    """An operation came without an actor, a reason, or the permission it needs."""


class UnreadableDataError(ContractsError):
    """What was given is no table, or cannot be read as one."""
