"""The attention implementation in tiny random models: nothing leaks, and what each query sees is counted as it is."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from gezhi.adapters.transformers import (
    ENTROPY_SCALE,
    register_entropy_scale,
    train_length,
    use_entropy_scale,
    visible_keys,
)

transformers = pytest.importorskip("transformers")

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.5,
}
DECODER = SIZES | {"intermediate_size": 48, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1}
NO_END = {"eos_token_id": None, "max_position_embeddings": 64}
BUILD = {
    "bert": lambda: transformers.BertModel(
        transformers.BertConfig(**SIZES, intermediate_size=48, max_position_embeddings=64)
    ),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**DECODER, **NO_END)),
    "gpt2": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**SIZES, **NO_END, bos_token_id=1)),
    "mistral, window 4": lambda: transformers.MistralForCausalLM(
        transformers.MistralConfig(**DECODER, **NO_END, head_dim=8, sliding_window=4)
    ),
}
DECODERS = [name for name in BUILD if name != "bert"]
PADS = 5


def built(name, **settings):
    torch.manual_seed(0)
    model = BUILD[name]().eval().double()
    return use_entropy_scale(model, **settings) if settings else model


def tokens(n=12):
    return torch.randint(1, 50, (2, n), generator=torch.Generator().manual_seed(1))


def logits(model, ids, **inputs):
    with torch.no_grad():
        return model(ids, **inputs)[0]


def left_padded(ids):
    """Padding in front of the second sequence only, with the positions that its tokens had."""
    padded = torch.stack([torch.cat([ids[0], ids[0, :PADS]]), torch.cat([torch.zeros(PADS).long(), ids[1]])])
    mask = torch.ones_like(padded)
    mask[1, :PADS] = 0
    return padded, {"attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}


def per_query(model, ids, factors, monkeypatch):
    """The model's plain sdpa with the queries of each position multiplied by hand."""
    plain = transformers.AttentionInterface()["sdpa"]

    def attend(module, query, *args, **kwargs):
        return plain(module, query * factors[:, None], *args, **kwargs)

    monkeypatch.setitem(transformers.AttentionInterface._global_mapping, "sdpa", attend)
    model.set_attn_implementation("sdpa")
    return logits(model, ids)


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILD)
def test_it_is_sdpa_with_each_query_multiplied_by_its_factor(name, monkeypatch):
    model, ids = built(name, train_len=6, clip=False), tokens()
    out = logits(model, ids)
    seen = {"bert": [12] * 12, "mistral, window 4": [min(i + 1, 4) for i in range(12)]}.get(name, list(range(1, 13)))
    factors = torch.tensor([math.log(n) / math.log(6) for n in seen], dtype=torch.float64)
    plain = logits(built(name), ids)
    torch.testing.assert_close(out, per_query(model, ids, factors, monkeypatch), atol=1e-9, rtol=0)
    assert (out - plain).abs().max() > 0.1


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("other", ["sdpa", "eager"])
def test_at_the_training_length_or_clipped_inside_it_nothing_changes(name, other):
    model, ids = built(name), tokens()
    model.set_attn_implementation(other)
    expected = logits(model, ids)
    clipped = logits(use_entropy_scale(model, train_len=12), ids)
    tolerance = {"sdpa": 1e-9, "eager": 1e-4}[other]  # eager softmax is in single precision
    torch.testing.assert_close(clipped, expected, atol=tolerance, rtol=0)
    if name == "bert":
        whole = logits(use_entropy_scale(model, train_len=12, clip=False), ids)
        torch.testing.assert_close(whole, expected, atol=tolerance, rtol=0)


def test_visible_keys_of_every_kind_of_mask():
    query, key = torch.zeros(2, 4, 3, 8), torch.zeros(2, 2, 5, 8)
    allowed = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]).bool().expand(2, 1, 3, 5)
    added = [
        torch.zeros(2, 1, 3, 5, dtype=d).masked_fill(~allowed, torch.finfo(d).min) for d in (torch.float32, torch.half)
    ]
    added.append(torch.where(allowed, -3.0, -math.inf))
    for mask in (allowed, *added):
        assert visible_keys(query, key, mask, True)[1, 0].tolist() == [[2], [3], [0]]
    assert visible_keys(query, key, None, False) == 5
    assert visible_keys(query, key, None, True).flatten().tolist() == [1, 2, 3]
    assert visible_keys(query[:, :, :1], key, None, True) == 5


# ---- theorems: nothing leaks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILD)
def test_left_padding_changes_nothing(name):
    model, ids = built(name, train_len=6, clip=False), tokens()
    padded, inputs = left_padded(ids)
    out = logits(model, padded, **inputs)
    assert out[0].isfinite().all()
    torch.testing.assert_close(out[1, PADS:], logits(model, ids)[1], atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", BUILD)
def test_right_padding_and_its_content_change_nothing(name):
    model, ids = built(name, train_len=6, clip=False), tokens()
    mask = torch.ones(2, 12 + PADS).long()
    mask[:, 12:] = 0
    for filler in (0, 7):
        padded = torch.cat([ids, torch.full((2, PADS), filler)], 1)
        out = logits(model, padded, attention_mask=mask)[:, :12]
        torch.testing.assert_close(out, logits(model, ids), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", DECODERS)
def test_the_future_never_influences_the_past(name):
    model, ids = built(name, train_len=6, clip=False), tokens()
    whole = logits(model, ids)
    changed = ids.clone()
    changed[:, 8:] = (ids[:, 8:] + 1) % 49 + 1
    assert torch.equal(logits(model, changed)[:, :8], whole[:, :8])
    assert not torch.equal(logits(model, changed)[:, 8:], whole[:, 8:])
    torch.testing.assert_close(logits(model, ids[:, :8]), whole[:, :8], atol=1e-9, rtol=0)
    padded, inputs = left_padded(ids)
    changed = padded.clone()
    changed[:, -2:] = 3
    before, after = (logits(model, x, **inputs)[:, :-2] for x in (padded, changed))
    assert torch.equal(before, after)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generation_with_a_cache_equals_generation_without(name, cache):
    model = built(name, train_len=6, clip=False)
    padded, inputs = left_padded(tokens())
    settings = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "return_dict_in_generate": True}
    settings |= {"output_logits": True, "attention_mask": inputs["attention_mask"], "pad_token_id": 0}
    without = model.generate(padded, use_cache=False, **settings)
    cached = model.generate(padded, cache_implementation=cache, disable_compile=True, **settings)
    assert torch.equal(without.sequences, cached.sequences)
    torch.testing.assert_close(torch.stack(without.logits), torch.stack(cached.logits), atol=1e-9, rtol=0)


def test_without_a_mask_function_transformers_would_show_everything():
    """Why both are registered together; if this fails, transformers has become safer."""
    register_entropy_scale()
    attention = transformers.AttentionInterface()[ENTROPY_SCALE]
    transformers.AttentionInterface.register("no_mask_function", attention)
    try:
        model, ids = built("bert"), tokens()
        model.set_attn_implementation("no_mask_function")
        mask = torch.ones_like(ids)
        mask[:, 8:] = 0
        assert torch.equal(logits(model, ids, attention_mask=mask), logits(model, ids))
    finally:
        del transformers.AttentionInterface._global_mapping["no_mask_function"]


# ---- gradient -------------------------------------------------------------------------------------------------------


def test_it_trains_under_padding():
    model = built("llama", train_len=6, clip=False)
    padded, inputs = left_padded(tokens())
    labels = padded.masked_fill(inputs["attention_mask"] == 0, -100)
    model(padded, labels=labels, **inputs).loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_the_training_length_is_saved_with_the_model(tmp_path):
    model, ids = built("llama", train_len=6, clip=False).float(), tokens()
    model.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation=register_entropy_scale())
    assert (loaded.config.entropy_scale_train_len, loaded.config.entropy_scale_clip) == (6, False)
    assert torch.equal(logits(loaded.eval(), ids), logits(model, ids))


def test_without_settings_the_length_is_that_of_the_positions_and_clipped():
    model, ids = built("gpt2"), tokens()
    expected = logits(model, ids)
    model.set_attn_implementation(register_entropy_scale())
    torch.testing.assert_close(logits(model, ids), expected, atol=1e-9, rtol=0)
    assert train_length(model.config) == 64


def test_half_precision_keeps_its_dtype():
    model = built("llama", train_len=6, clip=False).bfloat16()
    out = logits(model, tokens())
    assert out.dtype == torch.bfloat16
    assert out.isfinite().all()


def test_importing_the_adapters_loads_no_transformers():
    code = "import sys, gezhi.adapters, gezhi.adapters.transformers; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_a_length_that_nobody_stated_is_asked_for():
    with pytest.raises(ValueError, match=r"must say at which length it was trained.*Set entropy_scale_train_len"):
        train_length(transformers.T5Config())
    with pytest.raises(ValueError, match="entropy_scale_train_len must lie strictly between 1"):
        built("llama", train_len=1)


def test_models_outside_the_interface_are_refused():
    bloom = transformers.BloomModel(transformers.BloomConfig(vocab_size=50, hidden_size=32, n_layer=1, n_head=4))
    with pytest.raises(ValueError, match="must go through transformers' AttentionInterface: got BloomModel"):
        use_entropy_scale(bloom)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gezhi\[hf\]'"):
        register_entropy_scale()
