r"""The probability-flow ODE: a deterministic flow with the marginals of the diffusion; solvers, encoding, likelihoods.

Title: The probability flow | 概率流
Also: probability-flow ODE, score SDE, DPM-Solver, neural ODE
Tags: diffusion, sampling, likelihood, ODE
Articles: 生成扩散模型漫谈(六):一般框架之ODE篇; 生成扩散模型漫谈(五):一般框架之SDE篇
Page: docs/methods/probability_flow.md
Notation: $v=fx-\frac12g^2s$ = `flow_drift`, per unit of $u=t/T$; $\rho=\bar\beta/\bar\alpha$ = `schedule.sigma`,
$\lambda=\log(\bar\alpha/\bar\beta)$ = `schedule.half_log_snr`, $y=x/\bar\alpha$.
"""

from gezhi.diffusion.probability_flow.flow import flow_drift, integrate_flow, log_prob
from gezhi.diffusion.probability_flow.steps import dpm_solver_2, dpmpp_2m, euler_maruyama, heun, time_grid

__all__ = [
    "dpm_solver_2",
    "dpmpp_2m",
    "euler_maruyama",
    "flow_drift",
    "heun",
    "integrate_flow",
    "log_prob",
    "time_grid",
]
