"""The variance of a step from the second moment that a prediction carries."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gezhi._checks import invalid
from gezhi.diffusion.denoiser import Prediction
from gezhi.diffusion.schedule import StepCoefficients


@dataclass(frozen=True)
class HeadVariance:
    r"""$V=\sigma^2+\gamma^2c$ with the second moment that the prediction carries, for `ancestral`.

    Args:
        per_state: the mean of c over the entries, one variance a state.
    Errors: TypeError for a prediction without a second moment.
    """

    per_state: bool = False

    def __call__(
        self, t: int | float, s: int | float, coefficients: StepCoefficients, prediction: Prediction
    ) -> Tensor:
        moment = prediction.second_moment
        if moment is None:
            fix = "Give the Denoiser a head: Denoiser(with_features(network, layer), schedule, head=head)."
            raise invalid("prediction", "carry a second moment", "one without", fix, kind=TypeError)
        if self.per_state:
            moment = moment.reshape(len(moment), -1).mean(1).reshape((-1,) + (1,) * (moment.ndim - 1))
        return coefficients.sigma2 + coefficients.gamma**2 * moment.clamp(min=0.0)
