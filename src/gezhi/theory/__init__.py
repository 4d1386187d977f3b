"""Formulas and probes that explain a model: costs, dimensions, angles, normalisation."""

from gezhi.theory.embedding_dimension import GaussianRandomProjection as GaussianRandomProjection
from gezhi.theory.embedding_dimension import SignHash as SignHash
from gezhi.theory.embedding_dimension import entropy_gap as entropy_gap
from gezhi.theory.embedding_dimension import jl_min_dim as jl_min_dim
from gezhi.theory.embedding_dimension import min_embedding_dim as min_embedding_dim
from gezhi.theory.embedding_dimension import rule_of_thumb as rule_of_thumb
