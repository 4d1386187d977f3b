"""The three forms of GELU, each with a backward pass that keeps the input alone."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from gezhi._checks import check_choice, check_number, invalid

Form = TypeVar("Form", bound=Callable[..., Tensor])
LARGEST = sys.float_info.max
SQRT_TWO_OVER_PI = math.sqrt(2 / math.pi)
GELUVariant = Literal["none", "tanh", "sigmoid"]
HF_GELU_NAMES: dict[str, GELUVariant] = {
    "gelu": "none",
    "gelu_python": "none",
    "gelu_accurate": "tanh",
    "gelu_fast": "tanh",
    "gelu_new": "tanh",
    "gelu_python_tanh": "tanh",
    "gelu_pytorch_tanh": "tanh",
    "quick_gelu": "sigmoid",
}


def one_node(form: Form) -> Form:
    """A function that torch.fx and tensor subclasses take as a whole, as they take torch's own."""

    @wraps(form)
    def dispatched(x: Tensor, **settings: Any) -> Tensor:
        if has_torch_function_unary(x):
            return handle_torch_function(dispatched, (x,), x, **settings)
        return form(x, **settings)

    return cast(Form, dispatched)


@one_node
def gelu_erf(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Exact GELU, x times the normal distribution function.

    $$x\Phi(x)=\tfrac x2\operatorname{erfc}(-x/\sqrt2) \tag{2}$$

    Args:
        x: any shape. float16 and bfloat16 are computed in float32.
    Returns: the same shape and dtype; -0.0 at -inf, NaN where `x` is NaN. In float32 its relative error stays under
        1e-5 down to x = -10; that of `torch.nn.functional.gelu` (2.13, CPU) is 100 % from -6 on.
    Errors: TypeError unless `x` holds real floating-point numbers.
    Cost: one erfc an element; x is all that waits for the backward pass.
    Use instead: `torch.nn.functional.gelu`, one kernel and faster outside `torch.compile`, when the left tail may be 0.
    Example:
        >>> gelu_erf(torch.tensor([-1.0, 0.0, 1.0])).tolist()
        [-0.1586..., 0.0, 0.8413...]

    References: D. Hendrycks and K. Gimpel, Gaussian error linear units (GELUs), 2016.
    """
    return _gated(x, _NormalGate())


@one_node
def gelu_tanh(x: Float[Tensor, "*shape"], *, coefficient: float = 0.044715) -> Float[Tensor, "*shape"]:
    r"""The tanh form of GELU: `gelu_new`, `gelu_pytorch_tanh`, JAX's default.

    $$\tfrac x2\big[1+\tanh(a(x+cx^3))\big]=x\,\sigma(2a(x+cx^3)),\qquad a=\sqrt{2/\pi} \tag{4}$$

    Args:
        x: any shape. float16 and bfloat16 are computed in float32.
        coefficient: c ≥ 0. 0.044715 is the published choice, the best for the gate; (4 - π) / (6 π) matches the
            series at 0; 0.0443829 is the best for the activation.
    Returns: the same shape and dtype; -0.0 at -inf, NaN where `x` is NaN.
    Errors: TypeError unless `x` holds real floating-point numbers.
    Cost: one exponential an element; x is all that waits for the backward pass.
    Example:
        >>> gelu_tanh(torch.tensor([-1.0, 0.0, 1.0])).tolist()
        [-0.1588..., 0.0, 0.8411...]

    References: E. Page, Approximations to the cumulative normal function and its inverse for use on a pocket
        calculator, 1977; 苏剑林, GELU的两个初等函数近似是怎么来的, 2020.
    """
    check_number("coefficient", coefficient, at_least=0, at_most=LARGEST)
    return _gated(x, _LogisticGate(2 * SQRT_TWO_OVER_PI, coefficient))


@one_node
def gelu_sigmoid(x: Float[Tensor, "*shape"], *, slope: float = 1.702) -> Float[Tensor, "*shape"]:
    r"""The logistic form of GELU: `quick_gelu`, the activation of OpenAI's CLIP.

    $$x\,\sigma(\lambda x) \tag{5}$$

    Args:
        x: any shape. float16 and bfloat16 are computed in float32.
        slope: λ > 0. 1.702 is the published choice, the best for the gate; 1.772934 is the best for the activation;
            1 gives `torch.nn.SiLU`.
    Returns: the same shape and dtype; -0.0 at -inf, NaN where `x` is NaN.
    Errors: TypeError unless `x` holds real floating-point numbers.
    Cost: one exponential an element; x is all that waits for the backward pass.
    Example:
        >>> gelu_sigmoid(torch.tensor([-1.0, 0.0, 1.0])).tolist()
        [-0.1542..., 0.0, 0.8457...]

    References: S. R. Bowling et al., A logistic approximation to the cumulative normal distribution, 2009; 苏剑林,
        GELU的两个初等函数近似是怎么来的, 2020.
    """
    check_number("slope", slope, above=0, at_most=LARGEST)
    return _gated(x, _LogisticGate(slope, 0.0))


class GELU(torch.nn.Module):
    """GELU as a layer, with the choices of `torch.nn.GELU` and the logistic form.

    It goes where that goes: `torch.compile`, `torch.export`, `torch.fx.symbolic_trace`, `torch.jit.trace` and both ONNX
    exporters (where exact GELU is the runtime's own, since ONNX has no erfc); `torch.jit.script` takes torch's alone.

    Args:
        approximate: `"none"` is `gelu_erf`, `"tanh"` is `gelu_tanh`, `"sigmoid"` is `gelu_sigmoid`, each with the
            published constant. `HF_GELU_NAMES` maps the names in HF configurations to these three.
    Errors: ValueError for any other choice.
    Cost: no parameters; that of the function.
    Example:
        >>> GELU(HF_GELU_NAMES["quick_gelu"])(torch.tensor(2.0)).item()
        1.935658...
    """

    def __init__(self, approximate: GELUVariant = "none") -> None:
        super().__init__()
        check_choice("approximate", approximate, FORMS)
        self.approximate = approximate

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return FORMS[self.approximate](x)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


FORMS: dict[GELUVariant, Callable[[Tensor], Tensor]] = {"none": gelu_erf, "tanh": gelu_tanh, "sigmoid": gelu_sigmoid}


class _Gate(Protocol):
    """g with g(x) + g(-x) = 1, and the derivative g + x g' of x g; below -`bound` both are 0 even in float64."""

    @property
    def bound(self) -> float: ...
    def value(self, x: Tensor) -> Tensor: ...
    def derivative(self, x: Tensor) -> Tensor: ...


class _NormalGate(NamedTuple):
    bound: float = 40.0

    def value(self, x: Tensor) -> Tensor:
        return (x * -math.sqrt(0.5)).erfc_().mul_(0.5)  # (2): 1 + erf would cancel in the left tail

    def derivative(self, x: Tensor) -> Tensor:
        bell = (x * x).mul_(-0.5).exp_()
        return torch.addcmul(self.value(x), x, bell, value=SQRT_TWO_OVER_PI / 2)  # (3)


class _LogisticGate(NamedTuple):
    scale: float
    cubic: float

    @property
    def bound(self) -> float:
        return 1000 / self.scale

    def value(self, x: Tensor) -> Tensor:
        return self.logit(x, self.cubic).sigmoid_()  # (4), (5): 1 + tanh would cancel in the left tail

    def derivative(self, x: Tensor) -> Tensor:
        u = self.logit(x, self.cubic)
        g = u.sigmoid()
        rest = u.neg_().sigmoid_()  # 1 - g without its cancellation on the right
        return torch.addcmul(g, self.logit(x, 3 * self.cubic).mul_(rest), g)  # (3) with (6): g + x u' (1 - g) g

    def logit(self, x: Tensor, cubic: float) -> Tensor:
        if not cubic:
            return x * self.scale
        return (x * x).mul_(self.scale * cubic).add_(self.scale).mul_(x)


def _gated(x: Tensor, gate: _Gate) -> Tensor:
    if not x.is_floating_point():
        raise invalid("x", "be a floating-point tensor", x.dtype, "Convert it with x.float().", kind=TypeError)
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if tracing or torch.compiler.is_compiling():  # they derive, fuse and recompute by themselves
        if isinstance(gate, _NormalGate) and torch.onnx.is_in_onnx_export():
            return torch.nn.functional.gelu(x)
        wide = _at_least_single(x).clamp(min=-gate.bound)
        return (wide * gate.value(wide.clamp(max=gate.bound))).to(x.dtype)  # (1)
    y: Tensor = _Gated.apply(x, gate)  # type: ignore[no-untyped-call]
    return y


class _Gated(torch.autograd.Function):
    """x g(x). The bounds keep -inf · 0 and 0 · inf away and change no value; temporaries are overwritten."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, gate: _Gate) -> Tensor:
        wide = _at_least_single(x).clamp(min=-gate.bound)
        return gate.value(wide).mul_(wide).to(x.dtype)  # (1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, _Gate], output: Tensor) -> None:  # noqa: ARG004
        x, ctx.gate = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Gated.jvp(ctx, gradient, None), None  # an elementwise map is its own transpose

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        (x,) = ctx.saved_tensors
        wide = _at_least_single(x).clamp(-ctx.gate.bound, ctx.gate.bound)
        derivative: Tensor = ctx.gate.derivative(wide)
        return (tangent * derivative).to(x.dtype)


def _at_least_single(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
