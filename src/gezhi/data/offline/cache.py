"""Where packages' files lie: in the user's cache, or in the system for Debian's; found, checked, described."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gezhi._checks import require
from gezhi.data.errors import DataUnavailable
from gezhi.data.offline.catalogue import Source, files_of, find, sources
from gezhi.data.offline.packages import Package

SYSTEM = Path("/")


def cache_folder() -> Path:
    """The cache: `GEZHI_DATA`, else the user's cache folder of the platform."""
    chosen = os.environ.get("GEZHI_DATA")
    return Path(chosen) if chosen else Path(require("platformdirs", "lab").user_cache_path("gezhi")) / "data"


def folder_for(package: Package) -> Path:
    """The package's folder in the cache, whether or not it is there."""
    return cache_folder() / package.folder


def folder_with(package: Package) -> Path | None:
    """The folder below which all the package's files lie."""
    candidates = [folder_for(package)] + ([SYSTEM] if package.form == "deb" else [])
    return next((f for f in candidates if all((f / file).exists() for file in files_of(package))), None)


def checked_folder(source: Source) -> Path:
    """The folder below which the files of the source's package lie, as they were pinned, or DataUnavailable."""
    package = source.package
    folder = folder_with(package)
    if folder is None:
        raise DataUnavailable(f"{source.name} is not on this machine. Run: {how_to_get(source)}")
    if digest(folder, files_of(package)) != package.sha256:
        raise DataUnavailable(f"{source.name} is not as it was pinned, in {folder}. Run: {how_to_get(source)}")
    return folder


def available(source: Source | str) -> bool:
    """Whether the source, or the one of this name, is at hand; its files are looked for, not checked."""
    package = (find(source) if isinstance(source, str) else source).package
    return package.form == "bundled" or folder_with(package) is not None


def read(name: str) -> Any:
    """The source as an instance of its kind's type; a model as the folder that holds it.

    Errors: DataUnavailable, with the command that gets it, where it is not on this machine or not as it was pinned;
        ValueError for an unknown name.
    """
    source = find(name)
    if source.package.form == "bundled":
        return source.reader(name)
    root = checked_folder(source) / source.package.root
    return source.reader(name, *(root / file for file in source.files))


def how_to_get(source: Source) -> str:
    """The command that gets it; empty for what is always there."""
    package = source.package
    if package.form == "bundled":
        return ""
    if package.form != "deb":
        return f"gezhi data get {source.name}"
    folder, archive = shlex.quote(str(folder_for(package))), f"{package.name}_*.deb"
    return (
        f"mkdir -p {folder} && cd {folder} && apt-get download {package.name} && "
        f"dpkg-deb --fsys-tarfile {archive} | tar -x ./{package.root} && rm {archive}"
    )


def describe() -> list[dict[str, Any]]:
    """Every source as plain values: what `gezhi data --json` prints."""
    return [
        {
            "name": source.name,
            "kind": source.kind,
            "rows": source.rows,
            "licence": source.licence,
            "available": available(source),
            "how_to_get": how_to_get(source),
        }
        for source in sources()
    ]


def digest(folder: Path, files: Iterable[str]) -> str:
    """What `sha256sum FILE… | sha256sum` prints in `folder`; a file below a folder stands under its own path."""
    lines = (f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in _expanded(folder, files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _expanded(folder: Path, files: Iterable[str]) -> Iterator[Path]:
    for path in (folder / file for file in files):
        inner = [found for found in path.rglob("*") if found.is_file()] if path.is_dir() else [path]
        yield from sorted(inner, key=Path.as_posix)
