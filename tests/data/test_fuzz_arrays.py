"""Every reader of arrays and pictures on thousands of files, against an independent reading of the same bytes."""

from __future__ import annotations

import gzip
import io
import math
import struct
import warnings
import zipfile

import numpy as np
from fuzzing import DAMAGE, damaged, fuzz, read
from hypothesis import strategies as st
from PIL import Image


def member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)


SHAPE = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
DTYPE = st.sampled_from(["u1", ">i2", "<f4", "f8", "f2", "?"])


@fuzz(SHAPE, DTYPE, st.booleans(), st.sampled_from(["i8", "f8", "U2", None]), DAMAGE)
def test_npz_of_images(shape, dtype, packed, labels, damage):
    memory = io.BytesIO()
    arrays = {"images": np.arange(math.prod(shape)).reshape(shape).astype(dtype)}
    if labels:
        arrays["labels"] = np.arange(shape[0]).astype(labels)
    (np.savez_compressed if packed else np.savez)(memory, **arrays)
    content = damaged(memory.getvalue(), damage)
    found = read("images", "a.npz", content)
    if found is not None:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            np.testing.assert_array_equal(found.images, member(archive, "images"))
            if found.labels is not None:
                names = [
                    str(int(x)) if member(archive, "labels").dtype.kind != "U" else str(x)
                    for x in member(archive, "labels")
                ]
                assert [found.classes[code] for code in found.labels] == names


@fuzz(st.integers(1, 4), st.integers(2, 5), st.sampled_from(["f2", "f4", "f8"]), st.booleans(), DAMAGE)
def test_npz_of_probabilities(rows, classes, dtype, named, damage):
    generator = np.random.default_rng(rows * classes)
    arrays = {}
    for part in ("reference", "test"):
        arrays[part] = generator.dirichlet(np.ones(classes), rows).astype(dtype)
        codes = generator.integers(classes, size=rows)
        arrays[f"{part}_labels"] = np.array([f"k{c}" for c in codes]) if named else codes
    arrays |= {"classes": np.array([f"k{c}" for c in range(classes)])} if named else {}
    memory = io.BytesIO()
    np.savez(memory, **arrays)
    content = damaged(memory.getvalue(), damage)
    found = read("probabilities", "a.npz", content)
    assert found is not None or damage
    if found is not None:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for part in ("reference", "test"):
                np.testing.assert_array_equal(getattr(found, part), member(archive, part).astype(float))
                codes, said = getattr(found, f"{part}_labels"), member(archive, f"{part}_labels")
                if "classes.npy" in archive.namelist():
                    assert [member(archive, "classes")[code] for code in codes] == list(said)
                elif said.dtype.kind not in "US":
                    assert codes.tolist() == said.tolist()


@fuzz(SHAPE, st.booleans(), st.booleans(), DAMAGE, DAMAGE)
def test_idx(shape, packed, labelled, damage, other):
    values = np.arange(math.prod(shape), dtype=np.uint8)
    content = bytes((0, 0, 8, 3)) + struct.pack(">3I", *shape) + values.tobytes()
    beside = damaged(bytes((0, 0, 8, 1)) + struct.pack(">I", shape[0]) + bytes(range(3, 3 + shape[0])), other)
    content = damaged(gzip.compress(content, mtime=0) if packed else content, damage)
    name = "images-idx3-ubyte" + ".gz" * packed
    labels = name.replace("images-idx3", "labels-idx1")
    beside = gzip.compress(beside, mtime=0) if packed else beside
    found = read("images", name, content, {labels: beside} if labelled else {})
    assert found is not None or damage or (other and labelled)
    if found is not None:
        content, beside = (gzip.decompress(each) if packed else each for each in (content, beside))
        assert found.images.shape == struct.unpack(">3I", content[4:16])
        assert found.images.tobytes() == content[16:]
        if labelled:
            assert [int(found.classes[code]) for code in found.labels] == list(beside[8:])
        else:
            assert found.labels is None


@fuzz(SHAPE, st.sampled_from(["PNG", "JPEG", "BMP"]), st.sampled_from(["L", "RGB", "1", "P", "RGBA"]), DAMAGE)
def test_pictures(shape, form, mode, damage):
    memory = io.BytesIO()
    grey = Image.fromarray(np.arange(math.prod(shape[:2]), dtype=np.uint8).reshape(shape[:2]))
    grey.convert(mode if form == "PNG" else "RGB" if mode == "RGB" else "L").save(memory, form)
    content = damaged(memory.getvalue(), damage)
    found = read("images", "pictures/a/1.png", content)
    assert found is not None or damage
    if found is not None:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as picture:
            warnings.simplefilter("ignore")
            pixels = np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
        np.testing.assert_array_equal(found.images[0], pixels)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


@fuzz(st.lists(st.tuples(TEXT, st.binary(max_size=40)), min_size=1, max_size=3), DAMAGE)
def test_archives_of_anything(members, damage):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name.replace("\0", "0") + ".npy", content)
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + members[0][1])
    read("images", "a.npz", damaged(memory.getvalue(), damage))
