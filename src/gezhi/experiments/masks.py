"""Is the mask all that must change for one Transformer to read in one direction, in any order, and from source to target?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from gezhi.data import Pairs, read
from gezhi.experiments.setups.sequences import BYTES, train
from gezhi.experiments.setups.store import kept
from gezhi.experiments.setups.streams import (
    EncoderDecoder,
    OneStack,
    Recurrent,
    Size,
    Task,
    TwoStreams,
    View,
    items,
)
from gezhi.lab import Dots, Experiment, Study, every, inside, ratio, two_thirds
from gezhi.lab.reach import reach
from gezhi.nn.attention import Mask
from gezhi.nn.masks import padding_mask, permutation_lm_mask, permuted_inputs, prefix_lm_mask

Metrics = Mapping[str, Any]
RATE = 4e-3  # as `urpe` found it for a model of this size on the same answers; not tuned here
ONE_WAY, PERMUTED, TO_TARGET = Task(), Task(shuffled=True), Task(prefix=True, target_alone=True)
CONCATENATED = Task(target_alone=True)
TASKS = (ONE_WAY, PERMUTED, TO_TARGET)

# ---- one Transformer, three masks -----------------------------------------------------------------------------------

Make = Callable[[Size], Any]
SPECIALISTS: Mapping[Task, Make] = {ONE_WAY: OneStack, PERMUTED: TwoStreams, TO_TARGET: EncoderDecoder}


def specialist(task: Task) -> tuple[Make, tuple[Task, ...]]:
    """What one would build for this task alone."""
    return SPECIALISTS[task], (task,)


def alone(task: Task) -> tuple[Make, tuple[Task, ...]]:
    return OneStack, (task,)


def joint(_task: Task) -> tuple[Make, tuple[Task, ...]]:
    """One set of weights for all tasks."""
    return OneStack, TASKS


def told(_task: Task) -> tuple[Make, tuple[Task, ...]]:
    return partial(OneStack, told=True), TASKS


def trained(make: Make, tasks: tuple[Task, ...], ids: Tensor, seed: int, size: Size) -> dict[str, Tensor]:
    """As many updates of each task, in turn."""
    torch.manual_seed(seed)
    model, draw, step = make(size), torch.Generator().manual_seed(seed), 0

    def loss() -> Tensor:
        nonlocal step
        step += 1
        return model.losses(batch(ids, size, draw), tasks[step % len(tasks)], draw).mean()  # type: ignore[no-any-return]

    train(model, loss, size.steps * len(tasks), RATE)
    return model.state_dict()  # type: ignore[no-any-return]


def batch(ids: Tensor, size: Size, draw: torch.Generator) -> Tensor:
    return ids[torch.randint(len(ids), (size.batch,), generator=draw)]


@torch.no_grad()
def loss_of(model: Any, task: Task, ids: Tensor) -> float:
    """Nats a predicted byte; 4 orders that are the same for all, where the order matters."""
    draw = torch.Generator().manual_seed(0)
    rounds = range(4 if task.shuffled else 1)
    return torch.cat([model.losses(part, task, draw) for _ in rounds for part in torch.split(ids, 50)]).mean().item()


def of_task(
    arm: Callable[[Task], tuple[Make, tuple[Task, ...]]], case: tuple[Task, Pairs], seed: int, size: Size
) -> Metrics:
    """Loss of a model in a task, on other items and on those of its training; a model of all tasks is trained once."""
    task, data = case
    make, tasks = arm(task)
    ids, test = items(data, seed, size)
    text = hashlib.sha256(ids.numpy().tobytes()).hexdigest()
    recipe = {"code": reach(trained, make, tasks, size), "seed": seed, "text": text, "updates": size.steps}
    model = make(size)
    model.load_state_dict(kept("masks", recipe, partial(trained, make, tasks, ids, seed, size)))
    return {
        "loss": loss_of(model, task, test),
        "training loss": loss_of(model, task, ids[: len(test)]),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


SEPARATE, JOINT, TOLD = "a model for each task", "one Transformer, three masks", "three masks and the asked position"
PAIRS = lru_cache(maxsize=1)(partial(read, "insuranceqa-en-pairs"))


def asks(task: Task) -> Callable[[], tuple[Task, Pairs]]:
    return lambda: (task, PAIRS())


THREE = Study(
    "three tasks",
    of_task,
    {SEPARATE: specialist, JOINT: joint, TOLD: told},
    {"one direction": asks(ONE_WAY), "permuted order": asks(PERMUTED), "source to target": asks(TO_TARGET)},
    {
        "smoke": {"permuted order": Size(1, 2, 64, 32, tested=4)},
        "full": Size(1000, 8),
    },
    claims={"three-masks": ratio("loss", JOINT, over=SEPARATE, at_most=1.05)},
    trains=two_thirds("steps"),
    seeds={"full": 5},
    figures=(Dots("loss", "three-masks"),),
)


# ---- from source to target ------------------------------------------------------------------------------------------


def of_source(task: Task, data: Pairs, seed: int, size: Size) -> Metrics:
    return of_task(alone, (task, data), seed, size)


CAUSAL, PREFIX = "source seen from the left", "source seen whole"
SOURCES = Study(
    "source and target",
    of_source,
    {CAUSAL: CONCATENATED, PREFIX: TO_TARGET},
    {"insurance questions": PAIRS},
    {"full": Size(800, 8)},
    claims={"source-whole": ratio("loss", PREFIX, over=CAUSAL, at_most=0.98)},
    accepts="pairs",
    seeds={"full": 5},
    figures=(Dots("loss", "source-whole"),),
)


def curve(make: Make, pretrained: int, data: Pairs, seed: int, size: Size) -> list[float]:
    """Loss on test items after every 20 updates and after the last; before them, so many as a masked language model."""
    torch.manual_seed(seed)
    ids, test = items(data, seed, size)
    model, draw, found = make(size), torch.Generator().manual_seed(seed), list[float]()
    if pretrained:
        train(model, lambda: model.masked(batch(ids, size, draw), draw).mean(), pretrained, RATE)
    step = 0

    def loss() -> Tensor:
        nonlocal step
        if step and step % EVERY == 0:
            found.append(loss_of(model, TO_TARGET, test[:100]))
        step += 1
        return model.losses(batch(ids, size, draw), TO_TARGET, draw).mean()  # type: ignore[no-any-return]

    train(model, loss, size.steps, RATE)
    return [*found, loss_of(model, TO_TARGET, test[:100])]


@lru_cache(maxsize=1)
def recurrent_curve(data: Pairs, seed: int, size: Size) -> list[float]:
    return curve(Recurrent, 0, data, seed, size)


def head_start(arm: tuple[Make, float], data: Pairs, seed: int, size: Size) -> Metrics:
    """Updates until the loss falls to that of the GRU after all its updates; all, where it never does."""
    goal = recurrent_curve(data, seed, size)[-1]
    make, share = arm
    losses = curve(make, round(share * size.steps), data, seed, size) if share >= 0 else [goal]
    reached = next((i for i, loss in enumerate(losses) if loss <= goal), len(losses) - 1)
    return {"updates": float(min((reached + 1) * EVERY, size.steps) if share >= 0 else size.steps), "loss": losses[-1]}


EVERY = 20
GRU, SCRATCH, PRETRAINED = "GRU, source to state to target", "prefix mask", "prefix mask, pretrained"
STARTS = Study(
    "a head start",
    head_start,
    {GRU: (Recurrent, -1.0), SCRATCH: (OneStack, 0.0), PRETRAINED: (OneStack, 2.0)},
    {"insurance questions": PAIRS},
    {"smoke": Size(2, 2, 64, 32, tested=4), "full": Size(400, 8)},
    claims={"head-start": ratio("updates", PRETRAINED, over=GRU, at_most=0.5)},
    accepts="pairs",
    seeds={"full": 5},
    figures=(Dots("updates", "head-start", log=True),),
)

# ---- without training -----------------------------------------------------------------------------------------------


def drawn(tokens: int, seed: int, make: Make = OneStack) -> tuple[Any, Tensor, Tensor]:
    """A model in float64, its input, and an order."""
    torch.manual_seed(seed)
    model = make(Size(0, length=tokens, dim=32)).double()
    return model, model.embedded(torch.randint(BYTES, (1, tokens))).detach(), torch.randperm(tokens)


def shuffled(tokens: int, seed: int) -> float:
    """Of the outputs of the permuted mask from those of shuffled inputs with their positions under the causal mask."""
    model, x, order = drawn(tokens, seed)
    stack, positions = model.stack, torch.randn(tokens, x.shape[-1], dtype=x.dtype)
    for layer in stack.layers:
        layer.attention.rotate = None  # positions are added to the tokens, so that they travel along
    masked = stack.encode(x + positions, mask=permutation_lm_mask(order)[0])
    moved, places = permuted_inputs(torch.arange(tokens), order)
    return farthest(masked[:, order], stack.encode(x[:, moved] + positions[places], mask=Mask(causal=True)))


def asked(tokens: int, seed: int, two_streams: bool) -> float:
    """Of what is predicted after the same half of the tokens for one place, from what is predicted for another."""
    model, x, order = drawn(tokens, seed, TwoStreams)
    half, found = tokens // 2, []
    for turn in (0, 1):
        order = torch.cat([order[:half], order[half:].roll(turn)])
        content, strict = permutation_lm_mask(order)
        seen = View(content, strict, order[None], order[None])
        found.append(
            model.asking(x, seen)[:, order[half]]
            if two_streams
            else model.stack.encode(x, mask=content)[:, order[half - 1]]
        )
    return farthest(*found)


def padded(tokens: int, seed: int, hidden: bool) -> float:
    """Of the last target token's output, from what it is with other tokens in the padding, whose segment is 0."""
    model, x, _ = drawn(tokens, seed)
    length = tokens - 4
    segments = torch.cat([torch.zeros(half := length // 2), torch.ones(length - half), torch.zeros(4)]).long()
    mask = prefix_lm_mask(segments, multi=True)
    mask = mask & padding_mask([length], tokens)[0, 0] if hidden else mask
    other = torch.cat([x[:, :length], torch.randn_like(x[:, length:])], 1)
    return farthest(*(model.stack.encode(part, mask=mask)[:, length - 1] for part in (x, other)))


def farthest(left: Tensor, right: Tensor) -> float:
    return (left - right).abs().max().item()


def difference(arm: Callable[[int, int], float], _case: None, seed: int, tokens: int) -> Metrics:
    with torch.no_grad():
        return {"difference": arm(tokens, seed)}


SHUFFLED, ONE_STREAM, TWO_STREAM = "shuffled input", "content stream alone", "with a query stream"
UNPADDED, KEYS = "segments alone", "segments and a padding mask"
EXACT = Study(
    "equalities",
    difference,
    {
        SHUFFLED: shuffled,
        ONE_STREAM: partial(asked, two_streams=False),
        TWO_STREAM: partial(asked, two_streams=True),
        UNPADDED: partial(padded, hidden=False),
        KEYS: partial(padded, hidden=True),
    },
    {"random weights": None},
    every(16),
    claims={
        "shuffled": inside("difference", SHUFFLED, high=1e-9),
        "asked": (inside("difference", ONE_STREAM, high=1e-12), inside("difference", TWO_STREAM, low=1e-3)),
        "padding": (inside("difference", UNPADDED, low=1e-3), inside("difference", KEYS, high=1e-12)),
    },
    seeds={"quick": 20, "full": 20},
    resolution={"difference": 1e-14},  # what is proved to be 0 is so up to rounding
    figures=(Dots("difference", ("shuffled", "asked", "padding"), log=True),),
)

EXPERIMENT = Experiment(__doc__, (THREE, SOURCES, STARTS, EXACT), units={"loss": "nats", "training loss": "nats"})
