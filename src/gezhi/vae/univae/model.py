"""The model: a Transformer over a text and its copy, with a code in the place of the first token in its last layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi._checks import check_choice, check_integer, check_number, invalid
from gezhi.nn.attention import Mask
from gezhi.nn.transformer import Transformer, TransformerConfig
from gezhi.vae.latent import LOG_VARIANCES, Gaussian, Point
from gezhi.vae.univae.masks import univae_masks
from gezhi.vae.univae.sphere import VonMisesFisher, vmf_kl

POSTERIORS = ("vmf", "gaussian", "none")


class UniVAEOutput(NamedTuple):
    """Of one pass.

    Attributes:
        loss: nats for each token that is no padding, the divergence shared among them where it is trained.
        logits: (batch, n_out, vocab): after output token i, of token i + 1.
        mean: (batch, codes, latent_dim).
        kl: nats of all codes of a text, mean over the batch; a constant for "vmf", 0 for "none".
    """

    loss: Tensor
    logits: Tensor
    mean: Tensor
    kl: Tensor


class UniVAE(nn.Module):
    r"""One Transformer that encodes a text and writes it again, through a few codes alone.

    The text stands before its copy. In the first layers neither sees the other; before each of the last ones the state
    at position 0 is replaced by a code of itself, and the copy sees that position and nothing else of the text.

    Args:
        config: of a `Transformer` with head="lm" (or "mlm"), without causality of its own and with a dense kernel.
        n_latent_layers: how many of the last layers take a code, 1 to all of them; the article takes 4 of 12.
        latent_dim: numbers of a code, ≥ 2; the article takes 16.
        posterior: "vmf", directions with noise of a fixed concentration, so that the code cannot collapse; "gaussian",
            whose divergence is trained; "none", without noise.
        concentration: κ > 0 of "vmf"; the article takes 32.
        max_length: tokens of the text, to which each is padded, so that where the copy begins tells no length.
        pad, begin, end: numbers of the tokens for padding, [CLS] and [SEP].
        quantizer: called on the means before noise, such as one of a VQ-VAE.
    Errors: ValueError naming the argument; for texts longer than `max_length` too.
    References: 苏剑林, UniVAE:基于Transformer的单模型、多尺度的VAE模型, 2021.
    """

    def __init__(
        self,
        config: TransformerConfig,
        n_latent_layers: int = 4,
        latent_dim: int = 16,
        *,
        posterior: Literal["vmf", "gaussian", "none"] = "vmf",
        concentration: float = 32.0,
        max_length: int = 32,
        pad: int = 0,
        begin: int = 1,
        end: int = 2,
        quantizer: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_choice("posterior", posterior, POSTERIORS)
        self.n_latent_layers = check_integer("n_latent_layers", n_latent_layers, at_least=1, at_most=config.num_layers)
        self.latent_dim = check_integer("latent_dim", latent_dim, at_least=2)
        self.concentration = check_number("concentration", concentration, above=0)
        self.max_length = check_integer("max_length", max_length, at_least=1)
        if config.causal or config.head == "none":
            raise invalid("config", "have a head and no causality of its own", f"{config.causal=}, {config.head=}")
        self.posterior, self.quantizer = posterior, quantizer
        self.pad, self.begin, self.end = pad, begin, end
        self.transformer = Transformer(config)
        width = (2 if posterior == "gaussian" else 1) * latent_dim
        self.to_code = nn.ModuleList(nn.Linear(config.dim, width) for _ in range(n_latent_layers))
        self.from_code = nn.ModuleList(nn.Linear(latent_dim, config.dim) for _ in range(n_latent_layers))

    def forward(self, ids: Tensor, *, generator: torch.Generator | None = None) -> UniVAEOutput:
        """The loss of writing texts again; ids (batch, ≤ max_length) begin with [CLS] and are padded at the end."""
        ids = self._padded(ids)
        keys = ids != self.pad
        codes = Codes(self, noise=True, generator=generator)
        hidden = self._run(torch.cat([ids, ids], 1), univae_masks(self.max_length, self.max_length, keys, keys), codes)
        logits = self.transformer.logits(hidden[:, self.max_length :])
        targets = ids[:, 1:].masked_fill(~keys[:, 1:], -100)
        misses = F.cross_entropy(logits[:, :-1].mT, targets, ignore_index=-100, reduction="sum")
        kl = codes.divergence(len(ids))
        trained = kl * len(ids) if self.posterior == "gaussian" else 0.0
        return UniVAEOutput((misses + trained) / (targets != -100).sum(), logits, codes.stacked(), kl)

    @torch.no_grad()
    def encode(self, ids: Tensor) -> Tensor:
        """Mean codes of texts, (batch, codes, latent_dim), the first layer's first; from the text alone."""
        ids = self._padded(ids)
        keys = ids != self.pad
        keys[:, 0] = True
        codes = Codes(self, noise=False)
        self._run(ids, [Mask(keys=keys)] * 2, codes)
        return codes.stacked()

    @torch.no_grad()
    def decode(self, z: Tensor, max_length: int | None = None) -> Tensor:
        """Texts of codes, the likeliest token at each place until [SEP]: (batch, ≤ max_length), padded after it.

        Args:
            z: (batch, codes, latent_dim); of "vmf", unit vectors.
            max_length: of a text, at most and by default the model's.
        Cost: a pass over the whole sequence a token.
        """
        self._check_codes(z)
        longest = check_integer("max_length", max_length or self.max_length, at_least=1, at_most=self.max_length)
        before = torch.full((len(z), self.max_length), self.pad, device=z.device)
        before[:, 0] = self.begin
        out = torch.full((len(z), 1), self.begin, device=z.device)
        while out.shape[1] < longest and not (out == self.end).any(1).all():
            logits = self.given(z, torch.cat([before, out], 1), out.shape[1])
            following = logits[:, -1].argmax(-1, keepdim=True)
            out = torch.cat([out, following.masked_fill((out == self.end).any(1, keepdim=True), self.pad)], 1)
        return out

    def given(self, z: Tensor, ids: Tensor, n_out: int) -> Tensor:
        """Logits after each output token, for codes that are given: what the rest of the text holds does not matter."""
        masks = univae_masks(ids.shape[1] - n_out, n_out)
        return self.transformer.logits(self._run(ids, masks, Codes(self, noise=False, given=z))[:, -n_out:])

    def sample(self, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Texts of random codes: directions for "vmf", normal numbers else."""
        z = torch.empty(count, self.n_latent_layers, self.latent_dim).normal_(generator=generator)
        return self.decode(F.normalize(z, dim=-1) if self.posterior == "vmf" else z)

    def _run(self, ids: Tensor, masks: tuple[Mask, Mask] | list[Mask], codes: Codes) -> Tensor:
        first = len(self.transformer.layers) - self.n_latent_layers
        each = [masks[0]] * first + [masks[1]] * self.n_latent_layers

        def replaced(index: int, x: Tensor) -> Tensor:
            return x if index < first else torch.cat([codes(index - first, x[:, 0])[:, None], x[:, 1:]], 1)  # (3)

        return self.transformer(ids, mask=each, before_layer=replaced)  # type: ignore[no-any-return]

    def _padded(self, ids: Tensor) -> Tensor:
        if ids.ndim != 2 or not 1 <= ids.shape[1] <= self.max_length:
            must = f"be (batch, tokens) with at most max_length = {self.max_length} tokens"
            raise invalid("ids", must, tuple(ids.shape), "Cut the texts.")
        return F.pad(ids, (0, self.max_length - ids.shape[1]), value=self.pad)

    def _check_codes(self, z: Tensor) -> None:
        if z.ndim != 3 or z.shape[1:] != (self.n_latent_layers, self.latent_dim):
            raise invalid("z", f"have the shape (batch, {self.n_latent_layers}, {self.latent_dim})", tuple(z.shape))
        if self.posterior == "vmf" and not float((z.norm(dim=-1) - 1).abs().max()) < 1e-3:
            raise invalid("z", "hold unit vectors", f"lengths up to {float(z.norm(dim=-1).max()):g}", "Normalise them.")


class Codes:
    """Replaces states by codes, layer by layer, and remembers their means; or by codes that are given."""

    def __init__(
        self, model: UniVAE, *, noise: bool, given: Tensor | None = None, generator: torch.Generator | None = None
    ) -> None:
        self.model, self.noise, self.given, self.generator = model, noise, given, generator
        self.laws: list[VonMisesFisher | Gaussian | Point] = []

    def __call__(self, layer: int, state: Tensor) -> Tensor:
        if self.given is not None:
            return self.model.from_code[layer](self.given[:, layer])  # type: ignore[no-any-return]
        law = self._law(self.model.to_code[layer](state))
        self.laws.append(law)
        z = law.rsample(self.generator) if self.noise else _centre(law)
        return self.model.from_code[layer](z)  # type: ignore[no-any-return]

    def _law(self, found: Tensor) -> VonMisesFisher | Gaussian | Point:
        quantizer = self.model.quantizer or (lambda mean: mean)
        if self.model.posterior == "vmf":
            return VonMisesFisher(F.normalize(quantizer(F.normalize(found, dim=-1)), dim=-1), self.model.concentration)
        if self.model.posterior == "none":
            return Point(quantizer(found))
        mean, log_variance = found.chunk(2, -1)
        return Gaussian(quantizer(mean), log_variance.clamp(*LOG_VARIANCES))

    def stacked(self) -> Tensor:
        return torch.stack([_centre(law) for law in self.laws], 1)

    def divergence(self, batch: int) -> Tensor:
        """Of all codes of a text, mean over the batch."""
        if self.model.posterior == "vmf":
            like = self.model.from_code[0].weight
            return like.new_tensor(len(self.laws) * vmf_kl(self.model.latent_dim, self.model.concentration))  # type: ignore[operator]
        found = sum(law.kl().sum() for law in self.laws if not isinstance(law, VonMisesFisher))
        return torch.as_tensor(found) / batch


def _centre(law: VonMisesFisher | Gaussian | Point) -> Tensor:
    return law.loc if isinstance(law, VonMisesFisher) else law.mean
