"""Which attention a model uses: names and numbers in its config, saved with it as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gezhi._checks import check_choice, check_integer, check_number, invalid
from gezhi.nn.attention import FeatureMap, Kernel, l2, softmax
from gezhi.nn.linear_attention import cosine, double_softmax, elu1, exp

ATTENTION = "gezhi_attention_sdpa"  # at names with sdpa transformers refuses models that sdpa cannot do
ENTROPY_SCALE = "gezhi_entropy_scale_sdpa"  # the same with the scale alone, which needs no entry in the config
ENTRY = "gezhi_attention"
URPE_TABLE, FEATURES = "gezhi_urpe", "gezhi_features"  # submodules of the attention layers
RANDOM = "positive_random_features"

KernelName = Literal[
    "softmax", "l2", "relu2", "elu1", "exp", "double_softmax", "cosine", "positive_random_features"
]  # fmt: skip


def relu2_of_visible(scores: Tensor) -> Tensor:
    """`relu2` over the number of visible keys, for padding and caches change the number of columns."""
    seen = (scores > -torch.inf).sum(-1, keepdim=True).clamp(min=1)
    return scores.relu().square() / seen.to(scores.dtype)


DENSE: dict[str, Kernel] = {"softmax": softmax, "l2": l2, "relu2": relu2_of_visible}
LINEAR: dict[str, FeatureMap] = {"elu1": elu1, "exp": exp, "double_softmax": double_softmax, "cosine": cosine}


@dataclass(frozen=True)
class Settings:
    """What `use_attention` was told, less the length of the scale, which has entries of its own."""

    kernel: str = "softmax"
    num_features: int | None = None
    scale: str | None = None
    urpe: int | None = None
    prefix: int | str | None = None

    def check(self) -> None:
        """Raise for what is unknown, and for parts that do not go together."""
        check_choice("kernel", self.kernel, (*DENSE, *LINEAR, RANDOM))
        check_choice("scale", self.scale, (None, "log_n"))
        if self.num_features is not None:
            if self.kernel != RANDOM:
                raise invalid("num_features", f"be left out unless kernel={RANDOM!r}", self.num_features)
            check_integer("num_features", self.num_features, at_least=1)
        if self.urpe is not None:
            if self.linear:
                raise invalid("urpe", "be left out with a feature map, which never forms the weights", self.kernel)
            check_integer("urpe", self.urpe, at_least=0)
        if self.prefix is not None and self.prefix != "given":
            check_integer("prefix", self.prefix, at_least=1, fix="Or pass 'given', and the counts by prefix_tokens.")

    @property
    def linear(self) -> bool:
        """Whether a feature map takes the place of the scores."""
        return self.kernel not in DENSE

    @property
    def fused(self) -> bool:
        """Whether transformers' `sdpa` does the rest, with the scale on its queries."""
        return self.kernel == "softmax" and self.urpe is None

    @property
    def name(self) -> str:
        """Under which implementation the config records it."""
        return ENTROPY_SCALE if self == Settings(scale="log_n") else ATTENTION

    def entries(self) -> dict[str, Any]:
        """What the config gets."""
        return {"attn_implementation": self.name} | ({} if self.name == ENTROPY_SCALE else {ENTRY: asdict(self)})


def settings_of(config: Any) -> Settings:
    """What a config says."""
    if config._attn_implementation == ENTROPY_SCALE:
        return Settings(scale="log_n")
    return Settings(**(getattr(config, ENTRY, None) or {}))


def kernel_of(settings: Settings, module: Any) -> Callable[[Tensor], Tensor] | FeatureMap:
    """The kernel of one layer; random features are the layer's own."""
    if settings.kernel == RANDOM:
        drawn: FeatureMap = getattr(module, FEATURES)
        return drawn
    return LINEAR[settings.kernel] if settings.linear else DENSE[settings.kernel]


def train_length(config: Any, train_len: int | float | None = None) -> float:
    """The length that is given, or else the config's `entropy_scale_train_len` or `max_position_embeddings`."""
    named = {"train_len": train_len}
    named |= {name: getattr(config, name, None) for name in ("entropy_scale_train_len", "max_position_embeddings")}
    argument, length = next(((name, value) for name, value in named.items() if value is not None), ("", None))
    if length is None:
        fix = "Set entropy_scale_train_len to the length of training."
        raise invalid(f"config of {type(config).__name__}", "say at which length it was trained", None, fix)
    check_number(argument, length, above=1, at_most=sys.float_info.max)
    return float(length)
