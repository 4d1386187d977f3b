"""Adversarial procedures against their recipes by hand, their expansion in ε, and the hosts they have to live with."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st
from processes import in_two_processes
from torch import nn

from gezhi.training import (
    FGM,
    PGD,
    FreeLB,
    GradientPenalty,
    VirtualAdversarial,
    fgm_delta,
    global_l2,
    gradient_penalty,
    linf,
    per_sample_l2,
    project,
)

NORMS = [per_sample_l2, global_l2, linf]
BY_NORM = pytest.mark.parametrize("norm", NORMS, ids=["per sample", "global", "linf"])


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


class Words(nn.Module):
    """Embedding, mean over tokens, linear: the model of the check values, with something bent or random inside."""

    def __init__(self, table=None, weight=None, *, bent=False, dropout=0.0, **settings):
        super().__init__()
        table = normal(7, 3, seed=3) if table is None else table
        self.embed = nn.Embedding.from_pretrained(table.clone(), freeze=False, **settings)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(table.shape[1], 2, bias=False).to(table.dtype)
        self.out.weight.data = (normal(2, table.shape[1], seed=4) if weight is None else weight).clone().to(table.dtype)
        self.bent = bent

    def forward(self, ids):
        states = self.dropout(self.embed(ids))
        states = states.tanh() if self.bent else states
        return self.out(states.mean(1))


def cross_entropy(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def on_ones(kind, **settings):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    return kind(model, lambda model, x: model(x).logsumexp(-1).mean(), target="input", **settings)


def logits_of(model, batch):
    return model(batch)


BY_HOST = "the host calls it: its result is in .grad, and backward passes inside are not traced"
HOSTED = {"compiles": False, "differentiable": False, "reason": BY_HOST}
SAMPLES = [
    Sample(fgm_delta, (normal(4, 3), 0.5)),
    Sample(fgm_delta, (normal(4, 3), 0.5), {"norm": linf}, differentiable=False, reason="signs have no gradient"),
    Sample(project, (normal(4, 3), 1.0), {"norm": global_l2}),
    Sample(on_ones(FGM), (normal(5, 3),), **HOSTED),
    Sample(on_ones(PGD, clean=True), (normal(5, 3),), **HOSTED),
    Sample(on_ones(GradientPenalty, power=1), (normal(5, 3),), **HOSTED),
]

TABLE = tensor([[0.1, -0.2, 0.3], [0.5, 0.4, -0.1], [-0.3, 0.2, 0.6], [0, -0.5, 0.2], [0.7, 0.1, 0.1]])
IDS = torch.tensor([[0, 1, 2], [3, 4, 4], [1, 1, 3]])
LABELS = torch.tensor([0, 1, 1])
BATCH = IDS, LABELS


def article():
    return Words(TABLE, tensor([[0.8, -0.4, 0.2], [-0.6, 0.9, 0.5]]))


def grads(model):
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def adversarial(kind, model, batch=BATCH, loss=cross_entropy, **settings):
    """The gradients that one call adds to a copy of the model, and what it returns."""
    model = copy.deepcopy(model)
    found = kind(model, loss, **settings)(batch)
    return grads(model), found


def assert_close(left, right, tolerance=1e-12):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


# ---- reference ------------------------------------------------------------------------------------------------------


def moved_loss(model, batch, delta):
    """The loss of the words model at an embedded text plus Δ, written out."""
    states = model.embed(batch[0]) + delta
    states = states.tanh() if model.bent else states
    return F.cross_entropy(model.out(states.mean(1)), batch[1])


def slope_at(model, batch, delta):
    leaf = delta.clone().requires_grad_()
    return torch.autograd.grad(moved_loss(model, batch, leaf), leaf)[0]


def unit(g, norm):
    if norm == linf:
        return g.sign()
    if norm == global_l2:
        return g / math.sqrt(sum(x * x for x in g.flatten().tolist()))
    return torch.stack([row / math.sqrt(sum(x * x for x in row.flatten().tolist())) for row in g])


def shrunk(delta, epsilon, norm):
    if norm == linf:
        return delta.clamp(-epsilon, epsilon)
    rows = [delta] if norm == global_l2 else list(delta)
    sizes = [math.sqrt(sum(x * x for x in row.flatten().tolist())) for row in rows]
    kept = [row * min(1, epsilon / size) for row, size in zip(rows, sizes, strict=True)]
    return kept[0] if norm == global_l2 else torch.stack(kept)


@BY_NORM
@pytest.mark.parametrize("clean", [False, True])
def test_fgm_and_pgd_are_the_recipes(norm, clean):
    model = Words(bent=True)
    zero = torch.zeros(3, 3, 3, dtype=torch.float64)
    for kind, steps, alpha, settings in ((FGM, 1, 0.4, {}), (PGD, 3, 0.3, {"alpha": 0.3, "steps": 3})):
        delta = zero
        for _ in range(steps):
            delta = shrunk(delta + alpha * unit(slope_at(model, BATCH, delta), norm), 0.4, norm)
        expected = copy.deepcopy(model)
        moved_loss(expected, BATCH, delta).backward()
        if clean:
            moved_loss(expected, BATCH, zero).backward()
        found, loss = adversarial(kind, model, epsilon=0.4, norm=norm, clean=clean, **settings)
        assert_close(found, grads(expected))
        assert loss.item() == pytest.approx(moved_loss(model, BATCH, zero).item(), abs=1e-14)
        assert not loss.requires_grad


@BY_NORM
@pytest.mark.parametrize("clean", [False, True])
def test_freelb_averages_the_gradients_of_its_steps(norm, clean):
    model, draw = Words(bent=True), torch.Generator().manual_seed(5)
    found, loss = adversarial(FreeLB, model, epsilon=0.4, alpha=0.2, steps=3, norm=norm, clean=clean, generator=draw)
    ones = torch.ones(1, 1, 1, dtype=torch.float64)
    delta = 0.4 * norm.draw(torch.zeros(3, 3, 3, dtype=torch.float64), ones, torch.Generator().manual_seed(5))
    expected = copy.deepcopy(model)
    start = moved_loss(model, BATCH, 0 if clean else delta).item()
    if clean:
        moved_loss(expected, BATCH, 0).backward()
    for _ in range(3):
        (moved_loss(expected, BATCH, delta) / 3).backward()
        delta = shrunk(delta + 0.2 * unit(slope_at(model, BATCH, delta), norm), 0.4, norm)
    assert_close(found, grads(expected))
    assert loss.item() == pytest.approx(start, abs=1e-14)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("place", ["output", "weight"])
def test_the_penalty_is_that_of_each_samples_own_loss(power, place):
    model = Words(bent=True)
    expected = copy.deepcopy(model)
    if place == "weight":
        slopes = torch.autograd.grad(cross_entropy(expected, BATCH), expected.embed.weight, create_graph=True)
        sizes = [slopes[0].square().sum().sqrt()]
    else:
        sizes = []
        for row, label in zip(IDS, LABELS, strict=True):
            states = expected.embed(row[None])
            loss = F.cross_entropy(expected.out(states.tanh().mean(1)), label[None])
            sizes.append(torch.autograd.grad(loss, states, create_graph=True)[0].square().sum().sqrt())
    cost = sum(size if power == 1 else size**2 / 2 for size in sizes) / len(sizes)
    (cross_entropy(expected, BATCH) + 0.7 * cost).backward()
    settings = {"target": "embed.weight"} if place == "weight" else {}
    found, loss = adversarial(GradientPenalty, model, epsilon=0.7, power=power, **settings)
    assert_close(found, grads(expected))
    assert loss.item() == pytest.approx(cross_entropy(model, BATCH).item(), abs=1e-14)


def test_virtual_adversarial_is_the_recipe_and_needs_no_labels():
    model, draw = Words(bent=True), torch.Generator().manual_seed(1)
    found, loss = adversarial(VirtualAdversarial, model, IDS, logits_of, epsilon=0.5, weight=2.0, generator=draw)
    expected = copy.deepcopy(model)
    known = model(IDS).log_softmax(-1).detach()

    def divergence(model, delta):
        now = model.out((model.embed(IDS) + delta).tanh().mean(1)).log_softmax(-1)
        return sum((k.exp() * (k - n)).sum() for k, n in zip(known, now, strict=True)) / len(known)

    drawn = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    near = (0.01 * unit(drawn, per_sample_l2)).requires_grad_()
    delta = 0.5 * unit(torch.autograd.grad(divergence(model, near), near)[0], per_sample_l2)
    (2 * divergence(expected, delta)).backward()
    assert_close(found, grads(expected), 1e-10)
    assert loss.item() == pytest.approx(divergence(model, delta).item(), rel=1e-9)
    both, clean = adversarial(
        VirtualAdversarial,
        model,
        BATCH,
        lambda model, batch: model(batch[0]),
        compute_loss=cross_entropy,
        epsilon=0.5,
        weight=2.0,
        generator=torch.Generator().manual_seed(1),
    )
    cross_entropy(expected, BATCH).backward()
    assert_close(both, grads(expected), 1e-10)
    assert clean.item() == pytest.approx(cross_entropy(model, BATCH).item())


def test_check_values_of_the_articles_fgm():
    model = article()
    loss = cross_entropy(model, BATCH)
    (g,) = torch.autograd.grad(loss, model.embed.weight)
    assert loss.item() == pytest.approx(0.9197828992680118, abs=1e-15)
    assert global_l2(g).item() == pytest.approx(0.4503983741726435, abs=1e-15)
    rows = {
        0: [-0.08218047367846228, 0.07631043984428638, 0.017610101502527627],
        3: [0.1961718770457183, -0.18215960011388127, -0.04203683079551106],
        4: [0.21084757057625558, -0.19578702982080876, -0.045181622266340475],
    }
    for row, values in rows.items():
        assert g[row].tolist() == pytest.approx(values, abs=1e-15)
    delta = fgm_delta(g, 0.5, norm=global_l2)
    assert delta[4].tolist() == pytest.approx(
        [0.2340678637701243, -0.21734873064368684, -0.050157399379312344], abs=1e-14
    )
    for epsilon, value in ((0.5, 1.1636524821797207), (1, 1.439261854376067), (0.01, 0.9242948429115794)):
        assert attacked(FGM, model, epsilon=epsilon)[-1] == pytest.approx(value, abs=1e-14)
    first = loss.item() + 0.01 * global_l2(g).item()
    assert first == pytest.approx(0.9242868830097383, abs=1e-15)
    assert (0.9242948429115794 - first) / 1e-4 == pytest.approx(0.0796, abs=5e-5)
    leaf = model.embed.weight
    cost = gradient_penalty(cross_entropy(model, BATCH), leaf, norm=global_l2)
    assert cost.item() == pytest.approx(0.10142934772868029, abs=1e-15)


def attacked(kind, model, **settings):
    """The losses of all passes of an attack on the embedding matrix."""
    model, losses = copy.deepcopy(model), []

    def noting(model, batch):
        losses.append(cross_entropy(model, batch))
        return losses[-1]

    kind(model, noting, target=model.embed.weight, **settings)(BATCH)
    return [loss.item() for loss in losses]


def test_check_values_of_pgd():
    losses = attacked(PGD, article(), epsilon=0.5, alpha=0.3, steps=3)
    assert losses[1:] == pytest.approx([1.0618140021494702, 1.1638234520711308, 1.1639211791606663], abs=1e-14)
    model, delta = article(), torch.zeros_like(TABLE)
    for _ in range(3):
        leaf = delta.clone().requires_grad_()
        states = F.embedding(IDS, model.embed.weight + leaf).mean(1)
        (g,) = torch.autograd.grad(F.cross_entropy(model.out(states), LABELS), leaf)
        delta = project(delta + fgm_delta(g, 0.3, norm=global_l2), 0.5, norm=global_l2)
    assert global_l2(delta).item() == pytest.approx(0.5, abs=1e-15)
    expected = [0.1158131848133036, -0.1075408144694962, -0.02481711103142219]
    assert delta[1].tolist() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(("norm", "value"), [(per_sample_l2, 1.3040560448109275), (linf, 1.5805085713638753)])
def test_check_values_of_a_logistic_model(norm, value):
    layer = nn.Linear(3, 1, bias=False).double()
    layer.weight.data = tensor([[1, -2, 0.5]])
    losses = []

    def loss(model, x):
        losses.append(F.softplus(-model(x)).mean())
        return losses[-1]

    FGM(layer, loss, target="input", epsilon=0.3, norm=norm)(tensor([[0.4, 0.3, -0.2]]))
    assert [x.item() for x in losses] == pytest.approx([0.8543552444685271, value], abs=1e-14)
    margin, w = -0.3, layer.weight.detach()[0]
    size = w.norm() if norm == per_sample_l2 else w.abs().sum()
    assert value == pytest.approx(math.log1p(math.exp(-margin + 0.3 * size.item())), abs=1e-14)


def test_check_values_of_the_norms():
    g = tensor([[[3, 4], [0, 0]], [[0, 0], [0, 0]], [[1, 2], [2, 4]]])
    expected = [[[0.6, 0.8], [0, 0]], [[0, 0], [0, 0]], [[0.2, 0.4], [0.4, 0.8]]]
    torch.testing.assert_close(fgm_delta(g, 1.0), tensor(expected))
    whole = fgm_delta(g, 1.0, norm=global_l2)
    assert whole[0, 0].tolist() == pytest.approx([0.4242640687119285, 0.565685424949238], abs=1e-15)
    assert whole[2].flatten().tolist() == pytest.approx(
        [0.1414213562373095, 0.282842712474619, 0.282842712474619, 0.565685424949238], abs=1e-15
    )
    assert (whole[1] == 0).all()


# ---- theorems -------------------------------------------------------------------------------------------------------

EPSILONS = [0.1, 0.05, 0.025, 0.0125]


def order(errors):
    return np.polyfit(np.log(EPSILONS), np.log(errors), 1)[0]


def smooth(kind, epsilon, **settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    batch, losses = (normal(8, 4), torch.arange(8) % 3), []

    def loss(model, batch):
        losses.append(cross_entropy(model, batch))
        return losses[-1]

    kind(model, loss, target="input", epsilon=epsilon, **settings)(batch)
    x = batch[0].clone().requires_grad_()
    return torch.cat([p.grad.flatten() for p in model.parameters()]), losses, cross_entropy(model, (x, batch[1])), x


@BY_NORM
def test_fgm_is_the_gradient_penalty_to_second_order(norm):
    """Theorem: loss and gradient of FGM are those of L + ε‖g‖ up to ε²; with Δ not normalised they would not be."""
    by_loss, by_gradient, wrong = [], [], []
    for epsilon in EPSILONS:
        attack, losses, clean, x = smooth(FGM, epsilon, norm=norm)
        first = clean + epsilon * gradient_penalty(clean, x, power=1, norm=norm)
        by_loss.append(abs((losses[-1] - first).item()))
        penalised = smooth(GradientPenalty, epsilon, norm=norm, power=1)[0]
        by_gradient.append((attack - penalised).norm().item())
        wrong.append((attack - smooth(GradientPenalty, epsilon, norm=norm, power=2)[0]).norm().item())
    assert 1.9 < order(by_loss) < 2.1
    assert 1.9 < order(by_gradient) < 2.1
    assert 0.9 < order(wrong) < 1.1


def test_the_square_penalty_is_the_step_along_the_raw_gradient():
    errors = []
    for epsilon in EPSILONS:
        model = Words(bent=True)
        g = slope_at(model, BATCH, torch.zeros(3, 3, 3, dtype=torch.float64)) * 3  # of each sample's own loss
        moved_loss(model, BATCH, epsilon * g).backward()
        penalised, _ = adversarial(GradientPenalty, Words(bent=True), epsilon=epsilon)
        errors.append(sum((a - b.grad).norm().item() for a, b in zip(penalised, model.parameters(), strict=True)))
    assert 1.9 < order(errors) < 2.1


@BY_NORM
@pytest.mark.parametrize("steps", [2, 5])
def test_pgd_is_fgm_for_a_linear_score_once_its_steps_reach_the_edge(norm, steps):
    """The gradient of each sample keeps its direction; of the whole batch it does if the loss is linear too."""
    layer = nn.Linear(4, 1).double()

    def loss(model, x):
        return model(x).mean() if norm == global_l2 else F.softplus(model(x)).mean()

    found = []
    for kind, settings in ((FGM, {}), (PGD, {"alpha": 0.6 / steps, "steps": steps})):
        layer.zero_grad()
        kind(layer, loss, target="input", epsilon=0.6, norm=norm, **settings)(normal(5, 4))
        found.append(grads(layer))
    assert_close(*found)


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 10**6), st.floats(1e-3, 1e3), st.sampled_from(NORMS))
def test_perturbations_fill_the_ball_and_know_no_scale(rows, columns, seed, epsilon, norm):
    g = normal(rows, 2, columns, seed=seed)
    delta = fgm_delta(g, epsilon, norm=norm)
    sizes = norm(delta)
    torch.testing.assert_close(sizes, torch.full_like(sizes, epsilon), rtol=1e-12, atol=0)
    for scale in (1e-200, 1e200):
        torch.testing.assert_close(fgm_delta(scale * g, epsilon, norm=norm), delta, rtol=1e-12, atol=0)
    gained = (g * delta).sum((1, 2)) if norm.per_sample else (g * delta).sum()[None]
    torch.testing.assert_close(gained, epsilon * norm.dual(g), rtol=1e-10, atol=0)  # nothing in the ball gains more
    other = project(normal(rows, 2, columns, seed=seed + 1) * 10**4, epsilon, norm=norm)
    assert (norm(other) <= epsilon * (1 + 1e-12)).all()
    torch.testing.assert_close(project(other, epsilon, norm=norm), other, rtol=1e-12, atol=0)
    assert (((g * other).sum((1, 2)) if norm.per_sample else (g * other).sum()) <= gained + 1e-9 * epsilon).all()


@BY_NORM
def test_random_starts_are_uniform_in_the_ball(norm):
    draw = torch.Generator().manual_seed(0)
    shape = (20_000, 1, 2) if norm.per_sample else (1, 1, 2)
    times = 1 if norm.per_sample else 4000
    counted = torch.ones(1, 1, 1)
    points = torch.cat([norm.draw(torch.zeros(shape), counted, draw) for _ in range(times)]).view(-1, 2)
    assert (points.norm(dim=-1) <= 1 + 1e-6).all() or norm == linf
    inside = (points.abs().amax(-1) < 0.5) if norm == linf else (points.norm(dim=-1) < 0.5)
    assert inside.float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert points.mean(0).tolist() == pytest.approx([0, 0], abs=0.03)


KINDS = {
    "FGM": lambda model, loss, **s: FGM(model, loss, epsilon=0.5, **s),
    "FGM clean": lambda model, loss, **s: FGM(model, loss, epsilon=0.5, clean=True, **s),
    "PGD": lambda model, loss, **s: PGD(model, loss, epsilon=0.5, steps=2, **s),
    "FreeLB": lambda model, loss, **s: FreeLB(
        model, loss, epsilon=0.5, steps=2, generator=torch.Generator().manual_seed(0), **s
    ),
    "penalty": lambda model, loss, **s: GradientPenalty(model, loss, **s),
    "virtual": lambda model, loss, **s: VirtualAdversarial(
        model,
        lambda model, batch: model(batch[0]),
        compute_loss=loss,
        generator=torch.Generator().manual_seed(0),
        **s,
    ),
}
BY_KIND = pytest.mark.parametrize("kind", KINDS)
PLACES = {"output": {}, "weight": {"target": "embed.weight"}, "pattern": {"target": "*embed*"}}


@BY_KIND
@pytest.mark.parametrize("place", PLACES)
def test_parameters_stay_bit_equal_and_gradients_of_batches_add_up(kind, place):
    model = Words(bent=True).float()
    before = {name: (value.clone(), value.data_ptr()) for name, value in model.state_dict().items()}
    other = IDS.flip(0), LABELS.roll(1)
    alone = []
    for batch in (BATCH, other):
        model.zero_grad()
        KINDS[kind](model, cross_entropy, **PLACES[place])(batch)
        alone.append(grads(model))
    model.zero_grad()
    for batch in (BATCH, other):  # the second direction must not know of the first gradient
        KINDS[kind](model, cross_entropy, **PLACES[place])(batch)
    for total, first, second in zip(grads(model), *alone, strict=True):
        torch.testing.assert_close(total, first + second, atol=1e-7, rtol=1e-5)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name][0])
        assert value.data_ptr() == before[name][1]


@BY_KIND
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("failing", [1, 2])
def test_an_exception_leaves_model_and_hooks_as_they_were(kind, place, failing):
    model, calls = Words(bent=True), []
    before = copy.deepcopy(model.state_dict())
    parameters = dict(model.named_parameters())

    def breaks(model, batch):
        value = cross_entropy(model, batch)
        calls.append(value)
        if len(calls) == failing:
            raise KeyError("elsewhere")
        return value

    if kind in ("penalty", "virtual") and failing == 2:
        return
    with pytest.raises(KeyError, match="elsewhere"):
        KINDS[kind](model, breaks, **PLACES[place])(BATCH)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p is parameters[name] for name, p in model.named_parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


# ---- where it lives -------------------------------------------------------------------------------------------------


def test_padding_stays_in_place():
    ids = torch.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
    seen = []

    class Read(Words):
        def forward(self, input_ids, attention_mask=None):  # noqa: ARG002
            states = self.embed(input_ids)
            seen.append(states.detach())
            return self.out(states.tanh().mean(1))

    def by_mapping(model, batch):
        return F.cross_entropy(model(**batch), LABELS)

    padded, plain = Read(padding_idx=0), Read()
    FGM(padded, lambda model, batch: F.cross_entropy(model(batch), LABELS), epsilon=0.5)(ids)
    FGM(plain, by_mapping, epsilon=0.5)({"input_ids": ids, "attention_mask": (ids != 0).long()})
    for clean, moved in (seen[:2], seen[2:]):
        shift = moved - clean
        assert (shift[ids == 0] == 0).all()
        sizes = shift.flatten(1).norm(dim=1)
        torch.testing.assert_close(sizes, torch.full_like(sizes, 0.5))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(7, 3).double(), nn.Linear(3, 7, bias=False).double()
        self.out.weight = self.embed.weight

    def forward(self, ids):
        return self.out(self.embed(ids).mean(1).tanh())


def test_tied_embeddings_are_perturbed_at_their_output_or_refused():
    model = Tied()
    found, _ = adversarial(FGM, model, epsilon=0.3)
    expected = copy.deepcopy(model)
    leaf = model.embed(IDS).detach().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(F.linear(leaf.mean(1).tanh(), model.out.weight), LABELS), leaf)
    states = expected.embed(IDS) + fgm_delta(g, 0.3)
    F.cross_entropy(expected.out(states.mean(1).tanh()), LABELS).backward()
    assert_close(found, grads(expected))
    with pytest.raises(ValueError, match=r"belong to one layer, or to embeddings alone: got Embedding, Linear"):
        FGM(model, cross_entropy, target="embed.weight")


def test_an_embedding_shared_by_two_parts_is_perturbed_in_each():
    class Pair(Words):
        def forward(self, ids):
            left, right = self.embed(ids[:, :2]), self.embed(ids[:, 1:])
            return self.out((left.mean(1) * right.mean(1)).tanh())

    model = Pair()
    found, _ = adversarial(FGM, model, epsilon=0.3)
    leaves = [model.embed(part).detach().requires_grad_() for part in (IDS[:, :2], IDS[:, 1:])]

    def loss(model, left, right):
        return F.cross_entropy(model.out((left.mean(1) * right.mean(1)).tanh()), LABELS)

    moves = [fgm_delta(g, 0.3) for g in torch.autograd.grad(loss(model, *leaves), leaves)]
    expected = copy.deepcopy(model)
    loss(expected, expected.embed(IDS[:, :2]) + moves[0], expected.embed(IDS[:, 1:]) + moves[1]).backward()
    assert_close(found, grads(expected))
    both = nn.ModuleDict({"a": nn.Embedding(7, 3), "b": nn.Embedding(7, 3)})
    both["b"].weight = both["a"].weight  # two embeddings of one table, as in an encoder and a decoder
    FGM(both, lambda model, ids: (model["a"](ids) * model["b"](ids)).sum(), target="a.weight")(IDS)
    assert both["a"].weight.grad.abs().sum() > 0


def test_a_frozen_embedding_is_perturbed_as_well():
    model = Words(bent=True)
    expected, _ = adversarial(FGM, model, epsilon=0.5)
    model.embed.weight.requires_grad_(False)
    for target in (None, "embed.weight"):
        found, _ = adversarial(FGM, model, epsilon=0.5, target=target)
        assert found[0] is None
        if target is None:
            assert_close(found[1:], expected[1:])


def test_sparse_gradients():
    dense, sparse = Words(bent=True), Words(bent=True, sparse=True)
    for target in (None, "embed.weight"):
        for clean in (False, True):
            expected, _ = adversarial(FGM, dense, epsilon=0.5, target=target, clean=clean)
            found, _ = adversarial(FGM, sparse, epsilon=0.5, target=target, clean=clean)
            assert_close([g.to_dense() for g in found], expected)


def test_dropout_is_drawn_anew_or_replayed():
    model = Words(dropout=0.5, bent=True)
    for replay in (False, True):
        draws = []

        def noting(model, batch, draws=draws):
            draws.append(torch.get_rng_state())
            return cross_entropy(model, batch)

        torch.manual_seed(3)
        PGD(model, noting, epsilon=0.1, steps=2, replay_rng=replay)(BATCH)
        assert len(draws) == 3
        assert [torch.equal(draw, draws[0]) for draw in draws[1:]] == [replay, replay]
    tiny, _ = adversarial(FGM, model, epsilon=1e-12, replay_rng=True)
    torch.manual_seed(0)
    expected = copy.deepcopy(model)
    torch.manual_seed(0)
    torch.manual_seed(0)
    found = copy.deepcopy(model)
    FGM(found, cross_entropy, epsilon=1e-12, replay_rng=True)(BATCH)
    torch.manual_seed(0)
    cross_entropy(expected, BATCH).backward()
    assert_close(grads(found), grads(expected), 1e-9)
    assert len(tiny) == 2


def test_virtual_adversarial_replays_dropout_unless_told_otherwise():
    model = Words(dropout=0.5, bent=True)
    loss = VirtualAdversarial(model, logits_of, epsilon=1e-6)(IDS)
    assert loss.item() == pytest.approx(0, abs=1e-9)
    loss = VirtualAdversarial(model, logits_of, epsilon=1e-6, replay_rng=False)(IDS)
    assert loss.item() > 1e-4


@BY_KIND
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_with_a_scaled_loss_is_near_the_full_one(kind, dtype):
    model, scale = Words(bent=True).float(), 1024.0
    exact = copy.deepcopy(model)
    KINDS[kind](exact, cross_entropy)(BATCH)
    with torch.autocast("cpu", dtype):
        procedure = KINDS[kind](model, cross_entropy, backward=lambda loss: (loss * scale).backward())
        procedure(BATCH)
    for found, expected in zip(grads(model), grads(exact), strict=True):
        assert ((found / scale - expected).norm() / expected.norm()).item() < 0.03
    assert procedure.skipped == 0


def test_half_precision_norms_do_not_overflow():
    g = torch.full((2, 4), 6e4, dtype=torch.float16)
    assert fgm_delta(g, 1.0).tolist() == [[0.5] * 4] * 2
    assert fgm_delta(g, 1.0).dtype == torch.float16
    assert fgm_delta(g * 1e-6, 1.0).isfinite().all()


def test_rows_whose_gradient_is_not_finite_stay_where_they_are():
    g = normal(3, 4)
    g[1, 2], g[2, 0] = math.nan, math.inf
    for norm in (per_sample_l2, linf):
        delta = fgm_delta(g, 1.0, norm=norm)
        assert (delta[1:] == 0).all()
        assert (delta[0] != 0).all()
    assert (fgm_delta(g, 1.0, norm=global_l2) == 0).all()
    layer, seen = nn.Linear(2, 1).double(), []

    def loss(model, x):
        moved = model(x)
        seen.append(moved.detach())
        return (moved.abs().sqrt() * (moved > 0)).mean()

    layer.weight.data, layer.bias.data = tensor([[1, 1]]), tensor([0])
    procedure = FGM(layer, loss, target="input", epsilon=0.1)
    procedure(tensor([[1, 1], [0, 0]]))  # √|0| has an infinite slope, times 0
    assert procedure.skipped == 1
    shift = (seen[1] - seen[0]).flatten().tolist()
    assert shift == pytest.approx([0.1 * math.sqrt(2), 0])


def test_zero_gradients_give_no_nan():
    model = Words(TABLE, torch.zeros(2, 3, dtype=torch.float64))
    for kind in KINDS:
        model.zero_grad()
        KINDS[kind](model, cross_entropy)(BATCH)
        assert all(g.isfinite().all() for g in grads(model))
    model.zero_grad()
    GradientPenalty(model, cross_entropy, power=1)(BATCH)
    assert all(g.isfinite().all() for g in grads(model))


def test_the_penalty_goes_through_attention():
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    GradientPenalty(layer, lambda model, x: model(x).square().mean(), target="input")(
        normal(2, 3, 4, dtype=torch.float32)
    )
    assert layer.self_attn.in_proj_weight.grad.isfinite().all()

    class Fused(nn.Linear):
        def forward(self, x):
            q = super().forward(x)[:, None]
            return F.scaled_dot_product_attention(q, q, q)

    fused = Fused(8, 8)
    GradientPenalty(fused, lambda model, x: model(x).square().mean(), target="input")(
        normal(2, 3, 8, dtype=torch.float32)
    )
    assert fused.weight.grad.abs().sum() > 0


def test_training_with_fgm_makes_robust():
    """Two clouds and a margin: the smallest distance to the boundary grows against plain training."""
    x = torch.cat([normal(40, 2) * 0.3 + tensor([1, 0.2]), normal(40, 2, seed=1) * 0.3 - tensor([1, 0.2])])
    y = torch.arange(80) // 40
    accuracy = []
    for epsilon in (None, 0.5):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)).double()
        step = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(60):
            step.zero_grad()
            if epsilon is None:
                cross_entropy(model, (x, y)).backward()
            else:
                FGM(model, cross_entropy, target="input", epsilon=epsilon)((x, y))
            step.step()
        leaf = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(cross_entropy(model, (leaf, y)), leaf)
        accuracy.append((model(x + fgm_delta(g, 0.6)).argmax(-1) == y).double().mean().item())
    assert accuracy[1] >= accuracy[0]


def test_two_processes_average_their_gradients_once():
    printed = in_two_processes(Path(__file__).parent / "adversarial_processes.py")
    assert printed.count("7 procedures agree") == 2


# ---- compiled models ------------------------------------------------------------------------------------------------


@pytest.mark.compiles
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("how", ["wrapped", "in place", "part"])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("target", [None, "weight", "input"])
def test_compiled_models_give_the_same_gradients_and_forget(how, before, target):
    class Bent(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Words(bent=True)

        def forward(self, ids, weight=None):
            return self.inner(ids) if weight is None else self.inner(ids) * weight

    def loss(model, batch):
        return F.cross_entropy(model(batch[0], 1.5 * torch.ones(3, 1, dtype=torch.float64)), batch[1])

    plain = Bent()
    found = target if target != "weight" else plain.inner.embed.weight
    settings = {"epsilon": 0.5, "target": found, "norm": linf}
    procedure = FGM(plain, loss, **settings)
    procedure(BATCH)
    expected = grads(plain)
    plain.zero_grad()
    torch._dynamo.reset()
    model = plain
    if how == "wrapped":
        model = torch.compile(plain, backend="aot_eager")
    elif how == "in place":
        plain.compile(backend="aot_eager")
    else:
        plain.inner.out.compile(backend="aot_eager")
    clean = F.cross_entropy(plain.inner.forward(IDS) * 1.5, LABELS).item()
    if before:
        assert loss(model, BATCH).item() == pytest.approx(clean)
    value = FGM(model, loss, **settings)(BATCH)
    assert value.item() == pytest.approx(clean)
    assert_close(grads(plain), expected)
    assert loss(model, BATCH).item() == pytest.approx(clean), "the perturbation stayed in the compiled graph"


# ---- errors ---------------------------------------------------------------------------------------------------------


def named(**settings):
    return lambda: FGM(Words(), cross_entropy, **settings)


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (named(epsilon=0), ValueError, "epsilon must lie strictly between 0 and inf: got 0"),
        (named(epsilon=math.nan), ValueError, "epsilon must lie"),
        (named(target="emb.weight"), ValueError, r"got 'emb.weight'. It has the parameters embed.weight, out.weight"),
        (named(target=nn.Linear(2, 2)), ValueError, "target must be a part of model: got Linear"),
        (named(target=nn.Parameter(torch.ones(2))), ValueError, "target must be a parameter of model"),
        (named(target=3), TypeError, "target must be a module, a parameter or a name: got int"),
        (named(target="embed.weight", norm=per_sample_l2), ValueError, "norm must be that of the whole parameter"),
        (lambda: FGM(nn.Linear(2, 2), cross_entropy), ValueError, "where model has not one embedding: got none"),
        (lambda: FGM(cross_entropy, cross_entropy), TypeError, "model must be a torch.nn.Module: got function"),
        (lambda: PGD(Words(), cross_entropy, alpha=0), ValueError, "alpha must lie"),
        (lambda: PGD(Words(), cross_entropy, steps=0), ValueError, "steps must lie"),
        (lambda: PGD(Words(), cross_entropy, steps=1.5), TypeError, "steps must be an integer"),
        (lambda: GradientPenalty(Words(), cross_entropy, power=3), ValueError, "power must be one of 1, 2: got 3"),
        (lambda: VirtualAdversarial(Words(), logits_of, xi=0), ValueError, "xi must lie"),
        (lambda: VirtualAdversarial(Words(), logits_of, weight=-1), ValueError, "weight must lie"),
        (lambda: FGM(Words(max_norm=1.0), cross_entropy, target="embed.weight"), ValueError, "have no max_norm"),
        (lambda: fgm_delta(normal(2, 2), -1.0), ValueError, "epsilon must lie"),
        (lambda: project(normal(2, 2), math.inf), ValueError, "epsilon must lie"),
        (
            lambda: gradient_penalty(normal(2).requires_grad_().sum(), normal(2).requires_grad_()),
            ValueError,
            "loss must depend on inputs",
        ),
        (lambda: gradient_penalty(normal(2).sum(), normal(2), power=0), ValueError, "power must be one of"),
    ],
)
@pytest.mark.wrong_types
def test_bad_arguments_are_named(call, kind, match):
    with pytest.raises(kind, match=match):
        call()


@pytest.mark.parametrize(
    ("loss", "kind", "match"),
    [
        (lambda model, batch: model(batch[0]), ValueError, "compute_loss must return a scalar: got"),
        (
            lambda model, batch: 1.0 + 0 * float(model(batch[0]).detach().sum()),
            TypeError,
            "compute_loss must return a tensor",
        ),
        (lambda model, batch: model(batch[0]).sum().detach(), ValueError, "return a loss with a graph"),
        (
            lambda model, batch: (model(batch[0]).detach() + model.out.weight.sum()).sum(),
            ValueError,
            "target must take part in the loss: got no gradient by call 0",
        ),
        (
            lambda model, _: model.out.weight.sum(),
            RuntimeError,
            "target must be called, uncompiled, by compute_loss",
        ),
    ],
)
def test_bad_losses_are_named(loss, kind, match):
    with pytest.raises(kind, match=match):
        FGM(Words(), loss)(BATCH)


def test_a_second_pass_that_differs_is_named():
    sizes = iter([3, 2])
    with pytest.raises(ValueError, match="compute_loss must repeat the 1 calls of its first pass: got call 0"):
        FGM(Words(), lambda model, batch: model(batch[0][: next(sizes)]).sum())(BATCH)


def test_evaluation_mode_and_no_grad_are_refused():
    model = Words()
    with pytest.raises(ValueError, match="model must be in training mode"):
        FGM(model.eval(), cross_entropy)(BATCH)
    with torch.no_grad(), pytest.raises(RuntimeError, match="gradients must be enabled"):
        FGM(model.train(), cross_entropy)(BATCH)
    with pytest.raises(ValueError, match="target 'input' must find a floating-point tensor"):
        FGM(model, cross_entropy, target="input")(BATCH)
    two = nn.ModuleDict({"a": nn.Embedding(3, 2), "b": nn.Embedding(3, 2)})
    with pytest.raises(ValueError, match="where model has not one embedding: got a, b"):
        FGM(two, cross_entropy)
    with pytest.raises(TypeError, match="compute_logits must return floating-point logits"):
        VirtualAdversarial(model, lambda model, ids: model(ids).argmax(-1))(IDS)
