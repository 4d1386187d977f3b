"""Decoding against definitions in Python numbers, the sheet's values, and the theorem: what ends, and by when."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from itertools import product

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st
from text import decoding_reference as reference

from gezhi.nn import Mask, Transformer, TransformerConfig
from gezhi.text import (
    NonMonotonicHead,
    NoTerminationGuaranteeWarning,
    SelfTerminatingHead,
    TransformerStep,
    beam_search,
    bigram_repetition_index,
    consistent_top_k,
    consistent_top_p,
    greedy_search,
    left_padded,
    looping_period,
    non_termination_ratio,
    repetition_ratio,
    sample,
    termination_floor,
    termination_horizon,
    top_k,
    top_p,
    uncached_step,
    with_head,
)


def normal(*shape, seed=0, scale=1.0, dtype=torch.float64):
    return (scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).to(dtype)


P = torch.tensor([0.45, 0.25, 0.15, 0.10, 0.05], dtype=torch.float64)
LOGITS = torch.tensor([[[1, 0.5, -0.5, -2], [0.2, 1.5, 0, 1], [-1, 0.3, 0.8, -3]]], dtype=torch.float64)
ST, NMST = SelfTerminatingHead(1, 0.1), NonMonotonicHead(1, 0.1)
SAMPLES = [
    Sample(top_k, (normal(3, 6), 2)),
    Sample(top_p, (normal(3, 6), 0.7)),
    Sample(consistent_top_k, (normal(3, 6), 2), {"eos_token_id": 5}),
    Sample(consistent_top_p, (normal(3, 6, dtype=torch.float16), 0.7), {"eos_token_id": [4, 5]}),
    Sample(termination_floor, (normal(3, 6), 4), {"epsilon": 0.1, "eos_token_id": [4, 5]}),
    Sample(ST, (normal(2, 3, 5),)),
    Sample(NMST, (normal(2, 3, 5), torch.tensor([[True, False, False]] * 2))),
    Sample(bigram_repetition_index, ([[0.6, 0.3], [0.5, 0.3]],), compiles=False, differentiable=False,
           reason="a number from eigenvalues"),
]  # fmt: skip


def rows(values):
    return values.reshape(-1, values.shape[-1]).tolist()


def close(left, right, tolerance=1e-12):
    torch.testing.assert_close(torch.as_tensor(left, dtype=torch.float64), torch.as_tensor(right, dtype=torch.float64),
                               rtol=tolerance, atol=tolerance)  # fmt: skip


def chain(table, log=True):
    """A model that knows the last token alone."""
    table = torch.as_tensor(table, dtype=torch.float64)
    table = table.log() if log else table
    return lambda tokens, state: (table[tokens[:, -1]], None)


def constant(logits):
    return lambda tokens, state: (torch.tensor(logits).expand(len(tokens), -1), None)


# ---- reference: the definitions in Python numbers -------------------------------------------------------------------


@pytest.mark.parametrize("vocab", [2, 7, 63])
@pytest.mark.parametrize("seed", range(3))
def test_truncations_and_the_floor_are_their_definitions(vocab, seed):
    scores = normal(5, vocab, seed=seed, scale=2.0)
    eos = [vocab - 1] if seed % 2 else [vocab - 1, 0]
    for i, p in enumerate(rows(scores.softmax(-1))):
        for k in (1, 2, vocab, vocab + 3):
            close(top_k(scores, k).softmax(-1)[i], reference.top_k(p, k))
            close(consistent_top_k(scores, k, eos_token_id=eos).softmax(-1)[i], reference.top_k(p, k, eos))
        for mass, least in ((0.01, 1), (0.5, 3), (0.9, 1), (1.0, 1)):
            close(top_p(scores, mass, min_tokens_to_keep=least).softmax(-1)[i], reference.top_p(p, mass, (), least))
            found = consistent_top_p(scores, mass, eos_token_id=eos, min_tokens_to_keep=least)
            close(found.softmax(-1)[i], reference.top_p(p, mass, eos, least))
        for t in (0, 9, 300):
            found = termination_floor(scores, t, epsilon=0.01, eos_token_id=eos).exp()
            close(found[i], reference.floor(p, t, 0.01, eos))


@pytest.mark.parametrize("epsilon", [0.3, 0.01, 1e-4])
def test_heads_are_their_definitions(epsilon):
    logits = normal(3, 9, 6, scale=3.0)
    for head, formula in (
        (SelfTerminatingHead, reference.self_terminating),
        (NonMonotonicHead, reference.non_monotonic),
    ):
        log_probs, _ = head(4, epsilon)(logits)
        for row, z in zip(log_probs, logits.tolist(), strict=True):
            close(row.exp(), formula(z, 4, epsilon))


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.5])
@pytest.mark.parametrize("early_stopping", [True, False, "never"])
def test_beam_search_is_its_definition(alpha, early_stopping):
    table = normal(8, 7, 7, seed=3, scale=1.5)
    table[..., 0] += 0.3
    table = table.log_softmax(-1)

    def step(tokens, state):  # changes with time: else two ways around one circle tie
        t = state or 0
        return table[t][tokens[:, -1]], t + 1

    firsts = torch.arange(1, 7)
    for beams, eos in ((1, [0]), (3, [0]), (4, [0, 2])):
        settings = {"num_beams": beams, "length_penalty": alpha, "early_stopping": early_stopping}
        found = beam_search(step, firsts[:, None], eos_token_id=eos, max_new_tokens=8, **settings)
        for row, first in enumerate(firsts.tolist()):
            pool = reference.beam_search(table.tolist(), first, beams, eos, 8, alpha, early_stopping)
            assert len(pool) == beams
            for beam, (_, log_p, tokens) in enumerate(pool):
                n = int(found.lengths[row, beam])
                assert found.tokens[row, beam, :n].tolist() == list(tokens)
                assert not found.tokens[row, beam, n:].any()
                assert bool(found.ended[row, beam]) == (tokens[-1] in eos)
                close(found.log_probs[row, beam], log_p, 1e-5)


def test_a_wide_beam_finds_the_most_probable_text_of_all():
    table = normal(4, 4, seed=5, scale=1.0).log_softmax(-1)
    table[0] = -math.inf  # after the end the model says nothing, and is not asked
    best = max(
        (sum(float(table[a, b]) for a, b in zip((1, *y), y, strict=False)), y)
        for n in range(1, 5)
        for y in product(range(4), repeat=n)
        if 0 not in y[:-1] and (y[-1] == 0 or n == 4)
    )
    settings = {"eos_token_id": 0, "max_new_tokens": 4, "length_penalty": 0.0, "early_stopping": "never"}
    found = beam_search(chain(table, log=False), torch.tensor([[1]]), num_beams=200, **settings)
    assert tuple(found.tokens[0, 0, : int(found.lengths[0, 0])].tolist()) == best[1]
    close(found.log_probs[0, 0], best[0], 1e-5)
    possible = 1 + 3 + 9 + 27 + 81  # ended after 1, 2, 3, 4 tokens, or not
    assert int((found.lengths[0] > 0).sum()) == possible
    assert (found.log_probs[0, possible:] == -math.inf).all()


# ---- the sheet's values ---------------------------------------------------------------------------------------------


def test_published_truncations():
    two, both = [9 / 14, 5 / 14, 0, 0, 0], [0.6, 1 / 3, 0, 0, 1 / 15]
    close(top_k(P.log(), 2).softmax(-1), two)
    close(consistent_top_k(P.log(), 2, eos_token_id=4).softmax(-1), both)
    close(top_p(P.log(), 0.6).softmax(-1), two)
    close(consistent_top_p(P.log(), 0.6, eos_token_id=4).softmax(-1), both)
    close(top_p(P.log(), 0.2).softmax(-1), [1, 0, 0, 0, 0])
    close(consistent_top_p(P.log(), 0.2, eos_token_id=4).softmax(-1), [0.9, 0, 0, 0, 0.1])
    floored = [0.406971933753962, 0.2260955187522011, 0.13565731125132066, 0.09043820750088044, 0.1408370287416358]
    close(termination_floor(P.log(), 9, epsilon=0.01, eos_token_id=4).exp(), floored)


def test_published_heads():
    close(SelfTerminatingHead(3, 0.01)(LOGITS)[0][0].exp(), [
        [0.06449878115161127, 0.03912048828254755, 0.01439162336773755, 0.8819891071981036],
        [0.015562995636092354, 0.05710524802568652, 0.012741903137287238, 0.9145898532009339],
        [0.0003741174721010412, 0.001372747993678486, 0.002263278816488645, 0.9959898557177318]])  # fmt: skip
    close(NonMonotonicHead(3, 0.01)(LOGITS)[0][0].exp(), [
        [0.4765851122419066, 0.289063482537303, 0.10634051241889401, 0.12801089280189637],
        [0.04802991437153652, 0.1762360047495166, 0.03932356796367907, 0.7364105129152678],
        [0.0862288030702187, 0.31639905975834953, 0.5216538598531119, 0.07571827731831984]])  # fmt: skip
    stops = SelfTerminatingHead(0, 0.1)(LOGITS)[0][0, :, 0].exp()
    close(stops, [0.3420472792329956, 0.6744117029482516, 0.92119223854852])


def test_published_horizons():
    expected = {0.1: 7, 0.01: 69, 0.001: 693, 5e-4: 1386, 1e-4: 6932, 1e-5: 69315}
    assert {epsilon: termination_horizon(epsilon) for epsilon in expected} == expected
    assert termination_horizon(0.5) == 2, "half is not more than half"


BIGRAMS = [[0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.0, 0.0, 1.0]]  # a, b, end


@pytest.mark.parametrize(("rule", "length", "beyond"), [
    (lambda s: s, 7.6923076923, 0.057730457564),
    (lambda s: consistent_top_k(s, 2, eos_token_id=2), 7.6923076923, 0.057730457564),
    (lambda s: consistent_top_k(s, 1, eos_token_id=2), 7.0, 0.045820962478),
    (lambda s: consistent_top_p(s, 0.5, eos_token_id=2), 7.0, 0.045820962478),
    (lambda s: top_k(s, 1), math.inf, 1.0),
    (lambda s: top_k(s, 2), math.inf, 1.0),
    (lambda s: top_p(s, 0.5), math.inf, 1.0),
], ids=["ancestral", "consistent top-2", "consistent top-1", "consistent nucleus", "greedy", "top-2", "nucleus"])  # fmt: skip
def test_lengths_of_the_two_state_chain(rule, length, beyond):
    words = rule(torch.tensor(BIGRAMS[:2], dtype=torch.float64).log()).softmax(-1)[:, :2].numpy()
    start = np.array([1.0, 0.0])
    close(start @ np.linalg.matrix_power(words, 20) @ np.ones(2), beyond, 1e-9)
    if math.isinf(length):
        assert np.allclose(words.sum(1), 1)
    else:
        close(start @ np.linalg.solve(np.eye(2) - words, np.ones(2)), length, 1e-9)


def test_repetition_index_of_the_two_state_chain():
    p = np.array(BIGRAMS)[:2, :2]
    close(bigram_repetition_index(p), 0.7683514913377388)
    a = torch.tensor(p * p)
    close(bigram_repetition_index(torch.tensor(p)), float(torch.linalg.solve(torch.eye(2) - a, a).trace()))
    close(bigram_repetition_index(p), sum(np.trace(np.linalg.matrix_power(p * p, k)) for k in range(1, 200)))
    assert bigram_repetition_index([[0, 1], [1, 0]]) == math.inf
    assert bigram_repetition_index(np.zeros((0, 0))) == 0


# ---- theorem: the end mark stays, and what follows from it ----------------------------------------------------------

finite = st.floats(-30, 30)
some_rows = st.lists(finite, min_size=2, max_size=9)


@given(some_rows, st.data())
def test_consistent_truncations_always_allow_the_end(scores, data):
    scores = torch.tensor(scores, dtype=torch.float64)
    vocab = len(scores)
    eos = data.draw(st.lists(st.integers(0, vocab - 1), min_size=1, max_size=vocab, unique=True))
    k, p = data.draw(st.integers(1, vocab + 1)), data.draw(st.floats(0.001, 1))
    for plain, consistent, most in (
        (top_k(scores, k), consistent_top_k(scores, k, eos_token_id=eos), k),
        (top_p(scores, p), consistent_top_p(scores, p, eos_token_id=eos), vocab),
    ):
        kept, always = plain > -math.inf, consistent > -math.inf
        assert always[eos].all()
        assert (always >= kept).all()
        assert int(kept.sum()) <= most
        assert set((always & ~kept).nonzero().flatten().tolist()) <= set(eos)
        assert torch.equal(consistent[always], scores[always]), "what stays keeps its score"
        assert (consistent.softmax(-1)[eos] >= scores.softmax(-1)[eos] - 1e-12).all(), "at least the model's own"
        if kept[eos].all():
            assert torch.equal(plain, consistent)
    assert float(scores.softmax(-1)[top_p(scores, p) > -math.inf].sum()) >= p - 1e-9


@given(
    st.lists(some_rows.map(lambda row: (row * 4)[:5]), min_size=1, max_size=12), st.floats(1e-6, 0.9), st.integers(0, 4)
)
def test_self_termination_is_monotone_and_bounded_below(logits, epsilon, eos):
    logits = torch.tensor([logits], dtype=torch.float64)
    bound = 1 - (1 - epsilon) ** torch.arange(1, logits.shape[1] + 1, dtype=torch.float64)
    stops = []
    for head in (SelfTerminatingHead(eos, epsilon), NonMonotonicHead(eos, epsilon)):
        probabilities = head(logits)[0][0].exp()
        close(probabilities.sum(-1), torch.ones(logits.shape[1]))
        stops.append(probabilities[:, eos])
        assert (stops[-1] >= bound - 1e-12).all()
    assert (stops[0].diff() >= -1e-12).all()
    assert (
        termination_floor(logits, torch.arange(logits.shape[1])[None], epsilon=epsilon, eos_token_id=eos)[
            0, :, eos
        ].exp()
        >= bound - 1e-12
    ).all()


@given(st.floats(1e-6, 0.99))
def test_the_horizon_is_the_first_step_at_which_the_end_has_the_majority(epsilon):
    n = termination_horizon(epsilon)
    with mpmath.workdps(50):
        stays = 1 - mpmath.mpf(epsilon)
        assert stays**n < mpmath.mpf("0.5") * (1 + mpmath.mpf(10) ** -12)
        assert stays ** (n - 1) >= mpmath.mpf("0.5") * (1 - mpmath.mpf(10) ** -12)


WORST = [40.0, 0.0, 0.0]  # one word, always; the end mark is last
ENDLESS = {"ST": SelfTerminatingHead, "NMST": NonMonotonicHead}


@pytest.mark.parametrize("epsilon", [0.1, 0.01, 0.001])
@pytest.mark.parametrize("name", ENDLESS)
def test_greedy_and_beam_search_end_within_the_horizon_against_the_worst_logits(name, epsilon):
    adversary = constant([*WORST, 40.0 if name == "ST" else -40.0])
    step, prompt = with_head(adversary, ENDLESS[name](3, epsilon)), torch.zeros(1, 1).long()
    n, settings = termination_horizon(epsilon), {"eos_token_id": 3, "max_new_tokens": 800}
    found = greedy_search(step, prompt, **settings)
    assert int(found.lengths) == n, "the bound is reached"
    assert bool(found.ended)
    if epsilon > 0.001:
        for options in ({"early_stopping": True}, {"length_penalty": 0.0}):
            beams = beam_search(step, prompt, num_beams=4, **settings, **options)
            assert beams.ended.all()
            assert int(beams.lengths.max()) <= termination_horizon(epsilon, beams=4) == n + 3
        plain = greedy_search(adversary, prompt, eos_token_id=3, max_new_tokens=n + 4)
        assert not plain.ended.any()
        floored = greedy_search(
            adversary, prompt, **settings, process=lambda s, t: termination_floor(s, t, epsilon=epsilon, eos_token_id=3)
        )
        assert int(floored.lengths) <= n


def test_a_kept_end_mark_ends_sampling_but_not_greedy_search():
    step, prompt = chain(BIGRAMS), torch.zeros(300, 1).long()
    settings = {"eos_token_id": 2, "max_new_tokens": 300}
    for rule in (lambda s, t: top_k(s, 1), lambda s, t: top_p(s, 0.5)):
        assert non_termination_ratio(sample(step, prompt, **settings, process=rule).tokens, 2, 300).ratio == 1
    for rule in (
        lambda s, t: consistent_top_k(s, 1, eos_token_id=2),
        lambda s, t: consistent_top_p(s, 0.5, eos_token_id=2),
    ):
        found = sample(step, prompt, **settings, process=rule, generator=torch.Generator().manual_seed(0))
        assert non_termination_ratio(found.tokens, 2, 300).ratio == 0
        assert abs(float(found.lengths.double().mean()) - 7) < 4 * 6.5 / math.sqrt(300)
        assert not greedy_search(step, prompt[:1], **settings, process=rule).ended.any()


# ---- heads: states, prompts, training -------------------------------------------------------------------------------

HEADS = [SelfTerminatingHead(2, 0.02), SelfTerminatingHead(2, 0.02, eos_logit="odds"), NonMonotonicHead(2, 0.02)]


@pytest.mark.parametrize("head", HEADS, ids=["ST", "ST odds", "NMST"])
def test_token_by_token_is_the_whole_text_and_a_prompt_counts_for_nothing(head):
    logits = normal(2, 7, 5)
    whole, state = head(logits)
    parts, memory = [], None
    for piece in logits.split([1, 3, 1, 2], 1):
        log_probs, memory = head(piece, state=memory)
        parts.append(log_probs)
    close(torch.cat(parts, 1), whole)
    close(memory, state)
    prompt = torch.tensor([[True, True, True, False, False, False, False], [True] + [False] * 6])
    masked, after = head(logits, prompt)
    for row, start in ((0, 3), (1, 1)):
        alone, rest = head(logits[row : row + 1, start:])
        close(masked[row, start:], alone[0])
        close(after[row : row + 1], rest)


def test_what_the_end_marks_logit_means():
    logits = normal(2, 4, 5)
    flipped = logits.clone()
    flipped[..., 2] *= -1
    close(SelfTerminatingHead(2, 0.1, eos_logit="stop")(logits)[0], SelfTerminatingHead(2, 0.1)(flipped)[0])
    # a pretrained model's own probability of the end: the floor is the non-monotonic head
    t = torch.arange(4)[None]
    floor = termination_floor(logits, t, epsilon=0.1, eos_token_id=2)
    close(NonMonotonicHead(2, 0.1, eos_logit="odds")(logits)[0], floor)
    close(SelfTerminatingHead(2, 0.1, eos_logit="odds")(logits)[0][:, 0], floor[:, 0])
    shifted = logits + 7.0
    close(
        SelfTerminatingHead(2, 0.1, eos_logit="odds")(shifted)[0],
        SelfTerminatingHead(2, 0.1, eos_logit="odds")(logits)[0],
    )


def test_a_head_trains_with_its_projection():
    torch.manual_seed(1)
    layer = torch.nn.Linear(8, 6)
    for head, start in ((SelfTerminatingHead(5, 0.01, layer), 4.0), (NonMonotonicHead(5, 0.01, layer), -4.0)):
        head.start_(layer.bias)
        assert float(layer.bias.detach()[5]) == start
    hidden, targets = normal(4, 6, 8, dtype=torch.float32), torch.tensor([[0, 1, 2, 3, 4, 5]] * 4)
    head = SelfTerminatingHead(5, 0.01, copy.deepcopy(layer))
    head.start_(head.projection.bias)
    optimizer, losses = torch.optim.Adam(head.parameters(), 0.1), []
    for _ in range(60):
        loss = F.nll_loss(head(hidden)[0].flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 3
    assert head(hidden)[0][:, -1].argmax(-1).tolist() == [5] * 4


# ---- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS, ids=["ST", "ST odds", "NMST"])
def test_gradients_of_heads(head):
    mask = torch.tensor([[True, False, False], [False] * 3])
    assert torch.autograd.gradcheck(lambda z: head(z)[0], normal(2, 3, 4).requires_grad_())
    assert torch.autograd.gradcheck(lambda z: head(z, mask)[0][:, 1:], normal(2, 3, 4).requires_grad_())


def test_gradient_of_the_floor():
    floor = lambda z: termination_floor(z, 3, epsilon=0.1, eos_token_id=[1, 2])  # noqa: E731
    assert torch.autograd.gradcheck(floor, normal(2, 4).requires_grad_())


@pytest.mark.parametrize("kind", [SelfTerminatingHead, NonMonotonicHead])
@pytest.mark.parametrize("epsilon", [0.0, 1e-8, 0.5])
def test_extreme_logits_have_finite_values_and_gradients(kind, epsilon):
    z = torch.zeros(1, 5, 3)
    z[0, :, 2] = torch.tensor([300.0, 50.0, 17.5, -50.0, -300.0])
    for sign in (1, -1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoTerminationGuaranteeWarning)
            head = kind(2, epsilon)
        logits = (sign * z).requires_grad_()
        log_probs, _ = head(logits)
        assert log_probs.isfinite().all()
        assert (log_probs <= 0).all()
        log_probs.sum().backward()
        assert logits.grad.isfinite().all()


def test_without_epsilon_the_log_probability_of_the_end_is_exact():
    with pytest.warns(NoTerminationGuaranteeWarning):
        heads = [(SelfTerminatingHead(1, 0.0), 1), (NonMonotonicHead(1, 0.0), -1)]
    for head, sign in heads:
        for z in (5.0, 17.5, 40.0, 80.0):
            log_probs, _ = head(torch.tensor([[[0.0, sign * z]]]))
            assert float(log_probs[0, 0, 1]) == pytest.approx(float(-mpmath.log1p(mpmath.exp(z))), rel=1e-6)


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_late_in_a_text_the_end_is_certain_and_nothing_is_nan():
    log_probs, _ = SelfTerminatingHead(0, 0.1)(normal(1, 1, 4, dtype=torch.float32), state=torch.tensor([-1e4]))
    assert float(log_probs[0, 0, 0]) == 0
    assert log_probs.isfinite().all()
    late = termination_floor(normal(2, 4, dtype=torch.float32), 10**6, epsilon=0.1, eos_token_id=0)
    assert (late[:, 0] == 0).all()
    assert late.isfinite().all()


def test_ties_keep_the_lower_index_and_no_more_than_k():
    scores = torch.tensor([1.0, 2.0, 1.0, 1.0])
    assert (top_k(scores, 2) > -math.inf).tolist() == [True, True, False, False]
    assert (consistent_top_k(scores, 2, eos_token_id=3) > -math.inf).tolist() == [True, True, False, True]
    assert (top_p(torch.zeros(4), 0.5) > -math.inf).tolist() == [True, True, False, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_prefix_that_has_the_mass_exactly_is_enough_in_every_precision(dtype):
    scores = torch.tensor([0.5, 0.3, 0.2]).log().to(dtype)
    wide = scores.float().softmax(-1)[0]
    kept = top_p(scores, 0.5 if dtype.itemsize > 2 else float(wide) - 1e-4)
    assert (kept > -math.inf).tolist() == [True, False, False]
    assert kept.dtype == dtype


def test_half_precision_is_computed_in_float32():
    scores = normal(3, 50, dtype=torch.float16)
    assert termination_floor(scores, 3, epsilon=0.1, eos_token_id=0).dtype == torch.float32
    log_probs, _ = SelfTerminatingHead(0, 0.1)(scores[None])
    close(log_probs, SelfTerminatingHead(0, 0.1)(scores[None].float())[0])


def test_several_ids_share_the_floor_and_impossible_ones_evenly():
    scores = torch.tensor([0.0, -math.inf, -math.inf], dtype=torch.float64)
    close(termination_floor(scores, 0, epsilon=0.1, eos_token_id=[1, 2]).exp(), [0.9, 0.05, 0.05])


def test_heads_are_copied_and_pickled_with_their_settings():
    head = SelfTerminatingHead(2, 0.1, torch.nn.Linear(3, 4), eos_logit="odds")
    for again in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert torch.equal(again(torch.ones(1, 2, 3))[0], head(torch.ones(1, 2, 3))[0])
    assert "epsilon=0.1" in repr(head)


def test_no_rows_and_no_end_mark():
    nobody = greedy_search(chain(BIGRAMS), torch.zeros(0, 1).long(), eos_token_id=2, max_new_tokens=3)
    assert nobody.tokens.shape == (0, 0)
    assert beam_search(
        chain(BIGRAMS), torch.zeros(0, 1).long(), num_beams=2, eos_token_id=2, max_new_tokens=3
    ).tokens.shape == (0, 2, 0)
    endless = greedy_search(chain(BIGRAMS), torch.tensor([[2]]), eos_token_id=(), max_new_tokens=4)
    assert endless.tokens.tolist() == [[2, 2, 2, 2]]
    assert not endless.ended.any()


# ---- search: batches, draws, any model ------------------------------------------------------------------------------


def test_rows_end_by_themselves_and_are_never_resurrected():
    step = chain(torch.eye(6)[[0, 0, 1, 2, 3, 4]])  # counts down
    found = greedy_search(step, torch.tensor([[3], [1], [5]]), eos_token_id=0, max_new_tokens=4, pad_token_id=9)
    assert found.tokens.tolist() == [[2, 1, 0, 9], [0, 9, 9, 9], [4, 3, 2, 1]]
    assert found.lengths.tolist() == [3, 1, 4]
    assert found.ended.tolist() == [True, True, False]
    assert not found.log_probs.any()


def test_draws_follow_the_probabilities_and_do_not_depend_on_other_rows():
    step, prompt = chain(BIGRAMS), torch.zeros(4000, 1).long()
    one = sample(step, prompt, eos_token_id=(), max_new_tokens=1, generator=torch.Generator().manual_seed(1))
    counts = torch.bincount(one.tokens[:, 0], minlength=3) / 4000
    assert (counts - torch.tensor(BIGRAMS[0])).abs().max() < 4 * math.sqrt(0.25 / 4000)
    ended, endless = (
        sample(step, prompt[:50], eos_token_id=eos, max_new_tokens=9, generator=torch.Generator().manual_seed(2))
        for eos in (2, ())
    )
    for row in range(50):
        n = int(ended.lengths[row])
        assert ended.tokens[row, :n].tolist() == endless.tokens[row, :n].tolist()


def test_a_draw_is_never_a_token_without_probability(monkeypatch):
    scores = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, -math.inf]])
    for uniform in (0.0, 0.5, 1 - 2**-53):
        monkeypatch.setattr(torch, "rand", lambda n, u=uniform, **_: torch.full((n,), u, dtype=torch.float64))
        found = sample(lambda tokens, state: (scores, None), torch.tensor([[0]]), eos_token_id=(), max_new_tokens=1)
        assert int(found.tokens) in (1, 3)


def transformer(**config):
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 13,
        "dim": 16,
        "num_layers": 2,
        "num_heads": 4,
        "max_positions": 24,
        "initializer_range": 0.4,
    }
    return Transformer(TransformerConfig(**sizes | {"head": "lm"} | config)).eval()


KINDS = {
    "rotary": {},
    "learned": {"positions": "learned"},
    "BERT": {"positions": "learned", "norm": "post", "num_types": 2, "head": "mlm"},
    "entropy scale": {"scale": "entropy", "kernel": "softmax"},
    "ALiBi": {"positions": "alibi"},
    "linear": {"kernel": "elu1"},
    "URPE": {"gate": "urpe"},
}


def whole_text(model, prompt, types=None, prefix=False):
    """The model without a cache: all tokens each time, under the mask of a whole text."""

    def logits(ids):
        mask = Mask(causal=True, prefix=prompt.shape[1] if prefix else 0)
        kinds = None
        if types is not None:
            kinds = torch.full_like(ids, types[1])
            kinds[:, : prompt.shape[1]] = types[0]
        return model.logits(model(ids, mask=mask, types=kinds))

    return uncached_step(logits)


@pytest.mark.parametrize("prompt_kind", ["causal", "prefix"])
@pytest.mark.parametrize("kind", KINDS)
def test_cached_decoding_is_the_whole_text_again(kind, prompt_kind):
    model = transformer(**KINDS[kind])
    types = (0, 1) if kind == "BERT" else None
    prompt = torch.randint(1, 13, (3, 5), generator=torch.Generator().manual_seed(4))
    cached = TransformerStep(model, prompt=prompt_kind, types=types)
    plain = whole_text(model, prompt, types, prompt_kind == "prefix")
    settings = {"eos_token_id": 3, "max_new_tokens": 10}
    for search in (greedy_search, lambda *a, **k: beam_search(*a, num_beams=3, **k)):
        ours, theirs = search(cached, prompt, **settings), search(plain, prompt, **settings)
        assert torch.equal(ours.tokens, theirs.tokens)
        torch.testing.assert_close(ours.log_probs, theirs.log_probs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prompt_kind", ["causal", "prefix"])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_on_the_left_changes_nothing(kind, prompt_kind):
    model = transformer(**KINDS[kind])
    prompts = [[5, 6, 7, 8, 1], [9, 2], [4, 4, 12]]
    settings = {"eos_token_id": 3, "max_new_tokens": 8}
    step = TransformerStep(model, prompt=prompt_kind, pad_token_id=0)
    together = beam_search(step, left_padded(prompts, 0), num_beams=2, **settings)
    for row, prompt in enumerate(prompts):
        alone = beam_search(step, torch.tensor([prompt]), num_beams=2, **settings)
        n = alone.tokens.shape[-1]
        assert torch.equal(together.tokens[row, :, :n], alone.tokens[0])
        torch.testing.assert_close(together.log_probs[row], alone.log_probs[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("head", HEADS, ids=["ST", "ST odds", "NMST"])
def test_the_state_of_a_head_follows_its_beams(head):
    model = transformer()
    prompt = torch.randint(1, 13, (3, 4), generator=torch.Generator().manual_seed(4))

    def whole(ids):
        given = (torch.arange(ids.shape[1]) < prompt.shape[1] - 1).expand(len(ids), -1)
        return head(model.logits(model(ids, mask=Mask(causal=True))), given)[0]

    settings = {"eos_token_id": 2, "max_new_tokens": 12, "num_beams": 4}
    ours = beam_search(with_head(TransformerStep(model), head), prompt, **settings)
    theirs = beam_search(uncached_step(whole), prompt, **settings)
    assert torch.equal(ours.tokens, theirs.tokens)
    torch.testing.assert_close(ours.log_probs, theirs.log_probs, atol=1e-4, rtol=1e-4)


def test_any_state_of_tensors_follows_its_rows():
    def step(tokens, state):  # remembers how often each token was read, in a nest of containers
        seen = torch.zeros(len(tokens), 5) if state is None else state["deep"][0]
        seen = seen + F.one_hot(tokens, 5).sum(1)
        return normal(5, 5, seed=8, dtype=torch.float32)[tokens[:, -1]] - seen, {"deep": [seen, None, ("kept", 3)]}

    def whole(ids):
        return torch.stack([step(ids[:, : t + 1], None)[0] for t in range(ids.shape[1])], 1)

    settings = {"num_beams": 3, "eos_token_id": 0, "max_new_tokens": 7}
    prompt = torch.tensor([[1, 2], [4, 3]])
    ours, theirs = (beam_search(s, prompt, **settings) for s in (step, uncached_step(whole)))
    assert torch.equal(ours.tokens, theirs.tokens)


# ---- diagnostics ----------------------------------------------------------------------------------------------------


def test_non_termination_ratio_and_its_interval():
    found = non_termination_ratio([[1, 0]] * 8 + [[1, 1, 1]] * 2, 0, 3)
    assert found.ratio == 0.2
    assert (found.low, found.high) == pytest.approx((0.0567, 0.5098), abs=1e-4)  # Wilson's interval of 2 in 10
    none = non_termination_ratio(torch.zeros(1000, 2).long(), [0, 7], 2)
    assert none.ratio == none.low == 0
    assert none.high == pytest.approx(0.00383, abs=1e-5)
    assert non_termination_ratio([[1, 1, 0]], 0, 2).ratio == 1, "an end beyond L is no end within L"


@given(st.lists(st.integers(0, 2), max_size=14), st.integers(1, 4))
def test_repetition_ratio_by_a_loop(tokens, n):
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    again = sum(gram in grams[:i] for i, gram in enumerate(grams))
    assert repetition_ratio([tokens], n)[0] == pytest.approx(again / len(grams) if grams else 0)


@given(st.lists(st.integers(0, 3), max_size=6), st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(3, 5))
def test_a_loop_is_found_with_its_period(start, loop, times):
    period = looping_period([start + loop * times])[0]
    assert 1 <= period <= len(loop)
    tail = (start + loop * times)[-3 * period :]
    assert tail == tail[:period] * 3


def test_no_loop_no_period():
    assert looping_period([[], [1], [1, 2, 1, 2], [1, 1, 2]]) == [0, 0, 0, 0]
    assert looping_period([[1, 2, 1, 2]], min_repeats=2) == [2]


# ---- errors ---------------------------------------------------------------------------------------------------------

S = torch.zeros(2, 4)
WRONG = pytest.mark.wrong_types
PROMPT = torch.zeros(1, 1).long()
GO = {"eos_token_id": 2, "max_new_tokens": 2}


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda: top_k(S, 0), ValueError, "k must"),
    pytest.param(lambda: top_k(S, 1.5), TypeError, "k must be an integer", marks=WRONG),
    (lambda: top_p(S, 0.0), ValueError, "p must"),
    (lambda: top_p(S, 1.1), ValueError, "p must"),
    (lambda: top_p(S, 0.5, min_tokens_to_keep=0), ValueError, "min_tokens_to_keep must"),
    (lambda: consistent_top_k(S, 2, eos_token_id=4), ValueError, "eos_token_id must be a token of the 4"),
    (lambda: consistent_top_k(S, 2, eos_token_id=-1), ValueError, "eos_token_id must"),
    (lambda: consistent_top_k(S, 2, eos_token_id=[]), ValueError, "eos_token_id must be one id or several"),
    pytest.param(lambda: consistent_top_p(S, 0.5, eos_token_id=None), TypeError, "eos_token_id must be a number", marks=WRONG),
    (lambda: termination_floor(S, -1, epsilon=0.1, eos_token_id=0), ValueError, "step must"),
    (lambda: termination_floor(S, 0, epsilon=1.0, eos_token_id=0), ValueError, "epsilon must"),
    (lambda: SelfTerminatingHead(0, -0.1), ValueError, "epsilon must"),
    pytest.param(lambda: SelfTerminatingHead(0, 0.1, eos_logit="up"), ValueError, "eos_logit must be one of", marks=WRONG),
    pytest.param(lambda: NonMonotonicHead(0, 0.1, eos_logit="continue"), ValueError, "eos_logit must be one of", marks=WRONG),
    (lambda: NonMonotonicHead(9, 0.1)(S[None]), ValueError, "the vocabulary must hold the token eos_token_id = 9"),
    (lambda: NonMonotonicHead(0, 0.1)(torch.zeros(1, 2, 1)), ValueError, "and one more"),
    (lambda: NonMonotonicHead(0, 0.1)(torch.zeros(1, 0, 3)), ValueError, "of one token at least"),
    pytest.param(lambda: SelfTerminatingHead(0, 0.1)(S[None], torch.ones(1, 3).bool()), ValueError, "prompt_mask must", marks=WRONG),
    (lambda: SelfTerminatingHead(0, 0.1, eos_logit="odds").start_(torch.zeros(3)), ValueError, "'continue' or 'stop'"),
    (lambda: termination_horizon(0.0), ValueError, "epsilon must"),
    (lambda: termination_horizon(0.1, beams=0), ValueError, "beams must"),
    (lambda: greedy_search(chain(BIGRAMS), PROMPT[0], **GO), ValueError, "prompt must"),
    (lambda: greedy_search(chain(BIGRAMS), PROMPT[:, :0], **GO), ValueError, "prompt must"),
    (lambda: sample(chain(BIGRAMS), PROMPT, eos_token_id=2, max_new_tokens=0), ValueError, "max_new_tokens must"),
    (lambda: beam_search(chain(BIGRAMS), PROMPT, num_beams=0, **GO), ValueError, "num_beams must"),
    (lambda: beam_search(chain(BIGRAMS), PROMPT, num_beams=2, early_stopping="soon", **GO), ValueError, "early_stopping must"),
    (lambda: greedy_search(constant([-math.inf] * 3), PROMPT, **GO), ValueError, "scores must be numbers.*in row 0 at step 0"),
    (lambda: beam_search(constant([math.nan] * 3), PROMPT, num_beams=2, **GO), ValueError, "scores must be numbers"),
    (lambda: beam_search(lambda t, s: (S[:1, :3], object()), PROMPT, num_beams=2, **GO), TypeError, "the state of the step"),
    (lambda: TransformerStep(transformer(), prompt="both"), ValueError, "prompt must be one of"),
    (lambda: TransformerStep(transformer(head="none")), ValueError, "model.config.head must"),
    (lambda: TransformerStep(transformer(), pad_token_id=0)(torch.tensor([[1, 0]]), None), ValueError, "padded on the left"),
    (lambda: TransformerStep(transformer(), pad_token_id=0)(torch.tensor([[0, 0]]), None), ValueError, "a token in each row"),
    (lambda: non_termination_ratio([[1]], 0, 2), ValueError, "1 tokens without one in row 0"),
    (lambda: non_termination_ratio([], 0, 2), ValueError, "hold one text"),
    (lambda: repetition_ratio([[1]], 0), ValueError, "n must"),
    (lambda: looping_period([[1]], min_repeats=1), ValueError, "min_repeats must"),
    (lambda: bigram_repetition_index([[0.5, 0.5]]), ValueError, "transitions must be a square"),
    (lambda: bigram_repetition_index([[0.5, 0.6], [0, 0]]), ValueError, "transitions must have rows"),
])  # fmt: skip
def test_errors_name_the_argument(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_a_text_longer_than_learned_positions_is_refused():
    step = TransformerStep(transformer(positions="learned"), pad_token_id=0)
    with pytest.raises(ValueError, match="at most max_positions = 24 tokens: got 25"):
        greedy_search(step, torch.tensor([[0, 5], [4, 5]]), eos_token_id=(), max_new_tokens=30)
    with pytest.raises(ValueError, match="positions must be left out"):
        transformer()(torch.tensor([[1]]), positions=torch.tensor([[0]]))


def test_epsilon_0_is_warned_of():
    with pytest.warns(NoTerminationGuaranteeWarning, match="guarantees nothing"):
        termination_floor(S, 0, epsilon=0.0, eos_token_id=0)
