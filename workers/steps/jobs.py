"""The shards of a job, and what stands beside them when all are there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from latentmill.specs import Execution
from service.jobs import finalizing, shards
from service.jobs.sources import RowWork
from service.work import Claim
from workers.generation.folder import checksum_lines, dataset_card
from workers.generation.pipeline import ShardPlan, generate_shard
from workers.models import Vae
from workers.posteriors.encoding import open_encoding
from workers.posteriors.prior import declared_prior
from workers.sampling import LatentSource, open_strategy
from workers.steps.step import Check, executed_here

if TYPE_CHECKING:
    from workers.workshop import Workshop


def make_shard(shop: Workshop, claim: Claim, check: Check) -> None:
    """One range of a job's rows, as a file."""
    with shop.database.writing() as session:
        work = shards.shard_work_of(session, claim)
    shop.require_room(work.estimated_bytes)
    execution = executed_here(shop, work.execution)
    vae = shop.vae(work.model_key, work.model_digest, execution)
    with shop.scratch.folder() as folder, opened_source(shop, work, vae) as source:
        plan = plan_of(work, execution, source, first_row=work.first_row, rows=work.rows, format=work.format)
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
        shop.outcomes.settled(session, "job", work.job_id)


def plan_of(
    work: RowWork, execution: Execution, source: LatentSource, *, first_row: int, rows: int, format: str
) -> ShardPlan:
    """How these of the rows that `work` speaks of are made and held."""
    return ShardPlan(
        first_row=first_row,
        rows=rows,
        batch_rows=execution.batch_rows,
        format=format,
        include_latents=work.request.include_latents,
        output=work.request.output,
        classes=source.classes,
        seed=work.seed,
    )


@contextmanager
def opened_source(shop: Workshop, work: RowWork, vae: Vae) -> Iterator[LatentSource]:
    """The latents of all rows that `work` speaks of, for as long as the block runs."""
    with shop.optional_file(work.encoding.key if work.encoding else None) as encoding_path:
        yield open_strategy(
            work.request.strategy,
            seed=work.seed,
            rows=work.request.rows,
            manifest=work.manifest,
            density=shop.density(work.fit) if work.fit else declared_prior(work.manifest, vae.prior_parameters),
            encoding=open_encoding(encoding_path) if encoding_path else None,
            counts=work.label_counts,
        )
