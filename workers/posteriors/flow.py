"""A flow: couplings of splines that map latents to standard normals, drawn and scored in float64 by plain arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from workers.posteriors.gaussian import LOG_2PI
from workers.posteriors.spline import Splines

Floats = NDArray[np.float64]

CHUNK_VALUES = 2**21  # rows x numbers of their splines that are held at once


@dataclass(frozen=True, eq=False)
class Coupling:
    """Dimensions in `given` (A,) stay as they are and tell, by a network, how the others are bent.

    layers: weight (out, in) and bias (out,) of each; between them max(0, .). The last gives 3K - 1 numbers for each
    bent dimension in turn.
    """

    given: NDArray[np.bool_]
    layers: Sequence[tuple[Floats, Floats]]

    @property
    def row_values(self) -> int:
        """Numbers that a row's splines are made from."""
        return len(self.layers[-1][1])

    def splines(self, x: Floats) -> Splines:
        """The splines of the bent dimensions, from what the given ones are, for x (n, A)."""
        values = x[:, self.given]
        for number, (weight, bias) in enumerate(self.layers):
            if number:
                np.maximum(values, 0.0, out=values)
            values = values @ weight.T + bias
        return Splines(values.reshape(len(x), int((~self.given).sum()), -1))

    def forward(self, x: Floats) -> tuple[Floats, Floats]:
        """T(x), (n, A), and ln |det T'(x)|, (n,)."""
        bent, log_rise = self.splines(x).forward(x[:, ~self.given])
        result = x.copy()
        result[:, ~self.given] = bent
        return result, log_rise.sum(axis=1)

    def inverse(self, y: Floats) -> Floats:
        """x with T(x) = y, (n, A)."""
        result = y.copy()
        result[:, ~self.given] = self.splines(y).inverse(y[:, ~self.given])
        return result


class FlowDensity:
    """z_A = m + L x, where T(x) = u is standard normal; the other dimensions are standard normal themselves.

    active: (D,) which dimensions are A; centre m (A,), scale L (A, A) lower triangular. base_std: of the normals. t
    scales them, and so does more in the tails than near the mode: it is no power of the density.
    """

    needs_choice = False

    def __init__(
        self,
        active: NDArray[np.bool_],
        centre: Floats,
        scale: Floats,
        couplings: Sequence[Coupling],
        base_std: float = 1.0,
    ) -> None:
        self.active, self.centre, self.scale, self.couplings = active, centre, scale, list(couplings)
        self.base_std = base_std

    @property
    def latent_size(self) -> int:
        return len(self.active)

    def draw(self, normals: Floats, uniforms: Floats | None, temperature: float = 1.0) -> Floats:
        """Latents (n, D) from normals (n, D)."""
        latents = (temperature * self.base_std) * normals
        for rows in self._chunks(len(latents)):
            x = self.inverse(latents[rows][:, self.active])
            latents[rows, self.active] = self.centre + x @ self.scale.T
        return latents

    def log_density(self, latents: Floats) -> Floats:
        """ln f(z) = ln N(u; 0, s^2 I) + ln |det T'(x)| - ln det L + ln N(z_B; 0, s^2 I), (n,), s the base's std."""
        result = np.empty(len(latents))
        log_norm = -self.latent_size * (0.5 * LOG_2PI + np.log(self.base_std)) - np.log(np.diagonal(self.scale)).sum()
        for rows in self._chunks(len(latents)):
            centred = latents[rows][:, self.active] - self.centre
            x = solve_triangular(self.scale, centred.T, lower=True).T if self.active.any() else centred
            base, log_rise = self.forward(x)
            idle = latents[rows][:, ~self.active]
            squares = np.einsum("ij,ij->i", base, base) + np.einsum("ij,ij->i", idle, idle)
            result[rows] = log_norm + log_rise - 0.5 * squares / self.base_std**2
        return result

    def forward(self, x: Floats) -> tuple[Floats, Floats]:
        """u = T(x), (n, A), and ln |det T'(x)|, (n,)."""
        log_rise = np.zeros(len(x))
        for coupling in self.couplings:
            x, rise = coupling.forward(x)
            log_rise += rise
        return x, log_rise

    def inverse(self, base: Floats) -> Floats:
        """x with T(x) = u, (n, A)."""
        for coupling in reversed(self.couplings):
            base = coupling.inverse(base)
        return base

    def _chunks(self, rows: int) -> list[slice]:
        widest = max([coupling.row_values for coupling in self.couplings], default=1)
        step = max(1, CHUNK_VALUES // max(widest, self.latent_size))
        return [slice(first, first + step) for first in range(0, rows, step)]


def flow_density(parameters: Mapping[str, NDArray[Any]]) -> FlowDensity:
    """The density with these parameters: active (D,), centre (A,), scale (A, A), and for each coupling t
    coupling_t_given (A,), coupling_t_weight_l and coupling_t_bias_l of each layer l."""
    couplings: list[Coupling] = []
    while (given := parameters.get(f"coupling_{len(couplings)}_given")) is not None:
        prefix = f"coupling_{len(couplings)}"
        layers: list[tuple[Floats, Floats]] = []
        while (weight := parameters.get(f"{prefix}_weight_{len(layers)}")) is not None:
            bias = parameters[f"{prefix}_bias_{len(layers)}"]
            layers.append((np.asarray(weight, dtype=np.float64), np.asarray(bias, dtype=np.float64)))
        couplings.append(Coupling(np.asarray(given, dtype=np.bool_), layers))
    centre, scale = (np.asarray(parameters[name], dtype=np.float64) for name in ("centre", "scale"))
    return FlowDensity(np.asarray(parameters["active"], dtype=np.bool_), centre, scale, couplings)


def flow_parameters(density: FlowDensity) -> dict[str, NDArray[Any]]:
    """The parameters that `flow_density` takes."""
    found: dict[str, NDArray[Any]] = {"active": density.active, "centre": density.centre, "scale": density.scale}
    for number, coupling in enumerate(density.couplings):
        found[f"coupling_{number}_given"] = coupling.given
        for layer, (weight, bias) in enumerate(coupling.layers):
            found[f"coupling_{number}_weight_{layer}"] = weight
            found[f"coupling_{number}_bias_{layer}"] = bias
    return found
