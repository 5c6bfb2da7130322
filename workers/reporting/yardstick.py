"""What rows are held against: features, the two references, and every measure of how near a sample lies to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.specs import SeriesRows, TableRows
from workers.diagnostics.columns import column_differences
from workers.diagnostics.features import PrincipalFeatures, principal_features
from workers.diagnostics.frechet import frechet_distance
from workers.diagnostics.gap import gap_closed
from workers.diagnostics.kernel import kernel_distance, kernel_distance_difference
from workers.diagnostics.neighbours import manifold_scores
from workers.diagnostics.sliced import sliced_wasserstein
from workers.diagnostics.two_sample import classifier_two_sample
from workers.diagnostics.values import column_means, row_values
from workers.posteriors.draws import posteriors_at
from workers.posteriors.estimate import Estimate
from workers.reporting.ground import Ground
from workers.reporting.samples import Sample
from workers.reporting.subject import BLOCK_VALUES, Rows, Subject
from workers.rows import Field, RowBatch, codec

Floats = NDArray[np.float64]
Check = Callable[[], None]

MAX_FEATURE_ROWS = 10_000  # rows that features are learned from
MAX_FEATURE_VALUES = 2**25
MAX_LATENT_FEATURES = 64


@dataclass(frozen=True, eq=False)
class Look:
    """A sample as it is compared: features of its rows (n, d), and of its latents (n, l)."""

    rows: Floats
    latents: Floats
    delivered: RowBatch


@dataclass(frozen=True, eq=False)
class Quality:
    """All measures of one candidate, as JSON, and those of them that decide or explain."""

    measured: dict[str, Any]
    kernel_over_prior: Estimate | None
    gap_closed: Estimate | None
    classifier_auc: Estimate


@dataclass(frozen=True, eq=False)
class Yardstick:
    """The references (n rows each): `decoded` isolates the latents and decides, `real` adds the decoder's own error."""

    features: PrincipalFeatures
    latent_features: Callable[[Any], Floats]
    fields: tuple[Field, ...]
    means: dict[str, float]
    decoded: Look
    real: Floats | None
    real_rows: RowBatch | None
    other_rows: RowBatch | None  # real, and not the reference's
    names: tuple[str, ...] | None  # of the features of a series
    seed: int

    def look(self, sample: Sample) -> Look:
        """The features of a sample."""
        return Look(self.row_features(sample.rows), self.latent_features(sample.latents), sample.rows)

    def row_features(self, rows: RowBatch) -> Floats:
        """The features (n, d) of rows as delivered."""
        return _features_of(rows, self.features, self.fields, self.means)

    def quality(self, look: Look, prior: Look | None, floor: Look, check: Check) -> Quality:
        """All measures of one candidate; `prior` is what its distance is compared with."""
        over = gap = None
        if prior is not None:
            over = kernel_distance_difference(look.rows, prior.rows, self.decoded.rows)
            gap = gap_closed(prior.rows, look.rows, floor.rows, self.decoded.rows)
        decoded, auc = self.distances(look, self.decoded.rows, check)
        decoded["kernel_distance_over_prior"] = None if over is None else over.as_json()
        real = None if self.real is None else self.distances(look, self.real, check)[0]
        (decoded if real is None else real)["columns"] = self._columns(look.delivered)
        check()
        latents = classifier_two_sample(look.latents, self.decoded.latents, seed=self.seed)
        measured = {
            "decoded": decoded,
            "real": real,
            "latent_classifier_auc": latents.as_json(),
            "gap_closed": None if gap is None else gap.as_json(),
        }
        return Quality(measured, over, gap, auc)

    def distances(self, look: Look, reference: Floats, check: Check) -> tuple[dict[str, Any], Estimate]:
        """Every measure of a sample against a reference (n, d), and the classifier's AUC among them."""
        rows = look.rows
        found: dict[str, Any] = {"kernel_distance": kernel_distance(rows, reference).as_json()}
        check()
        found["frechet_distance"] = frechet_distance(rows, reference, seed=self.seed).as_json()
        check()
        found["sliced_wasserstein"] = sliced_wasserstein(rows, reference, seed=self.seed).as_json()
        check()
        auc = classifier_two_sample(rows, reference, seed=self.seed)
        found["classifier_auc"] = auc.as_json()
        check()
        return found | {name: score.as_json() for name, score in manifold_scores(rows, reference).items()}, auc

    def _columns(self, rows: RowBatch) -> dict[str, Any] | None:
        """Differences of columns, and of pairs of them, from the real rows; for tables and series."""
        if self.names is None and [field.name for field in self.fields] == ["rows"]:
            return None
        reference = self.decoded.delivered if self.real_rows is None else self.real_rows
        return column_differences(rows, reference, self.fields, floor=self.other_rows, names=self.names, seed=self.seed)


def yardstick_of(
    ground: Ground, reference: Sample, real: RowBatch | None, others: RowBatch | None, *, seed: int
) -> Yardstick:
    """Features learned from the fit rows of the dataset, by which samples are compared with the references.

    real: the reference's rows themselves; others: as many real rows that are not among them.
    """
    subject = ground.subject
    rows = subject.vae.manifest.rows
    fields = codec(rows).fields
    learn = ground.split.training[: min(MAX_FEATURE_ROWS, max(2, MAX_FEATURE_VALUES // subject.values_per_row))]
    known = subject.delivered(learn) if subject.rows is not None else reference.rows
    means = column_means(known, fields)
    features = principal_features(
        row_values(known, fields, means), len(reference.latents), standardise=isinstance(rows, TableRows)
    )
    latent_features = _latent_features(subject, learn, len(reference.latents))

    def of(batch: RowBatch) -> Floats:
        return _features_of(batch, features, fields, means)

    decoded = Look(of(reference.rows), latent_features(reference.latents), reference.rows)
    own = None if real is None else of(real)
    names = rows.features if isinstance(rows, SeriesRows) else None
    return Yardstick(features, latent_features, fields, means, decoded, own, real, others, names, seed)


def _features_of(
    rows: RowBatch, features: PrincipalFeatures, fields: tuple[Field, ...], means: dict[str, float]
) -> Floats:
    """A block of rows at a time: as float64 all values of large images would not fit into memory."""
    values = sum(int(np.prod(field.shape)) for field in fields)
    step = max(1, BLOCK_VALUES // values)
    parts = [rows.cut(first, first + step) for first in range(0, rows.rows, step)]
    return np.concatenate([features(row_values(part, fields, means)) for part in parts])


def _latent_features(subject: Subject, learn: Rows, compared: int) -> Callable[[Any], Floats]:
    """Latents as they are; of more than 64 dimensions the principal ones of the posterior means."""
    size = subject.encoding.latent_size
    if size <= MAX_LATENT_FEATURES:
        return lambda latents: np.asarray(latents, dtype=np.float64)
    mean, _ = posteriors_at(subject.encoding, learn[: max(2, MAX_FEATURE_VALUES // size)])
    return principal_features(mean, compared)
