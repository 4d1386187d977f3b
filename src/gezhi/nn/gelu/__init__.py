r"""GELU, its two elementary approximations, and the fits their constants come from.

Title: GELU and its elementary approximations | GELU 及其初等函数近似
Also: GELU, 7309
Tags: activation, approximation, transformer
Articles: GELU的两个初等函数近似是怎么来的
Page: docs/methods/gelu.md
Notation: $g(x)$ = value / x (the gate), $c$ = `coefficient`, $\lambda$ = `slope`, $\theta$ = `parameter`.
"""

from gezhi.nn.gelu.fit import ErrorProfile, GELUFit, detect_gelu_variant, error_profile, fit_gelu_approximation
from gezhi.nn.gelu.forms import GELU, HF_GELU_NAMES, gelu_erf, gelu_sigmoid, gelu_tanh

__all__ = [
    "GELU",
    "HF_GELU_NAMES",
    "ErrorProfile",
    "GELUFit",
    "detect_gelu_variant",
    "error_profile",
    "fit_gelu_approximation",
    "gelu_erf",
    "gelu_sigmoid",
    "gelu_tanh",
]
