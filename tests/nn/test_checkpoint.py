"""Checkpoints of BERT and RoFormer: outputs equal to Hugging Face's, both ways, and every bad folder named."""

from __future__ import annotations

import json
import re

import pytest
import torch
from memory import little_memory
from safetensors.torch import load_file, save_file

from gezhi.data import available, read
from gezhi.nn import Mask, Transformer, TransformerConfig
from gezhi.nn.checkpoint import hugging_face_name

transformers = pytest.importorskip("transformers")

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
SIZES |= {"max_position_embeddings": 40, "type_vocab_size": 3}
THEIRS = {
    "bert": ("BertModel", {}),
    "bert without pooler": ("BertForMaskedLM", {}),
    "bert decoder": ("BertLMHeadModel", {"is_decoder": True}),
    "bert for pretraining": ("BertForPreTraining", {"hidden_act": "gelu_new"}),
    "roformer": ("RoFormerModel", {"embedding_size": 32}),
    "roformer, narrow embedding": ("RoFormerForMaskedLM", {"embedding_size": 12, "hidden_act": "relu"}),
}
BY_KIND = pytest.mark.parametrize("kind", THEIRS)
GENERATOR = torch.Generator().manual_seed(0)
IDS = torch.randint(50, (3, 17), generator=GENERATOR)
TYPES = torch.randint(3, (3, 17), generator=GENERATOR)
KEYS = torch.arange(17) < torch.tensor([[17], [9], [1]])


def theirs(kind):
    """A model of Hugging Face with random weights, biases and norms included."""
    name, settings = THEIRS[kind]
    cls = getattr(transformers, name)
    torch.manual_seed(0)
    model = cls(cls.config_class(**SIZES, **settings)).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def hidden_of(model, **inputs):
    base = getattr(model, model.base_model_prefix, model)
    return base(**inputs)


@pytest.fixture(params=THEIRS)
def saved(request, tmp_path):
    model = theirs(request.param)
    model.save_pretrained(tmp_path)
    return request.param, model, tmp_path


# ---- oracle ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_outputs_are_those_of_hugging_face(saved):
    kind, their_model, folder = saved
    ours = Transformer.from_pretrained(folder)
    assert not ours.training
    base = hidden_of(their_model, input_ids=IDS, attention_mask=KEYS.long(), token_type_ids=TYPES)
    hidden = ours(IDS, mask=Mask(keys=KEYS), types=TYPES)
    torch.testing.assert_close(hidden[KEYS], base.last_hidden_state[KEYS], atol=1e-5, rtol=0)
    assert hidden.std() > 0.1
    if ours.pooler is not None and getattr(base, "pooler_output", None) is not None:
        torch.testing.assert_close(ours.pooled(hidden), base.pooler_output, atol=1e-5, rtol=0)
    if ours.config.head == "mlm":
        out = their_model(input_ids=IDS, attention_mask=KEYS.long(), token_type_ids=TYPES)
        logits = out.prediction_logits if "pretraining" in kind else out.logits
        torch.testing.assert_close(ours.logits(hidden)[KEYS], logits[KEYS], atol=1e-5, rtol=0)
    assert torch.equal(ours(IDS), ours(IDS, types=torch.zeros_like(IDS)))


@torch.no_grad()
def test_what_is_saved_loads_in_both_with_the_same_outputs(saved, tmp_path_factory):
    _, their_model, folder = saved
    ours, again = Transformer.from_pretrained(folder), tmp_path_factory.mktemp("again")
    ours.save_pretrained(again)
    assert sorted(path.name for path in again.iterdir()) == ["config.json", "model.safetensors"]
    twice = Transformer.from_pretrained(again)
    assert twice.config == ours.config
    assert torch.equal(twice(IDS, types=TYPES), ours(IDS, types=TYPES))
    name = json.loads((again / "config.json").read_text())["architectures"][0]
    loaded, report = getattr(transformers, name).from_pretrained(again, output_loading_info=True)
    assert not any(report[what] for what in ("unexpected_keys", "mismatched_keys"))
    assert all(re.search("pooler|embed_positions|seq_relationship", key) for key in report["missing_keys"])
    inputs = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "token_type_ids": TYPES}
    expected = hidden_of(their_model, **inputs).last_hidden_state
    torch.testing.assert_close(hidden_of(loaded.eval(), **inputs).last_hidden_state, expected, atol=1e-5, rtol=0)


def test_a_training_step_is_that_of_hugging_face(tmp_path):
    their_model = theirs("bert without pooler")
    their_model.save_pretrained(tmp_path)
    ours = Transformer.from_pretrained(tmp_path)
    loss = torch.nn.functional.cross_entropy(ours.logits(ours(IDS, types=TYPES)).flatten(0, 1), IDS.flatten())
    loss.backward()
    expected = their_model(input_ids=IDS, token_type_ids=TYPES, labels=IDS).loss
    expected.backward()
    torch.testing.assert_close(loss, expected)
    gradients = {name.removeprefix("bert."): p.grad for name, p in their_model.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[hugging_face_name(name)], atol=1e-5, rtol=1e-4)


@pytest.mark.skipif(not available("minilm"), reason="needs `gezhi data get minilm`")
@torch.no_grad()
def test_a_real_checkpoint_gives_the_outputs_of_hugging_face():
    folder = read("minilm")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [
        "The weather is nice.",
        "Attention needs no softmax, or so they say; a longer sentence leaves padding above.",
    ]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    expected = transformers.AutoModel.from_pretrained(folder).eval()(**batch)
    keys = batch.attention_mask.bool()
    ours = Transformer.from_pretrained(folder)
    hidden = ours(batch.input_ids, mask=Mask(keys=keys), types=batch.token_type_ids)
    torch.testing.assert_close(hidden[keys], expected.last_hidden_state[keys], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.pooled(hidden), expected.pooler_output, atol=1e-5, rtol=0)


# ---- what the wing adds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"gate": "urpe"},
        {"kernel": "favor"},
        {"positions": "t5"},
        {"scale": "entropy"},
        {"num_key_heads": 1},
        {"head": "lm"},
    ],
    ids=str,
)
def test_other_models_are_saved_in_a_layout_of_their_own(fields, tmp_path):
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(50, dim=16, num_layers=2, num_heads=2, **fields)).eval()
    model.save_pretrained(tmp_path)
    again = Transformer.from_pretrained(tmp_path)
    assert again.config == model.config
    assert torch.equal(again(IDS), model(IDS))


@pytest.mark.parametrize(
    "fields",
    [{"gate": "urpe"}, {"causal": True}, {"head": "none"}, {"kernel": "exp", "attention_dropout": 0.0}],
    ids=str,
)
def test_a_part_is_switched_on_in_a_trained_model_by_one_word(fields, tmp_path):
    theirs("bert without pooler").save_pretrained(tmp_path)
    plain, changed = Transformer.from_pretrained(tmp_path), Transformer.from_pretrained(tmp_path, **fields)
    assert torch.equal(changed.layers[1].feed[0].weight, plain.layers[1].feed[0].weight)
    same = changed(IDS), plain(IDS, mask=Mask(causal=fields.get("causal", False)))
    if "kernel" in fields:
        assert not torch.allclose(*same)
    else:  # the gate starts at 1
        torch.testing.assert_close(*same, atol=1e-6, rtol=0)


def test_old_spellings_shards_pickles_and_halves(tmp_path):
    theirs("bert").save_pretrained(tmp_path)
    expected = Transformer.from_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    old = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for name, t in tensors.items()
    }
    torch.save(old, tmp_path / "pytorch_model.bin")
    assert torch.equal(Transformer.from_pretrained(tmp_path)(IDS), expected(IDS))
    names, shards = sorted(tensors), {}
    for shard, part in (("a.safetensors", names[:9]), ("b.safetensors", names[9:])):
        save_file({name: tensors[name] for name in part}, tmp_path / shard)
        shards |= dict.fromkeys(part, shard)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert torch.equal(Transformer.from_pretrained(tmp_path)(IDS), expected(IDS))
    save_file({name: t.half() for name, t in tensors.items()}, tmp_path / "model.safetensors")
    halved = Transformer.from_pretrained(tmp_path)
    assert halved.layers[0].feed[0].weight.dtype == torch.float32
    torch.testing.assert_close(halved(IDS), expected(IDS), atol=2e-2, rtol=0)


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    theirs("bert").save_pretrained(tmp_path)
    return tmp_path


def rewritten(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def configured(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_missing_unknown_and_wrongly_shaped_tensors_are_named_at_once(folder):
    def change(tensors):
        del tensors["pooler.dense.bias"], tensors["encoder.layer.1.output.dense.bias"]
        tensors["classifier.weight"] = torch.zeros(2, 32)
        tensors["embeddings.word_embeddings.weight"] = torch.zeros(49, 32)

    rewritten(folder, change)
    with pytest.raises(ValueError, match="the checkpoint must hold the tensors of its config") as error:
        Transformer.from_pretrained(folder)
    text = str(error.value)
    assert "2 missing: encoder.layer.1.output.dense.bias, pooler.dense.bias" in text
    assert "1 unknown: classifier.weight" in text
    assert "1 of another shape: embeddings.word_embeddings.weight (49, 32) instead of (50, 32)" in text
    assert "ignore=" in text


def test_unknown_tensors_are_left_out_on_request(folder):
    rewritten(folder, lambda tensors: tensors.update({"classifier.weight": torch.zeros(2, 32)}))
    with pytest.raises(ValueError, match=r"1 unknown: classifier.weight"):
        Transformer.from_pretrained(folder)
    assert Transformer.from_pretrained(folder, ignore=("classifier.",)).config.vocab_size == 50


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was run",))


def test_a_pickle_that_would_run_is_refused(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model.bin must hold tensors and nothing that runs on loading"):
        Transformer.from_pretrained(folder)
    torch.save([1, 2], folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="must hold a dictionary of tensors: got list"):
        Transformer.from_pretrained(folder)


def test_a_damaged_number_in_a_torch_file_is_no_other_number(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    torch.save(tensors, path)
    Transformer.from_pretrained(folder)
    content = bytearray(path.read_bytes())
    content[content.index(tensors["pooler.dense.weight"].numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"pytorch_model.bin must hold tensors .*: got (Bad CRC-32|'.*' is damaged)"):
        Transformer.from_pretrained(folder)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_hidden_layers": 10**9}, "the checkpoint must hold tensors for 1000000000 layers: got [0-9]+ tensors"),
        (
            {"vocab_size": 10**12},
            r"of another shape: embeddings.word_embeddings.weight \(50, 32\) instead of \(1000000000000",
        ),
        ({"hidden_size": "32"}, "TypeError: dim must be a number: got '32'"),
        ({"num_attention_heads": 0}, "num_heads must lie between 1 and inf: got 0"),
        ({"layer_norm_eps": float("nan")}, "norm_eps must lie strictly between -inf and inf: got nan"),
        ({"hidden_dropout_prob": -0.5}, "dropout must lie between 0 and 1: got -0.5"),
        ({"is_decoder": "yes"}, "causal must be one of True, False: got 'yes'"),
    ],
)
def test_settings_that_no_model_has_allocate_nothing(folder, settings, message):
    configured(folder, **settings)
    with little_memory(), pytest.raises(ValueError, match=message) as error:
        Transformer.from_pretrained(folder)
    assert str(folder) in str(error.value)


def test_whole_numbers_are_no_weights(folder):
    rewritten(folder, lambda tensors: tensors.update({"pooler.dense.bias": torch.ones(32, dtype=torch.int64)}))
    with pytest.raises(ValueError, match=r"1 not floating point: pooler.dense.bias \(torch.int64\)"):
        Transformer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: [], "index.json must hold a weight_map from tensors to files: got NoneType"),
        (lambda _: {"weight_map": {"x": 3}}, "index.json must hold a weight_map from tensors to files: got dict"),
        (lambda _: {"weight_map": {"x": "../a.safetensors.no"}}, "index.json must name files of its folder"),
        (lambda index: {"weight_map": {**index, "x": "a.safetensors"}}, "'x' missing from 'a.safetensors' or twice"),
        (lambda index: {"weight_map": {**index, "x": "b.safetensors"}}, "missing from 'b.safetensors' or twice"),
    ],
)
def test_an_index_that_does_not_say_where_tensors_are_is_refused(folder, change, message):
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    index = dict.fromkeys(load_file(folder / "a.safetensors"), "a.safetensors")
    (folder / "b.safetensors").write_bytes((folder / "a.safetensors").read_bytes())
    (folder / "model.safetensors.index.json").write_text(json.dumps(change(index)))
    with pytest.raises(ValueError, match=message):
        Transformer.from_pretrained(folder)


def test_broken_files_are_named(folder, tmp_path_factory):
    with pytest.raises(FileNotFoundError, match=r"config.json is missing. Pass the folder"):
        Transformer.from_pretrained(tmp_path_factory.mktemp("empty"))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model.safetensors must be a complete safetensors file"):
        Transformer.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds neither model.safetensors nor pytorch_model.bin"):
        Transformer.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json must hold JSON"):
        Transformer.from_pretrained(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="must hold a JSON object: got list"):
        Transformer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model_type": "gpt2"},
            "model_type in config.json must be one of bert, roformer, gezhi-transformer: got 'gpt2'",
        ),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type in config.json must be 'absolute'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings in config.json must be True: got False"),
        ({"add_cross_attention": True}, "add_cross_attention in config.json must be False"),
        ({"hidden_act": "mish"}, "hidden_act in config.json must be one of gelu, .*: got 'mish'"),
        ({"num_attention_heads": 5}, "embed_dim must be a multiple of the number of heads, 5: got 32"),
    ],
)
def test_configs_that_are_something_else_are_named(folder, settings, message):
    configured(folder, **settings)
    with pytest.raises(ValueError, match=message):
        Transformer.from_pretrained(folder)


def test_a_config_without_its_sizes_is_named(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 32}))
    with pytest.raises(ValueError, match=r"config.json must hold vocab_size, num_hidden_layers"):
        Transformer.from_pretrained(folder)


def test_no_half_file_is_left_by_a_failed_save(folder, monkeypatch):
    model, before = Transformer.from_pretrained(folder), (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr("gezhi.nn.checkpoint.save_file", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() == before
