"""What rows are made from: the same for a shard of a job and for a preview of a few of its rows."""

from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.orm import Session

from latentmill.errors import Gone
from latentmill.specs import Execution, Family, JobRequest, VaeManifest
from service.fits.operations import FAMILY
from service.fits.tables import EncodingRow, FitRow
from service.models import operations as models
from service.models.tables import ModelRow


@dataclass(frozen=True)
class FitSource:
    """The fit that rows are drawn from; its parameters are here, or in storage under `key`."""

    fit_id: str
    family: Family
    parameters: bytes | None
    key: str | None
    digest: str


@dataclass(frozen=True)
class EncodingSource:
    """The encoding that rows are drawn around."""

    encoding_id: str
    key: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class RowWork:
    """All that a row depends on. `request` has its seed, and `label_counts` add up to its rows."""

    tenant_id: str
    request: JobRequest
    seed: int
    execution: Execution
    model_id: str
    model_key: str
    model_digest: str
    manifest: VaeManifest
    fit: FitSource | None
    encoding: EncodingSource | None
    label_counts: dict[str, int] | None


class PlannedRows(Protocol):
    """A row of a table that says what rows are made from: of a job with a plan, or of a preview."""

    id: Any
    tenant_id: Any
    request: Any
    execution: Any
    label_counts: Any
    model_id: Any
    fit_id: Any
    encoding_id: Any


def row_work_fields(session: Session, planned: PlannedRows) -> dict[str, Any]:
    """The fields of `RowWork`. Raises Gone when the model, the fit or the encoding was deleted meanwhile."""
    request = JobRequest.model_validate(planned.request)
    model = session.get_one(ModelRow, planned.model_id)
    if model.key is None:
        raise Gone(f"{model.id} was deleted.")
    if request.seed is None:
        raise ValueError(f"{planned.id} has no seed")
    return {
        "tenant_id": planned.tenant_id,
        "request": request,
        "seed": request.seed,
        "execution": Execution.model_validate(planned.execution),
        "model_id": model.id,
        "model_key": model.key,
        "model_digest": model.digest,
        "manifest": models.manifest_of(model),
        "fit": _fit_source(session, planned.fit_id),
        "encoding": _encoding_source(session, planned.encoding_id),
        "label_counts": dict(planned.label_counts) if planned.label_counts is not None else None,
    }


def _fit_source(session: Session, fit_id: str | None) -> FitSource | None:
    if fit_id is None:
        return None
    fit = session.get_one(FitRow, fit_id)
    if fit.deleted_at is not None or fit.parameters_digest is None:
        raise Gone(f"{fit.id} was deleted.")
    family = FAMILY.validate_python(fit.family)
    return FitSource(fit.id, family, fit.parameters, fit.parameters_key, fit.parameters_digest)


def _encoding_source(session: Session, encoding_id: str | None) -> EncodingSource | None:
    if encoding_id is None:
        return None
    encoding = session.get_one(EncodingRow, encoding_id)
    if encoding.key is None:
        raise Gone(f"{encoding.id} was deleted.")
    return EncodingSource(encoding.id, encoding.key, encoding.rows or 0)
