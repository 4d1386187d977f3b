"""Training of a head on a network that stays as it is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import check_integer, check_number, invalid
from gezhi.diffusion.denoiser import Denoiser, levels
from gezhi.diffusion.extended_analytic_dpm.heads import ResidualHead, SecondMomentHead


def train_variance_head(
    denoiser: Denoiser,
    data: Float[Tensor, " rows *shape"],
    steps: int,
    *,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " steps"]:
    r"""Train the denoiser's head alone, at times and noise drawn evenly; the network stays as it is.

    The target follows from the head: $\varepsilon^2$ or $(\varepsilon-\epsilon_\theta)^2$. The same head serves every
    number of steps, every spacing and every η.

    Args:
        denoiser: with a head.
        data: samples the network was trained on, or better ones it has not seen.
        steps: updates of AdamW; the rate falls to 0 along a cosine.
        batch_size: rows an update, drawn with replacement.
        learning_rate: of the first update.
        generator: for rows, times and noise; None: torch's global one.
    Returns: the loss of each update.
    Errors: TypeError for a denoiser without a head.
    Cost: one forward pass of the network an update, no backward pass through it.
    """
    head = denoiser.head
    if not isinstance(head, SecondMomentHead | ResidualHead):
        raise invalid("denoiser", "have a head", type(head).__name__, "Pass head= to Denoiser.", kind=TypeError)
    steps = check_integer("steps", steps, at_least=1)
    check_number("learning_rate", learning_rate, above=0)
    head.belongs_to(denoiser.schedule)
    optimizer = torch.optim.AdamW(head.parameters(), learning_rate)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    modes = {module: module.training for module in denoiser.modules()}
    denoiser.eval()
    head.train()
    losses = []
    try:
        for _ in range(steps):
            loss = _head_loss(denoiser, head, data, batch_size, generator)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            fall.step()
            losses.append(loss.detach())
    finally:
        for module, training in modes.items():
            module.training = training
    head.trained_with = denoiser.schedule.signature()
    return torch.stack(losses)


def _head_loss(
    denoiser: Denoiser,
    head: SecondMomentHead | ResidualHead,
    data: Tensor,
    batch_size: int,
    generator: torch.Generator | None,
) -> Tensor:
    device = data.device
    rows = torch.randint(len(data), (batch_size,), generator=generator, device=device)
    t = torch.randint(1, denoiser.schedule.steps + 1, (batch_size,), generator=generator, device=device)
    x0 = data[rows]
    noise = torch.randn(x0.shape, generator=generator, dtype=x0.dtype, device=device)
    signal, level = levels(denoiser.schedule, t, x0)
    with torch.no_grad():
        eps, features = denoiser.predict_with_features(signal * x0 + level * noise, t)
    return head.loss(features, t, eps, noise)
