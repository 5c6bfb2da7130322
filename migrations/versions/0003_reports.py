"""Reports, and the report that a job's strategy `auto` was resolved by.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UNDELETED = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "reports",
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("dataset_id", sa.String(length=40), nullable=False),
        sa.Column("reference_id", sa.String(length=40)),
        sa.Column("candidates", sa.JSON()),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("content", sa.JSON()),
        sa.Column("page_key", sa.String(length=255)),
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
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_reports_dataset_id_datasets"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_reports_model_id_models"),
        sa.ForeignKeyConstraint(["reference_id"], ["datasets.id"], name="fk_reports_reference_id_datasets"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_reports_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
    )
    op.create_index("ix_reports_dataset", "reports", ["dataset_id"])
    op.create_index("ix_reports_pair", "reports", ["model_id", "dataset_id", "id"])
    op.create_index("ix_reports_tenant", "reports", ["tenant_id", "id"])
    op.create_index(
        "uq_reports_name", "reports", ["tenant_id", "name"], unique=True, sqlite_where=UNDELETED,
        postgresql_where=UNDELETED,
    )  # fmt: skip
    op.add_column("jobs", sa.Column("report_id", sa.String(length=40)))


def downgrade() -> None:
    op.drop_column("jobs", "report_id")
    op.drop_table("reports")
