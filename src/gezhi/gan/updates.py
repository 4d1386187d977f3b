"""Training steps of a game, and the average of its weights."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gezhi._checks import check_choice, check_integer, check_number
from gezhi.gan.game import METHODS, Game, Method


class ExplodingGameWarning(UserWarning):
    """A loss of a game is no longer finite."""


class GameTrainer:
    """One call is one update of both players on one batch, whatever the optimisers.

    Args:
        game: what is trained.
        critic_optimizer, generator_optimizer: any of `torch.optim`, each over the parameters of its player.
        method: "alternating" (default), the critic first; "simultaneous"; "extragradient": both look one plain step of
            their learning rates ahead and go with the slopes found there; "optimistic": twice these slopes less those
            of the update before.
        critic_steps: updates of the critic a call, ≥ 1; WGAN-GP takes 5. More than 1 asks for "alternating".
        after_critic: called with the critic after each of its updates, such as `clip_weights`.
    Returns of a call: the two losses, detached, before the update. When one is not finite `ExplodingGameWarning` is
        given, once.
    Cost: "extragradient" takes twice the slopes of the others; "optimistic" keeps one more copy of them.
    Example:
        >>> from gezhi.gan import wasserstein
        >>> game = Game(nn.Linear(2, 3), nn.Linear(3, 1), wasserstein)
        >>> slow = [torch.optim.SGD(player.parameters(), 0.1) for player in (game.critic, game.generator)]
        >>> update = GameTrainer(game, *slow)
        >>> critic_loss, generator_loss = update(torch.randn(4, 3), torch.randn(4, 2))
    """

    def __init__(
        self,
        game: Game,
        critic_optimizer: Optimizer,
        generator_optimizer: Optimizer,
        *,
        method: Method = "alternating",
        critic_steps: int = 1,
        after_critic: Callable[[nn.Module], object] | None = None,
    ) -> None:
        check_choice("method", method, METHODS)
        most = 2**31 if method == "alternating" else 1
        self.critic_steps = check_integer("critic_steps", critic_steps, at_least=1, at_most=most)
        self.game, self.method, self.after_critic = game, method, after_critic
        self.optimizers = critic_optimizer, generator_optimizer
        self.before: list[Tensor | None] | None = None
        self.warned = False

    def __call__(self, real: Tensor, noise: Tensor | Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """Update on a batch of samples and of noise; a callable draws new noise for every step of the critic."""
        draw = noise if callable(noise) else lambda: noise
        losses = self._alternate(real, draw) if self.method == "alternating" else self._together(real, draw())
        if not self.warned and not all(torch.isfinite(loss) for loss in losses):
            self.warned = True
            found = f"the critic's {losses[0].item():.3g}, the generator's {losses[1].item():.3g}"
            fix = "Lower the learning rates, or add a zero-centred GradientPenalty."
            warnings.warn(f"a loss of the game must be finite: got {found}. {fix}", ExplodingGameWarning, stacklevel=2)
        return losses

    def _alternate(self, real: Tensor, draw: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        critic_optimizer, generator_optimizer = self.optimizers
        for _ in range(self.critic_steps):
            cost = self._critic_slopes(real, draw())
            critic_optimizer.step()
            if self.after_critic is not None:
                self.after_critic(self.game.critic)
        gain = self._generator_slopes(real, draw())
        generator_optimizer.step()
        return cost, gain

    def _together(self, real: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        losses = self._slopes(real, noise)
        if self.method == "extragradient":
            with self._ahead():
                self._slopes(real, noise)
        if self.method == "optimistic":
            self._look_back()
        for optimizer in self.optimizers:
            optimizer.step()
        if self.after_critic is not None:
            self.after_critic(self.game.critic)
        return losses

    def _slopes(self, real: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return self._critic_slopes(real, noise), self._generator_slopes(real, noise)

    def _critic_slopes(self, real: Tensor, noise: Tensor) -> Tensor:
        game = self.game
        self.optimizers[0].zero_grad()
        with torch.no_grad():
            fake = game.generator(noise)
        loss = game.critic_loss(real, fake)
        decay = game.weight_decay / 2 * sum(p.square().sum() for p in game.critic.parameters())
        torch.autograd.backward(loss + decay, inputs=[p for p in game.critic.parameters() if p.requires_grad])
        return loss.detach()

    def _generator_slopes(self, real: Tensor, noise: Tensor) -> Tensor:
        self.optimizers[1].zero_grad()
        loss = self.game.generator_loss(real, self.game.generator(noise))
        torch.autograd.backward(loss, inputs=[p for p in self.game.generator.parameters() if p.requires_grad])
        return loss.detach()

    def _parameters(self) -> Iterator[tuple[nn.Parameter, float]]:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    yield parameter, float(group["lr"])

    @contextmanager
    def _ahead(self) -> Iterator[None]:
        """Parameters one plain gradient step ahead; back again, bit for bit, at the end."""
        saved = [(p, p.detach().clone()) for p, _ in self._parameters()]
        try:
            with torch.no_grad():
                for parameter, rate in self._parameters():
                    if parameter.grad is not None:
                        parameter.sub_(parameter.grad, alpha=rate)
            yield
        finally:
            with torch.no_grad():
                for parameter, value in saved:
                    parameter.copy_(value)

    def _look_back(self) -> None:
        slopes = [None if p.grad is None else p.grad.clone() for p, _ in self._parameters()]
        for (parameter, _), old in zip(self._parameters(), self.before or slopes, strict=True):
            if parameter.grad is not None and old is not None:
                parameter.grad.mul_(2).sub_(old)
        self.before = slopes


class EMA(AveragedModel):
    r"""Exponential moving average of a model's weights: $\bar x_k=\beta\bar x_{k-1}+(1-\beta)x_k$, $\bar x_0=x_0$.

    Args:
        model: whose weights are averaged; the average starts as a copy of it.
        decay: β in [0, 1); 0.999 is usual. The average looks back about 1/(1 − β) updates.
    Use: `ema.update_parameters(model)` after each update; `ema(x)` or `ema.module` is the averaged model. Buffers, such
        as those of batch normalisation, are copied. State dicts are those of torch's `AveragedModel`.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        decay = check_number("decay", decay, at_least=0, below=1)
        super().__init__(copy.deepcopy(model), multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
        self.decay = decay
        self.n_averaged += 1  # the copy counts as the first state
