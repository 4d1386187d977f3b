"""The scikit-learn form."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from gezhi._checks import check_choice, check_integer, check_number, invalid
from gezhi._jit import is_compiled
from gezhi.text.word_discovery import files, local
from gezhi.text.word_discovery.characters import KEEP, Alphabet, alphabet
from gezhi.text.word_discovery.counting import Found, Settings
from gezhi.text.word_discovery.cutting import ends, mark, trie
from gezhi.text.word_discovery.kernels import candidates

LONGEST_ORDER = 16
LEAST_MEMORY = 2**20


class SlowDiscoveryWarning(UserWarning):
    """The loops are not compiled. Remedy: install numba."""


class WordDiscovery(BaseEstimator):
    r"""Words of a language written without blanks, from raw text alone: the solid n-grams and what they join to.

    $$s(w)=\min_{1\le k<|w|}\frac{T\,c(w)}{c(w_{1..k})\,c(w_{k+1..|w|})} \tag{2}$$

    with $c$ the exact number of occurrences inside segments (runs of kept characters) and $T$ that of all frequent
    characters. Frequent n-grams of 2 … n characters whose solidity passes the threshold of their length are strong; a
    segment is cut wherever no strong n-gram covers a gap (3), tokens are counted, and those that are longer than two
    characters stay only where strong n-grams make them up (4).

    Args:
        order: n, 2 … 16. 4 is the articles' choice.
        min_count: occurrences below which nothing counts, ≥ 1. 32 is the choice of the article of 2019.
        thresholds: of each length 2 … n. None: $\ln s\ge2(k-1)$ for `"log"`, $s>5^{k-1}$ for `"ratio"`, which are the
            articles' for n = 4.
        threshold_kind: `"log"`: $\ln s$ must reach the threshold (2019); `"ratio"`: s must exceed it (2017).
        backtrack: `"ngram"`: a token of 3 … n characters must be strong, a longer one have all its n-grams strong
            (2019); `"strict"`: all its n-grams of 3 … n characters (2017).
        keep: which characters are kept, as the inside of a regular-expression class or a function of a character; all
            others, and U+0000 always, separate segments. The default is the articles': Han characters of Unicode's
            first block, ASCII digits and letters; case is kept.
        engine: `"local"`, or `"spark"` for a PySpark DataFrame (`pip install 'gezhi[spark]'`); the results are equal.
        n_jobs: threads of the local engine, as in joblib (-1: all cores).
        memory: bytes for text, counts and windows in the local engine, ≥ 1 MiB; what does not fit is in unnamed
            temporary files. Python itself and what is found come on top.
        tmp_dir: where these are; None: the system's folder.

    Attributes:
        words_: count of each word, the most frequent first, then by code points. Single characters are words too.
        strong_ngrams_: `Ngram(text, count, solidity)` by code points; `solidity` is $\ln s$.
        total_: T.
        n_characters_, n_segments_: of the texts.
    Errors: ValueError and TypeError naming the argument, or the text by its place; OSError naming the folder where no
        room is left.
    Cost: O(n · characters) time, n + 1 passes; without numba (`pip install 'gezhi[text]'`) some hundred times slower.
        Use instead: `tokenizers`, where any division will do and the number of pieces is what is given.
    Example:
        >>> text = "各项目共和国/共和国各项/项目各项/项目共和国人/人共和国项目/各项目/各项目/目人/人各国/和人/国项"
        >>> model = WordDiscovery(min_count=2, thresholds={2: 0.7, 3: 1.3, 4: 1.5}).fit([text])
        >>> model.words_
        {'人': 5, '共和国': 2, '各项': 2, '国': 2, '项目': 2}
        >>> model.segment("共和国的项目，国人")
        ['共和国', '的', '项目', '国', '人']

    References: 苏剑林, 【中文分词系列】 8. 更好的新词发现算法, 2017;
        苏剑林, 重新写了之前的新词发现算法:更快更好的新词发现, 2019.
    """

    def __init__(
        self,
        order: int = 4,
        *,
        min_count: int = 32,
        thresholds: Mapping[int, float] | None = None,
        threshold_kind: Literal["log", "ratio"] = "log",
        backtrack: Literal["ngram", "strict"] = "ngram",
        keep: str | Callable[[str], bool] = KEEP,
        engine: Literal["local", "spark"] = "local",
        n_jobs: int | None = 1,
        memory: int = 2**30,
        tmp_dir: str | Path | None = None,
    ) -> None:
        self.order = order
        self.min_count = min_count
        self.thresholds = thresholds
        self.threshold_kind = threshold_kind
        self.backtrack = backtrack
        self.keep = keep
        self.engine = engine
        self.n_jobs = n_jobs
        self.memory = memory
        self.tmp_dir = tmp_dir

    @classmethod
    def preset(cls, year: Literal["2017", "2019"], **others: Any) -> Self:
        """The settings of an article, and others beside them.

        Example:
            >>> WordDiscovery.preset("2017", n_jobs=2)
            WordDiscovery(backtrack='strict', min_count=128, n_jobs=2,
                          threshold_kind='ratio')
        """
        check_choice("year", year, ("2017", "2019"))
        of_2017 = {"min_count": 128, "threshold_kind": "ratio", "backtrack": "strict"}
        return cls(**{**(of_2017 if year == "2017" else {}), **others})

    def check(self) -> Self:
        """Itself, if its settings hold; ValueError or TypeError naming the first that does not."""
        self.settings()
        alphabet(self.keep)
        check_choice("engine", self.engine, ("local", "spark"))
        check_integer("memory", self.memory, at_least=LEAST_MEMORY)
        if self.tmp_dir is not None and not Path(self.tmp_dir).is_dir():
            raise invalid("tmp_dir", "be an existing folder", self.tmp_dir)
        return self

    def fit(self, texts: Iterable[Any], y: Any = None, on_progress: local.Progress | None = None) -> Self:  # noqa: ARG002
        """Find the words of texts.

        Args:
            texts: strings and open text files, each a text; or for `engine="spark"` a DataFrame of one string column.
            y: not used.
            on_progress: called with the stage, the characters done, and those in all (None while they are read).
        """
        self.check()
        settings, letters = self.settings(), alphabet(self.keep)
        return self._with(self._found(texts, letters, settings, on_progress or (lambda *_: None)))

    def _with(self, found: Found) -> Self:
        self.words_, self.strong_ngrams_, self.total_ = found.words, found.strong, found.total
        self.n_characters_, self.n_segments_ = found.characters, found.segments
        self.__dict__.pop("_cutter", None)
        return self

    def _found(self, texts: Any, letters: Alphabet, settings: Settings, told: local.Progress) -> Found:
        if not is_compiled(candidates):
            text = "numba is not installed: words are sought by plain Python, some hundred times slower. Run: "
            warnings.warn(text + "pip install 'gezhi[text]'", SlowDiscoveryWarning, stacklevel=3)
        if self.engine == "spark":
            from gezhi.text.word_discovery import spark

            return spark.discover(texts, letters, settings, told)
        means = local.Means(effective_n_jobs(self.n_jobs), int(self.memory), self.tmp_dir)
        return local.discover(texts, letters, settings, means, told)

    def settings(self) -> Settings:
        """The settings in full, checked."""
        order = check_integer("order", self.order, at_least=2, at_most=LONGEST_ORDER)
        min_count = check_integer("min_count", self.min_count, at_least=1)
        check_choice("threshold_kind", self.threshold_kind, ("log", "ratio"))
        check_choice("backtrack", self.backtrack, ("ngram", "strict"))
        ratio, given = self.threshold_kind == "ratio", self.thresholds
        if given is None:
            given = {size: 5.0 ** (size - 1) if ratio else 2.0 * (size - 1) for size in range(2, order + 1)}
        if not isinstance(given, Mapping):
            raise invalid("thresholds", "be a mapping from length to threshold", repr(given), kind=TypeError)
        for size in range(2, order + 1):
            if size not in given:
                raise invalid("thresholds", f"have one for {size} characters", dict(given), "Or lower order.")
        values = (check_number(f"thresholds[{k}]", given[k], below=math.inf) for k in range(2, order + 1))
        return Settings(min_count, tuple(map(float, values)), ratio, self.backtrack == "strict")

    def segment(self, text: str) -> list[str]:
        """A text cut at the gaps that no strong n-gram covers (3), without the characters that are not kept.

        Tokens are what was counted, before backtracking. `CountVectorizer(analyzer=model.segment)` uses it as it is.
        """
        check_is_fitted(self)
        if not isinstance(text, str):
            raise invalid("text", "be a string", type(text).__name__, kind=TypeError)
        letters, paths = self._cutter
        codes = letters.codes(text, "text")
        stops = np.flatnonzero(ends(mark(codes, paths))) + 1
        begins = np.concatenate([[0], stops[:-1]]) if len(stops) else stops
        kept = codes[begins] > 0
        return [text[i:j] for i, j in zip(begins[kept].tolist(), stops[kept].tolist(), strict=True)]

    @cached_property
    def _cutter(self) -> tuple[Alphabet, Any]:
        letters = alphabet(self.keep)
        sizes = range(2, max([2, *(len(ngram.text) for ngram in self.strong_ngrams_)]) + 1)
        texts = ["".join(ngram.text for ngram in self.strong_ngrams_ if len(ngram.text) == size) for size in sizes]
        rows = [letters.codes(text).reshape(-1, size) for text, size in zip(texts, sizes, strict=True)]
        return letters, trie(rows, letters.letters)[0]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_cutter"}

    def save(self, path: str | Path) -> None:
        """Write settings and result as JSON, for `load`; a function as `keep` cannot be written."""
        check_is_fitted(self)
        files.write(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The model that `save` wrote. Errors: ValueError for any other file."""
        settings, found = files.read(path)
        model = cls(**settings)
        return model.check()._with(found)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        return tags
