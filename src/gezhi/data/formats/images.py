"""Pictures of one size: an npz, an idx file (gzipped or not), or a folder with one folder of pictures a class."""

from __future__ import annotations

import gzip
import math
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gezhi._checks import require
from gezhi.data.errors import DataError, fault, said
from gezhi.data.formats.arrays import class_labels, read_npz
from gezhi.data.formats.files import check_file, check_regular, check_size
from gezhi.data.kinds import Images

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
DECODERS = ("PNG", "JPEG", "BMP")  # Pillow guesses from the content; nothing else is to be decoded


def load_images(path: Path) -> Images:
    """Read pictures in whichever form `path` is."""
    if path.is_dir():
        return read_folder(path)
    return read_images_npz(path) if path.suffix.lower() == ".npz" else read_idx_pair(path)


def read_images_npz(path: Path) -> Images:
    """`images` (rows, height, width) or (rows, height, width, channels), and perhaps `labels`."""
    arrays = read_npz(path, ("images",), ("labels",), ("labels",))
    images = arrays["images"]
    if images.ndim not in (3, 4) or 0 in images.shape:
        expected = "(rows, height, width) or (rows, height, width, channels), at least one row and pixel"
        raise fault(path, f"shape {images.shape} in 'images'", expected)
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        row = np.argwhere(~np.isfinite(images))[0][0]
        raise fault(path, "NaN or infinity", "finite pixels", "Drop the picture.", at=f"array 'images', row {row + 1}")
    if "labels" not in arrays:
        return Images(images, None, (), path.stem)
    return Images(images, *class_labels(path, "labels", arrays["labels"], len(images)), path.stem)


def read_idx_pair(path: Path) -> Images:
    """Pictures of an idx3 file; labels from the `labels-idx1` file beside an `images-idx3` one, where there is one."""
    images = read_idx(path, 3)
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    if beside == path or not beside.is_file():
        return Images(images, None, (), path.name.split(".")[0])
    labels = class_labels(beside, "labels", read_idx(beside, 1), len(images))
    return Images(images, *labels, path.name.split(".")[0])


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """The bytes of an idx file with this many axes, whose sizes its head states."""
    check_file(path)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            return idx_array(path, file, axes)
        except (EOFError, OSError, zlib.error) as error:
            raise fault(path, f"a broken file ({error})", "a gzipped idx file", "Copy it again.") from None


def idx_array(path: Path, file: BinaryIO | gzip.GzipFile, axes: int) -> NDArray[np.uint8]:
    """Check the head, then read as many bytes as it asks for."""
    head = file.read(4 + 4 * axes)
    if head[:4] != bytes((0, 0, 8, axes)) or len(head) < 4 + 4 * axes:
        expected = f"00 00 08 {axes:02x}: unsigned bytes with {axes} axes"
        raise fault(path, f"first bytes {head[:4].hex(' ')}", expected, "Pass an idx, npz or folder of pictures.")
    shape = tuple(int(size) for size in np.frombuffer(head, ">u4", axes, 4))
    size = math.prod(shape)
    check_size(path, size, "its pictures")
    data = file.read(size)
    if len(data) < size or file.read(1) or size == 0:
        found = f"{len(data):,} bytes" if len(data) < size or not size else f"more than {size:,} bytes"
        raise fault(path, f"{found} after the head", f"{size:,} for {shape}, above 0", "Copy it again.")
    return np.frombuffer(data, np.uint8).reshape(shape).copy()  # writable, as torch wants it


def read_folder(path: Path) -> Images:
    """PNG, JPEG or BMP of one size and colour, one folder a class; grey ones have no channel axis."""
    classes = tuple(sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    files = [(file, code) for code, name in enumerate(classes) for file in pictures(path / name)]
    if not files:
        expected = "one folder a class with its pictures (" + ", ".join(ENDINGS) + ")"
        raise fault(path, "no pictures in its folders", expected, "Put the files of a class in a folder of its name.")
    first = decoded(files[0][0], None, len(files))
    images = np.empty((len(files), *first.shape), np.uint8)
    for row, (file, _) in enumerate(files):
        images[row] = decoded(file, first.shape, len(files))
    return Images(images, np.array([code for _, code in files]), classes, path.name)


def pictures(folder: Path) -> Iterator[Path]:
    """The picture files of a class, in the order of their names."""
    return (file for file in sorted(folder.iterdir()) if file.suffix.lower() in ENDINGS)


def decoded(file: Path, shape: tuple[int, ...] | None, count: int) -> NDArray[Any]:
    """One picture as (height, width) or (height, width, 3), of the first one's shape; its size is checked first."""
    pillow = require("PIL.Image", "lab")
    check_regular(file)
    try:
        with warnings.catch_warnings(), pillow.open(file, formats=DECODERS) as picture:
            warnings.simplefilter("ignore")  # of odd but readable files, and of large ones, whose size is checked here
            mode = "L" if picture.mode in ("1", "L") else "RGB"
            if picture.mode.startswith(("I", "F")):
                raise fault(file, f"pixels of type {picture.mode}", "8 bits a channel", "Convert it.")
            found = (picture.height, picture.width) + (() if mode == "L" else (3,))
            check_size(file, count * math.prod(found), f"{count} such pictures")
            if shape is not None and found != shape:
                raise fault(file, f"shape {found}", f"{shape}, as the first picture", "Resize or convert it.")
            return np.asarray(picture.convert(mode))
    except DataError:
        raise
    except Exception as error:  # a damaged picture raises whatever its bytes lead to
        raise fault(
            file, f"a picture that cannot be read ({said(error)})", ", ".join(DECODERS), "Convert it."
        ) from None
