"""DDPM and DDIM against published values, closed forms and the theorems of their derivation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from contract import Sample
from diffusion.beds import EXP, LINE, LINEAR, NORMAL, column, normal
from hypothesis import given
from hypothesis import strategies as st

from gezhi.diffusion import (
    Denoiser,
    GaussianMixture,
    NoiseSchedule,
    ddim_encode,
    ddim_step,
    ddpm_step,
    denoising_loss,
    gaussian_chain,
    gaussian_kl,
    gaussian_w2,
    sample,
    slerp,
    timestep_subsequence,
    zero,
)
from gezhi.diffusion.sampler import fixed_large, fixed_small

X = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)
EPS = torch.tensor([[0.5, -0.7, 1.1]], dtype=torch.float64)
GIVEN = Denoiser(lambda x, times: EPS.expand_as(x), LINEAR)


def twice(x, times):
    return 2 * x + times[:, None].to(x.dtype) / 1000


SAMPLES = [
    Sample(slerp, (normal(2, 3), normal(2, 3, seed=1), 0.3)),
    Sample(slerp, (normal(2, 3), normal(2, 3, seed=1), torch.tensor([[0.2], [0.9]]).double())),
    Sample(
        denoising_loss,
        (Denoiser(twice, LINEAR), normal(2, 3), torch.tensor([3, 900])),
        {"noise": normal(2, 3, seed=2)},
        compiles=False,
        differentiable=False,
        reason="takes a model",
    ),
]


# ---- reference ------------------------------------------------------------------------------------------------------


def reference_loss(x0, times, noise, target):
    """The loss of the network `twice`, sample by sample, through ε."""
    total = 0.0
    for row, t, draw in zip(x0.tolist(), times.tolist(), noise.tolist(), strict=True):
        a, b = LINEAR.signal(t), LINEAR.noise(t)
        for clean, e in zip(row, draw, strict=True):
            state = a * clean + b * e
            found = 2 * state + (t - 1) / 1000
            if target == "epsilon":
                total += (found - e) ** 2
            elif target == "sample":
                total += ((state - b * found) / a - clean) ** 2
            elif target == "score":
                total += (-found / b + e / b) ** 2
            else:
                total += (a * found - b * (state - b * found) / a - (a * e - b * clean)) ** 2
    return total


@pytest.mark.parametrize("target", ["epsilon", "sample", "v_prediction", "score"])
def test_loss_is_the_squared_error(target):
    x0, noise, times = normal(3, 2), normal(3, 2, seed=1), torch.tensor([1, 400, 1000])
    expected = reference_loss(x0, times, noise, target)
    model = Denoiser(twice, LINEAR)
    found = [denoising_loss(model, x0, times, noise=noise, target=target, reduction=r) for r in ("mean", "sum")]
    assert [f.item() for f in found] == pytest.approx([expected / 6, expected / 3], rel=1e-9)


@pytest.mark.parametrize(
    ("step", "t", "s", "expected"),
    [
        (ddpm_step(), 400, 399, [0.2967109742, -1.198553176, 1.998189103]),
        (ddpm_step("large"), 400, 399, [0.2967109742, -1.198553176, 1.998189103]),
        (ddim_step(), 400, 399, [0.2989571013, -1.201697754, 2.003130582]),
        (ddim_step(), 400, 200, [0.01893555511, -1.45991729, 2.504178821]),
        (ddim_step(0.5), 400, 200, [-0.01494757791, -1.412480904, 2.429635928]),
        (ddpm_step(), 400, 200, [-0.1696189156, -1.195941031, 2.089358985]),
        (ddim_step(), 400, 0, [-0.3363143552, -1.294849184, 2.293472056]),
        (ddpm_step(), 1, 0, [0.2950147511, -1.193059654, 1.989099457]),
    ],
)
def test_check_values_of_steps(step, t, s, expected):
    found, _ = step(GIVEN, X, t, s, None, torch.zeros_like)
    assert found[0].tolist() == pytest.approx(expected, abs=1e-9)


def test_check_values_of_noise():
    z = torch.tensor([[1, -1, 0.5]], dtype=torch.float64)
    found, _ = ddim_step(0.5)(GIVEN, X, 400, 200, None, lambda x: z)
    assert found[0].tolist() == pytest.approx([0.2580867873, -1.685515269, 2.566153111], abs=1e-9)
    c, fine = LINEAR.step(200, 400, 1.0), LINEAR.step(399, 400, 1.0)
    assert c.sigma2 == pytest.approx(0.2981910584, abs=1e-10)
    assert (fine.sigma2, fine.beta2) == pytest.approx((0.008032216103, 0.008048048048), abs=1e-12)


def test_check_values_of_latents():
    latents = column(-1, 0, 0.5, 2).requires_grad_()
    out = sample(LINE.denoiser(LINEAR), latents, timestep_subsequence(1000, 10), ddim_step())
    assert out[:, 0].tolist() == pytest.approx([-1.459389487, 0.2566051002, 0.5610421436, 2.04941224], abs=1e-9)
    (slope,) = torch.autograd.grad(out.sum(), latents)
    assert slope[:, 0].tolist() == pytest.approx([0.2644001529, 0.6734217343, 0.6506280134, 0.1134354869], abs=1e-9)


def test_check_values_of_slerp():
    z1, z2 = (torch.tensor(v, dtype=torch.float64) for v in ([1, 0, 2], [0, 1, -1]))
    assert slerp(z1, z2, 0.3).tolist() == pytest.approx([0.8910065242, 0.4539904997, 1.328022549], abs=1e-9)


# ---- theorems -------------------------------------------------------------------------------------------------------


def test_the_small_variance_is_exact_for_one_point_and_the_large_one_for_normal_data():
    times = timestep_subsequence(1000, 10)
    unit = GaussianMixture([1.0], [[0.0]], [[1.0]])
    mean, spread = gaussian_chain(unit, LINEAR, times, 1, fixed_large, last_noise=True)
    assert (mean.item(), spread.item()) == pytest.approx((0, 1), abs=1e-12)
    for s, t in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        c = LINEAR.step(s, t, 1.0)
        spread = unit.denoise(torch.zeros(1, 1), c.signal_t, c.noise_t)[1].item()
        assert c.sigma2 + c.gamma**2 * spread == pytest.approx(c.beta2, rel=1e-9)


@given(st.integers(0, 998), st.integers(1, 999), st.integers(2, 1000))
def test_steps_without_noise_compose_where_epsilon_is_constant(s, r, t):
    s, r, t = sorted((s, r, t))
    if not s < r < t:
        return
    step = ddim_step()
    half, _ = step(GIVEN, X, t, r, None, None)
    both, _ = step(GIVEN, half, r, s, None, None)
    whole, _ = step(GIVEN, X, t, s, None, None)
    torch.testing.assert_close(both, whole, rtol=1e-10, atol=1e-9)


@given(st.integers(1, 1000), st.integers(0, 999))
def test_a_step_without_noise_is_euler_in_the_noise_of_the_scaled_state(t, s):
    if s >= t:
        return
    found, _ = ddim_step()(GIVEN, X, t, s, None, None)
    euler = LINEAR.signal(s) * (X / LINEAR.signal(t) + (LINEAR.sigma(s) - LINEAR.sigma(t)) * EPS)
    torch.testing.assert_close(found, euler, rtol=1e-9, atol=1e-9)


def test_at_eta_one_ddim_is_ddpm():
    for noise in (torch.zeros_like, torch.ones_like):
        times, model = timestep_subsequence(1000, 9), LINE.denoiser(LINEAR)
        left, right = (sample(model, normal(4, 1), times, s, noise=noise) for s in (ddim_step(1.0), ddpm_step()))
        assert torch.equal(left, right)


@pytest.mark.parametrize(("count", "right", "wrong"), [(10, 0.391, 1.82), (50, 0.080, 1.73)])
def test_signals_of_the_full_chain_do_not_serve_a_subsequence(count, right, wrong):
    times = timestep_subsequence(1000, count)
    target, lam = NORMAL.means[0], NORMAL.variances[0]
    assert gaussian_w2(*gaussian_chain(NORMAL, LINEAR, times, 0, zero), target, lam) == pytest.approx(right, abs=5e-4)
    mean, spread = torch.zeros(4).double(), torch.ones(4).double()
    for t in times.flip(0).tolist():  # a step to t - 1, taken for one to the next time of the sub-sequence
        c = LINEAR.step(t - 1, t, 0.0)
        gain = c.signal_t * lam / (c.signal_t**2 * lam + c.noise_t**2)
        mean, spread = (
            c.kappa * mean + c.gamma * (target + gain * (mean - c.signal_t * target)),
            (c.kappa + c.gamma * gain) ** 2 * spread,
        )
    assert gaussian_w2(mean, spread, target, lam) == pytest.approx(wrong, abs=6e-3)


def test_check_values_of_both_variances_at_a_thousand_steps():
    times, target, lam = timestep_subsequence(1000, 1000), NORMAL.means[0], NORMAL.variances[0]
    for variance, kl, w2 in ((fixed_small, 0.00154, 0.0094), (fixed_large, 6.2e-5, 0.0026)):
        mean, spread = gaussian_chain(NORMAL, LINEAR, times, 1, variance)
        assert gaussian_kl(target, lam, mean, spread) == pytest.approx(kl, rel=0.01)
        assert gaussian_w2(mean, spread, target, lam) == pytest.approx(w2, rel=0.02)


def test_encoding_is_undone_to_first_order():
    model, x0, errors = LINE.denoiser(LINEAR), column(-1.6, -0.2, 0.5, 2.1), []
    for count in (25, 50, 100, 200):
        times = timestep_subsequence(1000, count, "trailing")
        latent = ddim_encode(model, x0, times)
        errors.append((sample(model, latent, times, ddim_step()) - x0).abs().max().item())
    slope = np.polyfit(np.log([25, 50, 100, 200]), np.log(errors), 1)[0]
    assert -1.3 < slope < -0.7
    assert errors[-1] < 0.05


def test_encoding_undoes_decoding_where_epsilon_is_constant():
    times = timestep_subsequence(1000, 6)
    torch.testing.assert_close(ddim_encode(GIVEN, sample(GIVEN, X, times, ddim_step()), times), X, rtol=1e-9, atol=1e-9)


@given(st.floats(0, 1))
def test_slerp_keeps_the_variance_of_independent_latents(weight):
    one, none = torch.ones(1).double(), torch.zeros(1).double()
    assert slerp(one, none, weight).item() ** 2 + slerp(none, one, weight).item() ** 2 == pytest.approx(1, abs=1e-12)
    rows = slerp(one, none, torch.tensor(weight, dtype=torch.float64))
    assert rows.item() == pytest.approx(math.cos(weight * math.pi / 2), abs=1e-12)


def test_drawn_times_and_noise_come_from_the_generator():
    model, x0 = Denoiser(twice, LINEAR), normal(64, 2)
    state = torch.get_rng_state()
    losses = [denoising_loss(model, x0, generator=torch.Generator().manual_seed(i)).item() for i in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(state, torch.get_rng_state())


def test_training_on_the_loss_finds_the_best_prediction():
    schedule = NoiseSchedule.from_betas([0.3])
    net = torch.nn.Linear(1, 1, dtype=torch.float64)
    model = Denoiser(lambda x, times: net(x), schedule)
    x0 = 0.5 + 2 * normal(4000, 1)
    noise = normal(4000, 1, seed=1)
    best = torch.optim.LBFGS(net.parameters(), max_iter=50)

    def closure():
        best.zero_grad()
        loss = denoising_loss(model, x0, torch.ones(4000, dtype=torch.long), noise=noise)
        loss.backward()
        return loss

    best.step(closure)
    a, b = schedule.signal(1), schedule.noise(1)
    assert net.weight.item() == pytest.approx(b / (4 * a * a + b * b), abs=0.02)
    assert net.bias.item() == pytest.approx(-b * a * 0.5 / (4 * a * a + b * b), abs=0.02)


# ---- gradient -------------------------------------------------------------------------------------------------------


def test_gradients():
    weight = normal(2, 2).requires_grad_()
    model = Denoiser(lambda x, times: x @ weight, LINEAR)
    times, noise = torch.tensor([5, 800]), normal(2, 2, seed=3)
    assert torch.autograd.gradcheck(
        lambda w: denoising_loss(Denoiser(lambda x, t: x @ w, LINEAR), normal(2, 2), times, noise=noise), (weight,)
    )
    assert model.schedule is LINEAR
    assert torch.autograd.gradcheck(slerp, (normal(3).requires_grad_(), normal(3, seed=1).requires_grad_(), 0.4))


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_half_precision_loses_no_loss():
    model = Denoiser(lambda x, times: torch.zeros_like(x), LINEAR)
    x0, noise = normal(8, 3, dtype=torch.float16), normal(8, 3, seed=1, dtype=torch.float16)
    found = denoising_loss(model, x0, torch.full((8,), 500), noise=noise)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(noise.float().square().mean().item(), rel=1e-6)


def test_empty_batches():
    model = Denoiser(twice, LINEAR)
    assert ddim_encode(model, torch.zeros(0, 2), [1, 1000]).shape == (0, 2)
    assert denoising_loss(model, torch.zeros(0, 2), reduction="sum").item() == 0


def test_encoding_in_continuous_time():
    model, times = LINE.denoiser(EXP), [0.5, 10.25, 333.3, 1000]
    assert ddim_encode(model, column(0.5), times).isfinite().all()


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ddpm_step("middle"), "variance must be one of 'small', 'large': got 'middle'"),
        (lambda: ddim_step(-1), "eta must lie between 0 and inf"),
        (lambda: ddim_encode(GIVEN, X, [1], eta=0.5), "eta must be 0: got 0.5"),
        (lambda: denoising_loss(GIVEN, X, reduction="none"), "reduction must be one of"),
        (lambda: denoising_loss(GIVEN, X, target="noise"), "target must be one of"),
        (lambda: slerp(X, X, math.nan), "weight must lie"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_network_that_is_not_finite_is_named():
    def broken(x, times):
        return torch.where(times[:, None] >= 600, torch.nan, 0.0).expand_as(x).to(x.dtype)

    model = Denoiser(broken, LINEAR)
    with pytest.raises(
        FloatingPointError, match="states must stay finite: got the first others after step 4, from t=700 to s=900"
    ):
        ddim_encode(model, X, [100, 500, 700, 900])
    assert ddim_encode(model, X, [100, 500]).isfinite().all()
    with pytest.raises(FloatingPointError, match="after step 1, from t=900 to s=100"):
        sample(model, X, [100, 900], ddpm_step())


def test_a_range_that_is_reversed_is_refused():
    for step in (ddim_step, ddpm_step):
        with pytest.raises(ValueError, match=r"clip_x0 must be a range \(low, high\): got \(1, -1\)"):
            step(clip_x0=(1, -1))
