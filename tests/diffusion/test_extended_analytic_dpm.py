"""Learned variances against their formulas in loops, the exact moments of a mixture, and published values."""

from __future__ import annotations

import copy
import io
import math
import warnings

import pytest
import torch
from contract import Sample
from diffusion.beds import LINE, LINEAR, NORMAL, column, normal
from torch import nn

from gezhi.diffusion import (
    AnalyticVariance,
    Denoiser,
    HeadVariance,
    NoiseSchedule,
    Prediction,
    ResidualHead,
    SecondMomentHead,
    VarianceStats,
    ancestral,
    ddim_step,
    entropy,
    estimate_x0_variance,
    fixed_large,
    gaussian_chain,
    gaussian_kl,
    nelbo,
    sample,
    timestep_subsequence,
    train_variance_head,
    with_features,
)

X = column(-1.2, 0.1, 0.9, 2.3)


class Net(nn.Module):
    """A small noise network whose last hidden layer has a name."""

    def __init__(self, width=16, entries=1, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.trunk = nn.Sequential(nn.Linear(entries + 2, width), nn.SiLU(), nn.Linear(width, width))
            self.last = nn.Linear(width, entries)
        self.calls = 0

    def forward(self, x, times):
        self.calls += 1
        u = times[:, None].to(x.dtype) / 1000
        return self.last(torch.nn.functional.silu(self.trunk(torch.cat([x, u, (6 * u).sin()], 1))))


SAMPLES = [
    Sample(
        SecondMomentHead(5, 3),
        (normal(2, 5, dtype=torch.float32), 400, normal(2, 3, dtype=torch.float32)),
        differentiable=False,
        reason="starts at zero",
    ),
    Sample(
        ResidualHead(5, 3),
        (normal(2, 5, dtype=torch.float32), 400, normal(2, 3, dtype=torch.float32)),
        differentiable=False,
        reason="starts at zero",
    ),
    Sample(
        with_features(Net(entries=3), "trunk"),
        (normal(2, 3, dtype=torch.float32), torch.zeros(2)),
        compiles=False,
        differentiable=False,
        reason="a hook of the call",
    ),
]


def wave(x):
    return 0.15 * torch.sin(3 * x)


def full_stats(value=0.3, schedule=LINEAR):
    flat = torch.full((schedule.steps + 1,), value, dtype=torch.float64)
    return VarianceStats(flat, flat, flat, flat, schedule.signals, 2, "direct")


class Given(SecondMomentHead):
    """A head with a given h."""

    def __init__(self, h, **kwargs):
        super().__init__(1, 1, **kwargs)
        self.h = h

    def forward(self, features, t, like):  # noqa: ARG002
        return self.h


class GivenResidual(ResidualHead):
    """A head with a given g."""

    def __init__(self, g, **kwargs):
        super().__init__(1, 1, **kwargs)
        self.g = g

    def forward(self, features, t, like):  # noqa: ARG002
        return self.g


def moments(t):
    """ε*, ε̂, h* and g* of the bed with an imperfect mean, from the posterior variance."""
    signal, noise = LINEAR.signal(t), LINEAR.noise(t)
    mean, variance = LINE.denoise(X, signal, noise)
    best = (X - signal * mean) / noise
    spread = variance * (signal / noise) ** 2
    return best, best + wave(X), spread + best**2, spread + wave(X) ** 2


# ---- reference ------------------------------------------------------------------------------------------------------


def test_check_values_of_moments_and_variances():
    best, used, h, g = moments(100)
    table = {
        "best": (best, [0.4997424239, -0.4192782971, 0.7194840197, 1.058318669]),
        "used": (used, [0.5661204904, -0.3749502661, 0.7835910018, 1.145084633]),
        "h": (h, [0.538448151, 0.6962918619, 1.246037787, 1.286047188]),
        "g": (g, [0.2931117085, 0.5224625458, 0.7324902379, 0.1735371164]),
    }
    for found, expected in table.values():
        assert found[:, 0].tolist() == pytest.approx(expected, abs=1e-9)
    assert moments(300)[2][:, 0].tolist() == pytest.approx(
        [0.7699061319, 0.6919902011, 0.7177611436, 2.51349406], abs=1e-8
    )
    noise = {100: [0.02502233262, 0.06379742162, 0.07255917125, 0], 300: [0.7021210794, 1.047147857, 0.7474163274, 0]}
    residual = {
        100: [0.03365058712, 0.05998112975, 0.08409328545, 0.01992286792],
        300: [0.5898030389, 1.055941498, 0.8403998748, 0.3317594016],
    }
    for t in (100, 300):
        _, used, h, g = moments(t)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a quarter of these is negative
            found = Given(h).x0_variance(LINEAR, t, used, used)
        assert found[:, 0].tolist() == pytest.approx(noise[t], abs=1e-9)
        assert GivenResidual(g).x0_variance(LINEAR, t, used, used)[:, 0].tolist() == pytest.approx(
            residual[t], abs=1e-9
        )


def test_check_values_of_expectations():
    x = torch.linspace(-9, 9, 20001, dtype=torch.float64)
    for t, square, residual in ((100, 0.4530931053, 0.5945774971), (300, 0.4871182304, 0.5260492817)):
        signal, noise = LINEAR.signal(t), LINEAR.noise(t)
        density = LINE.log_prob(x[:, None], signal, noise).exp()
        mean, variance = (part[:, 0] for part in LINE.denoise(x[:, None], signal, noise))
        best, spread = (x - signal * mean) / noise, variance * (signal / noise) ** 2
        assert torch.trapezoid(density * (spread + best**2), x).item() == pytest.approx(1, abs=1e-9)
        assert torch.trapezoid(density * (best + wave(x)) ** 2, x).item() == pytest.approx(square, abs=1e-9)
        assert torch.trapezoid(density * (spread + wave(x) ** 2), x).item() == pytest.approx(residual, abs=1e-9)


def test_check_values_of_the_bound():
    base = entropy(LINE)
    for moment, expected in (
        ("noise", [26.02004, 4.961487, 0.31690017]),
        ("residual", [0.97732279, 0.34959277, 0.15793863]),
    ):
        model = LINE.denoiser(LINEAR, error=wave, moment=moment)
        found = [nelbo(model, timestep_subsequence(1000, k), HeadVariance()) - base for k in (5, 10, 25)]
        assert found == pytest.approx(expected, rel=2e-6)
    exact = [nelbo(LINE.denoiser(LINEAR), timestep_subsequence(1000, k), HeadVariance()) - base for k in (5, 10, 25)]
    assert exact == pytest.approx([0.53438641, 0.18901628, 0.048750163], rel=1e-7)


@pytest.mark.parametrize("positive", ["softplus", "exp", "linear", "relative"])
def test_losses_are_their_formulas(positive):
    head = ResidualHead(4, 2, positive=positive, stats=full_stats())
    nn.init.normal_(head.layer[2].weight, generator=torch.Generator().manual_seed(1))
    features, eps, noise = normal(3, 4, dtype=torch.float32), normal(3, 2, seed=1).float(), normal(3, 2, seed=2).float()
    raw, t = head.layer(features), torch.tensor([1, 400, 1000])
    total = 0.0
    for o, e, z in zip(raw.flatten().tolist(), eps.flatten().tolist(), noise.flatten().tolist(), strict=True):
        soft = math.log1p(math.exp(o + math.log(math.e - 1)))
        r2 = (z - e) ** 2
        total += {
            "softplus": (soft - r2) ** 2,
            "exp": 0.5 * (o + r2 * math.exp(-o)),
            "linear": (o - r2) ** 2,
            "relative": (0.3 * soft - r2) ** 2 / 0.3**2,
        }[positive]
    assert head.loss(features, t, eps, noise).item() == pytest.approx(total / 6, rel=1e-5)
    second = SecondMomentHead(4, 2)
    squares = sum((1 - z**2) ** 2 for z in noise.flatten().tolist())
    assert second.loss(features, t, eps, noise).item() == pytest.approx(squares / 6, rel=1e-5)


# ---- theorems -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positive", ["softplus", "exp", "relative"])
def test_residual_heads_start_at_one_or_at_the_direct_estimate(positive):
    head = ResidualHead(4, 2, positive=positive, stats=full_stats(0.3))
    g = head(normal(3, 4).float(), 500, normal(3, 2))
    torch.testing.assert_close(g, torch.full((3, 2), 0.3 if positive == "relative" else 1.0).double())
    found = head.x0_variance(LINEAR, 500, normal(3, 2), normal(3, 4).float())
    torch.testing.assert_close(found, g * LINEAR.sigma(500) ** 2)
    torch.testing.assert_close(
        head.x0_variance(LINEAR, torch.tensor([500] * 3), normal(3, 2), normal(3, 4).float()), found
    )


def test_the_normal_loss_has_the_mean_square_as_its_minimum():
    head = ResidualHead(1, 1, positive="exp")
    noise = normal(2000, 1, dtype=torch.float32) * 0.7
    bias = head.layer[2].bias
    optimizer = torch.optim.LBFGS([bias], max_iter=50)
    features, eps, t = torch.ones(2000, 1), torch.zeros(2000, 1), torch.ones(2000, dtype=torch.long)

    def closure():
        optimizer.zero_grad()
        loss = head.loss(features, t, eps, noise)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert bias.exp().item() == pytest.approx(noise.square().mean().item(), rel=1e-3)


def test_a_constant_head_takes_the_analytic_step():
    times, g = [1, 300, 700, 1000], 0.4
    stats = full_stats()
    stats.x0_var[:] = g * torch.tensor([1.0, *(LINEAR.sigma(t) ** 2 for t in range(1, 1001))])
    net = Net()
    head = ResidualHead(16, 1, positive="linear")
    nn.init.constant_(head.layer[2].bias, g)
    plain, headed = Denoiser(net, LINEAR), Denoiser(with_features(net, "trunk"), LINEAR, head=head)
    start = normal(5, 1, dtype=torch.float32)
    for eta in (0, 1):
        left = sample(plain, start, times, ancestral(eta, AnalyticVariance(stats)), noise=torch.ones_like)
        right = sample(headed, start, times, ancestral(eta, HeadVariance()), noise=torch.ones_like)
        torch.testing.assert_close(left, right, rtol=2e-4, atol=2e-4)


def test_on_the_normal_target_the_head_is_the_best_variance():
    for count in (5, 10, 25):
        mean, spread = gaussian_chain(NORMAL, LINEAR, timestep_subsequence(1000, count), 1, HeadVariance())
        assert gaussian_kl(NORMAL.means[0], NORMAL.variances[0], mean, spread) == pytest.approx(
            2.48856399e-05, rel=1e-6
        )


def test_the_residual_is_never_worse_than_another_variance_for_the_same_mean():
    times, model = timestep_subsequence(1000, 10), LINE.denoiser(LINEAR, error=wave)
    best = nelbo(model, times, HeadVariance())
    for other in (fixed_large, HeadVariance(per_state=True)):
        assert best <= nelbo(model, times, other) + 1e-12
    assert best < nelbo(LINE.denoiser(LINEAR, error=wave, moment="noise"), times, HeadVariance())


def test_one_call_of_the_network_gives_mean_and_moment():
    net = Net()
    model = Denoiser(with_features(net, net.trunk), LINEAR, head=SecondMomentHead(16, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = sample(model, normal(3, 1).float(), timestep_subsequence(1000, 7), ancestral(0, HeadVariance()))
    assert net.calls == 7
    assert out.shape == (3, 1)


def test_features_are_the_output_of_the_layer_and_leave_no_hook():
    net = Net()
    wrapped = with_features(net, "trunk.0")
    out, features = wrapped(normal(3, 1).float(), torch.tensor([1, 2, 3]))
    assert features.shape == (3, 16)
    assert torch.equal(out, net(normal(3, 1).float(), torch.tensor([1, 2, 3])))
    assert not net.trunk[0]._forward_hooks
    assert copy.deepcopy(wrapped).layer == "trunk.0"


@pytest.mark.parametrize("kind", ["second", "softplus", "exp", "linear", "relative"])
def test_training_moves_the_head_alone_and_nears_the_moment_that_it_is_for(kind):
    """A network that predicts no noise at all has the residual E[ε² | x], which the mixture knows."""
    data, net = LINE.sample(2000, torch.Generator().manual_seed(1)).float(), Net(width=64, seed=3)
    nn.init.zeros_(net.last.weight)
    nn.init.zeros_(net.last.bias)
    head = SecondMomentHead(64, 1) if kind == "second" else ResidualHead(64, 1, positive=kind, stats=full_stats(1.0))
    model = Denoiser(with_features(net, "trunk"), LINEAR, head=head)
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    net.train()
    losses = train_variance_head(
        model, data, 400, batch_size=256, learning_rate=0.02, generator=torch.Generator().manual_seed(4)
    )
    assert losses.shape == (400,)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert net.training
    assert head.trained_with is not None
    missed, flat = 0.0, 0.0
    for t in (100, 200, 300, 500):
        signal, noise = LINEAR.signal(t), LINEAR.noise(t)
        x = signal * LINE.sample(500, torch.Generator().manual_seed(t)) + noise * normal(500, 1, seed=t)
        mean, variance = LINE.denoise(x, signal, noise)
        wanted = variance * (signal / noise) ** 2 + ((x - signal * mean) / noise) ** 2
        with torch.no_grad():
            found = model(x.float(), t).second_moment * (signal / noise) ** 2
        missed, flat = missed + (found - wanted).square().mean(), flat + (1 - wanted).square().mean()
    assert missed < 0.6 * flat


# ---- gradient -------------------------------------------------------------------------------------------------------


def test_gradients():
    head = ResidualHead(3, 2).double()
    nn.init.normal_(head.layer[2].weight, generator=torch.Generator().manual_seed(1))
    features = normal(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: head.x0_variance(LINEAR, 400, normal(2, 2), f), (features,))
    times = torch.tensor([3, 800])
    for h in (head, SecondMomentHead(3, 2).double()):
        nn.init.normal_(h.layer[2].weight, generator=torch.Generator().manual_seed(1))
        assert torch.autograd.gradcheck(
            lambda f, h=h: h.loss(f, times, normal(2, 2), normal(2, 2, seed=3)), (features,)
        )


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_images_have_convolutions():
    head = ResidualHead(6, 3, kernel_size=3, data_range=(-1, 1))
    out = head.x0_variance(LINEAR, 900, normal(2, 3, 5, 5).float(), normal(2, 6, 5, 5).float())
    assert out.shape == (2, 3, 5, 5)
    assert (out == 1).all()  # ρ² at that time is far above the range


def test_half_precision_subtracts_in_single():
    net = Net().half()
    model = Denoiser(with_features(net, "trunk"), LINEAR, head=SecondMomentHead(16, 1).half())
    prediction = model(normal(3, 1).half(), 400)
    assert prediction.mean.dtype == prediction.second_moment.dtype == torch.float32


def test_empty_batches():
    model = Denoiser(with_features(Net(), "trunk"), LINEAR, head=ResidualHead(16, 1))
    assert model(torch.zeros(0, 1), 400).second_moment.shape == (0, 1)


@pytest.mark.wrong_types
def test_negative_variances_count_as_zero_and_are_warned_of_once():
    head = Given(torch.full((10, 1), -0.5).double())
    with pytest.warns(UserWarning, match="100% of the head's variances are negative and count as 0"):
        assert (head.x0_variance(LINEAR, 400, torch.zeros(10, 1).double(), None) == 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head.x0_variance(LINEAR, 400, torch.zeros(10, 1).double(), None)
        few = Given(torch.tensor([[-0.5]] + [[0.5]] * 19).double())
        few.x0_variance(LINEAR, 400, torch.zeros(20, 1).double(), None)


def test_a_state_can_share_one_variance():
    moment = normal(3, 2, 2).abs()
    c = LINEAR.step(100, 400, 0.5)
    found = HeadVariance(per_state=True)(400, 100, c, Prediction(moment, moment))
    expected = c.sigma2 + c.gamma**2 * moment.reshape(3, -1).mean(1)
    torch.testing.assert_close(found.reshape(3), expected)


def test_heads_remember_their_schedule_through_state_dicts():
    data, net = LINE.sample(50, torch.Generator().manual_seed(1)).float(), Net()
    head = ResidualHead(16, 1)
    train_variance_head(Denoiser(with_features(net, "trunk"), LINEAR, head=head), data, 2)
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    file.seek(0)
    other = ResidualHead(16, 1)
    other.load_state_dict(torch.load(file, weights_only=True))
    other.belongs_to(LINEAR)
    for schedule in (NoiseSchedule.linear(500), NoiseSchedule.cosine()):
        with pytest.raises(ValueError, match="head must be used with the schedule of its training: got T=1000"):
            Denoiser(with_features(net, "trunk"), schedule, head=other)(normal(2, 1).float(), 400)


def test_a_head_that_gives_no_number_stops_the_sampler_by_name():
    head = ResidualHead(16, 1)
    nn.init.constant_(head.layer[2].bias, torch.nan)
    model = Denoiser(with_features(Net(), "trunk"), LINEAR, head=head)
    with pytest.raises(FloatingPointError, match="the first others after step 1, from t=1000 to s=500"):
        sample(model, normal(2, 1).float(), [1, 500, 1000], ancestral(1, HeadVariance()))


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (ValueError, lambda: ResidualHead(3, 1, positive="relu"), "positive must be one of"),
        (
            ValueError,
            lambda: ResidualHead(3, 1, positive="relative"),
            "stats must have a positive residual at every time",
        ),
        (
            ValueError,
            lambda: ResidualHead(
                3,
                1,
                positive="relative",
                stats=estimate_x0_variance(LINE.denoiser(LINEAR), normal(5, 1), [1], num_samples=5),
            ),
            "positive='relative': got 999 times without one",
        ),
        (ValueError, lambda: SecondMomentHead(3, 1, data_range=(1, -1)), "data_range must be a range"),
        (ValueError, lambda: SecondMomentHead(0, 1), "features must lie between 1 and inf"),
        (
            ValueError,
            lambda: ResidualHead(3, 2).x0_variance(LINEAR, 5, torch.zeros(1, 1), torch.zeros(1, 3)),
            r"output of the head must have the shape of the data, \(1, 1\): got \(1, 2\)",
        ),
        (
            TypeError,
            lambda: ResidualHead(3, 2).x0_variance(LINEAR, 5, torch.zeros(1, 2), None),
            r"features must be a tensor: got NoneType. Wrap the network: with_features\(network, layer\)",
        ),
        (
            TypeError,
            lambda: Denoiser(Net(), LINEAR, head=ResidualHead(16, 1))(torch.zeros(1, 1), 5),
            r"with_features\(",
        ),
        (
            TypeError,
            lambda: sample(LINE_NET, torch.zeros(1, 1), [1, 1000], ancestral(1, HeadVariance())),
            "prediction must carry a second moment.*head=head",
        ),
        (ValueError, lambda: with_features(Net(), "middle"), "layer must be a layer of the network: got middle"),
        (ValueError, lambda: with_features(Net(), nn.Linear(1, 1)), "layer must be a layer of the network: got Linear"),
        (
            TypeError,
            lambda: train_variance_head(LINE_NET, torch.zeros(1, 1), 1),
            "denoiser must have a head: got NoneType",
        ),
    ],
)
def test_bad_input_is_named(error, call, message):
    with pytest.raises(error, match=message):
        call()


LINE_NET = Denoiser(Net(), LINEAR)


def test_a_layer_that_is_not_called_is_named():
    net = Net()
    net.spare = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="layer must be called by the network: got spare"):
        with_features(net, "spare")(torch.zeros(1, 1), torch.zeros(1))


def test_a_step_without_variance_ignores_the_head():
    model = Denoiser(with_features(Net(), "trunk"), LINEAR, head=ResidualHead(16, 1))
    plain = Denoiser(model.network.network, LINEAR)
    times = timestep_subsequence(1000, 4)
    left, right = (sample(m, normal(2, 1).float(), times, ddim_step()) for m in (model, plain))
    assert torch.equal(left, right)


def test_training_counts_its_updates_and_names_the_one_that_is_not_finite():
    seen, head = [], ResidualHead(16, 1)
    model = Denoiser(with_features(Net(), "trunk"), LINEAR, head=head)
    losses = train_variance_head(
        model, normal(8, 1).float(), 3, batch_size=4, progress=lambda updates: (seen.append(i) or i for i in updates)
    )
    assert (seen, losses.shape) == ([0, 1, 2], (3,))
    with torch.no_grad():
        model.network.network.last.bias.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="the head's loss must stay finite: got nan at update 1"):
        train_variance_head(model, normal(8, 1).float(), 2, batch_size=4)


def test_a_network_with_features_passes_conditions_on():
    class Conditional(nn.Linear):
        def forward(self, x, _times, label, *, scale):
            return scale * (super().forward(x) + label)

    net = nn.ModuleDict({"inner": Conditional(2, 2)})
    net.forward = lambda x, times, label, scale: net["inner"](x, times, label, scale=scale)
    out, features = with_features(net, "inner")(torch.zeros(1, 2), torch.zeros(1), 1.0, scale=3.0)
    assert torch.equal(out, features)
    torch.testing.assert_close(out, 3 * (net["inner"].bias + 1)[None])
