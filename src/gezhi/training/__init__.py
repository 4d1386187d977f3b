"""How the gradient is made: callables that add to `.grad`."""

from gezhi.training.contrastive_cache import ContrastiveCache as ContrastiveCache
from gezhi.training.contrastive_cache import representation_gradient as representation_gradient
