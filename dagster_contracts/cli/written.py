"""Text that a command writes: to stdout, or to a file that nobody loses by it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., object])


def output_options(function: Function) -> Function:
    """``--output FILE`` and ``--force``."""
    function = click.option("--force", is_flag=True, help="Overwrite FILE if it is there.")(
        function
    )
    return click.option(
        "--output",
        "-o",
        "target",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write to FILE and not to stdout.",
    )(function)


def write_text(text: str, target: Path | None, *, force: bool, source: Path | None) -> None:
    """Write to ``target``, whole or not at all; to stdout where there is none.

    ``click.UsageError`` where the file exists, unless ``force``; ``source`` is never written over.
    """
    if target is None:
        click.echo(text.encode(), nl=False)
        return
    if source is not None and target.exists() and target.samefile(source):
        raise click.UsageError(f"{str(target)!r} is the contract itself, and is not written over")
    if target.exists() and not force:
        raise click.UsageError(f"{str(target)!r} exists; --force overwrites it")
    with (
        told_of(target),
        NamedTemporaryFile(
            "w", encoding="utf-8", newline="", dir=target.parent, prefix=".", delete=False
        ) as file,
    ):
        part = Path(file.name)
        try:
            file.write(text)
            file.close()
            part.chmod(0o666 & ~_umask())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def told_of(target: Path) -> Iterator[None]:
    """Let an error of the system name ``target``, and not the file that is written before it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from None


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found
