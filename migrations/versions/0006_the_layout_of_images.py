"""Where the channel axis of a dataset's images stands, where its file said it.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("layout", sa.String(8)))


def downgrade() -> None:
    op.drop_column("datasets", "layout")
