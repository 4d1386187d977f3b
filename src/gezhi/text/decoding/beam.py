"""Beam search of any model: batched, cached, with a length penalty; rows that are done leave the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from gezhi._checks import check_choice, check_integer, check_number
from gezhi.text.decoding.search import Decoded, Process, check_prompt, is_end, normalised
from gezhi.text.decoding.steps import Step, take
from gezhi.text.decoding.survival import ids_of


@dataclass
class _Pool:
    """The best finished hypotheses of each row, best first."""

    scores: Tensor
    tokens: Tensor
    lengths: Tensor
    ended: Tensor
    log_probs: Tensor
    pad_token_id: int

    @classmethod
    def empty(cls, rows: int, beams: int, steps: int, pad_token_id: int, device: torch.device) -> _Pool:
        shape = (rows, beams)
        return cls(
            torch.full(shape, -math.inf, device=device),
            torch.full((*shape, steps), pad_token_id, device=device),
            torch.zeros(shape, dtype=torch.long, device=device),
            torch.zeros(shape, dtype=torch.bool, device=device),
            torch.full(shape, -math.inf, device=device),
            pad_token_id,
        )

    def add(self, rows: Tensor, scores: Tensor, texts: Tensor, log_probs: Tensor, ended: Tensor) -> None:
        """Let candidates (rows, n) with their texts (rows, n, steps so far) compete; -inf is none."""
        beams, steps, real = self.scores.shape[1], texts.shape[-1], scores > -math.inf
        both, order = torch.cat([self.scores[rows], scores], 1).topk(beams)
        padded = self.tokens.new_full((*texts.shape[:2], self.tokens.shape[-1]), self.pad_token_id)
        padded[..., :steps] = texts.masked_fill(~real[..., None], self.pad_token_id)
        new = {
            "tokens": padded,
            "log_probs": log_probs.masked_fill(~real, -math.inf),
            "ended": ended & real,
            "lengths": real * steps,
        }
        self.scores[rows] = both
        for name, part in new.items():
            mine = getattr(self, name)
            joined = torch.cat([mine[rows], part.to(mine.dtype)], 1)
            index = order if joined.ndim == 2 else order[..., None].expand(-1, -1, joined.shape[-1])
            mine[rows] = joined.gather(1, index)


def beam_search(
    step: Step,
    prompt: Int[Tensor, "rows tokens"],
    *,
    num_beams: int,
    eos_token_id: int | Sequence[int],
    max_new_tokens: int,
    length_penalty: float = 1.0,
    early_stopping: bool | Literal["never"] = False,
    process: Process | None = None,
    pad_token_id: int = 0,
) -> Decoded:
    r"""Keep the k most probable beginnings; rank what has ended by $\log p(y)/|y|^\alpha$.

    Args:
        step, prompt, eos_token_id, max_new_tokens, process, pad_token_id: as for `greedy_search`; what `process` cuts
            is made up for by the others (its result is normalised).
        num_beams: k ≥ 1.
        length_penalty: α; 0 ranks by the total, 1 by the mean of a token (both are the article's), as in
            Hugging Face's `generate`. |y| counts the end mark.
        early_stopping: when a row is done. True: as soon as k hypotheses have ended. False: when they have, and the
            best beam, were it to end at its present length, would not be among them. `"never"`: when none can be any
            more, which with α > 0 looks up to `max_new_tokens`.
    Returns: k hypotheses a row, best first: (rows, k, steps). Those cut by `max_new_tokens` compete in the last step;
        where fewer than k are possible, the rest has length 0 and log-probability -inf.
    Errors: as for `greedy_search`; ValueError for num_beams < 1.
    Cost: the prompt once a row, then k rows of the model a token.
    """
    check_prompt(prompt, max_new_tokens)
    check_integer("num_beams", num_beams, at_least=1)
    check_number("length_penalty", length_penalty, below=math.inf)
    check_choice("early_stopping", early_stopping, (True, False, "never"))
    ends = ids_of(eos_token_id)
    pool = _Pool.empty(len(prompt), num_beams, max_new_tokens, pad_token_id, prompt.device)
    if len(prompt):
        _Search(step, ends, max_new_tokens, length_penalty, early_stopping, process).run(prompt, pool)
    tokens = pool.tokens[..., : int(pool.lengths.max()) if len(prompt) else 0]
    return Decoded(tokens, pool.lengths, pool.ended, pool.log_probs)


@dataclass(frozen=True)
class _Search:
    step: Step
    ends: tuple[int, ...]
    max_new_tokens: int
    length_penalty: float
    early_stopping: bool | str
    process: Process | None

    @torch.no_grad()
    def run(self, prompt: Tensor, pool: _Pool) -> None:
        """Fill the pool. `live`: rows that are not done; `total` and `texts`: their beams, one at first."""
        beams = pool.scores.shape[1]
        live = torch.arange(len(prompt), device=prompt.device)
        total, texts = prompt.new_zeros((len(prompt), 1), dtype=torch.float), prompt[:, None, :0]
        newest, state = prompt, None
        for t in range(self.max_new_tokens):
            scores, state = self.step(newest, state)
            none = (total == -math.inf).flatten()  # beams that stand in where fewer are possible: asked for nothing
            scores = scores.masked_fill(none[:, None], 0) if bool(none.any()) else scores
            log_probs = normalised(scores, t, self.process, live.repeat_interleave(total.shape[1]))
            values, parents, texts = self._candidates(log_probs, total, texts, beams)
            ended = is_end(texts[..., -1], self.ends)
            self._finish(pool, live, values, texts, ended, t + 1)
            total, kept = values.masked_fill(ended, -math.inf).topk(min(beams, values.shape[1]))
            parents = parents.gather(1, kept)
            texts = texts.gather(1, kept[..., None].expand(-1, -1, t + 1))
            stay = (~self._done(pool, live, total, t + 1)).nonzero()[:, 0]
            if not len(stay):
                break
            width = log_probs.shape[0] // len(live)
            state = take(state, (stay[:, None] * width + parents[stay]).flatten())
            live, total, texts = live[stay], total[stay], texts[stay]
            newest = texts[..., -1].reshape(-1, 1)

    def _candidates(self, log_probs: Tensor, total: Tensor, texts: Tensor, beams: int) -> tuple[Tensor, Tensor, Tensor]:
        """The best continuations of each row, best first: enough that `beams` remain if as many end."""
        rows, width = total.shape
        vocab = log_probs.shape[-1]
        joint = (total[..., None] + log_probs.view(rows, width, vocab)).flatten(1)
        values, index = joint.topk(min((1 + max(1, len(self.ends))) * beams, joint.shape[1]))
        parents, tokens = index // vocab, index % vocab
        before = texts.gather(1, parents[..., None].expand(-1, -1, texts.shape[-1]))
        return values.to(total.dtype), parents, torch.cat([before, tokens[..., None]], -1)

    def _finish(self, pool: _Pool, live: Tensor, values: Tensor, texts: Tensor, ended: Tensor, length: int) -> None:
        """Those that ended among the first k go to the pool; at the last step all of these do."""
        beams = pool.scores.shape[1]
        values, texts, ended = values[:, :beams], texts[:, :beams], ended[:, :beams]
        over = ended if length < self.max_new_tokens else torch.ones_like(ended)
        if not bool(over.any()):
            return
        scores = (values / length**self.length_penalty).masked_fill(~over, -math.inf)
        pool.add(live, scores, texts, values, ended)

    def _done(self, pool: _Pool, live: Tensor, total: Tensor, length: int) -> Tensor:
        worst = pool.scores[live, -1]
        full = worst > -math.inf
        if self.early_stopping is True:
            return full | (total[:, 0] == -math.inf)
        longest = self.early_stopping == "never" and self.length_penalty > 0
        best = total[:, 0] / (self.max_new_tokens if longest else length) ** self.length_penalty
        done: Tensor = (best <= worst) & (full | (best == -math.inf))
        return done
