"""The tables of the guide to words, as `docs/guide/words.py` wrote its figures."""

from __future__ import annotations

import json
from typing import Any

from _tools.house import House
from _tools.parts import NOTHING_YET, table
from gezhi.cli.phrases import in_language

HEADS = {"en": ("cut by", "F1 on the newspaper"), "zh": ("切分所用", "报纸上的 F1")}
NAMES = {
    "single": ("single characters", "单字"),
    "found": ("jieba with the words that were found alone", "jieba，只用找到的词"),
    "jieba": ("jieba with its own dictionary", "jieba，自带词典"),
    "with new": ("… and {} new words", "……再加 {} 个新词"),
    "with terms": ("… and only the {} new words of four characters or more", "……只加四个字以上的 {} 个新词"),
}


def words_part(house: House, lang: str) -> str:
    """What was found, how well it cuts, and three sentences cut both ways."""
    path = house.results / "words.json"
    if not path.exists():
        return in_language(NOTHING_YET, lang)
    known = json.loads(path.read_text("utf-8"))
    return "\n\n".join([_told(known, lang), table(HEADS[lang], _rows(known, lang)), _cuts(known, lang)])


TOLD = {
    "en": (
        "{:,} characters, at least {} occurrences: {:,} words of two characters and more, {:.0%} of them in jieba's "
        "dictionary; {}.\n\nThe most frequent of the others: {}.\n\nThose of four characters or more: {}."
    ),
    "zh": (
        "{:,} 个字符，至少出现 {} 次：两个字符以上的词 {:,} 个，其中 {:.0%} 在 jieba 的词典里；{}。\n\n"
        "其余最常见的：{}。\n\n其余四个字以上最常见的：{}。"
    ),
}


def _told(known: dict[str, Any], lang: str) -> str:
    values = known["characters"], known["min_count"], known["words"], known["known"]
    packages = ", ".join(f"{name} {version}" for name, version in known["packages"].items())
    return TOLD[lang].format(*values, packages, *(" ".join(known[name]["first"]) for name in ("new", "terms")))


def _rows(known: dict[str, Any], lang: str) -> list[tuple[str, str]]:
    sizes = {"with new": known["new"]["words"], "with terms": known["terms"]["words"]}
    named = {key: names[lang == "zh"].format(f"{sizes.get(key, 0):,}") for key, names in NAMES.items()}
    return [(name, "{:.3f} [{:.3f}, {:.3f}]".format(*known["f1"][key])) for key, name in named.items()]


def _cuts(known: dict[str, Any], lang: str) -> str:
    before, after = ("之前", "之后") if lang == "zh" else ("before", "after")
    pairs = ((" ".join(plain), " ".join(more)) for plain, more in known["cuts"])
    return table((before, after), pairs)
