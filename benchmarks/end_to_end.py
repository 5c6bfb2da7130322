"""Rows per second of a job, from POST to `succeeded`, beside a bare loop of the same decoder over the same latents."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from latentmill import Client
from latentmill.specs import Execution, Prior
from workers.devices import pin_execution
from workers.models import load_vae, open_bundle
from workers.posteriors.prior import declared_prior
from workers.sampling import open_strategy


@dataclass(frozen=True)
class Throughput:
    """Rows per second of the service and of the bare loop."""

    name: str
    rows: int
    service: float
    bare_loop: float

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.rows:,} rows end to end {self.service:,.0f} rows/s, bare decode loop "
            f"{self.bare_loop:,.0f} rows/s, ratio {self.service / self.bare_loop:.2f}"
        )


def measure_throughput(client: Client, bundle: Path, *, rows: int, seed: int = 3) -> Throughput:
    """A prior job of `rows` rows, and the loop that a notebook would hold: latents made before, rows kept nowhere."""
    model = client.models.add(bundle).wait()
    client.jobs.create(model, strategy={"kind": "prior"}, rows=10_000, seed=seed).wait()  # the worker loads the model
    started = time.perf_counter()
    job = client.jobs.create(model, strategy={"kind": "prior"}, rows=rows, seed=seed).wait()
    seconds = time.perf_counter() - started
    execution = Execution.model_validate(job.manifest()["executions"][0])
    return Throughput(bundle.name, rows, rows / seconds, rows / bare_loop_seconds(bundle, execution, rows, seed))


@torch.inference_mode()
def bare_loop_seconds(bundle: Path, execution: Execution, rows: int, seed: int) -> float:
    """Seconds to decode the job's latents batch by batch, with its threads and batch rows, and do nothing with them."""
    pin_execution(execution)
    opened = open_bundle(bundle)
    vae = load_vae(opened, device=execution.device, execution=execution, inspected=True)
    density = declared_prior(opened.manifest, opened.prior)
    source = open_strategy(Prior(), seed=seed, rows=rows, manifest=opened.manifest, density=density)
    latents = torch.from_numpy(source.latents(0, rows).latents)
    vae.decode(latents[: execution.batch_rows])
    started = time.perf_counter()
    for batch in latents.split(execution.batch_rows):
        vae.decode(batch)
    return time.perf_counter() - started
