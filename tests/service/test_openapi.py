"""The OpenAPI document: exact, complete, and of use to those who read it."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from latentmill.errors import LatentmillError
from latentmill.specs import FitRequest, PreviewRequest, ReportRequest
from latentmill.specs.requests import JobSubmission
from service import examples
from service.app import create_app
from service.problems import problem_response
from service.settings import LimitSettings, Settings

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("document")
    return create_app(Settings(data_dir=folder, limits=LimitSettings(page_rows=77, wait_seconds=9))).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, said) for path, methods in document["paths"].items() for method, said in methods.items()]


def test_every_status_is_named_with_the_codes_behind_it(document):
    for method, path, said in operations(document):
        for status, answer in said["responses"].items():
            assert status.isdecimal(), (method, path, status)
            assert answer["headers"]["X-Request-Id"]["required"]
            if status >= "400" and answer.get("content", PROBLEM) == PROBLEM and path != "/readyz":
                codes = [line.partition("`: ")[0].strip("` ") for line in answer["description"].split("\n")]
                assert {LatentmillError.by_code[code].status for code in codes} == {int(status)}, (path, codes)
        if path.startswith("/v1/"):
            assert {"401", "403", "429", "500", "503"} <= set(said["responses"]), (method, path)
        assert said.get("description") or said["tags"] == ["to come"]


def test_what_can_be_repeated_says_when(document):
    for error in LatentmillError.by_code.values():
        answer = problem_response(error(), "req_1")
        assert ("retry-after" in answer.headers) is error.retryable, error.code
        assert not error.retryable or int(answer.headers["retry-after"]) >= 1
    for method, path, said in operations(document):
        for status, answer in said["responses"].items():
            if status >= "400" and path != "/readyz":
                codes = [line.partition("`: ")[0].strip("` ") for line in answer["description"].split("\n")]
                says = {"Retry-After"} & {name for name, header in answer["headers"].items() if header.get("required")}
                assert {LatentmillError.by_code[code].retryable for code in codes} == {bool(says)}, (
                    method,
                    path,
                    status,
                )


def test_only_what_creates_takes_an_idempotency_key(document):
    takes = {
        (method, path)
        for method, path, said in operations(document)
        if any(parameter["name"] == "Idempotency-Key" for parameter in said.get("parameters", ()))
    }
    assert takes == {("post", f"/v1/{noun}") for noun in ("models", "datasets", "fits", "reports", "jobs")}


def test_bounds_are_those_that_are_set(document):
    (limit,) = [found for found in document["paths"]["/v1/jobs"]["get"]["parameters"] if found["name"] == "limit"]
    (wait,) = [found for found in document["paths"]["/v1/jobs/{job}"]["get"]["parameters"] if found["name"] == "wait"]
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 77)
    assert (wait["schema"]["type"], wait["schema"]["maximum"]) == ("number", 9)
    schemas = document["components"]["schemas"]
    rows = schemas["JobSubmission"]["properties"]["rows"]
    assert (rows["minimum"], rows["maximum"]) == (1, 10**12)
    assert all("kind" in schemas[name]["required"] for name in ("Prior", "Aggregate", "Gaussian", "Flow"))
    assert "x-bound" not in str(document)


@pytest.mark.parametrize(
    ("offered", "spec"),
    [
        (examples.FITS, FitRequest), (examples.REPORTS, ReportRequest), (examples.JOBS, JobSubmission),
        (examples.PREVIEWS, PreviewRequest),
    ],
)  # fmt: skip
def test_the_bodies_that_are_offered_are_valid(offered, spec):
    for example in offered.values():
        assert TypeAdapter(spec).validate_python(example["value"])


def test_those_bodies_stand_in_the_document(document):
    for noun in ("fits", "reports", "jobs", "previews"):
        content = document["paths"][f"/v1/{noun}"]["post"]["requestBody"]["content"]
        assert content["application/json"]["examples"]


def test_an_upload_names_its_parts(document):
    parts = document["paths"]["/v1/datasets"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert parts["required"] == ["file"]
    assert set(parts["properties"]) == {
        "expires_at", "expires_in", "file", "kind", "label_column", "labels", "metadata", "model", "name",
    }  # fmt: skip
