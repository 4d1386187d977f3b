"""Raw text: which files, which encoding, and what is wrong with them."""

from __future__ import annotations

import gzip
import io
import random
from pathlib import Path

import pytest
import zstandard
from memory import little_memory

from gezhi.data import DataError
from gezhi.data.charsets import recognised
from gezhi.data.raw_text import RawText, check_encoding, expand, open_text

CHINESE = "今天的天气是很好的，我们在这里。\n他说：“不要来了！” GPU 3.5\n"
TRADITIONAL = "今天的天氣是很好的，我們在這裡。\n他說：「不要來了！」\n"


def read_all(path, encoding=None, errors="strict", size=2**18):
    with open_text(path, encoding, errors) as text:
        return "".join(iter(lambda: text.read(size), ""))


def fault(path, *arguments):
    with pytest.raises(DataError) as caught:
        read_all(path, *arguments)
    return str(caught.value).replace(f"{path.parent}/", "")


# ---- which files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.txt", "a.txt", "deep/er/c.txt", ".hidden/d.txt", "deep/.e", "[x].txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(CHINESE, encoding="utf-8")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a.txt"], ["a.txt"]),
        (["."], ["[x].txt", "a.txt", "b.txt", "deep/er/c.txt"]),
        (["deep"], ["deep/er/c.txt"]),
        (["*.txt"], ["[x].txt", "a.txt", "b.txt"]),
        (["**/*.txt"], ["[x].txt", "a.txt", "b.txt", "deep/er/c.txt"]),
        (["b.txt", "*.txt", "a.txt"], ["b.txt", "[x].txt", "a.txt"]),
        (["[x].txt"], ["[x].txt"]),
    ],
)
def test_names_folders_and_patterns(tree, names, found):
    assert [path.as_posix() for path in expand(names)] == found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no.txt", "no.txt: found no such file, expected a file, a folder or a pattern. Check the path."),
        ("*.csv", r"*.csv: found a pattern of no file, expected a file, a folder or a pattern. Check the path."),
        ("empty", "empty: found a folder without files, expected a file, a folder or a pattern. Check the path."),
    ],
)
def test_names_of_nothing_are_told(tree, name, message):
    with pytest.raises(DataError) as caught:
        expand(["a.txt", name])
    assert str(caught.value) == message


# ---- encodings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 2**18])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_the_encoding_is_seen(tmp_path, encoding, size):
    (tmp_path / "t.txt").write_bytes((CHINESE * 20).encode(encoding))
    if size > 7 or encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):  # a byte or two tell nothing of the others
        assert read_all(tmp_path / "t.txt", size=size if size > 4 else 4) == CHINESE * 20
    assert read_all(tmp_path / "t.txt", encoding, size=size) == CHINESE * 20


def test_big5_is_seen_and_ascii_first_decides_nothing(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"plain\n" * 50_000 + (TRADITIONAL * 20).encode("big5hkscs"))
    assert read_all(tmp_path / "t.txt") == "plain\n" * 50_000 + TRADITIONAL * 20


def test_emoji_and_rare_characters_pass(tmp_path):
    text = CHINESE + "😀\U00020000👩‍💻\ufffd"
    for encoding in ("utf-8", "utf-16", "gb18030"):
        (tmp_path / "t.txt").write_bytes(text.encode(encoding))
        assert read_all(tmp_path / "t.txt") == text


@pytest.mark.parametrize("text", ["", "\n", "abc", "国"])
def test_little_text_is_utf_8(tmp_path, text):
    (tmp_path / "t.txt").write_bytes(text.encode())
    assert read_all(tmp_path / "t.txt") == text


@pytest.mark.parametrize("name", ["gb18030", "GBK", "utf-16", "utf8"])
def test_known_encodings(name):
    check_encoding("--encoding", name)


@pytest.mark.parametrize("name", ["klingon", "base64", "rot13", ""])
def test_unknown_encodings_are_told(name):
    with pytest.raises(ValueError, match="--encoding must be one that Python knows, such as gb18030 or utf-16: got"):
        check_encoding("--encoding", name)


# ---- archives -------------------------------------------------------------------------------------------------------


def packed(data, how):
    return gzip.compress(data) if how == "gzip" else zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_archives_are_seen_by_their_first_bytes(tmp_path, how):
    data = (CHINESE * 5000).encode("gb18030")
    (tmp_path / "t.txt").write_bytes(packed(data[:1001], how) + packed(data[1001:], how))
    assert read_all(tmp_path / "t.txt") == CHINESE * 5000
    with open_text(tmp_path / "t.txt") as text:
        while text.read(1000):
            pass
        assert text.done == (tmp_path / "t.txt").stat().st_size


@pytest.mark.parametrize(("how", "name"), [("gzip", "gzip"), ("zstd", "Zstandard")])
def test_a_broken_archive_is_told(tmp_path, how, name):
    whole = packed(random.Random(0).randbytes(100_000).hex().encode(), how)
    for data in (whole[:-20], whole[:30_000] + b"damaged" + whole[30_007:]):
        (tmp_path / "t.gz").write_bytes(data)
        assert fault(tmp_path / "t.gz").startswith("t.gz: found a broken archive (")


def test_a_bomb_takes_little_memory(tmp_path):
    for how in ("gzip", "zstd"):
        (tmp_path / "t").write_bytes(packed(b"a" * 200_000_000, how))
        with little_memory(40e6), open_text(tmp_path / "t") as text:
            for _ in range(20):
                text.read(2**18)


# ---- faults ---------------------------------------------------------------------------------------------------------


def test_what_cannot_be_decoded_is_placed(tmp_path):
    whole = (CHINESE * 3).encode()
    (tmp_path / "t.txt").write_bytes(whole + "今天".encode() + b"\xff\xfe" + whole)
    assert fault(tmp_path / "t.txt") == (
        "t.txt, line 7, column 3: found byte 0xff, expected utf-8 text. Pass the encoding that the file has "
        "(--encoding), or skip what cannot be decoded (--errors replace)."
    )
    with open_text(tmp_path / "t.txt", None, "replace") as text:
        assert text.read(10**6) == CHINESE * 3 + "今天\ufffd\ufffd" + CHINESE * 3
        assert text.replaced == 2


@pytest.mark.parametrize("size", [8, 100, 10**6])
def test_a_fault_has_the_same_place_however_it_is_read(tmp_path, size):
    (tmp_path / "t.txt").write_bytes(CHINESE.encode("gb18030") * 9 + b"\xff" + b"\n")
    with pytest.raises(DataError, match=r"line 19, column 1: found byte 0xff, expected gb18030 text"):
        read_all(tmp_path / "t.txt", "gb18030", size=size)


def test_one_line_in_another_encoding_is_placed(tmp_path):
    lines = [CHINESE.encode()] * 200
    lines[100] = "我们在这里说的是国家。\n".encode("gb18030")
    (tmp_path / "t.txt").write_bytes(b"".join(lines))
    assert fault(tmp_path / "t.txt").startswith("t.txt, line 201, column 1: found byte 0xce, expected utf-8 text.")


def test_surrogates_in_utf_8_are_a_fault(tmp_path):
    (tmp_path / "t.txt").write_bytes("国\ud83d".encode("utf-8", "surrogatepass"))
    assert fault(tmp_path / "t.txt").startswith("t.txt, line 1, column 2: found byte 0xed, expected utf-8 text.")


@pytest.mark.parametrize("data", [b"\x7fELF\0\0\0\1", bytes(range(256)) * 9, "国".encode() + b"\0\0"])
def test_a_binary_file_is_told(tmp_path, data):
    (tmp_path / "t.bin").write_bytes(data)
    expected = "t.bin: found a binary file, expected text. Leave it out, or name the encoding (--encoding)."
    assert fault(tmp_path / "t.bin") == expected


def test_a_cut_character_at_the_end_is_a_fault(tmp_path):
    (tmp_path / "t.txt").write_bytes("国人".encode()[:-1])
    assert fault(tmp_path / "t.txt").startswith("t.txt, line 1, column 2: found byte 0xe4, expected utf-8 text.")


def test_a_line_of_a_hundred_megabytes_is_read_in_pieces(tmp_path):
    """A sixteenth of it here; memory shows that no line is held."""
    with (tmp_path / "t.txt").open("wb") as file:
        for _ in range(64):
            file.write("国人的".encode() * 10_000)
    with little_memory(8e6), open_text(tmp_path / "t.txt") as text:
        assert sum(len(part) for part in iter(lambda: text.read(2**18), "")) == 64 * 30_000


def test_any_binary_stream_is_a_text():
    text = RawText(Path("x"), io.BytesIO(CHINESE.encode()), None, "strict")
    assert text.read(100) + text.read(10**6) == CHINESE
    assert text.read(5) == ""
    assert recognised(Path("x"), CHINESE.encode()) == "utf-8"
