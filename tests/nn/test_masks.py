"""Masks against their rules pair by pair, the published check values, and what a model can really see."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st

from gezhi.experiments.masks import ONE_WAY, PERMUTED, TASKS, TO_TARGET
from gezhi.experiments.setups.streams import (
    SOURCE,
    EncoderDecoder,
    OneStack,
    Recurrent,
    Size,
    TwoStreams,
    item,
    view,
)
from gezhi.nn import (
    Mask,
    MultiheadAttention,
    causal_mask,
    document_mask,
    dot_product_attention,
    is_transitive,
    padding_mask,
    permutation_lm_mask,
    permuted_inputs,
    prefix_lm_mask,
    prove_visibility,
    reachable,
    seq2seq_loss_weights,
    window_mask,
)

ORDER = [3, 1, 4, 2, 0]
SEGMENTS = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
LOOKS = "it looks at the values to name what is wrong"

SAMPLES = [
    Sample(causal_mask, (3, 5), differentiable=False, reason="a mask"),
    Sample(prefix_lm_mask, (SEGMENTS,), compiles=False, differentiable=False, reason=LOOKS),
    Sample(permutation_lm_mask, (torch.tensor(ORDER),), compiles=False, differentiable=False, reason=LOOKS),
    Sample(reachable, (window_mask(5, 1), 3), differentiable=False, reason="a mask"),
    Sample(is_transitive, (window_mask(5, 1),), compiles=False, differentiable=False, reason="it returns a bool"),
    Sample(
        prove_visibility,
        (F.silu, causal_mask(3), torch.ones(1, 3, 2)),
        compiles=False,
        differentiable=False,
        reason="it takes derivatives itself",
    ),
]


def rows(mask):
    return ["".join(str(int(x)) for x in row) for row in mask]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


class Stack(torch.nn.Module):
    """Blocks of attention with a residual path."""

    def __init__(self, layers):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.ModuleList(MultiheadAttention(8, 2) for _ in range(layers))
        self.double()

    def forward(self, x, mask):
        for layer in self.layers:
            x = x + F.silu(layer(x, mask=mask))
        return x


# ---- reference ------------------------------------------------------------------------------------------------------


@given(st.permutations(range(6)), st.integers(0, 6))
def test_masks_are_their_rules_pair_by_pair(order, prefix):
    content, query = permutation_lm_mask(order)
    lm = prefix_lm_mask(prefix_length=prefix, n=6)
    for i in range(6):
        for j in range(6):
            assert content[i, j].item() == (order.index(j) <= order.index(i))
            assert query[i, j].item() == (order.index(j) < order.index(i))
            assert lm[i, j].item() == (j <= i or j < prefix)
    assert content.sum() == 21
    assert torch.equal(content ^ query, torch.eye(6, dtype=torch.bool))
    turn = torch.eye(6)[list(order)]  # row t of `turn @ x` is x[order[t]]
    assert torch.equal(content, (turn.T @ causal_mask(6).float() @ turn).bool())


def test_check_values():
    content, query = permutation_lm_mask(ORDER)
    assert rows(content) == ["11111", "01010", "01111", "00010", "01011"]
    assert rows(query) == ["01111", "00010", "01011", "00000", "01010"]
    assert torch.equal(permutation_lm_mask([4, 3, 2, 1, 0])[0], causal_mask(5).T)
    lm = prefix_lm_mask(SEGMENTS)
    assert rows(lm) == ["1111110000"] * 6 + ["1111111000", "1111111100", "1111111110", "1111111111"]
    assert (lm.sum(), causal_mask(10).sum()) == (70, 55)
    assert rows(causal_mask(2, 5)) == ["11110", "11111"]
    padded = torch.tensor([0, 0, 0, 1, 1, 0, 0])
    seen = prefix_lm_mask(padded, multi=True)
    assert rows(seen[[3, 4]]) == ["1111000", "1111111"]
    assert rows((seen & padding_mask([5], 7)[0, 0])[[4]]) == ["1111100"]


def test_check_values_of_attention():
    def table(f, width):
        return torch.tensor([[f(i, c) for c in range(width)] for i in range(5)], dtype=torch.float64)[None, None]

    query = table(lambda i, c: math.sin(0.9 * i + 0.4 * c + 0.1), 4)
    key = table(lambda j, c: math.cos(0.5 * j - 0.7 * c + 0.2), 4)
    value = table(lambda j, e: math.sin(0.3 * j * j + e + 0.6), 3)
    out = dot_product_attention(query, key, value, mask=permutation_lm_mask(ORDER)[0])[0, 0]
    assert out[1].tolist() == pytest.approx([0.361114429136, 0.110704197575, -0.241486962698], abs=1e-11)
    assert out[4].tolist() == pytest.approx([-0.142016168616, 0.068046707479, 0.215547754531], abs=1e-11)
    assert out.sum().item() == pytest.approx(-0.617928733323, abs=1e-11)
    prefix = dot_product_attention(query, key, value, mask=prefix_lm_mask(prefix_length=3, n=5))
    assert torch.equal(prefix, dot_product_attention(query, key, value, mask=Mask(causal=True, prefix=3)))


def test_batches_get_an_axis_for_the_heads():
    orders = torch.tensor([ORDER, [0, 1, 2, 3, 4]])
    content, query = permutation_lm_mask(orders)
    assert content.shape == query.shape == (2, 1, 5, 5)
    assert torch.equal(content[0, 0], permutation_lm_mask(ORDER)[0])
    both = torch.stack([SEGMENTS, SEGMENTS.flip(0)])
    assert prefix_lm_mask(both, multi=True).shape == (2, 1, 10, 10)
    assert document_mask(both)[1, 0].sum() == 52
    assert seq2seq_loss_weights(both)[0].tolist() == [False] * 5 + [True] * 4


@pytest.mark.parametrize(("left", "right"), [(0, 0), (2, 0), (1, 3)])
def test_window(left, right):
    mask = window_mask(6, left, right)
    assert all(mask[i, j].item() == (-left <= j - i <= right) for i in range(6) for j in range(6))


# ---- theorems -------------------------------------------------------------------------------------------------------


def test_which_masks_let_no_more_through_with_depth():
    content, query = permutation_lm_mask(ORDER)
    column = causal_mask(6) | (torch.arange(6) == 5)
    for mask, transitive in (
        (causal_mask(6), True),
        (prefix_lm_mask(SEGMENTS), True),
        (content, True),
        (query, True),
        (window_mask(6, 1, 1), False),
        (column, False),
    ):
        assert is_transitive(mask) is transitive
    assert not query.diagonal().any()  # transitive but not reflexive: the residual path lets its own input in
    assert torch.equal(reachable(query, 3), content)
    assert torch.equal(reachable(causal_mask(5), 9, residual=False), causal_mask(5))


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_a_stack_sees_what_is_reachable_and_no_more(seed, layers):
    mask = torch.rand(5, 5, generator=torch.Generator().manual_seed(seed)) < 0.4
    stack, x = Stack(layers), normal(1, 5, 8, seed=seed).requires_grad_()
    out = stack(x, mask)
    power = reachable(mask, layers)
    for i in range(5):
        (grad,) = torch.autograd.grad((out[0, i] * normal(8, seed=i)).sum(), x, retain_graph=True)
        assert torch.equal((grad[0] != 0).any(-1), power[i])


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_visibility_is_proved_on_the_model(layers):
    stack, x = Stack(layers), normal(2, 6, 8)
    for mask in (causal_mask(6), prefix_lm_mask(prefix_length=3, n=6), permutation_lm_mask([5, 0, 3, 2, 1, 4])[0]):
        assert prove_visibility(lambda x, mask=mask: stack(x, mask), mask, x) == []
    query = permutation_lm_mask([0, 1, 2, 3, 4, 5])[1]
    leaks = prove_visibility(lambda x: stack(x, query), query, x)  # allowed through the residual path
    assert leaks == []
    window = window_mask(6, 1)
    seen = prove_visibility(lambda x: stack(x, window), window, x, layers=1)
    assert seen == [(i, j) for i in range(6) for j in range(6) if i - layers <= j < i - 1]
    assert prove_visibility(lambda x: stack(x, window), window, x, layers=layers) == []


def test_leaks_are_found_and_raised():
    mask = causal_mask(4)
    with pytest.raises(ValueError, match=r"1 layer\(s\): got 3 leaks \(output, input\), first \[\(0, 1\), \(1, 2\)"):
        prove_visibility(
            lambda x: x + x.roll(-1, 1) * torch.tensor([1.0, 1, 1, 0])[:, None], mask, normal(1, 4, 2), strict=True
        )


def test_a_permuted_mask_is_shuffled_input_under_the_causal_one():
    stack, positions, embed = Stack(2), normal(6, 8, seed=1), normal(9, 8, seed=2)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(6, generator=generator)
        ids = torch.randint(9, (6,), generator=generator)
        masked = stack((embed[ids] + positions)[None], permutation_lm_mask(order)[0])
        moved, places = permuted_inputs(ids, order)
        shuffled = stack((embed[moved] + positions[places])[None], Mask(causal=True))
        torch.testing.assert_close(masked[:, order], shuffled, atol=1e-12, rtol=0)


def test_the_content_stream_does_not_know_which_position_is_asked():
    """After the same tokens the state of the last one is the same, whichever position comes next."""
    stack, x = Stack(2), normal(1, 5, 8)
    first = stack(x, permutation_lm_mask([2, 0, 1, 3, 4])[0])[:, 0]
    second = stack(x, permutation_lm_mask([2, 0, 4, 1, 3])[0])[:, 0]
    torch.testing.assert_close(first, second, atol=1e-12, rtol=0)


SMALL = Size(0, length=SOURCE + 6, dim=16)
ITEMS = torch.tensor([item("Why not?", "Because.", SMALL.length), item("x" * 60, "No", SMALL.length)])


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("task", TASKS)
def test_models_of_the_experiment_see_no_more_than_their_task(task):
    torch.manual_seed(0)
    model, ids = OneStack(SMALL).double(), ITEMS[:1]
    seen = view(task, ids, drawn())
    matrix = seen.content if isinstance(seen.content, torch.Tensor) else seen.content.tensor(*[SMALL.length] * 2)
    x = model.embedded(ids)
    assert prove_visibility(lambda x: model.stack.encode(x, mask=seen.content), matrix, x, strict=True) == []
    asked = seen.asked[seen.rows]
    assert len(set(asked.tolist())) == len(asked)  # no byte is predicted twice
    for i, j in zip(seen.rows.nonzero()[:, 1].tolist(), asked.tolist(), strict=True):
        assert not matrix[0, 0, i, j]
        assert (i, j) == (i, i + 1) or task is PERMUTED
    assert len(asked) == (6 if task is TO_TARGET else (ids != 257).sum() - 1)


def test_the_second_stream_sees_all_that_was_read_but_not_its_own_token():
    torch.manual_seed(0)
    model, ids = TwoStreams(SMALL).double(), ITEMS[:1]
    seen = view(PERMUTED, ids, drawn())
    x = model.embedded(ids).detach().requires_grad_()
    out = model.asking(x, seen)
    for i in seen.asked[seen.rows].tolist():
        (grad,) = torch.autograd.grad((out[0, i] * normal(16, seed=i)).sum(), x, retain_graph=True)
        assert torch.equal((grad[0] != 0).any(-1), seen.strict[0, 0, i])


def test_the_decoder_does_not_see_the_byte_that_it_predicts():
    torch.manual_seed(0)
    model, ids = EncoderDecoder(SMALL).double(), ITEMS[:1]
    before = model.losses(ids, TO_TARGET, drawn())
    for place in range(6):
        other = ids.clone()
        other[0, SOURCE + place] = 7
        after = model.losses(other, TO_TARGET, drawn())
        assert torch.equal(after[:place], before[:place])
        assert (after[place + 1 :] != before[place + 1 :]).all()


MODELS = (OneStack, TwoStreams, EncoderDecoder, Recurrent)


def test_models_for_one_task_are_as_large_as_the_one_for_all():
    count = [sum(p.numel() for p in make(Size(0)).parameters()) for make in MODELS]
    assert max(count) / min(count) < 1.05


def test_items_keep_the_separator_in_its_place():
    assert (ITEMS[:, SOURCE - 1] == 256).all()
    assert bytes(ITEMS[0, SOURCE - 9 : SOURCE - 1].tolist()) == b"Why not?"
    assert bytes(ITEMS[0, SOURCE:].tolist()) == b"Becaus"
    assert ITEMS[1, SOURCE + 2 :].tolist() == [257] * 4
    assert view(ONE_WAY, ITEMS, drawn()).rows.sum(1).tolist() == [8 + 6, SOURCE + 1]


@given(st.lists(st.integers(0, 1), min_size=1, max_size=8))
def test_prefix_pairs(bits):
    segments = torch.tensor(sorted(bits))
    source, target = (segments == 0).sum().item(), segments.sum().item()
    assert prefix_lm_mask(segments).sum() == source**2 + source * target + target * (target + 1) // 2
    levels = prefix_lm_mask(torch.tensor(bits), multi=True).sum(-1).tolist()
    assert all(a <= b for a, b in pairwise(levels))


# ---- edges and errors -----------------------------------------------------------------------------------------------


def test_empty_masks():
    assert causal_mask(0).shape == window_mask(0, 1).shape == (0, 0)
    assert prefix_lm_mask(prefix_length=0, n=0).shape == (0, 0)
    assert permutation_lm_mask(torch.zeros(0, dtype=torch.long))[0].shape == (0, 0)
    assert causal_mask(1, 4).tolist() == [[True] * 4]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: causal_mask(3, 2), ValueError, "at most as many tokens as key .2.*got 3"),
        (lambda: permutation_lm_mask([0, 2, 2]), ValueError, r"each of 0..2 once: got .*missing \[1\], too many \[2\]"),
        (lambda: permutation_lm_mask([0, 3]), ValueError, r"missing \[1\], too many \[3\]"),
        (lambda: permutation_lm_mask(torch.ones(2)), TypeError, "order must be integers: got torch.float32"),
        (lambda: prefix_lm_mask(torch.tensor([0, 1, 0])), ValueError, "not fall from 1 back to 0: .* multi=True"),
        (lambda: prefix_lm_mask(torch.tensor([0, 2])), ValueError, r"be 0 \(source\) or 1 \(target\): got 2"),
        (lambda: prefix_lm_mask(prefix_length=4, n=3), ValueError, "prefix_length must lie between 0 and 3: got 4"),
        (lambda: prefix_lm_mask(), ValueError, "segment_ids, or prefix_length and n"),
        (lambda: prefix_lm_mask(SEGMENTS, prefix_length=1, n=10), ValueError, "got both or neither"),
        (lambda: prefix_lm_mask(torch.zeros(1, 1, 2).long()), ValueError, r"shape \(n,\) or \(batch, n\)"),
        (lambda: padding_mask([1, 4], 3), ValueError, r"lie between 0 and n = 3: got \[1, 4\]"),
        (lambda: window_mask(3, -1), ValueError, "left must lie between 0"),
        (lambda: reachable(torch.ones(2, 3).bool(), 1), ValueError, "mask must be square"),
        (lambda: reachable(torch.ones(2, 2), 1), TypeError, "mask must be bool: got torch.float32"),
        (lambda: reachable(causal_mask(2), 0), ValueError, "layers must lie between 1"),
        (
            lambda: prove_visibility(lambda x: x[:, :2], causal_mask(3), torch.ones(1, 3, 2)),
            ValueError,
            r"the model must return \(batch, tokens, …\) = \(1, 3\): got \(1, 2, 2\)",
        ),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
