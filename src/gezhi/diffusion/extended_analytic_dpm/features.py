"""The features of a network beside its output, in one call."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gezhi._checks import invalid


class _WithFeatures(nn.Module):
    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, x: Tensor, times: Tensor) -> tuple[Any, Tensor]:
        found: list[Tensor] = []
        handle = self.network.get_submodule(self.layer).register_forward_hook(lambda _m, _i, out: found.append(out))
        try:
            output = self.network(x, times)
        finally:
            handle.remove()
        if not found:
            raise invalid("layer", "be called by the network", self.layer)
        return output, found[-1]


def with_features(network: nn.Module, layer: str | nn.Module) -> nn.Module:
    """A network that also returns the output of one of its layers, for the head: `(out, features)`.

    Args:
        network: as for `Denoiser`, with prediction and head in one call.
        layer: a layer of it, or its dotted name: usually the last before the output.
    Errors: ValueError for a layer that is not the network's.
    """
    names = {id(module): name for name, module in network.named_modules()}
    name = names.get(id(layer)) if isinstance(layer, nn.Module) else layer
    if name is None or name not in names.values():
        raise invalid("layer", "be a layer of the network", layer if isinstance(layer, str) else type(layer).__name__)
    return _WithFeatures(network, name)
