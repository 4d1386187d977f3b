r"""Output layers that end by construction: the probability of the end mark has a floor that grows to 1."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from gezhi._checks import check_choice, check_integer, invalid
from gezhi.text.decoding.survival import check_epsilon, log_one_minus_exp, widened

START = {"continue": 4.0, "stop": -4.0}  # logit at which little ends yet: sigmoid 0.98 to go on


class _Head(nn.Module):
    """What both heads share: logits in, log-probabilities and a state out."""

    means: tuple[str, ...]

    def __init__(self, eos_token_id: int, epsilon: float, projection: nn.Module | None, eos_logit: str) -> None:
        super().__init__()
        self.eos_token_id = check_integer("eos_token_id", eos_token_id, at_least=0)
        self.epsilon = check_epsilon(epsilon)
        check_choice("eos_logit", eos_logit, self.means)
        self.projection, self.eos_logit = projection, eos_logit

    def start_(self, bias: Float[Tensor, " vocab"]) -> None:
        """Set the end mark's entry of an output bias so that a fresh model hardly ends: 4 to continue, -4 to stop."""
        if self.eos_logit not in START:
            fix = "A pretrained model starts from its own probability."
            raise invalid("eos_logit", "be 'continue' or 'stop' to start a bias", repr(self.eos_logit), fix)
        with torch.no_grad():
            bias[self.eos_token_id] = START[self.eos_logit]

    def extra_repr(self) -> str:
        return f"eos_token_id={self.eos_token_id}, epsilon={self.epsilon:g}, eos_logit={self.eos_logit!r}"

    def _logits(self, x: Tensor, prompt_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits in float32 at least, and by how much the present token argues for stopping."""
        if x.ndim != 3 or not x.shape[1]:
            raise invalid("logits", "have the shape (batch, tokens, vocab), of one token at least", tuple(x.shape))
        if prompt_mask is not None and (prompt_mask.dtype != torch.bool or prompt_mask.shape != x.shape[:2]):
            found = f"{prompt_mask.dtype} {tuple(prompt_mask.shape)}"
            raise invalid("prompt_mask", f"be bool of the shape (batch, tokens) = {tuple(x.shape[:2])}", found)
        logits = widened(x if self.projection is None else self.projection(x))
        if not self.eos_token_id < logits.shape[-1] > 1:
            must = f"hold the token eos_token_id = {self.eos_token_id} and one more"
            raise invalid("the vocabulary", must, f"{logits.shape[-1]} logits")
        own = logits[..., self.eos_token_id]
        if self.eos_logit == "odds":
            return logits, own - self._others(logits).logsumexp(-1)
        return logits, -own if self.eos_logit == "continue" else own

    def _others(self, logits: Tensor) -> Tensor:
        """Logits without the end mark, which is -inf."""
        eos = torch.arange(logits.shape[-1], device=logits.device) == self.eos_token_id
        return logits.masked_fill(eos, -math.inf)

    def _joined(self, logits: Tensor, survival: Tensor) -> Float[Tensor, "batch tokens vocab"]:
        """Log-probabilities of all tokens, where log(1 - p_eos) = `survival`."""
        eos = torch.arange(logits.shape[-1], device=logits.device) == self.eos_token_id
        words = survival[..., None] + self._others(logits).log_softmax(-1)
        return torch.where(eos, log_one_minus_exp(survival)[..., None], words)


class SelfTerminatingHead(_Head):
    r"""Softmax whose end mark can only become more probable along a sequence, and in the end certain.

    $$1-p_e(t)=\prod_{t'=0}^t(1-\epsilon)\,\mathrm{sigmoid}(z_{e,t'}),\qquad p_e(t)\ge1-(1-\epsilon)^{t+1},$$
    $$p_v=(1-p_e)\,\mathrm{softmax}_{v\ne e}(z)$$

    Beware of the sign: by default a LARGE logit of the end mark means to CONTINUE, as in the paper.

    Args:
        eos_token_id: e, the token of the end mark.
        epsilon: ε in [0, 1). Greedy search ends within `termination_horizon(epsilon)` tokens; an ε far below
            ln 2 / (longest text) does nothing within that length. 0 guarantees nothing, and is warned of.
        projection: a layer from hidden states to logits, trained along; None: the input is logits.
        eos_logit: what $z_e$ means: `"continue"`; `"stop"` negates it first; `"odds"` takes minus the log-odds that
            the plain softmax gives the end mark, so that a pretrained model keeps its own $p_e$ as a start.

    Errors: ValueError for ε outside [0, 1), an id that is no token, shapes that do not fit.
    Cost: O(vocab) a token; decoding keeps one number a hypothesis, to be reordered with the beams.
    Example:
        >>> head = SelfTerminatingHead(eos_token_id=0, epsilon=0.1)
        >>> log_probs, state = head(torch.zeros(1, 3, 4))
        >>> log_probs.exp()[0, :, 0]  # 1 - 0.45ⁿ
        tensor([0.5500, 0.7975, 0.9089])

    References: S. Welleck et al., Consistency of a Recurrent Language Model With Respect to Incomplete Decoding, 2020.
    """

    means = ("continue", "stop", "odds")

    def __init__(
        self,
        eos_token_id: int,
        epsilon: float,
        projection: nn.Module | None = None,
        *,
        eos_logit: Literal["continue", "stop", "odds"] = "continue",
    ) -> None:
        super().__init__(eos_token_id, epsilon, projection, eos_logit)

    def forward(
        self,
        logits: Float[Tensor, "batch tokens vocab"],
        prompt_mask: Bool[Tensor, "batch tokens"] | None = None,
        state: Float[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens _"], Float[Tensor, " batch"]]:
        """Log-probabilities, and the log survival after the last token.

        Args:
            logits: of the tokens to come; hidden states with a `projection`.
            prompt_mask: True where the next token is given and not generated (or padding): there nothing is
                counted.
            state: log survival before these tokens, as returned by the call before; None at the start.
        """
        z, stop = self._logits(logits, prompt_mask)
        going_on = math.log1p(-self.epsilon) + F.logsigmoid(-stop)
        if prompt_mask is not None:
            going_on = going_on.masked_fill(prompt_mask, 0.0)
        survival = going_on.cumsum(1) if state is None else going_on.cumsum(1) + state[:, None]
        return self._joined(z, survival), survival[:, -1]


class NonMonotonicHead(_Head):
    r"""Softmax with the same floor under the end mark, whose probability may also fall again.

    $$p_e(t)=(1-\lambda)\big(1-(1-\epsilon)^t\big)+\lambda,\qquad\lambda=\mathrm{sigmoid}(z_e),\ t=1,2,\dots$$
    $$p_v=(1-p_e)\,\mathrm{softmax}_{v\ne e}(z)$$

    Here a large logit of the end mark means to stop.

    Args:
        eos_token_id, epsilon, projection: as for `SelfTerminatingHead`.
        eos_logit: what $z_e$ means: `"stop"`; `"odds"` takes the log-odds that the plain softmax gives the end mark,
            so that λ is a pretrained model's own $p_e$, which is `termination_floor`.

    Errors: as for `SelfTerminatingHead`.
    Cost: O(vocab) a token; depends on the number of tokens and on the present logit alone.
    Example:
        >>> head = NonMonotonicHead(eos_token_id=0, epsilon=0.1)
        >>> log_probs, state = head(torch.zeros(1, 3, 4))
        >>> log_probs.exp()[0, :, 0], state  # 1 - 0.9ⁿ / 2
        (tensor([0.5500, 0.5950, 0.6355]), tensor([3]))

    References: E. Choi, K. Cho, C. Lee, A Non-monotonic Self-terminating Language Model, 2023.
    """

    means = ("stop", "odds")

    def __init__(
        self,
        eos_token_id: int,
        epsilon: float,
        projection: nn.Module | None = None,
        *,
        eos_logit: Literal["stop", "odds"] = "stop",
    ) -> None:
        super().__init__(eos_token_id, epsilon, projection, eos_logit)

    def forward(
        self,
        logits: Float[Tensor, "batch tokens vocab"],
        prompt_mask: Bool[Tensor, "batch tokens"] | None = None,
        state: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens _"], Int[Tensor, " batch"]]:
        """Log-probabilities, and how many tokens were generated.

        Args:
            logits, prompt_mask: as for `SelfTerminatingHead`.
            state: number of tokens before these, as returned by the call before; None at the start.
        """
        z, stop = self._logits(logits, prompt_mask)
        new = torch.ones(z.shape[:2], dtype=torch.long, device=z.device)
        count = (new if prompt_mask is None else new.masked_fill(prompt_mask, 0)).cumsum(1)
        count = count if state is None else count + state[:, None]
        survival = count.to(z.dtype) * math.log1p(-self.epsilon) + F.logsigmoid(-stop)
        return self._joined(z, survival), count[:, -1]
