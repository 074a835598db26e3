"""Messages of the outbox as alerts, in sentences that people understand."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dagster_contracts.core.contract import Json, Severity
from dagster_contracts.monitoring.alert import AlertKind, AlertLabels
from dagster_contracts.store.outbox import OutboxMessage

#: Every kind of message that becomes an alert; others are somebody else's.
UNDERSTOOD = (
    "circuit.opened",
    "circuit.exhausted",
    "circuit.closed",
    "circuit.reset",
    "circuit.half_open",
    "circuit.flapping",
    "circuit.forced",
    "circuit.heal_by_hand",
    "circuit.heal_given_up",
    "circuit.batch_unpublished",
    "circuit.batch_settled",
    "metric.unknown",
    "contract.published",
    "contract.proposed",
    "contract.revised",
    "contract.activated",
    "contract.deprecated",
    "contract.retired",
    "contract.edited",
    "consumer.reported",
    "consumer.report_resolved",
)

_LISTED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What one message means: an alert that fires, one that is resolved, or a notice.

    ``for_producer`` and ``for_consumers`` say whom it concerns; ``channels`` and ``owners`` are
    those that the message itself names. ``evaluation_id`` is the evaluation that it speaks of.
    """

    labels: AlertLabels
    severity: Severity = Severity.INFO
    summary: str = ""
    detail: str = ""
    version: str = ""
    notice: bool = False
    resolves: bool = False
    annotates: bool = False
    for_producer: bool = True
    for_consumers: bool = True
    channels: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    evaluation_id: str = ""


def news_of(message: OutboxMessage) -> News | None:
    """What a message means; ``None`` for a kind that is not understood."""
    family, _, what = message.kind.partition(".")
    match family:
        case "circuit":
            return _circuit(message, what)
        case "contract":
            return _contract(message, what)
        case "consumer":
            return _report(message, what)
        case "metric" if what == "unknown":
            return _unknown_metric(message)
    return None


def where(contract: str, version: str, asset: str, partition: str) -> str:
    """``flights@1.0.0 on flights[2013-01-03]``: what an alert speaks of."""
    name = f"{contract}@{version}" if version else contract
    place = f" on {asset}" if asset and asset != contract else ""
    return f"{name}{place}{f' [{partition}]' if partition else ''}"


def _circuit(message: OutboxMessage, what: str) -> News | None:
    text = _texts(message.payload)
    contract, asset, partition = text("contract"), text("asset"), text("partition")
    place = where(contract, text("version"), asset, partition)
    labels = AlertLabels(
        kind=AlertKind.CIRCUIT_OPEN, contract=contract, asset=asset, partition=partition
    )
    because = text("explanation")
    match what:
        case "opened":
            still = text("topic") == "still_open"
            head = f"{'Still open' if still else 'Circuit open'}: {place}"
            return News(
                labels=labels,
                severity=Severity.ERROR,
                summary=f"{head}. {_sentence(because)}",
                detail=_lines(
                    _served(message.payload),
                    _probe(message.payload),
                    _explained(message.payload),
                    _commands(labels, message.payload, "force-closed"),
                ),
                version=text("version"),
                evaluation_id=text("evaluation"),
            )
        case "exhausted":
            return News(
                labels=labels,
                severity=Severity.ERROR,
                summary=f"Gave up on {place}: {_sentence(because)}",
                detail=_lines(
                    f"{text('attempts') or 'All'} probes failed; nothing is tried by itself now.",
                    _served(message.payload),
                    "Mend the producer and materialize it, or reset the circuit.",
                    _commands(labels, message.payload, "reset"),
                ),
                version=text("version"),
                evaluation_id=text("evaluation"),
            )
        case "closed" | "reset":
            by = f" by {text('actor')}" if what == "reset" and text("actor") else ""
            return News(
                labels=labels,
                resolves=True,
                summary=f"Circuit closed{by}: {place}",
                detail=_sentence(because),
                version=text("version"),
            )
        case "half_open":
            return News(
                labels=labels,
                annotates=True,
                detail=_lines(
                    f"Being tried again. {_sentence(because)}",
                    _served(message.payload),
                    _commands(labels, message.payload, "force-closed"),
                ),
                version=text("version"),
                evaluation_id=text("evaluation"),
            )
        case "flapping":
            return _circuit_notice(
                message,
                AlertKind.CIRCUIT_FLAPPING,
                Severity.ERROR,
                f"Flapping: {place}. {_sentence(because)}",
                _lines(
                    "It opens and closes again and again; the wait between probes grows.",
                    _commands(labels, message.payload, "force-open"),
                ),
            )
        case "heal_by_hand":
            names = [str(name) for name in _list(message.payload, "waiting")]
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            return _circuit_notice(
                message,
                AlertKind.CIRCUIT_HEALING,
                Severity.WARNING,
                f"To be built anew: {', '.join(names[:_LISTED])}{more}",
                f"They were built on a fallback of {place}, which is good again. "
                "The contract asks to be told and not to start the runs (heal: notify).",
            )
        case "heal_given_up":
            consumer, part = text("consumer"), text("consumer_partition")
            chosen = shlex.join(["--asset", consumer, *(["--partition", part] if part else [])])
            return _circuit_notice(
                message,
                AlertKind.CIRCUIT_HEALING,
                Severity.ERROR,
                f"Not healed: {consumer}{f'[{part}]' if part else ''}. {_sentence(because)}",
                _lines(
                    f"It is still built on a fallback of {place}, which is good again.",
                    f"Look: dagster-contracts status {shlex.quote(contract)}",
                    "Try again, once it is mended: "
                    f"dagster-contracts heal {shlex.quote(contract)} {chosen} --reason ...",
                ),
            )
        case "batch_unpublished" | "batch_settled":
            return _publication(message.payload, place, over=what == "batch_settled")
        case "forced":
            return _circuit_notice(
                message,
                AlertKind.CIRCUIT_OVERRIDE,
                Severity.WARNING,
                f"Override by {text('actor') or 'an operator'}: {place}. {_sentence(because)}",
            )
    return None


def _publication(payload: Mapping[str, Json], place: str, *, over: bool) -> News:
    """A refused batch that a person declared right, and that is not the primary yet."""
    text = _texts(payload)
    number = text("batch")
    labels = AlertLabels(
        kind=AlertKind.CIRCUIT_PUBLICATION,
        contract=text("contract"),
        asset=text("asset"),
        partition=text("partition"),
        subject=f"batch {number}",
    )
    if over:
        return News(
            labels=labels,
            resolves=True,
            detail=f"The batch was {text('became')}.",
            for_consumers=False,
        )
    left, command = payload.get("tries_left"), "dagster-contracts quarantine"
    match left:
        case None:
            next_step = "It is published by itself as soon as nothing is in the way."
        case 0:
            next_step = "It is held again; nothing is tried by itself any more."
        case _:
            next_step = f"Another run is asked for, at most {left} more."
    return News(
        labels=labels,
        severity=Severity.ERROR if left == 0 else Severity.WARNING,
        summary=f"Not published: batch {number} of {place}. {_sentence(text('explanation'))}",
        detail=_lines(
            next_step,
            f"Released by {text('actor')}: {text('reason')}",
            f"Look: {command} show {number}",
            f"Try again, once it is mended: {command} publish {number} --reason ..."
            if left == 0
            else "",
            f"Give it up: {command} drop {number} --reason ..." if left == 0 else "",
        ),
        version=text("version"),
        for_consumers=False,
    )


def _circuit_notice(
    message: OutboxMessage, kind: AlertKind, severity: Severity, summary: str, detail: str = ""
) -> News:
    """Something that happened to a circuit once; there is nothing to resolve."""
    text = _texts(message.payload)
    return News(
        labels=AlertLabels(
            kind=kind,
            contract=text("contract"),
            asset=text("asset"),
            partition=text("partition"),
            subject=message.dedupe_key,
        ),
        severity=severity,
        summary=summary,
        detail=detail,
        version=text("version"),
        notice=True,
    )


def _unknown_metric(message: OutboxMessage) -> News:
    text = _texts(message.payload)
    place = where(text("contract"), text("version"), text("asset"), text("partition"))
    return News(
        labels=AlertLabels(
            kind=AlertKind.METRIC_UNKNOWN,
            contract=text("contract"),
            asset=text("asset"),
            partition=text("partition"),
            subject=message.dedupe_key,
        ),
        severity=Severity.WARNING,
        summary=f"Could not be measured: {place}. {_sentence(text('explanation'))}",
        detail="What is not known neither opens nor closes the circuit: the promise is unguarded.",
        version=text("version"),
        notice=True,
        for_consumers=False,
    )


def _contract(message: OutboxMessage, what: str) -> News | None:
    text = _texts(message.payload)
    contract, version = text("contract"), text("version")
    ref = f"{contract}@{version}"
    channels, owners = _told(message.payload)
    kind = AlertKind.CONTRACT_VERSION
    severity, producer, consumers = Severity.INFO, True, True
    detail = ""
    match what:
        case "published" | "proposed" | "revised":
            verb = {"published": "New version", "proposed": "Proposed", "revised": "Revised"}[what]
            summary, detail, severity = _version_news(message.payload, f"{verb} {ref}")
            consumers = what != "revised"
        case "activated":
            summary = f"{ref} is active again"
        case "deprecated":
            kind, severity = AlertKind.CONTRACT_END, Severity.WARNING
            end = f" and ends on {text('until')}" if text("until") else ""
            summary = f"{ref} is deprecated{end}"
            detail = _lines(
                f"Move to {text('successor')}." if text("successor") else "",
                f"By {text('actor')}: {text('reason')}" if text("reason") != "found" else "",
                _concerned(message.payload),
            )
        case "retired":
            kind, severity = AlertKind.CONTRACT_END, Severity.ERROR
            summary = f"{ref} is retired: nobody keeps its promises any more"
            detail = _lines(
                f"By {text('actor')}: {text('reason')}" if text("reason") != "found" else "",
                _concerned(message.payload),
            )
        case "edited":
            kind, severity, consumers = AlertKind.CONTRACT_EDITED, Severity.ERROR, False
            summary = f"{ref} was published and then edited; the edit is not in force"
            detail = text("explanation")
        case _:
            return None
    return News(
        labels=AlertLabels(kind=kind, contract=contract, subject=message.dedupe_key),
        severity=severity,
        summary=summary,
        detail=detail,
        version=version,
        notice=True,
        for_producer=producer,
        for_consumers=consumers,
        channels=channels if consumers else (),
        owners=owners if consumers else (),
    )


def _version_news(payload: Mapping[str, Json], head: str) -> tuple[str, str, Severity]:
    text = _texts(payload)
    if not text("previous"):
        return f"{head}: the first version", "", Severity.INFO
    breaks, warns = _list(payload, "breaks"), _list(payload, "warns")
    names = ", ".join(_texts(impact)("consumer") for impact in breaks[:_LISTED])
    verdict, severity = "nobody has to change", Severity.INFO
    if breaks:
        verdict, severity = f"breaks {names}", Severity.ERROR
    elif text("consumer") == "breaks":
        verdict, severity = "breaks consumers of it, none of them known", Severity.WARNING
    elif warns or text("consumer") == "warns":
        verdict, severity = "a person should look at it", Severity.WARNING
    changes = [_texts(change)("message") for change in _list(payload, "changes")]
    rest = len(changes) - _LISTED + int(text("more_changes") or 0)
    small = payload.get("enough") is False
    detail = _lines(
        *(f"- {change}" for change in changes[:_LISTED]),
        f"- and {rest} more changes" if rest > 0 else "",
        f"Its changes need a {text('bump')} version; it declares {text('declared_bump') or 'none'}."
        if small
        else "",
        *(
            f"{_texts(impact)('consumer')}: {_sentences(impact)}"
            for impact in (*breaks, *warns)[:_LISTED]
        ),
    )
    return f"{head} (after {text('previous')}): {verdict}", detail, severity


def _report(message: OutboxMessage, what: str) -> News | None:
    text = _texts(message.payload)
    labels = AlertLabels(
        kind=AlertKind.CONSUMER_REPORT,
        contract=text("contract"),
        asset=text("asset"),
        subject=text("report"),
    )
    if what == "report_resolved":
        return News(
            labels=labels,
            resolves=True,
            summary=f"Report {text('report')} is answered",
            detail=f"{text('actor')}: {text('text')}",
        )
    if what != "reported":
        return None
    return News(
        labels=labels,
        severity=Severity.WARNING,
        summary=f"{text('consumer')} reports bad data in {text('contract')}: {text('text')}",
        detail=f"Report {text('report')}; it counts as consumer_reports until it is answered.",
        for_consumers=False,
    )


# --- parts of payloads ----------------------------------------------------------------------------


class _texts:  # noqa: N801 - used like a function
    """The values of a payload as texts; empty for what is missing."""

    def __init__(self, payload: Json | Mapping[str, Json]) -> None:
        self._payload = payload if isinstance(payload, Mapping) else {}

    def __call__(self, name: str) -> str:
        value = self._payload.get(name)
        return "" if value is None else str(value)


def _list(payload: Mapping[str, Json], name: str) -> list[Json]:
    value = payload.get(name)
    return value if isinstance(value, list) else []


def _told(payload: Mapping[str, Json]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The channels and the owners that a registry event names."""
    channels: list[str] = []
    owners: list[str] = []
    for entry in _list(payload, "notify"):
        if isinstance(entry, dict):
            channels += [str(name) for name in _list(entry, "channels")]
            owners += [str(name) for name in _list(entry, "owners")]
            owners.append(str(entry.get("subscriber")))
    return tuple(dict.fromkeys(channels)), tuple(dict.fromkeys(owners))


def _sentences(impact: Json) -> str:
    found = _list(impact, "sentences") if isinstance(impact, dict) else []
    shown = "; ".join(str(sentence) for sentence in found[:3])
    return f"{shown}; and {len(found) - 3} more" if len(found) > 3 else shown


def _concerned(payload: Mapping[str, Json]) -> str:
    names = [str(name) for name in _list(payload, "concerns")]
    return f"Read by {', '.join(names)}." if names else ""


def _explained(payload: Mapping[str, Json]) -> str:
    causes = ", ".join(str(name) for name in _list(payload, "explained_by"))
    return f"Explained by the open circuit of {causes}." if causes else ""


def _served(payload: Mapping[str, Json]) -> str:
    """What consumers get while the circuit is open, as far as the contract tells."""
    if payload.get("levels") is None:
        return "Consumers read a fallback, or wait, until it closes."
    levels = [str(name) for name in _list(payload, "levels")]
    if not levels:
        return "There is no fallback: consumers fail until it closes."
    return f"Consumers read {', else '.join(levels)}, until it closes."


def _commands(labels: AlertLabels, payload: Mapping[str, Json], decision: str) -> str:
    """What to type first, and what decides it by hand."""
    chosen = [shlex.quote(labels.contract)]
    if labels.asset and payload.get("several_assets"):
        chosen.append(f"--asset {shlex.quote(labels.asset)}")
    if labels.partition:
        chosen.append(f"--partition {shlex.quote(labels.partition)}")
    circuit = " ".join(chosen)
    lasts = "" if decision == "reset" else " --for 2h"
    return (
        f"Look: dagster-contracts status {chosen[0]}\n"
        f"Decide: dagster-contracts {decision} {circuit}{lasts} --reason ..."
    )


def _probe(payload: Mapping[str, Json]) -> str:
    moment = payload.get("next_probe_at")
    if not isinstance(moment, str):
        return ""
    return f"It is tried again after {datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S} UTC."


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    # The name of a metric or a contract keeps its spelling.
    first = text.split()[0]
    head = text[0].upper() if first.isalpha() else text[0]
    return head + text[1:] + ("" if text[-1] in ".!?" else ".")


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
