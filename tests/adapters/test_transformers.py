"""The attention implementation in tiny random models: nothing leaks, and what each query sees is counted as it is."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap

import pytest
import torch
from tiny import BUILD, DECODER, NO_END, PADS, left_padded, logits, tokens

from gezhi.adapters.transformers import (
    BEYOND_SDPA,
    ENTROPY_SCALE,
    register_entropy_scale,
    train_length,
    use_entropy_scale,
    visible_keys,
)
from gezhi.adapters.transformers import attend as attending

transformers = pytest.importorskip("transformers")

DECODERS = [name for name in BUILD if name != "bert"]


def built(name, **settings):
    torch.manual_seed(0)
    model = BUILD[name]().eval().double()
    return use_entropy_scale(model, **settings) if settings else model


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
    assert visible_keys(query, key[:, :, :2], None, True).flatten().tolist() == [1, 2, 2]


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


def saved(tmp_path, name="llama"):
    model = built(name, train_len=6, clip=False).float()
    model.save_pretrained(tmp_path)
    return model


def test_a_plain_reload_has_the_scale_again_and_so_has_what_is_saved_of_it(tmp_path):
    model, ids = saved(tmp_path / "first"), tokens()
    for folder in ("first", "second", "third"):
        loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / folder).eval()
        assert loaded.config._attn_implementation == ENTROPY_SCALE
        assert (loaded.config.entropy_scale_train_len, loaded.config.entropy_scale_clip) == (6, False)
        assert torch.equal(logits(loaded, ids), logits(model, ids))
        following = {"first": "second", "second": "third"}.get(folder)
        if following:
            loaded.save_pretrained(tmp_path / following)


def test_where_nobody_registered_it_a_plain_reload_fails_aloud(tmp_path):
    saved(tmp_path)
    code = f"""
        import transformers
        try:
            transformers.AutoModelForCausalLM.from_pretrained({str(tmp_path)!r})
        except ValueError as error:
            print(error)
        plain = transformers.AutoModelForCausalLM.from_pretrained({str(tmp_path)!r}, attn_implementation="sdpa")
        print(plain.config._attn_implementation)
    """
    call = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    error, chosen = subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()
    assert f'attn_implementation="{ENTROPY_SCALE}"` is not supported' in error
    assert chosen == "sdpa"


def test_what_was_loaded_by_name_is_saved_with_the_name(tmp_path):
    built("llama").float().save_pretrained(tmp_path / "plain")
    load = transformers.AutoModelForCausalLM.from_pretrained
    loaded = load(tmp_path / "plain", attn_implementation=register_entropy_scale())
    logits(loaded, tokens())
    loaded.save_pretrained(tmp_path / "scaled")
    assert load(tmp_path / "scaled").config._attn_implementation == ENTROPY_SCALE


def test_an_encoder_and_its_decoder_are_counted_each_as_it_sees(monkeypatch):
    """Tokens of the encoder for cross-attention, less where they are padding; its own past for the decoder."""
    sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    config = transformers.BartConfig(vocab_size=50, max_position_embeddings=64, **sizes, **heads)
    torch.manual_seed(0)
    model, counted = use_entropy_scale(transformers.BartModel(config).eval(), train_len=6), []
    count = attending.visible_keys
    monkeypatch.setattr(attending, "visible_keys", lambda *args: counted.append(count(*args)) or counted[-1])
    ids, decoder_ids = tokens(), tokens()[:, :5]
    mask = torch.ones_like(ids)
    mask[1, :PADS] = 0
    with torch.no_grad():
        model(input_ids=ids, attention_mask=mask, decoder_input_ids=decoder_ids)
    encoder, decoder, cross = (torch.as_tensor(seen).expand(2, 1, -1, 1)[:, 0, :, 0] for seen in counted)
    assert encoder.unique(dim=1).flatten().tolist() == [12, 12 - PADS]
    assert decoder.tolist() == [[1, 2, 3, 4, 5]] * 2
    assert cross.unique(dim=1).flatten().tolist() == [12, 12 - PADS]


def test_a_bias_on_positions_stays_as_it_is(monkeypatch):
    """T5 adds one to its scores; only what queries and keys say is scaled."""
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    torch.manual_seed(0)
    model = transformers.T5EncoderModel(transformers.T5Config(vocab_size=50, **sizes)).eval().double()
    ids, factor = tokens(), math.log(12) / math.log(6)
    scaled = logits(use_entropy_scale(model, train_len=6, clip=False), ids)
    expected = per_query(model, ids, torch.full((12,), factor, dtype=torch.float64), monkeypatch)
    torch.testing.assert_close(scaled, expected, atol=1e-9, rtol=0)


def test_a_model_inside_a_sentence_transformer_is_switched_and_saved(tmp_path, tiny_models):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    words = ["big", "cat", "small", "dog"]
    model = sentence_transformers.SentenceTransformer(str(tiny_models(words) / "encoder"), device="cpu")
    text = " ".join(words * 3)
    plain = model.encode(text, convert_to_tensor=True)
    assert use_entropy_scale(model, train_len=4) is model
    scaled = model.encode(text, convert_to_tensor=True)
    assert not torch.equal(scaled, plain)
    model.save(str(tmp_path))
    again = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    torch.testing.assert_close(again.encode(text, convert_to_tensor=True), scaled)


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
        train_length(transformers.LlamaConfig(entropy_scale_train_len=1))
    with pytest.raises(ValueError, match="max_position_embeddings must lie strictly between 1"):
        train_length(transformers.BertConfig(max_position_embeddings=-1))


SMALL = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}
LAYERS = {"n_layer": 1, "n_head": 4}
REFUSED = {
    "attention sinks": lambda: transformers.GptOssForCausalLM(transformers.GptOssConfig(**DECODER, **EXPERTS)),
    "capped logits": lambda: transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**DECODER, head_dim=8)),
    "ALiBi": lambda: transformers.BloomModel(transformers.BloomConfig(vocab_size=50, hidden_size=32, **LAYERS)),
    "attention of its own": lambda: transformers.MPNetModel(transformers.MPNetConfig(**SMALL, intermediate_size=48)),
    "classes by name": lambda: transformers.FalconModel(transformers.FalconConfig(**SMALL)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_sdpa_refuses_is_refused_by_name_and_left_as_it_was(name):
    model = REFUSED[name]()
    before, chosen = model.config.to_dict(), model.config._attn_implementation
    must = (
        "go through transformers' AttentionInterface" if name == "classes by name" else "attend as transformers' sdpa"
    )
    with pytest.raises(ValueError, match=f"model must {must}.*: got {type(model).__name__}"):
        use_entropy_scale(model, train_len=6)
    assert (model.config.to_dict(), model.config._attn_implementation) == (before, chosen)


@pytest.mark.parametrize("name", REFUSED)
def test_loading_by_name_refuses_it_too(name, tmp_path):
    model = REFUSED[name]()
    model.save_pretrained(tmp_path)
    kind = KeyError if name == "classes by name" else ValueError  # Falcon looks its own table up
    with pytest.raises(kind, match=ENTROPY_SCALE if kind is KeyError else type(model).__name__):
        type(model).from_pretrained(tmp_path, attn_implementation=register_entropy_scale())


@pytest.mark.parametrize(("argument", "what"), BEYOND_SDPA.items())
def test_attention_beyond_sdpa_is_refused_where_a_model_does_not_say_so_itself(argument, what):
    register_entropy_scale()
    attention, module = transformers.AttentionInterface()[ENTROPY_SCALE], torch.nn.Module()
    module.config, x = transformers.LlamaConfig(**DECODER, **NO_END), torch.zeros(1, 4, 3, 8)
    with pytest.raises(ValueError, match=f"attention must be what .* can compute, without {what}: got Module"):
        attention(module, x, x, x, None, **{argument: torch.zeros(4)})
    assert attention(module, x, x, x, None, **{argument: None})[0].shape == (1, 3, 4, 8)


def unchanged_after(model, ids, message, **settings):
    plain, before, chosen = logits(model, ids), model.config.to_dict(), model.config._attn_implementation
    with pytest.raises(ValueError, match=message):
        use_entropy_scale(model, **settings)
    assert (model.config.to_dict(), model.config._attn_implementation) == (before, chosen)
    assert torch.equal(logits(model, ids), plain)


@pytest.mark.parametrize("train_len", [1, 0.5, -3, math.nan, math.inf])
def test_a_refused_length_changes_nothing(train_len):
    unchanged_after(built("llama"), tokens(), "train_len must lie", train_len=train_len)


def test_a_model_without_a_length_is_left_as_it_was():
    config = transformers.T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4)
    message = "config of T5Config must say at which length"
    unchanged_after(transformers.T5EncoderModel(config).eval(), tokens(), message)


def test_one_part_that_cannot_leaves_the_others_as_they_were():
    towers = torch.nn.ModuleDict({"can": built("bert"), "cannot": REFUSED["ALiBi"]()})
    with pytest.raises(ValueError, match=r"got BloomModel\..* Pass the part of the model that does"):
        use_entropy_scale(towers, train_len=6)
    assert towers["can"].config._attn_implementation == "sdpa"
    assert not hasattr(towers["can"].config, "entropy_scale_train_len")
    use_entropy_scale(towers["can"], train_len=6)
    assert towers["can"].config._attn_implementation == ENTROPY_SCALE


def test_a_module_without_a_model_is_refused():
    with pytest.raises(ValueError, match="model must be or hold a PreTrainedModel: got Linear"):
        use_entropy_scale(torch.nn.Linear(2, 2), train_len=6)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gezhi\[hf\]'"):
        register_entropy_scale()
