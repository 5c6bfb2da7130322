"""A report: the fits are made by now; what is left is to measure the candidates and to say which to use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmill.errors import Internal
from latentmill.specs import Aggregate, Execution, Prior, Strategy
from service.jobs.sources import FitSource
from service.limits import check_room
from service.reports import operations as reports
from service.reports.sources import CandidateSource, EncodedDataset, ReportWork
from service.work import Claim
from workers.models import Vae
from workers.posteriors.density import Density
from workers.posteriors.encoding import open_encoding
from workers.posteriors.judging import judged_density
from workers.posteriors.prior import declared_prior
from workers.posteriors.tempered import tempered
from workers.reporting.candidates import Candidate
from workers.reporting.ground import Ground, ground_of
from workers.reporting.report import make_report
from workers.reporting.subject import Subject
from workers.rows import dataset_rows
from workers.steps.step import Check, executed_here, progress_of, put_hashed

if TYPE_CHECKING:
    from workers.workshop import Workshop

VERSIONS = ("latentmill", "numpy", "scipy", "scikit-learn", "torch")


def report(shop: Workshop, claim: Claim, check: Check) -> None:
    """Every candidate measured on a dataset under a model, and the one to use."""
    with shop.database.writing() as session:
        work = reports.report_work_of(session, claim)
    measured = work.executions.get(shop.device) or next(iter(work.executions.values()))
    execution = executed_here(shop, measured.execution)
    vae = shop.vae(work.model_key, work.model_digest, execution)
    prior = declared_prior(work.manifest, vae.prior_parameters)
    request = work.request
    with ExitStack() as files, shop.scratch.folder() as folder:
        subject = _subject(shop, files, vae, work.dataset)
        reference = _subject(shop, files, vae, work.reference) if work.reference is not None else None
        ground = ground_of(
            subject, reference, rows=request.rows, seed=request.seed, holdout=request.holdout, check=check
        )
        made = make_report(
            ground,
            list(_candidates(shop, files, ground, prior, work, check)),
            prior,
            rows=request.rows,
            seed=request.seed,
            settings=_settings(work, execution),
            heading={"name": work.name, "created_at": work.created_at.isoformat(timespec="seconds")},
            doubts=_doubts(work),
            batch_rows=execution.batch_rows,
            threads=shop.threads,
            check=check,
            progress=progress_of(shop, claim),
        )
        path = folder / "report.html"
        path.write_text(made.page, encoding="utf-8")
        page = put_hashed(shop, claim, "reports", path)
    with shop.publishing(page.key) as session:
        reports.commit_report(
            session,
            claim,
            content=made.content,
            page_key=page.key,
            stored_bytes=page.size_bytes,
            warnings=made.warnings,
        )
        shop.outcomes.settled(session, "report", work.report_id)
        check_room(session, claim.tenant_id, shop.settings)


def _subject(shop: Workshop, files: ExitStack, vae: Vae, dataset: EncodedDataset) -> Subject:
    """The dataset as files on this machine, for as long as `files` are open."""
    encoding = open_encoding(files.enter_context(shop.storage.as_file(dataset.encoding_key)))
    rows = None
    if dataset.kind == "rows":
        kept = np.load(files.enter_context(shop.storage.as_file(dataset.rows_key)), mmap_mode="r")
        rows = dataset_rows(kept, vae.manifest.rows, columns=dataset.columns, layout=dataset.layout)
    return Subject(vae, encoding, rows)


def _candidates(
    shop: Workshop, files: ExitStack, ground: Ground, prior: Density | None, work: ReportWork, check: Check
) -> Iterator[Candidate]:
    for source in work.candidates:
        named = partial(Candidate, source.name, source.strategy, source.family, source.by_label, source.fit_id)
        if source.error is not None:
            yield named(error=source.error)
        elif source.dataset is not None:
            around = open_encoding(files.enter_context(shop.storage.as_file(source.dataset.encoding_key)))
            yield named(around=around)
        elif source.fit_id is None:
            yield named(served=prior, judged=_at_temperature(prior, source.strategy))
        else:
            served = shop.density(_fit_source(source))
            # A reference holds rows that no fit has seen; the dataset's own held-out rows are in a gaussian's moments.
            judged = served
            if work.reference is None and source.family is not None:
                judged = judged_density(ground.subject.encoding, ground.split, source.family, served, check=check)
            yield named(served=served, judged=_at_temperature(judged, source.strategy), warnings=tuple(source.warnings))


def _at_temperature(density: Density | None, strategy: Strategy | None) -> Density | None:
    """The density of what the strategy draws, which is another one at each temperature."""
    if density is None or not isinstance(strategy, Prior | Aggregate):
        return density
    return tempered(density, strategy.temperature)


def _settings(work: ReportWork, execution: Execution) -> dict[str, Any]:
    """What a reader needs to make the report again."""
    request = work.request
    reference = "held out from the fit; the VAE may have trained on them"
    if work.reference is not None:
        reference = f"{work.reference.name or work.reference.dataset_id}, which the VAE never saw"
    return {
        "request": request.canonical(),
        "rows_asked": request.rows,
        "seed": request.seed,
        "holdout": request.holdout,
        "reference": reference,
        "model": {"id": work.model_id, "name": work.model_name or work.manifest.name, "digest": work.model_digest},
        "dataset": _named(work.dataset),
        "reference_dataset": None if work.reference is None else _named(work.reference),
        "execution": execution.canonical(),
        "versions": {name: metadata.version(name) for name in VERSIONS},
    }


def _doubts(work: ReportWork) -> list[str]:
    """The warnings of the encodings that the report rests on, each once."""
    encodings = [dataset for dataset in (work.dataset, work.reference) if dataset is not None]
    told = [warning for dataset in encodings for warning in dataset.warnings]
    return list(dict.fromkeys(told))


def _named(dataset: EncodedDataset) -> dict[str, Any]:
    return {"id": dataset.dataset_id, "name": dataset.name, "digest": dataset.digest, "rows": dataset.rows}


def _fit_source(source: CandidateSource) -> FitSource:
    if source.fit_id is None or source.family is None or source.parameters_digest is None:
        raise Internal(f"The candidate {source.name} has no fit that is ready")
    return FitSource(source.fit_id, source.family, source.parameters, source.parameters_key, source.parameters_digest)
