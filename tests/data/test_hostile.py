"""Files made to harm, or damaged: a named error, bounded time and memory, nothing run."""

from __future__ import annotations

import io
import os
import resource
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory import little_memory
from PIL import Image

from gezhi.data import KINDS, DataError, load
from gezhi.data.errors import DataWarning, named

LIMIT = 3 * 2**30  # bytes of address space: Python with its libraries takes about two


def said(kind, path, **options):
    """What `load` says against the file."""
    with pytest.raises(DataError) as error:
        load(kind, path, **options)
    return str(error.value)


def outcome(kind, path):
    """What `load` says against the file; its name where it says nothing."""
    try:
        load(kind, path)
    except DataError as error:
        return str(error)
    return str(path)


def loaded_apart(kind: str, path: Path) -> tuple[str, int]:
    """What a fresh process with limited memory says of a file, and how many bytes it came to hold."""
    code = (
        "import resource, sys; from gezhi.data import load, DataError\n"
        "import numpy, polars\n"
        f"resource.setrlimit(resource.RLIMIT_DATA, ({LIMIT}, {LIMIT}))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: print('read', load(sys.argv[1], sys.argv[2]).name)\n"
        "except DataError as error: print(error)\n"
        "grown = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]\n"
        "print(max(grown[0] - before, grown[1] - before))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, kind, str(path)], capture_output=True, text=True, env=environment,
                          timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    *text, grown = done.stdout.splitlines()
    return "\n".join(text), int(grown) * 1024


# ---- one door -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ValueError("a\nb"), RecursionError("deep"), KeyError("x"), MemoryError(), OSError(5, "I/O")]
)
def test_whatever_a_reader_raises_names_the_file(error):
    with pytest.raises(DataError, match=rf"^f.x: found something that cannot be read \({type(error).__name__}.*\), expected"), \
            named(Path("f.x"), "data"):  # fmt: skip
        raise error


class PanicException(BaseException):
    """As compiled readers raise it."""


def test_a_panic_of_a_compiled_reader_names_the_file_and_an_interrupt_passes():
    with pytest.raises(DataError, match="PanicException: index out of bounds"), named(Path("f.x"), "data"):
        raise PanicException("index out of bounds")
    for passing in (KeyboardInterrupt, SystemExit, ModuleNotFoundError, DataWarning):
        with pytest.raises(passing), named(Path("f.x"), "data"):
            raise passing("as it is")


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_is_never_opened(tmp_path, kind):
    path = tmp_path / f"x{KINDS[kind].endings[0]}"
    os.mkfifo(path)
    assert "found a pipe or a device, expected a file. Copy its content into a file." in said(kind, path)


def test_a_pipe_among_pictures_is_never_opened(tmp_path):
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "x.png")
    assert "x.png: found a pipe or a device, expected a file." in said("images", tmp_path)


def test_a_name_that_no_system_takes(tmp_path):
    assert "found something that cannot be read (OSError: File name too long)" in said("texts", tmp_path / ("x" * 5000))


# ---- npz ------------------------------------------------------------------------------------------------------------


def head(shape: str, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name twice
        for name, content in members.items():
            archive.writestr(name.rstrip("*"), content)
    return path


GOOD = head("(2, 2, 2)") + bytes(64)
NPZ = {
    "sizes that cancel": ({"images.npy": head("(100000, 100, 100)"), "labels.npy": head("(-1000000000,)", "'<i8'")},
                          "found shape (-1000000000,) in 'labels', expected sizes from 0"),
    "no ending": ({"images": GOOD}, "found no array 'images' (it holds nothing), expected all of images"),
    "a name twice": ({"images.npy": GOOD, "images.npy*": GOOD}, "found two arrays 'images', expected one"),
    "no pixels": ({"images.npy": head("(2, 0, 2)")}, "found shape (2, 0, 2) in 'images', expected (rows, height, width)"),
    "an endless axis": ({"images.npy": head("(0, 10**30)".replace("10**30", "1" + "0" * 30))}, "in one axis of 'images'"),
    "many axes": ({"images.npy": head("(1,) * 9".replace("(1,) * 9", str((1,) * 9)))}, "expected at most 8 sizes"),
    "no tuple": ({"images.npy": head("4")}, "found shape '4' in 'images', expected at most 8 sizes"),
    "truth as size": ({"images.npy": head("(True, 2, 2)")}, "in 'images', expected at most 8 sizes"),
    "deep head": ({"images.npy": head("(" * 90)}, "found a broken file ("),
    "code in the head": ({"images.npy": head("__import__('os')")}, "found a broken file ("),
    "a hostile name": ({"a\nb.npy": GOOD}, "(it holds 'a\\nb'), expected all of images"),
    "labels beyond floats": ({"images.npy": GOOD, "labels.npy": head("(2,)") + struct.pack("<2d", 1e300, 1)},
                             "array 'labels', row 1: found type float64 in 'labels', expected whole numbers below 2"),
    "endless labels": ({"images.npy": GOOD, "labels.npy": head("(2,)") + struct.pack("<2d", 1, np.inf)},
                       "array 'labels', row 2: found type float64 in 'labels', expected whole numbers below 2"),
    "long texts": ({"images.npy": GOOD, "labels.npy": head("(2,)", "'<U500000000'")}, "in one axis of 'labels', expected"),
    "no texts as pixels": ({"images.npy": head("(2, 2, 2)", "'<U8'")}, "found type <U8 in 'images', expected numbers"),
}  # fmt: skip


@pytest.mark.parametrize(("members", "message"), NPZ.values(), ids=NPZ)
def test_hostile_archives_allocate_nothing(tmp_path, members, message):
    path = packed(tmp_path / "a.npz", members)
    with little_memory():
        assert message in said("images", path)


def test_labels_beyond_signed_integers_stay_apart(tmp_path):
    labels = np.array([2**64 - 1, 2**63, 2**64 - 1], dtype=np.uint64)
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 1, 1)), labels=labels)
    data = load("images", tmp_path / "a.npz")
    assert (data.classes, data.labels.tolist()) == (("9223372036854775808", "18446744073709551615"), [1, 0, 1])


def test_labels_that_are_texts(tmp_path):
    for kind in ("U", "S"):
        labels = np.array(["dog", "cat", "dog"]).astype(kind)
        np.savez(tmp_path / "a.npz", images=np.zeros((3, 1, 1)), labels=labels)
        data = load("images", tmp_path / "a.npz")
        assert (data.classes, data.labels.tolist()) == (("cat", "dog"), [1, 0, 1])
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 1, 1)), labels=np.array(["dog", "NA"]))
    assert "array 'labels', row 2: found no label ('NA'), expected a class." in said("images", tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 1, 1)), labels=np.array([b"dog", b"\xff"]))
    assert "found bytes that are no UTF-8 (invalid start byte) in 'labels'" in said("images", tmp_path / "a.npz")


def test_arrays_in_either_order_of_bytes_and_axes(tmp_path):
    images = np.arange(24).reshape(2, 3, 4).astype(">i2")
    np.savez_compressed(tmp_path / "a.npz", images=np.asfortranarray(images))
    data = load("images", tmp_path / "a.npz")
    np.testing.assert_array_equal(data.images, images)
    assert data.images.dtype.isnative


@pytest.mark.parametrize("cut", [1, 22, 60, 300])
def test_damaged_archives_are_named(tmp_path, cut):
    np.savez_compressed(tmp_path / "a.npz", images=np.arange(800).reshape(8, 10, 10))
    content = (tmp_path / "a.npz").read_bytes()
    for damaged in (content[:-cut], content[cut:], content[:cut] + b"\xff\xff\xff" + content[cut + 3 :]):
        (tmp_path / "b.npz").write_bytes(damaged)
        assert outcome("images", tmp_path / "b.npz").startswith(str(tmp_path / "b.npz"))


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_damaged_pictures_are_named(tmp_path):
    (tmp_path / "a").mkdir()
    memory = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(memory, "PNG")
    content = memory.getvalue()
    for place in range(0, len(content), 3):
        (tmp_path / "a" / "1.png").write_bytes(content[:place] + b"\xff\0" + content[place + 2 :])
        assert outcome("images", tmp_path).startswith(str(tmp_path))


# ---- Parquet --------------------------------------------------------------------------------------------------------


def test_a_text_that_stands_for_many_rows_is_held_once(tmp_path):
    texts = pa.array(["a" * 4_000_000, "b" * 4_000_000])
    labels = pa.DictionaryArray.from_arrays(pa.array(np.arange(1000) % 2, pa.int32()), texts)
    pq.write_table(pa.table({"x": np.arange(1000.0), "y": labels}), tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 10_000
    text, grown = loaded_apart("features", tmp_path / "a.parquet")
    assert text == "read a"
    assert grown < 3e8
    pq.write_table(
        pa.table({"x": np.arange(1000.0), "y": labels}), tmp_path / "b.parquet", compression="zstd", store_schema=False
    )
    text, grown = loaded_apart("features", tmp_path / "b.parquet")
    assert "bytes in the texts of 'y', expected at most" in text
    assert grown < 3e8


def test_rows_that_a_few_bytes_stand_for_are_counted_first(tmp_path):
    n = 130_000_000
    schema = pa.schema({"x": pa.float64(), "y": pa.int64()})
    with pq.ParquetWriter(tmp_path / "a.parquet", schema, compression="zstd") as writer:
        block = pa.table({"x": np.zeros(n // 10), "y": np.zeros(n // 10, np.int64)}, schema=schema)
        for _ in range(10):
            writer.write_table(block)
    text, grown = loaded_apart("features", tmp_path / "a.parquet")
    assert "bytes in what reading the table takes, expected at most 2,147,483,648. Take a sample of it." in text
    assert grown < 3e8


def test_a_reader_that_dies_is_survived(tmp_path, monkeypatch):
    pl.DataFrame({"x": [1.0, 2.0], "y": [0, 1]}).write_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr("gezhi.data.formats.parquet.TRIAL", "import os; os.abort()")
    message = "found a file that cannot be read (its reader ended), expected Parquet. Write it again."
    assert message in said("features", tmp_path / "a.parquet")
    monkeypatch.setattr(
        "gezhi.data.formats.parquet.TRIAL",
        'import time; print(\'{"rows": 1, "columns": 2}\', flush=True); time.sleep(60)',
    )
    monkeypatch.setattr("gezhi.data.formats.parquet.SECONDS", 0.2)
    assert "found a file that cannot be read (not read in 0.2 s), expected Parquet." in said(
        "features", tmp_path / "a.parquet"
    )


def test_a_changed_count_of_a_page_is_survived(tmp_path):
    frame = pl.DataFrame({"x": np.arange(300.0), "w": ["p", "q", "r"] * 100, "y": [0, 1, 2] * 100})
    frame.write_parquet(tmp_path / "a.parquet", compression="uncompressed")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    for place in range(4, 40, 3):
        damaged = content[:place] + bytes([content[place] ^ 0x7F]) + content[place + 1 :]
        (tmp_path / "b.parquet").write_bytes(damaged)
        assert outcome("features", tmp_path / "b.parquet").startswith(str(tmp_path / "b.parquet"))


# ---- graphs ---------------------------------------------------------------------------------------------------------


def test_a_count_of_vertices_alone_allocates_nothing(tmp_path):
    (tmp_path / "g.net").write_text("*Vertices 20000000\n*Edges\n1 2\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "line 1: found '20000000', expected the number of vertices up to 1048" in said("edges", tmp_path / "g.net")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize(("name", "content"), [
    ("g.graphml", "<graphml><graph>" + "<node id='a'>" * 100_000), ("g.gml", "graph [ " * 100_000), ("g.gexf", "<gexf>" * 100_000),
])  # fmt: skip
def test_what_is_deep_ends_early(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert said("edges", tmp_path / name).startswith(str(tmp_path / name))
