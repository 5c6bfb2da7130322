"""The steps of the mill, one for each kind of work item: look up, call a folder below, put the files, commit."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from threadpoolctl import threadpool_limits

from latentmill.specs import Execution
from service.datasets import operations as datasets
from service.fits import encodings
from service.fits import operations as fits
from service.jobs import finalizing, shards
from service.models import operations as models
from service.work import Claim
from workers.devices import DeviceKind, device_name, execution_versions, pin_execution
from workers.diagnostics.heads import head_warnings
from workers.generation.encoding import copy_latents, encode_dataset
from workers.generation.folder import checksum_lines, dataset_card
from workers.generation.pipeline import ShardPlan, generate_shard
from workers.models import open_bundle
from workers.models.inspection import inspect_bundle
from workers.models.prior import Parameters
from workers.posteriors.density import Density
from workers.posteriors.encoding import open_encoding
from workers.posteriors.fit import density_of, fit_posterior
from workers.posteriors.prior import declared_prior
from workers.readers import ReadLimits, read_dataset
from workers.sampling import open_strategy

if TYPE_CHECKING:
    from workers.workshop import Workshop

Check = Callable[[], None]

SMALL_PARAMETERS_BYTES = 16 * 1024**2  # up to here a fit's parameters live in the database
PROGRESS_SECONDS = 1.0


def inspect_model(shop: Workshop, claim: Claim, check: Check) -> None:
    """An uploaded bundle: can it be opened and run, and how fast on the devices that are here?"""
    with shop.database.writing() as session:
        work = models.inspection_of(session, claim)
    with shop.storage.as_file(work.key) as path:
        devices: list[DeviceKind] = ["cpu"] if shop.device == "cpu" else ["cpu", shop.device]
        inspection = inspect_bundle(path, devices=devices, threads=shop.threads, limits=shop.bundle_limits)
    check()
    with shop.database.writing() as session:
        models.commit_inspection(
            session,
            claim,
            manifest=inspection.manifest,
            executions=inspection.executions,
            warnings=inspection.warnings,
        )
        shop.outcomes.settled(session, "model", work.model_id)


def read_upload(shop: Workshop, claim: Claim, check: Check) -> None:
    """An uploaded file becomes rows that can be mapped into memory."""
    with shop.database.writing() as session:
        work = datasets.reading_of(session, claim)
    limits = ReadLimits(
        rows=shop.settings.limits.rows_per_dataset, decompressed_bytes=shop.settings.limits.decompressed_bytes
    )
    with (
        shop.scratch.folder() as folder,
        shop.storage.as_file(work.key) as path,
        shop.optional_file(work.labels_key) as labels_path,
    ):
        content = read_dataset(
            path,
            work.filename,
            kind=work.kind,
            label_column=work.label_column,
            labels_path=labels_path,
            labels_filename=work.labels_filename,
            out_dir=folder,
            limits=limits,
        )
        check()
        rows_key = put_hashed(shop, claim, "datasets", content.rows_path)
        labels_key = put_hashed(shop, claim, "datasets", content.labels_path) if content.labels_path else None
    with shop.publishing(*filter(None, (rows_key, labels_key))) as session:
        uploads = datasets.commit_reading(
            session,
            claim,
            rows=content.rows,
            row_shape=content.row_shape,
            dtype=content.dtype,
            labels=content.labels,
            digest=content.digest,
            columns=content.columns,
            rows_key=rows_key,
            labels_key=labels_key,
        )
        shop.outcomes.delete_files(session, uploads)
        shop.outcomes.settled(session, "dataset", work.dataset_id)


def encode(shop: Workshop, claim: Claim, check: Check) -> None:
    """The posteriors of a dataset's rows under a model."""
    with shop.database.writing() as session:
        work = encodings.encoding_work_of(session, claim)
    measured = work.executions.get(shop.device) or next(iter(work.executions.values()))
    execution = executed_here(shop, measured.execution)
    classes = tuple(work.label_classes) if work.label_classes is not None else None
    with (
        shop.scratch.folder() as folder,
        shop.storage.as_file(work.rows_key) as rows_path,
        shop.optional_file(work.labels_key) as labels_path,
    ):
        rows = np.load(rows_path, mmap_mode="r")
        labels = np.load(labels_path, mmap_mode="r") if labels_path else None
        out_path = folder / "encoding.safetensors"
        if work.dataset_kind == "latents":
            size = work.manifest.latent.size
            summary = copy_latents(rows, labels, out_path, classes=classes, latent_size=size, check=check)
        else:
            summary = encode_dataset(
                shop.vae(work.model_key, work.model_digest, execution),
                rows,
                labels,
                out_path,
                classes=classes,
                batch_rows=execution.batch_rows,
                head_test=head_warnings,
                check=check,
                progress=progress_of(shop, claim),
            )
        key = put_hashed(shop, claim, "encodings", out_path)
    with shop.publishing(key) as session:
        encodings.commit_encoding(
            session,
            claim,
            key=key,
            rows=summary.rows,
            deterministic=summary.deterministic,
            warnings=summary.warnings,
            execution=execution if work.dataset_kind == "rows" else None,
        )
        shop.outcomes.settled(session, "encoding", work.encoding_id)


def fit(shop: Workshop, claim: Claim, check: Check) -> None:
    """A density fitted to an encoding."""
    with shop.database.writing() as session:
        work = fits.fit_work_of(session, claim)
    prior = declared_prior(work.manifest, learned_prior(shop, work))
    # One BLAS thread: a fit's bits must not depend on the number of cores.
    with shop.storage.as_file(work.encoding_key) as path, threadpool_limits(1):
        fitted = fit_posterior(open_encoding(path), work.request, prior, progress=progress_of(shop, claim), check=check)
    parameters = save_tensors(fitted.parameters)
    key = None
    if len(parameters) > SMALL_PARAMETERS_BYTES:
        with shop.scratch.folder() as folder:
            path = folder / "parameters.safetensors"
            path.write_bytes(parameters)
            key = put_hashed(shop, claim, "fits", path)
    with shop.publishing(*([key] if key else [])) as session:
        fits.commit_fit(
            session,
            claim,
            family=fitted.family,
            parameters=None if key else parameters,
            parameters_key=key,
            parameters_digest=hashlib.sha256(parameters).hexdigest(),
            diagnostics=fitted.diagnostics,
            warnings=[*work.warnings, *fitted.warnings],
        )
        shop.outcomes.settled(session, "fit", work.fit_id)


def make_shard(shop: Workshop, claim: Claim, check: Check) -> None:
    """One range of a job's rows, as a file."""
    with shop.database.writing() as session:
        work = shards.shard_work_of(session, claim)
    execution = executed_here(shop, work.execution)
    vae = shop.vae(work.model_key, work.model_digest, execution)
    prior = declared_prior(work.manifest, vae.prior_parameters)
    encoding_key = work.encoding.key if work.encoding else None
    with shop.scratch.folder() as folder, shop.optional_file(encoding_key) as encoding_path:
        source = open_strategy(
            work.request.strategy,
            seed=work.seed,
            rows=work.request.rows,
            manifest=work.manifest,
            density=fitted_density(shop, work.fit) if work.fit else prior,
            encoding=open_encoding(encoding_path) if encoding_path else None,
            counts=work.label_counts,
        )
        plan = ShardPlan(
            first_row=work.first_row,
            rows=work.rows,
            batch_rows=execution.batch_rows,
            format=work.format,
            include_latents=work.request.include_latents,
            output=work.request.output,
            classes=work.manifest.labels.classes if work.manifest.labels else None,
        )
        path = folder / work.name
        written = generate_shard(vae, source, plan, path, check=check)
        key = f"{claim.tenant_id}/jobs/{work.job_id}/{work.index}-{claim.fence}-{written.sha256}"
        shop.storage.put(key, path)
    with shop.publishing(key) as session:
        shards.commit_shard(
            session,
            claim,
            key=key,
            name=work.name,
            bytes=written.size_bytes,
            sha256=written.sha256,
            execution=execution,
            rows=written.rows,
        )


def finalize(shop: Workshop, claim: Claim, check: Check) -> None:
    """The manifest, the checksums and the card of a job whose shards are all committed."""
    with shop.database.writing() as session:
        work = finalizing.finalization_of(session, claim)
    texts = {"manifest.json": json.dumps(work.manifest, indent=1, ensure_ascii=False).encode()}
    texts["README.md"] = dataset_card(work.manifest, name=work.name, description=work.model_description).encode()
    texts["SHA256SUMS"] = checksum_lines(work.manifest, texts).encode()
    check()
    files = []
    for name, text in texts.items():
        sha256 = hashlib.sha256(text).hexdigest()
        key = f"{work.folder}/{name}-{claim.fence}-{sha256}"
        shop.storage.put_bytes(key, text)
        files.append(finalizing.StoredText(name, key, len(text), sha256))
    with shop.publishing(*(file.key for file in files)) as session:
        finalizing.commit_finalize(session, claim, files=files)


STEPS: dict[str, Callable[[Workshop, Claim, Check], None]] = {
    "inspect": inspect_model,
    "read": read_upload,
    "encode": encode,
    "fit": fit,
    "shard": make_shard,
    "finalize": finalize,
}


def executed_here(shop: Workshop, execution: Execution) -> Execution:
    """The execution as it is on this machine, and this process set to it."""
    from_here = {"device": shop.device, "device_name": device_name(shop.device)}
    here = execution.model_copy(update={**from_here, "versions": execution_versions(shop.device)})
    pin_execution(here)
    return here


def learned_prior(shop: Workshop, work: fits.FitWork) -> Parameters:
    """The parameters of a mixture that the bundle brings; any other prior needs no look into the bundle."""
    if work.manifest.prior.kind != "mixture":
        return {}
    with shop.storage.as_file(work.model_key) as path:
        return open_bundle(path, limits=shop.bundle_limits).prior


def fitted_density(shop: Workshop, source: shards.FitSource) -> Density:
    """The density of a fit, from the database or from storage."""
    parameters = source.parameters if source.parameters is not None else b"".join(shop.storage.read(source.key or ""))
    return density_of(source.family, load_tensors(parameters))


def put_hashed(shop: Workshop, claim: Claim, folder: str, path: Path) -> str:
    """Store the file at `path` under a key that no other attempt can have; that key."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    key = f"{claim.tenant_id}/{folder}/{claim.subject_id}/{path.stem}-{claim.fence}-{sha256}"
    shop.storage.put(key, path)
    return key


def progress_of(shop: Workshop, claim: Claim) -> Callable[[float], None]:
    """Records how far the claim is, about once a second."""
    said_at = time.monotonic()

    def report(fraction: float) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= PROGRESS_SECONDS:
            said_at = time.monotonic()
            with shop.database.writing() as session:
                fits.report_progress(session, claim, fraction)

    return report
