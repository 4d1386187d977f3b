"""Analytic-DPM against brute force, quadrature, published values and what its derivation says."""

from __future__ import annotations

import itertools
import math
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from contract import Sample
from diffusion.beds import LINE, LINEAR, NORMAL, column, normal
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from gezhi.diffusion import (
    AnalyticVariance,
    Denoiser,
    NoiseSchedule,
    Prediction,
    VarianceStats,
    ancestral,
    capped,
    entropy,
    estimate_x0_variance,
    first_step_clip,
    fixed_small,
    gaussian_chain,
    gaussian_kl,
    gaussian_w2,
    nelbo,
    optimal_trajectory,
    optimal_variance_bounds,
    output_density,
    sample,
    timestep_subsequence,
)
from gezhi.diffusion.fingerprint import fingerprint

ANY = Prediction(torch.zeros(1, 1).double())
SAMPLES = [
    Sample(first_step_clip, (2,), compiles=False, differentiable=False, reason="a number"),
    Sample(
        optimal_trajectory,
        (NoiseSchedule.linear(12), torch.linspace(0, 1, 13).double(), 4),
        compiles=False,
        differentiable=False,
        reason="a search",
    ),
    Sample(
        optimal_variance_bounds, (LINEAR, 5, 9, 0.5), compiles=False, differentiable=False, reason="takes a schedule"
    ),
]


def stats_of(x0_var, ms_eps, schedule=LINEAR):
    blank = torch.full_like(ms_eps, torch.nan)
    return VarianceStats(x0_var, ms_eps, 0 * blank, blank, schedule.signals, 1, "direct")


@cache
def exact_normal():
    """Statistics of the normal bed, in closed form."""
    signal, noise = LINEAR.signals[:, None] ** 2, LINEAR.noises[:, None] ** 2
    total = signal * NORMAL.variances + noise
    ms_eps = (noise / total).mean(1)
    ms_eps[0] = torch.nan
    return stats_of((NORMAL.variances * noise / total).mean(1), ms_eps)


@cache
def exact_line():
    """Statistics of the bed on the line, by quadrature."""
    x = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    x0_var, ms_eps = (torch.full((1001,), torch.nan, dtype=torch.float64) for _ in range(2))
    for t in range(1, 1001):
        signal, noise = LINEAR.signal(t), LINEAR.noise(t)
        density = LINE.log_prob(x[:, None], signal, noise).exp()
        mean, variance = LINE.denoise(x[:, None], signal, noise)
        eps = (x - signal * mean[:, 0]) / noise
        ms_eps[t], x0_var[t] = torch.trapezoid(density * eps**2, x), torch.trapezoid(density * variance[:, 0], x)
    return stats_of(x0_var, ms_eps)


# ---- reference ------------------------------------------------------------------------------------------------------


def reference_variance(model, data, noise, t, method):
    """The three estimates by loops over draws and entries."""
    signal, level = LINEAR.signal(t), LINEAR.noise(t)
    centre = data.mean(0).tolist()
    total, entries = 0.0, 0
    for x0, e in zip(data, noise, strict=True):
        mean = model((signal * x0 + level * e)[None], t).mean[0]
        for j in range(len(x0)):
            eps = (signal * x0[j] + level * e[j] - signal * mean[j]) / level
            total += {
                "direct": (x0[j] - mean[j]) ** 2,
                "estimate1": (x0[j] - centre[j]) ** 2 - (mean[j] - centre[j]) ** 2,
                "estimate2": (level / signal) ** 2 * (1 - eps**2),
            }[method].item()
            entries += 1
    return total / entries


@pytest.mark.parametrize("method", ["direct", "estimate1", "estimate2"])
def test_estimates_are_their_formulas(method):
    model, data = NORMAL.denoiser(LINEAR), NORMAL.sample(20, torch.Generator().manual_seed(1))
    for t in (1, 100, 500):
        draw = torch.Generator().manual_seed(7)
        found = estimate_x0_variance(
            model, data, [t], num_samples=20, method=method, generator=draw, batch_size=20, data_range=(-99, 99)
        )
        again = torch.Generator().manual_seed(7)
        order = torch.randperm(20, generator=again)
        noise = torch.randn(20, 4, generator=again, dtype=torch.float64)
        expected = reference_variance(model, data[order], noise, t, method)
        assert found.x0_var[t].item() == pytest.approx(max(expected, 0), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("count", range(2, 13))
def test_the_best_path_is_that_of_brute_force(count):
    schedule = NoiseSchedule.linear(12, 0.01, 0.4)
    ms_eps = torch.tensor([math.nan, *(0.03 * t + 0.3 * ((5 * t) % 7) / 7 for t in range(1, 13))], dtype=torch.float64)

    def cost(path):
        total = 0.0
        for s, t in itertools.pairwise(path):
            beta2 = 1 - (schedule.signal(t) / schedule.signal(s)) ** 2
            total += math.log(1 - beta2 * float(ms_eps[t]) / schedule.noise(t) ** 2)
        return total

    paths = [(1, *inner, 12) for inner in itertools.combinations(range(2, 12), count - 2)]
    times, found = optimal_trajectory(schedule, ms_eps, count)
    assert found == pytest.approx(min(map(cost, paths)), abs=1e-12)
    assert cost(times.tolist()) == pytest.approx(found, abs=1e-12)


def test_check_values_of_statistics():
    times = (1, 10, 100, 500, 1000)
    squares = [0.00260671310081, 0.0423639570305, 0.341364685374, 0.911326642578, 0.999946933644]
    spreads = [9.97493036203e-05, 0.00181796886985, 0.0756143968226, 1.03966954112, 1.31482786515]
    assert [exact_normal().ms_eps[t].item() for t in times] == pytest.approx(squares, rel=1e-11)
    assert [exact_normal().x0_var[t].item() for t in times] == pytest.approx(spreads, rel=1e-11)


@pytest.mark.parametrize(
    ("s", "t", "eta", "value", "low", "high"),
    [
        (99, 100, 1, 0.002062112864, 0.002034596259, 0.00207637447),
        (112, 223, 1, 0.2575967169, 0.09932621035, 0.4637936877),
        (112, 223, 0, 0.07396822038, 0, 0.170335025),
    ],
)
def test_check_values_of_variances_and_bounds(s, t, eta, value, low, high):
    found = AnalyticVariance(exact_normal())(t, s, LINEAR.step(s, t, eta), ANY)
    assert found == pytest.approx(value, rel=1e-9)
    assert optimal_variance_bounds(LINEAR, s, t, eta) == pytest.approx((low, high), rel=1e-9)


NORMAL_TABLE = {
    1: "1.44728035 .697744685 .69228285 .340518452 .145352492 .130879167 .0347763751 .0655194263 .00817630566 .0329646562",
    0: "1.39365296 .626522394 .655589679 .265724514 .12206515 .0856470611 .0245677162 .041035393 .00578623594 .0230681272",
}


@pytest.mark.parametrize("eta", [1, 0])
def test_check_values_of_samplers_on_the_normal_target(eta):
    found, mu, lam = [], NORMAL.means[0], NORMAL.variances[0]
    for count in (5, 10, 25, 50, 100):
        times = timestep_subsequence(1000, count)
        mean, spread = gaussian_chain(NORMAL, LINEAR, times, eta, AnalyticVariance(exact_normal()))
        found += [gaussian_kl(mu, lam, mean, spread), gaussian_w2(mean, spread, mu, lam)]
    assert found == pytest.approx([float(v) for v in NORMAL_TABLE[eta].split()], rel=2e-8)


LINE_TABLE = {  # JS, W2 and KL at 5, 10 and 25 steps
    1: ".157908/.33669/1.57169 .0627622/.18393/.390227 .00941876/.09039/.0456848",
    0: ".157677/.33500/1.56794 .0590794/.16644/.367502 .00809292/.07171/.0391591",
}


@pytest.mark.parametrize("eta", [1, 0])
def test_check_values_of_samplers_on_the_line(eta):
    for count, row in zip((5, 10, 25), LINE_TABLE[eta].split(), strict=True):
        times, variance = timestep_subsequence(1000, count), AnalyticVariance(exact_line())
        out = output_density(LINE.denoiser(LINEAR), times, eta, variance)
        js, w2, kl = map(float, row.split("/"))
        assert (out.js(LINE), out.kl(LINE)) == pytest.approx((js, kl), rel=1e-5)
        assert out.w2(LINE) == pytest.approx(w2, abs=1e-4)


def test_check_values_of_the_bound():
    expected = [0.61125903, 0.39258737, 0.16409585, 0.081922285, 0.040626271]
    variance, base = AnalyticVariance(exact_line()), entropy(LINE)
    found = [nelbo(LINE.denoiser(LINEAR), timestep_subsequence(1000, k), variance) - base for k in (5, 10, 25, 50, 100)]
    assert found == pytest.approx(expected, rel=1e-7)


def path_cost(stats, times):
    beta2 = [LINEAR.step(s, t, 1.0).beta2 for s, t in itertools.pairwise(times)]
    return sum(
        math.log(1 - b * float(stats.ms_eps[t]) / LINEAR.noise(t) ** 2) for b, t in zip(beta2, times[1:], strict=True)
    )


def test_check_values_of_paths():
    for count, times, cost in (
        (3, [1, 216, 1000], -10.26361219),
        (5, [1, 62, 157, 309, 1000], -10.65237764),
        (10, [1, 27, 49, 77, 114, 163, 227, 308, 416, 1000], -10.96871631),
    ):
        found, least = optimal_trajectory(LINEAR, exact_normal().ms_eps, count)
        assert found.tolist() == times
        assert least == pytest.approx(cost, abs=1e-8)
    even = path_cost(exact_normal(), timestep_subsequence(1000, 3).tolist())
    assert even == pytest.approx(-9.972442804, abs=1e-8)
    assert optimal_trajectory(LINEAR, exact_line().ms_eps, 5)[0].tolist() == [1, 57, 93, 137, 1000]
    times, cost = optimal_trajectory(LINEAR, exact_line().ms_eps, 10)
    assert times.tolist() == [1, 38, 59, 78, 96, 116, 139, 169, 223, 1000]
    assert cost == pytest.approx(-10.62876885, abs=1e-7)
    assert path_cost(exact_line(), timestep_subsequence(1000, 10).tolist()) == pytest.approx(-10.06780177, abs=1e-7)


def test_check_values_of_the_bound_on_the_best_paths():
    variance, base = AnalyticVariance(exact_line()), entropy(LINE)
    for count, expected in ((5, 0.225), (10, 0.112), (25, 0.0445)):
        times, _ = optimal_trajectory(LINEAR, exact_line().ms_eps, count)
        assert nelbo(LINE.denoiser(LINEAR), times, variance) - base == pytest.approx(expected, rel=5e-3)
    times, _ = optimal_trajectory(LINEAR, exact_line().ms_eps, 10)
    out = output_density(LINE.denoiser(LINEAR), times, 1, variance)
    assert out.js(LINE) == pytest.approx(0.00397, rel=5e-3)


# ---- theorems -------------------------------------------------------------------------------------------------------


def test_two_bounds_differ_by_half_of_what_their_paths_do():
    even, model, variance = timestep_subsequence(1000, 10), LINE.denoiser(LINEAR), AnalyticVariance(exact_line())
    times, cost = optimal_trajectory(LINEAR, exact_line().ms_eps, 10)
    gap = (path_cost(exact_line(), even.tolist()) - cost) / 2
    assert gap == pytest.approx(0.2804835, abs=1e-7)
    assert nelbo(model, even, variance) - nelbo(model, times, variance) == pytest.approx(gap, abs=1e-6)


def test_the_paper_writes_the_same_variance_in_another_form():
    for s, t, eta in ((99, 100, 1.0), (112, 223, 0.5), (1, 700, 0.0)):
        c = LINEAR.step(s, t, eta)
        gamma_t = float(exact_normal().ms_eps[t]) / c.noise_t**2
        factor = c.noise_t / (c.signal_t / c.signal_s) - math.sqrt(c.noise_s**2 - c.sigma2)
        paper = c.sigma2 + factor**2 * (1 - c.noise_t**2 * gamma_t)
        assert AnalyticVariance(exact_normal())(t, s, c, ANY) == pytest.approx(paper, rel=1e-9)


@pytest.mark.parametrize("stats", [exact_normal, exact_line])
def test_the_variance_lies_within_its_bounds_and_grows_with_time(stats):
    for count in (5, 25, 100):
        times = timestep_subsequence(1000, count).tolist()
        for s, t in itertools.pairwise(times):
            for eta in (0.0, 1.0):
                value = AnalyticVariance(stats())(t, s, LINEAR.step(s, t, eta), ANY)
                low, high = optimal_variance_bounds(LINEAR, s, t, eta)
                assert low <= value <= high
    assert (stats().x0_var[1:].diff() > 0).all()


@given(st.integers(1, 999), st.integers(2, 1000), st.floats(0, 1), st.floats(0.1, 5))
def test_a_range_of_the_data_bounds_the_variance(s, t, eta, half):
    if s >= t:
        return
    low, high = optimal_variance_bounds(LINEAR, s, t, eta, (-half, half))
    free = optimal_variance_bounds(LINEAR, s, t, eta)
    assert low == free[0]
    c = LINEAR.step(s, t, eta)
    assert high == pytest.approx(min(free[1], c.sigma2 + c.gamma**2 * half**2))


def test_the_three_estimates_agree_with_the_truth_within_their_errors():
    model, data = LINE.denoiser(LINEAR), LINE.sample(4000, torch.Generator().manual_seed(1))
    for method in ("auto", "estimate1", "estimate2"):
        found = estimate_x0_variance(
            model, data, [10, 300, 500], num_samples=4000, method=method, generator=torch.Generator().manual_seed(2)
        )
        for t in (10, 300, 500):
            gap = (found.x0_var[t] - exact_line().x0_var[t]).abs()
            assert gap < 4 * found.std_error[t]
        assert found.method == ("direct" if method == "auto" else method)
        assert found.ms_eps[300].item() == pytest.approx(exact_line().ms_eps[300].item(), rel=0.1)


def test_standard_errors_are_the_spread_of_repeated_estimates():
    model, data = LINE.denoiser(LINEAR), LINE.sample(20000, torch.Generator().manual_seed(1))
    for method in ("direct", "estimate2"):
        runs = [
            estimate_x0_variance(
                model, data, [300], num_samples=200, method=method, generator=torch.Generator().manual_seed(i)
            )
            for i in range(60)
        ]
        spread = torch.stack([r.x0_var[300] for r in runs]).std()
        assert (spread / runs[0].std_error[300]).item() == pytest.approx(1, abs=0.35)


def test_check_values_of_the_estimates_noise():
    model, data = LINE.denoiser(LINEAR), LINE.sample(20000, torch.Generator().manual_seed(1))
    table = {"estimate1": [1.95, 0.26, 0.034], "estimate2": [0.002, 0.035, 0.28], "direct": [0.047, 0.070, 0.032]}
    for method, expected in table.items():
        found = estimate_x0_variance(
            model, data, [10, 100, 500], num_samples=20000, method=method, generator=torch.Generator().manual_seed(3)
        )
        relative = [
            float(found.std_error[t] / exact_line().x0_var[t]) * math.sqrt(20) for t in (10, 100, 500)
        ]  # for n = 1000
        assert relative == pytest.approx(expected, rel=0.25)


def test_the_direct_estimate_is_right_for_an_imperfect_mean():
    model = LINE.denoiser(LINEAR, error=lambda x: 0.3 * torch.cos(x))
    data, x = LINE.sample(4000, torch.Generator().manual_seed(1)), torch.linspace(-9, 9, 4001, dtype=torch.float64)
    found = estimate_x0_variance(model, data, [300], num_samples=4000, generator=torch.Generator().manual_seed(2))
    density = LINE.log_prob(x[:, None], LINEAR.signal(300), LINEAR.noise(300)).exp()
    expected = torch.trapezoid(density * model(x[:, None], 300).second_moment[:, 0], x)
    assert abs(found.x0_var[300] - expected) < 4 * found.std_error[300]
    other = estimate_x0_variance(
        model, data, [300], num_samples=4000, method="estimate2", generator=torch.Generator().manual_seed(2)
    )
    assert abs(other.x0_var[300] - expected) > 4 * other.std_error[300]


def test_one_variance_an_entry_is_the_best_one_on_the_normal_target():
    signal, noise = LINEAR.signals[:, None] ** 2, LINEAR.noises[:, None] ** 2
    each = NORMAL.variances * noise / (signal * NORMAL.variances + noise)
    stats = stats_of(each, exact_normal().ms_eps)
    for count in (5, 10, 50):
        times = timestep_subsequence(1000, count)
        mean, spread = gaussian_chain(NORMAL, LINEAR, times, 1, AnalyticVariance(stats))
        kl = gaussian_kl(NORMAL.means[0], NORMAL.variances[0], mean, spread)
        assert kl == pytest.approx(2.48856399e-05, rel=1e-6)


def test_statistics_per_entry_are_the_statistics_of_each_entry():
    model, data = NORMAL.denoiser(LINEAR), NORMAL.sample(3000, torch.Generator().manual_seed(1))
    per, whole = (
        estimate_x0_variance(
            model, data, [400], per_dim=p, num_samples=3000, generator=torch.Generator().manual_seed(2)
        )
        for p in (True, False)
    )
    assert per.x0_var.shape == (1001, 4)
    assert per.x0_var[400].mean().item() == pytest.approx(whole.x0_var[400].item(), rel=1e-12)
    expected = NORMAL.denoise(torch.zeros(1, 4), LINEAR.signal(400), LINEAR.noise(400))[1][0]
    assert ((per.x0_var[400] - expected).abs() < 4 * per.std_error[400]).all()


def test_files_give_back_what_was_saved(tmp_path):
    model, data = NORMAL.denoiser(LINEAR), NORMAL.sample(50, torch.Generator().manual_seed(1))
    for per_dim in (False, True):
        stats = estimate_x0_variance(
            model, data, [1, 500], num_samples=50, per_dim=per_dim, generator=torch.Generator().manual_seed(2)
        )
        stats.save(tmp_path / "stats.safetensors")
        again = VarianceStats.load(tmp_path / "stats.safetensors")
        assert (again.n, again.method) == (50, "direct")
        for name in ("x0_var", "ms_eps", "residual", "std_error", "signals"):
            torch.testing.assert_close(getattr(again, name), getattr(stats, name), rtol=0, atol=0, equal_nan=True)
        times = [1, 500]
        left, right = (
            sample(model, normal(3, 4), times, ancestral(1, AnalyticVariance(s)), noise=torch.ones_like)
            for s in (stats, again)
        )
        assert torch.equal(left, right)


def test_the_cap_binds_at_one_step_alone():
    variance = capped(AnalyticVariance(exact_line()), at=112, std=0.01)
    assert variance(223, 112, LINEAR.step(112, 223, 1), ANY) == 0.01**2
    free = AnalyticVariance(exact_line())
    assert variance(334, 223, LINEAR.step(223, 334, 1), ANY) == free(334, 223, LINEAR.step(223, 334, 1), ANY)
    pair = capped(lambda *a: column(1.0, 1e-6), at=1, std=0.1)(2, 1, LINEAR.step(1, 2, 1), ANY)
    assert pair[:, 0].tolist() == pytest.approx([0.01, 1e-6])


def test_the_paper_caps_the_mean_absolute_noise_at_grey_levels():
    std = first_step_clip(2)
    assert np.abs(std * np.random.default_rng(0).standard_normal(100_000)).mean() == pytest.approx(4 / 255, rel=0.01)


class Affine(torch.nn.Module):
    """A network with two weights."""

    def __init__(self, scale=0.5):
        super().__init__()
        self.scale, self.shift = torch.nn.Parameter(torch.tensor(scale)), torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, _times):
        return self.scale * x + self.shift


def test_statistics_know_their_network_and_the_shape_of_its_samples(tmp_path):
    stats = estimate_x0_variance(
        Denoiser(Affine(), LINEAR), normal(9, 4, dtype=torch.float32), [100, 500], num_samples=9
    )
    stats.save(tmp_path / "stats.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["stats.safetensors"]
    for known in (stats, VarianceStats.load(tmp_path / "stats.safetensors")):
        assert known.shape == (4,)
        known.belongs_to(Affine())
        for other in (Affine(0.51), Affine().double(), torch.nn.Linear(1, 1)):
            with pytest.raises(ValueError, match=r"stats must belong to the network, \w{16} .*: got \w{16}"):
                known.belongs_to(other)
        with pytest.raises(ValueError, match=r"stats must come from samples of the state's shape, \(5,\): got \(4,\)"):
            sample(Denoiser(Affine(), LINEAR), torch.zeros(1, 5), [100, 500], ancestral(1, AnalyticVariance(known)))
    exact_normal().belongs_to(Affine())  # whose model is not known
    assert estimate_x0_variance(NORMAL.denoiser(LINEAR), normal(9, 4), [500], num_samples=9).model == ""


def test_a_fingerprint_is_of_names_types_shapes_and_values():
    base = torch.nn.Linear(2, 3)
    state = {name: value.clone() for name, value in base.state_dict().items()}
    twin = torch.nn.Linear(2, 3)
    twin.load_state_dict(state)
    assert fingerprint(twin) == fingerprint(base)
    marks = {fingerprint(base), fingerprint(torch.nn.Sequential(base)), fingerprint(base.double())}
    with torch.no_grad():
        twin.bias[0] += 1e-6
    turned = torch.nn.Linear(3, 2)
    turned.weight.data, turned.bias.data = state["weight"].reshape(2, 3), state["bias"][:2]
    assert len(marks | {fingerprint(twin), fingerprint(turned)}) == 5


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_constant_data_have_no_variance_and_sampling_stays_finite():
    data = torch.full((10, 3), 0.25, dtype=torch.float64)
    model = Denoiser(lambda x, times: torch.full_like(x, 0.25), LINEAR, "sample")
    stats = estimate_x0_variance(model, data, [1, 500, 1000], num_samples=10)
    assert stats.x0_var[[1, 500, 1000]].tolist() == [0, 0, 0]
    out = sample(model, normal(4, 3), [1, 500, 1000], ancestral(0, AnalyticVariance(stats)))
    torch.testing.assert_close(out, torch.full((4, 3), 0.25).double())


def test_single_precision_and_more_draws_than_rows():
    data = NORMAL.sample(30, torch.Generator().manual_seed(1)).float()
    model = Denoiser(lambda x, times: 0.5 * x, LINEAR)
    stats = estimate_x0_variance(model, data, [200], num_samples=100, batch_size=7, data_range=(-1, 1))
    assert stats.x0_var[200] <= 1
    assert stats.x0_var.dtype == torch.float64
    assert stats.x0_var[1].isnan()


def test_the_generator_decides_and_the_global_one_is_left_alone():
    model, data, state = (
        NORMAL.denoiser(LINEAR),
        NORMAL.sample(30, torch.Generator().manual_seed(1)),
        torch.get_rng_state(),
    )
    runs = [
        estimate_x0_variance(model, data, [5], num_samples=9, generator=torch.Generator().manual_seed(i)).x0_var[5]
        for i in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]
    assert torch.equal(state, torch.get_rng_state())


def test_a_negative_estimate_is_clipped_and_warned_of():
    model = Denoiser(lambda x, times: 1.5 * x, LINEAR)
    data = normal(500, 2)
    with pytest.warns(UserWarning, match=r"estimate 2 is negative at t=900: the mean square.*> 1"):
        stats = estimate_x0_variance(model, data, [900], num_samples=500, method="estimate2")
    assert stats.x0_var[900] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate_x0_variance(model, data, [900], num_samples=500)


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_missing_times_are_listed():
    stats = estimate_x0_variance(NORMAL.denoiser(LINEAR), normal(5, 4), [1, 500], num_samples=5)
    with pytest.raises(KeyError, match=r"missing \[2, 900\]"):
        stats.require([1, 2, 500, 900])
    with pytest.raises(KeyError, match=r"missing \[1000\]"):
        sample(NORMAL.denoiser(LINEAR), normal(2, 4), [1, 500, 1000], ancestral(1, AnalyticVariance(stats)))
    with pytest.raises(KeyError, match=r"ms_eps must have a value at every time 1..1000: missing \[2"):
        optimal_trajectory(LINEAR, stats.ms_eps, 5)


def test_predictions_that_are_not_finite_are_named():
    model = Denoiser(lambda x, times: torch.where(times[:, None] >= 699, torch.nan, x), LINEAR)
    with pytest.raises(FloatingPointError, match=r"model must predict finite values: got nan at t=700"):
        estimate_x0_variance(model, normal(5, 4), [500, 700, 900], num_samples=5)


def test_a_file_that_is_none_of_ours_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    (tmp_path / "text.safetensors").write_text("not tensors")
    for name in ("other", "text"):
        with pytest.raises(ValueError, match=r"path must be a file that VarianceStats.save wrote: got .*safetensors"):
            VarianceStats.load(tmp_path / f"{name}.safetensors")
    stats = estimate()
    with pytest.raises(FileNotFoundError):
        stats.save(tmp_path / "nowhere" / "stats.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.safetensors", "text.safetensors"]


def estimate(**kwargs):
    return estimate_x0_variance(NORMAL.denoiser(LINEAR), normal(5, 4), [1], **kwargs)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate(method="best"), "method must be one of"),
        (lambda: estimate(num_samples=1), "num_samples must lie between 2 and inf: got 1"),
        (lambda: estimate(data_range=(1, -1)), r"data_range must be a range \(low, high\): got \(1, -1\)"),
        (
            lambda: estimate_x0_variance(NORMAL.denoiser(LINEAR), normal(0, 4), [1]),
            r"data must have rows: got \(0, 4\)",
        ),
        (
            lambda: estimate_x0_variance(NORMAL.denoiser(LINEAR), normal(5, 4), [1001]),
            "times must lie between 1 and 1000: got 1001",
        ),
        (
            lambda: AnalyticVariance(exact_line())(500, 1, NoiseSchedule.cosine().step(1, 500), ANY),
            "stats must belong to the sampler's schedule: got ᾱ=0.280334 at t=500, where the sampler has 0.70274",
        ),
        (
            lambda: AnalyticVariance(stats_of(torch.ones(1001, 3).double(), torch.ones(1001).double()))(
                500, 1, LINEAR.step(1, 500), ANY
            ),
            r"stats must be one number a time, or of the shape of a sample: got \(3,\), where samples have \(1,\)",
        ),
        (lambda: optimal_trajectory(LINEAR, exact_line().ms_eps, 1), "count must lie between 2 and 1000: got 1"),
        (lambda: optimal_trajectory(LINEAR, exact_line().ms_eps[1:], 5), r"ms_eps must have an entry for each of t"),
        (
            lambda: optimal_trajectory(LINEAR, 1.5 * torch.ones(1001).double(), 5),
            r"ms_eps must leave 1 - β²Γ positive: got 1.5 at t=\d+, from s=1",
        ),
        (lambda: capped(fixed_small, 1, -1), "std must lie between 0 and inf"),
        (lambda: first_step_clip(-1), "pixel_levels must lie between 0 and inf"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_file_of_something_else_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"path must be a file that VarianceStats\.save wrote"):
        VarianceStats.load(tmp_path / "other.safetensors")
