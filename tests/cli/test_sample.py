"""`gezhi sample`: every source and method, what is written and kept, and one sentence where something is wrong."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from cli.answers import sentence, words
from PIL import Image
from typer.testing import CliRunner

from gezhi.cli import sampling, sampling_steps, sampling_training
from gezhi.cli.app import app
from gezhi.cli.bars import Bars
from gezhi.data import load
from gezhi.diffusion import ddim_step, dpmpp_2m, sample, timestep_subsequence
from gezhi.experiments.setups import diffusion
from gezhi.experiments.setups.diffusion import BEDS
from gezhi.experiments.setups.pictures import grid

METHODS = ("ddim", "ddpm", "ddpm-large", "analytic-dpm", "npr-dpm", "sn-dpm", "dpm-solver")
FEW = ("--updates", "3", "--steps", "4", "--count", "5")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The cache of data and models, shared by the tests of this file."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path, cache):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("GEZHI_DATA", str(cache))
    monkeypatch.setattr(sampling_steps, "HEAD_UPDATES", 3)
    monkeypatch.setattr(sampling_steps, "DRAWS", 40)


@pytest.fixture
def gezhi():
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def pictures(tmp_path):
    """A user's pictures, 9 × 10 in colour."""
    images = np.random.default_rng(0).integers(0, 256, (30, 9, 10, 3)).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", images=images)
    return tmp_path / "mine.npz"


def drawn(path):
    with np.load(path) as arrays:
        return arrays["samples"]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


# ---- what is drawn --------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*of the head's variances are negative")  # after hardly any training
@pytest.mark.parametrize("method", METHODS)
def test_every_method_draws(gezhi, tmp_path, method):
    result = gezhi("sample", "digits", *FEW, "--method", method)
    assert result.exit_code == 0
    note = r"(Note: \d+% of the head's variances are negative and count as 0\.\n)?" if method == "sn-dpm" else ""
    assert re.fullmatch(
        rf"{note}5 pictures \(digits\) by {method} in 4 steps(, η = 0)?: \d+\.\d s\nsamples\.png\nsamples\.npz\n",
        result.stderr,
    )
    assert result.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples.npz", "samples.png"]
    found = drawn("samples.npz")
    assert found.shape == (5, 1, 8, 8)
    assert np.isfinite(found).all()
    assert found.std() > 0.05
    assert np.array_equal(pixels("samples.png"), grid(torch.from_numpy(found)))


@pytest.mark.filterwarnings("ignore:.*of the head's variances are negative")  # after hardly any training
def test_methods_differ_and_the_seed_decides(gezhi):
    found = {}
    for method in METHODS:
        gezhi("sample", "digits", *FEW, "--method", method, "-o", f"{method}.npz")
        found[method] = drawn(f"{method}.npz")
    assert not any(np.array_equal(found[a], found[b]) for a in METHODS for b in METHODS if a < b)
    gezhi("sample", "digits", *FEW, "-o", "again.npz")
    assert np.array_equal(drawn("again.npz"), found["analytic-dpm"])
    gezhi("sample", "digits", *FEW, "--seed", "1", "-o", "other.npz")
    assert np.abs(drawn("other.npz") - found["analytic-dpm"]).max() > 0.1
    gezhi("sample", "digits", *FEW, "--eta", "1", "-o", "eta.npz")
    assert np.abs(drawn("eta.npz") - found["analytic-dpm"]).max() > 0.01


@pytest.mark.parametrize(("method", "step"), [("ddim", ddim_step(clip_x0=(-1, 1))), ("dpm-solver", dpmpp_2m)])
def test_pictures_are_those_of_the_sampler(gezhi, tmp_path, monkeypatch, method, step):
    monkeypatch.setattr(sampling, "ROWS", 3)
    flags = ("--steps", "4", "--count", "5", "--spacing", "leading", "--method", method, "--seed", "7")
    gezhi("sample", "digits", "--updates", "3", *flags, "--keep", "models/digits.safetensors", "-o", "a.npz")
    model, bed = diffusion.load(tmp_path / "models" / "digits.safetensors")
    assert bed.steps == 3
    draw = torch.Generator().manual_seed(7)
    times = timestep_subsequence(1000, 4, "leading")
    expected = [sample(model, torch.randn(n, 64, generator=draw), times, step, generator=draw) for n in (3, 2)]
    np.testing.assert_allclose(drawn("a.npz"), torch.cat(expected).detach().view(5, 1, 8, 8), atol=1e-6)
    gezhi("sample", "models/digits.safetensors", *flags, "-o", "b.npz")
    assert np.array_equal(drawn("b.npz"), drawn("a.npz"))


def test_the_training_s_pictures_are_known_of_a_standing_set_alone(gezhi, pictures):
    gezhi("sample", "digits", *FEW, "--keep", "digits.safetensors")
    assert gezhi("sample", "digits.safetensors", "--steps", "4", "--count", "2").exit_code == 0
    assert gezhi("sample", pictures, *FEW, "--keep", "mine.safetensors").exit_code == 0
    message = sentence(gezhi("sample", "mine.safetensors", "--steps", "4"))
    assert message.startswith("--data must be given, for analytic-dpm measures on pictures of the training: got none.")
    assert gezhi("sample", "mine.safetensors", "--data", pictures, "--steps", "4", "--count", "2").exit_code == 0


@pytest.mark.parametrize("ending", [".npz", "folder"])
def test_pictures_of_one_s_own(gezhi, tmp_path, pictures, ending):
    source = pictures
    if ending == "folder":
        source = tmp_path / "mine"
        with np.load(pictures) as arrays:
            for number, image in enumerate(arrays["images"]):
                place = source / f"class{number % 2}"
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(place / f"{number}.png")
    result = gezhi("sample", source, *FEW, "-o", "mine-grid.png", "-o", "mine-drawn.npz")
    assert result.exit_code == 0
    assert drawn("mine-drawn.npz").shape == (5, 3, 12, 12)  # padded until 4 divides the sides
    assert pixels("mine-grid.png").shape == (2 * 13 - 1, 3 * 13 - 1, 3)
    again = load("images", tmp_path / "mine-drawn.npz")
    assert again.images.dtype == np.uint8
    assert again.images.shape == (5, 12, 12, 3)


def test_a_summary_for_programs(gezhi):
    result = gezhi("sample", "digits", *FEW, "--json")
    found = json.loads(result.stdout)
    assert found.pop("seconds") >= 0
    assert found == {
        "source": "digits", "method": "analytic-dpm", "eta": 0.0, "steps": 4, "times": [1, 334, 667, 1000], "count": 5,
        "seed": 0, "files": ["samples.png", "samples.npz"],
    }  # fmt: skip
    assert json.loads(gezhi("sample", "digits", *FEW, "--method", "ddpm", "--json").stdout)["eta"] is None


def test_in_chinese(gezhi):
    text = gezhi("sample", "digits", *FEW, "--lang", "zh").stderr
    assert re.match(r"5 张图片（digits），analytic-dpm，4 步，η = 0，\d+\.\d 秒\n", text)


# ---- training -------------------------------------------------------------------------------------------------------


def test_a_training_that_was_broken_off_goes_on(gezhi, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling_training, "EVERY", 2)
    flags = ("--updates", "7", "--steps", "3", "--count", "2", "--method", "ddim")
    monkeypatch.setenv("GEZHI_DATA", str(tmp_path / "whole"))
    gezhi("sample", "digits", *flags, "-o", "whole.npz")
    monkeypatch.setenv("GEZHI_DATA", str(tmp_path / "parts"))
    told = []

    def bar_until(stop):
        @contextmanager
        def bar(_self, _words, _total):
            def move(done, _more):
                told.append(done)
                if done == stop:
                    raise KeyboardInterrupt

            yield move

        return bar

    with monkeypatch.context() as patch:
        patch.setattr(Bars, "bar", bar_until(6))
        result = gezhi("sample", "digits", *flags, "-o", "parts.npz")
    assert result.exit_code == 130
    assert "run the same command again to go on" in result.stderr
    assert told == [2, 4, 6]
    assert not (tmp_path / "parts.npz").exists()
    made = tmp_path / "parts" / "made"
    assert [path.suffix for path in sorted(made.iterdir())] == [".checkpoint", ".lock"]
    told.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Bars, "bar", bar_until(None))
        gezhi("sample", "digits", *flags, "-o", "parts.npz")
    assert told == [6, 7, 1, 2, 3]  # updates after the checkpoint, then steps
    assert np.array_equal(drawn("parts.npz"), drawn("whole.npz"))
    assert [path.suffix for path in sorted(made.iterdir())] == [".lock", ".safetensors"]


def test_a_model_is_trained_once(gezhi, monkeypatch):
    gezhi("sample", "digits", *FEW)
    monkeypatch.setattr(diffusion, "train", None)
    monkeypatch.setattr(sampling_steps, "train_variance_head", None)
    assert gezhi("sample", "digits", *FEW).exit_code == 0


def test_variances_are_measured_and_heads_trained_once(gezhi, monkeypatch):
    for method in ("analytic-dpm", "npr-dpm"):
        gezhi("sample", "digits", *FEW, "--method", method, "-o", f"{method}.npz")
    monkeypatch.setattr(sampling_steps, "estimate_x0_variance", None)
    monkeypatch.setattr(sampling_steps, "train_variance_head", None)
    for method in ("analytic-dpm", "npr-dpm"):
        assert gezhi("sample", "digits", *FEW, "--method", method, "-o", "again.npz").exit_code == 0
        assert np.array_equal(drawn("again.npz"), drawn(f"{method}.npz"))


def test_the_sets_at_hand_have_their_own_networks():
    bed, data = sampling_training.pictures_of("digits")
    assert (bed, data.shape) == (BEDS["digits"], (1797, 1, 8, 8))


# ---- pipelines of diffusers -----------------------------------------------------------------------------------------


@pytest.fixture
def pipeline(tmp_path):
    """A pipeline saved in a folder, and pictures of its size."""
    diffusers = pytest.importorskip("diffusers")
    sizes = {
        "sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "block_out_channels": (8, 16),
        "norm_num_groups": 4, "down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2,
    }  # fmt: skip
    pipe = diffusers.DDPMPipeline(diffusers.UNet2DModel(**sizes).eval(), diffusers.DDPMScheduler())
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(tmp_path / "pipe")
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "eight.npz", images=images)
    return pipe


@pytest.mark.parametrize("method", METHODS)
def test_a_pipeline_draws_by_every_method(gezhi, pipeline, method):
    result = gezhi("sample", "pipe", "--method", method, "--steps", "4", "--count", "5", "--data", "eight.npz")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-3].startswith(f"5 pictures (pipe) by {method} in 4 steps")
    assert drawn("samples.npz").shape == (5, 1, 8, 8)


def test_a_pipeline_draws_what_it_draws_itself(gezhi, pipeline):
    gezhi("sample", "pipe", "--method", "ddim", "--steps", "4", "--count", "5", "--spacing", "leading", "--seed", "3")
    from gezhi.adapters.diffusers import AncestralScheduler

    pipeline.scheduler = AncestralScheduler.from_config(pipeline.scheduler.config)
    drawn_here = pipeline(5, torch.Generator().manual_seed(3), num_inference_steps=4, output_type="pt").images
    np.testing.assert_allclose((drawn("samples.npz") / 2 + 0.5).clip(0, 1), drawn_here.numpy(), atol=1e-5)


def test_what_a_pipeline_brings_is_used(gezhi, tmp_path, pipeline, monkeypatch):
    from gezhi.adapters import diffusers as adapter

    data = torch.rand(20, 1, 8, 8) * 2 - 1
    whole = adapter.measure_variance(pipeline, data, timesteps=[0, 333, 666, 999], num_samples=20)
    adapter.use_analytic_dpm(pipeline, whole).save_pretrained(tmp_path / "measured")
    head = adapter.add_variance_head(pipeline, data, 2, batch_size=4)
    adapter.use_extended_analytic_dpm(pipeline, head).save_pretrained(tmp_path / "headed")
    monkeypatch.setattr(sampling_steps, "estimate_x0_variance", None)
    monkeypatch.setattr(sampling_steps, "train_variance_head", None)
    for folder, method in (("measured", "analytic-dpm"), ("headed", "npr-dpm"), ("headed", "ddim")):
        assert gezhi("sample", folder, "--method", method, "--steps", "4", "--count", "2").exit_code == 0
    for folder, method, steps in (("measured", "analytic-dpm", 5), ("pipe", "npr-dpm", 4), ("headed", "sn-dpm", 4)):
        result = gezhi("sample", folder, "--method", method, "--steps", steps)
        assert sentence(result).startswith(f"--data must be given, for {method} measures on pictures of the training")


def test_a_network_that_returns_nan_is_named(gezhi, tmp_path, pipeline):
    with torch.no_grad():
        pipeline.unet.conv_out.bias.fill_(torch.nan)
    pipeline.save_pretrained(tmp_path / "broken")
    before = sorted(path.name for path in tmp_path.iterdir())
    message = sentence(gezhi("sample", "broken", "--method", "ddim", "--steps", "4"))
    assert message.startswith("states must stay finite: got the first others after step 1, from t=1000 to s=667.")
    message = sentence(gezhi("sample", "broken", "--steps", "4", "--data", "eight.npz"))
    assert message == "model must predict finite values: got nan at t=1."
    assert sorted(path.name for path in tmp_path.iterdir()) == before


# ---- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("nowhere",), "SOURCE or --data must be digits, clothes, mnist-5k, "),
        (("nowhere.safetensors",), "SOURCE must be an existing file: got nowhere.safetensors."),
        (("digits", "--steps", "0"), "--steps must lie between 1 and inf: got 0."),
        (("digits", "--updates", "3", "--steps", "1001"), "--steps must lie between 1 and 1000: got 1001."),
        (("digits", "--updates", "3", "--steps", "40", "--spacing", "quadratic"), "count must give quadratic times that differ: got 40."),
        (("digits", "--count", "0"), "--count must lie between 1 and inf: got 0."),
        (("digits", "--seed", "-1"), "--seed must lie between 0 and"),
        (("digits", "--updates", "0"), "--updates must lie between 1 and inf: got 0."),
        (("digits", "--eta", "2"), "--eta must lie between 0 and 1: got 2.0."),
        (("digits", "--eta", "0.5", "--method", "ddpm"), "--eta must be given for ddim, analytic-dpm, npr-dpm, sn-dpm alone: got 0.5 for ddpm."),
        (("digits", "-o", "out.jpg"), "--output must end in .png or .npz: got out.jpg."),
        (("digits", "--keep", "model.pt"), "--keep must end in .safetensors: got model.pt."),
        (("digits", "--device", "nothing"), "--device must be there: got nothing ("),
        (("text.safetensors",), "path must be a diffusion model that was saved here: got text.safetensors"),
        (("text.safetensors", "--updates", "3"), "--updates must be given for a model that is trained here alone: got 3."),
        (("digits", "--updates", "3", "--data", "mine.npz"), "--data must be pictures of the model's shape, (1, 8, 8): got (3, 12, 12)."),
        (("text.npz",), "text.npz: found "),
        (("folder",), "folder: found "),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(gezhi, tmp_path, pictures, flags, message):
    for name in ("text.safetensors", "text.npz"):
        (tmp_path / name).write_text("no tensors")
    (tmp_path / "folder").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    assert sentence(gezhi("sample", *flags)).startswith(message)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_steps_are_refused_before_the_training(gezhi, monkeypatch):
    monkeypatch.setattr(diffusion, "train", None)
    for flags in (("--steps", "1001"), ("--steps", "40", "--spacing", "quadratic")):
        assert sentence(gezhi("sample", "digits", "--updates", "5", *flags)).endswith(("got 1001.", "that does is 29."))


def test_a_set_that_is_not_at_hand_says_how_to_get_it(gezhi, tmp_path, monkeypatch):
    monkeypatch.setenv("GEZHI_DATA", str(tmp_path / "empty"))
    assert sentence(gezhi("sample", "mnist-5k")).endswith("Run: gezhi data get mnist-5k")


def test_pipelines_that_do_more_are_refused(gezhi, tmp_path, pipeline):
    import diffusers

    vqvae = diffusers.VQModel(block_out_channels=(8,), norm_num_groups=4, num_vq_embeddings=4)
    diffusers.LDMPipeline(vqvae, pipeline.unet, diffusers.DDIMScheduler()).save_pretrained(tmp_path / "latent")
    message = sentence(gezhi("sample", "latent"))
    assert message.startswith(
        "SOURCE must be a pipeline of a unet and a scheduler, which draws pictures from noise alone"
    )
    assert message.endswith("got LDMPipeline of scheduler, unet, vqvae.")


def test_the_folder_of_the_output_is_made_and_a_file_that_is_in_the_way_is_named(gezhi, tmp_path):
    assert gezhi("sample", "digits", *FEW, "-o", "new/deep/grid.png").exit_code == 0
    assert [path.name for path in (tmp_path / "new" / "deep").iterdir()] == ["grid.png"]
    (tmp_path / "file").write_text("")
    assert "file" in sentence(gezhi("sample", "digits", *FEW, "-o", "file/grid.png"))


def test_help_names_the_sources(gezhi):
    text = words(gezhi("sample", "--help").stdout)
    for name in ("digits", "clothes", "diffusers", "--keep", "analytic-dpm"):
        assert name in text
