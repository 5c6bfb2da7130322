"""Flows: our arithmetic against zuko's, the inverse, the density; training that beats a Gaussian and repeats itself."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from zuko.distributions import DiagNormal
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.lazy import Flow as ZukoFlow
from zuko.lazy import UnconditionalDistribution
from zuko.transforms import MonotonicRQSTransform

from latentmill.errors import DataError, LimitExceeded
from latentmill.specs import Flow, Gaussian, Mixture
from tests.numerics.planted import encoding_of, fitted
from workers.posteriors import Encoding, density_of
from workers.posteriors.flow import Coupling, FlowDensity, flow_density, flow_parameters
from workers.posteriors.flow_fit import check_inverse, couplings_given, steps_of
from workers.posteriors.flow_training import TorchCoupling
from workers.randomness import Stream, normals

QUICK = Flow(transforms=4, hidden=16, epochs=50)


def wild(size: int = 5, transforms: int = 4, hidden: int = 16, seed: int = 0) -> list[Coupling]:
    """Couplings of random weights, large enough to bend what they are given."""
    generator = np.random.default_rng(seed)
    made = []
    for given in couplings_given(size, transforms, seed):
        widths = [int(given.sum()), hidden, hidden, int((~given).sum()) * 23]
        layers = [
            (0.7 * generator.standard_normal((there, here)) / np.sqrt(here), 0.5 * generator.standard_normal(there))
            for here, there in pairwise(widths)
        ]
        made.append(Coupling(given, layers))
    return made


def zuko_twin(couplings: list[Coupling], size: int) -> ZukoFlow:
    """The same couplings, as zuko has them."""
    transforms = []
    for coupling in couplings:
        hidden = tuple(len(bias) for _, bias in coupling.layers[:-1])
        transform = GeneralCouplingTransform(
            features=size, mask=torch.from_numpy(coupling.given),
            univariate=partial(MonotonicRQSTransform, slope=1e-3), shapes=[(8,), (8,), (7,)], hidden_features=hidden,
        ).double()  # fmt: skip
        linear = [layer for layer in transform.hyper if hasattr(layer, "weight")]
        with torch.no_grad():
            for layer, (weight, bias) in zip(linear, coupling.layers, strict=True):
                layer.weight.copy_(torch.from_numpy(np.asarray(weight, dtype=float)))
                layer.bias.copy_(torch.from_numpy(np.asarray(bias, dtype=float)))
        transforms.append(transform)
    loc, scale = torch.zeros(size, dtype=torch.double), torch.ones(size, dtype=torch.double)
    return ZukoFlow(transforms, UnconditionalDistribution(DiagNormal, loc=loc, scale=scale, buffer=True))


def standing(couplings: list[Coupling], size: int) -> FlowDensity:
    return FlowDensity(np.ones(size, dtype=np.bool_), np.zeros(size), np.eye(size), couplings)


@pytest.mark.parametrize("size", [2, 5])
def test_our_arithmetic_is_zukos(size: int) -> None:
    couplings = wild(size)
    density, twin = standing(couplings, size), zuko_twin(couplings, size)()
    points = 3 * np.random.default_rng(1).standard_normal((500, size))  # some beyond the splines' ends
    with torch.no_grad():
        theirs = twin.log_prob(torch.from_numpy(points)).numpy()
        there = twin.transform(torch.from_numpy(points)).numpy()
        back = twin.transform.inv(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(density.log_density(points), theirs, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(density.forward(points)[0], there, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(density.inverse(points), back, rtol=1e-9, atol=1e-9)


def test_what_is_trained_is_what_is_served() -> None:
    """The coupling that has gradients, in float64, against the one that has none; it begins as the identity."""
    given = np.array([True, False, True, False, False])
    noise = iter(np.random.default_rng(0).random(10_000).tolist())
    coupling = TorchCoupling(given, 8, noise)
    points = 3 * np.random.default_rng(1).standard_normal((200, 5))
    same, log_rise = coupling.plain().forward(points)
    np.testing.assert_allclose(same, points, atol=1e-12)
    np.testing.assert_allclose(log_rise, 0.0, atol=1e-12)
    generator = np.random.default_rng(2)
    coupling.layers = [
        (torch.from_numpy(generator.standard_normal(w.shape)), torch.from_numpy(generator.standard_normal(b.shape)))
        for w, b in coupling.layers
    ]
    moved, log_rise = coupling.forward(torch.from_numpy(points))
    served, served_rise = coupling.plain().forward(points)
    np.testing.assert_allclose(served, moved.numpy(), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(served_rise, log_rise.numpy(), rtol=1e-11, atol=1e-11)


def test_the_inverse_undoes_the_flow_and_one_that_does_not_is_refused() -> None:
    density = standing(wild(6), 6)
    check_inverse(density, seed=0)
    points = 4 * np.random.default_rng(3).standard_normal((2_000, 6))
    np.testing.assert_allclose(density.inverse(density.forward(points)[0]), points, atol=1e-8)
    broken = standing(wild(6), 6)
    broken.couplings[1].layers[0][0][:] = np.nan
    with pytest.raises(DataError, match=r"cannot be inverted .* mixture"):
        check_inverse(broken, seed=0)


def test_log_density_counts_scale_and_inert_dimensions_and_integrates_to_one() -> None:
    """On a fine grid of two active dimensions; the third is N(0, 1) and factors out."""
    scale = np.array([[0.5, 0.0], [0.2, 0.4]])
    density = FlowDensity(np.array([True, False, True]), np.array([0.3, -0.2]), scale, wild(2))
    axis = np.linspace(-4, 4, 321)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    points = np.insert(grid, 1, 0.7, axis=1)
    log_density = density.log_density(points) - stats.norm.logpdf(0.7)
    assert np.exp(log_density).sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=2e-3)


def crescent(rows: int = 1_500, *, inert: int = 0, seed: int = 5) -> Encoding:
    """Two dimensions bent into a crescent, which no Gaussian follows; and `inert` ones that hold the prior."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal(rows)
    means = np.stack([x, 0.8 * x**2 - 0.8 + 0.15 * generator.standard_normal(rows)], axis=1)
    idle = 1e-3 * generator.standard_normal((rows, inert))
    return encoding_of(np.concatenate([means, idle], axis=1), np.r_[0.1, 0.1, np.full(inert, 0.999)])


@pytest.mark.parametrize("inert", [0, 2])
def test_a_flow_follows_what_a_gaussian_cannot_and_its_draws_follow_it(inert: int) -> None:
    """Its gain, and draws against its own density: mean log density of draws and of q's own points nearly agree.

    Draws are also tested by their base: T(draw) must be standard normal (Kolmogorov-Smirnov, false alarm 1e-3 in all).
    """
    encoding = crescent(inert=inert)
    fit = fitted(encoding, QUICK)
    gaussian = fitted(encoding, Gaussian()).diagnostics["gain"]["value"]
    assert fit.diagnostics["gain"]["value"] > gaussian + 0.5
    assert fit.diagnostics["inert_dimensions"] == list(range(2, 2 + inert))
    density = density_of(fit.family, fit.parameters)
    drawn = density.draw(normals(1, Stream.LATENTS, 0, 20_000, 2 + inert), None)
    for axis in range(2, 2 + inert):
        assert stats.kstest(drawn[:, axis], "norm").pvalue > 1e-3 / 4
    # E_f[q / f] = 1 for the draws' importance weights against the crescent's own density
    x, y = drawn[:, 0], drawn[:, 1]
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(60)
    inner = x[:, None] / 1.01 + np.sqrt(0.01 / 1.01) * nodes  # the mean given x, for x = mean + 0.1 e
    width = np.sqrt(0.15**2 + 0.01)
    joint = stats.norm.pdf(y[:, None], 0.8 * inner**2 - 0.8, width) @ (node_weights / node_weights.sum())
    log_truth = stats.norm.logpdf(x, 0, np.sqrt(1.01)) + np.log(np.maximum(joint, 1e-300))
    log_truth += stats.norm.logpdf(drawn[:, 2:]).sum(axis=1)
    weights = np.exp(log_truth - density.log_density(drawn))
    assert weights.mean() == pytest.approx(1.0, abs=0.05)


def test_temperature_scales_the_base() -> None:
    density = standing(wild(3), 3)
    noise = np.random.default_rng(0).standard_normal((50, 3))
    np.testing.assert_allclose(density.draw(noise, None, 0.5), density.inverse(0.5 * noise), atol=1e-12)
    np.testing.assert_allclose(density.forward(density.draw(noise, None, 0.5))[0], 0.5 * noise, atol=1e-8)


def test_the_same_request_gives_the_same_bytes_on_one_thread_or_two() -> None:
    encoding, quick = crescent(600), Flow(transforms=2, hidden=8, epochs=20)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first = fitted(encoding, quick)
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        second = fitted(encoding, quick)
    finally:
        torch.set_num_threads(before)
    assert {name: array.tobytes() for name, array in first.parameters.items()} == {
        name: array.tobytes() for name, array in second.parameters.items()
    }
    other = fitted(encoding, quick, seed=1)
    assert other.parameters["coupling_0_weight_1"].tobytes() != first.parameters["coupling_0_weight_1"].tobytes()
    again = flow_density(flow_parameters(flow_density(first.parameters)))
    noise = normals(1, Stream.LATENTS, 0, 1_024, 2)
    assert again.draw(noise, None).tobytes() == density_of(first.family, first.parameters).draw(noise, None).tobytes()


def test_few_rows_are_left_with_their_gaussian() -> None:
    """Tune rows stop what does not help them: 60 rows of a Gaussian in 6 dimensions."""
    generator = np.random.default_rng(1)
    encoding = encoding_of(generator.standard_normal((60, 6)), 0.4)
    flow, gaussian = fitted(encoding, Flow(transforms=2, hidden=8)), fitted(encoding, Gaussian())
    assert abs(flow.diagnostics["gain"]["value"] - gaussian.diagnostics["gain"]["value"]) < 0.5
    assert any("The flow is the Gaussian of its rows" in warning for warning in flow.warnings)
    assert isinstance(flow.family, Flow)
    assert flow.family.epochs == int(np.ceil(400 * 512 / 48))


def test_a_collapsed_model_gives_the_prior() -> None:
    fit = fitted(encoding_of(np.zeros((500, 3)), 1.0), Flow())
    assert any("the fit is the prior" in warning for warning in fit.warnings)
    assert fit.diagnostics["gain"]["value"] == pytest.approx(0.0, abs=1e-12)
    density = density_of(fit.family, fit.parameters)
    noise = np.random.default_rng(0).standard_normal((5, 3))
    np.testing.assert_array_equal(density.draw(noise, None), noise)


def test_halves_take_turns() -> None:
    masks = couplings_given(5, 4, seed=3)
    assert [int(mask.sum()) for mask in masks] == [2, 3, 2, 3]
    for first, second in (masks[:2], masks[2:]):
        np.testing.assert_array_equal(first, ~second)
    assert not np.array_equal(masks[0], couplings_given(5, 4, seed=4)[0]) or not np.array_equal(masks[0], masks[2])


def test_steps_are_bounded() -> None:
    assert steps_of(Flow(), 100) == 400
    assert steps_of(Flow(), 54_000) == 1_500
    assert steps_of(Flow(), 12_500) == 750
    assert steps_of(Flow(epochs=3), 5_120) == 30
    with pytest.raises(LimitExceeded, match="take 102 epochs or fewer"):
        steps_of(Flow(epochs=10_000), 1_000_000)


def test_what_a_flow_cannot_do_is_refused_with_a_way_out() -> None:
    one = np.random.default_rng(0).standard_normal((300, 2)) * [1.0, 0.0]
    with pytest.raises(DataError, match=r"only 1 latent dimension .* mixture"):
        fitted(encoding_of(one, np.array([0.3, 1.0])), QUICK)
    wide = np.random.default_rng(0).standard_normal((40, 300))
    with pytest.raises(LimitExceeded, match=r"at most 256 dimensions .*diagonal"):
        fitted(encoding_of(wide, 0.3), QUICK)


def test_a_deterministic_encoder_has_flows_too() -> None:
    means = crescent(800).mean
    fit = fitted(encoding_of(means, 0.0), QUICK, prior=None)
    assert np.isfinite(fit.diagnostics["gain"]["value"])
    assert fit.diagnostics["gain"]["value"] > 0.3


def test_by_label_each_label_has_a_flow() -> None:
    plain = crescent(1_200)
    labels = (plain.mean[:, 0] > 0).astype(np.int32)
    encoding = Encoding(plain.mean, plain.std, labels, plain.row_digests, ("left", "right"))
    fit = fitted(encoding, Flow(transforms=2, hidden=8, epochs=20), by_label=True)
    assert fit.parameters["label.left.active"].dtype == np.bool_
    whole = fitted(encoding, Mixture(components=1)).diagnostics["gain"]["value"]
    assert fit.diagnostics["gain"]["value"] > whole
