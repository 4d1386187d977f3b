"""Greedy search and sampling of any model, a batch at a time; rows that have ended leave the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gezhi._checks import check_integer, invalid
from gezhi.text.decoding.steps import Step, take
from gezhi.text.decoding.survival import ids_of, widened

Process = Callable[[Tensor, int], Tensor]
Choose = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Decoded:
    """Generated texts, without their prompts.

    Args:
        tokens: with the end mark where there is one, then `pad_token_id`; for `beam_search` (rows, beams, steps), the
            best first.
        lengths: number of tokens, the end mark counted.
        ended: whether there is an end mark.
        log_probs: total log-probability of the tokens under the distribution that was decoded.
    """

    tokens: Int[Tensor, "*rows steps"]
    lengths: Int[Tensor, "*rows"]
    ended: Bool[Tensor, "*rows"]
    log_probs: Float[Tensor, "*rows"]


def greedy_search(
    step: Step,
    prompt: Int[Tensor, "rows tokens"],
    *,
    eos_token_id: int | Sequence[int],
    max_new_tokens: int,
    process: Process | None = None,
    pad_token_id: int = 0,
) -> Decoded:
    """Take the most probable token each time.

    Args:
        step: the model; see `Step`.
        prompt: ids, one token at least; what shorter prompts are filled with is the model's affair.
        eos_token_id: the id or ids at which a row ends, themselves included; an empty sequence: none.
        max_new_tokens: where the rows that have not ended are cut, ≥ 1.
        process: from (scores, t) to scores, t tokens (from 0) being generated: a truncation, `termination_floor`.
        pad_token_id: fills rows after their end.
    Errors: ValueError for no prompt, and naming row and step where every token is cut or a score is NaN.
    Cost: a call of the model a token, for the rows that have not ended.
    Example:
        >>> def countdown(tokens, state):
        ...     return torch.nn.functional.one_hot((tokens[:, -1] - 1).clamp(min=0), 5).float(), None
        >>> greedy_search(countdown, torch.tensor([[3], [1]]), eos_token_id=0, max_new_tokens=9, pad_token_id=4).tokens
        tensor([[2, 1, 0],
                [0, 4, 4]])
    """

    def best(log_probs: Tensor, _: Tensor) -> Tensor:
        return log_probs.argmax(-1)

    return _decode(step, prompt, best, ids_of(eos_token_id), max_new_tokens, process, pad_token_id)


def sample(
    step: Step,
    prompt: Int[Tensor, "rows tokens"],
    *,
    eos_token_id: int | Sequence[int],
    max_new_tokens: int,
    process: Process | None = None,
    pad_token_id: int = 0,
    generator: torch.Generator | None = None,
) -> Decoded:
    """Draw each token from the model's distribution (ancestral sampling), or from what `process` leaves of it.

    Args:
        step, prompt, eos_token_id, max_new_tokens, pad_token_id: as for `greedy_search`.
        process: as there: `lambda scores, t: consistent_top_p(scores / temperature, 0.9, eos_token_id=eos)`.
        generator: of random numbers; torch's own by default. A row's numbers do not depend on when others end, so
            two rules can be compared on the same draws.
    Errors: as for `greedy_search`.
    Cost: as for `greedy_search`.
    """
    prompt_rows = len(prompt)

    def draw(log_probs: Tensor, live: Tensor) -> Tensor:
        uniform = torch.rand(prompt_rows, generator=generator, dtype=torch.float64, device=_device(generator, live))
        mass = log_probs.double().exp().cumsum(-1)
        total = mass[:, -1:]
        aim = torch.minimum(uniform.to(live.device)[live, None] * total, total.nextafter(torch.zeros_like(total)))
        return torch.searchsorted(mass, aim, right=True)[:, 0]  # the first whose mass exceeds the aim: never one of 0

    return _decode(step, prompt, draw, ids_of(eos_token_id), max_new_tokens, process, pad_token_id)


@torch.no_grad()
def _decode(
    step: Step,
    prompt: Tensor,
    choose: Choose,
    ends: tuple[int, ...],
    max_new_tokens: int,
    process: Process | None,
    pad_token_id: int,
) -> Decoded:
    check_prompt(prompt, max_new_tokens)
    rows, device = len(prompt), prompt.device
    tokens = torch.full((rows, max_new_tokens), pad_token_id, device=device)
    lengths = torch.full((rows,), max_new_tokens, device=device)
    ended = torch.zeros(rows, dtype=torch.bool, device=device)
    total = torch.zeros(rows, device=device)
    live = torch.arange(rows, device=device)
    newest, state = prompt, None
    for t in range(max_new_tokens if rows else 0):
        scores, state = step(newest, state)
        log_probs = normalised(scores, t, process, live)
        chosen = choose(log_probs, live)
        tokens[live, t] = chosen
        total[live] += log_probs.gather(-1, chosen[:, None])[:, 0].to(total.dtype)
        done = is_end(chosen, ends)
        if bool(done.any()):
            lengths[live[done]], ended[live[done]] = t + 1, True
            stay = (~done).nonzero()[:, 0]
            if not len(stay):
                break
            live, chosen, state = live[stay], chosen[stay], take(state, stay)
        newest = chosen[:, None]
    return Decoded(tokens[:, : int(lengths.max()) if rows else 0], lengths, ended, total)


def normalised(scores: Tensor, t: int, process: Process | None, live: Tensor) -> Float[Tensor, "rows vocab"]:
    """Log-probabilities of what `process` leaves; every row must leave something."""
    scores = widened(scores)
    log_probs = (scores if process is None else process(scores, t)).log_softmax(-1)
    dead = log_probs.isnan().any(-1)  # log-softmax of nothing but -inf is NaN
    if bool(dead.any()):
        row = int(live[dead.nonzero()[0, 0]])
        raise invalid("scores", "be numbers, one of them above -inf", f"none such in row {row} at step {t}")
    return log_probs


def is_end(tokens: Tensor, ends: tuple[int, ...]) -> Bool[Tensor, "*any"]:
    """Where an end mark stands."""
    found = torch.zeros_like(tokens, dtype=torch.bool)
    for token in ends:
        found |= tokens == token
    return found


def check_prompt(prompt: Tensor, max_new_tokens: int) -> None:
    """Raise unless there is something to start from and to write."""
    check_integer("max_new_tokens", max_new_tokens, at_least=1)
    if prompt.ndim != 2 or prompt.is_floating_point() or not prompt.shape[1]:
        found = f"{prompt.dtype} {tuple(prompt.shape)}"
        raise invalid("prompt", "be integers of the shape (rows, tokens), of one token at least", found)


def _device(generator: torch.Generator | None, live: Tensor) -> torch.device:
    return live.device if generator is None else generator.device
