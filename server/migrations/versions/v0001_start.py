"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_LIVE = sa.text("state IN ('ready', 'running', 'attested')")


def upgrade() -> None:
    op.create_table(
        "parties",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.CheckConstraint("kind IN ('account', 'source', 'venue', 'operator')", name="party_kind"),
        sa.CheckConstraint("state IN ('active', 'suspended', 'removed')", name="party_state"),
    )
    op.create_table(
        "party_keys",
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("party", sa.String(64), nullable=False),
        sa.Column("public", sa.LargeBinary(32), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger),
        sa.ForeignKeyConstraint(["kind", "party"], ["parties.kind", "parties.id"], name="key_party"),
    )
    op.create_index("party_keys_by_party", "party_keys", ["kind", "party"])
    op.create_table(
        "prover_keys",
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("public", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("retired", sa.BigInteger),
    )
    op.create_table(
        "nonces",
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("nonce", sa.String(64), primary_key=True),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("nonces_by_expiry", "nonces", ["expires"])
    op.create_table(
        "submissions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.LargeBinary(32), nullable=False),
        sa.Column("prover_key", sa.String(64), nullable=False),
        sa.Column("idempotency_key", sa.String(64), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("account", "idempotency_key", name="submission_once"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", _BIG, primary_key=True, autoincrement=True),
        sa.Column("submission", sa.String(32), sa.ForeignKey("submissions.id", name="job_submission"), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("run_at", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("worker", sa.String(64)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("code", sa.String(64)),
        sa.Column("attestation", sa.LargeBinary(32)),
        sa.Column("log_index", sa.BigInteger),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("started", sa.BigInteger),
        sa.Column("finished", sa.BigInteger),
        sa.CheckConstraint("state IN ('ready', 'running', 'attested', 'refused', 'dead')", name="job_state"),
        sa.UniqueConstraint("submission", name="job_once"),
    )
    op.create_index("jobs_in_turn", "jobs", ["state", "turn", "id"])
    op.create_index("jobs_of_account", "jobs", ["account", "state", "id"])
    op.create_index(
        "one_live_job", "jobs", ["account", "sequence"], unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE
    )
    op.create_table(
        "results",
        sa.Column(
            "submission", sa.String(32), sa.ForeignKey("submissions.id", name="result_submission"), primary_key=True
        ),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "catalogue",
        sa.Column("idx", _BIG, primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("account", sa.String(64)),
        sa.Column("sequence", sa.BigInteger),
        sa.Column("payload_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("name", sa.LargeBinary(32), nullable=False),
        sa.Column("statement_digest", sa.LargeBinary(32)),
    )
    op.create_index("catalogue_by_payload", "catalogue", ["payload_digest"])
    op.create_index("catalogue_by_name", "catalogue", ["name"])
    op.create_index("catalogue_by_statement", "catalogue", ["statement_digest"])
    op.create_index("catalogue_by_kind", "catalogue", ["kind", "idx"])
    op.create_index("catalogue_by_account", "catalogue", ["account", "kind", "idx"])
    op.create_table(
        "published",
        sa.Column("message", sa.LargeBinary(32), primary_key=True),
        sa.Column("object", sa.LargeBinary(32), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
    )
    op.create_index("published_for_account", "published", ["account", "received"])
    op.create_table(
        "buckets",
        sa.Column("key", sa.String(96), primary_key=True),
        sa.Column("empty_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("id", _BIG, primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("operator", sa.String(64), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
    )


def downgrade() -> None:
    for table in (
        "audit",
        "buckets",
        "published",
        "catalogue",
        "results",
        "jobs",
        "submissions",
        "nonces",
        "prover_keys",
        "party_keys",
        "parties",
    ):
        op.drop_table(table)
