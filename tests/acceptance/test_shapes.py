"""Every shape of module through everything: exported, registered, encoded, decoded, compared with the module itself.

The modules are written as users write them (tests/shapes). What is compared is computed from them alone, with the
formulas of the contract, to 1e-5 of the largest value where that is above 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentmill import Client
from latentmill.resources.resource import Resource
from tests.shapes.delivery import difference, differences, seen_apart, uploaded
from tests.shapes.heads import mixture_prior
from tests.shapes.matrix import SHAPES
from tests.shapes.shape import Modules, Shape
from workers.models import load_vae, open_bundle
from workers.randomness import Stream, normals

pytestmark = pytest.mark.timeout(300)  # the first of the stack's tests waits for the models of all

TOLERANCE = 1e-5
ROWS = 12
SEED = 11
CLASSES = torch.arange(ROWS) % 3


@dataclass(frozen=True)
class Brought:
    """A shape, its modules, and the bundle that `export_vae` made of them; or what stood in the way."""

    shape: Shape
    modules: Modules
    bundle: Any = None
    error: Exception | None = None


@dataclass(frozen=True)
class Sent:
    """What was asked of the stack for a shape, none of it waited for."""

    model: Resource
    job: Resource


@pytest.fixture(scope="module")
def bring(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Brought]:
    """Give a shape's name, get its bundle: each is exported once."""
    folder = tmp_path_factory.mktemp("bundles")
    made: dict[str, Brought] = {}

    def brought(name: str) -> Brought:
        if name not in made:
            shape = SHAPES[name]
            modules = shape.modules()
            try:
                made[name] = Brought(shape, modules, shape.export(folder / f"{name}.vae.zip", modules))
            except Exception as error:
                made[name] = Brought(shape, modules, error=error)
        if (error := made[name].error) is not None:
            raise error
        return made[name]

    return brought


@pytest.mark.parametrize("name", SHAPES)
def test_the_bundle_does_what_the_modules_do(name: str, bring: Callable[[str], Brought]) -> None:
    brought = bring(name)
    assert brought.bundle.engine == brought.shape.engine
    assert_alike(brought)


@pytest.mark.full
@pytest.mark.parametrize("name", SHAPES)
def test_a_graph_does_it_too(name: str, tmp_path: Path) -> None:
    """Whatever `auto` takes, a user may ask for the engine onnx."""
    shape = SHAPES[name]
    modules = shape.modules()
    assert_alike(Brought(shape, modules, shape.export(tmp_path / "a.vae.zip", modules, engine="onnx")))


def assert_alike(brought: Brought) -> None:
    """Mean, std and rows of the opened bundle are those of the modules."""
    shape, (encoder, decoder) = brought.shape, brought.modules
    assert brought.bundle.largest_difference <= TOLERANCE
    vae = load_vae(open_bundle(brought.bundle.path))
    y = shape.conditions(CLASSES)
    z = torch.randn(ROWS, shape.latent_size, generator=torch.Generator().manual_seed(1))
    decoded = shape.decoded(decoder, z, y)
    assert seen_apart(decoded)
    assert difference(vae.decode(z, CLASSES), decoded) <= TOLERANCE
    if encoder is not None:
        x = shape.rows_to_encode(ROWS, seed=2)
        mean, std = shape.posterior(encoder, x, y)
        assert seen_apart(mean)
        ours = vae.encode(x, CLASSES)
        assert difference(ours[0], mean) <= TOLERANCE
        assert difference(ours[1], std) <= TOLERANCE


@pytest.fixture(scope="module")
def sent(stack, bring: Callable[[str], Brought]) -> dict[str, Sent | Exception]:
    """All shapes on the stack: everything is posted before anything is waited for, equal rows once."""
    client = Client(url=stack.url, api_key=stack.api_key)
    datasets: dict[str, Resource] = {}
    posted: dict[str, Sent | Exception] = {}
    for name, shape in SHAPES.items():
        try:
            model = client.models.add(bring(name).bundle.path)
            strategy: dict[str, Any] = {"kind": "prior"}
            if shape.encoder is not None:
                dataset = _dataset(client, shape, model, datasets)
                strategy = {"kind": "posterior", "dataset": dataset.id, "temperature": 1.0}
            job = client.jobs.create(model, strategy=strategy, rows=ROWS, seed=SEED, include_latents=True, format="npz")
            posted[name] = Sent(model, job)
        except Exception as error:
            posted[name] = error
    return posted


def _dataset(client: Client, shape: Shape, model: Resource, known: dict[str, Resource]) -> Resource:
    """The shape's rows, uploaded once for all shapes that take them; a table as it is, typed for its model."""
    rows = uploaded(shape, ROWS, seed=3)
    labels = np.array(shape.classes)[CLASSES] if shape.classes else None
    if shape.rows["kind"] == "table":
        return client.datasets.add(rows, model=model.wait())
    key = f"{shape.rows}, {shape.classes}"
    if key not in known:
        known[key] = client.datasets.add(rows, labels=labels)
    return known[key]


@pytest.mark.parametrize("name", SHAPES)
def test_the_stack_delivers_what_the_modules_do(
    name: str, sent: dict[str, Sent | Exception], bring: Callable[[str], Brought], tmp_path: Path
) -> None:
    """Latents are mean + std * noise of the module's own outputs, and rows what the module decodes them to."""
    posted = sent[name]
    if isinstance(posted, Exception):
        raise posted
    shape, (encoder, decoder) = SHAPES[name], bring(name).modules
    assert posted.model.wait().data["manifest"]["engine"] == shape.engine
    with np.load(next(posted.job.wait().download(tmp_path / "out").glob("data-*.npz"))) as shard:
        arrays = dict(shard)
    classes = CLASSES
    if shape.classes:
        classes = torch.tensor([shape.classes.index(label) for label in arrays["labels"]])
        assert encoder is None or torch.equal(classes, CLASSES)
    noise = normals(SEED, Stream.LATENTS, 0, ROWS, shape.latent_size)
    y = shape.conditions(classes)
    expected = noise
    if encoder is not None:
        mean, std = shape.posterior(encoder, shape.rows_to_encode(ROWS, seed=3), y)
        expected = mean.double().numpy() + std.double().numpy() * noise
    latents = arrays["latents"]
    assert latents.shape == (ROWS, *shape.latent)
    assert difference(latents.reshape(ROWS, -1), expected) <= TOLERANCE
    decoded = shape.decoded(decoder, torch.from_numpy(latents).flatten(1), y)
    assert seen_apart(decoded)
    assert max(differences(shape, arrays["rows"], arrays.get("missing"), decoded)) <= TOLERANCE


def test_the_stack_draws_from_the_mixture_that_a_bundle_brings(
    sent: dict[str, Sent | Exception], stack, tmp_path: Path
) -> None:
    """Mean and covariance of 4,000 latents lie within five standard errors of the mixture's."""
    posted, prior, rows = sent["learned mixture prior"], mixture_prior(), 4_000
    assert isinstance(posted, Sent), posted
    client = Client(url=stack.url, api_key=stack.api_key)
    job = client.jobs.create(
        posted.model, strategy={"kind": "prior"}, rows=rows, seed=SEED, include_latents=True, format="npz"
    )
    with np.load(next(job.wait().download(tmp_path / "out").glob("data-*.npz"))) as shard:
        latents = shard["latents"].astype(np.float64)
    weights, means, variances = (prior[name].double().numpy() for name in ("weights", "means", "variances"))
    mean = weights @ means
    spread = means - mean
    covariance = np.diag(weights @ variances) + (spread * weights[:, None]).T @ spread
    assert np.all(np.abs(latents.mean(axis=0) - mean) < 5 * np.sqrt(np.diag(covariance) / rows))
    centred = latents - mean
    products = centred[:, :, None] * centred[:, None, :]
    errors = products.std(axis=0) / np.sqrt(rows)
    assert np.all(np.abs(products.mean(axis=0) - covariance) < 5 * errors)
