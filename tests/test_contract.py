"""The contract of the house: what every method must have and keep, by discovery."""

from __future__ import annotations

import copy
import importlib
import io
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from contract import Sample, assert_same, missing_parts, tensors_of

from gezhi._catalogue import Method, methods

ROOT = Path(__file__).parent.parent
METHODS = list(methods().values())


def samples(method: Method) -> list[Sample]:
    """The method's declared samples; none where the file is missing, which `missing_parts` names."""
    name = f"{method.wing}.test_{method.stem}"
    try:
        return list(importlib.import_module(name).SAMPLES)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return []


EVERY = [pytest.param(m, s, id=f"{m.stem}-{s.name}-{i}") for m in METHODS for i, s in enumerate(samples(m))]
BY_METHOD = pytest.mark.parametrize("method", METHODS, ids=[m.stem for m in METHODS])
BY_SAMPLE = pytest.mark.parametrize(("method", "sample"), EVERY)


# ---- the four files -------------------------------------------------------------------------------------------------


def test_every_method_has_its_four_files():
    assert missing_parts(ROOT) == []


TOY = {
    "src/gezhi/theory/toy_mean.py": '"""A toy.\n\nTitle: Toy | 玩具\nTags: toy\nArticles: none\nPage: docs/methods/toy_mean.md\n"""\n__all__ = ["toy_mean"]\ndef toy_mean(x):\n    return sum(x) / len(x)\n',
    "src/gezhi/experiments/toy_mean.py": "EXPERIMENT = None\n",
    "tests/theory/test_toy_mean.py": "SAMPLES = []\n",
    "docs/methods/toy_mean.md": "# Toy\n",
    "docs/methods/toy_mean.zh.md": "# 玩具\n",
}


@pytest.fixture
def house_with_toy(tmp_path):
    """A copy of the house's folders with one more method in them: four files (one in two languages) and a name."""
    for folder in ("src/gezhi", "tests", "docs/methods"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in TOY.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    init = tmp_path / "src/gezhi/theory/__init__.py"
    init.write_text(
        init.read_text("utf-8") + "from gezhi.theory.toy_mean import toy_mean as toy_mean\n", encoding="utf-8"
    )
    return tmp_path


def test_a_toy_method_takes_four_files_and_a_name(house_with_toy):
    assert missing_parts(house_with_toy) == []
    assert "toy_mean" in methods(house_with_toy / "src/gezhi")


@pytest.mark.parametrize("left_out", TOY)
def test_a_missing_part_is_named(house_with_toy, left_out):
    (house_with_toy / left_out).unlink()
    (problem,) = missing_parts(house_with_toy)
    assert "toy_mean" in problem
    assert left_out.replace("theory/", "").split("/")[-1] in problem


def test_a_missing_name_in_the_wing_is_named(house_with_toy):
    init = house_with_toy / "src/gezhi/theory/__init__.py"
    init.write_text(init.read_text("utf-8").replace("from gezhi.theory.toy_mean import toy_mean as toy_mean\n", ""))
    assert missing_parts(house_with_toy) == ["toy_mean: src/gezhi/theory/__init__.py does not export toy_mean"]


# ---- header and public names ----------------------------------------------------------------------------------------


@BY_METHOD
def test_public_names_are_those_of_all(method):
    module = importlib.import_module(method.module)
    wing = importlib.import_module(f"gezhi.{method.wing}")
    assert method.public
    for name in method.public:
        assert getattr(wing, name) is getattr(module, name)
        assert name != method.stem, "a name equal to the module's would hide it"
        assert getattr(module, name).__doc__, f"{name} has no docstring"


@BY_METHOD
def test_code_cites_only_equations_of_its_page(method):
    page = (ROOT / method.page).read_text("utf-8")
    tags = re.findall(r"\\tag\{(\w+)\}", page)
    assert len(tags) == len(set(tags)), "an equation number occurs twice"
    folder = ROOT / "src/gezhi" / method.wing
    files = (
        [folder / f"{method.stem}.py"]
        if (folder / f"{method.stem}.py").exists()
        else (folder / method.stem).glob("*.py")
    )
    cited = {tag for file in files for tag in re.findall(r"#\s\((\w+)\)", file.read_text("utf-8"))}
    assert cited, "no line of code says which equation it computes"
    assert cited <= set(tags), f"cited but not on the page: {sorted(cited - set(tags))}"


@BY_METHOD
def test_every_method_declares_samples(method):
    assert samples(method), f"SAMPLES of tests/{method.wing}/test_{method.stem}.py is empty"
    assert [m.stem for m in METHODS].count(method.stem) == 1, "a stem is unique over the whole house"


# ---- samples --------------------------------------------------------------------------------------------------------


@BY_SAMPLE
def test_input_and_global_generators_are_left_alone(method, sample):
    before = copy.deepcopy((sample.args, dict(sample.kwargs)))
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    sample.fn(*sample.args, **sample.kwargs)
    assert_same(before, (sample.args, dict(sample.kwargs)))
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()


@BY_SAMPLE
def test_same_input_same_output(method, sample):
    assert_same(*(sample.fn(*sample.args, **sample.kwargs) for _ in range(2)))


@BY_SAMPLE
def test_gradients_reach_every_float_tensor(method, sample):
    if not sample.differentiable:
        assert sample.reason
        return
    args = tuple(a.detach().clone().requires_grad_() if _is_float(a) else a for a in sample.args)
    outputs = [t for t in tensors_of(sample.fn(*args, **sample.kwargs)) if _is_float(t)]
    sum(t.sum() for t in outputs).backward()
    for arg in (a for a in args if _is_float(a)):
        assert arg.grad is not None
        assert torch.isfinite(arg.grad).all()


def _is_float(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


@BY_SAMPLE
def test_modules_survive_copy_pickle_and_state_dict(method, sample):
    if not isinstance(sample.fn, torch.nn.Module):
        return
    expected = sample.fn(*sample.args, **sample.kwargs)
    assert_same(copy.deepcopy(sample.fn)(*sample.args, **sample.kwargs), expected)
    assert_same(pickle.loads(pickle.dumps(sample.fn))(*sample.args, **sample.kwargs), expected)
    file = io.BytesIO()
    torch.save(sample.fn.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(sample.fn)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert_same(other(*sample.args, **sample.kwargs), expected)


@pytest.mark.compiles
@BY_SAMPLE
def test_compiled_equals_eager(method, sample):
    if not sample.compiles:
        assert sample.reason
        return
    torch._dynamo.reset()
    compiled = torch.compile(sample.fn, fullgraph=True, backend="aot_eager")
    assert_same(compiled(*sample.args, **sample.kwargs), sample.fn(*sample.args, **sample.kwargs), 1e-6)
