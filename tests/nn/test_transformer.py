"""The Transformer against Hugging Face's, against itself one token at a time, and what its masks let through."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gezhi.nn import (
    Mask,
    Transformer,
    TransformerConfig,
    causal_mask,
    permutation_lm_mask,
    prefix_lm_mask,
    prove_visibility,
)

CONFIGS = {
    "plain": {},
    "learned": {"positions": "learned"},
    "none": {"positions": "none"},
    "alibi": {"positions": "alibi"},
    "t5": {"positions": "t5"},
    "entropy scale": {"scale": "entropy"},
    "urpe": {"gate": "urpe"},
    "l2": {"kernel": "l2"},
    "relu2": {"kernel": "relu2"},
    "elu1": {"kernel": "elu1"},
    "exp": {"kernel": "exp", "key_dim": 16},
    "double softmax": {"kernel": "double_softmax", "positions": "learned"},
    "cosine": {"kernel": "cosine", "positions": "learned"},
    "favor": {"kernel": "favor"},
    "grouped": {"num_key_heads": 1},
    "after": {"norm": "post", "num_types": 2, "embed_dim": 6, "activation": "gelu_tanh"},
}
BY_CONFIG = pytest.mark.parametrize("fields", CONFIGS.values(), ids=CONFIGS)
FREE = {name: fields for name, fields in CONFIGS.items() if name != "relu2"}  # which divides by the number of columns
BY_LENGTH = pytest.mark.parametrize("fields", FREE.values(), ids=FREE)
IDS = torch.randint(20, (2, 9), generator=torch.Generator().manual_seed(0))


def model(**fields):
    torch.manual_seed(0)
    settings = {"vocab_size": 20, "dim": 16, "num_layers": 2, "num_heads": 2, "max_positions": 32, "dropout": 0.0}
    found = Transformer(TransformerConfig(**{**settings, **fields})).double().eval()
    for parameter in found.parameters():  # larger than at the start, so that differences show
        parameter.data = parameter.data + 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return found


# ---- theorems -------------------------------------------------------------------------------------------------------


@BY_LENGTH
@pytest.mark.parametrize(("prefix", "sizes"), [(0, [1] * 9), (0, [4, 1, 4]), (4, [5, 1, 3])])
def test_decoding_with_a_cache_equals_the_whole(fields, prefix, sizes):
    decoder = model(**fields)
    keys = torch.arange(9) >= torch.tensor([[0], [2]])
    whole = decoder(IDS, mask=Mask(causal=True, prefix=prefix, keys=keys))
    cache, seen = decoder.new_cache(), 0
    for ids in IDS.split(sizes, 1):
        seen += ids.shape[1]
        out = decoder(ids, mask=Mask(causal=True, prefix=prefix, keys=keys[:, :seen]), cache=cache)
        torch.testing.assert_close(out, whole[:, seen - ids.shape[1] : seen], atol=1e-10, rtol=0)


@BY_CONFIG
def test_the_mask_alone_makes_encoder_decoder_and_prefix_model(fields):
    stack = model(**fields)
    x = torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(1)).double()
    for rule, mask in (
        (Mask(causal=True), causal_mask(6)),
        (Mask(causal=True, prefix=3), prefix_lm_mask(prefix_length=3, n=6)),
        (Mask(), torch.ones(6, 6, dtype=torch.bool)),
    ):
        assert prove_visibility(lambda x, rule=rule: stack.encode(x, mask=rule), mask, x, layers=2) == []
    seen = stack.encode(x.requires_grad_())[0, 0].sum()
    (grad,) = torch.autograd.grad(seen, x)
    assert grad.any(-1).all()


@BY_LENGTH
def test_padding_changes_nothing(fields):
    encoder = model(**fields)
    short = encoder(IDS[:, :6])
    keys = torch.arange(9).expand(2, 9) < 6
    torch.testing.assert_close(encoder(IDS, mask=Mask(keys=keys))[:, :6], short, atol=1e-10, rtol=0)


@BY_CONFIG
def test_every_parameter_gets_a_gradient(fields):
    trained = model(**fields, head="mlm", pooler=True).train()
    hidden = trained(IDS, mask=Mask(causal=True))
    (trained.logits(hidden).square().sum() + trained.pooled(hidden).sum()).backward()
    for name, parameter in trained.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_causal_config_is_a_mask_that_holds_by_default():
    decoder, encoder = model(causal=True), model()
    expected = encoder(IDS, mask=Mask(causal=True))
    assert torch.equal(decoder(IDS), expected)
    keys = torch.arange(9).expand(2, 9) > 1
    assert torch.equal(decoder(IDS, mask=Mask(keys=keys)), encoder(IDS, mask=Mask(causal=True, keys=keys)))
    free = torch.ones(9, 9, dtype=torch.bool)
    assert torch.equal(decoder(IDS, mask=free), encoder(IDS, mask=free))


def test_permuted_order_by_the_mask():
    stack, (content, _) = model(), permutation_lm_mask([3, 1, 4, 2, 0])
    x = torch.randn(1, 5, 16).double()
    assert prove_visibility(lambda x: stack.encode(x, mask=content), content, x, layers=2) == []


@given(st.integers(0, 1))
def test_the_hook_stands_before_its_layer(index):
    stack = model()
    seen = []

    def hook(at, x):
        seen.append(at)
        return x + 1 if at == index else x

    out = stack(IDS, before_layer=hook)
    assert seen == [0, 1]
    x = stack.embeddings(IDS, None, 0)
    for at, layer in enumerate(stack.layers):
        x = layer(x + 1 if at == index else x)
    assert torch.equal(out, stack.norm(x))


def test_layers_share_the_factors_of_the_gate_and_of_the_distances():
    names = [name for name, _ in model(gate="urpe").named_parameters() if "table" in name]
    assert names == ["gate.table"]
    assert "distances" in dict(model(positions="t5").named_parameters())


def test_vectors_instead_of_tokens():
    stack = model(vocab_size=0)
    x = torch.randn(1, 4, 16).double()
    assert stack.encode(x).shape == (1, 4, 16)


@pytest.mark.compiles
@pytest.mark.parametrize("fields", [{}, {"gate": "urpe"}, {"kernel": "exp"}, {"scale": "entropy"}], ids=str)
def test_the_model_traces_into_one_graph(fields):
    stack = model(**fields)
    torch._dynamo.reset()
    compiled = torch.compile(lambda ids: stack(ids, mask=Mask(causal=True)), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(IDS), stack(IDS, mask=Mask(causal=True)), atol=1e-12, rtol=0)


def test_dropout_acts_in_training_only():
    stack = model(dropout=0.5, attention_dropout=0.5).train()
    assert not torch.equal(stack(IDS), stack(IDS))
    stack.eval()
    assert torch.equal(stack(IDS), stack(IDS))


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: model(dim=10, num_heads=3), "embed_dim must be a multiple of the number of heads, 3: got 10"),
        (lambda: model(kernel="exp", gate="urpe"), "gate must be one of 'none' with the feature map 'exp': got 'urpe'"),
        (
            lambda: model(kernel="exp", positions="t5"),
            "positions must be one of .* with the feature map 'exp': got 't5'",
        ),
        (lambda: model(kernel="exp", scale="entropy"), "scale must be one of 'sqrt' with"),
        (lambda: model(kernel="exp", attention_dropout=0.1), "attention_dropout must be 0 with the feature map"),
        (lambda: model(kernel="max"), "kernel must be one of 'softmax', 'l2'"),
        (lambda: model(head="lm", embed_dim=4), "embed_dim must equal dim = 16 with head='lm': got 4"),
        (lambda: model(head="lm", vocab_size=0), "vocab_size must be positive with a head"),
        (lambda: model().logits(torch.zeros(1, 1, 16)), "config.head must be 'lm' or 'mlm' for logits: got 'none'"),
        (lambda: model().pooled(torch.zeros(1, 1, 16)), "config.pooler must be True"),
        (lambda: model(vocab_size=0)(IDS), "config.vocab_size must be positive for ids: got 0. Call encode"),
        (lambda: model()(IDS.double()), r"ids must be integers of the shape \(batch, tokens\): got torch.float64"),
        (lambda: model()(IDS, types=IDS), "types must be left out without num_types"),
        (lambda: model(positions="learned", max_positions=8)(IDS), "ids must reach at most max_positions = 8: got 9"),
        (lambda: model(gate="urpe", max_positions=8)(IDS), "at most max_len = 8 tokens: got 9"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
