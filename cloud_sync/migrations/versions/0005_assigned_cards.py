"""Receipts say which deployment headquarters has assigned their card to."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("receipts", sa.Column("assigned_key", sa.String(16), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
