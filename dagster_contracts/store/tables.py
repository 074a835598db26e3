"""Every table of the state store, as SQLAlchemy Core.

Names are the concepts of the design; every table is prefixed, because the store may share a
database with Dagster's own. An absent partition is the empty string, since a primary key may hold
no NULL. Times are :class:`~dagster_contracts.store.columns.UtcTime`.

A change here needs a migration beside it: a test compares the migrated schema with this metadata.
"""

from __future__ import annotations

import sqlalchemy as sa

from dagster_contracts.store.columns import JsonText, PlainText, UtcTime, serial

PREFIX = "dagster_contracts_"
VERSION_TABLE = f"{PREFIX}alembic_version"

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    }
)

# --------------------------------------------------------------------------------------------------
# Resilience: circuits, what was observed, what was served instead, what is to be healed
# --------------------------------------------------------------------------------------------------

# One row for each circuit. `version` counts the appended events and is the guard of every update;
# `body` is the whole Circuit as JSON, the other columns repeat what is searched by. `wake_at` is
# the next moment at which the passing of time can change the circuit, null where it cannot.
# `partition_time` is when the circuit's own partition begins, where partitions have an order.
circuits = sa.Table(
    f"{PREFIX}circuits",
    metadata,
    sa.Column("contract", PlainText, primary_key=True),
    sa.Column("asset", PlainText, primary_key=True),
    sa.Column("partition", PlainText, primary_key=True, server_default=""),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("override", sa.String(16), nullable=False),
    sa.Column("policy_hash", PlainText, nullable=False),
    sa.Column("wake_at", UtcTime, nullable=True),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("body", JsonText, nullable=False),
    sa.Column("partition_time", UtcTime, nullable=True),
    sa.Index(None, "wake_at"),
    sa.Index(None, "contract", "policy_hash"),
    sa.Index(None, "contract", "asset", "partition_time"),
)

# One row for each change of a circuit, appended in the transaction that changes it. `changes` holds
# the fields of the body that the change gave a new value, so that folding the rows in the order of
# `version` rebuilds the circuit's row. A row is a transition where `before` differs from `after`.
circuit_events = sa.Table(
    f"{PREFIX}circuit_events",
    metadata,
    sa.Column("id", serial(), primary_key=True, autoincrement=True),
    sa.Column("contract", PlainText, nullable=False),
    sa.Column("asset", PlainText, nullable=False),
    sa.Column("partition", PlainText, nullable=False, server_default=""),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("before", sa.String(16), nullable=False),
    sa.Column("after", sa.String(16), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("cause", sa.String(64), nullable=True),
    sa.Column("explanation", PlainText, nullable=False, server_default=""),
    sa.Column("evaluation_id", PlainText, nullable=True),
    sa.Column("run_id", PlainText, nullable=True),
    sa.Column("actor", PlainText, nullable=True),
    sa.Column("changes", JsonText, nullable=False),
    sa.UniqueConstraint("contract", "asset", "partition", "version"),
    sa.Index(None, "at"),
)

# One row for each evaluation; its id is the key under which it counts once. `metrics` maps names to
# exact fractions ("7/100"), null where a metric could not be measured.
observations = sa.Table(
    f"{PREFIX}observations",
    metadata,
    sa.Column("evaluation_id", PlainText, primary_key=True),
    sa.Column("contract", PlainText, nullable=False),
    sa.Column("contract_version", PlainText, nullable=False),
    sa.Column("asset", PlainText, nullable=False),
    sa.Column("partition", PlainText, nullable=False, server_default=""),
    sa.Column("run_id", PlainText, nullable=True),
    sa.Column("observed_at", UtcTime, nullable=False),
    sa.Column("evaluated_at", UtcTime, nullable=False),
    sa.Column("event_time", UtcTime, nullable=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=True),
    sa.Column("backfill", sa.Boolean, nullable=False),
    sa.Column("metrics", JsonText, nullable=False),
    sa.Column("unknown_because", JsonText, nullable=False),
    sa.Index(None, "contract", "asset", "observed_at"),
)

# The known metrics of each observation again, one row each, as numbers: what series are read from.
metric_points = sa.Table(
    f"{PREFIX}metric_points",
    metadata,
    sa.Column("evaluation_id", PlainText, primary_key=True),
    sa.Column("metric", PlainText, primary_key=True),
    sa.Column("contract", PlainText, nullable=False),
    sa.Column("asset", PlainText, nullable=False),
    sa.Column("partition", PlainText, nullable=False, server_default=""),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("value", sa.Float(53), nullable=False),
    sa.Column("backfill", sa.Boolean, nullable=False),
    sa.Index(None, "contract", "asset", "metric", "at"),
)

# One row for each read of something else than a good primary. Open while `settled_at` is null.
# `circuit_partition` is the partition of the circuit that was to blame (empty for an asset-wide
# one); `via` names the degraded asset through which the mark was inherited. `since` is when the
# edge was first degraded in this generation of the circuit; `unhealed_because` is why no run builds
# the consumer anew although its time may have come, null where nothing is in the way.
degraded_reads = sa.Table(
    f"{PREFIX}degraded_reads",
    metadata,
    sa.Column("id", serial(), primary_key=True, autoincrement=True),
    sa.Column("contract", PlainText, nullable=False),
    sa.Column("circuit_asset", PlainText, nullable=False),
    sa.Column("circuit_partition", PlainText, nullable=False, server_default=""),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("consumer", PlainText, nullable=False),
    sa.Column("consumer_partition", PlainText, nullable=False, server_default=""),
    sa.Column("upstream", PlainText, nullable=False),
    sa.Column("upstream_partition", PlainText, nullable=False, server_default=""),
    sa.Column("via", PlainText, nullable=False, server_default=""),
    sa.Column("level", PlainText, nullable=False),
    sa.Column("source", PlainText, nullable=False),
    sa.Column("reason", PlainText, nullable=False),
    sa.Column("run_id", PlainText, nullable=False),
    sa.Column("read_at", UtcTime, nullable=False),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("settled_at", UtcTime, nullable=True),
    sa.Column("settled_by", PlainText, nullable=True),
    sa.Column("unhealed_because", PlainText, nullable=True),
    sa.Column("unhealed_since", UtcTime, nullable=True),
    # Until its run has stored what it built from the fallback.
    sa.Column("pending", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index(None, "settled_at", "contract", "circuit_asset"),
    sa.Index(None, "consumer", "consumer_partition", "settled_at"),
)

# One row for each run that was asked for to heal a consumer. `run_key` is the idempotent key under
# which Dagster starts it at most once.
heal_requests = sa.Table(
    f"{PREFIX}heal_requests",
    metadata,
    sa.Column("run_key", PlainText, primary_key=True),
    sa.Column("consumer", PlainText, nullable=False),
    sa.Column("consumer_partition", PlainText, nullable=False, server_default=""),
    sa.Column("cause", PlainText, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("requested_at", UtcTime, nullable=False),
    sa.Column("run_id", PlainText, nullable=True),
    sa.Column("finished_at", UtcTime, nullable=True),
    sa.Index(None, "state"),
    sa.Index(None, "cause"),
)

# One row for each kept batch that passed. The file is named by its sha256.
snapshots = sa.Table(
    f"{PREFIX}snapshots",
    metadata,
    sa.Column("id", serial(), primary_key=True, autoincrement=True),
    sa.Column("contract", PlainText, nullable=False),
    sa.Column("contract_version", PlainText, nullable=False),
    sa.Column("asset", PlainText, nullable=False),
    sa.Column("partition", PlainText, nullable=False, server_default=""),
    sa.Column("evaluation_id", PlainText, nullable=False, unique=True),
    sa.Column("kind", PlainText, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("schema_sha256", sa.String(64), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("event_time", UtcTime, nullable=True),
    sa.Column("kept_at", UtcTime, nullable=False),
    sa.Index(None, "contract", "asset", "partition", "kept_at"),
    sa.Index(None, "sha256"),
)

# One row for each refused batch, with the report that refused it. `altered` is why the kept rows
# are not all that the batch was, null where they are. While a released batch is to be published,
# `publish_asked_at` is when its run was asked for, null while none is; `unpublished_because` is
# what was in the way last.
quarantine = sa.Table(
    f"{PREFIX}quarantine",
    metadata,
    sa.Column("id", serial(), primary_key=True, autoincrement=True),
    sa.Column("contract", PlainText, nullable=False),
    sa.Column("contract_version", PlainText, nullable=False),
    sa.Column("asset", PlainText, nullable=False),
    sa.Column("partition", PlainText, nullable=False, server_default=""),
    sa.Column("evaluation_id", PlainText, nullable=False, unique=True),
    sa.Column("run_id", PlainText, nullable=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("kind", PlainText, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("schema_sha256", sa.String(64), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("report", JsonText, nullable=False),
    sa.Column("held_at", UtcTime, nullable=False),
    sa.Column("decided_at", UtcTime, nullable=True),
    sa.Column("decided_by", PlainText, nullable=True),
    sa.Column("decision_reason", PlainText, nullable=True),
    sa.Column("altered", PlainText, nullable=True),
    sa.Column("publish_resets", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("publish_attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("publish_asked_at", UtcTime, nullable=True),
    sa.Column("publish_run_id", PlainText, nullable=True),
    sa.Column("published_at", UtcTime, nullable=True),
    sa.Column("unpublished_because", PlainText, nullable=True),
    sa.Index(None, "state", "contract", "asset"),
    sa.Index(None, "sha256"),
)

# --------------------------------------------------------------------------------------------------
# Shared: what is to be delivered
# --------------------------------------------------------------------------------------------------

# One row for each message that must leave this process, written with the change that it tells of.
outbox = sa.Table(
    f"{PREFIX}outbox",
    metadata,
    sa.Column("id", serial(), primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("dedupe_key", PlainText, nullable=False, unique=True),
    sa.Column("payload", JsonText, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("available_at", UtcTime, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("claim", PlainText, nullable=True),
    sa.Column("last_error", PlainText, nullable=True),
    sa.Column("done_at", UtcTime, nullable=True),
    sa.Index(None, "state", "available_at"),
)

# --------------------------------------------------------------------------------------------------
# Registry: contracts, subscriptions, consumers, contract events
# --------------------------------------------------------------------------------------------------

# One row for each version of each contract that was ever seen. `content_hash` is what the version
# was published with; `body_hash` leaves out the lifecycle, so that a deprecation is no edit.
# `status` and the columns after it are the lifecycle as the document tells it; a decision made
# through the registry stands in `decided_status` and wins.
contract_versions = sa.Table(
    f"{PREFIX}contract_versions",
    metadata,
    sa.Column("contract", PlainText, primary_key=True),
    sa.Column("version", PlainText, primary_key=True),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Column("body_hash", sa.String(64), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("deprecated_until", PlainText, nullable=True),
    sa.Column("successor", PlainText, nullable=True),
    sa.Column("decided_status", sa.String(16), nullable=True),
    sa.Column("decided_until", PlainText, nullable=True),
    sa.Column("decided_successor", PlainText, nullable=True),
    sa.Column("owner", PlainText, nullable=True),
    sa.Column("place", PlainText, nullable=True),
    sa.Column("published_at", UtcTime, nullable=False),
    sa.Column("published_by", PlainText, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
)

# One row for each thing that happened to a contract; `key` makes it happen once over all processes.
contract_events = sa.Table(
    f"{PREFIX}contract_events",
    metadata,
    sa.Column("id", serial(), primary_key=True, autoincrement=True),
    sa.Column("key", PlainText, nullable=False, unique=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("contract", PlainText, nullable=False),
    sa.Column("version", PlainText, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("actor", PlainText, nullable=False),
    sa.Column("reason", PlainText, nullable=False, server_default=""),
    sa.Column("payload", JsonText, nullable=False),
    sa.Index(None, "contract", "id"),
)

# One row for each subscriber of a contract. Empty `columns` means all, empty `kinds` means all.
subscriptions = sa.Table(
    f"{PREFIX}subscriptions",
    metadata,
    sa.Column("contract", PlainText, primary_key=True),
    sa.Column("subscriber", PlainText, primary_key=True),
    sa.Column("origin", sa.String(16), primary_key=True),
    sa.Column("channels", JsonText, nullable=False),
    sa.Column("columns", JsonText, nullable=False),
    sa.Column("kinds", JsonText, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Index(None, "subscriber"),
)

# One row for each edge of the asset graph that starts at a contracted asset. `place` is the code
# location that reported it; it replaces its own edges and nobody else's.
consumers = sa.Table(
    f"{PREFIX}consumers",
    metadata,
    sa.Column("place", PlainText, primary_key=True),
    sa.Column("contract", PlainText, primary_key=True),
    sa.Column("upstream_asset", PlainText, primary_key=True),
    sa.Column("consumer_asset", PlainText, primary_key=True),
    sa.Column("owners", JsonText, nullable=False),
    sa.Column("columns", JsonText, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
    sa.Index(None, "contract"),
    sa.Index(None, "consumer_asset"),
)


# --------------------------------------------------------------------------------------------------
# Monitoring: alerts, silences, feedback
# --------------------------------------------------------------------------------------------------

# One row for each alert that ever fired, by the fingerprint of its labels. `state` is firing or
# resolved; `notice` alerts tell of something that happened and are never resolved to anybody.
alerts = sa.Table(
    f"{PREFIX}alerts",
    metadata,
    sa.Column("fingerprint", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("contract", PlainText, nullable=False),
    sa.Column("contract_version", PlainText, nullable=False, server_default=""),
    sa.Column("asset", PlainText, nullable=False, server_default=""),
    sa.Column("partition", PlainText, nullable=False, server_default=""),
    sa.Column("subject", PlainText, nullable=False, server_default=""),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("summary", PlainText, nullable=False),
    sa.Column("detail", PlainText, nullable=False, server_default=""),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("notice", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("recipients", JsonText, nullable=False),
    sa.Column("starts_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("ends_at", UtcTime, nullable=True),
    sa.Column("firings", sa.Integer, nullable=False, server_default="1"),
    sa.Column("acknowledged_at", UtcTime, nullable=True),
    sa.Column("acknowledged_by", PlainText, nullable=True),
    sa.Column("acknowledged_reason", PlainText, nullable=True),
    sa.Index(None, "state"),
    sa.Index(None, "contract"),
)

# What each channel was last told of each group: firing alerts and those told resolved, by
# fingerprint and start.
alert_groups = sa.Table(
    f"{PREFIX}alert_groups",
    metadata,
    sa.Column("channel", PlainText, primary_key=True),
    sa.Column("group_key", PlainText, primary_key=True),
    sa.Column("waiting_since", UtcTime, nullable=True),
    sa.Column("told", JsonText, nullable=False),
    sa.Column("told_at", UtcTime, nullable=True),
)

# One row for each message to a channel, with what to send; delivered at least once.
notifications = sa.Table(
    f"{PREFIX}notifications",
    metadata,
    sa.Column("id", PlainText, primary_key=True),
    sa.Column("channel", PlainText, nullable=False),
    sa.Column("group_key", PlainText, nullable=False),
    sa.Column("title", PlainText, nullable=False),
    sa.Column("body", JsonText, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("available_at", UtcTime, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_error", PlainText, nullable=True),
    sa.Column("sent_at", UtcTime, nullable=True),
    sa.Index(None, "state", "available_at"),
)

# Silences mute the alerts that all their matchers fit, between their two moments.
silences = sa.Table(
    f"{PREFIX}silences",
    metadata,
    sa.Column("id", serial(), primary_key=True, autoincrement=True),
    sa.Column("matchers", JsonText, nullable=False),
    sa.Column("starts_at", UtcTime, nullable=False),
    sa.Column("ends_at", UtcTime, nullable=False),
    sa.Column("actor", PlainText, nullable=False),
    sa.Column("reason", PlainText, nullable=False),
    sa.Column("lifted_at", UtcTime, nullable=True),
    sa.Column("lifted_by", PlainText, nullable=True),
)

# What consumers report about the data. Open while `resolved_at` is null.
feedback = sa.Table(
    f"{PREFIX}feedback",
    metadata,
    sa.Column("id", serial(), primary_key=True, autoincrement=True),
    sa.Column("contract", PlainText, nullable=False),
    sa.Column("asset", PlainText, nullable=False, server_default=""),
    sa.Column("consumer", PlainText, nullable=False),
    sa.Column("text", PlainText, nullable=False),
    sa.Column("reported_at", UtcTime, nullable=False),
    sa.Column("resolved_at", UtcTime, nullable=True),
    sa.Column("resolved_by", PlainText, nullable=True),
    sa.Column("resolution", PlainText, nullable=True),
    sa.Index(None, "contract", "resolved_at"),
)

# When each corrective action last ran: what its cooldown counts from.
corrective_actions = sa.Table(
    f"{PREFIX}corrective_actions",
    metadata,
    sa.Column("contract", PlainText, primary_key=True),
    sa.Column("asset", PlainText, primary_key=True),
    sa.Column("partition", PlainText, primary_key=True, server_default=""),
    sa.Column("action", PlainText, primary_key=True),
    sa.Column("fired_at", UtcTime, nullable=False),
    sa.Column("firings", sa.Integer, nullable=False, server_default="1"),
    sa.Column("explanation", PlainText, nullable=False, server_default=""),
)

# What monitoring proposes to change in a contract, until a person accepts or declines it.
proposals = sa.Table(
    f"{PREFIX}proposals",
    metadata,
    sa.Column("id", serial(), primary_key=True, autoincrement=True),
    sa.Column("contract", PlainText, nullable=False),
    sa.Column("contract_version", PlainText, nullable=False),
    sa.Column("path", PlainText, nullable=False),
    sa.Column("old", PlainText, nullable=False),
    sa.Column("new", PlainText, nullable=False),
    sa.Column("why", PlainText, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("proposed_at", UtcTime, nullable=False),
    sa.Column("decided_at", UtcTime, nullable=True),
    sa.Column("decided_by", PlainText, nullable=True),
    sa.Column("decision_reason", PlainText, nullable=True),
    sa.UniqueConstraint("contract", "contract_version", "path", "new"),
)
