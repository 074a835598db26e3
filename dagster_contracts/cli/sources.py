"""Contracts by file, folder, reference or git revision: whatever the command line names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from dagster_contracts.cli.git_revision import PREFIX, checked_out
from dagster_contracts.cli.places import Places
from dagster_contracts.core.contract import Contract
from dagster_contracts.documents.document import ENDINGS, Document, expected_of, read_document
from dagster_contracts.documents.folder import ContractFolder, read_folder
from dagster_contracts.documents.problem import as_error


@dataclass(frozen=True, slots=True)
class Source:
    """What an argument named: one contract, or a folder of them."""

    shown: str
    contract: Contract | None = None
    folder: ContractFolder | None = None


@contextmanager
def open_path(text: str, places: Places) -> Iterator[Path | None]:
    """The file or folder that ``text`` names, or ``None`` where it looks like a reference.

    ``click.UsageError`` for a path that is not there.
    """
    if text.startswith(PREFIX):
        with checked_out(text, places.start) as path:
            yield path
        return
    path = places.start / text
    if path.exists():
        yield path
    elif "/" in text or "\\" in text or text.endswith(ENDINGS):
        raise click.UsageError(f"there is no file or folder {text!r}")
    else:
        yield None


def read_source(text: str, places: Places) -> Source:
    """Read what ``text`` names; ``DocumentError`` with its place for what is wrong in it."""
    with open_path(text, places) as path:
        if path is None:
            return Source(text, contract=read_contracts(places).resolve(text))
        if path.is_dir():
            return Source(text, folder=read_folder(path, allowed_env=places.allowed_env))
        document = document_at(path, places)
        if document.contract is None:
            raise as_error(document.errors)
        return Source(text, contract=document.contract)


def read_one(text: str, places: Places) -> Contract:
    """The one contract that ``text`` names, by file or reference."""
    source = read_source(text, places)
    if source.contract is not None:
        return source.contract
    names = source.folder.names() if source.folder else ()
    if source.folder is not None and len(names) == 1:
        return source.folder.resolve(names[0])
    raise click.UsageError(f"{text!r} is a folder of several contracts; name one of its files")


def document_at(path: Path, places: Places, *, root: Path | None = None) -> Document:
    """Read one file; its place gives name and version as it does in a folder of contracts.

    ``root`` is the folder that its schema files must not leave: the contracts folder around it.
    """
    if root is None:
        versioned = expected_of(path).version is not None
        root = path.absolute().parent.parent if versioned else path.parent
    return read_document(path, root=root, allowed_env=places.allowed_env)


def read_contracts(places: Places) -> ContractFolder:
    """The contracts of this deployment."""
    return read_folder(places.contracts_folder(), allowed_env=places.allowed_env)
