"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("alert_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("gateway_id", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("alert_key"),
    )
    op.create_index("alerts_received", "alerts", ["received_at"])

    op.create_table(
        "gateways",
        sa.Column("gateway_id", sa.String(length=200), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_message_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bundle_verify_key", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("gateway_id"),
    )
    op.create_table(
        "held_bodies",
        sa.Column("held_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("gateway_id", sa.String(length=200), nullable=False),
        sa.Column("ledger_id", sa.String(length=200), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("body_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("held_key"),
    )
    op.create_index("held_bodies_message", "held_bodies", ["gateway_id", "ledger_id", "sequence"])

    op.create_table(
        "ledgers",
        sa.Column("gateway_id", sa.String(length=200), nullable=False),
        sa.Column("ledger_id", sa.String(length=200), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("through", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gateway_id", "ledger_id"),
    )
    op.create_table(
        "media",
        sa.Column("media_id", sa.String(length=64), nullable=False),
        sa.Column("variant", sa.String(length=32), nullable=False),
        sa.Column("gateway_id", sa.String(length=200), nullable=False),
        sa.Column("ledger_id", sa.String(length=200), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("container", sa.String(length=63), nullable=False),
        sa.Column("blob_name", sa.String(length=1024), nullable=False),
        sa.Column("blob_sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("media_id", "variant", "gateway_id"),
    )
    op.create_table(
        "messages",
        sa.Column("gateway_id", sa.String(length=200), nullable=False),
        sa.Column("ledger_id", sa.String(length=200), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("body_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("gateway_id", "ledger_id", "sequence"),
    )
    op.create_index("messages_not_recorded", "messages", ["gateway_id", "ledger_id", "state"])

    op.create_table(
        "positions",
        sa.Column("consumer_group", sa.String(length=128), nullable=False),
        sa.Column("partition_id", sa.String(length=32), nullable=False),
        sa.Column("offset", sa.String(length=64), nullable=False),
        sa.Column("sequence_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer_group", "partition_id"),
    )
    op.create_table(
        "receipts",
        sa.Column("gateway_id", sa.String(length=200), nullable=False),
        sa.Column("card_id", sa.String(length=200), nullable=False),
        sa.Column("reading_id", sa.String(length=200), nullable=False),
        sa.Column("ledger_id", sa.String(length=200), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("pending", sa.BigInteger(), nullable=False),
        sa.Column("safe_to_wipe", sa.Boolean(), nullable=False),
        sa.Column("receipt", sa.JSON(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("gateway_id", "card_id", "reading_id"),
    )
    op.create_table(
        "records",
        sa.Column("record_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("gateway_id", sa.String(length=200), nullable=False),
        sa.Column("ledger_id", sa.String(length=200), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("card_id", sa.String(length=200), nullable=False),
        sa.Column("reading_id", sa.String(length=200), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("media_id", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=200), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        sa.Column("fate", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("panda_probability", sa.Float(), nullable=True),
        sa.Column("probabilities", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("night", sa.Boolean(), nullable=True),
        sa.Column("view", sa.String(length=16), nullable=True),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("exif_time", sa.String(length=19), nullable=True),
        sa.Column("utc_offset_min", sa.Integer(), nullable=True),
        sa.Column("offset_source", sa.String(length=16), nullable=True),
        sa.Column("camera_make", sa.Text(), nullable=True),
        sa.Column("camera_model", sa.Text(), nullable=True),
        sa.Column("camera_serial", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("record_key"),
    )
    op.create_index("records_captured", "records", ["camera_serial", "captured_at"])
    op.create_index("records_media_id", "records", ["media_id"])
    op.create_index("records_reading", "records", ["gateway_id", "card_id", "reading_id"])

    op.create_table(
        "status",
        sa.Column("gateway_id", sa.String(length=200), nullable=False),
        sa.Column("ledger_id", sa.String(length=200), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("measures", sa.JSON(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("gateway_id"),
    )
    op.create_table(
        "tombstones",
        sa.Column("gateway_id", sa.String(length=200), nullable=False),
        sa.Column("ledger_id", sa.String(length=200), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("buried_kind", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("media_ids", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("gateway_id", "ledger_id", "sequence"),
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
