"""Polynomial features against explicit tensor powers, the published tables, and attention by scores."""

from __future__ import annotations

import math
import struct
from functools import partial
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
import torch
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st

from gezhi.data import DataUnavailable
from gezhi.experiments import infinite_attention as experiment
from gezhi.experiments.setups.e5 import E5
from gezhi.experiments.setups.heads import Encoder, heads
from gezhi.nn import (
    Mask,
    dot_product_attention,
    exp_degree,
    limit_features,
    numerical_rank,
    polynomial_attention,
    polynomial_feature_dim,
    polynomial_kernel,
    taylor_features,
)
from gezhi.nn.transformer import Transformer, TransformerConfig

FEATURES = {"taylor": taylor_features, "limit": limit_features}
BY_SCHEME = pytest.mark.parametrize("scheme", FEATURES)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


SAMPLES = [
    Sample(partial(taylor_features, degree=3), (normal(4, 3),)),
    Sample(partial(limit_features, degree=3), (normal(4, 3),)),
    Sample(polynomial_attention, (normal(1, 2, 5, 3), normal(1, 2, 5, 3, seed=1), normal(1, 2, 5, 3, seed=2))),
]


def polynomial(x, degree, scheme):
    if scheme == "limit":
        return (1 + x / degree) ** degree if degree else 1.0
    return sum(x**m / math.factorial(m) for m in range(degree + 1))


def reference_features(x, degree, scheme, symmetric):
    """Tuple by tuple of channels, or multiset by multiset."""
    out, n = [], len(x)
    if scheme == "limit" and not symmetric:
        extended = [1.0, *(v / math.sqrt(degree) for v in x)] if degree else [1.0]
        return [math.prod(extended[i] for i in tuple_) for tuple_ in product(range(n + 1), repeat=degree)]
    for m in range(degree + 1):
        of_power = 1 if scheme == "taylor" else math.comb(degree, m) * math.factorial(m) / degree**m
        tuples = combinations_with_replacement(range(n), m) if symmetric else product(range(n), repeat=m)
        for tuple_ in tuples:
            value = math.prod(x[i] for i in tuple_)
            same = math.prod(math.factorial(tuple_.count(i)) for i in set(tuple_)) if symmetric else math.factorial(m)
            out.append(value * math.sqrt(of_power / same))
    return out


# ---- reference ------------------------------------------------------------------------------------------------------


@BY_SCHEME
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("dim", [1, 3])
def test_features_are_the_formula(scheme, symmetric, degree, dim):
    x = normal(2, dim)
    found = FEATURES[scheme](x, degree, symmetric=symmetric)
    for row, features in zip(x.tolist(), found.tolist(), strict=True):
        assert features == pytest.approx(reference_features(row, degree, scheme, symmetric), abs=1e-12)
    assert found.shape[-1] == polynomial_feature_dim(dim, degree, scheme, symmetric=symmetric)


def test_check_values_of_features():
    q, k = torch.tensor([[0.3, -0.5, 0.8], [0.7, 0.2, -0.4]], dtype=torch.float64)
    values = {
        "taylor": [0.79, 0.81205, 0.8105065, 0.81058753375],
        "limit": [0.79, 0.801025, 0.804357, 0.805966284414063],
    }
    widths = {"taylor": [4, 13, 40, 121], "limit": [4, 16, 64, 256]}
    for scheme, features in FEATURES.items():
        for degree in range(1, 5):
            for symmetric in (True, False):
                product_ = features(q, degree, symmetric=symmetric) @ features(k, degree, symmetric=symmetric)
                assert product_.item() == pytest.approx(values[scheme][degree - 1], abs=1e-12)
            assert polynomial_feature_dim(3, degree, scheme, symmetric=False) == widths[scheme][degree - 1]
            assert polynomial_feature_dim(3, degree, scheme) == [4, 10, 20, 35][degree - 1]
    taylor = [1, 0.3, -0.5, 0.8, 0.063639610307, -0.15, 0.24, 0.176776695297, -0.4, 0.452548339959]
    assert taylor_features(q, 2).tolist() == pytest.approx(taylor, abs=1e-11)
    limit = [1, 0.3, -0.5, 0.8, 0.045, -0.106066017178, 0.169705627485, 0.125, -0.282842712475, 0.32]
    assert limit_features(q, 2).tolist() == pytest.approx(limit, abs=1e-11)


@pytest.mark.parametrize("mode", ["auto", "linear", "quadratic"])
@pytest.mark.parametrize(
    ("scheme", "degree", "row"),
    [
        ("taylor", 2, [0.624341820538, 0.490200884249]),
        ("taylor", 4, [0.654272661118, 0.544402551266]),
        ("limit", 2, [0.611957351483, 0.467999063163]),
        ("limit", 4, [0.630411739905, 0.501238603912]),
    ],
)
def test_check_values_of_attention(mode, scheme, degree, row):
    def table(f, width):
        return torch.tensor([[f(i, c) for c in range(width)] for i in range(4)], dtype=torch.float64)[None, None]

    query = table(lambda i, c: math.sin(0.9 * i + 0.4 * c + 0.1), 3)
    key = table(lambda j, c: math.cos(0.5 * j - 0.7 * c + 0.2), 3)
    value = table(lambda j, e: math.sin(0.3 * j * j + e + 0.6), 2)
    out = polynomial_attention(query, key, value, degree=degree, scheme=scheme, scale=1.0, mode=mode)
    assert out[0, 0, 1].tolist() == pytest.approx(row, abs=1e-11)


def test_check_values_of_widths():
    assert [polynomial_feature_dim(d, n) for d, n in ((16, 2), (64, 2), (64, 4), (32, 4))] == [153, 2145, 814385, 58905]
    full = partial(polynomial_feature_dim, symmetric=False)
    assert [full(16, 2), full(16, 2, "limit"), full(64, 2), full(64, 4), full(64, 4, "limit")] == [
        273,
        289,
        4161,
        17043521,
        17850625,
    ]


@pytest.mark.parametrize(
    ("radius", "rtol", "taylor", "limit"),
    [
        (1, 1e-2, 5, 51),
        (1, 1e-3, 6, 501),
        (2, 1e-2, 8, 201),
        (2, 1e-3, 10, 2001),
        (4, 1e-2, 15, 799),
        (4, 1e-3, 17, 7999),
        (8, 1e-2, 30, 3190),
        (8, 1e-3, 31, 31990),
    ],
)
def test_check_values_of_degrees(radius, rtol, taylor, limit):
    assert exp_degree(radius, rtol, even=False) == taylor
    assert exp_degree(radius, rtol, "limit", even=False) == limit
    assert exp_degree(radius, rtol) == taylor + taylor % 2
    assert exp_degree(radius, rtol, "limit") == limit + limit % 2


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from(["taylor", "limit"]), st.integers(0, 5), st.integers(1, 5), st.booleans())
def test_inner_products_are_the_polynomial(seed, scheme, degree, dim, symmetric):
    q, k = normal(2, dim, seed=seed), normal(3, dim, seed=seed + 1)
    features = partial(FEATURES[scheme], degree=degree, symmetric=symmetric)
    expected = torch.tensor([[polynomial(x, degree, scheme) for x in row] for row in (q @ k.T).tolist()])
    torch.testing.assert_close(features(q) @ features(k).T, expected.double(), atol=1e-7, rtol=1e-6)
    turn = torch.linalg.qr(normal(dim, dim, seed=seed + 2))[0]
    torch.testing.assert_close(
        features(q @ turn) @ features(k @ turn).T, features(q) @ features(k).T, atol=1e-9, rtol=1e-9
    )


@given(
    st.integers(0, 10**6),
    st.sampled_from(["taylor", "limit"]),
    st.sampled_from([0, 2, 4]),
    st.sampled_from(["none", "causal", "prefix", "padding"]),
)
def test_features_and_scores_give_the_same_attention(seed, scheme, degree, rule):
    query, key, value = (normal(1, 2, 6, 3, seed=seed + s) for s in range(3))
    keys = torch.tensor([[True, True, False, True, True, False]])
    mask = {
        "none": None,
        "causal": Mask(causal=True),
        "prefix": Mask(causal=True, prefix=3),
        "padding": Mask(keys=keys),
    }[rule]
    attend = partial(polynomial_attention, query, key, value, degree=degree, scheme=scheme, mask=mask)
    for normalize in (False, True):
        linear, quadratic = (attend(mode=mode, normalize_qk=normalize) for mode in ("linear", "quadratic"))
        torch.testing.assert_close(linear, quadratic, atol=1e-9, rtol=0)
    if degree == 0 and rule == "none":
        torch.testing.assert_close(attend(), value.mean(-2, keepdim=True).expand_as(value))


def test_error_laws():
    x = np.linspace(-1, 1, 401)
    for degree in range(1, 9):
        error = np.abs(np.exp(x) - polynomial(x, degree, "taylor"))
        bound = np.abs(x) ** (degree + 1) / math.factorial(degree + 1) * np.exp(np.maximum(x, 0))
        assert (error <= bound + 1e-15).all()
    degrees = np.array([64, 128, 256, 512])
    errors = [1 - polynomial(1.0, int(n), "limit") / math.e for n in degrees]
    slope = np.polyfit(np.log(degrees), np.log(errors), 1)[0]
    assert slope == pytest.approx(-1, abs=0.05)
    assert errors[0] == pytest.approx(7.702e-3, rel=1e-3)
    assert 1 - polynomial(1.0, 4, "taylor") / math.e == pytest.approx(3.660e-3, rel=1e-3)


@pytest.mark.parametrize("rtol", [0.3, 1e-2, 1e-4])
@pytest.mark.parametrize("radius", [0.2, 1.7, 6.0])
@BY_SCHEME
def test_the_degree_is_enough_on_the_whole_interval_and_one_less_is_not(scheme, radius, rtol):
    x = np.linspace(-radius, radius, 2001)

    def worst(degree):
        return np.abs(polynomial(x, degree, scheme) / np.exp(x) - 1).max()

    for even in (False, True):
        degree = exp_degree(radius, rtol, scheme, even=even)
        assert worst(degree) <= rtol * (1 + 1e-6)
        lower = degree - (2 if even else 1)
        assert lower < 0 or worst(lower) > rtol


@pytest.mark.parametrize("scheme", FEATURES)
def test_rank_is_the_number_of_features(scheme):
    q, k = normal(200, 4), normal(200, 4, seed=1)
    for degree, width in enumerate([5, 15, 35, 70], start=1):
        values = polynomial((q @ k.T).numpy(), degree, scheme)
        assert numerical_rank(torch.from_numpy(values), 1e-10).item() == width
    assert numerical_rank((q @ k.T).exp(), 1e-10).item() > 70


def test_even_degrees_keep_weights_positive():
    x = torch.linspace(-10, 10, 4001).double()
    for degree, lowest in ((2, 0.5), (4, 0.2703947654), (6, 0.1493248417)):
        assert polynomial(x, degree, "taylor").min().item() == pytest.approx(lowest, abs=1e-5)
        assert (polynomial(x, degree, "limit") >= 0).all()


def test_rank_of_batches():
    assert numerical_rank(torch.stack([torch.eye(3), torch.ones(3, 3)]), 1e-6).tolist() == [3, 1]


# ---- gradient, edges, errors ----------------------------------------------------------------------------------------


@BY_SCHEME
@pytest.mark.parametrize("mode", ["linear", "quadratic"])
def test_gradcheck(scheme, mode):
    tensors = [normal(1, 1, 4, 2, seed=s).requires_grad_() for s in range(3)]
    attend = partial(polynomial_attention, scheme=scheme, mode=mode, mask=Mask(causal=True))
    assert torch.autograd.gradcheck(attend, tensors)


@BY_SCHEME
def test_hidden_rows_and_half_precision(scheme):
    query, key, value = (normal(1, 1, 3, 4, seed=s).half() for s in range(3))
    mask = Mask(keys=torch.zeros(1, 3, dtype=torch.bool))
    for mode in ("linear", "quadratic"):
        out = polynomial_attention(query, key, value, scheme=scheme, mode=mode, mask=mask)
        assert out.dtype == torch.float16
        assert not out.any()
    assert FEATURES[scheme](query, 2).dtype == torch.float32


def test_auto_takes_the_cheaper_form(monkeypatch):
    used = []
    monkeypatch.setattr(
        "gezhi.nn.infinite_attention.dot_product_attention",
        lambda *args, kernel, **kwargs: (
            used.append(type(kernel).__name__) or dot_product_attention(*args, kernel=kernel, **kwargs)
        ),
    )
    for n in (14, 16):  # 2 · 15 · 4 / (4 + 4) = 15 features decide
        polynomial_attention(*(normal(1, 1, n, 4, seed=s) for s in range(3)))
    polynomial_attention(*(normal(1, 1, 16, 4, seed=s) for s in range(3)), mask=torch.ones(16, 16).bool())
    assert used == ["partial", "FeatureMap", "partial"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: taylor_features(x, -1), "degree must be an integer of at least 0: got -1"),
        (lambda x: taylor_features(x, 1.5), "degree must be an integer of at least 0: got 1.5"),
        (
            lambda _: taylor_features(torch.zeros(64), 5),
            "features must be at most 1000000: got 11238513 for 64 channels and degree 5",
        ),
        (lambda _: polynomial_kernel(3), "degree must be even: got 3. Odd degrees .* pass 4, or allow_negative"),
        (lambda _: polynomial_kernel(2, "series"), "scheme must be one of 'taylor', 'limit': got 'series'"),
        (lambda x: polynomial_attention(x, x, x, mode="fast"), "mode must be one of"),
        (lambda _: exp_degree(0, 0.1), "radius must lie strictly"),
        (lambda _: exp_degree(1, 1.0), "rtol must lie strictly between 0 and 1"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(normal(1, 1, 3, 4))


def test_odd_degrees_on_request():
    x = normal(1, 1, 5, 3) * 0.1
    for mode in ("linear", "quadratic"):
        out = polynomial_attention(x, x, x, degree=3, allow_negative=True, mode=mode, scale=1.0)
        torch.testing.assert_close(out, dot_product_attention(x, x, x, scale=1.0), atol=1e-5, rtol=0)


# ---- what the experiment is made of ---------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.floats(0.01, 0.5))
def test_the_rank_within_an_error_is_that_of_the_singular_values(seed, error):
    weights = (normal(12, 3, seed=seed) @ normal(3, 12, seed=seed + 1)).softmax(-1)
    values = torch.linalg.svdvals(weights).square()
    left = [values[r:].sum().sqrt() for r in range(13)]
    wanted = next(r for r in range(13) if left[r] <= error * left[0])
    assert experiment.rank_within(weights, error).item() == wanted


def spelt(text):
    return [byte % 50 for byte in text.encode()]


def encoder(texts, joined):
    torch.manual_seed(0)
    config = TransformerConfig(50, 8, num_layers=2, num_heads=2, positions="learned", norm="post", dropout=0.0)
    return Encoder(Transformer(config).eval(), spelt, (48, 49), texts, joined)


def test_documents_are_of_one_length_and_nothing_is_padding():
    texts = ["short", "a text of some length", "and another one, longer still"]
    whole = encoder(texts, joined=False).documents(0, 2, 12)
    assert sorted(whole.tolist()) == sorted([48, *spelt(text)[:10], 49] for text in texts[1:])
    joined = encoder(texts, joined=True).documents(0, 3, 12).tolist()
    assert [48, *spelt("short" + texts[1])[:10], 49] in joined
    with pytest.raises(ValueError, match="texts must give 4 documents of 12 tokens: got 2"):
        encoder(texts, joined=False).documents(0, 4, 12)


def test_queries_and_keys_are_those_of_the_model():
    held = encoder(["abcdefghijkl", "mnopqrstuvwx"], joined=False)
    query, key, value = heads(held, 0, 2, 10).float()
    assert query.shape == (2 * 2 * 2, 10, 4)
    x = held.model.embeddings(held.documents(0, 2, 10), None, 0)
    layer = held.model.layers[0].attention
    mixed = dot_product_attention(*(part[:4].view(2, 2, 10, 4) for part in (query, key, value)))
    torch.testing.assert_close(layer.output(mixed.transpose(1, 2).flatten(2)), layer(x), atol=1e-6, rtol=0)


def blocks(values):
    """Four-bit numbers in blocks of 32, the scale 0.5: what the packaged encoder is stored as."""
    codes = (values / 0.5 + 8).astype(np.uint8).reshape(-1, 2, 16)
    scale = np.full((len(codes), 1), 0.5, dtype="<f2").view(np.uint8)
    return np.concatenate([scale, codes[:, 0] | codes[:, 1] << 4], axis=1).tobytes()


def test_four_bit_weights_become_a_transformer(tmp_path):
    rng = np.random.default_rng(0)
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "天", "ж", "▁a"]
    sizes = {"emb.word": (8, 32), "emb.pos": (16, 32), "emb.type": (1, 32), "emb.ln.w": (32,), "emb.ln.b": (32,)}
    for name, rows, columns in (("q", 32, 32), ("k", 32, 32), ("v", 32, 32), ("ao", 32, 32), ("fi", 64, 32),
                                ("fo", 32, 64)):  # fmt: skip
        sizes |= {f"l0.{name}.w": (rows, columns), f"l0.{name}.b": (rows,)}
    sizes |= {f"l0.{name}.{part}": (32,) for name in ("aln", "oln") for part in "wb"}
    values = {name: rng.integers(-8, 8, size) * 0.5 for name, size in sizes.items()}
    packed = {name: blocks(v) if v.ndim > 1 else v.astype("<f4").tobytes() for name, v in values.items()}
    ends = np.cumsum([0, *(len(piece.encode()) for piece in pieces)]).astype("<u4")
    head = b"E5S1" + bytes(4) + struct.pack("<7ifi5iQ", 32, 1, 4, 64, 8, 16, 1, 1e-12, 0, 8, 0, 2, 1, 3, ends[-1])
    head += ends.tobytes() + np.full(8, -1.0, "<f4").tobytes() + "".join(pieces).encode()
    head += struct.pack("<iIIBI", 1, 0, ord("Ａ"), 1, ord("a")) + struct.pack("<i", len(packed))
    start = len(head) + sum(2 + len(name) + 21 for name in packed)
    for name, data in packed.items():
        head += struct.pack(f"<H{len(name)}sBIQQ", len(name), name.encode(), int(values[name].ndim > 1),
                            len(data), start, len(data))  # fmt: skip
        start += len(data)
    (tmp_path / "e5-small-q4.bin").write_bytes(head + b"".join(packed.values()))
    found = E5(tmp_path)
    state = found.model.state_dict()
    assert found.special == (0, 2)
    assert found.tokens("Ａ天") == [6, 5]  # without the Cyrillic piece numbers move up
    for ours, theirs in (("layers.0.attention.query.weight", "l0.q.w"), ("layers.0.feed.2.weight", "l0.fo.w"),
                         ("layers.0.norms.1.bias", "l0.oln.b"), ("embeddings.position.weight", "emb.pos")):  # fmt: skip
        assert state[ours].tolist() == values[theirs].tolist()
    assert state["embeddings.token.weight"].tolist() == np.delete(values["emb.word"], 6, 0).tolist()
    (tmp_path / "e5-small-q4.bin").write_bytes(b"else")
    with pytest.raises(DataUnavailable, match="not a file of E5's weights"):
        E5(tmp_path)
