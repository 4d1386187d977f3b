"""Attention with its projections, against the function it calls, torch's own layer, and itself one token at a time."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from gezhi.nn import (
    AttentionCache,
    EntropyInvariantScale,
    LinearAttention,
    Mask,
    MultiheadAttention,
    PositiveRandomFeatures,
    alibi,
    double_softmax,
    elu1,
    exp,
    l2,
    rotary,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def gate(n_q, n_k, start, stop):
    relative = torch.arange(n_k) - torch.arange(n_k - n_q + start, n_k - n_q + stop)[:, None]
    return (1 + 0.1 * relative.clamp(-5, 5)).double()[None]


def random_features():
    return PositiveRandomFeatures(4, 8, generator=torch.Generator().manual_seed(1))


LAYERS = {
    "softmax": {},
    "rotary": {"rotate": rotary},
    "grouped": {"num_key_heads": 2, "rotate": rotary},
    "entropy scale": {"scale": EntropyInvariantScale(8)},
    "alibi": {"bias": partial(alibi, 4)},
    "gate": {"gate": gate},
    "l2": {"kernel": l2, "rotate": rotary},
    "wide keys": {"key_dim": 6},
    "elu1": {"kernel": elu1},
    "exp, rotary": {"kernel": exp, "rotate": rotary, "num_key_heads": 2, "key_dim": 6},
    "double softmax": {"kernel": double_softmax},
    "favor": {"kernel": random_features()},
}
BY_LAYER = pytest.mark.parametrize("settings", LAYERS.values(), ids=LAYERS)


def layer(**settings):
    torch.manual_seed(0)
    return MultiheadAttention(16, 4, **settings).double()


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cross", [False, True])
def test_is_torchs_layer_with_the_same_weights(cross):
    ours, theirs = layer(), torch.nn.MultiheadAttention(16, 4, batch_first=True).double()
    theirs.in_proj_weight.data = torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]).detach()
    theirs.in_proj_bias.data = torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]).detach()
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    x, context = normal(2, 5, 16), normal(2, 7, 16, seed=1)
    context = context if cross else x
    keys = torch.arange(context.shape[1]) < torch.tensor([[4], [context.shape[1]]])
    expected, _ = theirs(x, context, context, key_padding_mask=~keys)
    out = ours(x, context if cross else None, mask=Mask(keys=keys))
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)


# ---- theorems -------------------------------------------------------------------------------------------------------


@BY_LAYER
@pytest.mark.parametrize(
    ("prefix", "sizes"), [(0, [1] * 9), (0, [4, 1, 3, 1]), (3, [3, 1, 1, 4]), (3, [5, 4]), (9, [9])]
)
def test_decoding_with_a_cache_equals_the_whole(settings, prefix, sizes):
    attend, x = layer(**settings), normal(2, 9, 16)
    keys = torch.arange(9) >= torch.tensor([[0], [1]])  # left padding
    whole = attend(x, mask=Mask(causal=True, prefix=prefix, keys=keys))
    cache, seen = AttentionCache(), 0
    for tokens in x.split(sizes, 1):
        seen += tokens.shape[1]
        out = attend(tokens, mask=Mask(causal=True, prefix=prefix, keys=keys[:, :seen]), cache=cache)
        torch.testing.assert_close(out, whole[:, seen - tokens.shape[1] : seen], atol=1e-11, rtol=0)
    assert cache.length == seen


@BY_LAYER
def test_the_future_has_no_influence_on_the_past(settings):
    attend, x = layer(**settings), normal(1, 6, 16).requires_grad_()
    out = attend(x, mask=Mask(causal=True))
    for i in range(6):
        (grad,) = torch.autograd.grad(out[:, i].sum(), x, retain_graph=True)
        assert not grad[:, i + 1 :].any()
        assert grad[:, i].any()


@BY_LAYER
def test_every_parameter_gets_a_gradient(settings):
    attend = layer(**settings)
    attend(normal(2, 5, 16), mask=Mask(causal=True)).square().sum().backward()
    for name, parameter in attend.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_modules_among_the_parts_are_saved_and_trained():
    attend = layer(scale=EntropyInvariantScale(8, learnable=4))
    assert "scale.gain" in dict(attend.named_parameters())
    assert "kernel.omega" in layer(kernel=random_features()).state_dict()


def test_dropout_acts_in_training_only():
    attend, x = layer(dropout=0.5), normal(1, 6, 16)
    torch.manual_seed(1)
    assert not torch.equal(attend(x), attend(x))
    attend.eval()
    assert torch.equal(attend(x), attend(x))


def test_linear_attention_is_the_layer_with_a_feature_map():
    torch.manual_seed(0)
    linear = LinearAttention(16, 4, key_dim=6, kernel=exp, rotate=rotary).double()
    same = layer(key_dim=6, kernel=exp, rotate=rotary)
    x = normal(2, 5, 16)
    assert torch.equal(linear(x, mask=Mask(causal=True)), same(x, mask=Mask(causal=True)))


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MultiheadAttention(10, 4), "embed_dim must be a multiple of the number of heads, 4: got 10"),
        (lambda: MultiheadAttention(8, 4, num_key_heads=3), "num_heads must be a multiple of the number of heads, 3"),
        (lambda: MultiheadAttention(8, 0), "embed_dim must be a multiple of the number of heads, 0"),
        (lambda: MultiheadAttention(8, 2, dropout=1.0), "dropout must lie"),
        (lambda: layer()(normal(1, 2, 16), cache=AttentionCache()), "mask must be causal with a cache"),
        (lambda: layer(kernel=exp, bias=partial(alibi, 4))(normal(1, 2, 16)), "bias must be left out"),
        (
            lambda: layer(kernel=exp, gate=gate)(normal(1, 2, 16), mask=Mask(causal=True), cache=AttentionCache()),
            "gate must be left out with a FeatureMap",
        ),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
