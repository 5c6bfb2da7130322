"""From what a user names in a report's request to ids, and whether it goes together."""

from collections.abc import Callable

from sqlalchemy.orm import Session

from latentmill.errors import ModelMismatch
from latentmill.specs import Aggregate, Candidate, Posterior, ReportRequest
from service.datasets.tables import DatasetRow
from service.fits import encodings
from service.fits.tables import FitRow
from service.models.tables import ModelRow
from service.reports.candidates import check_fit
from service.resources import find_needed


def name_datasets(
    session: Session, tenant_id: str, request: ReportRequest
) -> tuple[ReportRequest, ModelRow, list[DatasetRow]]:
    """The request with the ids of its model and its datasets, and their rows, each ready or on its way to it."""
    model = find_needed(session, ModelRow, tenant_id, request.model, pointer="/model", lock=True)
    found: dict[str, DatasetRow] = {}

    def id_of(reference: str, pointer: str) -> str:
        row = find_needed(session, DatasetRow, tenant_id, reference, pointer=pointer, lock=True)
        encodings.check_pair(model, row, pointer)
        found[row.id] = row
        return row.id

    dataset = id_of(request.dataset, "/dataset")
    reference = id_of(request.reference, "/reference") if request.reference is not None else None
    if reference == dataset:
        raise ModelMismatch(
            "The reference is the dataset itself; name one that the VAE never saw, or leave reference out",
            pointer="/reference",
        )

    def with_id(candidate: Candidate, pointer: str) -> Candidate:
        if not isinstance(candidate, Posterior):
            return candidate
        return candidate.model_copy(update={"dataset": id_of(candidate.dataset, f"{pointer}/dataset")})

    update = {"model": model.id, "dataset": dataset, "reference": reference, "candidates": _each(request, with_id)}
    return request.model_copy(update=update), model, list(found.values())


def name_fits(session: Session, tenant_id: str, request: ReportRequest) -> tuple[ReportRequest, list[FitRow]]:
    """The request with the ids of the fits that its candidates name, and their rows."""
    found: dict[str, FitRow] = {}

    def with_id(candidate: Candidate, pointer: str) -> Candidate:
        if not isinstance(candidate, Aggregate):
            return candidate
        pointer += "/fit"
        row = find_needed(session, FitRow, tenant_id, candidate.fit, pointer=pointer, lock=True)
        check_fit(row, request, pointer)
        found[row.id] = row
        return candidate.model_copy(update={"fit": row.id})

    return request.model_copy(update={"candidates": _each(request, with_id)}), list(found.values())


def _each(request: ReportRequest, change: Callable[[Candidate, str], Candidate]) -> object:
    if request.candidates == "default":
        return "default"
    return tuple(change(candidate, f"/candidates/{place}") for place, candidate in enumerate(request.candidates))
