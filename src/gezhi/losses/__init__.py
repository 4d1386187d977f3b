"""What is minimised: losses for similarity, retrieval and classification."""

from gezhi.losses.cosent import CoSENTLoss as CoSENTLoss
from gezhi.losses.cosent import NoRankedPairWarning as NoRankedPairWarning
from gezhi.losses.cosent import Threshold as Threshold
from gezhi.losses.cosent import cosent_loss as cosent_loss
from gezhi.losses.cosent import optimal_threshold as optimal_threshold
from gezhi.losses.flatnce import FlatNCELoss as FlatNCELoss
from gezhi.losses.flatnce import InfoNCELoss as InfoNCELoss
from gezhi.losses.flatnce import NoNegativeWarning as NoNegativeWarning
from gezhi.losses.flatnce import flat_nce_loss as flat_nce_loss
from gezhi.losses.flatnce import info_nce_loss as info_nce_loss
from gezhi.losses.flatnce import negative_ess as negative_ess
from gezhi.losses.margin_softmax import MarginSoftmaxLoss as MarginSoftmaxLoss
from gezhi.losses.margin_softmax import SampledMarginSoftmaxLoss as SampledMarginSoftmaxLoss
from gezhi.losses.margin_softmax import UnreachableMarginWarning as UnreachableMarginWarning
from gezhi.losses.margin_softmax import additive_angle as additive_angle
from gezhi.losses.margin_softmax import additive_cosine as additive_cosine
from gezhi.losses.margin_softmax import estimate_margin as estimate_margin
from gezhi.losses.margin_softmax import margin_softmax_loss as margin_softmax_loss
from gezhi.losses.margin_softmax import metric_margin_loss as metric_margin_loss
from gezhi.losses.margin_softmax import quadruple_angle as quadruple_angle
from gezhi.losses.margin_softmax import retrieval_guarantee as retrieval_guarantee
from gezhi.losses.ranking import against as against
from gezhi.losses.ranking import against_rest as against_rest
from gezhi.losses.ranking import rank_logsumexp as rank_logsumexp
