"""The parsing itself, within the confined process."""

import errno
import os
import traceback

from latentmill.errors import LatentmillError, OutOfMemory
from workers.readers import ReadLimits, read_dataset
from workers.sandbox.endings import Exit, unexpected
from workers.sandbox.requests import InspectedBundle, InspectRequest, ReadDataset, ReadRequest, Refused, Request


def answer_to(request: Request) -> str:
    """What the upload is, or why it cannot be used, as JSON. Leaves the process where a bound is reached."""
    try:
        answer = _inspected(request) if isinstance(request, InspectRequest) else _read(request)
        return answer.model_dump_json()
    except BaseException as error:
        _leave_if_bound_reached(error)
        if isinstance(error, LatentmillError):
            return Refused(problem=error.problem()).model_dump_json()
        traceback.print_exc()
        return Refused(problem=unexpected(request, error).problem()).model_dump_json()


def _read(request: ReadRequest) -> ReadDataset:
    content = read_dataset(
        request.path,
        request.filename,
        kind=request.dataset_kind,
        label_column=request.label_column,
        labels_path=request.labels_path,
        labels_filename=request.labels_filename,
        table=request.table,
        out_dir=request.folder,
        limits=ReadLimits(**request.limits),
    )
    return ReadDataset(
        rows=content.rows,
        row_shape=content.row_shape,
        dtype=content.dtype,
        labels=content.labels,
        digest=content.digest,
        columns=content.columns,
        layout=content.layout,
        warnings=content.warnings,
        stacked=request.dataset_kind == "latents",
    )


def _inspected(request: InspectRequest) -> InspectedBundle:
    from workers.models.inspection import try_bundle
    from workers.models.limits import BundleLimits

    limits = BundleLimits(**request.limits)
    found = try_bundle(request.path, devices=["cpu"], threads=request.threads, limits=limits, sha256=request.sha256)
    return InspectedBundle(manifest=found.manifest, measured=found.executions.get("cpu"), warnings=found.warnings)


def _leave_if_bound_reached(error: BaseException) -> None:
    """With as little as possible: there may be no memory left to say more."""
    for each in (error, error.__cause__):
        if isinstance(each, OSError) and each.errno == errno.EFBIG:
            os._exit(Exit.FILE)
        if _is_out_of_memory(each):
            os._exit(Exit.MEMORY)


def _is_out_of_memory(error: BaseException | None) -> bool:
    # Arrow's is a MemoryError; those of torch, on the CPU, and of onnxruntime have no type of their own.
    if isinstance(error, MemoryError | OutOfMemory):
        return True
    said = ("can't allocate memory", "bad_alloc", "Failed to allocate memory")
    return isinstance(error, RuntimeError) and any(words in str(error) for words in said)
