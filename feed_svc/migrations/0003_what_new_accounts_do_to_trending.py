"""what new accounts do to trending"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("trending_acts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("fresh_milli", sa.BigInteger(), server_default="0", nullable=False))

    with op.batch_alter_table("trending_buckets", schema=None) as batch_op:
        batch_op.add_column(sa.Column("fresh_milli", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("trending_buckets", schema=None) as batch_op:
        batch_op.drop_column("fresh_milli")

    with op.batch_alter_table("trending_acts", schema=None) as batch_op:
        batch_op.drop_column("fresh_milli")
