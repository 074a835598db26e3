"""The smaller sections of both forms: metrics, consumers, alerts, monitoring, compatibility."""

from __future__ import annotations

from datetime import timedelta

from dagster_contracts.core.condition import Dimension
from dagster_contracts.core.contract import (
    AlertPolicy,
    CompatibilityPolicy,
    ConsumerDeclaration,
    CorrectiveAction,
    CorrectiveActionKind,
    MetricDeclaration,
    MonitoringPolicy,
    Protects,
)
from dagster_contracts.core.metrics import read_name
from dagster_contracts.core.near_names import meant_one_of
from dagster_contracts.documents.problem import did_you_mean
from dagster_contracts.documents.section import Section
from dagster_contracts.documents.vocabulary import policies
from dagster_contracts.documents.yaml_text import MappingNode, ScalarNode
from dagster_contracts.errors import DocumentError

MAX_METRICS = 200
"""So many metrics may a contract declare: misspelled names are compared with all of them."""


def read_metrics(section: Section) -> tuple[MetricDeclaration, ...]:
    """``{name: dimension}`` or ``{name: {dimension, description}}``: what conditions may name."""
    found: list[MetricDeclaration] = []
    known = section.reading.catalogue
    if len(section.node.entries) > MAX_METRICS:
        section.findings.error(
            section.location,
            "too-many",
            f"the contract declares {len(section.node.entries):,} metrics, at most {MAX_METRICS}",
            "declare those that its conditions name",
        )
        return ()
    declared: dict[str, Dimension] = {}
    for name in list(section.node.entries):
        node = section.node.entries[name]
        where = section.node.key_location(name)
        if isinstance(node, MappingNode):
            inner = Section(node, section.reading, f"the metric {name!r}")
            dimension = inner.choice("dimension", Dimension, Dimension.NUMBER)
            description = inner.text("description")
            inner.finish(policies.METRIC, synonyms={"unit": "dimension", "type": "dimension"})
        elif isinstance(node, ScalarNode):
            description = None
            dimension = next((d for d in Dimension if d.value == node.text), Dimension.NUMBER)
            if node.value is not None and dimension.value != node.text:
                section.findings.error(
                    node.location,
                    "unknown-value",
                    f"the metric {name!r} cannot be measured in {node.text!r}",
                    did_you_mean(node.text, [d.value for d in Dimension]),
                )
        else:
            section.wrong(node, name, "a dimension such as count, ratio or duration")
            continue
        try:
            known.with_declared({name: dimension})
        except DocumentError as error:
            section.findings.raised(error, where, "metric")
            continue
        declared[name] = dimension
        found.append(MetricDeclaration(name=name, dimension=dimension, description=description))
    section.reading.catalogue = known.with_declared(declared)
    return tuple(found)


def read_consumers(section: Section) -> tuple[ConsumerDeclaration, ...]:
    """A list of names, or of mappings with a name, an asset, columns, a contact and channels."""
    found: list[ConsumerDeclaration] = []
    for node in section.items("consumers"):
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            found.append(ConsumerDeclaration(name=node.value, asset=node.value))
        elif isinstance(node, MappingNode):
            item = Section(node, section.reading, "a consumer")
            asset = item.text("asset")
            name = item.text("name") or asset
            if not name:
                item.missing("name")
            found.append(
                ConsumerDeclaration(
                    name=name or "",
                    asset=asset,
                    columns=item.texts("columns"),
                    contact=item.text("contact"),
                    channels=item.texts("channels"),
                )
            )
            item.finish(
                policies.CONSUMER,
                synonyms={"fields": "columns", "email": "contact", "owner": "contact"},
            )
        else:
            section.wrong(node, "consumers", "a list of names or of mappings")
    return tuple(found)


def read_alerts(section: Section) -> AlertPolicy:
    """Names of channels; addresses are the deployment's business and never a contract's."""
    default = AlertPolicy()
    alerts = AlertPolicy(
        channels=section.texts("channels"),
        producer_channels=section.texts("producer_channels"),
        on=section.texts("on"),
        repeat_after=section.duration("repeat_after") or default.repeat_after,
    )
    for key in ("channels", "producer_channels"):
        for channel in getattr(alerts, key):
            if "://" in channel or "@" in channel:
                section.findings.error(
                    section.place(key),
                    "address-in-contract",
                    f"{channel!r} is an address, and a contract names channels",
                    "name a channel that the deployment configures, such as 'data-oncall'",
                )
    section.finish(
        policies.ALERTS, synonyms={"channel": "channels", "consumer_channels": "channels"}
    )
    return alerts


def read_monitoring(section: Section) -> MonitoringPolicy:
    """What is watched for anomalies, and what may be done without a person."""
    default = MonitoringPolicy()
    metrics = tuple(read_name(metric) for metric in section.texts("anomaly_metrics"))
    for metric in metrics:
        if section.reading.catalogue.find(metric) is None:
            near = section.reading.catalogue.suggest(metric)
            section.findings.error(
                section.place("anomaly_metrics"),
                "unknown-metric",
                f"there is no metric {metric!r}",
                meant_one_of([near]) if near else "declare it under 'metrics'",
            )
    threshold = section.number("anomaly_threshold")
    if threshold is not None and threshold <= 0:
        section.findings.error(
            section.place("anomaly_threshold"),
            "wrong-value",
            "'anomaly_threshold' must be more than 0",
            "4 is a good start: robust standard deviations",
        )
    actions: list[CorrectiveAction] = []
    for item in section.sections("actions"):
        item.what = "a corrective action"
        whens = item.conditions("when")
        if not whens and "when" not in item:
            item.missing("when", 'add when: "data_freshness > 1h"')
        if "do" not in item:
            item.missing("do", "known: " + ", ".join(kind.value for kind in CorrectiveActionKind))
        kind = item.choice("do", CorrectiveActionKind, CorrectiveActionKind.REMATERIALIZE)
        job = item.text("job")
        cooldown = item.duration("cooldown") or timedelta(hours=1)
        if kind is CorrectiveActionKind.RUN_JOB and not job:
            item.missing("job")
        item.finish(policies.ACTION, synonyms={"action": "do", "kind": "do", "if": "when"})
        actions += [
            CorrectiveAction(when=when, kind=kind, job=job, cooldown=cooldown) for when in whens
        ]
    policy = MonitoringPolicy(
        anomaly_metrics=metrics if "anomaly_metrics" in section else default.anomaly_metrics,
        anomaly_threshold=float(threshold) if threshold else default.anomaly_threshold,
        min_history=section.integer("min_history", minimum=2) or default.min_history,
        actions=tuple(actions),
    )
    section.finish(policies.MONITORING)
    return policy


def read_compatibility(section: Section) -> CompatibilityPolicy:
    """Whom a new version must not break."""
    policy = CompatibilityPolicy(
        protects=section.choice("protects", Protects, Protects.CONSUMER),
        transitive=section.flag("transitive"),
    )
    section.finish(policies.COMPATIBILITY)
    return policy
