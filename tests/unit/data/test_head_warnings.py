"""The functional head test: what decoding contradicts is a warning that names the reading that works."""

import numpy as np
import pytest
import torch

from workers.diagnostics.heads import HeadErrors, head_errors, head_warnings


@pytest.mark.parametrize("head", ["pair", "chunked", "interleaved"])
@pytest.mark.parametrize("scale", ["log_variance", "log_std", "variance", "std"])
def test_a_true_declaration_gives_no_warning(make_vae, planted_rows, head: str, scale: str) -> None:
    assert head_warnings(make_vae(true=(head, scale)), planted_rows, None) == []


def test_a_deterministic_encoder_gives_no_warning(make_vae, planted_rows) -> None:
    assert head_warnings(make_vae(true=("pair", "none")), planted_rows, None) == []


@pytest.mark.parametrize(
    ("true", "declared", "named"),
    [
        (("pair", "std"), ("pair", "log_variance"), "scale 'std'"),
        (("pair", "variance"), ("pair", "log_std"), "scale 'variance'"),
        (("pair", "log_variance"), ("pair", "std"), "scale 'log_variance'"),
        (("interleaved", "log_variance"), ("chunked", "log_variance"), "head 'interleaved' with scale 'log_variance'"),
        (("chunked", "log_variance"), ("interleaved", "log_variance"), "head 'chunked' with scale 'log_variance'"),
        (("interleaved", "std"), ("chunked", "log_variance"), "head 'interleaved' with scale 'std'"),
    ],
)
def test_a_false_declaration_is_named_with_the_reading_that_works(
    make_vae, planted_rows, true: tuple[str, str], declared: tuple[str, str], named: str
) -> None:
    [warning] = head_warnings(make_vae(true=true, declared=declared), planted_rows, None)
    assert f"head {declared[0]!r} with scale {declared[1]!r}" in warning
    assert "decoding works when they are read as" in warning
    assert named in warning


def test_a_head_works_when_both_errors_are_below_that_of_the_mean_row() -> None:
    assert HeadErrors(mean=0.5, noisy=0.9, other=2.0, blank=1.0).works
    assert not HeadErrors(mean=1.0, noisy=0.9, other=2.0, blank=1.0).works
    assert not HeadErrors(mean=0.5, noisy=1.0, other=2.0, blank=1.0).works


def test_errors_are_those_of_a_linear_model(make_vae, planted_rows) -> None:
    """x = W (z + 5): decode(mean) = x, noise s adds s^2 D / P, the mean row leaves each value's variance."""
    vae = make_vae()
    x = torch.from_numpy(planted_rows) + vae.decode(torch.full((1, 4), 5.0))
    found = head_errors(vae, x, None, *vae.encode(x))
    assert found.mean < 1e-10
    assert found.noisy == pytest.approx(0.05**2 * 4 / 16, rel=4 * (2 / 2_000) ** 0.5)
    assert found.other == pytest.approx(float((x - x.roll(1, 0)).square().mean()), rel=1e-5)
    assert found.blank == pytest.approx(float(x.var(dim=0, correction=0).mean()), rel=1e-5)


def test_a_sharp_decoder_under_much_noise_is_not_told_of_readings_that_cannot_be(make_vae, planted_rows) -> None:
    """A log head below zero is no variance, though without noise decoding would work."""
    much = {"encoder.scale.bias": np.full(4, -0.5, np.float32)}
    [warning] = head_warnings(make_vae(weights=much), planted_rows, None)
    assert "noise of that size destroys what the mean carries" in warning
    assert "'variance'" not in warning


def test_collapsed_latents_are_said_to_be_unused(make_vae, planted_rows) -> None:
    blind = {"encoder.mu.weight": np.zeros((4, 16), np.float32)}
    [warning] = head_warnings(make_vae(weights=blind), planted_rows, None)
    assert "may not be used (collapse)" in warning


def test_rows_that_are_all_the_same_tell_nothing(make_vae, planted_rows) -> None:
    assert (
        head_warnings(
            make_vae(true=("pair", "std"), declared=("pair", "log_variance")), planted_rows[:1].repeat(9, 0), None
        )
        == []
    )


def test_labels_reach_the_decoder(make_vae, planted_rows) -> None:
    vae = make_vae(classes=["a", "b"])
    labels = np.arange(len(planted_rows)) % 2
    assert head_warnings(vae, planted_rows, np.zeros(500, np.int64)) == []
    assert "no better than the mean row" in head_warnings(vae, planted_rows, labels)[0]
