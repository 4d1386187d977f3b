"""A frozen network with a head for its variances, as one model that a pipeline holds and saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gezhi._checks import invalid, require
from gezhi.adapters.diffusers.host import EXTRA, ConfigMixin, ModelMixin, UNet2DOutput
from gezhi.diffusion.analytic_dpm import VarianceStats
from gezhi.diffusion.extended_analytic_dpm import ResidualHead, SecondMomentHead, with_features

HEAD_NAME, INNER = "variance_head.safetensors", "network"
Head = ResidualHead | SecondMomentHead


class UNetWithVariance(ModelMixin, ConfigMixin):
    """A network that returns its prediction and, in as many channels again, what its head says of the variance.

    One call of the network serves both: a hook takes the output of one of its layers for the head. `save_pretrained`
    writes the network into a folder inside, as itself, and the head beside it.

    Args:
        unet: a `UNet2DModel`, or another network of diffusers that is called as `(sample, timestep, …)`.
        head: a `ResidualHead` or `SecondMomentHead` for images, as `add_variance_head` makes it.
        layer: the name of the layer whose output the head reads.
    """

    __module__ = "gezhi.adapters.diffusers"
    config_name = "config.json"

    def __init__(self, unet: Any, head: Head, layer: str) -> None:
        super().__init__()
        self.head, self.both = head, with_features(unet, layer)
        shown = {name: unet.config[name] for name in ("sample_size", "in_channels") if name in unet.config}
        self.register_to_config(
            **shown, network_class=type(unet).__name__, head_layer=layer, head_settings=_settings(head)
        )

    @property
    def unet(self) -> Any:
        """The network without the head."""
        return self.both.network

    @property
    def variance_type(self) -> str:
        """What the head predicts, as `ExtendedAnalyticDPMScheduler` names it."""
        return "residual" if isinstance(self.head, ResidualHead) else "second_moment"

    def forward(
        self, sample: Tensor, timestep: Tensor | float, *conditions: Any, return_dict: bool = True, **named: Any
    ) -> Any:
        """The prediction and the head's output, one after the other on the channels."""
        output, features = self.both(sample, timestep, *conditions, **named)
        output = output[0] if isinstance(output, tuple) else output.sample
        times = torch.as_tensor(timestep, device=sample.device).expand(len(sample)) + 1
        both = torch.cat([output, self.head(features, times, output)], 1)
        return UNet2DOutput(sample=both) if return_dict else (both,)

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:
        """Write the config, the network (with its own options) and the head."""
        folder = Path(save_directory)
        self.save_config(folder)
        self.unet.save_pretrained(folder / INNER, *args, **kwargs)
        state = {name: value.contiguous() for name, value in self.head.state_dict().items()}
        save_file(state, folder / HEAD_NAME)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, subfolder: str | None = None, **kwargs: Any) -> UNetWithVariance:
        """Read a folder that `save_pretrained` wrote; the other arguments are those of the network's own reader."""
        path = Path(folder) / (subfolder or "")
        if not (path / HEAD_NAME).exists():
            raise invalid("folder", f"hold {HEAD_NAME}, as save_pretrained writes it", str(path))
        config = cls.load_config(path)
        name = config.get("network_class")
        kind: Any = getattr(require("diffusers", EXTRA), str(name), None)
        is_model = isinstance(kind, type) and issubclass(kind, ModelMixin)
        if not is_model:
            raise invalid("config.json", "name a model of diffusers as network_class", repr(name))
        unet = kind.from_pretrained(path / INNER, **kwargs)
        state = load_file(path / HEAD_NAME)
        head = new_head(config["head_settings"], _of_scale(state["scale"]) if "scale" in state else None)
        head.load_state_dict(state)
        made = cls(unet, head.to(unet.device, unet.dtype), config["head_layer"])
        made.eval()
        return made


def _settings(head: Head) -> dict[str, Any]:
    norm, _, last = (cast(Any, layer) for layer in head.layer)
    kind = "residual" if isinstance(head, ResidualHead) else "second_moment"
    sizes = {"features": norm.num_channels, "out": last.out_channels, "kernel_size": last.kernel_size[0]}
    return {"kind": kind, **sizes, "positive": getattr(head, "positive", None)}


def new_head(settings: dict[str, Any], stats: VarianceStats | None = None) -> Head:
    """A head of these settings, untrained."""
    sizes = {name: settings[name] for name in ("features", "out", "kernel_size")}
    if settings["kind"] == "second_moment":
        return SecondMomentHead(**sizes)
    return ResidualHead(**sizes, positive=settings["positive"], stats=stats)


def _of_scale(scale: Tensor) -> VarianceStats:
    """What a head of relative variances asks of statistics, from the scale that it kept of them."""
    return VarianceStats(scale, scale, scale, scale, scale, 0, "direct")
