"""The keys of the smaller sections: metrics, consumers, alerts, monitoring, service levels, ..."""

from __future__ import annotations

from typing import Final

from dagster_contracts.core.contract import (
    AlertPolicy,
    CompatibilityPolicy,
    CorrectiveActionKind,
    MonitoringPolicy,
    Protects,
    Severity,
)
from dagster_contracts.core.quantity import Dimension
from dagster_contracts.documents.vocabulary.key import (
    CONDITIONS,
    DURATION,
    EXTRAS,
    FLAG,
    NUMBER,
    TEXT,
    TEXTS,
    Key,
    Kind,
    Table,
    choice,
    integer,
    sections,
    shown,
)

_MONITORING = MonitoringPolicy()
_COMPATIBILITY = CompatibilityPolicy()

METRIC: Final = Table(
    "metrics",
    "A metric of the contract's own, which a check of yours reports; conditions may name it.",
    (
        Key(
            "dimension",
            choice(Dimension),
            "What the metric is measured in; conditions compare it with quantities of that kind.",
            shown(Dimension.NUMBER),
        ),
        Key("description", TEXT, "What the metric is, for people."),
    ),
)

CONSUMER: Final = Table(
    "consumers",
    "Who reads the data. A name alone stands for the asset of that name.",
    (
        Key("name", TEXT, "The name of the consumer; its asset's where it is left out."),
        Key("asset", TEXT, "The asset that reads the data."),
        Key(
            "columns",
            TEXTS,
            "The columns that it reads, so that a change can say whether it breaks; all of them "
            "where it is left out.",
        ),
        Key("contact", TEXT, "Whom to ask, for people."),
        Key("channels", TEXTS, "The channels on which this consumer is told, by their names."),
    ),
)

ALERTS: Final = Table(
    "alerts",
    "Who is told, on channels that the deployment configures: a contract holds no addresses.",
    (
        Key("channels", TEXTS, "The names of the channels on which consumers are told."),
        Key("producer_channels", TEXTS, "The names of the channels on which producers are told."),
        Key("on", TEXTS, "What is told; everything where it is left out."),
        Key(
            "repeat_after",
            DURATION,
            "An alert that nobody has answered is sent again after this time.",
            shown(AlertPolicy().repeat_after),
        ),
    ),
)

ACTION: Final = Table(
    "actions",
    "Something that is done without a person while a condition holds.",
    (
        Key("when", CONDITIONS, "Any one of these that holds starts the action.", required=True),
        Key("do", choice(CorrectiveActionKind), "What is done.", required=True),
        Key("job", TEXT, "The job to run; `do: run_job` needs one."),
        Key("cooldown", DURATION, "The action is taken at most once in this time.", "1h"),
    ),
)

MONITORING: Final = Table(
    "monitoring",
    "What is watched beyond the rules.",
    (
        Key(
            "anomaly_metrics",
            TEXTS,
            "Metrics that are scored against their own history.",
            list(_MONITORING.anomaly_metrics),
        ),
        Key(
            "anomaly_threshold",
            NUMBER,
            "A score of so many robust standard deviations warns.",
            shown(_MONITORING.anomaly_threshold),
        ),
        Key(
            "min_history",
            integer(2),
            "Nothing is scored before there are so many earlier values.",
            _MONITORING.min_history,
        ),
        Key("actions", sections("actions"), "What may be done without a person."),
    ),
)

COMPATIBILITY: Final = Table(
    "compatibility",
    "Whom a new version must not break.",
    (
        Key(
            "protects",
            choice(Protects),
            "Whether a new version must go on serving consumers, accept what producers send, or "
            "both.",
            shown(_COMPATIBILITY.protects),
        ),
        Key(
            "transitive",
            FLAG,
            "Compare with all earlier versions, not with the last one alone.",
            _COMPATIBILITY.transitive,
        ),
    ),
)

#: ``"< 5min"``, ``5min``, ``95%`` or a plain number.
LEVEL_VALUE: Final = Kind(
    'a comparison such as `"< 5min"`',
    {"type": ["string", "number"], "examples": ["< 5min", "> 95%"]},
)

SERVICE_LEVEL: Final = Table(
    "sla",
    "One service level, by its name: a comparison alone, or a mapping with these keys.",
    (
        Key("must", LEVEL_VALUE, "What must hold for the level to be kept.", required=True),
        Key(
            "element",
            TEXT,
            "The column that the level speaks of; for `freshness` and `latency` the event time.",
        ),
        Key(
            "not_evaluated",
            TEXT,
            "Why nothing measures the level; `must` is then text for people.",
        ),
        Key("window", DURATION, "How far back `availability` is looked at.", "30d"),
        Key(
            "warn_before",
            DURATION,
            "How long before its end `endOfSupport` or `endOfLife` begins to warn.",
            "30d",
        ),
        Key(
            "severity",
            choice(Severity),
            "How much a broken level weighs: `error`, but `warning` for levels of which no single "
            "batch is to blame, such as `availability`.",
        ),
        Key("id", TEXT, "A name that stays the same when the level changes."),
        Key("driver", TEXT, "Why the level exists: regulatory, analytics, operational."),
        Key("description", TEXT, "What the level is for, for people."),
        EXTRAS,
    ),
)

LISTED_SERVICE_LEVEL: Final = Table(
    "listed_sla",
    "One service level in a list; a list serves where one property occurs twice.",
    (
        Key("property", TEXT, "Which service level it is, such as `freshness`.", required=True),
        *SERVICE_LEVEL.keys,
    ),
)

TABLES: Final = (
    METRIC,
    CONSUMER,
    ALERTS,
    MONITORING,
    ACTION,
    COMPATIBILITY,
    SERVICE_LEVEL,
    LISTED_SERVICE_LEVEL,
)
