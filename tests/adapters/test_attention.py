"""gezhi's attention in tiny random models: it is the formula, nothing leaks, caches and files hold what they must."""

from __future__ import annotations

import json
import math

import pytest
import tiny
import torch
from tiny import PADS, left_padded, logits, tokens

from gezhi.adapters.transformers import (
    ATTENTION,
    ENTROPY_SCALE,
    load_attention,
    prefix_tokens,
    register_attention,
    use_attention,
    use_entropy_scale,
)
from gezhi.adapters.transformers.linear import masked_linear_attention
from gezhi.nn import linear_attention_matrix
from gezhi.nn.linear_attention import cosine, double_softmax, elu1, exp
from gezhi.nn.masks import causal_mask, prefix_lm_mask, prove_visibility, window_mask

transformers = pytest.importorskip("transformers")

SIZES = tiny.SIZES | {"intermediate_size": 48}
DECODER = tiny.DECODER | tiny.NO_END
BART = {
    "vocab_size": 50,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "max_position_embeddings": 64,
    "init_std": 0.5,
    "eos_token_id": None,
    "forced_eos_token_id": None,
}
BUILD = {name: tiny.BUILD[name] for name in ("bert", "llama", "mistral, window 4")} | {
    "bart": lambda: transformers.BartForConditionalGeneration(transformers.BartConfig(**BART)),
}
KERNELS = ["softmax", "l2", "relu2", "elu1", "exp", "double_softmax", "cosine", "positive_random_features"]
LINEAR = KERNELS[3:]
LOG_N = {"scale": "log_n", "train_len": 6, "clip": False}
PARTS = {
    **{name: {"kernel": name} for name in KERNELS[1:]},
    "urpe": {"urpe": 3},
    "l2, urpe": {"kernel": "l2", "urpe": 3},
    "log n, relu2, urpe": LOG_N | {"kernel": "relu2", "urpe": 20},
    "log n, random features": LOG_N | {"kernel": "positive_random_features", "num_features": 5},
}
PREFIXES = {
    "prefix": {"prefix": 4},
    "prefix, log n, urpe": LOG_N | {"prefix": 4, "urpe": 3},
    "prefix, exp": {"prefix": 4, "kernel": "exp"},
}
FEW = ["l2, urpe", "elu1", "double_softmax", "cosine", "log n, random features"]


def pairs(*names, parts):
    """Every model with every part; a prefix is for decoders alone."""
    return [(name, part) for name in names for part in parts if not (name in ("bert", "bart") and part in PREFIXES)]


def built(name, **settings):
    """The model in float64, its factors by distance drawn, so that they count."""
    torch.manual_seed(0)
    model = use_attention(BUILD[name]().eval().double(), **settings)
    for path, parameter in model.named_parameters():
        if path.endswith("gezhi_urpe.table"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model


@pytest.fixture
def spied():
    """What the layers hand to the implementation, and what they get back, in order."""
    seen = []
    register_attention()
    interface = transformers.AttentionInterface
    own = interface()[ATTENTION]

    def spy(module, query, key, value, attention_mask, **kwargs):
        out = own(module, query, key, value, attention_mask, **kwargs)
        seen.append((module, query, key, value, out[0]))
        return out

    interface.register(ATTENTION, spy)
    yield seen
    interface.register(ATTENTION, own)


# ---- reference ------------------------------------------------------------------------------------------------------


def features(kernel, x, module):
    """φ of one token."""
    if kernel == "elu1":
        return [v + 1 if v > 0 else math.exp(v) for v in x.tolist()]
    if kernel == "exp":
        return [math.exp(v) for v in x.tolist()]
    if kernel == "cosine":
        return [1.0, *(x / x.norm()).tolist()]
    x = x * len(x) ** -0.25  # the root of the usual scale
    omega = module.gezhi_features.omega
    return [math.exp(float(w @ x) - float(x @ x) / 2) / math.sqrt(len(omega)) for w in omega]


def weights_of(kernel, query, keys, module):
    """The weights of one query on the keys that it sees, by the formula of the kernel."""
    if kernel == "double_softmax":
        channels = torch.stack([k.exp() for k in keys])
        return [float((query.softmax(0) * row / channels.sum(0)).sum()) for row in channels]
    if kernel in LINEAR:
        asked = features(kernel, query, module)
        products = [sum(map(math.prod, zip(asked, features(kernel, key, module), strict=True))) for key in keys]
        return [product / sum(products) for product in products]
    scores = [float(query @ key) / math.sqrt(len(query)) for key in keys]
    if kernel == "relu2":
        return [max(score, 0) ** 2 / len(keys) for score in scores]
    raised = [math.exp(score) for score in scores]
    norm = math.hypot(*raised) if kernel == "l2" else sum(raised)
    return [x / norm for x in raised]


def reference(call, sees, settings, crosses=False):
    """One layer by loops; `sees(b, i)` lists the keys of query i of row b."""
    module, query, key, value, _ = call
    batch, heads, n_q, _ = query.shape
    groups = heads // key.shape[1]
    out = torch.zeros(batch, n_q, heads, value.shape[-1], dtype=torch.float64)
    for b, h, i in torch.cartesian_prod(*map(torch.arange, (batch, heads, n_q))).tolist():
        visible = sees(b, i)
        if not visible:
            continue
        factor = math.log(len(visible)) / math.log(settings["train_len"]) if settings.get("scale") else 1.0
        keys, values = key[b, h // groups], value[b, h // groups]
        found = weights_of(
            settings.get("kernel", "softmax"), query[b, h, i] * factor, [keys[j] for j in visible], module
        )
        for j, weight in zip(visible, found, strict=True):
            if "urpe" in settings and not crosses:
                reach = settings["urpe"]
                weight *= module.gezhi_urpe.table[h, min(max(j - i, -reach), reach) + reach].item()
            out[b, i, h] += weight * values[j]
    return out


def looks(name, mask, prefix=0):
    """Which keys a query of a decoder or an encoder sees, said in words of tokens."""
    there = [[j for j, token in enumerate(row) if token] for row in mask.tolist()]

    def sees(b, i):
        if name == "bert":
            return there[b]
        window = 4 if "window" in name else 99
        first = there[b][:prefix]
        return [j for j in there[b] if abs(i - j) < window and (j <= i or j in first)]

    return sees


@pytest.mark.parametrize(("name", "parts"), pairs("bert", "llama", "mistral, window 4", parts=(*PARTS, *PREFIXES)))
def test_every_layer_computes_the_formula_under_padding(name, parts, spied):
    settings = (PARTS | PREFIXES)[parts]
    model = built(name, **settings)
    ids, inputs = left_padded(tokens())
    logits(model, ids, **inputs)
    mask = inputs["attention_mask"]
    assert len(spied) == 2
    for call in spied:
        expected = reference(call, looks(name, mask, settings.get("prefix", 0)), settings)
        there = mask.bool()
        torch.testing.assert_close(call[4][there], expected[there], atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("parts", PARTS)
def test_an_encoder_and_its_decoder_attend_each_as_it_sees(parts, spied):
    """Factors by distance are in no layer between the two; kernel and scale are in all."""
    settings = PARTS[parts]
    model = built("bart", **settings)
    ids, decoder_ids, mask = tokens(), tokens()[:, :5], torch.ones(2, 12).long()
    mask[1, :PADS] = 0
    with torch.no_grad():
        model(input_ids=ids, attention_mask=mask, decoder_input_ids=decoder_ids)
    there = [[j for j, token in enumerate(row) if token] for row in mask.tolist()]
    encoder, decoder, cross = spied
    sees = {id(decoder): lambda _, i: list(range(i + 1))}
    for call in (encoder, decoder, cross):
        torch.testing.assert_close(
            call[4],
            reference(call, sees.get(id(call), lambda b, _: there[b]), settings, call is cross),
            atol=1e-9,
            rtol=1e-7,
        )
    if "urpe" in settings:
        assert (cross[0].gezhi_urpe, len(encoder[0].gezhi_urpe.table), len(decoder[0].gezhi_urpe.table)) == (None, 4, 2)


@pytest.mark.parametrize("kernel", [elu1, exp, double_softmax, cosine], ids=["elu1", "exp", "double_softmax", "cosine"])
def test_linear_attention_under_a_mask_is_its_matrix(kernel):
    query, key, value = torch.randn(3, 2, 4, 7, 8, dtype=torch.float64)
    mask = torch.rand(2, 1, 7, 7) < 0.5
    out = masked_linear_attention(query, key[:, :2], value[:, :2], mask, kernel=kernel, scale=1.0)
    key, value = (x[:, :2].repeat_interleave(2, 1) for x in (key, value))
    expected = linear_attention_matrix(query, key, kernel=kernel, mask=mask) @ value
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=1e-9)


def test_a_hidden_key_however_large_changes_no_bit_of_linear_attention():
    query, key, value = torch.randn(3, 1, 2, 5, 8)
    mask = torch.ones(5, 5).tril().bool()
    first = masked_linear_attention(query, key, value, mask, kernel=exp, scale=1.0)
    key[:, :, 3:] += 60
    again = masked_linear_attention(query, key, value, mask, kernel=exp, scale=1.0)
    assert torch.equal(again[:, :, :3], first[:, :, :3])
    assert again.isfinite().all()


# ---- theorems -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "mistral, window 4"])
@pytest.mark.parametrize("parts", ["l2, urpe", "log n, relu2, urpe", *LINEAR, *PREFIXES])
def test_no_output_depends_on_a_hidden_token(name, parts):
    settings = (PARTS | PREFIXES)[parts]
    model = built(name, **settings).model
    n = 8
    allowed = prefix_lm_mask(prefix_length=settings["prefix"], n=n) if "prefix" in settings else causal_mask(n)
    if "window" in name:
        allowed = allowed & window_mask(n, 3, 3)
    x = torch.randn(1, n, 32, dtype=torch.float64)

    def run(x):
        return model(inputs_embeds=x, use_cache=False).last_hidden_state

    assert prove_visibility(run, allowed, x, layers=2) == []
    less = allowed.clone()
    less[-1, -2] = False  # the proof finds what it is told to be hidden
    assert prove_visibility(run, less, x, layers=1)


ONE = SIZES | {"num_hidden_layers": 1, "max_position_embeddings": 64}
GROUPED = ONE | {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
FAMILIES = {
    "gpt2": lambda: transformers.GPT2Model(
        transformers.GPT2Config(vocab_size=50, n_embd=32, n_layer=1, n_head=4, bos_token_id=1, eos_token_id=2)
    ),
    "qwen3": lambda: transformers.Qwen3Model(transformers.Qwen3Config(**GROUPED)),
    "gemma3, window 4": lambda: transformers.Gemma3TextModel(
        transformers.Gemma3TextConfig(**GROUPED, sliding_window=4, layer_types=["sliding_attention"])
    ),
    "bert as a decoder": lambda: transformers.BertModel(transformers.BertConfig(**ONE, is_decoder=True)),
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("settings", [{"kernel": "exp"}, {"urpe": 3}], ids=["exp", "urpe"])
def test_no_family_of_decoders_looks_ahead_or_at_padding(name, settings):
    model, mask = use_attention(FAMILIES[name]().eval().double(), **settings), causal_mask(6)
    mask = mask & window_mask(6, 3) if "window" in name else mask
    x, there = torch.randn(1, 6, 32, dtype=torch.float64), torch.tensor([[0, 1, 1, 1, 1, 1]])
    for inputs in ({}, {"attention_mask": there}):

        def run(x, inputs=inputs):
            return model(inputs_embeds=x, use_cache=False, **inputs).last_hidden_state[:, 1:]

        def padded(x, run=run):
            return torch.cat([x[:, :1], run(x)], 1)

        hidden = mask.clone()
        if inputs:
            hidden[1:, 0] = False
        assert prove_visibility(padded, hidden, x) == []


@pytest.mark.parametrize(
    ("name", "parts"), pairs("bert", "llama", "mistral, window 4", parts=(*FEW, "log n, relu2, urpe", *PREFIXES))
)
def test_left_padding_changes_nothing(name, parts):
    settings = (PARTS | PREFIXES)[parts]
    model, ids = built(name, **settings), tokens()
    padded, inputs = left_padded(ids)
    out = logits(model, padded, **inputs)
    assert out.isfinite().all()
    torch.testing.assert_close(out[1, PADS:], logits(model, ids)[1], atol=1e-8, rtol=0)


@pytest.mark.parametrize(("name", "parts"), pairs("llama", "mistral, window 4", "bart", parts=(*FEW, "exp", *PREFIXES)))
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generation_with_a_cache_equals_generation_without(name, parts, cache):
    settings = (PARTS | PREFIXES)[parts]
    model = built(name, **settings)
    padded, inputs = left_padded(tokens())
    asked = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "return_dict_in_generate": True}
    asked |= {"output_logits": True, "attention_mask": inputs["attention_mask"], "pad_token_id": 0}
    without = model.generate(padded, use_cache=False, **asked)
    cached = model.generate(padded, cache_implementation=cache, disable_compile=True, **asked)
    assert torch.equal(without.sequences, cached.sequences)
    torch.testing.assert_close(torch.stack(without.logits), torch.stack(cached.logits), atol=1e-8, rtol=0)


@pytest.mark.parametrize("parts", ["urpe", "elu1"])
def test_a_static_cache_is_read_where_it_is_filled_though_every_row_ends_in_padding(parts):
    model, ids = built("llama", **PARTS[parts]), tokens(8)
    mask = torch.ones_like(ids)
    mask[0, 6:] = mask[1, 7:] = 0
    cache = transformers.StaticCache(config=model.config, max_cache_len=16)
    out = logits(model, ids, attention_mask=mask, past_key_values=cache)
    expected = logits(model, ids, attention_mask=mask)
    torch.testing.assert_close(out[mask.bool()], expected[mask.bool()], atol=1e-9, rtol=0)


@pytest.mark.parametrize("parts", ["elu1", "l2, urpe"])
def test_a_prompt_read_in_two_parts_gives_what_it_gives_whole(parts):
    model, ids = built("llama", **PARTS[parts]), tokens()
    cache = transformers.DynamicCache(config=model.config)
    first = logits(model, ids[:, :7], past_key_values=cache)
    second = logits(model, ids[:, 7:], past_key_values=cache)
    torch.testing.assert_close(torch.cat([first, second], 1), logits(model, ids), atol=1e-9, rtol=0)


def test_documents_packed_into_a_row_do_not_see_each_other():
    ids = tokens()[:1]
    for settings in ({"kernel": "exp"}, {"prefix": 3, "kernel": "l2"}):
        model = built("llama", **settings)
        positions = torch.tensor([[*range(5), *range(7)]])
        packed = logits(model, ids, position_ids=positions, use_cache=False)
        torch.testing.assert_close(packed[:, :5], logits(model, ids[:, :5]), atol=1e-9, rtol=0)
        alone = logits(use_attention(model, kernel=settings["kernel"]), ids[:, 5:])
        torch.testing.assert_close(packed[:, 5:], alone, atol=1e-9, rtol=0)


def test_each_row_has_the_prefix_that_is_given_for_it():
    model, ids = built("llama", prefix="given", kernel="l2"), tokens()
    padded, inputs = left_padded(ids)
    with prefix_tokens(torch.tensor([3, 6])):
        both = logits(model, padded, **inputs)
    three, six = (logits(use_attention(model, prefix=k, kernel="l2"), ids) for k in (3, 6))
    torch.testing.assert_close(both[0, :12], three[0], atol=1e-9, rtol=0)
    torch.testing.assert_close(both[1, PADS:], six[1], atol=1e-9, rtol=0)


def test_beams_share_the_prefix_of_their_row():
    model, (padded, inputs) = built("llama", prefix="given"), left_padded(tokens())
    asked = {"max_new_tokens": 3, "num_beams": 2, "pad_token_id": 0, "attention_mask": inputs["attention_mask"]}
    with prefix_tokens(torch.tensor([17, 12])):
        cached, without = (model.generate(padded, use_cache=use, **asked) for use in (True, False))
    assert torch.equal(cached, without)


def test_factors_start_at_one_and_change_nothing_until_they_are_trained():
    torch.manual_seed(0)
    model, ids = BUILD["llama"]().double(), tokens()
    plain = logits(model, ids)
    use_attention(model, urpe=4)
    torch.testing.assert_close(logits(model, ids), plain, atol=1e-9, rtol=0)
    padded, inputs = left_padded(ids)
    model(padded, labels=padded.masked_fill(inputs["attention_mask"] == 0, -100), **inputs).loss.backward()
    for layer in model.model.layers:
        gradient = layer.self_attn.gezhi_urpe.table.grad
        assert gradient[:, :5].abs().min() > 0
        assert (gradient[:, 5:] == 0).all()  # a decoder sees no key ahead


@pytest.mark.parametrize("kernel", LINEAR)
def test_linear_attention_trains_under_padding(kernel):
    model, (padded, inputs) = built("mistral, window 4", kernel=kernel).train(), left_padded(tokens())
    model(padded, labels=padded, **inputs).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.compiles
@pytest.mark.parametrize("parts", ["l2, urpe", "exp", "given"])
def test_a_compiled_forward_is_the_eager_one(parts):
    settings = (PARTS | {"given": LOG_N | {"prefix": "given", "kernel": "positive_random_features"}})[parts]
    model, (padded, inputs) = built("llama", **settings), left_padded(tokens())
    del model.model.layers[1]
    model.config.num_hidden_layers = 1
    with prefix_tokens(torch.tensor([3, 6])):
        expected = logits(model, padded, **inputs)
        compiled = logits(torch.compile(model, backend="eager", fullgraph=True), padded, **inputs)
    torch.testing.assert_close(compiled, expected, atol=1e-8, rtol=0)


# ---- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [*PARTS, "prefix, exp"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_dtype(parts, dtype):
    model = built("llama", **(PARTS | PREFIXES)[parts]).to(dtype)
    out = logits(model, tokens())
    assert out.dtype == dtype
    assert out.isfinite().all()


@pytest.mark.parametrize(
    ("saved_as", "loaded_as"),
    [("llama", "LlamaForCausalLM"), ("llama", "LlamaModel"), ("bert", "BertModel"), ("bart", "BartModel")],
)
def test_a_saved_model_comes_back_with_its_factors_and_features(saved_as, loaded_as, tmp_path):
    for settings in ({"urpe": 3}, LOG_N | {"kernel": "positive_random_features"}):
        model = built(saved_as, **settings).float()
        if "kernel" in settings:
            for module in model.modules():
                if hasattr(module, "redraw_"):
                    module.redraw_()
        model.save_pretrained(tmp_path)
        cls = getattr(transformers, loaded_as)
        again = cls.from_pretrained(tmp_path).eval()
        inputs = {"decoder_input_ids": tokens()} if saved_as == "bart" else {}
        with pytest.raises(ValueError, match=r"attention must hold gezhi_.*call load_attention"):
            again(tokens(), **inputs)
        assert load_attention(again, tmp_path) is again
        own = model if loaded_as == type(model).__name__ else model.base_model
        torch.testing.assert_close(
            logits(again, tokens(), **inputs), logits(own, tokens(), **inputs), atol=1e-6, rtol=0
        )


def test_settings_without_tensors_come_back_by_themselves(tmp_path):
    settings = {"kernel": "elu1", "scale": "log_n", "train_len": 6, "prefix": 3}
    model = built("llama", **settings).float()
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["gezhi_attention"] == {
        "kernel": "elu1",
        "num_features": None,
        "scale": "log_n",
        "urpe": None,
        "prefix": 3,
    }
    assert (written["attn_implementation"], written["entropy_scale_train_len"]) == (ATTENTION, 6)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(again, tokens()), logits(model, tokens()))
    again.set_attn_implementation("sdpa")  # as versions that ignore the entry in the config do
    assert load_attention(again, tmp_path) is again
    assert torch.equal(logits(again, tokens()), logits(model, tokens()))
    again.save_pretrained(tmp_path / "again")
    third = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again").eval()
    assert torch.equal(logits(third, tokens()), logits(model, tokens()))


def test_where_nobody_registered_it_loading_fails_aloud(tmp_path, monkeypatch):
    built("llama", kernel="elu1").float().save_pretrained(tmp_path)
    for interface in (transformers.AttentionInterface, transformers.AttentionMaskInterface):
        monkeypatch.delitem(interface._global_mapping, ATTENTION)
    with pytest.raises(ValueError, match=f'attn_implementation="{ATTENTION}"` is not supported'):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", BUILD)
def test_without_arguments_the_model_is_as_transformers_made_it(name):
    torch.manual_seed(0)
    model = BUILD[name]().eval()
    before, state = model.config.to_dict(), set(model.state_dict())
    inputs = {"decoder_input_ids": tokens()} if name == "bart" else {}
    plain = logits(model, tokens(), **inputs)
    for settings in ({"urpe": 3}, {"kernel": "positive_random_features"}, LOG_N):
        assert (
            not torch.equal(logits(use_attention(model, **settings), tokens(), **inputs), plain) or "urpe" in settings
        )
    use_attention(model)
    assert (model.config.to_dict(), set(model.state_dict()), model.config._attn_implementation) == (
        before,
        state,
        "sdpa",
    )
    assert torch.equal(logits(model, tokens(), **inputs), plain)


def test_trained_factors_stay_when_another_part_is_switched():
    model = built("llama", urpe=3)
    table = model.model.layers[0].self_attn.gezhi_urpe.table
    use_attention(model, urpe=3, kernel="l2")
    assert model.model.layers[0].self_attn.gezhi_urpe.table is table
    use_attention(model, urpe=2)
    assert (model.model.layers[0].self_attn.gezhi_urpe.table == 1).all()


def test_the_scale_alone_is_use_entropy_scale():
    one, other = built("llama", **LOG_N), use_entropy_scale(built("llama"), train_len=6, clip=False)
    assert one.config.to_dict() == other.config.to_dict()
    assert one.config._attn_implementation == ENTROPY_SCALE
    assert torch.equal(logits(one, tokens()), logits(other, tokens()))


def test_a_bias_on_positions_goes_with_factors_by_distance(spied):
    config = transformers.T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(config).eval().double()
    mask = torch.ones(2, 12).long()
    mask[1, :PADS] = 0
    inputs = {"attention_mask": mask, "decoder_input_ids": tokens()[:, :5]}
    plain = logits(model, tokens(), **inputs)
    use_attention(model, urpe=3)
    torch.testing.assert_close(logits(model, tokens(), **inputs), plain, atol=1e-9, rtol=0)
    assert [call[0].gezhi_urpe is None for call in spied] == [False] * 3 + [True, False, True]


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("llama", {"kernel": "elu2"}, "kernel must be one of 'softmax', 'l2'"),
        ("llama", {"kernel": "elu1", "urpe": 3}, "urpe must be left out with a feature map"),
        (
            "llama",
            {"kernel": "elu1", "num_features": 3},
            "num_features must be left out unless kernel='positive_random",
        ),
        ("llama", {"kernel": "positive_random_features", "num_features": 0}, "num_features must lie between 1"),
        ("llama", {"scale": "log"}, "scale must be one of None, 'log_n'"),
        ("llama", {"train_len": 512}, "train_len must come with scale='log_n'"),
        ("llama", {"scale": "log_n", "train_len": 1}, "train_len must lie strictly between 1"),
        ("llama", {"urpe": -1}, "urpe must lie between 0"),
        ("llama", {"prefix": 0}, "prefix must lie between 1"),
        ("bert", {"prefix": 3}, "model must be a decoder alone .* got BertModel. An encoder sees"),
        ("bart", {"prefix": 3}, "model must be a decoder alone .* got BartForConditionalGeneration"),
    ],
)
def test_what_is_refused_leaves_the_model_as_it_was(name, settings, message):
    torch.manual_seed(0)
    model = use_attention(BUILD[name]().eval(), urpe=2)
    before, state, chosen = model.config.to_dict(), set(model.state_dict()), model.config._attn_implementation
    with pytest.raises(ValueError, match=message):
        use_attention(model, **settings)
    assert (model.config.to_dict(), set(model.state_dict()), model.config._attn_implementation) == (
        before,
        state,
        chosen,
    )


def test_capped_logits_and_sinks_are_refused_and_left_as_they_were():
    model = transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**DECODER, head_dim=8))
    before = model.config.to_dict()
    with pytest.raises(ValueError, match="model must attend as transformers' sdpa does: got Gemma2"):
        use_attention(model, kernel="elu1")
    assert model.config.to_dict() == before


def test_a_feature_map_says_at_the_first_call_what_it_cannot_do():
    config = transformers.BertConfig(**SIZES, max_position_embeddings=64)
    model = use_attention(transformers.BertModel(config), kernel="elu1")
    with pytest.raises(ValueError, match=r"must be without dropout: got BertSelfAttention\. Set the dropout"):
        model.train()(tokens())
    with pytest.raises(ValueError, match="must be without a mask of numbers"):
        model.eval()(tokens(), attention_mask=torch.zeros(2, 1, 12, 12))
    t5 = transformers.T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4)
    with pytest.raises(ValueError, match="must be without a bias on positions: got T5Attention"):
        use_attention(transformers.T5EncoderModel(t5).eval(), kernel="exp")(tokens())


def test_a_prefix_that_is_to_be_given_is_asked_for():
    model = built("llama", prefix="given")
    with pytest.raises(ValueError, match=r"the prefix must be given for every call.*with prefix_tokens"):
        logits(model, tokens())
    with (
        prefix_tokens(torch.tensor([1, 2, 3])),
        pytest.raises(ValueError, match="counts must have an entry a row, 2: got 3"),
    ):
        logits(model, tokens())
    with pytest.raises(ValueError, match="counts must have the shape"), prefix_tokens(torch.ones(2, 2).long()):
        pass
    with pytest.raises(TypeError, match="counts must be integers"), prefix_tokens(torch.ones(2)):
        pass
    with pytest.raises(ValueError, match="the prefix must be given"):  # what was given is gone
        logits(model, tokens())


def test_a_folder_without_the_tensors_is_refused(tmp_path):
    model = built("llama", urpe=3).float()
    model.save_pretrained(tmp_path)
    built("llama").float().save_pretrained(tmp_path / "plain")
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"hold one tensor model.layers.0.self_attn.gezhi_urpe.table .*: got 0"):
        load_attention(again, tmp_path / "plain")
    assert not hasattr(again.model.layers[0].self_attn, "gezhi_urpe")
    again.config.gezhi_attention["urpe"] = 4
    with pytest.raises(ValueError, match=r"have the shape \(4, 9\): got \(4, 7\)"):
        load_attention(again, tmp_path)
