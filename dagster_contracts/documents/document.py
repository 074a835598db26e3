"""One file to one contract and to everything that is wrong with it."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dagster_contracts.core.contract import Contract
from dagster_contracts.core.reference import is_name
from dagster_contracts.documents.compact import ROOT_KEY, Expected, no_contract, read_compact
from dagster_contracts.documents.document_cache import DocumentCache
from dagster_contracts.documents.fingerprint import content_hash, semantic_hash
from dagster_contracts.documents.odcs import is_odcs, read_odcs
from dagster_contracts.documents.problem import (
    MAX_PROBLEMS,
    Findings,
    Problem,
    ProblemSeverity,
    TooManyProblemsError,
)
from dagster_contracts.documents.schema_files import SchemaFiles
from dagster_contracts.documents.section import Reading
from dagster_contracts.documents.yaml_text import MAX_BYTES, MappingNode, parse_yaml, too_large
from dagster_contracts.errors import ContractsError, DocumentError, SourceLocation

ENDINGS = (".yaml", ".yml")

_VERSION_STEM = re.compile(r"v?[0-9]+(?:\.[0-9]+){1,3}(?:[-+][0-9A-Za-z.+-]+)?")


@dataclass(frozen=True, slots=True)
class Document:
    """What one file came to: the contract, unless there are errors, and all findings.

    ``schema_files`` are the files it used, by name relative to its folder, with the SHA-256 of
    each; ``missing_files`` are counted as errors and make a document uncacheable.
    """

    path: str
    contract: Contract | None
    problems: tuple[Problem, ...]
    schema_files: tuple[tuple[str, str], ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What kept the contract from loading."""
        return tuple(p for p in self.problems if p.severity is ProblemSeverity.ERROR)


_cache = DocumentCache[Document](max_bytes=64 * 1024 * 1024)


def read_document(
    path: Path,
    *,
    root: Path | None = None,
    text: str | bytes | None = None,
    allowed_env: Collection[str] = (),
    keep_references: bool = False,
) -> Document:
    """Read ``path`` (or ``text`` in its place); never raises for what a document contains.

    ``keep_references`` leaves every ``${env:NAME}`` as it is written, and so needs no
    ``allowed_env``: for whoever writes the contract out again, because no secret belongs in a file.

    ``root`` is the folder that no schema file may leave; the file's own folder by default. A file
    whose name is a version lies in the folder of its contract: ``orders/1.2.0.yaml``.
    """
    expected = expected_of(path, root)
    root = root or path.parent
    try:
        content = _content(path, root, text)
    except DocumentError as error:
        return Document(str(path), None, _as_problems(error, str(path)))
    if keep_references:
        allowed_env = references_in(content)
        environment = {name: f"${{env:{name}}}" for name in allowed_env}
    else:
        environment = {name: os.environ[name] for name in allowed_env if name in os.environ}
    digest = hashlib.sha256(content).hexdigest()
    allowed = (tuple(sorted(allowed_env)), tuple(environment.items()))
    key = (str(path), str(root), expected, *allowed)
    cached = _cache.get(key, digest)
    if cached is not None and _unchanged(path.parent, cached):
        return cached
    reading = Reading(str(path), findings=Findings(MAX_PROBLEMS), environment=environment)
    files = SchemaFiles(path.parent, root, reading)
    document = _read(content, files, expected, allowed_env)
    if document.contract is not None:
        _cache.put(key, digest, document, size=len(content))
    return document


def references_in(content: bytes) -> tuple[str, ...]:
    """The names of the environment variables that a document refers to, sorted."""
    found = re.findall(r"\$\{env:([^}]*)\}", content.decode("utf-8", "replace"))
    return tuple(sorted(set(found)))


def expected_of(path: Path, root: Path | None = None) -> Expected:
    """What the place of a file says: ``orders/1.2.0.yaml`` is orders 1.2.0; elsewhere nothing."""
    if _VERSION_STEM.fullmatch(path.stem) is None:
        return Expected()
    name = "" if path.parent == root else path.absolute().parent.name
    return Expected(name=name if is_name(name) else None, version=path.stem)


def clear_cache() -> None:
    """Forget every document that was read."""
    _cache.clear()


def _content(path: Path, root: Path, text: str | bytes | None) -> bytes:
    if text is not None:
        return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    where = SourceLocation(str(path))
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise DocumentError(
            "the file is a link that leaves the contracts' folder",
            where=where,
            hint="copy the file into the folder",
        )
    try:
        return _bytes_of(path, where)
    except FileNotFoundError:
        raise DocumentError("there is no such file", where=where, hint="check the path") from None
    except OSError as error:
        raise DocumentError(
            "the file cannot be read", where=where, why=error.strerror or str(error)
        ) from None


def _bytes_of(path: Path, where: SourceLocation) -> bytes:
    # A pipe or a device would be waited for, or would never end.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DocumentError(
                "this is a folder" if stat.S_ISDIR(status.st_mode) else "this is no plain file",
                where=where,
                hint="name a file that ends in .yaml",
            )
        if status.st_size > MAX_BYTES:
            raise too_large(status.st_size, where.path)
        with open(descriptor, "rb", closefd=False) as file:
            # A file may grow while it is read: one byte more than is allowed shows that it did.
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def _unchanged(folder: Path, document: Document) -> bool:
    for name, digest in document.schema_files:
        try:
            content = (folder / name).read_bytes()
        except OSError:
            return False
        if hashlib.sha256(content).hexdigest() != digest:
            return False
    return True


def _read(
    content: bytes, files: SchemaFiles, expected: Expected, allowed_env: Collection[str]
) -> Document:
    reading = files.reading
    contract: Contract | None = None
    try:
        node = parse_yaml(content, reading.path, allowed_env=allowed_env)
        if isinstance(node, MappingNode) and ROOT_KEY in node.entries:
            contract = read_compact(node, reading, files, expected)
        elif isinstance(node, MappingNode) and is_odcs(node):
            contract = read_odcs(node, reading, files, expected)
        else:
            raise no_contract(node)
    except ContractsError as error:
        # A document that cannot be read at all has this one problem, and no limit is reached.
        with suppress(TooManyProblemsError):
            reading.findings.raised(error, SourceLocation(reading.path), "document")
    except TooManyProblemsError:
        contract = None
    problems = reading.findings.sorted()
    if contract is None or reading.findings.errors:
        return Document(reading.path, None, problems)
    contract = replace(
        contract,
        content_hash=content_hash(content, files.read),
        semantic_hash=semantic_hash(contract),
    )
    used = tuple((name, hashlib.sha256(data).hexdigest()) for name, data in files.read.items())
    return Document(reading.path, contract, problems, used)


def _as_problems(error: DocumentError, path: str) -> tuple[Problem, ...]:
    findings = Findings()
    findings.raised(error, SourceLocation(path), "document")
    return findings.sorted()
