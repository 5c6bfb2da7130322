"""What the page shows beside the numbers: rows, and arrays small enough to draw."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentmill.specs import Rows
from workers.rows import RowBatch

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Histogram:
    """q(z_j) of one dimension beside the prior's density, both per unit of z, over the same bins.

    `dimension` counts the flattened latent from 0; `edges` (B + 1,) rise, in units of z; `aggregate` (B,) integrates
    to at most 1; `prior` (B,) is the mean density of p(z_j) in each bin, None where the model declares no prior.
    `marginal_kl` is KL(q(z_j) || p(z_j)) in nats, None without a prior.
    """

    dimension: int
    edges: Floats
    aggregate: Floats
    prior: Floats | None = None
    marginal_kl: float | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Strip:
    """What one dimension does: rows decoded while z_j takes `values` and the other dimensions stay where they are.

    `values` (n,) rise, in units of z, usually from -3 to 3; `rows` holds the n decoded rows in that order; `region`
    (low, high) holds the central 98 % of q(z_j), outside which the decoder has seen next to nothing. `held_at` says in
    a few words where the other dimensions stay.
    """

    dimension: int
    values: Floats
    rows: RowBatch
    region: tuple[float, float]
    held_at: str = "the mean of the latents"


@dataclass(frozen=True, eq=False, slots=True)
class Projection:
    """Points of q(z) and of the prior on two axes of the latent space, in units of z.

    `aggregate` (n, 2) and `prior` (m, 2) or None; a few thousand points each are plenty (the page draws at most 1,500).
    `axes` names both in words ("dimension 3", "principal axis 1, 41 % of the variance").
    """

    aggregate: Floats
    prior: Floats | None
    axes: tuple[str, str]


@dataclass(frozen=True, eq=False, slots=True)
class Gallery:
    """A few rows (8 to 16) under one heading.

    `kind` is "real", "reconstructions" or "candidate"; a candidate's `name` is that of its entry in the content's
    `candidates`. `labels`, where rows have them, are class names in the order of the rows.
    """

    name: str
    kind: str
    rows: RowBatch
    labels: tuple[str, ...] | None = None
    note: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Exhibits:
    """All that `render_page` draws rows and latents from; whatever could not be made is left out.

    `histograms` begins with the worst dimension; `galleries` are shown in the order real, reconstructions, candidates.
    `rows` says what a row is (pictures, columns, series or numbers).
    """

    rows: Rows
    histograms: tuple[Histogram, ...] = ()
    strips: tuple[Strip, ...] = ()
    projection: Projection | None = None
    galleries: tuple[Gallery, ...] = ()
