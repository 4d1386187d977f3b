r"""Word discovery: a dictionary from raw text, by how solidly its n-grams hold together.

Title: Word discovery by solidity | 按凝固度的新词发现
Also: new words, 新词发现
Tags: text, unsupervised, chinese, tokenization
Articles: 重新写了之前的新词发现算法:更快更好的新词发现; 【中文分词系列】 8. 更好的新词发现算法
Page: docs/methods/word_discovery.md
Notation: $c(w)$ = occurrences of a string w, $T$ = those of all frequent characters, $s(w)$ = solidity,
    $\theta_k$ = threshold for k characters, n = `order`.
"""

from gezhi.text.word_discovery.estimator import SlowDiscoveryWarning, WordDiscovery

__all__ = ["SlowDiscoveryWarning", "WordDiscovery"]
