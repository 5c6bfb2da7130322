"""Routes of the contract that are not part of this release: they say so by name, instead of a 404."""

from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from fastapi import APIRouter

from latentmill.errors import Gone, NotFound, NotYet
from service import openapi
from service.dependencies import Reading
from service.jobs.tables import JobRow
from service.resources import find

OF_A_JOB = {
    ("GET", "/v1/jobs/{job}/archive"): "The archive of a job",
}
KEYLESS = {("GET", "/metrics"): "Metrics"}


def router_of_what_is_to_come() -> APIRouter:
    """One route for each of them."""
    router = APIRouter(tags=["to come"])
    of_a_job, keyless = openapi.problems(NotYet, Gone), openapi.problems(NotYet, keyed=False)
    for routes, make, responses in ((OF_A_JOB, _refusal_of_job, of_a_job), (KEYLESS, _refusal, keyless)):
        for (method, path), what in routes.items():
            name = f"{method.lower()}{path.replace('/v1', '').replace('/', '_').replace('{', '').replace('}', '')}"
            router.add_api_route(
                path, make(what), methods=[method], responses=responses, response_model=None, name=name
            )
    return router


def _refusal(what: str) -> Callable[..., NoReturn]:
    def refuse() -> NoReturn:
        raise NotYet(f"{what}: not part of this release.")

    return refuse


def _refusal_of_job(what: str) -> Callable[..., NoReturn]:
    def refuse(job: str, reading: Reading) -> NoReturn:
        # Everything under a deleted job is gone, this too.
        with suppress(NotFound):
            find(reading.session, JobRow, reading.tenant_id, job)
        raise NotYet(f"{what}: not part of this release.")

    return refuse
