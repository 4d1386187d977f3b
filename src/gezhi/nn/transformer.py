"""One Transformer: encoder, decoder or prefix language model by its mask alone, each part a line of its config."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from gezhi._checks import check_choice, check_integer, check_number, invalid
from gezhi.nn.attention import AttentionCache, FeatureMap, Kernel, Mask, MultiheadAttention, as_mask, l2, relu2, softmax
from gezhi.nn.entropy_scale import EntropyInvariantScale
from gezhi.nn.linear_attention import PositiveRandomFeatures, cosine, double_softmax, elu1, exp
from gezhi.nn.positions import alibi, rotary, t5_bias
from gezhi.nn.urpe import URPE

BeforeLayer = Callable[[int, Tensor], Tensor]
Masks = Mask | Tensor | Sequence[Mask | Tensor | None] | None

DENSE: dict[str, Kernel] = {"softmax": softmax, "l2": l2, "relu2": relu2}
LINEAR: dict[str, Callable[[int], FeatureMap]] = {
    "elu1": lambda _: elu1,
    "exp": lambda _: exp,
    "double_softmax": lambda _: double_softmax,
    "cosine": lambda _: cosine,
    "favor": lambda dim: PositiveRandomFeatures(dim, 2 * round(dim * math.log(dim) / 2)),  # even, to be rotated
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, "tanh"),
    "relu": nn.ReLU,
    "silu": nn.SiLU,
}
OPTIONAL = ("num_key_heads", "key_dim", "hidden_dim", "embed_dim")
COUNTS = dict.fromkeys(("vocab_size", "num_layers", "num_types"), 0)  # how many there are at least
COUNTS |= dict.fromkeys(("dim", "num_heads", "max_positions", *OPTIONAL), 1)


@dataclass(frozen=True)
class TransformerConfig:
    """What a `Transformer` is made of.

    Args:
        vocab_size: number of tokens; 0 leaves the embedding out, for inputs that are vectors already.
        dim, num_layers, num_heads: width, depth, heads.
        num_key_heads, key_dim: as for `MultiheadAttention`.
        hidden_dim: width inside the feed-forward part, 4 · dim by default.
        embed_dim: width of the token embedding, if other than `dim`.
        max_positions: longest input with learned positions and with the gate; the training length of the entropy scale.
        num_types: kinds of segments; 0 for none.
        causal: the mask that holds unless the call brings another; a decoder is an encoder with this set.
        positions: `"learned"` are added to the embedding; the others act inside attention.
        kernel: softmax, `l2`, `relu2`, or a feature map, which takes neither gate, nor entropy scale, nor bias.
        scale: `"entropy"` grows with the logarithm of the visible keys.
        gate: `"urpe"` multiplies the weights by one trained factor for each head and distance, shared by all layers.
        norm: before each part (`"pre"`, with one more at the end) or after it (`"post"`, as in BERT).
        activation: of the feed-forward part and of the head.
        dropout, attention_dropout: of each part's output, and of the attention weights; in training only.
        initializer_range: standard deviation of the initial weights; BERT's 0.02 suits widths of several hundred.
        pooler: a dense layer with tanh on the first token, as in BERT.
        head: `"lm"` gives logits by the embedding's transpose, `"mlm"` with BERT's transformation before it.

    Errors: ValueError naming the field, and for choices that exclude each other; TypeError for what is no number.
    """

    vocab_size: int
    dim: int = 256
    num_layers: int = 4
    num_heads: int = 4
    num_key_heads: int | None = None
    key_dim: int | None = None
    hidden_dim: int | None = None
    embed_dim: int | None = None
    max_positions: int = 512
    num_types: int = 0
    causal: bool = False
    positions: Literal["none", "learned", "rotary", "alibi", "t5"] = "rotary"
    kernel: str = "softmax"
    scale: Literal["sqrt", "entropy"] = "sqrt"
    gate: Literal["none", "urpe"] = "none"
    norm: Literal["pre", "post"] = "pre"
    norm_eps: float = 1e-5
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    pooler: bool = False
    head: Literal["none", "lm", "mlm"] = "none"

    def __post_init__(self) -> None:
        for name, least in COUNTS.items():
            value = getattr(self, name)
            if value is not None or name not in OPTIONAL:
                check_integer(name, value, at_least=least)
        check_number("norm_eps", self.norm_eps, at_least=0, below=math.inf)
        check_number("initializer_range", self.initializer_range, above=0, below=math.inf)
        for name in ("dropout", "attention_dropout"):
            check_number(name, getattr(self, name), at_least=0, at_most=1)
        for name in ("causal", "pooler"):
            check_choice(name, getattr(self, name), (True, False))
        check_choice("positions", self.positions, ("none", "learned", "rotary", "alibi", "t5"))
        check_choice("kernel", self.kernel, (*DENSE, *LINEAR))
        check_choice("scale", self.scale, ("sqrt", "entropy"))
        check_choice("gate", self.gate, ("none", "urpe"))
        check_choice("norm", self.norm, ("pre", "post"))
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_choice("head", self.head, ("none", "lm", "mlm"))
        if self.kernel in LINEAR:
            self._check_linear()
        if self.head == "lm" and self.embed_dim not in (None, self.dim):
            raise invalid("embed_dim", f"equal dim = {self.dim} with head='lm'", self.embed_dim)
        if self.head != "none" and not self.vocab_size:
            raise invalid("vocab_size", "be positive with a head", 0)

    def _check_linear(self) -> None:
        for name, allowed in (("positions", ("none", "learned", "rotary")), ("scale", ("sqrt",)), ("gate", ("none",))):
            if getattr(self, name) not in allowed:
                must = f"be one of {', '.join(map(repr, allowed))} with the feature map {self.kernel!r}"
                raise invalid(name, must, repr(getattr(self, name)), "It needs the scores, which are never formed.")
        if self.attention_dropout:
            raise invalid("attention_dropout", f"be 0 with the feature map {self.kernel!r}", self.attention_dropout)


class Embeddings(nn.Module):
    """Token, position and type of each place, added up, with BERT's norm where norms come after."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.embed_dim or config.dim
        self.token = nn.Embedding(config.vocab_size, width)
        self.position = nn.Embedding(config.max_positions, width) if config.positions == "learned" else None
        self.segment = nn.Embedding(config.num_types, width) if config.num_types else None
        self.norm = nn.LayerNorm(width, config.norm_eps) if config.norm == "post" else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(width, config.dim) if width != config.dim else nn.Identity()

    def forward(self, ids: Tensor, types: Tensor | None, start: int, positions: Tensor | None = None) -> Tensor:
        x = self.token(ids)
        if self.segment is not None:
            x = x + self.segment(torch.zeros_like(ids[:1, :1]) if types is None else types)
        elif types is not None:
            raise invalid("types", "be left out without num_types in the config", tuple(types.shape))
        if positions is not None:
            if self.position is None:
                raise invalid("positions", "be left out without learned positions", tuple(positions.shape))
            x = x + self.position(positions)
        elif self.position is not None:
            stop, longest = start + ids.shape[1], self.position.num_embeddings
            if stop > longest:
                raise invalid("ids", f"reach at most max_positions = {longest}", stop, "Cut the input.")
            x = x + self.position.weight[start:stop]
        out: Tensor = self.project(self.dropout(self.norm(x)))
        return out


class Layer(nn.Module):
    """Attention, then a feed-forward part, each with a residual path and a norm before or after it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        hidden = config.hidden_dim or 4 * config.dim
        key_dim = config.key_dim or config.dim // config.num_heads
        self.attention = MultiheadAttention(
            config.dim,
            config.num_heads,
            num_key_heads=config.num_key_heads,
            key_dim=config.key_dim,
            kernel=LINEAR[config.kernel](key_dim) if config.kernel in LINEAR else DENSE[config.kernel],
            scale=EntropyInvariantScale(config.max_positions) if config.scale == "entropy" else None,
            rotate=rotary if config.positions == "rotary" else None,
            dropout=config.attention_dropout,
        )
        self.feed = nn.Sequential(
            nn.Linear(config.dim, hidden), ACTIVATIONS[config.activation](), nn.Linear(hidden, config.dim)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(config.dim, config.norm_eps) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)
        self.post = config.norm == "post"

    def forward(self, x: Tensor, **attention: Any) -> Tensor:
        parts: tuple[Callable[[Tensor], Tensor], ...] = (partial(self.attention, **attention), self.feed)
        for norm, part in zip(self.norms, parts, strict=True):
            x = norm(x + self.dropout(part(x))) if self.post else x + self.dropout(part(norm(x)))
        return x


class Transformer(nn.Module):
    """Layers of attention over embedded tokens, from ids to hidden states.

    Args:
        config: see `TransformerConfig`.

    Weights start normal with standard deviation `initializer_range`, biases at 0, as in BERT.

    Example:
        >>> model = Transformer(TransformerConfig(vocab_size=10, dim=8, num_layers=1, num_heads=2, head="lm")).eval()
        >>> hidden = model(torch.tensor([[1, 2, 3]]), mask=Mask(causal=True))
        >>> hidden.shape, model.logits(hidden).shape
        (torch.Size([1, 3, 8]), torch.Size([1, 3, 10]))

    References: A. Vaswani et al., Attention Is All You Need, 2017; J. Devlin et al., BERT, 2019; J. Su et al.,
        RoFormer, 2021.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config) if config.vocab_size else None
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.dim, config.norm_eps) if config.norm == "pre" else nn.Identity()
        self.gate = URPE(config.num_heads, config.max_positions) if config.gate == "urpe" else None
        self.distances = nn.Parameter(torch.zeros(32, config.num_heads)) if config.positions == "t5" else None
        self.pooler = nn.Linear(config.dim, config.dim) if config.pooler else None
        width = config.embed_dim or config.dim
        self.transform = (
            nn.Sequential(
                nn.Linear(config.dim, width), ACTIVATIONS[config.activation](), nn.LayerNorm(width, config.norm_eps)
            )
            if config.head == "mlm"
            else nn.Identity()
        )
        self.output_bias = nn.Parameter(torch.zeros(config.vocab_size)) if config.head != "none" else None
        self.apply(partial(_initialise, std=config.initializer_range))

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        *,
        mask: Masks = None,
        types: Int[Tensor, "batch tokens"] | None = None,
        cache: list[AttentionCache] | None = None,
        before_layer: BeforeLayer | None = None,
        positions: Int[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Hidden states of the tokens.

        Args:
            ids: tokens.
            mask: True may attend; a `Mask` or bool matrix, or a sequence of them, one a layer. A causal config adds
                causality to a `Mask`.
            types: the kind of segment of each token, 0 by default.
            cache: what `new_cache` made and earlier calls filled; `ids` are the tokens after those.
            before_layer: `before_layer(index, x)` returns the input of the layer with this index in place of x.
            positions: of the tokens, where learned positions are not counted from the first on, as with padding on
                the left; the others depend on distances alone.
        """
        if self.embeddings is None:
            raise invalid("config.vocab_size", "be positive for ids", 0, "Call encode with vectors.")
        if ids.ndim != 2 or ids.is_floating_point():
            raise invalid("ids", "be integers of the shape (batch, tokens)", f"{ids.dtype} {tuple(ids.shape)}")
        start = cache[0].length if cache else 0
        x = self.embeddings(ids, types, start, positions)
        return self.encode(x, mask=mask, cache=cache, before_layer=before_layer)

    def encode(
        self,
        x: Float[Tensor, "batch tokens dim"],
        *,
        mask: Masks = None,
        cache: list[AttentionCache] | None = None,
        before_layer: BeforeLayer | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """The same from embedded tokens, without the embedding's part."""
        rules = self._rules(mask)
        n_q, cached = x.shape[1], cache[0].length if cache else 0
        bias = self._bias(n_q, cached + n_q, x)
        for index, layer in enumerate(self.layers):
            if before_layer is not None:
                x = before_layer(index, x)
            x = layer(x, mask=rules[index], cache=cache[index] if cache else None, bias=bias, gate=self.gate)
        out: Tensor = self.norm(x)
        return out

    def logits(self, hidden: Float[Tensor, "*batch tokens dim"]) -> Float[Tensor, "*batch tokens vocab"]:
        """Logits over the vocabulary, by the transpose of the token embedding."""
        if self.embeddings is None or self.output_bias is None:
            raise invalid("config.head", "be 'lm' or 'mlm' for logits", repr(self.config.head))
        return F.linear(self.transform(hidden), self.embeddings.token.weight, self.output_bias)

    def pooled(self, hidden: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch dim"]:
        """BERT's summary: the first token through a dense layer and tanh."""
        if self.pooler is None:
            raise invalid("config.pooler", "be True for a pooled state", False)
        return torch.tanh(self.pooler(hidden[:, 0]))

    def new_cache(self) -> list[AttentionCache]:
        """An empty cache: pass it to one call after another, each with the tokens that follow."""
        return [AttentionCache() for _ in self.layers]

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, ignore: tuple[str, ...] = (), **overrides: Any) -> Transformer:
        """A model from a folder of Hugging Face's BERT or RoFormer, or of `save_pretrained`, in evaluation mode.

        Args:
            folder: holds config.json and model.safetensors, or pytorch_model.bin, which is read with
                `weights_only=True`; either may be sharded.
            ignore: beginnings of names of tensors that the model has no use for.
            overrides: fields of the config to change; parts that are new by that keep their initial values.
        Errors: FileNotFoundError; ValueError that names all missing, unknown and wrongly shaped tensors at once, for a
            pickle that holds more than tensors, and for a model that is neither BERT nor RoFormer.
        """
        from gezhi.nn.checkpoint import load_pretrained

        return load_pretrained(Path(folder), ignore, overrides)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors: in Hugging Face's layout where the model is a BERT or a RoFormer."""
        from gezhi.nn.checkpoint import save_pretrained

        save_pretrained(self, Path(folder))

    def _rules(self, mask: Masks) -> list[Mask]:
        """One a layer."""
        several = list(mask) if isinstance(mask, Sequence) else [mask] * len(self.layers)
        if len(several) != len(self.layers):
            raise invalid("mask", f"be one, or one for each of the {len(self.layers)} layers", len(several))
        return [self._rule(one) for one in several]

    def _rule(self, mask: Mask | Tensor | None) -> Mask:
        rule = as_mask(mask)
        return replace(rule, causal=True) if self.config.causal and not isinstance(mask, Tensor) else rule

    def _bias(self, n_q: int, n_k: int, like: Tensor) -> Tensor | None:
        if self.config.positions == "alibi":
            return alibi(self.config.num_heads, n_q, n_k, like.device).to(like)
        if self.distances is not None:
            return t5_bias(self.distances, n_q, n_k, bidirectional=not self.config.causal)
        return None


def _initialise(module: nn.Module, std: float) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
