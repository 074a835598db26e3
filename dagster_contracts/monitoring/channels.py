"""Where alerts go: channels that the deployment configures and contracts know by name alone.

An address is ``log://``, ``file:///absolute/path.jsonl``, or any URL that apprise understands
(``mailto://``, ``slack://``, ``msteams://``, ``json://``, ...). ``${env:NAME}`` in it is replaced
by the environment variable. An address may hold a secret: no message of ours repeats it.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from dagster_contracts.core.contract import Json, Severity
from dagster_contracts.errors import ContractsError, WiringError

if TYPE_CHECKING:
    import apprise

_LOG = logging.getLogger("dagster_contracts.alerts")
_LEVELS = {
    Severity.ERROR: logging.ERROR,
    Severity.WARNING: logging.WARNING,
    Severity.INFO: logging.INFO,
}
_ENVIRONMENT = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


class DeliveryError(ContractsError):
    """A channel did not take a message; it is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message to one channel. ``id`` stays the same when it is sent again.

    ``alerts`` are JSON objects with ``kind``, ``state``, ``severity``, ``contract``, ``asset``,
    ``partition``, ``summary``, ``detail``, ``starts_at`` and ``ends_at``.
    """

    id: str
    group: str
    title: str
    severity: Severity
    at: datetime
    alerts: tuple[Mapping[str, Json], ...]

    @property
    def text(self) -> str:
        """The message as people read it: one paragraph for each alert."""
        paragraphs = []
        for alert in self.alerts:
            mark = {"resolved": "RESOLVED", "firing": "FIRING"}.get(str(alert["state"]), "")
            head = f"{mark}: {alert['summary']}" if mark else str(alert["summary"])
            paragraphs.append(
                "\n".join(part for part in (head, str(alert["detail"] or "")) if part)
            )
        return "\n\n".join(paragraphs)


class Channel(Protocol):
    """Something that takes notifications."""

    name: str

    def send(self, notification: Notification) -> None:
        """Deliver, or raise :class:`DeliveryError`."""
        ...


class LogChannel:
    """Writes each alert to the log ``dagster_contracts.alerts``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def send(self, notification: Notification) -> None:
        """Log at the level of the notification's severity."""
        level = _LEVELS[notification.severity]
        _LOG.log(level, "%s\n%s", notification.title, notification.text)


class FileChannel:
    """Appends one JSON line for each notification; lines of several processes never mix."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path

    def send(self, notification: Notification) -> None:
        """Append the line and see it on the disk."""
        line: dict[str, Json] = {
            "id": notification.id,
            "at": notification.at.isoformat(),
            "channel": self.name,
            "group": notification.group,
            "severity": notification.severity.value,
            "title": notification.title,
            "alerts": [dict(alert) for alert in notification.alerts],
        }
        encoded = (json.dumps(line, sort_keys=True) + "\n").encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # One write to a file opened for appending: the kernel keeps it in one piece.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                written = os.write(descriptor, encoded)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise DeliveryError(f"the channel {self.name} cannot write", why=str(error)) from error
        if written != len(encoded):
            raise DeliveryError(f"the channel {self.name} has no room", where=str(self.path))


class AppriseChannel:
    """Any service that apprise knows."""

    def __init__(self, name: str, address: str) -> None:
        # Apprise is heavy and only needed by deployments that configure such a channel.
        import apprise

        self.name = name
        self._address = address
        self._apprise: apprise.Apprise = apprise.Apprise()
        with _captured() as log:
            known = self._apprise.add(address)
            complaint = log.getvalue()
        if not known:
            raise WiringError(
                f"the address of the channel {name} is not one that apprise understands",
                why=redact(complaint.strip(), address) or None,
                hint="see https://appriseit.com/services/ for the addresses of each service",
            )

    def send(self, notification: Notification) -> None:
        """Hand the message to the service."""
        import apprise

        kind = {
            Severity.ERROR: apprise.NotifyType.FAILURE,
            Severity.WARNING: apprise.NotifyType.WARNING,
            Severity.INFO: apprise.NotifyType.INFO,
        }[notification.severity]
        with _captured() as log:
            try:
                sent = self._apprise.notify(
                    title=notification.title,
                    body=notification.text,
                    notify_type=kind,
                    body_format=apprise.NotifyFormat.TEXT,
                )
            except Exception as error:  # a plugin may raise anything
                what = redact(f"{type(error).__name__}: {error}", self._address)
                # Without the cause: its text and its frames hold the address.
                raise DeliveryError(f"the channel {self.name} failed", why=what) from None
            said = log.getvalue().strip()
        if not sent:
            raise DeliveryError(
                f"the channel {self.name} refused the message",
                why=redact(said, self._address) or "the service did not say why",
            )


def open_channels(addresses: Mapping[str, str]) -> dict[str, Channel]:
    """The channels of a deployment by name; :class:`WiringError` for an address without meaning."""
    return {name: open_channel(name, address) for name, address in addresses.items()}


def open_channel(name: str, address: str) -> Channel:
    """One channel by its address."""
    expanded = _expand(name, address)
    scheme, _, rest = expanded.partition(":")
    match scheme.lower():
        case "log":
            return LogChannel(name)
        case "file":
            path = unquote(urlsplit(expanded).path) if rest.startswith("//") else rest
            if not path:
                raise WiringError(
                    f"the file channel {name} names no file",
                    hint="write file:///absolute/path/alerts.jsonl",
                )
            return FileChannel(name, Path(path))
        case _:
            return AppriseChannel(name, expanded)


def _expand(name: str, address: str) -> str:
    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise WiringError(
                f"the channel {name} needs the environment variable {match[1]}, which is not set",
                hint=f"set {match[1]}, or take the channel out of the configuration",
            )
        return found

    return _ENVIRONMENT.sub(value, address)


@contextmanager
def _captured() -> Iterator[StringIO]:
    """What apprise logs meanwhile: the only place where it says why."""
    said = StringIO()
    handler = logging.StreamHandler(said)
    handler.setLevel(logging.WARNING)
    log = logging.getLogger("apprise")
    log.addHandler(handler)
    try:
        yield said
    finally:
        log.removeHandler(handler)


def redact(text: str, address: str) -> str:
    """``text`` without the address and without any part of it that could be a secret.

    Apprise hides tokens wherever a service wants them: in the user, the host, the path, the query.
    """
    parts = urlsplit(address)
    pieces = {address, parts.netloc, parts.path.strip("/"), parts.query}
    pieces.update(re.split(r"[/@:?&=,+]", f"{parts.netloc}/{parts.path}?{parts.query}"))
    pieces.update([unquote(piece) for piece in pieces])
    for piece in sorted((p for p in pieces if len(p) >= 4), key=len, reverse=True):
        text = text.replace(piece, "***")
    return text
