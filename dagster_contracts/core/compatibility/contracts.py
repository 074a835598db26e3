"""What a new version of a contract changes, whom it breaks, and the version bump it needs.

The consumer reads the data, the producer writes it. A stricter promise suits the consumer and may
break the producer, a looser one the other way round; the verdicts follow from that. A change that
breaks a consumer needs a major version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields

from dagster_contracts.core.changes import Change, Changes, Motion
from dagster_contracts.core.compatibility.differences import (
    BREAKS,
    FINE,
    MAJOR,
    MINOR,
    PATCH,
    WARNS,
    ChangeList,
    motion_of,
    show,
)
from dagster_contracts.core.compatibility.objects import compare_objects
from dagster_contracts.core.compatibility.resilience import diff_resilience
from dagster_contracts.core.compatibility.sections import diff_sections
from dagster_contracts.core.compatibility.service_levels import diff_sla
from dagster_contracts.core.contract import (
    AlertPolicy,
    ConsumerDeclaration,
    Contract,
    ContractStatus,
    MonitoringPolicy,
    Protects,
    SchemaObject,
)


def diff(old: Contract, new: Contract) -> Changes:
    """Every change from ``old`` to ``new``, most serious first; empty for the same contract."""
    changes = ChangeList()
    _header(changes, old, new)
    _objects(changes, old.objects, new.objects)
    _named_schemas(changes, old.schemas, new.schemas)
    diff_sla(changes, old.sla, new.sla)
    diff_resilience(changes, old, new)
    _metrics(changes, old, new)
    _policies(changes, old, new)
    diff_sections(changes, old.extras, new.extras)
    ordered = sorted(enumerate(changes.items), key=lambda item: (-_weight(item[1]), item[0]))
    return Changes(new.name, old.version, new.version, tuple(change for _, change in ordered))


def _weight(change: Change) -> int:
    return change.consumer * 100 + change.producer * 10 + change.bump


def _header(changes: ChangeList, old: Contract, new: Contract) -> None:
    if old.name != new.name:
        changes.add(
            "name",
            "contract",
            Motion.RENAMED,
            f"the contract {old.name} is now called {new.name}: every reference to it will fail",
            consumer=BREAKS,
            producer=BREAKS,
            bump=MAJOR,
        )
    _status(changes, old, new)
    if old.asset != new.asset and _governed(old) == _governed(new):
        changes.note("asset", "asset", old.asset, new.asset, "the spelling of the asset")
    elif old.asset != new.asset:
        changes.add(
            "asset",
            "asset",
            motion_of(old.asset, new.asset),
            f"the contract now governs the asset {show(new.asset)} instead of {show(old.asset)}: "
            "whoever reads the old one is no longer protected",
            consumer=BREAKS,
            producer=BREAKS,
            bump=MAJOR,
        )
    changes.ask(
        "event_time",
        "event_time",
        old.event_time,
        new.event_time,
        "the column that freshness is measured on",
    )
    changes.note("owner", "owner", old.owner, new.owner, "the owner")
    changes.note("description", "description", old.description, new.description, "the description")
    changes.note("tags", "tags", old.tags, new.tags, "the tags")
    changes.note("successor", "successor", old.successor, new.successor, "the successor")
    if old.deprecated_until != new.deprecated_until:
        before, after = old.deprecated_until, new.deprecated_until
        sooner = after is not None and (before is None or after < before)
        changes.add(
            "deprecated_until",
            "end",
            motion_of(before, after),
            f"the contract ends {show(after)} instead of {show(before)}",
            consumer=WARNS if sooner else FINE,
            bump=MINOR,
        )


def _governed(contract: Contract) -> str | None:
    """The asset of a contract that has one, written out or not."""
    return contract.asset_names(contract.objects[0])[0] if len(contract.objects) == 1 else None


def _status(changes: ChangeList, old: Contract, new: Contract) -> None:
    if old.status is new.status:
        return
    consumer, bump = FINE, MINOR
    message = f"the contract is {new.status} now, it was {old.status}"
    motion = Motion.CHANGED
    match new.status:
        case ContractStatus.RETIRED:
            consumer, bump, motion = BREAKS, MAJOR, Motion.REMOVED
            message = "the contract is retired: nobody keeps its promises any more"
        case ContractStatus.DEPRECATED:
            consumer = WARNS
            end = f" on {new.deprecated_until}" if new.deprecated_until else ""
            successor = f"; move to {new.successor}" if new.successor else ""
            message = f"the contract is deprecated and will end{end}{successor}"
        case ContractStatus.PROPOSED | ContractStatus.DRAFT:
            early = (ContractStatus.PROPOSED, ContractStatus.DRAFT)
            if old.status in early:
                bump = PATCH
            else:
                consumer = WARNS
        case ContractStatus.ACTIVE:
            motion = Motion.ADDED if old.status is ContractStatus.RETIRED else Motion.CHANGED
    changes.add("status", "status", motion, message, consumer=consumer, bump=bump)


# What a schema object keeps under another name: its id, else the table in the data.
_OBJECT_KEYS: tuple[Callable[[SchemaObject], str | None], ...] = (
    lambda item: item.id,
    lambda item: item.physical_name or item.name,
    lambda item: item.name,
)


def _objects(
    changes: ChangeList, old: tuple[SchemaObject, ...], new: tuple[SchemaObject, ...]
) -> None:
    before, after = list(old), list(new)
    pairs: list[tuple[SchemaObject, SchemaObject]] = []
    for key in _OBJECT_KEYS:
        known = {name: item for item in reversed(after) if (name := key(item))}
        for item in list(before):
            partner = known.pop(key(item) or "", None)
            if partner is not None:
                pairs.append((item, partner))
                before.remove(item)
                after.remove(partner)
    if len(old) == len(new) == 1 and before and after:
        pairs.append((before.pop(), after.pop()))  # the only object there is, under a new name
    for gone in before:
        here = changes.at(schema_object=gone.name)
        here.add(
            gone.name,
            "object",
            Motion.REMOVED,
            f"{gone.name} was removed: whoever reads it will fail",
            consumer=BREAKS,
            bump=MAJOR,
        )
    for fresh in after:
        here = changes.at(schema_object=fresh.name)
        here.add(
            fresh.name,
            "object",
            Motion.ADDED,
            f"{fresh.name} was added: producers must deliver it",
            producer=BREAKS,
            bump=MINOR,
        )
    names = {left.name: right.name for left, right in pairs}
    before_order = [names.get(item.name, "") for item in old]
    changes.reordered("objects", before_order, [item.name for item in new], "the objects")
    for left, right in pairs:
        compare_objects(changes.at(schema_object=left.name), left, right, right.name)


def _named_schemas(
    changes: ChangeList, old: Mapping[str, SchemaObject], new: Mapping[str, SchemaObject]
) -> None:
    """Schemas that fallback levels serve: whoever reads in an outage reads these."""
    for name in sorted(old.keys() | new.keys()):
        path = f"schemas.{name}"
        left, right = old.get(name), new.get(name)
        if left is None:
            changes.add(path, "schema", Motion.ADDED, f"the schema {name} was added", bump=MINOR)
        elif right is None:
            changes.add(
                path,
                "schema",
                Motion.REMOVED,
                f"the schema {name} was removed: what a fallback serves under it is open now",
                consumer=WARNS,
                bump=MINOR,
            )
        else:
            compare_objects(changes.at(schema_object=name), left, right, path)


def _metrics(changes: ChangeList, old: Contract, new: Contract) -> None:
    before = {metric.name: metric for metric in old.metrics}
    after = {metric.name: metric for metric in new.metrics}
    for name in [*before, *(name for name in after if name not in before)]:
        path = f"metrics.{name}"
        left, right = before.get(name), after.get(name)
        if left is None:
            changes.add(path, "metric", Motion.ADDED, f"the metric {name} was added", bump=MINOR)
        elif right is None:
            changes.add(
                path,
                "metric",
                Motion.REMOVED,
                f"the metric {name} was removed: conditions and charts over it will fall silent",
                consumer=WARNS,
                bump=MINOR,
            )
        else:
            changes.ask(path, "metric_unit", left.dimension, right.dimension, f"the unit of {name}")
            changes.note(
                path, "description", left.description, right.description, f"{name}: description"
            )
    if list(before) != list(after) and before.keys() == after.keys():
        changes.add("metrics", "order", Motion.CHANGED, "the metrics stand in another order")


def _policies(changes: ChangeList, old: Contract, new: Contract) -> None:
    _consumers(changes, old.consumers, new.consumers)
    for field in fields(AlertPolicy):
        left, right = getattr(old.alerts, field.name), getattr(new.alerts, field.name)
        changes.note(f"alerts.{field.name}", "alerts", left, right, f"alerts: {field.name}")
    _monitoring(changes, old.monitoring, new.monitoring)
    order = {Protects.PRODUCER: 0, Protects.CONSUMER: 1, Protects.FULL: 2}
    before, after = old.compatibility, new.compatibility
    if before.protects is not after.protects:
        rank = order[after.protects] - order[before.protects]
        _promise(
            changes,
            "compatibility.protects",
            rank > 0,
            f"new versions must suit {_WHOM[after.protects]} from now on; until now they had to "
            f"suit {_WHOM[before.protects]}",
        )
    if before.transitive != after.transitive:
        suits = "every version before it" if after.transitive else "only the version before it"
        _promise(
            changes,
            "compatibility.transitive",
            after.transitive,
            f"a new version must suit those who know {suits}",
        )


_WHOM = {
    Protects.CONSUMER: "consumers",
    Protects.PRODUCER: "producers",
    Protects.FULL: "consumers and producers",
}


def _promise(changes: ChangeList, path: str, stricter: bool, message: str) -> None:
    """A promise about versions to come: nothing that exists breaks by it."""
    changes.add(
        path,
        "compatibility",
        Motion.TIGHTENED if stricter else Motion.LOOSENED,
        message,
        consumer=FINE if stricter else WARNS,
        producer=WARNS if stricter else FINE,
        bump=MINOR,
    )


def _consumers(
    changes: ChangeList,
    old: tuple[ConsumerDeclaration, ...],
    new: tuple[ConsumerDeclaration, ...],
) -> None:
    before, after = ({each.name: each for each in side} for side in (old, new))
    for name in [*before, *(name for name in after if name not in before)]:
        path = f"consumers.{name}"
        left, right = before.get(name), after.get(name)
        if left is None:
            changes.add(path, "consumer", Motion.ADDED, f"{name} is a consumer now")
        elif right is None:
            changes.add(path, "consumer", Motion.REMOVED, f"{name} is no longer a consumer")
        else:
            for field in fields(ConsumerDeclaration):
                one, other = getattr(left, field.name), getattr(right, field.name)
                changes.note(path, "consumer", one, other, f"the consumer {name}: {field.name}")
    changes.reordered("consumers", list(before), list(after), "the consumers")


def _monitoring(changes: ChangeList, old: MonitoringPolicy, new: MonitoringPolicy) -> None:
    if old == new:
        return
    lost = [metric for metric in old.anomaly_metrics if metric not in new.anomaly_metrics]
    gained = [metric for metric in new.anomaly_metrics if metric not in old.anomaly_metrics]
    path = "monitoring.anomaly_metrics"
    for metric in lost:
        message = f"{metric} is no longer watched for anomalies"
        changes.add(path, "watch", Motion.REMOVED, message, consumer=WARNS, bump=MINOR)
    for metric in gained:
        changes.add(
            path, "watch", Motion.ADDED, f"{metric} is now watched for anomalies", bump=MINOR
        )
    if not lost and not gained:
        before, after = old.anomaly_metrics, new.anomaly_metrics
        changes.note(path, "order", before, after, "the order of the watched metrics")
    for name in ("anomaly_threshold", "min_history"):
        left, right = getattr(old, name), getattr(new, name)
        if left != right:
            looser = right > left
            changes.add(
                f"monitoring.{name}",
                "watch",
                Motion.LOOSENED if looser else Motion.TIGHTENED,
                f"{name} was {left:g}, now it is {right:g}: anomalies are seen "
                f"{'later' if looser else 'sooner'}",
                consumer=WARNS if looser else FINE,
                bump=MINOR,
            )
    if old.actions != new.actions:
        message = "what is done without a person when a threshold is reached changed"
        motion = motion_of(old.actions, new.actions)
        changes.add("monitoring.actions", "actions", motion, message, producer=WARNS, bump=MINOR)
