"""Trains the couplings of a flow, in float32 on one thread; what comes out is plain arrays."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from math import cos, pi, prod, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from workers.posteriors.estimate import grouped_mean
from workers.posteriors.flow import Coupling
from workers.posteriors.spline import BOUND, LOG_SLOPE
from workers.randomness.noise import uniforms
from workers.randomness.streams import Stream

BINS = 8
LEARNING_RATE = 5e-3
WARM_UP = 0.05  # of all steps; then the rate falls to 0 along a cosine
LARGEST_GRADIENT = 5.0  # its norm: a batch that lies far out would undo what others taught
LOOKS = 20  # at the tune rows
SCORED_ROWS = 512  # at once, some draws of each
CLEAR = 2.0  # standard errors
PATIENCE = 5  # looks that may bring nothing new

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """How long a flow learns: `steps` batches of `batch_rows` draws."""

    steps: int
    batch_rows: int


@dataclass(frozen=True, eq=False)
class Trained:
    """The couplings that did best on the tune rows, and after which step that was: 0 are the identity."""

    couplings: list[Coupling]
    kept_at: int


class TorchCoupling:
    """The coupling of `workers.posteriors.flow`, for gradients. It begins as the identity.

    Weights are uniform within 1 / sqrt(inputs), by `noise`; those of the last layer are 0.
    """

    def __init__(self, given: NDArray[np.bool_], hidden: int, noise: Iterator[float]) -> None:
        self.mask = given
        self.given, self.bent = (torch.from_numpy(np.flatnonzero(mask)) for mask in (given, ~given))
        widths = [len(self.given), hidden, hidden, len(self.bent) * (3 * BINS - 1)]
        self.layers = [
            (_uniform((there, here), here, noise), _uniform((there,), here, noise))
            for here, there in pairwise(widths[:-1])
        ]
        self.layers.append((_zeros((widths[-1], hidden)), _zeros((widths[-1],))))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """T(x), (n, A), and ln |det T'(x)|, (n,)."""
        given, bent = x[:, self.given], x[:, self.bent]
        values = given
        for number, (weight, bias) in enumerate(self.layers):
            values = functional.linear(functional.relu(values) if number else values, weight, bias)
        moved, log_rise = spline(bent, values.view(*bent.shape, -1))
        result = torch.empty_like(x)
        result[:, self.given], result[:, self.bent] = given, moved
        return result, log_rise.sum(dim=1)

    def plain(self) -> Coupling:
        """What is served."""
        layers = [(weight.detach().numpy().copy(), bias.detach().numpy().copy()) for weight, bias in self.layers]
        return Coupling(self.mask, layers)


def spline(x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    """`Splines(raw).forward(x)` for x (n, B) and raw (n, B, 3K - 1): see workers.posteriors.spline."""
    bins = (raw.shape[-1] + 1) // 3
    shares = raw[..., : 2 * bins]
    shares = (shares / (1.0 + (shares * (2.0 / LOG_SLOPE)).abs())).exp().view(*x.shape, 2, bins)
    cumulated = shares.cumsum(dim=-1)
    knots = functional.pad(cumulated * (2.0 * BOUND / cumulated[..., -1:]) - BOUND, (1, 0), value=-BOUND)
    inner = raw[..., 2 * bins :]
    slopes = functional.pad((inner / (1.0 + (inner * (1.0 / LOG_SLOPE)).abs())), (1, 1)).exp()
    number = (knots[..., 0, :] < x[..., None]).sum(dim=-1, keepdim=True) - 1
    inside = ((number >= 0) & (number < bins)).squeeze(-1)
    number = number.clamp(0, bins - 1)
    both_axes = number[..., None, :].expand(*number.shape[:-1], 2, 1)
    low, high = (knots.gather(-1, both_axes + step).squeeze(-1) for step in (0, 1))
    d0, d1 = (slopes.gather(-1, number + step).squeeze(-1) for step in (0, 1))
    (x0, y0), (width, height) = low.unbind(-1), (high - low).unbind(-1)
    slope = height / width
    z = torch.where(inside, (x - x0) / width, 0.5)
    both = z * (1.0 - z)
    below = slope + (d0 + d1 - 2.0 * slope) * both
    y = y0 + height * (slope * z * z + d0 * both) / below
    rise = slope * slope * (2.0 * slope * both + d0 * (1.0 - z) ** 2 + d1 * z * z) / (below * below)
    return torch.where(inside, y, x), torch.where(inside, rise.log(), 0.0)


def train(
    givens: list[NDArray[np.bool_]],
    hidden: int,
    course: Course,
    draws: Callable[[int], Floats],
    tune: Floats,
    groups: NDArray[np.int64],
    *,
    seed: int,
    check: Callable[[], None],
    progress: Callable[[float], None],
) -> Trained:
    """Couplings with the given masks that maximise the mean log density of `draws(step)`, (batch rows, A).

    Of LOOKS looks at the log density of `tune` (n, draws, A) the best is kept; the identity, where the best is better
    by no more than 2 paired standard errors over `groups` (n,): with few rows some look is always better by chance.
    """
    with _one_thread():
        noise = iter(uniforms(seed, Stream.INITIALISATION, 0, _noise_count(givens, hidden)).tolist())
        flow = [TorchCoupling(given, hidden, noise) for given in givens]
        judged = torch.from_numpy(tune.astype(np.float32))
        kept = first = [coupling.plain() for coupling in flow]
        best = identity = _scores(flow, judged)
        kept_at, looks = 0, 0
        for step in _steps(flow, course, draws):
            check()
            if step % max(1, course.steps // LOOKS) and step < course.steps:
                continue
            progress(step / course.steps)
            looks, scores = looks + 1, _scores(flow, judged)
            if scores.mean() > best.mean():
                best, kept, kept_at, looks = scores, [coupling.plain() for coupling in flow], step, 0
            if looks >= PATIENCE:
                break
        gain = grouped_mean(best - identity, groups)
        return Trained(kept, kept_at) if gain.value > CLEAR * gain.standard_error else Trained(first, 0)


def _steps(flow: list[TorchCoupling], course: Course, draws: Callable[[int], Floats]) -> Iterator[int]:
    """Adam's steps, numbered from 1."""
    weights = [tensor for coupling in flow for layer in coupling.layers for tensor in layer]
    optimiser = torch.optim.Adam(weights, lr=LEARNING_RATE)
    warm = max(1.0, WARM_UP * course.steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / warm) * 0.5 * (1.0 + cos(pi * min(1.0, step / course.steps)))
    )
    for step in range(course.steps):
        loss = -_log_density(flow, torch.from_numpy(draws(step).astype(np.float32))).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        yield step + 1


def _log_density(flow: list[TorchCoupling], x: Tensor) -> Tensor:
    """ln N(T(x); 0, I) + ln |det T'(x)|, (n,), without the constant of the normal."""
    log_rise = torch.zeros(len(x))
    for coupling in flow:
        x, rise = coupling.forward(x)
        log_rise = log_rise + rise
    return log_rise - 0.5 * (x * x).sum(dim=1)


def _scores(flow: list[TorchCoupling], tune: Tensor) -> Floats:
    """Mean log density of the draws of each row, (n,), for tune (n, draws, A)."""
    with torch.no_grad():
        parts = [
            _log_density(flow, rows.reshape(-1, tune.shape[2])).double().view(len(rows), -1).mean(dim=1)
            for rows in (tune[first : first + SCORED_ROWS] for first in range(0, len(tune), SCORED_ROWS))
        ]
    return torch.cat(parts).numpy()


def _noise_count(givens: list[NDArray[np.bool_]], hidden: int) -> int:
    return sum((int(given.sum()) + 1) * hidden + (hidden + 1) * hidden for given in givens)


def _uniform(shape: tuple[int, ...], inputs: int, noise: Iterator[float]) -> Tensor:
    values = np.fromiter(islice(noise, prod(shape)), dtype=np.float64).reshape(shape)
    return torch.from_numpy(((2.0 * values - 1.0) / sqrt(inputs)).astype(np.float32)).requires_grad_()


def _zeros(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(shape).requires_grad_()


@contextmanager
def _one_thread() -> Iterator[None]:
    """With more threads sums have other bits, and so has every row drawn by the fit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
