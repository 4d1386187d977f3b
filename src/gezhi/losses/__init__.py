"""What is minimised: losses for similarity, retrieval and classification."""

from gezhi.losses.ranking import against as against
from gezhi.losses.ranking import rank_logsumexp as rank_logsumexp
