"""The index of waiting work in the order in which it is published, so that the next item is found at once.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WAITING = sa.text("state = 'pending' AND published_at IS NULL")
BEFORE = ["queue", "tenant_id", "priority", "subject_id", "index"]
SINCE = ["queue", "tenant_id", "priority", "index", "created_at", "kind", "subject_id"]


def upgrade() -> None:
    _replace(SINCE)


def downgrade() -> None:
    _replace(BEFORE)


def _replace(columns: list[str]) -> None:
    op.drop_index("ix_work_items_waiting", "work_items")
    op.create_index("ix_work_items_waiting", "work_items", columns, sqlite_where=WAITING, postgresql_where=WAITING)
