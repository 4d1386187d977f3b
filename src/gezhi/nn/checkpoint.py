"""Checkpoints of the Transformer: Hugging Face's BERT and RoFormer layouts, and its own."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gezhi._checks import invalid
from gezhi.nn.transformer import Transformer, TransformerConfig

OWN = "gezhi-transformer"
FAMILIES = {"bert": "learned", "roformer": "rotary"}  # model_type and its positions
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
}
FIELDS = {
    "vocab_size": "vocab_size",
    "dim": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "num_types": "type_vocab_size",
    "causal": "is_decoder",
    "norm_eps": "layer_norm_eps",
    "initializer_range": "initializer_range",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
}
NAMES = {
    "embeddings.token.": "embeddings.word_embeddings.",
    "embeddings.position.": "embeddings.position_embeddings.",
    "embeddings.segment.": "embeddings.token_type_embeddings.",
    "embeddings.norm.": "embeddings.LayerNorm.",
    "embeddings.project.": "embeddings_project.",
    "pooler.": "pooler.dense.",
    "transform.0.": "cls.predictions.transform.dense.",
    "transform.2.": "cls.predictions.transform.LayerNorm.",
    "output_bias": "cls.predictions.bias",
}
LAYER_NAMES = {
    "attention.query.": "attention.self.query.",
    "attention.key.": "attention.self.key.",
    "attention.value.": "attention.self.value.",
    "attention.output.": "attention.output.dense.",
    "norms.0.": "attention.output.LayerNorm.",
    "feed.0.": "intermediate.dense.",
    "feed.2.": "output.dense.",
    "norms.1.": "output.LayerNorm.",
}
COPIES = (  # tables of fixed numbers, the embedding again, and the head that tells the next sentence
    "embeddings.position_ids",
    "encoder.embed_positions.",
    "cls.predictions.decoder.",
    "cls.seq_relationship.",
)


def load_pretrained(folder: Path, ignore: tuple[str, ...], overrides: Mapping[str, Any]) -> Transformer:
    """See `Transformer.from_pretrained`. Sizes are compared on the meta device, before anything is allocated."""
    with _named(folder):
        settings, tensors = _read_config(folder), _read_tensors(folder)
        own = settings.get("model_type") == OWN
        tensors = tensors if own else _unprefixed(tensors, settings)
        config = _own_config(settings) if own else _config_of(settings, tensors)
        if config.num_layers > len(tensors):
            raise invalid("the checkpoint", f"hold tensors for {config.num_layers} layers", f"{len(tensors)} tensors")
        complete = _empty(config)
    changed = replace(config, **overrides)
    wanted = {name: name if own else hugging_face_name(name) for name in {**complete, **_empty(changed)}}
    with _named(folder):
        _check_tensors(_empty(changed), complete, tensors, wanted, ignore)
        model = Transformer(changed)
        state = model.state_dict()
        model.load_state_dict({name: tensors.get(wanted[name], state[name]) for name in state})
    return model.eval()


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Whatever the files of a folder lead to is an error that names it: nothing but the files varies."""
    try:
        yield
    except Exception as error:
        if isinstance(error, FileNotFoundError) and str(folder) in str(error):
            raise
        text = (str(error).splitlines() or [""])[0] if isinstance(error, ValueError) else _said(error)
        raise ValueError(text if str(folder) in text else f"{folder}: {text}") from None


def _said(error: Exception) -> str:
    """An error of a library on one line."""
    line = (str(error).splitlines() or [""])[0][:200]
    return f"cannot be read as a checkpoint ({type(error).__name__}: {line})"


def _empty(config: TransformerConfig) -> dict[str, Tensor]:
    """Names and shapes of a model's tensors, none of which is allocated."""
    with torch.device("meta"):
        return Transformer(config).state_dict()


def save_pretrained(model: Transformer, folder: Path) -> None:
    """See `Transformer.save_pretrained`."""
    folder.mkdir(parents=True, exist_ok=True)
    family = _family(model.config)
    settings = {"model_type": OWN, **asdict(model.config)} if family is None else _settings_of(model.config, family)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if family is not None:
        prefix = f"{family}." if model.config.head == "mlm" else ""
        named = {name: hugging_face_name(name) for name in tensors}
        tensors = {
            theirs if theirs.startswith("cls.") else prefix + theirs: tensors[ours] for ours, theirs in named.items()
        }
    _replace(folder / "config.json", lambda path: path.write_text(json.dumps(settings, indent=2) + "\n", "utf-8"))
    _replace(folder / "model.safetensors", lambda path: save_file(tensors, path, metadata={"format": "pt"}))


def _replace(path: Path, write: Any) -> None:
    """Write beside the file and rename, so that a reader never meets half a file."""
    part = path.with_name(path.name + ".part")
    write(part)
    part.replace(path)


# ---- names and configs ----------------------------------------------------------------------------------------------


def hugging_face_name(name: str) -> str:
    """The name of a tensor of ours in a BERT or RoFormer of Hugging Face, without the model's prefix.

    Example:
        >>> hugging_face_name("layers.3.feed.2.bias")
        'encoder.layer.3.output.dense.bias'
    """
    layer = re.match(r"layers\.(\d+)\.", name)
    start, table = (f"encoder.layer.{layer[1]}.", LAYER_NAMES) if layer else ("", NAMES)
    rest = name[layer.end() :] if layer else name
    for ours, theirs in table.items():
        if rest.startswith(ours):
            return start + theirs + rest[len(ours) :]
    return name


def _unprefixed(tensors: dict[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Names without the model's prefix, and old names of norms in today's spelling."""
    prefix = f"{settings.get('model_type')}."
    spelling = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
    found = {}
    for name, tensor in tensors.items():
        for old, new in spelling.items():
            name = name.removeprefix(prefix).replace(old, new)
        found[name] = tensor
    return found


def _own_config(settings: Mapping[str, Any]) -> TransformerConfig:
    known = {field.name for field in fields(TransformerConfig)}
    return TransformerConfig(**{name: value for name, value in settings.items() if name in known})


def _config_of(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TransformerConfig:
    family = settings.get("model_type")
    if family not in FAMILIES:
        raise invalid("model_type in config.json", f"be one of {', '.join([*FAMILIES, OWN])}", repr(family))
    expected = {"position_embedding_type": "absolute", "rotary_value": False, "tie_word_embeddings": True}
    expected |= {"add_cross_attention": False}
    for name, value in expected.items():
        if settings.get(name, value) not in (value, None):
            raise invalid(f"{name} in config.json", f"be {value!r}", repr(settings[name]))
    absent = [theirs for theirs in FIELDS.values() if theirs not in settings and theirs != "is_decoder"]
    if absent:
        raise invalid("config.json", f"hold {', '.join(absent)}", "none of them")
    activation = settings.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise invalid("hidden_act in config.json", f"be one of {', '.join(ACTIVATIONS)}", repr(activation))
    width = settings.get("embedding_size") or settings["hidden_size"]
    return TransformerConfig(
        **{ours: settings.get(theirs, False) for ours, theirs in FIELDS.items()},
        embed_dim=None if width == settings["hidden_size"] else width,
        positions=FAMILIES[family],  # type: ignore[arg-type]
        norm="post",
        activation=ACTIVATIONS[activation],  # type: ignore[arg-type]
        pooler="pooler.dense.weight" in tensors,
        head="mlm" if "cls.predictions.bias" in tensors else "none",
    )


def _family(config: TransformerConfig) -> str | None:
    """Which model of Hugging Face has this config, if any."""
    plain = {"kernel": "softmax", "scale": "sqrt", "gate": "none", "norm": "post"}
    own_heads = config.num_key_heads not in (None, config.num_heads) or config.key_dim is not None
    if own_heads or config.head == "lm" or any(getattr(config, name) != value for name, value in plain.items()):
        return None
    if not config.num_types or not config.vocab_size:
        return None
    if config.positions == "learned":
        return "bert" if config.embed_dim in (None, config.dim) else None
    return "roformer" if config.positions == "rotary" and not config.pooler else None


def _settings_of(config: TransformerConfig, family: str) -> dict[str, Any]:
    names = {"bert": "Bert", "roformer": "RoFormer"}
    activation = next(theirs for theirs, ours in ACTIVATIONS.items() if ours == config.activation)
    settings = {theirs: getattr(config, ours) for ours, theirs in FIELDS.items()}
    settings |= {
        "model_type": family,
        "hidden_act": activation,
        "intermediate_size": config.hidden_dim or 4 * config.dim,
    }
    kind = ("ForPreTraining" if config.pooler else "ForMaskedLM") if config.head == "mlm" else "Model"
    settings["architectures"] = [names[family] + kind]
    if family == "roformer":
        settings |= {"embedding_size": config.embed_dim or config.dim, "rotary_value": False}
    return settings


# ---- files ----------------------------------------------------------------------------------------------------------


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. Pass the folder of a saved model.")
    try:
        settings = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise invalid(str(path), "hold JSON", error) from None
    if not isinstance(settings, dict):
        raise invalid(str(path), "hold a JSON object", type(settings).__name__)
    return settings


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    """Of the first layout that is there: safetensors, whole or in shards, then pickles of tensors."""
    for name, read in (("model.safetensors", _read_safetensors), ("pytorch_model.bin", _read_pickle)):
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return read(folder / name)
        if index.is_file():
            return _read_shards(index, read)
    raise FileNotFoundError(f"{folder} holds neither model.safetensors nor pytorch_model.bin.")


def _read_shards(index: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of all shards that an index names, each of which holds what the index says, and nothing twice."""
    try:
        content = json.loads(index.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise invalid(str(index), "hold JSON", error) from None
    shard_of = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shard_of, dict) or not all(isinstance(shard, str) for shard in shard_of.values()):
        raise invalid(str(index), "hold a weight_map from tensors to files", type(shard_of).__name__)
    found: dict[str, Tensor] = {}
    for shard in sorted(set(shard_of.values())):
        path = index.parent / Path(shard).name  # a name never leaves the folder
        if not path.is_file():
            raise invalid(str(index), "name files of its folder", repr(shard[:80]))
        part = read(path)
        odd = [name for name in part if name in found]
        odd += [name for name, file in shard_of.items() if file == shard and name not in part]
        if odd:
            raise invalid(str(index), "tell which shard holds a tensor", f"{odd[0]!r} missing from {shard!r} or twice")
        found |= part
    return found


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise invalid(str(path), "be a complete safetensors file", error) from None


def _read_pickle(path: Path) -> dict[str, Tensor]:
    must, fix = "hold tensors and nothing that runs on loading", "Convert it to safetensors where you trust it."
    try:
        _check_sums(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        found = (str(error) or type(error).__name__).splitlines()[0]
        raise invalid(str(path), must, found, fix) from None
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise invalid(str(path), "hold a dictionary of tensors", type(found).__name__)
    return found


def _check_sums(path: Path) -> None:
    """Raise ValueError unless each member of the archive has its check sum, which torch does not look at."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return  # what torch wrote before 1.6 has none
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged[:80]!r} is damaged")


def _check_tensors(
    state: Mapping[str, Tensor],
    complete: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    theirs: Mapping[str, str],
    ignore: tuple[str, ...],
) -> None:
    """Raise ValueError naming whatever keeps the tensors from filling `state`.

    Parts that the checkpoint's own config (`complete`) does not have keep their initial values.
    """
    wanted, known = {name: theirs[name] for name in state}, set(theirs.values())
    missing = [name for ours, name in wanted.items() if name not in tensors and ours in complete]
    extra = [name for name in tensors if name not in known and not name.startswith((*COPIES, *ignore))]
    present = [(ours, name, tensors[name]) for ours, name in wanted.items() if name in tensors]
    shaped = [
        f"{name} {tuple(tensor.shape)} instead of {tuple(state[ours].shape)}"
        for ours, name, tensor in present
        if tensor.shape != state[ours].shape
    ]
    typed = [f"{name} ({tensor.dtype})" for _, name, tensor in present if not tensor.is_floating_point()]
    problems = {"missing": missing, "unknown": extra, "of another shape": shaped, "not floating point": typed}
    if any(problems.values()):
        found = "; ".join(f"{len(names)} {what}: {', '.join(names)}" for what, names in problems.items() if names)
        fix = "Unknown ones are left out by ignore=(their beginnings,)." if extra else ""
        raise invalid("the checkpoint", "hold the tensors of its config", found, fix)
