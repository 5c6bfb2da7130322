"""A few rows that somebody waits for, as the body of the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from latentmill.specs import Execution, ImageRows
from service.previews import operations as previews
from service.previews.stored import StoredWork
from service.work import Claim
from workers.generation.preview import preview_rows
from workers.rows import codec
from workers.rows.pictures import picture_grid
from workers.shards import ShardSchema
from workers.shards.plain import plain_rows
from workers.shards.reading import stored_rows
from workers.steps.jobs import opened_source, plan_of
from workers.steps.step import Check, executed_here

if TYPE_CHECKING:
    from workers.workshop import Workshop

PNG = "image/png"
STORED_NOWHERE = "none"  # the format of rows that no file holds


def show_preview(shop: Workshop, claim: Claim, check: Check) -> None:
    """Rows of a strategy, the very rows of a job, or rows that are stored already."""
    with shop.database.writing() as session:
        work = previews.preview_work_of(session, claim)
    content = _stored(shop, work, check) if isinstance(work, StoredWork) else _decoded(shop, work, check)
    with shop.database.writing() as session:
        previews.commit_preview(session, claim, content=content)


def _decoded(shop: Workshop, work: previews.PreviewWork, check: Check) -> bytes:
    execution = executed_here(shop, _execution_for(shop, work))
    vae = shop.vae(work.model_key, work.model_digest, execution)
    first, last = min(work.indices), max(work.indices)
    with opened_source(shop, work, vae) as source:
        plan = plan_of(work, execution, source, first_row=first, rows=last - first + 1, format=STORED_NOWHERE)
        schema, batch = preview_rows(vae, source, plan, work.indices, check=check)
    rows = work.manifest.rows
    if work.media_type == PNG and isinstance(rows, ImageRows):
        return picture_grid(batch.rows.values["rows"], rows)
    return _json(
        {
            "object": "preview",
            "model": work.model_id,
            "job": work.job_id,
            "strategy": work.request.strategy.canonical(),
            "seed": work.seed,
            "output": work.request.output,
            "indices": work.indices,
            "row_kind": rows.kind,
            "dtype": None if schema.is_table else schema.rows[0].dtype.name,
            **plain_rows(schema, batch),
            "execution": execution.canonical(),
            "warnings": _warnings(work, execution),
        }
    )


def _stored(shop: Workshop, work: StoredWork, check: Check) -> bytes:
    schema = ShardSchema.of(codec(work.manifest.rows).fields)
    shown: dict[str, Any] = {"rows": [], "labels": None, "latents": None}
    for part in work.parts:
        check()
        with shop.storage.as_file(part.key) as path:
            read = stored_rows(work.format, path, schema, part.first, part.stop)
        # A shard has labels and latents where all shards of its job have them.
        shown = {name: (shown[name] or []) + values if values is not None else None for name, values in read.items()}
    kind = {"row_kind": work.manifest.rows.kind, "dtype": None if schema.is_table else schema.rows[0].dtype.name}
    return _json(
        {"object": "rows", "job": work.job_id, "first": work.first, "count": len(shown["rows"]), **kind, **shown}
    )


def _execution_for(shop: Workshop, work: previews.PreviewWork) -> Execution:
    """A job's own, whose batches its rows lie in; otherwise what was measured for the device of this worker."""
    measured = work.executions.get(shop.device)
    if work.job_id is not None or work.execution.device == shop.device or measured is None:
        return work.execution
    return measured.execution


def _warnings(work: previews.PreviewWork, execution: Execution) -> list[str]:
    if not work.job_executions or execution.canonical() in work.job_executions:
        return []
    return [
        f"These rows were decoded under another execution ({execution.device_name}) than the job's shards: values may "
        f"differ in their last bits. GET /v1/jobs/{work.job_id}/rows shows those that are stored."
    ]


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
