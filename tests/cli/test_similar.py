"""`gezhi similar`: the nearest documents of each query, and one sentence where the input is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cli.answers import sentence
from typer.testing import CliRunner

from gezhi.cli.app import app
from gezhi.cli.similar import candidates, words
from gezhi.text import word_movers_distance, word_rotators_distance

VECTORS = {"cat": [1, 0.1], "dog": [1, 0.3], "car": [0, 1], "bus": [0.1, 2], "好": [0.5, 0.5], "北京": [0, 3],
           "大学": [2, 2], "北京大学": [1, 3]}  # fmt: skip
DOCS = "The cat!\n\nA car, a BUS\nunknown words\ndog cat\n北京大学好\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs.txt").write_text(DOCS, encoding="utf-8")
    (tmp_path / "q.txt").write_text("a dog\n\nbus\n", encoding="utf-8")
    lines = [f"{word} {' '.join(map(str, numbers))}\n" for word, numbers in VECTORS.items()]
    (tmp_path / "v.txt").write_text("".join(lines), encoding="utf-8")
    return tmp_path


def similar(*arguments, **options):
    return CliRunner().invoke(app, ["similar", *map(str, arguments)], catch_exceptions=False, **options)


def of(*names):
    return np.array([VECTORS[name] for name in names], dtype=np.float64)


def test_the_nearest_come_first_with_their_lines(folder):
    result = similar("docs.txt", "--query", "q.txt", "--vectors", "v.txt", "-k", 2)
    assert result.exit_code == 0
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert rows[0] == ["query", "rank", "distance", "line", "text"]
    assert [row[:2] + row[3:] for row in rows[1:]] == [
        ["1", "1", "5", "dog cat"], ["1", "2", "1", "The cat!"], ["3", "1", "3", "A car, a BUS"],
        ["3", "2", "6", "北京大学好"],
    ]  # fmt: skip
    assert float(rows[1][2]) == pytest.approx(word_rotators_distance(of("dog"), of("dog", "cat")), abs=1e-6)
    assert "docs.txt: 1 lines without a known word are left out: 4" in result.stderr
    assert "queries: 2, documents: 4" in result.stderr


def test_json_from_pipes_and_into_files(folder):
    given = ["--vectors", "v.txt", "--metric", "wmd"]
    result = similar("-", "-q", "q.txt", *given, "--json", "-k", 9, input=DOCS)
    found = json.loads(result.stdout)
    assert [row["line"] for row in found if row["query"] == 1][:2] == [5, 1]
    assert found[0]["distance"] == pytest.approx(word_movers_distance(of("dog"), of("dog", "cat")), abs=1e-6)
    assert len(found) == 8
    assert similar("docs.txt", "-q", "-", *given, "-o", "out.json", input="a dog\n").stdout == ""
    written = json.loads((folder / "out.json").read_text("utf-8"))
    assert written[0] == found[0]
    similar("docs.txt", "-q", "q.txt", *given, "-o", "out.tsv")
    assert (folder / "out.tsv").read_text("utf-8").startswith("query\trank")


def test_texts_are_cut_into_known_words_the_longest_first():
    assert list(words("北京大学很好，Dog's CAT", VECTORS)) == ["北京大学", "好", "cat"]
    assert set(words("北京大学很好 Cat", VECTORS)) <= set(candidates("北京大学很好 Cat"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["docs.txt", "-q", "q.txt", "--vectors", "none.txt"], "--vectors must be an existing file or folder, or minilm"),
        (["docs.txt", "-q", "none.txt", "--vectors", "v.txt"], "none.txt: No such file"),
        (["docs.txt", "-q", "q.txt", "--vectors", "v.txt", "-k", 0], "--neighbors must lie between 1"),
        (["docs.txt", "-q", "q.txt", "--vectors", "v.txt", "-o", "x.csv"], "--output must end in .tsv or .json"),
        (["-", "-q", "-", "--vectors", "v.txt"], "--query must be a file where DOCS is read from the pipe"),
        (["empty.txt", "-q", "q.txt", "--vectors", "v.txt"], "empty.txt must hold a text a line: got no text"),
        (["strange.txt", "-q", "q.txt", "--vectors", "v.txt"], "strange.txt must have words that have vectors: got none"),
        (["docs.txt", "-q", "q.txt", "--vectors", "docs.txt"], "docs.txt, line 1: found 'cat!', expected word vectors"),
        (["docs.txt", "-q", "q.txt", "--vectors", "v.txt", "--encoding", "x"], "encoding must be one that Python knows"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(folder, arguments, message):
    (folder / "empty.txt").write_text("\n \n")
    (folder / "strange.txt").write_text("nothing here\n")
    assert message in sentence(similar(*arguments))


def test_an_encoder_gives_vectors_of_tokens(folder):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "cat", "dog", "car", "bus"])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertModel(config).save_pretrained(folder / "model")
    (folder / "docs.txt").write_text("cat dog\ncar bus car bus\nbus\n")
    (folder / "q.txt").write_text("car bus car bus\n")
    result = similar("docs.txt", "-q", "q.txt", "--vectors", "model", "--json")
    found = json.loads(result.stdout)
    assert (found[0]["line"], found[0]["distance"]) == (2, pytest.approx(0, abs=1e-6))
    assert len(found) == 3
