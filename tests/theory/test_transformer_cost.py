"""Counts against loops, transformers' own weights, torch's counter, and the figures of the article."""

from __future__ import annotations

import warnings
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gezhi.theory import (
    LayerSpec,
    ModelSpec,
    UncountedOperationWarning,
    activation_bytes,
    cache_bytes,
    count_macs,
    crossover,
    layer_macs,
    layer_params,
    model_macs,
    model_params,
    training_macs,
)

INTEGERS = {"compiles": False, "differentiable": False, "reason": "it computes with Python's integers"}
BASE, LARGE = LayerSpec(768, 12), LayerSpec(1024, 16)
GROUPED = LayerSpec(4096, 32, ffn=14336, kv_heads=8, gated=True)
SAMPLES = [
    Sample(layer_macs, (BASE, 512), **INTEGERS),
    Sample(layer_params, (GROUPED,), {"bias": "none", "norm": "rms"}, **INTEGERS),
    Sample(crossover, (BASE, LayerSpec(768, 12, attention="linear")), **INTEGERS),
    Sample(activation_bytes, (BASE, 512), **INTEGERS),
    Sample(cache_bytes, (GROUPED, 512), **INTEGERS),
    Sample(model_macs, (ModelSpec(BASE, 12, 30522), 512), **INTEGERS),
    Sample(model_params, (ModelSpec(BASE, 12, 30522),), **INTEGERS),
    Sample(training_macs, (ModelSpec(BASE, 12, 30522), 512), **INTEGERS),
]

QUADRATIC, ATTENTION = ["scores", "values"], ["qkv", "scores", "values", "out"]


def reference_matmul(rows, inner, columns):
    """Multiplications of a product of two matrices, counted one by one."""
    count = 0
    for _ in range(rows):
        for _ in range(columns):
            for _ in range(inner):
                count += 1
    return count


def reference_layer(H, h, h_k, d_k, d_v, F, n, *, gated=False, causal=False, cached=0, kind="softmax"):
    """Equations (1), (2) and (4), product by product."""
    total = sum(reference_matmul(n, H, width) for width in (h * d_k, h_k * d_k, h_k * d_v))
    for _ in range(h):
        for row in range(n):
            if kind == "softmax":
                keys = cached + (row + 1 if causal else n)
                total += reference_matmul(1, d_k, keys) + reference_matmul(1, keys, d_v)
            else:
                total += reference_matmul(1, d_k, d_v)
    if kind == "linear":
        total += sum(reference_matmul(d_k, n, d_v) for _ in range(h_k))
    return total + reference_matmul(n, h * d_v, H) + (3 if gated else 2) * reference_matmul(n, H, F)


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize(("cached", "n"), [(0, 5), (3, 4), (7, 1), (2, 0)])
def test_a_layer_is_the_sum_of_its_products(kind, causal, cached, n):
    layer = LayerSpec(6, 4, ffn=7, kv_heads=2, key_dim=3, value_dim=2, gated=True, attention=kind)
    expected = reference_layer(6, 4, 2, 3, 2, 7, n, gated=True, causal=causal, cached=cached, kind=kind)
    assert sum(layer_macs(layer, n, causal=causal, cached=cached).values()) == expected


def test_parts_of_bert_base():
    short = layer_macs(BASE, 128)
    assert short == {
        "qkv": 226492416,
        "scores": 12582912,
        "values": 12582912,
        "out": 75497472,
        "ffn": 603979776,
    }
    assert sum(short.values()) == 931135488
    assert list(layer_macs(BASE, 512).values()) == [905969664, 201326592, 201326592, 301989888, 2415919104]
    assert sum(layer_macs(BASE, 512).values()) == 4026531840


def test_where_the_parts_of_bert_cross():
    at = layer_macs(BASE, 1536)
    assert sum(at[part] for part in ATTENTION) == at["ffn"] == 7247757312
    at = layer_macs(BASE, 4608)
    assert sum(at[part] for part in QUADRATIC) == at["qkv"] + at["out"] + at["ffn"] == 32614907904
    for layer, feed, rest in ((BASE, 1536, 4608), (LARGE, 2048, 6144)):
        assert crossover(layer, layer, parts=ATTENTION, other_parts=["ffn"]) == feed
        assert crossover(layer, layer, parts=QUADRATIC, other_parts=["qkv", "out", "ffn"]) == rest


@pytest.mark.parametrize(("n", "percent"), [(128, 2.7), (512, 10.0), (1536, 25.0), (4608, 50.0)])
def test_share_of_the_quadratic_part(n, percent):
    parts = layer_macs(BASE, n)
    share = Fraction(parts["scores"] + parts["values"], sum(parts.values()))
    assert share == Fraction(n, 6 * 768 + n)
    assert round(100 * float(share), 1) == percent


def test_where_linear_attention_becomes_cheaper_depends_on_what_is_widened():
    core = {"parts": QUADRATIC, "other_parts": ["state", "reading"]}
    linear = {"attention": "linear"}
    assert crossover(BASE, LayerSpec(768, 12, **linear)) == 64
    assert crossover(BASE, LayerSpec(768, 12, key_dim=256, value_dim=256, **linear), **core) == 1024
    assert crossover(BASE, LayerSpec(768, 12, key_dim=256, value_dim=64, **linear), **core) == 256
    assert crossover(BASE, LayerSpec(768, 12, features=256, **linear)) == 512
    assert crossover(BASE, LayerSpec(768, 12, key_dim=256, value_dim=64, **linear)) == 2560
    assert crossover(BASE, LayerSpec(768, 12, key_dim=256, value_dim=256, **linear)) == 5632


BOUNDS = {
    "equal width": [1.014, 1.096, 1.205, 1.425, 1.863, 4.49],
    "four times": [0.841, 0.909, 1.000, 1.182, 1.545, 3.73],
}


def test_most_that_linear_attention_can_gain():
    for i, n in enumerate((128, 512, 1024, 2048, 4096, 16384)):
        parts = layer_macs(BASE, n)
        for name, wide in (("equal width", 64), ("four times", 256)):
            linear = layer_macs(LayerSpec(768, 12, key_dim=wide, value_dim=wide, attention="linear"), n)
            core = linear["state"] + linear["reading"]
            gain = sum(parts.values()) / (parts["qkv"] + parts["out"] + parts["ffn"] + core)
            assert gain == pytest.approx(BOUNDS[name][i], abs=0.005 if n == 16384 else 0.0006)


@pytest.mark.parametrize(("n", "gain"), [(128, 1.028), (512, 1.111)])
def test_gain_without_any_mixing(n, gain):
    without = sum(layer_macs(LayerSpec(768, 12, attention="none"), n).values())
    assert round(sum(layer_macs(BASE, n).values()) / without, 3) == gain


def test_grouped_heads_and_a_gated_feed_forward_part():
    assert sum(layer_macs(GROUPED, 4096).values()) == 1030792151040
    assert sum(layer_macs(GROUPED, 4096, causal=True).values()) == 962089451520


def test_twelve_layers_and_the_weights_of_bert():
    base = ModelSpec(BASE, 12, 30522, positions=512, types=2, pooler=True)
    assert model_macs(base, 128)["layers"] == 11173625856
    assert model_macs(base, 512)["layers"] == 48318382080
    parts = model_params(base)
    assert (parts["embeddings"], sum(layer_params(BASE).values())) == (23837184, 7087872)
    assert sum(parts.values()) == 109482240
    large = model_params(ModelSpec(LARGE, 24, 30522, positions=512, types=2, pooler=True))
    assert (large["embeddings"], sum(layer_params(LARGE).values())) == (31782912, 12596224)
    assert sum(large.values()) == 335141888


def test_activation_memory_is_the_published_formula():
    for n in (512, 1024, 4608):
        parts = activation_bytes(BASE, n)
        assert sum(parts.values()) == n * 768 * 34 + 5 * 12 * n * n
        fused = activation_bytes(BASE, n, fused=True)
        assert {**parts, "scores": 0} == fused
    assert sum(activation_bytes(BASE, 512).values()) == 29097984
    assert sum(activation_bytes(BASE, 1024).values()) == 89653248
    assert sum(activation_bytes(BASE, 512, batch=3).values()) == 3 * 29097984


def test_scores_exceed_the_rest_of_the_memory_from_435_tokens():
    def share(n):
        parts = activation_bytes(BASE, n)
        return parts["scores"] / sum(parts.values())

    assert share(435) < 0.5 < share(436)
    assert (round(share(512), 2), round(share(4608), 2)) == (0.54, 0.91)


@pytest.mark.parametrize(("wide", "equal"), [(64, Fraction(65, 2)), (256, 514)])
def test_where_the_cache_outgrows_the_state(wide, equal):
    state = cache_bytes(LayerSpec(768, 12, key_dim=wide, value_dim=wide, attention="linear"), 10**6)
    assert Fraction(state, cache_bytes(BASE, 1)) == equal
    assert cache_bytes(LayerSpec(768, 12, attention="none"), 100) == 0


def test_the_usual_estimate_of_training_is_the_count_without_vectors():
    model = ModelSpec(BASE, 12, 0)
    matrices = sum(12 * v for part, v in layer_params(BASE, bias="none").items() if part != "norms")
    n = 512
    assert 2 * training_macs(model, n) == n * (6 * matrices + 12 * 12 * 768 * n)
    assert training_macs(model, n, recompute=True) == 4 * sum(model_macs(model, n).values())


# ---- oracle ---------------------------------------------------------------------------------------------------------

SMALL = {"vocab_size": 97, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4}
CONFIGS = {
    "bert": ("BertConfig", {**SMALL, "max_position_embeddings": 32}),
    "roberta": ("RobertaConfig", {**SMALL, "max_position_embeddings": 32, "type_vocab_size": 1}),
    "gpt2": ("GPT2Config", {"vocab_size": 97, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 32}),
    "llama": ("LlamaConfig", {**SMALL, "num_key_value_heads": 2}),
    "mistral": ("MistralConfig", {**SMALL, "num_key_value_heads": 2, "head_dim": 8}),
    "qwen2": ("Qwen2Config", {**SMALL, "num_key_value_heads": 1}),
}


def hugging_face(name):
    transformers = pytest.importorskip("transformers")
    kind, sizes = CONFIGS[name]
    return transformers, getattr(transformers, kind)(**sizes)


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_are_those_of_transformers(name):
    transformers, config = hugging_face(name)
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config)
    assert sum(model_params(ModelSpec.from_config(config)).values()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("tied", [False, True])
def test_weights_of_a_head_are_those_of_transformers(tied):
    transformers, config = hugging_face("llama")
    config.tie_word_embeddings = tied
    model = transformers.AutoModelForCausalLM.from_config(config)
    spec = ModelSpec.from_config(config, head=True)
    assert spec.head == ("tied" if tied else "untied")
    assert sum(model_params(spec).values()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", CONFIGS)
def test_multiplications_are_those_that_transformers_executes(name, attention):
    transformers, config = hugging_face(name)
    model = transformers.AutoModel.from_config(config, attn_implementation=attention).eval()
    ids = torch.arange(2 * 9).view(2, 9)
    with torch.no_grad():
        found = count_macs(model, ids, use_cache=False)
    rotary = 0 if name in ("bert", "roberta", "gpt2") else 9 * model.layers[0].self_attn.head_dim // 2  # its angles
    expected = 2 * sum(model_macs(ModelSpec.from_config(config), 9).values())
    assert found.macs - expected in (0, rotary)
    assert found.uncounted == ()


def test_decoding_with_a_cache_is_what_transformers_executes():
    transformers, config = hugging_face("gpt2")
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    with torch.no_grad():
        past = model(torch.arange(7)[None], use_cache=True).past_key_values
        found = count_macs(model, torch.tensor([[7]]), past_key_values=past)
    assert found.macs == sum(model_macs(ModelSpec.from_config(config, head=True), 1, cached=7).values())


def torch_counts(call, *args):
    with FlopCounterMode(display=False) as counter:
        call(*args)
    return counter.get_total_flops()


PEERS = {
    "a perceptron and its backward pass": lambda: _backward(nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))),
    "convolutions and their backward pass": lambda: _convolved(),
    "attention in training": lambda: (nn.TransformerEncoderLayer(8, 2, 16), (torch.randn(5, 3, 8),)),
    "products": lambda: (lambda a, b: (a @ b, torch.baddbmm(b, a, b)), (torch.ones(2, 4, 4), torch.ones(2, 4, 4))),
}


def _backward(model):
    return lambda x: model(x).sum().backward(), (torch.randn(4, 5, requires_grad=True),)


def _convolved():
    model = nn.Sequential(nn.Conv1d(4, 6, 3, stride=2), nn.ConvTranspose1d(6, 2, 4, stride=2))
    return lambda x: model(x).sum().backward(), (torch.randn(2, 4, 11, requires_grad=True),)


@pytest.mark.parametrize("peer", PEERS)
def test_where_torch_s_counter_is_right_they_agree(peer):
    call, args = PEERS[peer]()
    found = count_macs(call, *args)
    assert found.flops == torch_counts(call, *args) > 0
    assert found.uncounted == ()


# ---- theorem --------------------------------------------------------------------------------------------------------

LAYERS = st.builds(
    lambda d, h, groups, **more: LayerSpec(d * h * groups, h * groups, kv_heads=h, **more),
    d=st.integers(1, 9),
    h=st.integers(1, 4),
    groups=st.integers(1, 3),
    ffn=st.one_of(st.none(), st.integers(0, 50)),
    gated=st.booleans(),
    value_dim=st.one_of(st.none(), st.integers(1, 9)),
    attention=st.sampled_from(["softmax", "linear", "none"]),
)


@given(LAYERS, st.integers(0, 200))
def test_twice_the_length_doubles_all_but_the_quadratic_parts(layer, n):
    once, twice = layer_macs(layer, n), layer_macs(layer, 2 * n)
    assert all(twice[part] == (4 if part in QUADRATIC else 2) * once[part] for part in once)


@given(LAYERS, LAYERS)
def test_at_the_crossover_both_cost_the_same(layer, other):
    length = crossover(layer, other)
    if length is None:
        return
    n, scale = length.numerator, length.denominator

    def times_denominator_squared(spec):
        parts = layer_macs(spec, n)
        return sum(count * (1 if part in QUADRATIC else scale) for part, count in parts.items())

    assert times_denominator_squared(layer) == times_denominator_squared(other)


@given(LAYERS, st.integers(0, 60), st.integers(0, 60), st.booleans())
def test_tokens_at_once_cost_what_they_cost_one_after_another(layer, cached, n, causal):
    one_by_one = sum(sum(layer_macs(layer, 1, cached=cached + i).values()) for i in range(n))
    assert sum(layer_macs(layer, n, cached=cached, causal=True).values()) == one_by_one


@given(LAYERS, st.integers(0, 60), st.integers(0, 60))
def test_context_of_the_same_length_costs_what_the_layer_itself_costs(layer, n, other):
    assert layer_macs(layer, n, context=n) == layer_macs(layer, n)
    crossed = layer_macs(layer, n, context=other)
    if layer.attention == "softmax":
        assert crossed["scores"] == n * other * layer.num_heads * layer.key_dim


class Layer(nn.Module):
    """A layer with grouped heads and a gated part, written out."""

    def __init__(self, spec, core):
        super().__init__()
        self.spec, self.core = spec, core
        H, widths = spec.hidden, (spec.num_heads * spec.key_dim, spec.kv_heads * spec.key_dim)
        self.query, self.key = (nn.Linear(H, width, bias=False) for width in widths)
        self.value = nn.Linear(H, spec.kv_heads * spec.value_dim, bias=False)
        self.out = nn.Linear(spec.num_heads * spec.value_dim, H, bias=False)
        self.up, self.gate, self.down = nn.Linear(H, spec.ffn), nn.Linear(H, spec.ffn), nn.Linear(spec.ffn, H)

    def forward(self, x):
        maps = ((self.query, self.spec.num_heads), (self.key, self.spec.kv_heads), (self.value, self.spec.kv_heads))
        q, k, v = (f(x).unflatten(-1, (heads, -1)).transpose(1, 2) for f, heads in maps)
        k, v = (t.repeat_interleave(self.spec.num_heads // self.spec.kv_heads, 1) for t in (k, v))
        x = x + self.out(self.core(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.silu(self.gate(x)) * self.up(x))


CORES = {
    "eager": ("softmax", lambda q, k, v: torch.softmax(q @ k.mT, -1) @ v),
    "fused": ("softmax", F.scaled_dot_product_attention),
    "linear": ("linear", lambda q, k, v: q @ (k.mT @ v)),
}


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("inference", [False, True])
def test_counting_a_run_gives_the_formula(core, inference):
    kind, function = CORES[core]
    spec = LayerSpec(24, 6, ffn=20, kv_heads=6 if kind == "linear" else 2, gated=True, attention=kind)
    with torch.inference_mode(inference):
        found = count_macs(Layer(spec, function), torch.randn(3, 7, 24))
    assert found.macs == 3 * sum(layer_macs(spec, 7).values())
    assert found.flops == 2 * found.macs
    assert sum(found.by_operation.values()) == found.macs
    assert found.uncounted == ()


@pytest.mark.parametrize("mode", ["train", "eval with gradients", "eval without", "inference"])
def test_every_path_of_torch_s_layer_counts_the_same(mode):
    model = nn.TransformerEncoderLayer(768, 12, 3072, batch_first=True).train(mode == "train")
    x = torch.zeros(1, 512, 768)
    grad = torch.inference_mode() if mode == "inference" else torch.set_grad_enabled(mode != "eval without")
    with grad:
        assert count_macs(model, x).macs == 4026531840


def test_padding_that_the_fast_path_leaves_out_is_not_counted():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are a prototype
        model = nn.TransformerEncoder(layer, 2).eval()
        lengths = torch.tensor([5, 9])
        padding = torch.arange(9) >= lengths[:, None]
        with torch.no_grad():
            found = count_macs(model, torch.zeros(2, 9, 16), src_key_padding_mask=padding)
    spec = LayerSpec(16, 2, ffn=32)
    assert found.macs == 2 * sum(sum(layer_macs(spec, n).values()) for n in (5, 9))


def test_cross_attention_by_the_module_s_fast_path():
    model = nn.MultiheadAttention(16, 2, batch_first=True).eval()
    query, context = torch.zeros(3, 4, 16), torch.zeros(3, 7, 16)
    expected = 3 * sum(layer_macs(LayerSpec(16, 2, ffn=0), 4, context=7).values())
    with torch.no_grad():
        assert count_macs(model, query, context, context, need_weights=False).macs == expected
        assert count_macs(model, query, query, query, need_weights=False).macs == 3 * sum(
            layer_macs(LayerSpec(16, 2, ffn=0), 4).values()
        )


def test_attention_of_512_tokens():
    q = torch.zeros(1, 12, 512, 64)
    assert count_macs(F.scaled_dot_product_attention, q, q, q).flops == 805306368


def test_fused_backward_computes_the_scores_again():
    q, k, v = (torch.randn(1, 2, 5, 4, requires_grad=True) for _ in range(3))
    found = count_macs(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward())
    assert found.macs == (2 + 5) * 2 * 5 * 5 * 4


def test_grouped_convolution_and_the_two_products_of_its_backward_pass():
    model, x = nn.Conv1d(4, 6, 3, groups=2, stride=2), torch.zeros(2, 4, 11, requires_grad=True)
    forward = (2 * 6 * 5) * (2 * 3)  # numbers that come out, and the kernel of one group
    assert count_macs(model, x).macs == forward
    assert count_macs(lambda: model(x).sum().backward()).macs == 3 * forward


def test_recurrent_layers():
    steps, batch, width, hidden = 6, 3, 4, 5
    x = torch.zeros(steps, batch, width)
    for model, gates in ((nn.LSTM(width, hidden), 4), (nn.GRU(width, hidden), 3)):
        assert count_macs(model, x).macs == steps * batch * gates * hidden * (width + hidden)


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_nothing_costs_nothing():
    for layer in (BASE, LayerSpec(768, 12, attention="linear"), GROUPED):
        assert set(layer_macs(layer, 0).values()) == {0}
    assert set(activation_bytes(BASE, 0).values()) == set(activation_bytes(BASE, 9, batch=0).values()) == {0}
    assert model_macs(ModelSpec(BASE, 0, 0, pooler=True, head="tied"), 0) == {"layers": 0, "pooler": 0, "head": 0}
    assert count_macs(nn.Linear(4, 4), torch.zeros(0, 4)).macs == 0


def test_integers_do_not_overflow():
    n = 10**12
    assert layer_macs(BASE, n)["scores"] == 768 * 10**24


def test_a_layer_without_a_feed_forward_part():
    bare = LayerSpec(8, 2, ffn=0)
    assert layer_macs(bare, 3)["ffn"] == layer_params(bare)["ffn"] == activation_bytes(bare, 3)["ffn"] == 0
    assert layer_params(bare)["norms"] == 16


@pytest.mark.parametrize(
    ("other", "parts"),
    [
        (BASE, {}),  # the same everywhere
        (LayerSpec(768, 12, ffn=1), {}),  # cheaper at every length
        (LayerSpec(768, 12, attention="none"), {}),  # equal at 0 only
    ],
)
def test_costs_that_never_meet(other, parts):
    assert crossover(BASE, other, **parts) is None


def test_counting_leaves_no_trace():
    model = nn.Linear(3, 3)
    x = torch.ones(2, 3)
    before = model(x)
    assert count_macs(model, x).macs == 18
    assert torch.equal(model(x), before)
    with pytest.raises(RuntimeError, match="halt"):
        count_macs(_halt)
    assert count_macs(model, x).macs == 18


def _halt():
    raise RuntimeError("halt")


def test_what_is_not_counted_is_said():
    model, x = nn.Bilinear(3, 4, 5), (torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.warns(UncountedOperationWarning, match="not counted: aten::_trilinear"):
        found = count_macs(model, *x)
    assert found.uncounted == ("aten::_trilinear",)


def test_linear_interpolation_is_no_product():
    x = torch.zeros(1, 1, 4, 4)
    assert count_macs(F.interpolate, x, scale_factor=2, mode="bilinear").uncounted == ()


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LayerSpec(10, 3), "hidden must be a multiple of num_heads .*: got 10 and 3. Pass key_dim"),
        (lambda: LayerSpec(12, 4, kv_heads=3), "kv_heads must divide num_heads: got 3 and 4"),
        (lambda: LayerSpec(0, 1), "hidden must lie between 1 and inf: got 0"),
        (lambda: LayerSpec(8, 2, ffn=-1), "ffn must lie between 0 and inf: got -1"),
        (lambda: LayerSpec(8, 2, features=4), "features must be None for attention 'softmax': got 4"),
        (lambda: layer_macs(BASE, -1), "tokens must lie between 0 and inf: got -1"),
        (lambda: layer_macs(BASE, 4, cached=2, context=3), "context must be None"),
        (lambda: layer_params(BASE, norm="batch"), "norm must be one of 'layer', 'rms'"),
        (lambda: crossover(BASE, BASE, parts=["state"]), "parts must be one of 'qkv', .*: got 'state'"),
        (lambda: activation_bytes(LayerSpec(8, 2, attention="linear"), 4), "layer must have softmax attention or none"),
        (lambda: activation_bytes(BASE, 4, itemsize=0), "itemsize must lie between 1"),
        (lambda: ModelSpec(BASE, 12, 100, head="both"), "head must be one of"),
        (lambda: ModelSpec.from_config(object()), "config must have a model_type of bert, .*: got None"),
    ],
)
def test_bad_sizes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LayerSpec(768.0, 12), r"hidden must be an integer: got 768.0 \(float\)"),
        (lambda: layer_macs(BASE, 1.5), "tokens must be an integer: got 1.5"),
        (lambda: count_macs("model"), "call must be a module or a function: got str"),
    ],
)
def test_wrong_types_are_named(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_biases_that_the_sizes_cannot_say_are_refused():
    _, config = hugging_face("llama")
    config.attention_bias = True
    with pytest.raises(ValueError, match="config must have no attention_bias: got True"):
        ModelSpec.from_config(config)
