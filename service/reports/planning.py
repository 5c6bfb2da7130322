"""From the candidates of a report to what is measured: each with a name, and each family with its fit."""

from sqlalchemy.orm import Session

from latentmill.errors import FieldError, InvalidRequest, LatentmillError, NotYet
from latentmill.specs import Aggregate, FitRequest, FittedCandidate, Prior, ReportRequest
from latentmill.specs.candidates import fitted_of
from service.datasets.tables import DatasetRow
from service.fits import operations as fits
from service.fits.tables import FitRow
from service.models import operations as models
from service.models.tables import ModelRow
from service.reports.candidates import (
    PlannedCandidate,
    candidates_of,
    check_labels,
    check_prior,
    check_reference,
    name_of,
)


def plan(
    session: Session, tenant_id: str, request: ReportRequest, model: ModelRow, dataset: DatasetRow
) -> list[PlannedCandidate]:
    """The candidates of a request with ids, whose model and dataset are ready. Fits that do not exist yet are begun.

    A family that the user named and that cannot be fitted is an error; one of the default is a candidate without fit.
    """
    manifest = models.manifest_of(model)
    # One that is still read has no labels yet; the worker looks again.
    check_reference(manifest, dataset, session.get(DatasetRow, request.reference) if request.reference else None)
    planned: list[PlannedCandidate] = []
    for candidate, pointer in candidates_of(request, manifest, dataset):
        if isinstance(candidate, Prior):
            check_prior(manifest, model.id, pointer or "")
        named_fit = session.get_one(FitRow, candidate.fit) if isinstance(candidate, Aggregate) else None
        name = name_of(candidate, named_fit, [each.name for each in planned])
        fitted = fitted_of(candidate)
        if fitted is None:
            part = _shown(named_fit) if named_fit is not None else {}
            planned.append(PlannedCandidate(name=name, strategy=candidate, **part))
            continue
        part = {"family": fitted.family, "by_label": fitted.by_label}
        try:
            made = _fit_of(session, tenant_id, request, dataset, fitted)
        except (InvalidRequest, NotYet) as error:
            if pointer is not None:
                raise _placed(error, pointer, wrapped=candidate is fitted) from error
            planned.append(PlannedCandidate(name=name, strategy=None, error=error.detail, **part))
        else:
            planned.append(PlannedCandidate(name=name, strategy=Aggregate(fit=made.id), fit=made.id, **part))
    return planned


def _shown(fit: FitRow) -> dict[str, object]:
    return {"fit": fit.id, "family": fits.FAMILY.validate_python(fit.family), "by_label": fit.request["by_label"]}


def _fit_of(
    session: Session, tenant_id: str, request: ReportRequest, dataset: DatasetRow, fitted: FittedCandidate
) -> FitRow:
    """An ordinary fit with the report's seed and holdout, so that all candidates share one split.

    The same request gives the same fit; one that failed is tried again, as it would be for anybody who asks for it.
    """
    if fitted.by_label:
        check_labels(dataset, "/by_label")
    asked = FitRequest(
        model=request.model,
        dataset=request.dataset,
        family=fitted.family,
        by_label=fitted.by_label,
        holdout=request.holdout,
        seed=request.seed,
    )
    return fits.create(session, tenant_id, asked)[0]


def _placed(error: LatentmillError, pointer: str, *, wrapped: bool) -> LatentmillError:
    """The error of a fit's request, as one of the candidate at `pointer`."""
    places = [each.pointer if wrapped else each.pointer.removeprefix("/family") for each in error.errors] or [""]
    return type(error)(error.detail, errors=[FieldError(pointer=pointer + at, message=error.detail) for at in places])
