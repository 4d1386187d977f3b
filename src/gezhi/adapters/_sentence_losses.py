"""gezhi's losses in the form that sentence-transformers' trainers call: columns of features or texts, then labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor

from gezhi import losses
from gezhi._checks import check_number, invalid

AM = losses.additive_cosine(0.35)

COSENT = """@article{huang2024cosent,
    title={CoSENT: Consistent Sentence Embedding via Similarity Ranking},
    author={Huang, Xiang and Peng, Hao and Zou, Dongcheng and Liu, Zhiwei and Li, Jianxin and Liu, Kay and Wu, Jia
        and Su, Jianlin and Yu, Philip S.},
    journal={IEEE/ACM Transactions on Audio, Speech, and Language Processing},
    year={2024}
}"""
INFONCE = """@misc{oord2018representation,
    title={Representation Learning with Contrastive Predictive Coding},
    author={van den Oord, Aaron and Li, Yazhe and Vinyals, Oriol},
    year={2018},
    eprint={1807.03748},
    archivePrefix={arXiv}
}"""
FLATNCE = """@misc{chen2021simpler,
    title={Simpler, Faster, Stronger: Breaking The log-K Curse On Contrastive Learners With FlatNCE},
    author={Chen, Junya and Gan, Zhe and Li, Xuan and Guo, Qing and Chen, Liqun and Gao, Shuyang and Chung, Tagyoung
        and Xu, Yi and Zeng, Belinda and Lu, Wenlian and Li, Fan and Carin, Lawrence and Tao, Chenyang},
    year={2021},
    eprint={2107.01152},
    archivePrefix={arXiv}
}"""
MARGIN = """@article{wang2018additive,
    title={Additive Margin Softmax for Face Verification},
    author={Wang, Feng and Cheng, Jian and Liu, Weiyang and Liu, Haijun},
    journal={IEEE Signal Processing Letters},
    year={2018}
}"""


class _PooledLoss(torch.nn.Module):
    """Embed every column with the model, then compute: the two halves that sentence-transformers' losses have."""

    loss: Any

    def __init__(self, model: torch.nn.Module, loss: torch.nn.Module) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        embeddings = [self.model(features)["sentence_embedding"] for features in sentence_features]
        return self.compute_loss_from_embeddings(embeddings, labels)

    def compute_loss_from_embeddings(self, embeddings: Sequence[Tensor], labels: Tensor | None) -> Tensor:
        """The loss of columns that are embedded already."""
        raise NotImplementedError


class CoSENTLoss(_PooledLoss):
    """CoSENT for a `SentenceTransformer`; equal to sentence-transformers' loss of this name.

    Args:
        model: a `SentenceTransformer`, or any module that adds `sentence_embedding` to the features it is given.
        scale: factor on the cosines (1 / temperature), > 0; 20 is the article's choice.

    | columns | labels |
    |---|---|
    | (text, text) | how similar, any scale: only the order counts |

    Example: `SentenceTransformerTrainer(model, train_dataset=rows, loss=CoSENTLoss(model))`
    """

    citation = COSENT

    def __init__(self, model: torch.nn.Module, scale: float = 20.0) -> None:
        super().__init__(model, losses.CoSENTLoss(scale))

    def compute_loss_from_embeddings(self, embeddings: Sequence[Tensor], labels: Tensor | None) -> Tensor:
        first, second = two(embeddings)
        return cast(Tensor, self.loss(first, second, needed(labels).view(-1)))

    def get_config_dict(self) -> dict[str, Any]:
        return {"scale": self.loss.scale}


class InfoNCELoss(_PooledLoss):
    """Softmax over in-batch negatives, every digit kept however small the loss.

    Args:
        model: as in `CoSENTLoss`.
        temperature: τ > 0 under the cosines; 0.05 is SimCSE's choice.

    | columns | labels |
    |---|---|
    | (anchor, positive) | none |
    | (anchor, positive, negative, ...) | none; all positives and negatives of the other rows are negatives too |
    """

    citation = INFONCE

    def __init__(self, model: torch.nn.Module, temperature: float = 0.05) -> None:
        super().__init__(model, losses.InfoNCELoss(temperature, negatives="keys"))

    def compute_loss_from_embeddings(self, embeddings: Sequence[Tensor], _: Tensor | None = None) -> Tensor:
        if len(embeddings) < 2:
            raise invalid("columns", "be (anchor, positive) and perhaps negatives", len(embeddings))
        return cast(Tensor, self.loss(embeddings[0], torch.cat(list(embeddings[1:]))))

    def get_config_dict(self) -> dict[str, Any]:
        return {"temperature": self.loss.temperature}


class FlatNCELoss(InfoNCELoss):
    """InfoNCE without the positive in the denominator: every anchor keeps its full gradient.

    Args:
        model, temperature: as in `InfoNCELoss`.
        report: `"infonce"` logs the value of InfoNCE; `"log"` logs log ξ, which may be negative.
    """

    citation = FLATNCE

    def __init__(
        self, model: torch.nn.Module, temperature: float = 0.05, report: Literal["log", "infonce"] = "infonce"
    ) -> None:
        super().__init__(model, temperature)
        self.loss = losses.FlatNCELoss(temperature, report, negatives="keys")

    def get_config_dict(self) -> dict[str, Any]:
        return {"temperature": self.loss.temperature, "report": self.loss.report}


class MarginSoftmaxLoss(_PooledLoss):
    """Classification with a margin, for embeddings that will be searched; its class centres train with the model.

    Args:
        model: as in `CoSENTLoss`; a `SentenceTransformer` says its width itself.
        num_classes: how many labels there are.
        margin, scale: as in `gezhi.losses.MarginSoftmaxLoss`.
        embedding_dim: width of the embeddings; None asks the model.

    | columns | labels |
    |---|---|
    | (text) | class from 0 on |
    """

    citation = MARGIN

    def __init__(
        self,
        model: Any,
        num_classes: int,
        *,
        margin: Callable[[Tensor], Tensor] = AM,
        scale: float = 30.0,
        embedding_dim: int | None = None,
    ) -> None:
        width = model.get_embedding_dimension() if embedding_dim is None else embedding_dim
        super().__init__(model, losses.MarginSoftmaxLoss(num_classes, width, margin=margin, scale=scale))

    def compute_loss_from_embeddings(self, embeddings: Sequence[Tensor], labels: Tensor | None) -> Tensor:
        if len(embeddings) != 1:
            raise invalid("columns", "be one text a row", len(embeddings))
        return cast(Tensor, self.loss(embeddings[0], needed(labels).view(-1)))

    def get_config_dict(self) -> dict[str, Any]:
        return {"num_classes": len(self.loss.weight), "margin": named(self.loss.margin), "scale": self.loss.scale}


class CrossEncoderCoSENTLoss(torch.nn.Module):
    """CoSENT on the raw score of a `CrossEncoder` with one output (the third article).

    Args:
        model: a `CrossEncoder` with `num_labels=1`.
        scale: factor on the raw scores; the article takes 1.

    | columns | labels |
    |---|---|
    | (text, text) | how similar or relevant, any scale: only the order within a batch counts |
    """

    citation = COSENT

    def __init__(self, model: Any, scale: float = 1.0) -> None:
        super().__init__()
        check_number("scale", scale, above=0)
        if getattr(model, "num_labels", 1) != 1:
            raise invalid("model", "have one output", model.num_labels, "Load it with num_labels=1.")
        self.model, self.scale = model, float(scale)

    def forward(
        self, inputs: Sequence[Sequence[str]], labels: Tensor, prompt: str | None = None, task: str | None = None
    ) -> Tensor:
        pairs = list(zip(*two(inputs), strict=True))
        features = self.model.preprocess(pairs, prompt=prompt, task=task)
        features = {k: v.to(self.model.device) if isinstance(v, Tensor) else v for k, v in features.items()}
        return losses.cosent_loss(self.model(features)["scores"].view(-1), labels.view(-1), scale=self.scale)

    def get_config_dict(self) -> dict[str, Any]:
        return {"scale": self.scale}


def named(function: Any) -> str:
    """A margin as a model card prints it."""
    settings = ", ".join(f"{name}={value}" for name, value in getattr(function, "keywords", {}).items())
    return f"{getattr(function, 'func', function).__name__.lstrip('_')}({settings})"


def two(columns: Sequence[Any]) -> tuple[Any, Any]:
    if len(columns) != 2:
        raise invalid("columns", "be two texts a row", len(columns))
    return columns[0], columns[1]


def needed(labels: Tensor | None) -> Tensor:
    if labels is None:
        raise invalid("labels", "come with the columns", None, "Add a column named label or score.")
    return labels
