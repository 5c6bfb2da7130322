"""What a latent tells of the row that it came from, and what q(z) is worth as a density of other rows' latents."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.components import log_sums_apart
from workers.posteriors.density import Density
from workers.posteriors.draws import posteriors_at
from workers.posteriors.encoding import Encoding
from workers.posteriors.estimate import Estimate, grouped_mean
from workers.posteriors.gaussian import LOG_2PI
from workers.randomness.noise import normals
from workers.randomness.permutation import permuted_position
from workers.randomness.streams import Stream

MAX_ROWS = 50_000  # posteriors that q_n is the mean of
MAX_VALUES = 2**22  # of their means: 32 MiB in float64, and with them as many stds
MAX_DRAWS = 2_000
SATURATION_NATS = 3.0

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Information:
    """What was measured on n rows.

    index_code: I(n; z), None where it does not exist. ceiling: ln n, which it cannot exceed. leave_one_out: the mean of
    ln q_-m(z_m) - ln p(z_m), at most KL(q || p) in expectation; None without noise or with a single group of rows.
    """

    index_code: Estimate | None
    ceiling: float
    leave_one_out: Estimate | None

    @property
    def saturated(self) -> bool:
        """Whether the rows are too few to bound what a latent tells: R - I then says nothing of KL(q || p)."""
        return self.index_code is not None and self.index_code.value > self.ceiling - SATURATION_NATS


def information_of(
    encoding: Encoding,
    rows: Rows,
    baseline: Density | None,
    *,
    seed: int,
    limit: int = MAX_ROWS,
    first_draw: int = 0,
    check: Callable[[], None],
) -> Information:
    """I(index; z) among n = min(len(rows), limit) of `rows`, by M = min(n, 2,000) draws z_m of q(z|x_m).

    I = mean_m a_m, a_m = ln q(z_m|x_m) - ln q_n(z_m), q_n the mean of the n posteriors (Hoffman and Johnson, 2016); the
    sampled entropy varies with q_n and cancels: the error is about a third of that with the closed form. q_-m leaves
    out all rows that are identical to row m, whatever their labels, for a copy would be the row itself; errors take
    identical rows together. More than 2^22 / D rows are not taken. Without noise I is the entropy of the codes: ln n
    where all differ. With noise for some values only there is no density, and no I. `first_draw` numbers the noise:
    calls that share none are independent.
    """
    n = min(len(rows), limit, max(1, MAX_VALUES // encoding.latent_size))
    if n == 0:
        return Information(None, 0.0, None)
    subset = rows[permuted_position(seed, Stream.INFORMATION_ROWS, len(rows), np.arange(n))]
    groups = _groups(encoding.row_digests[subset])
    order = np.argsort(groups, kind="stable")
    mean, std = posteriors_at(encoding, subset[order])
    if not np.all(std > 0):
        codes = None if np.any(std > 0) else Estimate(_entropy_of_codes(mean), 0.0)
        return Information(codes, log(n), None)
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    drawn = place[:MAX_DRAWS]
    noise = normals(seed, Stream.INFORMATION_DRAWS, first_draw, len(drawn), encoding.latent_size)
    latents = mean[drawn] + std[drawn] * noise
    grouped = groups[order]
    mine = grouped[drawn]
    own = np.stack([np.searchsorted(grouped, mine, "left"), np.searchsorted(grouped, mine, "right")], axis=1)
    rest, apart = log_sums_apart(latents, mean, std, own, check=check)
    conditional = -0.5 * (noise * noise).sum(axis=1) - np.log(std[drawn]).sum(axis=1) - 0.5 * noise.shape[1] * LOG_2PI
    told = conditional - (np.logaddexp(rest, apart) - log(n))
    others = n - (own[:, 1] - own[:, 0])
    left_out = None
    if baseline is not None and np.all(others > 0):
        left_out = grouped_mean(rest - np.log(others) - baseline.log_density(latents), mine)
    index_code = grouped_mean(told, mine) if np.any(others > 0) else Estimate(0.0, 0.0)  # copies tell nothing
    return Information(index_code, log(n), left_out)


def _groups(digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The number of each row's digest among those that differ, (n,)."""
    words = np.ascontiguousarray(digests).view(np.dtype((np.void, digests.shape[1]))).reshape(-1)
    return np.unique(words, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _entropy_of_codes(codes: Floats) -> float:
    """-sum c/n ln c/n over the different rows of `codes`, in nats."""
    counts = np.unique(codes, axis=0, return_counts=True)[1]
    return float(np.log(len(codes)) - (counts * np.log(counts)).sum() / len(codes))
