"""A game is a vector field: critic and generator each go down a loss of their own. The wing's one object."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

from gezhi._checks import check_choice, check_number, invalid
from gezhi.gan.divergences import Critic, Divergence
from gezhi.gan.penalties import refuse_mixing

Penalty = Callable[[Critic, Tensor, Tensor], Tensor]
Method = Literal["simultaneous", "alternating", "optimistic", "extragradient"]
METHODS = ("simultaneous", "alternating", "optimistic", "extragradient")
LARGEST = 20_000  # parameters of a Jacobian, which then takes 3 GB


class Game(nn.Module):
    r"""Two networks and what each minimises; it trains, and as a vector field it gives Jacobian and eigenvalues.

    $$\dot\varphi=-\nabla_\varphi\Bigl(L_D+\text{penalty}+\tfrac w2\lVert\varphi\rVert^2\Bigr),\qquad
      \dot\theta=-\nabla_\theta L_G$$

    Args:
        generator: from noise to samples.
        critic: from samples to (B,) or (B, 1), high on real ones.
        divergence: `(critic, real, fake) -> (critic_loss, generator_loss)`, such as `non_saturating`.
        penalty: `(critic, real, fake) -> scalar` added to the critic's loss, such as `GradientPenalty()`.
        critic_normalisation: called once on each linear and convolutional layer of the critic, such as
            `torch.nn.utils.parametrizations.spectral_norm`, or `unit_norm`, exact also in a Jacobian.
        weight_decay: w ≥ 0, L2 on the critic.
        real, noise: the batch on which `field` and what follows from it are taken; `on(real, noise)` binds another.
    Errors: ValueError for a critic that mixes samples (batch normalisation) beside a penalty.
    Example:
        >>> from gezhi.gan import wasserstein
        >>> game = Game(nn.Linear(2, 3), nn.Linear(3, 1), wasserstein, real=torch.zeros(4, 3), noise=torch.zeros(4, 2))
        >>> game.state().shape, game.field(game.state()).shape
        (torch.Size([13]), torch.Size([13]))
    """

    real: Tensor | None
    noise: Tensor | None

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        divergence: Divergence,
        penalty: Penalty | None = None,
        *,
        critic_normalisation: Callable[[nn.Module], Any] | None = None,
        weight_decay: float = 0.0,
        real: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.generator, self.critic = generator, critic
        self.divergence, self.penalty = divergence, penalty
        self.weight_decay = check_number("weight_decay", weight_decay, at_least=0)
        self.register_buffer("real", real, persistent=False)
        self.register_buffer("noise", noise, persistent=False)
        if critic_normalisation is not None:
            for module in list(critic.modules()):
                if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
                    critic_normalisation(module)
        if penalty is not None:
            refuse_mixing(critic)

    # ---- losses ------------------------------------------------------------------------------------------------------

    def critic_loss(self, real: Tensor, fake: Tensor, critic: Critic | None = None) -> Tensor:
        """What the critic minimises, penalty included; `fake` is best detached."""
        critic = critic or self.critic
        loss = self.divergence(critic, real, fake)[0]
        return loss if self.penalty is None else loss + self.penalty(critic, real, fake)

    def generator_loss(self, real: Tensor, fake: Tensor, critic: Critic | None = None) -> Tensor:
        return self.divergence(critic or self.critic, real, fake)[1]

    # ---- the vector field --------------------------------------------------------------------------------------------

    def on(self, real: Tensor, noise: Tensor) -> Game:
        """The same networks, bound to another batch."""
        bound = copy.copy(self)
        bound._buffers = {**self._buffers, "real": real, "noise": noise}
        return bound

    def state(self) -> Tensor:
        """All parameters in one vector: those of the critic, then those of the generator."""
        return torch.cat([p.detach().flatten() for p in (*self.critic.parameters(), *self.generator.parameters())])

    def field(self, state: Tensor, *, create_graph: bool = False) -> Tensor:
        """Velocity of both players at a state, on the bound batch; nothing of the game changes."""
        if self.real is None or self.noise is None:
            raise ValueError(
                "a field needs a batch: got a game without one. Pass real= and noise=, or use game.on(real, noise)."
            )
        players = (self.critic, self.generator)
        sizes = [sum(p.numel() for p in player.parameters()) for player in players]
        if state.shape != (sum(sizes),):
            raise invalid(
                "state", f"have shape ({sum(sizes)},): {sizes[0]} of the critic, then {sizes[1]}", tuple(state.shape)
            )
        with torch.enable_grad():
            state = state if state.requires_grad else state.detach().requires_grad_()
            phi, theta = torch.split(state, sizes)
            critic, generator = (_with(player, part) for player, part in zip(players, (phi, theta), strict=True))
            fake = generator(self.noise)
            cost = self.critic_loss(self.real, fake, critic) + self.weight_decay / 2 * phi.square().sum()
            gain = self.generator_loss(self.real, fake, critic)
            slopes = [
                torch.autograd.grad(loss, part, create_graph=create_graph, retain_graph=True, allow_unused=True)[0]
                for loss, part in ((cost, phi), (gain, theta))
            ]
        found = [
            torch.zeros_like(part) if slope is None else slope for slope, part in zip(slopes, (phi, theta), strict=True)
        ]
        return -torch.cat(found)

    def step(self, state: Tensor, h: float, method: Method = "simultaneous", *, create_graph: bool = False) -> Tensor:
        r"""One step of size h of gradient descent by both players.

        "simultaneous": $x+hv(x)$. "alternating": the critic first, then the generator against the new critic.
        "extragradient": $x+hv(x+hv(x))$. "optimistic" remembers: a state of twice the length holds x and the one
        before it, and $x+2hv(x)-hv(x_{\text{before}})$ follows.
        """
        check_choice("method", method, METHODS)
        check_number("h", h, above=0)

        def field(at: Tensor) -> Tensor:
            return self.field(at, create_graph=create_graph)

        if method == "optimistic":
            now, before = state.chunk(2)
            return torch.cat([now + 2 * h * field(now) - h * field(before), now])
        moved = state + h * field(state)
        if method == "extragradient":
            return state + h * field(moved)
        if method == "alternating":
            size = sum(p.numel() for p in self.critic.parameters())
            between = torch.cat([moved[:size], state[size:]])
            return torch.cat([moved[:size], state[size:] + h * field(between)[size:]])
        return moved

    def jacobian(self, state: Tensor, h: float | None = None, method: Method = "simultaneous") -> Tensor:
        """Of the field at a state; with a step size of the map `step`. Cost: a backward pass a parameter."""
        if len(state) > LARGEST:
            raise invalid(
                "state", f"have at most {LARGEST} parameters for a Jacobian", len(state), "Use a smaller game."
            )

        def moved(at: Tensor) -> Tensor:
            return self.field(at, create_graph=True) if h is None else self.step(at, h, method, create_graph=True)

        at = state.detach().requires_grad_()
        out = moved(at)
        rows = [torch.autograd.grad(one, at, retain_graph=True, allow_unused=True)[0] for one in out]
        return torch.stack([torch.zeros_like(at) if row is None else row for row in rows])

    def eigenvalues(self, state: Tensor, h: float | None = None, method: Method = "simultaneous") -> Tensor:
        """Of the Jacobian, complex128, the largest real part first (with a step size: the largest absolute value)."""
        matrix = self.jacobian(state, h, method).double()
        if not torch.isfinite(matrix).all():
            raise ValueError("the Jacobian must be finite: got NaN or infinity. Look at the state and the losses.")
        found = torch.linalg.eigvals(matrix)
        order = (found.real if h is None else found.abs()).argsort(descending=True)
        return cast(Tensor, found[order])


def _with(module: nn.Module, flat: Tensor) -> Callable[[Tensor], Tensor]:
    """The module with its parameters taken from a vector."""
    parts, start = {}, 0
    for name, parameter in module.named_parameters():
        parts[name] = flat[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    return lambda x: cast(Tensor, functional_call(module, parts, (x,)))


class _UnitNorm(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        if min(matrix.shape) == 1:
            return weight / cast(Tensor, torch.linalg.vector_norm(matrix))
        return weight / cast(Tensor, torch.linalg.matrix_norm(matrix, 2))


def unit_norm(module: nn.Module) -> nn.Module:
    """The layer with its weight divided by its largest singular value, found exactly: right in second derivatives too.

    Cost: a singular value decomposition a call; for training, torch's `spectral_norm` is cheaper.
    """
    return parametrize.register_parametrization(module, "weight", _UnitNorm())
