"""Parameters that several commands share: who decides, why, and how long."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import click

from dagster_contracts.cli.output import format_option
from dagster_contracts.errors import ContractsError

Function = TypeVar("Function", bound=Callable[..., object])


class DurationType(click.ParamType):  # type: ignore[type-arg]  # generic in newer stubs only
    """``2h``, ``1h30min``, ``90d``: as contracts write it."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """The duration; ``click.BadParameter`` with the grammar's own words."""
        # The grammar is only needed where a duration was given.
        from dagster_contracts.core.condition import parse_duration

        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ContractsError as error:
            self.fail(f"{error.what}; {error.hint}" if error.hint else error.what, param, ctx)


DURATION = DurationType()


def actor_option(command: Function) -> Function:
    """``--actor``, which defaults to the user of the machine."""
    return click.option(
        "--actor",
        envvar="DAGSTER_CONTRACTS_ACTOR",
        default=_user,
        show_default="the user of this machine",
        help="Who decides.",
    )(command)


def reason_option(command: Function) -> Function:
    """``--reason``, without which nothing is decided."""
    return click.option("--reason", required=True, help="Why; it is kept in the history.")(command)


def circuit_options(*, asset: str, partition: str) -> Callable[[Function], Function]:
    """``CONTRACT --asset --partition --reason --actor --format``, with the help of two of them."""

    def decorate(command: Function) -> Function:
        command = actor_option(format_option()(command))
        command = click.option("--partition", help=partition)(reason_option(command))
        command = click.option("--asset", help=asset)(command)
        return click.argument("contract")(command)

    return decorate


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""  # a user without a name: the operation then asks for --actor
