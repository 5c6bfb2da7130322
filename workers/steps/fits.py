"""The posteriors of a dataset, and a density fitted to them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save as save_tensors
from safetensors.numpy import save_file as save_tensor_file

from service.fits import encodings
from service.fits import operations as fits
from service.limits import check_room
from service.work import Claim
from workers.diagnostics.heads import head_warnings
from workers.diagnostics.overlap import overlap_warnings
from workers.generation.encoding import copy_latents, encode_dataset
from workers.models import open_bundle
from workers.models.prior import Parameters
from workers.posteriors.encoding import encoding_bytes, open_encoding
from workers.posteriors.fit import fit_posterior
from workers.posteriors.learning import Parameters as FitParameters
from workers.posteriors.prior import declared_prior
from workers.rows import dataset_rows
from workers.steps.step import Check, StoredFile, executed_here, progress_of, put_hashed

if TYPE_CHECKING:
    from workers.workshop import Workshop


SMALL_PARAMETERS_BYTES = 16 * 1024**2  # up to here a fit's parameters live in the database


def encode(shop: Workshop, claim: Claim, check: Check) -> None:
    """The posteriors of a dataset's rows under a model."""
    with shop.database.writing() as session:
        work = encodings.encoding_work_of(session, claim)
    shop.require_room(encoding_bytes(work.rows, work.manifest.latent.size))
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
                dataset_rows(rows, work.manifest.rows, columns=work.columns, layout=work.layout),
                labels,
                out_path,
                classes=classes,
                batch_rows=execution.batch_rows,
                head_test=head_warnings,
                check=check,
                progress=progress_of(shop, claim),
            )
        warnings = [*summary.warnings]
        if work.dataset_kind == "rows":
            warnings += overlap_warnings(rows, work.manifest.rows)
        file = put_hashed(shop, claim, "encodings", out_path)
    with shop.publishing(file.key) as session:
        encodings.commit_encoding(
            session,
            claim,
            key=file.key,
            stored_bytes=file.size_bytes,
            rows=summary.rows,
            deterministic=summary.deterministic,
            warnings=warnings,
            execution=execution if work.dataset_kind == "rows" else None,
        )
        shop.outcomes.settled(session, "encoding", work.encoding_id)
        check_room(session, claim.tenant_id, shop.settings)


def fit(shop: Workshop, claim: Claim, check: Check) -> None:
    """A density fitted to an encoding."""
    with shop.database.writing() as session:
        work = fits.fit_work_of(session, claim)
    prior = declared_prior(work.manifest, learned_prior(shop, work))
    with shop.storage.as_file(work.encoding_key) as path:
        fitted = fit_posterior(
            open_encoding(path), work.request, prior,
            conditional=work.manifest.labels is not None, progress=progress_of(shop, claim), check=check,
        )  # fmt: skip
    parameters, file, digest = _kept_parameters(shop, claim, fitted.parameters)
    with shop.publishing(*([file.key] if file else [])) as session:
        fits.commit_fit(
            session,
            claim,
            family=fitted.family,
            parameters=parameters,
            parameters_key=file.key if file else None,
            stored_bytes=file.size_bytes if file else len(parameters or b""),
            parameters_digest=digest,
            diagnostics=fitted.diagnostics,
            warnings=[*work.warnings, *fitted.warnings],
        )
        shop.outcomes.settled(session, "fit", work.fit_id)
        check_room(session, claim.tenant_id, shop.settings)


def _kept_parameters(
    shop: Workshop, claim: Claim, parameters: FitParameters
) -> tuple[bytes | None, StoredFile | None, str]:
    """The bytes to keep in the database, or the file where they are stored; and their sha256."""
    size_bytes = sum(array.nbytes for array in parameters.values())
    if size_bytes <= SMALL_PARAMETERS_BYTES:
        small = save_tensors(parameters)
        return small, None, hashlib.sha256(small).hexdigest()
    shop.require_room(size_bytes)
    with shop.scratch.folder() as folder:
        path = folder / "parameters.safetensors"
        save_tensor_file(parameters, path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return None, put_hashed(shop, claim, "fits", path), digest


def learned_prior(shop: Workshop, work: fits.FitWork) -> Parameters:
    """The parameters of a mixture that the bundle brings; any other prior needs no look into the bundle."""
    if work.manifest.prior.kind != "mixture":
        return {}
    with shop.storage.as_file(work.model_key) as path:
        return open_bundle(path, limits=shop.bundle_limits, sha256=work.model_digest).prior
