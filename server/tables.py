"""The service's tables, in the part of SQL that SQLite and PostgreSQL share.

What is kept: who may speak (parties and their public keys), what was accepted (sealed bytes alone), how far each job
is, the sealed answers, used nonces, and the trail of operator actions.  No column ever holds a position, a pledge, an
opening or a secret key.  Attestations, epochs and everything else a leaf depends on live in the transparency log
(`marginseal.log`), not here.  Times are unix milliseconds UTC.

`server/migrations` makes these tables; a test holds the two descriptions to each other.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

PARTY_KINDS = ("account", "source", "venue", "operator")
PARTY_STATES = ("active", "suspended", "removed")
JOB_STATES = ("ready", "running", "attested", "refused", "dead")
FINAL_STATES = ("attested", "refused", "dead")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(v) for v in values)})"


# Who may speak.  Removed parties stay, so that no identifier is ever given to another.
parties = sa.Table(
    "parties",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.CheckConstraint(_one_of("kind", PARTY_KINDS), name="party_kind"),
    sa.CheckConstraint(_one_of("state", PARTY_STATES), name="party_state"),
)

# Ed25519 public keys; a key belongs to one party for ever, also after it was revoked.
party_keys = sa.Table(
    "party_keys",
    metadata,
    sa.Column("key_id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("party", sa.String(64), nullable=False),
    sa.Column("public", sa.LargeBinary(32), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("revoked", sa.BigInteger),
    sa.ForeignKeyConstraint(["kind", "party"], ["parties.kind", "parties.id"], name="key_party"),
    sa.Index("party_keys_by_party", "kind", "party"),
)

# What submissions may be sealed to.  A retired key is accepted until `retired`, so that rotation refuses nobody.
prover_keys = sa.Table(
    "prover_keys",
    metadata,
    sa.Column("key_id", sa.String(64), primary_key=True),
    sa.Column("public", sa.LargeBinary, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("retired", sa.BigInteger),
)

# Provers of accounts that prove for themselves.  A key is one account's for ever, also after it was revoked.
own_provers = sa.Table(
    "own_provers",
    metadata,
    sa.Column("key_id", sa.String(64), primary_key=True),
    sa.Column("account", sa.String(64), nullable=False),
    sa.Column("public", sa.LargeBinary(32), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("revoked", sa.BigInteger),
    sa.Index("own_provers_of_account", "account"),
)

# Nonces of signed requests, until the signature could no longer be fresh.
nonces = sa.Table(
    "nonces",
    metadata,
    sa.Column("key_id", sa.String(64), primary_key=True),
    sa.Column("nonce", sa.String(64), primary_key=True),
    sa.Column("expires", sa.BigInteger, nullable=False),
    sa.Index("nonces_by_expiry", "expires"),
)

# What was accepted: a sealed portfolio, or ("proved") a finished attestation, which is public and sealed to nobody.
# The bytes go when the job is finished; their digest stays.
submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("account", sa.String(64), nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.LargeBinary(32), nullable=False),
    sa.Column("prover_key", sa.String(64), nullable=False),
    sa.Column("idempotency_key", sa.String(64), nullable=False),
    sa.Column("body_digest", sa.LargeBinary(32), nullable=False),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("received", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(8), nullable=False, server_default="sealed"),
    sa.UniqueConstraint("account", "idempotency_key", name="submission_once"),
)

# One job a submission.  `attempt` fences: who finishes must name the attempt that was claimed.  `cost`: how many
# turns it takes of its account, one until a worker has opened it.
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("submission", sa.String(32), sa.ForeignKey("submissions.id", name="job_submission"), nullable=False),
    sa.Column("account", sa.String(64), nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("turn", sa.BigInteger, nullable=False),
    sa.Column("cost", sa.Integer, nullable=False, server_default="1"),
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
    sa.CheckConstraint(_one_of("state", JOB_STATES), name="job_state"),
    sa.UniqueConstraint("submission", name="job_once"),
    sa.Index("jobs_in_turn", "state", "turn", "id"),
    sa.Index("jobs_of_account", "account", "state", "id"),
)
# The database itself refuses a second live job for one (account, sequence); a refused or dead one may be tried anew.
sa.Index(
    "one_live_job",
    jobs.c.account,
    jobs.c.sequence,
    unique=True,
    sqlite_where=jobs.c.state.in_(("ready", "running", "attested")),
    postgresql_where=jobs.c.state.in_(("ready", "running", "attested")),
)

# Answers that only the owner can open, all of one size, so that the table does not tell a reason from a receipt.
results = sa.Table(
    "results",
    metadata,
    sa.Column("submission", sa.String(32), sa.ForeignKey("submissions.id", name="result_submission"), primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)

# What the log holds, by what clients ask for: made from the log alone, and made again whenever it is missing.
catalogue = sa.Table(
    "catalogue",
    metadata,
    sa.Column("idx", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("account", sa.String(64)),
    sa.Column("sequence", sa.BigInteger),
    sa.Column("payload_digest", sa.LargeBinary(32), nullable=False),
    sa.Column("name", sa.LargeBinary(32), nullable=False),
    sa.Column("statement_digest", sa.LargeBinary(32)),
    sa.Index("catalogue_by_payload", "payload_digest"),
    sa.Index("catalogue_by_name", "name"),
    sa.Index("catalogue_by_statement", "statement_digest"),
    sa.Index("catalogue_by_kind", "kind", "idx"),
    sa.Index("catalogue_by_account", "account", "kind", "idx"),
)

# Source statements as published, by the digest of the signed message; the bytes are an object of the log.
published = sa.Table(
    "published",
    metadata,
    sa.Column("message", sa.LargeBinary(32), primary_key=True),
    sa.Column("object", sa.LargeBinary(32), nullable=False),
    sa.Column("source", sa.String(64), nullable=False),
    sa.Column("account", sa.String(64), nullable=False),
    sa.Column("received", sa.BigInteger, nullable=False),
    sa.Index("published_for_account", "account", "received"),
)

# Rate limits that must hold over all server processes: one bucket a key, microseconds, see limits.py.
buckets = sa.Table(
    "buckets",
    metadata,
    sa.Column("key", sa.String(96), primary_key=True),
    sa.Column("empty_at", sa.BigInteger, nullable=False),
)

# With SQLite these two live in a file of their own (Store.brief); migrations make them everywhere.
BRIEF = [nonces, buckets]

# Operator actions: signed, each naming the digest of the one before.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("operator", sa.String(64), nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("signature", sa.LargeBinary(64), nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
)
