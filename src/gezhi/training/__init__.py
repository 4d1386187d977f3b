"""How the gradient is made: callables that add to `.grad`."""

from gezhi.training.adversarial import FGM as FGM
from gezhi.training.adversarial import PGD as PGD
from gezhi.training.adversarial import FreeLB as FreeLB
from gezhi.training.adversarial import GradientPenalty as GradientPenalty
from gezhi.training.adversarial import Norm as Norm
from gezhi.training.adversarial import VirtualAdversarial as VirtualAdversarial
from gezhi.training.adversarial import fgm_delta as fgm_delta
from gezhi.training.adversarial import global_l2 as global_l2
from gezhi.training.adversarial import gradient_penalty as gradient_penalty
from gezhi.training.adversarial import linf as linf
from gezhi.training.adversarial import per_sample_l2 as per_sample_l2
from gezhi.training.adversarial import project as project
from gezhi.training.contrastive_cache import ContrastiveCache as ContrastiveCache
from gezhi.training.contrastive_cache import representation_gradient as representation_gradient
from gezhi.training.sampling_descent import GuidedParameterSearch as GuidedParameterSearch
from gezhi.training.sampling_descent import NoValidCandidateWarning as NoValidCandidateWarning
from gezhi.training.sampling_descent import SearchStep as SearchStep
from gezhi.training.sampling_descent import ball_expected_step as ball_expected_step
from gezhi.training.sampling_descent import snis_weights as snis_weights
