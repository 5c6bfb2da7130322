"""Previews: a few rows that a client waits for.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "previews",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.JSON()),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("indices", sa.JSON(), nullable=False),
        sa.Column("media_type", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("fit_id", sa.String(length=40)),
        sa.Column("encoding_id", sa.String(length=40)),
        sa.Column("job_id", sa.String(length=40)),
        sa.Column("execution", sa.JSON(), nullable=False),
        sa.Column("label_counts", sa.JSON()),
        sa.Column("content", sa.LargeBinary()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["encoding_id"], ["encodings.id"], name="fk_previews_encoding_id_encodings"),
        sa.ForeignKeyConstraint(["fit_id"], ["fits.id"], name="fk_previews_fit_id_fits"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_previews_job_id_jobs"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_previews_model_id_models"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_previews_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("id", name="pk_previews"),
    )
    op.create_index("ix_previews_created_at", "previews", ["created_at"])


def downgrade() -> None:
    op.drop_table("previews")
