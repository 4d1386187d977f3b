"""`gezhi words`: every form in and out, the page, and one sentence where something is wrong."""

from __future__ import annotations

import gzip
import html
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jieba
import pytest
import zstandard
from text.word_discovery_reference import reference
from typer.testing import CliRunner

from gezhi.cli import corpus as reading
from gezhi.cli.app import app
from gezhi.cli.words import bytes_of
from gezhi.text import WordDiscovery
from gezhi.text.word_discovery import local

LINES = ["各项目共和国", "共和国各项", "项目各项", "项目共和国人", "人共和国项目", "各项目", "各项目", "目人", "人各国", "和人",
         "国项"]  # fmt: skip
TEXT = "\n".join(LINES) + "\n"
OPTIONS = ("--min-count", "2", "--thresholds", ".7,1.3,1.5", "--jobs", "1")
TSV = "word\tcount\tsolidity\n人\t5\t\n共和国\t2\t1.9459\n各项\t2\t1.3581\n国\t2\t\n项目\t2\t1.3863\n"


def sentence(result):
    """The one sentence of a refused command."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line.removeprefix("gezhi: ")


@pytest.fixture
def words(gezhi, tmp_path):
    """`words("t.txt", "-o", "x.tsv")` on the sheet's eleven segments."""
    (tmp_path / "t.txt").write_text(TEXT, encoding="utf-8")
    return lambda *arguments: gezhi("words", *arguments, *OPTIONS)


# ---- in -------------------------------------------------------------------------------------------------------------


def test_the_table_on_standard_output_and_a_sentence_beside_it(words):
    result = words("t.txt")
    assert (result.exit_code, result.stdout) == (0, TSV)
    assert re.fullmatch(r"5 words; 42 characters in 11 segments, \d+\.\d s\n", result.stderr)


FORMS = {
    "t.txt": TEXT.encode(),
    "bom.txt": TEXT.encode("utf-8-sig"),
    "wide.txt": TEXT.encode("utf-16"),
    "t.csv": TEXT.replace("\n", "\r\n").encode(),
    "t.gz": gzip.compress(TEXT.encode()),
    "t.zst": zstandard.compress(TEXT.encode()),
    "no_end.txt": TEXT.strip().encode(),
    "one_line.txt": "，".join(LINES).encode(),
    "emoji.txt": "😀".join(LINES).encode(),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_in(words, tmp_path, name):
    (tmp_path / name).write_bytes(FORMS[name])
    assert words(name).stdout == TSV


def test_several_files_folders_and_patterns(words, tmp_path):
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/a.txt").write_text("\n".join(LINES[:4]), encoding="utf-8")
    (tmp_path / "in/deep/b.gz").write_bytes(gzip.compress("\n".join(LINES[4:]).encode("gb18030")))
    named = words("--encoding", "gb18030", "in/deep/b.gz").stdout
    for names in (
        ["in"],
        ["in/*.txt", "in/deep"],
        ["in/a.txt", "in/**/*.gz"],
        ["in/deep/b.gz", "in/a.txt", "in/a.txt"],
    ):
        assert words(*names, "--errors", "replace").stdout != named
    (tmp_path / "in/deep/b.gz").write_bytes(gzip.compress("\n".join(LINES[4:]).encode()))
    for names in (
        ["in"],
        ["in/*.txt", "in/deep"],
        ["in/a.txt", "in/**/*.gz"],
        ["in/deep/b.gz", "in/a.txt", "in/a.txt"],
    ):
        assert words(*names).stdout == TSV


def test_each_file_in_its_own_encoding(gezhi, tmp_path):
    lines = ["今天的天气是很好的", "我们在这里不是要来的", "他说的是国家的大事"] * 5
    for encoding in ("utf-8", "gb18030", "utf-16"):
        (tmp_path / f"{encoding}.txt").write_text("\n".join(lines), encoding=encoding)
    result = gezhi("words", "*.txt", "--min-count", 15, "--jobs", 1)
    expected = WordDiscovery(min_count=15).fit(lines * 3)
    assert [line.split("\t")[:2] for line in result.stdout.splitlines()[1:]] == [
        [word, str(count)] for word, count in expected.words_.items()
    ]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_standard_input(pack):
    result = CliRunner().invoke(app, ["words", "-", *OPTIONS], input=pack(TEXT.encode()))
    assert result.stdout == TSV


def test_memory_and_jobs_change_nothing(gezhi, words, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "LONGEST", 8)
    monkeypatch.setattr(local, "SHORTEST", 8)
    other = gezhi("words", "t.txt", *OPTIONS[:-1], "2", "--memory", "2MB", "--tmp", tmp_path)
    assert other.stdout == TSV
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("800MB", 800_000_000), ("1.5G", 1_500_000_000), ("2GiB", 2**31), (" 64 mb ", 64_000_000), ("5000000", 5_000_000)],
)
def test_sizes_of_memory(text, size):
    assert bytes_of(text) == size


# ---- out ------------------------------------------------------------------------------------------------------------


def test_json_has_the_summary_and_every_word(words, tmp_path):
    assert words("t.txt", "-o", "w.json").stdout == ""
    found = json.loads((tmp_path / "w.json").read_text("utf-8"))
    assert {name: found[name] for name in ("name", "files", "characters", "segments", "strong_ngrams", "words")} == {
        "name": "t.txt", "files": 1, "characters": 42, "segments": 11, "strong_ngrams": 6, "words": 5
    }  # fmt: skip
    assert found["lexicon"][:2] == [
        {"word": "人", "count": 5, "solidity": None},
        {"word": "共和国", "count": 2, "solidity": pytest.approx(1.9459101490553132)},
    ]
    printed = words("t.txt", "--json")
    assert json.loads(printed.stdout).keys() == found.keys() - {"lexicon"}


@pytest.mark.parametrize("options", [("-o", "w.dict"), ("-o", "w.txt"), ("--format", "jieba", "-o", "w.words")])
def test_jieba_reads_its_dictionary(words, tmp_path, options):
    words("t.txt", *options)
    (path,) = tmp_path.glob("w.*")
    assert path.read_text("utf-8") == "人 5\n共和国 2\n各项 2\n国 2\n项目 2\n"
    tokenizer = jieba.Tokenizer(dictionary=str(path))
    tokenizer.tmp_dir = str(tmp_path)
    assert tokenizer.lcut("人共和国项目各项国", HMM=False) == ["人", "共和国", "项目", "各项", "国"]


def test_what_is_listed_can_be_narrowed(words, tmp_path):
    (tmp_path / "known.txt").write_text("各项 3 n\n\n项目\t5\n共和\n", encoding="gb18030")
    assert words("t.txt", "--min-length", "2").stdout.splitlines()[1:] == TSV.splitlines()[2:4] + TSV.splitlines()[5:]
    assert words("t.txt", "--top", "2").stdout == "".join(line + "\n" for line in TSV.splitlines()[:3])
    result = words("t.txt", "--known", "known.txt", "--min-length", "2", "--top", "9")
    assert result.stdout == "word\tcount\tsolidity\n共和国\t2\t1.9459\n"
    assert result.stderr.startswith("5 words, of which 1 are listed; ")


def test_the_settings_are_those_of_the_options(gezhi, tmp_path):
    texts = ["国人的一国人的一，abc", "国人的，的一，abc"] * 3
    (tmp_path / "t.txt").write_text("\n".join(texts), encoding="utf-8")
    for options, thresholds, kind, backtrack in (
        (("--thresholds", "1,2"), {2: 1, 3: 2}, "log", "ngram"),
        (("--thresholds", "1,2,3,4,5"), {2: 1, 3: 2, 4: 3, 5: 4, 6: 5}, "log", "ngram"),
        (("--preset", "2017"), {2: 5, 3: 25, 4: 125}, "ratio", "strict"),
    ):
        found, *_ = reference(texts, 3, thresholds, kind, backtrack)
        lines = gezhi("words", "t.txt", "--min-count", 3, *options).stdout.splitlines()[1:]
        assert [tuple(line.split("\t")[:2]) for line in lines] == [(word, str(count)) for word, count in found]
    kept = gezhi("words", "t.txt", "--min-count", 3, "--keep", "a-z").stdout
    assert {line.split("\t")[0] for line in kept.splitlines()[1:]} == {"a", "b", "c"}


def test_a_word_longer_than_the_order_shows_its_weakest_part(gezhi, tmp_path):
    texts = ["国人的一了", "国人的", "人的一了，国人"] * 4
    (tmp_path / "t.txt").write_text("\n".join(texts), encoding="utf-8")
    model = WordDiscovery(2, min_count=2, thresholds={2: 0.1}).fit(texts)
    solid = {ngram.text: ngram.solidity for ngram in model.strong_ngrams_}
    lines = gezhi("words", "t.txt", "--min-count", 2, "--thresholds", "0.1").stdout.splitlines()[1:]
    shown = dict(line.split("\t")[::2] for line in lines)
    assert "国人的一了" in shown
    for word, text in shown.items():
        assert text == f"{min(solid[word[i : i + 2]] for i in range(len(word) - 1)):.4f}"


def test_progress_goes_by_bytes_and_then_by_characters(words, tmp_path, monkeypatch):
    steps = []

    class Bars:
        def __init__(self, *_, disable, **__):
            assert disable

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add_task(self, stage, total):
            steps.append((stage, total))
            return len(steps)

        def remove_task(self, task):
            assert task

        def update(self, task, completed):
            assert task
            steps.append(completed)

    monkeypatch.setattr(reading, "Progress", Bars)
    (tmp_path / "u.txt").write_text(TEXT, encoding="utf-8")
    words("t.txt", "u.txt")
    size, whole = len(TEXT.encode()), 2 * len(TEXT) + 2
    passes = [part for k in ("counting 2", "counting 3", "counting 4", "cutting") for part in ((k, whole), whole)]
    assert steps[0] == ("reading", 2 * size)
    read = steps[1 : -len(passes)]
    assert read == sorted(read)
    assert set(read) == {size, 2 * size}
    assert steps[-len(passes) :] == passes


# ---- the page -------------------------------------------------------------------------------------------------------


def test_the_page_shows_words_with_counts_and_solidity(words, tmp_path):
    words("t.txt", "-o", "w.tsv", "--html", "w.html")
    text = (tmp_path / "w.html").read_text("utf-8")
    assert "<title>t.txt: 5 words</title>" in text
    assert (
        "42 characters in 11 segments; 2 occurrences at least; ln s ≥ 0.7, 1.3, 1.5 for 2 to 4 characters; ngram rule."
        in text
    )
    rows = re.findall(
        r'<th scope="row">(.+?)</th><td class="bar count"><span.*?>(.+?)</span></td>.*?<span.*?>(.+?)</span>', text
    )
    assert rows == [("共和国", "2", "1.95"), ("各项", "2", "1.36"), ("项目", "2", "1.39")]
    assert "<script" not in text
    assert not re.search(r"(src|href)=", text)


def test_the_page_escapes_and_bounds_what_it_shows(gezhi, tmp_path):
    texts = [f"<b>{chr(0x4E00 + i)}{chr(0x5E00 + i)}&amp;" for i in range(400)]
    name = "a<b>&.txt"
    (tmp_path / name).write_text("\n".join(texts * 2), encoding="utf-8")
    gezhi("words", name, "--min-count", 2, "--keep", "<>&\u4e00-\u9fa5", "--html", "w.html")
    text = (tmp_path / "w.html").read_text("utf-8")
    assert "<b>" not in text
    assert f"<title>{html.escape(name)}: " in text
    assert len(re.findall('<td class="n">', text)) == 300
    assert re.search(r"<p>and \d+ more.</p>", text)


def test_the_page_of_nothing(words, tmp_path):
    (tmp_path / "empty.txt").write_text("，。\n")
    result = words("empty.txt", "--html", "w.html")
    assert result.stdout == "word\tcount\tsolidity\n"
    assert result.stderr.startswith("0 words; 0 characters in 0 segments")
    assert "No word was found." in (tmp_path / "w.html").read_text("utf-8")


# ---- Spark ----------------------------------------------------------------------------------------------------------

SPARK = """
import sys
from gezhi.cli import main
sys.argv = ["gezhi", *sys.argv[1:]]
main()
"""


def test_spark_writes_the_same_bytes(words, tmp_path):
    """And what it cannot decode is told, by file and place, as by the other engine."""
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("\n".join(LINES[:5]), encoding="gb18030")
    (tmp_path / "in/b.txt").write_text("\r\n".join(LINES[5:]), encoding="gb18030", newline="")
    (tmp_path / "bad.txt").write_bytes("国人\n国".encode() + b"\xff\n")
    spark = ("--engine", "spark", "--master", "local[2]")
    run = [sys.executable, "-W", "ignore", "-c", SPARK, "words"]
    place = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def ended(*arguments):
        call = [*run, *map(str, arguments), *spark, *OPTIONS]
        return subprocess.run(call, capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path, env=place)

    assert ended("in", "--encoding", "gb18030", "-o", "spark.tsv").returncode == 0
    assert (tmp_path / "spark.tsv").read_text("utf-8") == TSV
    bad = ended("bad.txt", "-o", "bad.tsv")
    assert bad.returncode == 2
    told = bad.stderr.splitlines()[-1]
    assert re.fullmatch(
        r"gezhi: file:.*/bad.txt cannot be decoded: found byte 0xff after '国', expected utf-8 text.", told
    )
    assert not (tmp_path / "bad.tsv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-",), "FILE must be a path for Spark: got - (standard input). Or leave out --engine spark."),
        (("t.txt", "--encoding", "utf-16"), "--encoding must end a line with the byte 0x0A for Spark: got utf-16."),
    ],
)
def test_what_spark_cannot_do_is_told_at_once(words, arguments, message):
    assert sentence(words(*arguments, "--engine", "spark")) == message


def test_where_java_is_missing_it_is_told(words, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert sentence(words("t.txt", "--engine", "spark")) == (
        'engine="spark" must find Java: got none. Install it (Debian: apt-get install default-jre-headless), or set JAVA_HOME.'
    )


# ---- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\0\0", "x.txt: found a binary file, expected text. Leave it out, or name the encoding (--encoding)."),
        ("国人\n国".encode() + b"\xff", "x.txt, line 2, column 2: found byte 0xff, expected utf-8 text. Pass the encoding "
         "that the file has (--encoding), or skip what cannot be decoded (--errors replace)."),
        ("\ud83d国".encode("utf-8", "surrogatepass"), "x.txt, line 1, column 1: found byte 0xed, expected utf-8 text. Pass "
         "the encoding that the file has (--encoding), or skip what cannot be decoded (--errors replace)."),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], "x.txt: found a broken archive (Compressed file ended before the end-of-stream "
         "marker was reached), expected text. Pack it again."),
    ],
)  # fmt: skip
def test_a_fault_in_a_file_is_placed_and_nothing_is_written(words, tmp_path, content, message):
    (tmp_path / "x.txt").write_bytes(content)
    assert sentence(words("t.txt", "x.txt", "-o", "w.tsv", "--html", "w.html")) == message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.txt", "x.txt"]


def test_what_cannot_be_decoded_can_be_skipped(words, tmp_path):
    (tmp_path / "x.txt").write_bytes(TEXT.encode().replace(b"\n", b"\xff"))
    result = words("x.txt", "--errors", "replace")
    assert result.stdout == TSV
    assert result.stderr.splitlines()[0] == "Note: x.txt: 11 places could not be decoded and separate words."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no.txt",), "no.txt: found no such file, expected a file, a folder or a pattern. Check the path."),
        (("t.txt", "-o", "w.csv"), "--output must end in .tsv, .json, .txt, .dict: got w.csv. Or pass --format."),
        (("t.txt", "--html", "w.png"), "--html must end in .html: got w.png."),
        (("t.txt", "-o", "w.html", "--format", "tsv", "--html", "./w.html"), "--html must be another file than --output: got w.html."),
        (("t.txt", "--min-count", "0"), "--min-count must lie between 1 and inf: got 0."),
        (("t.txt", "--thresholds", "2,x"), "--thresholds must be numbers between commas, such as 2,4,6: got '2,x'."),
        (("t.txt", "--thresholds", "1" + ",1" * 16), "--thresholds must lie between 2 and 16: got 18."),
        (("t.txt", "--keep", "z-a"), "--keep must be a regular-expression class without its brackets: got 'z-a' (bad character range z-a at position 1)."),
        (("t.txt", "--keep", "\\w\\s"), "--keep must leave out blanks, which separate words in the output: got '\\\\w\\\\s'."),
        (("t.txt", "--memory", "much"), "--memory must be a size such as 800MB or 2GiB: got 'much'."),
        (("t.txt", "--memory", "5k"), "--memory must lie between 1.04858e+06 and inf: got 5000."),
        (("t.txt", "--tmp", "nowhere"), "--tmp must be an existing folder: got nowhere."),
        (("t.txt", "--top", "0"), "--top must lie between 1 and inf: got 0."),
        (("t.txt", "--min-length", "0"), "--min-length must lie between 1 and inf: got 0."),
        (("t.txt", "--encoding", "base64"), "--encoding must be one that Python knows, such as gb18030 or utf-16: got 'base64'."),
        (("t.txt", "--known", "no.txt"), "no.txt: No such file or directory."),
    ],
)  # fmt: skip
def test_wrong_options_end_with_one_sentence(gezhi, words, arguments, message):
    assert sentence(gezhi("words", *arguments)) == message


@pytest.mark.parametrize("stage", ["reading", "counting 3", "cutting"])
def test_an_interrupt_leaves_nothing_behind(words, tmp_path, monkeypatch, stage):
    told = reading.Bar.told

    def interrupted(self, at, *rest):
        if at == stage:
            raise KeyboardInterrupt
        told(self, at, *rest)

    monkeypatch.setattr(reading.Bar, "told", interrupted)
    result = words("t.txt", "-o", "w.tsv", "--html", "w.html", "--tmp", tmp_path)
    assert result.exit_code == 130
    assert result.stderr.split("\n")[-2] == "Interrupted. Nothing half-written is left."
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]


def limited():
    """No file of this process becomes larger than 3 MB, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "tmp").mkdir()
    for i in range(4):
        text = "".join(chr(0x4E00 + (i * j * 7919 + j) % 20_000) for j in range(1_000_000))
        (tmp_path / f"in/{i}.txt").write_text(text, encoding="utf-8")
    call = [sys.executable, "-m", "gezhi.cli", "words", "in", "-o", "w.tsv", "--memory", "2MB", "--tmp", "tmp"]
    result = subprocess.run(
        call, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path, preexec_fn=limited
    )
    assert result.returncode == 2, result.stderr
    assert re.fullmatch(
        r"gezhi: tmp: no room for temporary files beyond \d MB; make room, or name another folder.\n", result.stderr
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "tmp"]
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_no_temporary_file_is_left(tmp_path, ending):
    (tmp_path / "tmp").mkdir()
    call = [sys.executable, "-m", "gezhi.cli", "words", "-", "-o", "w.tsv", "--memory", "2MB", "--tmp", "tmp"]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=tmp_path) as process:
        for _ in range(40):  # more than the memory holds, so that a file is there; the pipe stays open
            process.stdin.write("国人的一了".encode() * 20_000)
        process.stdin.flush()
        opened = Path(f"/proc/{process.pid}/fd")
        for _ in range(3000):
            if any("tmp/" in os.readlink(link) for link in opened.iterdir() if link.is_symlink()):
                break
            time.sleep(0.05)
        else:
            pytest.fail("no temporary file was opened")
        process.send_signal(ending)
        process.stdin.close()
        process.wait(60)
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_line_of_many_megabytes(gezhi, tmp_path):
    """One line without an end and one without a barrier, 12 MB each."""
    pieces = ["共和国的", "人民", "一了"]
    text = "".join(pieces[i * i % 3] for i in range(1_500_000))
    (tmp_path / "line.txt").write_text(text + "，" + text[::-1], encoding="utf-8")
    result = gezhi("words", "line.txt", "--min-count", 1000, "--memory", "20MB", "--json")
    assert json.loads(result.stdout)["characters"] == 2 * len(text)


def test_help_has_an_example_and_stands_among_the_tools(gezhi):
    text = gezhi("--help").stdout
    assert text.index(" The tools ") < text.index("│ words ")
    assert "Example: gezhi words corpus/ -o words.tsv --html words.html" in " ".join(
        gezhi("words", "--help").stdout.split()
    )
