"""Tasks that are judged by a metric without a gradient, each with a differentiable surrogate and a policy gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from gezhi.data import Images
from gezhi.experiments.setups.pictures import SIDE, pooled

Batch = tuple[Tensor, Tensor]
Parameters = Mapping[str, Tensor]
Parts = tuple[Batch, Batch, Batch]  # for training, for choosing states, for the test


def leave_one_out(reward: Tensor) -> Tensor:
    """(samples, …) less the mean of the other samples."""
    count = len(reward)
    return (reward - reward.mean(0)) * count / max(count - 1, 1)


@dataclass(eq=False)
class Task:
    """What the tasks share. All task losses lie in [0, 1]; lower is better."""

    name: str
    batch: int
    model: nn.Module = field(init=False)

    def forward(self, parameters: Parameters, x: Tensor) -> Tensor:
        found: Tensor = functional_call(self.model, dict(parameters), (x,))
        return found

    def judge(self, parameters: Parameters, part: Batch, _picking: Batch) -> float:
        """The metric of a whole part."""
        return float(self.task_loss(parameters, part))

    def task_loss(self, parameters: Parameters, batch: Batch) -> Any:
        raise NotImplementedError


class Pictures(Task):
    """Which of ten things a picture shows, by a linear model; the metric is the share of errors."""

    count = (3000, 1000, 6000)
    rate, classes = 0.01, 10

    def __init__(self, name: str, data: Images, batch: int = 64) -> None:
        super().__init__(name, batch)
        self.data, self.model = data, nn.Linear(SIDE * SIDE, self.classes)

    def draw(self, seed: int) -> Parts:
        rows = np.random.default_rng(seed).permutation(len(self.data.images))[: sum(self.count)]
        x, y = pooled(self.data, rows), self.labels(rows)
        parts = zip(torch.split(x, list(self.count)), torch.split(y, list(self.count)), strict=True)
        train, picking, test = parts
        return train, picking, test

    def labels(self, rows: Any) -> Tensor:
        assert self.data.labels is not None
        return torch.from_numpy(np.asarray(self.data.labels)[rows])

    def surrogate(self, parameters: Parameters, batch: Batch) -> Tensor:
        return F.cross_entropy(self.forward(parameters, batch[0]), batch[1])

    def task_loss(self, parameters: Parameters, batch: Batch) -> Tensor:
        return (self.forward(parameters, batch[0]).argmax(-1) != batch[1]).float().mean()

    def policy(self, parameters: Parameters, batch: Batch, samples: int) -> Tensor:
        """REINFORCE: labels are drawn, each sample against the mean of the others."""
        log_p = self.forward(parameters, batch[0]).log_softmax(-1)
        drawn = torch.multinomial(log_p.detach().exp(), samples, replacement=True)
        gain = leave_one_out((batch[1] == drawn.T).float())
        return -(gain.T * log_p.gather(-1, drawn)).mean()


class Shirts(Pictures):
    """Shirt or not: one picture in ten is one; the metric is 1 - F1, with a threshold that other pictures choose."""

    classes, shirt = 1, 6

    def labels(self, rows: Any) -> Tensor:
        return (super().labels(rows) == self.shirt).float()

    def surrogate(self, parameters: Parameters, batch: Batch) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.forward(parameters, batch[0])[..., 0], batch[1])

    def task_loss(self, parameters: Parameters, batch: Batch) -> Tensor:
        return 1 - f1(self.forward(parameters, batch[0])[..., 0] > 0, batch[1])

    def policy(self, parameters: Parameters, batch: Batch, samples: int) -> Tensor:
        logits = self.forward(parameters, batch[0])[..., 0].expand(samples, -1)
        drawn = torch.bernoulli(logits.detach().sigmoid())
        gain = leave_one_out(f1(drawn > 0, batch[1]))
        return (gain[:, None] * F.binary_cross_entropy_with_logits(logits, drawn, reduction="none")).mean()

    def judge(self, parameters: Parameters, part: Batch, picking: Batch) -> float:
        scores = self.forward(parameters, picking[0])[..., 0]
        thresholds = scores.sort().values
        best = thresholds[f1(scores >= thresholds[:, None], picking[1]).argmax()]
        return 1 - float(f1(self.forward(parameters, part[0])[..., 0] >= best, part[1]))


def f1(positive: Tensor, target: Tensor) -> Tensor:
    """Over the last axis; 0 where nothing is positive."""
    hits = (positive * target).sum(-1)
    return 2 * hits / (positive.sum(-1) + target.sum(-1)).clamp(min=1)


LETTERS, LENGTH = 12, 6
SEPARATOR, END = LETTERS, LETTERS + 1


class Speller(nn.Module):
    """A GRU that reads letters one after another and guesses the next."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru = nn.Embedding(LETTERS + 2, 32), nn.GRU(32, 64, batch_first=True)
        self.out = nn.Linear(64, LETTERS + 2)

    def forward(self, ids: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        found, state = self.gru(self.embed(ids), state)
        logits: Tensor = self.out(found)
        return logits, state


class Reversal(Task):
    """Say six letters backwards; the metric is the edit distance of what is said greedily, over six."""

    rate = 3e-3
    count = (1000, 1000, 4000)

    def __init__(self, name: str, batch: int = 32) -> None:
        super().__init__(name, batch)
        self.model = Speller()

    def draw(self, seed: int) -> Parts:
        letters = torch.randint(LETTERS, (sum(self.count), LENGTH), generator=torch.Generator().manual_seed(seed))
        train, picking, test = ((part, part.flip(1)) for part in torch.split(letters, list(self.count)))
        return train, picking, test

    def surrogate(self, parameters: Parameters, batch: Batch) -> Tensor:
        read, said = batch
        marks = read.new_full((len(read), 1), SEPARATOR), read.new_full((len(read), 1), END)
        logits, _ = functional_call(self.model, dict(parameters), (torch.cat([read, marks[0], said], 1),))
        return F.cross_entropy(logits[:, LENGTH:].flatten(0, 1), torch.cat([said, marks[1]], 1).flatten())

    def task_loss(self, parameters: Parameters, batch: Batch) -> float:
        with torch.no_grad():
            said, _ = self.say(parameters, batch[0], greedy=True)
        return float(edit_distance(said, batch[1]).mean()) / LENGTH

    def policy(self, parameters: Parameters, batch: Batch, samples: int) -> Tensor:
        said, log_p = self.say(parameters, batch[0].repeat(samples, 1), greedy=False)
        distance = edit_distance(said, batch[1].repeat(samples, 1)).view(samples, -1)
        return -(leave_one_out(-distance / LENGTH) * log_p.view(samples, -1)).mean()

    def say(self, parameters: Parameters, read: Tensor, greedy: bool) -> tuple[Tensor, Tensor]:
        """Up to one letter more than there are, and the log-probability of what was said, the end included."""
        ids, state, said, total = F.pad(read, (0, 1), value=SEPARATOR), None, [], torch.zeros(len(read))
        going = torch.ones(len(read))
        for _ in range(LENGTH + 1):
            logits, state = functional_call(self.model, dict(parameters), (ids, state))
            log_p = logits[:, -1].log_softmax(-1)
            ids = log_p.argmax(-1)[:, None] if greedy else torch.multinomial(log_p.detach().exp(), 1)
            total = total + going * log_p.gather(-1, ids)[:, 0]
            going = going * (ids[:, 0] != END)
            said.append(ids)
        return torch.cat(said, 1), total


def edit_distance(said: Tensor, right: Tensor) -> Tensor:
    """Levenshtein distance of each row; what is said ends before the first end mark."""
    a, b = said.numpy(), right.numpy()
    ends = a == END
    lengths = np.where(ends.any(1), ends.argmax(1), a.shape[1])
    row = np.tile(np.arange(b.shape[1] + 1), (len(a), 1))
    rows = [row]
    for i in range(a.shape[1]):
        now = [row[:, 0] + 1]
        for j in range(b.shape[1]):
            swapped = row[:, j] + (a[:, i] != b[:, j])
            now.append(np.minimum(np.minimum(row[:, j + 1], now[-1]) + 1, swapped))
        row = np.stack(now, 1)
        rows.append(row)
    return torch.from_numpy(np.stack(rows)[lengths, np.arange(len(a)), -1]).float()
