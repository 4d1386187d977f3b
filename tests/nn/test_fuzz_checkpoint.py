"""Checkpoints on thousands of files, sound ones and damaged ones, against an independent reading of the same bytes."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tempfile
import zipfile
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from fuzzing import CHANGES, DAMAGE, attempt, changed, damaged, fuzz
from hypothesis import strategies as st

from gezhi.nn import Transformer, TransformerConfig
from gezhi.nn.checkpoint import FIELDS, hugging_face_name

SIZES = {"dim": 4, "num_layers": 1, "num_heads": 2, "max_positions": 3}
OURS = TransformerConfig(5, **SIZES, num_types=0, positions="t5")
BERT = TransformerConfig(5, **SIZES, num_types=2, positions="learned", norm="post", pooler=True)
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}  # fmt: skip


def files(config):
    """The files of a checkpoint, by name."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        Transformer(config).save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


SOUND = [files(OURS), files(BERT)]


def loaded(parts):
    """The model of a folder with these files, or None where it is refused by name."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in parts.items():
            Path(folder, name).write_bytes(content)
        return attempt(lambda: Transformer.from_pretrained(folder), folder, ValueError, FileNotFoundError)


def safetensors_of(content):
    """The arrays of a safetensors file: a length, JSON, and bytes."""
    (length,) = struct.unpack("<Q", content[:8])
    head = json.loads(content[8 : 8 + length])
    head.pop("__metadata__", None)
    data, found = content[8 + length :], {}
    for name, part in head.items():
        a, b = part["data_offsets"]
        found[name] = np.frombuffer(data[a:b], TYPES[part["dtype"]]).reshape(part["shape"])
    return found


def expect_model(model, settings, arrays):
    """Its config is what the file says, and its numbers are those of the arrays."""
    own = settings["model_type"] == "gezhi-transformer"
    config = asdict(model.config)
    for ours, theirs in FIELDS.items():
        name = ours if own else theirs
        if name in settings and (own or settings[name]):
            assert config[ours] == settings[name]
    arrays = {name.removeprefix("bert."): array for name, array in arrays.items()}
    for name, tensor in model.state_dict().items():
        array = arrays[name if own else hugging_face_name(name)]
        np.testing.assert_array_equal(tensor.numpy(), array.astype(np.float32))


@fuzz(st.sampled_from(SOUND), st.sampled_from(["config.json", "model.safetensors"]), DAMAGE)
def test_checkpoints(parts, name, damage):
    parts = {**parts, name: damaged(parts[name], damage)}
    model = loaded(parts)
    assert model is not None or damage
    if model is not None:
        expect_model(model, json.loads(parts["config.json"]), safetensors_of(parts["model.safetensors"]))


@fuzz(st.sampled_from(SOUND), CHANGES, CHANGES)
def test_checkpoints_of_changed_settings(parts, settings, heads):
    tensors = parts["model.safetensors"]
    (length,) = struct.unpack("<Q", tensors[:8])
    head = json.dumps(changed(json.loads(tensors[8 : 8 + length]), heads)).encode()
    content = {
        "config.json": json.dumps(changed(json.loads(parts["config.json"]), settings)).encode(),
        "model.safetensors": struct.pack("<Q", len(head)) + head + tensors[8 + length :],
    }
    model = loaded(content)
    assert model is not None or settings or heads
    if model is not None:
        expect_model(model, json.loads(content["config.json"]), safetensors_of(content["model.safetensors"]))


def shards(parts):
    """A checkpoint in two files, its tensors shared out by an index."""
    tensors = safetensors_of(parts["model.safetensors"])
    names = sorted(tensors)
    found, index = {"config.json": parts["config.json"]}, {}
    for shard, some in (("a.safetensors", names[::2]), ("b.safetensors", names[1::2])):
        head, data = {}, b""
        for name in some:
            content = tensors[name].tobytes()
            place = [len(data), len(data) + len(content)]
            head[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": place}
            data += content
        text = json.dumps(head).encode()
        found[shard] = struct.pack("<Q", len(text)) + text + data
        index |= dict.fromkeys(some, shard)
    return found | {"model.safetensors.index.json": json.dumps({"weight_map": index}).encode()}


@fuzz(st.sampled_from([shards(parts) for parts in SOUND]), CHANGES, DAMAGE)
def test_checkpoints_in_shards(parts, changes, damage):
    name = "model.safetensors.index.json"
    index = damaged(json.dumps(changed(json.loads(parts[name]), changes)).encode(), damage)
    model = loaded(parts | {name: index})
    assert model is not None or damage or changes
    if model is not None:
        chosen = set(json.loads(index)["weight_map"].values())
        arrays = {}
        for shard in chosen:
            arrays |= safetensors_of(parts[Path(shard).name])
        expect_model(model, json.loads(parts["config.json"]), arrays)


class Arrays(pickle.Unpickler):
    """The arrays of a torch file: its pickle asks for storages by name, and for tensors on them."""

    def __init__(self, archive):
        self.archive = archive
        (self.folder,) = {name.rpartition("/")[0] for name in archive.namelist() if name.endswith("/data.pkl")}
        super().__init__(io.BytesIO(archive.read(f"{self.folder}/data.pkl")))

    def persistent_load(self, asked):
        _, kind, key, _, count = asked
        return np.frombuffer(self.archive.read(f"{self.folder}/data/{key}"), kind, count)

    def find_class(self, _, name):
        known = {"_rebuild_tensor_v2": array, "OrderedDict": dict, "FloatStorage": "<f4", "HalfStorage": "<f2",
                 "DoubleStorage": "<f8", "LongStorage": "<i8"}  # fmt: skip
        return known[name]


def array(storage, offset, shape, strides, *_):
    strides = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides)


@lru_cache
def saved_by_torch(tensors):
    memory = io.BytesIO()
    torch.save({name: torch.from_numpy(found.copy()) for name, found in safetensors_of(tensors).items()}, memory)
    return memory.getvalue()


def packed_again(content, name, change):
    """An archive with one of its files changed, whole again."""
    memory = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(memory, "w") as new:
        for member in old.namelist():
            its = old.read(member)
            new.writestr(member, change(its) if member.endswith(name) else its)
    return memory.getvalue()


@fuzz(st.sampled_from(SOUND), st.sampled_from(["", "data.pkl", "data/0", "byteorder"]), DAMAGE)
def test_checkpoints_of_torch(parts, inside, damage):
    content = saved_by_torch(parts["model.safetensors"])
    content = packed_again(content, inside, lambda its: damaged(its, damage)) if inside else damaged(content, damage)
    model = loaded({"config.json": parts["config.json"], "pytorch_model.bin": content})
    assert model is not None or damage
    if model is not None:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            expect_model(model, json.loads(parts["config.json"]), Arrays(archive).load())
