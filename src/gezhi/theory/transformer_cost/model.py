"""A stack of layers with its embeddings and its head, described by hand or by a Hugging Face config."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gezhi._checks import check_choice, check_integer, invalid
from gezhi.theory.transformer_cost.layer import Bias, LayerSpec, Norm, layer_macs, layer_params


@dataclass(frozen=True)
class ModelSpec:
    """The sizes of a Transformer: equal layers, tables of embeddings, one more norm, and what stands on top.

    Args:
        layer: sizes of each layer.
        num_layers: ≥ 0.
        vocab_size: rows of the token table, ≥ 0.
        positions, types: rows of the tables of learned positions and of segments; 0: none.
        bias, norm: as for `layer_params`.
        pooler: a dense layer on the first token, as in BERT.
        head: output over the vocabulary: `"none"`, `"tied"` to the token table, or `"untied"`, with weights of its own.
    Example:
        >>> bert = ModelSpec(LayerSpec(768, 12), 12, 30522, positions=512, types=2, pooler=True)
        >>> sum(model_params(bert).values()), sum(model_macs(bert, 512).values())
        (109482240, 48318971904)
    """

    layer: LayerSpec
    num_layers: int
    vocab_size: int
    positions: int = 0
    types: int = 0
    bias: Bias = "all"
    norm: Norm = "layer"
    pooler: bool = False
    head: str = "none"

    def __post_init__(self) -> None:
        for name in ("num_layers", "vocab_size", "positions", "types"):
            check_integer(name, getattr(self, name), at_least=0)
        check_choice("head", self.head, ("none", "tied", "untied"))
        layer_params(self.layer, bias=self.bias, norm=self.norm)  # which checks both

    @classmethod
    def from_config(cls, config: Any, *, head: bool = False) -> ModelSpec:
        """The sizes that a Hugging Face config states.

        Args:
            config: of BERT, RoBERTa, XLM-RoBERTa, GPT-2, Llama, Mistral or Qwen2; what counts are its attributes.
            head: with the output layer over the vocabulary: of causal models their head; of the others the product
                with the token table alone.
        Errors: ValueError for another `model_type`, and for what these sizes cannot say.
        """
        kind = getattr(config, "model_type", None)
        if kind not in READERS:
            must = "have a model_type of " + ", ".join(READERS)
            raise invalid("config", must, repr(kind), "Write a ModelSpec by hand.")
        tied = "tied" if getattr(config, "tie_word_embeddings", True) else "untied"
        return READERS[kind](config, tied if head else "none")


def model_macs(model: ModelSpec, tokens: int, *, cached: int = 0, causal: bool = False) -> dict[str, int]:
    r"""Multiplications with an addition (MAC) of a forward pass over one sequence, by part of the model.

    Args:
        model: the sizes. Tables cost none.
        tokens, cached, causal: as for `layer_macs`.
    Returns: `"layers"`, `"pooler"` (one token) and `"head"` ($nHV$), exact. Their sum is the whole, and twice it
        the FLOP count.
    Example:
        >>> gpt = ModelSpec(LayerSpec(768, 12), 12, 50257, positions=1024, head="tied")
        >>> model_macs(gpt, 1, cached=1023)  # decoding the last token
        {'layers': 103809024, 'pooler': 0, 'head': 38597376}
    """
    one = sum(layer_macs(model.layer, tokens, cached=cached, causal=causal).values())
    H = model.layer.hidden
    return {
        "layers": model.num_layers * one,
        "pooler": H * H if model.pooler and tokens else 0,
        "head": 0 if model.head == "none" else tokens * H * model.vocab_size,
    }


def training_macs(model: ModelSpec, tokens: int, *, causal: bool = False, recompute: bool = False) -> int:
    r"""Multiplications with an addition (MAC) of a forward and a backward pass over one sequence.

    $$3\,C,\qquad\text{4 C with recomputation} \tag{7}$$

    The backward pass takes two products for each of the forward pass. The usual estimate a token, in FLOP,
    $6N+12LHn$, is this with all weights $N$ outside the tables and $n$ keys a token.

    Args:
        model, tokens, causal: as for `model_macs`.
        recompute: whether activations are computed again instead of stored.
    Example:
        >>> training_macs(ModelSpec(LayerSpec(768, 12), 12, 30522), 512)
        144955146240
    """
    return (4 if recompute else 3) * sum(model_macs(model, tokens, causal=causal).values())  # (7)


def model_params(model: ModelSpec) -> dict[str, int]:
    r"""Weights of a model, by part.

    $$(V+P+T)H+2H,\qquad L\cdot\text{layer},\qquad H^2+H \tag{9}$$

    Returns: `"embeddings"` (the tables, and the one norm beside those of the layers), `"layers"`, `"pooler"`, and
        `"head"` (0 if tied), exact. The head is counted without a bias.
    """
    H = model.layer.hidden
    tables = (model.vocab_size + model.positions + model.types) * H
    return {
        "embeddings": tables + (H if model.norm == "rms" else 2 * H),  # (9)
        "layers": model.num_layers * sum(layer_params(model.layer, bias=model.bias, norm=model.norm).values()),  # (9)
        "pooler": H * H + H if model.pooler else 0,  # (9)
        "head": H * model.vocab_size if model.head == "untied" else 0,
    }


def _bert(config: Any, head: str) -> ModelSpec:
    layer = LayerSpec(config.hidden_size, config.num_attention_heads, ffn=config.intermediate_size)
    tables = {"positions": config.max_position_embeddings, "types": config.type_vocab_size}
    return ModelSpec(layer, config.num_hidden_layers, config.vocab_size, pooler=True, head=head, **tables)


def _gpt2(config: Any, head: str) -> ModelSpec:
    layer = LayerSpec(config.n_embd, config.n_head, ffn=config.n_inner or 4 * config.n_embd)
    return ModelSpec(layer, config.n_layer, config.vocab_size, positions=config.n_positions, head=head)


def _llama(config: Any, head: str) -> ModelSpec:
    for name in ("attention_bias", "mlp_bias"):
        if getattr(config, name, False):
            raise invalid("config", f"have no {name}", "True", "Write a ModelSpec by hand.")
    layer = LayerSpec(
        config.hidden_size,
        config.num_attention_heads,
        ffn=config.intermediate_size,
        kv_heads=config.num_key_value_heads,
        key_dim=getattr(config, "head_dim", None),
        gated=True,
    )
    bias: Bias = "qkv" if config.model_type == "qwen2" else "none"
    return ModelSpec(layer, config.num_hidden_layers, config.vocab_size, bias=bias, norm="rms", head=head)


READERS: dict[str, Callable[[Any, str], ModelSpec]] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), _bert),
    "gpt2": _gpt2,
    **dict.fromkeys(("llama", "mistral", "qwen2"), _llama),
}
