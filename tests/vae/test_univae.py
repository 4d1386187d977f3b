"""UniVAE: its masks against loops and what they prove, directions with noise against SciPy, the model's structure."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gezhi.nn import Transformer, TransformerConfig
from gezhi.nn.attention import Mask
from gezhi.vae import UniVAE, VonMisesFisher, univae_masks, vmf_kl
from gezhi.vae.univae.sphere import cosine_table, log_bessel, tilted, vmf_mean_length

VOCAB, LENGTH = 12, 7
SIZES = {"vocab_size": VOCAB, "dim": 16, "num_layers": 3, "num_heads": 2, "head": "lm", "dropout": 0.0}


def model(**choices):
    torch.manual_seed(0)
    choices = {"n_latent_layers": 2, "latent_dim": 4, "max_length": LENGTH, **choices}
    return UniVAE(TransformerConfig(**SIZES, initializer_range=0.3), **choices)


def texts(rows=3):
    ids = torch.randint(3, VOCAB, (rows, LENGTH), generator=torch.Generator().manual_seed(1))
    ids[:, 0] = 1
    for row, length in enumerate(range(LENGTH, LENGTH - rows, -1)):
        ids[row, length - 1] = 2
        ids[row, length:] = 0
    return ids


# ---- reference ------------------------------------------------------------------------------------------------------


def test_the_sheets_masks():
    independent, linked = (mask.tensor(6, 6).long().tolist() for mask in univae_masks(3, 3))
    below = [[0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]]
    assert independent == [[1, 1, 1, 0, 0, 0]] * 3 + below
    assert linked == [[1, 1, 1, 0, 0, 0]] * 3 + [[1, *row[1:]] for row in below]
    assert [int(mask.tensor(9, 9).sum()) for mask in univae_masks(4, 5)] == [31, 36]


@given(st.integers(1, 6), st.integers(1, 6))
def test_masks_are_the_loops(n_in, n_out):
    independent, linked = (mask.tensor(n_in + n_out, n_in + n_out) for mask in univae_masks(n_in, n_out))
    for i in range(n_in + n_out):
        for j in range(n_in + n_out):
            text = i < n_in and j < n_in
            copy = i >= n_in and n_in <= j <= i
            assert independent[i, j].item() == (text or copy)
            assert linked[i, j].item() == (text or copy or j == 0)


MOMENTS = {
    (16, 32): (0.78989522458028, 0.00580214766326, 7.5821443764229),
    (16, 1): (0.062284332675995, 0.0618556717632, 0.031088361315444),
    (8, 16): (0.79933439543089, 0.0113557262801, 3.8227783377003),
    (32, 32): (0.62284493021131, 0.00868316676786, 7.7747051306673),
    (3, 10): (0.90000000412231, 0.00999999175539, 1.9957323168382),
}


@pytest.mark.parametrize(("dim", "kappa"), MOMENTS)
def test_the_sheets_moments(dim, kappa):
    mean, variance, kl = MOMENTS[dim, kappa]
    length = vmf_mean_length(dim, kappa)
    assert length == pytest.approx(mean, abs=1e-12)
    assert 1 - length**2 - (dim - 1) * length / kappa == pytest.approx(variance, abs=1e-11)
    assert vmf_kl(dim, kappa) == pytest.approx(kl, abs=1e-11)


def test_the_sheets_divergence_of_a_narrow_law():
    assert vmf_kl(16, 64) == pytest.approx(12.002611474395, abs=1e-10)


@pytest.mark.parametrize(
    ("cells", "mean"), [(1000, 0.789906305974), (100_000, 0.789895333932), (1_000_000, 0.789895235357)]
)
def test_the_sheets_tables(cells, mean):
    assert cosine_table(16, 32.0, cells).mean().item() == pytest.approx(mean, abs=1e-12)


def test_the_sheets_draw():
    mu, noise = (torch.tensor(x, dtype=torch.float64) for x in ([0.6, 0.8, 0.0], [1.0, -1.0, 2.0]))
    z = tilted(mu, torch.tensor([0.9], dtype=torch.float64), noise)
    np.testing.assert_allclose(z, [0.7399731525605, 0.5700201355797, 0.3570949152865], atol=1e-12)
    assert z.norm().item() == pytest.approx(1)


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "kappa"), [(2, 3.0), (3, 10.0), (5, 0.7), (16, 32.0)])
def test_densities_and_entropies_are_scipys(dim, kappa):
    mu = F.normalize(torch.arange(1.0, dim + 1, dtype=torch.float64), dim=0)
    ours, theirs = VonMisesFisher(mu, kappa), stats.vonmises_fisher(mu.numpy(), kappa)
    z = torch.from_numpy(theirs.rvs(20, random_state=0))
    np.testing.assert_allclose(ours.log_prob(z), theirs.logpdf(z.numpy()), rtol=1e-9)
    assert ours.entropy() == pytest.approx(theirs.entropy(), rel=1e-9)
    area = 2 * math.pi ** (dim / 2) / math.gamma(dim / 2)
    assert ours.kl_to_uniform() == pytest.approx(math.log(area) - theirs.entropy(), rel=1e-8)


@pytest.mark.parametrize(("dim", "kappa"), [(2, 3.0), (3, 10.0), (16, 32.0)])
def test_cosines_of_draws_have_scipys_law(dim, kappa):
    mu = torch.zeros(4000, dim, dtype=torch.float64)
    mu[:, 0] = 1
    ours = VonMisesFisher(mu, kappa).rsample(torch.Generator().manual_seed(0))
    theirs = stats.vonmises_fisher(mu[0].numpy(), kappa).rvs(4000, random_state=1)
    np.testing.assert_allclose(ours.norm(dim=1), 1, atol=1e-9)
    assert stats.ks_2samp(ours[:, 0], theirs[:, 0]).pvalue > 0.01
    assert stats.ks_2samp(ours[:, 1], theirs[:, 1]).pvalue > 0.01


def test_bessel_functions_survive_where_scipys_vanish():
    import mpmath

    for order, x in ((200.0, 1.0), (7.0, 32.0), (0.0, 1e4)):
        assert log_bessel(order, x) == pytest.approx(float(mpmath.log(mpmath.besseli(order, x))), rel=1e-12)


# ---- what the structure promises ------------------------------------------------------------------------------------


@pytest.mark.parametrize("posterior", ["vmf", "gaussian", "none"])
def test_the_copy_sees_the_text_through_its_codes_alone(posterior):
    net = model(posterior=posterior).double()
    z = F.normalize(torch.randn(3, 2, 4).double(), dim=-1)
    ids = texts()
    other = ids.clone()
    other[:, 1:] = torch.randint(3, VOCAB, (3, LENGTH - 1))
    logits = [net.given(z, torch.cat([part, ids], 1), LENGTH) for part in (ids, other)]
    assert torch.equal(*logits)


def test_under_a_unilm_mask_it_would_see_all_of_it():
    net = model().double()
    ids = texts()
    other = ids.clone()
    other[:, 1] = (other[:, 1] + 1) % VOCAB
    mask = Mask(causal=True, prefix=LENGTH)
    hidden = [net.transformer(torch.cat([part, ids], 1), mask=mask)[:, LENGTH:] for part in (ids, other)]
    assert (hidden[0] - hidden[1]).abs().max().item() > 1e-3


def test_the_copy_does_not_see_ahead():
    net = model().double()
    z, ids = F.normalize(torch.randn(3, 2, 4).double(), dim=-1), texts()
    other = ids.clone()
    other[:, 4:] = 5
    logits = [net.given(z, torch.cat([ids, part], 1), LENGTH) for part in (ids, other)]
    torch.testing.assert_close(logits[0][:, :4], logits[1][:, :4])


def test_a_text_codes_the_same_alone_and_beside_its_copy():
    net = model(posterior="none").double()
    out = net(texts())
    torch.testing.assert_close(net.encode(texts()), out.mean)
    short = texts()[2:, : LENGTH - 2]
    torch.testing.assert_close(net.encode(short), net.encode(texts())[2:])


def test_the_divergence_of_directions_is_a_constant():
    net = model()
    assert net(texts()).kl.item() == pytest.approx(2 * vmf_kl(4, 32.0), rel=1e-6)
    assert model(posterior="none")(texts()).kl.item() == 0
    assert model(posterior="gaussian")(texts()).kl.item() > 0


def test_the_loss_is_the_mean_over_what_is_no_padding():
    net = model(posterior="none").double()
    out, total, count = net(texts()), 0.0, 0
    for row, ids in enumerate(texts()):
        for place in range(LENGTH - 1):
            if ids[place + 1] != 0:
                total -= out.logits[row, place].log_softmax(0)[ids[place + 1]].item()
                count += 1
    assert out.loss.item() == pytest.approx(total / count)


def test_codes_follow_the_texts_and_gradients_reach_everything():
    net = model()
    out = net(texts(), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(out.mean.norm(dim=-1), torch.ones(3, 2))
    out.loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_it_learns_to_write_a_few_texts_again():
    net, ids = model(latent_dim=8, concentration=200.0), texts()
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(300):
        optimiser.zero_grad()
        net(ids, generator=torch.Generator().manual_seed(step)).loss.backward()
        optimiser.step()
    net.eval()
    assert torch.equal(net.decode(net.encode(ids)), ids)


def test_decoding_ends_and_pads():
    net = model().eval()
    out = net.sample(4, generator=torch.Generator().manual_seed(0))
    assert out.shape[0] == 4
    assert out.shape[1] <= LENGTH
    assert (out[:, 0] == 1).all()
    for row in out.tolist():
        if 2 in row:
            assert set(row[row.index(2) + 1 :]) <= {0}
    assert net.decode(net.encode(texts()), 2).shape == (3, 2)


def test_a_quantiser_stands_before_the_noise():
    net = model(posterior="none", quantizer=torch.round)
    codes = net.encode(texts())
    torch.testing.assert_close(codes, codes.round())


def test_masks_may_differ_from_layer_to_layer():
    net = Transformer(TransformerConfig(**SIZES)).double()
    ids = texts()
    each = [Mask(causal=True), None, Mask(causal=True)]
    found = net(ids, mask=each)
    x = net.embeddings(ids, None, 0)
    for layer, mask in zip(net.layers, each, strict=True):
        x = layer(x, mask=mask)
    torch.testing.assert_close(found, net.norm(x))
    with pytest.raises(ValueError, match="mask must be one, or one for each of the 3 layers: got 2"):
        net(ids, mask=each[:2])


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: univae_masks(0, 3), "n_in must"),
        (
            lambda: univae_masks(3, 3, torch.ones(2, 4, dtype=torch.bool)),
            r"input_keys must be bool of the shape \(2, 3\)",
        ),
        (lambda: univae_masks(3, 3, torch.ones(2, 3)), "input_keys must be bool"),
        (lambda: vmf_kl(1, 1.0), "dim must"),
        (lambda: vmf_kl(3, 0.0), "concentration must"),
        (lambda: VonMisesFisher(torch.ones(3), 1.0), "loc must hold unit vectors"),
        (lambda: model(n_latent_layers=4), "n_latent_layers must"),
        (lambda: model(n_latent_layers=0), "n_latent_layers must"),
        (lambda: model(latent_dim=1), "latent_dim must"),
        (lambda: model(concentration=0), "concentration must"),
        (lambda: model(posterior="normal"), "posterior must be one of"),
        (lambda: UniVAE(TransformerConfig(vocab_size=5, dim=8, num_heads=2, causal=True, head="lm")), "no causality"),
        (lambda: model()(torch.ones(1, LENGTH + 1, dtype=torch.long)), "Cut the texts"),
        (lambda: model().decode(torch.zeros(1, 2, 4)), "z must hold unit vectors"),
        (lambda: model().decode(torch.zeros(1, 3, 4)), r"z must have the shape \(batch, 2, 4\)"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
