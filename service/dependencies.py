"""What routes are given: the services, the caller, and a transaction that is committed before the answer is sent."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from inspect import iscoroutinefunction
from typing import Annotated, Any, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import Depends, Header, Query, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from sqlalchemy.orm import Session

from latentmill.errors import LimitExceeded
from service.answers import Answer
from service.database import Database
from service.idempotency.operations import LONGEST_KEY, once
from service.keys.operations import Caller
from service.openapi import BOUND
from service.outcomes import Outcomes
from service.queue import Queue
from service.resources import CURSOR
from service.settings import Settings
from service.storage import Storage
from service.turns import Turns
from service.waiting import Waiting, checked_wait
from service.watching import Watcher
from service.work.publisher import Publisher

Item = TypeVar("Item")
BEARER = HTTPBearer(auto_error=False, description="An API key: `latentmill keys create` makes one.")


@dataclass(frozen=True)
class Services:
    """Everything that outlives a request; made once, by `create_app`."""

    settings: Settings
    database: Database
    storage: Storage
    queue: Queue
    publisher: Publisher
    outcomes: Outcomes
    watcher: Watcher
    turns: Turns
    pepper: bytes


@dataclass(frozen=True)
class Transaction:
    """A request's transaction, for its caller, and what follows from it."""

    session: Session
    caller: Caller
    services: Services
    idempotency_key: str | None
    writes: bool = True

    @property
    def tenant_id(self) -> str:
        return self.caller.tenant_id

    @property
    def settings(self) -> Settings:
        return self.services.settings

    @property
    def outcomes(self) -> Outcomes:
        return self.services.outcomes

    def commit(self) -> None:
        """End the transaction now; nothing can be asked in it any more."""
        try:
            self.session.commit()
        except BaseException:
            self.session.rollback()  # SQLite keeps a transaction open whose commit has failed
            raise

    def once(self, route: str, body: Any, make: Callable[[], Answer]) -> Answer:
        """What `make` answers; with an idempotency key once, and the same answer again after that."""
        return once(self.session, tenant_id=self.tenant_id, route=route, key=self.idempotency_key, body=body, make=make)


class Committing(APIRoute):
    """A route whose transaction is committed on the thread that it ran on, when it has its answer.

    The transaction ends anyway, before the answer is sent. But until then it would wait for the event loop and another
    thread, with the database's write lock in its hands: the more requests there are, the longer.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint if iscoroutinefunction(endpoint) else _committed(endpoint), **options)


def _committed(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(endpoint)
    def answer(**given: Any) -> Any:
        found = endpoint(**given)
        for transaction in given.values():
            if isinstance(transaction, Transaction) and transaction.writes:
                transaction.commit()
        return found

    return answer


# The dependencies that ask nobody are coroutines: a plain function would cost a hop to another thread.


async def services_of(request: Request) -> Services:
    """The services of the app that serves this request; their database as the caller, if there is one, sees it."""
    services: Services = request.app.state.services
    state = request.scope["state"]
    caller: Caller | None = state.get("caller")
    if caller is None:
        return services
    return replace(services, database=services.database.on_behalf_of(caller.tenant_id, state["request_id"]))


async def caller_of(request: Request, _key: Annotated[Any, Security(BEARER)] = None) -> Caller:
    """Who makes this request; admission has checked the key."""
    caller: Caller = request.scope["state"]["caller"]
    return caller


ServicesOf = Annotated[Services, Depends(services_of)]
CallerOf = Annotated[Caller, Depends(caller_of)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=LONGEST_KEY,
        description="The same key and body again give the same answer.",
    ),
]
Wait = Annotated[
    float | None,
    Query(
        ge=0,
        allow_inf_nan=False,
        description="Seconds to wait until it has settled.",
        json_schema_extra={BOUND: "wait_seconds"},
    ),
]


async def waiting_of(request: Request, services: ServicesOf, wait: Wait = None) -> Waiting:
    """How long this request waits; LimitExceeded when that is too long."""
    return Waiting(request, services.watcher, checked_wait(wait, services.settings.limits.wait_seconds))


WaitingOf = Annotated[Waiting, Depends(waiting_of)]


@contextmanager
def writing(services: Services, caller: Caller, idempotency_key: str | None) -> Iterator[Transaction]:
    """A transaction that is committed at the end; then the publisher is told, which cannot fail the request."""
    with services.database.writing() as session:
        yield Transaction(session, caller, services, idempotency_key)
    services.publisher.nudge()


async def _creating(
    services: ServicesOf, caller: CallerOf, idempotency_key: IdempotencyKey = None
) -> AsyncIterator[Transaction]:
    async with services.turns.turn(), _ended_on_a_thread(writing(services, caller, idempotency_key)) as transaction:
        yield transaction


async def _writing(services: ServicesOf, caller: CallerOf) -> AsyncIterator[Transaction]:
    async with services.turns.turn(), _ended_on_a_thread(writing(services, caller, None)) as transaction:
        yield transaction


async def _reading(services: ServicesOf, caller: CallerOf) -> AsyncIterator[Transaction]:
    async with _ended_on_a_thread(services.database.reading()) as session:
        yield Transaction(session, caller, services, None, writes=False)


@asynccontextmanager
async def _ended_on_a_thread(transaction: AbstractContextManager[Item]) -> AsyncIterator[Item]:
    """The transaction, which asks the database nothing before its first statement, and ends on a thread.

    That thread is one too many: if the end had to wait for those of other requests, and these for its commit, all of
    them would wait for ever.
    """
    begun, own_thread = transaction.__enter__(), CapacityLimiter(1)
    try:
        yield begun
    except BaseException as error:
        with CancelScope(shield=True):
            await to_thread.run_sync(transaction.__exit__, type(error), error, error.__traceback__, limiter=own_thread)
        raise
    with CancelScope(shield=True):
        await to_thread.run_sync(transaction.__exit__, None, None, None, limiter=own_thread)


# scope="function": otherwise the answer leaves before the commit, and a failing commit has already been a success.
Creating = Annotated[Transaction, Depends(_creating, scope="function")]  # with an idempotency key
Writing = Annotated[Transaction, Depends(_writing, scope="function")]
Reading = Annotated[Transaction, Depends(_reading, scope="function")]


@dataclass(frozen=True)
class PageQuery:
    """Which page of a list is asked for."""

    limit: int
    cursor: str | None


async def page_query(
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, description="Items of a page.", json_schema_extra={BOUND: "page_rows"})] = 50,
    cursor: Annotated[
        str | None, Query(description="`next_cursor` of the page before.", json_schema_extra={"pattern": CURSOR})
    ] = None,
) -> PageQuery:
    """The page that is asked for; LimitExceeded when it is too large."""
    if limit > (most := services.settings.limits.page_rows):
        raise LimitExceeded(f"A page has at most {most:,} items; ask for the next one.", pointer="/limit")
    return PageQuery(limit, cursor)


PageOf = Annotated[PageQuery, Depends(page_query)]
