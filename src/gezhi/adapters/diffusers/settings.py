"""What a scheduler is told: checked, and taken over from the config of another one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gezhi._checks import check_choice, check_integer, check_number, invalid
from gezhi.adapters.diffusers.timesteps import SPACINGS


def check_settings(config: Any) -> None:
    """Raise for a setting of `AncestralScheduler` that does not hold; betas are checked by the schedule."""
    check_choice("prediction_type", config.prediction_type, ("epsilon", "sample", "v_prediction"))
    check_choice("timestep_spacing", config.timestep_spacing, SPACINGS)
    check_number("clip_sample_range", config.clip_sample_range, above=0)
    check_number("eta", config.eta, at_least=0, below=math.inf)
    check_integer("steps_offset", config.steps_offset, at_least=0)
    if config.first_step_levels is not None:
        check_number("first_step_levels", config.first_step_levels, at_least=0)
    betas = config.trained_betas
    if betas is not None and len(betas) != config.num_train_timesteps:
        found = f"{len(betas)} and {config.num_train_timesteps}"
        raise invalid("trained_betas and num_train_timesteps", "agree", found)


def translated(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The config of another scheduler as one of ours: nothing is clipped where it says nothing of clipping."""
    if settings.get("thresholding", config.get("thresholding", False)):
        fix = "Pass thresholding=False, and a clip_sample_range where the data have one."
        raise invalid("thresholding", "be False", True, fix)
    if not {"beta_schedule", "trained_betas"} & {*config, *settings}:
        raise invalid("config", "be of a scheduler with betas", config.get("_class_name", "one without"))
    return {"clip_sample": False, **config}
