"""CoSENT against loops, published check values, sentence-transformers, and the properties that its page derives."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st

from gezhi.data import DataUnavailable, Pairs, read
from gezhi.experiments.cosent import TEXTS, TUNED, by_matrix
from gezhi.experiments.setups import pairs as digit_pairs
from gezhi.experiments.setups import questions
from gezhi.experiments.setups import texts as text_pairs
from gezhi.losses import CoSENTLoss, NoRankedPairWarning, cosent_loss, optimal_threshold


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def some_labels(*shape, seed=0, count=4):
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(seed))


GRADED = some_labels(9)
SAMPLES = [
    Sample(cosent_loss, (normal(9), GRADED), {"scale": 3.0}),
    Sample(cosent_loss, (normal(100), some_labels(100))),
    Sample(CoSENTLoss(), (normal(9, 4), normal(9, 4, seed=1), GRADED)),
    Sample(CoSENTLoss(0.5, "dot"), (normal(9, 4), normal(9, 4, seed=1), GRADED)),
    Sample(
        optimal_threshold,
        (normal(9), GRADED > 1),
        compiles=False,
        differentiable=False,
        reason="a search that ends in Python numbers",
    ),
]

tensor = torch.tensor
COSINES_1, LABELS_1 = tensor([0.9, 0.2, 0.6, 0.7], dtype=torch.float64), tensor([1, 0, 1, 0])
COSINES_2 = tensor([0.31, 0.86, 0.12, 0.55, 0.47], dtype=torch.float64)
LABELS_2 = tensor([2, 5, 0.5, 2, 3.8])
SEEDS, SIZES = st.integers(0, 10**6), st.integers(2, 90)


def reference_cosent(scores, labels, scale=1.0):
    """Equation (3) and its gradient by loops, in Python's floats."""
    s, y = scores.tolist(), labels.tolist()
    omega = [(a, b) for a, b in itertools.product(range(len(s)), repeat=2) if y[a] > y[b]]
    terms = [0.0, *(scale * (s[b] - s[a]) for a, b in omega)]
    loss = max(terms) + math.log(math.fsum(math.exp(t - max(terms)) for t in terms))
    gradient = [0.0] * len(s)
    for (a, b), term in zip(omega, terms[1:], strict=True):
        weight = scale * math.exp(term - loss)
        gradient[b] += weight
        gradient[a] -= weight
    return loss, gradient


def value_and_gradient(scores, labels, **kwargs):
    scores = scores.detach().clone().requires_grad_()
    loss = cosent_loss(scores, labels, **kwargs)
    (gradient,) = torch.autograd.grad(loss, scores)
    return loss.item(), gradient.tolist()


def reference_cosines(a, b):
    """Equation (4) by loops; 0 where a row is zero."""
    found = []
    for u, v in zip(a.tolist(), b.tolist(), strict=True):
        norms = math.hypot(*u) * math.hypot(*v)
        found.append(math.fsum(x * y for x, y in zip(u, v, strict=True)) / norms if norms else 0.0)
    return tensor(found, dtype=torch.float64)


def brute_threshold(scores, labels):
    """Equation (7) over every candidate, one by one."""
    values = sorted(set(scores.tolist()))
    candidates = [-math.inf, *((a + b) / 2 for a, b in itertools.pairwise(values)), math.inf]
    right = [((scores >= t) == labels.bool()).double().mean().item() for t in candidates]
    return candidates[right.index(max(right))], max(right)


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 20.0])
@pytest.mark.parametrize("n", [2, 3, 31, 64, 65, 100])
def test_loss_is_the_formula(n, scale):
    scores, labels = normal(n), some_labels(n)
    loss, gradient = value_and_gradient(scores, labels, scale=scale)
    expected, slope = reference_cosent(scores, labels, scale)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert gradient == pytest.approx(slope, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("n", [7, 80])
def test_module_is_the_loss_of_cosines(n):
    a, b, labels = normal(n, 5), normal(n, 5, seed=1), some_labels(n)
    assert CoSENTLoss()(a, b, labels).item() == pytest.approx(reference_cosent(reference_cosines(a, b), labels, 20)[0])
    product = (a * b).sum(-1)
    assert CoSENTLoss(2, "dot")(a, b, labels).item() == pytest.approx(reference_cosent(product, labels, 2)[0])


@given(SEEDS, st.integers(1, 12), st.integers(1, 6))
def test_threshold_is_the_best_of_all(seed, n, distinct):
    scores, labels = some_labels(n, seed=seed, count=distinct).double(), some_labels(n, seed=seed + 1, count=2)
    assert optimal_threshold(scores, labels) == brute_threshold(scores, labels)


@pytest.mark.parametrize(
    ("cosines", "labels", "scale", "expected"),
    [
        (COSINES_1, LABELS_1, 20, 2.1291489079450816),
        (COSINES_2, LABELS_2, 20, 1.7950403527280876),
        (COSINES_2, LABELS_2, 1, 2.0257974246477826),
        (tensor([3, -1, 0.5, 2], dtype=torch.float64), LABELS_1, 1, 1.806814621309258),
        (tensor([1000.0, -1000.0]), tensor([0, 1]), 1, 2000),
        (tensor([1000.0, -1000.0]), tensor([1, 0]), 1, 0),
    ],
)
def test_check_values(cosines, labels, scale, expected):
    assert cosent_loss(cosines, labels, scale=scale).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("cosines", "labels", "expected"),
    [
        (COSINES_1, LABELS_1, [-0.04357066241547, 0.000799966305544, -17.57765976995, 17.62043046606]),
        (
            COSINES_2,
            LABELS_2,
            [0.061159459488627325, -0.008160651702988136, 0.07796755493156886, 16.46216003694665, -16.593126399663856],
        ),
    ],
)
def test_check_values_of_the_gradient(cosines, labels, expected):
    assert value_and_gradient(cosines, labels, scale=20)[1] == pytest.approx(expected, rel=1e-12, abs=1e-11)


def test_check_values_of_embeddings():
    u = tensor([[1, 2, 0], [0.5, -1, 2], [3, 0, 4]], dtype=torch.float64)
    v = tensor([[2, 1, 0], [1, 1, 1], [0, 5, 12]], dtype=torch.float64)
    assert reference_cosines(u, v).tolist() == pytest.approx([0.8, 0.37796447300922725, 0.7384615384615384])
    assert CoSENTLoss()(u, v, tensor([1, 0.2, 0.6])).item() == pytest.approx(0.2569828265642026, rel=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_check_value_far_below_rounding(dtype):
    loss, gradient = value_and_gradient(tensor([25, -12], dtype=dtype), tensor([1, 0]))
    assert loss == pytest.approx(8.533047625744066e-17, rel=1e-8 if dtype == torch.float64 else 1e-5)
    assert gradient == pytest.approx([-loss, loss], rel=1e-5)


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [some_labels(300), some_labels(300, count=2), normal(300)], ids=["", "0/1", "real"])
@pytest.mark.parametrize("n", [16, 64, 300])
def test_sentence_transformers_gives_the_same(n, labels):
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    theirs = losses.CoSENTLoss(torch.nn.Identity())
    a, b = normal(n, 12).requires_grad_(), normal(n, 12, seed=1).requires_grad_()
    found = []
    for loss in (CoSENTLoss()(a, b, labels[:n]), theirs.compute_loss_from_embeddings([a, b], labels[:n])):
        found.append((loss, *torch.autograd.grad(loss, (a, b))))
    for ours, other in zip(*found, strict=True):
        torch.testing.assert_close(ours, other, atol=1e-12, rtol=1e-10)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(SEEDS, SIZES)
def test_only_the_order_of_labels_counts(seed, n):
    scores, labels = normal(n, seed=seed), some_labels(n, seed=seed).double()
    plain = value_and_gradient(scores, labels) if labels.unique().numel() > 1 else None
    for relabelled in (labels.exp() - 9, labels**3 * 1e6, labels.unique(return_inverse=True)[1], -1 / (1 + labels)):
        if plain:
            assert value_and_gradient(scores, relabelled) == plain


@given(SEEDS, SIZES, st.floats(-50, 50))
def test_shift_and_permutation_change_nothing_and_the_gradient_sums_to_0(seed, n, shift):
    scores, labels = normal(n, seed=seed), some_labels(n, seed=seed)
    labels[:2] = tensor([0, 1])
    loss, gradient = value_and_gradient(scores, labels)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert value_and_gradient(scores + shift, labels)[0] == pytest.approx(loss, rel=1e-10)
    permuted, moved = value_and_gradient(scores[order], labels[order])
    assert permuted == pytest.approx(loss, rel=1e-12)
    assert moved == pytest.approx([gradient[i] for i in order.tolist()], rel=1e-9, abs=1e-12)
    assert math.fsum(gradient) == pytest.approx(0, abs=1e-12)


@given(SEEDS, SIZES, st.booleans())
def test_loss_bounds_the_number_of_wrongly_ordered_pairs(seed, n, ties):
    scores, labels = normal(n, seed=seed), some_labels(n, seed=seed)
    labels[:2] = tensor([0, 1])
    scores = scores.round() if ties else scores
    wrong = (labels[:, None] > labels) & (scores[:, None] <= scores)
    for scale in (1.0, 20.0, 1000.0):
        assert cosent_loss(scores, labels, scale=scale).item() >= math.log1p(wrong.sum().item()) - 1e-12
    assert math.expm1(min(cosent_loss(scores, labels, scale=1e6).item(), 700)) == pytest.approx(0) or wrong.any()


@given(SEEDS, st.floats(0.1, 50))
def test_length_of_embeddings_does_not_count(seed, factor):
    a, b, labels = normal(9, 4, seed=seed), normal(9, 4, seed=seed + 1), GRADED
    assert CoSENTLoss()(a * factor, b, labels).item() == pytest.approx(CoSENTLoss()(a, b, labels).item(), rel=1e-10)


# ---- gradient -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [9, 70])
def test_gradcheck(n):
    labels = some_labels(n)
    call, scores = (lambda s: cosent_loss(s, labels, scale=3.0)), normal(n).requires_grad_()
    assert torch.autograd.gradcheck(call, scores)
    assert n > 9 or torch.autograd.gradgradcheck(call, scores)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_gradcheck_of_the_module(similarity):
    loss = CoSENTLoss(5.0, similarity)
    inputs = (normal(5, 3).requires_grad_(), normal(5, 3, seed=1).requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, tensor([0, 1, 1, 2, 0])), inputs)
    assert torch.autograd.gradgradcheck(lambda a, b: loss(a, b, tensor([0, 1, 1, 2, 0])), inputs)


# ---- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 5, 100])
def test_no_ordered_pair_warns_and_gives_exactly_0_with_a_graph(n):
    scores = normal(n).requires_grad_()
    with pytest.warns(NoRankedPairWarning, match=f"all {n} labels are equal"):
        loss = cosent_loss(scores, torch.full((n,), 3.0))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(scores.grad, torch.zeros_like(scores))


def test_the_warning_comes_once_a_place():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            cosent_loss(torch.ones(2), torch.ones(2))
    assert len(caught) == 1


def test_scores_in_perfect_order_do_not_warn():
    assert cosent_loss(tensor([1e3, -1e3]), tensor([1, 0])).item() == 0


def test_zero_rows_have_cosine_0_and_a_finite_gradient():
    a, b = normal(4, 3), normal(4, 3, seed=1)
    a[1], b[1], b[2] = 0, 0, 0
    a, b = a.requires_grad_(), b.requires_grad_()
    labels = tensor([0, 1, 2, 3])
    loss = CoSENTLoss()(a, b, labels)
    assert loss.item() == pytest.approx(reference_cosent(reference_cosines(a, b), labels, 20)[0])
    for gradient in torch.autograd.grad(loss, (a, b)):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() < 1e3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("n", [32, 200])
def test_half_precision_is_computed_in_single(n, dtype):
    a, b, labels = normal(n, 16).to(dtype).requires_grad_(), normal(n, 16, seed=1).to(dtype), some_labels(n)
    loss = CoSENTLoss()(a, b, labels)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(CoSENTLoss()(a.double(), b.double(), labels).item(), rel=1e-5)
    loss.backward()
    assert a.grad.dtype == dtype
    assert torch.isfinite(a.grad).all()
    scores = normal(n).to(dtype)
    assert cosent_loss(scores, labels, scale=20).item() == pytest.approx(
        reference_cosent(scores, labels, 20)[0], rel=1e-5
    )


@pytest.mark.parametrize("n", [32, 200])
def test_autocast_changes_nothing(n):
    a, b, labels = normal(n, 16, dtype=torch.float32), normal(n, 16, seed=1, dtype=torch.float32), some_labels(n)
    plain = CoSENTLoss()(a, b, labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(CoSENTLoss()(a, b, labels), plain)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float16, torch.float64])
@pytest.mark.parametrize("n", [20, 100])
def test_labels_of_any_type(n, dtype):
    scores, labels = normal(n), some_labels(n, count=2)
    assert cosent_loss(scores, labels.to(dtype)).item() == pytest.approx(reference_cosent(scores, labels)[0])


def test_threshold_at_the_ends_and_between_neighbouring_floats():
    assert optimal_threshold(tensor([1.0, 2.0]), tensor([1, 1])) == (-math.inf, 1)
    assert optimal_threshold(tensor([1.0, 2.0]), tensor([0, 0])) == (math.inf, 1)
    assert optimal_threshold(tensor([1.0]), tensor([False])) == (math.inf, 1)
    assert optimal_threshold(tensor([1.0, 2.0]), tensor([1, 0])) == (-math.inf, 0.5)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        low = tensor(1 / 3, dtype=dtype)
        scores = torch.stack([low, torch.nextafter(low, torch.ones_like(low))])
        found = optimal_threshold(scores, tensor([0, 1]))
        assert found.accuracy == 1
        assert (scores >= found.threshold).tolist() == [False, True]


def test_the_modules_words_say_its_arguments():
    assert repr(CoSENTLoss(20)) == "CoSENTLoss(scale=20, similarity='cosine')"


# ---- errors ---------------------------------------------------------------------------------------------------------

NAN = math.nan


@pytest.mark.parametrize("size", [3, 100])
@pytest.mark.wrong_types
def test_numbers_that_are_none_are_refused(size):
    scores, labels = normal(size), some_labels(size).double()
    for bad in (NAN, math.inf, -math.inf):
        with pytest.raises(ValueError, match=r"scores must be finite: got (nan|-?inf)"):
            cosent_loss(torch.where(labels == labels.max(), -bad, scores), labels)
    with pytest.raises(ValueError, match="labels must be numbers: got nan"):
        cosent_loss(scores, torch.cat([labels[:-1], tensor([NAN])]))
    with pytest.raises(ValueError, match="scores must be finite: got nan"):
        cosent_loss(torch.full((size,), NAN), torch.zeros(size))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cosent_loss(torch.zeros(3), torch.zeros(2)), r"labels must have shape \(3,\): got \(2,\)"),
        (lambda: cosent_loss(torch.zeros(3, 1), torch.zeros(3)), r"scores must have shape \(pairs,\): got \(3, 1\)"),
        (
            lambda: cosent_loss(torch.zeros(2), torch.zeros(2), scale=0),
            "scale must lie strictly between 0 and inf: got 0",
        ),
        (lambda: CoSENTLoss(-1), "scale must lie strictly between 0 and inf: got -1"),
        (lambda: CoSENTLoss(NAN), "scale must lie strictly between 0 and inf: got nan"),
        (lambda: CoSENTLoss(similarity="euclid"), "similarity must be one of 'cosine', 'dot': got 'euclid'"),
        (
            lambda: CoSENTLoss()(torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2)),
            r"emb_a and emb_b must be matrices of one shape: got \(2, 3\) and \(2, 4\)",
        ),
        (
            lambda: CoSENTLoss()(normal(2, 3), normal(2, 3), torch.zeros(3)),
            r"labels must have shape \(2,\): got \(3,\)",
        ),
        (lambda: optimal_threshold(torch.zeros(0), torch.zeros(0)), "scores must hold a pair: got none"),
        (lambda: optimal_threshold(tensor([NAN]), tensor([1])), "scores must be finite: got nan"),
        (lambda: optimal_threshold(torch.zeros(2), tensor([0, 3])), "labels must be 0 or 1: got 3"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.wrong_types
def test_types_are_named():
    with pytest.raises(TypeError, match=r"scores must be a floating-point tensor: got torch.int64"):
        cosent_loss(tensor([1, 2]), tensor([0, 1]))
    with pytest.raises(TypeError, match=r"labels must be real numbers: got torch.complex64"):
        cosent_loss(torch.zeros(2), torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(TypeError, match="scale must be a number: got '20'"):
        CoSENTLoss("20")


# ---- the experiment's own parts -------------------------------------------------------------------------------------


def test_digit_pairs_alternate_and_hard_negatives_are_near():
    data = read("digits")
    classes = {(row / 16).astype(np.float32).tobytes(): y for row, y in zip(data.X, data.y, strict=True)}
    size = digit_pairs.Size(60, 60, 1, validation=40)
    cosine = {}
    for negatives in ("hard", "random"):
        train, validation, test = digit_pairs.digit_pairs(data, 3, size, negatives)
        for rows in (train, validation, test):
            same = [
                classes[a.numpy().tobytes()] == classes[b.numpy().tobytes()]
                for a, b in zip(rows.left, rows.right, strict=True)
            ]
            assert same == rows.labels.bool().tolist() == [i % 2 == 0 for i in range(len(same))]
        cosine[negatives] = torch.cosine_similarity(train.left, train.right)[1::2].mean()
        seen = {row.numpy().tobytes() for row in torch.cat([train.left, train.right])}
        assert not seen & {row.numpy().tobytes() for row in torch.cat([test.left, test.right, validation.left])}
    assert cosine["hard"] > cosine["random"] + 0.1


def embedded(left, right):
    count = max(*left, *right) + 1
    return text_pairs.Embedded(
        normal(count, 6, dtype=torch.float32), np.array(left), np.array(right), normal(len(left))
    )


@pytest.mark.parametrize("every_pair", [True, False], ids=["one group", "many groups"])
def test_texts_of_the_test_are_not_in_training(every_pair):
    links = list(itertools.combinations(range(16), 2)) if every_pair else [(2 * i, 2 * i + 1) for i in range(60)]
    case = embedded(*map(list, zip(*links, strict=True)))
    train, test = text_pairs.divided(case, 1)
    texts = [{row.numpy().tobytes() for row in torch.cat([rows.left, rows.right])} for rows in (train, test)]
    assert not texts[0] & texts[1]
    assert len(train.labels) + len(test.labels) == (60 if not every_pair else pytest.approx(60, abs=10))


def test_too_few_pairs_are_named():
    with pytest.raises(ValueError, match="pairs must leave 8 for training and 8 for the test: got"):
        text_pairs.divided(embedded([0, 2, 4], [1, 3, 5]), 0)


def test_classes_and_targets_of_graded_labels():
    graded = torch.arange(100, dtype=torch.float64)
    assert digit_pairs.SentenceBert(4, graded).cuts.tolist() == pytest.approx([19.8, 39.6, 59.4, 79.2])
    assert digit_pairs.SentenceBert(4, tensor([3.0, 1, 1, 2])).cuts.tolist() == [1.5, 2.5]
    seen = []
    digit_pairs.Regression(lambda cosine, y: seen.append(y) or cosine, graded)(
        normal(3, 2), normal(3, 2), tensor([0.0, 99, 49.5])
    )
    assert seen[0].tolist() == [0, 1, 0.5]


@pytest.mark.parametrize("arm", TEXTS.arms)
def test_every_arm_of_the_texts_runs_and_no_training_leaves_the_cosine_as_it_is(arm):
    case = embedded([2 * i for i in range(60)], [2 * i + 1 for i in range(60)])
    found = text_pairs.adapted(TEXTS.arms[arm], case, 0, 1)["spearman"]
    assert -1 <= found <= 1
    if TEXTS.arms[arm] is None:
        rows = text_pairs.divided(case, 0)[1]
        assert found == digit_pairs.correlation(torch.cosine_similarity, rows)


@pytest.fixture
def tiny_encoder(tmp_path):
    """A folder with a BERT of one layer that knows five letters."""
    hub = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcde"]))
    hub.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = hub.BertConfig(
        vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    hub.BertModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_texts_are_embedded_by_the_named_folder(tiny_encoder):
    hub = pytest.importorskip("transformers")
    model = hub.BertModel.from_pretrained(tiny_encoder).eval()
    pairs = Pairs(("a b c", "d"), ("d", "e e"), np.array([1.0, 0.0]), "toy", tiny_encoder)
    case = text_pairs.embedded(pairs)
    tokenizer = hub.AutoTokenizer.from_pretrained(tiny_encoder)
    for texts, rows in ((pairs.left, case.left), (pairs.right, case.right)):
        for text, row in zip(texts, rows, strict=True):
            with torch.no_grad():
                mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
            torch.testing.assert_close(case.vectors[row], mean / mean.norm(), atol=1e-5, rtol=1e-4)


def some_questions(count=120, pairs=50):
    texts = [" ".join("abcde"[int(digit)] for digit in np.base_repr(i, 5)) for i in range(count)]
    return questions.Questions(texts, np.arange(count) % 3, normal(count, 6, dtype=torch.float32), pairs)


def test_questions_are_on_one_side_and_pairs_alternate():
    case = some_questions()
    train, test = questions.drawn(case, 3)
    assert not set(np.concatenate(train)) & set(np.concatenate(test))
    for left, right in (train, test):
        assert len(set(left)) == case.pairs
        assert (left != right).all()
        assert (case.labels[left] == case.labels[right]).tolist() == [i % 2 == 0 for i in range(case.pairs)]
        cosine = (case.vectors[left] * case.vectors[right]).sum(1)
        assert cosine[1::4].mean() > cosine[3::4].mean() + 0.5  # every other pair of two kinds is a near one
    assert case.divide(3)[1].labels.tolist() == [float(i % 2 == 0) for i in range(case.pairs)]


@pytest.mark.parametrize("arm", TUNED.arms)
def test_the_encoder_itself_is_trained(arm, tiny_encoder, monkeypatch):
    monkeypatch.setattr(questions, "read", {"minilm": tiny_encoder}.__getitem__)
    case = some_questions()
    before, after = (questions.finetuned(TUNED.arms[arm], case, 0, steps) for steps in (0, 20))
    assert (before != after) == (TUNED.arms[arm].loss is not None)
    assert all(-1 <= value <= 1 for value in after.values())


def test_a_folder_without_an_encoder_is_named(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(DataUnavailable, match=f"{tmp_path}: no encoder for transformers with safetensors weights"):
        text_pairs.vectors_of(["a"], tmp_path)


def test_the_matrix_of_the_cost_study_is_the_same_loss():
    scores, labels = normal(50), some_labels(50)
    assert by_matrix(scores, labels).item() == pytest.approx(reference_cosent(scores, labels)[0])


def test_an_encoder_with_code_of_its_own_is_refused_without_a_question(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Model"}, "model_type": "evil"}')
    (tmp_path / "evil.py").write_text("raise SystemExit(3)")
    with pytest.raises(DataUnavailable, match="code of its own, which gezhi does not run"):
        text_pairs.vectors_of(["a"], tmp_path)
