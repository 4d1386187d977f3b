"""What a model is to decoding: one call a token, from the newest tokens and a state to the next token's scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gezhi._checks import check_choice, invalid
from gezhi.nn.attention import AttentionCache, Mask
from gezhi.nn.transformer import Transformer


class Step(Protocol):
    """`step(tokens, state) -> (scores, state)`: the protocol by which any model is decoded.

    The first call brings the whole prompt and None as state, each later one the token just chosen; scores are logits
    or log-probabilities of the next token. Decoding drops, repeats and reorders rows of a state: it may be built of
    tensors whose first axis is the row, tuples, lists, dicts and dataclasses of such, and what has `reorder_cache`, as
    the caches of Hugging Face have. A model with such a cache is one line:

        def step(tokens, state):
            out = model(tokens, past_key_values=state, use_cache=True)
            return out.logits[:, -1], out.past_key_values
    """

    def __call__(self, tokens: Int[Tensor, "rows tokens"], state: Any) -> tuple[Float[Tensor, "rows vocab"], Any]: ...


def uncached_step(model: Callable[[Tensor], Tensor]) -> Step:
    """A model without a memory, called with all tokens so far each time.

    Args:
        model: from ids (rows, tokens) to logits (rows, tokens, vocab).
    Cost: the whole text again for every token.
    """

    def step(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        ids = tokens if state is None else torch.cat([state, tokens], 1)
        return model(ids)[:, -1], ids

    return step


def with_head(step: Step, head: nn.Module) -> Step:
    """A model whose scores (or hidden states, if the head has a projection) go through a self-terminating head.

    Args:
        step: the model.
        head: `SelfTerminatingHead` or `NonMonotonicHead`. It begins with the first token after the prompt.
    """

    def headed(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        inner, memory = (None, None) if state is None else state
        scores, inner = step(tokens, inner)
        log_probs, memory = head(scores[:, None], state=memory)
        return log_probs[:, 0], (inner, memory)

    return headed


@dataclass(frozen=True)
class _Read:
    """What a Transformer keeps of the tokens that it has read."""

    cache: list[AttentionCache]
    keys: Tensor | None  # True where a key is no padding; None where none is
    position: Tensor | None  # of the next token of each row, where padding shifts it
    longest: int  # tokens of the longest row, padding not counted


class TransformerStep:
    """A `gezhi.nn.Transformer` with a head, decoded with its cache: a causal model, or a prefix LM (UniLM).

    Args:
        model: with `head="lm"` or `"mlm"`; call `eval()` first. A BERT or RoFormer from `Transformer.from_pretrained`
            is one.
        prompt: `"causal"`, or `"prefix"`: the tokens of the prompt see each other both ways, and what follows is
            causal, so that a masked language model writes.
        types: kinds of segment of the prompt and of what follows; UniLM has (0, 1). None leaves them out.
        pad_token_id: token that fills shorter prompts from the LEFT; None where all have one length. Padding is seen
            by nobody, and positions are counted without it.

    Errors: ValueError for prompts padded on the right, and for texts longer than learned positions.
    Cost: the prompt once, then a token at a time; with a feature map as kernel the state does not grow.
    Example:
        >>> from gezhi.nn import TransformerConfig
        >>> model = Transformer(TransformerConfig(vocab_size=10, dim=8, num_layers=1, num_heads=2, head="lm")).eval()
        >>> step = TransformerStep(model, prompt="prefix")
        >>> scores, state = step(torch.tensor([[1, 2, 3]]), None)
        >>> scores.shape
        torch.Size([1, 10])

    References: L. Dong et al., Unified Language Model Pre-training for Natural Language Understanding and Generation,
        2019.
    """

    def __init__(
        self,
        model: Transformer,
        *,
        prompt: str = "causal",
        types: tuple[int, int] | None = None,
        pad_token_id: int | None = None,
    ) -> None:
        check_choice("prompt", prompt, ("causal", "prefix"))
        if model.config.head == "none":
            raise invalid("model.config.head", "be 'lm' or 'mlm' to decode", repr(model.config.head))
        self.model, self.prompt, self.types, self.pad_token_id = model, prompt, types, pad_token_id

    def __call__(self, tokens: Int[Tensor, "rows tokens"], state: Any) -> tuple[Float[Tensor, "rows vocab"], Any]:
        """Scores of the next token."""
        if state is None:
            return self._start(tokens)
        rows, new = tokens.shape
        keys, position = state.keys, state.position
        if keys is not None:
            keys = torch.cat([keys, keys.new_ones(rows, new)], 1)
        if position is not None:
            self._fits(state.longest + new)
            position = position + torch.arange(new, device=tokens.device)
        scores = self._read(tokens, Mask(causal=True, keys=keys), state.cache, 1, position)
        after = None if position is None else position[:, -1:] + 1
        return scores, _Read(state.cache, keys, after, state.longest + new)

    def _start(self, tokens: Tensor) -> tuple[Tensor, _Read]:
        keys, position, longest = self._padding(tokens)
        prefix = tokens.shape[1] if self.prompt == "prefix" else 0
        cache = self.model.new_cache()
        scores = self._read(tokens, Mask(causal=True, prefix=prefix, keys=keys), cache, 0, position)
        return scores, _Read(cache, keys, None if position is None else position[:, -1:] + 1, longest)

    def _padding(self, tokens: Tensor) -> tuple[Tensor | None, Tensor | None, int]:
        if self.pad_token_id is None or not bool((tokens[:, 0] == self.pad_token_id).any()):
            if self.pad_token_id is not None and bool((tokens[:, -1] == self.pad_token_id).any()):
                fix = "left_padded() pads a list of prompts so."
                raise invalid("prompt", "be padded on the left", "padding at the end of a row", fix)
            return None, None, tokens.shape[1]
        keys = (tokens != self.pad_token_id).cumsum(1) > 0
        if not bool(keys[:, -1].all()):
            raise invalid("prompt", "hold a token in each row", "a row of padding alone")
        longest = int(keys.sum(1).max())
        if self.model.config.positions != "learned":
            return keys, None, longest
        self._fits(longest)
        return keys, (keys.cumsum(1) - 1).clamp(min=0), longest

    def _fits(self, length: int) -> None:
        most = self.model.config.max_positions
        if length > most:
            raise invalid("the text", f"have at most max_positions = {most} tokens", length, "Ask for fewer tokens.")

    def _read(
        self, tokens: Tensor, mask: Mask, cache: list[AttentionCache], part: int, position: Tensor | None
    ) -> Tensor:
        types = None if self.types is None else torch.full_like(tokens, self.types[part])
        hidden = self.model(tokens, mask=mask, types=types, cache=cache, positions=position)
        return self.model.logits(hidden[:, -1])


def left_padded(prompts: Sequence[Sequence[int]], pad_token_id: int) -> Int[Tensor, "rows tokens"]:
    """Prompts of any lengths as one tensor, filled from the left.

    Example:
        >>> left_padded([[5, 6, 7], [8]], pad_token_id=0).tolist()
        [[5, 6, 7], [0, 0, 8]]
    """
    width = max(map(len, prompts), default=0)
    rows = [[pad_token_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    return torch.tensor(rows, dtype=torch.long).reshape(len(rows), width)


def take(state: Any, rows: Int[Tensor, " rows"]) -> Any:
    """A state with these rows alone, in this order."""
    if state is None or isinstance(state, bool | int | float | str):
        return state
    if isinstance(state, Tensor):
        return state.index_select(0, rows) if state.ndim else state
    if isinstance(state, Mapping):
        return {name: take(part, rows) for name, part in state.items()}
    if isinstance(state, tuple | list):
        parts = [take(part, rows) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    if hasattr(state, "reorder_cache"):
        state.reorder_cache(rows)
        return state
    if is_dataclass(state) and not isinstance(state, type):
        return replace(state, **{field.name: take(getattr(state, field.name), rows) for field in fields(state)})
    fix = "Build it of tensors, tuples, lists, dicts and dataclasses, or give it reorder_cache(rows)."
    raise invalid("the state of the step", "have rows that can be chosen", type(state).__name__, fix, kind=TypeError)
