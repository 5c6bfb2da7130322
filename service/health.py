"""Whether the service lives, and whether it is ready."""

from collections.abc import Callable

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from latentmill.errors import LatentmillError, StorageFull, Unavailable
from service import migrate, openapi
from service.dependencies import Services, ServicesOf
from service.work.workers import live_workers

router = APIRouter(tags=["service"])
EMBEDDED_BROKER = "redis+socket:"  # only `latentmill up` starts a broker on a socket of its own
QUEUES = frozenset({"prompt", "compute"})


class Readiness(BaseModel):
    """What is in order, and what is not."""

    ready: bool
    degraded: list[str]
    failing: dict[str, str]


@router.get("/healthz", responses=openapi.problems(keyed=False))
def health() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    response_model=Readiness,
    responses={503: openapi.answer("Not ready.", Readiness), **openapi.problems(keyed=False)},
)
def readiness(services: ServicesOf) -> Response:
    """200 when database, migrations and storage are in order. A full disk, a broker or workers away degrade it."""
    embedded = services.settings.broker.url.startswith(EMBEDDED_BROKER)
    needed: dict[str, Callable[[Services], None]] = {
        "database": _check_database,
        "migrations": _check_migrations,
        "storage": lambda services: services.storage.check(),
    }
    wanted: dict[str, Callable[[Services], None]] = {
        "broker": lambda services: services.queue.check(),
        "workers": _check_workers,
    }
    if embedded:
        # Everything is on this machine and was started together: without its parts it is not ready.
        needed, wanted = needed | wanted, {}
    faults = _faults(needed, services)
    # Of a full disk all can be read, and what is not needed deleted, which makes room: that must stay within reach.
    degraded: dict[str, LatentmillError] = {
        name: error for name, error in faults.items() if isinstance(error, StorageFull)
    }
    ready = faults.keys() == degraded.keys()
    if ready:
        degraded |= _faults(wanted, services)
    failing = {name: error.detail for name, error in (faults | degraded).items()}
    answer = Readiness(ready=ready, degraded=sorted(degraded) if ready else [], failing=failing)
    return JSONResponse(answer.model_dump(), 200 if ready else 503)


def _faults(checks: dict[str, Callable[[Services], None]], services: Services) -> dict[str, LatentmillError]:
    """What is wrong, by the name of the check."""
    faults: dict[str, LatentmillError] = {}
    for name, check in checks.items():
        try:
            check(services)
        except LatentmillError as error:
            faults[name] = error
    return faults


def _check_database(services: Services) -> None:
    with services.database.reading() as session:
        session.connection()


def _check_migrations(services: Services) -> None:
    current, newest = migrate.current(services.database), migrate.head()
    if current != newest:
        raise Unavailable(f"The database is at revision {current}, the code at {newest}: run `latentmill migrate`.")


def _check_workers(services: Services) -> None:
    with services.database.reading() as session:
        live = live_workers(session, seen_seconds=services.settings.work.worker_seen_seconds)
    if missing := QUEUES - {queue for worker in live for queue in worker.queues}:
        raise Unavailable(f"No live worker takes {', '.join(sorted(missing))}.")
