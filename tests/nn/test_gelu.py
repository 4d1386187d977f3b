"""GELU and its approximations against the tagged formulas, torch and transformers, and their symmetries."""

from __future__ import annotations

import copy
import io
import math
import pickle

import pytest
import torch
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st

from gezhi.data import read
from gezhi.experiments.gelu import Swap, TableSize, swapped, swapped_in_table, swapped_in_text
from gezhi.experiments.setups.bytes import Training
from gezhi.nn import (
    GELU,
    HF_GELU_NAMES,
    detect_gelu_variant,
    error_profile,
    fit_gelu_approximation,
    gelu_erf,
    gelu_sigmoid,
    gelu_tanh,
)

X = torch.linspace(-3, 3, 7, dtype=torch.float64)
SAMPLES = [
    Sample(gelu_erf, (X,)),
    Sample(gelu_tanh, (X,), {"coefficient": 0.045}),
    Sample(gelu_sigmoid, (X,), {"slope": 1.6}),
    *(Sample(GELU(approximate), (X,)) for approximate in ("none", "tanh", "sigmoid")),
    Sample(
        fit_gelu_approximation,
        (gelu_erf, lambda x, p: x * torch.sigmoid(p * x)),
        {"bracket": (1, 3), "grid": 0.1},
        compiles=False,
        differentiable=False,
        reason="a search that ends in Python numbers",
    ),
]

A = math.sqrt(2 / math.pi)
LOCAL = (4 - math.pi) / (6 * math.pi)
FORMS = {"none": gelu_erf, "tanh": gelu_tanh, "sigmoid": gelu_sigmoid}
EVERY_FORM = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
REAL = st.floats(-60, 60)

CHECK_VALUES = [  # x, exact, tanh, logistic, derivative of the exact form
    (-5.0, -1.433257859396e-6, -2.291796197262e-7, -1.007016267352e-3, -7.146946e-6),
    (-3.0, -4.049694094890e-3, -3.637392081773e-3, -1.807130970779e-2, -0.011945647204),
    (-1.0, -0.158655253931457, -0.158808009391723, -0.154204234067179, -0.083315470588),
    (-0.5, -0.154268769362993, -0.154285990174856, -0.149611563393620, 0.132504875344),
    (0.1, 0.053982783727703, 0.053982751045435, 0.054244758083618, 0.579523092025),
    (0.5, 0.345731230637007, 0.345714009825144, 0.350388436606380, 0.867495124656),
    (1.0, 0.841344746068543, 0.841191990608277, 0.845795765932821, 1.083315470588),
    (2.0, 1.954499736103642, 1.954597694087775, 1.935658623144208, 1.085231801078),
    (3.0, 2.995950305905110, 2.996362607918227, 2.981928690292214, 1.011945647204),
]


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def derivative(form, x):
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(form(x).sum(), x)[0]


def reference_erf(x):
    """Equations (2) and (3)."""
    phi = math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    gate = math.erfc(-x / math.sqrt(2)) / 2
    return x * gate, gate + x * phi


def reference_tanh(x, c=0.044715):
    """Equation (4) as it is published, and its derivative."""
    t = math.tanh(A * (x + c * x**3))
    return x / 2 * (1 + t), (1 + t) / 2 + x / 2 * (1 - t * t) * A * (1 + 3 * c * x * x)


def reference_sigmoid(x, slope=1.702):
    """Equation (5), and its derivative."""
    s = 1 / (1 + math.exp(-slope * x))
    return x * s, s + slope * x * s * (1 - s)


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "reference"),
    [(gelu_erf, reference_erf), (gelu_tanh, reference_tanh), (gelu_sigmoid, reference_sigmoid)],
)
def test_each_form_is_its_formula(form, reference):
    x = torch.linspace(-8, 8, 321, dtype=torch.float64).view(3, 107)
    value, slope = torch.tensor([reference(v) for v in x.flatten().tolist()], dtype=torch.float64).mT
    torch.testing.assert_close(form(x).flatten(), value, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(derivative(form, x).flatten(), slope, rtol=1e-13, atol=1e-14)


def test_other_constants_are_the_formula():
    for x in (-6.0, -0.3, 2.5):
        for c in (0.0, LOCAL, 0.2):
            assert gelu_tanh(tensor(x), coefficient=c).item() == pytest.approx(reference_tanh(x, c)[0], abs=1e-14)
        for slope in (0.01, 1, 30.0):
            value, gradient = reference_sigmoid(x, slope)
            assert gelu_sigmoid(tensor(x), slope=slope).item() == pytest.approx(value, rel=1e-13)
            found = derivative(lambda t, slope=slope: gelu_sigmoid(t, slope=slope), tensor(x)).item()
            assert found == pytest.approx(gradient, rel=1e-12)


@pytest.mark.parametrize(("x", "exact", "tanh", "logistic", "slope"), CHECK_VALUES)
def test_check_values(x, exact, tanh, logistic, slope):
    found = [form(tensor(x)).item() for form in FORMS.values()]
    assert found == pytest.approx([exact, tanh, logistic], rel=1e-12)
    assert derivative(gelu_erf, tensor(x)).item() == pytest.approx(slope, abs=6e-13)


def test_the_minimum_of_exact_gelu():
    lowest = tensor(-0.751791524693564)
    assert gelu_erf(lowest).item() == pytest.approx(-0.169971207480, abs=1e-12)
    assert derivative(gelu_erf, lowest).abs().item() < 1e-14


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_equals_torch(approximate):
    x = torch.linspace(-9, 9, 999, dtype=torch.float64)
    ours, theirs = GELU(approximate), torch.nn.GELU(approximate)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=2e-15)
    torch.testing.assert_close(derivative(ours, x), derivative(theirs, x), rtol=0, atol=2e-14)


@pytest.mark.parametrize("name", HF_GELU_NAMES)
def test_equals_the_hugging_face_name(name):
    activation = pytest.importorskip("transformers.activations").ACT2FN[name]
    x = torch.linspace(-9, 9, 999, dtype=torch.float64)
    ours = GELU(HF_GELU_NAMES[name])(x)
    torch.testing.assert_close(ours, activation(x), rtol=0, atol=1e-9)  # some round sqrt(2/pi) to 10 digits
    assert detect_gelu_variant(activation) == HF_GELU_NAMES[name]


def test_slope_one_is_silu():
    torch.testing.assert_close(gelu_sigmoid(X, slope=1), torch.nn.functional.silu(X), rtol=1e-15, atol=0)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_detected(name):
    assert detect_gelu_variant(GELU(name)) == name


# ---- theorem --------------------------------------------------------------------------------------------------------


@given(REAL, st.floats(0, 1), st.floats(0.1, 10))
def test_odd_part_is_half_of_x(x, coefficient, slope):
    x = tensor(x)
    for form in (
        gelu_erf,
        lambda t: gelu_tanh(t, coefficient=coefficient),
        lambda t: gelu_sigmoid(t, slope=slope),
    ):
        torch.testing.assert_close(form(x) - form(-x), x, rtol=1e-15, atol=1e-15)
        torch.testing.assert_close(derivative(form, x) + derivative(form, -x), tensor(1), rtol=0, atol=1e-14)


@EVERY_FORM
def test_value_and_slope_at_zero(form):
    assert form(tensor(0)).item() == 0
    assert derivative(form, tensor(0)).item() == 0.5


@given(REAL)
def test_without_the_cubic_term_tanh_is_logistic(x):
    x = tensor(x)
    torch.testing.assert_close(gelu_tanh(x, coefficient=0), gelu_sigmoid(x, slope=2 * A), rtol=1e-14, atol=0)


def test_the_local_coefficient_leaves_the_fifth_order():
    assert pytest.approx(0.045539924123, abs=1e-12) == LOCAL
    x = tensor(0.08, 0.16)
    gap = 2 * (gelu_erf(x) - gelu_tanh(x, coefficient=LOCAL)) / x  # erf minus tanh
    fifth = gap / x**5
    assert ((4 * fifth[0] - fifth[1]) / 3).item() == pytest.approx(-3.698e-5, rel=2e-3)  # Richardson removes x^7


SIGMOID_GATE = (lambda x, p: torch.sigmoid(p * x), (1, 3))
FITS = {
    "article, b": (
        lambda x: torch.erf(x / math.sqrt(2)),
        (lambda x, b: torch.tanh(A * x + b * x**3), (0.02, 0.06)),
        (0.035677337, 3.57843e-4, (1.24211, 2.59218)),
    ),
    "article, c": (
        torch.special.ndtr,
        (lambda x, c: torch.sigmoid(2 * A * (x + c * x**3)), (0.02, 0.06)),
        (0.0447149115, 1.78921e-4, (1.24211, 2.59218)),
    ),
    "article, logistic": (torch.special.ndtr, SIGMOID_GATE, (1.7017449, 9.45731e-3, (0.57106, 2.04307))),
    "activation, logistic": (
        gelu_erf,
        (lambda x, p: gelu_sigmoid(x, slope=p), (1, 3)),
        (1.772933951, 1.392225e-2, (0.895759, 2.426615)),
    ),
    "activation, tanh": (
        gelu_erf,
        (lambda x, c: gelu_tanh(x, coefficient=c), (0.02, 0.06)),
        (0.0443829441, 3.874188e-4, (1.456149, 2.795079)),
    ),
}


@pytest.mark.parametrize(("target", "family", "expected"), FITS.values(), ids=FITS)
def test_fitted_constants_and_their_two_equal_peaks(target, family, expected):
    fit = fit_gelu_approximation(target, family[0], bracket=family[1], grid=0.01)
    parameter, error, peaks = expected
    assert fit.parameter == pytest.approx(parameter, rel=1e-7)
    assert fit.max_error == pytest.approx(error, rel=1e-5)
    assert fit.peaks == pytest.approx(peaks, abs=6e-6)
    heights = (target(tensor(*fit.peaks)) - family[0](tensor(*fit.peaks), fit.parameter)).tolist()
    assert heights[0] == pytest.approx(-heights[1], rel=1e-6), "the error must change its sign"


@given(st.floats(-5, 5), st.floats(0.1, 5))
def test_the_best_constant_lies_midway(level, swing):
    fit = fit_gelu_approximation(
        lambda x: level + swing * torch.sin(x),
        lambda x, p: torch.full_like(x, p),
        bracket=(-20, 20),
        interval=(0, 2 * math.pi),
        grid=0.05,
    )
    assert fit.parameter == pytest.approx(level, abs=4e-9)  # 1e-10 of the bracket
    assert fit.max_error == pytest.approx(swing, abs=4e-9)
    assert fit.peaks == pytest.approx((math.pi / 2, 3 * math.pi / 2), abs=1e-6)


PROFILES = {  # largest error of the gate and where, of the value and where, of the gradient
    "gelu_new": ("gelu_new", (1.789326e-4, 2.5921), (4.732355e-4, 2.69894), 8.68452e-4),
    "quick_gelu": ("quick_gelu", (9.486324e-3, 0.5715), (2.033487e-2, 2.27040), 2.90720e-2),
    "local": (lambda x: gelu_tanh(x, coefficient=LOCAL), (3.134672e-4, 2.2928), (7.461693e-4, 2.46674), 7.79257e-4),
    "SiLU": (torch.nn.functional.silu, (0.1174021, 1.3245), (0.1930020, 1.96547), 0.159804),
    "Bowling": (
        lambda x: x * torch.sigmoid(1.5976 * x + 0.07056 * x**3),
        (1.414485e-4, 1.4763),
        (3.829471e-4, 2.78300),
        7.85927e-4,
    ),
    "free a and b": (  # rounded to 6 digits; 1.403131e-4 unrounded
        lambda x: x / 2 * (1 + torch.tanh(0.798801 * x + 0.035282 * x**3)),
        (1.404174e-4, 1.4763),
        (3.835987e-4, 2.78216),
        7.84930e-4,
    ),
}


@pytest.mark.parametrize(("form", "gate", "value", "gradient"), PROFILES.values(), ids=PROFILES)
def test_error_profiles(form, gate, value, gradient):
    profile = error_profile(form)
    assert profile.gate == pytest.approx(gate[0], rel=1e-6)
    assert profile.gate_at == pytest.approx(gate[1], abs=6e-5)
    assert profile.value == pytest.approx(value[0], rel=1e-6)
    assert profile.value_at == pytest.approx(value[1], abs=6e-6)
    assert profile.gradient == pytest.approx(gradient, rel=1e-5)


def test_the_exact_form_has_no_error():
    profile = error_profile("none")
    assert (profile.gate, profile.value, profile.gradient) == (0, 0, 0)


def test_relative_error_in_the_left_tail():
    x = tensor(-4, -5, -6)
    exact = gelu_erf(x)
    torch.testing.assert_close(gelu_tanh(x) / exact - 1, tensor(-0.446, -0.840, -0.986), rtol=0, atol=6e-4)
    torch.testing.assert_close(gelu_sigmoid(x) / exact, tensor(34.8, 702.6, 37225), rtol=0.002, atol=0)


# ---- gradient -------------------------------------------------------------------------------------------------------


FORWARD_MODE = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own rules use it


@EVERY_FORM
@FORWARD_MODE
def test_gradients_of_both_orders(form):
    x = torch.randn(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(form, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(form, x)


@EVERY_FORM
@FORWARD_MODE
def test_function_transforms_see_through(form):
    x = torch.randn(5, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(form))(x), derivative(form, x))
    torch.testing.assert_close(torch.func.jacfwd(form)(x).diagonal(), derivative(form, x))


@EVERY_FORM
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_only_the_input_waits_for_the_backward_pass(form, dtype):
    kept = []
    x = torch.randn(1000, dtype=dtype, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        form(x)
    assert [t.data_ptr() for t in kept] == [x.data_ptr()]


@EVERY_FORM
@pytest.mark.compiles
def test_compiled_gradient_equals_eager(form):
    x = torch.randn(9, dtype=torch.float64)
    x = torch.cat([x, tensor(-math.inf, math.inf)])
    compiled = torch.compile(form, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), form(x), rtol=1e-15, atol=1e-15)
    torch.testing.assert_close(derivative(compiled, x), derivative(form, x), rtol=1e-15, atol=1e-15)


# ---- edges ----------------------------------------------------------------------------------------------------------


@EVERY_FORM
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_limits_and_nan(form, dtype):
    x = torch.tensor([-math.inf, math.inf, math.nan, torch.finfo(dtype).min, torch.finfo(dtype).max], dtype=dtype)
    y, slope = form(x), derivative(form, x)
    assert y.dtype == slope.dtype == dtype
    assert y[[0, 3]].tolist() == [0, 0]
    assert y[[0, 3]].signbit().all()
    assert y[[1, 4]].tolist() == x[[1, 4]].tolist()
    assert slope[[0, 1, 3, 4]].tolist() == [0, 1, 0, 1]
    assert y[2].isnan()
    assert slope[2].isnan()


@pytest.mark.parametrize(
    "form", [lambda x: gelu_tanh(x, coefficient=0), lambda x: gelu_sigmoid(x, slope=0.01)], ids=["c=0", "slope=0.01"]
)
def test_limits_with_a_flat_gate(form):
    assert form(tensor(-math.inf, math.inf)).tolist() == [0, math.inf]
    assert derivative(form, tensor(-math.inf, math.inf)).tolist() == [0, 1]


def test_bounds_change_no_value():
    for x in (-37.0, -20.0):
        assert gelu_erf(tensor(x)).item() == pytest.approx(reference_erf(x)[0], rel=1e-11)
        assert derivative(gelu_erf, tensor(x)).item() == pytest.approx(reference_erf(x)[1], rel=1e-11)
    for x in (-400.0, -60.0):
        assert gelu_sigmoid(tensor(x)).item() == pytest.approx(reference_sigmoid(x)[0], rel=1e-12)
        assert derivative(gelu_sigmoid, tensor(x)).item() == pytest.approx(reference_sigmoid(x)[1], rel=1e-12)


@pytest.mark.parametrize(("form", "bound"), [(gelu_erf, 1e-5), (gelu_tanh, 2e-5), (gelu_sigmoid, 2e-6)])
def test_single_precision_keeps_its_relative_accuracy_in_the_tail(form, bound):
    x = torch.linspace(-10, -0.01, 4001)
    exact = form(x.double())
    assert ((form(x) - exact) / exact).abs().max() < bound  # a rounded exponent of -50, -87, -17


@EVERY_FORM
def test_single_precision_gradients(form):
    x = torch.linspace(-10, 10, 8001)
    assert (derivative(form, x) - derivative(form, x.double())).abs().max() < 3e-7  # 1 - σ would give 2e-6


@EVERY_FORM
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_single_precision_rounded(form, dtype):
    x = torch.linspace(-60, 60, 1201).to(dtype)
    assert torch.equal(form(x), form(x.float()).to(dtype))
    assert torch.equal(derivative(form, x), derivative(form, x.float()).to(dtype))


@EVERY_FORM
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3, 4)])
def test_any_shape(form, shape):
    x = torch.randn(shape)
    assert form(x).shape == derivative(form, x).shape == shape


@EVERY_FORM
def test_strides_do_not_matter(form):
    x = torch.randn(6, 8, dtype=torch.float64).mT[::2]
    torch.testing.assert_close(form(x), form(x.contiguous()), rtol=1e-15, atol=0)


# ---- hosts that trace -----------------------------------------------------------------------------------------------


class Layer(torch.nn.Module):
    """Calls the form twice, as a layer and as a function."""

    def __init__(self, approximate):
        super().__init__()
        self.linear, self.activation, self.form = torch.nn.Linear(4, 4), GELU(approximate), FORMS[approximate]

    def forward(self, x):
        return self.form(self.activation(self.linear(x)))


WIDE = torch.linspace(-30, 30, 24).reshape(6, 4)


@pytest.mark.compiles
@pytest.mark.parametrize("approximate", FORMS)
def test_fx_takes_each_form_as_one_node(approximate):
    layer = Layer(approximate)
    traced = torch.fx.symbolic_trace(layer)
    calls = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    assert calls == [FORMS[approximate]] * 2
    for again in (traced, copy.deepcopy(traced), pickle.loads(pickle.dumps(traced)), torch.fx.symbolic_trace(traced)):
        assert torch.equal(again(WIDE), layer(WIDE))
    traced = torch.fx.symbolic_trace(lambda x: gelu_tanh(x, coefficient=0.05) + gelu_sigmoid(x, slope=1.6))
    assert torch.equal(traced(X), gelu_tanh(X, coefficient=0.05) + gelu_sigmoid(X, slope=1.6))


@EVERY_FORM
def test_tensor_subclasses_stay_what_they_are(form):
    class Marked(torch.Tensor):
        pass

    found = form(X.as_subclass(Marked))
    assert type(found) is Marked
    assert torch.equal(found.as_subclass(torch.Tensor), form(X))


@pytest.mark.filterwarnings("ignore")  # the tracer's own
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("approximate", FORMS)
def test_jit_traces_and_saves(approximate, dtype):
    layer, stored = Layer(approximate).to(dtype), io.BytesIO()
    torch.jit.save(torch.jit.trace(layer, WIDE[:2].to(dtype)), stored)
    stored.seek(0)
    loaded = torch.jit.load(stored)
    x, y = (WIDE.to(dtype).requires_grad_() for _ in range(2))
    found, expected = loaded(x), layer(y)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(out.sum(), into)[0] for out, into in ((found, x), (expected, y))))


@pytest.mark.compiles
@pytest.mark.parametrize("approximate", FORMS)
def test_exported_programs_are_equal(approximate):
    layer = Layer(approximate)
    torch.testing.assert_close(torch.export.export(layer, (WIDE,)).module()(WIDE), layer(WIDE))


@pytest.mark.filterwarnings("ignore")  # the exporters' own
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("approximate", FORMS)
def test_onnx_runs_what_both_exporters_write(approximate, dynamo, tmp_path):
    pytest.importorskip("onnxscript")
    runtime, layer, file = pytest.importorskip("onnxruntime"), Layer(approximate), str(tmp_path / "layer.onnx")
    torch.onnx.export(layer, (WIDE,), file, dynamo=dynamo, input_names=["x"], verbose=False)
    (found,) = runtime.InferenceSession(file).run(None, {"x": WIDE.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), layer(WIDE), atol=1e-5, rtol=1e-5)


# ---- errors ---------------------------------------------------------------------------------------------------------


@EVERY_FORM
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
@pytest.mark.wrong_types
def test_only_real_floating_point_is_taken(form, dtype):
    with pytest.raises(TypeError, match=f"x must be a floating-point tensor: got {dtype}"):
        form(torch.ones(3, dtype=dtype))


def line(x, p):
    return p * x


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gelu_tanh(X, coefficient=-0.1), r"coefficient must lie between 0 and .*: got -0.1"),
        (lambda: gelu_tanh(X, coefficient=math.inf), r"coefficient must lie between 0 and .*: got inf"),
        (lambda: gelu_sigmoid(X, slope=0), "slope must lie strictly between 0 and inf: got 0"),
        (lambda: gelu_sigmoid(X, slope=math.nan), "slope must lie strictly between 0 and inf: got nan"),
        (lambda: GELU("quick"), "approximate must be one of 'none', 'tanh', 'sigmoid': got 'quick'"),
        (lambda: error_profile("relu"), "activation must be one of .*'quick_gelu'.*: got 'relu'"),
        (lambda: detect_gelu_variant(torch.relu), "fn must be a form of GELU within 1e-05: got 0.17 from 'none'"),
        (lambda: detect_gelu_variant(lambda x: x * math.nan), "got nan from 'none'"),
        (
            lambda: fit_gelu_approximation(torch.special.ndtr, SIGMOID_GATE[0], bracket=(2, 3)),
            r"bracket must have the best parameter inside: got \(2, 3\), best at its end 2",
        ),
        (
            lambda: fit_gelu_approximation(gelu_erf, line, bracket=(0, 2)),
            r"interval must have the largest error inside: got \(0, 8\), largest at its outer end",
        ),
        (lambda: fit_gelu_approximation(gelu_erf, line, bracket=(2, 1)), r"bracket\[1\] must lie strictly between 2"),
        (lambda: error_profile("tanh", interval=(0, math.inf)), r"interval\[1\] must lie between .*: got inf"),
        (lambda: error_profile("tanh", grid=0), "grid must lie strictly between 0"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.wrong_types
def test_constants_must_be_numbers():
    with pytest.raises(TypeError, match=r"slope must be a number: got '1\.7'"):
        gelu_sigmoid(X, slope="1.7")


# ---- experiment -----------------------------------------------------------------------------------------------------


def test_the_change_of_a_probability_sees_what_turns_no_answer():
    chances = {"none": tensor(0.7, 0.3, 0.4, 0.6).view(2, 2), "tanh": tensor(0.6, 0.4, 0.4, 0.6).view(2, 2)}
    found = swapped(lambda form: chances[form].log(), Swap("none", "tanh"), torch.tensor([0, 0]))
    assert found == pytest.approx({"accuracy": 0.5, "change": -0.05})


@pytest.mark.parametrize(
    ("measure", "data", "size"),
    [
        (swapped_in_table, "digits", TableSize(20, 1)),
        (swapped_in_text, "python-documentation", Training(2, 4, 16, 32, 1)),
    ],
)
def test_a_swap_changes_the_form_and_nothing_else(measure, data, size):
    cases = Swap("none", "none"), Swap("none", "sigmoid"), Swap("none", "none")
    first, swap, again = (measure(case, read(data), 7, size) for case in cases)
    assert first == again
    assert first["change"] == 0 != swap["change"]
