"""Records say what of the frame was judged, and whether the picture stays on the gateway."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("records", sa.Column("box", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("records", sa.Column("withheld", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
