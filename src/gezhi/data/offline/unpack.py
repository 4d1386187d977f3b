"""Take the wanted files out of a wheel or an sdist, and nothing else."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from gezhi.data.errors import DataError, fault
from gezhi.data.formats.files import check_size

Member = tuple[str, int, Callable[[], IO[bytes]]]


def unpack(archive: Path, files: Collection[str], folder: Path) -> None:
    """Write the files (a name that ends in a slash: all below it) under `folder`, with their paths.

    Errors: DataError for a member that would be written elsewhere, for more bytes than the limit, for a broken
        archive, and for a file that is not in it.
    """
    total, written = 0, set[str]()
    try:
        for name, size, contents in members(archive):
            wanted = [file for file in files if name == file or (file.endswith("/") and name.startswith(file))]
            if not wanted:
                continue
            total += size
            check_size(archive, total, "the wanted files")
            target = inside(archive, folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with contents() as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            written.update(wanted)
    except DataError:
        raise
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise fault(archive, f"a broken archive ({error})", "a wheel or an sdist", "Fetch it again.") from None
    for file in files:
        if file not in written:
            raise fault(archive, f"no {file}", "an archive that holds it", "This may be another version.")


def members(archive: Path) -> Iterator[Member]:
    """Name, size and opener of each regular file; links and devices are passed over."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            for entry in wheel.infolist():
                if not entry.is_dir():
                    yield entry.filename, entry.file_size, partial(wheel.open, entry)
        return
    with tarfile.open(archive, "r|*") as sdist:
        for member in sdist:
            if member.isfile():
                yield member.name, member.size, partial(opened, sdist, member)


def opened(sdist: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """The contents of a regular file in a tar."""
    return cast(IO[bytes], sdist.extractfile(member))


def inside(archive: Path, folder: Path, name: str) -> Path:
    """The path under `folder`; a name that climbs out of it, on any system, is refused."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
        raise fault(archive, f"a member named {name!r}", "a path inside the archive", "Do not use this archive.")
    return folder.joinpath(*parts)
