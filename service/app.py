"""The composition root: everything that the API is made of, put together in one place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.routing import APIRoute
from starlette.responses import HTMLResponse, Response

import latentmill
from service import health, problems
from service.admission import Admission
from service.database import Database
from service.datasets.routes import router as datasets
from service.dependencies import Services
from service.fits.routes import router as fits
from service.headers import policy_of_docs
from service.jobs.routes import router as jobs
from service.jobs.shard_routes import router as shards
from service.keys.pepper import pepper_of
from service.limits.routes import router as limits
from service.models.routes import router as models
from service.openapi import document
from service.outcomes import Outcomes
from service.previews.routes import router as previews
from service.queue import Queue
from service.reports.routes import router as reports
from service.settings import Settings
from service.storage import open_storage
from service.to_come import router_of_what_is_to_come
from service.turns import Turns
from service.watching import Watcher
from service.work.publisher import Publisher


def create_app(settings: Settings) -> FastAPI:
    """The API. Making it opens no connection; the first request does."""
    services = make_services(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        services.watcher.close()
        services.publisher.close()
        services.queue.close()
        services.database.dispose()

    app = FastAPI(
        title="Latentmill",
        description="Turn a trained VAE into a synthetic-dataset factory.",
        version=latentmill.__version__,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
        docs_url=None,  # ours, with a policy for what it loads
        redoc_url=None,
    )
    app.state.services = services
    app.add_middleware(
        Admission, database=services.database, storage=services.storage, pepper=services.pepper, settings=settings
    )
    problems.install(app)
    for router in (health.router, limits, models, datasets, fits, reports, jobs, shards, previews):
        app.include_router(router)
    app.include_router(router_of_what_is_to_come())
    app.openapi = lambda: _openapi(app, settings)  # type: ignore[method-assign]
    app.get("/docs", include_in_schema=False)(_docs)
    return app


def make_services(settings: Settings) -> Services:
    """What outlives a request."""
    database, storage, queue = Database(settings), open_storage(settings), Queue(settings)
    return Services(
        settings=settings,
        database=database,
        storage=storage,
        queue=queue,
        publisher=Publisher(database, queue, settings),
        outcomes=Outcomes(storage, settings),
        watcher=Watcher(database),
        turns=Turns(database.writers, settings.database.busy_seconds),
        pepper=pepper_of(settings),
    )


def _docs() -> Response:
    """The API for people to read and to try."""
    page = get_swagger_ui_html(openapi_url="/openapi.json", title="Latentmill", oauth2_redirect_url=None)
    text = bytes(page.body).decode()
    return HTMLResponse(text, headers={"Content-Security-Policy": policy_of_docs(text)})


def _operation_id(route: APIRoute) -> str:
    return f"{route.name}_head" if "HEAD" in (route.methods or ()) else route.name


def _openapi(app: FastAPI, settings: Settings) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = document(app, settings.limits)
    return app.openapi_schema
