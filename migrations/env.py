"""What Alembic runs: the migrations, over the connection that `service.migrate` opened."""

from typing import Any, Literal

from alembic import context

from service.database import UtcDateTime
from service.tables import Base


def plain_type(kind: str, item: Any, autogen_context: Any) -> str | Literal[False]:
    """Migrations name the types of SQLAlchemy alone: they must run when this code has long changed."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and type(item).__name__ == "JSON":
        return "sa.JSON()"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    render_item=plain_type,
    render_as_batch=True,  # SQLite changes a column by rebuilding its table
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
