"""Images and probabilities: round trips, faults, and files made to harm."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest
from memory import little_memory
from PIL import Image

from gezhi.data import DataError, Probabilities, load
from gezhi.data.formats import files

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)
LABELS = np.array([3, 7, 7, 3, 9, 9])


def idx(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def said(kind, path, **options):
    """What `load` says against the file."""
    with pytest.raises(DataError) as error:
        load(kind, path, **options)
    return str(error.value)


# ---- images ---------------------------------------------------------------------------------------------------------


def test_npz_with_and_without_labels(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=PICTURES, labels=LABELS)
    np.savez(tmp_path / "b.npz", images=PICTURES[..., None] / np.float32(255))
    data = load("images", tmp_path / "a.npz")
    np.testing.assert_array_equal(data.images, PICTURES)
    assert (data.labels.tolist(), data.classes, data.name) == ([0, 1, 1, 0, 2, 2], ("3", "7", "9"), "a")
    plain = load("images", tmp_path / "b.npz")
    assert (plain.images.shape, plain.images.dtype, plain.labels) == ((6, 5, 4, 1), np.float32, None)


@pytest.mark.parametrize("packed", [True, False])
def test_idx_finds_its_labels(tmp_path, packed):
    for name, values in (("train-images-idx3-ubyte", PICTURES), ("train-labels-idx1-ubyte", LABELS.astype(np.uint8))):
        (tmp_path / (name + ".gz" * packed)).write_bytes(gzip.compress(idx(values)) if packed else idx(values))
    data = load("images", tmp_path / ("train-images-idx3-ubyte" + ".gz" * packed))
    np.testing.assert_array_equal(data.images, PICTURES)
    assert (data.labels.tolist(), data.classes) == ([0, 1, 1, 0, 2, 2], ("3", "7", "9"))
    assert data.images.flags.writeable


def test_idx_without_labels(tmp_path):
    (tmp_path / "a.idx").write_bytes(idx(PICTURES))
    assert load("images", tmp_path / "a.idx").labels is None


def saved(path, array, **options):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(array).save(path, **options)


def test_folder_of_classes(tmp_path):
    saved(tmp_path / "dog" / "2.png", PICTURES[1])
    saved(tmp_path / "dog" / "1.png", PICTURES[0])
    saved(tmp_path / "cat" / "1.PNG", PICTURES[2])
    (tmp_path / "cat" / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden").mkdir()
    data = load("images", tmp_path)
    np.testing.assert_array_equal(data.images, PICTURES[[2, 0, 1]])
    assert (data.labels.tolist(), data.classes) == ([0, 1, 1], ("cat", "dog"))


def test_colour_pictures_have_a_channel_axis(tmp_path):
    colours = RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8)
    saved(tmp_path / "a" / "1.png", colours)
    np.testing.assert_array_equal(load("images", tmp_path).images, colours[None])


def test_pictures_of_two_sizes(tmp_path):
    saved(tmp_path / "a" / "1.png", PICTURES[0])
    saved(tmp_path / "b" / "1.png", PICTURES[0].T.copy())
    assert "found shape (4, 5), expected (5, 4), as the first picture" in said("images", tmp_path)


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"GIF89a", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n0000"])
def test_only_pictures_of_three_forms_are_decoded(tmp_path, content):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(content)
    assert "1.png: found a picture that cannot be read (" in said("images", tmp_path)


def test_sixteen_bits_are_not_cut(tmp_path):
    saved(tmp_path / "a" / "1.png", PICTURES[0].astype(np.uint16) * 256)
    assert "found pixels of type I;16, expected 8 bits a channel" in said("images", tmp_path)


def test_large_pictures_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    for number in range(3):
        saved(tmp_path / "a" / f"{number}.png", np.zeros((300, 300), np.uint8))
    monkeypatch.setattr(files, "MAX_BYTES", 200_000)
    assert "0.png: found 270,000 bytes in 3 such pictures, expected at most 200,000" in said("images", tmp_path)


def test_no_pictures(tmp_path):
    assert "found no pictures in its folders, expected one folder a class" in said("images", tmp_path)


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    saved(tmp_path / "a" / "1.png", PICTURES[0])
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "PIL.Image")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gezhi\[lab\]'"):
        load("images", tmp_path)


IDX_FAULTS = {
    "other type": (bytes((0, 0, 13, 3)) + bytes(12), "found first bytes 00 00 0d 03, expected 00 00 08 03: unsigned"),
    "two axes": (idx(PICTURES[0]), "found first bytes 00 00 08 02, expected 00 00 08 03"),
    "short head": (b"\0\0\x08\3\0", "found first bytes 00 00 08 03"),
    "cut": (idx(PICTURES)[:-1], "found 119 bytes after the head, expected 120 for (6, 5, 4)"),
    "too long": (idx(PICTURES) + b"x", "found more than 120 bytes after the head, expected 120"),
    "no picture": (idx(PICTURES[:0]), "found 0 bytes after the head, expected 0 for (0, 5, 4), above 0"),
    "bomb": (bytes((0, 0, 8, 3)) + b"\xff" * 12, "bytes in its pictures, expected at most 2,147,483,648"),
    "empty": (b"", "found an empty file"),
}


@pytest.mark.parametrize(("content", "message"), IDX_FAULTS.values(), ids=IDX_FAULTS)
def test_idx_faults(tmp_path, content, message):
    (tmp_path / "a.idx").write_bytes(content)
    assert message in said("images", tmp_path / "a.idx")


@pytest.mark.parametrize("content", [b"not gzip", gzip.compress(idx(PICTURES))[:-9]])
def test_broken_gzip(tmp_path, content):
    (tmp_path / "a.gz").write_bytes(content)
    assert "expected a gzipped idx file" in said("images", tmp_path / "a.gz")


IMAGE_FAULTS = {
    "shape": ({"images": np.zeros((4, 4))}, "found shape (4, 4) in 'images', expected (rows, height, width)"),
    "none": ({"images": np.zeros((0, 4, 4))}, "found shape (0, 4, 4) in 'images'"),
    "nan": ({"images": np.full((2, 1, 1), np.nan)}, "array 'images', row 1: found NaN or infinity, expected finite"),
    "labels": ({"images": PICTURES, "labels": LABELS[:5]}, "found shape (5,) in 'labels', expected (6,)"),
    "fractions": ({"images": PICTURES, "labels": LABELS / 2}, "found type float64 in 'labels', expected whole numbers"),
    "name": ({"pictures": PICTURES}, "found no array 'images' (it holds pictures), expected all of images"),
}


@pytest.mark.parametrize(("arrays", "message"), IMAGE_FAULTS.values(), ids=IMAGE_FAULTS)
def test_image_faults(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    assert message in said("images", tmp_path / "a.npz")


# ---- probabilities --------------------------------------------------------------------------------------------------

GOOD = {
    "reference": np.array([[0.2, 0.8], [0.5, 0.5], [1, 0]]),
    "reference_labels": np.array([1, 1, 0]),
    "test": np.array([[0.3, 0.7], [0.00005, 1]], dtype=np.float32),
    "test_labels": np.array([0.0, 1.0]),
}


def test_probabilities_come_back(tmp_path):
    np.savez(tmp_path / "p.npz", **GOOD, other=np.array(["left", "alone"]))
    data = load("probabilities", tmp_path / "p.npz")
    assert isinstance(data, Probabilities)
    for name, values in GOOD.items():
        np.testing.assert_allclose(getattr(data, name), values, rtol=1e-6)
    np.testing.assert_allclose(data.prior, [1 / 3, 2 / 3])


def test_the_prior_knows_no_test_label(tmp_path):
    np.savez(tmp_path / "p.npz", **GOOD | {"test_labels": np.array([0, 0])})
    np.testing.assert_allclose(load("probabilities", tmp_path / "p.npz").prior, [1 / 3, 2 / 3])


@pytest.mark.parametrize("classes", [2, 3, 10, 50])
def test_predictions_may_be_stored_in_half_precision_or_with_four_decimals(tmp_path, classes):
    rows = np.random.default_rng(0).dirichlet(np.ones(classes), 500)
    labels = {"reference_labels": np.arange(500) % classes, "test_labels": np.arange(500) % classes}
    for stored in (rows.astype(np.float16), rows.round(4), rows.astype(np.float32)):
        np.savez(tmp_path / "p.npz", reference=stored, test=stored, **labels)
        np.testing.assert_array_equal(load("probabilities", tmp_path / "p.npz").test, stored.astype(float))
    np.savez(tmp_path / "p.npz", reference=rows, test=rows * 1.02, **labels)
    assert "array 'test', row 1: found a sum of 1.02, expected numbers from 0 that sum to 1" in said(
        "probabilities", tmp_path / "p.npz"
    )


def test_labels_by_name_are_columns(tmp_path):
    named = {"reference_labels": np.array(["dog", "dog", "cat"]), "test_labels": np.array(["cat", "dog"])}
    np.savez(tmp_path / "p.npz", **GOOD | named)
    data = load("probabilities", tmp_path / "p.npz")
    assert (data.reference_labels.tolist(), data.test_labels.tolist()) == ([1, 1, 0], [0, 1])
    np.savez(tmp_path / "p.npz", **GOOD | named, classes=np.array(["dog", "cat"]))
    assert load("probabilities", tmp_path / "p.npz").test_labels.tolist() == [1, 0]
    np.savez(
        tmp_path / "p.npz",
        **GOOD | {"reference_labels": np.array([7, 7, 3]), "test_labels": np.array([3, 7])},
        classes=np.array([3, 7]),
    )
    assert load("probabilities", tmp_path / "p.npz").reference_labels.tolist() == [1, 1, 0]


NAMED = {
    "too few": ({"reference_labels": np.array(["a"] * 3), "test_labels": np.array(["a"] * 2)},
                "found labels with 1 names, expected 2, as many as columns. Save the columns' names as an array 'classes'."),
    "unknown": ({"classes": np.array(["a", "b"]), "reference_labels": np.array(["a", "b", "a"]), "test_labels": np.array(["a", "c"])},
                "array 'test_labels', row 2: found label 'c', expected a name in 'classes'. Add its column."),
    "twice": ({"classes": np.array(["a", "a"])}, "found a name twice in 'classes', expected one name a column."),
    "wrong count": ({"classes": np.array(["a"])}, "found shape (1,) in 'classes', expected (2,)"),
    "beyond integers": ({"test_labels": np.array([1e300, 0])}, "array 'test_labels', row 1: found type float64 in 'test_labels'"),
    "beyond signed": ({"test_labels": np.array([2**63, 0], dtype=np.uint64)}, "found label 9223372036854775808, expected a column"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), NAMED.values(), ids=NAMED)
def test_faults_of_names_have_a_place(tmp_path, change, message):
    np.savez(tmp_path / "p.npz", **GOOD | change)
    assert message in said("probabilities", tmp_path / "p.npz")


def changed(name, row, values):
    array = GOOD[name].copy()
    array[row] = values
    return {name: array}


PROBABILITY_FAULTS = {
    "sum": (changed("reference", 1, [0.5, 0.6]), "array 'reference', row 2: found a sum of 1.1, expected numbers from"),
    "negative": (changed("test", 0, [-0.1, 1.1]), "array 'test', row 1: found -0.1, expected numbers from 0"),
    "nan": (changed("test", 1, [np.nan, 1]), "array 'test', row 2: found nan, expected numbers from 0"),
    "label": (
        changed("reference_labels", 2, 2),
        "array 'reference_labels', row 3: found label 2, expected a column fro",
    ),
    "fraction": (changed("test_labels", 1, 0.5), "found type float64 in 'test_labels', expected whole numbers"),
    "length": ({"test_labels": np.array([0])}, "found shape (1,) in 'test_labels', expected (2,), one label a row"),
    "width": ({"test": np.full((2, 4), 0.25)}, "found 2 classes in 'reference' and 4 in 'test', expected as many"),
    "flat": ({"reference": np.array([1.0])}, "found shape (1,) in 'reference', expected (rows, classes)"),
    "text": ({"test": np.array([["a", "b"]])}, "found type <U1 in 'test', expected numbers"),
    "complex": ({"test": np.array([[1j, 0]])}, "found type complex128 in 'test', expected numbers"),
}


@pytest.mark.parametrize(("change", "message"), PROBABILITY_FAULTS.values(), ids=PROBABILITY_FAULTS)
def test_probability_faults(tmp_path, change, message):
    np.savez(tmp_path / "p.npz", **GOOD | change)
    assert message in said("probabilities", tmp_path / "p.npz")


def test_a_missing_array_is_named(tmp_path):
    np.savez(tmp_path / "p.npz", reference=GOOD["reference"])
    with pytest.raises(
        DataError, match=r"found no array 'reference_labels' \(it holds reference\), expected all of ref"
    ):
        load("probabilities", tmp_path / "p.npz")


# ---- made to harm ---------------------------------------------------------------------------------------------------


class Harm:
    def __reduce__(self):
        return (sys.exit, ("a pickle was run",))


def header(shape: str, descr: str = "'<f8'", version: bytes = b"\1\0") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text


def packed(path, **members: bytes):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def test_pickles_are_never_run(tmp_path):
    objects = io.BytesIO()
    np.save(objects, np.array([Harm()], dtype=object), allow_pickle=True)
    disguised = header("(1,)") + pickle.dumps(Harm())
    path = packed(tmp_path / "a.npz", images=objects.getvalue())
    assert "found Python objects (a pickle) in 'images', expected numbers" in said("images", path)
    assert "found shape (1,) in 'images'" in said("images", packed(tmp_path / "b.npz", images=disguised))
    (tmp_path / "c.npz").write_bytes(pickle.dumps(Harm()))
    assert "expected an npz" in said("images", tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header("(1000000, 1000, 1000)"), "8,000,000,000,000 bytes in its arrays, expected at most"),
        (header("(70000, 70000)") + bytes(10**7), "39,200,000,000 bytes in its arrays, expected at most"),
        (header("(3, 2)", version=b"\2\0"), "found npy version (2, 0) in 'images', expected version (1, 0)"),
        (header("(-1, 2, 2)"), "found"),
        (header("(2, 2, 2)") + bytes(63), "found a broken file"),
        (b"\x93NUMPY\1\0\xff\xff", "found a broken file"),
        (b"", "found a broken file"),
        (header("(2, 2, 2)", "[('a', '<f8')]") + bytes(64), "expected numbers"),
    ],
)
def test_hostile_headers_allocate_nothing(tmp_path, content, message):
    path = packed(tmp_path / "a.npz", images=content)
    with little_memory():
        assert message in said("images", path)


def test_a_member_longer_than_its_header_is_not_unpacked(tmp_path):
    path = packed(tmp_path / "a.npz", images=header("(2, 2, 2)") + bytes(64) + bytes(3 * 10**7))
    assert path.stat().st_size < 10**6
    with little_memory():
        assert load("images", path).images.shape == (2, 2, 2)
