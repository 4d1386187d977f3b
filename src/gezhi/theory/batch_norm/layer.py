"""The layer, written as its formula, and new running statistics for one that was trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gezhi._checks import check_integer, check_number, invalid


class BatchNorm(nn.Module):
    r"""Subtract the batch's mean, divide by its standard deviation, channel by channel.

    $$y=\gamma\,\frac{x-\mu}{\sqrt{\sigma^2+\epsilon}}+\beta,\qquad
      r\leftarrow(1-\rho)\,r+\rho\,s \tag{5}$$

    In training μ and σ² are those of the batch (σ² divided by m, the values a channel); the running ones r follow the
    mean and the variance s divided by m - 1, as in torch. In evaluation the running ones are used.

    Args:
        num_features: channels C ≥ 1, the second axis.
        eps: ε > 0.
        momentum: ρ in [0, 1], the weight of the newest batch (Keras' 0.99 is 0.01 here); None: mean over all batches.
        affine: with γ and β, which start at 1 and 0.
        track_running_stats: keep running statistics; without, evaluation uses those of the batch.
    Shapes: (N, C) or (N, C, …), which it gives back. Half precision is normalised in float32. Parameters and buffers
        have torch's names, so that state dicts fit either.
    Errors: ValueError where the channels differ, and in training for fewer than two values a channel.
    Cost: a few passes over the input. Padded rows count like all others: leave them out before.
    Use instead: `torch.nn.BatchNorm1d` and its kind, which give the same and are faster; this one is to be read.
    Example:
        >>> BatchNorm(1)(torch.tensor([[1.0], [3.0]])).flatten().tolist()
        [-0.9999949932098389, 0.9999949932098389]

    References: S. Ioffe, C. Szegedy, Batch Normalization, 2015.
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = check_integer("num_features", num_features, at_least=1)
        self.eps = check_number("eps", eps, above=0)
        self.momentum = None if momentum is None else check_number("momentum", momentum, at_least=0, at_most=1)
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        tracked = track_running_stats
        self.register_buffer("running_mean", torch.zeros(num_features) if tracked else None)
        self.register_buffer("running_var", torch.ones(num_features) if tracked else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0) if tracked else None)

    def forward(self, input: Float[Tensor, "batch channels *rest"]) -> Float[Tensor, "batch channels *rest"]:
        values = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        if input.dim() < 2 or input.shape[1] != self.num_features:
            must = f"have shape (N, num_features = {self.num_features}, …)"
            raise invalid("input", must, tuple(input.shape), "Channels are the second axis.")
        along = (1, -1) + (1,) * (input.dim() - 2)
        if self.training or self.running_mean is None or self.running_var is None:
            mean, variance = self._of_batch(values)
        else:
            mean, variance = self.running_mean, self.running_var
        scale = torch.rsqrt(variance.to(values.dtype) + self.eps)
        found = (values - mean.to(values.dtype).view(along)) * scale.view(along)  # (5)
        if self.weight is not None and self.bias is not None:
            found = found * self.weight.to(values.dtype).view(along) + self.bias.to(values.dtype).view(along)  # (5)
        return found.to(input.dtype)

    def _of_batch(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the batch, in two passes; in training the running ones follow."""
        axes = [axis for axis in range(values.dim()) if axis != 1]
        count = values.numel() // self.num_features
        if count < 2 if self.training else count < 1:
            must = "hold more than one value a channel in training" if self.training else "not be empty"
            raise invalid("input", must, f"shape {tuple(values.shape)}", "Use a larger batch, or eval().")
        mean = values.mean(axes, keepdim=True)
        variance = (values - mean).square().mean(axes)
        mean = mean.flatten()
        if self.training and self.running_mean is not None:
            self._follow(mean.detach(), variance.detach() * (count / (count - 1)))
        return mean, variance

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        for running, found in ((self.running_mean, mean), (self.running_var, variance)):
            running += share * (found.to(running.dtype) - running)  # (5)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}"


@torch.no_grad()
def recalibrate_batch_norm(model: nn.Module, loader: Iterable[Any], *, n_batches: int | None = None) -> int:
    r"""Replace running statistics by their mean over batches, without training.

    $$r=\frac1K\sum_{k=1}^Ks_k \tag{6}$$

    For a model whose weights were averaged or changed, that moved to other data, or whose batches were small.

    Args:
        model: with `BatchNorm` or torch's layers in it; those without running statistics are left alone. All else
            runs as in evaluation, so that dropout is off; modes and momenta are as before afterwards.
        loader: batches; of a tuple or a list the first entry is the input.
        n_batches: K ≥ 1, how many are used; None: all.
    Returns: how many were used.
    Errors: ValueError for a model without such layers, and for a loader without a batch; nothing changes then.
    Cost: K forward passes.
    Example:
        >>> layer = BatchNorm(1)
        >>> recalibrate_batch_norm(layer, [torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [7.0]])])
        2
        >>> layer.running_mean.item(), layer.running_var.item()
        (4.0, 2.0)
    """
    layers = [m for m in model.modules() if isinstance(m, BatchNorm | _BatchNorm) and m.running_mean is not None]
    if not layers:
        raise invalid("model", "hold batch normalisation with running statistics", "none")
    most = None if n_batches is None else check_integer("n_batches", n_batches, at_least=1)
    modes = {module: module.training for module in model.modules()}
    kept = [(layer, layer.momentum, [b.clone() for b in layer.buffers()]) for layer in layers]
    used = 0
    try:
        model.eval()
        for layer in layers:
            layer.train()
            layer.momentum = None
            layer.num_batches_tracked.zero_()  # type: ignore[union-attr]
        for used, batch in enumerate(loader, 1):
            model(batch[0] if isinstance(batch, tuple | list) else batch)
            if used == most:
                break
        if not used:
            raise invalid("loader", "give a batch at least", "none")
    except BaseException:
        for layer, _, buffers in kept:
            for buffer, before in zip(layer.buffers(), buffers, strict=True):
                buffer.copy_(before)
        raise
    finally:
        for layer, momentum, _ in kept:
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
    return used
