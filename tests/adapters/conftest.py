"""Tiny random models on disk, as Hugging Face writes them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """`tiny_models(words)`: a folder with an `encoder` and a `scorer` (one output) that know these words."""
    transformers = pytest.importorskip("transformers")

    def written(words: Sequence[str]):
        root = tmp_path_factory.mktemp("models")
        vocabulary = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
        (root / "vocab.txt").write_text("\n".join(vocabulary))
        tokenizer = transformers.BertTokenizer(str(root / "vocab.txt"))
        size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        config = {"vocab_size": len(vocabulary), "max_position_embeddings": 32, "num_labels": 1, **size}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for name, kind in {"encoder": "BertModel", "scorer": "BertForSequenceClassification"}.items():
                getattr(transformers, kind)(transformers.BertConfig(**config)).save_pretrained(root / name)
                tokenizer.save_pretrained(root / name)
        return root

    return written
