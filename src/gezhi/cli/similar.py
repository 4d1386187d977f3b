"""`gezhi similar`: the documents nearest to each query, by words with vectors or by an encoder's tokens."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.progress import Progress

from gezhi._checks import check_integer, invalid, require
from gezhi.cli.output import console, echo_json, note
from gezhi.data import read
from gezhi.data.raw_text import check_encoding, open_text
from gezhi.data.word_vectors import read_word_vectors
from gezhi.lab.record import write_atomically
from gezhi.text import WordMoverIndex

if TYPE_CHECKING:
    from gezhi.cli.commands.similar import Similar

STANDARD, ENCODERS = "-", ("minilm",)
TOKEN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+|[^\W_]+(?:['’\-][^\W_]+)*")
HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
LONGEST = 8  # characters of a Han word
BATCH, TOKENS = 32, 256


class Text(NamedTuple):
    """A line that is not blank, and its number."""

    line: int
    text: str


class Neighbor(NamedTuple):
    """A document near a query, as it is printed."""

    query: int
    rank: int
    distance: float
    line: int
    text: str


def run_and_print(request: Similar) -> None:
    """Read, search, and write the table or the JSON."""
    check(request)
    documents, queries = (texts(name, request.encoding) for name in (request.documents, request.query))
    vectors, parts = represented(request.vectors, [*documents, *queries])
    kept = [bool(len(part)) for part in parts]
    for name, these, flags in (
        (request.documents, documents, kept[: len(documents)]),
        (request.query, queries, kept[len(documents) :]),
    ):
        said_of_unknown(name, these, flags)
    n = len(documents)
    known = [(text, part) for text, part, flag in zip([*documents, *queries], parts, kept, strict=True) if flag]
    first = sum(kept[:n])
    found, solved = sought(vectors, known[:first], known[first:], request)
    write(found, request)
    share = f"{solved:.1%} of the pairs solved"
    note(f"queries: {len(known) - first}, documents: {first}; {share}", err=True)


def check(request: Similar) -> None:
    """ValueError for an option that does not hold, before anything is read."""
    check_integer("--neighbors", request.neighbors, at_least=1)
    if request.output and request.output.suffix.lower() not in (".tsv", ".json"):
        raise invalid("--output", "end in .tsv or .json", str(request.output))
    if request.documents == request.query == STANDARD:
        raise invalid("--query", "be a file where DOCS is read from the pipe", "-")
    if request.encoding:
        check_encoding("--encoding", request.encoding)
    if request.vectors not in ENCODERS and not Path(request.vectors).exists():
        raise invalid("--vectors", f"be an existing file or folder, or {' or '.join(ENCODERS)}", request.vectors)


def texts(name: str, encoding: str | None) -> list[Text]:
    """The lines of a file that are not blank; ValueError where there is none."""
    with open_text(None if name == STANDARD else Path(name), encoding) as file:
        whole = "".join(iter(lambda: file.read(2**20), ""))
    found = [Text(i, line.strip()) for i, line in enumerate(whole.split("\n"), 1) if line.strip()]
    if not found:
        raise invalid(name if name != STANDARD else "standard input", "hold a text a line", "no text")
    return found


# ---- words and vectors ----------------------------------------------------------------------------------------------


def represented(source: str, lines: Sequence[Text]) -> tuple[Any, list[Any]]:
    """The index's `vectors`, and what it takes for each text; what is empty has no known word."""
    path = Path(source)
    if source in ENCODERS or path.is_dir():
        folder = read(source) if source in ENCODERS and not path.exists() else path
        return None, encoded(folder, [line.text for line in lines])
    with console(err=True).status("reading vectors"):
        vectors = read_word_vectors(path, {word for line in lines for word in candidates(line.text)})
    return vectors, [list(words(line.text, vectors)) for line in lines]


def candidates(text: str) -> Iterator[str]:
    """Every word that a text may be cut into."""
    for token in TOKEN.findall(text):
        if HAN.match(token):
            yield from (token[i:j] for i in range(len(token)) for j in range(i + 1, min(i + LONGEST, len(token)) + 1))
        else:
            yield from (token, token.lower())


def words(text: str, known: Any) -> Iterator[str]:
    """The known words of a text: as written or in lower case, and of Han characters the longest from the left on."""
    for token in TOKEN.findall(text):
        if not HAN.match(token):
            yield from [form for form in (token, token.lower()) if form in known][:1]
            continue
        i = 0
        while i < len(token):
            ends = range(min(i + LONGEST, len(token)), i, -1)
            j = next((j for j in ends if token[i:j] in known), None)
            if j:
                yield token[i:j]
            i = j or i + 1


def encoded(folder: Path, lines: list[str]) -> list[Any]:
    """The last hidden states of each text's tokens, without those that mark its ends."""
    import torch

    transformers = require("transformers", "hf")
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, use_safetensors=True).eval()
    found: list[Any] = []
    with Progress(console=console(err=True), transient=True) as progress, torch.inference_mode():
        for start in progress.track(range(0, len(lines), BATCH), description="encoding"):
            batch = tokenizer(lines[start : start + BATCH], padding=True, truncation=True, max_length=TOKENS,
                              return_tensors="pt", return_special_tokens_mask=True)  # fmt: skip
            kept = (batch.pop("special_tokens_mask") == 0) & (batch["attention_mask"] == 1)
            states = model(**batch).last_hidden_state
            found += [state[mask].double().numpy() for state, mask in zip(states, kept, strict=True)]
    return found


def said_of_unknown(name: str, lines: Sequence[Text], known: Sequence[bool]) -> None:
    """Texts without a known word are left out, and said; ValueError if all are."""
    without = [line.line for line, flag in zip(lines, known, strict=True) if not flag]
    if len(without) == len(lines):
        fix = "Pass vectors of the language of the texts."
        raise invalid(name, "have words that have vectors", f"none in {len(lines)} lines", fix)
    if without:
        named = ", ".join(map(str, without[:5])) + (", …" if len(without) > 5 else "")
        note(f"Note: {name}: {len(without)} lines without a known word are left out: {named}", err=True)


# ---- search and out -------------------------------------------------------------------------------------------------


def sought(
    vectors: Any, documents: list[tuple[Text, Any]], queries: list[tuple[Text, Any]], request: Similar
) -> tuple[list[Neighbor], float]:
    """The neighbours of each query, and the share of pairs that were solved."""
    index = WordMoverIndex(vectors, metric=request.metric.value).fit([part for _, part in documents])
    k = min(request.neighbors, len(documents))
    found, solved = [], []
    with Progress(console=console(err=True), transient=True) as progress:
        for query, part in progress.track(queries, description="searching"):
            near = index.search([part], k)
            solved.append(near.solved[0])
            for rank, (i, distance) in enumerate(zip(near.indices[0], near.distances[0], strict=True), 1):
                document = documents[i][0]
                found.append(Neighbor(query.line, rank, float(distance), document.line, document.text))
    return found, float(np.mean(solved) / len(documents))


def write(found: list[Neighbor], request: Similar) -> None:
    rows = [row._asdict() for row in found]
    as_json = request.output.suffix.lower() == ".json" if request.output else request.json
    if as_json and not request.output:
        echo_json(rows)
        return
    text = json.dumps(rows, ensure_ascii=False, indent=1) + "\n" if as_json else table(found)
    if request.output:
        write_atomically(request.output, text)
        if request.json:
            echo_json(rows)
    else:
        sys.stdout.write(text)


def table(found: list[Neighbor]) -> str:
    """TSV: lines are those of the files; tabs in a text become blanks."""
    rows = ["\t".join(Neighbor._fields)]
    rows += [f"{n.query}\t{n.rank}\t{n.distance:.6f}\t{n.line}\t" + n.text.replace("\t", " ") for n in found]
    return "\n".join(rows) + "\n"
