"""Annotations of GitHub Actions: lines on stdout that show up beside the changed code."""

from __future__ import annotations

import os
from pathlib import Path

from dagster_contracts.errors import SourceLocation

ERROR = "error"
WARNING = "warning"
NOTICE = "notice"


def annotation(level: str, message: str, *, at: SourceLocation | None, title: str) -> str:
    """One workflow command (``::error file=...,line=...::message``)."""
    properties = {}
    if at is not None:
        properties["file"] = _from_the_top(at.path)
        if at.line > 0:
            properties["line"] = str(at.line)
        if at.column > 0:
            properties["col"] = str(at.column)
    properties["title"] = title
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {listed}::{_message(message)}"


def _from_the_top(path: str) -> str:
    """A file's path from the top of its repository, as GitHub shows annotations.

    What is no file, or lies in no repository, stays as it is.
    """
    if not Path(path).exists():
        return path
    whole = Path(os.path.abspath(path))  # links are files of the repository: not followed
    top = next((folder for folder in whole.parents if (folder / ".git").exists()), None)
    return whole.relative_to(top).as_posix() if top is not None else path


def _message(text: str) -> str:
    # The escapes that GitHub's own toolkit uses; without them text could end the command.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
