"""Training of small diffusion models: it stops and goes on exactly, its files are whole, pictures are as they were."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gezhi.data import Images
from gezhi.diffusion import ResidualHead, with_features
from gezhi.diffusion.denoiser import Denoiser
from gezhi.experiments.setups.denoisers import MLP, UNet, waves
from gezhi.experiments.setups.diffusion import BEDS, SCHEDULE, load, noise, save, train, untrained
from gezhi.experiments.setups.loop import Loop, averaged
from gezhi.experiments.setups.pictures import dequantised, grid, prepared, save_grid

TINY = replace(BEDS["digits"], width=16, batch=8, steps=12)
TINY_PICTURES = replace(BEDS["clothes"], shape=(1, 8, 8), width=8, batch=4, steps=4)


def weights(model: Denoiser) -> torch.Tensor:
    return torch.cat([value.flatten() for value in model.state_dict().values()])


class Broken(Exception):
    """The power fails."""


def failing_at(step: int):
    def watch(done: int, _losses: dict[str, float]) -> None:
        if done == step:
            raise Broken

    return watch


# ---- the loop -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bed", [TINY, TINY_PICTURES], ids=["mlp", "unet"])
def test_a_training_that_was_broken_off_ends_in_the_same_weights(bed, tmp_path):
    data = TINY.pictures()[:100]
    whole = train(bed, data, 3)
    path = tmp_path / "run.pt"
    with pytest.raises(Broken):
        train(bed, data, 3, path=path, every=2, watch=failing_at(4))
    told = []
    resumed = train(bed, data, 3, path=path, every=2, watch=lambda done, _: told.append(done))
    assert told[0] == 4  # what was done after the checkpoint is done again, no more
    assert told[-1] == bed.steps
    assert torch.equal(weights(resumed), weights(whole))
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


def test_what_the_global_generator_draws_goes_on_too(tmp_path):
    """Dropout asks the global generator, which the loop did not seed."""

    def trained(path: Path | None, stop: int | None) -> torch.Tensor:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimiser = torch.optim.Adam(net.parameters(), 0.01)

        def update(draw):
            loss = net(torch.randn(4, 3, generator=draw)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            return {"loss": loss.detach()}

        watch = failing_at(stop) if stop else None
        Loop(update, {"net": net, "adam": optimiser}, {}, torch.Generator().manual_seed(1), path, 3, watch).run(10)
        return torch.cat([p.flatten() for p in net.parameters()])

    whole, path = trained(None, None), tmp_path / "net.pt"
    with pytest.raises(Broken):
        trained(path, 6)
    torch.rand(5)
    assert torch.equal(trained(path, None), whole)


def looped(path, config=None, loss=1.0):
    model = nn.Linear(1, 1)
    return Loop(lambda draw: {"loss": torch.tensor(loss)}, {"model": model}, config or {}, torch.Generator(), path)


def test_a_checkpoint_of_another_config_is_refused_and_the_differences_are_named(tmp_path):
    path = tmp_path / "c"
    looped(path, {"width": 8, "rate": 0.1, "old": 1}).run(1)
    with pytest.raises(ValueError, match="old: 1 there, absent here; width: 8 there, 16 here"):
        looped(path, {"width": 16, "rate": 0.1}).run(2)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("what", ["words", "empty", "a tensor", "a pickle that runs"])
def test_a_file_that_is_no_checkpoint_is_refused_and_stays(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c"
    if what == "a tensor":
        torch.save(torch.ones(1), path)
    elif what == "a pickle that runs":
        torch.save(Evil(), path)
    else:
        path.write_text("" if what == "empty" else "not a checkpoint")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="path must be a checkpoint"):
        looped(path).run(1)
    assert path.read_bytes() == before
    assert not (tmp_path / "evil").exists()


def test_a_checkpoint_that_could_not_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    path = tmp_path / "c"
    looped(path).run(1)
    before = path.read_bytes()

    def half(_state, file):
        Path(file).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        looped(path).run(2)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_losses_that_explode_are_named_and_not_saved(loss, tmp_path):
    path = tmp_path / "c"
    looped(path).run(3)
    before = path.read_bytes()
    with pytest.raises(FloatingPointError, match=r"loss 'loss' must stay finite: .* before number 5.*step size"):
        looped(path, loss=loss).run(5)
    assert path.read_bytes() == before


def test_losses_are_told_as_means_since_the_last_time():
    values, told = iter([1.0, 3.0, 5.0, 7.0, 20.0]), []
    loop = looped(None)
    loop.update = lambda draw: {"loss": torch.tensor(next(values))}
    loop.every, loop.watch = 2, lambda done, losses: told.append((done, losses["loss"]))
    loop.run(5)
    assert told == [(2, 2.0), (4, 6.0), (5, 20.0)]


def test_the_average_follows_the_weights():
    model = nn.Linear(2, 1)
    average, expected = averaged(model, 0.9), None
    for _ in range(4):
        with torch.no_grad():
            model.weight += torch.rand(1, 2)
        average.update_parameters(model)
        now = model.weight.detach()
        expected = now.clone() if expected is None else 0.9 * expected + 0.1 * now  # the first is taken as it is
    torch.testing.assert_close(average.module.weight.detach(), expected)
    with pytest.raises(ValueError, match="decay"):
        averaged(model, 1.0)


# ---- networks and files ---------------------------------------------------------------------------------------------


def test_training_lowers_the_loss():
    told = []
    bed = replace(TINY, steps=240, width=64, batch=64)
    train(bed, TINY.pictures(), 0, every=60, watch=lambda _, losses: told.append(losses["loss"]))
    assert told[-1] < 0.9 * told[0]


def test_the_seed_alone_decides_and_the_global_generator_is_left_alone():
    data, state = TINY.pictures()[:50], torch.get_rng_state()
    first, again, other = (weights(train(replace(TINY, steps=3), data, seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("make", [MLP, UNet])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 16)])
def test_networks_tell_times_apart_and_show_their_trunk(make, shape):
    torch.manual_seed(0)
    net = make(shape, width=8)
    x, times = torch.randn(2, *shape), torch.tensor([3, 700])
    out, features = with_features(net, "trunk")(x, times)
    assert out.shape == x.shape
    assert features.shape[1] == net.features
    assert not torch.equal(net(x, times.flip(0)), out)
    one_by_one = torch.cat([net(x[i : i + 1], times[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(one_by_one, out)


def test_a_head_reads_the_trunk():
    net = untrained(TINY_PICTURES, 0)
    head = ResidualHead(net.features, 1, kernel_size=3)
    model = Denoiser(with_features(net, "trunk"), SCHEDULE, head=head)
    x = noise(TINY_PICTURES, 2, torch.Generator())
    assert model(x, 10).second_moment.shape == x.shape


def test_waves_are_those_of_the_formula():
    found = waves(torch.tensor([5]))[0]
    expected = [f(5 / 10_000 ** (i / 32)) for f in (np.sin, np.cos) for i in range(32)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_unet_halves_twice():
    with pytest.raises(ValueError, match=r"shape must have sides that 4 divides: got \(1, 14, 14\)"):
        UNet((1, 14, 14))


def test_a_saved_model_is_the_same(tmp_path):
    model, path = TINY_PICTURES.model(untrained(TINY_PICTURES, 5)), tmp_path / "model.safetensors"
    save(path, model, TINY_PICTURES)
    found, bed = load(path)
    assert bed == TINY_PICTURES
    x = noise(bed, 2, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found(x, 100).mean, model(x, 100).mean)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="path must be a diffusion model that was saved here"):
        load(path)


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_pictures_lie_between_minus_one_and_one():
    bytes_ = np.array([[[0, 255], [51, 102]]], dtype=np.uint8)
    found = prepared(Images(bytes_, np.zeros(1), ("a",), "x"))
    torch.testing.assert_close(found, torch.tensor([[[[-1.0, 1.0], [-0.6, -0.2]]]]))
    pooled = prepared(Images(bytes_, np.zeros(1), ("a",), "x"), side=1, padded=4)
    assert pooled.shape == (1, 1, 4, 4)
    assert pooled[0, 0, 1, 1] == pytest.approx(-0.2)
    assert pooled.sum() == pytest.approx(-15.2)
    shares = prepared(Images(bytes_ / 510, np.zeros(1), ("a",), "x"))
    torch.testing.assert_close(shares, found)
    colour = prepared(Images(np.zeros((5, 6, 7, 3), np.uint8), np.zeros(5), ("a",), "x"))
    assert colour.shape == (5, 3, 6, 7)


def test_dequantised_pictures_fill_the_range_and_round_to_what_they_were():
    x = BEDS["digits"].pictures()
    found = dequantised(x, 17, torch.Generator().manual_seed(0))
    assert -1 <= found.min() < -0.99
    assert 0.99 < found.max() <= 1
    assert torch.equal(((found + 1) / 2 * 17).floor(), (x + 1) * 8)


def test_a_grid_holds_each_picture_in_its_place(tmp_path):
    x = torch.tensor([-1.0, 0.0, 1.0])[:, None, None, None].expand(3, 1, 2, 3)
    found = grid(x, columns=2)
    assert found.shape == (5, 7)
    assert found.dtype == np.uint8
    assert (found[:2, :3], found[:2, 4:]) == (pytest.approx(0), pytest.approx(128))
    assert (found[3:, :3] == 255).all()
    assert (found[3:, 4:] == 0).all()
    assert grid(x.expand(3, 3, 2, 3)).shape == (5, 7, 3)
    path = tmp_path / "grid.png"
    save_grid(path, x, 2)
    assert np.array_equal(np.asarray(Image.open(path)), found)
    with pytest.raises(ValueError, match="x must be pictures"):
        grid(x[:0])
