"""The exact test bed against sums in loops, sampling, quadrature, and the published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from contract import Sample
from diffusion.beds import EXP, LINE, LINEAR, NORMAL, column, digits, normal, plane
from scipy.stats import norm

from gezhi.diffusion import (
    GaussianMixture,
    ancestral,
    entropy,
    fixed_large,
    fixed_small,
    frechet_distance,
    gaussian_chain,
    gaussian_kl,
    gaussian_w2,
    mixture_cdf,
    mixture_quantile,
    nelbo,
    output_density,
    sample,
    sliced_w2,
    timestep_subsequence,
    zero,
)

SAMPLES = [
    Sample(LINE.denoise, (normal(5, 1), 0.6, 0.8)),
    Sample(plane().denoise, (normal(5, 2), 0.6, 0.8)),
    Sample(LINE.log_prob, (normal(5, 1),)),
]


def optimal(t, s, coefficients, prediction):
    """Equal for both heads where the mean is exact."""
    return coefficients.sigma2 + coefficients.gamma**2 * prediction.second_moment.clamp(min=0)


def wave(x):
    return 0.15 * torch.sin(3 * x)


# ---- reference ------------------------------------------------------------------------------------------------------


def reference_denoise(mixture, x, signal, noise):
    """Posterior mean and covariance by loops over components."""
    weights, means, inner = [], [], []
    for k in range(len(mixture.means)):
        lam = mixture._matrices(mixture.variances)[k].numpy()
        mu, total = mixture.means[k].numpy(), signal**2 * lam + noise**2 * np.eye(mixture.dim)
        off = x.numpy() - signal * mu
        inverse = np.linalg.inv(total)
        density = math.exp(-0.5 * off @ inverse @ off) / math.sqrt(np.linalg.det(2 * math.pi * total))
        weights.append(float(mixture.weights[k]) * density)
        means.append(mu + signal * lam @ inverse @ off)
        inner.append(lam - signal**2 * lam @ inverse @ lam)
    share = np.array(weights) / sum(weights)
    mean = sum(r * m for r, m in zip(share, means, strict=True))
    spread = sum(r * (c + np.outer(m - mean, m - mean)) for r, c, m in zip(share, inner, means, strict=True))
    return math.log(sum(weights)), mean, spread


@pytest.mark.parametrize("mixture", [LINE, NORMAL, plane(), GaussianMixture([1, 2.0], [[0, 1.0], [1, -1]], 0.3)])
@pytest.mark.parametrize(("signal", "noise"), [(0.95, 0.31), (0.3, 0.95), (1.0, 4.0)])
def test_denoising_is_the_sum_over_components(mixture, signal, noise):
    x = normal(4, mixture.dim)
    mean, variance = mixture.denoise(x, signal, noise)
    whole, logs = mixture.covariance_given(x, signal, noise), mixture.log_prob(x, signal, noise)
    for i in range(len(x)):
        log, expected, spread = reference_denoise(mixture, x[i], signal, noise)
        assert logs[i].item() == pytest.approx(log, rel=1e-11)
        assert mean[i].tolist() == pytest.approx(expected.tolist(), rel=1e-10, abs=1e-12)
        assert variance[i].tolist() == pytest.approx(np.diag(spread).tolist(), rel=1e-9)
        assert whole[i].flatten().tolist() == pytest.approx(spread.flatten().tolist(), rel=1e-9, abs=1e-12)


def test_a_shared_variance_is_the_same_mixture():
    shared = digits()
    apart = GaussianMixture(shared.weights, shared.means, shared.variances)
    x = shared.sample(3, torch.Generator().manual_seed(1)) * 0.8 + 0.6 * normal(3, 64)
    for left, right in zip(shared.denoise(x, 0.8, 0.6), apart.denoise(x, 0.8, 0.6), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(shared.log_prob(x), apart.log_prob(x), rtol=1e-10, atol=1e-9)


def test_check_values_of_the_beds():
    assert LINE.mean().item() == pytest.approx(0.055, abs=1e-15)
    assert LINE.covariance().item() == pytest.approx(1.7301, abs=1e-4)
    assert entropy(LINE) == pytest.approx(1.05027884935, abs=2e-11)
    signal, noise, x = EXP.signal(300), EXP.noise(300), column(0.25)
    eps = LINE.epsilon(x, signal, noise).item()
    assert eps == pytest.approx(0.0777368420381, abs=1e-12)
    assert -eps / noise == pytest.approx(-0.100911815738, abs=1e-12)
    assert LINE.log_prob(x, signal, noise).item() == pytest.approx(-1.13629241846, abs=1e-11)
    assert digits().covariance().trace().item() == pytest.approx(20.213, abs=1e-3)


def test_check_values_of_the_best_prediction_and_its_moments():
    x = column(-1.2, 0.1, 0.9, 2.3)
    signal, noise = LINEAR.signal(100), LINEAR.noise(100)
    eps = [0.4997424239, -0.4192782971, 0.7194840197, 1.058318669]
    assert LINE.epsilon(x, signal, noise)[:, 0].tolist() == pytest.approx(eps, abs=5e-10)
    exact = [0.03314475236, 0.05975554156, 0.08362147219, 0.01905858033]
    assert LINE.denoise(x, signal, noise)[1][:, 0].tolist() == pytest.approx(exact, abs=1e-11)
    tables = {
        (100, "noise"): [0.02502233262, 0.06379742162, 0.07255917125, -0.002889820088],
        (100, "residual"): [0.03365058712, 0.05998112975, 0.08409328545, 0.01992286792],
        (300, "noise"): [0.7021210794, 1.047147857, 0.7474163274, -0.09214145655],
        (300, "residual"): [0.5898030389, 1.055941498, 0.8403998748, 0.3317594016],
    }
    for (t, moment), expected in tables.items():
        model = LINE.denoiser(LINEAR, error=wave, moment=moment)
        assert model(x, t).second_moment[:, 0].tolist() == pytest.approx(expected, abs=1e-9)
    model = LINE.denoiser(LINEAR, error=wave)
    found = (x - signal * model(x, 100).mean) / noise
    assert found[:, 0].tolist() == pytest.approx([0.5661204904, -0.3749502661, 0.7835910018, 1.145084633], abs=1e-9)


def test_check_values_of_mean_squares():
    x = torch.linspace(-9, 9, 20001, dtype=torch.float64)
    squares = [0.00208380810707, 0.0374262428816, 0.416855609866, 0.485200658883, 0.87148439251, 0.999930178168]
    spreads = [9.98015993e-05, 0.00182734258826, 0.0669476876527, 0.78382245771, 1.50680843213, 1.72997920122]
    for t, square, spread in zip((1, 10, 100, 300, 500, 1000), squares, spreads, strict=True):
        signal, noise = LINEAR.signal(t), LINEAR.noise(t)
        density = LINE.log_prob(x[:, None], signal, noise).exp()
        eps, variance = LINE.epsilon(x[:, None], signal, noise)[:, 0], LINE.denoise(x[:, None], signal, noise)[1][:, 0]
        assert torch.trapezoid(density * eps**2, x).item() == pytest.approx(square, rel=1e-9)
        assert torch.trapezoid(density * variance, x).item() == pytest.approx(spread, rel=1e-8)


# ---- the normal bed: whole tables -----------------------------------------------------------------------------------

NORMAL_TABLE = {
    (
        0,
        zero,
    ): "12.0111424 .797203302 2.87878224 .391233376 .386226323 .157898554 .0778980358 .0801632677 .0183149701 .0418864036",
    (
        0.5,
        fixed_small,
    ): "12.9473672 .825389052 3.1325018 .427968607 .434559644 .183003653 .0958155869 .0952150176 .0250876734 .0492596151",
    (
        1,
        fixed_small,
    ): "24.4393607 1.00133629 5.64016226 .596454679 .793575048 .280830209 .219451743 .153387295 .0701884303 .0820189214",
    (
        1,
        fixed_large,
    ): "1.63900989 .779465507 .850817009 .359835319 .207569551 .122241637 .0557410618 .057707993 .014187127 .0281271955",
    (1, optimal): "2.48856399e-05 .00053472187 " * 5,
}


@pytest.mark.parametrize(("eta", "variance"), NORMAL_TABLE, ids=["ddim", "half", "small", "large", "optimal"])
def test_check_values_of_samplers_on_the_normal_target(eta, variance):
    found = []
    for count in (5, 10, 25, 50, 100):
        mean, spread = gaussian_chain(NORMAL, LINEAR, timestep_subsequence(1000, count), eta, variance)
        mu, lam = NORMAL.means[0], NORMAL.variances[0]
        found += [gaussian_kl(mu, lam, mean, spread), gaussian_w2(mean, spread, mu, lam)]
    assert found == pytest.approx([float(v) for v in NORMAL_TABLE[eta, variance].split()], rel=2e-8)


@pytest.mark.parametrize("count", [1, 2, 10, 1000])
def test_with_the_best_variance_and_noise_at_the_end_only_the_start_is_wrong(count):
    times = timestep_subsequence(1000, count)
    mean, spread = gaussian_chain(NORMAL, LINEAR, times, 1, optimal, last_noise=True)
    assert gaussian_kl(NORMAL.means[0], NORMAL.variances[0], mean, spread) == pytest.approx(3.461e-9, rel=1e-3)


def test_check_values_of_one_output():
    mean, spread = gaussian_chain(NORMAL, LINEAR, timestep_subsequence(1000, 10), 0, zero)
    assert mean.tolist() == pytest.approx([0.9892534958, -0.4974125411, 0, 0.2999345164], abs=1e-10)
    assert spread.tolist() == pytest.approx([2.861551611, 0.6635506502, 0.130763038, 0.001180565918], abs=1e-9)


def test_the_chain_is_what_samples_show():
    times, step = timestep_subsequence(1000, 5), ancestral(1, fixed_large)
    out = sample(NORMAL.denoiser(LINEAR), normal(40000, 4), times, step, generator=torch.Generator().manual_seed(3))
    mean, spread = gaussian_chain(NORMAL, LINEAR, times, 1, fixed_large)
    assert ((out.mean(0) - mean) / (spread / 40000).sqrt()).abs().max() < 4
    assert (out.var(0) / spread - 1).abs().max() < 4 * math.sqrt(2 / 40000)


# ---- the bed on the line: what samplers make of it ------------------------------------------------------------------

LINE_TABLE = {  # JS and W2 at 5, 10 and 25 steps; KL where it is published
    (0, zero): (".176534/.44693 .0501905/.22709 .00872399/.11247", ".9317633 .218403 .03306219"),
    (1, fixed_small): (".198420/.53252 .0645558/.33188 .0154428/.17404", ".999918 .269868 .0545891"),
    (1, fixed_large): (".155871/.34737 .0813720/.22135 .0177414/.11140", "1.29453 .539271 .0888782"),
    (1, optimal): (".129241/.27116 .0260770/.10153 .00200851/.02761", ""),
    (0, optimal): (".128886/.26866 .0229892/.09379 .00197088/.02812", ""),
}


@pytest.mark.parametrize(("eta", "variance"), LINE_TABLE, ids=["ddim", "small", "large", "optimal", "optimal-ddim"])
def test_check_values_of_samplers_on_the_line(eta, variance):
    pairs, divergences = LINE_TABLE[eta, variance]
    divergences = [*map(float, divergences.split()), None, None, None]
    for count, pair, kl in zip((5, 10, 25), pairs.split(), divergences, strict=False):
        out = output_density(LINE.denoiser(LINEAR), timestep_subsequence(1000, count), eta, variance)
        js, w2 = map(float, pair.split("/"))
        assert out.js(LINE) == pytest.approx(js, rel=5e-6)
        assert out.w2(LINE) == pytest.approx(w2, abs=1e-4)
        if kl is not None:
            assert out.kl(LINE) == pytest.approx(kl, rel=5e-6)


def test_check_values_of_many_steps_without_noise():
    for count, js, w2, kl in ((50, 0.00220445, 0.06383, 0.008452128), (100, 0.000566604, 0.03569, 0.002208498)):
        out = output_density(LINE.denoiser(LINEAR), timestep_subsequence(1000, count), 0, zero)
        assert (out.js(LINE), out.kl(LINE)) == pytest.approx((js, kl), rel=5e-6)
        assert out.w2(LINE) == pytest.approx(w2, abs=1e-4)


def test_check_values_of_samplers_with_an_imperfect_mean():
    for moment, js, w2 in (("noise", 0.029047, 0.1341), ("residual", 0.0267283, 0.1102)):
        model = LINE.denoiser(LINEAR, error=wave, moment=moment)
        out = output_density(model, timestep_subsequence(1000, 10), 1, optimal, length=28, points=7168)
        assert out.js(LINE) == pytest.approx(js, rel=3e-4 if moment == "noise" else 5e-6)
        assert out.w2(LINE) == pytest.approx(w2, abs=1e-4)


def test_the_density_is_what_samples_show():
    times = timestep_subsequence(1000, 5)
    out = output_density(LINE.denoiser(LINEAR), times, 1, optimal)
    step, start = ancestral(1, optimal), normal(20000, 1)
    found = sample(LINE.denoiser(LINEAR), start, times, step, generator=torch.Generator().manual_seed(5))
    cdf = (out.base * out.spacing).cumsum(0)
    for level in (0.1, 0.3, 0.5, 0.7, 0.9):
        x = out.x[int((cdf < level).sum())]
        assert float((found <= x).double().mean()) == pytest.approx(level, abs=4 * math.sqrt(0.25 / 20000))


BOUNDS = {
    fixed_small: [2818.0471, 432.83985, 79.521694, 26.283498, 9.154972],
    fixed_large: [0.63861333, 0.4345389, 0.21442037, 0.1164204, 0.060524764],
    optimal: [0.53438641, 0.18901628, 0.048750163, 0.015851708, 0.0047926725],
}


@pytest.mark.parametrize("variance", BOUNDS, ids=["small", "large", "optimal"])
def test_check_values_of_the_bound(variance):
    base = entropy(LINE)
    found = [nelbo(LINE.denoiser(LINEAR), timestep_subsequence(1000, k), variance) - base for k in (5, 10, 25, 50, 100)]
    assert found == pytest.approx(BOUNDS[variance], rel=2e-7)


def test_check_values_of_the_bound_with_an_imperfect_mean():
    tables = {"noise": [26.02004, 4.961487, 0.31690017], "residual": [0.97732279, 0.34959277, 0.15793863]}
    for moment, expected in tables.items():
        model = LINE.denoiser(LINEAR, error=wave, moment=moment)
        found = [nelbo(model, timestep_subsequence(1000, k), optimal) - entropy(LINE) for k in (5, 10, 25)]
        assert found == pytest.approx(expected, rel=2e-6 if moment == "noise" else 1e-7)


# ---- theorems -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixture", [LINE, NORMAL, plane()])
def test_the_posterior_covariance_is_a_derivative_of_the_mean(mixture):
    x = normal(1, mixture.dim)
    jacobian = torch.autograd.functional.jacobian(lambda y: mixture.denoise(y[None], 0.8, 0.6)[0][0], x[0])
    expected = mixture.covariance_given(x, 0.8, 0.6)[0]
    torch.testing.assert_close(jacobian * 0.36 / 0.8, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mixture", [LINE, NORMAL, plane()])
def test_the_best_prediction_is_the_score(mixture):
    x = normal(4, mixture.dim).requires_grad_()
    (score,) = torch.autograd.grad(mixture.log_prob(x, 0.8, 0.6).sum(), x)
    torch.testing.assert_close(mixture.epsilon(x.detach(), 0.8, 0.6), -0.6 * score, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [5, 10, 25])
def test_the_best_variance_is_a_minimum_of_the_bound(count):
    times, model = timestep_subsequence(1000, count), LINE.denoiser(LINEAR, error=wave)
    best = nelbo(model, times, optimal)
    for factor in (0.99, 1.01):
        assert nelbo(model, times, lambda *a, f=factor: f * optimal(*a)) > best + 1e-7


def test_quantile_is_the_inverse_of_the_cdf_and_scipy_agrees():
    level = (torch.arange(50, dtype=torch.float64) + 0.5) / 50
    x = mixture_quantile(LINE, level, 0.7, 0.5)
    torch.testing.assert_close(mixture_cdf(LINE, x, 0.7, 0.5), level, rtol=0, atol=1e-12)
    spread = np.sqrt(0.49 * LINE.variances[:, 0].numpy() + 0.25)
    expected = norm.cdf(x.numpy()[:, None], 0.7 * LINE.means[:, 0].numpy(), spread) @ LINE.weights.numpy()
    assert expected == pytest.approx(level.numpy(), abs=1e-12)


def test_distances_between_normals():
    mean, lam = NORMAL.means[0], NORMAL.variances[0]
    assert gaussian_kl(mean, lam, mean, lam) == 0
    assert frechet_distance(mean, torch.diag(lam), mean * 0, torch.diag(lam + 1)) == pytest.approx(
        gaussian_w2(mean, lam, mean * 0, lam + 1) ** 2
    )
    half = normal(4, 4)
    assert frechet_distance(mean, half @ half.T, mean, half @ half.T) == pytest.approx(0, abs=1e-10)


def test_samples_have_the_moments_of_the_mixture():
    for mixture in (LINE, plane()):
        drawn = mixture.sample(40_000, torch.Generator().manual_seed(2))
        torch.testing.assert_close(drawn.mean(0), mixture.mean(), rtol=0, atol=0.02)
        torch.testing.assert_close(drawn.T.cov().reshape(mixture.dim, -1), mixture.covariance(), rtol=0.03, atol=0.015)
    assert sliced_w2(drawn, plane(), directions=4) < 0.03


def test_check_values_in_the_plane():
    start, times = normal(8000, 2, seed=7), timestep_subsequence(1000, 10)
    model, draw = plane().denoiser(LINEAR), torch.Generator().manual_seed(8)
    small = sliced_w2(sample(model, start, times, ancestral(1, fixed_small), generator=draw), plane(), directions=4)
    diagonal = sliced_w2(sample(model, start, times, ancestral(1, optimal), generator=draw), plane(), directions=4)
    assert small == pytest.approx(0.199, abs=0.04)
    assert diagonal == pytest.approx(0.089, abs=0.03)


def test_an_exact_model_has_no_error_and_both_moments_are_the_variance():
    x = normal(6, 1)
    for t in (1, 100, 500, 1000):
        residual, noise = (LINE.denoiser(LINEAR, moment=m)(x, t) for m in ("residual", "noise"))
        ratio = LINEAR.sigma(t)
        torch.testing.assert_close(residual.second_moment, noise.second_moment, rtol=0, atol=1e-12 * ratio**2)
        wrong = LINE.denoiser(LINEAR, error=wave)(x, t)
        assert (wrong.second_moment >= residual.second_moment).all()
        torch.testing.assert_close(wrong.mean, residual.mean - ratio * wave(x), rtol=1e-12, atol=1e-12)


# ---- gradient -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixture", [LINE, plane(), GaussianMixture([1, 2.0], [[0, 1.0], [1, -1]], 0.3)])
def test_gradients(mixture):
    x = normal(3, mixture.dim).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: mixture.denoise(y, 0.8, 0.6), (x,))
    assert torch.autograd.gradcheck(lambda y: mixture.log_prob(y, 0.8, 0.6), (x,))


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_far_states_and_empty_batches_stay_finite():
    far = LINE.denoise(column(1e4, -1e4), 0.5, 0.8)
    assert all(part.isfinite().all() for part in far)
    assert LINE.denoise(torch.zeros(0, 1), 0.5, 0.8)[0].shape == (0, 1)
    shaped = LINE.denoiser(LINEAR)(normal(3, 1, 1, 1), 5)
    assert shaped.mean.shape == shaped.second_moment.shape == (3, 1, 1, 1)


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GaussianMixture([1.0, 0.0], [[0.0], [1.0]], 1.0), "weights must be positive: got 0.0"),
        (lambda: GaussianMixture([1.0], [[0.0], [1.0]], 1.0), "weights and means must have shapes"),
        (lambda: GaussianMixture([1.0], [[0.0]], 0.0), "covariances must lie strictly between 0"),
        (lambda: GaussianMixture([1.0], [[0.0]], [[-1.0]]), "covariances must be positive"),
        (
            lambda: GaussianMixture([1.0], [[0.0, 1.0]], [[1.0]]),
            r"covariances must be a number or have the shape \(1, 2\)",
        ),
        (lambda: LINE.denoise(torch.zeros(3, 2), 1.0, 1.0), r"x must have the shape \(n, 1\): got \(3, 2\)"),
        (lambda: LINE.denoiser(LINEAR, moment="both"), "moment must be one of"),
        (lambda: gaussian_chain(LINE, LINEAR, [1], 0, zero), "target must be one normal"),
        (lambda: mixture_cdf(NORMAL, torch.zeros(1)), "target must have one entry a sample: got 4"),
        (lambda: sliced_w2(torch.zeros(1, 1), LINE), "target must have two entries a sample: got 1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_exact_model_takes_one_time():
    with pytest.raises(TypeError, match="t must be a number for an exact model"):
        LINE.denoiser(LINEAR)(torch.zeros(2, 1), torch.tensor([1, 2]))
