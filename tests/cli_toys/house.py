"""A house of one toy: its header, its pages in both languages, its Chinese names, and its measurements."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gezhi import _catalogue
from gezhi._catalogue import Method
from gezhi.lab import names, pages, reference
from gezhi.lab.record import Measured, save
from gezhi.lab.results import measured_of
from gezhi.lab.run import Plan, execute

STEM = "cli_toys.shop"
SHOP = Method(STEM, "toys", "A toy.", "The new seller", "新卖家", ("toy",), ("玩具:卖得更多吗?",), "", ("sell",),
              ("NS", "1234"))  # fmt: skip
PAGE = r"""# The new seller

## In short

Only in the north; in the south it sells less. The bold seller is no way out of it.

<!-- rests on: sells-more divided, bold-too divided -->

## Question

Does the new seller, who asks $n\ge 2$ times, sell more?

## Notation

| here | in code |
|---|---|
| $x$ | `x` |

## Derivation

1. It is a sum.

$$L=\log\Big(1+\sum_{y_b<y_a}e^{s_b-s_a}\Big) \tag{1}$$

## From formula to code

`sell` is (1).

## Claims

### towns

Two towns, 100 customers each, over redrawn customers.

- `sells-more` (article, thesis) The new seller sells more than the plain one.
  Holds if it sells at least 2 points more.
- `bold-too` (ours) The bold seller sells more than both others.
  Holds if it is at least 2 points ahead of each.

### table

A table of the reader's.

- `any-table` (field) It wins on any table.
  Holds if its accuracy is at least 2 points higher.

### formula

Exact.

- `exact` (article) The formula is exact.
  Holds if the error is at most 1e-12.

## Result of the reference run

<!-- generated:results -->
<!-- /generated -->

## When not to use it

- In the south.

## References

- A reference.
"""
PAGE_ZH = r"""# 新卖家

## 一言以蔽之

只在北方如此；在南方反而卖得更少。大胆的卖家也无济于事。

<!-- rests on: sells-more divided, bold-too divided -->

## 问题

新卖家问 $n\ge 2$ 次，就能卖得更多吗？

## 记号

| 此处 | 代码 |
|---|---|
| $x$ | `x` |

## 推导

1. 这是一个和。

$$L=\log\Big(1+\sum_{y_b<y_a}e^{s_b-s_a}\Big) \tag{1}$$

## 从公式到代码

`sell` 即 (1)。

## 论断

### 城镇

两个城镇，各 100 位顾客，顾客重抽。

- `sells-more`（原文，论点）新卖家比普通卖家卖得多。
  成立条件：至少多卖 2 个百分点。
- `bold-too`（自设）大胆的卖家比另外两位都卖得多。
  成立条件：比每一位至少领先 2 个百分点。

### 表格

读者自己的表格。

- `any-table`（通行说法）在任何表格上都更好。
  成立条件：准确率至少高 2 个百分点。

### 公式

精确。

- `exact`（原文）公式是精确的。
  成立条件：误差不超过 1e-12。

## 参考运行的结果

<!-- generated:results -->
<!-- /generated -->

## 何时不用

- 在南方。

## 参考文献

- 一篇文献。
"""
NAMES = """[common]
"accuracy" = "准确率"

["cli_toys.shop"]
"towns" = "城镇"
"table" = "表格"
"formula" = "公式"
"plain" = "普通"
"new" = "新"
"bold" = "大胆"
"north" = "北方"
"south" = "南方"
"sold" = "卖出比例"
"error" = "误差"
"rows" = "行数"
"toy" = "玩具"
"""


@lru_cache(maxsize=1)
def measured() -> Measured:
    """The toy at full budget."""
    with TemporaryDirectory() as folder:
        plan = Plan([STEM], Path(folder), "full", seeds=5)
        return measured_of(STEM, plan, execute(plan), "gezhi run")


def build(root: Path, methods: tuple[Method, ...] = (SHOP,)) -> Path:
    """`docs/methods`, `docs/names.zh.toml` and an empty `docs/results` of the toy house."""
    docs = root / "docs"
    (docs / "methods").mkdir(parents=True)
    (docs / "results").mkdir()
    for method in methods:
        (docs / "methods" / f"{method.stem}.md").write_text(PAGE, encoding="utf-8")
        (docs / "methods" / f"{method.stem}.zh.md").write_text(PAGE_ZH, encoding="utf-8")
    (docs / "names.zh.toml").write_text(NAMES, encoding="utf-8")
    return docs


def move_in(
    docs: Path, patch: pytest.MonkeyPatch, methods: Callable[[Path], tuple[Method, ...]] = lambda _: (SHOP,)
) -> None:
    """gezhi reads the toy house instead of its own."""
    patch.setattr(_catalogue, "_discovered", methods)
    patch.setattr(_catalogue, "pages", lambda: docs / "methods")
    patch.setattr(_catalogue, "reference", lambda: docs / "results")
    patch.setattr(_catalogue, "names", lambda: docs / "names.zh.toml")
    forget()


def forget() -> None:
    """What was read from another house."""
    for cached in (pages.page, names.tables, reference.reference_run):
        cached.cache_clear()


def publish(docs: Path, found: Measured | None = None) -> None:
    """Make these measurements the reference run."""
    save(found or measured(), docs / "results")
    forget()
