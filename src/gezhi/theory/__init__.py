"""Formulas and probes that explain a model: costs, dimensions, angles, normalisation."""

from gezhi.theory.batch_norm import BatchNorm as BatchNorm
from gezhi.theory.batch_norm import Landscape as Landscape
from gezhi.theory.batch_norm import gradient_lipschitz as gradient_lipschitz
from gezhi.theory.batch_norm import input_smoothness as input_smoothness
from gezhi.theory.batch_norm import landscape_probe as landscape_probe
from gezhi.theory.batch_norm import recalibrate_batch_norm as recalibrate_batch_norm
from gezhi.theory.embedding_dimension import GaussianRandomProjection as GaussianRandomProjection
from gezhi.theory.embedding_dimension import SignHash as SignHash
from gezhi.theory.embedding_dimension import entropy_gap as entropy_gap
from gezhi.theory.embedding_dimension import jl_min_dim as jl_min_dim
from gezhi.theory.embedding_dimension import min_embedding_dim as min_embedding_dim
from gezhi.theory.embedding_dimension import rule_of_thumb as rule_of_thumb
from gezhi.theory.transformer_cost import LayerSpec as LayerSpec
from gezhi.theory.transformer_cost import MacCount as MacCount
from gezhi.theory.transformer_cost import ModelSpec as ModelSpec
from gezhi.theory.transformer_cost import UncountedOperationWarning as UncountedOperationWarning
from gezhi.theory.transformer_cost import activation_bytes as activation_bytes
from gezhi.theory.transformer_cost import cache_bytes as cache_bytes
from gezhi.theory.transformer_cost import count_macs as count_macs
from gezhi.theory.transformer_cost import crossover as crossover
from gezhi.theory.transformer_cost import layer_macs as layer_macs
from gezhi.theory.transformer_cost import layer_params as layer_params
from gezhi.theory.transformer_cost import model_macs as model_macs
from gezhi.theory.transformer_cost import model_params as model_params
from gezhi.theory.transformer_cost import training_macs as training_macs
