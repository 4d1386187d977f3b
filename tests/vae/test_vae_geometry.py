"""The VAE against loops and torch's distributions, its closed form against training, the reports on known regions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import nn
from torch.distributions import Normal, kl_divergence

from gezhi.vae import (
    VAE,
    BatchNormPosterior,
    Gaussian,
    LatentGroup,
    coverage,
    gaussian_kl,
    interpolate,
    iw_bound,
    latent_report,
    linear_vae,
    moment_kl,
)

MEAN = torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.3, -0.7]], dtype=torch.float64)
LOG_VARIANCE = torch.tensor([[0.0, -1.0, 0.5], [-3.0, 0.2, 1.0]], dtype=torch.float64)
NUMPY = {"compiles": False, "differentiable": False, "reason": "it computes with NumPy, or gives a number"}
SAMPLES = [
    Sample(gaussian_kl, (MEAN, LOG_VARIANCE)),
    Sample(moment_kl, (MEAN[0], torch.eye(3).double()), **NUMPY),
    Sample(linear_vae, (np.random.default_rng(0).normal(size=(9, 4)), 2, 0.1), **NUMPY),
    Sample(coverage, (MEAN, LOG_VARIANCE.exp(), 1.0, 100), **NUMPY),
]
DIGITS = load_digits().data / 16


def small(posterior="gaussian", likelihood="gaussian", **choices):
    """An encoder and a decoder of 4 numbers with a code of 2."""
    codes = 2 if posterior == "none" else 4
    outputs = (nn.Linear(2, 12), nn.Unflatten(1, (4, 3))) if likelihood == "categorical" else (nn.Linear(2, 4),)
    encoder = nn.Sequential(Embedded() if likelihood == "categorical" else nn.Identity(), nn.Linear(4, codes))
    return VAE(encoder, nn.Sequential(*outputs), 2, posterior=posterior, likelihood=likelihood, **choices).double()


class Embedded(nn.Module):
    def forward(self, x):
        return x.double()


def data(likelihood="gaussian", rows=6):
    if likelihood == "categorical":
        return torch.randint(3, (rows, 4))
    return torch.rand(rows, 4).double()


# ---- reference ------------------------------------------------------------------------------------------------------


def test_the_sheets_divergences():
    found = gaussian_kl(MEAN, LOG_VARIANCE)
    np.testing.assert_allclose(found.sum(1), [2.8833003559358, 1.6847358274935], rtol=1e-12)
    np.testing.assert_allclose(found.mean(0), [0.5749467670920, 0.3698205498329, 1.3392507747898], rtol=1e-12)
    deviations = torch.tensor([0.5, 2.0]).double()
    np.testing.assert_allclose(
        gaussian_kl(torch.zeros(2).double(), 2 * deviations.log()), [0.3181471805599, 0.8068528194400], rtol=1e-11
    )


def test_the_sheets_draw(monkeypatch):
    noise = torch.tensor([[0.1, -0.2, 0.3], [1.0, 0.0, -1.0]], dtype=torch.float64)
    monkeypatch.setattr(torch.Tensor, "normal_", lambda self, generator=None: self.copy_(noise))
    expected = [[0.6, -1.1213061319425, 2.3852076250063], [0.2231301601484, 0.3, -2.3487212707001]]
    np.testing.assert_allclose(Gaussian(MEAN, LOG_VARIANCE).rsample(), expected, rtol=1e-12)


def test_the_sheets_aggregate():
    model = VAE(nn.Identity(), nn.Identity(), 3)
    report = latent_report(model, [torch.cat([MEAN, LOG_VARIANCE], 1)])
    np.testing.assert_allclose(report.mean, [0.25, -0.35, 0.65], atol=1e-12)
    expected = [
        [0.5873935341839, -0.1625, 0.3375],
        [-0.1625, 1.2171410996658, -0.8775],
        [0.3375, -0.8775, 4.0060015495796],
    ]
    np.testing.assert_allclose(report.covariance, expected, atol=1e-12)
    assert report.moment_kl == pytest.approx(1.3005432529152, abs=1e-12)
    np.testing.assert_allclose(report.kl_per_dim, [0.5749467670920, 0.3698205498329, 1.3392507747898])
    assert (report.active_units, report.flat_dims) == (3, 0)


def test_the_sheets_scales_of_batch_normalisation():
    posterior = BatchNormPosterior(3).double()
    posterior.theta.data = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    of_mean, of_deviation = posterior.scales
    np.testing.assert_allclose(of_mean.detach(), [0.7965366976386, 0.8660254037844, 0.9697414804931], rtol=1e-12)
    np.testing.assert_allclose(of_deviation.detach(), [0.6045901829463, 0.5, 0.2441341045636], rtol=1e-12)
    assert of_mean.square().sum().item() / 2 == pytest.approx(1.1624346248370, rel=1e-12)


def test_the_sheets_linear_vae_on_digits():
    found = linear_vae(DIGITS, 8, 0.1)
    assert found.expected_error == pytest.approx(2.3304481879, abs=1e-9)
    expected = [
        0.97213776566,
        0.92749745005,
        0.85559354585,
        0.68648242391,
        0.49918358909,
        0.41811308486,
        0.35293592933,
        0.27069195949,
    ]
    np.testing.assert_allclose(found.kl, expected, atol=1e-10)
    assert [linear_vae(DIGITS, 64, s).active_units for s in (0.05, 0.1, 0.2)] == [18, 12, 7]


@pytest.mark.parametrize(("deviation", "expected"), [(0.3, 0.543276478071), (0.001, 0.002223397611)])
def test_the_sheets_coverage(deviation, expected):
    centres = torch.tensor([[-1.5], [-0.2], [0.1], [1.2]], dtype=torch.float64)
    found = coverage(centres, torch.full_like(centres, deviation), 1.0, 200_000)
    assert found == pytest.approx(expected, abs=4 * math.sqrt(expected / 200_000))


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "categorical"])
def test_the_loss_is_the_sum_of_its_parts_sample_by_sample(likelihood):
    model, x = small(likelihood=likelihood, observation_variance=0.2, beta=0.7), data(likelihood)
    out = model(x, generator=torch.Generator().manual_seed(3))
    said, total = model.decoder(out.z).detach(), 0.0
    for row in range(len(x)):
        if likelihood == "gaussian":
            miss = float((x[row] - said[row]).square().sum()) / 0.4
        elif likelihood == "bernoulli":
            p = said[row].sigmoid()
            miss = -float((x[row] * p.log() + (1 - x[row]) * (1 - p).log()).sum())
        else:
            miss = -sum(float(said[row, i].log_softmax(0)[x[row, i]]) for i in range(4))
        mean, spread = out.mean[row].detach(), out.log_variance[row].detach()
        kl = sum(0.5 * (m**2 + math.exp(v) - v - 1) for m, v in zip(mean.tolist(), spread.tolist(), strict=True))
        total += (miss + 0.7 * kl) / len(x)
    assert out.loss.item() == pytest.approx(total, rel=1e-10)
    assert out.loss.item() == pytest.approx((out.reconstruction_loss + 0.7 * out.kl).item())
    assert out.kl.item() == pytest.approx(out.kl_per_dim.sum().item())


# ---- oracles --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**16))
def test_divergences_and_densities_are_torchs(seed):
    draw = torch.Generator().manual_seed(seed)
    mean, log_variance, other, log_other, z = (
        3 * torch.randn(4, generator=draw, dtype=torch.float64) for _ in range(5)
    )
    ours, prior = Gaussian(mean, log_variance), Gaussian(other, log_other)
    theirs, their_prior = (Normal(law.mean, (law.log_variance / 2).exp()) for law in (ours, prior))
    torch.testing.assert_close(ours.kl(prior), kl_divergence(theirs, their_prior), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.kl(), kl_divergence(theirs, Normal(0.0, 1.0)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.log_prob(z), theirs.log_prob(z), rtol=1e-9, atol=1e-9)


def test_the_linear_vae_spans_the_principal_axes_and_codes_as_probabilistic_pca():
    found, pca = linear_vae(DIGITS, 5, 0.1), PCA(5).fit(DIGITS)
    axes = found.weight / np.linalg.norm(found.weight, axis=0)
    np.testing.assert_allclose(np.abs(axes.T @ pca.components_.T), np.eye(5), atol=1e-9)
    inverse = np.linalg.inv(found.weight.T @ found.weight + 0.1 * np.eye(5))
    np.testing.assert_allclose(found.encode(DIGITS), (DIGITS - found.mean) @ found.weight @ inverse, atol=1e-9)


def test_training_ends_where_the_closed_form_says():
    found = linear_vae(DIGITS, 3, 0.1)
    encoder, decoder = nn.Linear(64, 6).double(), nn.Linear(3, 64).double()
    with torch.no_grad():
        scale = np.square(found.weight).sum(0) + 0.1
        encoder.weight[:3] = torch.from_numpy((found.weight / scale).T)
        encoder.bias[:3] = torch.from_numpy(-(found.weight / scale).T @ found.mean)
        encoder.weight[3:] = 0
        encoder.bias[3:] = torch.from_numpy(np.log(found.posterior_variance))
        decoder.weight[:] = torch.from_numpy(found.weight)
        decoder.bias[:] = torch.from_numpy(found.mean)
    model, x = VAE(encoder, decoder, 3, observation_variance=0.1), torch.from_numpy(DIGITS)
    out = [model(x, generator=torch.Generator().manual_seed(i)) for i in range(20)]
    np.testing.assert_allclose(out[0].kl_per_dim.detach(), found.kl, rtol=1e-9)
    error = np.mean([float((o.reconstruction - x).detach().square().sum(1).mean()) for o in out])
    assert error == pytest.approx(found.expected_error, rel=5e-3)
    slopes = torch.autograd.grad(sum(o.loss for o in out) / 20, list(model.parameters()))
    assert max(float(slope.abs().max()) for slope in slopes) < 0.2, "noise of the draws is all that is left"


def test_bounds_of_the_linear_vae_are_its_likelihood():
    found, x = linear_vae(DIGITS, 2, 0.3), torch.from_numpy(DIGITS[:5])
    encoder, decoder = nn.Linear(64, 4).double(), nn.Linear(2, 64).double()
    with torch.no_grad():
        scale = np.square(found.weight).sum(0) + 0.3
        encoder.weight[:2] = torch.from_numpy((found.weight / scale).T)
        encoder.bias[:2] = torch.from_numpy(-(found.weight / scale).T @ found.mean)
        encoder.weight[2:] = 0
        encoder.bias[2:] = torch.from_numpy(np.log(found.posterior_variance))
        decoder.weight[:], decoder.bias[:] = torch.from_numpy(found.weight), torch.from_numpy(found.mean)
    model = VAE(encoder, decoder, 2, observation_variance=0.3)
    covariance = torch.from_numpy(found.weight @ found.weight.T + 0.3 * np.eye(64))
    law = torch.distributions.MultivariateNormal(torch.from_numpy(found.mean), covariance)
    torch.testing.assert_close(iw_bound(model, x, 1), law.log_prob(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(iw_bound(model, x, 7), law.log_prob(x), rtol=1e-9, atol=1e-9)


# ---- properties -----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.lists(st.floats(-10, 10), min_size=3, max_size=3))
def test_divergences_are_positive_finite_and_nil_for_the_prior_alone(mean, log_variance):
    found = gaussian_kl(torch.tensor(mean).double(), torch.tensor(log_variance).double())
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    assert gaussian_kl(torch.zeros(3), torch.zeros(3)).sum() == 0


@given(st.floats(0.05, 0.95), st.integers(0, 2**16))
def test_batch_normalised_codes_keep_their_divergence(tau, seed):
    posterior = BatchNormPosterior(3, tau).double()
    posterior.theta.data = torch.randn(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    of_mean, of_deviation = posterior.scales
    torch.testing.assert_close(of_mean.square() + of_deviation.square(), torch.ones(3).double())
    found = posterior(torch.randn(64, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.7)
    assert found.kl().mean(0).sum().item() >= of_mean.square().sum().item() / 2 * (1 - 1e-3)


def test_bounds_grow_with_the_number_of_draws():
    model, x = small(observation_variance=0.05), data(rows=40)
    means = [np.mean([iw_bound(model, x, k).mean().item() for _ in range(20)]) for k in (1, 5, 50)]
    assert means == sorted(means)
    assert means[0] < means[-1]


def test_gradients_reach_encoder_and_decoder():
    x = data()
    for posterior in ("gaussian", "batch_norm", "none"):
        model = small(posterior)
        model(x).loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    assert torch.autograd.gradcheck(gaussian_kl, (MEAN.requires_grad_(), LOG_VARIANCE.requires_grad_()))


@given(st.integers(0, 2**16), st.floats(0, 3))
def test_coverage_grows_with_the_radius_and_is_all_at_last(seed, radius):
    draw = torch.Generator().manual_seed(seed)
    means, deviations = torch.randn(4, 2, generator=draw), torch.rand(4, 2, generator=draw) + 0.1
    shares = [
        coverage(means, deviations, r, 300, generator=torch.Generator().manual_seed(seed)) for r in (radius, radius + 1)
    ]
    assert 0 <= shares[0] <= shares[1] <= 1
    assert coverage(means, deviations, 1e6, 50) == 1


# ---- paths, samples, groups -----------------------------------------------------------------------------------------


def test_paths_begin_and_end_with_the_samples_and_turn_evenly():
    model = VAE(nn.Identity(), nn.Identity(), 2, posterior="none")
    x0, x1 = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    straight, turned = (interpolate(model, x0, x1, 5, path) for path in ("linear", "spherical"))
    for path in (straight, turned):
        torch.testing.assert_close(path[:, 0], x0)
        torch.testing.assert_close(path[:, -1], x1)
    torch.testing.assert_close(straight[0, 2], torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(turned[0].norm(dim=1), torch.tensor([2.0, 2.5, 3.0, 3.5, 4.0]))
    torch.testing.assert_close(turned[0, 2], torch.tensor([3.0, 3.0]) / math.sqrt(2))


def test_a_path_between_opposite_codes_goes_straight():
    model = VAE(nn.Identity(), nn.Identity(), 2, posterior="none")
    found = interpolate(model, torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]]), 3, "spherical")
    torch.testing.assert_close(found[0, 1], torch.zeros(2))


def test_samples_without_temperature_are_all_the_same():
    model = small()
    assert model.sample(5).shape == (5, 4)
    cold = model.sample(3, temperature=0.0)
    torch.testing.assert_close(cold[0], cold[2])


def test_an_autoencoder_has_no_divergence_and_a_flat_region():
    model, x = small("none"), torch.zeros(6, 4).double()
    out = model(x)
    assert out.kl.item() == 0
    assert torch.equal(out.z, out.mean)
    report = latent_report(model, [(x, "label"), [x]])
    assert report.flat_dims == 2
    assert math.isfinite(report.moment_kl)
    assert torch.isinf(report.kl_per_dim).all()
    assert report.active_units == 0
    assert (report.nearest() == 0).all()


def test_a_group_may_have_a_prior_of_its_own():
    prior = Gaussian(torch.ones(5, 2).double(), torch.zeros(5, 2).double())
    group = LatentGroup(lambda state, shape: prior, small().latent.posterior)
    found = group.infer(torch.cat([torch.ones(5, 2), torch.zeros(5, 2)], 1).double())
    assert found.kl.abs().max().item() == 0
    torch.testing.assert_close(group.draw((5, 2), temperature=0.0), prior.mean)


def test_padding_is_left_out():
    model, x = small(), data()
    mask = torch.ones(6, 4, dtype=torch.bool)
    mask[:, 2:] = False
    other = x.clone()
    other[:, 2:] = 7.0
    outs = [model.log_likelihood(part, torch.zeros(6, 4).double(), mask=mask) for part in (x, other)]
    torch.testing.assert_close(*outs)


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: gaussian_kl(torch.zeros(2), torch.zeros(3)),
            r"log_variance must have the shape of mean: got shapes \(2,\) and \(3,\)",
        ),
        (lambda: VAE(nn.Identity(), nn.Identity(), 0), "latent_dim must"),
        (lambda: small(observation_variance=0), "observation_variance must"),
        (lambda: small(beta=-1), "beta must"),
        (lambda: small("spherical"), "posterior must be one of"),
        (lambda: BatchNormPosterior(2, 1.0), "tau must"),
        (lambda: VAE(nn.Linear(4, 5), nn.Linear(2, 4), 2)(torch.zeros(1, 4)), "encoder must return 4 numbers a sample"),
        (
            lambda: VAE(nn.Linear(4, 4), nn.Linear(2, 3), 2)(torch.zeros(1, 4)),
            r"decoder must return the shape of the samples, \(1, 4\)",
        ),
        (lambda: small(likelihood="bernoulli")(data() + 1), "x must lie between 0 and 1"),
        (lambda: iw_bound(small(), data(), 0), "k must"),
        (lambda: iw_bound(small("none"), data()), "An autoencoder has no likelihood"),
        (lambda: interpolate(small(), data(), data(), 1), "n must"),
        (lambda: interpolate(small(), data(), data(rows=2)), "x1 must have the shape of x0"),
        (lambda: latent_report(small(), []), "loader must give at least one batch"),
        (lambda: moment_kl(torch.zeros(2), torch.eye(3)), "covariance must have shape"),
        (lambda: coverage(torch.zeros(2, 2), -torch.ones(2, 2)), "deviations must be at least 0"),
        (lambda: linear_vae(DIGITS, 65, 0.1), "latent_dim must"),
        (lambda: linear_vae(DIGITS[:1], 1, 0.1), "X must be a matrix of two rows"),
        (lambda: linear_vae([[math.nan, 1.0], [0.0, 1.0]], 1, 0.1), "X must be finite"),
        (lambda: BatchNormPosterior(2)(torch.zeros(1, 4)), "Expected more than 1 value"),
        (lambda: small().sample(2, temperature=-1), "temperature must"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
