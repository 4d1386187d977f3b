"""Word discovery with dictionaries and loops, literally (1) to (4); and texts on which everything happens."""

from __future__ import annotations

import math
import random
import re
from collections import Counter

KEPT = "[\u4e00-\u9fa50-9a-zA-Z]+"


def reference(texts, min_count, thresholds, kind="log", backtrack="ngram", kept=KEPT):
    """Words and counts in order, strong n-grams with count and ln s, T, and the tokens of each segment."""
    order = max(thresholds)
    segments = [segment for text in texts for segment in re.findall(kept, text)]
    counts = Counter(s[i : i + k] for s in segments for k in range(1, order + 1) for i in range(len(s) - k + 1))
    counts = {w: c for w, c in counts.items() if c >= min_count}
    total = sum(c for w, c in counts.items() if len(w) == 1)  # (1)
    strong = {}
    for w, c in counts.items():
        if len(w) > 1:
            s = min((total * c) / (counts[w[:k]] * counts[w[k:]]) for k in range(1, len(w)))  # (2)
            if s > thresholds[len(w)] if kind == "ratio" else math.log(s) >= thresholds[len(w)]:
                strong[w] = (c, math.log(s))
    tokens = []
    for s in segments:
        closed = [False] * len(s)
        for k in range(2, order + 1):
            for i in range(len(s) - k + 1):
                if s[i : i + k] in strong:
                    closed[i : i + k - 1] = [True] * (k - 1)
        ends = [i + 1 for i in range(len(s)) if not closed[i]]  # (3); the last gap never closes
        tokens.append([s[i:j] for i, j in zip([0, *ends], ends, strict=False)])

    def stays(w):  # (4)
        lengths = range(3 if backtrack == "strict" else min(len(w), order), min(len(w), order) + 1)
        return len(w) < 3 or all(w[i : i + k] in strong for k in lengths for i in range(len(w) - k + 1))

    words = Counter(w for cut in tokens for w in cut if stays(w))
    found = sorted(((w, c) for w, c in words.items() if c >= min_count), key=lambda pair: (-pair[1], pair[0]))
    return found, sorted((w, *pair) for w, pair in strong.items()), total, tokens


def random_texts(seed, texts=30, letters="的一是在不了有和人这中大为上个国", length=40):
    """Texts with repeated phrases, barriers, empty ones, single characters, emoji, Latin and rare characters."""
    rng = random.Random(seed)
    phrases = ["".join(rng.choices(letters, k=rng.randint(2, 7))) for _ in range(8)] + ["GPU2", "ab"]
    found = ["", "，", "国", "😀国😀", "\U00020000国国"]
    for _ in range(texts):
        parts = rng.choices([*phrases, *letters, "，", " ", "。\n", "😀", chr(0x4E00 + rng.randrange(20902))], k=length)
        found.append("".join(parts))
    return found
