"""diffusers: schedulers with the best variances for a network that is already trained, in any pipeline.

`AnalyticDPMScheduler` takes one number a step, measured once on data; `ExtendedAnalyticDPMScheduler` takes a variance
an entry from a small head on the frozen network; `AncestralScheduler` is DDPM and DDIM with the same steps, to compare
with. A folder that a pipeline saved with one of them is read again where this module was imported before.
"""

from gezhi.adapters.diffusers.analytic import AnalyticDPMScheduler as AnalyticDPMScheduler
from gezhi.adapters.diffusers.ancestral import AncestralScheduler as AncestralScheduler
from gezhi.adapters.diffusers.extended import ExtendedAnalyticDPMScheduler as ExtendedAnalyticDPMScheduler
from gezhi.adapters.diffusers.host import ModelMixin as ModelMixin  # diffusers looks for the base of what it reads
from gezhi.adapters.diffusers.host import SchedulerMixin as SchedulerMixin  # in the module that holds it
from gezhi.adapters.diffusers.measure import measure_variance as measure_variance
from gezhi.adapters.diffusers.train import add_variance_head as add_variance_head
from gezhi.adapters.diffusers.unet import UNetWithVariance as UNetWithVariance
from gezhi.adapters.diffusers.use import use_analytic_dpm as use_analytic_dpm
from gezhi.adapters.diffusers.use import use_extended_analytic_dpm as use_extended_analytic_dpm
