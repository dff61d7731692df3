"""How many turns a job took, so that accounts take turns by the work in their jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("cost", sa.Integer, nullable=False, server_default="1"))


def downgrade() -> None:
    op.drop_column("jobs", "cost")
