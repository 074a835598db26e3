"""A command group that imports a command only when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from dagster_contracts.cli.words import plain_lines
from dagster_contracts.errors import (
    ContractsError,
    DocumentError,
    PolicyError,
    SourceLocation,
    StoreError,
    UnknownContractError,
    WiringError,
)

FINDINGS = 1
USAGE = 2


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command lives (``module:attribute`` below ``cli``) and its line in the help."""

    place: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called.

    It also turns a :class:`ContractsError` into its text on stderr and an exit code, and never
    into a traceback.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, LazyCommand], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands in the order in which they were declared."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name; exit with its text where a name is not known."""
        found = self.lazy.get(cmd_name)
        if found is None:
            # It loads difflib, which is only needed for a mistake.
            from dagster_contracts.core.near_names import near_name

            near = near_name(cmd_name, self.lazy)
            if near and not ctx.resilient_parsing:
                ctx.fail(f"No such command {cmd_name!r}. Did you mean {near!r}?")
            return None
        module, _, attribute = found.place.partition(":")
        command: click.Command = getattr(
            import_module(f"dagster_contracts.cli.{module}"), attribute
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in self.lazy.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what goes wrong is told on stderr."""
        try:
            return super().invoke(ctx)
        except ContractsError as error:
            click.echo(f"error: {plain_lines(str(error))}", err=True)
            ctx.exit(exit_code(error))
        except click.NoSuchOption as error:
            if error.option_name not in {name for option in self.params for name in option.opts}:
                raise
            place = f"{ctx.command_path} {error.option_name} ... {ctx.invoked_subcommand} ..."
            raise click.NoSuchOption(
                error.option_name,
                message=f"{error.message} It stands before the command: {place}",
                ctx=error.ctx,
            ) from None
        except BrokenPipeError:
            raise  # click ends quietly when the reader of a pipe has gone
        except OSError as error:
            click.echo(f"error: {plain_lines(str(_refused_file(error)))}", err=True)
            ctx.exit(USAGE)


def exit_code(error: ContractsError) -> int:
    """1 where a contract is at fault, 2 where the call or the deployment is."""
    if isinstance(error, (UnknownContractError, PolicyError, StoreError, WiringError)):
        return USAGE
    if isinstance(error, DocumentError) and not isinstance(error.where, SourceLocation):
        # A malformed argument, such as the reference `orders@@`, has no place in a file.
        return USAGE
    return FINDINGS


def _refused_file(error: OSError) -> ContractsError:
    """What the system refuses, in words."""
    named = error.filename
    folder = Path(str(named)).parent if named is not None else None
    hint: str | None = None
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR if folder is not None and not folder.is_dir():
            hint = f"there is no folder {folder}: create it, or name another one"
        case errno.ENOENT | errno.ENOTDIR:
            hint = "check the path; to write, name a file in a folder of this user"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            hint = "name a place that this user may read and write"
        case errno.ENOSPC | errno.EDQUOT:
            hint = "free space there, or name another place; nothing was decided"
        case errno.EEXIST:
            hint = "name another file: nothing is written over"
        case errno.EISDIR:
            hint = "name a file, not a folder"
    why = os.strerror(error.errno) if error.errno is not None else str(error)
    where = f" {named}" if named is not None else ""
    return ContractsError(f"the file{where} cannot be read or written", why=why, hint=hint)
