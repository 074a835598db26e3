"""The resource through which a deployment says where its contracts and their state are."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from dagster_contracts.errors import StoreError, WiringError
from dagster_contracts.orchestration.runtime import ContractsRuntime, Settings, open_runtime
from dagster_contracts.store.database import check_url

if TYPE_CHECKING:
    from dagster_contracts.orchestration.resolution import ResolvedSource

_SQLITE_FILE = re.compile(r"^(sqlite(?:\+\w+)?:///)(?!/)(?P<path>[^?]+)(?P<query>\?.*)?$")


class ContractsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where the contracts are, and where their state is kept.

    Relative paths are resolved once, by :func:`with_contracts`, against the root of the code
    location: the nearest folder at or above the module that calls it which holds ``path``. Daemon,
    web server, run and step processes then see the same files, whatever they were started from.
    """

    path: str = Field(default="contracts", description="The folder of contract documents.")
    store: str = Field(
        default="sqlite:///.dagster_contracts/state.db",
        description="SQLAlchemy URL of the state: sqlite:///file, or postgresql+psycopg://...",
    )
    archive: str = Field(
        default=".dagster_contracts",
        description="The folder of snapshots and quarantined batches.",
    )
    channels: dict[str, str] = Field(
        default_factory=dict,
        description="Alert channels by name: an apprise URL, file:PATH or log:.",
    )
    owners: dict[str, str] = Field(
        default_factory=dict,
        description="The channel of each owner, such as {'team:shop': 'shop-slack'}.",
    )
    allowed_env: list[str] = Field(
        default_factory=list,
        description="Environment variables that contracts may refer to as ${env:NAME}.",
    )
    retention_days: int = Field(
        default=400, ge=1, description="How long metrics, events and delivered messages are kept."
    )
    snapshots_kept: int = Field(
        default=3, ge=1, description="How many valid batches of each asset and partition are kept."
    )
    samples: int = Field(default=5, ge=0, description="Failing rows that each rule shows.")
    allow_sql: bool = Field(default=False, description="Whether sql rules of contracts may run.")
    allow_code: list[str] = Field(
        default_factory=list,
        description="Python modules, with all below them, whose code custom rules may run.",
    )

    def resolved(self, root: Path) -> ContractsResource:
        """The same resource with absolute paths."""
        store = _with_environment(self.store)
        match = _SQLITE_FILE.match(store)
        if match and not match["path"].startswith(":memory:"):
            store = f"{match[1]}{(root / match['path']).resolve()}{match['query'] or ''}"
        check_url(store)
        channels = {
            name: f"file:{(root / address[5:]).resolve()}"
            if address.startswith("file:") and not address.startswith("file:/")
            else address
            for name, address in self.channels.items()
        }
        return ContractsResource(
            path=str((root / self.path).resolve()),
            store=store,
            archive=str((root / self.archive).resolve()),
            channels=channels,
            owners=self.owners,
            allowed_env=self.allowed_env,
            retention_days=self.retention_days,
            snapshots_kept=self.snapshots_kept,
            samples=self.samples,
            allow_sql=self.allow_sql,
            allow_code=self.allow_code,
        )

    def settings(self) -> Settings:
        """The settings that services are opened with."""
        return Settings(
            contracts=Path(self.path),
            store_url=self.store,
            archive=Path(self.archive),
            channels=tuple(sorted(self.channels.items())),
            owners=tuple(sorted(self.owners.items())),
            allowed_env=tuple(self.allowed_env),
            retention_days=self.retention_days,
            snapshots_kept=self.snapshots_kept,
            samples=self.samples,
            allow_sql=self.allow_sql,
            allow_code=tuple(self.allow_code),
        )

    def runtime(self) -> ContractsRuntime:
        """The services, opened once in each process."""
        return open_runtime(self.settings())

    def resolve(
        self,
        asset: dg.CoercibleToAssetKey,
        *,
        partition: str | None = None,
        context: dg.AssetExecutionContext | None = None,
    ) -> ResolvedSource:
        """Where to read ``asset`` from now, for an asset that only names it in ``deps=``.

        Such an asset loads its data itself, so that no I/O manager can switch it. What is resolved
        counts as read: a fallback goes into the ledger and is healed, and the materialization says
        what it was built from.

        ``partition`` is needed where the dependency is on several partitions; ``context`` only
        where the call stands outside of the asset's own thread.

        Raises
        ------
        CircuitOpenError
            No level is usable.
        WiringError
            The call stands in no running asset, or that does not depend on ``asset``.
        """
        from dagster_contracts.orchestration.resolution import resolve_source

        return resolve_source(self.runtime(), asset, partition=partition, context=context)

    def report_problem(self, contract: str, text: str, *, consumer: str) -> int:
        """Tell the producer that data is bad although its checks passed; the report's number.

        Open reports count as the metric ``consumer_reports``.
        """
        return self.runtime().feedback.report(consumer=consumer, contract=contract, text=text)


_VARIABLE = re.compile(r"\$\{env:(\w+)\}")


def _with_environment(url: str) -> str:
    """A store URL with its ``${env:NAME}`` (or a whole ``dagster.EnvVar``) replaced."""
    if isinstance(url, dg.EnvVar):
        return url.get_value() or _missing(url.env_var_name)

    def value(match: re.Match[str]) -> str:
        return os.environ.get(match[1]) or _missing(match[1])

    return _VARIABLE.sub(value, url)


def _missing(name: str) -> str:
    raise StoreError(
        f"the store's URL needs the environment variable {name}, which is not set",
        hint=f"set {name} for every process of the deployment: web server, daemon, runs",
    )


def location_root(path: str, depth: int = 2) -> Path:
    """The nearest folder at or above the calling module that holds ``path``; else its folder."""
    # The caller's file is the only thing that daemon, web server and step processes agree on.
    caller: Mapping[str, Any] = sys._getframe(depth).f_globals
    file = caller.get("__file__")
    start = Path(file).resolve().parent if file else Path.cwd()
    if Path(path).is_absolute():
        return start
    for folder in (start, *start.parents):
        if (folder / path).is_dir():
            return folder
    raise WiringError(
        f"there is no contracts folder {path!r}",
        where=str(start / path),
        why=f"neither {start} nor any folder above it holds it",
        hint="create the folder, or pass ContractsResource(path=...) with its place",
    )
