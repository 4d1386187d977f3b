"""Cached gradients against one graph over the batch: any split, nesting, precision, random layer and number of processes."""

from __future__ import annotations

import copy
import functools
import math
from collections import UserDict
from pathlib import Path

import pytest
import torch
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st
from processes import in_two_processes
from torch import nn

from gezhi.training import ContrastiveCache, representation_gradient
from gezhi.training.contrastive_cache.guards import Comparison


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def info_nce(q, k, scale=2.0):
    return nn.functional.cross_entropy(scale * q @ k.mT, torch.arange(len(q)))


def coupled(h):
    """Couples all rows of one representation."""
    return (h @ h.mT).logsumexp(-1).sum() - h.sum()


PAIRED = torch.eye(4, dtype=torch.float64)[[1, 0, 3, 2]]
BY_HOST = "the host calls it: its result is in .grad, and backward passes inside are not traced"
SAMPLES = [
    Sample(representation_gradient, (normal(5, 3), normal(5, 5, seed=1).abs())),
    Sample(representation_gradient, (normal(4, 3), PAIRED), {"self_similarity": "mask"}),
    Sample(
        ContrastiveCache(nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double(), coupled, chunk_size=2),
        (normal(5, 3),),
        compiles=False,
        differentiable=False,
        reason=BY_HOST,
    ),
]

X = torch.tensor([[1, 0.5, -1], [0.9, 0.6, -0.8], [-0.5, 1, 0.2], [-0.4, 1.1, 0.1]], dtype=torch.float64)
W = torch.tensor([[0.3, -0.2], [0.5, 0.4], [-0.1, 0.6]], dtype=torch.float64)
KEPT = [
    [-0.14196362673135537, 0.5017102126474564],
    [-0.17993322692036198, 0.967954013610862],
    [0.07121038450978243, -0.7281810809437189],
    [0.27464676962609136, -0.8352054624569436],
]
MASKED = [
    [-0.26704769266260725, 0.9987450195734394],
    [-0.23544149192905034, 1.2256072617539542],
    [0.1977968856942644, -1.1217570912274444],
    [0.33160261077412034, -1.1942178980251184],
]


def article_loss(h, mask=False):
    """Equation (1) for neighbouring rows as pairs."""
    scores = h @ h.mT
    if mask:
        scores = scores.masked_fill(torch.eye(len(h), dtype=torch.bool), -math.inf)
    t = torch.arange(len(h)).view(-1, 2).flip(1).flatten()
    return nn.functional.cross_entropy(scores, t, reduction="sum")


def linear():
    layer = nn.Linear(3, 2, bias=False).double()
    layer.weight.data = W.mT.clone()
    return layer


def gradients(module):
    return [p.grad for p in module.parameters()]


def by_one_graph(encoder, loss_fn, *inputs, chunk_size=10**9):
    """The reference: one graph, over the same chunks drawn in the same order."""
    model = copy.deepcopy(encoder)
    model.zero_grad()
    h = [torch.cat([model(part) for part in batch.split(chunk_size)]) for batch in inputs]
    loss = loss_fn(*h)
    loss.backward()
    return loss.detach(), gradients(model)


def by_cache(encoder, loss_fn, *inputs, chunk_size, **settings):
    model = copy.deepcopy(encoder)
    model.zero_grad()
    loss = ContrastiveCache(model, loss_fn, chunk_size=chunk_size, **settings)(*inputs)
    return loss, gradients(model)


def assert_equal(found, expected, tolerance=1e-10):
    loss, grads = found
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected[0], atol=tolerance, rtol=tolerance)
    assert len(grads) == len(expected[1])
    for a, b in zip(grads, expected[1], strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


# ---- reference ------------------------------------------------------------------------------------------------------


def reference_gradient(h, t, mask):
    """Equation (5) by loops."""
    n, d = h.shape
    p = [[0.0] * n for _ in range(n)]
    weight = [[0.0 if mask and i == j else float(t[i, j]) for j in range(n)] for i in range(n)]
    for i in range(n):
        raised = {j: math.exp(sum(float(h[i, c] * h[j, c]) for c in range(d))) for j in range(n) if not mask or j != i}
        for j, value in raised.items():
            p[i][j] = value / sum(raised.values())
    rows = [sum(row) for row in weight]
    return [
        [
            sum(
                (rows[i] * p[i][j] + rows[j] * p[j][i] - weight[i][j] - weight[j][i]) * float(h[j, c]) for j in range(n)
            )
            for c in range(d)
        ]
        for i in range(n)
    ]


@pytest.mark.parametrize("mode", ["keep", "mask"])
@pytest.mark.parametrize("n", [2, 5])
def test_the_closed_form_is_the_formula(n, mode):
    h, t = normal(n, 3), normal(n, n, seed=1).abs()
    expected = torch.tensor(reference_gradient(h, t, mode == "mask"), dtype=torch.float64)
    torch.testing.assert_close(representation_gradient(h, t, mode), expected, atol=1e-12, rtol=0)
    bools = t > 0.5
    torch.testing.assert_close(
        representation_gradient(h, bools, mode), representation_gradient(h, bools.double(), mode)
    )


@pytest.mark.parametrize("mode", ["keep", "mask"])
def test_the_closed_form_is_what_autograd_finds(mode):
    h, t = normal(6, 3).requires_grad_(), normal(6, 6, seed=1).abs()
    scores, off = h @ h.mT, ~torch.eye(6, dtype=torch.bool)
    if mode == "mask":
        loss = -(t * scores.masked_fill(~off, -math.inf).log_softmax(-1))[off].sum()
    else:
        loss = -(t * scores.log_softmax(-1)).sum()
    (expected,) = torch.autograd.grad(loss, h)
    torch.testing.assert_close(representation_gradient(h.detach(), t, mode), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("mask", "value", "by_h", "by_w"),
    [
        (
            False,
            4.477811602115196,
            KEPT,
            [
                [-0.4493674310650089, 2.071041550351869],
                [0.19438008158058806, -0.8152795751561115],
                [0.3276169621322106, -1.5052301859705841],
            ],
        ),
        (
            True,
            2.8699881391635262,
            MASKED,
            [
                [-0.710484522555533, 3.140357259975768],
                [0.28777101605706296, -1.2006599122159824],
                [0.5281205244221124, -2.3230040370246035],
            ],
        ),
    ],
)
@pytest.mark.parametrize("chunk_size", [1, 2, 3, 4])
def test_check_values_of_the_article(mask, value, by_h, by_w, chunk_size):
    expected_h = torch.tensor(by_h, dtype=torch.float64)
    found = representation_gradient(X @ W, PAIRED, "mask" if mask else "keep")
    torch.testing.assert_close(found, expected_h, atol=1e-14, rtol=0)
    layer, surrogates = linear(), []
    loss = ContrastiveCache(
        layer,
        lambda h: article_loss(h, mask),
        chunk_size=chunk_size,
        backward=lambda s: (surrogates.append(s.item()), s.backward()),
    )(X)
    assert loss.item() == pytest.approx(value, abs=1e-14)
    torch.testing.assert_close(layer.weight.grad.mT, torch.tensor(by_w, dtype=torch.float64), atol=1e-13, rtol=0)
    assert len(surrogates) == math.ceil(4 / chunk_size)
    if not mask:
        assert sum(surrogates) == pytest.approx(-1.7138401364575988, abs=1e-13)


def test_check_values_of_summed_halves():
    for mask, expected in (
        (
            False,
            [
                [0.01198841099201115, -0.03195692848049936],
                [0.006684104205212912, 0.012022029213455233],
                [-0.015101245526902098, 0.05208723895036027],
            ],
        ),
        (True, [[0.0, 0.0]] * 3),
    ):
        layer = linear()
        for half in X.split(2):
            article_loss(layer(half), mask).backward()
        torch.testing.assert_close(
            layer.weight.grad.mT, torch.tensor(expected, dtype=torch.float64), atol=1e-15, rtol=0
        )


@pytest.mark.parametrize("chunk_size", [1, 2, 3])
def test_check_values_of_two_towers(chunk_size):
    rows = [[1, 0], [0.6, 0.8], [0, 1]], [[0.8, 0.6], [0, 1], [-0.6, 0.8]]
    tables = [torch.tensor(table, dtype=torch.float64) for table in rows]
    towers = nn.ModuleList(nn.Embedding.from_pretrained(table, freeze=False) for table in tables)
    loss = ContrastiveCache(towers, info_nce, chunk_size=chunk_size)(torch.arange(3), torch.arange(3))
    assert loss.item() == pytest.approx(0.796340982485347, abs=1e-14)
    expected = (
        [
            [-0.13022360372903433, 0.04905896648203112],
            [0.21720137731071013, -0.1517483429147848],
            [0.3865610277541422, 0.03463913338136839],
        ],
        [
            [0.06303367022895554, 0.4103003762270444],
            [-0.14691652610524336, -0.023497328525253047],
            [0.08388285587628784, -0.3868030477017913],
        ],
    )
    for tower, values in zip(towers, expected, strict=True):
        torch.testing.assert_close(tower.weight.grad, torch.tensor(values, dtype=torch.float64), atol=1e-14, rtol=0)


# ---- theorems -------------------------------------------------------------------------------------------------------

SMALL = st.tuples(st.integers(1, 23), st.integers(1, 25), st.integers(0, 10**6))


class GRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRU(3, 4, batch_first=True)

    def forward(self, x):
        return self.cell(x.view(len(x), 2, 3))[1][0]


def perceptron(dropout=0.0):
    return nn.Sequential(nn.Linear(6, 5), nn.Dropout(dropout), nn.Tanh(), nn.Dropout(dropout), nn.Linear(5, 4)).double()


@given(SMALL, st.booleans())
def test_any_split_gives_the_gradient_of_the_batch(drawn, recurrent):
    n, chunk_size, seed = drawn
    torch.manual_seed(seed)
    encoder = GRU().double() if recurrent else perceptron()
    views = normal(n, 6, seed=seed), normal(n, 6, seed=seed + 1)
    expected = by_one_graph(encoder, info_nce, *views)
    assert_equal(by_cache(encoder, info_nce, *views, chunk_size=chunk_size), expected)


@given(SMALL, st.sampled_from([0.1, 0.5]))
def test_dropout_is_replayed_and_the_generator_ends_where_one_encoding_would(drawn, dropout):
    n, chunk_size, seed = drawn
    torch.manual_seed(seed)
    encoder, views = perceptron(dropout), (normal(n, 6, seed=seed), normal(n, 6, seed=seed + 1))

    def noisy(q, k):
        return info_nce(q + torch.rand_like(q), k)

    results = []
    for run in (by_one_graph, by_cache):
        torch.manual_seed(seed)
        results.append((run(encoder, noisy, *views, chunk_size=chunk_size), torch.get_rng_state()))
    assert_equal(results[1][0], results[0][0])
    assert torch.equal(results[1][1], results[0][1])


@given(SMALL, st.integers(1, 4), st.booleans())
def test_each_query_may_have_several_passages(drawn, k, queries_first):
    n, chunk_size, seed = drawn

    def ranked(*towers):
        q, p = towers if queries_first else towers[::-1]
        return nn.functional.cross_entropy(2 * q @ p.mT, k * torch.arange(len(q)))

    encoder, views = perceptron(), [normal(n, 6, seed=seed), normal(k * n, 6, seed=seed + 1)]
    views = views if queries_first else views[::-1]
    expected = by_one_graph(encoder, ranked, *views)
    assert_equal(by_cache(encoder, ranked, *views, chunk_size=chunk_size), expected)


def test_check_values_of_two_passages_a_query():
    encoder = nn.Linear(2, 2, bias=False, dtype=torch.float64)
    encoder.weight.data = torch.eye(2, dtype=torch.float64)
    queries = torch.eye(2, dtype=torch.float64)
    passages = torch.tensor([[1, 0], [0, 0], [0, 1], [0, 0]], dtype=torch.float64)
    loss = ContrastiveCache(
        encoder, lambda q, p: nn.functional.cross_entropy(q @ p.mT, torch.tensor([0, 2])), chunk_size=1
    )
    share = math.e / (math.e + 3)  # of the right passage; the other three share the rest
    assert loss(queries, passages).item() == pytest.approx(-math.log(share), abs=1e-12)
    expected = torch.tensor([[share - 1, (1 - share) / 3], [(1 - share) / 3, share - 1]]).double()
    torch.testing.assert_close(encoder.weight.grad, expected, atol=1e-6, rtol=0)


def test_two_calls_add_up_and_the_gradient_is_linear_in_the_loss():
    encoder, views = perceptron(), (normal(7, 6), normal(7, 6, seed=1))
    procedure = ContrastiveCache(encoder, info_nce, chunk_size=3)
    procedure(*views)
    once = [g.clone() for g in gradients(encoder)]
    procedure(*views)
    for g, single in zip(gradients(encoder), once, strict=True):
        torch.testing.assert_close(g, 2 * single, atol=1e-14, rtol=1e-12)
    _, tripled = by_cache(encoder, lambda q, k: 3 * info_nce(q, k), *views, chunk_size=3)
    for g, single in zip(tripled, once, strict=True):
        torch.testing.assert_close(g, 3 * single, atol=1e-14, rtol=1e-12)


def test_summing_chunk_losses_is_something_else():
    encoder, views = perceptron(), (normal(16, 6), normal(16, 6, seed=1))
    _, exact = by_one_graph(encoder, info_nce, *views)
    model = copy.deepcopy(encoder)
    for q, k in zip(*(view.split(4) for view in views), strict=True):
        (info_nce(model(q), model(k)) / 4).backward()
    assert (model[0].weight.grad - exact[0]).norm() > 0.1 * exact[0].norm()


def test_only_the_activations_of_one_chunk_wait_for_backward():
    from gezhi.lab.clock import peak_saved

    encoder = perceptron()
    peaks = []
    for n in (16, 512):
        procedure = functools.partial(ContrastiveCache, encoder, chunk_size=8)
        views = normal(n, 6), normal(n, 6, seed=1)
        peaks.append(peak_saved(encoder, info_nce, lambda loss, p=procedure, v=views: p(loss)(*v))[0])
    assert peaks[1] == peaks[0] > 0


# ---- encoders and inputs of every kind ------------------------------------------------------------------------------


class Nested(nn.Module):
    """Takes what tokenizers give and returns what transformers return."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(9, 6), nn.Linear(6, 4)

    def forward(self, input_ids, attention_mask=None, extra=None, texts=(), flag=True):
        assert flag is True
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        mean = (self.table(input_ids) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        if extra is not None:
            mean = mean + extra["shift"][0]
        if texts:
            mean = mean + torch.tensor([float(len(text)) for text in texts])[:, None]
        return {"last": mean, "pooled": self.out(mean)}


IDS = torch.randint(9, (7, 5), generator=torch.Generator().manual_seed(0))
BATCHES = {
    "tensor": IDS,
    "mapping": {"input_ids": IDS, "attention_mask": (IDS > 2).long() | torch.eye(7, 5).long().flip(1) | 1},
    "HF batch": UserDict(input_ids=IDS, flag=True),
    "arguments": [IDS, (IDS > 3).long() + 1],
    "nested": {"input_ids": IDS, "extra": {"shift": (normal(7, 6), 2)}, "texts": ["a" * i for i in range(7)]},
}


def called(encoder, batch):
    if isinstance(batch, torch.Tensor):
        return encoder(batch)
    return encoder(*batch) if isinstance(batch, list) else encoder(**batch)


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("chunk_size", [2, 7])
def test_nested_inputs_are_cut_by_rows(name, chunk_size):
    encoder = Nested().double()
    loss = coupled(called(encoder, BATCHES[name])["pooled"])
    expected = torch.autograd.grad(loss, list(encoder.parameters()))
    found = by_cache(encoder, coupled, BATCHES[name], chunk_size=chunk_size, representation=lambda out: out["pooled"])
    assert_equal(found, (loss.detach(), list(expected)))


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing")
def test_a_real_tokenizer_batch_and_model_with_gradient_checkpointing():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    model = transformers.BertModel(config).double().train()
    ids = torch.randint(50, (6, 8))
    batches = [
        transformers.BatchEncoding({"input_ids": i, "attention_mask": torch.ones_like(i)}) for i in (ids, ids.flip(0))
    ]
    results = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        torch.manual_seed(1)
        results.append(
            by_cache(model, info_nce, *batches, chunk_size=4, representation=lambda out: out.last_hidden_state[:, 0])
        )
    torch.manual_seed(1)
    model.gradient_checkpointing_disable()
    h = [
        torch.cat([model(b["input_ids"][rows]).last_hidden_state[:, 0] for rows in (slice(0, 4), slice(4, 6))])
        for b in batches
    ]
    loss = info_nce(*h)
    used = {n: p for n, p in model.named_parameters() if not n.startswith("pooler")}
    expected = torch.autograd.grad(loss, list(used.values()))
    for found, grads in results:
        assert found.item() == pytest.approx(loss.item(), abs=1e-12)
        named = dict(zip([n for n, _ in model.named_parameters()], grads, strict=True))
        for name, g in zip(used, expected, strict=True):
            torch.testing.assert_close(named[name], g, atol=1e-10, rtol=1e-8)


def test_token_representations_bound_methods_and_partials_are_encoders():
    class Clip(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Linear(6, 4).double(), nn.BatchNorm1d(4).double()

        def image(self, x, sign=1):
            return sign * self.layer(x).unsqueeze(1).expand(-1, 3, -1)

    clip, x = Clip(), normal(5, 6)
    for encoder in (clip.image, functools.partial(clip.image, sign=-1)):
        with pytest.raises(ValueError, match="BatchNorm1d 'norm' in training mode"):
            ContrastiveCache(encoder, lambda h: coupled(h.flatten(1)), chunk_size=2)(x)
        clip.eval().zero_grad()
        ContrastiveCache(encoder, lambda h: coupled(h.flatten(1)), chunk_size=2)(x)
        found = clip.layer.weight.grad.clone()
        clip.zero_grad()
        coupled(encoder(x).flatten(1)).backward()
        torch.testing.assert_close(found, clip.layer.weight.grad, atol=1e-12, rtol=1e-12)
        clip.train()


def test_a_frozen_tower_is_encoded_once():
    calls = []

    class Counting(nn.Linear):
        def forward(self, x):
            calls.append(self)
            return super().forward(x)

    query, key = Counting(6, 4).double(), Counting(6, 4).double().requires_grad_(False)
    views = normal(8, 6), normal(8, 6, seed=1)
    for towers, inputs in (([query, key], views), ([key, query], views[::-1])):
        calls.clear()
        ContrastiveCache(towers, info_nce, chunk_size=3)(*inputs)
        assert calls.count(key) == 3
        assert calls.count(query) == 5  # the last chunk keeps its graph
    assert key.weight.grad is None
    with pytest.raises(ValueError, match="must have a parameter that takes a gradient"):
        ContrastiveCache(key, info_nce, chunk_size=3)(*views)


def test_a_learned_temperature_and_leaves_in_closures_get_their_gradient():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.log_scale = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

        def forward(self, q, k):
            return info_nce(q, k, self.log_scale.exp())

    encoder, loss, views = perceptron(), Scaled(), (normal(8, 6), normal(8, 6, seed=1))
    expected = torch.autograd.grad(loss(*map(encoder, views)), [loss.log_scale, *encoder.parameters()])
    for loss_fn in (loss, lambda q, k: loss(q, k)):
        loss.zero_grad()
        _, grads = by_cache(encoder, loss_fn, *views, chunk_size=3)
        for g, e in zip([loss.log_scale.grad, *grads], expected, strict=True):
            torch.testing.assert_close(g, e, atol=1e-12, rtol=1e-12)


def test_inputs_that_take_gradients_get_theirs():
    x = normal(5, 6).requires_grad_()
    frozen = perceptron().requires_grad_(False)
    ContrastiveCache(frozen, coupled, chunk_size=2)(x)
    torch.testing.assert_close(x.grad, torch.autograd.grad(coupled(frozen(x)), x)[0], atol=1e-12, rtol=1e-12)


# ---- precision and backward -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["autocast", "half parameters"])
def test_mixed_precision_is_the_same_in_both_passes(kind):
    """Autocast caches casts of parameters, which without care would carry no gradient into the second pass."""
    encoder, views = (
        perceptron().float(),
        (normal(9, 6, dtype=torch.float32), normal(9, 6, seed=1, dtype=torch.float32)),
    )
    seen = []

    def loss_fn(q, k):
        seen.extend([q.dtype, (q @ k.mT).dtype])
        return info_nce(q, k)

    if kind == "half parameters":
        encoder, views = encoder.bfloat16(), tuple(v.bfloat16() for v in views)
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
        _, grads = by_cache(encoder, loss_fn, *views, chunk_size=4)
        h = [torch.cat([encoder(part) for part in view.split(4)]) for view in views]
    assert set(seen) == {torch.float32}
    expected = torch.autograd.grad(info_nce(*(x.float() for x in h)), list(encoder.parameters()))
    for g, e in zip(grads, expected, strict=True):
        assert g is not None
        torch.testing.assert_close(g, e, atol=2e-2, rtol=5e-2)


def test_a_grad_scaler_and_accelerate_act_once_and_on_the_surrogate_alone():
    encoder, views = perceptron().float(), (normal(9, 6).float(), normal(9, 6, seed=1).float())
    loss, expected = by_cache(encoder, info_nce, *views, chunk_size=4)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    found, scaled = by_cache(encoder, info_nce, *views, chunk_size=4, backward=lambda s: scaler.scale(s).backward())
    assert found == loss
    for g, e in zip(scaled, expected, strict=True):
        torch.testing.assert_close(g / 2**10, e, atol=1e-7, rtol=1e-5)
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    _, halved = by_cache(encoder, info_nce, *views, chunk_size=4, backward=accelerator.backward)
    for g, e in zip(halved, expected, strict=True):
        torch.testing.assert_close(2 * g, e, atol=1e-7, rtol=1e-5)


def test_it_works_inside_no_grad():
    encoder, views = perceptron(), (normal(9, 6), normal(9, 6, seed=1))
    expected = by_one_graph(encoder, info_nce, *views)
    with torch.no_grad():
        assert_equal(by_cache(encoder, info_nce, *views, chunk_size=4), expected)


# ---- several processes ----------------------------------------------------------------------------------------------


def test_two_processes_give_the_gradient_of_one():
    """Uneven batches and numbers of chunks, buffers, dropout off; plain parameters are summed, DDP averages."""
    printed = in_two_processes(Path(__file__).with_name("two_processes.py"))
    assert printed.count("equal") == 2 * 12, printed


# ---- gradient -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["keep", "mask"])
def test_the_closed_form_passes_gradcheck(mode):
    args = normal(4, 3).requires_grad_(), normal(4, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda h, t: representation_gradient(h, t, mode), args)
    assert torch.autograd.gradgradcheck(lambda h: representation_gradient(h, PAIRED, mode), args[:1])


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_one_row_and_half_precision_of_the_closed_form():
    one = normal(1, 3).requires_grad_()
    found = representation_gradient(one, torch.ones(1, 1), "mask")
    assert torch.equal(found, torch.zeros(1, 3))
    found.sum().backward()
    assert torch.equal(one.grad, torch.zeros(1, 3))
    half = representation_gradient(normal(4, 3, dtype=torch.bfloat16), PAIRED)
    assert half.dtype == torch.bfloat16
    assert representation_gradient(torch.empty(0, 3), torch.empty(0, 0)).shape == (0, 3)


def test_one_row_and_non_contiguous_inputs():
    encoder, x = perceptron(), normal(6, 5).mT
    assert_equal(by_cache(encoder, coupled, x, chunk_size=2), by_one_graph(encoder, coupled, x))
    assert_equal(by_cache(encoder, coupled, x[:1], chunk_size=2), by_one_graph(encoder, coupled, x[:1]))


def test_a_layer_that_writes_into_its_input_does_not_spoil_the_second_pass():
    class Writing(nn.Linear):
        def forward(self, x):
            x[:, 0] = x[:, 0] + 1
            return super().forward(x)

    encoder, x = Writing(6, 4).double(), normal(5, 6)
    expected = by_one_graph(encoder, coupled, x.clone())
    assert_equal(by_cache(encoder, coupled, x.clone(), chunk_size=2), expected)


def test_parameters_and_generator_survive_an_exception():
    encoder, x = perceptron(0.5), normal(9, 6)
    before = copy.deepcopy(encoder.state_dict())
    torch.manual_seed(3)
    torch.cat([encoder(part) for part in x.split(2)])
    state = torch.get_rng_state()
    calls = []

    def failing(surrogate):
        calls.append(surrogate)
        if len(calls) == 3:
            raise KeyboardInterrupt
        surrogate.backward()

    torch.manual_seed(3)
    with pytest.raises(KeyboardInterrupt):
        ContrastiveCache(encoder, coupled, chunk_size=2, backward=failing)(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_batch_norm_is_refused_with_the_reason_unless_allowed():
    x = normal(8, 6)
    for norm in (nn.BatchNorm1d(4), nn.SyncBatchNorm(4), nn.BatchNorm1d(4, track_running_stats=False).eval()):
        encoder = nn.Sequential(nn.Linear(6, 4), norm).double()
        with pytest.raises(
            ValueError, match=r"each chunk would be normalised by its own .*BatchNorm.* '1' in training"
        ):
            ContrastiveCache(encoder, coupled, chunk_size=4)(x)
    encoder = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).double()
    found = by_cache(encoder, coupled, x, chunk_size=4, batch_norm="allow")
    assert_equal(found, by_one_graph(encoder, coupled, x, chunk_size=4))
    for still in (nn.BatchNorm1d(4).eval(), nn.GroupNorm(2, 4), nn.LayerNorm(4)):
        encoder = nn.Sequential(nn.Linear(6, 4), still).double()
        assert_equal(by_cache(encoder, coupled, x, chunk_size=3), by_one_graph(encoder, coupled, x))


# ---- errors ---------------------------------------------------------------------------------------------------------


class Changing(nn.Linear):
    """Its outputs drift from call to call."""

    drift = 0.0

    def forward(self, x):
        self.drift += 0.05
        return super().forward(x) + self.drift


class LaterRow(nn.Linear):
    """Only rows that follow the first chunk change."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * (1.5 if self.calls > 4 else 1)


@pytest.mark.parametrize("kind", [Changing, LaterRow])
def test_an_encoder_that_changes_between_the_passes_is_named(kind):
    message = "encoder of input 0 must give the same output in both passes.*state that a call changes"
    with pytest.raises(RuntimeError, match=message):
        ContrastiveCache(kind(6, 4).double(), coupled, chunk_size=3)(normal(8, 6))


def test_dropout_without_replay_is_caught():
    with pytest.raises(RuntimeError, match="dropout, which replay_rng=False redraws"):
        ContrastiveCache(perceptron(0.1), coupled, chunk_size=2, replay_rng=False)(normal(8, 6))
    encoder = perceptron()
    found = by_cache(encoder, coupled, normal(8, 6), chunk_size=3, replay_rng=False)
    assert_equal(found, by_one_graph(encoder, coupled, normal(8, 6)))


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float64, 1e-7), (torch.float32, 1e-3), (torch.bfloat16, 0.2)])
def test_the_comparison_leaves_room_for_rounding_alone(dtype, apart):
    cached = torch.ones(2, 3, dtype=torch.float64)
    Comparison([], [], True).note(0, (cached + apart / 100).to(dtype), cached)
    with pytest.raises(RuntimeError, match="must give the same output"):
        Comparison([], [], True).note(0, (cached + apart).to(dtype), cached)


@pytest.mark.parametrize(
    ("loss_fn", "kind", "message"),
    [
        (lambda h: h.sum() * math.nan, FloatingPointError, r"return a finite loss: got nan\. No gradient was added"),
        (lambda h: h.exp().sum() * 1e308 * 1e10, FloatingPointError, "return a finite loss: got inf"),
        (lambda h: h.sum(1), ValueError, r"return a scalar: got \(8,\)"),
        (lambda _: 3.0, TypeError, "return a tensor: got float"),
        (lambda h: h.detach().sum(), ValueError, "depend on the representations"),
        (lambda _: torch.ones((), requires_grad=True) * 2, ValueError, "no gradient for input 0"),
    ],
)
def test_a_bad_loss_raises_before_the_second_pass(loss_fn, kind, message):
    encoder = perceptron()
    with pytest.raises(kind, match=message):
        ContrastiveCache(encoder, loss_fn, chunk_size=3)(normal(8, 6))
    assert all(p.grad is None for p in encoder.parameters())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((torch.zeros(0, 6).double(),), r"inputs must have rows: got sizes \[0\]"),
        (
            (normal(3, 6), normal(4, 6)),
            r"same number of rows, or a multiple of it: got inputs\[0\] \(3, 6\), inputs\[1\] \(4, 6\)",
        ),
        (({"x": normal(3, 6), "y": [normal(2)]},), r"inputs\[0\]\['x'\] \(3, 6\), inputs\[0\]\['y'\]\[0\] \(2,\)"),
        (("text",), "be tensors, mappings or lists with rows: got str"),
        ((), "be tensors, mappings or lists with rows: got none"),
    ],
)
def test_bad_inputs_are_named_with_their_sizes(inputs, message):
    with pytest.raises(ValueError, match=message):
        ContrastiveCache(perceptron(), lambda *h: sum(map(coupled, h)), chunk_size=2)(*inputs)


@pytest.mark.parametrize(
    ("representation", "kind", "message"),
    [
        (lambda out: {"a": out}, TypeError, "encoder must return a tensor: got dict with a"),
        (lambda out: out.argmax(-1), TypeError, "representation must hold floating-point numbers: got torch.int64"),
        (lambda out: out.sum(0), ValueError, r"one row for each of the 3 rows of its chunk: got \(4,\)"),
        (lambda out: out.sum(), ValueError, r"one row for each of the 3 rows of its chunk: got \(\)"),
    ],
)
def test_bad_representations_are_named(representation, kind, message):
    with pytest.raises(kind, match=message):
        ContrastiveCache(perceptron(), coupled, chunk_size=3, representation=representation)(normal(8, 6))


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("settings_", "kind", "message"),
    [
        ({"chunk_size": 0}, ValueError, "chunk_size must lie between 1 and inf: got 0"),
        ({"chunk_size": 2.5}, TypeError, "chunk_size must be an integer: got 2.5"),
        ({"chunk_size": True}, TypeError, "chunk_size must be a number"),
        ({"chunk_size": 1, "batch_norm": "ignore"}, ValueError, "batch_norm must be one of 'error', 'allow'"),
    ],
)
def test_bad_settings_are_named(settings_, kind, message):
    with pytest.raises(kind, match=message):
        ContrastiveCache(perceptron(), coupled, **settings_)


@pytest.mark.wrong_types
def test_encoders_and_inputs_must_match():
    with pytest.raises(TypeError, match="encoder must be callable: got int"):
        ContrastiveCache([perceptron(), 3], info_nce, chunk_size=1)
    with pytest.raises(ValueError, match="one for each of the 2 encoders: got 1"):
        ContrastiveCache([perceptron(), perceptron()], info_nce, chunk_size=1)(normal(3, 6))


@pytest.mark.wrong_types
def test_errors_of_the_closed_form():
    with pytest.raises(ValueError, match="t must be square of the size of h, 4 × 4: got \\(3, 3\\)"):
        representation_gradient(normal(4, 3), torch.eye(3))
    with pytest.raises(ValueError, match="self_similarity must be one of 'keep', 'mask': got 'drop'"):
        representation_gradient(normal(4, 3), PAIRED, "drop")
