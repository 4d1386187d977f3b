"""Is the space between the codes of a VAE full of valid pictures, and is it the noise that fills it?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi.data import Texts, read
from gezhi.experiments.setups.games import layers
from gezhi.experiments.setups.judging import Case, Judge
from gezhi.experiments.setups.pixels import drawn, framed
from gezhi.experiments.setups.store import kept
from gezhi.experiments.setups.train import fit
from gezhi.lab import Dots, Experiment, Study, better, inside, ratio, two_thirds
from gezhi.lab.reach import reach
from gezhi.vae import VAE, gaussian_kl, interpolate, latent_report, linear_vae

Metrics = Mapping[str, Any]
AE, PENALISED, NOISY = "autoencoder", "penalised codes, no noise", "VAE"

# ---- codes of pictures ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """Updates, width of the code; pictures to train on, to judge by, and to pair."""

    steps: int
    dim: int
    trained: int = 20_000
    judged: int = 5_000
    tested: int = 2_000

    @property
    def parts(self) -> tuple[int, int, int]:
        return self.trained, self.judged, self.tested


@dataclass(frozen=True)
class Arm:
    """Noise or none, the variance of an observation, weight decay of the decoder; a penalty on codes without noise."""

    noise: bool = False
    penalised: bool = False
    variance: float = 0.5
    decay: float = 0.0


# Of s² = 0.02, 0.05 and 0.2, and of a decay of 0, 1e-5 and 1e-4: none is tuned yet; these are the middle ones.
ARMS = {AE: Arm(decay=1e-5), PENALISED: Arm(penalised=True, variance=0.05, decay=1e-4), NOISY: Arm(True, variance=0.05)}


def network(arm: Arm, pixels: int, dim: int, widths: tuple[int, int] = (512, 256)) -> VAE:
    """196-512-256-2d and d-256-512-196; d outputs of the encoder without noise."""
    encoder = nn.Sequential(*layers((pixels, *widths, 2 * dim if arm.noise else dim), nn.ReLU))
    decoder = nn.Sequential(*layers((dim, *widths[::-1], pixels), nn.ReLU), nn.Sigmoid())
    posterior = "gaussian" if arm.noise else "none"
    return VAE(encoder, decoder, dim, posterior=posterior, observation_variance=arm.variance)  # type: ignore[arg-type]


def trained(arm: Arm, train: Tensor, seed: int, size: Size, widths: tuple[int, int] = (512, 256)) -> VAE:
    """AdamW on batches of 128; what is penalised pays ½‖μ‖² a code beside its squared error over 2s²."""
    torch.manual_seed(seed)
    model, draw = network(arm, train.shape[1], size.dim, widths), torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        x = train[torch.randint(len(train), (128,), generator=draw)]
        out = model(x)
        loss: Tensor = out.loss + out.mean.square().sum(1).mean() / 2 if arm.penalised else out.loss
        return loss

    groups: list[dict[str, Any]] = [
        {"params": model.encoder.parameters()},
        {"params": model.decoder.parameters(), "weight_decay": arm.decay},
    ]
    fit(groups, loss, size.steps, rate=1e-3, decay=0.0)
    return model.eval()


def model_of(arm: Arm, train: Tensor, seed: int, size: Size) -> VAE:
    """`trained`, from disk where another study has asked for the same."""
    text = hashlib.sha256(train.numpy().tobytes()).hexdigest()
    recipe = {"code": reach(trained, arm, size.steps, size.dim), "seed": seed, "data": text}
    model = network(arm, train.shape[1], size.dim)
    model.load_state_dict(kept("vae", recipe, lambda: dict(trained(arm, train, seed, size).state_dict())))
    return model.eval()


@lru_cache(maxsize=1)
def judge(case: Case, seed: int, parts: tuple[int, int, int]) -> Judge:
    _, real, other = drawn(case, seed, parts)
    return Judge(case, framed(real, case), framed(other, case))


@lru_cache(maxsize=1)
def balls(case: Case, seed: int, parts: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Features of real pictures, and how far each is from its third neighbour."""
    found = judge(case, seed, parts)
    features = found.features(found.real)
    return features, torch.cdist(features, features).kthvalue(4, dim=1).values


@torch.no_grad()
def valid(rows: Tensor, case: Case, seed: int, size: Size) -> float:
    """Share of pictures within the third neighbour's distance of a real one, in features."""
    centres, radii = balls(case, seed, size.parts)
    features = judge(case, seed, size.parts).features(framed(rows, case))
    return float((torch.cdist(features, centres) <= radii).any(1).double().mean())


VALID, MISS = "valid midpoints", "reconstruction error"


@torch.no_grad()
def midpoints(arm: Arm, case: tuple[Case, int], seed: int, size: Size) -> Metrics:
    """Of pairs of test pictures: how many points half-way between their codes decode to valid pictures."""
    data, dim = case
    size = Size(size.steps, dim, size.trained, size.judged, size.tested)
    train, _, test = drawn(data, seed, size.parts)
    model = model_of(arm, train, seed, size)
    other = test[torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))]
    said = model.decoder(model.law(test).mean)
    between = interpolate(model, test, other, 3)[:, 1]
    judged = {name: valid(x, data, seed, size) for name, x in ((VALID, between), ("valid reconstructions", said))}
    report = latent_report(model, torch.split(test, 1000))
    return {
        **judged,
        "valid mixtures of pixels": valid((test + other) / 2, data, seed, size),
        "valid real pictures": valid(test, data, seed, size),
        MISS: float((said - test).square().sum(1).mean()),
        "active units": report.active_units,
    }


STEPS = 6000
CASES = {f"{name}, d = {dim}": (Case(name), dim) for name in ("digits", "clothes") for dim in (2, 16)}
AGAINST_AE = better(VALID, NOISY, than=AE, by=0.05)
AGAINST_PENALISED = better(VALID, NOISY, than=PENALISED, by=0.05)
MIDPOINTS = Study(
    "midpoints",
    midpoints,
    ARMS,
    CASES,
    {"full": Size(STEPS, 0)},
    claims={
        "fills-gaps": (AGAINST_AE, AGAINST_PENALISED, ratio(MISS, NOISY, over=AE, at_most=1.5)),
        "smoother": AGAINST_AE,
        "by-noise": AGAINST_PENALISED,
    },
    trains=two_thirds("steps"),
    seeds={"full": 5},
    figures=(Dots(VALID, "fills-gaps"), Dots(MISS)),
)

FD = "Fréchet distance"
PRIOR_AE, FITTED_AE, PRIOR_VAE = "autoencoder, prior", "autoencoder, fitted normal law", "VAE, prior"


@torch.no_grad()
def sampled(arm: tuple[Arm, bool], case: tuple[Case, int], seed: int, size: Size) -> Metrics:
    """Of decoded draws from the standard normal law, or from the normal law that fits the training codes."""
    (kind, fits), (data, dim) = arm, case
    size = Size(size.steps, dim, size.trained, size.judged, size.tested)
    train, *_ = drawn(data, seed, size.parts)
    model, draw = model_of(kind, train, seed, size), torch.Generator().manual_seed(seed)
    z = torch.randn(size.tested, dim, generator=draw)
    if fits:
        codes = model.law(train).mean
        z = codes.mean(0) + z @ torch.linalg.cholesky(torch.cov(codes.T).view(dim, dim)).T
    found = judge(data, seed, size.parts)
    return {FD: found.distance(framed(model.decoder(z), data)), "floor": found.floor}


SAMPLES = Study(
    "samples",
    sampled,
    {PRIOR_AE: (ARMS[AE], False), FITTED_AE: (ARMS[AE], True), PRIOR_VAE: (ARMS[NOISY], False)},
    CASES,
    {"full": Size(STEPS, 0)},
    claims={
        "prior-samples": ratio(FD, PRIOR_VAE, over=PRIOR_AE, at_most=0.33),
        "fair-baseline": ratio(FD, FITTED_AE, over=PRIOR_VAE, at_most=1.25),
    },
    trains=two_thirds("steps"),
    seeds={"full": 5},
    figures=(Dots(FD, "prior-samples", log=True),),
)

# ---- the region of the codes ----------------------------------------------------------------------------------------

REGION = "divergence of the region"


def region(arm: Arm, dim: int, seed: int, steps: int) -> Metrics:
    """How far the codes of test digits, as a whole, lie from the standard normal law, by mean and covariance."""
    data = read("digits")
    x = torch.from_numpy(np.asarray(data.X, dtype=np.float32)) / 16
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]
    model = trained(arm, x[:1400], seed, Size(steps, dim), (256, 128))
    report = latent_report(model, [x[1400:]])
    return {REGION: report.moment_kl, "coverage": report.coverage(2.0, generator=torch.Generator().manual_seed(seed))}


CODES = Study(
    "codes",
    region,
    {AE: Arm(), NOISY: Arm(True, variance=0.05)},
    {"d = 2": 2, "d = 8": 8},
    {"smoke": {"d = 2": 3}, "quick": {"d = 2": 500}, "full": 3000},
    claims={"regular-region": ratio(REGION, NOISY, over=AE, at_most=0.1)},
    trains=lambda steps: round(steps * 2 / 3),
    figures=(Dots(REGION, "regular-region", log=True),),
)

# ---- a decoder that could do without the code -----------------------------------------------------------------------

ALPHABET = "abcdefghijklmnopqrstuvwxyz'- "
LENGTH, KL = 28, "divergence of a code"
PLAIN, WARM, BATCH, LAYER = "plain", "warm-up", "batch normalisation", "layer normalisation"


@lru_cache(maxsize=1)
def phrases(data: Texts) -> Tensor:
    """Phrases of 10 to 26 letters between marks, as numbers: 0 is padding, 1 the beginning, 2 the end."""
    parts = {" ".join(part.split()) for text in data.texts for part in re.split(r"[.,;:()\n]", text.lower())}
    known = sorted(p for p in parts if 10 <= len(p) <= LENGTH - 2 and set(p) <= set(ALPHABET))
    rows = [[1, *(ALPHABET.index(c) + 3 for c in p), 2] + [0] * (LENGTH - 2 - len(p)) for p in known]
    return torch.tensor(rows)


def help_texts() -> Texts:
    return Texts(tuple(topics.values()), "Python's help")


class Speller(nn.Module):
    """A recurrent encoder, a code of 8, and a recurrent decoder that is shown each letter before the next."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.letters = nn.Embedding(len(ALPHABET) + 3, 32)
        self.reader, self.writer = nn.GRU(32, 64, batch_first=True), nn.GRU(40, 64, batch_first=True)
        head = VAE(nn.Identity(), nn.Identity(), 8, posterior="batch_norm" if kind == BATCH else "gaussian")
        self.to_code, self.latent = nn.Linear(64, 16), head.latent
        self.norm = nn.LayerNorm(8) if kind == LAYER else nn.Identity()
        self.to_letters = nn.Linear(64, len(ALPHABET) + 3)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Nats a phrase, and nats of its code, means over the batch."""
        seen = self.letters(ids)
        mean, spread = self.to_code(self.reader(seen)[1][0]).chunk(2, 1)
        code = self.latent.infer(torch.cat([self.norm(mean), spread], 1))
        shown = torch.cat([seen[:, :-1], code.z[:, None].expand(-1, LENGTH - 1, -1)], 2)
        logits = self.to_letters(self.writer(shown)[0])
        misses = F.cross_entropy(logits.mT, ids[:, 1:], ignore_index=0, reduction="sum") / len(ids)
        return misses, code.kl.sum(1).mean()


def spelled(kind: str, data: Texts, seed: int, steps: int) -> Metrics:
    """Nats that the code of an unseen phrase carries after training."""
    torch.manual_seed(seed)
    ids, draw, step = phrases(data), torch.Generator().manual_seed(seed), 0
    order = torch.randperm(len(ids), generator=draw)
    test, train, model = ids[order[:200]], ids[order[200:]], Speller(kind)

    def loss() -> Tensor:
        nonlocal step
        misses, kl = model(train[torch.randint(len(train), (32,), generator=draw)])
        step += 1
        whole: Tensor = misses + (min(1.0, 2 * step / steps) if kind == WARM else 1.0) * kl
        return whole

    fit(model.parameters(), loss, steps, rate=3e-3, warmup=0.1)
    with torch.no_grad():
        misses, kl = model.eval()(test)
    return {KL: kl.item(), "loss of a phrase": (misses + kl).item()}


COLLAPSE = Study(
    "collapse",
    spelled,
    {kind: kind for kind in (PLAIN, WARM, BATCH, LAYER)},
    {"phrases of Python's help": help_texts},
    {"smoke": 1, "full": 300},
    claims={
        "batch-norm-keeps": (inside(KL, PLAIN, high=0.1), better(KL, BATCH, than=PLAIN, by=0.5)),
        "layer-norm-fails": better(KL, BATCH, than=LAYER, by=0.5),
    },
    accepts="texts",
    seeds={"full": 5},
    figures=(Dots(KL, "batch-norm-keeps"),),
)

# ---- the linear case ------------------------------------------------------------------------------------------------

SHIFTED, ACTIVE = "difference from the formula", "active units more than the formula's"


def linear(_arm: str, noise: float, _seed: int, steps: int) -> Metrics:
    """A linear VAE trained on all digits by its exact loss, from the optimum with a tenth of noise, against the formula."""
    data = read("digits")
    x = np.asarray(data.X, dtype=np.float64) / 16
    best, draw = linear_vae(x, 16, noise), torch.Generator().manual_seed(0)
    weight = torch.from_numpy(best.weight.copy())
    weight = (
        weight + 0.1 * weight.norm() / weight.numel() ** 0.5 * torch.randn(weight.shape, generator=draw).double()
    ).requires_grad_()
    encoder = torch.from_numpy(best.weight / (np.square(best.weight).sum(0) + noise)).requires_grad_()
    log_variance = torch.zeros(16, dtype=torch.float64, requires_grad=True)
    centred = torch.from_numpy(x - best.mean)
    optimiser = torch.optim.LBFGS([weight, encoder, log_variance], max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        mean = centred @ encoder
        error = (centred - mean @ weight.T).square().sum(1).mean() + (log_variance.exp() * weight.square().sum(0)).sum()
        whole: Tensor = error / (2 * noise) + gaussian_kl(mean, log_variance.expand_as(mean)).sum(1).mean()
        return whole

    def closure() -> float:
        optimiser.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        return value.item()

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    found = turned(weight.detach(), noise)
    return {
        SHIFTED: float((found - torch.from_numpy(best.kl)).abs().max() / best.kl.max()),
        ACTIVE: float((found > 0.01).sum() - (best.kl > 0.01).sum()),
    }


def turned(weight: Tensor, noise: float) -> Tensor:
    """Divergences of the latents once they are turned to perpendicular columns, largest first."""
    sizes = torch.linalg.svdvals(weight).square()
    found: Tensor = (sizes / noise + 1).log() / 2
    return found


LINEAR = Study(
    "linear",
    linear,
    {"trained": "trained"},
    {f"s² = {s}": s for s in (0.05, 0.1, 0.2)},
    {"smoke": 2, "quick": 500, "full": 2000},
    claims={
        "collapse-by-variance": (inside(SHIFTED, "trained", high=0.03), inside(ACTIVE, "trained", -0.5, 0.5)),
    },
    varies="nothing",
)

EXPERIMENT = Experiment(
    __doc__,
    (MIDPOINTS, SAMPLES, CODES, COLLAPSE, LINEAR),
    units={
        VALID: "%", SHIFTED: "%", "valid reconstructions": "%", "valid mixtures of pixels": "%", "valid real pictures": "%",
        REGION: "nats", KL: "nats", "loss of a phrase": "nats", "coverage": "%",
    },
)  # fmt: skip
