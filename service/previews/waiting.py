"""Waiting for a preview: until a worker has taken it, then until it is there, and no longer than somebody listens."""

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from latentmill.errors import LatentmillError, Unavailable
from service.dependencies import Services
from service.fits.tables import EncodingRow
from service.previews import operations
from service.previews.operations import Seen
from service.waiting import Sight, Waiting
from service.watching import states_of
from service.work.workers import slots_of

QUEUE = "prompt"


ENCODED = states_of(EncodingRow)


async def answered(request: Request, services: Services, preview_id: str) -> Response:
    """The preview as the body of an answer; raises its error, or Unavailable when no worker had time for it."""
    limits = services.settings.limits
    seen = await _seen(request, services, preview_id, limits.preview_seconds, lambda it: it.over or it.taken)
    if seen.taken and not seen.over:
        seen = await _seen(
            request, services, preview_id, limits.wait_seconds, lambda it: it.over or it.waiting is not None
        )
    if not seen.over:
        seen = await services.turns.written(lambda: _give_up(services, preview_id))
    if seen.error is not None:
        raise LatentmillError.from_problem(seen.error)
    if seen.content is None:
        raise Unavailable(await run_in_threadpool(_why_not, services, seen))
    return Response(seen.content, media_type=seen.media_type)


async def encoded(request: Request, services: Services, encoding_id: str) -> None:
    """Wait for an encoding that a preview needs, as long as for a worker; it goes on by itself after that."""

    def read() -> Sight[None]:
        with services.database.reading() as session:
            state = session.get_one(EncodingRow, encoding_id).state
            return Sight(None, encoding_id, state, state in {"ready", "failed"})

    waiting = Waiting(request, services.watcher, services.settings.limits.preview_seconds)
    await waiting.settled(ENCODED, read, shared=encoding_id)


async def _seen(
    request: Request, services: Services, preview_id: str, seconds: float, enough: Callable[[Seen], bool]
) -> Seen:
    """How the preview is once that is `enough`, or `seconds` later."""

    def read() -> Sight[Seen]:
        with services.database.reading() as session:
            seen = operations.seen_of(session, preview_id)
            return Sight(seen, preview_id, seen.mark, enough(seen))

    waiting = Waiting(request, services.watcher, seconds)
    return await waiting.settled(operations.marks_of, read, shared=preview_id)


def _give_up(services: Services, preview_id: str) -> Seen:
    with services.database.writing() as session:
        return operations.give_up(session, preview_id)


def _why_not(services: Services, seen: Seen) -> str:
    if seen.waiting is not None:
        return f"The rows could not be made at present: {seen.waiting}"
    limits, work = services.settings.limits, services.settings.work
    if seen.taken:
        return f"The rows were not made within {limits.wait_seconds:g} s; ask for fewer, or for a job."
    with services.database.reading() as session:
        slots = slots_of(session, QUEUE, seen_seconds=work.worker_seen_seconds)
    reason = "all are busy: ask again" if slots else "none is alive: start `latentmill worker prompt`"
    return f"No worker took this within {limits.preview_seconds:g} s; {reason}."
