"""Decoding that stops, in Hugging Face's `generate`: `generate(logits_processor=[…])`.

ORDER: with `do_sample=True` transformers runs its own temperature, top-k and top-p AFTER processors that are passed,
and the model's generation config may ask for them: they would cut the end mark again. So pass `top_k=0, top_p=1.0,
temperature=1.0` and do all truncation here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gezhi._checks import check_integer, invalid
from gezhi.text.decoding import (
    NonMonotonicHead,
    SelfTerminatingHead,
    consistent_top_k,
    consistent_top_p,
    termination_floor,
)


class ConsistentTopKLogitsProcessor:
    """`consistent_top_k` for `generate`: the k best tokens, and always the end mark.

    Args:
        k, eos_token_id: as there.

    Example: `model.generate(ids, do_sample=True, top_k=0, top_p=1.0, logits_processor=[ConsistentTopKLogitsProcessor(
        50, model.generation_config.eos_token_id)])`
    """

    def __init__(self, k: int, eos_token_id: int | Sequence[int]) -> None:
        self.k, self.eos_token_id = k, eos_token_id

    def __call__(
        self, _ids: Int[Tensor, "rows tokens"], scores: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        return consistent_top_k(scores, self.k, eos_token_id=self.eos_token_id)


class ConsistentTopPLogitsProcessor:
    """`consistent_top_p` for `generate`: the nucleus, and always the end mark.

    Args:
        p, eos_token_id, min_tokens_to_keep: as there.
    """

    def __init__(self, p: float, eos_token_id: int | Sequence[int], min_tokens_to_keep: int = 1) -> None:
        self.p, self.eos_token_id, self.min_tokens_to_keep = p, eos_token_id, min_tokens_to_keep

    def __call__(
        self, _ids: Int[Tensor, "rows tokens"], scores: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        least = self.min_tokens_to_keep
        return consistent_top_p(scores, self.p, eos_token_id=self.eos_token_id, min_tokens_to_keep=least)


class TerminationFloorLogitsProcessor:
    """`termination_floor` for `generate`: greedy and beam search end, too, without training.

    Args:
        epsilon, eos_token_id: as there.
        prompt_length: width of `input_ids` as passed to `generate`, left padding included (1 for most
            encoder-decoders): what follows is counted.
    """

    def __init__(self, epsilon: float, prompt_length: int, eos_token_id: int | Sequence[int]) -> None:
        self.epsilon, self.eos_token_id = epsilon, eos_token_id
        self.prompt_length = check_integer("prompt_length", prompt_length, at_least=0)

    def __call__(
        self, input_ids: Int[Tensor, "rows tokens"], scores: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        step = _generated(input_ids, self.prompt_length)
        return termination_floor(scores, step, epsilon=self.epsilon, eos_token_id=self.eos_token_id)


class NonMonotonicLogitsProcessor:
    """`NonMonotonicHead` for `generate`.

    Args:
        head: without a projection.
        prompt_length: as for `TerminationFloorLogitsProcessor`.

    Beware of beams: there transformers passes log-probabilities, whose end mark is no longer the logit that the head
    was trained with; only `eos_logit="odds"` does not depend on that. `gezhi.text.beam_search` takes any head.
    """

    def __init__(self, head: NonMonotonicHead, prompt_length: int) -> None:
        self.head = _without_projection(head)
        self.prompt_length = check_integer("prompt_length", prompt_length, at_least=0)

    @torch.no_grad()
    def __call__(
        self, input_ids: Int[Tensor, "rows tokens"], scores: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        count = input_ids.new_full((len(scores),), _generated(input_ids, self.prompt_length))
        log_probs: Tensor = self.head(scores[:, None], state=count)[0]
        return log_probs[:, 0]


class SelfTerminatingLogitsProcessor:
    """`SelfTerminatingHead` for `generate`: it remembers the log survival of each hypothesis.

    Args:
        head: without a projection.
        prompt_length: as for `TerminationFloorLogitsProcessor`; a call with so many tokens begins anew.
        num_beams: as passed to `generate`. Among the beams of a text the hypothesis from which a row grew is found by
            its tokens, since transformers does not tell how it reordered them.

    Errors: ValueError with beams unless `head.eos_logit` is `"odds"` (see `NonMonotonicLogitsProcessor`), and for calls
        that skip tokens, as assisted generation does.
    """

    def __init__(self, head: SelfTerminatingHead, prompt_length: int, num_beams: int = 1) -> None:
        self.head = _without_projection(head)
        self.prompt_length = check_integer("prompt_length", prompt_length, at_least=0)
        self.num_beams = check_integer("num_beams", num_beams, at_least=1)
        if num_beams > 1 and head.eos_logit != "odds":
            fix = "With beams transformers passes log-probabilities, not logits. Use gezhi.text.beam_search."
            raise invalid("head.eos_logit", "be 'odds' with num_beams > 1", repr(head.eos_logit), fix)
        self._before: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def __call__(
        self, input_ids: Int[Tensor, "rows tokens"], scores: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        state = self._survival(input_ids) if _generated(input_ids, self.prompt_length) else None
        log_probs, after = self.head(scores[:, None], state=state)
        self._before = input_ids, after
        result: Tensor = log_probs[:, 0]
        return result

    def _survival(self, input_ids: Tensor) -> Tensor:
        """Of the hypothesis that each row continues."""
        if self._before is None or self._before[0].shape != input_ids[:, :-1].shape:
            found = "none" if self._before is None else tuple(self._before[0].shape)
            must = f"be called once a token: after {tuple(input_ids[:, :-1].shape)} tokens before these"
            raise invalid("the processor", must, found, "Make one for each call of generate.")
        earlier, survival = self._before
        if self.num_beams == 1:
            return survival
        groups = len(earlier) // self.num_beams, self.num_beams
        old, new = earlier.view(*groups, -1), input_ids[:, :-1].reshape(*groups, -1)
        parent = (new[:, :, None] == old[:, None]).all(-1).long().argmax(-1)
        return survival.view(groups).gather(1, parent).flatten()


def _generated(input_ids: Tensor, prompt_length: int) -> int:
    """How many tokens follow the prompt."""
    step = input_ids.shape[1] - prompt_length
    if step < 0:
        raise invalid("prompt_length", f"be at most the {input_ids.shape[1]} tokens of input_ids", prompt_length)
    return step


def _without_projection(head: Any) -> Any:
    if head.projection is not None:
        raise invalid("head.projection", "be None: generate computes the logits", type(head.projection).__name__)
    return head
