"""Decoding in Hugging Face's `generate` and by our own loops: the same texts from the same tiny models."""

from __future__ import annotations

import math
import tempfile

import pytest
import torch
from tiny import BUILD, SIZES, left_padded, tokens, transformers

from gezhi.adapters.transformers import (
    ConsistentTopKLogitsProcessor,
    ConsistentTopPLogitsProcessor,
    NonMonotonicLogitsProcessor,
    SelfTerminatingLogitsProcessor,
    TerminationFloorLogitsProcessor,
)
from gezhi.nn import Transformer, prefix_lm_mask
from gezhi.text import (
    NonMonotonicHead,
    SelfTerminatingHead,
    TransformerStep,
    beam_search,
    consistent_top_k,
    consistent_top_p,
    greedy_search,
    sample,
    termination_floor,
    termination_horizon,
    top_k,
    top_p,
    uncached_step,
    with_head,
)

pytestmark = [pytest.mark.filterwarnings("ignore")]  # transformers' own

EOS, PAD, NEW = 7, 49, 10  # beam search of transformers takes a pad of 0 for none, and fills with the end mark
WHOLE = {"top_k": 0, "top_p": 1.0, "temperature": 1.0}  # nothing of transformers' own after our processors


def built(name):
    torch.manual_seed(0)
    return BUILD[name]().eval()


def generated(model, ids, **settings):
    settings = {"eos_token_id": EOS, "pad_token_id": PAD, "max_new_tokens": NEW, "do_sample": False} | settings
    settings = {"attention_mask": torch.ones_like(ids)} | settings  # else it is guessed from the pads among the tokens
    return model.generate(ids, **settings)[:, ids.shape[1] :]


def cached_step(model):
    """The one line of `Step`'s docstring."""

    def step(ids, state):
        out = model(ids, past_key_values=state, use_cache=True)
        return out.logits[:, -1], out.past_key_values

    return step


def padded(found):
    """Our tokens as transformers gives them: rows as wide as the longest."""
    return found.tokens if found.tokens.ndim == 2 else found.tokens.flatten(0, 1)


def assert_same_texts(ours, theirs):
    width = max(ours.shape[1], theirs.shape[1])
    left, right = (torch.nn.functional.pad(t, (0, width - t.shape[1]), value=PAD) for t in (ours, theirs))
    assert left.tolist() == right.tolist()


# ---- our loops against generate -------------------------------------------------------------------------------------

LIMITS = {"eos_token_id": EOS, "max_new_tokens": NEW, "pad_token_id": PAD}


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_greedy_search_is_generate(name):
    model, ids = built(name), tokens()
    theirs = generated(model, ids)
    for step in (cached_step(model), uncached_step(lambda ids: model(ids).logits)):
        assert_same_texts(padded(greedy_search(step, ids, **LIMITS)), theirs)


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_beam_search_is_generate(alpha, early_stopping):
    model, ids = built("gpt2"), torch.randint(1, 50, (6, 4), generator=torch.Generator().manual_seed(3))
    for eos in (EOS, [EOS, 11, 30]):
        settings = {"num_beams": 3, "length_penalty": alpha, "early_stopping": early_stopping, "eos_token_id": eos}
        theirs = generated(model, ids, num_return_sequences=3, **settings)
        ours = beam_search(cached_step(model), ids, **(LIMITS | settings))
        assert_same_texts(padded(ours), theirs)


@pytest.mark.parametrize(("theirs", "rule"), [
    ({"top_k": 5}, lambda s, t: top_k(s, 5)),
    ({"top_p": 0.7}, lambda s, t: top_p(s, 0.7)),
    ({"top_k": 6, "top_p": 0.6}, lambda s, t: top_p(top_k(s, 6), 0.6)),
    ({}, None),
], ids=["top-k", "top-p", "both", "all"])  # fmt: skip
def test_sampling_is_generate_where_both_draw_alike(monkeypatch, theirs, rule):
    model, ids = built("gpt2"), tokens()
    found = []

    def drawn(p, num_samples):  # their draw: by the inverse of the distribution function, as in ours
        uniform = torch.rand(len(p), dtype=torch.float64)
        return torch.searchsorted(
            p.double().cumsum(-1), uniform[:, None] * p.double().sum(-1, keepdim=True), right=True
        )

    torch.manual_seed(5)
    found.append(padded(sample(cached_step(model), ids, **LIMITS | {"eos_token_id": ()}, process=rule)))
    monkeypatch.setattr(torch, "multinomial", drawn)
    torch.manual_seed(5)
    found.append(generated(model, ids, do_sample=True, eos_token_id=None, **WHOLE | theirs))
    assert_same_texts(*found)


def hf_bert_and_ours(**config):
    """The same random BERT as a causal language model of Hugging Face's and as our Transformer."""
    torch.manual_seed(0)
    sizes = SIZES | {"intermediate_size": 48, "max_position_embeddings": 64, "initializer_range": 0.3} | config
    theirs = transformers.BertLMHeadModel(transformers.BertConfig(**sizes)).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = Transformer.from_pretrained(folder, head="mlm", causal=False)
    return theirs, ours


def test_our_transformer_writes_what_bert_generates_from_the_same_weights():
    theirs, ours = hf_bert_and_ours(is_decoder=True)
    ids = tokens()
    step = TransformerStep(ours)
    assert_same_texts(padded(greedy_search(step, ids, **LIMITS)), generated(theirs, ids))
    beams = beam_search(step, ids, num_beams=3, **LIMITS)
    assert_same_texts(beams.tokens[:, 0], generated(theirs, ids, num_beams=3))
    wide, inputs = left_padded(ids)
    padded_step = TransformerStep(ours, pad_token_id=0)
    with_pads = greedy_search(padded_step, wide, **LIMITS)
    assert_same_texts(padded(with_pads), generated(theirs, wide, attention_mask=inputs["attention_mask"]))


def test_a_masked_language_model_writes_under_the_prefix_mask():
    theirs, ours = hf_bert_and_ours(is_decoder=False)
    ids = tokens()

    def logits(text):
        mask = prefix_lm_mask(prefix_length=ids.shape[1], n=text.shape[1])
        kinds = (torch.arange(text.shape[1]) >= ids.shape[1]).long().expand_as(text)
        mask = torch.where(mask, 0.0, torch.finfo(torch.float32).min).reshape(1, 1, text.shape[1], -1)
        return theirs(text, attention_mask=mask.expand(len(text), -1, -1, -1), token_type_ids=kinds).logits

    unilm = TransformerStep(ours, prompt="prefix", types=(0, 1))
    for search in (greedy_search, lambda *a, **k: beam_search(*a, num_beams=3, **k)):
        assert torch.equal(search(unilm, ids, **LIMITS).tokens, search(uncached_step(logits), ids, **LIMITS).tokens)


# ---- processors in generate -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("eos", [EOS, [EOS, 11]])
def test_processors_are_the_functions(eos):
    ids, scores = tokens(), torch.randn(2, 50)
    assert torch.equal(
        ConsistentTopKLogitsProcessor(4, eos)(ids, scores), consistent_top_k(scores, 4, eos_token_id=eos)
    )
    found = ConsistentTopPLogitsProcessor(0.4, eos, 2)(ids, scores)
    assert torch.equal(found, consistent_top_p(scores, 0.4, eos_token_id=eos, min_tokens_to_keep=2))
    found = TerminationFloorLogitsProcessor(0.1, 9, eos)(ids, scores)
    assert torch.equal(found, termination_floor(scores, 3, epsilon=0.1, eos_token_id=eos))


@pytest.mark.parametrize("ours", [ConsistentTopKLogitsProcessor(1, EOS), ConsistentTopPLogitsProcessor(0.05, EOS)])
def test_order_trap_a_built_in_truncation_cuts_the_end_mark_again(ours):
    model, ids = built("gpt2"), tokens()
    torch.manual_seed(0)
    common = {
        "do_sample": True,
        "output_scores": True,
        "return_dict_in_generate": True,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "max_new_tokens": 6,
    }
    cut = model.generate(ids, logits_processor=[ours], **common, **WHOLE | {"top_k": 1})
    kept = model.generate(ids, logits_processor=[ours], **common, **WHOLE)
    assert any((scores[:, EOS] == -math.inf).any() for scores in cut.scores)
    assert all((scores[:, EOS] > -math.inf).all() for scores in kept.scores)


def endless(name):
    """A model that never ends by itself: the end mark's logit is far below all others."""
    model = built(name)

    def low(_module, _args, out):
        out.logits[..., EOS] -= 1e3
        return out

    model.register_forward_hook(low)
    return model


@pytest.mark.parametrize("beams", [1, 3])
def test_generate_ends_within_the_horizon(beams):
    model, ids, epsilon = endless("gpt2"), tokens(), 0.1
    n, width = termination_horizon(epsilon, beams), ids.shape[1]
    settings = {"num_beams": beams, "max_new_tokens": 30, "early_stopping": beams > 1, "num_return_sequences": beams}
    assert generated(model, ids, **settings).shape[1] == 30
    for processor in (
        TerminationFloorLogitsProcessor(epsilon, width, EOS),
        NonMonotonicLogitsProcessor(NonMonotonicHead(EOS, epsilon, eos_logit="odds"), width),
        SelfTerminatingLogitsProcessor(SelfTerminatingHead(EOS, epsilon, eos_logit="odds"), width, beams),
    ):
        found = generated(model, ids, logits_processor=[processor], **settings)
        assert found.shape[1] <= n
        assert (found == EOS).any(1).all()


@pytest.mark.parametrize("beams", [1, 3])
def test_heads_in_generate_are_heads_in_our_search(beams):
    model, ids = built("gpt2"), torch.randint(1, 50, (4, 5), generator=torch.Generator().manual_seed(6))
    width, kind = ids.shape[1], "odds"
    for head, processor in (
        (SelfTerminatingHead(EOS, 0.02, eos_logit=kind), lambda h: SelfTerminatingLogitsProcessor(h, width, beams)),
        (NonMonotonicHead(EOS, 0.02, eos_logit=kind), lambda h: NonMonotonicLogitsProcessor(h, width)),
    ):
        theirs = generated(model, ids, num_beams=beams, logits_processor=[processor(head)])
        step = with_head(cached_step(model), head)
        ours = (
            greedy_search(step, ids, **LIMITS).tokens
            if beams == 1
            else beam_search(step, ids, num_beams=beams, **LIMITS).tokens[:, 0]
        )
        assert_same_texts(ours, theirs)


def test_a_processor_begins_anew_with_each_call_of_generate():
    model, ids = built("gpt2"), tokens()
    processor = SelfTerminatingLogitsProcessor(SelfTerminatingHead(EOS, 0.02, eos_logit="stop"), ids.shape[1])
    first, second = (generated(model, ids, logits_processor=[processor]) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(("call", "said"), [
    (lambda: SelfTerminatingLogitsProcessor(SelfTerminatingHead(1, 0.1), 3, num_beams=2), "head.eos_logit must be 'odds'"),
    (lambda: NonMonotonicLogitsProcessor(NonMonotonicHead(1, 0.1, torch.nn.Linear(2, 3)), 3), "head.projection must be None"),
    (lambda: TerminationFloorLogitsProcessor(0.1, 13, 1)(tokens(), torch.zeros(2, 50)), "prompt_length must be at most the 12"),
    (lambda: SelfTerminatingLogitsProcessor(SelfTerminatingHead(1, 0.1), 11)(tokens(), torch.zeros(2, 50)), "once a token"),
])  # fmt: skip
def test_errors_name_the_argument(call, said):
    with pytest.raises(ValueError, match=said):
        call()
