"""Initial: every table of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dagster_contracts.store.columns import JsonText, PlainText, UtcTime, serial

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "dagster_contracts_alert_groups",
        sa.Column("channel", PlainText, nullable=False),
        sa.Column("group_key", PlainText, nullable=False),
        sa.Column("waiting_since", UtcTime, nullable=True),
        sa.Column("told", JsonText, nullable=False),
        sa.Column("told_at", UtcTime, nullable=True),
        sa.PrimaryKeyConstraint(
            "channel", "group_key", name=op.f("pk_dagster_contracts_alert_groups")
        ),
    )
    op.create_table(
        "dagster_contracts_alerts",
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("contract_version", PlainText, server_default="", nullable=False),
        sa.Column("asset", PlainText, server_default="", nullable=False),
        sa.Column("partition", PlainText, server_default="", nullable=False),
        sa.Column("subject", PlainText, server_default="", nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("summary", PlainText, nullable=False),
        sa.Column("detail", PlainText, server_default="", nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("notice", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("recipients", JsonText, nullable=False),
        sa.Column("starts_at", UtcTime, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
        sa.Column("ends_at", UtcTime, nullable=True),
        sa.Column("firings", sa.Integer(), server_default="1", nullable=False),
        sa.Column("acknowledged_at", UtcTime, nullable=True),
        sa.Column("acknowledged_by", PlainText, nullable=True),
        sa.Column("acknowledged_reason", PlainText, nullable=True),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_dagster_contracts_alerts")),
    )
    op.create_index(
        op.f("ix_dagster_contracts_alerts_contract"),
        "dagster_contracts_alerts",
        ["contract"],
        unique=False,
    )
    op.create_index(
        op.f("ix_dagster_contracts_alerts_state"),
        "dagster_contracts_alerts",
        ["state"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_circuit_events",
        sa.Column("id", serial(), autoincrement=True, nullable=False),
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("asset", PlainText, nullable=False),
        sa.Column("partition", PlainText, server_default="", nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=False),
        sa.Column("after", sa.String(length=16), nullable=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=True),
        sa.Column("explanation", PlainText, server_default="", nullable=False),
        sa.Column("evaluation_id", PlainText, nullable=True),
        sa.Column("run_id", PlainText, nullable=True),
        sa.Column("actor", PlainText, nullable=True),
        sa.Column("changes", JsonText, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dagster_contracts_circuit_events")),
        sa.UniqueConstraint(
            "contract",
            "asset",
            "partition",
            "version",
            name=op.f("uq_dagster_contracts_circuit_events_contract_asset_partition_version"),
        ),
    )
    op.create_index(
        op.f("ix_dagster_contracts_circuit_events_at"),
        "dagster_contracts_circuit_events",
        ["at"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_circuits",
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("asset", PlainText, nullable=False),
        sa.Column("partition", PlainText, server_default="", nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("override", sa.String(length=16), nullable=False),
        sa.Column("policy_hash", PlainText, nullable=False),
        sa.Column("wake_at", UtcTime, nullable=True),
        sa.Column("updated_at", UtcTime, nullable=False),
        sa.Column("body", JsonText, nullable=False),
        sa.PrimaryKeyConstraint(
            "contract", "asset", "partition", name=op.f("pk_dagster_contracts_circuits")
        ),
    )
    op.create_index(
        op.f("ix_dagster_contracts_circuits_contract_policy_hash"),
        "dagster_contracts_circuits",
        ["contract", "policy_hash"],
        unique=False,
    )
    op.create_index(
        op.f("ix_dagster_contracts_circuits_wake_at"),
        "dagster_contracts_circuits",
        ["wake_at"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_consumers",
        sa.Column("place", PlainText, nullable=False),
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("upstream_asset", PlainText, nullable=False),
        sa.Column("consumer_asset", PlainText, nullable=False),
        sa.Column("owners", JsonText, nullable=False),
        sa.Column("columns", JsonText, nullable=False),
        sa.Column("seen_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint(
            "place",
            "contract",
            "upstream_asset",
            "consumer_asset",
            name=op.f("pk_dagster_contracts_consumers"),
        ),
    )
    op.create_index(
        op.f("ix_dagster_contracts_consumers_consumer_asset"),
        "dagster_contracts_consumers",
        ["consumer_asset"],
        unique=False,
    )
    op.create_index(
        op.f("ix_dagster_contracts_consumers_contract"),
        "dagster_contracts_consumers",
        ["contract"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_contract_events",
        sa.Column("id", serial(), autoincrement=True, nullable=False),
        sa.Column("key", PlainText, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("version", PlainText, nullable=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("actor", PlainText, nullable=False),
        sa.Column("reason", PlainText, server_default="", nullable=False),
        sa.Column("payload", JsonText, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dagster_contracts_contract_events")),
        sa.UniqueConstraint("key", name=op.f("uq_dagster_contracts_contract_events_key")),
    )
    op.create_index(
        op.f("ix_dagster_contracts_contract_events_contract_id"),
        "dagster_contracts_contract_events",
        ["contract", "id"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_contract_versions",
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("version", PlainText, nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("deprecated_until", PlainText, nullable=True),
        sa.Column("successor", PlainText, nullable=True),
        sa.Column("decided_status", sa.String(length=16), nullable=True),
        sa.Column("decided_until", PlainText, nullable=True),
        sa.Column("decided_successor", PlainText, nullable=True),
        sa.Column("owner", PlainText, nullable=True),
        sa.Column("place", PlainText, nullable=True),
        sa.Column("published_at", UtcTime, nullable=False),
        sa.Column("published_by", PlainText, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint(
            "contract", "version", name=op.f("pk_dagster_contracts_contract_versions")
        ),
    )
    op.create_table(
        "dagster_contracts_corrective_actions",
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("asset", PlainText, nullable=False),
        sa.Column("partition", PlainText, server_default="", nullable=False),
        sa.Column("action", PlainText, nullable=False),
        sa.Column("fired_at", UtcTime, nullable=False),
        sa.Column("firings", sa.Integer(), server_default="1", nullable=False),
        sa.Column("explanation", PlainText, server_default="", nullable=False),
        sa.PrimaryKeyConstraint(
            "contract",
            "asset",
            "partition",
            "action",
            name=op.f("pk_dagster_contracts_corrective_actions"),
        ),
    )
    op.create_table(
        "dagster_contracts_degraded_reads",
        sa.Column("id", serial(), autoincrement=True, nullable=False),
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("circuit_asset", PlainText, nullable=False),
        sa.Column("circuit_partition", PlainText, server_default="", nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("consumer", PlainText, nullable=False),
        sa.Column("consumer_partition", PlainText, server_default="", nullable=False),
        sa.Column("upstream", PlainText, nullable=False),
        sa.Column("upstream_partition", PlainText, server_default="", nullable=False),
        sa.Column("via", PlainText, server_default="", nullable=False),
        sa.Column("level", PlainText, nullable=False),
        sa.Column("source", PlainText, nullable=False),
        sa.Column("reason", PlainText, nullable=False),
        sa.Column("run_id", PlainText, nullable=False),
        sa.Column("read_at", UtcTime, nullable=False),
        sa.Column("since", UtcTime, nullable=False),
        sa.Column("settled_at", UtcTime, nullable=True),
        sa.Column("settled_by", PlainText, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dagster_contracts_degraded_reads")),
    )
    op.create_index(
        op.f("ix_dagster_contracts_degraded_reads_consumer_consumer_partition_settled_at"),
        "dagster_contracts_degraded_reads",
        ["consumer", "consumer_partition", "settled_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_dagster_contracts_degraded_reads_settled_at_contract_circuit_asset"),
        "dagster_contracts_degraded_reads",
        ["settled_at", "contract", "circuit_asset"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_feedback",
        sa.Column("id", serial(), autoincrement=True, nullable=False),
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("asset", PlainText, server_default="", nullable=False),
        sa.Column("consumer", PlainText, nullable=False),
        sa.Column("text", PlainText, nullable=False),
        sa.Column("reported_at", UtcTime, nullable=False),
        sa.Column("resolved_at", UtcTime, nullable=True),
        sa.Column("resolved_by", PlainText, nullable=True),
        sa.Column("resolution", PlainText, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dagster_contracts_feedback")),
    )
    op.create_index(
        op.f("ix_dagster_contracts_feedback_contract_resolved_at"),
        "dagster_contracts_feedback",
        ["contract", "resolved_at"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_heal_requests",
        sa.Column("run_key", PlainText, nullable=False),
        sa.Column("consumer", PlainText, nullable=False),
        sa.Column("consumer_partition", PlainText, server_default="", nullable=False),
        sa.Column("cause", PlainText, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("requested_at", UtcTime, nullable=False),
        sa.Column("run_id", PlainText, nullable=True),
        sa.Column("finished_at", UtcTime, nullable=True),
        sa.PrimaryKeyConstraint("run_key", name=op.f("pk_dagster_contracts_heal_requests")),
    )
    op.create_index(
        op.f("ix_dagster_contracts_heal_requests_cause"),
        "dagster_contracts_heal_requests",
        ["cause"],
        unique=False,
    )
    op.create_index(
        op.f("ix_dagster_contracts_heal_requests_state"),
        "dagster_contracts_heal_requests",
        ["state"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_metric_points",
        sa.Column("evaluation_id", PlainText, nullable=False),
        sa.Column("metric", PlainText, nullable=False),
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("asset", PlainText, nullable=False),
        sa.Column("partition", PlainText, server_default="", nullable=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=False),
        sa.Column("backfill", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint(
            "evaluation_id", "metric", name=op.f("pk_dagster_contracts_metric_points")
        ),
    )
    op.create_index(
        op.f("ix_dagster_contracts_metric_points_contract_asset_metric_at"),
        "dagster_contracts_metric_points",
        ["contract", "asset", "metric", "at"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_notifications",
        sa.Column("id", PlainText, nullable=False),
        sa.Column("channel", PlainText, nullable=False),
        sa.Column("group_key", PlainText, nullable=False),
        sa.Column("title", PlainText, nullable=False),
        sa.Column("body", JsonText, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("available_at", UtcTime, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", PlainText, nullable=True),
        sa.Column("sent_at", UtcTime, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dagster_contracts_notifications")),
    )
    op.create_index(
        op.f("ix_dagster_contracts_notifications_state_available_at"),
        "dagster_contracts_notifications",
        ["state", "available_at"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_observations",
        sa.Column("evaluation_id", PlainText, nullable=False),
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("contract_version", PlainText, nullable=False),
        sa.Column("asset", PlainText, nullable=False),
        sa.Column("partition", PlainText, server_default="", nullable=False),
        sa.Column("run_id", PlainText, nullable=True),
        sa.Column("observed_at", UtcTime, nullable=False),
        sa.Column("evaluated_at", UtcTime, nullable=False),
        sa.Column("event_time", UtcTime, nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("backfill", sa.Boolean(), nullable=False),
        sa.Column("metrics", JsonText, nullable=False),
        sa.Column("unknown_because", JsonText, nullable=False),
        sa.PrimaryKeyConstraint("evaluation_id", name=op.f("pk_dagster_contracts_observations")),
    )
    op.create_index(
        op.f("ix_dagster_contracts_observations_contract_asset_observed_at"),
        "dagster_contracts_observations",
        ["contract", "asset", "observed_at"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_outbox",
        sa.Column("id", serial(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("dedupe_key", PlainText, nullable=False),
        sa.Column("payload", JsonText, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("available_at", UtcTime, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("claim", PlainText, nullable=True),
        sa.Column("last_error", PlainText, nullable=True),
        sa.Column("done_at", UtcTime, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dagster_contracts_outbox")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_dagster_contracts_outbox_dedupe_key")),
    )
    op.create_index(
        op.f("ix_dagster_contracts_outbox_state_available_at"),
        "dagster_contracts_outbox",
        ["state", "available_at"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_proposals",
        sa.Column("id", serial(), autoincrement=True, nullable=False),
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("contract_version", PlainText, nullable=False),
        sa.Column("path", PlainText, nullable=False),
        sa.Column("old", PlainText, nullable=False),
        sa.Column("new", PlainText, nullable=False),
        sa.Column("why", PlainText, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("proposed_at", UtcTime, nullable=False),
        sa.Column("decided_at", UtcTime, nullable=True),
        sa.Column("decided_by", PlainText, nullable=True),
        sa.Column("decision_reason", PlainText, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dagster_contracts_proposals")),
        sa.UniqueConstraint(
            "contract",
            "contract_version",
            "path",
            "new",
            name=op.f("uq_dagster_contracts_proposals_contract_contract_version_path_new"),
        ),
    )
    op.create_table(
        "dagster_contracts_quarantine",
        sa.Column("id", serial(), autoincrement=True, nullable=False),
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("contract_version", PlainText, nullable=False),
        sa.Column("asset", PlainText, nullable=False),
        sa.Column("partition", PlainText, server_default="", nullable=False),
        sa.Column("evaluation_id", PlainText, nullable=False),
        sa.Column("run_id", PlainText, nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("kind", PlainText, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("schema_sha256", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("report", JsonText, nullable=False),
        sa.Column("held_at", UtcTime, nullable=False),
        sa.Column("decided_at", UtcTime, nullable=True),
        sa.Column("decided_by", PlainText, nullable=True),
        sa.Column("decision_reason", PlainText, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dagster_contracts_quarantine")),
        sa.UniqueConstraint(
            "evaluation_id", name=op.f("uq_dagster_contracts_quarantine_evaluation_id")
        ),
    )
    op.create_index(
        op.f("ix_dagster_contracts_quarantine_sha256"),
        "dagster_contracts_quarantine",
        ["sha256"],
        unique=False,
    )
    op.create_index(
        op.f("ix_dagster_contracts_quarantine_state_contract_asset"),
        "dagster_contracts_quarantine",
        ["state", "contract", "asset"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_silences",
        sa.Column("id", serial(), autoincrement=True, nullable=False),
        sa.Column("matchers", JsonText, nullable=False),
        sa.Column("starts_at", UtcTime, nullable=False),
        sa.Column("ends_at", UtcTime, nullable=False),
        sa.Column("actor", PlainText, nullable=False),
        sa.Column("reason", PlainText, nullable=False),
        sa.Column("lifted_at", UtcTime, nullable=True),
        sa.Column("lifted_by", PlainText, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dagster_contracts_silences")),
    )
    op.create_table(
        "dagster_contracts_snapshots",
        sa.Column("id", serial(), autoincrement=True, nullable=False),
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("contract_version", PlainText, nullable=False),
        sa.Column("asset", PlainText, nullable=False),
        sa.Column("partition", PlainText, server_default="", nullable=False),
        sa.Column("evaluation_id", PlainText, nullable=False),
        sa.Column("kind", PlainText, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("schema_sha256", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("event_time", UtcTime, nullable=True),
        sa.Column("kept_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dagster_contracts_snapshots")),
        sa.UniqueConstraint(
            "evaluation_id", name=op.f("uq_dagster_contracts_snapshots_evaluation_id")
        ),
    )
    op.create_index(
        op.f("ix_dagster_contracts_snapshots_contract_asset_partition_kept_at"),
        "dagster_contracts_snapshots",
        ["contract", "asset", "partition", "kept_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_dagster_contracts_snapshots_sha256"),
        "dagster_contracts_snapshots",
        ["sha256"],
        unique=False,
    )
    op.create_table(
        "dagster_contracts_subscriptions",
        sa.Column("contract", PlainText, nullable=False),
        sa.Column("subscriber", PlainText, nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("channels", JsonText, nullable=False),
        sa.Column("columns", JsonText, nullable=False),
        sa.Column("kinds", JsonText, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint(
            "contract", "subscriber", "origin", name=op.f("pk_dagster_contracts_subscriptions")
        ),
    )
    op.create_index(
        op.f("ix_dagster_contracts_subscriptions_subscriber"),
        "dagster_contracts_subscriptions",
        ["subscriber"],
        unique=False,
    )
