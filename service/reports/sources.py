"""What a worker measures for a report: the model, the rows, their encodings and the fits, as they are now."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy.orm import Session

from latentmill.errors import Gone
from latentmill.specs import Family, MeasuredExecution, Posterior, ReportRequest, Strategy, VaeManifest
from service.datasets import operations as datasets
from service.datasets.tables import DatasetRow
from service.fits import encodings
from service.fits.operations import FAMILY
from service.fits.tables import FitRow
from service.models import operations as models
from service.models.tables import ModelRow
from service.reports.candidates import PlannedCandidate
from service.reports.tables import ReportRow


@dataclass(frozen=True)
class EncodedDataset:
    """A dataset and its encoding under the report's model. Rows of the kind "latents" have no values to look at."""

    dataset_id: str
    name: str | None
    digest: str
    kind: Literal["rows", "latents"]
    rows: int
    rows_key: str
    layout: datasets.Layout | None
    columns: list[Any] | None
    labels_key: str | None
    label_classes: list[str] | None
    encoding_id: str
    encoding_key: str
    deterministic: bool
    warnings: list[str]  # of the encoding


@dataclass(frozen=True)
class CandidateSource:
    """One candidate. A fit's parameters are here, or in storage under `parameters_key`.

    `strategy` is how a job draws from it; `family` is as the fit resolved it. Where the fit failed or was refused,
    `error` says why and there are no parameters.
    """

    name: str
    strategy: Strategy | None
    family: Family | None = None
    by_label: bool = False
    fit_id: str | None = None
    parameters: bytes | None = None
    parameters_key: str | None = None
    parameters_digest: str | None = None
    diagnostics: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()  # of the fit
    dataset: EncodedDataset | None = None  # that a posterior draws around
    error: str | None = None


@dataclass(frozen=True)
class ReportWork:
    """What a worker measures."""

    report_id: str
    tenant_id: str
    name: str | None
    created_at: datetime
    request: ReportRequest
    model_id: str
    model_name: str | None
    model_key: str
    model_digest: str
    manifest: VaeManifest
    executions: dict[str, MeasuredExecution]
    dataset: EncodedDataset
    reference: EncodedDataset | None
    candidates: list[CandidateSource]


def sources_of(session: Session, row: ReportRow) -> ReportWork:
    """All that the report `row` is measured from."""
    model = session.get_one(ModelRow, row.model_id)
    if model.key is None or row.deleted_at is not None:
        raise Gone(f"{row.id}, or what it measures, was deleted.")
    return ReportWork(
        report_id=row.id,
        tenant_id=row.tenant_id,
        name=row.name,
        created_at=row.created_at,
        request=ReportRequest.model_validate(row.request),
        model_id=model.id,
        model_name=model.name,
        model_key=model.key,
        model_digest=model.digest,
        manifest=models.manifest_of(model),
        executions=models.executions_of(model),
        dataset=_encoded(session, model, row.dataset_id),
        reference=_encoded(session, model, row.reference_id) if row.reference_id is not None else None,
        candidates=[_source(session, model, PlannedCandidate.model_validate(each)) for each in row.candidates or []],
    )


def _encoded(session: Session, model: ModelRow, dataset_id: str) -> EncodedDataset:
    dataset = session.get_one(DatasetRow, dataset_id)
    encoding = encodings.of_pair(session, model, dataset)
    if dataset.rows_key is None or encoding is None or encoding.key is None:
        raise Gone(f"{dataset_id}, or its encoding, was deleted.")
    return EncodedDataset(
        dataset_id=dataset.id,
        name=dataset.name,
        digest=dataset.digest or "",
        kind="latents" if dataset.kind == "latents" else "rows",
        rows=dataset.rows or 0,
        rows_key=dataset.rows_key,
        layout=datasets.layout_of(dataset),
        columns=dataset.columns,
        labels_key=dataset.labels_key,
        label_classes=datasets.classes_of(dataset),
        encoding_id=encoding.id,
        encoding_key=encoding.key,
        deterministic=bool(encoding.deterministic),
        warnings=encoding.warnings,
    )


def _source(session: Session, model: ModelRow, planned: PlannedCandidate) -> CandidateSource:
    if planned.fit is None:
        around = planned.strategy.dataset if isinstance(planned.strategy, Posterior) else None
        return CandidateSource(
            name=planned.name,
            strategy=planned.strategy,
            family=planned.family,
            by_label=planned.by_label,
            dataset=_encoded(session, model, around) if around is not None else None,
            error=planned.error,
        )
    fit = session.get_one(FitRow, planned.fit)
    ready = fit.state == "ready" and fit.deleted_at is None
    return CandidateSource(
        name=planned.name,
        strategy=planned.strategy,
        family=FAMILY.validate_python(fit.family),
        by_label=planned.by_label,
        fit_id=fit.id,
        parameters=fit.parameters if ready else None,
        parameters_key=fit.parameters_key if ready else None,
        parameters_digest=fit.parameters_digest if ready else None,
        diagnostics=fit.diagnostics if ready else None,
        warnings=tuple(fit.warnings) if ready else (),
        # A failed fit may have been begun anew by another request since: what it failed with is known all the same.
        error=None if ready else planned.error or f"{fit.id} is {fit.state}",
    )
