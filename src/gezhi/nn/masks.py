r"""Masks of language models: one direction, a permuted order, source to target; and what a stack of layers can see.

Title: Attention masks | 注意力掩码
Also: UniLM mask, prefix LM, permutation LM, XLNet mask, 6933
Tags: attention, mask, language model
Articles: 从语言模型到Seq2Seq:Transformer如戏,全靠Mask
Page: docs/methods/masks.md
Notation: $M_{ij}$ = `mask[i, j]`, True: output i may use input j; $c$ = `segment_ids.cumsum()`; $z$ = `order`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gezhi._checks import check_number, invalid
from gezhi.nn.attention import Mask

__all__ = [
    "causal_mask",
    "document_mask",
    "is_transitive",
    "padding_mask",
    "permutation_lm_mask",
    "permuted_inputs",
    "prefix_lm_mask",
    "prove_visibility",
    "reachable",
    "seq2seq_loss_weights",
    "window_mask",
]


def causal_mask(n_q: int, n_k: int | None = None) -> Bool[Tensor, "queries keys"]:
    r"""Each token sees itself and what came before; the last query sees all keys, so that cached keys count.

    $$M_{ij}=[j\le i+n_k-n_q] \tag{2}$$

    Args:
        n_q: queries, at most as many as keys.
        n_k: keys, by default as many as queries.
    Use instead: `Mask(causal=True)`, which costs no memory.
    Example:
        >>> causal_mask(2, 5).long().tolist()
        [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]

    References: 苏剑林, 从语言模型到Seq2Seq:Transformer如戏,全靠Mask, 2019.
    """
    n_k = n_q if n_k is None else n_k
    found = Mask(causal=True).tensor(n_q, n_k)  # (2)
    return torch.ones(n_q, n_k, dtype=torch.bool) if found is None else found


def prefix_lm_mask(
    segment_ids: Int[Tensor, "*batch tokens"] | None = None,
    *,
    prefix_length: int | None = None,
    n: int | None = None,
    multi: bool = False,
) -> Bool[Tensor, "*batch_heads tokens tokens"]:
    r"""The source sees itself whole, the target sees the source and what came before in the target (UniLM).

    $$M_{ij}=[c_j\le c_i]=[j\le i]\lor[j<p] \tag{4}$$

    Args:
        segment_ids: 0 for the tokens of the source, then 1 for those of the target; (n,) or (batch, n).
        prefix_length: p, the tokens of the source, with the length `n` instead of segments.
        multi: allow other sequences of 0 and 1. The level rises at each 1, so 0s after a target share the level of its
            last token and are seen by it: combine with a padding mask where they are padding.
    Returns: (n, n), or (batch, 1, n, n).
    Errors: ValueError for segments that fall back to 0 without `multi`, and for a prefix longer than n.
    Use instead: `Mask(causal=True, prefix=p)` where all sources are equally long; it costs no memory.
    Example:
        >>> prefix_lm_mask(torch.tensor([0, 0, 1])).long().tolist()
        [[1, 1, 0], [1, 1, 0], [1, 1, 1]]

    References: L. Dong et al., Unified Language Model Pre-training, 2019.
    """
    if (segment_ids is None) != (prefix_length is not None and n is not None):
        raise invalid("prefix_lm_mask", "get segment_ids, or prefix_length and n", "both or neither")
    if prefix_length is not None and n is not None:
        check_number("prefix_length", prefix_length, at_least=0, at_most=n)
        segment_ids = (torch.arange(n) >= prefix_length).long()
    ids = _levels(torch.as_tensor(segment_ids), multi)
    mask = ids[..., None, :] <= ids[..., :, None]  # (4)
    return mask if ids.ndim == 1 else mask[:, None]


def _levels(segment_ids: Tensor, multi: bool) -> Tensor:
    _check_ids("segment_ids", segment_ids)
    strange = segment_ids[(segment_ids != 0) & (segment_ids != 1)]
    if strange.numel():
        raise invalid("segment_ids", "be 0 (source) or 1 (target)", strange[0].item())
    if not multi and (segment_ids.diff(dim=-1) < 0).any():
        fix = "Pass multi=True where several targets, or padding with 0, are meant."
        raise invalid("segment_ids", "not fall from 1 back to 0", segment_ids.tolist(), fix)
    return segment_ids.cumsum(-1)


def permutation_lm_mask(
    order: Int[Tensor, "*batch tokens"] | Sequence[int],
) -> tuple[Bool[Tensor, "*batch_heads tokens tokens"], Bool[Tensor, "*batch_heads tokens tokens"]]:
    r"""Masks of a language model that reads positions in the order z: for the content and for the query stream.

    $$\text{content: }[\mathrm{rank}(j)\le\mathrm{rank}(i)],\qquad\text{query: }[\mathrm{rank}(j)<\mathrm{rank}(i)],
      \qquad\mathrm{rank}(z_t)=t \tag{3}$$

    Args:
        order: the positions 0..n-1 in the order in which they are read; (n,) or (batch, n).
    Returns: two masks (n, n), or (batch, 1, n, n). The row of the first position in the query mask is empty.
    Errors: ValueError naming what is missing or occurs twice.
    Example:
        >>> content, query = permutation_lm_mask([2, 0, 1])
        >>> content.long().tolist(), query.long().tolist()
        ([[1, 0, 1], [1, 1, 1], [0, 0, 1]], [[0, 0, 1], [1, 0, 1], [0, 0, 0]])

    References: Z. Yang et al., XLNet: Generalized Autoregressive Pretraining, 2019.
    """
    order = torch.as_tensor(order)
    _check_ids("order", order)
    for row in (order[None] if order.ndim == 1 else order).tolist():
        counts = Counter(row)
        missing = sorted(set(range(len(row))) - counts.keys())
        if missing:
            twice = sorted(i for i, count in counts.items() if count > 1 or not 0 <= i < len(row))
            raise invalid(
                "order", f"hold each of 0..{len(row) - 1} once", f"{row}, missing {missing}, too many {twice}"
            )
    rank = order.argsort(-1)
    content, query = rank[..., None, :] <= rank[..., :, None], rank[..., None, :] < rank[..., :, None]  # (3)
    return (content, query) if order.ndim == 1 else (content[:, None], query[:, None])


def permuted_inputs(
    ids: Int[Tensor, "*batch tokens"], order: Int[Tensor, "*batch tokens"]
) -> tuple[Int[Tensor, "*batch tokens"], Int[Tensor, "*batch tokens"]]:
    """Tokens in the order in which they are read, and their true positions: with those and a plain causal mask a model
    gives the outputs of the content mask, in that order.

    Example:
        >>> ids, positions = permuted_inputs(torch.tensor([7, 8, 9]), torch.tensor([2, 0, 1]))
        >>> ids.tolist(), positions.tolist()
        ([9, 7, 8], [2, 0, 1])
    """
    return ids.gather(-1, order.expand_as(ids)), order.expand_as(ids)


def padding_mask(lengths: Int[Tensor, " batch"] | Sequence[int], n: int) -> Bool[Tensor, "batch 1 1 n"]:
    """Keys that are tokens, where sequences of these lengths are padded on the right to n.

    Example:
        >>> padding_mask([1, 3], 3)[:, 0, 0].long().tolist()
        [[1, 0, 0], [1, 1, 1]]
    """
    lengths = torch.as_tensor(lengths)
    if lengths.numel() and (int(lengths.max()) > n or int(lengths.min()) < 0):
        raise invalid("lengths", f"lie between 0 and n = {n}", lengths.tolist())
    return (torch.arange(n, device=lengths.device) < lengths[:, None])[:, None, None]


def window_mask(n: int, left: int, right: int = 0) -> Bool[Tensor, "n n"]:
    """Each token sees `left` tokens before it, itself, and `right` tokens after it.

    Example:
        >>> window_mask(3, 1).long().tolist()
        [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    check_number("left", left, at_least=0)
    check_number("right", right, at_least=0)
    ahead = torch.arange(n) - torch.arange(n)[:, None]
    return (ahead >= -left) & (ahead <= right)


def document_mask(document_ids: Int[Tensor, "*batch tokens"]) -> Bool[Tensor, "*batch_heads tokens tokens"]:
    """Tokens see those of their own document, where several are packed into one sequence.

    Example:
        >>> document_mask(torch.tensor([0, 0, 1])).long().tolist()
        [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    _check_ids("document_ids", document_ids)
    same = document_ids[..., None, :] == document_ids[..., :, None]
    return same if document_ids.ndim == 1 else same[:, None]


def seq2seq_loss_weights(segment_ids: Int[Tensor, "*batch tokens"]) -> Bool[Tensor, "*batch shorter"]:
    """Which rows but the last predict a token of the target: row i predicts token i + 1.

    Example:
        >>> seq2seq_loss_weights(torch.tensor([0, 0, 1, 1])).tolist()
        [False, True, True]
    """
    _check_ids("segment_ids", segment_ids)
    return segment_ids[..., 1:] == 1


def is_transitive(mask: Bool[Tensor, "*heads tokens tokens"]) -> bool:
    r"""Whether more layers see no more than one: $M\cdot M\le M$.

    Example:
        >>> is_transitive(causal_mask(4)), is_transitive(window_mask(4, 1))
        (True, False)
    """
    return bool((reachable(mask, 2, residual=False) <= mask).all())


def reachable(
    mask: Bool[Tensor, "*heads tokens tokens"], layers: int, *, residual: bool = True
) -> Bool[Tensor, "*heads tokens tokens"]:
    r"""Which inputs can reach which outputs through a stack of layers with this mask.

    $$(M\lor I)^L,\qquad\text{without residual paths: }M^L \tag{6}$$

    Args:
        mask: square, True may attend.
        layers: L ≥ 1.
        residual: every usual block adds its input to its output. Without, keys and values alone are counted: a query
            depends on its own input even where it may not attend to itself.
    Errors: TypeError unless bool, ValueError unless square.
    Example:
        >>> reachable(window_mask(4, 1), 2)[3].long().tolist()
        [0, 1, 1, 1]
    """
    check_number("layers", layers, at_least=1)
    if mask.dtype != torch.bool:
        raise invalid("mask", "be bool", mask.dtype, "Pass mask.bool(), True: may attend.", kind=TypeError)
    if mask.ndim < 2 or mask.shape[-1] != mask.shape[-2]:
        raise invalid("mask", "be square", tuple(mask.shape))
    step = mask | torch.eye(mask.shape[-1], dtype=torch.bool, device=mask.device) if residual else mask
    step = step.float()  # products of bool matrices are not defined; sums below 2^24 are exact
    seen = step
    for _ in range(layers - 1):
        seen = (seen @ step > 0).float()  # (6)
    return seen > 0


def prove_visibility(
    model: Callable[[Tensor], Tensor],
    mask: Bool[Tensor, "*heads tokens tokens"],
    inputs: Float[Tensor, "batch tokens dim"],
    *,
    layers: int = 1,
    strict: bool = False,
) -> list[tuple[int, int]]:
    r"""Pairs (i, j) in which output i of the model depends on input j although the mask forbids it.

    The derivative of output i in input j is exactly zero where no path leads from j to i, so a single gradient that is
    not zero proves a leak. Dropout has to be off.

    Args:
        model: from embedded tokens (batch, n, dim) to outputs (batch, n, …), such as
            `lambda x: bert(inputs_embeds=x).last_hidden_state`.
        mask: what one layer is meant to let through, (n, n) or broadcasting to (batch, heads, n, n).
        inputs: where the derivatives are taken; random numbers do.
        layers: L, for masks that let more through with each layer.
        strict: raise instead of returning leaks.
    Returns: the leaking pairs in order; an empty list is the proof for these inputs.
    Errors: ValueError in strict mode, and where the model changes the number of tokens.
    Cost: n backward passes.
    Example:
        >>> prove_visibility(lambda x: x.cumsum(1), causal_mask(3), torch.randn(1, 3, 2))
        []
        >>> prove_visibility(lambda x: x.flip(1), causal_mask(3), torch.randn(1, 3, 2))
        [(0, 2)]
    """
    allowed = reachable(mask, layers)
    allowed = allowed[(None,) * (4 - allowed.ndim)].any(1)  # what any head lets through
    influence = _influence(model, inputs)
    leaks = [(i, j) for i, j in (influence & ~allowed).any(0).nonzero().tolist()]
    if strict and leaks:
        must = f"depend on visible inputs alone over {layers} layer(s)"
        raise invalid("the model", must, f"{len(leaks)} leaks (output, input), first {leaks[:5]}")
    return leaks


def _influence(model: Callable[[Tensor], Tensor], inputs: Tensor) -> Bool[Tensor, "batch outputs inputs"]:
    """Where a random projection of output i has a derivative in input j that is not zero."""
    inputs = inputs.detach().requires_grad_()
    out = model(inputs)
    if out.shape[:2] != inputs.shape[:2]:
        must = f"return (batch, tokens, …) = {tuple(inputs.shape[:2])}"
        raise invalid("the model", must, tuple(out.shape))
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(0)).to(out)
    rows = []
    for i in range(out.shape[1]):
        (grad,) = torch.autograd.grad(
            (out * weights)[:, i].sum(), inputs, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        rows.append((grad != 0).any(-1))
    return torch.stack(rows, 1)


def _check_ids(name: str, ids: Tensor) -> None:
    if ids.is_floating_point() or ids.is_complex():
        raise invalid(name, "be integers", ids.dtype, kind=TypeError)
    if ids.ndim not in (1, 2):
        raise invalid(name, "have the shape (n,) or (batch, n)", tuple(ids.shape))
