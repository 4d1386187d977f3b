"""The fixed words of a report in both languages, and how a pair of texts becomes HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

from gezhi.lab.pages import BY as SAID_BY
from gezhi.lab.record import MeasuredStudy, Words
from gezhi.lab.report.numbers import exact_number

VERDICTS = {
    "supported": Words(en="supported", zh="成立"),
    "refuted": Words(en="refuted", zh="推翻"),
    "divided": Words(en="divided", zh="分歧"),
    "inconclusive": Words(en="inconclusive", zh="未定"),
    "not asked": Words(en="not asked", zh="未问"),
}
MARKS = {"supported": "S", "refuted": "R", "divided": "D", "inconclusive": "I", "not asked": "N"}
BY = {by: Words(en=by, zh=zh) for by, zh in SAID_BY.items()}
WINGS = {
    "nn": Words(en="Networks", zh="网络"),
    "losses": Words(en="Losses", zh="损失函数"),
    "training": Words(en="Training", zh="训练"),
    "classification": Words(en="Classification", zh="分类"),
    "diffusion": Words(en="Diffusion", zh="扩散模型"),
    "gan": Words(en="GAN", zh="GAN"),
    "vae": Words(en="VAE", zh="VAE"),
    "text": Words(en="Text", zh="文本"),
    "graph": Words(en="Graphs", zh="图"),
    "theory": Words(en="Theory", zh="理论"),
}
YOURS = Words(en="Your run", zh="本次运行")
REFERENCE = Words(en="Reference run", zh="参考运行")
FILE = Words(en="On your file", zh="在你的文件上")
VARIES = {
    "seed": Words(en="over redrawn seeds", zh="种子重抽"),
    "rows": Words(en="over the rows of a fixed table and redrawn training", zh="固定表格，按行与重抽的训练统计"),
    "items": Words(en="over the items of a fixed test set", zh="固定测试集，逐条统计"),
    "nothing": Words(en="exact", zh="精确"),
}
ROUNDS = Words(en="interleaved rounds on one machine", zh="同一机器上交错计时")

_HAN = "\u3400-\u9fff"
_FULL = str.maketrans(",;:?!", "，；：？！")


def text(en: str, zh: str | None = None) -> Words:
    """A text in both languages; one argument: the same in both."""
    return Words(en=en, zh=en if zh is None else zh)


def html(words: Words | str, zh: str | None = None) -> Markup:
    """`<i lang="en">…</i><i lang="zh">…</i>`; where the languages agree, the text alone."""
    pair = text(words, zh) if isinstance(words, str) else words
    if pair.en == pair.zh:
        return Markup(escape(pair.en))
    return Markup('<i lang="en">{}</i><i lang="zh">{}</i>').format(pair.en, full_width(pair.zh))


def full_width(chinese: str) -> str:
    """Punctuation that touches a Han character becomes full-width, and so do commas without a space behind them."""
    chinese = re.sub(r"(?<=\D),(?=\S)|(?<=\d),(?=[^\s\d.])", "，", chinese)
    chinese = re.sub(rf"(?<=[{_HAN}])\(([^()]*)\)|\(([^()]*[{_HAN}][^()]*)\)", _parentheses, chinese)
    after, before = rf"(?<=[{_HAN}”》）])[,;:?!]\s*", rf"[,;:?!]\s*(?=[{_HAN}“《（])"
    return re.sub(f"{after}|{before}", lambda found: found[0].strip().translate(_FULL), chinese)


def _parentheses(found: re.Match[str]) -> str:
    return f"（{found[1] if found[1] is not None else found[2]}）"


def joined(parts: Iterable[Words], en: str = ", ", zh: str = "，") -> Words:
    """The non-empty parts in one line."""
    kept = [part for part in parts if part.en]
    return Words(en=en.join(p.en for p in kept), zh=zh.join(p.zh for p in kept))


def capitalised(words: Words) -> Words:
    """With a capital, unless it begins with a symbol such as `n=512`."""
    return Words(en=re.sub(r"^[a-z](?=[a-z]{2})", lambda found: found[0].upper(), words.en), zh=words.zh)


def count(number: int, en: str, zh: str) -> Words:
    """`1 seed`, `5 seeds`; in Chinese the measure word comes with the noun: `个种子`."""
    plural = en if number == 1 else f"{en}s"
    return Words(en=f"{number}\u00a0{plural}", zh=f"{number}\u00a0{zh}")


def of_cases(supported: int, asked: int) -> Words:
    """`2 of 6 cases`."""
    return text(f"{supported} of {asked} cases", f"{asked} 例中 {supported} 例成立")


def wing_name(wing: str) -> Words:
    """A wing outside the house keeps its own name."""
    return WINGS.get(wing, text(wing) if wing else text("Other", "其他"))


def varies(study: MeasuredStudy) -> Words:
    """What the replicates of a study are."""
    return ROUNDS if study.timed else VARIES[study.varies]


def brief(seconds: float) -> str:
    """`0.41 ms`, `54 ms`, `1.2 s`: a time in the unit that suits it."""
    factor, unit = (1e6, "µs") if seconds < 1e-4 else (1e3, "ms") if seconds < 0.1 else (1.0, "s")
    return f"{exact_number(seconds * factor, digits=2)}\u00a0{unit}"


def duration(seconds: float) -> Words:
    """`41 s`, `24 min`, `1.5 h`."""
    if seconds < 120:
        return text(f"{seconds:.0f}\u00a0s" if seconds >= 10 else f"{seconds:.1f}\u00a0s", f"{seconds:.3g}\u00a0秒")
    if seconds < 7200:
        return text(f"{seconds / 60:.0f}\u00a0min", f"{seconds / 60:.0f}\u00a0分钟")
    return text(f"{seconds / 3600:.1f}\u00a0h", f"{seconds / 3600:.1f}\u00a0小时")
