"""Records say with which probability they were drawn for the audit."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("records", sa.Column("audit_probability", sa.Float(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
