"""Annotations of GitHub Actions: lines on stdout that show up beside the changed code."""

from __future__ import annotations

from dagster_contracts.errors import SourceLocation

ERROR = "error"
WARNING = "warning"
NOTICE = "notice"


def annotation(level: str, message: str, *, at: SourceLocation | None, title: str) -> str:
    """One workflow command (``::error file=...,line=...::message``)."""
    properties = {}
    if at is not None:
        properties["file"] = at.path
        if at.line > 0:
            properties["line"] = str(at.line)
        if at.column > 0:
            properties["col"] = str(at.column)
    properties["title"] = title
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {listed}::{_message(message)}"


def _message(text: str) -> str:
    # The escapes that GitHub's own toolkit uses; without them text could end the command.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
