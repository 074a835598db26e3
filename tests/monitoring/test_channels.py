"""Channels that deliver for real: a file, the log, and apprise to an HTTP server of our own."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dagster_contracts.core.contract import Severity
from dagster_contracts.errors import WiringError
from dagster_contracts.monitoring.channels import (
    DeliveryError,
    Notification,
    open_channel,
    redact,
)


class Hook:
    """An HTTP server that keeps what it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.received: list[dict[str, object]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                hook.received.append(json.loads(self.rfile.read(length)))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"json://ada:s3cretword@127.0.0.1:{self.server.server_port}/tok3nvalue"


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def notification(**fields: object) -> Notification:
    alert = {
        "state": "firing",
        "summary": "Circuit open: orders",
        "detail": "7.0% of the rows break it",
    }
    settings = {
        "id": "n1",
        "group": "orders/circuit",
        "title": "Circuit open: orders",
        "severity": Severity.ERROR,
        "at": datetime(2026, 3, 2, 6, 0, tzinfo=UTC),
        "alerts": (alert,),
    }
    return Notification(**{**settings, **fields})  # type: ignore[arg-type]


def test_apprise_delivers_title_text_and_severity(hook: Hook) -> None:
    open_channel("hook", hook.address).send(notification())

    assert [(m["title"], m["message"], m["type"]) for m in hook.received] == [
        (
            "Circuit open: orders",
            "FIRING: Circuit open: orders\n7.0% of the rows break it",
            "failure",
        )
    ]


def test_a_refusal_is_an_error_without_the_secrets(hook: Hook) -> None:
    hook.status = 500

    with pytest.raises(DeliveryError) as caught:
        open_channel("hook", hook.address).send(notification())

    assert "the channel hook refused the message" in str(caught.value)
    assert "s3cretword" not in str(caught.value)
    assert "tok3nvalue" not in str(caught.value)


def test_an_address_that_means_nothing_is_refused_at_once_without_its_secrets() -> None:
    with pytest.raises(WiringError) as caught:
        open_channel("ops", "sldck://tok3nvalue/s3cretword")

    assert "tok3nvalue" not in str(caught.value)
    assert "the channel ops" in str(caught.value)


def test_an_address_takes_its_secrets_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, hook: Hook
) -> None:
    monkeypatch.setenv("HOOK_ADDRESS", hook.address)
    open_channel("hook", "${env:HOOK_ADDRESS}").send(notification())

    assert len(hook.received) == 1
    monkeypatch.delenv("HOOK_ADDRESS")
    with pytest.raises(WiringError, match="HOOK_ADDRESS, which is not set"):
        open_channel("hook", "${env:HOOK_ADDRESS}")


@pytest.mark.parametrize("form", ["file://{}", "file:{}"])
def test_a_file_gets_one_json_line_for_each_notification(form: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "alerts.jsonl"
    channel = open_channel("demo", form.format(path))
    channel.send(notification())
    channel.send(notification(id="n2"))

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["id"], line["channel"]) for line in lines] == [("n1", "demo"), ("n2", "demo")]
    assert lines[0]["alerts"][0]["summary"] == "Circuit open: orders"
    assert lines[0]["at"] == "2026-03-02T06:00:00+00:00"


def test_lines_of_many_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    long = notification(title="x" * 20_000)

    def write() -> None:
        channel = open_channel("demo", f"file:{path}")
        for _ in range(10):
            channel.send(long)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = path.read_text().splitlines()
    assert [len(json.loads(line)["title"]) for line in lines] == [20_000] * 40


def test_a_file_that_cannot_be_written_is_a_failed_delivery(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")

    with pytest.raises(DeliveryError, match="cannot write"):
        open_channel("demo", f"file:{tmp_path}/taken/alerts.jsonl").send(notification())


def test_the_log_gets_the_severity_as_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dagster_contracts.alerts"):
        open_channel("log", "log://").send(notification(severity=Severity.WARNING))

    assert [(record.levelname, record.message.splitlines()[0]) for record in caplog.records] == [
        ("WARNING", "Circuit open: orders")
    ]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("slack://T0kenA/T0kenB/T0kenC/#ops", "POST to T0kenA/T0kenB/T0kenC failed"),
        ("mailto://ada:p%40ssword@mail.example.org", "login ada p@ssword at mail.example.org"),
        ("json://host/?key=s3cretkey", "GET json://host/?key=s3cretkey"),
    ],
)
def test_no_part_of_an_address_survives_in_a_text(address: str, text: str) -> None:
    shown = redact(text, address)

    for secret in ("T0ken", "p@ssword", "p%40ssword", "s3cretkey"):
        assert secret not in shown
