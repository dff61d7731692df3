"""Attestations that an account proved itself: the keys of such provers, and the kind of what was submitted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "own_provers",
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("public", sa.LargeBinary(32), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger),
    )
    op.create_index("own_provers_of_account", "own_provers", ["account"])
    op.add_column("submissions", sa.Column("kind", sa.String(8), nullable=False, server_default="sealed"))


def downgrade() -> None:
    op.drop_column("submissions", "kind")
    op.drop_index("own_provers_of_account", "own_provers")
    op.drop_table("own_provers")
