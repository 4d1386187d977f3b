"""Can a Transformer tell where a token stands, and what does a factor after the softmax change?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi.data import Texts, read
from gezhi.experiments.setups.bytes import split_bytes, windows
from gezhi.experiments.setups.sequences import BYTES, Training, train, transformer
from gezhi.lab import Dots, Experiment, Study, at, every, inside, ratio, two_thirds
from gezhi.nn.attention import Kernel, MultiheadAttention
from gezhi.nn.urpe import URPE

Metrics = Mapping[str, Any]
ANSWERS = lru_cache(maxsize=1)(partial(read, "insuranceqa-en-answers"))
RATE = 4e-3  # of 0.002 and 0.004, the better for either task on real text


@lru_cache(maxsize=1)
def parts(data: Texts, seed: int) -> tuple[Tensor, Tensor]:
    """Bytes for training and for the test, by texts."""
    return split_bytes(data, seed)


# ---- where a token stands -------------------------------------------------------------------------------------------

KNOWN, STEPS = "position known", "steps until known"
LEARNED = 0.9  # of what there is to know
NOTHING = -100  # torch's mark for a place where nothing is asked
Example = tuple[Tensor, Tensor]  # tokens, and what is to be said at each


def places(ids: Tensor) -> Example:
    """The place of each token, counted from the beginning of the window."""
    return ids, torch.arange(ids.shape[1]).expand(ids.shape)


def every_second(ids: Tensor) -> Example:
    """In the first half, the tokens at the 2nd, 4th, … place one after another."""
    return ids, F.pad(ids[:, 1::2], (0, ids.shape[1] // 2), value=NOTHING)


@dataclass(frozen=True, eq=False)
class Task:
    """What is asked of windows of a text, or of one byte repeated."""

    ask: Callable[[Tensor], Example]
    data: Texts | None = None

    def draw(self, test: bool, seed: int, count: int, length: int, generator: torch.Generator) -> Example:
        if self.data is None:
            return self.ask(torch.randint(BYTES, (count, 1), generator=generator).repeat(1, length))
        return self.ask(windows(parts(self.data, seed)[test], count, length, generator)[0])


class Reader(nn.Module):
    """A stack and what it says at every token."""

    def __init__(self, size: Training, classes: int, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.stack, self.head = transformer(size, **config), nn.Linear(size.dim, classes)

    def forward(self, ids: Tensor) -> Tensor:
        said: Tensor = self.head(self.stack(ids))
        return said

    def loss(self, ids: Tensor, right: Tensor) -> Tensor:
        return F.cross_entropy(self(ids).flatten(0, 1), right.flatten())


def guess(right: Tensor, classes: int) -> Tensor:
    """Logarithm of how often each answer is right."""
    return (torch.bincount(right[right != NOTHING], minlength=classes) + 1.0).log().log_softmax(0)


@torch.no_grad()
def known(model: Reader, by_guess: Tensor, ids: Tensor, right: Tensor) -> float:
    """1 less the loss over that of a guess: 0 where nothing is known, 1 where everything."""
    loss = torch.stack(
        [model.loss(*part) for part in zip(torch.split(ids, 64), torch.split(right, 64), strict=True)]
    ).mean()
    return 1 - (loss / -by_guess[right[right != NOTHING]].mean()).item()


def place(config: Mapping[str, Any], task: Task | Texts, seed: int, size: Training) -> Metrics:
    """How much of the places a trained model knows in other windows, and after how many steps it knew 0.9 of it."""
    task = Task(places, task) if isinstance(task, Texts) else task
    torch.manual_seed(seed)
    classes = BYTES if task.ask is every_second else size.length
    model, draw, step, first = Reader(size, classes, config), torch.Generator().manual_seed(seed), 0, size.steps
    seen, other = (task.draw(test, seed, 32 * size.batch, size.length, draw) for test in (False, True))
    by_guess = guess(seen[1], classes)

    def loss() -> Tensor:
        nonlocal step, first
        if step % 25 == 0 and step < first and known(model, by_guess, *(x[:128] for x in other)) > LEARNED:
            first = step
        step += 1
        return model.loss(*task.draw(False, seed, size.batch, size.length, draw))

    train(model, loss, size.steps, rate=RATE)
    return {
        KNOWN: known(model, by_guess, *other),
        f"training {KNOWN}": known(model, by_guess, *seen),
        STEPS: float(max(first, 1)),
    }


ROPE, GATED, ABSOLUTE = "RoPE", "RoPE + URPE", "absolute"
PLACES = Study(
    "where a token stands",
    place,
    {ROPE: {}, GATED: {"gate": "urpe"}, ABSOLUTE: {"positions": "learned"}},
    {
        "identical tokens": lambda: Task(places),
        "real text": lambda: Task(places, ANSWERS()),
        "every second token of real text": lambda: Task(every_second, ANSWERS()),
    },
    {
        "smoke": {"identical tokens": Training(3, 4)},
        "full": {
            "real text": Training(600, 32),
            "identical tokens": Training(600, 8),
            "every second token of real text": Training(1600, 32),
        },
    },
    claims={
        "place": (inside(KNOWN, ROPE, high=0.5), inside(KNOWN, GATED, low=0.9)),
        "sooner": at("every second token of real text", ratio(STEPS, GATED, over=ROPE, at_most=0.67)),
    },
    accepts="texts",
    trains=two_thirds("steps"),
    seeds={"full": 5},
    resolution={KNOWN: 0.001},  # nothing known is 0 up to rounding
    figures=(Dots(KNOWN, "place"),),
)

# ---- without training -----------------------------------------------------------------------------------------------

APART, CLOSEST, MIRROR = "largest difference", "smallest difference", "difference from the mirror image"


def exponentials(scores: Tensor) -> Tensor:
    """Softmax without its denominator, over the number of keys."""
    return scores.exp() / scores.shape[-1]


@dataclass(frozen=True)
class Stack:
    """A config, a kernel that the config does not name, and which tokens of another kind stand around the equal ones."""

    config: Mapping[str, Any] = field(default_factory=dict)
    kernel: Kernel | None = None
    before: int = 0
    after: int = 0


def differences(arm: Stack, _case: None, seed: int, tokens: int) -> Metrics:
    """Between the outputs of an untrained stack at equal tokens, all its parameters drawn, in float64."""
    torch.manual_seed(seed)
    marks = arm.before + arm.after
    model = transformer(Training(0, length=tokens + marks, dim=32), tokens=BYTES + 2, **arm.config).double()
    if model.gate is not None:
        model.gate.table.data += torch.randn_like(model.gate.table)
    if arm.kernel is not None:
        for layer in model.layers:
            cast(MultiheadAttention, layer.attention).kernel = arm.kernel
    ids = torch.tensor([[BYTES] * arm.before + [0] * tokens + [BYTES + 1] * arm.after])
    with torch.no_grad():
        rows = model(ids)[0, arm.before : arm.before + tokens]
    apart = (rows[:, None] - rows).abs().amax(-1)
    return {
        APART: apart.max().item(),
        CLOSEST: apart[~torch.eye(tokens, dtype=torch.bool)].min().item(),
        MIRROR: (rows - rows.flip(0)).abs().max().item(),
    }


ALIBI, T5, UNNORMALISED, SQUARES, NORM = "ALiBi", "T5", "RoPE, no denominator", "RoPE, squared ReLU", "RoPE, l2 norm"
MARKS, MIRRORED, MARKS_ALONE, FIRST = (
    "RoPE, end marks",
    "ALiBi, l2 norm",
    "no positions, end marks",
    "causal, first mark",
)
EQUAL = Study(
    "equal tokens",
    differences,
    {
        ROPE: Stack(),
        ALIBI: Stack({"positions": "alibi"}),
        T5: Stack({"positions": "t5"}),
        GATED: Stack({"gate": "urpe"}),
        UNNORMALISED: Stack(kernel=exponentials),
        SQUARES: Stack({"kernel": "relu2"}),
        NORM: Stack({"kernel": "l2"}),
        MARKS: Stack(before=1, after=1),
        ABSOLUTE: Stack({"positions": "learned"}),
        MIRRORED: Stack({"positions": "alibi", "kernel": "l2"}),
        MARKS_ALONE: Stack({"positions": "none"}, before=1, after=1),
        FIRST: Stack({"positions": "none", "causal": True}, before=1),
    },
    {"16 tokens": None},
    every(16),
    claims={
        "inside": tuple(inside(APART, arm, high=1e-9) for arm in (ROPE, ALIBI, T5)),
        "remedies": tuple(
            inside(name, arm, low=low)
            for arm in (GATED, UNNORMALISED, SQUARES, NORM, MARKS)
            for name, low in ((APART, 1e-3), (CLOSEST, 1e-9))
        ),
        "mirror": (inside(MIRROR, MIRRORED, high=1e-9), inside(APART, MIRRORED, low=1e-3)),
        "marks-alone": inside(APART, MARKS_ALONE, high=1e-9),
        "first-mark": (inside(APART, FIRST, low=1e-3), inside(CLOSEST, FIRST, low=1e-9)),
    },
    resolution=dict.fromkeys((APART, MIRROR), 1e-12),  # what is proved to be 0 is so up to rounding
    figures=(Dots(APART, ("inside", "remedies"), log=True),),
)

# ---- longer than trained --------------------------------------------------------------------------------------------

SHORT, LONG = "error at 12 tokens", "error at 24 tokens"
TRAINED = range(8, 17)


class Counter(nn.Module):
    """Tells the place as a number, by one layer of attention over equal tokens."""

    def __init__(self, gate: URPE) -> None:
        super().__init__()
        self.stack, self.gate, self.head = transformer(Training(0, length=24, dim=32)), gate, nn.Linear(32, 1)

    def forward(self, length: int) -> Tensor:
        """Error of each place, in places."""
        x = self.stack
        x.gate = self.gate
        said: Tensor = 8 * self.head(x(torch.zeros(1, length, dtype=torch.long)))[0, :, 0]
        error: Tensor = said - torch.arange(length)
        return error


def counted(make: Callable[[], URPE], _case: None, seed: int, steps: int) -> Metrics:
    """Mean distance of what is said from the place, among the first 12 of 12 and of 24 equal tokens."""
    torch.manual_seed(seed)
    model, draw = Counter(make()), torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        length = TRAINED[int(torch.randint(len(TRAINED), (), generator=draw))]
        squares: Tensor = model(length).square()
        return squares.mean()

    train(model, loss, steps, rate=3e-3)
    with torch.no_grad():
        return {SHORT: model(12).abs().mean().item(), LONG: model(24)[:12].abs().mean().item()}


CLIPPED, BUCKETS = "clipped at 7", "T5's buckets"
LONGER = Study(
    "longer than trained",
    counted,
    {
        "a factor for each distance": partial(URPE, 4, 24),
        CLIPPED: partial(URPE, 4, 16, clip=7),
        BUCKETS: partial(URPE, 4, 16, buckets=16),
    },
    {"equal tokens": None},
    {"smoke": 2, "full": 1200},
    claims={
        "longer": tuple(
            test for arm in (CLIPPED, BUCKETS) for test in (inside(SHORT, arm, high=0.5), inside(LONG, arm, low=1))
        ),
    },
    trains=two_thirds(),
    seeds={"full": 5},
    figures=(Dots(LONG, "longer", log=True),),
)

# ---- a language model -----------------------------------------------------------------------------------------------

TESTED = 2048  # windows


def masked(config: Mapping[str, Any], data: Texts, seed: int, size: Training) -> Metrics:
    """Loss in nats at the masked bytes of other texts, after so many steps."""
    torch.manual_seed(seed)
    model, draw = transformer(size, tokens=BYTES + 1, head="lm", **config), torch.Generator().manual_seed(seed)
    text, other = parts(data, seed)

    def at_hidden(ids: Tensor, hidden: Tensor) -> Tensor:
        said = model.logits(model(ids.masked_fill(hidden, BYTES))[hidden])
        return F.cross_entropy(said, ids[hidden])

    train(model, lambda: at_hidden(*windows(text, size.batch, size.length, draw)), size.steps, rate=RATE)
    with torch.no_grad():
        found = [at_hidden(*windows(part, TESTED, size.length, draw)).item() for part in (other, text)]
    return dict(zip(("loss", "training loss"), found, strict=True))


SOFTMAX = "softmax"
MASKED = Study(
    "masked bytes",
    masked,
    {SOFTMAX: {}, "l2 norm": {"kernel": "l2"}, "softmax + URPE": {"gate": "urpe"}},
    {"insurance answers": ANSWERS},
    {"full": Training(800, 16, 64)},
    claims={
        "l2-costs": ratio("loss", "l2 norm", over=SOFTMAX, at_least=1.02),
        "gate-helps": ratio("loss", "softmax + URPE", over=SOFTMAX, at_most=0.98),
    },
    accepts="texts",
    seeds={"full": 5},
    figures=(Dots("loss", ("l2-costs", "gate-helps")),),
)

EXPERIMENT = Experiment(__doc__, (PLACES, EQUAL, LONGER, MASKED), units={"loss": "nats", "training loss": "nats"})
