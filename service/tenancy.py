"""Whose rows a session sees: on behalf of a tenant its own and no others, whatever a statement forgets.

Two locks. The first adds the tenant to every statement of the ORM, for each table in it that holds tenants' rows, in
joins and subqueries too. The second reads the SQL before it is run and refuses it where that is missing: a statement
on bare tables, a text, an insert under another's name. So a filter that somebody forgot shows nothing, and what cannot
be filtered is a defect that the first test meets.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, ForeignKey, String, event, literal
from sqlalchemy.engine.interfaces import ExecutionContext
from sqlalchemy.orm import (
    Mapped,
    ORMExecuteState,
    Session,
    SessionTransaction,
    mapped_column,
    with_loader_criteria,
)
from sqlalchemy.orm.util import LoaderCriteriaOption

SESSION = "tenant_session"  # the connection's option that names the session on behalf of a tenant
KNOWN_STATEMENTS = 1024


class Owned:
    """What belongs to a tenant: every table with such rows has this column from here."""

    tenant_id: Mapped[str] = mapped_column(String(40), ForeignKey("tenants.id"))


class OtherTenant(Exception):
    """A statement on behalf of a tenant that might reach another's rows: a defect, stopped before it is run."""


class TenantSession(Session):
    """A session on behalf of one tenant."""

    def __init__(self, bind: Engine, *, tenant_id: str, **options: Any) -> None:
        super().__init__(bind, **options)
        self.tenant_id = tenant_id
        self.flushing = False

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        for row in (*self.new, *self.dirty, *self.deleted):
            if isinstance(row, Owned) and row.tenant_id != self.tenant_id:
                raise OtherTenant(f"{type(row).__name__} of {row.tenant_id}, on behalf of {self.tenant_id}")
        # What a flush writes is named by its key alone; the rows were looked at just now.
        self.flushing = True
        try:
            super().flush(objects)
        finally:
            self.flushing = False


def keep_to_tenants(engine: Engine) -> None:
    """Have this engine refuse what sessions on behalf of a tenant must not run."""
    event.listen(engine, "before_cursor_execute", _refuse_what_may_reach_others)


@event.listens_for(TenantSession, "do_orm_execute")
def _keep_to_own_rows(state: ORMExecuteState) -> None:
    tenant_id: str = state.session.tenant_id  # type: ignore[attr-defined]
    if state.is_column_load and state.bind_mapper is not None and issubclass(state.bind_mapper.class_, Owned):
        # A row that the session has already is read again, to lock it: options are not for such statements.
        state.statement = state.statement.where(literal(tenant_id) == state.bind_mapper.class_.tenant_id)  # type: ignore[attr-defined]
    elif state.is_select or state.is_update or state.is_delete:
        state.statement = state.statement.options(_mine(tenant_id))


@event.listens_for(TenantSession, "after_begin")
def _name_session(session: TenantSession, transaction: SessionTransaction, connection: Connection) -> None:
    connection.execution_options(**{SESSION: session})


@lru_cache(maxsize=KNOWN_STATEMENTS)
def _mine(tenant_id: str) -> LoaderCriteriaOption:
    # In this order, value first: so the second lock tells it from the filters that a statement brings along.
    return with_loader_criteria(Owned, lambda row: tenant_id == row.tenant_id, include_aliases=True)


def _refuse_what_may_reach_others(
    connection: Connection, cursor: Any, sql: str, parameters: Any, context: ExecutionContext, many: bool
) -> None:
    session: TenantSession | None = connection.get_execution_options().get(SESSION)
    if session is None or session.flushing:
        return
    inserted, open_table = _reach(sql)
    if open_table is not None:
        raise OtherTenant(f"a statement on behalf of {session.tenant_id} reaches all of {open_table}: {sql[:500]}")
    if inserted:
        for row in context.compiled_parameters:  # type: ignore[attr-defined]
            owners = {value for name, value in row.items() if name.startswith("tenant_id")}
            if owners != {session.tenant_id}:
                raise OtherTenant(f"an insert for {owners}, on behalf of {session.tenant_id}: {sql[:500]}")


@lru_cache(maxsize=KNOWN_STATEMENTS)
def _reach(sql: str) -> tuple[bool, str | None]:
    """Whether rows of tenants are inserted, and the first table whose rows are reached without a word on whose."""
    tables = "|".join(sorted(_owned_tables()))
    inserted = re.match(rf"INSERT INTO (?:{tables}) (?!.*ON CONFLICT.*DO UPDATE)", sql, re.DOTALL)
    rest = sql[inserted.end() :] if inserted else sql
    # As a table, not as the first half of a column's name, nor as what a lock is limited to.
    reached = re.finditer(rf"(?<![\w.])(?<!OF )(?P<table>{tables})(?![\w.])(?: AS (?P<alias>\w+))?", rest)
    names = [found["alias"] or found["table"] for found in reached]
    for name in names:
        owner = "id" if name.startswith("tenants") else "tenant_id"
        said = re.findall(rf"(?:\?|%\(\w+\)s(?:::\w+)?) = {name}\.{owner}\b", rest)
        if len(said) < names.count(name):
            return bool(inserted), name
    return bool(inserted), None


def _owned_tables(kind: type = Owned) -> Iterator[str]:
    heir: type
    for heir in kind.__subclasses__():
        if "__tablename__" in vars(heir):
            yield vars(heir)["__tablename__"]
        yield from _owned_tables(heir)
