"""The attention layers of a model, and what they hold beside their weights: factors by distance, random features."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor

from gezhi._checks import invalid
from gezhi.adapters.transformers.settings import FEATURES, RANDOM, URPE_TABLE, Settings
from gezhi.nn.linear_attention import PositiveRandomFeatures
from gezhi.nn.urpe import URPE

Part = TypeVar("Part", bound=torch.nn.Module)
Parts = list[tuple[Any, dict[str, torch.nn.Module | None]]]  # layers with what each is to hold

_CROSS = ("cross", "encoder_attn", "encdec")
_HEADS = ("num_heads", "num_attention_heads", "n_heads")
_WIDTHS = ("head_dim", "attention_head_size", "head_size", "key_value_proj_dim")


def attention_layers(model: Any) -> Iterator[tuple[Any, bool]]:
    """Modules that say whether they are causal, as those that ask for an implementation do, and whether they cross."""
    owners = {"": model}
    for name, module in model.named_modules():
        owners[name] = module
        if not hasattr(module, "is_causal") or not hasattr(module, "config") or _is_model(module):
            continue
        path, _, own = name.rpartition(".")
        told = f"{type(module).__name__} {own} {type(owners[path]).__name__}".lower()
        yield module, bool(getattr(module, "is_cross_attention", False)) or any(word in told for word in _CROSS)


def _is_model(module: Any) -> bool:
    return hasattr(module, "base_model_prefix")


def built(model: Any, settings: Settings) -> Parts:
    """What each layer is to hold; a table or features that fit already stay."""
    parts: Parts = []
    for index, (module, crosses) in enumerate(attention_layers(model)):
        held: dict[str, torch.nn.Module | None] = {}
        if settings.urpe is not None:
            held[URPE_TABLE] = None if crosses else _table(module, settings.urpe)
        if settings.kernel == RANDOM:
            held[FEATURES] = _features(module, settings.num_features, index)
        parts.append((module, held))
    return parts


def attach(parts: Parts) -> None:
    """Give every layer what it is to hold and take away what it held before."""
    for module, held in parts:
        for name in (URPE_TABLE, FEATURES):
            if name in module._modules:
                del module._modules[name]
        for name, part in held.items():
            module.register_module(name, part)


def _table(module: Any, reach: int) -> URPE:
    heads, old = _number(module, _HEADS, "num_attention_heads"), getattr(module, URPE_TABLE, None)
    new = _beside(URPE(heads, reach + 1, clip=reach), module)
    return old if old is not None and old.table.shape == new.table.shape else new


def _features(module: Any, num_features: int | None, index: int) -> PositiveRandomFeatures:
    width, old = _number(module, _WIDTHS, "head_dim"), getattr(module, FEATURES, None)
    new = _beside(PositiveRandomFeatures(width, num_features, generator=torch.Generator().manual_seed(index)), module)
    return old if old is not None and old.omega.shape == new.omega.shape else new


def _number(module: Any, names: tuple[str, ...], entry: str) -> int:
    """From the layer itself, or else from its config."""
    found = [getattr(module, name, None) for name in names] + [getattr(module.config, entry, None)]
    number = next((number for number in found if isinstance(number, int)), None)
    if number is None:
        raise invalid("attention", f"say its {entry}", type(module).__name__)
    return number


def _beside(part: Part, module: Any) -> Part:
    """On the device of the layer's weights, in their dtype."""
    weight = next((weight for weight in module.parameters() if weight.is_floating_point()), None)
    return part if weight is None else part.to(weight.device, weight.dtype)


def saved_tensors(folder: str | Path) -> dict[str, Tensor]:
    """What the layers held when the model was saved, by the names of its state."""
    found: dict[str, Tensor] = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            marked = (name for name in file.keys() if {URPE_TABLE, FEATURES} & set(name.split(".")))  # noqa: SIM118
            found |= {name: file.get_tensor(name) for name in marked}
    return found


def matched(names: list[str], found: dict[str, Tensor], folder: str | Path) -> dict[str, Tensor]:
    """The tensor of each name; a model with a head may be saved and one without it loaded, or the other way round."""
    chosen = {}
    for name in names:
        same = [key for key in found if f".{key}".endswith(f".{name}") or f".{name}".endswith(f".{key}")]
        if len(same) != 1:
            raise invalid(f"{folder}", f"hold one tensor {name} in its .safetensors files", len(same))
        chosen[name] = found[same[0]]
    return chosen
