"""Contracts for commands that write files: with references to the environment as they stand.

What is written out may be shared, so that no ``${env:NAME}`` is ever replaced by its value.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from dagster_contracts.cli.places import Places
from dagster_contracts.cli.sources import open_path
from dagster_contracts.documents.document import expected_of, read_document
from dagster_contracts.documents.folder import ContractFolder, contract_files


@dataclass(frozen=True, slots=True)
class Located:
    """The file of one contract, and the folder that its schema files must not leave."""

    path: Path
    root: Path


@contextmanager
def locate(text: str, places: Places) -> Iterator[Located]:
    """The file that ``text`` names: itself, the only one of a folder, or by reference."""
    with open_path(text, places) as path:
        if path is None:
            folder = places.contracts_folder()
            documents = (
                read_document(file, root=folder, keep_references=True)
                for file in contract_files(folder)
            )
            contracts = [found.contract for found in documents if found.contract is not None]
            location = ContractFolder(contracts, root=folder).resolve(text).location
            assert location is not None
            yield Located(Path(location.path), folder)
            return
        if path.is_dir():
            files = list(contract_files(path))
            if len(files) != 1:
                raise click.UsageError(
                    f"{text!r} is a folder of {len(files)} documents; name one of them"
                )
            yield Located(files[0], path)
            return
        versioned = expected_of(path).version is not None
        yield Located(path, path.absolute().parent.parent if versioned else path.parent)
