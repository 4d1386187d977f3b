"""What is used of diffusers, in one place; importing it without the extra names the extra."""

from __future__ import annotations

from gezhi._checks import require

EXTRA = "diffusers"
_schedulers = require("diffusers.schedulers.scheduling_ddpm", EXTRA)
_configuration = require("diffusers.configuration_utils", EXTRA)
_unet = require("diffusers.models.unets.unet_2d", EXTRA)

DDPMScheduler = _schedulers.DDPMScheduler
DDPMSchedulerOutput = _schedulers.DDPMSchedulerOutput
ConfigMixin, register_to_config = _configuration.ConfigMixin, _configuration.register_to_config
SchedulerMixin = require("diffusers.schedulers.scheduling_utils", EXTRA).SchedulerMixin
ModelMixin = require("diffusers.models.modeling_utils", EXTRA).ModelMixin
UNet2DOutput = _unet.UNet2DOutput
randn_tensor = require("diffusers.utils.torch_utils", EXTRA).randn_tensor
DiffusionPipeline = require("diffusers.pipelines.pipeline_utils", EXTRA).DiffusionPipeline
logging = require("diffusers.utils.logging", EXTRA)
tqdm = logging.tqdm
