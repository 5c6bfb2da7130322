"""The model by whose columns a dataset's rows were read.

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("model_id", sa.String(40)))


def downgrade() -> None:
    op.drop_column("datasets", "model_id")
