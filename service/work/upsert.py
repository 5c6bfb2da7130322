"""Insert or update in one statement: the two databases spell it alike, SQLAlchemy does not."""

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.database import Base

Upsert = sqlite.Insert | postgresql.Insert


def upsert(
    session: Session,
    table: type[Base],
    *,
    keys: dict[str, Any],
    values: dict[str, Any],
    once: dict[str, Any] | None = None,
    where: ColumnElement[bool] | None = None,
) -> Upsert:
    """A row with these `keys` and `values` (and `once`, which only a new row gets); an old one only if `where`."""
    row = {**keys, **values, **(once or {})}
    if session.get_bind().dialect.name == "sqlite":
        statement = sqlite.insert(table).values(row)
        return statement.on_conflict_do_update(index_elements=list(keys), set_=values, where=where)
    same = postgresql.insert(table).values(row)
    return same.on_conflict_do_update(index_elements=list(keys), set_=values, where=where)
