r"""Analytic-DPM: the best variance of a step, from one number a time that is estimated once from data.

Title: Analytic-DPM | Analytic-DPM：最优方差的解析估计
Also: Analytic-DPM, analytic variance, optimal reverse variance
Tags: diffusion, sampling, variance
Articles: 生成扩散模型漫谈(七):最优扩散方差估计(上)
Page: docs/methods/analytic_dpm.md
Notation: $\bar\sigma_t^2$ = `VarianceStats.x0_var[t]`, $m_t=\frac1dE\|\epsilon_\theta\|^2$ = `ms_eps[t]`,
$r_t=\frac1dE\|\varepsilon-\epsilon_\theta\|^2$ = `residual[t]`, $\Gamma_t=m_t/\bar\beta_t^2$,
$\rho=\bar\beta/\bar\alpha$.
"""

from gezhi.diffusion.analytic_dpm.estimates import estimate_x0_variance
from gezhi.diffusion.analytic_dpm.statistics import VarianceStats
from gezhi.diffusion.analytic_dpm.trajectory import optimal_trajectory
from gezhi.diffusion.analytic_dpm.variance import AnalyticVariance, capped, first_step_clip, optimal_variance_bounds

__all__ = [
    "AnalyticVariance",
    "VarianceStats",
    "capped",
    "estimate_x0_variance",
    "first_step_clip",
    "optimal_trajectory",
    "optimal_variance_bounds",
]
