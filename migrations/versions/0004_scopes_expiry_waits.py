"""Scopes and expiry of keys; expiry and sizes of resources and jobs; what work items remember of requests and waits.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

EXPIRING = sa.text("expires_at IS NOT NULL AND deleted_at IS NULL")
MADE = ("datasets", "encodings", "fits", "reports")  # whose files workers make; a model's is the upload itself


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("scopes", sa.JSON()))
    op.add_column("api_keys", sa.Column("expires_at", sa.DateTime(timezone=True)))
    op.execute(sa.text('UPDATE api_keys SET scopes = \'["read","write","admin"]\' WHERE admin'))
    op.execute(sa.text('UPDATE api_keys SET scopes = \'["read","write"]\' WHERE NOT admin'))
    with op.batch_alter_table("api_keys") as keys:
        keys.alter_column("scopes", existing_type=sa.JSON(), nullable=False)
        keys.drop_column("admin")
    for table in ("models", "datasets", "jobs"):
        op.add_column(table, sa.Column("expires_at", sa.DateTime(timezone=True)))
        op.create_index(f"ix_{table}_expiring", table, ["expires_at"], sqlite_where=EXPIRING, postgresql_where=EXPIRING)
    for table in MADE:
        op.add_column(table, sa.Column("stored_bytes", sa.BigInteger()))
    op.add_column("jobs", sa.Column("planned_bytes", sa.BigInteger()))
    op.add_column("work_items", sa.Column("request_id", sa.String(length=64)))
    op.add_column("work_items", sa.Column("waits", sa.Integer()))
    op.execute(sa.text("UPDATE work_items SET waits = 0"))
    with op.batch_alter_table("work_items") as items:
        items.alter_column("waits", existing_type=sa.Integer(), nullable=False)


def downgrade() -> None:
    op.drop_column("work_items", "waits")
    op.drop_column("work_items", "request_id")
    op.drop_column("jobs", "planned_bytes")
    for table in MADE:
        op.drop_column(table, "stored_bytes")
    for table in ("models", "datasets", "jobs"):
        op.drop_index(f"ix_{table}_expiring", table)
        op.drop_column(table, "expires_at")
    op.add_column("api_keys", sa.Column("admin", sa.Boolean()))
    op.execute(sa.text("UPDATE api_keys SET admin = (CAST(scopes AS VARCHAR) LIKE '%admin%')"))
    with op.batch_alter_table("api_keys") as keys:
        keys.alter_column("admin", existing_type=sa.Boolean(), nullable=False)
        keys.drop_column("expires_at")
        keys.drop_column("scopes")
