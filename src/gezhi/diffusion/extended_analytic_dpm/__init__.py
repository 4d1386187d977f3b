r"""Extended Analytic-DPM: a small head on a frozen network gives each entry of each state its variance.

Title: Extended Analytic-DPM | 扩展的 Analytic-DPM
Also: Extended Analytic-DPM, NPR-DDPM, SN-DDPM, learned variance
Tags: diffusion, sampling, variance
Articles: 生成扩散模型漫谈(八):最优扩散方差估计(下)
Page: docs/methods/extended_analytic_dpm.md
Notation: $h$ = output of `SecondMomentHead` (SN), $g$ = output of `ResidualHead` (NPR), $c$ = `x0_variance`,
$\rho=\bar\beta/\bar\alpha$; $V=\sigma^2+\gamma^2c$.
"""

from gezhi.diffusion.extended_analytic_dpm.features import with_features
from gezhi.diffusion.extended_analytic_dpm.heads import ResidualHead, SecondMomentHead
from gezhi.diffusion.extended_analytic_dpm.training import train_variance_head
from gezhi.diffusion.extended_analytic_dpm.variance import HeadVariance

__all__ = ["HeadVariance", "ResidualHead", "SecondMomentHead", "train_variance_head", "with_features"]
