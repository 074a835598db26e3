"""Where the contracts and their state are: options, environment, or found from where we stand."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from dagster_contracts.errors import WiringError

FOLDER = "contracts"
STORE = "sqlite:///.dagster_contracts/state.db"
ARCHIVE = ".dagster_contracts"

_SQLITE_FILE = re.compile(
    r"(?P<scheme>sqlite(?:\+\w+)?:///)(?![/:])(?P<path>[^?]+)(?P<query>\?.*)?"
)

Command = TypeVar("Command", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Places:
    """What was given on the command line or in the environment; the rest is found.

    The defaults are those of ``ContractsResource``: relative paths and relative SQLite URLs are
    resolved against the folder that holds the contracts folder, so that the command line sees what
    Dagster sees.
    """

    contracts: Path | None = None
    store: str | None = None
    archive: Path | None = None
    allowed_env: tuple[str, ...] = ()
    start: Path = Path()

    def contracts_folder(self) -> Path:
        """The folder of contract documents; ``WiringError`` where there is none."""
        if self.contracts is not None:
            folder = (self.start / self.contracts).resolve()
            if not folder.is_dir():
                raise WiringError(
                    f"there is no contracts folder {str(self.contracts)!r}",
                    where=str(folder),
                    why="it is a file" if folder.exists() else "no such folder",
                    hint="--contracts (or DAGSTER_CONTRACTS_PATH) names the folder of documents",
                )
            return folder
        here = self.start.resolve()
        for folder in (here, *here.parents):
            if (folder / FOLDER).is_dir():
                return folder / FOLDER
        raise WiringError(
            f"there is no contracts folder {FOLDER!r}",
            where=str(here),
            why=f"neither {here} nor any folder above it holds one",
            hint="change to the project's folder, or name it with --contracts DIR",
        )

    def root(self) -> Path:
        """The folder against which relative places are resolved."""
        return self.contracts_folder().parent

    def store_url(self) -> str:
        """The store's URL, with an absolute path where it is a file."""
        url = self.store or STORE
        match = _SQLITE_FILE.fullmatch(url)
        if match is None:
            return url
        path = (self.root() / match["path"]).resolve()
        return f"{match['scheme']}{path}{match['query'] or ''}"

    def archive_folder(self) -> Path:
        """The folder of snapshots and quarantined batches."""
        given = self.archive or Path(ARCHIVE)
        return given if given.is_absolute() else (self.root() / given).resolve()


pass_places = click.make_pass_decorator(Places)
