"""What commands print: text for people, JSON for programs, and the way to choose."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import click

from dagster_contracts.cli.words import plain
from dagster_contracts.core.contract import Json

if TYPE_CHECKING:
    from rich.progress import Progress

Function = TypeVar("Function", bound=Callable[..., object])

#: What click.style takes: ``bold`` and ``fg``.
Style: TypeAlias = dict[str, bool | str | None]

_PIPED_WIDTH = 200


def format_option(*others: str) -> Callable[[Function], Function]:
    """``--format text|json`` and whatever else a command can print."""
    return click.option(
        "--format",
        "output",
        type=click.Choice(["text", "json", *others]),
        default="text",
        show_default=True,
        help="How to print the result.",
    )


def print_json(value: Json) -> None:
    """One JSON document on stdout; characters beyond ASCII are kept."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace"))


def print_line(text: str = "", **style: bool | str | None) -> None:
    """One line on stdout, in colour where stdout is a terminal."""
    click.echo(click.style(plain(text), **style) if style else plain(text))  # type: ignore[arg-type]


def print_hanging(text: str, indent: int, **style: bool | str | None) -> None:
    """One line; on a terminal its continuation stands ``indent`` columns in.

    Into a pipe it stays one line, so that it can be searched.
    """
    if not sys.stdout.isatty():
        print_line(text, **style)
        return
    width = max(shutil.get_terminal_size().columns, indent + 20)
    wrapped = textwrap.wrap(
        plain(text),
        width,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
    for line in wrapped or [""]:
        print_line(line, **style)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table as wide as the terminal; unwrapped into a pipe, so that it can be searched."""
    # Rich takes a tenth of a second, and only tables need it.
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if terminal else _PIPED_WIDTH, highlight=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """A progress line on stderr while the block runs; call what is given after each step.

    Nothing is shown where stderr is no terminal.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with _bar() as bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def progress_of_steps(description: str) -> Iterator[Callable[[str], None] | None]:
    """A line on stderr that tells the step of long work; ``None`` where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with _bar() as bar:
        task = bar.add_task(description, total=None)
        yield lambda step: bar.update(task, description=f"{description}: {step}")


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    )
