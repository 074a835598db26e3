"""Contract documents as they were in a git revision: ``git:main:contracts/orders.yaml``.

``git:main...:contracts`` is where this branch left ``main``: what others merged there since is no
change of ours.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from dagster_contracts.errors import ContractsError, DocumentError, SourceLocation

PREFIX = "git:"
_MERGE_BASE = "..."
_ENDINGS = (".yaml", ".yml", ".json", ".avsc")
_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Revision:
    """A path (POSIX, from the top of the repository) in a commit, and how it was written."""

    name: str
    commit: str
    path: str


@contextmanager
def checked_out(text: str, start: Path) -> Iterator[Path]:
    """The file or folder that ``text`` names, in a temporary folder while the block runs.

    Only contract and schema documents are written there. Errors that the block raises speak of the
    revision and not of the temporary folder. ``DocumentError`` where git knows no such thing.
    """
    revision = _resolve(text, start)
    with tempfile.TemporaryDirectory(prefix="contracts-") as folder:
        root = Path(folder).resolve()
        _write(revision, root, start, text)
        try:
            yield root / revision.path if revision.path else root
        except ContractsError as error:
            raise renamed(error, root, revision.name) from None


def is_new_since(text: str, path: Path, start: Path) -> bool:
    """Whether ``text`` names this very ``path`` in a revision that does not have it yet.

    The first change that brings a contract has nothing to be compared with; in a repository without
    a commit that is every change. Any other path that is not there is a mistake.
    """
    name, _, inner = text.removeprefix(PREFIX).partition(":")
    if name == "HEAD" and inner and not _git(start, text, "rev-list", "-n", "1", "--all"):
        return _names(_inner_path(text, inner, start), path, start, text)
    revision = _resolve(text, start)
    return _names(revision.path, path, start, text) and not _holds(revision, start, text)


def is_gone_since(text: str, path: Path, start: Path) -> bool:
    """Whether ``text`` names this very ``path``, which that revision has and the disk has not."""
    if path.exists():
        return False
    revision = _resolve(text, start)
    return _names(revision.path, path, start, text) and _holds(revision, start, text)


def _names(inner: str, path: Path, start: Path, text: str) -> bool:
    top = Path(_git(start, text, "rev-parse", "--show-toplevel").decode().strip())
    return path.resolve() == (top / inner).resolve()


def _holds(revision: Revision, start: Path, text: str) -> bool:
    asked = f":(top,literal){revision.path}"
    return bool(_git(start, text, "ls-tree", "--full-tree", revision.commit, "--", asked))


def renamed(error: ContractsError, root: Path, name: str) -> ContractsError:
    """The same error with ``git:REV:`` in the place of the temporary folder."""
    temporary, shown = f"{root}/", f"{PREFIX}{name}:"
    if isinstance(error.where, SourceLocation):
        error.where = replace(error.where, path=error.where.path.replace(temporary, shown))
    if error.why:
        error.why = error.why.replace(temporary, shown)
    return error


def _resolve(text: str, start: Path) -> Revision:
    name, colon, path = text.removeprefix(PREFIX).partition(":")
    if not colon or not name:
        raise DocumentError(
            f"{text!r} names no git revision",
            hint='write "git:main:contracts/orders.yaml", or "git:HEAD~1:contracts" for a folder',
        )
    revision = name.removesuffix(_MERGE_BASE)
    find = ("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    commit = _git(start, text, *find)
    if name.endswith(_MERGE_BASE):
        commit = _git(start, text, "merge-base", commit.decode().strip(), "HEAD")
    return Revision(name, commit.decode().strip(), _inner_path(text, path, start))


def _inner_path(text: str, path: str, start: Path) -> str:
    """The path from the top of the repository."""
    prefix = _git(start, text, "rev-parse", "--show-prefix").decode().strip()
    # As in git itself: a path counts from the top of the repository unless it begins with a dot.
    parts: list[str] = []
    for part in PurePosixPath(prefix if path.startswith(".") else "", path).parts:
        if part == "..":
            if not parts:
                raise DocumentError(f"{text!r} leaves the repository", hint="use fewer '..'")
            parts.pop()
        elif part not in (".", "/"):
            parts.append(part)
    return "/".join(parts)


def _write(revision: Revision, root: Path, start: Path, text: str) -> None:
    spec = f"{revision.commit}:{revision.path}"
    kind = _git(start, text, "cat-file", "-t", spec).strip()
    # A document may refer to schemas that stand beside it, so its whole folder is taken.
    folder = revision.path if kind == b"tree" else revision.path.rpartition("/")[0]
    command = ["ls-tree", "-r", "-l", "-z", "--full-tree", revision.commit]
    listed = _git(start, text, *command, *(["--", f":(top,literal){folder}"] if folder else []))
    (root / revision.path if kind == b"tree" else root / folder).mkdir(parents=True, exist_ok=True)
    wanted = []
    for line in listed.decode("utf-8", "surrogateescape").split("\0"):
        fields, _, path = line.partition("\t")
        mode, _, sha, size = fields.split() if fields else ("", "", "", "0")
        regular = mode.startswith("100")  # neither links nor submodules
        if regular and path.endswith(_ENDINGS) and int(size) <= _MAX_BYTES:
            wanted.append((sha, path))
    if not wanted:
        return
    requests = "".join(f"{sha}\n" for sha, _ in wanted).encode()
    stream = memoryview(_git(start, text, "cat-file", "--batch", request=requests))
    for _, path in wanted:
        header, _, _ = bytes(stream[:200]).partition(b"\n")
        begin = len(header) + 1
        end = begin + int(header.split()[2])
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(stream[begin:end])
        stream = stream[end + 1 :]


def _git(start: Path, text: str, *arguments: str, request: bytes | None = None) -> bytes:
    try:
        result = subprocess.run(  # noqa: S603 - git with our own arguments, never a shell
            ["git", *arguments],  # noqa: S607 - the git of the user's path
            cwd=start,
            input=request,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise DocumentError(f"{text!r} cannot be read", why="git is not installed") from None
    if result.returncode != 0:
        said = result.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ")
        hint = (
            "the form is git:REVISION:PATH; PATH counts from the top of the repository, "
            "and from here where it begins with ./"
        )
        if arguments[0] in ("rev-parse", "merge-base") and _is_shallow(start):
            said = said if "single revision" not in said else ""
            hint = (
                "this clone is shallow and does not hold that revision: fetch it, with "
                "'git fetch --unshallow' or, in actions/checkout, 'fetch-depth: 0'"
            )
        raise DocumentError(
            f"git cannot read {text!r}", why=said or "there is no such revision", hint=hint
        )
    return result.stdout


def _is_shallow(start: Path) -> bool:
    result = subprocess.run(
        ["git", "rev-parse", "--is-shallow-repository"],  # noqa: S607 - as above
        cwd=start,
        capture_output=True,
        check=False,
    )
    return result.stdout.strip() == b"true"
