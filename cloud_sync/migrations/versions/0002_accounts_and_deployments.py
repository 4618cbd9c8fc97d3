"""People, and cameras with their deployments."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("must_change", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "web_sessions",
        sa.Column("token_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_sha256"),
    )
    op.create_table(
        "deployments",
        sa.Column("deployment_key", sa.String(length=16), nullable=False),
        sa.Column("deployment_id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("latitude_deg", sa.Float(), nullable=False),
        sa.Column("longitude_deg", sa.Float(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("starts_offset_min", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_offset_min", sa.Integer(), nullable=True),
        sa.Column("camera_id", sa.String(length=200), nullable=False),
        sa.Column("card_id", sa.String(length=200), nullable=False),
        sa.Column("gateway_id", sa.String(length=200), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("deployment_key"),
    )
    op.create_index("deployments_camera", "deployments", ["camera_id", "starts_at"])
    op.create_index("deployments_card", "deployments", ["card_id", "starts_at"])
    op.create_table(
        "deployments_told",
        sa.Column("gateway_id", sa.String(length=200), nullable=False),
        sa.Column("told_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("gateway_id"),
    )
    op.add_column("records", sa.Column("deployment_key", sa.String(length=16), nullable=True))
    op.create_index("records_deployment_fate", "records", ["deployment_key", "fate", "captured_at"])
    op.create_index("records_deployment_time", "records", ["deployment_key", "captured_at", "record_key"])
    panda = sa.text("fate = 'panda'")
    op.create_index("records_sightings", "records", ["captured_at"], postgresql_where=panda, sqlite_where=panda)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
