"""What subscribers are told: what changed, whom it breaks, and on which channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from dagster_contracts.core.changes import Verdict
from dagster_contracts.core.compatibility import diff
from dagster_contracts.core.contract import Contract, ContractStatus, Json
from dagster_contracts.registry.consumers import Consumer, Impact, declared_consumers, impact_of
from dagster_contracts.registry.events import EventKind

#: A message must stay readable; the rest of a long list is counted.
_TOLD_CHANGES = 50


def announce_version(
    contract: Contract,
    previous: Contract | None,
    consumers: Iterable[Consumer],
    kind: EventKind,
) -> dict[str, Json]:
    """What a new version changes, and what that means to each consumer."""
    told = tuple(consumers)
    payload: dict[str, Json] = {
        "status": contract.status.value,
        "owner": contract.owner,
        "content_hash": contract.content_hash,
        "previous": None,
    }
    if previous is None:
        payload["notify"] = _notify(told, kind, {})
        return payload
    changes = diff(previous, contract)
    # Who was declared before and is not any more is still concerned by this version.
    known = {consumer.name for consumer in told}
    told += tuple(each for each in declared_consumers(previous) if each.name not in known)
    impacts = impact_of(changes, told)
    document = changes.to_json()
    payload |= {
        "previous": previous.version,
        "consumer": document["consumer"],
        "producer": document["producer"],
        "bump": document["bump"],
        "declared_bump": document["declared_bump"],
        "enough": changes.is_enough(contract.compatibility.protects),
        "changes": [change.to_json() for change in changes.items[:_TOLD_CHANGES]],
        "more_changes": max(0, len(changes) - _TOLD_CHANGES),
        "breaks": [each.to_json() for each in impacts if each.verdict is Verdict.BREAKS],
        "warns": [each.to_json() for each in impacts if each.verdict is Verdict.WARNS],
    }
    payload["notify"] = _notify(told, kind, {each.consumer.name: each for each in impacts})
    return payload


def announce_status(
    contract: Contract,
    status: ContractStatus,
    consumers: Iterable[Consumer],
    kind: EventKind,
    *,
    until: date | None,
    successor: str | None,
) -> dict[str, Json]:
    """What a change of status means: everybody who consumes the contract is concerned."""
    told = tuple(consumers)
    return {
        "status": status.value,
        "owner": contract.owner,
        "until": None if until is None else until.isoformat(),
        "successor": successor,
        "concerns": [*sorted({consumer.name for consumer in told})],
        "notify": _notify(told, kind, {}),
    }


def _notify(
    consumers: Iterable[Consumer], kind: EventKind, impacts: Mapping[str, Impact]
) -> list[Json]:
    """Who is to be told, on which channels, and what it means to them."""
    told: list[Json] = []
    for consumer in consumers:
        if not consumer.wants(kind.value):
            continue
        impact = impacts.get(consumer.name)
        told.append(
            {
                "subscriber": consumer.name,
                "owners": list(consumer.owners),
                "channels": list(consumer.channels),
                "verdict": str(impact.verdict if impact else Verdict.FINE),
                "sentences": list(impact.sentences) if impact else [],
            }
        )
    return told
