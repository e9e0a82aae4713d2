"""trusted counts and devices"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("video_stats", schema=None) as batch_op:
        batch_op.add_column(sa.Column("trusted_views", sa.Double(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("trusted_completions", sa.Double(), server_default="0", nullable=False))
    with op.batch_alter_table("viewers", schema=None) as batch_op:
        batch_op.add_column(sa.Column("device", sa.String(length=16), server_default="", nullable=False))
    # By whom the watches so far were is not known any more: they count, until `reelgraph rebuild features`.
    op.execute("UPDATE video_stats SET trusted_views = views, trusted_completions = completions")


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("viewers", schema=None) as batch_op:
        batch_op.drop_column("device")
    with op.batch_alter_table("video_stats", schema=None) as batch_op:
        batch_op.drop_column("trusted_completions")
        batch_op.drop_column("trusted_views")
