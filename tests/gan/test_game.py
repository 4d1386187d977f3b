"""The game: its field against loops and finite differences, its steps, training updates and averages."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gezhi.gan import (
    EMA,
    CTransform,
    ExplodingGameWarning,
    Game,
    GameTrainer,
    GradientPenalty,
    QuadraticDivergence,
    clip_weights,
    gradient_penalty,
    hinge,
    least_squares,
    non_saturating,
    saturating,
    unit_norm,
    wasserstein,
)

DIVERGENCES = {
    "wasserstein": wasserstein,
    "non-saturating": non_saturating,
    "saturating": saturating,
    "hinge": hinge,
    "least squares": least_squares,
    "quadratic": QuadraticDivergence(2.0),
    "c-transform": CTransform(),
    "soft c-transform": CTransform(0.5),
}
EVERY = pytest.mark.parametrize("divergence", DIVERGENCES.values(), ids=DIVERGENCES)
PENALTIES = {
    "none": None,
    "one-centred": GradientPenalty(10, at="real"),
    "zero-centred": GradientPenalty(1, center=0, at="fake"),
    "WGAN-div": GradientPenalty(2, center=0, power=6, at="real"),
    "one-sided": GradientPenalty(1, one_sided=True, at="fake"),
}


def small(divergence=wasserstein, penalty=None, **choices):
    critic = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    game = Game(nn.Linear(2, 3), critic, divergence, penalty, **choices).double()
    return game.on(torch.randn(5, 3).double(), torch.randn(5, 2).double())


def loop_losses(name, real, fake):
    """The formulas, sample by sample; `real` and `fake` are scores."""
    log1p = [lambda s: float(np.logaddexp(0, s))][0]
    means = {
        "wasserstein": (np.mean(fake) - np.mean(real), -np.mean(fake)),
        "non-saturating": (np.mean([log1p(-s) for s in real]) + np.mean([log1p(s) for s in fake]), np.mean([log1p(-s) for s in fake])),
        "saturating": (np.mean([log1p(-s) for s in real]) + np.mean([log1p(s) for s in fake]), -np.mean([log1p(s) for s in fake])),
        "hinge": (np.mean([max(0, 1 - s) for s in real]) + np.mean([max(0, 1 + s) for s in fake]), -np.mean(fake)),
        "least squares": (np.mean([(s - 1) ** 2 for s in real]) / 2 + np.mean([s**2 for s in fake]) / 2, np.mean([(s - 1) ** 2 for s in fake]) / 2),
    }  # fmt: skip
    return means[name]


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wasserstein", "non-saturating", "saturating", "hinge", "least squares"])
def test_losses_are_the_formulas(name):
    real, fake = torch.randn(2, 7, 1).double()
    found = DIVERGENCES[name](lambda x: 2 * x, real, fake)
    expected = loop_losses(name, 2 * real.flatten().numpy(), 2 * fake.flatten().numpy())
    np.testing.assert_allclose([loss.item() for loss in found], expected, rtol=1e-12)


def test_the_quadratic_divergence_charges_each_pair_by_its_distance():
    real, fake = torch.randn(2, 4, 3).double()
    real[0] = fake[0]  # a pair that has met costs nothing
    weight = torch.tensor([1.0, -2.0, 0.5]).double()
    critic, generator = QuadraticDivergence(3.0)(lambda x: x @ weight, real, fake)
    gaps = ((real - fake) @ weight).numpy()
    lengths = np.linalg.norm((real - fake).numpy(), axis=1)
    charge = [g * g / (6 * d) if d else 0.0 for g, d in zip(gaps, lengths, strict=True)]
    np.testing.assert_allclose(
        [critic.item(), generator.item()], [np.mean(charge) - gaps.mean(), gaps.mean()], rtol=1e-12
    )


@EVERY
@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_the_field_is_minus_the_slope_of_each_players_own_loss(divergence, penalty):
    game = small(divergence, penalty, weight_decay=0.3)
    state = game.state()
    found = game.field(state)
    split = sum(p.numel() for p in game.critic.parameters())

    def losses(at):
        torch.nn.utils.vector_to_parameters(at[:split], game.critic.parameters())
        torch.nn.utils.vector_to_parameters(at[split:], game.generator.parameters())
        fake = game.generator(game.noise).detach()
        critic = game.critic_loss(game.real, fake) + 0.15 * at[:split].square().sum()
        return critic.item(), game.generator_loss(game.real, fake).item()

    for place in [0, 3, split - 1, split, len(state) - 1]:
        ahead, behind = state.clone(), state.clone()
        ahead[place] += 1e-6
        behind[place] -= 1e-6
        player = int(place >= split)
        slope = (losses(ahead)[player] - losses(behind)[player]) / 2e-6
        assert found[place].item() == pytest.approx(-slope, abs=1e-6)


@EVERY
def test_the_jacobian_is_the_change_of_the_field(divergence):
    game = small(divergence, GradientPenalty(1, center=0, at="real"))
    state = game.state()
    matrix = game.jacobian(state)
    for place in (0, 7, len(state) - 1):
        ahead, behind = state.clone(), state.clone()
        ahead[place] += 1e-6
        behind[place] -= 1e-6
        change = (game.field(ahead) - game.field(behind)) / 2e-6
        np.testing.assert_allclose(matrix[:, place].numpy(), change.numpy(), atol=1e-6)


def test_gradient_penalties_are_those_of_the_sheet():
    A, b = torch.tensor([[1.0, 2.0], [0.0, 1.0]]).double(), torch.tensor([0.5, -1.0]).double()
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]).double()

    def critic(points):
        return (points @ A.T + b).square().sum(1) / 2

    found = {
        "GP1": gradient_penalty(critic, x),
        "one-sided": gradient_penalty(critic, x, one_sided=True),
        "GP0": gradient_penalty(critic, x, center=0),
        "div": 2 * gradient_penalty(critic, x, center=0, power=6),
    }
    expected = {"GP1": 33.9394292668462, "one-sided": 33.8560959335129, "GP0": 42.25, "div": 1159377.78125}
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-12)


# ---- oracles --------------------------------------------------------------------------------------------------------


def test_unit_norm_is_what_torchs_spectral_norm_tends_to():
    exact, iterated = nn.Linear(5, 3).double(), nn.Linear(5, 3).double()
    iterated.load_state_dict(exact.state_dict())
    unit_norm(exact)
    spectral_norm(iterated, n_power_iterations=200)
    torch.testing.assert_close(exact.weight, iterated.weight, rtol=1e-9, atol=1e-9)
    assert torch.linalg.matrix_norm(exact.weight, 2).item() == pytest.approx(1)


def test_the_largest_singular_value_is_that_of_the_sheet():
    layer = nn.Linear(3, 2).double()
    layer.weight.data = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, -1.0]]).double()
    before = layer.weight.detach().clone()
    unit_norm(layer)
    assert (before / layer.weight)[0, 0].item() == pytest.approx(3.6585741494651, rel=1e-12)


def test_the_average_is_torchs_started_from_the_first_state():
    model = nn.Linear(2, 2)
    ours, theirs = EMA(model, 0.9), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(model)
    expected = model.weight.detach().clone()
    for _ in range(3):
        model.weight.data += torch.randn(2, 2)
        expected = 0.9 * expected + 0.1 * model.weight.detach()
        ours.update_parameters(model)
        theirs.update_parameters(model)
    torch.testing.assert_close(ours.module.weight, expected)
    torch.testing.assert_close(ours.module.weight, theirs.module.weight)
    restored = EMA(nn.Linear(2, 2), 0.9)
    restored.load_state_dict(ours.state_dict())
    torch.testing.assert_close(restored(torch.ones(1, 2)), ours(torch.ones(1, 2)))


# ---- properties -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.floats(0.1, 4), st.integers(0, 2**16))
def test_a_linear_critic_has_its_weights_length_as_gradient(dim, size, seed):
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(dim, generator=draw, dtype=torch.float64)
    weight *= size / weight.norm()
    x = torch.randn(3, dim, generator=draw, dtype=torch.float64)
    assert gradient_penalty(lambda p: p @ weight, x).item() == pytest.approx((size - 1) ** 2, abs=1e-12)
    assert gradient_penalty(lambda p: p @ weight, x, center=0).item() == pytest.approx(size**2)


@EVERY
def test_a_constant_on_the_critic_changes_no_wasserstein_loss(divergence):
    real, fake = torch.randn(2, 5, 3).double()
    shifted = [divergence(lambda x, c=c: x.sum(1) + c, real, fake)[0].item() for c in (0.0, 3.0)]
    invariant = isinstance(divergence, CTransform | QuadraticDivergence) or divergence is wasserstein
    assert (shifted[0] == pytest.approx(shifted[1], abs=1e-9)) == invariant


def test_the_penalty_passes_gradcheck():
    critic = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    x = torch.randn(4, 2).double().requires_grad_()
    for choices in ({}, {"center": 0}, {"one_sided": True, "center": 0.1}, {"power": 3.0}):
        assert torch.autograd.gradcheck(lambda p, c=choices: gradient_penalty(critic, p, **c), (x,))


def test_a_critic_without_slope_has_a_finite_penalty_and_gradient():
    weight = torch.zeros(3, requires_grad=True)
    for center in (0.0, 1.0):
        penalty = gradient_penalty(lambda p: p @ weight, torch.randn(4, 3), center=center)
        (slope,) = torch.autograd.grad(penalty, weight)
        assert penalty.item() == pytest.approx(center)
        assert torch.isfinite(slope).all()


# ---- steps and training ---------------------------------------------------------------------------------------------

H = 0.05


@pytest.mark.parametrize("method", ["simultaneous", "alternating", "extragradient", "optimistic"])
def test_training_with_plain_descent_follows_the_steps(method):
    game = small(non_saturating, GradientPenalty(1, center=0, at="real"), weight_decay=0.1)
    start = game.state()
    states = [start]
    for _ in range(3):
        at = torch.cat([states[-1], states[max(len(states) - 2, 0)]]) if method == "optimistic" else states[-1]
        states.append(game.step(at, H, method)[: len(start)])
    trained = copy.deepcopy(game)
    update = GameTrainer(
        trained, *[torch.optim.SGD(p.parameters(), H) for p in (trained.critic, trained.generator)], method=method
    )
    for _ in range(3):
        update(game.real, game.noise)
    torch.testing.assert_close(trained.state(), states[-1], rtol=1e-9, atol=1e-12)


def test_the_critic_may_take_more_steps_each_on_new_noise():
    game, drawn = small(), []
    update = GameTrainer(
        game, *[torch.optim.SGD(p.parameters(), H) for p in (game.critic, game.generator)], critic_steps=3
    )
    update(game.real, lambda: drawn.append(1) or torch.randn(5, 2).double())
    assert len(drawn) == 4


def test_clipped_weights_stay_in_their_box():
    game = small()
    optimizers = [torch.optim.SGD(p.parameters(), 1.0) for p in (game.critic, game.generator)]
    GameTrainer(game, *optimizers, after_critic=lambda c: clip_weights(c, 0.01))(game.real, game.noise)
    assert max(p.abs().max().item() for p in game.critic.parameters()) <= 0.01
    assert max(p.abs().max().item() for p in game.generator.parameters()) > 0.01


def test_an_exploding_game_says_so_once():
    game = small()
    game.critic[2].weight.data.fill_(float("inf"))
    update = GameTrainer(game, *[torch.optim.SGD(p.parameters(), H) for p in (game.critic, game.generator)])
    with pytest.warns(ExplodingGameWarning, match=r"loss of the game must be finite.*Lower the learning rates"):
        update(game.real, game.noise)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        update(game.real, game.noise)


def test_a_field_leaves_the_game_as_it_was():
    game = small(non_saturating, GradientPenalty(1, center=0, at="real"))
    before = copy.deepcopy(game.state_dict())
    game.field(game.state())
    game.step(game.state(), 0.1)
    assert all(torch.equal(before[name], value) for name, value in game.state_dict().items())
    assert all(p.grad is None for p in game.parameters())


def test_normalisation_reaches_every_layer_of_the_critic():
    game = small(critic_normalisation=unit_norm)
    norms = [torch.linalg.matrix_norm(layer.weight, 2).item() for layer in (game.critic[0], game.critic[2])]
    assert norms == pytest.approx([1, 1])
    assert game.generator.weight.norm().item() != pytest.approx(1)
    assert torch.isfinite(game.jacobian(game.state())).all()


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Game(nn.Linear(2, 3), nn.Linear(3, 1), wasserstein).field(torch.zeros(13)), "a field needs a batch"),
        (lambda: small().field(torch.zeros(3)), r"state must have shape \(30,\): 21 of the critic, then 9: got \(3,\)"),
        (lambda: small().step(small().state(), 0.0), "h must lie strictly between 0"),
        (lambda: small().step(small().state(), 0.1, "newton"), "method must be one of"),
        (lambda: small(weight_decay=-1), "weight_decay must"),
        (lambda: GradientPenalty(-1), "weight must"),
        (lambda: GradientPenalty(at="here"), "at must be one of"),
        (lambda: QuadraticDivergence(0), "weight must"),
        (lambda: EMA(nn.Linear(1, 1), 1.0), "decay must"),
        (lambda: clip_weights(nn.Linear(1, 1), 0), "bound must"),
        (lambda: wasserstein(lambda x: x, torch.zeros(4, 3), torch.zeros(4, 3)), r"critic must return \(4,\) or \(4, 1\)"),
        (lambda: GradientPenalty()(lambda x: x.sum(1), torch.zeros(4, 3), torch.zeros(5, 3)), "fake must have the shape of real"),
        (lambda: QuadraticDivergence()(lambda x: x.sum(1), torch.zeros(4, 3), torch.zeros(5, 3)), "fake must have as many samples"),
        (lambda: Game(nn.Linear(1, 1), nn.BatchNorm1d(1), wasserstein, GradientPenalty()), "treat samples one by one.*BatchNorm1d"),
        (lambda: GameTrainer(small(), None, None, method="simultaneous", critic_steps=2), "critic_steps must"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_penalty_without_gradients_is_refused():
    with torch.no_grad(), pytest.raises(RuntimeError, match="needs gradients"):
        gradient_penalty(lambda x: x.sum(1), torch.zeros(2, 2))


def test_scores_of_two_shapes_do_not_broadcast():
    real, fake = torch.randn(2, 4, 3)
    flat, column = (wasserstein(lambda x, c=c: x.sum(1, keepdim=c), real, fake)[0] for c in (False, True))
    torch.testing.assert_close(flat, column)
