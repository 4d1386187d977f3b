"""Search in Chinese: every two neighbouring characters are a word, in the index and in what a reader types."""

from __future__ import annotations

import re

from sphinx.search import SearchLanguage

HAN = "\u3400-\u9fff"
PART = re.compile(rf"[{HAN}]+|\w+?(?=[{HAN}])|\w+")


class Bigrams(SearchLanguage):
    """Words of two characters are found exactly, longer ones as the pairs that they consist of."""

    lang = "zh"
    language_name = "Chinese"
    js_splitter_code = """
function splitQuery(query) {
    const words = [];
    for (const part of query.match(/[\\u3400-\\u9fff]+|[^\\s\\u3400-\\u9fff\\p{P}]+/gu) || []) {
        if (!/[\\u3400-\\u9fff]/.test(part) || part.length === 1) { words.push(part); continue; }
        for (let i = 0; i + 1 < part.length; i++) words.push(part.slice(i, i + 2));
    }
    return words;
}
"""

    def split(self, input: str) -> list[str]:
        """Latin words, single characters, and pairs of neighbours."""
        return [word for part in PART.findall(input) for word in pairs(part)]

    def word_filter(self, word: str) -> bool:
        return bool(word) and not word.isdigit()


def pairs(part: str) -> list[str]:
    """The characters of a run of Chinese one by one and two by two; another word is itself."""
    if not re.match(f"[{HAN}]", part):
        return [part]
    return [*part, *(part[i : i + 2] for i in range(len(part) - 1))]
