"""Batch normalisation against loops and torch, exact constants, and what the derivation promises."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from contract import Sample
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_digits
from torch import nn

from gezhi.theory import BatchNorm, gradient_lipschitz, input_smoothness, landscape_probe, recalibrate_batch_norm

NUMPY = {"compiles": False, "differentiable": False, "reason": "it computes with NumPy"}
X = np.array([[1, -2], [2, 0.5], [4, 1], [-1, 3]], dtype=float)
SAMPLES = [
    Sample(gradient_lipschitz, (X,), **NUMPY),
    Sample(input_smoothness, (X,), **NUMPY),
    Sample(BatchNorm(2).eval(), (torch.tensor(X, dtype=torch.float32),)),
    Sample(BatchNorm(2, affine=False, track_running_stats=False), (torch.tensor(X, dtype=torch.float32),)),
]

TABLES = arrays(float, st.tuples(st.integers(1, 9), st.integers(1, 4)), elements=st.floats(-50, 50))
SHIFTS = st.floats(-50, 50)


def reference_batch_norm(x, weight, bias, eps):
    """Equation (5) in loops, and the mean and the two variances of each channel."""
    rows, channels = x.shape
    y, moments = torch.zeros_like(x), []
    for c in range(channels):
        mean = sum(x[i, c].item() for i in range(rows)) / rows
        squares = sum((x[i, c].item() - mean) ** 2 for i in range(rows))
        moments.append((mean, squares / rows, squares / (rows - 1)))
        for i in range(rows):
            y[i, c] = weight[c] * (x[i, c] - mean) / (squares / rows + eps) ** 0.5 + bias[c]
    return y, moments


def of_the_sheet():
    layer = BatchNorm(2).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.5, 0.5], dtype=torch.float64))
        layer.bias.copy_(torch.tensor([0.1, -0.2], dtype=torch.float64))
    return layer, torch.tensor(X, requires_grad=True)


# ---- reference ------------------------------------------------------------------------------------------------------


def test_the_layer_is_the_formula_and_its_published_figures():
    layer, x = of_the_sheet()
    expected, moments = reference_batch_norm(x.detach(), layer.weight.detach(), layer.bias.detach(), 1e-5)
    y = layer(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-14)
    published = [
        [-0.3160245071317, -0.9369543649602],
        [0.5160245071317, -0.2350930649981],
        [2.1801225356586, -0.0947208050057],
        [-1.9801225356586, 0.4667682349640],
    ]
    torch.testing.assert_close(y, torch.tensor(published, dtype=torch.float64), rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        moments, [(1.5, 3.25, 4.3333333333), (0.625, 3.171875, 4.2291666667)], rtol=0, atol=1e-10
    )
    assert layer.running_mean.tolist() == pytest.approx([0.15, 0.0625])
    assert layer.running_var.tolist() == pytest.approx([1.3333333333, 1.3229166667])


UPSTREAM = torch.tensor([[0.2, -1], [0.7, 0.3], [-0.4, 0.5], [0.1, 0.9]], dtype=torch.float64)


def test_gradients_of_the_published_figures():
    layer, x = of_the_sheet()
    layer(x).backward(UPSTREAM)
    dx = [
        [0.0096006640162, -0.0445327889774],
        [0.4896287445418, 0.0486807803317],
        [-0.2976180243602, 0.0504788229944],
        [-0.2016113841979, -0.0546268143487],
    ]
    torch.testing.assert_close(x.grad, torch.tensor(dx, dtype=torch.float64), rtol=0, atol=1e-12)
    assert layer.weight.grad.tolist() == pytest.approx([-0.5546993428418, 2.7583149088508], abs=1e-12)
    assert layer.bias.grad.tolist() == pytest.approx([0.6, 0.7])


def test_constants_of_the_published_figures():
    centred = X - X.mean(0)
    tables = (X, centred, centred / X.std(0))
    constants = [1.4920458831492, 1.0373127372942, 0.3229981027229]
    assert [gradient_lipschitz(table) for table in tables] == pytest.approx(constants, abs=1e-12)
    bounds = [3.0103986446981, 2.5341418665892, 1.4142135623731]
    assert [input_smoothness(table).input_bound for table in tables] == pytest.approx(bounds, abs=1e-12)


def test_constants_of_digits():
    x = load_digits().data / 16
    centred = x - x.mean(0)
    standardised = centred / np.where(x.std(0) > 0, x.std(0), 1)
    found = [gradient_lipschitz(table) for table in (x, centred, standardised)]
    assert found == pytest.approx([2.8608820973, 0.25, 1.8351722049], abs=1e-9)
    conditions = [input_smoothness(table).condition_number for table in (centred, standardised)]
    assert conditions == pytest.approx([6.2e5, 146], rel=0.01)


@given(TABLES)
def test_the_constant_is_the_largest_curvature(table):
    extended = np.hstack([np.ones((len(table), 1)), table])
    moments = sum(np.outer(row, row) for row in extended) / len(table)
    expected = np.linalg.norm(moments, 2)
    assert gradient_lipschitz(table, loss="squared") == pytest.approx(expected, rel=1e-9)
    assert gradient_lipschitz(table) == pytest.approx(expected / 4, rel=1e-9)


# ---- oracle ---------------------------------------------------------------------------------------------------------

SHAPES = {"rows": (6, 3), "sequences": (4, 3, 5), "pictures": (2, 3, 4, 5), "volumes": (1, 3, 2, 2, 2)}
TORCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_is_torch_s_in_training_and_evaluation(shape, affine, momentum):
    ours, theirs = (make(3, momentum=momentum, affine=affine) for make in (BatchNorm, TORCH[len(shape)]))
    if affine:
        with torch.no_grad():
            theirs.weight.copy_(torch.randn(3))
            theirs.bias.copy_(torch.randn(3))
    ours.load_state_dict(theirs.state_dict())
    for _ in range(3):
        x = 3 * torch.randn(shape) + 1
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        up = torch.randn(shape)
        left, right = ours(a), theirs(b)
        torch.testing.assert_close(left, right, rtol=1e-5, atol=2e-6)
        left.backward(up)
        right.backward(up)
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("make", [BatchNorm, nn.BatchNorm1d])
def test_recalibration_is_torch_s_update(make):
    loader = [torch.randn(8, 3) + i for i in range(4)]
    ours = nn.Sequential(nn.Linear(3, 5), make(5), nn.ReLU(), make(5))
    theirs = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.BatchNorm1d(5))
    theirs.load_state_dict(ours.state_dict())
    torch.optim.swa_utils.update_bn(loader, theirs)
    assert recalibrate_batch_norm(ours, loader) == 4
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-6)


# ---- theorem --------------------------------------------------------------------------------------------------------


@given(TABLES, st.data())
def test_centring_is_the_best_shift(table, data):
    shift = np.array([data.draw(SHIFTS) for _ in range(table.shape[1])])
    centred = table - table.mean(0)
    for before in (table, table - shift):
        assert gradient_lipschitz(centred) <= gradient_lipschitz(before) * (1 + 1e-9)
        assert input_smoothness(centred).input_bound <= input_smoothness(before).input_bound * (1 + 1e-9) + 1e-9


@given(TABLES, st.integers(0, 2**32 - 1))
def test_gradients_of_logistic_regression_change_by_no_more_than_the_constant(table, seed):
    rng = np.random.default_rng(seed)
    extended, target = np.hstack([table, np.ones((len(table), 1))]), rng.integers(0, 2, len(table))
    first, second = rng.normal(size=(2, extended.shape[1]))

    def gradient(weights):
        return extended.T @ (0.5 * (1 + np.tanh(extended @ weights / 2)) - target) / len(table)

    change = np.linalg.norm(gradient(first) - gradient(second))
    assert change <= gradient_lipschitz(table) * np.linalg.norm(first - second) * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("expected", [[0.369053254438, 0.009885219248]])
def test_the_gradient_through_the_layer_is_as_small_as_the_theorem_says(expected):
    x = torch.tensor(X, requires_grad=True)
    layer = BatchNorm(2, eps=1e-300).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.5, 0.5], dtype=torch.float64))
    layer(x).backward(UPSTREAM)
    with torch.no_grad():
        hat, m = (x - x.mean(0)) / x.std(0, correction=0), len(x)
        rest = UPSTREAM.square().sum(0) - UPSTREAM.sum(0) ** 2 / m - (UPSTREAM * hat).sum(0) ** 2 / m
        right = layer.weight**2 / x.var(0, correction=0) * rest
    torch.testing.assert_close(x.grad.square().sum(0), right, rtol=1e-10, atol=0)
    assert right.tolist() == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
def test_the_scale_of_the_weights_before_it_does_not_matter(seed, scale):
    rng = torch.Generator().manual_seed(seed)
    x, target = (torch.randn(9, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    weights = torch.randn(4, 4, generator=rng, dtype=torch.float64)
    layer = BatchNorm(4, eps=1e-300).double()

    def gradient(w):
        w = w.clone().requires_grad_()
        loss = (layer(x @ w) - target).pow(2).sum()
        return torch.autograd.grad(loss, w)[0]

    at_one, scaled = gradient(weights), gradient(scale * weights)
    torch.testing.assert_close(scaled, at_one / scale, rtol=1e-6, atol=1e-9)
    assert abs((weights * at_one).sum().item()) < 1e-8 * at_one.norm().item() * weights.norm().item()


@given(st.integers(0, 2**32 - 1))
def test_moments_of_the_output_and_of_the_gradient(seed):
    rng = torch.Generator().manual_seed(seed)
    x, up = (torch.randn(7, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    layer = BatchNorm(3).double()
    y = layer(x.requires_grad_())
    y.backward(up)
    variance = x.detach().var(0, correction=0)
    torch.testing.assert_close(y.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(y.var(0, correction=0), variance / (variance + 1e-5))
    torch.testing.assert_close(x.grad.sum(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-10)
    hat = (x.detach() - x.detach().mean(0)) / (variance + 1e-5).sqrt()
    expected = (variance + 1e-5).rsqrt() * (up * hat).sum(0) * 1e-5 / (variance + 1e-5)
    torch.testing.assert_close((x.grad * hat).sum(0), expected, rtol=1e-6, atol=1e-10)


@settings(max_examples=20)
@given(st.floats(0.2, 5), st.floats(0.01, 0.2))
def test_a_quadratic_has_its_own_curvature(curvature, step):
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, 2.0)
    batch = (torch.full((1, 1), curvature**0.5, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64))
    found = landscape_probe(model, half_square, batch, step_sizes=(step, 2 * step))
    assert found.smoothness == pytest.approx(curvature)
    assert found.loss == pytest.approx(2 * curvature)
    assert found.gradient_changes.tolist() == pytest.approx([step * curvature, 2 * step * curvature])
    left = [2 * curvature * (1 - eta * curvature) ** 2 for eta in (step, 2 * step)]
    assert found.losses.tolist() == pytest.approx(left)


def half_square(output, target):
    return (output - target).square().mean() / 2


def test_relative_steps_take_their_share_of_a_straight_loss():
    model = nn.Linear(2, 1).double()
    batch = (torch.ones(3, 2, dtype=torch.float64), torch.zeros(3, 1))
    found = landscape_probe(model, lambda y, _: y.mean() + 5, batch, step_sizes=(0.1, 0.5), relative=True)
    assert found.losses.tolist() == pytest.approx([0.9 * found.loss, 0.5 * found.loss])
    assert found.gradient_changes.tolist() == pytest.approx([0, 0])


# ---- gradient -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 2), (2, 2, 3)])
def test_gradcheck(shape):
    layer = BatchNorm(2).double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_a_channel_without_spread_gives_beta_and_a_finite_gradient():
    layer, _ = of_the_sheet()
    x = torch.tensor([[7.0, 1.0], [7.0, 2.0]], dtype=torch.float64, requires_grad=True)
    y = layer(x)
    assert y[:, 0].tolist() == [0.1, 0.1]
    y.square().sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_normalised_in_float32(dtype):
    x = (torch.randn(64, 3) + 100).to(dtype)
    layer = BatchNorm(3)
    y = layer(x)
    assert y.dtype == dtype
    exact = BatchNorm(3)(x.float())
    torch.testing.assert_close(y.float(), exact, rtol=0.01, atol=0.01)
    torch.testing.assert_close(layer.running_mean, 0.1 * x.float().mean(0))


def test_a_large_mean_does_not_eat_the_variance():
    x = torch.randn(256, 1) + 1000
    y = BatchNorm(1)(x)
    assert y.var(correction=0).item() == pytest.approx(1, abs=1e-3)


def test_without_running_statistics_evaluation_uses_the_batch():
    layer = BatchNorm(2, track_running_stats=False)
    x = torch.randn(5, 2)
    torch.testing.assert_close(layer.eval()(x), layer.train()(x))
    assert layer.eval()(torch.randn(1, 2)).tolist() == [[0, 0]]


def test_without_momentum_running_statistics_are_means():
    layer = BatchNorm(1, momentum=None)
    for values in ([0.0, 2.0], [4.0, 6.0], [2.0, 4.0]):
        layer(torch.tensor(values)[:, None])
    assert (layer.running_mean.item(), layer.running_var.item()) == (pytest.approx(3), pytest.approx(2))


def test_memory_layout_does_not_matter():
    x = torch.randn(3, 5, 4).transpose(1, 2)
    torch.testing.assert_close(BatchNorm(4)(x), BatchNorm(4)(x.contiguous()))


def test_recalibration_leaves_all_else_alone():
    model = nn.Sequential(nn.Linear(2, 3), BatchNorm(3, momentum=0.2), nn.Dropout(0.5), nn.BatchNorm1d(3).eval())
    before = copy.deepcopy(model)
    batches = [(torch.randn(4, 2), torch.zeros(4)) for _ in range(5)]
    assert recalibrate_batch_norm(model, iter(batches), n_batches=2) == 2
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    assert (model[1].momentum, model[3].momentum) == (0.2, 0.1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    assert not torch.equal(model[1].running_mean, before[1].running_mean)
    assert model[1].num_batches_tracked == 2


def test_a_recalibration_that_fails_changes_nothing():
    model = nn.Sequential(BatchNorm(2), nn.Linear(2, 1))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="input must have shape"):
        recalibrate_batch_norm(model, [torch.randn(4, 2), torch.randn(4, 3)])
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value)
    assert (model.training, model[0].training, model[0].momentum) == (True, True, 0.1)


def test_the_probe_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), BatchNorm(4), nn.Dropout(0.5), nn.Linear(4, 2))
    batch = (torch.randn(8, 3), torch.randint(2, (8,)))
    nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    gradients = [p.grad.clone() for p in model.parameters()]
    first = landscape_probe(model, nn.functional.cross_entropy, batch)
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    second = landscape_probe(model, nn.functional.cross_entropy, batch)
    assert torch.equal(first.gradient_changes, second.gradient_changes)
    with pytest.raises(ValueError, match="batch_size"):
        landscape_probe(model, nn.functional.cross_entropy, (torch.randn(8, 3), torch.zeros(3)))
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value)


def test_columns_without_spread_drop_out_of_the_condition_number():
    assert input_smoothness(np.hstack([X, np.zeros((4, 1))])) == pytest.approx(input_smoothness(X))
    assert input_smoothness([[0.0]]) == (0, 1)
    assert gradient_lipschitz([[0.0]]) == 0.25


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BatchNorm(0), "num_features must lie between 1"),
        (lambda: BatchNorm(2, eps=0), "eps must lie strictly between 0 and inf: got 0"),
        (lambda: BatchNorm(2, momentum=1.5), "momentum must lie between 0 and 1: got 1.5"),
        (lambda: BatchNorm(2)(torch.randn(4, 3)), r"input must have shape \(N, num_features = 2, …\): got \(4, 3\)"),
        (
            lambda: BatchNorm(2)(torch.randn(1, 2)),
            r"input must hold more than one value a channel .*: got shape \(1, 2\)",
        ),
        (lambda: BatchNorm(2)(torch.randn(0, 2)), "input must hold more than one value a channel"),
        (lambda: BatchNorm(2, track_running_stats=False).eval()(torch.randn(0, 2)), "input must not be empty"),
        (lambda: gradient_lipschitz([1.0, 2.0]), r"X must be a table with a row at least: got shape \(2,\)"),
        (lambda: gradient_lipschitz([[np.nan]]), "X must be finite"),
        (lambda: gradient_lipschitz(X, loss="hinge"), "loss must be one of 'logistic', 'squared'"),
        (lambda: input_smoothness(np.zeros((0, 2))), "X must be a table with a row at least"),
        (lambda: recalibrate_batch_norm(nn.Linear(2, 2), []), "model must hold batch normalisation"),
        (lambda: recalibrate_batch_norm(BatchNorm(2), []), "loader must give a batch at least: got none"),
        (lambda: recalibrate_batch_norm(BatchNorm(2), [], n_batches=0), "n_batches must lie between 1"),
        (lambda: landscape_probe(nn.ReLU(), half_square, (0, 0)), "model must have parameters"),
        (lambda: landscape_probe(nn.Linear(1, 1), half_square, (0, 0), step_sizes=()), "step_sizes must name a step"),
        (
            lambda: landscape_probe(nn.Linear(1, 1), half_square, (0, 0), step_sizes=(-1,)),
            "step_sizes must lie strictly",
        ),
        (
            lambda: landscape_probe(nn.Linear(1, 1), lambda y, _: 0 * y.sum(), (torch.ones(1, 1), 0)),
            "the gradient of loss_fn must not be 0",
        ),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
