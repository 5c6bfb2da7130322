"""The first tables.

Revision: 0001, after None.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BUSY = sa.text("(state = 'leased' OR (state = 'pending' AND published_at IS NOT NULL))")
LEASED = sa.text("state = 'leased'")
LIVE = sa.text("state IN ('pending', 'leased')")
LIVE_WHOLE = sa.text("state IN ('pending', 'leased') AND \"index\" IS NULL")
UNDELETED = sa.text("deleted_at IS NULL")
WAITING = sa.text("state = 'pending' AND published_at IS NULL")


def upgrade() -> None:
    create_tenants()
    create_work()
    create_models()
    create_datasets()
    create_fits()
    create_jobs()


def downgrade() -> None:
    op.drop_table("job_events")
    op.drop_table("shards")
    op.drop_table("jobs")
    op.drop_table("fits")
    op.drop_table("encodings")
    op.drop_table("datasets")
    op.drop_table("models")
    op.drop_table("locks")
    op.drop_table("workers")
    op.drop_table("needs")
    op.drop_table("work_items")
    op.drop_table("idempotency_keys")
    op.drop_table("api_keys")
    op.drop_table("tenants")


def create_tenants() -> None:
    """Tenants, their keys, and what idempotent requests were answered."""
    op.create_table(
        "tenants",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenants"),
        sa.UniqueConstraint("name", name="uq_tenants_name"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_api_keys_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_tenant_id", "api_keys", ["tenant_id"])
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("route", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("body_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("headers", sa.JSON()),
        sa.Column("body", sa.JSON()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_idempotency_keys_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", "route", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def create_work() -> None:
    """What workers claim, who needs whom, who lives, and locks."""
    op.create_table(
        "work_items",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("queue", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("index", sa.Integer()),
        sa.Column("job_id", sa.String(length=40)),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=200)),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("out_of_memory", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.Column("published_times", sa.Integer(), nullable=False),
        sa.Column("stop_requested", sa.Boolean(), nullable=False),
        sa.Column("waiting", sa.JSON()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_work_items_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("id", name="pk_work_items"),
    )
    op.create_index(
        "ix_work_items_busy", "work_items", ["tenant_id", "subject_id"], sqlite_where=BUSY, postgresql_where=BUSY
    )
    op.create_index("ix_work_items_finished", "work_items", ["finished_at"])
    op.create_index("ix_work_items_job", "work_items", ["job_id", "state"])
    op.create_index("ix_work_items_lease", "work_items", ["lease_until"], sqlite_where=LEASED, postgresql_where=LEASED)
    op.create_index("ix_work_items_subject", "work_items", ["subject_id"])
    op.create_index(
        "ix_work_items_waiting",
        "work_items",
        ["queue", "tenant_id", "priority", "subject_id", "index"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.create_index(
        "uq_work_items_live",
        "work_items",
        ["kind", "subject_id", "index"],
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_index(
        "uq_work_items_live_whole",
        "work_items",
        ["kind", "subject_id"],
        unique=True,
        sqlite_where=LIVE_WHOLE,
        postgresql_where=LIVE_WHOLE,
    )
    op.create_table(
        "needs",
        sa.Column("dependent_kind", sa.String(length=16), nullable=False),
        sa.Column("dependent_id", sa.String(length=40), nullable=False),
        sa.Column("needed_kind", sa.String(length=16), nullable=False),
        sa.Column("needed_id", sa.String(length=40), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("dependent_kind", "dependent_id", "needed_kind", "needed_id", name="pk_needs"),
    )
    op.create_index("ix_needs_needed", "needs", ["needed_kind", "needed_id"])
    op.create_table(
        "workers",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("device_kind", sa.String(length=16), nullable=False),
        sa.Column("queues", sa.JSON(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_workers"),
    )
    op.create_table(
        "locks",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=200), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_locks"),
    )


def create_models() -> None:
    """Models."""
    op.create_table(
        "models",
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=255)),
        sa.Column("manifest", sa.JSON()),
        sa.Column("executions", sa.JSON(), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=128)),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.JSON()),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_models_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
    )
    op.create_index("ix_models_tenant", "models", ["tenant_id", "id"])
    op.create_index(
        "uq_models_name",
        "models",
        ["tenant_id", "name"],
        unique=True,
        sqlite_where=UNDELETED,
        postgresql_where=UNDELETED,
    )
    op.create_index(
        "uq_models_request",
        "models",
        ["tenant_id", "request_digest"],
        unique=True,
        sqlite_where=UNDELETED,
        postgresql_where=UNDELETED,
    )


def create_datasets() -> None:
    """Datasets."""
    op.create_table(
        "datasets",
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=255)),
        sa.Column("labels_filename", sa.String(length=255)),
        sa.Column("labels_upload_key", sa.String(length=255)),
        sa.Column("label_column", sa.String(length=128)),
        sa.Column("digest", sa.String(length=64)),
        sa.Column("rows", sa.BigInteger()),
        sa.Column("row_shape", sa.JSON()),
        sa.Column("dtype", sa.String(length=32)),
        sa.Column("columns", sa.JSON()),
        sa.Column("label_counts", sa.JSON()),
        sa.Column("rows_key", sa.String(length=255)),
        sa.Column("labels_key", sa.String(length=255)),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=128)),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.JSON()),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_datasets_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
    )
    op.create_index("ix_datasets_tenant", "datasets", ["tenant_id", "id"])
    op.create_index(
        "uq_datasets_name",
        "datasets",
        ["tenant_id", "name"],
        unique=True,
        sqlite_where=UNDELETED,
        postgresql_where=UNDELETED,
    )
    op.create_index(
        "uq_datasets_request",
        "datasets",
        ["tenant_id", "request_digest"],
        unique=True,
        sqlite_where=UNDELETED,
        postgresql_where=UNDELETED,
    )


def create_fits() -> None:
    """Encodings, and the fits made from them."""
    op.create_table(
        "encodings",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("dataset_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.JSON()),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("key", sa.String(length=255)),
        sa.Column("rows", sa.BigInteger()),
        sa.Column("deterministic", sa.Boolean()),
        sa.Column("execution", sa.JSON()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_encodings_dataset_id_datasets"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_encodings_model_id_models"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_encodings_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("id", name="pk_encodings"),
    )
    op.create_index("ix_encodings_dataset", "encodings", ["dataset_id"])
    op.create_index("ix_encodings_model", "encodings", ["model_id"])
    op.create_index(
        "uq_encodings_pair",
        "encodings",
        ["tenant_id", "model_id", "dataset_id"],
        unique=True,
        sqlite_where=UNDELETED,
        postgresql_where=UNDELETED,
    )
    op.create_table(
        "fits",
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("state_reason", sa.String(length=1024)),
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("dataset_id", sa.String(length=40), nullable=False),
        sa.Column("encoding_id", sa.String(length=40), nullable=False),
        sa.Column("family", sa.JSON(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("diagnostics", sa.JSON()),
        sa.Column("parameters", sa.LargeBinary()),
        sa.Column("parameters_key", sa.String(length=255)),
        sa.Column("parameters_digest", sa.String(length=64)),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=128)),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.JSON()),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_fits_dataset_id_datasets"),
        sa.ForeignKeyConstraint(["encoding_id"], ["encodings.id"], name="fk_fits_encoding_id_encodings"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_fits_model_id_models"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_fits_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("id", name="pk_fits"),
    )
    op.create_index("ix_fits_dataset", "fits", ["dataset_id"])
    op.create_index("ix_fits_model", "fits", ["model_id"])
    op.create_index("ix_fits_tenant", "fits", ["tenant_id", "id"])
    op.create_index(
        "uq_fits_name", "fits", ["tenant_id", "name"], unique=True, sqlite_where=UNDELETED, postgresql_where=UNDELETED
    )
    op.create_index(
        "uq_fits_request",
        "fits",
        ["tenant_id", "request_digest"],
        unique=True,
        sqlite_where=UNDELETED,
        postgresql_where=UNDELETED,
    )


def create_jobs() -> None:
    """Jobs, their committed shards and their events."""
    op.create_table(
        "jobs",
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("state_reason", sa.String(length=1024)),
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("fit_id", sa.String(length=40)),
        sa.Column("encoding_id", sa.String(length=40)),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("execution", sa.JSON()),
        sa.Column("rows_per_s", sa.Double()),
        sa.Column("shard_rows", sa.BigInteger()),
        sa.Column("shards_total", sa.Integer()),
        sa.Column("label_counts", sa.JSON()),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("rows_total", sa.BigInteger(), nullable=False),
        sa.Column("rows_done", sa.BigInteger(), nullable=False),
        sa.Column("rows_before", sa.BigInteger(), nullable=False),
        sa.Column("shards_done", sa.Integer(), nullable=False),
        sa.Column("bytes_done", sa.BigInteger(), nullable=False),
        sa.Column("next_shard", sa.Integer(), nullable=False),
        sa.Column("open_shards", sa.Integer(), nullable=False),
        sa.Column("event_number", sa.Integer(), nullable=False),
        sa.Column("progress_at", sa.DateTime(timezone=True)),
        sa.Column("executions", sa.JSON(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("cancelled_at", sa.DateTime(timezone=True)),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=128)),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.JSON()),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["encoding_id"], ["encodings.id"], name="fk_jobs_encoding_id_encodings"),
        sa.ForeignKeyConstraint(["fit_id"], ["fits.id"], name="fk_jobs_fit_id_fits"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_jobs_model_id_models"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_jobs_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_state", "jobs", ["state"])
    op.create_index("ix_jobs_tenant", "jobs", ["tenant_id", "id"])
    op.create_index("ix_jobs_tenant_model", "jobs", ["tenant_id", "model_id", "id"])
    op.create_index("ix_jobs_tenant_state", "jobs", ["tenant_id", "state", "id"])
    op.create_index(
        "uq_jobs_name", "jobs", ["tenant_id", "name"], unique=True, sqlite_where=UNDELETED, postgresql_where=UNDELETED
    )
    op.create_table(
        "shards",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("first_row", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("execution", sa.Integer(), nullable=False),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_shards_job_id_jobs"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_shards_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("job_id", "index", name="pk_shards"),
    )
    op.create_table(
        "job_events",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_events_job_id_jobs"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_job_events_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_job_events"),
    )
