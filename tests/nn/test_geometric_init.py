"""Laws of random vectors and matrices against quadrature, draws, and the published check values."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from gezhi.nn import (
    activation_gain,
    angle_between_random_vectors,
    gram_error,
    log_norm_drift,
    orthogonal_,
    rotation_like_,
    signal_report,
)

KURTOSIS = {"normal": 3.0, "uniform": 1.8, "sign": 1.0}
NO_TENSOR = {"compiles": False, "differentiable": False, "reason": "numbers in, numbers out"}


def drawn(fill, *shape, seed=0, dtype=torch.float64, **settings):
    return fill(torch.zeros(*shape, dtype=dtype), generator=torch.Generator().manual_seed(seed), **settings)


SAMPLES = [
    Sample(gram_error, (100,), **NO_TENSOR),
    Sample(log_norm_drift, (64,), **NO_TENSOR),
    Sample(activation_gain, (torch.tanh,), **NO_TENSOR),
    Sample(partial(drawn, orthogonal_), (4, 3), **NO_TENSOR),
    Sample(partial(drawn, rotation_like_), (4, 3), **NO_TENSOR),
]


# ---- reference and check values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5, 10, 100])
def test_the_law_of_angles_is_its_density(n):
    law = angle_between_random_vectors(n)
    assert integrate.quad(law.pdf, 0, math.pi)[0] == pytest.approx(1, abs=1e-9)
    for theta in (0.3, 1.0, math.pi / 2, 2.5):
        assert law.cdf(theta) == pytest.approx(integrate.quad(law.pdf, 0, theta)[0], abs=1e-9)
    second = integrate.quad(lambda t: (t - math.pi / 2) ** 2 * law.pdf(t), 0, math.pi)[0]
    assert law.var() == pytest.approx(second, abs=1e-9)
    tail = 2 * integrate.quad(law.pdf, 0, math.acos(0.4))[0]
    assert law.cos_tail(0.4) == pytest.approx(tail, abs=1e-9)


def test_check_values_of_angles():
    variances = {2: 0.8224670334241, 3: 0.4674011002723, 10: 0.110661477869, 20: 0.0525832, 50: 0.0204053}
    variances |= {100: 0.010100666613, 200: 0.00502508, 1000: 0.001001000667}
    for n, variance in variances.items():
        assert angle_between_random_vectors(n).var() == pytest.approx(
            variance, rel=1e-5 if n in (20, 50, 200) else 1e-9
        )
    law = angle_between_random_vectors(5)
    assert (law.pdf(1.0), law.cdf(1.0)) == (pytest.approx(0.446867427443), pytest.approx(0.134205421912))
    assert angle_between_random_vectors(100).cos_tail(0.1) == pytest.approx(0.319748474139, abs=1e-11)
    assert angle_between_random_vectors(768).cos_tail(0.1) == pytest.approx(5.511115818e-3, abs=1e-11)
    far = angle_between_random_vectors(1_000_000)
    assert (far.cdf(math.pi / 2), far.var() * 1e6) == (pytest.approx(0.5), pytest.approx(1, rel=1e-5))


def test_check_values_of_matrices():
    assert [gram_error(100, k) for k in (3.0, 1.8, 1.0)] == pytest.approx([0.0101, 0.00998, 0.0099])
    assert gram_error(400) == pytest.approx(0.00250625)
    for n, mean, variance in (
        (16, -0.063800063724, 0.133137014694),
        (64, -0.015706372265, 0.031743366520),
        (256, -0.003911336232, 0.007843097050),
    ):
        assert log_norm_drift(n) == pytest.approx((mean, variance), abs=1e-11)


@pytest.mark.parametrize(
    ("activation", "gain"),
    [
        (torch.tanh, 1.592537419723),
        (torch.nn.functional.gelu, 1.533530441196),
        (torch.nn.functional.silu, 1.676532470331),
        (torch.sigmoid, 1.846228545339),
        (torch.relu, math.sqrt(2)),
        (lambda x: 3 * x, 1 / 3),
    ],
)
def test_check_values_of_gains(activation, gain):
    assert activation_gain(activation) == pytest.approx(gain, abs=1e-11)


def test_orthogonal_has_positive_diagonal_factors(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "normal_", lambda x, **_: x.copy_(torch.arange(1.0, 7).reshape(3, 2)))
    expected = [
        [0.1690308509457, 0.8970852271450],
        [0.5070925528371, 0.2760262237369],
        [0.8451542547285, -0.3450327796712],
    ]
    found = orthogonal_(torch.zeros(3, 2, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0)


# ---- torch's own ----------------------------------------------------------------------------------------------------


def same_law(fill, torchs, shape):
    """Whether entries of the two have one distribution, by Kolmogorov and Smirnov over some thousand entries."""
    ours = torch.stack([drawn(fill, *shape, seed=s) for s in range(20)])
    theirs = torch.stack(
        [torchs(torch.zeros(*shape).double(), torch.Generator().manual_seed(s)) for s in range(20, 40)]
    )
    return stats.ks_2samp(ours.flatten().numpy(), theirs.flatten().numpy()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"mode": "fan_avg"}, lambda w, g: torch.nn.init.xavier_normal_(w, generator=g)),
        (
            {"mode": "fan_avg", "distribution": "uniform", "gain": 2.0},
            lambda w, g: torch.nn.init.xavier_uniform_(w, 2.0, generator=g),
        ),
        (
            {"mode": "fan_in", "gain": math.sqrt(2)},
            lambda w, g: torch.nn.init.kaiming_normal_(w, nonlinearity="relu", generator=g),
        ),
        (
            {"mode": "fan_out", "gain": math.sqrt(2), "distribution": "uniform"},
            lambda w, g: torch.nn.init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu", generator=g),
        ),
    ],
)
@pytest.mark.parametrize("shape", [(30, 12), (6, 4, 3, 3)])
def test_entries_have_the_law_of_torchs(ours, theirs, shape):
    assert same_law(partial(rotation_like_, **ours), theirs, shape)
    assert not same_law(partial(rotation_like_, **{**ours, "gain": 1.2 * ours.get("gain", 1.0)}), theirs, shape)


@pytest.mark.parametrize("shape", [(30, 12), (12, 30)])
def test_rotations_have_the_law_of_torchs(shape):
    assert same_law(orthogonal_, lambda w, g: torch.nn.init.orthogonal_(w, generator=g), shape)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(st.integers(2, 10**6))
def test_angles_narrow_with_every_dimension(n):
    assert angle_between_random_vectors(n + 1).var() < angle_between_random_vectors(n).var()
    assert angle_between_random_vectors(n).cdf(math.pi / 2) == pytest.approx(0.5)


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 8), st.floats(0.1, 4))
def test_orthogonal_keeps_norms(seed, rows, columns, gain):
    w = drawn(orthogonal_, rows, columns, seed=seed, gain=gain)
    small = w.T @ w if rows >= columns else w @ w.T
    torch.testing.assert_close(small, gain**2 * torch.eye(min(rows, columns)).double(), atol=1e-9, rtol=0)


def test_orthogonal_is_uniform_over_rotations():
    draws = torch.stack([drawn(orthogonal_, 2, 2, seed=s) for s in range(2000)])
    angle = torch.atan2(draws[:, 1, 0], draws[:, 0, 0]) / (2 * math.pi) + 0.5
    assert stats.kstest(angle.numpy(), "uniform").pvalue > 1e-3
    assert abs((torch.linalg.det(draws) > 0).double().mean().item() - 0.5) < 0.05


def test_a_convolution_is_its_matrix():
    w = drawn(orthogonal_, 8, 2, 3, 3).flatten(1)
    torch.testing.assert_close(w @ w.T, torch.eye(8).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated", "sign"])
@pytest.mark.parametrize(
    ("mode", "shape", "fan"),
    [
        ("fan_out", (300, 200), 300),
        ("fan_in", (300, 200), 200),
        ("fan_avg", (300, 200), 250),
        ("fan_out", (50, 40, 5, 5), 1250),
        ("fan_in", (50, 40, 5, 5), 1000),
    ],
)
def test_entries_have_the_variance_of_the_mode(distribution, mode, shape, fan):
    w = drawn(rotation_like_, *shape, mode=mode, distribution=distribution, gain=2.0)
    assert w.var().item() == pytest.approx(4 / fan, rel=0.03)
    assert abs(w.mean().item()) < 4 * math.sqrt(4 / fan / w.numel())
    if distribution == "sign":
        assert torch.allclose(w.abs(), torch.tensor(2 / math.sqrt(fan)).double())
    if distribution == "truncated":
        sigma = 1 / math.sqrt(stats.truncnorm(-2, 2).var())
        assert w.abs().max().item() <= 2 * sigma * 2 / math.sqrt(fan)
        assert (
            stats.kstest((w.flatten()[:5000] * math.sqrt(fan) / 2 / sigma).numpy(), stats.truncnorm(-2, 2).cdf).pvalue
            > 1e-3
        )


@pytest.mark.parametrize("distribution", KURTOSIS)
@pytest.mark.parametrize("n", [50, 100])
def test_random_matrices_are_nearly_orthogonal_entry_by_entry(distribution, n):
    errors = []
    for seed in range(30):
        w = drawn(rotation_like_, n, n, seed=seed, distribution=distribution)
        errors.append((w.T @ w - torch.eye(n)).square().mean().item())
    standard_error = np.std(errors, ddof=1) / math.sqrt(30)
    assert abs(np.mean(errors) - gram_error(n, KURTOSIS[distribution])) < 4 * standard_error


def test_norms_drift_as_predicted_and_orthogonal_ones_do_not():
    n, depth, draws = 16, 40, 300
    logs = torch.zeros(draws)
    for seed in range(draws):
        generator = torch.Generator().manual_seed(seed)
        x = torch.ones(n, dtype=torch.float64)
        for _ in range(depth):
            x = rotation_like_(torch.zeros(n, n, dtype=torch.float64), generator=generator) @ x
        logs[seed] = (x.square().sum() / n).log()
    mean, variance = log_norm_drift(n)
    assert abs(logs.mean().item() - depth * mean) < 4 * logs.std().item() / math.sqrt(draws)
    assert logs.var().item() == pytest.approx(depth * variance, rel=0.3)


def test_the_report_of_orthogonal_layers_is_flat():
    model = torch.nn.Sequential(*(torch.nn.Linear(6, 6, bias=False) for _ in range(4)), torch.nn.Dropout(0.5)).double()
    for layer in model[:4]:
        orthogonal_(layer.weight, gain=2.0, generator=torch.Generator().manual_seed(1))
    report = signal_report(model, torch.randn(5, 6, generator=torch.Generator().manual_seed(2)).double())
    assert list(report.layers) == ["0", "1", "2", "3", "4"]
    assert list(report.layers.values()) == pytest.approx([2.0] * 4 + [1.0])
    assert (report.log_norm_mean, report.log_norm_std) == (pytest.approx(8 * math.log(2)), pytest.approx(0, abs=1e-9))
    torch.testing.assert_close(report.singular_values, torch.full((6,), 16.0).double())
    assert model.training
    assert not model[0]._forward_hooks


# ---- edges and errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [orthogonal_, rotation_like_])
def test_in_place_from_a_generator_in_any_precision(fill):
    tensor = torch.zeros(5, 4)
    assert fill(tensor, generator=torch.Generator().manual_seed(1)) is tensor
    again = drawn(fill, 5, 4, seed=1, dtype=torch.float32)
    assert torch.equal(tensor, again)
    assert torch.equal(drawn(fill, 5, 4, seed=1, dtype=torch.bfloat16), again.bfloat16())
    parameter = torch.nn.Parameter(torch.zeros(3, 3))
    fill(parameter)
    assert parameter.requires_grad
    assert parameter.any()


@pytest.mark.parametrize("fill", [orthogonal_, rotation_like_])
@pytest.mark.wrong_types
def test_bad_tensors_are_named(fill):
    with pytest.raises(ValueError, match=r"tensor must have at least 2 dimensions: got the shape \(3,\)"):
        fill(torch.zeros(3))
    with pytest.raises(ValueError, match="tensor must have storage: got a meta tensor"):
        fill(torch.zeros(3, 3, device="meta"))
    with pytest.raises(ValueError, match="gain must lie strictly between 0"):
        fill(torch.zeros(3, 3), gain=0.0)
    with pytest.warns(UserWarning, match="nothing to initialise"):
        fill(torch.zeros(0, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rotation_like_(torch.zeros(2, 2), mode="fan"), "mode must be one of 'fan_out', 'fan_in', 'fan_avg'"),
        (
            lambda: rotation_like_(torch.zeros(2, 2), distribution="cauchy"),
            "distribution must be one of 'normal', 'uniform'",
        ),
        (lambda: angle_between_random_vectors(1), "n must lie between 2"),
        (lambda: angle_between_random_vectors(5).cos_tail(1.5), "eps must lie between 0 and 1"),
        (lambda: activation_gain(torch.zeros_like), "a positive, finite mean square: got 0.0"),
        (lambda: gram_error(0), "n must lie between 1"),
        (lambda: signal_report(torch.nn.Identity(), torch.ones(1, 2)), "x must hold at least 2 inputs: got 1"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
