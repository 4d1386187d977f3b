"""Parts of a hierarchical VAE against the sheet's values, loops, torch's distributions, and what must sum to 1."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributions import kl_divergence

from gezhi.vae import (
    DiscretizedLogisticMixture,
    Gaussian,
    KLBalancer,
    ResidualNormal,
    SpectralRegularizer,
    bits_per_dim,
    kl_warm_up,
)
from gezhi.vae.nvae import soft_clamp


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


# ---- residual normal laws -------------------------------------------------------------------------------------------

LOG_STD, DELTA, DELTA_LOG_STD = tensor([-0.5, 0.2, 0.0]), tensor([0.4, -0.1, 0.0]), tensor([-0.3, 0.25, 0.0])


def test_the_sheets_residual_divergence():
    found = ResidualNormal(torch.zeros(3).double(), LOG_STD).kl(DELTA, DELTA_LOG_STD)
    np.testing.assert_allclose(found, [0.2918683643237, 0.0777122355802, 0], atol=1e-12)
    assert soft_clamp(tensor(7.0)).item() == pytest.approx(4.4267582410113, rel=1e-12)


@given(st.integers(0, 2**16))
def test_the_residual_divergence_is_torchs_and_that_of_the_laws(seed):
    draw = torch.Generator().manual_seed(seed)
    mean, log_std, shift, log_stretch = torch.randn(4, 5, generator=draw, dtype=torch.float64)
    prior = ResidualNormal(mean, log_std)
    posterior = prior.posterior(shift, log_stretch)
    theirs = [torch.distributions.Normal(law.mean, (law.log_variance / 2).exp()) for law in (posterior, prior.prior)]
    torch.testing.assert_close(prior.kl(shift, log_stretch), kl_divergence(*theirs), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(prior.kl(shift, log_stretch), posterior.kl(prior.prior), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(prior.kl(shift, log_stretch), ResidualNormal(mean + 3, log_std).kl(shift, log_stretch))
    assert (prior.kl(torch.zeros(5).double(), torch.zeros(5).double()) == 0).all()


def test_the_standard_prior_is_the_standard_normal():
    prior = ResidualNormal.standard(torch.zeros(2, 3))
    found = prior.kl(torch.ones(2, 3), torch.zeros(2, 3))
    torch.testing.assert_close(found, Gaussian(torch.ones(2, 3), torch.zeros(2, 3)).kl())


# ---- grey levels ----------------------------------------------------------------------------------------------------


def mixture(logits, means, log_scales, n_levels=256):
    """One pixel of one channel."""
    shape = (1, len(logits), 1, 1)
    parts = tensor(logits).view(shape), tensor(means).view(1, *shape), tensor(log_scales).view(1, *shape)
    return DiscretizedLogisticMixture(*parts, n_levels=n_levels)


def over_levels(law, n_levels):
    """Logarithms of the probabilities of all levels of a single pixel."""
    return torch.stack(
        [
            law.log_prob(torch.full((1, 1, 1, 1), k / (n_levels - 1), dtype=torch.float64)).squeeze()
            for k in range(n_levels)
        ]
    )


def test_the_sheets_mixture():
    law = mixture([0.2, -0.5, 1.0], [-0.4, 0.1, 0.8], [-2.0, -3.0, -1.5])
    found = over_levels(law, 256)
    expected = [-5.6737403387047, -6.0714757420329, -5.6263210281093, -5.4285474368272, -1.7403459755738]
    np.testing.assert_allclose(found[[0, 50, 128, 254, 255]], expected, atol=1e-10)
    assert found.exp().sum().item() == pytest.approx(1, abs=1e-12)


@given(st.integers(0, 2**16), st.integers(2, 40), st.floats(-9, 2))
def test_probabilities_of_all_levels_sum_to_one(seed, n_levels, log_scale):
    draw = torch.Generator().manual_seed(seed)
    logits, means = torch.randn(2, 3, generator=draw).tolist()
    law = mixture(logits, means, [log_scale, log_scale + 1, -1.0], n_levels)
    assert over_levels(law, n_levels).exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_the_probability_is_the_difference_of_two_sigmoids():
    law, m, s = mixture([0.0], [0.3], [-1.0], 17), 0.3, math.exp(-1.0)
    for level in range(1, 16):
        y = 2 * level / 16 - 1
        upper, lower = (1 / (1 + math.exp(-(y - m + e) / s)) for e in (1 / 16, -1 / 16))
        assert over_levels(law, 17)[level].exp().item() == pytest.approx(upper - lower, rel=1e-10)


def colours(seed=0):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 2, 3, 3, generator=draw, dtype=torch.float64)
    means, log_scales, coefficients = torch.randn(3, 2, 3, 2, 3, 3, generator=draw, dtype=torch.float64)
    return logits, means, log_scales - 1, coefficients


def test_channels_follow_those_before_them():
    logits, means, log_scales, coefficients = colours()
    law = DiscretizedLogisticMixture(logits, means, log_scales, coefficients, 5)
    x = torch.randint(5, (2, 3, 3, 3), generator=torch.Generator().manual_seed(1)).double() / 4
    y = 2 * x - 1
    found = law.log_prob(x)
    for b, i, j in [(0, 0, 0), (1, 2, 1)]:
        total = 0.0
        for k in range(2):
            c = coefficients[b, :, k, i, j].tanh()
            centre = means[b, :, k, i, j].clone()
            centre[1] += c[0] * y[b, 0, i, j]
            centre[2] += c[1] * y[b, 0, i, j] + c[2] * y[b, 1, i, j]
            p = 1.0
            for channel in range(3):
                single = mixture([0.0], [centre[channel].item()], [log_scales[b, channel, k, i, j].item()], 5)
                p *= single.log_prob(x[b, channel, i, j].view(1, 1, 1, 1)).exp().item()
            total += logits[b, :, i, j].softmax(0)[k].item() * p
        assert found[b, i, j].item() == pytest.approx(math.log(total), rel=1e-9)


def test_samples_lie_on_levels_and_have_the_laws_frequencies():
    law = mixture([0.2, -0.5], [-0.4, 0.6], [-1.5, -2.0], 9)
    many = DiscretizedLogisticMixture(
        law.logits.expand(20_000, -1, 1, 1),
        law.means.expand(20_000, -1, -1, 1, 1),
        law.log_scales.expand(20_000, -1, -1, 1, 1),
        n_levels=9,
    )
    x = many.sample(generator=torch.Generator().manual_seed(0))
    levels = (x * 8).round()
    torch.testing.assert_close(x * 8, levels)
    shares = torch.bincount(levels.long().flatten(), minlength=9) / 20_000
    np.testing.assert_allclose(shares, over_levels(law, 9).exp(), atol=0.015)
    cold = many.sample(0.0, torch.Generator().manual_seed(0))
    assert len(cold.unique()) <= 2
    assert ((many.mean() >= 0) & (many.mean() <= 1)).all()


def test_colours_are_drawn_and_averaged():
    law = DiscretizedLogisticMixture(*colours(), 5)
    x = law.sample(generator=torch.Generator().manual_seed(2))
    assert x.shape == law.mean().shape == (2, 3, 3, 3)
    assert torch.isfinite(law.log_prob(x)).all()


def test_likelihoods_have_gradients_even_far_out():
    logits, means, log_scales = (x.requires_grad_() for x in colours()[:3])
    law = DiscretizedLogisticMixture(logits, means * 100, log_scales - 6, None, 256)
    law.log_prob(torch.full((2, 3, 3, 3), 128 / 255).double()).sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in (logits, means, log_scales))


def test_the_likelihood_passes_gradcheck():
    parts = [x[:1, ..., :1, :1].contiguous().requires_grad_() for x in colours()]
    x = torch.tensor([0.0, 0.5, 1.0]).double().view(1, 3, 1, 1)
    assert torch.autograd.gradcheck(lambda *p: DiscretizedLogisticMixture(*p, n_levels=3).log_prob(x), parts)


def test_bits_per_dimension():
    assert bits_per_dim(6000.0, 3072) == pytest.approx(2.8177637517363)


# ---- steadiness -----------------------------------------------------------------------------------------------------


def test_the_sheets_balance():
    balancer = KLBalancer((2, 1))
    np.testing.assert_allclose(balancer.alpha, [1, 2, 2])
    found, gamma = balancer(tensor([[1.0, 4.0, 0.2], [3.0, 2.0, 0.0]]))
    np.testing.assert_allclose(gamma, [1.6890756302521, 1.2647058823529, 0.0462184873950], atol=1e-12)
    np.testing.assert_allclose(found, [6.7571428571429, 7.5966386554622], atol=1e-12)
    np.testing.assert_allclose(KLBalancer((4, 2, 1)).alpha, [1, 2, 2, 4, 4, 4, 4])
    np.testing.assert_allclose(KLBalancer((10, 5)).alpha, [1] * 5 + [2] * 10)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 2**16))
def test_weights_have_the_mean_one_and_no_gradient(groups, seed):
    kl = torch.rand(5, sum(groups), generator=torch.Generator().manual_seed(seed)).requires_grad_()
    total, gamma = KLBalancer(groups)(kl, 0.5)
    assert gamma.mean().item() == pytest.approx(1, rel=1e-5)
    (slope,) = torch.autograd.grad(total.sum(), kl)
    torch.testing.assert_close(slope, gamma.expand_as(slope))
    plain, ones = KLBalancer(groups)(kl, 1.0)
    assert (ones == 1).all()
    torch.testing.assert_close(plain, kl.sum(1))


def test_the_sheets_warm_up():
    found = [kl_warm_up(t, 3000, 1) for t in (0, 1, 2, 1501, 3001)]
    np.testing.assert_allclose(found, [1e-4, 1e-4, 1 / 3000, 0.5, 1])


def test_the_penalty_is_the_sum_of_largest_singular_values():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.Conv2d(3, 4, 3)).double()
    model[1].weight.data = tensor([0.5, -2.0, 1.0, 0.1])
    expected = 2.0 + sum(float(torch.linalg.matrix_norm(model[i].weight.detach().flatten(1), 2)) for i in (0, 2, 3))
    penalty = SpectralRegularizer(model, 30)
    assert penalty().item() == pytest.approx(expected, rel=1e-6)
    penalty().backward()
    u, _, v = torch.linalg.svd(model[0].weight.detach().flatten(1), full_matrices=False)
    torch.testing.assert_close(model[0].weight.grad.flatten(1), torch.outer(u[:, 0], v[0]), rtol=1e-4, atol=1e-5)
    one = nn.Conv2d(2, 2, 1).double()
    one.weight.data = tensor([[1.0, 2.0], [3.0, 4.0]]).view(2, 2, 1, 1)
    assert SpectralRegularizer(one)().item() == pytest.approx(5.4649857042190, rel=1e-9)
    assert SpectralRegularizer(nn.Linear(2, 2))().item() == 0


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ResidualNormal(torch.zeros(2), torch.zeros(3)), "log_std must have the shape of mean"),
        (lambda: mixture([0.0], [0.0], [0.0]).log_prob(torch.full((1, 1, 1, 1), 1.5)), "x must lie between 0 and 1"),
        (lambda: mixture([0.0], [0.0], [0.0], 17).log_prob(torch.full((1, 1, 1, 1), 0.03)), "x must lie on the levels k / 16"),
        (lambda: mixture([0.0], [0.0], [0.0]).log_prob(torch.zeros(1, 1, 2, 2)), "x must have shape"),
        (lambda: mixture([0.0], [0.0], [0.0], 1), "n_levels must"),
        (lambda: DiscretizedLogisticMixture(*[torch.zeros(1, 1, 1, 1)] * 3), "logits, means and log_scales must fit"),
        (lambda: DiscretizedLogisticMixture(torch.zeros(1, 2, 1, 1), *[torch.zeros(1, 1, 3, 1, 1)] * 2), "means must have shape"),
        (lambda: DiscretizedLogisticMixture(torch.zeros(1, 1, 1, 1), *[torch.zeros(1, 1, 1, 1, 1)] * 3), "coefficients must have three channels"),
        (lambda: KLBalancer([]), "groups_per_scale must name a scale"),
        (lambda: KLBalancer([1, 0]), "groups_per_scale must"),
        (lambda: KLBalancer([2])(torch.zeros(3, 3)), r"kl must have the shape \(batch, 2\)"),
        (lambda: kl_warm_up(1, 0), "steps must"),
        (lambda: bits_per_dim(1.0, 0), "n_values must"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
