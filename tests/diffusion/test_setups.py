"""What the experiments on diffusion share: exact targets, judges of samples, samplers that choose, bounds of heads."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from gezhi.diffusion import (
    AnalyticVariance,
    GaussianMixture,
    ddim_step,
    dpmpp_2m,
    fixed_large,
    fixed_small,
    heun,
    sample,
)
from gezhi.experiments import ddim, extended_analytic_dpm, probability_flow
from gezhi.experiments.setups import judging, samples, variances
from gezhi.experiments.setups.diffusion import SCHEDULE, Bed
from gezhi.experiments.setups.judging import SIDE, Case, Classifier, Judge
from gezhi.experiments.setups.mixtures import (
    DIGITS,
    EXP,
    LINE,
    LINEAR,
    NORMAL,
    Wave,
    errors,
    excess_bound,
    flow_error,
    normal_errors,
    plane,
    statistics,
    steps,
)
from gezhi.experiments.setups.samples import Sampler, Size, chosen, levels, well_apart

# ---- exact targets --------------------------------------------------------------------------------------------------


def test_check_values_of_samplers_on_exact_targets():
    """Of the sheets: they plan the sizes of the studies, and show that the setups compute what the tests of the wing do."""
    found = errors(steps(10), 1.0, fixed_small)
    assert (found["JS"], found["KL"]) == pytest.approx((0.0645558, 0.269868), rel=1e-5)
    assert found["W2"] == pytest.approx(0.33188, abs=1e-4)
    assert excess_bound(steps(5), fixed_large) == pytest.approx(0.63861333, rel=1e-7)
    normal = normal_errors(steps(10), 1.0, fixed_large)
    assert (normal["KL"], normal["W2"]) == pytest.approx((0.850817009, 0.359835319), rel=1e-7)
    assert flow_error(ddim_step(), 21) == pytest.approx(0.12989, rel=1e-3)
    assert flow_error(heun, 21, calls_per_step=2) == pytest.approx(0.06679, rel=1e-3)
    assert flow_error(dpmpp_2m, 21, "logsnr") == pytest.approx(0.02794, rel=1e-3)


def test_check_values_of_statistics():
    exact = statistics(LINE, (100, 300))
    assert exact.ms_eps[[100, 300]].tolist() == pytest.approx([0.416855609866, 0.485200658883], rel=1e-9)
    assert exact.x0_var[[100, 300]].tolist() == pytest.approx([0.0669476876527, 0.78382245771], rel=1e-9)
    assert exact.x0_var[101].isnan()
    wrong = Wave(0.15)
    residual = {100: 0.5945774971, 300: 0.5260492817}
    direct, second = (statistics(LINE, (100, 300), wrong, method) for method in ("direct", "estimate2"))
    for t, expected in residual.items():
        ratio = (LINEAR.noise(t) / LINEAR.signal(t)) ** 2
        assert direct.x0_var[t] == pytest.approx(ratio * expected, rel=1e-8)
        assert second.x0_var[t] == pytest.approx(ratio * (1 - float(direct.ms_eps[t])), rel=1e-9)
    assert AnalyticVariance(direct)(300, 100, LINEAR.step(100, 300, 1.0), None) > 0


def test_smoothed_digits_have_the_moments_and_the_entropy_of_the_sheet():
    assert float(DIGITS.moments[1].trace()) == pytest.approx(20.213, abs=1e-3)
    assert DIGITS.entropy == pytest.approx(-23.16, abs=0.3)
    real = DIGITS.target.sample(2000, torch.Generator().manual_seed(1))
    told, smooth = DIGITS.errors(real), DIGITS.errors(0.9 * real)
    assert told["distance"] < 0.2 < smooth["distance"]
    assert abs(told["excess"]) < 1
    assert DIGITS.errors(real + 0.1 * torch.randn(real.shape, generator=torch.Generator().manual_seed(2)))["excess"] > 5


# ---- judges ---------------------------------------------------------------------------------------------------------

SHAPE = (1, 16, 16)


def pictures(count, seed, level=0.5):
    draw = torch.Generator().manual_seed(seed)
    shared = torch.randn(count, 1, 4, 4, generator=draw).repeat_interleave(4, 2).repeat_interleave(4, 3)
    return (level * shared + 0.1 * torch.randn(count, *SHAPE, generator=draw)).clamp(-1, 1)


@pytest.fixture
def judge(monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Classifier(SHAPE).eval()
    model.whiten(pictures(1500, 0))
    monkeypatch.setattr(judging, "classifier", lambda _case: model)
    return Judge(Case("digits"), pictures(1000, 1), pictures(500, 2))


def test_features_are_whitened(judge):
    found = judge.features(pictures(1500, 0))
    torch.testing.assert_close(found.mean(0), torch.zeros(judging.KEPT).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(found.T), torch.eye(judging.KEPT).double(), atol=5e-3, rtol=0)


def test_real_pictures_have_no_distance_and_others_have(judge):
    real, paler = pictures(500, 3), pictures(500, 3, level=0.3)
    assert abs(judge.distance(real)) < judge.floor
    assert judge.distance(paler) > 3 * judge.floor
    assert abs(judge.energy(real)) < 0.05 < judge.energy(paler)


def test_the_energy_distance_is_that_of_all_pairs(judge):
    few, some = pictures(5, 4), pictures(6, 5)
    judge.real = some
    x, y = few.flatten(1), some.flatten(1)
    across = sum(float((a - b).norm()) for a in x for b in y) / 30
    own = [sum(float((a - b).norm()) for a in z for b in z) / (len(z) * (len(z) - 1)) for z in (x, y)]
    assert judge.energy(few) == pytest.approx(2 * across - sum(own), rel=1e-4)


def test_a_baseline_at_the_floor_tells_nothing():
    assert well_apart(1.0, 0.5) == 1.0
    assert math.isnan(well_apart(0.9, 0.5))


# ---- samplers -------------------------------------------------------------------------------------------------------

TINY = Size(1, 1, trained=8, judged=8, validated=8, count=4)


def test_a_sampler_takes_its_steps_with_its_variance():
    data = torch.randn(40, *SHAPE, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    model = Bed("unet", "none", SHAPE, width=8, steps=1, batch=1)
    network = model.model(model.make())
    assert Sampler(3, 0.0, "small").times == [1, 500, 1000]
    assert Sampler(3, 0.0, "small", "leading").times == [1, 334, 667]
    ends = {}
    for variance in ("small", "large", "direct", "estimate2"):
        step = Sampler(3, 1.0, variance).step(network, data, 0)
        x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1))
        ends[variance] = sample(network, x, [1, 500, 1000], step, generator=torch.Generator().manual_seed(2))
        assert ends[variance].abs().max() <= 1 + 1e-6  # the last guess is clipped
    assert len({float(x.detach().sum()) for x in ends.values()}) == 4


def test_the_option_that_is_nearer_to_the_validation_pictures_is_chosen(monkeypatch):
    shift = {"small": 0.0, "large": 0.5}
    monkeypatch.setattr(samples, "kept", lambda _name, _recipe, make: make())
    monkeypatch.setattr(samples, "reach", lambda *_values: "")
    monkeypatch.setattr(
        samples, "samples", lambda _case, option, seed, _size: torch.full((1,), shift[option.variance] + seed)
    )
    monkeypatch.setattr(samples, "drawn", lambda *_: samples.Parts(*[torch.full((1,), float(samples.EXTRA))] * 4))

    class Near:
        def __init__(self, _case, real, _floor):
            self.real = real

        def raw_distance(self, x):
            return float((x - self.real).abs().sum())

    monkeypatch.setattr(samples, "Judge", Near)
    options = Sampler(5, 1.0, "large"), Sampler(5, 1.0, "small")
    assert chosen(Case("digits"), options, TINY) is options[1]
    assert chosen(Case("digits"), options[:1], TINY) is options[0]


def test_figures_show_pictures_without_what_was_padded():
    x = torch.full((20, *SHAPE), -1.0)
    x[:, :, 1:-1, 1:-1] = torch.linspace(-1, 1, SIDE)
    found = levels(x)
    assert found.shape == (samples.SHOWN * SIDE * SIDE,)
    assert found[:SIDE].tolist() == [round(255 * i / (SIDE - 1)) for i in range(SIDE)]


# ---- heads ----------------------------------------------------------------------------------------------------------


def test_the_bound_of_a_picture_is_its_formula():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = replace(variances.BED, width=8).model(replace(variances.BED, width=8).make()).eval()
    x, train = (torch.randn(n, 64, generator=torch.Generator().manual_seed(n)).clamp(-1, 1) for n in (3, 5))
    heads = variances.ResidualHead(8, 64, data_range=(-1, 1))
    found = variances.bits(model, {"large": fixed_large, "head": heads}, x, train, 5)
    walk, draw = [1000, 750, 500, 251, 1, 0], torch.Generator().manual_seed(0)
    total = {key: torch.zeros(3, dtype=torch.float64) for key in found}
    with torch.no_grad():
        for t, s in itertools.pairwise(walk):
            c = SCHEDULE.step(s, t, 1.0)
            for _ in range(variances.NOISES):
                state = c.signal_t * x + c.noise_t * torch.randn(x.shape, generator=draw)
                for name, clip in total:
                    mean = model(state, t).mean
                    mean = mean.clamp(-1, 1) if clip else mean
                    square = (x - mean).double() ** 2
                    spread = torch.full_like(square, c.beta2)
                    if name == "head":  # an untrained one says 1, and its variance is clipped at 1
                        spread[:] = c.sigma2 + c.gamma**2 * min(1.0, (c.noise_t / c.signal_t) ** 2)
                    if s == 0:
                        z = torch.randn(train.shape, generator=torch.Generator().manual_seed(1))
                        first = model(c.signal_t * train + c.noise_t * z, t).mean
                        first = float((train - (first.clamp(-1, 1) if clip else first)).double().square().mean())
                        term = math.log(2 * math.pi * first) + square / first
                    else:
                        term = (spread / c.sigma2).log() + (c.sigma2 + c.gamma**2 * square) / spread - 1
                    total[name, clip] += term.sum(1) / (2 * variances.NOISES)
    a, b = SCHEDULE.signal(1000), SCHEDULE.noise(1000)
    prior = 0.5 * ((a * x.double()) ** 2 + b**2 - 1 - 2 * math.log(b)).sum(1)
    for key, value in total.items():
        torch.testing.assert_close(found[key], (value + prior) / (64 * math.log(2)), rtol=1e-4, atol=1e-4)


def test_the_best_variance_is_chosen_on_validation_and_told_on_the_test():
    found = {}
    for name, clip, validation, test in (
        ("a", False, 2.0, 1.0),
        ("a", True, 1.0, 5.0),
        ("b", True, 0.5, 9.0),
        ("b", False, 3.0, 0.0),
    ):
        found |= {
            f"10 {name} {clip} validation": torch.tensor([validation]),
            f"10 {name} {clip} test": torch.tensor([test]),
        }
    assert variances.best_of(found, 10, ["a"]) == ("a", torch.tensor([5.0]))
    assert variances.best_of(found, 10, ["a", "b"]) == ("b", torch.tensor([9.0]))


def test_no_digit_is_in_two_parts():
    size = variances.Size(1, 1, 1)
    parts = variances.divided(0, size)
    assert [len(part) for part in parts] == [1000, 200, 597, 597]
    rows = torch.cat(parts[:3]).flatten(1)
    assert len(torch.unique(rows, dim=0)) == 1797
    again, other = variances.divided(0, size), variances.divided(1, size)
    assert torch.equal(again.test, parts.test)
    assert not (other.test_rows == parts.test_rows).all()


# ---- what studies compute -------------------------------------------------------------------------------------------


def test_a_doubled_score_is_told_from_the_flow():
    """The power of the thesis: the drift of the reverse SDE, taken without its noise, does not keep the marginals."""
    target = probability_flow.normal()
    plain, doubled = (change(NORMAL.denoiser(EXP)) for change in (probability_flow.as_it_is, probability_flow.Doubled))
    x = NORMAL.sample(4, torch.Generator().manual_seed(0))
    scores = [(EXP.signal(300) * model(x, 300).mean - x) / EXP.noise(300) ** 2 for model in (plain, doubled)]
    torch.testing.assert_close(scores[1], 2 * scores[0])
    assert probability_flow.marginal_gap(plain, target, x, 500) < 1e-6
    assert probability_flow.marginal_gap(doubled, target, x, 500) > 0.1


def test_the_step_with_a_covariance_has_it():
    target, draw = plane(), torch.Generator().manual_seed(0)
    model, x = target.denoiser(LINEAR), torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    found, _ = extended_analytic_dpm.whole(
        model, x.expand(200_000, 2), 400, 200, None, lambda y: torch.randn(y.shape, generator=draw, dtype=y.dtype)
    )
    c = LINEAR.step(200, 400, 1.0)
    expected = c.sigma2 * torch.eye(2).double() + c.gamma**2 * target.covariance_given(x, c.signal_t, c.noise_t)[0]
    torch.testing.assert_close(torch.cov(found.T), expected, rtol=0.03, atol=1e-3)
    torch.testing.assert_close(found.mean(0), (c.kappa * x + c.gamma * model(x, 400).mean)[0], rtol=0, atol=5e-3)


def test_half_of_a_straight_line_has_half_of_the_variance():
    arc, line = (ddim.halfway(mix, 10, 0, None)["JS"] for mix in (ddim.slerp, ddim.straight))
    assert (arc, line) == pytest.approx((0.0502, 0.0950), rel=2e-3)


def test_shares_of_the_same_samples_do_not_diverge():
    level = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    p = ddim.histogram(torch.special.ndtri(level))
    assert float(p.sum()) == pytest.approx(1)
    assert ddim.divergence(p, p) == 0
    q = torch.zeros_like(p)
    q[0] = 1
    r = torch.zeros_like(p)
    r[1] = 1
    assert ddim.divergence(q, r) == pytest.approx(math.log(2))


def test_noise_repairs_a_wrong_network_and_hurts_a_right_one():
    """Planted: the smallest cell of the study whose figures the sheet gives."""
    for height, expected in (
        (0.0, {ddim.DDIM: 0.0022, ddim.DDPM: 0.0064}),
        (0.15, {ddim.DDIM: 0.317, ddim.DDPM: 0.017}),
    ):
        for arm, value in expected.items():
            task = ddim.Task(Wave(height), 50)
            found = ddim.repaired(ddim.ETAS[arm], task, 0, 20_000)["JS"]
            assert found == pytest.approx(value, rel=0.25, abs=6e-4)


def test_a_mixture_is_hashed_by_its_identity():
    """Statistics are cached by target; two equal ones are different keys, never confused."""
    other = GaussianMixture(LINE.weights, LINE.means, LINE.variances)
    assert hash(other) != hash(LINE)
