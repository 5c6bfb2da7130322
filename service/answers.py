"""What leaves the service: resources, pages and their headers."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.responses import JSONResponse, Response

from latentmill.errors import InvalidRequest, Problem
from latentmill.specs.requests import NAME_RULE, Metadata, Name
from service.resources import ResourceColumns

Item = TypeVar("Item")
NAME: TypeAdapter[str | None] = TypeAdapter(Name | None)
METADATA: TypeAdapter[dict[str, str]] = TypeAdapter(Metadata)
RETRY_AFTER_SECONDS = 1


class Resource(BaseModel):
    """What every resource shows of itself."""

    model_config = ConfigDict(protected_namespaces=())

    object: str
    id: str
    name: str | None
    state: str
    created_at: datetime
    finished_at: datetime | None
    error: Problem | None
    warnings: list[str]
    metadata: dict[str, str]


class Page(BaseModel, Generic[Item]):
    """One page of a list, and how to get the next."""

    data: list[Item]
    next_cursor: str | None
    has_more: bool


class Deleted(BaseModel):
    """That a resource is deleted; its address answers 410 from now on."""

    object: str
    id: str
    deleted: bool = True


@dataclass(frozen=True)
class Answer:
    """A JSON answer before it is sent, in a form that can be stored and sent again."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        return JSONResponse(self.body, self.status, self.headers)


def resource_fields(row: ResourceColumns, kind: str) -> dict[str, Any]:
    """The fields of `Resource`, from the row."""
    return {
        "object": kind,
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        "error": row.error,
        "warnings": row.warnings,
        "metadata": row.metadata_,
    }


def shown(resource: BaseModel) -> dict[str, Any]:
    """A resource as JSON types."""
    return resource.model_dump(mode="json", by_alias=True)


def page_of(items: list[Item], next_cursor: str | None) -> Page[Item]:
    """`items` as a page."""
    return Page(data=items, next_cursor=next_cursor, has_more=next_cursor is not None)


def created(resource: Resource, *, path: str, new: bool) -> Answer:
    """202 for something that was begun, 200 for something that was there."""
    headers = {"Location": path}
    if new:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return Answer(202 if new else 200, shown(resource), headers)


def parsed_name(name: str | None) -> str | None:
    """A name from a form, held to the same rule as one from JSON."""
    try:
        return NAME.validate_python(name)
    except ValidationError as error:
        raise InvalidRequest(NAME_RULE, pointer="/name") from error


def parsed_metadata(text: str | None) -> dict[str, str]:
    """Metadata from a form: a JSON object, held to the same rule as that of other requests."""
    if text is None:
        return {}
    try:
        return METADATA.validate_json(text)
    except ValidationError as error:
        raise InvalidRequest(
            "metadata is a JSON object of at most 16 strings, names up to 64 and values up to 512 characters.",
            pointer="/metadata",
        ) from error
