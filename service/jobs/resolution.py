"""From what a user asks for to what is meant: ids in place of names, every choice made or refused."""

from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from latentmill.errors import InvalidLabels, InvalidRequest, LimitExceeded, ModelMismatch, NotYet
from latentmill.specs import Aggregate, Auto, Interpolate, JobRequest, Posterior, Prior, Strategy
from latentmill.specs.labels import named_classes
from service.datasets import operations as datasets
from service.datasets.tables import DatasetRow
from service.fits import encodings
from service.fits.tables import EncodingRow, FitRow
from service.jobs.labels import label_plan
from service.models import operations as models
from service.models.tables import ModelRow
from service.reports import operations as reports
from service.reports.tables import ReportRow
from service.resources import find_needed
from service.settings import TenantLimits

FORMATS = frozenset({"npz", "parquet"})


@dataclass(frozen=True)
class Resolved:
    """A request with ids in place of names, and the rows of what it names."""

    request: JobRequest
    model: ModelRow
    fit: FitRow | None = None
    dataset: DatasetRow | None = None
    encoding: EncodingRow | None = None
    report: ReportRow | None = None  # that chose the strategy

    def waiting_for(self) -> list[str]:
        """The ids of what is not ready."""
        needed = (self.model, self.fit, self.dataset, self.encoding)
        waiting = [row.id for row in needed if row is not None and row.state != "ready"]
        # An encoding that nobody has needed yet is made when the job is submitted.
        return waiting or ([f"an encoding of {self.dataset.id}"] if self.dataset and not self.encoding else [])


def resolve(session: Session, tenant_id: str, request: JobRequest, limits: TenantLimits, *, lock: bool) -> Resolved:
    """What `request` names, each ready or on its way to it. With `lock` it stays so until the transaction ends."""
    _refuse_what_is_to_come(request)
    if request.rows > limits.rows_per_job:
        raise LimitExceeded(
            f"{request.rows:,} rows; a job may have {limits.rows_per_job:,} (rows_per_job): ask for several jobs, each "
            "with its seed",
            pointer="/rows",
        )
    _check_path(request)
    model = find_needed(session, ModelRow, tenant_id, request.model, pointer="/model", lock=lock)
    request = request.model_copy(update={"model": model.id})
    report = None
    if isinstance(request.strategy, Auto):
        report, recommended = _recommended(session, tenant_id, request.strategy, model, lock=lock)
        request = _with(request, recommended)
    strategy = request.strategy
    if isinstance(strategy, Aggregate):
        fit = find_needed(session, FitRow, tenant_id, strategy.fit, pointer="/strategy/fit", lock=lock)
        if fit.model_id != model.id:
            raise ModelMismatch(
                f"{fit.id} is a fit of {fit.model_id}, not of {model.id}: name a fit of this model",
                pointer="/strategy/fit",
            )
        resolved = Resolved(_with(request, strategy.model_copy(update={"fit": fit.id})), model, fit=fit)
    elif isinstance(strategy, Posterior | Interpolate):
        pointer = "/strategy/dataset"
        dataset = find_needed(session, DatasetRow, tenant_id, strategy.dataset, pointer=pointer, lock=lock)
        encodings.check_pair(model, dataset, pointer)
        encoding = encodings.of_pair(session, model, dataset)
        resolved = Resolved(
            _with(request, strategy.model_copy(update={"dataset": dataset.id})),
            model, dataset=dataset, encoding=encoding,
        )  # fmt: skip
    else:
        resolved = Resolved(request, model)
    check(resolved)
    return replace(resolved, report=report)


def check(resolved: Resolved) -> None:
    """Raises what is wrong with the request, as far as the things that it names are ready."""
    strategy = resolved.request.strategy
    if resolved.model.state == "ready":
        manifest = models.manifest_of(resolved.model)
        if isinstance(strategy, Prior) and manifest.prior.kind == "none":
            raise ModelMismatch(
                f"{resolved.model.id} declares no prior, so there is nothing to draw from: fit a dataset and use the "
                "strategy aggregate",
                pointer="/strategy/kind",
            )
        if resolved.request.output == "sample" and (reason := manifest.why_not_sampled()):
            raise ModelMismatch(reason, pointer="/output")
        label_plan(resolved.request, manifest, resolved.fit, resolved.dataset)
    if resolved.dataset is not None and resolved.dataset.state == "ready":
        if isinstance(strategy, Posterior):
            _check_selection(strategy, resolved.dataset)
        elif isinstance(strategy, Interpolate):
            _check_pairs(strategy, resolved.dataset)


def _recommended(
    session: Session, tenant_id: str, auto: Auto, model: ModelRow, *, lock: bool
) -> tuple[ReportRow, Strategy]:
    """The strategy of the newest ready report, with the labels that were asked for."""
    dataset = find_needed(session, DatasetRow, tenant_id, auto.dataset, pointer="/strategy/dataset", lock=lock)
    report, strategy = reports.recommended(session, model, dataset)
    return report, strategy if auto.labels is None else strategy.model_copy(update={"labels": auto.labels})


def _check_selection(strategy: Posterior, dataset: DatasetRow) -> None:
    pointer = "/strategy/select"
    select = strategy.select
    if select == "all":
        return
    if hasattr(select, "rows"):
        rows = dataset.rows or 0
        for position, row in enumerate(select.rows):
            if row >= rows:
                raise InvalidRequest(
                    f"{dataset.id} has {rows:,} rows, counted from 0; there is no row {row:,}",
                    pointer=f"{pointer}/rows/{position}",
                )
    elif hasattr(select, "label"):
        classes = datasets.classes_of(dataset)
        if classes is None or select.label not in classes:
            known = f"it has {named_classes(classes)}" if classes else "it has no labels at all"
            raise InvalidLabels(f"{dataset.id} has no label {select.label!r}; {known}", pointer=f"{pointer}/label")


def _check_path(request: JobRequest) -> None:
    strategy = request.strategy
    if isinstance(strategy, Interpolate) and request.rows != strategy.rows:
        raise InvalidRequest(
            f"{len(strategy.pairs):,} pairs of {strategy.steps:,} steps are {strategy.rows:,} rows, both ends "
            f"included: rows must be {strategy.rows}, not {request.rows}",
            pointer="/rows",
        )


def _check_pairs(strategy: Interpolate, dataset: DatasetRow) -> None:
    rows = dataset.rows or 0
    for position, pair in enumerate(strategy.pairs):
        for end, row in enumerate(pair):
            if row >= rows:
                raise InvalidRequest(
                    f"{dataset.id} has {rows:,} rows, counted from 0; there is no row {row:,}",
                    pointer=f"/strategy/pairs/{position}/{end}",
                )


def _with(request: JobRequest, strategy: Strategy) -> JobRequest:
    return request.model_copy(update={"strategy": strategy})


def _refuse_what_is_to_come(request: JobRequest) -> None:
    if request.format is not None and request.format not in FORMATS:
        raise NotYet(
            f"The format {request.format!r} is not part of this release; take npz or parquet.", pointer="/format"
        )
